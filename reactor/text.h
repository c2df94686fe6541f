/* Text without stdio: appends to a buffer that is never overrun, and counts what would have been needed. */
#ifndef ROTA_REACTOR_TEXT_H
#define ROTA_REACTOR_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct rota__text {
    char *at;         /* always ends in NUL when size > 0 */
    size_t size;
    size_t length;    /* what it has or would have */
};

void rota__text_init(struct rota__text *t, char *buf, size_t size);
void rota__text_add(struct rota__text *t, const char *s);
void rota__text_number(struct rota__text *t, int64_t n);
void rota__text_hex(struct rota__text *t, uintptr_t n);

#endif
