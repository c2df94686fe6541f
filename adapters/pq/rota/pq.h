/* PostgreSQL for tasks, by libpq: each call suspends its task until the server has answered.
 *
 * A connection does one thing at a time: while a task is in a call of it, or a command's results have not all been
 * fetched, other calls answer -EBUSY (several tasks take several connections, or a rota_mutex). It belongs to the loop
 * that was current when it was made, and is closed before that loop is freed; open, it does not keep the loop alive.
 * Results are libpq's, and the caller's to PQclear. libpq's own text for the latest error is
 * PQerrorMessage(rota_pq_conn(pq)). Notices are dropped, not printed (PQsetNoticeReceiver changes that).
 *
 * A command whose call is cancelled is cancelled at the server too, by a task of the adapter's in the background; the
 * next call waits until that is through, and the connection is good again. Inside a transaction, the transaction has
 * then failed.
 */
#ifndef ROTA_PQ_H
#define ROTA_PQ_H

#include <libpq-fe.h>

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rota_pq rota_pq;

/* (S) Connects as PQconnectdb does. The name of a host is resolved by rota_resolve, and all its addresses are tried;
 * with several hosts in conninfo, or one from the environment or a service file, libpq resolves, and blocks meanwhile.
 * Limits by scope (rota_timeout; connect_timeout has no effect). why (may be NULL) gets libpq's text on failure, at
 * most n bytes of it with the 0; else "".
 * -EINVAL (bad conninfo), -ECONNREFUSED (no server there), -EACCES (there is, and refuses: password, database,
 * starting up), errors of rota_resolve and rota_poll, -ENOMEM; *pq is NULL then. */
ROTA_API ROTA_CHECK int rota_pq_connect(rota_pq **pq, const char *conninfo, char *why, size_t n);

/* Closes and frees. A task inside a call wakes with -ESHUTDOWN. NULL is fine. -EPERM from another thread. */
ROTA_API int rota_pq_close(rota_pq *pq);

/* For all of libpq that does not block: PQerrorMessage, PQparameterStatus, PQescapeLiteral and the like. NULL for
 * NULL. */
ROTA_API PGconn *rota_pq_conn(rota_pq *pq);

/* Arguments for $1, $2 …, as PQexecParams has them; each array but values may be NULL. */
typedef struct rota_pq_params {
    int n;
    const Oid *types;
    const char *const *values;
    const int *lengths;
    const int *formats;
    int result_format;      /* 0 text, 1 binary */
} rota_pq_params;

/* (S) The command's result, of several the last. Two channels: returned is the fate of the call; an error of SQL is a
 * *result whose PQresultStatus says so. With result NULL it is dropped, and an error of SQL becomes -EIO. COPY gives
 * PGRES_COPY_IN or PGRES_COPY_OUT: go on with the calls below.
 * *result is NULL on failure. -ECONNRESET (the connection is lost; so answers every later call), -EBUSY, -ESHUTDOWN
 * (closed meanwhile), -EPERM (a task of another loop), -EINVAL, -ENOMEM. */
ROTA_API ROTA_CHECK int rota_pq_exec(rota_pq *pq, PGresult **result, const char *sql);
ROTA_API ROTA_CHECK int rota_pq_exec_params(rota_pq *pq, PGresult **result, const char *sql,
                                            const rota_pq_params *params);                     /* (S) */
ROTA_API ROTA_CHECK int rota_pq_prepare(rota_pq *pq, PGresult **result, const char *name, const char *sql, int n,
                                        const Oid *types);                                     /* (S) */
ROTA_API ROTA_CHECK int rota_pq_exec_prepared(rota_pq *pq, PGresult **result, const char *name,
                                              const rota_pq_params *params);                   /* (S) */

/* (S) Sends a command (params may be NULL) whose rows are then fetched one by one by rota_pq_next, without keeping them
 * all in memory. Errors as rota_pq_exec. */
ROTA_API ROTA_CHECK int rota_pq_send(rota_pq *pq, const char *sql, const rota_pq_params *params);

/* (S) 1 and the next result: PGRES_SINGLE_TUPLE with a row each, then one without rows; or an error of SQL. 0: there
 * are no more, and the connection is free. Cancelled, none is lost: call again, or give up by rota_pq_cancel. Errors
 * as rota_pq_exec. */
ROTA_API ROTA_CHECK int rota_pq_next(rota_pq *pq, PGresult **result);

/* Gives up a command that is under way (rota_pq_send, COPY): it is cancelled at the server, and what still comes of it
 * dropped. Never suspends; the next call waits. 0 also when there is none. -EBUSY: a task is in a call (cancel that);
 * errors of rota_spawn: the connection is of no more use then. */
ROTA_API int rota_pq_cancel(rota_pq *pq);

/* (S) COPY … FROM STDIN: n bytes, of which libpq keeps at most this one piece; cancelled, none of it was taken. Then
 * the end, error NULL; or a text by which the COPY is to fail; *result as rota_pq_exec. -EINVAL: no COPY of that
 * direction is under way. */
ROTA_API ROTA_CHECK int rota_pq_put_copy(rota_pq *pq, const char *data, size_t n);
ROTA_API ROTA_CHECK int rota_pq_end_copy(rota_pq *pq, PGresult **result, const char *error);   /* (S) */

/* (S) COPY … TO STDOUT: the next row, the caller's (PQfreemem), and its length; 0 at the end: fetch the outcome by
 * rota_pq_next until that gives 0. -EIO: the COPY failed, rota_pq_next tells why. Cancelled, none is lost. */
ROTA_API ROTA_CHECK ssize_t rota_pq_get_copy(rota_pq *pq, char **row);

/* (S) The next notification (after LISTEN), the caller's (PQfreemem). Cancelled, none is lost. Errors as rota_pq_exec;
 * -EBUSY also while a command is under way. */
ROTA_API ROTA_CHECK int rota_pq_notification(rota_pq *pq, PGnotify **notification);

#ifdef __cplusplus
}
#endif
#endif
