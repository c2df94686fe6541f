/* Groups: a scope whose end waits for the tasks spawned into it; and gather, which is one.
 *
 * Rules: the first failure in order of completion, the body's included, cancels the rest and is the group's
 * outcome (keep_going: failures cancel nobody). -ECANCELED from a child whose scope is cancelled is no failure.
 * Leaving always waits for all: a child may use what lies in the owner's frame.
 */
#include "coro/task.h"

static const rota_group_options default_options;

void rota_group_begin_at(rota_at at, rota_group *group, const rota_group_options *opt) {
    if (!group)
        return;
    rota_task *self = rota_self();
    if (self && self->depth) /* before anything is written: a forgotten one may have been here */
        rota__scope_repair(self, NULL, __builtin_dwarf_cfa());
    group->children_ = NULL;
    group->waiter_ = NULL;
    group->running_ = 0;
    group->failure_ = 0;
    group->cut_short_ = false;
    group->options_ = opt ? *opt : default_options;
    if (self) {
        rota__scope_open(self, at, &group->scope, ROTA_FOREVER, ROTA__SCOPE_GROUP);
    } else {
        rota_scope_begin_at(at, &group->scope);
    }
}

static void fail(rota_group *group, intptr_t failure, const char *reason) {
    if (!group->failure_)
        group->failure_ = failure;
    rota_scope_cancel(&group->scope, reason);
}

void rota__group_child_done(rota_group *group, rota_task *child, intptr_t value) {
    if (child->flags & ROTA__TASK_OBEYED)
        group->cut_short_ = true;
    else if (rota_failed(value) && !group->options_.keep_going)
        fail(group, value, "a task of the group failed");
    if (--group->running_ == 0 && group->waiter_)
        (void)rota__wake(group->waiter_->task, 0);
}

/* Handles that were asked for end with the group. (A hook for reports might spawn into it: then there is more to wait
 * for.) */
static void drop_handles(rota_group *group) {
    rota_task *child;
    while (!group->running_ && (child = group->children_)) {
        child->flags &= (uint16_t)~ROTA__TASK_HANDLE;
        if (group->options_.keep_going)
            rota__task_report_unseen(child);
        rota__task_drop(child);
    }
}

static void wait_for_children(rota_task *self, rota_group *group) {
    while (group->running_) {
        struct rota__wait wait = { .what = rota__waits_for_group, .on = group, .until = ROTA_FOREVER };
        group->waiter_ = &wait;
        (void)rota__park(self, &wait);
        group->waiter_ = NULL;
    }
}

/* Of a group whose frame is gone, so that the group itself must be neither read nor written: does a child that has not
 * ended still point there? If not, nothing does but the list of ended ones whose handles were asked for; they go. */
bool rota__group_is_held(rota_loop *loop, const rota_group *group) {
    for (int pass = 0; pass < 2; pass++)
        for (struct rota__task_slab *slab = rota__tasks_of(loop)->slabs; slab; slab = slab->next)
            for (size_t i = 0; i < slab->used; i++) {
                rota_task *task = &slab->tasks[i];
                if (task->group != group || task->state == ROTA__TASK_FREE)
                    continue;
                if (task->state == ROTA__TASK_LIVE)
                    return true;
                if (pass == 1) {
                    task->prev = NULL; /* out of a list whose head is gone */
                    rota__task_drop(task);
                }
            }
    return false;
}

intptr_t rota_group_end(rota_group *group, intptr_t v) {
    rota_task *self = rota_self();
    if (!group || !self || group->scope.task_ != self)
        return v;
    rota__scope_repair(self, &group->scope, NULL);
    /* A body that only obeyed its cancellation did not fail, as little as a child that did. */
    if (rota_failed(v) && !(v == -ECANCELED && group->scope.due_ == INT64_MIN))
        fail(group, v, "the body of the group failed");
    if (self->due != INT64_MIN && self->loop->now >= self->due)
        rota__scope_expire(self);
    if (group->running_ && group->scope.flags_ & ROTA__SCOPE_NO_SUSPEND)
        rota__scope_suspends(self);
    do {
        wait_for_children(self, group);
        drop_handles(group);
    } while (group->running_);
    return rota_scope_end(&group->scope, group->failure_ ? group->failure_ : v);
}

/* Was a call cut short, and by something outside of the gathering? When all completed, the caller's cancellation
 * is for its next call to tell. */
bool rota__group_cut_short(const rota_group *group) { return group->cut_short_ && rota_cancelled(NULL, NULL); }

int rota_gather_at(rota_at at, rota_call *calls, size_t n, const rota_gather_options *opt) {
    rota_task *self;
    if (!calls && n)
        return -EINVAL;
    int rc = rota__enter(&self);
    if (rc < 0) {
        for (size_t i = 0; i < n; i++)
            calls[i].result = rc;
        return rc;
    }
    rota_group group;
    rota_group_begin_at(at, &group, &(rota_group_options){ .keep_going = opt && opt->keep_going });
    rota_spawn_options spawn = { .group = &group };
    for (size_t i = 0; i < n; i++) {
        spawn.result = &calls[i].result;
        int failed = rc < 0 ? rc : rota_spawn_at(at, NULL, calls[i].fn, calls[i].arg, &spawn);
        if (failed < 0) {
            calls[i].result = failed;
            rc = rc < 0 || group.options_.keep_going ? rc : failed;
        }
    }
    rc = (int)rota_group_end(&group, rc);
    return rc == 0 && rota__group_cut_short(&group) ? -ECANCELED : rc;
}
