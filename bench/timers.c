/* Timers, N outstanding, on a virtual clock (so that no clock is read): start; cancel; the server's pattern (30 s
 * timeouts that are nearly always moved before they expire); expire. The floor stores the deadline in an object of a
 * timer's size, or calls in an order that an oracle found. */
#include <stdlib.h>

#include "bench.h"
#include "rota.h"

enum { OPERATIONS = 4000000 };

static uint64_t seed;

static uint64_t random64(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static long passes(long n) {
    long p = OPERATIONS / bench_divide / n;
    return p > 0 ? p : 1;
}

/* Deadlines between 0 and 60 s; visited in another order than memory's. */
static int64_t *delays;
static uint32_t *order;

static void prepare(long n) {
    delays = malloc((size_t)n * sizeof *delays);
    order = malloc((size_t)n * sizeof *order);
    seed = 0x9e3779b97f4a7c15u;
    for (long i = 0; i < n; i++) {
        delays[i] = (int64_t)(random64() % (uint64_t)(60 * ROTA_S));
        order[i] = (uint32_t)i;
    }
    for (long i = n - 1; i > 0; i--) {
        long j = (long)(random64() % (uint64_t)(i + 1));
        uint32_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

static void finish(void) {
    free(delays);
    free(order);
}

/* ---- floor: an object of a timer's size with a deadline in it ---- */

struct floor_timer {
    int64_t deadline;
    char rest[sizeof(rota_timer) - sizeof(int64_t)];
};

/* Visits the timers in the order in which rota's rows do. */
static double floor_store(long n, bool backwards) {
    prepare(n);
    struct floor_timer *timers = calloc((size_t)n, sizeof *timers);
    long p = passes(n);
    int64_t start = bench_now();
    for (long k = 0; k < p; k++)
        for (long i = 0; i < n; i++) {
            struct floor_timer *t = &timers[order[backwards ? n - 1 - i : i]];
            *(volatile int64_t *)&t->deadline = delays[i] + k;
        }
    double ns = (double)(bench_now() - start) / (double)(p * n);
    free(timers);
    finish();
    return ns;
}

static double floor_start(long n) { return floor_store(n, false); }
static double floor_cancel(long n) { return floor_store(n, true); }

static int by_delay(const void *a, const void *b) {
    int64_t x = delays[*(const uint32_t *)a], y = delays[*(const uint32_t *)b];
    return (x > y) - (x < y);
}

static long fired;

static __attribute__((noinline)) void floor_fire(struct floor_timer *t) {
    t->deadline = 0;
    fired++;
}

/* Calls in the order of the deadlines, which an oracle has found: nobody can do less. */
static double floor_expire(long n) {
    prepare(n);
    struct floor_timer *timers = calloc((size_t)n, sizeof *timers);
    uint32_t *sorted = malloc((size_t)n * sizeof *sorted);
    void (*volatile fire)(struct floor_timer *) = floor_fire;
    for (long i = 0; i < n; i++)
        sorted[i] = (uint32_t)i;
    qsort(sorted, (size_t)n, sizeof *sorted, by_delay);
    long p = passes(n);
    int64_t start = bench_now();
    for (long k = 0; k < p; k++)
        for (long i = 0; i < n; i++)
            fire(&timers[order[sorted[i]]]);
    double ns = (double)(bench_now() - start) / (double)(p * n);
    free(sorted);
    free(timers);
    finish();
    return ns;
}

/* ---- rota ---- */

static void fire(rota_timer *timer, void *arg) {
    (void)timer, (void)arg;
    fired++;
}

static rota_loop *loop;
static rota_timer *timers;

static void open_loop(long n) {
    prepare(n);
    if (rota_loop_new(&loop, &(rota_loop_options){ .virtual_clock = true }) < 0)
        bench_die("rota_loop_new");
    timers = malloc((size_t)n * sizeof *timers);
    for (long i = 0; i < n; i++)
        rota_timer_init(&timers[i], fire, NULL);
}

static void close_loop(void) {
    rota_loop_free(loop);
    free(timers);
    finish();
}

static void start_all(long n) {
    for (long i = 0; i < n; i++)
        if (rota_timer_start(loop, &timers[order[i]], delays[i]) < 0)
            bench_die("rota_timer_start");
}

static void stop_all(long n) {
    for (long i = 0; i < n; i++)
        rota_timer_stop(loop, &timers[i]);
}

static double rota_start(long n) {
    open_loop(n);
    int64_t ns = 0;
    for (long k = 0; k < passes(n); k++) {
        int64_t start = bench_now();
        start_all(n);
        ns += bench_now() - start;
        stop_all(n);
    }
    close_loop();
    return (double)ns / (double)(passes(n) * n);
}

static double rota_cancel_timers(long n) {
    open_loop(n);
    int64_t ns = 0;
    for (long k = 0; k < passes(n); k++) {
        start_all(n);
        int64_t start = bench_now();
        for (long i = 0; i < n; i++)
            rota_timer_stop(loop, &timers[order[n - 1 - i]]);
        ns += bench_now() - start;
    }
    close_loop();
    return (double)ns / (double)(passes(n) * n);
}

static double rota_rearm(long n) {
    open_loop(n);
    for (long i = 0; i < n; i++)
        if (rota_timer_start(loop, &timers[i], 30 * ROTA_S) < 0)
            bench_die("rota_timer_start");
    long p = passes(n);
    int64_t start = bench_now();
    for (long k = 0; k < p; k++)
        for (long i = 0; i < n; i++)
            if (rota_timer_start(loop, &timers[order[i]], 30 * ROTA_S + k * ROTA_US) < 0)
                bench_die("rota_timer_start");
    double ns = (double)(bench_now() - start) / (double)(p * n);
    stop_all(n);
    close_loop();
    return ns;
}

static double rota_expire(long n) {
    open_loop(n);
    int64_t ns = 0;
    for (long k = 0; k < passes(n); k++) {
        start_all(n);
        fired = 0;
        int64_t start = bench_now();
        if (rota_loop_run(loop) < 0 || fired != n)
            bench_die("rota_loop_run");
        ns += bench_now() - start;
    }
    close_loop();
    return (double)ns / (double)(passes(n) * n);
}

#define SIZES(name, floor, rota, what) \
    { "timers", name "_1000", "ns", 1000, { { "floor", floor }, { "rota", rota } }, what "; n = 1,000" }, \
    { "timers", name "_100000", "ns", 100000, { { "floor", floor }, { "rota", rota } }, what "; n = 100,000" }, \
    { "timers", name "_1000000", "ns", 1000000, { { "floor", floor }, { "rota", rota } }, what "; n = 1,000,000" }

const struct bench bench_timers[] = {
    SIZES("timer_start", floor_start, rota_start,
          "one of n timers started, due at random in the next minute, until all are"),
    SIZES("timer_cancel", floor_cancel, rota_cancel_timers,
          "one of n timers cancelled, the last one started first, until none is left"),
    SIZES("timer_rearm", floor_start, rota_rearm,
          "one of n started timers moved to a new deadline, 30 s ahead"),
    SIZES("timer_expire", floor_expire, rota_expire,
          "one of n timers expires: its callback is called, the earliest deadline first"),
    { 0 }
};
