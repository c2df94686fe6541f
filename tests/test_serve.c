/* rota_serve: clients side by side, limits, how it stops, and what it lives through. */
#include <sys/resource.h>

#include "tests/net_kit.h"
#include "tests/sys_table.h"

static int port, running, most, served;

static void listening(int fd, void *arg) {
    (void)arg;
    port = port_of(fd);
}

static const char *port_string(void) {
    static char text[8];
    snprintf(text, sizeof text, "%d", port);
    return text;
}

/* Echoes until the peer ends. */
static intptr_t echo(int fd, void *arg) {
    char buf[64];
    ssize_t n;
    (void)arg;
    running++;
    most = running > most ? running : most;
    while ((n = rota_read(fd, buf, sizeof buf)) > 0 && (n = rota_write_all(fd, buf, (size_t)n, NULL)) == 0)
        ;
    running--;
    served++;
    return n;
}

struct serving {
    rota_client_fn *client;
    rota_serve_options opt;
};

static intptr_t serve(void *arg) {
    struct serving *s = arg;
    s->opt.listening = listening;
    return rota_serve("127.0.0.1", "0", s->client, NULL, &s->opt);
}

static rota_task *start_server(struct serving *s) {
    rota_task *server = start(serve, s);
    cr_expect_eq(rota_yield(), 0); /* its acceptor */
    return server;
}

static int dial_server(void) {
    int fd = rota_dial("127.0.0.1", port_string(), NULL);
    cr_expect_geq(fd, 0);
    return fd;
}

static void expect_echo(int fd) {
    char buf[5] = "";
    cr_expect_eq(rota_write_all(fd, "ping", 4, NULL), 0);
    cr_expect_eq(rota_read_exact(fd, buf, 4, NULL), 0);
    cr_expect_str_eq(buf, "ping");
}

static void stop(rota_task *server, int expected) {
    rota_cancel(server, "test");
    cr_expect_eq(finish(server), expected);
}

Task_test(serve, clients_side_by_side) {
    struct serving s = {.client = echo};
    rota_task *server = start_server(&s);
    int fds[5];
    for (int i = 0; i < 5; i++)
        fds[i] = dial_server();
    for (int i = 4; i >= 0; i--)
        expect_echo(fds[i]);
    cr_expect_eq(running, 5);
    for (int i = 0; i < 4; i++)
        rota_close(fds[i]);
    expect_echo(fds[4]);
    cr_expect_eq(running, 1);
    stop(server, -ECANCELED);
    cr_expect_eq(running, 0, "cancelled at once, with the server");
    char c;
    cr_expect_eq(rota_read(fds[4], &c, 1), 0, "its descriptor was closed");
    rota_close(fds[4]);
    char text[8];
    snprintf(text, sizeof text, "%d", port);
    cr_expect_eq(rota_dial("127.0.0.1", text, NULL), -ECONNREFUSED);
    return 0;
}

Task_test(serve, max_clients) {
    struct serving s = {.client = echo, .opt = {.max_clients = 2}};
    rota_task *server = start_server(&s);
    int a = dial_server(), b = dial_server(), c = dial_server();
    expect_echo(a);
    expect_echo(b);
    cr_expect_eq(rota_write_all(c, "ping", 4, NULL), 0);
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect_eq(running, 2);
    rota_close(a);
    char buf[4];
    cr_expect_eq(rota_read_exact(c, buf, 4, NULL), 0);
    cr_expect_eq(most, 2);
    rota_close(b);
    rota_close(c);
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect_eq(served, 3);
    stop(server, -ECANCELED);
    return 0;
}

Task_test(serve, stopped_while_it_is_full) {
    struct serving s = {.client = echo, .opt = {.max_clients = 1}};
    rota_task *server = start_server(&s);
    int a = dial_server();
    expect_echo(a);
    stop(server, -ECANCELED);
    rota_close(a);
    return 0;
}

/* The client goes on, and ends by itself. */
Task_test(serve, drained) {
    struct serving s = {.client = echo, .opt = {.drain = 10 * ROTA_S}};
    rota_task *server = start_server(&s);
    int a = dial_server();
    expect_echo(a);
    rota_cancel(server, "test");
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect_eq(rota_dial("127.0.0.1", port_string(), NULL), -ECONNREFUSED);
    expect_echo(a);
    int64_t before = rota_now();
    rota_close(a);
    cr_expect_eq(finish(server), -ECANCELED);
    cr_expect_eq(since(before), 0, "nobody is waited for any more");
    return 0;
}

