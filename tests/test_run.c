/* Programs: rota_run, running until a task has ended, stopping, closing over tasks that are left, deadlock. */
#include "tests/support.h"

#include <pthread.h>
#include <unistd.h>

#include "coro/task.h"

static intptr_t answer(void *unused) {
    (void)unused;
    return rota_sleep(1) == 0 ? 42 : -1;
}

/* ---- rota_run ---- */

Test(run, gives_the_result_of_main) { /* L2, L3 */
    intptr_t v = 0;
    cr_expect_eq(run_with(answer, NULL, &v, NULL), 0);
    cr_expect_eq(v, 42);
    cr_expect_eq(reports.n, 0);
}

Test(run, has_two_channels) { /* L2 */
    intptr_t v = 0;
    cr_expect_eq(run_with(return_arg, (void *)-EIO, &v, NULL), 0);
    cr_expect_eq(v, -EIO);
    cr_expect_eq(run_with(return_arg, (void *)-EIO, NULL, NULL), -EIO, "merged");
    cr_expect_eq(reports.n, 0, "it was looked at");
}

Test(run, with_default_options) {
    intptr_t v = 0;
    cr_expect_eq(rota_run(answer, NULL, &v, NULL), 0);
    cr_expect_eq(v, 42);
    cr_expect_null(rota_loop_current());
}

Test(run, twice_one_after_the_other) { /* L5, L9 */
    for (int i = 0; i < 3; i++)
        cr_expect_eq(run_task(return_arg, (void *)(intptr_t)i), i);
}

Test(run, answers_bad_arguments) { /* I03 */
    intptr_t v = 0;
    rota_loop_options opt = test_options();
    cr_expect_eq(run_with(NULL, NULL, &v, NULL), -EINVAL);
    cr_expect_eq(v, -EINVAL);
    opt.backend = "no such backend";
    cr_expect_eq(run_with(answer, NULL, &v, &opt), -EINVAL);
    cr_expect_eq(v, -EINVAL);
}

static intptr_t run_inside(void *unused) {
    intptr_t v = 0;
    rota_loop *loop = rota_loop_current();
    (void)unused;
    cr_expect_eq(rota_run(answer, NULL, &v, NULL), -EBUSY);
    cr_expect_eq(v, -EBUSY);
    cr_expect_eq(rota_loop_run(loop), -EBUSY);
    cr_expect_eq(rota_loop_turn(loop, 0), -EBUSY);
    cr_expect_eq(rota_loop_run_until(loop, rota_self(), &v), -EBUSY);
    cr_expect_eq(v, -EBUSY);
    cr_expect_eq(rota_loop_close(loop), -EBUSY);
    cr_expect_eq(rota_loop_free(loop), -EBUSY);
    cr_expect_eq(rota_loop_set_current(NULL), -EBUSY);
    cr_expect_eq(rota_sleep(1), 0, "and all goes on");
    return 0;
}

Test(run, is_refused_inside_a_turn) { /* I06, I07 */
    cr_expect_eq(run_task(run_inside, NULL), 0);
}

static intptr_t run_other_loop(void *unused) {
    rota_loop *other;
    rota_task *t = NULL;
    rota_loop_options opt = test_options();
    (void)unused;
    cr_expect_eq(rota_loop_new(&other, &opt), 0, "one may be made");
    cr_expect_neq(rota_loop_current(), other);
    cr_expect_eq(rota_loop_run(other), -EBUSY, "but not run");
    cr_expect_eq(rota_loop_run_until(other, rota_self(), NULL), -EINVAL, "a task of another loop");
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(rota_loop_free(other), 0);
    cr_expect_eq(rota_yield(), 0);
    return 0;
}

Test(run, another_loop_may_be_made_and_freed_inside_a_task) {
    cr_expect_eq(run_task(run_other_loop, NULL), 0);
}

static intptr_t stop_then_return(void *unused) {
    (void)unused;
    cr_expect_eq(rota_loop_stop(rota_loop_current()), 0);
    return 5;
}

Test(run, stopped_by_main_in_its_last_step) {
    intptr_t v = 0;
    cr_expect_eq(run_with(stop_then_return, NULL, &v, NULL), 0);
    cr_expect_eq(v, 5);
}

