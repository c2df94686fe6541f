/* Descriptor calls for tasks: read, write, readv, writev, try_read, try_write, read_exact, write_all, accept, connect,
 * poll, close, forget.
 *
 * Each is a loop of "try; if the system says EAGAIN, park; try again". Invariant: the ROTA_READ or ROTA_WRITE bit
 * of a slot that is registered is cleared only when an event is sure to come once the direction is ready again,
 * so that parking on a cleared bit cannot miss anything.
 *
 * It must not know buffers, addresses or who calls. O_NONBLOCK is not touched on descriptors that others made:
 * their description may be shared with another process, which would suddenly get EAGAIN.
 */
#include "coro/fd.h"

#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>

enum { TRANSIENT_ROW = 64, TRANSIENT_PAUSE_MS = 5 };
enum { STARVED_PAUSE_MS = 50, CONNECT_PAUSE_MAX_MS = 64 };

/* ---- what a descriptor is ---- */

/* TCP by its protocol number where that can be asked: MPTCP and SCTP sockets have the same domain and type, but
 * neither promises what the short-read rule below needs. */
#ifdef SO_PROTOCOL
static bool is_tcp(int fd) {
    int protocol = 0;
    socklen_t len = sizeof protocol;
    return rota__sys_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol == IPPROTO_TCP;
}
#else
static bool is_tcp(int fd) {
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    return rota__sys_getsockname(fd, (struct sockaddr *)&addr, &len) == 0 &&
           (addr.ss_family == AF_INET || addr.ss_family == AF_INET6);
}
#endif

static int find_kind(int fd, unsigned *kind, unsigned *flags) {
    int type = 0;
    socklen_t len = sizeof type;
    *flags = 0;
    int rc = rota__sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
    if (rc == 0) {
        /* The type first: raw sockets have the numbers of the protocols they carry. */
        *kind = type == SOCK_STREAM && is_tcp(fd) ? ROTA__FD_TCP : ROTA__FD_SOCKET;
        return 0;
    }
    if (rc != -ENOTSOCK)
        return rc;
    struct stat st;
    rc = rota__sys_fstat(fd, &st);
    if (rc < 0)
        return rc;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode)) {
        *kind = ROTA__FD_FILE;
        return 0;
    }
    *kind = S_ISFIFO(st.st_mode) ? ROTA__FD_PIPE : ROTA__FD_OTHER;
    rc = rota__sys_is_nonblocking(fd);
    *flags = rc == 1 ? ROTA__FD_NONBLOCKING : 0;
    return rc < 0 ? rc : 0;
}

/* The number is looked at before a slot is made: a wild one must not grow the table. */
static __attribute__((noinline)) int make_known(rota_loop *loop, int fd, struct rota__fd **out) {
    unsigned kind = ROTA__FD_UNKNOWN, flags;
    int rc = fd < 0 ? -EBADF : find_kind(fd, &kind, &flags);
    if (rc < 0)
        return rc;
    struct rota__fd *slot = rota__fd_need(&loop->fds, &loop->allocator, fd);
    if (!slot)
        return -ENOMEM;
    slot->kind = (uint8_t)kind;
    slot->flags = (uint8_t)flags;
    *out = slot;
    return 0;
}

static inline int known_slot(rota_loop *loop, int fd, struct rota__fd **out) {
    struct rota__fd *slot = rota__fd_find(&loop->fds, fd);
    if (__builtin_expect(!slot || slot->kind == ROTA__FD_UNKNOWN, 0))
        return make_known(loop, fd, out);
    *out = slot;
    return 0;
}

int rota__fd_know(rota_loop *loop, int fd) {
    struct rota__fd *slot;
    return known_slot(loop, fd, &slot);
}

/* ---- SIGPIPE ---- */

/* Only writing to a pipe whose readers are gone still raises it (the seam keeps sockets quiet). It is aimed at
 * the writing thread, so blocking it there, and taking it before unblocking, hides it without touching the
 * program's disposition. One that was pending before belongs to the program and is left for it. (The parentheses
 * around the calls keep a macro `sigmask` of older BSD interfaces away.) */
int rota__quiet_begin(struct rota__quiet *q) {
    sigset_t pending;
    (void)sigemptyset(&q->pipe);
    (void)sigaddset(&q->pipe, SIGPIPE);
    q->was_pending = false;
    int rc = rota__sys_sigmask(SIG_BLOCK, &q->pipe, &q->old);
    if (rc == 0 && sigismember(&q->old, SIGPIPE) == 1)
        q->was_pending = rota__sys_sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
    return rc;
}

