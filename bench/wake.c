/* Posts from threads to a loop. wake_flood: one thread posts as fast as it can, ns a post until all have run;
 * wake_flood_4: four threads. wake_calls: system calls of all threads for a post of that flood. wake_latency: one
 * wake of a loop that sleeps, measured as half a round trip between two of them; wake_idle_calls: its system calls. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"
#include "count.h"
#include "raw_queue.h"
#include "rota.h"

enum { POSTS = 2000000, TRIPS = 50000, MAX_PRODUCERS = 4 };

static const char *const no_counter = "the kernel's counter of system calls needs tracefs and root";

/* What a run counts beside time: system calls of this process, when there is a counter. */
static int counter = -1;
static long calls_before, calls;

static void count_begin(void) { calls_before = counter >= 0 ? count_read(counter) : 0; }
static void count_end(void) { calls = counter >= 0 ? count_read(counter) - calls_before : 0; }

static double counted(double (*measure)(long), long n, long operations) {
    counter = count_open(0);
    if (counter < 0)
        return bench_absent(no_counter);
    measure(n);
    close(counter);
    counter = -1;
    return (double)calls / (double)operations;
}

static long posts(void) { return POSTS / bench_divide / MAX_PRODUCERS * MAX_PRODUCERS; }
static long trips(void) { return TRIPS / bench_divide; }

static pthread_barrier_t ready;
static pthread_t threads[MAX_PRODUCERS];

static void start_threads(long n, void *(*fn)(void *)) {
    pthread_barrier_init(&ready, NULL, (unsigned)n + 1);
    for (long i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, fn, (void *)i) != 0)
            bench_die("pthread_create");
}

static void end_threads(long n) {
    for (long i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&ready);
}

static long each_producer;

/* ---- flood, by hand ---- */

static struct raw_queue queue, back;
static struct raw_item *items;

static void *raw_producer(void *arg) {
    long first = (long)arg * each_producer;
    pthread_barrier_wait(&ready);
    for (long i = 0; i < each_producer; i++)
        raw_put(&queue, &items[first + i]);
    return NULL;
}

/* The consumer may take at once whatever is there, or pause while more comes: taking often makes the two processors
 * fight for the head of the list, pausing costs time. */
static double flood_by_hand(long producers, int pauses) {
    items = calloc((size_t)posts(), sizeof *items);
    each_producer = posts() / producers;
    raw_open(&queue);
    start_threads(producers, raw_producer);
    pthread_barrier_wait(&ready);
    count_begin();
    int64_t start = bench_now();
    for (long taken = 0; taken < posts();) {
        for (struct raw_item *i = raw_take(&queue); i; i = i->next)
            taken++;
        for (volatile int i = 0; i < pauses; i++)
            ;
    }
    double ns = (double)(bench_now() - start) / (double)posts();
    count_end();
    end_threads(producers);
    raw_close(&queue);
    free(items);
    return ns;
}

static double floor_flood(long producers) {
    double at_once = flood_by_hand(producers, 0), paused = flood_by_hand(producers, 1000);
    return paused < at_once ? paused : at_once;
}

/* ---- flood, rota ---- */

static rota_soon *soons;
static rota_loop *loop;
static rota_remote *remote;
static long got;

static void on_post(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    if (++got == posts())
        rota_loop_stop(loop);
}

static void *rota_producer(void *arg) {
    long first = (long)arg * each_producer;
    pthread_barrier_wait(&ready);
    for (long i = 0; i < each_producer; i++)
        if (rota_remote_post(remote, &soons[first + i]) < 0)
            bench_die("rota_remote_post");
    return NULL;
}

/* One entry for each producer, posted after each change of what it leads to: whoever finds it queued already need do
 * nothing. As libuv's and libevent's rows do it. */
static _Atomic long changes[MAX_PRODUCERS][8];
static rota_soon merged[MAX_PRODUCERS];

static void on_changes(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    long all = 0;
    for (int i = 0; i < MAX_PRODUCERS; i++)
        all += changes[i][0];
    if (all == posts())
        rota_loop_stop(loop);
}

static void *merging_producer(void *arg) {
    long me = (long)arg;
    pthread_barrier_wait(&ready);
    for (long i = 1; i <= each_producer; i++) {
        atomic_store_explicit(&changes[me][0], i, memory_order_relaxed);
        int rc = rota_remote_post(remote, &merged[me]);
        if (rc < 0 && rc != -EALREADY)
            bench_die("rota_remote_post");
    }
    return NULL;
}

static double flood_merged(long producers) {
    each_producer = posts() / producers;
    for (int i = 0; i < MAX_PRODUCERS; i++) {
        changes[i][0] = 0;
        rota_soon_init(&merged[i], on_changes, NULL);
    }
    if (rota_loop_new(&loop, NULL) < 0 || rota_remote_open(&remote, loop) < 0)
        bench_die("rota_loop_new");
    start_threads(producers, merging_producer);
    pthread_barrier_wait(&ready);
    int64_t start = bench_now();
    if (rota_loop_run(loop) < 0)
        bench_die("rota_loop_run");
    double ns = (double)(bench_now() - start) / (double)posts();
    end_threads(producers);
    rota_remote_close(remote);
    rota_loop_free(loop);
    return ns;
}

