/* Parking and waking: the only file that switches away from a task.
 *
 * A task that stops switches straight to the next ready one. The loop's own stack is entered only when the next
 * entry is no task, when nothing is ready, or when the budget of step 1 is spent; it then goes on in
 * rota__task_run, where it left.
 *
 * The switch is the last thing that park and yield do, in tail position, so that its one `ret` goes straight to
 * the code that called them: each frame returned through after a switch costs a mispredicted return (docs/SWITCH.md).
 * That is why everything a resumed task would have to tidy up (its timer, its wait) is done by the one who wakes.
 */
#include "coro/task.h"

/* What sanitizers are told about the stack that is left. Usually the runner's; but a task may also stop on the stack
 * of a coroutine that it drives (a generator whose body waits), and `here` describes that while it does. */
static inline __attribute__((always_inline)) ROTA__SANITIZE_FIBER *own_fiber(rota_task *task,
                                                                             ROTA__SANITIZE_FIBER *here) {
#ifdef ROTA__SANITIZED
    const struct rota__stack *stack = &task->runner->stack;
    task->runner->now_on = &task->runner->fiber;
    if ((uintptr_t)__builtin_frame_address(0) - (uintptr_t)stack->base >= stack->size) {
        rota__fiber_here(here);
        task->runner->now_on = here;
    }
#endif
    (void)here;
    return rota__task_fiber(task);
}

/* A loop with C++ exceptions: what the thread keeps about them changes places with what was kept for the task. So
 * while a task runs its runner keeps the loop's own (which may itself run inside a catch block). */
static void swap_exceptions(rota_loop *loop, rota_task *task) {
    if (!loop->options.cpp_exceptions)
        return;
    struct rota__exceptions *thread = loop->options.cpp_exceptions(), its = task->runner->exceptions;
    task->runner->exceptions = *thread;
    *thread = its;
}

/* Debug mode, a trace or C++ exceptions: what ran has stopped, or has ended; another is about to run. */
static __attribute__((noinline, cold)) void left_watched(rota_loop *loop) {
    swap_exceptions(loop, loop->running);
    if (loop->debug)
        rota__step_end(loop, 0);
    if (loop->traced)
        rota__trace_leaves(loop->running);
}

static __attribute__((noinline, cold)) void enters_watched(rota_loop *loop, rota_ready *entry) {
    (void)rota__task_runner((rota_task *)entry);
    swap_exceptions(loop, (rota_task *)entry);
    if (loop->traced)
        rota__trace_enters(entry);
}

/* Of the stack that is left only *save is kept; whoever it belongs to is queued somewhere or has ended. */
static inline __attribute__((always_inline)) int enter(rota_loop *loop, rota_task *next, ROTA__SANITIZE_FIBER *fiber,
                                                       void **save) {
    loop->running = next;
    return rota__fiber_switch(fiber, save, rota__task_fiber(next), next->ready.hint_, next->woken);
}

/* Is it a task that can be entered from here? One that has not begun gets the runner that was used last: not while we
 * stand on that one, and have ended. */
static inline bool may_enter(const rota_loop *loop, const rota_ready *entry, void *const *save) {
    const struct rota__tasks *tasks = rota__tasks_of(loop);
    if (!entry || !rota__begins(entry))
        return entry && entry->run_ == rota__task_run;
    const struct rota__runner *last = tasks->idle[tasks->default_class];
    return save != &last->context && save != &last->spent;
}

/* Nothing in the ring, or a callback or a task that has not begun is next, or a chunk of the budget is spent. Out of
 * line, and a tail call: so what is usual calls nothing, and saves no registers. */
static __attribute__((noinline)) int switch_slowly(rota_loop *loop, ROTA__SANITIZE_FIBER *fiber, void **save) {
    rota_ready *entry = rota__ready_peek(&loop->ready);
    bool enters = may_enter(loop, entry, save);
    if (!enters || --loop->budget < 0) {
        if (loop->watched)
            left_watched(loop);
        if (!enters || rota__loop_budget_spent(loop))
            return rota__fiber_switch(fiber, save, &rota__tasks_of(loop)->fiber, loop->context, 0);
        if (loop->watched)
            enters_watched(loop, entry);
    }
    rota__ready_drop_unmarked(&loop->ready);
    rota_task *next = (rota_task *)entry; /* its first member */
    (void)rota__task_runner(next);
    if (save != &next->ready.hint_)
        return enter(loop, next, fiber, save);
    loop->running = next;
    return next->woken; /* it was the only one, and is the next one */
}

