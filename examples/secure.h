/* TLS for the examples: secure.c where the TLS adapter is built, secure_none.c where it is not. Either way a program
 * says --cacert, --certificate and https://; without TLS it learns from here what to tell its user. */
#ifndef EXAMPLES_SECURE_H
#define EXAMPLES_SECURE_H

#include "rota/http.h"

enum { SECURE_WHY = 200 };

struct secure {
    /* Set by the caller: PEM files. */
    const char *cacert;          /* clients: who is trusted; NULL: whom the system trusts */
    const char *certificate;     /* servers: their own */
    const char *key;

    /* Private; zero. */
    struct rota_tls_context *client_, *server_;
    char why_[SECURE_WHY];
};

extern const bool secure_available;

/* Reads what is named above; without any of it, nothing. 0 or a negative errno, and then secure_take_why tells more. */
int secure_open(struct secure *secure);
void secure_close(struct secure *secure);

/* (S) `connect` of an HTTP client's options, with a struct secure: http and https. */
int secure_connect(void *secure, rota_stream *stream, const char *host, const char *port, bool is_https, char *why,
                   size_t n);

/* (S) Over a connection that is there: fd is the stream's on success, else the caller's. */
int secure_handshake(void *secure, rota_stream *stream, int fd, const char *host);

/* (S) rota_http_serve by https. */
int secure_serve(void *secure, const char *host, const char *port, rota_http_handler_fn *handler, void *arg,
                 const rota_http_serve_options *opt);

/* Takes what TLS says about the call, or the HTTP request, that failed just now: text, or NULL when it says nothing.
 * To be called after each failure, before the task suspends, or another one's may get it. */
const char *secure_take_why(void *secure, char text[SECURE_WHY]);

#endif
