/* Where stacks come from: slabs of guarded stacks by size class, single guarded mappings, the caller's memory.
 *
 * Offers: rota__stack_pool_init/_free, rota__stack_get/_put, rota__stack_map/_unmap, rota__stack_adopt,
 * rota__stack_used, rota__stack_minimum.
 * Invariant: a stack that leaves here and is not adopted has a guard below it that was seen, or promised by
 * mprotect, to fault; and giving a stack back never fails, because the list of free ones has room for all.
 * Must not know: who runs on a stack, loops, tasks.
 */
#include "coro/stack.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "coro/sanitize.h"
#include "reactor/memory.h"
#include "reactor/sys.h"

/* Since Linux 6.13 and 5.14; the headers of the build are often older than the kernel. Elsewhere the first number means
 * nothing, and the first guard finds out. */
#ifndef MADV_GUARD_INSTALL
# define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_POPULATE_READ
# define MADV_POPULATE_READ 22
#endif

/* Slabs double from 2 stacks to this many, and to this many bytes: a program with two tasks makes one mapping, one
 * with 100,000 about a hundred. */
enum { FIRST_STACKS = 2, SLAB_STACKS = 1024, SLAB_BYTES = 128 * 1024 * 1024 };

struct rota__stack_slab {
    struct rota__stack_slab *next;
    unsigned char *memory;  /* n times a guard and a span above it */
    size_t guard, span;
    size_t n, carved;       /* stacks in it; those of them, the first ones, that were ever handed out */
    bool watched;
    unsigned watch[];       /* if watched: one per stack */
};

_Atomic(signed char) rota__stack_guards;

static size_t page_size(void) { return (size_t)getpagesize(); }

/* Colours. Stacks are whole pages, so frames at equal depths of many tasks would all compete for the few cache sets
 * that their common offset in a page selects; a ring of 1,000 switches three times faster with tops spread over 16
 * cache lines (docs/SWITCH.md). A stack therefore ends somewhere in one page more than was asked for: that costs
 * addresses, not memory, and no colour hides more than a quarter of the first page that is touched. */
enum { COLOURS = 16, COLOUR_BYTES = 64 };

static size_t size_of(const unsigned char *base, size_t asked, size_t page) {
    return asked + page - (uintptr_t)base / page % COLOURS * COLOUR_BYTES;
}

/* Mapped bytes above the guard; the same from what was asked for and from what size_of made of it. */
static size_t span_of(size_t asked, size_t page) { return asked + page; }
static size_t span_of_stack(size_t size, size_t page) { return (size + page - 1) / page * page; }

/* Guard below a span such that both together are an odd number of pages: so neighbours have different colours, and
 * in larger caches all sets are used too. */
static size_t guard_of(size_t span, size_t page) { return span / page % 2 ? 2 * page : page; }

/* ---- guards ------------------------------------------------------------------------------------- */

/* The first guard of the process answers which kind to use, for all that follow: a fact about the kernel, racing
 * threads find the same one. An answer of 0 to the advice is no proof: emulators answer 0 to any. So the guard is
 * asked to become readable memory, which must fail: this takes no descriptor, and no fault, for which a library has
 * no right to install a handler. True if that guard holds; the kind stays 0 where memory for the question was missing. */
static bool first_guard(unsigned char *p, size_t n) {
    int err = rota__sys_madvise(p, n, MADV_GUARD_INSTALL);
    bool holds = err == 0 && rota__sys_madvise(p, n, MADV_POPULATE_READ) == -EFAULT;
    int kind = holds ? ROTA__GUARD_MADVISE : err == 0 || err == -EINVAL ? ROTA__GUARD_MPROTECT : 0;
    atomic_store_explicit(&rota__stack_guards, (signed char)kind, memory_order_relaxed);
    return holds;
}

/* mprotect splits the mapping, of which a process may have 65,530 (vm.max_map_count): it fails at about 32,750
 * stacks. It is the second choice also where madvise is refused for this mapping (memory that is locked). */
static int install_guard(unsigned char *p, size_t n) {
    int kind = atomic_load_explicit(&rota__stack_guards, memory_order_relaxed);
    if (kind == ROTA__GUARD_MADVISE ? rota__sys_madvise(p, n, MADV_GUARD_INSTALL) == 0 : kind == 0 && first_guard(p, n))
        return 0;
    return rota__sys_mprotect_none(p, n) == 0 ? 0 : -ENOMEM;
}

/* A huge page under a stack would turn one touched page into 512. Advice: where it is refused there are no huge
 * pages either. */
static void *map_stacks(size_t bytes) {
    void *p = rota__sys_mmap(bytes);
#ifdef MADV_NOHUGEPAGE
    if (p)
        (void)rota__sys_madvise(p, bytes, MADV_NOHUGEPAGE);
#endif
    return p;
}

