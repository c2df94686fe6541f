/* Select: rota_select, rota_try_select. Waiting for several things, with the effect of exactly one.
 *
 * The task parks on a wait of its own, and each clause has one more in the queue of its object (for a descriptor, a
 * watcher). Objects hand things over without knowing: they take the first wait out of their queue and wake it. For a
 * clause that is clause_won, which in the same call takes the other clauses out of their queues.
 *
 * Invariant: all clauses of a select wait, or none. So whatever is in a queue can be handed something, and is the
 * winner then; no item or permit is ever given to a wait whose task was woken for another reason. Two alternatives
 * fail: leaving the siblings to the task when it runs (another waker finds them in between, and its item is lost), and
 * waking the task only to let it try again (it would lose its place in the queues, and could starve).
 */
#include "coro/fd.h"
#include "coro/task.h"
#include "rota/combine.h"

enum { NOBODY = -1 };

/* What a clause keeps while it waits. */
struct clause_wait {
    union {
        struct rota__wait wait;   /* on: the queue; NULL when it is in none */
        rota_watcher watcher;
    };
    struct selection *of;
};

struct selection {
    struct rota__wait wait;       /* what the task is parked on */
    rota_clause *clauses;
    size_t n;
    int winner;
};

_Static_assert(sizeof(struct clause_wait) <= sizeof((rota_clause){ 0 }.wait_), "rota_clause.wait_ is too small");
_Static_assert(_Alignof(struct clause_wait) <= _Alignof(int64_t), "rota_clause.wait_ is not aligned enough");

static struct clause_wait *waiting(rota_clause *c) { return (struct clause_wait *)(void *)c->wait_; }

/* ---- trying ---- */

static bool is_valid(const rota_clause *c) {
    switch (c->kind) {
    case ROTA_SELECT_GET:
    case ROTA_SELECT_PUT:
        return c->object && c->item;
    case ROTA_SELECT_ACQUIRE:
    case ROTA_SELECT_LOCK:
    case ROTA_SELECT_EVENT:
    case ROTA_SELECT_FUTURE:
        return c->object != NULL;
    case ROTA_SELECT_FD:
        return c->events && !(c->events & ~(unsigned)(ROTA_READ | ROTA_WRITE | ROTA_PRIORITY));
    default:
        return false;
    }
}

static int check(const rota_clause *clauses, size_t n) {
    if (!clauses || !n || n > INT32_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        if (!is_valid(&clauses[i]))
            return -EINVAL;
    return 0;
}

static int try_lock(rota_mutex *m) {
    rota_task *self = rota_self();
    return self && m->owner_ == self ? -EDEADLK : rota_mutex_try_lock(m);
}

/* What the future was set to may be -EAGAIN too: only its being pending is none. */
static bool try_future(rota_clause *c) {
    intptr_t value = 0;
    int rc = rota_future_value(c->object, &value);
    if (rc == -EAGAIN)
        return false;
    c->result = rota__two_channels(rc, value, c->item);
    return true;
}

static int try_fd(const rota_clause *c) {
    int rc = rota__fd_poll(c->fd, c->events);
    return rc == 0 ? -EAGAIN : rc;
}

/* Does what can be done at once. False: it would wait. */
static bool try_clause(rota_clause *c) {
    switch (c->kind) {
    case ROTA_SELECT_GET:     c->result = rota_queue_try_get(c->object, c->item); break;
    case ROTA_SELECT_PUT:     c->result = rota_queue_try_put(c->object, c->item); break;
    case ROTA_SELECT_ACQUIRE: c->result = rota_sem_try_acquire(c->object); break;
    case ROTA_SELECT_LOCK:    c->result = try_lock(c->object); break;
    case ROTA_SELECT_EVENT:   c->result = rota_event_is_set(c->object) ? 0 : -EAGAIN; break;
    case ROTA_SELECT_FUTURE:  return try_future(c);
    default:                  c->result = try_fd(c); break;
    }
    return c->result != -EAGAIN;
}

static int try_all(rota_clause *clauses, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (try_clause(&clauses[i]))
            return (int)i;
    return -EAGAIN;
}

int rota_try_select(rota_clause *clauses, size_t n) {
    int rc = check(clauses, n);
    return rc < 0 ? rc : try_all(clauses, n);
}

/* ---- winning and leaving ---- */

/* Takes clauses [0, n) out of whatever they wait in. */
static void leave_clauses(struct selection *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct clause_wait *w = waiting(&s->clauses[i]);
        if (s->clauses[i].kind == ROTA_SELECT_FD) {
            if (w->watcher.state_)
                rota__unwatch(s->wait.task->loop, &w->watcher);
        } else if (w->wait.on) {
            rota__wait_leave(&w->wait);
            w->wait.on = NULL;
        }
    }
}

