/* Waiting for tasks that somebody else owns: rota_wait, rota_as_completed. */
#include "tests/support.h"

#include "rota/combine.h"

enum { N = 3 };

/* A task that works for a time and then ends with a value. */
struct work {
    int64_t ns;
    intptr_t value;
};

static intptr_t do_work(void *arg) {
    const struct work *w = arg;
    int rc = rota_sleep(w->ns);
    return rc < 0 ? rc : w->value;
}

static rota_task *start(struct work *w) {
    rota_task *task;
    cr_expect_eq(rota_spawn(&task, do_work, w, NULL), 0);
    return task;
}

static void start_all(rota_task **tasks, struct work *works, size_t n) {
    for (size_t i = 0; i < n; i++)
        tasks[i] = start(&works[i]);
}

static void join_all(rota_task **tasks, size_t n) {
    for (size_t i = 0; i < n; i++)
        (void)!rota_join(tasks[i], NULL);
}

/* ---- wait ---- */

Task_test(wait, all_waits_for_the_last) {
    struct work w[N] = { { 10 * ROTA_MS, 1 }, { 30 * ROTA_MS, 2 }, { 20 * ROTA_MS, 3 } };
    rota_task *t[N];
    size_t done = 99;
    int64_t start_time = rota_now();
    start_all(t, w, N);
    cr_expect_eq(rota_wait(t, N, ROTA_ALL, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 3u);
    cr_expect_eq(since(start_time), 30 * ROTA_MS);
    join_all(t, N);
    return 0;
}

Task_test(wait, first_returns_at_the_first_and_cancels_nobody) {
    struct work w[N] = { { 30 * ROTA_MS, 1 }, { 10 * ROTA_MS, 2 }, { 20 * ROTA_MS, 3 } };
    rota_task *t[N];
    size_t done = 99;
    intptr_t value = 0;
    start_all(t, w, N);
    cr_expect_eq(rota_wait(t, N, ROTA_FIRST, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 1u);
    cr_expect(!rota_task_done(t[0]) && rota_task_done(t[1]) && !rota_task_done(t[2]));
    cr_expect_eq(rota_await(t[0], &value), 0);
    cr_expect_eq(value, 1, "not cancelled");
    join_all(t, N);
    return 0;
}

Task_test(wait, two_that_end_in_one_turn_are_both_counted) { /* B24 */
    struct work w[N] = { { 10 * ROTA_MS, 1 }, { 10 * ROTA_MS, 2 }, { 20 * ROTA_MS, 3 } };
    rota_task *t[N];
    size_t done = 99;
    start_all(t, w, N);
    cr_expect_eq(rota_wait(t, N, ROTA_FIRST, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 2u);
    cr_expect(!rota_task_done(t[2]));
    join_all(t, N);
    return 0;
}

Task_test(wait, first_error_waits_on_over_successes) {
    struct work w[N] = { { 10 * ROTA_MS, 1 }, { 20 * ROTA_MS, -EIO }, { 30 * ROTA_MS, 3 } };
    rota_task *t[N];
    size_t done = 99;
    start_all(t, w, N);
    cr_expect_eq(rota_wait(t, N, ROTA_FIRST_ERROR, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 2u);
    join_all(t, N);
    return 0;
}

Task_test(wait, first_error_without_an_error_is_all) {
    struct work w[N] = { { 10 * ROTA_MS, 1 }, { 20 * ROTA_MS, 2 }, { 30 * ROTA_MS, 3 } };
    rota_task *t[N];
    size_t done = 99;
    start_all(t, w, N);
    cr_expect_eq(rota_wait(t, N, ROTA_FIRST_ERROR, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 3u);
    join_all(t, N);
    return 0;
}

Task_test(wait, a_task_that_obeyed_its_cancellation_is_no_error) {
    struct work w[2] = { { 10 * ROTA_MS, 1 }, { 20 * ROTA_MS, 2 } };
    rota_task *t[2];
    size_t done = 99;
    start_all(t, w, 2);
    cr_expect_eq(rota_cancel(t[0], NULL), 0);
    cr_expect_eq(rota_wait(t, 2, ROTA_FIRST_ERROR, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 2u);
    join_all(t, 2);
    return 0;
}

Task_test(wait, a_limit_is_no_error_and_cancels_nobody) { /* B25 */
    struct work w[2] = { { 20 * ROTA_MS, 1 }, { 30 * ROTA_MS, 2 } };
    rota_task *t[2];
    size_t done = 99;
    intptr_t value = 0;
    int64_t start_time = rota_now();
    start_all(t, w, 2);
    cr_expect_eq(rota_wait(t, 2, ROTA_ALL, 5 * ROTA_MS, &done), 0);
    cr_expect_eq(done, 0u);
    cr_expect_eq(since(start_time), 5 * ROTA_MS);
    cr_expect_eq(rota_wait(t, 2, ROTA_ALL, 20 * ROTA_MS, &done), 0);
    cr_expect_eq(done, 1u);
    cr_expect_eq(rota_join(t[1], &value), 0);
    cr_expect_eq(value, 2);
    rota_task_release(t[0]);
    return 0;
}

Task_test(wait, a_limit_of_nothing_lets_run_what_is_ready) {
    struct work w[2] = { { 0, 1 }, { ROTA_S, 2 } };
    rota_task *t[2];
    size_t done = 99;
    int64_t start_time = rota_now();
    start_all(t, w, 2);
    cr_expect_eq(rota_wait(t, 2, ROTA_ALL, 0, &done), 0);
    cr_expect_eq(done, 1u);
    cr_expect_eq(rota_wait(t, 2, ROTA_ALL, -1, &done), 0);
    cr_expect_eq(done, 1u);
    cr_expect_eq(since(start_time), 0);
    rota_cancel(t[1], NULL);
    join_all(t, 2);
    return 0;
}

Task_test(wait, tasks_that_have_ended_need_no_wait) { /* B26 */
    struct work w[2] = { { 0, 1 }, { ROTA_S, 2 } };
    rota_task *t[2];
    size_t done = 99;
    int64_t start_time = rota_now();
    start_all(t, w, 2);
    cr_expect_eq(rota_await(t[0], NULL), 0);
    cr_expect_eq(rota_wait(t, 1, ROTA_ALL, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 1u);
    cr_expect_eq(rota_wait(t, 2, ROTA_FIRST, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 1u);
    cr_expect_eq(since(start_time), 0);
    rota_cancel(t[1], NULL);
    join_all(t, 2);
    return 0;
}

Task_test(wait, a_task_that_stands_there_twice_counts_once) { /* B26 */
    struct work w[2] = { { 0, 1 }, { ROTA_MS, 2 } };
    rota_task *t[2];
    size_t done = 99;
    start_all(t, w, 2);
    cr_expect_eq(rota_await(t[0], NULL), 0);
    rota_task *twice[] = { t[0], t[1], NULL, t[0], t[1] };
    cr_expect_eq(rota_wait(twice, 5, ROTA_ALL, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 2u);
    cr_expect_eq(rota_wait(twice, 5, ROTA_ALL, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 2u, "no mark was left behind");
    join_all(t, 2);
    return 0;
}

Task_test(wait, more_tasks_than_fit_on_the_stack) {
    enum { MANY = 40 };
    struct work w[MANY];
    rota_task *t[MANY];
    size_t done = 99;
    for (int i = 0; i < MANY; i++)
        w[i] = (struct work){ i * ROTA_MS, i };
    start_all(t, w, MANY);
    cr_expect_eq(rota_wait(t, MANY, ROTA_ALL, 20 * ROTA_MS + 1, &done), 0);
    cr_expect_eq(done, 21u);
    memory.fail_at = memory.calls + 1;
    cr_expect_eq(rota_wait(t, MANY, ROTA_ALL, ROTA_FOREVER, &done), -ENOMEM);
    cr_expect_eq(done, 0u);
    cr_expect_eq(rota_wait(t, 8, ROTA_ALL, ROTA_FOREVER, &done), 0, "8 need no memory");
    cr_expect_eq(rota_wait(t, MANY, ROTA_ALL, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, (size_t)MANY);
    join_all(t, MANY);
    return 0;
}

Task_test(wait, mistakes) {
    struct work w = { 0, 1 };
    rota_task *t = start(&w), *none[2] = { NULL, NULL }, *me = rota_self(), *stale;
    size_t done = 99;
    cr_expect_eq(rota_wait(NULL, 1, ROTA_ALL, ROTA_FOREVER, &done), -EINVAL);
    cr_expect_eq(done, 0u);
    cr_expect_eq(rota_wait(&t, 0, ROTA_ALL, ROTA_FOREVER, NULL), -EINVAL);
    cr_expect_eq(rota_wait(none, 2, ROTA_ALL, ROTA_FOREVER, NULL), -EINVAL);
    cr_expect_eq(rota_wait(&t, 1, 3, ROTA_FOREVER, NULL), -EINVAL);
    cr_expect_eq(rota_wait(&t, 1, -1, ROTA_FOREVER, NULL), -EINVAL);
    cr_expect_eq(rota_wait(&me, 1, ROTA_ALL, ROTA_FOREVER, NULL), -EDEADLK);
    stale = t;
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(rota_wait(&stale, 1, ROTA_ALL, ROTA_FOREVER, NULL), -ESRCH);
    return 0;
}

Test(wait, outside_of_a_task_and_of_the_loop) {
    rota_loop *loop = open_loop(), *other;
    rota_loop_options opt = test_options();
    struct work w = { 0, 1 };
    rota_task *t = start(&w);
    cr_expect_eq(rota_wait(&t, 1, ROTA_ALL, ROTA_FOREVER, NULL), -EPERM);
    cr_expect_eq(rota_loop_new(&other, &opt), 0);
    cr_expect_eq(rota_loop_set_current(other), 0);
    rota_as_completed it;
    rota_as_completed_slot slot;
    cr_expect_eq(rota_as_completed_begin(&it, &t, 1, &slot), -EPERM, "a task of another loop");
    cr_expect_eq(rota_loop_set_current(loop), 0);
    cr_expect_eq(rota_loop_free(other), 0);
    cr_expect_eq(rota_loop_run_until(loop, t, NULL), 0);
    rota_task_release(t);
    close_loop(loop);
}

/* Somebody whose wait is cancelled. */
struct waiter {
    rota_task **tasks;
    size_t n, done;
    int until, rc;
};

static intptr_t wait_here(void *arg) {
    struct waiter *w = arg;
    w->rc = rota_wait(w->tasks, w->n, w->until, ROTA_FOREVER, &w->done);
    note('w');
    return 0;
}

Task_test(wait, being_cancelled_leaves_the_tasks_alone) {
    struct work w[2] = { { 10 * ROTA_MS, 1 }, { 20 * ROTA_MS, 2 } };
    rota_task *t[2], *waiter;
    struct waiter me = { t, 2, 99, ROTA_ALL, 0 };
    start_all(t, w, 2);
    cr_expect_eq(rota_spawn(&waiter, wait_here, &me, NULL), 0);
    cr_expect_eq(rota_sleep(15 * ROTA_MS), 0);
    cr_expect_eq(rota_cancel(waiter, NULL), 0);
    cr_expect_eq(rota_join(waiter, NULL), 0);
    cr_expect_eq(me.rc, -ECANCELED);
    cr_expect_eq(me.done, 1u, "told all the same");
    intptr_t value = 0;
    cr_expect_eq(rota_await(t[1], &value), 0);
    cr_expect_eq(value, 2);
    join_all(t, 2);
    return 0;
}

Task_test(wait, cancelled_before_its_first_step) {
    struct work w = { 10 * ROTA_MS, 1 };
    rota_task *t = start(&w), *waiter;
    struct waiter me = { &t, 1, 99, ROTA_ALL, 0 };
    cr_expect_eq(rota_spawn(&waiter, wait_here, &me, NULL), 0);
    cr_expect_eq(rota_cancel(waiter, NULL), 0);
    cr_expect_eq(rota_join(waiter, NULL), 0);
    cr_expect_eq(me.rc, -ECANCELED);
    cr_expect_eq(rota_join(t, NULL), 0);
    return 0;
}

static intptr_t await_future(void *f) { return rota_future_await(f, NULL); }

/* The task ends and the waiter is cancelled before it runs, or the other way round. */
static void end_and_cancel(bool end_first, struct waiter *me) {
    rota_future gate = { 0 };
    rota_task *t, *waiter;
    me->tasks = &t;
    me->n = 1;
    me->until = ROTA_FIRST;
    cr_expect_eq(rota_spawn(&t, await_future, &gate, NULL), 0);
    cr_expect_eq(rota_spawn(&waiter, wait_here, me, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_future_set(&gate, 0), 0);
    if (!end_first)
        cr_expect_eq(rota_cancel(waiter, NULL), 0);
    else
        while (!rota_task_done(t) && !strchr(trace, 'w'))
            cr_expect_eq(rota_yield(), 0);
    if (end_first)
        (void)rota_cancel(waiter, NULL);
    cr_expect_eq(rota_join(waiter, NULL), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
}

Task_test(wait, a_task_that_ended_before_the_cancellation_counts) {
    struct waiter me = { 0 };
    end_and_cancel(true, &me);
    cr_expect_eq(me.rc, 0);
    cr_expect_eq(me.done, 1u);
    return 0;
}

Task_test(wait, a_cancellation_before_the_task_ended_wins) {
    struct waiter me = { 0 };
    end_and_cancel(false, &me);
    cr_expect_eq(me.rc, -ECANCELED);
    return 0;
}

/* The owner is the first to wake, and releases the handle before the other waiter runs. */
static intptr_t own_and_respawn(void *arg) {
    rota_task *t = *(rota_task **)arg;
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(rota_spawn(NULL, return_arg, (void *)0, NULL), 0); /* the block is used anew */
    return 0;
}

Task_test(wait, counts_a_task_whose_handle_is_gone_when_the_waiter_runs) {
    struct work w = { ROTA_MS, 5 };
    rota_task *t = start(&w), *owner, *waiter;
    struct waiter me = { &t, 1, 99, ROTA_ALL, 0 };
    cr_expect_eq(rota_spawn(&owner, own_and_respawn, &t, NULL), 0);
    cr_expect_eq(rota_spawn(&waiter, wait_here, &me, NULL), 0);
    cr_expect_eq(rota_join(owner, NULL), 0);
    cr_expect_eq(rota_join(waiter, NULL), 0);
    cr_expect_eq(me.rc, 0);
    cr_expect_eq(me.done, 1u);
    return 0;
}

static intptr_t wait_and_release(void *unused) {
    (void)unused;
    struct work w = { ROTA_MS, -EIO };
    rota_task *t = start(&w);
    int rc = rota_wait(&t, 1, ROTA_FIRST_ERROR, ROTA_FOREVER, NULL);
    rota_task_release(t);
    return rc;
}

Test(wait, looks_at_no_outcome) {
    intptr_t value = -1;
    cr_expect_eq(run_with(wait_and_release, NULL, &value, NULL), 0);
    cr_expect_eq(value, 0);
    cr_expect_eq(reports_of(ROTA_REPORT_UNAWAITED), 1);
}

static intptr_t two_timeouts(void *arg) {
    struct waiter *w = arg;
    rota_scope outer, inner;
    rota_timeout_begin(&outer, 10 * ROTA_MS);
    rota_timeout_begin(&inner, 10 * ROTA_MS);
    w->rc = rota_wait(w->tasks, w->n, w->until, ROTA_FOREVER, &w->done);
    intptr_t in = rota_scope_end(&inner, w->rc);
    intptr_t out = rota_scope_end(&outer, in);
    cr_expect_eq(in, -ETIMEDOUT);
    cr_expect_eq(out, -ETIMEDOUT);
    cr_expect(rota_scope_expired(&inner) && rota_scope_expired(&outer));
    return 0;
}

Task_test(wait, nested_timeouts_expire_together) {
    struct work w = { ROTA_S, 1 };
    rota_task *t = start(&w);
    struct waiter me = { &t, 1, 99, ROTA_ALL, 0 };
    cr_expect_eq(two_timeouts(&me), 0);
    cr_expect_eq(me.rc, -ECANCELED);
    cr_expect_eq(rota_join(t, NULL), 0);
    return 0;
}

Task_test(wait, a_limit_and_a_timeout_at_the_same_time) {
    struct work w = { ROTA_S, 1 };
    rota_task *t = start(&w);
    rota_scope scope;
    rota_timeout_begin(&scope, 10 * ROTA_MS);
    int rc = rota_wait(&t, 1, ROTA_ALL, 10 * ROTA_MS, NULL);
    cr_expect_eq(rc, 0, "the wait ended as it should");
    cr_expect_eq(rota_yield(), -ECANCELED, "the next call refuses");
    cr_expect_eq(rota_scope_end(&scope, rc), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    return 0;
}

/* ---- as completed ---- */

Task_test(as_completed, in_the_order_in_which_they_end) {
    struct work w[N] = { { 30 * ROTA_MS, 1 }, { 10 * ROTA_MS, -EIO }, { 20 * ROTA_MS, 3 } };
    const int order[N] = { 1, 2, 0 };
    rota_task *t[N], *task;
    rota_as_completed it;
    rota_as_completed_slot slots[N];
    intptr_t value;
    int64_t start_time = rota_now();
    start_all(t, w, N);
    cr_expect_eq(rota_as_completed_begin(&it, t, N, slots), 0);
    for (int i = 0; i < N; i++) {
        cr_expect_eq(rota_as_completed_next(&it, &task, &value), 1);
        cr_expect_eq(task, t[order[i]]);
        cr_expect_eq(value, w[order[i]].value);
        cr_expect_eq(since(start_time), w[order[i]].ns);
    }
    cr_expect_eq(rota_as_completed_next(&it, &task, &value), 0);
    cr_expect_eq(rota_as_completed_next(&it, NULL, NULL), 0);
    rota_as_completed_end(&it);
    join_all(t, N);
    return 0;
}

Task_test(as_completed, those_that_had_ended_come_first_and_once) {
    struct work w[2] = { { 0, 1 }, { ROTA_MS, 2 } };
    rota_task *t[2], *task;
    rota_as_completed it;
    rota_as_completed_slot slots[6];
    start_all(t, w, 2);
    cr_expect_eq(rota_await(t[0], NULL), 0);
    rota_task *list[6] = { NULL, t[1], t[0], t[0], t[1], NULL };
    cr_expect_eq(rota_as_completed_begin(&it, list, 6, slots), 0);
    cr_expect_eq(rota_as_completed_next(&it, &task, NULL), 1);
    cr_expect_eq(task, t[0]);
    cr_expect_eq(rota_as_completed_next(&it, &task, NULL), 1);
    cr_expect_eq(task, t[1]);
    cr_expect_eq(rota_as_completed_next(&it, &task, NULL), 0);
    rota_as_completed_end(&it);
    join_all(t, 2);
    return 0;
}

Task_test(as_completed, two_iterations_over_the_same_tasks) {
    struct work w[2] = { { 2 * ROTA_MS, 1 }, { ROTA_MS, 2 } };
    rota_task *t[2], *task;
    rota_as_completed it[2];
    rota_as_completed_slot slots[2][2];
    start_all(t, w, 2);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rota_as_completed_begin(&it[i], t, 2, slots[i]), 0);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(rota_as_completed_next(&it[i % 2], &task, NULL), 1);
        cr_expect_eq(task, t[i < 2]);
    }
    for (int i = 0; i < 2; i++)
        rota_as_completed_end(&it[i]);
    join_all(t, 2);
    return 0;
}

Task_test(as_completed, of_nothing_is_over_at_once) {
    rota_as_completed it;
    cr_expect_eq(rota_as_completed_begin(&it, NULL, 0, NULL), 0);
    cr_expect_eq(rota_as_completed_next(&it, NULL, NULL), 0);
    rota_as_completed_end(&it);
    return 0;
}

Task_test(as_completed, left_early_lets_the_tasks_run_on) {
    struct work w[2] = { { ROTA_MS, 1 }, { 2 * ROTA_MS, 2 } };
    rota_task *t[2];
    rota_as_completed it;
    start_all(t, w, 2);
    {
        rota_as_completed_slot slots[2];
        cr_expect_eq(rota_as_completed_begin(&it, t, 2, slots), 0);
        cr_expect_eq(rota_as_completed_next(&it, NULL, NULL), 1);
        rota_as_completed_end(&it);
        memset(slots, 0xee, sizeof slots); /* nobody looks at them any more */
    }
    cr_expect_eq(rota_join(t[1], NULL), 0);
    cr_expect_eq(rota_as_completed_next(&it, NULL, NULL), 0);
    rota_task_release(t[0]);
    return 0;
}

Task_test(as_completed, a_wait_that_is_cut_short_loses_none) {
    struct work w[2] = { { 10 * ROTA_MS, 1 }, { 20 * ROTA_MS, 2 } };
    rota_task *t[2];
    rota_as_completed it;
    rota_as_completed_slot slots[2];
    rota_scope scope;
    intptr_t value = 0;
    start_all(t, w, 2);
    cr_expect_eq(rota_as_completed_begin(&it, t, 2, slots), 0);
    rota_timeout_begin(&scope, 5 * ROTA_MS);
    cr_expect_eq(rota_as_completed_next(&it, NULL, NULL), -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, -ECANCELED), -ETIMEDOUT);
    for (int i = 1; i <= 2; i++) {
        cr_expect_eq(rota_as_completed_next(&it, NULL, &value), 1);
        cr_expect_eq(value, i);
    }
    rota_as_completed_end(&it);
    join_all(t, 2);
    return 0;
}

struct taker {
    rota_as_completed *it;
    int rc;
    intptr_t value;
};

static intptr_t take_one(void *arg) {
    struct taker *t = arg;
    t->rc = rota_as_completed_next(t->it, NULL, &t->value);
    return rota_yield();
}

Task_test(as_completed, several_takers_are_served_in_order_and_all_told_of_the_end) {
    struct work w[2] = { { 10 * ROTA_MS, 1 }, { 20 * ROTA_MS, 2 } };
    rota_task *t[2], *takers[3];
    rota_as_completed it;
    rota_as_completed_slot slots[2];
    struct taker k[3] = { { &it, 9, 9 }, { &it, 9, 9 }, { &it, 9, 9 } };
    start_all(t, w, 2);
    cr_expect_eq(rota_as_completed_begin(&it, t, 2, slots), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(&takers[i], take_one, &k[i], NULL), 0);
    join_all(takers, 3);
    cr_expect(k[0].rc == 1 && k[0].value == 1);
    cr_expect(k[1].rc == 1 && k[1].value == 2);
    cr_expect_eq(k[2].rc, 0);
    rota_as_completed_end(&it);
    join_all(t, 2);
    return 0;
}

static void cancel_taker(rota_done *done, intptr_t value, void *arg) {
    (void)done, (void)value;
    cr_expect_eq(rota_cancel(arg, NULL), 0);
}

Task_test(as_completed, what_was_handed_over_before_a_cancellation_is_kept) {
    struct work w = { 10 * ROTA_MS, 7 };
    rota_task *t = start(&w), *task;
    rota_as_completed it;
    rota_as_completed_slot slot;
    rota_done later;
    struct taker k = { &it, 9, 9 };
    cr_expect_eq(rota_as_completed_begin(&it, &t, 1, &slot), 0);
    cr_expect_eq(rota_spawn(&task, take_one, &k, NULL), 0);
    /* Runs right behind the callback that hands the slot over, and before the taker. */
    cr_expect_eq(rota_future_on_done(rota_task_future(t), &later, cancel_taker, task), 0);
    intptr_t value = 0;
    cr_expect_eq(rota_join(task, &value), 0);
    cr_expect(k.rc == 1 && k.value == 7);
    cr_expect_eq(value, -ECANCELED, "its next call refused");
    rota_as_completed_end(&it);
    return rota_join(t, NULL);
}

Task_test(as_completed, ended_under_a_taker) {
    struct work w = { 10 * ROTA_MS, 7 };
    rota_task *t = start(&w), *task;
    rota_as_completed it;
    rota_as_completed_slot slot;
    struct taker k = { &it, 9, 9 };
    cr_expect_eq(rota_as_completed_begin(&it, &t, 1, &slot), 0);
    cr_expect_eq(rota_spawn(&task, take_one, &k, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    rota_as_completed_end(&it);
    cr_expect_eq(rota_join(task, NULL), 0);
    cr_expect_eq(k.rc, -ESHUTDOWN);
    return rota_join(t, NULL);
}

Task_test(as_completed, mistakes) {
    rota_as_completed it;
    rota_as_completed_slot slot;
    rota_task *me = rota_self();
    cr_expect_eq(rota_as_completed_begin(NULL, &me, 1, &slot), -EINVAL);
    cr_expect_eq(rota_as_completed_begin(&it, NULL, 1, &slot), -EINVAL);
    cr_expect_eq(rota_as_completed_begin(&it, &me, 1, NULL), -EINVAL);
    cr_expect_eq(rota_as_completed_begin(&it, &me, 1, &slot), -EDEADLK);
    cr_expect_eq(rota_as_completed_next(NULL, NULL, NULL), -EINVAL);
    rota_as_completed_end(NULL);
    return 0;
}
