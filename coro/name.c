/* Words about a task, for people: its name, and where it was spawned. Also called in a signal handler (overflow.c). */
#include "coro/task.h"
#include "reactor/text.h"

void rota__task_name_text(struct rota__text *t, const rota_task *task) {
    if (task->name) {
        rota__text_add(t, "'");
        rota__text_add(t, task->name);
        rota__text_add(t, "'");
    } else {
        rota__text_add(t, "#"); /* as in a dump, a trace and gdb */
        rota__text_number(t, (int64_t)task->number);
    }
}

void rota__place_text(struct rota__text *t, const rota_at *at) {
    if (!at->file)
        return;
    rota__text_add(t, at->line ? ", spawned at " : ", spawned by ");
    rota__text_add(t, at->file);
    if (at->line) {
        rota__text_add(t, ":");
        rota__text_number(t, at->line);
    }
}