void rota__quiet_end(struct rota__quiet *q, ssize_t result) {
    if (result == -EPIPE && !q->was_pending)
        (void)rota__sys_sigtake(&q->pipe);
    if (sigismember(&q->old, SIGPIPE) != 1)
        (void)rota__sys_sigmask(SIG_UNBLOCK, &q->pipe, NULL);
}

/* ---- one try ---- */

static inline bool is_socket(const struct rota__fd *slot) {
    return slot->kind == ROTA__FD_TCP || slot->kind == ROTA__FD_SOCKET;
}

/* False when a try gave -EAGAIN and no event has come since: then the system need not be asked. */
static inline bool may_be_ready(const struct rota__fd *slot, unsigned direction) {
    return !(slot->registered & direction) || slot->ready & direction;
}

static struct msghdr message(const struct iovec *iov, int n) {
    struct msghdr msg;
    memset(&msg, 0, sizeof msg);
    msg.msg_iov = (struct iovec *)(uintptr_t)iov;
    msg.msg_iovlen = (__typeof__(msg.msg_iovlen))n;
    return msg;
}

static inline ssize_t try_piece(int fd, unsigned direction, void *buf, size_t n) {
    return direction == ROTA_READ ? rota__sys_recv(fd, buf, n, MSG_DONTWAIT) : rota__sys_send(fd, buf, n, MSG_DONTWAIT);
}

static inline ssize_t try_socket(int fd, unsigned direction, const struct iovec *iov, int n) {
    if (n == 1)
        return try_piece(fd, direction, iov->iov_base, iov->iov_len);
    struct msghdr msg = message(iov, n);
    return direction == ROTA_READ ? rota__sys_recvmsg(fd, &msg, MSG_DONTWAIT)
                                  : rota__sys_sendmsg(fd, &msg, MSG_DONTWAIT);
}

static ssize_t plain(int fd, unsigned direction, const struct iovec *iov, int n) {
    return direction == ROTA_READ ? rota__sys_readv(fd, iov, n) : rota__sys_writev(fd, iov, n);
}

static bool unsupported(ssize_t r) { return r == -EOPNOTSUPP || r == -ENOSYS || r == -EINVAL || r == -ESPIPE; }

/* A descriptor that may block, and has no call that would not: readiness plus one call. A pipe that polls
 * writable has room for PIPE_BUF bytes, so no more are offered. If another process shares the descriptor it can
 * take the bytes in between, and the call then blocks: the price of leaving the descriptor as it is. */
static ssize_t poll_and_call(const struct rota__fd *slot, int fd, unsigned direction, const struct iovec *iov,
                             int n) {
    int rc = rota__fd_poll(fd, direction);
    if (rc <= 0)
        return rc < 0 ? rc : -EAGAIN;
    if (slot->kind != ROTA__FD_PIPE || direction == ROTA_READ)
        return plain(fd, direction, iov, n);
    while (n > 1 && iov->iov_len == 0)
        iov++, n--;
    struct iovec piece = {iov->iov_base, iov->iov_len < PIPE_BUF ? iov->iov_len : PIPE_BUF};
    return plain(fd, direction, &piece, 1);
}

/* RWF_NOWAIT is used for pipes alone: of other kinds it can say EAGAIN for a reason that no event ever ends. */
static ssize_t try_without_wait(struct rota__fd *slot, int fd, unsigned direction, const struct iovec *iov, int n) {
    if (slot->kind == ROTA__FD_FILE || slot->flags & ROTA__FD_NONBLOCKING)
        return plain(fd, direction, iov, n);
    if (slot->kind == ROTA__FD_PIPE && !(slot->flags & ROTA__FD_NO_NOWAIT)) {
        ssize_t r = direction == ROTA_READ ? rota__sys_readv_nowait(fd, iov, n)
                                           : rota__sys_writev_nowait(fd, iov, n);
        if (!unsupported(r))
            return r;
        slot->flags |= ROTA__FD_NO_NOWAIT;
    }
    return poll_and_call(slot, fd, direction, iov, n);
}

static ssize_t try_other(struct rota__fd *slot, int fd, unsigned direction, const struct iovec *iov, int n) {
    if (direction == ROTA_READ || (slot->kind != ROTA__FD_PIPE && !(slot->flags & ROTA__FD_WAS_PIPE)))
        return try_without_wait(slot, fd, direction, iov, n);
    struct rota__quiet quiet;
    int rc = rota__quiet_begin(&quiet);
    if (rc < 0)
        return rc;
    ssize_t r = try_without_wait(slot, fd, direction, iov, n);
    rota__quiet_end(&quiet, r);
    return r;
}

