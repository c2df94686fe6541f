/* Asking name servers: from one question to its answer, over UDP and TCP, from server to server.
 *
 * All questions of a call run in the calling task, as the attempts of rota_dial do: one wait, woken by the watcher of
 * any question, by the clock, by cancellation, or by the closing of the resolver. There is no task and no thread to
 * join, so a cancelled lookup is gone when it returns.
 *
 * A try is a socket of its own, connected to one server: the kernel drops what comes from elsewhere, and chooses the
 * source port (RFC 5452, 9.2); the id is drawn anew for each. What comes and does not match is ignored, and the wait
 * goes on; a message that matches but is broken, or a server that fails, costs that server this try. Invariant: fd >= 0
 * only from the start of a try to its end, and the watcher runs only in between.
 *
 * It must not know of search domains, files, or what the records are for.
 */
#include "coro/dns_query.h"

#include <netinet/in.h>
#include <string.h>

#include "coro/fd.h"

enum { FOREIGN_MAX = 64 };

/* ---- lookups ---- */

struct rota__dns_lookup *rota__dns_lookup_begin(struct rota__dns *core, rota_task *task) {
    struct rota__dns_lookup *l = rota__alloc(&core->loop->allocator, sizeof *l);
    if (!l)
        return NULL;
    l->task = task;
    l->loop = core->loop;
    l->core = core;
    l->config = rota__dns_config_ref(core->files.config);
    l->parked = false;
    l->n = 0;
    l->next = core->lookups;
    l->prev = &core->lookups;
    if (l->next)
        l->next->prev = &l->next;
    core->lookups = l;
    return l;
}

static void unlink_lookup(struct rota__dns_lookup *l) {
    *l->prev = l->next;
    if (l->next)
        l->next->prev = l->prev;
    l->core = NULL;
}

void rota__dns_lookup_end(struct rota__dns_lookup *l) {
    rota__dns_questions_forget(l);
    if (l->core)
        unlink_lookup(l);
    rota__dns_config_unref(l->config, &l->loop->allocator);
    rota__free(&l->loop->allocator, l, sizeof *l);
}

void rota__dns_lookups_close(struct rota__dns *core) {
    struct rota__dns_lookup *l;
    while ((l = core->lookups)) {
        unlink_lookup(l);
        (void)rota__wake(l->task, 0);
    }
}

void rota__dns_question_add(struct rota__dns_lookup *l, const struct rota__dns_name *name, unsigned type) {
    struct rota__dns_question *q = &l->questions[l->n++];
    memset(q, 0, offsetof(struct rota__dns_question, query));
    q->lookup = l;
    q->name = *name;
    q->type = type;
    q->fd = -1;
    q->edns = !l->core->options.no_edns;
    q->tcp = l->config->tcp;
    q->first = l->config->rotate ? l->core->next_server : 0;
}

/* ---- the end of a try ---- */

static void unwatch(struct rota__dns_question *q) {
    if (q->watcher.state_)
        rota__unwatch(q->lookup->loop, &q->watcher);
}

static void drop_socket(struct rota__dns_question *q) {
    if (q->fd < 0)
        return;
    unwatch(q);
    (void)rota__fd_close(q->lookup->loop, q->fd);
    q->fd = -1;
}

static void drop_tcp_answer(struct rota__dns_question *q) {
    rota__free(&q->lookup->loop->allocator, q->tcp_answer, q->tcp_size);
    q->tcp_answer = NULL;
}

void rota__dns_questions_forget(struct rota__dns_lookup *l) {
    for (unsigned i = 0; i < l->n; i++) {
        drop_socket(&l->questions[i]);
        drop_tcp_answer(&l->questions[i]);
    }
    l->n = 0;
}

static void finish(struct rota__dns_question *q, int result) {
    drop_socket(q);
    q->state = ROTA__DNS_DONE;
    q->result = result;
}

/* The same server once more, over TCP or without EDNS; or the next one. */
static void ask_again(struct rota__dns_question *q) {
    drop_socket(q);
    drop_tcp_answer(q);
    q->state = ROTA__DNS_START;
}

