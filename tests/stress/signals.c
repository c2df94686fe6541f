/* Signals against changes of the table: threads open loops, start and stop watchers and close, while others send
 * the signals without a pause. For ThreadSanitizer, and for use after free. Exits 0 when every thread got
 * through. The argument is the number of rounds of each thread. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rota/reactor.h"

enum { CHANGERS = 4, SENDERS = 2 };

static int rounds = 2000;
static atomic_bool over;
static atomic_long calls;
static atomic_int failures;

static void on_signal(rota_signal *watcher, int signo, void *arg) {
    (void)watcher, (void)signo, (void)arg;
    atomic_fetch_add(&calls, 1);
}

static void expect(int rc) {
    if (rc < 0)
        atomic_fetch_add(&failures, 1);
}

static void one_round(unsigned round) {
    rota_loop *loop;
    rota_signal *watchers = malloc(4 * sizeof *watchers);
    expect(watchers ? rota_loop_new(&loop, NULL) : -1);
    for (int i = 0; i < 4; i++) {
        rota_signal_init(&watchers[i], i & 1 ? SIGUSR1 : SIGUSR2, on_signal, NULL);
        expect(rota_signal_start(loop, &watchers[i]));
        expect(rota_loop_turn(loop, 0));
    }
    expect(rota_signal_stop(loop, &watchers[round & 3]));
    expect(rota_loop_turn(loop, ROTA_US));
    expect(rota_signal_start(loop, &watchers[round & 3]));
    for (int i = 0; round & 4 && i < 4; i++)
        expect(rota_signal_stop(loop, &watchers[i]));
    expect(rota_loop_free(loop));
    free(watchers);
}

static void *change(void *arg) {
    (void)arg;
    for (int i = 0; i < rounds; i++)
        one_round((unsigned)i);
    return NULL;
}

static void *send(void *arg) {
    int signo = *(int *)arg;
    while (!atomic_load(&over))
        expect(kill(getpid(), signo));
    return NULL;
}

int main(int argc, char **argv) {
    static int signals[SENDERS] = {SIGUSR1, SIGUSR2};
    pthread_t changers[CHANGERS], senders[SENDERS];
    if (argc > 1)
        rounds = atoi(argv[1]);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)signal(SIGUSR2, SIG_IGN);
    for (int i = 0; i < SENDERS; i++)
        expect(-pthread_create(&senders[i], NULL, send, &signals[i]));
    for (int i = 0; i < CHANGERS; i++)
        expect(-pthread_create(&changers[i], NULL, change, NULL));
    for (int i = 0; i < CHANGERS; i++)
        (void)pthread_join(changers[i], NULL);
    atomic_store(&over, true);
    for (int i = 0; i < SENDERS; i++)
        (void)pthread_join(senders[i], NULL);
    printf("%ld calls, %d failures\n", atomic_load(&calls), atomic_load(&failures));
    return atomic_load(&failures) || !atomic_load(&calls);
}
