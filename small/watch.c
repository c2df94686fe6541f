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
enum { STARTED = 1, LEAVING };             /* of a watcher; LEAVING: who writes, until who reads has been told of a close */
enum { EVENTS = 32, POLL_ROUNDS = 16 };    /* on the stack; arrays taken in one turn when they come back full */

_Static_assert(ROTA_READ == (int)EPOLLIN && ROTA_PRIORITY == (int)EPOLLPRI && ROTA_WRITE == (int)EPOLLOUT &&
               ROTA_ERROR == (int)EPOLLERR && ROTA_EOF == (int)EPOLLHUP, "readiness is passed on as it is");

/* A watcher has one place in its descriptor's slot, also when it is for both directions. */
static int side_of(const rota_watcher *w) { return (w->events & ROTA_WRITE) != 0; }

rota_fd_slot *rota__slot(rota_loop *loop, int fd) {
    return (unsigned)fd < loop->memory_.n_fds ? &loop->memory_.fds[fd] : NULL;
}

/* ---- starting and stopping ---- */

/* Both directions at once, as Go's poller does: a socket that can be written is news once, and saves the call that
 * would add the other direction later. EEXIST: it is to be asked anew; or the number was closed behind the loop's back,
 * and the same file has come back under it. */
static int tell_kernel(const rota_loop *loop, const rota_watcher *w, rota_fd_slot *slot) {
    struct epoll_event event = {
        .events = EPOLLET | EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP,
        .data.u64 = (uint64_t)slot->generation_ << 32 | (unsigned)w->fd,
    };
    int rc, op = EPOLL_CTL_ADD;
    slot->registered_ = false;
    while ((rc = rota__result(epoll_ctl(loop->epoll_, op, w->fd | slot->closing_, &event))) == -EEXIST &&
           op != EPOLL_CTL_MOD)
        op = EPOLL_CTL_MOD;
    return rc;
}

int rota__watch(rota_loop *loop, rota_watcher *w, int anew) {
    rota_fd_slot *slot = rota__slot(loop, w->fd);
    if (!slot)
        return w->fd < 0 ? -EBADF : -EMFILE;
    rota_watcher **place = &slot->side_[side_of(w)];
    const rota_watcher *other = slot->side_[!side_of(w)];
    if (*place || (other && other->events & READ_SIDE && w->events & READ_SIDE))
        return -EBUSY;
    int rc = anew || !slot->registered_ ? tell_kernel(loop, w, slot) : 0;
    if (rc < 0)
        return rc;
    slot->registered_ = true;
    *place = w;
    w->state_ = STARTED;
    loop->watchers_++;
    return 0;
}

void rota__unwatch(rota_loop *loop, rota_watcher *w) {
    if (!w->state_)
        return;
    loop->memory_.fds[w->fd].side_[side_of(w)] = NULL;
    w->state_ = 0;
    loop->watchers_--;
}

/* Makes a slot a new one, and ends the waits on it, one after the other, because the first to be told may stop the
 * other, or start one that is not to be told. Before the descriptor is closed (closing -1, otherwise 0), because
 * afterwards what a watcher opens could have its number; until then none can be started on it. What is to be closed then:
 * fd, or -1 when a callback closes what is about to be closed. */
int rota__vacate(rota_loop *loop, int fd, int closing) {
    rota_fd_slot *slot = rota__slot(loop, fd);
    if (!slot)
        return fd;
    int outer = slot->closing_;
    slot->closing_ = (int8_t)(outer | closing);
    slot->registered_ = false;
    slot->generation_++;
    if (slot->side_[1])
        slot->side_[1]->state_ = LEAVING;
    for (int side = 0; side < 2; side++) {
        rota_watcher *w = slot->side_[side];
        if (w && w->state_ > side) { /* the second one must be LEAVING still */
            rota__unwatch(loop, w);
            w->fn(w, ROTA_CLOSED, w->arg);
        }
    }
    slot->closing_ = (int8_t)outer;
    return fd | outer;
}

/* ---- events ---- */

/* After an error, or the end, neither a read nor a write will block; and both end every wait. */
unsigned rota__readiness(unsigned events, unsigned wanted) {
    if (events & (EPOLLHUP | EPOLLERR))
        events |= ROTA_READ | ROTA_WRITE;
    if (events & EPOLLRDHUP)
        events |= ROTA_READ | ROTA_EOF;
    return events & (wanted | ROTA_EOF | ROTA_ERROR);
}

/* Tells who is on that side of an event's descriptor. Who reads may have closed it, or stopped who writes: so each side
 * is looked up anew. */
static void tell(rota_loop *loop, const struct epoll_event *event, int side) {
    rota_fd_slot *slot = &loop->memory_.fds[(int)event->data.u64];
    rota_watcher *w = slot->side_[side];
    if (slot->generation_ != event->data.u64 >> 32 || !w)
        return;
    unsigned ready = rota__readiness(event->events, w->events);
    if (ready)
        w->fn(w, ready, w->arg);
}

/* A full array may mean that there is more: taken now, in a bounded number of rounds, so that data is seen before
 * deadlines, and with thousands of busy descriptors none waits for many turns. */
int rota__dispatch(rota_loop *loop, int timeout_ms) {
    struct epoll_event events[EVENTS];
    int n, rounds = POLL_ROUNDS;
    do {
        n = rota__result(epoll_wait(loop->epoll_, events, EVENTS, timeout_ms));
        for (int i = 0; i / 2 < n; i++)
            tell(loop, &events[i / 2], i % 2);
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
    if (!rota__usable(loop, w) || !w->fn || w->events - 1U >= INTEREST) /* all up to that one are allowed, but not 0 */
        return rota__refuse(loop);
    return w->state_ ? -EALREADY : rota__watch(loop, w, true);
}

int rota_watcher_stop(rota_loop *loop, rota_watcher *w) {
    if (!rota__usable(loop, w))
        return rota__refuse(loop);
    rota__unwatch(loop, w);
    return 0;
}

/* Starting it anew is what asks the kernel again. */
int rota_watcher_again(rota_loop *loop, rota_watcher *w) {
    if (!rota__usable(loop, w) || !w->state_)
        return rota__refuse(loop);
    rota__unwatch(loop, w);
    return rota__watch(loop, w, true);
}

int rota_fd_close(rota_loop *loop, int fd) {
    if (!rota__usable(loop, loop))
        return rota__refuse(loop);
    return rota__result(close(rota__vacate(loop, fd, -1)));
}

int rota_fd_forget(rota_loop *loop, int fd) {
    if (!rota__usable(loop, loop))
        return rota__refuse(loop);
    if (fd < 0)
        return -EBADF;
    if (rota__slot(loop, fd)) /* it may not be in the set: then there is nothing to do */
        (void)epoll_ctl(loop->epoll_, EPOLL_CTL_DEL, fd, NULL);
    (void)rota__vacate(loop, fd, 0);
    return 0;
}
