/* The suspending calls of rota/http.h: cancelled at every point at which they stop, and before each. */
#include <string.h>
#include <sys/socket.h>

#include "rota/http.h"
#include "tests/everywhere.h"
#include "tests/net_kit.h"
#include "tests/support.h"

/* In scenarios, for tests/everywhere/check.py. */
static const char *const suspending[] = {
    "rota_http_request", "rota_http_read", "rota_http_read_all", "rota_http_serve", "rota_http_serve_stream",
    "rota_http_incoming_read", "rota_http_reply_write", "rota_http_reply_flush", "rota_http_reply_send",
};

static void nothing(void) {}

/* ---- the client, against a server that sends in two pieces ---- */

static struct {
    rota_http_client client;
    int fds[2];                     /* fds[0] becomes the client's connection */
    rota_stream stream;
} it;

static int connect_pair(void *ctx, rota_stream *stream, const char *host, const char *port, bool secure, char *why,
                        size_t n) {
    (void)ctx, (void)host, (void)port, (void)secure, (void)why, (void)n;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return -errno;
    int rc = rota_stream_open(stream, pair[0], NULL);
    if (rc < 0)
        rota_close(pair[0]);
    if (rc < 0 || it.fds[1] >= 0)
        rota_close(rc < 0 ? pair[1] : it.fds[1]);
    it.fds[1] = rc < 0 ? -1 : pair[1];
    return rc;
}

static intptr_t answer(void *arg) {
    static const char parts[2][64] = { "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", "cd" };
    char text[512];
    (void)arg;
    for (int rc = 0; rc == 0;) {
        if (it.fds[1] < 0) {
            rc = rota_yield();
            continue;
        }
        ssize_t n = rota_read(it.fds[1], text, sizeof text);
        if (n < 0 && n != -EBADF)
            return n;
        for (int i = 0; i < 2 && n > 0 && rc == 0; i++) {
            rc = rota_sleep(1 * ROTA_MS);
            if (rc == 0 && rota_write_all(it.fds[1], parts[i], strlen(parts[i]), NULL) < 0)
                break;
        }
        if (n == 0)
            rc = rota_sleep(1 * ROTA_MS);
    }
    return 0;
}

static void begin_client(void) {
    it.fds[1] = -1;
    cr_expect_eq(rota_http_client_open(&it.client, &(rota_http_client_options){ .connect = connect_pair,
        .allocator = &memory_allocator }), 0);
    helper(answer, NULL);
}

static intptr_t client_body(void *unused) {
    (void)unused;
    rota_http_response r;
    const char *data;
    char byte;
    TRY(rota_http_request(&it.client, &r, "GET", "http://a/", NULL));
    intptr_t rc = S(rota_http_read(&r, &byte, 1));
    if (!rota_failed(rc))
        rc = S(rota_http_read_all(&r, &data, NULL, 100));
    rota_http_response_close(&r);
    return rota_failed(rc) ? rc : 0;
}

static void end_client(void) {
    rota_http_client_close(&it.client);
    if (it.fds[1] >= 0)
        rota_close(it.fds[1]);
}

/* ---- the server ---- */

static intptr_t handle(rota_http_incoming *q, rota_http_reply *r, void *arg) {
    (void)arg;
    char byte[4] = "";
    TRY(rota_http_incoming_read(q, byte, sizeof byte));
    if (strcmp(q->target, "/send") == 0) {
        TRY(rota_http_reply_send(r, 200, NULL, byte, 4));
        return 0;
    }
    TRY(rota_http_reply_write(r, byte, 4));
    TRY(rota_http_reply_flush(r));
    return 0;
}

static intptr_t ask(void *arg) {
    static const char text[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
                               "POST /send HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
    (void)arg;
    for (size_t at = 0; at < sizeof text - 1; at += 13) {
        int rc = rota_sleep(1 * ROTA_MS);
        size_t n = sizeof text - 1 - at < 13 ? sizeof text - 1 - at : 13;
        if (rc == 0)
            rc = rota_write_all(it.fds[0], text + at, n, NULL);
        if (rc < 0)
            return 0;
    }
    shutdown(it.fds[0], SHUT_WR);
    return 0;
}

static void begin_stream(void) {
    cr_expect_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, it.fds), 0);
    cr_expect_eq(rota_stream_open(&it.stream, it.fds[1], NULL), 0);
    helper(ask, NULL);
}

static intptr_t stream_body(void *unused) {
    (void)unused;
    return Never(rota_http_serve_stream(&it.stream, handle, NULL,
                                    &(rota_http_serve_options){ .allocator = &memory_allocator }));
}

static void end_stream(void) {
    rota_stream_close(&it.stream);
    rota_close(it.fds[0]);
}

static intptr_t serve_body(void *unused) {
    (void)unused;
    return rota_http_serve("127.0.0.1", "0", handle, NULL, &(rota_http_serve_options){ .serve.drain = 0 });
}

static const struct scenario client_scenario = {
    .name = "http client", .begin = begin_client, .body = client_body, .reuse = nothing, .end = end_client,
};
static const struct scenario stream_scenario = {
    .name = "http stream", .begin = begin_stream, .body = stream_body, .reuse = nothing, .end = end_stream,
};

Test(everywhere_http, client) { everywhere(&client_scenario); }
Test(everywhere_http, server) { everywhere(&stream_scenario); }

static intptr_t stop_serving(void *arg) {
    rota_task *task;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, serve_body, NULL, NULL), 0);
    cr_expect_eq(rota_sleep(1 * ROTA_MS), 0);
    rota_cancel(task, NULL);
    cr_expect_eq(rota_join(task, NULL), -ECANCELED);
    return 0;
}

/* It only ends by being cancelled. */
Test(everywhere_http, serve) { cr_expect_eq(run_task(stop_serving, NULL), 0); }

Test(everywhere_http, every_call_is_seen) {
    everywhere_once(&client_scenario);
    everywhere_once(&stream_scenario);
    cr_expect_eq(run_task(stop_serving, NULL), 0);
    for (size_t i = 0; i < sizeof suspending / sizeof suspending[0]; i++)
        cr_expect(strcmp(suspending[i], "rota_http_serve") == 0 || everywhere_saw(suspending[i]), "%s", suspending[i]);
}
