/* How costs grow: a yield among n tasks, moving one of n timers, an event on one of n descriptors, from 1 to 1,000,000;
 * tasks that yield on one loop, and on two loops in two threads at once (the same cost each, if nothing is shared).
 * Tasks and timers are measured by the rows of their own groups. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"

enum { EVENTS = 500000, HUGE_N = 1000000, SPARE_FDS = 64 };

static double row_of(const struct bench *b, const char *name, const char *row, long n) {
    if (n >= HUGE_N && bench_divide > 1)
        return bench_absent("left out when in a hurry (--quick)");
    for (; b->name; b++)
        for (int i = 0; strcmp(b->name, name) == 0 && i < BENCH_ROWS && b->rows[i].row; i++)
            if (strcmp(b->rows[i].row, row) == 0)
                return b->rows[i].measure(n);
    bench_die("no such row");
}

static double floor_tasks(long n) {
    return n < 2 ? bench_absent("a context alone has nobody to switch to") : row_of(bench_yield, "yield_2", "floor", n);
}

static double rota_tasks(long n) { return row_of(bench_yield, "yield_2", "rota", n); }
static double floor_timers(long n) { return row_of(bench_timers, "timer_rearm_1000", "floor", n); }
static double rota_timers(long n) { return row_of(bench_timers, "timer_rearm_1000", "rota", n); }

/* ---- descriptors: eventfds, of which one after the other is written, and its event received ---- */

static long events(void) { return EVENTS / bench_divide; }

static int *open_fds(long n) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (n + SPARE_FDS > (long)limit.rlim_cur)
        return NULL;
    int *fds = malloc((size_t)n * sizeof *fds);
    for (long i = 0; i < n; i++)
        if ((fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0)
            bench_die("eventfd");
    return fds;
}

static void poke(int fd) {
    static const uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0)
        bench_die("write");
}

static double floor_fds(long n) {
    int *fds = open_fds(n), ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e;
    if (!fds)
        return bench_absent("the limit of open files is lower");
    for (long i = 0; i < n; i++) {
        e = (struct epoll_event){ .events = EPOLLIN | EPOLLET, .data.fd = fds[i] };
        epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e);
    }
    int64_t start = bench_now();
    for (long i = 0; i < events(); i++) {
        poke(fds[i % n]);
        if (epoll_wait(ep, &e, 1, -1) != 1)
            bench_die("epoll_wait");
    }
    double ns = (double)(bench_now() - start) / (double)events();
    for (long i = 0; i < n; i++)
        close(fds[i]);
    close(ep);
    free(fds);
    return ns;
}

static long seen;

static void on_event(rota_watcher *w, unsigned ready, void *arg) {
    (void)w, (void)arg;
    seen += ready != ROTA_CLOSED;
}

static double rota_fds(long n) {
    int *fds = open_fds(n);
    rota_watcher *watchers = malloc((size_t)n * sizeof *watchers);
    rota_loop *loop;
    if (!fds)
        return bench_absent("the limit of open files is lower");
    if (rota_loop_new(&loop, NULL) < 0)
        bench_die("rota_loop_new");
    for (long i = 0; i < n; i++) {
        rota_watcher_init(&watchers[i], fds[i], ROTA_READ, on_event, NULL);
        if (rota_watcher_start(loop, &watchers[i]) < 0)
            bench_die("rota_watcher_start");
    }
    seen = 0;
    int64_t start = bench_now();
    for (long i = 0; i < events(); i++) {
        poke(fds[i % n]);
        while (seen <= i)
            if (rota_loop_turn(loop, ROTA_FOREVER) < 0)
                bench_die("rota_loop_turn");
    }
    double ns = (double)(bench_now() - start) / (double)events();
    for (long i = 0; i < n; i++)
        rota_fd_close(loop, fds[i]);
    rota_loop_free(loop);
    free(watchers);
    free(fds);
    return ns;
}

/* ---- loops ---- */

enum { YIELDS = 4000000, TASKS = 100 };

static intptr_t yielder(void *arg) {
    (void)arg;
    for (long i = 0; i < YIELDS / bench_divide / TASKS; i++)
        if (rota_yield() < 0)
            return -1;
    return 0;
}

static intptr_t yield_all(void *arg) {
    rota_group g;
    (void)arg;
    rota_group_begin(&g, NULL);
    for (int i = 0; i < TASKS; i++)
        if (rota_spawn(NULL, yielder, NULL, &(rota_spawn_options){ .group = &g }) < 0)
            bench_die("rota_spawn");
    return rota_group_end(&g, 0);
}

static void *run_loop(void *arg) {
    if (rota_run(yield_all, NULL, NULL, NULL) < 0)
        bench_die("rota_run");
    return arg;
}

static double rota_loops(long n) {
    pthread_t threads[8];
    if (n > sysconf(_SC_NPROCESSORS_ONLN))
        return bench_absent("there are fewer processors");
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, run_loop, NULL) != 0)
            bench_die("pthread_create");
    for (long i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return (double)(bench_now() - start) / (double)(YIELDS / bench_divide);
}

#define SIZES(of, floor, rota, what) \
    { "scale", "scale_" of "_1", "ns", 1, { { "floor", floor }, { "rota", rota } }, what "; n = 1" }, \
    { "scale", "scale_" of "_10", "ns", 10, { { "floor", floor }, { "rota", rota } }, what "; n = 10" }, \
    { "scale", "scale_" of "_100", "ns", 100, { { "floor", floor }, { "rota", rota } }, what "; n = 100" }, \
    { "scale", "scale_" of "_1000", "ns", 1000, { { "floor", floor }, { "rota", rota } }, what "; n = 1,000" }, \
    { "scale", "scale_" of "_10000", "ns", 10000, { { "floor", floor }, { "rota", rota } }, what "; n = 10,000" }, \
    { "scale", "scale_" of "_100000", "ns", 100000, { { "floor", floor }, { "rota", rota } }, what "; n = 100,000" }, \
    { "scale", "scale_" of "_1000000", "ns", 1000000, { { "floor", floor }, { "rota", rota } }, what "; n = 1,000,000" }

const struct bench bench_scale[] = {
    SIZES("tasks", floor_tasks, rota_tasks,
          "one yield by way of the scheduler, among n tasks that do nothing else"),
    SIZES("timers", floor_timers, rota_timers,
          "one of n started timers moved to a new deadline, 30 s ahead"),
    SIZES("fds", floor_fds, rota_fds,
          "one of n watched eventfds written to, and its event received"),
    { "scale", "scale_loops_1", "ns", 1, { { "rota", rota_loops } },
      "one yield on a loop in a thread that is started for it, among 100 tasks" },
    { "scale", "scale_loops_2", "ns", 2, { { "rota", rota_loops } },
      "one yield on each of 2 loops in 2 threads at once, among 100 tasks each" },
    { 0 }
};
