/* The timers' set by itself: times are numbers that the tests choose. */
#include "reactor/size.h"
#include "reactor/timers.h"
#include "tests/harness.h"

#include <stdlib.h>

#define TICK (INT64_C(1) << ROTA__TICK_SHIFT)
#define DAY (86400 * ROTA_S)

static struct rota__timers ts;
static int64_t now;

/* An allocator that can be out of memory, and that knows what was not given back. */
static bool no_memory;
static size_t blocks, calls;

static void *test_alloc(void *ctx, void *old, size_t old_n, size_t n) {
    (void)ctx, (void)old_n;
    calls++;
    if (n == 0) {
        free(old);
        blocks--;
        return NULL;
    }
    if (no_memory)
        return NULL;
    if (!old)
        blocks++;
    return realloc(old, n);
}

static const rota_allocator allocator = { .alloc = test_alloc };

static void begin(void) {
    now = 5 * DAY + 12345;
    rota__timers_init(&ts, &allocator, now);
}

#define sound() \
    do { \
        const char *wrong_ = rota__timers_check(&ts); \
        cr_assert(!wrong_, "%s", wrong_); \
    } while (0)

#define end() \
    do { \
        sound(); \
        cr_assert_eq(rota__timers_count(&ts), 0); \
        rota__timers_free(&ts); \
        cr_assert_eq(blocks, 0); \
    } while (0)

static rota_timer *pop(void) {
    return rota__timers_pop(&ts, now, rota__timers_order(&ts));
}

/* n timers whose arg is their number. */
static rota_timer *some_timers(size_t n) {
    rota_timer *timers = calloc(n, sizeof *timers);
    cr_assert_not_null(timers);
    for (size_t i = 0; i < n; i++)
        timers[i].arg = (void *)i;
    return timers;
}

#define expect_pop(timer) cr_assert_eq((const void *)pop(), (const void *)(timer))

static uint64_t random_state = 1;

static uint64_t random_number(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* ---- order -------------------------------------------------------------------------------------- */

Test(timers, nothing, .init = begin) {
    expect_pop(NULL);
    cr_assert_eq(rota__timers_next(&ts, now), ROTA_FOREVER);
    cr_assert_eq(rota__timers_wake(&ts), ROTA_FOREVER);
    now += 1000 * DAY;
    expect_pop(NULL);
    end();
}

Test(timers, size) {
    cr_assert_leq(sizeof(rota_timer), 56);
    cr_assert_leq(sizeof ts, 11 * 1024);
}

Test(timers, by_deadline, .init = begin) {
    static const int64_t in[] = { 3 * ROTA_S, 1, 40 * DAY, 2 * ROTA_MS, 500, 3 * ROTA_S - 1, 70 * ROTA_S, 0, 4000 * DAY };
    static const size_t order[] = { 7, 1, 4, 3, 5, 0, 6, 2, 8 };
    enum { N = sizeof in / sizeof *in };
    rota_timer timers[N] = { 0 };

    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], now + in[i]);
    cr_assert_eq(rota__timers_count(&ts), N);
    sound();
    now += 5000 * DAY;
    for (size_t i = 0; i < N; i++)
        expect_pop(&timers[order[i]]);
    expect_pop(NULL);
    end();
}

Test(timers, never_early, .init = begin) {
    static const int64_t in[] = { 1, 2, TICK - 1, TICK, TICK + 1, 64 * TICK - 1, 64 * TICK, 64 * TICK + 1,
                                  4096 * TICK, 4097 * TICK + 3, 262144 * TICK, 100 * DAY, 40000 * DAY };
    rota_timer timer = { 0 };

    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        int64_t when = now + in[i];
        rota__timers_arm(&ts, &timer, when);
        now += in[i] / 2;
        expect_pop(NULL);
        now = when - 1;
        expect_pop(NULL);
        cr_assert_eq(rota__timers_wake(&ts), when);
        cr_assert(rota_timer_active(&timer));
        now = when;
        expect_pop(&timer);
        cr_assert(!rota_timer_active(&timer));
        expect_pop(NULL);
        sound();
    }
    end();
}

