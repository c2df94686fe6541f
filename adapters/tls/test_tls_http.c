/* rota_tls_http_connect in the HTTP client, against the HTTP server on TLS streams. By addresses: a name would be
 * looked up by a thread, which valgrind finds at the end. tests/examples/https.sh uses names. */
#include "adapters/tls/kit.h"
#include "rota/http.h"

static struct {
    char plain[8], secure[8];
    rota_event ready;
    unsigned listening;
    char location[64];               /* where /elsewhere points */
} web;

static void note_one(int fd, char port[8]) {
    snprintf(port, 8, "%d", port_of(fd));
    if (++web.listening == 2)
        (void)rota_event_set(&web.ready);
}

static void note_plain(int fd, void *arg) {
    (void)arg;
    note_one(fd, web.plain);
}

static void note_secure(int fd, void *arg) {
    (void)arg;
    note_one(fd, web.secure);
}

static intptr_t answer(rota_http_incoming *request, rota_http_reply *reply, void *arg) {
    const char *text = arg;
    if (strcmp(request->target, "/elsewhere") == 0) {
        int rc = rota_http_reply_begin(reply, 302);
        return rc < 0 ? rc : rota_http_reply_field(reply, "Location", web.location);
    }
    return rota_http_reply_send(reply, 200, "text/plain", text, strlen(text));
}

static char over_tcp[] = "over TCP", over_tls[] = "over TLS";

static intptr_t serve_plain(void *arg) {
    rota_http_serve_options opt = {.serve.listening = note_plain};
    return rota_http_serve("127.0.0.1", "0", answer, arg, &opt);
}

static int refusals;

static void refused(int error, const char *why, void *arg) {
    (void)arg;
    cr_expect(error < 0 && *why);
    refusals++;
}

static intptr_t serve_secure(void *arg) {
    rota_tls_http_server tls = {.context = server_ctx, .refused = refused};
    rota_http_serve_options opt = {.serve = {.listening = note_secure, .drain = 3600 * ROTA_S},
                                   .accept = rota_tls_http_accept, .accept_ctx = &tls};
    return rota_http_serve("127.0.0.1", "0", answer, arg, &opt);
}

static rota_group servers;
static rota_task *secure_server;

static void begin_with(const rota_tls_context_options *of_server) {
    contexts(NULL, of_server);
    memset(&web, 0, sizeof web);
    rota_group_begin(&servers, NULL);
    cr_expect_eq(rota_spawn(NULL, serve_plain, over_tcp, &(rota_spawn_options){.group = &servers}), 0);
    cr_expect_eq(rota_spawn(&secure_server, serve_secure, over_tls, &(rota_spawn_options){.group = &servers}), 0);
    cr_expect_eq(rota_event_wait(&web.ready), 0);
}

static void begin(void) { begin_with(NULL); }

static void end(void) {
    rota_scope_cancel(&servers.scope, "the test is over");
    cr_expect_eq(rota_group_end(&servers, 0), 0);
    free_contexts();
}

static rota_tls_http http;
static char error[ROTA_HTTP_WHY];     /* what the response said */

/* The body's text, or "" when there is no answer; *rc: the request's error, or the status. */
static const char *get(rota_tls_http *with, int *rc, const char *scheme, const char *host, const char *port,
                       const char *path) {
    static char body[64];
    char url[128];
    const char *text;
    rota_http_client c;
    rota_http_response response;
    snprintf(url, sizeof url, "%s://%s:%s%s", scheme, host, port, path);
    rota_http_client_options opt = {.connect = rota_tls_http_connect, .connect_ctx = with};
    cr_expect_eq(rota_http_client_open(&c, &opt), 0);
    *rc = rota_http_request(&c, &response, "GET", url, NULL);
    body[0] = '\0';
    snprintf(error, sizeof error, "%s", response.why ? response.why : "");
    if (*rc == 0) {
        *rc = response.status;
        cr_expect_eq(rota_http_read_all(&response, &text, NULL, sizeof body - 1), 0);
        snprintf(body, sizeof body, "%s", text);
        rota_http_response_close(&response);
    }
    rota_http_client_close(&c);
    return body;
}

Task_test(tls_http, pages_come_by_http_and_https) {
    begin();
    http = (rota_tls_http){.context = client_ctx};
    int rc;
    cr_expect_str_eq(get(&http, &rc, "https", "127.0.0.1", web.secure, "/"), over_tls);
    cr_expect_eq(rc, 200, "%d, %s", rc, error);
    cr_expect_str_eq(get(&http, &rc, "http", "127.0.0.1", web.plain, "/"), over_tcp);
    cr_expect_str_eq(get(NULL, &rc, "http", "127.0.0.1", web.plain, "/"), over_tcp);
    cr_expect_str_eq(error, "");
    end();
    return 0;
}

