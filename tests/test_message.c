/* Messages on sockets: datagrams of every length, waiting and not waiting, and descriptors that travel. */
#include <pthread.h>

#include "rota/net.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

/* Two UDP sockets on loopback, connected with each other; they block, as a program gets them. */
static void udp_pair(int sv[2]) {
    struct sockaddr_in a[2];
    socklen_t len = sizeof *a;
    for (int i = 0; i < 2; i++) {
        a[i] = loopback(0);
        sv[i] = socket(AF_INET, SOCK_DGRAM, 0);
        cr_expect_eq(bind(sv[i], (struct sockaddr *)&a[i], len), 0);
        cr_expect_eq(getsockname(sv[i], (struct sockaddr *)&a[i], &len), 0);
    }
    for (int i = 0; i < 2; i++)
        cr_expect_eq(connect(sv[i], (struct sockaddr *)&a[!i], len), 0);
}

static void close_pair(int sv[2]) {
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rota_close(sv[i]), 0);
}

static intptr_t do_recv(void *arg) {
    struct io *io = arg;
    return io->result = rota_recv(io->fd, io->buf, io->n, 0);
}

static intptr_t do_recvfrom(void *arg) {
    struct io *io = arg;
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    io->result = rota_recvfrom(io->fd, io->buf, io->n, 0, (struct sockaddr *)&from, &len);
    return io->result;
}

Task_test(message, receive_waits_until_something_comes) {
    int sv[2];
    char buf[8] = "";
    udp_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_recv, &io);
    cr_expect(!rota_task_done(reader));
    cr_expect_eq(rota_send(sv[1], "abc", 3, 0), 3);
    cr_expect_eq(finish(reader), 3);
    cr_expect_str_eq(buf, "abc");
    cr_expect(is_blocking(sv[0]) && is_blocking(sv[1]));
    close_pair(sv);
    return 0;
}

/* Short messages say nothing about those behind them: none is overlooked. */
Task_test(message, one_after_the_other) {
    int sv[2];
    char buf[8];
    udp_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_recv, &io);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(rota_send(sv[1], "abcde", (size_t)i + 1, 0), i + 1);
    cr_expect_eq(finish(reader), 1);
    for (int i = 1; i < 5; i++)
        cr_expect_eq(rota_recv(sv[0], buf, sizeof buf, 0), i + 1);
    cr_expect_eq(rota_recv(sv[0], buf, sizeof buf, MSG_DONTWAIT), -EAGAIN);
    close_pair(sv);
    return 0;
}

Task_test(message, empty_datagrams_are_data) {
    int sv[2];
    char buf[4];
    udp_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_recv, &io);
    cr_expect(!rota_task_done(reader));
    cr_expect_eq(rota_send(sv[1], "", 0, 0), 0);
    cr_expect_eq(rota_send(sv[1], "x", 1, 0), 1);
    cr_expect_eq(finish(reader), 0);
    cr_expect_eq(rota_recv(sv[0], buf, sizeof buf, 0), 1);
    close_pair(sv);
    return 0;
}

static ssize_t receive_message(int fd, void *buf, size_t n, int *flags) {
    struct iovec iov = {buf, n};
    struct msghdr msg;
    memset(&msg, 0, sizeof msg);
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    ssize_t r = rota_recvmsg(fd, &msg, 0);
    *flags = msg.msg_flags;
    return r;
}

/* F18 */
Task_test(message, truncation_is_told) {
    int sv[2], flags;
    char buf[4];
    udp_pair(sv);
    cr_expect_eq(rota_send(sv[1], "0123456789", 10, 0), 10);
    cr_expect_eq(receive_message(sv[0], buf, 4, &flags), 4);
    cr_expect(flags & MSG_TRUNC);
    cr_expect_eq(rota_send(sv[1], "0123", 4, 0), 4);
    cr_expect_eq(receive_message(sv[0], buf, 4, &flags), 4);
    cr_expect(!(flags & MSG_TRUNC));
#ifdef __linux__
    cr_expect_eq(rota_send(sv[1], "0123456789", 10, 0), 10);
    cr_expect_eq(rota_recv(sv[0], buf, 4, MSG_TRUNC), 10);
#endif
    close_pair(sv);
    return 0;
}

/* F18 */
Task_test(message, too_big_a_datagram) {
    static char big[70000];
    int sv[2];
    char buf[4];
    udp_pair(sv);
    cr_expect_eq(rota_send(sv[1], big, sizeof big, 0), -EMSGSIZE);
    cr_expect_eq(rota_send(sv[1], "ok", 2, 0), 2);
    cr_expect_eq(rota_recv(sv[0], buf, sizeof buf, 0), 2);
    close_pair(sv);
    return 0;
}

