/* Where other threads leave work for a loop: a lock-free list that only grows at its head, taken whole by the
 * loop, and a flag that says whether the loop sleeps (so that a flood of posts costs one wake-up).
 *
 * Counted: the loop has one reference and each remote has one, so that a post or a wake that races with the
 * closing of the loop still finds the list (marked closed) and a descriptor that is still the loop's own.
 */
#ifndef ROTA_REACTOR_INBOX_H
#define ROTA_REACTOR_INBOX_H

#include <stdatomic.h>

#include "reactor/poller.h"
#include "rota/reactor.h"

struct rota__inbox {
    _Atomic(rota_ready *) head;      /* newest first; a mark once the loop is closed */
    atomic_uint sleeping;            /* ROTA__AWAKE, ROTA__ASLEEP or ROTA__WOKEN */
    atomic_uint references;          /* the loop's and the remotes' */
    atomic_uint signals_pending;     /* a signal handler marked something for this loop */
    atomic_size_t remotes;           /* references to remotes, less those whose thread is blocked in a call into the
                                        loop; and waits for other threads (thread_queue.c): who could still send
                                        something. They keep the loop alive */
    _Atomic(uint64_t) owner;         /* the loop's thread; 0 once it is closed */
    unsigned forks;                  /* rota__forks when it was made: a child must not touch the parent's waker */
    struct rota__waker waker;
    rota_allocator allocator;
};

enum { ROTA__AWAKE, ROTA__ASLEEP, ROTA__WOKEN };

/* A store and then a load of what another thread stores before it loads this: one of the two must see the other's (the
 * pattern of Dekker's lock). An exchange, although the language asks no more than a store for it: a store is STLR on
 * AArch64, which the architecture keeps before the LDAR that follows (ARM DDI 0487, B2.3.3) and an emulator may not: under
 * QEMU 7.2 a wake-up is lost for ever (docs/DECISIONS.md). On x86-64 both are the same XCHG. */
#define rota__store_before_load(object, value) ((void)atomic_exchange(object, value))

struct rota__inbox *rota__inbox_new(const rota_allocator *a);
void rota__inbox_ref(struct rota__inbox *inbox);
void rota__inbox_unref(struct rota__inbox *inbox);

/* remote.c: what a remote leads to; for as long as the reference lasts. */
struct rota__inbox *rota__remote_inbox(const rota_remote *remote);

/* Any thread. entry is not queued anywhere. -ESHUTDOWN once closed. */
int rota__inbox_post(struct rota__inbox *inbox, rota_ready *entry);

/* Wakes the loop if it sleeps. Any thread, signal handlers. */
void rota__inbox_wake(struct rota__inbox *inbox);

/* The loop's thread: moves what has come into the ready queue; true when there was something. */
bool rota__inbox_take(rota_loop *loop);

/* Something has come, perhaps. */
static inline bool rota__inbox_has(const struct rota__inbox *inbox) {
    return atomic_load_explicit(&inbox->head, memory_order_relaxed) != NULL;
}

/* The loop's thread: announces that it is about to sleep; false when something has come and it must not. */
bool rota__inbox_sleep(struct rota__inbox *inbox);
static inline void rota__inbox_awake(struct rota__inbox *inbox) {
    atomic_store_explicit(&inbox->sleeping, ROTA__AWAKE, memory_order_relaxed);
}

/* No more posts; what is in it is dropped (rota__ready_dropped). */
void rota__inbox_close(struct rota__inbox *inbox);

#endif
