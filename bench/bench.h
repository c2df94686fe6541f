/* The frame of the benchmarks: what one is, and what its file offers. See README.md for the method. */
#ifndef ROTA_BENCH_H
#define ROTA_BENCH_H

#include <stdint.h>

enum { BENCH_ROWS = 7 };

/* One row of a benchmark: returns the cost of one operation, in the benchmark's unit (less is better), or what
 * bench_absent returned. Rows are run in turn (floor, rota, floor, rota, ...), so that what the machine does meanwhile
 * hits all of them alike. */
struct bench_row {
    const char *row;                /* "floor", "rota", or another way to do the same */
    double (*measure)(long n);
};

struct bench {
    const char *group, *name, *unit;
    long n;                         /* handed to measure: how many tasks, timers, connections */
    struct bench_row rows[BENCH_ROWS]; /* ended by a row without a name, if fewer */
    const char *what;               /* one operation in one line; nobody guesses it from the name, so main.c insists */
};

/* Each ended by an entry without a name. */
extern const struct bench bench_switch[], bench_yield[], bench_spawn[], bench_memory[], bench_sync[], bench_cancel[],
    bench_timers[], bench_sleep[], bench_wake[], bench_offload[], bench_echo[], bench_idle[], bench_scale[];
extern const struct bench bench_process[];
extern const struct bench bench_dns[];
extern const struct bench bench_socket[];
extern const struct bench bench_file[];

extern const struct bench bench_tls[]; /* where adapters/tls is built */
extern const struct bench bench_http[];

/* Monotonic time in ns. */
int64_t bench_now(void);

/* Shortens everything by this factor (--quick); at least 1. */
extern long bench_divide;

/* For a row that cannot go on. */
_Noreturn void bench_die(const char *what);

/* For a row that this machine cannot have: a dash in the tables, and why. `return bench_absent("...")`. */
double bench_absent(const char *why);

/* The median of n values (sorts them), and the value below which 99 in 100 are. */
double bench_median(double *values, long n);
double bench_p99(double *values, long n);

#endif
