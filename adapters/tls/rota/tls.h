/* TLS streams on OpenSSL 3: a rota_stream whose bytes travel encrypted. Once it is open, every rota_stream_* call works
 * on it as on a plain one; rota_stream_close ends it.
 *
 *  - A stream's end is the peer's close_notify. A connection that ends without one was cut off, perhaps by somebody who
 *    wanted the end of the data to be missed: reading answers -ECONNRESET, not an end of data.
 *  - rota_stream_shutdown sends close_notify; reading goes on. rota_stream_close sends it too, without waiting, if all
 *    that was written has gone out.
 *  - Errors: -EACCES, the peer's certificate was not accepted (chain, time or name). -EPROTO, anything else that is
 *    wrong with TLS: no common version, cipher or protocol, a peer that talks something else, an alert by which the
 *    peer refuses us. -ECONNRESET, cut off. -ENOMEM. The reason is to be had as text (`error` in the options,
 *    rota_tls_error); the text is for people.
 *  - A handshake needs some 16 KiB of stack: a task's usual 64 KiB are enough. Time limits are the caller's scopes'. It computes
 *    for about a millisecond, in which the loop stands still.
 *  - SIGPIPE never comes of it. It uses OpenSSL's defaults: openssl.cnf, and the variables of the environment that
 *    OpenSSL reads (SSL_CERT_FILE, SSL_CERT_DIR, OPENSSL_CONF). Standards: RFC 5246, RFC 8446; names, RFC 6125; ALPN,
 *    RFC 7301; SNI, RFC 6066.
 */
#ifndef ROTA_TLS_H
#define ROTA_TLS_H

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ssl_ctx_st;
struct ssl_st;

/* ---- contexts ----------------------------------------------------------------------------------- */

enum { ROTA_TLS_1_2 = 0x0303, ROTA_TLS_1_3 = 0x0304 };

/* What a server asks of its clients. */
enum { ROTA_TLS_NO_CLIENT_CERTIFICATE, ROTA_TLS_ASK_CLIENT_CERTIFICATE, ROTA_TLS_NEED_CLIENT_CERTIFICATE };

/* Certificates and keys are given as the path of a PEM file, or as the PEM text itself: what holds "-----BEGIN" is
 * text. Files are read by rota_tls_context_new, blocking, and never again. */
typedef struct rota_tls_context_options {
    bool server;
    const char *ca;              /* who is trusted; NULL and no ca_path: for clients, the system's */
    const char *ca_path;         /* a folder of them, as made by openssl rehash; read when needed */
    const char *certificate;     /* ours, followed by those that link it to its root; servers need one */
    const char *key;             /* NULL: in `certificate` */
    const char *key_password;    /* NULL: an encrypted key is refused */
    const char *alpn;            /* protocols, best first: "h2,http/1.1"; NULL: none. A server that has none in
                                    common with a client that offers some refuses it; a client looks at
                                    rota_tls_alpn */
    int min_version;             /* ROTA_TLS_*; 0: 1.2 */
    int max_version;             /* 0: the newest */
    const char *ciphers;         /* of TLS 1.2, in OpenSSL's notation; NULL: its defaults */
    const char *ciphersuites;    /* of TLS 1.3 */
    int client_certificate;      /* servers: ROTA_TLS_*_CLIENT_CERTIFICATE. Who has one, but not of `ca`, is refused */
    bool no_tickets;             /* servers: no session tickets, so no resumption */
    bool renegotiation;          /* TLS 1.2: the peer may begin a new handshake; else it is told no */
    bool insecure_skip_verify;   /* clients: take any certificate. Whoever is on the way can then read and change all */
    bool insecure_any_name;      /* clients: take a trusted certificate whatever name is in it */
    char *error;                 /* where rota_tls_context_new puts a text when it fails, with the name of the file
                                    that was read; may be NULL */
    size_t error_size;
} rota_tls_context_options;

/* What the connections of a kind have in common: one serves any number of them, on any number of loops and threads. */
typedef struct rota_tls_context rota_tls_context;

/* opt NULL: a client that verifies against the system's certificates. *ctx is NULL on failure. -EINVAL (a server without
 * a certificate, a key that does not belong to it, nothing of the kind in the PEM text, bad alpn, versions or ciphers),
 * -EACCES, -ENOENT and others of opening a file, -ENOMEM. */
ROTA_API ROTA_CHECK int rota_tls_context_new(rota_tls_context **ctx, const rota_tls_context_options *opt);

/* One more reference; returns ctx. Any thread. */
ROTA_API rota_tls_context *rota_tls_context_ref(rota_tls_context *ctx);

/* Drops a reference. Open streams hold their own. NULL is fine. Any thread. */
ROTA_API void rota_tls_context_free(rota_tls_context *ctx);

/* OpenSSL's object, for what this header does not offer. Its modes, its ALPN callback and its read-ahead are ours. */
ROTA_API struct ssl_ctx_st *rota_tls_context_native(rota_tls_context *ctx);

/* ---- connections -------------------------------------------------------------------------------- */

typedef struct rota_tls_options {
    const char *name;            /* clients: SNI, and what the certificate must be for; NULL: host */
    rota_dial_options dial;      /* rota_tls_dial */
    rota_stream_options stream;  /* transport and transport_ctx are not looked at */
    char *error;                 /* where the call puts a text when TLS fails; may be NULL */
    size_t error_size;
} rota_tls_options;