static size_t total(const struct iovec *iov, int n) {
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum = iov[i].iov_len > ROTA__TRANSFER_MAX - sum ? ROTA__TRANSFER_MAX : sum + iov[i].iov_len;
    return sum;
}

/* What a result says about the next try.
 *
 * EAGAIN: the system now owes an edge. A short read on TCP says the same without the extra call: the queue was
 * empty when it ended, and whatever comes later makes an edge. Not so once the peer's end, an error or urgent data
 * was announced: that news was delivered already and comes only once, while a read that meets the urgent mark, or
 * the end, is short with more to fetch. Elsewhere (terminals, unix sockets that carry descriptors, datagrams)
 * short reads mean nothing.
 *
 * A short *write* clears nothing, not even on TCP. It nearly always means that the send buffer is full, and then
 * an edge would come; but it is short as well when the caller's memory ends in the middle (EFAULT is reported for
 * the rest only by the next call), and then none comes and the task would hang instead of learning of it. */
static inline void remember(struct rota__fd *slot, unsigned direction, ssize_t r, size_t wanted) {
    bool short_read = direction == ROTA_READ && slot->kind == ROTA__FD_TCP && r > 0 && (size_t)r < wanted;
    if (r == -EAGAIN || (short_read && !(slot->ready & (ROTA_PRIORITY | ROTA_EOF | ROTA_ERROR))))
        slot->ready &= (uint8_t)~direction;
}

/* Reading nothing asks for nothing that could block: recv would wait for the first byte all the same. */
static ssize_t read_nothing(int fd) { return rota__sys_read(fd, NULL, 0); }

static __attribute__((noinline)) ssize_t try_any(rota_loop *loop, int fd, unsigned direction, const struct iovec *iov,
                                                 int n) {
    size_t wanted = n == 1 ? iov->iov_len : total(iov, n);
    for (bool again = false;; again = true) {
        struct rota__fd *slot;
        int rc = known_slot(loop, fd, &slot);
        if (rc < 0)
            return rc;
        if (wanted == 0 && direction == ROTA_READ)
            return read_nothing(fd);
        if (!may_be_ready(slot, direction) && wanted > 0)
            return -EAGAIN;
        ssize_t r;
        do
            r = is_socket(slot) ? try_socket(fd, direction, iov, n) : try_other(slot, fd, direction, iov, n);
        while (r == -EINTR);
        if (r == -ENOTSOCK && !again) {
            /* The number was closed behind our back, and is something else now. */
            rota__fd_fresh(loop, fd, ROTA__FD_UNKNOWN, 0);
            continue;
        }
        remember(slot, direction, r, wanted);
        return r;
    }
}

/* Nearly all calls are for one piece and a socket that is known, and then this is all. What is special is begun again
 * there, where it is seen to: no bytes have been transferred then. */
static inline ssize_t try_usual(rota_loop *loop, int fd, unsigned direction, const struct iovec *iov, int n) {
    struct rota__fd *slot = rota__fd_find(&loop->fds, fd);
    bool usual = slot && is_socket(slot) && n == 1 && iov->iov_len > 0;
    if (ROTA__FOR_SIZE || __builtin_expect(!usual, 0))
        return try_any(loop, fd, direction, iov, n);
    if (!may_be_ready(slot, direction))
        return -EAGAIN;
    ssize_t r = try_piece(fd, direction, iov->iov_base, iov->iov_len);
    if (__builtin_expect(r == -EINTR || r == -ENOTSOCK, 0))
        return try_any(loop, fd, direction, iov, n);
    remember(slot, direction, r, iov->iov_len);
    return r;
}

ssize_t rota__fd_try(rota_loop *loop, int fd, unsigned direction, const struct iovec *iov, int n) {
    return try_usual(loop, fd, direction, iov, n);
}

/* ---- parking on a descriptor ---- */

/* On the waiting stack. The wait itself is the runner's, whose memory is there anyway: what lies here, below the
 * program's buffers, decides whether an idle connection needs a second page. wait->value leads to this. */
struct fd_wait {
    rota_watcher watcher;
    rota_task *task;
    bool closed;
};

/* In step 3, or when it is closed. */
static void fd_event(rota_watcher *watcher, unsigned ready, void *arg) {
    struct fd_wait *w = arg;
    (void)watcher;
    if (ready & ROTA_CLOSED)
        w->closed = true; /* also when the task was woken before and has not run yet: it must not touch fd */
    (void)rota__wake(w->task, 0);
}

