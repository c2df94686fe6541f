/* The client's connections, and who waits for one: rota_http_client_open, _close.
 *
 * A task that finds the limits reached queues a waiter and looks again whenever it is woken. Waking hands nothing over,
 * so a waiter that is cancelled loses nothing: whoever leaves the queue, for whatever reason, wakes the next one that
 * could go on. Newcomers queue behind every waiter that could go on, so nobody is overtaken.
 *
 * Invariant: client->open_ counts the connections in client->conns_. A connection in use outlives the client: its
 * client is NULL then. */
#include "adapters/http/pool.h"

#include <string.h>
#include <sys/socket.h>

#include "adapters/http/text.h"

enum { PER_HOST = 6, CONNECTIONS = 64, OUT_SIZE = 8 * 1024 };

struct rota__http_waiter {
    struct rota__http_waiter *next, *prev;
    const rota_http_url *url;
    bool fresh;
    bool closed;       /* the client is; its memory may be gone, and this is in no queue */
    rota_future woken;
};

/* ---- connections -------------------------------------------------------------------------------- */

static void link_first(rota_http_client *client, struct rota__http_conn *conn) {
    conn->prev = NULL;
    conn->next = client->conns_;
    if (conn->next != NULL)
        conn->next->prev = conn;
    client->conns_ = conn;
    client->open_++;
}

static void unlink_conn(struct rota__http_conn *conn) {
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        conn->client->conns_ = conn->next;
    conn->client->open_--;
}

static void destroy(struct rota__http_conn *conn) {
    if (conn->client != NULL) {
        rota_timer_stop(conn->client->loop_, &conn->timer);
        unlink_conn(conn);
    }
    if (conn->connected)
        rota_stream_close(&conn->stream);
    rota_allocator allocator = conn->allocator;
    rota__http_free(&allocator, conn, conn->size);
}

static struct rota__http_conn *create(rota_http_client *client, const rota_http_url *url) {
    size_t in_size = client->opt_.head_max + ROTA__HTTP_BODY_ROOM;
    size_t size = sizeof(struct rota__http_conn) + in_size + OUT_SIZE;
    struct rota__http_conn *conn = rota__http_alloc(&client->allocator_, size);
    if (conn == NULL)
        return NULL;
    memset(conn, 0, offsetof(struct rota__http_conn, wire));
    conn->client = client;
    conn->allocator = client->allocator_;
    conn->size = size;
    conn->head_max = client->opt_.head_max;
    conn->secure = url->secure;
    memcpy(conn->host, url->host, sizeof conn->host);
    memcpy(conn->port, url->port, sizeof conn->port);
    rota__http_wire_init(&conn->wire, &conn->stream, conn->memory, in_size, OUT_SIZE);
    link_first(client, conn);
    return conn;
}

static bool goes_to(const struct rota__http_conn *conn, const rota_http_url *url) {
    return conn->secure == url->secure && strcmp(conn->port, url->port) == 0 && rota__http_same(conn->host, url->host);
}

/* The one that was used last: the others may then end for want of use. */
static struct rota__http_conn *find_idle(const rota_http_client *client, const rota_http_url *url) {
    for (struct rota__http_conn *c = client->conns_; c != NULL; c = c->next)
        if (c->idle && goes_to(c, url))
            return c;
    return NULL;
}

static struct rota__http_conn *oldest_idle(const rota_http_client *client) {
    struct rota__http_conn *found = NULL;
    for (struct rota__http_conn *c = client->conns_; c != NULL; c = c->next)
        found = c->idle ? c : found;
    return found;
}

static unsigned count_to(const rota_http_client *client, const rota_http_url *url) {
    unsigned n = 0;
    for (struct rota__http_conn *c = client->conns_; c != NULL; c = c->next)
        n += goes_to(c, url);
    return n;
}

/* Has the server ended it, or sent something that nobody asked for, which would be taken for the next answer? What is
 * there on a TLS connection may be a session ticket, so it tells nothing. */
static bool is_stale(const struct rota__http_conn *conn) {
    char byte;
    ssize_t n = recv(conn->stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0)
        return errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOTSOCK && errno != EINTR;
    return n == 0 || !conn->secure;
}

/* ---- waiting ------------------------------------------------------------------------------------ */

static bool may_take(const rota_http_client *client, const rota_http_url *url, bool fresh) {
    if (!fresh && find_idle(client, url) != NULL)
        return true;
    if (count_to(client, url) >= client->opt_.per_host && find_idle(client, url) == NULL)
        return false;
    return client->open_ < client->opt_.connections || oldest_idle(client) != NULL;
}

static struct rota__http_waiter *first_that_may(const rota_http_client *client, bool asleep) {
    for (struct rota__http_waiter *w = client->first_; w != NULL; w = w->next)
        if (!(asleep && rota_future_done(&w->woken)) && may_take(client, w->url, w->fresh))
            return w;
    return NULL;
}

static void wake_next(rota_http_client *client) {
    struct rota__http_waiter *w = first_that_may(client, true);
    if (w != NULL) {
        int rc = rota_future_set(&w->woken, 0);
        (void)rc; /* it is neither set nor closed */
    }
}

