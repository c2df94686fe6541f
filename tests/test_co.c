/* Raw coroutines: values both ways, every refusal, memory, and that nothing leaks into or out of a stack. */
#if defined(__OPTIMIZE__) && !defined(_FORTIFY_SOURCE) && !defined(__SANITIZE_ADDRESS__)
# define _FORTIFY_SOURCE 2  /* its longjmp looks at the stack pointer */
#endif
#include "tests/harness.h"

#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "coro/sanitize.h"
#include "coro/stack.h"
#include "reactor/memory.h"
#include "tests/sys_table.h"
#include "rota/coro.h"

static rota_co *new_co(rota_co_fn *fn, void *arg) {
    rota_co *co = NULL;
    cr_expect_eq(rota_co_new(&co, fn, arg, NULL), 0);
    return co;
}

/* ---- values ---- */

static intptr_t echo(rota_co *self, void *arg) {
    intptr_t in = (intptr_t)arg, out;
    while (in != 0) {
        out = in + 1;
        cr_expect_eq(rota_co_yield(self, out, &in), 0);
    }
    return 77;
}

Test(co, hands_values_both_ways) {
    rota_co *co = new_co(echo, (void *)41);
    intptr_t out = 0;
    cr_assert_eq(rota_co_resume(co, 12345, &out), ROTA_YIELDED);    /* the first one is dropped */
    cr_assert_eq(out, 42);
    cr_assert_eq(rota_co_resume(co, -100, &out), ROTA_YIELDED);
    cr_assert_eq(out, -99);
    cr_assert_eq(rota_co_resume(co, INTPTR_MAX - 1, &out), ROTA_YIELDED);
    cr_assert_eq(out, INTPTR_MAX);
    cr_assert(!rota_co_done(co));
    cr_assert_eq(rota_co_resume(co, 0, &out), ROTA_DONE);
    cr_assert_eq(out, 77);
    cr_assert(rota_co_done(co));
    cr_assert_eq(rota_co_free(co), 0);
}

static intptr_t ignore_values(rota_co *self, void *arg) {
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_co_yield(self, i, NULL), 0);
    return (intptr_t)arg;
}

Test(co, values_may_be_ignored) {
    rota_co *co = new_co(ignore_values, NULL);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(rota_co_resume(co, i, NULL), ROTA_YIELDED);
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_DONE);
    cr_assert_eq(rota_co_free(co), 0);
}

static intptr_t yield_n(rota_co *self, void *arg) {
    for (intptr_t i = 0; i < (intptr_t)arg; i++)
        cr_expect_eq(rota_co_yield(self, i, NULL), 0);
    return -1;
}

/* A19 */
Test(co, returns_at_once_and_after_1000_yields) {
    for (intptr_t n = 0; n <= 1000; n += 1000) {
        rota_co *co = new_co(yield_n, (void *)n);
        intptr_t out;
        for (intptr_t i = 0; i < n; i++) {
            cr_assert_eq(rota_co_resume(co, 0, &out), ROTA_YIELDED);
            cr_assert_eq(out, i);
        }
        cr_assert_eq(rota_co_resume(co, 0, &out), ROTA_DONE);
        cr_assert_eq(out, -1);
        cr_assert_eq(rota_co_free(co), 0);
    }
}

/* ---- refusals ---- */

/* A17 */
Test(co, finished_cannot_be_resumed) {
    rota_co *co = new_co(yield_n, NULL);
    intptr_t out = 5;
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_DONE);
    cr_assert_eq(rota_co_resume(co, 0, &out), -EINVAL);
    cr_assert_eq(out, 5);
    cr_assert_eq(rota_co_free(co), 0);
}

static intptr_t resume_itself(rota_co *self, void *arg) {
    (void)arg;
    cr_expect_eq(rota_co_resume(self, 0, NULL), -EALREADY);
    cr_expect_eq(rota_co_free(self), -EBUSY);
    cr_expect(!rota_co_done(self));
    return 1;
}

Test(co, running_cannot_be_resumed_or_freed) {
    rota_co *co = new_co(resume_itself, NULL);
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_DONE);
    cr_assert_eq(rota_co_free(co), 0);
}

static rota_co *outer;

static intptr_t inner_body(rota_co *self, void *arg) {
    (void)arg;
    cr_expect_eq(rota_co_resume(outer, 0, NULL), -EALREADY);
    cr_expect_eq(rota_co_free(outer), -EBUSY);
    cr_expect_eq(rota_co_yield(outer, 0, NULL), -EPERM);
    return rota_co_yield(self, 1, NULL);
}

