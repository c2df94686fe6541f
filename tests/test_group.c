/* Groups: a scope whose end waits for its tasks; and gather. */
#include "tests/support.h"

#include <signal.h>
#include <stdlib.h>

#include "coro/task.h"

/* A child: sleeps, notes its letter and how it went, then ends with its value (or with why it could not sleep). */
struct child {
    int64_t ns;
    char letter;
    intptr_t value;
    int rc;
};

static intptr_t run_child(void *arg) {
    struct child *c = arg;
    c->rc = rota_sleep(c->ns);
    note(c->letter);
    return c->rc < 0 ? c->rc : c->value;
}

static void start(rota_group *g, struct child *c, intptr_t *result) {
    cr_expect_eq(rota_spawn(NULL, run_child, c, &(rota_spawn_options){ .group = g, .result = result }), 0);
}

Task_test(group, end_waits_for_all) {
    rota_group g;
    struct child c[3] = { { 30, 'c', 3, 0 }, { 10, 'a', 1, 0 }, { 20, 'b', 2, 0 } };
    intptr_t v[3] = { 0, 0, 0 };
    int64_t begun = rota_now();
    rota_group_begin(&g, NULL);
    for (int i = 0; i < 3; i++)
        start(&g, &c[i], &v[i]);
    cr_expect_eq(rota_group_end(&g, 55), 55, "the body's value");
    cr_expect_eq(since(begun), 30);
    cr_expect_str_eq(trace, "abc");
    cr_expect(v[0] == 3 && v[1] == 1 && v[2] == 2);
    return 0;
}

Task_test(group, without_children_ends_at_once) { /* B20 */
    rota_group g;
    int64_t begun = rota_now();
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_group_end(&g, 0), 0);
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_group_end(&g, -EIO), -EIO);
    cr_expect_eq(since(begun), 0);
    return 0;
}

Task_test(group, the_first_failure_cancels_the_siblings) { /* B19 */
    rota_group g;
    struct child c[3] = { { ROTA_S, 'a', 1, 0 }, { 10, 'b', -EIO, 0 }, { ROTA_S, 'c', 1, 0 } };
    int64_t begun = rota_now();
    rota_group_begin(&g, NULL);
    for (int i = 0; i < 3; i++)
        start(&g, &c[i], NULL);
    cr_expect_eq(rota_group_end(&g, 0), -EIO);
    cr_expect_eq(since(begun), 10);
    cr_expect(c[0].rc == -ECANCELED && c[2].rc == -ECANCELED);
    return 0;
}

Task_test(group, the_first_failure_in_order_of_completion_counts) {
    rota_group g;
    struct child c[2] = { { 20, 'a', -EIO, 0 }, { 10, 'b', -ENOENT, 0 } };
    rota_group_begin(&g, NULL);
    start(&g, &c[0], NULL);
    start(&g, &c[1], NULL);
    cr_expect_eq(rota_group_end(&g, 0), -ENOENT);
    cr_expect_eq(c[0].rc, -ECANCELED);
    return 0;
}

Task_test(group, a_failed_body_cancels_the_children_and_waits_for_them) { /* B22 */
    rota_group g;
    struct child c = { ROTA_S, 'a', 1, 0 };
    int64_t begun = rota_now();
    rota_group_begin(&g, NULL);
    start(&g, &c, NULL);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_group_end(&g, -ENOENT), -ENOENT);
    cr_expect_eq(c.rc, -ECANCELED);
    cr_expect_str_eq(trace, "a");
    cr_expect_eq(since(begun), 0);
    return 0;
}

static intptr_t clean_up_slowly(void *unused) {
    (void)unused;
    int rc = rota_sleep(ROTA_S);
    rota_scope s;
    rota_shield_begin(&s, ROTA_S);
    cr_expect_eq(rota_scope_end(&s, rota_sleep(50)), 0);
    note('c');
    return rc;
}

Task_test(group, end_waits_for_cleanup) { /* B17, B22 */
    rota_group g;
    int64_t begun = rota_now();
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_spawn(NULL, clean_up_slowly, NULL, &(rota_spawn_options){ .group = &g }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_group_end(&g, -EIO), -EIO);
    cr_expect_str_eq(trace, "c");
    cr_expect_eq(since(begun), 50);
    return 0;
}

