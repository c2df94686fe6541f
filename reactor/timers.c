/* The started timers of a loop: a wheel that sorts roughly and costs next to nothing, in front of a list and a heap
 * that sort exactly and see only the timers whose time has nearly come.
 *
 * Offers rota__timers_init, _free, _clear, _pop, _next, _check; arm and disarm are inline, in timers.h.
 *
 * Invariants (rota__timers_check walks them):
 *  - A timer in slot s of level l has, at level l, a digit greater than that of `tick`, and the digits above
 *    are equal to tick's. So all of level l comes before all of level l + 1, and the first slot is the lowest
 *    bit of the lowest level that is not empty.
 *  - The place of a timer is right for its deadline or for an earlier one (arming moves it later by two stores), except
 *    in the sorted list `run`.
 *  - Timers at or before `tick` are in `incoming`, in `run`, in the heap, or, when that cannot grow, in `spill`. In run
 *    there may be later ones, so its first is the first of all only once no slot begins before it.
 *  - No deadline is before `wake`.
 *
 * It must not know what time it is, who waits, or what a timer is for.
 *
 * Why a sorted list beside the heap: a slot's timers that are few are put in order in one go, straight from a distant
 * slot, not level by level; need no memory; and leave by a load, where a heap sifts. But nothing can be sorted into it
 * later at a price that is bounded: that is what the heap is for, and for many.
 *
 * Rejected: one heap for everything (at 1,000,000 timers a start or a stop is 20 cache misses, and servers
 * stop nearly every timer they start); a wheel alone (a slot is as exact as it gets, unless it is as fine as a
 * nanosecond); letting the wheel run ahead to the first slot while idle, which would make the exact next
 * deadline cheap, but sends every timer that is then started for an earlier time through the heap (a clock that
 * jumps to that deadline at once may: see rota__timers_next).
 *
 * Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 6.2 and its hierarchy.
 */
#include "reactor/timers.h"

#include <string.h>

#include "reactor/size.h"

enum {
    HEAP_ARITY = 4,   /* shallower than 2, and the four children of a node are neighbours in memory */
    PLAIN_SORT = 8,   /* as few are sorted by insertion alone, */
    BUCKETS = 64,     /* more are first spread over so many */
    SCAN_LIMIT = 16   /* timers looked at for an exact wake-up time, at most, once a step */
};

/* The ticks that the levels below the topmost tell apart: 146 years. */
#define LOWER_LEVELS ((INT64_C(1) << (ROTA__WHEEL_LEVELS - 1) * ROTA__WHEEL_BITS) - 1)

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

void rota__timers_move(struct rota__timers *ts, rota_timer *timer, int64_t when) {
    unsigned state = (unsigned)timer->order_ & ROTA__TIMER_STATE;

    if (when >= timer->deadline_ && state == ROTA__TIMER_HEAPED) {
        timer->deadline_ = when;
        timer->order_ = ts->sequence | state;
        ts->sequence += ROTA__TIMER_STEP;
    } else {
        rota__timers_disarm(ts, timer);
        rota__timers_arm(ts, timer, when);
    }
}

/* ---- the sorted list ---------------------------------------------------------------------------- */

/* What is to become the list; more than 2 KiB of the stack. */
struct batch {
    unsigned n;
    int64_t least, most;          /* deadlines */
    struct entry {
        int64_t deadline;
        rota_timer *timer;
    } entries[ROTA__RUN_MOST];
};

static inline bool entry_before(const struct entry *a, const struct entry *b) {
    return before(a->deadline, a->timer->order_, b->deadline, b->timer->order_);
}

/* Roughly: sorted holds the numbers of the entries, the earlier ones first as far as the highest bits go in which they
 * differ. */
static void spread(const struct batch *batch, uint8_t *sorted) {
    uint64_t span = (uint64_t)batch->most - (uint64_t)batch->least;
    unsigned bits = span ? 64u - (unsigned)__builtin_clzll((unsigned long long)span) : 0;
    unsigned shift = bits > ROTA__WHEEL_BITS ? bits - ROTA__WHEEL_BITS : 0, sum = 0;
    uint8_t bucket[ROTA__RUN_MOST], place[BUCKETS] = { 0 };

    for (unsigned i = 0; i < batch->n; i++) {
        bucket[i] = (uint8_t)(((uint64_t)batch->entries[i].deadline - (uint64_t)batch->least) >> shift);
        place[bucket[i]]++;
    }
    for (unsigned i = 0; i < BUCKETS; i++) {
        unsigned n = place[i];
        place[i] = (uint8_t)sum;
        sum += n;
    }
    for (unsigned i = 0; i < batch->n; i++)
        sorted[place[bucket[i]]++] = (uint8_t)i;
}

