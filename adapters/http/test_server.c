/* Tests of server.c and reply.c: what is answered to bytes that a client sends, whole and byte by byte. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "rota/http.h"
#include "tests/net_kit.h"
#include "tests/support.h"
#include "tests/sys_table.h"

struct talk {
    const char *input;
    size_t n, step;                  /* bytes that are sent in one go */
    int64_t pause;                   /* after all of them, before the end of the data */
    rota_http_serve_options opt;
    int ends[2];
    char output[8192];
    intptr_t served;
};

static int calls;                    /* of the handler */

static intptr_t send_as(rota_http_reply *r, const char *what) {
    char type[64];
    snprintf(type, sizeof type, "%.*s", (int)strcspn(what, "?"), what);
    for (char *at = type; *at != '\0'; at++)
        *at = *at == '!' ? '\n' : *at; /* which no target can hold */
    size_t n = (size_t)atoi(what + strcspn(what, "?") + 1);
    int rc = rota_http_reply_send(r, 200, type, "0123456789abcdef", n);
    return rc == -EINVAL ? rota_http_reply_send(r, 200, NULL, "refused", 7) : rc;
}

/* /echo: the body. /chunks: in chunks. /fail: an error. /late: an error behind the head. /short: less than was said.
 * /as/TYPE?N: N bytes of that type, or why not. /none: nothing at all. /204. /trailers: those of the request. */
static intptr_t handler(rota_http_incoming *q, rota_http_reply *r, void *arg) {
    (void)arg;
    char body[256];
    ssize_t n = 0;
    size_t sum = 0;
    calls++;
    if (strcmp(q->target, "/echo") == 0 || strcmp(q->target, "/trailers") == 0) {
        while ((n = rota_http_incoming_read(q, body + sum, sizeof body - sum)) > 0)
            sum += (size_t)n;
        if (n < 0)
            return n;
        const char *trailer = rota_http_field(&q->trailers, "X-Sum");
        if (q->target[1] == 't')
            return rota_http_reply_send(r, 200, NULL, trailer ? trailer : "none", trailer ? strlen(trailer) : 4);
        return rota_http_reply_send(r, 200, "text/plain", body, sum);
    }
    if (strncmp(q->target, "/as/", 4) == 0)
        return send_as(r, q->target + 4);
    if (strcmp(q->target, "/chunks") == 0) {
        int rc = rota_http_reply_write(r, "one", 3);
        return rc < 0 ? rc : rota_http_reply_write(r, "three", 5);
    }
    if (strcmp(q->target, "/fail") == 0)
        return rota_http_reply_begin(r, 200) < 0 ? -EIO : -ENXIO;
    if (strcmp(q->target, "/late") == 0)
        return rota_http_reply_flush(r) < 0 ? -EIO : -ENXIO;
    if (strcmp(q->target, "/short") == 0)
        return rota_http_reply_length(r, 5) < 0 ? -EIO : rota_http_reply_write(r, "abc", 3);
    if (strcmp(q->target, "/none") == 0)
        return 0;
    if (strcmp(q->target, "/204") == 0)
        return rota_http_reply_begin(r, 204);
    snprintf(body, sizeof body, "%s %s of %s", q->method, q->target, q->host);
    return rota_http_reply_send(r, 200, NULL, body, strlen(body));
}

static intptr_t serve_one(void *arg) {
    struct talk *t = arg;
    rota_stream stream;
    cr_expect_eq(rota_stream_open(&stream, t->ends[1], NULL), 0);
    t->served = rota_http_serve_stream(&stream, handler, NULL, &t->opt);
    rota_stream_close(&stream);
    return 0;
}

static intptr_t send_input(void *arg) {
    struct talk *t = arg;
    int rc = 0;
    for (size_t at = 0, n; at < t->n && rc == 0; at += n) {
        n = t->n - at < t->step ? t->n - at : t->step;
        rc = rota_write_all(t->ends[0], t->input + at, n, NULL);
        if (rc == 0 && t->step < t->n)
            rc = rota_sleep(1 * ROTA_MS);
    }
    if (t->pause > 0)
        cr_expect_eq(rota_sleep(t->pause), 0);
    shutdown(t->ends[0], SHUT_WR);
    return 0; /* a server that has heard enough closes */
}

