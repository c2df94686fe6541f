/* Program 15: the first 3 lines that are not empty of 3 pages, fetched at the same time, each connection closed as soon
 * as it has said enough. The pages are those of the demo web, which runs as a task of the same loop. */
#include <stdio.h>
#include <string.h>

#include "examples/site.h"
#include "rota/http.h"

enum { LINES = 3 };

struct text {
    const char *url;
    rota_http_client *client;
    char lines[LINES][80];
    size_t n, used;   /* whole lines, and bytes of the one that is coming */
};

static void add(struct text *t, const char *data, size_t n) {
    for (size_t i = 0; i < n && t->n < LINES; i++) {
        if (data[i] != '\n' && t->used < sizeof t->lines[0] - 1)
            t->lines[t->n][t->used++] = data[i];
        if (data[i] != '\n' || t->used == 0)
            continue;
        t->lines[t->n++][t->used] = '\0';
        t->used = 0;
    }
}

static intptr_t first_lines(void *arg) {
    struct text *t = arg;
    rota_http_response response;
    int rc = rota_http_request(t->client, &response, "GET", t->url, NULL);
    if (rc < 0)
        return rc;
    char buf[1024];
    ssize_t n = 0;
    while (t->n < LINES && (n = rota_http_read(&response, buf, sizeof buf)) > 0)
        add(t, buf, (size_t)n);
    rota_http_response_close(&response);
    return n < 0 ? n : 0;
}

static int print_all(struct text *texts, size_t n) {
    int rc = rota_gather_map(first_lines, texts, n, sizeof *texts, NULL, NULL);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        printf("%s\n", texts[i].url);
        for (size_t line = 0; line < texts[i].n; line++)
            printf("    %s\n", texts[i].lines[line]);
    }
    return rc;
}

static intptr_t visit(void *arg) {
    rota_http_client client;
    int rc = rota_http_client_open(&client, &(rota_http_client_options){ .connect = site_connect, .connect_ctx = arg });
    if (rc < 0)
        return rc;
    struct text texts[] = {
        { .url = "http://library.test/", .client = &client },
        { .url = "http://garden.test/", .client = &client },
        { .url = "http://harbour.test/", .client = &client },
    };
    rc = print_all(texts, 3);
    rota_http_client_close(&client);
    return rc;
}

static intptr_t amain(void *site) { return site_visit(site, visit, site); }

int main(void) {
    struct site site = { .port = NULL };
    int rc = rota_run(amain, &site, NULL, NULL);
    if (rc < 0)
        fprintf(stderr, "first lines: %s\n", rota_strerror(rc));
    return rc < 0;
}
