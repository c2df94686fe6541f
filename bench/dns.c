/* Names: the time of one lookup (an A record, over UDP on loopback), one after the other, and with 16 tasks at once.
 * The server is a process of its own that answers everything with one address. The floor is what no resolver that draws
 * a port for each question gets by without: socket, connect, send, recv, close, by hand and blocking. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"

enum { QUERIES = 40000, HEADER = 12 };

static struct sockaddr_in server;
static long left;
static rota_dns dns;

static long queries(void) { return QUERIES / bench_divide; }

/* Question in, the same with an answer behind it out; what came behind the question (EDNS) is left out. */
static void serve(int fd) {
    static const unsigned char answer[] = { 0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1 };
    for (;;) {
        unsigned char msg[600];
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(fd, msg, 512, 0, (struct sockaddr *)&from, &len);
        if (n < HEADER)
            continue;
        size_t end = HEADER;
        while (end < (size_t)n && msg[end])
            end += msg[end] + 1u;
        end += 5;
        if (end > (size_t)n)
            continue;
        static const unsigned char counts[] = { 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0 };
        memcpy(msg + 2, counts, sizeof counts);
        memcpy(msg + end, answer, sizeof answer);
        (void)!sendto(fd, msg, end + sizeof answer, 0, (struct sockaddr *)&from, len);
    }
}

static pid_t start_server(void) {
    socklen_t len = sizeof server;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memset(&server, 0, sizeof server);
    server.sin_family = AF_INET;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&server, len) < 0 ||
        getsockname(fd, (struct sockaddr *)&server, &len) < 0)
        bench_die("bind");
    pid_t pid = fork();
    if (pid == 0)
        serve(fd);
    close(fd);
    return pid;
}

static void stop_server(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static double floor_queries(long n) {
    static const unsigned char query[] = { 0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 'h', 'o', 's', 't', 4, 't', 'e', 's',
                                           't', 0, 0, 1, 0, 1 };
    pid_t pid = start_server();
    int64_t began = bench_now();
    (void)n;
    for (long i = 0; i < queries(); i++) {
        char answer[600];
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server) < 0 ||
            send(fd, query, sizeof query, 0) < 0 || recv(fd, answer, sizeof answer, 0) < 0)
            bench_die("query");
        close(fd);
    }
    double us = (double)(bench_now() - began) / 1e3 / (double)queries();
    stop_server(pid);
    return us;
}

static intptr_t ask(void *unused) {
    rota_address out;
    (void)unused;
    while (left-- > 0)
        if (rota_dns_resolve(&dns, "host.test", NULL, AF_INET, &out, 1) != 1)
            bench_die("rota_dns_resolve");
    return 0;
}

static intptr_t ask_all(void *n) {
    rota_call calls[16];
    rota_address address = { .len = sizeof server };
    memcpy(&address.addr, &server, sizeof server);
    rota_dns_options opt = { .resolv_conf = "", .hosts = "", .services = "", .servers = &address, .n_servers = 1 };
    if (rota_dns_open(&dns, &opt) < 0)
        bench_die("rota_dns_open");
    left = queries();
    for (long i = 0; i < (intptr_t)n; i++)
        calls[i] = (rota_call){ .fn = ask };
    int rc = rota_gather(calls, (size_t)(intptr_t)n, NULL);
    rota_dns_close(&dns);
    return rc;
}

static double rota_queries(long n) {
    pid_t pid = start_server();
    int64_t began = bench_now();
    if (rota_run(ask_all, (void *)(intptr_t)n, NULL, NULL) < 0)
        bench_die("rota_run");
    double us = (double)(bench_now() - began) / 1e3 / (double)queries();
    stop_server(pid);
    return us;
}

const struct bench bench_dns[] = {
    { "dns", "dns_queries_1", "us", 1, { { "floor", floor_queries }, { "rota", rota_queries } },
      "one lookup (an A record, over UDP on loopback), one after the other" },
    { "dns", "dns_queries_16", "us", 16, { { "floor", floor_queries }, { "rota", rota_queries } },
      "one lookup (an A record, over UDP on loopback), by 16 tasks at once: the time of all over their number" },
    { 0 }
};