static void next_server(struct rota__dns_question *q) {
    ask_again(q);
    q->tried++;
    q->tcp = q->lookup->config->tcp;
}

/* ---- judging what came ---- */

static void answered(struct rota__dns_question *q, const uint8_t *msg, size_t n, const struct rota__dns_head *head) {
    unsigned before = q->aliases;
    int found = rota__dns_follow(msg, n, &q->name, q->type, &q->aliases);
    if (found != 0) {
        q->answer = msg;
        q->answer_n = n;
        finish(q, found);
    } else if (head->rcode == ROTA__DNS_NXDOMAIN) {
        finish(q, -ENOENT);
    } else if (q->aliases == before || head->has_soa) {
        finish(q, 0);
    } else {
        /* The chain of aliases was cut off: what it stands for is a question of its own. */
        ask_again(q);
        q->tried = 0;
    }
}

/* False: it is none of ours. */
static bool judge(struct rota__dns_question *q, const uint8_t *msg, size_t n) {
    struct rota__dns_head head;
    enum rota__dns_verdict verdict = rota__dns_check(msg, n, q->id, &q->name, q->type, &head);
    if (verdict == ROTA__DNS_FOREIGN)
        return false;
    if (verdict == ROTA__DNS_CUT && !q->tcp) {
        ask_again(q);
        q->tcp = true;
        return true;
    }
    bool speaks = head.rcode == ROTA__DNS_NOERROR || head.rcode == ROTA__DNS_NXDOMAIN;
    if (verdict == ROTA__DNS_ANSWER && speaks && !head.is_lame) {
        struct rota__dns *core = q->lookup->core;
        rota__dns_cache_put(&core->cache, &q->name, q->type, msg, n, head.ttl, rota__loop_clock(q->lookup->loop));
        answered(q, msg, n, &head);
        return true;
    }
    if (verdict == ROTA__DNS_BROKEN) {
        next_server(q);
        return true;
    }
    bool old = head.rcode == ROTA__DNS_FORMERR || head.rcode == ROTA__DNS_NOTIMP || head.rcode == ROTA__DNS_BADVERS;
    if (old && q->edns && verdict == ROTA__DNS_ANSWER) {
        ask_again(q); /* RFC 6891, 7: a server from before EDNS */
        q->edns = false;
        return true;
    }
    next_server(q);
    return true;
}

/* ---- the start of a try ---- */

static void event(rota_watcher *watcher, unsigned ready, void *arg) {
    struct rota__dns_question *q = arg;
    (void)watcher, (void)ready;
    q->news = true;
    (void)rota__wake(q->lookup->task, 1);
}

static bool watch(struct rota__dns_question *q, unsigned events) {
    unwatch(q);
    rota_watcher_init(&q->watcher, q->fd, events, event, q);
    int rc = rota__watch(q->lookup->loop, &q->watcher);
    if (rc < 0)
        finish(q, rc);
    return rc == 0;
}

static const rota_address *server_of(const struct rota__dns_question *q) {
    const struct rota__dns_config *c = q->lookup->config;
    return &c->servers[(q->first + q->tried) % c->n_servers];
}

/* Into query[2...], with the length before it. */
static int write_query(struct rota__dns_question *q) {
    uint8_t id[2];
    int rc = rota__sys_random(id, sizeof id);
    if (rc < 0)
        return rc;
    q->id = rota__dns_u16(id);
    q->query_n = rota__dns_build(q->query + 2, q->id, &q->name, q->type, q->edns);
    q->query[0] = (uint8_t)(q->query_n >> 8);
    q->query[1] = (uint8_t)q->query_n;
    return 0;
}

static int open_socket(struct rota__dns_question *q) {
    int fd = rota__sys_socket(server_of(q)->addr.ss_family, q->tcp ? SOCK_STREAM : SOCK_DGRAM,
                               q->tcp ? IPPROTO_TCP : IPPROTO_UDP);
    if (fd < 0)
        return fd;
    q->fd = fd;
    rota__fd_fresh(q->lookup->loop, fd, q->tcp ? ROTA__FD_TCP : ROTA__FD_SOCKET, ROTA__FD_NONBLOCKING);
    return 0;
}

