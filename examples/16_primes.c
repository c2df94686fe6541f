/* Program 16, row A2: a generator of the primes below 3000 whose body waits, next to a task that looks for mail every
 * 2 seconds. */
#include <stdio.h>

#include "rota.h"

static bool is_prime(int n) {
    for (int d = 2; d * d <= n; d++)
        if (n % d == 0)
            return false;
    return n > 1;
}

/* The body runs in the task that asks for the next value, and waits like any other code of that task. */
static intptr_t primes(rota_gen *self, void *arg) {
    int limit = *(int *)arg;
    for (int n = 2; n < limit; n++) {
        if (!is_prime(n))
            continue;
        int rc = rota_sleep(10 * ROTA_MS);
        if (rc == 0)
            rc = rota_gen_yield(self, n, NULL);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static intptr_t check_mail(void *unused) {
    (void)unused;
    int rc;
    while ((rc = rota_sleep(2 * ROTA_S)) == 0)
        printf("\n*** mail has been checked ***\n");
    return rc;
}

static int print_primes(int limit) {
    intptr_t prime;
    int rc, count = 0;
    ROTA_GEN_EACH(rc, prime, primes, &limit) {
        count++;
        if (count <= 8 || prime > limit - 50)
            printf("%d ", (int)prime);
        else if (count % 20 == 0)
            printf(". ");
    }
    printf("\n%d primes\n", count);
    return rc;
}

static intptr_t amain(void *unused) {
    rota_task *mail;
    int rc = rota_spawn(&mail, check_mail, unused, NULL);
    if (rc < 0)
        return rc;
    rc = print_primes(3000);
    rota_cancel(mail, "all primes are printed");
    intptr_t result;
    int joined = rota_join(mail, &result);
    return rc < 0 ? rc : joined;
}

int main(void) { return rota_run(amain, NULL, NULL, NULL) < 0; }
