/* rota's small profile: the reactor, and tasks on it, for programs that have little memory and give all of it
 * themselves.
 *
 * The names, and what they do, are those of the full library, as far as they are here: a program that keeps to this
 * header compiles with either, but for the sizes in bytes that are named here and options
 * that are filled in by hand. What is different:
 *  - Memory is the caller's, from the loop to the last stack, of sizes that are known when the program is compiled
 *    (ROTA_LOOP_MEMORY); nothing is ever allocated. Each limit that is reached has an error, told where it arises.
 *  - One thread. Nothing asks who calls, nor whether the process has forked: a child must not use its parent's loop.
 *  - Linux, epoll. Timers have the resolution of epoll_wait: up to 1 ms late, never early.
 *  - No reports, no debug mode, no environment, no names, no reasons.
 *  - Stacks are not guarded: see rota_loop_options.stacks. A scope that is left without its end is not found out.
 *
 * Rules that hold for every call:
 *  - An error is a negative errno value in the returned value. errno itself is unspecified afterwards.
 *  - A NULL object is answered with -EINVAL, a closed loop with -ESHUTDOWN (but rota_loop_now, with its last time); an
 *    init of NULL does nothing. A loop that closes is no longer the current one: what would use that has none, -EINVAL.
 *  - Time is int64_t nanoseconds. Durations are relative; absolute times are those of CLOCK_MONOTONIC. Sums saturate at
 *    ROTA_FOREVER.
 *  - Objects are structs that the caller allocates. Starting one lends it to the loop; stopping is synchronous: after
 *    the return the memory may be reused. Fields whose name ends in _ are private.
 */
#ifndef ROTA_SMALL_H
#define ROTA_SMALL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "rota/config.h"

#if defined(ROTA_SMALL_CALLS) && ROTA_SMALL_CALLS
# include <sys/socket.h>
#endif

#ifndef ROTA_PROFILE_SMALL
# error "this is the header of the small profile, and rota/config.h is that of the full library"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
# define ROTA_CHECK __attribute__((warn_unused_result))
# define ROTA_API __attribute__((visibility("default")))
# define ROTA__ALIGNED __attribute__((aligned(16)))
/* Zeroed memory behind .bss: in it, it would lie between the program's few other variables and those of libc. */
# define ROTA__APART __attribute__((section(".sbss.rota")))
#else
# define ROTA_CHECK
# define ROTA_API
# define ROTA__ALIGNED
# define ROTA__APART
#endif

/* ---- results and time --------------------------------------------------------------------------- */

#define ROTA_NS ((int64_t)1)
#define ROTA_US (1000 * ROTA_NS)
#define ROTA_MS (1000 * ROTA_US)
#define ROTA_S  (1000 * ROTA_MS)
#define ROTA_FOREVER INT64_MAX

/* True when v is an error: a value in -4095..-1. Anything else, number or pointer, is a result. */
static inline bool rota_failed(intptr_t v) { return v >= -4095 && v < 0; }

/* A result that is a pointer. */
static inline void *rota_ptr(intptr_t v) { return (void *)v; }

/* ---- entries of queues -------------------------------------------------------------------------- */

typedef struct rota_loop rota_loop;
typedef struct rota_task rota_task;

/* Private. In a ring whose owner points to the last one; NULL: in none. */
struct rota__link {
    struct rota__link *next_;
};

/* An entry of the loop's ready queue. Private; tasks have one too. */
typedef struct rota_ready {
    struct rota__link link_;
    void (*run_)(struct rota_ready *self);
} rota_ready;

/* ---- soon-callbacks ----------------------------------------------------------------------------- */

/* fn(soon, arg) runs once, in step 1 of a turn, behind everything that is queued now. */
typedef struct rota_soon {
    rota_ready ready_;
    void (*fn)(struct rota_soon *soon, void *arg);  /* set by init */
    void *arg;                                      /* yours */
} rota_soon;

ROTA_API void rota_soon_init(rota_soon *soon, void (*fn)(rota_soon *soon, void *arg), void *arg);

/* Queues it. Never needs memory. -EALREADY when it is queued. fn may start it again. */
ROTA_API ROTA_CHECK int rota_soon_start(rota_loop *loop, rota_soon *soon);

