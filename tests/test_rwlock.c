/* Read-write locks: many readers or one writer, in the order in which they come. */
#include "tests/sync_kit.h"

static rota_rwlock l;

static int read_it(struct actor *a) { return rota_rwlock_read(a->on); }
static int write_it(struct actor *a) { return rota_rwlock_write(a->on); }
static void unlock(struct actor *a) { cr_expect_eq(rota_rwlock_unlock(a->on), 0); }
static void hold(void) { cr_expect_eq(rota_rwlock_write(&l), 0); }
static void let_go(void) { cr_expect_eq(rota_rwlock_unlock(&l), 0); }

static const struct thing writers = { write_it, unlock, &l, hold, let_go, true };

Thing_tests(rwlock, writers)

static void start_line(struct actor *a, const char *kinds) { /* "rwr": reader, writer, reader */
    for (int i = 0; kinds[i]; i++) {
        a[i] = (struct actor){ .call = kinds[i] == 'r' ? read_it : write_it, .undo = unlock, .on = &l,
                               .letter = (char)('a' + i) };
        start(&a[i]);
    }
    settle();
}

static void finish_many(struct actor *a, int n) {
    for (int i = 0; i < n; i++)
        finish(&a[i]);
    cr_expect(l.readers_ == 0 && !l.writer_.owner_ && !l.writer_.waiters_);
}

Task_test(rwlock, readers_share) {
    struct actor a[3];
    cr_expect_eq(rota_rwlock_read(&l), 0);
    start_line(a, "rrr");
    cr_expect_str_eq(trace, "abc");
    let_go();
    finish_many(a, 3);
    return 0;
}

Task_test(rwlock, a_writer_is_alone) {
    struct actor a[2];
    hold();
    cr_expect_eq(l.writer_.owner_, rota_self());
    start_line(a, "rw");
    cr_expect(parked(&a[0]) && parked(&a[1]));
    let_go();
    settle();
    cr_expect_str_eq(trace, "ab");
    finish_many(a, 2);
    return 0;
}

Task_test(rwlock, a_writer_waits_for_all_readers) {
    struct actor w[1];
    cr_expect_eq(rota_rwlock_read(&l), 0);
    cr_expect_eq(rota_rwlock_read(&l), 0);
    start_line(w, "w");
    let_go();
    settle();
    cr_expect(parked(&w[0]));
    let_go();
    finish_many(w, 1);
    cr_expect_eq(w[0].rc, 0);
    return 0;
}

Task_test(rwlock, readers_queue_behind_a_waiting_writer) { /* C18: no starvation */
    struct actor a[3];
    cr_expect_eq(rota_rwlock_read(&l), 0);
    start_line(a, "wrr");
    cr_expect(parked(&a[0]) && parked(&a[1]) && parked(&a[2]));
    let_go();
    cr_expect_eq(l.writer_.owner_, a[0].task);
    finish_many(a, 3);
    cr_expect_str_eq(trace, "abc");
    return 0;
}

static bool enough;

static intptr_t keep_reading(void *unused) {
    (void)unused;
    while (!enough) {
        cr_expect_eq(rota_rwlock_read(&l), 0);
        cr_expect_eq(rota_sleep(3 * ROTA_MS), 0);
        let_go();
    }
    return 0;
}

Task_test(rwlock, a_writer_gets_in_though_readers_keep_coming) { /* C18 */
    rota_task *readers[4];
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(rota_spawn(&readers[i], keep_reading, NULL, NULL), 0);
        cr_expect_eq(rota_sleep(700 * ROTA_US), 0);
    }
    int64_t begun = rota_now();
    hold();
    cr_expect(since(begun) <= 3 * ROTA_MS, "%lld ns", (long long)since(begun));
    let_go();
    enough = true;
    for (int i = 0; i < 4; i++)
        cr_expect_eq(rota_join(readers[i], NULL), 0);
    return 0;
}

Task_test(rwlock, readers_at_the_front_enter_together) {
    struct actor a[5];
    hold();
    start_line(a, "rrwrr");
    let_go();
    cr_expect_eq(l.readers_, 2u, "up to the writer");
    finish_many(a, 5);
    cr_expect_str_eq(trace, "abcde");
    return 0;
}

Task_test(rwlock, a_writer_that_is_cancelled_at_the_front_lets_readers_in) {
    struct actor a[4];
    cr_expect_eq(rota_rwlock_read(&l), 0);
    start_line(a, "wrrw");
    cancel(&a[0]);
    cr_expect_eq(l.readers_, 3u, "at once: the lock is read");
    settle();
    cr_expect(a[0].rc == -ECANCELED && a[1].rc == 0 && a[2].rc == 0 && parked(&a[3]));
    let_go();
    finish_many(a, 4);
    return 0;
}

