/* Every system call of a program that uses sockets of every kind fails once, and from there on; and every allocation.
 * Each run ends, with success or an error, and gives back every descriptor, thread and byte. */
#include <stdatomic.h>
#include <stddef.h>

#include "rota/net.h"
#include "tests/net_kit.h"

enum call { RECV, SEND, RECVMSG, SENDMSG, SOCKET, BIND, CONNECT, LISTEN, ACCEPT, GETSOCKOPT, SETSOCKOPT, GETSOCKNAME,
            GETPEERNAME, SOCKETPAIR, PIPE, PTY, PEER_IDS, GROUP, IS_SOCKET_FILE, UNLINK, FILE_MODE, DUP, READ_AT, SEEK,
            SENDFILE, SPLICE, THREAD, SIGMASK, CALLS };

static struct {
    atomic_size_t made[CALLS];
    enum call kind;
    size_t at;
    int error;
    bool on;
} faults;

static int fault(enum call kind) {
    size_t n = atomic_fetch_add(&faults.made[kind], 1) + 1;
    bool hit = faults.at && kind == faults.kind && (n == faults.at || (faults.on && n > faults.at));
    return hit ? faults.error : 0;
}

#define REAL rota__sys_real
#define FAILING(type, name, kind, parameters, arguments) \
    static type sys_##name parameters { int e_ = fault(kind); return e_ ? e_ : (REAL.name) arguments; }

FAILING(ssize_t, recv, RECV, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags))
FAILING(ssize_t, send, SEND, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags))
FAILING(ssize_t, recvmsg, RECVMSG, (int fd, struct msghdr *msg, int flags), (fd, msg, flags))
FAILING(ssize_t, sendmsg, SENDMSG, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags))
FAILING(int, socket, SOCKET, (int domain, int type, int protocol), (domain, type, protocol))
FAILING(int, bind, BIND, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))
FAILING(int, connect, CONNECT, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))
FAILING(int, listen, LISTEN, (int fd, int backlog), (fd, backlog))
FAILING(int, accept, ACCEPT, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len))
FAILING(int, getsockopt, GETSOCKOPT, (int fd, int level, int name, void *value, socklen_t *len),
        (fd, level, name, value, len))
FAILING(int, setsockopt, SETSOCKOPT, (int fd, int level, int name, const void *value, socklen_t len),
        (fd, level, name, value, len))
FAILING(int, getsockname, GETSOCKNAME, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len))
FAILING(int, getpeername, GETPEERNAME, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len))
FAILING(int, socketpair, SOCKETPAIR, (int type, int fds[2]), (type, fds))
FAILING(int, pipe, PIPE, (int fds[2]), (fds))
FAILING(int, pty, PTY, (int fds[2]), (fds))
FAILING(int, peer_ids, PEER_IDS, (int fd, int64_t ids[3]), (fd, ids))
FAILING(int, multicast_group, GROUP, (int fd, const struct sockaddr *group, unsigned interface, int join),
        (fd, group, interface, join))
FAILING(int, is_socket_file, IS_SOCKET_FILE, (const char *path), (path))
FAILING(int, unlink, UNLINK, (const char *path), (path))
FAILING(int, file_mode, FILE_MODE, (const char *path, unsigned mode), (path, mode))
FAILING(int, dup_fd, DUP, (int fd), (fd))
FAILING(ssize_t, pread, READ_AT, (int fd, void *buf, size_t n, off_t offset), (fd, buf, n, offset))
FAILING(int64_t, seek, SEEK, (int fd, int64_t offset, int whence), (fd, offset, whence))
FAILING(ssize_t, sendfile, SENDFILE, (int out, int in, int64_t *offset, size_t n), (out, in, offset, n))
FAILING(ssize_t, splice, SPLICE, (int in, int out, size_t n), (in, out, n))
FAILING(int, thread, THREAD, (pthread_t *t, void *(*fn)(void *), void *arg, size_t n), (t, fn, arg, n))
FAILING(int, sigmask, SIGMASK, (int how, const sigset_t *set, sigset_t *old), (how, set, old))

static struct rota__sys failing_sys(void) {
    struct rota__sys sys = REAL;
    sys.recv = sys_recv, sys.send = sys_send, sys.recvmsg = sys_recvmsg, sys.sendmsg = sys_sendmsg;
    sys.socket = sys_socket, sys.bind = sys_bind, sys.connect = sys_connect, sys.listen = sys_listen;
    sys.accept = sys_accept, sys.getsockopt = sys_getsockopt, sys.setsockopt = sys_setsockopt;
    sys.getsockname = sys_getsockname, sys.getpeername = sys_getpeername, sys.socketpair = sys_socketpair;
    sys.pty = sys_pty, sys.peer_ids = sys_peer_ids, sys.multicast_group = sys_multicast_group;
    sys.is_socket_file = sys_is_socket_file, sys.unlink = sys_unlink, sys.file_mode = sys_file_mode;
    sys.dup_fd = sys_dup_fd, sys.pread = sys_pread, sys.seek = sys_seek, sys.sendfile = sys_sendfile;
    sys.splice = sys_splice, sys.thread = sys_thread, (sys.sigmask) = sys_sigmask;
    /* The poll(2) backend wakes itself by a pipe: without it there is no loop. */
    const char *const *backend = rota_loop_backends();
    if (strcmp(*backend, "poll") != 0)
        sys.pipe = sys_pipe;
    return sys;
}

