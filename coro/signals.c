/* Waiting for signals in a task: rota_signals_open, wait, close.
 *
 * One signal watcher per signal of the set. Invariant: a bit in pending_ is a signal that has arrived and that no
 * wait has been given; a waiter is given its signal by the one who wakes it, so that closing the set, or a second
 * wait, cannot come between. It must not know how signals reach the loop.
 */
#include <signal.h>
#include <string.h>

#include "coro/task.h"

struct rota__signals_slot {
    rota_signal watcher;
    rota_signals *owner;
};

static size_t count(uint64_t mask) { return (size_t)__builtin_popcountll(mask); }

/* The lowest one, taken out. */
static int take(rota_signals *s) {
    int signo = __builtin_ctzll(s->pending_) + 1;
    s->pending_ &= s->pending_ - 1;
    return signo;
}

static void arrived(rota_signal *watcher, int signo, void *arg) {
    struct rota__signals_slot *slot = arg;
    rota_signals *s = slot->owner;
    (void)watcher;
    s->pending_ |= ROTA_SIGNAL(signo);
    struct rota__wait *wait = s->waiter_;
    if (!wait)
        return;
    s->waiter_ = NULL;
    (void)rota__wake(wait->task, take(s));
}

static void stop(rota_signals *s, size_t started) {
    for (size_t i = 0; i < started; i++)
        (void)rota_signal_stop(s->loop_, &s->slots_[i].watcher);
    rota__free(&s->loop_->allocator, s->slots_, count(s->mask_) * sizeof *s->slots_);
    memset(s, 0, sizeof *s);
}

int rota_signals_open(rota_signals *s, uint64_t mask) {
    if (!s || !mask)
        return -EINVAL;
    memset(s, 0, sizeof *s);
    int rc = rota__loop_check(rota__current);
    if (rc < 0)
        return rc;
    s->loop_ = rota__current;
    s->mask_ = mask;
    s->slots_ = rota__alloc(&s->loop_->allocator, count(mask) * sizeof *s->slots_);
    if (!s->slots_)
        return -ENOMEM;
    for (size_t i = 0; mask; i++, mask &= mask - 1) {
        s->slots_[i].owner = s;
        rota_signal_init(&s->slots_[i].watcher, __builtin_ctzll(mask) + 1, arrived, &s->slots_[i]);
        rc = rota_signal_start(s->loop_, &s->slots_[i].watcher);
        if (rc < 0) {
            stop(s, i);
            return rc;
        }
    }
    return 0;
}

struct signals_wait {
    struct rota__wait wait;    /* first */
    rota_signals *signals;
};

static void leave(struct rota__wait *wait) { ((struct signals_wait *)wait)->signals->waiter_ = NULL; }

int rota_signals_wait(rota_signals *s) {
    rota_task *task;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!s)
        return -EINVAL;
    if (!s->slots_)
        return -ESHUTDOWN;
    if (s->loop_ != task->loop)
        return -EPERM;
    if (s->waiter_)
        return -EBUSY;
    if (s->pending_) {
        int signo = take(s);
        rota__fast(task);
        return signo;
    }
    struct signals_wait w = {
        .wait = {.what = "a signal", .on = s, .until = ROTA_FOREVER, .leave = leave},
        .signals = s,
    };
    s->waiter_ = &w.wait;
    return (int)rota__park(task, &w.wait);
}

int rota_signals_close(rota_signals *s) {
    if (!s)
        return -EINVAL;
    if (!s->slots_)
        return 0;
    int rc = rota__loop_check(s->loop_);
    if (rc < 0 && rc != -ESHUTDOWN)
        return rc; /* another thread, or a child after fork: there, the loop's own closing stops the watchers */
    struct rota__wait *wait = s->waiter_;
    stop(s, count(s->mask_));
    if (wait)
        (void)rota__wake(wait->task, -ESHUTDOWN);
    return 0;
}
