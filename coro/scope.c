/* Scopes: what cancellation and deadlines belong to. Here is what each task needs, which has a root scope; scopes within
 * tasks are opened and ended in scope_block.c.
 *
 * Invariant: a scope's due_ is the time from which calls inside it refuse: INT64_MIN once it is cancelled or has
 * expired, else the smaller of its own deadline and of the enclosing scope's due_ (a shield ignores the latter).
 * A task's `due` is the due_ of its innermost scope, so that a suspending call checks with one comparison.
 *
 * Whatever changes a scope (cancel, limit, uncancel) recomputes due_ from there inward. Scopes of a task form a
 * doubly linked chain; a group's children, or the loop's free tasks, have root scopes below it. Tasks still to be
 * reached are linked through themselves, so this needs no recursion and no memory however deep the tree is, and
 * stops where nothing changes: it is linear in what is affected.
 */
#include "coro/task.h"

enum { YIELDING_REFUSALS = 8, REPORTED_REFUSALS = 64 };

/* ---- recomputing ---- */

/* The task's own view: a parked one is woken if it is refused now, else its timer is set right. */
static void due_changed(rota_task *task) {
    task->due = task->scope->due_;
    struct rota__wait *wait = task->wait;
    if (!wait)
        return; /* it runs or is ready: its next call will see */
    if (task->due == INT64_MIN && wait->leave) {
        wait->leave(wait);
        (void)rota__wake(task, -ECANCELED);
        return;
    }
    int64_t when = task->due != INT64_MIN && task->due < wait->until ? task->due : wait->until;
    rota__task_watch(task, when);
}

static void add_child(const rota_scope *scope, rota_task *child, rota_task **work) {
    rota_scope *root = &rota__task_runner(child)->root;
    if (scope->due_ == INT64_MIN && !(root->flags_ & ROTA__SCOPE_FORCED)) {
        /* A cancellation that was handed down stays, whatever becomes of the scope it came from. */
        root->flags_ |= ROTA__SCOPE_INHERITED;
        root->reason_ = scope->reason_;
        root->cancelled_at_ = scope->cancelled_at_;
    }
    if (child->flags & ROTA__TASK_QUEUED_WORK)
        return;
    child->flags |= ROTA__TASK_QUEUED_WORK;
    child->runner->work = *work;
    *work = child;
}

static void add_children(const rota_scope *scope, rota_task *child, rota_task **work) {
    for (; child; child = child->next)
        if (child->state == ROTA__TASK_LIVE)
            add_child(scope, child, work);
}

static void add_free(const rota_scope *scope, const struct rota__tasks *tasks, rota_task **work) {
    for (struct rota__task_slab *slab = tasks->slabs; slab; slab = slab->next)
        for (size_t i = slab->used; i-- > 0;)
            if (rota__task_is_free(&slab->tasks[i]))
                add_child(scope, &slab->tasks[i], work);
}

/* From scope inward, in one task; children are added to the list of work. */
static void recompute_chain(rota_scope *scope, rota_task **work) {
    rota_task *task = scope->task_;
    for (; scope; scope = scope->inner_) {
        int64_t due = rota__scope_due(scope);
        if (due == scope->due_)
            break;
        scope->due_ = due;
        if (scope->flags_ & ROTA__SCOPE_GROUP)
            add_children(scope, rota__container_of(scope, rota_group, scope)->children_, work);
        else if (scope->flags_ & ROTA__SCOPE_LOOP)
            add_free(scope, rota__container_of(scope, struct rota__tasks, scope), work);
    }
    if (task && task->due != task->scope->due_)
        due_changed(task);
}

void rota__scope_changed(rota_scope *scope) {
    rota_task *work = NULL;
    recompute_chain(scope, &work);
    while (work) {
        rota_task *task = work;
        work = task->runner->work;
        task->flags &= (uint16_t)~ROTA__TASK_QUEUED_WORK;
        recompute_chain(&task->runner->root, &work);
    }
}

/* ---- refusing ---- */

/* Marks every scope in force whose own deadline has come. Outward up to a shield, which hides the rest. The walk
 * crosses from a task's root into the group's owner: all children of a group learn of its deadline at once. */
void rota__scope_expire(rota_task *task) {
    int64_t now = task->loop->now;
    rota_scope *outermost = NULL;
    for (rota_scope *s = task->scope; s; s = s->outer_) {
        if (s->deadline_ <= now && !(s->flags_ & ROTA__SCOPE_EXPIRED)) {
            s->flags_ |= ROTA__SCOPE_EXPIRED;
            outermost = s;
        }
        if (s->flags_ & ROTA__SCOPE_SHIELD)
            break;
    }
    if (outermost)
        rota__scope_changed(outermost);
}

