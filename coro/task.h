/* Tasks from the inside, and the contract of parking: park.c is the only file that switches away from a task.
 * Every call that suspends is built on what is declared here. */
#ifndef ROTA_CORO_TASK_H
#define ROTA_CORO_TASK_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/overflow.h"
#include "coro/sanitize.h"
#include "coro/stack.h"
#include "reactor/loop.h"
#include "rota/coro.h"

/* Why a task stands still: a struct on its own stack, from park to wake. */
struct rota__wait {
    struct rota__wait *next, *prev;    /* in the queue of what it waits for; the first one's prev is the last */
    rota_task *task;                   /* set by park */
    const char *what;                  /* "a future", "a read": for reports; static */
    const void *on;                    /* the object, for reports and for leave; may be NULL */
    int64_t until;                     /* wakes with 0 at this time; ROTA_FOREVER: no such time */
    /* Takes the wait out of the queue it is in: the task is cancelled, or `until` has come. NULL: the wait
     * cannot be interrupted. */
    void (*leave)(struct rota__wait *wait);
    intptr_t value;                    /* for whoever wakes to hand something over */
    /* NULL: what its task is parked on. Else one of several waits of a task that is parked on another one: called
     * instead of rota__wake, out of its queue already. False: nobody will look at what it was handed. */
    bool (*won)(struct rota__wait *wait, intptr_t value);
};

enum rota__task_state { ROTA__TASK_FREE, ROTA__TASK_LIVE, ROTA__TASK_DONE };

/* What the task itself remembers of its innermost scopes: one that was left without its end lies in memory that
 * is something else by now, and must not even be read. */
struct rota__scope_note {
    rota_scope *scope, *outer;
    rota_at at;
    unsigned flags;
};
enum { ROTA__SCOPE_NOTES = 4 };    /* a power of 2 */

/* What C++ keeps for each thread (Itanium C++ ABI: Exception Handling, 2.2.2, __cxa_eh_globals). */
struct rota__exceptions {
    void *caught;
    unsigned uncaught;
};

/* What runs tasks, one after the other: a stack with its trampoline, and what a task needs only until it has ended.
 * Lies at the top of its stack, in the page that every task touches anyway, so none of it adds to a task's memory.
 * Between two tasks it is suspended in its trampoline, so that a spawn has no context to make. */
struct rota__runner {
    /* what a spawn, a short life and an end touch: two cache lines, with the part of root that they use */
    void *context;                 /* while it is idle; NULL: one must be made first */
    rota_task *task;
    struct rota__runner *next;     /* in the list of idle ones */
    rota_fn *fn;
    void *arg;
    intptr_t *result;
    struct rota_mutex *held;       /* that the task has locked */
    struct rota__local_node *locals;     /* what it sees, latest first (local.c) */
    rota_scope root;
    struct rota__local_node *inherited;  /* of locals, from here on its spawner's */
    unsigned elsewhere;            /* generators that it is inside of, on their stacks */
    bool used;                     /* it has run; so tools that watch memory know its fiber */
    struct rota__wait wait;        /* of calls that end in the switch, and so have no frame for one */
    rota_timer timer;              /* runs while it is parked with a time to watch */
    struct rota__scope_note notes[ROTA__SCOPE_NOTES];  /* of depth d: notes[d % ROTA__SCOPE_NOTES] */
    struct rota__stack stack;
    struct rota__garbage garbage;
    void *spent;                   /* a context that is not to be continued */
    rota_task *work;               /* in a list of tasks that a change of scope, or a search, still has to reach */
    struct rota__exceptions exceptions;  /* of its task while that does not run; meanwhile, of the loop's own stack */
    ROTA__SANITIZE_FIBER *now_on;  /* for sanitizers: of the stack that it is to be continued on */
    ROTA__SANITIZE_FIBER fiber;
};

/* The control block: dense, apart from the stacks, so that the next ones in the ready queue are fetched ahead and the
 * blocks of many parked tasks stay in the caches. The first 64 bytes are all that a yield touches. */