static intptr_t group_of_sleepers(void *arg) {
    struct child *c = arg;
    rota_group g;
    rota_group_begin(&g, NULL);
    start(&g, &c[0], NULL);
    start(&g, &c[1], NULL);
    return rota_group_end(&g, 4);
}

Task_test(group, cancelled_from_outside_it_cancels_and_waits) {
    struct child c[2] = { { ROTA_S, 'a', 1, 0 }, { ROTA_S, 'b', 1, 0 } };
    rota_task *t;
    intptr_t v;
    int64_t begun = rota_now();
    cr_expect_eq(rota_spawn(&t, group_of_sleepers, c, NULL), 0);
    cr_expect_eq(rota_sleep(5), 0);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, 4, "the body had its value; its next call would have been refused");
    cr_expect(c[0].rc == -ECANCELED && c[1].rc == -ECANCELED);
    cr_expect_eq(since(begun), 5);
    return 0;
}

static intptr_t fail_then_called_again(void *arg) {
    intptr_t v = group_of_sleepers(arg);
    cr_expect_eq(rota_sleep(1), -ECANCELED, "the cancellation is delivered next");
    return v;
}

Task_test(group, a_childs_failure_outranks_a_cancellation_in_the_same_turn) {
    struct child c[2] = { { 5, 'a', -EIO, 0 }, { ROTA_S, 'b', 1, 0 } };
    for (int order = 0; order < 2; order++) {
        rota_task *t;
        intptr_t v;
        /* Both sleep until the same time: who armed first, acts first. */
        if (order == 0)
            cr_expect_eq(rota_spawn(&t, fail_then_called_again, c, &(rota_spawn_options){ .eager = true }), 0);
        else
            cr_expect_eq(rota_spawn(&t, fail_then_called_again, c, NULL), 0);
        cr_expect_eq(rota_sleep(5), 0);
        cr_expect_eq(rota_cancel(t, "outside"), 0);
        cr_expect_eq(rota_join(t, &v), 0);
        cr_expect_eq(v, -EIO);
    }
    return 0;
}

static intptr_t fail_now(void *unused) {
    (void)unused;
    return -EIO;
}

Task_test(group, ten_thousand_failures_in_one_turn) { /* B21 */
    rota_group g;
    enum { N = 10000 };
    intptr_t *v = calloc(N, sizeof *v);
    size_t n = under_valgrind() ? N / 10 : N, failed = 0;
    rota_group_begin(&g, NULL);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(rota_spawn(NULL, fail_now, NULL, &(rota_spawn_options){ .group = &g, .result = &v[i] }), 0);
    cr_expect_eq(rota_group_end(&g, 0), -EIO);
    for (size_t i = 0; i < n; i++)
        failed += v[i] == -EIO;
    cr_expect_eq(failed, n);
    free(v);
    return 0;
}

/* ---- keep_going ---- */

static intptr_t keep_going_main(void *unused) {
    (void)unused;
    rota_group g;
    struct child c[3] = { { 10, 'a', -EIO, 0 }, { 20, 'b', -ENOENT, 0 }, { 30, 'c', 1, 0 } };
    intptr_t v = 0;
    rota_group_begin(&g, &(rota_group_options){ .keep_going = true });
    start(&g, &c[0], NULL);
    start(&g, &c[1], &v);
    start(&g, &c[2], NULL);
    cr_expect_eq(rota_group_end(&g, 6), 6);
    cr_expect_eq(v, -ENOENT);
    cr_expect_str_eq(trace, "abc");
    cr_expect(c[2].rc == 0);
    return 0;
}

Test(group, keep_going_cancels_nobody_and_reports_failures) {
    cr_expect_eq(run_with(keep_going_main, NULL, NULL, NULL), 0);
    cr_expect_eq(reports.n, 1, "of the one without a .result");
    cr_expect_eq(report_of(ROTA_REPORT_UNAWAITED)->error, -EIO);
}

