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

/* One that was started before the other counts as a nanosecond earlier: that decides between equal deadlines, and
 * nothing else. It cannot overflow: no deadline is negative. */
static bool before(const rota_timer *a, const rota_timer *b) {
    return a->deadline_ - ((a->order_ - b->order_) >> 31) < b->deadline_;
}

static void put(rota_timer **heap, unsigned place, rota_timer *timer) {
    heap[place - 1] = timer;
    timer->place_ = place;
}

/* Puts timer where it belongs, given that its place_ is a hole. The hole sinks to the bottom, and the timer rises from
 * there: one comparison less at each level than looking for its place on the way down, which is nearly always the
 * bottom (Wegener 1993, bottom-up heapsort). A hole that is new has nothing below. 0, as those who arm a timer answer. */
static int settle(rota_loop *loop, rota_timer *timer) {
    rota_timer **heap = loop->memory_.timers;
    unsigned hole = timer->place_, next;
    for (; (next = 2 * hole) <= loop->timers_; hole = next) {
        if (next < loop->timers_ && before(heap[next], heap[next - 1]))
            next++;
        put(heap, hole, heap[next - 1]);
    }
    for (; (next = hole / 2) > 0 && before(timer, heap[next - 1]); hole = next)
        put(heap, hole, heap[next - 1]);
    put(heap, hole, timer);
    return 0;
}

/* What was last takes its place. */
void rota__timer_disarm(rota_loop *loop, rota_timer *timer) {
    unsigned place = timer->place_;
    if (!place)
        return;
    timer->place_ = 0;
    rota_timer *last = loop->memory_.timers[--loop->timers_];
    if (last == timer)
        return;
    last->place_ = place;
    (void)settle(loop, last);
}

/* A timer that has a place. */
static __attribute__((noinline)) int set(rota_loop *loop, rota_timer *timer, int64_t when) {
    timer->deadline_ = when > loop->floor_ ? when : loop->floor_;
    timer->order_ = loop->sequence_++;
    return settle(loop, timer);
}

int rota__timer_arm(rota_loop *loop, rota_timer *timer, int64_t when) {
    if (!timer->place_)
        timer->place_ = ++loop->timers_;
    return set(loop, timer, when);
}

void rota__timers_fire(rota_loop *loop) {
    rota_timer *timer;
    loop->floor_ = loop->now_ + 1;
    while (loop->timers_ && (timer = loop->memory_.timers[0])->deadline_ < loop->floor_) {
        rota__timer_disarm(loop, timer);
        loop->memory_.n_timers++;
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
    if (!rota__usable(loop, timer) || !timer->fn)
        return rota__refuse(loop);
    if (!rota_timer_active(timer)) {
        if (!loop->memory_.n_timers)
            return -ENOMEM;
        loop->memory_.n_timers--;
        timer->place_ = ++loop->timers_;
    }
    return set(loop, timer, when);
}

/* The clock is read: counting from the turn's time would fire early after a callback that worked long. */
int rota_timer_start(rota_loop *loop, rota_timer *timer, int64_t ns) {
    return rota_timer_start_at(loop, timer, rota__after(ns));
}

int rota_timer_stop(rota_loop *loop, rota_timer *timer) {
    if (!rota__usable(loop, timer))
        return rota__refuse(loop);
    loop->memory_.n_timers += rota_timer_active(timer);
    rota__timer_disarm(loop, timer);
    return 0;
}
