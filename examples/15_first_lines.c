/* Program 15: the first 3 lines that are not empty of 3 pages, fetched at the same time, each connection closed as soon
 * as it has said enough. The pages are those of the demo web, which runs as a task of the same loop. */
#include <stdio.h>
#include <string.h>

#include "examples/http.h"
#include "examples/site.h"
#include "rota.h"

enum { LINES = 3 };

struct text {
    const char *host;
    const struct site *site;
    char lines[LINES][80];
    size_t n, used;   /* whole lines, and bytes of the one that is coming */
};

static void on_body(void *arg, const char *data, size_t n) {
    struct text *t = arg;
    for (size_t i = 0; i < n && t->n < LINES; i++) {
        if (data[i] != '\n' && t->used < sizeof t->lines[0] - 1)
            t->lines[t->n][t->used++] = data[i];
        if (data[i] != '\n' || t->used == 0)
            continue;
        t->lines[t->n++][t->used] = '\0';
        t->used = 0;
    }
}

static int ask(int fd, struct text *t) {
    char request[128];
    int n = snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", t->host);
    return rota_write_all(fd, request, (size_t)n, NULL);
}

static int read_lines(int fd, struct text *t) {
    struct http_parser p;
    http_response_init(&p, false);
    p.on_body = on_body;
    p.arg = t;
    while (!p.done && t->n < LINES) {
        char buf[1024];
        ssize_t n = rota_read(fd, buf, sizeof buf);
        if (n < 0)
            return (int)n;
        ssize_t rc = n > 0 ? http_feed(&p, buf, (size_t)n) : http_end(&p);
        if (rc < 0)
            return (int)rc;
    }
    return 0;
}

static intptr_t first_lines(void *arg) {
    struct text *t = arg;
    int fd = rota_dial("127.0.0.1", t->site->ports.open, NULL);
    if (fd < 0)
        return fd;
    int rc = ask(fd, t);
    if (rc == 0)
        rc = read_lines(fd, t);
    rota_close(fd);
    return rc;
}

static int print_all(struct text *texts, size_t n) {
    int rc = rota_gather_map(first_lines, texts, n, sizeof *texts, NULL, NULL);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        printf("%s\n", texts[i].host);
        for (size_t line = 0; line < texts[i].n; line++)
            printf("    %s\n", texts[i].lines[line]);
    }
    return rc;
}

static intptr_t amain(void *arg) {
    struct site *site = arg;
    struct text texts[] = {
        { .host = "library.test", .site = site },
        { .host = "garden.test", .site = site },
        { .host = "harbour.test", .site = site },
    };
    rota_group server;
    rota_group_begin(&server, NULL);
    int rc = rota_spawn(NULL, site_run, site, &(rota_spawn_options){ .name = "site", .group = &server });
    if (rc == 0)
        rc = rota_future_await(&site->ready, NULL);
    if (rc == 0)
        rc = print_all(texts, 3);
    rota_scope_cancel(&server.scope, "the pages have been read");
    return rota_group_end(&server, rc);
}

int main(void) {
    struct site site = { .port = NULL };
    int rc = rota_run(amain, &site, NULL, NULL);
    if (rc < 0)
        fprintf(stderr, "first lines: %s\n", rota_strerror(rc));
    return rc < 0;
}
