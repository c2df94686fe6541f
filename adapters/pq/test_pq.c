/* PostgreSQL by libpq against clusters of the test's own. */
#include "rota/pq.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "adapters/pq/kit.h"

static struct kit own;

static void begin(void) { use_shared_cluster(); }

#define Pq_test(name) Loop_test(pq, name, .init = begin)

/* ---- what the tests do ---- */

static void expect_value(rota_pq *pq, const char *value, const char *sql) {
    PGresult *result;
    int rc = rota_pq_exec(pq, &result, sql);
    cr_expect_eq(rc, 0, "%s: %s", sql, rota_strerror(rc));
    if (rc < 0)
        return;
    cr_expect_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s: %s", sql, PQresultErrorMessage(result));
    if (PQntuples(result) > 0)
        cr_expect_str_eq(PQgetvalue(result, 0, 0), value);
    PQclear(result);
}

Pq_test(commands_parameters_and_prepared_ones) {
    rota_pq *pq;
    PGresult *result;
    int rc = cluster_connect(&pq, "");
    if (rc < 0)
        return rc;
    expect_value(pq, "42", "SELECT 42");
    expect_value(pq, "2", "SELECT 1; SELECT 2");
    cr_expect_eq(rota_pq_exec(pq, NULL, "CREATE TEMP TABLE t (n int, s text)"), 0);
    const char *values[] = {"7", "it's"};
    rota_pq_params params = {.n = 2, .values = values};
    cr_expect_eq(rota_pq_exec_params(pq, NULL, "INSERT INTO t VALUES ($1, $2)", &params), 0);
    expect_value(pq, "it's", "SELECT s FROM t WHERE n = 7");
    cr_expect_eq(rota_pq_prepare(pq, NULL, "sum", "SELECT $1::int + $2::int", 0, NULL), 0);
    values[1] = "8";
    cr_expect_eq(rota_pq_exec_prepared(pq, &result, "sum", &params), 0);
    cr_expect_str_eq(PQgetvalue(result, 0, 0), "15");
    PQclear(result);
    cr_expect_eq(rota_pq_exec_params(pq, NULL, "SELECT 1", NULL), 0);
    return rota_pq_close(pq);
}

Pq_test(errors_of_sql_are_results_or_EIO) {
    rota_pq *pq;
    PGresult *result;
    cr_expect_eq(cluster_connect(&pq, ""), 0);
    cr_expect_eq(rota_pq_exec(pq, &result, "SELEC"), 0);
    cr_expect_eq(PQresultStatus(result), PGRES_FATAL_ERROR);
    cr_expect_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42601");
    PQclear(result);
    cr_expect_eq(rota_pq_exec(pq, NULL, "SELECT 1/0"), -EIO);
    cr_expect_eq(rota_pq_exec_prepared(pq, NULL, "nobody", NULL), -EIO);
    expect_value(pq, "1", "SELECT 1");
    return rota_pq_close(pq);
}

