/* Faults: a program is run again and again, and each time another one of its system calls, or of its allocations,
 * fails: once, or that one and all later ones of its kind. Each run must end, with success or an error, and give back
 * every descriptor and byte; whether it does is asked here, and what else must hold, by the program's own functions.
 *
 *     static const struct fault_row rows[] = { { FAULT_recv, -ECONNRESET, 0, NULL }, ... };
 *     static const struct fault_program program = { .body = main_task, .rows = rows, .n_rows = ... };
 *     Fault_tests(faults_x, &program, .timeout = 120)
 *
 * The calls that occur in the rows are replaced in the table of system calls by ones that may fail; what should fail
 * only in some cases has a wrapper of its own, with fault(), which `change` puts there.
 */
#ifndef ROTA_TESTS_FAULT_KIT_H
#define ROTA_TESTS_FAULT_KIT_H

#include "tests/sys_table.h"
#include "tests/support.h"

/* ---- the calls ---- */

#define FAULT_CALLS(X) \
    X(int, accept, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len)) \
    X(int, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len)) \
    X(int, connect, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len)) \
    X(int, dup_fd, (int fd), (fd)) \
    X(int, epoll_create, (void), ()) \
    X(int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event), (epoll, op, fd, event)) \
    X(int, epoll_pwait2, (int epoll, struct epoll_event *events, int n, const struct timespec *t), \
      (epoll, events, n, t)) \
    X(int, epoll_wait, (int epoll, struct epoll_event *events, int n, int ms), (epoll, events, n, ms)) \
    X(int, eventfd, (void), ()) \
    X(int, fchmod, (int fd, mode_t mode), (fd, mode)) \
    X(int, file_mode, (const char *path, unsigned mode), (path, mode)) \
    X(int, fstat, (int fd, struct stat *st), (fd, st)) \
    X(int, fsync, (int fd, bool data_only), (fd, data_only)) \
    X(int, ftruncate, (int fd, off_t size), (fd, size)) \
    X(int, getpeername, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len)) \
    X(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len)) \
    X(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len), (fd, level, name, value, len)) \
    X(int, is_socket_file, (const char *path), (path)) \
    X(int, listen, (int fd, int backlog), (fd, backlog)) \
    X(int, madvise, (void *p, size_t n, int advice), (p, n, advice)) \
    X(int, mkdir, (const char *path, mode_t mode), (path, mode)) \
    X(int, mprotect_none, (void *p, size_t n), (p, n)) \
    X(int, multicast_group, (int fd, const struct sockaddr *group, unsigned interface, int join), \
      (fd, group, interface, join)) \
    X(int, open, (const char *path, int flags, mode_t mode), (path, flags, mode)) \
    X(int, open_readonly, (const char *path), (path)) \
    X(int, opendir, (const char *path, void **dir), (path, dir)) \
    X(int, peer_ids, (int fd, int64_t ids[3]), (fd, ids)) \
    X(int, pidfd_open, (pid_t pid), (pid)) \
    X(int, pidfd_signal, (int pidfd, int signo), (pidfd, signo)) \
    X(int, pipe, (int fds[2]), (fds)) \
    X(int, poll, (struct pollfd *fds, nfds_t n, int ms), (fds, n, ms)) \
    X(ssize_t, pread, (int fd, void *buf, size_t n, off_t offset), (fd, buf, n, offset)) \
    X(int, pty, (int fds[2]), (fds)) \
    X(ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t offset), (fd, buf, n, offset)) \
    X(int, random, (void *buf, size_t n), (buf, n)) \
    X(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n)) \
    X(int, readdir, (void *dir, const char **name, unsigned char *type, uint64_t *inode), (dir, name, type, inode)) \
    X(ssize_t, readv, (int fd, const struct iovec *iov, int n), (fd, iov, n)) \
    X(int, reap, (pid_t pid, int pidfd, int options, int *status), (pid, pidfd, options, status)) \
    X(ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags)) \
    X(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), (fd, msg, flags)) \
    X(int, rename, (const char *from, const char *to), (from, to)) \
    X(int64_t, seek, (int fd, int64_t offset, int whence), (fd, offset, whence)) \
    X(ssize_t, send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags)) \
    X(ssize_t, sendfile, (int out, int in, int64_t *offset, size_t n), (out, in, offset, n)) \
    X(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags)) \
    X(int, set_nonblocking, (int fd, int on), (fd, on)) \
    X(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len), (fd, level, name, value, len)) \
    X(int, shared_file, (void), ()) \
    X(int, sigmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old)) \
    X(int, socket, (int domain, int type, int protocol), (domain, type, protocol)) \
    X(int, socketpair, (int type, int fds[2]), (type, fds)) \
    X(ssize_t, splice, (int in, int out, size_t n), (in, out, n)) \
    X(int, stamp, (const char *path, struct rota__stamp *stamp), (path, stamp)) \
    X(int, stat, (const char *path, struct stat *st, bool follow), (path, st, follow)) \
    X(int, thread, (pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack), (thread, fn, arg, stack)) \
    X(int, timerfd_create, (void), ()) \
    X(int, unlink, (const char *path), (path)) \
    X(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n)) \
    X(ssize_t, writev, (int fd, const struct iovec *iov, int n), (fd, iov, n))

