/* Fetches one page: fetch_page, fetch_error. Straight-line code: resolve, connect, ask, read; every wait in it
 * may be cut short by the page's own deadline or by somebody's cancel, and there is no code for either but
 * "return what you got". It must not know how many pages are fetched at once, nor print.
 */
#include "examples/fetch.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

/* A page may be any size, since only counted; but one that never ends is the peer's way to keep us. */
#define BODY_LIMIT ((uint64_t)1 << 30)

/* How long one address of a host may take to answer when there are others to try. */
#define ADDRESS_PATIENCE (2 * ROTA_S)

/* Where to connect, for open_connection. */
struct target {
    struct page *page;
    const char *host, *port;
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
    const struct target *t = arg;
    rota_address addresses[8];
    int n = rota_resolve(t->host, t->port, AF_UNSPEC, addresses, sizeof addresses / sizeof addresses[0]);
    if (n < 0)
        return n;
    next_stage(t->page);
    int fd = -ENOENT;
    for (int i = 0; i < n && fd < 0 && fd != -ECANCELED; i++)
        fd = dial_address(&addresses[i], i + 1 < n ? ADDRESS_PATIENCE : ROTA_FOREVER);
    return fd;
}

/* With TLS on it if it is secure. On failure fd stays the caller's. */
static int open_stream(struct page *page, rota_stream *stream, int fd, const char *host, bool secure) {
    if (!secure)
        return rota_stream_open(stream, fd, NULL);
    int rc = page->secure(page->secure_ctx, stream, fd, host);
    if (rc < 0) {
        const char *why = page->take_why(page->secure_ctx, page->why_text);
        page->why = rc != -ETIMEDOUT && rc != -ECANCELED ? why : NULL;
    }
    return rc;
}

/* Once for each redirect that is followed, too. */
static int connect_page(void *arg, rota_stream *stream, const char *host, const char *port, bool secure, char *why,
                        size_t n) {
    (void)why, (void)n;
    struct page *page = arg;
    struct target t = { page, page->to_host != NULL ? page->to_host : host,
                        page->to_port != NULL ? page->to_port : port };
    if (secure && page->secure == NULL) {
        page->why = "https:// needs TLS, which this program was built without";
        return -EPROTONOSUPPORT;
    }
    page->stage = FETCH_RESOLVE;
    intptr_t fd = open_connection(&t);
    if (rota_failed(fd))
        return (int)fd;
    int rc = open_stream(page, stream, (int)fd, host, secure);
    if (rc < 0)
        rota_close((int)fd);
    else
        next_stage(page);
    return rc;
}

/* ---- asking and reading ------------------------------------------------------------------------- */

/* For text that a terminal or a picture will show: what the peer sends may hold escape sequences. */
static void copy_printable(char *to, size_t size, const char *from) {
    size_t n = 0;
    for (; from[n] != '\0' && n + 1 < size; n++)
        to[n] = from[n] >= 0x20 && from[n] < 0x7f ? from[n] : '?';
    to[n] = '\0';
}

static void count(struct page *page, const char *data, size_t n) {
    page->bytes += n;
    for (size_t i = 0; i < n; i++) {
        page->less += data[i] == '<';
        page->greater += data[i] == '>';
    }
}

static int read_body(struct page *page, rota_http_response *response) {
    char buf[8192];
    ssize_t n;
    while ((n = rota_http_read(response, buf, sizeof buf)) > 0)
        count(page, buf, (size_t)n);
    return (int)n;
}

/* As much of it as fits. */
static void copy_url(struct page *page, const rota_http_url *url) {
    char text[sizeof "https://" + sizeof url->authority + sizeof url->target];
    snprintf(text, sizeof text, "%s://%s%s", url->secure ? "https" : "http", url->authority, url->target);
    copy_printable(page->location, sizeof page->location, text);
}

static int read_answer(struct page *page, rota_http_response *response) {
    const char *location = rota_http_field(&response->fields, "Location");
    next_stage(page);
    page->status = response->status;
    copy_printable(page->reason, sizeof page->reason, response->reason);
    page->followed = response->redirected > 0 && location == NULL;
    if (page->followed)
        copy_url(page, &response->url);
    else
        copy_printable(page->location, sizeof page->location, location != NULL ? location : "");
    int rc = read_body(page, response);
    if (rc == 0)
        next_stage(page);
    return rc;
}

/* A client of its own, for a connection of its own: what connecting costs is a part of the picture. */
static intptr_t fetch(void *arg) {
    struct page *page = arg;
    rota_http_client client;
    rota_http_response response;
    int rc = rota_http_client_open(&client, &(rota_http_client_options){
        .connect = connect_page, .connect_ctx = page, .user_agent = "rota-crawl" });
    if (rc < 0)
        return rc;
    static const rota_http_header accept = { "Accept", "*/*" };
    rc = rota_http_request(&client, &response, "GET", page->url, &(rota_http_request_options){
        .headers = &accept, .headers_n = 1, .connect_timeout = page->connect_timeout,
        .redirects = page->redirects > 0 ? page->redirects : -1, .body_max = BODY_LIMIT, .close = true });
    if (rc == 0) {
        rc = read_answer(page, &response);
        rota_http_response_close(&response);
    }
    if (page->why == NULL && rc < 0 && rc != -ETIMEDOUT)
        page->why = response.why;
    rota_http_client_close(&client);
    return rc;
}

int fetch_page(struct page *page) {
    page->started = true;
    page->start = rota_now();
    page->error = (int)rota_timeout(page->timeout, fetch, page);
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
    return rota_strerror(page->error);
}
