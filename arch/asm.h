/* What differs between object formats, for the .S files: the prefix of C symbols (Mach-O puts an underscore before
 * them, ELF nothing), visibility, and the notes that only ELF has.
 * One instruction a line: ';' does not separate instructions everywhere. */
#ifndef ROTA_ARCH_ASM_H
#define ROTA_ARCH_ASM_H

#if defined(__ELF__)

#define ROTA__SYMBOL(name) name

.macro function name
    .globl  \name
    .hidden \name
    .type   \name, %function
    .p2align 2
\name:
    .cfi_startproc
.endm

.macro end name
    .cfi_endproc
    .size   \name, . - \name
.endm

/* The address of a symbol of the same file (AArch64). */
.macro address reg, symbol
    adr     \reg, \symbol
.endm

/* The linker makes the stack executable when one object file lacks .note.GNU-stack. The property note is the AND
 * over all objects, so that an object without it switches the protection off for the program. Its layout is that
 * of the Linux extensions to the gABI: name size, descriptor size, type 5, "GNU"; then the property's type and
 * size, its value, padded to 8. */
.macro notes property, features
    .section .note.GNU-stack, "", %progbits
    .section .note.gnu.property, "a", %note
    .p2align 3
    .long   4
    .long   16
    .long   5
    .asciz  "GNU"
    .long   \property
    .long   4
    .long   \features
    .long   0
.endm

#elif defined(__MACH__)

#define ROTA__SYMBOL(name) _##name

.macro function
    .globl  $0
    .private_extern $0
    .p2align 2
$0:
    .cfi_startproc
.endm

.macro end
    .cfi_endproc
.endm

/* Every symbol is a piece that the linker may move, so its address is not a constant for the assembler. */
.macro address
    adrp    $0, $1@PAGE
    add     $0, $0, $1@PAGEOFF
.endm

.macro notes
    .subsections_via_symbols
.endm

#else
# error "neither ELF nor Mach-O"
#endif

#endif