Pq_test(bad_arguments_are_refused) {
    rota_pq *pq;
    PGresult *result;
    PGnotify *notification;
    char why[64] = "x", *row;
    cr_expect_eq(rota_pq_connect(NULL, "", NULL, 0), -EINVAL);
    cr_expect_eq(rota_pq_connect(&pq, "nonsense", why, sizeof why), -EINVAL);
    cr_expect_str_neq(why, "");
    cr_expect_null(pq);
    cr_expect_eq(rota_pq_exec(NULL, &result, "SELECT 1"), -EINVAL);
    cr_expect_eq(cluster_connect(&pq, ""), 0);
    cr_expect_eq(rota_pq_exec(pq, &result, NULL), -EINVAL);
    cr_expect_null(result);
    cr_expect_eq(rota_pq_prepare(pq, NULL, NULL, "SELECT 1", 0, NULL), -EINVAL);
    cr_expect_eq(rota_pq_put_copy(pq, "x", 1), -EINVAL);
    cr_expect_eq(rota_pq_end_copy(pq, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_pq_get_copy(pq, &row), -EINVAL);
    cr_expect_eq(rota_pq_get_copy(pq, NULL), -EINVAL);
    cr_expect_eq(rota_pq_next(pq, NULL), -EINVAL);
    cr_expect_eq(rota_pq_notification(pq, NULL), -EINVAL);
    cr_expect_eq(rota_pq_notification(NULL, &notification), -EINVAL);
    cr_expect_eq(rota_pq_cancel(NULL), -EINVAL);
    cr_expect_eq(rota_pq_cancel(pq), 0);
    cr_expect_null(rota_pq_conn(NULL));
    expect_value(pq, "1", "SELECT 1");
    cr_expect_eq(rota_pq_close(NULL), 0);
    return rota_pq_close(pq);
}

/* ---- rows one by one, COPY ---- */

Pq_test(rows_come_one_by_one) {
    enum { N = 20000 };
    rota_pq *pq;
    PGresult *result;
    int rc, rows = 0;
    cr_expect_eq(cluster_connect(&pq, ""), 0);
    cr_expect_eq(rota_pq_send(pq, "SELECT generate_series(1, 20000)", NULL), 0);
    cr_expect_eq(rota_pq_exec(pq, NULL, "SELECT 1"), -EBUSY);
    while ((rc = rota_pq_next(pq, &result)) == 1) {
        rows += PQresultStatus(result) == PGRES_SINGLE_TUPLE && atoi(PQgetvalue(result, 0, 0)) == rows + 1;
        PQclear(result);
    }
    cr_expect_eq(rc, 0);
    cr_expect_eq(rows, N);
    expect_value(pq, "1", "SELECT 1");

    /* Given up half-way. */
    cr_expect_eq(rota_pq_send(pq, "SELECT generate_series(1, 100000000)", NULL), 0);
    for (int i = 0; i < 10; i++) {
        cr_expect_eq(rota_pq_next(pq, &result), 1);
        PQclear(result);
    }
    cr_expect_eq(rota_pq_cancel(pq), 0);
    expect_value(pq, "1", "SELECT 1");
    return rota_pq_close(pq);
}

static int expect_copy(rota_pq *pq, const char *sql, ExecStatusType status) {
    PGresult *result;
    int rc = rota_pq_exec(pq, &result, sql);
    cr_expect_eq(rc, 0);
    if (rc < 0)
        return rc;
    cr_expect_eq(PQresultStatus(result), status);
    PQclear(result);
    return 0;
}

Pq_test(copy_goes_in_and_out) {
    enum { N = 50000 };
    rota_pq *pq;
    PGresult *result;
    char line[32], *row;
    ssize_t n;
    int rows = 0;
    cr_expect_eq(cluster_connect(&pq, ""), 0);
    cr_expect_eq(rota_pq_exec(pq, NULL, "CREATE TEMP TABLE t (n int)"), 0);
    cr_expect_eq(expect_copy(pq, "COPY t FROM STDIN", PGRES_COPY_IN), 0);
    for (int i = 0; i < N; i++) {
        int length = snprintf(line, sizeof line, "%d\n", i);
        cr_expect_eq(rota_pq_put_copy(pq, line, (size_t)length), 0);
    }
    cr_expect_eq(rota_pq_end_copy(pq, &result, NULL), 0);
    cr_expect_eq(PQresultStatus(result), PGRES_COMMAND_OK);
    cr_expect_str_eq(PQcmdTuples(result), "50000");
    PQclear(result);
    cr_expect_eq(rota_pq_next(pq, &result), 0);

    cr_expect_eq(expect_copy(pq, "COPY t TO STDOUT", PGRES_COPY_OUT), 0);
    while ((n = rota_pq_get_copy(pq, &row)) > 0) {
        rows += atoi(row) == rows;
        PQfreemem(row);
    }
    cr_expect_eq(n, 0);
    cr_expect_eq(rows, N);
    while (rota_pq_next(pq, &result) == 1)
        PQclear(result);

    /* Both directions given up half-way; and an end with an error. */
    cr_expect_eq(expect_copy(pq, "COPY t TO STDOUT", PGRES_COPY_OUT), 0);
    cr_expect_eq(rota_pq_cancel(pq), 0);
    expect_value(pq, "50000", "SELECT count(*) FROM t");
    cr_expect_eq(expect_copy(pq, "COPY t FROM STDIN", PGRES_COPY_IN), 0);
    cr_expect_eq(rota_pq_cancel(pq), 0);
    expect_value(pq, "50000", "SELECT count(*) FROM t");
    cr_expect_eq(expect_copy(pq, "COPY t FROM STDIN", PGRES_COPY_IN), 0);
    cr_expect_eq(rota_pq_put_copy(pq, "1\n", 2), 0);
    cr_expect_eq(rota_pq_end_copy(pq, NULL, "changed my mind"), -EIO);
    cr_expect_eq(rota_pq_next(pq, &result), 0);
    expect_value(pq, "50000", "SELECT count(*) FROM t");
    return rota_pq_close(pq);
}

/* Larger than what sockets hold, so that writing has to wait. */
Pq_test(a_big_value_goes_and_comes_whole) {
    rota_pq *pq;
    PGresult *result;
    size_t n = 8 << 20;
    char *value = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        value[i] = (char)('a' + (i * 2654435761u >> 24) % 26);
    value[n] = '\0';
    cr_expect_eq(cluster_connect(&pq, ""), 0);
    rota_pq_params params = {.n = 1, .values = (const char *const[]){value}};
    cr_expect_eq(rota_pq_exec_params(pq, &result, "SELECT $1::text", &params), 0);
    cr_expect_eq(PQgetlength(result, 0, 0), (int)n);
    cr_expect_eq(memcmp(PQgetvalue(result, 0, 0), value, n), 0);
    PQclear(result);
    free(value);
    return rota_pq_close(pq);
}

/* ---- notifications ---- */

static intptr_t await_notification(void *arg) {
    PGnotify *notification;
    int rc = rota_pq_notification(arg, &notification);
    if (rc < 0)
        return rc;
    intptr_t value = atoi(notification->extra);
    PQfreemem(notification);
    return value;
}

Pq_test(notifications_wake_who_waits) {
    rota_pq *listener, *speaker;
    rota_task *task;
    intptr_t value;
    rota_scope scope;
    cr_expect_eq(cluster_connect(&listener, ""), 0);
    cr_expect_eq(cluster_connect(&speaker, ""), 0);
    cr_expect_eq(rota_pq_exec(listener, NULL, "LISTEN news"), 0);
    rota_timeout_begin(&scope, 2 * ROTA_MS);
    cr_expect_eq(rota_scope_end(&scope, await_notification(listener)), -ETIMEDOUT);
    cr_expect_eq(rota_spawn(&task, await_notification, listener, NULL), 0);
    cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
    cr_expect_eq(rota_pq_exec(listener, NULL, "SELECT 1"), -EBUSY);
    cr_expect_eq(rota_pq_exec(speaker, NULL, "NOTIFY news, '7'; NOTIFY news, '8'"), 0);
    cr_expect_eq(rota_join(task, &value), 0);
    cr_expect_eq(value, 7);
    cr_expect_eq(await_notification(listener), 8);
    cr_expect_eq(rota_pq_close(speaker), 0);
    return rota_pq_close(listener);
}

/* ---- cancelling ---- */

Pq_test(a_cancelled_command_ends_at_the_server_too) {
    rota_pq *pq;
    rota_scope scope;
    cr_expect_eq(cluster_connect(&pq, ""), 0);
    int64_t before = rota_now();
    rota_timeout_begin(&scope, 20 * ROTA_MS);
    int rc = rota_pq_exec(pq, NULL, "SELECT pg_sleep(100)");
    cr_expect_eq(rota_pq_exec(pq, NULL, "SELECT 1"), -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, rc), -ETIMEDOUT);
    expect_value(pq, "1", "SELECT 1");
    cr_expect_lt(rota_now() - before, 50 * ROTA_S);
    return rota_pq_close(pq);
}

