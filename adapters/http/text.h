/* Bytes and texts: classes of characters, comparison, and output into a buffer of fixed size. Nothing here depends on
 * the locale. */
#ifndef ROTA_HTTP_TEXT_H
#define ROTA_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* The same for the classes of heads: names are short, the others are looked at eight bytes at a time. */
static inline size_t rota__http_span_token(const char *s, size_t n) {
    size_t i = 0;
    while (i < n && rota__http_is(s[i], HTTP_TOKEN))
        i++;
    return i;
}

#define ROTA__EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The first byte is the lowest one. Compilers make this one load. */
static inline uint64_t rota__http_eight(const char *s) {
    const unsigned char *b = (const unsigned char *)s;
    return (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24 | (uint64_t)b[4] << 32 |
           (uint64_t)b[5] << 40 | (uint64_t)b[6] << 48 | (uint64_t)b[7] << 56;
}

/* How many bytes, from the first on, are at least `least` and not DEL. Of a byte below 0x80, subtracting `least` sets
 * the top bit if it is smaller, adding 1 if it is DEL. The subtraction borrows from the bytes above a smaller one only,
 * and the lowest is what counts ("hasless" of Sean Anderson's Bit Twiddling Hacks). */
static inline size_t rota__http_span_from(const char *s, size_t n, unsigned least) {
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t x = rota__http_eight(s + i), seven_bits = x & ROTA__EACH(0x7f);
        uint64_t found = ((x - ROTA__EACH(least)) | (seven_bits + ROTA__EACH(1))) & ~x & ROTA__EACH(0x80);
        if (found != 0)
            return i + (size_t)__builtin_ctzll(found) / 8;
    }
    while (i < n && (unsigned char)s[i] >= least && s[i] != 0x7f)
        i++;
    return i;
}

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
