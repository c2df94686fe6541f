/* Buffered streams: what they give, where their limits are, who sends what is queued, and how they end. */
#include "tests/net_kit.h"
#include "tests/sys_table.h"

/* A stream on one end of a blocking unix pair; the other end is *peer. */
static rota_stream open_pair(int *peer, size_t buffer, size_t high_water) {
    int sv[2];
    rota_stream s;
    unix_pair(sv);
    *peer = sv[1];
    cr_expect_eq(rota_stream_open(&s, sv[0], &(rota_stream_options){.buffer_size = buffer, .high_water = high_water}), 0);
    return s;
}

static void feed(int peer, const char *text) { cr_expect_eq(write(peer, text, strlen(text)), (ssize_t)strlen(text)); }

/* ---- reading ---- */

Task_test(stream, read_gives_what_there_is) {
    int peer;
    char buf[8] = "";
    rota_stream s = open_pair(&peer, 16, 0);
    feed(peer, "hello");
    cr_expect_eq(rota_stream_read(&s, buf, 3), 3);
    cr_expect_eq(rota_stream_read(&s, buf + 3, 5), 2);
    cr_expect_str_eq(buf, "hello");
    cr_expect_eq(rota_stream_read(&s, buf, 0), 0);
    close(peer);
    cr_expect_eq(rota_stream_read(&s, buf, 8), 0);
    cr_expect_eq(rota_stream_close(&s), 0);
    return 0;
}

Task_test(stream, large_reads_go_past_the_buffer) {
    int peer;
    unsigned char out[5000], in[5000];
    rota_stream s = open_pair(&peer, 16, 0);
    size_t done = 0;
    fill_pattern(out, sizeof out);
    cr_expect_eq(write(peer, out, sizeof out), (ssize_t)sizeof out);
    cr_expect_eq(rota_stream_read(&s, in, 1), 1);
    cr_expect_eq(rota_stream_read_exact(&s, in + 1, sizeof in - 1, &done), 0);
    cr_expect_eq(done, sizeof in - 1);
    cr_expect(has_pattern(in, sizeof in));
    rota_stream_close(&s);
    close(peer);
    return 0;
}

Task_test(stream, read_exact_ends_early) {
    int peer;
    char buf[8] = "";
    size_t done = 77;
    rota_stream s = open_pair(&peer, 0, 0);
    feed(peer, "abc");
    close(peer);
    cr_expect_eq(rota_stream_read_exact(&s, buf, 8, &done), -EPIPE);
    cr_expect_eq(done, 3u);
    cr_expect_str_eq(buf, "abc");
    rota_stream_close(&s);
    cr_expect_eq(rota_stream_read_exact(&s, buf, 8, &done), -EBADF);
    cr_expect_eq(done, 0u);
    return 0;
}

struct until {
    rota_stream *s;
    const char *separator, *data;
    size_t limit, left;
};

static intptr_t do_until(void *arg) {
    struct until *u = arg;
    return rota_stream_until(u->s, u->separator, strlen(u->separator), u->limit, &u->data, &u->left);
}

Task_test(stream, separator_comes_in_two_parts) {
    int peer;
    rota_stream s = open_pair(&peer, 64, 0);
    struct until u = {.s = &s, .separator = "\r\n\r\n"};
    feed(peer, "head\r\n\r");
    rota_task *reader = start(do_until, &u);
    cr_expect(!rota_task_done(reader));
    feed(peer, "\nbody");
    cr_expect_eq(finish(reader), 8);
    cr_expect_eq(memcmp(u.data, "head\r\n\r\n", 8), 0);
    cr_expect_eq(u.left, 0u);
    char buf[8] = "";
    cr_expect_eq(rota_stream_read(&s, buf, 8), 4);
    cr_expect_str_eq(buf, "body");
    rota_stream_close(&s);
    close(peer);
    return 0;
}

