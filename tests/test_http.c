/* Tests of examples/http.c. Every message goes through the parser whole, cut in two at every place, and byte by
 * byte: what comes out must be the same. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/http.h"
#include "tests/harness.h"

enum { BODY_KEPT = 256 };

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

struct outcome {
    int rc;             /* of http_feed when it failed, else of http_end */
    size_t used;
    int status;
    char fields[512];   /* name=value; of each */
    char body[BODY_KEPT];
    uint64_t body_n;
    struct http_parser p;
};

enum kind { RESPONSE, TO_HEAD, REQUEST };

static void on_field(void *arg, const char *name, const char *value) {
    struct outcome *o = arg;
    size_t n = strlen(o->fields);
    snprintf(o->fields + n, sizeof o->fields - n, "%s=%s;", name, value);
}

static void on_body(void *arg, const char *data, size_t n) {
    struct outcome *o = arg;
    if (o->body_n + n < BODY_KEPT)
        memcpy(o->body + o->body_n, data, n);
    o->body_n += n;
}

static void begin(struct outcome *o, enum kind kind, uint64_t limit) {
    memset(o, 0, sizeof *o);
    if (kind == REQUEST)
        http_request_init(&o->p);
    else
        http_response_init(&o->p, kind == TO_HEAD);
    o->p.on_field = on_field;
    o->p.on_body = on_body;
    o->p.arg = o;
    o->p.body_limit = limit;
}

/* A copy of its own size for each piece, so that a sanitizer sees a read beyond it. */
static bool feed(struct outcome *o, const char *data, size_t n) {
    char *piece = malloc(n + (n == 0));
    memcpy(piece, data, n);
    ssize_t rc = http_feed(&o->p, piece, n);
    free(piece);
    o->rc = rc < 0 ? (int)rc : 0;
    o->used += rc > 0 ? (size_t)rc : 0;
    return rc == (ssize_t)n;
}

static void end(struct outcome *o) {
    if (o->rc == 0)
        o->rc = http_end(&o->p);
    o->status = o->p.status;
}

static void parse_in_steps(struct outcome *o, enum kind kind, uint64_t limit, const char *data, size_t n,
                           size_t cut, size_t step) {
    begin(o, kind, limit);
    size_t at = 0;
    while (at < n) {
        size_t piece = at < cut ? cut - at : step;
        if (piece > n - at)
            piece = n - at;
        if (!feed(o, data + at, piece))
            break;
        at += piece;
    }
    end(o);
}

static struct outcome parse_limited(enum kind kind, uint64_t limit, const char *data, size_t n) {
    static struct outcome whole, other;
    parse_in_steps(&whole, kind, limit, data, n, 0, n + 1);
    for (size_t cut = 0; cut < (n < 600 ? n : 0); cut++) {
        /* cut 0: byte by byte */
        parse_in_steps(&other, kind, limit, data, n, cut, cut == 0 ? 1 : n);
        cr_expect_eq(other.rc, whole.rc, "cut at %zu: %d, whole: %d", cut, other.rc, whole.rc);
        cr_expect_eq(other.status, whole.status, "cut at %zu", cut);
        if (whole.rc == 0) {
            cr_expect_eq(other.used, whole.used, "cut at %zu", cut);
            cr_expect_str_eq(other.fields, whole.fields, "cut at %zu", cut);
            cr_expect_str_eq(other.body, whole.body, "cut at %zu", cut);
        }
    }
    return whole;
}

static struct outcome parse(enum kind kind, const char *text) {
    return parse_limited(kind, 0, text, strlen(text));
}

static void expect_error(enum kind kind, int error, const char *text) {
    struct outcome o = parse(kind, text);
    cr_expect_eq(o.rc, error, "%d instead of %d for: %s", o.rc, error, text);
}

static void expect_body(const char *text, const char *body) {
    struct outcome o = parse(RESPONSE, text);
    cr_expect_eq(o.rc, 0, "%d for: %s", o.rc, text);
    cr_expect(o.p.done);
    cr_expect_str_eq(o.body, body, "%s instead of %s", o.body, body);
    cr_expect_eq(o.p.body_bytes, strlen(body));
}

/* ---- framing ------------------------------------------------------------------------------------ */

