/* Listening and dialling: families, the order and the timing of attempts, what is left open afterwards. */
#include "tests/net_kit.h"
#include "tests/sys_table.h"

#include <netinet/tcp.h> /* on OpenBSD it needs what comes before */

/* ---- listen ---- */

static int family_of(int fd) {
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    return getsockname(fd, (struct sockaddr *)&a, &len) < 0 ? -1 : a.ss_family;
}

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, name, &value, &len) < 0 ? -1 : value;
}

static const char *port_text(int fd) {
    static char text[8];
    snprintf(text, sizeof text, "%d", port_of(fd));
    return text;
}

Task_test(tcp, listen_on_all_addresses) {
    int fd = rota_listen(NULL, "0", NULL);
    cr_expect_geq(fd, 0);
    cr_expect(!is_blocking(fd));
    cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    cr_expect_eq(option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    int client = rota_dial("127.0.0.1", port_text(fd), NULL), served = rota_accept(fd, NULL, NULL);
    cr_expect_geq(client, 0);
    cr_expect_geq(served, 0);
    cr_expect_eq(option(client, IPPROTO_TCP, TCP_NODELAY) != 0, 1);
    cr_expect_eq(option(served, IPPROTO_TCP, TCP_NODELAY) != 0, 1, "taken from the listener");
    cr_expect(!is_blocking(client));
    cr_expect_eq(fcntl(client, F_GETFD), FD_CLOEXEC);
    cr_expect_eq(rota_write(client, "x", 1), 1);
    char c;
    cr_expect_eq(rota_read(served, &c, 1), 1);
    rota_close(client);
    rota_close(served);
    rota_close(fd);
    return 0;
}

Task_test(tcp, listen_options) {
    int six = rota_listen("::", "0", &(rota_listen_options){.ipv6_only = true, .backlog = 4});
    if (six >= 0) {
        cr_expect_eq(option(six, IPPROTO_IPV6, IPV6_V6ONLY), 1);
        cr_expect_eq(rota_dial("127.0.0.1", port_text(six), NULL), -ECONNREFUSED);
        int fd = rota_dial("::1", port_text(six), NULL);
        cr_expect_geq(fd, 0);
        rota_close(fd);
        rota_close(six);
    }
    int four = rota_listen("127.0.0.1", NULL, &(rota_listen_options){.reuse_port = true});
    cr_expect_eq(family_of(four), AF_INET);
    int twin = rota_listen("127.0.0.1", port_text(four), &(rota_listen_options){.reuse_port = true});
    cr_expect_geq(twin, 0);
    cr_expect_eq(rota_listen("127.0.0.1", port_text(four), NULL), -EADDRINUSE);
    rota_close(four);
    rota_close(twin);
    cr_expect_eq(rota_listen("192.0.2.1", "0", NULL), -EADDRNOTAVAIL);
    cr_expect_eq(rota_listen("127.0.0.1", "65536", NULL), -EINVAL);
    cr_expect_eq(rota_listen("not an address", "0", NULL), -EINVAL);
    return 0;
}

static int no_ipv6(int domain, int type, int protocol) {
    return domain == AF_INET6 ? -EAFNOSUPPORT : rota__sys_real.socket(domain, type, protocol);
}

static intptr_t no_ipv6_body(void *unused) {
    (void)unused;
    int fd = rota_listen(NULL, "0", NULL);
    cr_expect_eq(family_of(fd), AF_INET);
    rota_close(fd);
    cr_expect_eq(rota_listen("::", "0", &(rota_listen_options){.ipv6_only = true}), -EAFNOSUPPORT);
    cr_expect_eq(rota_dial("::1", "80", NULL), -EAFNOSUPPORT);
    return 0;
}

Test(tcp, without_ipv6) {
    use_shim()->socket = no_ipv6;
    cr_expect_eq(run_task(no_ipv6_body, NULL), 0);
}

/* ---- dial one address ---- */

Task_test(tcp, dial_a_closed_port) {
    char port[8];
    snprintf(port, sizeof port, "%d", closed_port());
    cr_expect_eq(rota_dial("127.0.0.1", port, NULL), -ECONNREFUSED);
    return 0; /* test_end counts the descriptors */
}

Task_test(tcp, dial_bad_arguments) {
    cr_expect_eq(rota_dial(NULL, "80", NULL), -EINVAL);
    cr_expect_eq(rota_dial("", "80", NULL), -EINVAL);
    cr_expect_eq(rota_dial("127.0.0.1", NULL, NULL), -EINVAL);
    cr_expect_eq(rota_dial("127.0.0.1", "65536", NULL), -EINVAL);
    cr_expect_eq(rota_dial("127.0.0.1", "80", &(rota_dial_options){.stagger = -1}), -EINVAL);
    cr_expect_eq(rota_dial("127.0.0.1", "80", &(rota_dial_options){.family = AF_UNIX}), -EINVAL);
    return 0;
}

static int threads;

static int counting_thread(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack_size) {
    threads++;
    return rota__sys_real.thread(thread, fn, arg, stack_size);
}

static intptr_t numeric_body(void *unused) {
    (void)unused;
    int listener = raw_listener(8), fd = rota_dial("127.0.0.1", port_text(listener), NULL);
    cr_expect_geq(fd, 0);
    rota_close(fd);
    close(listener);
    cr_expect_eq(threads, 0);
    return 0;
}

Test(tcp, numbers_need_no_thread) {
    use_shim()->thread = counting_thread;
    cr_expect_eq(run_task(numeric_body, NULL), 0);
}

/* ---- dial several addresses ---- */

/* What the name "many" means, and what happened when. */
static struct target {
    int family, port;    /* port 0: unreachable at once; -1: no answer, ever */
} targets[16];
static int n_targets, tried_family[16], n_tried;
static int64_t tried_at[16];
static struct addrinfo nodes[16];
static struct sockaddr_storage addresses[16];

static int many_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                            struct addrinfo **list) {
    (void)service;
    if (strcmp(host, "many") != 0)
        return rota__sys_real.getaddrinfo(host, service, hints, list);
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    for (int i = 0; i < n_targets; i++) {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)&addresses[i];
        struct sockaddr_in *four = (struct sockaddr_in *)&addresses[i];
        bool is_six = targets[i].family == AF_INET6;
        memset(&addresses[i], 0, sizeof addresses[i]);
        addresses[i].ss_family = (sa_family_t)targets[i].family;
        if (is_six) {
            six->sin6_addr = in6addr_loopback;
            six->sin6_port = htons((uint16_t)i);
        } else {
            *four = loopback(i);
        }
        nodes[i] = (struct addrinfo){.ai_family = targets[i].family, .ai_addr = (struct sockaddr *)&addresses[i],
                                     .ai_addrlen = is_six ? sizeof *six : sizeof *four,
                                     .ai_next = i + 1 < n_targets ? &nodes[i + 1] : NULL};
    }
    *list = nodes;
    return 0;
}