struct rota_task {
    rota_ready ready;              /* hint_: the saved context while it does not run; itself before it begins */
    int64_t due;                   /* = scope->due_: when calls begin to refuse */
    rota_loop *loop;
    union {
        struct rota__runner *runner;   /* while it is live and has begun */
        void *arg;                     /* before it has begun: see rota__task_begin */
    };
    int woken;                     /* what park returns */
    uint8_t fast;                  /* calls left that may succeed without yielding */
    uint8_t state;                 /* enum rota__task_state */
    uint16_t flags;                /* ROTA__TASK_* */
    unsigned depth;                /* scopes inside the root scope */
    uint32_t refusals;             /* calls refused since it was cancelled */
    struct rota__wait *wait;       /* what it is parked on; NULL when it is not, or has been woken */
    union {
        rota_scope *scope;         /* innermost */
        rota_fn *fn;               /* before it has begun */
    };
    rota_future future;            /* of its outcome */
    rota_task *next, **prev;       /* in the group's list of children; next: in the loop's of spare blocks */
    rota_group *group;             /* NULL: free */
    uint64_t number;               /* of the loop's tasks: for people and traces */
    const char *name;
    rota_at at;
};

enum {
    ROTA__TASK_HANDLE = 1,         /* somebody holds a handle */
    ROTA__TASK_OBSERVED = 2,       /* somebody has seen, or will see, its outcome */
    ROTA__TASK_NAMED = 4,          /* was reported for ignoring its cancellation */
    ROTA__TASK_CANARY = 16,        /* it runs on the caller's memory: its canary is looked at */
    ROTA__TASK_COUNTED = 32,       /* met before in this array: set and cleared within one call (wait.c) */
    ROTA__TASK_ARGUMENT = 256,     /* its argument was copied to its stack, whose context cannot be used again */
    ROTA__TASK_TIMED = 128,        /* its timer runs */
    ROTA__TASK_OBEYED = 64,        /* it ended -ECANCELED because its own scope was cancelled */
    ROTA__TASK_QUEUED_WORK = 8     /* it is in the list that `work` links */
};

enum { ROTA__FAST_CALLS = 64 };

struct rota__task_slab {
    struct rota__task_slab *next;
    uint32_t n, used;      /* the blocks behind `used` were never touched */
    rota_task tasks[];
};

/* What only tasks with scopes of their own come to: scope_block.c, group.c. */
struct rota__scope_calls {
    void (*repair)(rota_task *task, const rota_scope *until, const void *frame); /* see rota__scope_repair */
    void (*suspends)(const rota_task *task);     /* in ROTA_NO_SUSPEND: reports it */
    void (*child_done)(rota_group *group, rota_task *child, intptr_t value);     /* see rota__group_child_done */
};

/* The tasks of a loop. */
struct rota__tasks {
    rota_loop *loop;
    rota_scope scope;                     /* of the loop: what free tasks are under */
    size_t live;                          /* have not ended */
    uint64_t spawned;                     /* ever; the latest one's number */
    rota_task *spare, **spare_last;       /* control blocks to be used (again); linked by `next` */
    struct rota__task_slab *slabs;
    size_t slots;                         /* control blocks made */
    size_t default_stack;
    int default_class;                    /* of stacks of that size; < 0: none */
    struct rota__runner *idle[ROTA__STACK_CLASSES];
    size_t unpromised;                    /* idle runners of the default class, less tasks that have not begun */
    struct rota__stack_pool stacks;
    struct rota_executor *executor;       /* the loop's own; NULL: none was needed yet (executor.c) */
    struct rota__port *ports;             /* to the executors that it uses; */
    void (*leave_executors)(rota_loop *); /* NULL: it never used one (whose code a static program need not have) */
    const struct rota__scope_calls *scope_calls; /* NULL: no scope was begun (likewise) */
    ROTA__SANITIZE_FIBER fiber;           /* the loop's own stack */
    rota_ready stop;                      /* of rota_loop_run_until (run.c), */
    bool stops;                           /* and whether it is to do anything */
    struct rota__overflow overflow;       /* report_overflow: see overflow.h */
    struct rota__stack adopted;           /* of the last task that ended on its caller's memory: only for */
    ROTA__SANITIZE_FIBER adopted_fiber;   /* the tools that watch, the memory is the caller's again */
};