static intptr_t sleep_long(void *arg) { return rota_pq_exec(arg, NULL, "SELECT pg_sleep(100)"); }

Pq_test(closing_wakes_who_waits) {
    rota_pq *pq;
    rota_task *task;
    intptr_t outcome;
    cr_expect_eq(cluster_connect(&pq, ""), 0);
    cr_expect_eq(rota_spawn(&task, sleep_long, pq, NULL), 0);
    cr_expect_eq(rota_sleep(5 * ROTA_MS), 0);
    cr_expect_eq(sleep_long(pq), -EBUSY);
    cr_expect_eq(rota_pq_cancel(pq), -EBUSY);
    cr_expect_eq(rota_pq_close(pq), 0);
    cr_expect_eq(rota_join(task, &outcome), 0);
    cr_expect_eq(outcome, -ESHUTDOWN);

    /* While the settler is at work. */
    rota_scope scope;
    cr_expect_eq(cluster_connect(&pq, ""), 0);
    rota_timeout_begin(&scope, 5 * ROTA_MS);
    cr_expect_eq(rota_scope_end(&scope, sleep_long(pq)), -ETIMEDOUT);
    return rota_pq_close(pq);
}

/* Nobody answers: the queue of a listener that does not accept is full. */
Pq_test(connecting_can_be_cut_short) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    char conninfo[64];
    rota_scope scope;
    rota_pq *pq;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(bind(fd, (struct sockaddr *)&addr, len), 0);
    cr_expect_eq(listen(fd, 5), 0);
    cr_expect_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    snprintf(conninfo, sizeof conninfo, "host=localhost port=%d", ntohs(addr.sin_port));
    rota_timeout_begin(&scope, 20 * ROTA_MS);
    cr_expect_eq(rota_scope_end(&scope, rota_pq_connect(&pq, conninfo, NULL, 0)), -ETIMEDOUT);
    cr_expect_null(pq);
    close(fd);
    return 0;
}

