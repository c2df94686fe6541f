/* What the C and C++ peers share: the command line, the clock, the timers' order of access, which is that of rota's rows.
 * Everything is in this header, because each peer is one file. */
#ifndef PEER_H
#define PEER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct peer_row {
    const char *name;
    long n;
    double (*measure)(long n);
};

static long peer_divide = 1;

static inline int64_t peer_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void peer_die(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* What is over in a moment is run twice: the first time warms up. serve(bytes) echoes until killed; may be NULL. */
static inline int peer_main(int argc, char **argv, const struct peer_row *rows, void (*serve)(long bytes)) {
    int i = 1;
    if (argc == 3 && strcmp(argv[1], "--serve") == 0 && serve) {
        struct rlimit limit;
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        serve(atol(argv[2]));
        return 1;
    }
    if (argc > 3 && strcmp(argv[1], "--divide") == 0) {
        peer_divide = atol(argv[2]);
        i = 3;
    }
    for (; i < argc; i++)
        for (const struct peer_row *r = rows; r->name; r++)
            if (strcmp(r->name, argv[i]) == 0) {
                int64_t start = peer_now();
                double value = r->measure(r->n);
                if (peer_now() - start < 50000000)
                    value = r->measure(r->n);
                printf("%s %.6g\n", r->name, value);
                return 0;
            }
    fprintf(stderr, "no such row\n");
    return 1;
}

/* ---- servers ---- */

/* A listening socket on a free port, which is printed. */
static inline int peer_listen(int flags) {
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    memset(&addr, 0, sizeof addr);
    addr.sin_family = AF_INET;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        peer_die("listen");
    printf("port %d\n", ntohs(addr.sin_port));
    fflush(stdout);
    return fd;
}

static inline void peer_nodelay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* ---- sleeping ---- */

static inline long peer_samples(long us) {
    long n = 1000000 / us / peer_divide;
    return n > 2000 ? 2000 : n < 11 ? 11 : n;
}

static inline int peer_by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double peer_median(double *values, long n) {
    qsort(values, (size_t)n, sizeof *values, peer_by_value);
    return values[n / 2];
}

/* ---- timers: in the order in which rota's rows visit them. Peers have no virtual clock: what is to expire is started
 * within PEER_EXPIRE_MS, and waited for before the loop runs. ---- */

enum { PEER_EXPIRE_MS = 50, PEER_TIMER_OPERATIONS = 4000000 };

static uint32_t *peer_order;
static int64_t *peer_delays; /* ns, below 60 s */

static inline uint64_t peer_random(void) {
    static uint64_t seed = 0x9e3779b97f4a7c15u;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static inline void peer_prepare(long n) {
    peer_order = (uint32_t *)malloc((size_t)n * sizeof *peer_order);
    peer_delays = (int64_t *)malloc((size_t)n * sizeof *peer_delays);
    for (long i = 0; i < n; i++) {
        peer_order[i] = (uint32_t)i;
        peer_delays[i] = (int64_t)(peer_random() % 60000000000u);
    }
    for (long i = n - 1; i > 0; i--) {
        long j = (long)(peer_random() % (uint64_t)(i + 1));
        uint32_t t = peer_order[i];
        peer_order[i] = peer_order[j];
        peer_order[j] = t;
    }
}

static inline void peer_finish(void) {
    free(peer_order);
    free(peer_delays);
}

static inline long peer_passes(long n) {
    long p = PEER_TIMER_OPERATIONS / peer_divide / n;
    return p > 0 ? p : 1;
}

static inline long peer_expire_passes(long n) { return n >= 100000 || peer_divide > 1 ? 1 : 5; }

static inline void peer_wait_ms(long ms) {
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

/* A peer's file defines how one of n timers is started, stopped, moved, and this makes the four measurements of it:
 *   TIMERS_OPEN(n) TIMERS_CLOSE(n) TIMER_START(i, ns) TIMER_STOP(i) TIMER_MOVE(i, ns) TIMERS_RUN(n) TIMERS_FLUSH() */
#define PEER_TIMERS \
    static double timer_start(long n) { \
        peer_prepare(n); TIMERS_OPEN(n); \
        int64_t ns = 0; \
        for (long k = 0; k < peer_passes(n); k++) { \
            int64_t start = peer_now(); \
            for (long i = 0; i < n; i++) TIMER_START(peer_order[i], peer_delays[i] + 1000000000); \
            ns += peer_now() - start; \
            for (long i = 0; i < n; i++) TIMER_STOP(i); \
            TIMERS_FLUSH(); \
        } \
        TIMERS_CLOSE(n); peer_finish(); \
        return (double)ns / (double)(peer_passes(n) * n); \
    } \
    static double timer_cancel(long n) { \
        peer_prepare(n); TIMERS_OPEN(n); \
        int64_t ns = 0; \
        for (long k = 0; k < peer_passes(n); k++) { \
            for (long i = 0; i < n; i++) TIMER_START(peer_order[i], peer_delays[i] + 1000000000); \
            int64_t start = peer_now(); \
            for (long i = 0; i < n; i++) TIMER_STOP(peer_order[n - 1 - i]); \
            TIMERS_FLUSH(); \
            ns += peer_now() - start; \
        } \
        TIMERS_CLOSE(n); peer_finish(); \
        return (double)ns / (double)(peer_passes(n) * n); \
    } \
    static double timer_rearm(long n) { \
        peer_prepare(n); TIMERS_OPEN(n); \
        for (long i = 0; i < n; i++) TIMER_START(i, 30000000000); \
        int64_t start = peer_now(); \
        for (long k = 0; k < peer_passes(n); k++) { \
            for (long i = 0; i < n; i++) TIMER_MOVE(peer_order[i], 30000000000 + k * 1000); \
            TIMERS_FLUSH(); \
        } \
        double each = (double)(peer_now() - start) / (double)(peer_passes(n) * n); \
        for (long i = 0; i < n; i++) TIMER_STOP(i); \
        TIMERS_FLUSH(); \
        TIMERS_CLOSE(n); peer_finish(); \
        return each; \
    } \
    static double timer_expire(long n) { \
        peer_prepare(n); TIMERS_OPEN(n); \
        int64_t ns = 0; \
        for (long k = 0; k < peer_expire_passes(n); k++) { \
            for (long i = 0; i < n; i++) \
                TIMER_START(peer_order[i], peer_delays[i] % (PEER_EXPIRE_MS * 1000000)); \
            peer_wait_ms(PEER_EXPIRE_MS + 2); \
            int64_t start = peer_now(); \
            TIMERS_RUN(n); \
            ns += peer_now() - start; \
        } \
        TIMERS_CLOSE(n); peer_finish(); \
        return (double)ns / (double)(peer_expire_passes(n) * n); \
    }

#define PEER_TIMER_ROWS \
    { "timer_start_1000", 1000, timer_start }, { "timer_start_100000", 100000, timer_start }, \
    { "timer_start_1000000", 1000000, timer_start }, { "timer_cancel_1000", 1000, timer_cancel }, \
    { "timer_cancel_100000", 100000, timer_cancel }, { "timer_cancel_1000000", 1000000, timer_cancel }, \
    { "timer_rearm_1000", 1000, timer_rearm }, { "timer_rearm_100000", 100000, timer_rearm }, \
    { "timer_rearm_1000000", 1000000, timer_rearm }, { "timer_expire_1000", 1000, timer_expire }, \
    { "timer_expire_100000", 100000, timer_expire }, { "timer_expire_1000000", 1000000, timer_expire }

#define PEER_SLEEP_ROWS \
    { "sleep_100us", 100, sleep_us }, { "sleep_1ms", 1000, sleep_us }, { "sleep_10ms", 10000, sleep_us }

#endif
