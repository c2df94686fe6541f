/* The load of the benchmarks echo, idle and http. A server is always a program of its own, started here, told the size of
 * its buffers, and measured from outside: by the kernel's CPU clock of its process (all threads), by counting its system
 * calls, by its resident memory. So all servers are measured alike, and starting up does not count. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "count.h"

enum { SMALL = 64, LARGE = 16384, BUFFER = 2048, MAX_DEPTH = 8, PATIENCE_S = 60 };
enum what { CPU_US, WALL_US, CALLS, USER_SHARE, BYTES };

static const char http_request[] = "GET /plaintext HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n";
static const char http_body[] = "Hello, World!";
enum { HTTP_REQUEST = sizeof http_request - 1, HTTP_BODY = sizeof http_body - 1 };

struct scenario {
    const char *name;
    long connections, requests;
    long size, depth;       /* of a request; how many a connection sends at once */
    bool churn;             /* each request by a connection of its own */
    enum what what;
    bool http;              /* requests of HTTP, each answered by http_body under a head; else bytes that come back */
};

static const struct scenario scenarios[] = {
    { "echo_1", 1, 100000, SMALL, 1, false, CPU_US, false },
    { "echo_1_round_trip", 1, 100000, SMALL, 1, false, WALL_US, false },
    { "echo_64", 64, 200000, SMALL, 1, false, CPU_US, false },
    { "echo_64_calls", 64, 50000, SMALL, 1, false, CALLS, false },
    { "echo_64_user_share", 64, 400000, SMALL, 1, false, USER_SHARE, false },
    { "echo_1000", 1000, 200000, SMALL, 1, false, CPU_US, false },
    { "echo_10000", 10000, 200000, SMALL, 1, false, CPU_US, false },
    { "echo_16k", 64, 100000, LARGE, 1, false, CPU_US, false },
    { "echo_depth8", 64, 800000, SMALL, MAX_DEPTH, false, CPU_US, false },
    { "echo_churn", 1, 20000, SMALL, 1, true, CPU_US, false },
    { "idle_bytes", 10000, 0, SMALL, 1, false, BYTES, false },
    { "http_plain", 64, 200000, HTTP_REQUEST, 1, false, CPU_US, true },
    { "http_pipelined", 64, 800000, HTTP_REQUEST, 16, false, CPU_US, true },
};

static const struct scenario *find(const char *name) {
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    bench_die("no such load");
}

/* ---- the server, from outside ---- */

static pid_t server_pid;

static void end_server(void) {
    if (server_pid > 0) {
        kill(server_pid, SIGKILL);
        waitpid(server_pid, NULL, 0);
    }
    server_pid = 0;
}

/* Started with a system call counter on it, or -1 in *counter. The counter must be there before the program's threads
 * are: the child waits for it. */
static struct sockaddr_in start_server(char **words, int n, long buffer, int *counter) {
    char size[24], line[64] = "";
    char *argv[16] = { NULL };
    int out[2], go[2];
    if (n > 14 || pipe(out) < 0 || pipe(go) < 0)
        bench_die("pipe");
    snprintf(size, sizeof size, "%ld", buffer);
    memcpy(argv, words, (size_t)n * sizeof *argv);
    argv[n] = size;
    server_pid = fork();
    if (server_pid == 0) {
        char byte;
        if (read(go[0], &byte, 1) != 1)
            _exit(1);
        dup2(out[1], 1);
        close(out[0]), close(out[1]), close(go[0]), close(go[1]);
        execvp(argv[0], argv);
        _exit(127);
    }
    atexit(end_server);
    *counter = count_open(server_pid);
    if (write(go[1], "", 1) != 1)
        bench_die("write");
    close(out[1]), close(go[0]), close(go[1]);
    alarm(PATIENCE_S); /* a server that hangs must not hang the whole run */
    FILE *f = fdopen(out[0], "r");
    int port = 0;
    while (f && fgets(line, sizeof line, f) && sscanf(line, "port %d", &port) != 1)
        ;
    if (port == 0)
        bench_die("the server does not start");
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return addr;
}

static double cpu_us(void) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(server_pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
        bench_die("the server's CPU clock");
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* User and system time in ticks. */
static void cpu_ticks(double *user, double *system) {
    char path[64], line[1024] = "";
    unsigned long u = 0, s = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)server_pid);
    FILE *f = fopen(path, "r");
    char *after = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
    if (!after || sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s) != 2)
        bench_die("/proc/PID/stat");
    fclose(f);
    *user = (double)u;
    *system = (double)s;
}

static double resident_bytes(void) {
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)server_pid);
    FILE *f = fopen(path, "r");
    if (!f || fscanf(f, "%*d %ld", &pages) != 1)
        bench_die("/proc/PID/statm");
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* ---- the load ---- */

static char out[LARGE], in[LARGE];
static long answer_size;    /* of one request */

/* From an address of this process alone: a port and a pair of addresses stay taken for a minute after a connection, and
 * several runs would use them up. */
static int dial(const struct sockaddr_in *addr) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint32_t host = 2 + (uint32_t)getpid() % 0xfffff0;
    struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host) };
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) < 0 ||
        connect(fd, (const struct sockaddr *)addr, sizeof *addr) < 0)
        bench_die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void ask(int fd, long bytes) {
    if (send(fd, out, (size_t)bytes, MSG_NOSIGNAL) != bytes)
        bench_die("the server hangs up");
}

static void answer(int fd, long bytes) {
    if (recv(fd, in, (size_t)bytes, MSG_WAITALL) != bytes)
        bench_die("the server hangs up");
}

