/* The poller on Linux: edge-triggered epoll, an eventfd for wake-ups; a timerfd for precise loops and for foreign ones.
 *
 * It offers rota__poller_epoll; the contract is in poller.h. Invariant: whatever a turn must look at makes the
 * epoll descriptor readable until wait has collected it, and nothing does longer than that. It must not know of
 * watchers, timers or tasks: it sees numbers with generations, and times.
 *
 * Everything in the set is edge-triggered, so one epoll_wait takes each event off the kernel's ready list, and
 * no second system call is needed to quiet it. That is used three times:
 *
 *  - Descriptors stay registered over their whole life; there is no epoll_ctl in the steady state.
 *  - The eventfd is written by wakers and never read. Each write adds 1 to a 64-bit counter and queues a new
 *    edge, whatever the counter was before. Only a full counter would refuse a write (eventfd(2)): at a write
 *    every nanosecond that is after 584 years.
 *  - The timerfd is never read either: setting it anew clears its count, and each expiry is an edge.
 *
 * A foreign loop polls the epoll descriptor itself. Its readability is a level, "the ready list holds something
 * that is still ready": true from the edge until our epoll_wait, false afterwards, which is what poller.h asks
 * for. It holds for poll(2), for select(2), and for an outer epoll in either mode.
 */
#include <limits.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "reactor/loop.h"

enum { CAPACITY_FIRST = 64, CAPACITY_MAX = 1024 };

/* An event's data is generation << 32 | descriptor. Descriptors are not negative, so these two are free: */
#define WAKER_DATA UINT64_MAX
#define TIMER_DATA (UINT64_MAX - 1)

static int add(int epoll, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events | EPOLLET, .data.u64 = data};
    return rota__sys_epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/* ---- open and close ---- */

static size_t events_size(int capacity) { return (size_t)capacity * sizeof(struct epoll_event); }

/* An array was full. Small ones at first: most loops never need more, and what is written at the start is memory. No
 * memory is no harm: then there are more system calls, and some events come later. */
static void grow(rota_loop *loop) {
    struct rota__poll *poll = &loop->poll;
    size_t old = events_size(poll->capacity);
    void *more = rota__realloc(&loop->allocator, poll->events, old, 4 * old);
    if (!more)
        return;
    poll->events = more;
    poll->capacity *= 4;
}

static int wake(int fd) {
    const uint64_t one = 1;
    return (int)rota__sys_write(fd, &one, sizeof one);
}

static int open_waker(rota_loop *loop) {
    struct rota__waker *waker = &loop->inbox->waker;
    int fd = rota__sys_eventfd();
    if (fd < 0)
        return fd;
    int rc = add(loop->poll.fd, fd, EPOLLIN, WAKER_DATA);
    if (rc < 0) {
        (void)rota__sys_close(fd);
        return rc;
    }
    waker->fd = fd;
    waker->wake = wake;
    return 0;
}

/* After fork this epoll is also the parent's. Closing our descriptor of it takes nothing out of the set, where
 * EPOLL_CTL_DEL would; so there is one way for both sides. */
static void poller_close(rota_loop *loop, bool forked) {
    struct rota__poll *poll = &loop->poll;
    (void)forked;
    if (poll->timer_fd >= 0)
        (void)rota__sys_close(poll->timer_fd);
    if (poll->fd >= 0)
        (void)rota__sys_close(poll->fd);
    rota__free(&loop->allocator, poll->events, events_size(poll->capacity));
    poll->events = NULL;
    poll->fd = poll->timer_fd = -1;
}

/* A timer that makes the epoll descriptor readable. */
static int open_timer(struct rota__poll *poll) {
    int fd = rota__sys_timerfd_create();
    if (fd < 0)
        return fd;
    int rc = add(poll->fd, fd, EPOLLIN, TIMER_DATA);
    if (rc < 0) {
        (void)rota__sys_close(fd);
        return rc;
    }
    poll->timer_fd = fd;
    return 0;
}

static int poller_open(rota_loop *loop) {
    struct rota__poll *poll = &loop->poll;
    poll->timer_fd = -1;
    poll->no_pwait2 = false;
    poll->capacity = CAPACITY_FIRST;
    poll->fd = rota__sys_epoll_create();
    if (poll->fd < 0) {
        poll->events = NULL;
        return poll->fd;
    }
    poll->events = rota__alloc(&loop->allocator, events_size(poll->capacity));
    int rc = poll->events ? open_waker(loop) : -ENOMEM;
    if (rc == 0 && loop->is_precise && !loop->is_virtual)
        rc = open_timer(poll);
    if (rc < 0)
        poller_close(loop, false);
    return rc;
}

/* ---- interest ---- */

static uint32_t mask(unsigned interest) {
    uint32_t reading = interest & ROTA_READ ? EPOLLIN | EPOLLRDHUP | EPOLLPRI : 0;
    return interest & ROTA_WRITE ? reading | EPOLLOUT : reading;
}

/* What the loop believes of the set can be wrong in both directions when a number was closed behind its back:
 * the kernel forgets an entry with the last descriptor of its file (ENOENT for ours), and keeps it under the
 * old generation when the same file comes back under the same number (EEXIST). Either answer tells what to do,
 * and both ADD and MOD look at the descriptor and queue an event if it is ready now. */
static int poller_set(rota_loop *loop, int fd, uint32_t generation, unsigned had, unsigned interest) {
    int epoll = loop->poll.fd;
    struct epoll_event event = {.events = mask(interest) | EPOLLET,
                                .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd};
    int rc;
    if (!interest) {
        rc = rota__sys_epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event);
        return rc == -ENOENT || rc == -EBADF ? 0 : rc; /* gone already */
    }
    if (had) {
        rc = rota__sys_epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
        return rc == -ENOENT ? rota__sys_epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) : rc;
    }
    rc = rota__sys_epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    return rc == -EEXIST ? rota__sys_epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) : rc;
}

