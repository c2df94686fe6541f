/* The other threads of a server: each has a loop of its own, which serves like the one that was asked to.
 *
 * Who touches what. A member's `remote` and the crew's `stopping` are read and written under the lock: the remote is
 * there from the moment in which its loop can be told to stop to the moment in which it has stopped anyway. `running`,
 * `error` and `waiter` belong to the first loop's thread: members reach it by one post each, their last act. Invariant:
 * a member that was started posts exactly once, and the crew is freed after that and after its thread was joined, so
 * that no thread ever looks at memory that is gone.
 *
 * Only threads are waited for, and they only for their clients' draining: so joining one blocks for the few
 * instructions after its post.
 *
 * It must not know how a loop serves.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

#include "coro/fd.h"
#include "coro/serve.h"

enum { BACKLOG_DEFAULT = 511 };

struct member {
    struct rota__crew *crew;
    pthread_t thread;
    int fd;                    /* its listener, until it serves */
    int error;                 /* what its serving ended with */
    rota_task *task;           /* its main task, of its own loop */
    rota_remote *remote;       /* to its loop; NULL: not running yet, or not any more */
    rota_soon stop;            /* posted to its loop */
    rota_soon ended;           /* posted to the first loop */
};

struct rota__crew {
    pthread_mutex_t lock;
    bool stopping;
    struct rota__service service;      /* for one member: with one thread */
    rota_loop *loop;                   /* the first one */
    rota_remote *first;                /* to it */
    rota_scope *scope;
    size_t running;                    /* members that have not ended */
    int error;                         /* the first one of a member that ended unasked */
    struct rota__wait *waiter;         /* rota__crew_join */
    size_t size;                       /* of this block */
    unsigned n;                        /* that were started */
    struct member members[];
};

/* ---- listeners ---- */

static int set(int fd, int level, int name, int value) {
    return rota__sys_setsockopt(fd, level, name, &value, sizeof value);
}

static int bind_like(int fd, int first, const struct sockaddr_storage *addr, socklen_t len, int backlog) {
    int v6only = 0;
    socklen_t size = sizeof v6only;
    int rc = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
#ifdef SO_REUSEPORT
    if (rc == 0)
        rc = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
#endif
    if (rc == 0 && addr->ss_family == AF_INET6)
        rc = rota__sys_getsockopt(first, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &size);
    if (rc == 0 && addr->ss_family == AF_INET6)
        rc = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
    if (rc == 0)
        rc = rota__sys_bind(fd, (const struct sockaddr *)addr, len);
    return rc == 0 ? rota__sys_listen(fd, backlog > 0 ? backlog : BACKLOG_DEFAULT) : rc;
}

/* The first listener was bound without SO_REUSEPORT, if its options did not ask for it, and gets it only now: so a
 * server that is started a second time by mistake still fails with -EADDRINUSE, instead of taking every other
 * connection. */
static int listener_of_its_own(int first, int backlog) {
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    int rc = rota__sys_getsockname(first, (struct sockaddr *)&addr, &len);
#ifdef SO_REUSEPORT
    if (rc == 0)
        rc = set(first, SOL_SOCKET, SO_REUSEPORT, 1);
#endif
    int fd = rc < 0 ? rc : rota__sys_socket(addr.ss_family, SOCK_STREAM, 0);
    if (fd < 0)
        return fd;
    rc = bind_like(fd, first, &addr, len, backlog);
    if (rc < 0)
        (void)rota__sys_close(fd);
    return rc < 0 ? rc : fd;
}

/* Shared: one queue, of which each accept takes one. A descriptor of its own even so: a number that several loops close
 * is closed under somebody. */
static int new_listener(int first, const struct rota__service *service) {
    int fd = service->spread ? listener_of_its_own(first, service->backlog) : -1;
    return fd >= 0 ? fd : rota__sys_dup_fd(first);
}

/* ---- a member's thread ---- */

/* On the member's loop. */
static void told_to_stop(rota_soon *soon, void *arg) {
    struct member *m = arg;
    (void)soon;
    (void)rota_cancel(m->task, "the server stops");
}

/* Can it be told from now on? False when it was too late for that. */
static bool introduce(struct member *m, rota_remote *remote) {
    pthread_mutex_lock(&m->crew->lock);
    bool welcome = !m->crew->stopping;
    if (welcome)
        m->remote = remote;
    pthread_mutex_unlock(&m->crew->lock);
    return welcome;
}

static void take_leave(struct member *m) {
    pthread_mutex_lock(&m->crew->lock);
    m->remote = NULL;
    pthread_mutex_unlock(&m->crew->lock);
}

