/* The started timers of a loop: a wheel that sorts roughly and costs next to nothing, in front of a heap that
 * sorts exactly and sees only the timers of the tick that is being served.
 *
 * Offers rota__timers_init, _free, _clear, _pop, _next, _check; arm and disarm are inline, in timers.h.
 *
 * Invariants (rota__timers_check walks them):
 *  - A timer in slot s of level l has, at level l, a digit greater than that of `tick`, and the digits above
 *    are equal to tick's. So all of level l comes before all of level l + 1, and the first slot is the lowest
 *    bit of the lowest level that is not empty.
 *  - The place of a timer is right for its deadline or for an earlier one (arming moves it later by two stores).
 *  - Timers at or before `tick` are in `incoming`, in the heap, or, when that cannot grow, in `spill`.
 *  - No deadline is before `wake`.
 *
 * It must not know what time it is, who waits, or what a timer is for.
 *
 * Rejected: one heap for everything (at 1,000,000 timers a start or a stop is 20 cache misses, and servers
 * stop nearly every timer they start); a wheel alone (a slot is as exact as it gets, unless it is as fine as a
 * nanosecond); letting the wheel run ahead to the first slot while idle, which would make the exact next
 * deadline cheap, but sends every timer that is then started for an earlier time through the heap.
 *
 * Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 6.2 and its hierarchy.
 */
#include "reactor/timers.h"

#include <string.h>

enum {
    HEAP_ARITY = 4,   /* shallower than 2, and the four children of a node are neighbours in memory */
    SCAN_LIMIT = 16   /* timers looked at for an exact wake-up time, at most, once a step */
};

void rota__timers_init(struct rota__timers *ts, const rota_allocator *a, int64_t now) {
    *ts = (struct rota__timers){
        /* Ticks before 0 would have no level in common with those after. They never need one: the wheel starts
         * at 0 at the earliest, and what is before it goes to the heap. */
        .tick = now > 0 ? rota__timers_tick(now) : 0,
        .wake = ROTA_FOREVER,
        .heap_room = ROTA__HEAP_EMBEDDED,
        .allocator = a,
    };
    ts->heap = ts->embedded;
}

void rota__timers_free(struct rota__timers *ts) {
    if (ts->heap != ts->embedded)
        rota__free(ts->allocator, ts->heap, ts->heap_room * sizeof *ts->heap);
    ts->heap = ts->embedded;
    ts->heap_room = ROTA__HEAP_EMBEDDED;
}

/* ---- the heap ----------------------------------------------------------------------------------- */

static inline bool before(int64_t deadline, uint64_t order, int64_t other_deadline, uint64_t other_order) {
    return deadline < other_deadline || (deadline == other_deadline && order < other_order);
}

static inline bool key_before(const struct rota__timer_key *a, const struct rota__timer_key *b) {
    return before(a->deadline, a->order, b->deadline, b->order);
}

static inline void heap_set(struct rota__timers *ts, size_t i, const struct rota__timer_key *key) {
    ts->heap[i] = *key;
    key->timer->place_.index = i;
}

/* Fills the hole at i with key, or with an ancestor, and so on upwards. */
static void sift_up(struct rota__timers *ts, size_t i, struct rota__timer_key key) {
    while (i > 0) {
        size_t parent = (i - 1) / HEAP_ARITY;
        if (!key_before(&key, &ts->heap[parent]))
            break;
        heap_set(ts, i, &ts->heap[parent]);
        i = parent;
    }
    heap_set(ts, i, &key);
}

static void sift_down(struct rota__timers *ts, size_t i, struct rota__timer_key key) {
    for (;;) {
        size_t child = i * HEAP_ARITY + 1, end = child + HEAP_ARITY, least = child;
        if (child >= ts->heap_n)
            break;
        if (end > ts->heap_n)
            end = ts->heap_n;
        while (++child < end)
            if (key_before(&ts->heap[child], &ts->heap[least]))
                least = child;
        if (!key_before(&ts->heap[least], &key))
            break;
        heap_set(ts, i, &ts->heap[least]);
        i = least;
    }
    heap_set(ts, i, &key);
}

static void heap_remove(struct rota__timers *ts, size_t i) {
    struct rota__timer_key last = ts->heap[--ts->heap_n];

    if (i == ts->heap_n)
        return;
    if (i > 0 && key_before(&last, &ts->heap[(i - 1) / HEAP_ARITY]))
        sift_up(ts, i, last);
    else
        sift_down(ts, i, last);
}

