/* Every allocation and every system call of a request to a server of ours fails once, and from there on. Each run ends,
 * with an answer or an error, and gives back every descriptor and byte. */
#include <stdio.h>
#include <string.h>

#include "reactor/sys.h"
#include "rota/http.h"
#include "tests/net_kit.h"
#include "tests/support.h"

static struct {
    size_t made, at;
    bool on;
    int error;
} fault;

static int hit(void) {
    fault.made++;
    return fault.at > 0 && (fault.made == fault.at || (fault.on && fault.made > fault.at)) ? fault.error : 0;
}

static ssize_t sys_recv(int fd, void *buf, size_t n, int flags) {
    int error = hit();
    return error ? error : rota__sys_real.recv(fd, buf, n, flags);
}
static ssize_t sys_send(int fd, const void *buf, size_t n, int flags) {
    int error = hit();
    return error ? error : rota__sys_real.send(fd, buf, n, flags);
}
static int sys_accept(int fd, struct sockaddr *addr, socklen_t *len) {
    int error = hit();
    return error ? error : rota__sys_real.accept(fd, addr, len);
}
static int sys_socket(int domain, int type, int protocol) {
    int error = hit();
    return error ? error : rota__sys_real.socket(domain, type, protocol);
}

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

/* How many faults there were to make. */
static size_t run_program(void) {
    use_shim();
    shim.recv = sys_recv;
    shim.send = sys_send;
    shim.accept = sys_accept;
    shim.socket = sys_socket;
    fault.made = 0;
    rota_loop_options opt = test_options();
    (void)!run_with(program, NULL, NULL, &opt);
    rota__sys = &rota__sys_real;
    return fault.made;
}

Test(faults_http, every_system_call, .timeout = 120) {
    static const int errors[] = { -ECONNRESET, -ENOMEM, -EMFILE };
    fault.at = 0;
    size_t all = run_program();
    cr_expect_gt(all, 8);
    for (size_t e = 0; e < 3; e++)
        for (int on = 0; on < 2; on++)
            for (fault.at = 1; fault.at <= all; fault.at++) {
                fault.error = errors[e];
                fault.on = on;
                run_program();
            }
}

Test(faults_http, every_allocation, .timeout = 120) {
    fault.at = 0;
    test_begin();
    run_program();
    size_t all = memory.calls;
    cr_expect_gt(all, 4);
    for (int on = 0; on < 2; on++)
        for (size_t at = 1; at <= all; at++) {
            rota_loop_options opt = test_options();
            test_begin();
            memory.fail_at = at;
            memory.fail_on = on;
            (void)!rota_run(program, NULL, NULL, &opt);
            test_end();
        }
}
