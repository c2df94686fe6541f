/* Name resolution: rota_resolve, in threads of the loop's own executor, because getaddrinfo blocks.
 *
 * It offers rota_resolve, and rota__resolve to those who dial and listen. What a thread works on is its own: a
 * cancelled task leaves its lookup behind, and the thread frees what it got. So cancelling returns at once, and
 * closing the loop waits for no lookup, ever. It must not know who dials or listens.
 */
#include "coro/resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "coro/executor.h"

enum { HOST_MAX = 253, SERVICE_MAX = 63 };   /* RFC 1035, 2.3.4 as text, without the dot of the root */

/* ---- errors ---- */

static int error_of(int eai, int system_error) {
    switch (eai) {
    case 0:
        return 0;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return system_error ? -system_error : -EIO;
    case EAI_AGAIN:
    case EAI_FAIL: /* the name servers refuse to answer: no word about the name */
        return -EHOSTUNREACH;
    case EAI_SERVICE:
    case EAI_FAMILY:
    case EAI_SOCKTYPE:
    case EAI_BADFLAGS:
        return -EINVAL;
    case EAI_OVERFLOW:
        return -ENAMETOOLONG;
    default: /* EAI_NONAME; where they exist, also EAI_NODATA and EAI_ADDRFAMILY: the name has no such address */
        return -ENOENT;
    }
}

/* With one type, or each address would come once per type. The name of a service may be one of the other type alone
 * (tftp has no TCP, most others have no UDP any more): the number is the same, and the C library says so before it asks
 * for the host. */
static int look_up(const char *host, const char *service, int family, int type, int flags, struct addrinfo **list) {
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = family;
    hints.ai_socktype = type;
    hints.ai_flags = flags;
    *list = NULL;
    errno = 0;
    int eai = rota__sys_getaddrinfo(host, service, &hints, list);
    if (eai == EAI_SERVICE && service && !(flags & AI_NUMERICSERV)) {
        hints.ai_socktype = type == SOCK_STREAM ? SOCK_DGRAM : SOCK_STREAM;
        errno = 0;
        eai = rota__sys_getaddrinfo(host, service, &hints, list);
    }
    int rc = error_of(eai, errno);
    return rc == 0 && !*list ? -ENOENT : rc;
}

/* ---- in a thread ---- */

/* What a lookup needs and gives, apart from its task, which may leave it behind. From malloc, not from the loop's
 * allocator: the thread may give it back after the loop has gone. (getaddrinfo uses malloc anyway.) */
struct lookup {
    char host[HOST_MAX + 2], service[SERVICE_MAX + 1];
    bool has_service;
    int family, type;
    struct addrinfo *list;             /* NULL: taken, or none was found */
};

static intptr_t run_lookup(void *arg) {
    struct lookup *l = arg;
    return look_up(l->host, l->has_service ? l->service : NULL, l->family, l->type, 0, &l->list);
}

static void free_lookup(void *arg) {
    struct lookup *l = arg;
    if (l->list)
        rota__sys_freeaddrinfo(l->list);
    rota__free(&rota__malloc, l, sizeof *l);
}

static struct lookup *new_lookup(const char *host, const char *service, int family, int type) {
    struct lookup *l = rota__alloc(&rota__malloc, sizeof *l);
    if (!l)
        return NULL;
    (void)strcpy(l->host, host); /* lengths were checked */
    l->has_service = service != NULL;
    (void)strcpy(l->service, service ? service : "");
    l->family = family;
    l->type = type;
    l->list = NULL;
    return l;
}

