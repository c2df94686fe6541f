/* Child watchers: rota_child_*, told once when a process has ended, with its status.
 *
 * Where there is a pidfd the child's end is a descriptor's readiness, like everything else that a loop waits for, and
 * the descriptor also names the process for reaping and for signals: its number may serve another process by then.
 * Where there is none (other systems, Linux before 5.3, no descriptor to be had), SIGCHLD tells that *some* child has
 * ended, and each child that is watched this way is asked for. Never waitpid(-1): children that nobody gave to this
 * loop are somebody else's. Rejected: kqueue's EVFILT_PROC, which would put processes into the contract of pollers and
 * still needs the second way (NetBSD refuses a zombie with ESRCH, and a pid can be recycled before it is registered).
 *
 * Invariant: from start to the call of fn, or to stop, a watcher is in the loop's list, and something will look at its
 * process after it has ended: the watcher of its pidfd, or a sweep (a sweep also follows each start, since the signal
 * may have come before). Somebody else may take the status first (waitpid(-1) elsewhere; SIGCHLD ignored, so that the
 * kernel drops it): the end is still seen, and fn gets -ECHILD.
 */
#include "reactor/children.h"

#include <signal.h>
#include <sys/wait.h>

#include "reactor/loop.h"

enum { STARTED = 1, BY_SIGNAL = 2 };

/* ---- the list ---- */

static void link_child(rota_loop *loop, rota_child *c) {
    struct rota__children *set = &loop->children;
    c->next_ = set->first;
    c->prev_ = &set->first;
    if (c->next_)
        c->next_->prev_ = &c->next_;
    set->first = c;
    c->loop_ = loop;
    c->state_ |= STARTED;
}

static void unlink_child(rota_child *c) {
    struct rota__children *set = &c->loop_->children;
    if (set->cursor == c)
        set->cursor = c->next_;
    *c->prev_ = c->next_;
    if (c->next_)
        c->next_->prev_ = c->prev_;
}

static void close_pidfd(rota_loop *loop, rota_child *c) {
    if (c->pidfd_ >= 0 && rota__loop_check(loop) < 0)
        (void)rota__sys_close(c->pidfd_); /* the loop has closed, or this is a child after fork */
    else if (c->pidfd_ >= 0)
        (void)rota_fd_close(loop, c->pidfd_);
    c->pidfd_ = -1;
}

static void leave_signal(rota_loop *loop, rota_child *c) {
    struct rota__children *set = &loop->children;
    c->state_ &= (uint8_t)~BY_SIGNAL;
    if (--set->by_signal > 0)
        return;
    (void)rota_signal_stop(loop, &set->signal); /* refused while the loop closes, which has stopped it */
    (void)rota_soon_stop(loop, &set->sweep);
}

static void stop(rota_child *c) {
    rota_loop *loop = c->loop_;
    unlink_child(c);
    if (c->watcher_.state_)
        rota__unwatch(loop, &c->watcher_);
    if (c->state_ & BY_SIGNAL)
        leave_signal(loop, c);
    close_pidfd(loop, c);
    c->loop_ = NULL;
    c->state_ = 0;
}

/* ---- the end of a process ---- */

bool rota__child_ended(rota_child *c, int *status) {
    int rc;
    do
        rc = rota__sys_reap(c->pid, c->pidfd_, WNOHANG, status);
    while (rc == -EINTR);
    if (rc == 0)
        return false;
    if (rc < 0)
        *status = rc;
    stop(c);
    return true;
}

void rota__child_forget(rota_child *c) {
    if (c->state_ & STARTED)
        stop(c);
}

static void look(rota_child *c) {
    rota_loop *loop = c->loop_;
    int status = 0;
    if (!rota__child_ended(c, &status))
        return;
    void (*fn)(rota_child *, int, void *) = c->fn;
    rota__step_begin(loop);
    fn(c, status, c->arg);
    if (loop->debug)
        rota__step_end(loop, (uintptr_t)fn);
}

/* fn may stop and free any watcher: the cursor steps aside. Those that it starts are linked before the cursor, and
 * bring a sweep of their own. */
static void sweep(rota_loop *loop) {
    struct rota__children *set = &loop->children;
    set->cursor = set->first;
    while (set->cursor) {
        rota_child *c = set->cursor;
        set->cursor = c->next_;
        if (c->state_ & BY_SIGNAL)
            look(c);
    }
}

