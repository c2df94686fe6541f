/* The examples' own web: several sites with their delays and faults on loopback, so that the crawler has
 * something to do without internet. Sites are virtual hosts of one server; one more port refuses. */
#ifndef EXAMPLES_SITE_H
#define EXAMPLES_SITE_H

#include <stdint.h>
#include <sys/types.h>

#include "rota.h"
#include "rota/http.h"

struct site_ports {
    char open[6];                /* where it listens on 127.0.0.1 */
    char closed[6];              /* of its own, and nobody listens there */
};

struct site {
    const char *port;            /* where to listen; NULL: any port */
    /* Instead of rota_http_serve, for https, such as secure_serve of secure.h; NULL: rota_http_serve. */
    int (*serve)(void *ctx, const char *host, const char *port, rota_http_handler_fn *handler, void *arg,
                 const rota_http_serve_options *opt);
    void *serve_ctx;
    struct site_ports ports;     /* valid when ready is set, or site_start has returned 0 */
    rota_future ready;           /* set when it listens */

    /* Private. */
    pid_t child_;                /* of site_start */
    int life_;                   /* the child lives until this pipe is closed */
};

/* Body of a task: serves until it is cancelled. arg is a struct site, zero but for port and serve. (S) */
intptr_t site_run(void *site);

/* (S) The same as a task beside visit(arg), which begins when the site listens, and ends it; visit's value. */
intptr_t site_visit(struct site *site, rota_fn *visit, void *arg);

/* The same in a child process, for times that are not the crawler's own: returns when the child is ready.
 * Call it before there are loops or threads. 0 or a negative errno. Blocks. */
int site_start(struct site *site);
void site_stop(struct site *site);

/* What there is to download, ended by NULL; the third one is missing. */
extern const char *const site_downloads[];

/* The pages to visit, as URLs, ended by NULL. The list includes what must fail. */
extern const char *const site_urls[];

/* Where the host of one of these URLs is found on 127.0.0.1: a port, or NULL when it is not one of ours. */
const char *site_route(const struct site *site, const char *url);

/* (S) For the options of an HTTP client: connects to these hosts where they are, and to others where they say. */
int site_connect(void *site, rota_stream *stream, const char *host, const char *port, bool secure, char *why, size_t n);

#endif
