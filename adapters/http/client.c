/* The client: rota_http_request, rota_http_read, rota_http_read_all, rota_http_response_close.
 *
 * A request is a straight line: take a connection, connect it, send, read a head; then once more for a dead connection
 * of the pool, and once more for each redirect. Whatever cuts it short, a scope of the caller's or a limit in the
 * options, the connection is given back by one return.
 *
 * Invariant: a connection with an unread rest, or half a request, is never kept. The client may be closed at every
 * suspension point: conn->client is NULL from then on, and the client's memory may be gone. */
#include <string.h>
#include <sys/socket.h>

#include "adapters/http/pool.h"
#include "adapters/http/text.h"

enum { REDIRECTS = 10, REDIRECT_BODY_MAX = 64 * 1024, BODY_PIECE = 4096 };

/* How long a server may think about Expect: 100-continue; one that does not know it says nothing. */
#define CONTINUE_PATIENCE (1 * ROTA_S)

/* A request under way, through all of its redirects. */
struct request {
    rota_http_client *client;
    rota_http_response *response;
    const char *method;
    const rota_http_request_options *opt;
    rota_http_url *url;              /* the response's */
    bool without_body;               /* a redirect has made it a GET */
    bool stranger;                   /* a redirect has led to another origin */
    bool body_given;                 /* by a function: it cannot be had again */
    struct rota__http_conn *conn;    /* NULL: none */
    bool head_begun;                 /* a byte of it has come */
    size_t interim;                  /* bytes of interim heads */
};

static int bad(struct request *q, int error, const char *why) {
    q->response->why = why;
    return error;
}

/* With a limit of time; 0: none. */
static intptr_t limited(struct request *q, int64_t limit, intptr_t (*fn)(void *), const char *why) {
    if (limit <= 0)
        return fn(q);
    intptr_t rc = rota_timeout(limit, fn, q);
    if (rc == -ETIMEDOUT && q->response->why == NULL)
        q->response->why = why;
    return rc;
}

/* ---- connecting --------------------------------------------------------------------------------- */

static int dial_plain(struct request *q, struct rota__http_conn *conn) {
    if (conn->secure)
        return bad(q, -EPROTONOSUPPORT, "https:// needs TLS, which this client was not given");
    int fd = rota_dial(conn->host, conn->port, NULL);
    if (fd < 0)
        return fd;
    int rc = rota_stream_open(&conn->stream, fd, &(rota_stream_options){ .buffer = &conn->no_buffer,
                                                                         .buffer_size = 1 });
    if (rc < 0)
        rota_close(fd);
    return rc;
}

static intptr_t connect_conn(void *arg) {
    struct request *q = arg;
    struct rota__http_conn *conn = q->conn;
    rota_http_connect_fn *hook = q->client->opt_.connect;
    char *why = q->response->why_;
    int rc = hook != NULL ? hook(q->client->opt_.connect_ctx, &conn->stream, conn->host, conn->port, conn->secure, why,
                                 ROTA_HTTP_WHY)
                          : dial_plain(q, conn);
    conn->connected = rc == 0;
    return rc < 0 && why[0] != '\0' ? bad(q, rc, why) : rc;
}

static int take_connection(struct request *q, bool fresh) {
    fresh |= q->opt->close;
    int rc = rota__http_pool_take(q->client, q->url, fresh, &q->conn);
    if (rc < 0) {
        q->conn = NULL;
        return rc;
    }
    if (q->conn->connected)
        return 0;
    return (int)limited(q, q->opt->connect_timeout, connect_conn, "connecting took too long");
}

/* ---- sending ------------------------------------------------------------------------------------ */

static int put_text(struct request *q, const char *s) { return rota__http_wire_put(&q->conn->wire, s, strlen(s)); }

static int put_field(struct request *q, const char *name, const char *value) {
    int rc = put_text(q, name);
    rc = rc < 0 ? rc : put_text(q, ": ");
    rc = rc < 0 ? rc : put_text(q, value);
    return rc < 0 ? rc : put_text(q, "\r\n");
}

