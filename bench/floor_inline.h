/* A switch inlined into its caller: the compiler saves what lives, and only that, and nothing returns, so that no return
 * can be mispredicted. No API of a library can be like this; it is the least of the floors where code on both sides
 * differs. */
#ifndef ROTA_BENCH_FLOOR_INLINE_H
#define ROTA_BENCH_FLOOR_INLINE_H

struct floor_inline {
    void *sp;
    void (*pc)(void);
    void *frame;
};

/* A context on [memory, memory + size) that runs entry() as if it had been called, and must not return from it. */
static inline struct floor_inline floor_inline_make(char *memory, unsigned long size, void (*entry)(void)) {
#if defined(__x86_64__)
    enum { TOP = 64 + 8 }; /* where a call's return address would be */
#else
    enum { TOP = 64 };
#endif
    return (struct floor_inline){ .sp = memory + size - TOP, .pc = entry };
}

static inline __attribute__((always_inline)) void floor_switch_inline(struct floor_inline *save,
                                                                      const struct floor_inline *to) {
#if defined(__x86_64__)
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rsp, 0(%0)\n\t"
                     "movq %%rax, 8(%0)\n\t"
                     "movq %%rbp, 16(%0)\n\t"
                     "movq 0(%1), %%rsp\n\t"
                     "movq 16(%1), %%rbp\n\t"
                     "jmpq *8(%1)\n"
                     "1:"
                     : "+D"(save), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0",
                       "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");
#else
    register struct floor_inline *x0 __asm__("x0") = save;
    register const struct floor_inline *x1 __asm__("x1") = to;
    __asm__ volatile("adr x9, 1f\n\t"
                     "mov x10, sp\n\t"
                     "stp x10, x9, [x0]\n\t"
                     "str x29, [x0, #16]\n\t"
                     "ldp x10, x9, [x1]\n\t"
                     "ldr x29, [x1, #16]\n\t"
                     "mov sp, x10\n\t"
                     "br x9\n"
                     "1:"
                     : "+r"(x0), "+r"(x1)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16",
                       "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "v0",
                       "v1",
                       "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",
                       "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",
                       "v30", "v31", "memory", "cc");
#endif
}

#endif
