/* Remotes: the public face of the inbox. A remote is a count of references to it; while one is open the loop
 * stays alive, and the last one to close wakes the loop so that it can see that it is alone. */
#include "reactor/loop.h"

struct rota_remote {
    struct rota__inbox *inbox;
    atomic_uint references;
};

int rota_remote_open(rota_remote **remote, rota_loop *loop) {
    if (!remote)
        return -EINVAL;
    *remote = NULL;
    if (!loop)
        loop = rota__current;
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    rota_remote *r = rota__alloc(&loop->allocator, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->inbox = loop->inbox;
    atomic_init(&r->references, 1);
    rota__inbox_ref(r->inbox);
    atomic_fetch_add(&r->inbox->remotes, 1);
    *remote = r;
    return 0;
}

rota_remote *rota_remote_ref(rota_remote *remote) {
    if (remote) {
        atomic_fetch_add_explicit(&remote->references, 1, memory_order_relaxed);
        atomic_fetch_add(&remote->inbox->remotes, 1);
    }
    return remote;
}

struct rota__inbox *rota__remote_inbox(const rota_remote *remote) { return remote->inbox; }

void rota_remote_close(rota_remote *remote) {
    if (!remote)
        return;
    struct rota__inbox *inbox = remote->inbox;
    /* While the reference still holds the inbox. Each one counts: a thread that is blocked in a call does not, and
     * others may have references to the same remote. */
    atomic_fetch_sub(&inbox->remotes, 1);
    rota__inbox_wake(inbox);
    if (atomic_fetch_sub_explicit(&remote->references, 1, memory_order_acq_rel) != 1)
        return;
    rota_allocator a = inbox->allocator;
    rota__free(&a, remote, sizeof *remote);
    rota__inbox_unref(inbox);
}

/* Who is told that an entry is queued already relies on the call that is to come: it must see what they wrote before.
 * A fence stands between their writes and their look at the entry, another between the entry's leaving the queue and
 * the call. One of the two comes first: either the call sees what they wrote, or they see that the entry is free, and
 * post it. Without, each could miss the other's store, on every processor that we know. A fence rather than an exchange
 * of the entry's word: in a flood, four threads that only look at it share its cache line, and post in two thirds of
 * the time. */
static bool is_queued_after_my_writes(const rota_ready *entry) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return rota__ready_queued(entry);
}

static void run_posted(rota_ready *entry) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    rota__run_soon(entry);
}

/* Two threads that post the same entry at once must not both link it. */
static bool claim(rota_ready *entry) {
    rota_ready *idle = NULL;
    return !rota__ready_queued(entry) && __atomic_compare_exchange_n(&entry->next_, &idle, ROTA__READY_LAST, false,
                                                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

int rota_remote_post(rota_remote *remote, rota_soon *soon) {
    if (!remote || !soon || !soon->fn)
        return -EINVAL;
    if (remote->inbox->forks != rota__forks)
        return -EINVAL;
    while (!claim(&soon->ready_))
        if (is_queued_after_my_writes(&soon->ready_))
            return -EALREADY;
    soon->ready_.run_ = run_posted;
    return rota__inbox_post(remote->inbox, &soon->ready_);
}
