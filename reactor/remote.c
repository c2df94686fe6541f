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

int rota_remote_post(rota_remote *remote, rota_soon *soon) {
    if (!remote || !soon || !soon->fn)
        return -EINVAL;
    if (remote->inbox->forks != rota__forks)
        return -EINVAL;
    /* Claims the entry first: two threads that post the same one at once must not both link it. */
    rota_ready *idle = NULL;
    if (!__atomic_compare_exchange_n(&soon->ready_.next_, &idle, ROTA__READY_LAST, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return -EALREADY;
    return rota__inbox_post(remote->inbox, &soon->ready_);
}
