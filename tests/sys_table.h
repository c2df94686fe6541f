/* The seam's calls (reactor/sys.h) through a table, so that tests can have them fail, or answered by a simulated network.
 *
 * Each program that links the internal libraries has sys_table.c in the place of reactor/sys*.c: it defines the functions
 * of the seam, each of which calls what rota__sys points to at that moment. rota__sys_real holds the real ones, which are
 * compiled under names of their own (sys_names.h). The pointer is only changed while no loop exists.
 */
#ifndef ROTA_TESTS_SYS_TABLE_H
#define ROTA_TESTS_SYS_TABLE_H

#include "reactor/sys.h"

/* X(type, name, parameters, arguments) */
#define SYS_CALLS(X) \
    X(int64_t, now, (void), ()) \
    X(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n)) \
    X(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n)) \
    X(ssize_t, readv, (int fd, const struct iovec *iov, int n), (fd, iov, n)) \
    X(ssize_t, writev, (int fd, const struct iovec *iov, int n), (fd, iov, n)) \
    X(ssize_t, readv_nowait, (int fd, const struct iovec *iov, int n), (fd, iov, n)) \
    X(ssize_t, writev_nowait, (int fd, const struct iovec *iov, int n), (fd, iov, n)) \
    X(ssize_t, preadv_nowait, (int fd, const struct iovec *iov, int n, off_t offset), (fd, iov, n, offset)) \
    X(ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags)) \
    X(ssize_t, send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags)) \
    X(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), (fd, msg, flags)) \
    X(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags)) \
    X(int, socket, (int domain, int type, int protocol), (domain, type, protocol)) \
    X(int, accept, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len)) \
    X(int, connect, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len)) \
    X(int, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len)) \
    X(int, listen, (int fd, int backlog), (fd, backlog)) \
    X(int, shutdown, (int fd, int how), (fd, how)) \
    X(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len), (fd, level, name, value, len)) \
    X(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len), (fd, level, name, value, len)) \
    X(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len)) \
    X(int, getpeername, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len)) \
    X(int, socketpair, (int type, int fds[2]), (type, fds)) \
    X(int, fstat, (int fd, struct stat *st), (fd, st)) \
    X(int, poll, (struct pollfd *fds, nfds_t n, int timeout_ms), (fds, n, timeout_ms)) \
    X(int, close, (int fd), (fd)) \
    X(int, pipe, (int fds[2]), (fds)) \
    X(int, dup2, (int fd, int onto), (fd, onto)) \
    X(int, dup_fd, (int fd), (fd)) \
    X(int, is_nonblocking, (int fd), (fd)) \
    X(int, set_nonblocking, (int fd, int on), (fd, on)) \
    X(void *, mmap, (size_t n), (n)) \
    X(int, munmap, (void *p, size_t n), (p, n)) \
    X(int, mprotect_none, (void *p, size_t n), (p, n)) \
    X(int, madvise, (void *p, size_t n, int advice), (p, n, advice)) \
    X(int, mincore, (void *p, size_t n, unsigned char *pages), (p, n, pages)) \
    X(int, sigaction, (int signo, const struct sigaction *action, struct sigaction *old), (signo, action, old)) \
    X(int, sigaltstack, (const stack_t *stack, stack_t *old), (stack, old)) \
    X(int, sigmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old)) \
    X(int, sigpending, (sigset_t *set), (set)) \
    X(int, sigtake, (const sigset_t *set), (set)) \
    X(int, pid, (void), ()) \
    X(int, peer_ids, (int fd, int64_t ids[3]), (fd, ids)) \
    X(int, spreads_connections, (void), ()) \
    X(int, is_socket_file, (const char *path), (path)) \
    X(int, file_mode, (const char *path, unsigned mode), (path, mode)) \
    X(int, multicast_group, (int fd, const struct sockaddr *group, unsigned interface, int join), \
      (fd, group, interface, join)) \
    X(int, multicast_interface, (int fd, int family, unsigned interface), (fd, family, interface)) \
    X(int, pty, (int fds[2]), (fds)) \
    X(int, thread, (pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack_size), \
      (thread, fn, arg, stack_size)) \
    X(int, thread_stack, (size_t n), (n)) \
    X(int, thread_join, (pthread_t thread), (thread)) \
    X(int, processors, (void), ()) \
    X(int, getaddrinfo, (const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list), \
      (host, service, hints, list)) \
    X(int, open_readonly, (const char *path), (path)) \
    X(int, stamp, (const char *path, struct rota__stamp *stamp), (path, stamp)) \
    X(int, random, (void *buf, size_t n), (buf, n)) \
    X(int, open, (const char *path, int flags, mode_t mode), (path, flags, mode)) \
    X(ssize_t, pread, (int fd, void *buf, size_t n, off_t offset), (fd, buf, n, offset)) \
    X(ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t offset), (fd, buf, n, offset)) \
    X(int, fsync, (int fd, bool data_only), (fd, data_only)) \
    X(int, ftruncate, (int fd, off_t size), (fd, size)) \
    X(int, fchmod, (int fd, mode_t mode), (fd, mode)) \
    X(int, stat, (const char *path, struct stat *st, bool follow), (path, st, follow)) \
    X(int, rename, (const char *from, const char *to), (from, to)) \
    X(int, unlink, (const char *path), (path)) \
    X(int, mkdir, (const char *path, mode_t mode), (path, mode)) \
    X(int, rmdir, (const char *path), (path)) \
    X(int, opendir, (const char *path, void **dir), (path, dir)) \
    X(int, readdir, (void *dir, const char **name, unsigned char *type, uint64_t *inode), (dir, name, type, inode)) \
    X(int, closedir, (void *dir), (dir)) \
    X(int64_t, seek, (int fd, int64_t offset, int whence), (fd, offset, whence)) \
    X(ssize_t, sendfile, (int out, int in, int64_t *offset, size_t n), (out, in, offset, n)) \
    X(ssize_t, splice, (int in, int out, size_t n), (in, out, n)) \
    X(int, spawn, (const struct rota__spawn *how, pid_t *pid, int *pidfd), (how, pid, pidfd)) \
    X(int, pidfd_open, (pid_t pid), (pid)) \
    X(int, pidfd_signal, (int pidfd, int signo), (pidfd, signo)) \
    X(int, kill, (pid_t pid, int signo), (pid, signo)) \
    X(int, reap, (pid_t pid, int pidfd, int options, int *status), (pid, pidfd, options, status)) \
    X(int, threads, (void), ()) \
    X(pid_t, fork, (void), ()) \
    X(int, death_signal, (int signo), (signo)) \
    X(pid_t, self, (void), ()) \
    X(pid_t, parent, (void), ()) \
    X(int, detach_files, (const int *keep, size_t n), (keep, n)) \
    X(int, shared_file, (void), ()) \
    X(void *, map_shared, (int fd, size_t n), (fd, n))

