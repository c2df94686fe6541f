/* Streams by way of a transport, against a transport that waits for whatever a test says: each side for the other
 * direction, for both, or while it still has something to send. And what moves a transport's bytes: rota_try_*. */
#include "tests/net_kit.h"

/* Passes bytes on as they are. What it may not do yet it refuses, as if the descriptor had. */
struct toy {
    int fd;
    unsigned receive_wants, send_wants;  /* refuse, and wait for these; 0: do it */
    int receive_error, send_error, flush_error;
    char kept[64];
    size_t kept_n;
    bool keeps;                          /* what is sent stays here until flush may go on */
    int closed, shut;
    bool complete;
};

static ssize_t toy_receive(void *ctx, void *buf, size_t n, unsigned *wants) {
    struct toy *t = ctx;
    if (t->receive_error)
        return t->receive_error;
    *wants = t->receive_wants ? t->receive_wants : ROTA_READ;
    return t->receive_wants ? -EAGAIN : rota_try_read(t->fd, buf, n);
}

static ssize_t toy_send(void *ctx, const struct iovec *iov, int n, unsigned *wants) {
    struct toy *t = ctx;
    (void)n;
    if (t->send_error || t->shut)
        return t->send_error ? t->send_error : -EPIPE;
    *wants = t->send_wants;
    if (t->send_wants)
        return -EAGAIN;
    t->kept_n = iov->iov_len < sizeof t->kept ? iov->iov_len : sizeof t->kept;
    memcpy(t->kept, iov->iov_base, t->kept_n);
    return (ssize_t)t->kept_n;
}

static int toy_flush(void *ctx, unsigned *wants) {
    struct toy *t = ctx;
    if (t->flush_error)
        return t->flush_error;
    while (t->kept_n) {
        ssize_t r = t->keeps ? -EAGAIN : rota_try_write(t->fd, t->kept, t->kept_n);
        if (r == -EAGAIN)
            *wants = ROTA_WRITE;
        if (r < 0)
            return (int)r;
        memmove(t->kept, t->kept + r, t->kept_n - (size_t)r);
        t->kept_n -= (size_t)r;
    }
    return 0;
}

static int toy_shutdown(void *ctx, unsigned *wants) {
    struct toy *t = ctx;
    *wants = t->send_wants;
    if (t->send_wants)
        return -EAGAIN;
    t->shut++;
    t->kept[t->kept_n++] = '.';
    return 0;
}

static void toy_close(void *ctx, bool complete) {
    struct toy *t = ctx;
    t->closed++;
    t->complete = complete;
}

static const rota_stream_transport toys = {toy_receive, toy_send, toy_flush, toy_shutdown, toy_close};

static struct toy toy;

static rota_stream open_toy(int *peer, size_t high_water) {
    int sv[2];
    rota_stream s;
    unix_pair(sv);
    *peer = nonblocking(sv[1]);
    toy = (struct toy){.fd = sv[0]};
    rota_stream_options opt = {.transport = &toys, .transport_ctx = &toy, .high_water = high_water};
    cr_expect_eq(rota_stream_open(&s, sv[0], &opt), 0);
    return s;
}

static intptr_t read_byte(void *s) {
    char c;
    ssize_t n = rota_stream_read(s, &c, 1);
    return n == 1 ? c : n;
}

static intptr_t write_bytes(void *s) { return rota_stream_write(s, "abcdef", 6); }
static intptr_t drain(void *s) { return rota_stream_drain(s); }
static intptr_t shut(void *s) { return rota_stream_shutdown(s); }

static void expect_bytes(int peer, const char *bytes) {
    char buf[64] = "";
    cr_expect_eq(read(peer, buf, sizeof buf), (ssize_t)strlen(bytes));
    cr_expect_str_eq(buf, bytes);
}

Task_test(transport, carries_both_ways) {
    int peer;
    const char *line;
    rota_stream s = open_toy(&peer, 0);
    cr_expect_eq(rota_stream_transport_ctx(&s, &toys), (void *)&toy);
    cr_expect_null(rota_stream_transport_ctx(&s, &(rota_stream_transport){0}));
    cr_expect_null(rota_stream_transport_ctx(NULL, &toys));
    cr_expect_eq(rota_stream_write(&s, "out", 3), 0);
    expect_bytes(peer, "out");
    cr_expect_eq(write(peer, "in\n", 3), 3);
    cr_expect_eq(rota_stream_line(&s, 0, &line), 3);
    cr_expect_str_eq(line, "in");
    cr_expect_eq(rota_stream_shutdown(&s), 0);
    expect_bytes(peer, ".");
    cr_expect_eq(rota_stream_write(&s, "x", 1), -EPIPE);
    cr_expect_eq(rota_stream_close(&s), 0);
    cr_expect_eq(toy.closed, 1);
    cr_expect_null(rota_stream_transport_ctx(&s, &toys));
    close(peer);
    return 0;
}

