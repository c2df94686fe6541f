/* One page of the web, fetched by the task that calls fetch_page, with the times at which each stage of it
 * ended, on the loop's clock. */
#ifndef EXAMPLES_FETCH_H
#define EXAMPLES_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rota/http.h"

enum fetch_stage { FETCH_RESOLVE, FETCH_CONNECT, FETCH_WAIT, FETCH_BODY, FETCH_STAGES };

struct page {
    /* Set by the caller; everything else is zero. */
    const char *url;
    const char *to_host, *to_port;  /* connect here, as a line of /etc/hosts would say; NULL: where the URL says */
    int64_t timeout;                /* for all of it, resolution included */
    int64_t connect_timeout;        /* for resolution and connecting alone */
    rota_http_connect_fn *secure;   /* connects for https; NULL: there is no TLS */
    void *secure_ctx;

    /* Set by fetch_page. */
    bool started, ended;
    int error;                      /* 0, or the negative errno that ended it */
    const char *why;                /* a sentence about a URL that cannot be fetched, or NULL */
    enum fetch_stage stage;         /* where it is, or where it ended */
    int64_t start, end;
    int64_t stage_end[FETCH_STAGES]; /* valid below stage */
    int status;                     /* 0: no answer came */
    char reason[64];                /* printable ASCII, as is location */
    char location[128];             /* where a redirect points; cut to fit */
    uint64_t bytes, less, greater;  /* of the body, and how many of them are < and > */
};

/* (S) 0 for any complete answer, whatever its status; or a negative errno, also in page->error.
 * -ECANCELED only when the caller was cancelled. */
int fetch_page(struct page *page);

/* What to tell a person about page->error; "" when there is none. */
const char *fetch_error(const struct page *page);

#endif