static int put_number(struct request *q, uint64_t value, unsigned base, const char *end) {
    char text[24];
    struct rota__http_out out = { .buf = text, .size = sizeof text };
    rota__http_put_number(&out, value, base);
    rota__http_put_text(&out, end);
    return rota__http_wire_put(&q->conn->wire, text, out.n);
}

static bool has_body(const struct request *q) {
    return !q->without_body && (q->opt->body_fn != NULL || q->opt->body_n > 0);
}

static uint64_t known_length(const struct request *q) {
    return q->opt->body_fn != NULL ? q->opt->body_length : q->opt->body_n;
}

/* What is for one origin alone is not sent to another one. */
static bool is_for_origin(const char *name) {
    return rota__http_same(name, "Authorization") || rota__http_same(name, "Cookie") ||
           rota__http_same(name, "Proxy-Authorization") || rota__http_same(name, "Host");
}

static bool is_about_body(const char *name) { return rota__http_same_n(name, "Content-", 8); }

/* The caller's own field of that name, or NULL. */
static const char *wanted(const struct request *q, const char *name) {
    for (size_t i = 0; i < q->opt->headers_n; i++)
        if (rota__http_same(q->opt->headers[i].name, name))
            return q->opt->headers[i].value;
    return NULL;
}

/* Host first (RFC 9110, 7.2); the caller's takes the place of the URL's. */
static int put_fields(struct request *q) {
    const char *user_agent = q->conn->client != NULL ? q->conn->client->opt_.user_agent : NULL;
    const char *host = q->stranger ? NULL : wanted(q, "Host");
    int rc = put_field(q, "Host", host != NULL ? host : q->url->authority);
    if (rc == 0 && user_agent != NULL && wanted(q, "User-Agent") == NULL)
        rc = put_field(q, "User-Agent", user_agent);
    for (size_t i = 0; rc == 0 && i < q->opt->headers_n; i++) {
        const rota_http_header *f = &q->opt->headers[i];
        bool kept_back = (q->stranger && is_for_origin(f->name)) || (q->without_body && is_about_body(f->name));
        if (!kept_back && !rota__http_same(f->name, "Host"))
            rc = put_field(q, f->name, f->value);
    }
    return rc;
}

/* A method that is meant to have a body says so when it has none (RFC 9110, 8.6). */
static int put_framing(struct request *q) {
    bool meant = strcmp(q->method, "POST") == 0 || strcmp(q->method, "PUT") == 0 || strcmp(q->method, "PATCH") == 0;
    int rc = 0;
    if (has_body(q) && known_length(q) == 0)
        rc = put_field(q, "Transfer-Encoding", "chunked");
    else if (has_body(q) || (meant && !q->without_body))
        rc = (rc = put_text(q, "Content-Length: ")) < 0 ? rc : put_number(q, has_body(q) ? known_length(q) : 0, 10, "\r\n");
    if (rc == 0 && has_body(q) && q->opt->expect_continue)
        rc = put_field(q, "Expect", "100-continue");
    if (rc == 0 && q->opt->close)
        rc = put_field(q, "Connection", "close");
    return rc < 0 ? rc : put_text(q, "\r\n");
}

static int put_head(struct request *q) {
    int rc = put_text(q, q->method);
    rc = rc < 0 ? rc : put_text(q, " ");
    rc = rc < 0 ? rc : put_text(q, q->url->target);
    rc = rc < 0 ? rc : put_text(q, " HTTP/1.1\r\n");
    rc = rc < 0 ? rc : put_fields(q);
    return rc < 0 ? rc : put_framing(q);
}

