/* Futures: set once, any number of waiters woken in the order in which they came, callbacks (done.c) queued. The value is
 * put where a waiter wants it at once (wait->value is that address, NULL: the channels are merged): the future's memory may
 * be gone when the waiter runs, and a call that has nothing left to do when it is woken can end in the switch. */
#include "coro/task.h"
#include "reactor/optional.h"

ROTA__OPTIONAL(rota__callbacks_run);
ROTA__OPTIONAL(rota__callbacks_close);

void rota_future_init(rota_future *future) {
    if (!future)
        return;
    future->waiters_ = NULL;
    future->callbacks_ = NULL;
    future->value_ = 0;
    future->state_ = ROTA__FUTURE_PENDING;
    future->flags_ = 0;
}

/* ---- setting ---- */

/* ROTA__FUTURE_WANTED when one of them will look at the value, _JOINED when one of them was in rota_join. */
static inline __attribute__((always_inline)) unsigned wake_all(rota_future *future, intptr_t woken, intptr_t value) {
    struct rota__wait *wait;
    unsigned told = 0;
    while ((wait = future->waiters_)) {
        rota__wait_remove(&future->waiters_, wait);
        if (wait->won) {
            wait->value = value;
            told |= wait->won(wait, woken) ? ROTA__FUTURE_WANTED : 0;
        } else {
            told |= wait->leave == rota__join_leave ? ROTA__FUTURE_WANTED | ROTA__FUTURE_JOINED : ROTA__FUTURE_WANTED;
            (void)rota__wake(wait->task, rota__two_channels((int)woken, value, rota_ptr(wait->value)));
        }
    }
    return told;
}

unsigned rota__future_resolve(rota_future *future, intptr_t value) {
    unsigned told = future->callbacks_ ? ROTA__FUTURE_WANTED : 0;
    future->state_ = ROTA__FUTURE_SET;
    future->value_ = value;
    told |= wake_all(future, 0, value);
    if (future->callbacks_)
        rota__callbacks_run(future, value);
    return told;
}

/* The loop that those who wait belong to; NULL when nobody waits. */
static rota_loop *loop_of(const rota_future *future) {
    return future->waiters_ ? future->waiters_->task->loop : future->callbacks_ ? future->callbacks_->loop_ : NULL;
}

/* A task's future was set or closed by hand: those who were in rota_join have let go of the handle. */
static void let_go(rota_future *future, unsigned told) {
    if (told & ROTA__FUTURE_JOINED)
        rota_task_release(rota__container_of(future, rota_task, future));
}

int rota_future_set(rota_future *future, intptr_t value) {
    if (!future)
        return -EINVAL;
    if (future->state_ != ROTA__FUTURE_PENDING)
        return future->state_ == ROTA__FUTURE_SET ? -EALREADY : -ESHUTDOWN;
    rota_loop *loop = loop_of(future);
    int rc = loop ? rota__loop_check(loop) : 0;
    if (rc < 0)
        return rc;
    let_go(future, rota__future_resolve(future, value));
    return 0;
}

int rota_future_close(rota_future *future) {
    if (!future)
        return -EINVAL;
    rota_loop *loop = loop_of(future);
    int rc = loop ? rota__loop_check(loop) : 0;
    if (rc < 0)
        return rc;
    future->state_ = ROTA__FUTURE_CLOSED;
    let_go(future, wake_all(future, -ESHUTDOWN, -ESHUTDOWN));
    if (future->callbacks_)
        rota__callbacks_close(future);
    return 0;
}

/* ---- waiting ---- */

const char rota__waits_for_task[] = "task";

void rota__future_leave(struct rota__wait *wait) {
    rota__wait_leave(wait);
    (void)rota__two_channels(-ECANCELED, 0, rota_ptr(wait->value));
}

int rota__future_wait(rota_task *self, rota_future *future, intptr_t *result, void (*leave)(struct rota__wait *wait)) {
    struct rota__wait *wait = &self->runner->wait;
    if (future->state_ == ROTA__FUTURE_CLOSED)
        return rota__two_channels(-ESHUTDOWN, 0, result);
    if (!rota__may_join(self, future->waiters_))
        return rota__two_channels(-EPERM, 0, result);
    wait->value = (intptr_t)result;
    return rota__wait_with(self, &future->waiters_,
                           future->flags_ & ROTA__FUTURE_OF_TASK ? rota__waits_for_task : "a future", wait, leave);
}

int rota_future_await(rota_future *future, intptr_t *result) {
    rota_task *self;
    int rc = future ? rota__enter(&self) : -EINVAL;
    if (rc < 0)
        return rota__two_channels(rc, 0, result);
    if (future->state_ != ROTA__FUTURE_SET)
        return rota__future_wait(self, future, result, rota__future_leave);
    intptr_t value = future->value_;
    future->flags_ |= ROTA__FUTURE_SEEN;
    rota__fast(self);
    return rota__two_channels(0, value, result);
}

bool rota_future_done(const rota_future *future) { return future && future->state_ == ROTA__FUTURE_SET; }

int rota_future_value(const rota_future *future, intptr_t *value) {
    if (!future)
        return -EINVAL;
    if (future->state_ != ROTA__FUTURE_SET)
        return future->state_ == ROTA__FUTURE_CLOSED ? -ESHUTDOWN : -EAGAIN;
    ((rota_future *)(uintptr_t)future)->flags_ |= ROTA__FUTURE_SEEN;
    if (value)
        *value = future->value_;
    return 0;
}
