/* What a parked task holds: resident memory, and page tables, of n tasks with guarded stacks of the default size that
 * have run once and wait; and what making them for the first time costs (mapped, guarded, touched, nothing pooled). The
 * floor: a page touched, and a control block of one cache line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"

enum { PAGE = 4096, BLOCK = 64, MANY = 1000000, EACH_KIB = 12 };

/* A number of kB in a file of /proc. */
static double kib(const char *path, const char *key) {
    char line[256];
    double value = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            value = atof(line + strlen(key));
    if (f)
        fclose(f);
    return value;
}

static double resident(void) { return kib("/proc/self/status", "VmRSS:") * 1024; }
static double tables(void) { return kib("/proc/self/status", "VmPTE:") * 1024; }
static double clock_ns(void) { return (double)bench_now(); }

static bool too_many(long n) {
    return (n >= MANY && bench_divide > 1) || kib("/proc/meminfo", "MemAvailable:") < (double)n * EACH_KIB;
}

static double refused(long n) {
    return n >= MANY && bench_divide > 1 ? bench_absent("left out when in a hurry (--quick)")
                                         : bench_absent("not enough memory is available");
}

static double floor_of(double (*gauge)(void), long n) {
    if (too_many(n))
        return refused(n);
    double before = gauge();
    size_t bytes = (size_t)n * PAGE;
    char *stacks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stacks == MAP_FAILED)
        bench_die("mmap");
    madvise(stacks, bytes, MADV_NOHUGEPAGE);
    char *blocks = malloc((size_t)n * BLOCK);
    for (long i = 0; i < n; i++) {
        stacks[i * PAGE] = 1;
        memset(blocks + i * BLOCK, 1, BLOCK);
    }
    double each = (gauge() - before) / (double)n;
    munmap(stacks, bytes);
    free(blocks);
    return each;
}

static rota_future never;

static intptr_t park(void *arg) {
    (void)arg;
    return rota_future_await(&never, NULL);
}

struct parked {
    double (*gauge)(void);
    long n;
    double each;
};

static intptr_t park_all(void *arg) {
    struct parked *p = arg;
    rota_group g;
    memset(&never, 0, sizeof never);
    double before = p->gauge();
    rota_group_begin(&g, NULL);
    for (long i = 0; i < p->n; i++)
        if (rota_spawn(NULL, park, NULL, &(rota_spawn_options){ .group = &g }) < 0)
            bench_die("rota_spawn");
    int rc = rota_yield();
    p->each = (p->gauge() - before) / (double)p->n;
    if (rc == 0)
        rc = rota_future_set(&never, 0);
    return rota_group_end(&g, rc);
}

static double rota_of(double (*gauge)(void), long n) {
    if (too_many(n))
        return refused(n);
    struct parked p = { .gauge = gauge, .n = n };
    if (rota_run(park_all, &p, NULL, NULL) < 0)
        bench_die("rota_run");
    return p.each;
}

static double floor_rss(long n) { return floor_of(resident, n); }
static double rota_rss(long n) { return rota_of(resident, n); }
static double floor_tables(long n) { return floor_of(tables, n); }
static double rota_tables(long n) { return rota_of(tables, n); }
static double floor_new(long n) { return floor_of(clock_ns, n); }
static double rota_new(long n) { return rota_of(clock_ns, n); }

const struct bench bench_memory[] = {
    { "memory", "rss_parked_100000", "B", 100000, { { "floor", floor_rss }, { "rota", rota_rss } },
      "resident memory of one task, of 100,000 on guarded stacks that have run once and wait" },
    { "memory", "rss_parked_1000000", "B", 1000000, { { "floor", floor_rss }, { "rota", rota_rss } },
      "resident memory of one task, of 1,000,000 on guarded stacks that have run once and wait" },
    { "memory", "tables_parked_100000", "B", 100000, { { "floor", floor_tables }, { "rota", rota_tables } },
      "page tables of one task, of 100,000 on guarded stacks that have run once and wait" },
    { "memory", "new_guarded_100000", "ns", 100000, { { "floor", floor_new }, { "rota", rota_new } },
      "one task made and run until it waits, of the first 100,000: nothing comes from a pool" },
    { 0 }
};
