/* TCP over IPv4 and IPv6: rota_listen and rota_dial.
 *
 * Dialling runs all its attempts in the calling task: one wait, woken by the watcher of any attempt, by the clock
 * (the next address gets its turn), or by cancellation. No task is spawned per address, so there is nothing to join
 * and nothing that could outlive the call. Invariant: an attempt with fd >= 0 is this call's own, and when the call
 * returns at most one such descriptor is left, the one returned.
 *
 * It must not know how names are resolved, nor what is sent.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "coro/dns.h"
#include "coro/fd.h"
#include "coro/resolve.h"

enum { BACKLOG_DEFAULT = 511, FEW_ATTEMPTS = 4 };
#define STAGGER_DEFAULT (250 * ROTA_MS) /* RFC 8305, 5: the recommended Connection Attempt Delay */

static int set_option(int fd, int level, int name, int value) {
    return rota__sys_setsockopt(fd, level, name, &value, sizeof value);
}

static int new_socket(rota_loop *loop, int family) {
    int fd = rota__sys_socket(family, SOCK_STREAM, IPPROTO_TCP);
    if (fd >= 0)
        rota__fd_fresh(loop, fd, ROTA__FD_TCP, ROTA__FD_NONBLOCKING);
    return fd;
}

/* ---- listen ---- */

static int set_up_listener(int fd, const struct addrinfo *a, const rota_listen_options *opt) {
    int rc = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
#ifdef SO_REUSEPORT
    if (rc == 0 && opt->reuse_port)
        rc = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
#endif
    if (rc == 0 && a->ai_family == AF_INET6) {
        rc = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, opt->ipv6_only);
        if (!opt->ipv6_only)
            rc = 0; /* OpenBSD has no socket for both */
    }
    if (rc == 0)
        rc = rota__sys_bind(fd, a->ai_addr, (socklen_t)a->ai_addrlen);
    if (rc == 0)
        rc = rota__sys_listen(fd, opt->backlog > 0 ? opt->backlog : BACKLOG_DEFAULT);
    /* What is accepted takes it from here, on Linux and the BSDs: no call for each connection. */
    if (rc == 0)
        (void)set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return rc;
}

/* The first address that works. */
static int listen_on(rota_task *task, const char *host, const char *service, const rota_listen_options *opt) {
    struct addrinfo *list;
    bool parked = false;
    int rc = rota__resolve(task, host, service, AF_UNSPEC, SOCK_STREAM, &list, &parked);
    if (rc < 0)
        return rc;
    int fd = -1;
    rc = -ENOENT;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        rc = fd = new_socket(task->loop, a->ai_family);
        if (fd >= 0 && (rc = set_up_listener(fd, a, opt)) < 0) {
            (void)rota__fd_close(task->loop, fd);
            fd = -1;
        }
    }
    rota__sys_freeaddrinfo(list);
    if (fd >= 0 && !parked)
        rota__fast(task);
    return fd >= 0 ? fd : rc;
}

int rota_listen(const char *host, const char *service, const rota_listen_options *opt) {
    rota__leave_forgotten();
    static const rota_listen_options defaults;
    opt = opt ? opt : &defaults;
    bool any = !host || strcmp(host, "::") == 0;
    rota_task *task;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    service = service ? service : "0";
    rc = listen_on(task, any ? "::" : host, service, opt);
    /* "All addresses" where IPv6 is compiled out, or switched off. */
    if (any && !opt->ipv6_only && (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL || rc == -EPROTONOSUPPORT))
        rc = listen_on(task, "0.0.0.0", service, opt);
    return rc;
}

/* ---- dial: which address is next ---- */

/* RFC 8305, 4: the families alternate, the first address's first; within a family the resolver's order stays. */
struct addresses {
    const struct addrinfo *next[2];  /* of the first address's family, of the other one */
    int family;                      /* the first one's */
    int turn;
};

static const struct addrinfo *skip(const struct addrinfo *a, int family, bool same) {
    while (a && (a->ai_family == family) != same)
        a = a->ai_next;
    return a;
}