/* Puts it in front of the list, sorted: it comes before all that is there. */
static void sort_batch(struct rota__timers *ts, const struct batch *batch) {
    const struct entry *entries = batch->entries;
    rota_timer *rest = ts->run, **end = &ts->run;
    uint8_t sorted[ROTA__RUN_MOST];

    if (batch->n > PLAIN_SORT)
        spread(batch, sorted);
    for (unsigned i = 0; i < batch->n; i++) {
        uint8_t entry = batch->n > PLAIN_SORT ? sorted[i] : (uint8_t)i;
        unsigned to = i;
        for (; to > 0 && entry_before(&entries[entry], &entries[sorted[to - 1]]); to--)
            sorted[to] = sorted[to - 1];
        sorted[to] = entry;
    }
    for (unsigned i = 0; i < batch->n; i++) {
        rota_timer *timer = entries[sorted[i]].timer;
        timer->order_ |= ROTA__TIMER_SORTED;
        timer->place_.prev = end;
        __builtin_prefetch(&timer->fn); /* not looked at so far, and about to be called */
        *end = timer;
        end = &timer->next_;
    }
    *end = rest;
    if (rest)
        rest->place_.prev = end;
}

static inline void batch_add(struct batch *batch, rota_timer *timer) {
    int64_t deadline = timer->deadline_;

    batch->entries[batch->n++] = (struct entry){ deadline, timer };
    batch->least = deadline < batch->least ? deadline : batch->least;
    batch->most = deadline > batch->most ? deadline : batch->most;
}

/* The first of the sorted list. Compiled for size there is none: the heap sorts all. */
static inline rota_timer *first_sorted(const struct rota__timers *ts) { return ROTA__FOR_SIZE ? NULL : ts->run; }

/* ---- between the lists and the heap ------------------------------------------------------------- */

static inline rota_timer *take_list(rota_timer **list) {
    rota_timer *first = *list;
    *list = NULL;
    return first;
}

/* Puts a timer that is nowhere where its deadline belongs: into the wheel; into the heap when its tick has
 * come and it was armed before limit, so that it may fire; otherwise it waits in incoming for a later step. */