static intptr_t stop_then_sleep(void *unused) {
    (void)unused;
    cr_expect_eq(rota_loop_stop(rota_loop_current()), 0);
    return rota_sleep(5);
}

Test(run, stopped_before_main_has_ended) {
    intptr_t v = 0;
    cr_expect_eq(run_with(stop_then_sleep, NULL, &v, NULL), -ECANCELED);
    cr_expect_eq(v, -ECANCELED);
}

/* ---- what is left at the end ---- */

static intptr_t note_end(void *letter) {
    int rc = rota_sleep(ROTA_S);
    cr_expect_eq(rc, -ECANCELED);
    note(*(char *)letter);
    return rc;
}

static intptr_t leave_three(void *unused) {
    (void)unused;
    cr_expect_eq(rota_spawn(NULL, note_end, "a", NULL), 0);
    cr_expect_eq(rota_spawn(NULL, note_end, "b", NULL), 0);
    cr_expect_eq(rota_spawn(NULL, note_end, "c", NULL), 0);
    return rota_sleep(1);
}

Test(run, cancels_what_is_left_and_lets_it_end) { /* L3, L5 */
    cr_expect_eq(run_task(leave_three, NULL), 0);
    cr_expect_eq(strlen(trace), 3u);
    cr_expect(strchr(trace, 'a') && strchr(trace, 'b') && strchr(trace, 'c'));
}

static intptr_t why_cancelled(void *unused) {
    const char *reason = NULL;
    (void)unused;
    cr_expect_eq(rota_sleep(ROTA_S), -ECANCELED);
    cr_expect(rota_cancelled(&reason, NULL));
    cr_expect_not_null(reason);
    int rc = rota_spawn(NULL, note_end, "n", NULL);
    cr_expect_eq(rc, 0, "cleanup may use tasks, which start cancelled");
    rota_scope s;
    rota_shield_begin(&s, 10);
    cr_expect_eq(rota_scope_end(&s, rota_sleep(5)), 0, "and may wait");
    note('w');
    return 0;
}

static intptr_t leave_a_cleaner(void *unused) {
    (void)unused;
    cr_expect_eq(rota_spawn(NULL, why_cancelled, NULL, NULL), 0);
    return rota_sleep(1);
}

Test(run, cleanup_of_what_is_left_may_spawn_and_wait) {
    cr_expect_eq(run_task(leave_a_cleaner, NULL), 0);
    cr_expect_str_eq(trace, "nw");
}

static intptr_t wait_for_nothing(void *unused) {
    rota_future f = { 0 };
    (void)unused;
    return rota_future_await(&f, NULL);
}

static intptr_t sleep_twice(void *unused) {
    (void)unused;
    return rota_sleep(ROTA_S) + rota_sleep(ROTA_S) == 2 * -ECANCELED ? 0 : -EIO;
}

static intptr_t leave_many_kinds(void *unused) {
    rota_task *t;
    (void)unused;
    cr_expect_eq(rota_spawn(NULL, wait_for_nothing, NULL, NULL), 0);
    cr_expect_eq(rota_spawn(&t, sleep_twice, NULL, NULL), 0);
    cr_expect_eq(rota_spawn(NULL, answer, NULL, &(rota_spawn_options){ .stack_size = 9 << 20 }), 0);
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)-EIO, NULL), 0, "never looked at, never released");
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_spawn(NULL, note_end, "l", NULL), 0, "not even started");
    return 0;
}

Test(run, closes_over_tasks_in_any_state) {
    cr_expect_eq(run_with(leave_many_kinds, NULL, NULL, NULL), 0);
    cr_expect_str_eq(trace, "l");
}

static intptr_t uninterruptible(void *unused) {
    rota_task *self = NULL;
    struct rota__wait wait = { .what = "the impossible", .until = ROTA_FOREVER };
    (void)unused;
    cr_expect_eq(rota__enter(&self), 0);
    (void)rota__park(self, &wait);
    cr_expect(false, "nobody wakes it");
    return 0;
}

