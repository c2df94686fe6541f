/* The parser of heads and trailers: see head.h for the calls.
 *
 * Invariant: between two calls, lines before h->line have been taken apart and their ends are zero bytes; what follows
 * is untouched, and has been searched for the end of its line up to h->searched.
 *
 * Where RFC 9112 lets a reader choose, the stricter reading is taken when two readers could disagree about where a
 * message ends (folded fields, a space before the colon, two lengths, length and chunks together, bare LF in requests
 * and trailers), the lenient one where only this message's looks are concerned (bare LF in the head of an answer, a
 * status line without reason). */
#include "adapters/http/head.h"

#include <string.h>

#include "adapters/http/text.h"

static int bad(struct rota__http_head *h, int error, const char *why) {
    h->why = why;
    return error;
}

/* ---- start lines -------------------------------------------------------------------------------- */

static bool digit(char c) { return rota__http_is(c, HTTP_DIGIT); }

/* "HTTP/1.x" at s, of which n bytes are there. */
static int version(struct rota__http_head *h, const char *s, size_t n) {
    if (n < 8 || memcmp(s, "HTTP/", 5) != 0 || !digit(s[5]) || s[6] != '.' || !digit(s[7]))
        return bad(h, -EPROTO, h->request ? "the request line is not valid HTTP" : "the answer is not HTTP");
    if (s[5] != '1')
        return bad(h, -EOPNOTSUPP, "the HTTP version is not supported");
    h->minor = s[7] - '0';
    return 0;
}

static int status_line(struct rota__http_head *h, char *text, size_t n) {
    char *s = text + h->line;
    int rc = version(h, s, n);
    if (rc < 0)
        return rc;
    bool number = n >= 12 && s[8] == ' ' && s[9] >= '1' && s[9] <= '9' && digit(s[10]) && digit(s[11]);
    if (!number || (n > 12 && s[12] != ' ') || rota__http_span(s + 12, n - 12, HTTP_VALUE) < n - 12)
        return bad(h, -EPROTO, "the status line is not valid HTTP");
    h->status = (s[9] - '0') * 100 + (s[10] - '0') * 10 + (s[11] - '0');
    h->reason = (uint16_t)(h->line + (n > 12 ? 13 : 12));
    s[n] = '\0';
    return 0;
}

/* Takes "http://host" apart: its authority is the host (RFC 9112, 3.2.2), and the rest is the target. It is moved to
 * the left by a byte for the zero byte between the two. */
static int absolute_target(struct rota__http_head *h, char *text) {
    char *target = text + h->target;
    size_t scheme = rota__http_same_n(target, "http://", 7) ? 7 : rota__http_same_n(target, "https://", 8) ? 8 : 0;
    if (scheme == 0)
        return bad(h, -EPROTO, "the target of the request is not valid");
    char *authority = target + scheme;
    size_t n = strcspn(authority, "/?");
    if (n == 0 || authority[n] == '?')
        return bad(h, -EPROTO, "the target of the request is not valid");
    memmove(authority - 1, authority, n);
    h->host = (uint16_t)(authority - 1 - text);
    authority[n - 1] = '\0';
    h->target = (uint16_t)(authority + n - text);
    if (authority[n] == '\0') {
        /* No path. The scheme's colon is not needed any more. */
        memcpy(target, "/", 2);
        h->target = (uint16_t)(target - text);
    }
    return 0;
}

static int request_line(struct rota__http_head *h, char *text, size_t n) {
    char *s = text + h->line;
    size_t method = rota__http_span(s, n, HTTP_TOKEN);
    if (method == 0 || method == n || s[method] != ' ')
        return bad(h, -EPROTO, "the request line is not valid HTTP");
    size_t at = method + 1, target = rota__http_span(s + at, n - at, HTTP_TARGET);
    size_t rest = at + target;
    if (target == 0 || rest == n || s[rest] != ' ' || n - rest != 9)
        return bad(h, -EPROTO, "the request line is not valid HTTP");
    int rc = version(h, s + rest + 1, n - rest - 1);
    if (rc < 0)
        return rc;
    s[method] = s[rest] = '\0';
    h->method = (uint16_t)h->line;
    h->target = (uint16_t)(h->line + at);
    bool asterisk = target == 1 && s[at] == '*' && strcmp(s, "OPTIONS") == 0;
    if (s[at] == '/' || asterisk || strcmp(s, "CONNECT") == 0)
        return 0;
    return absolute_target(h, text);
}

