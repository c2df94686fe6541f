/* Name resolution from the inside. */
#ifndef ROTA_CORO_RESOLVE_H
#define ROTA_CORO_RESOLVE_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/task.h"

struct addrinfo;

/* (S) As rota_resolve, with the system's own list, to be given to rota__sys->freeaddrinfo. The caller has just
 * passed rota__enter. *parked: whether the task waited. */
int rota__resolve(rota_task *task, const char *host, const char *service, int family, struct addrinfo **list,
                  bool *parked);

#endif
