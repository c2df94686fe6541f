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
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "small/task.h"

#define STARVED_PAUSE (50 * ROTA_MS)

_Static_assert(ROTA_READ == POLLIN && ROTA_PRIORITY == POLLPRI && ROTA_WRITE == POLLOUT && ROTA_ERROR == POLLERR &&
               ROTA_EOF == POLLHUP, "readiness is passed on as it is");

/* ---- waiting ---- */

/* What a task is about to do with a descriptor, and its wait when it must. */
struct call {
    struct rota__wait wait;    /* first */
    rota_watcher watcher;      /* says which descriptor, and what must be ready */
    struct iovec data;         /* or what else the try needs */
};

/* One try of it: what the system answers, -EAGAIN when it must wait. */
typedef int attempt(struct call *call);

/* In step 3, or when it is closed: then the watcher is stopped already. The task may have been woken before. */
static void on_ready(rota_watcher *watcher, unsigned ready, void *arg) {
    rota_task *task = ROTA__OF(watcher, struct call, watcher)->wait.task;
    (void)ready, (void)arg;
    if (task->wait)
        rota__wake(task, 0);
}

static void leave_fd(struct rota__wait *wait) {
    rota__unwatch(rota__loop_of(wait->task), &((struct call *)wait)->watcher);
}

/* Until an event; 0, or an error. The watcher stays until the task runs: a descriptor that is closed in between is told
 * of too. */
static int wait_for(struct call *call) {
    int rc = rota__watch(rota__turning, &call->watcher, false);
    if (rc == 0) {
        rc = rota__park(&call->wait, ROTA_FOREVER);
        if (rc == 0 && !call->watcher.state_)
            rc = -EBADF;
        leave_fd(&call->wait);
    }
    return rc;
}

/* The shape of all calls that wait for a descriptor. -EINTR: it may be tried again, in fairness to others. */
static ssize_t until_done(int fd, void *buf, size_t n, unsigned events, attempt *try_once) {
    struct call call;
    call.wait.leave = leave_fd;
    call.watcher.fn = on_ready;
    call.watcher.fd = fd;
    call.watcher.events = (uint16_t)events;
    call.watcher.state_ = false;
    call.data.iov_base = buf;
    call.data.iov_len = n;
    int rc = rota__enter();
    while (rc == 0) {
        rc = try_once(&call);
        if (rc == -EAGAIN) {
            rc = wait_for(&call);
        } else if (rc == -EINTR) {
            rc = rota_yield();
        } else {
            (void)rota__spend(ROTA__FAST);
            break;
        }
    }
    return rc;
}

/* What it is ready for now; -EAGAIN: for nothing that is asked. */
static int ready_now(struct call *call) {
    struct pollfd p = { .fd = call->watcher.fd, .events = (short)call->watcher.events };
    if (p.fd < 0)
        return -EBADF; /* poll would skip it */
    int rc = rota__result(poll(&p, 1, 0));
    if (rc <= 0)
        return rc < 0 ? rc : -EAGAIN;
    if (p.revents & POLLNVAL)
        return -EBADF;
    return (int)rota__readiness((unsigned)p.revents, (unsigned)p.events);
}

/* ---- reading and writing ---- */

/* What is no socket may block, and has no call that would not: readiness plus one call. A pipe that polls writable has
 * room for PIPE_BUF bytes, so no more are offered. Reading nothing from a socket would wait for the first byte all the
 * same: read(2) does not. What is not ready may be the wrong end of a pipe, which never will be: a call without a vector
 * transfers nothing, but says so (-EBADF; readv(2) of Linux looks at the mode first). */
static int transfer(struct call *call) {
    int writes = call->watcher.events == ROTA_WRITE, r = -ENOTSOCK, ready = 0;
    if (writes)
        r = rota__result((int)send(call->watcher.fd, call->data.iov_base, call->data.iov_len,
                                   MSG_DONTWAIT | MSG_NOSIGNAL));
    else if (call->data.iov_len)
        r = rota__result((int)recv(call->watcher.fd, call->data.iov_base, call->data.iov_len, MSG_DONTWAIT));
    if (r != -ENOTSOCK)
        return r;
    if (call->data.iov_len)
        ready = ready_now(call);
    if (writes) {
        if (call->data.iov_len > PIPE_BUF)
            call->data.iov_len = PIPE_BUF;
        r = (int)writev(call->watcher.fd, &call->data, ready >= 0);
    } else {
        r = (int)readv(call->watcher.fd, &call->data, ready >= 0);
    }
    r = rota__result(r);
    return ready < 0 && r == 0 ? ready : r;
}

ssize_t rota_read(int fd, void *buf, size_t n) { return until_done(fd, buf, n, ROTA_READ, transfer); }

ssize_t rota_write(int fd, const void *buf, size_t n) {
    return until_done(fd, (void *)(uintptr_t)buf, n, ROTA_WRITE, transfer);
}

