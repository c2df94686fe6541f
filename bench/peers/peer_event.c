/* libevent: raw events (no bufferevents), edge-triggered, the precise timer off, event_active from threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <event2/thread.h>
#include <poll.h>
#include <pthread.h>

#include "peer.h"

static struct event_base *base;
static struct event *timers;
static long fired;
static void fire(evutil_socket_t fd, short what, void *arg) { (void)fd, (void)what, (void)arg; fired++; }

static struct timeval interval(int64_t ns) {
    return (struct timeval){ .tv_sec = ns / 1000000000, .tv_usec = ns % 1000000000 / 1000 };
}

static void open_timers(long n) {
    base = event_base_new();
    timers = malloc((size_t)n * sizeof *timers);
    for (long i = 0; i < n; i++)
        evtimer_assign(&timers[i], base, fire, NULL);
}

static void start_timer(long i, int64_t ns) {
    struct timeval t = interval(ns);
    event_add(&timers[i], &t);
}

static void run_timers(long n) {
    fired = 0;
    while (fired < n)
        event_base_loop(base, EVLOOP_NONBLOCK);
}

static void close_timers(void) {
    event_base_free(base);
    free(timers);
}

#define TIMERS_OPEN(n) open_timers(n)
#define TIMERS_CLOSE(n) close_timers()
#define TIMER_START(i, ns) start_timer(i, ns)
#define TIMER_STOP(i) event_del(&timers[i])
#define TIMER_MOVE(i, ns) start_timer(i, ns)
#define TIMERS_RUN(n) run_timers(n)
#define TIMERS_FLUSH() (void)0
PEER_TIMERS

static double sleep_us(long us) {
    static double late[2000];
    struct event t;
    base = event_base_new();
    evtimer_assign(&t, base, fire, NULL);
    for (long i = 0; i < peer_samples(us); i++) {
        struct timeval v = interval(us * 1000);
        int64_t start = peer_now();
        event_add(&t, &v);
        event_base_dispatch(base);
        late[i] = (double)(peer_now() - start) / 1e3 - (double)us;
    }
    return peer_median(late, peer_samples(us));
}

/* ---- wake-ups: activations are merged, so that the producer counts in a variable of its own ---- */

enum { POSTS = 2000000 };

static struct event *post;
static _Atomic long posted;
static long posts_all;

static void on_post(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    if (posted == posts_all)
        event_base_loopbreak(base);
}

static void *producer(void *arg) {
    for (long i = 0; i < posts_all; i++) {
        posted++;
        event_active(post, EV_READ, 0);
    }
    return arg;
}

static double wake_flood(long n) {
    pthread_t thread;
    (void)n;
    evthread_use_pthreads();
    base = event_base_new();
    posts_all = POSTS / peer_divide;
    posted = 0;
    post = event_new(base, -1, EV_PERSIST, on_post, NULL);
    event_add(post, &(struct timeval){ .tv_sec = 60 });
    int64_t start = peer_now();
    pthread_create(&thread, NULL, producer, NULL);
    event_base_dispatch(base);
    double ns = (double)(peer_now() - start) / (double)posts_all;
    pthread_join(thread, NULL);
    return ns;
}

/* ---- echo ---- */

static char *buffer;
static size_t buffer_size;

static int send_all(int fd, ssize_t n) {
    for (ssize_t at = 0; at < n;) {
        ssize_t sent = send(fd, buffer + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
        else if (sent < 0)
            return 0;
        else
            at += sent;
    }
    return 1;
}

static void on_client(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    for (;;) {
        ssize_t n = recv(fd, buffer, buffer_size, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0 || !send_all(fd, n))
            break;
        if (n < (ssize_t)buffer_size)
            return;
    }
    event_free(*(struct event **)arg);
    free(arg);
    close(fd);
}

static void on_listener(evutil_socket_t listener, short what, void *arg) {
    int fd;
    (void)what, (void)arg;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct event **self = malloc(sizeof *self);
        peer_nodelay(fd);
        *self = event_new(base, fd, EV_READ | EV_PERSIST | EV_ET, on_client, self);
        event_add(*self, NULL);
    }
}

static void serve(long bytes) {
    buffer = malloc(buffer_size = (size_t)bytes);
    base = event_base_new();
    event_add(event_new(base, peer_listen(SOCK_NONBLOCK), EV_READ | EV_PERSIST | EV_ET, on_listener, NULL), NULL);
    event_base_dispatch(base);
}

static void on_request(struct evhttp_request *request, void *arg) {
    struct evbuffer *body = evbuffer_new();
    (void)arg;
    evbuffer_add(body, "Hello, World!", 13);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "text/plain");
    evhttp_send_reply(request, 200, "OK", body);
    evbuffer_free(body);
}

static int serve_http(void) {
    base = event_base_new();
    struct evhttp *http = evhttp_new(base);
    evhttp_set_gencb(http, on_request, NULL);
    if (evhttp_accept_socket(http, peer_listen(SOCK_NONBLOCK)) < 0)
        return 1;
    return event_base_dispatch(base);
}

int main(int argc, char **argv) {
    static const struct peer_row rows[] = { PEER_TIMER_ROWS, PEER_SLEEP_ROWS, { "wake_flood", 1, wake_flood }, { 0 } };
    if (argc == 3 && strcmp(argv[1], "--serve-http") == 0)
        return serve_http();
    return peer_main(argc, argv, rows, serve);
}