static bool heap_grow(struct rota__timers *ts) {
    size_t room = ts->heap_room * 2, size = sizeof *ts->heap;
    struct rota__timer_key *heap = NULL;

    if (ts->starved)
        return false;
    if (room <= SIZE_MAX / size) {
        bool embedded = ts->heap == ts->embedded;
        heap = rota__realloc(ts->allocator, embedded ? NULL : ts->heap, embedded ? 0 : ts->heap_room * size,
                             room * size);
        if (heap && embedded)
            memcpy(heap, ts->embedded, sizeof ts->embedded);
    }
    if (!heap) {
        ts->starved = true;
        return false;
    }
    ts->heap = heap;
    ts->heap_room = room;
    return true;
}

static bool heap_add(struct rota__timers *ts, rota_timer *timer) {
    if (ts->heap_n == ts->heap_room && !heap_grow(ts))
        return false;
    timer->order_ = (timer->order_ & ~(uint64_t)ROTA__TIMER_STATE) | ROTA__TIMER_HEAPED;
    sift_up(ts, ts->heap_n++, (struct rota__timer_key){timer->deadline_, timer->order_, timer});
    return true;
}

void rota__timers_disarm_heaped(struct rota__timers *ts, rota_timer *timer) {
    heap_remove(ts, timer->place_.index);
    timer->order_ = ROTA__TIMER_IDLE;
    ts->count--;
}

void rota__timers_arm_heaped(struct rota__timers *ts, rota_timer *timer, int64_t when) {
    rota__timers_disarm_heaped(ts, timer);
    rota__timers_arm(ts, timer, when);
}

/* ---- between the lists and the heap ------------------------------------------------------------- */

static inline rota_timer *take_list(rota_timer **list) {
    rota_timer *first = *list;
    *list = NULL;
    return first;
}

/* Puts a timer that is nowhere where its deadline belongs: into the wheel; into the heap when its tick has
 * come and it was armed before limit, so that it may fire; otherwise it waits in incoming for a later step. */
static void place(struct rota__timers *ts, rota_timer *timer, uint64_t limit) {
    uint64_t order = timer->order_ & ~(uint64_t)ROTA__TIMER_STATE;
    bool now = rota__timers_tick(timer->deadline_) <= ts->tick;

    if (now && order < limit && heap_add(ts, timer))
        return;
    timer->order_ = order | ROTA__TIMER_LISTED;
    if (now && order < limit) {
        rota__timers_push(&ts->spill, timer);
        return;
    }
    if (now && order < ts->settled)
        ts->settled = order;
    rota__timers_link(ts, timer);
}

static void place_list(struct rota__timers *ts, rota_timer *list, uint64_t limit) {
    while (list) {
        rota_timer *timer = list;
        list = timer->next_;
        place(ts, timer, limit);
    }
}

/* Moves what may fire in this step from incoming, and from spill if there may be room again, to the heap.
 * Timers that callbacks start meanwhile have orders from limit upwards: they are not even looked at until the
 * next step, or ten thousand callbacks that restart their timers would take the square of that. */
static void settle(struct rota__timers *ts, uint64_t limit) {
    if (ts->settled < limit) {
        ts->settled = limit;
        ts->starved = false;
        place_list(ts, take_list(&ts->incoming), limit);
    }
    if (ts->spill && !ts->starved)
        place_list(ts, take_list(&ts->spill), limit);
}

/* The first timer of heap and spill; what turns out to belong elsewhere is put there. */
static rota_timer *first_settled(struct rota__timers *ts, uint64_t limit) {
    rota_timer *first = NULL, *next;

    while (ts->heap_n > 0) {
        struct rota__timer_key key = ts->heap[0];
        if (key.timer->order_ == key.order && key.order < limit) {
            first = key.timer;
            break;
        }
        heap_remove(ts, 0);
        place(ts, key.timer, limit);
    }
    for (rota_timer *timer = ts->spill; timer; timer = next) {
        next = timer->next_;
        if (rota__timers_tick(timer->deadline_) > ts->tick || timer->order_ >= limit) {
            rota__timers_unlink(timer);
            place(ts, timer, limit);
        } else if (!first || before(timer->deadline_, timer->order_, first->deadline_, first->order_)) {
            first = timer;
        }
    }
    return first;
}

/* ---- the wheel ---------------------------------------------------------------------------------- */

struct slot {
    unsigned level, index;
    int64_t start;  /* its first tick */
};

