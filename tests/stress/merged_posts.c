/* One entry, posted after each change: whoever is told that it is queued already (-EALREADY) has done enough,
 * because the call that is to come sees the change. In each round the thread posts and tells the loop, which then
 * makes one turn and so takes the entry from the queue and calls its function; meanwhile the thread changes and
 * posts once more. When it does that is steered: later if the post was merged, since it then came before the entry
 * was free, and sooner if not. So the two meet at the very instructions that matter, whatever the machine and
 * whatever else it does. Once both are done a second turn must have shown the change. The argument is the number
 * of rounds; after three seconds there are no more, since on one processor each takes time slices. */
#include "tests/stress/stress.h"

static rota_loop *loop;
static rota_remote *remote;
static atomic_int changed;
static int seen;
static int rounds = 300000;
static long merged;

/* The last round in which this has been done. Each on a cache line of its own: what is waited for is not what is
 * raced for. */
static struct {
    _Alignas(128) atomic_int round;
} posted, posted_again, turned;

/* The thread writes beside the entry while it delays: so the loop, too, has to wait for the entry's cache line,
 * and what it reads after it has freed the entry could be older than that. */
static struct {
    _Alignas(128) rota_soon soon;
    atomic_int beside;
} entry;

static void look(rota_soon *self, void *arg) {
    (void)self, (void)arg;
    seen = atomic_load_explicit(&changed, memory_order_relaxed);
}

/* Never yields: while other programs want the processors, whoever gives way here is seldom there together with the
 * other one. So with a single processor a round takes two time slices. */
static void await(const atomic_int *round, int i) {
    while (atomic_load_explicit(round, memory_order_acquire) < i)
        ;
}

/* The calling thread keeps to the n-th of the processors that the program may use, if there are as many: then the
 * scheduler does not put both threads on the same one. */
static void keep_to_processor(int n) {
#ifdef __linux__
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || n-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)sched_setaffinity(0, sizeof one, &one);
        return;
    }
#else
    (void)n;
#endif
}

static bool post_is_merged(int change) {
    atomic_store_explicit(&changed, change, memory_order_relaxed);
    int rc = rota_remote_post(remote, &entry.soon);
    must(rc == 0 || rc == -EALREADY);
    return rc == -EALREADY;
}

static void *change(void *arg) {
    int64_t until = rota_now() + 3 * ROTA_S;
    int delay = 0;
    (void)arg;
    keep_to_processor(1);
    for (int i = 1; i <= rounds; i++) {
        await(&turned.round, i - 1);
        if (i % 64 == 0 && rota_now() > until)
            rounds = i;
        must(!post_is_merged(2 * i - 1));
        atomic_store_explicit(&posted.round, i, memory_order_release);
        for (int spin = delay; spin > 0; spin--)
            atomic_store_explicit(&entry.beside, spin, memory_order_relaxed);
        bool is_merged = post_is_merged(2 * i);
        atomic_store_explicit(&posted_again.round, i, memory_order_release);
        delay += is_merged ? delay < 10000 : -(delay > 0);
        merged += is_merged;
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1)
        rounds = atoi(argv[1]);
    alarm(240);
    must(rota_loop_new(&loop, NULL) == 0);
    must(rota_remote_open(&remote, loop) == 0);
    rota_soon_init(&entry.soon, look, NULL);
    pthread_t thread = start_thread(change, NULL);
    keep_to_processor(0);
    for (int i = 1;; i++) {
        await(&posted.round, i);
        must(rota_loop_turn(loop, 0) >= 0);
        await(&posted_again.round, i);
        must(rota_loop_turn(loop, 0) >= 0);
        must(seen == 2 * i);
        bool is_last = i == rounds;
        atomic_store_explicit(&turned.round, i, memory_order_release);
        if (is_last)
            break;
    }
    join(thread);
    rota_remote_close(remote);
    must(rota_loop_free(loop) == 0);
    printf("%d changes, %ld of them merged, none missed\n", atomic_load(&changed), merged);
    return 0;
}
