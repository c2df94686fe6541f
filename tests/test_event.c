/* Events: set, clear, and those who wait. */
#include "tests/sync_kit.h"

static int wait_for_event(struct actor *a) { return rota_event_wait(a->on); }

static struct actor waiter(rota_event *e, char letter) {
    return (struct actor){ .call = wait_for_event, .on = e, .letter = letter };
}

Task_test(event, an_all_zero_one_is_clear) {
    rota_event e = { 0 };
    cr_expect(!rota_event_is_set(&e));
    cr_expect_eq(rota_event_set(&e), 0);
    cr_expect(rota_event_is_set(&e));
    cr_expect_eq(rota_event_clear(&e), 0);
    cr_expect(!rota_event_is_set(&e));
    return 0;
}

Task_test(event, a_set_one_lets_pass_at_once_until_cleared) {
    rota_event e = { 0 };
    struct actor a = waiter(&e, 'a');
    cr_expect_eq(rota_event_set(&e), 0);
    cr_expect_eq(rota_event_wait(&e), 0);
    cr_expect_eq(rota_event_wait(&e), 0, "again");
    cr_expect_eq(rota_event_clear(&e), 0);
    start(&a);
    settle();
    cr_expect(parked(&a));
    cr_expect_eq(rota_event_set(&e), 0);
    finish(&a);
    cr_expect_eq(a.rc, 0);
    return 0;
}

Task_test(event, set_wakes_all_in_order_and_runs_nobody) {
    rota_event e = { 0 };
    struct actor a[3];
    for (int i = 0; i < 3; i++) {
        a[i] = waiter(&e, (char)('a' + i));
        start(&a[i]);
    }
    settle();
    cr_expect_eq(rota_event_set(&e), 0);
    cr_expect_eq(rota_event_set(&e), 0, "twice is once");
    cr_expect_str_eq(trace, "");
    for (int i = 0; i < 3; i++)
        finish(&a[i]);
    cr_expect_str_eq(trace, "abc");
    return 0;
}

Task_test(event, set_and_clear_in_one_turn_wakes_those_present_at_set) { /* C10 */
    rota_event e = { 0 };
    struct actor a = waiter(&e, 'a'), b = waiter(&e, 'b');
    start(&a);
    settle();
    cr_expect_eq(rota_event_set(&e), 0);
    cr_expect_eq(rota_event_clear(&e), 0);
    start(&b);
    settle();
    cr_expect_eq(a.rc, 0);
    cr_expect(parked(&b), "it came after the clear");
    cr_expect_eq(rota_event_set(&e), 0);
    finish(&a);
    finish(&b);
    return 0;
}

Task_test(event, set_then_cancelled_in_one_turn_is_set) {
    rota_event e = { 0 };
    struct actor a = waiter(&e, 'a');
    start(&a);
    settle();
    cr_expect_eq(rota_event_set(&e), 0);
    cancel(&a);
    finish(&a);
    cr_expect_eq(a.rc, 0);
    cr_expect_eq(a.next, -ECANCELED);
    return 0;
}

Task_test(event, cancelled_then_set_in_one_turn_is_cancelled) { /* B27 */
    rota_event e = { 0 };
    struct actor a = waiter(&e, 'a'), b = waiter(&e, 'b');
    start(&a);
    start(&b);
    settle();
    cancel(&a);
    cancel(&a);
    cr_expect_eq(rota_event_set(&e), 0);
    finish(&a);
    finish(&b);
    cr_expect_eq(a.rc, -ECANCELED);
    cr_expect_eq(b.rc, 0);
    return 0;
}

static intptr_t wait_in_scope(void *arg) { return rota_event_wait(arg); }

Task_test(event, a_timeout_ends_the_wait_and_leaves_no_trace) {
    rota_event e = { 0 };
    int64_t begun = rota_now();
    cr_expect_eq(rota_timeout(3 * ROTA_MS, wait_in_scope, &e), -ETIMEDOUT);
    cr_expect_eq(since(begun), 3 * ROTA_MS);
    cr_expect_null(e.waiters_);
    cr_expect_eq(rota_event_set(&e), 0);
    cr_expect_eq(rota_timeout(0, wait_in_scope, &e), -ETIMEDOUT, "refused, though it is set");
    return 0;
}

Task_test(event, can_be_set_by_the_very_task_that_was_woken) {
    rota_event e = { 0 };
    struct actor a = waiter(&e, 'a');
    for (int round = 0; round < 3; round++) {
        start(&a);
        settle();
        cr_expect_eq(rota_event_set(&e), 0);
        cr_expect_eq(rota_event_clear(&e), 0);
        finish(&a);
        cr_expect_eq(a.rc, 0);
    }
    return 0;
}

/* ---- wrong use ---- */

Test(event, null_and_callers_outside_of_tasks) {
    rota_event e = { 0 };
    test_begin();
    cr_expect_eq(rota_event_set(NULL), -EINVAL);
    cr_expect_eq(rota_event_clear(NULL), -EINVAL);
    cr_expect(!rota_event_is_set(NULL));
    cr_expect_eq(rota_event_wait(NULL), -EINVAL);
    cr_expect_eq(rota_event_wait(&e), -EPERM);
    cr_expect_eq(rota_event_set(&e), 0, "outside of tasks, too");
    test_end();
}

static void *misuse(void *arg) {
    cr_expect_eq(rota_event_set(arg), -EPERM);
    cr_expect_eq(rota_event_clear(arg), -EPERM);
    return NULL;
}

Task_test(event, other_threads_are_refused_while_somebody_waits) { /* I05 */
    rota_event e = { 0 };
    struct actor a = waiter(&e, 'a');
    start(&a);
    settle();
    in_thread(misuse, &e);
    settle();
    cr_expect(parked(&a) && !rota_event_is_set(&e));
    cr_expect_eq(rota_event_set(&e), 0);
    finish(&a);
    return 0;
}

static intptr_t wait_from_another_loop(void *e) { return rota_event_wait(e); }

static void *run_another_loop(void *e) {
    intptr_t v = 0;
    cr_expect_eq(rota_run(wait_from_another_loop, e, &v, &(rota_loop_options){ .virtual_clock = true }), 0);
    cr_expect_eq(v, -EPERM);
    return NULL;
}

Task_test(event, tasks_of_two_loops_cannot_wait_for_one) {
    rota_event e = { 0 };
    struct actor a = waiter(&e, 'a');
    start(&a);
    settle();
    in_thread(run_another_loop, &e);
    cr_expect_eq(rota_event_set(&e), 0);
    finish(&a);
    return 0;
}
