/* Each system call of an echo over TCP fails, at each place, with each error that it may: once, and from then on.
 * Whatever the program makes of it, it ends; the loop gives everything back, and serves the next round. */
#include "tests/small/kit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>

static intptr_t serves(void *arg) {
    int fd = *(int *)arg;
    char buf[64];
    ssize_t n;
    while ((n = rota_read(fd, buf, sizeof buf)) > 0)
        if (rota_write_all(fd, buf, (size_t)n, NULL) < 0)
            break;
    (void)rota_close(fd);
    return n;
}

static intptr_t accepts(void *arg) {
    int listener = *(int *)arg, fd;
    while ((fd = rota_accept(listener, NULL, NULL)) >= 0 || fd == -EMFILE || fd == -ENFILE)
        if (fd >= 0 && rota_spawn(NULL, serves, &fd, &(rota_spawn_options){ .arg_size = sizeof fd }) < 0)
            (void)rota_close(fd);
    return fd;
}

static int asks(int fd, const struct sockaddr_in *addr) {
    char buf[4];
    int rc = rota_connect(fd, (const struct sockaddr *)addr, sizeof *addr);
    if (rc == 0)
        rc = rota_write_all(fd, "ping", 4, NULL);
    if (rc == 0)
        rc = rota_poll(fd, ROTA_READ);
    if (rc >= 0)
        rc = rota_read_exact(fd, buf, 4, NULL);
    return rc;
}

static intptr_t echoes(void *arg) {
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    rota_task *acceptor;
    rota_scope scope;
    (void)arg;
    int listener = rota_listen("127.0.0.1", "0", NULL);
    if (listener < 0)
        return listener;
    int rc = getsockname(listener, (struct sockaddr *)&addr, &len);
    cr_expect_eq(rc, 0);
    cr_expect_eq(rota_spawn(&acceptor, accepts, &listener, NULL), 0);
    rota_timeout_begin(&scope, ROTA_S);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rc = fd < 0 ? -errno : asks(fd, &addr);
    rc = (int)rota_scope_end(&scope, rc);
    if (fd >= 0)
        (void)rota_close(fd);
    (void)rota_cancel(acceptor, NULL);
    cr_expect_leq(rota_join(acceptor, NULL), 0);
    (void)rota_close(listener);
    return rc;
}

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static const struct {
    const char *name;
    int errors[6];
} faults[] = {
    { "accept4", { ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM } },
    { "bind", { EADDRINUSE, EACCES } },
    { "connect", { ECONNREFUSED, ETIMEDOUT, EINPROGRESS, EINTR, EADDRNOTAVAIL, EALREADY } },
    { "epoll_create1", { EMFILE, ENFILE, ENOMEM } },
    { "epoll_ctl", { ENOMEM, ENOSPC } },
    { "epoll_wait", { EINTR } },
    { "getsockopt", { ENOBUFS } },
    { "listen", { EADDRINUSE } },
    { "poll", { EINTR, ENOMEM } },
    { "recv", { EAGAIN, EINTR, ECONNRESET, ENOMEM, ETIMEDOUT } },
    { "send", { EAGAIN, EINTR, ECONNRESET, EPIPE, ENOBUFS } },
    { "setsockopt", { ENOMEM } },
    { "socket", { EMFILE, ENFILE, ENOBUFS, EAFNOSUPPORT } },
};

/* Each place that is reached. What is interrupted for ever is not a fault that a loop could end. */
static void all_places(const char *name, int error) {
    bool for_ever = error != EINTR;
    intptr_t result;
    int places = 1;
    for (int all = 0; all <= for_ever; all++)
        for (int at = 1; at <= places; at++) {
            kit_fail(name, at, error, all);
            kit_clock(ROTA_S);
            kit_clock_step(ROTA_MS);
            int rc = rota_run(echoes, NULL, &result, kit_memory());
            cr_expect(rc <= 0 && result <= 0, "%s fails with %d at %d: %d", name, error, at, rc);
            int seen = kit_calls(name);
            places = !all && seen > at && seen < 40 ? seen : places;
        }
    kit_fail_none();
}

Test(small_faults, each_system_call_fails_at_each_place, .timeout = 120) {
    int before = open_descriptors();
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        for (int e = 0; e < 6 && faults[i].errors[e]; e++) {
            all_places(faults[i].name, faults[i].errors[e]);
            cr_expect_eq(open_descriptors(), before, "descriptors left after %s", faults[i].name);
        }
    intptr_t result;
    cr_expect_eq(rota_run(echoes, NULL, &result, kit_memory()), 0);
    cr_expect_eq(result, 0);
}
