/* Row 7: fib(20) to fib(33), slowly on purpose, in worker processes, and once more one after the other. The values are
 * in order, whichever process was first; how long each run took is told on standard error. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "rota.h"

enum { FIRST = 20, LAST = 33, COUNT = LAST - FIRST + 1 };

static rota_workers *workers;

/* Real time: a virtual clock stands still while workers work. */
static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static intptr_t fib(intptr_t n) { return n < 2 ? 1 : fib(n - 1) + fib(n - 2); }

/* Runs in a worker: a pointer to it means the same there, since a worker is a copy of this program. */
static intptr_t fib_job(const void *in, size_t in_n, void *out, size_t out_size, size_t *out_n) {
    intptr_t n;
    (void)in_n, (void)out, (void)out_size, (void)out_n;
    memcpy(&n, in, sizeof n);
    return fib(n);
}

static intptr_t fib_in_process(void *arg) {
    intptr_t n = (intptr_t)arg, value;
    rota_worker_job job = { .fn = fib_job, .in = &n, .in_n = sizeof n };
    int rc = rota_workers_call(workers, &job, &value);
    return rc < 0 ? rc : value;
}

static void print_values(const char *how, const intptr_t *values) {
    printf("%s: [", how);
    for (int i = 0; i < COUNT; i++)
        printf("%s%ld", i ? ", " : "", (long)values[i]);
    printf("]\n");
}

static int run_in_processes(intptr_t *values) {
    rota_call calls[COUNT];
    for (int i = 0; i < COUNT; i++)
        calls[i] = (rota_call){ fib_in_process, (void *)(intptr_t)(FIRST + i), 0 };
    int rc = rota_workers_new(&workers, NULL);
    if (rc == 0)
        rc = rota_gather(calls, COUNT, NULL);
    (void)rota_workers_free(workers);
    for (int i = 0; i < COUNT; i++)
        values[i] = calls[i].result;
    return rc;
}

static intptr_t amain(void *unused) {
    intptr_t values[COUNT];
    (void)unused;
    double begun = seconds_now();
    int rc = run_in_processes(values);
    if (rc < 0)
        return rc;
    double processes = seconds_now() - begun;
    print_values("in processes", values);
    begun = seconds_now();
    for (int i = 0; i < COUNT; i++)
        values[i] = fib(FIRST + i);
    double sequential = seconds_now() - begun;
    print_values("one by one", values);
    fprintf(stderr, "in processes: %.2f secs, one by one: %.2f secs\n", processes, sequential);
    return 0;
}

int main(void) {
    intptr_t result;
    int rc = rota_fork_server_start(); /* before there is any thread or loop */
    if (rc == 0)
        rc = rota_run(amain, NULL, &result, NULL);
    if (rc < 0 || rota_failed(result))
        fprintf(stderr, "%s\n", rota_strerror(rc < 0 ? rc : result));
    (void)rota_fork_server_stop();
    return rc < 0 || rota_failed(result);
}
