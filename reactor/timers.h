/* The set of started timers of a loop. It knows nothing of the loop, of clocks or of waiting: callers pass
 * times in. See timers.c for the structure (a wheel in front of a heap) and docs/ARCHITECTURE.md for a picture.
 *
 * Contract, which the model test checks:
 *  - rota__timers_pop gives timers in the order of (deadline, order of arming), exactly, to the nanosecond;
 *    never one whose deadline is after now.
 *  - Arming and disarming never fail and never allocate. The heap grows only inside pop and next; when it
 *    cannot, both still give the same answers, only slower.
 *  - now never goes backwards from call to call.
 *  - A timer armed for ROTA_FOREVER is armed and counted like any other, and never comes due.
 */
#ifndef ROTA_REACTOR_TIMERS_H
#define ROTA_REACTOR_TIMERS_H

#include "reactor/memory.h"

enum {
    ROTA__TICK_SHIFT = 20,     /* a tick is 2^20 ns: about a millisecond */
    ROTA__WHEEL_BITS = 6,      /* 64 slots a level, so that a level's occupancy is one word */
    ROTA__WHEEL_SLOTS = 1 << ROTA__WHEEL_BITS,
    ROTA__SLOT_LISTS = 2,
    ROTA__WHEEL_LEVELS = 8,    /* 8 * 6 + 20 > 63: every int64_t has a slot, no timer is "too far" */
    ROTA__RUN_MOST = 128,      /* timers that are sorted in one go, at most */
    ROTA__HEAP_EMBEDDED = 16   /* few more, due in one tick, need no memory */
};

/* Where a timer is, in the three low bits of order_. All lists are handled alike, so they share a state, except for the
 * sorted one, where no timer may stay that is moved. A bit for each, so that one test tells. */
enum { ROTA__TIMER_IDLE = 0, ROTA__TIMER_LISTED = 1, ROTA__TIMER_HEAPED = 2, ROTA__TIMER_SORTED = 4,
       ROTA__TIMER_STATE = 7, ROTA__TIMER_STEP = 8 };

/* Deadline and order as they were when the timer entered the heap: comparing needs no look at the timer,
 * which at a million timers is a cache miss each. */
struct rota__timer_key {
    int64_t deadline;
    uint64_t order;
    rota_timer *timer;
};

struct rota__timers {
    /* read or written by every arm */
    uint64_t sequence;        /* the order that the next arm gives */
    int64_t tick;             /* the wheel stands here; timers at or before it are not in the wheel */
    int64_t wake;             /* no deadline is earlier; may lie before the first one */
    size_t count;
    rota_timer *incoming;     /* armed at or before tick, not yet moved into the heap */
    uint64_t occupied[ROTA__WHEEL_LEVELS];  /* a clear bit: the slot is empty; a set one: perhaps not */

    uint64_t settled;         /* every order in incoming is at least this */
    rota_timer *run;          /* sorted, the first one first */
    rota_timer *spill;        /* belongs into the heap, which is full and cannot grow */
    struct rota__timer_key *heap;
    size_t heap_n, heap_room;
    bool next_is_asked;       /* before each wait: so pop need not find out when it must be called again */
    bool starved;             /* growing failed in this step: do not ask again for each timer */
    const rota_allocator *allocator;

    /* Two lists a slot, in turn: whoever walks both at once waits for half as many cache misses. */
    rota_timer *slots[ROTA__WHEEL_LEVELS][ROTA__WHEEL_SLOTS][ROTA__SLOT_LISTS];
    struct rota__timer_key embedded[ROTA__HEAP_EMBEDDED];
};

/* ts must stay where it is, and *a must live as long. */
void rota__timers_init(struct rota__timers *ts, const rota_allocator *a, int64_t now);

/* Gives back the heap. Timers that are still armed are not touched: rota__timers_clear comes first. */
void rota__timers_free(struct rota__timers *ts);

/* Arm a timer that is started, where that is not merely a later time; disarm one that is in the heap. Out of line: few
 * are moved to an earlier time, and few that are moved or disarmed were in the heap or in the sorted list. */
void rota__timers_move(struct rota__timers *ts, rota_timer *timer, int64_t when);
void rota__timers_disarm_heaped(struct rota__timers *ts, rota_timer *timer);

static inline int64_t rota__timers_tick(int64_t time) { return time >> ROTA__TICK_SHIFT; }

/* The level of a tick that is after the wheel's: where its highest digit that differs stands. */
static inline unsigned rota__timers_level(const struct rota__timers *ts, int64_t tick) {
    unsigned bit = 63u - (unsigned)__builtin_clzll((unsigned long long)(tick ^ ts->tick));
    return bit / ROTA__WHEEL_BITS;
}

static inline void rota__timers_push(rota_timer **list, rota_timer *timer) {
    rota_timer *first = *list;

    timer->place_.prev = list;
    if (first)
        first->place_.prev = &timer->next_;
    timer->next_ = first; /* not beside prev: compilers make one store of both, by way of a vector, which is slower */
    *list = timer;
}

/* Puts a timer that is in no list into the list of its deadline; never into the heap: a timer that is
 * disarmed before the next pop then costs two list operations, however close its deadline is. */
