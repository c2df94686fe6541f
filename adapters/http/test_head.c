/* Tests of head.c and body.c. Every message goes through them whole, cut in two at every place, and byte by byte: what
 * comes out must be the same. At the end, mutations of good messages: nothing is written or read outside, and the
 * outcome does not depend on how the bytes come. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/http/head.h"
#include "adapters/http/text.h"
#include "tests/harness.h"

enum { BODY_KEPT = 256, LIMIT = 16 * 1024 };

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

enum kind { RESPONSE, TO_HEAD, REQUEST };

struct outcome {
    int rc;              /* the first error; -EPIPE when it is not complete */
    bool done;
    size_t used;
    int status;
    char fields[512];    /* name=value; of each */
    char trailers[512];
    char body[BODY_KEPT];
    uint64_t body_n;
    char reason[80], method[32], target[64], host[64];
    bool close;

    /* Of the driver. */
    enum kind kind;
    uint64_t max;
    bool head_done;
    char *text;          /* all that has come, in a block of its size, so that a sanitizer sees a step beyond it */
    size_t n, head_at, first, interim;
    struct rota__http_head head;
    struct rota__http_body b;
};

static void add(char *to, size_t size, const char *s) { snprintf(to, size, "%.*s", (int)size - 1, s); }

static void list(char *to, size_t size, const struct outcome *o, bool trailers) {
    rota_http_fields fields = rota__http_fields(&o->head, o->text + o->head_at, trailers);
    const char *name, *value;
    size_t n = 0;
    to[0] = '\0';
    for (unsigned i = 0; rota_http_field_at(&fields, i, &name, &value) && n < size; i++)
        n += (size_t)snprintf(to + n, size - n, "%s=%s;", name, value);
}

static void begin(struct outcome *o, enum kind kind, uint64_t limit) {
    memset(o, 0, sizeof *o);
    o->kind = kind;
    o->max = limit > 0 ? limit : UINT64_MAX;
    rota__http_head_init(&o->head, kind == REQUEST);
}

/* As a client and a server do. 1: the head is complete. */
static int feed_head(struct outcome *o) {
    for (;;) {
        int rc = rota__http_head_feed(&o->head, o->text + o->head_at, o->n - o->head_at, LIMIT - o->interim);
        if (rc <= 0 || o->kind == REQUEST || o->head.status / 100 != 1)
            return rc;
        if (o->head.status == 101)
            return -EPROTO;
        o->head_at += o->head.n;
        o->interim += o->head.n;
        rota__http_head_init(&o->head, false);
    }
}

static void keep_head(struct outcome *o) {
    const char *text = o->text + o->head_at;
    o->head_done = true;
    o->first = o->head_at + o->head.n;
    o->status = o->head.status;
    o->close = o->head.close;
    list(o->fields, sizeof o->fields, o, false);
    if (o->kind == REQUEST) {
        add(o->method, sizeof o->method, text + o->head.method);
        add(o->target, sizeof o->target, text + o->head.target);
        add(o->host, sizeof o->host, o->head.host > 0 ? text + o->head.host : "");
    } else {
        add(o->reason, sizeof o->reason, text + o->head.reason);
    }
}

static int feed_body(struct outcome *o) {
    while (!o->b.done) {
        size_t used, data;
        if (rota__http_body_at_trailers(&o->b)) {
            if (!o->head.in_trailers)
                rota__http_trailers_begin(&o->head, o->first - o->head_at);
            int rc = rota__http_trailers_feed(&o->head, o->text + o->head_at, o->n - o->head_at, LIMIT);
            o->first = rc > 0 ? o->head_at + o->head.n : o->first;
            o->b.done = rc > 0;
            if (rc > 0)
                list(o->trailers, sizeof o->trailers, o, true);
            return rc < 0 ? rc : 0;
        }
        int rc = rota__http_body_take(&o->b, o->text + o->first, o->n - o->first, 7, &used, &data);
        o->first += used;
        if (o->body_n + data < BODY_KEPT)
            memcpy(o->body + o->body_n, o->text + o->first - data, data);
        o->body_n += data;
        if (rc < 0 || used == 0)
            return rc;
    }
    return 0;
}

