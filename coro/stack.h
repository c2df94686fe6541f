/* Stacks: mapped in slabs, always guarded, pooled by size class; or the caller's memory with a canary.
 *
 * Each mapped stack has a guard page below it that no access survives: MADV_GUARD_INSTALL where the first one
 * holds (it does not split the mapping, so a million stacks fit in few mappings), else mprotect. When
 * neither can be had for a stack, there is no stack: -ENOMEM, never an unguarded one.
 */
#ifndef ROTA_CORO_STACK_H
#define ROTA_CORO_STACK_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reactor/memory.h"

enum {
    ROTA__STACK_DEFAULT = 64 * 1024,
    ROTA__STACK_CLASSES = 12   /* usable sizes: 4 KiB << class (page << class), up to 8 MiB */
};

/* The usable bytes of a stack: [base, base + size). */
struct rota__stack {
    unsigned char *base;
    size_t size;           /* of a mapped one at least what was asked for; a multiple of 16 */
    unsigned watch;        /* valgrind's number for it; not of stacks from the pool, whose slab keeps it */
    int8_t size_class;     /* >= 0: from the pool; or one of: */
};
enum {
    ROTA__STACK_ADOPTED = -1,  /* the caller's memory */
    ROTA__STACK_ALONE = -2,    /* mapped alone: for a raw coroutine, or larger than any class */
    ROTA__STACK_NO_CLASS = -3  /* no stack's: what rota__stack_class_of says of a size that is larger than any */
};

struct rota__stack_slab;

/* Of a loop, one thread. */
struct rota__stack_pool {
    const rota_allocator *allocator;       /* for what describes slabs */
    size_t page;
    struct rota__stack_class {
        void **free;                       /* stacks given back, last in first out; room is reserved at mapping */
        size_t n_free, room;               /* room >= total */
        size_t total;                      /* stacks that its slabs have room for */
        struct rota__stack_slab *slabs;    /* the newest, and only one that has stacks left to carve, first */
    } classes[ROTA__STACK_CLASSES];
};

void rota__stack_pool_init(struct rota__stack_pool *pool, const rota_allocator *a);

/* Unmaps everything. All stacks must have been given back, or be of no use any more. */
void rota__stack_pool_free(struct rota__stack_pool *pool);

/* A stack of at least `size` usable bytes (0: default; rounded up to a class). -EINVAL (more than the address
 * space), -ENOMEM. Never fails for want of memory when the class has a free stack. */
int rota__stack_get(struct rota__stack_pool *pool, size_t size, struct rota__stack *stack);

/* The class that rota__stack_get takes such a stack from; ROTA__STACK_NO_CLASS: larger than any. */
int rota__stack_class_of(const struct rota__stack_pool *pool, size_t size);

/* Gives it back; never fails. What was written on it may be kept until it is used again. Not while standing on it.
 * Also for an adopted stack, which is the caller's again then. */
void rota__stack_put(struct rota__stack_pool *pool, struct rota__stack *stack);

/* One stack with no pool, for a raw coroutine. */
int rota__stack_map(size_t size, struct rota__stack *stack);
void rota__stack_unmap(struct rota__stack *stack);

/* The caller's memory: checks that it is large enough to run on at all (-EINVAL), aligns it, writes the canary
 * at its low end. */
int rota__stack_adopt(void *memory, size_t size, struct rota__stack *stack);

/* Does the address lie in the guard below the stack? */
bool rota__stack_guards_address(const struct rota__stack *stack, const void *address);

/* Only for an adopted stack: is the canary as it was? Inline, as every park asks it. */
enum { ROTA__STACK_CANARY_BYTES = 16 };

static inline uint64_t rota__stack_canary(const struct rota__stack *stack) {
    return 0x6b1e9d52c87af034u ^ (uintptr_t)stack->base;    /* with the address: copying a stack copies no canary */
}

static inline bool rota__stack_canary_ok(const struct rota__stack *stack) {
    const uint64_t *word = (const uint64_t *)(const void *)stack->base;
    return word[0] == rota__stack_canary(stack) && word[1] == rota__stack_canary(stack);
}

/* Most bytes ever used, in whole pages that were touched since the stack was mapped: so a stack that went through
 * the pool shows what the deepest of its users needed. 0 for an adopted one, and where the system cannot tell. */
size_t rota__stack_used(const struct rota__stack *stack);

/* The smallest memory that may be adopted; a mapped stack has a page at least. Neither carries a signal frame:
 * a stack under AT_MINSIGSTKSZ + 1 KiB needs signals blocked, or handled on a sigaltstack. */
size_t rota__stack_minimum(void);

/* How guards are made in this process: 0 until the first stack was mapped, or one of these. Tests set it. */
enum { ROTA__GUARD_MADVISE = 1, ROTA__GUARD_MPROTECT = 2 };
extern _Atomic(signed char) rota__stack_guards;

#endif
