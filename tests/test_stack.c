/* Stacks: guards that hold or no stack, classes and pools, what failing calls leave behind, adopted memory. */
#include "tests/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "coro/sanitize.h"
#include "coro/stack.h"
#include "reactor/memory.h"
#include "tests/sys_table.h"

/* ---- a system that counts, and fails on demand ---- */

static struct rota__sys sys;
static struct {
    int mmap, munmap, mprotect, madvise_guard, populate, alloc, free;
    size_t mapped, allocated;
} calls;
static struct { long mmap, mprotect, guard, alloc; } left;    /* calls that succeed; negative: all */
static bool guards_are_lies;

static bool fails(long *allowed) { return *allowed == 0 || (*allowed > 0 && (*allowed)-- == 0); }

static void *count_mmap(size_t n) {
    void *p = fails(&left.mmap) ? NULL : rota__sys_real.mmap(n);
    calls.mmap++;
    calls.mapped += p ? n : 0;
    return p;
}
static int count_munmap(void *p, size_t n) {
    calls.munmap++;
    calls.mapped -= n;
    return rota__sys_real.munmap(p, n);
}
static int count_mprotect(void *p, size_t n) {
    calls.mprotect++;
    return fails(&left.mprotect) ? -ENOMEM : rota__sys_real.mprotect_none(p, n);
}
static int count_madvise(void *p, size_t n, int advice) {
    calls.populate += advice == 22;
    if (advice == 22 && guards_are_lies)
        return 0;
    if (advice != 102)
        return rota__sys_real.madvise(p, n, advice);
    calls.madvise_guard++;
    if (guards_are_lies)
        return 0;
    return fails(&left.guard) ? -ENOMEM : rota__sys_real.madvise(p, n, advice);
}
static void *count_alloc(void *ctx, void *old, size_t old_n, size_t n) {
    (void)ctx;
    if (n && fails(&left.alloc))
        return NULL;
    calls.allocated += n - old_n;
    return rota__malloc.alloc(NULL, old, old_n, n);
}
static const rota_allocator counting = { count_alloc, NULL };

static int probe_pipe[2];
static struct rota__stack_pool pool;

static void set_up(void) {
    sys = rota__sys_real;
    sys.mmap = count_mmap;
    sys.munmap = count_munmap;
    sys.mprotect_none = count_mprotect;
    sys.madvise = count_madvise;
    rota__sys = &sys;
    rota__stack_guards = 0;
    memset(&left, 0xff, sizeof left);
    cr_assert_eq(pipe(probe_pipe), 0);
    rota__stack_pool_init(&pool, &counting);
}

static void tear_down(void) {
    rota__stack_pool_free(&pool);
    rota__sys = &rota__sys_real;
    close(probe_pipe[0]);
    close(probe_pipe[1]);
    cr_assert_eq(calls.mapped, 0, "%zu bytes are still mapped", calls.mapped);
    cr_assert_eq(calls.allocated, 0, "%zu bytes are still allocated", calls.allocated);
}

/* No signal needed to find out: the kernel refuses to read from a page that the process must not touch. */
static bool faults(const unsigned char *p) {
    char byte;
    ssize_t n = write(probe_pipe[1], p, 1);
    if (n == 1)
        n = read(probe_pipe[0], &byte, 1);
    return n == -1 && errno == EFAULT;
}

static bool guarded(const struct rota__stack *stack) {
    size_t page = (size_t)getpagesize();
    return faults(stack->base - 1) && faults(stack->base - page) && !faults(stack->base) &&
           !faults(stack->base + stack->size - 1);
}

static struct rota__stack get(size_t size) {
    struct rota__stack stack = { 0 };
    cr_expect_eq(rota__stack_get(&pool, size, &stack), 0);
    return stack;
}

#define POOL .init = set_up, .fini = tear_down

/* ---- guards ---- */

Test(stack, is_guarded_below_and_writable_all_over, POOL) {
    for (size_t size = 1; size <= 1024 * 1024; size *= 2) {
        struct rota__stack stack = get(size);
        cr_assert(guarded(&stack), "of %zu bytes", stack.size);
        cr_assert_geq(stack.size, size);
        memset(stack.base, 1, stack.size);
        rota__stack_put(&pool, &stack);
    }
}

