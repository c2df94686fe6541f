/* Bytes of a head looked at together, a block of HTTP_BLOCK: with SSE2, which every x86-64 has, or in a word. The one place
 * that knows which. It must not know what the bytes are for. */
#ifndef ROTA_HTTP_BLOCK_H
#define ROTA_HTTP_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __SSE2__
# include <emmintrin.h>

enum { HTTP_BLOCK = 16 };

/* How many bytes of the block, from the first on, are at least `least`, which is not 0, and not DEL. */
static inline size_t rota__http_block_span(const char *s, unsigned least) {
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)s), most = _mm_set1_epi8((char)(least - 1));
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, most), x), del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f));
    return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(_mm_or_si128(low, del)) | 1U << HTTP_BLOCK);
}

/* How many bytes at s are certainly letters or hyphens, and not the last of n. Nearly all names have nothing else, and are
 * no longer than a block. */
static inline size_t rota__http_block_letters(const char *s, size_t n) {
    if (n <= HTTP_BLOCK)
        return 0;
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)s), last = _mm_set1_epi8('z' - 'a');
    __m128i from_a = _mm_sub_epi8(_mm_or_si128(x, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i letter = _mm_cmpeq_epi8(_mm_min_epu8(from_a, last), from_a);
    __m128i hyphen = _mm_cmpeq_epi8(x, _mm_set1_epi8('-'));
    return (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(_mm_or_si128(letter, hyphen)));
}
#else

enum { HTTP_BLOCK = 8 };

/* The first byte is the lowest one. Compilers make this one load. */
static inline uint64_t rota__http_word(const char *s) {
    const unsigned char *b = (const unsigned char *)s;
    return (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24 | (uint64_t)b[4] << 32 |
           (uint64_t)b[5] << 40 | (uint64_t)b[6] << 48 | (uint64_t)b[7] << 56;
}

/* As above. Of a byte below 0x80, subtracting `least` sets the top bit if it is smaller, adding 1 if it is DEL. The
 * subtraction borrows from the bytes above a smaller one only, and the lowest is what counts ("hasless" of Sean Anderson's
 * Bit Twiddling Hacks). */
static inline size_t rota__http_block_span(const char *s, unsigned least) {
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t x = rota__http_word(s), seven_bits = x & each * 0x7f;
    uint64_t outside = ((x - each * least) | (seven_bits + each)) & ~x & each * 0x80;
    return outside ? (unsigned)__builtin_ctzll(outside) / 8 : HTTP_BLOCK;
}

static inline size_t rota__http_block_letters(const char *s, size_t n) {
    (void)s, (void)n;
    return 0;
}
#endif

#endif
