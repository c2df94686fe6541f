/* The seam's calls on time, descriptors, memory and signals: what every loop needs, on Linux, FreeBSD, NetBSD, OpenBSD
 * and macOS.
 *
 * Invariant, here and in the other sys_*.c: what a call returns is its result or a negative errno value, and every
 * descriptor made here is close-on-exec. They must not know of loops, nor retry, log or remember anything: what tests
 * put in their place has to replace all of it.
 *
 * The systems differ in three blocks, each with the same names: macOS lacks the calls that set flags while they make a
 * descriptor; Linux alone has RWF_NOWAIT; OpenBSD and macOS lack sigtimedwait.
 */
#define _GNU_SOURCE 1 /* accept4, pipe2, dup3: also for a program that compiles this file without meson */

#include "reactor/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__linux__)
# include <sys/syscall.h>
#endif

ssize_t rota__checked(ssize_t r) { return r < 0 ? -errno : r; }

/* ---- descriptors that are born with their flags, and writing without SIGPIPE ---- */

#if defined(__APPLE__)

/* Between the two calls a fork and exec in another thread can inherit the descriptor. There is no remedy on
 * this system short of a lock around every fork of the process. */
static int flagged(int fd) {
    if (fd < 0)
        return -errno;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0)
        return fd;
    int error = -errno;
    (void)close(fd);
    return error;
}

int rota__sys_socket(int domain, int type, int protocol) { return flagged(socket(domain, type, protocol)); }

int rota__sys_accept(int fd, struct sockaddr *addr, socklen_t *len) { return flagged(accept(fd, addr, len)); }

int rota__sys_pipe(int fds[2]) {
    if (pipe(fds) < 0)
        return -errno;
    int error = flagged(fds[0]);
    if (error < 0) {
        (void)close(fds[1]);
        return error;
    }
    error = flagged(fds[1]);
    if (error < 0) {
        (void)close(fds[0]);
        return error;
    }
    return 0;
}

int rota__sys_dup2(int fd, int onto) {
    int error = (int)rota__checked(dup2(fd, onto));
    return error < 0 ? error : (int)rota__checked(fcntl(onto, F_SETFD, FD_CLOEXEC));
}

/* MSG_NOSIGNAL is unknown to older kernels of this system, which would ignore it in silence; and the SIGPIPE of
 * a pipe goes to the process, so that blocking it in this thread would not stop it. This flag of the open file,
 * which sockets and pipes both have, stops it at its source; it costs one cheap call. */
static void quiet(int fd) { (void)fcntl(fd, F_SETNOSIGPIPE, 1); }

enum { NO_SIGPIPE = 0, CMSG_CLOEXEC = 0 };

/* The system has no flag by which received descriptors are born so. */
static void close_on_exec(struct msghdr *msg) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (char *)c + at, sizeof fd);
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
    }
}

int rota__sys_socketpair(int type, int fds[2]) {
    if (socketpair(AF_UNIX, type, 0, fds) < 0)
        return -errno;
    int error = flagged(fds[0]);
    if (error < 0) {
        (void)close(fds[1]);
        return error;
    }
    error = flagged(fds[1]);
    if (error < 0) {
        (void)close(fds[0]);
        return error;
    }
    return 0;
}

#else

