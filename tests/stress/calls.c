/* Blocking calls against the closing of the loop: threads call into loops that close in the middle of it. For
 * ThreadSanitizer, for use after free, and for threads that nobody wakes. Exits 0 when every thread came back with an
 * answer that makes sense. The argument is the number of rounds. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "rota/combine.h"

enum { CALLERS = 4, CALLS = 100 };

static atomic_int failures;
static atomic_long answered, refused;

static intptr_t square(void *n) {
    int rc = *(int *)n % 3 ? rota_yield() : rota_sleep(ROTA_US);
    return rc < 0 ? rc : *(int *)n * *(int *)n;
}

static void add(void *count) { atomic_fetch_add((atomic_long *)count, 1); }

static void *caller(void *arg) {
    rota_remote *remote = arg;
    static atomic_long posts;
    int rc = 0;
    for (int i = 0; i < CALLS && rc == 0; i++) {
        intptr_t result;
        (void)!rota_remote_call_soon(remote, add, &posts);
        (void)!rota_remote_call_later(remote, i * ROTA_US, add, &posts);
        rc = rota_remote_call(remote, square, &i, &result);
        bool sane = rc == 0 ? result == i * i || result == -ECANCELED : rc == -ESHUTDOWN;
        atomic_fetch_add(&failures, !sane);
        atomic_fetch_add(rc == 0 ? &answered : &refused, 1);
    }
    rota_remote_close(remote);
    return NULL;
}

static void one_round(int turns) {
    rota_loop *loop;
    rota_remote *remote;
    pthread_t threads[CALLERS];
    if (rota_loop_new(&loop, NULL) < 0 || rota_remote_open(&remote, loop) < 0)
        exit(2);
    for (int i = 0; i < CALLERS; i++)
        if (pthread_create(&threads[i], NULL, caller, rota_remote_ref(remote)) != 0)
            exit(2);
    rota_remote_close(remote);
    for (int i = 0; i < turns; i++)
        atomic_fetch_add(&failures, rota_loop_turn(loop, 0) < 0);
    atomic_fetch_add(&failures, rota_loop_free(loop) < 0);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 300;
    for (int i = 0; i < rounds; i++)
        one_round(i % 150);
    printf("%d rounds, %ld calls answered, %ld refused, %d failures\n", rounds, atomic_load(&answered),
           atomic_load(&refused), atomic_load(&failures));
    return atomic_load(&failures) != 0;
}
