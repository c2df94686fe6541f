/* PostgreSQL for tasks, by the asynchronous calls of libpq: connect, exec and its kin, rows one by one, COPY, LISTEN,
 * cancelling.
 *
 * libpq is asked what it waits for, the task waits for that by rota_poll, and libpq goes on. Invariant: one task at a
 * time is between begin and end; the struct is freed by the last of its users (the owner, the call under way, the
 * settler), while the connection goes with the owner. libpq closes and opens descriptors by itself, so after every call
 * in which it may, the loop is told (follow_fd). It must not know SQL.
 */
#include "rota/pq.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/adapter.h"
#include "rota/executor.h"
#include "rota/sync.h"

enum { MAX_ADDRESSES = 8 };

struct rota_pq {
    rota_loop *loop;
    PGconn *conn;            /* NULL: closed */
    int fd;                  /* that the loop knows; -1: none */
    int error;               /* the connection is of no more use */
    bool busy;               /* a task is in a call */
    bool settling;           /* the settler is at work */
    rota_event settled;
    unsigned users;
};

static void unref(rota_pq *pq) {
    if (--pq->users == 0)
        free(pq);
}

/* ---- waiting for libpq ---- */

static void follow_fd(rota_pq *pq) {
    int fd = PQsocket(pq->conn);
    if (fd == pq->fd)
        return;
    if (pq->fd >= 0)
        (void)rota_fd_forget(pq->loop, pq->fd);
    pq->fd = fd;
}

static int lost(rota_pq *pq) {
    if (PQstatus(pq->conn) == CONNECTION_OK)
        return -ENOMEM; /* the only other reason that libpq has */
    pq->error = -ECONNRESET;
    follow_fd(pq);
    return pq->error;
}

/* (S) What the descriptor is ready for. */
static int wait_for(rota_pq *pq, unsigned events) {
    int ready = rota_poll(pq->fd, events);
    return pq->conn ? ready : -ESHUTDOWN;
}

/* (S) Until something has been received. */
static int receive(rota_pq *pq) {
    int rc = wait_for(pq, ROTA_READ);
    if (rc < 0)
        return rc;
    return PQconsumeInput(pq->conn) ? 0 : lost(pq);
}

/* (S) Reads meanwhile: the server may wait for that before it goes on reading itself. */
static int flush(rota_pq *pq) {
    int left;
    while ((left = PQflush(pq->conn)) == 1) {
        int ready = wait_for(pq, ROTA_READ | ROTA_WRITE);
        if (ready < 0)
            return ready;
        if (ready & ROTA_READ && !PQconsumeInput(pq->conn))
            return lost(pq);
    }
    return left < 0 ? lost(pq) : 0;
}

/* (S) The next result, or NULL when there are no more. */
static int next_result(rota_pq *pq, PGresult **result) {
    while (PQisBusy(pq->conn)) {
        int rc = receive(pq);
        if (rc < 0)
            return rc;
    }
    *result = PQgetResult(pq->conn);
    if (PQstatus(pq->conn) != CONNECTION_BAD)
        return 0;
    PQclear(*result);
    *result = NULL;
    return lost(pq);
}

/* ---- giving a command up ---- */

static intptr_t send_cancel(void *arg) {
    char why[256];
    return PQcancel(arg, why, sizeof why) ? 0 : -EIO;
}

static void free_cancel(void *arg) { PQfreeCancel(arg); }

static bool is_copy(ExecStatusType status, bool in) {
    return status == (in ? PGRES_COPY_IN : PGRES_COPY_OUT) || status == PGRES_COPY_BOTH;
}

