/* The one place through which the library calls the system: a function for each call, named rota__sys_ and the call's name.
 *
 * Each returns what the system call returns, or a negative errno value; callers never look at errno (one exception:
 * getaddrinfo). Calls that one system lacks (accept4, preadv2) are made up from others in sys*.c, so that callers have
 * no #if. Nothing is retried there: -EINTR reaches the caller, who knows whether the call may be repeated. Descriptors
 * that are made there are close-on-exec from their first moment where the system can do that.
 *
 * Tests link tests/sys_table.c in the place of sys*.c: it sends each of these functions through a table, which a test can
 * change so that the Nth call fails or a simulated network answers. Rejected: a table in the library itself. A program
 * would then hold every call of every feature, with what those draw from the C library (a resolver, for one), and each call
 * would be two loads further away.
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

/* ---- sys.c: time, bytes ---- */

int64_t rota__sys_now(void);                                         /* CLOCK_MONOTONIC, ns; cannot fail */

ssize_t rota__sys_read(int fd, void *buf, size_t n);
ssize_t rota__sys_write(int fd, const void *buf, size_t n);
ssize_t rota__sys_readv(int fd, const struct iovec *iov, int n);
ssize_t rota__sys_writev(int fd, const struct iovec *iov, int n);
ssize_t rota__sys_readv_nowait(int fd, const struct iovec *iov, int n); /* preadv2(RWF_NOWAIT); -ENOSYS, -EOPNOTSUPP */
ssize_t rota__sys_writev_nowait(int fd, const struct iovec *iov, int n);
/* From the page cache, or -EAGAIN, -EOPNOTSUPP, -ENOSYS; offset -1: the position */
ssize_t rota__sys_preadv_nowait(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t rota__sys_recv(int fd, void *buf, size_t n, int flags);
ssize_t rota__sys_send(int fd, const void *buf, size_t n, int flags); /* never SIGPIPE; so sendmsg */
ssize_t rota__sys_recvmsg(int fd, struct msghdr *msg, int flags);    /* descriptors in it: close-on-exec */
ssize_t rota__sys_sendmsg(int fd, const struct msghdr *msg, int flags);

/* ---- sys.c: descriptors ---- */

int rota__sys_socket(int domain, int type, int protocol);            /* non-blocking, close-on-exec */
int rota__sys_accept(int fd, struct sockaddr *addr, socklen_t *len); /* non-blocking, close-on-exec */
int rota__sys_connect(int fd, const struct sockaddr *addr, socklen_t len);
int rota__sys_bind(int fd, const struct sockaddr *addr, socklen_t len);
int rota__sys_listen(int fd, int backlog);
int rota__sys_shutdown(int fd, int how);
int rota__sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int rota__sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int rota__sys_getsockname(int fd, struct sockaddr *addr, socklen_t *len);
int rota__sys_getpeername(int fd, struct sockaddr *addr, socklen_t *len);
int rota__sys_socketpair(int type, int fds[2]);                      /* AF_UNIX; non-blocking, close-on-exec */
int rota__sys_fstat(int fd, struct stat *st);
int rota__sys_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int rota__sys_close(int fd);                                         /* EINTR counts as closed */
int rota__sys_pipe(int fds[2]);                                      /* non-blocking, close-on-exec */
int rota__sys_dup2(int fd, int onto);                                /* close-on-exec */
int rota__sys_dup_fd(int fd);                                        /* close-on-exec */
int rota__sys_is_nonblocking(int fd);                                /* 1, 0, or an error */
int rota__sys_set_nonblocking(int fd, int on);

/* ---- sys.c: memory, signals, who we are ---- */

/* Private, anonymous, fit for stacks; NULL on failure */
void *rota__sys_mmap(size_t n);
int rota__sys_munmap(void *p, size_t n);
int rota__sys_mprotect_none(void *p, size_t n);
int rota__sys_madvise(void *p, size_t n, int advice);
int rota__sys_mincore(void *p, size_t n, unsigned char *pages);      /* -ENOSYS where there is none */

int rota__sys_sigaction(int signo, const struct sigaction *action, struct sigaction *old);
int rota__sys_sigaltstack(const stack_t *stack, stack_t *old);
int rota__sys_sigmask(int how, const sigset_t *set, sigset_t *old);
int rota__sys_sigpending(sigset_t *set);                             /* of this thread and of the process */
int rota__sys_sigtake(const sigset_t *set);                          /* takes one that is pending, without waiting */
int rota__sys_kill(pid_t pid, int signo);

int rota__sys_pid(void);                                             /* cannot fail */

/* ---- sys_poller.c: where the system has them ---- */

int rota__sys_epoll_create(void);
int rota__sys_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int rota__sys_epoll_wait(int epoll, struct epoll_event *events, int n, int timeout_ms);
int rota__sys_epoll_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout);
int rota__sys_eventfd(void);                                         /* non-blocking, close-on-exec */
int rota__sys_timerfd_create(void);                                  /* CLOCK_MONOTONIC, non-blocking, close-on-exec */
int rota__sys_timerfd_settime(int fd, int flags, const struct itimerspec *value);
int rota__sys_kqueue(void);                                          /* close-on-exec */
int rota__sys_kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n_events,
                     const struct timespec *timeout);

