/* Descriptor calls for tasks: read, write, read_exact, write_all, accept, connect, poll, listen, close, forget.
 *
 * Each is a loop of "try; if the system says EAGAIN, park; try again". Invariant: a task parks only straight after the
 * system has said EAGAIN (or poll that it is not ready), so that an edge is sure to come; nothing that is remembered of
 * a descriptor could be wrong. O_NONBLOCK is not touched on descriptors that others made: their description may be
 * shared.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "small/task.h"

#define STARVED_PAUSE (50 * ROTA_MS)

_Static_assert(ROTA_READ == POLLIN && ROTA_PRIORITY == POLLPRI && ROTA_WRITE == POLLOUT && ROTA_ERROR == POLLERR &&
               ROTA_EOF == POLLHUP, "readiness is passed on as it is");

/* ---- waiting ---- */

struct fd_wait {
    struct rota__wait wait;    /* first */
    rota_watcher watcher;
};

/* In step 3, or when it is closed: then the watcher is stopped already. */
static void on_event(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)watcher, (void)ready;
    rota__wake(arg, 0);
}

static void leave(struct rota__wait *wait) {
    struct fd_wait *w = (struct fd_wait *)wait;
    if (w->watcher.state_)
        rota__unwatch(rota__loop_of(wait->task), &w->watcher);
}

/* Until an event of fd; 0, or an error. Of the second round it is the first look at the scopes: the wake-up came to
 * nothing, and meanwhile the task was cancelled. */
static int wait_for(int fd, unsigned events) {
    struct fd_wait w;
    int rc = rota__enter();
    if (rc < 0)
        return rc;
    w.watcher = (rota_watcher){ .fn = on_event, .arg = rota__self(), .fd = fd, .events = (uint16_t)events };
    w.wait.leave = leave;
    rc = rota__watch(rota__current, &w.watcher, false);
    if (rc < 0)
        return rc;
    rc = rota__park(&w.wait, ROTA_FOREVER);
    if (!w.watcher.state_)
        return rc < 0 ? rc : -EBADF;
    leave(&w.wait);
    return rc;
}

/* What fd is ready for of events now, without waiting; 0: nothing. Neither a read nor a write will block after an error
 * or the end. */
static int ready_now(int fd, unsigned events) {
    struct pollfd p = { .fd = fd, .events = (short)events };
    int rc = (int)rota__result(poll(&p, 1, 0));
    if (fd < 0 || p.revents & POLLNVAL)
        return -EBADF; /* poll would skip a negative one */
    if (rc <= 0)
        return rc == -EINTR ? 0 : rc;
    unsigned ready = (unsigned)p.revents;
    if (ready & (POLLHUP | POLLERR))
        ready |= events & (ROTA_READ | ROTA_WRITE);
    return (int)ready;
}

/* ---- reading and writing ---- */

/* What is no socket may block, and has no call that would not: readiness plus one call. A pipe that polls writable has
 * room for PIPE_BUF bytes, so no more are offered. */
static ssize_t try_other(int fd, unsigned direction, void *buf, size_t n) {
    int rc = n ? ready_now(fd, direction) : 1;
    if (rc <= 0)
        return rc < 0 ? rc : -EAGAIN;
    return rota__result(direction == ROTA_READ ? read(fd, buf, n) : write(fd, buf, n < PIPE_BUF ? n : PIPE_BUF));
}

/* Reading nothing from a socket would wait for the first byte all the same. */
static ssize_t try_once(int fd, unsigned direction, void *buf, size_t n) {
    ssize_t r = -ENOTSOCK;
    if (direction == ROTA_WRITE)
        r = rota__result(send(fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL));
    else if (n)
        r = rota__result(recv(fd, buf, n, MSG_DONTWAIT));
    return r == -ENOTSOCK ? try_other(fd, direction, buf, n) : r;
}

static ssize_t transfer(int fd, unsigned direction, void *buf, size_t n) {
    int rc = rota__enter();
    while (rc == 0) {
        ssize_t r;
        do
            r = try_once(fd, direction, buf, n);
        while (r == -EINTR);
        if (r >= 0)
            rota__spend(ROTA__FAST);
        if (r != -EAGAIN)
            return r;
        rc = wait_for(fd, direction);
    }
    return rc;
}