static inline void stop_watching(struct fd_wait *w) {
    if (w->watcher.state_)
        rota__unwatch(w->task->loop, &w->watcher);
}

static void fd_leave(struct rota__wait *wait) { stop_watching((struct fd_wait *)wait->value); }

/* Member by member: a block of this size gcc would clear by a string instruction, at some thirty cycles a wait. */
static inline int park_on(rota_task *task, int fd, struct fd_wait *w, const char *what) {
    struct rota__wait *wait = &task->runner->wait;
    wait->next = wait->prev = NULL;
    wait->what = what;
    wait->on = (void *)(intptr_t)fd;
    wait->until = ROTA_FOREVER;
    wait->leave = fd_leave;
    wait->value = (intptr_t)w;
    wait->won = NULL;
    return rota__park(task, wait);
}

int rota__fd_wait(rota_task *task, int fd, unsigned events, const char *what) {
    /* Not refused at first, but this may be the second round: the wake-up came to nothing, and meanwhile the
     * scope was cancelled. */
    int rc = rota__enter_again(&task);
    if (rc < 0)
        return rc;
    struct fd_wait w;
    w.task = task;
    w.closed = false;
    rota__watcher_set(&w.watcher, fd, events, fd_event, &w);
    rc = rota__watch(task->loop, &w.watcher);
    if (rc < 0)
        return rc;
    rc = park_on(task, fd, &w, what);
    stop_watching(&w);
    return rc == 0 && w.closed ? -EBADF : rc;
}

ssize_t rota__fd_retry(rota_task *task, int fd, unsigned direction, const struct iovec *iov, int n) {
    ssize_t r;
    do {
        int rc = rota__fd_wait(task, fd, direction, direction == ROTA_READ ? "reading from" : "writing to");
        if (rc < 0)
            return rc;
        r = rota__fd_try(task->loop, fd, direction, iov, n);
    } while (r == -EAGAIN);
    return r;
}

ssize_t rota__fd_call(rota_task *task, int fd, unsigned direction, const char *what, rota__fd_op *op, void *arg,
                      bool *parked) {
    for (;;) {
        struct rota__fd *slot;
        int rc = known_slot(task->loop, fd, &slot);
        if (rc < 0)
            return rc;
        ssize_t r = -EAGAIN;
        if (may_be_ready(slot, direction))
            do
                r = op(arg);
            while (r == -EINTR);
        if (r != -EAGAIN) {
            if (r == -ENOTSOCK && is_socket(slot))
                rota__fd_fresh(task->loop, fd, ROTA__FD_UNKNOWN, 0); /* the number was closed behind our back */
            return r;
        }
        slot->ready &= (uint8_t)~direction;
        if (parked)
            *parked = true;
        rc = rota__fd_wait(task, fd, direction, what);
        if (rc < 0)
            return rc;
    }
}

/* ---- reading and writing ---- */

static __attribute__((noinline)) ssize_t transfer(int fd, unsigned direction, const struct iovec *iov, int n) {
    rota_task *task;
    int rc = rota__enter_again(&task);
    if (rc < 0)
        return rc;
    ssize_t r = rota__fd_try(task->loop, fd, direction, iov, n);
    if (r == -EAGAIN)
        return rota__fd_retry(task, fd, direction, iov, n);
    if (r >= 0)
        rota__fast(task);
    return r;
}

static __attribute__((noinline)) ssize_t transfer_buffer(int fd, unsigned direction, void *buf, size_t n) {
    struct iovec iov = {buf, n};
    return transfer(fd, direction, &iov, 1);
}

/* One more try, of whatever has the number now. */
static __attribute__((noinline)) ssize_t transfer_again(rota_loop *loop, int fd, void *buf, size_t n) {
    struct iovec iov = {buf, n};
    return try_any(loop, fd, ROTA_READ, &iov, 1);
}

/* After -EAGAIN of a socket, which is a socket still when an event has come, or whatever now has its number. */
static __attribute__((noinline)) ssize_t retry_buffer(rota_task *task, int fd, unsigned direction, void *buf, size_t n) {
    ssize_t r;
    do {
        int rc = rota__fd_wait(task, fd, direction, direction == ROTA_READ ? "reading from" : "writing to");
        if (rc < 0)
            return rc;
        struct iovec iov = {buf, n};
        r = try_usual(task->loop, fd, direction, &iov, 1);
    } while (r == -EAGAIN);
    return r;
}

/* As retry_buffer, for a reader whose watch is the steady one: the slot is at hand, and stays where it is. What is
 * special goes on there. Straight after the checks of transfer_piece. */
