/* The table of system calls behind rota__sys, on Linux, FreeBSD, NetBSD, OpenBSD and macOS.
 *
 * It offers rota__sys_real and nothing else. Invariant: what a call returns is its result or a negative errno
 * value, and every descriptor made here is close-on-exec. It must not know of loops, nor retry, log or remember
 * anything: a table that tests put in its place has to replace all of it.
 *
 * The systems differ in four blocks, each with the same static names: macOS lacks the calls that set flags
 * while they make a descriptor; Linux alone has RWF_NOWAIT and the epoll family; the others have kqueue (and so
 * has Linux, in a build for tests); OpenBSD and macOS lack sigtimedwait.
 */
#define _GNU_SOURCE 1 /* accept4, pipe2, dup3: also for a program that compiles this file without meson */

#include "reactor/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__FreeBSD__) || defined(__OpenBSD__)
# include <pthread_np.h>
#endif
#if defined(__linux__)
# include <sched.h>
# include <sys/epoll.h>
# include <sys/eventfd.h>
# include <sys/sendfile.h>
# include <sys/syscall.h>
# include <sys/timerfd.h>
#endif
#if !defined(__linux__) || defined(ROTA__POLLER_KQUEUE)
# include <sys/event.h>
# define HAS_KQUEUE 1
#endif

static inline ssize_t checked(ssize_t r) { return r < 0 ? -errno : r; }

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

static int sys_socket(int domain, int type, int protocol) { return flagged(socket(domain, type, protocol)); }

static int sys_accept(int fd, struct sockaddr *addr, socklen_t *len) { return flagged(accept(fd, addr, len)); }