int rota__refuse(rota_task *task) {
    if (task->scope->flags_ & ROTA__SCOPE_NO_SUSPEND) {
        rota__tasks_of(task->loop)->scope_calls->suspends(task);
        return -EPERM;
    }
    if (task->due != INT64_MIN)
        rota__scope_expire(task);
    task->loop->counts.refusals++;
    if (task->loop->traced)
        rota__trace_refuse(task);
    if (++task->refusals > YIELDING_REFUSALS)
        rota__breathe(task);
    if (task->refusals == REPORTED_REFUSALS && !(task->flags & ROTA__TASK_NAMED)) {
        task->flags |= ROTA__TASK_NAMED;
        rota__report_task(task, ROTA_REPORT_IGNORED_CANCEL, -ECANCELED, "",
                          " goes on although it is cancelled: its calls return -ECANCELED until it leaves its scope");
    }
    return -ECANCELED;
}

int rota__enter_called(rota_task **task, const void *frame) { return rota__enter_inline(task, frame); }

void rota__leave_forgotten_called(const void *frame) { rota__leave_forgotten_inline(frame); }

/* ---- repairing ---- */

/* Somebody has begun scopes, and so has set the table. */
void rota__scope_repair(rota_task *task, const rota_scope *until, const void *frame) {
    rota__tasks_of(task->loop)->scope_calls->repair(task, until, frame);
}

/* ---- changing ---- */

/* The loop that a scope lives in, when this thread may change it. */
static rota_loop *loop_of(const rota_scope *scope) {
    rota_loop *loop = scope && scope->task_ ? scope->task_->loop : NULL;
    return rota__loop_check(loop) == 0 ? loop : NULL;
}

void rota_scope_limit(rota_scope *scope, int64_t limit) {
    rota__leave_forgotten();
    rota_loop *loop = loop_of(scope);
    if (!loop)
        return;
    scope->deadline_ = limit == ROTA_FOREVER ? ROTA_FOREVER
                     : rota__time_add(rota__loop_clock(loop), limit > 0 ? limit : 0);
    rota__scope_changed(scope);
}

static void cancel(rota_loop *loop, rota_scope *scope, rota_at at, const char *reason) {
    if (scope->flags_ & ROTA__SCOPE_CANCELLED)
        return;
    scope->flags_ |= ROTA__SCOPE_CANCELLED;
    scope->reason_ = reason;
    scope->cancelled_at_ = at;
    if (loop->traced)
        rota__trace_cancel(loop, scope);
    rota__scope_changed(scope);
}

void rota_scope_cancel_at(rota_at at, rota_scope *scope, const char *reason) {
    rota__leave_forgotten();
    rota_loop *loop = loop_of(scope);
    if (loop)
        cancel(loop, scope, at, reason);
}

void rota__scope_cancel_loop(rota_loop *loop, const char *reason) {
    cancel(loop, &rota__tasks_of(loop)->scope, rota_here(NULL, 0), reason);
}

int rota_cancel_at(rota_at at, rota_task *task, const char *reason) {
    rota__leave_forgotten();
    int rc = rota__task_check(task);
    if (rc < 0)
        return rc;
    if (task->state != ROTA__TASK_LIVE)
        return -ESRCH;
    cancel(task->loop, &rota__task_runner(task)->root, at, reason);
    return 0;
}

bool rota_uncancel(void) {
    rota__leave_forgotten();
    rota_task *task = rota_self();
    if (!task || !(task->runner->root.flags_ & ROTA__SCOPE_CANCELLED))
        return false;
    task->runner->root.flags_ &= ~(unsigned)ROTA__SCOPE_CANCELLED;
    task->refusals = 0;
    task->flags &= (uint16_t)~ROTA__TASK_NAMED;
    rota__scope_changed(&task->runner->root);
    return true;
}

/* ---- asking ---- */

bool rota_scope_expired(const rota_scope *scope) { return scope && scope->flags_ & ROTA__SCOPE_EXPIRED; }

bool rota_scope_cancelled(const rota_scope *scope) { return scope && scope->flags_ & ROTA__SCOPE_CANCELLED; }

static ROTA__APART bool cancelled(const char **reason, rota_at *at, const void *frame) {
    rota_task *task = rota__current ? rota__current->running : NULL;
    if (task && task->depth)
        rota__scope_repair(task, NULL, frame);
    if (reason)
        *reason = NULL;
    if (at)
        *at = rota_here(NULL, 0);
    if (!task || task->loop->now < task->due)
        return false;
    if (task->due != INT64_MIN)
        rota__scope_expire(task);
    const rota_scope *outermost = NULL;
    for (const rota_scope *s = task->scope; s; s = s->outer_) {
        if (s->flags_ & ROTA__SCOPE_FORCED)
            outermost = s;
        if (s->flags_ & ROTA__SCOPE_SHIELD)
            break;
    }
    if (outermost && reason)
        *reason = outermost->reason_;
    if (outermost && at)
        *at = outermost->flags_ & ROTA__SCOPE_EXPIRED ? outermost->at_ : outermost->cancelled_at_;
    return outermost; /* none: only ROTA_NO_SUSPEND refuses */
}

/* Asked before much that may not suspend, with nothing to be told: a few instructions then. */
bool rota_cancelled(const char **reason, rota_at *at) {
    const rota_loop *loop = rota__current;
    const rota_task *task = loop ? loop->running : NULL;
    if (!ROTA__FOR_SIZE && !reason && !at && task && !task->depth && loop->now < task->due)
        return false;
    return cancelled(reason, at, __builtin_dwarf_cfa());
}
