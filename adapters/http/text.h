/* Bytes and texts: classes of characters, comparison, and output into a buffer of fixed size. Nothing here depends on
 * the locale. */
#ifndef ROTA_HTTP_TEXT_H
#define ROTA_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "block.h"

enum {
    HTTP_TOKEN = 1,    /* of methods and field names (RFC 9110, 5.6.2) */
    HTTP_VALUE = 2,    /* of field values and reasons: no controls but the tab; bytes from 0x80 on ("obs-text") */
    HTTP_TARGET = 4,   /* of a request's target: no controls, no space */
    HTTP_DIGIT = 8
};
extern const unsigned char rota__http_class[256];

static inline bool rota__http_is(char c, unsigned class) { return rota__http_class[(unsigned char)c] & class; }

/* How many of the first n bytes, from the first on, are of the class. */
size_t rota__http_span(const char *s, size_t n, unsigned class);

/* The same for the classes of heads: names are short, of the others many bytes are looked at together. */
static inline size_t rota__http_span_token(const char *s, size_t n) {
    size_t i = 0;
    while (i < n && rota__http_is(s[i], HTTP_TOKEN))
        i++;
    return i;
}

/* Where the token at s, which lies before stop, ends: at stop at the latest. */
static inline char *rota__http_token_end(char *s, const char *stop) {
    s += rota__http_block_letters(s, (size_t)(stop - s));
    while (rota__http_is(*s, HTTP_TOKEN) && ++s < stop)
        continue;
    return s;
}

/* How many bytes, from the first on, are at least `least` and not DEL. (rest: where they are not soon found.) */
size_t rota__http_span_rest(const char *s, size_t n, unsigned least);
static inline size_t rota__http_span_from(const char *s, size_t n, unsigned least) {
    size_t span = n >= HTTP_BLOCK ? rota__http_block_span(s, least) : HTTP_BLOCK;
    return span < HTTP_BLOCK ? span : rota__http_span_rest(s, n, least);
}

/* Of a value, up to a tab as well. */
static inline size_t rota__http_span_plain(const char *s, size_t n) { return rota__http_span_from(s, n, ' '); }

static inline size_t rota__http_span_value(const char *s, size_t n) {
    size_t i = rota__http_span_from(s, n, ' ');
    while (__builtin_expect(i < n && s[i] == '\t', 0))
        i += 1 + rota__http_span_from(s + i + 1, n - i - 1, ' ');
    return i;
}

static inline size_t rota__http_span_target(const char *s, size_t n) { return rota__http_span_from(s, n, ' ' + 1); }

/* All of the string, which is not empty? */
bool rota__http_all(const char *s, unsigned class);

/* Equal but for the case of ASCII letters? */
bool rota__http_same(const char *a, const char *b);
bool rota__http_same_n(const char *a, const char *b, size_t n);

/* Is token among the elements of the comma-separated list? */
bool rota__http_listed(const char *list, const char *token);

/* Output. What does not fit sets full, and nothing more is put. */
struct rota__http_out {
    char *buf;
    size_t size, n;
    bool full;
};
static inline void rota__http_put(struct rota__http_out *out, const void *bytes, size_t n) {
    if (out->full || n > out->size - out->n) {
        out->full = true;
        return;
    }
    memcpy(out->buf + out->n, bytes, n);
    out->n += n;
}
static inline void rota__http_put_text(struct rota__http_out *out, const char *s) {
    rota__http_put(out, s, strlen(s));
}
void rota__http_put_number(struct rota__http_out *out, uint64_t value, unsigned base);
void rota__http_put_field(struct rota__http_out *out, const char *name, const char *value);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7), for seconds since 1970; years beyond 9999 end it. */
enum { ROTA__HTTP_DATE_SIZE = 30 };
void rota__http_date(char date[ROTA__HTTP_DATE_SIZE], int64_t seconds);

#endif
