/* The switch for AArch64, AAPCS64 (Linux, the BSDs, macOS). The contract is in arch/context.h; why it has this
 * form in docs/SWITCH.md.
 *
 * What a function must preserve (AAPCS64 2025Q4, chapter "Machine Registers", by the titles of its sections): x19 to
 * x28, the frame pointer x29 and sp ("General-purpose Registers"); the low halves d8 to d15 of v8 to v15 ("SIMD and
 * Floating-Point registers"); and of FPCR what belongs to the thread: rounding mode, exception control, flush to
 * zero (same section). x18 belongs to the platform and is left alone. x30 is the return address.
 *
 * A suspended context is its stack pointer, 176 bytes below where it was on entry: there is no red zone to use
 * ("Universal stack constraints": nothing below sp is safe; only Apple's variant has 128 bytes).
 *
 *      context + 168   unused
 *      context + 160   FPCR
 *      context + 144   x29, x30
 *      context + 64    x19 to x28
 *      context + 0     d8 to d15
 *
 * The return address is stored as it is: signed neither here nor by callers that are tail-called through (a
 * function signs its own, with its own sp, which is the same when it goes on). So code with and without pointer
 * authentication may switch to each other, and a new context needs no signature.
 */
#include "arch/asm.h"

#define SWITCH  ROTA__SYMBOL(rota__context_switch)
#define MAKE    ROTA__SYMBOL(rota__context_make)
#define START   ROTA__SYMBOL(rota__context_start)

/* `bti c` by its number, which assembles for any architecture level and does nothing on old ones. */
#define BTI_C   hint #34

#define FRAME   176

    .text

/* int rota__context_switch(void **save: x0, void *to: x1, intptr_t value: x2) */
    .p2align 4     /* the others run once for each context: they need no cache line of their own */
function SWITCH
    BTI_C
    sub     sp, sp, #FRAME
    .cfi_adjust_cfa_offset FRAME
    stp     d8, d9, [sp, #0]
    stp     d10, d11, [sp, #16]
    stp     d12, d13, [sp, #32]
    stp     d14, d15, [sp, #48]
    stp     x19, x20, [sp, #64]
    stp     x21, x22, [sp, #80]
    stp     x23, x24, [sp, #96]
    stp     x25, x26, [sp, #112]
    stp     x27, x28, [sp, #128]
    stp     x29, x30, [sp, #144]
    mrs     x9, fpcr
    str     x9, [sp, #160]
    .cfi_rel_offset d8, 0
    .cfi_rel_offset d9, 8
    .cfi_rel_offset d10, 16
    .cfi_rel_offset d11, 24
    .cfi_rel_offset d12, 32
    .cfi_rel_offset d13, 40
    .cfi_rel_offset d14, 48
    .cfi_rel_offset d15, 56
    .cfi_rel_offset x19, 64
    .cfi_rel_offset x20, 72
    .cfi_rel_offset x21, 80
    .cfi_rel_offset x22, 88
    .cfi_rel_offset x23, 96
    .cfi_rel_offset x24, 104
    .cfi_rel_offset x25, 112
    .cfi_rel_offset x26, 120
    .cfi_rel_offset x27, 128
    .cfi_rel_offset x28, 136
    .cfi_rel_offset x29, 144
    .cfi_rel_offset x30, 152
    mov     x10, sp
    str     x10, [x0]
    ldr     x10, [x1, #160]
    ldp     x29, x30, [x1, #144]
    ldp     x27, x28, [x1, #128]
    ldp     x25, x26, [x1, #112]
    ldp     x23, x24, [x1, #96]
    ldp     x21, x22, [x1, #80]
    ldp     x19, x20, [x1, #64]
    ldp     d14, d15, [x1, #48]
    ldp     d12, d13, [x1, #32]
    ldp     d10, d11, [x1, #16]
    ldp     d8, d9, [x1, #0]
    /* FPCR was read above anyway, and hardly ever differs. Not measured: there was no such CPU at hand. */
    cmp     x9, x10
    b.eq    1f
    msr     fpcr, x10
1:
    mov     x0, x2
    add     sp, x1, #FRAME
    .cfi_def_cfa_offset 0
    .cfi_restore d8
    .cfi_restore d9
    .cfi_restore d10
    .cfi_restore d11
    .cfi_restore d12
    .cfi_restore d13
    .cfi_restore d14
    .cfi_restore d15
    .cfi_restore x19
    .cfi_restore x20
    .cfi_restore x21
    .cfi_restore x22
    .cfi_restore x23
    .cfi_restore x24
    .cfi_restore x25
    .cfi_restore x26
    .cfi_restore x27
    .cfi_restore x28
    .cfi_restore x29
    .cfi_restore x30
    ret
end SWITCH

/* void *rota__context_make(void *stack_top: x0, entry: x1, void *arg: x2)
 *
 * Below the top, aligned down to 16, lies one frame as drawn above: x19 = entry, x20 = arg, x29 = 0 (the end of
 * the chain of frame records, "The Frame Pointer"), x30 = START, FPCR of the caller. The rest of it stays as the
 * memory was: nobody may rely on those registers there.
 */
function MAKE
    BTI_C
    and     x0, x0, #-16
    sub     x0, x0, #FRAME
    mrs     x9, fpcr
    str     x9, [x0, #160]
    stp     x1, x2, [x0, #64]
    address x10, START
    stp     xzr, x10, [x0, #144]
    ret
end MAKE

/* Where a new context begins, by the `ret` of the switch (which needs no landing mark): value in x0, sp at the top.
 * The return address is undefined, by which DWARF (5, section 6.4.4) and every unwinder know the outermost frame. The
 * call makes entry a function like any other, with a caller that has unwind information. An entry that returns has
 * broken its contract: there is nowhere to go. */
function START
    .cfi_undefined x30
    mov     x1, x20
    blr     x19
    brk     #1
end START

/* GNU_PROPERTY_AARCH64_FEATURE_1_AND: BTI. Not PAC, as the return address above is not signed. */
    notes   0xc0000000, 1