/* The only timer of a distant slot is sorted at once; one that is armed later for an earlier time still comes first. */
Test(timers, only_one_of_its_slot, .init = begin) {
    rota_timer far = { 0 }, near = { 0 };
    int64_t when = now + 5000 * TICK;
    rota__timers_arm(&ts, &far, when);
    for (; now < when - 2 * TICK; now += 97 * TICK) {
        expect_pop(NULL);
        sound();
        cr_assert_eq(rota__timers_next(&ts, now), when);
        rota__timers_arm(&ts, &near, now + TICK / 2);
        now += TICK;
        expect_pop(&near);
        sound();
    }
    now = when;
    expect_pop(&far);
    expect_pop(NULL);
    end();
}

/* Where the next deadline is asked for before each wait, wake is a bound only, and still one. */
Test(timers, bound_where_next_is_asked, .init = begin) {
    rota_timer first = { 0 }, second = { 0 };
    ts.next_is_asked = true;
    rota__timers_arm(&ts, &first, now);
    rota__timers_arm(&ts, &second, now + DAY);
    expect_pop(&first);
    rota__timers_arm(&ts, &first, now); /* as its callback would: for the next step */
    expect_pop(&first);
    expect_pop(NULL);
    cr_assert_gt(rota__timers_wake(&ts), now);
    cr_assert_leq(rota__timers_wake(&ts), now + DAY);
    sound();
    cr_assert_eq(rota__timers_next(&ts, now), now + DAY);
    uint64_t limit = rota__timers_order(&ts);
    rota__timers_arm(&ts, &first, now + 1);
    now++;
    cr_assert_null(rota__timers_pop(&ts, now, limit));
    cr_assert_leq(rota__timers_wake(&ts), now); /* it waits for the next step */
    sound();
    expect_pop(&first);
    rota__timers_disarm(&ts, &second);
    end();
}

Test(timers, equal_deadlines_first_armed_first, .init = begin) {
    enum { N = 300 };
    rota_timer *timers = some_timers(N);
    int64_t when = now + 10 * ROTA_S;

    /* The same deadline is reached from the far end of the wheel, from its near end, and from the heap. */
    for (size_t i = 0; i < N; i++) {
        if (i == 100)
            now = when - 40 * ROTA_MS;
        if (i == 200)
            now = when - 10;
        if (i % 100 == 0)
            expect_pop(NULL);
        rota__timers_arm(&ts, &timers[i], when);
    }
    now = when;
    for (size_t i = 0; i < N; i++)
        expect_pop(&timers[i]);
    end();
    free(timers);
}

Test(timers, arming_again_goes_behind_equals, .init = begin) {
    rota_timer a = { 0 }, b = { 0 }, c = { 0 };
    int64_t when = now + ROTA_S;

    rota__timers_arm(&ts, &a, when);
    rota__timers_arm(&ts, &b, when);
    rota__timers_arm(&ts, &c, when);
    rota__timers_arm(&ts, &a, when);
    now = when - 5;
    expect_pop(NULL);  /* they are in the heap now */
    rota__timers_arm(&ts, &b, when);
    sound();
    now = when;
    expect_pop(&c);
    expect_pop(&a);
    expect_pop(&b);
    end();
}

/* ---- the sorted list ---------------------------------------------------------------------------- */

static int by_deadline(const void *a, const void *b) {
    const rota_timer *x = *(rota_timer *const *)a, *y = *(rota_timer *const *)b;
    return x->deadline_ != y->deadline_ ? (x->deadline_ > y->deadline_) - (x->deadline_ < y->deadline_)
                                        : (x->order_ > y->order_) - (x->order_ < y->order_);
}

/* Any number that it holds, and one more; spread over a tick and over the slots of higher levels; many are equal. */
Test(timers, sorted_whatever_the_number, .init = begin) {
    static const int64_t spans[] = { 1, 7, 64, 100, 250, 500, TICK, 60 * TICK, 4000 * TICK, 250000 * TICK };
    enum { N = ROTA__RUN_MOST + 1 };
    rota_timer *timers = some_timers(N), *sorted[N];

    for (size_t span = 0; span < sizeof spans / sizeof *spans; span++)
        for (size_t n = 1; n <= N; n += n > 12 && n < N - 3 ? 5 : 1) {
            int64_t start = now + 2 * DAY;
            for (size_t i = 0; i < n; i++) {
                rota__timers_arm(&ts, &timers[i], start + (int64_t)(random_number() % (uint64_t)spans[span]));
                sorted[i] = &timers[i];
            }
            qsort(sorted, n, sizeof *sorted, by_deadline);
            for (size_t i = 0; i < n; i++) {
                int64_t next = sorted[i]->deadline_;
                cr_assert_eq(rota__timers_next(&ts, i % 2 ? now : ROTA_FOREVER), next);
                now = next;
                expect_pop(sorted[i]);
                if (i % 16 == 0)
                    sound();
            }
        }
    end();
    free(timers);
}

