/* The portable poller: poll(2), and a pipe for wake-ups. Its wait costs time in proportion to the descriptors, but it
 * needs nothing of its system, and is a second implementation of the contract to hold the others against.
 *
 * It offers rota__poller_poll; the contract is in poller.h. Invariant: there is room to ask about every descriptor
 * that is registered, so that waiting needs no memory. It must not know of timers or tasks.
 *
 * The kernel keeps no set here, so the table of descriptors is the set: each wait asks about the slots that are
 * registered. Nothing can go stale, a removed or vacated slot is not asked about any more, and nothing ever needs to
 * be renewed. A list of our own would be one more thing to keep true, for the same walk.
 *
 * poll(2) tells what *is* ready, the contract is about what *becomes* ready. The difference is made up with what the
 * slot remembers: readiness that was told and is still remembered is no news, and is asked about only if somebody
 * waits. Who saw -EAGAIN has cleared it, and is told when that changes; who was told and has not finished does not
 * wait. What cannot be made up: a watcher with a callback stays started while it is called, and nobody knows what it
 * has read. It counts as waiting, so one that neither takes what is ready nor stops is called in every turn. (Told
 * once, it would miss what came between its last read and our next question; that is a hang, this only costs time.)
 */
#include <poll.h>
#include <string.h>

#include "reactor/loop.h"

/* The end of data while there is still data; where poll does not tell, the read will. */
#if !defined(POLLRDHUP)
# define POLLRDHUP 0
#endif

struct questions {
    size_t room;
    struct pollfd *fds;     /* [0] is the pipe */
    uint32_t *generations;  /* for which each was asked; in the same block of memory */
};

static struct questions *questions_of(const rota_loop *loop) { return loop->poll.events; }

static size_t block_size(size_t room) { return room * (sizeof(struct pollfd) + sizeof(uint32_t)); }

/* Answers may still be waiting in the old block, when a callback registers one descriptor more. */
static int reserve(rota_loop *loop, struct questions *q, size_t needed) {
    size_t room = q->room ? q->room : 64;
    while (room < needed)
        room *= 2;
    if (room == q->room)
        return 0;
    struct pollfd *fds = rota__alloc(&loop->allocator, block_size(room));
    if (!fds)
        return -ENOMEM;
    uint32_t *generations = (uint32_t *)(fds + room);
    if (q->room) {
        memcpy(fds, q->fds, q->room * sizeof *fds);
        memcpy(generations, q->generations, q->room * sizeof *generations);
        rota__free(&loop->allocator, q->fds, block_size(q->room));
    }
    *q = (struct questions){room, fds, generations};
    return 0;
}

/* ---- interest ---- */

/* Regular files and directories, which poll(2) calls always ready, are turned away as epoll does. And a number that is
 * not open is noticed now, not at the next wait. */
static int poller_set(rota_loop *loop, int fd, uint32_t generation, unsigned had, unsigned interest) {
    struct stat st;
    (void)generation, (void)had;
    if (!interest)
        return 0;
    int rc = rota__sys_fstat(fd, &st);
    if (rc < 0)
        return rc;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return -EPERM;
    return reserve(loop, questions_of(loop), (size_t)fd + 2);
}

static int poller_renew(rota_loop *loop) {
    (void)loop;
    return -ENOTSUP;
}

/* ---- waiting ---- */

static unsigned waits_for(const rota_watcher *w) { return w ? w->events : 0; }

/* A hang-up and an error are answers to any question: once told, they are a reason to ask only for those who wait, or
 * the wait would return at once for ever. */
static short question(const struct rota__fd *slot) {
    unsigned ask = waits_for(slot->reader) | waits_for(slot->writer);
    int events = 0;
    if (!(slot->ready & (ROTA_EOF | ROTA_ERROR)))
        ask |= ~(unsigned)slot->ready;
    if (slot->registered & ROTA_READ)
        events = (ask & ROTA_READ ? POLLIN | POLLRDHUP : 0) | (ask & ROTA_PRIORITY ? POLLPRI : 0);
    if (slot->registered & ask & ROTA_WRITE)
        events |= POLLOUT;
    return (short)events;
}