/* F18: the answer of a port on which nobody listens is told once, also to one that waits. */
Task_test(message, unreachable_port) {
    int sv[2];
    char buf[4];
    udp_pair(sv);
    rota_close(sv[1]);
    struct io io = {.fd = sv[0], .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_recv, &io);
    cr_expect(!rota_task_done(reader));
    cr_expect_eq(rota_send(sv[0], "a", 1, 0), 1);
    cr_expect_eq(finish(reader), -ECONNREFUSED);
    cr_expect_eq(rota_recv(sv[0], buf, sizeof buf, MSG_DONTWAIT), -EAGAIN);
    rota_close(sv[0]);
    return 0;
}

Task_test(message, to_and_from_an_address) {
    struct sockaddr_in a = loopback(0), from;
    socklen_t len = sizeof from;
    int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);
    char buf[8];
    cr_expect_eq(bind(server, (struct sockaddr *)&a, sizeof a), 0);
    a = loopback(port_of(server));
    cr_expect_eq(rota_sendto(client, "ask", 3, 0, (struct sockaddr *)&a, sizeof a), 3);
    cr_expect_eq(rota_recvfrom(server, buf, sizeof buf, 0, (struct sockaddr *)&from, &len), 3);
    cr_expect_eq(len, sizeof from);
    cr_expect_eq(ntohs(from.sin_port), port_of(client));
    cr_expect_eq(rota_sendto(server, "answer", 6, 0, (struct sockaddr *)&from, len), 6);
    cr_expect_eq(rota_recvfrom(client, buf, sizeof buf, 0, NULL, NULL), 6);
    cr_expect_eq(rota_recvfrom(client, buf, sizeof buf, 0, (struct sockaddr *)&from, NULL), -EINVAL);
    cr_expect_eq(rota_sendmsg(client, NULL, 0), -EINVAL);
    cr_expect_eq(rota_recvmsg(client, NULL, 0), -EINVAL);
    rota_close(server);
    rota_close(client);
    return 0;
}

Task_test(message, peeking_leaves_the_data) {
    int sv[2];
    char buf[8];
    tcp_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = 1};
    rota_task *reader = start(do_recv, &io);
    cr_expect_eq(rota_send(sv[1], "abcd", 4, 0), 4);
    cr_expect_eq(finish(reader), 1);
    cr_expect_eq(rota_recv(sv[0], buf, sizeof buf, MSG_PEEK), 3);
    cr_expect_eq(rota_recv(sv[0], buf, sizeof buf, MSG_PEEK), 3);
    cr_expect_eq(rota_recv(sv[0], buf, sizeof buf, 0), 3);
    close_pair(sv);
    return 0;
}

/* The -EAGAIN of a call that asks for something else than data must not hide the data. */
Task_test(message, calls_that_never_wait_forget_nothing) {
    int sv[2];
    char buf[8];
    udp_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_recv, &io);
    cr_expect_eq(rota_send(sv[1], "a", 1, 0), 1);
    cr_expect_eq(rota_send(sv[1], "b", 1, 0), 1);
    cr_expect_eq(finish(reader), 1);
#ifdef MSG_ERRQUEUE
    int flags;
    struct iovec iov = {buf, sizeof buf};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    flags = (int)rota_recvmsg(sv[0], &msg, MSG_ERRQUEUE);
    cr_expect_eq(flags, -EAGAIN);
#endif
    cr_expect_eq(rota_recv(sv[0], buf, sizeof buf, 0), 1);
    close_pair(sv);
    return 0;
}

/* B27 */
Task_test(message, cancelled_receiver) {
    int sv[2];
    char buf[8];
    udp_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_recvfrom, &io);
    rota_cancel(reader, "test");
    cr_expect_eq(finish(reader), -ECANCELED);
    reader = start(do_recvfrom, &io);
    cr_expect_eq(rota_send(sv[1], "a", 1, 0), 1);
    cr_expect_eq(finish(reader), 1);
    close_pair(sv);
    return 0;
}

Task_test(message, closed_under_its_receiver) {
    int sv[2];
    char buf[8];
    udp_pair(sv);
    struct io io = {.fd = sv[0], .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_recvfrom, &io);
    rota_close(sv[0]);
    cr_expect_eq(finish(reader), -EBADF);
    rota_close(sv[1]);
    return 0;
}