Test(stack, mapped_alone_is_guarded, POOL) {
    for (size_t size = 0; size <= 300000; size += 30000) {
        struct rota__stack stack;
        cr_assert_eq(rota__stack_map(size, &stack), 0);
        cr_assert(guarded(&stack));
        cr_assert_geq(stack.size, size ? size : ROTA__STACK_DEFAULT);
        memset(stack.base, 1, stack.size);
        rota__stack_unmap(&stack);
        cr_assert_eq(calls.mapped, 0);
    }
}

Test(stack, asks_the_kernel_about_guards_once, POOL) {
    struct rota__stack a = get(0);
    int asked = calls.populate;
    cr_assert_leq(asked, 1);
    cr_assert_neq(rota__stack_guards, 0);
    struct rota__stack b = get(0), c;
    cr_assert_eq(rota__stack_map(0, &c), 0);
    cr_assert_eq(calls.populate, asked);
    rota__stack_unmap(&c);
    rota__stack_put(&pool, &a);
    rota__stack_put(&pool, &b);
}

/* An emulator answers 0 to any advice. */
Test(stack, does_not_believe_an_answer_without_a_guard, POOL) {
    guards_are_lies = true;
    struct rota__stack stack = get(0);
    cr_assert_eq(rota__stack_guards, ROTA__GUARD_MPROTECT);
    cr_assert_eq(calls.madvise_guard, 1);
    cr_assert_eq(calls.mprotect, 1);
    cr_assert(guarded(&stack));
    rota__stack_put(&pool, &stack);
}

Test(stack, where_memory_for_the_question_is_missing_guards_by_mprotect_this_time, POOL) {
    left.guard = 0;
    struct rota__stack a = get(0);
    cr_assert_eq(rota__stack_guards, 0);
    cr_assert_eq(calls.mprotect, 1);
    cr_assert(guarded(&a));
    left.guard = -1;
    struct rota__stack b = get(0);
    cr_assert_neq(rota__stack_guards, 0);
    cr_assert(guarded(&b));
    rota__stack_put(&pool, &a);
    rota__stack_put(&pool, &b);
}

/* Memory that is locked takes no guard by madvise. */
Test(stack, falls_back_where_a_guard_is_refused, POOL) {
    struct rota__stack a = get(0);
    left.guard = 0;
    struct rota__stack b = get(0);
    cr_assert_geq(calls.mprotect, 1);
    cr_assert(guarded(&b));
    rota__stack_put(&pool, &a);
    rota__stack_put(&pool, &b);
}

Test(stack, no_guard_no_stack, POOL) {
    struct rota__stack stack, alone;
    left.guard = left.mprotect = 0;
    cr_assert_eq(rota__stack_get(&pool, 0, &stack), -ENOMEM);
    cr_assert_eq(rota__stack_get(&pool, 0, &stack), -ENOMEM);
    cr_assert_eq(rota__stack_map(0, &alone), -ENOMEM);
    left.guard = left.mprotect = -1;
    stack = get(0);
    cr_assert(guarded(&stack));
    rota__stack_put(&pool, &stack);
}

static int many_stacks(size_t n, struct rota__stack *stacks) {
    for (size_t i = 0; i < n; i++) {
        int err = rota__stack_get(&pool, 4096, &stacks[i]);
        if (err) {
            cr_expect_eq(err, -ENOMEM);
            return (int)i;
        }
        if (i % 64 == 0 || i > n - 8)
            cr_expect(guarded(&stacks[i]), "stack %zu", i);
    }
    return (int)n;
}

/* Either all are guarded, or the first that cannot be is refused: never an unguarded one. */
static void all_guarded_or_refused(void) {
    size_t n = rota__stack_watched() ? 2000 : 200000;
    struct rota__stack *stacks = calloc(n, sizeof *stacks);
    cr_assert_not_null(stacks);
    int got = many_stacks(n, stacks);
    cr_expect(guarded(&stacks[got - 1]));
    if (rota__stack_guards == ROTA__GUARD_MADVISE) {
        cr_expect_eq(got, (int)n);
    }
    for (int i = 0; i < got; i++)
        rota__stack_put(&pool, &stacks[i]);
    free(stacks);
}

