/* Row F1: a future, a place for a value that comes later. Any number of tasks wait for it, and all of them get it;
 * it is set once; asking too early is an error and no wait; what was built on it follows. */
#include <stdio.h>

#include "rota.h"

static rota_future answer;   /* all-zero bytes are a pending future */

static intptr_t waiter(void *name) {
    intptr_t value;
    int rc = rota_future_await(&answer, &value);
    if (rc == 0)
        printf("%s got %d\n", (const char *)name, (int)value);
    return rc;
}

static intptr_t half(intptr_t value, void *unused) {
    (void)unused;
    return value / 2;
}

static intptr_t setter(void *unused) {
    (void)unused;
    intptr_t value;
    if (rota_future_value(&answer, &value) == -EAGAIN)
        printf("no value yet\n");
    int rc = rota_sleep(1 * ROTA_S);
    if (rc == 0)
        rc = rota_future_set(&answer, 42);
    if (rc == 0 && rota_future_set(&answer, 43) == -EALREADY)
        printf("it is set only once\n");
    return rc;
}

static intptr_t amain(void *unused) {
    (void)unused;
    rota_then then;
    intptr_t value;
    int rc = rota_future_then(&answer, &then, half, NULL, NULL);
    if (rc < 0)
        return rc;
    rota_call calls[] = {
        { waiter, "first", 0 }, { waiter, "second", 0 }, { waiter, "third", 0 }, { setter, NULL, 0 },
    };
    rc = rota_gather(calls, 4, NULL);
    if (rc == 0)
        rc = rota_future_await(&then.future, &value);
    if (rc == 0)
        printf("half of it is %d\n", (int)value);
    rota_then_cancel(&then);
    return rc;
}

int main(void) { return rota_run(amain, NULL, NULL, NULL) < 0; }
