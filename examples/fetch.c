/* Fetches one page: fetch_page, fetch_error. Straight-line code: resolve, connect, ask, read; every wait in it
 * may be cut short by the page's own deadline or by somebody's cancel, and there is no code for either but
 * "return what you got". It must not know how many pages are fetched at once, nor print.
 */
#include "examples/fetch.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "examples/http.h"
#include "examples/url.h"
#include "rota.h"

/* A page may be any size, since only counted; but one that never ends is the peer's way to keep us. */
#define BODY_LIMIT ((uint64_t)1 << 30)

/* How long one address of a host may take to answer when there are others to try. */
#define ADDRESS_PATIENCE (2 * ROTA_S)

struct fetch {
    struct page *page;
    struct url url;
    int fd;
};

static void next_stage(struct page *page) {
    page->stage_end[page->stage++] = rota_now();
}

/* ---- connecting --------------------------------------------------------------------------------- */

static int dial_address(const rota_address *address, int64_t patience) {
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo((const struct sockaddr *)&address->addr, address->len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -EAFNOSUPPORT;
    rota_scope scope;
    rota_timeout_begin(&scope, patience);
    int fd = rota_dial(host, port, NULL);
    return (int)rota_scope_end(&scope, fd);
}

/* rota_dial would resolve and connect in one call, and try the addresses with a stagger; it is two calls here
 * because the waterfall shows the two stages apart. */
static intptr_t open_connection(void *arg) {
    struct fetch *f = arg;
    const char *host = f->page->to_host != NULL ? f->page->to_host : f->url.host;
    const char *port = f->page->to_port != NULL ? f->page->to_port : f->url.port;
    rota_address addresses[8];
    int n = rota_resolve(host, port, AF_UNSPEC, addresses, sizeof addresses / sizeof addresses[0]);
    if (n < 0)
        return n;
    next_stage(f->page);
    int fd = -ENOENT;
    for (int i = 0; i < n && fd < 0 && fd != -ECANCELED; i++)
        fd = dial_address(&addresses[i], i + 1 < n ? ADDRESS_PATIENCE : ROTA_FOREVER);
    return fd;
}

/* ---- asking and reading ------------------------------------------------------------------------- */

/* For text that a terminal or a picture will show: what the peer sends may hold escape sequences. */
static void copy_printable(char *to, size_t size, const char *from) {
    size_t n = 0;
    for (; from[n] != '\0' && n + 1 < size; n++)
        to[n] = from[n] >= 0x20 && from[n] < 0x7f ? from[n] : '?';
    to[n] = '\0';
}

static void on_field(void *arg, const char *name, const char *value) {
    struct page *page = arg;
    if (strcasecmp(name, "Location") == 0)
        copy_printable(page->location, sizeof page->location, value);
}

static void on_body(void *arg, const char *data, size_t n) {
    struct page *page = arg;
    page->bytes += n;
    for (size_t i = 0; i < n; i++) {
        page->less += data[i] == '<';
        page->greater += data[i] == '>';
    }
}

static int ask(struct fetch *f, rota_stream *s) {
    char request[URL_TARGET_MAX + URL_HOST_MAX + 128];
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: rota-crawl\r\n"
                     "Accept: */*\r\nConnection: close\r\n\r\n",
                     f->url.target, f->url.authority);
    int rc = rota_stream_write(s, request, (size_t)n);
    return rc < 0 ? rc : rota_stream_drain(s);
}

static int read_answer(struct page *page, rota_stream *s) {
    struct http_parser http;
    http_response_init(&http, false);
    http.on_field = on_field;
    http.on_body = on_body;
    http.arg = page;
    http.body_limit = BODY_LIMIT;
    while (!http.done) {
        char buf[4096];
        ssize_t n = rota_stream_read(s, buf, sizeof buf);
        if (n < 0)
            return (int)n;
        if (n > 0 && page->stage == FETCH_WAIT)
            next_stage(page);
        int rc = n > 0 ? (int)http_feed(&http, buf, (size_t)n) : http_end(&http);
        if (http.head_done && page->status == 0) {
            page->status = http.status;
            copy_printable(page->reason, sizeof page->reason, http.reason);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int exchange(struct fetch *f) {
    rota_stream s;
    int rc = rota_stream_open(&s, f->fd, NULL);
    if (rc < 0) {
        rota_close(f->fd);
        return rc;
    }
    rc = ask(f, &s);
    if (rc == 0)
        rc = read_answer(f->page, &s);
    rota_stream_close(&s);
    return rc;
}

static intptr_t fetch(void *arg) {
    struct fetch *f = arg;
    intptr_t fd = rota_timeout(f->page->connect_timeout, open_connection, f);
    if (rota_failed(fd))
        return fd;
    f->fd = (int)fd;
    next_stage(f->page);
    int rc = exchange(f);
    if (rc == 0)
        next_stage(f->page);
    return rc;
}

int fetch_page(struct page *page) {
    struct fetch f = { .page = page, .fd = -1 };
    page->started = true;
    page->start = rota_now();
    page->error = url_parse(&f.url, page->url, &page->why);
    if (page->error == 0)
        page->error = (int)rota_timeout(page->timeout, fetch, &f);
    page->end = rota_now();
    page->ended = true;
    return page->error;
}

/* ---- errors in words ---------------------------------------------------------------------------- */

static const char *timeout_error(enum fetch_stage stage) {
    static const char *const text[FETCH_STAGES] = {
        [FETCH_RESOLVE] = "timed out: the name server does not answer",
        [FETCH_CONNECT] = "timed out: no answer to the connection attempt",
        [FETCH_WAIT] = "timed out: connected, but no answer came",
        [FETCH_BODY] = "timed out in the middle of the answer",
    };
    return stage < FETCH_STAGES ? text[stage] : "timed out";
}

static const char *resolve_error(int error) {
    switch (error) {
    case -ENOENT: return "no such host";
    case -EHOSTUNREACH: return "the name server does not answer";
    case -ENAMETOOLONG: return "the host name is too long";
    default: return rota_strerror(error);
    }
}

static const char *answer_error(int error) {
    switch (error) {
    case -EPIPE: return "the connection was closed in the middle of the answer";
    case -EBADMSG: return "the answer is not valid HTTP";
    case -EMSGSIZE: return "the answer is over a size limit";
    case -EOPNOTSUPP: return "the answer uses an HTTP version or transfer coding that is not supported";
    default: return rota_strerror(error);
    }
}

const char *fetch_error(const struct page *page) {
    if (page->error == 0)
        return "";
    if (page->why != NULL)
        return page->why;
    if (page->error == -ETIMEDOUT)
        return timeout_error(page->stage);
    if (page->error == -ECANCELED)
        return "cancelled";
    if (page->stage == FETCH_RESOLVE)
        return resolve_error(page->error);
    return page->stage == FETCH_CONNECT ? rota_strerror(page->error) : answer_error(page->error);
}