/* Takes it out of the queue; 0 also when it was not there. Linear in the queue's length. */
ROTA_API int rota_soon_stop(rota_loop *loop, rota_soon *soon);

/* ---- timers ------------------------------------------------------------------------------------- */

/* fn(timer, arg) runs once in step 4 of the first turn whose time is not before the deadline; never early. Due timers
 * fire in the order of their deadlines, equal deadlines in the order in which they were started. A timer started in
 * step 4 fires in the next turn at the earliest, as if it were due after that step's time. 32 bytes, and 8 for its
 * entry in the loop's memory. */
typedef struct rota_timer {
    int64_t deadline_;
    uint32_t order_, place_;    /* sequence number; place in the heap, from 1, or 0: not started */
    void (*fn)(struct rota_timer *timer, void *arg);  /* set by init */
    void *arg;                                        /* yours */
} rota_timer;

ROTA_API void rota_timer_init(rota_timer *timer, void (*fn)(rota_timer *timer, void *arg), void *arg);

/* Starts, or moves a started one: it fires ns from now (<= 0: at the next chance). -ENOMEM: as many are started, with
 * the tasks that live, as rota_loop_options.n_timers says. Moving a started one never fails. */
ROTA_API ROTA_CHECK int rota_timer_start(rota_loop *loop, rota_timer *timer, int64_t ns);

/* The same with an absolute time of the loop's clock. ROTA_FOREVER is a deadline that never comes. */
ROTA_API ROTA_CHECK int rota_timer_start_at(rota_loop *loop, rota_timer *timer, int64_t when);

/* 0 also when it was not started. May be called from any callback, for any timer. */
ROTA_API int rota_timer_stop(rota_loop *loop, rota_timer *timer);

static inline bool rota_timer_active(const rota_timer *timer) { return timer->place_ != 0; }

/* ---- descriptor watchers ------------------------------------------------------------------------ */

/* (Numbers are those of epoll and of poll(2), not the full library's.) */
enum {
    ROTA_READ = 1,     /* interest and readiness: a read will not block */
    ROTA_PRIORITY = 2, /* interest and readiness: urgent data */
    ROTA_WRITE = 4,    /* interest and readiness: a write will not block */
    ROTA_ERROR = 8,    /* readiness only: an error waits to be fetched */
    ROTA_EOF = 16,     /* readiness only: the peer sends no more (RDHUP or HUP) */
    ROTA_CLOSED = 32   /* readiness only: rota_fd_close or rota_fd_forget; the watcher is stopped */
};

/* fn(watcher, ready, arg) runs in step 3 of a turn, when readiness *arrives* (edge-triggered): read or write until
 * -EAGAIN, or say rota_watcher_again. A descriptor has at most one watcher for reading (READ, PRIORITY) and one for
 * writing; one watcher may be both. 24 bytes. */
typedef struct rota_watcher {
    void (*fn)(struct rota_watcher *watcher, unsigned ready, void *arg);
    void *arg;                   /* yours */
    int fd;                      /* read only after init */
    uint16_t events;             /* read only after init: ROTA_READ | ROTA_WRITE | ROTA_PRIORITY */
    uint8_t state_;
} rota_watcher;

ROTA_API void rota_watcher_init(rota_watcher *watcher, int fd, unsigned events,
                                void (*fn)(rota_watcher *watcher, unsigned ready, void *arg), void *arg);

/* Starts watching. Readiness that is already there is delivered too. The descriptor's blocking mode is left as it is.
 * -EMFILE (the number is beyond the loop's descriptor table), -EBADF, -EBUSY (another watcher has that direction),
 * -EALREADY, -EINVAL (no events), -EPERM (a regular file, which cannot be watched), -ENOMEM, -ENOSPC (the kernel's). */
ROTA_API ROTA_CHECK int rota_watcher_start(rota_loop *loop, rota_watcher *watcher);

/* 0 also when it was not started. May be called from any callback, for any watcher. */
ROTA_API int rota_watcher_stop(rota_loop *loop, rota_watcher *watcher);

/* Asks for another call of fn in the next turn, with no new event, if the descriptor is ready then: for callbacks that
 * stop before -EAGAIN, to be fair to others. (The full library calls it in any case. What a program has read and not
 * yet looked at is no readiness: use a soon-callback.) A system call. -EINVAL when it is not started; errors as start,
 * and then it is stopped. */
