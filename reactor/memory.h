/* The one place through which the library allocates. n == 0 frees; tests replace the allocator. */
#ifndef ROTA_REACTOR_MEMORY_H
#define ROTA_REACTOR_MEMORY_H

#include "rota/reactor.h"

/* The struct that `member` at `pointer` is part of. */
#define rota__container_of(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* malloc, realloc, free behind the allocator's interface; in an object of its own (memory.c). */
extern const rota_allocator rota__malloc;

static inline void *rota__alloc(const rota_allocator *a, size_t n) {
    return a->alloc(a->ctx, NULL, 0, n);
}

static inline void *rota__realloc(const rota_allocator *a, void *old, size_t old_n, size_t n) {
    return a->alloc(a->ctx, old, old_n, n);
}

static inline void rota__free(const rota_allocator *a, void *old, size_t old_n) {
    if (old)
        (void)a->alloc(a->ctx, old, old_n, 0);
}

#endif
