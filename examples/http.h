/* HTTP/1.1 messages for the examples, as a push parser: bytes go in by http_feed in pieces of any size, what
 * they mean comes out by the fields below and two callbacks. It knows no sockets and no loop, so the tests
 * need neither; whoever owns the connection feeds it what arrives.
 *
 * The peer is not trusted. Whatever it sends, memory stays at the size of this struct, and the answer is one
 * of these errors, which is kept for every later call:
 *   -EBADMSG     against the grammar of RFC 9112, or framing that two readers could read in two ways
 *   -EMSGSIZE    a line, the head, the number of fields, a length or the body is over its limit
 *   -EOPNOTSUPP  a transfer coding other than chunked, a version other than HTTP/1.x
 *   -EPIPE       the connection ended in the middle (http_end)
 */
#ifndef EXAMPLES_HTTP_H
#define EXAMPLES_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    HTTP_LINE_MAX = 8192,       /* bytes of a start line or field, with its end of line */
    HTTP_HEAD_MAX = 65536,      /* of all of them together, interim answers and trailers included */
    HTTP_FIELDS_MAX = 128,
    HTTP_CHUNK_LINE_MAX = 256,  /* of a chunk's size with its extensions: none are in use */
    HTTP_TARGET_MAX = 1024,
    HTTP_HOST_MAX = 256
};

struct http_parser {
    /* Yours, after init. on_field gets each field of the final head (no trailers), on_body the body without
     * its framing. body_limit 0: none. */
    void (*on_field)(void *arg, const char *name, const char *value);
    void (*on_body)(void *arg, const char *data, size_t n);
    void *arg;
    uint64_t body_limit;

    /* Read only. */
    bool head_done;             /* the fields below are valid */
    bool done;                  /* the message is complete */
    int minor;                  /* HTTP/1.minor */
    int status;                 /* responses */
    char reason[64];            /* responses; cut to fit, any byte but controls */
    char method[16];            /* requests, with the two that follow */
    char target[HTTP_TARGET_MAX];
    char host[HTTP_HOST_MAX];   /* of the Host field; may be empty */
    uint64_t body_bytes;        /* handed to on_body so far */

    /* Private. */
    int state_, error_;
    bool request_, answers_head_, has_length_, chunked_, has_host_;
    uint64_t left_;             /* of the body or the chunk; before the body: Content-Length */
    size_t head_bytes_, fields_, line_n_;
    char line_[HTTP_LINE_MAX + 1];
};

/* answers_head: the request was a HEAD, so that no body follows whatever the fields say. */
void http_response_init(struct http_parser *p, bool answers_head);
void http_request_init(struct http_parser *p);

/* How many of the n bytes belong to this message (fewer than n only when it is done), or an error. */
ssize_t http_feed(struct http_parser *p, const char *data, size_t n);

/* The connection has ended: 0 when the message is complete, which for a body of unknown length it is now. */
int http_end(struct http_parser *p);

#endif
