/* Runs the benchmarks: rows of one benchmark in turn, medians, a table a group, bench-results.json.
 *
 *   bench [--quick] [--runs N] [--list] [--json FILE] [GROUP...]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"

enum { MAX_RUNS = 101, MAX_ROWS = 4 };

long bench_divide = 1;
static int runs = 11;
static FILE *json;
static bool first_result = true;

int64_t bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * ROTA_S + t.tv_nsec;
}

void bench_die(const char *what) {
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_row(const struct bench *b, const char *row, const double *sorted, double floor) {
    double median = sorted[runs / 2];
    printf("  %-20s %-8s %10.2f %-6s", b->name, row, median, b->unit);
    if (floor > 0)
        printf("  %6.2f x floor", median / floor);
    else
        printf("  %14s", "");
    printf("   (%.2f .. %.2f)\n", sorted[0], sorted[runs - 1]);
    if (!json)
        return;
    fprintf(json, "%s\n    {\"group\": \"%s\", \"name\": \"%s\", \"row\": \"%s\", \"unit\": \"%s\", ",
            first_result ? "" : ",", b->group, b->name, row, b->unit);
    fprintf(json, "\"median\": %.4g, \"min\": %.4g, \"max\": %.4g, \"runs\": %d}", median, sorted[0], sorted[runs - 1],
            runs);
    first_result = false;
}

static void run_one(const struct bench *b) {
    static double values[MAX_ROWS][MAX_RUNS];
    double floor = 0;
    for (int run = -1; run < runs; run++) /* the first one warms up */
        for (int i = 0; i < MAX_ROWS && b->rows[i].row; i++) {
            double value = b->rows[i].measure(b->n);
            values[i][run < 0 ? 0 : run] = value;
        }
    for (int i = 0; i < MAX_ROWS && b->rows[i].row; i++) {
        qsort(values[i], (size_t)runs, sizeof values[i][0], by_value);
        if (strcmp(b->rows[i].row, "floor") == 0)
            floor = values[i][runs / 2];
        print_row(b, b->rows[i].row, values[i], strcmp(b->rows[i].row, "floor") == 0 ? 0 : floor);
    }
    fflush(stdout);
}

static const char *cpu_model(void) {
    static char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            colon[strcspn(colon, "\n")] = '\0';
            fclose(f);
            return colon + 2;
        }
    }
    if (f)
        fclose(f);
    return "unknown";
}

static void json_begin(const char *path) {
    struct utsname u;
    uname(&u);
    json = fopen(path, "w");
    if (!json)
        bench_die("cannot write the results file");
    fprintf(json, "{\n  \"machine\": {\"system\": \"%s\", \"release\": \"%s\", \"cpu\": \"%s\", \"model\": \"%s\", ",
            u.sysname, u.release, u.machine, cpu_model());
    fprintf(json, "\"cores\": %ld, \"compiler\": \"%s\", \"rota\": \"%s\"},\n  \"results\": [",
            sysconf(_SC_NPROCESSORS_ONLN), __VERSION__, rota_version());
}

static bool wanted(const char *group, char **names, int n) {
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], group) == 0)
            return true;
    return n == 0;
}

int main(int argc, char **argv) {
    static const struct bench *const groups[] = { bench_switch, bench_yield, bench_spawn, bench_sync,
                                                  bench_cancel, bench_timers, bench_echo, bench_offload,
                                                  bench_process,
                                                  bench_dns, bench_http, bench_socket };
    const char *path = "bench-results.json";
    bool list = false;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            bench_divide = 10;
            runs = 5;
        } else if (strcmp(argv[i], "--list") == 0) {
            list = true;
        } else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
            runs = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
            path = argv[++i];
        } else {
            bench_die("usage: bench [--quick] [--runs N] [--list] [--json FILE] [GROUP...]");
        }
    }
    if (runs < 1 || runs > MAX_RUNS)
        bench_die("--runs: from 1 to 101");
    if (!list)
        json_begin(path);
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        if (!wanted(groups[g]->group, argv + i, argc - i))
            continue;
        printf("%s\n", groups[g]->group);
        for (const struct bench *b = groups[g]; b->name; b++) {
            if (list)
                printf("  %s\n", b->name);
            else
                run_one(b);
        }
    }
    if (json) {
        fprintf(json, "\n  ]\n}\n");
        fclose(json);
        printf("results: %s\n", path);
    }
    return 0;
}
