/* Tasks: parking and waking (the only file that switches), spawning, ending, cancelling, sleeping, rota_run.
 *
 * A task is a stack of the caller's memory with its control block on top, so that it is one piece of memory, and
 * touches one page when it needs no more. A task that stops switches to the loop's own stack, which switches to the
 * next one. The switch is the last thing that park and yield do, in tail position (docs/SWITCH.md says why that
 * matters): so what a resumed task would have to tidy up is done by the one who wakes it.
 *
 * Invariants: each task that lives has an entry of the timers' array to itself (n_timers), so that parking never fails.
 * due is the time from which calls refuse: ROTA__LONG_AGO once a level in force is cancelled or has expired, else the
 * first of their deadlines.
 */
#include <string.h>

#include "arch/context.h"
#include "small/task.h"

_Static_assert(sizeof(rota_task) <= ROTA_TASK_BYTES, "what the header says");

rota_task *rota__running;

/* What is zero: the wait of a sleeper, which is never looked into, so that it needs none on its stack, and the switch
 * can be a tail call; and a spawn's options when there are none. What is written to the one, its task, is the name in
 * the other, which nobody reads. */
static union {
    struct rota__wait wait;
    rota_spawn_options options;
} nothing;
_Static_assert(offsetof(struct rota__wait, task) == offsetof(rota_spawn_options, name), "see above");

/* The block of the stack that ends after so many stacks. */
static rota_task *block_before(const rota_loop_options *memory, size_t stacks) {
    return (rota_task *)(void *)((char *)memory->stacks + stacks * memory->stack_size - ROTA_TASK_BYTES);
}

/* The lowest bytes of its stack hold its own address. */
static rota_task **canary_of(const rota_loop *loop, rota_task *task) {
    return (rota_task **)(void *)((char *)task + ROTA_TASK_BYTES - loop->memory_.stack_size);
}

/* ---- switching ---- */

static void run_from_loop(rota_ready *ready) {
    rota_task *task = (rota_task *)ready; /* its first member */
    rota__running = task;
    (void)rota__context_switch(&rota__loop_of(task)->context_, task->context, task->woken);
}

/* Leaves the running task, which either is queued somewhere or has ended; returns what it is woken with. */
static int switch_away(void) {
    rota_task *self = rota__running;
    rota_loop *loop = rota__loop_of(self);
    if (*canary_of(loop, self) != self)
        __builtin_trap(); /* what lay below the stack is overwritten: memory is no longer sound */
    rota__running = NULL;
    return rota__context_switch(&self->context, loop->context_, 0);
}

/* Not inlined: it is long, and called in three places. What it is woken with is there already. */
static __attribute__((noinline)) void make_ready(rota_task *task) {
    task->fast = ROTA__FAST_CALLS;
    task->ready.run_ = run_from_loop;
    rota__ring_push(&rota__loop_of(task)->ready_, &task->ready.link_);
}

/* ---- deadlines ---- */

/* Looks at the levels in force, from the innermost outward up to a shield, which hides the rest: marks each whose own
 * deadline is not after `now`, and sets due. */
static void judge(rota_task *task, int64_t now) {
    int64_t due = ROTA_FOREVER;
    struct rota__level *level = task->scope;
    do {
        if (level->deadline_ <= now)
            level->flags_ |= ROTA__EXPIRED;
        if (level->flags_ & ROTA__FORCED)
            due = ROTA__LONG_AGO;
        if (level->deadline_ < due)
            due = level->deadline_;
    } while (!(level->flags_ & ROTA__SHIELD) && (level = level->outer_));
    task->due = due;
}

/* A parked task's timer: for the end of its wait or its due time, whatever is first. */
static void watch_time(rota_task *task) {
    int64_t when = task->due < task->parked.until ? task->due : task->parked.until;
    if (when != ROTA_FOREVER)
        (void)rota__timer_arm(rota__loop_of(task), &task->timer, when);
    else
        rota__timer_disarm(rota__loop_of(task), &task->timer);
}

