/* Raw coroutines on a stack that somebody else owns. */
#ifndef ROTA_CORO_CO_H
#define ROTA_CORO_CO_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/stack.h"
#include "rota/coro.h"

/* A coroutine whose control block is the top end of a mapped stack; cannot fail. */
rota_co *rota__co_on(const struct rota__stack *stack, rota_co_fn *fn, void *arg);

/* It will not be resumed any more. Returns its stack, which may be used for something else. */
struct rota__stack rota__co_end(rota_co *co);

/* Does it belong to this thread? */
bool rota__co_mine(const rota_co *co);

#endif
