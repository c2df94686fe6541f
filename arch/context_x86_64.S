/* The switch for x86-64, System V ABI (Linux, the BSDs, macOS). The contract is in arch/context.h; why it has this
 * form, with measurements, in docs/SWITCH.md.
 *
 * What a function must preserve: rbx, rbp, rsp, r12 to r15, the control bits of MXCSR and the x87 control word
 * (psABI 1.0, 3.2.1 Registers). The direction flag is clear at every call (same place), so it needs no keeping.
 *
 * A suspended context is its stack pointer as it was on entry to the switch, and lies below it in the red zone
 * (psABI 3.2.2: the 128 bytes below rsp are left alone by signal handlers), so that rsp does not move before the
 * one write that switches:
 *
 *      context + 0     return address, where the switch returns to
 *      context - 8     rbp
 *      context - 16    rbx
 *      context - 24    r12
 *      context - 32    r13
 *      context - 40    r14
 *      context - 48    r15
 *      context - 52    x87 control word (2 bytes, 2 unused)
 *      context - 56    MXCSR
 *
 * As the layout is the same on both sides of that write and relative to rsp, the unwind information is valid
 * at every instruction.
 */
#include "arch/asm.h"

#define SWITCH  ROTA__SYMBOL(rota__context_switch)
#define MAKE    ROTA__SYMBOL(rota__context_make)
#define START   ROTA__SYMBOL(rota__context_start)

    .text

/* int rota__context_switch(void **save: rdi, void *to: rsi, intptr_t value: rdx) */
    .p2align 4     /* the others run once for each context: they need no cache line of their own */
function SWITCH
    endbr64
    movq    %rbp, -8(%rsp)
    movq    %rbx, -16(%rsp)
    movq    %r12, -24(%rsp)
    movq    %r13, -32(%rsp)
    movq    %r14, -40(%rsp)
    movq    %r15, -48(%rsp)
    fnstcw  -52(%rsp)
    stmxcsr -56(%rsp)
    .cfi_rel_offset %rbp, -8
    .cfi_rel_offset %rbx, -16
    .cfi_rel_offset %r12, -24
    .cfi_rel_offset %r13, -32
    .cfi_rel_offset %r14, -40
    .cfi_rel_offset %r15, -48
    movq    (%rsp), %rcx
    movq    %rsp, (%rdi)
    /* Loads go through rsi, and rsp is written last: a load relative to rsp right after it was moved elsewhere is
     * four times slower on some CPUs (docs/SWITCH.md). */
    movq    %rdx, %rax
    movq    (%rsi), %r8
    ldmxcsr -56(%rsi)
    fldcw   -52(%rsi)
    movq    -48(%rsi), %r15
    movq    -40(%rsi), %r14
    movq    -32(%rsi), %r13
    movq    -24(%rsi), %r12
    movq    -16(%rsi), %rbx
    movq    -8(%rsi), %rbp
    movq    %rsi, %rsp
    /* Where both sides suspended in the same place, the CPU's stack of return addresses holds the right one for
     * `ret`, and below it the right ones for the callers. Elsewhere `ret` is certain to be mispredicted, and an
     * indirect jump is not. notrack: what follows a call is no landing mark. */
    cmpq    %rcx, %r8
    jne     1f
    ret
1:
    leaq    8(%rsp), %rsp
    .cfi_def_cfa_offset 0
    notrack jmp *%r8
end SWITCH

/* void *rota__context_make(void *stack_top: rdi, entry: rsi, void *arg: rdx)
 *
 * Fills the 64 bytes below the top, aligned down to 16, as drawn above: the return address is START, rbx = entry,
 * r12 = arg, rbp = 0 (the end for who walks by frame pointers), control words of the caller. r13 to r15 stay as the
 * memory was: nobody may rely on them there.
 */
function MAKE
    endbr64
    andq    $-16, %rdi
    leaq    -8(%rdi), %rax
    leaq    START(%rip), %rcx
    movq    %rcx, (%rax)
    movq    $0, -8(%rax)
    movq    %rsi, -16(%rax)
    movq    %rdx, -24(%rax)
    fnstcw  -52(%rax)
    stmxcsr -56(%rax)
    ret
end MAKE

/* Where a new context begins, by the jump of the switch (notrack, so no endbr64): value in rax, rsp at the top. The
 * return address is undefined, by which DWARF (5, section 6.4.4) and every unwinder know the outermost frame. The call
 * makes entry a function like any other, with a caller that has unwind information, and rsp + 8 a multiple of 16
 * in it (psABI 3.2.2). An entry that returns has broken its contract: there is nowhere to go. */
function START
    .cfi_undefined %rip
    movq    %rax, %rdi
    movq    %r12, %rsi
    call    *%rbx
    ud2
end START

/* GNU_PROPERTY_X86_FEATURE_1_AND: IBT. Not SHSTK: a switch of stacks without a switch of shadow stacks would end
 * the program on a kernel that enforces them, and without the mark the loader leaves them off. */
    notes   0xc0000002, 1