/* Tasks in no group are in no list, which each spawn and each end would have to keep: where a loop is cancelled they
 * are found by looking at all blocks. */
static inline bool rota__task_is_free(const rota_task *task) {
    return task->state == ROTA__TASK_LIVE && !task->group;
}

/* Of the stack that the task is to be continued on. */
static inline ROTA__SANITIZE_FIBER *rota__task_fiber(rota_task *task) {
#ifdef ROTA__SANITIZED
    return task->runner->now_on;
#else
    return &task->runner->fiber;
#endif
}

static inline struct rota__tasks *rota__tasks_of(const rota_loop *loop) { return loop->upper_data; }

/* ---- the calls that suspending functions are made of ---- */

/* Slow paths of rota__enter: leaves scopes that were forgotten in frames below `frame` (with `until`: all that
 * are inside it), and reports them; refuses the call. */
void rota__scope_repair(rota_task *task, const rota_scope *until, const void *frame);
int rota__refuse(rota_task *task);

/* The running task, in *task, if it may call something that suspends: 0; -EPERM outside of tasks, -ECANCELED
 * when its scope refuses. The first line of every (S) call. The check is one comparison, because a cancelled
 * scope is one that was due at the beginning of time. */
static inline __attribute__((always_inline)) int rota__enter_inline(rota_task **task, const void *frame) {
    rota_loop *loop = rota__current;
    if (__builtin_expect(!loop || !loop->running, 0))
        return -EPERM;
    rota_task *self = *task = loop->running;
    if (__builtin_expect(self->depth, 0))
        rota__scope_repair(self, NULL, frame);
    if (__builtin_expect(loop->now >= self->due, 0))
        return rota__refuse(self);
    return 0;
}

/* The same as one function, for code that is compiled for size. */
int rota__enter_called(rota_task **task, const void *frame);

static inline __attribute__((always_inline)) int rota__enter_from(rota_task **task, const void *frame) {
    return ROTA__FOR_SIZE ? rota__enter_called(task, frame) : rota__enter_inline(task, frame);
}

static inline __attribute__((always_inline)) int rota__enter(rota_task **task) {
    return rota__enter_from(task, __builtin_dwarf_cfa());
}

/* The same where the public call around has left forgotten scopes: by rota__leave_forgotten or rota__enter. */
static inline int rota__enter_again(rota_task **task) {
    rota_loop *loop = rota__current;
    if (__builtin_expect(!loop || !loop->running, 0))
        return -EPERM;
    rota_task *self = *task = loop->running;
    return __builtin_expect(loop->now >= self->due, 0) ? rota__refuse(self) : 0;
}

/* First thing in a public call that is made of others: they only know its frame, not its caller's. */
static inline __attribute__((always_inline)) void rota__leave_forgotten_inline(const void *frame) {
    rota_task *self = rota__current ? rota__current->running : NULL;
    if (self && __builtin_expect(self->depth, 0))
        rota__scope_repair(self, NULL, frame);
}

void rota__leave_forgotten_called(const void *frame);    /* as rota__enter_called */

static inline __attribute__((always_inline)) void rota__leave_forgotten(void) {
    if (ROTA__FOR_SIZE)
        rota__leave_forgotten_called(__builtin_dwarf_cfa());
    else
        rota__leave_forgotten_inline(__builtin_dwarf_cfa());
}

/* Suspends the caller on `wait`: all fields set (until: ROTA_FOREVER if none) but task; queued by the caller
 * where it is to be queued. Returns what rota__wake was given; 0 after `leave` when `until` came; -ECANCELED
 * after `leave` when the task was cancelled or its deadline passed. Only straight after rota__enter gave 0, or
 * for waits that cannot be interrupted. */
