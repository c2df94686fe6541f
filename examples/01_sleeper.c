/* Program 1: one task that sleeps. rota_run makes a loop, runs a function as its first task, and gives back what that
 * returned. */
#include <stdio.h>

#include "rota.h"

static intptr_t sleeper(void *arg) {
    int64_t seconds = *(int64_t *)arg;
    printf("going to sleep for %d seconds\n", (int)seconds);
    int rc = rota_sleep(seconds * ROTA_S);
    if (rc < 0)
        return rc;
    printf("awake again\n");
    return seconds;
}

int main(void) {
    int64_t seconds = 5;
    intptr_t result;
    int rc = rota_run(sleeper, &seconds, &result, NULL);
    if (rc < 0) {
        fprintf(stderr, "sleeper: %s\n", rota_strerror(rc));
        return 1;
    }
    printf("slept for %d seconds\n", (int)result);
    return 0;
}