/* (S) Drops what is left of a COPY to us. */
static int drop_copy(rota_pq *pq) {
    char *row;
    int n;
    while ((n = PQgetCopyData(pq->conn, &row, 1)) >= 0) {
        int rc = 0;
        if (n > 0)
            PQfreemem(row);
        else
            rc = receive(pq);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* (S) Fetches and drops all results. */
static int drop_results(rota_pq *pq) {
    for (;;) {
        PGresult *result;
        int rc = next_result(pq, &result);
        if (rc < 0 || !result)
            return rc;
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (is_copy(status, true)) {
            if (PQputCopyEnd(pq->conn, "given up") < 0)
                return lost(pq);
            rc = flush(pq);
        } else if (is_copy(status, false)) {
            rc = drop_copy(pq);
        }
        if (rc < 0)
            return rc;
    }
}

/* PQcancel makes a connection of its own and blocks until the server has closed it: a job for a thread. What it
 * cancelled is surely this command, because no other is sent before it is through. */
static int settle(rota_pq *pq) {
    int rc = flush(pq);
    if (rc < 0)
        return rc;
    PGcancel *cancel = PQgetCancel(pq->conn);
    if (!cancel)
        return -ENOMEM;
    rota_offload_options opt = {.abandon = true, .destroy = free_cancel};
    intptr_t outcome;   /* when it failed, the command goes on to its own end */
    rc = rota_offload(send_cancel, cancel, &outcome, &opt);
    if (!pq->conn)
        return -ESHUTDOWN;
    return rc < 0 ? rc : drop_results(pq);
}

static intptr_t settler(void *arg) {
    rota_pq *pq = arg;
    int rc = pq->conn ? settle(pq) : -ESHUTDOWN;
    if (rc < 0 && pq->error == 0)
        pq->error = rc;
    pq->settling = false;
    rota_event_set(&pq->settled);
    unref(pq);
    return 0;
}

static int give_up(rota_pq *pq) {
    if (!pq->conn || pq->error || pq->settling || PQtransactionStatus(pq->conn) != PQTRANS_ACTIVE)
        return 0;
    pq->users++;
    pq->settling = true;
    rota_event_clear(&pq->settled);
    int rc = rota_spawn(NULL, settler, pq, &(rota_spawn_options){.name = "rota-pq settler"});
    if (rc == 0)
        return 0;
    pq->error = rc;
    pq->settling = false;
    pq->users--;
    return rc;
}

int rota_pq_cancel(rota_pq *pq) {
    if (!pq)
        return -EINVAL;
    if (pq->loop != rota_loop_current())
        return -EPERM;
    return pq->busy ? -EBUSY : give_up(pq);
}

/* ---- connecting ---- */

static void set_text(char *to, size_t n, const char *text) {
    if (!to || n == 0)
        return;
    size_t length = strlen(text);
    length = length < n ? length : n - 1;
    memcpy(to, text, length);
    to[length] = '\0';
}

/* What libpq is given: at most as many options as it knows. */
struct options {
    const char **names, **values;
    char *hosts, *addresses;     /* the host as often as it has addresses, and these */
};

static void options_free(struct options *o) {
    free(o->names);
    free(o->values);
    free(o->hosts);
    free(o->addresses);
}

/* (S) hostaddr, so that libpq has nothing to resolve: it would block. */
static int resolve(struct options *o, const char *host) {
    rota_address addresses[MAX_ADDRESSES];
    int n = rota_resolve(host, NULL, AF_UNSPEC, addresses, MAX_ADDRESSES);
    if (n < 0)
        return n;
    o->hosts = calloc((size_t)n, strlen(host) + 1);
    o->addresses = calloc((size_t)n, NI_MAXHOST);
    if (!o->hosts || !o->addresses)
        return -ENOMEM;
    char *hosts = o->hosts, *numbers = o->addresses;
    for (int i = 0; i < n; i++) {
        if (i > 0)
            *hosts++ = *numbers++ = ',';
        if (getnameinfo((struct sockaddr *)&addresses[i].addr, addresses[i].len, numbers, NI_MAXHOST - 1, NULL, 0,
                        NI_NUMERICHOST) != 0)
            return -EINVAL;
        numbers += strlen(numbers);
        memcpy(hosts, host, strlen(host) + 1);
        hosts += strlen(host);
    }
    return 0;
}

/* (S) */
static int options_fill(struct options *o, const PQconninfoOption *given) {
    const char *host = NULL, *address = NULL;
    size_t n = 0, used = 0;
    for (const PQconninfoOption *it = given; it->keyword; it++) {
        n++;
        if (it->val && strcmp(it->keyword, "host") == 0)
            host = it->val;
        if (it->val && strcmp(it->keyword, "hostaddr") == 0)
            address = it->val;
    }
    o->names = calloc(n + 2, sizeof *o->names);
    o->values = calloc(n + 2, sizeof *o->values);
    if (!o->names || !o->values)
        return -ENOMEM;
    bool resolves = host && *host && *host != '/' && *host != '@' && !strchr(host, ',') && !address;
    int rc = resolves ? resolve(o, host) : 0;
    for (const PQconninfoOption *it = given; it->keyword; it++)
        if (it->val) {
            o->names[used] = it->keyword;
            o->values[used++] = resolves && it->val == host ? o->hosts : it->val;
        }
    if (resolves) {
        o->names[used] = "hostaddr";
        o->values[used] = o->addresses;
    }
    return rc;
}

static void drop_notice(void *arg, const PGresult *notice) { (void)arg, (void)notice; }

/* (S) libpq may close its descriptor and open another one, perhaps with the same number, in each step: so the loop
 * forgets it before. */
static int handshake(PGconn *conn) {
    bool reached = false;
    PostgresPollingStatusType next = PQstatus(conn) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
        int fd = PQsocket(conn);
        int rc = rota_poll(fd, next == PGRES_POLLING_READING ? ROTA_READ : ROTA_WRITE);
        (void)rota_forget(fd);
        if (rc < 0)
            return rc;
        next = PQconnectPoll(conn);
        reached = reached || PQstatus(conn) == CONNECTION_AWAITING_RESPONSE || PQstatus(conn) == CONNECTION_SSL_STARTUP;
    }
    if (next == PGRES_POLLING_OK)
        return PQsetnonblocking(conn, 1) == 0 ? 0 : -ENOMEM;
    return reached ? -EACCES : -ECONNREFUSED;
}

static int connect_with(rota_pq **out, const struct options *o, char *why, size_t n) {
    rota_pq *pq = calloc(1, sizeof *pq);
    PGconn *conn = pq ? PQconnectStartParams(o->names, o->values, 0) : NULL;
    int rc = conn ? 0 : -ENOMEM;
    if (conn) {
        (void)PQsetNoticeReceiver(conn, drop_notice, NULL);
        rc = handshake(conn);
    }
    if (rc < 0) {
        if (conn)
            set_text(why, n, PQerrorMessage(conn));
        PQfinish(conn);
        free(pq);
        return rc;
    }
    pq->loop = rota_loop_current();
    pq->conn = conn;
    pq->fd = PQsocket(conn);
    pq->users = 1;
    *out = pq;
    return 0;
}

int rota_pq_connect(rota_pq **out, const char *conninfo, char *why, size_t n) {
    set_text(why, n, "");
    if (!out)
        return -EINVAL;
    *out = NULL;
    int rc = adapter_enter();
    if (rc < 0)
        return rc;
    char *text = NULL;
    struct options o = {0};
    PQconninfoOption *given = PQconninfoParse(conninfo ? conninfo : "", &text);
    if (!given) {
        set_text(why, n, text ? text : "");
        rc = text ? -EINVAL : -ENOMEM;
        PQfreemem(text);
        return rc;
    }
    rc = options_fill(&o, given);
    if (rc == 0)
        rc = connect_with(out, &o, why, n);
    options_free(&o);
    PQconninfoFree(given);
    return rc;
}

int rota_pq_close(rota_pq *pq) {
    if (!pq || !pq->conn)
        return pq ? -EINVAL : 0;
    PGconn *conn = pq->conn;
    int rc = pq->fd >= 0 ? rota_fd_forget(pq->loop, pq->fd) : 0;
    if (rc == -EPERM)
        return rc;
    pq->conn = NULL;    /* those who were woken look at this first */
    pq->error = -ESHUTDOWN;
    rota_event_set(&pq->settled);
    PQfinish(conn);
    unref(pq);
    return 0;
}

PGconn *rota_pq_conn(rota_pq *pq) { return pq ? pq->conn : NULL; }

/* ---- calls ---- */

/* (S) fresh: the call begins something, and nothing may be under way. On success the caller must end. */
static int begin(rota_pq *pq, bool fresh) {
    int rc = adapter_enter();
    if (rc < 0)
        return rc;
    if (!pq)
        return -EINVAL;
    if (pq->loop != rota_loop_current())
        return -EPERM;
    if (pq->busy)
        return -EBUSY;
    pq->busy = true;
    pq->users++;
    while (rc == 0 && pq->settling && pq->error == 0)
        rc = rota_event_wait(&pq->settled);
    if (rc == 0)
        rc = pq->error;
    if (rc == 0 && fresh && PQtransactionStatus(pq->conn) == PQTRANS_ACTIVE)
        rc = -EBUSY;
    if (rc < 0) {
        pq->busy = false;
        unref(pq);
    }
    return rc;
}

static int end(rota_pq *pq, int rc) {
    pq->busy = false;
    unref(pq);
    return rc;
}

static int refused(rota_pq *pq) { return PQstatus(pq->conn) == CONNECTION_BAD ? lost(pq) : -EINVAL; }

/* The last result goes out; or, where nobody wants it, what it says. */
static int hand_over(PGresult *last, PGresult **result) {
    if (result) {
        *result = last;
        return 0;
    }
    ExecStatusType status = PQresultStatus(last);
    PQclear(last);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE ? -EIO : 0;
}

/* (S) What was given to libpq is sent, and its last result fetched. Cut short, it is given up. */
static int finish(rota_pq *pq, PGresult **result) {
    PGresult *last = NULL, *next = NULL;
    int rc = flush(pq);
    while (rc == 0 && (rc = next_result(pq, &next)) == 0 && next) {
        PQclear(last);
        last = next;
        if (is_copy(PQresultStatus(last), true) || is_copy(PQresultStatus(last), false))
            break;
    }
    if (rc == 0 && last)
        return hand_over(last, result);
    PQclear(last);
    if (rc < 0)
        (void)give_up(pq);
    return rc < 0 ? rc : -EIO;
}

static void clear(PGresult **result) {
    if (result)
        *result = NULL;
}

static const rota_pq_params no_params;

int rota_pq_exec(rota_pq *pq, PGresult **result, const char *sql) {
    clear(result);
    int rc = begin(pq, true);
    if (rc < 0)
        return rc;
    return end(pq, sql && PQsendQuery(pq->conn, sql) ? finish(pq, result) : refused(pq));
}

int rota_pq_exec_params(rota_pq *pq, PGresult **result, const char *sql, const rota_pq_params *p) {
    clear(result);
    p = p ? p : &no_params;
    int rc = begin(pq, true);
    if (rc < 0)
        return rc;
    return end(pq, sql && PQsendQueryParams(pq->conn, sql, p->n, p->types, p->values, p->lengths, p->formats,
                                            p->result_format) ? finish(pq, result) : refused(pq));
}

int rota_pq_prepare(rota_pq *pq, PGresult **result, const char *name, const char *sql, int n, const Oid *types) {
    clear(result);
    int rc = begin(pq, true);
    if (rc < 0)
        return rc;
    return end(pq, name && sql && PQsendPrepare(pq->conn, name, sql, n, types) ? finish(pq, result) : refused(pq));
}

int rota_pq_exec_prepared(rota_pq *pq, PGresult **result, const char *name, const rota_pq_params *p) {
    clear(result);
    p = p ? p : &no_params;
    int rc = begin(pq, true);
    if (rc < 0)
        return rc;
    return end(pq, name && PQsendQueryPrepared(pq->conn, name, p->n, p->values, p->lengths, p->formats,
                                               p->result_format) ? finish(pq, result) : refused(pq));
}

/* ---- rows one by one ---- */

int rota_pq_send(rota_pq *pq, const char *sql, const rota_pq_params *p) {
    p = p ? p : &no_params;
    int rc = begin(pq, true);
    if (rc < 0)
        return rc;
    if (!sql || !PQsendQueryParams(pq->conn, sql, p->n, p->types, p->values, p->lengths, p->formats, p->result_format))
        return end(pq, refused(pq));
    (void)PQsetSingleRowMode(pq->conn);
    rc = flush(pq);
    if (rc < 0)
        (void)give_up(pq);
    return end(pq, rc);
}

int rota_pq_next(rota_pq *pq, PGresult **result) {
    if (!result)
        return -EINVAL;
    *result = NULL;
    int rc = begin(pq, false);
    if (rc < 0)
        return rc;
    rc = next_result(pq, result);
    return end(pq, rc < 0 ? rc : *result != NULL);
}

/* ---- COPY ---- */

int rota_pq_put_copy(rota_pq *pq, const char *data, size_t n) {
    int rc = begin(pq, false);
    if (rc < 0)
        return rc;
    if ((!data && n) || n > INT32_MAX)
        return end(pq, -EINVAL);
    /* The pieces before it go first: so libpq never holds more than one. */
    rc = flush(pq);
    int taken = 0;
    while (rc == 0 && (taken = PQputCopyData(pq->conn, data, (int)n)) == 0) {
        int ready = wait_for(pq, ROTA_WRITE);
        rc = ready < 0 ? ready : 0;
    }
    if (rc == 0 && taken < 0)
        rc = refused(pq);
    if (rc == 0 && PQflush(pq->conn) < 0)
        rc = lost(pq);
    return end(pq, rc);
}

int rota_pq_end_copy(rota_pq *pq, PGresult **result, const char *error) {
    clear(result);
    int rc = begin(pq, false);
    if (rc < 0)
        return rc;
    rc = flush(pq);
    if (rc < 0)
        return end(pq, rc);
    return end(pq, PQputCopyEnd(pq->conn, error) == 1 ? finish(pq, result) : refused(pq));
}

ssize_t rota_pq_get_copy(rota_pq *pq, char **row) {
    if (!row)
        return -EINVAL;
    *row = NULL;
    int rc = begin(pq, false);
    if (rc < 0)
        return rc;
    if (PQtransactionStatus(pq->conn) != PQTRANS_ACTIVE)
        return end(pq, -EINVAL);
    int n;
    while ((n = PQgetCopyData(pq->conn, row, 1)) == 0) {
        rc = receive(pq);
        if (rc < 0)
            return end(pq, rc);
    }
    if (n == -2)
        return end(pq, PQstatus(pq->conn) == CONNECTION_BAD ? lost(pq) : -EIO);
    return end(pq, n < 0 ? 0 : n);
}

/* ---- notifications ---- */

int rota_pq_notification(rota_pq *pq, PGnotify **notification) {
    if (!notification)
        return -EINVAL;
    *notification = NULL;
    int rc = begin(pq, true);
    while (rc == 0 && !(*notification = PQnotifies(pq->conn))) {
        rc = receive(pq);
        if (rc < 0)
            return end(pq, rc);
    }
    return rc < 0 ? rc : end(pq, 0);
}