/* The Date fields differ. */
static void strip_dates(char *text) {
    for (char *at; (at = strstr(text, "Date: ")) != NULL;) {
        char *end = strchr(at, '\n');
        memmove(at, end + 1, strlen(end + 1) + 1);
    }
}

static intptr_t talk_task(void *arg) {
    struct talk *t = arg;
    rota_task *server, *sender;
    unix_pair(t->ends);
    cr_expect_eq(rota_spawn(&server, serve_one, t, NULL), 0);
    cr_expect_eq(rota_spawn(&sender, send_input, t, NULL), 0);
    size_t sum = 0;
    ssize_t n;
    while ((n = rota_read(t->ends[0], t->output + sum, sizeof t->output - 1 - sum)) > 0)
        sum += (size_t)n;
    t->output[sum] = '\0';
    cr_expect_eq(rota_join(sender, NULL), 0);
    cr_expect_eq(rota_join(server, NULL), 0);
    rota_close(t->ends[0]);
    strip_dates(t->output);
    return 0;
}

static struct talk talk_with(const rota_http_serve_options *opt, const char *input, size_t n, size_t step,
                             int64_t pause) {
    struct talk t = { .input = input, .n = n, .step = step, .pause = pause };
    if (opt != NULL)
        t.opt = *opt;
    t.opt.allocator = &memory_allocator;
    run_task(talk_task, &t);
    return t;
}

static struct talk talk(const char *input) {
    struct talk slow = talk_with(NULL, input, strlen(input), 1, 0);
    struct talk t = talk_with(NULL, input, strlen(input), 100000, 0);
    cr_expect_str_eq(slow.output, t.output, "byte by byte: %s\nwhole: %s", slow.output, t.output);
    cr_expect_eq(slow.served, t.served);
    return t;
}

static void expect_output(const char *input, const char *output) {
    struct talk t = talk(input);
    cr_expect_str_eq(t.output, output, "to: %s\ncame: %s", input, t.output);
}

static void expect_turned_away(const char *input, const char *status_line) {
    struct talk t = talk(input);
    cr_expect_eq(strncmp(t.output, status_line, strlen(status_line)), 0, "to: %.60s\ncame: %s", input, t.output);
    cr_expect_not_null(strstr(t.output, "\r\nConnection: close\r\n"), "%s", t.output);
    cr_expect_eq(t.served, 0);
}

#define OK(length) "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n\r\n"

/* The head of the answer before is used again, or not. */
Test(http_server, answers_differ_in_type_and_length) {
#define AS(type, n) "GET /as/" type "?" n " HTTP/1.1\r\nHost: h\r\n\r\n"
#define TYPED(type, n) "HTTP/1.1 200 OK\r\nContent-Type: " type "\r\nContent-Length: " n "\r\n\r\n"
#define LONG_TYPE "application/vnd.a-type-that-is-too-long-to-be-kept"
    expect_output(AS("text/plain", "3") AS("text/plain", "3") AS("text/plain", "12") AS("text/plain", "0"),
                  TYPED("text/plain", "3") "012" TYPED("text/plain", "3") "012"
                  TYPED("text/plain", "12") "0123456789ab" TYPED("text/plain", "0"));
    expect_output(AS("text/plain", "3") AS("a/b", "3") AS(LONG_TYPE, "3") AS("a/b", "3") AS("text/plain", "4") AS("", "1"),
                  TYPED("text/plain", "3") "012" TYPED("a/b", "3") "012" TYPED(LONG_TYPE, "3") "012"
                  TYPED("a/b", "3") "012" TYPED("text/plain", "4") "0123" TYPED("", "1") "0");
    expect_output(AS("", "1") AS("a/b", "2") AS("a!b", "2") AS("a/b", "2"),
                  TYPED("", "1") "0" TYPED("a/b", "2") "01" OK("7") "refused" TYPED("a/b", "2") "01");
}

Test(http_server, answers) {
    expect_output("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", OK("11") "GET /a of h");
    expect_output("GET /none HTTP/1.1\r\nHost: h\r\n\r\n", OK("0"));
    expect_output("GET /204 HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n");
    expect_output("", "");
}

