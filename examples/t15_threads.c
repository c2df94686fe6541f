/* Row T15: plain threads that call into tasks and block for the result, and callbacks that they leave in the loop. */
#include <pthread.h>
#include <stdio.h>

#include "rota.h"

static int64_t balance;   /* only the loop's thread touches it: no lock */

static intptr_t deposit(void *arg) {
    int rc = rota_sleep(10 * ROTA_MS);
    if (rc < 0)
        return rc;
    balance += *(int *)arg;
    return 0;
}

static void *customer(void *arg) {
    rota_remote *bank = arg;
    for (int i = 1; i <= 10; i++) {
        intptr_t result;
        int rc = rota_remote_call(bank, deposit, &i, &result);
        if (rc < 0 || rota_failed(result))
            fprintf(stderr, "customer: %s\n", rota_strerror(rc < 0 ? rc : result));
    }
    rota_remote_close(bank);
    return NULL;
}

static void closing_time(void *unused) {
    (void)unused;
    printf("balance: %d\n", (int)balance);
}

/* The remotes keep the loop alive; when the last customer has gone, nothing is left, and it returns. */
static int serve(rota_loop *loop) {
    enum { CUSTOMERS = 4 };
    pthread_t threads[CUSTOMERS];
    rota_remote *bank;
    int n = 0, rc = rota_remote_open(&bank, loop);
    if (rc < 0)
        return rc;
    for (; rc == 0 && n < CUSTOMERS; n++) {
        rc = -pthread_create(&threads[n], NULL, customer, rota_remote_ref(bank));
        if (rc < 0) {
            rota_remote_close(bank);
            break;
        }
    }
    rota_remote_close(bank);
    int ran = rota_loop_run(loop);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return rc < 0 ? rc : ran;
}

int main(void) {
    rota_loop *loop;
    int rc = rota_loop_new(&loop, NULL);
    if (rc == 0)
        rc = serve(loop);
    if (rc == 0)
        rc = rota_call_soon(closing_time, NULL);
    if (rc == 0)
        rc = rota_loop_run(loop);
    rota_loop_free(loop);
    return rc < 0;
}
