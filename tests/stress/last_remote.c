/* The last remote is closed at every moment of the loop's way from "nothing to do" to sleeping, under either clock: the
 * loop must see that it is alone. A lost wake-up is a round that never ends, which the alarm notices. The argument is
 * the number of rounds. */
#include "tests/stress/stress.h"

static rota_remote *_Atomic handed_over;
static int rounds = 200000;

static void *close_them(void *arg) {
    unsigned random = 1;
    (void)arg;
    for (int i = 0; i < rounds; i++) {
        rota_remote *remote;
        for (unsigned tries = 1; !(remote = atomic_load(&handed_over)); tries++)
            if (tries % 1024 == 0) /* seldom: who comes back from it is late */
                sched_yield();
        random = random * 1103515245u + 12345u;
        for (unsigned spin = random >> 16 & 1023; spin > 0; spin--)
            __asm__ volatile("" ::: "memory");
        rota_remote_close(remote);
        atomic_store(&handed_over, NULL);
    }
    return NULL;
}

static void run_rounds(bool virtual_clock) {
    rota_loop *loop;
    must(rota_loop_new(&loop, &(rota_loop_options){ .virtual_clock = virtual_clock }) == 0);
    pthread_t closer = start_thread(close_them, NULL);
    for (int i = 0; i < rounds; i++) {
        rota_remote *remote;
        must(rota_remote_open(&remote, loop) == 0);
        atomic_store(&handed_over, remote);
        must(rota_loop_run(loop) == 0);
        while (atomic_load(&handed_over)) /* its reference is the loop's memory */
            sched_yield();
    }
    join(closer);
    must(rota_loop_free(loop) == 0);
}

int main(int argc, char **argv) {
    if (argc > 1)
        rounds = atoi(argv[1]);
    alarm(240);
    run_rounds(false);
    run_rounds(true);
    printf("%d times alone under either clock, none missed\n", rounds);
    return 0;
}
