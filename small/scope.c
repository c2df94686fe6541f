/* Scopes inside a task: what deadlines and cancellation belong to. The levels they are made of, down to the task's
 * root, are in task.c, which asks them.
 *
 * Invariant: a task's levels are linked from the innermost one outward, and each lies in a frame that is live (nothing
 * here would notice otherwise). What is due is found by walking them: so a change of one is linear in how deep they
 * are, which a small stack bounds.
 */
#include "small/task.h"

static void begin(rota_scope *scope, int64_t limit, unsigned flags) {
    if (!scope)
        return;
    rota_task *self = rota__running;
    scope->task_ = self;
    scope->level_.deadline_ = ROTA_FOREVER;
    scope->level_.flags_ = flags;
    if (!self)
        return;
    if (limit != ROTA_FOREVER)
        scope->level_.deadline_ = limit > 0 ? rota__after(limit) : 0;
    scope->level_.outer_ = self->scope;
    self->scope = &scope->level_;
    rota__due_changed(self);
}

void rota_scope_begin(rota_scope *scope) { begin(scope, ROTA_FOREVER, 0); }

void rota_timeout_begin(rota_scope *scope, int64_t limit) { begin(scope, limit, 0); }

void rota_shield_begin(rota_scope *scope, int64_t bound) { begin(scope, bound, ROTA__SHIELD); }

/* Is it one that the running task is in? One that was ended before it, from further out, is left already. */
static bool is_inside(const rota_task *self, const rota_scope *scope) {
    const struct rota__level *level = self->scope;
    while (level && level != &scope->level_)
        level = level->outer_;
    return level;
}

intptr_t rota_scope_end(rota_scope *scope, intptr_t v) {
    rota_task *self = rota__running;
    if (!scope || !self || scope->task_ != self)
        return v;
    scope->task_ = NULL;
    if (!is_inside(self, scope))
        return v;
    self->scope = scope->level_.outer_;
    rota__due_changed(self);
    return rota__convert(&scope->level_, v);
}

static intptr_t run_in(int64_t limit, unsigned flags, rota_fn *fn, void *arg) {
    rota_scope scope;
    if (!fn)
        return -EINVAL;
    begin(&scope, limit, flags);
    return rota_scope_end(&scope, fn(arg));
}

intptr_t rota_timeout(int64_t limit, rota_fn *fn, void *arg) { return run_in(limit, 0, fn, arg); }

intptr_t rota_shield(int64_t bound, rota_fn *fn, void *arg) { return run_in(bound, ROTA__SHIELD, fn, arg); }

void rota_scope_limit(rota_scope *scope, int64_t limit) {
    if (!scope || !scope->task_)
        return;
    scope->level_.deadline_ = limit > 0 ? rota__after(limit) : 0;
    rota__due_changed(scope->task_);
}

void rota_scope_cancel(rota_scope *scope, const char *reason) {
    (void)reason;
    if (!scope || !scope->task_)
        return;
    scope->level_.flags_ |= ROTA__CANCELLED;
    rota__due_changed(scope->task_);
}

bool rota_scope_expired(const rota_scope *scope) { return scope && scope->level_.flags_ & ROTA__EXPIRED; }

bool rota_scope_cancelled(const rota_scope *scope) { return scope && scope->level_.flags_ & ROTA__CANCELLED; }
