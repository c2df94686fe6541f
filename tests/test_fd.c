/* Descriptor calls of tasks. Peers are driven by the system's own calls, which never block here. */
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/net_kit.h"
#include "tests/sys_table.h"

/* ---- reading and writing ---- */

Task_test(fd, read_takes_what_is_there) {
    int sv[2];
    char buf[16];
    unix_pair(sv);
    cr_expect_eq(write(sv[1], "hello", 5), 5);
    cr_expect_eq(rota_read(sv[0], buf, sizeof buf), 5);
    cr_expect_eq(memcmp(buf, "hello", 5), 0);
    close(sv[1]);
    cr_expect_eq(rota_read(sv[0], buf, sizeof buf), 0);
    rota_close(sv[0]);
    return 0;
}

Task_test(fd, read_waits_until_something_comes) {
    int sv[2];
    char buf[16];
    unix_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_read, &io);
    cr_expect(!rota_task_done(reader));
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(finish(reader), 1);
    cr_expect(is_blocking(sv[0]), "its mode must stay as it was");
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

/* Both directions of one descriptor in two tasks, and both block. */
static intptr_t big_transfer(void (*make)(int[2])) {
    int sv[2];
    size_t n = 1 << 20;
    unsigned char *out = malloc(n), *in = malloc(n);
    make(sv);
    fill_pattern(out, n);
    memset(in, 0, n);
    struct io w = {.fd = sv[0], .buf = out, .n = n}, r = {.fd = sv[1], .buf = in, .n = n};
    struct io w2 = {.fd = sv[1], .buf = out, .n = n}, r2 = {.fd = sv[0], .buf = malloc(n), .n = n};
    rota_task *tasks[] = {start(do_write_all, &w), start(do_read_exact, &r2), start(do_write_all, &w2),
                          start(do_read_exact, &r)};
    for (int i = 0; i < 4; i++)
        cr_expect_eq(finish(tasks[i]), 0);
    cr_expect_eq(w.done, n);
    cr_expect_eq(r.done, n);
    cr_expect(has_pattern(in, n) && has_pattern(r2.buf, n));
    rota_close(sv[0]);
    rota_close(sv[1]);
    free(out);
    free(in);
    free(r2.buf);
    return 0;
}

Task_test(fd, both_directions_of_a_unix_socket) { return big_transfer(unix_pair); }
Task_test(fd, both_directions_of_a_tcp_socket) { return big_transfer(tcp_pair); }

Task_test(fd, partial_read_leaves_the_rest) {
    int sv[2];
    char buf[4];
    tcp_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = 4};
    rota_task *reader = start(do_read, &io); /* waits once: from now on it is registered */
    cr_expect_eq(write(sv[1], "abcdefgh", 8), 8);
    cr_expect_eq(finish(reader), 4);
    cr_expect_eq(rota_read(sv[0], buf, 4), 4);
    cr_expect_eq(memcmp(buf, "efgh", 4), 0);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

Task_test(fd, read_exact_ends_early) {
    int sv[2];
    char buf[8];
    size_t done = 99;
    unix_pair(sv);
    cr_expect_eq(write(sv[1], "abc", 3), 3);
    close(sv[1]);
    cr_expect_eq(rota_read_exact(sv[0], buf, 8, &done), -EPIPE);
    cr_expect_eq(done, 3u);
    cr_expect_eq(rota_read_exact(sv[0], buf, 0, &done), 0);
    cr_expect_eq(done, 0u);
    rota_close(sv[0]);
    return 0;
}