/* The first slot that is marked as occupied. */
static bool first_slot(const struct rota__timers *ts, struct slot *slot) {
    for (unsigned level = 0; level < ROTA__WHEEL_LEVELS; level++) {
        if (ts->occupied[level]) {
            unsigned shift = level * ROTA__WHEEL_BITS;
            int64_t above = ts->tick >> shift >> ROTA__WHEEL_BITS;
            slot->level = level;
            slot->index = (unsigned)__builtin_ctzll(ts->occupied[level]);
            slot->start = (above << ROTA__WHEEL_BITS | slot->index) << shift;
            return true;
        }
    }
    return false;
}

static inline void mark_empty(struct rota__timers *ts, const struct slot *slot) {
    ts->occupied[slot->level] &= ~(UINT64_C(1) << slot->index);
}

/* The last tick of the slot, or target if that is before it. */
static int64_t last_tick(const struct slot *slot, int64_t target) {
    int64_t last = slot->start | ((INT64_C(1) << slot->level * ROTA__WHEEL_BITS) - 1);
    return last < target ? last : target;
}

static int64_t between(int64_t least, int64_t x, int64_t most) { return x < least ? least : x > most ? most : x; }

/* Lets the wheel run on: to the first slot if it starts at or before target, whose timers are placed anew, and
 * true; else to target, and false. Slot by slot, so that the heap stays as small as one tick's timers; empty
 * slots are never visited, so a jump of years costs no more than what lay in between. */
static bool advance(struct rota__timers *ts, int64_t target, uint64_t limit) {
    struct slot slot;

    if (first_slot(ts, &slot) && slot.start <= target) {
        rota_timer *list = take_list(&ts->slots[slot.level][slot.index]);
        ts->tick = slot.start;
        if (list && !list->next_ && slot.level > 0) /* nothing comes before the only one: straight there */
            ts->tick = between(slot.start, rota__timers_tick(list->deadline_), last_tick(&slot, target));
        mark_empty(ts, &slot);
        place_list(ts, list, limit);
        return true;
    }
    if (ts->tick < target)
        ts->tick = target;
    return false;
}

/* The first deadline in the wheel, correcting the places of timers that were moved; but at most `budget` timers
 * are looked at, after which the start of the slot has to do. */
static int64_t first_in_wheel(struct rota__timers *ts, size_t budget) {
    struct slot slot;

    while (first_slot(ts, &slot)) {
        unsigned shift = slot.level * ROTA__WHEEL_BITS;
        rota_timer **list = &ts->slots[slot.level][slot.index], *timer = *list, *next;
        int64_t first = ROTA_FOREVER;

        for (; timer && budget > 0; timer = next, budget--) {
            next = timer->next_;
            if (rota__timers_tick(timer->deadline_) >> shift != slot.start >> shift) {
                rota__timers_unlink(timer);
                rota__timers_link(ts, timer);
            } else if (timer->deadline_ < first) {
                first = timer->deadline_;
            }
        }
        if (timer)
            return slot.start << ROTA__TICK_SHIFT;
        if (*list)
            return first;
        mark_empty(ts, &slot);
    }
    return ROTA_FOREVER;
}

/* ---- pop and next ------------------------------------------------------------------------------- */

/* What wake becomes when a step is over; first: of heap and spill, which are before the whole wheel. */
static int64_t next_wake(struct rota__timers *ts, const rota_timer *first) {
    int64_t wake = first ? first->deadline_ : first_in_wheel(ts, SCAN_LIMIT);

    for (const rota_timer *timer = ts->incoming; timer; timer = timer->next_)
        if (timer->deadline_ < wake)
            wake = timer->deadline_;
    return wake;
}

rota_timer *rota__timers_pop(struct rota__timers *ts, int64_t now, uint64_t limit) {
    rota_timer *first;
    int64_t target;

    if (now == ROTA_FOREVER)
        now--;  /* a deadline of ROTA_FOREVER never comes, not even at the end of time */
    target = rota__timers_tick(now);
    if (limit > ts->sequence)
        limit = ts->sequence;
    if (now < ts->wake) {
        /* Nothing is due, but the wheel keeps up: what is started later is sorted relative to its place. */
        while (target > ts->tick)
            (void)advance(ts, target, limit);
        return NULL;
    }
    do {
        settle(ts, limit);
        first = first_settled(ts, limit);
    } while (!first && advance(ts, target, limit));

    if (first && first->deadline_ <= now) {
        rota__timers_disarm(ts, first);
        return first;
    }
    ts->starved = false;
    ts->wake = ts->next_is_asked && !first && !ts->incoming ? now + 1 : next_wake(ts, first);
    return NULL;
}

