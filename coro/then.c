/* Chaining: rota_future_then, rota_then_cancel. A rota_then is a future and the done-callback, on another future,
 * that sets it. Nothing is called from inside a set or a close, so a chain of any length runs one link after the
 * other from the ready queue, and needs no deeper stack than one link. */
#include "coro/task.h"
#include "rota/combine.h"

static void run(rota_done *done, intptr_t value, void *arg) {
    rota_then *next = arg;
    (void)done;
    intptr_t (*fn)(intptr_t, void *) = rota_failed(value) ? next->on_error_ : next->fn_;
    intptr_t made = fn ? fn(value, next->arg_) : value;
    /* Refused when somebody else has set or closed it meanwhile: then that was first. */
    (void)!rota_future_set(&next->future, made);
}

int rota_future_then(rota_future *from, rota_then *next, intptr_t (*fn)(intptr_t value, void *arg),
                     intptr_t (*on_error)(intptr_t error, void *arg), void *arg) {
    if (!next)
        return -EINVAL;
    rota_future_init(&next->future);
    next->fn_ = fn;
    next->on_error_ = on_error;
    next->arg_ = arg;
    int rc = rota_future_on_done(from, &next->done_, run, next);
    if (rc == 0)
        next->done_.chains_ = true;
    return rc;
}

void rota_then_cancel(rota_then *next) {
    if (!next)
        return;
    (void)rota_done_remove(&next->done_);
    if (!rota_future_done(&next->future))
        (void)rota_future_close(&next->future);
}
