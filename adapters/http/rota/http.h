/* HTTP/1.1 (RFC 9110, 9112) over streams: a client with a pool of connections, and a server. A library of its own,
 * librota-http, on librota alone.
 *
 * Peers are not trusted. Whatever one sends, memory is bounded by the limits in the options, and the call that met it
 * returns one of these:
 *   -EPROTO       against the grammar, or framing that two readers could read in two ways
 *   -EMSGSIZE     a head, a body, a length or a number of fields is over its limit
 *   -EOPNOTSUPP   a transfer coding other than chunked, a version other than HTTP/1.x
 *   -EPIPE        the connection ended in the middle
 *   -ETIMEDOUT    a limit of time in the options has passed
 * with a sentence for a person in `why` (NULL for errors of the system; of TLS, what it says). Folded fields, a space before the colon, zero
 * bytes, two lengths that differ, a length together with chunks, bare LF in requests and in chunk framing are refused;
 * bare LF is accepted in the head of an answer. No content coding is asked for, and none is undone.
 *
 * Texts that a peer sent (values, reasons, targets) hold no controls but the tab, but any byte from 0x80 on.
 */
#ifndef ROTA_HTTP_H
#define ROTA_HTTP_H

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- URLs --------------------------------------------------------------------------------------- */

enum { ROTA_HTTP_HOST_MAX = 253, ROTA_HTTP_TARGET_MAX = 4000 };

typedef struct rota_http_url {
    bool secure;                             /* https */
    char host[ROTA_HTTP_HOST_MAX + 1];       /* to resolve: no brackets around an IPv6 address */
    char port[6];
    char authority[ROTA_HTTP_HOST_MAX + 9];  /* for the Host field: brackets, and the port unless it is the scheme's */
    char target[ROTA_HTTP_TARGET_MAX + 1];   /* path and query, never empty; bytes from 0x80 on are %-coded */
} rota_http_url;

/* Splits an http:// or https:// URL (RFC 3986); the fragment is dropped, and nothing is ever cut to fit. 0, or in
 * *why (may be NULL) a sentence, and -EPROTONOSUPPORT (another scheme), -EINVAL, -ENAMETOOLONG. */
ROTA_API ROTA_CHECK int rota_http_url_parse(rota_http_url *url, const char *text, const char **why);

/* The same for a reference relative to base (RFC 3986, 5.2), as a Location field holds one. url must not be base. */
ROTA_API ROTA_CHECK int rota_http_url_resolve(rota_http_url *url, const rota_http_url *base, const char *reference,
                                              const char **why);

/* ---- fields ------------------------------------------------------------------------------------- */

enum { ROTA_HTTP_FIELDS_MAX = 128 };         /* of a message, trailers included; more are -EMSGSIZE */

/* Fields of a message that came. Valid as long as the message. */
typedef struct rota_http_fields {
    unsigned n;                              /* read only */
    const char *text_;
    const struct rota__http_field *at_;
} rota_http_fields;

/* The value of the first field of that name (in any case); NULL when there is none. */
ROTA_API const char *rota_http_field(const rota_http_fields *fields, const char *name);

/* The i-th field, in the order in which they came; false beyond the last. name and value may be NULL. */
ROTA_API bool rota_http_field_at(const rota_http_fields *fields, unsigned i, const char **name, const char **value);

/* A field to send. */
typedef struct rota_http_header {
    const char *name, *value;
} rota_http_header;

/* ---- client ------------------------------------------------------------------------------------- */

enum { ROTA_HTTP_WHY = 200 };

/* (S) Connects stream, whose memory is given, to host and port; secure: with TLS, the certificate checked for host.
 * 0, or an error, and then there is nothing to close; a sentence for a person, put to why (n bytes, "" before), becomes
 * the response's. For https: rota_tls_http_connect. */
typedef int rota_http_connect_fn(void *ctx, rota_stream *stream, const char *host, const char *port, bool secure,
                                 char *why, size_t n);