static int connect_to(struct rota__dns_question *q) {
    const rota_address *server = server_of(q);
    int rc;
    do
        rc = rota__sys_connect(q->fd, (const struct sockaddr *)&server->addr, server->len);
    while (rc == -EINTR && !q->tcp);
    return rc;
}

/* A message of an earlier answer, if it is still good. */
static bool is_in_cache(struct rota__dns_question *q) {
    struct rota__dns_lookup *l = q->lookup;
    struct rota__dns_head head;
    size_t n;
    const uint8_t *msg =
        rota__dns_cache_get(&l->core->cache, &q->name, q->type, rota__loop_clock(l->loop), &n, &q->age);
    if (!msg)
        return false;
    /* A copy: another lookup may push it out while this one asks for the second address. */
    drop_tcp_answer(q);
    q->tcp_answer = rota__alloc(&l->loop->allocator, n);
    if (!q->tcp_answer)
        return false;
    q->tcp_size = n;
    memcpy(q->tcp_answer, msg, n);
    if (rota__dns_check(q->tcp_answer, n, rota__dns_u16(msg), &q->name, q->type, &head) != ROTA__DNS_ANSWER) {
        drop_tcp_answer(q); /* cannot be: it was looked at before it was kept */
        return false;
    }
    answered(q, q->tcp_answer, n, &head);
    return true;
}

static bool is_local_failure(int error) {
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS;
}

/* Sends the question, or begins to connect. */
static void send_question(struct rota__dns_question *q) {
    int rc = connect_to(q);
    if (q->tcp && (rc == -EINPROGRESS || rc == -EINTR || rc == 0)) {
        q->state = ROTA__DNS_CONNECTS;
        (void)watch(q, ROTA_WRITE);
        return;
    }
    while (rc == 0 && (rc = (int)rota__sys_send(q->fd, q->query + 2, q->query_n, MSG_DONTWAIT)) == -EINTR)
        rc = 0;
    if (rc < 0) {
        next_server(q);
        return;
    }
    q->state = ROTA__DNS_WAITS_UDP;
    (void)watch(q, ROTA_READ);
}

static void start(struct rota__dns_question *q) {
    const struct rota__dns_config *c = q->lookup->config;
    if (q->tried == 0 && is_in_cache(q))
        return;
    q->age = 0;
    if (q->tried >= c->attempts * c->n_servers) {
        finish(q, -EHOSTUNREACH);
        return;
    }
    q->until = rota__time_add(rota__loop_clock(q->lookup->loop), c->timeout);
    q->moved = 0;
    q->foreign = 0;
    int rc = write_query(q);
    if (rc < 0) {
        finish(q, rc);
        return;
    }
    rc = open_socket(q);
    if (rc == 0)
        send_question(q);
    else if (is_local_failure(rc))
        finish(q, rc);
    else
        next_server(q); /* no IPv6 on this machine, say */
}

/* ---- going on with a try; each false: it must wait ---- */

static ssize_t transfer(struct rota__dns_question *q, unsigned direction, void *p, size_t n) {
    struct iovec iov = {p, n};
    return rota__fd_try(q->lookup->loop, q->fd, direction, &iov, 1);
}

static bool read_udp(struct rota__dns_question *q) {
    ssize_t r = transfer(q, ROTA_READ, q->udp_answer, sizeof q->udp_answer);
    if (r == -EAGAIN)
        return false;
    if (r < 0) {
        next_server(q); /* nobody listens there, as a rule */
        return true;
    }
    if (r > ROTA__DNS_UDP_MAX) { /* more than we said we take: its end is missing, as if it were truncated */
        q->udp_answer[2] |= 2;
        r = ROTA__DNS_UDP_MAX;
    }
    /* Whoever guesses has so many guesses (RFC 5452, 9.3), and a flood does not hold up the loop. */
    if (!judge(q, q->udp_answer, (size_t)r) && ++q->foreign == FOREIGN_MAX)
        next_server(q);
    return true;
}