static void addresses_init(struct addresses *as, const struct addrinfo *list) {
    as->family = list->ai_family;
    as->next[0] = list;
    as->next[1] = skip(list, as->family, false);
    as->turn = 0;
}

static bool addresses_left(const struct addresses *as) { return as->next[0] || as->next[1]; }

static const struct addrinfo *addresses_take(struct addresses *as) {
    int side = as->next[as->turn] ? as->turn : !as->turn;
    const struct addrinfo *a = as->next[side];
    as->next[side] = skip(a->ai_next, as->family, side == 0);
    as->turn = !side;
    return a;
}

/* ---- dial: the attempts ---- */

struct dial;

struct attempt {
    rota_watcher watcher;
    struct dial *dial;
    int fd;           /* -1: has failed */
    bool news;
};

struct dial {
    struct rota__wait wait;
    rota_task *task;
    struct addresses addresses;
    struct attempt *attempts;
    size_t n;         /* started */
    size_t open;      /* of them, under way */
    int64_t stagger, next_at;
    int winner, error;
};

static void leave_nothing(struct rota__wait *wait) { (void)wait; }

static void attempt_event(rota_watcher *watcher, unsigned ready, void *arg) {
    struct attempt *at = arg;
    (void)watcher, (void)ready;
    at->news = true;
    (void)rota__wake(at->dial->task, 1);
}

static void unwatch(struct dial *d, struct attempt *at) {
    if (at->watcher.state_)
        rota__unwatch(d->task->loop, &at->watcher);
}

/* The next address may be tried at once. */
static void attempt_failed(struct dial *d, struct attempt *at, int error) {
    unwatch(d, at);
    (void)rota__fd_close(d->task->loop, at->fd);
    at->fd = -1;
    d->open--;
    d->error = error;
    d->next_at = INT64_MIN;
}

/* Looks how it stands. Right after its start too: on the way to this machine a connect is "in progress" when it
 * returns, and done when it is asked for. */
static void attempt_check(struct dial *d, struct attempt *at) {
    at->news = false;
    int rc = rota__fd_connected(at->fd);
    if (rc < 0) {
        attempt_failed(d, at, rc);
    } else if (rc == 1) {
        unwatch(d, at);
        d->winner = at->fd;
        at->fd = -1;
        d->open--;
    }
}

static void attempt_start(struct dial *d) {
    const struct addrinfo *a = addresses_take(&d->addresses);
    rota_loop *loop = d->task->loop;
    struct attempt *at = &d->attempts[d->n++];
    at->watcher.state_ = 0;
    at->dial = d;
    d->next_at = rota__time_add(rota__loop_clock(loop), d->stagger);
    d->open++;
    int rc = at->fd = new_socket(loop, a->ai_family);
    if (rc < 0) {
        d->open--;
        d->error = rc;
        d->next_at = INT64_MIN;
        return;
    }
    rc = rota__sys_connect(at->fd, a->ai_addr, (socklen_t)a->ai_addrlen);
    if (rc == 0 || rc == -EINPROGRESS || rc == -EINTR) {
        attempt_check(d, at);
        if (d->winner >= 0 || at->fd < 0)
            return;
        rota_watcher_init(&at->watcher, at->fd, ROTA_WRITE, attempt_event, at);
        rc = rota__watch(loop, &at->watcher);
    }
    if (rc < 0)
        attempt_failed(d, at, rc);
}

/* ---- dial: the race ---- */

/* Until the clock says that the next address has its turn (0), an attempt has news, or the task is cancelled. */
static int wait_for_news(struct dial *d) {
    int rc = rota__enter(&d->task);
    if (rc < 0)
        return rc;
    d->wait = (struct rota__wait){.what = "a connection", .leave = leave_nothing};
    d->wait.until = addresses_left(&d->addresses) ? d->next_at : ROTA_FOREVER;
    rc = (int)rota__park(d->task, &d->wait);
    return rc < 0 ? rc : 0;
}

static void check_attempts(struct dial *d) {
    for (size_t i = 0; i < d->n && d->winner < 0; i++)
        if (d->attempts[i].fd >= 0 && d->attempts[i].news)
            attempt_check(d, &d->attempts[i]);
}

