/* A server from the inside: one loop's part, and the loops of other threads that do the same. */
#ifndef ROTA_CORO_SERVE_H
#define ROTA_CORO_SERVE_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/task.h"

enum { ROTA__CREW_MAX = 1024 };

/* What is served, and how. */
struct rota__service {
    rota_client_fn *client;
    void *arg;
    unsigned threads;              /* in all */
    unsigned max_clients;          /* of each loop; 0: no limit */
    int backlog;
    int64_t drain;
    void (*stopping)(void *arg);
    bool spread;                   /* listeners of their own for the other threads, if they can be had */
    const rota_loop_options *loop;
};

/* (S) Serves on this loop until cancelled or until it fails, with a crew if service->threads says so. Closes fd. */
int rota__serve(rota_task *task, int fd, const struct rota__service *service);

/* serve_threads.c. Starts the other threads; fd: the listener of this one, which serves too. When one of them ends
 * before it is told to, `scope` is cancelled. Failing, nothing is left of it. */
struct rota__crew;
int rota__crew_start(struct rota__crew **crew, rota_task *task, int fd, const struct rota__service *service,
                     rota_scope *scope);

/* They stop accepting, and drain. Does not wait. */
void rota__crew_stop(struct rota__crew *crew);

/* (S), not interruptible: waits until their threads have ended, and frees the crew. rc, or the first failure of one of
 * them if rc is -ECANCELED. */
int rota__crew_join(struct rota__crew *crew, int rc);

#endif
