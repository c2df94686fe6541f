/* What tests of process executors have in common: a server, memory that the test and its workers share, gates in it,
 * and jobs. */
#ifndef ROTA_TESTS_WORKERS_KIT_H
#define ROTA_TESTS_WORKERS_KIT_H

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "coro/workers.h"
#include "rota/executor.h"
#include "rota/process.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

/* Mapped before the server is forked, so that every worker has it at the same place. */
KIT struct common {
    atomic_int entered;        /* jobs that stand at the gate, or have passed it */
    atomic_int permits;        /* that it lets through */
    atomic_int ran;
    atomic_int pid;            /* of the worker that came in last */
} *common;

/* The real one. But Criterion's test processes have a thread of Criterion's own, which only waits: there, the server
 * starts all the same. */
#ifdef ROTA_CRITERION
KIT int one_thread(void) { return 1; }
#else
# define one_thread rota__sys_real.threads
#endif

KIT struct rota__sys kit_table(void) {
    struct rota__sys sys = rota__sys_real;
    sys.threads = one_thread;
    return sys;
}

KIT void use_kit_table(void) {
    static struct rota__sys sys;
    if (rota__sys == &rota__sys_real) {
        sys = kit_table();
        rota__sys = &sys;
    }
}

KIT void start_server(void) {
    use_kit_table();
    common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert(common != MAP_FAILED);
    cr_assert_eq(rota_fork_server_start(), 0);
}

/* And nothing of it is left. */
KIT void stop_server(void) {
    cr_expect_eq(rota_fork_server_stop(), 0);
    cr_expect(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "a process is left");
}

KIT void sleep_a_little(void) {
    struct timespec t = {0, 200 * 1000};
    (void)nanosleep(&t, NULL);
}

KIT void pass_gate(void) {
    atomic_store(&common->pid, getpid());
    atomic_fetch_add(&common->entered, 1);
    for (int n = atomic_load(&common->permits);;) {
        if (n > 0 && atomic_compare_exchange_weak(&common->permits, &n, n - 1))
            return;
        sleep_a_little();
        n = atomic_load(&common->permits);
    }
}

KIT void open_gate(int n) { atomic_fetch_add(&common->permits, n); }

/* In a task: the loop goes on meanwhile. */
KIT void until_entered(int n) {
    while (atomic_load(&common->entered) < n) {
        cr_expect_eq(rota_yield(), 0);
        sched_yield();
    }
}

/* ---- jobs ---- */

#define JOB(name)                                                                                    \
    static __attribute__((unused)) intptr_t name(const void *in __attribute__((unused)),             \
                                                 size_t in_n __attribute__((unused)),                \
                                                 void *out __attribute__((unused)),                  \
                                                 size_t out_size __attribute__((unused)),            \
                                                 size_t *out_n __attribute__((unused)))

JOB(job_value) {
    intptr_t value = 0;
    atomic_fetch_add(&common->ran, 1);
    memcpy(&value, in, in_n < sizeof value ? in_n : sizeof value);
    return value;
}

JOB(job_pid) { return getpid(); }

JOB(job_gate) {
    pass_gate();
    atomic_fetch_add(&common->ran, 1);
    return 7;
}

/* Each byte and one; as many as there is room for. */
JOB(job_add_one) {
    size_t n = in_n < out_size ? in_n : out_size;
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)out)[i] = (unsigned char)(((const unsigned char *)in)[i] + 1);
    *out_n = n;
    return (intptr_t)n;
}

/* ---- tasks in calls ---- */

KIT rota_workers *workers;

KIT void open_workers(unsigned n) {
    cr_expect_eq(rota_workers_new(&workers, &(rota_workers_options){.workers = n, .queue = 2}), 0);
}

KIT void free_workers(void) {
    cr_expect_eq(rota_workers_free(workers), 0);
    workers = NULL;
}

/* What the job gave, or what the call answered. */
KIT intptr_t call_value(intptr_t value) {
    rota_worker_job job = {.fn = job_value, .in = &value, .in_n = sizeof value};
    intptr_t got = -1;
    int rc = rota_workers_call(workers, &job, &got);
    return rc < 0 ? rc : got;
}

KIT intptr_t call_fn(rota_worker_fn *fn, int *status) {
    rota_worker_job job = {.fn = fn};
    intptr_t got = -1;
    int rc = rota_workers_call(workers, &job, &got);
    if (status)
        *status = job.status;
    return rc < 0 ? rc : got;
}

#endif
