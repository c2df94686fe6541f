/* The switch: what it keeps, how a context begins, and where unwinding ends. */
#include "tests/harness.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#include "arch/context.h"
#include "coro/sanitize.h"
#include "coro/stack.h"

/* ---- a function that fills every register that a switch must keep, switches, and looks ---- */

#define STRING2(x) #x
#define STRING(x) STRING2(x)
#define SYMBOL(name) STRING(__USER_LABEL_PREFIX__) #name

/* Loads regs, switches to `to`, stores what it finds in regs. Keeps its caller's registers itself. Global, because
 * link-time optimisation may take the assembly and its callers apart. */
void probe_switch(uint64_t *regs, void **save, void *to);

#if defined(__x86_64__)
/* rbx, rbp, r12 to r15, MXCSR, x87 control word */
enum { REGS = 8, MXCSR = 6, X87 = 7 };
__asm__(".text\n .globl " SYMBOL(probe_switch) "\n" SYMBOL(probe_switch) ":\n"
        "pushq %rbx\n pushq %rbp\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "subq $24, %rsp\n stmxcsr (%rsp)\n fnstcw 4(%rsp)\n movq %rdi, 8(%rsp)\n"
        "movq 0(%rdi), %rbx\n movq 8(%rdi), %rbp\n movq 16(%rdi), %r12\n movq 24(%rdi), %r13\n"
        "movq 32(%rdi), %r14\n movq 40(%rdi), %r15\n ldmxcsr 48(%rdi)\n fldcw 56(%rdi)\n"
        "movq %rsi, %rdi\n movq %rdx, %rsi\n xorl %edx, %edx\n"
        "call " SYMBOL(rota__context_switch) "\n"
        "movq 8(%rsp), %rdi\n"
        "movq %rbx, 0(%rdi)\n movq %rbp, 8(%rdi)\n movq %r12, 16(%rdi)\n movq %r13, 24(%rdi)\n"
        "movq %r14, 32(%rdi)\n movq %r15, 40(%rdi)\n stmxcsr 48(%rdi)\n fnstcw 56(%rdi)\n"
        "ldmxcsr (%rsp)\n fldcw 4(%rsp)\n addq $24, %rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbp\n popq %rbx\n ret\n");

/* Control words must be valid: all exceptions masked, any rounding; where the CPU is not simulated, any flush mode
 * and x87 precision too. */
static void control_words(uint64_t *regs, uint64_t random, bool simulated) {
    regs[MXCSR] = 0x1f80 | (random & 3) << 13;
    regs[X87] = 0x037f | (random >> 2 & 3) << 10;
    if (!simulated) {
        regs[MXCSR] |= (random >> 4 & 1) << 15 | (random >> 5 & 1) << 6;
        regs[X87] &= ~((random >> 6 & 1) << 8);
    }
}
/* The status bits of MXCSR are nobody's. */
static uint64_t kept(int i, uint64_t value) { return i == MXCSR ? value & 0xffc0 : value; }

