/* Mutexes: handed over in order, never taken from a waiter; owners. */
#include "tests/sync_kit.h"

static rota_mutex m;   /* all zero: free */

static int lock(struct actor *a) { return rota_mutex_lock(a->on); }
static void unlock(struct actor *a) { cr_expect_eq(rota_mutex_unlock(a->on), 0); }
static void hold(void) { cr_expect_eq(rota_mutex_lock(&m), 0); }
static void let_go(void) { cr_expect_eq(rota_mutex_unlock(&m), 0); }

static const struct thing thing = { lock, unlock, &m, hold, let_go, true };

Thing_tests(mutex, thing)

static struct actor locker(char letter) { return actor_of(&thing, letter); }

Task_test(mutex, a_free_one_is_locked_at_once_and_has_an_owner) {
    cr_expect_null(m.owner_);
    hold();
    cr_expect_eq(m.owner_, rota_self());
    let_go();
    cr_expect_null(m.owner_);
    return 0;
}

Task_test(mutex, locking_twice_is_a_deadlock) {
    hold();
    cr_expect_eq(rota_mutex_lock(&m), -EDEADLK);
    cr_expect_eq(m.owner_, rota_self(), "still held");
    let_go();
    return 0;
}

Task_test(mutex, try_lock_takes_a_free_one_and_never_waits) {
    cr_expect_eq(rota_mutex_try_lock(&m), 0);
    cr_expect_eq(rota_mutex_try_lock(&m), -EAGAIN, "held by the caller");
    let_go();
    return 0;
}

Task_test(mutex, try_lock_is_not_refused_when_cancelled) {
    rota_scope s;
    rota_timeout_begin(&s, 0);
    cr_expect_eq(rota_mutex_try_lock(&m), 0);
    cr_expect_eq(rota_mutex_unlock(&m), 0);
    cr_expect_eq(rota_scope_end(&s, 0), 0);
    return 0;
}

Task_test(mutex, belongs_to_the_first_waiter_from_the_moment_of_unlocking) { /* C07: no barging */
    struct actor a = locker('a');
    hold();
    start(&a);
    settle();
    let_go();
    cr_expect_eq(m.owner_, a.task, "before it has run");
    cr_expect_eq(rota_mutex_try_lock(&m), -EAGAIN);
    cr_expect_eq(rota_mutex_lock(&m), 0, "behind it");
    cr_expect(a.done);
    let_go();
    finish(&a);
    return 0;
}

Task_test(mutex, unlocking_what_is_not_held_is_refused) { /* C02 */
    struct actor a = locker('a');
    cr_expect_eq(rota_mutex_unlock(&m), -EPERM, "free");
    start(&a);
    while (a.rc == 99)
        cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(m.owner_, a.task);
    cr_expect_eq(rota_mutex_unlock(&m), -EPERM, "another task's");
    cr_expect_eq(m.owner_, a.task);
    finish(&a);
    return 0;
}

Task_test(mutex, several_can_be_held_and_unlocked_in_any_order) {
    rota_mutex a = { 0 }, b = { 0 }, c = { 0 };
    cr_expect(rota_mutex_lock(&a) == 0 && rota_mutex_lock(&b) == 0 && rota_mutex_lock(&c) == 0);
    cr_expect_eq(rota_mutex_unlock(&b), 0);
    cr_expect_eq(rota_mutex_unlock(&a), 0);
    cr_expect_eq(rota_self()->runner->held, &c);
    cr_expect_eq(rota_mutex_unlock(&c), 0);
    cr_expect_null(rota_self()->runner->held);
    return 0;
}

/* ---- owners that end ---- */

static rota_mutex both[2];

static intptr_t lock_and_end(void *unused) {
    (void)unused;
    cr_expect_eq(rota_mutex_lock(&both[0]), 0);
    cr_expect_eq(rota_mutex_lock(&both[1]), 0);
    return rota_sleep(1 * ROTA_MS);
}

