/* Loops come and go on several threads while the environment makes all of them write to one trace file. */
#include <pthread.h>
#include <stdlib.h>

#include "rota.h"

enum { THREADS = 4, ROUNDS = 25, NAPS = 40 };

static intptr_t nap(void *unused) {
    (void)unused;
    return rota_sleep(50 * ROTA_US);
}

static intptr_t naps(void *unused) {
    (void)unused;
    for (int i = 0; i < NAPS; i++)
        if (rota_spawn(NULL, nap, NULL, NULL) < 0)
            return -1;
    return rota_sleep(ROTA_MS);
}

static void *run_loops(void *unused) {
    intptr_t value, failed = 0;
    (void)unused;
    for (int i = 0; i < ROUNDS; i++)
        failed |= rota_run(naps, NULL, &value, NULL) < 0 || value < 0;
    return (void *)failed;
}

int main(void) {
    pthread_t threads[THREADS];
    void *result, *failed = NULL;
    setenv("ROTA_TRACE", "/dev/null", 1);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, run_loops, NULL) != 0)
            return 1;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &result);
        failed = result ? result : failed;
    }
    return failed != NULL;
}
