/* Unix sockets: rota_unix_listen, rota_unix_dial, rota_unix_bind, rota_unix_connect, rota_unix_peer.
 *
 * Invariant: a file that bind made and that nobody will serve, because a later step failed, is removed again; any other
 * file is touched only when the caller asked for that and it is a socket on which nobody listens. Names are address.c's
 * affair.
 */
#include "coro/fd.h"
#include "rota/net.h"

enum { BACKLOG_DEFAULT = 511, MODE_MAX = 07777 };

static const rota_unix_options defaults;

/* NULL: it is an abstract name. */
static const char *file_of(const char *name) { return name && *name != '@' ? name : NULL; }

static int new_socket(int type) {
    int fd = rota__sys_socket(AF_UNIX, type, 0);
    if (fd >= 0 && rota__loop_check(rota__current) == 0)
        rota__fd_fresh(rota__current, fd, ROTA__FD_SOCKET, ROTA__FD_NONBLOCKING);
    return fd;
}

static int connect_to(int fd, const rota_address *a) {
    return rota__sys_connect(fd, (const struct sockaddr *)&a->addr, a->len);
}

static int bind_to(int fd, const rota_address *a) {
    return rota__sys_bind(fd, (const struct sockaddr *)&a->addr, a->len);
}

/* A connection that is refused is what tells a dead file from a served one; but what is no socket at all refuses
 * too. */
static bool is_dead(int type, const rota_address *a, const char *path) {
    int fd = rota__sys_is_socket_file(path) == 1 ? rota__sys_socket(AF_UNIX, type, 0) : -1;
    if (fd < 0)
        return false;
    int rc = connect_to(fd, a);
    (void)rota__sys_close(fd);
    return rc == -ECONNREFUSED;
}

static int bind_name(int fd, int type, const char *name, const rota_unix_options *opt) {
    const char *path = file_of(name);
    rota_address a;
    int rc = rota_unix_address(&a, name);
    if (rc < 0)
        return rc;
    rc = bind_to(fd, &a);
    if (rc == -EADDRINUSE && opt->replace_dead && path && is_dead(type, &a, path) && rota__sys_unlink(path) == 0)
        rc = bind_to(fd, &a);
    if (rc < 0 || !path || !opt->mode)
        return rc;
    /* A stream socket refuses until it listens, so that nobody can slip in before this. */
    rc = rota__sys_file_mode(path, opt->mode);
    if (rc < 0)
        (void)rota__sys_unlink(path);
    return rc;
}

static int made(int fd, int rc) {
    if (rc == 0)
        return fd;
    (void)rota_close(fd);
    return rc;
}

int rota_unix_listen(const char *name, const rota_unix_options *opt) {
    opt = opt ? opt : &defaults;
    if (!name || opt->mode > MODE_MAX)
        return -EINVAL;
    int fd = new_socket(SOCK_STREAM);
    if (fd < 0)
        return fd;
    int rc = bind_name(fd, SOCK_STREAM, name, opt);
    if (rc < 0)
        return made(fd, rc);
    rc = rota__sys_listen(fd, opt->backlog > 0 ? opt->backlog : BACKLOG_DEFAULT);
    if (rc < 0 && file_of(name))
        (void)rota__sys_unlink(name);
    return made(fd, rc);
}

int rota_unix_dial(const char *name) {
    rota__leave_forgotten();
    rota_task *task;
    rota_address a;
    int rc = rota__enter(&task);
    if (rc == 0)
        rc = rota_unix_address(&a, name);
    if (rc < 0)
        return rc;
    int fd = new_socket(SOCK_STREAM);
    return fd < 0 ? fd : made(fd, rota_connect(fd, (const struct sockaddr *)&a.addr, a.len));
}

int rota_unix_bind(const char *name, const rota_unix_options *opt) {
    opt = opt ? opt : &defaults;
    if (opt->mode > MODE_MAX)
        return -EINVAL;
    int fd = new_socket(SOCK_DGRAM);
    return fd < 0 || !name ? fd : made(fd, bind_name(fd, SOCK_DGRAM, name, opt));
}

int rota_unix_connect(int fd, const char *name) {
    rota_address a;
    int rc = rota_unix_address(&a, name);
    return rc < 0 ? rc : connect_to(fd, &a);
}

int rota_unix_peer(int fd, rota_peer *out) {
    int64_t ids[3];
    if (!out)
        return -EINVAL;
    int rc = rota__sys_peer_ids(fd, ids);
    if (rc == 0)
        *out = (rota_peer){ids[0], ids[1], ids[2]};
    return rc;
}
