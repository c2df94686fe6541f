/* The poller on FreeBSD, NetBSD, OpenBSD and macOS: kqueue with EV_CLEAR, EVFILT_USER for wake-ups,
 * EVFILT_TIMER for foreign loops only.
 *
 * It offers rota__poller_kqueue; the contract is in poller.h. Invariant: whatever a turn must look at makes the
 * kqueue readable until wait has collected it. It must not know of watchers, timers or tasks. What is said here
 * of single systems is from their kqueue(2), kevent(2) and pipe sources.
 *
 *  - An event is known by (number, filter); its udata carries the generation. Adding one that is there already
 *    replaces udata and tests the condition again: that takes over a number from an older generation.
 *  - close(2) of a number takes its events out, whatever duplicates of the file live on. So nothing here is
 *    stale for long, and renew has nothing to do.
 *  - A kqueue is not inherited over fork: in the child its number may belong to anything. It is not closed there.
 *  - A peer's end is EV_EOF on EVFILT_READ, with data > 0 while there is something left to read: both flags are
 *    passed on, and the reader drains first. fflags holds a socket's error, if any.
 *  - EV_EOF on EVFILT_WRITE alone is no error: on a socket it also follows our own shutdown(2). The next write
 *    tells.
 */
#include <sys/types.h> /* first: OpenBSD's event.h needs it */

#include <sys/event.h>

#include "reactor/loop.h"

enum { CAPACITY = 1024, EVENTS_SIZE = CAPACITY * sizeof(struct kevent) };

/* Some kernels refuse a timeout of years (EINVAL). Waking for nothing once in eleven days is cheaper than to
 * know which. */
static const int64_t longest = 1000000 * ROTA_S;

/* An integer on NetBSD before 10, a pointer elsewhere. */
typedef __typeof__(((struct kevent *)0)->udata) user_data;

static int change(int kq, int ident, int filter, int flags, unsigned fflags, int64_t data,
                  uint32_t generation) {
    struct kevent event;
    EV_SET(&event, (uintptr_t)ident, filter, flags, fflags, data, (user_data)(uintptr_t)generation);
    return rota__sys_kevent(kq, &event, 1, NULL, 0, NULL);
}

/* ---- the waker ---- */

#if defined(EVFILT_USER)

/* The kqueue wakes itself: it is the waker's descriptor, lives as long as the inbox, and is closed by it. No
 * flags here: FreeBSD takes EV_CLEAR together with NOTE_TRIGGER for a wish to clear the trigger. */
static int wake(int kq) { return change(kq, 0, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0); }

static int open_waker(rota_loop *loop) {
    struct rota__waker *waker = &loop->inbox->waker;
    int rc = change(loop->poll.fd, 0, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, 0);
    if (rc < 0)
        return rc;
    waker->fd = loop->poll.fd;
    waker->wake = wake;
    return 0;
}

static bool is_waker(rota_loop *loop, const struct kevent *event) {
    (void)loop;
    return event->filter == EVFILT_USER;
}

static void close_queue(rota_loop *loop, bool forked) {
    if (forked)
        loop->inbox->waker.fd = -1;
    else if (loop->inbox->waker.fd < 0 && loop->poll.fd >= 0)
        (void)rota__sys_close(loop->poll.fd); /* open failed before the waker had it */
}

#else

/* Old NetBSD: a pipe. Both ends are the inbox's, so that a late wake finds a reader and no SIGPIPE. A full pipe
 * would swallow the edge of the next write, so this waker is emptied when it is seen: before the loop looks into
 * its inbox, so that what is posted after that look writes anew. */
static int wake(int fd) { return (int)rota__sys_write(fd, "", 1); }

