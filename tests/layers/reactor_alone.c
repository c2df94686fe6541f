/* A program on the reactor only. It links arch/ and reactor/ without coro/: when reactor/ uses anything from
 * coro/, by whatever declaration, this does not link. */
#include "rota/reactor.h"

static void on_timer(rota_timer *timer, void *arg) {
    (void)timer;
    *(int *)arg += 1;
}

static void on_soon(rota_soon *soon, void *arg) {
    (void)soon;
    *(int *)arg += 10;
}

int main(void) {
    rota_loop *loop;
    rota_timer timer;
    rota_soon soon;
    int calls = 0;
    if (rota_loop_new(&loop, NULL) < 0)
        return 1;
    rota_timer_init(&timer, on_timer, &calls);
    rota_soon_init(&soon, on_soon, &calls);
    if (rota_timer_start(loop, &timer, ROTA_MS) < 0 || rota_soon_start(loop, &soon) < 0)
        return 2;
    if (rota_loop_run(loop) < 0 || rota_loop_free(loop) < 0)
        return 3;
    return calls == 11 ? 0 : 4;
}
