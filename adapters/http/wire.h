/* A connection's bytes: a stream with an input buffer, in which heads are parsed in place and bodies unframed, and an
 * output buffer. Client and server are built on it. It knows neither of them. */
#ifndef ROTA_HTTP_WIRE_H
#define ROTA_HTTP_WIRE_H

#include "adapters/http/head.h"

enum { ROTA__HTTP_HEAD_DEFAULT = 16 * 1024, ROTA__HTTP_BODY_ROOM = 4 * 1024 };

struct rota__http_wire {
    rota_stream *stream;
    char *in, *out;
    size_t in_size, out_size;
    size_t head_at;          /* where the head begins */
    size_t first, end;       /* bytes that came and were not taken; between the head's end and first is free room */
    size_t base;             /* behind the head */
    size_t out_n;
    int64_t write_limit;     /* for output that the peer does not take; 0: none */
    int error;               /* of reading the body or of writing: it stays */
    const char *why;
    struct rota__http_head head;
    struct rota__http_body body;
};

/* in and out are of these sizes, and follow each other at memory. */
void rota__http_wire_init(struct rota__http_wire *w, rota_stream *stream, char *memory, size_t in_size,
                          size_t out_size);

/* (S) Reads more behind what is there, which leaves room: how many bytes, 0 at the end of the data, or an error. limit
 * > 0: -ETIMEDOUT when it passes. */
ssize_t rota__http_wire_fill(struct rota__http_wire *w, int64_t limit);

/* The head at head_at is complete: what follows is the body. Moves it all to the buffer's beginning when little room is
 * left for the body. */
int rota__http_wire_expect_body(struct rota__http_wire *w, bool answers_head, uint64_t max);
static inline int rota__http_wire_begin_body(struct rota__http_wire *w, bool answers_head, uint64_t max) {
    const struct rota__http_head *h = &w->head;
    if (!h->request || h->chunked || h->has_length)
        return rota__http_wire_expect_body(w, answers_head, max);
    w->base = w->first = w->head_at + h->n; /* most requests have none */
    w->body = (struct rota__http_body){ .framing = HTTP_NO_BODY, .done = true, .max = max };
    w->error = 0;
    w->why = NULL;
    return 0;
}

/* (S) As rota_http_read. */
ssize_t rota__http_wire_read(struct rota__http_wire *w, void *buf, size_t n, int64_t limit);

/* (S) Output: collected, and written when the buffer is full or flushed. */
int rota__http_wire_put(struct rota__http_wire *w, const void *bytes, size_t n);
int rota__http_wire_flush(struct rota__http_wire *w);

/* (S) The same for callers that wait for the peer next: as a rule it does not suspend, not even out of courtesy. */
int rota__http_wire_flush_first(struct rota__http_wire *w);

/* (S) -ECANCELED inside a cancelled or expired scope, else 0 at once: for calls that may find what they need in a buffer,
 * and would then not notice. */
static inline int rota__http_refused(void) { return rota_cancelled(NULL, NULL) ? rota_yield() : 0; }

/* The allocator of an options struct, or malloc. */
rota_allocator rota__http_allocator(const rota_allocator *wanted);
void *rota__http_alloc(const rota_allocator *allocator, size_t n);
void rota__http_free(const rota_allocator *allocator, void *p, size_t n);

/* May text be sent as a field's name and value? Fields of framing may not: two readers would see two messages. */
bool rota__http_may_send(const char *name, const char *value);

#endif
