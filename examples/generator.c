/* Raw coroutines, with no loop and no tasks: a function that stops in the middle, hands a value out, takes one
 * in, and goes on. Three of them: one that only gives, one that also takes, and one that is left half-way. */
#include <stdio.h>

#include "rota/coro.h"

/* Gives the primes up to the limit, then returns how many there were. */
static intptr_t primes(rota_co *self, void *arg) {
    int limit = *(const int *)arg, count = 0;
    for (int n = 2; n <= limit; n++) {
        int d = 2;
        while (d * d <= n && n % d != 0)
            d++;
        if (d * d <= n)
            continue;
        count++;
        int rc = rota_co_yield(self, n, NULL);
        if (rc < 0)
            return rc;
    }
    return count;
}

/* Gives the mean of all it was sent so far; its state is an ordinary local variable. */
static intptr_t mean(rota_co *self, void *arg) {
    (void)arg;
    intptr_t sum = 0, sent = 0;
    for (int n = 0;; n++) {
        int rc = rota_co_yield(self, n > 0 ? sum / n : 0, &sent);
        if (rc < 0)
            return rc;
        sum += sent;
    }
}

static int print_primes(int limit) {
    rota_co *co;
    int rc = rota_co_new(&co, primes, &limit, NULL);
    if (rc < 0)
        return rc;
    intptr_t value;
    printf("primes:");
    while ((rc = rota_co_resume(co, 0, &value)) == ROTA_YIELDED)
        printf(" %d", (int)value);
    if (rc == ROTA_DONE)
        printf("\nthat was all: %d of them\n", (int)value);

    /* It has returned, so there is nothing left to resume. */
    int again = rota_co_resume(co, 0, &value);
    printf("once more: %s\n", rota_strerror(again));
    rota_co_free(co);
    return rc < 0 ? rc : 0;
}

static int print_means(void) {
    static const int sent[] = { 10, 20, 60, 30 };
    rota_co *co;
    int rc = rota_co_new(&co, mean, NULL, NULL);
    if (rc < 0)
        return rc;
    intptr_t value = 0;
    rc = rota_co_resume(co, 0, &value);  /* runs it to its first yield, which waits for a number */
    for (size_t i = 0; rc == ROTA_YIELDED && i < sizeof sent / sizeof sent[0]; i++) {
        rc = rota_co_resume(co, sent[i], &value);
        if (rc == ROTA_YIELDED)
            printf("sent %d, mean %d\n", sent[i], (int)value);
    }
    rota_co_free(co);  /* it stands at a yield and would go on for ever; dropping it there is fine */
    return rc < 0 ? rc : 0;
}

int main(void) {
    int rc = print_primes(20);
    if (rc == 0)
        rc = print_means();
    if (rc < 0)
        fprintf(stderr, "generator: %s\n", rota_strerror(rc));
    return rc < 0;
}