/* The task is cancelled before anybody has won. */
static void leave_select(struct rota__wait *wait) {
    struct selection *s = (struct selection *)wait;
    leave_clauses(s, s->n);
}

static bool win(struct selection *s, const rota_clause *winner, intptr_t value) {
    s->winner = (int)(winner - s->clauses);
    leave_clauses(s, s->n);
    return rota__wake(s->wait.task, value);
}

static bool clause_won(struct rota__wait *wait, intptr_t value) {
    rota_clause *c = rota__container_of(wait, rota_clause, wait_);
    wait->on = NULL;
    return win(waiting(c)->of, c, value);
}

/* In step 3. The event is a hint; the kernel is asked here, not by the task when it runs: a false alarm must not cost
 * the other clauses their places. The task may have been woken before: rota_close tells both watchers of a descriptor,
 * and a callback of the first one can do anything. */
static void fd_event(rota_watcher *watcher, unsigned ready, void *arg) {
    rota_clause *c = arg;
    struct selection *s = waiting(c)->of;
    rota_task *task = s->wait.task;
    if (task->wait != &s->wait)
        return;
    int rc = ready & ROTA_CLOSED ? -EBADF : rota__fd_poll(c->fd, c->events);
    if (rc == 0) {
        struct rota__fd *slot = rota__fd_find(&task->loop->fds, watcher->fd);
        slot->ready &= (uint8_t)~c->events;
        return;
    }
    (void)win(s, c, rc);
}

/* ---- waiting ---- */

static int watch_fd(rota_task *self, rota_clause *c) {
    rota_watcher *watcher = &waiting(c)->watcher;
    rota_watcher_init(watcher, c->fd, c->events, fd_event, c);
    int rc = rota__fd_know(self->loop, c->fd);
    if (rc < 0)
        return rc;
    /* The kernel has just said that it is not ready: what is remembered is old. */
    rota__fd_find(&self->loop->fds, c->fd)->ready &= (uint8_t)~c->events;
    return rota__watch(self->loop, watcher);
}

static struct rota__wait **queue_of(const rota_clause *c) {
    switch (c->kind) {
    case ROTA_SELECT_GET:     return &((rota_queue *)c->object)->getters_;
    case ROTA_SELECT_PUT:     return &((rota_queue *)c->object)->putters_;
    case ROTA_SELECT_ACQUIRE: return &((rota_sem *)c->object)->waiters_;
    case ROTA_SELECT_LOCK:    return &((rota_mutex *)c->object)->waiters_;
    case ROTA_SELECT_EVENT:   return &((rota_event *)c->object)->waiters_;
    default:                  return &((rota_future *)c->object)->waiters_;
    }
}

/* Puts a clause where it waits; an error is what its own call would have given. */
static int enlist(struct selection *s, rota_task *self, rota_clause *c) {
    struct clause_wait *w = waiting(c);
    if (c->kind == ROTA_SELECT_FD) {
        w->of = s;
        return watch_fd(self, c);
    }
    struct rota__wait **queue = queue_of(c);
    *w = (struct clause_wait){ .of = s, .wait = { .task = self, .what = s->wait.what, .until = ROTA_FOREVER,
                                                  .value = (intptr_t)c->item, .won = clause_won } };
    if (*queue && (*queue)->task->loop != self->loop)
        return -EPERM;
    w->wait.on = queue;
    rota__wait_push(queue, &w->wait);
    return 0;
}

static int enlist_all(struct selection *s, rota_task *self) {
    s->wait.task = self;
    for (size_t i = 0; i < s->n; i++) {
        int rc = enlist(s, self, &s->clauses[i]);
        if (rc < 0) {
            leave_clauses(s, i + 1);
            s->clauses[i].result = rc;
            return (int)i;
        }
    }
    return -EAGAIN;
}

int rota_select(rota_clause *clauses, size_t n) {
    rota_task *self;
    int rc = rota__enter(&self);
    if (rc == 0)
        rc = check(clauses, n);
    if (rc < 0)
        return rc;
    struct selection s = { .clauses = clauses, .n = n, .winner = NOBODY,
                           .wait = { .what = "one of several", .on = clauses, .until = ROTA_FOREVER,
                                     .leave = leave_select } };
    rc = try_all(clauses, n);
    if (rc == -EAGAIN)
        rc = enlist_all(&s, self);
    if (rc >= 0) {
        rota__fast(self);
        return rc;
    }
    rc = (int)rota__park(self, &s.wait);
    if (s.winner == NOBODY)
        return rc;
    rota_clause *won = &clauses[s.winner];
    if (won->kind == ROTA_SELECT_FUTURE)
        rc = rota__two_channels(rc, waiting(won)->wait.value, won->item);
    won->result = rc;
    return s.winner;
}
