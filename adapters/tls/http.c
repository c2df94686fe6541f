/* What gives an HTTP client TLS: rota_tls_http_connect. It has the type of the client's hook and needs nothing else of
 * HTTP, so that neither library is linked to the other.
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

int rota_tls_http_connect(void *http, rota_stream *stream, const char *host, const char *port, bool secure) {
    rota_tls_http *h = http;
    if (h)
        h->error[0] = '\0';
    if (!secure)
        return connect_plain(stream, host, port, h ? &h->dial : NULL);
    rota_tls_options opt = {0};
    if (h) {
        opt.dial = h->dial;
        opt.error = h->error;
        opt.error_size = sizeof h->error;
    }
    return rota_tls_dial(stream, host, port, h ? h->context : NULL, &opt);
}
