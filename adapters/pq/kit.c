/* See kit.h. */
#include "adapters/pq/kit.h"

#include <stdio.h>

static struct kit shared;
const char *cluster_dir;
int cluster_port;

static const char *const folders = "/usr/lib/postgresql/*/bin:/usr/libexec/postgresql*:/usr/local/pgsql/bin";

bool cluster_make(struct kit *kit) {
    char program[512];
    const char *initdb = kit_program("initdb", folders);
    if (!initdb)
        return false;
    snprintf(program, sizeof program, "%s", initdb);
    kit_open(kit);
    int rc = kit_run(kit, true, (const char *[]){program, "-D", "data", "-U", "tester", "-A", "trust", "--no-sync",
        "--no-locale", "-E", "UTF8", NULL});
    cr_assert_eq(rc, 0, "initdb: exit code %d", rc);
    return true;
}

void cluster_start(struct kit *kit) {
    char program[512], path[80], port[8];
    cluster_port = kit_free_port();
    snprintf(program, sizeof program, "%s", kit_program("postgres", folders));
    snprintf(port, sizeof port, "%d", cluster_port);
    cr_assert(kit_start(kit, true, (const char *[]){program, "-D", "data", "-k", kit->dir, "-p", port, "-c",
        "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=100", NULL}));
    snprintf(path, sizeof path, "%s/.s.PGSQL.%d", kit->dir, cluster_port);
    cr_assert(kit_unix_listens(path));
}

__attribute__((constructor)) static void make_shared(void) {
    if (cluster_make(&shared))
        cluster_start(&shared);
}

void use_shared_cluster(void) {
    if (!shared.keeper)
        cr_skip_test("there is no initdb of PostgreSQL");
    cluster_dir = shared.dir;
}

int cluster_connect(rota_pq **pq, const char *more) {
    char conninfo[256], why[256];
    snprintf(conninfo, sizeof conninfo, "host=%s port=%d user=tester dbname=postgres %s", cluster_dir, cluster_port,
             more);
    int rc = -EACCES;
    for (int i = 0; i < 1000 && rc == -EACCES; i++) {
        rc = rota_pq_connect(pq, conninfo, why, sizeof why);
        if (rc == -EACCES && rota_sleep(10 * ROTA_MS) < 0)
            break;
    }
    cr_expect_eq(rc, 0, "%s: %s", rota_strerror(rc), why);
    return rc;
}
