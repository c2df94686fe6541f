/* The resolver: rota_dns_open, close, resolve, query, arpa.
 *
 * A name becomes addresses in this order: numbers, the hosts file, localhost, then the servers, once for each name that
 * the search domains make of it. Invariant: a lookup is linked with its resolver while it asks, and its buffers live
 * until the addresses or records have been copied out; after any wait it looks whether the resolver is still there
 * (rota__dns_ask says -ESHUTDOWN) before it touches it.
 *
 * It must not know how servers are asked.
 */
#include "coro/dns.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdalign.h>
#include <string.h>

#include "coro/dns_query.h"
#include "coro/resolve.h"

enum { ATTEMPTS_MAX = 100 };

/* ---- open and close ---- */

static size_t path_size(const char *path) { return strlen(path) + 1; }

static const char *copy_path(char **to, const char *path) {
    char *at = *to;
    memcpy(at, path, path_size(path));
    *to += path_size(path);
    return at;
}

static bool servers_are_sound(const rota_dns_options *opt) {
    if (opt->n_servers > ROTA_DNS_SERVERS || (opt->n_servers && !opt->servers))
        return false;
    for (size_t i = 0; i < opt->n_servers; i++) {
        const rota_address *a = &opt->servers[i];
        bool four = a->addr.ss_family == AF_INET && a->len == sizeof(struct sockaddr_in);
        if (!four && !(a->addr.ss_family == AF_INET6 && a->len == sizeof(struct sockaddr_in6)))
            return false;
    }
    return true;
}

int rota_dns_open(rota_dns *dns, const rota_dns_options *options) {
    static const rota_dns_options defaults;
    rota_dns_options opt = options ? *options : defaults;
    if (!dns)
        return -EINVAL;
    dns->core_ = NULL;
    if (!servers_are_sound(&opt) || opt.timeout < 0 || opt.attempts > ATTEMPTS_MAX)
        return -EINVAL;
    rota_loop *loop = rota__current;
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    opt.resolv_conf = opt.resolv_conf ? opt.resolv_conf : "/etc/resolv.conf";
    opt.hosts = opt.hosts ? opt.hosts : "/etc/hosts";
    opt.services = opt.services ? opt.services : "/etc/services";
    size_t servers = opt.n_servers * sizeof *opt.servers, size = sizeof(struct rota__dns) + servers +
                     path_size(opt.resolv_conf) + path_size(opt.hosts) + path_size(opt.services);
    struct rota__dns *core = rota__alloc(&loop->allocator, size);
    if (!core)
        return -ENOMEM;
    memset(core, 0, sizeof *core);
    char *behind = (char *)(core + 1);
    if (servers)
        opt.servers = memcpy(behind, opt.servers, servers);
    behind += servers;
    opt.resolv_conf = copy_path(&behind, opt.resolv_conf);
    opt.hosts = copy_path(&behind, opt.hosts);
    opt.services = copy_path(&behind, opt.services);
    core->loop = loop;
    core->options = opt;
    core->size = size;
    rota__dns_files_init(&core->files, &loop->allocator, &core->options);
    rota__dns_cache_init(&core->cache, &loop->allocator, opt.cache);
    dns->core_ = core;
    return 0;
}

int rota_dns_close(rota_dns *dns) {
    struct rota__dns *core = dns ? dns->core_ : NULL;
    if (!core)
        return dns ? 0 : -EINVAL;
    int rc = rota__loop_check(core->loop);
    if (rc == -EPERM)
        return rc;
    dns->core_ = NULL;
    rota__dns_lookups_close(core);
    rota__dns_files_free(&core->files);
    rota__dns_cache_clear(&core->cache);
    rota__free(&core->loop->allocator, core, core->size);
    return 0;
}

static int core_of(const rota_dns *dns, const rota_task *task, struct rota__dns **core) {
    if (!dns)
        return -EINVAL;
    *core = dns->core_;
    return !*core ? -ESHUTDOWN : (*core)->loop != task->loop ? -EPERM : 0;
}

/* What is remembered came from other servers than are asked now. */
static int refresh(struct rota__dns *core) {
    const struct rota__dns_config *before = core->files.config;
    int rc = rota__dns_files_refresh(&core->files, rota__loop_clock(core->loop));
    if (core->files.config != before)
        rota__dns_cache_clear(&core->cache);
    return rc;
}

