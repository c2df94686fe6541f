/* What gives HTTP TLS: rota_tls_http_connect for clients, rota_tls_http_accept for servers. They have the types of the
 * hooks there and need nothing else of HTTP, so that neither library is linked to the other.
 */
#include "adapters/tls/tls.h"

static int connect_plain(rota_stream *stream, const char *host, const char *port, const rota_dial_options *dial) {
    int fd = rota_dial(host, port, dial);
    if (fd < 0)
        return fd;
    int rc = rota_stream_open(stream, fd, NULL);
    if (rc < 0)
        (void)rota_close(fd);
    return rc;
}

int rota_tls_http_connect(void *http, rota_stream *stream, const char *host, const char *port, bool secure, char *why,
                          size_t n) {
    const rota_tls_http *h = http;
    if (!secure)
        return connect_plain(stream, host, port, h ? &h->dial : NULL);
    rota_tls_options opt = {.error = why, .error_size = n};
    if (h)
        opt.dial = h->dial;
    return rota_tls_dial(stream, host, port, h ? h->context : NULL, &opt);
}

int rota_tls_http_accept(void *server, rota_stream *stream, int fd) {
    const rota_tls_http_server *s = server;
    char reason[TLS_REASON] = "";
    if (!s || s->stream.buffer)
        return -EINVAL;
    rota_tls_options opt = {.stream = s->stream, .error = reason, .error_size = sizeof reason};
    int rc = rota_tls_accept(stream, fd, s->context, &opt);
    if (rc < 0 && rc != -ECANCELED && s->refused)
        s->refused(rc, reason[0] ? reason : rota_strerror(rc), s->arg);
    return rc;
}
