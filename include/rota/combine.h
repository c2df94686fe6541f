/* Combining: waiting for several things, racing, selecting, chaining; values that go with a task; callbacks by time.
 * Arrays, never varargs. */
#ifndef ROTA_COMBINE_H
#define ROTA_COMBINE_H

#include "rota/coro.h"
#include "rota/sync.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- waiting for tasks that somebody else owns -------------------------------------------------- */

enum { ROTA_FIRST, ROTA_FIRST_ERROR, ROTA_ALL };

/* (S) Waits until one, one that failed, or all of the tasks have ended; or until limit has passed (ROTA_FOREVER; that
 * is no error: fewer are done then; <= 0 lets run what is ready, and looks). Cancels nobody, and looks at no outcome:
 * a task that failed is still reported if nobody else asks. -ECANCELED of a task that was cancelled is no failure.
 * NULL entries are skipped, a task that stands there twice counts once. *done (may be NULL): how many have ended,
 * also with -ECANCELED while waiting; else 0.
 * 0; -EINVAL (no tasks), -ESRCH, -EDEADLK (the caller is one of them), -EPERM (a task of another loop), -ENOMEM (more
 * than 8 tasks need memory), -ECANCELED. */
ROTA_API ROTA_CHECK int rota_wait(rota_task *const *tasks, size_t n, int until, int64_t limit, size_t *done);

/* Tasks in the order in which they end:
 *
 *     rota_as_completed it;
 *     rota_as_completed_begin(&it, tasks, n, slots);
 *     while ((rc = rota_as_completed_next(&it, &task, &result)) == 1) ...
 *     rota_as_completed_end(&it);
 */
typedef struct rota_as_completed {
    struct rota_as_completed_slot *slots_;
    size_t n_, pending_;
    struct rota_as_completed_slot *first_, *last_;  /* have ended, not yet given out */
    struct rota__wait *waiters_;
} rota_as_completed;

typedef struct rota_as_completed_slot {
    rota_done done_;
    rota_as_completed *of_;
    rota_task *task_;
    struct rota_as_completed_slot *next_;
} rota_as_completed_slot;

/* slots: memory for n, the caller's until the end. NULL entries are skipped, a task that stands there twice is given
 * out once. -EINVAL, -ESRCH, -EDEADLK (the caller is one of them), -EPERM: nothing is begun then. */
ROTA_API ROTA_CHECK int rota_as_completed_begin(rota_as_completed *it, rota_task *const *tasks, size_t n,
                                                rota_as_completed_slot *slots);

/* (S) 1 and the next one that has ended, with its outcome (task, result: may be NULL); 0 when all have been given
 * out. Timeouts by scope: a wait that is cut short loses none. Several tasks may take from one iteration.
 * -ESHUTDOWN: ended meanwhile. */
ROTA_API ROTA_CHECK int rota_as_completed_next(rota_as_completed *it, rota_task **task, intptr_t *result);

/* At any time; the tasks run on. */
ROTA_API void rota_as_completed_end(rota_as_completed *it);

/* ---- running several ---------------------------------------------------------------------------- */

/* (S) fn over n elements of an array, stride bytes apart, all at once; results[i] (results may be NULL) is the outcome
 * of element i. Otherwise as rota_gather; with keep_going and no results, failures are reported, and an error of
 * rota_spawn is returned. */
#define rota_gather_map(...) rota_gather_map_at(ROTA_HERE, __VA_ARGS__)
ROTA_API ROTA_CHECK int rota_gather_map_at(rota_at at, rota_fn *fn, void *array, size_t n, size_t stride,
                                           intptr_t *results, const rota_gather_options *opt);

/* (S) Runs all calls at once as tasks; the first that ends without failing wins, the others are cancelled and waited
 * for. *winner (may be NULL) is its index. calls[i].result tells how each ended: -ECANCELED for losers that gave up,
 * their own outcome for those that had something and completed all the same. 0; when all failed, the first failure
 * (*winner is its index); -ECANCELED when the caller was cancelled and nobody won; -EINVAL (no calls), errors of
 * rota_spawn (those started are cancelled and waited for; the result of the others is that error). */
#define rota_race(...) rota_race_at(ROTA_HERE, __VA_ARGS__)
ROTA_API ROTA_CHECK int rota_race_at(rota_at at, rota_call *calls, size_t n, size_t *winner);

/* ---- select ------------------------------------------------------------------------------------- */

enum {
    ROTA_SELECT_GET,      /* object: rota_queue, item: where it goes */
    ROTA_SELECT_PUT,      /* object: rota_queue, item: what is put */
    ROTA_SELECT_ACQUIRE,  /* object: rota_sem */
    ROTA_SELECT_LOCK,     /* object: rota_mutex */
    ROTA_SELECT_EVENT,    /* object: rota_event */
    ROTA_SELECT_FUTURE,   /* object: rota_future (or rota_task_future); item: intptr_t for the outcome, or NULL */
    ROTA_SELECT_FD        /* fd, events: as rota_poll */
};

/* One thing to wait for. Only result and wait_ are written, so an array of clauses serves a loop. */
typedef struct rota_clause {
    int kind;             /* ROTA_SELECT_* */
    void *object;
    void *item;
    int fd;
    unsigned events;      /* ROTA_SELECT_FD: ROTA_READ ... */
    int result;           /* of the winner, what its own call would have given: 0 (ROTA_SELECT_FD: what fd is ready
                             for), or an error */
    int64_t wait_[11];
} rota_clause;

