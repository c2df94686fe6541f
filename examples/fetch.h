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
    int redirects;                  /* most that are followed; those before the last one count as resolving; 0: none */
    /* For https, such as secure_handshake and secure_take_why of secure.h; NULL: there is none. */
    int (*secure)(void *ctx, rota_stream *stream, int fd, const char *host);
    const char *(*take_why)(void *ctx, char text[200]);
    void *secure_ctx;

    /* Set by fetch_page. */
    bool started, ended;
    int error;                      /* 0, or the negative errno that ended it */
    const char *why;                /* a sentence about what cannot be fetched, or NULL */
    char why_text[200];             /* where it is, when it is no constant */
    enum fetch_stage stage;         /* where it is, or where it ended */
    int64_t start, end;
    int64_t stage_end[FETCH_STAGES]; /* valid below stage */
    int status;                     /* 0: no answer came */
    char reason[64];                /* printable ASCII, as is location */
    char location[128];             /* where a redirect points, or has led when followed; cut to fit */
    bool followed;
    uint64_t bytes, less, greater;  /* of the body, and how many of them are < and > */
};

/* (S) 0 for any complete answer, whatever its status; or a negative errno, also in page->error.
 * -ECANCELED only when the caller was cancelled. */
int fetch_page(struct page *page);

/* What to tell a person about page->error; "" when there is none. */
const char *fetch_error(const struct page *page);

#endif
