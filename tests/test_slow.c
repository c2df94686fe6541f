/* What holds the loop up is named in debug mode: by a clock of the test's own, that the culprit moves on. */
#include <string.h>

#include "tests/sys_table.h"
#include "rota.h"
#include "tests/harness.h"

static int64_t fake_now;
static struct rota__sys table;
static int slow_reports;
static rota_report last;
static char last_text[256];

static int64_t now(void) { return fake_now; }

static void set_up(void) {
    table = rota__sys_real;
    table.now = now;
    fake_now = ROTA_S;
    rota__sys = &table;
    slow_reports = 0;
}

static void tear_down(void) { rota__sys = &rota__sys_real; }

static void collect(void *ctx, const rota_report *report) {
    (void)ctx;
    if (report->kind != ROTA_REPORT_SLOW)
        return;
    slow_reports++;
    last = *report;
    strncpy(last_text, report->text, sizeof last_text - 1);
}

static rota_loop_options options(bool debug, int64_t limit) {
    return (rota_loop_options){ .report = collect, .debug = debug, .slow_step = limit, .virtual_clock = true };
}

static intptr_t blocks(void *arg) {
    fake_now += *(int64_t *)arg;
    int rc = rota_yield();
    return rc;
}

static intptr_t runs_it(void *arg) {
    return rota_spawn(NULL, blocks, arg, &(rota_spawn_options){ .name = "culprit" }) < 0 ? -1 : rota_sleep(ROTA_MS);
}

static void run(int64_t ns, bool debug, int64_t limit) {
    rota_loop_options opt = options(debug, limit);
    cr_assert_eq(rota_run(runs_it, &ns, NULL, &opt), 0);
}

Test(slow, a_task_that_blocks_the_loop_is_named, .init = set_up, .fini = tear_down) {
    run(150 * ROTA_MS, true, 0);
    cr_expect_eq(slow_reports, 1);
    cr_expect_str_eq(last.task, "culprit");
    cr_expect(strstr(last_text, "blocked the loop for 150 ms") != NULL, "%s", last_text);
    cr_expect(strstr(last.at.file, "test_slow.c") != NULL);
}

Test(slow, a_hundred_ms_are_not_too_long, .init = set_up, .fini = tear_down) {
    run(100 * ROTA_MS, true, 0);
    cr_expect_eq(slow_reports, 0);
}

Test(slow, the_limit_can_be_set, .init = set_up, .fini = tear_down) {
    run(6 * ROTA_MS, true, 5 * ROTA_MS);
    cr_expect_eq(slow_reports, 1);
}

Test(slow, nothing_is_measured_without_debug_mode, .init = set_up, .fini = tear_down) {
    run(150 * ROTA_MS, false, 0);
    cr_expect_eq(slow_reports, 0);
}

static intptr_t ends_at_once(void *arg) { return (intptr_t)arg; }

static void spawn_when_told(void *ctx, const rota_report *report) {
    static intptr_t result;
    collect(ctx, report);
    cr_expect_eq(rota_spawn(NULL, ends_at_once, NULL, &(rota_spawn_options){ .result = &result }), 0);
}

static intptr_t blocks_and_ends(void *arg) {
    fake_now += *(int64_t *)arg;
    return 3;
}

static intptr_t joins_the_culprit(void *arg) {
    rota_task *task;
    intptr_t value = 0;
    cr_expect_eq(rota_spawn(&task, blocks_and_ends, arg, &(rota_spawn_options){ .name = "culprit" }), 0);
    int rc = rota_join(task, &value);
    cr_expect_eq(value, 3);
    return rc;
}

/* The hook was called when the stack that it ran on was an idle one already, and the spawn took it. */
Test(slow, a_hook_may_spawn_when_the_last_step_of_a_task_is_reported, .init = set_up, .fini = tear_down) {
    int64_t ns = ROTA_S;
    rota_loop_options opt = options(true, 0);
    opt.report = spawn_when_told;
    cr_assert_eq(rota_run(joins_the_culprit, &ns, NULL, &opt), 0);
    cr_expect_eq(slow_reports, 1);
    cr_expect_str_eq(last.task, "culprit");
}