/* ---- where addresses come from, and where they go ---- */

struct target {
    rota_address *out;
    size_t n, used;
    unsigned port;
};

struct source {
    const struct rota__dns_hosts *hosts;
    const struct rota__dns_host *host;     /* lines of the hosts file, */
    struct rota__dns_lookup *lookup;       /* or what servers answered; neither: localhost */
};

static void add(struct target *t, int family, const uint8_t *bytes, uint32_t scope) {
    if (t->used == t->n)
        return;
    rota_address *a = &t->out[t->used++];
    struct sockaddr_in *four = (struct sockaddr_in *)&a->addr;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&a->addr;
    memset(a, 0, sizeof *a);
    if (family == AF_INET) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)t->port);
        memcpy(&four->sin_addr, bytes, 4);
        a->len = sizeof *four;
    } else {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)t->port);
        six->sin6_scope_id = scope;
        memcpy(&six->sin6_addr, bytes, 16);
        a->len = sizeof *six;
    }
}

static void add_answers(struct target *t, const struct rota__dns_question *q, int family) {
    struct rota__dns_walk walk;
    struct rota__dns_record r;
    rota__dns_walk_answers(&walk, q->answer, q->answer_n);
    while (t->used < t->n && rota__dns_walk_find(&walk, &q->name, q->type, &r))
        add(t, family, q->answer + r.data, 0);
}

static void add_family(struct target *t, const struct source *s, int family) {
    static const uint8_t four[4] = {127, 0, 0, 1}, six[16] = {[15] = 1};
    if (s->lookup) {
        unsigned type = family == AF_INET ? ROTA_DNS_A : ROTA_DNS_AAAA;
        for (unsigned i = 0; i < s->lookup->n; i++)
            if (s->lookup->questions[i].type == type && s->lookup->questions[i].result > 0)
                add_answers(t, &s->lookup->questions[i], family);
    } else if (s->host) {
        for (const struct rota__dns_host *h = s->host; h; h = rota__dns_hosts_next(s->hosts, h))
            if (h->family == family)
                add(t, family, h->bytes, h->scope);
    } else {
        add(t, family, family == AF_INET ? four : six, 0);
    }
}

/* Would a packet to it leave this machine? Connecting a datagram socket sends nothing, and asks the routing table,
 * which is the first thing that RFC 6724, 5 sorts by. */
static bool has_route(const rota_address *to) {
    struct sockaddr_in6 six = *(const struct sockaddr_in6 *)&to->addr;
    six.sin6_port = htons(53); /* some systems connect to no port 0 */
    int fd = rota__sys_socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
    if (fd < 0)
        return false;
    bool ok = rota__sys_connect(fd, (const struct sockaddr *)&six, sizeof six) == 0;
    (void)rota__sys_close(fd);
    return ok;
}

/* How many were written; -ENOENT: none. */
static int deliver(struct target *t, const struct source *s, int family) {
    rota_address six, four;
    struct target first6 = {.out = &six, .n = 1}, first4 = {.out = &four, .n = 1};
    bool six_first = true;
    if (family == AF_UNSPEC) {
        add_family(&first6, s, AF_INET6);
        add_family(&first4, s, AF_INET);
        six_first = !first6.used || !first4.used || has_route(&six);
    }
    if (family != AF_INET && six_first)
        add_family(t, s, AF_INET6);
    if (family != AF_INET6)
        add_family(t, s, AF_INET);
    if (family != AF_INET && !six_first)
        add_family(t, s, AF_INET6);
    return t->used ? (int)t->used : -ENOENT;
}

/* ---- asking servers for addresses ---- */

/* One name, as it is. Positive: there are addresses; -ENOENT: there are none. */
static int ask_for(struct rota__dns_lookup *l, const struct rota__dns_name *name, int family) {
    int found = 0, failure = 0;
    rota__dns_questions_forget(l);
    if (family != AF_INET && !l->config->no_aaaa)
        rota__dns_question_add(l, name, ROTA_DNS_AAAA);
    if (family != AF_INET6)
        rota__dns_question_add(l, name, ROTA_DNS_A);
    int rc = rota__dns_ask(l);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < l->n; i++) {
        rc = l->questions[i].result;
        /* What went wrong on this machine is told, even if the other half is there. */
        if (rc < 0 && rc != -ENOENT && rc != -EHOSTUNREACH && rc != -ELOOP)
            return rc;
        if (rc < 0 && rc != -ENOENT)
            failure = rc;
        found = rc > 0 ? rc : found;
    }
    return found ? found : failure ? failure : -ENOENT;
}