/* From the function, in chunks or in the length that was said. */
static int put_given_body(struct request *q) {
    char piece[BODY_PIECE];
    uint64_t length = q->opt->body_length, sum = 0;
    ssize_t n;
    q->body_given = true;
    while ((n = q->opt->body_fn(q->opt->body_arg, piece, sizeof piece)) > 0) {
        sum += (uint64_t)n;
        if ((size_t)n > sizeof piece || (length > 0 && sum > length))
            return bad(q, -EINVAL, "the body of the request is longer than was said");
        int rc = length > 0 ? 0 : put_number(q, (uint64_t)n, 16, "\r\n");
        rc = rc < 0 ? rc : rota__http_wire_put(&q->conn->wire, piece, (size_t)n);
        rc = rc < 0 || length > 0 ? rc : put_text(q, "\r\n");
        rc = rc < 0 ? rc : rota__http_wire_flush(&q->conn->wire);
        if (rc < 0)
            return rc;
    }
    if (n < 0)
        return bad(q, (int)n, "the body of the request could not be had");
    if (sum < length)
        return bad(q, -EINVAL, "the body of the request is shorter than was said");
    return length > 0 ? 0 : put_text(q, "0\r\n\r\n");
}

static int put_body(struct request *q) {
    int rc = q->opt->body_fn != NULL ? put_given_body(q)
                                     : rota__http_wire_put(&q->conn->wire, q->opt->body, q->opt->body_n);
    return rc < 0 ? rc : rota__http_wire_flush(&q->conn->wire);
}

/* ---- the head of the answer --------------------------------------------------------------------- */

/* The next head, an interim one perhaps. It may be called again after a limit has cut it short. */
static int next_head(struct request *q) {
    struct rota__http_wire *w = &q->conn->wire;
    size_t limit = q->conn->head_max - q->interim;
    for (;;) {
        int rc = rota__http_head_feed(&w->head, w->in + w->head_at, w->end - w->head_at, limit);
        if (rc < 0)
            return bad(q, rc, w->head.why);
        if (rc > 0)
            return 0;
        ssize_t n = rota__http_wire_fill(w, 0);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return bad(q, -EPIPE, q->head_begun ? "the connection was closed in the middle of the answer's head"
                                                : "the connection was closed before an answer came");
        q->head_begun = true;
    }
}

/* Makes room for the head behind an interim one. */
static void next_message(struct request *q) {
    struct rota__http_wire *w = &q->conn->wire;
    w->head_at += w->head.n;
    q->interim += w->head.n;
    rota__http_head_init(&w->head, false);
}

/* Interim answers are skipped; their bytes count, so that a peer which sends nothing else is noticed. 101 answers a
 * question that nobody asked. */
static intptr_t final_head(void *arg) {
    struct request *q = arg;
    struct rota__http_head *h = &q->conn->wire.head;
    for (;;) {
        int rc = next_head(q);
        if (rc < 0 || h->status / 100 != 1)
            return rc;
        if (h->status == 101)
            return bad(q, -EPROTO, "the server changes to another protocol, unasked");
        next_message(q);
    }
}

static intptr_t one_head(void *arg) { return next_head(arg); }

/* Asks for leave. 1: send the body; 0: the final head is there already; or an error. */
static int await_continue(struct request *q) {
    struct rota__http_head *h = &q->conn->wire.head;
    int rc = rota__http_wire_flush(&q->conn->wire);
    if (rc < 0)
        return rc;
    rc = (int)rota_timeout(CONTINUE_PATIENCE, one_head, q);
    if (rc == -ETIMEDOUT)
        return 1;
    if (rc < 0)
        return rc;
    if (h->status / 100 != 1)
        return 0;
    if (h->status != 101)
        next_message(q);
    return 1; /* an unasked 101 stays where it is, for final_head to refuse */
}

static void begin_exchange(struct request *q) {
    struct rota__http_wire *w = &q->conn->wire;
    w->head_at = w->base = w->first = w->end = w->out_n = 0;
    w->error = 0;
    w->why = NULL;
    q->interim = 0;
    q->head_begun = false;
    rota__http_head_init(&w->head, false);
}

/* Sends the request. 0: the answer comes next; 1: its head has come already. A server that has heard enough answers
 * and closes, so that sending fails: its answer is looked for all the same. */
static int send_request(struct request *q, bool *whole) {
    int rc = put_head(q);
    *whole = true;
    if (rc == 0 && has_body(q) && q->opt->expect_continue) {
        rc = await_continue(q);
        if (rc <= 0) {
            *whole = false;
            return rc < 0 ? rc : 1;
        }
        rc = 0;
    }
    if (rc == 0 && has_body(q))
        rc = put_body(q);
    if (rc == 0)
        rc = rota__http_wire_flush(&q->conn->wire);
    if ((rc == -EPIPE || rc == -ECONNRESET) && q->response->why == NULL) {
        *whole = false;
        rc = 0;
    }
    return rc;
}

