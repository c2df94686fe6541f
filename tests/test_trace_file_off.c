/* A build without files of traces (-Dtrace_file=false). */
#include <stdlib.h>

#include "rota/trace.h"
#include "tests/reactor_kit.h"

static int told, reported_error;

static void note_trace(void *unused, const rota_report *report) {
    (void)unused;
    told += report->kind == ROTA_REPORT_TRACE;
    reported_error = report->error;
}

Test(trace_file_off, who_asks_for_a_file_is_told) {
    rota_loop *l;
    cr_assert_eq(rota_loop_new(&l, NULL), 0);
    cr_expect_eq(rota_trace_to_file(l, "/dev/null"), -ENOTSUP);
    cr_expect_eq(rota_trace_to_file(l, NULL), 0);
    cr_expect_eq(rota_trace_to_file(NULL, "/dev/null"), -EINVAL);
    cr_expect_eq(rota_loop_free(l), 0);
}

Test(trace_file_off, the_environment_is_told_too) {
    rota_loop *l;
    cr_assert_eq(setenv("ROTA_TRACE", "/nowhere", 1), 0);
    cr_assert_eq(rota_loop_new(&l, &(rota_loop_options){ .report = note_trace }), 0);
    cr_expect_eq(unsetenv("ROTA_TRACE"), 0);
    cr_expect_eq(told, 1);
    cr_expect_eq(reported_error, -ENOTSUP);
    cr_expect_eq(rota_loop_free(l), 0);
}
