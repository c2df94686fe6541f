/* An executor against everybody: loops in several threads share one, and each has its own; their tasks have jobs
 * run, cancel some at every stage, abandon some, drain; loops close with jobs under way, and the shared executor is
 * closed by one thread while the others go on. For ThreadSanitizer and AddressSanitizer. Every argument must be
 * destroyed, once. The argument is the number of rounds. */
#include "rota.h"
#include "tests/stress/stress.h"

enum { LOOPS = 3, TASKS = 16, JOBS = 4 };

static rota_executor *shared;
static atomic_long made, destroyed, done, cancelled, shut, full;
static atomic_uint seed;

static unsigned dice(void) {
    unsigned x = atomic_fetch_add_explicit(&seed, 2654435761u, memory_order_relaxed);
    x ^= x >> 15;
    x *= 2246822519u;
    return x ^ x >> 13;
}

static intptr_t job(void *arg) {
    int *value = arg;
    if (dice() % 8 == 0)
        nanosleep(&(struct timespec){ 0, (long)(dice() % 200000) }, NULL);
    return ++*value;
}

static void destroy(void *arg) {
    atomic_fetch_add(&destroyed, 1);
    free(arg);
}

static void offload(void) {
    unsigned kind = dice();
    rota_offload_options opt = { .executor = kind % 4 ? shared : NULL, .abandon = kind / 4 % 2,
                                 .no_wait = kind / 8 % 4 == 0, .destroy = destroy };
    int *value = malloc(sizeof *value);
    intptr_t result;
    must(value);
    *value = 41;
    atomic_fetch_add(&made, 1);
    rota_scope scope;
    rota_timeout_begin(&scope, dice() % 3 ? ROTA_FOREVER : (int64_t)(dice() % 200000));
    intptr_t rc = rota_offload(job, value, &result, &opt);
    rc = rota_scope_end(&scope, rc);
    if (rc == 0)
        must(result == 42);
    else
        must(rc == -ETIMEDOUT || rc == -ECANCELED || rc == -ESHUTDOWN || rc == -EAGAIN);
    atomic_fetch_add(rc == 0 ? &done : rc == -ESHUTDOWN ? &shut : rc == -EAGAIN ? &full : &cancelled, 1);
}

static intptr_t jobs(void *unused) {
    (void)unused;
    for (int i = 0; i < JOBS; i++)
        offload();
    if (dice() % 8 == 0) {
        int rc = rota_executor_drain(shared);
        must(rc == 0 || rc == -ECANCELED);
    }
    return 0;
}

/* Some rounds wait for all; others end early. */
static intptr_t tasks(void *unused) {
    rota_group group;
    (void)unused;
    rota_group_begin(&group, NULL);
    for (int i = 0; i < TASKS; i++)
        must(rota_spawn(NULL, jobs, NULL, &(rota_spawn_options){ .group = &group }) == 0);
    if (dice() % 2) {
        must(rota_sleep((int64_t)(dice() % 300000)) == 0);
        rota_scope_cancel(&group.scope, "stress");
    }
    return rota_group_end(&group, 0);
}

static void *run_loop(void *unused) {
    (void)unused;
    intptr_t result;
    must(rota_run(tasks, NULL, &result, &(rota_loop_options){ .threads = 1 + dice() % 3 }) == 0 && result == 0);
    return NULL;
}

static void one_round(void) {
    pthread_t threads[LOOPS];
    rota_executor_options opt = { .threads = 1 + dice() % 3, .queue = 8 };
    must(rota_executor_new(&shared, &opt) == 0);
    for (int i = 0; i < LOOPS; i++)
        threads[i] = start_thread(run_loop, NULL);
    if (dice() % 2) {
        nanosleep(&(struct timespec){ 0, (long)(dice() % 500000) }, NULL);
        must(rota_executor_close(shared) == 0);
    }
    for (int i = 0; i < LOOPS; i++)
        join(threads[i]);
    must(rota_executor_free(shared) == 0);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 100;
    for (int i = 0; i < rounds; i++)
        one_round();
    for (int i = 0; i < 10000 && atomic_load(&made) != atomic_load(&destroyed); i++)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    printf("%ld jobs: %ld done, %ld cancelled, %ld shut out, %ld found the queue full\n", atomic_load(&made),
           atomic_load(&done), atomic_load(&cancelled), atomic_load(&shut), atomic_load(&full));
    must(atomic_load(&made) == atomic_load(&destroyed));
    return 0;
}