static __attribute__((noinline)) ssize_t read_later(rota_task *task, struct rota__fd *slot, int fd, void *buf,
                                                    size_t n) {
    struct fd_wait w;
    w.task = task;
    w.closed = false;
    rota__watcher_set(&w.watcher, fd, ROTA_READ, fd_event, &w);
    if (!rota__watch_steady(task->loop, slot, &w.watcher))
        return retry_buffer(task, fd, ROTA_READ, buf, n);
    int rc = park_on(task, fd, &w, "reading from");
    rota__unwatch_steady(task->loop, slot, &w.watcher);
    if (__builtin_expect(rc < 0 || w.closed, 0))
        return rc < 0 ? rc : -EBADF;
    ssize_t r = -ENOTSOCK;
    if (is_socket(slot)) {
        r = rota__sys_recv(fd, buf, n, MSG_DONTWAIT);
        remember(slot, ROTA_READ, r, n);
        if (__builtin_expect(r >= 0, 1))
            return r;
    }
    if (r == -EINTR || r == -ENOTSOCK)
        r = transfer_again(task->loop, fd, buf, n);
    return r == -EAGAIN ? retry_buffer(task, fd, ROTA_READ, buf, n) : r;
}

/* A socket that may be ready, straight after the checks of transfer_piece. */
static inline ssize_t transfer_now(rota_task *task, struct rota__fd *slot, int fd, unsigned direction, void *buf,
                                   size_t n) {
    ssize_t r = try_piece(fd, direction, buf, n);
    remember(slot, direction, r, n);
    if (r == -EAGAIN)
        return retry_buffer(task, fd, direction, buf, n);
    if (r >= 0)
        rota__fast(task);
    if (__builtin_expect(r != -EINTR && r != -ENOTSOCK, 1))
        return r; /* of an error the system may tell only once */
    return transfer_buffer(fd, direction, buf, n);
}

static __attribute__((noinline)) ssize_t read_now(rota_task *task, struct rota__fd *slot, int fd, void *buf, size_t n) {
    return transfer_now(task, slot, fd, ROTA_READ, buf, n);
}

/* The usual call, in few instructions: for a socket that is known. All else is begun there. A read ends in a jump to what
 * it comes to, so that its checks save no registers. */
static inline ssize_t transfer_piece(int fd, unsigned direction, void *buf, size_t n) {
    rota_loop *loop = rota__current;
    rota_task *task = loop ? loop->running : NULL;
    struct rota__fd *slot = task ? rota__fd_find(&loop->fds, fd) : NULL;
    n = n < ROTA__TRANSFER_MAX ? n : ROTA__TRANSFER_MAX;
    if (ROTA__FOR_SIZE || !slot || !is_socket(slot) || n == 0 || loop->now >= task->due)
        return transfer_buffer(fd, direction, buf, n);
    bool try = may_be_ready(slot, direction);
    if (direction == ROTA_READ)
        return try ? read_now(task, slot, fd, buf, n) : read_later(task, slot, fd, buf, n);
    return try ? transfer_now(task, slot, fd, direction, buf, n) : retry_buffer(task, fd, direction, buf, n);
}

/* In scopes: those that were forgotten below `frame` are left first. */
static __attribute__((noinline)) ssize_t read_in_scope(int fd, void *buf, size_t n, const void *frame) {
    rota__scope_repair(rota__current->running, NULL, frame);
    return transfer_piece(fd, ROTA_READ, buf, n);
}

ssize_t rota_read(int fd, void *buf, size_t n) {
    rota_task *self = rota__current ? rota__current->running : NULL;
    if (ROTA__FOR_SIZE)
        rota__leave_forgotten();
    else if (self && __builtin_expect(self->depth, 0))
        return read_in_scope(fd, buf, n, __builtin_dwarf_cfa());
    return transfer_piece(fd, ROTA_READ, buf, n);
}

ssize_t rota_write(int fd, const void *buf, size_t n) {
    rota__leave_forgotten();
    return transfer_piece(fd, ROTA_WRITE, (void *)(uintptr_t)buf, n);
}

/* sendmsg calls too long a vector EMSGSIZE, writev EINVAL, and both take an empty one or not: one answer here. */
static ssize_t transfer_vector(int fd, unsigned direction, const struct iovec *iov, int n) {
    struct iovec none = {NULL, 0};
    if (n < 0 || n > IOV_MAX || (n > 0 && !iov))
        return -EINVAL;
    return n == 0 ? transfer(fd, direction, &none, 1) : transfer(fd, direction, iov, n);
}

ssize_t rota_readv(int fd, const struct iovec *iov, int n) {
    rota__leave_forgotten();
    return transfer_vector(fd, ROTA_READ, iov, n);
}

