/* Row 6: fib(20) to fib(33), slowly on purpose, in the threads of an executor, and once more one after the other. The
 * values are in order, whichever thread was first; how long each run took is told on standard error. */
#include <stdio.h>
#include <time.h>

#include "rota.h"

enum { FIRST = 20, LAST = 33, COUNT = LAST - FIRST + 1 };

/* Real time: a virtual clock stands still while threads work. */
static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static intptr_t fib(intptr_t n) { return n < 2 ? 1 : fib(n - 1) + fib(n - 2); }

static intptr_t fib_job(void *n) { return fib((intptr_t)n); }

static intptr_t fib_in_thread(void *n) {
    intptr_t value;
    int rc = rota_offload(fib_job, n, &value, NULL);
    return rc < 0 ? rc : value;
}

static void print_values(const char *how, const intptr_t *values) {
    printf("%s: [", how);
    for (int i = 0; i < COUNT; i++)
        printf("%s%ld", i ? ", " : "", (long)values[i]);
    printf("]\n");
}

static intptr_t amain(void *unused) {
    rota_call calls[COUNT];
    intptr_t values[COUNT];
    (void)unused;
    for (int i = 0; i < COUNT; i++)
        calls[i] = (rota_call){ fib_in_thread, (void *)(intptr_t)(FIRST + i), 0 };
    double begun = seconds_now();
    int rc = rota_gather(calls, COUNT, NULL);
    if (rc < 0)
        return rc;
    double threads = seconds_now() - begun;
    for (int i = 0; i < COUNT; i++)
        values[i] = calls[i].result;
    print_values("in threads", values);
    begun = seconds_now();
    for (int i = 0; i < COUNT; i++)
        values[i] = fib(FIRST + i);
    double sequential = seconds_now() - begun;
    print_values("one by one", values);
    fprintf(stderr, "in threads: %.2f secs, one by one: %.2f secs\n", threads, sequential);
    return 0;
}

int main(void) {
    intptr_t result;
    int rc = rota_run(amain, NULL, &result, NULL);
    if (rc < 0 || rota_failed(result))
        fprintf(stderr, "%s\n", rota_strerror(rc < 0 ? rc : result));
    return rc < 0 || rota_failed(result);
}
