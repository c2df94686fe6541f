/* How late a sleeper wakes: us after the time that was asked for, median and 99th percentile. Nobody may be early: a
 * negative value fails the row. Floors: epoll_pwait2 with the thread's timer slack as it is and with the least there is,
 * and timerfd, which has no slack. rota: as it comes, with the option precise, and spinning through the last 60 us, or 100. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"

enum { MAX_SAMPLES = 2000, FEWEST = 11 };

static double late_us[MAX_SAMPLES];

static long samples(long us) {
    long n = ROTA_S / ROTA_US / us / bench_divide;
    return n > MAX_SAMPLES ? MAX_SAMPLES : n < FEWEST ? FEWEST : n;
}

static void note(long i, int64_t start, long us) {
    late_us[i] = (double)(bench_now() - start) / 1e3 - (double)us;
    if (late_us[i] < 0)
        bench_die("woken early");
}

static void sleep_epoll(long us, long n) {
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e;
    struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
    for (long i = 0; i < n; i++) {
        int64_t start = bench_now();
        if (syscall(SYS_epoll_pwait2, ep, &e, 1, &t, NULL, 0) < 0)
            bench_die("epoll_pwait2");
        note(i, start, us);
    }
    close(ep);
}

/* A slack of 0 would mean: back to the default. */
static void sleep_no_slack(long us, long n) {
    prctl(PR_SET_TIMERSLACK, 1);
    sleep_epoll(us, n);
    prctl(PR_SET_TIMERSLACK, 0);
}

static void sleep_timerfd(long us, long n) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = { .events = EPOLLIN | EPOLLET };
    struct itimerspec t = { .it_value = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 } };
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    for (long i = 0; i < n; i++) {
        int64_t start = bench_now();
        if (timerfd_settime(fd, 0, &t, NULL) < 0 || epoll_wait(ep, &e, 1, -1) != 1)
            bench_die("timerfd");
        note(i, start, us);
    }
    close(fd);
    close(ep);
}

static intptr_t sleeper(void *arg) {
    long us = *(long *)arg;
    for (long i = 0; i < samples(us); i++) {
        int64_t start = bench_now();
        int rc = rota_sleep(us * ROTA_US);
        if (rc < 0)
            return rc;
        note(i, start, us);
    }
    return 0;
}

static void sleep_with(long us, rota_loop_options options) {
    if (rota_run(sleeper, &us, NULL, &options) < 0)
        bench_die("rota_run");
}

static void sleep_rota(long us, long n) { (void)n, sleep_with(us, (rota_loop_options){ 0 }); }
static void sleep_precise(long us, long n) { (void)n, sleep_with(us, (rota_loop_options){ .precise = true }); }
static void sleep_spin(long us, long n) { (void)n, sleep_with(us, (rota_loop_options){ .spin_ns = 60 * ROTA_US }); }
static void sleep_spin_100(long us, long n) { (void)n, sleep_with(us, (rota_loop_options){ .spin_ns = 100 * ROTA_US }); }

#define MEASURES(how)                                                                                          \
    static double how##_median(long us) {                                                                      \
        sleep_##how(us, samples(us));                                                                          \
        return bench_median(late_us, samples(us));                                                             \
    }                                                                                                          \
    static double how##_p99(long us) {                                                                         \
        sleep_##how(us, samples(us));                                                                          \
        return bench_p99(late_us, samples(us));                                                                \
    }
MEASURES(epoll)
MEASURES(no_slack)
MEASURES(timerfd)
MEASURES(rota)
MEASURES(precise)
MEASURES(spin)
MEASURES(spin_100)

#define ROWS(what)                                                                                             \
    { { "floor", epoll_##what }, { "slack 1", no_slack_##what }, { "timerfd", timerfd_##what },                \
      { "rota", rota_##what }, { "rota precise", precise_##what }, { "rota spin", spin_##what }, \
      { "rota spin 100", spin_100_##what } }

const struct bench bench_sleep[] = {
    { "sleep", "sleep_100us", "us", 100, ROWS(median),
      "how late a sleep of 100 us ends: median" },
    { "sleep", "sleep_1ms", "us", 1000, ROWS(median),
      "how late a sleep of 1 ms ends: median" },
    { "sleep", "sleep_10ms", "us", 10000, ROWS(median),
      "how late a sleep of 10 ms ends: median" },
    { "sleep", "sleep_100us_p99", "us", 100, ROWS(p99),
      "how late a sleep of 100 us ends: 99th percentile" },
    { "sleep", "sleep_1ms_p99", "us", 1000, ROWS(p99),
      "how late a sleep of 1 ms ends: 99th percentile" },
    { "sleep", "sleep_10ms_p99", "us", 10000, ROWS(p99),
      "how late a sleep of 10 ms ends: 99th percentile" },
    { 0 }
};