Test(stack, guards_200000_or_refuses, POOL, .timeout = 120) { all_guarded_or_refused(); }

Test(stack, guards_200000_or_refuses_with_mprotect, POOL, .timeout = 120) {
    rota__stack_guards = ROTA__GUARD_MPROTECT;
    all_guarded_or_refused();
}

#if !defined(ROTA__ASAN) && !defined(ROTA__TSAN)
static volatile unsigned char *volatile below;

/* The page below is what a recursion too deep runs into. */
Test(stack, overflow_is_fatal, .signal = SIGSEGV) {
    struct rota__stack stack;
    if (rota__stack_map(0, &stack) != 0)
        exit(1);
    below = stack.base;
    below[0] = 1;
    below[-1] = 1;
}
#endif

/* ---- sizes ---- */

Test(stack, rounds_up_to_a_class, POOL) {
    size_t page = (size_t)getpagesize();
    struct { size_t asked, got; } sizes[] = {
        { 0, ROTA__STACK_DEFAULT }, { 1, page }, { page, page }, { page + 1, 2 * page },
        { 3 * page, 4 * page }, { 5 * page - 1, 8 * page }, { 2048 * page, 2048 * page },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct rota__stack stack = get(sizes[i].asked);
        cr_assert_geq(stack.size, sizes[i].got, "%zu for %zu", stack.size, sizes[i].asked);
        cr_assert_leq(stack.size, sizes[i].got + page, "%zu for %zu", stack.size, sizes[i].asked);
        cr_assert_eq(((uintptr_t)stack.base + stack.size) % 64, 0);
        cr_assert_eq((uintptr_t)stack.base % page, 0);
        rota__stack_put(&pool, &stack);
    }
}

Test(stack, larger_than_any_class_is_mapped_alone, POOL) {
    size_t page = (size_t)getpagesize();
    struct rota__stack stack = get(2048 * page + 1);
    cr_assert_geq(stack.size, 2049 * page);
    cr_assert_leq(stack.size, 2050 * page);
    cr_assert(guarded(&stack));
    rota__stack_put(&pool, &stack);
    cr_assert_eq(calls.mapped, 0);
}

Test(stack, impossible_sizes, POOL) {
    struct rota__stack stack;
    cr_assert_eq(rota__stack_get(&pool, SIZE_MAX, &stack), -EINVAL);
    cr_assert_eq(rota__stack_get(&pool, (size_t)PTRDIFF_MAX, &stack), -EINVAL);
    cr_assert_eq(rota__stack_get(&pool, (size_t)PTRDIFF_MAX / 2, &stack), -ENOMEM);
    cr_assert_eq(rota__stack_map(SIZE_MAX, &stack), -EINVAL);
    cr_assert_eq(rota__stack_map((size_t)PTRDIFF_MAX / 2, &stack), -ENOMEM);
}

/* Frames at the same depth of many stacks must not all fall into the same cache sets. */
Test(stack, neighbours_are_an_odd_number_of_pages_apart, POOL) {
    size_t page = (size_t)getpagesize();
    for (size_t size = page; size <= 16 * page; size *= 2) {
        struct rota__stack stacks[8];
        for (int i = 0; i < 8; i++)
            stacks[i] = get(size);
        for (int i = 2; i < 5; i++) {   /* slabs of 2, 4, 8: these four lie in one */
            size_t distance = (size_t)(stacks[i + 1].base - stacks[i].base);
            cr_assert_eq(distance / page % 2, 1, "%zu pages", distance / page);
            cr_assert_leq(distance, size + 3 * page);
        }
        for (int i = 0; i < 8; i++)
            rota__stack_put(&pool, &stacks[i]);
    }
}

