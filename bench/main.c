/* Runs rota's rows and the floors. By hand, a table of groups; for drive.py, which adds the peers, one row at a time.
 *
 *   bench [--quick] [--runs N] [--list] [GROUP...]  rows of one benchmark in turn, medians
 *   bench --rows                                    every row: group, name, unit, row, what; separated by tabs
 *   bench [--divide D] --row ROW NAME               one value of one row: "NAME VALUE", or "NAME - WHY"
 *   bench [--divide D] --load SCENARIO PROGRAM...   the load of echo or http on a server that is another program; as --row
 *   bench --serve ROW BYTES                         an echo server with buffers of so many bytes; prints "port N"
 *   bench --serve-http ROW BYTES                    a server of HTTP; likewise
 *   bench --machine                                 compiler and versions, as JSON
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "load.h"
#include "rota.h"

enum { MAX_RUNS = 101, SHORT_NS = 50000000 };

static const struct bench *const groups[] = {
#ifdef ROTA_BENCH_TLS
        bench_tls,
#endif
        bench_switch, bench_yield, bench_spawn, bench_memory, bench_sync, bench_cancel, bench_timers, bench_sleep,
    bench_wake, bench_offload, bench_echo, bench_idle, bench_scale, bench_process, bench_file,
    bench_dns, bench_http, bench_socket,
};
enum { GROUPS = sizeof groups / sizeof *groups };

long bench_divide = 1;
static int runs = 11;
static const char *absent = "";

int64_t bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * ROTA_S + t.tv_nsec;
}

void bench_die(const char *what) {
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

double bench_absent(const char *why) {
    absent = why;
    return NAN;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, long n) {
    qsort(values, (size_t)n, sizeof *values, by_value);
    return values[n / 2];
}

double bench_p99(double *values, long n) {
    qsort(values, (size_t)n, sizeof *values, by_value);
    return values[n * 99 / 100];
}

static const char *what_of(const struct bench *b) {
    if (b->what && b->what[0])
        return b->what;
    fprintf(stderr, "bench: %s: nothing says what one operation is (struct bench, what)\n", b->name);
    exit(1);
}

/* ---- the table ---- */

static void print_row(const struct bench *b, const char *row, const double *sorted, double floor) {
    double median = sorted[runs / 2];
    printf("  %-24s %-13s ", "", row);
    if (isnan(median)) {
        printf("%10s   (%s)\n", "-", absent);
        return;
    }
    printf("%10.2f %-6s", median, b->unit);
    if (floor > 0)
        printf("  %6.2f x floor", median / floor);
    else
        printf("  %14s", "");
    printf("   (%.2f .. %.2f)\n", sorted[0], sorted[runs - 1]);
}

static void run_one(const struct bench *b) {
    static double values[BENCH_ROWS][MAX_RUNS];
    double floor = 0;
    for (int run = -1; run < runs; run++) /* the first one warms up */
        for (int i = 0; i < BENCH_ROWS && b->rows[i].row; i++)
            values[i][run < 0 ? 0 : run] = b->rows[i].measure(b->n);
    for (int i = 0; i < BENCH_ROWS && b->rows[i].row; i++) {
        double median = bench_median(values[i], runs);
        bool is_floor = strcmp(b->rows[i].row, "floor") == 0;
        if (is_floor)
            floor = median;
        print_row(b, b->rows[i].row, values[i], is_floor ? 0 : floor);
    }
    fflush(stdout);
}

static bool wanted(const char *group, char **names, int n) {
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], group) == 0)
            return true;
    return n == 0;
}

static void run_groups(char **names, int n, bool list) {
    for (int g = 0; g < GROUPS; g++) {
        if (!wanted(groups[g]->group, names, n))
            continue;
        printf("%s\n", groups[g]->group);
        for (const struct bench *b = groups[g]; b->name; b++) {
            printf("  %-24s %s\n", b->name, what_of(b));
            if (!list)
                run_one(b);
        }
    }
}

/* ---- one row ---- */

static void list_rows(void) {
    for (int g = 0; g < GROUPS; g++)
        for (const struct bench *b = groups[g]; b->name; b++)
            for (int i = 0; i < BENCH_ROWS && b->rows[i].row; i++)
                printf("%s\t%s\t%s\t%s\t%s\n", b->group, b->name, b->unit, b->rows[i].row, what_of(b));
}

static int print_value(const char *name, double value) {
    if (isnan(value))
        printf("%s - %s\n", name, absent);
    else
        printf("%s %.6g\n", name, value);
    return 0;
}

/* What is over in a moment is run twice: the first time warms up. */
static int run_row(const char *row, const char *name) {
    for (int g = 0; g < GROUPS; g++)
        for (const struct bench *b = groups[g]; b->name; b++)
            for (int i = 0; strcmp(b->name, name) == 0 && i < BENCH_ROWS && b->rows[i].row; i++) {
                if (strcmp(b->rows[i].row, row) != 0)
                    continue;
                int64_t start = bench_now();
                double value = b->rows[i].measure(b->n);
                if (bench_now() - start < SHORT_NS)
                    value = b->rows[i].measure(b->n);
                return print_value(name, value);
            }
    bench_die("no such row");
}

static int machine(void) {
#if defined(__clang__)
    const char *compiler = "clang " __VERSION__;
#else
    const char *compiler = "gcc " __VERSION__;
#endif
    printf("{\"compiler\": \"%s\", \"rota\": \"%s\"}\n", compiler, rota_version());
    return 0;
}

int main(int argc, char **argv) {
    bool list = false;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        int left = argc - i - 1;
        if (strcmp(argv[i], "--quick") == 0) {
            bench_divide = 10;
            runs = 5;
        } else if (strcmp(argv[i], "--list") == 0) {
            list = true;
        } else if (strcmp(argv[i], "--runs") == 0 && left > 0) {
            runs = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--divide") == 0 && left > 0) {
            bench_divide = atol(argv[++i]);
        } else if (strcmp(argv[i], "--rows") == 0) {
            list_rows();
            return 0;
        } else if (strcmp(argv[i], "--machine") == 0) {
            return machine();
        } else if (strcmp(argv[i], "--row") == 0 && left == 2) {
            return run_row(argv[i + 1], argv[i + 2]);
        } else if (strcmp(argv[i], "--load") == 0 && left >= 2) {
            return print_value(argv[i + 1], load_run(argv[i + 1], argv + i + 2, left - 1));
        } else if (strcmp(argv[i], "--serve") == 0 && left == 2) {
            return load_serve(argv[i + 1], atol(argv[i + 2]));
        } else if (strcmp(argv[i], "--serve-http") == 0 && left == 2) {
            return http_serve(argv[i + 1]);
        } else {
            bench_die("usage: bench [--quick] [--runs N] [--list] [GROUP...]; see the head of bench/main.c");
        }
    }
    if (runs < 1 || runs > MAX_RUNS || bench_divide < 1)
        bench_die("--runs: from 1 to 101; --divide: from 1 on");
    run_groups(argv + i, argc - i, list);
    return 0;
}