static void many_freeaddrinfo(struct addrinfo *list) {
    if (list != nodes)
        rota__sys_real.freeaddrinfo(list);
}

static int hole_port;

static int scripted_connect(int fd, const struct sockaddr *addr, socklen_t len) {
    (void)len;
    int i = ntohs(addr->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)addr)->sin6_port
                                              : ((const struct sockaddr_in *)addr)->sin_port);
    tried_family[n_tried] = addr->sa_family;
    tried_at[n_tried++] = rota_now();
    if (targets[i].port == 0)
        return -ENETUNREACH;
    /* Those of IPv6 are only ever unreachable or without answer here: an IPv4 socket takes their place. */
    if (addr->sa_family == AF_INET6) {
        int four = nonblocking(socket(AF_INET, SOCK_STREAM, 0));
        dup2(four, fd);
        close(four);
    }
    struct sockaddr_in to = loopback(targets[i].port < 0 ? hole_port : targets[i].port);
    return rota__sys_real.connect(fd, (struct sockaddr *)&to, sizeof to);
}

static void script(struct rota__sys *table) {
    table->getaddrinfo = many_getaddrinfo;
    table->freeaddrinfo = many_freeaddrinfo;
    table->connect = scripted_connect;
    n_targets = n_tried = 0;
}

static void target(int family, int port) { targets[n_targets++] = (struct target){family, port}; }

