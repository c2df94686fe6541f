/* Every allocation and every system call of a request to a server of ours fails once, and from there on. Each run ends,
 * with an answer or an error, and gives back every descriptor and byte. */
#include <stdio.h>
#include <string.h>

#include "rota/http.h"
#include "tests/fault_kit.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

static intptr_t handler(rota_http_incoming *q, rota_http_reply *r, void *arg) {
    char text[64];
    (void)arg;
    ssize_t n = rota_http_incoming_read(q, text, sizeof text);
    return n < 0 ? n : rota_http_reply_send(r, 200, NULL, text, (size_t)n);
}

struct place {
    rota_future ready;
    int port;
    rota_task *server;
};

static void listening(int fd, void *arg) {
    struct place *p = arg;
    p->port = port_of(fd);
    (void)!rota_future_set(&p->ready, 0);
}

static intptr_t serve(void *arg) {
    struct place *p = arg;
    intptr_t rc = rota_http_serve("127.0.0.1", "0", handler, arg, &(rota_http_serve_options){
        .serve.listening = listening, .allocator = &memory_allocator });
    if (!rota_future_done(&p->ready))
        (void)!rota_future_set(&p->ready, rc);
    return rc;
}

static int ask(rota_http_client *client, int port) {
    char url[64];
    const char *data;
    rota_http_response r;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    int rc = rota_http_request(client, &r, "PUT", url, &(rota_http_request_options){ .body = "abc", .body_n = 3,
        .timeout = 5 * ROTA_S });
    if (rc < 0)
        return rc;
    rc = rota_http_read_all(&r, &data, NULL, 100);
    if (rc == 0 && r.status == 200)
        cr_expect_str_eq(data, "abc");
    rota_http_response_close(&r);
    return rc;
}

static intptr_t program(void *arg) {
    struct place p = { .port = 0 };
    rota_http_client client;
    (void)arg;
    int rc = rota_spawn(&p.server, serve, &p, NULL);
    if (rc < 0)
        return 0;
    rc = rota_future_await(&p.ready, NULL);
    if (rc == 0 && rota_http_client_open(&client, &(rota_http_client_options){ .allocator = &memory_allocator }) == 0) {
        for (int i = 0; i < 2; i++)
            rc = ask(&client, p.port);
        rota_http_client_close(&client);
    }
    rota_cancel(p.server, NULL);
    (void)!rota_join(p.server, NULL);
    return 0;
}

static void change(struct rota__sys *sys) {
    static const int calls[] = { FAULT_recv, FAULT_send, FAULT_accept, FAULT_socket };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        fault_replace(sys, calls[i]);
}

static const struct fault_row rows[] = {
    { FAULT_ANY, -ECONNRESET, 0, NULL }, { FAULT_ANY, -ENOMEM, 0, NULL }, { FAULT_ANY, -EMFILE, 0, NULL },
};

static const struct fault_program http = { .body = program, .rows = rows, .n_rows = 3, .change = change };

Test(faults_http, every_system_call, .timeout = 120) {
    fault_each_call(&http, false);
    fault_each_call(&http, true);
}

Test(faults_http, every_allocation, .timeout = 120) {
    fault_each_allocation(&http, false);
    fault_each_allocation(&http, true);
}