/* The descriptor is writable: the reader runs at once, and finds that it may. */
Task_test(transport, reading_waits_for_writability) {
    int peer;
    rota_stream s = open_toy(&peer, 0);
    toy.receive_wants = ROTA_WRITE;
    cr_expect_eq(write(peer, "r", 1), 1);
    rota_task *reader = start(read_byte, &s);
    toy.receive_wants = 0;
    cr_expect_eq(finish(reader), 'r');
    rota_stream_close(&s);
    close(peer);
    return 0;
}

/* Nobody reads, and yet what is written goes out when something arrives. */
Task_test(transport, writing_waits_for_readability) {
    int peer;
    rota_stream s = open_toy(&peer, 0);
    toy.send_wants = ROTA_READ;
    cr_expect_eq(rota_stream_write(&s, "late", 4), 0);
    rota_task *drainer = start(drain, &s);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_yield(), 0);
    cr_expect(!rota_task_done(drainer));
    toy.send_wants = 0;
    cr_expect_eq(write(peer, "r", 1), 1);
    cr_expect_eq(finish(drainer), 0);
    expect_bytes(peer, "late");
    rota_stream_close(&s);
    cr_expect(toy.complete);
    close(peer);
    return 0;
}

/* Both wait for the same direction, for which a descriptor has room for one watcher. */
Task_test(transport, both_wait_for_readability) {
    int peer;
    rota_stream s = open_toy(&peer, 0);
    toy.send_wants = ROTA_READ;
    rota_task *reader = start(read_byte, &s);
    cr_expect_eq(rota_stream_write(&s, "late", 4), 0);
    toy.send_wants = 0;
    cr_expect_eq(write(peer, "r", 1), 1);
    cr_expect_eq(finish(reader), 'r');
    cr_expect_eq(rota_stream_drain(&s), 0);
    expect_bytes(peer, "late");
    rota_stream_close(&s);
    close(peer);
    return 0;
}

/* What the reader did is what the writer waited for: no event comes for it. */
Task_test(transport, reading_lets_the_writer_go_on) {
    int peer;
    rota_stream s = open_toy(&peer, 0);
    cr_expect_eq(write(peer, "r", 1), 1);
    toy.send_wants = ROTA_READ;
    cr_expect_eq(rota_stream_write(&s, "late", 4), 0);
    toy.send_wants = 0;
    cr_expect_eq(read_byte(&s), 'r');
    expect_bytes(peer, "late");
    rota_stream_close(&s);
    close(peer);
    return 0;
}

/* A reader that goes leaves the writer its watcher. */
Task_test(transport, a_cancelled_reader_leaves_the_writer) {
    int peer;
    rota_stream s = open_toy(&peer, 0);
    toy.send_wants = ROTA_READ;
    cr_expect_eq(rota_stream_write(&s, "late", 4), 0);
    rota_task *reader = start(read_byte, &s);
    rota_cancel(reader, "enough");
    cr_expect_eq(finish(reader), -ECANCELED);
    rota_task *drainer = start(drain, &s);
    toy.send_wants = 0;
    cr_expect_eq(write(peer, "r", 1), 1);
    cr_expect_eq(finish(drainer), 0);
    expect_bytes(peer, "late");
    cr_expect_eq(read_byte(&s), 'r', "nothing is lost with the reader");
    rota_stream_close(&s);
    close(peer);
    return 0;
}

/* A send that waits for the peer has left something that the peer waits for. */
Task_test(transport, kept_bytes_go_out_while_the_send_waits) {
    int peer;
    rota_stream s = open_toy(&peer, 0);
    toy.keeps = true;
    cr_expect_eq(rota_stream_write(&s, "a", 1), 0);
    toy.send_wants = ROTA_READ;
    cr_expect_eq(rota_stream_write(&s, "b", 1), 0);
    toy.keeps = false;
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_sleep(ROTA_MS), 0);
    expect_bytes(peer, "a");
    rota_stream_close(&s);
    cr_expect(!toy.complete, "b is lost");
    close(peer);
    return 0;
}

Task_test(transport, draining_waits_for_what_is_kept) {
    int peer;
    rota_stream s = open_toy(&peer, 0);
    toy.keeps = true;
    cr_expect_eq(rota_stream_write(&s, "a", 1), 0);
    toy.keeps = false;
    cr_expect_eq(rota_stream_drain(&s), 0);
    expect_bytes(peer, "a");
    toy.keeps = true;
    cr_expect_eq(rota_stream_write(&s, "b", 1), 0);
    rota_stream_close(&s);
    cr_expect(!toy.complete);
    close(peer);
    return 0;
}

/* Queue and mark are the stream's as ever. */
Task_test(transport, a_full_queue_holds_the_writer_up) {
    int peer;
    rota_stream s = open_toy(&peer, 4);
    toy.send_wants = ROTA_READ;
    rota_task *writer = start(write_bytes, &s);
    cr_expect(!rota_task_done(writer));
    cr_expect_eq(s.taken, 4u);
    toy.send_wants = 0;
    cr_expect_eq(write(peer, "r", 1), 1);
    cr_expect_eq(finish(writer), 0);
    cr_expect_eq(rota_stream_drain(&s), 0);
    expect_bytes(peer, "abcdef");
    rota_stream_close(&s);
    close(peer);
    return 0;
}

