/* Heads of messages and the framing of their bodies, as pure functions over bytes in memory: no stream, no loop, no
 * allocation. Whoever owns the buffer adds bytes to it and calls again.
 *
 * Texts are parsed in place: the bytes that end them become zero bytes, so that names and values are strings in the
 * buffer. Every position is relative to the head's first byte, so the buffer may be moved between two calls. */
#ifndef ROTA_HTTP_HEAD_H
#define ROTA_HTTP_HEAD_H

#include "rota/http.h"

enum { ROTA__HTTP_HEAD_LIMIT = 48 * 1024, ROTA__HTTP_CHUNK_LINE_MAX = 256 };

struct rota__http_field {
    uint16_t name, value;
};

struct rota__http_head {
    /* What the head says, when it is complete. */
    int status, minor;
    uint16_t method, target, reason, host;   /* positions */
    bool has_length, chunked, has_host, close, keep_alive, expects_continue, expects_else;
    bool length_overflows;
    uint64_t length;                         /* valid with has_length */
    size_t n;                                /* bytes of it */
    unsigned fields, trailers;               /* how many; trailers stand behind the fields */
    const char *why;                         /* after an error */

    /* How far it is. */
    bool request, in_trailers, started;
    size_t line, searched;
    struct rota__http_field field[ROTA_HTTP_FIELDS_MAX];
};

void rota__http_head_init(struct rota__http_head *h, bool request);

/* Looks at the n bytes at text, which begin with those of the calls before. 1: complete, and head->n of them are its;
 * 0: more are needed; or an error. At most limit bytes may be the head's. */
int rota__http_head_feed(struct rota__http_head *h, char *text, size_t n, size_t limit);

/* The same for the trailers of a body in chunks, at position `at` of text; h->n is where they end. */
void rota__http_trailers_begin(struct rota__http_head *h, size_t at);
int rota__http_trailers_feed(struct rota__http_head *h, char *text, size_t n, size_t limit);

/* Names and values, for the struct of the public header. */
static inline rota_http_fields rota__http_fields(const struct rota__http_head *h, const char *text, bool trailers) {
    return (rota_http_fields){
        .n = trailers ? h->trailers : h->fields,
        .text_ = text,
        .at_ = h->field + (trailers ? h->fields : 0),
    };
}

/* ---- bodies ---- */

enum rota__http_framing { HTTP_NO_BODY, HTTP_BY_LENGTH, HTTP_IN_CHUNKS, HTTP_UNTIL_CLOSE };

struct rota__http_body {
    enum rota__http_framing framing;
    bool done;
    unsigned state;
    unsigned line_n;       /* bytes of a chunk's line so far */
    uint64_t left;         /* of the body, or of the chunk */
    uint64_t taken, max;   /* bytes of data so far, and how many there may be */
    const char *why;
};

/* From a complete head (RFC 9112, 6.3). answers_head: of an answer to HEAD. -EPROTO, -EMSGSIZE (a length over max). */
int rota__http_body_init(struct rota__http_body *b, struct rota__http_head *h, bool answers_head, uint64_t max);

/* Takes from the n bytes at in: *used of them. What is data among them is *data_n bytes, at most data_max, at the end of
 * the used ones; it stops behind a piece of data, at the end (done), and where trailers begin
 * (rota__http_body_at_trailers). */
int rota__http_body_take(struct rota__http_body *b, const char *in, size_t n, size_t data_max, size_t *used,
                         size_t *data_n);

/* The same for n bytes of data that came past the buffer; at most rota__http_body_pending of them. */
void rota__http_body_skip(struct rota__http_body *b, size_t n);

/* How many bytes from here on are data for certain. */
uint64_t rota__http_body_pending(const struct rota__http_body *b);

bool rota__http_body_at_trailers(const struct rota__http_body *b);

/* The connection has ended: 0 when the body has too, now at the latest; else -EPIPE. */
int rota__http_body_end(struct rota__http_body *b);

#endif