/* As switch_slowly, and often right: the next one is a task that has not begun. */
static __attribute__((noinline)) int switch_otherwise(rota_loop *loop, ROTA__SANITIZE_FIBER *fiber, void **save) {
    rota_ready *entry = rota__ready_first(&loop->ready);
    if (!entry || !rota__begins(entry) || loop->budget <= 0 || !may_enter(loop, entry, save))
        return switch_slowly(loop, fiber, save);
    loop->budget--;
    rota__ready_drop_unmarked(&loop->ready);
    (void)rota__task_bind((rota_task *)entry);
    return enter(loop, (rota_task *)entry, fiber, save);
}

/* The usual next step, counted: from here to the next task in the ring, which stays there. NULL when it is not that
 * simple; a budget that is spent is found so once more then, and given anew. */
static inline __attribute__((always_inline)) rota_task *usual_next(rota_loop *loop) {
    rota_ready *entry;
    if (__builtin_expect(rota__ready_in_ring(&loop->ready) == 0, 0))
        return NULL;
    entry = rota__ready_first(&loop->ready);
    if (__builtin_expect(entry->run_ != rota__task_run, 0))
        return NULL;
    return __builtin_expect(--loop->budget < 0, 0) ? NULL : (rota_task *)entry; /* its first member */
}

/* Leaves the running task, whose context goes to *save, and which has ended or waits: it is not queued. */
static inline __attribute__((always_inline)) int switch_away(rota_loop *loop, ROTA__SANITIZE_FIBER *fiber,
                                                             void **save) {
    rota_task *next = ROTA__FOR_SIZE ? NULL : usual_next(loop);
    if (__builtin_expect(!next, 0))
        return ROTA__FOR_SIZE ? switch_slowly(loop, fiber, save) : switch_otherwise(loop, fiber, save);
    rota__ready_drop_unmarked(&loop->ready);
    return enter(loop, next, fiber, save);
}

/* From the loop's stack into a task. */
void rota__task_run(rota_ready *ready) {
    rota_task *task = (rota_task *)ready;
    rota_loop *loop = task->loop;
    ROTA__SANITIZE_FIBER *fiber = &rota__tasks_of(loop)->fiber;
    rota__fiber_here(fiber);
    if (__builtin_expect(loop->watched, 0))
        swap_exceptions(loop, task); /* a trace has been told of it */
    loop->running = task;
    loop->counts.entered_tasks++;
    (void)rota__fiber_switch(fiber, &loop->context, rota__task_fiber(task), ready->hint_, task->woken);
    loop->running = NULL;
}

void rota__task_begin(rota_ready *ready) {
    (void)rota__task_bind((rota_task *)ready);
    rota__task_run(ready);
}

/* ---- parking ---- */

/* A stack that is not guarded is looked at whenever its task stops. Reported once; what lay below is gone. */
static void check_canary(rota_task *task) {
    if (rota__stack_canary_ok(&task->runner->stack))
        return;
    task->flags &= (uint16_t)~ROTA__TASK_CANARY;
    rota__report_task(task, ROTA_REPORT_STACK, -EFAULT, "", " overran its stack: memory below it was overwritten");
}

/* When the task must be looked at although nothing has happened. A due time that has been acted on is not
 * watched again: a wait that cannot be interrupted goes on regardless. */
static int64_t time_to_watch(const rota_task *task, const struct rota__wait *wait) {
    return task->due != INT64_MIN && task->due < wait->until ? task->due : wait->until;
}

void rota__task_watch(rota_task *task, int64_t when) { rota__task_watch_inline(task, when); }

/* As switch_slowly: for what is not usual. */
static __attribute__((noinline)) int park_slowly(rota_task *task, int64_t when) {
    if (task->flags & ROTA__TASK_CANARY)
        check_canary(task);
    if (when != ROTA_FOREVER)
        rota__task_watch_inline(task, when);
    ROTA__SANITIZE_FIBER here;
    return switch_away(task->loop, own_fiber(task, &here), &task->ready.hint_);
}

