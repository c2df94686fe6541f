/* 100,000 tasks that sleep at the same time, each on a guarded stack; where guards cannot be had for so many, spawn
 * says -ENOMEM at the limit, and everybody who was started ends. Prints the memory of each. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rota.h"

enum { WANTED = 100000 };

static size_t started, woke;

static long resident_bytes(void) {
    long all = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static intptr_t sleeper(void *arg) {
    (void)arg;
    int rc = rota_sleep(1 * ROTA_S);
    woke += rc == 0;
    return rc;
}

static intptr_t amain(void *arg) {
    rota_group g;
    int rc = 0;
    long before = resident_bytes();
    (void)arg;
    rota_group_begin(&g, NULL);
    for (; rc == 0 && started < WANTED; started += rc == 0)
        rc = rota_spawn(NULL, sleeper, NULL, &(rota_spawn_options){ .group = &g });
    int slept = rc == 0 || rc == -ENOMEM ? rota_sleep(ROTA_S / 2) : 0;
    printf("%zu tasks asleep, %ld bytes each%s\n", started, (resident_bytes() - before) / (long)(started ? started : 1),
           rc == -ENOMEM ? " (then: out of memory, as documented)" : "");
    if (slept < 0 || (rc < 0 && rc != -ENOMEM))
        return rota_group_end(&g, slept < 0 ? slept : rc);
    return rota_group_end(&g, 0);
}

int main(void) {
    int rc = rota_run(amain, NULL, NULL, NULL);
    printf("%zu woke: %s\n", woke, rota_strerror(rc));
    return rc < 0 || woke != started || !started;
}
