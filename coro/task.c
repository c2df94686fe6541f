/* Tasks: spawning, ending, awaiting, handles, sleeping.
 *
 * Control blocks come from slabs and are type-stable until the loop goes: a handle that was released too early is
 * recognised (-ESRCH) until its block is used again, and reading it is always sound. Stacks belong to runners,
 * which outlive tasks: a task's stack serves the next task as soon as it has ended, whatever handles there are.
 */
#include "coro/task.h"

#include <string.h>

#include "reactor/optional.h"
#include "reactor/text.h"

ROTA__OPTIONAL(rota__mutexes_abandoned);

/* 1,023 blocks, the head of their slab and malloc's fill 44 pages; one block more would begin another. */
enum { SLAB_MIN = 16, SLAB_MAX = 1023 };

/* ---- failures that nobody looks at ---- */

static void report_unseen(rota_task *task, const char *before) {
    unsigned quiet = ROTA__TASK_OBSERVED | ROTA__TASK_OBEYED;
    if (!rota_failed(task->future.value_) || task->flags & quiet || task->future.flags_ & ROTA__FUTURE_SEEN)
        return;
    task->flags |= ROTA__TASK_OBSERVED; /* once, whatever the hook does with the handle */
    /* A task that ends is none any more: a hook that suspended on its stack, or took a mutex or set a local in its
     * name, would leave that behind for whoever gets the stack next. */
    rota_loop *loop = task->loop;
    rota_task *self = loop->running;
    if (self == task)
        loop->running = NULL;
    rota__report_task(task, ROTA_REPORT_UNAWAITED, (int)task->future.value_, before,
                      " failed and nobody looked at its error");
    loop->running = self;
}

void rota__task_report_unseen(rota_task *task) { report_unseen(task, ""); }

/* The loop closes, and nobody will look any more. Found by looking at all blocks, so that an end keeps no list. (Those of
 * groups are left out: their group tells of them when it is left.) */
static void report_held(const struct rota__tasks *tasks) {
    for (struct rota__task_slab *slab = tasks->slabs; slab; slab = slab->next)
        for (size_t i = 0; i < slab->used; i++) {
            rota_task *task = &slab->tasks[i];
            if (task->state == ROTA__TASK_DONE && !task->group)
                report_unseen(task, "a handle is still held: ");
        }
}

/* ---- the tasks of a loop ---- */

static int stuck(rota_loop *loop) {
    if (!rota__tasks_of(loop)->live)
        return 0;
    rota__report_deadlock(loop, ROTA_REPORT_DEADLOCK);
    return -EDEADLK;
}

static void slow(rota_loop *loop, int64_t ns) {
    char text[64];
    struct rota__text t;
    rota__text_init(&t, text, sizeof text);
    rota__text_add(&t, " blocked the loop for ");
    rota__text_number(&t, ns / ROTA_MS);
    rota__text_add(&t, " ms");
    rota__report_task(loop->running, ROTA_REPORT_SLOW, 0, "", text);
}

/* What a dropped task waits for may outlive the loop, and must not keep a wait on a stack that goes. */
static void leave_waits(struct rota__tasks *tasks) {
    for (struct rota__task_slab *slab = tasks->slabs; slab; slab = slab->next)
        for (size_t i = 0; i < slab->used; i++) {
            struct rota__wait *wait = slab->tasks[i].state == ROTA__TASK_LIVE ? slab->tasks[i].wait : NULL;
            if (wait && wait->leave)
                wait->leave(wait);
            slab->tasks[i].wait = NULL;
        }
}

/* Cancels everything, and turns until it has ended. What then still waits, uninterruptibly and for nothing that
 * can happen, is reported and dropped; so are failures whose handles somebody holds. */
static void drain(rota_loop *loop) {
    struct rota__tasks *tasks = rota__tasks_of(loop);
    rota__scope_cancel_loop(loop, "the loop closes");
    while (tasks->live && rota_loop_turn(loop, ROTA_FOREVER) > 0)
        ;
    if (tasks->live)
        rota__report_deadlock(loop, ROTA_REPORT_PENDING);
    report_held(tasks);
    if (tasks->live)
        leave_waits(tasks);
}