static inline void rota__timers_link(struct rota__timers *ts, rota_timer *timer) {
    int64_t tick = rota__timers_tick(timer->deadline_);
    rota_timer **list = &ts->incoming;

    if (tick > ts->tick) {
        unsigned level = rota__timers_level(ts, tick);
        unsigned slot = (unsigned)(tick >> level * ROTA__WHEEL_BITS) % ROTA__WHEEL_SLOTS;
        ts->occupied[level] |= UINT64_C(1) << slot;
        list = &ts->slots[level][slot][timer->order_ / ROTA__TIMER_STEP % ROTA__SLOT_LISTS];
    }
    rota__timers_push(list, timer);
}

/* Takes a timer that is in a list out of it. The slot's bit stays: which slot it was is not known here, and
 * whoever looks for the first slot finds out. */
static inline void rota__timers_unlink(rota_timer *timer) {
    rota_timer *next = timer->next_;

    *timer->place_.prev = next;
    if (next)
        next->place_.prev = timer->place_.prev;
}

/* A timer that is started, where it is to fire later than it would: it stays in its place, in the wheel or in the heap. The
 * place then is a lower bound, which whoever meets the timer there corrects. A server that pushes its timeouts away with
 * every request pays two stores for it. False, and nothing done: it is not in a list, or moves to an earlier time. */
static inline bool rota__timers_postpone(struct rota__timers *ts, rota_timer *timer, int64_t when) {
    uint64_t order = ts->sequence;

    if (__builtin_expect(!(timer->order_ & ROTA__TIMER_LISTED) || when < timer->deadline_, 0))
        return false;
    ts->sequence = order + ROTA__TIMER_STEP;
    timer->deadline_ = when;
    timer->order_ = order | ROTA__TIMER_LISTED;
    return true;
}

/* Arms one that was not to be postponed.
 *
 * Whatever needs the heap is a call that is the last thing done, here and below: so that a function around it saves no
 * registers on the way that nearly all timers take. */
static inline void rota__timers_insert(struct rota__timers *ts, rota_timer *timer, int64_t when) {
    uint64_t order = ts->sequence;

    if (__builtin_expect((timer->order_ & ROTA__TIMER_STATE) != ROTA__TIMER_IDLE, 0)) {
        rota__timers_move(ts, timer, when);
        return;
    }
    ts->sequence = order + ROTA__TIMER_STEP;
    ts->count++;
    if (__builtin_expect(when < ts->wake, 0))
        ts->wake = when;
    timer->deadline_ = when;
    timer->order_ = order | ROTA__TIMER_LISTED;
    rota__timers_link(ts, timer);
}

/* when <= now is due at the next pop. A started timer is moved (it counts as armed anew). */
static inline void rota__timers_arm(struct rota__timers *ts, rota_timer *timer, int64_t when) {
    if (!rota__timers_postpone(ts, timer, when))
        rota__timers_insert(ts, timer, when);
}

/* Also for a timer that is not armed. */
static inline void rota__timers_disarm(struct rota__timers *ts, rota_timer *timer) {
    if (__builtin_expect(timer->order_ & (ROTA__TIMER_LISTED | ROTA__TIMER_SORTED), 1)) {
        timer->order_ = ROTA__TIMER_IDLE;
        ts->count--;
        rota__timers_unlink(timer);
    } else if (timer->order_ & ROTA__TIMER_STATE) {
        rota__timers_disarm_heaped(ts, timer);
    }
}

/* The deadline that comes first, exact; ROTA_FOREVER when none is armed. For a clock that jumps to it, or to `until`
 * if that is earlier: the wheel runs on as far, which spares looking at all timers of the first slot now and again
 * when the clock is there. If it does not jump after all, timers armed for a time in between take the way through
 * the heap. With until = now the wheel stays where it is. */
int64_t rota__timers_next(struct rota__timers *ts, int64_t until);

/* When to call pop again: never after the first deadline, and the deadline itself unless that timer was
 * disarmed or moved meanwhile, or shares a distant slot with many (then a time before it, a handful of times
 * at most). For a clock that runs: one load, and the price of being inexact is a wake-up with nothing to do,
 * whereas the exact answer would undo what moving a timer lazily has saved. ROTA_FOREVER: no need. */
static inline int64_t rota__timers_wake(const struct rota__timers *ts) { return ts->wake; }

/* Takes out and returns the first timer with deadline <= now that was armed before `limit` (an order taken
 * with rota__timers_order before the step), NULL when there is none. */
rota_timer *rota__timers_pop(struct rota__timers *ts, int64_t now, uint64_t limit);

/* pop would give NULL, and the wheel would stay where it is. */
static inline bool rota__timers_quiet(const struct rota__timers *ts, int64_t now) {
    return now < ts->wake && rota__timers_tick(now) <= ts->tick;
}

static inline uint64_t rota__timers_order(const struct rota__timers *ts) { return ts->sequence; }

static inline size_t rota__timers_count(const struct rota__timers *ts) { return ts->count; }

/* Disarms every timer. */
void rota__timers_clear(struct rota__timers *ts);

/* For tests: walks everything; NULL, or what is wrong. */
const char *rota__timers_check(const struct rota__timers *ts);

#endif
