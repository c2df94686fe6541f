/* An echo server on several loops, each on a thread of its own: one option of rota_serve. Clients are spread among them
 * by the system; what a client is made of stays on its thread, so the only thing that needs care is what all of them
 * share. SIGINT or SIGTERM ends it.
 *
 *     echo_threads [PORT [THREADS]]      0, any port; 4 threads */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "examples/args.h"
#include "rota.h"

static atomic_long bytes;  /* of all threads */
static long port = 0, threads = 4;

static intptr_t client(int fd, void *arg) {
    char buf[4096];
    ssize_t n;
    (void)arg;
    while ((n = rota_read(fd, buf, sizeof buf)) > 0) {
        atomic_fetch_add(&bytes, n);
        n = rota_write_all(fd, buf, (size_t)n, NULL);
        if (n < 0)
            break;
    }
    return n == -ECONNRESET || n == -EPIPE ? 0 : n;  /* what clients do; not worth a report */
}

static void listening(int fd, void *arg) {
    rota_address address;
    char text[ROTA_ADDRESS_TEXT];
    (void)arg;
    if (rota_local_address(fd, &address) == 0 && rota_address_text(&address, text, sizeof text))
        printf("listening on %s with %ld threads\n", text, threads);
}

static intptr_t serve(void *unused) {
    char service[8];
    (void)unused;
    snprintf(service, sizeof service, "%ld", port);
    return rota_serve("127.0.0.1", service, client, NULL,
                      &(rota_serve_options){ .threads = (unsigned)threads, .listening = listening });
}

static intptr_t until_signal(void *unused) {
    rota_signals stop;
    rota_task *server;
    (void)unused;
    int rc = rota_signals_open(&stop, ROTA_SIGNAL(SIGINT) | ROTA_SIGNAL(SIGTERM));
    if (rc < 0)
        return rc;
    rota_group group;
    rota_group_begin(&group, NULL);
    rc = rota_spawn(&server, serve, NULL, &(rota_spawn_options){ .name = "serve", .group = &group });
    if (rc == 0)
        rc = rota_signals_wait(&stop);
    if (rc > 0)
        rota_scope_cancel(&group.scope, "a signal");
    rota_signals_close(&stop);
    return rota_group_end(&group, rc > 0 ? 0 : rc);
}

int main(int argc, char **argv) {
    if (argc > 3 || (argc > 1 && !args_number(argv[1], 0, 65535, &port)) ||
        (argc > 2 && !args_number(argv[2], 1, 1024, &threads))) {
        fputs("usage: echo_threads [PORT [THREADS]]\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    int rc = rota_run(until_signal, NULL, NULL, NULL);
    if (rc < 0)
        fprintf(stderr, "echo_threads: %s\n", rota_strerror(rc));
    printf("%ld bytes echoed\n", atomic_load(&bytes));
    return rc < 0;
}