static bool connected(struct rota__dns_question *q) {
    int rc = rota__fd_connected(q->fd);
    if (rc < 0)
        next_server(q);
    else if (rc > 0)
        q->state = ROTA__DNS_SENDS_TCP;
    return rc != 0;
}

static bool send_tcp(struct rota__dns_question *q) {
    ssize_t r = transfer(q, ROTA_WRITE, q->query + q->moved, q->query_n + 2 - q->moved);
    if (r == -EAGAIN)
        return false;
    if (r <= 0) {
        next_server(q);
        return true;
    }
    q->moved += (size_t)r;
    if (q->moved == q->query_n + 2) {
        q->moved = 0;
        q->state = ROTA__DNS_WAITS_TCP;
        (void)watch(q, ROTA_READ);
    }
    return true;
}

/* The length has come: room for as much. No message is shorter than its header. */
static void begin_tcp_answer(struct rota__dns_question *q) {
    size_t n = rota__dns_u16(q->length);
    if (n < ROTA__DNS_HEADER) {
        next_server(q);
        return;
    }
    q->tcp_answer = rota__alloc(&q->lookup->loop->allocator, n);
    q->tcp_size = n;
    if (!q->tcp_answer)
        finish(q, -ENOMEM);
}

/* First the length, then as many bytes; a read never goes beyond, so what else the server sends stays unread. */
static bool read_tcp(struct rota__dns_question *q) {
    bool in_length = q->moved < 2;
    size_t at = in_length ? q->moved : q->moved - 2, wanted = in_length ? 2 : q->tcp_size;
    ssize_t r = transfer(q, ROTA_READ, (in_length ? q->length : q->tcp_answer) + at, wanted - at);
    if (r == -EAGAIN)
        return false;
    if (r <= 0) {
        next_server(q);
        return true;
    }
    q->moved += (size_t)r;
    if (q->moved == 2)
        begin_tcp_answer(q);
    else if (q->moved == q->tcp_size + 2 && q->moved > 2 && !judge(q, q->tcp_answer, q->tcp_size))
        next_server(q);
    return true;
}

static bool step(struct rota__dns_question *q) {
    switch (q->state) {
    case ROTA__DNS_START:
        start(q);
        return true;
    case ROTA__DNS_WAITS_UDP:
        return read_udp(q);
    case ROTA__DNS_CONNECTS:
        return connected(q);
    case ROTA__DNS_SENDS_TCP:
        return send_tcp(q);
    case ROTA__DNS_WAITS_TCP:
        return read_tcp(q);
    default:
        return false;
    }
}

/* ---- asking ---- */

static void leave_nothing(struct rota__wait *wait) { (void)wait; }

/* How far it gets without waiting. Data that has come counts before the clock. */
static void advance(struct rota__dns_question *q) {
    bool goes_on = q->state == ROTA__DNS_START || q->news;
    q->news = false;
    do {
        while (goes_on)
            goes_on = step(q);
        if (q->state != ROTA__DNS_DONE && rota__loop_clock(q->lookup->loop) >= q->until) {
            next_server(q);
            goes_on = true;
        }
    } while (goes_on);
}

int rota__dns_ask(struct rota__dns_lookup *l) {
    if (l->config->rotate)
        l->core->next_server = (l->core->next_server + 1) % l->config->n_servers;
    for (;;) {
        bool done = true;
        l->wait = (struct rota__wait){.what = "a name server", .on = l, .until = ROTA_FOREVER, .leave = leave_nothing};
        for (unsigned i = 0; i < l->n; i++) {
            struct rota__dns_question *q = &l->questions[i];
            if (q->state == ROTA__DNS_DONE)
                continue;
            advance(q);
            if (q->state == ROTA__DNS_DONE)
                continue;
            done = false;
            l->wait.until = q->until < l->wait.until ? q->until : l->wait.until;
        }
        if (done)
            return 0;
        int rc = rota__enter(&l->task);
        if (rc < 0)
            return rc;
        l->parked = true;
        rc = (int)rota__park(l->task, &l->wait);
        if (!l->core)
            return -ESHUTDOWN;
        if (rc < 0)
            return rc;
    }
}
