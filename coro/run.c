/* Programs: running a loop until a task has ended, and rota_run, which is all that main() needs. */
#include "coro/task.h"

struct until {
    bool done;
    intptr_t value;
};

static void ended(rota_done *done, intptr_t value, void *arg) {
    struct until *until = arg;
    (void)done;
    until->done = true;
    until->value = value;
    (void)rota_loop_stop(rota__current);
}

int rota_loop_run_until(rota_loop *loop, rota_task *task, intptr_t *result) {
    struct until until = { false, 0 };
    rota_done done;
    int rc = rota__loop_check(loop);
    if (rc == 0)
        rc = rota__task_check(task);
    if (rc == 0 && task->loop != loop)
        rc = -EINVAL;
    if (rc < 0)
        return rota__two_channels(rc, 0, result);
    if (task->state == ROTA__TASK_DONE) {
        task->flags |= ROTA__TASK_OBSERVED;
        return rota__two_channels(0, task->future.value_, result);
    }
    rota_loop *outer = rota__current;
    rota__current = loop;
    rc = rota_future_on_done(&task->future, &done, ended, &until);
    rota__current = outer;
    if (rc < 0)
        return rota__two_channels(rc, 0, result);
    rc = rota_loop_run(loop);
    if (!until.done) {
        (void)rota_done_remove(&done);
        rc = rc < 0 ? rc : -ECANCELED;
    }
    return rota__two_channels(until.done ? 0 : rc, until.value, result);
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