static intptr_t outer_body(rota_co *self, void *arg) {
    rota_co *inner = arg;
    cr_expect_eq(rota_co_resume(inner, 0, NULL), ROTA_YIELDED);
    cr_expect_eq(rota_co_yield(inner, 0, NULL), -EPERM);
    cr_expect_eq(rota_co_yield(self, 2, NULL), 0);
    cr_expect_eq(rota_co_resume(inner, 0, NULL), ROTA_DONE);
    return 3;
}

Test(co, one_that_resumed_another_counts_as_running) {
    rota_co *inner = new_co(inner_body, NULL);
    outer = new_co(outer_body, inner);
    cr_assert_eq(rota_co_resume(outer, 0, NULL), ROTA_YIELDED);
    cr_assert_eq(rota_co_resume(outer, 0, NULL), ROTA_DONE);
    cr_assert_eq(rota_co_free(outer), 0);
    cr_assert_eq(rota_co_free(inner), 0);
}

Test(co, yield_outside_is_refused) {
    rota_co *co = new_co(yield_n, (void *)3);
    cr_assert_eq(rota_co_yield(NULL, 0, NULL), -EINVAL);
    cr_assert_eq(rota_co_yield(co, 0, NULL), -EPERM);
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_YIELDED);
    cr_assert_eq(rota_co_yield(co, 0, NULL), -EPERM);
    cr_assert_eq(rota_co_free(co), 0);
}

static void *other_thread(void *arg) {
    rota_co *co = arg;
    cr_expect_eq(rota_co_resume(co, 0, NULL), -EPERM);
    cr_expect_eq(rota_co_free(co), -EPERM);
    cr_expect_eq(rota_co_yield(co, 0, NULL), -EPERM);
    return NULL;
}

static intptr_t start_thread(rota_co *self, void *arg) {
    pthread_t thread;
    (void)arg;
    cr_expect_eq(pthread_create(&thread, NULL, other_thread, self), 0);
    (void)pthread_join(thread, NULL);
    return 0;
}

/* A18, H10 */
Test(co, other_threads_are_refused) {
    rota_co *co = new_co(yield_n, (void *)3);
    pthread_t thread;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&thread, NULL, other_thread, co), 0);
        (void)pthread_join(thread, NULL);
        cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_YIELDED);
    }
    rota_co *running = new_co(start_thread, NULL);
    cr_assert_eq(rota_co_resume(running, 0, NULL), ROTA_DONE);
    cr_assert_eq(rota_co_free(running), 0);
    cr_assert_eq(rota_co_free(co), 0);
}

Test(co, bad_arguments) {
    rota_co *co = (rota_co *)1;
    static unsigned char memory[64];
    rota_co_options small = { .stack = memory, .stack_size = sizeof memory };
    rota_co_options huge = { .stack_size = SIZE_MAX };
    rota_co_options wraps = { .stack = memory, .stack_size = SIZE_MAX };
    rota_co_options none = { .stack = memory };
    cr_assert_eq(rota_co_new(NULL, yield_n, NULL, NULL), -EINVAL);
    cr_assert_eq(rota_co_new(&co, NULL, NULL, NULL), -EINVAL);
    cr_assert_null(co);
    co = (rota_co *)1;
    cr_assert_eq(rota_co_new(&co, yield_n, NULL, &small), -EINVAL);
    cr_assert_null(co);
    cr_assert_eq(rota_co_new(&co, yield_n, NULL, &huge), -EINVAL);
    cr_assert_eq(rota_co_new(&co, yield_n, NULL, &wraps), -EINVAL);
    cr_assert_eq(rota_co_new(&co, yield_n, NULL, &none), -EINVAL);
    cr_assert_eq(rota_co_resume(NULL, 0, NULL), -EINVAL);
    cr_assert_eq(rota_co_free(NULL), 0);
    cr_assert(!rota_co_done(NULL));
    cr_assert_eq(rota_co_stack_used(NULL), 0);
}

/* ---- memory ---- */

static struct { long blocks, bytes, left; } heap = { 0, 0, -1 };

static void *heap_alloc(void *ctx, void *old, size_t old_n, size_t n) {
    cr_expect_eq(ctx, &heap);
    if (n && heap.left == 0)
        return NULL;
    heap.blocks += (n != 0) - (old != NULL);
    heap.bytes += (long)n - (long)old_n;
    return rota__malloc.alloc(NULL, old, old_n, n);
}

