/* Scopes: cancellation that stays, deadlines, shields, and what happens to those who forget. */
#include "tests/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "coro/task.h"

static intptr_t sleep_1s(void *unused) {
    (void)unused;
    return rota_sleep(ROTA_S);
}

static intptr_t sleep_1ms(void *unused) {
    (void)unused;
    return rota_sleep(ROTA_MS);
}

/* ---- cancelling a task ---- */

Task_test(scope, cancel_ends_a_sleep_in_the_same_turn) { /* B01, C1 */
    rota_task *t;
    intptr_t v;
    int64_t start = rota_now();
    cr_expect_eq(rota_spawn(&t, sleep_1s, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(t, "test"), 0);
    cr_expect(!rota_task_done(t), "it runs when its turn comes");
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, -ECANCELED);
    cr_expect_eq(since(start), 0);
    return 0;
}

Task_test(scope, cancelling_an_ended_task_has_no_effect) { /* B03 */
    rota_task *t;
    intptr_t v;
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)4, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(t, NULL), -ESRCH);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, 4);
    return 0;
}

static intptr_t cancel_self(void *unused) {
    (void)unused;
    cr_expect_eq(rota_cancel(rota_self(), "me"), 0);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(rota_sleep(0), -ECANCELED);
        cr_expect_eq(rota_sleep(5), -ECANCELED);
        cr_expect_eq(rota_yield(), -ECANCELED);
    }
    cr_expect(rota_uncancel());
    cr_expect(!rota_uncancel(), "there is one only");
    cr_expect_eq(rota_sleep(5), 0);
    return 3;
}

Task_test(scope, refuses_until_uncancel) { /* B04, B06, C3 */
    rota_task *t;
    intptr_t v;
    cr_expect_eq(rota_spawn(&t, cancel_self, NULL, NULL), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, 3, "its own result");
    return 0;
}

static intptr_t uncancel_and_go_on(void *unused) {
    (void)unused;
    cr_expect_eq(rota_sleep(ROTA_S), -ECANCELED);
    cr_expect(rota_uncancel());
    cr_expect_eq(rota_sleep(1), 0);
    return 8;
}

