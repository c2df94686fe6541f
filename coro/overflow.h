/* Naming the task that overran its stack (rota_loop_options.report_overflow): see overflow.c. */
#ifndef ROTA_CORO_OVERFLOW_H
#define ROTA_CORO_OVERFLOW_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include <stdbool.h>

struct rota__overflow {
    bool watched;
    void *signal_stack;   /* that this loop's thread was given; NULL: it had one */
};

/* On the loop's thread. Failing, nothing is watched. */
void rota__overflow_watch(struct rota__overflow *overflow);
void rota__overflow_unwatch(struct rota__overflow *overflow);

#endif
