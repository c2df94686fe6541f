/* Program 14, rows T9 and L9: two tasks that count, and let the other one run after every five numbers; in two loops,
 * one after the other. */
#include <stdio.h>

#include "rota.h"

struct counter {
    char name;
    int every;   /* let others run after this many numbers; 0: never */
};

static intptr_t print_numbers(void *arg) {
    const struct counter *c = arg;
    for (int i = 0; i < 10; i++) {
        printf("%c%d ", c->name, i);
        int rc = c->every > 0 && i % c->every == 0 ? rota_yield() : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static intptr_t two_counters(void *arg) {
    int every = *(int *)arg;
    struct counter counters[] = { { 'a', every }, { 'b', every } };
    int rc = rota_gather_map(print_numbers, counters, 2, sizeof counters[0], NULL, NULL);
    printf("\n");
    return rc;
}

int main(void) {
    int polite = 5, rude = 0;
    int rc = rota_run(two_counters, &polite, NULL, NULL);
    if (rc == 0)
        rc = rota_run(two_counters, &rude, NULL, NULL);
    return rc < 0;
}
