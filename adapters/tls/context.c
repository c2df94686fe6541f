/* Contexts: what connections have in common, made of files or of text.
 *
 * Invariant: after rota_tls_context_new a context does not change, so that threads may share it.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "adapters/tls/tls.h"

/* ---- PEM ---- */

static BIO *open_pem(const char *file_or_text) {
    return strstr(file_or_text, "-----BEGIN") ? BIO_new_mem_buf(file_or_text, -1) : BIO_new_file(file_or_text, "r");
}

/* Nobody is asked on the terminal. */
static int password(char *buf, int size, int writing, void *given) {
    size_t n = given ? strlen(given) : 0;
    (void)writing;
    if (!n || n > (size_t)size)
        return -1;
    memcpy(buf, given, n);
    return (int)n;
}

/* The next certificate; NULL at the end, which OpenSSL tells by an error. */
static X509 *next_certificate(BIO *pem) {
    X509 *x509 = PEM_read_bio_X509_AUX(pem, NULL, password, NULL);
    unsigned long code = ERR_peek_last_error();
    if (!x509 && ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE)
        ERR_clear_error();
    return x509;
}

/* All of a PEM, each handed to `use`, which takes it over on success: how many, or -1 with OpenSSL's errors. */
static int each_certificate(SSL_CTX *ssl, const char *file_or_text, bool (*use)(SSL_CTX *ssl, X509 *x509, int number)) {
    BIO *pem = open_pem(file_or_text);
    X509 *x509;
    int n = 0;
    bool used = true;
    while (pem && used && (x509 = next_certificate(pem))) {
        used = use(ssl, x509, n++);
        if (!used)
            X509_free(x509);
    }
    BIO_free(pem);
    return !pem || !used || ERR_peek_error() ? -1 : n;
}

static bool use_own(SSL_CTX *ssl, X509 *x509, int number) {
    if (number > 0)
        return SSL_CTX_add0_chain_cert(ssl, x509) == 1;
    if (SSL_CTX_use_certificate(ssl, x509) != 1)
        return false;
    X509_free(x509); /* it took a reference of its own */
    return true;
}

static bool use_ca(SSL_CTX *ssl, X509 *x509, int number) {
    (void)number;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), x509) != 1 || SSL_CTX_add_client_CA(ssl, x509) != 1)
        return false;
    X509_free(x509);
    return true;
}

/* ---- the parts of a context ---- */

/* What is being read, to be named when it cannot be: NULL, nothing. */
struct reading {
    const char *what, *file_or_text;
};

/* 1, 0 with OpenSSL's errors, or a negative errno. */

static int load_own(SSL_CTX *ssl, const rota_tls_context_options *opt, struct reading *now) {
    if (!opt->certificate)
        return opt->server || opt->key ? -EINVAL : 1;
    *now = (struct reading){"certificate", opt->certificate};
    int n = each_certificate(ssl, opt->certificate, use_own);
    if (n <= 0)
        return n < 0 ? 0 : -EINVAL;
    *now = (struct reading){"key", opt->key ? opt->key : opt->certificate};
    BIO *pem = open_pem(now->file_or_text);
    EVP_PKEY *key = pem ? PEM_read_bio_PrivateKey(pem, NULL, password, (void *)(uintptr_t)opt->key_password) : NULL;
    int ok = key && SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    BIO_free(pem);
    return ok;
}

static int load_ca(SSL_CTX *ssl, const rota_tls_context_options *opt, struct reading *now) {
    *now = (struct reading){"ca", opt->ca};
    int n = opt->ca ? each_certificate(ssl, opt->ca, use_ca) : 1;
    if (n <= 0)
        return n < 0 ? 0 : -EINVAL;
    *now = (struct reading){"ca_path", opt->ca_path};
    if (opt->ca_path)
        return SSL_CTX_load_verify_dir(ssl, opt->ca_path);
    if (!opt->ca && !opt->server && !opt->insecure_skip_verify)
        return SSL_CTX_set_default_verify_paths(ssl);
    return 1;
}