/* A few timers of a distant slot are sorted when the wheel comes to the slot's start: what is armed after that for a
 * time between them still comes between them, and so does what is moved. */
Test(timers, armed_between_sorted_ones, .init = begin, .disabled = ROTA__FOR_SIZE) {
    enum { N = 20 };
    rota_timer timers[N] = { 0 }, between[N] = { 0 };
    int64_t start = (now / (4096 * TICK) + 3) * 4096 * TICK;

    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], start + (int64_t)(i + 1) * 100 * TICK);
    now = start;
    expect_pop(NULL);
    cr_assert_not_null(ts.run);
    for (int i = 0; i < 2; i++) { /* once to settle, once when all is settled */
        cr_assert_eq(rota__timers_next(&ts, now), start + 100 * TICK);
        cr_assert_eq(ts.tick, rota__timers_tick(now), "the wheel stays where it is");
    }
    for (size_t i = 0; i < N; i++) {
        rota__timers_arm(&ts, &between[i], start + (int64_t)(i + 1) * 100 * TICK + (i % 2 ? 50 * TICK : 0));
        sound();
    }
    rota__timers_arm(&ts, &timers[3], start + 500 * TICK); /* behind two others */
    rota__timers_arm(&ts, &timers[7], start + 50 * TICK);
    rota__timers_disarm(&ts, &timers[5]);
    sound();
    for (int i = 0; i < 2; i++)
        cr_assert_eq(rota__timers_next(&ts, i ? ROTA_FOREVER : now), start + 50 * TICK);
    now = start + (N + 1) * 100 * TICK;
    expect_pop(&timers[7]);
    for (size_t i = 0; i < N; i++) {
        if (i != 3 && i != 5 && i != 7)
            expect_pop(&timers[i]);
        expect_pop(&between[i]);
        if (i == 4)
            expect_pop(&timers[3]);
        sound();
    }
    expect_pop(NULL);
    end();
}

/* The wheel has run ahead to a deadline to which the clock does not jump after all. */
Test(timers, armed_before_where_the_wheel_stands, .init = begin) {
    rota_timer far[3] = { 0 }, near[3] = { 0 };
    int64_t begun = now;

    for (int i = 0; i < 3; i++)
        rota__timers_arm(&ts, &far[i], now + 20 * ROTA_S + i * ROTA_MS);
    cr_assert_eq(rota__timers_next(&ts, ROTA_FOREVER), now + 20 * ROTA_S);
    cr_assert_gt(ts.tick, rota__timers_tick(now));
    for (int i = 0; i < 3; i++) {
        rota__timers_arm(&ts, &near[i], begun + (3 - i) * 30 * ROTA_MS);
        cr_assert_eq(rota__timers_wake(&ts), begun + (3 - i) * 30 * ROTA_MS);
        expect_pop(NULL);
    }
    for (int i = 2; i >= 0; i--) {
        cr_assert_eq(rota__timers_next(&ts, now), begun + (3 - i) * 30 * ROTA_MS);
        now = begun + (3 - i) * 30 * ROTA_MS;
        expect_pop(&near[i]);
        sound();
    }
    now += 30 * ROTA_S;
    for (int i = 0; i < 3; i++)
        expect_pop(&far[i]);
    end();
}

/* What the wheel never comes to must not draw it to the end of time, where everything else would be in the heap. */
Test(timers, not_ahead_to_the_end_of_time, .init = begin) {
    rota_timer never = { 0 }, once = { 0 };

    rota__timers_arm(&ts, &never, ROTA_FOREVER);
    cr_assert_eq(rota__timers_next(&ts, ROTA_FOREVER), ROTA_FOREVER);
    cr_assert_eq(ts.tick, rota__timers_tick(now));
    rota__timers_arm(&ts, &once, now + ROTA_S);
    cr_assert_eq(rota__timers_next(&ts, now + ROTA_MS), now + ROTA_S);
    cr_assert_eq(ts.tick, rota__timers_tick(now));
    rota__timers_clear(&ts);
    end();
}

/* ---- moved -------------------------------------------------------------------------------------- */