static intptr_t turns_debug_on(void *arg) {
    fake_now += 500 * ROTA_MS; /* before: not measured */
    cr_expect_eq(rota_loop_set_debug(rota_loop_current(), true), 0);
    int rc = rota_yield();
    cr_expect_eq(slow_reports, 0);
    fake_now += *(int64_t *)arg;
    if (rc == 0)
        rc = rota_yield();
    cr_expect_eq(slow_reports, 1);
    cr_expect_eq(rota_loop_set_debug(rota_loop_current(), false), 0);
    fake_now += *(int64_t *)arg;
    return rc < 0 ? rc : rota_yield();
}

Test(slow, debug_mode_can_be_turned_on_and_off, .init = set_up, .fini = tear_down) {
    int64_t ns = ROTA_S;
    rota_loop_options opt = options(false, 0);
    cr_assert_eq(rota_run(turns_debug_on, &ns, NULL, &opt), 0);
    cr_expect_eq(slow_reports, 1);
    cr_expect_eq(rota_loop_set_debug(NULL, true), -EINVAL);
}

/* ---- callbacks ---- */

static void timer_blocks(rota_timer *timer, void *arg) {
    (void)timer, (void)arg;
    fake_now += 200 * ROTA_MS;
}

static void soon_blocks(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    fake_now += 300 * ROTA_MS;
}

Test(slow, a_timer_callback_is_named_by_its_address, .init = set_up, .fini = tear_down) {
    rota_loop_options opt = options(true, 0);
    rota_loop *loop;
    rota_timer timer;
    cr_assert_eq(rota_loop_new(&loop, &opt), 0);
    rota_timer_init(&timer, timer_blocks, NULL);
    cr_assert_eq(rota_timer_start(loop, &timer, 1), 0);
    cr_assert_eq(rota_loop_run(loop), 0);
    cr_expect_eq(slow_reports, 1);
    cr_expect(strstr(last_text, "the callback at 0x") != NULL, "%s", last_text);
    cr_expect(last.task == NULL);
    cr_assert_eq(rota_loop_free(loop), 0);
}

Test(slow, each_of_two_soon_callbacks_is_named, .init = set_up, .fini = tear_down) {
    rota_loop_options opt = options(true, 0);
    rota_loop *loop;
    rota_soon a, b;
    cr_assert_eq(rota_loop_new(&loop, &opt), 0);
    rota_soon_init(&a, soon_blocks, NULL);
    rota_soon_init(&b, soon_blocks, NULL);
    cr_assert_eq(rota_soon_start(loop, &a), 0);
    cr_assert_eq(rota_soon_start(loop, &b), 0);
    cr_assert_eq(rota_loop_run(loop), 0);
    cr_expect_eq(slow_reports, 2);
    cr_expect(strstr(last_text, "300 ms") != NULL, "%s", last_text);
    cr_assert_eq(rota_loop_free(loop), 0);
}

/* ---- never started ---- */

static int unstarted;

static void count_unstarted(void *ctx, const rota_report *report) {
    unstarted += report->kind == ROTA_REPORT_UNSTARTED && report->at.line == *(int *)ctx;
}

static intptr_t nothing(rota_co *self, void *arg) {
    (void)self, (void)arg;
    return 0;
}

Test(slow, a_coroutine_that_never_started_is_reported_with_its_place) {
    rota_co *co;
    int line = __LINE__ + 1;
    cr_assert_eq(rota_co_new(&co, nothing, NULL, &(rota_co_options){ .report = count_unstarted, .report_ctx = &line }), 0);
    cr_assert_eq(rota_co_free(co), 0);
    cr_expect_eq(unstarted, 1);
}

Test(slow, a_coroutine_that_ran_is_not_reported) {
    rota_co *co;
    int line = __LINE__ + 1;
    cr_assert_eq(rota_co_new(&co, nothing, NULL, &(rota_co_options){ .report = count_unstarted, .report_ctx = &line }), 0);
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_DONE);
    cr_assert_eq(rota_co_free(co), 0);
    cr_expect_eq(unstarted, 0);
}