/* The same, and often right: to a task that has not begun, which is next, and has been counted as a step. */
static __attribute__((noinline)) int park_for_new(rota_task *task, rota_task *next) {
    rota_loop *loop = task->loop;
    struct rota__tasks *tasks = rota__tasks_of(loop);
    ROTA__SANITIZE_FIBER here;
    if (__builtin_expect(!tasks->idle[tasks->default_class]->context, 0))
        return switch_slowly(loop, own_fiber(task, &here), &task->ready.hint_);
    rota__ready_drop_unmarked(&loop->ready);
    rota__task_bind_to(next, rota__runner_pop(tasks, tasks->default_class), next->fn, next->arg, ROTA_FOREVER);
    return enter(loop, next, own_fiber(task, &here), &task->ready.hint_);
}

static inline __attribute__((always_inline)) int park_untimed(rota_task *task) {
    rota_loop *loop = task->loop;
    ROTA__SANITIZE_FIBER here;
    if (__builtin_expect(rota__ready_in_ring(&loop->ready) == 0, 0) || __builtin_expect(--loop->budget < 0, 0))
        return switch_slowly(loop, own_fiber(task, &here), &task->ready.hint_);
    rota_ready *entry = rota__ready_first(&loop->ready);
    if (__builtin_expect(entry->run_ != rota__task_run, 0))
        return entry->run_ == rota__task_begin ? park_for_new(task, (rota_task *)entry)
                                               : switch_slowly(loop, own_fiber(task, &here), &task->ready.hint_);
    rota__ready_drop_unmarked(&loop->ready);
    return enter(loop, (rota_task *)entry, own_fiber(task, &here), &task->ready.hint_);
}

int rota__park(rota_task *task, struct rota__wait *wait) {
    wait->task = task;
    task->wait = wait;
    task->fast = ROTA__FAST_CALLS;
    if (ROTA__FOR_SIZE || __builtin_expect(task->due != ROTA_FOREVER || wait->until != ROTA_FOREVER, 0) ||
        __builtin_expect(task->flags & ROTA__TASK_CANARY, 0))
        return park_slowly(task, time_to_watch(task, wait));
    return park_untimed(task);
}

int rota__park_untimed(rota_task *task, struct rota__wait *wait) {
    task->wait = wait;
    task->fast = ROTA__FAST_CALLS;
    if (ROTA__FOR_SIZE || __builtin_expect(task->flags & ROTA__TASK_CANARY, 0))
        return park_slowly(task, ROTA_FOREVER);
    return park_untimed(task);
}

/* As switch_slowly. */
static __attribute__((noinline)) bool wake_slowly(rota_task *task, int value) {
    if (task->flags & ROTA__TASK_TIMED)
        rota__task_watch_inline(task, ROTA_FOREVER);
    rota__ready_push_unmarked(&task->loop->ready, &task->ready);
    if (task->loop->on_push)
        rota__woken_slowly(task, value);
    return true;
}

bool rota__wake(rota_task *task, int value) {
    rota_loop *loop = task->loop;
    if (!task->wait)
        return false;
    task->wait = NULL;
    task->woken = value;
    bool unusual = task->flags & ROTA__TASK_TIMED || loop->on_push || !rota__ready_has_room(&loop->ready);
    if (ROTA__FOR_SIZE || __builtin_expect(unusual, 0))
        return wake_slowly(task, value);
    rota__ready_push_unmarked(&loop->ready, &task->ready);
    return true;
}

void rota__wait_leave(struct rota__wait *wait) {
    rota__wait_remove((struct rota__wait **)(uintptr_t)wait->on, wait);
}

/* No foreign loop sleeps while a task runs: nobody has to be told that there is work. */
static inline __attribute__((always_inline)) int breathe(rota_task *task, ROTA__SANITIZE_FIBER *here) {
    task->woken = 0;
    task->fast = ROTA__FAST_CALLS;
    rota__ready_push_unmarked(&task->loop->ready, &task->ready);
    return switch_slowly(task->loop, own_fiber(task, here), &task->ready.hint_);
}

void rota__breathe(rota_task *task) {
    ROTA__SANITIZE_FIBER here;
    (void)breathe(task, &here);
}