static inline void place(struct rota__timers *ts, rota_timer *timer, uint64_t limit) {
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

/* Of two lists, the first timer of one and of the other in turn. NULL: there are no more. */
static inline rota_timer *take_next(rota_timer **list, rota_timer **other) {
    rota_timer *timer = *list;

    if (__builtin_expect(!timer, 0)) {
        timer = *other;
        *other = NULL;
        if (!timer)
            return NULL;
    }
    *list = *other;
    *other = timer->next_;
    return timer;
}

static void place_lists(struct rota__timers *ts, rota_timer *list, rota_timer *other, uint64_t limit) {
    rota_timer *timer;

    while ((timer = take_next(&list, &other)))
        place(ts, timer, limit);
}

/* Places all of two lists; sorted, if those that come up to the tick `last` and were armed before limit are few, and
 * whatever is sorted already comes after that tick. */
static void sort_lists(struct rota__timers *ts, rota_timer *list, rota_timer *other, uint64_t limit, int64_t last) {
    rota_timer *timer;
    struct batch batch;

    if (ROTA__FOR_SIZE || (ts->run && rota__timers_tick(ts->run->deadline_) <= last)) { /* else the heap sorts */
        place_lists(ts, list, other, limit);
        return;
    }
    batch.n = 0;
    batch.least = ROTA_FOREVER;
    batch.most = INT64_MIN;
    while (batch.n < ROTA__RUN_MOST && (timer = take_next(&list, &other))) {
        timer->order_ &= ~(uint64_t)ROTA__TIMER_STATE;
        if (__builtin_expect(rota__timers_tick(timer->deadline_) <= last && timer->order_ < limit, 1))
            batch_add(&batch, timer);
        else
            place(ts, timer, limit);
    }
    if (!list && !other) {
        sort_batch(ts, &batch);
        return;
    }
    for (unsigned i = 0; i < batch.n; i++)
        place(ts, batch.entries[i].timer, limit);
    place_lists(ts, list, other, limit);
}

/* Moves what may fire in this step from incoming, and from spill if there may be room again, to where it is sorted.
 * Timers that callbacks start meanwhile have orders from limit upwards: they are not even looked at until the
 * next step, or ten thousand callbacks that restart their timers would take the square of that. */
static inline void settle(struct rota__timers *ts, uint64_t limit) {
    if (ts->settled < limit) {
        ts->settled = limit;
        ts->starved = false;
        if (ts->incoming)
            sort_lists(ts, take_list(&ts->incoming), NULL, limit, ts->tick);
    }
    if (__builtin_expect(ts->spill && !ts->starved, 0))
        place_lists(ts, take_list(&ts->spill), NULL, limit);
}

/* first, or what comes before it in spill; what turns out to belong elsewhere is put there. */
static rota_timer *first_of_spill(struct rota__timers *ts, uint64_t limit, rota_timer *first) {
    rota_timer *next;

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

/* The same of the heap. */
static rota_timer *first_of_heap(struct rota__timers *ts, uint64_t limit, rota_timer *first) {
    while (ts->heap_n > 0) {
        struct rota__timer_key key = ts->heap[0];
        if (key.timer->order_ == key.order && key.order < limit)
            return first && before(first->deadline_, first->order_, key.deadline, key.order) ? first : key.timer;
        heap_remove(ts, 0);
        place(ts, key.timer, limit);
    }
    return first;
}

/* The first timer of all but incoming and the wheel; what turns out to belong elsewhere is put there. */
static inline rota_timer *first_settled(struct rota__timers *ts, uint64_t limit) {
    rota_timer *first;

    while (__builtin_expect((first = first_sorted(ts)) && first->order_ >= limit, 0)) {
        rota__timers_unlink(first);
        place(ts, first, limit);
    }
    if (__builtin_expect(ts->heap_n > 0, 0))
        first = first_of_heap(ts, limit, first);
    return __builtin_expect(!ts->spill, 1) ? first : first_of_spill(ts, limit, first);
}

/* ---- the wheel ---------------------------------------------------------------------------------- */

struct slot {
    unsigned level, index;
    int64_t start;  /* its first tick */
};

/* The first slot that is marked as occupied. */
static inline bool first_slot(const struct rota__timers *ts, struct slot *slot) {
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

static inline bool is_slot_until(const struct rota__timers *ts, int64_t tick) {
    struct slot slot;
    return first_slot(ts, &slot) && slot.start <= tick;
}

static inline void mark_empty(struct rota__timers *ts, const struct slot *slot) {
    ts->occupied[slot->level] &= ~(UINT64_C(1) << slot->index);
}

static inline int64_t last_tick(const struct slot *slot) {
    return slot->start | ((INT64_C(1) << slot->level * ROTA__WHEEL_BITS) - 1);
}

/* Lets the wheel run on to the first slot if that starts at or before target: its timers are placed anew. Slot by
 * slot, so that the heap stays as small as one tick's timers; empty slots are never visited, so a jump of years
 * costs no more than what lay in between. False: there is none, and the wheel may run on to target. */
static bool open_slot(struct rota__timers *ts, int64_t target, uint64_t limit) {
    struct slot slot;

    if (!first_slot(ts, &slot) || slot.start > target)
        return false;
    rota_timer **lists = ts->slots[slot.level][slot.index];
    ts->tick = slot.start;
    mark_empty(ts, &slot);
    sort_lists(ts, take_list(&lists[0]), take_list(&lists[1]), limit, last_tick(&slot));
    return true;
}

static void run_to(struct rota__timers *ts, int64_t target, uint64_t limit) {
    while (target > ts->tick)
        if (!open_slot(ts, target, limit))
            ts->tick = target;
}

/* The first deadline in the slot, ROTA_FOREVER if there is none; timers that were moved are put where they belong. At
 * most *budget timers are looked at, after which the start of the slot has to do. */
static int64_t first_in_slot(struct rota__timers *ts, const struct slot *slot, size_t *budget) {
    unsigned shift = slot->level * ROTA__WHEEL_BITS;
    int64_t first = ROTA_FOREVER;

    for (unsigned i = 0; i < ROTA__SLOT_LISTS; i++) {
        rota_timer *timer = ts->slots[slot->level][slot->index][i], *next;
        for (; timer && *budget > 0; timer = next, --*budget) {
            next = timer->next_;
            if (rota__timers_tick(timer->deadline_) >> shift != slot->start >> shift) {
                rota__timers_unlink(timer);
                rota__timers_link(ts, timer);
            } else if (timer->deadline_ < first) {
                first = timer->deadline_;
            }
        }
        if (timer)
            return slot->start << ROTA__TICK_SHIFT;
    }
    return first;
}

/* The first deadline in the wheel; see there. */
static int64_t first_in_wheel(struct rota__timers *ts, size_t budget) {
    struct slot slot;

    while (first_slot(ts, &slot)) {
        int64_t first = first_in_slot(ts, &slot, &budget);
        rota_timer *const *lists = ts->slots[slot.level][slot.index];
        if (lists[0] || lists[1])
            return first;
        mark_empty(ts, &slot);
    }
    return ROTA_FOREVER;
}

/* ---- pop and next ------------------------------------------------------------------------------- */

/* The first timer of all if its tick is at or before target; otherwise NULL or a timer after it. The wheel stands
 * at that timer then, if it comes so far. */
static inline rota_timer *find_first(struct rota__timers *ts, int64_t target, uint64_t limit) {
    for (;;) {
        settle(ts, limit);
        rota_timer *first = first_settled(ts, limit);
        bool comes = first && rota__timers_tick(first->deadline_) <= target;
        int64_t horizon = comes ? rota__timers_tick(first->deadline_) : target;
        if (__builtin_expect(horizon <= ts->tick, 1))
            return first;
        if (open_slot(ts, horizon, limit))
            continue;
        if (comes)
            ts->tick = horizon;
        return first;
    }
}

/* The first deadline of list, heap and spill, whose first timer is given, and of the wheel. */
static int64_t first_deadline(struct rota__timers *ts, const rota_timer *first, size_t budget) {
    if (first && rota__timers_tick(first->deadline_) <= ts->tick)
        return first->deadline_;
    int64_t in_wheel = first_in_wheel(ts, budget);
    return first && first->deadline_ < in_wheel ? first->deadline_ : in_wheel;
}

/* What wake becomes when a step is over. */
static int64_t next_wake(struct rota__timers *ts, const rota_timer *first) {
    int64_t wake = first_deadline(ts, first, SCAN_LIMIT);

    for (const rota_timer *timer = ts->incoming; timer; timer = timer->next_)
        if (timer->deadline_ < wake)
            wake = timer->deadline_;
    return wake;
}

/* Is a bound that costs no look at the wheel good enough for wake, as the next deadline will be asked for? */
static inline bool may_be_rough(const struct rota__timers *ts) {
    return !ROTA__FOR_SIZE && ts->next_is_asked && !ts->incoming && !ts->spill;
}

static inline int64_t rough_wake(const struct rota__timers *ts) {
    int64_t wake = (int64_t)((((uint64_t)ts->tick + 1) << ROTA__TICK_SHIFT) - 1); /* the tick's last moment */

    wake += wake != ROTA_FOREVER;
    if (ts->run && ts->run->deadline_ < wake)
        wake = ts->run->deadline_;
    if (ts->heap_n > 0 && ts->heap[0].deadline < wake)
        wake = ts->heap[0].deadline;
    return wake;
}

/* `timer` is about to fire. */
static inline rota_timer *take_due(struct rota__timers *ts, rota_timer *timer) {
    rota__timers_disarm(ts, timer);
    if (may_be_rough(ts))
        ts->wake = rough_wake(ts);
    return timer;
}

/* Nothing but the sorted list and the wheel could have a timer to fire that was armed before limit. */
static inline bool all_sorted(const struct rota__timers *ts, uint64_t limit) {
    const rota_timer *first = first_sorted(ts);
    return first && first->order_ < limit && ts->settled >= limit && ts->heap_n == 0 && !ts->spill;
}

static __attribute__((noinline)) rota_timer *pop_any(struct rota__timers *ts, int64_t now, uint64_t limit) {
    if (now == ROTA_FOREVER)
        now--;  /* a deadline of ROTA_FOREVER never comes, not even at the end of time */
    int64_t target = rota__timers_tick(now);
    if (limit > ts->sequence)
        limit = ts->sequence;
    if (now < ts->wake) {
        run_to(ts, target, limit); /* what is started later is sorted relative to its place */
        return NULL;
    }
    rota_timer *first = find_first(ts, target, limit);
    if (first && first->deadline_ <= now)
        return take_due(ts, first);
    if (ts->tick < target)
        ts->tick = target;
    ts->starved = false;
    ts->wake = may_be_rough(ts) ? rough_wake(ts) : next_wake(ts, first);
    return NULL;
}

rota_timer *rota__timers_pop(struct rota__timers *ts, int64_t now, uint64_t limit) {
    if (all_sorted(ts, limit) && ts->run->deadline_ <= now && rota__timers_tick(ts->run->deadline_) <= ts->tick &&
        now != ROTA_FOREVER)
        return take_due(ts, ts->run);
    return pop_any(ts, now, limit);
}

static __attribute__((noinline)) int64_t next_of_any(struct rota__timers *ts, int64_t target) {
    const rota_timer *first = find_first(ts, target, ts->sequence);

    ts->starved = false;
    return ts->wake = first_deadline(ts, first, SIZE_MAX);
}

int64_t rota__timers_next(struct rota__timers *ts, int64_t until) {
    int64_t target = rota__timers_tick(until), most = ts->tick | LOWER_LEVELS;
    target = target < most ? target : most;
    if (all_sorted(ts, ts->sequence)) {
        int64_t tick = rota__timers_tick(ts->run->deadline_);
        if (tick <= ts->tick || (tick <= target && !is_slot_until(ts, tick))) {
            ts->tick = tick > ts->tick ? tick : ts->tick;
            return ts->wake = ts->run->deadline_;
        }
    }
    return next_of_any(ts, target);
}

/* ---- the rest ----------------------------------------------------------------------------------- */

static void clear_list(rota_timer **list) {
    for (rota_timer *timer = take_list(list); timer; timer = timer->next_)
        timer->order_ = ROTA__TIMER_IDLE;
}

void rota__timers_clear(struct rota__timers *ts) {
    for (unsigned level = 0; level < ROTA__WHEEL_LEVELS; level++) {
        for (unsigned i = 0; i < ROTA__WHEEL_SLOTS; i++) {
            clear_list(&ts->slots[level][i][0]);
            clear_list(&ts->slots[level][i][1]);
        }
        ts->occupied[level] = 0;
    }
    clear_list(&ts->incoming);
    clear_list(&ts->run);
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
    unsigned state = list == &ts->run ? ROTA__TIMER_SORTED : ROTA__TIMER_LISTED;
    for (const rota_timer *timer = *list; timer; list = &timer->next_, timer = *list) {
        if (timer->place_.prev != list)
            return "a timer in a list does not point back";
        if ((timer->order_ & ROTA__TIMER_STATE) != state)
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
            if ((ts->slots[level][i][0] || ts->slots[level][i][1]) && !marked)
                return "a slot with timers is not marked";
            if (marked && start <= ts->tick)
                return "the wheel has passed a slot";
            for (unsigned list = 0; list < ROTA__SLOT_LISTS && !wrong; list++)
                wrong = check_list(ts, &ts->slots[level][i][list], start, 0, count);
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
        wrong = check_list(ts, &ts->run, INT64_MIN, 0, &count);
    for (const rota_timer *timer = ts->run; timer && timer->next_ && !wrong; timer = timer->next_)
        if (!before(timer->deadline_, timer->order_, timer->next_->deadline_, timer->next_->order_))
            wrong = "the sorted list is not sorted";
    if (!wrong)
        wrong = check_list(ts, &ts->spill, INT64_MIN, 0, &count);
    if (!wrong && count != ts->count)
        wrong = "fewer timers than counted";
    return wrong;
}
