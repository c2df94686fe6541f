/* Tasks: parking and waking (the only file that switches), spawning, ending, cancelling, sleeping, rota_run.
 *
 * A task is a stack of the caller's memory with its control block on top, so that it is one piece of memory, and
 * touches one page when it needs no more. A task that stops switches straight to the next ready one; the loop's own
 * stack is entered only when the next entry is no task, when nothing is ready, or when the budget of step 1 is spent.
 * The switch is the last thing that park and yield do, in tail position (docs/SWITCH.md says why that matters): so what
 * a resumed task would have to tidy up is done by the one who wakes it.
 *
 * Invariants: each task that lives has an entry of the timers' array to itself (room_), so that parking never fails.
 * due is the time from which calls refuse: INT64_MIN once a level in force is cancelled or has expired, else the first
 * of their deadlines.
 */
#include <string.h>

#include "arch/context.h"
#include "small/task.h"

_Static_assert(sizeof(rota_task) <= ROTA_TASK_BYTES, "what the header says");

/* What the first step of a task finds on its stack. */
struct start {
    rota_fn *fn;
    void *arg;
};

static rota_task *block_at(const rota_loop *loop, size_t index) {
    return (rota_task *)(void *)((char *)loop->memory_.stacks + (index + 1) * loop->memory_.stack_size -
                                 ROTA_TASK_BYTES);
}

/* The lowest bytes of its stack hold its own address. */
static rota_task **canary_of(const rota_loop *loop, rota_task *task) {
    return (rota_task **)(void *)((char *)task + ROTA_TASK_BYTES - loop->memory_.stack_size);
}

/* ---- switching ---- */

static void run_from_loop(rota_ready *ready) {
    rota_task *task = (rota_task *)ready; /* its first member */
    rota_loop *loop = rota__loop_of(task);
    loop->running_ = task;
    (void)rota__context_switch(&loop->context_, task->context, task->woken);
}

/* Leaves the running task, whose context goes to *save, and which either is queued somewhere or has ended. */
static int switch_away(rota_loop *loop, void **save) {
    if (*canary_of(loop, loop->running_) != loop->running_)
        __builtin_trap(); /* what lay below the stack is overwritten: memory is no longer sound */
    rota_ready *entry = loop->ready_ ? (rota_ready *)loop->ready_->next_ : NULL;
    if (!entry || entry->run_ != run_from_loop || --loop->budget_ <= 0) {
        loop->running_ = NULL;
        return rota__context_switch(save, loop->context_, 0);
    }
    rota_task *next = (rota_task *)rota__ring_pop(&loop->ready_);
    loop->running_ = next;
    if (save == &next->context)
        return next->woken; /* it was the only one, and is the next one */
    return rota__context_switch(save, next->context, next->woken);
}

/* Not inlined: it is long, and called in three places. */
static __attribute__((noinline)) void make_ready(rota_task *task, int woken) {
    task->woken = woken;
    task->fast = ROTA__FAST_CALLS;
    task->ready.run_ = run_from_loop;
    rota__ring_push(&rota__loop_of(task)->ready_, &task->ready.link_);
}

/* ---- deadlines ---- */

static int64_t due_of(const rota_task *task) {
    int64_t due = ROTA_FOREVER;
    for (const struct rota__level *level = task->scope; level; level = level->outer_) {
        if (level->flags_ & ROTA__FORCED)
            return INT64_MIN;
        if (level->deadline_ < due)
            due = level->deadline_;
        if (level->flags_ & ROTA__SHIELD)
            break;
    }
    return due;
}

/* Marks every level in force whose own deadline has come. Outward up to a shield, which hides the rest. */
static void expire(rota_task *task) {
    for (struct rota__level *level = task->scope; level; level = level->outer_) {
        if (level->deadline_ <= rota__loop_of(task)->now_)
            level->flags_ |= ROTA__EXPIRED;
        if (level->flags_ & ROTA__SHIELD)
            break;
    }
    task->due = INT64_MIN;
}

/* A parked task's timer: for the end of its wait or its due time, whatever is first. */
static void watch_time(rota_task *task) {
    int64_t when = task->due < task->parked.until ? task->due : task->parked.until;
    if (when != ROTA_FOREVER)
        rota__timer_arm(rota__loop_of(task), &task->timer, when);
    else
        rota__timer_disarm(rota__loop_of(task), &task->timer);
}

static void interrupt(rota_task *task, int value) {
    if (task->wait->leave)
        task->wait->leave(task->wait);
    rota__wake(task, value);
}

/* Step 4 took the entry for one that is free now: it stays promised to the task. */
static void time_has_come(rota_timer *timer, void *arg) {
    rota_task *task = ROTA__OF(timer, rota_task, timer);
    ((rota_loop *)arg)->room_--;
    if (task->parked.until <= task->due) {
        interrupt(task, 0);
        return;
    }
    expire(task);
    interrupt(task, -ECANCELED);
}

void rota__due_changed(rota_task *task) {
    task->due = due_of(task);
    if (!task->wait)
        return; /* it runs or is ready: its next call will see */
    if (task->due == INT64_MIN)
        interrupt(task, -ECANCELED);
    else
        watch_time(task);
}

