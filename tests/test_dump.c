/* The tasks of a running loop: each of them once, with what it does; and as text. */
#include "reactor/size.h"
#include "rota/sync.h"
#include "rota/trace.h"
#include "tests/reactor_kit.h"

static char seen[8][64];

static int look(void *n, rota_task *task, const rota_task_info *info) {
    cr_expect_eq(rota_task_number(task), info->number);
    bool begun = info->state != ROTA_TASK_READY || ROTA__FOR_SIZE; /* there it has its stack from the start */
    cr_expect(info->at.line > 0 && (info->stack_used > 0) == begun, "%s", info->name);
    snprintf(seen[info->number], sizeof *seen, "%s %s %s%s%s", info->name ? info->name : "-",
             info->state == ROTA_TASK_RUNS ? "runs" : info->state == ROTA_TASK_WAITS ? "waits" : "ready",
             info->what ? info->what : "", info->until == ROTA_FOREVER ? "" : " until",
             info->cancelled ? " cancelled" : "");
    cr_expect((info->object != NULL) <= (info->what != NULL));
    ++*(int *)n;
    return 0;
}

static int stop_at_once(void *n, rota_task *task, const rota_task_info *info) {
    (void)task, (void)info;
    return ++*(int *)n == 2 ? 7 : 0;
}

static intptr_t sleep_long(void *unused) {
    (void)unused;
    return rota_sleep(ROTA_S);
}

static void spawn_three(rota_task **waits) {
    cr_expect_eq(rota_spawn(NULL, sleep_long, NULL, &(rota_spawn_options){ .name = "sleeper" }), 0);
    cr_expect_eq(rota_spawn(waits, wait_forever, NULL, &(rota_spawn_options){ .name = "waiter" }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_spawn(NULL, return_arg, NULL, NULL), 0);
}

Task_test(dump, each_task_is_met_once) {
    rota_task *waits;
    int n = 0;
    spawn_three(&waits);
    cr_expect_eq(rota_loop_each_task(rota_loop_current(), look, &n), 0);
    cr_expect_eq(n, 4);
    cr_expect_str_eq(seen[1], "main runs ");
    cr_expect_str_eq(seen[2], "sleeper waits a time until");
    cr_expect_eq(strncmp(seen[3], "waiter waits ", 13), 0, "%s", seen[3]);
    cr_expect_str_eq(seen[4], "- ready ");
    n = 0;
    cr_expect_eq(rota_loop_each_task(rota_loop_current(), stop_at_once, &n), 7);
    cr_expect_eq(n, 2);
    cr_expect_eq(rota_loop_each_task(rota_loop_current(), NULL, &n), -EINVAL);
    cr_expect_eq(rota_loop_each_task(NULL, look, &n), -EINVAL);
    cr_expect_eq(rota_cancel(waits, NULL), 0);
    return rota_join(waits, NULL) == -ECANCELED ? 0 : 1;
}

Test(dump, a_loop_without_tasks_has_none, .init = kit_open_virtual, .fini = kit_close) {
    int n = 0;
    cr_expect_eq(rota_loop_each_task(loop, look, &n), 0);
    cr_expect_eq(n, 0);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_loop_each_task(loop, look, &n), -ESHUTDOWN);
    cr_expect_eq(rota_loop_dump(loop, 2), -ESHUTDOWN);
    cr_expect_eq(rota_loop_dump(NULL, 2), -EINVAL);
}

Task_test(dump, a_line_for_each_task) {
    char text[4096] = "";
    int ends[2];
    rota_task *waits;
    spawn_three(&waits);
    if (pipe(ends) < 0)
        return 1;
    cr_expect_eq(rota_loop_dump(rota_loop_current(), ends[1]), 0);
    cr_expect_gt(read(ends[0], text, sizeof text - 1), 0);
    cr_expect_eq(strncmp(text, "4 tasks; 1 ready, 2 timers, ", 28), 0, "%s", text);
    cr_expect_not_null(strstr(text, "\n  #1 task 'main' runs"));
    cr_expect_not_null(strstr(text, "\n  #2 task 'sleeper' waits for a time, spawned at "));
    cr_expect_not_null(strstr(text, "\n  #3 task 'waiter' waits for "));
    cr_expect_eq(text[strlen(text) - 1], '\n');
    close(ends[0]);
    cr_expect_eq(rota_loop_dump(rota_loop_current(), ends[1]), -EPIPE); /* and no SIGPIPE */
    close(ends[1]);
    cr_expect_eq(rota_loop_dump(rota_loop_current(), ends[1]), -EBADF);
    cr_expect_eq(rota_cancel(waits, NULL), 0);
    return rota_join(waits, NULL) == -ECANCELED ? 0 : 1;
}

/* A name longer than a line is cut off, and the line still ends. */
Task_test(dump, a_long_name_is_cut_off) {
    char name[700], text[4096] = "";
    int ends[2];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    if (pipe(ends) < 0)
        return 1;
    cr_expect_eq(rota_spawn(NULL, return_arg, NULL, &(rota_spawn_options){ .name = name }), 0);
    cr_expect_eq(rota_loop_dump(rota_loop_current(), ends[1]), 0);
    cr_expect_gt(read(ends[0], text, sizeof text - 1), 0);
    cr_expect_eq(text[strlen(text) - 1], '\n');
    cr_expect_not_null(strstr(text, "xxx\n"));
    close(ends[0]);
    close(ends[1]);
    return rota_sleep(1);
}
