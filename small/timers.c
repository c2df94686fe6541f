/* Timers: a binary heap over the caller's array of pointers. rota_timer_init, start, start_at, stop, and step 4.
 *
 * Invariant: the first timers_ entries of memory_.timers are a heap by (deadline, order of starting), and each timer
 * knows its place in it, so that stopping one does not search. No deadline is before floor_: it is never negative, and
 * what is started in step 4 is due after that step's time, so that it cannot fire in it. It must not know who waits: a
 * task's timer is one like any other.
 *
 * Sequence numbers have 32 bits, and are compared by their difference: of two equal deadlines the older one comes first
 * as long as fewer than 2^31 timers were started in between.
 */
#include "small/small.h"

static void put(rota_loop *loop, unsigned at, rota_timer *timer) {
    loop->memory_.timers[at] = timer;
    timer->place_ = at + 1;
}

static bool before(const rota_timer *a, const rota_timer *b) {
    return a->deadline_ != b->deadline_ ? a->deadline_ < b->deadline_ : (int32_t)(a->order_ - b->order_) < 0;
}

/* Puts timer into the hole at `at`, or into one further up. */
static void rise(rota_loop *loop, unsigned at, rota_timer *timer) {
    while (at > 0) {
        unsigned above = (at - 1) / 2;
        rota_timer *parent = loop->memory_.timers[above];
        if (!before(timer, parent))
            break;
        put(loop, at, parent);
        at = above;
    }
    put(loop, at, timer);
}

/* The hole that it leaves sinks to the bottom, and what was last rises from there: one comparison less at each level
 * than looking for its place on the way down, which is nearly always the bottom (Wegener 1993, bottom-up heapsort). */
void rota__timer_disarm(rota_loop *loop, rota_timer *timer) {
    unsigned hole = timer->place_, child;
    if (!hole--)
        return;
    rota_timer **heap = loop->memory_.timers;
    unsigned n = --loop->timers_;
    for (; (child = 2 * hole + 1) < n; hole = child) {
        if (child + 1 < n && before(heap[child + 1], heap[child]))
            child++;
        put(loop, hole, heap[child]);
    }
    rise(loop, hole, heap[n]);
    timer->place_ = 0; /* last: it may have been what was last */
}

void rota__timer_arm(rota_loop *loop, rota_timer *timer, int64_t when) {
    rota__timer_disarm(loop, timer);
    timer->deadline_ = when > loop->floor_ ? when : loop->floor_;
    timer->order_ = loop->sequence_++;
    rise(loop, loop->timers_++, timer);
}

void rota__timers_fire(rota_loop *loop) {
    loop->floor_ = loop->now_ + 1;
    rota_timer *timer;
    while (loop->timers_ && (timer = loop->memory_.timers[0])->deadline_ < loop->floor_) {
        rota__timer_disarm(loop, timer);
        loop->room_++;
        timer->fn(timer, timer->arg);
    }
    loop->floor_ = 0;
}

/* ---- public ---- */

void rota_timer_init(rota_timer *timer, void (*fn)(rota_timer *timer, void *arg), void *arg) {
    if (!timer)
        return;
    timer->place_ = 0;
    timer->fn = fn;
    timer->arg = arg;
}

int rota_timer_start_at(rota_loop *loop, rota_timer *timer, int64_t when) {
    int rc = rota__check(loop, timer);
    if (rc < 0)
        return rc;
    if (!timer->fn)
        return -EINVAL;
    if (!rota_timer_active(timer)) {
        if (!loop->room_)
            return -ENOMEM;
        loop->room_--;
    }
    rota__timer_arm(loop, timer, when);
    return 0;
}

/* The clock is read: counting from the turn's time would fire early after a callback that worked long. */
int rota_timer_start(rota_loop *loop, rota_timer *timer, int64_t ns) {
    return rota_timer_start_at(loop, timer, rota__after(ns));
}

int rota_timer_stop(rota_loop *loop, rota_timer *timer) {
    int rc = rota__check(loop, timer);
    if (rc < 0)
        return rc;
    loop->room_ += rota_timer_active(timer);
    rota__timer_disarm(loop, timer);
    return 0;
}
