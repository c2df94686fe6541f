/* The loop object. Private to reactor/, and to the few files of coro/ that park, wake and spawn. */
#ifndef ROTA_REACTOR_LOOP_H
#define ROTA_REACTOR_LOOP_H

#include "reactor/children.h"
#include "reactor/fd_table.h"
#include "reactor/inbox.h"
#include "reactor/memory.h"
#include "reactor/poller.h"
#include "reactor/ready.h"
#include "reactor/signals.h"
#include "reactor/size.h"
#include "reactor/sys.h"
#include "reactor/timers.h"
#include "reactor/trace.h"

/* Memory whose last user is still on it (a finished task's stack): freed in step 5. */
struct rota__garbage {
    struct rota__garbage *next;
    void (*free)(rota_loop *loop, struct rota__garbage *garbage);
};

/* The second watcher of a descriptor that is being closed, while the first one is told; NULL once it was stopped. */
struct rota__closing {
    rota_watcher *watcher;
    struct rota__closing *outer;
};

/* What the loop must tell when it closes: memory to be given back, a thread that waits. Called last, with the loop as
 * the current one; not in the list any more. */
struct rota__owned {
    struct rota__owned *next, **prev;
    void (*drop)(struct rota__owned *owned);
};

/* What a layer above hangs into the loop. */
struct rota__upper {
    void (*run)(rota_ready *ready);  /* what runs its entries of the ready queue: see enters */
    void (*begin)(rota_ready *ready); /* what runs one for the first time; or run does */
    void (*enters)(rota_ready *ready); /* traced: the loop is about to run that one */
    void (*who)(const rota_loop *loop, rota_trace_event *event);  /* .task and .name: of what runs now, if it does */
    void (*tell)(rota_loop *loop, rota_trace_fn *fn, void *ctx); /* a ROTA_TRACE_TASK for each that lives */
    void (*count)(const rota_loop *loop, rota_counters *counters);
    int (*stuck)(rota_loop *loop);   /* nothing can happen any more: -EDEADLK (reported) if somebody waits for it */
    void (*slow)(rota_loop *loop, int64_t ns); /* what runs now held the loop up for so long */
    void (*drain)(rota_loop *loop);  /* the loop is about to close: end what runs on it */
    void (*free)(rota_loop *loop);   /* the loop has closed: give back what it needs no more */
    void (*gone)(rota_loop *loop);   /* the loop is freed: give back the rest */
};

enum rota__loop_state { ROTA__LOOP_OPEN, ROTA__LOOP_CLOSING, ROTA__LOOP_CLOSED };

struct rota_loop {
    /* touched at every step from task to task */
    struct rota__ready_queue ready;
    int64_t now;                  /* of this turn */
    void *running;                /* the upper layer's: who runs now, NULL on the loop's own stack */
    void *context;                /* the upper layer's: where the loop's own stack stands */
    int budget;                   /* steps left that need no look at the budget; -1: it is spent */
    union {
        struct {
            bool foreign_idle;    /* a foreign loop may be asleep: say so when something gets ready */
            bool traced;          /* somebody wants to be told of each event */
            bool limited;         /* options.max_tasks is set */
            uint8_t state;        /* enum rota__loop_state */
        };
        uint16_t on_push;         /* the first two in one look */
        uint32_t on_spawn;        /* all four */
    };
    bool is_foreign;              /* rota_loop_fd was asked for */
    bool in_turn;
    bool stop;
    bool debug;
    bool watched;                 /* debug, traced or C++ exceptions: each step comes by */
    bool is_virtual;
    bool is_precise;              /* option precise or spin_ns: rota__poll_precise waits */
    bool spinning;                /* asks the kernel without waiting, time and again: that it has nothing is no news */

    uint64_t owner;               /* rota__thread_id() of the thread it belongs to */
    uint64_t user;                /* the same until it is closed, then nobody's id: both questions with one look */
    int64_t virtual_now;          /* now; on a real clock ROTA_FOREVER, so that adding overflows: see rota_timer_start */
    unsigned forks;               /* rota__forks when it was made */
    unsigned budget_rounds;       /* of 32 steps, in this step 1 */
    int64_t budget_until;
    int64_t step_began;           /* in debug mode, on the real clock: when what runs now was started */

    struct rota__counts counts;
    struct rota__tracer tracer;

    struct rota__fd_table fds;
    unsigned stale_events;        /* in a row */
    struct rota__starved *starved; /* what waits until rota_fd_close gives back a descriptor */
    rota_watcher *again, **again_last;
    struct rota__closing *closing; /* innermost first */