ssize_t rota_writev(int fd, const struct iovec *iov, int n) {
    rota__leave_forgotten();
    return transfer_vector(fd, ROTA_WRITE, iov, n);
}

/* A refusal is not remembered while nobody watches a descriptor: then the loop asks for events only once it has nothing
 * else to do, which never comes if the caller yields between its tries. */
static ssize_t try_once(int fd, unsigned direction, void *buf, size_t n) {
    struct iovec iov = {buf, n < ROTA__TRANSFER_MAX ? n : ROTA__TRANSFER_MAX};
    rota_loop *loop = rota__current;
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    struct rota__fd *slot = rota__fd_find(&loop->fds, fd);
    if (slot && !loop->watchers)
        slot->ready |= (uint8_t)direction;
    return rota__fd_try(loop, fd, direction, &iov, 1);
}

ssize_t rota_try_read(int fd, void *buf, size_t n) { return try_once(fd, ROTA_READ, buf, n); }

ssize_t rota_try_write(int fd, const void *buf, size_t n) {
    return try_once(fd, ROTA_WRITE, (void *)(uintptr_t)buf, n);
}

int rota_read_exact(int fd, void *buf, size_t n, size_t *done) {
    rota__leave_forgotten();
    size_t sum = 0;
    ssize_t r;
    do {
        r = rota_read(fd, (char *)buf + sum, n - sum);
        sum += r > 0 ? (size_t)r : 0;
    } while (r > 0 && sum < n);
    if (done)
        *done = sum;
    return r < 0 ? (int)r : sum < n ? -EPIPE : 0;
}

/* What the first write of a write_all left. */
static __attribute__((noinline)) int write_rest(int fd, const char *buf, size_t n, size_t *done, ssize_t r) {
    size_t sum = 0;
    while (r > 0) {
        sum += (size_t)r;
        if (sum == n)
            break;
        r = rota_write(fd, buf + sum, n - sum);
    }
    if (done)
        *done = sum;
    return r < 0 ? (int)r : sum < n ? -EIO : 0; /* a write of more than nothing that takes nothing: broken device */
}

int rota_write_all(int fd, const void *buf, size_t n, size_t *done) {
    rota__leave_forgotten();
    ssize_t r = transfer_piece(fd, ROTA_WRITE, (void *)(uintptr_t)buf, n);
    if (ROTA__FOR_SIZE || __builtin_expect(r < 0 || (size_t)r < n, 0))
        return write_rest(fd, buf, n, done, r);
    if (done)
        *done = n;
    return 0;
}

/* ---- poll ---- */

static short poll_events(unsigned events) {
    return (short)((events & ROTA_READ ? POLLIN : 0) | (events & ROTA_WRITE ? POLLOUT : 0) |
                   (events & ROTA_PRIORITY ? POLLPRI : 0));
}

int rota__fd_poll(int fd, unsigned events) {
    struct pollfd p = {.fd = fd, .events = poll_events(events)};
    int rc;
    if (fd < 0)
        return -EBADF; /* poll would skip it */
    do
        rc = rota__sys_poll(&p, 1, 0);
    while (rc == -EINTR);
    if (rc <= 0)
        return rc;
    if (p.revents & POLLNVAL)
        return -EBADF;
    unsigned ready = (p.revents & POLLIN ? ROTA_READ : 0) | (p.revents & POLLOUT ? ROTA_WRITE : 0) |
                     (p.revents & POLLPRI ? ROTA_PRIORITY : 0);
    if (p.revents & (POLLHUP | POLLERR))
        ready |= ROTA_READ | ROTA_WRITE; /* neither will block */
    ready &= events;
    ready |= (p.revents & POLLHUP ? ROTA_EOF : 0) | (p.revents & POLLERR ? ROTA_ERROR : 0);
    return (int)ready;
}

/* Remembered readiness is a hint ("a try may succeed"); the caller of poll wants the truth, so the kernel is
 * asked. What it denies is cleared, or the watcher would be called for it at once. What it affirms is set: its event
 * may not have come in yet, and until then a try would not even ask (rota_try_read, and a caller that polls and tries
 * by turns would keep the loop from ever fetching the event). */