static nfds_t ask(const rota_loop *loop, struct questions *q) {
    const struct rota__fd_table *t = &loop->fds;
    nfds_t n = 0;
    q->fds[n++] = (struct pollfd){.fd = loop->inbox->waker.other, .events = POLLIN};
    for (size_t i = 0; i < t->n_pages; i++) {
        for (size_t j = 0; t->pages[i] && j < ROTA__FD_PAGE; j++) {
            const struct rota__fd *slot = &t->pages[i][j];
            short events = slot->registered ? question(slot) : 0;
            if (!events)
                continue;
            q->fds[n] = (struct pollfd){.fd = (int)(i << ROTA__FD_PAGE_BITS | j), .events = events};
            q->generations[n++] = slot->generation;
        }
    }
    return n;
}

static unsigned readiness(int events) {
    unsigned ready = 0;
    if (events & POLLIN)
        ready |= ROTA_READ;
    if (events & POLLOUT)
        ready |= ROTA_WRITE;
    if (events & POLLPRI)
        ready |= ROTA_PRIORITY;
    if (events & POLLRDHUP)
        ready |= ROTA_READ | ROTA_EOF;
    if (events & POLLHUP)
        ready |= ROTA_READ | ROTA_WRITE | ROTA_EOF;
    if (events & (POLLERR | POLLNVAL))
        ready |= ROTA_READ | ROTA_WRITE | ROTA_ERROR;
    return ready;
}

/* Rounded up: never early. */
static int milliseconds(int64_t ns) {
    if (ns <= 0 || ns == ROTA_FOREVER)
        return ns <= 0 ? 0 : -1;
    int64_t ms = (ns - 1) / ROTA_MS + 1;
    return ms < INT32_MAX ? (int)ms : INT32_MAX;
}

static void empty_pipe(int fd) {
    char bytes[512];
    while (rota__sys_read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes)
        ;
}

/* Callbacks change the table and may move the questions. Each answer goes out under the generation that was asked
 * about, so that one for a slot that was vacated meanwhile is dropped. */
static int poller_wait(rota_loop *loop, int64_t timeout_ns) {
    struct questions *q = questions_of(loop);
    nfds_t n = ask(loop, q);
    int ready = rota__sys_poll(q->fds, n, milliseconds(timeout_ns));
    rota__polled(loop, ready);
    if (ready <= 0)
        return ready == -EINTR ? 0 : ready;
    if (q->fds[0].revents)
        empty_pipe(q->fds[0].fd);
    for (nfds_t i = 1; i < n; i++)
        if (q->fds[i].revents)
            rota__fd_event(loop, q->fds[i].fd, q->generations[i], readiness(q->fds[i].revents));
    return ready;
}

/* ---- open and close ---- */

/* A full pipe refuses the byte, and is as readable as can be. */
static int wake(int fd) { return (int)rota__sys_write(fd, "", 1); }

static void poller_close(rota_loop *loop, bool forked) {
    struct questions *q = questions_of(loop);
    (void)forked;
    if (q && q->room)
        rota__free(&loop->allocator, q->fds, block_size(q->room));
    rota__free(&loop->allocator, q, sizeof *q);
    loop->poll.events = NULL;
}

static int poller_open(rota_loop *loop) {
    struct rota__waker *waker = &loop->inbox->waker;
    struct questions *q = rota__alloc(&loop->allocator, sizeof *q);
    int ends[2];
    if (!q)
        return -ENOMEM;
    *q = (struct questions){0};
    loop->poll.events = q;
    loop->poll.capacity = INT32_MAX; /* every answer comes at once */
    int rc = reserve(loop, q, 1);
    if (rc == 0)
        rc = rota__sys_pipe(ends);
    if (rc < 0) {
        poller_close(loop, false);
        return rc;
    }
    waker->other = ends[0];
    waker->fd = ends[1];
    waker->wake = wake;
    return 0;
}

/* ---- for a foreign loop ---- */

/* No one descriptor stands for all of them. */
static int poller_fd(rota_loop *loop) {
    (void)loop;
    return -ENOTSUP;
}

static void poller_deadline(rota_loop *loop, int64_t when) { (void)loop, (void)when; }

const struct rota__poller rota__poller_poll = {
    .name = "poll",
    .open = poller_open,
    .close = poller_close,
    .set = poller_set,
    .wait = poller_wait,
    .fd = poller_fd,
    .deadline = poller_deadline,
    .renew = poller_renew,
};
