/* Messages on sockets: rota_recv, rota_send, rota_recvfrom, rota_sendto, rota_recvmsg, rota_sendmsg, and descriptors
 * that travel in them, rota_send_fds, rota_recv_fds.
 *
 * Each is one system call that is tried, and made again when the direction may be ready (rota__fd_call). Invariant: a
 * call whose flags say that it must not wait neither looks at remembered readiness nor changes it, because its -EAGAIN
 * is not about that: no urgent byte, or no error in the queue of errors, says nothing about data.
 *
 * It must not know protocols or names.
 */
#include "rota/net.h"

#include <string.h>

#include "coro/fd.h"

#define PAUSE_MAX (64 * ROTA_MS)

#ifdef MSG_ERRQUEUE
enum { NEVER_WAITS = MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE };
#else
enum { NEVER_WAITS = MSG_DONTWAIT | MSG_OOB };
#endif

struct message {
    int fd, flags;
    unsigned direction;
    struct msghdr *msg;            /* NULL: bytes alone */
    void *buf;
    size_t n;
    socklen_t name_room;           /* what the fields of msg were, which a failed try may have changed */
    __typeof__(((struct msghdr *)0)->msg_controllen) control_room;
};

static ssize_t try_message(void *arg) {
    struct message *m = arg;
    int flags = m->flags | MSG_DONTWAIT;
    if (!m->msg)
        return m->direction == ROTA_READ ? rota__sys_recv(m->fd, m->buf, m->n, flags)
                                         : rota__sys_send(m->fd, m->buf, m->n, flags);
    if (m->direction == ROTA_WRITE)
        return rota__sys_sendmsg(m->fd, m->msg, flags);
    m->msg->msg_namelen = m->name_room;
    m->msg->msg_controllen = m->control_room;
    return rota__sys_recvmsg(m->fd, m->msg, flags);
}

/* To a named unix socket whose queue is full. Its own buffer has room, which is all that poll can see, so no event
 * would come (unix_dgram_poll in the kernel's net/unix/af_unix.c looks at the peer of connected sockets alone). */
static bool peer_is_full(const struct message *m) {
    const struct sockaddr *to = m->msg && m->direction == ROTA_WRITE ? m->msg->msg_name : NULL;
    return to && to->sa_family == AF_UNIX && rota__fd_poll(m->fd, ROTA_WRITE) > 0;
}

static ssize_t transfer_to_full(struct message *m, bool *parked) {
    rota_task *task = NULL;
    int64_t pause = ROTA_MS;
    for (;;) {
        struct rota__fd *slot = rota__fd_find(&rota__current->fds, m->fd);
        uint32_t generation = slot ? slot->generation : 0;
        *parked = true;
        int rc = rota_sleep(pause);
        if (rc == 0 && slot && slot->generation != generation)
            rc = -EBADF;
        if (rc == 0)
            rc = rota__enter(&task);
        if (rc < 0)
            return rc;
        ssize_t r = try_message(m);
        if (r != -EAGAIN && r != -EINTR)
            return r;
        if (r == -EAGAIN && !peer_is_full(m))
            return rota__fd_call(task, m->fd, ROTA_WRITE, "writing to", try_message, m, parked);
        pause = pause < PAUSE_MAX ? pause * 2 : PAUSE_MAX;
    }
}

/* The first try of what may end at a full peer: not by way of remembered readiness, which that is not about. */
static ssize_t transfer_named(rota_task *task, struct message *m, bool *parked) {
    ssize_t r;
    int rc = rota__fd_know(task->loop, m->fd);
    if (rc < 0)
        return rc;
    do
        r = try_message(m);
    while (r == -EINTR);
    if (r != -EAGAIN)
        return r;
    return peer_is_full(m) ? transfer_to_full(m, parked)
                           : rota__fd_call(task, m->fd, ROTA_WRITE, "writing to", try_message, m, parked);
}

static ssize_t transfer(struct message *m) {
    rota_task *task;
    bool parked = false;
    ssize_t r = rota__enter(&task);
    if (r < 0)
        return r;
    const struct sockaddr *to = m->msg && m->direction == ROTA_WRITE ? m->msg->msg_name : NULL;
    if (m->flags & NEVER_WAITS) {
        do
            r = try_message(m);
        while (r == -EINTR);
    } else if (to && to->sa_family == AF_UNIX) {
        r = transfer_named(task, m, &parked);
    } else {
        const char *what = m->direction == ROTA_READ ? "reading from" : "writing to";
        r = rota__fd_call(task, m->fd, m->direction, what, try_message, m, &parked);
    }
    if (r >= 0 && !parked)
        rota__fast(task);
    return r;
}

static size_t at_most(size_t n) { return n < ROTA__TRANSFER_MAX ? n : ROTA__TRANSFER_MAX; }

ssize_t rota_recv(int fd, void *buf, size_t n, int flags) {
    rota__leave_forgotten();
    struct message m = {.fd = fd, .flags = flags, .direction = ROTA_READ, .buf = buf, .n = at_most(n)};
    return transfer(&m);
}

