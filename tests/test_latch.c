/* Latches: open once, when they have been counted down. */
#include "tests/sync_kit.h"

static rota_latch l;

static int wait_for_it(struct actor *a) { return rota_latch_wait(a->on); }

static struct actor waiter(char letter) {
    return (struct actor){ .call = wait_for_it, .on = &l, .letter = letter };
}

Task_test(latch, opens_when_counted_down_to_nothing) {
    struct actor a = waiter('a'), b = waiter('b');
    rota_latch_init(&l, 3);
    start(&a);
    start(&b);
    settle();
    cr_expect_eq(rota_latch_count_down(&l, 2), 0);
    settle();
    cr_expect(parked(&a) && parked(&b));
    cr_expect_eq(rota_latch_count_down(&l, 1), 0);
    finish(&a);
    finish(&b);
    cr_expect_str_eq(trace, "ab");
    cr_expect_eq(rota_latch_wait(&l), 0, "it stays open");
    return 0;
}

Task_test(latch, all_zero_is_open) {
    rota_latch open = { 0 };
    cr_expect_eq(rota_latch_wait(&open), 0);
    return 0;
}

Task_test(latch, more_than_is_left_changes_nothing) {
    rota_latch_init(&l, 2);
    cr_expect_eq(rota_latch_count_down(&l, 3), -EINVAL);
    cr_expect_eq(rota_latch_count_down(&l, 0), 0);
    cr_expect_eq(l.count_, 2u);
    cr_expect_eq(rota_latch_count_down(&l, 2), 0);
    cr_expect_eq(rota_latch_count_down(&l, 1), -EINVAL, "it is open");
    return 0;
}

Task_test(latch, opened_then_cancelled_in_one_turn_is_open) {
    struct actor a = waiter('a');
    rota_latch_init(&l, 1);
    start(&a);
    settle();
    cr_expect_eq(rota_latch_count_down(&l, 1), 0);
    cancel(&a);
    finish(&a);
    cr_expect(a.rc == 0 && a.next == -ECANCELED);
    return 0;
}

Task_test(latch, cancelled_then_opened_in_one_turn_is_cancelled) { /* B27 */
    struct actor a = waiter('a'), b = waiter('b');
    rota_latch_init(&l, 1);
    start(&a);
    start(&b);
    settle();
    cancel(&a);
    cr_expect_eq(rota_latch_count_down(&l, 1), 0);
    finish(&a);
    finish(&b);
    cr_expect(a.rc == -ECANCELED && b.rc == 0);
    return 0;
}

static intptr_t wait_in_scope(void *latch) { return rota_latch_wait(latch); }

Task_test(latch, a_timeout_ends_the_wait) {
    int64_t begun = rota_now();
    rota_latch_init(&l, 1);
    cr_expect_eq(rota_timeout(2 * ROTA_MS, wait_in_scope, &l), -ETIMEDOUT);
    cr_expect_eq(since(begun), 2 * ROTA_MS);
    cr_expect_null(l.waiters_);
    cr_expect_eq(rota_latch_count_down(&l, 1), 0);
    cr_expect_eq(rota_timeout(0, wait_in_scope, &l), -ETIMEDOUT, "refused, though it is open");
    return 0;
}

/* ---- wrong use ---- */

Test(latch, null_and_callers_outside_of_tasks) {
    test_begin();
    rota_latch_init(NULL, 1);
    rota_latch_init(&l, 1);
    cr_expect_eq(rota_latch_count_down(NULL, 1), -EINVAL);
    cr_expect_eq(rota_latch_wait(NULL), -EINVAL);
    cr_expect_eq(rota_latch_wait(&l), -EPERM);
    cr_expect_eq(rota_latch_count_down(&l, 1), 0, "a callback may count");
    test_end();
}

static void *misuse(void *unused) {
    (void)unused;
    cr_expect_eq(rota_latch_count_down(&l, 1), -EPERM);
    return NULL;
}

Task_test(latch, other_threads_are_refused_while_somebody_waits) { /* I05 */
    struct actor a = waiter('a');
    rota_latch_init(&l, 1);
    start(&a);
    settle();
    in_thread(misuse, NULL);
    settle();
    cr_expect(parked(&a) && l.count_ == 1);
    cr_expect_eq(rota_latch_count_down(&l, 1), 0);
    finish(&a);
    return 0;
}