/* Nor into the same lines of a page. */
Test(stack, tops_differ_within_the_page, POOL) {
    enum { N = 48 };
    struct rota__stack stacks[N];
    size_t page = (size_t)getpagesize(), lines = 0;
    unsigned char seen[64] = { 0 };
    for (int i = 0; i < N; i++) {
        stacks[i] = get(4096);
        size_t line = page / 64 - (uintptr_t)(stacks[i].base + stacks[i].size - 1) % page / 64 - 1;
        cr_assert_lt(line, 16);
        lines += seen[line]++ == 0;
    }
    cr_assert_eq(lines, 16, "%zu lines", lines);
    for (int i = 0; i < N; i++)
        rota__stack_put(&pool, &stacks[i]);
}

/* ---- the pool ---- */

Test(stack, last_in_is_first_out, POOL) {
    struct rota__stack a = get(0), b = get(0), c = get(8192);
    unsigned char *last = b.base, *first = a.base, *other = c.base;
    rota__stack_put(&pool, &a);
    rota__stack_put(&pool, &c);
    rota__stack_put(&pool, &b);
    a = get(0);
    b = get(0);
    c = get(8192);
    cr_assert_eq(a.base, last);
    cr_assert_eq(b.base, first);
    cr_assert_eq(c.base, other);
    rota__stack_put(&pool, &a);
    rota__stack_put(&pool, &b);
    rota__stack_put(&pool, &c);
}

Test(stack, a_small_program_stays_small, POOL) {
    struct rota__stack a = get(0), b = get(0);
    cr_assert_leq(calls.mapped, 2 * (ROTA__STACK_DEFAULT + 3 * (size_t)getpagesize()));
    rota__stack_put(&pool, &a);
    rota__stack_put(&pool, &b);
}

Test(stack, many_stacks_take_few_mappings, POOL) {
    enum { N = 5000 };
    static struct rota__stack stacks[N];
    for (int i = 0; i < N; i++)
        stacks[i] = get(4096);
    cr_assert_leq(calls.mmap, 16, "%d mappings", calls.mmap);
    for (int i = 0; i < N; i++)
        rota__stack_put(&pool, &stacks[i]);
}

/* 100,000 users of at most ten stacks: nothing new is mapped or allocated. */
Test(stack, reuse_costs_nothing, POOL) {
    struct rota__stack stacks[10];
    for (int i = 0; i < 10; i++)
        stacks[i] = get(0);
    for (int i = 0; i < 10; i++)
        rota__stack_put(&pool, &stacks[i]);
    int mmaps = calls.mmap;
    left.mmap = left.alloc = left.guard = left.mprotect = 0;
    for (int i = 0; i < 10000; i++) {
        for (int j = 0; j < 10; j++)
            stacks[j] = get(0);
        for (int j = 0; j < 10; j++)
            rota__stack_put(&pool, &stacks[j]);
    }
    cr_assert_eq(calls.mmap, mmaps);
}

/* Every allocation and every mapping fails once, and from then on. */
Test(stack, failures_leave_nothing_behind, POOL) {
    for (int kind = 0; kind < 4; kind++)
        for (long n = 0; n < 30; n++) {
            struct rota__stack stacks[20];
            bool got[20];
            struct rota__stack_pool other;
            rota__stack_pool_init(&other, &counting);
            long *which = kind == 0 ? &left.mmap : kind == 1 ? &left.alloc : kind == 2 ? &left.mprotect : &left.guard;
            rota__stack_guards = kind == 2 ? ROTA__GUARD_MPROTECT : 0;
            *which = n;
            for (int i = 0; i < 20; i++) {
                int err = rota__stack_get(&other, 4096, &stacks[i]);
                cr_expect(err == 0 || err == -ENOMEM, "%d", err);
                got[i] = err == 0;
                if (i == 12)
                    *which = -1;
            }
            for (int i = 0; i < 20; i++)
                if (got[i]) {
                    cr_expect(guarded(&stacks[i]));
                    rota__stack_put(&other, &stacks[i]);
                }
            *which = -1;
            rota__stack_pool_free(&other);
            cr_assert_eq(calls.mapped, 0);
            cr_assert_eq(calls.allocated, 0);
        }
}

/* A limit on address space refuses a large slab; a smaller one may still fit. */
static size_t largest;

static void *mmap_small(size_t n) { return n > largest ? NULL : count_mmap(n); }