/* From every place that a started timer can be in, to every distance. */
Test(timers, moved, .init = begin) {
    static const int64_t distance[] = { 0, 9, 700, TICK, 20 * ROTA_MS, ROTA_S, 30 * ROTA_S, DAY, 400 * DAY };
    enum { N = sizeof distance / sizeof *distance };

    for (size_t from = 0; from < N; from++)
        for (size_t to = 0; to < N; to++)
            for (int sorted = 0; sorted < 2; sorted++) {
                rota_timer a = { 0 }, b = { 0 };
                rota__timers_arm(&ts, &a, now + 1 + distance[from]);
                rota__timers_arm(&ts, &b, now + 1 + distance[from]);
                if (sorted)
                    (void)rota__timers_next(&ts, now);
                rota__timers_arm(&ts, &a, now + 2 + distance[to]);
                sound();
                if (to < from)
                    cr_assert_eq(rota__timers_next(&ts, now), now + 2 + distance[to]);
                else
                    cr_assert_eq(rota__timers_next(&ts, now), now + 1 + distance[from]);
                sound();
                if (to < from) {
                    now += 2 + distance[to];
                    expect_pop(&a);
                    now += distance[from] - distance[to];
                    expect_pop(&b);
                } else {
                    now += 1 + distance[from];
                    expect_pop(&b);
                    expect_pop(NULL);
                    now += distance[to] - distance[from];
                    expect_pop(NULL);
                    now += 1;
                    expect_pop(&a);
                }
                sound();
            }
    end();
}

Test(timers, moving_later_moves_nothing, .init = begin) {
    rota_timer timer = { 0 };
    rota_timer **place;

    rota__timers_arm(&ts, &timer, now + 30 * ROTA_S);
    place = timer.place_.prev;
    for (int i = 1; i < 100; i++)
        rota__timers_arm(&ts, &timer, now + 30 * ROTA_S + i * ROTA_S);
    cr_assert_eq((void *)timer.place_.prev, (void *)place);
    sound();
    now += 30 * ROTA_S;
    expect_pop(NULL);
    cr_assert_neq((void *)timer.place_.prev, (void *)place);
    now += 99 * ROTA_S - 1;
    expect_pop(NULL);
    now++;
    expect_pop(&timer);
    end();
}

Test(timers, what_does_not_come_due_stays_out_of_the_heap, .init = begin) {
    enum { N = 1000 };
    rota_timer *timers = some_timers(N);

    for (int turn = 0; turn < 200; turn++) {
        for (size_t i = 0; i < N; i++)
            rota__timers_arm(&ts, &timers[i], now + 1000 + (int64_t)i * 200 * ROTA_US);
        for (size_t i = 0; i < N; i++)
            rota__timers_disarm(&ts, &timers[i]);
        now += 7 * ROTA_MS;
        expect_pop(NULL);
        cr_assert_eq(ts.heap_n, 0);
    }
    cr_assert_eq(calls, 0);
    end();
    free(timers);
}

/* ---- disarmed ----------------------------------------------------------------------------------- */

/* In the wheel; in incoming; in the sorted list (few), or in heap and spill (many); there, and moved away. */
static void disarm_wherever_it_is(size_t n) {
    rota_timer *timers = some_timers(n);

    no_memory = true;
    for (size_t away = 0; away < n; away += away < 20 || away > n - 20 ? 1 : 7) {
        for (int where = 0; where < 4; where++) {
            int64_t when = where == 1 ? now + 20 * ROTA_S : now + 100;
            for (size_t i = 0; i < n; i++)
                rota__timers_arm(&ts, &timers[i], when);
            if (where >= 2)
                (void)rota__timers_next(&ts, now);
            if (where == 3)
                rota__timers_arm(&ts, &timers[away], when + DAY);
            rota__timers_disarm(&ts, &timers[away]);
            cr_assert(!rota_timer_active(&timers[away]));
            cr_assert_eq(rota__timers_count(&ts), n - 1);
            rota__timers_disarm(&ts, &timers[away]);
            cr_assert_eq(rota__timers_count(&ts), n - 1);
            sound();
            now = when;
            for (size_t i = 0; i < n; i++)
                if (i != away)
                    expect_pop(&timers[i]);
            expect_pop(NULL);
        }
    }
    cr_assert_eq(rota__timers_next(&ts, now), ROTA_FOREVER);
    end();
    free(timers);
}

