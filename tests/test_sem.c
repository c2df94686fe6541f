/* Semaphores: permits, order, bounds. */
#include "tests/sync_kit.h"

#include "rota/combine.h"

static rota_sem s;

static int acquire(struct actor *a) { return rota_sem_acquire(a->on); }
static void release(struct actor *a) { cr_expect_eq(rota_sem_release((rota_sem *)a->on), 0); }
static void empty(void) { rota_sem_init(&s, 0, SIZE_MAX); }
static void give(void) { cr_expect_eq(rota_sem_release(&s), 0); }

static const struct thing thing = { acquire, NULL, &s, empty, give, false };

Thing_tests(sem, thing)

static void start_many(struct actor *a, int n) {
    for (int i = 0; i < n; i++) {
        a[i] = actor_of(&thing, (char)('a' + i));
        start(&a[i]);
    }
    settle();
}

Task_test(sem, begins_with_its_count_and_no_more_than_its_bound) {
    rota_sem_init(&s, 2, 3);
    cr_expect_eq(rota_sem_value(&s), 2u);
    rota_sem_init(&s, 5, 3);
    cr_expect_eq(rota_sem_value(&s), 3u);
    rota_sem_init(NULL, 1, 1);
    cr_expect_eq(rota_sem_value(NULL), 0u);
    return 0;
}

Task_test(sem, acquire_takes_a_permit_and_release_gives_it_back) {
    rota_sem_init(&s, 2, 2);
    cr_expect_eq(rota_sem_acquire(&s), 0);
    cr_expect_eq(rota_sem_acquire(&s), 0);
    cr_expect_eq(rota_sem_value(&s), 0u);
    cr_expect_eq(rota_sem_try_acquire(&s), -EAGAIN);
    give();
    cr_expect_eq(rota_sem_value(&s), 1u);
    cr_expect_eq(rota_sem_try_acquire(&s), 0);
    return 0;
}

Task_test(sem, releasing_two_wakes_exactly_the_first_two) { /* C05 */
    struct actor a[3];
    empty();
    start_many(a, 3);
    cr_expect_eq(rota_sem_release_many(&s, 2), 0);
    settle();
    cr_expect(a[0].rc == 0 && a[1].rc == 0 && parked(&a[2]));
    cr_expect_eq(rota_sem_value(&s), 0u);
    give();
    for (int i = 0; i < 3; i++)
        finish(&a[i]);
    return 0;
}

Task_test(sem, releasing_more_than_wait_keeps_the_rest) {
    struct actor a[2];
    empty();
    start_many(a, 2);
    cr_expect_eq(rota_sem_release_many(&s, 5), 0);
    cr_expect_eq(rota_sem_value(&s), 3u);
    finish(&a[0]);
    finish(&a[1]);
    cr_expect_eq(rota_sem_release_many(&s, 0), 0);
    cr_expect_eq(rota_sem_value(&s), 3u);
    return 0;
}

Task_test(sem, above_its_bound_nothing_is_released) { /* C06 */
    rota_sem_init(&s, 1, 2);
    cr_expect_eq(rota_sem_release_many(&s, 2), -EOVERFLOW);
    cr_expect_eq(rota_sem_value(&s), 1u);
    cr_expect_eq(rota_sem_release_many(&s, 1), 0);
    cr_expect_eq(rota_sem_release(&s), -EOVERFLOW);
    cr_expect_eq(rota_sem_value(&s), 2u);
    rota_sem_init(&s, SIZE_MAX, SIZE_MAX);
    cr_expect_eq(rota_sem_release(&s), -EOVERFLOW);
    rota_sem_init(&s, 1, SIZE_MAX);
    cr_expect_eq(rota_sem_release_many(&s, SIZE_MAX), -EOVERFLOW);
    cr_expect_eq(rota_sem_value(&s), 1u);
    return 0;
}

Task_test(sem, permits_for_waiters_do_not_count_against_the_bound) {
    struct actor a[2];
    rota_sem_init(&s, 0, 1);
    start_many(a, 2);
    cr_expect_eq(rota_sem_release_many(&s, 4), -EOVERFLOW);
    settle();
    cr_expect(parked(&a[0]) && parked(&a[1]), "none of the four was given");
    cr_expect_eq(rota_sem_release_many(&s, 3), 0);
    cr_expect_eq(rota_sem_value(&s), 1u);
    finish(&a[0]);
    finish(&a[1]);
    return 0;
}

