/* Futures: set once, any number of waiters, callbacks on the loop's stack. */
#include "tests/support.h"

#include <pthread.h>
#include <stdlib.h>

#include "reactor/loop.h"

/* A task that waits for a future and notes its letter, and what it got. */
struct waiter {
    rota_future *future;
    char letter;
    int rc;
    intptr_t result;
};

static intptr_t wait_and_note(void *arg) {
    struct waiter *w = arg;
    w->result = 77;
    w->rc = rota_future_await(w->future, &w->result);
    note(w->letter);
    return 0;
}

static rota_task *start_waiter(struct waiter *w) {
    rota_task *task;
    int rc = rota_spawn(&task, wait_and_note, w, NULL);
    cr_expect_eq(rc, 0);
    return task;
}

static void join_all(rota_task **tasks, size_t n) {
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(rota_join(tasks[i], NULL), 0);
}

Task_test(future, three_waiters_wake_in_order_with_the_value) { /* F1, A06 */
    static rota_future f; /* all zero: pending */
    struct waiter w[3] = { { .future = &f, .letter = 'a' }, { .future = &f, .letter = 'b' },
                           { .future = &f, .letter = 'c' } };
    rota_task *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = start_waiter(&w[i]);
    cr_expect_eq(rota_yield(), 0);
    cr_expect(!rota_future_done(&f));
    cr_expect_eq(rota_future_set(&f, 42), 0);
    cr_expect_str_eq(trace, "", "set runs nobody");
    join_all(t, 3);
    cr_expect_str_eq(trace, "abc");
    for (int i = 0; i < 3; i++)
        cr_expect(w[i].rc == 0 && w[i].result == 42);
    return 0;
}

Task_test(future, a_second_set_changes_nothing) { /* A09 */
    rota_future f = { 0 };
    intptr_t v = 0;
    cr_expect_eq(rota_future_set(&f, 1), 0);
    cr_expect_eq(rota_future_set(&f, 2), -EALREADY);
    cr_expect_eq(rota_future_await(&f, &v), 0);
    cr_expect_eq(v, 1);
    return 0;
}

Task_test(future, fate_of_the_wait_and_outcome_are_two_channels) {
    rota_future f = { 0 };
    intptr_t v = 0;
    cr_expect_eq(rota_future_set(&f, -EIO), 0);
    cr_expect_eq(rota_future_await(&f, &v), 0);
    cr_expect_eq(v, -EIO);
    cr_expect_eq(rota_future_await(&f, NULL), -EIO, "merged");
    return 0;
}

Task_test(future, a_wait_that_fails_writes_its_error_into_the_result) {
    rota_future f = { 0 };
    intptr_t v = 5;
    rota_scope s;
    rota_timeout_begin(&s, 1 * ROTA_MS);
    cr_expect_eq(rota_future_await(&f, &v), -ECANCELED);
    cr_expect_eq(v, -ECANCELED);
    cr_expect_eq(rota_scope_end(&s, v), -ETIMEDOUT);
    cr_expect_null(f.waiters_, "the wait was taken out");
    cr_expect_eq(rota_future_await(NULL, &v), -EINVAL);
    cr_expect_eq(v, -EINVAL);
    return 0;
}

Test(future, value_without_waiting) {
    rota_future f = { 0 };
    intptr_t v = 3;
    cr_expect_eq(rota_future_value(&f, &v), -EAGAIN);
    cr_expect(!rota_future_done(&f));
    cr_expect_eq(rota_future_set(&f, 9), 0, "needs no loop when nobody waits");
    cr_expect(rota_future_done(&f));
    cr_expect_eq(rota_future_value(&f, &v), 0);
    cr_expect_eq(v, 9);
    cr_expect_eq(rota_future_value(&f, NULL), 0);
}

Task_test(future, closing_wakes_waiters) { /* A10 */
    rota_future *f = calloc(1, sizeof *f);
    struct waiter w[2] = { { .future = f, .letter = 'a' }, { .future = f, .letter = 'b' } };
    rota_task *t[2] = { start_waiter(&w[0]), start_waiter(&w[1]) };
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_future_close(f), 0);
    free(f); /* while they have not run yet */
    join_all(t, 2);
    for (int i = 0; i < 2; i++)
        cr_expect(w[i].rc == -ESHUTDOWN && w[i].result == -ESHUTDOWN);
    cr_expect_str_eq(trace, "ab");
    return 0;
}

Task_test(future, memory_may_go_right_after_it_was_set) {
    rota_future *f = calloc(1, sizeof *f);
    struct waiter w = { .future = f, .letter = 'a' };
    rota_task *t = start_waiter(&w);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_future_set(f, 6), 0);
    free(f);
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(w.result, 6);
    return 0;
}

