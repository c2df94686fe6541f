/* Program 13: a background task that processes a stream, and five that nobody waits for. The loop owns them: none is
 * lost because nobody kept a handle. Task 5 is spawned last and done first. */
#include <stdio.h>

#include "rota.h"

static intptr_t process_stream(void *unused) {
    (void)unused;
    int rc;
    for (int item = 1; (rc = rota_sleep(1 * ROTA_S)) == 0; item++)
        printf("processed item %d\n", item);
    printf("the stream ends: %s\n", rota_strerror(rc));
    return rc;
}

static intptr_t task(void *arg) {
    int number = *(int *)arg;
    int rc = rota_sleep((6 - number) * ROTA_S - 500 * ROTA_MS);
    if (rc == 0)
        printf("task %d is done\n", number);
    return rc;
}

static intptr_t limiter(void *unused) {
    (void)unused;
    int rc = rota_sleep(6 * ROTA_S);
    rota_loop_stop(rota_loop_current());
    return rc;
}

int main(void) {
    rota_loop *loop;
    int rc = rota_loop_new(&loop, NULL);
    if (rc == 0)
        rc = rota_spawn(NULL, process_stream, NULL, NULL);
    /* The argument is copied to the new task's stack: this `i` is another number soon. */
    for (int i = 1; rc == 0 && i <= 5; i++)
        rc = rota_spawn(NULL, task, &i, &(rota_spawn_options){ .arg_size = sizeof i });
    if (rc == 0)
        rc = rota_spawn(NULL, limiter, NULL, NULL);
    if (rc == 0)
        rc = rota_loop_run(loop);
    rota_loop_free(loop);
    return rc < 0;
}
