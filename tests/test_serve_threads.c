/* rota_serve on several loops, and on a listener of the caller's: what stops one stops all, and nobody is left. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "rota/net.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

enum { THREADS = 4, CLIENTS = 64 };

static int port;
static atomic_int running, served, loops_seen;
static _Thread_local bool seen_here;

static void listening(int fd, void *arg) {
    (void)arg;
    port = port_of(fd);
}

static intptr_t echo(int fd, void *arg) {
    char buf[16];
    ssize_t n;
    cr_expect_eq(arg, (void *)&served);
    if (!seen_here)
        atomic_fetch_add(&loops_seen, 1);
    seen_here = true;
    atomic_fetch_add(&running, 1);
    while ((n = rota_read(fd, buf, sizeof buf)) > 0 && (n = rota_write_all(fd, buf, (size_t)n, NULL)) == 0)
        ;
    atomic_fetch_sub(&running, 1);
    atomic_fetch_add(&served, 1);
    return n == -ECONNRESET ? 0 : n;
}

/* Real time: other threads are waited for. */
static rota_loop_options real_time(void) {
    rota_loop_options opt = test_options();
    opt.virtual_clock = false;
    return opt;
}

static void run_real(rota_fn *body) {
    rota_loop_options opt = real_time();
    intptr_t v = -1;
    cr_expect_eq(run_with(body, NULL, &v, &opt), 0);
    cr_expect_eq(v, 0);
    cr_expect_eq(reports.n, 0, "%s", reports.all[0].text);
    wait_for_threads();
    test_end();
}

static rota_serve_options serve_options;

static intptr_t serve(void *arg) {
    serve_options.listening = listening;
    if (arg)
        return rota_serve_fd(*(int *)arg, echo, &served, &serve_options);
    return rota_serve("127.0.0.1", "0", echo, &served, &serve_options);
}

static rota_task *start_server(void *listener) {
    rota_task *server;
    port = 0;
    cr_expect_eq(rota_spawn(&server, serve, listener, NULL), 0);
    while (!port && !rota_task_done(server))
        cr_expect_eq(rota_yield(), 0);
    return server;
}

static int dial(void) {
    char text[8];
    snprintf(text, sizeof text, "%d", port);
    return rota_dial("127.0.0.1", text, NULL);
}

static void expect_echo(int fd) {
    char c = 0;
    cr_expect_eq(rota_write(fd, "x", 1), 1);
    cr_expect_eq(rota_read(fd, &c, 1), 1);
    cr_expect_eq(c, 'x');
}

static void stop(rota_task *server, int expected) {
    rota_cancel(server, "test");
    cr_expect_eq(finish(server), expected);
    cr_expect_eq(atomic_load(&running), 0, "clients are left");
}

static intptr_t all_are_served(void *spread) {
    int fds[CLIENTS];
    rota_task *server = start_server(NULL);
    for (int i = 0; i < CLIENTS; i++)
        expect_echo(fds[i] = dial());
    cr_expect_eq(atomic_load(&running), CLIENTS);
    /* By its hash each connection has a listener; that one of four gets none of 64 has a chance of 1 to 10^7. */
    if (spread)
        cr_expect_eq(atomic_load(&loops_seen), THREADS);
    stop(server, -ECANCELED);
    for (int i = 0; i < CLIENTS; i++) {
        char c;
        cr_expect_leq(rota_read(fds[i], &c, 1), 0);
        rota_close(fds[i]);
    }
    cr_expect_eq(atomic_load(&served), CLIENTS);
    cr_expect_eq(dial(), -ECONNREFUSED);
    return 0;
}

static intptr_t all_are_served_spread(void *unused) {
    (void)unused;
    return all_are_served(NOT_LINUX ? NULL : &port);
}

static intptr_t all_are_served_shared(void *unused) {
    (void)unused;
    return all_are_served(NULL);
}

Test(serve_threads, each_with_a_listener_of_its_own) {
    serve_options.threads = THREADS;
    run_real(all_are_served_spread);
}

static int no(void) { return 0; }

Test(serve_threads, one_listener_for_all) {
    use_shim()->spreads_connections = no;
    serve_options.threads = THREADS;
    run_real(all_are_served_shared);
    rota__sys = &rota__sys_real;
}

/* A server that is started twice by mistake does not get half of the connections. */
static intptr_t second_body(void *unused) {
    (void)unused;
    rota_task *server = start_server(NULL);
    char text[8];
    snprintf(text, sizeof text, "%d", port);
    int fd = dial();
    expect_echo(fd); /* by now the listeners of all threads are there */
    cr_expect_eq(rota_serve("127.0.0.1", text, echo, &served, &serve_options), -EADDRINUSE);
    rota_close(fd);
    stop(server, -ECANCELED);
    return 0;
}

Test(serve_threads, a_second_server_is_refused) {
    serve_options.threads = THREADS;
    run_real(second_body);
}

