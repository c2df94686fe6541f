/* Program 12: the first program. A function that waits, a call that gives its result, and a loop that runs it. */
#include <stdio.h>

#include "rota.h"

static intptr_t first_async(void *unused) {
    (void)unused;
    printf("first async call\n");
    int rc = rota_sleep(1 * ROTA_S);
    if (rc < 0)
        return rc;
    printf("one second later\n");
    return 1;
}

int main(void) {
    intptr_t result;
    rota_task *task;
    rota_loop *loop;
    int rc = rota_loop_new(&loop, NULL);
    if (rc == 0)
        rc = rota_spawn(&task, first_async, NULL, NULL);
    if (rc == 0) {
        rc = rota_loop_run_until(loop, task, &result);
        rota_task_release(task);
    }
    if (rc == 0)
        printf("result: %d\n", (int)result);
    rota_loop_free(loop);
    return rc < 0;
}
