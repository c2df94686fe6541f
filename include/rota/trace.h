/* Watching a loop at work: counters that are always there, and a hook that is told of every step.
 *
 * Counters cost next to nothing and are never off. The hook is off until it is set; then each step of each task calls
 * it, and a switch that took some nanoseconds takes as long as the hook does. docs/TRACING.md shows both at work.
 *
 * A program that wants to know when its tasks ran and what they waited for in between sets a hook, names the tasks
 * (rota_spawn_options.name) or remembers their numbers (rota_task_number), and keeps the times of these events:
 *
 *     ROTA_TRACE_SPAWN         from here on the task is ready
 *     ROTA_TRACE_SWITCH_IN     it runs
 *     ROTA_TRACE_SWITCH_OUT    it waits for event->what (event->value 1: only for its turn, it is ready still)
 *     ROTA_TRACE_WAKE          it is ready again, thanks to the task event->other
 *     ROTA_TRACE_END           it has ended, with event->value
 */
#ifndef ROTA_TRACE_H
#define ROTA_TRACE_H

#include "rota/reactor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- counters ----------------------------------------------------------------------------------- */

/* Since the loop was made. What the library does for itself is in it: a task that waits for a descriptor has a watcher,
 * one that sleeps a timer. (Wakes are not counted: that would be the one counter on the way from task to task. A hook
 * can count them.) */
typedef struct rota_counters {
    uint64_t turns;
    uint64_t polls;        /* calls that asked the kernel for events */
    uint64_t events;       /* that it reported, wake-ups by other threads included */
    uint64_t timers;       /* that fired */
    uint64_t callbacks;    /* called: soon-callbacks, posts, watchers, signal watchers */
    uint64_t posts;        /* received from threads */
    uint64_t jobs;         /* given to threads */
    uint64_t spawned;      /* tasks, */
    uint64_t ended;
    uint64_t live;         /* and those that have not ended */
    uint64_t resumptions;  /* of tasks, the first one of each included: how often one began or went on */
    uint64_t refusals;     /* calls that were refused because their scope was cancelled or had expired */
    int64_t waited;        /* ns that the kernel was waited for; counted only in debug mode and while a trace runs,
                              because it takes two more looks at the clock in each turn */
} rota_counters;

/* 0; -EINVAL, -EPERM, -ESHUTDOWN. */
ROTA_API ROTA_CHECK int rota_loop_counters(rota_loop *loop, rota_counters *counters);

/* ---- the hook ----------------------------------------------------------------------------------- */

enum {
    ROTA_TRACE_TASK = 1,        /* the task was there when the hook was set; what, object: its wait, if it waits;
                                   value: 0 it is ready, 1 it runs, 2 it waits */
    ROTA_TRACE_SPAWN,           /* a task, by other; at: where */
    ROTA_TRACE_END,             /* a task has ended (nothing more comes of it); value: its outcome */
    ROTA_TRACE_SWITCH_IN,       /* a task begins or goes on */
    ROTA_TRACE_SWITCH_OUT,      /* it stops; what: for what it waits, object: on what; value: 1 when it only
                                   lets others run and is ready still, else 0 */
    ROTA_TRACE_WAKE,            /* it is ready again, because of other; value: what its wait returns */
    ROTA_TRACE_CANCEL,          /* a task, or a scope in it, by other (task 0: all of the loop); object: the scope;
                                   what: the reason, NULL if none; at: where */
    ROTA_TRACE_REFUSE,          /* a call of the task was refused */
    ROTA_TRACE_TURN,            /* a turn begins; value: how much is ready */
    ROTA_TRACE_POLL_BEGIN,      /* the kernel is asked; value: for how long at most, ns */
    ROTA_TRACE_POLL_END,        /* value: events, or a negative errno value */
    ROTA_TRACE_TIMER,           /* a timer fires: the callback that follows; object: it; value: ns after its deadline */
    ROTA_TRACE_CALLBACK_BEGIN,  /* what: of what; object: the timer, watcher, ...; value: descriptor or signal */
    ROTA_TRACE_CALLBACK_END,    /* the same */
    ROTA_TRACE_POST,            /* a post of a thread has arrived; object: the soon-callback, or the library's own */
    ROTA_TRACE_JOB_BEGIN,       /* a thread is given a job on behalf of the task; */
    ROTA_TRACE_JOB_END          /* the loop has done with it */
};

/* Everything in it is valid until the hook returns, and what is fixed text longer. */
typedef struct rota_trace_event {
    int kind;               /* ROTA_TRACE_* */
    int64_t time;           /* of the loop's clock, ns; a virtual clock stands still while anything runs */
    uint64_t task;          /* whom it is about: its number, from 1 in each loop and never used again; 0: the loop */
    const char *name;       /* of the task; NULL: it has none */
    uint64_t other;         /* who did it; 0: the loop itself (a callback, or code outside of tasks) */
    const char *other_name;
    const char *what;       /* fixed text, except a reason; see the kinds */
    const void *object;
    int64_t value;
    rota_at at;             /* .file may be NULL */
} rota_trace_event;

/* Calls fn(ctx, event) on the loop's thread for each event from now on; NULL: no more. First comes a ROTA_TRACE_TASK for
 * each task that has not ended. The hook runs on whatever stack is in use, a task's too, which may be small; it may ask
 * (counters, descriptions, times), but must not suspend, wake, spawn, or call the loop back in any other way, and must
 * not fail. In debug mode its time counts as the task's. rota_loop_options.trace sets a hook from the first event on.
 * 0; -EINVAL, -EPERM, -ESHUTDOWN. */
ROTA_API ROTA_CHECK int rota_loop_set_trace(rota_loop *loop, rota_trace_fn *fn, void *ctx);

/* ---- a file ------------------------------------------------------------------------------------- */

/* Writes what happens on the loop from now on to a file for the Perfetto viewer (or chrome://tracing): a row for each
 * task with what it did and waited for, an arrow for each wake, the loop's polls and callbacks, and how many tasks live
 * and are ready. The file is made anew; it is complete when the loop has closed, and readable by viewers at any time.
 * In the path, %p stands for the process's id and %% for %. path NULL: ends the file now; what writing met is returned.
 * It needs 33 KiB of memory, and writes 32 KiB at a time, on the loop's thread. A write that fails ends the trace, is
 * reported once (ROTA_REPORT_TRACE) and changes nothing else.
 *
 * ROTA_TRACE=path in the environment does the same to each loop that is made, all in one file; in a child after fork
 * the process's id is added to a path without %p.
 *
 * 0; -EALREADY (it has a file), -EINVAL (also an empty path), -ENAMETOOLONG (over 1023 bytes), -EPERM, -ESHUTDOWN,
 * -ENOMEM, -ENOTSUP (a build with -Dtrace_file=false), errors of open(2), and of pwrite(2): -ESPIPE for what is no
 * regular file. */
ROTA_API ROTA_CHECK int rota_trace_to_file(rota_loop *loop, const char *path);

/* The name of a kind, "switch in" for example; "?" for what is none. Any thread. */
ROTA_API const char *rota_trace_kind(int kind);

#ifdef __cplusplus
}
#endif
#endif