/* As switch_slowly. frame: the caller's, for rota__enter. */
static __attribute__((noinline)) int yield_slowly(const void *frame) {
    rota_task *self;
    int rc = rota__enter_from(&self, frame);
    if (rc < 0)
        return rc;
    ROTA__SANITIZE_FIBER here;
    return breathe(self, &here);
}

/* The same where the yield is not refused, but has no task to go to straight away; often because there is no other. */
static __attribute__((noinline)) int yield_unusually(rota_task *self) {
    rota_loop *loop = self->loop;
    if (rota__ready_empty(&loop->ready) && --loop->budget >= 0) {
        rota__ready_step(&loop->ready);
        self->fast = ROTA__FAST_CALLS;
        return 0;
    }
    ROTA__SANITIZE_FIBER here;
    return breathe(self, &here);
}

/* Takes the place of the next one in the ring: so there is room, and it is not its own successor. */
int rota_yield(void) {
    rota_loop *loop = rota__current;
    rota_task *self = loop ? loop->running : NULL;
    if (ROTA__FOR_SIZE || __builtin_expect(!self || self->depth || loop->now >= self->due, 0))
        return yield_slowly(__builtin_dwarf_cfa());
    rota_task *next = loop->ready.list_first ? NULL : usual_next(loop);
    if (__builtin_expect(!next, 0))
        return yield_unusually(self);
    self->woken = 0;
    self->fast = ROTA__FAST_CALLS;
    rota__ready_exchange(&loop->ready, &self->ready);
    ROTA__SANITIZE_FIBER here;
    return enter(loop, next, own_fiber(self, &here), &self->ready.hint_);
}

/* A child that starts eagerly runs until it first stops; its spawner, at the front of the queue, is next. */
bool rota__run_eagerly(rota_task *self, rota_task *child) {
    rota_loop *loop = self->loop;
    if (!rota__ready_push_front(&loop->ready, &self->ready))
        return false;
    self->woken = 0;
    loop->counts.steps += 2; /* the child's first, and ours: it goes back into the queue's front, and out again */
    if (__builtin_expect(loop->watched, 0)) {
        swap_exceptions(loop, self);
        if (loop->traced)
            rota__trace_leaves(self);
        enters_watched(loop, &child->ready);
    }
    loop->running = child;
    ROTA__SANITIZE_FIBER here;
    (void)rota__fiber_switch(own_fiber(self, &here), &self->ready.hint_, rota__task_fiber(child), child->ready.hint_, 0);
    return true;
}

/* ---- the trampoline ---- */

static void unmap_runner(rota_loop *loop, struct rota__garbage *garbage) {
    struct rota__runner *runner = rota__container_of(garbage, struct rota__runner, garbage);
    struct rota__stack stack = runner->stack;
    rota__fiber_destroy(&runner->fiber);
    rota__stack_put(&rota__tasks_of(loop)->stacks, &stack);
}

/* Where the runner's stack goes when its task has ended; it still stands on it. */
static void retire(rota_loop *loop, struct rota__runner *runner) {
    int size_class = runner->stack.size_class;
    if (size_class >= 0) {
        struct rota__tasks *tasks = rota__tasks_of(loop);
        runner->next = tasks->idle[size_class];
        tasks->idle[size_class] = runner;
        tasks->unpromised += size_class == tasks->default_class;
    } else if (size_class == ROTA__STACK_ALONE) {
        runner->garbage.free = unmap_runner;
        runner->garbage.next = loop->garbage;
        loop->garbage = &runner->garbage;
    } else {
        /* The caller's again as soon as anybody runs who can know that the task has ended: so its poison goes now.
         * What cannot be told while we still stand here is told when the next one ends. */
        struct rota__tasks *tasks = rota__tasks_of(loop);
        rota__forget_adopted(tasks);
        tasks->adopted = runner->stack;
        tasks->adopted_fiber = runner->fiber;
        rota__stack_clean(runner->stack.base, runner->stack.size);
    }
}

/* Is the next one a task that has not begun? It gets the runner that was used last: this one, if its stack is of the
 * default size; and so begins without a switch. */
