/* Program 18, rows T1 and T2: a coroutine driven by hand, with no loop. It exists before it runs, says HOWDY! when
 * it is resumed, and once it has returned it is over. */
#include <stdio.h>

#include "rota/coro.h"

static intptr_t hi(rota_co *self, void *arg) {
    (void)self;
    printf("%s\n", (const char *)arg);
    return 0;
}

static const char *meaning(int rc) {
    return rc == ROTA_DONE ? "it has returned" : rc == ROTA_YIELDED ? "it has yielded" : rota_strerror(rc);
}

int main(void) {
    rota_co *o;
    intptr_t value;
    int rc = rota_co_new(&o, hi, "HOWDY!", NULL);
    if (rc < 0)
        return 1;
    printf("there is a coroutine; nothing of it has run\n");
    rc = rota_co_resume(o, 0, &value);
    printf("resumed: %s, with %d\n", meaning(rc), (int)value);
    rc = rota_co_resume(o, 0, &value);
    printf("resumed again: %s\n", rc == -EINVAL ? "refused, it is over" : meaning(rc));
    rota_co_free(o);
    return 0;
}