/* The separator's beginning occurs before it, overlapping. */
Task_test(stream, separator_overlaps_itself) {
    static const char *const texts[] = {"aab", "aaab", "abaab", "aaaaaab"};
    for (int i = 0; i < 4; i++) {
        int peer;
        rota_stream s = open_pair(&peer, 16, 0);
        struct until u = {.s = &s, .separator = "aab"};
        rota_task *reader = start(do_until, &u);
        for (const char *at = texts[i]; *at; at++) { /* one byte at a time */
            cr_expect_eq(write(peer, at, 1), 1);
            cr_expect_eq(rota_sleep(1), 0);
        }
        cr_expect_eq(finish(reader), (intptr_t)strlen(texts[i]));
        feed(peer, texts[i]); /* and in one piece */
        cr_expect_eq(do_until(&u), (intptr_t)strlen(texts[i]));
        rota_stream_close(&s);
        close(peer);
    }
    return 0;
}

Task_test(stream, limit_exactly_at_the_separator) {
    int peer;
    rota_stream s = open_pair(&peer, 64, 0);
    struct until u = {.s = &s, .separator = ";;", .limit = 5};
    feed(peer, "abc;;abcd;;");
    cr_expect_eq(do_until(&u), 5);
    cr_expect_eq(do_until(&u), -EMSGSIZE);
    cr_expect_geq(u.left, 5u, "they stay");
    cr_expect_eq(memcmp(u.data, "abcd;", 5), 0);
    u.limit = 6;
    cr_expect_eq(do_until(&u), 6);
    rota_stream_close(&s);
    close(peer);
    return 0;
}

/* No separator, and no end: the buffer is the bound. Also a separator that ends at the buffer's last byte. */
Task_test(stream, the_buffer_is_the_bound) {
    int peer;
    char lent[16];
    rota_stream s = open_pair(&peer, 16, 0);
    struct until u = {.s = &s, .separator = "\n"};
    for (int i = 0; i < 100; i++)
        feed(peer, "0123456789");
    cr_expect_eq(do_until(&u), -EMSGSIZE);
    cr_expect_eq(u.left, 16u);
    u.limit = SIZE_MAX;
    cr_expect_eq(do_until(&u), -EMSGSIZE);
    rota_stream_close(&s);
    close(peer);

    int sv[2];
    unix_pair(sv);
    cr_expect_eq(rota_stream_open(&s, sv[0], &(rota_stream_options){.buffer = lent, .buffer_size = 16}), 0);
    for (int i = 0; i < 3; i++)
        feed(sv[1], "0123456789abcde\n");
    for (int i = 0; i < 3; i++)
        cr_expect_eq(do_until(&u), 16);
    rota_stream_close(&s);
    close(sv[1]);
    return 0;
}

Task_test(stream, end_of_data_before_a_separator) {
    int peer;
    rota_stream s = open_pair(&peer, 64, 0);
    struct until u = {.s = &s, .separator = ";"};
    feed(peer, "a;rest");
    close(peer);
    cr_expect_eq(do_until(&u), 2);
    cr_expect_eq(do_until(&u), -EPIPE);
    cr_expect_eq(u.left, 4u);
    cr_expect_eq(memcmp(u.data, "rest", 4), 0);
    char buf[8];
    cr_expect_eq(rota_stream_read(&s, buf, 8), 4);
    cr_expect_eq(do_until(&u), 0);
    rota_stream_close(&s);
    return 0;
}

Task_test(stream, lines) {
    int peer;
    const char *line;
    rota_stream s = open_pair(&peer, 16, 0);
    feed(peer, "one\ntwo\r\n\n\r\nlong line 123\rx\nlast\r");
    close(peer);
    cr_expect_eq(rota_stream_line(&s, 0, &line), 4);
    cr_expect_str_eq(line, "one");
    cr_expect_eq(rota_stream_line(&s, 0, &line), 4);
    cr_expect_str_eq(line, "two");
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(rota_stream_line(&s, 0, &line), 1);
        cr_expect_str_eq(line, "");
    }
    cr_expect_eq(rota_stream_line(&s, 8, &line), -EMSGSIZE);
    cr_expect_null(line);
    cr_expect_eq(rota_stream_line(&s, 0, &line), 16);
    cr_expect_str_eq(line, "long line 123\rx");
    cr_expect_eq(rota_stream_line(&s, 0, &line), 6, "a last line without an end counts");
    cr_expect_str_eq(line, "last\r");
    cr_expect_eq(rota_stream_line(&s, 0, &line), 0);
    rota_stream_close(&s);
    return 0;
}

