/* What tasks tell the trace hook: spawn, end, switches, wakes, cancellation; see rota/trace.h.
 *
 * Called only while loop->traced, except rota__count_tasks. Invariant: between the SPAWN and the END of a task each
 * SWITCH_IN is followed by one SWITCH_OUT, or the END; a task that stopped for anything but its turn is told to be woken
 * before it goes on.
 */
#include "coro/task.h"

static void about(rota_trace_event *event, const rota_task *task) {
    if (!task)
        return;
    event->task = task->number;
    event->name = task->name;
}

static void set_wait(rota_trace_event *event, const rota_task *task) {
    event->what = task->wait ? task->wait->what : "its turn";
    event->object = task->wait ? task->wait->on : NULL;
}

/* Of a task (NULL: of several); with what runs, if it is that one's doing. */
static void tell(rota_loop *loop, rota_trace_event *event, const rota_task *task, bool done_by) {
    const rota_task *by = done_by ? loop->running : NULL;
    about(event, task);
    if (by) {
        event->other = by->number;
        event->other_name = by->name;
    }
    rota__trace(loop, event);
}

static void tell_kind(const rota_task *task, int kind, int64_t value, bool done_by) {
    rota_trace_event event = { .kind = kind, .value = value };
    if (kind == ROTA_TRACE_SPAWN)
        event.at = task->at;
    if (kind == ROTA_TRACE_SWITCH_OUT)
        set_wait(&event, task);
    tell(task->loop, &event, task, done_by);
}

void rota__trace_spawn(const rota_task *task) { tell_kind(task, ROTA_TRACE_SPAWN, 0, true); }

void rota__trace_end(const rota_task *task, intptr_t value) { tell_kind(task, ROTA_TRACE_END, value, false); }

void rota__trace_enters(rota_ready *ready) {
    tell_kind((const rota_task *)ready, ROTA_TRACE_SWITCH_IN, 0, false); /* its first member */
}

/* One that has ended has said so. */
void rota__trace_leaves(const rota_task *task) {
    if (task->state == ROTA__TASK_LIVE)
        tell_kind(task, ROTA_TRACE_SWITCH_OUT, !task->wait, false);
}

void rota__trace_refuse(const rota_task *task) { tell_kind(task, ROTA_TRACE_REFUSE, 0, false); }

void rota__trace_cancel(rota_loop *loop, const rota_scope *scope) {
    rota_trace_event event = { .kind = ROTA_TRACE_CANCEL, .what = scope->reason_, .object = scope,
                               .at = scope->cancelled_at_ };
    tell(loop, &event, scope->task_, true);
}

void rota__woken_slowly(rota_task *task, int value) {
    rota_loop *loop = task->loop;
    if (loop->traced)
        tell_kind(task, ROTA_TRACE_WAKE, value, true);
    if (loop->foreign_idle)
        rota__loop_nudge(loop, INT64_MIN);
}

/* ---- for the loop ---- */

void rota__trace_who(const rota_loop *loop, rota_trace_event *event) { about(event, loop->running); }

void rota__trace_tell(rota_loop *loop, rota_trace_fn *fn, void *ctx) {
    for (struct rota__task_slab *slab = rota__tasks_of(loop)->slabs; slab; slab = slab->next)
        for (size_t i = 0; i < slab->used; i++) {
            const rota_task *task = &slab->tasks[i];
            if (task->state != ROTA__TASK_LIVE)
                continue;
            bool runs = loop->running == task;
            rota_trace_event event = { .kind = ROTA_TRACE_TASK, .time = rota__trace_time(loop), .at = task->at,
                                       .value = runs ? 1 : task->wait ? 2 : 0 };
            about(&event, task);
            if (task->wait)
                set_wait(&event, task);
            fn(ctx, &event);
        }
}

void rota__count_tasks(const rota_loop *loop, rota_counters *counters) {
    const struct rota__tasks *tasks = rota__tasks_of(loop);
    counters->spawned = tasks->spawned;
    counters->live = tasks->live;
    counters->ended = tasks->spawned - tasks->live;
}
