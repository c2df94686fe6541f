/* Descriptor calls from the inside: what streams, TCP and servers are made of. */
#ifndef ROTA_CORO_FD_H
#define ROTA_CORO_FD_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/task.h"

/* No call transfers more at once: Linux's own limit, and below what other systems take (INT_MAX). */
#define ROTA__TRANSFER_MAX ((size_t)0x7ffff000)

/* Tries once, without waiting: bytes, an error, or -EAGAIN (then the slot remembers it). direction: ROTA_READ
 * or ROTA_WRITE. Never suspends; also for callbacks. */
ssize_t rota__fd_try(rota_loop *loop, int fd, unsigned direction, const struct iovec *iov, int n);

/* After such an -EAGAIN: waits and tries until something comes of it. Does not yield afterwards. */
ssize_t rota__fd_retry(rota_task *task, int fd, unsigned direction, const struct iovec *iov, int n);

/* Parks until an event says that fd may be ready for `events` (then 0), it is closed or forgotten (-EBADF), or
 * the task is cancelled. what: for reports. */
int rota__fd_wait(rota_task *task, int fd, unsigned events, const char *what);

/* A system call on fd that is none of the above: op(arg) makes it, without waiting (-EAGAIN). Parks on `direction`
 * after that, and then makes it again; what ends otherwise is returned. Interruptions are not seen. Does not yield: that
 * is for the caller, with *parked (may be NULL) set to true when it waited. */
typedef ssize_t rota__fd_op(void *arg);
ssize_t rota__fd_call(rota_task *task, int fd, unsigned direction, const char *what, rota__fd_op *op, void *arg,
                      bool *parked);

/* Around a call that raises SIGPIPE, and cannot be told not to. result: what the call returned. Begin: 0 or an error,
 * and then there is no end. */
struct rota__quiet {
    sigset_t pipe, old;
    bool was_pending;
};
int rota__quiet_begin(struct rota__quiet *quiet);
void rota__quiet_end(struct rota__quiet *quiet, ssize_t result);

/* What poll(2) says, now: those of `events` that will not block, with ROTA_EOF and ROTA_ERROR; 0 none. */
int rota__fd_poll(int fd, unsigned events);

/* How a connect under way stands: 1 connected, 0 not yet, or the error it ended with. */
int rota__fd_connected(int fd);

/* rota_fd_close; where the loop refuses (closed, forked, another thread), close(2) all the same. */
int rota__fd_close(rota_loop *loop, int fd);

/* Finds out what fd is and makes its slot. 0, -EBADF, -ENOMEM. */
int rota__fd_know(rota_loop *loop, int fd);

#endif
