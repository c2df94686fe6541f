/* The reactor: a callback event loop. Loop, timers, descriptor readiness, soon-callbacks, posts from
 * other threads, signals. It can be used alone, without rota/coro.h.
 *
 * Rules that hold for every call here:
 *  - An error is a negative errno value in the returned value. errno itself is unspecified afterwards.
 *  - A loop belongs to the thread that created it. Only the rota_remote_* calls and rota_strerror may be used
 *    from other threads; every other call answers -EPERM there.
 *  - In a child after fork, every call on an inherited loop answers -EINVAL; only close and free work. The child is in
 *    no task, and its thread has no current loop until it makes one.
 *  - A NULL object is answered with -EINVAL, a closed loop with -ESHUTDOWN; an init of NULL does nothing. A pointer to
 *    options may always be NULL: all defaults.
 *  - A closed loop is no longer the current one: calls on the current loop (rota_spawn, rota_call_soon) find none and
 *    answer -EINVAL.
 *  - Time is int64_t nanoseconds. Durations are relative; absolute times are those of the loop's clock
 *    (CLOCK_MONOTONIC, or the virtual clock). Sums saturate at ROTA_FOREVER.
 *  - Timers, watchers, soon-callbacks and signal watchers are structs that the caller allocates. Starting
 *    one lends it to the loop; stopping is synchronous: after the return the memory may be reused.
 *    Fields whose name ends in _ are private.
 */
#ifndef ROTA_REACTOR_H
#define ROTA_REACTOR_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "rota/config.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
# define ROTA_CHECK __attribute__((warn_unused_result))
/* Never inlined, not even by link-time optimisation: calls that look for scopes left open tell the user's frames from
 * the library's by where their own begins. */
/* And called without a stub in between that jumps there; linkers make direct calls of such ones in static programs, though
 * only for this CPU. A byte more for each call. */
# if defined(__x86_64__) && !defined(__OPTIMIZE_SIZE__) && defined(__has_attribute)
#  if __has_attribute(noplt)
#   define ROTA_NO_STUB __attribute__((noplt))
#  endif
# endif
# ifndef ROTA_NO_STUB
#  define ROTA_NO_STUB
# endif
# define ROTA_API ROTA_NO_STUB __attribute__((visibility("default"), noinline))
#else
# define ROTA_CHECK
# define ROTA_API
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

/* What the error v means, as a static string; never NULL, also for values that are no error.
 * Any thread. */
ROTA_API const char *rota_strerror(intptr_t v);

/* The version of the library that is linked, for example "0.1.0". ROTA_VERSION is that of the header. */
ROTA_API const char *rota_version(void);

/* A place in the user's source, carried by objects so that reports can name it. */
typedef struct rota_at {
    const char *file;
    int line;       /* 0: file is the name of the call in the library that began it */
} rota_at;

static inline rota_at rota_here(const char *file, int line) {
    rota_at at;
    at.file = file;
    at.line = line;
    return at;
}
#define ROTA_HERE rota_here(__FILE__, __LINE__)

/* ---- options ------------------------------------------------------------------------------------ */

typedef struct rota_loop rota_loop;
typedef struct rota_remote rota_remote;

/* alloc(ctx, NULL, 0, n) allocates, alloc(ctx, p, old_n, n) resizes, alloc(ctx, p, old_n, 0) frees and
 * returns NULL. Failure is NULL and leaves p alone. Blocks are aligned for max_align_t. A loop that has
 * remotes, resolves names, lists directories or reads whole files calls it from other threads too: it must then be
 * thread-safe. */
typedef struct rota_allocator {
    void *(*alloc)(void *ctx, void *old, size_t old_n, size_t n);
    void *ctx;
} rota_allocator;

/* Something that nobody asked for but somebody should know. All reports go through one hook. It runs on whatever
 * stack is in use, a task's too, which may be small, and must not suspend: it may be told in the middle of a call that
 * does not. When a task's end is told, the hook is outside of tasks: there calls that may suspend answer -EPERM. */