    const struct rota__poller *poller;
    struct rota__poll poll;
    struct rota__inbox *inbox;
    rota_signal *signals;         /* started watchers of this loop */
    const struct rota__signal_calls *signal_calls; /* NULL: it never had one */
    struct rota__signal_port signal_port;
    struct rota__children children;

    size_t watchers;              /* what keeps the loop alive: started watchers, */
    size_t n_signals;             /* signal watchers, */
    size_t jobs;                  /* and jobs of threads (plus timers, ready work and open remotes) */
    size_t watchers_aside;        /* started watchers that do not */

    rota_loop *outer;             /* displaced as the current one, for a turn or while this one closes; else NULL */
    struct rota__garbage *garbage;
    struct rota__owned *owned;

    const struct rota__upper *upper;
    void *upper_data;

    rota_allocator allocator;
    void (*report)(void *ctx, const rota_report *report);
    void *report_ctx;
    rota_loop_options options;
    struct rota__timers timers;   /* the largest, behind what has short addresses so */
    rota_ready *first_ready[ROTA__READY_FIRST];
};

extern _Thread_local rota_loop *rota__current __attribute__((tls_model("initial-exec")));

/* Identifies this thread, and this side of a fork; never 0. rota__own_id is the same, or 0 before the first call. */
uint64_t rota__thread_id(void);
extern _Thread_local uint64_t rota__own_id __attribute__((tls_model("initial-exec")));

/* How often this process is the child of a fork (of a process that had a loop). */
extern unsigned rota__forks;
void rota__watch_forks(void);

/* May this thread use the loop now? 0, or -EINVAL (NULL; a child after fork), -EPERM, -ESHUTDOWN. */
int rota__loop_check(const rota_loop *loop);

/* The same for calls that take a few nanoseconds: at a price in code, so for few. */
static inline bool rota__loop_usable(const rota_loop *loop) { return loop && loop->user == rota__own_id; }
static inline int rota__loop_check_inline(const rota_loop *loop) {
    return __builtin_expect(rota__loop_usable(loop), 1) ? 0 : rota__loop_check(loop);
}

/* The loop's clock, read now; also stored as the turn's time. */
int64_t rota__loop_clock(rota_loop *loop);

/* Steps 2 and 3 as far as the poller goes: asks the kernel, at least once. (precise.c) The same in a loop that
 * is_precise, which may wait until `until`; loop->now was read for it. Events, or an error. */
int rota__poll_rounds(rota_loop *loop, int64_t timeout_ns);
int rota__poll_precise(rota_loop *loop, int64_t until);

/* a + b, saturating at both ends. */
static inline int64_t rota__time_add(int64_t a, int64_t b) {
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return b > 0 ? ROTA_FOREVER : INT64_MIN;
    return sum;
}

/* The time ns after `from`; what is negative counts as 0. */
static inline int64_t rota__time_after(int64_t from, int64_t ns) {
    int64_t sum = (int64_t)((uint64_t)from + (uint64_t)(ns > 0 ? ns : 0)); /* a branch less than the builtin function */
    return __builtin_expect(sum < from, 0) ? ROTA_FOREVER : sum;
}

/* Tells a foreign loop that sleeps on rota_loop_fd that there is something to do by `when`. */
void rota__loop_nudge(rota_loop *loop, int64_t when);

/* What runs a rota_soon. */
void rota__run_soon(rota_ready *entry);

/* Puts entry behind everything that is ready. */
static inline void rota__loop_push(rota_loop *loop, rota_ready *entry) {
    rota__ready_push(&loop->ready, entry);
    if (__builtin_expect(loop->foreign_idle, 0))
        rota__loop_nudge(loop, INT64_MIN);
}

/* Brings loop->counts.steps up to date. */
void rota__count_steps(rota_loop *loop);

/* Is the budget of step 1 spent? Called when loop->budget, counted down at each step, falls below 0. */
bool rota__loop_budget_spent(rota_loop *loop);

/* Debug mode: something is about to run; it has run, and is named if that took too long. `fn` is a callback's
 * function, 0 when it was the upper layer's. */
void rota__step_end(rota_loop *loop, uintptr_t fn);
static inline void rota__step_begin(rota_loop *loop) {
    if (__builtin_expect(loop->debug, 0))
        loop->step_began = rota__sys_now();
}