/* host in a domain ("": as it is). Too long together: there is no such name. */
static int ask_in(struct rota__dns_lookup *l, const char *host, const char *domain, int family) {
    char text[2 * ROTA__DNS_NAME_MAX + 2];
    struct rota__dns_name name;
    size_t n = strlen(host), m = strlen(domain);
    if (m > ROTA__DNS_NAME_MAX)
        return -ENOENT;
    memcpy(text, host, n);
    text[n] = '.';
    memcpy(text + n + 1, domain, m + 1);
    if (m == 0)
        text[n] = '\0';
    int rc = rota__dns_name_parse(&name, text);
    return rc == 0 ? ask_for(l, &name, family) : m ? -ENOENT : rc;
}

/* resolv.conf(5), "ndots". A failure ends it: the next domain could have another host of that name. */
static int search(struct rota__dns_lookup *l, const char *host, int family) {
    size_t n = strlen(host), dots = 0;
    for (size_t i = 0; i < n; i++)
        dots += host[i] == '.';
    bool absolute = host[n - 1] == '.', first = absolute || dots >= l->config->ndots;
    int rc = first ? ask_in(l, host, "", family) : -ENOENT;
    const char *domain = l->config->search;
    for (unsigned i = 0; i < l->config->n_search && rc == -ENOENT && !absolute; i++, domain += strlen(domain) + 1) {
        if (*domain || !first)
            rc = ask_in(l, host, domain, family);
        first = first || !*domain; /* the root is in the list: that is the name as it is */
    }
    return rc == -ENOENT && !first ? ask_in(l, host, "", family) : rc;
}

static int ask_servers(rota_task *task, struct rota__dns *core, const char *host, int family, struct target *t,
                       bool *parked) {
    struct rota__dns_lookup *l = rota__dns_lookup_begin(core, task);
    if (!l)
        return -ENOMEM;
    int rc = search(l, host, family);
    if (rc > 0)
        rc = deliver(t, &(struct source){.lookup = l}, family);
    *parked = *parked || l->parked;
    rota__dns_lookup_end(l);
    return rc;
}

/* ---- resolve ---- */

/* RFC 6761, 6.3. n: without a dot at the end. */
static bool is_localhost(const char *host, size_t n) {
    static const char name[] = "localhost";
    size_t m = sizeof name - 1;
    if (n < m || (n > m && host[n - m - 1] != '.'))
        return false;
    for (size_t i = 0; i < m; i++)
        if ((host[n - m + i] | 0x20) != name[i])
            return false;
    return true;
}

