/* Program 5: a loop that runs for ever, until one of its tasks stops it. Stopping is not closing: it goes on where it
 * was; closing is for good, and ends what is left. */
#include <stdio.h>

#include "rota.h"

static int requests;

/* Sends a request every 400 ms, for ever: ends only because its sleep refuses when the loop closes. */
static intptr_t requester(void *unused) {
    (void)unused;
    int rc;
    while ((rc = rota_sleep(400 * ROTA_MS)) == 0)
        requests++;
    printf("requester: %s\n", rota_strerror(rc));
    return rc;
}

static intptr_t time_limiter(void *arg) {
    int rc = rota_sleep(*(int64_t *)arg);
    if (rc == 0)
        rota_loop_stop(rota_loop_current());
    return rc;
}

static int run_for(rota_loop *loop, int64_t limit) {
    int64_t start = rota_now();
    int rc = rota_spawn(NULL, time_limiter, &limit, NULL);
    if (rc == 0)
        rc = rota_loop_run(loop);
    printf("stopped after %.3f s: %d requests\n", (double)(rota_now() - start) / (double)ROTA_S, requests);
    return rc;
}

int main(void) {
    rota_loop *loop;
    int rc = rota_loop_new(&loop, NULL);
    if (rc == 0)
        rc = rota_spawn(NULL, requester, NULL, NULL);
    if (rc == 0)
        rc = run_for(loop, 3 * ROTA_S);
    if (rc == 0)
        rc = run_for(loop, 1 * ROTA_S);   /* a loop that was stopped can run again */
    rota_loop_close(loop);
    printf("the closed loop: %s\n", rota_loop_run(loop) == -ESHUTDOWN ? "refuses to run" : "runs?");
    rota_loop_free(loop);

    if (rc == 0)
        rc = rota_loop_new(&loop, NULL);
    if (rc == 0)
        rc = run_for(loop, 1 * ROTA_S);   /* a new one has nothing of the old one's */
    rota_loop_free(loop);
    return rc < 0;
}