int rota__park(rota_task *task, struct rota__wait *wait);
int rota__park_untimed(rota_task *task, struct rota__wait *wait); /* no time is to be watched; wait->task is set */

/* Its timer is to look at the task at that time; ROTA_FOREVER: at none. A flag in the control block says whether it
 * runs, so that a wake-up need not touch the timer. (Inline where it is often called: in park.c.) */
void rota__task_watch(rota_task *task, int64_t when);
static inline void rota__task_watch_inline(rota_task *task, int64_t when) {
    rota_timer *timer = &task->runner->timer;
    if (when != ROTA_FOREVER) {
        task->flags |= ROTA__TASK_TIMED;
        rota__loop_arm(task->loop, timer, when);
    } else if (task->flags & ROTA__TASK_TIMED) {
        task->flags &= (uint16_t)~ROTA__TASK_TIMED;
        rota__loop_disarm(task->loop, timer);
    }
}

/* Makes a parked task ready; `value` is what its park returns. False when it was woken before: the first one
 * wins. The wait must be out of its queue. Any code on the loop's thread. */
bool rota__wake(rota_task *task, int value);

/* Lets everything run that is queued now, whatever the scope says. */
void rota__breathe(rota_task *task);

/* The end of a call that succeeded without parking: after 64 of them in a row the task yields. */
static inline void rota__fast(rota_task *task) {
    if (__builtin_expect(--task->fast == 0, 0))
        rota__breathe(task);
}

/* Queues of waits, first in first out. The queue is a pointer to the first wait, NULL when empty, so that
 * all-zero bytes are an empty queue. */
static inline void rota__wait_push(struct rota__wait **queue, struct rota__wait *wait) {
    struct rota__wait *first = *queue;
    wait->next = NULL;
    if (first) {
        wait->prev = first->prev;
        first->prev->next = wait;
        first->prev = wait;
    } else {
        wait->prev = wait;
        *queue = wait;
    }
}

static inline void rota__wait_remove(struct rota__wait **queue, struct rota__wait *wait) {
    struct rota__wait *first = *queue;
    if (first == wait)
        *queue = wait->next;
    else
        wait->prev->next = wait->next;
    if (wait->next)
        wait->next->prev = wait->prev;
    else if (*queue)
        (*queue)->prev = wait->prev;
}

/* The end of a call with two channels: rc is the fate of the wait, value the outcome of what was waited for. */
static inline int rota__two_channels(int rc, intptr_t value, intptr_t *result) {
    if (result)
        *result = rc < 0 ? rc : value;
    else if (rc == 0 && rota_failed(value))
        return (int)value;
    return rc;
}

/* May code that runs here wake those in this queue? An object knows no loop: its waits do. 0 when nobody waits. */
static inline int rota__waits_check(const struct rota__wait *first) {
    return __builtin_expect(first != NULL, 0) ? rota__loop_check_inline(first->task->loop) : 0;
}

/* May the task wait where those already wait? Tasks of two loops in one queue would wake each other across threads. */
static inline bool rota__may_join(const rota_task *self, const struct rota__wait *first) {
    return !first || first->task->loop == self->loop;
}

/* Waits in a queue of waits (`queue` is also what reports name): queues the wait and parks. -EPERM: see above. */
void rota__wait_leave(struct rota__wait *wait);
static inline void rota__wait_fill(rota_task *self, struct rota__wait **queue, const char *what, struct rota__wait *wait,
                                   void (*leave)(struct rota__wait *wait)) {
    wait->what = what;
    wait->on = queue;
    wait->until = ROTA_FOREVER;
    wait->leave = leave;
    wait->won = NULL;
    /* Set here too: whoever looks at the queue before the task parks finds its loop. */
    wait->task = self;
}
static inline int rota__wait_with(rota_task *self, struct rota__wait **queue, const char *what,
                                  struct rota__wait *wait, void (*leave)(struct rota__wait *wait)) {
    if (__builtin_expect(!rota__may_join(self, *queue), 0))
        return -EPERM;
    rota__wait_fill(self, queue, what, wait, leave);
    rota__wait_push(queue, wait);
    return rota__park(self, wait);
}

