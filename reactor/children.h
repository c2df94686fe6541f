/* What the loop knows of child processes: see children.c. */
#ifndef ROTA_REACTOR_CHILDREN_H
#define ROTA_REACTOR_CHILDREN_H

#include "rota/reactor.h"

/* All-zero bytes are a loop that watches no child. */
struct rota__children {
    rota_child *first;         /* started, latest first */
    rota_child *cursor;        /* whom a sweep visits next */
    void (*stop_all)(rota_loop *); /* for the closing of the loop; NULL: it never watched a child */
    size_t by_signal;          /* those that only SIGCHLD tells of */
    rota_signal signal;
    rota_soon sweep;
};

/* After init, before start: pidfd is the child's (or -1). It becomes the watcher's, which closes it. */
void rota__child_adopt(rota_child *child, int pidfd);

/* Has it ended? Reaps it then, and the watcher is stopped without a call; *status as fn gets it. For those who cannot
 * wait for a turn. */
bool rota__child_ended(rota_child *child, int *status);

/* rota_child_stop while the loop closes. */
void rota__child_forget(rota_child *child);

#endif