typedef struct rota_http_client_options {
    rota_http_connect_fn *connect;   /* NULL: rota_dial, and -EPROTONOSUPPORT for https */
    void *connect_ctx;
    unsigned per_host;               /* connections to one host and port at once; 0: 6 */
    unsigned connections;            /* to all of them; 0: 64. Requests beyond wait, first in first out */
    int64_t idle;                    /* how long an unused connection is kept; 0: 30 s, < 0: not at all */
    size_t head_max;                 /* bytes of an answer's head, interim answers included; 0: 16 KiB, at most 48 KiB */
    const char *user_agent;          /* NULL: none is sent; must outlive the client */
    const rota_allocator *allocator; /* copied; NULL: malloc */
} rota_http_client_options;

/* A pool of connections, for the tasks of one loop. Idle connections keep the loop alive until they are dropped. */
typedef struct rota_http_client {
    rota_http_client_options opt_;
    rota_allocator allocator_;
    rota_loop *loop_;
    struct rota__http_conn *conns_;
    struct rota__http_waiter *first_, *last_;
    unsigned open_;                  /* connections: idle, in use or being made */
    unsigned state_;
} rota_http_client;

/* opt may be NULL. Never suspends. -EINVAL (no client, no loop, head_max too large). */
ROTA_API ROTA_CHECK int rota_http_client_open(rota_http_client *client, const rota_http_client_options *opt);

/* Drops idle connections at once; those in use go with their responses. Who waits for one gets -ESHUTDOWN.
 * -EBADF: not open. -EPERM: another loop's thread. */
ROTA_API int rota_http_client_close(rota_http_client *client);

typedef struct rota_http_request_options {
    const rota_http_header *headers; /* more fields; not those of framing, and not Connection, TE, Upgrade, Expect */
    size_t headers_n;

    /* The body: bytes, or a function that gives them. (S) body_fn puts at most n bytes to buf, and returns how many: 0
     * at the end, a negative errno to give up. Its length, when it is known; 0: it is sent in chunks. */
    const void *body;
    size_t body_n;
    ssize_t (*body_fn)(void *arg, void *buf, size_t n);
    void *body_arg;
    uint64_t body_length;
    bool expect_continue;            /* ask before the body is sent, and wait up to 1 s for the answer */

    /* 0: no limit. Scopes around the calls hold as well. */
    int64_t timeout;                 /* for all, from waiting for a connection to the last byte of the body */
    int64_t connect_timeout;
    int64_t head_timeout;            /* from the last byte of the request to the end of the answer's head */
    int64_t read_timeout;            /* for each read of the body that must wait */

    int redirects;                   /* most that are followed; 0: 10, < 0: none */
    uint64_t body_max;               /* of the answer; 0: no limit */
    bool close;                      /* use a connection of its own and do not keep it */
} rota_http_request_options;

typedef struct rota_http_response {
    int status;
    int minor;                       /* HTTP/1.minor */
    const char *reason;              /* may be empty; never NULL */
    rota_http_fields fields;
    rota_http_fields trailers;       /* behind a body in chunks; complete when rota_http_read has returned 0 */
    int64_t length;                  /* of the body; -1: not known before its end */
    uint64_t received;               /* bytes of it that were handed out */
    rota_http_url url;               /* that answered: another one than asked for after redirects */
    unsigned redirected;             /* how many were followed */
    const char *why;                 /* after an error: what was wrong, or NULL; may lie in this struct */

    struct rota__http_conn *conn_;
    char *whole_;                    /* rota_http_read_all's */
    size_t whole_size_, whole_n_;
    int64_t deadline_, read_timeout_;
    char why_[ROTA_HTTP_WHY];        /* what connecting said */
} rota_http_response;