static intptr_t watch_an_owner_end(void *unused) {
    struct actor a = { .call = lock, .undo = unlock, .on = &both[0], .letter = 'a' }, b = a;
    rota_task *owner;
    (void)unused;
    cr_expect_eq(rota_spawn(&owner, lock_and_end, NULL, &(rota_spawn_options){ .name = "owner" }), 0);
    settle();
    start(&a);
    start(&b);
    settle();
    cr_expect_eq(rota_join(owner, NULL), 0);
    settle();
    cr_expect(a.rc == -EOWNERDEAD && b.rc == -EOWNERDEAD, "all who waited are told: %d, %d", a.rc, b.rc);
    cr_expect(!both[0].owner_ && !both[1].owner_);
    cr_expect_eq(rota_mutex_lock(&both[0]), 0, "it is free");
    cr_expect_eq(rota_mutex_unlock(&both[0]), 0);
    finish(&a);
    finish(&b);
    return 0;
}

Test(mutex, an_owner_that_ends_is_reported_and_frees_it) { /* C03 */
    intptr_t value = -1;
    cr_expect_eq(run_with(watch_an_owner_end, NULL, &value, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_MUTEX), 2, "one for each, though nobody waited for one of them");
    cr_expect_eq(report_of(ROTA_REPORT_MUTEX)->error, -EOWNERDEAD);
    cr_expect_str_eq(report_of(ROTA_REPORT_MUTEX)->task, "owner");
    char words[80];
    snprintf(words, sizeof words, "task 'owner' ended and still held the lock %p, spawned at ", (void *)&both[1]);
    cr_expect_eq(strncmp(report_of(ROTA_REPORT_MUTEX)->text, words, strlen(words)), 0, "%s",
                 report_of(ROTA_REPORT_MUTEX)->text);
    cr_expect_eq(reports.n, 2);
}

/* Handed over, cancelled before it runs, and gone without looking: the next ones must not hang. */
static intptr_t drop_what_was_handed(void *arg) {
    (void)!rota_mutex_lock(arg);
    return 0;
}

static intptr_t hand_to_a_careless_one(void *unused) {
    struct actor b = locker('b');
    rota_task *careless;
    (void)unused;
    hold();
    cr_expect_eq(rota_spawn(&careless, drop_what_was_handed, &m, NULL), 0);
    settle();
    start(&b);
    settle();
    let_go();
    cr_expect_eq(rota_cancel(careless, NULL), 0);
    cr_expect_eq(rota_join(careless, NULL), 0);
    finish(&b);
    cr_expect_eq(b.rc, -EOWNERDEAD);
    return 0;
}

Test(mutex, a_cancelled_owner_that_never_unlocks_is_noticed) {
    intptr_t value;
    cr_expect_eq(run_with(hand_to_a_careless_one, NULL, &value, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_MUTEX), 1);
}

/* ---- wrong use ---- */

Test(mutex, null_and_callers_outside_of_tasks) {
    test_begin();
    cr_expect_eq(rota_mutex_lock(NULL), -EINVAL);
    cr_expect_eq(rota_mutex_try_lock(NULL), -EINVAL);
    cr_expect_eq(rota_mutex_unlock(NULL), -EINVAL);
    cr_expect_eq(rota_mutex_lock(&m), -EPERM);
    cr_expect_eq(rota_mutex_try_lock(&m), -EPERM);
    cr_expect_eq(rota_mutex_unlock(&m), -EPERM);
    test_end();
}

static intptr_t lock_in_another_loop(void *arg) {
    cr_expect_eq(rota_mutex_try_lock(arg), -EAGAIN);
    cr_expect_eq(rota_mutex_unlock(arg), -EPERM);
    cr_expect_eq(rota_mutex_lock(arg), -EPERM, "another loop's task holds it");
    return 0;
}

static void *run_another_loop(void *arg) {
    cr_expect_eq(rota_run(lock_in_another_loop, arg, NULL, &(rota_loop_options){ .virtual_clock = true }), 0);
    return NULL;
}

Task_test(mutex, tasks_of_another_loop_are_refused) { /* I05 */
    hold();
    in_thread(run_another_loop, &m);
    let_go();
    return 0;
}

Task_test(mutex, a_lock_that_never_waits_yields_now_and_then) {
    static int64_t ns = 0;
    rota_task *other;
    cr_expect_eq(rota_spawn(&other, sleep_for, &ns, NULL), 0);
    int n = 0;
    while (!rota_task_done(other) && n < 1000) {
        hold();
        let_go();
        n++;
    }
    cr_expect(n <= 2 * 64 + 1, "%d locks before anybody else ran", n);
    cr_expect_eq(rota_join(other, NULL), 0);
    return 0;
}
