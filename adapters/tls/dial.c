/* Streams over connections: dial, connect, accept, serve, and what was agreed on.
 *
 * Invariant: until the stream is open the connection belongs to the call, which frees it on every way out.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "adapters/tls/tls.h"

#define HANDSHAKE_DEFAULT (10 * ROTA_S)

enum { NAME_MAX_LENGTH = 253 };

static const rota_tls_options no_options;

/* ---- names ---- */

/* As certificates have them: without the dot that ends a full name, or the zone of an address. */
static int plain_name(const char *host, char name[NAME_MAX_LENGTH + 1]) {
    size_t n = strlen(host);
    const char *zone = strchr(host, ':') ? strchr(host, '%') : NULL;
    if (zone)
        n = (size_t)(zone - host);
    else if (n && host[n - 1] == '.')
        n--;
    if (n == 0 || n > NAME_MAX_LENGTH)
        return -EINVAL;
    memcpy(name, host, n);
    name[n] = '\0';
    return 0;
}

static bool is_address(const char *name) {
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
    ASN1_OCTET_STRING_free(address);
    ERR_clear_error();
    return address != NULL;
}

/* SNI takes names alone, no addresses (RFC 6066, 3). */
static int set_name(struct tls *t, const char *host) {
    char name[NAME_MAX_LENGTH + 1];
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
    bool check = t->ctx->verifies && !t->ctx->any_name;
    if (!host)
        return check ? -EINVAL : 0;
    int rc = plain_name(host, name);
    if (rc < 0)
        return rc;
    bool ok, address = is_address(name);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (address)
        ok = !check || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    else
        ok = SSL_set_tlsext_host_name(t->ssl, name) == 1 &&
             (!check || X509_VERIFY_PARAM_set1_host(param, name, 0) == 1);
    ERR_clear_error();
    return ok ? 0 : -ENOMEM;
}

/* ---- streams ---- */

/* Refuses like every call that may suspend, before anything is tried: a socket that was just connected is writable. */
static int refused(int fd) {
    int rc = rota_poll(fd, ROTA_WRITE);
    return rc < 0 ? rc : 0;
}

/* ALPN's bytes have no end of their own: they are copied to get one. */
static int open_stream(rota_stream *s, struct tls *t, const rota_tls_options *opt) {
    rota_stream_options stream = opt->stream;
    const unsigned char *alpn;
    unsigned n;
    SSL_get0_alpn_selected(t->ssl, &alpn, &n);
    if (n)
        memcpy(t->alpn, alpn, n < sizeof t->alpn ? n : sizeof t->alpn - 1);
    stream.transport = &rota__tls_transport;
    stream.transport_ctx = t;
    return rota_stream_open(s, t->fd, &stream);
}

/* `host` is not looked at by servers. */
static int begin(rota_stream *s, int fd, const char *host, rota_tls_context *ctx, const rota_tls_options *opt) {
    struct tls *t;
    int rc = rota__tls_open(&t, fd, ctx);
    if (rc < 0)
        return rc;
    if (ctx->server)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    rc = ctx->server ? 0 : set_name(t, opt->name ? opt->name : host);
    if (rc == 0)
        rc = rota__tls_handshake(t);
    if (rc == 0)
        rc = open_stream(s, t, opt);
    if (rc < 0) {
        rota__tls_say(opt->error, opt->error_size, "", t->reason[0] ? t->reason : rota_strerror(rc));
        rota__tls_free(t);
    }
    return rc;
}

static int prepare(rota_stream *s, const rota_tls_options *opt) {
    if (opt->error && opt->error_size)
        opt->error[0] = '\0';
    if (!s)
        return -EINVAL;
    memset(s, 0, sizeof *s); /* closed, whatever happens */
    s->fd = -1;
    return 0;
}

int rota_tls_connect(rota_stream *s, int fd, const char *host, rota_tls_context *ctx, const rota_tls_options *opt) {
    opt = opt ? opt : &no_options;
    int rc = refused(fd);
    if (rc == 0)
        rc = prepare(s, opt);
    if (rc == 0 && (!ctx || ctx->server))
        rc = -EINVAL;
    return rc < 0 ? rc : begin(s, fd, host, ctx, opt);
}