/* (S) Waits for the first of n clauses, and does that one's effect and no other's: exactly one item is moved, permit
 * taken, mutex locked. Of several that could go at once the first in the array wins. Its index is returned; its
 * .result says how it went. A call that would fail can go: -ESHUTDOWN of a closed queue or future, -EDEADLK of a mutex
 * that the caller holds, -EBADF and -EBUSY of a descriptor, the failure of a future when item is NULL.
 * -EINVAL, -ECANCELED: nothing was done.
 * What has no clause, such as a signal or a stream, is waited for by a task of its own, whose rota_task_future is one;
 * or use rota_race, where the first to succeed ends the others. */
ROTA_API ROTA_CHECK int rota_select(rota_clause *clauses, size_t n);

/* The same without waiting: -EAGAIN when none can go. Also outside of tasks (where a mutex gives -EPERM). */
ROTA_API ROTA_CHECK int rota_try_select(rota_clause *clauses, size_t n);

/* ---- chaining ----------------------------------------------------------------------------------- */

/* A future whose value is made from another one's: when `from` has been set, fn(value, arg) runs on the loop's stack
 * and what it returns becomes the value of next->future; an error in `from` goes straight through unless on_error is
 * set, which then gets it instead. A `from` that is closed counts as the error -ESHUTDOWN. */
typedef struct rota_then {
    rota_future future;    /* await or chain this one */
    rota_done done_;
    intptr_t (*fn_)(intptr_t value, void *arg);
    intptr_t (*on_error_)(intptr_t error, void *arg);
    void *arg_;
} rota_then;

/* next needs no initialisation, and lives until its future is set, or rota_then_cancel. fn or on_error may be NULL:
 * that side goes through. -EINVAL, -ESHUTDOWN (`from` is closed already). */
ROTA_API ROTA_CHECK int rota_future_then(rota_future *from, rota_then *next, intptr_t (*fn)(intptr_t value, void *arg),
                                         intptr_t (*on_error)(intptr_t error, void *arg), void *arg);

/* Takes it back: neither function runs any more, and next->future is closed (if it is not set). */
ROTA_API void rota_then_cancel(rota_then *next);

/* ---- values that go with a task ----------------------------------------------------------------- */

/* A task-local variable. A task sees what it set itself, else what its spawner saw when it was spawned. */
typedef struct rota_local {
    void *unset;           /* the value where nobody has set it */
} rota_local;

/* The value for the running task; outside of tasks, unset. */
ROTA_API void *rota_local_get(const rota_local *local);

/* From here on, for this task and for those that it spawns (what value points to must live as long as any of them).
 * Each setting is kept until it is taken back or the task, and those that inherited it, have ended: reset in loops.
 * -ENOMEM, -EPERM outside of tasks, -EINVAL. */
ROTA_API ROTA_CHECK int rota_local_set(const rota_local *local, void *value);

/* Takes back the caller's latest setting, which must be one of this local: -EINVAL otherwise, and when the value was
 * inherited. The end of a task takes back what is left. Tasks spawned meanwhile keep the value. -EPERM outside of
 * tasks. */
ROTA_API int rota_local_reset(const rota_local *local);

/* ---- callbacks by time, and from other threads --------------------------------------------------- */

/* fn(arg), once, on the loop's stack: behind everything queued, after ns, or at a time of the loop's clock. For when
 * no struct is at hand: allocated by the loop, and not to be taken back (rota_soon, rota_timer are for that). When the
 * loop closes first, fn never runs. -EINVAL (no fn, no loop), -ENOMEM, -ESHUTDOWN. */
ROTA_API ROTA_CHECK int rota_call_soon(void (*fn)(void *arg), void *arg);
ROTA_API ROTA_CHECK int rota_call_later(int64_t ns, void (*fn)(void *arg), void *arg);
ROTA_API ROTA_CHECK int rota_call_at(int64_t when, void (*fn)(void *arg), void *arg);

/* The same from any thread; ns counts from when the loop gets it. Those of one thread stay in order. -EINVAL, -ENOMEM,
 * -ESHUTDOWN (fn never runs). */
ROTA_API ROTA_CHECK int rota_remote_call_soon(rota_remote *remote, void (*fn)(void *arg), void *arg);
ROTA_API ROTA_CHECK int rota_remote_call_later(rota_remote *remote, int64_t ns, void (*fn)(void *arg), void *arg);

/* Runs fn(arg) as a task of the remote's loop, and blocks this thread until it has ended; arg may be a local. Two
 * channels: *result is what fn returned (-ECANCELED, say, when the loop closed meanwhile); returned are 0, -ESHUTDOWN
 * (the loop closed before fn began, which never runs then; or dropped it unfinished), -EDEADLK on the loop's own
 * thread, -EINVAL (also in a child after fork), errors of rota_spawn. The thread must not be cancelled in it. */
#define rota_remote_call(...) rota_remote_call_at(ROTA_HERE, __VA_ARGS__)
ROTA_API ROTA_CHECK int rota_remote_call_at(rota_at at, rota_remote *remote, rota_fn *fn, void *arg, intptr_t *result);

#ifdef __cplusplus
}
#endif
#endif
