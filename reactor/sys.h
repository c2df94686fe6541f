/* The one place through which the library calls the system.
 *
 * rota__sys points to a table of functions. Each returns what the system call returns, or a negative errno
 * value; callers never look at errno (one exception: getaddrinfo). Tests point it to a table of their own, which
 * fails the Nth call or answers from a simulated network; it is only changed while no loop exists. Calls that
 * one system lacks (accept4, preadv2) are made up from others in sys.c, so that callers have no #if.
 *
 * Nothing is retried here: -EINTR reaches the caller, who knows whether the call may be repeated. Descriptors
 * that are made here are close-on-exec from their first moment where the system can do that.
 */
#ifndef ROTA_REACTOR_SYS_H
#define ROTA_REACTOR_SYS_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct addrinfo;
struct epoll_event;
struct kevent;
struct itimerspec;

/* What a child process is to be (sys_spawn.c). The caller's memory during the call; `moved` is scratch. */
enum { ROTA__SPAWN_NULL = -1 };                                 /* for `from`: /dev/null */
struct rota__spawn_fd {
    int from, to;                                               /* of the parent; of the child */
    int moved;
};
enum {
    ROTA__SPAWN_SESSION = 1, ROTA__SPAWN_GROUP = 2,             /* setsid; setpgid(0, group) */
    ROTA__SPAWN_TTY = 4,                                        /* descriptor 0 becomes the controlling terminal */
    ROTA__SPAWN_CLOSE = 8                                       /* from 3 on, only those of `fds` stay open */
};
struct rota__spawn {
    const char *paths;                                          /* strings one after the other, "" last: the first that
                                                                   can be executed is */
    char *const *argv, *const *envp;
    const char *cwd;                                            /* or NULL */
    struct rota__spawn_fd *fds;
    size_t n_fds;
    unsigned flags;
    pid_t group;
};

/* Which state of a file this is: another one has another stamp. */
struct rota__stamp {
    uint64_t device, inode, size;
    int64_t changed_ns;
};

struct rota__sys {
    /* time */
    int64_t (*now)(void);                                       /* CLOCK_MONOTONIC, ns; cannot fail */

    /* bytes */
    ssize_t (*read)(int fd, void *buf, size_t n);
    ssize_t (*write)(int fd, const void *buf, size_t n);
    ssize_t (*readv)(int fd, const struct iovec *iov, int n);
    ssize_t (*writev)(int fd, const struct iovec *iov, int n);
    ssize_t (*readv_nowait)(int fd, const struct iovec *iov, int n);   /* preadv2(RWF_NOWAIT); -ENOSYS, -EOPNOTSUPP */
    ssize_t (*writev_nowait)(int fd, const struct iovec *iov, int n);
    ssize_t (*recv)(int fd, void *buf, size_t n, int flags);
    ssize_t (*send)(int fd, const void *buf, size_t n, int flags);      /* never SIGPIPE; so sendmsg */
    ssize_t (*recvmsg)(int fd, struct msghdr *msg, int flags);          /* descriptors in it: close-on-exec */
    ssize_t (*sendmsg)(int fd, const struct msghdr *msg, int flags);

    /* who we are */
    int (*pid)(void);                                           /* cannot fail */

    /* descriptors */
    int (*socket)(int domain, int type, int protocol);          /* non-blocking, close-on-exec */
    int (*accept)(int fd, struct sockaddr *addr, socklen_t *len); /* non-blocking, close-on-exec */
    int (*connect)(int fd, const struct sockaddr *addr, socklen_t len);
    int (*bind)(int fd, const struct sockaddr *addr, socklen_t len);
    int (*listen)(int fd, int backlog);
    int (*shutdown)(int fd, int how);
    int (*getsockopt)(int fd, int level, int name, void *value, socklen_t *len);
    int (*setsockopt)(int fd, int level, int name, const void *value, socklen_t len);
    int (*getsockname)(int fd, struct sockaddr *addr, socklen_t *len);
    int (*fstat)(int fd, struct stat *st);
    int (*poll)(struct pollfd *fds, nfds_t n, int timeout_ms);
    int (*close)(int fd);                                       /* EINTR counts as closed */
    int (*pipe)(int fds[2]);                                    /* non-blocking, close-on-exec */
    int (*dup2)(int fd, int onto);                              /* close-on-exec */
    int (*is_nonblocking)(int fd);                              /* 1, 0, or an error */
    int (*set_nonblocking)(int fd, int on);

    /* sockets of every kind, terminals, and moving bytes inside the kernel */
    int (*getpeername)(int fd, struct sockaddr *addr, socklen_t *len);
    int (*socketpair)(int type, int fds[2]);                    /* AF_UNIX; non-blocking, close-on-exec */
    int (*peer_ids)(int fd, int64_t ids[3]);                    /* process (-1: not told), user, group */
    int (*multicast_group)(int fd, const struct sockaddr *group, unsigned interface, int join);
    int (*multicast_interface)(int fd, int family, unsigned interface);
    int (*spreads_connections)(void);                           /* do listeners that share a port get them in turn? */
    int (*pty)(int fds[2]);                                     /* master (non-blocking) and slave; close-on-exec */
    int (*dup_fd)(int fd);                                      /* close-on-exec */
    int (*is_socket_file)(const char *path);                    /* 1, 0 (also a link to one), or an error */
    int (*file_mode)(const char *path, unsigned mode);          /* chmod(2) */
    int64_t (*seek)(int fd, int64_t offset, int whence);
    ssize_t (*sendfile)(int out, int in, int64_t *offset, size_t n);    /* -ENOSYS where it is another call */
    ssize_t (*splice)(int in, int out, size_t n);               /* SPLICE_F_NONBLOCK; -ENOSYS where there is none */