ssize_t rota_send(int fd, const void *buf, size_t n, int flags) {
    rota__leave_forgotten();
    struct message m = {.fd = fd, .flags = flags, .direction = ROTA_WRITE, .buf = (void *)(uintptr_t)buf,
                        .n = at_most(n)};
    return transfer(&m);
}

static struct msghdr header(struct iovec *iov, const struct sockaddr *addr, socklen_t len) {
    struct msghdr msg;
    memset(&msg, 0, sizeof msg);
    msg.msg_name = (void *)(uintptr_t)addr;
    msg.msg_namelen = addr ? len : 0;
    msg.msg_iov = iov;
    msg.msg_iovlen = 1;
    return msg;
}

ssize_t rota_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len) {
    rota__leave_forgotten();
    if (addr && !len)
        return -EINVAL;
    struct iovec iov = {buf, at_most(n)};
    struct msghdr msg = header(&iov, addr, len ? *len : 0);
    ssize_t r = rota_recvmsg(fd, &msg, flags);
    if (r >= 0 && addr)
        *len = msg.msg_namelen;
    return r;
}

ssize_t rota_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len) {
    rota__leave_forgotten();
    struct iovec iov = {(void *)(uintptr_t)buf, at_most(n)};
    struct msghdr msg = header(&iov, addr, len);
    return rota_sendmsg(fd, &msg, flags);
}

ssize_t rota_sendmsg(int fd, const struct msghdr *msg, int flags) {
    rota__leave_forgotten();
    struct message m = {.fd = fd, .flags = flags, .direction = ROTA_WRITE,
                        .msg = (struct msghdr *)(uintptr_t)msg};
    return msg ? transfer(&m) : -EINVAL;
}

/* ---- descriptors that have come ---- */

/* Calls fn for each. A header whose data were cut off holds as many as its length says. */
static void each_received(struct msghdr *msg, void (*fn)(int fd, void *arg), void *arg) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (unsigned char *)c + at, sizeof fd);
            fn(fd, arg);
        }
    }
}

/* Numbers that are new to the loop, whatever it knew of them. */
static void is_new(int fd, void *loop) { rota__fd_fresh(loop, fd, ROTA__FD_UNKNOWN, 0); }

ssize_t rota_recvmsg(int fd, struct msghdr *msg, int flags) {
    rota__leave_forgotten();
    if (!msg)
        return -EINVAL;
    struct message m = {.fd = fd, .flags = flags, .direction = ROTA_READ, .msg = msg, .name_room = msg->msg_namelen,
                        .control_room = msg->msg_controllen};
    ssize_t r = transfer(&m);
    if (r >= 0 && msg->msg_controllen)
        each_received(msg, is_new, rota__current);
    return r;
}

/* ---- passing descriptors ---- */

/* CMSG_SPACE is no constant on every system. */
union control {
    struct cmsghdr align;
    unsigned char bytes[sizeof(struct cmsghdr) + 32 + ROTA_FDS_MAX * sizeof(int)];
};

struct received {
    int *fds;
    size_t room, n;
};

static void count_one(int fd, void *arg) {
    struct received *r = arg;
    if (r->n < r->room)
        r->fds[r->n] = fd;
    r->n++;
}

static void close_one(int fd, void *loop) { (void)rota__fd_close(loop, fd); }

ssize_t rota_send_fds(int fd, const void *buf, size_t n, const int *fds, size_t n_fds) {
    rota__leave_forgotten();
    if (!buf || n == 0 || !fds || n_fds == 0 || n_fds > ROTA_FDS_MAX)
        return -EINVAL;
    union control control;
    struct iovec iov = {(void *)(uintptr_t)buf, at_most(n)};
    struct msghdr msg = header(&iov, NULL, 0);
    memset(&control, 0, CMSG_SPACE(n_fds * sizeof *fds));
    msg.msg_control = control.bytes;
    msg.msg_controllen = CMSG_SPACE(n_fds * sizeof *fds);
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n_fds * sizeof *fds);
    memcpy(CMSG_DATA(c), fds, n_fds * sizeof *fds);
    return rota_sendmsg(fd, &msg, 0);
}

/* The room is that of the longest message, not the caller's: what does not fit the kernel drops in silence where the
 * caller's room was zero, and its flag would not say whether it was descriptors. */
ssize_t rota_recv_fds(int fd, void *buf, size_t n, int *fds, size_t *n_fds) {
    rota__leave_forgotten();
    if (!buf || n == 0 || !n_fds || (*n_fds && !fds))
        return -EINVAL;
    union control control;
    struct received got = {.fds = fds, .room = *n_fds};
    struct iovec iov = {buf, at_most(n)};
    struct msghdr msg = header(&iov, NULL, 0);
    msg.msg_control = control.bytes;
    msg.msg_controllen = sizeof control.bytes;
    *n_fds = 0;
    ssize_t r = rota_recvmsg(fd, &msg, 0);
    if (r < 0)
        return r;
    each_received(&msg, count_one, &got);
    if (got.n > got.room || msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) {
        each_received(&msg, close_one, rota__current);
        return -EMSGSIZE;
    }
    *n_fds = got.n;
    return r;
}