int rota__sys_socket(int domain, int type, int protocol) {
    return (int)rota__checked(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

int rota__sys_accept(int fd, struct sockaddr *addr, socklen_t *len) {
    return (int)rota__checked(accept4(fd, addr, len, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

int rota__sys_pipe(int fds[2]) { return (int)rota__checked(pipe2(fds, O_NONBLOCK | O_CLOEXEC)); }

int rota__sys_dup2(int fd, int onto) { return (int)rota__checked(dup3(fd, onto, O_CLOEXEC)); }

/* For pipes the caller blocks SIGPIPE and takes it (sigmask, sigtake): here it goes to the writing thread. */
static void quiet(int fd) { (void)fd; }

enum { NO_SIGPIPE = MSG_NOSIGNAL, CMSG_CLOEXEC = MSG_CMSG_CLOEXEC };

static void close_on_exec(struct msghdr *msg) { (void)msg; }

int rota__sys_socketpair(int type, int fds[2]) {
    return (int)rota__checked(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
}

#endif

/* ---- what only Linux has ---- */

#if defined(__linux__)

/* By number: musl's preadv2 came late. Position -1 means "the file's own" and is what makes the call fit for
 * pipes; it is passed in two halves, of which a 64-bit kernel ignores the second. 8 is RWF_NOWAIT. */
enum { NOWAIT = 8 };

/* The offset goes in two halves, of which 64-bit systems take all from the first; both -1: where the descriptor stands. */
ssize_t rota__sys_preadv_nowait(int fd, const struct iovec *iov, int n, off_t offset) {
    long low = (long)offset, high = (long)(offset >> 16 >> 16);
    return rota__checked(syscall(SYS_preadv2, (long)fd, iov, (long)n, low, high, (long)NOWAIT));
}

ssize_t rota__sys_readv_nowait(int fd, const struct iovec *iov, int n) {
    return rota__sys_preadv_nowait(fd, iov, n, -1);
}

ssize_t rota__sys_writev_nowait(int fd, const struct iovec *iov, int n) {
    return rota__checked(syscall(SYS_pwritev2, (long)fd, iov, (long)n, -1L, -1L, (long)NOWAIT));
}

#else

ssize_t rota__sys_readv_nowait(int fd, const struct iovec *iov, int n) {
    (void)fd, (void)iov, (void)n;
    return -ENOSYS;
}

ssize_t rota__sys_writev_nowait(int fd, const struct iovec *iov, int n) { return rota__sys_readv_nowait(fd, iov, n); }

ssize_t rota__sys_preadv_nowait(int fd, const struct iovec *iov, int n, off_t offset) {
    (void)offset;
    return rota__sys_readv_nowait(fd, iov, n);
}

#endif

/* ---- taking a pending signal ---- */

#if defined(__APPLE__) || defined(__OpenBSD__)

/* Looks first, since sigwait would wait. Who calls this has just caused the signal in this thread and has it
 * blocked, so nobody takes it in between. */
int rota__sys_sigtake(const sigset_t *set) {
    sigset_t pending;
    if (sigpending(&pending) < 0)
        return -errno;
    for (int signo = 1; signo < NSIG; signo++) {
        if (sigismember(set, signo) == 1 && sigismember(&pending, signo) == 1) {
            int taken, error = sigwait(set, &taken);
            return error ? -error : taken;
        }
    }
    return -EAGAIN;
}

#else

int rota__sys_sigtake(const sigset_t *set) {
    const struct timespec at_once = {0, 0};
    return (int)rota__checked(sigtimedwait(set, NULL, &at_once));
}

#endif

/* ---- time and bytes ---- */

int64_t rota__sys_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

ssize_t rota__sys_read(int fd, void *buf, size_t n) { return rota__checked(read(fd, buf, n)); }

ssize_t rota__sys_write(int fd, const void *buf, size_t n) {
    quiet(fd);
    return rota__checked(write(fd, buf, n));
}

ssize_t rota__sys_readv(int fd, const struct iovec *iov, int n) { return rota__checked(readv(fd, iov, n)); }

ssize_t rota__sys_writev(int fd, const struct iovec *iov, int n) {
    quiet(fd);
    return rota__checked(writev(fd, iov, n));
}

ssize_t rota__sys_recv(int fd, void *buf, size_t n, int flags) { return rota__checked(recv(fd, buf, n, flags)); }

ssize_t rota__sys_send(int fd, const void *buf, size_t n, int flags) {
    quiet(fd);
    return rota__checked(send(fd, buf, n, flags | NO_SIGPIPE));
}

ssize_t rota__sys_recvmsg(int fd, struct msghdr *msg, int flags) {
    ssize_t n = rota__checked(recvmsg(fd, msg, flags | CMSG_CLOEXEC));
    if (n >= 0)
        close_on_exec(msg);
    return n;
}

ssize_t rota__sys_sendmsg(int fd, const struct msghdr *msg, int flags) {
    quiet(fd);
    return rota__checked(sendmsg(fd, msg, flags | NO_SIGPIPE));
}

/* ---- descriptors ---- */

int rota__sys_connect(int fd, const struct sockaddr *addr, socklen_t len) {
    return (int)rota__checked(connect(fd, addr, len));
}

int rota__sys_bind(int fd, const struct sockaddr *addr, socklen_t len) {
    return (int)rota__checked(bind(fd, addr, len));
}

int rota__sys_listen(int fd, int backlog) { return (int)rota__checked(listen(fd, backlog)); }

int rota__sys_shutdown(int fd, int how) { return (int)rota__checked(shutdown(fd, how)); }

int rota__sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
    return (int)rota__checked(getsockopt(fd, level, name, value, len));
}

int rota__sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
    return (int)rota__checked(setsockopt(fd, level, name, value, len));
}

int rota__sys_getsockname(int fd, struct sockaddr *addr, socklen_t *len) {
    return (int)rota__checked(getsockname(fd, addr, len));
}

int rota__sys_fstat(int fd, struct stat *st) { return (int)rota__checked(fstat(fd, st)); }

int rota__sys_poll(struct pollfd *fds, nfds_t n, int timeout_ms) {
    return (int)rota__checked(poll(fds, n, timeout_ms));
}

int rota__sys_getpeername(int fd, struct sockaddr *addr, socklen_t *len) {
    return (int)rota__checked(getpeername(fd, addr, len));
}

int rota__sys_dup_fd(int fd) { return (int)rota__checked(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

/* On each of these systems the number is free again after EINTR; closing it once more could hit a descriptor
 * that another thread has just got. */
int rota__sys_close(int fd) {
    if (close(fd) == 0 || errno == EINTR)
        return 0;
    return -errno;
}

int rota__sys_is_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : (flags & O_NONBLOCK) != 0;
}

int rota__sys_set_nonblocking(int fd, int on) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    return (int)rota__checked(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

/* ---- memory ---- */

/* On FreeBSD MAP_STACK is something else: a region that the kernel grows downward with a guard of its own,
 * which would get in the way of ours. OpenBSD refuses to run on a stack that is not so marked. */
#if defined(MAP_STACK) && !defined(__FreeBSD__)
enum { STACK_FLAG = MAP_STACK };
#else
enum { STACK_FLAG = 0 };
#endif

void *rota__sys_mmap(size_t n) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | STACK_FLAG, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int rota__sys_munmap(void *p, size_t n) { return (int)rota__checked(munmap(p, n)); }

int rota__sys_mprotect_none(void *p, size_t n) { return (int)rota__checked(mprotect(p, n, PROT_NONE)); }

int rota__sys_madvise(void *p, size_t n, int advice) { return (int)rota__checked(madvise(p, n, advice)); }

/* Which pages are in memory, a byte for each. OpenBSD has taken the call away, as a leak between processes. */
int rota__sys_mincore(void *p, size_t n, unsigned char *pages) {
#if defined(__OpenBSD__)
    (void)p, (void)n, (void)pages;
    return -ENOSYS;
#else
    return (int)rota__checked(mincore(p, n, (void *)pages));
#endif
}

/* ---- signals ---- */

int rota__sys_sigaction(int signo, const struct sigaction *action, struct sigaction *old) {
    return (int)rota__checked(sigaction(signo, action, old));
}

int rota__sys_sigpending(sigset_t *set) { return (int)rota__checked(sigpending(set)); }

int rota__sys_sigaltstack(const stack_t *stack, stack_t *old) { return (int)rota__checked(sigaltstack(stack, old)); }

int rota__sys_sigmask(int how, const sigset_t *set, sigset_t *old) { return -pthread_sigmask(how, set, old); }

int rota__sys_kill(pid_t pid, int signo) { return (int)rota__checked(kill(pid, signo)); }

/* ---- who we are ---- */

int rota__sys_pid(void) { return (int)getpid(); }
