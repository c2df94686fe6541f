/* No lost wake-up (G08): another thread posts at every moment of the loop's way from "nothing to do" to sleeping.
 * Each round is one post and one sleep; a lost wake-up is a round that never ends, which the alarm notices. The
 * argument is the number of rounds. */
#include "tests/stress/stress.h"

static rota_loop *loop;
static rota_remote *remote;
static rota_soon soon;
static atomic_int asked, answered;
static int rounds = 200000;

/* On the loop's thread: answers, and goes back to sleep. */
static void answer(rota_soon *self, void *arg) {
    (void)self, (void)arg;
    atomic_fetch_add(&answered, 1);
}

static void *ask(void *arg) {
    unsigned random = 1;
    (void)arg;
    for (int i = 1; i <= rounds; i++) {
        /* -EALREADY never comes: what was answered is not queued any more. */
        must(rota_remote_post(remote, &soon) == 0);
        while (atomic_load(&answered) < i)
            sched_yield();
        /* A little different each time, so that the next post meets the loop elsewhere on its way. */
        random = random * 1103515245u + 12345u;
        for (unsigned spin = random >> 16 & 511; spin > 0; spin--)
            atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed);
    }
    rota_remote_close(remote);   /* which is a wake-up, too: the loop must see that it is alone */
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1)
        rounds = atoi(argv[1]);
    alarm(240);
    must(rota_loop_new(&loop, NULL) == 0);
    must(rota_remote_open(&remote, loop) == 0);
    rota_soon_init(&soon, answer, NULL);
    pthread_t thread = start_thread(ask, NULL);
    must(rota_loop_run(loop) == 0);
    join(thread);
    must(atomic_load(&answered) == rounds);
    must(rota_loop_free(loop) == 0);
    printf("%d wake-ups, none lost\n", rounds);
    return 0;
}
