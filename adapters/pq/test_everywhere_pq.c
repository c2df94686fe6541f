/* The suspending calls of rota/pq.h: cancelled at every point at which they stop, and before each. Afterwards the
 * connection does other work, and what the server had sent is there. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/pq/kit.h"
#include "rota/sync.h"
#include "tests/everywhere.h"

/* In scenarios, for tests/everywhere/check.py. */
static const char *const suspending[] = {
    "rota_pq_connect", "rota_pq_end_copy", "rota_pq_exec", "rota_pq_exec_params", "rota_pq_exec_prepared",
    "rota_pq_get_copy", "rota_pq_next", "rota_pq_notification", "rota_pq_prepare", "rota_pq_put_copy",
    "rota_pq_send",
};

static rota_pq *pq;
static char local[128], remote[128];

static intptr_t wait_until_ready(void *unused) {
    rota_pq *it;
    (void)unused;
    int rc = cluster_connect(&it, "");
    return rc == 0 ? rota_pq_close(it) : rc;
}

static void begin(void) {
    use_shared_cluster();
    kit_main(wait_until_ready);
    snprintf(local, sizeof local, "host=%s port=%d user=tester dbname=postgres", cluster_dir, cluster_port);
    snprintf(remote, sizeof remote, "host=localhost port=%d user=tester dbname=postgres", cluster_port);
}

static void forget(void) { pq = NULL; }

/* A call under way that no call owns is given up; then the next answer is the right one. */
static void use_again(void) {
    PGresult *result;
    if (!pq)
        return;
    cr_expect_eq(rota_pq_cancel(pq), 0);
    int rc = rota_pq_exec(pq, &result, "SELECT 'again'");
    cr_expect_eq(rc, 0, "%s", rota_strerror(rc));
    cr_expect(rc < 0 || (PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "again") == 0));
    PQclear(result);
}

static void close_it(void) {
    if (pq)
        cr_expect_eq(rota_pq_close(pq), 0);
}

/* ---- connecting ---- */

/* By name and TCP: several rounds of asking and answering, of which the last one may find its answer there. So it may
 * be refused after what it waited for last has come, which S does not allow; over the local socket there is one. */
static intptr_t connect_body(void *unused) {
    (void)unused;
    int rc = Never(rota_pq_connect(&pq, remote, NULL, 0));
    cr_expect(rc == 0 || rc == -ECANCELED, "%s", rota_strerror(rc));
    cr_expect((rc == 0) == (pq != NULL));
    return rc;
}

static const struct scenario connecting = {
    .name = "pq connect", .begin = forget, .body = connect_body, .reuse = use_again, .end = close_it,
    .threads = true, .outside = true
};

/* ---- commands ---- */

static intptr_t command_body(void *unused) {
    rota_pq_params params = {.n = 1, .values = (const char *const[]){"7"}};
    PGresult *result;
    (void)unused;
    TRY(rota_pq_connect(&pq, local, NULL, 0));
    int rc = S(rota_pq_exec(pq, &result, "SELECT 1; SELECT 2"));
    cr_expect((rc == 0) == (result != NULL));
    PQclear(result);
    int rc_2 = S(rota_pq_exec_params(pq, &result, "SELECT $1::int", &params));
    cr_expect((rc_2 == 0) == (result != NULL));
    PQclear(result);
    TRY(rota_pq_prepare(pq, NULL, "same", "SELECT $1::int", 0, NULL));
    int rc_3 = S(rota_pq_exec_prepared(pq, &result, "same", &params));
    cr_expect((rc_3 == 0) == (result != NULL));
    PQclear(result);
    return rc < 0 ? rc : rc_2 < 0 ? rc_2 : rc_3;
}

static const struct scenario commands = {
    .name = "pq commands", .begin = forget, .body = command_body, .reuse = use_again, .end = close_it,
    .threads = true, .outside = true
};

/* ---- rows one by one: none is lost, whoever fetches them ---- */

enum { ROWS = 3 };

static bool sent;
static int fetched;

static void rows_begin(void) {
    pq = NULL;
    sent = false;
    fetched = 0;
}

static void count_row(PGresult *result) {
    if (PQresultStatus(result) == PGRES_SINGLE_TUPLE)
        cr_expect_eq(atoi(PQgetvalue(result, 0, 0)), ++fetched);
    PQclear(result);
}

static intptr_t rows_body(void *unused) {
    PGresult *result;
    int rc;
    (void)unused;
    TRY(rota_pq_connect(&pq, local, NULL, 0));
    TRY(rota_pq_send(pq, "SELECT generate_series(1, 3)", NULL));
    sent = true;
    while ((rc = S(rota_pq_next(pq, &result))) == 1)
        count_row(result);
    return rc;
}

static void rows_reuse(void) {
    PGresult *result;
    int rc = 0;
    while (sent && (rc = rota_pq_next(pq, &result)) == 1)
        count_row(result);
    cr_expect_eq(rc, 0);
    cr_expect(!sent || fetched == ROWS, "%d rows", fetched);
    use_again();
}