Task_test(transport, shutdown_may_wait) {
    int peer;
    rota_stream s = open_toy(&peer, 0);
    toy.send_wants = ROTA_READ;
    rota_task *ender = start(shut, &s);
    cr_expect(!rota_task_done(ender));
    toy.send_wants = 0;
    cr_expect_eq(write(peer, "r", 1), 1);
    cr_expect_eq(finish(ender), 0);
    expect_bytes(peer, ".");
    rota_stream_close(&s);
    close(peer);
    return 0;
}

Task_test(transport, errors_end_their_side) {
    int peer;
    rota_stream s = open_toy(&peer, 0);
    toy.receive_error = -EPROTO;
    cr_expect_eq(read_byte(&s), -EPROTO);
    cr_expect_eq(rota_stream_write(&s, "a", 1), 0);
    expect_bytes(peer, "a");
    toy.flush_error = -EIO;
    cr_expect_eq(rota_stream_write(&s, "b", 1), 0, "taken");
    cr_expect_eq(rota_stream_write(&s, "c", 1), -EIO);
    cr_expect_eq(rota_stream_drain(&s), -EIO);
    toy.receive_error = 0;
    cr_expect_eq(write(peer, "r", 1), 1);
    cr_expect_eq(read_byte(&s), 'r');
    rota_stream_close(&s);
    cr_expect(!toy.complete);
    close(peer);

    s = open_toy(&peer, 0);
    toy.send_error = -EPROTO;
    cr_expect_eq(rota_stream_write(&s, "b", 1), -EPROTO);
    cr_expect_eq(rota_stream_shutdown(&s), -EPROTO);
    rota_stream_close(&s);
    close(peer);
    return 0;
}

Task_test(transport, closed_under_both_sides) {
    int peer;
    rota_stream s = open_toy(&peer, 4);
    toy.send_wants = ROTA_READ;
    rota_task *reader = start(read_byte, &s), *writer = start(write_bytes, &s);
    rota_stream_close(&s);
    memset(&s, 0x5a, sizeof s);
    cr_expect_eq(finish(reader), -EBADF);
    cr_expect_eq(finish(writer), -EBADF);
    cr_expect_eq(toy.closed, 1);
    close(peer);
    return 0;
}

/* Also when it was woken before, and has not run yet. */
Task_test(transport, descriptor_forgotten_under_both_sides) {
    int peer;
    rota_stream s = open_toy(&peer, 4);
    toy.send_wants = ROTA_READ;
    rota_task *reader = start(read_byte, &s), *writer = start(write_bytes, &s);
    cr_expect_eq(write(peer, "r", 1), 1);
    cr_expect_eq(rota_forget(s.fd), 0);
    cr_expect_eq(finish(reader), -EBADF);
    cr_expect_eq(finish(writer), -EBADF);
    rota_stream_close(&s);
    close(peer);
    return 0;
}

/* ---- tries ---- */

Task_test(transport, tries_never_wait) {
    int sv[2];
    char buf[4] = "";
    unix_pair(sv);
    cr_expect_eq(rota_try_read(sv[0], buf, 4), -EAGAIN);
    cr_expect_eq(rota_try_write(sv[1], "abc", 3), 3);
    cr_expect_eq(rota_poll(sv[0], ROTA_READ), ROTA_READ);
    cr_expect_eq(rota_try_read(sv[0], buf, 4), 3);
    cr_expect_str_eq(buf, "abc");
    ssize_t n;
    while ((n = rota_try_write(sv[0], buf, sizeof buf)) > 0)
        ;
    cr_expect_eq(n, -EAGAIN);
    cr_expect_eq(rota_try_read(-1, buf, 1), -EBADF);
    rota_close(sv[0]);
    cr_expect_eq(rota_try_write(sv[1], "x", 1), -EPIPE);
    rota_close(sv[1]);
    return 0;
}

/* A task waited here, so the descriptor is watched; the event of what comes now has not been fetched. What poll says
 * the next try believes: else the two would take turns for ever. */
Task_test(transport, a_try_believes_poll) {
    int sv[2];
    char c;
    unix_pair(sv);
    struct io io = {.fd = sv[0], .buf = &c, .n = 1};
    rota_task *reader = start(do_read, &io);
    cr_expect_eq(write(sv[1], "a", 1), 1);
    cr_expect_eq(finish(reader), 1);
    cr_expect_eq(rota_try_read(sv[0], &c, 1), -EAGAIN);
    cr_expect_eq(write(sv[1], "b", 1), 1);
    cr_expect_eq(rota_poll(sv[0], ROTA_READ), ROTA_READ);
    cr_expect_eq(rota_try_read(sv[0], &c, 1), 1);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

Test(transport, tries_need_a_loop) {
    char c;
    cr_expect_eq(rota_try_read(0, &c, 1), -EINVAL);
    cr_expect_eq(rota_try_write(1, "", 0), -EINVAL);
}
