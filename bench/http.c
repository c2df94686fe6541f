/* HTTP/1.1 keep-alive on loopback: CPU time of the server for a request, with 64 connections that each send the next
 * request, or the next 16 in one write, when the answers have come. The method is that of echo.c. The floor is a
 * hand-written edge-triggered epoll server that finds the ends of requests and sends a fixed text for each, those to one
 * input in one call; it looks at nothing else. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"
#include "rota/http.h"

enum { CONNECTIONS = 64, REQUESTS = 200000, BATCH_MAX = 16 };

static const char request[] = "GET /plaintext HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
                             "Content-Length: 13\r\n\r\nHello, World!";
enum { REQUEST = sizeof request - 1, ANSWER = sizeof answer - 1 };

static long requests(void) { return REQUESTS / bench_divide; }

static double cpu_us(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* ---- the load ---- */

static int dial(const struct sockaddr_in *addr) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (int tries = 0; fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof *addr) < 0; tries++) {
        if (tries == 1000)
            bench_die("connect");
        usleep(1000); /* the server is not there yet */
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void load(const struct sockaddr_in *addr, long n, size_t batch) {
    static char out[BATCH_MAX * REQUEST], in[BATCH_MAX * ANSWER];
    struct epoll_event events[CONNECTIONS];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < batch; i++)
        memcpy(out + i * REQUEST, request, REQUEST);
    for (int i = 0; i < CONNECTIONS; i++) {
        struct epoll_event e = { .events = EPOLLIN, .data.fd = dial(addr) };
        epoll_ctl(ep, EPOLL_CTL_ADD, e.data.fd, &e);
        if (write(e.data.fd, out, batch * REQUEST) != (ssize_t)(batch * REQUEST))
            bench_die("write");
    }
    while (n > 0) {
        int ready = epoll_wait(ep, events, CONNECTIONS, 5000);
        if (ready <= 0)
            bench_die("the server does not answer");
        for (int i = 0; i < ready; i++, n -= (long)batch) {
            int fd = events[i].data.fd;
            if (recv(fd, in, batch * ANSWER, MSG_WAITALL) != (ssize_t)(batch * ANSWER) ||
                memcmp(in + batch * ANSWER - 13, "Hello, World!", 13) != 0 ||
                write(fd, out, batch * REQUEST) != (ssize_t)(batch * REQUEST))
                bench_die("http");
        }
    }
}

/* ---- servers: each runs until SIGTERM ---- */

static volatile sig_atomic_t ended;
static void end(int signo) { (void)signo; ended = 1; }

/* Whole requests in what came; those of the load are never cut. */
static size_t count(const char *in, size_t n) {
    size_t found = 0;
    const char *at = in, *stop = in + n;
    while ((at = memmem(at, (size_t)(stop - at), "\r\n\r\n", 4)) != NULL) {
        at += 4;
        found++;
    }
    return found;
}

static bool respond(int fd) {
    char in[8192], out[BATCH_MAX * ANSWER];
    ssize_t n = recv(fd, in, sizeof in, 0);
    size_t k = n > 0 ? count(in, (size_t)n) : 0;
    if (k == 0 || k > BATCH_MAX)
        return false;
    for (size_t i = 0; i < k; i++)
        memcpy(out + i * ANSWER, answer, ANSWER);
    return send(fd, out, k * ANSWER, MSG_NOSIGNAL) == (ssize_t)(k * ANSWER);
}

static void serve_floor(const char *port) {
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(listener, 1024) < 0)
        bench_die("listen");
    struct epoll_event events[1024], e = { .events = EPOLLIN | EPOLLET, .data.fd = listener };
    int ep = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    while (!ended) {
        int n = epoll_wait(ep, events, 1024, -1), client;
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd != listener) {
                if (!respond(events[i].data.fd))
                    close(events[i].data.fd);
                continue;
            }
            while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                struct epoll_event c = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = client };
                epoll_ctl(ep, EPOLL_CTL_ADD, client, &c);
            }
        }
    }
}

static intptr_t hello(rota_http_incoming *q, rota_http_reply *r, void *arg) {
    (void)q;
    (void)arg;
    return rota_http_reply_send(r, 200, "text/plain", "Hello, World!", 13);
}

static intptr_t serve(void *port) { return rota_http_serve("127.0.0.1", port, hello, NULL, NULL); }

static intptr_t until_term(void *port) {
    rota_signals stop;
    rota_task *task;
    int rc = rota_signals_open(&stop, ROTA_SIGNAL(SIGTERM));
    if (rc < 0 || (rc = rota_spawn(&task, serve, port, NULL)) < 0)
        return rc;
    rc = rota_signals_wait(&stop);
    rota_signals_close(&stop);
    rota_cancel(task, "the load is done");
    return rota_join(task, NULL) == -ECANCELED && rc > 0 ? 0 : -1;
}

static void serve_rota(const char *port) {
    if (rota_run(until_term, (void *)(uintptr_t)port, NULL, NULL) < 0)
        bench_die("serve");
}

/* A port that was free a moment ago. */
static uint16_t free_port(struct sockaddr_in *addr) {
    socklen_t len = sizeof *addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (fd < 0 || bind(fd, (struct sockaddr *)addr, len) < 0 || getsockname(fd, (struct sockaddr *)addr, &len) < 0)
        bench_die("bind");
    close(fd);
    return ntohs(addr->sin_port);
}

static double measure(void (*run)(const char *port), long batch) {
    struct sockaddr_in addr;
    char port[8];
    int report[2], status;
    double us = 0;
    long n = requests() * (batch > 1 ? 4 : 1);
    snprintf(port, sizeof port, "%u", (unsigned)free_port(&addr));
    if (pipe(report) < 0)
        bench_die("pipe");
    pid_t server = fork();
    if (server == 0) {
        signal(SIGTERM, end);
        run(port);
        us = cpu_us();
        _exit(write(report[1], &us, sizeof us) != sizeof us);
    }
    pid_t client = fork();
    if (client == 0) {
        load(&addr, n, (size_t)batch);
        _exit(0);
    }
    waitpid(client, &status, 0);
    kill(server, SIGTERM);
    if (status != 0 || read(report[0], &us, sizeof us) != sizeof us)
        bench_die("a process failed");
    waitpid(server, &status, 0);
    close(report[0]);
    close(report[1]);
    return us / (double)n;
}

static double floor_http(long batch) { return measure(serve_floor, batch); }
static double rota_http(long batch) { return measure(serve_rota, batch); }

const struct bench bench_http[] = {
    { "http", "http_plain", "us", 1, { { "floor", floor_http }, { "rota", rota_http } } },
    { "http", "http_pipelined", "us", BATCH_MAX, { { "floor", floor_http }, { "rota", rota_http } } },
    { 0 }
};
