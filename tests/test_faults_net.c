/* Every system call of a network program fails once, and from there on; and every allocation. The program: a server on
 * loopback, a client that resolves a name, dials, and has something echoed. Each run ends, with success or an error,
 * and gives back every descriptor and byte. */
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>

#include "reactor/sys.h"
#include "rota.h"
#include "tests/harness.h"
#include "tests/net_kit.h"
#include "tests/support.h"

enum call { RECV, SEND, ACCEPT, CONNECT, SOCKET, BIND, LISTEN, GETSOCKOPT, SETSOCKOPT, POLL, THREAD,
            LOOKUP, CALLS };

static struct {
    atomic_size_t made[CALLS];
    enum call kind;
    size_t at;
    int error;
    bool on;
} faults;

/* The error that this call shall give; 0: none. Lookups are made by threads. */
static int fault(enum call kind) {
    size_t n = atomic_fetch_add(&faults.made[kind], 1) + 1;
    bool hit = faults.at && kind == faults.kind && (n == faults.at || (faults.on && n > faults.at));
    return hit ? faults.error : 0;
}

#define REAL rota__sys_real
#define WITH_FAULT(kind, call) do { int e_ = fault(kind); return e_ ? e_ : (call); } while (0)

static ssize_t sys_recv(int fd, void *buf, size_t n, int flags) { WITH_FAULT(RECV, REAL.recv(fd, buf, n, flags)); }
static ssize_t sys_send(int fd, const void *buf, size_t n, int flags) { WITH_FAULT(SEND, REAL.send(fd, buf, n, flags)); }
static int sys_accept(int fd, struct sockaddr *addr, socklen_t *len) { WITH_FAULT(ACCEPT, REAL.accept(fd, addr, len)); }
static int sys_connect(int fd, const struct sockaddr *addr, socklen_t len) {
    WITH_FAULT(CONNECT, REAL.connect(fd, addr, len));
}
static int sys_socket(int domain, int type, int protocol) { WITH_FAULT(SOCKET, REAL.socket(domain, type, protocol)); }
static int sys_bind(int fd, const struct sockaddr *addr, socklen_t len) { WITH_FAULT(BIND, REAL.bind(fd, addr, len)); }
static int sys_listen(int fd, int backlog) { WITH_FAULT(LISTEN, REAL.listen(fd, backlog)); }
static int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
    WITH_FAULT(GETSOCKOPT, REAL.getsockopt(fd, level, name, value, len));
}
static int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
    WITH_FAULT(SETSOCKOPT, REAL.setsockopt(fd, level, name, value, len));
}
static int sys_poll(struct pollfd *fds, nfds_t n, int timeout_ms) { WITH_FAULT(POLL, REAL.poll(fds, n, timeout_ms)); }
static int sys_thread(pthread_t *t, void *(*fn)(void *), void *arg, size_t n) { WITH_FAULT(THREAD, REAL.thread(t, fn, arg, n)); }

/* Not the machine's own name service: what that opens is no part of this. */
static int sys_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    if (host && strcmp(host, "localhost") == 0 && !(hints->ai_flags & AI_NUMERICHOST))
        return fault(LOOKUP) ? EAI_MEMORY : REAL.getaddrinfo("127.0.0.1", service, hints, list);
    return REAL.getaddrinfo(host, service, hints, list);
}

static struct rota__sys failing_sys(void) {
    struct rota__sys sys = REAL;
    sys.recv = sys_recv;
    sys.send = sys_send;
    sys.accept = sys_accept;
    sys.connect = sys_connect;
    sys.socket = sys_socket;
    sys.bind = sys_bind;
    sys.listen = sys_listen;
    sys.getsockopt = sys_getsockopt;
    sys.setsockopt = sys_setsockopt;
    sys.thread = sys_thread;
    sys.getaddrinfo = sys_getaddrinfo;
    /* The poll(2) backend waits with it: there, a wait that fails ends the run, as it must. */
    const char *const *backend = rota_loop_backends();
    if (strcmp(*backend, "poll") != 0)
        sys.poll = sys_poll;
    return sys;
}

/* ---- the program ---- */

static char service[8];
static rota_event listens;

static void note_port(int fd, void *arg) {
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    (void)arg;
    REAL.getsockname(fd, (struct sockaddr *)&a, &len);
    snprintf(service, sizeof service, "%d", ntohs(a.sin_port));
    (void)rota_event_set(&listens);
}

static intptr_t echo(int fd, void *arg) {
    char buf[64];
    ssize_t n;
    (void)arg;
    while ((n = rota_read(fd, buf, sizeof buf)) > 0 && (n = rota_write_all(fd, buf, (size_t)n, NULL)) == 0)
        ;
    return n;
}

