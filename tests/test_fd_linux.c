/* Descriptor calls on what only Linux has: eventfd and its kin, epoll inside epoll, an epoll_ctl that fails, queues of
 * connections that are full and keep the next one waiting. */
#include "tests/net_kit.h"
#include "tests/sys_table.h"

#ifdef __linux__
# include <sys/epoll.h>
# include <sys/eventfd.h>
# include <sys/timerfd.h>

static int ctl_error;

static int failing_ctl(int epoll, int op, int fd, struct epoll_event *event) {
    return op == EPOLL_CTL_ADD && ctl_error && fd > 10 ? ctl_error : rota__sys_real.epoll_ctl(epoll, op, fd, event);
}

/* With poll(2) as the poller there is nothing but a look at the descriptor. */
static int failing_fstat(int fd, struct stat *st) {
    return fd > 10 && ctl_error ? ctl_error : rota__sys_real.fstat(fd, st);
}

static intptr_t failing_watch_body(void *unused) {
    int sv[2], high;
    char buf[4];
    (void)unused;
    unix_pair(sv);
    if (strcmp(rota_loop_backend(rota_loop_current()), "poll") == 0)
        shim.fstat = failing_fstat;
    high = fcntl(sv[0], F_DUPFD, 20);
    for (int i = 0; i < 2; i++) {
        ctl_error = i ? -ENOMEM : -ENOSPC;
        cr_expect_eq(rota_read(high, buf, 4), ctl_error);
    }
    ctl_error = 0;
    struct io io = {.fd = high, .buf = buf, .n = 4};
    rota_task *reader = start(do_read, &io);
    cr_expect_eq(write(sv[1], "x", 1), 1);
    cr_expect_eq(finish(reader), 1);
    rota_close(high);
    rota_close(sv[0]);
    close(sv[1]);
    return 0;
}

static int failing_change(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n,
                          const struct timespec *timeout) {
    return n_changes && ctl_error ? ctl_error : rota__sys_real.kevent(kq, changes, n_changes, events, n, timeout);
}

Test(fd_linux, registration_fails) {
    use_shim()->epoll_ctl = failing_ctl;
    shim.kevent = failing_change;
    cr_expect_eq(run_task(failing_watch_body, NULL), 0);
}

static intptr_t do_poll(void *arg) {
    struct io *io = arg;
    return rota_poll(io->fd, (unsigned)io->n);
}

/* Blocking ones: nothing but readiness and one call can be done with them. */
Task_test(fd_linux, event_and_timer_descriptors) {
    int event = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0), nest = epoll_create1(0);
    uint64_t n = 0, one = 1;
    struct io io = {.fd = event, .buf = &n, .n = 8};
    rota_task *reader = start(do_read, &io);
    cr_expect(!rota_task_done(reader));
    cr_expect_eq(rota_write(event, &one, 8), 8);
    cr_expect_eq(finish(reader), 8);
    cr_expect_eq(n, 1u);

    struct epoll_event e = {.events = EPOLLIN};
    epoll_ctl(nest, EPOLL_CTL_ADD, event, &e);
    struct io p = {.fd = nest, .n = ROTA_READ};
    rota_task *poller = start(do_poll, &p);
    cr_expect(!rota_task_done(poller));
    cr_expect_eq(write(event, &one, 8), 8);
    cr_expect_eq(finish(poller), ROTA_READ);

    struct itimerspec spec = {.it_value = {0, 1000000}};
    timerfd_settime(timer, 0, &spec, NULL);
    cr_expect_eq(rota_read(timer, &n, 8), 8);
    rota_close(event);
    rota_close(timer);
    rota_close(nest);
    return 0;
}

static int connect_to(int fd, int port) {
    struct sockaddr_in a = loopback(port);
    return rota_connect(fd, (struct sockaddr *)&a, sizeof a);
}

Task_test(fd_linux, connect_into_a_black_hole) {
    int fillers[2], hole = black_hole(fillers), fd = socket(AF_INET, SOCK_STREAM, 0);
    int64_t before = rota_now();
    rota_scope scope;
    rota_timeout_begin(&scope, 100 * ROTA_MS);
    intptr_t v = connect_to(fd, port_of(hole));
    cr_expect_eq(v, -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, v), -ETIMEDOUT);
    cr_expect_eq(since(before), 100 * ROTA_MS);
    rota_timeout_begin(&scope, 100 * ROTA_MS);
    v = connect_to(fd, port_of(hole)); /* under way: goes on waiting */
    cr_expect_eq(rota_scope_end(&scope, v), -ETIMEDOUT);
    rota_close(fd);
    for (int i = 0; i < 2; i++)
        close(fillers[i]);
    close(hole);
    return 0;
}

struct unix_connect {
    int fd;
    struct sockaddr_un addr;
    socklen_t len;
};

static intptr_t do_unix_connect(void *arg) {
    struct unix_connect *c = arg;
    return rota_connect(c->fd, (struct sockaddr *)&c->addr, c->len);
}

/* Nothing announces room in the queue of a unix listener. */
Task_test(fd_linux, connect_to_a_full_unix_listener) {
    struct unix_connect c[3];
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(c, 0, sizeof c);
    c[0].addr.sun_family = AF_UNIX;
    c[0].len = offsetof(struct sockaddr_un, sun_path) + 32;
    snprintf(c[0].addr.sun_path + 1, 31, "rota-test-%ld", (long)getpid()); /* abstract */
    cr_expect_eq(bind(listener, (struct sockaddr *)&c[0].addr, c[0].len), 0);
    cr_expect_eq(listen(listener, 0), 0);
    for (int i = 0; i < 3; i++) {
        c[i] = c[0];
        c[i].fd = socket(AF_UNIX, SOCK_STREAM, 0);
    }
    cr_expect_eq(do_unix_connect(&c[0]), 0);
    rota_task *second = start(do_unix_connect, &c[1]);
    cr_expect(!rota_task_done(second));
    int64_t before = rota_now();
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect(!rota_task_done(second) && since(before) == ROTA_S);
    int a = rota_accept(listener, NULL, NULL);
    cr_expect_eq(finish(second), 0);
    rota_close(a);
    rota_close(listener);
    cr_expect_eq(do_unix_connect(&c[2]), -ECONNREFUSED);
    for (int i = 0; i < 3; i++)
        rota_close(c[i].fd);
    return 0;
}

#endif
