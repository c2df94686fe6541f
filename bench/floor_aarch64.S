/* The floor of a switch on AArch64 (AAPCS64): x19-x30, the low halves of v8-v15, two stack pointers. */
    .text
    .globl  floor_switch
    .type   floor_switch, %function
floor_switch:
    sub     x9, sp, #160
    stp     x19, x20, [x9, #0]
    stp     x21, x22, [x9, #16]
    stp     x23, x24, [x9, #32]
    stp     x25, x26, [x9, #48]
    stp     x27, x28, [x9, #64]
    stp     x29, x30, [x9, #80]
    stp     d8, d9, [x9, #96]
    stp     d10, d11, [x9, #112]
    stp     d12, d13, [x9, #128]
    stp     d14, d15, [x9, #144]
    str     x9, [x0]
    ldp     x19, x20, [x1, #0]
    ldp     x21, x22, [x1, #16]
    ldp     x23, x24, [x1, #32]
    ldp     x25, x26, [x1, #48]
    ldp     x27, x28, [x1, #64]
    ldp     x29, x30, [x1, #80]
    ldp     d8, d9, [x1, #96]
    ldp     d10, d11, [x1, #112]
    ldp     d12, d13, [x1, #128]
    ldp     d14, d15, [x1, #144]
    add     sp, x1, #160
    ret
    .size   floor_switch, . - floor_switch
    .globl  floor_switch_jump
    .type   floor_switch_jump, %function
floor_switch_jump:
    sub     x9, sp, #160
    stp     x19, x20, [x9, #0]
    stp     x21, x22, [x9, #16]
    stp     x23, x24, [x9, #32]
    stp     x25, x26, [x9, #48]
    stp     x27, x28, [x9, #64]
    stp     x29, x30, [x9, #80]
    stp     d8, d9, [x9, #96]
    stp     d10, d11, [x9, #112]
    stp     d12, d13, [x9, #128]
    stp     d14, d15, [x9, #144]
    str     x9, [x0]
    ldp     x19, x20, [x1, #0]
    ldp     x21, x22, [x1, #16]
    ldp     x23, x24, [x1, #32]
    ldp     x25, x26, [x1, #48]
    ldp     x27, x28, [x1, #64]
    ldp     x29, x30, [x1, #80]
    ldp     d8, d9, [x1, #96]
    ldp     d10, d11, [x1, #112]
    ldp     d12, d13, [x1, #128]
    ldp     d14, d15, [x1, #144]
    add     sp, x1, #160
    br      x30
    .size   floor_switch_jump, . - floor_switch_jump
    .section .note.GNU-stack, "", %progbits