/* True when more is wanted. */
static bool feed(struct outcome *o, const char *data, size_t n) {
    char *text = malloc(o->n + n + (o->n + n == 0));
    if (o->n > 0)
        memcpy(text, o->text, o->n);
    memcpy(text + o->n, data, n);
    free(o->text);
    o->text = text;
    o->n += n;
    if (!o->head_done) {
        int rc = feed_head(o);
        if (rc > 0) {
            keep_head(o);
            rc = rota__http_body_init(&o->b, &o->head, o->kind == TO_HEAD, o->max);
        }
        o->rc = rc;
    }
    if (o->rc == 0 && o->head_done)
        o->rc = feed_body(o);
    return o->rc == 0 && !(o->head_done && o->b.done);
}

static void end(struct outcome *o) {
    if (o->rc == 0)
        o->rc = o->head_done ? rota__http_body_end(&o->b) : -EPIPE;
    o->done = o->rc == 0 && o->b.done;
    o->used = o->first;
    free(o->text);
    o->text = NULL;
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
            cr_expect_str_eq(other.trailers, whole.trailers, "cut at %zu", cut);
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
    cr_expect(o.done);
    cr_expect_str_eq(o.body, body, "%s instead of %s", o.body, body);
    cr_expect_eq(o.body_n, strlen(body));
}

/* ---- framing ------------------------------------------------------------------------------------ */

