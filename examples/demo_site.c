/* The crawler's demo web as a program of its own, to look at with a browser or curl, or to crawl from
 * elsewhere on this machine: http://127.0.0.1:PORT/museum is the site that the demo calls museum.test. With a
 * certificate (PEM, and its key) it is https. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "examples/args.h"
#include "examples/secure.h"
#include "examples/site.h"

static intptr_t demo_site(void *arg) {
    struct site *site = arg;
    rota_group server;
    rota_group_begin(&server, NULL);
    int rc = rota_spawn(NULL, site_run, site, &(rota_spawn_options){ .name = "site", .group = &server });
    if (rc == 0)
        rc = rota_future_await(&site->ready, NULL);
    if (rc == 0) {
        printf("%s://127.0.0.1:%s/ and its refusing neighbour http://127.0.0.1:%s/\n",
               site->serve != NULL ? "https" : "http", site->ports.open, site->ports.closed);
        fflush(stdout);
    }
    return rota_group_end(&server, rc);
}

/* False for wrong use. */
static bool read_options(struct site *site, struct secure *secure, int argc, char **argv) {
    static const struct option long_options[] = {
        { "port", required_argument, NULL, 'p' },
        { "certificate", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'k' },
        { NULL, 0, NULL, 0 },
    };
    long number;
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (option == 'p' && args_number(optarg, 0, 65535, &number))
            site->port = optarg;
        else if (option == 'c')
            secure->certificate = optarg;
        else if (option == 'k')
            secure->key = optarg;
        else
            return false;
    }
    return optind == argc;
}

int main(int argc, char **argv) {
    struct secure secure = { .certificate = NULL };
    struct site site = { .serve_ctx = &secure };
    if (!read_options(&site, &secure, argc, argv)) {
        fputs("usage: demo_site [--port PORT] [--certificate FILE --key FILE]\n", stderr);
        return 2;
    }
    int rc = secure_open(&secure);
    if (rc < 0) {
        char why[SECURE_WHY];
        fprintf(stderr, "demo_site: %s\n", secure_take_why(&secure, why));
        return 1;
    }
    if (secure.certificate != NULL)
        site.serve = secure_serve;
    intptr_t result = 0;
    rc = rota_run(demo_site, &site, &result, NULL);
    if (rc == 0)
        rc = (int)result;
    if (rc < 0)
        fprintf(stderr, "demo_site: %s\n", rota_strerror(rc));
    secure_close(&secure);
    return rc < 0;
}