/* The same where nobody waits yet, for a task that is under no deadline. */
static inline int rota__wait_alone(rota_task *self, struct rota__wait **queue, const char *what,
                                   struct rota__wait *wait, void (*leave)(struct rota__wait *wait)) {
    rota__wait_fill(self, queue, what, wait, leave);
    wait->next = NULL;
    wait->prev = wait;
    *queue = wait;
    return rota__park_untimed(self, wait);
}

/* The same with the runner's wait, for calls whose last act it is: nothing of their frame is needed any more, so park
 * is a tail call, and the task continues straight in the user's code (docs/SWITCH.md). `value` is for who wakes. */
static inline int rota__wait_in(rota_task *self, struct rota__wait **queue, const char *what, intptr_t value) {
    struct rota__wait *wait = &self->runner->wait;
    wait->value = value;
    return rota__wait_with(self, queue, what, wait, rota__wait_leave);
}

/* Makes the task of a wait ready that was just taken out of its queue. What is handed over through a queue goes
 * through here, at once: where a task waits in several queues, the others must know before anybody else comes. */
static inline bool rota__wake_wait(struct rota__wait *wait, intptr_t value) {
    if (__builtin_expect(wait->won != NULL, 0))
        return wait->won(wait, value);
    return rota__wake(wait->task, value);
}

/* The next one in a queue of waits is taken out and made ready. False when there is none. */
static inline bool rota__wake_first(struct rota__wait **queue, int value) {
    struct rota__wait *wait = *queue;
    if (!wait)
        return false;
    rota__wait_remove(queue, wait);
    (void)rota__wake_wait(wait, value);
    return true;
}

/* ---- between the files of coro/ ---- */

/* park.c: entries of the ready queue for a task; the trampoline; running a task at once (eager).
 *
 * A task that a spawn has nothing to lay on its stack for begins without a runner: it is promised one of the idle ones,
 * and gets the one that was used last when it is entered for the first time. So of 10,000 that are spawned and end
 * at once, all run on one stack that is in the cache. Whoever needs its runner before gives it one. Compiled for size
 * each has its own from the start. */
void rota__task_run(rota_ready *ready);
void rota__task_begin(rota_ready *ready);
static inline bool rota__begins(const rota_ready *entry) { return !ROTA__FOR_SIZE && entry->run_ == rota__task_begin; }
static inline bool rota__task_has_begun(const rota_task *task) { return !rota__begins(&task->ready); }
struct rota__runner *rota__task_bind(rota_task *task);
static inline struct rota__runner *rota__task_runner(rota_task *task) {
    return __builtin_expect(rota__task_has_begun(task), 1) ? task->runner : rota__task_bind(task);
}
void rota__runner_main(intptr_t value, void *runner);
bool rota__run_eagerly(rota_task *self, rota_task *child);

/* task.c: called by the trampoline when the entry has returned. */
void rota__task_finish(rota_task *task, intptr_t value);
int rota__tasks_need(rota_loop *loop);
void rota__forget_adopted(struct rota__tasks *tasks);
void rota__task_drop(rota_task *task);       /* a done task whose handle is gone: back to the spares */
void rota__task_report_unseen(rota_task *task); /* a done task goes: if it failed and nobody looked, that is reported */
int rota__task_check(const rota_task *task); /* 0, -EINVAL (NULL), -ESRCH, -EPERM (another loop's thread) */

/* Takes the task out of its group's list; not twice. */
static inline void rota__task_unlink(rota_task *task) {
    if (!task->prev)
        return;
    *task->prev = task->next;
    if (task->next)
        task->next->prev = task->prev;
    task->prev = NULL;
}

static inline void rota__spare_push_first(struct rota__tasks *tasks, rota_task *task) {
    if (!tasks->spare)
        tasks->spare_last = &task->next;
    task->next = tasks->spare;
    tasks->spare = task;
}

