/* TLS for the examples, by the TLS adapter. See secure.h.
 *
 * Whom the system trusts is read when the first https page is asked for: a crawl of http:// pages does without.
 */
#include "examples/secure.h"

#include <stdio.h>
#include <string.h>

#include "rota/tls.h"

const bool secure_available = true;

static int make_client(struct secure *s) {
    rota_tls_context_options opt = { .ca = s->cacert, .error = s->why_, .error_size = sizeof s->why_ };
    return s->client_ != NULL ? 0 : rota_tls_context_new(&s->client_, &opt);
}

static int make_server(struct secure *s) {
    rota_tls_context_options opt = { .server = true, .certificate = s->certificate, .key = s->key,
                                     .error = s->why_, .error_size = sizeof s->why_ };
    return rota_tls_context_new(&s->server_, &opt);
}

int secure_open(struct secure *s) {
    s->why_[0] = '\0';
    int rc = s->cacert != NULL ? make_client(s) : 0;
    return rc == 0 && (s->certificate != NULL || s->key != NULL) ? make_server(s) : rc;
}

void secure_close(struct secure *s) {
    rota_tls_context_free(s->client_);
    rota_tls_context_free(s->server_);
    s->client_ = s->server_ = NULL;
}

int secure_connect(void *secure, rota_stream *stream, const char *host, const char *port, bool is_https, char *why,
                   size_t n) {
    struct secure *s = secure;
    s->why_[0] = '\0';
    int rc = is_https ? make_client(s) : 0;
    if (rc < 0)
        return rc;
    rota_tls_http http = { .context = s->client_ };
    rc = rota_tls_http_connect(&http, stream, host, port, is_https, why, n);
    if (rc < 0 && n > 0)
        snprintf(s->why_, sizeof s->why_, "%s", why);
    return rc;
}

int secure_handshake(void *secure, rota_stream *stream, int fd, const char *host) {
    struct secure *s = secure;
    s->why_[0] = '\0';
    int rc = make_client(s);
    rota_tls_options opt = { .error = s->why_, .error_size = sizeof s->why_ };
    return rc < 0 ? rc : rota_tls_connect(stream, fd, host, s->client_, &opt);
}

int secure_serve(void *secure, const char *host, const char *port, rota_http_handler_fn *handler, void *arg,
                 const rota_http_serve_options *opt) {
    const struct secure *s = secure;
    rota_tls_http_server tls = { .context = s->server_ };
    rota_http_serve_options secure_opt = *opt;
    secure_opt.accept = rota_tls_http_accept;
    secure_opt.accept_ctx = &tls;
    return rota_http_serve(host, port, handler, arg, &secure_opt);
}

const char *secure_take_why(void *secure, char text[SECURE_WHY]) {
    struct secure *s = secure;
    memcpy(text, s->why_, SECURE_WHY);
    s->why_[0] = '\0';
    return text[0] != '\0' ? text : NULL;
}