    /* memory */
    void *(*mmap)(size_t n);                                    /* private, anonymous, fit for stacks; NULL on failure */
    int (*munmap)(void *p, size_t n);
    int (*mprotect_none)(void *p, size_t n);
    int (*madvise)(void *p, size_t n, int advice);
    int (*mincore)(void *p, size_t n, unsigned char *pages);    /* NULL where there is none */

    /* signals and threads */
    int (*sigaction)(int signo, const struct sigaction *action, struct sigaction *old);
    int (*sigaltstack)(const stack_t *stack, stack_t *old);
    int (*sigmask)(int how, const sigset_t *set, sigset_t *old);
    int (*sigpending)(sigset_t *set);                           /* of this thread and of the process */
    int (*sigtake)(const sigset_t *set);                        /* takes one that is pending, without waiting */
    int (*thread)(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack_size); /* to be joined; all signals
                                                                   blocked; 0: default */
    int (*thread_stack)(size_t n);                              /* could a thread have one of that size? -EINVAL */
    int (*thread_join)(pthread_t thread);
    void (*thread_name)(const char *name);                      /* of this one, for debuggers; up to 15 bytes */
    int (*processors)(void);                                    /* that this process may run on; cannot fail */
    int (*getaddrinfo)(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);                 /* 0, or EAI_* as it is; errno with EAI_SYSTEM */
    void (*freeaddrinfo)(struct addrinfo *list);

    /* files (sys_file.c): called by the threads of executors */
    ssize_t (*preadv_nowait)(int fd, const struct iovec *iov, int n, off_t offset); /* from the page cache, or -EAGAIN,
                                                                   -EOPNOTSUPP, -ENOSYS; offset -1: the position */
    int (*open)(const char *path, int flags, mode_t mode);      /* close-on-exec */
    ssize_t (*pread)(int fd, void *buf, size_t n, off_t offset);
    ssize_t (*pwrite)(int fd, const void *buf, size_t n, off_t offset);
    int (*fsync)(int fd, bool data_only);
    int (*ftruncate)(int fd, off_t size);
    int (*fchmod)(int fd, mode_t mode);
    int (*stat)(const char *path, struct stat *st, bool follow);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
    int (*opendir)(const char *path, void **dir);
    int (*readdir)(void *dir, const char **name, unsigned char *type, uint64_t *inode); /* 1: one more; 0: the end */
    int (*closedir)(void *dir);

    /* child processes (sys_spawn.c) */
    int (*spawn)(const struct rota__spawn *how, pid_t *pid, int *pidfd); /* *pidfd -1 where there is none; an error of
                                                                   the child's before or in exec is its result */
    int (*pidfd_open)(pid_t pid);                               /* close-on-exec; -ENOSYS */
    int (*pidfd_signal)(int pidfd, int signo);                  /* -ESRCH, -ENOSYS */
    int (*kill)(pid_t pid, int signo);
    int (*reap)(pid_t pid, int pidfd, int options, int *status); /* waitpid, by pidfd where it is one: pid, 0, error */

    /* worker processes (sys_worker.c) */
    int (*threads)(void);                                       /* of this process; -ENOSYS: nobody knows */
    pid_t (*fork)(void);
    void (*leave)(int code);                                    /* ends the process, and nothing else happens in it */
    int (*death_signal)(int signo);                             /* that the parent's end brings; -ENOSYS */
    pid_t (*self)(void);
    pid_t (*parent)(void);
    int (*detach_files)(const int *keep, size_t n);             /* 0 is /dev/null; from 3 on only these stay open */
    int (*shared_file)(void);                                   /* empty, without a name; close-on-exec */
    void *(*map_shared)(int fd, size_t n);                      /* to be read and written; NULL on failure */
    void (*sync_shared)(void *p, size_t n);                     /* of what is mapped, for those who read the file */

    /* what a resolver needs of its machine */
    int (*open_readonly)(const char *path);                     /* close-on-exec; does not wait, also not for a FIFO */
    int (*stamp)(const char *path, struct rota__stamp *stamp);
    int (*random)(void *buf, size_t n);                         /* unpredictable bytes, n <= 256; never waits */

    /* pollers; those of another system are NULL */
    int (*epoll_create)(void);
    int (*epoll_ctl)(int epoll, int op, int fd, struct epoll_event *event);
    int (*epoll_wait)(int epoll, struct epoll_event *events, int n, int timeout_ms);
    int (*epoll_pwait2)(int epoll, struct epoll_event *events, int n, const struct timespec *timeout);
    int (*eventfd)(void);                                       /* non-blocking, close-on-exec */
    int (*timerfd_create)(void);                                /* CLOCK_MONOTONIC, non-blocking, close-on-exec */
    int (*timerfd_settime)(int fd, int flags, const struct itimerspec *value);
    int (*kqueue)(void);                                        /* close-on-exec */
    int (*kevent)(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n_events,
                  const struct timespec *timeout);
};

extern const struct rota__sys rota__sys_real;
extern const struct rota__sys *rota__sys;

#endif
