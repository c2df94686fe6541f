/* An echo over TLS: a server that sends every line back, and a client that says one.
 *
 *     example_tls_echo serve CERTIFICATE.pem KEY.pem PORT
 *     example_tls_echo ask CA.pem HOST PORT WORDS
 *
 * A certificate to try it with:
 *
 *     openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost \
 *         -keyout key.pem -out cert.pem
 */
#include <stdio.h>
#include <string.h>

#include "rota.h"
#include "rota/tls.h"

struct arguments {
    char **v;
    int n;
};

/* ---- the server ---- */

static void say_port(int fd, void *arg) {
    (void)fd;
    (void)arg;
    printf("listening\n");
    fflush(stdout);
}

static void say_refused(int error, const char *reason, void *arg) {
    (void)arg;
    fprintf(stderr, "a client was refused: %s (%s)\n", reason, rota_strerror(error));
}

static intptr_t echo(rota_stream *stream, void *arg) {
    const char *line;
    ssize_t n;
    (void)arg;
    while ((n = rota_stream_line(stream, 0, &line)) > 0) {
        int rc = rota_stream_write(stream, line, (size_t)n - 1);
        if (rc == 0)
            rc = rota_stream_write(stream, "\n", 1);
        if (rc < 0)
            return rc;
    }
    return n < 0 ? n : rota_stream_shutdown(stream);
}

static intptr_t serve(void *arg) {
    char **v = ((struct arguments *)arg)->v, reason[160];
    rota_tls_context_options opt = {
        .server = true, .certificate = v[2], .key = v[3], .error = reason, .error_size = sizeof reason};
    rota_tls_context *ctx;
    intptr_t rc = rota_tls_context_new(&ctx, &opt);
    if (rc < 0) {
        fprintf(stderr, "%s\n", reason);
        return rc;
    }
    rota_tls_serve_options serving = {.serve = {.listening = say_port}, .refused = say_refused};
    rc = rota_tls_serve("localhost", v[4], ctx, echo, NULL, &serving);
    rota_tls_context_free(ctx);
    return rc;
}

/* ---- the client ---- */

static int say(rota_stream *stream, const char *words) {
    const char *line;
    int rc = rota_stream_write(stream, words, strlen(words));
    if (rc == 0)
        rc = rota_stream_write(stream, "\n", 1);
    if (rc == 0)
        rc = rota_stream_shutdown(stream);
    ssize_t n = rc < 0 ? rc : rota_stream_line(stream, 0, &line);
    if (n > 0)
        printf("%s: %s\n", rota_tls_version(stream), line);
    return n < 0 ? (int)n : 0;
}

static intptr_t ask(void *arg) {
    char **v = ((struct arguments *)arg)->v, reason[160];
    rota_tls_context_options opt = {.ca = v[2], .error = reason, .error_size = sizeof reason};
    rota_tls_options dial = {.error = reason, .error_size = sizeof reason};
    rota_tls_context *ctx;
    rota_stream stream;
    intptr_t rc = rota_tls_context_new(&ctx, &opt);
    if (rc == 0)
        rc = rota_tls_dial(&stream, v[3], v[4], ctx, &dial);
    if (rc < 0) {
        fprintf(stderr, "%s\n", reason[0] ? reason : rota_strerror(rc));
    } else {
        rc = say(&stream, v[5]);
        rota_stream_close(&stream);
    }
    rota_tls_context_free(ctx);
    return rc;
}

int main(int argc, char **argv) {
    struct arguments arguments = {argv, argc};
    intptr_t result = 0;
    bool serves = argc == 5 && strcmp(argv[1], "serve") == 0;
    if (!serves && !(argc == 6 && strcmp(argv[1], "ask") == 0)) {
        fprintf(stderr, "usage: %s serve CERTIFICATE KEY PORT | ask CA HOST PORT WORDS\n", argv[0]);
        return 2;
    }
    int rc = rota_run(serves ? serve : ask, &arguments, &result, NULL);
    return rc < 0 || result < 0;
}
