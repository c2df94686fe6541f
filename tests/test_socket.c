/* Options of sockets, and the questions that can be asked of them. */
#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h> /* on OpenBSD it needs what comes before */

#include "rota/net.h"
#include "tests/net_kit.h"

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    cr_expect_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

Test(socket, switches) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
    cr_expect_eq(rota_set_nodelay(fd, true), 0);
    cr_expect(option(fd, IPPROTO_TCP, TCP_NODELAY));
    cr_expect_eq(rota_set_nodelay(fd, false), 0);
    cr_expect(!option(fd, IPPROTO_TCP, TCP_NODELAY));
    cr_expect_eq(rota_set_reuse_address(fd, true), 0);
    cr_expect(option(fd, SOL_SOCKET, SO_REUSEADDR));
    cr_expect_eq(rota_set_reuse_port(fd, true), 0);
    cr_expect(option(fd, SOL_SOCKET, SO_REUSEPORT));
    cr_expect_eq(rota_set_broadcast(udp, true), 0);
    cr_expect(option(udp, SOL_SOCKET, SO_BROADCAST));
    cr_expect_eq(rota_set_nodelay(-1, true), -EBADF);
    close(fd);
    close(udp);
}

Test(socket, keepalive) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(rota_set_keepalive(fd, 1, ROTA_S + 1, 4), 0);
    cr_expect(option(fd, SOL_SOCKET, SO_KEEPALIVE));
#if defined(TCP_KEEPIDLE)
    cr_expect_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 1); /* rounded up: a nanosecond must not mean off */
    cr_expect_eq(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 2);
    cr_expect_eq(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
    cr_expect_eq(rota_set_keepalive(fd, 7 * ROTA_S, 0, 0), 0);
    cr_expect_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 7);
    cr_expect_eq(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 2);
    cr_expect_eq(rota_set_keepalive(fd, ROTA_FOREVER, 0, 0), -EINVAL); /* more than the system takes */
#endif
    cr_expect_eq(rota_set_keepalive(fd, 0, 0, 0), 0);
    cr_expect(!option(fd, SOL_SOCKET, SO_KEEPALIVE));
    close(fd);
}

Test(socket, buffers) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), receive = option(fd, SOL_SOCKET, SO_RCVBUF);
    int send = option(fd, SOL_SOCKET, SO_SNDBUF);
    cr_expect_eq(rota_set_buffers(fd, 0, -1), 0);
    cr_expect_eq(option(fd, SOL_SOCKET, SO_RCVBUF), receive);
    cr_expect_eq(rota_set_buffers(fd, 8192, 0), 0);
    cr_expect_lt(option(fd, SOL_SOCKET, SO_RCVBUF), receive);
    cr_expect_eq(option(fd, SOL_SOCKET, SO_SNDBUF), send);
    cr_expect_eq(rota_set_buffers(fd, 0, 50000), 0);
    cr_expect_neq(option(fd, SOL_SOCKET, SO_SNDBUF), send);
    close(fd);
}

/* F06: with it, the peer sees a reset instead of an end. */
Task_test(socket, reset_on_close) {
    int sv[2];
    char c;
    tcp_pair(sv);
    cr_expect_eq(rota_set_reset_on_close(sv[0], true), 0);
    rota_close(sv[0]);
    cr_expect_eq(rota_read(sv[1], &c, 1), -ECONNRESET);
    rota_close(sv[1]);
    tcp_pair(sv);
    cr_expect_eq(rota_set_reset_on_close(sv[0], true), 0);
    cr_expect_eq(rota_set_reset_on_close(sv[0], false), 0);
    rota_close(sv[0]);
    cr_expect_eq(rota_read(sv[1], &c, 1), 0);
    rota_close(sv[1]);
    return 0;
}

Test(socket, addresses) {
    int sv[2], listener = raw_listener(1);
    rota_address a, b;
    tcp_pair(sv);
    cr_expect_eq(rota_local_address(sv[0], &a), 0);
    cr_expect_eq(rota_peer_address(sv[1], &b), 0);
    cr_expect(rota_address_equal(&a, &b));
    cr_expect_eq(rota_address_port(&a), port_of(sv[0]));
    cr_expect_eq(rota_peer_address(listener, &a), -ENOTCONN);
    cr_expect_eq(a.len, 0u);
    cr_expect_eq(rota_local_address(-1, &a), -EBADF);
    cr_expect_eq(rota_local_address(sv[0], NULL), -EINVAL);
    close(listener);
    close(sv[0]);
    close(sv[1]);
}

/* The error that waits, and whether asking has failed, are two things. */
Test(socket, pending_error) {
    int sv[2], error = 1, fds[2];
    struct linger now = {.l_onoff = 1};
    tcp_pair(sv);
    cr_expect_eq(rota_socket_error(sv[0], &error), 0);
    cr_expect_eq(error, 0);
    setsockopt(sv[1], SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(sv[1]);
    struct pollfd p = {.fd = sv[0], .events = POLLIN};
    poll(&p, 1, 1000);
    cr_expect_eq(rota_socket_error(sv[0], &error), 0);
    cr_expect_eq(error, -ECONNRESET);
    cr_expect_eq(rota_socket_error(sv[0], &error), 0);
    cr_expect_eq(error, 0);
    cr_expect_eq(rota_socket_error(sv[0], NULL), -EINVAL);
    cr_expect_eq(pipe(fds), 0);
    cr_expect_eq(rota_socket_error(fds[0], &error), -ENOTSOCK);
    close(fds[0]);
    close(fds[1]);
    close(sv[0]);
}
