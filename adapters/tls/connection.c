/* A connection: the stream's transport on one side of OpenSSL, the descriptor on the other.
 *
 * OpenSSL never learns that a write would wait. A BIO of ours takes every byte: what the descriptor refuses is kept
 * and goes out by `flush`. So a write that OpenSSL has begun is never to be repeated with the very same bytes, which a
 * stream could not promise (the caller may be cancelled and never come back with them); and a read that has to answer
 * something (a key update, a renegotiation) does not wait for a slow peer. What is kept stays small, because nothing
 * is encrypted while something is kept; what reading may add to it is bounded by KEPT_MAX.
 *
 * Nor does it learn that a write failed: that comes back from flush, and reading goes on, because what explains the
 * failure (the peer's alert) may be waiting to be read.
 *
 * Invariant: OpenSSL's queue of errors is empty before and after each call of this file. It must not know tasks, but
 * for the handshake, which waits by rota_poll.
 */
#include <openssl/err.h>
#include <string.h>

#include "adapters/tls/tls.h"

enum { RECORD_MAX = 16 * 1024, KEPT_MAX = 64 * 1024 };

/* ---- the descriptor's side: a BIO ---- */

static int keep(struct tls *t, const char *bytes, size_t n) {
    if (t->kept_first + t->kept_n + n > t->kept_size) {
        unsigned char *larger = OPENSSL_malloc(t->kept_n + n);
        if (!larger)
            return -ENOMEM;
        if (t->kept_n)
            memcpy(larger, t->kept + t->kept_first, t->kept_n);
        OPENSSL_free(t->kept);
        t->kept = larger;
        t->kept_first = 0;
        t->kept_size = t->kept_n + n;
    }
    memcpy(t->kept + t->kept_first + t->kept_n, bytes, n);
    t->kept_n += n;
    return 0;
}

static void keep_nothing(struct tls *t) {
    OPENSSL_free(t->kept);
    t->kept = NULL;
    t->kept_first = t->kept_n = t->kept_size = 0;
}

static int flush(struct tls *t) {
    while (t->kept_n && !t->out_error) {
        ssize_t r = rota_try_write(t->fd, t->kept + t->kept_first, t->kept_n);
        if (r == -EAGAIN)
            return -EAGAIN;
        if (r <= 0) {
            t->out_error = r < 0 ? (int)r : -EIO;
            break;
        }
        t->kept_first += (size_t)r;
        t->kept_n -= (size_t)r;
    }
    if (t->kept)
        keep_nothing(t);
    return t->out_error;
}

static int wire_write(BIO *bio, const char *bytes, size_t n, size_t *written) {
    struct tls *t = BIO_get_data(bio);
    size_t sum = 0;
    BIO_clear_retry_flags(bio);
    while (sum < n && !t->kept_n && !t->out_error) {
        ssize_t r = rota_try_write(t->fd, bytes + sum, n - sum);
        if (r == -EAGAIN)
            break;
        if (r > 0)
            sum += (size_t)r;
        else
            t->out_error = r < 0 ? (int)r : -EIO;
    }
    if (sum < n && !t->out_error)
        t->out_error = keep(t, bytes + sum, n - sum);
    *written = n;
    return 1;
}

static int wire_read(BIO *bio, char *buf, size_t n, size_t *got) {
    struct tls *t = BIO_get_data(bio);
    ssize_t r = t->eof ? 0 : rota_try_read(t->fd, buf, n);
    BIO_clear_retry_flags(bio);
    *got = r > 0 ? (size_t)r : 0;
    if (r == -EAGAIN)
        BIO_set_retry_read(bio);
    else if (r < 0)
        t->error = (int)r;
    else if (r == 0)
        t->eof = true;
    return r > 0;
}

static long wire_ctrl(BIO *bio, int what, long number, void *pointer) {
    const struct tls *t = BIO_get_data(bio);
    (void)number;
    (void)pointer;
    return what == BIO_CTRL_FLUSH ? 1 : what == BIO_CTRL_EOF ? t->eof : 0;
}

/* Made once in a process, for all threads; never freed, as OpenSSL's own are. */
static BIO_METHOD *wire_method(void) {
    static _Atomic(BIO_METHOD *) the_method;
    BIO_METHOD *method = atomic_load(&the_method), *none = NULL;
    if (method)
        return method;
    method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "rota");
    if (!method || !BIO_meth_set_write_ex(method, wire_write) || !BIO_meth_set_read_ex(method, wire_read) ||
        !BIO_meth_set_ctrl(method, wire_ctrl)) {
        BIO_meth_free(method);
        return NULL;
    }
    if (atomic_compare_exchange_strong(&the_method, &none, method))
        return method;
    BIO_meth_free(method); /* another thread was faster */
    return none;
}

/* ---- open and free ---- */

void rota__tls_free(struct tls *t) {
    if (!t)
        return;
    ERR_clear_error();
    SSL_free(t->ssl);
    ERR_clear_error();
    keep_nothing(t);
    rota_tls_context_free(t->ctx);
    OPENSSL_free(t);
}

int rota__tls_open(struct tls **out, int fd, rota_tls_context *ctx) {
    ERR_clear_error();
    BIO_METHOD *method = wire_method();
    struct tls *t = OPENSSL_zalloc(sizeof *t);
    BIO *bio = method && t ? BIO_new(method) : NULL;
    if (bio)
        t->ssl = SSL_new(ctx->ssl);
    if (!bio || !t->ssl) {
        BIO_free(bio);
        OPENSSL_free(t);
        ERR_clear_error();
        return -ENOMEM;
    }
    t->fd = fd;
    t->ctx = rota_tls_context_ref(ctx);
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    *out = t;
    return 0;
}

