/* What the tests of TLS have in common: contexts, and pairs of streams over a socket pair or over TCP. Include it once
 * in a program's file. */
#ifndef ROTA_ADAPTERS_TLS_KIT_H
#define ROTA_ADAPTERS_TLS_KIT_H

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "adapters/tls/certificates.h"
#include "rota/combine.h"
#include "rota/sync.h"
#include "rota/tls.h"
#include "tests/net_kit.h"

KIT char reason[200];

/* A context, or a failed test and NULL. */
KIT rota_tls_context *context(const rota_tls_context_options *wanted) {
    rota_tls_context_options opt = *wanted;
    rota_tls_context *ctx = NULL;
    opt.error = reason;
    opt.error_size = sizeof reason;
    int rc = rota_tls_context_new(&ctx, &opt);
    cr_expect_eq(rc, 0, "a context cannot be made: %d, %s", rc, reason);
    return ctx;
}

/* The two of a test; NULL: the usual one. */
KIT rota_tls_context *client_ctx, *server_ctx;

KIT void contexts(const rota_tls_context_options *of_client, const rota_tls_context_options *of_server) {
    make_certificates();
    rota_tls_context_options c = of_client ? *of_client : (rota_tls_context_options){0};
    rota_tls_context_options s = of_server ? *of_server : (rota_tls_context_options){0};
    if (!c.ca)
        c.ca = root.pem;
    s.server = true;
    if (!s.certificate) {
        s.certificate = server.pem;
        s.key = server.key_pem;
    }
    client_ctx = context(&c);
    server_ctx = context(&s);
}

KIT void free_contexts(void) {
    rota_tls_context_free(client_ctx);
    rota_tls_context_free(server_ctx);
    client_ctx = server_ctx = NULL;
}

/* One side of a pair that shakes hands. */
struct side {
    rota_stream *s;
    int fd;
    const char *name;
    rota_stream_options stream;
    int rc;
    char reason[200];
};

KIT intptr_t do_accept(void *arg) {
    struct side *side = arg;
    rota_tls_options opt = {.stream = side->stream, .error = side->reason, .error_size = sizeof side->reason};
    side->rc = rota_tls_accept(side->s, side->fd, server_ctx, &opt);
    if (side->rc < 0)
        rota_close(side->fd);
    return 0;
}

KIT intptr_t do_connect(void *arg) {
    struct side *side = arg;
    rota_tls_options opt = {.stream = side->stream, .error = side->reason, .error_size = sizeof side->reason};
    side->rc = rota_tls_connect(side->s, side->fd, side->name, client_ctx, &opt);
    if (side->rc < 0)
        rota_close(side->fd);
    return 0;
}

/* Client and server, as far as they got. */
struct pair {
    rota_stream c, s;
    struct side client, server;
};

KIT void shake(struct pair *p, int fds[2], const char *name) {
    p->client.s = &p->c;
    p->server.s = &p->s;
    p->client.fd = fds[0];
    p->server.fd = fds[1];
    p->client.name = name;
    rota_call calls[2] = {{.fn = do_connect, .arg = &p->client}, {.fn = do_accept, .arg = &p->server}};
    cr_expect_eq(rota_gather(calls, 2, NULL), 0);
}

KIT void tcp_nonblocking_pair(int fds[2]) {
    tcp_pair(fds);
    nonblocking(fds[0]);
    nonblocking(fds[1]);
}

/* Both are open after it. */
KIT void open_pair(struct pair *p) {
    int fds[2];
    tcp_nonblocking_pair(fds);
    shake(p, fds, "localhost");
    cr_expect_eq(p->client.rc, 0, "client: %s", p->client.reason);
    cr_expect_eq(p->server.rc, 0, "server: %s", p->server.reason);
}

KIT void close_pair(struct pair *p) {
    rota_stream_close(&p->c);
    rota_stream_close(&p->s);
    free_contexts();
}

#endif