static const rota_allocator heap_allocator = { heap_alloc, &heap };

static struct rota__sys sys;
static size_t mapped;
static bool nothing_left;

static void *count_mmap(size_t n) {
    void *p = nothing_left ? NULL : rota__sys_real.mmap(n);
    mapped += p ? n : 0;
    return p;
}
static int count_munmap(void *p, size_t n) {
    mapped -= n;
    return rota__sys_real.munmap(p, n);
}

static void count_mappings(void) {
    sys = rota__sys_real;
    sys.mmap = count_mmap;
    sys.munmap = count_munmap;
    rota__sys = &sys;
}

/* H06 */
Test(co, everything_is_given_back, .init = count_mappings) {
    rota_co_options opt = { .allocator = &heap_allocator };
    rota_co *co;
    for (int done = 0; done < 2; done++) {
        cr_assert_eq(rota_co_new(&co, yield_n, (void *)1, &opt), 0);
        cr_assert_neq(mapped, 0);
        cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_YIELDED);
        if (done) {
            cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_DONE);
        }
        cr_assert_eq(rota_co_free(co), 0);
        cr_assert_eq(mapped, 0);
        cr_assert_eq(heap.bytes, 0);
    }
    heap.left = 0;
    cr_assert_eq(rota_co_new(&co, yield_n, NULL, &opt), -ENOMEM);
    cr_assert_null(co);
    cr_assert_eq(mapped, 0);
    nothing_left = true;
    heap.left = -1;
    cr_assert_eq(rota_co_new(&co, yield_n, NULL, &opt), -ENOMEM);
    cr_assert_null(co);
    cr_assert_eq(heap.bytes, 0);
}

Test(co, control_block_comes_from_the_allocator_given) {
    rota_co_options opt = { .allocator = &heap_allocator };
    rota_co *co;
    cr_assert_eq(rota_co_new(&co, yield_n, (void *)1, &opt), 0);
    cr_assert_eq(heap.blocks, 1);
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_YIELDED);
    cr_assert_eq(rota_co_free(co), 0);
    cr_assert_eq(heap.blocks, 0);
    cr_assert_eq(heap.bytes, 0);
    heap.left = 0;
    co = (rota_co *)1;
    cr_assert_eq(rota_co_new(&co, yield_n, (void *)1, &opt), -ENOMEM);
    cr_assert_null(co);
}

Test(co, lives_in_the_callers_memory) {
    _Alignas(16) static unsigned char memory[32768 + 64];
    for (int cut = 0; cut < 32; cut++) {
        rota_co_options opt = { .stack = memory + cut, .stack_size = 32768, .allocator = &heap_allocator };
        rota_co *co;
        intptr_t out;
        memset(memory, 0x5a, sizeof memory);
        cr_assert_eq(rota_co_new(&co, yield_n, (void *)2, &opt), 0);
        cr_assert((unsigned char *)co >= memory + cut && (unsigned char *)co < memory + cut + 32768);
        for (int i = 0; i < 2; i++)
            cr_assert_eq(rota_co_resume(co, 0, &out), ROTA_YIELDED);
        cr_assert_eq(rota_co_resume(co, 0, &out), ROTA_DONE);
        cr_assert_eq(rota_co_stack_used(co), 0);
        cr_assert_eq(rota_co_free(co), 0);
        for (int i = 0; i < cut; i++)
            cr_assert_eq(memory[i], 0x5a);
        for (int i = cut + 32768; i < (int)sizeof memory; i++)
            cr_assert_eq(memory[i], 0x5a);
    }
    cr_assert_eq(heap.blocks, 0);
}

static bool went_on;

static intptr_t overwrite(rota_co *self, void *arg) {
    *(volatile unsigned char *)arg ^= 1;
    cr_expect_eq(rota_co_yield(self, 9, NULL), 0);
    went_on = true;
    return 10;
}

Test(co, broken_canary_is_noticed_at_the_yield) {
    _Alignas(16) static unsigned char memory[32768];
    rota_co_options opt = { .stack = memory, .stack_size = sizeof memory };
    rota_co *co;
    cr_assert_eq(rota_co_new(&co, overwrite, memory, &opt), 0);
    cr_assert_eq(rota_co_resume(co, 0, NULL), -EFAULT);
    cr_assert_eq(rota_co_resume(co, 0, NULL), -EFAULT);
    cr_assert(!went_on);
    cr_assert(!rota_co_done(co));
    cr_assert_eq(rota_co_free(co), 0);
}