static intptr_t leave_the_uninterruptible(void *unused) {
    static _Alignas(16) char stack[64 * 1024];
    (void)unused;
    cr_expect_eq(rota_spawn(NULL, uninterruptible, NULL, &(rota_spawn_options){ .name = "rock" }), 0);
    cr_expect_eq(rota_spawn(NULL, uninterruptible, NULL, &(rota_spawn_options){ .stack_size = 9 << 20 }), 0);
    cr_expect_eq(rota_spawn(NULL, uninterruptible, NULL, &(rota_spawn_options){ .stack = stack,
                                                                                .stack_size = sizeof stack }), 0);
    return rota_yield();
}

Test(run, reports_what_cannot_be_ended) {
    intptr_t v = 1;
    cr_expect_eq(run_with(leave_the_uninterruptible, NULL, &v, NULL), 0);
    cr_expect_eq(v, 0);
    cr_expect_eq(reports_of(ROTA_REPORT_PENDING), 1);
    cr_expect_eq(reports.n, 1);
    cr_expect(report_says(report_of(ROTA_REPORT_PENDING), "'rock'"));
}

/* ---- deadlock ---- */

static intptr_t wait_forever_for_future(void *future) {
    return rota_future_await(future, NULL);
}

static intptr_t park_on_a_future(void *unused) {
    static rota_future nobodys;
    (void)unused;
    return rota_future_await(&nobodys, NULL);
}

Test(run, a_task_that_nothing_can_wake_is_a_deadlock) { /* A04 */
    intptr_t v = 0;
    cr_expect_eq(run_with(park_on_a_future, NULL, &v, NULL), -EDEADLK);
    cr_expect_eq(v, -EDEADLK);
    cr_expect_eq(reports_of(ROTA_REPORT_DEADLOCK), 1);
    cr_expect_eq(reports.n, 1);
    const struct kept_report *r = report_of(ROTA_REPORT_DEADLOCK);
    cr_expect_eq(r->error, -EDEADLK);
    cr_expect(report_says(r, "'main'"), "%s", r->text);
    cr_expect(report_says(r, "a future"), "%s", r->text);
}

static rota_task *couple[2];

static intptr_t await_partner(void *me) {
    return rota_await(couple[1 - (intptr_t)me], NULL);
}

static intptr_t two_await_each_other(void *unused) {
    (void)unused;
    for (intptr_t i = 0; i < 2; i++)
        cr_expect_eq(rota_spawn(&couple[i], await_partner, (void *)i,
                                &(rota_spawn_options){ .name = i ? "B" : "A" }), 0);
    return rota_await(couple[0], NULL);
}

Test(run, two_tasks_that_await_each_other) { /* A03 */
    intptr_t v = 0;
    cr_expect_eq(run_with(two_await_each_other, NULL, &v, NULL), -EDEADLK);
    const struct kept_report *r = report_of(ROTA_REPORT_DEADLOCK);
    cr_expect(report_says(r, "task 'A' waits for task 'B'"), "%s", r->text);
    cr_expect(report_says(r, "task 'B' waits for task 'A'"), "%s", r->text);
    cr_expect(report_says(r, "task 'main' waits for task 'A'"), "%s", r->text);
    cr_expect(report_says(r, "cycle"), "%s", r->text);
}

static intptr_t many_parked(void *unused) {
    static rota_future f;
    (void)unused;
    rota_future_init(&f);
    for (int i = 0; i < 40; i++)
        cr_expect_eq(rota_spawn(NULL, wait_forever_for_future, &f, NULL), 0);
    return rota_future_await(&f, NULL);
}

Test(run, a_deadlock_of_many_is_listed_in_part) {
    cr_expect_eq(run_with(many_parked, NULL, NULL, NULL), -EDEADLK);
    const struct kept_report *r = report_of(ROTA_REPORT_DEADLOCK);
    cr_expect(report_says(r, "41 tasks"), "%s", r->text);
    cr_expect(report_says(r, "more"), "%s", r->text);
    cr_expect_eq(reports.n, 1);
}

static intptr_t parked_in_groups(void *depth) {
    intptr_t n = (intptr_t)depth;
    if (n == 0)
        return wait_for_nothing(NULL);
    rota_group g;
    rota_group_begin(&g, NULL);
    int rc = rota_spawn(NULL, parked_in_groups, (void *)(n - 1),
                        &(rota_spawn_options){ .group = &g, .name = n == 1 ? "innermost" : "member" });
    return rota_group_end(&g, rc);
}

