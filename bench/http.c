/* HTTP/1.1 keep-alive on loopback: CPU time of the server for a request, with 64 connections that each send the next
 * request, or the next 16 in one write, when the answers have come. The load is that of echo (load.c). The floor is a
 * hand-written edge-triggered epoll server that finds the ends of requests and sends a fixed text for each, those to one
 * input in one call; it looks at nothing else. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "load.h"
#include "rota.h"
#include "rota/http.h"

enum { BATCH_MAX = 16 };

static const char answer[] = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
                             "Content-Length: 13\r\n\r\nHello, World!";
enum { ANSWER = sizeof answer - 1 };

/* A hook of rota_serve, too. */
static void tell_port(int listener, void *arg) {
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    (void)arg;
    if (getsockname(listener, (struct sockaddr *)&addr, &len) < 0)
        bench_die("getsockname");
    printf("port %d\n", ntohs(addr.sin_port));
    fflush(stdout);
}

/* ---- servers: each runs until it is killed ---- */

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

static void serve_floor(void) {
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(listener, 1024) < 0)
        bench_die("listen");
    tell_port(listener, NULL);
    struct epoll_event events[1024], e = { .events = EPOLLIN | EPOLLET, .data.fd = listener };
    int ep = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
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

static intptr_t serve(void *arg) {
    static const rota_http_serve_options options = { .serve.listening = tell_port };
    return rota_http_serve("127.0.0.1", "0", hello, arg, &options);
}

int http_serve(const char *row) {
    if (strcmp(row, "floor") == 0)
        serve_floor();
    return rota_run(serve, NULL, NULL, NULL) < 0;
}

/* ---- rows ---- */

static const char *const names[] = { "http_plain", "http_pipelined" };

static double row(const char *scenario, char *server) {
    char *words[] = { "/proc/self/exe", "--serve-http", server };
    return load_run(scenario, words, 3);
}

static double floor_row(long n) { return row(names[n], "floor"); }
static double rota_row(long n) { return row(names[n], "rota"); }

const struct bench bench_http[] = {
    { "http", "http_plain", "us", 0, { { "floor", floor_row }, { "rota", rota_row } },
      "the server's CPU time for one GET with an answer of 13 bytes; 64 keep-alive connections" },
    { "http", "http_pipelined", "us", 1, { { "floor", floor_row }, { "rota", rota_row } },
      "the server's CPU time for one of 16 GETs that come at once; 64 keep-alive connections" },
    { 0 }
};