enum {
    ROTA_REPORT_UNAWAITED = 1,  /* a failed task went, or the loop closed while its handle was held, and nobody had
                                   looked at its error */
    ROTA_REPORT_DEADLOCK,       /* nothing can ever wake the tasks that are left */
    ROTA_REPORT_SCOPE,          /* a scope or group was left without its end call */
    ROTA_REPORT_IGNORED_CANCEL, /* a task goes on although its calls refuse */
    ROTA_REPORT_PENDING,        /* a task was still there when its loop closed */
    ROTA_REPORT_STACK,          /* the canary of a caller-provided stack was overwritten */
    ROTA_REPORT_STALE_FD,       /* debug mode: a descriptor was closed or reused behind the loop's back, see
                                   rota_fd_close */
    ROTA_REPORT_MUTEX,          /* a task ended and still held a mutex, or a read-write lock for writing */
    ROTA_REPORT_SLOW,           /* debug mode: a callback or a step of a task held the loop up */
    ROTA_REPORT_UNSTARTED,      /* a coroutine or (debug mode) a generator went that had never started */
    ROTA_REPORT_NO_SUSPEND,     /* a call that may suspend was made inside ROTA_NO_SUSPEND */
    ROTA_REPORT_FATAL,          /* the process is about to be ended: memory is no longer sound */
    ROTA_REPORT_TRACE,          /* the file of a trace cannot be written (on): the trace has ended */
    ROTA_REPORT_ENVIRONMENT     /* ROTA_BACKEND (rota_loop_new then fails: -EINVAL) or ROTA_CLOCK (which is ignored)
                                   has a value that means nothing; told when a loop is made */
};

typedef struct rota_report {
    int kind;          /* ROTA_REPORT_* */
    int error;         /* negative errno where one belongs to the event, else 0 */
    const char *task;  /* name of the task concerned, or NULL */
    const char *text;  /* one or more lines for a person, no newline at the end */
    rota_at at;        /* where the object concerned was made; .file may be NULL */
} rota_report;

/* See rota/trace.h. */
struct rota_trace_event;
typedef void rota_trace_fn(void *ctx, const struct rota_trace_event *event);

typedef struct rota_loop_options {
    const char *backend;              /* a name of rota_loop_backends; NULL: what the environment variable
                                         ROTA_BACKEND says, or the best one built in */
    const rota_allocator *allocator;  /* copied; NULL: malloc */
    void (*report)(void *ctx, const rota_report *report); /* NULL: a line on standard error */
    void *report_ctx;
    bool virtual_clock;               /* time stands still, and jumps to the next deadline when idle; the environment
                                         variable ROTA_CLOCK=virtual also sets it; others are reported, and ignored */
    bool precise;                     /* timers as exact as the kernel can make them: see below */
    int64_t spin_ns;                  /* how long the loop asks the kernel again and again before it sleeps, and before
                                         a deadline: see below; 0: it sleeps at once. Negative: -EINVAL */
    int64_t slow_step;                /* in debug mode, what runs longer in one go is reported; 0: 100 ms */
    bool debug;                       /* costlier checks; the environment variable ROTA_DEBUG also sets it, by any value
                                         but 0 (or none) */
    rota_trace_fn *trace;             /* told of every step (rota/trace.h); NULL: nobody is */
    void *trace_ctx;
    /* For tasks (rota/coro.h): */
    size_t stack_size;                /* usable bytes of a task's stack; 0: 64 KiB */
    unsigned max_tasks;               /* tasks alive at once (the main one of rota_run is one of them), else spawn gives
                                         -EAGAIN; 0: no limit */
    unsigned threads;                 /* most threads of its own executor (rota/executor.h); 0: 4 */
    bool report_overflow;             /* a task that overruns its stack is named on standard error before the signal
                                         does what it always did; debug mode sets it too. See rota/coro.h */
    void *(*cpp_exceptions)(void);    /* ROTA_CPP_EXCEPTIONS: tasks may suspend inside catch; NULL: they may not */
} rota_loop_options;

/* rota_loop_options.precise and .spin_ns: how late the loop wakes. Neither ever makes it early, both are ignored with a
 * virtual clock, and each loop has its own.
 *
 * precise: of the backend epoll, sleeping until a deadline is done by a timer descriptor, which has none of the slack
 * (50 us by default) that the kernel adds to a thread's timeouts. It costs one descriptor more (rota_loop_new: -EMFILE,
 * -ENFILE, -ENOMEM) and a system call for each sleep whose deadline has changed; the thread's own slack is left alone.
 * It also makes timers finer than 1 ms where the kernel lacks epoll_pwait2. Of kqueue, whose timeouts are as exact as
 * its timers, and of poll, which knows whole milliseconds only, it has no effect.
 *
 * spin_ns: a loop with nothing to do asks the kernel for so long without waiting, and sleeps only then: what comes in
 * the meantime is served without the 10-50 us that waking a processor takes. And it sleeps until spin_ns before the
 * next deadline at most: the rest is waited for awake, so that 60 us bring most timers within 1 us. It implies precise.
 * The price is a processor that is busy meanwhile, for so long before each sleep; ROTA_FOREVER never sleeps. Posts,
 * signals and children end the spinning as they end a sleep. With poll, whose sleeps are whole milliseconds, only a
 * spin_ns of more than 1 ms brings deadlines closer. */

