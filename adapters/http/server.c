/* The server: rota_http_serve, rota_http_serve_stream, rota_http_incoming_read. One task a connection, one block of
 * memory each: it reads a head, calls the handler, and writes when no further request is there.
 *
 * Stopping: the listener's clients stand under a shield of rota_serve, where they may go on for its drain time. On each
 * of its loops rota_serve says when that begins: connections without a request end at once, the others after the answer
 * they are at.
 *
 * Invariant: bytes of answers are in the wire's output, or sent, in the order of the requests; the wire is flushed
 * before the connection waits for the peer. */
#include <string.h>

#include "adapters/http/server.h"

enum { SKIP_MAX = 256 * 1024 };   /* of a body that the handler did not read */

/* How long, and for how many bytes, a client that was turned away is listened to: closing at once would reset the
 * connection, and the answer could be lost with it. */
#define LINGER_TIME (1 * ROTA_S)
enum { LINGER_BYTES = 256 * 1024 };

/* ---- one request -------------------------------------------------------------------------------- */

static bool peers_doing(intptr_t error) {
    return error == -EPIPE || error == -ECONNRESET || error == -ETIMEDOUT;
}

/* Before the peer is waited for. */
static int flush(struct rota__http_server_conn *c) {
    int rc = rota__http_wire_flush_first(&c->wire);
    if (rc < 0)
        c->wire.error = rc;
    return rc;
}

/* With nothing of a request there: 0 at the connection's end, also when the server stops. */
static ssize_t fill_idle(struct rota__http_server_conn *c) {
    if (c->part->stopping)
        return 0;
    rota_timeout_begin(&c->idle_scope, c->service->opt.idle);
    c->idle = true;
    ssize_t n = rota__http_wire_fill(&c->wire, 0);
    c->idle = false;
    n = (ssize_t)rota_scope_end(&c->idle_scope, n);
    return n == -ETIMEDOUT || (n == -ECANCELED && rota_scope_cancelled(&c->idle_scope)) ? 0 : n;
}

/* Room behind what is there: the answered requests before it are not needed any more. */
static void make_room(struct rota__http_wire *w) {
    if (w->end < w->in_size || w->head_at == 0)
        return;
    memmove(w->in, w->in + w->head_at, w->end - w->head_at);
    w->end -= w->head_at;
    w->head_at = 0;
}

/* 1: a head; 0: the connection has ended before one began; or an error. */
static int read_head(struct rota__http_server_conn *c) {
    struct rota__http_wire *w = &c->wire;
    int64_t until = 0;
    rota__http_head_init(&w->head, true);
    w->head_at = w->first;
    if (w->first == w->end)
        w->head_at = w->end = 0;
    for (;;) {
        size_t n = w->end - w->head_at;
        int rc = n > 0 ? rota__http_head_feed(&w->head, w->in + w->head_at, n, c->service->opt.head_max) : 0;
        if (rc != 0)
            return rc;
        rc = flush(c);
        if (rc < 0)
            return rc;
        make_room(w);
        if (n > 0 && until == 0)
            until = rota_now() + c->service->opt.head_timeout;
        int64_t left = n > 0 ? until - rota_now() : 0;
        if (n > 0 && left <= 0)
            return -ETIMEDOUT;
        ssize_t r = n > 0 ? rota__http_wire_fill(w, left) : fill_idle(c);
        if (r <= 0)
            return r < 0 ? (int)r : n > 0 ? -EPIPE : 0;
    }
}

static int status_of_bad_head(const struct rota__http_head *h, int error) {
    switch (error) {
    case -ETIMEDOUT:
        return 408;
    case -EOPNOTSUPP:
        return h->fields == 0 ? 505 : 501;
    case -EMSGSIZE:
        return h->length_overflows ? 413 : h->started ? 431 : 414;
    default:
        return 400;
    }
}

static int status_of_bad_body(int error) {
    return error == -EMSGSIZE ? 413 : error == -ETIMEDOUT ? 408 : error == -EPROTO ? 400 : 500;
}

