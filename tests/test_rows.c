/* Rows of the case list that belong to no one file: resets at every moment of a connection, and a stream over a system
 * that does as little as it may. */
#include <netinet/in.h>
#include <signal.h>

#include "tests/net_kit.h"
#include "tests/sys_table.h"

/* ---- F06: the peer resets ---- */

static void reset(int fd) {
    struct linger now = { .l_onoff = 1 };
    cr_expect_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    cr_expect_eq(close(fd), 0);
}

static int connect_to(int listener) {
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    cr_expect_eq(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    int fd = socket(addr.ss_family, SOCK_STREAM, 0);
    cr_expect_eq(connect(fd, (struct sockaddr *)&addr, len), 0);
    return fd;
}

/* Systems differ: the connection is given out and then says so, or never comes out. The listener goes on. */
Task_test(rows, reset_before_accept) {
    int listener = rota_listen("127.0.0.1", NULL, NULL);
    char c;
    reset(connect_to(listener));
    int peer = connect_to(listener);
    int fd = rota_accept(listener, NULL, NULL);
    cr_expect(fd >= 0);
    cr_expect_eq(write(peer, "x", 1), 1);
    ssize_t n = rota_read(fd, &c, 1);
    if (n == -ECONNRESET) {
        rota_close(fd);
        fd = rota_accept(listener, NULL, NULL);
        n = rota_read(fd, &c, 1);
    }
    cr_expect_eq(n, 1);
    rota_close(fd);
    close(peer);
    rota_close(listener);
    return 0;
}

struct writing {
    int fd;
    size_t done;
};

static intptr_t write_much(void *arg) {
    static char bytes[8 << 20];
    struct writing *w = arg;
    return rota_write_all(w->fd, bytes, sizeof bytes, &w->done);
}

/* With the default disposition of SIGPIPE, which would end the process. */
Task_test(rows, reset_under_a_reader_and_a_writer) {
    int listener = rota_listen("127.0.0.1", NULL, NULL);
    struct sigaction action;
    cr_expect_eq(sigaction(SIGPIPE, NULL, &action), 0);
    cr_expect(action.sa_handler == SIG_DFL);
    int peer = connect_to(listener);
    struct writing w = { .fd = rota_accept(listener, NULL, NULL) };
    rota_task *writer;
    cr_expect_eq(rota_spawn(&writer, write_much, &w, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect(!rota_task_done(writer), "nobody reads: it waits for room");
    reset(peer);
    intptr_t v = 0;
    cr_expect_eq(rota_await(writer, &v), 0);
    cr_expect(v == -ECONNRESET || v == -EPIPE, "%ld", (long)v);
    rota_task_release(writer);
    char c;
    ssize_t n = rota_read(w.fd, &c, 1);
    cr_expect(n == 0 || n == -ECONNRESET, "the error was told to the writer, or is told here: %zd", n);
    cr_expect_eq(rota_write(w.fd, "x", 1), -EPIPE);
    rota_close(w.fd);
    rota_close(listener);
    return 0;
}

/* ---- F15: a system that does as little as it may ----
 * Each call moves 1 to 3 bytes, and each second one is interrupted first. (An EAGAIN that is not true is no part of it:
 * with readiness told once, the system never says it of a descriptor that has data. On unix sockets, because on TCP a
 * short read says the same.) */

static unsigned calls;

static size_t little(size_t n) { return n < 1 + calls % 3 ? n : 1 + calls % 3; }

static ssize_t little_recv(int fd, void *buf, size_t n, int flags) {
    return ++calls % 2 ? -EINTR : rota__sys_real.recv(fd, buf, little(n), flags);
}

static ssize_t little_send(int fd, const void *buf, size_t n, int flags) {
    return ++calls % 2 ? -EINTR : rota__sys_real.send(fd, buf, little(n), flags);
}

static ssize_t little_sendmsg(int fd, const struct msghdr *msg, int flags) {
    struct iovec iov = msg->msg_iov[0];
    iov.iov_len = little(iov.iov_len);
    struct msghdr less = { .msg_iov = &iov, .msg_iovlen = 1 };
    return ++calls % 2 ? -EINTR : rota__sys_real.sendmsg(fd, &less, flags);
}

enum { BLOCK = 5000 };

static intptr_t talk(void *arg) {
    rota_stream *s = arg;
    unsigned char out[BLOCK];
    fill_pattern(out, sizeof out);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(rota_stream_write(s, "a line\r\n", 8), 0);
    cr_expect_eq(rota_stream_write(s, out, sizeof out), 0);
    cr_expect_eq(rota_stream_write(s, "head\r\n\r\nrest", 12), 0);
    cr_expect_eq(rota_stream_drain(s), 0);
    return rota_stream_shutdown(s);
}

static void listen_to(rota_stream *s) {
    const char *data;
    unsigned char in[BLOCK];
    size_t done, left;
    for (int i = 0; i < 100; i++) {
        cr_expect_eq(rota_stream_line(s, 0, &data), 7);
        cr_expect_str_eq(data, "a line");
    }
    cr_expect_eq(rota_stream_read_exact(s, in, sizeof in, &done), 0);
    cr_expect(done == sizeof in && has_pattern(in, sizeof in));
    cr_expect_eq(rota_stream_until(s, "\r\n\r\n", 4, 0, &data, &left), 8);
    cr_expect_eq(memcmp(data, "head\r\n\r\n", 8), 0);
    cr_expect_eq(rota_stream_read_exact(s, in, 5, &done), -EPIPE);
    cr_expect(done == 4 && memcmp(in, "rest", 4) == 0);
}

static intptr_t converse(void *unused) {
    int sv[2];
    rota_stream a, b;
    rota_task *talker;
    (void)unused;
    unix_pair(sv);
    rota_stream_options opt = { .buffer_size = 64, .high_water = 50 };
    cr_expect_eq(rota_stream_open(&a, sv[0], &opt), 0);
    cr_expect_eq(rota_stream_open(&b, sv[1], &opt), 0);
    cr_expect_eq(rota_spawn(&talker, talk, &a, NULL), 0);
    listen_to(&b);
    cr_expect_eq(rota_join(talker, NULL), 0);
    rota_stream_close(&a);
    rota_stream_close(&b);
    return 0;
}

Test(rows, a_stream_over_calls_that_do_little_and_are_interrupted) {
    struct rota__sys *sys = use_shim();
    sys->recv = little_recv;
    sys->send = little_send;
    sys->sendmsg = little_sendmsg;
    cr_expect_eq(run_task(converse, NULL), 0);
    cr_expect(calls > BLOCK, "%u", calls);
    rota__sys = &rota__sys_real;
}