Test(http, a_body_of_known_length) {
    static const char message[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello";
    struct outcome o = parse(RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhellomore");
    cr_expect_eq(o.rc, 0);
    cr_expect_eq(o.p.status, 200);
    cr_expect_str_eq(o.p.reason, "OK");
    cr_expect_str_eq(o.fields, "Content-Length=5;Server=x;");
    cr_expect_str_eq(o.body, "hello");
    cr_expect_eq(o.used, strlen(message), "what follows is not its own");
}

Test(http, a_chunked_body_with_extensions_and_trailers) {
    expect_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
                "5;name=value;q=\"x;y\"\r\nhello\r\n0A \t\r\n0123456789\r\n000\r\nX-Sum: 15\r\nExpires: now\r\n\r\n",
                "hello0123456789");
}

Test(http, trailers_are_not_fields) {
    struct outcome o = parse(RESPONSE, CHUNKED
                                       "0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.fields, "Transfer-Encoding=chunked;");
}

Test(http, a_body_until_the_connection_closes) {
    expect_body("HTTP/1.0 200 OK\r\n\r\nall of it\r\n", "all of it\r\n");
    expect_body("HTTP/1.1 200 OK\r\n\r\n", "");
}

Test(http, an_empty_body) {
    expect_body("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nrest", "");
    expect_body(CHUNKED "0\r\n\r\nrest", "");
}

Test(http, answers_without_a_body) {
    expect_body("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\nrest", "");
    expect_body("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\nrest", "");
    struct outcome o = parse(TO_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect(o.p.done);
    cr_expect_eq(o.p.body_bytes, 0);
    o = parse(TO_HEAD, CHUNKED);
    cr_expect(o.p.done);
}

Test(http, interim_answers_are_skipped) {
    struct outcome o = parse(RESPONSE, "HTTP/1.1 100 Continue\r\n\r\n"
                                       "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n"
                                       "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok");
    cr_expect_eq(o.rc, 0);
    cr_expect_eq(o.status, 200);
    cr_expect_str_eq(o.p.reason, "Fine");
    cr_expect_str_eq(o.fields, "Content-Length=2;", "got %s", o.fields);
    cr_expect_str_eq(o.body, "ok");
    expect_error(RESPONSE, -EBADMSG, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
}

Test(http, the_same_length_twice_is_one_length) {
    expect_body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nok", "ok");
    expect_error(RESPONSE, -EBADMSG, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok");
}

Test(http, lengths_that_are_none) {
    static const char *const bad[] = { "", "+2", "-2", "2 2", "2, 2", "0x2", "2a", " " };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nok", bad[i]);
        expect_error(RESPONSE, -EBADMSG, text);
    }
    expect_error(RESPONSE, -EMSGSIZE, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n");
    expect_error(RESPONSE, -EMSGSIZE, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\n");
    expect_error(RESPONSE, -EPIPE, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nx");
}

Test(http, length_and_chunked_together_are_refused) {
    expect_error(RESPONSE, -EBADMSG,
                 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    expect_error(RESPONSE, -EBADMSG, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

Test(http, other_codings_are_refused) {
    expect_error(RESPONSE, -EOPNOTSUPP, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    expect_error(RESPONSE, -EOPNOTSUPP, "HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\n\r\n");
    expect_error(RESPONSE, -EBADMSG,
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
}

/* ---- chunks ------------------------------------------------------------------------------------- */

Test(http, chunk_sizes_that_are_none) {
    static const char *const bad[] = { "", " 5", "-5", "+5", "0x5", "5 5", "g", ";x", "5\n", "5\r", "5\x01", "5,",
                                       "\xb5" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, CHUNKED "%s\r\nhello\r\n0\r\n\r\n", bad[i]);
        expect_error(RESPONSE, -EBADMSG, text);
    }
    /* Nothing is not zero: the rest would be a good end. */
    expect_error(RESPONSE, -EBADMSG, CHUNKED "\r\n\r\n");
    expect_error(RESPONSE, -EBADMSG, CHUNKED ";x\r\n\r\n");
}

Test(http, chunk_sizes_that_overflow) {
    expect_error(RESPONSE, -EMSGSIZE, CHUNKED "10000000000000000\r\nx");
    expect_error(RESPONSE, -EMSGSIZE, CHUNKED "fffffffffffffffff\r\nx");
    expect_error(RESPONSE, -EPIPE, CHUNKED "FFFFFFFFFFFFFFFF\r\nx");
}

Test(http, a_chunk_line_without_end) {
    char text[512];
    int n = snprintf(text, sizeof text, CHUNKED "5;");
    memset(text + n, 'x', 300);
    strcpy(text + n + 300, "\r\nhello\r\n0\r\n\r\n");
    expect_error(RESPONSE, -EMSGSIZE, text);
    memset(text + n - 2, '0', 302);
    expect_error(RESPONSE, -EMSGSIZE, text);
}

Test(http, chunks_end_where_they_say) {
    expect_error(RESPONSE, -EBADMSG, CHUNKED "5\r\nhello!\r\n0\r\n\r\n");
    expect_error(RESPONSE, -EBADMSG, CHUNKED "5\r\nhello0\r\n\r\n");
    expect_error(RESPONSE, -EBADMSG, CHUNKED "5\r\nhello\n0\r\n\r\n");
    expect_error(RESPONSE, -EBADMSG, CHUNKED "0\r\n\n");
}

/* ---- the head ----------------------------------------------------------------------------------- */

Test(http, status_lines) {
    struct outcome o = parse(RESPONSE, "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_eq(o.status, 404);
    cr_expect_str_eq(o.p.reason, "");
    o = parse(RESPONSE, "HTTP/1.9 299 \r\nContent-Length: 0\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    o = parse(RESPONSE, "HTTP/1.1 200 a reason that is much longer than the sixty-three bytes that are kept of it"
                        "\r\nContent-Length: 0\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_eq(strlen(o.p.reason), sizeof o.p.reason - 1);
}

Test(http, status_lines_that_are_none) {
    static const char *const bad[] = {
        "", " ", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000 OK", "HTTP/1.1 099 x", "HTTP/1.1  200 OK",
        "HTTP/1.1 2x0 OK", "HTTP/11 200 OK", "http/1.1 200 OK", "ICY 200 OK", "SSH-2.0-OpenSSH",
        "HTTP/1.1 200 O\rK", "HTTP/1.1 200 \x1b[31m",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s\r\n\r\n", bad[i]);
        expect_error(RESPONSE, -EBADMSG, text);
    }
    expect_error(RESPONSE, -EOPNOTSUPP, "HTTP/2.0 200 OK\r\n\r\n");
    expect_error(RESPONSE, -EOPNOTSUPP, "HTTP/0.9 200 OK\r\n\r\n");
}

Test(http, fields_that_are_none) {
    static const char *const bad[] = {
        "no colon", ": no name", "Name : space", "Na me: x", "Na\x01me: x", "Name: \x01", "Name: \x7f",
        "N\xc3\xa4me: x", " folded: x", "Name: a\r\n folded", "Name: a\r\n\tfolded", "Name: a\rb", "(x): y",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", bad[i]);
        expect_error(RESPONSE, -EBADMSG, text);
    }
}

Test(http, zero_bytes_are_refused_everywhere) {
    static const char text[] = "HTTP/1.1 200 OK\r\nName: value\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\n";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char copy[sizeof text];
        memcpy(copy, text, sizeof text);
        if (copy[i] == '\r' || copy[i] == '\n')
            continue;
        copy[i] = '\0';
        struct outcome o = parse_limited(RESPONSE, 0, copy, sizeof text - 1);
        cr_expect(o.rc == -EBADMSG || o.rc == -EOPNOTSUPP, "%d with a zero byte at %zu", o.rc, i);
    }
}

Test(http, values_are_trimmed_and_may_hold_any_text) {
    struct outcome o = parse(RESPONSE, "HTTP/1.1 200 OK\r\nA:b\r\nC: \t d\te \t\r\nE:\r\nF: \xff\r\n"
                                       "Content-Length: 0\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.fields, "A=b;C=d\te;E=;F=\xff;Content-Length=0;");
}

Test(http, a_bare_newline_ends_lines_of_the_head) {
    expect_body("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "ok");
}

/* ---- limits ------------------------------------------------------------------------------------- */

/* Repeats part until the parser has enough of it; how many bytes that took. */
static size_t flood(struct outcome *o, enum kind kind, const char *start, const char *part) {
    begin(o, kind, 0);
    feed(o, start, strlen(start));
    size_t n = 0;
    while (o->rc == 0 && n < 10 * 1000 * 1000 && feed(o, part, strlen(part)))
        n += strlen(part);
    end(o);
    return n;
}

Test(http, endless_heads_end) {
    static const struct {
        const char *start, *part;
        size_t limit;
    } floods[] = {
        { "", "x", HTTP_LINE_MAX },
        { "HTTP/1.1 200 ", "x", HTTP_LINE_MAX },
        { "HTTP/1.1 200 OK\r\nName", "x", HTTP_LINE_MAX },
        { "HTTP/1.1 200 OK\r\nName: ", "x", HTTP_LINE_MAX },
        { "HTTP/1.1 200 OK\r\n", "A: b\r\n", 6 * HTTP_FIELDS_MAX },
        { "", "HTTP/1.1 100 Continue\r\n\r\n", HTTP_HEAD_MAX },
        { CHUNKED "0\r\n", "A: b\r\n", 6 * HTTP_FIELDS_MAX },
        { CHUNKED, "0", HTTP_CHUNK_LINE_MAX },
    };
    for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
        static struct outcome o;
        size_t n = flood(&o, RESPONSE, floods[i].start, floods[i].part);
        cr_expect_eq(o.rc, -EMSGSIZE, "flood %zu: %d", i, o.rc);
        cr_expect_leq(n, floods[i].limit, "flood %zu took %zu bytes", i, n);
    }
}

Test(http, a_head_of_many_long_fields_ends) {
    static char field[4096 + 8];
    memset(field, 'v', 4096);
    memcpy(field, "Name: ", 6);
    strcpy(field + 4096, "\r\n");
    static struct outcome o;
    size_t n = flood(&o, RESPONSE, "HTTP/1.1 200 OK\r\n", field);
    cr_expect_eq(o.rc, -EMSGSIZE);
    cr_expect_leq(n, HTTP_HEAD_MAX);
}

Test(http, a_line_of_just_the_limit_passes) {
    static char text[HTTP_LINE_MAX + 64];
    for (int over = 0; over < 2; over++) {
        int n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n");
        memset(text + n, 'n', HTTP_LINE_MAX + (size_t)over);
        memcpy(text + n + 4, ": ", 2);
        strcpy(text + n + HTTP_LINE_MAX + over - 2, "\r\n\r\n");
        static struct outcome o;
        o = parse_limited(RESPONSE, 0, text, strlen(text));
        cr_expect_eq(o.rc, over ? -EMSGSIZE : 0, "%d bytes over: %d", over, o.rc);
    }
}

Test(http, the_limit_of_the_body) {
    static const char *const texts[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        CHUNKED "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nhello",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct outcome o = parse_limited(RESPONSE, 5, texts[i], strlen(texts[i]));
        cr_expect_eq(o.rc, 0, "text %zu: %d", i, o.rc);
        o = parse_limited(RESPONSE, 4, texts[i], strlen(texts[i]));
        cr_expect_eq(o.rc, -EMSGSIZE, "text %zu: %d", i, o.rc);
        cr_expect_leq(o.p.body_bytes, 4);
    }
}

Test(http, a_length_over_the_limit_is_refused_before_the_body) {
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    struct outcome o = parse_limited(RESPONSE, 4, text, strlen(text));
    cr_expect_eq(o.rc, -EMSGSIZE, "%d", o.rc);
}

/* ---- the end of the connection ------------------------------------------------------------------ */

Test(http, an_early_close_is_noticed_at_every_byte) {
    static const char *const texts[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        CHUNKED "5\r\nhello\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (size_t n = 0; n < strlen(texts[i]); n++) {
            struct outcome o = parse_limited(RESPONSE, 0, texts[i], n);
            cr_expect_eq(o.rc, -EPIPE, "text %zu, %zu bytes: %d", i, n, o.rc);
            cr_expect(!o.p.done);
        }
}

Test(http, an_error_stays) {
    struct outcome o = parse(RESPONSE, "nonsense\r\n");
    cr_expect_eq(http_feed(&o.p, "HTTP/1.1 200 OK\r\n", 17), -EBADMSG);
    cr_expect_eq(http_end(&o.p), -EBADMSG);
}

Test(http, nothing_is_taken_after_the_end) {
    struct outcome o = parse(RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    cr_expect_eq(http_feed(&o.p, "x", 1), 0);
    cr_expect_eq(http_end(&o.p), 0);
}

/* ---- requests ----------------------------------------------------------------------------------- */

Test(http, a_request) {
    struct outcome o = parse(REQUEST, "GET /a?b=c HTTP/1.1\r\nhOST: example.test:80\r\nAccept: */*\r\n\r\nGET");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.p.method, "GET");
    cr_expect_str_eq(o.p.target, "/a?b=c");
    cr_expect_str_eq(o.p.host, "example.test:80");
    cr_expect(o.p.done);
    o = parse(REQUEST, "POST / HTTP/1.1\r\nHost:\r\nContent-Length: 2\r\n\r\nok");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.body, "ok");
    o = parse(REQUEST, "GET / HTTP/1.0\r\n\r\n");
    cr_expect_eq(o.rc, 0, "HTTP/1.0 has no Host");
}

Test(http, requests_that_are_none) {
    expect_error(REQUEST, -EBADMSG, "GET / HTTP/1.1\r\n\r\n");
    expect_error(REQUEST, -EBADMSG, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EBADMSG, "GET /\r\n\r\n");
    expect_error(REQUEST, -EBADMSG, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EBADMSG, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EBADMSG, "G<T / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EBADMSG, "GET /\x1b HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EBADMSG, "\x16\x03\x01 / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EMSGSIZE, "A-METHOD-WITHOUT-END / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EOPNOTSUPP, "PRI * HTTP/2.0\r\n\r\n");
    static char text[2 * HTTP_TARGET_MAX];
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "GET /", 5);
    strcpy(text + HTTP_TARGET_MAX + 64, " HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EMSGSIZE, text);
}