int64_t rota__timers_next(struct rota__timers *ts) {
    const rota_timer *first;

    settle(ts, ts->sequence);
    first = first_settled(ts, ts->sequence);
    ts->starved = false;
    ts->wake = first ? first->deadline_ : first_in_wheel(ts, SIZE_MAX);
    return ts->wake;
}

/* ---- the rest ----------------------------------------------------------------------------------- */

static void clear_list(rota_timer **list) {
    for (rota_timer *timer = take_list(list); timer; timer = timer->next_)
        timer->order_ = ROTA__TIMER_IDLE;
}

void rota__timers_clear(struct rota__timers *ts) {
    for (unsigned level = 0; level < ROTA__WHEEL_LEVELS; level++) {
        for (unsigned i = 0; i < ROTA__WHEEL_SLOTS; i++)
            clear_list(&ts->slots[level][i]);
        ts->occupied[level] = 0;
    }
    clear_list(&ts->incoming);
    clear_list(&ts->spill);
    for (size_t i = 0; i < ts->heap_n; i++)
        ts->heap[i].timer->order_ = ROTA__TIMER_IDLE;
    ts->heap_n = 0;
    ts->count = 0;
    ts->wake = ROTA_FOREVER;
}

/* One list: links, states, and that neither the time up to which it should have been looked at (from) nor wake
 * is after a deadline. Adds its length to *count. */
static const char *check_list(const struct rota__timers *ts, rota_timer *const *list, int64_t from,
                              uint64_t order, size_t *count) {
    for (const rota_timer *timer = *list; timer; list = &timer->next_, timer = *list) {
        if (timer->place_.prev != list)
            return "a timer in a list does not point back";
        if ((timer->order_ & ROTA__TIMER_STATE) != ROTA__TIMER_LISTED)
            return "a timer in a list does not say so";
        if (timer->order_ < order || timer->order_ >= ts->sequence)
            return "a timer in a list has an order that it cannot have there";
        if (rota__timers_tick(timer->deadline_) < from)
            return "a timer is in a slot after its deadline";
        if (timer->deadline_ < ts->wake)
            return "wake is after a deadline";
        if (++*count > ts->count)
            return "more timers than counted";
    }
    return NULL;
}

static const char *check_heap(const struct rota__timers *ts) {
    if (ts->heap_n > ts->heap_room)
        return "the heap is fuller than full";
    for (size_t i = 0; i < ts->heap_n; i++) {
        const struct rota__timer_key *key = &ts->heap[i];
        const rota_timer *timer = key->timer;
        if (timer->place_.index != i || (timer->order_ & ROTA__TIMER_STATE) != ROTA__TIMER_HEAPED)
            return "a timer in the heap does not point back";
        if (i > 0 && key_before(key, &ts->heap[(i - 1) / HEAP_ARITY]))
            return "the heap is out of order";
        if (rota__timers_tick(key->deadline) > ts->tick)
            return "a timer is in the heap too early";
        if (key->order != timer->order_ && !before(key->deadline, key->order, timer->deadline_, timer->order_))
            return "a timer's place in the heap is after its deadline";
        if (timer->deadline_ < ts->wake)
            return "wake is after a deadline";
    }
    return NULL;
}

static const char *check_wheel(const struct rota__timers *ts, size_t *count) {
    const char *wrong = NULL;

    for (unsigned level = 0; level < ROTA__WHEEL_LEVELS && !wrong; level++) {
        unsigned shift = level * ROTA__WHEEL_BITS;
        int64_t above = ts->tick >> shift >> ROTA__WHEEL_BITS << ROTA__WHEEL_BITS;
        for (unsigned i = 0; i < ROTA__WHEEL_SLOTS && !wrong; i++) {
            bool marked = ts->occupied[level] >> i & 1;
            int64_t start = (above | i) << shift;
            if (ts->slots[level][i] && !marked)
                return "a slot with timers is not marked";
            if (marked && start <= ts->tick)
                return "the wheel has passed a slot";
            wrong = check_list(ts, &ts->slots[level][i], start, 0, count);
        }
    }
    return wrong;
}

const char *rota__timers_check(const struct rota__timers *ts) {
    size_t count = ts->heap_n;
    const char *wrong = check_heap(ts);

    if (!wrong)
        wrong = check_wheel(ts, &count);
    if (!wrong)
        wrong = check_list(ts, &ts->incoming, INT64_MIN, ts->settled, &count);
    if (!wrong)
        wrong = check_list(ts, &ts->spill, INT64_MIN, 0, &count);
    if (!wrong && count != ts->count)
        wrong = "fewer timers than counted";
    return wrong;
}
