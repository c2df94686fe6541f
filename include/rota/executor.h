/* Thread executors: functions that block or compute run in threads, and a task waits for what they return.
 *
 * One executor serves tasks of any number of loops, on any threads, at once. Each loop also has one of its own, made
 * when it is first needed, which also resolves names; rota_loop_options.threads says how many threads it may have.
 *
 * Jobs start in the order in which they came. Their threads have all signals blocked, and stay until the executor is
 * closed. A job must not call anything that suspends: outside of a task such calls answer -EPERM. (It may run a loop of
 * its own, with rota_run, and it may use a rota_remote.)
 */
#ifndef ROTA_EXECUTOR_H
#define ROTA_EXECUTOR_H

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rota_executor rota_executor;

typedef struct rota_executor_options {
    unsigned threads;       /* most threads, each made when a job finds none free; 0: as many as there are processors */
    size_t queue;           /* most jobs that wait for a thread before no_wait gives up; 0: 1024 */
    size_t stack_size;      /* bytes of a thread's stack; 0: the system's default. macOS wants whole pages */
    const char *name;       /* of the threads, for debuggers: copied, at most 15 bytes of it; NULL: "rota" */
    const rota_allocator *allocator;  /* for the executor itself, called from any thread; NULL: malloc. Used until the
                                         last loop that had a job here, and the last abandoned job, have ended */
} rota_executor_options;

/* Starts no thread yet. opt is copied. -EINVAL (an allocator without a function; a stack_size that the system gives to
 * no thread, see sysconf(_SC_THREAD_STACK_MIN)), -ENOMEM; *executor is NULL then. */
ROTA_API ROTA_CHECK int rota_executor_new(rota_executor **executor, const rota_executor_options *opt);

/* (S) Until no job is queued and none runs, also of those that are added meanwhile; abandoned ones do not count. The
 * gentle way to close: the loop goes on, jobs may call into it. -EINVAL. */
ROTA_API ROTA_CHECK int rota_executor_drain(rota_executor *executor);

/* Any thread. Queued jobs never run: those who wait for them get -ESHUTDOWN, as does every later call. Blocks until
 * jobs that run, and their threads, have ended; abandoned ones are not waited for. Closing again is 0. -EDEADLK in a
 * job of this executor, which would wait for itself: nothing is closed then; do it in a task, or another thread. A job
 * that waits for the loop whose thread blocks here never ends: drain first. */
ROTA_API int rota_executor_close(rota_executor *executor);

/* Closes if need be, and frees: nobody may use it any more. NULL is fine. -EDEADLK as close. In a child after fork,
 * where its threads do not exist, every other call answers -EINVAL (close: 0), and this one frees the child's copy. */
ROTA_API int rota_executor_free(rota_executor *executor);

typedef struct rota_offload_options {
    rota_executor *executor;      /* NULL: the loop's own */
    bool no_wait;                 /* -EAGAIN, instead of standing in line behind a full queue */
    bool abandon;                 /* a job that runs is left to itself when its task is cancelled */
    void (*destroy)(void *arg);   /* called exactly once, whatever this call returns: when nobody uses arg any more; on
                                     the job's thread if it was abandoned, else inside the call. NULL: nothing to do */
    void (*discard)(intptr_t value, void *arg); /* with abandon: told on the job's thread what an abandoned job
                                     returned, before destroy: to close or free what that is. NULL: nothing to do */
} rota_offload_options;

/* (S) Runs fn(arg) in a thread. Two channels: returned is the fate of the call, *result what fn returned (or the
 * error of the call); result NULL merges them.
 *
 * A task in here keeps its loop alive. Cancelled while its job is queued, it returns -ECANCELED, and the job never
 * runs. While the job runs it waits all the same, keeps the value, and its next suspending call refuses. With
 * abandon it returns -ECANCELED at once instead: arg must then be memory that lasts until destroy, never the task's
 * stack. Threads in abandoned jobs do not count against the limit, up to four times as many as that: a few jobs that
 * hang do not stop the others.
 *
 * -EINVAL (no fn, an executor of before fork), -EAGAIN (no_wait and a full queue; no thread could be made and there
 * is none), -ESHUTDOWN (the executor is closed, or was before the job ran), -ENOMEM. When some threads could be made
 * and others not, those serve all. */
ROTA_API ROTA_CHECK int rota_offload(rota_fn *fn, void *arg, intptr_t *result, const rota_offload_options *opt);

#ifdef __cplusplus
}
#endif
#endif
