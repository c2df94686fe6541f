/* What the signal handler sees of a loop: see signals.c. */
#ifndef ROTA_REACTOR_SIGNALS_H
#define ROTA_REACTOR_SIGNALS_H

#include "reactor/inbox.h"

enum { ROTA__SIGNAL_LIMIT = 128 };    /* the highest signal number of any system here (FreeBSD's) */

/* All-zero bytes are a port that is not in the handler's list. */
struct rota__signal_port {
    _Atomic(struct rota__signal_port *) next;
    struct rota__inbox *inbox;
    atomic_uint wanted[ROTA__SIGNAL_LIMIT / 32];    /* a bit for each signal that the loop watches */
    rota_signal *cursor;                            /* the loop's alone: whom a delivery visits next */
};

/* What a loop with signal watchers asks of them; the loop has it from its first one on, so that signals.c is in those
 * static programs alone that use it. */
struct rota__signal_calls {
    void (*deliver)(rota_loop *loop);       /* calls those whose signal has come */
    void (*stop_all)(rota_loop *loop);
};

#endif
