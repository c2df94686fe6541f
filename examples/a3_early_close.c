/* Row A3: a generator that is left early cleans up at once, before the next line of the loop's caller, however the loop
 * was left. Its cleanup may wait. */
#include <stdio.h>

#include "rota.h"

static intptr_t rows(rota_gen *self, void *unused) {
    (void)unused;
    intptr_t rc = 0;
    printf("  connected\n");
    for (intptr_t row = 1; rc == 0; row++) {
        rc = rota_sleep(100 * ROTA_MS);
        if (rc == 0)
            rc = rota_gen_yield(self, row, NULL);
    }
    (void)!rota_sleep(500 * ROTA_MS);
    printf("  disconnected\n");
    return rc;
}

static int find(intptr_t wanted) {
    intptr_t row;
    int rc;
    ROTA_GEN_EACH(rc, row, rows, NULL) {
        if (row == wanted)
            return (int)row;
    }
    return rc;
}

static intptr_t amain(void *unused) {
    (void)unused;
    intptr_t row;
    int rc;
    printf("break:\n");
    ROTA_GEN_EACH(rc, row, rows, NULL) {
        printf("  row %d\n", (int)row);
        if (row == 2)
            break;
    }
    printf("after the loop\n");
    if (rc < 0)
        return rc;
    printf("return:\n");
    rc = find(3);
    printf("found row %d\n", rc);
    return rc < 0 ? rc : 0;
}

int main(void) { return rota_run(amain, NULL, NULL, NULL) < 0; }