#define SYS_CALLS_WITHOUT_RESULT(X) \
    X(void, thread_name, (const char *name), (name)) \
    X(void, freeaddrinfo, (struct addrinfo *list), (list)) \
    X(void, leave, (int code), (code)) \
    X(void, sync_shared, (void *p, size_t n), (p, n))

/* Of other systems: NULL. */
#define SYS_CALLS_OF_EPOLL(X) \
    X(int, epoll_create, (void), ()) \
    X(int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event), (epoll, op, fd, event)) \
    X(int, epoll_wait, (int epoll, struct epoll_event *events, int n, int timeout_ms), (epoll, events, n, timeout_ms)) \
    X(int, epoll_pwait2, (int epoll, struct epoll_event *events, int n, const struct timespec *timeout), \
      (epoll, events, n, timeout)) \
    X(int, eventfd, (void), ()) \
    X(int, timerfd_create, (void), ()) \
    X(int, timerfd_settime, (int fd, int flags, const struct itimerspec *value), (fd, flags, value))

#define SYS_CALLS_OF_KQUEUE(X) \
    X(int, kqueue, (void), ()) \
    X(int, kevent, (int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n_events, const struct timespec *timeout), \
      (kq, changes, n_changes, events, n_events, timeout))

#define SYS_MEMBER_(type, name, parameters, arguments) type (*name) parameters;
struct rota__sys {
    SYS_CALLS(SYS_MEMBER_)
    SYS_CALLS_WITHOUT_RESULT(SYS_MEMBER_)
    SYS_CALLS_OF_EPOLL(SYS_MEMBER_)
    SYS_CALLS_OF_KQUEUE(SYS_MEMBER_)
};

extern const struct rota__sys rota__sys_real;
extern const struct rota__sys *rota__sys;

#endif