static void give_back(struct rota__tasks *tasks, struct rota__runner *runner) {
    struct rota__stack stack = runner->stack;
    rota__fiber_destroy(&runner->fiber);
    rota__stack_put(&tasks->stacks, &stack);
}

void rota__forget_adopted(struct rota__tasks *tasks) {
    if (!tasks->adopted.base)
        return;
    rota__fiber_destroy(&tasks->adopted_fiber);
    rota__stack_unlist(tasks->adopted.base, tasks->adopted.size, tasks->adopted.watch);
    tasks->adopted.base = NULL;
}

/* Those of runners that are idle, and of tasks that were dropped as they were. */
static void free_stacks(struct rota__tasks *tasks) {
    struct rota__runner *runner;
    for (int i = 0; i < ROTA__STACK_CLASSES; i++)
        while ((runner = tasks->idle[i])) {
            tasks->idle[i] = runner->next;
            give_back(tasks, runner);
        }
    for (struct rota__task_slab *slab = tasks->slabs; slab; slab = slab->next)
        for (size_t i = 0; i < slab->used; i++)
            if (slab->tasks[i].state == ROTA__TASK_LIVE && rota__task_has_begun(&slab->tasks[i]))
                give_back(tasks, slab->tasks[i].runner);
    rota__forget_adopted(tasks);
    rota__stack_pool_free(&tasks->stacks);
}

static void free_tasks(rota_loop *loop) {
    struct rota__tasks *tasks = rota__tasks_of(loop);
    struct rota__task_slab *slab;
    if (tasks->leave_executors)
        tasks->leave_executors(loop); /* first: where tasks could not be ended, threads still work on their stacks */
    for (slab = tasks->slabs; slab; slab = slab->next)
        for (size_t i = 0; i < slab->used; i++)
            if (slab->tasks[i].state == ROTA__TASK_LIVE && rota__task_has_begun(&slab->tasks[i]))
                rota__locals_drop(&slab->tasks[i]);
    /* Only in a child after fork does a task run now: the one that closes, and stands on one of the stacks. */
    if (!loop->running)
        free_stacks(tasks);
}

/* Handles are answered until the loop is freed: -ESHUTDOWN. */
static void free_blocks(rota_loop *loop) {
    struct rota__tasks *tasks = rota__tasks_of(loop);
    struct rota__task_slab *slab;
    while ((slab = tasks->slabs)) {
        tasks->slabs = slab->next;
        rota__free(&loop->allocator, slab, sizeof *slab + slab->n * sizeof *slab->tasks);
    }
    rota__overflow_unwatch(&tasks->overflow);
    rota__free(&loop->allocator, tasks, sizeof *tasks);
}

static const struct rota__upper upper = {
    .run = rota__task_run,
    .begin = ROTA__FOR_SIZE ? rota__task_run : rota__task_begin,
    .enters = rota__trace_enters,
    .who = rota__trace_who,
    .tell = rota__trace_tell,
    .count = rota__count_tasks,
    .stuck = stuck,
    .slow = slow,
    .drain = drain,
    .free = free_tasks,
    .gone = free_blocks,
};

int rota__tasks_need(rota_loop *loop) {
    if (loop->upper)
        return 0;
    struct rota__tasks *tasks = rota__alloc(&loop->allocator, sizeof *tasks);
    if (!tasks)
        return -ENOMEM;
    memset(tasks, 0, sizeof *tasks);
    tasks->loop = loop;
    tasks->scope.deadline_ = tasks->scope.due_ = ROTA_FOREVER;
    tasks->scope.flags_ = ROTA__SCOPE_LOOP;
    tasks->default_stack = loop->options.stack_size ? loop->options.stack_size : ROTA__STACK_DEFAULT;
    rota__stack_pool_init(&tasks->stacks, &loop->allocator);
    tasks->default_class = rota__stack_class_of(&tasks->stacks, tasks->default_stack);
    loop->upper_data = tasks;
    loop->upper = &upper;
    if (loop->debug || loop->options.report_overflow)
        rota__overflow_watch(&tasks->overflow);
    return 0;
}

/* ---- control blocks ---- */

