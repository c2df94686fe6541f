/* What is said about tasks. */
#include "tests/support.h"

#include "coro/task.h"

static char line[512];

static const char *described(const rota_task *task) {
    size_t n = rota_task_describe(task, line, sizeof line);
    cr_expect_eq(n, strlen(line));
    return line;
}

static bool says(const rota_task *task, const char *words) { return strstr(described(task), words) != NULL; }

static intptr_t await_it(void *task) { return rota_await(task, NULL); }

static intptr_t describe_self(void *unused) {
    (void)unused;
    cr_expect(says(rota_self(), "task 'me' runs"), "%s", line);
    return 0;
}

Task_test(describe, each_state) { /* T6 */
    rota_task *t;
    int64_t ns = 5;
    cr_expect_eq(rota_spawn(&t, sleep_for, &ns, &(rota_spawn_options){ .name = "sleeper" }), 0);
    cr_expect(says(t, "task 'sleeper' is ready"), "%s", line);
    cr_expect(says(t, "spawned at ") && says(t, "test_describe.c:"), "%s", line);
    cr_expect_eq(rota_yield(), 0);
    cr_expect(says(t, "waits for a time"), "%s", line);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect(says(t, "(cancelled)"), "%s", line);
    cr_expect_eq(rota_await(t, &(intptr_t){ 0 }), 0);
    cr_expect(says(t, "failed: "), "%s", line);
    rota_task_release(t);
    cr_expect(says(t, "no such task"), "%s", line);
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect(says(t, "has ended"), "%s", line);
    rota_task_release(t);
    cr_expect_eq(rota_spawn(&t, describe_self, NULL, &(rota_spawn_options){ .name = "me" }), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect(says(NULL, "no task"), "%s", line);
    return 0;
}

Task_test(describe, one_that_awaits_a_task_names_it) {
    rota_task *t;
    cr_expect_eq(rota_spawn(&t, await_it, rota_self(), &(rota_spawn_options){ .name = "child" }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect(says(t, "task 'child' waits for task 'main'"), "%s", line);
    cr_expect(!says(t, "cycle"), "%s", line);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_join(t, NULL), -ECANCELED);
    return 0;
}

Task_test(describe, cuts_what_does_not_fit) {
    char all[256], part[256];
    size_t n = rota_task_describe(rota_self(), all, sizeof all);
    cr_expect_lt(n, sizeof all);
    cr_expect_eq(rota_task_describe(rota_self(), NULL, 0), n);
    for (size_t room = 1; room <= n + 1; room++) {
        memset(part, '#', sizeof part);
        cr_expect_eq(rota_task_describe(rota_self(), part, room), n);
        cr_expect_eq(strlen(part), room - 1);
        cr_expect_eq(strncmp(part, all, room - 1), 0);
        cr_expect_eq(part[room], '#', "nothing beyond");
    }
    return 0;
}

Test(describe, every_report_ends_without_a_newline) {
    rota_loop *loop = open_loop();
    rota__report(loop, ROTA_REPORT_SCOPE, 0, NULL, NULL, "words");
    cr_expect_eq(reports.n, 1);
    cr_expect_str_eq(reports.all[0].text, "words");
    cr_expect_null(reports.all[0].at.file);
    close_loop(loop);
}
