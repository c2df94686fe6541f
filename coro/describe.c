/* Words about a task, for people: what it does, what it waits for. */
#include "coro/task.h"
#include "reactor/optional.h"
#include "reactor/text.h"
#include "rota/sync.h"

ROTA__OPTIONAL(rota__waits_for_mutex);

const char rota__waits_for_group[] = "the tasks of a group";

static bool is_mutex_wait(const char *what) {
    return (uintptr_t)what - (uintptr_t)rota__waits_for_mutex < sizeof rota__waits_for_mutex;
}

const rota_task *rota__waits_on(const rota_task *task) {
    if (!rota__task_waits(task))
        return NULL;
    struct rota__wait **queue = (struct rota__wait **)(uintptr_t)task->wait->on;
    if (task->wait->what == rota__waits_for_task)
        return rota__container_of(rota__container_of(queue, rota_future, waiters_), rota_task, future);
    return is_mutex_wait(task->wait->what) ? rota__container_of(queue, rota_mutex, waiters_)->owner_ : NULL;
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
    rota__place_text(t, &task->at);
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
