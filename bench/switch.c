/* The switch alone: two contexts that hand over to each other, with the same code on both sides and with
 * different code. Identical loops hide what a mispredicted return costs: in them every return address is the one
 * that the processor saw last. */
#include <stdlib.h>

#include "bench.h"
#include "floor.h"
#include "rota.h"

enum { STACK = 65536, SWITCHES = 4000000 };

static long rounds(void) { return SWITCHES / bench_divide; }

/* ---- floor ---- */

static void *main_context, *other_context;
static volatile long sink;

/* Two contexts in one function: every switch returns to the address that the last one returned to. */
static void *pair[2];
static long pair_left;

static void pair_side(void) {
    int me = pair_left & 1;
    while (--pair_left > 0)
        floor_switch(&pair[me], pair[!me]);
    floor_switch(&pair[me], main_context);
}

/* Leaves through two more frames, in a loop of another shape. */
static __attribute__((noinline)) long deeper(long i) {
    floor_switch(&other_context, main_context);
    return i + 1;
}

static void different_side(void) {
    for (long i = 0;; i = deeper(i)) {
        floor_switch(&other_context, main_context);
        sink = i;
    }
}

static double floor_same(long n) {
    char *stacks = malloc(2 * STACK);
    long switches = pair_left = 2 * rounds();
    (void)n;
    pair[0] = floor_make(stacks, STACK, pair_side);
    pair[1] = floor_make(stacks + STACK, STACK, pair_side);
    int64_t start = bench_now();
    floor_switch(&main_context, pair[0]);
    double ns = (double)(bench_now() - start) / (double)switches;
    free(stacks);
    return ns;
}

static double floor_different(long unused) {
    void *stack = malloc(STACK);
    long n = rounds();
    (void)unused;
    other_context = floor_make(stack, STACK, different_side);
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        floor_switch(&main_context, other_context);
    double ns = (double)(bench_now() - start) / (double)(2 * n);
    free(stack);
    return ns;
}

/* ---- rota: raw coroutines. Resuming and yielding are two calls, so their sides are never quite the same; the
 * other side here is a loop around a yield, or yields in two places at different depths. ---- */

static intptr_t co_same(rota_co *self, void *arg) {
    (void)arg;
    while (rota_co_yield(self, 0, NULL) == 0)
        ;
    return 0;
}

static __attribute__((noinline)) long co_deeper(rota_co *self, long i) {
    if (rota_co_yield(self, 0, NULL) < 0)
        bench_die("yield");
    return i + 1;
}

static intptr_t co_different(rota_co *self, void *arg) {
    (void)arg;
    for (long i = 0;; i = co_deeper(self, i)) {
        if (rota_co_yield(self, 0, NULL) < 0)
            return -1;
        sink = i;
    }
}

static double rota_with(rota_co_fn *fn) {
    rota_co *co;
    if (rota_co_new(&co, fn, NULL, NULL) < 0)
        bench_die("rota_co_new");
    long n = rounds();
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        if (rota_co_resume(co, 0, NULL) != ROTA_YIELDED)
            bench_die("rota_co_resume");
    double ns = (double)(bench_now() - start) / (double)(2 * n);
    rota_co_free(co);
    return ns;
}

static double rota_same(long n) { (void)n; return rota_with(co_same); }
static double rota_different(long n) { (void)n; return rota_with(co_different); }

const struct bench bench_switch[] = {
    { "switch", "switch_same", "ns", 2, { { "floor", floor_same }, { "rota", rota_same } } },
    { "switch", "switch_different", "ns", 2, { { "floor", floor_different }, { "rota", rota_different } } },
    { 0 }
};
