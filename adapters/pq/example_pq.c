/* Runs a query and prints its rows as they come.
 *
 *     example_pq CONNINFO SQL      for example: example_pq 'dbname=postgres' 'SELECT * FROM pg_database'
 */
#include <stdio.h>

#include "rota/pq.h"

static void print_rows(const PGresult *result) {
    for (int row = 0; row < PQntuples(result); row++)
        for (int column = 0; column < PQnfields(result); column++)
            printf("%s%c", PQgetvalue(result, row, column), column + 1 < PQnfields(result) ? '\t' : '\n');
}

static int query(rota_pq *pq, const char *sql) {
    PGresult *result;
    int rc = rota_pq_send(pq, sql, NULL);
    if (rc < 0)
        return rc;
    while ((rc = rota_pq_next(pq, &result)) == 1) {
        print_rows(result);
        if (PQresultStatus(result) == PGRES_FATAL_ERROR)
            fputs(PQresultErrorMessage(result), stderr);
        PQclear(result);
    }
    return rc;
}

static intptr_t connect_and_query(void *arg) {
    char **words = arg, why[256];
    rota_pq *pq;
    int rc = rota_pq_connect(&pq, words[1], why, sizeof why);
    if (rc < 0) {
        fputs(why, stderr);
        return rc;
    }
    rc = query(pq, words[2]);
    rota_pq_close(pq);
    return rc;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fputs("usage: example_pq CONNINFO SQL\n", stderr);
        return 2;
    }
    int rc = rota_run(connect_and_query, argv, NULL, NULL);
    if (rc < 0)
        fprintf(stderr, "example_pq: %s\n", rota_strerror(rc));
    return rc < 0;
}
