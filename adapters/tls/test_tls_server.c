/* Servers and dialling: rota_tls_serve, rota_tls_dial, stopped at every point, and with every allocation failing. */
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>

#include "adapters/tls/kit.h"
#include "tests/everywhere.h"
#include "tests/sys_table.h"

static char service[8];
static rota_event listens;

static void note_port(int fd, void *arg) {
    (void)arg;
    snprintf(service, sizeof service, "%d", port_of(fd));
    (void)rota_event_set(&listens);
}

static int served, refusals, refusal;
static char refused_because[200];

static void note_refusal(int error, const char *why, void *arg) {
    (void)arg;
    refusals++;
    refusal = error;
    snprintf(refused_because, sizeof refused_because, "%s", why);
}

static intptr_t echo_lines(rota_stream *s, void *arg) {
    const char *line;
    ssize_t n;
    int rc = 0;
    (void)arg;
    served++;
    while (rc == 0 && (n = rota_stream_line(s, 0, &line)) > 0) {
        rc = rota_stream_write(s, line, (size_t)n - 1);
        if (rc == 0)
            rc = rota_stream_write(s, "\n", 1);
    }
    return rc < 0 ? rc : rota_stream_shutdown(s);
}

static const rota_tls_serve_options serving = {.serve = {.listening = note_port}, .refused = note_refusal};

static intptr_t serve(void *arg) {
    (void)arg;
    return rota_tls_serve("127.0.0.1", "0", server_ctx, echo_lines, NULL, &serving);
}

static rota_task *start_server(void) {
    rota_task *task;
    memset(&listens, 0, sizeof listens);
    served = refusals = 0;
    cr_expect_eq(rota_spawn(&task, serve, NULL, NULL), 0);
    cr_expect_eq(rota_event_wait(&listens), 0);
    return task;
}

static void stop_server(rota_task *task) {
    rota_cancel(task, "asked");
    cr_expect_eq(rota_join(task, NULL), -ECANCELED);
}

static int ask(rota_tls_context *ctx) {
    rota_stream s;
    const char *line;
    rota_tls_options opt = {.name = "localhost", .error = reason, .error_size = sizeof reason};
    int rc = rota_tls_dial(&s, "127.0.0.1", service, ctx, &opt);
    if (rc < 0)
        return rc;
    rc = rota_stream_write(&s, "hello\n", 6);
    ssize_t n = rc < 0 ? rc : rota_stream_line(&s, 0, &line);
    if (n > 0)
        cr_expect_str_eq(line, "hello");
    if (n > 0)
        n = rota_stream_shutdown(&s);
    if (n == 0)
        n = rota_stream_line(&s, 0, &line);
    rota_stream_close(&s);
    return (int)n;
}

/* ---- serving ---- */

Task_test(tls_server, answers) {
    contexts(NULL, NULL);
    rota_task *task = start_server();
    for (int i = 0; i < 3; i++)
        cr_expect_eq(ask(client_ctx), 0);
    cr_expect_eq(served, 3);
    stop_server(task);
    free_contexts();
    return 0;
}

Task_test(tls_server, slow_and_wrong_clients_hold_up_nobody) {
    contexts(NULL, NULL);
    rota_task *task = start_server();
    int silent = raw_connect(atoi(service)), wrong = raw_connect(atoi(service));
    cr_expect_eq(write(wrong, "GET / HTTP/1.0\r\n\r\n", 18), 18);
    cr_expect_eq(ask(client_ctx), 0);
    while (!refusals)
        cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect_eq(refusal, -EPROTO);
    cr_expect(strstr(refused_because, "http request") != NULL, "%s", refused_because);
    int64_t started = rota_now();
    while (refusals < 2)
        cr_expect_eq(rota_sleep(10 * ROTA_MS), 0);
    cr_expect_eq(refusal, -ETIMEDOUT);
    cr_expect_leq(since(started), 11 * ROTA_S);
    close(silent);
    close(wrong);
    cr_expect_eq(served, 1);
    stop_server(task);
    free_contexts();
    return 0;
}

