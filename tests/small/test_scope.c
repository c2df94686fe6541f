/* Scopes of the small profile. */
#include "tests/small/kit.h"

#define SCOPE_TEST(name)                                                             \
    static intptr_t name##_body(void *arg);                                          \
    Test(small_scope, name) {                                                        \
        intptr_t result = -1;                                                        \
        kit_clock(1000 * ROTA_S);                                                    \
        cr_assert_eq(rota_run(name##_body, NULL, &result, kit_memory()), 0);         \
        cr_expect_eq(result, 0);                                                     \
    }                                                                                \
    static intptr_t name##_body(void *arg)

static intptr_t sleeps(void *arg) { return rota_sleep(*(const int64_t *)arg); }

static const int64_t short_time = 2 * ROTA_MS, long_time = ROTA_S;

static intptr_t yields(void *arg) { return (void)arg, rota_yield(); }

/* Time has gone on since the turn began, and calls go by the turn's: a limit that has passed is in force all the same. */
SCOPE_TEST(no_time_at_all_is_over_at_once) {
    rota_task *task;
    intptr_t value = 1;
    (void)arg;
    kit_advance(3 * ROTA_MS);
    cr_expect_eq(rota_timeout(0, yields, NULL), -ETIMEDOUT);
    cr_expect_eq(rota_timeout(-ROTA_S, yields, NULL), -ETIMEDOUT);
    cr_expect_eq(rota_timeout(1, yields, NULL), 0);
    cr_expect_eq(rota_spawn(&task, yields, NULL, &(rota_spawn_options){ .timeout = -1 }), 0);
    cr_expect_eq(rota_join(task, &value), 0);
    cr_expect_eq(value, -ETIMEDOUT);
    return 0;
}

SCOPE_TEST(a_timeout_ends_what_takes_too_long) {
    int64_t start = rota_now();
    (void)arg;
    cr_expect_eq(rota_timeout(10 * ROTA_MS, sleeps, (void *)(uintptr_t)&long_time), -ETIMEDOUT);
    cr_expect_geq(rota_now() - start, 10 * ROTA_MS);
    cr_expect_leq(rota_now() - start, 12 * ROTA_MS);
    cr_expect_eq(rota_timeout(10 * ROTA_MS, sleeps, (void *)(uintptr_t)&short_time), 0);
    cr_expect_eq(rota_timeout(0, sleeps, (void *)(uintptr_t)&short_time), -ETIMEDOUT);
    cr_expect_eq(rota_timeout(ROTA_FOREVER, sleeps, (void *)(uintptr_t)&short_time), 0);
    cr_expect_eq(rota_timeout(ROTA_S, NULL, NULL), -EINVAL);
    return rota_yield(); /* outside all is well again */
}

static intptr_t asks(void *arg) {
    (void)arg;
    while (!rota_cancelled(NULL, NULL))
        if (rota_shield(ROTA_FOREVER, sleeps, (void *)(uintptr_t)&short_time) < 0)
            return -EIO;
    return -ECANCELED;
}

SCOPE_TEST(a_deadline_that_was_told_of_has_refused) {
    rota_scope scope;
    rota_task *task;
    intptr_t value = 0;
    (void)arg;
    cr_expect_eq(rota_timeout(5 * ROTA_MS, asks, NULL), -ETIMEDOUT);
    cr_expect_eq(rota_timeout(0, asks, NULL), -ETIMEDOUT);
    rota_timeout_begin(&scope, 0);
    cr_expect(!rota_scope_expired(&scope));
    cr_expect(rota_cancelled(NULL, NULL));
    cr_expect(rota_scope_expired(&scope));
    cr_expect_eq(rota_scope_end(&scope, -ECANCELED), -ETIMEDOUT);
    cr_expect(!rota_cancelled(NULL, NULL));
    cr_expect_eq(rota_spawn(&task, asks, NULL, &(rota_spawn_options){ .timeout = 5 * ROTA_MS }), 0);
    cr_expect_eq(rota_join(task, &value), 0);
    cr_expect_eq(value, -ETIMEDOUT);
    return 0;
}

SCOPE_TEST(a_value_is_kept_though_the_deadline_has_passed) {
    rota_scope scope;
    (void)arg;
    rota_timeout_begin(&scope, ROTA_MS);
    cr_expect_eq(rota_sleep(ROTA_S), -ECANCELED);
    cr_expect_eq(rota_sleep(ROTA_S), -ECANCELED); /* level-triggered */
    cr_expect_eq(rota_scope_end(&scope, 7), 7);
    cr_expect(rota_scope_expired(&scope));
    cr_expect(!rota_scope_cancelled(&scope));
    rota_timeout_begin(&scope, ROTA_MS);
    cr_expect_eq(rota_scope_end(&scope, -EIO), -EIO);
    cr_expect(!rota_scope_expired(&scope));
    cr_expect_eq(rota_scope_end(&scope, -ECANCELED), -ECANCELED); /* ended already */
    return 0;
}

SCOPE_TEST(the_inner_deadline_is_the_inner_scopes) {
    rota_scope outer, inner;
    (void)arg;
    rota_timeout_begin(&outer, 100 * ROTA_MS);
    rota_timeout_begin(&inner, ROTA_MS);
    cr_expect_eq(rota_scope_end(&inner, rota_sleep(ROTA_S)), -ETIMEDOUT);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect_eq(rota_scope_end(&outer, 0), 0);
    rota_timeout_begin(&outer, ROTA_MS);
    rota_timeout_begin(&inner, 100 * ROTA_MS);
    cr_expect_eq(rota_scope_end(&inner, rota_sleep(ROTA_S)), -ECANCELED); /* not its own */
    cr_expect(!rota_scope_expired(&inner));
    cr_expect_eq(rota_scope_end(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

SCOPE_TEST(ending_an_outer_scope_leaves_those_inside) {
    rota_scope outer, inner;
    (void)arg;
    rota_timeout_begin(&outer, ROTA_MS);
    rota_scope_begin(&inner);
    cr_expect_eq(rota_scope_end(&outer, rota_sleep(ROTA_S)), -ETIMEDOUT);
    cr_expect_eq(rota_scope_end(&inner, 3), 3);
    return rota_yield();
}

struct waiter {
    rota_scope scope;
    intptr_t got;
};

static intptr_t waits_in_scope(void *arg) {
    struct waiter *w = arg;
    rota_scope_begin(&w->scope);
    w->got = rota_scope_end(&w->scope, rota_sleep(ROTA_S));
    return rota_yield();
}

SCOPE_TEST(another_task_cancels_a_scope_and_not_its_task) {
    struct waiter w = { .got = 1 };
    rota_task *task;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, waits_in_scope, &w, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    rota_scope_cancel(&w.scope, NULL);
    cr_expect_eq(rota_join(task, NULL), 0);
    cr_expect_eq(w.got, -ECANCELED);
    cr_expect(rota_scope_cancelled(&w.scope));
    rota_scope_cancel(&w.scope, NULL); /* left: nothing happens */
    return rota_yield();
}

SCOPE_TEST(another_task_moves_a_limit) {
    struct waiter w = { .got = 1 };
    rota_task *task;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, waits_in_scope, &w, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    rota_scope_limit(&w.scope, 5 * ROTA_MS);
    rota_scope_limit(&w.scope, 2 * ROTA_MS);
    cr_expect_eq(rota_sleep(3 * ROTA_MS), 0);
    cr_expect_eq(rota_join(task, NULL), 0);
    cr_expect_eq(w.got, -ETIMEDOUT);
    return 0;
}

static intptr_t shielded(void *arg) {
    (void)arg;
    cr_expect_eq(rota_yield(), -ECANCELED);
    cr_expect_eq(rota_shield(ROTA_S, sleeps, (void *)(uintptr_t)&short_time), 0); /* cleanup that must wait */
    cr_expect_eq(rota_shield(ROTA_MS, sleeps, (void *)(uintptr_t)&long_time), -ETIMEDOUT);
    kit_note('d');
    return rota_yield();
}

SCOPE_TEST(a_shield_hides_cancellation_and_keeps_its_bound) {
    rota_task *task;
    intptr_t result;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, shielded, NULL, NULL), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result, -ECANCELED);
    cr_expect_str_eq(kit_log, "d");
    return 0;
}

SCOPE_TEST(what_a_shield_hides_has_not_refused_anything) {
    rota_scope outer;
    (void)arg;
    rota_timeout_begin(&outer, ROTA_MS);
    cr_expect_eq(rota_shield(5 * ROTA_MS, sleeps, (void *)(uintptr_t)&long_time), -ETIMEDOUT);
    cr_expect(!rota_scope_expired(&outer));
    rota_scope_limit(&outer, ROTA_S);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect_eq(rota_scope_end(&outer, 0), 0);
    return 0;
}

SCOPE_TEST(the_end_of_a_wait_and_the_deadline_in_one_moment) {
    rota_scope scope;
    int64_t when = rota_now() + 5 * ROTA_MS;
    (void)arg;
    rota_timeout_begin(&scope, 5 * ROTA_MS);
    cr_expect_eq(rota_sleep_until(when), 0); /* what was waited for came in time */
    cr_expect_eq(rota_sleep(1), -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

Test(small_scope, outside_of_tasks_it_does_nothing) {
    rota_scope scope;
    rota_timeout_begin(&scope, 0);
    cr_expect_eq(rota_scope_end(&scope, -ECANCELED), -ECANCELED);
    cr_expect(!rota_scope_expired(&scope));
    rota_scope_begin(NULL);
    rota_scope_limit(NULL, 1);
    rota_scope_cancel(NULL, NULL);
    cr_expect_eq(rota_scope_end(NULL, 4), 4);
    cr_expect(!rota_scope_expired(NULL));
    cr_expect(!rota_scope_cancelled(NULL));
}

/* ---- the end of a loop ---- */

static intptr_t cleans_up(void *arg) {
    (void)arg;
    cr_expect_eq(rota_sleep(ROTA_S), -ECANCELED);
    kit_note(rota_shield(ROTA_S, sleeps, (void *)(uintptr_t)&short_time) == 0 ? 'C' : '?');
    return 0;
}

static intptr_t stops_and_goes_on(void *arg) {
    (void)arg;
    cr_expect_eq(rota_spawn(NULL, cleans_up, NULL, NULL), 0);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect_eq(rota_loop_stop(rota_loop_current()), 0);
    cr_expect_eq(rota_sleep(ROTA_S), -ECANCELED);
    return 0;
}

/* rota_loop_stop, and the end of the main task, end a run, but not what closing does for tasks. */
Test(small_scope, a_stop_cuts_no_cleanup_short) {
    kit_clock(1000 * ROTA_S);
    cr_expect_eq(rota_run(stops_and_goes_on, NULL, NULL, kit_memory()), -ECANCELED);
    cr_expect_str_eq(kit_log, "C");
}
