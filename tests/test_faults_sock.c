/* Every system call of a program that uses sockets of every kind fails once, and from there on; and every allocation.
 * Each run ends, with success or an error, and gives back every descriptor, thread and byte. */
#include <stddef.h>

#include "rota/net.h"
#include "tests/fault_kit.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

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

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/rota-faults-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
}

static void remove_folder(void) { cr_expect_eq(rmdir(folder), 0); }

/* The poll(2) backend wakes itself by a pipe: without it there is no loop, and no run that succeeds. */
static void change(struct rota__sys *sys) {
    if (strcmp(*rota_loop_backends(), "poll") == 0)
        sys->pipe = rota__sys_real.pipe;
}

enum { LINUX_ONLY = NOT_LINUX ? FAULT_OPTIONAL : 0, MADE_UP = LINUX_ONLY | FAULT_HARMLESS };

static const struct fault_row rows[] = {
    { FAULT_recv, -ECONNREFUSED, 0, NULL },      { FAULT_recv, -EINTR, 0, NULL },
    { FAULT_send, -ENOBUFS, 0, NULL },           { FAULT_send, -EINTR, 0, NULL },
    { FAULT_recvmsg, -ENOMEM, 0, NULL },         { FAULT_recvmsg, -EINTR, 0, NULL },
    { FAULT_sendmsg, -ETOOMANYREFS, 0, NULL },   { FAULT_sendmsg, -EINTR, 0, NULL },
    { FAULT_socket, -EMFILE, 0, NULL },          { FAULT_bind, -EADDRINUSE, 0, NULL },
    { FAULT_connect, -ENETUNREACH, 0, NULL },    { FAULT_listen, -EADDRINUSE, 0, NULL },
    { FAULT_getsockopt, -ENOBUFS, 0, NULL },     { FAULT_setsockopt, -ENOBUFS, 0, NULL },
    { FAULT_getsockname, -ENOBUFS, 0, NULL },    { FAULT_getpeername, -ENOTCONN, 0, NULL },
    { FAULT_socketpair, -EMFILE, 0, NULL },      { FAULT_pipe, -ENFILE, FAULT_OPTIONAL, NULL },
    { FAULT_pty, -ENOSPC, 0, NULL },             { FAULT_peer_ids, -ENOTCONN, 0, NULL },
    { FAULT_multicast_group, -ENOBUFS, 0, NULL }, { FAULT_is_socket_file, -EACCES, 0, NULL },
    { FAULT_unlink, -EPERM, 0, NULL },           { FAULT_file_mode, -EPERM, 0, NULL },
    { FAULT_pread, -EIO, 0, NULL },              { FAULT_pread, -EINTR, 0, NULL },
    { FAULT_seek, -EINVAL, 0, NULL },            { FAULT_sendfile, -EIO, LINUX_ONLY, NULL },
    { FAULT_sendfile, -EINVAL, MADE_UP, NULL },  { FAULT_sendfile, -EINTR, LINUX_ONLY, NULL },
    { FAULT_splice, -ENOMEM, LINUX_ONLY, NULL }, { FAULT_splice, -EINVAL, MADE_UP, NULL },
    { FAULT_splice, -EINTR, LINUX_ONLY, NULL },  { FAULT_thread, -EAGAIN, 0, NULL },
    { FAULT_sigmask, -EINVAL, 0, NULL },
};

static const struct fault_program sockets = {
    .body = program, .rows = rows, .n_rows = sizeof rows / sizeof *rows, .change = change, .begin = make_folder,
    .end = remove_folder,
};

Fault_tests(faults_sock, &sockets, .timeout = 120)
