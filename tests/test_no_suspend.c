/* ROTA_NO_SUSPEND: nothing suspends in it, and whoever tries is told where it began. */
#include <string.h>

#include "rota.h"
#include "tests/harness.h"

static int reports, line;

static void collect(void *ctx, const rota_report *report) {
    (void)ctx;
    reports += report->kind == ROTA_REPORT_NO_SUSPEND;
    line = report->at.line;
}

static void run(rota_fn *fn) {
    reports = 0;
    cr_assert_eq(rota_run(fn, NULL, NULL, &(rota_loop_options){ .report = collect, .virtual_clock = true }), 0);
}

static intptr_t suspends(void *arg) {
    int place = __LINE__ + 2, rc = 0;
    (void)arg;
    ROTA_NO_SUSPEND {
        rc = rota_sleep(1);
    }
    cr_expect_eq(rc, -EPERM);
    cr_expect_eq(reports, 1);
    cr_expect_eq(line, place);
    return rota_sleep(1); /* outside it works again */
}

Test(no_suspend, a_call_that_may_suspend_is_refused_and_reported) { run(suspends); }

static int left_by_return(void) {
    ROTA_NO_SUSPEND { return 7; }
    return 0;
}

static intptr_t leaves(void *arg) {
    (void)arg;
    cr_expect_eq(left_by_return(), 7);
    for (int i = 0; i < 3; i++)
        ROTA_NO_SUSPEND { break; }
    cr_expect_eq(reports, 0);
    return rota_yield();
}

Test(no_suspend, it_ends_however_it_is_left) { run(leaves); }

static intptr_t inside_a_scope(void *arg) {
    rota_scope s;
    int rc = 0;
    (void)arg;
    ROTA_NO_SUSPEND {
        rota_timeout_begin(&s, ROTA_S);
        rc = rota_yield();
        rc = (int)rota_scope_end(&s, rc);
        cr_expect(!rota_cancelled(NULL, NULL));
    }
    cr_expect_eq(rc, -EPERM);
    cr_expect_eq(reports, 1);
    return rota_yield();
}

Test(no_suspend, scopes_inside_it_do_not_lift_it) { run(inside_a_scope); }

/* Compiled with -Wshadow. */
static intptr_t in_one_another(void *arg) {
    (void)arg;
    ROTA_NO_SUSPEND {
        ROTA_NO_SUSPEND { cr_expect_eq(reports, 0); }
        cr_expect_eq(rota_sleep(1), -EPERM, "the outer one holds on");
    }
    cr_expect_eq(reports, 1);
    return rota_sleep(1);
}

Test(no_suspend, one_in_another_ends_for_itself) { run(in_one_another); }

static intptr_t does_not_suspend(void *arg) {
    rota_mutex m = { 0 };
    (void)arg;
    ROTA_NO_SUSPEND {
        cr_expect_eq(rota_mutex_try_lock(&m), 0);
        cr_expect_eq(rota_mutex_unlock(&m), 0);
    }
    cr_expect_eq(reports, 0);
    return 0;
}

Test(no_suspend, calls_that_never_suspend_work_in_it) { run(does_not_suspend); }

Test(no_suspend, outside_of_tasks_it_is_a_block) {
    int ran = 0;
    ROTA_NO_SUSPEND { ran++; }
    cr_assert_eq(ran, 1);
}
