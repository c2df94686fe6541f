/* Tests of client.c and pool.c against servers that say what the test tells them to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "rota/http.h"
#include "tests/net_kit.h"
#include "tests/support.h"

enum ending { KEEP, CLOSE, HANG };

/* To a request that contains `when`, it sends `sends` after `delay`. */
struct rule {
    const char *when, *sends;
    enum ending ending;
    int64_t delay;
};

static struct {
    const struct rule *rules;
    int port, connections, open, most, requests;
    char last[4096];                  /* request, with its body */
    rota_future ready;
    rota_http_client client;
    rota_http_client_options opt;
    intptr_t (*test)(void);
} web;

#define OK(length, body) "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n\r\n" body

/* How long the request is that stands in text, or 0. */
static size_t whole(const char *text) {
    const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
    if (end == NULL)
        return 0;
    size_t n = (size_t)(end + 4 - text);
    bool waits = strstr(text, "100-continue") != NULL && strlen(text) == n;
    if (waits)
        return n;
    if (strstr(text, "chunked") != NULL)
        return (end = strstr(end, "\r\n0\r\n\r\n")) != NULL ? (size_t)(end + 7 - text) : 0;
    n += length != NULL && length < end ? (size_t)atoi(length + 16) : 0;
    return strlen(text) >= n ? n : 0;
}

