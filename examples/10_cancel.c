/* Program 10: a worker that is cancelled after 3.5 seconds: it stops at the call it waits in, tidies up, and may even
 * go on. */
#include <stdio.h>

#include "rota.h"

static int64_t start;

static void say(const char *text) { printf("  %.1f s: %s\n", (double)(rota_now() - start) / (double)ROTA_S, text); }

static int work(void) {
    int rc;
    while ((rc = rota_sleep(1 * ROTA_S)) == 0)
        say("working");
    return rc;
}

static intptr_t worker(void *unused) {
    (void)unused;
    return work();
}

static intptr_t hang_up(void *unused) {
    (void)unused;
    return rota_sleep(200 * ROTA_MS);
}

/* In a cancelled task every call refuses, cleanup that waits included. What must be done all the same is done in a
 * shield, for a bounded time. */
static intptr_t tidy_worker(void *unused) {
    (void)unused;
    int rc = work();
    say("teardown begins");
    if (rota_failed(rota_shield(1 * ROTA_S, hang_up, NULL)))
        say("the teardown failed");
    say("teardown is over");
    return rc;
}

/* Taking the cancellation back is a call of its own: a task cannot survive by overlooking an error. */
static intptr_t stubborn_worker(void *unused) {
    (void)unused;
    (void)!work();
    say("still cancelled, so this sleep is refused");
    (void)!rota_sleep(1 * ROTA_S);
    rota_uncancel();
    int rc = rota_sleep(1 * ROTA_S);
    return rc < 0 ? rc : 42;
}

static int cancel_after(rota_fn *fn, const char *name) {
    rota_task *task;
    intptr_t result;
    int rc = rota_spawn(&task, fn, NULL, &(rota_spawn_options){ .name = name });
    if (rc < 0)
        return rc;
    printf("%s\n", name);
    start = rota_now();
    rc = rota_sleep(3500 * ROTA_MS);
    rota_cancel(task, "it takes too long");
    int joined = rota_join(task, &result);
    if (rc < 0 || joined < 0)
        return rc < 0 ? rc : joined;
    if (result == -ECANCELED)
        say("the task has been cancelled");
    else
        say(result == 42 ? "the task survived, with 42" : "the task failed");
    return 0;
}

static intptr_t amain(void *unused) {
    (void)unused;
    int rc = cancel_after(worker, "worker");
    if (rc == 0)
        rc = cancel_after(tidy_worker, "tidy worker");
    return rc < 0 ? rc : cancel_after(stubborn_worker, "stubborn worker");
}

int main(void) { return rota_run(amain, NULL, NULL, NULL) < 0; }