#elif defined(__aarch64__)
/* x19 to x29, d8 to d15, FPCR */
enum { REGS = 20, FPCR = 19 };
__asm__(".text\n .p2align 2\n .globl " SYMBOL(probe_switch) "\n" SYMBOL(probe_switch) ":\n"
        "sub sp, sp, #192\n stp x29, x30, [sp, #0]\n stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n"
        "stp x23, x24, [sp, #48]\n stp x25, x26, [sp, #64]\n stp x27, x28, [sp, #80]\n"
        "stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n"
        "stp d14, d15, [sp, #144]\n mrs x9, fpcr\n stp x9, x0, [sp, #160]\n"
        "ldp x19, x20, [x0, #0]\n ldp x21, x22, [x0, #16]\n ldp x23, x24, [x0, #32]\n"
        "ldp x25, x26, [x0, #48]\n ldp x27, x28, [x0, #64]\n ldr x29, [x0, #80]\n"
        "ldp d8, d9, [x0, #88]\n ldp d10, d11, [x0, #104]\n ldp d12, d13, [x0, #120]\n"
        "ldp d14, d15, [x0, #136]\n ldr x11, [x0, #152]\n msr fpcr, x11\n"
        "mov x0, x1\n mov x1, x2\n mov x2, xzr\n"
        "bl " SYMBOL(rota__context_switch) "\n"
        "ldr x0, [sp, #168]\n"
        "stp x19, x20, [x0, #0]\n stp x21, x22, [x0, #16]\n stp x23, x24, [x0, #32]\n"
        "stp x25, x26, [x0, #48]\n stp x27, x28, [x0, #64]\n str x29, [x0, #80]\n"
        "stp d8, d9, [x0, #88]\n stp d10, d11, [x0, #104]\n stp d12, d13, [x0, #120]\n"
        "stp d14, d15, [x0, #136]\n mrs x9, fpcr\n str x9, [x0, #152]\n"
        "ldr x9, [sp, #160]\n msr fpcr, x9\n"
        "ldp x29, x30, [sp, #0]\n ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n"
        "ldp x23, x24, [sp, #48]\n ldp x25, x26, [sp, #64]\n ldp x27, x28, [sp, #80]\n"
        "ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n"
        "ldp d14, d15, [sp, #144]\n add sp, sp, #192\n ret\n");

/* Any rounding, flush to zero, default NaN. */
static void control_words(uint64_t *regs, uint64_t random, bool simulated) {
    (void)simulated;
    regs[FPCR] = (random & 15) << 22;
}
static uint64_t kept(int i, uint64_t value) { (void)i; return value; }
#endif

/* ---- contexts that switch to each other ---- */

enum { CONTEXTS = 16 };

static struct place {
    struct rota__stack stack;
    struct rota__fiber fiber;
    void *context;
} places[CONTEXTS + 1];     /* the last one is the test's own stack */

static struct place *const home = &places[CONTEXTS];
static long switches_left, wrong;
static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int go(struct place *from, struct place *to, intptr_t value) {
    if (from == home)
        rota__fiber_here(&home->fiber);
    return rota__fiber_switch(&from->fiber, &from->context, &to->fiber, to->context, value);
}

static void begin(struct place *place, size_t size, void (*entry)(intptr_t value, void *arg)) {
    if (rota__stack_map(size, &place->stack) != 0)
        abort();
    place->context = rota__context_make(place->stack.base + place->stack.size, entry, place);
    rota__fiber_init(&place->fiber, &place->stack);
}

static void end(struct place *place) {
    rota__fiber_destroy(&place->fiber);
    rota__stack_unmap(&place->stack);
}

static __attribute__((noinline)) void probe(struct place *from, struct place *to) {
    uint64_t regs[REGS], expected[REGS];
    for (int i = 0; i < REGS; i++)
        regs[i] = next_random();
    control_words(regs, next_random(), rota__stack_watched());
    memcpy(expected, regs, sizeof regs);
    if (from == home)
        rota__fiber_here(&home->fiber);
    rota__fiber_leave(&from->fiber, &to->fiber, 0);
    probe_switch(regs, &from->context, to->context);
    rota__fiber_arrive(&from->fiber);
    for (int i = 0; i < REGS; i++)
        wrong += kept(i, regs[i]) != kept(i, expected[i]);
}

static void wander(intptr_t value, void *arg) {
    struct place *self = arg;
    (void)value;
    rota__fiber_arrive(&self->fiber);
    for (;;) {
        struct place *to = home;
        if (switches_left-- > 0)
            while ((to = &places[next_random() % CONTEXTS]) == self)
                ;
        probe(self, to);
    }
}

Test(context, keeps_every_register_that_the_abi_names, .timeout = 120) {
    enum { SWITCHES = 1000000 };
    switches_left = SWITCHES;
    for (int i = 0; i < CONTEXTS; i++)
        begin(&places[i], 0, wander);
    probe(home, &places[0]);
    cr_assert_eq(switches_left, -1, "%ld left", switches_left);
    cr_assert_eq(wrong, 0, "%ld registers changed", wrong);
    for (int i = 0; i < CONTEXTS; i++)
        end(&places[i]);
}

