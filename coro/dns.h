/* The resolver of rota/dns.h from the inside. */
#ifndef ROTA_CORO_DNS_H
#define ROTA_CORO_DNS_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/task.h"
#include "rota/dns.h"

/* (S) As rota_dns_resolve. The caller has just passed rota__enter. *parked: whether the task waited. */
int rota__dns_resolve(rota_task *task, rota_dns *dns, const char *host, const char *service, int family,
                      rota_address *out, size_t n, bool *parked);

#endif