static int resolve_on_thread(rota_task *task, const char *host, const char *service, int family, int type,
                             struct addrinfo **list) {
    struct lookup *l = new_lookup(host, service, family, type);
    if (!l)
        return -ENOMEM;
    struct rota__offload offload = {
        .fn = run_lookup, .arg = l, .what = "the addresses of a name", .on = host,
        .abandon = true, .destroy = free_lookup,
    };
    intptr_t value = 0;
    int rc = rota__offload(task, &offload, &value);
    if (offload.abandoned)
        return rc;
    if (rc == 0)
        rc = offload.cancelled ? -ECANCELED : (int)value;
    if (rc == 0) {
        *list = l->list;
        l->list = NULL;
    }
    free_lookup(l);
    return rc;
}

/* ---- what may be asked ---- */

/* Only what names, numeric addresses and scope ids are made of: everything else would reach parsers in the C
 * library and the name server that were never meant for it. Bytes above ASCII are left to the C library. */
static bool host_byte(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80 || c == '-' ||
           c == '_' || c == '.' || c == ':' || c == '%';
}

/* Never truncated: a name that is cut off is another name. */
static int check_host(const char *host) {
    size_t n = 0;
    if (!host || !*host)
        return -EINVAL;
    while (host[n] && n <= HOST_MAX + 1) {
        if (!host_byte((unsigned char)host[n]))
            return -EINVAL;
        n++;
    }
    return n <= HOST_MAX || (n == HOST_MAX + 1 && host[n - 1] == '.') ? 0 : -ENAMETOOLONG;
}

/* getaddrinfo takes "65536", "-1" and " 80" for numbers and cuts them to 16 bits. *numeric: all digits. */
static int check_service(const char *service, bool *numeric) {
    size_t n = 0;
    unsigned value = 0;
    *numeric = true;
    if (!service)
        return 0;
    for (; service[n]; n++) {
        unsigned char c = (unsigned char)service[n];
        if (n == SERVICE_MAX || c <= ' ' || c >= 0x7f || (n == 0 && (c == '-' || c == '+')))
            return -EINVAL;
        if (c < '0' || c > '9')
            *numeric = false;
        else if (value <= 0xffff)
            value = value * 10 + (c - '0');
    }
    return n == 0 || (*numeric && value > 0xffff) ? -EINVAL : 0;
}

int rota__resolve_check(const char *host, const char *service, int family, bool *numeric) {
    int rc = check_host(host);
    if (rc == 0)
        rc = check_service(service, numeric);
    return rc == 0 && family != AF_UNSPEC && family != AF_INET && family != AF_INET6 ? -EINVAL : rc;
}

int rota__resolve_number(const char *host, int family, struct addrinfo **list) {
    return look_up(host, NULL, family, SOCK_STREAM, AI_NUMERICHOST, list);
}

int rota__resolve(rota_task *task, const char *host, const char *service, int family, int type,
                  struct addrinfo **list, bool *parked) {
    bool numeric;
    int rc = rota__resolve_check(host, service, family, &numeric);
    if (rc < 0)
        return rc;
    if (numeric) {
        rc = look_up(host, service, family, type, AI_NUMERICHOST | AI_NUMERICSERV, list);
        if (rc != -ENOENT)
            return rc;
    }
    *parked = true;
    return resolve_on_thread(task, host, service, family, type, list);
}

int rota_resolve(const char *host, const char *service, int family, rota_address *out, size_t n) {
    rota_task *task;
    struct addrinfo *list;
    bool parked = false;
    size_t used = 0;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!out || n == 0 || n > INT32_MAX)
        return -EINVAL;
    rc = rota__resolve(task, host, service, family, SOCK_STREAM, &list, &parked);
    if (rc < 0)
        return rc;
    for (struct addrinfo *a = list; a && used < n; a = a->ai_next) {
        if (a->ai_addrlen > sizeof out->addr)
            continue;
        memset(&out[used].addr, 0, sizeof out->addr);
        memcpy(&out[used].addr, a->ai_addr, a->ai_addrlen);
        out[used++].len = (socklen_t)a->ai_addrlen;
    }
    rota__sys_freeaddrinfo(list);
    if (!parked)
        rota__fast(task);
    return used ? (int)used : -ENOENT;
}
