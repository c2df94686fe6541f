/* The seam's calls for pollers: the epoll family, which Linux alone has, and kqueue, which the other systems have (and so
 * has Linux, in a build for tests). See reactor/sys.h.
 */
#define _GNU_SOURCE 1

#include "reactor/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#if defined(__linux__)
# include <sys/epoll.h>
# include <sys/eventfd.h>
# include <sys/syscall.h>
# include <sys/timerfd.h>
#endif
#if !defined(__linux__) || defined(ROTA__POLLER_KQUEUE)
# include <sys/event.h>
# define HAS_KQUEUE 1
#endif

#if defined(__linux__)

/* The kernel's own layout of the timeout, the same on 32-bit systems with either size of time_t. */
struct timeout64 {
    int64_t sec, nsec;
};

#if !defined(SYS_epoll_pwait2)
# define SYS_epoll_pwait2 441 /* the same on every architecture with the common table; older headers lack it */
#endif

/* By number, because musl has no wrapper of it, and glibc only since 2.35. */
int rota__sys_epoll_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout) {
    struct timeout64 t = {timeout ? timeout->tv_sec : 0, timeout ? timeout->tv_nsec : 0};
    return (int)rota__checked(syscall(SYS_epoll_pwait2, epoll, events, n, timeout ? &t : NULL, NULL, (size_t)0));
}

int rota__sys_epoll_create(void) { return (int)rota__checked(epoll_create1(EPOLL_CLOEXEC)); }

int rota__sys_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event) {
    return (int)rota__checked(epoll_ctl(epoll, op, fd, event));
}

int rota__sys_epoll_wait(int epoll, struct epoll_event *events, int n, int timeout_ms) {
    return (int)rota__checked(epoll_wait(epoll, events, n, timeout_ms));
}

int rota__sys_eventfd(void) { return (int)rota__checked(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

int rota__sys_timerfd_create(void) {
    return (int)rota__checked(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
}

int rota__sys_timerfd_settime(int fd, int flags, const struct itimerspec *value) {
    return (int)rota__checked(timerfd_settime(fd, flags, value, NULL));
}

#endif

#if defined(HAS_KQUEUE)

/* kqueue1 is not everywhere. Nothing can slip in between: a kqueue is not inherited by a child of fork, so the
 * flag only matters to an exec by this process itself. */
int rota__sys_kqueue(void) {
    int fd = kqueue();
    if (fd < 0)
        return -errno;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

int rota__sys_kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n_events,
                      const struct timespec *timeout) {
    return (int)rota__checked(kevent(kq, changes, n_changes, events, n_events, timeout));
}

#endif
