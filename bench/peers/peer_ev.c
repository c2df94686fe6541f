/* libev: its default 4-heap of timers with cached times, watchers kept started. */
#define _GNU_SOURCE
#include <errno.h>
#include <ev.h>
#include <poll.h>

#include "peer.h"

static struct ev_loop *loop;
static ev_timer *timers;
static long fired;
static void fire(struct ev_loop *l, ev_timer *t, int revents) { (void)l, (void)t, (void)revents; fired++; }

static void open_timers(long n) {
    loop = ev_default_loop(0);
    timers = malloc((size_t)n * sizeof *timers);
    for (long i = 0; i < n; i++)
        ev_timer_init(&timers[i], fire, 0., 0.);
}

static void start_timer(long i, int64_t ns) {
    ev_timer_set(&timers[i], (double)ns / 1e9, 0.);
    ev_timer_start(loop, &timers[i]);
}

/* ev_timer_again moves a started timer; a repeating one is never stopped by it. */
static void move_timer(long i, int64_t ns) {
    timers[i].repeat = (double)ns / 1e9;
    ev_timer_again(loop, &timers[i]);
}

static void run_timers(long n) {
    fired = 0;
    while (fired < n)
        ev_run(loop, EVRUN_NOWAIT);
}

#define TIMERS_OPEN(n) open_timers(n)
#define TIMERS_CLOSE(n) free(timers)
#define TIMER_START(i, ns) start_timer(i, ns)
#define TIMER_STOP(i) ev_timer_stop(loop, &timers[i])
#define TIMER_MOVE(i, ns) move_timer(i, ns)
#define TIMERS_RUN(n) run_timers(n)
#define TIMERS_FLUSH() (void)0
PEER_TIMERS

static double sleep_us(long us) {
    static double late[2000];
    ev_timer t;
    loop = ev_default_loop(0);
    ev_timer_init(&t, fire, 0., 0.);
    for (long i = 0; i < peer_samples(us); i++) {
        int64_t start = peer_now();
        ev_now_update(loop);
        ev_timer_set(&t, (double)us / 1e6, 0.);
        ev_timer_start(loop, &t);
        ev_run(loop, 0);
        late[i] = (double)(peer_now() - start) / 1e3 - (double)us;
    }
    return peer_median(late, peer_samples(us));
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

static void on_client(struct ev_loop *l, ev_io *w, int revents) {
    (void)revents;
    ssize_t n = recv(w->fd, buffer, buffer_size, 0);
    if ((n < 0 && errno == EAGAIN) || (n > 0 && send_all(w->fd, n)))
        return;
    ev_io_stop(l, w);
    close(w->fd);
    free(w);
}

static void on_listener(struct ev_loop *l, ev_io *w, int revents) {
    int fd;
    (void)revents;
    while ((fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        ev_io *client = malloc(sizeof *client);
        peer_nodelay(fd);
        ev_io_init(client, on_client, fd, EV_READ);
        ev_io_start(l, client);
    }
}

static void serve(long bytes) {
    ev_io listener;
    buffer = malloc(buffer_size = (size_t)bytes);
    loop = ev_default_loop(0);
    ev_io_init(&listener, on_listener, peer_listen(SOCK_NONBLOCK), EV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
}

int main(int argc, char **argv) {
    static const struct peer_row rows[] = { PEER_TIMER_ROWS, PEER_SLEEP_ROWS, { 0 } };
    return peer_main(argc, argv, rows, serve);
}
