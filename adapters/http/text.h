/* Bytes and texts: classes of characters, comparison, and output into a buffer of fixed size. Nothing here depends on
 * the locale. */
#ifndef ROTA_HTTP_TEXT_H
#define ROTA_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

#ifdef __SSE2__
/* Of sixteen bytes, a bit for each that is less than `least`, which is not 0, or DEL. */
static inline unsigned rota__http_outside_16(const char *s, unsigned least) {
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)s), most = _mm_set1_epi8((char)(least - 1));
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, most), x), del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, del));
}

/* Of sixteen bytes, a bit for each that is neither a letter nor a hyphen, and all bits above. */
static inline unsigned rota__http_no_letters_16(const char *s) {
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)s), last = _mm_set1_epi8('z' - 'a');
    __m128i from_a = _mm_sub_epi8(_mm_or_si128(x, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i letter = _mm_cmpeq_epi8(_mm_min_epu8(from_a, last), from_a);
    __m128i hyphen = _mm_cmpeq_epi8(x, _mm_set1_epi8('-'));
    return ~(unsigned)_mm_movemask_epi8(_mm_or_si128(letter, hyphen));
}
#else
#define ROTA__EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The first byte is the lowest one. Compilers make this one load. */
static inline uint64_t rota__http_eight(const char *s) {
    const unsigned char *b = (const unsigned char *)s;
    return (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24 | (uint64_t)b[4] << 32 |
           (uint64_t)b[5] << 40 | (uint64_t)b[6] << 48 | (uint64_t)b[7] << 56;
}

/* Of eight bytes, the top bit of the lowest one that is less than `least` or DEL, and perhaps of others above it. Of a
 * byte below 0x80, subtracting `least` sets the top bit if it is smaller, adding 1 if it is DEL. The subtraction borrows
 * from the bytes above a smaller one only, and the lowest is what counts ("hasless" of Sean Anderson's Bit Twiddling
 * Hacks). */
static inline uint64_t rota__http_outside_8(const char *s, unsigned least) {
    uint64_t x = rota__http_eight(s), seven_bits = x & ROTA__EACH(0x7f);
    return ((x - ROTA__EACH(least)) | (seven_bits + ROTA__EACH(1))) & ~x & ROTA__EACH(0x80);
}
#endif

/* Where the token at s, which lies before stop, ends: at stop at the latest. Nearly all have letters and hyphens only, and
 * no more than sixteen. */
static inline char *rota__http_token_end(char *s, const char *stop) {
#ifdef __SSE2__
    if (stop - s > 16)
        s += (unsigned)__builtin_ctz(rota__http_no_letters_16(s));
#endif
    while (rota__http_is(*s, HTTP_TOKEN) && ++s < stop)
        continue;
    return s;
}

/* How many bytes, from the first on, are at least `least` and not DEL. (rest: where they are not soon found.) */
size_t rota__http_span_rest(const char *s, size_t n, unsigned least);
static inline size_t rota__http_span_from(const char *s, size_t n, unsigned least) {
#ifdef __SSE2__
    unsigned found = n >= 16 ? rota__http_outside_16(s, least) : 0;
    return found != 0 ? (unsigned)__builtin_ctz(found) : rota__http_span_rest(s, n, least);
#else
    uint64_t found = n >= 8 ? rota__http_outside_8(s, least) : 0;
    return found != 0 ? (unsigned)__builtin_ctzll(found) / 8 : rota__http_span_rest(s, n, least);
#endif
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