/* What the handler sees. Every member is named: what is left out would be cleared by a slow string instruction. */
static void hand_in(struct rota__http_server_conn *c) {
    struct rota__http_wire *w = &c->wire;
    const struct rota__http_head *h = &w->head;
    const char *text = w->in + w->head_at;
    c->request = (rota_http_incoming){
        .method = text + h->method,
        .target = text + h->target,
        .host = h->host > 0 ? text + h->host : "",
        .minor = h->minor,
        .fields = rota__http_fields(h, text, false),
        .trailers = rota__http_fields(h, text, true),
        .received = 0,
        .why = NULL,
        .length = h->chunked ? -1 : h->has_length ? (int64_t)h->length : 0,
        .conn_ = c,
    };
    c->no_body = c->request.method[0] == 'H' && strcmp(c->request.method, "HEAD") == 0;
    c->close = h->close || (h->minor == 0 && !h->keep_alive);
    c->continue_owed = h->expects_continue && h->minor > 0 && !w->body.done;
}

/* The connection can only go on behind the whole body. (Out of line: the way without a body needs no such room.) */
static __attribute__((noinline)) int skip_body(struct rota__http_server_conn *c) {
    char waste[4096];
    struct rota__http_wire *w = &c->wire;
    uint64_t from = w->body.taken;
    if (!w->body.done && c->continue_owed)
        c->close = true; /* whether it comes is for the client to decide */
    while (!w->body.done && !c->close) {
        int rc = flush(c);
        ssize_t n = rc < 0 ? rc : rota__http_wire_read(w, waste, sizeof waste, c->service->opt.body_timeout);
        if (n == -ECANCELED)
            return -ECANCELED;
        c->close |= n < 0 || w->body.taken - from > SKIP_MAX;
    }
    return 0;
}

/* To the program, if it wants to be told; else what the connection's task is to fail with. */
static intptr_t tell_failure(struct rota__http_server_conn *c, int error, const char *why) {
    const rota_http_serve_options *opt = &c->service->opt;
    if (opt->failed == NULL)
        return error;
    opt->failed(error, why != NULL ? why : rota_strerror(error), &c->request, c->service->arg);
    return 0;
}

/* What became of the handler. Errors of the connection come first: the handler's is then their consequence. 0, or what
 * ends the connection without another word; *failure: what the handler alone is to blame for. */
static int settle(struct rota__http_server_conn *c, intptr_t outcome, intptr_t *failure) {
    struct rota__http_wire *w = &c->wire;
    const char *why = NULL;
    if (w->error == 0 && !rota_failed(outcome) && rota__http_reply_whole(&c->reply) && w->body.done)
        return 0; /* as a rule; what follows would say the same */
    if (outcome == -ECANCELED)
        return -ECANCELED;
    if (w->error == 0 && !rota_failed(outcome)) {
        outcome = rota__http_reply_end(c);
        why = outcome == -EPROTO ? "the handler wrote fewer bytes than it had announced" : NULL;
    }
    if (w->error == 0 && !rota_failed(outcome))
        return skip_body(c);
    if (w->error == -EPIPE || w->error == -ECONNRESET)
        return w->error;
    if (w->error == 0 && !peers_doing(outcome))
        *failure = tell_failure(c, (int)outcome, why);
    int status = w->error < 0 ? status_of_bad_body(w->error) : 500;
    int rc = rota__http_reply_error(c, status, w->error < 0 ? w->why : NULL);
    return rc == -EALREADY ? 0 : rc;
}

/* An answer to something that is no request. */
static int turn_away(struct rota__http_server_conn *c, int error) {
    struct rota__http_wire *w = &c->wire;
    bool too_large = w->error < 0;
    int status = too_large ? status_of_bad_body(error) : status_of_bad_head(&w->head, error);
    const char *why = too_large ? w->why : w->head.why;
    c->request = (rota_http_incoming){ .minor = 1, .conn_ = c };
    c->no_body = false;
    rota__http_reply_init(c);
    if (error == 0)
        return rota__http_reply_error(c, 417, "only 100-continue can be expected");
    return rota__http_reply_error(c, status, error == -ETIMEDOUT ? "the request did not come in time" : why);
}

