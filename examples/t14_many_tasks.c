/* Row T14: 100,000 tasks that sleep at the same time, each with a guarded stack of its own, in one thread. What they
 * cost goes to stderr, for it depends on the machine. */
#include <stdio.h>
#include <unistd.h>

#include "rota.h"

enum { TASKS = 100000 };

static int ended;

/* Resident memory in bytes; 0 where /proc cannot tell. */
static long resident(void) {
    long size, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL)
        return 0;
    int n = fscanf(f, "%ld %ld", &size, &pages);
    fclose(f);
    return n == 2 ? pages * sysconf(_SC_PAGESIZE) : 0;
}

static intptr_t sleeper(void *unused) {
    (void)unused;
    int rc = rota_sleep(10 * ROTA_S);
    ended++;
    return rc;
}

static intptr_t amain(void *unused) {
    (void)unused;
    long before = resident();
    rota_group group;
    rota_group_begin(&group, NULL);
    /* A stack of 4 KiB does for a function that only sleeps; only the pages that are touched cost memory anyway. */
    const rota_spawn_options options = { .group = &group, .stack_size = 4096 };
    int rc = 0;
    for (int i = 0; rc == 0 && i < TASKS; i++)
        rc = rota_spawn(NULL, sleeper, NULL, &options);
    if (rc == 0)
        rc = rota_yield();
    if (rc == 0)
        printf("%zu tasks are alive\n", rota_loop_tasks(rota_loop_current()) - 1);
    long bytes = resident() - before;
    fprintf(stderr, "resident memory: %ld MB, %ld bytes a task\n", bytes / 1000000, bytes / TASKS);
    return rota_group_end(&group, rc);
}

int main(void) {
    int rc = rota_run(amain, NULL, NULL, NULL);
    if (rc < 0) {
        fprintf(stderr, "many tasks: %s\n", rota_strerror(rc));
        return 1;
    }
    printf("%d have ended\n", ended);
    return 0;
}
