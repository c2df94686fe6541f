/* Descriptor readiness: edge-triggered epoll, and the watchers on it. rota_watcher_init, start, stop, again;
 * rota_fd_close, rota_fd_forget; steps 2 and 3.
 *
 * Invariant: the kernel was told of a registered slot's (number, generation) with every event there is, and is not told
 * again as long as it lives. Nothing is remembered of a descriptor's readiness: who waits has just seen EAGAIN, after
 * which an edge is sure to come, or asks the kernel anew. It must not know of tasks: one that waits is a watcher on its
 * stack.
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "small/small.h"

enum { READ_SIDE = ROTA_READ | ROTA_PRIORITY, INTEREST = ROTA_READ | ROTA_WRITE | ROTA_PRIORITY };
enum { EVENTS = 32, POLL_ROUNDS = 16 };    /* on the stack; arrays taken in one turn when they come back full */

_Static_assert(ROTA_READ == (int)EPOLLIN && ROTA_PRIORITY == (int)EPOLLPRI && ROTA_WRITE == (int)EPOLLOUT &&
               ROTA_ERROR == (int)EPOLLERR && ROTA_EOF == (int)EPOLLHUP, "readiness is passed on as it is");

rota_fd_slot *rota__slot(rota_loop *loop, int fd) {
    return (unsigned)fd < loop->memory_.n_fds ? &loop->memory_.fds[fd] : NULL;
}

/* ---- starting and stopping ---- */

/* Both directions at once, as Go's poller does: a socket that can be written is news once, and saves the call that
 * would add the other direction later. EEXIST: it is to be asked anew; or the number was closed behind the loop's back,
 * and the same file has come back under it. */
static int tell_kernel(rota_loop *loop, int fd, rota_fd_slot *slot) {
    struct epoll_event event = {
        .events = EPOLLET | EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP,
        .data.u64 = (uint64_t)slot->generation_ << 32 | (unsigned)fd,
    };
    ssize_t rc = rota__result(epoll_ctl(loop->epoll_, EPOLL_CTL_ADD, fd, &event));
    if (rc == -EEXIST)
        rc = rota__result(epoll_ctl(loop->epoll_, EPOLL_CTL_MOD, fd, &event));
    slot->registered_ = rc == 0;
    return (int)rc;
}

int rota__watch(rota_loop *loop, rota_watcher *w, bool anew) {
    rota_fd_slot *slot = rota__slot(loop, w->fd);
    if (!slot)
        return w->fd < 0 ? -EBADF : -EMFILE;
    if ((w->events & READ_SIDE && slot->reader_) || (w->events & ROTA_WRITE && slot->writer_))
        return -EBUSY;
    int rc = anew || !slot->registered_ ? tell_kernel(loop, w->fd, slot) : 0;
    if (rc < 0)
        return rc;
    if (w->events & READ_SIDE)
        slot->reader_ = w;
    if (w->events & ROTA_WRITE)
        slot->writer_ = w;
    w->state_ = true;
    loop->watchers_++;
    return 0;
}

void rota__unwatch(rota_loop *loop, rota_watcher *w) {
    rota_fd_slot *slot = &loop->memory_.fds[w->fd];
    if (slot->reader_ == w)
        slot->reader_ = NULL;
    if (slot->writer_ == w)
        slot->writer_ = NULL;
    w->state_ = false;
    loop->watchers_--;
}

/* Not inlined: twice of this is more than two calls. */
static __attribute__((noinline)) void tell_closed(rota_loop *loop, rota_watcher *w) {
    if (!w)
        return;
    rota__unwatch(loop, w);
    w->fn(w, ROTA_CLOSED, w->arg);
}

/* Ends the waits on a slot, one after the other, because the first to be told may stop the other; then makes it a new
 * one. Before the descriptor is closed: afterwards what a watcher opens could have its number. */
static void vacate(rota_loop *loop, rota_fd_slot *slot) {
    tell_closed(loop, slot->reader_);
    tell_closed(loop, slot->writer_);
    slot->generation_++;
    slot->registered_ = false;
}

