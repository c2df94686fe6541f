/* Thread queues between loops and plain threads: everybody puts and gets at once, tasks are cancelled and time out at
 * every stage, loops end with tasks that wait, and what was put is counted and summed against what was got. Queues of
 * every small capacity, a rendezvous among them. For ThreadSanitizer and AddressSanitizer. The argument is the number
 * of rounds. */
#include "rota/thread_queue.h"
#include "tests/stress/stress.h"

enum { LOOPS = 3, TASKS = 8, THREADS = 2, OPS = 40 };

static rota_thread_queue *q;
static atomic_long put_n, got_n, put_sum, got_sum, given_up;
static atomic_uint seed;
static atomic_int producers;

static unsigned dice(void) {
    unsigned x = atomic_fetch_add_explicit(&seed, 2654435761u, memory_order_relaxed);
    x ^= x >> 15;
    x *= 2246822519u;
    return x ^ x >> 13;
}

static void count_put(long v) {
    atomic_fetch_add(&put_n, 1);
    atomic_fetch_add(&put_sum, v);
}

static void count_got(long v) {
    atomic_fetch_add(&got_n, 1);
    atomic_fetch_add(&got_sum, v);
}

static void producer_ends(void) {
    if (atomic_fetch_sub(&producers, 1) == 1)
        must(rota_thread_queue_close(q) == 0);
}

/* In a scope that may expire at any moment. */
static int put_one(long v) {
    rota_scope scope;
    rota_timeout_begin(&scope, dice() % 2 ? ROTA_FOREVER : (int64_t)(dice() % 100000));
    int rc = (int)rota_scope_end(&scope, rota_thread_queue_put(q, &v));
    must(rc == 0 || rc == -ETIMEDOUT || rc == -ECANCELED);
    if (rc == 0)
        count_put(v);
    else
        atomic_fetch_add(&given_up, 1);
    return rc;
}

static int get_one(void) {
    rota_scope scope;
    long v = 0;
    rota_timeout_begin(&scope, dice() % 2 ? ROTA_FOREVER : (int64_t)(dice() % 100000));
    int rc = (int)rota_scope_end(&scope, rota_thread_queue_get(q, &v));
    must(rc == 0 || rc == -ETIMEDOUT || rc == -ECANCELED || rc == -ESHUTDOWN);
    must((rc == 0) == (v != 0));
    if (rc == 0)
        count_got(v);
    else
        atomic_fetch_add(&given_up, 1);
    return rc;
}

static intptr_t produce(void *arg) {
    (void)arg;
    for (int i = 0; i < OPS; i++)
        (void)put_one(1 + (long)(dice() % 1000));
    producer_ends();
    return 0;
}

static intptr_t consume(void *arg) {
    (void)arg;
    for (;;) {
        int rc = get_one();
        if (rc == -ESHUTDOWN || rc == -ECANCELED)
            return 0;
    }
}

/* Sometimes some of the consumers are cancelled in the middle; the queue is emptied by others. */
static intptr_t loop_main(void *arg) {
    rota_task *consumers[TASKS];
    rota_group group;
    (void)arg;
    rota_group_begin(&group, NULL);
    for (int i = 0; i < TASKS; i++) {
        must(rota_spawn(NULL, produce, NULL, &(rota_spawn_options){ .group = &group }) == 0);
        must(rota_spawn(&consumers[i], consume, NULL, &(rota_spawn_options){ .group = &group }) == 0);
    }
    for (int i = 0; i < TASKS / 2; i++) {
        must(rota_sleep((int64_t)(dice() % 50000)) == 0);
        must(rota_cancel(consumers[i], "stress") <= 0);
    }
    return rota_group_end(&group, 0);
}

static void *run_loop(void *arg) {
    intptr_t v = -1;
    (void)arg;
    must(rota_run(loop_main, NULL, &v, NULL) == 0);
    must(v == 0);
    return NULL;
}

/* Waits, and is cancelled by its loop's end: nobody may touch it then. */
static intptr_t end_early(void *arg) {
    (void)arg;
    for (int i = 0; i < 3; i++)
        must(rota_spawn(NULL, consume, NULL, NULL) == 0);
    must(rota_sleep((int64_t)(dice() % 50000)) == 0);
    return 0;
}

static void *run_short_loops(void *arg) {
    (void)arg;
    for (int i = 0; i < 20; i++)
        must(rota_run(end_early, NULL, NULL, NULL) == 0);
    return NULL;
}

static void *put_from_thread(void *arg) {
    (void)arg;
    for (int i = 0; i < OPS * 4; i++) {
        long v = 1 + (long)(dice() % 1000);
        int rc = dice() % 3 ? rota_thread_queue_put_blocking(q, &v) : rota_thread_queue_try_put(q, &v);
        must(rc == 0 || rc == -EAGAIN);
        if (rc == 0)
            count_put(v);
    }
    producer_ends();
    return NULL;
}

static void *get_from_thread(void *arg) {
    (void)arg;
    for (;;) {
        long v = 0;
        int rc = dice() % 3 ? rota_thread_queue_get_blocking(q, &v) : rota_thread_queue_try_get(q, &v);
        must(rc == 0 || rc == -EAGAIN || rc == -ESHUTDOWN);
        if (rc == 0)
            count_got(v);
        if (rc == -ESHUTDOWN)
            return NULL;
    }
}

static void one_round(size_t capacity) {
    pthread_t threads[LOOPS + 1 + 2 * THREADS];
    int n = 0;
    must(rota_thread_queue_new(&q, sizeof(long), capacity, NULL) == 0);
    atomic_store(&producers, LOOPS * TASKS + THREADS);
    for (int i = 0; i < LOOPS; i++)
        threads[n++] = start_thread(run_loop, NULL);
    threads[n++] = start_thread(run_short_loops, NULL);
    for (int i = 0; i < THREADS; i++) {
        threads[n++] = start_thread(put_from_thread, NULL);
        threads[n++] = start_thread(get_from_thread, NULL);
    }
    while (n > 0)
        join(threads[--n]);
    must(rota_thread_queue_size(q) == 0);
    must(rota_thread_queue_free(q) == 0);
    must(atomic_load(&put_n) == atomic_load(&got_n));
    must(atomic_load(&put_sum) == atomic_load(&got_sum));
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 20;
    alarm(240);
    for (int i = 0; i < rounds; i++)
        one_round((size_t)i % 4);
    printf("%ld items, none lost; %ld waits given up\n", atomic_load(&got_n), atomic_load(&given_up));
    return 0;
}
