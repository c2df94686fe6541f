/* The descriptor table and the watchers on it: start, stop, again, close, forget, and what happens when the
 * poller reports an event.
 *
 * Invariant: a slot's `registered` is what the kernel was told for (fd, generation); whoever starts to wait
 * either is told by the kernel later, or finds the readiness remembered in the slot and is called in the next
 * step 3. It knows nothing of how the poller works, nor of tasks: a task that waits is a watcher on its stack.
 */
#include "reactor/fd_table.h"

#include <string.h>

#include "reactor/loop.h"
#include "reactor/text.h"

enum { READ_SIDE = ROTA_READ | ROTA_PRIORITY, EVENTS = ROTA_READ | ROTA_WRITE | ROTA_PRIORITY };
enum { STALE_LIMIT = 64 };

/* ---- slots ---- */

struct rota__fd *rota__fd_need(struct rota__fd_table *t, const rota_allocator *a, int fd) {
    struct rota__fd *slot = rota__fd_find(t, fd);
    if (slot)
        return slot;
    size_t page = (size_t)fd >> ROTA__FD_PAGE_BITS;
    if (page >= t->n_pages) {
        size_t n = t->n_pages ? t->n_pages : 4;
        while (n <= page)
            n *= 2;
        struct rota__fd **pages = rota__realloc(a, t->pages, t->n_pages * sizeof *pages, n * sizeof *pages);
        if (!pages)
            return NULL;
        memset(pages + t->n_pages, 0, (n - t->n_pages) * sizeof *pages);
        t->pages = pages;
        t->n_pages = n;
    }
    t->pages[page] = rota__alloc(a, ROTA__FD_PAGE * sizeof *slot);
    if (!t->pages[page])
        return NULL;
    memset(t->pages[page], 0, ROTA__FD_PAGE * sizeof *slot);
    return rota__fd_find(t, fd);
}

void rota__fd_table_free(struct rota__fd_table *t, const rota_allocator *a) {
    for (size_t i = 0; i < t->n_pages; i++)
        rota__free(a, t->pages[i], ROTA__FD_PAGE * sizeof **t->pages);
    rota__free(a, t->pages, t->n_pages * sizeof *t->pages);
    t->pages = NULL;
    t->n_pages = 0;
}

/* ---- being called again ---- */

static void again_push(rota_loop *loop, rota_watcher *w) {
    if (w->state_ & ROTA__WATCHER_AGAIN)
        return;
    w->state_ |= ROTA__WATCHER_AGAIN;
    w->next_ = NULL;
    *loop->again_last = w;
    loop->again_last = &w->next_;
    if (loop->foreign_idle)
        rota__loop_nudge(loop, INT64_MIN);
}

/* Linear, but the list is short, and stopping a watcher that is on it is rare. */
static void again_remove(rota_loop *loop, rota_watcher *w) {
    rota_watcher **at = &loop->again;
    while (*at != w)
        at = &(*at)->next_;
    *at = w->next_;
    if (!*at)
        loop->again_last = at;
    w->state_ &= (uint16_t)~ROTA__WATCHER_AGAIN;
}

/* What of the slot's readiness a watcher wants to hear. End of data and errors end every wait. */
static unsigned wanted(const rota_watcher *w, unsigned ready) {
    return ready & (w->events | ROTA_EOF | ROTA_ERROR);
}

static __attribute__((noinline, cold)) void call_watched(rota_loop *loop, rota_watcher *w, unsigned ready) {
    void (*fn)(rota_watcher *, unsigned, void *) = w->fn;
    int fd = w->fd;
    rota__step_begin(loop);
    rota__trace_callback(loop, ROTA_TRACE_CALLBACK_BEGIN, "a watcher", w, fd);
    fn(w, ready, w->arg);
    rota__trace_callback(loop, ROTA_TRACE_CALLBACK_END, "a watcher", w, fd); /* which may be gone: a name only */
    if (loop->debug)
        rota__step_end(loop, (uintptr_t)fn);
}

static inline void call(rota_loop *loop, rota_watcher *w, unsigned ready) {
    loop->counts.callbacks++;
    if (__builtin_expect(loop->watched, 0))
        call_watched(loop, w, ready);
    else
        w->fn(w, ready, w->arg);
}

