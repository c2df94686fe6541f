/* Many threads post to one loop while it is being closed (G07): every post either is run, or is dropped by the
 * close, or answers -ESHUTDOWN; and nobody touches memory that has gone. The argument is the number of rounds. */
#include "tests/stress/stress.h"

enum { THREADS = 8, POSTS = 64 };

struct poster {
    rota_remote *remote;
    rota_soon soons[POSTS];
    int refused;
};

static atomic_int ready;
static int ran;   /* of the loop's thread */

static void run(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    ran++;
}

static void *post(void *arg) {
    struct poster *p = arg;
    atomic_fetch_add(&ready, 1);
    for (int i = 0; i < POSTS; i++) {
        int rc = rota_remote_post(p->remote, &p->soons[i]);
        must(rc == 0 || rc == -ESHUTDOWN);
        must(rc == -ESHUTDOWN || p->refused == 0);   /* a closed loop does not open again */
        p->refused += rc == -ESHUTDOWN;
        if (i % 16 == 0)
            sched_yield();
    }
    rota_remote_close(p->remote);
    return NULL;
}

static void one_round(int round) {
    static struct poster posters[THREADS];
    pthread_t threads[THREADS];
    rota_remote *remote;
    rota_loop *loop;
    int refused = 0;
    ran = 0;
    atomic_store(&ready, 0);
    must(rota_loop_new(&loop, NULL) == 0);
    must(rota_remote_open(&remote, loop) == 0);
    for (int t = 0; t < THREADS; t++) {
        posters[t].remote = rota_remote_ref(remote);
        posters[t].refused = 0;
        for (int i = 0; i < POSTS; i++)
            rota_soon_init(&posters[t].soons[i], run, NULL);
        threads[t] = start_thread(post, &posters[t]);
    }
    rota_remote_close(remote);
    while (atomic_load(&ready) < round % (THREADS + 1))
        ;
    for (int i = 0; i < round % 5; i++)
        must(rota_loop_turn(loop, 0) >= 0);
    must(rota_loop_free(loop) == 0);
    for (int t = 0; t < THREADS; t++) {
        join(threads[t]);
        refused += posters[t].refused;
    }
    must(ran + refused <= THREADS * POSTS);
    /* Whatever became of a post, its entry is free for another use. */
    must(rota_loop_new(&loop, NULL) == 0);
    ran = 0;
    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < POSTS; i++)
            must(rota_soon_start(loop, &posters[t].soons[i]) == 0);
    must(rota_loop_run(loop) == 0);
    must(ran == THREADS * POSTS);
    must(rota_loop_free(loop) == 0);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 300;
    for (int i = 0; i < rounds; i++)
        one_round(i);
    printf("%d loops closed under %d posting threads\n", rounds, THREADS);
    return 0;
}