static bool has_unused(const struct rota__tasks *tasks) {
    return tasks->slabs && tasks->slabs->used < tasks->slabs->n; /* older slabs are used up */
}

static rota_task *first_use(struct rota__tasks *tasks) {
    rota_task *task = &tasks->slabs->tasks[tasks->slabs->used++];
    memset(task, 0, sizeof *task);
    task->loop = tasks->loop;
    task->fast = ROTA__FAST_CALLS;
    return task;
}

/* The other end of the spares is kept only while there are some: so taking one is two instructions. */
static void append_spare(struct rota__tasks *tasks, rota_task *task) {
    task->next = NULL;
    *(tasks->spare ? tasks->spare_last : &tasks->spare) = task;
    tasks->spare_last = &task->next;
}

static __attribute__((cold, noinline)) void spare_push_last(struct rota__tasks *tasks, rota_task *task) {
    while (has_unused(tasks))
        append_spare(tasks, first_use(tasks));
    append_spare(tasks, task);
}

static void spare_push(struct rota__tasks *tasks, rota_task *task) {
    if (__builtin_expect(tasks->loop->debug, 0)) {
        /* Behind all others, and those that were never used: a stale handle is recognised for as long as can be. */
        spare_push_last(tasks, task);
    } else {
        rota__spare_push_first(tasks, task);
    }
}

/* What a new slab holds is touched when it is first used: a page of blocks that nobody needs yet is never in memory. */
static int more_slots(struct rota__tasks *tasks) {
    size_t n = tasks->slots < SLAB_MIN ? SLAB_MIN : tasks->slots > SLAB_MAX ? SLAB_MAX : tasks->slots;
    struct rota__task_slab *slab =
        rota__alloc(&tasks->loop->allocator, sizeof *slab + n * sizeof *slab->tasks);
    if (!slab)
        return -ENOMEM;
    slab->next = tasks->slabs;
    slab->n = n;
    slab->used = 0;
    tasks->slabs = slab;
    tasks->slots += n;
    /* Room for all of them and for some callbacks, so that waking uses the ring (it works without, slower). */
    rota__ready_reserve(&tasks->loop->ready, &tasks->loop->allocator, tasks->slots + 64);
    return 0;
}

static __attribute__((noinline)) rota_task *new_block(struct rota__tasks *tasks) {
    return has_unused(tasks) || more_slots(tasks) == 0 ? first_use(tasks) : NULL;
}

static rota_task *spare_pop(struct rota__tasks *tasks) {
    rota_task *task = tasks->spare;
    if (!task)
        return new_block(tasks);
    tasks->spare = task->next;
    return task;
}

static void link_to(rota_task **list, rota_task *task) {
    task->next = *list;
    task->prev = list;
    if (task->next)
        task->next->prev = &task->next;
    *list = task;
}

void rota__task_drop(rota_task *task) {
    rota__task_unlink(task);
    task->state = ROTA__TASK_FREE;
    spare_push(rota__tasks_of(task->loop), task);
}

int rota__task_check(const rota_task *task) {
    if (!task)
        return -EINVAL;
    /* A block that never was a task has no loop yet. */
    int rc = task->loop ? rota__loop_check_inline(task->loop) : -ESRCH;
    return rc < 0 ? rc : task->state == ROTA__TASK_FREE ? -ESRCH : 0;
}

/* ---- runners ---- */

static size_t round_up(size_t n, size_t to) { return (n + to - 1) & ~(to - 1); }

/* Puts a copy of the argument below the runner and makes a context below that; *argument is where it lies. */
static int make_context(struct rota__runner *runner, const void *arg, size_t arg_size, void **argument) {
    size_t room = (size_t)((unsigned char *)runner - runner->stack.base);
    if (arg_size > room || room - arg_size < rota__stack_minimum() / 2)
        return -EINVAL;
    unsigned char *top = (unsigned char *)runner - round_up(arg_size, _Alignof(max_align_t));
    if (arg_size) {
        memcpy(top, arg, arg_size);
        *argument = top;
    }
    runner->context = rota__context_make(top, rota__runner_main, runner);
    return 0;
}