/* The idle one that was used last; there is one. The next is fetched: its page is in no TLB in bursts of tasks. */
static inline struct rota__runner *rota__runner_pop(struct rota__tasks *tasks, int size_class) {
    struct rota__runner *runner = tasks->idle[size_class], *next = tasks->idle[size_class] = runner->next;
    __builtin_prefetch(next);
    __builtin_prefetch((char *)next + 64);
    __builtin_prefetch((char *)next + 128);
    return runner;
}
void rota__join_leave(struct rota__wait *wait);   /* of a wait in rota_join */

/* local.c: a new task sees what its spawner does (before, it has none); the end of a task's own. */
void rota__locals_inherit(struct rota__runner *runner, struct rota__local_node *spawners);
void rota__locals_drop(rota_task *task);


/* sync.c: a task that has ended still held mutexes, or read-write locks for writing. Optional, as what reports say of it:
 * rota__waits_for_mutex */
void rota__mutexes_abandoned(rota_task *task);

/* scope_block.c: what suspends in any case (the end of a group) is about to, in ROTA_NO_SUSPEND */
void rota__scope_open(rota_task *task, rota_at at, rota_scope *scope, int64_t deadline, unsigned flags);
void rota__scope_suspends(const rota_task *task);

/* scope.c */
void rota__scope_changed(rota_scope *scope); /* something that its due_ depends on */
void rota__scope_cancel_loop(rota_loop *loop, const char *reason);
void rota__scope_expire(rota_task *task);    /* its due time has come */
enum {
    ROTA__SCOPE_SHIELD = 1, ROTA__SCOPE_GROUP = 2, ROTA__SCOPE_LOOP = 4,
    ROTA__SCOPE_CANCELLED = 8,     /* by a call on this scope */
    ROTA__SCOPE_INHERITED = 16,    /* a task's root: handed down by its group or loop */
    ROTA__SCOPE_EXPIRED = 32,      /* its own deadline refused or ended a call */
    ROTA__SCOPE_NO_SUSPEND = 64,   /* ROTA_NO_SUSPEND: nothing may suspend in it */
    ROTA__SCOPE_FORCED = ROTA__SCOPE_CANCELLED | ROTA__SCOPE_INHERITED | ROTA__SCOPE_EXPIRED
};

/* A task gets its runner: its root scope. */
static inline void rota__scope_root(rota_task *task, rota_scope *outer, int64_t deadline) {
    rota_scope *root = &task->runner->root;
    root->outer_ = outer;
    root->inner_ = NULL;
    root->task_ = task;
    root->deadline_ = deadline;
    root->flags_ = 0;
    root->at_ = task->at;
    root->due_ = task->due = outer->due_ < deadline ? outer->due_ : deadline;
    task->scope = root;
}

/* What it is born under; not for one that begins later than it was spawned and is entered now: who is cancelled before gets
 * its runner then. */
static inline void rota__scope_inherit(rota_scope *root) {
    const rota_scope *outer = root->outer_;
    if (__builtin_expect(outer->due_ == INT64_MIN, 0)) {
        root->flags_ = ROTA__SCOPE_INHERITED;
        root->reason_ = outer->reason_;
        root->cancelled_at_ = outer->cancelled_at_;
    }
}

/* Gives the task a runner that is ready to run. deadline: of its root scope. (See rota__scope_inherit.) */
static inline void rota__task_bind_to(rota_task *task, struct rota__runner *runner, rota_fn *fn, void *arg,
                                      int64_t deadline) {
    task->ready.run_ = rota__task_run;
    task->ready.hint_ = runner->context;
    task->runner = runner;
    runner->task = task;
    runner->fn = fn;
    runner->arg = arg;
    runner->result = NULL;
#ifdef ROTA__SANITIZED
    runner->now_on = &runner->fiber;
#endif
    rota__scope_root(task, task->group ? &task->group->scope : &rota__tasks_of(task->loop)->scope, deadline);
}