Task_test(scope, cancelled_twice_is_cancelled_once) { /* B05, B06 */
    rota_task *t;
    intptr_t v;
    const char *reason = NULL;
    cr_expect_eq(rota_spawn(&t, uncancel_and_go_on, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(t, "first"), 0);
    cr_expect_eq(rota_cancel(t, "second"), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, 8);
    (void)reason;
    return 0;
}

static intptr_t tell_why(void *unused) {
    const char *reason = NULL;
    rota_at at = { NULL, 0 };
    (void)unused;
    cr_expect(!rota_cancelled(&reason, &at));
    cr_expect_null(reason);
    cr_expect_null(at.file);
    cr_expect_eq(rota_sleep(ROTA_S), -ECANCELED);
    cr_expect(rota_cancelled(&reason, &at));
    cr_expect_str_eq(reason ? reason : "", "first");
    cr_expect_str_eq(at.file ? at.file : "", "somewhere.c");
    cr_expect_eq(at.line, 12);
    cr_expect(rota_cancelled(NULL, NULL));
    return 0;
}

Task_test(scope, who_cancelled_and_why_can_be_asked) {
    rota_task *t;
    cr_expect_eq(rota_spawn(&t, tell_why, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel_at(rota_here("somewhere.c", 12), t, "first"), 0);
    cr_expect_eq(rota_cancel(t, "second"), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    return 0;
}

Task_test(scope, an_expired_one_names_where_it_began) {
    const char *reason = "x";
    rota_at at;
    rota_scope s;
    rota_timeout_begin_at(rota_here("there.c", 7), &s, 0);
    cr_expect(rota_cancelled(&reason, &at));
    cr_expect_null(reason);
    cr_expect_str_eq(at.file ? at.file : "", "there.c");
    cr_expect_eq(at.line, 7);
    cr_expect_eq(rota_scope_end(&s, -ECANCELED), -ETIMEDOUT);
    cr_expect(!rota_cancelled(NULL, NULL));
    return 0;
}

static intptr_t ignore_cancellation(void *arg) {
    int *refusals = arg;
    for (int i = 0; i < 500; i++)
        *refusals += rota_sleep(ROTA_MS) == -ECANCELED;
    return 0;
}

static intptr_t count_turns(void *arg) {
    for (int i = 0; i < 100; i++) {
        cr_expect_eq(rota_yield(), 0);
        ++*(int *)arg;
    }
    return 0;
}

static intptr_t refusal_loop_main(void *unused) {
    (void)unused;
    int refusals = 0, others = 0;
    rota_task *t;
    cr_expect_eq(rota_spawn(&t, ignore_cancellation, &refusals, &(rota_spawn_options){ .name = "deaf" }), 0);
    cr_expect_eq(rota_spawn(NULL, count_turns, &others, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(refusals, 500);
    cr_expect_eq(others, 100, "refusals yield");
    return 0;
}

Test(scope, a_task_that_ignores_refusals_yields_and_is_named_once) { /* B07 */
    cr_expect_eq(run_with(refusal_loop_main, NULL, NULL, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_IGNORED_CANCEL), 1);
    cr_expect_eq(reports.n, 1);
    cr_expect_str_eq(report_of(ROTA_REPORT_IGNORED_CANCEL)->task, "deaf");
    cr_expect_not_null(strstr(report_of(ROTA_REPORT_IGNORED_CANCEL)->text, "until it leaves its scope, spawned at "));
}

/* ---- deadlines ---- */

Task_test(scope, timeout_ends_a_long_body) { /* B11, C5 */
    int64_t start = rota_now();
    cr_expect_eq(rota_timeout(10 * ROTA_MS, sleep_1s, NULL), -ETIMEDOUT);
    cr_expect_eq(since(start), 10 * ROTA_MS);
    cr_expect_eq(rota_sleep(0), 0, "and nothing is left of it");
    return 0;
}

static intptr_t timeout_not_needed(void *unused) {
    (void)unused;
    int64_t start = rota_now();
    cr_expect_eq(rota_timeout(ROTA_S, sleep_1ms, NULL), 0);
    cr_expect_eq(since(start), ROTA_MS);
    return rota_now() == start + ROTA_MS;
}

Test(scope, a_timeout_that_was_not_needed_leaves_no_timer) { /* B12 */
    rota_loop *loop = open_loop();
    rota_task *t;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, timeout_not_needed, NULL, NULL), 0);
    cr_expect_eq(rota_loop_run(loop), 0, "ends by itself");
    cr_expect_eq(rota_task_result(t, &v), 0);
    cr_expect_eq(v, 1);
    cr_expect_eq(rota__timers_count(&loop->timers), 0u);
    rota_task_release(t);
    close_loop(loop);
}

static intptr_t await_a_done_one(void *unused) {
    rota_future f = { 0 };
    (void)unused;
    cr_expect_eq(rota_future_set(&f, 1), 0);
    return rota_future_await(&f, NULL);
}

Task_test(scope, a_limit_of_nothing_has_already_expired) { /* B13 */
    static const int64_t limits[] = { 0, -1, INT64_MIN };
    int64_t start = rota_now();
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(rota_timeout(limits[i], sleep_1s, NULL), -ETIMEDOUT);
        cr_expect_eq(rota_timeout(limits[i], await_a_done_one, NULL), -ETIMEDOUT, "ready or not");
        cr_expect_eq(rota_timeout(limits[i], return_arg, (void *)5), 5, "a body that does not suspend");
    }
    cr_expect_eq(since(start), 0);
    return 0;
}

Task_test(scope, forever_is_no_deadline) {
    int64_t start = rota_now();
    cr_expect_eq(rota_timeout(ROTA_FOREVER, sleep_1s, NULL), 0);
    cr_expect_eq(rota_timeout(ROTA_FOREVER - 1, sleep_1s, NULL), 0);
    cr_expect_eq(since(start), 2 * ROTA_S);
    return 0;
}

Task_test(scope, nested_timeouts_that_expire_together) {
    rota_scope outer, middle, inner;
    int64_t start = rota_now();
    rota_timeout_begin(&outer, 10);
    rota_timeout_begin(&middle, 10);
    rota_timeout_begin(&inner, 10);
    cr_expect_eq(rota_scope_end(&inner, rota_sleep(50)), -ETIMEDOUT);
    cr_expect_eq(rota_scope_end(&middle, rota_sleep(50)), -ETIMEDOUT);
    cr_expect_eq(rota_scope_end(&outer, rota_sleep(50)), -ETIMEDOUT);
    cr_expect(rota_scope_expired(&inner) && rota_scope_expired(&middle) && rota_scope_expired(&outer));
    cr_expect_eq(since(start), 10);
    cr_expect_eq(rota_sleep(1), 0);
    return 0;
}

Task_test(scope, the_inner_timeout_is_not_the_outers) { /* B16 */
    rota_scope outer, inner;
    rota_timeout_begin(&outer, 20);
    rota_timeout_begin(&inner, 10);
    intptr_t v = rota_scope_end(&inner, rota_sleep(50));
    cr_expect_eq(v, -ETIMEDOUT);
    cr_expect(!rota_scope_expired(&outer));
    cr_expect_eq(rota_scope_end(&outer, v), -ETIMEDOUT, "kept, as any failure of the body");
    cr_expect(!rota_scope_expired(&outer), "but the outer one does not claim it");
    return 0;
}

Task_test(scope, the_outer_timeout_is_not_the_inners) {
    rota_scope outer, inner;
    rota_timeout_begin(&outer, 10);
    rota_timeout_begin(&inner, 20);
    intptr_t v = rota_scope_end(&inner, rota_sleep(50));
    cr_expect_eq(v, -ECANCELED);
    cr_expect(!rota_scope_expired(&inner));
    cr_expect_eq(rota_scope_end(&outer, v), -ETIMEDOUT);
    cr_expect(rota_scope_expired(&outer));
    return 0;
}

Task_test(scope, a_deadline_nobody_ran_into_is_not_expired) {
    rota_scope s;
    rota_timeout_begin(&s, 0);
    cr_expect_eq(rota_scope_end(&s, 7), 7);
    cr_expect(!rota_scope_expired(&s), "it refused and ended nothing");
    return 0;
}

Task_test(scope, values_and_other_failures_are_kept_after_expiry) { /* B18 */
    static char object;
    static const intptr_t outcomes[] = { -EIO, 0, 3 /* a descriptor */, -ETIMEDOUT };
    for (int i = 0; i < 5; i++) {
        intptr_t v = i < 4 ? outcomes[i] : (intptr_t)&object;
        rota_scope s;
        rota_timeout_begin(&s, 1);
        cr_expect_eq(rota_sleep(5), -ECANCELED);
        cr_expect_eq(rota_scope_end(&s, v), v);
        cr_expect(rota_scope_expired(&s), "which can still be asked");
    }
    return 0;
}

Task_test(scope, a_timeout_waits_for_the_bodys_cleanup) { /* B17 */
    rota_scope s, cleanup;
    int64_t start = rota_now();
    rota_timeout_begin(&s, 10 * ROTA_MS);
    intptr_t v = rota_sleep(ROTA_S);
    rota_shield_begin(&cleanup, 100 * ROTA_MS);
    cr_expect_eq(rota_scope_end(&cleanup, rota_sleep(50 * ROTA_MS)), 0);
    cr_expect_eq(rota_scope_end(&s, v), -ETIMEDOUT);
    cr_expect_eq(since(start), 60 * ROTA_MS);
    return 0;
}

/* ---- moving limits ---- */

static intptr_t move_limit(void *arg) {
    rota_scope *s = arg;
    cr_expect_eq(rota_sleep(5), 0);
    rota_scope_limit(s, 10);
    return 0;
}

Task_test(scope, limits_can_be_moved_while_the_body_sleeps) { /* B15 */
    static const int64_t before[] = { 7, 100, ROTA_FOREVER }; /* later, earlier, one where was none */
    for (int i = 0; i < 3; i++) {
        rota_scope s;
        int64_t start = rota_now();
        rota_timeout_begin(&s, before[i]);
        cr_expect_eq(rota_spawn(NULL, move_limit, &s, NULL), 0);
        cr_expect_eq(rota_scope_end(&s, rota_sleep(50)), -ETIMEDOUT);
        cr_expect_eq(since(start), 15);
    }
    return 0;
}

Task_test(scope, a_limit_can_be_taken_away) { /* B15 */
    rota_scope s;
    int64_t start = rota_now();
    rota_timeout_begin(&s, 10);
    rota_scope_limit(&s, ROTA_FOREVER);
    cr_expect_eq(rota_scope_end(&s, rota_sleep(50)), 0);
    cr_expect_eq(since(start), 50);
    rota_timeout_begin(&s, 10);
    rota_scope_limit(&s, 0);
    cr_expect_eq(rota_sleep(1), -ECANCELED);
    rota_scope_limit(&s, ROTA_FOREVER);
    cr_expect_eq(rota_sleep(1), -ECANCELED, "what has expired stays so");
    cr_expect_eq(rota_scope_end(&s, -ECANCELED), -ETIMEDOUT);
    return 0;
}

Task_test(scope, the_outer_limit_still_holds_when_the_inner_moves) {
    rota_scope outer, inner;
    int64_t start = rota_now();
    rota_timeout_begin(&outer, 10);
    rota_timeout_begin(&inner, 5);
    rota_scope_limit(&inner, 100);
    cr_expect_eq(rota_scope_end(&inner, rota_sleep(50)), -ECANCELED);
    cr_expect_eq(rota_scope_end(&outer, -ECANCELED), -ETIMEDOUT);
    cr_expect_eq(since(start), 10);
    return 0;
}

/* ---- cancelling a scope ---- */

static intptr_t cancel_scope_soon(void *scope) {
    cr_expect_eq(rota_sleep(5), 0);
    rota_scope_cancel((rota_scope *)scope, "enough");
    return 0;
}

Task_test(scope, another_task_may_cancel_it) {
    rota_scope s;
    int64_t start = rota_now();
    rota_scope_begin(&s);
    cr_expect_eq(rota_spawn(NULL, cancel_scope_soon, &s, NULL), 0);
    cr_expect_eq(rota_sleep(50), -ECANCELED);
    cr_expect_eq(rota_sleep(50), -ECANCELED, "as long as one is inside");
    cr_expect(rota_scope_cancelled(&s) && !rota_scope_expired(&s));
    cr_expect_eq(rota_scope_end(&s, -ECANCELED), -ECANCELED);
    cr_expect(rota_scope_cancelled(&s), "also after the end");
    cr_expect_eq(since(start), 5);
    cr_expect_eq(rota_sleep(1), 0);
    return 0;
}

Task_test(scope, cancelling_an_outer_one_refuses_in_all_inside) {
    rota_scope s[3];
    for (int i = 0; i < 3; i++)
        rota_scope_begin(&s[i]);
    rota_scope_cancel(&s[1], NULL);
    cr_expect_eq(rota_sleep(1), -ECANCELED);
    cr_expect_eq(rota_scope_end(&s[2], -ECANCELED), -ECANCELED);
    cr_expect_eq(rota_sleep(1), -ECANCELED);
    cr_expect(!rota_scope_cancelled(&s[2]), "only the one that was");
    cr_expect_eq(rota_scope_end(&s[1], -ECANCELED), -ECANCELED);
    cr_expect_eq(rota_sleep(1), 0);
    cr_expect_eq(rota_scope_end(&s[0], 0), 0);
    return 0;
}

Task_test(scope, uncancel_leaves_other_scopes_as_they_are) {
    rota_scope s;
    rota_scope_begin(&s);
    rota_scope_cancel(&s, NULL);
    cr_expect(!rota_uncancel(), "it is about rota_cancel of the task");
    cr_expect_eq(rota_sleep(1), -ECANCELED);
    cr_expect_eq(rota_scope_end(&s, 0), 0);
    return 0;
}

static intptr_t timeout_then_outside(void *arg) {
    rota_scope s;
    bool *first = arg;
    rota_timeout_begin(&s, 10);
    intptr_t v = rota_scope_end(&s, rota_sleep(50));
    cr_expect_eq(v, *first ? -ECANCELED : -ETIMEDOUT);
    cr_expect_eq(rota_scope_expired(&s), !*first);
    return rota_sleep(1) == -ECANCELED ? 1 : 0;
}

static void cancel_at_once(rota_timer *timer, void *task) {
    (void)timer;
    cr_expect_eq(rota_cancel((rota_task *)task, "outside"), 0);
}

Task_test(scope, expiry_and_outside_cancellation_in_the_same_turn) { /* B14 */
    for (int first = 0; first < 2; first++) {
        rota_task *t;
        rota_timer timer;
        bool cancel_first = first;
        intptr_t v;
        /* Timers of one time fire in the order in which they were started. */
        cr_expect_eq(rota_spawn(&t, timeout_then_outside, &cancel_first, NULL), 0);
        rota_timer_init(&timer, cancel_at_once, t);
        if (first)
            cr_expect_eq(rota_timer_start(rota_loop_current(), &timer, 10), 0);
        cr_expect_eq(rota_yield(), 0);
        if (!first)
            cr_expect_eq(rota_timer_start(rota_loop_current(), &timer, 10), 0);
        cr_expect_eq(rota_join(t, &v), 0);
        cr_expect_eq(v, 1, "the cancellation from outside is delivered after it");
    }
    return 0;
}

/* ---- shields ---- */

static intptr_t clean_up(void *arg) {
    int64_t bound = *(int64_t *)arg;
    cr_expect_eq(rota_sleep(ROTA_S), -ECANCELED);
    cr_expect_eq(rota_sleep(1), -ECANCELED, "unshielded");
    intptr_t v = rota_shield(bound, sleep_1ms, NULL);
    cr_expect_eq(rota_sleep(1), -ECANCELED, "delivered after the shield");
    return v;
}

Task_test(scope, a_shield_hides_cancellation_up_to_its_bound) { /* B08, B09 */
    static const int64_t bounds[] = { 10 * ROTA_MS, ROTA_MS + 1, ROTA_US, 0 };
    for (int i = 0; i < 4; i++) {
        rota_task *t;
        intptr_t v;
        int64_t bound = bounds[i];
        cr_expect_eq(rota_spawn(&t, clean_up, &bound, NULL), 0);
        cr_expect_eq(rota_yield(), 0);
        cr_expect_eq(rota_cancel(t, NULL), 0);
        cr_expect_eq(rota_yield(), 0);
        cr_expect_eq(rota_cancel(t, NULL), i < 3 ? 0 : -ESRCH, "again, while it cleans up");
        cr_expect_eq(rota_join(t, &v), 0);
        cr_expect_eq(v, i < 2 ? 0 : -ETIMEDOUT);
    }
    return 0;
}

Task_test(scope, cancelled_inside_a_shield_is_delivered_after_it) { /* B08 */
    rota_scope outer, shield;
    rota_scope_begin(&outer);
    rota_shield_begin(&shield, ROTA_S);
    cr_expect_eq(rota_spawn(NULL, cancel_scope_soon, &outer, NULL), 0);
    cr_expect_eq(rota_sleep(50), 0);
    cr_expect(!rota_cancelled(NULL, NULL));
    cr_expect_eq(rota_scope_end(&shield, 0), 0);
    cr_expect_eq(rota_sleep(1), -ECANCELED);
    cr_expect_eq(rota_scope_end(&outer, 0), 0);
    return 0;
}

Task_test(scope, deadlines_inside_a_shield_apply) {
    rota_scope outer, shield;
    rota_scope_begin(&outer);
    rota_scope_cancel(&outer, NULL);
    rota_shield_begin(&shield, ROTA_S);
    cr_expect_eq(rota_timeout(5, sleep_1s, NULL), -ETIMEDOUT);
    cr_expect_eq(rota_sleep(1), 0);
    rota_scope_cancel(&shield, NULL);
    cr_expect_eq(rota_sleep(1), -ECANCELED, "a shield can be cancelled itself");
    cr_expect_eq(rota_scope_end(&shield, -ECANCELED), -ECANCELED);
    cr_expect_eq(rota_scope_end(&outer, 0), 0);
    return 0;
}

Task_test(scope, a_shield_around_what_is_done_is_no_wait) { /* B10 */
    int64_t start = rota_now();
    cr_expect_eq(rota_cancel(rota_self(), NULL), 0);
    cr_expect_eq(rota_shield(ROTA_S, await_a_done_one, NULL), 0);
    cr_expect_eq(since(start), 0);
    cr_expect(rota_uncancel());
    return 0;
}

/* ---- from outside of tasks ---- */

Test(scope, outside_of_a_task_it_does_nothing) {
    rota_scope s;
    rota_timeout_begin(&s, 0);
    cr_expect_eq(rota_scope_end(&s, 5), 5);
    cr_expect_eq(rota_scope_end(&s, -ECANCELED), -ECANCELED);
    cr_expect(!rota_scope_expired(&s) && !rota_scope_cancelled(&s));
    rota_scope_cancel(&s, NULL);
    rota_scope_limit(&s, 0);
    cr_expect_eq(rota_timeout(0, return_arg, (void *)6), 6);
    cr_expect_eq(rota_shield(0, return_arg, (void *)6), 6);
}

Test(scope, null_is_harmless) { /* I03 */
    rota_scope_begin(NULL);
    rota_timeout_begin(NULL, 5);
    rota_shield_begin(NULL, 5);
    cr_expect_eq(rota_scope_end(NULL, 9), 9);
    rota_scope_cancel(NULL, NULL);
    rota_scope_limit(NULL, 1);
    cr_expect(!rota_scope_expired(NULL));
    cr_expect(!rota_scope_cancelled(NULL));
    cr_expect_eq(rota_timeout(5, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_shield(5, NULL, NULL), -EINVAL);
}

static void *cancel_from_thread(void *scope) {
    rota_scope_cancel((rota_scope *)scope, NULL);
    rota_scope_limit(scope, 0);
    return NULL;
}

Task_test(scope, other_threads_change_nothing) { /* I05 */
    rota_scope s;
    pthread_t thread;
    rota_scope_begin(&s);
    cr_expect_eq(pthread_create(&thread, NULL, cancel_from_thread, &s), 0);
    pthread_join(thread, NULL);
    cr_expect_eq(rota_scope_end(&s, rota_sleep(5)), 0);
    return 0;
}

static intptr_t end_foreign(void *scope) {
    return rota_scope_end(scope, 4);
}

Task_test(scope, only_its_own_task_can_end_it) {
    rota_scope s;
    rota_task *t;
    intptr_t v;
    rota_scope_begin(&s);
    cr_expect_eq(rota_spawn(&t, end_foreign, &s, NULL), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, 4);
    rota_scope_cancel(&s, NULL);
    cr_expect_eq(rota_sleep(1), -ECANCELED, "still inside");
    cr_expect_eq(rota_scope_end(&s, 0), 0);
    cr_expect_eq(rota_scope_end(&s, 3), 3, "twice");
    return 0;
}

/* ---- left without an end ---- */

/* Frames of several shapes: what a forgotten scope shares its memory with afterwards differs. */
static __attribute__((noinline)) int leave_small(int64_t limit) {
    rota_scope s;
    rota_timeout_begin(&s, limit);
    return 1;
}

static __attribute__((noinline)) int leave_large(int64_t limit) {
    volatile char room[300];
    rota_scope s;
    rota_timeout_begin(&s, limit);
    memset((char *)(uintptr_t)room, 1, sizeof room);
    return room[7];
}

static __attribute__((noinline)) int leave_two(int64_t limit) {
    rota_scope s;
    rota_timeout_begin(&s, limit);
    return leave_small(limit);
}

struct leaver {
    int (*leave)(int64_t limit);
    int (*next)(void);
    int64_t limit;
    int reports;
};

static int next_sleep(void) { return rota_sleep(5); }
static int next_yield(void) { return rota_yield(); }
static int next_no_sleep(void) { return rota_sleep(0); }
static int next_until(void) { return rota_sleep_until(0); }
static int next_future(void) {
    static rota_future f;
    if (!rota_future_done(&f) && rota_future_set(&f, 0) < 0)
        return -EIO;
    return rota_future_await(&f, NULL);
}
static int next_join(void) {
    rota_task *t;
    int rc = rota_spawn(&t, return_arg, NULL, NULL);
    return rc < 0 ? rc : rota_join(t, NULL);
}
static int next_timeout(void) { return (int)rota_timeout(5, return_arg, NULL); }
static int next_gather(void) {
    rota_call call = { return_arg, NULL, 0 };
    return rota_gather(&call, 1, NULL);
}
static int next_group(void) {
    rota_group g;
    rota_group_begin(&g, NULL);
    return (int)rota_group_end(&g, 0);
}
static int next_scope(void) {
    rota_scope s;
    rota_scope_begin(&s);
    return (int)rota_scope_end(&s, 0);
}
static int next_end(void) { return 0; }

static intptr_t leave_and_go_on(void *arg) {
    const struct leaver *l = arg;
    (void)l->leave(l->limit);
    cr_expect_eq(l->next(), 0, "the forgotten deadline does not count");
    return 0;
}

static void expect_repair(int (*leave)(int64_t), int (*next)(void), int scopes) {
    struct leaver l = { leave, next, 0, scopes };
    intptr_t v = -1;
    cr_expect_eq(run_with(leave_and_go_on, &l, &v, NULL), 0);
    cr_expect_eq(v, 0);
    cr_expect_eq(reports_of(ROTA_REPORT_SCOPE), scopes);
    cr_expect_eq(reports.n, scopes);
    for (int i = 0; i < reports.n && i < MAX_REPORTS; i++) {
        cr_expect_not_null(reports.all[i].at.file);
        cr_expect_not_null(strstr(reports.all[i].text, "test_scope.c:"), "%s", reports.all[i].text);
    }
}

/* A new frame in place of the forgotten one: to see that, its memory must be read, which valgrind takes for an
 * uninitialised value, and rightly. */
static void expect_repairs_by_content(int (*next)(void)) {
    if (under_valgrind())
        return;
    expect_repair(leave_small, next, 1);
    expect_repair(leave_large, next, 1);
    expect_repair(leave_two, next, 2);
}

static void expect_repairs(int (*next)(void)) {
    expect_repair(leave_small, next, 1);
    expect_repair(leave_large, next, 1);
    expect_repair(leave_two, next, 2);
}

Test(scope, left_by_early_return_is_repaired_at_the_next_sleep) { expect_repairs(next_sleep); } /* B29 */
Test(scope, left_by_early_return_is_repaired_at_a_yield) { expect_repairs(next_yield); }
Test(scope, left_by_early_return_is_repaired_at_an_empty_sleep) { expect_repairs(next_no_sleep); }
Test(scope, left_by_early_return_is_repaired_at_sleep_until) { expect_repairs(next_until); }
Test(scope, left_by_early_return_is_repaired_at_an_await) { expect_repairs(next_future); }
Test(scope, left_by_early_return_is_repaired_at_a_join) { expect_repairs(next_join); }
Test(scope, left_by_early_return_is_repaired_at_a_timeout) { expect_repairs(next_timeout); }
Test(scope, left_by_early_return_is_repaired_at_a_gather) { expect_repairs(next_gather); }
Test(scope, left_by_early_return_is_repaired_at_a_group) { expect_repairs_by_content(next_group); }
Test(scope, left_by_early_return_is_repaired_at_a_scope) { expect_repairs_by_content(next_scope); }
Test(scope, left_by_early_return_is_repaired_at_the_end_of_the_task) { expect_repairs(next_end); }

static intptr_t leave_inside(void *unused) {
    rota_scope outer;
    (void)unused;
    rota_timeout_begin(&outer, ROTA_S);
    (void)leave_large(0);
    cr_expect_eq(rota_scope_end(&outer, 6), 6);
    cr_expect_eq(rota_sleep(5), 0);
    return 0;
}

Test(scope, left_by_early_return_is_repaired_at_an_enclosing_end) { /* B29 */
    cr_expect_eq(run_with(leave_inside, NULL, NULL, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_SCOPE), 1);
    cr_expect_eq(reports.n, 1);
}

static intptr_t leave_and_be_cancelled(void *unused) {
    (void)unused;
    (void)leave_two(ROTA_S);
    cr_expect_eq(rota_cancel(rota_self(), NULL), 0);
    cr_expect(rota_cancelled(NULL, NULL));
    cr_expect(rota_uncancel());
    cr_expect_eq(rota_sleep(5), 0);
    return 0;
}

Test(scope, left_by_early_return_and_cancelled_before_the_repair) {
    cr_expect_eq(run_with(leave_and_be_cancelled, NULL, NULL, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_SCOPE), 2);
}

static intptr_t keep_in_static_memory(void *unused) {
    static rota_scope s;
    rota_scope *heap = malloc(sizeof *heap);
    (void)unused;
    rota_scope_begin(&s);
    rota_timeout_begin(heap, 10);
    cr_expect_eq(rota_sleep(1), 0);
    cr_expect_eq(rota_scope_end(heap, rota_sleep(50)), -ETIMEDOUT);
    cr_expect_eq(rota_scope_end(&s, 0), 0);
    free(heap);
    return 0;
}

Task_test(scope, may_lie_anywhere) {
    return keep_in_static_memory(NULL);
}

static __attribute__((noinline)) int deeper(int depth) {
    volatile char room[64];
    memset((char *)(uintptr_t)room, depth, sizeof room);
    return depth ? deeper(depth - 1) + room[5] - depth : rota_sleep(1);
}

Task_test(scope, calls_in_deeper_and_shallower_frames_repair_nothing) {
    rota_scope s;
    rota_timeout_begin(&s, ROTA_S);
    for (int depth = 0; depth < 20; depth++)
        cr_expect_eq(deeper(depth), 0);
    cr_expect_eq(rota_scope_end(&s, 0), 0);
    return 0;
}

/* ---- deep and many: linear, and on little stack ---- */

#ifdef ROTA__ASAN
enum { SMALL = 64 * 1024 };
#else
enum { SMALL = 16 * 1024 };
#endif
enum { MANY = 100 * 1000 };

struct nest {
    rota_scope *scopes;
    size_t n;
};

static intptr_t nest_and_wait(void *arg) {
    struct nest *nest = arg;
    for (size_t i = 0; i < nest->n; i++)
        rota_timeout_begin(&nest->scopes[i], ROTA_S + (int64_t)i);
    intptr_t v = rota_sleep_until(ROTA_FOREVER - 1);
    size_t still = 0;
    for (size_t i = nest->n; i-- > 0;) {
        still += v == -ECANCELED;
        v = rota_scope_end(&nest->scopes[i], v);
    }
    cr_expect_eq(still, nest->n);
    return v;
}

static intptr_t cancel_it(void *task) { return rota_cancel((rota_task *)task, "deep"); }

Task_test(scope, a_hundred_thousand_nested_scopes_are_cancelled) {
    struct nest nest = { calloc(MANY, sizeof(rota_scope)), under_valgrind() ? MANY / 10 : MANY };
    rota_task *t, *canceller;
    intptr_t v;
    cr_expect_eq(rota_spawn(&t, nest_and_wait, &nest, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_spawn(&canceller, cancel_it, t, &(rota_spawn_options){ .stack_size = SMALL }), 0);
    cr_expect_eq(rota_join(canceller, NULL), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, -ECANCELED);
    free(nest.scopes);
    return 0;
}

static intptr_t nest_and_time_out(void *arg) {
    struct nest *nest = arg;
    for (size_t i = 0; i < nest->n; i++)
        rota_timeout_begin(&nest->scopes[i], 10);
    intptr_t v = rota_sleep(50);
    size_t expired = 0;
    for (size_t i = nest->n; i-- > 0;) {
        cr_expect_eq(rota_yield(), -ECANCELED);
        v = rota_scope_end(&nest->scopes[i], -ECANCELED);
        expired += v == -ETIMEDOUT;
    }
    cr_expect_eq(expired, nest->n);
    return 0;
}

static intptr_t nest_timeouts_main(void *unused) {
    (void)unused;
    struct nest nest = { calloc(MANY, sizeof(rota_scope)), under_valgrind() ? MANY / 10 : MANY };
    (void)nest_and_time_out(&nest);
    free(nest.scopes);
    return 0;
}

Test(scope, a_hundred_thousand_nested_scopes_expire_together) {
    cr_expect_eq(run_with(nest_timeouts_main, NULL, NULL, NULL), 0);
}

/* Task i waits for task i + 1; the last one waits for ever. Cancelled one by one, and all by their group. */
struct chain {
    rota_task **tasks;
    size_t n;
};

struct link {
    struct chain *chain;
    size_t i;
};

static intptr_t wait_for_next(void *arg) {
    struct link *l = arg;
    if (l->i + 1 == l->chain->n)
        return rota_sleep_until(ROTA_FOREVER - 1);
    intptr_t v;
    int rc = rota_await(l->chain->tasks[l->i + 1], &v);
    return rc < 0 ? rc : v;
}

#ifdef ROTA__ASAN
enum { CHAIN_STACK = 32 * 1024, CHAIN = 10 * 1000 };
#else
enum { CHAIN_STACK = 4096, CHAIN = 100 * 1000 };
#endif

/* Guards by mprotect cost two mappings a stack, of which a process has 65,530. */
static size_t chain_length(void) {
    bool few = under_valgrind() || atomic_load(&rota__stack_guards) == ROTA__GUARD_MPROTECT;
    return few ? CHAIN / 10 : CHAIN;
}

static intptr_t chain_main(void *unused) {
    (void)unused;
    struct chain chain = { NULL, chain_length() };
    rota_group g;
    chain.tasks = calloc(chain.n, sizeof *chain.tasks);
    rota_group_begin(&g, &(rota_group_options){ .keep_going = true });
    rota_spawn_options opt = { .group = &g, .stack_size = CHAIN_STACK, .arg_size = sizeof(struct link) };
    int rc = 0;
    for (size_t i = 0; i < chain.n && rc == 0; i++)
        rc = rota_spawn(&chain.tasks[i], wait_for_next, &(struct link){ &chain, i }, &opt);
    cr_expect_eq(rc, 0);
    cr_expect_eq(rota_sleep(1), 0);
    rota_task *canceller;
    cr_expect_eq(rota_spawn(&canceller, cancel_it, chain.tasks[chain.n - 1],
                            &(rota_spawn_options){ .stack_size = SMALL }), 0);
    cr_expect_eq(rota_join(canceller, NULL), 0);
    cr_expect_eq(rota_sleep(1), 0);
    /* The end was cancelled, and the whole chain handed the outcome on; nobody else was cancelled. */
    intptr_t v = 0;
    cr_expect_eq(rota_task_result(chain.tasks[0], &v), 0);
    cr_expect_eq(v, -ECANCELED);
    v = rota_group_end(&g, 0);
    free(chain.tasks);
    return v;
}

Test(scope, a_chain_of_a_hundred_thousand_awaiting_tasks_ends, .timeout = 120) {
    intptr_t v = 0;
    cr_expect_eq(run_with(chain_main, NULL, &v, NULL), 0);
    cr_expect_eq(v, 0);
}

static intptr_t cancel_group(void *group) {
    rota_scope_cancel(&((rota_group *)group)->scope, "all");
    return 0;
}

static intptr_t cancelled_chain_main(void *unused) {
    (void)unused;
    struct chain chain = { NULL, chain_length() };
    rota_group g;
    chain.tasks = calloc(chain.n, sizeof *chain.tasks);
    rota_group_begin(&g, NULL);
    rota_spawn_options opt = { .group = &g, .stack_size = CHAIN_STACK, .arg_size = sizeof(struct link) };
    int rc = 0;
    for (size_t i = 0; i < chain.n && rc == 0; i++)
        rc = rota_spawn(&chain.tasks[i], wait_for_next, &(struct link){ &chain, i }, &opt);
    cr_expect_eq(rc, 0);
    cr_expect_eq(rota_spawn(NULL, cancel_group, &g, &(rota_spawn_options){ .stack_size = SMALL }), 0);
    rc = (int)rota_group_end(&g, 0);
    free(chain.tasks);
    return rc;
}

Test(scope, a_chain_of_a_hundred_thousand_awaiting_tasks_is_cancelled_at_once, .timeout = 120) {
    intptr_t v = 1;
    cr_expect_eq(run_with(cancelled_chain_main, NULL, &v, NULL), 0);
    cr_expect_eq(v, 0, "who obeys does not fail");
}

/* Each task has a group with one child, which has a group with one child …: cancelled from the top. */
static intptr_t nested_groups(void *depth) {
    intptr_t n = (intptr_t)depth;
    if (n == 0)
        return rota_sleep_until(ROTA_FOREVER - 1);
    rota_group g;
    rota_group_begin(&g, NULL);
    int rc = rota_spawn(NULL, nested_groups, (void *)(n - 1),
                        &(rota_spawn_options){ .group = &g, .stack_size = CHAIN_STACK });
    return rota_group_end(&g, rc == -ENOMEM ? rota_sleep_until(ROTA_FOREVER - 1) : rc);
}

Task_test(scope, deeply_nested_groups_are_cancelled_from_the_top) {
    rota_task *t, *canceller;
    intptr_t v;
    intptr_t depth = under_valgrind() ? 1000 : CHAIN / 5;
    cr_expect_eq(rota_spawn(&t, nested_groups, (void *)depth, NULL), 0);
    cr_expect_eq(rota_sleep(1), 0);
    cr_expect_geq(rota_loop_tasks(rota_loop_current()), 900u);
    cr_expect_eq(rota_spawn(&canceller, cancel_it, t, &(rota_spawn_options){ .stack_size = SMALL }), 0);
    cr_expect_eq(rota_join(canceller, NULL), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect(v == 0 || v == -ECANCELED, "%ld", (long)v);
    return 0;
}

/* ---- a storm ---- */

enum { STORM = 200 };

struct storm {
    rota_task *tasks[STORM];
    unsigned random;
    int ended;
};

static unsigned next_random(struct storm *s) {
    s->random = s->random * 1103515245u + 12345u;
    return s->random >> 16;
}

static intptr_t in_the_storm(void *arg) {
    struct storm *s = arg;
    for (int i = 0; i < 50; i++) {
        int rc = rota_sleep((int64_t)(next_random(s) % 20));
        if (rc == -ECANCELED && next_random(s) % 2)
            (void)rota_uncancel();
        else if (rc < 0)
            break;
        (void)rota_cancel(s->tasks[next_random(s) % STORM], "storm");
    }
    s->ended++;
    return 0;
}

Task_test(scope, in_a_storm_of_cancellations_every_task_ends_once) { /* B28 */
    static struct storm s;
    s = (struct storm){ .random = 7 };
    for (int i = 0; i < STORM; i++)
        cr_expect_eq(rota_spawn(&s.tasks[i], in_the_storm, &s, NULL), 0);
    for (int i = 0; i < STORM; i++)
        cr_expect_eq(rota_await(s.tasks[i], NULL), 0);
    cr_expect_eq(s.ended, STORM);
    for (int i = 0; i < STORM; i++)
        rota_task_release(s.tasks[i]);
    return 0;
}
