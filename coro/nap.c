/* See nap.h. */
#include "coro/nap.h"

#include <errno.h>

#if defined(__linux__) || defined(__FreeBSD__)

/* A count that is small, in memory that is not shared: there is nothing that could fail. */
void rota__nap_open(struct rota__nap *nap) { (void)sem_init(&nap->turns, 0, 0); }

void rota__nap_close(struct rota__nap *nap) { (void)sem_destroy(&nap->turns); }

void rota__nap_take(struct rota__nap *nap) {
    while (sem_wait(&nap->turns) != 0 && errno == EINTR) { /* a signal came */
    }
}

void rota__nap_end(struct rota__nap *nap) { (void)sem_post(&nap->turns); }

#else

void rota__nap_open(struct rota__nap *nap) {
    *nap = (struct rota__nap){ PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
}

void rota__nap_close(struct rota__nap *nap) {
    (void)pthread_mutex_lock(&nap->lock); /* who has woken us may still be inside */
    (void)pthread_mutex_unlock(&nap->lock);
    (void)pthread_cond_destroy(&nap->turn);
    (void)pthread_mutex_destroy(&nap->lock);
}

void rota__nap_take(struct rota__nap *nap) {
    (void)pthread_mutex_lock(&nap->lock);
    while (!nap->woken)
        (void)pthread_cond_wait(&nap->turn, &nap->lock);
    nap->woken = false;
    (void)pthread_mutex_unlock(&nap->lock);
}

void rota__nap_end(struct rota__nap *nap) {
    (void)pthread_mutex_lock(&nap->lock);
    nap->woken = true;
    (void)pthread_cond_signal(&nap->turn);
    (void)pthread_mutex_unlock(&nap->lock);
}

#endif
