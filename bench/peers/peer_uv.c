/* libuv: uv_try_write first, uv_async_send, uv_queue_work with one thread, timers of a millisecond. */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <uv.h>

#include "peer.h"

static uv_loop_t *loop;

/* ---- timers ---- */

static uv_timer_t *timers;
static long fired;
static void fire(uv_timer_t *t) { (void)t; fired++; }
static void ignore(uv_handle_t *h) { (void)h; }

static void open_timers(long n) {
    loop = uv_default_loop();
    timers = malloc((size_t)n * sizeof *timers);
    for (long i = 0; i < n; i++)
        uv_timer_init(loop, &timers[i]);
}

static void close_timers(long n) {
    for (long i = 0; i < n; i++)
        uv_close((uv_handle_t *)&timers[i], ignore);
    uv_run(loop, UV_RUN_DEFAULT);
    free(timers);
}

static void run_timers(long n) {
    fired = 0;
    while (fired < n)
        uv_run(loop, UV_RUN_NOWAIT);
}

#define TIMERS_OPEN(n) open_timers(n)
#define TIMERS_CLOSE(n) close_timers(n)
#define TIMER_START(i, ns) uv_timer_start(&timers[i], fire, (uint64_t)(ns) / 1000000, 0)
#define TIMER_STOP(i) uv_timer_stop(&timers[i])
#define TIMER_MOVE(i, ns) TIMER_START(i, ns)
#define TIMERS_RUN(n) run_timers(n)
#define TIMERS_FLUSH() (void)0
PEER_TIMERS

/* Whole milliseconds only: 100 us become 1 ms. */
static double sleep_us(long us) {
    static double late[2000];
    uv_timer_t t;
    loop = uv_default_loop();
    uv_timer_init(loop, &t);
    for (long i = 0; i < peer_samples(us); i++) {
        int64_t start = peer_now();
        uv_update_time(loop);
        uv_timer_start(&t, fire, (uint64_t)(us + 999) / 1000, 0);
        uv_run(loop, UV_RUN_DEFAULT);
        late[i] = (double)(peer_now() - start) / 1e3 - (double)us;
    }
    return peer_median(late, peer_samples(us));
}

/* ---- wake-ups: sends are merged by the library, so that producers count in a variable of their own ---- */

enum { POSTS = 2000000, TRIPS = 50000 };

static uv_async_t async, back;
static _Atomic long posted;
static long posts_each, posts_all, trips;

static void on_post(uv_async_t *a) {
    if (posted == posts_all)
        uv_close((uv_handle_t *)a, NULL);
}

static void *producer(void *arg) {
    for (long i = 0; i < posts_each; i++) {
        posted++;
        uv_async_send(&async);
    }
    return arg;
}

static double wake_flood(long producers) {
    pthread_t threads[4];
    loop = uv_default_loop();
    posts_each = POSTS / peer_divide / producers;
    posts_all = posts_each * producers;
    posted = 0;
    uv_async_init(loop, &async, on_post);
    int64_t start = peer_now();
    for (long i = 0; i < producers; i++)
        pthread_create(&threads[i], NULL, producer, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    double ns = (double)(peer_now() - start) / (double)posts_all;
    for (long i = 0; i < producers; i++)
        pthread_join(threads[i], NULL);
    return ns;
}

static uv_loop_t other;
static sem_t ready;

static void on_ping(uv_async_t *a) {
    (void)a;
    uv_async_send(&async);
}

static void on_pong(uv_async_t *a) {
    if (--trips == 0)
        uv_close((uv_handle_t *)a, NULL);
    else
        uv_async_send(&back);
}

static void *ponger(void *arg) {
    uv_loop_init(&other);
    uv_async_init(&other, &back, on_ping);
    sem_post(&ready);
    uv_run(&other, UV_RUN_DEFAULT);
    return arg;
}

/* The other loop is left behind, asleep: the process ends after this. */
static double wake_latency(long n) {
    pthread_t thread;
    long all = trips = TRIPS / peer_divide;
    (void)n;
    loop = uv_default_loop();
    uv_async_init(loop, &async, on_pong);
    sem_init(&ready, 0, 0);
    pthread_create(&thread, NULL, ponger, NULL);
    sem_wait(&ready);
    int64_t start = peer_now();
    uv_async_send(&back);
    uv_run(loop, UV_RUN_DEFAULT);
    return (double)(peer_now() - start) / 2e3 / (double)all;
}

/* ---- offload ---- */

static long jobs_left;
static void work(uv_work_t *w) { w->data = NULL; }

static void worked(uv_work_t *w, int status) {
    (void)status;
    if (jobs_left-- > 0)
        uv_queue_work(loop, w, work, worked);
}

static double offload(long depth) {
    long n = (depth > 1 ? 1000000 : 50000) / peer_divide;
    uv_work_t *all = calloc((size_t)depth, sizeof *all);
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    loop = uv_default_loop();
    jobs_left = n - depth;
    int64_t start = peer_now();
    for (long i = 0; i < depth; i++)
        uv_queue_work(loop, &all[i], work, worked);
    uv_run(loop, UV_RUN_DEFAULT);
    double ns = (double)(peer_now() - start) / (double)n;
    free(all);
    return ns;
}

/* ---- echo ---- */

static char *buffer;
static size_t buffer_size;
static void free_handle(uv_handle_t *h) { free(h); }

static void lend(uv_handle_t *h, size_t hint, uv_buf_t *buf) {
    (void)h, (void)hint;
    *buf = uv_buf_init(buffer, (unsigned)buffer_size);
}

struct rest {
    uv_write_t request;
    char data[];
};

static void written(uv_write_t *w, int status) { (void)status; free(w); }

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    if (n < 0) {
        uv_close((uv_handle_t *)s, free_handle);
        return;
    }
    uv_buf_t out = uv_buf_init(buf->base, (unsigned)n);
    int sent = n > 0 ? uv_try_write(s, &out, 1) : 0;
    if (sent == n)
        return;
    size_t left = (size_t)(n - (sent > 0 ? sent : 0));
    struct rest *rest = malloc(sizeof *rest + left);
    memcpy(rest->data, buf->base + (size_t)n - left, left);
    out = uv_buf_init(rest->data, (unsigned)left);
    uv_write(&rest->request, s, &out, 1, written);
}

static void on_connection(uv_stream_t *server, int status) {
    uv_tcp_t *client = malloc(sizeof *client);
    (void)status;
    uv_tcp_init(loop, client);
    if (uv_accept(server, (uv_stream_t *)client) < 0) {
        uv_close((uv_handle_t *)client, free_handle);
        return;
    }
    uv_tcp_nodelay(client, 1);
    uv_read_start((uv_stream_t *)client, lend, on_read);
}

static void serve(long bytes) {
    uv_tcp_t listener;
    buffer = malloc(buffer_size = (size_t)bytes);
    loop = uv_default_loop();
    uv_tcp_init(loop, &listener);
    uv_tcp_open(&listener, peer_listen(SOCK_NONBLOCK));
    uv_listen((uv_stream_t *)&listener, 1024, on_connection);
    uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv) {
    static const struct peer_row rows[] = {
        PEER_TIMER_ROWS, PEER_SLEEP_ROWS, { "wake_flood", 1, wake_flood }, { "wake_flood_4", 4, wake_flood },
        { "wake_latency", 1, wake_latency }, { "offload_1", 1, offload }, { "offload_1000", 1000, offload }, { 0 },
    };
    return peer_main(argc, argv, rows, serve);
}