/* ---- fields ------------------------------------------------------------------------------------- */

/* A second Content-Length may repeat the first (some proxies do that), but not differ from it. */
static int content_length(struct rota__http_head *h, const char *s) {
    uint64_t length = 0;
    if (!rota__http_all(s, HTTP_DIGIT))
        return bad(h, -EPROTO, "the Content-Length is not a number");
    for (; *s != '\0'; s++) {
        uint64_t n = (uint64_t)(*s - '0');
        if (length > (UINT64_MAX - n) / 10) {
            h->length_overflows = true;
            return bad(h, -EMSGSIZE, "the Content-Length is too large");
        }
        length = length * 10 + n;
    }
    if (h->has_length && length != h->length)
        return bad(h, -EPROTO, "there are two lengths, and they differ");
    h->has_length = true;
    h->length = length;
    return 0;
}

static int transfer_encoding(struct rota__http_head *h, const char *s) {
    if (h->chunked)
        return bad(h, -EPROTO, "there are two Transfer-Encoding fields");
    if (!rota__http_same(s, "chunked"))
        return bad(h, -EOPNOTSUPP, "the transfer coding is not supported");
    h->chunked = true;
    return 0;
}

static int connection(struct rota__http_head *h, const char *s) {
    h->close |= rota__http_listed(s, "close");
    h->keep_alive |= rota__http_listed(s, "keep-alive");
    return 0;
}

static int host(struct rota__http_head *h, char *text, char *value) {
    if (h->has_host)
        return bad(h, -EPROTO, "there are two Host fields");
    h->has_host = true;
    if (h->host == 0) /* else the target has said it */
        h->host = (uint16_t)(value - text);
    return 0;
}

/* The fields that decide where the message ends, and what happens to the connection. Trailers may not change them. */
static int known_field(struct rota__http_head *h, char *text, const char *name, size_t n, char *value) {
    switch (n) {
    case 4:
        return h->request && rota__http_same(name, "Host") ? host(h, text, value) : 0;
    case 6:
        if (h->request && rota__http_same(name, "Expect")) {
            h->expects_continue |= rota__http_same(value, "100-continue");
            h->expects_else |= !rota__http_same(value, "100-continue");
        }
        return 0;
    case 10:
        return rota__http_same(name, "Connection") ? connection(h, value) : 0;
    case 14:
        return rota__http_same(name, "Content-Length") ? content_length(h, value) : 0;
    case 17:
        return rota__http_same(name, "Transfer-Encoding") ? transfer_encoding(h, value) : 0;
    default:
        return 0;
    }
}

/* A line that begins with white space would continue the one before (obs-fold): its name is empty here, and so it is
 * refused like any other without a name. */
static int field_line(struct rota__http_head *h, char *text, size_t n) {
    char *s = text + h->line;
    size_t name = rota__http_span(s, n, HTTP_TOKEN);
    if (name == 0 || name == n || s[name] != ':')
        return bad(h, -EPROTO, "a header field is not valid HTTP");
    size_t first = name + 1, last = n;
    while (first < last && (s[first] == ' ' || s[first] == '\t'))
        first++;
    while (last > first && (s[last - 1] == ' ' || s[last - 1] == '\t'))
        last--;
    if (rota__http_span(s + first, last - first, HTTP_VALUE) < last - first)
        return bad(h, -EPROTO, "a header field is not valid HTTP");
    unsigned i = h->fields + h->trailers;
    if (i == ROTA_HTTP_FIELDS_MAX)
        return bad(h, -EMSGSIZE, "there are too many header fields");
    s[name] = s[last] = '\0';
    h->field[i] = (struct rota__http_field){ (uint16_t)h->line, (uint16_t)(h->line + first) };
    if (h->in_trailers) {
        h->trailers++;
        return 0;
    }
    h->fields++;
    return known_field(h, text, s, name, s + first);
}