Task_test(message, not_a_socket) {
    int fds[2];
    char c;
    cr_expect_eq(pipe(fds), 0);
    cr_expect_eq(rota_recv(fds[0], &c, 1, 0), -ENOTSOCK);
    cr_expect_eq(rota_send(fds[1], "x", 1, 0), -ENOTSOCK);
    cr_expect_eq(rota_recv(-1, &c, 1, 0), -EBADF);
    cr_expect_eq(rota_recv(-1, &c, 1, MSG_DONTWAIT), -EBADF);
    close_pair(fds);
    return 0;
}

Test(message, outside_of_tasks) {
    char c;
    cr_expect_eq(rota_recv(0, &c, 1, 0), -EPERM);
    cr_expect_eq(rota_sendto(0, &c, 1, 0, NULL, 0), -EPERM);
}

/* ---- waiting to send ---- */

static int full_of(int fd) {
    int sent = 0;
    while (rota_send(fd, "12345678", 8, MSG_DONTWAIT) == 8)
        sent++;
    return sent;
}

static intptr_t do_send(void *arg) {
    struct io *io = arg;
    return io->result = rota_send(io->fd, io->buf, io->n, 0);
}

Task_test(message, sender_waits_for_room) {
    int sv[2];
    char buf[8];
    cr_expect_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
    int sent = full_of(sv[0]);
    cr_expect_gt(sent, 0);
    struct io io = {.fd = sv[0], .buf = (char *)"last", .n = 4};
    rota_task *sender = start(do_send, &io);
#ifdef __linux__ /* elsewhere -ENOBUFS */
    cr_expect(!rota_task_done(sender));
#endif
    for (int i = 0; i < sent; i++)
        cr_expect_eq(rota_recv(sv[1], buf, sizeof buf, 0), 8);
    intptr_t v = finish(sender);
    cr_expect(v == 4 || v == -ENOBUFS);
    close_pair(sv);
    return 0;
}

struct to {
    int fd;
    rota_address a;
    int sent;
};

static intptr_t send_ten(void *arg) {
    struct to *to = arg;
    for (; to->sent < 10; to->sent++) {
        ssize_t n = rota_sendto(to->fd, "x", 1, 0, (struct sockaddr *)&to->a.addr, to->a.len);
        if (n < 0)
            return n;
    }
    return 0;
}

/* Linux: the queue of a named receiver is short, and nothing tells a sender that is not connected to it when there is
 * room. */
static intptr_t full_receiver(void *cancelled) {
    char name[64], buf[4];
    snprintf(name, sizeof name, "@rota-test-full-%ld", (long)getpid());
    int server = rota_unix_bind(name, NULL), client = rota_unix_bind(NULL, NULL), sent = 0;
    struct to to = {.fd = client};
    cr_expect_eq(rota_unix_address(&to.a, name), 0);
    while (rota_sendto(client, "y", 1, MSG_DONTWAIT, (struct sockaddr *)&to.a.addr, to.a.len) == 1)
        sent++;
    cr_expect(sent > 0 && sent < 10000);
    rota_task *sender = start(send_ten, &to);
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect(!rota_task_done(sender) && to.sent == 0);
    if (cancelled) {
        rota_cancel(sender, "test");
        cr_expect_eq(finish(sender), -ECANCELED);
    } else {
        for (int i = 0; i < sent + 10; i++)
            cr_expect_eq(rota_recv(server, buf, sizeof buf, 0), 1);
        cr_expect_eq(finish(sender), 0);
    }
    rota_close(server);
    rota_close(client);
    return 0;
}

Test(message, sender_waits_for_a_full_receiver, .disabled = NOT_LINUX) {
    cr_expect_eq(run_task(full_receiver, NULL), 0);
}

Test(message, cancelled_before_a_full_receiver, .disabled = NOT_LINUX) {
    cr_expect_eq(run_task(full_receiver, &shim), 0);
}

/* ---- interruptions ---- */

static int interrupt;

static ssize_t interrupted_recv(int fd, void *buf, size_t n, int flags) {
    return ++interrupt % 2 ? -EINTR : rota__sys_real.recv(fd, buf, n, flags);
}

static intptr_t interrupted_body(void *unused) {
    int sv[2];
    char buf[4];
    (void)unused;
    udp_pair(sv);
    cr_expect_eq(rota_recv(sv[0], buf, sizeof buf, MSG_DONTWAIT), -EAGAIN);
    struct io io = {.fd = sv[0], .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_recv, &io);
    cr_expect_eq(rota_send(sv[1], "abc", 3, 0), 3);
    cr_expect_eq(finish(reader), 3);
    close_pair(sv);
    return 0;
}