Test(run, a_deadlock_inside_groups_names_the_members) {
    cr_expect_eq(run_with(parked_in_groups, (void *)5, NULL, NULL), -EDEADLK);
    const struct kept_report *r = report_of(ROTA_REPORT_DEADLOCK);
    cr_expect(report_says(r, "'innermost'"), "%s", r->text);
    cr_expect(report_says(r, "6 tasks"), "%s", r->text);
}

static intptr_t hold_a_remote(void *arg) {
    cr_expect_eq(rota_remote_open(arg, NULL), 0);
    return park_on_a_future(NULL);
}

static void *close_remote(void *remote) {
    usleep(1000);
    rota_remote_close(remote);
    return NULL;
}

struct posted {
    rota_soon soon;
    rota_future *future;
};

static void set_posted(rota_soon *soon, void *arg) {
    (void)soon;
    cr_expect_eq(rota_future_set(((struct posted *)arg)->future, 3), 0);
}

static void *post_then_close(void *arg) {
    struct posted *p = ((void **)arg)[0];
    rota_remote *remote = ((void **)arg)[1];
    usleep(1000); /* only makes it likely that the loop sleeps; either order is right */
    cr_expect_eq(rota_remote_post(remote, &p->soon), 0);
    rota_remote_close(remote);
    return NULL;
}

static intptr_t wait_for_a_post(void *unused) {
    rota_future f = { 0 };
    struct posted p = { .future = &f };
    rota_remote *remote;
    pthread_t thread;
    intptr_t v = 0;
    (void)unused;
    rota_soon_init(&p.soon, set_posted, &p);
    cr_expect_eq(rota_remote_open(&remote, NULL), 0);
    void *args[2] = { &p, remote };
    cr_expect_eq(pthread_create(&thread, NULL, post_then_close, args), 0);
    cr_expect_eq(rota_future_await(&f, &v), 0, "an open remote may wake us: no deadlock");
    pthread_join(thread, NULL);
    return v;
}

Test(run, an_open_remote_is_no_deadlock) {
    for (int is_virtual = 0; is_virtual < 2; is_virtual++) {
        rota_loop_options opt = test_options();
        intptr_t v = 0;
        opt.virtual_clock = is_virtual;
        cr_expect_eq(run_with(wait_for_a_post, NULL, &v, &opt), 0);
        cr_expect_eq(v, 3);
    }
}

Test(run, deadlock_is_seen_when_the_last_remote_closes) {
    rota_remote *remote = NULL;
    pthread_t thread;
    rota_loop *loop = open_loop();
    rota_task *t;
    cr_expect_eq(rota_spawn(&t, hold_a_remote, &remote, NULL), 0);
    cr_expect_geq(rota_loop_turn(loop, 0), 0);
    cr_expect_eq(pthread_create(&thread, NULL, close_remote, remote), 0);
    cr_expect_eq(rota_loop_run_until(loop, t, NULL), -EDEADLK);
    pthread_join(thread, NULL);
    cr_expect_eq(reports_of(ROTA_REPORT_DEADLOCK), 1);
    rota_task_release(t);
    close_loop(loop);
}

/* ---- run until ---- */

Test(run_until, gives_the_result_of_the_task) { /* L2 */
    rota_loop *loop = open_loop();
    rota_task *t, *other;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&other, wait_forever, NULL, NULL), 0);
    cr_expect_eq(rota_spawn(&t, answer, NULL, NULL), 0);
    cr_expect_eq(rota_loop_run_until(loop, t, &v), 0);
    cr_expect_eq(v, 42);
    v = 0;
    cr_expect_eq(rota_loop_run_until(loop, t, &v), 0, "it has ended already");
    cr_expect_eq(v, 42);
    cr_expect(!rota_task_done(other));
    rota_task_release(t);
    cr_expect_eq(rota_loop_run_until(loop, t, &v), -ESRCH);
    cr_expect_eq(v, -ESRCH);
    rota_task_release(other);
    close_loop(loop);
}

