/* Name resolution from the inside. */
#ifndef ROTA_CORO_RESOLVE_H
#define ROTA_CORO_RESOLVE_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/task.h"

struct addrinfo;

/* (S) As rota_resolve, with the system's own list, to be given to rota__sys_freeaddrinfo. type, SOCK_STREAM or
 * SOCK_DGRAM: which port is meant where a service has two. The caller has just passed rota__enter. *parked: whether the
 * task waited. */
int rota__resolve(rota_task *task, const char *host, const char *service, int family, int type,
                  struct addrinfo **list, bool *parked);

/* What may be asked: 0, -EINVAL, -ENAMETOOLONG. *numeric: service is a number, or NULL. */
int rota__resolve_check(const char *host, const char *service, int family, bool *numeric);

/* The address that host is the number of, to be freed as above; -ENOENT: it is none. Does not suspend. */
int rota__resolve_number(const char *host, int family, struct addrinfo **list);

#endif