Task_test(tls_server, wrong_arguments) {
    contexts(NULL, NULL);
    rota_tls_serve_options opt = serving;
    cr_expect_eq(rota_tls_serve("127.0.0.1", "0", NULL, echo_lines, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_tls_serve("127.0.0.1", "0", client_ctx, echo_lines, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_tls_serve("127.0.0.1", "0", server_ctx, NULL, NULL, NULL), -EINVAL);
    opt.handshake = -1;
    cr_expect_eq(rota_tls_serve("127.0.0.1", "0", server_ctx, echo_lines, NULL, &opt), -EINVAL);
    opt = serving;
    opt.stream.buffer = reason;
    cr_expect_eq(rota_tls_serve("127.0.0.1", "0", server_ctx, echo_lines, NULL, &opt), -EINVAL);
    free_contexts();
    return 0;
}

Task_test(tls_server, dialling_fails) {
    rota_stream s;
    char closed[8];
    contexts(NULL, NULL);
    snprintf(closed, sizeof closed, "%d", closed_port());
    cr_expect_eq(rota_tls_dial(&s, "127.0.0.1", closed, client_ctx, NULL), -ECONNREFUSED);
    cr_expect_eq(s.fd, -1);
    cr_expect_eq(rota_tls_dial(NULL, "127.0.0.1", closed, client_ctx, NULL), -EINVAL);
    cr_expect_eq(rota_tls_dial(&s, "127.0.0.1", closed, server_ctx, NULL), -EINVAL);
    rota_task *task = start_server();
    cr_expect_eq(rota_tls_dial(&s, "127.0.0.1", service, client_ctx, &(rota_tls_options){.name = "example.com"}), -EACCES);
    stop_server(task);
    free_contexts();
    return 0;
}

/* Without a context the system's certificates count. */
Task_test(tls_server, the_usual_trust) {
    char path[] = "/tmp/rota-ca-XXXXXX";
    contexts(NULL, NULL);
    rota_task *task = start_server();
    cr_expect_eq(ask(NULL), -EACCES);
    cr_expect(strstr(reason, "unable to get local issuer") || strstr(reason, "self-signed"), "%s", reason);
    int fd = mkstemp(path);
    cr_expect_eq(write(fd, root.pem, strlen(root.pem)), (ssize_t)strlen(root.pem));
    close(fd);
    setenv("SSL_CERT_FILE", path, 1);
    cr_expect_eq(ask(NULL), 0, "%s", reason);
    unlink(path);
    stop_server(task);
    free_contexts();
    return 0;
}

Test(tls_server, calls_outside_of_tasks) {
    rota_stream s;
    contexts(NULL, NULL);
    cr_expect_eq(rota_tls_connect(&s, 0, "localhost", client_ctx, NULL), -EPERM);
    cr_expect_eq(rota_tls_accept(&s, 0, server_ctx, NULL), -EPERM);
    cr_expect_eq(rota_tls_dial(&s, "localhost", "1", client_ctx, NULL), -EPERM);
    free_contexts();
}

/* ---- stopped everywhere ---- */

static int listener;

static intptr_t serve_one(void *arg) {
    struct pair *p = arg;
    for (;;) {
        int fd = rota_accept(listener, NULL, NULL);
        if (fd < 0)
            return 0;
        p->server = (struct side){.s = &p->s, .fd = fd};
        (void)do_accept(&p->server);
        if (p->server.rc == 0) {
            (void)!echo_lines(&p->s, NULL);
            rota_stream_close(&p->s);
        }
    }
}

static struct pair there;

static void dial_begin(void) {
    listener = nonblocking(raw_listener(16));
    snprintf(service, sizeof service, "%d", port_of(listener));
    helper(serve_one, &there);
}

static void dial_end(void) { rota_close(listener); }

static intptr_t dial_body(void *unused) {
    rota_stream s;
    const char *line;
    (void)unused;
    int rc = S(rota_tls_dial(&s, "127.0.0.1", service, client_ctx, NULL));
    if (rc < 0)
        return rc;
    rc = S(rota_stream_write(&s, "hello\n", 6));
    ssize_t n = S(rota_stream_line(&s, 0, &line));
    int rc_2 = S(rota_stream_drain(&s));
    int rc_3 = S(rota_stream_shutdown(&s));
    ssize_t n_2 = S(rota_stream_read(&s, reason, 1));
    rota_stream_close(&s);
    return rc < 0 ? rc : n < 0 ? n : rc_2 < 0 ? rc_2 : rc_3 < 0 ? rc_3 : n_2;
}

static const struct scenario dialling = {
    .name = "tls dial", .begin = dial_begin, .body = dial_body, .end = dial_end
};

static intptr_t http_body(void *unused) {
    rota_stream s;
    const char *line;
    rota_tls_http http = {.context = client_ctx};
    (void)unused;
    int rc = S(rota_tls_http_connect(&http, &s, "127.0.0.1", service, true, reason, sizeof reason));
    if (rc < 0)
        return rc;
    rc = S(rota_stream_write(&s, "hello\n", 6));
    ssize_t n = S(rota_stream_line(&s, 0, &line));
    rota_stream_close(&s);
    return rc < 0 ? rc : n < 0 ? n : 0;
}

static const struct scenario for_http = {
    .name = "tls for http", .begin = dial_begin, .body = http_body, .end = dial_end
};

static void fd_begin(void) {
    int fds[2];
    tcp_nonblocking_pair(fds);
    there = (struct pair){.client = {.s = &there.c, .fd = fds[0], .name = "localhost"},
                          .server = {.s = &there.s, .fd = fds[1]}};
}

static intptr_t close_after_connect(void *side) {
    struct side *c = side;
    (void)do_connect(c);
    if (c->rc == 0) {
        (void)!rota_stream_write(c->s, "x", 1);
        (void)!rota_stream_read(c->s, reason, 1);
        rota_stream_close(c->s);
    }
    return 0;
}

static void accept_begin(void) {
    fd_begin();
    helper(close_after_connect, &there.client);
}

static bool for_a_server_of_http;

static intptr_t accept_body(void *unused) {
    (void)unused;
    rota_tls_http_server http = {.context = server_ctx};
    int rc = for_a_server_of_http ? S(rota_tls_http_accept(&http, &there.s, there.server.fd))
                                  : S(rota_tls_accept(&there.s, there.server.fd, server_ctx, NULL));
    if (rc < 0) {
        rota_close(there.server.fd);
        return rc;
    }
    ssize_t n = S(rota_stream_read(&there.s, reason, 1));
    rota_stream_close(&there.s);
    return n < 0 ? n : 0;
}

static const struct scenario accepting = {.name = "tls accept", .begin = accept_begin, .body = accept_body};

static intptr_t close_after_accept(void *side) {
    struct side *s = side;
    (void)do_accept(s);
    if (s->rc == 0) {
        (void)!rota_stream_read(s->s, reason, 1);
        rota_stream_close(s->s);
    }
    return 0;
}

static void connect_begin(void) {
    fd_begin();
    helper(close_after_accept, &there.server);
}

static intptr_t connect_body(void *unused) {
    (void)unused;
    int rc = S(rota_tls_connect(&there.c, there.client.fd, "localhost", client_ctx, NULL));
    if (rc < 0) {
        rota_close(there.client.fd);
        return rc;
    }
    rc = S(rota_stream_write(&there.c, "x", 1));
    rota_stream_close(&there.c);
    return rc;
}

static const struct scenario connecting = {.name = "tls connect", .begin = connect_begin, .body = connect_body};

static intptr_t ask_until_refused(void *unused) {
    (void)unused;
    while (rota_event_wait(&listens) == 0 && rota_sleep(ROTA_MS) == 0 && ask(client_ctx) == 0)
        ;
    return 0;
}

static void serve_begin(void) {
    memset(&listens, 0, sizeof listens);
    helper(ask_until_refused, NULL);
}

static intptr_t serve_for_a_while(void *unused) {
    (void)unused;
    return S(rota_tls_serve("127.0.0.1", "0", server_ctx, echo_lines, NULL, &serving));
}

static intptr_t serve_body(void *unused) {
    (void)unused;
    intptr_t v = Never(rota_timeout(3 * ROTA_MS, serve_for_a_while, NULL));
    cr_expect(v == -ETIMEDOUT || v == -ECANCELED, "%ld", (long)v);
    return S(rota_yield());
}

static const struct scenario serving_scenario = {.name = "tls serve", .begin = serve_begin, .body = serve_body};

static void in_each_way(const struct scenario *scenario) {
    contexts(NULL, NULL);
    everywhere(scenario);
    free_contexts();
}

Test(tls_everywhere, dial, .timeout = 300) { in_each_way(&dialling); }
Test(tls_everywhere, for_http, .timeout = 300) { in_each_way(&for_http); }
Test(tls_everywhere, accept, .timeout = 300) { in_each_way(&accepting); }
Test(tls_everywhere, accept_for_http, .timeout = 300) {
    for_a_server_of_http = true;
    in_each_way(&accepting);
}
Test(tls_everywhere, connect, .timeout = 300) { in_each_way(&connecting); }
Test(tls_everywhere, serve, .timeout = 300) { in_each_way(&serving_scenario); }

/* Every public call that may suspend. tests/everywhere/check.py holds it against the header. */
static const char *const suspending[] = {
    "rota_tls_accept", "rota_tls_connect", "rota_tls_dial", "rota_tls_http_accept", "rota_tls_http_connect",
    "rota_tls_serve",
};

Test(tls_everywhere, every_suspending_call_is_in_a_scenario) {
    contexts(NULL, NULL);
    everywhere_once(&dialling);
    everywhere_once(&for_http);
    everywhere_once(&accepting);
    for_a_server_of_http = true;
    everywhere_once(&accepting);
    everywhere_once(&connecting);
    everywhere_once(&serving_scenario);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
    free_contexts();
}

/* ---- faults ---- */

/* OpenSSL's memory and the adapter's, which is the same. */
static struct { size_t calls, fail_at; bool on; size_t out; } heap;

static bool must_fail(void) {
    heap.calls++;
    return heap.fail_at && (heap.calls == heap.fail_at || (heap.on && heap.calls > heap.fail_at));
}

static void *heap_malloc(size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    void *p = must_fail() ? NULL : malloc(n);
    heap.out += p != NULL;
    return p;
}

static void heap_free(void *p, const char *file, int line) {
    (void)file;
    (void)line;
    heap.out -= p != NULL;
    free(p);
}

static void *heap_realloc(void *p, size_t n, const char *file, int line) {
    if (!p)
        return heap_malloc(n, file, line);
    if (n == 0) {
        heap_free(p, file, line);
        return NULL;
    }
    return must_fail() ? NULL : realloc(p, n);
}

static intptr_t ask_server(void *unused) {
    (void)unused;
    rota_task *task;
    memset(&listens, 0, sizeof listens);
    int rc = rota_spawn(&task, serve, NULL, &(rota_spawn_options){.timeout = 20 * ROTA_S});
    if (rc < 0)
        return rc;
    rota_scope scope;
    rota_timeout_begin(&scope, 5 * ROTA_S);
    rc = rota_event_wait(&listens);
    if (rc == 0)
        rc = ask(client_ctx);
    rc = (int)rota_scope_end(&scope, rc);
    rota_cancel(task, "asked");
    (void)!rota_join(task, NULL);
    return rc;
}

static intptr_t run_once(void) {
    rota_loop_options opt = test_options();
    intptr_t v = 1;
    int rc = rota_run(ask_server, NULL, &v, &opt);
    cr_expect(rc <= 0 && v <= 0, "run %d, value %ld", rc, (long)v);
    cr_expect_eq(ERR_peek_error(), 0u);
    test_end();
    return rc < 0 ? rc : v;
}

/* One failing call after the other, until the run makes fewer. Steps keep it short: there are thousands. */
static void fail_heap(bool on, size_t step) {
    cr_assert_eq(CRYPTO_set_mem_functions(heap_malloc, heap_realloc, heap_free), 1);
    contexts(NULL, NULL);
    for (int i = 0; i < 2; i++) { /* what OpenSSL makes once is made */
        test_begin();
        cr_expect_eq(run_once(), 0, "%s", reason);
    }
    size_t out = heap.out, before = heap.calls;
    test_begin();
    cr_expect_eq(run_once(), 0, "%s", reason);
    size_t calls = heap.calls - before;
    cr_expect_eq(heap.out, out, "OpenSSL's memory is not all back");
    for (size_t at = 1; at <= calls; at += step) {
        test_begin();
        heap.fail_at = heap.calls + at;
        heap.on = on;
        (void)run_once();
        heap.fail_at = 0;
    }
    test_begin();
    cr_expect_eq(run_once(), 0, "it works again");
    free_contexts();
}

Test(tls_faults, each_allocation_of_openssl_fails_once, .timeout = 200) { fail_heap(false, under_valgrind() ? 197 : 17); }
Test(tls_faults, openssl_has_no_more_memory, .timeout = 200) { fail_heap(true, under_valgrind() ? 197 : 23); }

static void fail_ours(bool on) {
    contexts(NULL, NULL);
    test_begin();
    cr_expect_eq(run_once(), 0, "%s", reason);
    size_t calls = memory.calls;
    for (size_t at = 1; at <= calls; at++) {
        test_begin();
        memory.fail_at = at;
        memory.fail_on = on;
        (void)run_once();
    }
    free_contexts();
}

Test(tls_faults, each_allocation_of_the_loop_fails_once) { fail_ours(false); }
Test(tls_faults, the_loop_has_no_more_memory) { fail_ours(true); }

/* The system fails reads and writes, by turns; and takes and gives one byte at a time. */
static size_t io_calls, io_fail_at;
static int io_error;

static ssize_t failing_recv(int fd, void *buf, size_t n, int flags) {
    return ++io_calls == io_fail_at ? io_error : rota__sys_real.recv(fd, buf, n, flags);
}

static ssize_t failing_send(int fd, const void *buf, size_t n, int flags) {
    return ++io_calls == io_fail_at ? io_error : rota__sys_real.send(fd, buf, n, flags);
}

static void fail_io(int error) {
    contexts(NULL, NULL);
    struct rota__sys *sys = use_shim();
    sys->recv = failing_recv;
    sys->send = failing_send;
    io_error = error;
    io_calls = io_fail_at = 0;
    test_begin();
    cr_expect_eq(run_once(), 0, "%s", reason);
    size_t calls = io_calls;
    cr_expect_gt(calls, 8u);
    for (size_t at = 1; at <= calls; at++) {
        io_calls = 0;
        io_fail_at = at;
        test_begin();
        intptr_t v = run_once();
        if (error == -EINTR)
            cr_expect_eq(v, 0, "an interrupted call is made again");
    }
    free_contexts();
}

Test(tls_faults, each_transfer_fails) { fail_io(-ECONNRESET); }
Test(tls_faults, each_transfer_is_interrupted) { fail_io(-EINTR); }

/* Not over TCP, where a short read means that there is no more. */
static ssize_t one_byte_recv(int fd, void *buf, size_t n, int flags) {
    return rota__sys_real.recv(fd, buf, n < 1 ? n : 1, flags);
}

static ssize_t one_byte_send(int fd, const void *buf, size_t n, int flags) {
    return rota__sys_real.send(fd, buf, n < 1 ? n : 1, flags);
}

static intptr_t a_line_over_a_unix_pair(void *unused) {
    struct pair p = {0};
    const char *line;
    int fds[2];
    (void)unused;
    unix_pair(fds);
    shake(&p, fds, "localhost");
    cr_expect_eq(p.client.rc, 0);
    cr_expect_eq(rota_stream_write(&p.c, "hello\n", 6), 0);
    cr_expect_eq(rota_stream_line(&p.s, 0, &line), 6);
    rota_stream_close(&p.c);
    cr_expect_eq(rota_stream_line(&p.s, 0, &line), 0);
    rota_stream_close(&p.s);
    return 0;
}

Test(tls_faults, one_byte_at_a_time) {
    contexts(NULL, NULL);
    struct rota__sys *sys = use_shim();
    sys->recv = one_byte_recv;
    sys->send = one_byte_send;
    cr_expect_eq(run_task(a_line_over_a_unix_pair, NULL), 0);
    free_contexts();
}

/* ---- threads ---- */

static intptr_t pairs(void *unused) {
    (void)unused;
    for (int i = 0; i < 10; i++) {
        struct pair p = {0};
        int fds[2];
        tcp_nonblocking_pair(fds);
        shake(&p, fds, "localhost");
        cr_expect(p.client.rc == 0 && p.server.rc == 0, "%s, %s", p.client.reason, p.server.reason);
        rota_stream_close(&p.c);
        rota_stream_close(&p.s);
    }
    return 0;
}

static void *run_in_thread(void *unused) {
    (void)unused;
    cr_expect_eq(rota_run(pairs, NULL, NULL, NULL), 0);
    return NULL;
}

/* A context serves loops on several threads. */
Test(tls_server, contexts_are_shared_by_threads) {
    pthread_t threads[2];
    contexts(NULL, NULL);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, run_in_thread, NULL), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    free_contexts();
}