static intptr_t member_task(void *arg) {
    struct member *m = arg;
    rota_remote *remote;
    int rc = rota_remote_open(&remote, NULL);
    if (rc < 0)
        return rc;
    m->task = rota_self();
    rc = -ECANCELED;
    if (introduce(m, remote)) {
        int fd = m->fd;
        m->fd = -1;
        rc = rota__serve(m->task, fd, &m->crew->service);
        take_leave(m);
    }
    rota_remote_close(remote);
    return rc;
}

static void *member_main(void *arg) {
    struct member *m = arg;
    rota_remote *first = m->crew->first;
    m->error = rota_run(member_task, m, NULL, m->crew->service.loop);
    if (m->fd >= 0)
        (void)rota__sys_close(m->fd);
    (void)!rota_remote_post(first, &m->ended);
    return NULL;
}

/* ---- the first loop's side ---- */

/* On the first loop, once for each member. */
static void member_ended(rota_soon *soon, void *arg) {
    struct member *m = arg;
    struct rota__crew *crew = m->crew;
    (void)soon;
    crew->running--;
    if (!crew->stopping) {
        crew->error = crew->error ? crew->error : m->error;
        rota_scope_cancel(crew->scope, "a thread of the server has failed");
    }
    if (crew->running == 0 && crew->waiter) {
        struct rota__wait *wait = crew->waiter;
        crew->waiter = NULL;
        (void)rota__wake(wait->task, 0);
    }
}

static int start_member(struct rota__crew *crew, int first, const struct rota__service *service) {
    struct member *m = &crew->members[crew->n];
    memset(m, 0, sizeof *m);
    m->crew = crew;
    rota_soon_init(&m->stop, told_to_stop, m);
    rota_soon_init(&m->ended, member_ended, m);
    m->fd = new_listener(first, service);
    if (m->fd < 0)
        return m->fd;
    int fd = m->fd, rc = rota__sys_thread(&m->thread, member_main, m, 0);
    if (rc < 0) {
        (void)rota__sys_close(fd);
        return rc;
    }
    crew->n++;
    crew->running++;
    return 0;
}

static int new_crew(struct rota__crew **out, rota_loop *loop, const struct rota__service *service, rota_scope *scope) {
    size_t size = sizeof(struct rota__crew) + (service->threads - 1) * sizeof(struct member);
    struct rota__crew *crew = rota__alloc(&loop->allocator, size);
    if (!crew)
        return -ENOMEM;
    memset(crew, 0, sizeof *crew);
    crew->size = size;
    crew->loop = loop;
    crew->scope = scope;
    crew->service = *service;
    crew->service.threads = 1;
    int rc = rota_remote_open(&crew->first, loop);
    if (rc == 0 && pthread_mutex_init(&crew->lock, NULL) != 0) {
        rota_remote_close(crew->first);
        rc = -ENOMEM;
    }
    if (rc < 0)
        rota__free(&loop->allocator, crew, size);
    else
        *out = crew;
    return rc;
}

static void free_crew(struct rota__crew *crew) {
    rota_loop *loop = crew->loop;
    pthread_mutex_destroy(&crew->lock);
    rota_remote_close(crew->first);
    rota__free(&loop->allocator, crew, crew->size);
}

int rota__crew_start(struct rota__crew **out, rota_task *task, int fd, const struct rota__service *service,
                     rota_scope *scope) {
    struct rota__crew *crew;
    int rc = new_crew(&crew, task->loop, service, scope);
    if (rc < 0)
        return rc;
    for (unsigned i = 1; i < service->threads && rc == 0; i++)
        rc = start_member(crew, fd, service);
    if (rc == 0) {
        *out = crew;
        return 0;
    }
    rota__crew_stop(crew);
    return rota__crew_join(crew, rc);
}

void rota__crew_stop(struct rota__crew *crew) {
    pthread_mutex_lock(&crew->lock);
    crew->stopping = true;
    for (unsigned i = 0; i < crew->n; i++)
        if (crew->members[i].remote)
            (void)!rota_remote_post(crew->members[i].remote, &crew->members[i].stop);
    pthread_mutex_unlock(&crew->lock);
}

int rota__crew_join(struct rota__crew *crew, int rc) {
    rota_task *task = crew->loop->running;
    while (crew->running) {
        struct rota__wait wait = {.what = "the threads of a server", .on = crew, .until = ROTA_FOREVER};
        crew->waiter = &wait;
        crew->loop->jobs++;
        (void)rota__park(task, &wait);
        crew->loop->jobs--;
    }
    for (unsigned i = 0; i < crew->n; i++)
        (void)rota__sys_thread_join(crew->members[i].thread);
    if (rc == -ECANCELED && crew->error)
        rc = crew->error;
    free_crew(crew);
    return rc;
}
