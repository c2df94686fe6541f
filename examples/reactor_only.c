/* The reactor alone: callbacks, no tasks. A TCP echo server on loopback, and in the same loop a client that a
 * timer makes say something every 100 ms. When the client has said enough it hangs up, the server sees the end
 * and lets go, nothing is left that could happen, and so rota_loop_run returns by itself.
 *
 * Next to echo.c this shows what tasks are for: here each step of the conversation is a function, and what
 * must survive between two steps lives in a struct. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rota/reactor.h"

enum { ROUNDS = 3 };

static rota_loop *loop;

static void check(int rc, const char *what) {
    if (rc < 0) {
        fprintf(stderr, "reactor_only: %s: %s\n", what, rota_strerror(rc));
        exit(1);
    }
}

/* ---- the server: one of these per connection ---------------------------------------------------- */

struct connection {
    rota_watcher watcher;
    char buf[256];
    size_t used, sent;   /* read into buf, and how much of that went back */
};

static void hang_up(struct connection *c) {
    rota_watcher_stop(loop, &c->watcher);
    rota_fd_close(loop, c->watcher.fd);
    free(c);
}

/* Sends what is left; true when all of it is gone. */
static bool flush(struct connection *c) {
    while (c->sent < c->used) {
        ssize_t n = write(c->watcher.fd, c->buf + c->sent, c->used - c->sent);
        if (n < 0)
            return false;
        c->sent += (size_t)n;
    }
    c->used = c->sent = 0;
    return true;
}

/* Edge-triggered: read and write until the system says EAGAIN, for it will not call again before that. */
static void on_connection(rota_watcher *watcher, unsigned ready, void *arg) {
    struct connection *c = arg;
    (void)ready;
    while (flush(c)) {
        ssize_t n = read(watcher->fd, c->buf, sizeof c->buf);
        if (n == 0) {
            puts("server: the client is gone");
            hang_up(c);
            return;
        }
        if (n < 0)
            break;
        c->used = (size_t)n;
    }
    if (errno != EAGAIN)
        hang_up(c);
}

static void on_accept(rota_watcher *listener, unsigned ready, void *arg) {
    (void)ready, (void)arg;
    int fd = accept(listener->fd, NULL, NULL);
    if (fd < 0)
        return;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return;
    }
    puts("server: a client");
    rota_watcher_init(&c->watcher, fd, ROTA_READ | ROTA_WRITE, on_connection, c);
    check(rota_watcher_start(loop, &c->watcher), "watching a connection");

    /* One client is all that this program has: listening on would keep the loop alive. */
    rota_fd_close(loop, listener->fd);
}

/* ---- the client --------------------------------------------------------------------------------- */

struct client {
    rota_watcher watcher;
    rota_timer timer;
    int round;
};

static void on_timer(rota_timer *timer, void *arg) {
    struct client *c = arg;
    char text[32];
    int n = snprintf(text, sizeof text, "round %d", ++c->round);
    printf("client: sends    %s\n", text);
    if (write(c->watcher.fd, text, (size_t)n) != n)
        check(-EIO, "sending");
    if (c->round < ROUNDS)
        check(rota_timer_start(loop, timer, 100 * ROTA_MS), "the timer");
}

static void on_answer(rota_watcher *watcher, unsigned ready, void *arg) {
    struct client *c = arg;
    char text[64];
    ssize_t n;
    (void)ready;
    while ((n = read(watcher->fd, text, sizeof text)) > 0) {
        printf("client: receives %.*s\n", (int)n, text);
        if (c->round == ROUNDS) {
            rota_watcher_stop(loop, watcher);
            rota_fd_close(loop, watcher->fd);
            return;
        }
    }
}

/* Connecting blocks here, which loopback makes short: the listener's queue takes the connection at once. */
static int connect_to(int listener) {
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || getsockname(listener, (struct sockaddr *)&addr, &len) < 0
        || connect(fd, (struct sockaddr *)&addr, len) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return fd;
}

static int listen_on_loopback(void) {
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(fd, 16) < 0
        || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return fd;
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);  /* write answers EPIPE instead; rota_write does this for tasks */
    check(rota_loop_new(&loop, NULL), "a loop");

    rota_watcher listener;
    int fd = listen_on_loopback();
    check(fd, "listening");
    rota_watcher_init(&listener, fd, ROTA_READ, on_accept, NULL);
    check(rota_watcher_start(loop, &listener), "watching the listener");

    struct client client = { .round = 0 };
    fd = connect_to(fd);
    check(fd, "connecting");
    rota_watcher_init(&client.watcher, fd, ROTA_READ, on_answer, &client);
    check(rota_watcher_start(loop, &client.watcher), "watching the client");
    rota_timer_init(&client.timer, on_timer, &client);
    check(rota_timer_start(loop, &client.timer, 100 * ROTA_MS), "the timer");

    check(rota_loop_run(loop), "running");
    puts("nothing is left to wait for");
    rota_loop_free(loop);
    return 0;
}