/* ---- lines -------------------------------------------------------------------------------------- */

/* What no field alone says. */
static int complete(struct rota__http_head *h) {
    if (h->in_trailers)
        return 1;
    if (h->chunked && h->has_length)
        return bad(h, -EPROTO, "there is a Content-Length, and the body comes in chunks");
    if (h->chunked && h->minor == 0)
        return bad(h, -EPROTO, "HTTP/1.0 has no chunks");
    if (h->request && h->minor > 0 && !h->has_host)
        return bad(h, -EPROTO, "there is no Host field");
    return 1;
}

/* The line of n bytes at h->line, without its end. 1: it was the last one. */
static int take_line(struct rota__http_head *h, char *text, size_t n) {
    if (h->started || h->in_trailers)
        return n > 0 ? field_line(h, text, n) : complete(h);
    if (n == 0 && h->request)
        return 0; /* RFC 9112, 2.2: old clients end a body with a line that is no part of it */
    h->started = true;
    return h->request ? request_line(h, text, n) : status_line(h, text, n);
}

/* 0: more is needed. */
static int take_lines(struct rota__http_head *h, char *text, size_t n) {
    for (int rc = 0; rc == 0;) {
        char *end = memchr(text + h->searched, '\n', n - h->searched);
        if (end == NULL) {
            h->searched = n;
            return 0;
        }
        size_t after = (size_t)(end - text) + 1, line = after - 1 - h->line;
        bool cr = line > 0 && end[-1] == '\r';
        if (!cr && (h->request || h->in_trailers))
            return bad(h, -EPROTO, "a line does not end with CR LF");
        rc = take_line(h, text, line - cr);
        h->line = h->searched = h->n = after;
        if (rc != 0)
            return rc;
    }
    return 0;
}

int rota__http_head_feed(struct rota__http_head *h, char *text, size_t n, size_t limit) {
    int rc = take_lines(h, text, n < limit ? n : limit);
    if (rc == 0 && n >= limit)
        return bad(h, -EMSGSIZE, h->in_trailers ? "the trailers are too long" : "the head is too long");
    return rc;
}

int rota__http_trailers_feed(struct rota__http_head *h, char *text, size_t n, size_t limit) {
    return rota__http_head_feed(h, text, n, limit);
}

/* The fields are left as they are: only those that were written are ever read. */
void rota__http_head_init(struct rota__http_head *h, bool request) {
    memset(h, 0, offsetof(struct rota__http_head, field));
    h->request = request;
}

void rota__http_trailers_begin(struct rota__http_head *h, size_t at) {
    h->in_trailers = true;
    h->line = h->searched = h->n = at;
}

/* ---- fields for the user ------------------------------------------------------------------------ */

rota_http_fields rota__http_fields(const struct rota__http_head *h, const char *text, bool trailers) {
    return (rota_http_fields){
        .n = trailers ? h->trailers : h->fields,
        .text_ = text,
        .at_ = h->field + (trailers ? h->fields : 0),
    };
}

bool rota_http_field_at(const rota_http_fields *fields, unsigned i, const char **name, const char **value) {
    if (fields == NULL || i >= fields->n)
        return false;
    if (name != NULL)
        *name = fields->text_ + fields->at_[i].name;
    if (value != NULL)
        *value = fields->text_ + fields->at_[i].value;
    return true;
}

const char *rota_http_field(const rota_http_fields *fields, const char *name) {
    const char *its_name, *value;
    for (unsigned i = 0; name != NULL && rota_http_field_at(fields, i, &its_name, &value); i++)
        if (rota__http_same(its_name, name))
            return value;
    return NULL;
}