/* A task's timer, while it is parked. */
static void timer_fired(rota_timer *timer, void *arg) {
    rota_task *task = ((struct rota__runner *)arg)->task;
    (void)timer;
    struct rota__wait *wait = task->wait;
    if (!wait)
        return;
    task->flags &= (uint16_t)~ROTA__TASK_TIMED;
    int64_t now = task->loop->now;
    if (wait->until <= now && wait->until <= task->due) {
        if (wait->leave)
            wait->leave(wait);
        (void)rota__wake(task, 0);
        return;
    }
    if (task->due <= now && task->due != INT64_MIN)
        rota__scope_expire(task);
    else if (wait->until != ROTA_FOREVER)
        rota__task_watch(task, wait->until);
}

/* Makes the struct at the top of a new stack. */
static struct rota__runner *found_runner(const struct rota__stack *stack) {
    uintptr_t top = (uintptr_t)stack->base + stack->size;
    struct rota__runner *runner = (struct rota__runner *)((top - sizeof *runner) & ~(uintptr_t)15);
    memset(runner, 0, sizeof *runner);
    runner->stack = *stack;
    rota_timer_init(&runner->timer, timer_fired, runner);
    rota__fiber_init(&runner->fiber, stack);
    return runner;
}

static int new_runner(struct rota__tasks *tasks, size_t size, struct rota__runner **runner) {
    struct rota__stack stack;
    int rc = rota__stack_get(&tasks->stacks, size, &stack);
    if (rc == 0)
        *runner = found_runner(&stack);
    return rc;
}

/* An idle runner with a stack of that size, or a new one; for a size above the classes, always a new one. */
static int take_runner(struct rota__tasks *tasks, const rota_spawn_options *opt, struct rota__runner **runner) {
    struct rota__stack stack;
    if (opt->stack) {
        rota__forget_adopted(tasks); /* it may have been the same memory, and must not be known twice */
        int rc = rota__stack_adopt(opt->stack, opt->stack_size, &stack);
        if (rc == 0 && stack.size < sizeof **runner + rota__stack_minimum())
            rc = -EINVAL;
        if (rc == 0)
            *runner = found_runner(&stack);
        return rc;
    }
    size_t size = opt->stack_size ? opt->stack_size : tasks->default_stack;
    int size_class = opt->stack_size ? rota__stack_class_of(&tasks->stacks, size) : tasks->default_class;
    bool is_default = size_class == tasks->default_class;
    if (size_class < 0 || (is_default ? !tasks->unpromised : !tasks->idle[size_class]))
        return new_runner(tasks, size, runner);
    tasks->unpromised -= is_default;
    *runner = rota__runner_pop(tasks, size_class);
    return 0;
}

/* With a new context where there is none, or where an argument must be copied (or one lies there). */
static __attribute__((noinline)) int renew_context(struct rota__runner *runner, const void *arg, size_t arg_size,
                                                   void **argument) {
    if (runner->used) {
        rota__fiber_destroy(&runner->fiber);
        rota__stack_blank(runner->stack.base, (size_t)((unsigned char *)runner - runner->stack.base));
        rota__fiber_init(&runner->fiber, &runner->stack);
    }
    return make_context(runner, arg, arg_size, argument);
}

/* The stack is of the default size, so without an argument a context fits. */
struct rota__runner *rota__task_bind(rota_task *task) {
    struct rota__tasks *tasks = rota__tasks_of(task->loop);
    struct rota__runner *runner = rota__runner_pop(tasks, tasks->default_class);
    if (!runner->context)
        (void)renew_context(runner, NULL, 0, NULL);
    rota__task_bind_to(task, runner, task->fn, task->arg, ROTA_FOREVER);
    rota__scope_inherit(&runner->root);
    return runner;
}

/* One more idle runner, for a task that begins later. */
static __attribute__((noinline)) int promise_new_runner(struct rota__tasks *tasks) {
    struct rota__runner *runner = NULL;
    int rc = new_runner(tasks, tasks->default_stack, &runner);
    if (rc < 0)
        return rc;
    runner->next = tasks->idle[tasks->default_class];
    tasks->idle[tasks->default_class] = runner;
    return 0;
}

static int promise_runner(struct rota__tasks *tasks) {
    if (__builtin_expect(!tasks->unpromised, 0))
        return promise_new_runner(tasks);
    tasks->unpromised--;
    return 0;
}