Test(run_until, has_two_channels) {
    rota_loop *loop = open_loop();
    rota_task *t;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)-EIO, NULL), 0);
    cr_expect_eq(rota_loop_run_until(loop, t, &v), 0);
    cr_expect_eq(v, -EIO);
    cr_expect_eq(rota_loop_run_until(loop, t, NULL), -EIO);
    rota_task_release(t);
    cr_expect_eq(reports.n, 0);
    close_loop(loop);
}

Test(run_until, deadlock) {
    rota_loop *loop = open_loop();
    rota_task *t;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, park_on_a_future, NULL, NULL), 0);
    cr_expect_eq(rota_loop_run_until(loop, t, &v), -EDEADLK);
    cr_expect_eq(v, -EDEADLK);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_loop_run_until(loop, t, &v), 0, "it can be run on");
    cr_expect_eq(v, -ECANCELED);
    rota_task_release(t);
    close_loop(loop);
}

static void stop_loop(rota_timer *timer, void *loop) {
    (void)timer;
    cr_expect_eq(rota_loop_stop(loop), 0);
}

Test(run_until, stopped_first) { /* L4 */
    rota_loop *loop = open_loop();
    rota_task *t;
    rota_timer timer;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, wait_forever, NULL, NULL), 0);
    rota_timer_init(&timer, stop_loop, loop);
    cr_expect_eq(rota_timer_start(loop, &timer, 10), 0);
    cr_expect_eq(rota_loop_run_until(loop, t, &v), -ECANCELED);
    cr_expect_eq(v, -ECANCELED);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_loop_run(loop), 0, "its end looks for nobody who has left");
    rota_task_release(t);
    close_loop(loop);
}

static void close_future(rota_timer *timer, void *future) {
    (void)timer;
    cr_expect_eq(rota_future_close(future), 0);
}

Test(run_until, of_a_task_whose_future_is_closed_meanwhile) {
    rota_loop *loop = open_loop();
    rota_task *t;
    rota_timer timer;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, park_on_a_future, NULL, NULL), 0);
    rota_timer_init(&timer, close_future, rota_task_future(t));
    cr_expect_eq(rota_timer_start(loop, &timer, 10), 0);
    cr_expect_eq(rota_loop_run_until(loop, t, &v), -EDEADLK, "that says nothing of the task");
    cr_expect_eq(rota_loop_run_until(loop, t, &v), -ESHUTDOWN);
    cr_expect_eq(v, -ESHUTDOWN);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(rota_loop_run_until(loop, t, &v), 0, "it has ended");
    cr_expect_eq(v, -ECANCELED);
    rota_task_release(t);
    close_loop(loop);
}

Test(run_until, bad_arguments) { /* I03 */
    rota_loop *loop = open_loop();
    rota_task *t;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, answer, NULL, NULL), 0);
    cr_expect_eq(rota_loop_run_until(NULL, t, &v), -EINVAL);
    cr_expect_eq(v, -EINVAL);
    cr_expect_eq(rota_loop_run_until(loop, NULL, &v), -EINVAL);
    cr_expect_eq(rota_loop_run_until(loop, t, NULL), 0);
    rota_task_release(t);
    close_loop(loop);
}

static intptr_t limiter(void *loop) {
    cr_expect_eq(rota_sleep(3 * ROTA_S), 0);
    return rota_loop_stop(loop);
}

static intptr_t never_ending(void *count) {
    while (rota_sleep(ROTA_S) == 0)
        ++*(int *)count;
    return 0;
}

Test(run, runs_on_until_a_task_stops_it) { /* L4, L11, T11 */
    rota_loop *loop = open_loop();
    int count = 0;
    cr_expect_eq(rota_spawn(NULL, never_ending, &count, NULL), 0);
    cr_expect_eq(rota_spawn(NULL, limiter, loop, NULL), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(count, 3);
    cr_expect_eq(rota_spawn(NULL, limiter, loop, NULL), 0);
    cr_expect_eq(rota_loop_run(loop), 0, "it can be run again");
    cr_expect_eq(count, 6);
    close_loop(loop);
}

/* ---- closed loops ---- */

Test(run, a_closed_loop_answers_shutdown) { /* L5, I04 */
    rota_loop *loop = open_loop();
    rota_task *t;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, answer, NULL, NULL), 0);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_loop_tasks(loop), 0u);
    cr_expect_eq(rota_loop_run(loop), -ESHUTDOWN);
    cr_expect_eq(rota_loop_run_until(loop, t, &v), -ESHUTDOWN);
    cr_expect_eq(v, -ESHUTDOWN);
    cr_expect_null(rota_loop_current());
    close_loop(loop);
    loop = open_loop();
    cr_expect_not_null(loop, "a new one can be had");
    close_loop(loop);
}

