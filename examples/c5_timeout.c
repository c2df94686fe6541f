/* Rows C4 and C5: a limit for a stretch of code, a limit that is moved while it runs, and waiting for a task without
 * taking it down when the wait is cut short. */
#include <stdio.h>

#include "rota.h"

static const char *outcome(intptr_t v) {
    return v == -ETIMEDOUT ? "timed out" : v == -ECANCELED ? "cancelled" : rota_failed(v) ? "failed" : "in time";
}

static intptr_t download(void *arg) {
    int rc = rota_sleep(*(int64_t *)arg);
    return rc < 0 ? rc : 7;
}

/* The function form cannot be left half-way. */
static void limit_a_function(int64_t takes) {
    intptr_t v = rota_timeout(10 * ROTA_S, download, &takes);
    printf("a download of %d s within 10 s: %s\n", (int)(takes / ROTA_S), outcome(v));
}

/* As long as something comes, there is more time. */
static void keep_alive(void) {
    rota_scope scope;
    intptr_t v = 0;
    int packets = 0;
    rota_timeout_begin(&scope, 1 * ROTA_S);
    for (int64_t gap = 300 * ROTA_MS; v == 0; gap += 300 * ROTA_MS) {
        v = rota_sleep(gap);
        if (v == 0) {
            packets++;
            rota_scope_limit(&scope, 1 * ROTA_S);
        }
    }
    v = rota_scope_end(&scope, v);
    printf("%d packets, then: %s\n", packets, outcome(v));
}

/* Awaiting never cancels its target: no call is needed to protect it. */
static int give_up_waiting(void) {
    rota_task *task;
    rota_scope scope;
    intptr_t result;
    int64_t takes = 5 * ROTA_S;
    int rc = rota_spawn(&task, download, &takes, NULL);
    if (rc < 0)
        return rc;
    rota_timeout_begin(&scope, 1 * ROTA_S);
    intptr_t v = rota_await(task, &result);
    v = rota_scope_end(&scope, v);
    printf("my wait for a task: %s\n", outcome(v));
    rc = rota_join(task, &result);
    if (rc == 0)
        printf("the task: %s, with %d\n", outcome(result), (int)result);
    return rc;
}

static intptr_t amain(void *unused) {
    (void)unused;
    limit_a_function(3 * ROTA_S);
    limit_a_function(30 * ROTA_S);
    keep_alive();
    return give_up_waiting();
}

int main(void) { return rota_run(amain, NULL, NULL, NULL) < 0; }