static const struct rule *rule_for(const char *request) {
    static const struct rule none = { "", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", KEEP, 0 };
    for (const struct rule *r = web.rules; r->when != NULL; r++)
        if (strstr(request, r->when) != NULL)
            return r;
    return &none;
}

static intptr_t talk(int fd) {
    char text[4096] = "";
    size_t n = 0;
    for (;;) {
        while (whole(text) == 0) {
            ssize_t r = rota_read(fd, text + n, sizeof text - 1 - n);
            if (r <= 0)
                return r == -ECANCELED ? r : 0;
            n += (size_t)r;
            text[n] = '\0';
        }
        memcpy(web.last, text, sizeof text);
        web.requests++;
        memset(text, 0, sizeof text);
        n = 0;
        const struct rule *rule = rule_for(web.last);
        int rc = rota_sleep(rule->delay);
        rc = rc < 0 ? rc : rota_write_all(fd, rule->sends, strlen(rule->sends), NULL);
        if (rc == 0 && rule->ending == HANG)
            rc = rota_sleep(3600 * ROTA_S);
        if (rc < 0 || rule->ending == CLOSE)
            return rc == -ECANCELED ? rc : 0;
    }
}

static intptr_t serve_client(int fd, void *arg) {
    (void)arg;
    web.connections++;
    web.open++;
    web.most = web.open > web.most ? web.open : web.most;
    intptr_t rc = talk(fd);
    web.open--;
    return rc;
}

static void listening(int fd, void *arg) {
    (void)arg;
    web.port = port_of(fd);
    cr_expect_eq(rota_future_set(&web.ready, 0), 0);
}

static intptr_t server(void *arg) {
    return rota_serve("127.0.0.1", "0", serve_client, arg, &(rota_serve_options){ .listening = listening });
}

/* Every name is the server's. */
static int connect_here(void *ctx, rota_stream *stream, const char *host, const char *port, bool secure, char *why,
                        size_t n) {
    (void)ctx, (void)why, (void)n;
    (void)port;
    if (strcmp(host, "slow.test") == 0)
        return rota_sleep(3600 * ROTA_S);
    if (secure)
        return -EPROTONOSUPPORT;
    char number[8];
    snprintf(number, sizeof number, "%d", web.port);
    int fd = rota_dial("127.0.0.1", number, NULL);
    return fd < 0 ? fd : rota_stream_open(stream, fd, NULL);
}

static intptr_t visit(void *arg) {
    (void)arg;
    rota_group group;
    rota_group_begin(&group, NULL);
    cr_expect_eq(rota_spawn(NULL, server, NULL, &(rota_spawn_options){ .group = &group }), 0);
    cr_expect_eq(rota_future_await(&web.ready, NULL), 0);
    web.opt.connect = connect_here;
    web.opt.allocator = &memory_allocator;
    cr_expect_eq(rota_http_client_open(&web.client, &web.opt), 0);
    intptr_t rc = web.test();
    rota_http_client_close(&web.client);
    rota_scope_cancel(&group.scope, "the test is over");
    rc = rota_group_end(&group, rc);
    return rc == -ECANCELED ? 0 : rc;
}

static void run_web(const struct rule *rules, intptr_t (*test)(void)) {
    rota_http_client_options opt = web.opt;
    memset(&web, 0, sizeof web);
    web.opt = opt;
    web.rules = rules;
    web.test = test;
    cr_expect_eq(run_task(visit, NULL), 0);
}

#define Web_test(name, ...)                                                      \
    static intptr_t name##_body(void);                                           \
    Test(http_client, name) {                                                    \
        static const struct rule rules[] = { __VA_ARGS__, { NULL, NULL, KEEP, 0 } }; \
        run_web(rules, name##_body);                                             \
    }                                                                            \
    static intptr_t name##_body(void)

/* One request to its end: the status, or the error; the body is in `body`. */
static char body[512];
static const char *why;

static int fetch_with(const char *method, const char *url, const rota_http_request_options *opt) {
    rota_http_response r;
    const char *data = "";
    body[0] = '\0';
    int rc = rota_http_request(&web.client, &r, method, url, opt);
    if (rc == 0) {
        rc = rota_http_read_all(&r, &data, NULL, sizeof body - 1);
        if (rc == 0)
            snprintf(body, sizeof body, "%s", data);
        rc = rc < 0 ? rc : r.status;
    }
    why = r.why;
    rota_http_response_close(&r);
    return rc;
}

static int fetch(const char *url) { return fetch_with("GET", url, NULL); }

/* ---- connections ---- */

Web_test(a_connection_serves_one_request_after_the_other, { "GET", OK("2", "ok"), KEEP, 0 }) {
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(fetch("http://a.test/x"), 200);
        cr_expect_str_eq(body, "ok");
    }
    cr_expect_eq(web.connections, 1);
    cr_expect_eq(fetch("http://b.test/x"), 200);
    cr_expect_eq(fetch("http://a.test:81/x"), 200);
    cr_expect_eq(web.connections, 3, "another host, another port");
    return 0;
}

Web_test(a_connection_that_shall_not_be_kept_is_not,
         { "/close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", KEEP, 0 },
         { "/old", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", KEEP, 0 },
         { "/more", OK("2", "ok?"), KEEP, 0 },
         { "/kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", KEEP, 0 },
         { "/", OK("2", "ok"), KEEP, 0 }) {
    static const char *const urls[] = { "http://a/close", "http://a/old", "http://a/more" };
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(fetch(urls[i]), 200);
        cr_expect_eq(web.connections, i + 1);
    }
    cr_expect_eq(fetch_with("GET", "http://a/", &(rota_http_request_options){ .close = true }), 200);
    cr_expect_not_null(strstr(web.last, "\r\nConnection: close\r\n"));
    cr_expect_eq(web.connections, 4);
    cr_expect_eq(fetch("http://a/kept"), 200);
    cr_expect_eq(fetch("http://a/kept"), 200);
    cr_expect_eq(web.connections, 5);
    return 0;
}

Web_test(an_unread_body_ends_the_connection, { "GET", OK("5", "hello"), KEEP, 0 }) {
    rota_http_response r;
    char two[2];
    cr_expect_eq(rota_http_request(&web.client, &r, "GET", "http://a/", NULL), 0);
    cr_expect_eq(rota_http_read(&r, two, 2), 2);
    cr_expect_eq(r.received, 2);
    rota_http_response_close(&r);
    rota_http_response_close(&r);
    cr_expect_eq(fetch("http://a/"), 200);
    cr_expect_eq(web.connections, 2);
    return 0;
}

static intptr_t fetch_task(void *arg) { return fetch(arg); }

static void fetch_at_once(const char *const *urls, size_t n) {
    rota_call calls[16];
    for (size_t i = 0; i < n; i++)
        calls[i] = (rota_call){ fetch_task, (void *)(uintptr_t)urls[i], 0 };
    cr_expect_eq(rota_gather(calls, n, NULL), 0);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(calls[i].result, 200, "%zu: %d", i, (int)calls[i].result);
}

Web_test(requests_wait_for_the_limit_of_a_host, { "GET", OK("2", "ok"), KEEP, 10 * ROTA_MS }) {
    static const char *const urls[] = { "http://a/1", "http://a/2", "http://a/3", "http://a/4", "http://a/5" };
    rota_http_client_close(&web.client);
    web.opt.per_host = 2;
    cr_expect_eq(rota_http_client_open(&web.client, &web.opt), 0);
    int64_t start = rota_now();
    fetch_at_once(urls, 5);
    cr_expect_eq(web.most, 2);
    cr_expect_eq(web.connections, 2);
    cr_expect_eq(since(start), 30 * ROTA_MS);
    cr_expect_not_null(strstr(web.last, "GET /5"), "first in, first out");
    web.opt.per_host = 0;
    return 0;
}

Web_test(requests_wait_for_the_limit_of_all, { "GET", OK("2", "ok"), KEEP, 10 * ROTA_MS }) {
    static const char *const urls[] = { "http://a/1", "http://b/2", "http://c/3", "http://d/4" };
    rota_http_client_close(&web.client);
    web.opt.connections = 2;
    cr_expect_eq(rota_http_client_open(&web.client, &web.opt), 0);
    fetch_at_once(urls, 4);
    cr_expect_leq(web.most, 3, "an idle one of another host is ended, which its server sees a moment later");
    cr_expect_eq(web.connections, 4);
    web.opt.connections = 0;
    return 0;
}

static intptr_t expect_shutdown(void *arg) {
    cr_expect_eq(fetch(arg), -ESHUTDOWN);
    return 0;
}

Web_test(closing_ends_who_waits_and_leaves_who_reads, { "GET", OK("2", "ok"), KEEP, 0 }) {
    rota_http_response r;
    char two[3] = "";
    rota_http_client_close(&web.client);
    web.opt.per_host = 1;
    cr_expect_eq(rota_http_client_open(&web.client, &web.opt), 0);
    cr_expect_eq(rota_http_request(&web.client, &r, "GET", "http://a/", NULL), 0);
    rota_task *first = start(expect_shutdown, (void *)(uintptr_t)"http://a/"), *second = start(fetch_task, (void *)(uintptr_t)"http://a/");
    rota_cancel(second, NULL);
    cr_expect_eq(rota_http_client_close(&web.client), 0);
    cr_expect_eq(rota_http_client_close(&web.client), -EBADF);
    memset(&web.client, 0xa5, offsetof(rota_http_client, state_));
    cr_expect_eq(finish(first), 0);
    cr_expect_eq(rota_join(second, NULL), -ECANCELED);
    cr_expect_eq(rota_http_read(&r, two, 2), 2);
    rota_http_response_close(&r);
    cr_expect_eq(fetch("http://a/"), -EBADF);
    web.opt.per_host = 0;
    return 0;
}

static intptr_t sleepy(void *arg) { return fetch(arg); }

Web_test(a_waiter_that_is_cancelled_loses_nobodys_turn, { "GET", OK("2", "ok"), KEEP, 10 * ROTA_MS }) {
    rota_http_client_close(&web.client);
    web.opt.per_host = 1;
    cr_expect_eq(rota_http_client_open(&web.client, &web.opt), 0);
    rota_task *tasks[3];
    for (int i = 0; i < 3; i++)
        tasks[i] = start(sleepy, (void *)(uintptr_t)"http://a/");
    rota_cancel(tasks[1], NULL);
    cr_expect_eq(finish(tasks[0]), 200);
    cr_expect_eq(finish(tasks[1]), -ECANCELED);
    cr_expect_eq(finish(tasks[2]), 200);
    web.opt.per_host = 0;
    return 0;
}

Web_test(idle_connections_end, { "GET", OK("2", "ok"), KEEP, 0 }) {
    cr_expect_eq(fetch("http://a/"), 200);
    cr_expect_eq(rota_sleep(29 * ROTA_S), 0);
    cr_expect_eq(web.open, 1);
    cr_expect_eq(rota_sleep(2 * ROTA_S), 0);
    cr_expect_eq(web.open, 0);
    cr_expect_eq(fetch("http://a/"), 200);
    cr_expect_eq(web.connections, 2);
    return 0;
}

Web_test(a_connection_that_the_server_has_ended_is_not_used, { "GET", OK("2", "ok"), CLOSE, 0 }) {
    cr_expect_eq(fetch("http://a/"), 200);
    cr_expect_eq(rota_sleep(1 * ROTA_MS), 0);
    cr_expect_eq(fetch_with("POST", "http://a/", NULL), 404);
    cr_expect_eq(web.connections, 2);
    return 0;
}

/* The server ends it when the request is on its way. */
Web_test(a_stale_connection_is_replaced_once, { "GET /die", "", CLOSE, 0 }, { "/", OK("2", "ok"), KEEP, 0 }) {
    cr_expect_eq(fetch("http://a/"), 200);
    cr_expect_eq(fetch("http://a/die"), -EPIPE);
    cr_expect_eq(web.requests, 3, "twice, and no more");
    cr_expect_str_eq(why, "the connection was closed before an answer came");
    cr_expect_eq(fetch("http://a/die"), -EPIPE);
    cr_expect_eq(web.requests, 4, "a fresh one is not replaced");
    return 0;
}

Web_test(a_post_is_not_sent_twice, { "POST", "", CLOSE, 0 }, { "/", OK("2", "ok"), KEEP, 0 }) {
    cr_expect_eq(fetch("http://a/"), 200);
    cr_expect_eq(fetch_with("POST", "http://a/", NULL), -EPIPE);
    cr_expect_eq(web.requests, 2);
    return 0;
}

/* ---- redirects ---- */

#define TO(status, where) "HTTP/1.1 " status " x\r\nLocation: " where "\r\nContent-Length: 3\r\n\r\nbye"

Web_test(redirects_are_followed, { "GET /a ", TO("301", "b/c?d"), KEEP, 0 }, { "GET /b/c?d ", TO("308", "../e"), KEEP, 0 },
         { "GET /e ", OK("2", "ok"), KEEP, 0 }) {
    rota_http_response r;
    cr_expect_eq(rota_http_request(&web.client, &r, "GET", "http://a.test/a", NULL), 0);
    cr_expect_eq(r.status, 200);
    cr_expect_eq(r.redirected, 2);
    cr_expect_str_eq(r.url.target, "/e");
    rota_http_response_close(&r);
    cr_expect_eq(web.connections, 1, "the short bodies were read");
    return 0;
}

Web_test(what_is_for_one_origin_does_not_leave_it, { "GET /a ", TO("302", "http://b.test/b"), KEEP, 0 },
         { "GET /b ", TO("302", "http://a.test/c"), KEEP, 0 }, { "GET /c ", OK("2", "ok"), KEEP, 0 }) {
    static const rota_http_header secret[] = { { "Authorization", "x" }, { "cookie", "y" }, { "Host", "z" }, { "Accept", "*/*" } };
    cr_expect_eq(fetch_with("GET", "http://a.test/a", &(rota_http_request_options){ .headers = secret, .headers_n = 4 }), 200);
    cr_expect_null(strstr(web.last, "Authorization"), "%s", web.last);
    cr_expect_null(strstr(web.last, "cookie"));
    cr_expect_not_null(strstr(web.last, "Host: a.test\r\n"), "%s", web.last);
    cr_expect_not_null(strstr(web.last, "Accept: */*\r\n"));
    return 0;
}

Web_test(methods_of_redirects, { "POST /303", TO("303", "/get"), KEEP, 0 }, { "POST /302", TO("302", "/get"), KEEP, 0 },
         { "PUT /302", TO("302", "/put"), KEEP, 0 }, { "POST /307", TO("307", "/post"), KEEP, 0 },
         { "GET /get", OK("3", "get"), KEEP, 0 }, { "POST /post", OK("4", "post"), KEEP, 0 }, { "PUT /put", OK("3", "put"), KEEP, 0 }) {
    static const rota_http_header type[] = { { "Content-Type", "text/plain" } };
    rota_http_request_options opt = { .body = "abc", .body_n = 3, .headers = type, .headers_n = 1 };
    cr_expect_eq(fetch_with("POST", "http://a/303", &opt), 200);
    cr_expect_str_eq(body, "get");
    cr_expect_null(strstr(web.last, "Content-"), "%s", web.last);
    cr_expect_eq(fetch_with("POST", "http://a/302", &opt), 200);
    cr_expect_str_eq(body, "get");
    cr_expect_eq(fetch_with("PUT", "http://a/302", &opt), 200);
    cr_expect_str_eq(body, "put");
    cr_expect_eq(fetch_with("POST", "http://a/307", &opt), 200);
    cr_expect_str_eq(body, "post");
    cr_expect_not_null(strstr(web.last, "\r\n\r\nabc"), "%s", web.last);
    return 0;
}

Web_test(redirects_that_are_not_followed, { "/loop", TO("302", "/loop"), KEEP, 0 }, { "/ftp", TO("302", "ftp://a/"), KEEP, 0 },
         { "/bad", TO("302", "http://a b/"), KEEP, 0 }, { "/none", "HTTP/1.1 302 x\r\nContent-Length: 0\r\n\r\n", KEEP, 0 },
         { "/300", TO("300", "/"), KEEP, 0 }) {
    cr_expect_eq(fetch("http://a/loop"), -ELOOP);
    cr_expect_eq(web.requests, 11);
    cr_expect_eq(fetch_with("GET", "http://a/loop", &(rota_http_request_options){ .redirects = 1 }), -ELOOP);
    cr_expect_eq(web.requests, 13);
    cr_expect_eq(fetch_with("GET", "http://a/loop", &(rota_http_request_options){ .redirects = -1 }), 302);
    cr_expect_str_eq(body, "bye");
    cr_expect_eq(fetch("http://a/ftp"), 302);
    cr_expect_eq(fetch("http://a/none"), 302);
    cr_expect_eq(fetch("http://a/300"), 300);
    cr_expect_eq(fetch("http://a/bad"), -EPROTO);
    return 0;
}

/* ---- limits ---- */

Web_test(limits_of_time, { "/silent", "", HANG, 0 }, { "/half", OK("9", "half"), HANG, 0 }) {
    int64_t start = rota_now();
    cr_expect_eq(fetch_with("GET", "http://a/silent", &(rota_http_request_options){ .head_timeout = 2 * ROTA_S }), -ETIMEDOUT);
    cr_expect_str_eq(why, "no answer came in time");
    cr_expect_eq(since(start), 2 * ROTA_S);
    cr_expect_eq(fetch_with("GET", "http://a/silent", &(rota_http_request_options){ .timeout = 3 * ROTA_S }), -ETIMEDOUT);
    cr_expect_str_eq(why, "the request took too long");
    cr_expect_eq(fetch_with("GET", "http://a/half", &(rota_http_request_options){ .read_timeout = 1 * ROTA_S }), -ETIMEDOUT);
    cr_expect_str_eq(why, "the body did not come in time");
    cr_expect_eq(fetch_with("GET", "http://a/half", &(rota_http_request_options){ .timeout = 4 * ROTA_S }), -ETIMEDOUT);
    cr_expect_eq(since(start), 10 * ROTA_S);
    cr_expect_eq(fetch_with("GET", "http://slow.test/", &(rota_http_request_options){ .connect_timeout = 1 * ROTA_S }), -ETIMEDOUT);
    cr_expect_str_eq(why, "connecting took too long");
    return 0;
}

Web_test(limits_of_size, { "/length", OK("6", "abcdef"), KEEP, 0 },
         { "/chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", KEEP, 0 },
         { "/close", "HTTP/1.0 200 OK\r\n\r\nabcdef", CLOSE, 0 }) {
    static const char *const urls[] = { "http://a/length", "http://a/chunks", "http://a/close" };
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(fetch_with("GET", urls[i], &(rota_http_request_options){ .body_max = 6 }), 200);
        cr_expect_str_eq(body, "abcdef");
        cr_expect_eq(fetch_with("GET", urls[i], &(rota_http_request_options){ .body_max = 5 }), -EMSGSIZE);
        cr_expect_str_eq(why, "the body is over its limit");
        rota_http_response r;
        const char *data;
        for (size_t max = 5; max < 7; max++) {
            cr_expect_eq(rota_http_request(&web.client, &r, "GET", urls[i], NULL), 0);
            cr_expect_eq(rota_http_read_all(&r, &data, NULL, max), max < 6 ? -EMSGSIZE : 0);
            rota_http_response_close(&r);
        }
    }
    return 0;
}

