/* Reports about one task. Those of several are in graph.c, what an error is called in error_text.c; report_brief.c is in the
 * place of both where sentences are left out (-Dreport_details=false). */
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
    if (kind == ROTA_REPORT_UNAWAITED) /* all others say in words what has happened */
        rota__error_text(&t, error);
    rota__place_text(&t, &task->at);
    rota__report(task->loop, kind, error, task->name, &task->at, line);
}
