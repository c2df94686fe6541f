/* Coroutines: raw ones, which need no loop, and tasks on a loop with futures, scopes, groups, descriptor
 * calls, streams and TCP.
 *
 * Rules that hold for every call here, beside those of rota/reactor.h:
 *  - (S) marks a call that may suspend its task: a suspension point. A call always is one or never is one.
 *    Between suspension points no other task of the loop runs. Calls that need not wait count, too: after 64 of them in
 *    a row the task steps aside, so that a loop over a full queue or a fast peer starves nobody, and meets its deadline.
 *  - In C++ a task must not suspend inside `catch` unless the loop has .cpp_exceptions, and an exception that leaves a
 *    task's function ends the process (std::terminate).
 *  - Every (S) call answers -ECANCELED, before it tries anything, while the task is inside a cancelled or
 *    expired scope; and -EPERM outside a task (so too in a child after fork, which is in none). Not those that run or
 *    end a body: rota_timeout and rota_shield call it in any case (its own calls refuse), rota_scope_end and
 *    rota_group_end do their work, and give back the body's value also for NULL or for what was ended before.
 *  - Calls without a loop argument work on the current loop: -EINVAL when the thread has none.
 *  - Objects are structs that the caller allocates; all-zero bytes are a valid pending future.
 */
#ifndef ROTA_CORO_H
#define ROTA_CORO_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "rota/reactor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Entry of a task, body of a scope. Returns a result, or a negative errno. */
typedef intptr_t rota_fn(void *arg);

/* ---- raw coroutines ----------------------------------------------------------------------------- */

/* A function on a stack of its own that can stop half-way and be continued. No loop is needed. It belongs
 * to the thread that created it. */
typedef struct rota_co rota_co;
typedef intptr_t rota_co_fn(rota_co *self, void *arg);

enum { ROTA_DONE, ROTA_YIELDED };

typedef struct rota_co_options {
    void *stack;                     /* caller's memory (unguarded, with a canary); NULL: mapped and guarded */
    size_t stack_size;               /* of stack, or wanted; 0: 64 KiB */
    const rota_allocator *allocator; /* for the control block, with mapped stacks; NULL: malloc */
    void (*report)(void *ctx, const rota_report *report); /* is told when it goes without having started; or NULL */
    void *report_ctx;
} rota_co_options;

/* Creates a coroutine that has not started. With a caller's stack nothing is allocated: the control block
 * lies at the top of it. opt is copied. -EINVAL (no fn; a stack too small to run on), -ENOMEM (also when a
 * guard cannot be installed); *co is NULL then. */
#define rota_co_new(...) rota_co_new_at(ROTA_HERE, __VA_ARGS__)
ROTA_API ROTA_CHECK int rota_co_new_at(rota_at at, rota_co **co, rota_co_fn *fn, void *arg,
                                       const rota_co_options *opt);

/* Runs co until it yields or returns. in is what its rota_co_yield gives back (the first one is dropped).
 * ROTA_YIELDED or ROTA_DONE, and *out (may be NULL) is the value yielded or returned.
 * -EINVAL (finished), -EALREADY (it runs, or has resumed another one that runs), -EPERM (other thread),
 * -EFAULT (canary overwritten: its stack was too small). */
ROTA_API ROTA_CHECK int rota_co_resume(rota_co *co, intptr_t in, intptr_t *out);

/* (Where tasks drive coroutines: a scope that was begun on co's stack must be ended there before it yields or returns,
 * and memory for a stack must not lie in a frame of the task.)
 * Inside co: hands value to the one who resumed, and stops until resumed again; *in (may be NULL) is what
 * was sent. -EPERM when self is not the coroutine that runs. */
ROTA_API ROTA_CHECK int rota_co_yield(rota_co *self, intptr_t value, intptr_t *in);

/* True when it has returned. False for NULL. */
ROTA_API bool rota_co_done(const rota_co *co);

/* Gives back stack and control block. A coroutine that stands at a yield is dropped as it is: nothing more
 * of it runs. -EBUSY while it runs, -EPERM from another thread; NULL is fine. */
ROTA_API int rota_co_free(rota_co *co);

/* Most bytes of stack used so far, for choosing sizes; 0 when it cannot be known (a caller's stack). */
ROTA_API size_t rota_co_stack_used(const rota_co *co);

/* ---- futures ------------------------------------------------------------------------------------ */

/* A place for a value that comes later. Set once; any number of tasks wait, and wake in the order in which
 * they came. All-zero bytes are a valid pending future. */
typedef struct rota_future {
    struct rota__wait *waiters_;   /* tasks that wait, first in first out */
    struct rota_done *callbacks_;
    intptr_t value_;
    unsigned state_;
    unsigned flags_;
} rota_future;

/* fn(done, value, arg) runs on the loop's stack, in a later step 1, after the future was set: never inside
 * the call that sets it. */
typedef struct rota_done {
    rota_soon soon_;
    struct rota_done *next_, *prev_;
    rota_future *future_;
    rota_loop *loop_;
    void (*fn)(struct rota_done *done, intptr_t value, void *arg);
    void *arg; /* yours */
    intptr_t value_;
    unsigned state_;
    bool chains_;
} rota_done;

