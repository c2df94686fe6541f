/* What adapters over foreign libraries need and the public headers do not have in this form: the first line of a call
 * that may suspend, descriptors watched as level-triggered libraries expect it, and writes without SIGPIPE.
 *
 * Static functions, because two adapters may be linked into one static program. Public headers of rota only; not a
 * word about any foreign library.
 */
#ifndef ROTA_ADAPTER_H
#define ROTA_ADAPTER_H

#include <signal.h>

#include "rota/coro.h"

/* (S) What every (S) call begins with: refuses outside of tasks and under cancellation, and marks the scope whose
 * deadline it was, before anything has been tried. */
static inline int adapter_enter(void) {
    rota_future passed = {0};
    int rc = rota_future_set(&passed, 0);
    return rc < 0 ? rc : rota_future_await(&passed, NULL);
}

/* ---- one direction of a descriptor ---- */

/* Foreign libraries read a bounded amount and expect to be called again while there is more: level triggering. A
 * watcher says once that readiness has arrived; starting it anew asks the kernel again, and finds what is still
 * there. It is started anew before the library is called, which may free this struct or close the descriptor; the
 * kernel looks again when the event is fetched, so what the library has read by then is not reported twice.
 * (Reading on until EAGAIN would need the library to say that it saw one; poll(2) after each call costs as much.) */
struct adapter_side {
    rota_watcher watcher;
    rota_loop *loop;
    bool wanted;
    void (*ready)(void *arg);
    void (*failed)(void *arg, int error);   /* it cannot be watched any more */
    void *arg;
};

static inline void adapter_side_event(rota_watcher *watcher, unsigned ready, void *arg) {
    struct adapter_side *side = arg;
    if (ready & ROTA_CLOSED) {
        side->wanted = false;
        return;
    }
    (void)rota_watcher_stop(side->loop, watcher);
    int rc = rota_watcher_start(side->loop, watcher);
    if (rc < 0) {
        side->wanted = false;
        side->failed(side->arg, rc);
    } else {
        side->ready(side->arg);
    }
}

static inline void adapter_side_init(struct adapter_side *side, rota_loop *loop, int fd, unsigned event,
                                     void (*ready)(void *arg), void (*failed)(void *arg, int error), void *arg) {
    rota_watcher_init(&side->watcher, fd, event, adapter_side_event, side);
    side->loop = loop;
    side->wanted = false;
    side->ready = ready;
    side->failed = failed;
    side->arg = arg;
}

/* Idempotent. Errors of rota_watcher_start. */
static inline int adapter_side_want(struct adapter_side *side, bool wanted) {
    if (side->wanted == wanted)
        return 0;
    int rc = wanted ? rota_watcher_start(side->loop, &side->watcher) : rota_watcher_stop(side->loop, &side->watcher);
    side->wanted = wanted && rc == 0;
    return rc;
}

/* ---- SIGPIPE ---- */

/* For libraries that write to sockets by write(2). The signal is aimed at the writing thread: blocked there, and taken
 * if one came, it stays unseen without touching the program's disposition. */
struct adapter_quiet {
    sigset_t pipe, old;
    bool was_pending;
};

static inline void adapter_quiet_begin(struct adapter_quiet *quiet) {
    sigset_t pending;
    (void)sigemptyset(&quiet->pipe);
    (void)sigaddset(&quiet->pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &quiet->pipe, &quiet->old);
    quiet->was_pending = sigismember(&quiet->old, SIGPIPE) == 1 && sigpending(&pending) == 0 &&
                         sigismember(&pending, SIGPIPE) == 1;
}

static inline void adapter_quiet_end(struct adapter_quiet *quiet) {
    sigset_t pending;
    int signo;
    if (!quiet->was_pending && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1)
        (void)sigwait(&quiet->pipe, &signo);
    (void)pthread_sigmask(SIG_SETMASK, &quiet->old, NULL);
}

#endif