static int open_waker(rota_loop *loop) {
    struct rota__waker *waker = &loop->inbox->waker;
    int ends[2];
    int rc = rota__sys_pipe(ends);
    if (rc < 0)
        return rc;
    rc = change(loop->poll.fd, ends[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, 0);
    if (rc < 0) {
        (void)rota__sys_close(ends[0]);
        (void)rota__sys_close(ends[1]);
        return rc;
    }
    waker->other = ends[0];
    waker->fd = ends[1];
    waker->wake = wake;
    return 0;
}

static bool is_waker(rota_loop *loop, const struct kevent *event) {
    char bytes[64];
    int fd = loop->inbox->waker.other;
    if (event->filter != EVFILT_READ || (int)event->ident != fd)
        return false;
    while (rota__sys_read(fd, bytes, sizeof bytes) > 0)
        ;
    return true;
}

static void close_queue(rota_loop *loop, bool forked) {
    if (!forked && loop->poll.fd >= 0)
        (void)rota__sys_close(loop->poll.fd);
}

#endif

/* ---- open and close ---- */

static void poller_close(rota_loop *loop, bool forked) {
    struct rota__poll *poll = &loop->poll;
    close_queue(loop, forked);
    rota__free(&loop->allocator, poll->events, EVENTS_SIZE);
    poll->events = NULL;
    poll->fd = -1;
}

static int poller_open(rota_loop *loop) {
    struct rota__poll *poll = &loop->poll;
    poll->timer_fd = -1;
    poll->capacity = CAPACITY;
    poll->events = NULL;
    poll->fd = rota__sys_kqueue();
    if (poll->fd < 0)
        return poll->fd;
    poll->events = rota__alloc(&loop->allocator, EVENTS_SIZE);
    int rc = poll->events ? open_waker(loop) : -ENOMEM;
    if (rc < 0)
        poller_close(loop, false);
    return rc;
}

/* ---- interest ---- */

/* Urgent data is a filter of its own, where there is one (OpenBSD, macOS). Only sockets have it; that others
 * refuse is expected. */
static void change_urgent(int kq, int fd, int flags, uint32_t generation) {
#if defined(EVFILT_EXCEPT)
    (void)change(kq, fd, EVFILT_EXCEPT, flags, NOTE_OOB, 0, generation);
#else
    (void)kq, (void)fd, (void)flags, (void)generation;
#endif
}

/* kqueue takes regular files and directories, but reports the end of a file never: they are turned away, as
 * epoll does. So are descriptors whose driver knows no filters, with an error that depends on the system. And so
 * is a pipe whose reader has gone, for which adding EVFILT_WRITE fails (EPIPE; EBADF on NetBSD): "always ready"
 * is the truth about it, the write will tell. The descriptor was open a moment ago, or fstat had refused. */
static int refusal(int rc) {
    switch (rc) {
    case -EINVAL: case -ENODEV: case -ENXIO: case -EOPNOTSUPP: case -EPIPE: case -EBADF: return -EPERM;
    default: return rc == -ENOTSUP ? -EPERM : rc; /* on some systems the same number as EOPNOTSUPP */
    }
}

static void remove_interest(int kq, int fd, unsigned sides) {
    if (sides & ROTA_READ) {
        (void)change(kq, fd, EVFILT_READ, EV_DELETE, 0, 0, 0);
        change_urgent(kq, fd, EV_DELETE, 0);
    }
    if (sides & ROTA_WRITE)
        (void)change(kq, fd, EVFILT_WRITE, EV_DELETE, 0, 0, 0);
}

/* Adds all of the interest, also what the kernel should know already: if the number was closed behind the
 * loop's back, it does not. */
static int poller_set(rota_loop *loop, int fd, uint32_t generation, unsigned had, unsigned interest) {
    int kq = loop->poll.fd;
    remove_interest(kq, fd, had & ~interest);
    if (!interest)
        return 0;
    struct stat st;
    int rc = rota__sys_fstat(fd, &st);
    if (rc < 0)
        return rc;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return -EPERM;
    if (interest & ROTA_READ) {
        rc = change(kq, fd, EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, generation);
        if (rc < 0)
            return refusal(rc);
        change_urgent(kq, fd, EV_ADD | EV_CLEAR, generation);
    }
    if (interest & ROTA_WRITE)
        rc = change(kq, fd, EVFILT_WRITE, EV_ADD | EV_CLEAR, 0, 0, generation);
    return refusal(rc);
}

static int poller_renew(rota_loop *loop) {
    (void)loop;
    return -ENOTSUP;
}

/* ---- waiting ---- */

static unsigned readiness(const struct kevent *event) {
    unsigned ended = event->flags & EV_EOF ? ROTA_EOF : 0;
    unsigned failed = event->flags & EV_EOF && event->fflags ? ROTA_READ | ROTA_WRITE | ROTA_ERROR : 0;
    switch (event->filter) {
    case EVFILT_READ: return ROTA_READ | ended | failed;
    case EVFILT_WRITE: return ROTA_WRITE | failed;
    default: return ROTA_PRIORITY;
    }
}

/* Being woken is all there is to the waker and the timer. */
static void dispatch(rota_loop *loop, const struct kevent *event) {
    if (event->filter != EVFILT_TIMER && !is_waker(loop, event))
        rota__fd_event(loop, (int)event->ident, (uint32_t)(uintptr_t)event->udata, readiness(event));
}

static int poller_wait(rota_loop *loop, int64_t timeout_ns) {
    struct timespec timeout, *limit = NULL;
    if (timeout_ns != ROTA_FOREVER) {
        int64_t ns = timeout_ns < 0 ? 0 : timeout_ns < longest ? timeout_ns : longest;
        timeout.tv_sec = (time_t)(ns / ROTA_S);
        timeout.tv_nsec = (long)(ns % ROTA_S);
        limit = &timeout;
    }
    const struct kevent *events = loop->poll.events;
    int n = rota__sys_kevent(loop->poll.fd, NULL, 0, loop->poll.events, CAPACITY, limit);
    rota__polled(loop, n);
    if (n < 0)
        return n == -EINTR ? 0 : n;
    for (int i = 0; i < n; i++)
        dispatch(loop, &events[i]);
    return n;
}

/* ---- for a foreign loop ---- */

static int poller_fd(rota_loop *loop) { return loop->poll.fd; }

/* A relative one-shot timer: absolute ones have three names (NOTE_ABSTIME, NOTE_ABSOLUTE, none), two clocks.
 * Deleted first, because re-adding restarts it on newer systems only; that also takes back an expiry that
 * nobody has collected. Where a unit is too coarse it is rounded up. A time that does not fit fires early: the loop
 * finds nothing to do and sets its deadline again. */
static int arm_timer(int kq, int64_t ns) {
    ns = ns < longest ? ns : longest;
#if defined(NOTE_NSECONDS)
    return change(kq, 0, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_NSECONDS, ns < INTPTR_MAX ? ns : INTPTR_MAX, 0);
#else
    return change(kq, 0, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, (ns + ROTA_MS - 1) / ROTA_MS, 0);
#endif
}

/* What is due already goes through the waker: the kqueue is readable when this returns, and 0 as a timer's time
 * means different things. So it does when there is no timer to be had: a busy outer loop is better than one
 * that sleeps over a deadline. */
static void poller_deadline(rota_loop *loop, int64_t when) {
    int kq = loop->poll.fd;
    (void)change(kq, 0, EVFILT_TIMER, EV_DELETE, 0, 0, 0);
    if (when == ROTA_FOREVER)
        return;
    int64_t now = rota__sys_now();
    if (when <= now || arm_timer(kq, when - now) < 0)
        (void)wake(loop->inbox->waker.fd);
}

const struct rota__poller rota__poller_kqueue = {
    .name = "kqueue",
    .open = poller_open,
    .close = poller_close,
    .set = poller_set,
    .wait = poller_wait,
    .fd = poller_fd,
    .deadline = poller_deadline,
    .renew = poller_renew,
};