#ifndef ROTA__TSAN      /* which keeps signals back until the next call of libc; here is none */
/* A suspended context may lie in the red zone; signal handlers must leave it alone at every instruction. */
static volatile sig_atomic_t signals;

static void on_signal(int signo) {
    volatile char frame[512];
    memset((void *)(uintptr_t)frame, 0xee, sizeof frame);
    signals += signo != 0;
}

Test(context, keeps_registers_under_signals, .timeout = 120) {
    struct itimerval often = { { 0, 100 }, { 0, 100 } }, never = { { 0, 0 }, { 0, 0 } };
    struct sigaction action = { .sa_handler = on_signal };
    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    for (int i = 0; i < CONTEXTS; i++)
        begin(&places[i], 0, wander);
    cr_assert_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    while (signals < 50) {
        switches_left = 20000;
        probe(home, &places[0]);
    }
    cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    cr_assert_eq(wrong, 0, "%ld registers changed", wrong);
    for (int i = 0; i < CONTEXTS; i++)
        end(&places[i]);
}

#endif

/* ---- values ---- */

static intptr_t first_value;

static void count(intptr_t value, void *arg) {
    struct place *self = arg;
    rota__fiber_arrive(&self->fiber);
    first_value = value;
    for (intptr_t next = -1;; next--)
        (void)go(self, home, next);
}

Test(context, hands_values_over) {
    begin(&places[0], 0, count);
    cr_assert_eq(go(home, &places[0], (intptr_t)0x123456789abcdef0), -1);
    cr_assert_eq(first_value, (intptr_t)0x123456789abcdef0);
    cr_assert_eq(go(home, &places[0], 0), -2);
    cr_assert_eq(go(home, &places[0], 0), -3);
    end(&places[0]);
}

/* ---- how a context begins ---- */

static char text[64];
static uintptr_t frame_address, outer_frame;

static __attribute__((noinline)) double scaled(double x, int n) {
    _Alignas(32) double v[4] = { x, 2 * x, 3 * x, 4 * x };
    for (int i = 0; i < n; i++)
        for (int j = 0; j < 4; j++)
            v[j] = v[j] * 1.5 + v[(j + 1) % 4];
    return v[0] + v[3];
}

static void print(intptr_t value, void *arg) {
    struct place *self = arg;
    rota__fiber_arrive(&self->fiber);
    frame_address = (uintptr_t)__builtin_frame_address(0);
    outer_frame = *(uintptr_t *)frame_address;
    snprintf(text, sizeof text, "%.3f %.1f %Lf", (double)value / 8, scaled(1, 1), (long double)value);
    (void)go(self, home, 0);
}

/* printf of a double and 32-byte aligned locals fault, or go wrong, on a stack that is off by 8. */
Test(context, begins_with_an_aligned_stack) {
    for (int cut = 0; cut < 48; cut++) {
        begin(&places[0], 0, print);
        unsigned char *top = places[0].stack.base + places[0].stack.size;
        memset(places[0].stack.base, 0xff, places[0].stack.size);
        places[0].context = rota__context_make(top - cut, print, &places[0]);
        cr_assert_eq(go(home, &places[0], 25), 0);
        cr_assert_str_eq(text, "3.125 13.0 25.000000");
        cr_assert_eq(frame_address % 16, 0);
        cr_assert_eq(outer_frame, 0, "the chain of frame pointers goes on to %#lx", (long)outer_frame);
        end(&places[0]);
    }
}

Test(context, make_writes_only_what_it_says) {
    enum { BYTES = 512 };
    _Alignas(16) static unsigned char memory[BYTES];
    for (int cut = 0; cut < 16; cut++) {
        memset(memory, 0xa5, sizeof memory);
        (void)rota__context_make(memory + BYTES - cut, print, NULL);
        for (int i = 0; i < BYTES; i++)
            if (i < BYTES - cut - ROTA__CONTEXT_BYTES || i >= BYTES - cut)
                cr_assert_eq(memory[i], 0xa5, "byte %d from the top was written", BYTES - i);
    }
}

