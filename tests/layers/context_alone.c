/* A program on the switch only: it links arch/ and nothing else. */
#include "arch/context.h"

static void *self, *other;

static void entry(intptr_t value, void *arg) {
    intptr_t step = (intptr_t)arg;
    for (;;)
        value = rota__context_switch(&other, self, value + step);
}

int main(void) {
    static _Alignas(16) char stack[16 * 1024];
    other = rota__context_make(stack + sizeof stack, entry, (void *)(intptr_t)2);
    for (intptr_t i = 0; i < 10; i++)
        if (rota__context_switch(&self, other, i) != i + 2)
            return 1;
    return 0;
}