/* One byte short of the buffer, and no end of line: the string's own end needs the last byte. */
Task_test(stream, last_line_fills_the_buffer) {
    int peer;
    const char *line;
    rota_stream s = open_pair(&peer, 8, 0);
    feed(peer, "1234567");
    close(peer);
    cr_expect_eq(rota_stream_line(&s, 0, &line), 8);
    cr_expect_str_eq(line, "1234567");
    rota_stream_close(&s);
    return 0;
}

/* Every read gives one byte. */
static ssize_t one_byte_recv(int fd, void *buf, size_t n, int flags) {
    return rota__sys_real.recv(fd, buf, n < 1 ? n : 1, flags);
}

Test(stream, one_byte_at_a_time) {
    use_shim()->recv = one_byte_recv;
    cr_expect_eq(run_task(stream_lines_task, NULL), 0);
    cr_expect_eq(run_task(stream_limit_exactly_at_the_separator_task, NULL), 0);
}

/* ---- writing ---- */

/* More than the system takes at once. */
enum { MUCH = 1 << 20 };

struct writing {
    rota_stream *s;
    unsigned char *bytes;
    size_t n;
};

static intptr_t do_write(void *arg) {
    struct writing *w = arg;
    return rota_stream_write(w->s, w->bytes, w->n);
}

static intptr_t do_drain(void *s) { return rota_stream_drain(s); }
static intptr_t do_shutdown(void *s) { return rota_stream_shutdown(s); }

static unsigned char *much(void) {
    unsigned char *bytes = malloc(MUCH);
    fill_pattern(bytes, MUCH);
    return bytes;
}

/* How many of the peer's bytes come without any task of ours doing anything, compared with `from` on. */
static size_t suck(int peer, const unsigned char *expected, size_t from, size_t most) {
    unsigned char buf[4096];
    size_t sum = 0;
    for (int idle = 0; sum < most && idle < 3;) {
        ssize_t n = recv(peer, buf, most - sum < sizeof buf ? most - sum : sizeof buf, MSG_DONTWAIT);
        if (n <= 0) {
            idle++;
            cr_expect_eq(rota_sleep(ROTA_MS), 0);
            continue;
        }
        idle = 0;
        cr_expect_eq(memcmp(buf, expected + from + sum, (size_t)n), 0);
        sum += (size_t)n;
    }
    return sum;
}

Task_test(stream, queued_bytes_go_out_by_themselves) {
    int peer;
    unsigned char *bytes = much();
    rota_stream s = open_pair(&peer, 16, MUCH);
    cr_expect_eq(rota_stream_write(&s, bytes, MUCH), 0, "all of it fits below the mark");
    cr_expect_eq(s.taken, (size_t)MUCH);
    cr_expect_gt(s.out_used_, 0u);
    cr_expect_eq(suck(peer, bytes, 0, MUCH), (size_t)MUCH);
    cr_expect_eq(s.out_used_, 0u);
    cr_expect_eq(s.flusher_.state_, 0u, "nothing is watched when nothing waits");
    rota_stream_close(&s);
    close(peer);
    free(bytes);
    return 0;
}

Task_test(stream, writer_stops_at_the_high_water_mark) {
    int peer;
    unsigned char *bytes = much();
    rota_stream s = open_pair(&peer, 16, 10000);
    struct writing w = {&s, bytes, MUCH};
    rota_task *writer = start(do_write, &w);
    cr_expect(!rota_task_done(writer));
    cr_expect_eq(s.out_used_, 10000u);
    cr_expect_eq(s.out_size_, 10000u);
    rota_task *second = start(do_write, &w);
    cr_expect_eq(finish(second), -EBUSY);
    cr_expect_eq(suck(peer, bytes, 0, MUCH), (size_t)MUCH);
    cr_expect_eq(finish(writer), 0);
    cr_expect_eq(s.taken, (size_t)MUCH);
    cr_expect_eq(s.out_size_, 10000u);
    rota_stream_close(&s);
    close(peer);
    free(bytes);
    return 0;
}

