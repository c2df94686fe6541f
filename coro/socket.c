/* Options and addresses of sockets: rota_set_*, rota_socket_error, rota_local_address, rota_peer_address.
 *
 * Each is a system call or a few, none waits, and no loop is needed. Invariant: a time is rounded up, never to "off".
 * It must not know what a socket is used for.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "coro/fd.h"
#include "rota/net.h"

static int set(int fd, int level, int name, int value) {
    return rota__sys_setsockopt(fd, level, name, &value, sizeof value);
}

int rota_set_nodelay(int fd, bool on) { return set(fd, IPPROTO_TCP, TCP_NODELAY, on); }

/* The first probe's time has two names. */
#ifdef TCP_KEEPIDLE
enum { KEEP_IDLE = TCP_KEEPIDLE };
#elif defined(TCP_KEEPALIVE)
enum { KEEP_IDLE = TCP_KEEPALIVE };
#else
enum { KEEP_IDLE = -1 };
#endif

#ifdef TCP_KEEPINTVL
enum { KEEP_INTERVAL = TCP_KEEPINTVL, KEEP_COUNT = TCP_KEEPCNT };
#else
enum { KEEP_INTERVAL = -1, KEEP_COUNT = -1 };
#endif

static int seconds(int64_t ns) {
    int64_t s = ns / ROTA_S + (ns % ROTA_S > 0);
    return s > INT32_MAX ? INT32_MAX : (int)s;
}

/* A time that the system keeps for all sockets (OpenBSD) is left to it. */
static int set_time(int fd, int name, int value) { return name < 0 ? 0 : set(fd, IPPROTO_TCP, name, value); }

int rota_set_keepalive(int fd, int64_t idle, int64_t interval, int probes) {
    int rc = set(fd, SOL_SOCKET, SO_KEEPALIVE, idle > 0);
    if (rc == 0 && idle > 0)
        rc = set_time(fd, KEEP_IDLE, seconds(idle));
    if (rc == 0 && idle > 0 && interval > 0)
        rc = set_time(fd, KEEP_INTERVAL, seconds(interval));
    if (rc == 0 && idle > 0 && probes > 0)
        rc = set_time(fd, KEEP_COUNT, probes);
    return rc;
}

int rota_set_reset_on_close(int fd, bool on) {
    struct linger linger = {.l_onoff = on, .l_linger = 0};
    return rota__sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

int rota_set_buffers(int fd, int receive, int send) {
    int rc = receive > 0 ? set(fd, SOL_SOCKET, SO_RCVBUF, receive) : 0;
    return rc == 0 && send > 0 ? set(fd, SOL_SOCKET, SO_SNDBUF, send) : rc;
}

int rota_set_reuse_address(int fd, bool on) { return set(fd, SOL_SOCKET, SO_REUSEADDR, on); }

int rota_set_reuse_port(int fd, bool on) {
#ifdef SO_REUSEPORT
    return set(fd, SOL_SOCKET, SO_REUSEPORT, on);
#else
    (void)fd, (void)on;
    return -ENOTSUP;
#endif
}

int rota_set_broadcast(int fd, bool on) { return set(fd, SOL_SOCKET, SO_BROADCAST, on); }

int rota_socket_error(int fd, int *error) {
    int value = 0;
    socklen_t len = sizeof value;
    if (!error)
        return -EINVAL;
    int rc = rota__sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len);
    if (rc == 0)
        *error = -value;
    return rc;
}

static int address(int (*ask)(int, struct sockaddr *, socklen_t *), int fd, rota_address *out) {
    if (!out)
        return -EINVAL;
    memset(out, 0, sizeof *out);
    out->len = sizeof out->addr;
    int rc = ask(fd, (struct sockaddr *)&out->addr, &out->len);
    if (rc < 0)
        out->len = 0;
    return rc;
}

int rota_local_address(int fd, rota_address *out) { return address(rota__sys_getsockname, fd, out); }

int rota_peer_address(int fd, rota_address *out) { return address(rota__sys_getpeername, fd, out); }