static void sweep_signal(rota_signal *signal, int signo, void *loop) {
    (void)signal, (void)signo;
    sweep(loop);
}

static void sweep_soon(rota_soon *soon, void *loop) {
    (void)soon;
    sweep(loop);
}

/* ---- the two ways of being told ---- */

static int watch_by_signal(rota_loop *loop, rota_child *c) {
    struct rota__children *set = &loop->children;
    if (set->by_signal == 0) {
        rota_signal_init(&set->signal, SIGCHLD, sweep_signal, loop);
        rota_soon_init(&set->sweep, sweep_soon, loop);
        int rc = rota_signal_start(loop, &set->signal);
        if (rc < 0)
            return rc;
    }
    set->by_signal++;
    c->state_ |= BY_SIGNAL;
    int rc = rota_soon_start(loop, &set->sweep);
    return rc == -EALREADY ? 0 : rc;
}

static void readable(rota_watcher *watcher, unsigned ready, void *arg) {
    rota_child *c = arg;
    (void)watcher;
    if (!(ready & ROTA_CLOSED)) {
        look(c);
        return;
    }
    /* Somebody has closed or forgotten a number that is not theirs. The signal remains; should that fail, the status
     * does not matter any more to anybody who could be told. */
    rota_loop *loop = c->loop_;
    c->pidfd_ = -1;
    int rc = watch_by_signal(loop, c);
    if (rc < 0) {
        stop(c);
        c->fn(c, rc, c->arg);
    }
}

static int watch_by_fd(rota_loop *loop, rota_child *c) {
    if (c->pidfd_ < 0) {
        c->pidfd_ = rota__sys_pidfd_open(c->pid);
        if (c->pidfd_ < 0)
            return c->pidfd_;
    }
    rota__fd_fresh(loop, c->pidfd_, ROTA__FD_OTHER, 0);
    rota_watcher_init(&c->watcher_, c->pidfd_, ROTA_READ, readable, c);
    return rota_watcher_start(loop, &c->watcher_);
}

/* ---- public ---- */

void rota_child_init(rota_child *c, pid_t pid, void (*fn)(rota_child *child, int status, void *arg), void *arg) {
    if (!c)
        return;
    c->next_ = NULL;
    c->prev_ = NULL;
    c->loop_ = NULL;
    c->fn = fn;
    c->arg = arg;
    c->pid = pid;
    c->pidfd_ = -1;
    c->state_ = 0;
    rota_watcher_init(&c->watcher_, -1, 0, NULL, NULL);
}

void rota__child_adopt(rota_child *c, int pidfd) { c->pidfd_ = pidfd; }

static void stop_all(rota_loop *loop) {
    while (loop->children.first) {
        rota_child *c = loop->children.first;
        c->state_ &= (uint8_t)~BY_SIGNAL;
        stop(c);
    }
}

int rota_child_start(rota_loop *loop, rota_child *c) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!c || !c->fn || c->pid <= 0)
        return -EINVAL;
    if (c->state_ & STARTED)
        return -EALREADY;
    link_child(loop, c);
    loop->children.stop_all = stop_all;
    /* Whatever keeps the descriptor from being had or watched, the signal needs none of it. */
    if (watch_by_fd(loop, c) == 0)
        return 0;
    rc = watch_by_signal(loop, c);
    if (rc < 0)
        stop(c);
    return rc;
}

int rota_child_stop(rota_loop *loop, rota_child *c) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!c || (c->loop_ && c->loop_ != loop))
        return -EINVAL;
    if (c->state_ & STARTED)
        stop(c);
    return 0;
}

/* By number only while it cannot be another process: reaped is reaped by us, and then the watcher is stopped. What
 * others might have reaped in secret is found out by pidfd alone. */
int rota_child_kill(rota_child *c, int signo) {
    if (!c || signo < 0)
        return -EINVAL;
    if (!(c->state_ & STARTED))
        return -ESRCH;
    int rc = rota__loop_check(c->loop_);
    if (rc < 0 && rc != -ESHUTDOWN) /* a loop that closes may still end what it owns */
        return rc;
    if (c->pidfd_ >= 0) {
        rc = rota__sys_pidfd_signal(c->pidfd_, signo);
        if (rc != -ENOSYS)
            return rc;
    }
    return rota__sys_kill(c->pid, signo);
}
