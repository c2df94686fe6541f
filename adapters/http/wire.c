/* A connection's bytes: see wire.h.
 *
 *     in:  | ... | head (its texts are used in place) | free | bytes not taken | free |
 *                ^ head_at                            ^ base ^ first           ^ end
 *
 * Invariant: nothing is written between head_at and base while a message is looked at, except by
 * rota__http_wire_expect_body, before anybody has pointers into it. */
#include "adapters/http/wire.h"

#include <stdlib.h>
#include <string.h>

#include "adapters/http/text.h"

/* Reads at least this large go past the buffer. */
enum { DIRECT_MIN = 2048, BODY_ROOM_MIN = 2048 };

void rota__http_wire_init(struct rota__http_wire *w, rota_stream *stream, char *memory, size_t in_size,
                          size_t out_size) {
    memset(w, 0, offsetof(struct rota__http_wire, head));
    w->stream = stream;
    w->in = memory;
    w->out = memory + in_size;
    w->in_size = in_size;
    w->out_size = out_size;
}

/* ---- reading ------------------------------------------------------------------------------------ */

static ssize_t receive(struct rota__http_wire *w, void *buf, size_t n, int64_t limit) {
    rota_scope scope;
    if (limit <= 0)
        return rota_stream_read(w->stream, buf, n);
    rota_timeout_begin(&scope, limit);
    ssize_t r = rota_stream_read(w->stream, buf, n);
    return (ssize_t)rota_scope_end(&scope, r);
}

ssize_t rota__http_wire_fill(struct rota__http_wire *w, int64_t limit) {
    ssize_t r = receive(w, w->in + w->end, w->in_size - w->end, limit);
    if (r > 0)
        w->end += (size_t)r;
    return r;
}

int rota__http_wire_expect_body(struct rota__http_wire *w, bool answers_head, uint64_t max) {
    w->base = w->first = w->head_at + w->head.n;
    int rc = rota__http_body_init(&w->body, &w->head, answers_head, max);
    w->error = 0;
    w->why = w->body.why;
    if (w->body.done || w->head_at == 0 || w->in_size - w->base >= BODY_ROOM_MIN)
        return rc;
    memmove(w->in, w->in + w->head_at, w->end - w->head_at);
    w->base -= w->head_at;
    w->first -= w->head_at;
    w->end -= w->head_at;
    w->head_at = 0;
    return rc;
}

static int fail(struct rota__http_wire *w, int error, const char *why) {
    w->why = why;
    return w->error = error;
}

/* What an empty or failed read means for the body. A refusal is the caller's: the body goes on when it is lifted. */
static int no_bytes(struct rota__http_wire *w, ssize_t r) {
    if (r == -ECANCELED)
        return (int)r;
    if (r == -ETIMEDOUT)
        return fail(w, (int)r, "the body did not come in time");
    if (r < 0)
        return fail(w, (int)r, NULL);
    int rc = rota__http_body_end(&w->body);
    return rc < 0 ? fail(w, rc, w->body.why) : 0;
}

static ssize_t read_direct(struct rota__http_wire *w, void *buf, size_t n, int64_t limit) {
    uint64_t pending = rota__http_body_pending(&w->body);
    ssize_t r = receive(w, buf, n < pending ? n : (size_t)pending, limit);
    if (r <= 0)
        return no_bytes(w, r);
    if ((uint64_t)r > w->body.max - w->body.taken)
        return fail(w, -EMSGSIZE, "the body is over its limit");
    rota__http_body_skip(&w->body, (size_t)r);
    return r;
}

/* They are parsed like fields, so they must lie together behind the head; the data before them has been given out. */
static int read_trailers(struct rota__http_wire *w, int64_t limit) {
    struct rota__http_head *h = &w->head;
    if (!h->in_trailers) {
        memmove(w->in + w->base, w->in + w->first, w->end - w->first);
        w->end -= w->first - w->base;
        w->first = w->base;
        rota__http_trailers_begin(h, w->base - w->head_at);
    }
    for (;;) {
        int rc = rota__http_trailers_feed(h, w->in + w->head_at, w->end - w->head_at, w->in_size - w->head_at);
        if (rc < 0)
            return fail(w, rc, h->why);
        if (rc > 0) {
            w->first = w->head_at + h->n;
            w->body.done = true;
            return 0;
        }
        ssize_t r = rota__http_wire_fill(w, limit);
        if (r <= 0)
            return no_bytes(w, r);
    }
}