static intptr_t overwrite_and_return(rota_co *self, void *arg) {
    (void)self;
    *(volatile unsigned char *)arg ^= 1;
    return 10;
}

Test(co, broken_canary_is_noticed_at_the_end) {
    _Alignas(16) static unsigned char memory[32768];
    rota_co_options opt = { .stack = memory, .stack_size = sizeof memory };
    rota_co *co;
    intptr_t out = 0;
    cr_assert_eq(rota_co_new(&co, overwrite_and_return, memory + 15, &opt), 0);
    cr_assert_eq(rota_co_resume(co, 0, &out), -EFAULT);
    cr_assert(rota_co_done(co));
    cr_assert_eq(rota_co_resume(co, 0, NULL), -EINVAL);
    cr_assert_eq(rota_co_free(co), 0);
}

/* H07 */
Test(co, stack_sizes_are_rounded_up) {
    size_t sizes[] = { 1, 100, 4095, 4096, 4097, 70000, 9000000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        rota_co_options opt = { .stack_size = sizes[i] };
        rota_co *co;
        cr_assert_eq(rota_co_new(&co, yield_n, (void *)1, &opt), 0);
        if (sizes[i] >= 4096)       /* sanitizers make the smallest ones too small for this body */
            cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_YIELDED);
        cr_assert_eq(rota_co_free(co), 0);
    }
}

static intptr_t use_stack(rota_co *self, void *arg) {
    volatile char deep[40000];
    (void)arg;
    for (size_t i = 0; i < sizeof deep; i += 512)
        deep[i] = 1;
    cr_expect_eq(rota_co_yield(self, deep[512], NULL), 0);
    return 0;
}

Test(co, says_how_much_stack_was_used) {
    rota_co *co = new_co(use_stack, NULL);
    size_t before = rota_co_stack_used(co);
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_YIELDED);
    size_t used = rota_co_stack_used(co);
    cr_assert(used == 0 || (before < 40000 && used >= 40000 && used <= ROTA__STACK_DEFAULT), "%zu", used);
    cr_assert_eq(rota_co_free(co), 0);
}

/* H17: a fiber that never ran is destroyed; and nothing is left of 100,000. */
Test(co, many_that_never_run, .timeout = 120) {
    int n = rota__stack_watched() ? 5000 : 100000;
    for (int i = 0; i < n; i++) {
        rota_co *co;
        cr_assert_eq(rota_co_new(&co, yield_n, NULL, NULL), 0);
        cr_assert_eq(rota_co_free(co), 0);
    }
}

/* H16: what is left on a stack that is dropped at a yield must not confuse its next user. */
static intptr_t stand_in_frames(rota_co *self, void *arg) {
    volatile char local[3000];
    intptr_t depth = (intptr_t)arg;
    memset((void *)(uintptr_t)local, (int)depth, sizeof local);
    if (depth > 0)
        return stand_in_frames(self, (void *)(depth - 1)) + local[7];
    return rota_co_yield(self, local[5], NULL);
}

Test(co, memory_is_used_again) {
    _Alignas(16) static unsigned char memory[65536];
    rota_co_options opt = { .stack = memory, .stack_size = sizeof memory };
    for (intptr_t i = 0; i < 20; i++) {
        rota_co *co;
        cr_assert_eq(rota_co_new(&co, stand_in_frames, (void *)(i % 4 * 2), &opt), 0);
        cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_YIELDED);
        cr_assert_eq(rota_co_free(co), 0);
        memset(memory, 0, sizeof memory);
    }
}

/* ---- shapes of programs ---- */

/* Each resumes the next one: 1,000 stacks deep, and back. */
static intptr_t nest(rota_co *self, void *arg) {
    intptr_t depth = (intptr_t)arg, below = 0;
    rota_co *next = NULL;
    if (depth > 0) {
        next = new_co(nest, (void *)(depth - 1));
        cr_expect_eq(rota_co_resume(next, 0, &below), ROTA_YIELDED);
    }
    cr_expect_eq(rota_co_yield(self, below + 1, NULL), 0);
    if (next) {
        cr_expect_eq(rota_co_resume(next, 0, &below), ROTA_DONE);
        cr_expect_eq(rota_co_free(next), 0);
    }
    return below + 1;
}

Test(co, nests) {
    intptr_t out, depth = 1000;
    rota_co *co = new_co(nest, (void *)(depth - 1));
    cr_assert_eq(rota_co_resume(co, 0, &out), ROTA_YIELDED);
    cr_assert_eq(out, depth);
    cr_assert_eq(rota_co_resume(co, 0, &out), ROTA_DONE);
    cr_assert_eq(out, depth);
    cr_assert_eq(rota_co_free(co), 0);
}

