/* Callbacks of futures: rota_future_on_done, rota_done_remove. Called from the ready queue, in the order in which they
 * were asked for, behind the tasks that waited. One that waits lies in its future's list; future.c hands over the list, and
 * does not know what it holds.
 */
#include "coro/task.h"

enum { IDLE, WAITS, QUEUED };

static void run_done(rota_soon *soon, void *arg) {
    rota_done *done = arg;
    (void)soon;
    done->future_ = NULL;
    done->fn(done, done->value_, done->arg);
}

static void unlink_done(rota_future *future, rota_done *done) {
    if (future->callbacks_ == done)
        future->callbacks_ = done->next_;
    else
        done->prev_->next_ = done->next_;
    if (done->next_)
        done->next_->prev_ = done->prev_;
    else if (future->callbacks_)
        future->callbacks_->prev_ = done->prev_;
}

static void append(rota_future *future, rota_done *done) {
    done->next_ = NULL;
    if (future->callbacks_) {
        done->prev_ = future->callbacks_->prev_;
        done->prev_->next_ = done;
        future->callbacks_->prev_ = done;
    } else {
        done->prev_ = done;
        future->callbacks_ = done;
    }
}

/* In the loop in which it was asked for, whichever loop of the thread sets the future. */
static void queue(rota_done *done, intptr_t value) {
    done->value_ = value;
    done->state_ = QUEUED;
    rota_soon_init(&done->soon_, run_done, done);
    rota__loop_push(done->loop_, &done->soon_.ready_);
}

int rota_future_on_done(rota_future *future, rota_done *done, void (*fn)(rota_done *done, intptr_t value, void *arg),
                        void *arg) {
    rota_loop *loop = rota__current;
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!future || !done || !fn)
        return -EINVAL;
    if (future->state_ == ROTA__FUTURE_CLOSED)
        return -ESHUTDOWN;
    done->fn = fn;
    done->arg = arg;
    done->future_ = future;
    done->loop_ = loop;
    done->chains_ = false;
    if (future->state_ == ROTA__FUTURE_SET) {
        future->flags_ |= ROTA__FUTURE_SEEN;
        queue(done, future->value_);
        return 0;
    }
    done->state_ = WAITS;
    append(future, done);
    return 0;
}

int rota_done_remove(rota_done *done) {
    if (!done)
        return -EINVAL;
    if (done->state_ == WAITS && done->future_) {
        unlink_done(done->future_, done);
    } else if (done->state_ == QUEUED && rota__ready_queued(&done->soon_.ready_)) {
        /* The loop is only looked at here: one that is gone has no entries in its queue. */
        int rc = rota__loop_check(done->loop_);
        if (rc < 0)
            return rc;
        rota__ready_remove(&done->loop_->ready, &done->soon_.ready_);
    }
    done->future_ = NULL;
    done->state_ = IDLE;
    return 0;
}

void rota__callbacks_run(rota_future *future, intptr_t value) {
    rota_done *done;
    while ((done = future->callbacks_)) {
        unlink_done(future, done);
        queue(done, value);
    }
}

void rota__callbacks_close(rota_future *future) {
    rota_done *done;
    while ((done = future->callbacks_)) {
        (void)rota_done_remove(done);
        /* Queued, not called from here: chains may be long, and closing must not go as deep. */
        if (done->chains_)
            queue(done, -ESHUTDOWN);
    }
}
