/* Files: 4 KiB read from the page cache, which needs no thread where the system can say what is cached; and stat, which
 * always takes a thread. The floor is the system call alone, which blocks whoever makes it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"

enum { BLOCK = 4096, BLOCKS = 64, READS = 200000, STATS = 20000 };

static char path[] = "/tmp/rota-bench-XXXXXX";
static int fd = -1;

/* Made once, and gone at exit. */
static void remove_file(void) { unlink(path); }

static void open_file(void) {
    static char block[BLOCK];
    if (fd >= 0)
        return;
    memset(block, 'x', sizeof block);
    fd = mkstemp(path);
    if (fd < 0 || atexit(remove_file) != 0)
        bench_die("mkstemp");
    for (int i = 0; i < BLOCKS; i++)
        if (write(fd, block, sizeof block) != BLOCK)
            bench_die("write");
}

static off_t place(long i) { return (off_t)(i % BLOCKS) * BLOCK; }

static double floor_read(long n) {
    char buf[BLOCK];
    n /= bench_divide;
    open_file();
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        if (pread(fd, buf, sizeof buf, place(i)) != BLOCK)
            bench_die("pread");
    return (double)(bench_now() - start) / (double)n;
}

static double floor_stat(long n) {
    struct stat st;
    n /= bench_divide;
    open_file();
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        if (stat(path, &st) < 0)
            bench_die("stat");
    return (double)(bench_now() - start) / (double)n;
}

static intptr_t read_all(void *arg) {
    char buf[BLOCK];
    long n = *(long *)arg;
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        if (rota_file_pread(fd, buf, sizeof buf, place(i)) != BLOCK)
            bench_die("rota_file_pread");
    return (intptr_t)(bench_now() - start);
}

static intptr_t stat_all(void *arg) {
    struct stat st;
    long n = *(long *)arg;
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        if (rota_file_stat(path, &st) < 0)
            bench_die("rota_file_stat");
    return (intptr_t)(bench_now() - start);
}

static double measure(rota_fn *fn, long n) {
    intptr_t ns;
    n /= bench_divide;
    open_file();
    if (rota_run(fn, &n, &ns, NULL) < 0 || rota_failed(ns))
        bench_die("rota_run");
    return (double)ns / (double)n;
}

static double rota_reads(long n) { return measure(read_all, n); }
static double rota_stats(long n) { return measure(stat_all, n); }

const struct bench bench_file[] = {
    { "file", "file_read", "ns", READS, { { "floor", floor_read }, { "rota", rota_reads } },
      "4 KiB read, at an offset, from a file in the page cache" },
    { "file", "file_stat", "ns", STATS, { { "floor", floor_stat }, { "rota", rota_stats } },
      "one stat of a file by its path" },
    { 0 }
};