/* One request, one head, on q->conn. */
static int exchange(struct request *q) {
    struct rota__http_wire *w = &q->conn->wire;
    bool whole;
    begin_exchange(q);
    int rc = send_request(q, &whole);
    if (rc == 0)
        rc = (int)limited(q, q->opt->head_timeout, final_head, "no answer came in time");
    if (rc < 0)
        return rc;
    uint64_t max = q->opt->body_max > 0 ? q->opt->body_max : UINT64_MAX;
    rc = rota__http_wire_begin_body(w, strcmp(q->method, "HEAD") == 0, max);
    if (rc < 0)
        return bad(q, rc, w->why);
    bool stays = w->head.minor > 0 ? !w->head.close : w->head.keep_alive && !w->head.close;
    q->conn->keep = stays && whole && !q->opt->close && w->body.framing != HTTP_UNTIL_CLOSE;
    return 0;
}

/* ---- giving back -------------------------------------------------------------------------------- */

/* True while the client is open. */
static bool give_back(struct request *q) {
    struct rota__http_conn *conn = q->conn;
    struct rota__http_wire *w = &conn->wire;
    bool open = conn->client != NULL;
    conn->keep = conn->keep && w->body.done && w->error == 0 && w->first == w->end;
    q->conn = NULL;
    rota__http_pool_give(conn);
    return open;
}

static void drop(struct request *q) {
    if (q->conn != NULL) {
        q->conn->keep = false;
        (void)give_back(q);
    }
}

/* RFC 9110, 9.2.2. */
static bool is_idempotent(const char *method) {
    static const char *const methods[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE" };
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(method, methods[i]) == 0)
            return true;
    return false;
}

/* Sent to a connection that had died meanwhile, and may be sent again? */
static bool was_stale(const struct request *q, int rc) {
    return (rc == -EPIPE || rc == -ECONNRESET) && q->conn != NULL && q->conn->reused && !q->head_begun &&
           !q->body_given && is_idempotent(q->method);
}

/* To the end of a head, on a connection that works. */
static int ask(struct request *q) {
    int rc = take_connection(q, false);
    if (rc == 0)
        rc = exchange(q);
    if (was_stale(q, rc)) {
        q->conn->keep = false;
        if (!give_back(q))
            return -ESHUTDOWN;
        q->response->why = NULL;
        rc = take_connection(q, true);
        if (rc == 0)
            rc = exchange(q);
    }
    if (rc < 0)
        drop(q);
    return rc;
}

/* ---- redirects ---------------------------------------------------------------------------------- */

/* Where the answer sends us, or NULL when it is to be handed out. */
static const char *location(const struct request *q) {
    const struct rota__http_wire *w = &q->conn->wire;
    int status = w->head.status;
    bool moved = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    if (!moved || q->opt->redirects < 0)
        return NULL;
    bool body_again = status == 307 || status == 308;
    if (body_again && q->body_given)
        return NULL;
    rota_http_fields fields = rota__http_fields(&w->head, w->in + w->head_at, false);
    return rota_http_field(&fields, "Location");
}

static bool same_origin(const rota_http_url *a, const rota_http_url *b) {
    return a->secure == b->secure && strcmp(a->port, b->port) == 0 && rota__http_same(a->host, b->host);
}

/* The body of a redirect is read for the connection's sake, when it is short. */
static int finish_body(struct request *q) {
    char waste[1024];
    ssize_t n = 1;
    while (q->conn->keep && n > 0 && q->conn->wire.body.taken < REDIRECT_BODY_MAX) {
        n = rota__http_wire_read(&q->conn->wire, waste, sizeof waste, 0);
        if (n == -ECANCELED)
            return (int)n;
    }
    return 0;
}