/* All n bytes. */
static int transfer_all(int fd, void *buf, size_t n, size_t *done, unsigned direction) {
    size_t sum = 0;
    ssize_t r;
    do {
        r = until_done(fd, (char *)buf + sum, n - sum, direction, transfer);
        if (r <= 0)
            break;
        sum += (size_t)r;
    } while (sum < n);
    if (done)
        *done = sum;
    return r < 0 ? (int)r : sum < n ? -EPIPE : 0;
}

int rota_read_exact(int fd, void *buf, size_t n, size_t *done) { return transfer_all(fd, buf, n, done, ROTA_READ); }

int rota_write_all(int fd, const void *buf, size_t n, size_t *done) {
    return transfer_all(fd, (void *)(uintptr_t)buf, n, done, ROTA_WRITE);
}

/* ---- poll ---- */

int rota_poll(int fd, unsigned events) {
    if (events - 1 < (ROTA_READ | ROTA_WRITE | ROTA_PRIORITY)) /* all up to that one, but not 0 */
        return (int)until_done(fd, NULL, 0, events, ready_now);
    int rc = rota__enter();
    return rc < 0 ? rc : -EINVAL;
}

/* ---- accept ---- */

/* The connection died in the queue, or news of the network reached the wrong address (accept(2), "Error handling"): the
 * listener is sound. */
static bool is_transient(int error) {
    static const unsigned char errors[] = {
        EINTR, ECONNABORTED, EPROTO, EPERM, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENOPROTOOPT, ENONET, 0
    };
    const unsigned char *p = errors;
    while (*p && *p != -error)
        p++;
    return *p;
}

/* Asked before, because there is no flag that keeps accept from waiting on a listener that blocks. One beyond the
 * loop's table could never be waited for. With a full table the queue does not get shorter by asking, and its readiness
 * stays: without the pause an acceptor that goes on after -EMFILE would spin. */
static int accept_once(struct call *call) {
    int client = ready_now(call);
    if (client < 0)
        return client;
    client = rota__result(accept4(call->watcher.fd, call->data.iov_base, (socklen_t *)call->data.iov_len,
                                  SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client >= 0) {
        rota_fd_slot *slot = rota__slot(rota__turning, client);
        if (slot) {
            slot->registered_ = false; /* should the number have been closed behind the loop's back */
            return client;
        }
        (void)close(client);
        client = -EMFILE;
    }
    if (is_transient(client))
        return -EINTR;
    if (client == -EMFILE || client == -ENFILE) {
        int rc = rota_sleep(STARVED_PAUSE);
        (void)rc; /* it may be refused: client tells of the failure all the same */
    }
    return client;
}

int rota_accept(int fd, struct sockaddr *addr, socklen_t *len) {
    return (int)until_done(fd, addr, (uintptr_t)len, ROTA_READ, accept_once);
}

/* ---- connect ---- */

/* connect has no flag like MSG_DONTWAIT, so here alone the mode of the caller's descriptor is changed: from before the
 * system call to right after it. */
static int connect_once(int fd, const struct sockaddr *addr, socklen_t len) {
    int mode = rota__result(fcntl(fd, F_GETFL));
    if (mode < 0)
        return mode;
    if (!(mode & O_NONBLOCK))
        (void)fcntl(fd, F_SETFL, mode | O_NONBLOCK);
    int rc = rota__result(connect(fd, addr, len));
    if (!(mode & O_NONBLOCK))
        (void)fcntl(fd, F_SETFL, mode);
    return rc;
}

/* Asked after poll has said that it has ended, never before: no error yet would look like success. */
static int connect_outcome(int fd) {
    int error = 0;
    socklen_t len = sizeof error;
    int rc = rota__result(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
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
        if (rc != -EAGAIN || addr->sa_family != AF_UNIX)
            return rota__done(rc);
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
    int fd = rota__result(socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (fd < 0)
        return fd;
    int rc = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (rc == 0 && opt->reuse_port)
        rc = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (rc == 0 && v6)
        rc = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    if (rc == 0)
        rc = bind(fd, &address->any, v6 ? sizeof address->v6 : sizeof address->v4);
    if (rc == 0)
        rc = listen(fd, opt->backlog > 0 ? opt->backlog : 511);
    if (rc == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* what is accepted takes it from here */
        return fd;
    }
    rc = rota__result(rc);
    (void)close(fd);
    return rc;
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
    return rota__done(rc);
}

/* ---- close and forget ---- */

/* The current loop is never one that is closed; without one there is nobody to tell. */
int rota_close(int fd) {
    rota_loop *loop = rota__here();
    if (loop)
        fd = rota__vacate(loop, fd, -1);
    return rota__result(close(fd));
}

int rota_forget(int fd) {
    if (fd < 0)
        return -EBADF;
    int rc = rota_fd_forget(rota__here(), fd);
    return rc == -EINVAL ? 0 : rc;
}
