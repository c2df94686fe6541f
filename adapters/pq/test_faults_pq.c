/* All that rota does for a program of PostgreSQL fails, one call after the other: see adapters/faults.h. */
#include <stdio.h>
#include <string.h>

#include "adapters/faults.h"
#include "adapters/pq/kit.h"

static int connect_by(rota_pq **pq, const char *host) {
    char conninfo[256];
    snprintf(conninfo, sizeof conninfo, "host=%s port=%d user=tester dbname=postgres", host, cluster_port);
    int rc = rota_pq_connect(pq, conninfo, NULL, 0);
    cr_expect((rc == 0) == (*pq != NULL));
    return rc;
}

static int commands(rota_pq *pq) {
    rota_pq_params params = {.n = 1, .values = (const char *const[]){"7"}};
    PGresult *result;
    int rc = rota_pq_exec(pq, NULL, "CREATE TEMP TABLE t (n int)");
    if (rc == 0)
        rc = rota_pq_exec_params(pq, NULL, "INSERT INTO t VALUES ($1)", &params);
    if (rc == 0)
        rc = rota_pq_prepare(pq, NULL, "plus", "SELECT n + $1::int FROM t", 0, NULL);
    if (rc == 0)
        rc = rota_pq_exec_prepared(pq, &result, "plus", &params);
    if (rc < 0)
        return rc;
    cr_expect_str_eq(PQgetvalue(result, 0, 0), "14");
    PQclear(result);
    return 0;
}

static int rows(rota_pq *pq) {
    PGresult *result;
    int n = 0, rc = rota_pq_send(pq, "SELECT generate_series(1, 3)", NULL);
    while (rc == 0 && (rc = rota_pq_next(pq, &result)) == 1) {
        n += PQresultStatus(result) == PGRES_SINGLE_TUPLE;
        PQclear(result);
        rc = 0;
        if (n == 3)
            break;
    }
    return rc == 0 ? rota_pq_cancel(pq) : rc;
}

static int copies(rota_pq *pq) {
    char *row;
    int rc = rota_pq_exec(pq, NULL, "COPY t FROM STDIN");
    if (rc == 0)
        rc = rota_pq_put_copy(pq, "8\n", 2);
    if (rc == 0)
        rc = rota_pq_end_copy(pq, NULL, NULL);
    if (rc == 0)
        rc = rota_pq_exec(pq, NULL, "COPY t TO STDOUT");
    ssize_t n = rc;
    while (rc == 0 && (n = rota_pq_get_copy(pq, &row)) > 0)
        PQfreemem(row);
    PGresult *result = NULL;
    while (n == 0 && (rc = rota_pq_next(pq, &result)) == 1)
        PQclear(result);
    return n < 0 ? (int)n : rc;
}

static int notifications(rota_pq *listener, rota_pq *speaker) {
    PGnotify *notification;
    int rc = rota_pq_exec(listener, NULL, "LISTEN news");
    if (rc == 0)
        rc = rota_pq_exec(speaker, NULL, "NOTIFY news");
    if (rc == 0)
        rc = rota_pq_notification(listener, &notification);
    if (rc == 0)
        PQfreemem(notification);
    return rc;
}

static intptr_t scenario(void *unused) {
    rota_pq *one, *other = NULL;
    (void)unused;
    int rc = connect_by(&one, "localhost");
    if (rc == 0)
        rc = connect_by(&other, cluster_dir);
    if (rc == 0)
        rc = commands(one);
    if (rc == 0)
        rc = rows(one);
    if (rc == 0)
        rc = copies(one);
    if (rc == 0)
        rc = notifications(other, one);
    if (one)
        rota_pq_close(one);
    if (other)
        rota_pq_close(other);
    return rc;
}

static intptr_t afterwards(void *unused) {
    rota_pq *pq;
    (void)unused;
    int rc = connect_by(&pq, cluster_dir);
    if (rc == 0) {
        rc = commands(pq);
        rota_pq_close(pq);
    }
    return rc;
}

static intptr_t wait_until_ready(void *unused) {
    rota_pq *pq;
    (void)unused;
    int rc = cluster_connect(&pq, "");
    return rc == 0 ? rota_pq_close(pq) : rc;
}

static void begin(void) {
    use_shared_cluster();
    kit_main(wait_until_ready);
}

static const struct fault_program program = {.scenario = scenario, .afterwards = afterwards, .threads = true};

Fault_tests(pq_faults, &program, .init = begin, .timeout = 200)