static intptr_t keep_going_with_handles(void *unused) {
    (void)unused;
    rota_group g;
    rota_task *seen, *unseen;
    rota_group_begin(&g, &(rota_group_options){ .keep_going = true });
    cr_expect_eq(rota_spawn(&seen, return_arg, (void *)-EIO, &(rota_spawn_options){ .group = &g }), 0);
    cr_expect_eq(rota_spawn(&unseen, return_arg, (void *)-ENOENT, &(rota_spawn_options){ .group = &g }), 0);
    cr_expect_eq(rota_await(seen, NULL), -EIO);
    return rota_group_end(&g, 0);
}

Test(group, keep_going_reports_failures_whose_handles_nobody_used) {
    cr_expect_eq(run_with(keep_going_with_handles, NULL, NULL, NULL), 0);
    cr_expect_eq(reports.n, 1);
    cr_expect_eq(report_of(ROTA_REPORT_UNAWAITED)->error, -ENOENT);
}

static rota_group *ending;

static void spawn_into_it(void *ctx, const rota_report *report) {
    collect_report(ctx, report);
    if (reports.n == 1)
        cr_expect_eq(rota_spawn(NULL, return_arg, (void *)-EBUSY, &(rota_spawn_options){ .group = ending }), 0);
}

static intptr_t keep_going_under_a_hook(void *unused) {
    rota_group g;
    rota_task *t[2];
    (void)unused;
    ending = &g;
    rota_group_begin(&g, &(rota_group_options){ .keep_going = true });
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rota_spawn(&t[i], return_arg, (void *)-EIO, &(rota_spawn_options){ .group = &g }), 0);
    return rota_group_end(&g, 0);
}

Test(group, what_a_hook_spawns_into_the_group_that_ends_is_waited_for) {
    rota_loop_options opt = test_options();
    opt.report = spawn_into_it;
    cr_expect_eq(run_with(keep_going_under_a_hook, NULL, NULL, &opt), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_UNAWAITED), 3);
}

Task_test(group, keep_going_does_not_hold_for_the_body) {
    rota_group g;
    struct child c = { ROTA_S, 'a', 1, 0 };
    rota_group_begin(&g, &(rota_group_options){ .keep_going = true });
    start(&g, &c, NULL);
    cr_expect_eq(rota_group_end(&g, -EIO), -EIO);
    cr_expect_eq(c.rc, -ECANCELED);
    return 0;
}

/* ---- it is a scope ---- */

Task_test(group, has_a_limit) {
    rota_group g;
    struct child c = { ROTA_S, 'a', 1, 0 };
    int64_t begun = rota_now();
    rota_group_begin(&g, NULL);
    rota_scope_limit(&g.scope, 10);
    start(&g, &c, NULL);
    intptr_t v = rota_sleep(ROTA_S);
    cr_expect_eq(v, -ECANCELED);
    cr_expect_eq(rota_group_end(&g, v), -ETIMEDOUT);
    cr_expect_eq(c.rc, -ECANCELED);
    cr_expect_eq(since(begun), 10);
    return 0;
}

Task_test(group, whose_limit_ended_only_children_keeps_the_bodys_value) {
    rota_group g;
    struct child c = { ROTA_S, 'a', 1, 0 };
    intptr_t slot = 0;
    int64_t begun = rota_now();
    rota_group_begin(&g, NULL);
    rota_scope_limit(&g.scope, 10);
    start(&g, &c, &slot);
    cr_expect_eq(rota_group_end(&g, 7), 7, "who obeys does not fail");
    cr_expect(rota_scope_expired(&g.scope), "but it can be asked");
    cr_expect_eq(slot, -ECANCELED);
    cr_expect_eq(since(begun), 10);
    return 0;
}

Task_test(group, has_an_enclosing_limit) {
    rota_scope s;
    rota_group g;
    struct child c = { ROTA_S, 'a', 1, 0 };
    int64_t begun = rota_now();
    rota_timeout_begin(&s, 10);
    rota_group_begin(&g, NULL);
    start(&g, &c, NULL);
    intptr_t v = rota_group_end(&g, rota_sleep(ROTA_S));
    cr_expect_eq(v, -ECANCELED);
    cr_expect_eq(rota_scope_end(&s, v), -ETIMEDOUT);
    cr_expect_eq(c.rc, -ECANCELED);
    cr_expect_eq(since(begun), 10);
    return 0;
}