/* ---- the stream's side ---- */

/* After a call of OpenSSL's that returned rc without success: -EAGAIN with *wants, 0 at the end of the data, or what
 * ended it, from now on. */
static int outcome(struct tls *t, int rc, unsigned *wants) {
    int what = SSL_get_error(t->ssl, rc);
    if (t->error) { /* the descriptor's own */
        ERR_clear_error();
        rota__tls_say(t->reason, sizeof t->reason, "", rota_strerror(t->error));
    } else if (what == SSL_ERROR_WANT_READ) {
        *wants = ROTA_READ;
        return -EAGAIN;
    } else if (what == SSL_ERROR_ZERO_RETURN) {
        return 0;
    } else {
        t->error = rota__tls_explain(SSL_get_verify_result(t->ssl), t->reason, sizeof t->reason);
    }
    return t->error;
}

static ssize_t tls_receive(void *ctx, void *buf, size_t n, unsigned *wants) {
    struct tls *t = ctx;
    size_t got = 0;
    if (t->error)
        return t->error;
    if (t->kept_n > KEPT_MAX) { /* a peer that makes us answer, and does not read the answers */
        *wants = ROTA_WRITE;
        return -EAGAIN;
    }
    ERR_clear_error();
    int rc = SSL_read_ex(t->ssl, buf, n, &got);
    return rc == 1 ? (ssize_t)got : outcome(t, rc, wants);
}

static bool is_renegotiating(const struct tls *t) {
    return !SSL_is_init_finished(t->ssl) || SSL_renegotiate_pending(t->ssl);
}

/* While a new handshake is under way (TLS 1.2) only reading may drive it: OpenSSL takes data that the peer sent before
 * for an error in the middle of a write. 0 when it is over. */
static int renegotiate(struct tls *t, unsigned *wants) {
    char byte;
    size_t got;
    if (!is_renegotiating(t))
        return 0;
    int rc = SSL_peek_ex(t->ssl, &byte, 1, &got);
    if (!is_renegotiating(t)) {
        ERR_clear_error();
        return 0;
    }
    rc = rc == 1 ? -EAGAIN : outcome(t, rc, wants); /* data: its reader must take it first */
    if (rc == 0) {
        rota__tls_say(t->reason, sizeof t->reason, "", "the peer ended in the middle of a new handshake");
        return -EPIPE;
    }
    *wants = ROTA_READ;
    return rc;
}

static int may_send(struct tls *t, unsigned *wants) {
    if (t->error || t->ended)
        return t->error ? t->error : -EPIPE;
    ERR_clear_error();
    return renegotiate(t, wants);
}

static ssize_t tls_send(void *ctx, const struct iovec *iov, int n, unsigned *wants) {
    struct tls *t = ctx;
    ssize_t sum = 0;
    int rc = may_send(t, wants);
    for (int i = 0; i < n && rc == 0; i++) {
        for (size_t at = 0; at < iov[i].iov_len && !t->kept_n && !t->out_error && rc == 0;) {
            size_t piece = iov[i].iov_len - at < RECORD_MAX ? iov[i].iov_len - at : RECORD_MAX, taken = 0;
            rc = SSL_write_ex(t->ssl, (const char *)iov[i].iov_base + at, piece, &taken);
            rc = rc == 1 ? 0 : outcome(t, rc, wants);
            at += taken;
            sum += (ssize_t)taken;
        }
    }
    return sum ? sum : t->out_error ? t->out_error : rc;
}

static int tls_flush(void *ctx, unsigned *wants) {
    struct tls *t = ctx;
    int rc = flush(t);
    if (rc == -EAGAIN)
        *wants = ROTA_WRITE;
    return rc;
}

static int tls_shutdown(void *ctx, unsigned *wants) {
    struct tls *t = ctx;
    if (t->ended)
        return 0;
    int rc = may_send(t, wants);
    if (rc < 0)
        return rc;
    rc = SSL_shutdown(t->ssl); /* sends, and does not read unless it is called again */
    if (rc < 0)
        return outcome(t, rc, wants);
    t->ended = true;
    return 0;
}

static void tls_close(void *ctx, bool complete) {
    struct tls *t = ctx;
    unsigned ignored;
    if (complete && !t->error && SSL_is_init_finished(t->ssl))
        (void)tls_shutdown(t, &ignored);
    rota__tls_free(t);
}

const rota_stream_transport rota__tls_transport = {
    .receive = tls_receive, .send = tls_send, .flush = tls_flush, .shutdown = tls_shutdown, .close = tls_close,
};

/* ---- the handshake ---- */

int rota__tls_handshake(struct tls *t) {
    for (;;) {
        unsigned wants = 0;
        ERR_clear_error();
        int rc = SSL_do_handshake(t->ssl);
        if (rc == 1)
            return 0; /* what is kept goes out with the stream */
        rc = outcome(t, rc, &wants);
        int out = flush(t); /* when it failed: the alert that says why */
        if (rc == 0) {
            rota__tls_say(t->reason, sizeof t->reason, "", "the peer ended the connection during the handshake");
            rc = -ECONNRESET;
        } else if (rc == -EAGAIN && out < 0 && out != -EAGAIN) {
            rota__tls_say(t->reason, sizeof t->reason, "", rota_strerror(out));
            rc = out;
        }
        if (rc == -EAGAIN)
            rc = rota_poll(t->fd, wants | (out == -EAGAIN ? ROTA_WRITE : 0));
        if (rc < 0)
            return rc;
    }
}