/* The address that host is the number of: 1, -ENOENT (of the other family), 0 (it is none). */
static int parse_number(const char *host, int family, struct target *t) {
    struct addrinfo *list;
    int rc = rota__resolve_number(host, AF_UNSPEC, &list);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    const struct sockaddr *a = list->ai_addr;
    if (family != AF_UNSPEC && family != a->sa_family)
        rc = -ENOENT;
    else if (a->sa_family == AF_INET)
        add(t, AF_INET, (const uint8_t *)&((const struct sockaddr_in *)(const void *)a)->sin_addr, 0);
    else
        add(t, AF_INET6, (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
            ((const struct sockaddr_in6 *)(const void *)a)->sin6_scope_id);
    rota__sys_freeaddrinfo(list);
    return rc < 0 ? rc : 1;
}

static int port_of(const struct rota__dns *core, const char *service, bool numeric) {
    int port = 0;
    if (!service)
        return 0;
    if (!numeric)
        return rota__dns_service(&core->loop->allocator, core->options.services, service);
    for (; *service; service++)
        port = port * 10 + (*service - '0');
    return port;
}

/* Bytes above ASCII are no part of a name on the wire; what has a colon or a percent sign is an address or nothing; the
 * root is no host. */
static int check_name(const char *host) {
    if (host[0] == '.' && !host[1])
        return -EINVAL;
    for (; *host; host++)
        if ((unsigned char)*host >= 0x80)
            return -EINVAL;
        else if (*host == ':' || *host == '%')
            return -ENOENT;
    return 0;
}

int rota__dns_resolve(rota_task *task, rota_dns *dns, const char *host, const char *service, int family,
                      rota_address *out, size_t n, bool *parked) {
    struct rota__dns *core;
    bool numeric;
    int rc = core_of(dns, task, &core);
    if (rc == 0)
        rc = rota__resolve_check(host, service, family, &numeric);
    if (rc == 0)
        rc = port_of(core, service, numeric);
    if (rc < 0)
        return rc;
    struct target t = {.out = out, .n = n, .port = (unsigned)rc};
    rc = parse_number(host, family, &t);
    if (rc == 0)
        rc = check_name(host);
    if (rc != 0)
        return rc;
    rc = refresh(core);
    if (rc < 0)
        return rc;
    size_t length = strlen(host);
    length -= host[length - 1] == '.';
    struct source s = {.hosts = &core->files.hosts, .host = rota__dns_hosts_find(&core->files.hosts, host, length)};
    if (s.host && (rc = deliver(&t, &s, family)) > 0)
        return rc;
    if (is_localhost(host, length))
        return deliver(&t, &(struct source){.host = NULL}, family);
    return ask_servers(task, core, host, family, &t, parked);
}

int rota_dns_resolve(rota_dns *dns, const char *host, const char *service, int family, rota_address *out, size_t n) {
    rota__leave_forgotten();
    rota_task *task;
    bool parked = false;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!out || n == 0 || n > INT32_MAX)
        return -EINVAL;
    rc = rota__dns_resolve(task, dns, host, service, family, out, n, &parked);
    if (rc > 0 && !parked)
        rota__fast(task);
    return rc;
}

/* ---- query ---- */

/* Memory of the caller's, handed out from front to back. */
struct room {
    char *at;
    size_t left;
};

static void *take(struct room *room, size_t n) {
    if (n > room->left)
        return NULL;
    void *p = room->at;
    room->at += n;
    room->left -= n;
    return p;
}

static const char *take_name(struct room *room, const struct rota__dns_name *name) {
    int n = rota__dns_name_print(name, room->at, room->left);
    return n < 0 ? NULL : take(room, (size_t)n + 1);
}

/* The strings of a TXT record in a row: never longer than they are with their lengths. */
static bool take_text(struct room *room, const uint8_t *data, size_t n, rota_dns_record *record) {
    size_t used = 0;
    char *text = take(room, n + 1);
    if (!text)
        return false;
    for (size_t at = 0; at < n; at += data[at] + 1u) {
        memcpy(text + used, data + at + 1, data[at]);
        used += data[at];
    }
    text[used] = '\0';
    record->text = text;
    record->text_size = used;
    return true;
}

static bool take_target(struct room *room, const uint8_t *msg, size_t n, size_t at, rota_dns_record *record) {
    struct rota__dns_name name;
    record->target = rota__dns_name_read(msg, n, at, &name) < 0 ? NULL : take_name(room, &name);
    return record->target != NULL;
}

static bool take_contents(struct room *room, const uint8_t *msg, size_t n, const struct rota__dns_record *r,
                          rota_dns_record *record) {
    const uint8_t *data = msg + r->data;
    switch (r->type) {
    case ROTA_DNS_NS: case ROTA_DNS_CNAME: case ROTA_DNS_PTR:
        return take_target(room, msg, n, r->data, record);
    case ROTA_DNS_MX:
        record->priority = rota__dns_u16(data);
        return take_target(room, msg, n, r->data + 2, record);
    case ROTA_DNS_SRV:
        record->priority = rota__dns_u16(data);
        record->weight = rota__dns_u16(data + 2);
        record->port = rota__dns_u16(data + 4);
        return take_target(room, msg, n, r->data + 6, record);
    case ROTA_DNS_TXT:
        return take_text(room, data, r->data_n, record);
    default:
        return true;
    }
}

