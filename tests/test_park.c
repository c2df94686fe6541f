/* Parking, waking and whose turn it is: order, budgets, fairness, sleeping. */
#include "tests/support.h"

#include <errno.h>
#include <unistd.h>

#include "coro/task.h"

/* ---- order ---- */

struct letter_loop {
    char letter;
    int pause;   /* yields before every so-many-th letter */
    int n;
};

static intptr_t letters(void *arg) {
    const struct letter_loop *l = arg;
    for (int i = 0; i < l->n; i++) {
        if (i % l->pause == 1 || l->pause == 1)
            cr_expect_eq(rota_sleep(0), 0);
        note(l->letter);
        note((char)('0' + i));
    }
    return 0;
}

Task_test(park, two_loops_that_yield_every_five_numbers) { /* T9: the golden output */
    struct letter_loop a = { 'a', 5, 10 }, b = { 'b', 5, 10 };
    rota_task *t[2];
    cr_expect_eq(rota_spawn(&t[0], letters, &a, NULL), 0);
    cr_expect_eq(rota_spawn(&t[1], letters, &b, NULL), 0);
    cr_expect_eq(rota_join(t[0], NULL), 0);
    cr_expect_eq(rota_join(t[1], NULL), 0);
    cr_expect_str_eq(trace, "a0b0a1a2a3a4a5b1b2b3b4b5a6a7a8a9b6b7b8b9");
    return 0;
}

static intptr_t sleep_and_note(void *arg) {
    const struct letter_loop *l = arg;
    cr_expect_eq(rota_sleep(l->n), 0);
    note(l->letter);
    return 0;
}

Task_test(park, equal_sleepers_wake_in_the_order_they_fell_asleep) { /* L12 */
    struct letter_loop l[5] = { { 'a', 0, 7 }, { 'b', 0, 7 }, { 'c', 0, 3 }, { 'd', 0, 7 }, { 'e', 0, 3 } };
    for (int i = 0; i < 5; i++)
        cr_expect_eq(rota_spawn(NULL, sleep_and_note, &l[i], NULL), 0);
    cr_expect_eq(rota_sleep(10), 0);
    cr_expect_str_eq(trace, "ceabd");
    return 0;
}

static intptr_t say_after(void *arg) { return sleep_and_note(arg); }

Task_test(park, sleeping_together_takes_as_long_as_the_longest) { /* T4, T5 */
    struct letter_loop one = { 'h', 0, 1000 }, two = { 'w', 0, 2000 };
    int64_t start = rota_now();
    (void)say_after(&one);
    (void)say_after(&two);
    cr_expect_eq(since(start), 3000);
    start = rota_now();
    rota_task *t[2];
    cr_expect_eq(rota_spawn(&t[0], say_after, &one, NULL), 0);
    cr_expect_eq(rota_spawn(&t[1], say_after, &two, NULL), 0);
    cr_expect_eq(rota_join(t[0], NULL), 0);
    cr_expect_eq(rota_join(t[1], NULL), 0);
    cr_expect_eq(since(start), 2000);
    return 0;
}

Task_test(park, sleeps_are_exact_on_the_virtual_clock) {
    static const int64_t lengths[] = { 1, 2, 999, ROTA_US, ROTA_MS, 20 * ROTA_MS, ROTA_S, 3600 * ROTA_S,
                                       100 * 24 * 3600 * ROTA_S };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int64_t start = rota_now();
        cr_expect_eq(rota_sleep(lengths[i]), 0);
        cr_expect_eq(since(start), lengths[i]);
        cr_expect_eq(rota_sleep_until(rota_now() + lengths[i]), 0);
        cr_expect_eq(since(start), 2 * lengths[i]);
    }
    return 0;
}

Task_test(park, no_time_or_a_past_time_only_yields) {
    int64_t start = rota_now();
    cr_expect_eq(rota_sleep(0), 0);
    cr_expect_eq(rota_sleep(-5), 0);
    cr_expect_eq(rota_sleep(INT64_MIN), 0);
    cr_expect_eq(rota_sleep_until(start), 0);
    cr_expect_eq(rota_sleep_until(0), 0);
    cr_expect_eq(rota_sleep_until(-1), 0);
    cr_expect_eq(rota_sleep_until(INT64_MIN), 0);
    cr_expect_eq(since(start), 0);
    return 0;
}

enum { MORE_THAN_THE_RING_HOLDS = 300 };
static int flood_ran;

static void run_in_order(rota_soon *soon, void *arg) {
    (void)soon;
    cr_expect_eq((int)(intptr_t)arg, flood_ran++);
}