Task_test(stream, try_write_takes_what_needs_no_wait) {
    int peer;
    unsigned char *bytes = much();
    rota_stream s = open_pair(&peer, 16, 10000);
    ssize_t n = rota_stream_try_write(&s, bytes, MUCH);
    cr_expect(n > 10000 && n < MUCH);
    cr_expect_eq(s.taken, (size_t)n);
    cr_expect_eq(s.out_used_, 10000u);
    cr_expect_eq(rota_stream_try_write(&s, bytes + n, 1), -EAGAIN);
    cr_expect_eq(s.taken, 0u);
    cr_expect_eq(rota_stream_try_write(&s, bytes + n, 0), 0);
    cr_expect_eq(suck(peer, bytes, 0, (size_t)n), (size_t)n, "it goes out by itself");
    cr_expect_eq(rota_stream_try_write(&s, bytes, 5), 5);
    rota_stream_close(&s);
    cr_expect_eq(rota_stream_try_write(&s, bytes, 5), -EBADF);
    cr_expect_eq(rota_stream_try_write(NULL, bytes, 5), -EINVAL);
    close(peer);
    free(bytes);
    return 0;
}

Task_test(stream, try_write_does_not_pass_a_writer) {
    int peer;
    unsigned char *bytes = much();
    rota_stream s = open_pair(&peer, 16, 10000);
    struct writing w = {&s, bytes, MUCH};
    rota_task *writer = start(do_write, &w);
    cr_expect_eq(rota_stream_try_write(&s, "x", 1), -EBUSY);
    cr_expect_eq(suck(peer, bytes, 0, MUCH), (size_t)MUCH);
    cr_expect_eq(finish(writer), 0);
    close(peer);
    ssize_t rc = rota_stream_try_write(&s, "x", 1);
    cr_expect(rc == -EPIPE || rc == -ECONNRESET);
    cr_expect_eq(rota_stream_try_write(&s, "x", 1), rc, "an error stays");
    rota_stream_close(&s);
    free(bytes);
    return 0;
}

/* The queue is larger than what the system takes at once: it is sent in parts, wraps, and grows while it is wrapped. */
Task_test(stream, the_ring_keeps_the_order) {
    int peer;
    size_t n = 16 << 20, sent = 0, got = 0, wraps = 0;
    unsigned char *bytes = malloc(n);
    fill_pattern(bytes, n);
    rota_stream s = open_pair(&peer, 16, 900000);
    for (int round = 0; round < 40; round++) {
        size_t most = round < 10 ? 400000 : 900000;
        while (s.out_used_ + 1237 <= most && sent + 1237 <= n) {
            cr_expect_eq(rota_stream_write(&s, bytes + sent, 1237), 0);
            sent += 1237;
        }
        wraps += s.out_first_ + s.out_used_ > s.out_size_;
        got += suck(peer, bytes, got, 151000);
    }
    cr_expect_gt(wraps, 3u);
    cr_expect_eq(s.out_size_, 900000u);
    got += suck(peer, bytes, got, sent - got);
    cr_expect_eq(got, sent);
    rota_stream_close(&s);
    close(peer);
    free(bytes);
    return 0;
}

Task_test(stream, cancelled_writer_says_what_it_took) {
    int peer;
    unsigned char *bytes = much();
    rota_stream s = open_pair(&peer, 16, 10000);
    struct writing w = {&s, bytes, MUCH};
    rota_task *writer = start(do_write, &w);
    rota_cancel(writer, "test");
    cr_expect_eq(finish(writer), -ECANCELED);
    cr_expect(s.taken > 0 && s.taken < MUCH);
    size_t rest = s.taken;
    cr_expect_eq(suck(peer, bytes, 0, MUCH), rest, "that much goes out, and no more");
    cr_expect_eq(rota_stream_write(&s, bytes + rest, 1), 0, "and another can go on");
    cr_expect_eq(suck(peer, bytes, rest, 1), 1u);
    rota_stream_close(&s);
    close(peer);
    free(bytes);
    return 0;
}

