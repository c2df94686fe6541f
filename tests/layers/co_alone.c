/* A program with a raw coroutine and no loop, linked with the library as a user links it. */
#include "rota/coro.h"

static intptr_t count(rota_co *self, void *arg) {
    intptr_t in = 0;
    for (intptr_t i = 0; i < 3; i++)
        if (rota_co_yield(self, i + in, &in) < 0)
            return -1;
    return (intptr_t)arg;
}

int main(void) {
    rota_co *co;
    intptr_t out;
    if (rota_co_new(&co, count, (void *)(intptr_t)7, NULL) < 0)
        return 1;
    for (intptr_t i = 0; i < 3; i++)
        if (rota_co_resume(co, 10 * i, &out) != ROTA_YIELDED || out != 11 * i)
            return 2;
    if (rota_co_resume(co, 0, &out) != ROTA_DONE || out != 7 || !rota_co_done(co))
        return 3;
    return rota_co_free(co) < 0 ? 4 : 0;
}
