/* rota_serve, rota_serve_fd: a listener, and a task for each client.
 *
 * What is cancelled when decides the shape. The acceptor must stop at once when the caller is cancelled; the clients
 * must not, when they are to be drained. So they stand under different scopes:
 *
 *     caller's scope > group `outer`: the acceptor
 *                        > shield > group `clients`: the clients; here the caller waits for the acceptor to end
 *
 * Invariant: each client that was counted has exactly one task, which closes its descriptor and counts it off; the
 * caller leaves `clients` last. It must not know what clients do, nor how other threads are run (serve_threads.c): each
 * of them does the same as this one.
 */
#include "coro/serve.h"

#include "coro/fd.h"
#include "rota/net.h"

#define MEMORY_PAUSE (50 * ROTA_MS)

struct server {
    int fd;
    unsigned active, max;
    rota_client_fn *client;
    void *arg;
    void (*stopping)(void *arg);
    rota_group clients;
    struct rota__wait *acceptor;   /* waits for a client to end */
    rota_loop *loop;
};

struct client {
    struct server *server;
    int fd;
    uint32_t generation;           /* of fd: another one when it returns means that it has closed fd itself */
};

static uint32_t generation_of(const rota_loop *loop, int fd) {
    const struct rota__fd *slot = rota__fd_find(&loop->fds, fd);
    return slot ? slot->generation : 0;
}

static intptr_t client_main(void *arg) {
    struct client *c = arg;
    struct server *s = c->server;
    intptr_t outcome = s->client(c->fd, s->arg);
    if (generation_of(s->loop, c->fd) == c->generation)
        (void)rota__fd_close(s->loop, c->fd);
    s->active--;
    if (s->acceptor) {
        struct rota__wait *wait = s->acceptor;
        s->acceptor = NULL;
        (void)rota__wake(wait->task, 0);
    }
    return outcome;
}

/* ---- the acceptor ---- */

struct acceptor_wait {
    struct rota__wait wait;        /* first */
    struct server *server;
};

static void acceptor_leave(struct rota__wait *wait) { ((struct acceptor_wait *)wait)->server->acceptor = NULL; }

/* Until a client ends, or that time has passed: each gives back a descriptor, a stack and memory. */
static int wait_for_client(struct server *s, int64_t until) {
    rota_task *task;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    struct acceptor_wait w = {
        .wait = {.what = "a client to end", .on = s, .until = until, .leave = acceptor_leave},
        .server = s,
    };
    s->acceptor = &w.wait;
    return (int)rota__park(task, &w.wait);
}

static int pause_for_memory(struct server *s) {
    return wait_for_client(s, rota__time_add(rota__loop_clock(s->loop), MEMORY_PAUSE));
}

/* Reports of clients name the call, not a line of this file, which says nothing to their programmer. */
static const rota_at here = {"rota_serve", 0};

/* A connection that was accepted is kept until there is memory for its task: it costs the peer some time, where
 * closing would cost it the connection. */
static int start_client(struct server *s, int fd) {
    struct client c = {s, fd, generation_of(s->loop, fd)};
    rota_spawn_options opt = {.name = "client", .group = &s->clients, .arg_size = sizeof c};
    int rc;
    while ((rc = rota_spawn_at(here, NULL, client_main, &c, &opt)) == -ENOMEM || rc == -EAGAIN) {
        rc = pause_for_memory(s);
        if (rc < 0)
            break;
    }
    if (rc < 0)
        (void)rota__fd_close(s->loop, fd);
    else
        s->active++;
    return rc;
}

static intptr_t acceptor_main(void *arg) {
    struct server *s = arg;
    int rc = 0;
    while (rc == 0) {
        if (s->max && s->active >= s->max) {
            rc = wait_for_client(s, ROTA_FOREVER);
            continue;
        }
        int fd = rota_accept(s->fd, NULL, NULL);
        if (fd >= 0)
            rc = start_client(s, fd);
        else if (fd == -ENOMEM || fd == -ENOBUFS)
            rc = pause_for_memory(s);
        else if (fd != -EMFILE && fd != -ENFILE) /* after these the next accept waits by itself */
            rc = fd;
    }
    return rc;
}

/* ---- the server ---- */