#define FAULT_NAME_(type, name, parameters, arguments) FAULT_##name,
enum fault_call {
    FAULT_CALLS(FAULT_NAME_)
    FAULT_OWN,                  /* from here on: calls that a test counts in wrappers of its own */
    FAULT_ANY = FAULT_OWN + 16  /* in a row: whichever call comes at that place */
};

/* In wrappers: counts the call, and gives the error that it shall return, or 0. Any thread. */
int fault(int call);

/* Puts the wrapper of a call into the table. */
void fault_replace(struct rota__sys *sys, int call);

/* ---- programs ---- */

enum {
    FAULT_RECOVERS = 1,  /* failed once, the program succeeds all the same (-EINTR: always so) */
    FAULT_HARMLESS = 2,  /* also when it fails for good */
    FAULT_ONCE = 4,      /* for good is no fault that a system has (-EINTR: always so) */
    FAULT_OPTIONAL = 8   /* on some systems, or with some poller, the program makes no such call */
};

struct fault_row {
    int call;            /* enum fault_call */
    int error;           /* what it returns */
    unsigned flags;
    const char *name;    /* of one from FAULT_OWN on */
};

struct fault_program {
    rota_fn *body;                           /* the main task, with test_options; 0 when nothing fails */
    intptr_t (*run)(int *rc);                /* instead of a body: the value, and what rota_run returned */
    const struct fault_row *rows;
    size_t n_rows;
    void (*change)(struct rota__sys *sys);   /* what else is replaced */
    void (*begin)(void);                     /* before all runs, */
    void (*end)(void);                       /* and behind */
    void (*prepare)(const struct fault_row *row);  /* before each run; NULL: allocations */
    void (*check)(const char *what, size_t at, intptr_t value);  /* after each, before test_end */
};

/* Each row, at each place where the program makes the call; each allocation. on: and from there on. */
void fault_each_call(const struct fault_program *program, bool on);
void fault_each_allocation(const struct fault_program *program, bool on);

/* Counters that child processes share. In begin. */
void fault_share(void);

#define Fault_tests(suite, program, ...)                                                                           \
    Test(suite, each_system_call_fails_once, __VA_ARGS__) { fault_each_call(program, false); }                      \
    Test(suite, each_system_call_fails_and_all_later_ones, __VA_ARGS__) { fault_each_call(program, true); }         \
    Test(suite, each_allocation_fails_once, __VA_ARGS__) { fault_each_allocation(program, false); }                 \
    Test(suite, each_allocation_fails_and_all_later_ones, __VA_ARGS__) { fault_each_allocation(program, true); }

#endif
