/* Text without stdio, for reports and descriptions: printf alone would outweigh the loop (16 KiB with musl). */
#include "reactor/text.h"

void rota__text_init(struct rota__text *t, char *buf, size_t size) {
    t->at = buf;
    t->size = buf ? size : 0;
    t->length = 0;
    if (t->size)
        buf[0] = '\0';
}

static void add_char(struct rota__text *t, char c) {
    if (t->length + 1 < t->size) {
        t->at[t->length] = c;
        t->at[t->length + 1] = '\0';
    }
    t->length++;
}

void rota__text_add(struct rota__text *t, const char *s) {
    while (*s)
        add_char(t, *s++);
}

static void add_digits(struct rota__text *t, uint64_t n, unsigned base) {
    char digits[20];
    int count = 0;
    do {
        digits[count++] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n);
    while (count)
        add_char(t, digits[--count]);
}

void rota__text_number(struct rota__text *t, int64_t n) {
    if (n < 0)
        add_char(t, '-');
    add_digits(t, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, 10);
}

void rota__text_hex(struct rota__text *t, uintptr_t n) {
    rota__text_add(t, "0x");
    add_digits(t, n, 16);
}