ssize_t rota_read(int fd, void *buf, size_t n) { return transfer(fd, ROTA_READ, buf, n); }

ssize_t rota_write(int fd, const void *buf, size_t n) { return transfer(fd, ROTA_WRITE, (void *)(uintptr_t)buf, n); }

/* All n bytes; `early` is the error of a transfer of nothing. */
static int transfer_all(int fd, unsigned direction, void *buf, size_t n, size_t *done, int early) {
    size_t sum = 0;
    ssize_t r;
    do {
        r = transfer(fd, direction, (char *)buf + sum, n - sum);
        sum += r > 0 ? (size_t)r : 0;
    } while (r > 0 && sum < n);
    if (done)
        *done = sum;
    return r < 0 ? (int)r : sum < n ? early : 0;
}

int rota_read_exact(int fd, void *buf, size_t n, size_t *done) {
    return transfer_all(fd, ROTA_READ, buf, n, done, -EPIPE);
}

int rota_write_all(int fd, const void *buf, size_t n, size_t *done) {
    return transfer_all(fd, ROTA_WRITE, (void *)(uintptr_t)buf, n, done, -EIO);
}

/* ---- poll ---- */

int rota_poll(int fd, unsigned events) {
    if (!events || events & ~(unsigned)(ROTA_READ | ROTA_WRITE | ROTA_PRIORITY)) {
        int refused = rota__enter();
        return refused < 0 ? refused : -EINVAL;
    }
    int rc = rota__enter();
    while (rc == 0) {
        rc = ready_now(fd, events);
        if (rc > 0)
            rota__spend(ROTA__FAST);
        if (rc != 0)
            break;
        rc = wait_for(fd, events);
    }
    return rc;
}

/* ---- accept ---- */

/* The connection died in the queue, or news of the network reached the wrong address (accept(2), "Error handling"): the
 * listener is sound. */
static bool is_transient(int error) {
    switch (-error) {
    case EINTR: case ECONNABORTED: case EPROTO: case EPERM: case ENETDOWN: case ENETUNREACH: case EHOSTDOWN:
    case EHOSTUNREACH: case ENOPROTOOPT: case ENONET:
        return true;
    default:
        return false;
    }
}

/* Asked before, because there is no flag that keeps accept from waiting on a listener that blocks. One beyond the
 * loop's table could never be waited for. */