Task_test(park, a_yield_goes_behind_what_is_queued_however_much_that_is) {
    static rota_soon flood[MORE_THAN_THE_RING_HOLDS];
    for (int i = 0; i < MORE_THAN_THE_RING_HOLDS; i++) {
        rota_soon_init(&flood[i], run_in_order, (void *)(intptr_t)i);
        cr_expect_eq(rota_soon_start(rota_loop_current(), &flood[i]), 0);
    }
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(flood_ran, MORE_THAN_THE_RING_HOLDS);
    return 0;
}

static intptr_t yield_twice(void *unused) {
    (void)unused;
    return rota_yield() < 0 || rota_yield() < 0;
}

/* The same with a task at the head of the queue, to which the yield could switch straight away. */
Task_test(park, a_yield_to_a_task_goes_behind_all_that_is_queued_too) {
    static rota_soon flood[MORE_THAN_THE_RING_HOLDS];
    rota_task *task;
    cr_expect_eq(rota_spawn(&task, yield_twice, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0); /* it has begun, and is the only one that is queued */
    for (int i = 0; i < MORE_THAN_THE_RING_HOLDS; i++) {
        rota_soon_init(&flood[i], run_in_order, (void *)(intptr_t)i);
        cr_expect_eq(rota_soon_start(rota_loop_current(), &flood[i]), 0);
    }
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(flood_ran, MORE_THAN_THE_RING_HOLDS);
    return rota_join(task, NULL);
}

/* A callback that fills the ring, whose last place is that of the task that it wakes, and goes on behind the ring. */
struct filling {
    rota_soon soon, before[ROTA__READY_FIRST - 1], behind[10];
    rota_future future;
};

static void fill_ring_and_wake(rota_soon *soon, void *arg) {
    struct filling *f = arg;
    int n = 0;
    (void)soon;
    for (int i = 0; i < ROTA__READY_FIRST - 1; i++, n++) {
        rota_soon_init(&f->before[i], run_in_order, (void *)(intptr_t)n);
        cr_expect_eq(rota_soon_start(rota_loop_current(), &f->before[i]), 0);
    }
    cr_expect_eq(rota_future_set(&f->future, 0), 0);
    for (int i = 0; i < 10; i++, n++) {
        rota_soon_init(&f->behind[i], run_in_order, (void *)(intptr_t)n);
        cr_expect_eq(rota_soon_start(rota_loop_current(), &f->behind[i]), 0);
    }
}

Task_test(park, a_yield_from_the_last_place_of_the_ring_goes_behind_what_is_queued) {
    static struct filling f;
    rota_loop *loop = rota_loop_current();
    rota_future_init(&f.future);
    rota_soon_init(&f.soon, fill_ring_and_wake, &f);
    cr_expect_eq(rota_soon_start(loop, &f.soon), 0);
    cr_expect_eq(rota_future_await(&f.future, NULL), 0);
    cr_expect_eq(flood_ran, ROTA__READY_FIRST - 1);
    cr_expect(rota__ready_in_ring(&loop->ready) == 0 && !rota__ready_empty(&loop->ready));
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(flood_ran, ROTA__READY_FIRST - 1 + 10);
    return 0;
}

Task_test(park, a_yield_to_nobody_is_a_step) {
    rota_counters before, after;
    cr_expect_eq(rota_loop_counters(rota_loop_current(), &before), 0);
    for (int i = 0; i < 1000; i++)
        cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_loop_counters(rota_loop_current(), &after), 0);
    cr_expect_eq(after.resumptions - before.resumptions, 1000);
    cr_expect_geq(after.turns - before.turns, 3, "and each one takes from the budget");
    return 0;
}

static intptr_t sleep_for_real(void *unused) {
    (void)unused;
    for (int i = 0; i < 20; i++) {
        int64_t start = rota_now(), ns = (i + 1) * 50 * ROTA_US;
        cr_expect_eq(rota_sleep(ns), 0);
        cr_expect_geq(since(start), ns);
    }
    return 0;
}

Test(park, a_real_sleep_is_never_early) { /* D04, D09 */
    rota_loop_options opt = test_options();
    opt.virtual_clock = false;
    cr_expect_eq(run_with(sleep_for_real, NULL, NULL, &opt), 0);
}

static intptr_t work_then_sleep(void *unused) {
    (void)unused;
    int64_t start = rota_now();
    while (rota_now() - start < 3 * ROTA_MS) { /* burns time: what the turn thinks it is, is long past */ }
    int64_t armed = rota_now();
    cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
    cr_expect_geq(since(armed), 2 * ROTA_MS);
    start = rota_now();
    rota_scope s;
    while (rota_now() - start < 3 * ROTA_MS) { }
    armed = rota_now();
    rota_timeout_begin(&s, 2 * ROTA_MS);
    cr_expect_eq(rota_scope_end(&s, rota_sleep(ROTA_S)), -ETIMEDOUT);
    cr_expect_geq(since(armed), 2 * ROTA_MS);
    return 0;
}