/* Makes it pending. For memory that may hold a future that was closed, or is not zero. */
ROTA_API void rota_future_init(rota_future *future);

/* Sets value (or an error: a negative errno), and wakes the waiters. -EALREADY: it was set; -ESHUTDOWN: it
 * was closed; -EPERM from another thread than the waiters'. */
ROTA_API ROTA_CHECK int rota_future_set(rota_future *future, intptr_t value);

/* (S) Waits until it is set. Two channels: returned is the fate of my wait (0, or an error), *result the
 * outcome (or the error of my wait). result NULL merges them: a failed outcome is returned.
 * -ESHUTDOWN: closed under the waiter. */
ROTA_API ROTA_CHECK int rota_future_await(rota_future *future, intptr_t *result);

ROTA_API bool rota_future_done(const rota_future *future);

/* The outcome, without waiting: 0 and *value, or -EAGAIN while it is pending. */
ROTA_API ROTA_CHECK int rota_future_value(const rota_future *future, intptr_t *value);

/* Ends it: waiters wake with -ESHUTDOWN, callbacks not yet queued never run. After that the memory may go. */
ROTA_API int rota_future_close(rota_future *future);

/* Adds a done-callback; those of one future run in the order in which they were added. At once queued when
 * the future is set already. done is the future's until fn runs or rota_done_remove; it needs no
 * initialisation. -ESHUTDOWN. */
ROTA_API ROTA_CHECK int rota_future_on_done(rota_future *future, rota_done *done,
                                            void (*fn)(rota_done *done, intptr_t value, void *arg), void *arg);

/* Takes a callback back, also when it is queued already; 0 also when it was not there. */
ROTA_API int rota_done_remove(rota_done *done);

/* ---- tasks -------------------------------------------------------------------------------------- */

typedef struct rota_task rota_task;
typedef struct rota_group rota_group;

typedef struct rota_spawn_options {
    const char *name;   /* for reports; not copied, must outlive the task */
    rota_group *group;  /* NULL: a free task, owned by the loop */
    intptr_t *result;   /* written when the task ends; must outlive it */
    int64_t timeout;    /* the task's own deadline, from now (< 0: it has passed); it then ends -ETIMEDOUT. 0: none */
    size_t arg_size;    /* > 0: the entry gets a copy of arg_size bytes at arg, aligned for max_align_t */
    void *stack;        /* caller's memory: unguarded, with a canary; must stay until the task has ended */
    size_t stack_size;  /* of stack, or wanted (rounded up to a size class); 0: the loop's */
    bool eager;         /* run at once, up to its first suspension; only inside a task */
} rota_spawn_options;

/* Starts fn(arg) as a task of the current loop, behind everything that is queued. Never suspends (eager
 * runs the new task first). task NULL detaches: the task goes when it ends. Else the handle must be
 * released or joined (in a group: it is valid until the group is left, and releasing is optional); an error that nobody
 * has looked at is reported when it goes, or when the loop closes.
 * On failure *task is NULL, fn never runs, and arg stays the caller's; after success fn always runs, even
 * when the task is cancelled before its first step.
 * -EINVAL (no fn, no loop on this thread, a stack too small, arg_size too large for the stack, a group that was left),
 * -EAGAIN (max_tasks), -ENOMEM (also: a guard could not be installed), -ESHUTDOWN, -EPERM. */
#define rota_spawn(...) rota_spawn_at(ROTA_HERE, __VA_ARGS__)
ROTA_API ROTA_CHECK int rota_spawn_at(rota_at at, rota_task **task, rota_fn *fn, void *arg,
                                      const rota_spawn_options *opt);

/* (S) Waits until task has ended; any number of tasks, any number of times. Two channels, as
 * rota_future_await. Being cancelled while waiting does nothing to task.
 * -EDEADLK (the caller itself), -ESRCH (stale handle). */
ROTA_API ROTA_CHECK int rota_await(rota_task *task, intptr_t *result);

/* (S) rota_await, then rota_task_release, on every return. */
ROTA_API ROTA_CHECK int rota_join(rota_task *task, intptr_t *result);

/* Drops the handle, in any state; a task that runs goes on, owned by the loop. NULL is fine. After it the handle
 * must not be used: once the task has ended it is stale, and calls with it answer -ESRCH until its block serves another
 * task (in debug mode as late as can be); never after rota_loop_free. On another thread than the loop's it does
 * nothing, silently. */
ROTA_API void rota_task_release(rota_task *task);

/* Cancels the task's root scope: its calls refuse, the one it waits in returns -ECANCELED. reason: a static
 * string or NULL. 0, -ESRCH (it has ended or gone), -EPERM. */
#define rota_cancel(...) rota_cancel_at(ROTA_HERE, __VA_ARGS__)
ROTA_API int rota_cancel_at(rota_at at, rota_task *task, const char *reason);