static void interrupt(rota_task *task) {
    if (task->wait->leave)
        task->wait->leave(task->wait);
    rota__wake(task, -ECANCELED);
}

/* Step 4 took the entry for one that is free now: it stays promised to the task. What waits until a time is a sleeper,
 * who has nothing to leave. */
static void time_has_come(rota_timer *timer, void *arg) {
    rota_task *task = ROTA__OF(timer, rota_task, timer);
    rota_loop *loop = arg;
    loop->memory_.n_timers--;
    if (task->parked.until <= task->due) {
        rota__wake(task, 0);
        return;
    }
    if (task->due >= 0)
        judge(task, loop->now_);
    interrupt(task);
}

void rota__due_changed(rota_task *task) {
    judge(task, ROTA__LONG_AGO);
    if (!task->wait)
        return; /* it runs or is ready: its next call will see */
    if (task->due < 0)
        interrupt(task);
    else
        watch_time(task);
}

/* ---- parking and waking ---- */

int rota__park(struct rota__wait *wait, int64_t until) {
    rota_task *self = rota__running;
    wait->task = self;
    self->wait = wait;
    self->parked.until = until;
    watch_time(self);
    return switch_away();
}

void rota__wake(rota_task *task, int value) {
    task->wait = NULL;
    task->woken = value;
    rota__timer_disarm(rota__loop_of(task), &task->timer);
    make_ready(task);
}

int rota__spend(int cost) {
    rota_task *self = rota__running;
    int left = self->fast - cost;
    self->fast = (int8_t)left;
    if (left > 0)
        return 0;
    self->woken = 0;
    make_ready(self);
    return switch_away();
}

int rota__done(int result) {
    (void)rota__spend(ROTA__FAST);
    return result;
}

/* A refusal costs more than a success, so that a task that ignores its cancellation cannot freeze the loop. */
int rota__enter(void) {
    rota_task *self = rota__running;
    if (!self)
        return -EPERM;
    int64_t now = rota__loop_of(self)->now_;
    if (now < self->due)
        return 0;
    if (self->due >= 0)
        judge(self, now);
    (void)rota__spend(ROTA__REFUSAL);
    return -ECANCELED;
}

/* All of its fast calls at once: lets everything run that is queued now. */
int rota_yield(void) {
    int rc = rota__enter();
    return rc < 0 ? rc : rota__spend(ROTA__FAST_CALLS);
}

int rota_sleep_until(int64_t when) {
    int rc = rota__enter();
    return rc < 0 ? rc : rota__park(&nothing.wait, when);
}

int rota_sleep(int64_t ns) {
    return ns <= 0 ? rota_yield() : rota_sleep_until(rota__after(ns));
}

/* ---- the end of a task ---- */

static void free_block(rota_task *task) {
    rota_loop *loop = rota__loop_of(task);
    task->state = ROTA__TASK_FREE;
    task->ready.link_.next_ = loop->spare_;
    loop->spare_ = &task->ready.link_;
}

/* The stack that it still stands on may be another task's when switch_away has left it, and not before. */
static void finish(rota_task *task, intptr_t value) {
    rota_loop *loop = rota__loop_of(task);
    intptr_t *result = rota_ptr(task->future.value_);
    value = rota__convert(&task->root, value);
    if (result)
        *result = value;
    task->state = ROTA__TASK_DONE;
    loop->memory_.n_timers++;
    loop->live_--;
    if (task->stops || loop->shut_) /* a turn must not wait for what nobody needs any more */
        loop->stop_ = true;
    rota__future_end(&task->future, ROTA__FUTURE_SET, 0, value);
    if (!task->handle)
        free_block(task);
    (void)switch_away();
}

static void run_task(intptr_t value, void *arg) {
    rota_task *self = rota__running;
    (void)value;
    finish(self, self->entry(arg));
}

/* Cancels everything, and turns until it has ended, or until nothing can happen any more. Another loop may be in a
 * turn, and one of its tasks run: this one's callbacks are no part of that task. */