/* Servers of HTTP differ in what they say besides the body, but say the same each time. */
static long size_of_answer(const struct sockaddr_in *addr, const struct scenario *s) {
    if (!s->http)
        return s->size;
    int fd = dial(addr);
    long got = 0, body = 0;
    const char *end = NULL, *length;
    ask(fd, s->size);
    while (!end || got < end + 4 - in + body) {
        ssize_t n = recv(fd, in + got, sizeof in - 1 - (size_t)got, 0);
        if (n <= 0)
            bench_die("the server hangs up");
        in[got += n] = '\0';
        end = strstr(in, "\r\n\r\n");
        length = strcasestr(in, "\r\ncontent-length:");
        body = length ? atol(length + 17) : 0;
        if (end && (!length || body != HTTP_BODY || strncmp(in, "HTTP/1.1 200 ", 13) != 0))
            bench_die("not the answer that was expected");
    }
    close(fd);
    return got;
}

static void prepare(const struct sockaddr_in *addr, const struct scenario *s) {
    for (long i = 0; s->http && i < s->depth; i++)
        memcpy(out + i * s->size, http_request, (size_t)s->size);
    answer_size = size_of_answer(addr, s);
    if (answer_size * s->depth > (long)sizeof in)
        bench_die("too much at once");
}

/* Connects, and exchanges one byte, or request of HTTP, on each connection: then it has been accepted and everything it
 * needs exists. */
static void connect_all(const struct sockaddr_in *addr, const struct scenario *s, int ep, int *fds) {
    for (long i = 0; i < s->connections; i++) {
        fds[i] = dial(addr);
        struct epoll_event e = { .events = EPOLLIN, .data.fd = fds[i] };
        ask(fds[i], s->http ? s->size : 1);
        answer(fds[i], s->http ? answer_size : 1);
        epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e);
    }
}

/* Exactly n requests, `depth` at once on each connection; the next ones when the answers have come. */
static void exchange(const struct scenario *s, int ep, const int *fds, long n) {
    struct epoll_event events[256];
    long sent = 0, answered = 0, bytes = s->size * s->depth, back = answer_size * s->depth;
    for (long i = 0; i < s->connections && sent < n; i++, sent += s->depth)
        ask(fds[i], bytes);
    while (answered < sent) {
        int ready = epoll_wait(ep, events, 256, 1000 * PATIENCE_S);
        if (ready <= 0)
            bench_die("the server does not answer");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            answer(fd, back);
            if (s->http && memcmp(in + back - HTTP_BODY, http_body, HTTP_BODY) != 0)
                bench_die("not the answer that was expected");
            answered += s->depth;
            if (sent < n) {
                ask(fd, bytes);
                sent += s->depth;
            }
        }
    }
}

static void churn(const struct sockaddr_in *addr, const struct scenario *s, long n) {
    for (long i = 0; i < n; i++) {
        int fd = dial(addr);
        ask(fd, s->size);
        answer(fd, answer_size);
        close(fd);
    }
}

static void many_descriptors(long n) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if ((long)limit.rlim_max < n + 100)
        bench_die("the limit of open files is too low");
}

/* With all of this pinned to one processor, the server keeps it and the load takes the last one. */
static void move_aside(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1) {
        CPU_ZERO(&set);
        CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
        sched_setaffinity(0, sizeof set, &set);
    }
}

enum { FEWEST_TICKS = 50 };

static double measure(const struct scenario *s, const struct sockaddr_in *addr, int counter) {
    long n = s->requests / bench_divide / s->depth * s->depth;
    int *fds = malloc((size_t)s->connections * sizeof *fds);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    double user[2], system[2];
    prepare(addr, s);
    churn(addr, s, 1);
    double memory = resident_bytes();
    if (!s->churn)
        connect_all(addr, s, ep, fds);
    memory = resident_bytes() - memory;
    if (!s->churn && n > 0)
        exchange(s, ep, fds, s->connections * s->depth); /* warms up */
    long calls = s->what == CALLS ? count_read(counter) : 0;
    int64_t start = bench_now();
    double us = cpu_us();
    cpu_ticks(&user[0], &system[0]);
    if (s->churn)
        churn(addr, s, n);
    else
        exchange(s, ep, fds, n);
    us = cpu_us() - us;
    double wall_us = (double)(bench_now() - start) / 1e3;
    cpu_ticks(&user[1], &system[1]);
    calls = s->what == CALLS ? count_read(counter) - calls : 0;
    for (long i = 0; !s->churn && i < s->connections; i++)
        close(fds[i]);
    close(ep);
    free(fds);
    double all = user[1] + system[1] - user[0] - system[0];
    switch (s->what) {
    case CPU_US: return us / (double)n;
    case WALL_US: return wall_us / (double)n;
    case CALLS: return (double)calls / (double)n;
    case USER_SHARE: return all >= FEWEST_TICKS ? 100 * (user[1] - user[0]) / all
                                               : bench_absent("too short to tell (the kernel samples it)");
    case BYTES: return memory / (double)s->connections;
    }
    return 0;
}

double load_run(const char *name, char **server, int n) {
    struct scenario hurried = *find(name);
    const struct scenario *s = &hurried;
    int counter;
    if (s->what == BYTES && bench_divide > 1)
        hurried.connections /= 10;
    many_descriptors(s->connections);
    struct sockaddr_in addr = start_server(server, n, s->size > BUFFER ? s->size : BUFFER, &counter);
    move_aside();
    double value = counter < 0 && s->what == CALLS
        ? bench_absent("the kernel's counter of system calls needs tracefs and root") : measure(s, &addr, counter);
    if (counter >= 0)
        close(counter);
    end_server();
    alarm(0);
    return value;
}
