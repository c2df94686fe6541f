/* The switch of execution contexts, and nothing else. One .S file per ABI implements it.
 *
 * A suspended context is a stack with a frame of saved registers on top; the pointer to that frame is all
 * that names it. What is kept: everything the ABI asks a called function to preserve, with the floating-point
 * control words; signal masks, errno and thread-local storage are not touched.
 */
#ifndef ROTA_ARCH_CONTEXT_H
#define ROTA_ARCH_CONTEXT_H

#include <stdint.h>

/* Suspends the caller: saves its registers on its stack and the pointer to them in *save. Continues `to`,
 * where the call that suspended it returns `value` as an int: a wider result would have to be cut down by every
 * caller that returns an int, and that alone makes a compiler give up the tail call. Called in tail position it
 * costs the caller's caller one return only (docs/SWITCH.md says why that matters). */
int rota__context_switch(void **save, void *to, intptr_t value);

/* Prepares a context on the memory that ends at stack_top (aligned down to 16 as need be). The first switch to
 * it calls entry(value, arg), which must never return; debuggers and unwinders see no frame beyond it. The
 * floating-point control words of the caller are inherited. */
void *rota__context_make(void *stack_top, void (*entry)(intptr_t value, void *arg), void *arg);

/* Bytes below stack_top that rota__context_make writes at most, alignment included. */
enum { ROTA__CONTEXT_BYTES = 192 };

#endif
