/* One entry, posted after each change: whoever is told that it is queued already (-EALREADY) has done enough, because
 * the call that is to come sees the change. The thread changes, posts, and waits until the loop has seen it, so that its
 * post meets the loop between taking the entry from the queue and calling its function, time and again. A change that is
 * missed is a round that never ends, which the alarm notices. The argument is the number of rounds; after three seconds
 * there are no more, since on one processor each takes a time slice. */
#include "tests/stress/stress.h"

static rota_loop *loop;
static rota_remote *remote;
static rota_soon soon;
static atomic_int changed, seen;
static atomic_bool over;
static atomic_long merged;
static int rounds = 500000;

static void look(rota_soon *self, void *arg) {
    (void)self, (void)arg;
    atomic_store_explicit(&seen, atomic_load_explicit(&changed, memory_order_relaxed), memory_order_relaxed);
}

/* The loop never sleeps: what counts are the few instructions around the call. */
static void keep_busy(rota_soon *self, void *arg) {
    (void)arg;
    if (!atomic_load_explicit(&over, memory_order_relaxed))
        must(rota_soon_start(loop, self) == 0);
}

static void post(void) {
    int rc = rota_remote_post(remote, &soon);
    must(rc == 0 || rc == -EALREADY);
    if (rc == -EALREADY)
        atomic_fetch_add_explicit(&merged, 1, memory_order_relaxed);
}

static void *change(void *arg) {
    int64_t until = rota_now() + 3 * ROTA_S;
    (void)arg;
    for (int i = 2; i <= 2 * rounds && (i % 64 || rota_now() < until); i += 2) {
        atomic_store_explicit(&changed, i - 1, memory_order_relaxed);
        post();
        for (volatile int spin = i >> 1 & 127; spin > 0; spin--)
            ;
        atomic_store_explicit(&changed, i, memory_order_relaxed);
        post();
        for (int spin = 0; atomic_load_explicit(&seen, memory_order_relaxed) < i; spin++)
            if (spin > 10000)
                sched_yield();
    }
    atomic_store(&over, true);
    rota_remote_close(remote);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1)
        rounds = atoi(argv[1]);
    alarm(240);
    must(rota_loop_new(&loop, NULL) == 0);
    must(rota_remote_open(&remote, loop) == 0);
    rota_soon_init(&soon, look, NULL);
    rota_soon busy;
    rota_soon_init(&busy, keep_busy, NULL);
    must(rota_soon_start(loop, &busy) == 0);
    pthread_t thread = start_thread(change, NULL);
    must(rota_loop_run(loop) == 0);
    join(thread);
    must(atomic_load(&seen) == atomic_load(&changed));
    must(rota_loop_free(loop) == 0);
    printf("%d changes, %ld of them merged, none missed\n", atomic_load(&changed), atomic_load(&merged));
    return 0;
}