Test(timers, disarmed_wherever_it_is, .init = begin) { disarm_wherever_it_is(30); }
Test(timers, disarmed_wherever_it_is_among_many, .init = begin) { disarm_wherever_it_is(ROTA__RUN_MOST + 30); }

Test(timers, sibling_of_the_same_step, .init = begin) {
    rota_timer timers[5] = { 0 };
    uint64_t limit;

    for (size_t i = 0; i < 5; i++)
        rota__timers_arm(&ts, &timers[i], now + ROTA_MS + (int64_t)i / 2);
    now += ROTA_S;
    limit = rota__timers_order(&ts);
    cr_assert_eq((void *)rota__timers_pop(&ts, now, limit), (void *)&timers[0]);
    rota__timers_disarm(&ts, &timers[1]);
    rota__timers_disarm(&ts, &timers[3]);
    cr_assert_eq((void *)rota__timers_pop(&ts, now, limit), (void *)&timers[2]);
    rota__timers_disarm(&ts, &timers[4]);
    cr_assert_null(rota__timers_pop(&ts, now, limit));
    end();
}

Test(timers, memory_goes_in_a_callback, .init = begin) {
    enum { N = 100 };
    rota_timer *timers[N], *timer;
    uint64_t limit;
    int fired = 0;

    for (size_t i = 0; i < N; i++) {
        timers[i] = some_timers(1);
        timers[i]->arg = (void *)i;
        rota__timers_arm(&ts, timers[i], now + (int64_t)(i % 7) * 300 * ROTA_US);
    }
    now += ROTA_S;
    limit = rota__timers_order(&ts);
    while ((timer = rota__timers_pop(&ts, now, limit))) {
        size_t i = (size_t)timer->arg, other = (i + 1) % N;
        fired++;
        free(timer);  /* its own */
        timers[i] = NULL;
        if (timers[other]) {  /* and a sibling's */
            rota__timers_disarm(&ts, timers[other]);
            free(timers[other]);
            timers[other] = NULL;
        }
        sound();
        if (fired == 20)
            for (size_t k = 0; k < N; k++) {  /* and everybody's */
                if (timers[k])
                    rota__timers_disarm(&ts, timers[k]);
                free(timers[k]);
                timers[k] = NULL;
            }
    }
    cr_assert_eq(fired, 20);
    end();
}

Test(timers, clear, .init = begin) {
    enum { N = 600 };
    rota_timer *timers = some_timers(N);

    no_memory = true;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < N; i++) {
            rota__timers_arm(&ts, &timers[i], i < 200 ? now + 10 : now + (int64_t)(i * i * i) * ROTA_MS);
            if (i == 10 || i == 300)
                (void)rota__timers_next(&ts, now);  /* so that the sorted list, heap and spill have some */
        }
        sound();
        rota__timers_clear(&ts);
        sound();
        for (size_t i = 0; i < N; i++)
            cr_assert(!rota_timer_active(&timers[i]));
        cr_assert_eq(rota__timers_next(&ts, now), ROTA_FOREVER);
        now += 10 * ROTA_S;
        expect_pop(NULL);
    }
    end();
    free(timers);
}

/* ---- steps -------------------------------------------------------------------------------------- */

Test(timers, started_in_a_step_waits_for_the_next, .init = begin) {
    rota_timer *timer, a = { 0 }, b = { 0 };
    uint64_t limit;

    rota__timers_arm(&ts, &a, now);
    rota__timers_arm(&ts, &b, now);
    for (int step = 0; step < 50; step++) {
        int fired = 0;
        limit = rota__timers_order(&ts);
        while ((timer = rota__timers_pop(&ts, now, limit))) {
            fired++;
            rota__timers_arm(&ts, timer, now - step);  /* at once: due, and before whatever is due */
            sound();
        }
        cr_assert_eq(fired, 2);
        cr_assert_leq(rota__timers_wake(&ts), now);
    }
    rota__timers_clear(&ts);
    end();
}

