/* libuv's loop with a timer of its own, and two tasks of rota that live between its callbacks.
 *
 *     example_uv
 */
#include <stdio.h>

#include "rota/coro.h"
#include "rota/uv.h"

static rota_uv bridge;
static uv_timer_t timer;

static void tick(uv_timer_t *it) {
    static int ticks;
    printf("libuv: tick %d\n", ++ticks);
    if (ticks == 4)
        uv_close((uv_handle_t *)it, NULL);
}

static intptr_t worker(void *arg) {
    const char *name = arg;
    for (int i = 1; i <= 3; i++) {
        int rc = rota_sleep(100 * ROTA_MS);
        if (rc < 0)
            return rc;
        printf("rota: %s has done step %d\n", name, i);
    }
    return 0;
}

/* uv_run returns when the timer and the bridge are closed. */
static intptr_t both(void *arg) {
    (void)arg;
    rota_call calls[] = {{worker, "first", 0}, {worker, "second", 0}};
    int rc = rota_gather(calls, 2, NULL);
    rota_uv_stop(&bridge, NULL);
    return rc;
}

int main(void) {
    rota_loop *loop;
    int rc = rota_loop_new(&loop, NULL);
    if (rc == 0)
        rc = rota_spawn(NULL, both, NULL, NULL);
    if (rc == 0)
        rc = rota_uv_start(&bridge, uv_default_loop(), loop);
    if (rc == 0) {
        uv_timer_init(uv_default_loop(), &timer);
        uv_timer_start(&timer, tick, 70, 70);
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
        uv_loop_close(uv_default_loop());
    }
    rota_loop_free(loop);
    if (rc < 0)
        fprintf(stderr, "example_uv: %s\n", rota_strerror(rc));
    return rc < 0;
}
