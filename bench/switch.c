/* The switch alone: two contexts that hand over to each other, with the same code on both sides and with different
 * code; 64 contexts of 8 kinds; rings so long that stacks fall out of the caches. Identical loops hide what a
 * mispredicted return costs: in them every return address is the one that the processor saw last.
 *
 * The floor is the least of several ways: to return or to jump, each in a ring and from main to one after the other and
 * back; a switch that is inlined, in a ring. (Inlined and from main it would be a call of a function in disguise:
 * nothing is saved, and the processor knows every target.) */
#include <stdlib.h>
#include <sys/mman.h>

#include "bench.h"
#include "floor.h"
#include "floor_inline.h"
#include "rota.h"

enum { SWITCHES = 4000000, KINDS = 8, MIXED = 64, STACK = 65536 + 4096 };

static long rounds(long n) {
    long r = 2 * SWITCHES / bench_divide / n;
    return r > 0 ? r : 1;
}

static char *map_stacks(long n) {
    char *p = mmap(NULL, (size_t)n * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        bench_die("mmap");
    madvise(p, (size_t)n * STACK, MADV_NOHUGEPAGE);
    return p;
}

static volatile long sink;

/* ---- floor: contexts in a ring, each hands over to the next. Written once, for three kinds of switch. ---- */

static long ring_n, ring_at, ring_left;

#define SIDE(kind, SWITCH, pad) \
    static __attribute__((noinline)) void kind##_side_##pad(void) { \
        for (;;) { \
            long me = ring_at; \
            for (int i = 0; i < pad; i++) \
                sink = i; \
            if (--ring_left < 0) \
                SWITCH(&kind##_ring[me], &kind##_main); \
            ring_at = me + 1 < ring_n ? me + 1 : 0; \
            SWITCH(&kind##_ring[me], &kind##_ring[ring_at]); \
        } \
    }
/* Handed over to by main, and back to main. */
#define BACK(kind, SWITCH, pad) \
    static __attribute__((noinline)) void kind##_back_##pad(void) { \
        for (;;) { \
            long me = ring_at; \
            for (int i = 0; i < pad; i++) \
                sink = i; \
            SWITCH(&kind##_ring[me], &kind##_main); \
        } \
    }
#define BY_RETURN(save, to) floor_switch(save, *(to))
#define BY_JUMP(save, to) floor_switch_jump(save, *(to))
#define SIDES(kind, context, SWITCH) \
    static context *kind##_ring, kind##_main; \
    SIDE(kind, SWITCH, 0) SIDE(kind, SWITCH, 1) SIDE(kind, SWITCH, 2) SIDE(kind, SWITCH, 3) SIDE(kind, SWITCH, 4) \
    SIDE(kind, SWITCH, 5) SIDE(kind, SWITCH, 6) SIDE(kind, SWITCH, 7) \
    static void (*const kind##_sides[KINDS])(void) = { \
        kind##_side_0, kind##_side_1, kind##_side_2, kind##_side_3, kind##_side_4, kind##_side_5, kind##_side_6, \
        kind##_side_7 \
    };

#define BACKS(kind, SWITCH) \
    BACK(kind, SWITCH, 0) BACK(kind, SWITCH, 1) BACK(kind, SWITCH, 2) BACK(kind, SWITCH, 3) BACK(kind, SWITCH, 4) \
    BACK(kind, SWITCH, 5) BACK(kind, SWITCH, 6) BACK(kind, SWITCH, 7) \
    static void (*const kind##_backs[KINDS])(void) = { \
        kind##_back_0, kind##_back_1, kind##_back_2, kind##_back_3, kind##_back_4, kind##_back_5, kind##_back_6, \
        kind##_back_7 \
    };

typedef void *pointer;
SIDES(ret, pointer, BY_RETURN)
SIDES(jump, pointer, BY_JUMP)
SIDES(in, struct floor_inline, floor_switch_inline)
BACKS(ret, BY_RETURN)
BACKS(jump, BY_JUMP)

#define ROUND(kind, SWITCH, MAKE) \
    static double kind##_round(long n, int kinds) { \
        char *stacks = map_stacks(n); \
        kind##_ring = malloc((size_t)n * sizeof *kind##_ring); \
        ring_n = n; \
        ring_at = 0; \
        for (long i = 0; i < n; i++) \
            kind##_ring[i] = MAKE(stacks + i * STACK, STACK, kind##_sides[i % kinds]); \
        ring_left = n; \
        SWITCH(&kind##_main, &kind##_ring[0]); /* once round: every stack has been touched */ \
        long switches = ring_left = rounds(n) * n; \
        int64_t start = bench_now(); \
        SWITCH(&kind##_main, &kind##_ring[ring_at]); \
        double ns = (double)(bench_now() - start) / (double)switches; \
        free(kind##_ring); \
        munmap(stacks, (size_t)n * STACK); \
        return ns; \
    }
/* Through main, as rota's coroutines are resumed: two switches for each. Of a pair, main is one. */
#define THROUGH(kind, SWITCH, MAKE) \
    static double kind##_through(long n, int kinds) { \
        n = n > 2 ? n : 1; \
        char *stacks = map_stacks(n); \
        kind##_ring = malloc((size_t)n * sizeof *kind##_ring); \
        for (ring_at = 0; ring_at < n; ring_at++) { \
            kind##_ring[ring_at] = MAKE(stacks + ring_at * STACK, STACK, kind##_backs[(ring_at + (n == 1)) % kinds]); \
            SWITCH(&kind##_main, &kind##_ring[ring_at]); \
        } \
        long r = rounds(2 * n); \
        int64_t start = bench_now(); \
        for (long k = 0; k < r; k++) \
            for (ring_at = 0; ring_at < n; ring_at++) \
                SWITCH(&kind##_main, &kind##_ring[ring_at]); \
        double ns = (double)(bench_now() - start) / (double)(2 * r * n); \
        free(kind##_ring); \
        munmap(stacks, (size_t)n * STACK); \
        return ns; \
    }
ROUND(ret, BY_RETURN, floor_make)
ROUND(jump, BY_JUMP, floor_make)
ROUND(in, floor_switch_inline, floor_inline_make)
THROUGH(ret, BY_RETURN, floor_make)
THROUGH(jump, BY_JUMP, floor_make)

static double less(double a, double b) { return a < b ? a : b; }

static double out_of_line(long n, int kinds) {
    return less(less(ret_round(n, kinds), jump_round(n, kinds)), less(ret_through(n, kinds), jump_through(n, kinds)));
}

static double floor_same(long n) { return less(in_round(n, 1), out_of_line(n, 1)); }
static double floor_kinds(long n) { return less(in_round(n, KINDS), out_of_line(n, KINDS)); }
/* An inlined switch does not touch the stacks, of which rings are about. */
static double floor_ring(long n) { return out_of_line(n, 1); }

/* ---- rota: raw coroutines. They are resumed by one who resumes them in turn: a resumption and a yield are two
 * switches. Resuming and yielding are two calls, so their sides are never quite the same. ---- */

#define CO(pad) \
    static intptr_t co_##pad(rota_co *self, void *arg) { \
        (void)arg; \
        for (;;) { \
            for (int i = 0; i < pad; i++) \
                sink = i; \
            if (rota_co_yield(self, 0, NULL) < 0) \
                return -1; \
        } \
    }
CO(1) CO(2) CO(3) CO(4) CO(5) CO(6) CO(7)

static intptr_t co_0(rota_co *self, void *arg) {
    (void)arg;
    while (rota_co_yield(self, 0, NULL) == 0)
        ;
    return 0;
}

/* Yields in two places, at different depths. */
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

static double rota_round(long n, rota_co_fn *const *fns, int kinds) {
    rota_co **all = malloc((size_t)n * sizeof *all);
    for (long i = 0; i < n; i++)
        if (rota_co_new(&all[i], fns[i % kinds], NULL, NULL) < 0 || rota_co_resume(all[i], 0, NULL) != ROTA_YIELDED)
            bench_die("rota_co_new");
    long r = rounds(2 * n);
    int64_t start = bench_now();
    for (long k = 0; k < r; k++)
        for (long i = 0; i < n; i++)
            if (rota_co_resume(all[i], 0, NULL) != ROTA_YIELDED)
                bench_die("rota_co_resume");
    double ns = (double)(bench_now() - start) / (double)(2 * r * n);
    for (long i = 0; i < n; i++)
        rota_co_free(all[i]);
    free(all);
    return ns;
}

static rota_co_fn *const kinds_of_co[KINDS] = { co_0, co_1, co_2, co_3, co_4, co_5, co_6, co_7 };
static rota_co_fn *const different[1] = { co_different };

static double rota_same(long n) { return rota_round(n, kinds_of_co, 1); }
static double rota_different(long n) { return rota_round(n, different, 1); }
static double rota_kinds(long n) { return rota_round(n, kinds_of_co, KINDS); }

/* For a pair, one of rota's is the caller that resumes. */
static double rota_pair_same(long n) { return rota_same(n / 2); }
static double rota_pair_different(long n) { return rota_different(n / 2); }

const struct bench bench_switch[] = {
    { "switch", "switch_same", "ns", 2, { { "floor", floor_same }, { "rota", rota_pair_same } },
      "one switch between 2 contexts that hand over to each other and run the same code" },
    { "switch", "switch_different", "ns", 2, { { "floor", floor_kinds }, { "rota", rota_pair_different } },
      "one switch between 2 contexts that hand over to each other and run different code" },
    { "switch", "switch_mixed", "ns", MIXED, { { "floor", floor_kinds }, { "rota", rota_kinds } },
      "one switch on a round through 64 contexts that run 8 different pieces of code" },
    { "switch", "ring_1000", "ns", 1000, { { "floor", floor_ring }, { "rota", rota_same } },
      "one switch on a round through 1,000 contexts that run the same code, each on its own stack" },
    { "switch", "ring_100000", "ns", 100000, { { "floor", floor_ring }, { "rota", rota_same } },
      "one switch on a round through 100,000 contexts that run the same code, each on its own stack" },
    { 0 }
};