/* ---- slabs -------------------------------------------------------------------------------------- */

void rota__stack_pool_init(struct rota__stack_pool *pool, const rota_allocator *a) {
    *pool = (struct rota__stack_pool){ .allocator = a, .page = page_size() };
}

static unsigned char *stack_of(const struct rota__stack_slab *slab, size_t i) {
    return slab->memory + i * (slab->guard + slab->span) + slab->guard;
}

static void free_slab(const rota_allocator *a, struct rota__stack_slab *slab) {
    size_t bytes = slab->n * (slab->guard + slab->span);
    for (size_t i = 0; slab->watched && i < slab->carved; i++)
        rota__stack_unwatch(stack_of(slab, i), slab->span, slab->watch[i]);
    rota__stack_clean(slab->memory, bytes);
    (void)rota__sys_munmap(slab->memory, bytes);
    rota__free(a, slab, sizeof *slab + (slab->watched ? slab->n * sizeof *slab->watch : 0));
}

void rota__stack_pool_free(struct rota__stack_pool *pool) {
    for (int i = 0; i < ROTA__STACK_CLASSES; i++) {
        struct rota__stack_class *class = &pool->classes[i];
        while (class->slabs) {
            struct rota__stack_slab *slab = class->slabs;
            class->slabs = slab->next;
            free_slab(pool->allocator, slab);
        }
        rota__free(pool->allocator, class->free, class->room * sizeof *class->free);
        *class = (struct rota__stack_class){ 0 };
    }
}

/* Room in the list of free stacks for n more of them, so that giving back cannot fail. */
static int reserve(struct rota__stack_pool *pool, struct rota__stack_class *class, size_t n) {
    if (class->total + n <= class->room)
        return 0;
    size_t room = class->total + n > 2 * class->room ? class->total + n : 2 * class->room;
    void **list = rota__realloc(pool->allocator, class->free, class->room * sizeof *list, room * sizeof *list);
    if (!list)
        return -ENOMEM;
    class->free = list;
    class->room = room;
    return 0;
}

static int add_slab_of(struct rota__stack_pool *pool, struct rota__stack_class *class, size_t span, size_t n) {
    bool watched = rota__stack_watched();
    size_t guard = guard_of(span, pool->page);
    size_t described = sizeof(struct rota__stack_slab) + (watched ? n * sizeof(unsigned) : 0);
    if (reserve(pool, class, n) != 0)
        return -ENOMEM;
    struct rota__stack_slab *slab = rota__alloc(pool->allocator, described);
    unsigned char *memory = slab ? map_stacks(n * (guard + span)) : NULL;
    if (!memory) {
        rota__free(pool->allocator, slab, described);
        return -ENOMEM;
    }
    *slab = (struct rota__stack_slab){ .next = class->slabs, .memory = memory, .guard = guard, .span = span,
                                       .n = n, .watched = watched };
    class->slabs = slab;
    class->total += n;
    return 0;
}

/* Where a large slab does not fit (a limit on address space), a smaller one may. */
static int add_slab(struct rota__stack_pool *pool, struct rota__stack_class *class, size_t span) {
    size_t n = class->slabs ? 2 * class->slabs->n : FIRST_STACKS;
    while (n > 1 && (n > SLAB_STACKS || n * span > SLAB_BYTES))
        n /= 2;
    while (add_slab_of(pool, class, span, n) != 0) {
        if (n == 1)
            return -ENOMEM;
        n /= 2;
    }
    return 0;
}

/* The next stack of the newest slab that was never used. Its guard is made now rather than with the slab: 1,024
 * guards at once would stop the loop for a millisecond, and many would guard nothing. */
static int carve(struct rota__stack_pool *pool, struct rota__stack_class *class, size_t span, unsigned char **base) {
    struct rota__stack_slab *slab = class->slabs;
    if (!slab || slab->carved == slab->n) {
        if (add_slab(pool, class, span) != 0)
            return -ENOMEM;
        slab = class->slabs;
    }
    *base = stack_of(slab, slab->carved);
    if (install_guard(*base - slab->guard, slab->guard) != 0)
        return -ENOMEM;
    if (slab->watched)
        slab->watch[slab->carved] = rota__stack_watch(*base, span);
    slab->carved++;
    return 0;
}

/* ---- stacks ------------------------------------------------------------------------------------- */

/* The smallest class whose stacks have so many bytes; ROTA__STACK_CLASSES or more when there is none. */
static int class_of(size_t size, size_t page) {
    size_t pages = (size - 1) / page;
    return pages ? (int)(8 * sizeof pages) - __builtin_clzl(pages) : 0;
}

