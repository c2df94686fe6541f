/* Spawn, run and join: one after the other, and in bursts of 10,000. The floor keeps finished contexts suspended
 * in a trampoline, sets a function, switches there and back. */
#include <stdlib.h>

#include "bench.h"
#include "floor.h"
#include "rota.h"

enum { STACK = 8192 + 64, SPAWNS = 2000000 };

static long spawns(void) { return SPAWNS / bench_divide; }

/* ---- floor ---- */

struct slot {
    void *context;
    intptr_t (*fn)(void *);
    void *arg;
    intptr_t result;
};

static struct slot *slots, *running;
static void *main_context;

static void trampoline(void) {
    for (;;) {
        struct slot *me = running;
        me->result = me->fn(me->arg);
        floor_switch(&me->context, main_context);
    }
}

static __attribute__((noinline)) intptr_t nothing(void *arg) { return (intptr_t)arg; }

static void floor_burst(long burst) {
    for (long i = 0; i < burst; i++) {
        slots[i].fn = nothing;
        slots[i].arg = NULL;
    }
    for (long i = 0; i < burst; i++) {
        running = &slots[i];
        floor_switch(&main_context, running->context);
    }
}

static double floor_spawn(long burst) {
    char *stacks = malloc((size_t)burst * STACK);
    slots = calloc((size_t)burst, sizeof *slots);
    for (long i = 0; i < burst; i++)
        slots[i].context = floor_make(stacks + i * STACK, STACK, trampoline);
    floor_burst(burst); /* once, so that every stack has been touched */
    long done = 0;
    int64_t start = bench_now();
    for (; done < spawns(); done += burst)
        floor_burst(burst);
    double ns = (double)(bench_now() - start) / (double)done;
    free(slots);
    free(stacks);
    return ns;
}

/* ---- rota ---- */

static void rota_burst(rota_task **tasks, long burst) {
    for (long i = 0; i < burst; i++)
        if (rota_spawn(&tasks[i], nothing, NULL, NULL) < 0)
            bench_die("rota_spawn");
    for (long i = 0; i < burst; i++)
        if (rota_join(tasks[i], NULL) < 0)
            bench_die("rota_join");
}

static intptr_t spawn_all(void *arg) {
    long burst = *(long *)arg, done = 0;
    rota_task **tasks = malloc((size_t)burst * sizeof *tasks);
    rota_burst(tasks, burst);
    int64_t start = bench_now();
    for (; done < spawns(); done += burst)
        rota_burst(tasks, burst);
    int64_t ns = bench_now() - start;
    free(tasks);
    return (intptr_t)(ns * 1000 / done); /* ps: a result is an integer */
}

static double rota_spawns(long burst) {
    intptr_t ps;
    if (rota_run(spawn_all, &burst, &ps, NULL) < 0 || rota_failed(ps))
        bench_die("rota_run");
    return (double)ps / 1000;
}

/* In a group that is left at once; with the result written to a variable. */
static intptr_t spawn_in_groups(void *arg) {
    int64_t start = bench_now();
    (void)arg;
    for (long i = 0; i < spawns(); i++) {
        rota_group g;
        rota_group_begin(&g, NULL);
        if (rota_spawn(NULL, nothing, NULL, &(rota_spawn_options){ .group = &g }) < 0 || rota_group_end(&g, 0) < 0)
            bench_die("rota_spawn");
    }
    return (intptr_t)((bench_now() - start) * 1000 / spawns());
}

static intptr_t spawn_for_results(void *arg) {
    int64_t start = bench_now();
    (void)arg;
    for (long i = 0; i < spawns(); i++) {
        rota_task *task;
        intptr_t result = -1;
        if (rota_spawn(&task, nothing, (void *)i, &(rota_spawn_options){ .result = &result }) < 0 ||
            rota_join(task, NULL) < 0 || result != i)
            bench_die("rota_spawn");
    }
    return (intptr_t)((bench_now() - start) * 1000 / spawns());
}

static double rota_with(rota_fn *fn) {
    intptr_t ps;
    if (rota_run(fn, NULL, &ps, NULL) < 0 || rota_failed(ps))
        bench_die("rota_run");
    return (double)ps / 1000;
}

static double rota_groups(long n) { (void)n; return rota_with(spawn_in_groups); }
static double rota_results(long n) { (void)n; return rota_with(spawn_for_results); }

const struct bench bench_spawn[] = {
    { "spawn", "spawn_join", "ns", 1, { { "floor", floor_spawn }, { "rota", rota_spawns } },
      "one task made, run (its function returns at once) and joined, before the next one is made" },
    { "spawn", "spawn_burst", "ns", 10000, { { "floor", floor_spawn }, { "rota", rota_spawns } },
      "one task made, run (its function returns at once) and joined; 10,000 are made, then all joined" },
    { "spawn", "spawn_group", "ns", 1, { { "floor", floor_spawn }, { "rota", rota_groups } },
      "one task made in a group of its own, and waited for by leaving the group" },
    { "spawn", "spawn_result", "ns", 1, { { "floor", floor_spawn }, { "rota", rota_results } },
      "one task made, run (its function returns at once) and joined; its result is looked at" },
    { 0 }
};