Test(timers, started_in_a_step_hides_nothing, .init = begin) {
    enum { N = 100 };
    rota_timer *timers = some_timers(N), *late = some_timers(N), *timer;
    uint64_t limit;
    size_t fired = 0;

    /* Each callback starts one that is earlier than all the rest, and moves one of the rest within the step,
     * so that it is due but no longer of this step. */
    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], now + ROTA_MS + (int64_t)i * 40 * ROTA_US);
    now += ROTA_S;
    limit = rota__timers_order(&ts);
    while ((timer = rota__timers_pop(&ts, now, limit))) {
        size_t i = (size_t)timer->arg;
        cr_assert_eq(i, fired);
        fired++;
        rota__timers_arm(&ts, &late[i], i % 2 ? now - DAY : now);
        if (i < N / 2)
            rota__timers_arm(&ts, &timers[N - 1 - i], now);
        sound();
    }
    cr_assert_eq(fired, N / 2);
    cr_assert_eq(rota__timers_count(&ts), N);
    for (fired = 0; pop(); fired++)
        sound();
    cr_assert_eq(fired, N);
    end();
    free(timers);
    free(late);
}

/* next, in the midst of a step, sorts what the step must not see. */
Test(timers, next_within_a_step, .init = begin) {
    rota_timer a = { 0 }, b = { 0 }, c = { 0 };
    uint64_t limit;

    rota__timers_arm(&ts, &a, now);
    rota__timers_arm(&ts, &b, now);
    limit = rota__timers_order(&ts);
    cr_assert_eq((void *)rota__timers_pop(&ts, now, limit), (void *)&a);
    rota__timers_arm(&ts, &c, now - 1);
    cr_assert_eq(rota__timers_next(&ts, now), now - 1);
    sound();
    cr_assert_eq((void *)rota__timers_pop(&ts, now, limit), (void *)&b);
    cr_assert_null(rota__timers_pop(&ts, now, limit));
    sound();
    cr_assert_eq((void *)rota__timers_pop(&ts, now, rota__timers_order(&ts)), (void *)&c);
    end();
}

/* ---- long times --------------------------------------------------------------------------------- */

Test(timers, jump, .init = begin) {
    enum { N = 200 };
    rota_timer *timers = some_timers(N);

    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], now + (int64_t)i * DAY);
    now += 100 * DAY;
    for (size_t i = 0; i <= 100; i++)
        expect_pop(&timers[i]);
    expect_pop(NULL);
    cr_assert_eq(rota__timers_next(&ts, now), now + DAY);
    now += 36500 * DAY;
    for (size_t i = 101; i < N; i++)
        expect_pop(&timers[i]);
    end();
    free(timers);
}

Test(timers, forever, .init = begin) {
    rota_timer never = { 0 }, once = { 0 };

    rota__timers_arm(&ts, &never, ROTA_FOREVER);
    cr_assert(rota_timer_active(&never));
    cr_assert_eq(rota__timers_count(&ts), 1);
    cr_assert_eq(rota__timers_next(&ts, now), ROTA_FOREVER);
    rota__timers_arm(&ts, &once, ROTA_FOREVER);
    rota__timers_arm(&ts, &once, ROTA_FOREVER - 1);
    cr_assert_eq(rota__timers_next(&ts, now), ROTA_FOREVER - 1);
    rota__timers_arm(&ts, &once, now + DAY);
    cr_assert_eq(rota__timers_next(&ts, now), now + DAY);
    rota__timers_arm(&ts, &once, ROTA_FOREVER);
    cr_assert_eq(rota__timers_next(&ts, now), ROTA_FOREVER);
    rota__timers_arm(&ts, &once, ROTA_FOREVER - 1);
    now = ROTA_FOREVER;
    expect_pop(&once);
    expect_pop(NULL);
    cr_assert_eq(rota__timers_wake(&ts), ROTA_FOREVER);
    cr_assert_eq(rota__timers_next(&ts, now), ROTA_FOREVER);
    rota__timers_disarm(&ts, &never);
    end();
}

Test(timers, whole_range) {
    rota_timer timers[130] = { 0 };

    for (int wind = 0; wind < 2; wind++) {
        rota__timers_init(&ts, &allocator, wind ? INT64_MIN : -7);
        now = wind ? INT64_MIN : -7;
        rota__timers_arm(&ts, &timers[0], INT64_MIN);
        for (int bit = 0; bit < 63; bit++) {
            rota__timers_arm(&ts, &timers[63 - bit], -1 - (INT64_MAX >> (62 - bit)));
            rota__timers_arm(&ts, &timers[64 + bit], INT64_MAX >> (62 - bit));
        }
        sound();
        for (int i = 0; i < 126; i++) {
            int64_t next = rota__timers_next(&ts, now);
            cr_assert_eq(next, timers[i].deadline_);
            if (next > now)
                now = next;
            expect_pop(&timers[i]);
            sound();
        }
        rota__timers_disarm(&ts, &timers[126]);  /* ROTA_FOREVER */
        end();
    }
}