/* Options under the name `name`, for programs that compile with the small profile too, where this is all the memory of
 * their loop (small/include/rota/small.h): a table for so many descriptors, so many timers, and tasks with stacks of so
 * many bytes. Here only the last two are limits (max_tasks, stack_size), and no tasks means no limit of them. The main
 * task of rota_run is one of the tasks, with either library. */
#ifdef __cplusplus
static inline rota_loop_options rota__loop_memory(size_t bytes, unsigned tasks) {
    rota_loop_options options = rota_loop_options();
    options.stack_size = bytes;
    options.max_tasks = tasks;
    return options;
}
# define ROTA_LOOP_MEMORY(name, fds, timers, tasks, bytes) \
    static const rota_loop_options name = rota__loop_memory((bytes), (tasks))
#else
# define ROTA_LOOP_MEMORY(name, fds, timers, tasks, bytes) \
    static const rota_loop_options name = { .stack_size = (bytes), .max_tasks = (tasks) }
#endif

/* For rota_loop_options.cpp_exceptions. C++ keeps for each thread which exceptions are being handled; tasks that suspend
 * while one is (inside catch, or in a destructor that unwinding calls) would mix theirs up. With this the loop gives each
 * task its own, for about 55 ns a switch. Without it a task must have left its catch blocks before it suspends. Not for
 * what crosses rota_co_yield or rota_gen_yield: that must never be inside catch. */
#ifdef __cplusplus
# define ROTA__TEXT_OF(name) #name
# define ROTA__LABEL(prefix, name) ROTA__TEXT_OF(prefix) name
void *rota__cxa_get_globals(void) __asm__(ROTA__LABEL(__USER_LABEL_PREFIX__, "__cxa_get_globals"));
# define ROTA_CPP_EXCEPTIONS rota__cxa_get_globals
#endif

/* ---- loop --------------------------------------------------------------------------------------- */

/* Creates a loop that belongs to this thread; it becomes the thread's current loop if there is none.
 * opt may be NULL. -EINVAL (unknown backend), -ENOMEM, -EMFILE, -ENFILE; *loop is NULL then. */
#define rota_loop_new ROTA_LAYOUT(rota_loop_new)
ROTA_API ROTA_CHECK int rota_loop_new(rota_loop **loop, const rota_loop_options *opt);

/* Turns until rota_loop_stop, or until nothing is left that could make anything happen: no ready work,
 * timer, watcher, signal watcher, job or open remote. 0 either way. -EBUSY inside a turn of any loop of
 * this thread; the poller's error if waiting itself fails. The loop can be run again. */
ROTA_API ROTA_CHECK int rota_loop_run(rota_loop *loop);

/* One turn; waits at most wait_ns for something to happen (0: only what is ready; ROTA_FOREVER).
 * 1 when something is left that could make something happen, 0 when not; errors as rota_loop_run. */
ROTA_API ROTA_CHECK int rota_loop_turn(rota_loop *loop, int64_t wait_ns);

/* Makes rota_loop_run return at the end of this turn (or of its first one). From inside the loop's thread;
 * other threads post a callback that calls it. */
ROTA_API int rota_loop_stop(rota_loop *loop);

/* Closes: cancels the tasks that are left and lets them end, then gives back every descriptor. Started
 * watchers, timers and signal watchers are stopped without a call. From then on every call with the loop, or with
 * what belongs to it, answers -ESHUTDOWN, until rota_loop_free. -EBUSY inside a turn of it; closing twice is 0. */
ROTA_API int rota_loop_close(rota_loop *loop);

/* Closes if need be and frees. NULL is fine. -EBUSY inside a turn. */
ROTA_API int rota_loop_free(rota_loop *loop);

/* Turns debug mode on or off (see rota_loop_options.debug). */
ROTA_API int rota_loop_set_debug(rota_loop *loop, bool on);

/* One descriptor that a foreign loop can poll for readability: it is readable when a turn has something to
 * do. Timers, posts, ready work and changes made while the foreign loop sleeps all show up on it. Once
 * asked for, call rota_loop_turn(loop, 0) whenever it is readable. It stays the loop's property.
 * -ENOTSUP where the backend has no such descriptor, and with a virtual clock; -EMFILE, -ENFILE, -ENOMEM,
 * -ENOSPC. */