static void drain(rota_loop *loop) {
    rota_loop *turning = rota__turning;
    rota_task *running = rota__running;
    unsigned left = loop->live_;
    loop->shut_ = ROTA__SHUT;
    rota__turning = NULL;
    rota__running = NULL;
    for (size_t i = loop->memory_.n_tasks; left > 0;) {
        rota_task *task = block_before(&loop->memory_, ++i);
        if (task->state != ROTA__TASK_LIVE)
            continue;
        left--;
        task->root.flags_ |= ROTA__SHUT;
        rota__due_changed(task);
    }
    while (loop->live_ && rota_loop_run(loop) == 0)
        ; /* nothing can wake those that are left: they are dropped as they are */
    rota__turning = turning;
    rota__running = running;
}

/* ---- spawning ---- */

static bool stacks_are_sound(const rota_loop_options *memory) {
    return memory->stacks && memory->stack_size >= ROTA_STACK_MIN &&
           (((uintptr_t)memory->stacks | memory->stack_size) & 15) == 0;
}

/* A stack that nobody uses: there is one. Those that were used before come first, the last of them foremost: what it
 * touches is in memory. Those that were never used are taken from the last one down. */
static rota_task *take_block(rota_loop *loop) {
    rota_task *spare = (rota_task *)loop->spare_; /* its first member */
    if (spare) {
        loop->spare_ = spare->ready.link_.next_;
        return spare;
    }
    return block_before(&loop->memory_, loop->memory_.n_tasks--);
}

/* Makes it a task of the loop: all that holds before its first step, but for its stack and deadline. Field by field,
 * since a call of memset would have start keep its arguments in saved registers; and the options are read first,
 * because for all that a compiler knows they lie in the task. */
static void enlist(rota_loop *loop, rota_task *task, rota_fn *fn, const rota_spawn_options *opt) {
    int64_t timeout = opt->timeout;
    intptr_t result = (intptr_t)opt->result;
    loop->memory_.n_timers--;
    loop->live_++;
    loop->drain_ = drain;
    task->wait = NULL;
    task->entry = fn;
    task->timer.place_ = 0;
    task->timer.fn = time_has_come;
    task->timer.arg = loop;
    task->scope = &task->root;
    task->root.outer_ = NULL;
    task->root.deadline_ = timeout; /* from now, until prepare */
    task->root.flags_ = loop->shut_;
    task->future.waiters_ = NULL;
    task->future.value_ = result;
    task->woken = 0;
    task->state = ROTA__TASK_LIVE;
    task->handle = false;
    task->stops = false;
    task->fast = 0;
    *canary_of(loop, task) = task;
}

/* What is wrong with a spawn; 0: nothing. */
static inline __attribute__((always_inline)) int refusal(const rota_loop *loop, rota_fn *fn, const void *arg,
                                                         const rota_spawn_options *opt) {
    if (!loop || !fn)
        return -EINVAL;
    if (!loop->spare_ && !loop->memory_.n_tasks)
        return -EAGAIN;
    if (!stacks_are_sound(&loop->memory_) ||
        (opt->arg_size && (!arg || opt->arg_size > loop->memory_.stack_size - ROTA_STACK_MIN)))
        return -EINVAL;
    return loop->memory_.n_timers ? 0 : -ENOMEM;
}

/* Its stack lies below `top`. */
static void prepare(rota_task *task, void *top, void *arg) {
    task->context = rota__context_make(top, run_task, arg);
    int64_t timeout = task->root.deadline_;
    task->root.deadline_ = timeout < 0 ? 0 : timeout ? rota__after(timeout) : ROTA_FOREVER;
    rota__due_changed(task);
    make_ready(task);
}

/* A spawn that has nothing wrong with it; 0. The copy of its argument lies below its block, and is made before the
 * handle is written, which may lie in the argument: copied is what the caller has put there. Not inlined: refusals need
 * none of the registers that are saved here. */
