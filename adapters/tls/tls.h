/* What the files of this adapter share. */
#ifndef ROTA_ADAPTERS_TLS_H
#define ROTA_ADAPTERS_TLS_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "rota/tls.h"

struct rota_tls_context {
    SSL_CTX *ssl;
    atomic_uint references;
    bool server, verifies, any_name;
    unsigned alpn_n;
    unsigned char alpn[256];     /* as on the wire: each with its length before it */
};

enum { TLS_REASON = 160 };

/* One connection: between a stream and OpenSSL on one side, OpenSSL and the descriptor on the other. */
struct tls {
    SSL *ssl;
    rota_tls_context *ctx;
    int fd;
    bool eof;                    /* the descriptor has said so */
    bool ended;                  /* close_notify has been sent */
    int error;                   /* what ended reading, else 0 */
    int out_error;               /* what the descriptor said to a write, else 0 */
    unsigned char *kept;         /* ciphertext that it did not take yet: [first, first + n) of size */
    size_t kept_first, kept_n, kept_size;
    char reason[TLS_REASON];
    char alpn[256];              /* what was agreed on, as a string */
};

extern const rota_stream_transport rota__tls_transport;

/* -ENOMEM. fd stays the caller's until the stream is closed. */
int rota__tls_open(struct tls **t, int fd, rota_tls_context *ctx);
void rota__tls_free(struct tls *t);

/* (S) Until both sides have what they need. An error is also in t->reason. */
int rota__tls_handshake(struct tls *t);

/* Empties OpenSSL's queue of errors: what the first one means as an errno, and in words. verify: X509_V_*. */
int rota__tls_explain(long verify, char *reason, size_t n);

/* Copies as much of text as fits. */
void rota__tls_say(char *buf, size_t n, const char *before, const char *text);

#endif