ROTA_API ROTA_CHECK int rota_loop_fd(rota_loop *loop);

/* The loop whose turn runs on this thread, else the one set as current; NULL when there is none. */
ROTA_API rota_loop *rota_loop_current(void);

/* Makes loop (or none: NULL) what rota_loop_current answers outside a turn. -EPERM, -EBUSY inside one. */
ROTA_API ROTA_CHECK int rota_loop_set_current(rota_loop *loop);

/* The clock of the current loop, read now (a virtual clock stands still while work is done); without a
 * current loop, CLOCK_MONOTONIC. */
ROTA_API int64_t rota_now(void);

/* The time at which this turn's timers are judged, without reading the clock. -EINVAL for NULL. */
ROTA_API int64_t rota_loop_now(const rota_loop *loop);

/* Names of the backends that are built in, best first, ended by NULL. */
ROTA_API const char *const *rota_loop_backends(void);

/* The name of the loop's backend; NULL for NULL. */
ROTA_API const char *rota_loop_backend(const rota_loop *loop);

/* What keeps the loop alive, for a person: counts of ready work, timers, watchers, signal watchers, jobs
 * and remotes. Returns the length it has or would have, like snprintf. */
ROTA_API size_t rota_loop_describe(const rota_loop *loop, char *buf, size_t n);

/* ---- soon-callbacks ----------------------------------------------------------------------------- */

/* An entry of the loop's ready queue. Private; tasks have one too. */
typedef struct rota_ready {
    struct rota_ready *next_;              /* where it is queued: see reactor/ready.h */
    void (*run_)(struct rota_ready *self);
    void *hint_;                           /* memory that run_ touches first, worth a prefetch */
} rota_ready;

/* fn(soon, arg) runs once, in step 1 of a turn, behind everything that is queued now. */
typedef struct rota_soon {
    rota_ready ready_;
    void (*fn)(struct rota_soon *soon, void *arg);  /* set by init */
    void *arg;                                      /* yours */
} rota_soon;

ROTA_API void rota_soon_init(rota_soon *soon, void (*fn)(rota_soon *soon, void *arg), void *arg);

/* Queues it. -EALREADY when it is queued. fn may start it again. */
ROTA_API ROTA_CHECK int rota_soon_start(rota_loop *loop, rota_soon *soon);

/* Takes it out of the queue; 0 also when it was not there. Not while another thread is posting it. */
ROTA_API int rota_soon_stop(rota_loop *loop, rota_soon *soon);

/* ---- timers ------------------------------------------------------------------------------------- */

/* fn(timer, arg) runs once in step 4 of the first turn whose time is not before the deadline; never early.
 * Due timers fire in the order of their deadlines, equal deadlines in the order in which they were started.
 * A timer started in step 4 fires in the next turn at the earliest. */
typedef struct rota_timer {
    struct rota_timer *next_;   /* in a list: the next one; in the heap: unused */
    union { struct rota_timer **prev; size_t index; } place_;  /* in a list; in the heap */
    int64_t deadline_;          /* the place is one for this deadline or an earlier one */
    uint64_t order_;            /* sequence << 3 | where (idle 0, in a list 1, in the heap 2, in the sorted list 4) */
    void (*fn)(struct rota_timer *timer, void *arg);  /* set by init */
    void *arg;                                        /* yours */
} rota_timer;

ROTA_API void rota_timer_init(rota_timer *timer, void (*fn)(rota_timer *timer, void *arg), void *arg);

/* Starts, or moves a started one: it fires ns from now (<= 0: at the next chance). Never needs memory.
 * -EPERM, -EINVAL, -ESHUTDOWN as above. */
ROTA_API ROTA_CHECK int rota_timer_start(rota_loop *loop, rota_timer *timer, int64_t ns);

/* The same with an absolute time of the loop's clock. ROTA_FOREVER is a deadline that never comes. */
ROTA_API ROTA_CHECK int rota_timer_start_at(rota_loop *loop, rota_timer *timer, int64_t when);

/* 0 also when it was not started. May be called from any callback, for any timer. */
ROTA_API int rota_timer_stop(rota_loop *loop, rota_timer *timer);

static inline bool rota_timer_active(const rota_timer *timer) { return (timer->order_ & 7u) != 0; }

/* ---- tickers ------------------------------------------------------------------------------------ */

