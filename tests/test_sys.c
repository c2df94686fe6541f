/* The table of system calls: results or negative errno, flags of new descriptors, no SIGPIPE. */
#include "tests/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
# include <sys/syscall.h>
#endif

#include "tests/sys_table.h"

static bool is_cloexec(int fd) { return fcntl(fd, F_GETFD) & FD_CLOEXEC; }

static bool is_bare(int fd) { return is_cloexec(fd) && rota__sys->is_nonblocking(fd) == 1; }

/* An entry that a system lacks is NULL, and only those of the other systems' pollers are (on Linux a build for tests
 * has kqueue's). */
Test(sys, every_entry_is_there) {
    void (*entries[sizeof rota__sys_real / sizeof(void (*)(void))])(void);
    memcpy(entries, &rota__sys_real, sizeof entries);
    int missing = 0;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        missing += !entries[i];
#if defined(__linux__)
    cr_expect_eq(missing, rota__sys_real.kqueue ? 0 : 2);
#elif defined(__OpenBSD__)
    cr_expect_eq(missing, 8, "mincore too");
#else
    cr_expect_eq(missing, 7);
#endif
}

Test(sys, errors_are_negative_errno) {
    char byte = 0;
    struct iovec iov = {&byte, 1};
    struct msghdr msg;
    struct stat st;
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    memset(&msg, 0, sizeof msg);
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    memset(&addr, 0, sizeof addr);
    addr.sin_family = AF_INET;
    cr_expect_eq(rota__sys->read(-1, &byte, 1), -EBADF);
    cr_expect_eq(rota__sys->write(-1, "", 1), -EBADF);
    cr_expect_eq(rota__sys->readv(-1, &iov, 1), -EBADF);
    cr_expect_eq(rota__sys->writev(-1, &iov, 1), -EBADF);
    cr_expect_eq(rota__sys->recv(-1, &byte, 1, 0), -EBADF);
    cr_expect_eq(rota__sys->send(-1, "", 1, 0), -EBADF);
    cr_expect_eq(rota__sys->recvmsg(-1, &msg, 0), -EBADF);
    cr_expect_eq(rota__sys->sendmsg(-1, &msg, 0), -EBADF);
    cr_expect_eq(rota__sys->socket(-1, SOCK_STREAM, 0), -EAFNOSUPPORT);
    cr_expect_eq(rota__sys->accept(-1, NULL, NULL), -EBADF);
    cr_expect_eq(rota__sys->connect(-1, (struct sockaddr *)&addr, len), -EBADF);
    cr_expect_eq(rota__sys->bind(-1, (struct sockaddr *)&addr, len), -EBADF);
    cr_expect_eq(rota__sys->listen(-1, 1), -EBADF);
    cr_expect_eq(rota__sys->shutdown(-1, SHUT_WR), -EBADF);
    cr_expect_eq(rota__sys->getsockname(-1, (struct sockaddr *)&addr, &len), -EBADF);
    cr_expect_eq(rota__sys->fstat(-1, &st), -EBADF);
    cr_expect_eq(rota__sys->dup2(-1, 100), -EBADF);
    cr_expect_eq(rota__sys->is_nonblocking(-1), -EBADF);
    cr_expect_eq(rota__sys->sigaction(-1, NULL, NULL), -EINVAL);
}

Test(sys, close_answers_once) {
    int fds[2];
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_expect_eq(rota__sys->close(fds[0]), 0);
    cr_expect_eq(rota__sys->close(fds[0]), -EBADF);
    cr_expect_eq(rota__sys->close(fds[1]), 0);
}