int rota__stack_get(struct rota__stack_pool *pool, size_t size, struct rota__stack *stack) {
    int i = class_of(size ? size : ROTA__STACK_DEFAULT, pool->page);
    if (i >= ROTA__STACK_CLASSES)
        return rota__stack_map(size, stack);
    struct rota__stack_class *class = &pool->classes[i];
    size_t asked = pool->page << i;
    unsigned char *base;
    if (__builtin_expect(class->n_free != 0, 1))
        base = class->free[--class->n_free];
    else if (carve(pool, class, span_of(asked, pool->page), &base) != 0)
        return -ENOMEM;
    *stack = (struct rota__stack){ .base = base, .size = size_of(base, asked, pool->page), .size_class = (int8_t)i };
    return 0;
}

void rota__stack_put(struct rota__stack_pool *pool, struct rota__stack *stack) {
    rota__stack_clean(stack->base, stack->size);
    if (stack->size_class >= 0) {
        struct rota__stack_class *class = &pool->classes[stack->size_class];
        class->free[class->n_free++] = stack->base;
    } else if (stack->size_class == ROTA__STACK_ALONE) {
        rota__stack_unmap(stack);
    } else {
        rota__stack_unwatch(stack->base, stack->size, stack->watch);
    }
}

int rota__stack_map(size_t size, struct rota__stack *stack) {
    size_t page = page_size();
    if (!size)
        size = ROTA__STACK_DEFAULT;
    if (size > PTRDIFF_MAX - 4 * page)
        return -EINVAL;
    size_t asked = (size + page - 1) / page * page, span = span_of(asked, page), guard = guard_of(span, page);
    unsigned char *p = map_stacks(guard + span);
    if (!p)
        return -ENOMEM;
    if (install_guard(p, guard) != 0) {
        (void)rota__sys_munmap(p, guard + span);
        return -ENOMEM;
    }
    *stack = (struct rota__stack){ .base = p + guard, .size = size_of(p + guard, asked, page),
                                   .size_class = ROTA__STACK_ALONE, .watch = rota__stack_watch(p + guard, span) };
    return 0;
}

void rota__stack_unmap(struct rota__stack *stack) {
    size_t page = page_size(), span = span_of_stack(stack->size, page), guard = guard_of(span, page);
    rota__stack_unwatch(stack->base, span, stack->watch);
    rota__stack_clean(stack->base, span);
    (void)rota__sys_munmap(stack->base - guard, guard + span);
    stack->base = NULL;
}

int rota__stack_adopt(void *memory, size_t size, struct rota__stack *stack) {
    uintptr_t low = ((uintptr_t)memory + 15) & ~(uintptr_t)15;
    uintptr_t high = ((uintptr_t)memory + size) & ~(uintptr_t)15;
    if (!memory || high < (uintptr_t)memory || high < low || high - low < rota__stack_minimum())
        return -EINVAL;
    *stack = (struct rota__stack){ .base = (unsigned char *)memory + (low - (uintptr_t)memory),
                                   .size = high - low, .size_class = ROTA__STACK_ADOPTED };
    stack->watch = rota__stack_watch(stack->base, stack->size);
    uint64_t *canary = (uint64_t *)(void *)stack->base;
    canary[0] = canary[1] = rota__stack_canary(stack);
    return 0;
}

bool rota__stack_guards_address(const struct rota__stack *stack, const void *address) {
    if (stack->size_class == ROTA__STACK_ADOPTED)
        return false;
    size_t page = page_size(), guard = guard_of(span_of_stack(stack->size, page), page);
    return (uintptr_t)stack->base - (uintptr_t)address - 1 < guard;
}

/* Looks for the lowest page that is in memory: a function with a large array touches its far end first. Filling
 * stacks with a pattern instead would touch every page of them. */
size_t rota__stack_used(const struct rota__stack *stack) {
    unsigned char in_memory[64];
    size_t page = page_size(), step = sizeof in_memory * page;
    if (stack->size_class == ROTA__STACK_ADOPTED)
        return 0;
    for (size_t at = 0; at < stack->size; at += step) {
        size_t n = stack->size - at < step ? stack->size - at : step;
        if (rota__sys_mincore(stack->base + at, n, in_memory) != 0)
            return 0;
        for (size_t i = 0; i * page < n; i++)
            if (in_memory[i] & 1)
                return stack->size - at - i * page;
    }
    return 0;
}

/* A context with its frames, a control block of a raw coroutine, the canary, and a call or two. Rounding to 16
 * may take away 30 bytes. */
size_t rota__stack_minimum(void) { return 960; }

int rota__stack_class_of(const struct rota__stack_pool *pool, size_t size) {
    int i = class_of(size ? size : ROTA__STACK_DEFAULT, pool->page);
    return i < ROTA__STACK_CLASSES ? i : ROTA__STACK_NO_CLASS;
}