static intptr_t obey_late(void *unused) {
    int rc = rota_sleep(ROTA_S);
    (void)unused;
    return rc;
}

Task_test(group, can_be_cancelled) {
    rota_group g;
    intptr_t v[2] = { 0, 0 };
    rota_group_begin(&g, NULL);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rota_spawn(NULL, obey_late, NULL, &(rota_spawn_options){ .group = &g, .result = &v[i] }), 0);
    cr_expect_eq(rota_sleep(1), 0);
    rota_scope_cancel(&g.scope, "enough");
    cr_expect_eq(rota_sleep(1), -ECANCELED, "the body is inside too");
    cr_expect_eq(rota_group_end(&g, 0), 0);
    cr_expect(v[0] == -ECANCELED && v[1] == -ECANCELED);
    return 0;
}

Task_test(group, a_child_of_a_cancelled_group_starts_cancelled) {
    rota_group g;
    struct child c = { 5, 'a', 1, 0 };
    rota_group_begin(&g, NULL);
    rota_scope_cancel(&g.scope, NULL);
    start(&g, &c, NULL);
    cr_expect_eq(rota_group_end(&g, 0), 0);
    cr_expect_eq(c.rc, -ECANCELED);
    cr_expect_str_eq(trace, "a");
    return 0;
}

static intptr_t give_up(void *unused) {
    (void)unused;
    return -ECANCELED;
}

Task_test(group, a_child_that_says_cancelled_unasked_has_failed) {
    rota_group g;
    struct child c = { ROTA_S, 'a', 1, 0 };
    rota_group_begin(&g, NULL);
    start(&g, &c, NULL);
    cr_expect_eq(rota_spawn(NULL, give_up, NULL, &(rota_spawn_options){ .group = &g }), 0);
    cr_expect_eq(rota_group_end(&g, 0), -ECANCELED);
    cr_expect_eq(c.rc, -ECANCELED);
    return 0;
}

Task_test(group, a_child_cancelled_alone_is_no_failure) {
    rota_group g;
    rota_task *t;
    struct child c[2] = { { ROTA_S, 'a', 1, 0 }, { 10, 'b', 1, 0 } };
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_spawn(&t, run_child, &c[0], &(rota_spawn_options){ .group = &g }), 0);
    start(&g, &c[1], NULL);
    cr_expect_eq(rota_sleep(1), 0);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_group_end(&g, 2), 2);
    cr_expect(c[0].rc == -ECANCELED && c[1].rc == 0);
    return 0;
}

Task_test(group, a_childs_own_timeout_is_a_failure) {
    rota_group g;
    struct child c = { ROTA_S, 'a', 1, 0 };
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_spawn(NULL, run_child, &c, &(rota_spawn_options){ .group = &g, .timeout = 5 }), 0);
    cr_expect_eq(rota_group_end(&g, 0), -ETIMEDOUT);
    return 0;
}

Task_test(group, uncancel_does_not_reach_a_groups_children) {
    rota_group g;
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_cancel(rota_self(), NULL), 0);
    struct child c = { 5, 'a', 1, 0 };
    start(&g, &c, NULL);
    cr_expect(rota_uncancel());
    cr_expect_eq(rota_group_end(&g, 1), 1);
    cr_expect_eq(c.rc, -ECANCELED, "what was handed down stays");
    rota_group_begin(&g, NULL);
    start(&g, &c, NULL);
    cr_expect_eq(rota_cancel(rota_self(), NULL), 0);
    cr_expect(rota_uncancel(), "before the child has run at all");
    cr_expect_eq(rota_group_end(&g, 1), 1);
    cr_expect_eq(c.rc, -ECANCELED);
    return 0;
}

/* ---- who may spawn into it ---- */

static intptr_t spawn_sibling(void *group) {
    static struct child c = { 10, 's', 1, 0 };
    start(group, &c, NULL);
    note('p');
    return 0;
}

Task_test(group, a_child_may_spawn_into_it_while_the_owner_leaves) { /* B20 */
    rota_group g;
    int64_t begun = rota_now();
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_spawn(NULL, spawn_sibling, &g, &(rota_spawn_options){ .group = &g }), 0);
    cr_expect_eq(rota_group_end(&g, 0), 0);
    cr_expect_str_eq(trace, "ps");
    cr_expect_eq(since(begun), 10);
    return 0;
}

