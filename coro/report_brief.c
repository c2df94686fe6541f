/* In the place of report.c and graph.c where the details of reports are left out (-Dreport_details=false): an error is a
 * number, and a deadlock says how many tasks it has, not who waits for whom. */
#include "coro/task.h"
#include "reactor/text.h"

void rota__report_task(const rota_task *task, int kind, int error, const char *before, const char *after) {
    char line[512];
    struct rota__text t;
    rota__text_init(&t, line, sizeof line);
    rota__text_add(&t, before);
    rota__text_add(&t, "task ");
    rota__task_name_text(&t, task);
    rota__text_add(&t, after);
    if (error < 0) {
        rota__text_add(&t, ": error ");
        rota__text_number(&t, -error);
    }
    rota__place_text(&t, &task->at);
    rota__report(task->loop, kind, error, task->name, &task->at, line);
}

void rota__report_deadlock(rota_loop *loop, int kind) {
    char text[64];
    struct rota__text t;
    rota__text_init(&t, text, sizeof text);
    rota__text_add(&t, kind == ROTA_REPORT_DEADLOCK ? "deadlock, of tasks: " : "the loop closes over tasks: ");
    rota__text_number(&t, (int64_t)rota__tasks_of(loop)->live);
    rota__report(loop, kind, kind == ROTA_REPORT_DEADLOCK ? -EDEADLK : 0, NULL, NULL, text);
}
