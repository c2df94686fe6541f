/* TCP echo on loopback: CPU time of the server for a request of 64 bytes, with 64 connections that each send the
 * next request when the answer has come. Server and load generator are processes of their own; the server's CPU
 * time is read by itself. The floor is a hand-written edge-triggered epoll server without any library. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"

enum { SIZE = 64, REQUESTS = 200000 };

static long requests(void) { return REQUESTS / bench_divide; }

static double cpu_us(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int listen_socket(struct sockaddr_in *addr) {
    socklen_t len = sizeof *addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    memset(addr, 0, sizeof *addr);
    addr->sin_family = AF_INET;
    addr->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)addr, len) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)addr, &len) < 0)
        bench_die("listen");
    return fd;
}

/* ---- the load ---- */

static int dial(const struct sockaddr_in *addr) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)addr, sizeof *addr) < 0)
        bench_die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void load(const struct sockaddr_in *addr, long connections, long n) {
    char buf[SIZE] = { 0 };
    struct epoll_event events[256];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    for (long i = 0; i < connections; i++) {
        int fd = dial(addr);
        struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        if (write(fd, buf, SIZE) != SIZE)
            bench_die("write");
    }
    while (n > 0) {
        int ready = epoll_wait(ep, events, 256, 5000);
        if (ready <= 0)
            bench_die("the server does not answer");
        for (int i = 0; i < ready; i++, n--) {
            int fd = events[i].data.fd;
            if (recv(fd, buf, SIZE, MSG_WAITALL) != SIZE || write(fd, buf, SIZE) != SIZE)
                bench_die("echo");
        }
    }
}

/* ---- servers: each runs until SIGTERM, and then reports its CPU time ---- */

static volatile sig_atomic_t ended;
static void end(int signo) { (void)signo; ended = 1; }

static void serve_floor(int listener) {
    char buf[4096];
    struct epoll_event events[1024], e = { .events = EPOLLIN | EPOLLET, .data.fd = listener };
    int ep = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    while (!ended) {
        int n = epoll_wait(ep, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd, client;
            if (fd != listener) {
                ssize_t got = recv(fd, buf, sizeof buf, 0);
                if (got > 0 && send(fd, buf, (size_t)got, MSG_NOSIGNAL) == got)
                    continue;
                close(fd);
                continue;
            }
            while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                int on = 1;
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                struct epoll_event c = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = client };
                epoll_ctl(ep, EPOLL_CTL_ADD, client, &c);
            }
        }
    }
}

static intptr_t echo(void *arg) {
    char buf[4096];
    int on = 1, fd = *(int *)arg;
    ssize_t n;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while ((n = rota_read(fd, buf, sizeof buf)) > 0)
        if (rota_write_all(fd, buf, (size_t)n, NULL) < 0)
            break;
    rota_close(fd);
    return 0; /* the load ends by closing in the middle: no failure */
}

static intptr_t acceptor(void *arg) {
    int listener = *(int *)arg;
    for (;;) {
        int fd = rota_accept(listener, NULL, NULL);
        if (fd < 0)
            return fd;
        if (rota_spawn(NULL, echo, &fd, &(rota_spawn_options){ .arg_size = sizeof fd }) < 0)
            rota_close(fd);
    }
}

static intptr_t until_term(void *arg) {
    rota_signals stop;
    rota_task *task;
    int rc = rota_signals_open(&stop, ROTA_SIGNAL(SIGTERM));
    if (rc < 0 || (rc = rota_spawn(&task, acceptor, arg, NULL)) < 0)
        return rc;
    rc = rota_signals_wait(&stop);
    rota_signals_close(&stop);
    rota_cancel(task, "the load is done");
    return rota_join(task, NULL) == -ECANCELED && rc > 0 ? 0 : -1;
}

static void serve_rota(int listener) {
    if (rota_run(until_term, &listener, NULL, NULL) < 0)
        bench_die("serve");
}

static double measure(void (*serve)(int), long connections) {
    struct sockaddr_in addr;
    int report[2], status;
    int listener = listen_socket(&addr);
    double us = 0;
    if (pipe(report) < 0)
        bench_die("pipe");
    pid_t server = fork();
    if (server == 0) {
        signal(SIGTERM, end);
        serve(listener);
        us = cpu_us();
        _exit(write(report[1], &us, sizeof us) != sizeof us);
    }
    close(listener);
    pid_t client = fork();
    if (client == 0) {
        load(&addr, connections, requests());
        _exit(0);
    }
    waitpid(client, &status, 0);
    kill(server, SIGTERM);
    if (status != 0 || read(report[0], &us, sizeof us) != sizeof us)
        bench_die("a process failed");
    waitpid(server, &status, 0);
    close(report[0]);
    close(report[1]);
    return us / (double)requests();
}

static double floor_echo(long n) { return measure(serve_floor, n); }
static double rota_echo(long n) { return measure(serve_rota, n); }

const struct bench bench_echo[] = {
    { "echo", "echo_64", "us", 64, { { "floor", floor_echo }, { "rota", rota_echo } } },
    { "echo", "echo_1000", "us", 1000, { { "floor", floor_echo }, { "rota", rota_echo } } },
    { 0 }
};
