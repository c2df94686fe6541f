/* The tasks of a running loop, for programs and for people: rota_loop_each_task, rota_loop_dump.
 *
 * Control blocks lie in slabs that are never freed while the loop is open, so the walk needs no list and no memory, and
 * stays sound whatever is called in between.
 */
#include "coro/task.h"
#include "reactor/quiet.h"
#include "reactor/text.h"
#include "rota/trace.h"

static void fill(rota_task_info *info, const rota_task *task) {
    const struct rota__wait *wait = task->wait;
    info->number = task->number;
    info->name = task->name;
    info->state = task->loop->running == task ? ROTA_TASK_RUNS : wait ? ROTA_TASK_WAITS : ROTA_TASK_READY;
    info->cancelled = task->due == INT64_MIN;
    info->what = wait ? wait->what : NULL;
    info->object = wait ? wait->on : NULL;
    info->until = wait ? wait->until : ROTA_FOREVER;
    info->at = task->at;
    info->stack_used = rota__task_has_begun(task) ? rota__stack_used(&task->runner->stack) : 0;
}

int rota_loop_each_task(rota_loop *loop, rota_each_task_fn *fn, void *ctx) {
    int rc = fn ? rota__loop_check(loop) : -EINVAL;
    if (rc < 0 || !loop->upper)
        return rc;
    for (struct rota__task_slab *slab = rota__tasks_of(loop)->slabs; slab; slab = slab->next)
        for (size_t i = 0; i < slab->used; i++) {
            rota_task *task = &slab->tasks[i];
            rota_task_info info;
            if (task->state != ROTA__TASK_LIVE)
                continue;
            fill(&info, task);
            rc = fn(ctx, task, &info);
            if (rc != 0)
                return rc;
        }
    return 0;
}

static int write_line(int fd, struct rota__text *t) {
    size_t n = t->length < t->size - 1 ? t->length : t->size - 2;
    t->at[n++] = '\n';
    return rota__write_quietly(fd, t->at, n);
}

static int dump_task(void *ctx, rota_task *task, const rota_task_info *info) {
    char line[512];
    struct rota__text t;
    rota__text_init(&t, line, sizeof line);
    rota__text_add(&t, "  #");
    rota__text_number(&t, (int64_t)info->number);
    rota__text_add(&t, " ");
    rota__task_text(&t, task);
    return write_line(*(int *)ctx, &t);
}

int rota_loop_dump(rota_loop *loop, int fd) {
    char line[256], what[200];
    struct rota__text t;
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    (void)rota_loop_describe(loop, what, sizeof what);
    rota__text_init(&t, line, sizeof line);
    rota__text_number(&t, (int64_t)rota_loop_tasks(loop));
    rota__text_add(&t, " tasks; ");
    rota__text_add(&t, what);
    rc = write_line(fd, &t);
    return rc < 0 ? rc : rota_loop_each_task(loop, dump_task, &fd);
}