/* Inside `outer`: runs the acceptor until it ends, then the clients until they have. */
static int accept_and_drain(struct server *s, rota_group *outer, int64_t drain, struct rota__crew *crew) {
    rota_scope shield;
    rota_task *acceptor;
    intptr_t outcome = 0;
    rota_shield_begin(&shield, ROTA_FOREVER);
    rota_group_begin(&s->clients, &(rota_group_options){.keep_going = true});
    int rc = rota_spawn_at(here, &acceptor, acceptor_main, s, &(rota_spawn_options){.name = "acceptor", .group = outer});
    if (rc == 0)
        rc = rota_await(acceptor, &outcome);
    (void)rota__fd_close(s->loop, s->fd); /* at once: who connects from now on is refused, not left waiting */
    if (crew)
        rota__crew_stop(crew);
    if (s->stopping)
        s->stopping(s->arg);
    if (drain > 0)
        rota_scope_limit(&s->clients.scope, drain);
    else
        rota_scope_cancel(&s->clients.scope, "the server stops");
    intptr_t ignored = rota_group_end(&s->clients, 0);
    ignored = rota_scope_end(&shield, 0);
    (void)ignored;
    rc = rc < 0 ? rc : (int)outcome;
    return crew ? rota__crew_join(crew, rc) : rc;
}

int rota__serve(rota_task *task, int fd, const struct rota__service *service) {
    struct server s = {.fd = fd, .max = service->max_clients, .client = service->client, .arg = service->arg,
                       .stopping = service->stopping, .loop = task->loop};
    struct rota__crew *crew = NULL;
    rota_group outer;
    rota_group_begin(&outer, NULL);
    int rc = service->threads > 1 ? rota__crew_start(&crew, task, fd, service, &outer.scope) : 0;
    if (rc == 0)
        rc = accept_and_drain(&s, &outer, service->drain, crew);
    else
        (void)rota__fd_close(s.loop, fd);
    return (int)rota_group_end(&outer, rc);
}

static const rota_serve_options defaults;

static int describe(rota_client_fn *client, void *arg, const rota_serve_options *opt, struct rota__service *out) {
    if (!client || opt->drain < 0 || opt->threads > ROTA__CREW_MAX)
        return -EINVAL;
    unsigned threads = opt->threads ? opt->threads : 1;
    *out = (struct rota__service){
        .client = client, .arg = arg, .threads = threads, .drain = opt->drain, .backlog = opt->listen.backlog,
        .max_clients = opt->max_clients / threads + (opt->max_clients % threads != 0), .loop = opt->loop,
        .stopping = opt->stopping,
    };
    return 0;
}

int rota_serve(const char *host, const char *port, rota_client_fn *client, void *arg, const rota_serve_options *opt) {
    rota__leave_forgotten();
    struct rota__service service;
    opt = opt ? opt : &defaults;
    rota_task *task;
    int rc = rota__enter(&task);
    if (rc == 0)
        rc = describe(client, arg, opt, &service);
    if (rc < 0)
        return rc;
    int fd = rota_listen(host, port, &opt->listen);
    if (fd < 0)
        return fd;
    service.spread = rota__sys_spreads_connections();
    if (opt->listening)
        opt->listening(fd, arg);
    return rota__serve(task, fd, &service);
}

/* A connected socket would be waited on for ever: its data are no connections. */
static int check_listens(int fd) {
    int listens = 0;
    socklen_t len = sizeof listens;
    int rc = rota__sys_getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
    return rc < 0 ? rc : listens ? 0 : -EINVAL;
}

int rota_serve_fd(int listener, rota_client_fn *client, void *arg, const rota_serve_options *opt) {
    rota__leave_forgotten();
    struct rota__service service;
    opt = opt ? opt : &defaults;
    rota_task *task;
    int rc = rota__enter(&task);
    if (rc == 0)
        rc = describe(client, arg, opt, &service);
    if (rc == 0)
        rc = check_listens(listener);
    /* Who else accepts from this queue, a thread of ours or another process, can be faster than an accept that
     * readiness was announced for; it must not block the loop then. */
    if (rc == 0)
        rc = rota__sys_set_nonblocking(listener, 1);
    if (rc < 0) {
        (void)rota_close(listener);
        return rc;
    }
    if (opt->listening)
        opt->listening(listener, arg);
    return rota__serve(task, listener, &service);
}
