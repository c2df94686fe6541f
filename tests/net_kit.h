/* What tests of descriptors have in common: connected pairs, made by the system directly, and a copy of the table
 * of system calls to meddle with (changed only while no loop exists). */
#ifndef ROTA_TESTS_NET_KIT_H
#define ROTA_TESTS_NET_KIT_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "reactor/loop.h"
#include "tests/support.h"
#include "tests/sys_table.h"

#define KIT __attribute__((unused)) static

/* For tests of what the others have not, or do in another way: .disabled = NOT_LINUX. */
#ifdef __linux__
enum { NOT_LINUX = 0 };
#else
enum { NOT_LINUX = 1 };
#endif

KIT int nonblocking(int fd) {
    cr_expect_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* A pair that blocks: as a program gets it that thinks of nothing. */
KIT void unix_pair(int sv[2]) { cr_expect_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0); }

KIT struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

KIT int port_of(int fd) {
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return -1;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

/* Blocking; on a port of the system's choice. */
KIT int raw_listener(int backlog) {
    struct sockaddr_in a = loopback(0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    cr_expect_eq(listen(fd, backlog), 0);
    return fd;
}

KIT int raw_connect(int port) {
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

KIT void tcp_pair(int sv[2]) {
    int listener = raw_listener(1);
    sv[0] = raw_connect(port_of(listener));
    sv[1] = accept(listener, NULL, NULL);
    close(listener);
}

/* A port on which nobody listens. */
KIT int closed_port(void) {
    int fd = raw_listener(1), port = port_of(fd);
    close(fd);
    return port;
}

/* A port on which a connect stays under way: the queue of its listener, returned, is full; fillers keep it so. Linux
 * drops what comes to a full queue; the others answer. */
KIT int black_hole(int fillers[2]) {
    int fd = raw_listener(0);
    struct sockaddr_in a = loopback(port_of(fd));
    for (int i = 0; i < 2; i++) {
        fillers[i] = nonblocking(socket(AF_INET, SOCK_STREAM, 0));
        (void)connect(fillers[i], (struct sockaddr *)&a, sizeof a);
    }
    return fd;
}

KIT bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }
KIT bool is_blocking(int fd) { return !(fcntl(fd, F_GETFL) & O_NONBLOCK); }

/* ---- the table ---- */

KIT struct rota__sys shim;

KIT struct rota__sys *use_shim(void) {
    shim = rota__sys_real;
    rota__sys = &shim;
    return &shim;
}

/* ---- a task for one call ---- */

struct io {
    int fd;
    void *buf;
    size_t n;
    size_t done;
    intptr_t result;
};

KIT intptr_t do_read(void *arg) {
    struct io *io = arg;
    return io->result = rota_read(io->fd, io->buf, io->n);
}

KIT intptr_t do_write_all(void *arg) {
    struct io *io = arg;
    return io->result = rota_write_all(io->fd, io->buf, io->n, &io->done);
}

KIT intptr_t do_read_exact(void *arg) {
    struct io *io = arg;
    return io->result = rota_read_exact(io->fd, io->buf, io->n, &io->done);
}

/* Spawned, and run until it waits. */
KIT rota_task *start(rota_fn *fn, void *arg) {
    rota_task *task;
    cr_expect_eq(rota_spawn(&task, fn, arg, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    return task;
}

/* Its outcome. */
KIT intptr_t finish(rota_task *task) {
    intptr_t value = -1;
    cr_expect_eq(rota_join(task, &value), 0);
    return value;
}

/* Bytes that differ by position. */
KIT void fill_pattern(unsigned char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
}

KIT bool has_pattern(const unsigned char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != (unsigned char)(i * 7 + i / 251))
            return false;
    return true;
}

#endif