/* What due_ must be. */
static inline int64_t rota__scope_due(const rota_scope *scope) {
    if (scope->flags_ & (ROTA__SCOPE_FORCED | ROTA__SCOPE_NO_SUSPEND))
        return INT64_MIN;
    if (scope->flags_ & ROTA__SCOPE_SHIELD || !scope->outer_)
        return scope->deadline_;
    return scope->deadline_ < scope->outer_->due_ ? scope->deadline_ : scope->outer_->due_;
}

static inline intptr_t rota__scope_convert(const rota_scope *scope, intptr_t value) {
    return value == -ECANCELED && scope->flags_ & ROTA__SCOPE_EXPIRED ? -ETIMEDOUT : value;
}

/* group.c: a child has ended. */
void rota__group_child_done(rota_group *group, rota_task *child, intptr_t value);
bool rota__group_is_held(rota_loop *loop, const rota_group *group);
bool rota__group_cut_short(const rota_group *group);

/* future.c: waiting for one that is pending. Sets one, whoever asks: was somebody waiting, or had asked for a
 * callback; did one of them wait in rota_join? In flags_ of a future: somebody asked after it was set; it is a task's. And what those say who wait for a
 * task's. */
int rota__future_wait(rota_task *self, rota_future *future, intptr_t *result, void (*leave)(struct rota__wait *wait));
void rota__future_leave(struct rota__wait *wait);
enum { ROTA__FUTURE_SEEN = 1, ROTA__FUTURE_OF_TASK = 2 };
enum { ROTA__FUTURE_PENDING, ROTA__FUTURE_SET, ROTA__FUTURE_CLOSED };
/* Nobody waits in a task, and may. */
static inline bool rota__future_untouched(const rota_future *future) {
    return future->state_ == ROTA__FUTURE_PENDING && !future->waiters_;
}
extern const char rota__waits_for_task[], rota__waits_for_group[];
enum { ROTA__WAITS_FOR = 32 };
extern const char rota__waits_for_mutex[4][ROTA__WAITS_FOR];
enum { ROTA__FUTURE_WANTED = 1, ROTA__FUTURE_JOINED = 2 };
unsigned rota__future_resolve(rota_future *future, intptr_t value);

/* done.c: the future was set, or closed, and has callbacks. Optional. */
void rota__callbacks_run(rota_future *future, intptr_t value);
void rota__callbacks_close(rota_future *future);

/* name.c */
struct rota__text;
void rota__task_name_text(struct rota__text *text, const rota_task *task);
void rota__place_text(struct rota__text *text, const rota_at *at);

/* describe.c */
void rota__task_text(struct rota__text *text, const rota_task *task);
static inline bool rota__task_waits(const rota_task *task) { return task->state == ROTA__TASK_LIVE && task->wait; }
/* The task that this one waits for, directly or as the owner of what it waits for; NULL: none. */
const rota_task *rota__waits_on(const rota_task *task);

/* report.c */
void rota__report_task(const rota_task *task, int kind, int error, const char *before, const char *after);

/* error_text.c, graph.c; report_brief.c in the place of both */
void rota__error_text(struct rota__text *text, int error);
void rota__report_deadlock(rota_loop *loop, int kind);

/* trace.c: see there. All but rota__trace_tell and rota__count_tasks only while loop->traced. */
void rota__trace_spawn(const rota_task *task);
void rota__trace_end(const rota_task *task, intptr_t value);
void rota__trace_enters(rota_ready *ready);
void rota__trace_leaves(const rota_task *task);
void rota__trace_refuse(const rota_task *task);
void rota__trace_cancel(rota_loop *loop, const rota_scope *scope);
void rota__trace_who(const rota_loop *loop, rota_trace_event *event);
void rota__trace_tell(rota_loop *loop, rota_trace_fn *fn, void *ctx);
void rota__count_tasks(const rota_loop *loop, rota_counters *counters);

/* Wakes a task while loop->on_push: a foreign loop may sleep, or a trace runs. */
void rota__woken_slowly(rota_task *task, int value);

#endif
