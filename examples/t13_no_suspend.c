/* Row T13: tasks share plain data without locks. Between two calls marked (S) no other task runs, so "look, then
 * act" is one step; put an (S) call between the two, and it is none. */
#include <stdio.h>

#include "rota.h"

enum { TASKS = 10, MAX_SIZE = 5 };

static int careful[MAX_SIZE], careful_n, careless_n;

/* Nothing between the look and the act suspends: never more than MAX_SIZE. */
static intptr_t push_carefully(void *arg) {
    int rc = rota_yield();
    if (rc == 0 && careful_n < MAX_SIZE)
        careful[careful_n++] = *(int *)arg;
    return rc;
}

/* Everybody looks before anybody acts. */
static intptr_t push_carelessly(void *unused) {
    (void)unused;
    bool room = careless_n < MAX_SIZE;
    int rc = rota_yield();
    if (rc == 0 && room)
        careless_n++;
    return rc;
}

static intptr_t amain(void *unused) {
    (void)unused;
    int numbers[TASKS];
    for (int i = 0; i < TASKS; i++)
        numbers[i] = i;
    int rc = rota_gather_map(push_carefully, numbers, TASKS, sizeof numbers[0], NULL, NULL);
    if (rc == 0)
        rc = rota_gather_map(push_carelessly, numbers, TASKS, sizeof numbers[0], NULL, NULL);
    return rc;
}

int main(void) {
    if (rota_run(amain, NULL, NULL, NULL) < 0)
        return 1;
    printf("room for %d. Looked and acted in one step: %d entries,", MAX_SIZE, careful_n);
    for (int i = 0; i < careful_n; i++)
        printf(" %d", careful[i]);
    printf(". With a call that suspends between: %d entries\n", careless_n);
    return 0;
}
