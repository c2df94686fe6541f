/* What the stress programs share. Their exit code is the verdict; they know nothing but the public headers. */
#ifndef ROTA_TESTS_STRESS_H
#define ROTA_TESTS_STRESS_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "rota/reactor.h"

/* Stops at the first thing that is wrong. */
#define must(condition)                                                            \
    do {                                                                           \
        if (!(condition)) {                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                               \
        }                                                                          \
    } while (0)

static inline pthread_t start_thread(void *(*fn)(void *), void *arg) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, fn, arg) == 0);
    return thread;
}

static inline void join(pthread_t thread) { must(pthread_join(thread, NULL) == 0); }

#endif