/* The client does not end in time. */
Task_test(serve, drained_to_the_limit) {
    struct serving s = {.client = echo, .opt = {.drain = 10 * ROTA_S}};
    rota_task *server = start_server(&s);
    int a = dial_server();
    expect_echo(a);
    int64_t before = rota_now();
    stop(server, -ECANCELED);
    cr_expect_eq(since(before), 10 * ROTA_S);
    rota_close(a);
    return 0;
}

Task_test(serve, under_a_deadline) {
    struct serving s = {.client = echo};
    int64_t before = rota_now();
    cr_expect_eq(rota_timeout(5 * ROTA_S, serve, &s), -ETIMEDOUT);
    cr_expect_eq(since(before), 5 * ROTA_S);
    return 0;
}

static intptr_t fails_on_x(int fd, void *arg) {
    char c = 0;
    if (rota_read(fd, &c, 1) == 1 && c == 'x')
        return -EIO;
    intptr_t rc = rota_write_all(fd, &c, 1, NULL);
    return rc < 0 ? rc : echo(fd, arg);
}

static intptr_t failing_client_body(void *unused) {
    (void)unused;
    struct serving s = {.client = fails_on_x};
    rota_task *server = start_server(&s);
    int good = dial_server(), bad = dial_server();
    char c;
    cr_expect_eq(rota_write(bad, "x", 1), 1);
    cr_expect_eq(rota_read(bad, &c, 1), 0);
    expect_echo(good);
    rota_close(good);
    rota_close(bad);
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    stop(server, -ECANCELED);
    return 0;
}

Test(serve, a_failing_client_is_reported_and_ends_nobody) {
    intptr_t value = -1;
    cr_expect_eq(run_with(failing_client_body, NULL, &value, NULL), 0);
    cr_expect_eq(reports.n, 1);
    cr_expect_eq(report_of(ROTA_REPORT_UNAWAITED)->error, -EIO);
    cr_expect_str_eq(report_of(ROTA_REPORT_UNAWAITED)->task, "client");
    cr_expect_not_null(strstr(report_of(ROTA_REPORT_UNAWAITED)->text, "spawned by rota_serve"), "%s",
                       report_of(ROTA_REPORT_UNAWAITED)->text);
}

/* The client closes its descriptor itself, and the number gets a new owner before it returns. */
static int new_owner[2];

static intptr_t closes_itself(int fd, void *arg) {
    (void)arg;
    rota_close(fd);
    unix_pair(new_owner);
    cr_expect_eq(new_owner[0], fd);
    return 0;
}

Task_test(serve, a_client_may_close_its_descriptor) {
    struct serving s = {.client = closes_itself};
    rota_task *server = start_server(&s);
    int a = dial_server();
    char c;
    cr_expect_eq(rota_read(a, &c, 1), 0);
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect(is_open(new_owner[0]), "it is not the server's to close");
    stop(server, -ECANCELED);
    close(new_owner[0]);
    close(new_owner[1]);
    rota_close(a);
    return 0;
}

/* ---- failing environments ---- */

static const int *accept_errors;
static int accepts;

static int failing_accept(int fd, struct sockaddr *addr, socklen_t *len) {
    accepts++;
    if (*accept_errors)
        return *accept_errors++;
    return rota__sys_real.accept(fd, addr, len);
}

static intptr_t starved_body(void *unused) {
    static const int errors[] = {-EMFILE, -EMFILE, -ENFILE, -ENOMEM, -ENOBUFS, -ECONNABORTED, 0};
    (void)unused;
    accept_errors = errors;
    struct serving s = {.client = echo};
    rota_task *server = start_server(&s);
    int64_t before = rota_now();
    int a = dial_server();
    expect_echo(a);
    cr_expect_geq(since(before), 5 * 50 * ROTA_MS, "each of the five was a pause");
    rota_close(a);
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    stop(server, -ECANCELED);
    return 0;
}

Test(serve, out_of_descriptors_and_memory) {
    use_shim()->accept = failing_accept;
    cr_expect_eq(run_task(starved_body, NULL), 0);
    cr_expect_eq(accepts, 6 + 1 + 1, "errors, the client, and one that found nothing");
}

static const int no_errors[] = {0};

