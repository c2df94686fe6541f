/* Name resolution against its threads: loops in several threads look up names in many tasks, cancel some of them at
 * every stage (queued, under way, answered), and close while lookups still run. For ThreadSanitizer and
 * AddressSanitizer. The C library's resolver is replaced by one that takes a moment now and then, and counts what
 * it gives out: every list must come back. Exits 0 when all is well. The argument is the number of rounds of each
 * thread. */
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sys_table.h"
#include "rota/coro.h"

enum { LOOPS = 3, TASKS = 24 };

static int rounds = 200;
static atomic_long given, returned, answered, cancelled, failures;
static atomic_uint seed;

static unsigned dice(void) {
    unsigned x = atomic_fetch_add_explicit(&seed, 2654435761u, memory_order_relaxed);
    x ^= x >> 15;
    x *= 2246822519u;
    return x ^ x >> 13;
}

static void moment(long ns) {
    struct timespec t = {0, ns};
    nanosleep(&t, NULL);
}

static int our_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                           struct addrinfo **list) {
    (void)host, (void)service;
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    if (dice() % 4 == 0)
        moment(dice() % 300000);
    if (dice() % 8 == 0)
        return EAI_AGAIN;
    struct addrinfo *a = calloc(1, sizeof *a + sizeof(struct sockaddr_in));
    if (!a)
        return EAI_MEMORY;
    a->ai_addr = (struct sockaddr *)(void *)(a + 1);
    a->ai_addr->sa_family = AF_INET;
    a->ai_addrlen = sizeof(struct sockaddr_in);
    *list = a;
    atomic_fetch_add(&given, 1);
    return 0;
}

static void our_freeaddrinfo(struct addrinfo *list) {
    atomic_fetch_add(&returned, 1);
    free(list);
}

static intptr_t look_up(void *arg) {
    rota_address out;
    (void)arg;
    rota_scope scope;
    rota_timeout_begin(&scope, dice() % 3 ? ROTA_FOREVER : (int64_t)(dice() % 400000));
    intptr_t v = rota_resolve("example.org", "80", AF_UNSPEC, &out, 1);
    v = rota_scope_end(&scope, v);
    if (v == 1 || v == -EHOSTUNREACH)
        atomic_fetch_add(&answered, 1);
    else if (v == -ETIMEDOUT || v == -ECANCELED)
        atomic_fetch_add(&cancelled, 1);
    else
        atomic_fetch_add(&failures, 1);
    return 0;
}

/* Some rounds wait for all; the others end early, so that the loop closes with lookups under way. */
static intptr_t one_round(void *arg) {
    rota_group group;
    (void)arg;
    rota_group_begin(&group, NULL);
    for (int i = 0; i < TASKS; i++)
        if (rota_spawn(NULL, look_up, NULL, &(rota_spawn_options){.group = &group}) < 0)
            atomic_fetch_add(&failures, 1);
    if (dice() % 2) {
        if (rota_sleep((int64_t)(dice() % 300000)) < 0)
            atomic_fetch_add(&failures, 1);
        rota_scope_cancel(&group.scope, "stress");
    }
    return rota_group_end(&group, 0);
}

static void *run_loops(void *arg) {
    (void)arg;
    for (int i = 0; i < rounds; i++) {
        rota_loop_options opt = {.threads = 1 + dice() % 4};
        intptr_t result;
        if (rota_run(one_round, NULL, &result, &opt) < 0 || result < 0)
            atomic_fetch_add(&failures, 1);
    }
    return NULL;
}

int main(int argc, char **argv) {
    static struct rota__sys table;
    pthread_t threads[LOOPS];
    if (argc > 1)
        rounds = atoi(argv[1]);
    table = rota__sys_real;
    table.getaddrinfo = our_getaddrinfo;
    table.freeaddrinfo = our_freeaddrinfo;
    rota__sys = &table;
    for (int i = 0; i < LOOPS; i++)
        if (pthread_create(&threads[i], NULL, run_loops, NULL) != 0)
            return 2;
    for (int i = 0; i < LOOPS; i++)
        pthread_join(threads[i], NULL);
    /* Lookups that were abandoned end by themselves. */
    for (int i = 0; i < 10000 && atomic_load(&given) != atomic_load(&returned); i++)
        moment(1000000);
    printf("%ld answered, %ld cancelled, %ld lists given, %ld returned, %ld failures\n", atomic_load(&answered),
           atomic_load(&cancelled), atomic_load(&given), atomic_load(&returned), atomic_load(&failures));
    return atomic_load(&failures) || atomic_load(&given) != atomic_load(&returned) ? 1 : 0;
}