/* What an earlier call took must not be counted again. */
Task_test(stream, a_refused_write_took_nothing) {
    int peer;
    rota_scope over;
    rota_stream s = open_pair(&peer, 16, 0);
    cr_expect_eq(rota_stream_write(&s, "hello", 5), 0);
    cr_expect_eq(s.taken, 5u);
    rota_timeout_begin(&over, 0);
    int rc = rota_stream_write(&s, "more", 4);
    cr_expect_eq(s.taken, 0u);
    cr_expect_eq(rota_scope_end(&over, rc), -ETIMEDOUT);
    rota_stream_close(&s);
    close(peer);
    return 0;
}

Task_test(stream, drain_waits_until_all_is_sent) {
    int peer;
    unsigned char *bytes = much();
    rota_stream s = open_pair(&peer, 16, MUCH);
    cr_expect_eq(rota_stream_drain(&s), 0);
    cr_expect_eq(rota_stream_write(&s, bytes, MUCH), 0);
    rota_task *drainer = start(do_drain, &s);
    cr_expect_eq(suck(peer, bytes, 0, MUCH / 2), (size_t)MUCH / 2);
    cr_expect(!rota_task_done(drainer));
    cr_expect_eq(suck(peer, bytes, MUCH / 2, MUCH / 2), (size_t)MUCH / 2);
    cr_expect_eq(finish(drainer), 0);
    cr_expect_eq(s.out_used_, 0u);
    rota_stream_close(&s);
    close(peer);
    free(bytes);
    return 0;
}

Task_test(stream, shutdown_comes_behind_the_data) {
    int peer;
    unsigned char *bytes = much(), c;
    rota_stream s = open_pair(&peer, 16, MUCH);
    cr_expect_eq(rota_stream_write(&s, bytes, MUCH), 0);
    rota_task *ender = start(do_shutdown, &s);
    cr_expect(!rota_task_done(ender));
    cr_expect_eq(suck(peer, bytes, 0, MUCH), (size_t)MUCH);
    cr_expect_eq(finish(ender), 0);
    cr_expect_eq(recv(peer, &c, 1, MSG_DONTWAIT), 0);
    cr_expect_eq(rota_stream_write(&s, bytes, 1), -EPIPE);
    cr_expect_eq(write(peer, "back", 4), 4);
    cr_expect_eq(rota_stream_read(&s, &c, 1), 1, "the other direction is as it was");
    rota_stream_close(&s);
    close(peer);
    free(bytes);
    return 0;
}

Task_test(stream, an_error_of_the_queue_reaches_the_next_calls) {
    int peer;
    unsigned char *bytes = much();
    rota_stream s = open_pair(&peer, 16, MUCH);
    cr_expect_eq(rota_stream_write(&s, bytes, MUCH), 0);
    rota_task *drainer = start(do_drain, &s);
    close(peer);
    intptr_t error = finish(drainer);
    cr_expect(error == -EPIPE || error == -ECONNRESET);
    cr_expect_eq(rota_stream_write(&s, bytes, 1), error);
    cr_expect_eq(rota_stream_drain(&s), error);
    cr_expect_eq(rota_stream_shutdown(&s), error);
    cr_expect_eq(s.flusher_.state_, 0u);
    rota_stream_close(&s);
    free(bytes);
    return 0;
}