static const struct scenario rows = {
    .name = "pq rows", .begin = rows_begin, .body = rows_body, .reuse = rows_reuse, .end = close_it,
    .threads = true, .outside = true
};

/* ---- COPY: into a server that stands still, so that there is something to wait for ---- */

enum { PIECE = 256 * 1024 };

static rota_event full;
static pid_t backend;
static int copied_rows;

static intptr_t go_on(void *unused) {
    (void)unused;
    (void)!rota_event_wait(&full);
    if (backend > 0)
        kill(backend, SIGCONT);
    return 0;
}

static void copy_begin(void) {
    pq = NULL;
    backend = 0;
    copied_rows = 0;
    memset(&full, 0, sizeof full);
    helper(go_on, NULL);
}

static intptr_t copy_in(void) {
    static char piece[PIECE];
    memset(piece, '1', sizeof piece);
    for (size_t i = 1; i < sizeof piece; i += 2)
        piece[i] = '\n';
    TRY(rota_pq_exec(pq, NULL, "COPY t FROM STDIN"));
    backend = PQbackendPID(rota_pq_conn(pq));
    kill(backend, SIGSTOP);
    int rc = S(rota_pq_put_copy(pq, piece, sizeof piece));
    rota_event_set(&full);
    int rc_2 = S(rota_pq_put_copy(pq, "2\n", 2));
    return rc < 0 ? rc : rc_2;
}

static intptr_t copy_body(void *unused) {
    PGresult *result;
    char *row;
    (void)unused;
    TRY(rota_pq_connect(&pq, local, NULL, 0));
    TRY(rota_pq_exec(pq, NULL, "CREATE TEMP TABLE t (n int)"));
    intptr_t rc = copy_in();
    if (backend > 0)
        kill(backend, SIGCONT);
    if (rc < 0)
        return rc;
    TRY(rota_pq_end_copy(pq, NULL, NULL));
    /* The server sends 8 KiB when it has them: a row is begun, and ended after the nap. */
    TRY(rota_pq_exec(pq, NULL, "COPY (SELECT repeat('x', 9000) UNION ALL SELECT pg_sleep(0.003)::text) TO STDOUT"));
    ssize_t n;
    while ((n = S(rota_pq_get_copy(pq, &row))) > 0) {
        cr_expect_eq(row[0], copied_rows == 0 ? 'x' : '\n');
        copied_rows++;
        PQfreemem(row);
    }
    if (n < 0)
        return n;
    cr_expect_eq(copied_rows, 2);
    while ((n = S(rota_pq_next(pq, &result))) == 1)
        PQclear(result);
    return n;
}

static const struct scenario copies = {
    .name = "pq copy", .begin = copy_begin, .body = copy_body, .reuse = use_again, .end = close_it,
    .threads = true, .outside = true
};

/* ---- notifications: none is lost ---- */

static rota_event listens;
static int told, heard;

static intptr_t tell(void *unused) {
    rota_pq *speaker;
    (void)unused;
    int rc = rota_pq_connect(&speaker, local, NULL, 0);
    if (rc == 0)
        rc = rota_event_wait(&listens);
    if (rc == 0)
        rc = rota_pq_exec(speaker, NULL, "NOTIFY news");
    told += rc == 0;
    rota_pq_close(speaker);
    return 0;
}

static void notification_begin(void) {
    pq = NULL;
    told = heard = 0;
    memset(&listens, 0, sizeof listens);
    helper(tell, NULL);
}

static intptr_t notification_body(void *unused) {
    PGnotify *notification;
    (void)unused;
    TRY(rota_pq_connect(&pq, local, NULL, 0));
    TRY(rota_pq_exec(pq, NULL, "LISTEN news"));
    rota_event_set(&listens);
    int rc = S(rota_pq_notification(pq, &notification));
    cr_expect((rc == 0) == (notification != NULL));
    heard += rc == 0;
    PQfreemem(notification);
    return rc;
}

static void notification_reuse(void) {
    PGnotify *notification;
    while (heard < told) {
        int rc = rota_pq_notification(pq, &notification);
        cr_expect_eq(rc, 0, "%s", rota_strerror(rc));
        heard++;
        PQfreemem(notification);
        if (rc < 0)
            return;
    }
    use_again();
}

static const struct scenario notifications = {
    .name = "pq notifications", .begin = notification_begin, .body = notification_body,
    .reuse = notification_reuse, .end = close_it, .threads = true, .outside = true
};

#define Everywhere_test(name) \
    Test(pq_everywhere, name, .init = begin, .timeout = 300) { everywhere(&name); }
Everywhere_test(connecting)
Everywhere_test(commands)
Everywhere_test(rows)
Everywhere_test(copies)
Everywhere_test(notifications)

Test(pq_everywhere, every_suspending_call_is_in_a_scenario, .init = begin) {
    everywhere_once(&connecting);
    everywhere_once(&commands);
    everywhere_once(&rows);
    everywhere_once(&copies);
    everywhere_once(&notifications);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
}