static void change_method(struct request *q, int status) {
    bool to_get = status == 303 ? strcmp(q->method, "HEAD") != 0 : status != 307 && status != 308 &&
                                                                       strcmp(q->method, "POST") == 0;
    if (to_get) {
        q->method = "GET";
        q->without_body = true;
    }
}

/* 1: go on with the new URL; 0: the answer is to be handed out. */
static int follow(struct request *q) {
    rota_http_url next;
    const char *to = location(q);
    if (to == NULL)
        return 0;
    int rc = rota_http_url_resolve(&next, q->url, to, &q->response->why);
    if (rc == -EPROTONOSUPPORT || (rc == 0 && q->url->secure && !next.secure)) {
        q->response->why = NULL;
        return 0; /* not ours to fetch, or no longer private */
    }
    if (rc < 0)
        return bad(q, -EPROTO, "the redirect leads to no URL");
    if (q->response->redirected >= (unsigned)(q->opt->redirects > 0 ? q->opt->redirects : REDIRECTS))
        return bad(q, -ELOOP, "there are too many redirects");
    int status = q->conn->wire.head.status;
    rc = finish_body(q);
    if (rc < 0)
        return rc;
    q->stranger |= !same_origin(q->url, &next);
    *q->url = next;
    change_method(q, status);
    q->response->redirected++;
    return give_back(q) ? 1 : -ESHUTDOWN;
}

static intptr_t ask_and_follow(void *arg) {
    struct request *q = arg;
    int rc;
    do {
        rc = ask(q);
        if (rc == 0)
            rc = follow(q);
    } while (rc == 1);
    if (rc < 0)
        drop(q);
    return rc;
}

/* ---- the calls ---------------------------------------------------------------------------------- */

static int check_request(struct request *q, const char *url) {
    const rota_http_request_options *opt = q->opt;
    int rc = rota_http_url_parse(q->url, url, &q->response->why);
    if (rc < 0)
        return rc;
    if (q->method == NULL || !rota__http_all(q->method, HTTP_TOKEN) || strcmp(q->method, "CONNECT") == 0)
        return bad(q, -EINVAL, "the method cannot be sent");
    if ((opt->body == NULL && opt->body_n > 0) || (opt->body_fn != NULL && opt->body_n > 0) ||
        (opt->headers == NULL && opt->headers_n > 0))
        return bad(q, -EINVAL, "the options contradict each other");
    for (size_t i = 0; i < opt->headers_n; i++)
        if (!rota__http_may_send(opt->headers[i].name, opt->headers[i].value))
            return bad(q, -EINVAL, "a header field cannot be sent");
    return 0;
}

/* What the response shows of the answer. */
static void hand_out(struct request *q) {
    rota_http_response *r = q->response;
    struct rota__http_wire *w = &q->conn->wire;
    r->conn_ = q->conn;
    r->status = w->head.status;
    r->minor = w->head.minor;
    r->reason = w->in + w->head_at + w->head.reason;
    r->fields = rota__http_fields(&w->head, w->in + w->head_at, false);
    r->length = w->body.framing == HTTP_NO_BODY ? 0 : w->body.framing == HTTP_BY_LENGTH ? (int64_t)w->head.length : -1;
    if (strcmp(q->method, "HEAD") == 0 && w->head.has_length)
        r->length = (int64_t)w->head.length;
    r->read_timeout_ = q->opt->read_timeout;
}

int rota_http_request(rota_http_client *client, rota_http_response *response, const char *method, const char *url,
                      const rota_http_request_options *opt) {
    static const rota_http_request_options defaults;
    if (response == NULL)
        return -EINVAL;
    memset(response, 0, sizeof *response);
    response->reason = "";
    if (client == NULL || url == NULL)
        return -EINVAL;
    if (client->state_ != ROTA__HTTP_CLIENT_OPEN)
        return -EBADF;
    if (rota_loop_current() != client->loop_)
        return -EPERM;
    struct request q = { .client = client, .response = response, .method = method, .url = &response->url,
                         .opt = opt != NULL ? opt : &defaults };
    int rc = rota__http_refused();
    rc = rc < 0 ? rc : check_request(&q, url);
    if (rc < 0)
        return rc;
    response->deadline_ = ROTA_FOREVER;
    if (q.opt->timeout > 0)
        response->deadline_ = rota_now() + (q.opt->timeout < ROTA_FOREVER / 2 ? q.opt->timeout : ROTA_FOREVER / 2);
    rc = (int)limited(&q, q.opt->timeout, ask_and_follow, "the request took too long");
    if (rc < 0) {
        drop(&q); /* its own limit may have passed behind the last suspension point */
        return rc;
    }
    hand_out(&q);
    return 0;
}