Task_test(stream, no_memory_for_the_queue) {
    int peer;
    unsigned char *bytes = much();
    rota_stream s = open_pair(&peer, 16, MUCH);
    memory.fail_at = memory.calls + 1;
    memory.fail_on = true;
    cr_expect_eq(rota_stream_write(&s, bytes, MUCH), -ENOMEM);
    size_t taken = s.taken;
    memory.fail_at = 0;
    cr_expect_gt(taken, 0u);
    cr_expect_eq(rota_stream_write(&s, bytes + taken, MUCH - taken), 0, "it can go on where it stopped");
    cr_expect_eq(suck(peer, bytes, 0, MUCH), (size_t)MUCH);
    rota_stream other;
    memory.fail_at = memory.calls + 1;
    cr_expect_eq(rota_stream_open(&other, peer, NULL), -ENOMEM);
    memory.fail_at = 0;
    cr_expect(is_open(peer), "it stays the caller's");
    rota_stream_close(&s);
    close(peer);
    free(bytes);
    return 0;
}

Task_test(stream, sizes_at_the_limits) {
    int peer;
    rota_stream s = open_pair(&peer, 16, SIZE_MAX), huge;
    cr_expect_eq(rota_stream_write(&s, "x", SIZE_MAX), -EINVAL);
    cr_expect_eq(rota_stream_write(&s, NULL, 0), 0);
    memory.fail_at = memory.calls + 1; /* what an allocator does with such a wish */
    cr_expect_eq(rota_stream_open(&huge, peer, &(rota_stream_options){.buffer_size = SIZE_MAX}), -ENOMEM);
    memory.fail_at = 0;
    unsigned char *bytes = much();
    cr_expect_eq(rota_stream_write(&s, bytes, MUCH), 0, "no mark at all");
    cr_expect_eq(suck(peer, bytes, 0, MUCH), (size_t)MUCH);
    rota_stream_close(&s);
    close(peer);
    free(bytes);
    return 0;
}

/* ---- closing ---- */

static int closes, watched_fd;

static int counting_close(int fd) {
    closes += fd == watched_fd;
    return rota__sys_real.close(fd);
}

static intptr_t close_body(void *unused) {
    int peer, other[2];
    unsigned char *bytes = much();
    (void)unused;
    rota_stream *s = malloc(sizeof *s);
    *s = open_pair(&peer, 16, 1000); /* no watcher runs yet: the struct may still move */
    struct writing w = {s, bytes, MUCH};
    struct until u = {.s = s, .separator = "\n"};
    rota_task *writer = start(do_write, &w), *reader = start(do_until, &u);
    watched_fd = s->fd;
    closes = 0;
    cr_expect_eq(rota_stream_close(s), 0);
    cr_expect_eq(s->fd, -1);
    unix_pair(other); /* gets the number */
    cr_expect_eq(other[0], watched_fd);
    cr_expect_eq(rota_stream_close(s), -EBADF);
    cr_expect_eq(closes, 1);
    cr_expect(is_open(other[0]));
    memset(s, 0x5a, sizeof *s);
    free(s); /* the calls inside must not touch it */
    cr_expect_eq(finish(writer), -EBADF);
    cr_expect_eq(finish(reader), -EBADF);
    rota_close(other[0]);
    close(other[1]);
    close(peer);
    free(bytes);
    return 0;
}

Test(stream, close_ends_the_calls_inside) {
    use_shim()->close = counting_close;
    cr_expect_eq(run_task(close_body, NULL), 0);
}

static intptr_t read_lines(void *arg) {
    const char *line;
    intptr_t n;
    rota_stream *s = *(rota_stream **)arg;
    while ((n = rota_stream_line(s, 0, &line)) > 0)
        ;
    cr_expect_null(line);
    return n;
}

/* The reader never waits for data: it is closed while it lets others run between two fast calls. */
Task_test(stream, closed_while_the_reader_yields) {
    int peer;
    rota_stream *s = malloc(sizeof *s);
    *s = open_pair(&peer, 0, 0);
    char lines[1000];
    for (size_t i = 0; i < sizeof lines; i++)
        lines[i] = '\n';
    cr_expect_eq(write(peer, lines, sizeof lines), (ssize_t)sizeof lines);
    rota_task *reader = start(read_lines, &s);
    cr_expect(!rota_task_done(reader));
    cr_expect_eq(rota_stream_close(s), 0);
    memset(s, 0x5a, sizeof *s);
    free(s);
    cr_expect_eq(finish(reader), -EBADF);
    close(peer);
    return 0;
}

