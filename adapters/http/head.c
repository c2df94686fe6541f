/* The parser of heads and trailers: see head.h for the calls.
 *
 * A line is taken apart and its end found in one pass over its bytes. One that is not all there yet, or is bad, is
 * looked at again when its end has come: so each byte is read a few times at most, however slowly they come, and what
 * is wrong with a line does not depend on how it was cut.
 *
 * Invariant: between two calls, lines before h->line have been taken apart and their ends are zero bytes; what follows
 * is untouched. If h->searched lies behind h->line, the bytes between them hold no end of a line.
 *
 * Where RFC 9112 lets a reader choose, the stricter reading is taken when two readers could disagree about where a
 * message ends (folded fields, a space before the colon, two lengths, length and chunks together, bare LF in requests
 * and trailers), the lenient one where only this message's looks are concerned (bare LF in the head of an answer, a
 * status line without reason). */
#include "adapters/http/head.h"

#include <string.h>

#include "adapters/http/text.h"

enum { CUT = 2 };   /* more of the line is needed: nothing of it was taken */

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

/* The end of a line at s[at], of n bytes that are there: how many bytes it has, 0 if it is none. A bare LF ends lines
 * of the head of an answer. */
static size_t line_end(const struct rota__http_head *h, const char *s, size_t at, size_t n) {
    if (n - at >= 2 && s[at] == '\r' && s[at + 1] == '\n')
        return 2;
    return at < n && s[at] == '\n' && !h->request && !h->in_trailers ? 1 : 0;
}

/* The line at s, of which n bytes are there, was refused: finally, if its end is there. */
static int bad_line(struct rota__http_head *h, const char *s, size_t n, int error, const char *why) {
    const char *end = memchr(s, '\n', n);
    if (end == NULL) {
        h->searched = h->line + n;
        h->why = NULL;
        return CUT;
    }
    if ((end == s || end[-1] != '\r') && (h->request || h->in_trailers))
        return bad(h, -EPROTO, "a line does not end with CR LF");
    return bad(h, error, why);
}

/* Of n bytes, its end included. */
static int line_taken(struct rota__http_head *h, size_t n) {
    h->line += n;
    return 0;
}