Test(stack, takes_a_smaller_slab_where_a_large_one_does_not_fit, POOL) {
    enum { N = 40 };
    struct rota__stack stacks[N];
    size_t page = (size_t)getpagesize();
    largest = 4 * 5 * page;
    sys.mmap = mmap_small;
    for (int i = 0; i < N; i++)
        stacks[i] = get(page);
    largest = 0;
    struct rota__stack one_more;
    int err = 0;
    for (int i = 0; i < 4 && err == 0; i++)
        err = rota__stack_get(&pool, page, &one_more);
    cr_assert_eq(err, -ENOMEM);
    for (int i = 0; i < N; i++)
        rota__stack_put(&pool, &stacks[i]);
}

/* ---- how much was used ---- */

Test(stack, used_is_counted_in_touched_pages, POOL) {
    size_t page = (size_t)getpagesize();
    if (!sys.mincore)
        cr_skip_test("no mincore here");
    for (size_t size = 16 * page; size <= 256 * page; size *= 4) {
        struct rota__stack stack = get(size);
        cr_assert_eq(rota__stack_used(&stack), 0);
        size_t first = (uintptr_t)(stack.base + stack.size - 1) % page + 1;     /* of its top page */
        stack.base[stack.size - 1] = 1;
        cr_assert_eq(rota__stack_used(&stack), first);
        stack.base[stack.size - 1 - 6 * page] = 1;
        cr_assert_eq(rota__stack_used(&stack), first + 6 * page);
        stack.base[0] = 1;
        cr_assert_eq(rota__stack_used(&stack), stack.size);
        rota__stack_put(&pool, &stack);
    }
}

/* ---- the caller's memory ---- */

Test(stack, adopts_and_aligns, POOL) {
    static unsigned char memory[4096 + 32];
    for (size_t offset = 0; offset < 16; offset++) {
        struct rota__stack stack;
        cr_assert_eq(rota__stack_adopt(memory + offset, 4096, &stack), 0);
        cr_assert_eq(stack.size_class, ROTA__STACK_ADOPTED);
        cr_assert_eq((uintptr_t)stack.base % 16, 0);
        cr_assert_eq(stack.size % 16, 0);
        cr_assert_geq(stack.base, memory + offset);
        cr_assert_leq(stack.base + stack.size, memory + offset + 4096);
        cr_assert_geq(stack.size, 4096 - 30);
        cr_assert_eq(rota__stack_used(&stack), 0);
        rota__stack_put(&pool, &stack);
    }
    cr_assert_eq(calls.mmap, 0);
}

Test(stack, refuses_memory_that_is_too_small, POOL) {
    static unsigned char memory[4096];
    struct rota__stack stack;
    cr_assert_eq(rota__stack_adopt(NULL, 4096, &stack), -EINVAL);
    cr_assert_eq(rota__stack_adopt(memory, 0, &stack), -EINVAL);
    cr_assert_eq(rota__stack_adopt(memory, 15, &stack), -EINVAL);
    cr_assert_eq(rota__stack_adopt(memory, SIZE_MAX, &stack), -EINVAL);
    cr_assert_eq(rota__stack_adopt(memory, rota__stack_minimum() - 1, &stack), -EINVAL);
    cr_assert_eq(rota__stack_adopt(memory, rota__stack_minimum() + 31, &stack), 0);
    rota__stack_put(&pool, &stack);
}

Test(stack, the_canary_sees_every_byte, POOL) {
    static unsigned char memory[4096];
    struct rota__stack stack;
    cr_assert_eq(rota__stack_adopt(memory, sizeof memory, &stack), 0);
    cr_assert(rota__stack_canary_ok(&stack));
    for (int i = 0; i < ROTA__STACK_CANARY_BYTES; i++) {
        stack.base[i] ^= 0x10;
        cr_assert(!rota__stack_canary_ok(&stack), "byte %d", i);
        stack.base[i] ^= 0x10;
    }
    stack.base[ROTA__STACK_CANARY_BYTES] ^= 0x10;
    cr_assert(rota__stack_canary_ok(&stack));
    rota__stack_put(&pool, &stack);
}
