/* A redis-server of the test's own, on a Unix socket in a temporary folder and on a port of loopback. */
#ifndef ROTA_ADAPTERS_HIREDIS_KIT_H
#define ROTA_ADAPTERS_HIREDIS_KIT_H

#include <stdio.h>
#include <unistd.h>

#include "adapters/kit.h"

static struct kit kit;
static char path[64], tcp_port[8];

static void start_server(void) {
    const char *server = kit_program("redis-server", NULL);
    if (!server)
        cr_skip_test("there is no redis-server");
    unlink(path);
    snprintf(tcp_port, sizeof tcp_port, "%d", kit_free_port());
    cr_assert(kit_start(&kit, false, (const char *[]){server, "--bind", "127.0.0.1", "--port", tcp_port, "--unixsocket",
        path, NULL}));
    cr_assert(kit_unix_listens(path));
}

static void begin(void) {
    kit_open(&kit);
    snprintf(path, sizeof path, "%s/socket", kit.dir);
    start_server();
}

static void end(void) { kit_close(&kit); }

#endif
