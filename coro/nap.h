/* One thread sleeps until another one wakes it. A wake-up that comes before the sleep is kept, one of them.
 *
 * A semaphore, not a condition: a thread that comes back from pthread_cond_wait holds the mutex as one that others may
 * be waiting for, so that letting go of it costs a system call although nobody does. Elsewhere semaphores need memory,
 * or do not exist. */
#ifndef ROTA_CORO_NAP_H
#define ROTA_CORO_NAP_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#if defined(__linux__) || defined(__FreeBSD__)
# include <semaphore.h>
struct rota__nap {
    sem_t turns;
};
#else
# include <pthread.h>
# include <stdbool.h>
struct rota__nap {
    pthread_mutex_t lock;
    pthread_cond_t turn;
    bool woken;
};
#endif

void rota__nap_open(struct rota__nap *nap);
void rota__nap_close(struct rota__nap *nap);
void rota__nap_take(struct rota__nap *nap);
/* The thread may go on, and close the nap, at once: nothing of it is touched afterwards. */
void rota__nap_end(struct rota__nap *nap);

#endif