Task_test(rwlock, a_writer_that_is_cancelled_behind_others_changes_nothing) {
    struct actor a[4];
    cr_expect_eq(rota_rwlock_read(&l), 0);
    start_line(a, "wwrr");
    cancel(&a[1]);
    settle();
    cr_expect(parked(&a[0]) && parked(&a[2]) && parked(&a[3]));
    let_go();
    finish_many(a, 4);
    cr_expect_str_eq(trace, "bacd");
    return 0;
}

Task_test(rwlock, a_writer_behind_which_a_writer_waits_is_cancelled) {
    struct actor a[2];
    cr_expect_eq(rota_rwlock_read(&l), 0);
    start_line(a, "ww");
    cancel(&a[0]);
    settle();
    cr_expect(parked(&a[1]), "still read");
    let_go();
    finish_many(a, 2);
    cr_expect_eq(a[1].rc, 0);
    return 0;
}

Task_test(rwlock, a_reader_let_in_and_cancelled_in_one_turn_reads) {
    struct actor a[2];
    hold();
    start_line(a, "rw");
    let_go();
    cancel(&a[0]);
    finish_many(a, 2);
    cr_expect(a[0].rc == 0 && a[0].next == -ECANCELED && a[1].rc == 0);
    return 0;
}

/* ---- wrong use ---- */

Task_test(rwlock, the_writer_cannot_lock_again) {
    hold();
    cr_expect_eq(rota_rwlock_read(&l), -EDEADLK);
    cr_expect_eq(rota_rwlock_write(&l), -EDEADLK);
    let_go();
    return 0;
}

Task_test(rwlock, unlocking_what_is_not_held_is_refused) { /* C02 */
    struct actor a[1];
    cr_expect_eq(rota_rwlock_unlock(&l), -EPERM, "free");
    a[0] = actor_of(&writers, 'a');
    start(&a[0]);
    while (a[0].rc == 99)
        cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_rwlock_unlock(&l), -EPERM, "another task writes");
    finish_many(a, 1);
    return 0;
}

static intptr_t write_and_end(void *unused) {
    (void)unused;
    hold();
    return rota_sleep(1 * ROTA_MS);
}

static intptr_t watch_a_writer_end(void *unused) {
    struct actor a[3];
    rota_task *writer;
    (void)unused;
    cr_expect_eq(rota_spawn(&writer, write_and_end, NULL, NULL), 0);
    settle();
    start_line(a, "rwr");
    cr_expect_eq(rota_join(writer, NULL), 0);
    finish_many(a, 3);
    cr_expect(a[0].rc == -EOWNERDEAD && a[1].rc == -EOWNERDEAD && a[2].rc == -EOWNERDEAD);
    hold();
    let_go();
    return 0;
}

Test(rwlock, a_writer_that_ends_is_reported_and_frees_it) { /* C03 */
    intptr_t v;
    cr_expect_eq(run_with(watch_a_writer_end, NULL, &v, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_MUTEX), 1);
}

Test(rwlock, null_and_callers_outside_of_tasks) {
    test_begin();
    cr_expect_eq(rota_rwlock_read(NULL), -EINVAL);
    cr_expect_eq(rota_rwlock_write(NULL), -EINVAL);
    cr_expect_eq(rota_rwlock_unlock(NULL), -EINVAL);
    cr_expect_eq(rota_rwlock_read(&l), -EPERM);
    cr_expect_eq(rota_rwlock_write(&l), -EPERM);
    cr_expect_eq(rota_rwlock_unlock(&l), -EPERM);
    test_end();
}

static intptr_t lock_in_another_loop(void *arg) {
    (void)arg;
    cr_expect_eq(rota_rwlock_read(&l), -EPERM);
    cr_expect_eq(rota_rwlock_write(&l), -EPERM);
    cr_expect_eq(rota_rwlock_unlock(&l), -EPERM);
    return 0;
}

static void *run_another_loop(void *arg) {
    cr_expect_eq(rota_run(lock_in_another_loop, arg, NULL, &(rota_loop_options){ .virtual_clock = true }), 0);
    return NULL;
}

Task_test(rwlock, tasks_of_another_loop_are_refused) { /* I05 */
    struct actor a[1];
    hold();
    in_thread(run_another_loop, NULL);
    let_go();
    cr_expect_eq(rota_rwlock_read(&l), 0);
    start_line(a, "w");
    in_thread(run_another_loop, NULL);
    let_go();
    finish_many(a, 1);
    return 0;
}