ROTA_API ROTA_CHECK int rota_watcher_again(rota_loop *loop, rota_watcher *watcher);

/* Closes fd. Before that its watchers are stopped and called with ROTA_CLOSED; late events of it are dropped. This, or
 * rota_fd_forget, is how a descriptor that was ever watched must go: nothing finds out about those that go otherwise.
 * Until all are told, to start one on fd, or to close fd once more, is -EBADF. Result of close(2); the number is free in
 * any case, except for -EBADF. */
ROTA_API int rota_fd_close(rota_loop *loop, int fd);

/* Stops watching fd, which stays open: it is about to be closed or used by other code. Its watchers are called with
 * ROTA_CLOSED, and may start again then. -EBADF for fd < 0. */
ROTA_API int rota_fd_forget(rota_loop *loop, int fd);

/* ---- the loop and its memory -------------------------------------------------------------------- */

/* What is known of a descriptor: private. 24 bytes for each that the table has room for. */
typedef struct rota_fd_slot {
    rota_watcher *side_[2];      /* who only reads; who writes, and may read, too */
    uint32_t generation_;        /* tells events of a descriptor from those of the one that had its number before */
    bool registered_;            /* the kernel was told */
    int8_t closing_;             /* -1 while its watchers are told that it is about to be closed, else 0 */
} rota_fd_slot;

enum { ROTA_STACK_MIN = 1024 };

/* The memory of a loop. It must outlive the loop, and after rota_loop_free it can serve another one. */
typedef struct rota_loop_options {
    rota_loop *loop;       /* the object itself */
    rota_fd_slot *fds;     /* all-zero bytes at first (static memory is): a slot for each descriptor number, from 0. */
    unsigned n_fds;        /* A number beyond them gives -EMFILE */
    unsigned n_timers;     /* entries: timers that are started and tasks that live, together; more give -ENOMEM */
    rota_timer **timers;
    /* For tasks: n_tasks stacks of stack_size bytes, one after the other, aligned to 16, and each a multiple of 16 of
     * at least ROTA_STACK_MIN. The last one is used first. A task's control block (ROTA_TASK_BYTES) lies at the top of
     * its stack; so does its copied argument. More tasks than stacks give -EAGAIN. There is no guard below a stack but
     * a canary, which is looked at whenever its task stops: where it was overwritten memory is no longer sound, and the
     * process is ended there and then by a trap. That is late: choose sizes with room. A signal handler runs on the
     * stack that it finds, and needs some 2 KiB there (5 KiB on aarch64): block signals, or use sigaltstack(2). Nor is there
     * room for the lazy binding of a shared libc, which saves all vector registers (2.5 KiB with AVX-512): link with
     * -Wl,-z,now, as rota.pc says, or statically. */
    void *stacks;
    size_t stack_size;
    unsigned n_tasks;      /* 0: no tasks (with the full library: no limit) */
} rota_loop_options;

/* Private, but of a known size: 128 bytes with pointers of 8. */
struct rota_loop {
    /* First, so that making a loop is one copy and zeroing the rest. What the options say, but for what is counted down:
     * n_timers, the entries that are promised to nobody (to no started timer, to no task that lives), and n_tasks, the
     * stacks that were never used. */
    rota_loop_options memory_;
    struct rota__link *ready_;         /* the last one of the queue; NULL: it is empty */
    int64_t now_;                      /* of this turn */
    int64_t floor_;                    /* the first deadline that a timer can get: in step 4, after its time */
    unsigned timers_, watchers_;       /* that are started */
    uint32_t sequence_;                /* of timers: how many were started */
    int epoll_;
    uint8_t closed_;                   /* ESHUTDOWN, once it is closed */
    bool stop_;                        /* at the end of this turn */
    bool turns_;                       /* it is in a turn, also while that closes another loop, which then turns */
    uint8_t shut_;                     /* ROTA__SHUT from the beginning of its closing on: for its tasks' levels */
    unsigned live_;                    /* tasks that have not ended */
    void *context_;                    /* where the loop's own stack stands while a task runs */
    struct rota__link *spare_;         /* control blocks whose stacks are free again, one behind the other */
    void (*drain_)(rota_loop *loop);   /* ends the tasks; NULL until there was one */
};