/* (S) Dials, and shakes hands as a client. ctx NULL: one like rota_tls_context_new(&ctx, NULL), made for this call (that
 * reads all of the system's certificates). The stream is open on success; on failure nothing is left.
 * Errors of rota_dial, and those above. */
ROTA_API ROTA_CHECK int rota_tls_dial(rota_stream *stream, const char *host, const char *service,
                                      rota_tls_context *ctx, const rota_tls_options *opt);

/* (S) The same over a connected socket: TCP, or any other whose bytes come in order. fd is the stream's on success; on
 * failure it stays the caller's, and is good for nothing but closing. -EINVAL (no context, a server's; no name although
 * one has to be verified, or one that no name can be). */
ROTA_API ROTA_CHECK int rota_tls_connect(rota_stream *stream, int fd, const char *host, rota_tls_context *ctx,
                                         const rota_tls_options *opt);

/* (S) The server's side, over a socket that was accepted. As rota_tls_connect. */
ROTA_API ROTA_CHECK int rota_tls_accept(rota_stream *stream, int fd, rota_tls_context *ctx,
                                        const rota_tls_options *opt);

/* ---- servers ------------------------------------------------------------------------------------ */

/* Serves one client. The stream is closed when it returns, unless it closed it itself. */
typedef intptr_t rota_tls_client_fn(rota_stream *stream, void *arg);

typedef struct rota_tls_serve_options {
    rota_serve_options serve;
    rota_stream_options stream;  /* of each client; a buffer cannot be given */
    int64_t handshake;           /* how long a client may take to shake hands; 0: 10 s */
    void (*refused)(int error, const char *reason, void *arg);  /* a handshake failed; NULL: nobody is told */
} rota_tls_serve_options;

/* (S) rota_serve, with a handshake before client(stream, arg): a client that is slow at it, or never ends it, holds up
 * nobody else. A handshake that fails is no failure of the server's. As rota_serve; -EINVAL for no context or a
 * client's, a negative handshake, a buffer. */
ROTA_API ROTA_CHECK int rota_tls_serve(const char *host, const char *service, rota_tls_context *ctx,
                                       rota_tls_client_fn *client, void *arg, const rota_tls_serve_options *opt);

/* ---- HTTP --------------------------------------------------------------------------------------- */

/* What the connections of an HTTP client (rota/http.h) have in common. Zero is fine: certificates are verified against
 * the system's. */
typedef struct rota_tls_http {
    rota_tls_context *context;   /* a client's; NULL: one is made for each connection, as by rota_tls_dial */
    rota_dial_options dial;
} rota_tls_http;

/* (S) To be `connect` in rota_http_client_options, with a rota_tls_http (may be NULL) as connect_ctx: dials, and when
 * `secure` shakes hands, host being the name that the certificate must be for. What TLS says about a failure becomes
 * the `why` of the response. Errors of rota_dial and rota_tls_dial. */
ROTA_API ROTA_CHECK int rota_tls_http_connect(void *http, rota_stream *stream, const char *host, const char *port,
                                              bool secure, char *why, size_t n);

/* What the connections of an HTTPS server have in common. */
typedef struct rota_tls_http_server {
    rota_tls_context *context;   /* a server's */
    rota_stream_options stream;  /* of each client; a buffer cannot be given */
    void (*refused)(int error, const char *reason, void *arg);  /* a handshake failed; NULL: nobody is told */
    void *arg;
} rota_tls_http_server;

/* (S) To be `accept` in rota_http_serve_options, with a rota_tls_http_server as accept_ctx: rota_tls_accept. Such a
 * server drains as a plain one does. An HTTPS server, but for the errors:
 *
 *     static intptr_t hello(rota_http_incoming *request, rota_http_reply *reply, void *arg) {
 *         return rota_http_reply_send(reply, 200, "text/plain", "hello\n", 6);
 *     }
 *     static intptr_t serve(void *arg) {
 *         rota_tls_http_server tls = { 0 };
 *         rota_tls_context_options keys = { .server = true, .certificate = "cert.pem", .key = "key.pem" };
 *         rota_tls_context_new(&tls.context, &keys);
 *         rota_http_serve_options opt = { .accept = rota_tls_http_accept, .accept_ctx = &tls };
 *         intptr_t rc = rota_http_serve(NULL, "443", hello, arg, &opt);
 *         rota_tls_context_free(tls.context);
 *         return rc;
 *     }
 */
ROTA_API ROTA_CHECK int rota_tls_http_accept(void *server, rota_stream *stream, int fd);

/* ---- what was agreed on ------------------------------------------------------------------------- */

/* For each: NULL (or 0) when the stream is not open or not TLS. Texts are valid until the stream is closed. */

/* The protocol chosen by ALPN; NULL: none. */
ROTA_API const char *rota_tls_alpn(const rota_stream *stream);

/* "TLSv1.3". */
ROTA_API const char *rota_tls_version(const rota_stream *stream);

/* The name that the client asked for by SNI; NULL: none. */
ROTA_API const char *rota_tls_name(const rota_stream *stream);

/* Why reading or writing failed, as text; "" when it has not. As snprintf. */
ROTA_API size_t rota_tls_error(const rota_stream *stream, char *buf, size_t n);

/* OpenSSL's object, for what this header does not offer (the peer's certificate, SSL_key_update): not for reading,
 * writing or shutting down. Clear OpenSSL's queue of errors after using it. */
ROTA_API struct ssl_st *rota_tls_native(const rota_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