void rota__fd_run_again(rota_loop *loop) {
    /* Those that ask once more while this runs are for the next turn: a marker ends this one's list. */
    rota_watcher marker;
    memset(&marker, 0, sizeof marker);
    again_push(loop, &marker);
    rota_watcher *w;
    while ((w = loop->again) != &marker) {
        again_remove(loop, w);
        struct rota__fd *slot = rota__fd_find(&loop->fds, w->fd);
        unsigned ready = slot ? wanted(w, slot->ready) : 0;
        call(loop, w, ready ? ready : w->events);
    }
    again_remove(loop, &marker);
}

/* ---- starting and stopping ---- */

/* Tells the kernel of the interest in `sides`, if it does not know. Once told, it is not told otherwise until
 * the descriptor goes: in the steady state there is no system call here.
 *
 * anew: it is told in any case, and reports everything that is ready now, so that nothing remembered counts. */
static int tell_poller(rota_loop *loop, int fd, struct rota__fd *slot, unsigned sides, bool anew) {
    unsigned all = slot->registered | sides;
    if ((all == slot->registered && !anew) || slot->kind == ROTA__FD_FILE)
        return 0;
    int rc = loop->poller->set(loop, fd, slot->generation, slot->registered, all);
    if (rc == -EPERM) {
        if (slot->kind == ROTA__FD_PIPE)
            slot->flags |= ROTA__FD_WAS_PIPE;
        slot->kind = ROTA__FD_FILE;
        slot->registered = 0;
        slot->ready = ROTA_READ | ROTA_WRITE;
        return 0;
    }
    if (rc < 0)
        return rc;
    slot->ready &= (uint8_t)(anew ? 0 : ~(sides & ~slot->registered));
    slot->registered = (uint8_t)all;
    return 0;
}

/* The number is looked at before a slot is made: a wild one must not grow the table. */
static int slot_of(rota_loop *loop, int fd, struct rota__fd **slot) {
    *slot = rota__fd_find(&loop->fds, fd);
    if (*slot)
        return 0;
    int rc = fd < 0 ? -EBADF : rota__sys_is_nonblocking(fd);
    if (rc < 0)
        return rc;
    *slot = rota__fd_need(&loop->fds, &loop->allocator, fd);
    return *slot ? 0 : -ENOMEM;
}

static void vacate(rota_loop *loop, struct rota__fd *slot);

/* and: what more is to be said. Out of line: a task's first wait comes through watch, and the depth of its frame counts for
 * every idle connection. */
static __attribute__((noinline, cold)) void closed_behind_our_back(rota_loop *loop, int fd, struct rota__fd *slot,
                                                                   int error, const char *and) {
    char words[160];
    struct rota__text t;
    rota__text_init(&t, words, sizeof words);
    rota__text_add(&t, "descriptor ");
    rota__text_number(&t, fd);
    rota__text_add(&t, " was closed behind the loop's back");
    rota__text_add(&t, and);
    rota__text_add(&t, " (close with rota_close, or rota_forget first)");
    if (loop->debug)
        rota__report(loop, ROTA_REPORT_STALE_FD, error, NULL, NULL, words);
    vacate(loop, slot);
}

/* Not to be told of a close that is under way: it was stopped, or started anew, by whoever was told first. */
static void drop_closing(rota_loop *loop, const rota_watcher *w) {
    for (struct rota__closing *c = loop->closing; c; c = c->outer)
        if (c->watcher == w)
            c->watcher = NULL;
}

/* anew: see tell_poller. */
static int watch(rota_loop *loop, rota_watcher *w, bool anew) {
    struct rota__fd *slot;
    int rc = slot_of(loop, w->fd, &slot);
    if (rc < 0)
        return rc;
    bool reads = w->events & READ_SIDE, writes = w->events & ROTA_WRITE;
    if ((reads && slot->reader) || (writes && slot->writer))
        return -EBUSY;
    unsigned sides = (reads ? ROTA_READ : 0) | (writes ? ROTA_WRITE : 0);
    unsigned known = slot->kind == ROTA__FD_FILE ? sides : slot->registered & sides;
    rc = tell_poller(loop, w->fd, slot, sides, anew);
    if (rc == -EBADF && slot->registered)
        closed_behind_our_back(loop, w->fd, slot, -EBADF, "");
    if (rc < 0)
        return rc;
    drop_closing(loop, w);
    if (reads)
        slot->reader = w;
    if (writes)
        slot->writer = w;
    w->state_ = ROTA__WATCHER_STARTED;
    loop->watchers++;
    /* Of a side that the kernel knew before, news may have come while nobody waited. (An end of data or an error alone
     * is no news: it came with the direction's bit, which somebody has cleared since because a try gave -EAGAIN.) */
    unsigned news = slot->ready & (known | (known & ROTA_READ ? w->events & ROTA_PRIORITY : 0));
    if (slot->kind == ROTA__FD_FILE || news)
        again_push(loop, w);
    return 0;
}

