/* The frame of the benchmarks: what one is, and what its file offers. See README.md for the method. */
#ifndef ROTA_BENCH_H
#define ROTA_BENCH_H

#include <stdint.h>

/* One row of a benchmark: returns the cost of one operation, in the benchmark's unit. Rows are run in turn
 * (floor, rota, floor, rota, ...), so that what the machine does meanwhile hits all of them alike. */
struct bench_row {
    const char *row;                /* "floor", "rota", or a peer's name */
    double (*measure)(long n);
};

struct bench {
    const char *group, *name, *unit;
    long n;                         /* handed to measure: how many tasks, timers, connections */
    struct bench_row rows[4];       /* ended by a row without a name */
};

extern const struct bench bench_switch[], bench_yield[], bench_spawn[], bench_sync[], bench_cancel[], bench_timers[], bench_echo[],
    bench_process[], bench_offload[];
extern const struct bench bench_dns[];
extern const struct bench bench_socket[];

extern const struct bench bench_http[];

/* Monotonic time in ns. */
int64_t bench_now(void);

/* Shortens everything by this factor (--quick); at least 1. */
extern long bench_divide;

/* For a row that cannot go on. */
_Noreturn void bench_die(const char *what);

#endif
