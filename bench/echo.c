/* TCP echo on loopback, what the server pays for a request; idle connections, what they hold. The servers: by hand,
 * edge-triggered, without any library (floor); rota's tasks (rota); rota's watchers (callbacks). How long a lone client
 * waits for its answer, also of a server that spins (rota spin). The load is in load.c. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "load.h"
#include "rota.h"

enum { SMALL = 2048, LARGE = 16384, SPIN_NS = 200 * 1000 /* several round trips */ };

static char shared[LARGE];
static size_t room;

static int listen_socket(void) {
    struct sockaddr_in addr = { .sin_family = AF_INET };
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        bench_die("listen");
    printf("port %d\n", ntohs(addr.sin_port));
    fflush(stdout);
    return fd;
}

/* Loopback takes all at once but for the first large answers, while its buffers grow. */
static bool send_all(int fd, const char *data, ssize_t n) {
    while (n > 0) {
        ssize_t sent = send(fd, data, (size_t)n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
        else if (sent < 0)
            return false;
        else
            data += sent, n -= sent;
    }
    return true;
}

/* What has come is echoed; false at the end. A short read has emptied the socket, so that the read into EAGAIN can be
 * left out. */
static bool echo_ready(int fd) {
    ssize_t got;
    do {
        got = recv(fd, shared, room, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN) || (got > 0 && !send_all(fd, shared, got)))
            return false;
    } while (got == (ssize_t)room);
    return true;
}

static int accept_one(int listener) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static _Noreturn void serve_floor(void) {
    int listener = listen_socket(), ep = epoll_create1(EPOLL_CLOEXEC), client;
    struct epoll_event events[1024], e = { .events = EPOLLIN | EPOLLET, .data.fd = listener };
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(ep, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                if (!echo_ready(fd))
                    close(fd);
                continue;
            }
            while ((client = accept_one(listener)) >= 0) {
                struct epoll_event c = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = client };
                epoll_ctl(ep, EPOLL_CTL_ADD, client, &c);
            }
        }
    }
}

/* ---- rota: a task for each connection, its buffer on its stack ---- */

static intptr_t echo_with(int fd, char *buf, size_t n) {
    int on = 1;
    ssize_t got;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while ((got = rota_read(fd, buf, n)) > 0)
        if (rota_write_all(fd, buf, (size_t)got, NULL) < 0)
            break;
    rota_close(fd);
    return 0;
}

static intptr_t echo_small(void *arg) {
    char buf[SMALL];
    return echo_with(*(int *)arg, buf, sizeof buf);
}

static intptr_t echo_large(void *arg) {
    char buf[LARGE];
    return echo_with(*(int *)arg, buf, sizeof buf);
}

static intptr_t acceptor(void *arg) {
    int listener = listen_socket();
    (void)arg;
    for (;;) {
        int fd = rota_accept(listener, NULL, NULL);
        if (fd < 0)
            return fd;
        if (rota_spawn(NULL, room > SMALL ? echo_large : echo_small, &fd,
                       &(rota_spawn_options){ .arg_size = sizeof fd }) < 0)
            rota_close(fd);
    }
}

/* ---- callbacks: a watcher for each connection, one buffer for all ---- */

static rota_loop *loop;

static void on_client(rota_watcher *w, unsigned ready, void *arg) {
    (void)arg;
    if (ready & ROTA_CLOSED)
        free(w);
    else if (!echo_ready(w->fd))
        rota_fd_close(loop, w->fd);
}

static void on_listener(rota_watcher *w, unsigned ready, void *arg) {
    int fd;
    (void)ready, (void)arg;
    while ((fd = accept_one(w->fd)) >= 0) {
        rota_watcher *client = malloc(sizeof *client);
        rota_watcher_init(client, fd, ROTA_READ, on_client, NULL);
        if (rota_watcher_start(loop, client) < 0)
            bench_die("rota_watcher_start");
    }
}

static int serve_callbacks(void) {
    rota_watcher w;
    rota_watcher_init(&w, listen_socket(), ROTA_READ, on_listener, NULL);
    if (rota_loop_new(&loop, NULL) < 0 || rota_watcher_start(loop, &w) < 0)
        bench_die("rota_loop_new");
    return rota_loop_run(loop);
}

int load_serve(const char *row, long bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    room = bytes > SMALL ? LARGE : SMALL;
    if (strcmp(row, "floor") == 0)
        serve_floor();
    if (strcmp(row, "callbacks") == 0)
        return serve_callbacks();
    rota_loop_options options = { .spin_ns = strcmp(row, "rota spin") == 0 ? SPIN_NS : 0 };
    return rota_run(acceptor, NULL, NULL, &options) < 0;
}

/* ---- rows ---- */

static double row(const char *scenario, char *server) {
    char *words[] = { "/proc/self/exe", "--serve", server };
    return load_run(scenario, words, 3);
}

static const char *const names[] = { "echo_1", "echo_64", "echo_64_calls", "echo_64_user_share", "echo_1000",
                                     "echo_10000", "echo_16k", "echo_depth8", "echo_churn", "idle_bytes",
                                     "echo_1_round_trip" };

static double floor_row(long n) { return row(names[n], "floor"); }
static double rota_row(long n) { return row(names[n], "rota"); }
static double callbacks_row(long n) { return row(names[n], "callbacks"); }
static double spin_row(long n) { return row(names[n], "rota spin"); }

#define ROWS { { "floor", floor_row }, { "rota", rota_row }, { "callbacks", callbacks_row } }

const struct bench bench_echo[] = {
    { "echo", "echo_1", "us", 0, ROWS,
      "the server's CPU time for one request, 64 bytes that it sends back; 1 connection" },
    { "echo", "echo_1_round_trip", "us", 10,
      { { "floor", floor_row }, { "rota", rota_row }, { "rota spin", spin_row } },
      "how long a lone client waits until the 64 bytes that it sent are back" },
    { "echo", "echo_64", "us", 1, ROWS,
      "the server's CPU time for one request, 64 bytes that it sends back; 64 connections" },
    { "echo", "echo_64_calls", "calls", 2, ROWS,
      "the server's system calls for one request, 64 bytes that it sends back; 64 connections" },
    { "echo", "echo_64_user_share", "%", 3, ROWS,
      "share of user mode in the server's CPU time; 64 bytes sent back at a time, 64 connections" },
    { "echo", "echo_1000", "us", 4, ROWS,
      "the server's CPU time for one request, 64 bytes that it sends back; 1,000 connections" },
    { "echo", "echo_10000", "us", 5, ROWS,
      "the server's CPU time for one request, 64 bytes that it sends back; 10,000 connections" },
    { "echo", "echo_16k", "us", 6, ROWS,
      "the server's CPU time for one request, 16 KiB that it sends back; 64 connections" },
    { "echo", "echo_depth8", "us", 7, ROWS,
      "the server's CPU time for one of 8 requests that come at once, of 64 bytes; 64 connections" },
    { "echo", "echo_churn", "us", 8, ROWS,
      "the server's CPU time for one connection: accepted, 64 bytes sent back, closed" },
    { 0 }
};

const struct bench bench_idle[] = {
    { "idle", "idle_bytes", "B", 9, ROWS,
      "the server's resident memory for one connection that does nothing, of 10,000" },
    { 0 }
};