/* A head that is complete: to the end of its answer. */
static int answer(struct rota__http_server_conn *c, intptr_t *failure) {
    struct rota__http_service *s = c->service;
    struct rota__http_wire *w = &c->wire;
    int rc = rota__http_wire_begin_body(w, false, s->opt.body_max);
    if (rc < 0) {
        w->error = rc;
        return turn_away(c, rc);
    }
    if (w->head.expects_else)
        return turn_away(c, 0);
    if (w->out_n > w->out_size / 2 && (rc = flush(c)) < 0) /* the rest is room for a head */
        return rc;
    hand_in(c);
    rota__http_reply_init(c);
    return settle(c, s->handler(&c->request, &c->reply, s->arg), failure);
}

/* ---- one connection ----------------------------------------------------------------------------- */

/* Lets the last answer arrive, when the peer may still be sending. */
static intptr_t linger(void *arg) {
    struct rota__http_wire *w = arg;
    ssize_t n = rota_stream_shutdown(w->stream);
    for (size_t sum = 0; n >= 0 && sum < LINGER_BYTES; sum += (size_t)n) {
        n = rota_stream_read(w->stream, w->in, w->in_size);
        if (n == 0)
            break;
    }
    return n;
}

static intptr_t drain(void *arg) { return rota_stream_drain(((struct rota__http_wire *)arg)->stream); }

/* What was put is sent; after an answer that the peer did not wait for, it is given time to read it. */
static void end_conn(struct rota__http_server_conn *c, bool turned_away) {
    if (flush(c) < 0)
        return;
    intptr_t rc = rota_timeout(c->service->opt.write_timeout, drain, &c->wire);
    if (rc == 0 && turned_away)
        rc = rota_timeout(LINGER_TIME, linger, &c->wire);
    (void)rc; /* the connection ends in any case */
}

/* 0, the handler's failure, or -ECANCELED. */
static intptr_t converse(struct rota__http_server_conn *c) {
    intptr_t failure = 0;
    bool turned_away = false;
    int rc = 1;
    while (rc > 0) {
        rc = read_head(c);
        if (rc > 0) {
            rc = answer(c, &failure);
            turned_away = !c->wire.body.done;
            rc = rc == 0 && !c->close ? 1 : rc;
        } else if (rc == -EPROTO || rc == -EMSGSIZE || rc == -EOPNOTSUPP ||
                   (rc == -ETIMEDOUT && c->wire.error == 0)) {
            turned_away = true;
            rc = turn_away(c, rc);
        }
    }
    if (rc == 0)
        end_conn(c, turned_away);
    return rota_failed(failure) ? failure : peers_doing(rc) ? 0 : rc;
}

static void enter(struct rota__http_server_conn *c) {
    c->next = c->part->conns;
    if (c->next != NULL)
        c->next->prev = c;
    c->part->conns = c;
}

static void leave(struct rota__http_server_conn *c) {
    if (c->next != NULL)
        c->next->prev = c->prev;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        c->part->conns = c->next;
}

static size_t block_size(const struct rota__http_service *s) {
    return sizeof(struct rota__http_server_conn) + s->opt.head_max + ROTA__HTTP_BODY_ROOM + ROTA__HTTP_OUT_SIZE;
}

static struct rota__http_server_conn *new_conn(struct rota__http_part *part) {
    struct rota__http_service *s = part->service;
    struct rota__http_server_conn *c = rota__http_alloc(&s->allocator, block_size(s));
    if (c == NULL)
        return NULL;
    memset(c, 0, offsetof(struct rota__http_server_conn, wire));
    c->service = s;
    c->part = part;
    enter(c);
    return c;
}

static void free_conn(struct rota__http_server_conn *c) {
    struct rota__http_service *s = c->service;
    leave(c);
    rota__http_free(&s->allocator, c, block_size(s));
}