Test(park, time_counts_from_the_call_after_long_work) { /* D05 */
    rota_loop_options opt = test_options();
    opt.virtual_clock = false;
    cr_expect_eq(run_with(work_then_sleep, NULL, NULL, &opt), 0);
}

static intptr_t yield_thousand(void *unused) {
    (void)unused;
    for (int i = 0; i < 1000; i++)
        cr_expect_eq(rota_yield(), 0);
    return 1000;
}

Task_test(park, an_entry_returns_cleanly_after_a_thousand_yields) { /* A19 */
    rota_task *t[3];
    intptr_t v;
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(&t[i], yield_thousand, NULL, NULL), 0);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(rota_join(t[i], &v), 0);
        cr_expect_eq(v, 1000);
    }
    return 0;
}

Task_test(park, yielding_lets_everything_queued_run_first) {
    struct letter_loop a = { 'a', 1, 1 };
    cr_expect_eq(rota_spawn(NULL, letters, &a, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "", "it yields too: behind us");
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "a0");
    return 0;
}

/* ---- budgets ---- */

static intptr_t spin(void *stop) {
    while (!*(bool *)stop)
        cr_expect_eq(rota_yield(), 0);
    return 0;
}

static void on_timer(rota_timer *timer, void *arg) {
    (void)timer;
    *(bool *)arg = true;
}

static intptr_t spin_main(void *unused) {
    (void)unused;
    bool stop = false;
    rota_timer timer;
    rota_timer_init(&timer, on_timer, &stop);
    cr_expect_eq(rota_timer_start(rota_loop_current(), &timer, ROTA_MS), 0);
    return spin(&stop);
}

Test(park, yielding_tasks_do_not_starve_timers) {
    rota_loop_options opt = test_options();
    opt.virtual_clock = false;
    cr_expect_eq(run_with(spin_main, NULL, NULL, &opt), 0);
}

static void on_readable(rota_watcher *watcher, unsigned ready, void *arg) {
    cr_expect(ready & ROTA_READ);
    *(bool *)arg = true;
    cr_expect_eq(rota_watcher_stop(rota_loop_current(), watcher), 0);
}

Task_test(park, yielding_tasks_do_not_starve_descriptors) {
    bool stop = false;
    int p[2];
    rota_watcher w;
    cr_expect_eq(pipe(p), 0);
    rota_watcher_init(&w, p[0], ROTA_READ, on_readable, &stop);
    cr_expect_eq(rota_watcher_start(rota_loop_current(), &w), 0);
    cr_expect_eq(write(p[1], "x", 1), 1);
    (void)spin(&stop);
    cr_expect_eq(rota_fd_close(rota_loop_current(), p[0]), 0);
    close(p[1]);
    return 0;
}

static void on_post(rota_soon *soon, void *arg) {
    (void)soon;
    *(bool *)arg = true;
}

Task_test(park, yielding_tasks_do_not_starve_posts) {
    bool stop = false;
    rota_soon soon;
    rota_remote *remote;
    rota_soon_init(&soon, on_post, &stop);
    cr_expect_eq(rota_remote_open(&remote, rota_loop_current()), 0);
    cr_expect_eq(rota_remote_post(remote, &soon), 0);
    (void)spin(&stop);
    rota_remote_close(remote);
    return 0;
}

Task_test(park, two_hundred_and_fifty_six_steps_make_a_turn) {
    /* With time standing still only steps count: a timer that is due waits for them, and no longer. */
    bool stop = false;
    int steps = 0;
    rota_timer timer;
    rota_timer_init(&timer, on_timer, &stop);
    cr_expect_eq(rota_sleep(1), 0);
    cr_expect_eq(rota_timer_start(rota_loop_current(), &timer, 0), 0);
    cr_expect_eq(rota_yield(), 0);
    while (!stop && steps < 10000) {
        cr_expect_eq(rota_yield(), 0);
        steps++;
    }
    cr_expect(steps >= 250 && steps <= 256, "%d", steps);
    return 0;
}

static intptr_t set_flag(void *flag) {
    *(bool *)flag = true;
    return 0;
}

