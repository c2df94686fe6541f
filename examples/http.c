/* Push parser for HTTP/1.1 messages: see http.h for the calls and the errors.
 *
 * Invariant: between two calls, everything that was consumed is either given out or in line_, which holds the
 * line that has not ended yet. Lines are copied so that one that is cut over two packets, at any byte, takes
 * the same path as a whole one. It must not know where the bytes come from.
 *
 * Where RFC 9112 lets a reader choose, the stricter reading is taken when two readers could disagree about
 * where a message ends (folded fields, a space before the colon, two lengths, length and chunked together,
 * bare LF inside chunked framing), the lenient one where only this message's looks are concerned (bare LF in
 * the head, a status line without reason).
 */
#include "examples/http.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum { START, FIELD, BODY_LENGTH, BODY_CLOSE, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_token_char(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
        || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* What may stand in a field's value or a reason: no controls but the tab. Bytes from 0x80 on are allowed
 * ("obs-text"), so whoever prints them to a terminal must think of that. */
static bool is_text(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static size_t token_length(const char *s) {
    size_t n = 0;
    while (is_token_char(s[n]))
        n++;
    return n;
}

/* ---- start lines -------------------------------------------------------------------------------- */

/* "HTTP/1.x" at s; the digit is stored. */
static int version(struct http_parser *p, const char *s) {
    if (strncmp(s, "HTTP/", 5) != 0 || !is_digit(s[5]) || s[6] != '.' || !is_digit(s[7]))
        return -EBADMSG;
    if (s[5] != '1')
        return -EOPNOTSUPP;
    p->minor = s[7] - '0';
    return 0;
}

static int status_line(struct http_parser *p, const char *s, size_t n) {
    int rc = version(p, s);
    if (rc < 0)
        return rc;
    if (s[8] != ' ' || s[9] < '1' || s[9] > '9' || !is_digit(s[10]) || !is_digit(s[11]))
        return -EBADMSG;
    p->status = (s[9] - '0') * 100 + (s[10] - '0') * 10 + (s[11] - '0');
    const char *reason = s + 12;
    if (*reason == ' ')
        reason++;
    else if (reason != s + n)
        return -EBADMSG;
    size_t length = (size_t)(s + n - reason);
    if (!is_text(reason, length))
        return -EBADMSG;
    if (length >= sizeof p->reason)
        length = sizeof p->reason - 1;
    memcpy(p->reason, reason, length);
    p->reason[length] = '\0';
    return 0;
}

static int request_line(struct http_parser *p, const char *s, size_t n) {
    size_t method = token_length(s);
    if (method == 0 || s[method] != ' ')
        return -EBADMSG;
    if (method >= sizeof p->method)
        return -EMSGSIZE;
    const char *target = s + method + 1;
    size_t length = strcspn(target, " ");
    if (length == 0 || target[length] != ' ' || !is_text(target, length))
        return -EBADMSG;
    if (length >= sizeof p->target)
        return -EMSGSIZE;
    memcpy(p->method, s, method);
    p->method[method] = '\0';
    memcpy(p->target, target, length);
    p->target[length] = '\0';
    const char *rest = target + length + 1;
    if (rest + 8 != s + n)
        return -EBADMSG;
    return version(p, rest);
}

/* ---- fields ------------------------------------------------------------------------------------- */

/* A second Content-Length may repeat the first (some proxies do that), but not differ from it. */
static int content_length(struct http_parser *p, const char *s) {
    uint64_t length = 0;
    if (*s == '\0')
        return -EBADMSG;
    for (; *s != '\0'; s++) {
        if (!is_digit(*s))
            return -EBADMSG;
        uint64_t digit = (uint64_t)(*s - '0');
        if (length > (UINT64_MAX - digit) / 10)
            return -EMSGSIZE;
        length = length * 10 + digit;
    }
    if (p->has_length_ && length != p->left_)
        return -EBADMSG;
    p->has_length_ = true;
    p->left_ = length;
    return 0;
}

static int transfer_encoding(struct http_parser *p, const char *s) {
    if (p->chunked_)
        return -EBADMSG;  /* chunked twice: no sender means that */
    if (strcasecmp(s, "chunked") != 0)
        return -EOPNOTSUPP;
    p->chunked_ = true;
    return 0;
}

static int host_field(struct http_parser *p, const char *s) {
    if (p->has_host_)
        return -EBADMSG;
    size_t n = strlen(s);
    if (n >= sizeof p->host)
        return -EMSGSIZE;
    memcpy(p->host, s, n + 1);
    p->has_host_ = true;
    return 0;
}

static int known_field(struct http_parser *p, const char *name, const char *value) {
    if (strcasecmp(name, "Content-Length") == 0)
        return content_length(p, value);
    if (strcasecmp(name, "Transfer-Encoding") == 0)
        return transfer_encoding(p, value);
    if (p->request_ && strcasecmp(name, "Host") == 0)
        return host_field(p, value);
    return 0;
}

/* Splits the line in place. A line that begins with white space would continue the one before (obs-fold):
 * its name is empty here, and so it is refused like any other without a name. */
static int split_field(char *line, size_t n, char **value) {
    size_t name = token_length(line);
    if (name == 0 || line[name] != ':')
        return -EBADMSG;
    line[name] = '\0';
    char *first = line + name + 1, *last = line + n;
    while (*first == ' ' || *first == '\t')
        first++;
    while (last > first && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    if (!is_text(first, (size_t)(last - first)))
        return -EBADMSG;
    *last = '\0';
    *value = first;
    return 0;
}

static int field_line(struct http_parser *p, size_t n) {
    if (++p->fields_ > HTTP_FIELDS_MAX)
        return -EMSGSIZE;
    char *value;
    int rc = split_field(p->line_, n, &value);
    if (rc < 0 || p->state_ == TRAILER)
        return rc;  /* trailers are checked and dropped: merging them would let them change the framing */
    rc = known_field(p, p->line_, value);
    if (rc == 0 && p->on_field != NULL && p->status / 100 != 1)
        p->on_field(p->arg, p->line_, value);
    return rc;
}

/* ---- framing (RFC 9112, 6.3) -------------------------------------------------------------------- */

static int finish(struct http_parser *p) {
    p->done = true;
    return 0;
}

/* An interim answer (1xx) is skipped and the next head begins. Its bytes and fields still count, so that a
 * peer which sends nothing else ends in -EMSGSIZE. 101 answers a question that nobody asked. */
static int interim(struct http_parser *p) {
    if (p->status == 101)
        return -EBADMSG;
    p->has_length_ = p->chunked_ = false;
    p->status = 0;
    p->state_ = START;
    return 0;
}

static int over_limit(const struct http_parser *p, uint64_t more) {
    return p->body_limit > 0 && more > p->body_limit - p->body_bytes ? -EMSGSIZE : 0;
}

static int head_end(struct http_parser *p) {
    if (p->status / 100 == 1)
        return interim(p);
    if (p->request_ && p->minor > 0 && !p->has_host_)
        return -EBADMSG;
    p->head_done = true;
    if (!p->request_ && (p->answers_head_ || p->status == 204 || p->status == 304))
        return finish(p);
    if (p->chunked_) {
        p->state_ = CHUNK_SIZE;
        return p->has_length_ || p->minor == 0 ? -EBADMSG : 0;
    }
    if (p->has_length_) {
        p->state_ = BODY_LENGTH;
        return p->left_ == 0 ? finish(p) : over_limit(p, p->left_);
    }
    p->state_ = BODY_CLOSE;
    return p->request_ ? finish(p) : 0;
}

static int hex_digit(char c) {
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int chunk_size(struct http_parser *p, const char *s, size_t n) {
    uint64_t size = 0;
    if (hex_digit(*s) < 0 || !is_text(s, n))
        return -EBADMSG;
    for (; hex_digit(*s) >= 0; s++) {
        if (size > UINT64_MAX >> 4)
            return -EMSGSIZE;
        size = size << 4 | (uint64_t)hex_digit(*s);
    }
    s += strspn(s, " \t");
    if (*s != ';' && *s != '\0')
        return -EBADMSG;
    p->left_ = size;
    p->state_ = size > 0 ? CHUNK_DATA : TRAILER;
    return over_limit(p, size);
}

/* ---- feeding ------------------------------------------------------------------------------------ */

static int line_done(struct http_parser *p, size_t n) {
    switch (p->state_) {
    case START:
        p->state_ = FIELD;
        return p->request_ ? request_line(p, p->line_, n) : status_line(p, p->line_, n);
    case FIELD:
        return n == 0 ? head_end(p) : field_line(p, n);
    case TRAILER:
        return n == 0 ? finish(p) : field_line(p, n);
    case CHUNK_SIZE:
        return chunk_size(p, p->line_, n);
    default: /* CHUNK_END */
        p->state_ = CHUNK_SIZE;
        return n == 0 ? 0 : -EBADMSG;
    }
}

/* Takes the end of line away and checks it. Bare LF passes in heads only; any other CR is a control byte and
 * falls to the check of the line itself, as a zero byte does (every check goes by length, or stops at it). */
static int end_line(struct http_parser *p) {
    size_t n = p->line_n_ - 1;
    bool cr = n > 0 && p->line_[n - 1] == '\r';
    bool chunked_framing = p->state_ == CHUNK_SIZE || p->state_ == CHUNK_END || p->state_ == TRAILER;
    if (!cr && chunked_framing)
        return -EBADMSG;
    n -= cr;
    p->line_[n] = '\0';
    p->line_n_ = 0;
    return line_done(p, n);
}

static size_t take_line(struct http_parser *p, const char *data, size_t n) {
    const char *end = memchr(data, '\n', n);
    size_t part = end != NULL ? (size_t)(end - data) + 1 : n;
    bool chunk_line = p->state_ == CHUNK_SIZE || p->state_ == CHUNK_END;
    size_t limit = chunk_line ? HTTP_CHUNK_LINE_MAX : HTTP_LINE_MAX;
    if (!chunk_line)
        p->head_bytes_ += part;
    if (part > limit - p->line_n_ || p->head_bytes_ > HTTP_HEAD_MAX) {
        p->error_ = -EMSGSIZE;
        return part;
    }
    memcpy(p->line_ + p->line_n_, data, part);
    p->line_n_ += part;
    if (end != NULL)
        p->error_ = end_line(p);
    return part;
}

static size_t take_body(struct http_parser *p, const char *data, size_t n) {
    if (p->state_ != BODY_CLOSE && n > p->left_)
        n = (size_t)p->left_;
    p->error_ = over_limit(p, n);
    if (p->error_ < 0)
        return n;
    p->body_bytes += n;
    if (p->on_body != NULL)
        p->on_body(p->arg, data, n);
    if (p->state_ == BODY_CLOSE)
        return n;
    p->left_ -= n;
    if (p->left_ == 0 && p->state_ == CHUNK_DATA)
        p->state_ = CHUNK_END;
    else if (p->left_ == 0)
        p->done = true;
    return n;
}

ssize_t http_feed(struct http_parser *p, const char *data, size_t n) {
    size_t used = 0;
    while (used < n && !p->done && p->error_ == 0) {
        bool body = p->state_ == BODY_LENGTH || p->state_ == BODY_CLOSE || p->state_ == CHUNK_DATA;
        used += body ? take_body(p, data + used, n - used) : take_line(p, data + used, n - used);
    }
    return p->error_ < 0 ? p->error_ : (ssize_t)used;
}

int http_end(struct http_parser *p) {
    if (p->error_ == 0 && !p->done) {
        if (p->state_ == BODY_CLOSE)
            p->done = true;
        else
            p->error_ = -EPIPE;
    }
    return p->error_;
}

/* line_ is left as it is: only bytes that were written to it are ever read. */
static void init(struct http_parser *p) {
    memset(p, 0, offsetof(struct http_parser, line_));
    p->state_ = START;
}

void http_response_init(struct http_parser *p, bool answers_head) {
    init(p);
    p->answers_head_ = answers_head;
}

void http_request_init(struct http_parser *p) {
    init(p);
    p->request_ = true;
}
