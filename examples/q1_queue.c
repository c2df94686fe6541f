/* Row Q1: a queue with room for 3 between a fast producer and two slow consumers. The producer waits when it is full;
 * closing it lets the consumers take what is left, and then ends them. */
#include <stdio.h>

#include "rota.h"

static int items[3];
static rota_queue queue;
static int64_t start;

static void say(const char *who, const char *what, int item) {
    printf("%.1f s: %s %s %d\n", (double)(rota_now() - start) / (double)ROTA_S, who, what, item);
}

static intptr_t producer(void *unused) {
    (void)unused;
    int rc = 0;
    for (int item = 1; rc == 0 && item <= 7; item++) {
        rc = rota_queue_put(&queue, &item);
        say("producer", rc == 0 ? "put" : "failed at", item);
    }
    rota_queue_close(&queue);
    return rc;
}

static intptr_t consumer(void *name) {
    int item, rc;
    while ((rc = rota_queue_get(&queue, &item)) == 0) {
        say(name, "got", item);
        rc = rota_sleep(1 * ROTA_S);
        if (rc < 0)
            return rc;
    }
    return rc == -ESHUTDOWN ? 0 : rc;
}

static intptr_t amain(void *unused) {
    (void)unused;
    ROTA_QUEUE_INIT(&queue, items);
    start = rota_now();
    rota_call calls[] = { { consumer, "anna", 0 }, { consumer, "bert", 0 }, { producer, NULL, 0 } };
    return rota_gather(calls, 3, NULL);
}

int main(void) { return rota_run(amain, NULL, NULL, NULL) < 0; }