static int poll_until(rota_task *task, int fd, unsigned events, const char *what, bool *parked) {
    for (;;) {
        struct rota__fd *slot;
        int rc = rota__fd_poll(fd, events);
        if (rc > 0 && (slot = rota__fd_find(&task->loop->fds, fd)))
            slot->ready |= (uint8_t)((unsigned)rc & (ROTA_READ | ROTA_WRITE));
        if (rc != 0)
            return rc;
        rc = known_slot(task->loop, fd, &slot);
        if (rc < 0)
            return rc;
        slot->ready &= (uint8_t)~events;
        *parked = true;
        rc = rota__fd_wait(task, fd, events, what);
        if (rc < 0)
            return rc;
    }
}

int rota_poll(int fd, unsigned events) {
    rota_task *task;
    bool parked = false;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!events || events & ~(unsigned)(ROTA_READ | ROTA_WRITE | ROTA_PRIORITY))
        return -EINVAL;
    rc = poll_until(task, fd, events, "readiness of", &parked);
    if (rc >= 0 && !parked)
        rota__fast(task);
    return rc;
}

/* ---- accept ---- */

/* The connection died in the queue, or news of the network reached the wrong address (accept(2), "Error
 * handling"): the listener is sound. EOPNOTSUPP, which that page lists too, is left out: it is what a socket that
 * cannot listen answers. */
static bool is_transient(int error) {
    switch (-error) {
    case EINTR: case ECONNABORTED: case EPROTO: case EPERM:
    case ENETDOWN: case ENETUNREACH: case EHOSTDOWN: case EHOSTUNREACH: case ENOPROTOOPT:
#ifdef ENONET
    case ENONET:
#endif
        return true;
    default:
        return false;
    }
}

struct starved_wait {
    struct rota__wait wait;    /* first */
    struct rota__starved starved;
    bool listed;
};

static void starved_retry(struct rota__starved *starved) {
    struct starved_wait *w = rota__container_of(starved, struct starved_wait, starved);
    w->listed = false;
    (void)rota__wake(w->wait.task, 0);
}

static void starved_leave(struct rota__wait *wait) {
    struct starved_wait *w = (struct starved_wait *)wait;
    if (w->listed)
        rota__starved_remove(&w->starved);
    w->listed = false;
}

/* The descriptor table was full. The queue of connections does not get shorter by asking, and its readiness stays:
 * without this wait an acceptor that goes on after -EMFILE would spin. Other threads and other processes give
 * back descriptors without telling us, hence the clock. */
static int wait_for_descriptor(rota_task *task, int fd) {
    struct starved_wait w = {
        .wait = {.what = "a free descriptor, to accept from", .on = (void *)(intptr_t)fd, .leave = starved_leave},
        .starved = {.retry = starved_retry},
        .listed = true,
    };
    w.wait.until = rota__time_add(rota__loop_clock(task->loop), STARVED_PAUSE_MS * ROTA_MS);
    rota__starved_add(task->loop, &w.starved);
    int rc = (int)rota__park(task, &w.wait);
    starved_leave(&w.wait);
    return rc;
}

/* Only a listener ever becomes ready. 0: it is none, and accept says so at once; -EAGAIN: it is worth waiting for, for all
 * that is known. */
static int look_for_listener(int fd) {
    int listens = 0;
    socklen_t len = sizeof listens;
    int rc = rota__sys_getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
    return rc == -ENOTSOCK ? rc : rc < 0 || listens ? -EAGAIN : 0;
}

static int accept_once(struct rota__fd *slot, int fd, struct sockaddr *addr, socklen_t *len) {
    if (!may_be_ready(slot, ROTA_READ))
        return -EAGAIN;
    if (!(slot->flags & ROTA__FD_NONBLOCKING)) {
        int rc = rota__sys_is_nonblocking(fd);
        if (rc == 1)
            slot->flags |= ROTA__FD_NONBLOCKING;
        else if (rc == 0)
            rc = rota__fd_poll(fd, ROTA_READ);
        if (rc == 0)
            rc = look_for_listener(fd);
        if (rc < 0)
            return rc;
    }
    return rota__sys_accept(fd, addr, len);
}

static int accepted(rota_task *task, int fd, unsigned kind, bool parked) {
    rota__fd_fresh(task->loop, fd, kind, ROTA__FD_NONBLOCKING);
    if (!parked)
        rota__fast(task);
    return fd;
}