/* A runner that is ready to run, with a new context if need be. */
static __attribute__((noinline)) int prepare_slowly(struct rota__tasks *tasks, const rota_spawn_options *opt,
                                                    void **arg, struct rota__runner **out) {
    struct rota__runner *runner = NULL;
    int rc = take_runner(tasks, opt, &runner);
    if (rc < 0)
        return rc;
    if (!runner->context || opt->arg_size)
        rc = renew_context(runner, *arg, opt->arg_size, arg);
    if (rc < 0)
        give_back(tasks, runner);
    *out = runner;
    return rc;
}

/* The same: one of the default size, as it was left. */
static inline int prepare_runner(struct rota__tasks *tasks, const rota_spawn_options *opt, void **arg,
                                 struct rota__runner **out) {
    int size_class = tasks->default_class;
    bool is_usual = !opt->stack && !opt->stack_size && !opt->arg_size && tasks->unpromised;
    if (ROTA__FOR_SIZE || !is_usual || !tasks->idle[size_class]->context)
        return prepare_slowly(tasks, opt, arg, out);
    tasks->unpromised--;
    *out = rota__runner_pop(tasks, size_class);
    return 0;
}

/* ---- spawn ---- */

/* The current loop is this thread's: only whether it is open has to be asked. */
static int check_spawn(rota_loop *loop, rota_fn *fn, const void *arg, const rota_spawn_options *opt) {
    if (!loop || !fn || (opt->arg_size && !arg))
        return -EINVAL;
    if (loop->state == ROTA__LOOP_CLOSED)
        return -ESHUTDOWN;
    if (opt->group && (!opt->group->scope.task_ || opt->group->scope.task_->loop != loop))
        return -EINVAL;
    if (__builtin_expect(!loop->upper, 0)) {
        int rc = rota__tasks_need(loop);
        if (rc < 0)
            return rc;
    }
    unsigned limit = loop->options.max_tasks;
    return limit && rota__tasks_of(loop)->live >= limit ? -EAGAIN : 0;
}

/* What a block still holds from its last task is as it must be, where that is not set here: see more_slots and
 * rota__task_finish. (What lies side by side is set side by side: one store.) */
static inline __attribute__((always_inline)) void set_up(rota_task *task, rota_loop *loop, rota_at at,
                                                         const rota_spawn_options *opt, unsigned flags) {
    struct rota__tasks *tasks = rota__tasks_of(loop);
    task->woken = 0;
    task->fast = ROTA__FAST_CALLS;
    task->state = ROTA__TASK_LIVE;
    task->flags = (uint16_t)flags;
    task->depth = 0;
    task->refusals = 0;
    task->name = opt->name;
    task->number = ++tasks->spawned;
    task->at = at;
    task->group = opt->group;
    task->future = (rota_future){ .flags_ = ROTA__FUTURE_OF_TASK }; /* as rota_future_init */
    if (opt->group) {
        link_to(&opt->group->children_, task);
        opt->group->running_++;
    }
    tasks->live++;
}

static rota_scope *scope_around(rota_loop *loop, const rota_spawn_options *opt) {
    return opt->group ? &opt->group->scope : &rota__tasks_of(loop)->scope;
}

static struct rota__local_node *spawners_locals(const rota_loop *loop) {
    const rota_task *spawner = loop->running;
    return spawner ? spawner->runner->locals : NULL;
}

/* Is there something that only a runner can hold, or must the task run at once? A cancellation that it is born under is
 * noted there, too, as it stays when that scope's is taken back. */
static inline bool needs_runner(rota_loop *loop, const rota_spawn_options *opt) {
    bool wanted = ((uintptr_t)opt->stack | opt->stack_size | opt->arg_size | (uintptr_t)opt->result |
                   (uint64_t)opt->timeout | opt->eager) != 0;
    return wanted || rota__tasks_of(loop)->default_class < 0 || spawners_locals(loop) ||
           scope_around(loop, opt)->due_ == INT64_MIN;
}