Task_test(park, calls_that_need_not_wait_yield_after_64) {
    bool ran = false;
    rota_task *done;
    int n = 0;
    cr_expect_eq(rota_spawn(&done, return_arg, NULL, NULL), 0);
    cr_expect_eq(rota_await(done, NULL), 0);
    cr_expect_eq(rota_spawn(NULL, set_flag, &ran, NULL), 0);
    while (!ran && n < 1000) {
        cr_expect_eq(rota_await(done, NULL), 0);
        n++;
    }
    cr_expect_eq(n, 64);
    for (int i = 0; i < 60; i++)
        cr_expect_eq(rota_await(done, NULL), 0);
    cr_expect_eq(rota_sleep(1), 0);
    ran = false;
    cr_expect_eq(rota_spawn(NULL, set_flag, &ran, NULL), 0);
    for (n = 0; !ran && n < 1000; n++)
        cr_expect_eq(rota_await(done, NULL), 0);
    cr_expect_eq(n, 64, "a call that waited begins the count anew");
    rota_task_release(done);
    return 0;
}

/* ---- what a switch keeps ---- */

static intptr_t change_errno(void *unused) {
    (void)unused;
    errno = EXDEV;
    cr_expect_eq(rota_yield(), 0);
    return 0;
}

Task_test(park, results_never_come_through_errno) { /* H09 */
    cr_expect_eq(rota_spawn(NULL, change_errno, NULL, NULL), 0);
    errno = 0;
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_sleep(1), 0);
    rota_scope s;
    rota_timeout_begin(&s, 0);
    errno = EDOM;
    cr_expect_eq(rota_sleep(1), -ECANCELED);
    cr_expect_eq(rota_scope_end(&s, 0), 0);
    return 0;
}

/* ---- parking, from the inside ---- */

struct parked {
    rota_task *task;
    struct rota__wait wait;
    intptr_t woken;
    int left;
};

static void leave_parked(struct rota__wait *wait) {
    rota__container_of(wait, struct parked, wait)->left++;
}

static intptr_t park_here(void *arg) {
    struct parked *p = arg;
    rota_task *self;
    int rc = rota__enter(&self);
    if (rc < 0)
        return rc;
    p->task = self;
    p->woken = rota__park(self, &p->wait);
    return 0;
}

static void spawn_parked(struct parked *p) {
    cr_expect_eq(rota_spawn(NULL, park_here, p, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
}

Task_test(park, returns_what_the_first_waker_gave) {
    struct parked p = { .wait = { .what = "a test", .until = ROTA_FOREVER, .leave = leave_parked } };
    spawn_parked(&p);
    cr_expect(rota__wake(p.task, 123));
    cr_expect(!rota__wake(p.task, 456), "the first one wins");
    cr_expect_eq(rota_cancel(p.task, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(p.woken, 123);
    cr_expect_eq(p.left, 0, "it was out of its queue");
    return 0;
}

Task_test(park, until_wakes_with_0_after_leaving) {
    int64_t start = rota_now();
    struct parked p = { .wait = { .what = "a test", .until = start + 5, .leave = leave_parked }, .woken = 9 };
    spawn_parked(&p);
    cr_expect_eq(rota_sleep(5), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(p.woken, 0);
    cr_expect_eq(p.left, 1);
    cr_expect_eq(since(start), 5);
    return 0;
}

Task_test(park, a_wake_before_until_leaves_no_timer) { /* B01, B12 */
    struct parked p = { .wait = { .what = "a test", .until = rota_now() + ROTA_S, .leave = leave_parked } };
    int64_t start = rota_now();
    spawn_parked(&p);
    cr_expect(rota__wake(p.task, 1));
    cr_expect(!rota_timer_active(&p.task->runner->timer));
    cr_expect_eq(rota_sleep(2 * ROTA_S), 0);
    cr_expect_eq(p.left, 0);
    cr_expect_eq(since(start), 2 * ROTA_S);
    return 0;
}

Task_test(park, a_wait_without_leave_is_not_interrupted) {
    struct parked p = { .wait = { .what = "a test", .until = ROTA_FOREVER } };
    spawn_parked(&p);
    cr_expect_eq(rota_cancel(p.task, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(p.woken, 0);
    cr_expect_not_null(p.task->wait);
    cr_expect(rota__wake(p.task, 5));
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(p.woken, 5);
    return 0;
}

Test(park, queues_of_waits_keep_their_order) {
    struct rota__wait w[4], *queue = NULL;
    for (int gone = 0; gone < 4; gone++) {
        for (int i = 0; i < 4; i++)
            rota__wait_push(&queue, &w[i]);
        rota__wait_remove(&queue, &w[gone]);
        rota__wait_push(&queue, &w[gone]);
        for (int i = 0; i < 4; i++)
            if (i != gone) {
                cr_expect_eq(queue, &w[i]);
                rota__wait_remove(&queue, queue);
            }
        cr_expect_eq(queue, &w[gone]);
        rota__wait_remove(&queue, queue);
        cr_expect_null(queue);
    }
}