static intptr_t order_body(void *unused) {
    (void)unused;
    static const int expected[] = {AF_INET6, AF_INET, AF_INET6, AF_INET, AF_INET6, AF_INET6};
    int64_t start_time = rota_now();
    for (int i = 0; i < 4; i++)
        target(AF_INET6, 0);
    target(AF_INET, 0);
    target(AF_INET, closed_port());
    cr_expect_eq(rota_dial("many", "80", NULL), -ENETUNREACH, "the error of the last one");
    cr_expect_eq(n_tried, 6);
    for (int i = 0; i < 6; i++) {
        cr_expect_eq(tried_family[i], expected[i], "attempt %d", i);
        cr_expect_eq(tried_at[i], start_time, "a failure starts the next one at once");
    }
    return 0;
}

Test(tcp, families_alternate, .fini = wait_for_threads) {
    script(use_shim());
    cr_expect_eq(run_task(order_body, NULL), 0);
}

static intptr_t stagger_body(void *unused) {
    (void)unused;
    int fillers[2], hole = black_hole(fillers), listener = raw_listener(8);
    hole_port = port_of(hole);
    target(AF_INET6, -1);
    target(AF_INET, -1);
    target(AF_INET6, -1);
    target(AF_INET, port_of(listener));
    target(AF_INET, 0);
    int64_t start_time = rota_now();
    int fd = rota_dial("many", "80", NULL);
    cr_expect_geq(fd, 0);
    cr_expect_eq(n_tried, 4);
    for (int i = 0; i < n_tried; i++)
        cr_expect_eq(tried_at[i] - start_time, i * 250 * ROTA_MS, "attempt %d", i);
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    cr_expect_eq(getpeername(fd, (struct sockaddr *)&peer, &len), 0);
    cr_expect_eq(ntohs(peer.sin_port), port_of(listener));
    rota_close(fd);

    n_tried = 0;
    start_time = rota_now();
    fd = rota_dial("many", "80", &(rota_dial_options){.stagger = 10 * ROTA_MS});
    cr_expect_geq(fd, 0);
    cr_expect_eq(since(start_time), 30 * ROTA_MS);
    rota_close(fd);
    close(listener);
    for (int i = 0; i < 2; i++)
        close(fillers[i]);
    close(hole);
    return 0;
}

Test(tcp, attempts_are_staggered, .disabled = NOT_LINUX, .fini = wait_for_threads) {
    script(use_shim());
    cr_expect_eq(run_task(stagger_body, NULL), 0);
}

/* One fails while another is under way: the next one need not wait for the clock. */
static intptr_t failure_body(void *unused) {
    (void)unused;
    static const int64_t expected[] = {0, 250, 250, 500};
    int fillers[2], hole = black_hole(fillers), listener = raw_listener(8);
    hole_port = port_of(hole);
    target(AF_INET, -1);
    target(AF_INET, closed_port());
    target(AF_INET, -1);
    target(AF_INET, port_of(listener));
    int64_t start_time = rota_now();
    int fd = rota_dial("many", "80", NULL);
    cr_expect_geq(fd, 0);
    cr_expect_eq(n_tried, 4);
    for (int i = 0; i < n_tried; i++)
        cr_expect_eq(tried_at[i] - start_time, expected[i] * ROTA_MS, "attempt %d", i);
    rota_close(fd);
    close(listener);
    for (int i = 0; i < 2; i++)
        close(fillers[i]);
    close(hole);
    return 0;
}

Test(tcp, a_failure_starts_the_next_one, .disabled = NOT_LINUX, .fini = wait_for_threads) {
    script(use_shim());
    cr_expect_eq(run_task(failure_body, NULL), 0);
}

static intptr_t late_winner_body(void *unused) {
    (void)unused;
    int fillers[2], hole = black_hole(fillers), listener = raw_listener(8);
    hole_port = port_of(hole);
    for (int i = 0; i < 12; i++) /* more than fit on the stack */
        target(i % 2 ? AF_INET : AF_INET6, -1);
    target(AF_INET, port_of(listener));
    int fd = rota_dial("many", "80", &(rota_dial_options){.stagger = ROTA_MS});
    cr_expect_geq(fd, 0);
    cr_expect_eq(n_tried, 13);
    rota_close(fd);

    rota_scope scope;
    n_targets = 12;
    n_tried = 0;
    rota_timeout_begin(&scope, 100 * ROTA_MS);
    intptr_t v = rota_dial("many", "80", &(rota_dial_options){.stagger = ROTA_MS});
    cr_expect_eq(v, -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, v), -ETIMEDOUT);

    memory.fail_at = memory.calls + 1;
    n_tried = 0;
    cr_expect_eq(rota_dial("many", "80", NULL), -ENOMEM);
    memory.fail_at = 0;
    close(listener);
    for (int i = 0; i < 2; i++)
        close(fillers[i]);
    close(hole);
    return 0;
}

