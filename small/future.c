/* Futures, and waiting for tasks, whose outcome is one.
 *
 * Invariant: waiters_ is the ring of those who wait while the future is pending, and says how it ended after that. The
 * value is handed to each waiter when it is woken: the future's memory may be gone when it runs. It must not know how
 * tasks stop.
 */
#include "small/task.h"

struct future_wait {
    struct rota__wait wait;    /* first */
    rota_future *future;
    intptr_t value;
};

static bool is_pending(const rota_future *future) {
    return future->waiters_ != ROTA__FUTURE_SET && future->waiters_ != ROTA__FUTURE_CLOSED;
}

void rota__future_end(rota_future *future, struct rota__link *state, int fate, intptr_t value) {
    struct rota__link *ring = future->waiters_;
    future->waiters_ = state;
    future->value_ = value;
    while (ring) {
        struct future_wait *w = ROTA__OF(rota__ring_pop(&ring), struct future_wait, wait.link);
        w->value = value;
        rota__wake(w->wait.task, fate);
    }
}

static void leave_future(struct rota__wait *wait) {
    rota__ring_remove(&((struct future_wait *)wait)->future->waiters_, &wait->link);
}

void rota_future_init(rota_future *future) {
    if (future)
        future->waiters_ = NULL;
}

int rota_future_set(rota_future *future, intptr_t value) {
    if (!future)
        return -EINVAL;
    if (!is_pending(future))
        return future->waiters_ == ROTA__FUTURE_SET ? -EALREADY : -ESHUTDOWN;
    rota__future_end(future, ROTA__FUTURE_SET, 0, value);
    return 0;
}

int rota_future_close(rota_future *future) {
    if (!future)
        return -EINVAL;
    if (!is_pending(future))
        future->waiters_ = NULL;
    rota__future_end(future, ROTA__FUTURE_CLOSED, -ESHUTDOWN, 0);
    return 0;
}

int rota_future_await(rota_future *future, intptr_t *result) {
    struct future_wait w;
    int rc = future ? rota__enter() : -EINVAL;
    if (rc == 0 && is_pending(future)) {
        w.wait.leave = leave_future;
        w.future = future;
        rota__ring_push(&future->waiters_, &w.wait.link);
        rc = rota__park(&w.wait, ROTA_FOREVER);
    } else if (rc == 0) {
        rc = future->waiters_ == ROTA__FUTURE_SET ? 0 : -ESHUTDOWN;
        w.value = future->value_;
        (void)rota__spend(ROTA__FAST);
    }
    return rota__two_channels(rc, rc < 0 ? rc : w.value, result);
}

bool rota_future_done(const rota_future *future) { return future && future->waiters_ == ROTA__FUTURE_SET; }

int rota_future_value(const rota_future *future, intptr_t *value) {
    if (!future)
        return -EINVAL;
    if (future->waiters_ != ROTA__FUTURE_SET)
        return is_pending(future) ? -EAGAIN : -ESHUTDOWN;
    if (value)
        *value = future->value_;
    return 0;
}

/* ---- waiting for tasks ---- */

int rota_await(rota_task *task, intptr_t *result) {
    int rc = rota__task_check(task);
    if (rc == 0)
        rc = rota__enter();
    if (rc == 0 && task == rota__running)
        rc = -EDEADLK;
    return rc < 0 ? rota__two_channels(rc, 0, result) : rota_future_await(&task->future, result);
}

/* The handle keeps the block from serving another task until here. */
int rota_join(rota_task *task, intptr_t *result) {
    int rc = rota_await(task, result);
    rota_task_release(task);
    return rc;
}
