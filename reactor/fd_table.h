/* What the loop knows about each descriptor number: who waits, what the kernel was told, what is ready.
 *
 * Slots lie in pages that are made when first needed and stay where they are until the loop goes. A slot
 * carries a generation, which is part of the registration in the kernel: an event of an earlier owner of the
 * number is recognised and dropped.
 *
 * Readiness is remembered (edge-triggered): `ready` has a bit for each direction in which the next try may
 * succeed. It is set by events and cleared by whoever saw -EAGAIN (or, on TCP, a short read).
 */
#ifndef ROTA_REACTOR_FD_TABLE_H
#define ROTA_REACTOR_FD_TABLE_H

#include "reactor/memory.h"

enum { ROTA__FD_PAGE_BITS = 6, ROTA__FD_PAGE = 1 << ROTA__FD_PAGE_BITS };

/* What kind of thing a descriptor is, as far as fd calls must know. */
enum rota__fd_kind {
    ROTA__FD_UNKNOWN,
    ROTA__FD_TCP,       /* a stream socket of INET or INET6: a short read empties it */
    ROTA__FD_SOCKET,    /* any other socket */
    ROTA__FD_PIPE,
    ROTA__FD_FILE,      /* cannot be polled: always ready */
    ROTA__FD_OTHER      /* ttys, eventfds, ...: pollable, read and write only when ready */
};

struct rota__fd {
    rota_watcher *reader, *writer;
    uint32_t generation;
    uint8_t registered;    /* ROTA_READ | ROTA_WRITE as the kernel was told, under this generation */
    uint8_t ready;         /* ROTA_READ | ROTA_WRITE | ROTA_PRIORITY | ROTA_EOF | ROTA_ERROR */
    uint8_t kind;          /* enum rota__fd_kind */
    uint8_t flags;         /* ROTA__FD_* */
};

enum {
    ROTA__FD_NONBLOCKING = 1,   /* known to be O_NONBLOCK: plain calls will do */
    ROTA__FD_STARVED = 2,       /* accept met a full descriptor table and said so */
    ROTA__FD_NO_NOWAIT = 4,     /* RWF_NOWAIT does not work on it */
    ROTA__FD_WAS_PIPE = 8       /* a pipe that the poller does not take, as its readers have gone */
};

struct rota__fd_table {
    struct rota__fd **pages;
    size_t n_pages;
};

static inline struct rota__fd *rota__fd_find(const struct rota__fd_table *t, int fd) {
    size_t page = (size_t)(unsigned)fd >> ROTA__FD_PAGE_BITS; /* of a negative one, beyond any table */
    if (page >= t->n_pages || !t->pages[page])
        return NULL;
    return &t->pages[page][(unsigned)fd & (ROTA__FD_PAGE - 1)];
}

/* The slot of fd, made if need be; NULL without memory. fd >= 0. */
struct rota__fd *rota__fd_need(struct rota__fd_table *t, const rota_allocator *a, int fd);
void rota__fd_table_free(struct rota__fd_table *t, const rota_allocator *a);

/* The descriptor was just created by the library: whatever the slot held was left by somebody who closed the
 * number behind our back. */
void rota__fd_fresh(rota_loop *loop, int fd, unsigned kind, unsigned flags);

static inline void rota__watcher_set(rota_watcher *w, int fd, unsigned events,
                                     void (*fn)(rota_watcher *watcher, unsigned ready, void *arg), void *arg) {
    w->next_ = NULL;
    w->fn = fn;
    w->arg = arg;
    w->fd = fd;
    w->events = (uint16_t)events;
    w->state_ = 0;
}

/* What a watcher's state_ says. */
enum { ROTA__WATCHER_STARTED = 1, ROTA__WATCHER_AGAIN = 2, ROTA__WATCHER_ASIDE = 4 };

/* As rota_watcher_start and _stop, without checks of the loop. */
int rota__watch(rota_loop *loop, rota_watcher *watcher);
void rota__unwatch(rota_loop *loop, rota_watcher *watcher);

/* As rota__watch, but the loop does not stay alive for it: nobody waits for what it may say. Readiness that is already
 * there is delivered. */
int rota__watch_aside(rota_loop *loop, rota_watcher *watcher);

/* Rebuilds the poll set when too many stale events came in a row. Between batches of events only. */
void rota__fd_check_stale(rota_loop *loop);

#endif
