/* Offloading from the inside: for calls of the library that run part of their work in a thread. */
#ifndef ROTA_CORO_EXECUTOR_H
#define ROTA_CORO_EXECUTOR_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/task.h"
#include "rota/executor.h"

struct rota__offload {
    rota_fn *fn;                       /* runs in a thread */
    void *arg;
    rota_executor *executor;           /* NULL: the loop's own */
    const char *what;                  /* as in struct rota__wait */
    const void *on;
    bool no_wait;
    bool abandon;                      /* a cancelled task leaves a running job behind; these are its heirs: */
    void (*destroy)(void *arg);        /* called last on the job's thread, only if it was abandoned; may be NULL */
    void (*discard)(intptr_t value, void *arg); /* before that, with what fn returned; may be NULL */
    /* set by rota__offload: */
    bool abandoned;                    /* arg is the job's, which may still use it: it must not be touched */
    bool cancelled;                    /* the wait was interrupted, though the job may have been done */
};

/* (S) The caller has just passed rota__enter. 0: fn has run, and *value is what it returned. Else it has not, or was
 * abandoned; errors as rota_offload. Unless it was abandoned arg is the caller's again. */
int rota__offload(rota_task *task, struct rota__offload *offload, intptr_t *value);

#endif
