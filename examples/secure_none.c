/* TLS for the examples where the TLS adapter is not built: it refuses, and says so. See secure.h. */
#include "examples/secure.h"

#include <stdio.h>
#include <string.h>

const bool secure_available = false;

static int refuse(struct secure *secure) {
    static const char text[] = "https:// needs TLS, which this program was built without";
    memcpy(secure->why_, text, sizeof text);
    return -EPROTONOSUPPORT;
}

int secure_open(struct secure *secure) {
    secure->why_[0] = '\0';
    return secure->cacert != NULL || secure->certificate != NULL || secure->key != NULL ? refuse(secure) : 0;
}

void secure_close(struct secure *secure) { (void)secure; }

int secure_connect(void *secure, rota_stream *stream, const char *host, const char *port, bool is_https, char *why,
                   size_t n) {
    struct secure *s = secure;
    s->why_[0] = '\0';
    if (is_https) {
        int rc = refuse(s);
        snprintf(why, n, "%s", s->why_);
        return rc;
    }
    int fd = rota_dial(host, port, NULL);
    if (fd < 0)
        return fd;
    int rc = rota_stream_open(stream, fd, NULL);
    if (rc < 0)
        rota_close(fd);
    return rc;
}

int secure_handshake(void *secure, rota_stream *stream, int fd, const char *host) {
    (void)stream, (void)fd, (void)host;
    return refuse(secure);
}

int secure_serve(void *secure, const char *host, const char *port, rota_http_handler_fn *handler, void *arg,
                 const rota_http_serve_options *opt) {
    (void)host, (void)port, (void)handler, (void)arg, (void)opt;
    return refuse(secure);
}

const char *secure_take_why(void *secure, char text[SECURE_WHY]) {
    struct secure *s = secure;
    memcpy(text, s->why_, SECURE_WHY);
    s->why_[0] = '\0';
    return text[0] != '\0' ? text : NULL;
}