static intptr_t serve(void *arg) {
    return rota_serve("127.0.0.1", "0", echo, arg, &(rota_serve_options){ .listening = note_port });
}

static intptr_t ask(void *arg) {
    char out[100] = "hello", back[sizeof out];
    (void)arg;
    int rc = rota_event_wait(&listens);
    int fd = rc < 0 ? rc : rota_dial("localhost", service, &(rota_dial_options){ .family = AF_INET });
    if (fd < 0)
        return fd;
    rc = rota_write_all(fd, out, sizeof out, NULL);
    if (rc == 0)
        rc = rota_read_exact(fd, back, sizeof back, NULL);
    if (rc == 0)
        cr_expect(memcmp(out, back, sizeof out) == 0, "the bytes arrived as others");
    rota_close(fd);
    return rc;
}

static intptr_t program(void *arg) {
    rota_task *server;
    (void)arg;
    memset(&listens, 0, sizeof listens);
    int rc = rota_spawn(&server, serve, NULL, NULL);
    if (rc < 0)
        return rc;
    intptr_t asked = rota_timeout(5 * ROTA_S, ask, NULL);
    rota_cancel(server, "asked");
    rc = rota_join(server, NULL);
    return rota_failed(asked) ? asked : rc == -ECANCELED ? 0 : rc;
}

/* ---- the driver ---- */

static bool runs(const char *what, size_t at) {
    rota_loop_options opt = test_options();
    intptr_t v = 1;
    int rc = rota_run(program, NULL, &v, &opt);
    wait_for_threads();
    cr_expect(rc <= 0 && (v == 0 || rota_failed(v)), "%s %zu: run %d, value %ld", what, at, rc, (long)v);
    test_end();
    return rc == 0 && v == 0;
}

static void begin(enum call kind, size_t at, int error, bool on) {
    memset(&faults, 0, sizeof faults);
    faults.kind = kind;
    faults.at = at;
    faults.error = error;
    faults.on = on;
    test_begin();
}

static const struct {
    enum call kind;
    const char *name;
    int error;
} kinds[] = {
    { RECV, "recv", -ECONNRESET },       { RECV, "recv", -EINTR },       { SEND, "send", -EPIPE },
    { SEND, "send", -ENOBUFS },          { ACCEPT, "accept", -EMFILE },  { ACCEPT, "accept", -ECONNABORTED },
    { ACCEPT, "accept", -ENOMEM },       { CONNECT, "connect", -ENETUNREACH },
    { SOCKET, "socket", -EMFILE },       { SOCKET, "socket", -ENOBUFS }, { BIND, "bind", -EADDRINUSE },
    { LISTEN, "listen", -EADDRINUSE },   { GETSOCKOPT, "getsockopt", -ENOBUFS },
    { SETSOCKOPT, "setsockopt", -ENOBUFS }, { POLL, "poll", -ENOMEM },
    { THREAD, "thread", -EAGAIN },  { LOOKUP, "getaddrinfo", -ENOMEM },
};

static void fail_each(bool on) {
    const struct rota__sys sys = failing_sys();
    rota__sys = &sys;
    begin(RECV, 0, 0, false);
    cr_expect(runs("nothing", 0));
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        /* EINTR for ever is no fault that a system has. */
        if (on && kinds[k].error == -EINTR)
            continue;
        begin(RECV, 0, 0, false);
        cr_expect(runs("nothing", 0));
        size_t made = atomic_load(&faults.made[kinds[k].kind]);
        cr_expect_gt(made, 0u, "the program makes no %s", kinds[k].name);
        for (size_t at = 1; at <= made; at++) {
            begin(kinds[k].kind, at, kinds[k].error, on);
            bool succeeded = runs(kinds[k].name, at);
            if (kinds[k].error == -EINTR)
                cr_expect(succeeded, "an interrupted %s is made again", kinds[k].name);
        }
    }
    rota__sys = &rota__sys_real;
}

Test(faults_net, each_system_call_fails_once, .timeout = 120) { fail_each(false); }
Test(faults_net, each_system_call_fails_and_all_later_ones, .timeout = 120) { fail_each(true); }

static void fail_each_allocation(bool on) {
    const struct rota__sys sys = failing_sys();
    rota__sys = &sys;
    begin(RECV, 0, 0, false);
    cr_expect(runs("nothing", 0));
    size_t calls = memory.calls;
    for (size_t at = 1; at <= calls; at++) {
        begin(RECV, 0, 0, false);
        memory.fail_at = at;
        memory.fail_on = on;
        (void)runs("allocation", at);
    }
    rota__sys = &rota__sys_real;
}

Test(faults_net, each_allocation_fails_once, .timeout = 120) { fail_each_allocation(false); }
Test(faults_net, each_allocation_fails_and_all_later_ones, .timeout = 120) { fail_each_allocation(true); }