Task_test(fd, lengths_at_the_limits) {
    int sv[2];
    static struct iovec iov[IOV_MAX + 1];
    static char bytes[IOV_MAX + 1];
    tcp_pair(sv);
    for (int known = 0; known < 2; known++) {
        cr_expect_eq(rota_read(sv[0], NULL, 0), 0, "must not wait for data");
        cr_expect_eq(rota_write(sv[0], NULL, 0), 0);
        cr_expect_eq(rota_try_read(sv[0], NULL, 0), 0);
        cr_expect_eq(rota_try_write(sv[0], NULL, 0), 0);
    }
    cr_expect_eq(rota_readv(sv[0], NULL, 0), 0);
    cr_expect_eq(rota_writev(sv[0], NULL, 0), 0);
    cr_expect_eq(rota_readv(sv[0], iov, -1), -EINVAL);
    cr_expect_eq(rota_writev(sv[0], NULL, 1), -EINVAL);
    for (int i = 0; i <= IOV_MAX; i++)
        iov[i] = (struct iovec){&bytes[i], 1};
    cr_expect_eq(rota_writev(sv[0], iov, IOV_MAX), IOV_MAX);
    cr_expect_eq(rota_writev(sv[0], iov, IOV_MAX + 1), -EINVAL);
    cr_expect_eq(rota_readv(sv[1], iov, IOV_MAX + 1), -EINVAL);
    cr_expect_eq(rota_readv(sv[1], iov, IOV_MAX), IOV_MAX);
    size_t huge = (size_t)1 << 31;
    void *room = mmap(NULL, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (room != MAP_FAILED) {
        cr_expect_eq(write(sv[1], "x", 1), 1);
        cr_expect_eq(rota_read(sv[0], room, SIZE_MAX), 1);
        munmap(room, huge);
    }
    rota_close(sv[0]);
    rota_close(sv[1]);
    return 0;
}

/* sendmsg that takes `limit` bytes at most. */
static size_t sendmsg_limit;

static ssize_t short_sendmsg(int fd, const struct msghdr *msg, int flags) {
    char flat[64];
    size_t n = 0;
    for (size_t i = 0; i < (size_t)msg->msg_iovlen; i++) {
        memcpy(flat + n, msg->msg_iov[i].iov_base, msg->msg_iov[i].iov_len);
        n += msg->msg_iov[i].iov_len;
    }
    return rota__sys_real.send(fd, flat, n < sendmsg_limit ? n : sendmsg_limit, flags);
}

static intptr_t vectored_body(void *unused) {
    (void)unused;
    char text[] = "abcdefghijklmno";
    for (sendmsg_limit = 1; sendmsg_limit <= 15; sendmsg_limit++) {
        int sv[2];
        char buf[16] = "";
        unix_pair(sv);
        for (size_t sum = 0; sum < 15;) {
            struct iovec iov[3];
            int n = 0;
            for (size_t i = 0; i < 3; i++) {
                size_t from = sum > i * 5 ? sum : i * 5;
                if (from < (i + 1) * 5)
                    iov[n++] = (struct iovec){text + from, (i + 1) * 5 - from};
            }
            ssize_t r = rota_writev(sv[0], iov, n);
            cr_expect(r > 0);
            sum += r > 0 ? (size_t)r : 15;
        }
        cr_expect_eq(rota_read_exact(sv[1], buf, 15, NULL), 0);
        cr_expect_str_eq(buf, text);
        rota_close(sv[0]);
        rota_close(sv[1]);
    }
    return 0;
}

Test(fd, vector_accepted_in_part) {
    use_shim()->sendmsg = short_sendmsg;
    cr_expect_eq(run_task(vectored_body, NULL), 0);
}

/* Every other call of these is interrupted. */
static int interruptions;

static ssize_t interrupted_recv(int fd, void *buf, size_t n, int flags) {
    return ++interruptions % 2 ? -EINTR : rota__sys_real.recv(fd, buf, n, flags);
}

static ssize_t interrupted_send(int fd, const void *buf, size_t n, int flags) {
    return ++interruptions % 2 ? -EINTR : rota__sys_real.send(fd, buf, n, flags);
}

static intptr_t interrupted_body(void *unused) {
    (void)unused;
    return big_transfer(tcp_pair);
}

Test(fd, interruptions_are_not_seen) {
    use_shim()->recv = interrupted_recv;
    shim.send = interrupted_send;
    cr_expect_eq(run_task(interrupted_body, NULL), 0);
    cr_expect_gt(interruptions, 2);
}

/* ---- waiting, and how it ends ---- */

static intptr_t do_readv(void *arg) {
    struct io *io = arg;
    struct iovec iov[] = {{io->buf, 1}, {(char *)io->buf + 1, io->n - 1}};
    return rota_readv(io->fd, iov, 2);
}

/* As when another process, with which the descriptor is shared, was faster. */
Task_test(fd, news_that_comes_to_nothing_is_waited_out) {
    rota_fn *const reads[] = {do_read, do_readv, do_read_exact};
    int sv[2];
    char buf[2];
    for (int i = 0; i < 12; i++) {
        (i < 6 ? unix_pair : tcp_pair)(sv);
        if (i / 3 % 2) /* the loop knows the socket */
            cr_expect_eq(rota_try_read(sv[0], buf, 1), -EAGAIN);
        struct io io = {.fd = sv[0], .buf = buf, .n = 2};
        rota_task *reader = start(reads[i % 3], &io);
        struct rota__fd *slot = rota__fd_find(&rota_loop_current()->fds, sv[0]);
        for (int round = 0; round < 3; round++) {
            rota__fd_event(rota_loop_current(), sv[0], slot->generation, ROTA_READ); /* what step 3 does */
            cr_expect_eq(rota_sleep(ROTA_MS), 0);
            cr_expect(!rota_task_done(reader));
        }
        cr_expect_eq(write(sv[1], "xy", 2), 2);
        cr_expect_eq(finish(reader), i % 3 < 2 ? 2 : 0);
        rota_close(sv[0]);
        close(sv[1]);
    }
    return 0;
}

Task_test(fd, second_reader_is_refused) {
    int sv[2];
    char buf[4];
    unix_pair(sv);
    struct io a = {.fd = sv[0], .buf = buf, .n = 4}, b = a;
    rota_task *first = start(do_read, &a), *second = start(do_read, &b);
    cr_expect_eq(finish(second), -EBUSY);
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(finish(first), 1);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

Task_test(fd, close_wakes_the_waiter) {
    int sv[2], again[2];
    char buf[4];
    unix_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = 4};
    rota_task *reader = start(do_read, &io);
    cr_expect_eq(rota_close(sv[0]), 0);
    cr_expect(!is_open(sv[0]));
    unix_pair(again); /* gets the number */
    cr_expect_eq(again[0], sv[0]);
    cr_expect_eq(write(again[1], "x", 1), 1);
    cr_expect_eq(finish(reader), -EBADF);
    cr_expect_eq(rota_read(again[0], buf, 4), 1, "the new owner's data is the new owner's");
    cr_expect_eq(rota_close(-1), -EBADF);
    rota_close(again[0]);
    close(again[1]);
    close(sv[1]);
    return 0;
}

/* Data has woken the reader; before it runs, another task closes, and the number is taken by somebody else. */
Task_test(fd, closed_between_wake_and_run) {
    int fds[2], again[2];
    char buf[8] = "";
    unix_pair(fds);
    struct io io = {.fd = fds[0], .buf = buf, .n = 8};
    rota_task *reader = start(do_read, &io);
    cr_expect_eq(write(fds[1], "mine", 4), 4);
    struct rota__fd *slot = rota__fd_find(&rota_loop_current()->fds, fds[0]);
    rota__fd_event(rota_loop_current(), fds[0], slot->generation, ROTA_READ); /* what step 3 does */
    rota_close(fds[0]);
    unix_pair(again);
    cr_expect_eq(again[0], fds[0]);
    cr_expect_eq(write(again[1], "theirs", 6), 6);
    cr_expect_eq(finish(reader), -EBADF);
    cr_expect_str_eq(buf, "", "nothing may be read from the new owner");
    rota_close(again[0]);
    close(again[1]);
    close(fds[1]);
    return 0;
}

Task_test(fd, forget_wakes_the_waiter_and_leaves_it_open) {
    int sv[2];
    char buf[4];
    unix_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = 4};
    rota_task *reader = start(do_read, &io);
    cr_expect_eq(rota_forget(sv[0]), 0);
    cr_expect_eq(finish(reader), -EBADF);
    cr_expect(is_open(sv[0]));
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(rota_read(sv[0], buf, 4), 1, "it can be used anew");
    cr_expect_eq(rota_forget(-1), -EBADF);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

Task_test(fd, cancelled_reader_leaves_the_direction_free) {
    int sv[2];
    char buf[4];
    unix_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = 4};
    rota_task *reader = start(do_read, &io);
    rota_cancel(reader, "test");
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(rota_read(sv[0], buf, 4), 1);
    cr_expect_eq(finish(reader), -ECANCELED);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

static intptr_t read_then_read(void *arg) {
    struct io *io = arg;
    io->result = rota_read(io->fd, io->buf, io->n);
    return rota_read(io->fd, io->buf, io->n);
}

/* Readiness came first: the read succeeds, the next one is refused. */
Task_test(fd, completion_beats_cancellation) {
    int sv[2];
    char buf[4];
    unix_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = 1};
    rota_task *reader = start(read_then_read, &io);
    cr_expect_eq(write(sv[1], "xy", 2), 2);
    struct rota__fd *slot = rota__fd_find(&rota_loop_current()->fds, sv[0]);
    rota__fd_event(rota_loop_current(), sv[0], slot->generation, ROTA_READ);
    rota_cancel(reader, "test");
    cr_expect_eq(finish(reader), -ECANCELED);
    cr_expect_eq(io.result, 1);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

Task_test(fd, deadline_ends_a_read) {
    int sv[2];
    char buf[4];
    unix_pair(sv);
    int64_t before = rota_now();
    rota_scope scope;
    rota_timeout_begin(&scope, 30 * ROTA_S);
    intptr_t v = rota_read(sv[0], buf, 4);
    cr_expect_eq(v, -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, v), -ETIMEDOUT);
    cr_expect_eq(since(before), 30 * ROTA_S);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

Task_test(fd, refused_before_anything_is_tried) {
    int sv[2];
    char buf[4];
    unix_pair(sv);
    cr_expect_eq(write(sv[1], "x", 1), 1);
    rota_scope scope;
    rota_scope_begin(&scope);
    rota_scope_cancel(&scope, "test");
    cr_expect_eq(rota_read(sv[0], buf, 4), -ECANCELED);
    cr_expect_eq(rota_write(sv[0], buf, 1), -ECANCELED);
    cr_expect_eq(rota_poll(sv[0], ROTA_READ), -ECANCELED);
    cr_expect_eq(rota_accept(sv[0], NULL, NULL), -ECANCELED);
    cr_expect_eq(rota_connect(sv[0], NULL, 0), -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, 0), 0);
    cr_expect_eq(rota_read(sv[0], buf, 4), 1);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

static void expect_all(int fd, int error) {
    char buf[4];
    struct sockaddr_in a = loopback(1);
    struct iovec iov = {buf, 4};
    cr_expect_eq(rota_read(fd, buf, 4), error);
    cr_expect_eq(rota_read(fd, buf, 0), error);
    cr_expect_eq(rota_write(fd, buf, 4), error);
    cr_expect_eq(rota_readv(fd, &iov, 1), error);
    cr_expect_eq(rota_writev(fd, &iov, 1), error);
    cr_expect_eq(rota_read_exact(fd, buf, 4, NULL), error);
    cr_expect_eq(rota_write_all(fd, buf, 4, NULL), error);
    cr_expect_eq(rota_poll(fd, ROTA_READ), error);
    cr_expect_eq(rota_accept(fd, NULL, NULL), error);
    cr_expect_eq(rota_connect(fd, (struct sockaddr *)&a, sizeof a), error);
}

Task_test(fd, bad_descriptors) {
    int closed = dup(0);
    close(closed);
    expect_all(-1, -EBADF);
    expect_all(999999, -EBADF);
    expect_all(closed, -EBADF);
    cr_expect_eq(rota_close(closed), -EBADF);
    cr_expect_null(rota__fd_find(&rota_loop_current()->fds, 999999), "a wild number must not grow the table");
    cr_expect_eq(rota_poll(0, 0), -EINVAL);
    cr_expect_eq(rota_poll(0, 64), -EINVAL);
    return 0;
}

Test(fd, outside_of_tasks) {
    expect_all(0, -EPERM);
    int sv[2];
    unix_pair(sv);
    cr_expect_eq(rota_close(sv[0]), 0);
    cr_expect(!is_open(sv[0]));
    cr_expect_eq(rota_forget(sv[1]), 0);
    cr_expect_eq(rota_close(sv[1]), 0);
    rota_loop *loop = open_loop();
    expect_all(0, -EPERM);
    close_loop(loop);
}

/* ---- what is remembered ---- */

static int recvs, sends;

static ssize_t counting_recv(int fd, void *buf, size_t n, int flags) {
    recvs++;
    return rota__sys_real.recv(fd, buf, n, flags);
}

static ssize_t counting_send(int fd, const void *buf, size_t n, int flags) {
    sends++;
    return rota__sys_real.send(fd, buf, n, flags);
}

/* Calls to recv that the second of two reads makes, after a first one that was short. */
static int recvs_after_short_read(void (*make)(int[2]), bool end) {
    int sv[2];
    char buf[16];
    make(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = 16};
    rota_task *reader = start(do_read, &io);
    cr_expect_eq(write(sv[1], "abc", 3), 3);
    if (end)
        shutdown(sv[1], SHUT_WR);
    cr_expect_eq(finish(reader), 3);
    recvs = 0;
    reader = start(do_read, &io);
    int n = recvs;
    if (!end) {
        cr_expect(!rota_task_done(reader));
        cr_expect_eq(write(sv[1], "d", 1), 1);
    }
    cr_expect_eq(finish(reader), end ? 0 : 1);
    rota_close(sv[0]);
    rota_close(sv[1]);
    return n;
}

static intptr_t short_reads_body(void *unused) {
    (void)unused;
    cr_expect_eq(recvs_after_short_read(tcp_pair, false), 0, "on TCP a short read says that nothing is left");
    cr_expect_eq(recvs_after_short_read(unix_pair, false), 1, "elsewhere only EAGAIN does");
    cr_expect_eq(recvs_after_short_read(tcp_pair, true), 1, "nor when the peer's end was announced");
    return 0;
}

Test(fd, short_reads) {
    use_shim()->recv = counting_recv;
    cr_expect_eq(run_task(short_reads_body, NULL), 0);
}

/* First there is no room: so the writer waits, and from then on what is known of the room is remembered. Then as from
 * memory that ends behind three bytes. */
static ssize_t send_until_fault(int fd, const void *buf, size_t n, int flags) {
    switch (sends++) {
    case 0:  return -EAGAIN;
    case 1:  return rota__sys_real.send(fd, buf, n < 3 ? n : 3, flags);
    default: return -EFAULT;
    }
}

static intptr_t do_write(void *arg) {
    struct io *io = arg;
    return io->result = rota_write(io->fd, io->buf, io->n);
}

static intptr_t short_write_body(void *unused) {
    (void)unused;
    int sv[2];
    tcp_pair(sv);
    char text[] = "abcdef";
    struct io io = {.fd = sv[0], .buf = text, .n = 6};
    cr_expect_eq(finish(start(do_write, &io)), 3);
    rota_task *writer = start(do_write, &io);
    cr_expect(rota_task_done(writer), "there is room, and no edge will come");
    if (!rota_task_done(writer))
        cr_expect_eq(rota_cancel(writer, NULL), 0);
    cr_expect_eq(finish(writer), -EFAULT);
    rota_close(sv[0]);
    rota_close(sv[1]);
    return 0;
}

Test(fd, a_short_write_does_not_say_that_there_is_no_room) {
    use_shim()->send = send_until_fault;
    cr_expect_eq(run_task(short_write_body, NULL), 0);
}

/* ---- waiting costs nothing ---- */

static int polls;

/* The loop's own poller may be poll(2): what it asks about first is its waker. */
static int counting_poll(struct pollfd *fds, nfds_t n, int timeout_ms) {
    polls += fds[0].fd != rota_loop_current()->inbox->waker.other;
    return rota__sys_real.poll(fds, n, timeout_ms);
}

/* System calls of a task that waits on, over some turns of the loop. */
static int calls_while_waiting(void) {
    recvs = sends = polls = 0;
    for (int i = 0; i < 20; i++)
        cr_expect_eq(rota_yield(), 0);
    for (int i = 0; i < 20; i++)
        cr_expect_eq(rota_sleep(ROTA_MS), 0);
    return recvs + sends + polls;
}

static intptr_t do_poll(void *arg) {
    struct io *io = arg;
    return rota_poll(io->fd, (unsigned)io->n);
}

static intptr_t quiet_reader_body(void *unused) {
    int sv[2];
    char buf[4];
    (void)unused;
    unix_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = 4}, p = {.fd = sv[0], .n = ROTA_READ};
    rota_task *reader = start(do_read, &io);
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(finish(reader), 1);
    reader = start(do_read, &io); /* after readiness that was remembered, and is used up */
    cr_expect_eq(calls_while_waiting(), 0);
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(finish(reader), 1);
    reader = start(do_poll, &p);
    cr_expect_eq(calls_while_waiting(), 0);
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(finish(reader), ROTA_READ);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

Test(fd, a_waiting_reader_makes_no_calls) {
    use_shim()->recv = counting_recv;
    shim.poll = counting_poll;
    cr_expect_eq(run_task(quiet_reader_body, NULL), 0);
}

/* The peer has ended its side, and reads late: that it has ended is remembered, and must not keep waking a writer
 * that waits for room. */
static intptr_t half_close_body(void *unused) {
    (void)unused;
    int sv[2];
    size_t n = 16 << 20;
    char *bytes = calloc(1, n), *in = malloc(n), c;
    tcp_pair(sv);
    struct io w = {.fd = sv[0], .buf = bytes, .n = n}, r = {.fd = sv[0], .buf = &c, .n = 1};
    for (int round = 0; round < 2; round++) {
        rota_task *writer = start(do_write_all, &w);
        cr_expect(!rota_task_done(writer));
        (void)calls_while_waiting(); /* until the kernel's buffers have stopped growing */
        int calls = calls_while_waiting();
        if (round == 1) /* both directions were registered by now, and the end was announced */
            cr_expect_lt(calls, 10, "%d calls of send in 40 turns without room", calls);
        cr_expect_eq(rota_read_exact(sv[1], in, n, NULL), 0);
        cr_expect_eq(finish(writer), 0);
        rota_task *reader = start(do_read, &r);
        shutdown(sv[1], SHUT_WR);
        cr_expect_eq(finish(reader), 0);
    }
    rota_close(sv[0]);
    rota_close(sv[1]);
    free(bytes);
    free(in);
    return 0;
}

Test(fd, half_closed_peer_does_not_keep_a_writer_busy) {
    use_shim()->send = counting_send;
    cr_expect_eq(run_task(half_close_body, NULL), 0);
}

static intptr_t count_ten(void *arg) {
    for (int *n = arg; *n < 10; ++*n)
        if (rota_yield() < 0)
            return -1;
    return 0;
}

enum { BUSY_CALLS = 64 * 12 }; /* each 64 of them yield */

static intptr_t busy_call(intptr_t (*call)(int fd), int fd) {
    int others = 0;
    rota_task *task;
    cr_expect_eq(rota_spawn(&task, count_ten, &others, NULL), 0);
    for (int i = 0; i < BUSY_CALLS; i++)
        cr_expect_eq(call(fd), 1);
    cr_expect_eq(others, 10);
    cr_expect_eq(finish(task), 0);
    return rota_close(fd);
}

static intptr_t read_one(int fd) {
    char c;
    return rota_read(fd, &c, 1);
}

static intptr_t write_one(int fd) { return rota_write(fd, "x", 1); }

Task_test(fd, a_busy_reader_lets_others_run) { return busy_call(read_one, open("/dev/zero", O_RDONLY)); }

Task_test(fd, a_busy_user_of_a_socket_lets_others_run) {
    static const char bytes[BUSY_CALLS];
    int sv[2];
    tcp_pair(sv);
    cr_expect_eq(write(sv[1], bytes, sizeof bytes), (ssize_t)sizeof bytes);
    cr_expect_eq(busy_call(read_one, sv[0]), 0);
    close(sv[1]);
    tcp_pair(sv);
    cr_expect_eq(busy_call(write_one, sv[0]), 0);
    close(sv[1]);
    return 0;
}

/* ---- pipes ---- */

static ssize_t no_nowait(int fd, const struct iovec *iov, int n) {
    (void)fd, (void)iov, (void)n;
    return -EOPNOTSUPP;
}

static size_t largest_write;

static ssize_t measuring_writev(int fd, const struct iovec *iov, int n) {
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    largest_write = sum > largest_write ? sum : largest_write;
    return rota__sys_real.writev(fd, iov, n);
}

static intptr_t pipe_body(void *non_blocking) {
    int p[2];
    size_t n = 300000;
    unsigned char *out = malloc(n), *in = malloc(n);
    cr_expect_eq(non_blocking ? rota__sys_real.pipe(p) : pipe(p), 0);
    fill_pattern(out, n);
    struct io w = {.fd = p[1], .buf = out, .n = n}, r = {.fd = p[0], .buf = in, .n = n};
    rota_task *reader = start(do_read_exact, &r), *writer = start(do_write_all, &w);
    cr_expect_eq(finish(writer), 0);
    cr_expect_eq(finish(reader), 0);
    cr_expect(has_pattern(in, n));
    cr_expect_eq(is_blocking(p[0]), !non_blocking);
    rota_close(p[0]);
    rota_close(p[1]);
    free(out);
    free(in);
    return 0;
}

Test(fd, blocking_pipe) { cr_expect_eq(run_task(pipe_body, NULL), 0); }
Test(fd, non_blocking_pipe) { cr_expect_eq(run_task(pipe_body, &shim), 0); }

Test(fd, blocking_pipe_without_nowait) {
    use_shim()->readv_nowait = no_nowait;
    shim.writev_nowait = no_nowait;
    shim.writev = measuring_writev;
    cr_expect_eq(run_task(pipe_body, NULL), 0);
    cr_expect_eq(largest_write, (size_t)PIPE_BUF, "more than that could block");
}

static intptr_t broken_pipe_body(void *unused) {
    int p[2];
    static char bytes[1 << 20];
    (void)unused;
    cr_expect_eq(pipe(p), 0);
    struct io w = {.fd = p[1], .buf = bytes, .n = sizeof bytes};
    rota_task *writer = start(do_write_all, &w);
    cr_expect(!rota_task_done(writer));
    close(p[0]); /* ends a wait for room, too */
    cr_expect_eq(finish(writer), -EPIPE);
    cr_expect_gt(w.done, 0u);
    cr_expect_eq(rota_write(p[1], bytes, 1), -EPIPE);
    rota_close(p[1]);
    return 0;
}

/* With the default disposition: the signal would end the test. */
Test(fd, broken_pipe_raises_no_signal) { cr_expect_eq(run_task(broken_pipe_body, NULL), 0); }

Test(fd, broken_pipe_raises_no_signal_without_nowait) {
    use_shim()->writev_nowait = no_nowait;
    cr_expect_eq(run_task(broken_pipe_body, NULL), 0);
}

static bool sigpipe_pending(void) {
    sigset_t set;
    sigpending(&set);
    return sigismember(&set, SIGPIPE) == 1;
}

Test(fd, broken_pipe_with_the_signal_blocked) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    cr_expect_eq(run_task(broken_pipe_body, NULL), 0);
    cr_expect(!sigpipe_pending(), "ours was left pending");
    raise(SIGPIPE);
    cr_expect_eq(run_task(broken_pipe_body, NULL), 0);
    cr_expect(sigpipe_pending(), "the program's own was taken");
    sigprocmask(SIG_BLOCK, NULL, &set);
    cr_expect_eq(sigismember(&set, SIGPIPE), 1);
}