/* ---- the server is missing, refuses, dies ---- */

Pq_test(servers_that_are_missing_or_refuse_are_told_apart) {
    rota_pq *pq;
    char conninfo[128], why[256];
    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d", kit_free_port());
    cr_expect_eq(rota_pq_connect(&pq, conninfo, why, sizeof why), -ECONNREFUSED);
    cr_expect(strstr(why, "refused") != NULL, "%s", why);
    cr_expect_eq(rota_pq_connect(&pq, "host=/nowhere", why, sizeof why), -ECONNREFUSED);
    cr_expect_eq(cluster_connect(&pq, ""), 0);
    cr_expect_eq(rota_pq_close(pq), 0);
    snprintf(conninfo, sizeof conninfo, "host=%s port=%d user=tester dbname=nothing_of_that_name",
             cluster_dir, cluster_port);
    cr_expect_eq(rota_pq_connect(&pq, conninfo, why, sizeof why), -EACCES);
    cr_expect(strstr(why, "nothing_of_that_name") != NULL, "%s", why);
    cr_expect_null(pq);
    return 0;
}

Pq_test(a_connection_that_the_server_ends_is_lost) {
    rota_pq *victim, *killer;
    rota_task *task;
    intptr_t outcome;
    char sql[64];
    cr_expect_eq(cluster_connect(&victim, ""), 0);
    cr_expect_eq(cluster_connect(&killer, ""), 0);
    cr_expect_eq(rota_spawn(&task, sleep_long, victim, NULL), 0);
    cr_expect_eq(rota_sleep(5 * ROTA_MS), 0);
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", PQbackendPID(rota_pq_conn(victim)));
    expect_value(killer, "t", sql);
    cr_expect_eq(rota_join(task, &outcome), 0);
    cr_expect_eq(outcome, -ECONNRESET);
    cr_expect_eq(sleep_long(victim), -ECONNRESET);
    cr_expect(strstr(PQerrorMessage(rota_pq_conn(victim)), "terminating connection") != NULL);
    cr_expect_eq(rota_pq_close(victim), 0);
    expect_value(killer, "1", "SELECT 1");
    return rota_pq_close(killer);
}

