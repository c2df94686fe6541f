/* Answers of name servers, kept for as long as they say (RFC 1035, 7.4; RFC 2308 for those that say no).
 *
 * Whole messages, as they came: an answer from here goes through the same eyes as one from the network, and there is
 * only one way to read a record. A list, most recently used first: with the few hundred entries that a program has use
 * for, going through them costs less than one system call. Invariant: every entry is in the list once, no two have the
 * same name and type, and there are at most `max`.
 *
 * It must not know what the messages say.
 */
#include "coro/dns_cache.h"

#include <string.h>

/* A server's word is not taken for ever: RFC 8767, 4 recommends a cap of days, RFC 2308, 5 one of hours for "no". */
enum { TTL_MAX_S = 86400 };

struct rota__dns_entry {
    struct rota__dns_entry *next, *prev;
    struct rota__dns_name name;
    unsigned type;
    int64_t since, until;
    size_t n;
    uint8_t msg[];
};

void rota__dns_cache_init(struct rota__dns_cache *cache, const rota_allocator *allocator, size_t max) {
    memset(cache, 0, sizeof *cache);
    cache->allocator = allocator;
    cache->max = max;
}

static void unlink_entry(struct rota__dns_cache *cache, struct rota__dns_entry *e) {
    *(e->prev ? &e->prev->next : &cache->first) = e->next;
    *(e->next ? &e->next->prev : &cache->last) = e->prev;
}

static void link_first(struct rota__dns_cache *cache, struct rota__dns_entry *e) {
    e->prev = NULL;
    e->next = cache->first;
    *(e->next ? &e->next->prev : &cache->last) = e;
    cache->first = e;
}

static void drop(struct rota__dns_cache *cache, struct rota__dns_entry *e) {
    unlink_entry(cache, e);
    cache->n--;
    rota__free(cache->allocator, e, sizeof *e + e->n);
}

void rota__dns_cache_clear(struct rota__dns_cache *cache) {
    while (cache->first)
        drop(cache, cache->first);
}

static struct rota__dns_entry *find(struct rota__dns_cache *cache, const struct rota__dns_name *name, unsigned type) {
    struct rota__dns_entry *e = cache->first;
    while (e && (e->type != type || !rota__dns_name_equal(&e->name, name)))
        e = e->next;
    return e;
}

void rota__dns_cache_put(struct rota__dns_cache *cache, const struct rota__dns_name *name, unsigned type,
                         const uint8_t *msg, size_t n, uint32_t ttl_s, int64_t now) {
    if (cache->max == 0 || ttl_s == 0)
        return;
    struct rota__dns_entry *e = find(cache, name, type);
    if (e)
        drop(cache, e);
    else if (cache->n == cache->max)
        drop(cache, cache->last);
    e = rota__alloc(cache->allocator, sizeof *e + n);
    if (!e)
        return;
    e->name = *name;
    e->type = type;
    e->since = now;
    e->until = now + (int64_t)(ttl_s < TTL_MAX_S ? ttl_s : TTL_MAX_S) * ROTA_S;
    e->n = n;
    memcpy(e->msg, msg, n);
    link_first(cache, e);
    cache->n++;
}

const uint8_t *rota__dns_cache_get(struct rota__dns_cache *cache, const struct rota__dns_name *name, unsigned type,
                                   int64_t now, size_t *n, uint32_t *age_s) {
    struct rota__dns_entry *e = find(cache, name, type);
    if (!e)
        return NULL;
    if (now >= e->until) {
        drop(cache, e);
        return NULL;
    }
    unlink_entry(cache, e);
    link_first(cache, e);
    *n = e->n;
    *age_s = (uint32_t)((now - e->since) / ROTA_S);
    return e->msg;
}