/* Withdraws a rota_cancel of the calling task; true when there was one. Scopes around it (the group's,
 * the loop's) stay as they are. */
ROTA_API bool rota_uncancel(void);

/* Why the caller's calls refuse: fills *reason and *at (either may be NULL) with what the outermost
 * cancelled scope in force was given. True when the caller is cancelled or expired. */
ROTA_API bool rota_cancelled(const char **reason, rota_at *at);

/* The running task; NULL outside of tasks. */
ROTA_API rota_task *rota_self(void);

/* Has it ended? False also for NULL and a handle that was joined or released: loop until rota_task_result is not -EAGAIN
 * rather than until this is true. */
ROTA_API bool rota_task_done(const rota_task *task);

/* The outcome, without waiting: 0 and *result, -EAGAIN while it runs, -ESRCH. */
ROTA_API ROTA_CHECK int rota_task_result(const rota_task *task, intptr_t *result);

/* Name ("" when it has none); NULL for a stale handle or NULL. */
ROTA_API const char *rota_task_name(const rota_task *task);

/* Its number: from 1, in the order in which the loop's tasks were spawned, never used again. 0 for a stale handle or
 * NULL. The trace (rota/trace.h) and dumps call tasks by it. */
ROTA_API uint64_t rota_task_number(const rota_task *task);

/* The task as a future, for rota_future_await and rota_future_on_done. NULL for a stale handle. */
ROTA_API rota_future *rota_task_future(rota_task *task);

/* Name, state, what it waits for and where it was spawned, in a line. As snprintf. */
ROTA_API size_t rota_task_describe(const rota_task *task, char *buf, size_t n);

enum { ROTA_TASK_READY = 0, ROTA_TASK_RUNS = 1, ROTA_TASK_WAITS = 2 };

typedef struct rota_task_info {
    uint64_t number;        /* rota_task_number */
    const char *name;       /* NULL: it has none */
    int state;              /* ROTA_TASK_* */
    bool cancelled;         /* its calls refuse */
    const char *what;       /* what it waits for, fixed text, and */
    const void *object;     /* on what; both NULL when it does not wait */
    int64_t until;          /* the wait ends by itself at this time of the loop's clock; ROTA_FOREVER: it does not */
    rota_at at;             /* where it was spawned; .file may be NULL */
    size_t stack_used;      /* bytes of its stack that were ever touched; 0 may mean that it has not begun */
} rota_task_info;

/* Calls fn(ctx, task, info) for each task that has not ended, in no particular order, until it returns something else
 * than 0, and returns that; else 0. What info points to is valid until fn returns. fn may ask (rota_task_describe and
 * the like) and cancel; it must not suspend, and tasks that it spawns may be missed.
 * -EINVAL, -EPERM, -ESHUTDOWN. */
typedef int rota_each_task_fn(void *ctx, rota_task *task, const rota_task_info *info);
ROTA_API ROTA_CHECK int rota_loop_each_task(rota_loop *loop, rota_each_task_fn *fn, void *ctx);

/* Writes what the loop waits for (rota_loop_describe), and a line for each task (rota_task_describe), to a descriptor:
 * 2 is standard error. The descriptor is written as it is: one that blocks holds the loop up, one that does not may give
 * -EAGAIN half-way. No SIGPIPE, no memory. 0; -EINVAL, -EPERM, -ESHUTDOWN, errors of write(2). */
ROTA_API ROTA_CHECK int rota_loop_dump(rota_loop *loop, int fd);

/* What happens when a task needs more stack than it has: a mapped stack ends at a guard, so the process gets SIGSEGV (on
 * some systems SIGBUS), as at the end of a thread's stack. With rota_loop_options.report_overflow, or in debug mode, a
 * line on standard error first says which task it was, where it was spawned, and how large its stack is. For that the
 * first such loop installs handlers of both signals, which go when the last such loop is freed, and the loop's thread
 * gets an alternate signal stack if it has none. Faults that are no overflow of the running task's own stack (a
 * generator's body has its own) are passed to the handler that was there before, or do what they do without one. In
 * effect from the first spawn on; where it cannot be had, the loop goes without. */

/* Most bytes of stack used so far; 0 when it cannot be known. */
ROTA_API size_t rota_task_stack_used(const rota_task *task);

/* Tasks of the loop that have not ended. */
ROTA_API size_t rota_loop_tasks(const rota_loop *loop);

/* (S) Never less than ns; ns <= 0 only yields. */
ROTA_API ROTA_CHECK int rota_sleep(int64_t ns);

/* (S) Until an absolute time of the loop's clock. */
ROTA_API ROTA_CHECK int rota_sleep_until(int64_t when);

/* (S) Lets everything run that is queued now. */
ROTA_API ROTA_CHECK int rota_yield(void);

/* ---- programs ----------------------------------------------------------------------------------- */

/* For main(): creates a loop, runs fn(arg) as its first task until it ends, and what is ready then; cancels what is
 * left, in no particular order, and lets it end, closes. Two channels, as rota_future_await. An error of
 * rota_loop_new or rota_spawn, -EBUSY inside a turn, -ECANCELED when rota_loop_stop was called before fn had ended,
 * or -EDEADLK when nothing can ever wake the tasks that are left: a report then names them and what they wait for.
 * opt may be NULL. */