static void begin_own(void) {
    begin();
    cr_assert(cluster_make(&own));
    cluster_start(&own);
    cluster_dir = own.dir;
}

static void end_own(void) { kit_close(&own); }

Loop_test(pq, a_server_that_dies_is_an_error_to_every_waiter, .init = begin_own, .fini = end_own) {
    enum { N = 3 };
    rota_pq *all[N], *idle;
    rota_task *tasks[N];
    intptr_t outcome;
    for (int i = 0; i < N; i++) {
        cr_expect_eq(cluster_connect(&all[i], ""), 0);
        cr_expect_eq(rota_spawn(&tasks[i], i == 0 ? await_notification : sleep_long, all[i], NULL), 0);
    }
    cr_expect_eq(cluster_connect(&idle, ""), 0);
    kit_kill(&own);
    for (int i = 0; i < N; i++) {
        cr_expect_eq(rota_join(tasks[i], &outcome), 0);
        cr_expect_eq(outcome, -ECONNRESET, "%s", rota_strerror(outcome));
        cr_expect_eq(rota_pq_close(all[i]), 0);
    }
    /* A backend outlives its postmaster by a moment. */
    int rc;
    while ((rc = rota_pq_exec(idle, NULL, "SELECT 1")) == 0 && rota_sleep(ROTA_MS) == 0)
        ;
    cr_expect_eq(rc, -ECONNRESET, "%s", rota_strerror(rc));
    cr_expect_eq(rota_pq_close(idle), 0);
    cluster_start(&own);    /* the loop goes on, and finds a server again */
    cr_expect_eq(cluster_connect(&idle, ""), 0);
    expect_value(idle, "1", "SELECT 1");
    return rota_pq_close(idle);
}

/* ---- two loops; the loop goes first ---- */

static intptr_t many_selects(void *arg) {
    rota_pq *pq;
    (void)arg;
    int rc = cluster_connect(&pq, "");
    for (int i = 0; i < 100 && rc == 0; i++)
        rc = rota_pq_exec(pq, NULL, "SELECT 1");
    return rc < 0 ? rc : rota_pq_close(pq);
}

static void *whole_program(void *arg) {
    (void)arg;
    return (void *)(intptr_t)rota_run(many_selects, NULL, NULL, NULL);
}

Pq_test(two_threads_with_a_loop_each) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        cr_expect_eq(pthread_create(&threads[i], NULL, whole_program, NULL), 0);
    for (int i = 0; i < 2; i++) {
        void *rc;
        pthread_join(threads[i], &rc);
        cr_expect_null(rc);
    }
    return 0;
}

static rota_pq *left_open[2];

static intptr_t leave_them_open(void *arg) {
    (void)arg;
    int rc = cluster_connect(&left_open[0], "");
    if (rc == 0)
        rc = cluster_connect(&left_open[1], "");
    if (rc == 0)
        rc = rota_spawn(NULL, sleep_long, left_open[0], NULL);
    if (rc == 0)
        rc = rota_pq_send(left_open[1], "SELECT pg_sleep(100)", NULL);
    if (rc == 0)
        rc = rota_pq_cancel(left_open[1]);
    return rc == 0 ? rota_yield() : rc;
}

static void ignore_report(void *ctx, const rota_report *report) { (void)ctx, (void)report; }

Test(pq, a_loop_may_close_first, .init = begin) {
    rota_loop *loop;
    rota_task *task;
    rota_loop_options opt = {.report = ignore_report};
    cr_assert_eq(rota_loop_new(&loop, &opt), 0);
    cr_assert_eq(rota_spawn(&task, leave_them_open, NULL, NULL), 0);
    cr_expect_eq(rota_loop_run_until(loop, task, NULL), 0);
    rota_task_release(task);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_pq_close(left_open[0]), 0);
    cr_expect_eq(rota_pq_close(left_open[1]), 0);
    cr_expect_eq(rota_loop_free(loop), 0);
}
