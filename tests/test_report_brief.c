/* Reports of a build without their details (-Dreport_details=false). */
#include "tests/support.h"

static intptr_t fail(void *unused) {
    (void)unused;
    return -EIO;
}

static intptr_t leave_a_failure(void *unused) {
    (void)unused;
    return rota_spawn(NULL, fail, NULL, &(rota_spawn_options){ .name = "loser" });
}

Test(report_brief, an_error_is_a_number_and_the_place_is_there) {
    char expected[32];
    cr_expect_eq(run_with(leave_a_failure, NULL, NULL, NULL), 0);
    const struct kept_report *r = report_of(ROTA_REPORT_UNAWAITED);
    snprintf(expected, sizeof expected, ": error %d, spawned at ", EIO);
    cr_expect_not_null(strstr(r->text, "task 'loser' failed and nobody looked at its error"), "%s", r->text);
    cr_expect_not_null(strstr(r->text, expected), "%s", r->text);
}

static intptr_t wait_for_nothing(void *unused) {
    rota_future future;
    (void)unused;
    rota_future_init(&future);
    return rota_future_await(&future, NULL);
}

Test(report_brief, a_deadlock_says_how_many_tasks_it_has) {
    cr_expect_eq(run_with(wait_for_nothing, NULL, NULL, NULL), -EDEADLK);
    cr_expect_str_eq(report_of(ROTA_REPORT_DEADLOCK)->text, "deadlock, of tasks: 1");
}
