/* A TCP echo server: one task per client, which reads and writes as if it were alone. A client that says
 * nothing for --idle seconds is let go. SIGINT or SIGTERM ends the server: no new clients, --drain seconds for
 * those that are there; a second signal ends it at once. */
#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "examples/args.h"
#include "rota.h"

struct server {
    const char *host, *port;
    int64_t idle, drain;
    rota_group group;         /* of the task that serves */
};

static intptr_t client(int fd, void *arg) {
    const struct server *s = arg;
    char buf[1024];
    for (;;) {
        rota_scope patience;
        rota_timeout_begin(&patience, s->idle);
        ssize_t n = rota_read(fd, buf, sizeof buf);
        n = (ssize_t)rota_scope_end(&patience, n);
        if (n == -ETIMEDOUT || n == -ECONNRESET)
            return 0;  /* what clients do; not worth a report */
        if (n <= 0)
            return n;
        n = rota_write_all(fd, buf, (size_t)n, NULL);
        if (n < 0)
            return n == -EPIPE || n == -ECONNRESET ? 0 : n;
    }
}

static void listening(int fd, void *arg) {
    (void)arg;
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    if (getsockname(fd, (struct sockaddr *)&addr, &len) == 0)
        getnameinfo((struct sockaddr *)&addr, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    printf("listening on %s port %s\n", host, port);
}

static intptr_t serve(void *arg) {
    struct server *s = arg;
    rota_serve_options options = { .drain = s->drain, .listening = listening };
    return rota_serve(s->host, s->port, client, s, &options);
}

static intptr_t serve_until_signal(void *arg) {
    struct server *s = arg;
    rota_signals stop;
    intptr_t rc = rota_signals_open(&stop, ROTA_SIGNAL(SIGINT) | ROTA_SIGNAL(SIGTERM));
    if (rc < 0)
        return rc;
    rota_group_begin(&s->group, NULL);
    rc = rota_spawn(NULL, serve, s, &(rota_spawn_options){ .name = "serve", .group = &s->group });
    if (rc == 0)
        rc = rota_signals_wait(&stop);
    rota_signals_close(&stop);  /* from here on a signal has its usual effect */
    if (rc > 0) {
        puts("draining");
        rota_scope_cancel(&s->group.scope, "a signal");
        rc = 0;
    }
    return rota_group_end(&s->group, rc);
}

/* A connection is a descriptor, and the usual soft limit of 1024 is for programs that use select(2). */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int usage(int code) {
    fputs("usage: echo [--host HOST] [--port PORT] [--idle SECONDS] [--drain SECONDS]\n"
          "  --host HOST      address or name to listen on; default: all addresses\n"
          "  --port PORT      port, 0 for any that is free; default 7777\n"
          "  --idle SECONDS   how long a client may say nothing; default 30\n"
          "  --drain SECONDS  how long clients may go on after SIGINT or SIGTERM; default 5\n",
          code == 0 ? stdout : stderr);
    return code;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        { "host", required_argument, NULL, 'h' }, { "port", required_argument, NULL, 'p' },
        { "idle", required_argument, NULL, 'i' }, { "drain", required_argument, NULL, 'd' },
        { "help", no_argument, NULL, '?' + 128 }, { NULL, 0, NULL, 0 },
    };
    struct server s = { .port = "7777", .idle = 30 * ROTA_S, .drain = 5 * ROTA_S };
    long number;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        bool ok = true;
        switch (c) {
        case 'h': s.host = optarg; break;
        case 'p': s.port = optarg; ok = args_number(optarg, 0, 65535, &number); break;
        case 'i': ok = args_seconds(optarg, &s.idle); break;
        case 'd': ok = args_seconds(optarg, &s.drain); break;
        case '?' + 128: return usage(0);
        default: return usage(2);
        }
        if (!ok) {
            fprintf(stderr, "echo: %s is out of range or no number\n", optarg);
            return 2;
        }
    }
    if (optind < argc)
        return usage(2);
    raise_descriptor_limit();
    setvbuf(stdout, NULL, _IOLBF, 0);  /* each line at once, into a pipe or file too */
    intptr_t result = 0;
    int rc = rota_run(serve_until_signal, &s, &result, NULL);
    if (rc == 0)
        rc = (int)result;
    if (rc < 0)
        fprintf(stderr, "echo: %s\n", rota_strerror(rc));
    return rc < 0;
}