static int status_line(struct rota__http_head *h, char *text, size_t n) {
    char *s = text + h->line;
    int rc = version(h, s, n);
    if (rc < 0)
        return bad_line(h, s, n, rc, h->why);
    bool number = n > 12 && s[8] == ' ' && s[9] >= '1' && s[9] <= '9' && digit(s[10]) && digit(s[11]);
    size_t last = number && s[12] == ' ' ? 12 + rota__http_span_value(s + 12, n - 12) : 12;
    size_t end = number ? line_end(h, s, last, n) : 0;
    if (end == 0)
        return bad_line(h, s, n, -EPROTO, "the status line is not valid HTTP");
    h->status = (s[9] - '0') * 100 + (s[10] - '0') * 10 + (s[11] - '0');
    h->reason = (uint16_t)(h->line + (last > 12 ? 13 : 12));
    h->started = true;
    s[last] = '\0';
    return line_taken(h, last + end);
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
    size_t method = rota__http_span_token(s, n);
    if (method == 0 || method == n || s[method] != ' ')
        return bad_line(h, s, n, -EPROTO, "the request line is not valid HTTP");
    size_t at = method + 1, target = rota__http_span_target(s + at, n - at);
    size_t rest = at + target, last = rest + 9; /* " HTTP/1.x" */
    if (target == 0 || n - rest < 11 || s[rest] != ' ' || line_end(h, s, last, n) == 0)
        return bad_line(h, s, n, -EPROTO, "the request line is not valid HTTP");
    int rc = version(h, s + rest + 1, 8);
    if (rc < 0)
        return rc;
    s[method] = s[rest] = '\0';
    h->method = (uint16_t)h->line;
    h->target = (uint16_t)(h->line + at);
    h->started = true;
    bool asterisk = target == 1 && s[at] == '*' && strcmp(s, "OPTIONS") == 0;
    rc = s[at] == '/' || asterisk || strcmp(s, "CONNECT") == 0 ? 0 : absolute_target(h, text);
    return rc < 0 ? rc : line_taken(h, last + 2);
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

/* Is it that name, of whose length it is? lower: the name, in small letters. (A byte of a token that is one of these
 * letters or the hyphen when bit 5 is set is that letter, in either case, or the hyphen.) n >= 4. */
static inline bool is_name(const char *s, const char *lower, size_t n) {
    uint32_t a, b; /* four at once: Host is in every request */
    memcpy(&a, s, 4);
    memcpy(&b, lower, 4);
    if ((a | UINT32_C(0x20202020)) != b)
        return false;
    for (size_t i = 4; i < n; i++)
        if ((s[i] | 0x20) != lower[i])
            return false;
    return true;
}

/* The fields that decide where the message ends, and what happens to the connection. Trailers may not change them. */
static int known_field(struct rota__http_head *h, char *text, const char *name, size_t n, char *value) {
    switch (n) {
    case 4:
        return h->request && is_name(name, "host", 4) ? host(h, text, value) : 0;
    case 6:
        if (h->request && is_name(name, "expect", 6)) {
            h->expects_continue |= rota__http_same(value, "100-continue");
            h->expects_else |= !rota__http_same(value, "100-continue");
        }
        return 0;
    case 10:
        return is_name(name, "connection", 10) ? connection(h, value) : 0;
    case 14:
        return is_name(name, "content-length", 14) ? content_length(h, value) : 0;
    case 17:
        return is_name(name, "transfer-encoding", 17) ? transfer_encoding(h, value) : 0;
    default:
        return 0;
    }
}

/* A line that begins with white space would continue the one before (obs-fold): its name is empty here, and so it is
 * refused like any other without a name. */
static int field_line(struct rota__http_head *h, char *text, size_t n) {
    char *s = text + h->line;
    size_t name = rota__http_span_token(s, n);
    if (name == 0 || name == n || s[name] != ':')
        return bad_line(h, s, n, -EPROTO, "a header field is not valid HTTP");
    size_t first = name + 1;
    first += first < n && s[first] == ' '; /* as a rule it is one */
    while (first < n && (unsigned char)s[first] <= ' ' && (s[first] == ' ' || s[first] == '\t'))
        first++;
    size_t last = first + rota__http_span_value(s + first, n - first), end = line_end(h, s, last, n);
    if (end == 0)
        return bad_line(h, s, n, -EPROTO, "a header field is not valid HTTP");
    end += last;
    while (last > first && (unsigned char)s[last - 1] <= ' ') /* a space or a tab: else the value had ended there */
        last--;
    unsigned i = h->fields + h->trailers;
    if (i == ROTA_HTTP_FIELDS_MAX)
        return bad(h, -EMSGSIZE, "there are too many header fields");
    s[name] = s[last] = '\0';
    h->field[i] = (struct rota__http_field){ (uint16_t)h->line, (uint16_t)(h->line + first) };
    if (h->in_trailers) {
        h->trailers++;
        return line_taken(h, end);
    }
    h->fields++;
    int rc = known_field(h, text, s, name, s + first);
    return rc < 0 ? rc : line_taken(h, end);
}

/* What no field alone says. */
static int complete(struct rota__http_head *h) {
    h->n = h->line;
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

/* ---- lines as they usually are ------------------------------------------------------------------ */

/* What is taken here is whole, ends with CR LF, and has no white space but one space before a value; the calls above
 * would take it in the same way. All else is left to them, where it is: so they alone say what is wrong with a line. */

static inline bool is_line_end(const char *s) { return memcmp(s, "\r\n", 2) == 0; }

enum { USUAL_MIN = 16 };   /* bytes from which on a head is looked at here, so that bounds can be kept as pointers */

/* Where the line behind begins; s if this one was not taken. */
static inline char *usual_request_line(struct rota__http_head *h, char *text, char *s, const char *stop) {
    char *target = s + 4;
    if (memcmp(s, "GET ", 4) != 0) {
        target = rota__http_token_end(s, stop) + 1;
        if (target > stop - 12 || target == s + 1 || target[-1] != ' ')
            return s;
    }
    char *rest = target + rota__http_span_target(target, (size_t)(stop - target));
    if (rest > stop - 11 || *target != '/' || memcmp(rest, " HTTP/1.", 8) != 0 || !digit(rest[8]) ||
        !is_line_end(rest + 9))
        return s;
    target[-1] = *rest = '\0';
    h->minor = rest[8] - '0';
    h->method = (uint16_t)(s - text);
    h->target = (uint16_t)(target - text);
    h->started = true;
    return rest + 11;
}

/* As known_field, which is asked when the name's length and first letter are those of one that it knows. */
static inline int usual_field(struct rota__http_head *h, char *text, const char *name, size_t n, char *value) {
    static const char first[] = { [6] = 'e', [10] = 'c', [14] = 'c', [17] = 't' };
    if (n == 4)
        return h->request && is_name(name, "host", 4) ? host(h, text, value) : 0;
    return n < sizeof first && (*name | 0x20) == first[n] ? known_field(h, text, name, n, value) : 0;
}

/* Fields, and the end of the head, at s and up to stop. As next_line. */
static inline int usual_fields(struct rota__http_head *h, char *text, char *s, const char *stop) {
    struct rota__http_field *field = h->field + h->fields, *fields_end = h->field + ROTA_HTTP_FIELDS_MAX;
    int rc = 0;
    while (s < stop && field < fields_end) {
        char *colon = rota__http_token_end(s, stop);
        if (colon > stop - 2 || colon[0] != ':' || colon[1] != ' ' || colon == s)
            break;
        char *value = colon + 2, *last = value + rota__http_span_plain(value, (size_t)(stop - value));
        if (last > stop - 2 || !is_line_end(last) || *value == ' ' || last[-1] == ' ')
            break;
        *colon = *last = '\0';
        *field++ = (struct rota__http_field){ (uint16_t)(s - text), (uint16_t)(value - text) };
        rc = usual_field(h, text, s, (size_t)(colon - s), value);
        if (rc < 0)
            break;
        s = last + 2;
    }
    h->fields = (unsigned)(field - h->field);
    h->line = (size_t)(s - text);
    if (rc < 0 || s > stop - 2 || !is_line_end(s))
        return rc;
    h->line += 2;
    return complete(h);
}

/* From h->line on, up to n, at least USUAL_MIN bytes. As take_lines; 0 also when a line is not a usual one: it is the one
 * at h->line then. */
static inline int usual_lines(struct rota__http_head *h, char *text, size_t n) {
    char *s = text + h->line;
    const char *stop = text + n;
    if (h->request && !h->started)
        s = usual_request_line(h, text, s, stop);
    return h->started ? usual_fields(h, text, s, stop) : 0;
}

/* ---- lines -------------------------------------------------------------------------------------- */

/* The line that begins at h->line, of which n bytes are there, and others behind it perhaps. 1: it was the last one. */
static inline int next_line(struct rota__http_head *h, char *text, size_t n) {
    size_t empty = text[h->line] <= '\r' ? line_end(h, text + h->line, 0, n) : 0;
    if (empty == 0)
        return field_line(h, text, n);
    (void)line_taken(h, empty);
    return complete(h);
}

/* The same before the head has begun. */
static int start_line(struct rota__http_head *h, char *text, size_t n) {
    if (!h->request)
        return status_line(h, text, n);
    /* RFC 9112, 2.2: old clients end a body with a line that is no part of it. */
    size_t empty = line_end(h, text + h->line, 0, n);
    return empty > 0 ? line_taken(h, empty) : request_line(h, text, n);
}

/* 0: more is needed. */
static __attribute__((noinline)) int take_lines(struct rota__http_head *h, char *text, size_t n) {
    if (h->searched > h->line && memchr(text + h->searched, '\n', n - h->searched) == NULL) {
        h->searched = n;
        return 0;
    }
    int rc = 0;
    while (rc == 0 && h->line < n && !h->started && !h->in_trailers)
        rc = start_line(h, text, n - h->line);
    while (rc == 0 && h->line < n)
        rc = next_line(h, text, n - h->line);
    return rc == CUT ? 0 : rc;
}

int rota__http_head_feed(struct rota__http_head *h, char *text, size_t n, size_t limit) {
    size_t most = n < limit ? n : limit;
    bool usual = h->searched <= h->line && h->line + USUAL_MIN <= most && !h->in_trailers;
    int rc = usual ? usual_lines(h, text, most) : 0;
    if (rc == 0)
        rc = take_lines(h, text, most);
    if (rc == 0 && n >= limit)
        return bad(h, -EMSGSIZE, h->in_trailers ? "the trailers are too long" : "the head is too long");
    return rc;
}

int rota__http_trailers_feed(struct rota__http_head *h, char *text, size_t n, size_t limit) {
    return rota__http_head_feed(h, text, n, limit);
}

/* The fields are left as they are: only those that were written are ever read. Copied, because gcc clears so many bytes
 * by a string instruction, which takes longer than the rest of a short head. */
void rota__http_head_init(struct rota__http_head *h, bool request) {
    static const char zeros[offsetof(struct rota__http_head, field)];
    memcpy(h, zeros, sizeof zeros);
    h->request = request;
}

void rota__http_trailers_begin(struct rota__http_head *h, size_t at) {
    h->in_trailers = true;
    h->line = h->searched = h->n = at;
}

/* ---- fields for the user ------------------------------------------------------------------------ */

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