Test(run, two_loops_one_after_the_other) { /* L9 */
    for (int i = 0; i < 2; i++) {
        rota_loop *loop = open_loop();
        rota_task *t;
        cr_expect_eq(rota_loop_current(), loop);
        cr_expect_eq(rota_spawn(&t, answer, NULL, NULL), 0);
        cr_expect_eq(rota_loop_run_until(loop, t, NULL), 0);
        rota_task_release(t);
        close_loop(loop);
    }
}

Test(run, two_loops_in_turn_on_one_thread) { /* L6 */
    rota_loop *one = open_loop(), *two;
    rota_loop_options opt = test_options();
    rota_task *a, *b;
    intptr_t v = 0;
    cr_expect_eq(rota_loop_new(&two, &opt), 0);
    cr_expect_eq(rota_spawn(&a, answer, NULL, NULL), 0);
    cr_expect_eq(rota_loop_set_current(two), 0);
    cr_expect_eq(rota_spawn(&b, answer, NULL, NULL), 0);
    cr_expect_eq(rota_loop_tasks(one), 1u);
    cr_expect_eq(rota_loop_tasks(two), 1u);
    cr_expect_eq(rota_loop_run_until(one, b, &v), -EINVAL, "a task of the other loop");
    cr_expect_eq(rota_loop_run_until(one, a, &v), 0);
    cr_expect_eq(rota_loop_run_until(two, b, &v), 0);
    rota_task_release(a);
    rota_task_release(b);
    cr_expect_eq(rota_loop_free(two), 0);
    close_loop(one);
}

static intptr_t thread_main(void *arg) {
    int *count = arg;
    for (int i = 0; i < 1000; i++) {
        rota_task *t;
        int rc = rota_spawn(&t, return_arg, (void *)1, NULL);
        intptr_t v = 0;
        rc = rc < 0 ? rc : rota_join(t, &v);
        *count += rc == 0 && v == 1 && rota_sleep(1) == 0;
    }
    return 0;
}

static void *loop_thread(void *arg) {
    rota_loop_options opt = { .virtual_clock = true };
    *(int *)arg += rota_run(thread_main, arg, NULL, &opt) == 0;
    return NULL;
}

Test(run, loops_in_several_threads) {
    int counts[3] = { 0, 0, 0 };
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, loop_thread, &counts[i]), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(counts[i], 1001);
    }
}

/* ---- an allocator that is watched ---- */

static intptr_t use_most(void *unused) {
    (void)unused;
    rota_task *t[50];
    for (int i = 0; i < 50; i++)
        cr_expect_eq(rota_spawn(&t[i], answer, NULL, &(rota_spawn_options){ .stack_size = (size_t)4096 << (i % 4) }), 0);
    for (int i = 0; i < 50; i++)
        cr_expect_eq(rota_join(t[i], NULL), 0);
    return 0;
}

Test(run, everything_goes_through_the_loops_allocator) { /* I02 */
    cr_expect_eq(run_task(use_most, NULL), 0);
    cr_expect_gt(memory.calls, 5u);
}

/* What keeps a loop alive must not keep it from closing once its tasks have ended. */
Test(run, close_waits_for_tasks_only, .timeout = 10) {
    rota_loop *loop = open_loop();
    rota_remote *remote = NULL;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    cr_assert_eq(rota_spawn(NULL, wait_forever, NULL, NULL), 0);
    cr_assert_eq(rota_loop_turn(loop, 0), 1);
    cr_assert_eq(rota_loop_close(loop), 0);
    rota_remote_close(remote);
    close_loop(loop);
}