Web_test(hostile_answers, { "/ssh", "SSH-2.0-OpenSSH\r\n", HANG, 0 }, { "/early", OK("9", "abc"), CLOSE, 0 },
         { "/none", "", CLOSE, 0 }, { "/head", "HTTP/1.1 200 OK\r\nA:", CLOSE, 0 },
         { "/both", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", HANG, 0 },
         { "/chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", HANG, 0 },
         { "/101", "HTTP/1.1 101 x\r\n\r\n", HANG, 0 }) {
    cr_expect_eq(fetch("http://a/ssh"), -EPROTO);
    cr_expect_str_eq(why, "the answer is not HTTP");
    cr_expect_eq(fetch("http://a/early"), -EPIPE);
    cr_expect_str_eq(why, "the connection was closed in the middle of the body");
    cr_expect_eq(fetch("http://a/none"), -EPIPE);
    cr_expect_eq(fetch("http://a/head"), -EPIPE);
    cr_expect_str_eq(why, "the connection was closed in the middle of the answer's head");
    cr_expect_eq(fetch("http://a/both"), -EPROTO);
    cr_expect_eq(fetch("http://a/chunk"), -EPROTO);
    cr_expect_eq(fetch("http://a/101"), -EPROTO);
    return 0;
}

/* ---- bodies ---- */

Web_test(trailers, { "/", "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 294\r\n\r\n", KEEP, 0 }) {
    rota_http_response r;
    const char *data, *name, *value;
    size_t n;
    cr_expect_eq(rota_http_request(&web.client, &r, "GET", "http://a/", NULL), 0);
    cr_expect_str_eq(r.reason, "Fine");
    cr_expect_eq(r.length, -1);
    cr_expect_eq(r.trailers.n, 0);
    cr_expect_eq(rota_http_read_all(&r, &data, &n, 100), 0);
    cr_expect_eq(n, 3);
    cr_expect_str_eq(rota_http_field(&r.trailers, "x-sum"), "294");
    cr_expect(rota_http_field_at(&r.fields, 0, &name, &value));
    cr_expect_str_eq(name, "Transfer-Encoding");
    cr_expect(!rota_http_field_at(&r.fields, 1, &name, &value));
    cr_expect_null(rota_http_field(&r.fields, "X-Sum"));
    cr_expect_eq(rota_http_read_all(&r, &data, &n, 100), 0, "the same again");
    cr_expect_eq(n, 3);
    rota_http_response_close(&r);
    cr_expect_eq(fetch("http://a/"), 200);
    cr_expect_eq(web.connections, 1);
    return 0;
}

Web_test(answers_to_head_have_no_body, { "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n", KEEP, 0 },
         { "GET", "HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\n", KEEP, 0 }) {
    rota_http_response r;
    char byte;
    cr_expect_eq(rota_http_request(&web.client, &r, "HEAD", "http://a/", NULL), 0);
    cr_expect_eq(r.length, 700);
    cr_expect_eq(rota_http_read(&r, &byte, 1), 0);
    rota_http_response_close(&r);
    cr_expect_eq(fetch("http://a/"), 304);
    cr_expect_eq(web.connections, 1);
    return 0;
}

struct source {
    const char *text;
    size_t step, at;
    int error;
};

static ssize_t give(void *arg, void *buf, size_t n) {
    struct source *s = arg;
    size_t left = strlen(s->text) - s->at;
    n = s->step < n ? s->step : n;
    n = left < n ? left : n;
    if (n == 0 && s->error < 0)
        return s->error;
    memcpy(buf, s->text + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

Web_test(bodies_of_requests, { "POST", OK("2", "ok"), KEEP, 0 }) {
    struct source s = { .text = "hello", .step = 2 };
    rota_http_request_options opt = { .body_fn = give, .body_arg = &s };
    cr_expect_eq(fetch_with("POST", "http://a/", &opt), 200);
    cr_expect_not_null(strstr(web.last, "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n2\r\nll\r\n1\r\no\r\n0\r\n\r\n"), "%s", web.last);
    s.at = 0;
    opt.body_length = 5;
    cr_expect_eq(fetch_with("POST", "http://a/", &opt), 200);
    cr_expect_not_null(strstr(web.last, "\r\nContent-Length: 5\r\n\r\nhello"), "%s", web.last);
    cr_expect_eq(fetch_with("POST", "http://a/", NULL), 200);
    cr_expect_not_null(strstr(web.last, "\r\nContent-Length: 0\r\n\r\n"), "%s", web.last);
    cr_expect_eq(web.connections, 1);
    for (uint64_t length = 4; length < 7; length += 2) {
        s.at = 0;
        opt.body_length = length;
        cr_expect_eq(fetch_with("POST", "http://a/", &opt), -EINVAL);
    }
    s = (struct source){ .text = "", .error = -EIO };
    cr_expect_eq(fetch_with("POST", "http://a/", &opt), -EIO);
    return 0;
}

Web_test(leave_to_send_a_body, { "/yes HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", KEEP, 0 },
         { "/no", "HTTP/1.1 417 x\r\nContent-Length: 0\r\n\r\n", KEEP, 0 },
         { "/silent HTTP/1.1\r\n", "", KEEP, 0 }, { "abc", OK("2", "ok"), KEEP, 0 }) {
    rota_http_request_options opt = { .body = "abc", .body_n = 3, .expect_continue = true };
    cr_expect_eq(fetch_with("POST", "http://a/no", &opt), 417);
    cr_expect_null(strstr(web.last, "abc"), "the body was not sent");
    int connections = web.connections;
    cr_expect_eq(fetch_with("POST", "http://a/silent", &(rota_http_request_options){ .body = "abc", .body_n = 3,
        .expect_continue = true, .timeout = 5 * ROTA_S }), -ETIMEDOUT);
    cr_expect_eq(web.connections, connections + 1, "the one that was refused may be in the middle of a request");
    return 0;
}

static ssize_t endless(void *arg, void *buf, size_t n) {
    (void)arg;
    memset(buf, 'x', n);
    return rota_yield() < 0 ? -ECANCELED : (ssize_t)n;
}

/* A server that has heard enough. */
static intptr_t refuse_upload(int fd, void *arg) {
    char text[1024];
    (void)arg;
    ssize_t n = rota_read(fd, text, sizeof text);
    int rc = n < 0 ? (int)n : rota_write_all(fd, "HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n", 37, NULL);
    shutdown(fd, SHUT_RD);
    return rc;
}

static void upload_listening(int fd, void *arg) { *(int *)arg = port_of(fd); }

static intptr_t upload_server(void *arg) {
    return rota_serve("127.0.0.1", "0", refuse_upload, arg, &(rota_serve_options){ .listening = upload_listening });
}

/* It may come as the answer, or the reset that follows may take it along; but it ends. */
Task_test(http_client, an_upload_that_is_refused_ends) {
    int port = 0;
    char url[64];
    rota_http_response r;
    rota_http_client client;
    rota_task *task = start(upload_server, &port);
    while (port == 0)
        cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_http_client_open(&client, NULL), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    int rc = rota_http_request(&client, &r, "POST", url, &(rota_http_request_options){ .body_fn = endless });
    cr_expect(rc == -ECONNRESET || rc == -EPIPE || (rc == 0 && r.status == 413), "%d", rc);
    rota_http_response_close(&r);
    rota_http_client_close(&client);
    rota_cancel(task, NULL);
    cr_expect_eq(rota_join(task, NULL), -ECANCELED);
    return 0;
}

Task_test(http_client, https_without_tls_says_so) {
    rota_http_client client;
    rota_http_response r;
    cr_expect_eq(rota_http_client_open(&client, NULL), 0);
    cr_expect_eq(rota_http_request(&client, &r, "GET", "https://a/", NULL), -EPROTONOSUPPORT);
    cr_expect_not_null(strstr(r.why, "TLS"));
    rota_http_client_close(&client);
    return 0;
}

static intptr_t ask_from_elsewhere(void *client) {
    rota_http_response r;
    cr_expect_eq(rota_http_client_close(client), -EPERM);
    return rota_http_request(client, &r, "GET", "http://127.0.0.1:1/", NULL);
}

static void *other_loop(void *client) {
    intptr_t outcome = 0;
    cr_expect_eq(rota_run(ask_from_elsewhere, client, &outcome, NULL), 0);
    cr_expect_eq(outcome, -EPERM);
    return NULL;
}

Task_test(http_client, a_client_belongs_to_its_loop) {
    rota_http_client client;
    pthread_t thread;
    cr_expect_eq(rota_http_client_open(&client, NULL), 0);
    cr_expect_eq(pthread_create(&thread, NULL, other_loop, &client), 0);
    cr_expect_eq(pthread_join(thread, NULL), 0);
    return rota_http_client_close(&client);
}

/* What a hook of the program's says about a failure is the response's. */
static int says_why(void *ctx, rota_stream *stream, const char *host, const char *port, bool secure, char *text,
                    size_t n) {
    (void)ctx, (void)stream, (void)port, (void)secure;
    snprintf(text, n, "no way to %s", host);
    return -EHOSTUNREACH;
}

Task_test(http_client, why_connecting_failed) {
    rota_http_client client;
    rota_http_response r;
    cr_expect_eq(rota_http_client_open(&client, &(rota_http_client_options){ .connect = says_why }), 0);
    cr_expect_eq(rota_http_request(&client, &r, "GET", "http://a/", NULL), -EHOSTUNREACH);
    cr_expect_str_eq(r.why, "no way to a");
    return rota_http_client_close(&client);
}

Task_test(http_client, mistakes) {
    rota_http_client client;
    rota_http_response r;
    static const rota_http_header bad[] = { { "A", "b\r\nC: d" }, { "A b", "c" }, { "", "c" }, { "Content-Length", "1" },
                                            { "Connection", "close" }, { NULL, "x" }, { "x", NULL } };
    cr_expect_eq(rota_http_client_open(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_http_client_open(&client, &(rota_http_client_options){ .head_max = 1 << 20 }), -EINVAL);
    cr_expect_eq(rota_http_client_open(&client, &(rota_http_client_options){ .user_agent = "a\nb" }), -EINVAL);
    cr_expect_eq(rota_http_client_open(&client, NULL), 0);
    cr_expect_eq(rota_http_request(&client, NULL, "GET", "http://a/", NULL), -EINVAL);
    cr_expect_eq(rota_http_request(NULL, &r, "GET", "http://a/", NULL), -EINVAL);
    cr_expect_eq(rota_http_request(&client, &r, "GET", NULL, NULL), -EINVAL);
    cr_expect_eq(rota_http_request(&client, &r, "G T", "http://a/", NULL), -EINVAL);
    cr_expect_eq(rota_http_request(&client, &r, "", "http://a/", NULL), -EINVAL);
    cr_expect_eq(rota_http_request(&client, &r, "CONNECT", "http://a/", NULL), -EINVAL);
    cr_expect_eq(rota_http_request(&client, &r, "GET", "ftp://a/", NULL), -EPROTONOSUPPORT);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(rota_http_request(&client, &r, "GET", "http://a/", &(rota_http_request_options){ .headers = &bad[i],
            .headers_n = 1 }), -EINVAL, "%zu", i);
    cr_expect_eq(rota_http_request(&client, &r, "GET", "http://a/", &(rota_http_request_options){ .body_n = 1 }), -EINVAL);
    cr_expect_eq(rota_http_read(&r, NULL, 0), -EINVAL);
    rota_http_response_close(&r);
    rota_http_response_close(NULL);
    cr_expect_eq(rota_http_client_close(&client), 0);
    cr_expect_eq(rota_http_client_close(NULL), -EINVAL);
    return 0;
}