/* A task waits because it saw -EAGAIN, and forgot the readiness that was remembered: asking the kernel again would
 * be a system call for nothing. Only debug mode does, to find out who closes behind the loop's back. */
int rota__watch(rota_loop *loop, rota_watcher *w) {
    struct rota__fd *slot = rota__fd_find(&loop->fds, w->fd);
    return slot && w->events == ROTA_READ && rota__watch_steady(loop, slot, w) ? 0 : watch(loop, w, loop->debug);
}

int rota__watch_aside(rota_loop *loop, rota_watcher *w) {
    int rc = watch(loop, w, true);
    if (rc < 0)
        return rc;
    w->state_ |= ROTA__WATCHER_ASIDE;
    loop->watchers--;
    loop->watchers_aside++;
    return 0;
}

void rota__unwatch(rota_loop *loop, rota_watcher *w) {
    struct rota__fd *slot = rota__fd_find(&loop->fds, w->fd);
    if (slot && slot->reader == w)
        slot->reader = NULL;
    if (slot && slot->writer == w)
        slot->writer = NULL;
    if (w->state_ & ROTA__WATCHER_AGAIN)
        again_remove(loop, w);
    loop->watchers -= !(w->state_ & ROTA__WATCHER_ASIDE);
    loop->watchers_aside -= (w->state_ & ROTA__WATCHER_ASIDE) != 0;
    w->state_ = 0;
}

/* Ends the waits on a slot and makes it a new one, under a new generation; then tells the watchers, who may do
 * anything with the number and with each other (see drop_closing). */
static void vacate(rota_loop *loop, struct rota__fd *slot) {
    rota_watcher *reader = slot->reader;
    struct rota__closing writer = {slot->writer != reader ? slot->writer : NULL, loop->closing};
    if (reader)
        rota__unwatch(loop, reader);
    if (writer.watcher)
        rota__unwatch(loop, writer.watcher);
    slot->generation++;
    slot->registered = slot->ready = slot->kind = slot->flags = 0;
    loop->closing = &writer;
    if (reader)
        reader->fn(reader, ROTA_CLOSED, reader->arg);
    rota_watcher *w = writer.watcher;
    writer.watcher = NULL;
    if (w)
        w->fn(w, ROTA_CLOSED, w->arg);
    loop->closing = writer.outer;
}

void rota__fd_fresh(rota_loop *loop, int fd, unsigned kind, unsigned flags) {
    struct rota__fd *slot = rota__fd_need(&loop->fds, &loop->allocator, fd);
    if (!slot)
        return; /* nothing is remembered then; the first call that waits will say -ENOMEM */
    if (slot->registered || slot->reader || slot->writer)
        closed_behind_our_back(loop, fd, slot, 0, ": its number came back as a new one");
    slot->ready = 0;
    slot->kind = (uint8_t)kind;
    slot->flags = (uint8_t)flags;
}

void rota__fd_stop_all(rota_loop *loop) {
    for (size_t i = 0; i < loop->fds.n_pages; i++) {
        for (size_t j = 0; loop->fds.pages[i] && j < ROTA__FD_PAGE; j++) {
            struct rota__fd *slot = &loop->fds.pages[i][j];
            if (slot->reader)
                rota__unwatch(loop, slot->reader);
            if (slot->writer)
                rota__unwatch(loop, slot->writer);
        }
    }
}

/* ---- events ---- */

/* Registers everything anew in an empty set: what fills it with stale events is a descriptor that was closed
 * behind our back while a duplicate of it lives on, and such an entry can be named by nobody. */