static void count_call(rota_done *done, intptr_t value, void *arg) {
    (void)done;
    (void)value;
    ++*(int *)arg;
}

Task_test(future, a_closed_one_answers_shutdown_until_init) {
    rota_future f = { 0 };
    rota_done done;
    int calls = 0;
    intptr_t v;
    cr_expect_eq(rota_future_close(&f), 0);
    cr_expect_eq(rota_future_close(&f), 0, "twice is fine");
    cr_expect_eq(rota_future_set(&f, 1), -ESHUTDOWN);
    cr_expect_eq(rota_future_await(&f, &v), -ESHUTDOWN);
    cr_expect_eq(rota_future_value(&f, &v), -ESHUTDOWN);
    cr_expect_eq(rota_future_on_done(&f, &done, count_call, &calls), -ESHUTDOWN);
    rota_future_init(&f);
    cr_expect_eq(rota_future_set(&f, 1), 0);
    return 0;
}

/* ---- callbacks ---- */

static void note_digit(rota_done *done, intptr_t value, void *arg) {
    (void)done;
    cr_expect_null(rota_self(), "callbacks run on the loop's stack");
    cr_expect_eq(value, 5);
    note(*(char *)arg);
}

Task_test(future, callbacks_run_later_in_the_order_they_were_added) {
    rota_future f = { 0 };
    rota_done a, b, c;
    cr_expect_eq(rota_future_on_done(&f, &a, note_digit, "1"), 0);
    cr_expect_eq(rota_future_on_done(&f, &b, note_digit, "2"), 0);
    cr_expect_eq(rota_future_set(&f, 5), 0);
    cr_expect_str_eq(trace, "", "not inside set");
    cr_expect_eq(rota_future_on_done(&f, &c, note_digit, "3"), 0, "queued at once on a set future");
    cr_expect_str_eq(trace, "");
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "123");
    return 0;
}

Task_test(future, waiters_and_callbacks_both_hear_of_it) {
    rota_future f = { 0 };
    rota_done a;
    struct waiter w = { .future = &f, .letter = 'w' };
    rota_task *t = start_waiter(&w);
    cr_expect_eq(rota_future_on_done(&f, &a, note_digit, "1"), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_future_set(&f, 5), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_str_eq(trace, "w1");
    return 0;
}

Task_test(future, a_removed_callback_never_runs) {
    rota_future f = { 0 };
    rota_done a, b, c, idle = { .arg = NULL };
    int n = 0;
    cr_expect_eq(rota_future_on_done(&f, &a, note_digit, "1"), 0);
    cr_expect_eq(rota_future_on_done(&f, &b, count_call, &n), 0);
    cr_expect_eq(rota_future_on_done(&f, &c, count_call, &n), 0);
    cr_expect_eq(rota_done_remove(&b), 0, "while it waits");
    cr_expect_eq(rota_done_remove(&b), 0, "twice is fine");
    cr_expect_eq(rota_future_set(&f, 5), 0);
    cr_expect_eq(rota_done_remove(&c), 0, "when it is queued already");
    cr_expect_eq(rota_done_remove(&idle), 0, "never added");
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_done_remove(&a), 0, "after it ran");
    cr_expect_str_eq(trace, "1");
    cr_expect_eq(n, 0);
    return 0;
}

Task_test(future, removing_from_any_place_keeps_the_list_whole) {
    for (int gone = 0; gone < 4; gone++) {
        rota_future f = { 0 };
        rota_done d[4];
        static const char *const names[] = { "0", "1", "2", "3" };
        memset(trace, 0, sizeof trace);
        for (int i = 0; i < 4; i++)
            cr_expect_eq(rota_future_on_done(&f, &d[i], note_digit, (void *)(uintptr_t)names[i]), 0);
        cr_expect_eq(rota_done_remove(&d[gone]), 0);
        cr_expect_eq(rota_future_on_done(&f, &d[gone], note_digit, "9"), 0, "added again: at the end");
        cr_expect_eq(rota_future_set(&f, 5), 0);
        cr_expect_eq(rota_yield(), 0);
        char expected[6] = "", *e = expected;
        for (int i = 0; i < 4; i++)
            if (i != gone)
                *e++ = (char)('0' + i);
        *e = '9';
        cr_expect_str_eq(trace, expected);
    }
    return 0;
}