/* What is left for a read: the smaller of its own limit and the request's. */
static int64_t read_limit(const rota_http_response *r) {
    if (r->deadline_ == ROTA_FOREVER)
        return r->read_timeout_;
    int64_t left = r->deadline_ - rota_now();
    left = left > 0 ? left : 1;
    return r->read_timeout_ > 0 && r->read_timeout_ < left ? r->read_timeout_ : left;
}

ssize_t rota_http_read(rota_http_response *response, void *buf, size_t n) {
    if (response == NULL || response->conn_ == NULL || (buf == NULL && n > 0))
        return -EINVAL;
    struct rota__http_wire *w = &response->conn_->wire;
    ssize_t r = rota__http_refused();
    if (r == 0)
        r = rota__http_wire_read(w, buf, n, read_limit(response));
    if (r > 0)
        response->received += (uint64_t)r;
    if (r < 0)
        response->why = w->why;
    if (w->body.done)
        response->trailers = rota__http_fields(&w->head, w->in + w->head_at, true);
    return r;
}

/* Doubles the memory; max bytes and the zero byte always fit in the end. */
static int grow(rota_http_response *r, size_t max) {
    const rota_allocator *a = &r->conn_->allocator;
    size_t size = r->whole_size_ == 0 ? 4096 : r->whole_size_ * 2;
    if (r->whole_size_ == 0 && r->length > 0 && (uint64_t)r->length < max)
        size = (size_t)r->length + 2;
    if (size > max && max < SIZE_MAX - 2)
        size = max + 2;
    char *whole = size > r->whole_size_ ? a->alloc(a->ctx, r->whole_, r->whole_size_, size) : NULL;
    if (whole == NULL)
        return -ENOMEM;
    r->whole_ = whole;
    r->whole_size_ = size;
    return 0;
}

/* Whether the body has ended is asked of the body, not by another read: that could be refused, and what has come be
 * withheld. */
int rota_http_read_all(rota_http_response *response, const char **data, size_t *n, size_t max) {
    rota_http_response *r = response;
    if (n != NULL)
        *n = 0;
    if (r == NULL || r->conn_ == NULL || data == NULL)
        return -EINVAL;
    *data = NULL;
    ssize_t got = rota__http_refused();
    while (got >= 0 && (r->whole_ == NULL || !r->conn_->wire.body.done)) {
        if (r->whole_n_ + 1 >= r->whole_size_ && (got = grow(r, max)) < 0)
            break;
        got = rota_http_read(r, r->whole_ + r->whole_n_, r->whole_size_ - r->whole_n_ - 1);
        r->whole_n_ += got > 0 ? (size_t)got : 0;
        if (r->whole_n_ > max) {
            r->why = "the body is over its limit";
            got = -EMSGSIZE;
        }
    }
    if (got < 0)
        return (int)got;
    r->whole_[r->whole_n_] = '\0';
    *data = r->whole_;
    if (n != NULL)
        *n = r->whole_n_;
    return 0;
}

void rota_http_response_close(rota_http_response *response) {
    if (response == NULL || response->conn_ == NULL)
        return;
    struct request q = { .conn = response->conn_ };
    rota_allocator allocator = response->conn_->allocator;
    rota__http_free(&allocator, response->whole_, response->whole_size_);
    response->conn_ = NULL;
    response->whole_ = NULL;
    response->whole_size_ = response->whole_n_ = 0;
    response->reason = "";
    response->fields = response->trailers = (rota_http_fields){ .n = 0 };
    (void)give_back(&q);
}