static int accept_once(int fd, struct sockaddr *addr, socklen_t *len) {
    int rc = ready_now(fd, ROTA_READ);
    if (rc <= 0)
        return rc < 0 ? rc : -EAGAIN;
    int client = (int)rota__result(accept4(fd, addr, len, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client < 0)
        return client;
    rota_fd_slot *slot = rota__slot(rota__current, client);
    if (!slot) {
        (void)close(client);
        return -EMFILE;
    }
    slot->registered_ = false; /* should the number have been closed behind the loop's back */
    return client;
}

/* With a full table the queue does not get shorter by asking, and its readiness stays: without the pause an acceptor
 * that goes on after -EMFILE would spin. */
int rota_accept(int fd, struct sockaddr *addr, socklen_t *len) {
    int rc = rota__enter();
    while (rc == 0) {
        int client = accept_once(fd, addr, len);
        if (client == -EAGAIN) {
            rc = wait_for(fd, ROTA_READ);
        } else if (is_transient(client)) {
            rc = rota_yield();
        } else {
            if (client == -EMFILE || client == -ENFILE)
                rc = rota_sleep(STARVED_PAUSE); /* which may be refused: client tells of the failure all the same */
            else
                rota__spend(ROTA__FAST);
            return client;
        }
    }
    return rc;
}

/* ---- connect ---- */

/* connect has no flag like MSG_DONTWAIT, so here alone the mode of the caller's descriptor is changed: from before the
 * system call to right after it. */
static int connect_once(int fd, const struct sockaddr *addr, socklen_t len) {
    int mode = (int)rota__result(fcntl(fd, F_GETFL));
    if (mode < 0)
        return mode;
    if (!(mode & O_NONBLOCK))
        (void)fcntl(fd, F_SETFL, mode | O_NONBLOCK);
    int rc = (int)rota__result(connect(fd, addr, len));
    if (!(mode & O_NONBLOCK))
        (void)fcntl(fd, F_SETFL, mode);
    return rc;
}

/* Asked after poll has said that it has ended, never before: no error yet would look like success. */
static int connect_outcome(int fd) {
    int error = 0;
    socklen_t len = sizeof error;
    int rc = (int)rota__result(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    return rc < 0 ? rc : -error;
}

/* Interrupted, it goes on by itself (POSIX connect); under way already: an earlier call was cancelled. A unix socket
 * whose listener's queue is full says EAGAIN, and nothing tells when there is room: so time has to. */
int rota_connect(int fd, const struct sockaddr *addr, socklen_t len) {
    int rc = rota__enter();
    if (rc == 0 && !addr)
        rc = -EINVAL;
    while (rc == 0) {
        rc = connect_once(fd, addr, len);
        if (rc == -EINPROGRESS || rc == -EINTR || rc == -EALREADY) {
            rc = rota_poll(fd, ROTA_WRITE);
            return rc < 0 ? rc : connect_outcome(fd);
        }
        if (rc != -EAGAIN || addr->sa_family != AF_UNIX) {
            rota__spend(ROTA__FAST);
            return rc;
        }
        rc = rota_sleep(ROTA_MS);
    }
    return rc;
}

/* ---- listen ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* In network order; -EINVAL. */
static int port_of(const char *service) {
    unsigned port = 0;
    if (!service)
        return 0;
    if (!*service)
        return -EINVAL;
    for (; *service; service++) {
        if (*service < '0' || *service > '9')
            return -EINVAL;
        port = port * 10 + (unsigned)(*service - '0');
        if (port > 65535)
            return -EINVAL;
    }
    return htons((uint16_t)port);
}

static int parse(union address *out, const char *host, const char *service) {
    int port = port_of(service);
    memset(out, 0, sizeof *out);
    if (port < 0)
        return port;
    out->v4.sin_port = (in_port_t)port; /* which lies where sin6_port does */
    out->any.sa_family = AF_INET6;
    if (!host || inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1)
        return 0;
    out->any.sa_family = AF_INET;
    return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1 ? 0 : -ENOENT;
}

static int listen_on(const union address *address, const rota_listen_options *opt) {
    const int on = 1;
    int v6 = address->any.sa_family == AF_INET6, only = opt->ipv6_only;
    int fd = (int)rota__result(socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (fd < 0)
        return fd;
    ssize_t rc = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (rc == 0 && opt->reuse_port)
        rc = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (rc == 0 && v6)
        rc = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    if (rc == 0)
        rc = bind(fd, &address->any, v6 ? sizeof address->v6 : sizeof address->v4);
    if (rc == 0)
        rc = listen(fd, opt->backlog > 0 ? opt->backlog : 511);
    if (rc == 0)
        return fd;
    rc = rota__result(rc);
    (void)close(fd);
    return (int)rc;
}

int rota_listen(const char *host, const char *service, const rota_listen_options *opt) {
    static const rota_listen_options defaults;
    union address address;
    int rc = rota__enter();
    if (rc == 0)
        rc = parse(&address, host, service);
    if (rc < 0)
        return rc;
    opt = opt ? opt : &defaults;
    rc = listen_on(&address, opt);
    if (rc == -EAFNOSUPPORT && !host && !opt->ipv6_only) {
        address.any.sa_family = AF_INET;
        address.v4.sin_addr.s_addr = INADDR_ANY;
        rc = listen_on(&address, opt);
    }
    rota__spend(ROTA__FAST);
    return rc;
}

/* ---- close and forget ---- */

/* Neither error is one of close(2)'s: there is no loop that could be used. */
int rota_close(int fd) {
    int rc = rota_fd_close(rota__current, fd);
    return rc == -EINVAL || rc == -ESHUTDOWN ? (int)rota__result(close(fd)) : rc;
}

int rota_forget(int fd) {
    if (fd < 0)
        return -EBADF;
    int rc = rota_fd_forget(rota__current, fd);
    return rc == -EINVAL || rc == -ESHUTDOWN ? 0 : rc;
}