static int sys_pipe(int fds[2]) {
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

static int sys_dup2(int fd, int onto) {
    int error = (int)checked(dup2(fd, onto));
    return error < 0 ? error : (int)checked(fcntl(onto, F_SETFD, FD_CLOEXEC));
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

static int sys_socketpair(int type, int fds[2]) {
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

static int sys_socket(int domain, int type, int protocol) {
    return (int)checked(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

static int sys_accept(int fd, struct sockaddr *addr, socklen_t *len) {
    return (int)checked(accept4(fd, addr, len, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static int sys_pipe(int fds[2]) { return (int)checked(pipe2(fds, O_NONBLOCK | O_CLOEXEC)); }

static int sys_dup2(int fd, int onto) { return (int)checked(dup3(fd, onto, O_CLOEXEC)); }

/* For pipes the caller blocks SIGPIPE and takes it (sigmask, sigtake): here it goes to the writing thread. */
static void quiet(int fd) { (void)fd; }

enum { NO_SIGPIPE = MSG_NOSIGNAL, CMSG_CLOEXEC = MSG_CMSG_CLOEXEC };

static void close_on_exec(struct msghdr *msg) { (void)msg; }

static int sys_socketpair(int type, int fds[2]) {
    return (int)checked(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
}

#endif

/* ---- what only Linux has ---- */

#if defined(__linux__)

/* The kernel's own layout of the timeout, the same on 32-bit systems with either size of time_t. */
struct timeout64 {
    int64_t sec, nsec;
};

#if !defined(SYS_epoll_pwait2)
# define SYS_epoll_pwait2 441 /* the same on every architecture with the common table; older headers lack it */
#endif

/* By number, because musl has no wrapper of it, and glibc only since 2.35. */
static int sys_epoll_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout) {
    struct timeout64 t = {timeout ? timeout->tv_sec : 0, timeout ? timeout->tv_nsec : 0};
    return (int)checked(syscall(SYS_epoll_pwait2, epoll, events, n, timeout ? &t : NULL, NULL, (size_t)0));
}

static int sys_epoll_create(void) { return (int)checked(epoll_create1(EPOLL_CLOEXEC)); }

static int sys_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event) {
    return (int)checked(epoll_ctl(epoll, op, fd, event));
}

static int sys_epoll_wait(int epoll, struct epoll_event *events, int n, int timeout_ms) {
    return (int)checked(epoll_wait(epoll, events, n, timeout_ms));
}

static int sys_eventfd(void) { return (int)checked(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

static int sys_timerfd_create(void) {
    return (int)checked(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
}

static int sys_timerfd_settime(int fd, int flags, const struct itimerspec *value) {
    return (int)checked(timerfd_settime(fd, flags, value, NULL));
}

/* By number: musl's preadv2 came late. Position -1 means "the file's own" and is what makes the call fit for
 * pipes; it is passed in two halves, of which a 64-bit kernel ignores the second. 8 is RWF_NOWAIT. */
enum { NOWAIT = 8 };

/* The offset goes in two halves, of which 64-bit systems take all from the first; both -1: where the descriptor stands. */
static ssize_t sys_preadv_nowait(int fd, const struct iovec *iov, int n, off_t offset) {
    return checked(syscall(SYS_preadv2, (long)fd, iov, (long)n, (long)offset, (long)(offset >> 16 >> 16), (long)NOWAIT));
}

static ssize_t sys_readv_nowait(int fd, const struct iovec *iov, int n) { return sys_preadv_nowait(fd, iov, n, -1); }

static ssize_t sys_writev_nowait(int fd, const struct iovec *iov, int n) {
    return checked(syscall(SYS_pwritev2, (long)fd, iov, (long)n, -1L, -1L, (long)NOWAIT));
}

/* Both move bytes without showing them to the process; of descriptors that may block, so do they. */
static ssize_t sys_sendfile(int out, int in, int64_t *offset, size_t n) {
    off_t at = (off_t)*offset;
    ssize_t r = checked(sendfile(out, in, &at, n));
    *offset = at;
    return r;
}

static ssize_t sys_splice(int in, int out, size_t n) {
    return checked(splice(in, NULL, out, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

static int sys_spreads_connections(void) { return 1; }

static int sys_peer_ids(int fd, int64_t ids[3]) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return -errno;
    ids[0] = peer.pid;
    ids[1] = (int64_t)peer.uid;
    ids[2] = (int64_t)peer.gid;
    return 0;
}

# define SYSTEM_EPOLL                                                                                      \
    .epoll_create = sys_epoll_create, .epoll_ctl = sys_epoll_ctl, .epoll_wait = sys_epoll_wait,            \
    .epoll_pwait2 = sys_epoll_pwait2, .eventfd = sys_eventfd, .timerfd_create = sys_timerfd_create,        \
    .timerfd_settime = sys_timerfd_settime,

#else

static ssize_t sys_readv_nowait(int fd, const struct iovec *iov, int n) {
    (void)fd, (void)iov, (void)n;
    return -ENOSYS;
}

static ssize_t sys_writev_nowait(int fd, const struct iovec *iov, int n) { return sys_readv_nowait(fd, iov, n); }

static ssize_t sys_preadv_nowait(int fd, const struct iovec *iov, int n, off_t offset) {
    (void)offset;
    return sys_readv_nowait(fd, iov, n);
}

/* Of other systems the calls of these names are others, or have another effect. */
static ssize_t sys_sendfile(int out, int in, int64_t *offset, size_t n) {
    (void)out, (void)in, (void)offset, (void)n;
    return -ENOSYS;
}

static ssize_t sys_splice(int in, int out, size_t n) {
    (void)in, (void)out, (void)n;
    return -ENOSYS;
}

/* There SO_REUSEPORT gives all connections to one of the listeners. */
static int sys_spreads_connections(void) { return 0; }

static int sys_peer_ids(int fd, int64_t ids[3]) {
    uid_t user;
    gid_t group;
    if (getpeereid(fd, &user, &group) < 0)
        return -errno;
    ids[0] = -1;
    ids[1] = (int64_t)user;
    ids[2] = (int64_t)group;
    return 0;
}

# define SYSTEM_EPOLL

#endif

/* ---- what Linux lacks, except in a build for tests ---- */

#if defined(HAS_KQUEUE)

/* kqueue1 is not everywhere. Nothing can slip in between: a kqueue is not inherited by a child of fork, so the
 * flag only matters to an exec by this process itself. */
static int sys_kqueue(void) {
    int fd = kqueue();
    if (fd < 0)
        return -errno;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

static int sys_kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n_events,
                      const struct timespec *timeout) {
    return (int)checked(kevent(kq, changes, n_changes, events, n_events, timeout));
}

# define SYSTEM_KQUEUE .kqueue = sys_kqueue, .kevent = sys_kevent,

#else
# define SYSTEM_KQUEUE
#endif

/* ---- taking a pending signal ---- */

#if defined(__APPLE__) || defined(__OpenBSD__)

/* Looks first, since sigwait would wait. Who calls this has just caused the signal in this thread and has it
 * blocked, so nobody takes it in between. */
static int sys_sigtake(const sigset_t *set) {
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

static int sys_sigtake(const sigset_t *set) {
    const struct timespec at_once = {0, 0};
    return (int)checked(sigtimedwait(set, NULL, &at_once));
}

#endif

/* ---- time and bytes ---- */

static int64_t sys_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static ssize_t sys_read(int fd, void *buf, size_t n) { return checked(read(fd, buf, n)); }

static ssize_t sys_write(int fd, const void *buf, size_t n) {
    quiet(fd);
    return checked(write(fd, buf, n));
}

static ssize_t sys_readv(int fd, const struct iovec *iov, int n) { return checked(readv(fd, iov, n)); }

static ssize_t sys_writev(int fd, const struct iovec *iov, int n) {
    quiet(fd);
    return checked(writev(fd, iov, n));
}

static ssize_t sys_recv(int fd, void *buf, size_t n, int flags) { return checked(recv(fd, buf, n, flags)); }

static ssize_t sys_send(int fd, const void *buf, size_t n, int flags) {
    quiet(fd);
    return checked(send(fd, buf, n, flags | NO_SIGPIPE));
}

static ssize_t sys_recvmsg(int fd, struct msghdr *msg, int flags) {
    ssize_t n = checked(recvmsg(fd, msg, flags | CMSG_CLOEXEC));
    if (n >= 0)
        close_on_exec(msg);
    return n;
}

static ssize_t sys_sendmsg(int fd, const struct msghdr *msg, int flags) {
    quiet(fd);
    return checked(sendmsg(fd, msg, flags | NO_SIGPIPE));
}

/* ---- descriptors ---- */

static int sys_connect(int fd, const struct sockaddr *addr, socklen_t len) {
    return (int)checked(connect(fd, addr, len));
}

static int sys_bind(int fd, const struct sockaddr *addr, socklen_t len) {
    return (int)checked(bind(fd, addr, len));
}

static int sys_listen(int fd, int backlog) { return (int)checked(listen(fd, backlog)); }

static int sys_shutdown(int fd, int how) { return (int)checked(shutdown(fd, how)); }

static int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
    return (int)checked(getsockopt(fd, level, name, value, len));
}

static int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
    return (int)checked(setsockopt(fd, level, name, value, len));
}

static int sys_getsockname(int fd, struct sockaddr *addr, socklen_t *len) {
    return (int)checked(getsockname(fd, addr, len));
}

static int sys_fstat(int fd, struct stat *st) { return (int)checked(fstat(fd, st)); }

static int sys_poll(struct pollfd *fds, nfds_t n, int timeout_ms) {
    return (int)checked(poll(fds, n, timeout_ms));
}

static int sys_getpeername(int fd, struct sockaddr *addr, socklen_t *len) {
    return (int)checked(getpeername(fd, addr, len));
}

static int sys_dup_fd(int fd) { return (int)checked(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

static int sys_is_socket_file(const char *path) {
    struct stat st;
    return lstat(path, &st) < 0 ? -errno : S_ISSOCK(st.st_mode);
}

static int sys_file_mode(const char *path, unsigned mode) { return (int)checked(chmod(path, (mode_t)mode)); }

static int64_t sys_seek(int fd, int64_t offset, int whence) {
    off_t at = lseek(fd, (off_t)offset, whence);
    return at < 0 ? -errno : (int64_t)at;
}

/* On each of these systems the number is free again after EINTR; closing it once more could hit a descriptor
 * that another thread has just got. */
static int sys_close(int fd) {
    if (close(fd) == 0 || errno == EINTR)
        return 0;
    return -errno;
}

static int sys_is_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : (flags & O_NONBLOCK) != 0;
}

static int sys_set_nonblocking(int fd, int on) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    return (int)checked(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

/* ---- multicast ---- */

/* An interface is meant by its number, which 0 leaves to the system. Of IPv4 two of the systems only know it by an
 * address of its own. */
#if defined(__linux__) || defined(__FreeBSD__) || defined(__APPLE__)

static int ipv4_group(int fd, struct in_addr group, unsigned interface, int join) {
    struct ip_mreqn r = {.imr_multiaddr = group, .imr_ifindex = (int)interface};
    return (int)checked(setsockopt(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &r, sizeof r));
}

static int ipv4_interface(int fd, unsigned interface) {
    struct ip_mreqn r = {.imr_ifindex = (int)interface};
    return (int)checked(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &r, sizeof r));
}

#else

static int ipv4_group(int fd, struct in_addr group, unsigned interface, int join) {
    struct ip_mreq r = {.imr_multiaddr = group};
    if (interface)
        return -ENOTSUP;
    return (int)checked(setsockopt(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &r, sizeof r));
}

static int ipv4_interface(int fd, unsigned interface) {
    struct in_addr any = {.s_addr = INADDR_ANY};
    if (interface)
        return -ENOTSUP;
    return (int)checked(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &any, sizeof any));
}

#endif

static int sys_multicast_group(int fd, const struct sockaddr *group, unsigned interface, int join) {
    struct ipv6_mreq r;
    if (group->sa_family == AF_INET)
        return ipv4_group(fd, ((const struct sockaddr_in *)(const void *)group)->sin_addr, interface, join);
    if (group->sa_family != AF_INET6)
        return -EAFNOSUPPORT;
    r.ipv6mr_multiaddr = ((const struct sockaddr_in6 *)(const void *)group)->sin6_addr;
    r.ipv6mr_interface = interface;
    return (int)checked(setsockopt(fd, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &r, sizeof r));
}

static int sys_multicast_interface(int fd, int family, unsigned interface) {
    if (family == AF_INET)
        return ipv4_interface(fd, interface);
    return (int)checked(setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface, sizeof interface));
}

/* ---- pseudo-terminals ---- */

/* ptsname keeps its answer in one place for all threads; where there is no better call, two threads that open
 * terminals in the same moment can meet there, and the open then fails or hits the other's. */
#if defined(__linux__) || defined(__NetBSD__)
static int slave_name(int master, char *name, size_t n) { return -ptsname_r(master, name, n); }
#else
static int slave_name(int master, char *name, size_t n) {
    const char *shared = ptsname(master);
    if (!shared || strlen(shared) >= n)
        return -ENOTTY;
    memcpy(name, shared, strlen(shared) + 1);
    return 0;
}
#endif

static int open_slave(int master) {
    char name[128];
    if (grantpt(master) < 0 || unlockpt(master) < 0)
        return -errno;
    int error = slave_name(master, name, sizeof name);
    return error < 0 ? error : (int)checked(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
}

/* Not everywhere does posix_openpt take another flag than these two. The slave blocks: it is for a program that knows
 * nothing of us. */
static int sys_pty(int fds[2]) {
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 && errno == EINVAL)
        master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0)
        return -errno;
    int slave = fcntl(master, F_SETFD, FD_CLOEXEC) < 0 ? -errno : open_slave(master);
    if (slave >= 0 && fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK) < 0) {
        int error = -errno;
        (void)close(slave);
        slave = error;
    }
    if (slave < 0) {
        (void)close(master);
        return slave;
    }
    fds[0] = master;
    fds[1] = slave;
    return 0;
}

/* ---- memory ---- */

/* On FreeBSD MAP_STACK is something else: a region that the kernel grows downward with a guard of its own,
 * which would get in the way of ours. OpenBSD refuses to run on a stack that is not so marked. */
#if defined(MAP_STACK) && !defined(__FreeBSD__)
enum { STACK_FLAG = MAP_STACK };
#else
enum { STACK_FLAG = 0 };
#endif

static void *sys_mmap(size_t n) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | STACK_FLAG, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static int sys_munmap(void *p, size_t n) { return (int)checked(munmap(p, n)); }

static int sys_mprotect_none(void *p, size_t n) { return (int)checked(mprotect(p, n, PROT_NONE)); }

static int sys_madvise(void *p, size_t n, int advice) { return (int)checked(madvise(p, n, advice)); }

/* Which pages are in memory, a byte for each. OpenBSD has taken the call away, as a leak between processes. */
#if defined(__OpenBSD__)
# define SYSTEM_MINCORE NULL
#else
static int sys_mincore(void *p, size_t n, unsigned char *pages) {
    return (int)checked(mincore(p, n, (void *)pages));
}
# define SYSTEM_MINCORE sys_mincore
#endif

/* ---- signals and threads ---- */

static int sys_sigaction(int signo, const struct sigaction *action, struct sigaction *old) {
    return (int)checked(sigaction(signo, action, old));
}

static int sys_sigpending(sigset_t *set) { return (int)checked(sigpending(set)); }

static int sys_sigaltstack(const stack_t *stack, stack_t *old) { return (int)checked(sigaltstack(stack, old)); }

static int sys_sigmask(int how, const sigset_t *set, sigset_t *old) { return -pthread_sigmask(how, set, old); }

/* Signals are blocked around the creation, not at the thread's start: a thread inherits the mask, so there is
 * no moment in which a handler of the program could run on a thread that the program does not know. */
static int sys_thread(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack_size) {
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error)
        return -error;
    sigset_t all, before;
    (void)sigfillset(&all);
    if (stack_size)
        error = pthread_attr_setstacksize(&attr, stack_size);
    if (!error) {
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(thread, &attr, fn, arg);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    (void)pthread_attr_destroy(&attr);
    return -error;
}

/* The attribute knows the constant of <limits.h> only; what thread-local memory and signal frames take in this process
 * is known to sysconf, where it is known at all, and else to the first pthread_create. */
static int sys_thread_stack(size_t n) {
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error)
        return -error;
    error = pthread_attr_setstacksize(&attr, n);
    (void)pthread_attr_destroy(&attr);
#if defined(_SC_THREAD_STACK_MIN)
    long least = sysconf(_SC_THREAD_STACK_MIN);
    if (least > 0 && n < (size_t)least)
        error = EINVAL;
#endif
    return -error;
}

static int sys_thread_join(pthread_t thread) { return -pthread_join(thread, NULL); }

#if defined(__APPLE__)
static void sys_thread_name(const char *name) { (void)pthread_setname_np(name); }
#elif defined(__NetBSD__)
static void sys_thread_name(const char *name) {
    (void)pthread_setname_np(pthread_self(), "%s", (void *)(uintptr_t)name);
}
#elif defined(__FreeBSD__) || defined(__OpenBSD__)
static void sys_thread_name(const char *name) { pthread_set_name_np(pthread_self(), name); }
#else
static void sys_thread_name(const char *name) { (void)pthread_setname_np(pthread_self(), name); }
#endif

/* Not more than the process is allowed: a container often has few of the machine's. */
static int sys_processors(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > INT32_MAX ? INT32_MAX : (int)n;
}

static int sys_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                           struct addrinfo **list) {
    return getaddrinfo(host, service, hints, list);
}

static void sys_freeaddrinfo(struct addrinfo *list) { freeaddrinfo(list); }

/* ---- what a resolver needs of its machine ---- */

static int sys_open_readonly(const char *path) {
    return (int)checked(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
}

#if defined(__APPLE__)
# define CHANGED(st) ((st).st_mtimespec)
#else
# define CHANGED(st) ((st).st_mtim)
#endif

static int sys_stamp(const char *path, struct rota__stamp *stamp) {
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    stamp->device = (uint64_t)st.st_dev;
    stamp->inode = (uint64_t)st.st_ino;
    stamp->size = (uint64_t)st.st_size;
    stamp->changed_ns = (int64_t)CHANGED(st).tv_sec * 1000000000 + CHANGED(st).tv_nsec;
    return 0;
}

#if defined(__linux__)

/* By number, because musl got the wrapper late. 1 is GRND_NONBLOCK: a machine that has just been started may have no
 * unpredictable bytes yet, and this must not wait; nor do kernels before 3.17 have the call. /dev/urandom answers in
 * both cases. */
static int sys_random(void *buf, size_t n) {
    ssize_t r = syscall(SYS_getrandom, buf, n, 1L);
    if (r == (ssize_t)n)
        return 0;
    int fd = sys_open_readonly("/dev/urandom");
    if (fd < 0)
        return fd;
    r = checked(read(fd, buf, n));
    (void)sys_close(fd);
    return r < 0 ? (int)r : r == (ssize_t)n ? 0 : -EIO;
}

#else

static int sys_random(void *buf, size_t n) {
    arc4random_buf(buf, n);
    return 0;
}

#endif

/* ---- who we are ---- */

static int sys_pid(void) { return (int)getpid(); }

/* ---- the table ---- */

/* In sys_spawn.c. */
int rota__sys_spawn(const struct rota__spawn *how, pid_t *pid, int *pidfd);
int rota__sys_pidfd_open(pid_t pid);
int rota__sys_pidfd_signal(int pidfd, int signo);
int rota__sys_kill(pid_t pid, int signo);
int rota__sys_reap(pid_t pid, int pidfd, int options, int *status);

/* In sys_worker.c. */
int rota__sys_threads(void);
pid_t rota__sys_fork(void);
void rota__sys_leave(int code);
int rota__sys_death_signal(int signo);
pid_t rota__sys_self(void);
pid_t rota__sys_parent(void);
int rota__sys_detach_files(const int *keep, size_t n);
int rota__sys_shared_file(void);
void *rota__sys_map_shared(int fd, size_t n);
void rota__sys_sync_shared(void *p, size_t n);

/* In sys_file.c. */
int rota__sys_open(const char *path, int flags, mode_t mode);
ssize_t rota__sys_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t rota__sys_pwrite(int fd, const void *buf, size_t n, off_t offset);
int rota__sys_fsync(int fd, bool data_only);
int rota__sys_ftruncate(int fd, off_t size);
int rota__sys_fchmod(int fd, mode_t mode);
int rota__sys_stat(const char *path, struct stat *st, bool follow);
int rota__sys_rename(const char *from, const char *to);
int rota__sys_unlink(const char *path);
int rota__sys_mkdir(const char *path, mode_t mode);
int rota__sys_rmdir(const char *path);
int rota__sys_opendir(const char *path, void **dir);
int rota__sys_readdir(void *dir, const char **name, unsigned char *type, uint64_t *inode);
int rota__sys_closedir(void *dir);

const struct rota__sys rota__sys_real = {
    .now = sys_now,
    .read = sys_read, .write = sys_write, .readv = sys_readv, .writev = sys_writev,
    .readv_nowait = sys_readv_nowait, .writev_nowait = sys_writev_nowait,
    .pid = sys_pid,
    .recv = sys_recv, .send = sys_send, .recvmsg = sys_recvmsg, .sendmsg = sys_sendmsg,
    .socket = sys_socket, .accept = sys_accept, .connect = sys_connect, .bind = sys_bind, .listen = sys_listen,
    .shutdown = sys_shutdown, .getsockopt = sys_getsockopt, .setsockopt = sys_setsockopt,
    .getsockname = sys_getsockname, .fstat = sys_fstat, .poll = sys_poll, .close = sys_close, .pipe = sys_pipe,
    .dup2 = sys_dup2, .is_nonblocking = sys_is_nonblocking, .set_nonblocking = sys_set_nonblocking,
    .getpeername = sys_getpeername, .socketpair = sys_socketpair, .peer_ids = sys_peer_ids,
    .multicast_group = sys_multicast_group, .multicast_interface = sys_multicast_interface,
    .spreads_connections = sys_spreads_connections, .pty = sys_pty, .dup_fd = sys_dup_fd,
    .is_socket_file = sys_is_socket_file,
    .file_mode = sys_file_mode, .seek = sys_seek,
    .sendfile = sys_sendfile, .splice = sys_splice,
    .mmap = sys_mmap, .munmap = sys_munmap, .mprotect_none = sys_mprotect_none, .madvise = sys_madvise,
    .mincore = SYSTEM_MINCORE,
    .sigaction = sys_sigaction, .sigaltstack = sys_sigaltstack,
    .sigmask = sys_sigmask, .sigpending = sys_sigpending, .sigtake = sys_sigtake,
    .thread = sys_thread, .thread_name = sys_thread_name, .processors = sys_processors,
    .getaddrinfo = sys_getaddrinfo, .freeaddrinfo = sys_freeaddrinfo,
    .preadv_nowait = sys_preadv_nowait,
    .open = rota__sys_open, .pread = rota__sys_pread, .pwrite = rota__sys_pwrite, .fsync = rota__sys_fsync,
    .ftruncate = rota__sys_ftruncate, .fchmod = rota__sys_fchmod, .stat = rota__sys_stat,
    .rename = rota__sys_rename, .unlink = rota__sys_unlink, .mkdir = rota__sys_mkdir, .rmdir = rota__sys_rmdir,
    .opendir = rota__sys_opendir, .readdir = rota__sys_readdir, .closedir = rota__sys_closedir,
    .spawn = rota__sys_spawn, .pidfd_open = rota__sys_pidfd_open, .pidfd_signal = rota__sys_pidfd_signal,
    .kill = rota__sys_kill, .reap = rota__sys_reap,
    .threads = rota__sys_threads, .fork = rota__sys_fork, .leave = rota__sys_leave,
    .death_signal = rota__sys_death_signal, .self = rota__sys_self, .parent = rota__sys_parent,
    .detach_files = rota__sys_detach_files,
    .shared_file = rota__sys_shared_file, .map_shared = rota__sys_map_shared, .sync_shared = rota__sys_sync_shared,
    .open_readonly = sys_open_readonly, .stamp = sys_stamp, .random = sys_random,
    .thread_stack = sys_thread_stack, .thread_join = sys_thread_join,
    SYSTEM_EPOLL SYSTEM_KQUEUE
};

const struct rota__sys *rota__sys = &rota__sys_real;