/* (S) Asks, and returns when the head of the answer has come, whatever its status: then the response must be closed. On
 * an error only response->why and url are valid, and there is nothing to close.
 *
 * Redirects (301, 302, 303, 307, 308 with a Location): 303 makes any method but HEAD a GET without a body, as 301 and
 * 302 make a POST. Authorization, Cookie, Proxy-Authorization and Host are not sent on to another scheme, host or port.
 * An answer is handed out as it is when its Location is missing, is https to http, or when a body that a function
 * gave would have to be sent again. -ELOOP: more than opt->redirects.
 *
 * A connection of the pool that turns out to be dead before the first byte of an answer is replaced once, if the
 * method is idempotent and no function has given of the body. 100 Continue and other interim answers are skipped.
 * -EINVAL for a method, field or URL that cannot be sent; -EBADF: the client is not open; -ESHUTDOWN: it was closed
 * meanwhile; -EPERM: a task of another loop than the client's; errors of connecting; those on top. */
ROTA_API ROTA_CHECK int rota_http_request(rota_http_client *client, rota_http_response *response, const char *method,
                                          const char *url, const rota_http_request_options *opt);

/* (S) At least 1 byte of the body, at most n; 0 at its end (or n == 0). An error stays. */
ROTA_API ROTA_CHECK ssize_t rota_http_read(rota_http_response *response, void *buf, size_t n);

/* (S) The rest of the body, with a zero byte behind it, in memory that goes with the response; *n (may be NULL) is its
 * length. -EMSGSIZE when it is over max, -ENOMEM. Cut short (by a scope, say), it may be called again. */
ROTA_API ROTA_CHECK int rota_http_read_all(rota_http_response *response, const char **data, size_t *n, size_t max);

/* Gives the connection back: to be used again when the body was read to its end. Never suspends. An all-zero response,
 * and one that was closed, is fine. */
ROTA_API void rota_http_response_close(rota_http_response *response);

/* ---- server ------------------------------------------------------------------------------------- */

/* A request that came. Its texts are valid until the handler returns. */
typedef struct rota_http_incoming {
    const char *method;
    const char *target;              /* path and query; "*" for OPTIONS; a host and port for CONNECT */
    const char *host;                /* of the target, else the Host field; may be empty */
    int minor;                       /* HTTP/1.minor */
    rota_http_fields fields;
    rota_http_fields trailers;       /* behind a body in chunks; complete when rota_http_incoming_read has returned 0 */
    int64_t length;                  /* of the body; -1: in chunks */
    uint64_t received;               /* bytes of it that were handed out */
    const char *why;                 /* after an error: what was wrong, or NULL */
    struct rota__http_server_conn *conn_;
} rota_http_incoming;

/* The answer to it. */
typedef struct rota_http_reply {
    int status;                      /* read only */
    bool head_sent;                  /* read only: too late for another status */
    struct rota__http_server_conn *conn_;
    uint64_t left_;                  /* of a body of known length */
    unsigned state_;
} rota_http_reply;

/* Answers one request. What it returns: 0, or an error, which is answered with 500 when nothing was sent yet, else ends
 * the connection. Errors that are not the peer's doing go to `failed` in the options, or are reported as those of the
 * connection's task; so is -EPROTO when it wrote fewer bytes than it had announced. A body that it did not read is
 * skipped, or ends the connection when it is long. */
typedef intptr_t rota_http_handler_fn(rota_http_incoming *request, rota_http_reply *reply, void *arg);