/* ---- memory ------------------------------------------------------------------------------------- */

Test(timers, as_many_as_are_sorted_need_no_memory, .init = begin, .disabled = ROTA__FOR_SIZE) {
    rota_timer *timers = some_timers(ROTA__RUN_MOST);

    for (size_t i = 0; i < ROTA__RUN_MOST; i++)
        rota__timers_arm(&ts, &timers[i], now + 100 - (int64_t)i / 2);
    now += 100;
    for (size_t i = ROTA__RUN_MOST / 2; i-- > 0;) {
        expect_pop(&timers[2 * i]);
        expect_pop(&timers[2 * i + 1]);
    }
    cr_assert_eq(calls, 0);
    end();
    free(timers);
}

Test(timers, few_need_no_memory, .init = begin) {
    rota_timer timers[ROTA__HEAP_EMBEDDED] = { 0 };

    for (int i = 0; i < 1000; i++) {
        rota__timers_arm(&ts, &timers[i % ROTA__HEAP_EMBEDDED], now + 17);
        now += 3;
        while (pop())
            ;
    }
    now += 100;
    while (pop())
        ;
    cr_assert_eq(calls, 0);
    end();
}

Test(timers, without_memory_the_order_is_the_same, .init = begin) {
    enum { N = 500 };
    rota_timer *timers = some_timers(N);
    int64_t start = now + ROTA_S;

    no_memory = true;
    for (int round = 0; round < 3; round++, start = now + ROTA_S) {
        int64_t last = 0;
        size_t fired = 0;

        for (size_t i = 0; i < N; i++)
            rota__timers_arm(&ts, &timers[i], start + (int64_t)(i * 7919 % N) / 2 * 1000);
        now = start - 1;
        calls = 0;
        expect_pop(NULL);
        cr_assert_leq(calls, 2, "one refusal a step is enough");
        sound();
        cr_assert_eq(rota__timers_next(&ts, now), start);
        now = start + ROTA_MS;
        for (rota_timer *timer; (timer = pop()); fired++) {
            cr_assert_geq(timer->deadline_, last);
            last = timer->deadline_;
            if (fired == N / 4) {  /* the step ends, and there is memory again */
                no_memory = round == 0;
                (void)rota__timers_next(&ts, now);
            }
            if (fired == N / 2 && round == 1)
                cr_assert_null(ts.spill);
        }
        cr_assert_eq(fired, N);
        no_memory = true;
        rota__timers_free(&ts);
        cr_assert_eq(blocks, 0);
    }
    end();
    free(timers);
}

Test(timers, spill_goes_when_memory_comes, .init = begin) {
    enum { N = ROTA__RUN_MOST + 100 };
    rota_timer *timers = some_timers(N);

    no_memory = true;
    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], now + (int64_t)i);
    cr_assert_eq(rota__timers_next(&ts, now), now);
    expect_pop(&timers[0]);
    expect_pop(NULL);
    cr_assert_not_null(ts.spill);
    no_memory = false;
    now += N;
    expect_pop(&timers[1]);
    cr_assert_null(ts.spill);
    for (size_t i = 2; i < N; i++)
        expect_pop(&timers[i]);
    end();
    free(timers);
}

/* What is in spill can be moved away, and back. */
Test(timers, moved_in_spill, .init = begin) {
    enum { N = ROTA__RUN_MOST + 40 };
    rota_timer *timers = some_timers(N);

    no_memory = true;
    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], now + 100);
    cr_assert_eq(rota__timers_next(&ts, now), now + 100);
    cr_assert_not_null(ts.spill);
    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], now + 100 + (int64_t)i * ROTA_MS);
    for (size_t i = 0; i < N; i += 2)
        rota__timers_arm(&ts, &timers[i], now + 50 + (int64_t)i);
    sound();
    now += 100 + N * ROTA_MS;
    for (size_t i = 0; i < N; i += 2)
        expect_pop(&timers[i]);
    for (size_t i = 1; i < N; i += 2)
        expect_pop(&timers[i]);
    end();
    free(timers);
}