Test(http_head, a_body_of_known_length) {
    static const char message[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello";
    struct outcome o = parse(RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhellomore");
    cr_expect_eq(o.rc, 0);
    cr_expect_eq(o.status, 200);
    cr_expect_str_eq(o.reason, "OK");
    cr_expect_str_eq(o.fields, "Content-Length=5;Server=x;");
    cr_expect_str_eq(o.body, "hello");
    cr_expect_eq(o.used, strlen(message), "what follows is not its own");
}

Test(http_head, a_chunked_body_with_extensions_and_trailers) {
    expect_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
                "5;name=value;q=\"x;y\"\r\nhello\r\n0A \t\r\n0123456789\r\n000\r\nX-Sum: 15\r\nExpires: now\r\n\r\n",
                "hello0123456789");
}

Test(http_head, trailers_are_not_fields) {
    struct outcome o = parse(RESPONSE, CHUNKED
                                       "0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.fields, "Transfer-Encoding=chunked;");
    cr_expect_str_eq(o.trailers, "Content-Length=9;Transfer-Encoding=x;");
}

Test(http_head, a_body_until_the_connection_closes) {
    expect_body("HTTP/1.0 200 OK\r\n\r\nall of it\r\n", "all of it\r\n");
    expect_body("HTTP/1.1 200 OK\r\n\r\n", "");
}

Test(http_head, an_empty_body) {
    expect_body("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nrest", "");
    expect_body(CHUNKED "0\r\n\r\nrest", "");
}

Test(http_head, answers_without_a_body) {
    expect_body("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\nrest", "");
    expect_body("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\nrest", "");
    struct outcome o = parse(TO_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect(o.done);
    cr_expect_eq(o.body_n, 0);
    o = parse(TO_HEAD, CHUNKED);
    cr_expect(o.done);
}

Test(http_head, interim_answers_are_skipped) {
    struct outcome o = parse(RESPONSE, "HTTP/1.1 100 Continue\r\n\r\n"
                                       "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n"
                                       "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok");
    cr_expect_eq(o.rc, 0);
    cr_expect_eq(o.status, 200);
    cr_expect_str_eq(o.reason, "Fine");
    cr_expect_str_eq(o.fields, "Content-Length=2;", "got %s", o.fields);
    cr_expect_str_eq(o.body, "ok");
    expect_error(RESPONSE, -EPROTO, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
}

Test(http_head, the_same_length_twice_is_one_length) {
    expect_body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nok", "ok");
    expect_error(RESPONSE, -EPROTO, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok");
}

Test(http_head, lengths_that_are_none) {
    static const char *const bad[] = { "", "+2", "-2", "2 2", "2, 2", "0x2", "2a", " " };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nok", bad[i]);
        expect_error(RESPONSE, -EPROTO, text);
    }
    expect_error(RESPONSE, -EMSGSIZE, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n");
    expect_error(RESPONSE, -EMSGSIZE, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\n");
    expect_error(RESPONSE, -EPIPE, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nx");
}

Test(http_head, length_and_chunked_together_are_refused) {
    expect_error(RESPONSE, -EPROTO,
                 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    expect_error(RESPONSE, -EPROTO, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

Test(http_head, other_codings_are_refused) {
    expect_error(RESPONSE, -EOPNOTSUPP, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    expect_error(RESPONSE, -EOPNOTSUPP, "HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\n\r\n");
    expect_error(RESPONSE, -EPROTO,
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
}

/* ---- chunks ------------------------------------------------------------------------------------- */

Test(http_head, chunk_sizes_that_are_none) {
    static const char *const bad[] = { "", " 5", "-5", "+5", "0x5", "5 5", "g", ";x", "5\n", "5\r", "5\x01", "5,",
                                       "\xb5" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, CHUNKED "%s\r\nhello\r\n0\r\n\r\n", bad[i]);
        expect_error(RESPONSE, -EPROTO, text);
    }
    /* Nothing is not zero: the rest would be a good end. */
    expect_error(RESPONSE, -EPROTO, CHUNKED "\r\n\r\n");
    expect_error(RESPONSE, -EPROTO, CHUNKED ";x\r\n\r\n");
}

Test(http_head, chunk_sizes_that_overflow) {
    expect_error(RESPONSE, -EMSGSIZE, CHUNKED "10000000000000000\r\nx");
    expect_error(RESPONSE, -EMSGSIZE, CHUNKED "fffffffffffffffff\r\nx");
    expect_error(RESPONSE, -EPIPE, CHUNKED "FFFFFFFFFFFFFFFF\r\nx");
}

Test(http_head, a_chunk_line_without_end) {
    char text[512];
    int n = snprintf(text, sizeof text, CHUNKED "5;");
    memset(text + n, 'x', 300);
    strcpy(text + n + 300, "\r\nhello\r\n0\r\n\r\n");
    expect_error(RESPONSE, -EMSGSIZE, text);
    memset(text + n - 2, '0', 302);
    expect_error(RESPONSE, -EMSGSIZE, text);
}

Test(http_head, chunks_end_where_they_say) {
    expect_error(RESPONSE, -EPROTO, CHUNKED "5\r\nhello!\r\n0\r\n\r\n");
    expect_error(RESPONSE, -EPROTO, CHUNKED "5\r\nhello0\r\n\r\n");
    expect_error(RESPONSE, -EPROTO, CHUNKED "5\r\nhello\n0\r\n\r\n");
    expect_error(RESPONSE, -EPROTO, CHUNKED "0\r\n\n");
}

/* ---- the head ----------------------------------------------------------------------------------- */

Test(http_head, status_lines) {
    struct outcome o = parse(RESPONSE, "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_eq(o.status, 404);
    cr_expect_str_eq(o.reason, "");
    o = parse(RESPONSE, "HTTP/1.9 299 \r\nContent-Length: 0\r\n\r\n");
    cr_expect_eq(o.rc, 0);
}

Test(http_head, status_lines_that_are_none) {
    static const char *const bad[] = {
        "", " ", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000 OK", "HTTP/1.1 099 x", "HTTP/1.1  200 OK",
        "HTTP/1.1 2x0 OK", "HTTP/11 200 OK", "http/1.1 200 OK", "ICY 200 OK", "SSH-2.0-OpenSSH",
        "HTTP/1.1 200 O\rK", "HTTP/1.1 200 \x1b[31m",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s\r\n\r\n", bad[i]);
        expect_error(RESPONSE, -EPROTO, text);
    }
    expect_error(RESPONSE, -EOPNOTSUPP, "HTTP/2.0 200 OK\r\n\r\n");
    expect_error(RESPONSE, -EOPNOTSUPP, "HTTP/0.9 200 OK\r\n\r\n");
}

Test(http_head, fields_that_are_none) {
    static const char *const bad[] = {
        "no colon", ": no name", "Name : space", "Na me: x", "Na\x01me: x", "Name: \x01", "Name: \x7f",
        "N\xc3\xa4me: x", " folded: x", "Name: a\r\n folded", "Name: a\r\n\tfolded", "Name: a\rb", "(x): y",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", bad[i]);
        expect_error(RESPONSE, -EPROTO, text);
    }
}

Test(http_head, zero_bytes_are_refused_everywhere) {
    static const char text[] = "HTTP/1.1 200 OK\r\nName: value\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\n";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char copy[sizeof text];
        memcpy(copy, text, sizeof text);
        if (copy[i] == '\r' || copy[i] == '\n')
            continue;
        copy[i] = '\0';
        struct outcome o = parse_limited(RESPONSE, 0, copy, sizeof text - 1);
        cr_expect(o.rc == -EPROTO || o.rc == -EOPNOTSUPP, "%d with a zero byte at %zu", o.rc, i);
    }
}

Test(http_head, values_are_trimmed_and_may_hold_any_text) {
    struct outcome o = parse(RESPONSE, "HTTP/1.1 200 OK\r\nA:b\r\nC: \t d\te \t\r\nE:\r\nF: \xff\r\n"
                                       "Content-Length: 0\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.fields, "A=b;C=d\te;E=;F=\xff;Content-Length=0;");
}

Test(http_head, a_bare_newline_ends_lines_of_the_head) {
    expect_body("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "ok");
}

/* ---- limits ------------------------------------------------------------------------------------- */

/* Repeats part until there is enough of it; how many bytes that took. */
static size_t flood(struct outcome *o, enum kind kind, const char *start, const char *part) {
    static char piece[64 * 32 + 5000];
    size_t n = 0, length = strlen(part), times = length < 64 ? 32 : 1, sum = 0;
    for (; times > 0; times--, n += length)
        memcpy(piece + n, part, length);
    begin(o, kind, 0);
    feed(o, start, strlen(start));
    while (o->rc == 0 && sum < 10 * 1000 * 1000 && feed(o, piece, n))
        sum += n;
    end(o);
    return sum;
}

Test(http_head, endless_heads_end) {
    static const struct {
        const char *start, *part;
        size_t limit;
    } floods[] = {
        { "", "x", LIMIT },
        { "HTTP/1.1 200 ", "x", LIMIT },
        { "HTTP/1.1 200 OK\r\nName", "x", LIMIT },
        { "HTTP/1.1 200 OK\r\nName: ", "x", LIMIT },
        { "HTTP/1.1 200 OK\r\n", "A: b\r\n", 6 * ROTA_HTTP_FIELDS_MAX },
        { "", "HTTP/1.1 100 Continue\r\n\r\n", LIMIT },
        { CHUNKED "0\r\n", "A: b\r\n", 6 * ROTA_HTTP_FIELDS_MAX },
        { CHUNKED, "0", ROTA__HTTP_CHUNK_LINE_MAX },
    };
    for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
        static struct outcome o;
        size_t n = flood(&o, RESPONSE, floods[i].start, floods[i].part);
        cr_expect_eq(o.rc, -EMSGSIZE, "flood %zu: %d", i, o.rc);
        cr_expect_leq(n, floods[i].limit, "flood %zu took %zu bytes", i, n);
    }
}

Test(http_head, a_head_of_many_long_fields_ends) {
    static char field[4096 + 8];
    memset(field, 'v', 4096);
    memcpy(field, "Name: ", 6);
    strcpy(field + 4096, "\r\n");
    static struct outcome o;
    size_t n = flood(&o, RESPONSE, "HTTP/1.1 200 OK\r\n", field);
    cr_expect_eq(o.rc, -EMSGSIZE);
    cr_expect_leq(n, LIMIT);
}

Test(http_head, a_head_of_just_the_limit_passes) {
    static char text[LIMIT + 64];
    for (int over = 0; over < 2; over++) {
        int n = snprintf(text, sizeof text, "HTTP/1.1 204 OK\r\nName: ");
        memset(text + n, 'n', sizeof text - (size_t)n);
        strcpy(text + LIMIT + over - 4, "\r\n\r\n");
        struct outcome o = parse_limited(RESPONSE, 0, text, strlen(text));
        cr_expect_eq(o.rc, over ? -EMSGSIZE : 0, "%d bytes over: %d", over, o.rc);
    }
}

Test(http_head, too_many_fields) {
    static char text[64 + 8 * (ROTA_HTTP_FIELDS_MAX + 2)];
    for (int over = 0; over < 2; over++) {
        int n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
        for (int i = 0; i < ROTA_HTTP_FIELDS_MAX - 1 + over; i++)
            n += snprintf(text + n, sizeof text - (size_t)n, "A: b\r\n");
        strcpy(text + n, "\r\n");
        struct outcome o = parse_limited(RESPONSE, 0, text, strlen(text));
        cr_expect_eq(o.rc, over ? -EMSGSIZE : 0, "%d over: %d", over, o.rc);
    }
}

Test(http_head, the_limit_of_the_body) {
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
        cr_expect_leq(o.body_n, 4);
    }
}

Test(http_head, a_length_over_the_limit_is_refused_before_the_body) {
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    struct outcome o = parse_limited(RESPONSE, 4, text, strlen(text));
    cr_expect_eq(o.rc, -EMSGSIZE, "%d", o.rc);
}

/* ---- the end of the connection ------------------------------------------------------------------ */

Test(http_head, an_early_close_is_noticed_at_every_byte) {
    static const char *const texts[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        CHUNKED "5\r\nhello\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (size_t n = 0; n < strlen(texts[i]); n++) {
            struct outcome o = parse_limited(RESPONSE, 0, texts[i], n);
            cr_expect_eq(o.rc, -EPIPE, "text %zu, %zu bytes: %d", i, n, o.rc);
            cr_expect(!o.done);
        }
}

/* ---- requests ----------------------------------------------------------------------------------- */

/* Sixteen bytes at a time, eight or one: every byte at every place, with neighbours that could carry or borrow. */
Test(http_head, spans_end_at_the_first_byte_of_another_class) {
    static const char around[] = "x\xff~ \x80!";
    char text[37];
    unsigned wrong = 0;
    for (size_t n = 5; n <= sizeof text; n += 8)
        for (size_t at = 0; at < n; at++)
            for (unsigned c = 0; c < 256; c++)
                for (size_t i = 0; i < sizeof around - 1; i++) {
                    memset(text, around[i], n);
                    text[at] = (char)c;
                    wrong += rota__http_span_value(text, n) != rota__http_span(text, n, HTTP_VALUE);
                    wrong += rota__http_span_target(text, n) != rota__http_span(text, n, HTTP_TARGET);
                }
    cr_expect_eq(wrong, 0u);
}

/* As above, in a block of its own size. */
Test(http_head, tokens_end_at_the_first_byte_that_is_none) {
    static const char around[] = "xZ-9";
    unsigned wrong = 0;
    for (size_t n = 1; n <= 37; n += 4) {
        char *text = malloc(n);
        for (size_t at = 0; at < n; at++)
            for (unsigned c = 0; c < 256; c++)
                for (size_t i = 0; i < sizeof around - 1; i++) {
                    memset(text, around[i], n);
                    text[at] = (char)c;
                    size_t end = (size_t)(rota__http_token_end(text, text + n) - text);
                    wrong += end != rota__http_span(text, n, HTTP_TOKEN) || end != rota__http_span_token(text, n);
                }
        free(text);
    }
    cr_expect_eq(wrong, 0u);
}

/* Each of them among lines that are as usual, so that both ways of taking a line are gone. */
Test(http_head, unusual_lines_are_taken_like_others) {
    static const char *const lines[][2] = {
        { "A:b", "A=b;" }, { "A:", "A=;" }, { "A: ", "A=;" }, { "A:  b", "A=b;" }, { "A: b ", "A=b;" },
        { "A:\tb\t", "A=b;" }, { "A: b\tc", "A=b\tc;" }, { "A_1: b", "A_1=b;" }, { "A: \xff", "A=\xff;" },
        { "A-Name-Of-More-Than-Sixteen: b", "A-Name-Of-More-Than-Sixteen=b;" },
        { "0123456789abcdef: b", "0123456789abcdef=b;" }, { "A: b: c", "A=b: c;" },
    };
    char text[256], fields[128];
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        snprintf(text, sizeof text, "GET /a HTTP/1.1\r\nHost: h\r\n%s\r\nAccept: text/plain\r\n\r\n", lines[i][0]);
        snprintf(fields, sizeof fields, "Host=h;%sAccept=text/plain;", lines[i][1]);
        struct outcome o = parse(REQUEST, text);
        cr_expect_eq(o.rc, 0, "%s", lines[i][0]);
        cr_expect_str_eq(o.fields, fields);
        cr_expect_str_eq(o.host, "h");
    }
}

Test(http_head, unusual_lines_are_refused_like_others) {
    static const char *const lines[] = { "A : b", " A: b", ": b", "A", "A: b\rc", "A: b\nC: d", "A: \x01", "A: b\x7f", "\xe9: b",
                                         "A: b\r\n c", "Host: h", "Content-Length: x", "hOST: i" };
    char text[256];
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        snprintf(text, sizeof text, "GET /a HTTP/1.1\r\nHost: h\r\n%s\r\nAccept: text/plain\r\n\r\n", lines[i]);
        expect_error(REQUEST, -EPROTO, text);
    }
}

Test(http_head, a_request) {
    struct outcome o = parse(REQUEST, "GET /a?b=c HTTP/1.1\r\nhOST: example.test:80\r\nAccept: */*\r\n\r\nGET");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.method, "GET");
    cr_expect_str_eq(o.target, "/a?b=c");
    cr_expect_str_eq(o.host, "example.test:80");
    cr_expect(o.done);
    o = parse(REQUEST, "POST / HTTP/1.1\r\nHost:\r\nContent-Length: 2\r\n\r\nok");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.body, "ok");
    o = parse(REQUEST, "GET / HTTP/1.0\r\n\r\n");
    cr_expect_eq(o.rc, 0, "HTTP/1.0 has no Host");
}

Test(http_head, requests_that_are_none) {
    expect_error(REQUEST, -EPROTO, "GET / HTTP/1.1\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET /\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "G<T / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET /\x1b HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "\x16\x03\x01 / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EOPNOTSUPP, "PRI * HTTP/2.0\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET * HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET path HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n");
}

Test(http_head, bare_newlines_in_requests_are_refused) {
    expect_error(REQUEST, -EPROTO, "GET / HTTP/1.1\nHost: a\r\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET / HTTP/1.1\r\nHost: a\n\r\n");
    expect_error(REQUEST, -EPROTO, "GET / HTTP/1.1\r\nHost: a\r\n\n");
}

Test(http_head, empty_lines_before_a_request_are_skipped) {
    struct outcome o = parse(REQUEST, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.method, "GET");
    expect_error(RESPONSE, -EPROTO, "\r\nHTTP/1.1 200 OK\r\n\r\n");
}

/* What is before the path takes the place of Host (RFC 9112, 3.2.2). */
Test(http_head, a_request_to_a_proxy) {
    struct outcome o = parse(REQUEST, "GET http://b:8/c?d HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.host, "b:8");
    cr_expect_str_eq(o.target, "/c?d");
    o = parse(REQUEST, "GET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.host, "b");
    cr_expect_str_eq(o.target, "/");
    o = parse(REQUEST, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.target, "*");
    o = parse(REQUEST, "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(o.rc, 0);
    cr_expect_str_eq(o.target, "b:443");
}

Test(http_head, the_connection_field) {
    cr_expect(parse(RESPONSE, "HTTP/1.1 204 x\r\nConnection: Close\r\n\r\n").close);
    cr_expect(parse(RESPONSE, "HTTP/1.1 204 x\r\nConnection: a , close,b\r\n\r\n").close);
    cr_expect(!parse(RESPONSE, "HTTP/1.1 204 x\r\nConnection: closed, x-close\r\n\r\n").close);
}

/* Each of them is read by some server in one way, and in another way by a proxy before it. */
Test(http_head, smuggled_requests_are_refused) {
    static const char *const fields[] = {
        "Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding : chunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \vchunked", " Transfer-Encoding: chunked", "X: a\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-encoding: identity", "Transfer-Encoding:\n chunked",
        "Content-Length: 4\r\nContent-Length: 5", "Content-Length: 4, 5", "Content-Length: +4", "Content-Length: 4 5",
        "Content-Length: 0x4", "Content-Length:\r\n 4",
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n0\r\n\r\n", fields[i]);
        struct outcome o = parse(REQUEST, text);
        cr_expect(o.rc == -EPROTO || o.rc == -EOPNOTSUPP, "%d for: %s", o.rc, fields[i]);
    }
}

/* ---- mutations ---------------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252u;

/* Marsaglia's xorshift64. */
static size_t dice(size_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed % n);
}

static size_t mutate(char *text, size_t n, size_t size) {
    static const char *const parts[] = { "\r\n", "\n", "\r", ":", " ", "\t", "0", "ffffffffffffffff", "chunked",
                                         "Content-Length: 3\r\n", "\r\n\r\n", "HTTP/1.1 100 x\r\n\r\n", ";a=b" };
    size_t at = dice(n + 1), part;
    switch (dice(5)) {
    case 0:
        text[at < n ? at : 0] = (char)dice(256);
        return n;
    case 1: /* takes a piece out */
        part = dice(n - at + 1) % 8;
        memmove(text + at, text + at + part, n - at - part);
        return n - part;
    case 2: /* doubles one */
        part = dice(n - at + 1) % 40;
        part = n + part > size ? 0 : part;
        memmove(text + at + part, text + at, n - at);
        return n + part;
    case 3: /* cuts the end off */
        return at > 0 ? at : n;
    default: {
        const char *s = parts[dice(sizeof parts / sizeof parts[0])];
        part = n + strlen(s) > size ? 0 : strlen(s);
        memmove(text + at + part, text + at, n - at);
        memcpy(text + at, s, part);
        return n + part;
    }
    }
}

static void expect_same(const struct outcome *a, const struct outcome *b, const char *text, size_t n) {
    bool same = a->rc == b->rc && a->status == b->status && strcmp(a->fields, b->fields) == 0;
    if (a->rc == 0)
        same = same && a->body_n == b->body_n && strcmp(a->body, b->body) == 0 && a->used == b->used &&
               strcmp(a->trailers, b->trailers) == 0;
    cr_expect(same, "%d and %d, %d and %d bytes, for: %.*s", a->rc, b->rc, (int)a->body_n, (int)b->body_n, (int)n, text);
}

static void fuzz(enum kind kind, const char *const *seeds, size_t seeds_n) {
    static struct outcome whole, pieces;
    char text[1024];
    for (int round = 0; round < 4000; round++) {
        const char *s = seeds[dice(seeds_n)];
        size_t n = strlen(s);
        memcpy(text, s, n);
        for (size_t times = 1 + dice(4); times > 0; times--)
            n = mutate(text, n, sizeof text);
        uint64_t limit = dice(4) == 0 ? 4 : 0;
        parse_in_steps(&whole, kind, limit, text, n, 0, n + 1);
        parse_in_steps(&pieces, kind, limit, text, n, 0, 1 + dice(9));
        expect_same(&whole, &pieces, text, n);
    }
}

Test(http_head, mutated_answers) {
    static const char *const seeds[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello",
        CHUNKED "5;a=b\r\nhello\r\n0a\r\n0123456789\r\n0\r\nX-Sum: 15\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\nConnection: close\n\nuntil the end",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
    };
    fuzz(RESPONSE, seeds, 4);
    fuzz(TO_HEAD, seeds, 4);
}

Test(http_head, mutated_requests) {
    static const char *const seeds[] = {
        "GET /path?query HTTP/1.1\r\nHost: example.test\r\nAccept: */*\r\n\r\n",
        "POST http://b/c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
        "PUT / HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc",
        "\r\nOPTIONS * HTTP/1.1\r\nHost:\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    };
    fuzz(REQUEST, seeds, 4);
}
