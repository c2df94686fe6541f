/* Conditions: notified waiters move over to the mutex; whatever happens, a waiter returns holding it. */
#include "tests/sync_kit.h"

static rota_mutex m;
static rota_cond c;

/* Holds the mutex on every return: that is the first thing to check. */
static int wait_for_notify(struct actor *a) {
    cr_expect_eq(rota_mutex_lock(&m), 0);
    int rc = rota_cond_wait(a->on, &m);
    cr_expect_eq(m.owner_, rota_self(), "%c returned %d without the mutex", a->letter, rc);
    if (rc < 0)
        cr_expect_eq(rota_mutex_unlock(&m), 0);
    return rc;
}

static void unlock(struct actor *a) {
    (void)a;
    cr_expect_eq(rota_mutex_unlock(&m), 0);
}

static void lock_it(void) { cr_expect_eq(rota_mutex_lock(&m), 0); }
static void unlock_it(void) { cr_expect_eq(rota_mutex_unlock(&m), 0); }

static void notify(size_t n) {
    lock_it();
    cr_expect_eq(rota_cond_notify(&c, n), 0);
    unlock_it();
}

static void notify_one(void) { notify(1); }

static const struct thing thing = { wait_for_notify, unlock, &c, NULL, notify_one, false };

/* Not the whole set: the first suspending call here is the lock. */
Task_test(cond, one_that_is_cancelled_leaves_the_notify_to_the_next) { /* C09 */
    cancelled_then_given(&thing);
    return 0;
}
Task_test(cond, one_that_was_notified_and_then_cancelled_succeeds) { /* C09 */
    given_then_cancelled(&thing);
    return 0;
}
Task_test(cond, cancelling_twice_is_cancelling_once) { cancelled_twice(&thing); return 0; }
Task_test(cond, a_timeout_ends_the_wait) { times_out(&thing); return 0; }
Task_test(cond, the_rest_stay_in_order_when_one_leaves) { middle_of_five_is_cancelled(&thing); return 0; }
Task_test(cond, a_hundred_are_served_in_order) { a_hundred_in_order(&thing); return 0; }

static void start_many(struct actor *a, int n) {
    for (int i = 0; i < n; i++) {
        a[i] = actor_of(&thing, (char)('a' + i));
        start(&a[i]);
    }
    settle();
}

static void finish_many(struct actor *a, int n) {
    for (int i = 0; i < n; i++)
        finish(&a[i]);
}

Task_test(cond, waiting_unlocks_and_returning_locks) {
    struct actor a[1];
    start_many(a, 1);
    cr_expect_null(m.owner_);
    lock_it();
    cr_expect_eq(rota_cond_notify(&c, 1), 0);
    settle();
    cr_expect(parked(&a[0]), "the notifier still holds the mutex");
    unlock_it();
    cr_expect_eq(m.owner_, a[0].task);
    finish_many(a, 1);
    cr_expect_eq(a[0].rc, 0);
    return 0;
}

Task_test(cond, notify_wakes_as_many_as_it_says) {
    struct actor a[5];
    start_many(a, 5);
    notify(0);
    settle();
    cr_expect_str_eq(trace, "");
    notify(2);
    settle();
    cr_expect_str_eq(trace, "ab");
    notify(2);
    settle();
    cr_expect_str_eq(trace, "abcd");
    notify(7);
    finish_many(a, 5);
    cr_expect_str_eq(trace, "abcde");
    return 0;
}

Task_test(cond, notify_all) {
    struct actor a[3];
    start_many(a, 3);
    notify(SIZE_MAX);
    finish_many(a, 3);
    cr_expect_str_eq(trace, "abc");
    return 0;
}

Task_test(cond, a_notify_without_waiters_is_forgotten) {
    struct actor a[1];
    notify(1);
    cr_expect_eq(rota_cond_notify(&c, 1), 0, "nobody waits, so nobody need hold anything");
    start_many(a, 1);
    cr_expect(parked(&a[0]));
    notify(1);
    finish_many(a, 1);
    return 0;
}

Task_test(cond, exactly_two_live_ones_when_one_was_cancelled_before_the_notify) { /* C09 */
    struct actor a[5];
    start_many(a, 5);
    lock_it();
    cancel(&a[0]);
    cr_expect_eq(rota_cond_notify(&c, 2), 0);
    unlock_it();
    settle();
    cr_expect(a[0].rc == -ECANCELED && a[1].rc == 0 && a[2].rc == 0);
    cr_expect(parked(&a[3]) && parked(&a[4]));
    notify(2);
    finish_many(a, 5);
    return 0;
}