Task_test(tls_http, redirects_from_http_to_https_are_followed_and_back_are_not) {
    begin();
    http = (rota_tls_http){.context = client_ctx};
    int rc;
    snprintf(web.location, sizeof web.location, "https://127.0.0.1:%s/", web.secure);
    cr_expect_str_eq(get(&http, &rc, "http", "127.0.0.1", web.plain, "/elsewhere"), over_tls);
    cr_expect_eq(rc, 200);
    snprintf(web.location, sizeof web.location, "http://127.0.0.1:%s/", web.plain);
    cr_expect_str_eq(get(&http, &rc, "https", "127.0.0.1", web.secure, "/elsewhere"), "");
    cr_expect_eq(rc, 302);
    end();
    return 0;
}

Task_test(tls_http, strangers_are_refused_and_the_text_says_why) {
    begin();
    int rc;
    rota_tls_context *trusts_others = context(&(rota_tls_context_options){.ca = stranger_root.pem});
    http = (rota_tls_http){.context = trusts_others};
    get(&http, &rc, "https", "127.0.0.1", web.secure, "/");
    cr_expect_eq(rc, -EACCES);
    cr_expect(strstr(error, "certificate is not accepted"), "%s", error);
    get(&http, &rc, "http", "127.0.0.1", web.plain, "/");
    cr_expect_str_eq(error, "", "what was wrong with another connection stays: %s", error);
    rota_tls_context_free(trusts_others);
    end();
    return 0;
}

/* With and without a request that was answered, and in the middle of a handshake. */
Task_test(tls_http, a_drain_ends_idle_connections_at_once) {
    rota_stream idle, fresh;
    const char *line;
    char byte;
    begin();
    cr_expect_eq(rota_tls_dial(&idle, "127.0.0.1", web.secure, client_ctx, NULL), 0);
    cr_expect_eq(rota_tls_dial(&fresh, "127.0.0.1", web.secure, client_ctx, NULL), 0);
    int silent = raw_connect(atoi(web.secure));
    cr_expect_eq(rota_stream_write(&idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27), 0);
    while (rota_stream_line(&idle, 0, &line) > 1)
        ;
    cr_expect_eq(rota_stream_read_exact(&idle, error, strlen(over_tls), NULL), 0);
    int64_t start = rota_now();
    rota_cancel(secure_server, "enough");
    cr_expect_eq(rota_stream_read(&idle, &byte, 1), 0);
    cr_expect_eq(rota_stream_read(&fresh, &byte, 1), 0);
    cr_expect_eq(rota_await(secure_server, NULL), -ECANCELED);
    cr_expect_eq(since(start), 0);
    cr_expect_eq(refusals, 0);
    rota_stream_close(&idle);
    rota_stream_close(&fresh);
    close(silent);
    end();
    return 0;
}

Task_test(tls_http, a_client_that_does_not_shake_hands_is_told_of) {
    begin();
    int rude = raw_connect(atoi(web.secure));
    cr_expect_eq(rota_write_all(rude, "GET / HTTP/1.1\r\n\r\n", 18, NULL), 0);
    cr_expect_leq(rota_read(rude, error, sizeof error), 0);
    cr_expect_eq(refusals, 1);
    rota_close(rude);
    end();
    return 0;
}

Task_test(tls_http, without_a_context_the_systems_certificates_count) {
    begin();
    int rc;
    http = (rota_tls_http){0};
    get(&http, &rc, "https", "127.0.0.1", web.secure, "/");
    cr_expect_eq(rc, -EACCES, "%d", rc);
    cr_expect(strstr(error, "certificate is not accepted"), "%s", error);
    get(NULL, &rc, "https", "127.0.0.1", web.secure, "/");
    cr_expect_eq(rc, -EACCES, "%d", rc);
    end();
    return 0;
}

Task_test(tls_http, another_name_is_refused) {
    static struct certificate elsewhere;
    make_certificates();
    make_certificate(&elsewhere, &between, &(struct wish){.name = "elsewhere", .alt = "DNS:elsewhere.test"});
    begin_with(&(rota_tls_context_options){.certificate = elsewhere.pem, .key = elsewhere.key_pem});
    int rc;
    http = (rota_tls_http){.context = client_ctx};
    get(&http, &rc, "https", "127.0.0.1", web.secure, "/");
    cr_expect_eq(rc, -EACCES, "%d", rc);
    cr_expect(strstr(error, "IP address mismatch"), "%s", error);
    end();
    free_certificate(&elsewhere);
    return 0;
}