static intptr_t serve_conn(struct rota__http_server_conn *c, rota_stream *stream) {
    const rota_http_serve_options *opt = &c->service->opt;
    rota__http_wire_init(&c->wire, stream, c->memory, opt->head_max + ROTA__HTTP_BODY_ROOM, ROTA__HTTP_OUT_SIZE);
    c->wire.write_limit = opt->write_timeout;
    return converse(c);
}

/* ---- the loops of a server ---- */

/* Under the lock: for a loop that has its first connection, or stops without having had one. */
static struct rota__http_part *new_part(struct rota__http_service *s, rota_loop *loop) {
    struct rota__http_part *part = rota__http_alloc(&s->allocator, sizeof *part);
    if (part == NULL)
        return NULL;
    *part = (struct rota__http_part){ .service = s, .loop = loop, .next = s->others };
    s->others = part;
    return part;
}

static struct rota__http_part *own_part(struct rota__http_service *s) {
    rota_loop *loop = rota_loop_current();
    if (loop == s->first.loop)
        return &s->first;
    pthread_mutex_lock(&s->lock);
    struct rota__http_part *part = s->others;
    while (part != NULL && part->loop != loop)
        part = part->next;
    if (part == NULL)
        part = new_part(s, loop);
    pthread_mutex_unlock(&s->lock);
    return part;
}

/* On each loop, whatever ended its listener. Without memory for a part there was no connection, nor will there be. */
static void stopping(void *arg) {
    struct rota__http_service *s = arg;
    struct rota__http_part *part = own_part(s);
    for (struct rota__http_server_conn *c = part != NULL ? part->conns : NULL; c != NULL; c = c->next)
        if (c->idle)
            rota_scope_cancel(&c->idle_scope, "the server stops");
    if (part != NULL)
        part->stopping = true;
    if (s->opt.serve.stopping != NULL)
        s->opt.serve.stopping(s->arg);
}

/* Behind rota_serve, when the other threads have ended. */
static void close_service(struct rota__http_service *s) {
    struct rota__http_part *part;
    while ((part = s->others) != NULL) {
        s->others = part->next;
        rota__http_free(&s->allocator, part, sizeof *part);
    }
    pthread_mutex_destroy(&s->lock);
}

/* By the hook, perhaps with a handshake: without a request, so it ends when the server stops. A client that fails at
 * it is no failure of the server's. 1: the stream is open. */
static intptr_t open_stream(struct rota__http_server_conn *c, int fd) {
    const rota_http_serve_options *opt = &c->service->opt;
    if (opt->accept == NULL) {
        int rc = rota_stream_open(&c->stream, fd, &(rota_stream_options){ .buffer = &c->no_buffer, .buffer_size = 1 });
        return rc < 0 ? rc : 1;
    }
    if (c->part->stopping)
        return 0;
    rota_timeout_begin(&c->idle_scope, opt->head_timeout);
    c->idle = true;
    intptr_t rc = opt->accept(opt->accept_ctx, &c->stream, fd);
    c->idle = false;
    bool stopped = rota_scope_cancelled(&c->idle_scope);
    bool opened = rc == 0;
    rc = rota_scope_end(&c->idle_scope, rc);
    if (opened)
        return 1;
    return rc == -ECANCELED && !stopped ? rc : 0;
}

static intptr_t client(int fd, void *arg) {
    struct rota__http_part *part = own_part(arg);
    struct rota__http_server_conn *c = part != NULL ? new_conn(part) : NULL;
    if (c == NULL)
        return -ENOMEM;
    intptr_t rc = open_stream(c, fd);
    if (rc > 0) {
        rc = serve_conn(c, &c->stream);
        rota_stream_close(&c->stream);
    }
    free_conn(c);
    return rc;
}

/* ---- the server --------------------------------------------------------------------------------- */

static int64_t or_default(int64_t wanted, int64_t otherwise) { return wanted > 0 ? wanted : otherwise; }

