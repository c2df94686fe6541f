/* A timer and TCP echo by callbacks; the program's own watchers come from a table. */
#include "rota/reactor.h"

#include "common.h"

enum { CLIENTS = 2000 };

FOOTPRINT_MEMORY(0);
static rota_loop *loop;
static rota_watcher clients[CLIENTS];

static void on_client(rota_watcher *w, unsigned ready, void *arg) {
    static char buf[2048];
    ssize_t n;
    (void)arg;
    if (ready & ROTA_CLOSED)
        return;
    while ((n = recv(w->fd, buf, sizeof buf, 0)) > 0)
        if (send(w->fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
            break;
    if (n >= 0)
        rota_fd_close(loop, w->fd);
}

static void on_listener(rota_watcher *w, unsigned ready, void *arg) {
    int fd;
    (void)ready, (void)arg;
    while ((fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= CLIENTS) {
            close(fd);
            continue;
        }
        rota_watcher_init(&clients[fd], fd, ROTA_READ, on_client, NULL);
        if (rota_watcher_start(loop, &clients[fd]) < 0)
            close(fd);
    }
}

static void on_time(rota_timer *t, void *arg) {
    (void)arg;
    tick();
    if (rota_timer_start(loop, t, ROTA_S) < 0)
        _exit(1);
}

int main(void) {
    rota_watcher listener;
    rota_timer timer;
    if (rota_loop_new(&loop, FOOTPRINT_OPTIONS) < 0)
        return 1;
    rota_watcher_init(&listener, listen_somewhere(), ROTA_READ, on_listener, NULL);
    rota_timer_init(&timer, on_time, NULL);
    if (rota_watcher_start(loop, &listener) < 0 || rota_timer_start(loop, &timer, ROTA_S) < 0)
        return 1;
    say_port(listener.fd);
    return rota_loop_run(loop) < 0;
}