static void queue(rota_http_client *client, struct rota__http_waiter *w) {
    w->prev = client->last_;
    w->next = NULL;
    if (w->prev != NULL)
        w->prev->next = w;
    else
        client->first_ = w;
    client->last_ = w;
}

static void unqueue(rota_http_client *client, struct rota__http_waiter *w) {
    if (w->next != NULL)
        w->next->prev = w->prev;
    else
        client->last_ = w->prev;
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        client->first_ = w->next;
}

/* Until the limits let the caller go on. */
static int wait_for_turn(rota_http_client *client, const rota_http_url *url, bool fresh) {
    if (first_that_may(client, false) == NULL && may_take(client, url, fresh))
        return 0;
    struct rota__http_waiter w = { .url = url, .fresh = fresh };
    queue(client, &w);
    int rc;
    do {
        rota_future_init(&w.woken);
        rc = rota_future_await(&w.woken, NULL);
    } while (rc == 0 && !w.closed && !may_take(client, url, fresh));
    if (w.closed)
        return rc < 0 ? rc : -ESHUTDOWN;
    unqueue(client, &w);
    if (rc < 0)
        wake_next(client); /* the wake-up may have been for us */
    return rc;
}

static struct rota__http_conn *take_idle(rota_http_client *client, const rota_http_url *url) {
    struct rota__http_conn *conn;
    while ((conn = find_idle(client, url)) != NULL) {
        if (is_stale(conn)) {
            destroy(conn);
            continue;
        }
        rota_timer_stop(client->loop_, &conn->timer);
        conn->idle = false;
        conn->reused = true;
        return conn;
    }
    return NULL;
}

int rota__http_pool_take(rota_http_client *client, const rota_http_url *url, bool fresh,
                         struct rota__http_conn **conn) {
    int rc = wait_for_turn(client, url, fresh);
    if (rc < 0)
        return rc;
    *conn = fresh ? NULL : take_idle(client, url);
    if (*conn == NULL) {
        struct rota__http_conn *same = find_idle(client, url); /* only when a fresh one is wanted */
        if (count_to(client, url) >= client->opt_.per_host && same != NULL)
            destroy(same);
        if (client->open_ >= client->opt_.connections)
            destroy(oldest_idle(client));
        *conn = create(client, url);
    }
    wake_next(client);
    return *conn != NULL ? 0 : -ENOMEM;
}

/* ---- giving back -------------------------------------------------------------------------------- */

static void unused(rota_timer *timer, void *arg) {
    struct rota__http_conn *conn = arg;
    rota_http_client *client = conn->client;
    (void)timer;
    destroy(conn);
    wake_next(client);
}

void rota__http_pool_give(struct rota__http_conn *conn) {
    rota_http_client *client = conn->client;
    if (client == NULL || !conn->keep || client->opt_.idle < 0) {
        destroy(conn);
    } else {
        unlink_conn(conn);
        link_first(client, conn);
        conn->idle = true;
        rota_timer_init(&conn->timer, unused, conn);
        if (rota_timer_start(client->loop_, &conn->timer, client->opt_.idle) < 0)
            destroy(conn); /* the loop closes */
    }
    if (client != NULL)
        wake_next(client);
}

/* ---- the client --------------------------------------------------------------------------------- */

int rota_http_client_open(rota_http_client *client, const rota_http_client_options *opt) {
    static const rota_http_client_options defaults;
    opt = opt != NULL ? opt : &defaults;
    if (client == NULL || opt->head_max > ROTA__HTTP_HEAD_LIMIT || rota_loop_current() == NULL)
        return -EINVAL;
    if (opt->user_agent != NULL && !rota__http_may_send("User-Agent", opt->user_agent))
        return -EINVAL;
    memset(client, 0, sizeof *client);
    client->opt_ = *opt;
    client->opt_.per_host = opt->per_host > 0 ? opt->per_host : PER_HOST;
    client->opt_.connections = opt->connections > 0 ? opt->connections : CONNECTIONS;
    client->opt_.idle = opt->idle != 0 ? opt->idle : 30 * ROTA_S;
    client->opt_.head_max = opt->head_max > 0 ? opt->head_max : ROTA__HTTP_HEAD_DEFAULT;
    client->allocator_ = rota__http_allocator(opt->allocator);
    client->opt_.allocator = NULL;
    client->loop_ = rota_loop_current();
    client->state_ = ROTA__HTTP_CLIENT_OPEN;
    return 0;
}

int rota_http_client_close(rota_http_client *client) {
    if (client == NULL)
        return -EINVAL;
    if (client->state_ != ROTA__HTTP_CLIENT_OPEN)
        return -EBADF;
    if (rota_loop_current() != client->loop_)
        return -EPERM;
    client->state_ = 0;
    while (client->conns_ != NULL) {
        struct rota__http_conn *conn = client->conns_;
        if (conn->idle) {
            destroy(conn);
            continue;
        }
        unlink_conn(conn);
        conn->client = NULL;
    }
    for (struct rota__http_waiter *w = client->first_; w != NULL; w = w->next) {
        w->closed = true;
        int rc = rota_future_set(&w->woken, 0);
        (void)rc; /* -EALREADY: it has been woken */
    }
    return 0;
}
