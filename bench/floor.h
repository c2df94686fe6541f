/* Floors: the least that hand-written code can do. No cancellation, no error paths, no control words, no clock. */
#ifndef ROTA_BENCH_FLOOR_H
#define ROTA_BENCH_FLOOR_H

/* Saves callee-saved general registers, swaps stacks; nothing more. In floor_<cpu>.S. */
void floor_switch(void **save, void *to);

/* The same, but jumps where the other returns: which of the two is faster depends on how often the processor's return
 * stack is right. */
void floor_switch_jump(void **save, void *to);

/* A context on [memory, memory + size) that runs entry() and must not return from it. */
void *floor_make(void *memory, unsigned long size, void (*entry)(void));

#endif