static void rebuild(rota_loop *loop) {
    loop->stale_events = 0;
    if (loop->poller->renew(loop) < 0)
        return; /* no descriptor for a new set now: tried again after as many stale events */
    for (size_t i = 0; i < loop->fds.n_pages; i++) {
        for (size_t j = 0; loop->fds.pages[i] && j < ROTA__FD_PAGE; j++) {
            struct rota__fd *slot = &loop->fds.pages[i][j];
            int fd = (int)(i << ROTA__FD_PAGE_BITS | j);
            unsigned sides = slot->registered;
            slot->registered = 0;
            if (sides && tell_poller(loop, fd, slot, sides, false) < 0)
                vacate(loop, slot); /* the number is not open any more: its waiters are told */
        }
    }
    if (loop->debug)
        rota__report(loop, ROTA_REPORT_STALE_FD, 0, NULL, NULL,
                     "events kept coming for a descriptor that is no longer known: the poll set was rebuilt");
}

/* Out of line, so that what is usual, a reader alone, ends in a jump to it and saves no registers. */
static ROTA__APART void tell_both(rota_loop *loop, struct rota__fd *slot, unsigned ready) {
    uint32_t generation = slot->generation;
    rota_watcher *w = slot->reader;
    unsigned news = w ? wanted(w, ready) : 0;
    if (news)
        call(loop, w, news);
    /* The reader may have closed the descriptor, or stopped the writer: look again. */
    if (!slot->writer || slot->generation != generation || slot->writer == w)
        return;
    w = slot->writer;
    if (ready & (ROTA_WRITE | ROTA_ERROR))
        call(loop, w, wanted(w, ready));
}

/* A writer that the reader starts meanwhile finds what is remembered, or asks the kernel anew: it is not told here. */
void rota__fd_event(rota_loop *loop, int fd, uint32_t generation, unsigned ready) {
    struct rota__fd *slot = rota__fd_find(&loop->fds, fd);
    if (!slot || slot->generation != generation || !slot->registered) {
        loop->stale_events++;
        return;
    }
    loop->stale_events = 0;
    slot->ready |= (uint8_t)ready;
    rota_watcher *reader = slot->reader;
    if (ROTA__FOR_SIZE || __builtin_expect(slot->writer != NULL, 0))
        tell_both(loop, slot, ready);
    else if (reader && wanted(reader, ready))
        call(loop, reader, wanted(reader, ready));
}

/* After a batch of events, when no slot is in use further up the stack. */
void rota__fd_check_stale(rota_loop *loop) {
    if (loop->stale_events >= STALE_LIMIT)
        rebuild(loop);
}

/* ---- public ---- */

void rota_watcher_init(rota_watcher *w, int fd, unsigned events,
                       void (*fn)(rota_watcher *watcher, unsigned ready, void *arg), void *arg) {
    if (w)
        rota__watcher_set(w, fd, events, fn, arg);
}

int rota_watcher_start(rota_loop *loop, rota_watcher *w) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!w || !w->fn || !(w->events & EVENTS) || (w->events & ~EVENTS))
        return -EINVAL;
    /* Readiness that is remembered may be gone: nobody tells the table what a callback has read. */
    return w->state_ & ROTA__WATCHER_STARTED ? -EALREADY : watch(loop, w, true);
}

int rota_watcher_stop(rota_loop *loop, rota_watcher *w) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!w)
        return -EINVAL;
    if (w->state_ & ROTA__WATCHER_STARTED)
        rota__unwatch(loop, w);
    drop_closing(loop, w);
    return 0;
}

int rota_watcher_again(rota_loop *loop, rota_watcher *w) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!w || !(w->state_ & ROTA__WATCHER_STARTED))
        return -EINVAL;
    again_push(loop, w);
    return 0;
}

int rota_fd_close(rota_loop *loop, int fd) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    struct rota__fd *slot = rota__fd_find(&loop->fds, fd);
    rc = rota__sys_close(fd);
    if (rc != -EBADF)
        rota__loop_fd_freed(loop);
    if (slot && (slot->registered || slot->reader || slot->writer || slot->kind))
        vacate(loop, slot);
    return rc;
}

int rota_fd_forget(rota_loop *loop, int fd) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    struct rota__fd *slot = rota__fd_find(&loop->fds, fd);
    if (!slot)
        return fd < 0 ? -EBADF : 0;
    if (slot->registered)
        (void)loop->poller->set(loop, fd, slot->generation, slot->registered, 0);
    vacate(loop, slot);
    return 0;
}