Task_test(future, closing_drops_callbacks_that_were_not_queued) {
    rota_future f = { 0 }, g = { 0 };
    rota_done a, b;
    int n = 0;
    cr_expect_eq(rota_future_on_done(&f, &a, count_call, &n), 0);
    cr_expect_eq(rota_future_close(&f), 0);
    cr_expect_eq(rota_future_on_done(&g, &b, count_call, &n), 0);
    cr_expect_eq(rota_future_set(&g, 0), 0);
    cr_expect_eq(rota_future_close(&g), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(n, 1, "only the one that was queued when its future closed");
    return 0;
}

struct meddler {
    rota_future *future;
    rota_done self, other, added;
    int other_calls, added_calls;
};

static void meddle(rota_done *done, intptr_t value, void *arg) {
    struct meddler *m = arg;
    (void)done;
    (void)value;
    cr_expect_eq(rota_done_remove(&m->other), 0);
    cr_expect_eq(rota_future_on_done(m->future, &m->added, count_call, &m->added_calls), 0);
    note('m');
}

Task_test(future, a_callback_may_remove_and_add_others) { /* A11 */
    rota_future f = { 0 };
    struct meddler m = { .future = &f };
    cr_expect_eq(rota_future_on_done(&f, &m.self, meddle, &m), 0);
    cr_expect_eq(rota_future_on_done(&f, &m.other, count_call, &m.other_calls), 0);
    cr_expect_eq(rota_future_set(&f, 1), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "m");
    cr_expect_eq(m.other_calls, 0, "it was queued, and taken back");
    cr_expect_eq(m.added_calls, 1, "the future was set: queued behind");
    return 0;
}

struct owned {
    rota_future future;
    rota_done done;
};

static void free_owned(rota_done *done, intptr_t value, void *arg) {
    (void)done;
    cr_expect_eq(value, 8);
    free(arg);
    note('f');
}

Task_test(future, a_callback_may_free_the_future_and_itself) { /* A12 */
    struct owned *o = calloc(1, sizeof *o);
    cr_expect_eq(rota_future_on_done(&o->future, &o->done, free_owned, o), 0);
    cr_expect_eq(rota_future_set(&o->future, 8), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "f");
    return 0;
}

static void add_again(rota_done *done, intptr_t value, void *arg) {
    (void)value;
    note('x');
    if (strlen(trace) < 4)
        cr_expect_eq(rota_future_on_done(arg, done, add_again, arg), 0);
}

Task_test(future, a_callback_may_add_itself_again) {
    rota_future f = { 0 };
    rota_done d;
    cr_expect_eq(rota_future_on_done(&f, &d, add_again, &f), 0);
    cr_expect_eq(rota_future_set(&f, 1), 0);
    for (int i = 0; i < 8; i++)
        cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "xxxx");
    return 0;
}

/* ---- cancelled and completed at once ---- */

Task_test(future, a_cancelled_waiter_leaves_the_others_in_order) { /* A07 */
    rota_future f = { 0 };
    struct waiter w[3] = { { .future = &f, .letter = 'a' }, { .future = &f, .letter = 'b' },
                           { .future = &f, .letter = 'c' } };
    for (int gone = 0; gone < 3; gone++) {
        rota_task *t[3];
        memset(trace, 0, sizeof trace);
        rota_future_init(&f);
        for (int i = 0; i < 3; i++)
            t[i] = start_waiter(&w[i]);
        cr_expect_eq(rota_yield(), 0);
        cr_expect_eq(rota_cancel(t[gone], "test"), 0);
        cr_expect_eq(rota_yield(), 0);
        cr_expect_eq(rota_future_set(&f, 4), 0);
        join_all(t, 3);
        for (int i = 0; i < 3; i++)
            cr_expect(i == gone ? w[i].rc == -ECANCELED : w[i].rc == 0 && w[i].result == 4);
        cr_expect_eq(strlen(trace), 3u);
    }
    return 0;
}

static intptr_t await_then_sleep(void *arg) {
    struct waiter *w = arg;
    w->rc = rota_future_await(w->future, &w->result);
    return rota_sleep(1);
}