Task_test(sem, nobody_takes_what_a_waiter_was_given) { /* C07 */
    struct actor a[2];
    empty();
    start_many(a, 2);
    give();
    cr_expect_eq(rota_sem_try_acquire(&s), -EAGAIN, "it is a's, though a has not run");
    settle();
    cr_expect(a[0].rc == 0 && parked(&a[1]));
    give();
    finish(&a[0]);
    finish(&a[1]);
    return 0;
}

/* CPython bpo-45997 and its like: released, acquired and cancelled in one turn. */
Task_test(sem, a_permit_goes_round_though_each_holder_is_cancelled) {
    struct actor a[3];
    empty();
    for (int i = 0; i < 3; i++) {
        a[i] = actor_of(&thing, (char)('a' + i));
        a[i].undo = release;
        start(&a[i]);
    }
    settle();
    give();
    cancel(&a[0]);
    cancel(&a[1]);
    for (int i = 0; i < 3; i++)
        finish(&a[i]);
    cr_expect(a[0].rc == 0 && a[0].next == -ECANCELED);
    cr_expect_eq(a[1].rc, -ECANCELED);
    cr_expect_eq(a[2].rc, 0);
    cr_expect_eq(rota_sem_value(&s), 1u);
    return 0;
}

Task_test(sem, no_permit_is_lost_when_all_who_were_given_one_are_cancelled) {
    struct actor a[4];
    rota_sem_init(&s, 0, 2);
    for (int i = 0; i < 4; i++) {
        a[i] = actor_of(&thing, (char)('a' + i));
        a[i].undo = release;
        start(&a[i]);
    }
    settle();
    cr_expect_eq(rota_sem_release_many(&s, 2), 0);
    for (int i = 0; i < 4; i++)
        cancel(&a[i]);
    for (int i = 0; i < 4; i++)
        finish(&a[i]);
    cr_expect(a[0].rc == 0 && a[1].rc == 0 && a[2].rc == -ECANCELED && a[3].rc == -ECANCELED);
    cr_expect_eq(rota_sem_value(&s), 2u);
    return 0;
}

Task_test(sem, try_acquire_is_not_refused_when_cancelled) {
    rota_scope scope;
    rota_sem_init(&s, 1, 1);
    rota_timeout_begin(&scope, 0);
    cr_expect_eq(rota_sem_try_acquire(&s), 0);
    cr_expect_eq(rota_sem_release(&s), 0);
    cr_expect_eq(rota_scope_end(&scope, 0), 0);
    return 0;
}

/* ---- a select that waits twice for one semaphore takes one permit ---- */

static int select_twice(struct actor *a) {
    rota_clause clauses[2] = { { .kind = ROTA_SELECT_ACQUIRE, .object = a->on },
                               { .kind = ROTA_SELECT_ACQUIRE, .object = a->on } };
    return rota_select(clauses, 2);
}

Task_test(sem, the_bound_holds_for_a_select_with_two_clauses) {
    struct actor a = { .call = select_twice, .on = &s, .letter = 'a' };
    rota_sem_init(&s, 0, 1);
    start(&a);
    settle();
    cr_expect_eq(rota_sem_release_many(&s, 3), -EOVERFLOW, "one is taken, two would be left");
    cr_expect_eq(rota_sem_release_many(&s, 2), 0);
    finish(&a);
    cr_expect_eq(a.rc, 0);
    cr_expect_eq(rota_sem_value(&s), 1u);
    return 0;
}

/* ---- wrong use ---- */

Test(sem, null_and_callers_outside_of_tasks) {
    test_begin();
    rota_sem_init(&s, 1, 1);
    cr_expect_eq(rota_sem_acquire(NULL), -EINVAL);
    cr_expect_eq(rota_sem_try_acquire(NULL), -EINVAL);
    cr_expect_eq(rota_sem_release((rota_sem *)NULL), -EINVAL);
    cr_expect_eq(rota_sem_acquire(&s), -EPERM);
    cr_expect_eq(rota_sem_try_acquire(&s), 0);
    cr_expect_eq(rota_sem_release(&s), 0, "a callback may release");
    test_end();
}

static void *misuse(void *arg) {
    cr_expect_eq(rota_sem_release((rota_sem *)arg), -EPERM);
    return NULL;
}

Task_test(sem, other_threads_are_refused_while_somebody_waits) { /* I05 */
    struct actor a[1];
    empty();
    start_many(a, 1);
    in_thread(misuse, &s);
    settle();
    cr_expect(parked(&a[0]));
    give();
    finish(&a[0]);
    return 0;
}