/* ---- the program: each part closes what it opened ---- */

static char folder[64], path[96];

static void close_two(int fds[2]) {
    rota_close(fds[0]);
    rota_close(fds[1]);
}

static intptr_t udp(void) {
    char buf[8], port[8];
    rota_address self;
    int server = rota_udp_bind("127.0.0.1", "0", &(rota_udp_options){.reuse_address = true, .broadcast = true});
    if (server < 0)
        return server;
    intptr_t rc = rota_local_address(server, &self);
    if (rc == 0) {
        snprintf(port, sizeof port, "%d", rota_address_port(&self));
        int client = rota_udp_connect("127.0.0.1", port, NULL);
        rc = client;
        if (client >= 0) {
            rc = rota_peer_address(client, &self);
            if (rc == 0)
                rc = rota_send(client, "ask", 3, 0);
            if (rc == 3)
                rc = rota_recv(server, buf, sizeof buf, 0);
            if (rc == 3)
                rc = rota_recvfrom(server, buf, sizeof buf, MSG_DONTWAIT, NULL, NULL) == -EAGAIN ? 3 : -EIO;
            rota_close(client);
        }
    }
    rota_address group;
    if (rc >= 0 && rota_address_parse(&group, "239.1.2.3", 9) == 0)
        (void)!rota_udp_join(server, &group, 0);
    rota_close(server);
    return rc;
}

static intptr_t unix_sockets(void) {
    static const rota_unix_options opt = {.mode = 0600, .replace_dead = true};
    intptr_t rc = -1;
    rota_peer peer;
    for (int i = 0; i < 2; i++) { /* the second time the file is dead */
        int listener = rota_unix_listen(path, &opt), fd = listener < 0 ? listener : rota_unix_dial(path);
        rc = fd < 0 ? fd : rota_unix_peer(fd, &peer);
        if (fd >= 0)
            rota_close(fd);
        if (listener >= 0)
            rota_close(listener);
    }
    unlink(path);
    return rc;
}

static intptr_t passing(void) {
    int sv[2], fds[2], got[2] = {-1, -1};
    size_t n = 2;
    char c;
    intptr_t rc = rota_socketpair(SOCK_STREAM, sv);
    if (rc < 0)
        return rc;
    rc = rota_pipe(fds);
    if (rc == 0) {
        rc = rota_send_fds(sv[0], "x", 1, fds, 2);
        if (rc == 1)
            rc = rota_recv_fds(sv[1], &c, 1, got, &n);
        for (size_t i = 0; rc == 1 && i < n; i++)
            rota_close(got[i]);
        close_two(fds);
    }
    close_two(sv);
    return rc;
}

static intptr_t moving(void) {
    char name[] = "/tmp/rota-faults-XXXXXX";
    int file = mkstemp(name), sv[2], rc;
    unlink(name);
    cr_expect_eq(write(file, folder, sizeof folder), (ssize_t)sizeof folder);
    lseek(file, 0, SEEK_SET);
    rc = rota_socketpair(SOCK_STREAM, sv);
    if (rc == 0) {
        rc = rota_sendfile(sv[0], file, NULL, sizeof folder, NULL);
        if (rc == 0)
            rc = rota_splice(sv[1], file, sizeof folder, NULL);
        close_two(sv);
    }
    int64_t offset = 0;
    if (rc == 0)
        rc = rota_socketpair(SOCK_STREAM, sv);
    if (rc == 0) {
        cr_expect_eq(fcntl(sv[0], F_SETFL, 0), 0); /* may block: copied */
        rc = rota_sendfile(sv[0], file, &offset, sizeof folder, NULL);
        close_two(sv);
    }
    close(file);
    return rc;
}

static intptr_t terminal(void) {
    int fds[2], rc = rota_pty_open(&fds[0], &fds[1]);
    if (rc == 0)
        close_two(fds);
    return rc == -ENOENT || rc == -ENOSPC || rc == -EACCES ? 0 : rc;
}

static intptr_t close_at_once(int fd, void *arg) {
    (void)fd, (void)arg;
    return 0;
}

