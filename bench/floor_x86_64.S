/* The floor of a switch on x86-64 (System V): six registers, two stack pointers, one jump. */
    .text
    .globl  floor_switch
    .type   floor_switch, @function
floor_switch:
    leaq    -48(%rsp), %rsp
    movq    %rbx, 0(%rsp)
    movq    %rbp, 8(%rsp)
    movq    %r12, 16(%rsp)
    movq    %r13, 24(%rsp)
    movq    %r14, 32(%rsp)
    movq    %r15, 40(%rsp)
    movq    %rsp, (%rdi)
    movq    0(%rsi), %rbx
    movq    8(%rsi), %rbp
    movq    16(%rsi), %r12
    movq    24(%rsi), %r13
    movq    32(%rsi), %r14
    movq    40(%rsi), %r15
    leaq    48(%rsi), %rsp
    ret
    .size   floor_switch, . - floor_switch
    .globl  floor_switch_jump
    .type   floor_switch_jump, @function
floor_switch_jump:
    leaq    -48(%rsp), %rsp
    movq    %rbx, 0(%rsp)
    movq    %rbp, 8(%rsp)
    movq    %r12, 16(%rsp)
    movq    %r13, 24(%rsp)
    movq    %r14, 32(%rsp)
    movq    %r15, 40(%rsp)
    movq    %rsp, (%rdi)
    movq    0(%rsi), %rbx
    movq    8(%rsi), %rbp
    movq    16(%rsi), %r12
    movq    24(%rsi), %r13
    movq    32(%rsi), %r14
    movq    40(%rsi), %r15
    movq    48(%rsi), %rax
    leaq    56(%rsi), %rsp
    jmpq    *%rax
    .size   floor_switch_jump, . - floor_switch_jump
    .section .note.GNU-stack, "", @progbits