Test(message, interruptions_are_not_seen) {
    use_shim()->recv = interrupted_recv;
    cr_expect_eq(run_task(interrupted_body, NULL), 0);
    rota__sys = &rota__sys_real;
}

/* ---- descriptors ---- */

Task_test(message, descriptors_travel) {
    int sv[2], pipes[2][2], got[4];
    char buf[8] = "";
    unix_pair(sv);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rota_pipe(pipes[i]), 0);
    int out[2] = {pipes[0][1], pipes[1][0]};
    cr_expect_eq(rota_send_fds(sv[0], "two", 3, out, 2), 3);
    size_t n = 4;
    cr_expect_eq(rota_recv_fds(sv[1], buf, sizeof buf, got, &n), 3);
    cr_expect_str_eq(buf, "two");
    cr_expect_eq(n, 2u);
    for (size_t i = 0; i < n; i++)
        cr_expect(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
    cr_expect_eq(rota_write(got[0], "a", 1), 1);
    cr_expect_eq(rota_read(pipes[0][0], buf, 1), 1);
    cr_expect_eq(rota_write(pipes[1][1], "b", 1), 1);
    cr_expect_eq(rota_read(got[1], buf, 1), 1);
    for (int i = 0; i < 2; i++) {
        rota_close(got[i]);
        close_pair(pipes[i]);
    }
    close_pair(sv);
    return 0;
}

/* Bytes without descriptors come as bytes. */
Task_test(message, bytes_alone) {
    int sv[2], got[2];
    char buf[8];
    size_t n = 2;
    unix_pair(sv);
    cr_expect_eq(rota_write(sv[0], "abc", 3), 3);
    cr_expect_eq(rota_recv_fds(sv[1], buf, sizeof buf, got, &n), 3);
    cr_expect_eq(n, 0u);
    n = 2;
    rota_close(sv[0]);
    cr_expect_eq(rota_recv_fds(sv[1], buf, sizeof buf, got, &n), 0);
    rota_close(sv[1]);
    return 0;
}

static intptr_t read_one(void *fd) {
    char c;
    ssize_t n = rota_read((int)(intptr_t)fd, &c, 1);
    return n == 1 ? c : n;
}

/* E18: the sender closes its copy while the receiver waits on the one it got. */
Task_test(message, awaited_while_the_sender_closes_its_copy) {
    int sv[2], fds[2], got;
    char buf[2];
    size_t n = 1;
    unix_pair(sv);
    cr_expect_eq(rota_pipe(fds), 0);
    rota_task *before = start(read_one, (void *)(intptr_t)fds[0]);
    cr_expect_eq(rota_send_fds(sv[0], "x", 1, &fds[0], 1), 1);
    cr_expect_eq(rota_recv_fds(sv[1], buf, 1, &got, &n), 1);
    rota_task *reader = start(read_one, (void *)(intptr_t)got);
    cr_expect(!rota_task_done(reader));
    rota_close(fds[0]);
    cr_expect_eq(finish(before), -EBADF);
    cr_expect_eq(rota_yield(), 0);
    cr_expect(!rota_task_done(reader));
    cr_expect_eq(rota_write(fds[1], "y", 1), 1);
    cr_expect_eq(finish(reader), 'y');
    rota_close(fds[1]);
    rota_close(got);
    close_pair(sv);
    return 0;
}

/* Whose number was in use before, and was closed behind the loop's back. */
Task_test(message, a_received_number_is_new) {
    int sv[2], fds[2], stale[2], got;
    char buf[2];
    size_t n = 1;
    unix_pair(sv);
    cr_expect_eq(rota_pipe(fds), 0);
    unix_pair(stale);
    rota_task *waiter = start(read_one, (void *)(intptr_t)stale[0]);
    cr_expect(!rota_task_done(waiter));
    rota_cancel(waiter, "test");
    cr_expect_eq(finish(waiter), -ECANCELED);
    cr_expect_eq(rota_send_fds(sv[0], "x", 1, &fds[0], 1), 1);
    close(stale[0]);
    cr_expect_eq(rota_recv_fds(sv[1], buf, 1, &got, &n), 1);
    cr_expect_eq(got, stale[0]);
    cr_expect_eq(rota_write(fds[1], "y", 1), 1);
    cr_expect_eq(read_one((void *)(intptr_t)got), 'y');
    rota_close(got);
    rota_close(stale[1]);
    close_pair(fds);
    close_pair(sv);
    return 0;
}