static int race(struct dial *d, bool *parked) {
    while (d->winner < 0) {
        bool more = addresses_left(&d->addresses);
        if (!more && d->open == 0)
            return d->error;
        if (more && (d->open == 0 || d->next_at <= rota__loop_clock(d->task->loop))) {
            attempt_start(d);
            continue;
        }
        *parked = true;
        int rc = wait_for_news(d);
        /* Also when cancelled: a connection that was made by then is kept (the first one to wake has won). */
        check_attempts(d);
        if (rc < 0 && d->winner < 0)
            return rc;
    }
    return 0;
}

static int dial_list(rota_task *task, const struct addrinfo *list, int64_t stagger, bool *parked) {
    struct attempt few[FEW_ATTEMPTS];
    struct dial d = {.task = task, .attempts = few, .stagger = stagger, .next_at = INT64_MIN, .winner = -1,
                     .error = -ENOENT};
    const rota_allocator *allocator = &task->loop->allocator;
    size_t n = 0;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        n++;
    if (n > FEW_ATTEMPTS && !(d.attempts = rota__alloc(allocator, n * sizeof *few)))
        return -ENOMEM;
    addresses_init(&d.addresses, list);
    int rc = race(&d, parked);
    for (size_t i = 0; i < d.n; i++)
        if (d.attempts[i].fd >= 0)
            attempt_failed(&d, &d.attempts[i], 0);
    if (d.attempts != few)
        rota__free(allocator, d.attempts, n * sizeof *few);
    return d.winner >= 0 ? d.winner : rc;
}

/* ---- dial: names through a resolver without threads ---- */

enum { DNS_ADDRESSES = 32 };

/* An address as a link of the list that the system's resolver would have made. */
struct named {
    struct addrinfo info;
    rota_address address;
};

static int dial_dns(rota_task *task, const char *host, const char *service, const rota_dial_options *opt,
                    int64_t stagger, bool *parked) {
    const rota_allocator *allocator = &task->loop->allocator;
    const size_t size = DNS_ADDRESSES * (sizeof(struct named) + sizeof(rota_address));
    struct named *all = rota__alloc(allocator, size);
    if (!all)
        return -ENOMEM;
    rota_address *found = (rota_address *)(all + DNS_ADDRESSES);
    int n = rota__dns_resolve(task, opt->dns, host, service, opt->family, found, DNS_ADDRESSES, parked), rc = n;
    for (int i = 0; i < n; i++) {
        all[i].address = found[i];
        all[i].info = (struct addrinfo){.ai_family = found[i].addr.ss_family, .ai_addrlen = found[i].len,
                                        .ai_addr = (struct sockaddr *)&all[i].address.addr,
                                        .ai_next = i + 1 < n ? &all[i + 1].info : NULL};
    }
    if (n > 0)
        rc = dial_list(task, &all[0].info, stagger, parked);
    rota__free(allocator, all, size);
    return rc;
}

static int dial_system(rota_task *task, const char *host, const char *service, const rota_dial_options *opt,
                       int64_t stagger, bool *parked) {
    struct addrinfo *list;
    int rc = rota__resolve(task, host, service, opt->family, SOCK_STREAM, &list, parked);
    if (rc < 0)
        return rc;
    rc = dial_list(task, list, stagger, parked);
    rota__sys_freeaddrinfo(list);
    return rc;
}

int rota_dial(const char *host, const char *service, const rota_dial_options *opt) {
    rota__leave_forgotten();
    static const rota_dial_options defaults;
    opt = opt ? opt : &defaults;
    rota_task *task;
    bool parked = false;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!service || opt->stagger < 0)
        return -EINVAL;
    int64_t stagger = opt->stagger ? opt->stagger : STAGGER_DEFAULT;
    int fd = opt->dns ? dial_dns(task, host, service, opt, stagger, &parked)
                      : dial_system(task, host, service, opt, stagger, &parked);
    if (fd < 0)
        return fd;
    (void)set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* fails only for a connection that is dead already */
    if (!parked)
        rota__fast(task);
    return fd;
}