Task_test(cond, exactly_two_live_ones_when_one_was_cancelled_after_the_notify) { /* C09 */
    struct actor a[5];
    start_many(a, 5);
    lock_it();
    cr_expect_eq(rota_cond_notify(&c, 2), 0);
    cancel(&a[0]);
    unlock_it();
    settle();
    cr_expect(a[0].rc == 0 && a[0].next == -ECANCELED, "%d, %d: it was notified", a[0].rc, a[0].next);
    cr_expect_eq(a[1].rc, 0);
    cr_expect(parked(&a[2]) && parked(&a[3]) && parked(&a[4]));
    notify(3);
    finish_many(a, 5);
    return 0;
}

Task_test(cond, one_cancelled_while_it_gets_the_mutex_back_waits_for_it) {
    struct actor a[1];
    int64_t begun = rota_now();
    start_many(a, 1);
    lock_it();
    cancel(&a[0]);
    settle();
    cr_expect(parked(&a[0]), "the mutex is held here");
    cr_expect_eq(rota_sleep(10 * ROTA_MS), 0);
    cancel(&a[0]);
    settle();
    cr_expect(parked(&a[0]), "a second time changes nothing");
    cr_expect(since(begun) >= 10 * ROTA_MS);
    unlock_it();
    finish_many(a, 1);
    cr_expect_eq(a[0].rc, -ECANCELED);
    return 0;
}

static int wait_and_unlock(struct actor *a) {
    int rc = wait_for_notify(a);
    if (rc == 0)
        unlock_it();
    return rc;
}

Task_test(cond, a_notified_one_that_expires_while_it_waits_for_the_mutex_succeeds) {
    struct actor a = { .call = wait_and_unlock, .on = &c };
    intptr_t v = 99;
    cr_expect_eq(rota_spawn(&a.task, limited_main, &a, NULL), 0);   /* 5 ms */
    settle();
    lock_it();
    cr_expect_eq(rota_cond_notify(&c, 1), 0);
    cr_expect_eq(rota_sleep(20 * ROTA_MS), 0);
    cr_expect_eq(m.owner_, rota_self());
    unlock_it();
    cr_expect_eq(rota_join(a.task, &v), 0);
    cr_expect_eq(v, 0);
    return 0;
}

static int lock(struct actor *a) { return rota_mutex_lock(a->on); }

Task_test(cond, notified_ones_queue_behind_those_who_wait_for_the_mutex) {
    struct actor a[2], b = { .call = lock, .undo = unlock, .on = &m, .letter = 'l' };
    start_many(a, 2);
    lock_it();
    start(&b);
    settle();
    cr_expect_eq(rota_cond_notify(&c, 2), 0);
    cr_expect_eq(m.waiters_->task, b.task);
    cr_expect_eq(m.waiters_->next->task, a[0].task);
    cr_expect_eq(m.waiters_->next->on, &m.waiters_, "reports say what it waits for now");
    unlock_it();
    lock_it();
    cr_expect_str_eq(trace, "lab", "who came before was served before");
    unlock_it();
    finish(&b);
    finish_many(a, 2);
    return 0;
}

Task_test(cond, a_refused_wait_does_not_unlock) {
    rota_scope s;
    lock_it();
    rota_timeout_begin(&s, 0);
    cr_expect_eq(rota_cond_wait(&c, &m), -ECANCELED);
    cr_expect_eq(m.owner_, rota_self());
    cr_expect_eq(rota_scope_end(&s, 0), 0);
    unlock_it();
    return 0;
}

/* ---- the mutex's owner ends ---- */

static intptr_t notify_and_end(void *unused) {
    (void)unused;
    lock_it();
    cr_expect_eq(rota_cond_notify(&c, 1), 0);
    return 0;
}

static intptr_t watch_a_notifier_end(void *unused) {
    struct actor a[2];
    rota_task *notifier;
    (void)unused;
    start_many(a, 2);
    cr_expect_eq(rota_spawn(&notifier, notify_and_end, NULL, NULL), 0);
    cr_expect_eq(rota_join(notifier, NULL), 0);
    settle();
    cr_expect_eq(a[0].rc, -EOWNERDEAD, "%d: told, and it held the mutex", a[0].rc);
    cr_expect(parked(&a[1]));
    notify(1);
    finish_many(a, 2);
    return 0;
}

Test(cond, a_notified_waiter_is_told_that_the_owner_ended) {
    intptr_t v;
    cr_expect_eq(run_with(watch_a_notifier_end, NULL, &v, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_MUTEX), 1);
}