static bool take_record(struct room *room, const struct rota__dns_question *q, const struct rota__dns_record *r,
                        rota_dns_record *record) {
    memset(record, 0, sizeof *record);
    record->type = r->type;
    record->ttl = r->ttl > q->age ? r->ttl - q->age : 0;
    record->name = take_name(room, &r->name);
    unsigned char *data = take(room, r->data_n);
    if (!record->name || !data)
        return false;
    memcpy(data, q->answer + r->data, r->data_n);
    record->data = data;
    record->data_size = r->data_n;
    return take_contents(room, q->answer, q->answer_n, r, record);
}

static int take_records(const struct rota__dns_question *q, void *buf, size_t size, const rota_dns_record **records) {
    struct rota__dns_walk walk;
    struct rota__dns_record r;
    struct room room = {.at = buf, .left = size};
    size_t skew = -(uintptr_t)buf & (alignof(rota_dns_record) - 1), n = (size_t)q->result;
    rota_dns_record *all = take(&room, skew) ? take(&room, n * sizeof *all) : NULL;
    if (!all)
        return -ENOBUFS;
    rota__dns_walk_answers(&walk, q->answer, q->answer_n);
    for (size_t i = 0; i < n && rota__dns_walk_find(&walk, &q->name, q->type, &r); i++)
        if (!take_record(&room, q, &r, &all[i]))
            return -ENOBUFS;
    *records = all;
    return (int)n;
}

static int query(rota_task *task, struct rota__dns *core, const struct rota__dns_name *name, unsigned type, void *buf,
                 size_t size, const rota_dns_record **records, bool *parked) {
    int rc = refresh(core);
    if (rc < 0)
        return rc;
    struct rota__dns_lookup *l = rota__dns_lookup_begin(core, task);
    if (!l)
        return -ENOMEM;
    rota__dns_question_add(l, name, type);
    rc = rota__dns_ask(l);
    if (rc == 0)
        rc = l->questions[0].result;
    if (rc > 0)
        rc = take_records(&l->questions[0], buf, size, records);
    *parked = l->parked;
    rota__dns_lookup_end(l);
    return rc;
}

int rota_dns_query(rota_dns *dns, const char *name, unsigned type, void *buf, size_t size,
                   const rota_dns_record **records) {
    rota__leave_forgotten();
    struct rota__dns *core;
    struct rota__dns_name wire;
    rota_task *task;
    bool parked = false;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!name || !records || (!buf && size))
        return -EINVAL;
    *records = NULL;
    /* RFC 6895, 3.1: 128 to 255 ask for more than records. */
    if (type == 0 || type > 0xffff || type == ROTA__DNS_TYPE_OPT || (type >= 128 && type <= 255))
        return -EINVAL;
    rc = core_of(dns, task, &core);
    if (rc == 0)
        rc = rota__dns_name_parse(&wire, name);
    if (rc == 0)
        rc = query(task, core, &wire, type, buf, size, records, &parked);
    if (rc >= 0 && !parked)
        rota__fast(task);
    return rc;
}

/* ---- names of addresses ---- */

static char *put_number(char *to, unsigned value) {
    if (value >= 100)
        *to++ = (char)('0' + value / 100);
    if (value >= 10)
        *to++ = (char)('0' + value / 10 % 10);
    *to++ = (char)('0' + value % 10);
    return to;
}

int rota_dns_arpa(const struct sockaddr *addr, char *buf, size_t size) {
    char text[ROTA_DNS_ARPA], *to = text;
    const char *suffix = "in-addr.arpa";
    if (!addr || (!buf && size))
        return -EINVAL;
    if (addr->sa_family == AF_INET) {
        const uint8_t *bytes = (const uint8_t *)&((const struct sockaddr_in *)(const void *)addr)->sin_addr;
        for (int i = 3; i >= 0; i--, *to++ = '.')
            to = put_number(to, bytes[i]);
    } else if (addr->sa_family == AF_INET6) {
        const uint8_t *bytes = (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
        suffix = "ip6.arpa";
        for (int i = 31; i >= 0; i--, *to++ = '.')
            *to++ = "0123456789abcdef"[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
    } else {
        return -EINVAL;
    }
    memcpy(to, suffix, strlen(suffix) + 1);
    size_t n = (size_t)(to - text) + strlen(suffix);
    if (n >= size)
        return -ENOBUFS;
    memcpy(buf, text, n + 1);
    return (int)n;
}