Test(tcp, many_attempts_at_once, .disabled = NOT_LINUX, .fini = wait_for_threads) {
    script(use_shim());
    cr_expect_eq(run_task(late_winner_body, NULL), 0);
}

static intptr_t do_dial(void *port) { return rota_dial("127.0.0.1", port, NULL); }

static intptr_t cancelled_body(void *unused) {
    (void)unused;
    int fillers[2], hole = black_hole(fillers);
    rota_task *dialler = start(do_dial, (void *)(uintptr_t)port_text(hole));
    cr_expect(!rota_task_done(dialler));
    rota_cancel(dialler, "test");
    cr_expect_eq(finish(dialler), -ECANCELED);
    for (int i = 0; i < 2; i++)
        close(fillers[i]);
    close(hole);
    return 0;
}

Test(tcp, cancelled_dial, .disabled = NOT_LINUX) { cr_expect_eq(run_task(cancelled_body, NULL), 0); }

static int no_sockets(int domain, int type, int protocol) {
    (void)domain, (void)type, (void)protocol;
    return -EMFILE;
}

static intptr_t no_sockets_body(void *unused) {
    (void)unused;
    cr_expect_eq(rota_dial("127.0.0.1", "80", NULL), -EMFILE);
    cr_expect_eq(rota_listen(NULL, "0", NULL), -EMFILE);
    return 0;
}

Test(tcp, no_descriptor_left) {
    use_shim()->socket = no_sockets;
    cr_expect_eq(run_task(no_sockets_body, NULL), 0);
}

/* More clients at once than the queue holds. (With hundreds the kernel backs off for minutes.) */
enum { BURST = 60 };

static intptr_t burst_client(void *port) {
    char c = 'x';
    int fd = rota_dial("127.0.0.1", port, NULL);
    if (fd < 0)
        return fd;
    intptr_t rc = rota_write_all(fd, &c, 1, NULL);
    if (rc == 0)
        rc = rota_read_exact(fd, &c, 1, NULL);
    rota_close(fd);
    return rc;
}

static intptr_t burst_served(void *arg) {
    char c;
    int fd = *(int *)arg;
    intptr_t rc = rota_read_exact(fd, &c, 1, NULL);
    if (rc == 0)
        rc = rota_write_all(fd, &c, 1, NULL);
    rota_close(fd);
    return rc;
}

static intptr_t burst_body(void *unused) {
    (void)unused;
    rota_group group;
    int listener = rota_listen("127.0.0.1", "0", &(rota_listen_options){.backlog = 16});
    rota_group_begin(&group, NULL);
    for (int i = 0; i < BURST; i++)
        cr_expect_eq(rota_spawn(NULL, burst_client, (void *)(uintptr_t)port_text(listener),
                                &(rota_spawn_options){.group = &group}), 0);
    for (int i = 0; i < BURST; i++) {
        int fd = rota_accept(listener, NULL, NULL);
        cr_expect_geq(fd, 0);
        cr_expect_eq(rota_spawn(NULL, burst_served, &fd,
                                &(rota_spawn_options){.group = &group, .arg_size = sizeof fd}), 0);
    }
    cr_expect_eq(rota_group_end(&group, 0), 0);
    rota_close(listener);
    return 0;
}

/* The kernel's own retries take real time. */
Test(tcp, burst_of_connections, .timeout = 60) {
    rota_loop_options opt = test_options();
    opt.virtual_clock = false;
    intptr_t value = -1;
    cr_expect_eq(run_with(burst_body, NULL, &value, &opt), 0);
    cr_expect_eq(value, 0);
    cr_expect_eq(reports.n, 0);
}