/* Those who are served go on until the drain's end, on every loop. */
static intptr_t drain_body(void *unused) {
    int fds[CLIENTS];
    (void)unused;
    rota_task *server = start_server(NULL);
    for (int i = 0; i < CLIENTS; i++)
        expect_echo(fds[i] = dial());
    rota_cancel(server, "test");
    for (int fd; (fd = dial()) >= 0;) { /* until nobody listens any more */
        rota_close(fd);
        cr_expect_eq(rota_sleep(ROTA_MS), 0);
    }
    cr_expect(!rota_task_done(server));
    for (int i = 0; i < CLIENTS; i++) {
        expect_echo(fds[i]);
        rota_close(fds[i]);
    }
    cr_expect_eq(finish(server), -ECANCELED);
    cr_expect_eq(atomic_load(&running), 0);
    return 0;
}

Test(serve_threads, all_of_them_drain) {
    serve_options.threads = 3;
    serve_options.drain = 30 * ROTA_S;
    run_real(drain_body);
}

/* Each loop has its share of the limit. */
static intptr_t limit_body(void *unused) {
    int fds[8];
    (void)unused;
    rota_task *server = start_server(NULL);
    for (int i = 0; i < 8; i++)
        fds[i] = dial();
    for (int i = 0; i < 8; i++)
        cr_expect_eq(rota_write(fds[i], "x", 1), 1);
    for (int i = 0; i < 8; i++) {
        char c;
        cr_expect_eq(rota_read(fds[i], &c, 1), 1);
        cr_expect_leq(atomic_load(&running), 2);
        rota_close(fds[i]);
    }
    stop(server, -ECANCELED);
    return 0;
}

Test(serve_threads, limit_of_clients) {
    use_shim()->spreads_connections = no; /* else one queue could have them all */
    serve_options.threads = 2;
    serve_options.max_clients = 2;
    run_real(limit_body);
    rota__sys = &rota__sys_real;
}

/* ---- what goes wrong ---- */

static atomic_int threads_allowed, accepts_fail;
static pthread_t first_thread;

static int few_threads(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack) {
    return atomic_fetch_sub(&threads_allowed, 1) > 0 ? rota__sys_real.thread(thread, fn, arg, stack) : -EAGAIN;
}

static intptr_t no_thread_body(void *unused) {
    (void)unused;
    for (int i = 0; i < THREADS - 1; i++) {
        atomic_store(&threads_allowed, i);
        cr_expect_eq(rota_serve("127.0.0.1", "0", echo, &served, &serve_options), -EAGAIN);
    }
    return 0;
}

Test(serve_threads, threads_that_cannot_be_made) {
    use_shim()->thread = few_threads;
    serve_options.threads = THREADS;
    run_real(no_thread_body);
    rota__sys = &rota__sys_real;
}

static int broken_elsewhere(int fd, struct sockaddr *addr, socklen_t *len) {
    return atomic_load(&accepts_fail) && !pthread_equal(pthread_self(), first_thread) ? -EINVAL
                                                                         : rota__sys_real.accept(fd, addr, len);
}

/* A listener of another thread breaks: all stop, and the error is that one's. */
static intptr_t broken_body(void *unused) {
    (void)unused;
    rota_task *server = start_server(NULL);
    int fd = dial();
    expect_echo(fd);
    atomic_store(&accepts_fail, 1);
    int n = 0;
    while (!rota_task_done(server)) {
        int other = dial();
        if (other >= 0)
            rota_close(other);
        cr_expect_eq(rota_sleep(ROTA_MS), 0);
        if (n++ > 5000)
            break;
    }
    cr_expect_eq(finish(server), -EINVAL);
    rota_close(fd);
    cr_expect_eq(atomic_load(&running), 0);
    return 0;
}

Test(serve_threads, one_of_them_fails) {
    first_thread = pthread_self();
    use_shim()->accept = broken_elsewhere;
    serve_options.threads = 2;
    run_real(broken_body);
    rota__sys = &rota__sys_real;
}

/* A loop that cannot be made in its thread. */
static intptr_t no_loop_body(void *unused) {
    (void)unused;
    cr_expect_eq(rota_serve("127.0.0.1", "0", echo, &served, &serve_options), -EINVAL);
    return 0;
}

Test(serve_threads, loops_that_cannot_be_made) {
    static const rota_loop_options bad = {.backend = "none such"};
    serve_options.threads = 2;
    serve_options.loop = &bad;
    run_real(no_loop_body);
}

/* Stopped at once, when some of the threads may not have come far; and by a deadline. */
static intptr_t at_once_body(void *unused) {
    (void)unused;
    for (int i = 0; i < 20; i++) {
        rota_task *server = start_server(NULL);
        stop(server, -ECANCELED);
    }
    rota_scope scope;
    rota_timeout_begin(&scope, 5 * ROTA_MS);
    cr_expect_eq(rota_scope_end(&scope, serve(NULL)), -ETIMEDOUT);
    return 0;
}

Test(serve_threads, stopped_at_once) {
    serve_options.threads = THREADS;
    run_real(at_once_body);
}