static __attribute__((noinline)) int start(rota_task **out, rota_fn *fn, void *arg, const rota_spawn_options *opt,
                                           rota_loop *loop) {
    rota_task *task = take_block(loop);
    enlist(loop, task, fn, opt);
    void *top = task;
    if (opt->arg_size)
        arg = top = memcpy((char *)task - ((opt->arg_size + 15) & ~(size_t)15), arg, opt->arg_size);
    if (out) {
        task->handle = true;
        *out = task;
    }
    prepare(task, top, arg);
    return 0;
}

static int spawn(rota_task **out, rota_fn *fn, void *arg, const rota_spawn_options *opt, rota_loop *loop) {
    opt = opt ? opt : &nothing.options;
    int rc = refusal(loop, fn, arg, opt);
    if (rc == 0)
        return start(out, fn, arg, opt, loop);
    if (out)
        *out = NULL;
    return rc;
}

/* The current loop is never one that is closed. */
int rota_spawn(rota_task **out, rota_fn *fn, void *arg, const rota_spawn_options *opt) {
    return spawn(out, fn, arg, opt, rota__here());
}

/* ---- handles ---- */

/* A stack that the loop has not used yet holds what a loop before it left there. */
int rota__task_check(const rota_task *task) {
    if (!task)
        return -EINVAL;
    const rota_loop *loop = rota__loop_of(task);
    if (loop->closed_)
        return -ESHUTDOWN;
    return task->state == ROTA__TASK_FREE || task <= block_before(&loop->memory_, loop->memory_.n_tasks) ? -ESRCH : 0;
}

void rota_task_release(rota_task *task) {
    if (rota__task_check(task) < 0 || !task->handle)
        return;
    task->handle = false;
    if (task->state == ROTA__TASK_DONE)
        free_block(task);
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
    rota_task *self = rota__running;
    if (!self || !(self->root.flags_ & ROTA__CANCELLED))
        return false;
    self->root.flags_ &= ~(unsigned)ROTA__CANCELLED;
    rota__due_changed(self);
    return true;
}

/* A deadline that is told of has refused. */
bool rota_cancelled(const char **reason, rota_at *at) {
    rota_task *self = rota__running;
    if (reason)
        *reason = NULL;
    if (at)
        *at = (rota_at){ .file = NULL };
    if (!self || rota__loop_of(self)->now_ < self->due)
        return false;
    if (self->due >= 0)
        judge(self, rota__loop_of(self)->now_);
    return true;
}

rota_task *rota_self(void) { return rota__running; }

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

/* Runs the loop until the task, which lives, has ended: 0, -ECANCELED, or the error of rota_loop_run. */
static inline __attribute__((always_inline)) int run_until(rota_loop *loop, rota_task *task) {
    task->stops = true;
    int rc = rota_loop_run(loop);
    return task->state == ROTA__TASK_DONE ? 0 : rc < 0 ? rc : -ECANCELED;
}

/* When it is refused, the task may be one that is waited for further out. */
int rota_loop_run_until(rota_loop *loop, rota_task *task, intptr_t *result) {
    int rc = rota__task_check(task);
    if (rc == 0 && rota__loop_of(task) != loop)
        rc = -EINVAL;
    if (rc == 0 && task->state == ROTA__TASK_LIVE) {
        bool before = task->stops;
        rc = run_until(loop, task);
        task->stops = before;
    }
    return rota__two_channels(rc, rc < 0 ? 0 : task->future.value_, result);
}

int rota_run(rota_fn *fn, void *arg, intptr_t *result, const rota_loop_options *opt) {
    rota_loop *loop;
    rota_task *task;
    int rc = rota__turning ? -EBUSY : rota_loop_new(&loop, opt);
    if (rc == 0) {
        rc = spawn(&task, fn, arg, NULL, loop);
        if (rc == 0)
            rc = run_until(loop, task);
        (void)rota_loop_close(loop);
    }
    return rota__two_channels(rc, rc < 0 ? 0 : task->future.value_, result); /* its memory is still there */
}