/* Notified, told that the owner ended, and on the way back to the mutex, which somebody else was faster to lock. */
static int keep_it_for_a_while(struct actor *a) {
    cr_expect_eq(rota_mutex_lock(&m), 0);
    int rc = rota_cond_wait(a->on, &m);
    cr_expect_eq(rota_sleep(10 * ROTA_MS), 0);
    cr_expect_eq(m.owner_, rota_self());
    unlock_it();
    return rc;
}

static intptr_t notify_two_and_end(void *unused) {
    (void)unused;
    lock_it();
    cr_expect_eq(rota_cond_notify(&c, 2), 0);
    return 0;
}

static intptr_t cancel_one_on_its_way_back(void *unused) {
    struct actor a = { .call = keep_it_for_a_while, .on = &c, .letter = 'a' }, b = actor_of(&thing, 'b');
    rota_task *notifier;
    (void)unused;
    start(&a);
    start(&b);
    settle();
    cr_expect_eq(rota_spawn(&notifier, notify_two_and_end, NULL, NULL), 0);
    cr_expect_eq(rota_join(notifier, NULL), 0);
    settle();
    cr_expect_eq(m.owner_, a.task);
    cancel(&b);
    settle();
    cr_expect(parked(&b), "it must have the mutex first");
    finish(&a);
    finish(&b);
    cr_expect(a.rc == -EOWNERDEAD && b.rc == -EOWNERDEAD);
    return 0;
}

Test(cond, no_cancellation_interrupts_the_way_back_to_the_mutex) {
    intptr_t v;
    cr_expect_eq(run_with(cancel_one_on_its_way_back, NULL, &v, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_MUTEX), 1);
}

static intptr_t hold_and_end(void *unused) {
    (void)unused;
    lock_it();
    return rota_sleep(5 * ROTA_MS);
}

static intptr_t watch_an_owner_end(void *unused) {
    struct actor a[2];
    rota_task *owner;
    (void)unused;
    start_many(a, 2);
    cr_expect_eq(rota_spawn(&owner, hold_and_end, NULL, NULL), 0);
    settle();
    cancel(&a[0]);
    cancel(&a[1]);
    cr_expect_eq(rota_join(owner, NULL), 0);
    finish_many(a, 2);
    cr_expect_eq(a[0].rc, -ECANCELED, "it has the mutex all the same");
    cr_expect_eq(a[1].rc, -ECANCELED);
    return 0;
}

Test(cond, a_cancelled_waiter_gets_its_mutex_though_the_owner_ended) {
    intptr_t v;
    cr_expect_eq(run_with(watch_an_owner_end, NULL, &v, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_MUTEX), 1);
}

/* ---- wrong use ---- */

Task_test(cond, waiting_and_notifying_need_the_mutex) { /* C08 */
    struct actor a[1];
    cr_expect_eq(rota_cond_wait(&c, &m), -EPERM, "free");
    start_many(a, 1);
    cr_expect_eq(rota_cond_notify(&c, 1), -EPERM);
    cr_expect_eq(rota_cond_wait(&c, &m), -EPERM);
    settle();
    cr_expect(parked(&a[0]));
    notify(1);
    finish_many(a, 1);
    return 0;
}

Task_test(cond, all_wait_with_the_same_mutex) {
    rota_mutex other = { 0 };
    struct actor a[1];
    start_many(a, 1);
    cr_expect_eq(rota_mutex_lock(&other), 0);
    cr_expect_eq(rota_cond_wait(&c, &other), -EINVAL);
    cr_expect_eq(other.owner_, rota_self(), "not unlocked");
    cr_expect_eq(rota_cond_notify(&c, 1), -EPERM, "the wrong one");
    cr_expect_eq(rota_mutex_unlock(&other), 0);
    notify(1);
    finish_many(a, 1);
    return 0;
}

Test(cond, null_and_callers_outside_of_tasks) {
    test_begin();
    cr_expect_eq(rota_cond_wait(NULL, &m), -EINVAL);
    cr_expect_eq(rota_cond_wait(&c, NULL), -EINVAL);
    cr_expect_eq(rota_cond_notify(NULL, 1), -EINVAL);
    cr_expect_eq(rota_cond_wait(&c, &m), -EPERM);
    test_end();
}

static void *misuse(void *unused) {
    (void)unused;
    cr_expect_eq(rota_cond_notify(&c, 1), -EPERM);
    return NULL;
}

Task_test(cond, other_threads_are_refused_while_somebody_waits) { /* I05 */
    struct actor a[1];
    start_many(a, 1);
    lock_it();
    in_thread(misuse, NULL);
    unlock_it();
    settle();
    cr_expect(parked(&a[0]));
    notify(1);
    finish_many(a, 1);
    return 0;
}