/* ---- sys_socket.c: more about sockets; terminals ---- */

int rota__sys_peer_ids(int fd, int64_t ids[3]);                      /* process (-1: not told), user, group */
/* Do listeners that share a port get them in turn? */
int rota__sys_spreads_connections(void);
int rota__sys_is_socket_file(const char *path);                      /* 1, 0 (also a link to one), or an error */
int rota__sys_file_mode(const char *path, unsigned mode);            /* chmod(2) */
int rota__sys_multicast_group(int fd, const struct sockaddr *group, unsigned interface, int join);
int rota__sys_multicast_interface(int fd, int family, unsigned interface);
/* Master (non-blocking) and slave; close-on-exec */
int rota__sys_pty(int fds[2]);

/* ---- sys_thread.c ---- */

/* To be joined; all signals blocked; 0: default */
int rota__sys_thread(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack_size);
int rota__sys_thread_stack(size_t n);                                /* could a thread have one of that size? -EINVAL */
int rota__sys_thread_join(pthread_t thread);
void rota__sys_thread_name(const char *name);                        /* of this one, for debuggers; up to 15 bytes */
int rota__sys_processors(void);                                      /* that this process may run on; cannot fail */

/* ---- sys_resolve.c ---- */

/* 0, or EAI_* as it is; errno with EAI_SYSTEM */
int rota__sys_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list);
void rota__sys_freeaddrinfo(struct addrinfo *list);
/* Close-on-exec; does not wait, also not for a FIFO */
int rota__sys_open_readonly(const char *path);
int rota__sys_stamp(const char *path, struct rota__stamp *stamp);
int rota__sys_random(void *buf, size_t n);                           /* unpredictable bytes, n <= 256; never waits */

/* ---- sys_file.c: called by the threads of executors ---- */

int rota__sys_open(const char *path, int flags, mode_t mode);        /* close-on-exec */
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
int rota__sys_readdir(void *dir, const char **name, unsigned char *type, uint64_t *inode); /* 1: one more; 0: the end */
int rota__sys_closedir(void *dir);
int64_t rota__sys_seek(int fd, int64_t offset, int whence);
ssize_t rota__sys_sendfile(int out, int in, int64_t *offset, size_t n); /* -ENOSYS where it is another call */
/* SPLICE_F_NONBLOCK; -ENOSYS where there is none */
ssize_t rota__sys_splice(int in, int out, size_t n);

/* ---- sys_spawn.c: child processes ---- */

/* *pidfd -1 where there is none; an error of the child's before or in exec is its result */
int rota__sys_spawn(const struct rota__spawn *how, pid_t *pid, int *pidfd);
int rota__sys_pidfd_open(pid_t pid);                                 /* close-on-exec; -ENOSYS */
int rota__sys_pidfd_signal(int pidfd, int signo);                    /* -ESRCH, -ENOSYS */
/* Waitpid, by pidfd where it is one: pid, 0, error */
int rota__sys_reap(pid_t pid, int pidfd, int options, int *status);

/* ---- sys_worker.c: worker processes ---- */

int rota__sys_threads(void);                                         /* of this process; -ENOSYS: nobody knows */
pid_t rota__sys_fork(void);
/* Ends the process, and nothing else happens in it */
void rota__sys_leave(int code);
int rota__sys_death_signal(int signo);                               /* that the parent's end brings; -ENOSYS */
pid_t rota__sys_self(void);
pid_t rota__sys_parent(void);
/* 0 is /dev/null; from 3 on only these stay open */
int rota__sys_detach_files(const int *keep, size_t n);
int rota__sys_shared_file(void);                                     /* empty, without a name; close-on-exec */
void *rota__sys_map_shared(int fd, size_t n);                        /* to be read and written; NULL on failure */
/* Of what is mapped, for those who read the file */
void rota__sys_sync_shared(void *p, size_t n);

/* ---- for sys*.c ---- */

/* r, or -errno where r is negative. */
ssize_t rota__checked(ssize_t r);

#endif