/* ---- leaf functions may use the red zone; what is there when it switches away is no leaf ---- */

static __attribute__((noinline)) unsigned leaf(unsigned seed) {
    volatile unsigned local[32];
    unsigned sum = 0;
    for (unsigned i = 0; i < 32; i++)
        local[i] = seed * (i + 1);
    for (unsigned i = 0; i < 32; i++)
        sum += local[i];
    return sum;
}

static void use_leaves(intptr_t value, void *arg) {
    struct place *self = arg;
    volatile unsigned char local[128];
    (void)value;
    rota__fiber_arrive(&self->fiber);
    for (unsigned round = 1;; round++) {
        for (unsigned i = 0; i < sizeof local; i++)
            local[i] = (unsigned char)(round + i);
        wrong += leaf(round) != round * 528;
        (void)go(self, round % 2 ? home : self == &places[0] ? &places[1] : &places[0], 0);
        wrong += leaf(round) != round * 528;
        for (unsigned i = 0; i < sizeof local; i++)
            wrong += local[i] != (unsigned char)(round + i);
    }
}

Test(context, leaves_the_red_zones_of_leaf_functions_alone) {
    begin(&places[0], 0, use_leaves);
    begin(&places[1], 0, use_leaves);
    for (int i = 0; i < 1000; i++)
        (void)go(home, &places[i / 3 % 2], 0);
    cr_assert_eq(wrong, 0);
    end(&places[0]);
    end(&places[1]);
}

/* ---- unwinding; static programs with musl and Debian's libgcc have no unwinder that links ---- */

#if defined(__GLIBC__) || !defined(__linux__)
#include <unwind.h>

extern char rota__context_start[];

static struct { int frames; uintptr_t last; _Unwind_Reason_Code end; } unwound;

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg) {
    uintptr_t ip = (uintptr_t)_Unwind_GetIP(context);
    (void)arg;
    if (ip)     /* libgcc shows the caller that there is not as 0, in static programs too */
        unwound.last = ip;
    return ++unwound.frames > 100 ? _URC_NORMAL_STOP : _URC_NO_REASON;
}

static __attribute__((noinline)) int deep(int n) {
    if (n > 0)
        return deep(n - 1) + 1;
    unwound.end = _Unwind_Backtrace(on_frame, NULL);
    return 0;
}

static void unwind(intptr_t value, void *arg) {
    struct place *self = arg;
    rota__fiber_arrive(&self->fiber);
    for (;;)
        value = go(self, home, deep((int)value));
}

/* The same number of frames more for each call, and the last one is where contexts begin: _Unwind_Backtrace is what
 * backtrace() and the search for a C++ handler stand on. */
Test(context, unwinding_ends_where_it_begins) {
    for (int round = 0; round < 2; round++) {
        begin(&places[0], 0, unwind);
        unsigned char *top = places[0].stack.base + places[0].stack.size - 1024;
        if (round)      /* what lies above looks like more callers */
            for (uintptr_t *p = (uintptr_t *)(void *)top; p < (uintptr_t *)(void *)(top + 1024); p++)
                *p = (uintptr_t)deep + 8;
        places[0].context = rota__context_make(top, unwind, &places[0]);
        int frames = 0;
        for (int n = 10; n <= 20; n += 5) {
            unwound.frames = 0;
            cr_assert_eq(go(home, &places[0], n), n);
            cr_assert_eq((int)unwound.end, (int)_URC_END_OF_STACK);
            cr_assert(unwound.last - (uintptr_t)rota__context_start < 32, "ends at %#lx", (long)unwound.last);
            cr_assert(frames == 0 || unwound.frames == frames + 5 || unwound.frames == frames);
            frames = unwound.frames;
        }
        end(&places[0]);
    }
}
#endif