Task_test(group, spawning_into_one_that_was_left_is_refused) { /* B20 */
    rota_group g;
    rota_task *t = (rota_task *)1;
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_group_end(&g, 0), 0);
    cr_expect_eq(rota_spawn(&t, fail_now, NULL, &(rota_spawn_options){ .group = &g }), -EINVAL);
    cr_expect_null(t);
    return 0;
}

Test(group, outside_of_a_task_it_takes_nobody) {
    rota_loop *loop = open_loop();
    rota_group g;
    rota_task *t;
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_spawn(&t, fail_now, NULL, &(rota_spawn_options){ .group = &g }), -EINVAL);
    cr_expect_eq(rota_group_end(&g, 5), 5);
    rota_group_begin(NULL, NULL);
    cr_expect_eq(rota_group_end(NULL, 5), 5);
    close_loop(loop);
}

/* ---- handles of children ---- */

Task_test(group, handles_are_valid_until_it_is_left) {
    rota_group g;
    rota_task *t[3];
    struct child c[3] = { { 1, 'a', 1, 0 }, { 2, 'b', 2, 0 }, { 3, 'c', 3, 0 } };
    intptr_t v;
    rota_group_begin(&g, NULL);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(&t[i], run_child, &c[i], &(rota_spawn_options){ .group = &g }), 0);
    cr_expect_eq(rota_sleep(10), 0);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(rota_await(t[i], &v), 0);
        cr_expect_eq(v, i + 1);
    }
    rota_task_release(t[0]); /* may be, need not be */
    cr_expect_eq(rota_join(t[1], &v), 0);
    cr_expect_eq(rota_group_end(&g, 0), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_await(t[i], &v), -ESRCH);
    return 0;
}

Task_test(group, a_handle_may_be_released_while_the_child_runs) {
    rota_group g;
    rota_task *t;
    struct child c = { 5, 'a', 1, 0 };
    int64_t begun = rota_now();
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_spawn(&t, run_child, &c, &(rota_spawn_options){ .group = &g }), 0);
    rota_task_release(t);
    cr_expect_eq(rota_group_end(&g, 0), 0);
    cr_expect_eq(since(begun), 5, "it is waited for all the same");
    return 0;
}

Task_test(group, a_childs_failure_is_the_groups_and_not_reported) {
    rota_group g;
    rota_task *t;
    rota_group_begin(&g, NULL);
    cr_expect_eq(rota_spawn(&t, fail_now, NULL, &(rota_spawn_options){ .group = &g }), 0);
    cr_expect_eq(rota_group_end(&g, 0), -EIO);
    return 0;
}

Task_test(group, eager_children) {
    rota_group g;
    struct child c = { 5, 'a', 1, 0 };
    rota_group_begin(&g, NULL);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(rota_spawn(NULL, fail_now, NULL, &(rota_spawn_options){ .group = &g, .eager = true }), 0);
    cr_expect_eq(rota_yield(), -ECANCELED, "the group has failed already");
    start(&g, &c, NULL);
    cr_expect_eq(rota_group_end(&g, 0), -EIO);
    return 0;
}

/* ---- left without its end ---- */

static __attribute__((noinline)) void leave_group(void) {
    rota_group g;
    rota_group_begin(&g, NULL);
    static struct child c = { ROTA_S, 'a', 1, 0 };
    start(&g, &c, NULL);
}

static void print_report(void *ctx, const rota_report *report) {
    (void)ctx;
    if (report->kind != ROTA_REPORT_FATAL || !strstr(report->text, "test_group.c:"))
        _Exit(3); /* not what was expected: a wrong end */
}

static intptr_t leave_group_main(void *unused) {
    (void)unused;
    leave_group();
    return rota_sleep(1);
}

#if defined(__x86_64__) || defined(__i386__)
enum { TRAP = SIGILL };   /* ud2 */
#else
enum { TRAP = SIGTRAP };  /* brk */
#endif