intptr_t rota__convert(const struct rota__level *level, intptr_t v) {
    return v == -ECANCELED && level->flags_ & ROTA__EXPIRED ? -ETIMEDOUT : v;
}

/* ---- parking and waking ---- */

int rota__park(struct rota__wait *wait, int64_t until) {
    rota_loop *loop = rota__current;
    rota_task *self = loop->running_;
    wait->task = self;
    self->wait = wait;
    self->parked.until = until;
    watch_time(self);
    return switch_away(loop, &self->context);
}

void rota__wake(rota_task *task, int value) {
    if (!task->wait)
        return;
    task->wait = NULL;
    rota__timer_disarm(rota__loop_of(task), &task->timer);
    make_ready(task, value);
}

/* Lets everything run that is queued now. */
static int step_aside(void) {
    rota_task *self = rota__self();
    make_ready(self, 0);
    return switch_away(rota__current, &self->context);
}

void rota__spend(int cost) {
    rota_task *self = rota__self();
    self->fast = (int8_t)(self->fast - cost);
    if (self->fast <= 0)
        (void)step_aside();
}

/* A refusal costs more than a success, so that a task that ignores its cancellation cannot freeze the loop. */
int rota__enter(void) {
    rota_loop *loop = rota__current;
    rota_task *self = loop ? loop->running_ : NULL;
    if (!self)
        return -EPERM;
    if (loop->now_ < self->due)
        return 0;
    if (self->due != INT64_MIN)
        expire(self);
    rota__spend(ROTA__REFUSAL);
    return -ECANCELED;
}

int rota_yield(void) {
    int rc = rota__enter();
    return rc < 0 ? rc : step_aside();
}

/* The wait of a sleeper is never looked into: so it needs none on its stack, and the switch can be a tail call. */
int rota_sleep_until(int64_t when) {
    static struct rota__wait nowhere;
    int rc = rota__enter();
    return rc < 0 ? rc : rota__park(&nowhere, when);
}

int rota_sleep(int64_t ns) {
    return ns <= 0 ? rota_yield() : rota_sleep_until(rota__after(ns));
}

/* ---- the end of a task ---- */

static void free_block(rota_loop *loop, rota_task *task) {
    task->state = ROTA__TASK_FREE;
    rota__ring_push(&loop->spare_, &task->ready.link_);
}

/* The stack that it still stands on may be another task's when switch_away has left it, and not before. */
static void finish(rota_loop *loop, rota_task *task, intptr_t value) {
    intptr_t *result = rota_ptr(task->future.value_);
    value = rota__convert(&task->root, value);
    if (result)
        *result = value;
    task->state = ROTA__TASK_DONE;
    loop->room_++;
    loop->live_--;
    if (task->stops || (loop->state_ && !loop->live_)) /* then a turn must not wait for what nobody needs any more */
        loop->stop_ = true;
    rota__future_end(&task->future, ROTA__FUTURE_SET, 0, value);
    if (!task->handle)
        free_block(loop, task);
    (void)switch_away(loop, &loop->spent_);
}

static void run_task(intptr_t value, void *arg) {
    struct start *start = arg;
    (void)value;
    intptr_t outcome = start->fn(start->arg);
    finish(rota__current, rota__self(), outcome);
}

/* Cancels everything, and turns until it has ended, or until nothing can happen any more. */
static void drain(rota_loop *loop) {
    for (unsigned i = 0; i < loop->fresh_; i++) {
        rota_task *task = block_at(loop, i);
        task->root.flags_ |= ROTA__SHUT;
        if (task->state == ROTA__TASK_LIVE)
            rota__due_changed(task);
    }
    while (loop->live_ && rota_loop_run(loop) == 0)
        ; /* nothing can wake those that are left: they are dropped as they are */
}

/* ---- spawning ---- */

static bool stacks_are_sound(const rota_loop_options *memory) {
    return memory->stacks && memory->stack_size >= ROTA_STACK_MIN &&
           (((uintptr_t)memory->stacks | memory->stack_size) & 15) == 0;
}

/* A stack that nobody uses: there is one. */
static rota_task *take_block(rota_loop *loop) {
    if (loop->spare_)
        return (rota_task *)rota__ring_pop(&loop->spare_);
    return block_at(loop, loop->fresh_++);
}

/* What it begins with lies below its block: the copy of its argument, and below that struct start. */
static void prepare(rota_loop *loop, rota_task *task, rota_fn *fn, void *arg, const rota_spawn_options *opt) {
    char *top = (char *)task - ((opt->arg_size + 15) & ~(size_t)15);
    if (opt->arg_size)
        arg = memcpy(top, arg, opt->arg_size);
    struct start *start = (struct start *)(void *)top - 1;
    start->fn = fn;
    start->arg = arg;
    memset(task, 0, sizeof *task);
    task->context = rota__context_make(start, run_task, start);
    task->root.deadline_ = opt->timeout < 0 ? 0 : opt->timeout ? rota__after(opt->timeout) : ROTA_FOREVER;
    task->root.flags_ = loop->state_ ? ROTA__SHUT : 0;
    task->scope = &task->root;
    task->due = due_of(task);
    task->future.value_ = (intptr_t)opt->result;
    task->timer.fn = time_has_come;
    task->timer.arg = loop;
    task->state = ROTA__TASK_LIVE;
    *canary_of(loop, task) = task;
}

