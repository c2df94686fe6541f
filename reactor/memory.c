/* The default allocator: malloc behind the allocator's interface. An object of its own, so that a program that
 * brings its own memory does not link malloc. */
#include "reactor/memory.h"

#include <stdlib.h>

static void *malloc_alloc(void *ctx, void *old, size_t old_n, size_t n) {
    (void)ctx;
    (void)old_n;
    if (n)
        return realloc(old, n);
    free(old);
    return NULL;
}

const rota_allocator rota__malloc = { malloc_alloc, NULL };