Test(sys, new_descriptors_are_nonblocking_and_close_on_exec) {
    int fds[2];
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    memset(&addr, 0, sizeof addr);
    addr.sin_family = AF_INET;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = rota__sys->socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(listener, 0);
    cr_expect(is_bare(listener));
    cr_assert_eq(rota__sys->bind(listener, (struct sockaddr *)&addr, len), 0);
    cr_assert_eq(rota__sys->listen(listener, 1), 0);
    cr_assert_eq(rota__sys->getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    cr_expect_eq(rota__sys->accept(listener, NULL, NULL), -EAGAIN);
    int client = rota__sys->socket(AF_INET, SOCK_STREAM, 0);
    int rc = rota__sys->connect(client, (struct sockaddr *)&addr, len);
    cr_expect(rc == 0 || rc == -EINPROGRESS);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    cr_assert_eq(rota__sys->poll(&p, 1, 10000), 1);
    int accepted = rota__sys->accept(listener, NULL, NULL);
    cr_assert_geq(accepted, 0);
    cr_expect(is_bare(accepted));
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_expect(is_bare(fds[0]) && is_bare(fds[1]));
    cr_expect_geq(rota__sys->dup2(fds[0], client), 0);
    cr_expect(is_cloexec(client));
    cr_expect_eq(close(listener) + close(client) + close(accepted) + close(fds[0]) + close(fds[1]), 0);
}

Test(sys, poller_descriptors_are_close_on_exec) {
    int fds[3] = {-1, -1, -1};
    if (rota__sys->epoll_create) {
        fds[0] = rota__sys->epoll_create();
        fds[1] = rota__sys->eventfd();
        fds[2] = rota__sys->timerfd_create();
        cr_expect(is_bare(fds[1]) && is_bare(fds[2]));
    }
    if (rota__sys->kqueue)
        fds[0] = rota__sys->kqueue();
    cr_assert_geq(fds[0], 0);
    for (int i = 0; i < 3; i++) {
        cr_expect(fds[i] < 0 || is_cloexec(fds[i]));
        if (fds[i] >= 0)
            (void)close(fds[i]);
    }
}

Test(sys, nonblocking_is_told) {
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    cr_expect_eq(rota__sys->is_nonblocking(fds[0]), 0);
    cr_expect_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    cr_expect_eq(rota__sys->is_nonblocking(fds[0]), 1);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* ---- SIGPIPE: its disposition is the default here, so that one would end the test ---- */

Test(sys, sockets_raise_no_sigpipe) {
    int fds[2];
    struct iovec iov = {"x", 1};
    struct msghdr msg;
    memset(&msg, 0, sizeof msg);
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    (void)close(fds[1]);
    cr_expect_eq(rota__sys->send(fds[0], "x", 1, 0), -EPIPE);
    cr_expect_eq(rota__sys->sendmsg(fds[0], &msg, 0), -EPIPE);
    (void)close(fds[0]);
}

Test(sys, a_blocked_sigpipe_of_a_pipe_is_taken) {
    int fds[2];
    sigset_t set, before;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    cr_assert_eq(rota__sys->pipe(fds), 0);
    (void)close(fds[0]);
    cr_expect_eq((rota__sys->sigmask)(SIG_BLOCK, &set, &before), 0);
    cr_expect_eq(rota__sys->sigtake(&set), -EAGAIN);
    cr_expect_eq(rota__sys->write(fds[1], "x", 1), -EPIPE);
    int taken = rota__sys->sigtake(&set);
#ifdef __APPLE__
    cr_expect_eq(taken, -EAGAIN); /* it is not even raised there */
#else
    cr_expect_eq(taken, SIGPIPE);
#endif
    cr_expect_eq(rota__sys->sigtake(&set), -EAGAIN);
    cr_expect_eq((rota__sys->sigmask)(SIG_SETMASK, &before, NULL), 0);
    (void)close(fds[1]);
}

/* ---- reading a blocking pipe without blocking ---- */

Test(sys, nowait_never_blocks, .timeout = 20) {
    int fds[2];
    char bytes[4] = "";
    struct iovec iov = {bytes, sizeof bytes};
    cr_assert_eq(pipe(fds), 0);
    ssize_t n = rota__sys->readv_nowait(fds[0], &iov, 1);
    cr_expect(n == -EAGAIN || n == -EOPNOTSUPP || n == -ENOSYS, "%d", (int)n);
    if (n == -EAGAIN) {
        cr_expect_eq(write(fds[1], "abc", 3), 3);
        cr_expect_eq(rota__sys->readv_nowait(fds[0], &iov, 1), 3);
        cr_expect_str_eq(bytes, "abc");
        while ((n = rota__sys->writev_nowait(fds[1], &iov, 1)) > 0)
            ;
        cr_expect_eq(n, -EAGAIN);
    }
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* ---- time, memory, threads ---- */

Test(sys, the_clock_is_monotonic) {
    struct timespec t;
    int64_t before = rota__sys->now();
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t between = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    int64_t after = rota__sys->now();
    cr_expect(before <= between && between <= after);
}

/* The kernel is asked whether the page can be read: a fault would end the test. */
Test(sys, memory_can_be_guarded) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int fds[2];
    char *p = rota__sys->mmap(2 * page);
    cr_assert_not_null(p);
    cr_assert_eq(rota__sys->pipe(fds), 0);
    p[0] = p[page] = 1;
    cr_expect_eq(rota__sys->write(fds[1], p, 1), 1);
    cr_expect_eq(rota__sys->mprotect_none(p, page), 0);
    cr_expect_eq(rota__sys->write(fds[1], p, 1), -EFAULT);
    cr_expect_eq(rota__sys->write(fds[1], p + page, 1), 1);
    cr_expect_eq(rota__sys->munmap(p, 2 * page), 0);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

Test(sys, no_memory_is_null) { cr_expect_null(rota__sys->mmap((size_t)1 << (sizeof(size_t) * 8 - 2))); }

static void *look_at_mask(void *arg) {
    sigset_t mask;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    *(bool *)arg = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGALRM) &&
                   sigismember(&mask, SIGCHLD);
    return NULL;
}

Test(sys, threads_have_all_signals_blocked, .timeout = 20) {
    sigset_t before, after;
    pthread_t thread;
    bool blocked = false;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &before);
    cr_assert_eq(rota__sys->thread(&thread, look_at_mask, &blocked, 0), 0);
    cr_expect_eq(rota__sys->thread_join(thread), 0);
    cr_expect(blocked);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int signo = 1; signo < 32; signo++)
        cr_expect_eq(sigismember(&before, signo), sigismember(&after, signo), "signal %d", signo);
}

Test(sys, a_thread_can_have_the_stack_that_it_may) {
    cr_expect_eq(rota__sys->thread_stack(1), -EINVAL);
    cr_expect_eq(rota__sys->thread_stack(1 << 20), 0);
}
