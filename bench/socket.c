/* Datagrams and unix sockets on one machine: what a packet costs, next to the same system calls by hand.
 *
 * ping_pong: two ends in one process send one message back and forth, each waiting for the other's; half a round is the
 * unit. The floor waits with an edge-triggered epoll, and makes the calls that must be made: recv, send, epoll_wait.
 * packets: one end sends 32 datagrams, then the other takes them, and nobody ever has to wait. "batched" does it in two
 * system calls, sendmmsg and recvmmsg: what a call of that kind could save at most. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"

enum { SIZE = 64, ROUNDS = 100000, BURST = 32 };

static long rounds(void) { return ROUNDS / bench_divide; }

static void udp_pair(int sv[2]) {
    struct sockaddr_in a[2];
    socklen_t len = sizeof *a;
    for (int i = 0; i < 2; i++) {
        memset(&a[i], 0, sizeof a[i]);
        a[i].sin_family = AF_INET;
        a[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        sv[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (sv[i] < 0 || bind(sv[i], (struct sockaddr *)&a[i], len) < 0 ||
            getsockname(sv[i], (struct sockaddr *)&a[i], &len) < 0)
            bench_die("udp");
    }
    for (int i = 0; i < 2; i++)
        if (connect(sv[i], (struct sockaddr *)&a[!i], len) < 0)
            bench_die("connect");
}

static void unix_pair(int sv[2]) {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv) < 0)
        bench_die("socketpair");
}

static void make_pair(long kind, int sv[2]) { (kind ? unix_pair : udp_pair)(sv); }

static void close_pair(int sv[2]) {
    close(sv[0]);
    close(sv[1]);
}

/* ---- ping-pong ---- */

static double ping_pong_floor(long kind) {
    int sv[2], ep = epoll_create1(EPOLL_CLOEXEC);
    char buf[SIZE] = { 0 };
    struct epoll_event e;
    make_pair(kind, sv);
    for (int i = 0; i < 2; i++) {
        e = (struct epoll_event){ .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = sv[i] };
        if (epoll_ctl(ep, EPOLL_CTL_ADD, sv[i], &e) < 0)
            bench_die("epoll_ctl");
    }
    int64_t start = bench_now();
    if (send(sv[0], buf, SIZE, MSG_NOSIGNAL) != SIZE)
        bench_die("send");
    for (long i = 0; i < 2 * rounds(); i++) {
        if (epoll_wait(ep, &e, 1, -1) != 1 || recv(e.data.fd, buf, SIZE, 0) != SIZE ||
            send(e.data.fd, buf, SIZE, MSG_NOSIGNAL) != SIZE)
            bench_die("ping-pong");
    }
    double ns = (double)(bench_now() - start) / (double)(2 * rounds());
    close_pair(sv);
    close(ep);
    return ns;
}

static intptr_t answer(void *fd) {
    char buf[SIZE];
    for (long i = 0; i < rounds(); i++)
        if (rota_recv(*(int *)fd, buf, SIZE, 0) != SIZE || rota_send(*(int *)fd, buf, SIZE, 0) != SIZE)
            return -1;
    return 0;
}

static intptr_t ping_pong_body(void *arg) {
    int *sv = arg;
    char buf[SIZE] = { 0 };
    rota_task *other;
    int rc = rota_spawn(&other, answer, &sv[1], NULL);
    if (rc < 0)
        return rc;
    for (long i = 0; i < rounds(); i++)
        if (rota_send(sv[0], buf, SIZE, 0) != SIZE || rota_recv(sv[0], buf, SIZE, 0) != SIZE)
            bench_die("ping-pong");
    return rota_join(other, NULL);
}

static double ping_pong_rota(long kind) {
    int sv[2];
    make_pair(kind, sv);
    int64_t start = bench_now();
    if (rota_run(ping_pong_body, sv, NULL, NULL) < 0)
        bench_die("ping-pong");
    double ns = (double)(bench_now() - start) / (double)(2 * rounds());
    close_pair(sv);
    return ns;
}

/* ---- flood ---- */

static double flood_floor(long kind) {
    int sv[2];
    char buf[SIZE] = { 0 };
    make_pair(kind, sv);
    int64_t start = bench_now();
    for (long i = 0; i < rounds(); i += BURST) {
        for (int k = 0; k < BURST; k++)
            if (send(sv[0], buf, SIZE, MSG_NOSIGNAL) != SIZE)
                bench_die("flood");
        for (int k = 0; k < BURST; k++)
            if (recv(sv[1], buf, SIZE, 0) != SIZE)
                bench_die("flood");
    }
    double ns = (double)(bench_now() - start) / (double)rounds();
    close_pair(sv);
    return ns;
}

static double flood_batched(long kind) {
    int sv[2];
    char bytes[BURST][SIZE] = { 0 };
    struct iovec iov[BURST];
    struct mmsghdr msgs[BURST];
    make_pair(kind, sv);
    memset(msgs, 0, sizeof msgs);
    for (int k = 0; k < BURST; k++) {
        iov[k] = (struct iovec){ bytes[k], SIZE };
        msgs[k].msg_hdr.msg_iov = &iov[k];
        msgs[k].msg_hdr.msg_iovlen = 1;
    }
    int64_t start = bench_now();
    for (long i = 0; i < rounds(); i += BURST)
        if (sendmmsg(sv[0], msgs, BURST, MSG_NOSIGNAL) != BURST || recvmmsg(sv[1], msgs, BURST, 0, NULL) != BURST)
            bench_die("flood");
    double ns = (double)(bench_now() - start) / (double)rounds();
    close_pair(sv);
    return ns;
}

static intptr_t flood_body(void *arg) {
    int *sv = arg;
    char buf[SIZE] = { 0 };
    for (long i = 0; i < rounds(); i += BURST) {
        for (int k = 0; k < BURST; k++)
            if (rota_send(sv[0], buf, SIZE, 0) != SIZE)
                bench_die("flood");
        for (int k = 0; k < BURST; k++)
            if (rota_recv(sv[1], buf, SIZE, 0) != SIZE)
                bench_die("flood");
    }
    return 0;
}

static double flood_rota(long kind) {
    int sv[2];
    make_pair(kind, sv);
    int64_t start = bench_now();
    if (rota_run(flood_body, sv, NULL, NULL) < 0)
        bench_die("flood");
    double ns = (double)(bench_now() - start) / (double)rounds();
    close_pair(sv);
    return ns;
}

const struct bench bench_socket[] = {
    { "socket", "udp_ping_pong", "ns", 0, { { "floor", ping_pong_floor }, { "rota", ping_pong_rota } },
      "one datagram of 64 bytes sent, waited for and received, by two sockets in turn" },
    { "socket", "udp_packets", "ns", 0,
      { { "floor", flood_floor }, { "batched", flood_batched }, { "rota", flood_rota } },
      "one datagram of 64 bytes sent and received; 32 are sent before they are taken, so that nobody waits" },
    { "socket", "unix_ping_pong", "ns", 1, { { "floor", ping_pong_floor }, { "rota", ping_pong_rota } },
      "64 bytes sent, waited for and received, by two unix stream sockets in turn" },
    { 0 }
};
