/* Words about a task, for people: its name, what it does, what it waits for, where it was spawned. */
#include "coro/task.h"
#include "reactor/text.h"

void rota__task_name_text(struct rota__text *t, const rota_task *task) {
    if (task->name) {
        rota__text_add(t, "'");
        rota__text_add(t, task->name);
        rota__text_add(t, "'");
    } else {
        rota__text_hex(t, (uintptr_t)task);
    }
}

static void add_place(struct rota__text *t, const rota_at *at) {
    if (!at->file)
        return;
    rota__text_add(t, at->line ? ", spawned at " : ", spawned by ");
    rota__text_add(t, at->file);
    if (at->line) {
        rota__text_add(t, ":");
        rota__text_number(t, at->line);
    }
}

static void add_wait(struct rota__text *t, const rota_task *task) {
    const rota_task *other = rota__waits_on(task);
    rota__text_add(t, " waits for ");
    rota__text_add(t, task->wait->what);
    if (other && task->wait->what == rota__waits_for_task) {
        rota__text_add(t, " ");
        rota__task_name_text(t, other);
    } else if (task->wait->on) {
        rota__text_add(t, " ");
        rota__text_hex(t, (uintptr_t)task->wait->on);
    }
    if (other && task->wait->what != rota__waits_for_task) {
        rota__text_add(t, ", held by task ");
        rota__task_name_text(t, other);
    }
}

static void add_state(struct rota__text *t, const rota_task *task) {
    if (task->state == ROTA__TASK_DONE) {
        rota__text_add(t, rota_failed(task->future.value_) ? " failed: " : " has ended");
        if (rota_failed(task->future.value_))
            rota__text_add(t, rota_strerror(task->future.value_));
    } else if (task->loop->running == task) {
        rota__text_add(t, " runs");
    } else if (!task->wait) {
        rota__text_add(t, " is ready");
    } else {
        add_wait(t, task);
    }
    if (task->state == ROTA__TASK_LIVE && task->due == INT64_MIN)
        rota__text_add(t, " (cancelled)");
}

void rota__task_text(struct rota__text *t, const rota_task *task) {
    rota__text_add(t, "task ");
    rota__task_name_text(t, task);
    add_state(t, task);
    add_place(t, &task->at);
}

size_t rota_task_describe(const rota_task *task, char *buf, size_t n) {
    struct rota__text t;
    rota__text_init(&t, buf, n);
    if (rota__task_check(task) < 0)
        rota__text_add(&t, task ? "no such task any more" : "no task");
    else
        rota__task_text(&t, task);
    return t.length;
}

void rota__report_task(const rota_task *task, int kind, int error, const char *before, const char *after) {
    char line[512];
    struct rota__text t;
    rota__text_init(&t, line, sizeof line);
    rota__text_add(&t, before);
    rota__text_add(&t, "task ");
    rota__task_name_text(&t, task);
    rota__text_add(&t, after);
    if (rota_failed(error)) {
        rota__text_add(&t, ": ");
        rota__text_add(&t, rota_strerror(error));
    }
    add_place(&t, &task->at);
    rota__report(task->loop, kind, error, task->name, &task->at, line);
}