static bool begin_next(rota_loop *loop, struct rota__runner *runner) {
    struct rota__tasks *tasks = rota__tasks_of(loop);
    rota_ready *entry = rota__ready_first(&loop->ready);
    if (!entry || !rota__begins(entry) || tasks->idle[tasks->default_class] != runner || loop->budget <= 0)
        return false;
    loop->budget--;
    rota__ready_drop_unmarked(&loop->ready);
    (void)rota__task_bind((rota_task *)entry);
    loop->running = entry;
    return true;
}

/* The usual end: of a task in no group, in which nothing is left over, nobody listens, and another task waits in
 * rota_join, alone. That one, or NULL. (An outcome of -ECANCELED may be a deadline's.) */
static inline __attribute__((always_inline)) rota_task *joined_by(const rota_task *task, const rota_loop *loop,
                                                                  intptr_t outcome) {
    const struct rota__runner *runner = task->runner;
    const struct rota__wait *wait = task->future.waiters_;
    const unsigned usual = ROTA__TASK_HANDLE | ROTA__TASK_OBSERVED;
    if (ROTA__FOR_SIZE || !wait || wait->leave != rota__join_leave || wait->next || (task->flags | usual) != usual ||
        task->group || task->depth || task->future.callbacks_ || runner->held || runner->locals || loop->watched ||
        outcome == -ECANCELED)
        return NULL;
    const struct rota__tasks *tasks = rota__tasks_of(loop);
    bool is_usual = wait->task->loop == loop && !(wait->task->flags & ROTA__TASK_TIMED) &&
                    runner->stack.size_class == tasks->default_class;
    return is_usual ? wait->task : NULL;
}

/* What rota__task_finish and retire do, of which little is left then. The handle goes, and with it the block. */
static inline __attribute__((always_inline)) void end_joined(rota_task *task, rota_task *joiner, intptr_t outcome) {
    struct rota__tasks *tasks = rota__tasks_of(task->loop);
    struct rota__runner *runner = task->runner;
    task->future.state_ = ROTA__FUTURE_SET;
    task->future.value_ = outcome;
    task->future.waiters_ = NULL;
    if (runner->result)
        *runner->result = outcome;
    joiner->woken = rota__two_channels(0, outcome, rota_ptr(joiner->wait->value));
    joiner->wait = NULL;
    task->state = ROTA__TASK_FREE;
    rota__spare_push_first(tasks, task);
    tasks->live--;
    runner->next = tasks->idle[tasks->default_class];
    tasks->idle[tasks->default_class] = runner;
    tasks->unpromised++;
}

/* Leaves the runner, which is idle: for what is next. */
static inline __attribute__((always_inline)) void leave(rota_loop *loop, struct rota__runner *runner, void **save) {
    (void)switch_away(loop, &runner->fiber, save);
}

/* The same behind `joiner`, which is ready now, and mostly is what is next. */
static inline __attribute__((always_inline)) void leave_for(rota_loop *loop, struct rota__runner *runner,
                                                            rota_task *joiner) {
    if (__builtin_expect(rota__ready_empty(&loop->ready) && loop->budget > 0, 1)) {
        loop->budget--;
        rota__ready_step(&loop->ready);
        (void)enter(loop, joiner, &runner->fiber, &runner->context);
        return;
    }
    rota__ready_push_unmarked(&loop->ready, &joiner->ready);
    if (!begin_next(loop, runner))
        leave(loop, runner, &runner->context);
}

void rota__runner_main(intptr_t value, void *arg) {
    struct rota__runner *runner = arg;
    (void)value;
    runner->used = true;
    rota__fiber_arrive(&runner->fiber);
    for (;;) {
        rota_task *task = runner->task;
        rota_loop *loop = task->loop;
        intptr_t outcome = runner->fn(runner->arg);
        rota_task *joiner = joined_by(task, loop, outcome);
        if (__builtin_expect(joiner != NULL, 1)) {
            end_joined(task, joiner, outcome);
            leave_for(loop, runner, joiner);
            continue;
        }
        if (task->flags & ROTA__TASK_CANARY)
            check_canary(task);
        bool spent = task->flags & ROTA__TASK_ARGUMENT;
        rota__task_finish(task, outcome);
        retire(loop, runner);
        if (!spent && begin_next(loop, runner))
            continue;
        /* Below a copied argument there is less stack than the next task is promised. */
        if (spent)
            runner->context = NULL;
        leave(loop, runner, spent ? &runner->spent : &runner->context);
    }
}