#define rota_run(...) rota_run_at(ROTA_HERE, __VA_ARGS__)
#define rota_run_at ROTA_LAYOUT(rota_run_at)
ROTA_API ROTA_CHECK int rota_run_at(rota_at at, rota_fn *fn, void *arg, intptr_t *result,
                                    const rota_loop_options *opt);

/* Runs the loop until task has ended. Two channels; -EDEADLK as rota_run, -ECANCELED when the loop was
 * stopped first, and the errors of rota_loop_run. Not a suspension point: for use outside of tasks. */
ROTA_API ROTA_CHECK int rota_loop_run_until(rota_loop *loop, rota_task *task, intptr_t *result);

/* ---- scopes ------------------------------------------------------------------------------------- */

/* What cancellation belongs to. Inside a cancelled or expired scope every (S) call answers -ECANCELED until
 * the scope is left. The function forms cannot be left half-way and come first; begin and end are for
 * straight lines. */

/* (S) Calls fn(arg) here, on this stack, with a deadline limit from now (<= 0: it has already passed).
 * fn's value; but -ECANCELED becomes -ETIMEDOUT when this deadline refused or ended a call in it. */
#define rota_timeout(...) rota_timeout_at(ROTA_HERE, __VA_ARGS__)
ROTA_API ROTA_CHECK intptr_t rota_timeout_at(rota_at at, int64_t limit, rota_fn *fn, void *arg);

/* (S) The same, with cancellation from outside hidden from fn: for cleanup that must wait. bound is a
 * deadline for it. */
#define rota_shield(...) rota_shield_at(ROTA_HERE, __VA_ARGS__)
ROTA_API ROTA_CHECK intptr_t rota_shield_at(rota_at at, int64_t bound, rota_fn *fn, void *arg);

typedef struct rota_scope {
    struct rota_scope *outer_;  /* enclosing scope; a root's: the group's, or the loop's */
    struct rota_scope *inner_;  /* the next scope inward, of the same task */
    rota_task *task_;           /* whose scope; NULL: the loop's, or left */
    int64_t deadline_;          /* its own, absolute */
    int64_t due_;               /* when calls inside begin to refuse; INT64_MIN: they do */
    unsigned flags_;
    rota_at at_;                /* where it began */
    rota_at cancelled_at_;
    const char *reason_;
} rota_scope;

/* Begin never fails and never suspends; outside of a task it does nothing, and so does the end.
 * scope: something to cancel; timeout: with a deadline from now; shield: hides cancellation from outside. */
#define rota_scope_begin(...)   rota_scope_begin_at(ROTA_HERE, __VA_ARGS__)
#define rota_timeout_begin(...) rota_timeout_begin_at(ROTA_HERE, __VA_ARGS__)
#define rota_shield_begin(...)  rota_shield_begin_at(ROTA_HERE, __VA_ARGS__)
ROTA_API void rota_scope_begin_at(rota_at at, rota_scope *scope);
ROTA_API void rota_timeout_begin_at(rota_at at, rota_scope *scope, int64_t limit);
ROTA_API void rota_shield_begin_at(rota_at at, rota_scope *scope, int64_t bound);

/* The only way out. Gives back v; but -ECANCELED becomes -ETIMEDOUT when this scope's own deadline refused
 * or ended a call. Leaves forgotten scopes inside too, and reports them. */
ROTA_API ROTA_CHECK intptr_t rota_scope_end(rota_scope *scope, intptr_t v);

/* A new deadline, from now; ROTA_FOREVER takes it away. A scope that has expired stays so.
 * Any task of the loop. */
ROTA_API void rota_scope_limit(rota_scope *scope, int64_t limit);

/* Cancels everything inside. Any task of the loop. reason: static or NULL. */
#define rota_scope_cancel(...) rota_scope_cancel_at(ROTA_HERE, __VA_ARGS__)
ROTA_API void rota_scope_cancel_at(rota_at at, rota_scope *scope, const char *reason);

/* Did its own deadline refuse or end a call? Also after the end. */
ROTA_API bool rota_scope_expired(const rota_scope *scope);

/* Was it cancelled itself (not by its deadline)? Also after the end. */
ROTA_API bool rota_scope_cancelled(const rota_scope *scope);

/* A block in which nothing may suspend: the code in it relies on no other task running in between, and this keeps it
 * true when somebody changes it. An (S) call in it (or in what it calls) is reported and answers -EPERM. However the
 * block is left (break, return, goto), it ends. Outside of tasks it does nothing.
 *
 *     ROTA_NO_SUSPEND { if (list.n < MAX) list.items[list.n++] = item; }
 */