Test(group, left_by_early_return_is_fatal, .signal = TRAP) { /* B29 */
    rota_loop_options opt = test_options();
    opt.report = print_report;
    (void)!rota_run(leave_group_main, NULL, NULL, &opt);
}

static intptr_t leave_group_at_the_end(void *unused) {
    (void)unused;
    rota_group g;
    rota_group_begin(&g, NULL);
    static struct child c = { ROTA_S, 'a', 1, 0 };
    start(&g, &c, NULL);
    return 0;
}

Test(group, left_at_the_end_of_the_task_is_fatal, .signal = TRAP) { /* B29 */
    rota_loop_options opt = test_options();
    opt.report = print_report;
    (void)!rota_run(leave_group_at_the_end, NULL, NULL, &opt);
}

/* Groups that nobody points to any more: never used; used by tasks that have ended; one of those has a handle. */
enum { EMPTY, USED, HANDLED };

static rota_task *stale;

static __attribute__((noinline)) void leave_without_children(int how) {
    rota_group g;
    rota_group_begin(&g, NULL);
    static struct child c = { 1, 'a', 1, 0 };
    if (how == EMPTY)
        return;
    start(&g, &c, NULL);
    if (how == HANDLED) {
        start(&g, &c, NULL);
        cr_expect_eq(rota_spawn(&stale, run_child, &c, &(rota_spawn_options){ .group = &g }), 0);
        start(&g, &c, NULL);
    }
    cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
}

static __attribute__((noinline)) void other_frame(void) {
    volatile char frame[512];
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (char)0xa5;
}

static int report_line, group_reports;

static void keep_report(void *ctx, const rota_report *report) {
    (void)ctx;
    cr_expect_eq(report->kind, ROTA_REPORT_SCOPE);
    cr_expect_null(strstr(report->text, "fatal"));
    cr_expect_not_null(strstr(report->text, "a group begun at "));
    cr_expect_not_null(report->at.file);
    report_line = report->at.line;
    group_reports++;
}

static intptr_t leave_empty_groups(void *unused) {
    (void)unused;
    for (int how = EMPTY; how <= HANDLED; how++) {
        leave_without_children(how);
        other_frame();
        cr_expect_eq(group_reports, how);
        cr_expect_eq(rota_yield(), 0);
        cr_expect_eq(group_reports, how + 1);
        cr_expect_neq(report_line, 0);
    }
    cr_expect_eq(rota_await(stale, NULL), -ESRCH, "it went with its group");
    return 7;
}

static void expect_repairs(rota_fn *fn, int n) {
    rota_loop_options opt = test_options();
    intptr_t result = 0;
    opt.report = keep_report;
    test_begin();
    cr_expect_eq(rota_run(fn, NULL, &result, &opt), 0);
    cr_expect_eq(result, 7);
    cr_expect_eq(group_reports, n);
    test_end();
}

Test(group, left_empty_is_repaired) { expect_repairs(leave_empty_groups, 3); } /* B29 */

static intptr_t leave_empty_at_the_end(void *unused) {
    (void)unused;
    leave_without_children(EMPTY);
    return 7;
}

/* B29 */
Test(group, left_empty_at_the_end_of_the_task_is_repaired) { expect_repairs(leave_empty_at_the_end, 1); }

/* ---- gather ---- */

Task_test(gather, results_are_in_place_whatever_the_order_of_completion) { /* G1 */
    struct child c[5] = { { 50, 'e', 0, 0 }, { 10, 'a', 1, 0 }, { 40, 'd', 2, 0 }, { 20, 'b', 3, 0 },
                          { 30, 'c', 4, 0 } };
    rota_call calls[5];
    int64_t begun = rota_now();
    for (int i = 0; i < 5; i++)
        calls[i] = (rota_call){ run_child, &c[i], -1 };
    cr_expect_eq(rota_gather(calls, 5, NULL), 0);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(calls[i].result, i);
    cr_expect_str_eq(trace, "abcde");
    cr_expect_eq(since(begun), 50);
    return 0;
}