/* A thread is given a job, and the loop has done with it: it keeps the loop alive in between. */
static inline void rota__job_begin(rota_loop *loop) {
    loop->jobs++;
    loop->counts.jobs++;
    if (__builtin_expect(loop->traced, 0))
        rota__trace_job(loop, ROTA_TRACE_JOB_BEGIN);
}

static inline void rota__job_end(rota_loop *loop) {
    loop->jobs--;
    if (__builtin_expect(loop->traced, 0))
        rota__trace_job(loop, ROTA_TRACE_JOB_END);
}

/* For pollers: the kernel has answered with n events, or an error; nobody was called yet. */
static inline void rota__polled(rota_loop *loop, int n) {
    loop->counts.polls++;
    loop->counts.events += n > 0 ? (unsigned)n : 0;
    if (__builtin_expect(loop->watched, 0) && !(loop->spinning && n == 0))
        rota__poll_ended(loop, n);
}

/* While a foreign loop may be asleep; compiled for size, always. */
void rota__loop_arm_foreign(rota_loop *loop, rota_timer *timer, int64_t when);

/* What is merely postponed does not move the loop's next deadline. */
static inline void rota__loop_arm(rota_loop *loop, rota_timer *timer, int64_t when) {
    if (!ROTA__FOR_SIZE && rota__timers_postpone(&loop->timers, timer, when))
        return;
    if (ROTA__FOR_SIZE || __builtin_expect(loop->foreign_idle, 0))
        rota__loop_arm_foreign(loop, timer, when);
    else
        rota__timers_insert(&loop->timers, timer, when);
}

static inline void rota__loop_disarm(rota_loop *loop, rota_timer *timer) {
    rota__timers_disarm(&loop->timers, timer);
}

/* What rota__watch comes to for a task that reads, in the steady state: the kernel knows, there is no news, and nobody
 * else waits or is told of a close. False: it is not so, and nothing was done. */
static inline bool rota__watch_steady(rota_loop *loop, struct rota__fd *slot, rota_watcher *w) {
    if (!(slot->registered & ~slot->ready & ROTA_READ) || slot->reader || loop->closing || loop->debug)
        return false;
    slot->reader = w;
    w->state_ = ROTA__WATCHER_STARTED;
    loop->watchers++;
    return true;
}

/* Behind rota__watch_steady: ends the watch, unless a close has. */
static inline void rota__unwatch_steady(rota_loop *loop, struct rota__fd *slot, rota_watcher *w) {
    if (__builtin_expect(w->state_ != ROTA__WATCHER_STARTED, 0)) {
        if (w->state_)
            rota__unwatch(loop, w);
        return;
    }
    slot->reader = NULL;
    loop->watchers--;
}

void rota__owned_add(rota_loop *loop, struct rota__owned *owned);
void rota__owned_remove(struct rota__owned *owned);

/* Somebody who met a full descriptor table; lies on the waiting stack. retry is called, once and unlinked, when
 * the loop has closed a descriptor. */
struct rota__starved {
    struct rota__starved *next, **prev;
    void (*retry)(struct rota__starved *starved);
};
void rota__starved_add(rota_loop *loop, struct rota__starved *starved);
void rota__starved_remove(struct rota__starved *starved);
void rota__loop_fd_freed(rota_loop *loop);

/* Is there anything that could make something happen? */
bool rota__loop_alive(const rota_loop *loop);

/* Calls the loop's hook. text is for a person; at may be NULL. */
void rota__report(rota_loop *loop, int kind, int error, const char *task, const rota_at *at, const char *text);

/* The environment has a value that means nothing; `known`, up to a NULL, do; `verdict` stands between them. Also when no
 * loop has come of it. */
void rota__report_environment(const rota_loop_options *opt, const char *variable, const char *value,
                              const char *verdict, const char *const *known);

/* Is ROTA_DEBUG set? What do ROTA_BACKEND, ROTA_CLOCK and ROTA_TRACE say, NULL if nothing? The only place that reads the
 * environment; in an object of its own. */
bool rota__env_debug(void);
const char *rota__env_backend(void);
const char *rota__env_trace(void);
const char *rota__env_clock(void);
char **rota__env_all(void); /* what a child process inherits */

/* Stops all watchers without a call, for the closing of the loop. */
void rota__fd_stop_all(rota_loop *loop);

/* Calls watchers that asked to be called again. */
void rota__fd_run_again(rota_loop *loop);

/* The default hook: one line on standard error; in an object of its own. */
void rota__report_stderr(void *ctx, const rota_report *report);

#endif