/* The first loop is closed while all of them serve. */
static intptr_t leave_it(void *unused) {
    (void)unused;
    rota_task *server = start_server(NULL);
    int fd = dial();
    expect_echo(fd);
    rota_close(fd);
    rota_task_release(server);
    return 0;
}

Test(serve_threads, closing_the_loop_ends_all) {
    serve_options.threads = 2;
    run_real(leave_it);
}

/* ---- a listener of the caller's ---- */

static intptr_t own_listener_body(void *unused) {
    int listener = raw_listener(8); /* one that blocks */
    (void)unused;
    rota_task *server = start_server(&listener);
    int fd = dial();
    expect_echo(fd);
    rota_close(fd);
    stop(server, -ECANCELED);
    cr_expect(!is_open(listener));
    return 0;
}

Test(serve_threads, own_listener) { run_real(own_listener_body); }

Test(serve_threads, own_listener_on_several_loops) {
    serve_options.threads = 3;
    run_real(own_listener_body);
}

static intptr_t unix_body(void *unused) {
    char path[] = "/tmp/rota-serve-XXXXXX";
    int file = mkstemp(path);
    close(file);
    unlink(path);
    (void)unused;
    int listener = rota_unix_listen(path, NULL);
    rota_task *server = start(serve, &listener);
    int fd = rota_unix_dial(path);
    expect_echo(fd);
    rota_close(fd);
    stop(server, -ECANCELED);
    cr_expect_eq(rota_unix_dial(path), -ECONNREFUSED);
    unlink(path);
    return 0;
}

Test(serve_threads, a_unix_listener) { run_real(unix_body); }

/* It is closed on every return. */
static intptr_t bad_body(void *unused) {
    static const rota_serve_options drain = {.drain = -1}, many = {.threads = 1025};
    int fds[4];
    (void)unused;
    for (int i = 0; i < 4; i++)
        fds[i] = raw_listener(1);
    cr_expect_eq(rota_serve_fd(fds[0], NULL, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_serve_fd(fds[1], echo, NULL, &drain), -EINVAL);
    cr_expect_eq(rota_serve_fd(fds[2], echo, NULL, &many), -EINVAL);
    rota_scope scope;
    rota_scope_begin(&scope);
    rota_scope_cancel(&scope, "test");
    cr_expect_eq(rota_serve_fd(fds[3], echo, NULL, NULL), -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, 0), 0);
    for (int i = 0; i < 4; i++)
        cr_expect(!is_open(fds[i]));
    cr_expect_eq(rota_serve_fd(-1, echo, NULL, NULL), -EBADF);
    int sv[2];
    unix_pair(sv);
    cr_expect_eq(rota_serve_fd(sv[0], echo, NULL, NULL), -EINVAL); /* it does not listen */
    cr_expect(!is_open(sv[0]));
    close(sv[1]);
    return 0;
}

Test(serve_threads, own_listener_bad_arguments) { run_real(bad_body); }

/* ---- F16, shortened: many who say next to nothing, and one who talks ---- */

enum { SLOW = 200 };

static intptr_t echo_with_patience(int fd, void *arg) {
    char c;
    (void)arg;
    for (;;) {
        rota_scope scope;
        rota_timeout_begin(&scope, 5 * ROTA_S);
        ssize_t n = (ssize_t)rota_scope_end(&scope, rota_read(fd, &c, 1));
        if (n == -ETIMEDOUT)
            atomic_fetch_add(&served, 1);
        if (n <= 0 || rota_write(fd, &c, 1) != 1)
            return 0;
    }
}

static intptr_t serve_patiently(void *listener) {
    return rota_serve_fd(*(int *)listener, echo_with_patience, NULL, NULL);
}

/* Unix sockets, because their bytes arrive at once: on a virtual clock a byte under way is no reason to wait. */
Task_test(serve_threads, slow_clients_hold_nobody_up) {
    char path[] = "/tmp/rota-serve-XXXXXX", c;
    int slow[SLOW];
    close(mkstemp(path));
    unlink(path);
    int listener = rota_unix_listen(path, NULL);
    rota_task *server = start(serve_patiently, &listener);
    for (int i = 0; i < SLOW; i++)
        expect_echo(slow[i] = rota_unix_dial(path));
    int64_t before = rota_now();
    int fd = rota_unix_dial(path);
    for (int i = 0; i < 100; i++)
        expect_echo(fd);
    cr_expect_eq(since(before), 0, "it waited for somebody else");
    for (int i = 0; i < SLOW; i++) {
        cr_expect_leq(rota_read(slow[i], &c, 1), 0);
        rota_close(slow[i]);
    }
    cr_expect_eq(since(before), 5 * ROTA_S, "they are let go after their time, not before");
    rota_close(fd);
    rota_cancel(server, "test");
    cr_expect_eq(finish(server), -ECANCELED);
    cr_expect_geq(atomic_load(&served), SLOW);
    unlink(path);
    return 0;
}