/* All of it as static memory, and the options that say so, under the name `name`:
 *
 *     ROTA_LOOP_MEMORY(memory, 64, 4, 32, 2048);     64 descriptors, 4 timers besides 32 tasks with 2 KiB each (the main
 *                                                    task of rota_run is one of them)
 *     ... rota_run(program, NULL, NULL, &memory)
 *
 * What is used first lies together, so that a program that has room for much and uses little touches few pages: the
 * loop, the timers if they are all there is, and the first descriptors; the stacks, which are taken from the last one
 * down, and the timers that they have. */
#define ROTA_LOOP_MEMORY(name, fds, timers, tasks, stack_size) \
    static struct { \
        rota_loop loop_; \
        rota_timer *timers_[((tasks) == 0) * (timers) + 1]; \
        rota_fd_slot fds_[(fds) + ((fds) == 0)]; \
        ROTA__ALIGNED unsigned char stacks_[(tasks) * (stack_size) + ((tasks) * (stack_size) == 0)]; \
        rota_timer *more_timers_[((tasks) != 0) * ((timers) + (tasks)) + 1]; \
    } name##_bytes_ ROTA__APART; \
    static const rota_loop_options name = { \
        &name##_bytes_.loop_, name##_bytes_.fds_, (fds), (timers) + (tasks), \
        (tasks) == 0 ? name##_bytes_.timers_ : name##_bytes_.more_timers_, \
        name##_bytes_.stacks_, (stack_size), (tasks) }

/* Makes opt->loop a loop; it becomes the current one if there is none. -EINVAL: no options, or NULL for the object,
 * the descriptors or the timers; how many these are, and the stacks, is looked at where they are needed. -EMFILE, -ENFILE,
 * -ENOMEM: the kernel's. *loop is NULL then. */
#define rota_loop_new ROTA_LAYOUT(rota_loop_new)
ROTA_API ROTA_CHECK int rota_loop_new(rota_loop **loop, const rota_loop_options *opt);

/* Turns until rota_loop_stop, or until nothing is left that could make anything happen: no ready work, timer or
 * watcher. 0 either way; but -EDEADLK when tasks are left then, which nothing can ever wake. -EBUSY inside a turn of any
 * loop; the error of epoll_wait. The loop can be run again. */
ROTA_API ROTA_CHECK int rota_loop_run(rota_loop *loop);

/* One turn; waits at most wait_ns for something to happen (0: only what is ready; ROTA_FOREVER), and never over a day.
 * 1 when something is left that could make something happen, 0 when not; errors as rota_loop_run. */
ROTA_API ROTA_CHECK int rota_loop_turn(rota_loop *loop, int64_t wait_ns);

/* Makes rota_loop_run return at the end of this turn (or of its first one). */
ROTA_API int rota_loop_stop(rota_loop *loop);

/* Closes: cancels the tasks that are left and lets them end, then gives back the epoll descriptor. Tasks that cannot
 * end, because nothing wakes them, are dropped as they are. Watchers, timers and soon-callbacks that are started are
 * not called any more; before they serve another loop they must be initialised again. From then on every call answers
 * -ESHUTDOWN. -EBUSY inside a turn of it; closing twice is 0. */
ROTA_API int rota_loop_close(rota_loop *loop);

/* Closes if need be; the memory is the caller's again. NULL is fine. -EBUSY inside a turn. */
ROTA_API int rota_loop_free(rota_loop *loop);

/* The loop whose turn runs, else the one set as current; NULL when there is none. */
ROTA_API rota_loop *rota_loop_current(void);

/* Makes loop (or none: NULL) what rota_loop_current answers outside a turn. -EBUSY inside one. */
ROTA_API ROTA_CHECK int rota_loop_set_current(rota_loop *loop);

/* The clock, read now. */
ROTA_API int64_t rota_now(void);

/* The time at which this turn's timers are judged, without reading the clock. -EINVAL for NULL. */
ROTA_API int64_t rota_loop_now(const rota_loop *loop);

#if ROTA_SMALL_TASKS
/* ---- tasks -------------------------------------------------------------------------------------- */

/* (S) marks a call that may suspend its task. Between such calls no other task of the loop runs. Every (S) call answers
 * -ECANCELED, before it tries anything, while the task is inside a cancelled or expired scope, and -EPERM outside a
 * task (not those that run or end a body). Calls without a loop argument work on the current loop: -EINVAL without
 * one. */

/* Entry of a task, body of a scope. Returns a result, or a negative errno. */
typedef intptr_t rota_fn(void *arg);

/* A place in a source: not known here. */
typedef struct rota_at {
    const char *file;
    int line;
} rota_at;

/* Bytes of a task's stack that are its control block. */
enum { ROTA_TASK_BYTES = 128 };

typedef struct rota_spawn_options {
    const char *name;   /* for reports of the full library; not looked at here */
    intptr_t *result;   /* written when the task ends; must outlive it */
    int64_t timeout;    /* the task's own deadline, from now (< 0: it has passed); it then ends -ETIMEDOUT. 0: none */
    size_t arg_size;    /* > 0: the entry gets a copy of arg_size bytes at arg, aligned to 16, on its stack */
} rota_spawn_options;

/* Starts fn(arg) as a task of the current loop, behind everything that is queued. Never suspends. task NULL detaches:
 * the task goes when it ends. Else the handle must be released or joined; until then its stack serves no other task. A
 * handle goes with its loop (rota_loop_free, the end of rota_run): once the memory is used again it must not be.
 * On failure *task is NULL, fn never runs, and arg stays the caller's; after success fn always runs, even when the task
 * is cancelled before its first step.
 * -EINVAL (no fn, no loop, arg_size too large for the stack; stacks that are not as they must be), -EAGAIN (all stacks
 * are in use), -ENOMEM (no entry for its timer: see rota_loop_options.n_timers), -ESHUTDOWN. */
ROTA_API ROTA_CHECK int rota_spawn(rota_task **task, rota_fn *fn, void *arg, const rota_spawn_options *opt);

/* (S) Waits until task has ended; any number of tasks, any number of times. Two channels: returned is the fate of my
 * wait (0, or an error), *result the outcome (or the error of my wait). result NULL merges them: a failed outcome is
 * returned. Being cancelled while waiting does nothing to task. -EDEADLK (the caller itself), -ESRCH (stale handle). */
ROTA_API ROTA_CHECK int rota_await(rota_task *task, intptr_t *result);

/* (S) rota_await, then rota_task_release, on every return. */
ROTA_API ROTA_CHECK int rota_join(rota_task *task, intptr_t *result);

/* Drops the handle, in any state; a task that runs goes on. NULL is fine. After it the handle must not be
 * used: once the task has ended it is stale, and calls with it answer -ESRCH until its stack serves another task. */
ROTA_API void rota_task_release(rota_task *task);

/* Cancels the task's root scope: its calls refuse, the one it waits in returns -ECANCELED. reason: not kept.
 * 0, -ESRCH (it has ended or gone). */
ROTA_API int rota_cancel(rota_task *task, const char *reason);

/* Withdraws a rota_cancel of the calling task; true when there was one. That of the loop that closes stays. */
ROTA_API bool rota_uncancel(void);

/* True when the caller's calls refuse: that counts as a refusal of the deadline that has passed. *reason and *at (either
 * may be NULL) are not known here: NULL. */
ROTA_API bool rota_cancelled(const char **reason, rota_at *at);

/* The running task; NULL outside of tasks. */
ROTA_API rota_task *rota_self(void);

ROTA_API bool rota_task_done(const rota_task *task);

/* The outcome, without waiting: 0 and *result, -EAGAIN while it runs, -ESRCH. */
ROTA_API ROTA_CHECK int rota_task_result(const rota_task *task, intptr_t *result);

/* Tasks of the loop that have not ended. */
ROTA_API size_t rota_loop_tasks(const rota_loop *loop);

/* (S) Never less than ns; ns <= 0 only yields. */
ROTA_API ROTA_CHECK int rota_sleep(int64_t ns);

/* (S) Until an absolute time of the loop's clock. */
ROTA_API ROTA_CHECK int rota_sleep_until(int64_t when);

/* (S) Lets everything run that is queued now. */
ROTA_API ROTA_CHECK int rota_yield(void);

/* For main(): makes a loop of the memory that opt names, runs fn(arg) as its first task until it ends, cancels what is
 * left and lets it end, closes. Two channels, as rota_await. An error of rota_loop_new or rota_spawn, -EBUSY inside a
 * turn, or -EDEADLK when nothing can ever wake the tasks that are left. */
#define rota_run ROTA_LAYOUT(rota_run)
ROTA_API ROTA_CHECK int rota_run(rota_fn *fn, void *arg, intptr_t *result, const rota_loop_options *opt);

/* Runs the loop until task has ended. Two channels; -EDEADLK as rota_run, -ECANCELED when the loop was stopped first,
 * and the errors of rota_loop_run. Not a suspension point: for use outside of tasks. */
ROTA_API ROTA_CHECK int rota_loop_run_until(rota_loop *loop, rota_task *task, intptr_t *result);

/* ---- futures ------------------------------------------------------------------------------------ */

/* A place for a value that comes later: how a callback wakes tasks. Set once; any number of tasks wait, and wake in the
 * order in which they came. All-zero bytes are a valid pending future. 16 bytes. */
typedef struct rota_future {
    struct rota__link *waiters_;   /* the last one of a ring; NULL: pending, and nobody waits; 1: set; 2: closed */
    intptr_t value_;
} rota_future;

/* Makes it pending. For memory that may hold a future that was closed, or is not zero. */
ROTA_API void rota_future_init(rota_future *future);

/* Sets value (or an error: a negative errno), and wakes the waiters. -EALREADY: it was set; -ESHUTDOWN: closed. */
ROTA_API ROTA_CHECK int rota_future_set(rota_future *future, intptr_t value);

/* (S) Waits until it is set. Two channels, as rota_await. -ESHUTDOWN: closed under the waiter. */
ROTA_API ROTA_CHECK int rota_future_await(rota_future *future, intptr_t *result);

ROTA_API bool rota_future_done(const rota_future *future);

/* The outcome, without waiting: 0 and *value, -EAGAIN while it is pending, -ESHUTDOWN. */
ROTA_API ROTA_CHECK int rota_future_value(const rota_future *future, intptr_t *value);

/* Ends it: waiters wake with -ESHUTDOWN. After that the memory may go. */
ROTA_API int rota_future_close(rota_future *future);

/* ---- scopes ------------------------------------------------------------------------------------- */

/* What is common to a scope and to the root of a task: private. */
struct rota__level {
    struct rota__level *outer_;  /* NULL: it is a root */
    int64_t deadline_;           /* its own, absolute */
    unsigned flags_;
};

#if ROTA_SMALL_SCOPES
/* What cancellation belongs to. Inside a cancelled or expired scope every (S) call answers -ECANCELED until the scope
 * is left. The function forms cannot be left half-way; a scope that was begun must be ended, innermost first, before
 * its memory goes. (The full library finds those that were not, and mends it; here the task goes on with a scope that
 * is gone.) */

/* (S) Calls fn(arg) here, on this stack, with a deadline limit from now (<= 0: it has already passed). fn's value; but
 * -ECANCELED becomes -ETIMEDOUT when this deadline refused or ended a call in it. */
ROTA_API ROTA_CHECK intptr_t rota_timeout(int64_t limit, rota_fn *fn, void *arg);

/* (S) The same, with cancellation from outside hidden from fn: for cleanup that must wait. bound: a deadline for it. */
ROTA_API ROTA_CHECK intptr_t rota_shield(int64_t bound, rota_fn *fn, void *arg);

typedef struct rota_scope {
    struct rota__level level_;
    rota_task *task_;            /* whose scope; NULL: left */
} rota_scope;

/* Begin never fails and never suspends; outside of a task it does nothing, and so does the end. scope: something to
 * cancel; timeout: with a deadline from now; shield: hides cancellation from outside. */
ROTA_API void rota_scope_begin(rota_scope *scope);
ROTA_API void rota_timeout_begin(rota_scope *scope, int64_t limit);
ROTA_API void rota_shield_begin(rota_scope *scope, int64_t bound);

/* The only way out. Gives back v; but -ECANCELED becomes -ETIMEDOUT when this scope's own deadline refused or ended a
 * call. Leaves the scopes inside it too. */
ROTA_API ROTA_CHECK intptr_t rota_scope_end(rota_scope *scope, intptr_t v);

/* A new deadline, from now; ROTA_FOREVER takes it away. A scope that has expired stays so. Any task of the loop. */
ROTA_API void rota_scope_limit(rota_scope *scope, int64_t limit);

/* Cancels everything inside. reason: not kept. Any task of the loop. */
ROTA_API void rota_scope_cancel(rota_scope *scope, const char *reason);

/* Did its own deadline refuse or end a call? Also after the end. */
ROTA_API bool rota_scope_expired(const rota_scope *scope);

/* Was it cancelled itself (not by its deadline)? Also after the end. */
ROTA_API bool rota_scope_cancelled(const rota_scope *scope);
#endif

#if ROTA_SMALL_CALLS
/* ---- descriptor calls --------------------------------------------------------------------------- */

/* The system call, with a task that waits instead of a thread that blocks. Whether fd is O_NONBLOCK does not matter,
 * and is not changed (rota_connect alone sets it for the length of its system call). What is no socket is asked for its
 * readiness before each call, and written in pieces of at most PIPE_BUF bytes. No SIGPIPE from sockets; writing to a
 * pipe that nobody reads raises it, unless the program ignores it. Never -EINTR.
 * -EBADF also when the descriptor is closed by rota_close, or forgotten, while the task waits; -EMFILE: it must be
 * waited for, and its number is beyond the loop's descriptor table; -EBUSY when another task waits for the same
 * direction;
 * -ENOMEM, -ENOSPC (the kernel's); the system call's own errors. */
ROTA_API ROTA_CHECK ssize_t rota_read(int fd, void *buf, size_t n);                          /* (S) */
ROTA_API ROTA_CHECK ssize_t rota_write(int fd, const void *buf, size_t n);                   /* (S) */

/* (S) Exactly n bytes. 0, or an error; -EPIPE at an early end of the data. *done (may be NULL): bytes transferred, on
 * every return. */
ROTA_API ROTA_CHECK int rota_read_exact(int fd, void *buf, size_t n, size_t *done);
ROTA_API ROTA_CHECK int rota_write_all(int fd, const void *buf, size_t n, size_t *done);     /* (S) */

/* (S) A new non-blocking, close-on-exec descriptor. Connections that died in the queue, and errors of the network that
 * are not the listener's, are skipped. With the descriptor table of the process full: -EMFILE (-ENFILE); with that of
 * the loop full the connection is closed, and -EMFILE too; either after a pause of 50 ms, so that who goes on does not
 * spin. A blocking descriptor that is no listening socket waits for ever (the full library asks first). */
ROTA_API ROTA_CHECK int rota_accept(int fd, struct sockaddr *addr, socklen_t *len);

/* (S) connect(2) to its end; a connect that is under way already (an earlier call was cancelled) is waited for. fd
 * stays the caller's in any case. -EINVAL without an address. */
ROTA_API ROTA_CHECK int rota_connect(int fd, const struct sockaddr *addr, socklen_t len);

/* (S) Until fd is ready for one of events (ROTA_READ | ROTA_WRITE | ROTA_PRIORITY, else -EINVAL); those that it is
 * ready for, with ROTA_EOF (hung up) and ROTA_ERROR. */
ROTA_API ROTA_CHECK int rota_poll(int fd, unsigned events);

/* Closes fd; tasks that wait on it wake with -EBADF. Never suspends, never refuses: without a loop that could be used
 * it is close(2). Result of close(2). */
ROTA_API int rota_close(int fd);

/* Makes the loop forget fd, which stays open: before other code closes it or gives it away. -EBADF for fd < 0. */
ROTA_API int rota_forget(int fd);

typedef struct rota_listen_options {
    int backlog;        /* 0: 511 */
    bool reuse_port;    /* several listeners share the port */
    bool ipv6_only;     /* "::" does not take IPv4 */
} rota_listen_options;

/* (S, as in the full library, where names are resolved) A listening TCP socket. host: an address of IPv4 or IPv6 in
 * numbers, NULL or "::" for all (those of IPv4 alone where there is no IPv6); a name is -ENOENT. service: a port in
 * decimal, else -EINVAL; NULL or "0": any. Connections begin with TCP_NODELAY. Errors of socket, bind and listen. */
ROTA_API ROTA_CHECK int rota_listen(const char *host, const char *service, const rota_listen_options *opt);
#endif
#endif

#ifdef __cplusplus
}
#endif
#endif