Task_test(future, completion_beats_a_later_cancellation_in_the_same_turn) { /* B02 */
    rota_future f = { 0 };
    struct waiter w = { .future = &f };
    rota_task *t;
    intptr_t v;
    cr_expect_eq(rota_spawn(&t, await_then_sleep, &w, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_future_set(&f, 3), 0);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect(w.rc == 0 && w.result == 3, "the value is not lost");
    cr_expect_eq(v, -ECANCELED, "and neither is the cancellation: its next call refuses");
    return 0;
}

Task_test(future, cancellation_beats_a_later_completion_in_the_same_turn) { /* B02 */
    rota_future f = { 0 };
    struct waiter w = { .future = &f };
    rota_task *t;
    intptr_t v;
    cr_expect_eq(rota_spawn(&t, await_then_sleep, &w, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_future_set(&f, 3), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect(w.rc == -ECANCELED && w.result == -ECANCELED);
    cr_expect_eq(v, -ECANCELED);
    cr_expect_eq(rota_future_value(&f, &v), 0, "the value stays in the future");
    cr_expect_eq(v, 3);
    return 0;
}

/* ---- fairness of calls that need not wait ---- */

static intptr_t set_flag(void *flag) {
    *(bool *)flag = true;
    return 0;
}

Task_test(future, awaiting_set_futures_in_a_loop_lets_others_run) {
    rota_future f = { 0 };
    bool ran = false;
    int n = 0;
    cr_expect_eq(rota_future_set(&f, 0), 0);
    cr_expect_eq(rota_spawn(NULL, set_flag, &ran, NULL), 0);
    while (!ran && n < 1000) {
        cr_expect_eq(rota_future_await(&f, NULL), 0);
        n++;
    }
    cr_expect_eq(n, 64, "64 successes in a row, then the others: %d", n);
    return 0;
}

/* ---- misuse ---- */

Test(future, null_is_invalid) { /* I03 */
    rota_loop *loop = open_loop();
    rota_future f = { 0 };
    rota_done d;
    cr_expect_eq(rota_future_set(NULL, 1), -EINVAL);
    cr_expect_eq(rota_future_value(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_future_close(NULL), -EINVAL);
    cr_expect(!rota_future_done(NULL));
    cr_expect_eq(rota_future_on_done(NULL, &d, count_call, NULL), -EINVAL);
    cr_expect_eq(rota_future_on_done(&f, NULL, count_call, NULL), -EINVAL);
    cr_expect_eq(rota_future_on_done(&f, &d, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_done_remove(NULL), -EINVAL);
    rota_future_init(NULL);
    close_loop(loop);
}

Test(future, awaiting_outside_of_a_task_is_refused) {
    rota_future f = { 0 };
    intptr_t v = 0;
    cr_expect_eq(rota_future_await(&f, &v), -EPERM, "without a loop");
    cr_expect_eq(v, -EPERM);
    rota_loop *loop = open_loop();
    cr_expect_eq(rota_future_await(&f, NULL), -EPERM, "with one");
    close_loop(loop);
    rota_done d;
    cr_expect_eq(rota_future_on_done(&f, &d, count_call, NULL), -EINVAL, "no loop to run it");
}

struct foreign {
    rota_future *future;
    rota_done *done;
    int set, close, remove;
};

static void *use_from_thread(void *arg) {
    struct foreign *x = arg;
    x->set = rota_future_set(x->future, 1);
    x->close = rota_future_close(x->future);
    return NULL;
}

Task_test(future, other_threads_may_not_set_what_a_task_waits_for) { /* A13, I05 */
    rota_future f = { 0 };
    struct waiter w = { .future = &f, .letter = 'a' };
    struct foreign x = { .future = &f };
    pthread_t thread;
    rota_task *t = start_waiter(&w);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(pthread_create(&thread, NULL, use_from_thread, &x), 0);
    pthread_join(thread, NULL);
    cr_expect_eq(x.set, -EPERM);
    cr_expect_eq(x.close, -EPERM);
    cr_expect(!rota_future_done(&f));
    cr_expect_eq(rota_future_set(&f, 2), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(w.result, 2);
    return 0;
}

static void *remove_from_thread(void *arg) {
    struct foreign *x = arg;
    x->remove = rota_done_remove(x->done);
    return NULL;
}

Task_test(future, other_threads_may_not_take_a_queued_callback) { /* I05 */
    rota_future f = { 0 };
    rota_done d;
    int n = 0;
    struct foreign x = { .done = &d };
    pthread_t thread;
    cr_expect_eq(rota_future_on_done(&f, &d, count_call, &n), 0);
    cr_expect_eq(rota_future_set(&f, 2), 0);
    cr_expect_eq(pthread_create(&thread, NULL, remove_from_thread, &x), 0);
    pthread_join(thread, NULL);
    cr_expect_eq(x.remove, -EPERM);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(n, 1);
    return 0;
}

Test(future, callbacks_of_a_closed_loop_are_dropped) {
    rota_loop *loop = open_loop();
    rota_future f = { 0 }, g = { 0 };
    rota_done a, b;
    int n = 0;
    cr_expect_eq(rota_future_on_done(&f, &a, count_call, &n), 0);
    cr_expect_eq(rota_future_on_done(&g, &b, count_call, &n), 0);
    cr_expect_eq(rota_future_set(&g, 0), 0);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_future_set(&f, 0), -ESHUTDOWN);
    cr_expect_eq(rota_done_remove(&b), 0);
    cr_expect_eq(n, 0);
    close_loop(loop);
}
