/* The loop: making it of the caller's memory, turning it, stopping, closing; soon-callbacks; the clock; rings.
 *
 * One turn, in the numbered steps of reactor/loop.c:
 *
 *   1  run ready work     everything that is queued, until nothing is ready or the budget is spent
 *   2  poll               ask the kernel; wait only if there is nothing else to do
 *   3  dispatch readiness watchers are told of each event
 *   4  due timers         in the order of their deadlines
 *   5  deferred frees     none: there is no memory to give back. (A stack that a task has ended on is free at once,
 *                         since nothing else runs before the loop has left it.)
 *
 * It must not know of tasks: what runs is an entry of the ready queue with a function. The fields for tasks lie in the
 * loop all the same, and who makes the first task leaves a function that ends them (drain_).
 */
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "small/small.h"

enum { BUDGET = 256 };     /* steps of step 1 */
#define LONGEST_WAIT (86400 * ROTA_S) /* of rota_loop_turn */

_Static_assert(sizeof(rota_loop) <= 384 && sizeof(rota_watcher) <= 24 && sizeof(rota_fd_slot) <= 24 &&
               sizeof(rota_timer) + sizeof(rota_timer *) <= 40, "what the header and the documents say");

rota_loop *rota__turning;
rota_loop *rota__current;

/* ---- what all files use ---- */

int rota__result(int answer) { return answer < 0 ? -errno : answer; }

int rota__refuse(const rota_loop *loop) { return loop && loop->closed_ ? -loop->closed_ : -EINVAL; }

void rota__ring_push(struct rota__link **ring, struct rota__link *link) {
    struct rota__link *last = *ring ? *ring : link;
    link->next_ = last->next_;
    last->next_ = link; /* itself, when it is the only one */
    *ring = link;
}

struct rota__link *rota__ring_pop(struct rota__link **ring) {
    struct rota__link *last = *ring, *first = last->next_;
    last->next_ = first->next_;
    if (first == last)
        *ring = NULL;
    first->next_ = NULL;
    return first;
}

/* The one before it is found by walking from the last one, so that the first one is found at once. */
void rota__ring_remove(struct rota__link **ring, struct rota__link *link) {
    struct rota__link *before = *ring;
    while (before->next_ != link)
        before = before->next_;
    before->next_ = link->next_;
    if (*ring == link)
        *ring = before == link ? NULL : before;
    link->next_ = NULL;
}

/* ---- the clock ---- */

int64_t rota_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * ROTA_S + t.tv_nsec;
}

int64_t rota__after(int64_t ns) {
    int64_t when;
    return __builtin_add_overflow(rota_now(), ns > 0 ? ns : 0, &when) ? ROTA_FOREVER : when;
}

/* ---- turning ---- */

static void run_ready(rota_loop *loop) {
    for (int steps = BUDGET; loop->ready_ && steps; steps--) {
        rota_ready *entry = (rota_ready *)rota__ring_pop(&loop->ready_); /* its first member */
        entry->run_(entry);
    }
}

/* Is there something that may make it ready later? */
static bool is_waiting(const rota_loop *loop) { return loop->timers_ || loop->watchers_; }

/* In the kernel's milliseconds, rounded up: rounding down would find a timer not yet due, and spin until it is. */
static int64_t milliseconds(int64_t ns) { return (int64_t)(((uint64_t)(ns > 0 ? ns : 0) + ROTA_MS - 1) / ROTA_MS); }

/* How long the kernel may wait. */
static int poll_timeout(rota_loop *loop, int wait_ms) {
    int64_t now = rota__clock(loop);
    if (loop->stop_ || loop->ready_ || !is_waiting(loop))
        return 0;
    if (loop->timers_) {
        int64_t left = milliseconds(loop->memory_.timers[0]->deadline_ - now);
        if (left < wait_ms)
            return (int)left;
    }
    return wait_ms;
}

/* Of a loop that is not closed: nobody can close it between two turns of rota_loop_run. */
static int turn(rota_loop *loop, int wait_ms) {
    if (rota__turning)
        return -EBUSY;
    rota__turning = loop;
    loop->turns_ = true;
    rota__clock(loop);
    run_ready(loop);                                        /* 1 run ready work */
    int rc = rota__dispatch(loop, poll_timeout(loop, wait_ms)); /* 2 poll; 3 dispatch readiness */
    rota__clock(loop);
    rota__timers_fire(loop);                                /* 4 due timers */
    loop->turns_ = false;
    rota__turning = NULL;                                   /* 5 deferred frees: none */
    return rc;
}