static int set_verification(SSL_CTX *ssl, const rota_tls_context_options *opt) {
    int mode = SSL_VERIFY_NONE;
    if (!opt->server)
        mode = opt->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    else if (opt->client_certificate < 0 || opt->client_certificate > ROTA_TLS_NEED_CLIENT_CERTIFICATE)
        return -EINVAL;
    else if (opt->client_certificate != ROTA_TLS_NO_CLIENT_CERTIFICATE)
        mode = SSL_VERIFY_PEER | (opt->client_certificate == ROTA_TLS_NEED_CLIENT_CERTIFICATE
                                      ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    if (opt->server && mode != SSL_VERIFY_NONE && !opt->ca && !opt->ca_path)
        return -EINVAL;
    SSL_CTX_set_verify(ssl, mode, NULL);
    return 1;
}

static int set_versions(SSL_CTX *ssl, const rota_tls_context_options *opt) {
    int min = opt->min_version ? opt->min_version : ROTA_TLS_1_2, max = opt->max_version;
    if (min < ROTA_TLS_1_2 || min > ROTA_TLS_1_3 || (max && (max < min || max > ROTA_TLS_1_3)))
        return -EINVAL;
    if (SSL_CTX_set_min_proto_version(ssl, min) != 1 || SSL_CTX_set_max_proto_version(ssl, max) != 1)
        return -EINVAL;
    if ((opt->ciphers && SSL_CTX_set_cipher_list(ssl, opt->ciphers) != 1) ||
        (opt->ciphersuites && SSL_CTX_set_ciphersuites(ssl, opt->ciphersuites) != 1))
        return -EINVAL;
    return 1;
}

/* Ours is the order that counts: the client's is often only what its library has. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
                       unsigned in_n, void *arg) {
    const rota_tls_context *ctx = arg;
    unsigned char *chosen;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_n, ctx->alpn, ctx->alpn_n, in, in_n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int set_alpn(rota_tls_context *ctx, const char *list) {
    if (!list)
        return 1;
    for (const char *at = list;; at++) {
        size_t n = strcspn(at, ",");
        if (n == 0 || n > 255 || ctx->alpn_n + 1 + n > sizeof ctx->alpn)
            return -EINVAL;
        ctx->alpn[ctx->alpn_n] = (unsigned char)n;
        memcpy(ctx->alpn + ctx->alpn_n + 1, at, n);
        ctx->alpn_n += 1 + (unsigned)n;
        at += n;
        if (!*at)
            break;
    }
    if (ctx->server)
        SSL_CTX_set_alpn_select_cb(ctx->ssl, choose_alpn, ctx);
    else if (SSL_CTX_set_alpn_protos(ctx->ssl, ctx->alpn, ctx->alpn_n) != 0)
        return 0;
    return 1;
}

/* Read-ahead: a record costs one system call instead of two (header, body). Released buffers: an idle connection
 * would hold 34 KiB. No cache of sessions: they resume by tickets, which cost the server no memory. */
static void set_habits(SSL_CTX *ssl, const rota_tls_context_options *opt) {
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    if (opt->renegotiation)
        SSL_CTX_set_options(ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
    else
        SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    if (opt->no_tickets) {
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ssl, 0);
    }
}

static int fill_in(rota_tls_context *ctx, const rota_tls_context_options *opt, struct reading *now) {
    static const unsigned char session_id[] = "rota"; /* resumed sessions with client certificates need one */
    set_habits(ctx->ssl, opt);
    int rc = SSL_CTX_set_session_id_context(ctx->ssl, session_id, sizeof session_id);
    if (rc > 0)
        rc = set_versions(ctx->ssl, opt);
    if (rc > 0)
        rc = set_verification(ctx->ssl, opt);
    if (rc > 0)
        rc = load_own(ctx->ssl, opt, now);
    if (rc > 0)
        rc = load_ca(ctx->ssl, opt, now);
    if (rc <= 0)
        return rc;
    *now = (struct reading){0};
    return set_alpn(ctx, opt->alpn);
}

/* ---- public ---- */

/* OpenSSL's own errors here are about what was given: a file, or what is in it. */
static int explain(int rc, const rota_tls_context_options *opt, const struct reading *now) {
    char reason[TLS_REASON];
    if (rc < 0) {
        ERR_clear_error();
        rota__tls_say(reason, sizeof reason, "", now->file_or_text ? "there is no certificate in it" : rota_strerror(rc));
    } else {
        rc = rota__tls_explain(0, reason, sizeof reason);
        rc = rc == -EPROTO ? -EINVAL : rc;
    }
    if (!opt->error || !opt->error_size)
        return rc;
    bool is_text = now->file_or_text && strstr(now->file_or_text, "-----BEGIN");
    if (now->file_or_text)
        (void)snprintf(opt->error, opt->error_size, "%s %s: %s", now->what,
                       is_text ? "given as text" : now->file_or_text, reason);
    else
        rota__tls_say(opt->error, opt->error_size, "", reason);
    return rc;
}

int rota_tls_context_new(rota_tls_context **out, const rota_tls_context_options *opt) {
    static const rota_tls_context_options defaults;
    opt = opt ? opt : &defaults;
    if (!out)
        return -EINVAL;
    *out = NULL;
    ERR_clear_error();
    struct reading now = {0};
    rota_tls_context *ctx = OPENSSL_zalloc(sizeof *ctx);
    if (!ctx)
        return explain(-ENOMEM, opt, &now);
    ctx->server = opt->server;
    ctx->verifies = !opt->server && !opt->insecure_skip_verify;
    ctx->any_name = opt->insecure_any_name;
    atomic_init(&ctx->references, 1);
    ctx->ssl = SSL_CTX_new(opt->server ? TLS_server_method() : TLS_client_method());
    int rc = ctx->ssl ? fill_in(ctx, opt, &now) : 0;
    if (rc <= 0) {
        rc = explain(rc, opt, &now);
        rota_tls_context_free(ctx);
        return rc;
    }
    ERR_clear_error();
    *out = ctx;
    return 0;
}

rota_tls_context *rota_tls_context_ref(rota_tls_context *ctx) {
    if (ctx)
        atomic_fetch_add_explicit(&ctx->references, 1, memory_order_relaxed);
    return ctx;
}

void rota_tls_context_free(rota_tls_context *ctx) {
    if (!ctx || atomic_fetch_sub_explicit(&ctx->references, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(ctx->ssl);
    OPENSSL_free(ctx);
}

struct ssl_ctx_st *rota_tls_context_native(rota_tls_context *ctx) { return ctx ? ctx->ssl : NULL; }
