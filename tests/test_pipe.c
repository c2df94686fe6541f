/* Pairs of descriptors, terminals, and what else can be waited for. */
#include <sys/stat.h>
#include <termios.h>

#ifdef __linux__
# include <sys/epoll.h>
# include <sys/eventfd.h>
# include <sys/inotify.h>
# include <sys/signalfd.h>
# include <sys/timerfd.h>
#endif

#include "rota/net.h"
#include "tests/net_kit.h"

static bool is_cloexec(int fd) { return fcntl(fd, F_GETFD) & FD_CLOEXEC; }

Task_test(pairs, pipes) {
    int fds[2];
    char buf[4] = "";
    cr_expect_eq(rota_pipe(fds), 0);
    for (int i = 0; i < 2; i++)
        cr_expect(!is_blocking(fds[i]) && is_cloexec(fds[i]));
    struct io io = {.fd = fds[0], .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_read, &io);
    cr_expect(!rota_task_done(reader));
    cr_expect_eq(rota_write(fds[1], "abc", 3), 3);
    cr_expect_eq(finish(reader), 3);
    rota_close(fds[1]);
    cr_expect_eq(rota_read(fds[0], buf, sizeof buf), 0);
    rota_close(fds[0]);
    return 0;
}

Task_test(pairs, sockets) {
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM,
#ifndef __APPLE__
                                SOCK_SEQPACKET,
#endif
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        int sv[2];
        char buf[4] = "";
        cr_expect_eq(rota_socketpair(types[i], sv), 0);
        cr_expect(!is_blocking(sv[0]) && is_cloexec(sv[0]) && !is_blocking(sv[1]) && is_cloexec(sv[1]));
        struct io io = {.fd = sv[0], .buf = buf, .n = sizeof buf};
        rota_task *reader = start(do_read, &io);
        cr_expect(!rota_task_done(reader));
        cr_expect_eq(rota_write(sv[1], "abc", 3), 3);
        cr_expect_eq(finish(reader), 3);
        rota_close(sv[0]);
        rota_close(sv[1]);
    }
    return 0;
}

Test(pairs, without_a_loop) {
    int fds[2];
    cr_expect_eq(rota_pipe(fds), 0);
    rota_close(fds[0]);
    rota_close(fds[1]);
    cr_expect_eq(rota_pipe(NULL), -EINVAL);
    cr_expect_eq(rota_socketpair(SOCK_STREAM, NULL), -EINVAL);
    cr_expect_eq(rota_socketpair(77, fds), -EINVAL);
    cr_expect_eq(rota_pty_open(NULL, fds), -EINVAL);
    cr_expect_eq(rota_pty_open(fds, NULL), -EINVAL);
}

/* E10: a terminal that blocks is read without becoming a non-blocking one, which its other users would notice. */
Task_test(pairs, terminals) {
    int master, slave, rc = rota_pty_open(&master, &slave);
    char buf[64] = "";
    struct termios raw;
    if (rc == -ENOENT || rc == -ENOSPC || rc == -EACCES)
        return 0; /* a machine without them */
    cr_expect_eq(rc, 0);
    cr_expect(isatty(slave) && is_cloexec(master) && is_cloexec(slave));
    cr_expect(!is_blocking(master) && is_blocking(slave));
    struct io io = {.fd = slave, .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_read, &io);
    cr_expect(!rota_task_done(reader));
    cr_expect_eq(rota_write(master, "half ", 5), 5);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect(!rota_task_done(reader), "a line is read when it is whole");
    cr_expect_eq(rota_write(master, "line\n", 5), 5);
    cr_expect_eq(finish(reader), 10);
    cr_expect(is_blocking(slave));
    cr_expect_geq(rota_read(master, buf, sizeof buf), 1); /* the echo */

    cr_expect_eq(tcgetattr(slave, &raw), 0);
    cfmakeraw(&raw);
    cr_expect_eq(tcsetattr(slave, TCSAFLUSH, &raw), 0);
    reader = start(do_read, &io);
    cr_expect_eq(rota_write(master, "k", 1), 1);
    cr_expect_eq(finish(reader), 1);
    cr_expect_eq(rota_write(slave, "out", 3), 3);
    ssize_t n = 0;
    do
        n = rota_read(master, buf, sizeof buf);
    while (n > 0 && !memchr(buf, 'o', (size_t)n));
    cr_expect_gt(n, 0);
    rota_close(slave);
    n = rota_read(master, buf, sizeof buf);
    cr_expect(n == -EIO || n >= 0, "%zd", n);
    rota_close(master);
    return 0;
}

/* E10 */
Task_test(pairs, character_devices) {
    char buf[16];
    int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_RDWR);
    cr_expect_eq(rota_poll(zero, ROTA_READ) & ROTA_READ, ROTA_READ);
    cr_expect_eq(rota_read(zero, buf, sizeof buf), 16);
    cr_expect_eq(rota_read(null, buf, sizeof buf), 0);
    cr_expect_eq(rota_write(null, buf, sizeof buf), 16);
    rota_close(zero);
    rota_close(null);
    return 0;
}

#ifdef __linux__

static intptr_t wait_readable(void *fd) { return rota_poll((int)(intptr_t)fd, ROTA_READ); }

static rota_task *waiter_on(int fd) {
    rota_task *task = start(wait_readable, (void *)(intptr_t)fd);
    cr_expect(!rota_task_done(task));
    return task;
}

/* E10: all of them through two more epolls. */
Task_test(pairs, an_epoll_in_an_epoll) {
    int fds[2], inner = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN};
    cr_expect_eq(rota_pipe(fds), 0);
    cr_expect_eq(epoll_ctl(inner, EPOLL_CTL_ADD, fds[0], &e), 0);
    cr_expect_eq(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e), 0);
    rota_task *task = waiter_on(outer);
    cr_expect_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(finish(task), ROTA_READ);
    rota_close(outer);
    rota_close(inner);
    rota_close(fds[0]);
    rota_close(fds[1]);
    return 0;
}

/* E10 */
Task_test(pairs, signal_descriptors) {
    sigset_t set, old;
    struct signalfd_siginfo info;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    struct io io = {.fd = fd, .buf = &info, .n = sizeof info};
    rota_task *reader = start(do_read, &io);
    cr_expect(!rota_task_done(reader));
    raise(SIGUSR2);
    cr_expect_eq(finish(reader), (intptr_t)sizeof info);
    cr_expect_eq(info.ssi_signo, (uint32_t)SIGUSR2);
    rota_close(fd);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return 0;
}

/* E10 */
Task_test(pairs, inotify_descriptors) {
    char path[] = "/tmp/rota-inotify-XXXXXX", buf[4096] __attribute__((aligned(8)));
    int file = mkstemp(path), fd = inotify_init1(IN_CLOEXEC);
    cr_expect_geq(inotify_add_watch(fd, path, IN_MODIFY), 0);
    struct io io = {.fd = fd, .buf = buf, .n = sizeof buf};
    rota_task *reader = start(do_read, &io);
    cr_expect(!rota_task_done(reader));
    cr_expect_eq(write(file, "x", 1), 1);
    cr_expect_geq(finish(reader), (intptr_t)sizeof(struct inotify_event));
    rota_close(fd);
    close(file);
    unlink(path);
    return 0;
}

#endif