Test(http_server, answers_requests_that_came_together_in_order) {
    expect_output("GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n"
                  "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxyGET /c HTTP/1.1\r\nHost: h\r\n\r\n",
                  OK("11") "GET /a of h" OK("11") "GET /b of h"
                  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nxy" OK("11") "GET /c of h");
}

Test(http_server, many_requests_pass_through_one_buffer) {
    static char input[64 * 1000];
    size_t n = 0;
    for (int i = 0; i < 1000; i++)
        n += (size_t)snprintf(input + n, sizeof input - n, "GET /204 HTTP/1.1\r\nHost: h%d\r\nPadding: 12345\r\n\r\n", i);
    calls = 0;
    struct talk t = talk_with(NULL, input, n, 777, 0);
    cr_expect_eq(t.served, 0);
    cr_expect_eq(calls, 1000 - (strlen(t.output) < 20), "%d", calls);
}

Test(http_server, a_body_that_was_not_read_is_skipped) {
    expect_output("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"
                  "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
                  OK("12") "POST /a of h" OK("11") "GET /b of h");
}

Test(http_server, bodies_in_chunks_with_trailers) {
    expect_output("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nabcde");
    expect_output("POST /trailers HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 294\r\n\r\n"
                  "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
                  OK("3") "294" OK("11") "GET /b of h");
}

Test(http_server, answers_in_chunks) {
    expect_output("GET /chunks HTTP/1.1\r\nHost: h\r\n\r\n",
                  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n");
    expect_output("GET /chunks HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonethree");
}

Test(http_server, to_head_the_body_is_left_out) {
    expect_output("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n", OK("12") OK("11") "GET /b of h");
    expect_output("HEAD /chunks HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

Test(http_server, ends_the_connection_when_asked) {
    expect_output("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
                  "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nGET /a of h");
    expect_output("GET /a HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nGET /a of ");
    expect_output("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
                  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: keep-alive\r\n\r\nGET /a of " OK("11") "GET /b of h");
}

Test(http_server, what_is_no_request_is_turned_away) {
    expect_turned_away("nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n");
    expect_turned_away("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n");
    expect_turned_away("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n");
    expect_turned_away("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n");
    expect_turned_away("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "HTTP/1.1 501 Not Implemented\r\n");
    expect_turned_away("GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", "HTTP/1.1 417 Expectation Failed\r\n");
    expect_turned_away("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\n");
    expect_turned_away("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                       "HTTP/1.1 413 Content Too Large\r\n");
    expect_turned_away("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
                       "HTTP/1.1 413 Content Too Large\r\n");
    expect_turned_away("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "HTTP/1.1 400 Bad Request\r\n");
    expect_turned_away("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                       "HTTP/1.1 400 Bad Request\r\n");
}

Test(http_server, heads_that_are_too_long_are_turned_away) {
    static char text[40000];
    snprintf(text, sizeof text, "GET /%030000d HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    struct talk t = talk_with(NULL, text, strlen(text), 5000, 0);
    cr_expect_eq(strncmp(t.output, "HTTP/1.1 414 ", 13), 0, "%s", t.output);
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\nLong: %030000d\r\n\r\n", 0);
    t = talk_with(NULL, text, strlen(text), 5000, 0);
    cr_expect_eq(strncmp(t.output, "HTTP/1.1 431 ", 13), 0, "%s", t.output);
    size_t n = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "A: b\r\n");
    t = talk_with(NULL, text, n, 5000, 0);
    cr_expect_eq(strncmp(t.output, "HTTP/1.1 431 ", 13), 0, "%s", t.output);
}

Test(http_server, answers_before_the_bad_request_arrive) {
    expect_output("GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
                  OK("11") "GET /a of h"
                  "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 23\r\nConnection: close\r\n\r\n"
                  "there is no Host field\n");
}

Test(http_server, a_slow_head_is_answered_408) {
    static const char part[] = "GET / HTTP/1.1\r\nHost: h\r\n";
    struct talk t = talk_with(NULL, part, sizeof part - 1, 100, 20 * ROTA_S);
    cr_expect_eq(strncmp(t.output, "HTTP/1.1 408 ", 13), 0, "%s", t.output);
    t = talk_with(NULL, "", 0, 1, 100 * ROTA_S);
    cr_expect_str_eq(t.output, "", "an idle connection ends without a word: %s", t.output);
    cr_expect_eq(t.served, 0);
}

Test(http_server, a_slow_body_is_answered_408) {
    static const char part[] = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc";
    struct talk t = talk_with(NULL, part, sizeof part - 1, 100, 40 * ROTA_S);
    cr_expect_eq(strncmp(t.output, "HTTP/1.1 408 ", 13), 0, "%s", t.output);
}

Test(http_server, a_client_that_goes_away_is_no_failure) {
    expect_output("GET / HTTP/1.1\r\nHo", "");
    expect_output("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc", "");
}

/* The client waits for leave; byte by byte the leave comes too, but not if the body is there already. */
Test(http_server, leave_to_send_the_body) {
    static const char text[] = "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
    struct talk t = talk_with(NULL, text, sizeof text - 1, sizeof text - 4, 0);
    cr_expect_str_eq(t.output, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 3\r\n\r\nabc", "%s", t.output);
    t = talk_with(NULL, text, sizeof text - 1, sizeof text, 0);
    cr_expect_null(strstr(t.output, "100 Continue"), "%s", t.output);
}

Test(http_server, failures_of_the_handler) {
    struct talk t = talk("GET /fail HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    cr_expect_eq(strncmp(t.output, "HTTP/1.1 500 Internal Server Error\r\n", 36), 0, "%s", t.output);
    cr_expect_null(strstr(t.output, "GET /b"));
    cr_expect_eq(t.served, -ENXIO);
    t = talk("GET /late HTTP/1.1\r\nHost: h\r\n\r\n");
    cr_expect_str_eq(t.output, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "cut off, and so not complete");
    cr_expect_eq(t.served, -ENXIO);
    t = talk("GET /short HTTP/1.1\r\nHost: h\r\n\r\n");
    cr_expect_eq(t.served, -EPROTO);
}

static intptr_t misuse(rota_http_incoming *q, rota_http_reply *r, void *arg) {
    (void)arg;
    (void)q;
    cr_expect_eq(rota_http_reply_begin(r, 100), -EINVAL);
    cr_expect_eq(rota_http_reply_begin(r, 600), -EINVAL);
    cr_expect_eq(rota_http_reply_begin(r, 200), 0);
    cr_expect_eq(rota_http_reply_begin(r, 200), -EALREADY);
    cr_expect_eq(rota_http_reply_field(r, "A", "b\r\nC: d"), -EINVAL);
    cr_expect_eq(rota_http_reply_field(r, "A b", "c"), -EINVAL);
    cr_expect_eq(rota_http_reply_field(r, "Content-Length", "3"), -EINVAL);
    cr_expect_eq(rota_http_reply_field(r, "transfer-encoding", "chunked"), -EINVAL);
    static char large[20000];
    memset(large, 'x', sizeof large - 1);
    cr_expect_eq(rota_http_reply_field(r, "A", large), -EMSGSIZE);
    cr_expect_eq(rota_http_reply_field(r, "A", ""), 0);
    cr_expect_eq(rota_http_reply_length(r, 3), 0);
    cr_expect_eq(rota_http_reply_length(r, 3), -EALREADY);
    cr_expect_eq(rota_http_reply_write(r, "abcd", 4), -EMSGSIZE);
    cr_expect_eq(rota_http_reply_write(r, "abc", 3), 0);
    cr_expect_eq(rota_http_reply_field(r, "A", "b"), -EALREADY);
    return 0;
}

static intptr_t serve_misuse(void *arg) {
    int ends[2];
    char text[512] = "";
    rota_stream stream;
    (void)arg;
    unix_pair(ends);
    cr_expect_eq(write(ends[0], "GET / HTTP/1.1\r\nHost:\r\n\r\n", 25), 25);
    shutdown(ends[0], SHUT_WR);
    cr_expect_eq(rota_stream_open(&stream, ends[1], NULL), 0);
    cr_expect_eq(rota_http_serve_stream(&stream, NULL, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_http_serve_stream(NULL, misuse, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_http_serve_stream(&stream, misuse, NULL, &(rota_http_serve_options){ .head_max = 1 << 20 }), -EINVAL);
    cr_expect_eq(rota_http_serve_stream(&stream, misuse, NULL, &(rota_http_serve_options){ .server = "a\nb" }), -EINVAL);
    cr_expect_eq(rota_http_serve_stream(&stream, misuse, NULL, &(rota_http_serve_options){ .server = "rota" }), 0);
    rota_stream_close(&stream);
    cr_expect(read(ends[0], text, sizeof text - 1) > 0);
    cr_expect_not_null(strstr(text, "Server: rota\r\nA: \r\nContent-Length: 3\r\n\r\nabc"), "%s", text);
    close(ends[0]);
    return 0;
}

Test(http_server, mistakes) { run_task(serve_misuse, NULL); }

/* ---- stopping ---- */

struct stop {
    rota_future ready;
    int port;
    rota_task *server;
    intptr_t outcome;
    rota_future all;                 /* STAY_IDLE were answered */
    int answered;
};

enum { STAY_IDLE = 12 };

static void listening(int fd, void *arg) {
    struct stop *s = arg;
    s->port = port_of(fd);
    cr_expect_eq(rota_future_set(&s->ready, 0), 0);
}

static intptr_t slow(rota_http_incoming *q, rota_http_reply *r, void *arg) {
    (void)arg;
    int rc = strcmp(q->target, "/slow") == 0 ? rota_sleep(1 * ROTA_S) : 0;
    return rc < 0 ? rc : rota_http_reply_send(r, 200, NULL, "done", 4);
}

static intptr_t serve_slow(void *arg) {
    return rota_http_serve("127.0.0.1", "0", slow, arg,
                           &(rota_http_serve_options){ .serve = { .listening = listening, .drain = 10 * ROTA_S } });
}

static void ask(int fd, const char *target) {
    char text[128];
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    cr_expect_eq(rota_write_all(fd, text, (size_t)n, NULL), 0);
}

Task_test(http_server, stopped_it_ends_idle_connections_and_finishes_answers) {
    struct stop s = { .port = 0 };
    char text[512] = "", port[8];
    cr_expect_eq(rota_spawn(&s.server, serve_slow, &s, NULL), 0);
    cr_expect_eq(rota_future_await(&s.ready, NULL), 0);
    snprintf(port, sizeof port, "%d", s.port);
    int idle = rota_dial("127.0.0.1", port, NULL), busy = rota_dial("127.0.0.1", port, NULL);
    ask(idle, "/quick");
    cr_expect(rota_read(idle, text, sizeof text) > 0);
    ask(busy, "/slow");
    cr_expect_eq(rota_sleep(100 * ROTA_MS), 0);
    int64_t start = rota_now();
    rota_cancel(s.server, "enough");
    cr_expect_eq(rota_read(idle, text, sizeof text), 0, "the idle one ends at once");
    cr_expect_eq(since(start), 0);
    memset(text, 0, sizeof text);
    cr_expect(rota_read(busy, text, sizeof text - 1) > 0);
    cr_expect_not_null(strstr(text, "Connection: close\r\n\r\ndone"), "%s", text);
    cr_expect_eq(rota_read(busy, text, sizeof text), 0);
    intptr_t outcome = 0;
    cr_expect_eq(rota_join(s.server, &outcome), 0);
    cr_expect_eq(outcome, -ECANCELED);
    cr_expect(since(start) < 2 * ROTA_S);
    rota_close(idle);
    rota_close(busy);
    return 0;
}

/* A connection of the server that waits for its next request. */
static intptr_t stays_idle(void *arg) {
    struct stop *s = arg;
    char text[512], port[8];
    snprintf(port, sizeof port, "%d", s->port);
    int fd = rota_dial("127.0.0.1", port, NULL);
    ask(fd, "/quick");
    cr_expect(rota_read(fd, text, sizeof text) > 0);
    if (++s->answered == STAY_IDLE)
        cr_expect_eq(rota_future_set(&s->all, 0), 0);
    cr_expect_eq(rota_read(fd, text, sizeof text), 0);
    rota_close(fd);
    return 0;
}

static intptr_t serve_on_threads(void *arg) {
    return rota_http_serve("127.0.0.1", "0", slow, arg,
                           &(rota_http_serve_options){
                               .serve = { .listening = listening, .threads = 3, .drain = 30 * ROTA_S } });
}

/* Their clocks are the real one: drained connections would keep it for half a minute. */
Task_test(http_server, stopped_it_ends_idle_connections_on_all_threads) {
    struct stop s = { .port = 0 };
    rota_group group;
    struct timespec begin, end;
    cr_expect_eq(rota_spawn(&s.server, serve_on_threads, &s, NULL), 0);
    cr_expect_eq(rota_future_await(&s.ready, NULL), 0);
    rota_group_begin(&group, NULL);
    for (int i = 0; i < STAY_IDLE; i++)
        cr_expect_eq(rota_spawn(NULL, stays_idle, &s, &(rota_spawn_options){ .group = &group }), 0);
    cr_expect_eq(rota_future_await(&s.all, NULL), 0);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    rota_cancel(s.server, "enough");
    cr_expect_eq(rota_group_end(&group, 0), 0);
    intptr_t outcome = 0;
    cr_expect_eq(rota_join(s.server, &outcome), 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    cr_expect_eq(outcome, -ECANCELED);
    cr_expect(end.tv_sec - begin.tv_sec < 20, "they were told, not drained");
    return 0;
}

/* ---- a listener that fails; a handler that does ---- */

static atomic_bool listeners_fail;

static int failing_accept(int fd, struct sockaddr *addr, socklen_t *len) {
    return atomic_load(&listeners_fail) ? -EINVAL : rota__sys_real.accept(fd, addr, len);
}

/* One thread's listener fails; connections of all of them end at once, and the server with that error. */
static intptr_t fail_on_threads(void *unused) {
    struct stop s = { .port = 0 };
    rota_group group;
    struct timespec begin, end;
    (void)unused;
    cr_expect_eq(rota_spawn(&s.server, serve_on_threads, &s, NULL), 0);
    cr_expect_eq(rota_future_await(&s.ready, NULL), 0);
    rota_group_begin(&group, NULL);
    for (int i = 0; i < STAY_IDLE; i++)
        cr_expect_eq(rota_spawn(NULL, stays_idle, &s, &(rota_spawn_options){ .group = &group }), 0);
    cr_expect_eq(rota_future_await(&s.all, NULL), 0);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    atomic_store(&listeners_fail, true);
    int knock = raw_connect(s.port);
    cr_expect_eq(rota_group_end(&group, 0), 0);
    intptr_t outcome = 0;
    cr_expect_eq(rota_join(s.server, &outcome), 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    close(knock);
    cr_expect_eq(outcome, -EINVAL);
    cr_expect(end.tv_sec - begin.tv_sec < 20, "they were told, not drained");
    return 0;
}

Test(http_server, a_listener_that_fails_ends_idle_connections_on_all_threads) {
    use_shim()->accept = failing_accept;
    cr_expect_eq(run_task(fail_on_threads, NULL), 0);
    rota__sys = &rota__sys_real;
}

static int told_error;
static char told_why[64];

static void told(int error, const char *why, const rota_http_incoming *request, void *arg) {
    (void)arg;
    told_error = error;
    snprintf(told_why, sizeof told_why, "%s: %s", request->target, why);
}

static intptr_t writes_too_little(rota_http_incoming *q, rota_http_reply *r, void *arg) {
    (void)arg;
    if (strcmp(q->target, "/fails") == 0)
        return -EIO;
    int rc = rota_http_reply_length(r, 10);
    return rc < 0 ? rc : rota_http_reply_write(r, "short", 5);
}

static void converse_with_a_failing_handler(const char *target, void (*failed)(int, const char *,
                                            const rota_http_incoming *, void *), intptr_t outcome) {
    int fds[2];
    rota_stream stream;
    unix_pair(fds);
    told_error = 0;
    ask(fds[1], target);
    shutdown(fds[1], SHUT_WR);
    cr_expect_eq(rota_stream_open(&stream, fds[0], NULL), 0);
    cr_expect_eq(rota_http_serve_stream(&stream, writes_too_little, NULL, &(rota_http_serve_options){
        .failed = failed }), outcome);
    rota_stream_close(&stream);
    rota_close(fds[1]);
}

Task_test(http_server, a_handler_that_fails_is_told_of_in_words) {
    converse_with_a_failing_handler("/short", told, 0);
    cr_expect_eq(told_error, -EPROTO);
    cr_expect_str_eq(told_why, "/short: the handler wrote fewer bytes than it had announced");
    converse_with_a_failing_handler("/fails", told, 0);
    cr_expect_eq(told_error, -EIO);
    converse_with_a_failing_handler("/short", NULL, -EPROTO);
    return 0;
}