static inline void lay_on_runner(rota_task *task, struct rota__runner *runner, rota_fn *fn, void *arg,
                                 const rota_spawn_options *opt) {
    rota_loop *loop = task->loop;
    rota__task_bind_to(task, runner, fn, arg, opt->timeout
        ? rota__time_add(rota__loop_clock(loop), opt->timeout > 0 ? opt->timeout : 0) : ROTA_FOREVER);
    rota__scope_inherit(&runner->root);
    runner->result = opt->result;
    if (spawners_locals(loop))
        rota__locals_inherit(runner, spawners_locals(loop));
}

static inline void let_begin_later(rota_task *task, rota_fn *fn, void *arg, int64_t due) {
    task->ready.run_ = rota__task_begin;
    task->ready.hint_ = task;
    task->fn = fn;
    task->arg = arg;
    task->due = due;
}

static inline unsigned flags_of(const rota_spawn_options *opt, rota_task *const *out) {
    return (out ? ROTA__TASK_HANDLE : 0) | (opt->result ? ROTA__TASK_OBSERVED : 0) |
           (opt->stack ? ROTA__TASK_CANARY : 0) | (opt->arg_size ? ROTA__TASK_ARGUMENT : 0);
}

static const rota_spawn_options defaults;

static __attribute__((noinline)) int spawn_slowly(rota_at at, rota_task **out, rota_fn *fn, void *arg,
                                                  const rota_spawn_options *opt) {
    if (out)
        *out = NULL;
    opt = opt ? opt : &defaults;
    rota_loop *loop = rota__current;
    int rc = check_spawn(loop, fn, arg, opt);
    if (rc < 0)
        return rc;
    struct rota__tasks *tasks = rota__tasks_of(loop);
    rota_task *task = spare_pop(tasks);
    if (!task)
        return -ENOMEM;
    bool later = !ROTA__FOR_SIZE && !needs_runner(loop, opt);
    struct rota__runner *runner = NULL;
    rc = later ? promise_runner(tasks) : prepare_runner(tasks, opt, &arg, &runner);
    if (rc < 0) {
        spare_push(tasks, task);
        return rc;
    }
    set_up(task, loop, at, opt, flags_of(opt, out));
    if (later)
        let_begin_later(task, fn, arg, scope_around(loop, opt)->due_);
    else
        lay_on_runner(task, runner, fn, arg, opt);
    if (out)
        *out = task;
    if (__builtin_expect(loop->traced, 0))
        rota__trace_spawn(task);
    rota_task *self = !later && opt->eager ? loop->running : NULL;
    if (!self || self->scope->flags_ & ROTA__SCOPE_NO_SUSPEND || !rota__run_eagerly(self, task))
        rota__loop_push(loop, &task->ready);
    return 0;
}

/* May the task be queued with nothing but a block and a promise, and are both at hand? (While the loop is open, its scope is
 * not due.) */
static inline __attribute__((always_inline)) bool is_usual(const rota_loop *loop, const struct rota__tasks *tasks) {
    return !loop->on_spawn && tasks && tasks->spare && tasks->unpromised && rota__ready_has_room(&loop->ready) &&
           !spawners_locals(loop);
}

/* Without options nothing has to be looked at twice, and as nothing is called no register is saved. */
int rota_spawn_at(rota_at at, rota_task **out, rota_fn *fn, void *arg, const rota_spawn_options *opt) {
    rota_loop *loop = rota__current;
    if (ROTA__FOR_SIZE || opt || __builtin_expect(!fn, 0) || __builtin_expect(!loop, 0))
        return spawn_slowly(at, out, fn, arg, opt);
    struct rota__tasks *tasks = rota__tasks_of(loop);
    if (__builtin_expect(!is_usual(loop, tasks), 0))
        return spawn_slowly(at, out, fn, arg, NULL);
    rota_task *task = tasks->spare;
    tasks->spare = task->next;
    tasks->unpromised--;
    set_up(task, loop, at, &defaults, out ? ROTA__TASK_HANDLE : 0);
    let_begin_later(task, fn, arg, ROTA_FOREVER);
    rota__ready_append(&loop->ready, &task->ready);
    if (out)
        *out = task;
    return 0;
}

/* ---- the end ---- */