/* Resumed by one, then by another: the second one gets the value. */
static intptr_t resume_the_other(rota_co *self, void *arg) {
    intptr_t out = 0;
    (void)self;
    cr_expect_eq(rota_co_resume(arg, 0, &out), ROTA_YIELDED);
    return out;
}

Test(co, may_be_resumed_from_anywhere_in_its_thread) {
    rota_co *counter = new_co(yield_n, (void *)4);
    intptr_t out;
    for (intptr_t i = 0; i < 4; i += 2) {
        rota_co *other = new_co(resume_the_other, counter);
        cr_assert_eq(rota_co_resume(counter, 0, &out), ROTA_YIELDED);
        cr_assert_eq(out, i);
        cr_assert_eq(rota_co_resume(other, 0, &out), ROTA_DONE);
        cr_assert_eq(out, i + 1);
        cr_assert_eq(rota_co_free(other), 0);
    }
    cr_assert_eq(rota_co_free(counter), 0);
}

/* H02 */
static char text[64];

static intptr_t print(rota_co *self, void *arg) {
    double *x = arg;
    snprintf(text, sizeof text, "%.2f %.3e %d", *x, *x * 1000, 7);
    cr_expect_eq(rota_co_yield(self, 0, NULL), 0);
    snprintf(text, sizeof text, "%Lf", (long double)*x);
    return 0;
}

Test(co, prints_doubles) {
    double x = 2.5;
    rota_co *co = new_co(print, &x);
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_YIELDED);
    cr_assert_str_eq(text, "2.50 2.500e+03 7");
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_DONE);
    cr_assert_str_eq(text, "2.500000");
    cr_assert_eq(rota_co_free(co), 0);
}

/* A rounding mode is inherited at creation, and private afterwards. */
static intptr_t round_up(rota_co *self, void *arg) {
    cr_expect_eq(fegetround(), *(int *)arg);
    cr_expect_eq(fesetround(FE_UPWARD), 0);
    cr_expect_eq(rota_co_yield(self, 0, NULL), 0);
    cr_expect_eq(fegetround(), FE_UPWARD);
    return 0;
}

Test(co, rounding_mode_is_its_own) {
    int created = FE_TOWARDZERO;
    cr_assert_eq(fesetround(created), 0);
    rota_co *co = new_co(round_up, &created);
    cr_assert_eq(fesetround(FE_DOWNWARD), 0);
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_YIELDED);
    cr_expect_eq(fegetround(), FE_DOWNWARD);
    cr_assert_eq(rota_co_resume(co, 0, NULL), ROTA_DONE);
    cr_expect_eq(fegetround(), FE_DOWNWARD);
    cr_assert_eq(fesetround(FE_TONEAREST), 0);
    cr_assert_eq(rota_co_free(co), 0);
}

/* H13 */
static jmp_buf before;

static __attribute__((noinline, noreturn)) void jump_back(int n) {
    volatile char frame[100];
    memset((void *)(uintptr_t)frame, n, sizeof frame);
    longjmp(before, frame[3]);
}

static intptr_t jump_inside(rota_co *self, void *arg) {
    volatile intptr_t rounds = 0;
    (void)arg;
    if (setjmp(before) < 5) {
        cr_expect_eq(rota_co_yield(self, ++rounds, NULL), 0);
        jump_back((int)rounds);
    }
    return rounds;
}

Test(co, longjmp_within_works) {
    rota_co *co = new_co(jump_inside, NULL);
    intptr_t out;
    for (int i = 1; i <= 5; i++) {
        cr_assert_eq(rota_co_resume(co, 0, &out), ROTA_YIELDED);
        cr_assert_eq(out, i);
    }
    cr_assert_eq(rota_co_resume(co, 0, &out), ROTA_DONE);
    cr_assert_eq(out, 5);
    cr_assert_eq(rota_co_free(co), 0);
}

/* H04 */
#if !defined(ROTA__ASAN) && !defined(ROTA__TSAN)
static intptr_t recurse(rota_co *self, void *arg) {
    volatile char frame[1000];
    frame[0] = arg != NULL;
    return frame[0] ? recurse(self, arg) + frame[0] : 0;
}

Test(co, overflow_is_fatal, .signal = SIGSEGV) {
    rota_co *co = new_co(recurse, text);
    (void)!rota_co_resume(co, 0, NULL);
}
#endif
