#include "floor.h"

#include <stdint.h>
#include <string.h>

/* The frame that floor_switch restores: zeroes, and the entry where it returns to. */
void *floor_make(void *memory, unsigned long size, void (*entry)(void)) {
    uintptr_t top = ((uintptr_t)memory + size) & ~(uintptr_t)15;
#if defined(__x86_64__)
    enum { FRAME = 48, RETURN = 48 };
    top -= 24; /* at entry the stack is 16-byte aligned plus a return address */
#else
    enum { FRAME = 160, RETURN = 88 };
#endif
    char *context = (char *)top - FRAME;
    memset(context, 0, FRAME);
    memcpy(context + RETURN, &entry, sizeof entry);
    return context;
}