/* An entry whose number was closed while a duplicate of its file lives on can be named by nobody: epoll_ctl
 * wants number and file. So a new set is filled and put in the old one's place, under the old number, which a
 * foreign loop may be polling. (One that has the number in an epoll of its own sees it vanish from there: the
 * same kernel rule, which we cannot mend for others.) */
static int poller_renew(rota_loop *loop) {
    struct rota__poll *poll = &loop->poll;
    int fresh = rota__sys_epoll_create();
    if (fresh < 0)
        return fresh;
    int rc = add(fresh, loop->inbox->waker.fd, EPOLLIN, WAKER_DATA);
    if (rc == 0 && poll->timer_fd >= 0)
        rc = add(fresh, poll->timer_fd, EPOLLIN, TIMER_DATA);
    if (rc == 0)
        rc = rota__sys_dup2(fresh, poll->fd);
    (void)rota__sys_close(fresh);
    return rc < 0 ? rc : 0;
}

/* ---- waiting ---- */

static unsigned readiness(uint32_t events) {
    unsigned ready = (events & EPOLLIN ? ROTA_READ : 0) | (events & EPOLLOUT ? ROTA_WRITE : 0);
    if (__builtin_expect(!(events & ~(uint32_t)(EPOLLIN | EPOLLOUT)), 1))
        return ready;
    if (events & EPOLLPRI)
        ready |= ROTA_PRIORITY;
    if (events & EPOLLRDHUP)
        ready |= ROTA_READ | ROTA_EOF;
    if (events & EPOLLHUP)
        ready |= ROTA_READ | ROTA_WRITE | ROTA_EOF;
    if (events & EPOLLERR)
        ready |= ROTA_READ | ROTA_WRITE | ROTA_ERROR;
    return ready;
}

/* Without epoll_pwait2 (before Linux 5.11, or under emulators and filters, which answer ENOSYS or EPERM) whole
 * milliseconds must do, rounded up: rounding down would find the timer not yet due and spin until it is. So a
 * timer costs one wake-up and comes up to 1 ms late, never early. A timerfd would be exact, at a timerfd_settime
 * for every wait whose deadline changed and one more descriptor in every loop, on old kernels only: who needs
 * precision there has the option `precise`, which waits by one. */
static int round_up_to_ms(int64_t ns) {
    int64_t ms = ns / ROTA_MS + (ns % ROTA_MS != 0);
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

static int collect(struct rota__poll *poll, int64_t ns) {
    if (ns <= 0 || ns == ROTA_FOREVER)
        return rota__sys_epoll_wait(poll->fd, poll->events, poll->capacity, ns <= 0 ? 0 : -1);
    if (!poll->no_pwait2) {
        struct timespec timeout = {.tv_sec = (time_t)(ns / ROTA_S), .tv_nsec = (long)(ns % ROTA_S)};
        int n = rota__sys_epoll_pwait2(poll->fd, poll->events, poll->capacity, &timeout);
        if (n != -ENOSYS && n != -EPERM)
            return n;
        poll->no_pwait2 = true;
    }
    return rota__sys_epoll_wait(poll->fd, poll->events, poll->capacity, round_up_to_ms(ns));
}

static int poller_wait(rota_loop *loop, int64_t timeout_ns) {
    int n = collect(&loop->poll, timeout_ns);
    rota__polled(loop, n);
    if (n < 0)
        return n == -EINTR ? 0 : n;
    const struct epoll_event *events = loop->poll.events;
    for (int i = 0; i < n; i++) {
        uint64_t data = events[i].data.u64;
        if (data < TIMER_DATA)
            rota__fd_event(loop, (int)(uint32_t)data, (uint32_t)(data >> 32), readiness(events[i].events));
    }
    if (n == loop->poll.capacity && n < CAPACITY_MAX)
        grow(loop);
    return n;
}

/* ---- for a foreign loop ---- */

static int poller_fd(rota_loop *loop) {
    struct rota__poll *poll = &loop->poll;
    if (poll->timer_fd >= 0)
        return poll->fd;
    int rc = open_timer(poll);
    return rc < 0 ? rc : poll->fd;
}

static int set_timer(struct rota__poll *poll, int64_t when) {
    struct itimerspec at = {{0, 0}, {0, 0}};
    if (when != ROTA_FOREVER) {
        at.it_value.tv_sec = (time_t)(when / ROTA_S);
        at.it_value.tv_nsec = (long)(when % ROTA_S);
    }
    int rc = rota__sys_timerfd_settime(poll->timer_fd, TFD_TIMER_ABSTIME, &at);
    poll->armed = rc < 0 ? 0 : when;
    return rc;
}

/* What is due already goes through the waker: readable when this returns. A timerfd set to the past would fire
 * at the next interrupt, and an outer poll that does not wait could miss it. */
static void poller_deadline(rota_loop *loop, int64_t when) {
    if (when <= rota__sys_now())
        (void)wake(loop->inbox->waker.fd);
    else
        (void)set_timer(&loop->poll, when);
}

/* ---- for a precise loop ---- */

/* A time to come that was set before is still to fire, or has queued its edge: the same deadline costs nothing. */
static int poller_arm(rota_loop *loop, int64_t when) {
    return loop->poll.armed == when ? 0 : set_timer(&loop->poll, when);
}

const struct rota__poller rota__poller_epoll = {
    .name = "epoll",
    .open = poller_open,
    .close = poller_close,
    .set = poller_set,
    .wait = poller_wait,
    .fd = poller_fd,
    .deadline = poller_deadline,
    .arm = poller_arm,
    .renew = poller_renew,
};
