/* A yield through the scheduler, among 2, 1,000 and 100,000 tasks. The floor goes round an array of contexts. */
#include <stdlib.h>

#include "bench.h"
#include "floor.h"
#include "rota.h"

enum { STACK = 8192 + 64, YIELDS = 8000000 };

static long rounds(long n) {
    long all = YIELDS / bench_divide;
    return all / n > 0 ? all / n : 1;
}

/* ---- floor ---- */

static void **ring, *main_context;
static long ring_n, ring_at, left;

static void go_round(void) {
    for (;;) {
        long me = ring_at;
        if (--left < 0)
            floor_switch(&ring[me], main_context);
        ring_at = me + 1 < ring_n ? me + 1 : 0;
        floor_switch(&ring[me], ring[ring_at]);
    }
}

static double floor_yield(long n) {
    char *stacks = malloc((size_t)n * STACK);
    ring = malloc((size_t)n * sizeof *ring);
    ring_n = n;
    ring_at = 0;
    for (long i = 0; i < n; i++)
        ring[i] = floor_make(stacks + i * STACK, STACK, go_round);
    left = n;
    floor_switch(&main_context, ring[0]); /* once round, so that every stack has been touched */
    long yields = rounds(n) * n;
    left = yields;
    int64_t start = bench_now();
    floor_switch(&main_context, ring[ring_at]);
    double ns = (double)(bench_now() - start) / (double)yields;
    free(ring);
    free(stacks);
    return ns;
}

/* ---- rota ---- */

static intptr_t yielder(void *arg) {
    long n = *(long *)arg;
    for (long i = 0; i < n; i++)
        if (rota_yield() < 0)
            return -1;
    return 0;
}

static intptr_t yield_all(void *arg) {
    long n = *(long *)arg, each = rounds(n);
    rota_group g;
    rota_group_begin(&g, NULL);
    for (long i = 0; i < n; i++)
        if (rota_spawn(NULL, yielder, &each, &(rota_spawn_options){ .group = &g, .stack_size = 4096 }) < 0)
            bench_die("rota_spawn");
    /* All of them make a first step, so that every stack has been touched before the clock starts. */
    if (rota_yield() < 0)
        return -1;
    int64_t start = bench_now();
    if (rota_group_end(&g, 0) < 0)
        return -1;
    return (intptr_t)(bench_now() - start);
}

static double rota_yields(long n) {
    intptr_t ns;
    if (rota_run(yield_all, &n, &ns, NULL) < 0 || rota_failed(ns))
        bench_die("rota_run");
    return (double)ns / (double)(rounds(n) * n);
}

const struct bench bench_yield[] = {
    { "yield", "yield_2", "ns", 2, { { "floor", floor_yield }, { "rota", rota_yields } },
      "one yield by way of the scheduler, among 2 tasks that do nothing else" },
    { "yield", "yield_1000", "ns", 1000, { { "floor", floor_yield }, { "rota", rota_yields } },
      "one yield by way of the scheduler, among 1,000 tasks that do nothing else" },
    { "yield", "yield_100000", "ns", 100000, { { "floor", floor_yield }, { "rota", rota_yields } },
      "one yield by way of the scheduler, among 100,000 tasks that do nothing else" },
    { 0 }
};
