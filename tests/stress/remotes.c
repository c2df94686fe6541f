/* Remotes are referenced, used and closed by several threads at once, while the loop runs, ends and is closed: the
 * last reference, wherever it is dropped, ends the run and frees everything. The argument is the number of rounds. */
#include "tests/stress/stress.h"

enum { THREADS = 6, HANDS = 20 };

static atomic_int ran;

struct job {
    rota_remote *remote;
    rota_soon soon;
    int number;
};

static void run(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    atomic_fetch_add(&ran, 1);
}

static void *use(void *arg) {
    struct job *job = arg;
    for (int i = 0; i < HANDS; i++) {
        rota_remote *more = rota_remote_ref(job->remote);
        if (i == job->number)
            must(rota_remote_post(more, &job->soon) == 0);   /* our reference keeps the loop running */
        rota_remote_close(more);
    }
    rota_remote_close(job->remote);
    return NULL;
}

/* Two remotes of one loop; the loop's thread opens and closes others meanwhile, in its callbacks. */
static rota_loop *loop;

static void open_and_close(rota_timer *timer, void *arg) {
    int *left = arg;
    rota_remote *remote;
    must(rota_remote_open(&remote, NULL) == 0);
    rota_remote_close(remote);
    if (--*left)
        must(rota_timer_start(loop, timer, 10 * ROTA_US) == 0);
}

static void one_round(void) {
    struct job jobs[THREADS];
    pthread_t threads[THREADS];
    rota_remote *remotes[2];
    rota_timer timer;
    int left = 5;
    must(rota_loop_new(&loop, NULL) == 0);
    for (int i = 0; i < 2; i++)
        must(rota_remote_open(&remotes[i], loop) == 0);
    rota_timer_init(&timer, open_and_close, &left);
    must(rota_timer_start(loop, &timer, 0) == 0);
    atomic_store(&ran, 0);
    for (int i = 0; i < THREADS; i++) {
        jobs[i].remote = rota_remote_ref(remotes[i % 2]);
        jobs[i].number = i;
        rota_soon_init(&jobs[i].soon, run, NULL);
        threads[i] = start_thread(use, &jobs[i]);
    }
    for (int i = 0; i < 2; i++)
        rota_remote_close(remotes[i]);
    must(rota_loop_run(loop) == 0);
    must(atomic_load(&ran) == THREADS);
    must(left == 0);
    must(rota_loop_free(loop) == 0);   /* the closing threads may still be on their way out */
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 400;
    alarm(240);
    for (int i = 0; i < rounds; i++)
        one_round();
    printf("%d rounds of %d threads\n", rounds, THREADS);
    return 0;
}
