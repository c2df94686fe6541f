/* An echo server with as many connections at once as the descriptor limit allows (10,000 wanted), server and client
 * in processes of their own. Each connection sends and gets back a message twice: when it is made, and again when all
 * are there. Prints how many, and the server's memory for each. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rota.h"

enum { WANTED = 10000, SPARE = 64, ADDRESSES = 4 };

static size_t connections;
static char port[8];

/* ---- server ---- */

static intptr_t echo(int fd, void *arg) {
    char buf[64];
    ssize_t n;
    (void)arg;
    while ((n = rota_read(fd, buf, sizeof buf)) > 0) {
        int rc = rota_write_all(fd, buf, (size_t)n, NULL);
        if (rc < 0)
            return rc;
    }
    return n;
}

static void tell_port(int fd, void *arg) {
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    getsockname(fd, (struct sockaddr *)&addr, &len);
    if (write(*(int *)arg, &addr.sin_port, sizeof addr.sin_port) < 0)
        _exit(1);
}

static intptr_t serve(void *arg) {
    return rota_serve("0.0.0.0", "0", echo, arg, &(rota_serve_options){ .listening = tell_port });
}

static intptr_t server(void *arg) {
    int *pipes = arg; /* [0]: closed by the client's process when it is done; [1]: gets the port */
    char end;
    rota_task *task;
    int rc = rota_spawn(&task, serve, &pipes[1], &(rota_spawn_options){ .name = "serve" });
    if (rc < 0)
        return rc;
    (void)!rota_read(pipes[0], &end, 1);
    rota_cancel(task, "the clients are done");
    return rota_join(task, NULL) == -ECANCELED ? 0 : -EIO;
}

/* ---- client ---- */

static rota_sem dialling;
static rota_event all_there;
static size_t there;

static int say(int fd) {
    char buf[] = "echo", back[sizeof buf];
    int rc = rota_write_all(fd, buf, sizeof buf, NULL);
    if (rc == 0)
        rc = rota_read_exact(fd, back, sizeof back, NULL);
    return rc < 0 ? rc : memcmp(buf, back, sizeof buf) ? -EIO : 0;
}

/* One address has some 28,000 ports to dial from; a few make sure. */
static int dial(size_t i) {
    char host[16];
    snprintf(host, sizeof host, "127.0.0.%zu", 1 + i % ADDRESSES);
    int rc = rota_sem_acquire(&dialling);
    if (rc < 0)
        return rc;
    int fd = rota_dial(host, port, NULL);
    rota_sem_release(&dialling);
    return fd;
}

static intptr_t client(void *arg) {
    int fd = dial((size_t)(uintptr_t)arg);
    if (fd < 0)
        return fd;
    int rc = say(fd);
    if (++there == connections)
        rota_event_set(&all_there);
    if (rc == 0)
        rc = rota_event_wait(&all_there);
    if (rc == 0)
        rc = say(fd);
    rota_close(fd);
    return rc;
}

static intptr_t clients(void *arg) {
    rota_group g;
    int rc = 0;
    (void)arg;
    rota_sem_init(&dialling, 200, 200);
    rota_group_begin(&g, NULL);
    for (size_t i = 0; rc == 0 && i < connections; i++)
        rc = rota_spawn(NULL, client, (void *)i, &(rota_spawn_options){ .group = &g, .stack_size = 16384 });
    rc = (int)rota_group_end(&g, rc);
    return rc;
}

static long resident_kib(pid_t pid) {
    char path[64];
    long pages = 0, all;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(void) {
    struct rlimit limit;
    int to_server[2], from_server[2], status;
    in_port_t number;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    connections = limit.rlim_cur < WANTED + SPARE ? (size_t)limit.rlim_cur - SPARE : WANTED;
    if (pipe(to_server) < 0 || pipe(from_server) < 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        close(to_server[1]);
        int pipes[2] = { to_server[0], from_server[1] };
        _exit(rota_run(server, pipes, NULL, NULL) < 0);
    }
    close(to_server[0]);
    if (read(from_server[0], &number, sizeof number) != sizeof number)
        return 1;
    snprintf(port, sizeof port, "%u", ntohs(number));
    long before = resident_kib(pid);
    int rc = rota_run(clients, NULL, NULL, NULL);
    long after = resident_kib(pid);
    close(to_server[1]);
    waitpid(pid, &status, 0);
    printf("%zu connections at once: %s; server memory %.1f KiB each\n", connections, rota_strerror(rc),
           (double)(after - before) / (double)connections);
    return rc < 0 || status != 0;
}
