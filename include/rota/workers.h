/* Process executors: functions run in worker processes, and a task waits for what they return. For work that computes,
 * and for code that may crash: what ends a worker fails the job that ran in it, with an error that says so, and nothing
 * else.
 *
 *     int main(void) {
 *         if (rota_fork_server_start() < 0) ...           // first of all
 *         ... rota_run(...): rota_workers_new, rota_workers_call, rota_workers_free
 *     }
 *
 * Workers are forked by a small server, a process that was itself forked before there was any thread. So a worker is a
 * copy of the program as it was at that moment: pointers to functions and to data of the program mean the same in it,
 * and no lock is held there by a thread that does not exist. What a worker has:
 *  - Memory as it was when the server started, plus what earlier jobs of the same worker have changed.
 *  - Descriptors 0 (/dev/null), 1 and 2, and no others of the program's. What was in the buffers of stdio at the start
 *    is in them still: flush before, and let jobs flush what they print.
 *  - Every signal's default action, none blocked; the signals of the terminal (SIGINT, SIGQUIT, SIGHUP) are ignored, so
 *    that an interrupt reaches the parent alone, which ends its workers in order.
 * The server and all workers end when the parent does, however it ends.
 *
 * A job may block, allocate, run a loop of its own with rota_run; it must not use loops and executors of the parent
 * (they answer -EINVAL).
 */
#ifndef ROTA_WORKERS_H
#define ROTA_WORKERS_H

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Starts the server. Once in a process, before it has a thread or opens a loop: at the beginning of main, not in a task
 * (rota_run has opened a loop by then, and the answer is -EBUSY). On Linux threads are counted as they
 * are now; on the BSDs and macOS a process that ever had one counts as having several.
 * -EBUSY: there are threads, or a loop is current; -EALREADY: it runs. -EAGAIN, -ENOMEM, -EMFILE, -ENFILE; -ENOTSUP on
 * a system that does not tell how many threads there are. May be called again after it was stopped or has died. In a
 * child after fork there is none, and one may be started. */
ROTA_API ROTA_CHECK int rota_fork_server_start(void);

/* Ends it and all workers, and waits for that; jobs that run get -ENOTCONN. Any thread. Without a call the end of the
 * process does the same. 0, also when there was none. */
ROTA_API int rota_fork_server_stop(void);

typedef struct rota_workers rota_workers;

typedef struct rota_workers_options {
    unsigned workers;       /* most processes, each forked when a job finds none free; 0: as many as processors */
    size_t queue;           /* most jobs that wait for a worker before no_wait gives up; 0: 1024 */
    size_t max_job_bytes;   /* most of the input, and of the output, of one job; 0: 1 GiB */
} rota_workers_options;

/* For tasks of the loop that is current; forks nothing yet. Uses the loop's allocator. opt is copied, and may be NULL.
 * -EINVAL, -ENOTCONN (the fork server does not run: call rota_fork_server_start first of all in main), -ENOMEM, -EPERM
 * and -ESHUTDOWN of the loop; *workers is NULL then. */
ROTA_API ROTA_CHECK int rota_workers_new(rota_workers **workers, const rota_workers_options *opt);

/* What a worker runs. in and out are aligned for any type. *out_n, 0 before, says how much of out is the output. The
 * value is the outcome: -4095 to -1 an error, anything else a result (a number: pointers into the worker's memory mean
 * nothing here). */
typedef intptr_t rota_worker_fn(const void *in, size_t in_n, void *out, size_t out_size, size_t *out_n);

/* One job. in and out stay the caller's, and stay where they are until the call returns. */
typedef struct rota_worker_job {
    rota_worker_fn *fn;
    const void *in;
    size_t in_n;
    void *out;
    size_t out_size;
    bool no_wait;           /* -EAGAIN, instead of standing in line behind a full queue */
    bool kill_on_cancel;    /* cancelled while it runs: the worker is killed, instead of waited for */
    /* written by the call, on every return */
    size_t out_n;           /* bytes in out */
    int status;             /* with -EOWNERDEAD, the wait status of the worker, for rota_process_exit_code and
                               rota_process_exit_signal; else -1 */
} rota_worker_job;

/* (S) Runs job->fn in a worker. Two channels: returned is the fate of the call, *result what the function returned (or
 * the error of the call); result NULL merges them. Jobs start in the order in which they came. A job is never run
 * twice: one whose worker was killed before it began goes to another worker, one that had begun fails.
 *
 * Small inputs and outputs go over a socket, larger ones through memory shared with the worker. A task in here keeps
 * its loop alive. Cancelled while its job is queued, it returns -ECANCELED and the job never runs. While the job runs
 * the task waits all the same, keeps the value, and its next suspending call refuses; with kill_on_cancel it returns
 * -ECANCELED at once, the worker (not what it has started itself) is killed a moment later, and another one takes its
 * place.
 *
 * -EOWNERDEAD: the worker crashed, exited or was killed while it ran the job; see status. Another one takes its place.
 * -ENOTCONN: the fork server was stopped, or it died, with the worker that ran the job. -EMSGSIZE: more input or room
 * for output than max_job_bytes, or the function claims more output than there is room. -EINVAL (no fn; sizes without
 * memory), -EAGAIN (no_wait and a full queue; no worker could be forked and there is none; three of them died before
 * they began the job), -ENOMEM, -ENOSPC, -EMFILE, -ENFILE (no worker could be had), -ESHUTDOWN (closed, also before the
 * job ran), -EPERM (a task of another loop). When some workers could be forked and others not, those serve all. */
ROTA_API ROTA_CHECK int rota_workers_call(rota_workers *workers, rota_worker_job *job, intptr_t *result);

/* (S) Until no job is queued and none runs, also of those that are added meanwhile. -EINVAL, -EPERM. */
ROTA_API ROTA_CHECK int rota_workers_drain(rota_workers *workers);

/* Queued jobs never run: those who wait for them get -ESHUTDOWN, as does every later call. Jobs that run go on to their
 * end, and their workers end after them; all others end now. Never suspends. Closing again is 0; so is closing after
 * the loop has been closed, which ends every worker. -EINVAL, -EPERM (another thread than the loop's). */
ROTA_API int rota_workers_close(rota_workers *workers);

/* Closes if need be, and frees: nobody may use it any more, but calls that run go on to their end. NULL is fine. -EPERM
 * as close. In a child after fork, where every other call answers -EINVAL, it frees the child's copy. */
ROTA_API int rota_workers_free(rota_workers *workers);

#ifdef __cplusplus
}
#endif
#endif