/* -ECANCELED from a task that was told to stop is obedience, no failure. Who waits in rota_join drops the handle in
 * the moment in which it is woken: it has nothing left to do when it runs. */
static void tell(rota_task *task, intptr_t value) {
    if (value == -ECANCELED && task->runner->root.due_ == INT64_MIN)
        task->flags |= ROTA__TASK_OBEYED;
    unsigned told = rota__future_resolve(&task->future, value);
    if (told & ROTA__FUTURE_WANTED)
        task->flags |= ROTA__TASK_OBSERVED;
    if (told & ROTA__FUTURE_JOINED)
        task->flags &= (uint16_t)~ROTA__TASK_HANDLE;
}

void rota__task_finish(rota_task *task, intptr_t value) {
    rota_loop *loop = task->loop;
    rota_group *group = task->group;
    struct rota__runner *runner = task->runner;
    if (__builtin_expect(loop->debug, 0))
        rota__step_end(loop, 0); /* while it is a task still: a hook that is told may spawn */
    if (__builtin_expect(task->depth, 0))
        rota__scope_repair(task, &runner->root, NULL);
    value = rota__scope_convert(&runner->root, value);
    if (__builtin_expect(runner->held != NULL, 0))
        rota__mutexes_abandoned(task);
    if (__builtin_expect(runner->locals != NULL, 0))
        rota__locals_drop(task);
    if (runner->result)
        *runner->result = value;
    task->state = ROTA__TASK_DONE;
    /* The last one that a closing loop turns for: a signal watcher, or an open remote, must not keep that turn. */
    if (--rota__tasks_of(loop)->live == 0 && loop->state == ROTA__LOOP_CLOSING)
        loop->stop = true;
    tell(task, value);
    if (group) {
        if (!(task->flags & ROTA__TASK_HANDLE) && group->options_.keep_going)
            rota__task_report_unseen(task);
        rota__tasks_of(loop)->scope_calls->child_done(group, task, value);
    } else if (!(task->flags & ROTA__TASK_HANDLE)) {
        rota__task_report_unseen(task);
    }
    if (__builtin_expect(loop->traced, 0))
        rota__trace_end(task, value); /* behind the wakes, which are still its doing */
    if (!(task->flags & ROTA__TASK_HANDLE))
        rota__task_drop(task);
}

void rota_task_release(rota_task *task) {
    if (rota__task_check(task) < 0 || !(task->flags & ROTA__TASK_HANDLE))
        return;
    task->flags &= (uint16_t)~ROTA__TASK_HANDLE;
    if (task->state != ROTA__TASK_DONE)
        return;
    if (!task->group || task->group->options_.keep_going)
        rota__task_report_unseen(task);
    rota__task_drop(task);
}

/* ---- awaiting ---- */

/* HAS_ENDED: *value is its outcome. IS_LIVE: it is to be waited for. Else refused or wrong, and a refusal may have let
 * others run: *number tells whether the block is still this task's, 0 when it was not even before. */
enum { IS_LIVE = 1, HAS_ENDED = 2 };
static inline __attribute__((always_inline)) int look_at(rota_task *task, rota_task **self, intptr_t *value,
                                                         uint64_t *number, const void *frame) {
    int rc = rota__task_check(task);
    *number = rc == 0 ? task->number : 0;
    if (rc == 0)
        rc = rota__enter_from(self, frame);
    if (rc == 0 && task == *self)
        rc = -EDEADLK;
    if (rc < 0)
        return rc;
    if (task->state == ROTA__TASK_LIVE)
        return IS_LIVE;
    *value = task->future.value_;
    task->future.flags_ |= ROTA__FUTURE_SEEN;
    return HAS_ENDED;
}

int rota_await(rota_task *task, intptr_t *result) {
    rota_task *self = NULL;
    intptr_t value = 0;
    uint64_t number = 0;
    int rc = look_at(task, &self, &value, &number, __builtin_dwarf_cfa());
    if (rc == IS_LIVE)
        return rota__future_wait(self, &task->future, result, rota__future_leave);
    if (rc == HAS_ENDED)
        rota__fast(self);
    return rota__two_channels(rc < 0 ? rc : 0, value, result);
}

