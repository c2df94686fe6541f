#include "rota.h"
#include <stdio.h>

static intptr_t sleeper(void *arg) {
    const char *name = arg;
    int rc = rota_sleep(1 * ROTA_S);
    printf("%s: %s\n", name, rc < 0 ? rota_strerror(rc) : "hello");
    return rc;
}

static intptr_t hello(void *arg) {
    (void)arg;
    rota_call calls[] = { { sleeper, "one", 0 }, { sleeper, "two", 0 } };
    return rota_gather(calls, 2, NULL);
}

int main(void) {
    return rota_run(hello, NULL, NULL, NULL) < 0;
}