typedef struct rota_http_serve_options {
    rota_serve_options serve;        /* drain: requests under way may go on so long; connections without one end at once.
                                        listening is called with the handler's arg. With threads, handler runs on each
                                        of them, as clients of rota_serve do */
    size_t head_max;                 /* bytes of a request's head; 0: 16 KiB, at most 48 KiB. Over it: 431, or 414 */
    uint64_t body_max;               /* of a request; 0: 1 MiB. Over it: 413. UINT64_MAX: no limit */
    int64_t head_timeout;            /* from a request's first byte to the end of its head; 0: 10 s. Then 408 */
    int64_t body_timeout;            /* for each read of a body that must wait; 0: 30 s */
    int64_t idle;                    /* between requests; 0: 60 s */
    int64_t write_timeout;           /* for output that the peer does not take; 0: 60 s */
    /* (S) Opens the stream of a client that was accepted, a handshake included, and returns 0, or an error, upon which
     * rota_http_serve closes fd; it has the time of a head. NULL: rota_stream_open. For https: rota_tls_http_accept. */
    int (*accept)(void *ctx, rota_stream *stream, int fd);
    void *accept_ctx;
    /* The handler failed (see rota_http_handler_fn), why in words; arg is the handler's. May not suspend. NULL: the task
     * of the connection fails with it, which is reported. */
    void (*failed)(int error, const char *why, const rota_http_incoming *request, void *arg);
    const char *server;              /* Server field; NULL: none */
    const rota_allocator *allocator; /* one block a connection, and one a thread, on its thread; NULL: malloc */
} rota_http_serve_options;

/* (S) rota_serve with one task a connection, which runs handler(request, reply, arg) for each request on it, in order;
 * answers to requests that came together go out together. Requests that are none are answered 400, 408, 413, 414, 417,
 * 431, 501 or 505, and end the connection. As rota_serve; -EINVAL (no handler, head_max too large). */
ROTA_API ROTA_CHECK int rota_http_serve(const char *host, const char *service, rota_http_handler_fn *handler, void *arg,
                                        const rota_http_serve_options *opt);

/* (S) The same for one connection that is there already, on a stream that stays the caller's. opt->serve and accept are
 * not looked at, and of a server that drains it knows nothing: a connection without a request ends with its limit, or
 * the caller's scope. 0 when the peer has ended it, or was turned away; else the error. */
ROTA_API ROTA_CHECK int rota_http_serve_stream(rota_stream *stream, rota_http_handler_fn *handler, void *arg,
                                               const rota_http_serve_options *opt);

/* (S) At least 1 byte of the request's body, at most n; 0 at its end (or n == 0). The first call answers 100 Continue
 * to a client that waits for it. */
ROTA_API ROTA_CHECK ssize_t rota_http_incoming_read(rota_http_incoming *request, void *buf, size_t n);

/* Begins the answer: status (200 to 599), then fields. Without it, 200.
 * Never suspend. -EINVAL (a status, name or value that cannot be sent, or a field of framing), -EALREADY (the head is
 * complete, or has a status already), -EMSGSIZE (a head larger than the output buffer of 16 KiB). */
ROTA_API ROTA_CHECK int rota_http_reply_begin(rota_http_reply *reply, int status);
ROTA_API ROTA_CHECK int rota_http_reply_field(rota_http_reply *reply, const char *name, const char *value);

/* The length of the body that will be written; without it, it goes in chunks (to HTTP/1.0: up to the connection's end).
 * -EALREADY. */
ROTA_API ROTA_CHECK int rota_http_reply_length(rota_http_reply *reply, uint64_t n);

/* (S) Adds to the body. It goes out when the buffer is full, when flushed, or when the handler has returned and no
 * further request is there. To HEAD and with 204 and 304 the body is dropped. -EMSGSIZE: beyond the length; errors of
 * the connection. */
ROTA_API ROTA_CHECK int rota_http_reply_write(rota_http_reply *reply, const void *data, size_t n);

/* (S) Sends what has been written, the head included: before the handler waits for something else. */
ROTA_API ROTA_CHECK int rota_http_reply_flush(rota_http_reply *reply);

/* (S) A whole answer of that type (NULL: no Content-Type field): after begin and field, or without them. */
ROTA_API ROTA_CHECK int rota_http_reply_send(rota_http_reply *reply, int status, const char *type, const void *data,
                                             size_t n);

#ifdef __cplusplus
}
#endif
#endif
