/* What the machine says about names: resolv.conf, the hosts file, services. */
#ifndef ROTA_CORO_DNS_CONFIG_H
#define ROTA_CORO_DNS_CONFIG_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "reactor/memory.h"
#include "reactor/sys.h"
#include "rota/dns.h"

/* What resolv.conf says, with the options of rota_dns_open over it. Counted, and never changed: a lookup goes on with
 * what it began with. */
struct rota__dns_config {
    unsigned references;
    size_t size;                     /* of this block */
    rota_address servers[ROTA_DNS_SERVERS];
    unsigned n_servers;              /* at least 1 */
    int64_t timeout;                 /* ns */
    unsigned attempts, ndots;
    bool rotate, tcp, no_aaaa;
    unsigned n_search;               /* domains, one behind the other in `search`, each with its NUL */
    char search[];
};

/* One name of a line of the hosts file. Small: there are files with 100,000 of them. */
struct rota__dns_host {
    const char *name;
    uint32_t next;                   /* with the same hash, later in the file; UINT32_MAX: none */
    uint32_t scope;                  /* of an IPv6 address */
    uint8_t bytes[16];               /* of the address, in network order */
    uint8_t family;
};

struct rota__dns_hosts {
    char *text;                      /* of the file, cut into words; names point into it */
    size_t text_size;
    struct rota__dns_host *all;
    size_t n, size;
    uint32_t *buckets;
    size_t n_buckets;                /* a power of 2 */
};

struct rota__dns_file {
    const char *path;                /* "": none */
    bool known;                      /* it was read, or found missing */
    int64_t looked_at;
    struct rota__stamp stamp;        /* all zeroes: missing */
};

struct rota__dns_files {
    const rota_allocator *allocator;
    const rota_dns_options *options;
    struct rota__dns_file resolv, hosts_file;
    struct rota__dns_config *config; /* NULL: not read yet */
    struct rota__dns_hosts hosts;
};

void rota__dns_files_init(struct rota__dns_files *files, const rota_allocator *allocator,
                          const rota_dns_options *options);
void rota__dns_files_free(struct rota__dns_files *files);

/* Reads what has changed, unless it looked less than a second ago. What cannot be read for lack of memory or
 * descriptors stays as it was; if it was never read: that error. */
int rota__dns_files_refresh(struct rota__dns_files *files, int64_t now);

struct rota__dns_config *rota__dns_config_ref(struct rota__dns_config *config);
void rota__dns_config_unref(struct rota__dns_config *config, const rota_allocator *allocator);

/* The first host of that name (of which n bytes count), and the next one of the same name; NULL: none. */
const struct rota__dns_host *rota__dns_hosts_find(const struct rota__dns_hosts *hosts, const char *name, size_t n);
const struct rota__dns_host *rota__dns_hosts_next(const struct rota__dns_hosts *hosts,
                                                  const struct rota__dns_host *host);

/* The port of a service by its name or alias, that of TCP if it has one, else of UDP; -EINVAL: unknown. */
int rota__dns_service(const rota_allocator *allocator, const char *path, const char *name);

#endif