/* A timer that does not drift: its deadlines are start + k * period, however late its callbacks are. fn(ticker,
 * periods, arg) runs where a timer's would; a ticker that was held up over several periods is called once, with how
 * many have ended since the last call (1 when it is in time). */
typedef struct rota_ticker {
    rota_timer timer_;
    int64_t period_, next_;
    void (*fn)(struct rota_ticker *ticker, uint64_t periods, void *arg);  /* set by init */
    void *arg;                                                            /* yours */
} rota_ticker;

ROTA_API void rota_ticker_init(rota_ticker *ticker, void (*fn)(rota_ticker *ticker, uint64_t periods, void *arg),
                               void *arg);

/* Starts, or starts anew: the first call is a period from now. Never needs memory. -EINVAL (period <= 0). */
ROTA_API ROTA_CHECK int rota_ticker_start(rota_loop *loop, rota_ticker *ticker, int64_t period);

/* 0 also when it was not started. May be called from any callback, its own too. */
ROTA_API int rota_ticker_stop(rota_loop *loop, rota_ticker *ticker);

/* ---- descriptor watchers ------------------------------------------------------------------------ */

enum {
    ROTA_READ = 1,     /* interest and readiness: a read will not block */
    ROTA_WRITE = 2,    /* interest and readiness: a write will not block */
    ROTA_PRIORITY = 4, /* interest and readiness: urgent data */
    ROTA_EOF = 8,      /* readiness only: the peer sends no more (RDHUP or HUP) */
    ROTA_ERROR = 16,   /* readiness only: an error waits to be fetched */
    ROTA_CLOSED = 32   /* readiness only: rota_fd_close or rota_fd_forget; the watcher is stopped */
};

/* fn(watcher, ready, arg) runs in step 3 of a turn, when readiness *arrives* (edge-triggered): read or write
 * until -EAGAIN, or say rota_watcher_again. A descriptor has at most one watcher for reading (READ,
 * PRIORITY) and one for writing; one watcher may be both. Of the backend "poll" it is called in every turn
 * while the readiness lasts: to suit that one too, stop watching for WRITE when there is nothing to write. */
typedef struct rota_watcher {
    struct rota_watcher *next_;  /* in the list of rota_watcher_again */
    void (*fn)(struct rota_watcher *watcher, unsigned ready, void *arg);
    void *arg;                   /* yours */
    int fd;                      /* read only after init */
    uint16_t events;             /* read only after init: ROTA_READ | ROTA_WRITE | ROTA_PRIORITY */
    uint16_t state_;
} rota_watcher;

ROTA_API void rota_watcher_init(rota_watcher *watcher, int fd, unsigned events,
                                void (*fn)(rota_watcher *watcher, unsigned ready, void *arg), void *arg);

/* Starts watching. Readiness that is already there is delivered too. Descriptors that a poller cannot watch
 * (regular files) count as always ready. The descriptor's blocking mode is left as it is.
 * -EBADF, -EBUSY (another watcher has that direction), -EALREADY, -EINVAL (no events), -ENOMEM, -ENOSPC. */
ROTA_API ROTA_CHECK int rota_watcher_start(rota_loop *loop, rota_watcher *watcher);

/* 0 also when it was not started. May be called from any callback, for any watcher. */
ROTA_API int rota_watcher_stop(rota_loop *loop, rota_watcher *watcher);

/* Asks for another call of fn in the next turn, with no new event: for callbacks that stop before -EAGAIN,
 * to be fair to others. -EINVAL when it is not started. */
ROTA_API ROTA_CHECK int rota_watcher_again(rota_loop *loop, rota_watcher *watcher);

/* Closes fd. Its watchers are stopped and called with ROTA_CLOSED; late events of it are dropped.
 * This, or rota_fd_forget, is how a descriptor that was ever watched must go. Result of close(2); the
 * number is free in any case, except for -EBADF.
 * One that went otherwise is reported in debug mode only, and only when it shows: somebody starts to wait on the number
 * while it is closed; a call of the library makes a new descriptor with the number; or 64 events in a row were of
 * descriptors that the loop does not know. */
ROTA_API int rota_fd_close(rota_loop *loop, int fd);

/* Stops watching fd, which stays open: it is about to be closed or used by other code. As rota_fd_close. */
ROTA_API int rota_fd_forget(rota_loop *loop, int fd);

/* ---- posts from other threads ------------------------------------------------------------------- */