/* Cancelled while it waits: the handle goes all the same. */
void rota__join_leave(struct rota__wait *wait) {
    struct rota__wait **queue = (struct rota__wait **)(uintptr_t)wait->on;
    rota__future_leave(wait);
    rota_task_release(rota__container_of(rota__container_of(queue, rota_future, waiters_), rota_task, future));
}

/* The handle goes before others can run, whose task its block may be then. */
static __attribute__((noinline)) int join_slowly(rota_task *task, intptr_t *result, const void *frame) {
    rota_task *self = NULL;
    intptr_t value = 0;
    uint64_t number = 0;
    int rc = look_at(task, &self, &value, &number, frame);
    if (rc == IS_LIVE && task->future.state_ == ROTA__FUTURE_CLOSED)
        rc = -ESHUTDOWN;
    if (rc == IS_LIVE && !rota__may_join(self, task->future.waiters_))
        rc = -EPERM;
    if (rc == IS_LIVE)
        return rota__future_wait(self, &task->future, result, rota__join_leave);
    if (number && task->number == number)
        rota_task_release(task);
    if (rc == HAS_ENDED)
        rota__fast(self);
    return rota__two_channels(rc < 0 ? rc : 0, value, result);
}

/* The task is this loop's and lives, nobody else waits, and the caller is under no deadline, nor cancelled: it waits. */
int rota_join(rota_task *task, intptr_t *result) {
    rota_loop *loop = rota__current;
    rota_task *self = loop ? loop->running : NULL;
    if (ROTA__FOR_SIZE || __builtin_expect(!self, 0) || __builtin_expect(!task, 0) || task->loop != loop ||
        !rota__loop_usable(loop) || task->state != ROTA__TASK_LIVE || __builtin_expect(task == self, 0) ||
        !rota__future_untouched(&task->future) || self->depth || self->due != ROTA_FOREVER)
        return join_slowly(task, result, __builtin_dwarf_cfa());
    struct rota__wait *wait = &self->runner->wait;
    wait->value = (intptr_t)result;
    return rota__wait_alone(self, &task->future.waiters_, rota__waits_for_task, wait, rota__join_leave);
}

/* ---- asking ---- */

rota_task *rota_self(void) { return rota__current ? rota__current->running : NULL; }

bool rota_task_done(const rota_task *task) { return rota__task_check(task) == 0 && task->state == ROTA__TASK_DONE; }

int rota_task_result(const rota_task *task, intptr_t *result) {
    int rc = rota__task_check(task);
    return rc < 0 ? rc : rota_future_value(&task->future, result);
}

const char *rota_task_name(const rota_task *task) {
    return rota__task_check(task) < 0 ? NULL : task->name ? task->name : "";
}

uint64_t rota_task_number(const rota_task *task) { return rota__task_check(task) < 0 ? 0 : task->number; }

rota_future *rota_task_future(rota_task *task) { return rota__task_check(task) < 0 ? NULL : &task->future; }

size_t rota_task_stack_used(const rota_task *task) {
    bool has_one = rota__task_check(task) == 0 && task->state == ROTA__TASK_LIVE && rota__task_has_begun(task);
    return has_one ? rota__stack_used(&task->runner->stack) : 0;
}

size_t rota_loop_tasks(const rota_loop *loop) {
    return loop && loop->upper ? rota__tasks_of(loop)->live : 0;
}

/* ---- sleeping ---- */

static void leave_nothing(struct rota__wait *wait) { (void)wait; }

static inline __attribute__((always_inline)) int sleep_until(rota_task *self, int64_t when) {
    struct rota__wait *wait = &self->runner->wait;
    wait->what = "a time";
    wait->on = NULL;
    wait->until = when;
    wait->leave = leave_nothing;
    return rota__park(self, wait);
}

int rota_sleep_until(int64_t when) {
    rota_task *self;
    int rc = rota__enter(&self);
    return rc < 0 ? rc : sleep_until(self, when);
}

int rota_sleep(int64_t ns) {
    rota_task *self;
    if (ns <= 0) {
        rota__leave_forgotten();
        return rota_yield();
    }
    int rc = rota__enter(&self);
    return rc < 0 ? rc : sleep_until(self, rota__time_add(rota__loop_clock(self->loop), ns));
}
