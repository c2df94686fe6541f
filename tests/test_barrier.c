/* Barriers: nobody goes on before all have come. */
#include "tests/sync_kit.h"

static rota_barrier b;

static int wait_at_it(struct actor *a) { return rota_barrier_wait(a->on); }

static void start_at(struct actor *a, int n) {
    for (int i = 0; i < n; i++) {
        a[i] = (struct actor){ .call = wait_at_it, .on = &b, .letter = (char)('a' + i) };
        start(&a[i]);
    }
    settle();
}

static void finish_many(struct actor *a, int n) {
    for (int i = 0; i < n; i++)
        finish(&a[i]);
}

Task_test(barrier, opens_when_all_have_come) {
    struct actor a[3];
    cr_expect_eq(rota_barrier_init(&b, 3), 0);
    start_at(a, 2);
    cr_expect(parked(&a[0]) && parked(&a[1]));
    cr_expect_eq(rota_barrier_wait(&b), 1, "the last to come");
    finish_many(a, 2);
    cr_expect(a[0].rc == 0 && a[1].rc == 0);
    cr_expect_str_eq(trace, "ab");
    return 0;
}

Task_test(barrier, can_be_used_again_and_again) {
    struct actor a[2];
    cr_expect_eq(rota_barrier_init(&b, 3), 0);
    for (int round = 0; round < 3; round++) {
        start_at(a, 2);
        cr_expect(parked(&a[0]) && parked(&a[1]), "round %d", round);
        cr_expect_eq(rota_barrier_wait(&b), 1);
        finish_many(a, 2);
    }
    return 0;
}

Task_test(barrier, those_who_come_before_the_woken_have_run_are_the_next_round) {
    struct actor a[6];
    cr_expect_eq(rota_barrier_init(&b, 3), 0);
    for (int i = 0; i < 6; i++) {
        a[i] = (struct actor){ .call = wait_at_it, .on = &b, .letter = (char)('a' + i) };
        start(&a[i]);
    }
    finish_many(a, 6);
    cr_expect(a[2].rc == 1 && a[5].rc == 1);
    cr_expect(a[0].rc == 0 && a[1].rc == 0 && a[3].rc == 0 && a[4].rc == 0);
    return 0;
}

Task_test(barrier, of_one_is_always_open) {
    cr_expect_eq(rota_barrier_init(&b, 1), 0);
    cr_expect_eq(rota_barrier_wait(&b), 1);
    cr_expect_eq(rota_barrier_wait(&b), 1);
    return 0;
}

Task_test(barrier, one_that_is_cancelled_no_longer_counts) { /* C11, B27 */
    struct actor a[4];
    cr_expect_eq(rota_barrier_init(&b, 3), 0);
    start_at(a, 2);
    cancel(&a[0]);
    cancel(&a[0]);
    settle();
    cr_expect_eq(a[0].rc, -ECANCELED);
    cr_expect(parked(&a[1]), "the others keep waiting");
    start_at(a + 2, 1);
    cr_expect(parked(&a[1]) && parked(&a[2]), "two of three");
    cr_expect_eq(rota_barrier_wait(&b), 1);
    finish_many(a, 3);
    cr_expect(a[1].rc == 0 && a[2].rc == 0);
    return 0;
}

Task_test(barrier, one_that_is_cancelled_after_it_opened_has_passed) {
    struct actor a[1];
    cr_expect_eq(rota_barrier_init(&b, 2), 0);
    start_at(a, 1);
    cr_expect_eq(rota_barrier_wait(&b), 1);
    cancel(&a[0]);
    finish_many(a, 1);
    cr_expect_eq(a[0].rc, 0);
    cr_expect_eq(a[0].next, -ECANCELED);
    return 0;
}

Task_test(barrier, a_cancelled_last_one_opens_nothing) {
    struct actor a[1];
    rota_scope s;
    cr_expect_eq(rota_barrier_init(&b, 2), 0);
    start_at(a, 1);
    rota_timeout_begin(&s, 0);
    cr_expect_eq(rota_barrier_wait(&b), -ECANCELED);
    cr_expect_eq(rota_scope_end(&s, 0), 0);
    settle();
    cr_expect(parked(&a[0]));
    cr_expect_eq(rota_barrier_wait(&b), 1);
    finish_many(a, 1);
    return 0;
}

static intptr_t wait_in_scope(void *unused) {
    (void)unused;
    return rota_barrier_wait(&b);
}

Task_test(barrier, a_timeout_ends_the_wait) {
    int64_t begun = rota_now();
    cr_expect_eq(rota_barrier_init(&b, 2), 0);
    cr_expect_eq(rota_timeout(4 * ROTA_MS, wait_in_scope, NULL), -ETIMEDOUT);
    cr_expect_eq(since(begun), 4 * ROTA_MS);
    cr_expect_eq(b.waiting_, 0u);
    return 0;
}

Task_test(barrier, reset_wakes_those_who_wait_and_it_works_again) { /* C11 */
    struct actor a[2];
    cr_expect_eq(rota_barrier_init(&b, 3), 0);
    cr_expect_eq(rota_barrier_reset(&b), 0, "nobody waits");
    start_at(a, 2);
    cr_expect_eq(rota_barrier_reset(&b), 0);
    finish_many(a, 2);
    cr_expect(a[0].rc == -EPIPE && a[1].rc == -EPIPE);
    start_at(a, 2);
    cr_expect_eq(rota_barrier_wait(&b), 1);
    finish_many(a, 2);
    cr_expect(a[0].rc == 0 && a[1].rc == 0);
    return 0;
}

Task_test(barrier, reset_then_cancelled_is_reset) {
    struct actor a[1];
    cr_expect_eq(rota_barrier_init(&b, 2), 0);
    start_at(a, 1);
    cr_expect_eq(rota_barrier_reset(&b), 0);
    cancel(&a[0]);
    finish_many(a, 1);
    cr_expect(a[0].rc == -EPIPE && a[0].next == -ECANCELED);
    return 0;
}

/* ---- wrong use ---- */

Test(barrier, null_no_parties_and_callers_outside_of_tasks) {
    test_begin();
    cr_expect_eq(rota_barrier_init(NULL, 1), -EINVAL);
    cr_expect_eq(rota_barrier_init(&b, 0), -EINVAL);
    cr_expect_eq(rota_barrier_wait(NULL), -EINVAL);
    cr_expect_eq(rota_barrier_wait(&b), -EINVAL, "never initialised");
    cr_expect_eq(rota_barrier_reset(NULL), -EINVAL);
    cr_expect_eq(rota_barrier_init(&b, 1), 0);
    cr_expect_eq(rota_barrier_wait(&b), -EPERM);
    test_end();
}

static intptr_t come_from_another_loop(void *unused) {
    (void)unused;
    return rota_barrier_wait(&b);
}

static void *misuse(void *unused) {
    intptr_t v = 0;
    (void)unused;
    cr_expect_eq(rota_barrier_reset(&b), -EPERM);
    cr_expect_eq(rota_run(come_from_another_loop, NULL, &v, &(rota_loop_options){ .virtual_clock = true }), 0);
    cr_expect_eq(v, -EPERM);
    return NULL;
}

Task_test(barrier, other_threads_and_loops_are_refused_while_somebody_waits) { /* I05 */
    struct actor a[1];
    cr_expect_eq(rota_barrier_init(&b, 2), 0);
    start_at(a, 1);
    in_thread(misuse, NULL);
    settle();
    cr_expect(parked(&a[0]));
    cr_expect_eq(rota_barrier_wait(&b), 1);
    finish_many(a, 1);
    return 0;
}