/* A counted handle by which other threads reach the loop. It outlives the loop, and keeps the loop alive
 * until its last reference is closed. Opened on the loop's thread; loop NULL means the current one.
 * -ENOMEM, -EINVAL (no loop), -EPERM, -ESHUTDOWN; *remote is NULL then. */
ROTA_API ROTA_CHECK int rota_remote_open(rota_remote **remote, rota_loop *loop);

/* One more reference, for another thread; returns remote. Any thread that has a reference. */
ROTA_API rota_remote *rota_remote_ref(rota_remote *remote);

/* Drops one reference. NULL is fine. Any thread. */
ROTA_API void rota_remote_close(rota_remote *remote);

/* Queues soon in the loop and wakes it; fn runs on the loop's thread. Posts of one thread stay in order.
 * soon (set by rota_soon_init) is the loop's from here until fn is called. Any thread, also the loop's own;
 * never blocks, never needs memory. -ESHUTDOWN once the loop is closed: soon is the caller's then,
 * -EALREADY while it is queued: the call of fn that is to come sees all that was written before this post (in atomic
 * variables, or under a lock), so that one soon, posted after each change, misses none; not so for a soon that the loop's
 * own thread queues with rota_soon_start as well. Posts not yet run when the loop closes are dropped after a call of fn
 * has become impossible: close your remotes first to be sure. */
ROTA_API ROTA_CHECK int rota_remote_post(rota_remote *remote, rota_soon *soon);

/* ---- signals ------------------------------------------------------------------------------------ */

/* fn(watcher, signo, arg) runs in step 3 of a turn, after the process got the signal. Any number of watchers
 * of a signal, in any loops: each is called. Several deliveries before the turn may become one call. The
 * first watcher of a signal installs a handler, the last one to stop puts the previous one back. Started
 * watchers keep the loop alive. */
typedef struct rota_signal {
    struct rota_signal *next_, **prev_;
    rota_loop *loop_;
    void (*fn)(struct rota_signal *watcher, int signo, void *arg);
    void *arg;     /* yours */
    int signo;     /* read only after init */
    unsigned pending_;
} rota_signal;

ROTA_API void rota_signal_init(rota_signal *watcher, int signo,
                               void (*fn)(rota_signal *watcher, int signo, void *arg), void *arg);

/* -EINVAL for a number that cannot be caught, or that reports a fault (SIGSEGV, SIGBUS, SIGFPE, SIGILL: they
 * cannot wait for a turn); -EALREADY. */
ROTA_API ROTA_CHECK int rota_signal_start(rota_loop *loop, rota_signal *watcher);
ROTA_API int rota_signal_stop(rota_loop *loop, rota_signal *watcher);

/* ---- child processes ---------------------------------------------------------------------------- */

/* fn(child, status, arg) runs once, in a turn after the process has ended: it has been reaped, the watcher is stopped,
 * and status is a wait status (waitpid(2); never negative), or -ECHILD: pid is no child of this process, or somebody
 * else has taken its status (SIGCHLD was ignored and the kernel dropped it; waitpid(-1) elsewhere). Only processes that
 * were started here are waited for, one watcher for each. Started watchers keep the loop alive.
 *
 * Linux names the process by a pidfd. Elsewhere, or when none can be had, a handler of SIGCHLD is installed while
 * children are watched: there, the signal must not be blocked in every thread, nor the handler be replaced. */
typedef struct rota_child {
    struct rota_child *next_, **prev_;
    rota_loop *loop_;
    void (*fn)(struct rota_child *child, int status, void *arg);
    void *arg;     /* yours */
    rota_watcher watcher_;
    pid_t pid;     /* read only after init */
    int pidfd_;
    uint8_t state_;
} rota_child;

ROTA_API void rota_child_init(rota_child *child, pid_t pid,
                              void (*fn)(rota_child *child, int status, void *arg), void *arg);

/* Never fails for want of a descriptor or of memory. -EINVAL (a pid that is none), -EALREADY. */
ROTA_API ROTA_CHECK int rota_child_start(rota_loop *loop, rota_child *child);

/* From here on the process is yours to wait for again. 0 also when it was not started, or fn was called. */
ROTA_API int rota_child_stop(rota_loop *loop, rota_child *child);

/* Sends a signal to the process of a started watcher. -ESRCH once fn was called, or it was stopped: the number may
 * be another process's by then. 0 for one that has ended and not been reaped yet. -EINVAL, -EPERM as kill(2). */
ROTA_API int rota_child_kill(rota_child *child, int signo);

#ifdef __cplusplus
}
#endif
#endif