static double rota_flood(long producers) {
    soons = calloc((size_t)posts(), sizeof *soons);
    for (long i = 0; i < posts(); i++)
        rota_soon_init(&soons[i], on_post, NULL);
    each_producer = posts() / producers;
    got = 0;
    if (rota_loop_new(&loop, NULL) < 0 || rota_remote_open(&remote, loop) < 0)
        bench_die("rota_loop_new");
    start_threads(producers, rota_producer);
    pthread_barrier_wait(&ready);
    count_begin();
    int64_t start = bench_now();
    if (rota_loop_run(loop) < 0)
        bench_die("rota_loop_run");
    double ns = (double)(bench_now() - start) / (double)posts();
    count_end();
    end_threads(producers);
    rota_remote_close(remote);
    rota_loop_free(loop);
    free(soons);
    return ns;
}

/* ---- ping-pong, by hand ---- */

static void *raw_ponger(void *arg) {
    (void)arg;
    pthread_barrier_wait(&ready);
    for (long i = 0; i < trips(); i++)
        raw_put(&back, raw_take(&queue));
    return NULL;
}

static double floor_latency(long n) {
    struct raw_item item;
    (void)n;
    raw_open(&queue);
    raw_open(&back);
    start_threads(1, raw_ponger);
    pthread_barrier_wait(&ready);
    count_begin();
    int64_t start = bench_now();
    for (long i = 0; i < trips(); i++) {
        raw_put(&queue, &item);
        raw_take(&back);
    }
    double us = (double)(bench_now() - start) / 2e3 / (double)trips();
    count_end();
    end_threads(1);
    raw_close(&queue);
    raw_close(&back);
    return us;
}

/* ---- ping-pong, rota: two loops ---- */

static rota_remote *there;
static rota_loop *there_loop;
static rota_soon ping, pong;
static long left;

static void on_ping(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    if (rota_remote_post(remote, &pong) < 0)
        bench_die("rota_remote_post");
}

static void on_pong(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    if (--left == 0)
        rota_loop_stop(loop);
    else if (rota_remote_post(there, &ping) < 0)
        bench_die("rota_remote_post");
}

static void on_end(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    rota_loop_stop(there_loop);
}

static void *rota_ponger(void *arg) {
    rota_remote *own;
    (void)arg;
    if (rota_loop_new(&there_loop, NULL) < 0 || rota_remote_open(&own, there_loop) < 0)
        bench_die("rota_loop_new");
    there = rota_remote_ref(own);
    pthread_barrier_wait(&ready);
    if (rota_loop_run(there_loop) < 0)
        bench_die("rota_loop_run");
    rota_remote_close(own);
    rota_loop_free(there_loop);
    return NULL;
}

static double rota_latency(long n) {
    rota_soon end;
    (void)n;
    if (rota_loop_new(&loop, NULL) < 0 || rota_remote_open(&remote, loop) < 0)
        bench_die("rota_loop_new");
    rota_soon_init(&ping, on_ping, NULL);
    rota_soon_init(&pong, on_pong, NULL);
    rota_soon_init(&end, on_end, NULL);
    left = trips();
    start_threads(1, rota_ponger);
    pthread_barrier_wait(&ready);
    count_begin();
    int64_t start = bench_now();
    if (rota_remote_post(there, &ping) < 0 || rota_loop_run(loop) < 0)
        bench_die("rota_loop_run");
    double us = (double)(bench_now() - start) / 2e3 / (double)trips();
    count_end();
    if (rota_remote_post(there, &end) < 0)
        bench_die("rota_remote_post");
    end_threads(1);
    rota_remote_close(there);
    rota_remote_close(remote);
    rota_loop_free(loop);
    return us;
}

static double floor_flood_calls(long n) { return counted(floor_flood, n, posts()); }
static double rota_flood_calls(long n) { return counted(rota_flood, n, posts()); }
static double floor_idle_calls(long n) { return counted(floor_latency, n, 2 * trips()); }
static double rota_idle_calls(long n) { return counted(rota_latency, n, 2 * trips()); }

const struct bench bench_wake[] = {
    { "wake", "wake_flood", "ns", 1, { { "floor", floor_flood }, { "rota", rota_flood }, { "merged", flood_merged } },
      "one post to a loop from another thread, which posts as fast as it can" },
    { "wake", "wake_flood_4", "ns", 4,
      { { "floor", floor_flood }, { "rota", rota_flood }, { "merged", flood_merged } },
      "one post to a loop from one of 4 other threads, which post as fast as they can" },
    { "wake", "wake_calls", "calls", 1, { { "floor", floor_flood_calls }, { "rota", rota_flood_calls } },
      "system calls of all threads for one post to a loop from a thread that posts as fast as it can" },
    { "wake", "wake_latency", "us", 1, { { "floor", floor_latency }, { "rota", rota_latency } },
      "one wake of a loop that sleeps, by another thread: half a round trip between two of them" },
    { "wake", "wake_idle_calls", "calls", 1, { { "floor", floor_idle_calls }, { "rota", rota_idle_calls } },
      "system calls of both threads for one wake of a loop that sleeps, by another thread" },
    { 0 }
};