static int open_service(struct rota__http_service *s, rota_http_handler_fn *handler, void *arg,
                        const rota_http_serve_options *opt) {
    static const rota_http_serve_options defaults;
    opt = opt != NULL ? opt : &defaults;
    bool bad_server = opt->server != NULL && !rota__http_may_send("Server", opt->server);
    if (handler == NULL || opt->head_max > ROTA__HTTP_HEAD_LIMIT || bad_server)
        return -EINVAL;
    *s = (struct rota__http_service){ .handler = handler, .arg = arg, .opt = *opt, .lock = PTHREAD_MUTEX_INITIALIZER };
    s->first.service = s;
    s->first.loop = rota_loop_current();
    s->allocator = rota__http_allocator(opt->allocator);
    s->opt.head_max = opt->head_max > 0 ? opt->head_max : ROTA__HTTP_HEAD_DEFAULT;
    s->opt.body_max = opt->body_max > 0 ? opt->body_max : 1 << 20;
    s->opt.head_timeout = or_default(opt->head_timeout, 10 * ROTA_S);
    s->opt.body_timeout = or_default(opt->body_timeout, 30 * ROTA_S);
    s->opt.idle = or_default(opt->idle, 60 * ROTA_S);
    s->opt.write_timeout = or_default(opt->write_timeout, 60 * ROTA_S);
    return 0;
}

static void listening(int fd, void *arg) {
    struct rota__http_service *s = arg;
    s->opt.serve.listening(fd, s->arg);
}

int rota_http_serve(const char *host, const char *service, rota_http_handler_fn *handler, void *arg,
                    const rota_http_serve_options *opt) {
    struct rota__http_service s;
    int rc = open_service(&s, handler, arg, opt);
    if (rc < 0)
        return rc;
    rota_serve_options serve = s.opt.serve;
    serve.listening = serve.listening != NULL ? listening : NULL;
    serve.stopping = stopping;
    rc = rota_serve(host, service, client, &s, &serve);
    close_service(&s);
    return rc;
}

int rota_http_serve_stream(rota_stream *stream, rota_http_handler_fn *handler, void *arg,
                           const rota_http_serve_options *opt) {
    struct rota__http_service s;
    int rc = stream == NULL ? -EINVAL : open_service(&s, handler, arg, opt);
    if (rc < 0)
        return rc;
    struct rota__http_server_conn *c = new_conn(&s.first);
    if (c != NULL) {
        rc = (int)serve_conn(c, stream);
        free_conn(c);
    }
    close_service(&s);
    return c != NULL ? rc : -ENOMEM;
}

/* ---- the request's body ------------------------------------------------------------------------- */

/* Before the body is waited for: answers to earlier requests, and the leave to send it. When this request's own answer
 * has begun, neither is held up by us. */
static int before_body(struct rota__http_server_conn *c) {
    struct rota__http_wire *w = &c->wire;
    if (w->first < w->end || c->reply.head_sent || w->out_n > c->reply_at)
        return 0;
    int rc = c->continue_owed ? rota__http_wire_put(w, "HTTP/1.1 100 Continue\r\n\r\n", 25) : 0;
    rc = rc < 0 ? rc : flush(c);
    c->reply_at = 0;
    c->continue_owed = false;
    return rc;
}

ssize_t rota_http_incoming_read(rota_http_incoming *request, void *buf, size_t n) {
    if (request == NULL || (buf == NULL && n > 0))
        return -EINVAL;
    struct rota__http_server_conn *c = request->conn_;
    struct rota__http_wire *w = &c->wire;
    ssize_t r = rota__http_refused();
    if (r == 0 && n > 0 && !w->body.done)
        r = before_body(c);
    if (r == 0)
        r = rota__http_wire_read(w, buf, n, c->service->opt.body_timeout);
    if (r > 0)
        request->received += (uint64_t)r;
    if (r < 0)
        request->why = w->why;
    if (w->body.done)
        request->trailers = rota__http_fields(&w->head, w->in + w->head_at, true);
    return r;
}
