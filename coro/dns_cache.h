/* Answers of name servers, kept for as long as they say. */
#ifndef ROTA_CORO_DNS_CACHE_H
#define ROTA_CORO_DNS_CACHE_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/dns_message.h"
#include "reactor/memory.h"

struct rota__dns_entry;

struct rota__dns_cache {
    const rota_allocator *allocator;
    struct rota__dns_entry *first, *last;    /* the one used last comes first */
    size_t n, max;
};

void rota__dns_cache_init(struct rota__dns_cache *cache, const rota_allocator *allocator, size_t max);
void rota__dns_cache_clear(struct rota__dns_cache *cache);

/* A copy of a message that answers `name` and `type`; without memory it is not kept. */
void rota__dns_cache_put(struct rota__dns_cache *cache, const struct rota__dns_name *name, unsigned type,
                         const uint8_t *msg, size_t n, uint32_t ttl_s, int64_t now);

/* The message, until the next call here; NULL: none. *age_s: for how long it has been here. */
const uint8_t *rota__dns_cache_get(struct rota__dns_cache *cache, const struct rota__dns_name *name, unsigned type,
                                   int64_t now, size_t *n, uint32_t *age_s);

#endif