Task_test(fd, broken_socket_raises_no_signal) {
    int sv[2];
    static char bytes[1 << 20];
    tcp_pair(sv);
    struct linger reset = {.l_onoff = 1};
    setsockopt(sv[1], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    struct io r = {.fd = sv[0], .buf = bytes, .n = 1};
    rota_task *reader = start(do_read, &r);
    close(sv[1]); /* RST */
    cr_expect_eq(finish(reader), -ECONNRESET);
    cr_expect_eq(rota_write(sv[0], bytes, 1), -EPIPE);
    cr_expect_eq(rota_writev(sv[0], (struct iovec[]){{bytes, 1}, {bytes, 1}}, 2), -EPIPE);
    rota_close(sv[0]);
    return 0;
}

/* ---- other kinds ---- */

Task_test(fd, regular_files_directories_and_null) {
    char path[] = "/tmp/rota-test-XXXXXX", buf[8] = "";
    int fd = mkstemp(path), dir = open("/", O_RDONLY), null = open("/dev/null", O_RDWR);
    unlink(path);
    cr_expect_eq(rota_write_all(fd, "hello", 5, NULL), 0);
    lseek(fd, 0, SEEK_SET);
    cr_expect_eq(rota_poll(fd, ROTA_READ), ROTA_READ);
    cr_expect_eq(rota_read_exact(fd, buf, 5, NULL), 0);
    cr_expect_str_eq(buf, "hello");
    cr_expect_eq(rota_read(fd, buf, 8), 0);
    cr_expect_eq(rota_read(dir, buf, 8), -EISDIR);
    cr_expect_eq(rota_read(null, buf, 8), 0);
    cr_expect_eq(rota_write(null, buf, 8), 8);
    cr_expect_eq(rota_poll(null, ROTA_READ | ROTA_WRITE), ROTA_READ | ROTA_WRITE);
    rota_close(fd);
    rota_close(dir);
    rota_close(null);
    return 0;
}

Task_test(fd, terminals) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0)
        return 0;
    grantpt(master);
    unlockpt(master);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    char buf[16] = "";
    struct io io = {.fd = slave, .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_read, &io);
    cr_expect_eq(rota_write(master, "line\n", 5), 5);
    cr_expect_eq(finish(reader), 5);
    cr_expect_str_eq(buf, "line\n");
    rota_close(slave);
    rota_close(master);
    return 0;
}