/* ---- events ---- */

/* End of data and errors end every wait. */
static void tell(rota_watcher *w, unsigned ready) {
    if (!w)
        return;
    ready &= w->events | ROTA_EOF | ROTA_ERROR;
    if (ready)
        w->fn(w, ready, w->arg);
}

/* After an error, or the end, neither a read nor a write will block. */
static void on_event(rota_loop *loop, unsigned events, uint64_t data) {
    rota_fd_slot *slot = &loop->memory_.fds[(uint32_t)data];
    uint32_t generation = (uint32_t)(data >> 32);
    if (slot->generation_ != generation)
        return;
    if (events & (EPOLLHUP | EPOLLERR))
        events |= ROTA_READ | ROTA_WRITE;
    if (events & EPOLLRDHUP)
        events |= ROTA_READ | ROTA_EOF;
    rota_watcher *reader = slot->reader_;
    tell(reader, events);
    /* It may have closed the descriptor, or stopped the writer: look again. */
    if (slot->generation_ == generation && slot->writer_ != reader)
        tell(slot->writer_, events);
}

/* A full array may mean that there is more: taken now, in a bounded number of rounds, so that data is seen before
 * deadlines, and with thousands of busy descriptors none waits for many turns. */
int rota__dispatch(rota_loop *loop, int timeout_ms) {
    struct epoll_event events[EVENTS];
    int n, rounds = POLL_ROUNDS;
    do {
        n = (int)rota__result(epoll_wait(loop->epoll_, events, EVENTS, timeout_ms));
        for (int i = 0; i < n; i++)
            on_event(loop, events[i].events, events[i].data.u64);
        timeout_ms = 0;
    } while (n == EVENTS && --rounds);
    return n >= 0 || n == -EINTR ? 0 : n;
}

/* ---- public ---- */

void rota_watcher_init(rota_watcher *w, int fd, unsigned events,
                       void (*fn)(rota_watcher *watcher, unsigned ready, void *arg), void *arg) {
    if (!w)
        return;
    w->fn = fn;
    w->arg = arg;
    w->fd = fd;
    w->events = (uint16_t)events;
    w->state_ = 0;
}

/* Anew, because nobody tells the loop what a callback has read. */
int rota_watcher_start(rota_loop *loop, rota_watcher *w) {
    int rc = rota__check(loop, w);
    if (rc < 0)
        return rc;
    if (!w->fn || !w->events || w->events & ~INTEREST)
        return -EINVAL;
    return w->state_ ? -EALREADY : rota__watch(loop, w, true);
}

int rota_watcher_stop(rota_loop *loop, rota_watcher *w) {
    int rc = rota__check(loop, w);
    if (rc < 0)
        return rc;
    if (w->state_)
        rota__unwatch(loop, w);
    return 0;
}

/* Starting it anew is what asks the kernel again. */
int rota_watcher_again(rota_loop *loop, rota_watcher *w) {
    int rc = rota__check(loop, w);
    if (rc < 0)
        return rc;
    if (!w->state_)
        return -EINVAL;
    rota__unwatch(loop, w);
    return rota__watch(loop, w, true);
}

int rota_fd_close(rota_loop *loop, int fd) {
    int rc = rota__check(loop, loop);
    if (rc < 0)
        return rc;
    rota_fd_slot *slot = rota__slot(loop, fd);
    if (slot)
        vacate(loop, slot);
    return (int)rota__result(close(fd));
}

int rota_fd_forget(rota_loop *loop, int fd) {
    int rc = rota__check(loop, loop);
    if (rc < 0)
        return rc;
    rota_fd_slot *slot = rota__slot(loop, fd);
    if (!slot)
        return fd < 0 ? -EBADF : 0;
    (void)epoll_ctl(loop->epoll_, EPOLL_CTL_DEL, fd, NULL); /* it may not be in the set: then there is nothing to do */
    vacate(loop, slot);
    return 0;
}