int rota_spawn(rota_task **out, rota_fn *fn, void *arg, const rota_spawn_options *opt) {
    const rota_spawn_options defaults = { .name = NULL };
    rota_loop *loop = rota__current;
    if (out)
        *out = NULL;
    opt = opt ? opt : &defaults;
    int rc = rota__check(loop, (void *)(uintptr_t)fn);
    if (rc < 0)
        return rc;
    if (!loop->spare_ && loop->fresh_ == loop->memory_.n_tasks)
        return -EAGAIN;
    if (!stacks_are_sound(&loop->memory_))
        return -EINVAL;
    if (opt->arg_size && (!arg || opt->arg_size > loop->memory_.stack_size - ROTA_STACK_MIN))
        return -EINVAL;
    if (!loop->room_)
        return -ENOMEM;
    rota_task *task = take_block(loop);
    prepare(loop, task, fn, arg, opt);
    loop->room_--;
    loop->live_++;
    loop->drain_ = drain;
    if (out) {
        task->handle = true;
        *out = task;
    }
    make_ready(task, 0);
    return 0;
}

/* ---- handles ---- */

int rota__task_check(const rota_task *task) {
    if (!task)
        return -EINVAL;
    int rc = rota__check(rota__loop_of(task), task);
    return rc < 0 ? rc : task->state == ROTA__TASK_FREE ? -ESRCH : 0;
}

void rota_task_release(rota_task *task) {
    if (rota__task_check(task) < 0 || !task->handle)
        return;
    task->handle = false;
    if (task->state == ROTA__TASK_DONE)
        free_block(rota__loop_of(task), task);
}

int rota_cancel(rota_task *task, const char *reason) {
    int rc = rota__task_check(task);
    (void)reason;
    if (rc < 0)
        return rc;
    if (task->state != ROTA__TASK_LIVE)
        return -ESRCH;
    task->root.flags_ |= ROTA__CANCELLED;
    rota__due_changed(task);
    return 0;
}

bool rota_uncancel(void) {
    rota_task *self = rota_self();
    if (!self || !(self->root.flags_ & ROTA__CANCELLED))
        return false;
    self->root.flags_ &= ~(unsigned)ROTA__CANCELLED;
    rota__due_changed(self);
    return true;
}

bool rota_cancelled(const char **reason, rota_at *at) {
    const rota_task *self = rota_self();
    if (reason)
        *reason = NULL;
    if (at)
        *at = (rota_at){ .file = NULL };
    return self && rota__loop_of(self)->now_ >= self->due;
}

rota_task *rota_self(void) { return rota__current ? rota__current->running_ : NULL; }

bool rota_task_done(const rota_task *task) { return rota__task_check(task) == 0 && task->state == ROTA__TASK_DONE; }

int rota_task_result(const rota_task *task, intptr_t *result) {
    int rc = rota__task_check(task);
    return rc < 0 ? rc : rota_future_value(&task->future, result);
}

size_t rota_loop_tasks(const rota_loop *loop) { return loop ? loop->live_ : 0; }

/* ---- programs ---- */

int rota__two_channels(int rc, intptr_t value, intptr_t *result) {
    if (rc < 0)
        value = rc;
    if (result)
        *result = value;
    else if (rota_failed(value))
        return (int)value;
    return rc;
}

int rota__run_task(rota_loop *loop, rota_task *task) {
    task->stops = true;
    int rc = rota_loop_run(loop);
    return task->state == ROTA__TASK_DONE ? 0 : rc < 0 ? rc : -ECANCELED;
}

int rota_loop_run_until(rota_loop *loop, rota_task *task, intptr_t *result) {
    int rc = rota__task_check(task);
    if (rc == 0 && rota__loop_of(task) != loop)
        rc = -EINVAL;
    if (rc == 0 && task->state == ROTA__TASK_LIVE)
        rc = rota__run_task(loop, task);
    return rota__two_channels(rc, rc < 0 ? 0 : task->future.value_, result);
}

int rota_run(rota_fn *fn, void *arg, intptr_t *result, const rota_loop_options *opt) {
    rota_loop *loop, *outer = rota__current;
    rota_task *task;
    int rc = outer && outer->in_turn_ ? -EBUSY : rota_loop_new(&loop, opt);
    if (rc == 0) {
        rota__current = loop;
        rc = rota_spawn(&task, fn, arg, NULL);
        if (rc == 0)
            rc = rota__run_task(loop, task);
        (void)rota_loop_close(loop);
        rota__current = outer;
    }
    return rota__two_channels(rc, rc < 0 ? 0 : task->future.value_, result); /* its memory is still there */
}