Task_test(gather, the_first_failure_cancels_the_rest) { /* B23 */
    struct child c[3] = { { 50, 'a', 1, 0 }, { 10, 'b', -EIO, 0 }, { 5, 'c', 3, 0 } };
    rota_call calls[3];
    int64_t begun = rota_now();
    for (int i = 0; i < 3; i++)
        calls[i] = (rota_call){ run_child, &c[i], -1 };
    cr_expect_eq(rota_gather(calls, 3, NULL), -EIO);
    cr_expect(calls[0].result == -ECANCELED && calls[1].result == -EIO && calls[2].result == 3);
    cr_expect_eq(since(begun), 10);
    return 0;
}

Task_test(gather, keeps_going_when_asked) { /* B23 */
    struct child c[3] = { { 50, 'a', 1, 0 }, { 10, 'b', -EIO, 0 }, { 5, 'c', 3, 0 } };
    rota_call calls[4];
    int64_t begun = rota_now();
    for (int i = 0; i < 3; i++)
        calls[i] = (rota_call){ run_child, &c[i], -1 };
    calls[3] = (rota_call){ NULL, NULL, 9 };
    cr_expect_eq(rota_gather(calls, 4, &(rota_gather_options){ .keep_going = true }), 0);
    cr_expect(calls[0].result == 1 && calls[1].result == -EIO && calls[2].result == 3);
    cr_expect_eq(calls[3].result, -EINVAL, "never started");
    cr_expect_eq(since(begun), 50);
    return 0;
}

static intptr_t gather_two(void *arg) {
    rota_call *calls = arg;
    return rota_gather(calls, 2, NULL);
}

Task_test(gather, cancelled_it_cancels_and_waits_for_all) { /* B23 */
    struct child c = { ROTA_S, 'a', 1, 0 };
    rota_call calls[2] = { { clean_up_slowly, NULL, -1 }, { run_child, &c, -1 } };
    rota_task *t;
    intptr_t v;
    int64_t begun = rota_now();
    cr_expect_eq(rota_spawn(&t, gather_two, calls, NULL), 0);
    cr_expect_eq(rota_sleep(5), 0);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, -ECANCELED);
    cr_expect(calls[0].result == -ECANCELED && calls[1].result == -ECANCELED);
    cr_expect_eq(since(begun), 55);
    return 0;
}

Task_test(gather, of_nothing_is_0) {
    cr_expect_eq(rota_gather(NULL, 0, NULL), 0);
    cr_expect_eq(rota_gather(NULL, 1, NULL), -EINVAL);
    return 0;
}

Task_test(gather, inside_a_cancelled_scope_starts_nothing) {
    struct child c = { 1, 'a', 1, 0 };
    rota_call call = { run_child, &c, -1 };
    cr_expect_eq(rota_cancel(rota_self(), NULL), 0);
    cr_expect_eq(rota_gather(&call, 1, NULL), -ECANCELED);
    cr_expect_str_eq(trace, "");
    cr_expect(rota_uncancel());
    return 0;
}

Task_test(gather, a_call_that_cannot_start_fails_it) {
    struct child c = { 50, 'a', 1, 0 };
    rota_call calls[3] = { { run_child, &c, -1 }, { NULL, NULL, -1 }, { run_child, &c, -1 } };
    cr_expect_eq(rota_gather(calls, 3, NULL), -EINVAL);
    cr_expect_eq(calls[0].result, -ECANCELED);
    cr_expect_eq(calls[1].result, -EINVAL);
    cr_expect_eq(calls[2].result, -EINVAL, "never started either");
    return 0;
}

static intptr_t gathered_twice(void *arg) {
    struct child *c = arg;
    rota_call calls[2] = { { run_child, &c[0], 0 }, { run_child, &c[1], 0 } };
    int rc = rota_gather(calls, 2, NULL);
    return rc < 0 ? rc : calls[0].result + calls[1].result;
}

Task_test(gather, nests) {
    struct child c[4] = { { 1, 'a', 1, 0 }, { 2, 'b', 2, 0 }, { 3, 'c', 3, 0 }, { 4, 'd', 4, 0 } };
    rota_call calls[2] = { { gathered_twice, &c[0], 0 }, { gathered_twice, &c[2], 0 } };
    cr_expect_eq(rota_gather(calls, 2, NULL), 0);
    cr_expect(calls[0].result == 3 && calls[1].result == 7);
    return 0;
}
