/* Clusters of PostgreSQL for tests, each in a temporary folder, on a Unix socket there and on a port of loopback.
 * Making one takes a second, so most tests share one, which is made when the program starts and goes when its last
 * process ends. */
#ifndef ROTA_ADAPTERS_PQ_KIT_H
#define ROTA_ADAPTERS_PQ_KIT_H

#include "adapters/kit.h"
#include "rota/pq.h"

/* Of the cluster in use. */
extern const char *cluster_dir;
extern int cluster_port;

/* False where there is no initdb. */
bool cluster_make(struct kit *kit);

/* It listens on return; connections it takes a little later. */
void cluster_start(struct kit *kit);

/* Skips the test where there is none. */
void use_shared_cluster(void);

/* By the Unix socket; more: of conninfo. Expects 0, and waits for a server that is starting up. */
int cluster_connect(rota_pq **pq, const char *more);

#endif