int rota_tls_accept(rota_stream *s, int fd, rota_tls_context *ctx, const rota_tls_options *opt) {
    opt = opt ? opt : &no_options;
    int rc = refused(fd);
    if (rc == 0)
        rc = prepare(s, opt);
    if (rc == 0 && (!ctx || !ctx->server))
        rc = -EINVAL;
    return rc < 0 ? rc : begin(s, fd, NULL, ctx, opt);
}

int rota_tls_dial(rota_stream *s, const char *host, const char *service, rota_tls_context *ctx,
                  const rota_tls_options *opt) {
    opt = opt ? opt : &no_options;
    rota_tls_context *own = NULL;
    int rc = prepare(s, opt);
    int fd = rc < 0 || (ctx && ctx->server) ? -EINVAL : rota_dial(host, service, &opt->dial);
    if (fd < 0)
        return fd;
    if (!ctx) {
        rota_tls_context_options defaults = {.error = opt->error, .error_size = opt->error_size};
        rc = rota_tls_context_new(&own, &defaults);
    }
    if (rc == 0)
        rc = begin(s, fd, host, ctx ? ctx : own, opt);
    if (rc < 0)
        (void)rota_close(fd);
    rota_tls_context_free(own);
    return rc;
}

/* ---- servers ---- */

struct server {
    rota_tls_context *ctx;
    rota_tls_client_fn *client;
    void *arg;
    const rota_tls_serve_options *opt;
};

static void listening(int fd, void *arg) {
    const struct server *server = arg;
    server->opt->serve.listening(fd, server->arg);
}

/* As rota_dial does. Else the first answer would wait for the client's acknowledgement of the session tickets, which
 * come right before it: by Nagle's algorithm, and the delay of acknowledgements, for 40 ms. */
static void send_at_once(int fd) {
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static intptr_t serve_client(int fd, void *arg) {
    const struct server *server = arg;
    send_at_once(fd);
    char reason[TLS_REASON];
    rota_stream s;
    rota_tls_options opt = {.stream = server->opt->stream, .error = reason, .error_size = sizeof reason};
    rota_scope scope;
    rota_timeout_begin(&scope, server->opt->handshake ? server->opt->handshake : HANDSHAKE_DEFAULT);
    intptr_t rc = rota_tls_accept(&s, fd, server->ctx, &opt);
    rc = rota_scope_end(&scope, rc);
    if (rc == -ECANCELED)
        return rc;
    if (rc < 0) {
        if (server->opt->refused)
            server->opt->refused((int)rc, reason[0] ? reason : rota_strerror(rc), server->arg);
        return 0;
    }
    rc = server->client(&s, server->arg);
    (void)rota_stream_close(&s);
    return rc;
}

int rota_tls_serve(const char *host, const char *service, rota_tls_context *ctx, rota_tls_client_fn *client, void *arg,
                   const rota_tls_serve_options *opt) {
    static const rota_tls_serve_options defaults;
    opt = opt ? opt : &defaults;
    bool valid = ctx && ctx->server && client && opt->handshake >= 0 && !opt->stream.buffer;
    struct server server = {ctx, client, arg, opt};
    rota_serve_options serve = opt->serve;
    serve.listening = serve.listening ? listening : NULL;
    return rota_serve(host, service, valid ? serve_client : NULL, &server, &serve);
}

/* ---- what was agreed on ---- */

static struct tls *tls_of(const rota_stream *s) { return rota_stream_transport_ctx(s, &rota__tls_transport); }

const char *rota_tls_alpn(const rota_stream *s) {
    const struct tls *t = tls_of(s);
    return t && t->alpn[0] ? t->alpn : NULL;
}

const char *rota_tls_version(const rota_stream *s) {
    const struct tls *t = tls_of(s);
    return t ? SSL_get_version(t->ssl) : NULL;
}

const char *rota_tls_name(const rota_stream *s) {
    const struct tls *t = tls_of(s);
    return t ? SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name) : NULL;
}

size_t rota_tls_error(const rota_stream *s, char *buf, size_t n) {
    const struct tls *t = tls_of(s);
    const char *text = !t ? "" : t->reason[0] ? t->reason : t->out_error ? rota_strerror(t->out_error) : "";
    rota__tls_say(buf, n, "", text);
    return strlen(text);
}

struct ssl_st *rota_tls_native(const rota_stream *s) {
    const struct tls *t = tls_of(s);
    return t ? t->ssl : NULL;
}