/* The real limit, with eight peers in the queue. */
static intptr_t full_table_body(void *unused) {
    (void)unused;
    struct serving s = {.client = echo};
    struct rlimit old, tight;
    int peers[8], spare;
    accept_errors = no_errors;
    rota_task *server = start_server(&s);
    for (int i = 0; i < 8; i++)
        peers[i] = raw_connect(port);
    spare = dup(0);
    getrlimit(RLIMIT_NOFILE, &old);
    tight = old;
    tight.rlim_cur = (rlim_t)spare + 1;
    setrlimit(RLIMIT_NOFILE, &tight);
    cr_expect_eq(rota_sleep(300 * ROTA_MS), 0);
    cr_expect_eq(running, 0);
    cr_expect_leq(accepts, 10, "%d tries in 300 ms", accepts);
    rota_close(spare);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(running, 1, "the place that came free is used at once");
    setrlimit(RLIMIT_NOFILE, &old);
    for (int i = 0; i < 8; i++)
        expect_echo(peers[i]);
    for (int i = 0; i < 8; i++)
        rota_close(peers[i]);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    stop(server, -ECANCELED);
    return 0;
}

Test(serve, full_descriptor_table) {
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, "vgpreload"))
        cr_skip_test("valgrind makes its own limit, and drops the connection that is over it");
    use_shim()->accept = failing_accept;
    cr_expect_eq(run_task(full_table_body, NULL), 0);
}

static intptr_t broken_listener_body(void *unused) {
    static const int errors[] = {-EINVAL, 0};
    (void)unused;
    struct serving s = {.client = echo, .opt = {.drain = ROTA_S}};
    accept_errors = no_errors;
    rota_task *server = start_server(&s);
    int a = dial_server();
    expect_echo(a);
    accept_errors = errors;
    int b = dial_server();
    cr_expect_eq(rota_yield(), 0);
    expect_echo(a); /* it may go on for a second */
    int64_t before = rota_now();
    cr_expect_eq(finish(server), -EINVAL);
    cr_expect_leq(since(before), ROTA_S);
    rota_close(a);
    rota_close(b);
    return 0;
}

Test(serve, a_broken_listener_ends_it) {
    use_shim()->accept = failing_accept;
    cr_expect_eq(run_task(broken_listener_body, NULL), 0);
}

/* No task can be had for a client: it is kept until there is one. */
static intptr_t no_task_body(void *unused) {
    (void)unused;
    struct serving s = {.client = echo};
    rota_task *server = start_server(&s); /* the third of four, its acceptor the fourth */
    int64_t pause = ROTA_S;
    rota_task *filler = start(sleep_for, &pause);
    int a = dial_server();
    int64_t before = rota_now();
    expect_echo(a);
    cr_expect_geq(since(before), ROTA_S - 60 * ROTA_MS);
    cr_expect_eq(finish(filler), 0);
    rota_close(a);
    stop(server, -ECANCELED);
    return 0;
}

Test(serve, no_task_for_a_client) {
    rota_loop_options opt = test_options();
    intptr_t value = -1;
    opt.max_tasks = 4;
    cr_expect_eq(run_with(no_task_body, NULL, &value, &opt), 0);
    cr_expect_eq(reports.n, 0);
}

static intptr_t no_task_ever_body(void *unused) {
    (void)unused;
    struct serving s = {.client = echo};
    rota_task *server = start_server(&s), *filler = start(wait_forever, NULL);
    int a = dial_server();
    char c;
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    stop(server, -ECANCELED);
    cr_expect_eq(rota_read(a, &c, 1), 0, "the one that was kept is closed");
    rota_close(a);
    rota_cancel(filler, "test");
    cr_expect_eq(finish(filler), -ECANCELED);
    return 0;
}

Test(serve, stopped_while_a_client_waits_for_its_task) {
    rota_loop_options opt = test_options();
    intptr_t value = -1;
    opt.max_tasks = 4;
    cr_expect_eq(run_with(no_task_ever_body, NULL, &value, &opt), 0);
}

Task_test(serve, bad_arguments) {
    cr_expect_eq(rota_serve("127.0.0.1", "0", NULL, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_serve("127.0.0.1", "0", echo, NULL, &(rota_serve_options){.drain = -1}), -EINVAL);
    cr_expect_eq(rota_serve("127.0.0.1", "65536", echo, NULL, NULL), -EINVAL);
    int fd = raw_listener(1);
    port = port_of(fd);
    cr_expect_eq(rota_serve("127.0.0.1", port_string(), echo, NULL, NULL), -EADDRINUSE);
    close(fd);
    return 0;
}

/* The loop closes under it: cancelled like everything else. */
static intptr_t leave_it_body(void *unused) {
    (void)unused;
    static struct serving s = {.client = echo};
    rota_task_release(start_server(&s));
    int a = dial_server();
    expect_echo(a);
    rota_close(a);
    return 0;
}

Test(serve, closing_the_loop_ends_it) { cr_expect_eq(run_task(leave_it_body, NULL), 0); }
