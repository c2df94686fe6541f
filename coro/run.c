/* Programs: running a loop until a task has ended, and rota_run, which is all that main() needs. */
#include "coro/task.h"

/* Somebody who waits for a task without being one. */
struct until {
    struct rota__wait wait;
    bool waits, done;
};

/* The loop is stopped behind all that was ready when the task ended. The entry is the loop's: it may be queued still
 * when the loop was stopped by others, and then does nothing. */
static void stop(rota_ready *entry) {
    struct rota__tasks *tasks = rota__container_of(entry, struct rota__tasks, stop);
    tasks->loop->stop |= tasks->stops;
}

/* Its future was set; or closed by somebody, which says nothing of the task. */
static bool ended(struct rota__wait *wait, intptr_t woken) {
    struct until *until = rota__container_of(wait, struct until, wait);
    struct rota__tasks *tasks = rota__tasks_of(wait->task->loop);
    until->waits = false;
    until->done = tasks->stops = woken == 0;
    if (until->done && !rota__ready_queued(&tasks->stop))
        rota__loop_push(tasks->loop, &tasks->stop);
    return until->done;
}

int rota_loop_run_until(rota_loop *loop, rota_task *task, intptr_t *result) {
    int rc = rota__loop_check(loop);
    if (rc == 0)
        rc = rota__task_check(task);
    if (rc == 0 && task->loop != loop)
        rc = -EINVAL;
    if (rc == 0 && task->state == ROTA__TASK_LIVE && task->future.state_)
        rc = -ESHUTDOWN; /* it was closed */
    if (rc < 0)
        return rota__two_channels(rc, 0, result);
    if (task->state == ROTA__TASK_DONE) {
        task->flags |= ROTA__TASK_OBSERVED;
        return rota__two_channels(0, task->future.value_, result);
    }
    struct until until = { .wait = { .task = task, .won = ended }, .waits = true };
    rota__tasks_of(loop)->stop.run_ = stop;
    rota__wait_push(&task->future.waiters_, &until.wait);
    rc = rota_loop_run(loop);
    if (until.waits)
        rota__wait_remove(&task->future.waiters_, &until.wait);
    rota__tasks_of(loop)->stops = false;
    if (until.done)
        return rota__two_channels(0, until.wait.value, result);
    return rota__two_channels(rc < 0 ? rc : -ECANCELED, 0, result);
}

static int run_main(rota_at at, rota_loop *loop, rota_fn *fn, void *arg, intptr_t *value) {
    rota_task *task;
    rota_loop *outer = rota__current;
    rota__current = loop;
    int rc = rota_spawn_at(at, &task, fn, arg, &(rota_spawn_options){ .name = "main" });
    rota__current = outer;
    if (rc < 0)
        return rc;
    rc = rota_loop_run_until(loop, task, value);
    rota_task_release(task);
    return rc;
}

int rota_run_at(rota_at at, rota_fn *fn, void *arg, intptr_t *result, const rota_loop_options *opt) {
    rota_loop *loop;
    intptr_t value = 0;
    if (rota__current && rota__current->in_turn)
        return rota__two_channels(-EBUSY, 0, result);
    int rc = fn ? rota_loop_new(&loop, opt) : -EINVAL;
    if (rc < 0)
        return rota__two_channels(rc, 0, result);
    rc = run_main(at, loop, fn, arg, &value);
    (void)rota_loop_free(loop);
    return rota__two_channels(rc, value, result);
}