#define ROTA_NO_SUSPEND ROTA__NO_SUSPEND(__LINE__)
/* The line becomes part of the name, so that a block in a block hides nothing. */
#define ROTA__NO_SUSPEND(line) ROTA__NO_SUSPEND_ON(line)
#define ROTA__NO_SUSPEND_ON(line) \
    for (struct rota__no_suspend rota__block_##line __attribute__((cleanup(rota__no_suspend_end))) = \
             rota__no_suspend_begin(); rota__no_suspend_enter(ROTA_HERE, &rota__block_##line);)
struct rota__no_suspend {
    rota_scope scope;
    bool once;
};
ROTA_API struct rota__no_suspend rota__no_suspend_begin(void);
ROTA_API bool rota__no_suspend_enter(rota_at at, struct rota__no_suspend *block);
ROTA_API void rota__no_suspend_end(struct rota__no_suspend *block);

/* ---- groups ------------------------------------------------------------------------------------- */

typedef struct rota_group_options {
    bool keep_going;  /* a child's failure cancels nobody; it is reported unless it has a .result */
} rota_group_options;

/* A scope whose end waits for the tasks that were spawned into it (spawn option .group). */
struct rota_group {
    rota_scope scope;                    /* rota_scope_cancel, rota_scope_limit … work on it */
    struct rota_task *children_;         /* that run, or whose handle was asked for */
    struct rota__wait *waiter_;          /* the owner, in rota_group_end */
    size_t running_;
    intptr_t failure_;                   /* the first one, else 0 */
    bool cut_short_;                     /* a child obeyed its cancellation */
    rota_group_options options_;
};

/* What is begun must be ended, on every way out. A group left by an early return is noticed at the task's next call
 * that may suspend, and reported with the place where it began. With no child that still runs it is left then, as a
 * scope is; otherwise the process is ended, by a trap after the report: children would write to a frame that is gone. */
#define rota_group_begin(...) rota_group_begin_at(ROTA_HERE, __VA_ARGS__)
ROTA_API void rota_group_begin_at(rota_at at, rota_group *group, const rota_group_options *opt);

/* (S) A failed body (v) cancels the children, as a child that fails does (without keep_going; -ECANCELED of one that was
 * told to stop is no failure); from the first failure on the calls of the body are refused, too. Waits for all of them,
 * also when cancelled itself (the children are cancelled then). The first failure, else v. Like a scope, turns -ECANCELED
 * into -ETIMEDOUT when its own deadline was the cause.
 * NOTE: a body that has its value keeps it, as any call does that was completed: v is returned even where a cancellation or
 * a deadline, the group's or one around it, has cut children short; its next call is refused. Where the children's work is
 * what v stands for, ask them (.result), or rota_scope_expired(&group->scope) and rota_cancelled behind the end.
 * rota_gather does: it answers -ECANCELED. */
ROTA_API ROTA_CHECK intptr_t rota_group_end(rota_group *group, intptr_t v);

typedef struct rota_call {
    rota_fn *fn;
    void *arg;
    intptr_t result;
} rota_call;

typedef struct rota_gather_options {
    bool keep_going;  /* a failure cancels nobody; 0 is returned, the results tell */
} rota_gather_options;

/* (S) Runs all calls at once as tasks of a group of its own, and waits for all. The results are in place.
 * 0, or the first failure; -ECANCELED when the caller was cancelled; errors of rota_spawn (a call that was
 * never started has that error as its result). */
#define rota_gather(...) rota_gather_at(ROTA_HERE, __VA_ARGS__)
ROTA_API ROTA_CHECK int rota_gather_at(rota_at at, rota_call *calls, size_t n, const rota_gather_options *opt);

/* ---- descriptor calls --------------------------------------------------------------------------- */

/* The system call, with a task that waits instead of a thread that blocks. Whether fd is O_NONBLOCK does not matter,
 * and is not changed (rota_connect alone sets it for the length of its system call). Regular files, which nobody can
 * wait for, block the loop for as long as the disk takes. A pipe or terminal that is not O_NONBLOCK should not be
 * read by other processes at the same time: where the system has no call that never blocks, readiness is asked for
 * and then acted on.
 * Never -EINTR, never SIGPIPE. -EBADF also when the descriptor is closed by rota_close, or forgotten, while the task
 * waits; -EBUSY when another task waits for the same direction; -ENOMEM, -ENOSPC (nothing to remember it with); the
 * system call's own errors. */
ROTA_API ROTA_CHECK ssize_t rota_read(int fd, void *buf, size_t n);                          /* (S) */
ROTA_API ROTA_CHECK ssize_t rota_write(int fd, const void *buf, size_t n);                   /* (S) */
/* -EINVAL for iovcnt < 0 or > IOV_MAX. */
ROTA_API ROTA_CHECK ssize_t rota_readv(int fd, const struct iovec *iov, int iovcnt);         /* (S) */
ROTA_API ROTA_CHECK ssize_t rota_writev(int fd, const struct iovec *iov, int iovcnt);        /* (S) */

/* One try, never waiting: bytes transferred, or -EAGAIN. Never suspends and never refuses; also for callbacks of the
 * loop's thread. The loop remembers what the system refused, and answers -EAGAIN by itself until an event says
 * otherwise: so after it wait by rota_poll or a watcher, which see to the events, and do not poll by other means.
 * Errors as rota_read. */
ROTA_API ROTA_CHECK ssize_t rota_try_read(int fd, void *buf, size_t n);
ROTA_API ROTA_CHECK ssize_t rota_try_write(int fd, const void *buf, size_t n);

/* (S) Exactly n bytes. 0, or an error; -EPIPE at an early end of the data. *done (may be NULL): bytes
 * transferred, on every return. */
ROTA_API ROTA_CHECK int rota_read_exact(int fd, void *buf, size_t n, size_t *done);
ROTA_API ROTA_CHECK int rota_write_all(int fd, const void *buf, size_t n, size_t *done);     /* (S) */

/* (S) A new non-blocking, close-on-exec descriptor. Its options are the listener's: TCP_NODELAY, where rota_listen made it;
 * rota_set_nodelay sets it otherwise. Connections that died in the queue, and errors of the network
 * that are not the listener's, are skipped. With the descriptor table full: -EMFILE (-ENFILE) once; the next call on
 * that listener waits until the loop closes a descriptor, or 50 ms, before it tries. */
ROTA_API ROTA_CHECK int rota_accept(int fd, struct sockaddr *addr, socklen_t *len);

/* (S) connect(2) to its end; a connect that is under way already (an earlier call was cancelled) is waited for. fd
 * stays the caller's in any case. -EINVAL without an address. */
ROTA_API ROTA_CHECK int rota_connect(int fd, const struct sockaddr *addr, socklen_t len);

/* (S) Until fd is ready for one of events (ROTA_READ | ROTA_WRITE | ROTA_PRIORITY, else -EINVAL); those that it is
 * ready for, with ROTA_EOF (hung up) and ROTA_ERROR. */
ROTA_API ROTA_CHECK int rota_poll(int fd, unsigned events);

/* Closes fd; tasks that wait on it wake with -EBADF. Never suspends, never refuses: without a loop that could be
 * used it is close(2). Result of close(2). */
ROTA_API int rota_close(int fd);

/* Makes the loop forget fd, which stays open: before other code closes it or gives it away. -EBADF for fd < 0. */
ROTA_API int rota_forget(int fd);

/* ---- streams ------------------------------------------------------------------------------------ */

/* What carries a stream's bytes over its descriptor instead of the plain calls: TLS, say. ctx is what the stream was
 * opened with. The operations run on the loop's thread, in tasks and in callbacks: they may not suspend, nor call the
 * stream. Bytes go over the descriptor by rota_try_read and rota_try_write (or by calls that remember as they do what
 * the system refused). Where one answers -EAGAIN, *wants says for which direction of the descriptor it waits:
 * ROTA_READ, ROTA_WRITE or both, whichever comes first; it is then called again. Any other error ends that side. */
typedef struct rota_stream_transport {
    /* At most n > 0 bytes; 0 at the end of the data. Not -EPIPE for data that was cut off: it means "ended early" to
     * rota_stream_line. */
    ssize_t (*receive)(void *ctx, void *buf, size_t n, unsigned *wants);
    /* Takes at least one byte, of iov[0], iov[1]...; what it does not give to the system at once it keeps. It is
     * called when flush has just answered 0. -EPIPE after shutdown. */
    ssize_t (*send)(void *ctx, const struct iovec *iov, int n, unsigned *wants);
    /* Gives the system what was kept; 0 when nothing is. Called after each of the others. */
    int (*flush)(void *ctx, unsigned *wants);
    /* Ends the writing side; what that needs to send may be kept. Again: 0. */
    int (*shutdown)(void *ctx, unsigned *wants);
    /* The stream is being closed, its descriptor right after this. complete: nothing that was written is lost. */
    void (*close)(void *ctx, bool complete);
} rota_stream_transport;

typedef struct rota_stream_options {
    void *buffer;          /* input buffer, the caller's; NULL: allocated by the loop's allocator */
    size_t buffer_size;    /* its size, and so the limit of until and line; 0: 64 KiB */
    size_t high_water;     /* most bytes that rota_stream_write queues; 0: 64 KiB */
    const rota_stream_transport *transport;  /* must outlive the stream; NULL: the descriptor's own calls */
    void *transport_ctx;
} rota_stream_options;

/* Buffered bytes over a descriptor. One task may read while another writes; a second one in the same direction
 * gets -EBUSY. Every (S) call: -EINVAL for NULL, -EBADF for a stream that is not open or is closed meanwhile,
 * -EPERM from a task of another loop. */
typedef struct rota_stream {
    int fd;                       /* read only; -1 once closed */
    unsigned flags_;
    size_t taken;                 /* read only: bytes that the last write took, also when it failed */
    rota_loop *loop_;
    unsigned char *in_;           /* [in_first_, in_first_ + in_used_) has been received and not been asked for */
    size_t in_size_, in_first_, in_used_;
    unsigned char *out_;          /* ring: out_used_ bytes from out_first_ on wait to be written */
    size_t out_size_, out_first_, out_used_, high_water_;
    rota_watcher flusher_;        /* runs while bytes wait: they go out whatever the tasks do */
    const rota_stream_transport *transport_;       /* NULL: none */
    void *transport_ctx_;
    unsigned out_wants_;          /* directions of fd for which the transport waits to send; 0: it holds nothing */
    struct rota__stream_op *reading_, *writing_;   /* the calls under way, on the stacks of their tasks */
    int out_error_;               /* what ended the writing side, else 0 */
} rota_stream;

/* Takes fd over: rota_stream_close closes it. Never suspends. -EINVAL (a buffer without size), -EBADF, -ENOMEM
 * (fd stays the caller's, and so does transport_ctx). */
ROTA_API ROTA_CHECK int rota_stream_open(rota_stream *stream, int fd, const rota_stream_options *opt);

/* The transport_ctx of an open stream that has this transport, else NULL. */
ROTA_API void *rota_stream_transport_ctx(const rota_stream *stream, const rota_stream_transport *transport);

/* (S) At least 1 byte, at most n; 0 at the end of the data (or n == 0). */
ROTA_API ROTA_CHECK ssize_t rota_stream_read(rota_stream *stream, void *buf, size_t n);

/* (S) Exactly n. 0, or -EPIPE at an early end; *done (may be NULL) counts what was copied, always. */
ROTA_API ROTA_CHECK int rota_stream_read_exact(rota_stream *stream, void *buf, size_t n, size_t *done);

/* (S) Up to and including the separator. *data points into the stream's buffer until the next read call; the
 * length is returned. 0 at the end of the data with nothing left; -EPIPE when it ends before a separator;
 * -EMSGSIZE when the first limit bytes (0, or more than the buffer: its size) hold no whole separator; -EINVAL
 * for an empty one. On failure nothing is consumed, and *data and *left (may be NULL) show what there is;
 * *left is 0 on success. */
ROTA_API ROTA_CHECK ssize_t rota_stream_until(rota_stream *stream, const void *separator, size_t separator_n,
                                              size_t limit, const char **data, size_t *left);

/* (S) A line that ends in \n or \r\n, as rota_stream_until, with *data a string without its end of line (NULL on
 * failure) and the length of that string plus one returned: 1 for an empty line, 0 at the end of the data. A last
 * line without an end counts too. limit includes the end of line. Lines that are in the buffer already are returned
 * without waiting, and only every 64th call lets others run: rota_yield does so earlier. */
ROTA_API ROTA_CHECK ssize_t rota_stream_line(rota_stream *stream, size_t limit, const char **data);

/* (S) Writes what it can at once and queues the rest, at most high_water bytes; what does not fit is waited for.
 * 0 when all n bytes were taken; they go out from then on without anybody waiting. On an error stream->taken
 * bytes were taken. An error of an earlier write is returned by every later call; what was queued is dropped
 * then. -EPIPE after shutdown, -ENOMEM. */
ROTA_API ROTA_CHECK int rota_stream_write(rota_stream *stream, const void *buf, size_t n);

/* The same without waiting: how many of the n bytes were taken (also stream->taken), -EAGAIN when there was room for
 * none. Never suspends and never refuses; also for callbacks of the loop's thread. */
ROTA_API ROTA_CHECK ssize_t rota_stream_try_write(rota_stream *stream, const void *buf, size_t n);

/* (S) Until everything written has been given to the system. Cancelled, it goes out all the same. */
ROTA_API ROTA_CHECK int rota_stream_drain(rota_stream *stream);

/* (S) Drains, then ends the writing side; the peer reads an end of data, and reading goes on. -ENOTSOCK for what is no
 * socket, -ENOTCONN where the peer has reset the connection. */
ROTA_API ROTA_CHECK int rota_stream_shutdown(rota_stream *stream);

/* Closes the descriptor and frees the buffers; what is queued is dropped (drain or shutdown first). Tasks inside
 * wake with -EBADF, and touch the stream no more. -EBADF when it is not open, or closed already: a descriptor
 * that got the same number is never hit. */
ROTA_API int rota_stream_close(rota_stream *stream);

/* ---- TCP ---------------------------------------------------------------------------------------- */

typedef struct rota_listen_options {
    int backlog;        /* 0: 511 */
    bool reuse_port;    /* several listeners share the port */
    bool ipv6_only;     /* "::" does not take IPv4 */
} rota_listen_options;

typedef struct rota_dial_options {
    int64_t stagger;    /* head start of each address over the next; 0: 250 ms (RFC 8305, 5) */
    int family;         /* AF_INET, AF_INET6; 0: both */
    struct rota_dns *dns; /* asks for the name (rota/dns.h), and the first 32 addresses are tried; NULL: rota_resolve */
} rota_dial_options;

/* (S) A listening TCP socket, whose connections begin with TCP_NODELAY: what is written is sent at once (else a second
 * small write would wait for the peer's acknowledgement of the first, 40 ms often). host NULL or "::": all addresses (those of IPv4 alone where there is no IPv6); a name is
 * resolved, and its first address that works is taken. service NULL or "0": any port. Resolver errors as
 * rota_resolve; those of socket, bind and listen. */
ROTA_API ROTA_CHECK int rota_listen(const char *host, const char *service, const rota_listen_options *opt);

/* (S) A connected TCP socket, with TCP_NODELAY. All addresses are tried, IPv6 and IPv4 in turn, each with a
 * head start over the next; the first that connects wins, the others are closed. The error of the last one
 * that failed; resolver errors as rota_resolve; -EINVAL (no service, a negative stagger), -ENOMEM. Cancelled: all are
 * closed. */
ROTA_API ROTA_CHECK int rota_dial(const char *host, const char *service, const rota_dial_options *opt);

/* An address of a name. */
typedef struct rota_address {
    struct sockaddr_storage addr;
    socklen_t len;
} rota_address;

/* (S) Resolves on a thread of the loop's pool; numbers are parsed at once. service: a port, a name of one
 * (where TCP and UDP differ, of TCP), or NULL.
 * At most n addresses go to out, in getaddrinfo's order; how many is returned. Cancelled, it returns at once and the
 * thread finishes alone; closing the loop does not wait for it either. Names with bytes that no name has are refused,
 * not passed on.
 * -ENOENT (no such name, no address), -EHOSTUNREACH (the name servers do not answer, or refuse to), -EINVAL (bad
 * host, service, family, n == 0), -ENAMETOOLONG (host over 253 bytes), -EAGAIN (no thread could be made), -ENOMEM, the
 * system's error. */
ROTA_API ROTA_CHECK int rota_resolve(const char *host, const char *service, int family,
                                     rota_address *out, size_t n);

typedef struct rota_serve_options {
    rota_listen_options listen;
    unsigned max_clients;   /* accept waits while as many are served; 0: no limit */
    int64_t drain;          /* when cancelled: how long clients may go on; 0: they are cancelled at once */
    void (*listening)(int fd, void *arg);  /* called when the socket listens (to ask its port, say) */
    unsigned threads;       /* loops that serve, each on a thread of its own, the caller's being the first; 0: 1 */
    const rota_loop_options *loop;  /* for the loops of the other threads; NULL: defaults */
    void (*stopping)(void *arg);    /* called when no more clients are accepted, before they are drained: once on each
                                       loop that serves, on its thread. Must not suspend */
} rota_serve_options;

/* Serves one client. fd is closed by rota_serve when it returns, unless it closed it itself (rota_close,
 * rota_stream_close). A failure that it returns is reported as a task's that nobody awaits: what a peer does (-ECONNRESET,
 * -EPIPE, -ENOTCONN, -ETIMEDOUT) is mostly none, and then 0 is to be returned. */
typedef intptr_t rota_client_fn(int fd, void *arg);

/* (S) Listens and runs client(fd, arg) as a task for each connection, until cancelled or until the listener
 * fails: then it stops accepting, lets the clients end as opt.drain says, and returns that error. A client's
 * failure is reported and ends nobody else. Running out of descriptors or memory pauses accepting. -EINVAL (no
 * client, a negative drain, over 1024 threads), and errors of rota_listen and rota_spawn.
 *
 * With threads: client runs on the thread whose loop accepted the connection, and what it is made of stays there; only arg
 * is common to all, and must be fit for that (so must the allocator and the hook of opt.loop). Each loop has a listener on
 * the same address where the system spreads connections among them (SO_REUSEPORT on Linux), else all share one; each
 * serves its share of max_clients. What stops one stops all: they drain at the same time, and when rota_serve returns
 * their threads have ended. The first failure of any of them is returned; -EAGAIN, -ENOMEM, -EMFILE when they cannot all
 * be started. */
ROTA_API ROTA_CHECK int rota_serve(const char *host, const char *service, rota_client_fn *client, void *arg,
                                   const rota_serve_options *opt);

/* ---- signals ------------------------------------------------------------------------------------ */

#define ROTA_SIGNAL(n) ((uint64_t)1 << ((n) - 1))

/* A set of signals to wait for. Open keeps the loop alive. It is no clause of rota_select: for "until the work ends or
 * Ctrl-C", a task of its own waits for the signal and then cancels the scope that the work runs in; when the work has
 * ended, that task is cancelled (examples/crawl.c). */
typedef struct rota_signals {
    struct rota__signals_slot *slots_;
    struct rota__wait *waiter_;
    uint64_t mask_, pending_;
    rota_loop *loop_;
} rota_signals;

/* -EINVAL (an empty mask, a signal that cannot be caught), -ENOMEM. */
ROTA_API ROTA_CHECK int rota_signals_open(rota_signals *signals, uint64_t mask);

/* (S) The number of one that has arrived, lowest first. -EBUSY: another task waits on this set. */
ROTA_API ROTA_CHECK int rota_signals_wait(rota_signals *signals);

/* A waiter wakes with -ESHUTDOWN; handlers are put back. */
ROTA_API int rota_signals_close(rota_signals *signals);

#ifdef __cplusplus
}
#endif
#endif