Task_test(message, more_descriptors_than_room) {
    int sv[2], fds[2], got[1] = {-1};
    char buf[4];
    size_t n = 1;
    unix_pair(sv);
    cr_expect_eq(rota_pipe(fds), 0);
    cr_expect_eq(rota_send_fds(sv[0], "x", 1, fds, 2), 1);
    cr_expect_eq(rota_recv_fds(sv[1], buf, sizeof buf, got, &n), -EMSGSIZE);
    cr_expect_eq(n, 0u);
    cr_expect_eq(rota_send_fds(sv[0], "x", 1, fds, 2), 1);
    n = 0;
    cr_expect_eq(rota_recv_fds(sv[1], buf, sizeof buf, NULL, &n), -EMSGSIZE);
    /* Nothing of them is left open, as the end of every test sees; and so when nobody asks for them. */
    cr_expect_eq(rota_send_fds(sv[0], "x", 1, fds, 2), 1);
    cr_expect_eq(rota_read(sv[1], buf, sizeof buf), 1);
    close_pair(fds);
    close_pair(sv);
    return 0;
}

Task_test(message, as_many_descriptors_as_there_may_be) {
    int sv[2], fds[2], out[ROTA_FDS_MAX], got[ROTA_FDS_MAX];
    char buf[4];
    size_t n = ROTA_FDS_MAX;
    unix_pair(sv);
    cr_expect_eq(rota_pipe(fds), 0);
    for (int i = 0; i < ROTA_FDS_MAX; i++)
        out[i] = fds[1];
    cr_expect_eq(rota_send_fds(sv[0], "x", 1, out, ROTA_FDS_MAX), 1);
    cr_expect_eq(rota_recv_fds(sv[1], buf, sizeof buf, got, &n), 1);
    cr_expect_eq(n, (size_t)ROTA_FDS_MAX);
    for (size_t i = 0; i < n; i++)
        rota_close(got[i]);
    close_pair(fds);
    close_pair(sv);
    return 0;
}

Task_test(message, passing_bad_arguments) {
    int sv[2], fd = 0, none[2] = {0, -1}, got;
    char c;
    size_t n = 1;
    unix_pair(sv);
    cr_expect_eq(rota_send_fds(sv[0], "x", 0, &fd, 1), -EINVAL);
    cr_expect_eq(rota_send_fds(sv[0], NULL, 1, &fd, 1), -EINVAL);
    cr_expect_eq(rota_send_fds(sv[0], "x", 1, &fd, 0), -EINVAL);
    cr_expect_eq(rota_send_fds(sv[0], "x", 1, NULL, 1), -EINVAL);
    cr_expect_eq(rota_send_fds(sv[0], "x", 1, &fd, ROTA_FDS_MAX + 1), -EINVAL);
    cr_expect_eq(rota_send_fds(sv[0], "x", 1, none, 2), -EBADF);
    cr_expect_eq(rota_recv_fds(sv[1], &c, 0, &got, &n), -EINVAL);
    cr_expect_eq(rota_recv_fds(sv[1], &c, 1, NULL, &n), -EINVAL);
    cr_expect_eq(rota_recv_fds(sv[1], &c, 1, &got, NULL), -EINVAL);
    cr_expect_eq(rota_recv(sv[1], &c, 1, MSG_DONTWAIT), -EAGAIN);
    close_pair(sv);
    return 0;
}

/* ---- E08: the same descriptor in two loops of two threads ---- */

static struct {
    int fd;
    atomic_int waiting, received;
} shared;

static intptr_t receive_one(void *unused) {
    char c;
    (void)unused;
    atomic_fetch_add(&shared.waiting, 1);
    ssize_t n = rota_recv(shared.fd, &c, 1, 0);
    atomic_fetch_add(&shared.received, n == 1);
    rota_forget(shared.fd);
    return n;
}

static void *other_loop(void *unused) {
    intptr_t n = 0;
    (void)unused;
    cr_expect_eq(rota_run(receive_one, NULL, &n, NULL), 0);
    cr_expect_eq(n, 1);
    return NULL;
}

Test(message, the_same_descriptor_in_two_loops) {
    pthread_t threads[2];
    int sv[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
    shared.fd = sv[0];
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, other_loop, NULL), 0);
    while (atomic_load(&shared.waiting) < 2)
        sched_yield();
    for (int i = 0; i < 2; i++)
        cr_expect_eq(send(sv[1], "x", 1, 0), 1);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&shared.received), 2);
    close(sv[0]);
    close(sv[1]);
}