int rota_accept(int fd, struct sockaddr *addr, socklen_t *len) {
    rota_task *task;
    bool parked = false;
    int tries = 0;
    socklen_t room = len ? *len : 0;
    int rc = rota__enter(&task);
    while (rc == 0) {
        struct rota__fd *slot;
        rc = known_slot(task->loop, fd, &slot);
        if (rc < 0)
            break;
        if (slot->flags & ROTA__FD_STARVED) {
            uint32_t generation = slot->generation;
            rc = wait_for_descriptor(task, fd);
            parked = true;
            if (rc == 0 && slot->generation != generation)
                rc = -EBADF;
            if (rc < 0)
                break;
            slot->flags &= (uint8_t)~ROTA__FD_STARVED;
        }
        if (len)
            *len = room;
        int client = accept_once(slot, fd, addr, len);
        if (client >= 0)
            return accepted(task, client, slot->kind, parked);
        if (client == -EMFILE || client == -ENFILE)
            slot->flags |= ROTA__FD_STARVED;
        if (client == -EAGAIN) {
            slot->ready &= (uint8_t)~ROTA_READ;
            rc = rota__fd_wait(task, fd, ROTA_READ, "accepting from");
            parked = true;
        } else if (!is_transient(client)) {
            rc = client;
        } else if (++tries % TRANSIENT_ROW == 0) {
            rc = rota_sleep(TRANSIENT_PAUSE_MS * ROTA_MS); /* a queue full of dead ones, or a rule that denies all */
        } else {
            rc = rota__enter(&task);
        }
    }
    return rc;
}

/* ---- connect ---- */

/* What became of a connect that has ended. Asked after poll has said that it has, never before: no error yet
 * would look like success. */
static int connect_outcome(int fd) {
    int error = 0;
    socklen_t len = sizeof error;
    int rc = rota__sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return rc < 0 ? rc : -error;
}

int rota__fd_connected(int fd) {
    int rc = rota__fd_poll(fd, ROTA_WRITE);
    if (rc > 0)
        rc = connect_outcome(fd);
    else if (rc == 0)
        return 0;
    return rc < 0 ? rc : 1;
}

/* connect has no flag like MSG_DONTWAIT, so here alone the mode of the caller's descriptor is changed: from
 * before the system call to right after it. A socket that is about to be connected has nobody in another call on
 * it who could notice. (A send timeout of a microsecond would stop the call as well, but costs a tick of the
 * kernel's clock, stays in the description too, and does nothing on the BSDs.) */
static int connect_once(int fd, const struct sockaddr *addr, socklen_t len) {
    int was = rota__sys_is_nonblocking(fd);
    if (was < 0)
        return was;
    int rc = was ? 0 : rota__sys_set_nonblocking(fd, 1);
    if (rc < 0)
        return rc;
    rc = rota__sys_connect(fd, addr, len);
    if (!was)
        (void)rota__sys_set_nonblocking(fd, 0);
    return rc;
}

/* A unix socket whose listener's queue is full: nothing tells when there is room, so time has to. */
static int pause_connect(rota_task *task, int fd, int64_t *pause) {
    *pause = *pause ? *pause * 2 : ROTA_MS;
    if (*pause > CONNECT_PAUSE_MAX_MS * ROTA_MS)
        *pause = CONNECT_PAUSE_MAX_MS * ROTA_MS;
    struct rota__fd *slot = rota__fd_find(&task->loop->fds, fd);
    uint32_t generation = slot ? slot->generation : 0;
    int rc = rota_sleep(*pause);
    return rc == 0 && slot && slot->generation != generation ? -EBADF : rc;
}

int rota_connect(int fd, const struct sockaddr *addr, socklen_t len) {
    rota_task *task;
    bool parked = false;
    int64_t pause = 0;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!addr)
        return -EINVAL;
    rc = rota__fd_know(task->loop, fd);
    if (rc < 0)
        return rc;
    while ((rc = connect_once(fd, addr, len)) == -EAGAIN && addr->sa_family == AF_UNIX) {
        rc = pause_connect(task, fd, &pause);
        if (rc < 0)
            return rc;
    }
    if (rc == 0) {
        rota__fast(task);
        return 0;
    }
    /* Interrupted, it goes on by itself (POSIX connect); under way already: an earlier call was cancelled. */
    if (rc != -EINPROGRESS && rc != -EINTR && rc != -EALREADY)
        return rc;
    rc = poll_until(task, fd, ROTA_WRITE, "connecting", &parked);
    return rc < 0 ? rc : connect_outcome(fd);
}

/* ---- close and forget ---- */

int rota__fd_close(rota_loop *loop, int fd) {
    int rc = rota__loop_check(loop);
    return rc < 0 ? rota__sys_close(fd) : rota_fd_close(loop, fd);
}

int rota_close(int fd) { return rota__fd_close(rota__current, fd); }

int rota_forget(int fd) {
    if (fd < 0)
        return -EBADF;
    /* No loop that could be used, nothing that could be remembered. */
    return rota__loop_check(rota__current) < 0 ? 0 : rota_fd_forget(rota__current, fd);
}
