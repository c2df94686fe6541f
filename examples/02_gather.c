/* Program 2: two sleepers take as long as the longer one, five equal ones end in the order in which they began, and the
 * results are in the order of the calls whoever ends first. */
#include <stdio.h>

#include "rota.h"

struct sleeper {
    int number;
    int64_t ns;
};

static intptr_t sleeper(void *arg) {
    const struct sleeper *s = arg;
    int rc = rota_sleep(s->ns);
    if (rc < 0)
        return rc;
    printf(" %d", s->number);
    return s->number;
}

static int run(const char *what, struct sleeper *sleepers, size_t n) {
    intptr_t results[5];
    int64_t start = rota_now();
    printf("%s: ended", what);
    int rc = rota_gather_map(sleeper, sleepers, n, sizeof *sleepers, results, NULL);
    if (rc < 0)
        return rc;
    printf("; results");
    for (size_t i = 0; i < n; i++)
        printf(" %d", (int)results[i]);
    printf("; %.3f s\n", (double)(rota_now() - start) / (double)ROTA_S);
    return 0;
}

static intptr_t amain(void *unused) {
    (void)unused;
    struct sleeper two[] = { { 0, 3 * ROTA_S }, { 1, 1 * ROTA_S } };
    struct sleeper five[] = { { 0, ROTA_S }, { 1, ROTA_S }, { 2, ROTA_S }, { 3, ROTA_S }, { 4, ROTA_S } };
    int rc = run("two", two, 2);
    return rc < 0 ? rc : run("five", five, 5);
}

int main(void) { return rota_run(amain, NULL, NULL, NULL) < 0; }
