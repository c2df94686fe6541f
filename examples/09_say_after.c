/* Program 9: waiting for one thing after the other takes 3 seconds, for two tasks at the same time 2. */
#include <inttypes.h>
#include <stdio.h>

#include "rota.h"

static int64_t start;

static void stamp(const char *what) {
    int64_t us = (rota_now() - start) / ROTA_US;
    printf("%" PRId64 ".%06" PRId64 " %s\n", us / 1000000, us % 1000000, what);
}

static int say_after(int64_t delay, const char *what) {
    int rc = rota_sleep(delay);
    if (rc == 0)
        stamp(what);
    return rc;
}

static intptr_t say_hello(void *unused) {
    (void)unused;
    return say_after(1 * ROTA_S, "hello");
}

static intptr_t say_world(void *unused) {
    (void)unused;
    return say_after(2 * ROTA_S, "world");
}

/* A function that waits is called like any other. Nothing marks it but the (S) in its documentation. */
static int one_after_the_other(void) {
    start = rota_now();
    stamp("started, one after the other");
    int rc = say_after(1 * ROTA_S, "hello");
    if (rc == 0)
        rc = say_after(2 * ROTA_S, "world");
    stamp("finished");
    return rc;
}

/* A spawned task begins when this one first waits. */
static int as_tasks(void) {
    rota_task *hello, *world;
    int rc = rota_spawn(&hello, say_hello, NULL, NULL);
    if (rc < 0)
        return rc;
    rc = rota_spawn(&world, say_world, NULL, NULL);
    if (rc < 0) {
        rota_task_release(hello);
        return rc;
    }
    start = rota_now();
    stamp("started, as tasks");
    int hello_rc = rota_join(hello, NULL);
    int world_rc = rota_join(world, NULL);
    stamp("finished");
    return hello_rc < 0 ? hello_rc : world_rc;
}

static intptr_t amain(void *unused) {
    (void)unused;
    int rc = one_after_the_other();
    return rc < 0 ? rc : as_tasks();
}

int main(void) { return rota_run(amain, NULL, NULL, NULL) < 0; }