int rota_loop_turn(rota_loop *loop, int64_t wait_ns) {
    if (!rota__usable(loop, loop))
        return rota__refuse(loop);
    int rc = turn(loop, (int)milliseconds(wait_ns < LONGEST_WAIT ? wait_ns : LONGEST_WAIT));
    if (rc < 0)
        return rc;
    loop->stop_ = false;
    return loop->ready_ || is_waiting(loop);
}

int rota_loop_run(rota_loop *loop) {
    int rc;
    if (!rota__usable(loop, loop))
        return rota__refuse(loop);
    while ((rc = turn(loop, INT_MAX)) == 0) {
        if (loop->stop_) {
            loop->stop_ = false;
            break;
        }
        if (!loop->ready_ && !is_waiting(loop))
            return loop->live_ ? -EDEADLK : 0;
    }
    return rc;
}

int rota_loop_stop(rota_loop *loop) {
    if (!rota__usable(loop, loop))
        return rota__refuse(loop);
    loop->stop_ = true;
    return 0;
}

/* ---- life ---- */

int rota_loop_new(rota_loop **out, const rota_loop_options *opt) {
    if (!out)
        return -EINVAL;
    *out = NULL;
    if (!opt || !opt->loop || !opt->fds || !opt->timers)
        return -EINVAL;
    rota_loop *loop = opt->loop;
    loop->memory_ = *opt;
    memset((char *)loop + sizeof loop->memory_, 0, sizeof *loop - sizeof loop->memory_);
    loop->epoll_ = rota__result(epoll_create1(EPOLL_CLOEXEC));
    if (loop->epoll_ < 0) {
        loop->closed_ = ESHUTDOWN; /* as the one whose memory it was */
        return loop->epoll_;
    }
    rota__clock(loop);
    if (!rota__current)
        rota__current = loop;
    *out = loop;
    return 0;
}

int rota_loop_close(rota_loop *loop) {
    if (!loop)
        return -EINVAL;
    if (loop->closed_)
        return 0;
    if (loop->turns_)
        return -EBUSY;
    if (loop->drain_)
        loop->drain_(loop);
    loop->closed_ = ESHUTDOWN;
    memset(loop->memory_.fds, 0, loop->memory_.n_fds * sizeof *loop->memory_.fds);
    (void)close(loop->epoll_);
    if (rota__current == loop)
        rota__current = NULL;
    return 0;
}

int rota_loop_free(rota_loop *loop) { return loop ? rota_loop_close(loop) : 0; }

/* ---- who and when ---- */

rota_loop *rota_loop_current(void) { return rota__here(); }

int rota_loop_set_current(rota_loop *loop) {
    if (loop && loop->closed_)
        return -ESHUTDOWN;
    if (rota__turning)
        return -EBUSY;
    rota__current = loop;
    return 0;
}

int64_t rota_loop_now(const rota_loop *loop) { return loop ? loop->now_ : -EINVAL; }

/* ---- soon-callbacks ---- */

static void run_soon(rota_ready *ready) {
    rota_soon *soon = (rota_soon *)ready; /* its first member */
    soon->fn(soon, soon->arg);
}

void rota_soon_init(rota_soon *soon, void (*fn)(rota_soon *soon, void *arg), void *arg) {
    if (!soon)
        return;
    soon->ready_.link_.next_ = NULL;
    soon->ready_.run_ = run_soon;
    soon->fn = fn;
    soon->arg = arg;
}

int rota_soon_start(rota_loop *loop, rota_soon *soon) {
    if (!rota__usable(loop, soon) || !soon->fn)
        return rota__refuse(loop);
    if (soon->ready_.link_.next_)
        return -EALREADY;
    rota__ring_push(&loop->ready_, &soon->ready_.link_);
    return 0;
}

int rota_soon_stop(rota_loop *loop, rota_soon *soon) {
    if (!rota__usable(loop, soon))
        return rota__refuse(loop);
    if (soon->ready_.link_.next_)
        rota__ring_remove(&loop->ready_, &soon->ready_.link_);
    return 0;
}