/* Data that lies in the buffer; 0 when there is none. */
static ssize_t take(struct rota__http_wire *w, void *buf, size_t n) {
    size_t used, data;
    int rc = rota__http_body_take(&w->body, w->in + w->first, w->end - w->first, n, &used, &data);
    w->first += used;
    if (data > 0)
        memcpy(buf, w->in + w->first - data, data);
    return rc < 0 ? fail(w, rc, w->body.why) : (ssize_t)data;
}

ssize_t rota__http_wire_read(struct rota__http_wire *w, void *buf, size_t n, int64_t limit) {
    ssize_t r = w->error;
    while (r == 0 && n > 0 && !w->body.done) {
        if (w->first < w->end)
            r = take(w, buf, n);
        if (r != 0 || w->body.done)
            break;
        if (rota__http_body_at_trailers(&w->body)) {
            r = read_trailers(w, limit);
        } else if (w->first < w->end) {
            continue;
        } else if (n >= DIRECT_MIN && rota__http_body_pending(&w->body) >= DIRECT_MIN) {
            r = read_direct(w, buf, n, limit);
        } else {
            w->first = w->end = w->base;
            r = rota__http_wire_fill(w, limit);
            r = r > 0 ? 0 : no_bytes(w, r);
        }
    }
    return r;
}

/* ---- writing ------------------------------------------------------------------------------------ */

/* A failure is kept in error only as the stream keeps it: what was to be read may still be there. */
static int send_bytes(struct rota__http_wire *w, const void *bytes, size_t n) {
    rota_scope scope;
    if (w->write_limit <= 0)
        return rota_stream_write(w->stream, bytes, n);
    rota_timeout_begin(&scope, w->write_limit);
    int rc = rota_stream_write(w->stream, bytes, n);
    return (int)rota_scope_end(&scope, rc);
}

int rota__http_wire_flush(struct rota__http_wire *w) {
    size_t n = w->out_n;
    if (n == 0)
        return 0;
    w->out_n = 0; /* whatever becomes of them: half a message cannot be sent again */
    return send_bytes(w, w->out, n);
}

/* The limit is for waiting: where nothing is waited for, no clock has to be read. */
int rota__http_wire_flush_first(struct rota__http_wire *w) {
    size_t n = w->out_n;
    if (n == 0)
        return 0;
    int rc = rota__http_refused();
    w->out_n = 0;
    if (rc < 0)
        return rc;
    ssize_t taken = rota_stream_try_write(w->stream, w->out, n);
    if (taken < 0 && taken != -EAGAIN)
        return (int)taken;
    size_t sum = taken > 0 ? (size_t)taken : 0;
    return sum < n ? send_bytes(w, w->out + sum, n - sum) : 0;
}

int rota__http_wire_put(struct rota__http_wire *w, const void *bytes, size_t n) {
    int rc = n > w->out_size - w->out_n ? rota__http_wire_flush(w) : 0;
    if (rc < 0)
        return rc;
    if (n > w->out_size)
        return send_bytes(w, bytes, n);
    if (n > 0)
        memcpy(w->out + w->out_n, bytes, n);
    w->out_n += n;
    return 0;
}

/* ---- memory, and what may be sent --------------------------------------------------------------- */

static void *malloc_alloc(void *ctx, void *old, size_t old_n, size_t n) {
    (void)ctx;
    (void)old_n;
    if (n > 0)
        return realloc(old, n);
    free(old);
    return NULL;
}

rota_allocator rota__http_allocator(const rota_allocator *wanted) {
    return wanted != NULL ? *wanted : (rota_allocator){ malloc_alloc, NULL };
}

void *rota__http_alloc(const rota_allocator *allocator, size_t n) {
    return allocator->alloc(allocator->ctx, NULL, 0, n);
}

void rota__http_free(const rota_allocator *allocator, void *p, size_t n) {
    if (p != NULL)
        allocator->alloc(allocator->ctx, p, n, 0);
}

bool rota__http_may_send(const char *name, const char *value) {
    static const char *const framing[] = { "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "TE",
                                           "Trailer", "Upgrade", "Expect" };
    size_t name_n = name != NULL ? strlen(name) : 0, n = value != NULL ? strlen(value) : 0;
    if (name_n == 0 || value == NULL || rota__http_span_token(name, name_n) < name_n ||
        rota__http_span_value(value, n) < n)
        return false;
    if (strchr("cektu", name[0] | 0x20) == NULL) /* what the names below begin with */
        return true;
    for (size_t i = 0; i < sizeof framing / sizeof framing[0]; i++)
        if (rota__http_same(name, framing[i]))
            return false;
    return true;
}