Task_test(stream, the_descriptor_is_closed_under_it) {
    int peer;
    unsigned char *bytes = much();
    rota_stream s = open_pair(&peer, 16, MUCH);
    cr_expect_eq(rota_stream_write(&s, bytes, MUCH), 0);
    rota_task *drainer = start(do_drain, &s);
    cr_expect_eq(rota_forget(s.fd), 0);
    cr_expect_eq(finish(drainer), -EBADF);
    cr_expect_eq(rota_stream_write(&s, bytes, 1), -EBADF);
    cr_expect_eq(rota_stream_close(&s), 0);
    close(peer);
    free(bytes);
    return 0;
}

Task_test(stream, bad_arguments) {
    rota_stream s, zero;
    char buf[4];
    const char *data;
    int peer;
    memset(&zero, 0, sizeof zero);
    cr_expect_eq(rota_stream_open(NULL, 0, NULL), -EINVAL);
    cr_expect_eq(rota_stream_open(&s, -1, NULL), -EBADF);
    cr_expect_eq(rota_stream_open(&s, 999999, NULL), -EBADF);
    cr_expect_eq(rota_stream_open(&s, 0, &(rota_stream_options){.buffer = buf}), -EINVAL);
    cr_expect_eq(rota_stream_close(NULL), -EINVAL);
    cr_expect_eq(rota_stream_close(&zero), -EBADF, "descriptor 0 is not its own");
    cr_expect_eq(rota_stream_read(NULL, buf, 4), -EINVAL);
    cr_expect_eq(rota_stream_read(&zero, buf, 4), -EBADF);
    cr_expect_eq(rota_stream_write(&zero, buf, 4), -EBADF);
    cr_expect_eq(rota_stream_drain(&zero), -EBADF);
    cr_expect_eq(rota_stream_shutdown(&zero), -EBADF);
    s = open_pair(&peer, 0, 0);
    cr_expect_eq(rota_stream_until(&s, "", 0, 0, &data, NULL), -EINVAL);
    cr_expect_eq(rota_stream_until(&s, NULL, 1, 0, &data, NULL), -EINVAL);
    cr_expect_eq(rota_stream_until(&s, "x", 1, 0, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_stream_line(&s, 0, NULL), -EINVAL);
    rota_stream_close(&s);
    close(peer);
    return 0;
}

Test(stream, outside_of_tasks) {
    char buf[4];
    int peer;
    rota_stream s;
    cr_expect_eq(rota_stream_open(&s, 0, NULL), -EINVAL, "no loop");
    rota_loop *loop = open_loop();
    s = open_pair(&peer, 16, 0);
    cr_expect_eq(rota_stream_read(&s, buf, 4), -EPERM);
    cr_expect_eq(rota_stream_write(&s, buf, 4), -EPERM);
    cr_expect_eq(rota_stream_close(&s), 0);
    close(peer);
    close_loop(loop);
}

/* Standard input and the like: the writing side of a pipe that blocks. */
Task_test(stream, over_a_pipe) {
    int p[2];
    unsigned char *bytes = much(), *in = malloc(MUCH);
    rota_stream w, r;
    cr_expect_eq(pipe(p), 0);
    cr_expect_eq(rota_stream_open(&r, p[0], NULL), 0);
    cr_expect_eq(rota_stream_open(&w, p[1], NULL), 0);
    struct writing writing = {&w, bytes, MUCH};
    rota_task *writer = start(do_write, &writing);
    cr_expect_eq(rota_stream_read_exact(&r, in, MUCH, NULL), 0);
    cr_expect(has_pattern(in, MUCH));
    cr_expect_eq(finish(writer), 0);
    cr_expect_eq(rota_stream_shutdown(&w), -ENOTSOCK);
    rota_stream_close(&w);
    rota_stream_close(&r);
    free(bytes);
    free(in);
    return 0;
}