/* Closed and replaced behind the library's back. */
Task_test(fd, number_becomes_another_kind) {
    int sv[2], p[2];
    char buf[4];
    tcp_pair(sv);
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(rota_read(sv[0], buf, 1), 1);
    cr_expect_eq(pipe(p), 0);
    dup2(p[0], sv[0]);
    cr_expect_eq(write(p[1], "ab", 2), 2);
    cr_expect_eq(rota_read(sv[0], buf, 4), 2);
    rota_close(sv[0]);
    close(sv[1]);
    close(p[0]);
    close(p[1]);
    return 0;
}

/* ---- poll ---- */

Task_test(fd, poll_tells_the_truth) {
    int sv[2];
    char buf[4];
    tcp_pair(sv);
    cr_expect_eq(rota_poll(sv[0], ROTA_READ | ROTA_WRITE), ROTA_WRITE);
    struct io io = {.fd = sv[0], .n = ROTA_READ};
    rota_task *poller = start(do_poll, &io);
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(finish(poller), ROTA_READ);
    cr_expect_eq(rota_poll(sv[0], ROTA_READ), ROTA_READ, "it is still there");
    cr_expect_eq(read(sv[0], buf, 4), 1); /* by others: what the slot remembers is wrong now */
    poller = start(do_poll, &io);
    cr_expect(!rota_task_done(poller));
    struct io second = io;
    rota_task *other = start(do_poll, &second);
    cr_expect_eq(finish(other), -EBUSY);
    close(sv[1]);
    cr_expect_eq(finish(poller) & ROTA_READ, ROTA_READ);
    cr_expect_eq(rota_read(sv[0], buf, 4), 0);
    rota_close(sv[0]);
    return 0;
}

