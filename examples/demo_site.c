/* The crawler's demo web as a program of its own, to look at with a browser or curl, or to crawl from
 * elsewhere on this machine: http://127.0.0.1:PORT/museum is the site that the demo calls museum.test. */
#include <stdio.h>
#include <string.h>

#include "examples/args.h"
#include "examples/site.h"

static intptr_t demo_site(void *arg) {
    struct site *site = arg;
    rota_group server;
    rota_group_begin(&server, NULL);
    int rc = rota_spawn(NULL, site_run, site, &(rota_spawn_options){ .name = "site", .group = &server });
    if (rc == 0)
        rc = rota_future_await(&site->ready, NULL);
    if (rc == 0) {
        printf("http://127.0.0.1:%s/ and its refusing neighbour http://127.0.0.1:%s/\n", site->ports.open,
               site->ports.closed);
        fflush(stdout);
    }
    return rota_group_end(&server, rc);
}

int main(int argc, char **argv) {
    struct site site = { .port = argc == 3 ? argv[2] : NULL };
    long number;
    if (argc != 1 && (argc != 3 || strcmp(argv[1], "--port") != 0 || !args_number(argv[2], 0, 65535, &number))) {
        fputs("usage: demo_site [--port PORT]\n", stderr);
        return 2;
    }
    intptr_t result = 0;
    int rc = rota_run(demo_site, &site, &result, NULL);
    if (rc == 0)
        rc = (int)result;
    if (rc < 0)
        fprintf(stderr, "demo_site: %s\n", rota_strerror(rc));
    return rc < 0;
}