/* ... and then no longer comes before what is in the wheel. */
Test(timers, moved_out_of_spill, .init = begin) {
    enum { N = ROTA__RUN_MOST + 40 };
    rota_timer *timers = some_timers(N), soon = { 0 };

    no_memory = true;
    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], now + 100);
    (void)rota__timers_next(&ts, now);
    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], now + DAY);
    rota__timers_arm(&ts, &soon, now + ROTA_S);
    sound();
    now += ROTA_S;
    expect_pop(&soon);
    expect_pop(NULL);
    cr_assert_null(ts.spill);
    cr_assert_eq(ts.heap_n, 0);
    rota__timers_clear(&ts);
    end();
    free(timers);
}

/* ---- when to look again ------------------------------------------------------------------------- */

Test(timers, one_distant_timer_is_one_wake, .init = begin) {
    rota_timer timer = { 0 };
    int64_t when = now + 3600 * ROTA_S + 77;

    rota__timers_arm(&ts, &timer, when);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(rota__timers_wake(&ts), when);
        now += ROTA_S;
        expect_pop(NULL);
    }
    rota__timers_disarm(&ts, &timer);
    end();
}

Test(timers, wake_is_not_late_and_seldom_early, .init = begin) {
    enum { N = 5000 };
    rota_timer *timers = some_timers(N);
    int wakes = 0;
    size_t fired = 0;
    int64_t when = now + 30 * ROTA_S;

    /* All in one distant slot, where the exact time would need a look at each. */
    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], when + (int64_t)i * 13);
    for (; rota__timers_count(&ts) > 0; wakes++) {
        now = rota__timers_wake(&ts);
        cr_assert_leq(now, when + (int64_t)fired * 13);
        for (rota_timer *timer; (timer = pop()); fired++)
            cr_assert_eq(timer->deadline_, when + (int64_t)fired * 13);
    }
    cr_assert_leq(wakes, N + ROTA__WHEEL_LEVELS);
    end();
    free(timers);
}

Test(timers, wake_after_disarm, .init = begin) {
    rota_timer first = { 0 }, second = { 0 };
    int wakes = 0;

    rota__timers_arm(&ts, &first, now + 10 * ROTA_S);
    rota__timers_arm(&ts, &second, now + DAY);
    rota__timers_disarm(&ts, &first);
    while (rota__timers_count(&ts) > 0) {
        now = rota__timers_wake(&ts);
        (void)pop();
        wakes++;
    }
    cr_assert_leq(wakes, 2);
    cr_assert_eq(now, second.deadline_);
    end();
}

Test(timers, next_is_exact_in_a_crowded_slot, .init = begin) {
    enum { N = 3000 };
    rota_timer *timers = some_timers(N);

    for (size_t i = 0; i < N; i++)
        rota__timers_arm(&ts, &timers[i], now + 40 * ROTA_S + (int64_t)i);
    for (size_t i = 0; i + 1 < N; i++) {
        cr_assert_eq(rota__timers_next(&ts, now), now + 40 * ROTA_S + (int64_t)i);
        if (i % 3)
            rota__timers_disarm(&ts, &timers[i]);
        else
            rota__timers_arm(&ts, &timers[i], now + 3000 * ROTA_S);
    }
    sound();
    rota__timers_clear(&ts);
    end();
    free(timers);
}

/* ---- many --------------------------------------------------------------------------------------- */

Test(timers, a_million_random_deadlines, .init = begin, .timeout = 300) {
    enum { N = 1000000 };
    rota_timer *timers = some_timers(N), *last = NULL;
    size_t fired = 0;

    for (size_t i = 0; i < N; i++) /* some 40 of each deadline in the first millisecond, up to days otherwise */
        rota__timers_arm(&ts, &timers[i], now + (int64_t)(random_number() % (i % 4 ? 10 * DAY : 6000)));
    while (rota__timers_count(&ts) > 0) {
        uint64_t limit = rota__timers_order(&ts);
        int64_t next = rota__timers_next(&ts, now);
        cr_assert_geq(next, now);
        /* The clock goes to the next deadline, and every other time some way beyond it. */
        now = next + (next & 1 ? 0 : ROTA_S);
        for (rota_timer *timer; (timer = rota__timers_pop(&ts, now, limit)); last = timer, fired++) {
            cr_assert_leq(timer->deadline_, now);
            if (last)
                cr_assert(last->deadline_ < timer->deadline_ || (last->deadline_ == timer->deadline_ && last < timer));
        }
    }
    cr_assert_eq(fired, N);
    end();
    free(timers);
}
