/* The framing of bodies: see head.h for the calls. It takes bytes in pieces of any size and says which of them are
 * data; it keeps none.
 *
 * Invariant: left counts the data that is to come before the next byte of framing (chunks), or the end (length). */
#include "adapters/http/head.h"

#include <string.h>

#include "adapters/http/text.h"

enum { SIZE_FIRST, SIZE, SIZE_SPACE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILERS };

static int bad(struct rota__http_body *b, int error, const char *why) {
    b->why = why;
    return error;
}

static int over_limit(struct rota__http_body *b, uint64_t more) {
    return more > b->max - b->taken ? bad(b, -EMSGSIZE, "the body is over its limit") : 0;
}

int rota__http_body_init(struct rota__http_body *b, struct rota__http_head *h, bool answers_head, uint64_t max) {
    memset(b, 0, sizeof *b);
    b->max = max;
    if (!h->request && (answers_head || h->status == 204 || h->status == 304))
        b->framing = HTTP_NO_BODY;
    else if (h->chunked)
        b->framing = HTTP_IN_CHUNKS;
    else if (h->has_length)
        b->framing = h->length > 0 ? HTTP_BY_LENGTH : HTTP_NO_BODY;
    else
        b->framing = h->request ? HTTP_NO_BODY : HTTP_UNTIL_CLOSE;
    b->done = b->framing == HTTP_NO_BODY;
    if (b->framing != HTTP_BY_LENGTH)
        return 0;
    b->left = h->length;
    return over_limit(b, h->length);
}

/* ---- chunks (RFC 9112, 7.1) --------------------------------------------------------------------- */

static int hex_digit(char c) {
    if (rota__http_is(c, HTTP_DIGIT))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int size_digit(struct rota__http_body *b, char c) {
    int digit = hex_digit(c);
    if (digit < 0)
        return bad(b, -EPROTO, "the size of a chunk is not valid");
    if (b->left > UINT64_MAX >> 4)
        return bad(b, -EMSGSIZE, "the size of a chunk is too large");
    b->left = b->left << 4 | (uint64_t)digit;
    b->state = SIZE;
    return 0;
}

/* Behind the digits of a size: white space, extensions, the end of the line. */
static int after_size(struct rota__http_body *b, char c) {
    if (c == '\r')
        b->state = SIZE_LF;
    else if (c == ';' || b->state == EXTENSION)
        b->state = EXTENSION;
    else if (c == ' ' || c == '\t')
        b->state = SIZE_SPACE;
    else
        return bad(b, -EPROTO, "the size of a chunk is not valid");
    return c == '\r' || rota__http_is(c, HTTP_VALUE) ? 0 : bad(b, -EPROTO, "the size of a chunk is not valid");
}

static int expect(struct rota__http_body *b, char c, char expected, unsigned next) {
    b->state = next;
    return c == expected ? 0 : bad(b, -EPROTO, "a chunk does not end where it says");
}

static int framing_byte(struct rota__http_body *b, char c) {
    if (++b->line_n > ROTA__HTTP_CHUNK_LINE_MAX)
        return bad(b, -EMSGSIZE, "the line of a chunk is too long");
    switch (b->state) {
    case SIZE_FIRST:
        return size_digit(b, c);
    case SIZE:
        return hex_digit(c) >= 0 ? size_digit(b, c) : after_size(b, c);
    case SIZE_SPACE:
    case EXTENSION:
        return after_size(b, c);
    case SIZE_LF:
        if (expect(b, c, '\n', b->left > 0 ? DATA : TRAILERS) < 0)
            return -EPROTO;
        return over_limit(b, b->left);
    case DATA_CR:
        return expect(b, c, '\r', DATA_LF);
    default: /* DATA_LF */
        b->line_n = 0;
        return expect(b, c, '\n', SIZE_FIRST);
    }
}

/* ---- pieces ------------------------------------------------------------------------------------- */

void rota__http_body_skip(struct rota__http_body *b, size_t n) {
    b->taken += n;
    if (b->framing == HTTP_UNTIL_CLOSE)
        return;
    b->left -= n;
    if (b->left > 0)
        return;
    if (b->framing == HTTP_BY_LENGTH)
        b->done = true;
    else
        b->state = DATA_CR;
}

uint64_t rota__http_body_pending(const struct rota__http_body *b) {
    switch (b->framing) {
    case HTTP_BY_LENGTH:
        return b->left;
    case HTTP_IN_CHUNKS:
        return b->state == DATA ? b->left : 0;
    case HTTP_UNTIL_CLOSE: /* a byte over the limit, so that the limit is noticed */
        return b->max - b->taken < UINT64_MAX ? b->max - b->taken + 1 : UINT64_MAX;
    default:
        return 0;
    }
}

bool rota__http_body_at_trailers(const struct rota__http_body *b) {
    return b->framing == HTTP_IN_CHUNKS && b->state == TRAILERS && !b->done;
}

int rota__http_body_take(struct rota__http_body *b, const char *in, size_t n, size_t data_max, size_t *used,
                         size_t *data_n) {
    size_t at = 0;
    int rc = 0;
    *used = *data_n = 0;
    while (rc == 0 && at < n && b->framing == HTTP_IN_CHUNKS && b->state != DATA && b->state != TRAILERS)
        rc = framing_byte(b, in[at++]);
    *used = at;
    uint64_t pending = rota__http_body_pending(b);
    size_t data = n - at < data_max ? n - at : data_max;
    data = data < pending ? data : (size_t)pending;
    if (rc < 0 || b->done || data == 0)
        return rc;
    rc = over_limit(b, data);
    if (rc < 0)
        return rc;
    rota__http_body_skip(b, data);
    *data_n = data;
    *used = at + data;
    return 0;
}

int rota__http_body_end(struct rota__http_body *b) {
    if (b->framing == HTTP_UNTIL_CLOSE)
        b->done = true;
    return b->done ? 0 : bad(b, -EPIPE, "the connection was closed in the middle of the body");
}