static intptr_t serve(void *unused) {
    (void)unused;
    return rota_serve("127.0.0.1", "0", close_at_once, NULL, &(rota_serve_options){.threads = 3});
}

static intptr_t program(void *unused) {
    intptr_t (*const parts[])(void) = {udp, unix_sockets, passing, moving, terminal};
    intptr_t first = 0;
    (void)unused;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        intptr_t v = parts[i]();
        first = first < 0 || v >= 0 ? first : v;
    }
    intptr_t v = rota_timeout(ROTA_MS, serve, NULL);
    return first < 0 ? first : v == -ETIMEDOUT ? 0 : v;
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
    {RECV, "recv", -ECONNREFUSED}, {RECV, "recv", -EINTR}, {SEND, "send", -ENOBUFS}, {SEND, "send", -EINTR},
    {RECVMSG, "recvmsg", -ENOMEM}, {RECVMSG, "recvmsg", -EINTR}, {SENDMSG, "sendmsg", -ETOOMANYREFS},
    {SENDMSG, "sendmsg", -EINTR}, {SOCKET, "socket", -EMFILE}, {BIND, "bind", -EADDRINUSE},
    {CONNECT, "connect", -ENETUNREACH}, {LISTEN, "listen", -EADDRINUSE}, {GETSOCKOPT, "getsockopt", -ENOBUFS},
    {SETSOCKOPT, "setsockopt", -ENOBUFS}, {GETSOCKNAME, "getsockname", -ENOBUFS},
    {GETPEERNAME, "getpeername", -ENOTCONN}, {SOCKETPAIR, "socketpair", -EMFILE}, {PIPE, "pipe", -ENFILE},
    {PTY, "pty", -ENOSPC}, {PEER_IDS, "peer_ids", -ENOTCONN}, {GROUP, "multicast_group", -ENOBUFS},
    {IS_SOCKET_FILE, "is_socket_file", -EACCES}, {UNLINK, "unlink", -EPERM}, {FILE_MODE, "file_mode", -EPERM},
    {READ_AT, "pread", -EIO}, {READ_AT, "pread", -EINTR}, {SEEK, "seek", -EINVAL},
    {SENDFILE, "sendfile", -EIO}, {SENDFILE, "sendfile", -EINVAL}, {SENDFILE, "sendfile", -EINTR},
    {SPLICE, "splice", -ENOMEM}, {SPLICE, "splice", -EINVAL}, {SPLICE, "splice", -EINTR},
    {THREAD, "thread", -EAGAIN}, {SIGMASK, "sigmask", -EINVAL},
};

static bool only_linux_makes(enum call kind) { return kind == SENDFILE || kind == SPLICE; }

static void fail_each(bool on) {
    const struct rota__sys sys = failing_sys();
    snprintf(folder, sizeof folder, "/tmp/rota-faults-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    rota__sys = &sys;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        /* EINTR for ever is no fault that a system has. */
        if (on && kinds[k].error == -EINTR)
            continue;
        begin(RECV, 0, 0, false);
        cr_expect(runs("nothing", 0));
        size_t made = atomic_load(&faults.made[kinds[k].kind]);
        cr_expect(made > 0 || (NOT_LINUX && only_linux_makes(kinds[k].kind)) || sys.pipe == REAL.pipe,
                  "the program makes no %s", kinds[k].name);
        for (size_t at = 1; at <= made; at++) {
            begin(kinds[k].kind, at, kinds[k].error, on);
            bool succeeded = runs(kinds[k].name, at);
            bool harmless = kinds[k].error == -EINTR || (kinds[k].error == -EINVAL && only_linux_makes(kinds[k].kind));
            if (harmless)
                cr_expect(succeeded, "without %s %zu it works as well", kinds[k].name, at);
        }
    }
    rota__sys = &rota__sys_real;
    cr_expect_eq(rmdir(folder), 0);
}

Test(faults_sock, each_system_call_fails_once, .timeout = 120) { fail_each(false); }
Test(faults_sock, each_system_call_fails_and_all_later_ones, .timeout = 120) { fail_each(true); }

static void fail_each_allocation(bool on) {
    snprintf(folder, sizeof folder, "/tmp/rota-faults-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    begin(RECV, 0, 0, false);
    cr_expect(runs("nothing", 0));
    size_t calls = memory.calls;
    for (size_t at = 1; at <= calls; at++) {
        begin(RECV, 0, 0, false);
        memory.fail_at = at;
        memory.fail_on = on;
        (void)runs("allocation", at);
    }
    cr_expect_eq(rmdir(folder), 0);
}

Test(faults_sock, each_allocation_fails_once, .timeout = 120) { fail_each_allocation(false); }
Test(faults_sock, each_allocation_fails_and_all_later_ones, .timeout = 120) { fail_each_allocation(true); }