/* Of a descriptor on which only a reader has waited so far. */
Task_test(fd, poll_for_both_directions) {
    static char bytes[1 << 16];
    int sv[2];
    unix_pair(sv);
    struct io r = {.fd = sv[0], .buf = bytes, .n = 1}, p = {.fd = sv[0], .n = ROTA_READ | ROTA_WRITE};
    rota_task *task = start(do_read, &r);
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(finish(task), 1);
    while (send(sv[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
    task = start(do_poll, &p);
    cr_expect(!rota_task_done(task));
    while (recv(sv[1], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
    cr_expect_eq(finish(task), ROTA_WRITE);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

Task_test(fd, poll_for_urgent_data) {
    int sv[2];
    tcp_pair(sv);
    struct io io = {.fd = sv[0], .n = ROTA_PRIORITY};
    rota_task *poller = start(do_poll, &io);
    cr_expect_eq(send(sv[1], "!", 1, MSG_OOB), 1);
    cr_expect_eq(finish(poller), ROTA_PRIORITY);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

Task_test(fd, poll_ends_when_closed) {
    int sv[2];
    unix_pair(sv);
    struct io io = {.fd = sv[0], .n = ROTA_READ};
    rota_task *poller = start(do_poll, &io);
    rota_close(sv[0]);
    cr_expect_eq(finish(poller), -EBADF);
    close(sv[1]);
    return 0;
}

/* ---- accept ---- */

static intptr_t do_accept(void *arg) {
    struct io *io = arg;
    return rota_accept(io->fd, NULL, NULL);
}

Task_test(fd, accept_from_a_blocking_listener) {
    int listener = raw_listener(8);
    struct io io = {.fd = listener};
    rota_task *acceptor = start(do_accept, &io);
    cr_expect(!rota_task_done(acceptor), "must not block the loop either");
    int client = raw_connect(port_of(listener));
    int fd = (int)finish(acceptor);
    cr_expect_geq(fd, 0);
    cr_expect(!is_blocking(fd));
    cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    cr_expect(is_blocking(listener));

    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    int second = raw_connect(port_of(listener)), accepted = rota_accept(listener, (struct sockaddr *)&addr, &len);
    cr_expect_geq(accepted, 0);
    cr_expect_eq(len, sizeof addr);
    cr_expect_eq(ntohs(addr.sin_port), port_of(second));
    rota_close(accepted);
    rota_close(fd);
    rota_close(listener);
    close(client);
    close(second);
    return 0;
}

Task_test(fd, accept_from_what_is_no_listener) {
    int pipe_fds[2], udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(pipe(pipe_fds), 0);
    cr_expect_eq(rota_accept(pipe_fds[0], NULL, NULL), -ENOTSOCK);
    cr_expect_eq(rota_accept(udp, NULL, NULL), -EOPNOTSUPP);
    cr_expect_eq(rota_accept(tcp, NULL, NULL), -EINVAL);
    rota_close(pipe_fds[0]);
    rota_close(pipe_fds[1]);
    rota_close(udp);
    rota_close(tcp);
    return 0;
}

Task_test(fd, close_ends_accept) {
    struct io io = {.fd = raw_listener(8)};
    rota_task *acceptor = start(do_accept, &io);
    rota_close(io.fd);
    cr_expect_eq(finish(acceptor), -EBADF);
    int udp = nonblocking(socket(AF_INET, SOCK_DGRAM, 0));
    cr_expect_eq(rota_accept(udp, NULL, NULL), -EOPNOTSUPP);
    rota_close(udp);
    return 0;
}

static const int *accept_errors;   /* negative, ended by 0 */
static int accepts;

static int failing_accept(int fd, struct sockaddr *addr, socklen_t *len) {
    accepts++;
    if (*accept_errors)
        return *accept_errors++;
    return rota__sys_real.accept(fd, addr, len);
}

static intptr_t transient_body(void *unused) {
    static int errors[201];
    static const int kinds[] = {-EINTR, -ECONNABORTED, -EPROTO, -EPERM, -ENETDOWN, -EHOSTUNREACH, -ENETUNREACH,
                                -EHOSTDOWN, -EINTR, -ENOPROTOOPT};
    (void)unused;
    for (int i = 0; i < 200; i++)
        errors[i] = kinds[i % 10];
    accept_errors = errors;
    int listener = raw_listener(8), client = raw_connect(port_of(listener));
    int64_t before = rota_now();
    int fd = rota_accept(listener, NULL, NULL);
    cr_expect_geq(fd, 0);
    cr_expect_eq(accepts, 201);
    cr_expect_gt(since(before), 0, "a long row of errors must not keep the loop busy");
    rota_close(fd);
    rota_close(listener);
    close(client);
    return 0;
}

Test(fd, accept_skips_transient_errors) {
    use_shim()->accept = failing_accept;
    cr_expect_eq(run_task(transient_body, NULL), 0);
}

static intptr_t close_after(void *arg) {
    int rc = rota_sleep(10 * ROTA_MS);
    rota_close(*(int *)arg);
    return rc;
}

static intptr_t starved_body(void *unused) {
    static const int full[] = {-EMFILE, -ENFILE, -EMFILE, 0};
    (void)unused;
    accept_errors = full;
    int listener = raw_listener(8), client = raw_connect(port_of(listener)), spare = dup(0);
    int64_t before = rota_now();
    cr_expect_eq(rota_accept(listener, NULL, NULL), -EMFILE);
    cr_expect_eq(since(before), 0);
    cr_expect_eq(rota_accept(listener, NULL, NULL), -ENFILE);
    cr_expect_eq(since(before), 50 * ROTA_MS, "nobody closed anything: a pause");
    before = rota_now();
    rota_task *closer_task;
    cr_expect_eq(rota_spawn(&closer_task, close_after, &spare, NULL), 0);
    cr_expect_eq(rota_accept(listener, NULL, NULL), -EMFILE);
    cr_expect_eq(since(before), 10 * ROTA_MS, "the close was the moment to try");
    int fd = rota_accept(listener, NULL, NULL);
    cr_expect_geq(fd, 0);
    cr_expect_eq(accepts, 4);
    cr_expect_eq(finish(closer_task), 0);
    rota_close(fd);
    rota_close(listener);
    close(client);
    return 0;
}

Test(fd, accept_without_free_descriptors) {
    use_shim()->accept = failing_accept;
    cr_expect_eq(run_task(starved_body, NULL), 0);
}

static intptr_t starved_ends_body(void *unused) {
    static const int full[] = {-EMFILE, -EMFILE, 0};
    (void)unused;
    accept_errors = full;
    struct io io = {.fd = raw_listener(8)};
    int client = raw_connect(port_of(io.fd));
    cr_expect_eq(rota_accept(io.fd, NULL, NULL), -EMFILE);
    rota_task *acceptor = start(do_accept, &io);
    rota_cancel(acceptor, "test");
    cr_expect_eq(finish(acceptor), -ECANCELED);
    acceptor = start(do_accept, &io);
    rota_close(io.fd);
    int other = raw_listener(8); /* gets the number */
    cr_expect_eq(other, io.fd);
    cr_expect_eq(finish(acceptor), -EBADF);
    cr_expect_eq(accepts, 1);
    rota_close(other);
    close(client);
    return 0;
}

Test(fd, starved_accept_can_be_ended) {
    use_shim()->accept = failing_accept;
    cr_expect_eq(run_task(starved_ends_body, NULL), 0);
}

/* ---- connect ---- */

static int connect_to(int fd, int port) {
    struct sockaddr_in a = loopback(port);
    return rota_connect(fd, (struct sockaddr *)&a, sizeof a);
}

Task_test(fd, connect_to_a_listener_and_to_nobody) {
    int listener = raw_listener(8), fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(connect_to(fd, port_of(listener)), 0);
    cr_expect(is_blocking(fd), "its mode must stay as it was");
    int peer = rota_accept(listener, NULL, NULL);
    cr_expect_eq(rota_write(fd, "x", 1), 1);
    char c;
    cr_expect_eq(rota_read(peer, &c, 1), 1);
    rota_close(fd);

    fd = nonblocking(socket(AF_INET, SOCK_STREAM, 0));
    cr_expect_eq(connect_to(fd, closed_port()), -ECONNREFUSED);
    cr_expect(is_open(fd) && !is_blocking(fd), "it stays the caller's");
    cr_expect_eq(rota_connect(fd, NULL, 0), -EINVAL);
    rota_close(fd);
    rota_close(peer);
    rota_close(listener);
    return 0;
}

static int connect_error;

static int failing_connect(int fd, const struct sockaddr *addr, socklen_t len) {
    int rc = rota__sys_real.connect(fd, addr, len);
    return connect_error == -EINTR ? (rc == 0 || rc == -EINPROGRESS ? -EINTR : rc) : connect_error;
}

static intptr_t connect_errors_body(void *unused) {
    static const int errors[] = {-EADDRNOTAVAIL, -ENETUNREACH, -EINTR};
    (void)unused;
    int listener = raw_listener(8);
    for (int i = 0; i < 3; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        connect_error = errors[i];
        cr_expect_eq(connect_to(fd, port_of(listener)), errors[i] == -EINTR ? 0 : errors[i]);
        rota_close(fd);
    }
    rota_close(listener);
    return 0;
}

Test(fd, connect_errors) {
    use_shim()->connect = failing_connect;
    cr_expect_eq(run_task(connect_errors_body, NULL), 0);
}
