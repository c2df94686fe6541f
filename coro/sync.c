/* Event, mutex, condition, semaphore, read-write lock, barrier, latch: a word of state and a queue of waits each.
 *
 * Invariant of all: while somebody waits, whatever becomes free is handed to the first waiter before anybody else
 * can take it; a newcomer that finds waiters queues behind them. Whoever is handed something owns it from the
 * moment of the hand-over, not from when it runs, so a cancellation in between cannot lose it. A waiter that is
 * cancelled leaves its queue in that same call, so a hand-over never meets one.
 *
 * The alternative, to free the object and let the woken task take it when it runs, loses twice: somebody else may
 * take it in between, and a woken task that gives up must remember to wake the next one.
 *
 * It knows nothing of threads but how to refuse them, and nothing of select, whose waits stand in these queues too.
 */
#include "rota/sync.h"

#include "coro/task.h"
#include "reactor/text.h"

/* ---- event ---- */

int rota_event_set(rota_event *e) {
    int rc = e ? rota__waits_check(e->waiters_) : -EINVAL;
    if (rc < 0)
        return rc;
    e->set_ = true;
    while (rota__wake_first(&e->waiters_, 0))
        ;
    return 0;
}

int rota_event_clear(rota_event *e) {
    int rc = e ? rota__waits_check(e->waiters_) : -EINVAL;
    if (rc == 0)
        e->set_ = false;
    return rc;
}

bool rota_event_is_set(const rota_event *e) { return e && e->set_; }

int rota_event_wait(rota_event *e) {
    rota_task *self;
    int rc = e ? rota__enter(&self) : -EINVAL;
    if (rc < 0)
        return rc;
    if (!e->set_)
        return rota__wait_in(self, &e->waiters_, "an event", 0);
    rota__fast(self);
    return 0;
}

/* ---- mutex ---- */

/* For reports, which look for an owner behind these (and no other) waits: `on` is a mutex's queue, which a read-write
 * lock has inside, too. */
enum { PLAIN, AGAIN, TO_READ, TO_WRITE };
const char rota__waits_for_mutex[4][ROTA__WAITS_FOR] = {
    "a mutex", "a mutex, after a condition", "a lock, to read", "a lock, to write"
};

static void own(rota_mutex *m, rota_task *task) {
    m->owner_ = task;
    m->next_held_ = task->runner->held;
    m->prev_held_ = &task->runner->held;
    if (m->next_held_)
        m->next_held_->prev_held_ = &m->next_held_;
    task->runner->held = m;
}

static void disown(rota_mutex *m) {
    *m->prev_held_ = m->next_held_;
    if (m->next_held_)
        m->next_held_->prev_held_ = m->prev_held_;
    m->owner_ = NULL;
}

static void hand_over(rota_mutex *m) {
    struct rota__wait *wait = m->waiters_;
    disown(m);
    if (!wait)
        return;
    own(m, wait->task);
    (void)rota__wake_first(&m->waiters_, 0);
}

int rota_mutex_try_lock(rota_mutex *m) {
    rota_task *self = rota_self();
    if (!m || !self)
        return m ? -EPERM : -EINVAL;
    if (m->owner_)
        return -EAGAIN;
    own(m, self);
    return 0;
}

int rota_mutex_lock(rota_mutex *m) {
    rota_task *self;
    int rc = m ? rota__enter(&self) : -EINVAL;
    if (rc == 0 && m->owner_ == self)
        rc = -EDEADLK;
    if (rc < 0)
        return rc;
    if (m->owner_ && m->owner_->loop != self->loop)
        return -EPERM;
    if (m->owner_)
        return rota__wait_in(self, &m->waiters_, rota__waits_for_mutex[PLAIN], 0);
    own(m, self);
    rota__fast(self);
    return 0;
}

int rota_mutex_unlock(rota_mutex *m) {
    if (!m)
        return -EINVAL;
    if (!m->owner_ || m->owner_ != rota_self())
        return -EPERM;
    hand_over(m);
    return 0;
}

/* A task has ended with mutexes locked (or read-write locks, for writing). What they protect may be half-changed, so
 * nobody is handed them: those who wait are told, and the mutex is free. (A read-write lock begins with its mutex, so the
 * address is that of either.) */
void rota__mutexes_abandoned(rota_task *task) {
    rota_mutex *m;
    while ((m = task->runner->held)) {
        char text[64];
        struct rota__text t;
        rota__text_init(&t, text, sizeof text);
        rota__text_add(&t, " ended and still held the lock ");
        rota__text_hex(&t, (uintptr_t)m);
        rota__report_task(task, ROTA_REPORT_MUTEX, -EOWNERDEAD, "", text);
        disown(m);
        while (rota__wake_first(&m->waiters_, -EOWNERDEAD))
            ;
    }
}

/* ---- condition ---- */

/* Whatever has happened: the caller of wait gets its mutex back. No leave, so that nothing ends this wait but the
 * mutex: the code that follows unlocks it. */
static int lock_again(rota_mutex *m, rota_task *self) {
    struct rota__wait wait = { .what = rota__waits_for_mutex[AGAIN], .on = &m->waiters_, .until = ROTA_FOREVER };
    if (!m->owner_) {
        own(m, self);
        return 0;
    }
    wait.task = self;
    rota__wait_push(&m->waiters_, &wait);
    return rota__park(self, &wait);
}

int rota_cond_wait(rota_cond *c, rota_mutex *m) {
    rota_task *self;
    if (!c || !m)
        return -EINVAL;
    if (!m->owner_ || m->owner_ != rota_self())
        return -EPERM;
    if (c->waiters_ && c->mutex_ != m)
        return -EINVAL;
    int rc = rota__enter(&self);
    if (rc < 0)
        return rc;
    c->mutex_ = m;
    hand_over(m);
    rc = rota__wait_in(self, &c->waiters_, "a condition", 0);
    if (m->owner_ == self)
        return rc; /* notified, and handed the mutex: see notify */
    while (lock_again(m, self) == -EOWNERDEAD)
        ; /* its owner died: the mutex is free, or somebody else has it now */
    return rc;
}

/* A notified waiter does not wake to find the mutex held by the notifier: it moves over to the mutex's queue, and
 * wakes when it is handed the mutex. From here cancellation does not touch it: it has been notified. */
int rota_cond_notify(rota_cond *c, size_t n) {
    if (!c)
        return -EINVAL;
    if (!c->waiters_)
        return 0;
    rota_mutex *m = c->mutex_;
    if (!m->owner_ || m->owner_ != rota_self())
        return -EPERM;
    /* The mutex is held, by the caller: there is no moment in which it could be free and a waiter stands in its queue. */
    for (; n > 0 && c->waiters_; n--) {
        struct rota__wait *wait = c->waiters_;
        rota__wait_remove(&c->waiters_, wait);
        wait->leave = NULL;
        wait->what = rota__waits_for_mutex[AGAIN];
        wait->on = &m->waiters_;
        rota__wait_push(&m->waiters_, wait);
    }
    return 0;
}

/* ---- semaphore ---- */

void rota_sem_init(rota_sem *s, size_t count, size_t max) {
    if (!s)
        return;
    s->waiters_ = NULL;
    s->count_ = count < max ? count : max;
    s->max_ = max;
}

int rota_sem_try_acquire(rota_sem *s) {
    if (!s)
        return -EINVAL;
    if (!s->count_)
        return -EAGAIN; /* so too while somebody waits: a permit is never left lying then */
    s->count_--;
    return 0;
}

int rota_sem_acquire(rota_sem *s) {
    rota_task *self;
    int rc = s ? rota__enter(&self) : -EINVAL;
    if (rc < 0)
        return rc;
    if (rota_sem_try_acquire(s) < 0)
        return rota__wait_in(self, &s->waiters_, "a semaphore", 0);
    rota__fast(self);
    return 0;
}

int rota_sem_release_many(rota_sem *s, size_t n) {
    if (!s)
        return -EINVAL;
    int rc = rota__waits_check(s->waiters_);
    if (rc < 0)
        return rc;
    /* A select with two clauses for this semaphore waits twice, side by side, and takes one permit. */
    size_t waiting = 0;
    for (const struct rota__wait *w = s->waiters_; w && waiting < n; w = w->next)
        waiting += !w->next || w->next->task != w->task;
    if (n - waiting > s->max_ - s->count_)
        return -EOVERFLOW;
    for (; n > 0 && rota__wake_first(&s->waiters_, 0); n--)
        ;
    s->count_ += n;
    return 0;
}

size_t rota_sem_value(const rota_sem *s) { return s ? s->count_ : 0; }

/* ---- read-write lock ----
 * A mutex, which a writer holds, and in whose queue everybody waits (so that a writer that ends is noticed as the
 * owner of a mutex is), with a number of readers, who keep it from being free without holding it. */

enum { READER, WRITER };

static bool admit(rota_rwlock *l, rota_task *task, intptr_t kind) {
    if (l->writer_.owner_ || (kind == WRITER && l->readers_))
        return false;
    if (kind == WRITER)
        own(&l->writer_, task);
    else
        l->readers_++;
    return true;
}

/* Those at the front who may enter do. */
static void admit_waiters(rota_rwlock *l) {
    struct rota__wait **queue = &l->writer_.waiters_;
    while (*queue && admit(l, (*queue)->task, (*queue)->value))
        (void)rota__wake_first(queue, 0);
}

/* A writer that is cancelled at the front may have held up readers. */
static void leave_rwlock(struct rota__wait *wait) {
    rota_rwlock *l = rota__container_of((void *)(uintptr_t)wait->on, rota_rwlock, writer_.waiters_);
    rota__wait_leave(wait);
    admit_waiters(l);
}

static int wait_for_rwlock(rota_rwlock *l, rota_task *self, intptr_t kind, const char *what) {
    struct rota__wait **queue = &l->writer_.waiters_;
    if (l->writer_.owner_ == self)
        return -EDEADLK;
    if (!rota__may_join(self, *queue) || (l->writer_.owner_ && l->writer_.owner_->loop != self->loop))
        return -EPERM;
    if (!*queue && admit(l, self, kind)) {
        rota__fast(self);
        return 0;
    }
    self->runner->wait.value = kind;
    return rota__wait_with(self, queue, what, &self->runner->wait, leave_rwlock);
}

int rota_rwlock_read(rota_rwlock *l) {
    rota_task *self;
    int rc = l ? rota__enter(&self) : -EINVAL;
    return rc < 0 ? rc : wait_for_rwlock(l, self, READER, rota__waits_for_mutex[TO_READ]);
}

int rota_rwlock_write(rota_rwlock *l) {
    rota_task *self;
    int rc = l ? rota__enter(&self) : -EINVAL;
    return rc < 0 ? rc : wait_for_rwlock(l, self, WRITER, rota__waits_for_mutex[TO_WRITE]);
}

int rota_rwlock_unlock(rota_rwlock *l) {
    int rc = l ? rota__waits_check(l->writer_.waiters_) : -EINVAL;
    if (rc < 0)
        return rc;
    if (l->writer_.owner_ && l->writer_.owner_ == rota_self())
        disown(&l->writer_);
    else if (l->readers_)
        l->readers_--;
    else
        return -EPERM;
    admit_waiters(l);
    return 0;
}

/* ---- barrier ---- */

int rota_barrier_init(rota_barrier *b, size_t parties) {
    if (!b || !parties)
        return -EINVAL;
    b->waiters_ = NULL;
    b->parties_ = parties;
    b->waiting_ = 0;
    return 0;
}

static void leave_barrier(struct rota__wait *wait) {
    rota_barrier *b = rota__container_of((void *)(uintptr_t)wait->on, rota_barrier, waiters_);
    rota__wait_leave(wait);
    b->waiting_--;
}

static void open_barrier(rota_barrier *b, int value) {
    b->waiting_ = 0;
    while (rota__wake_first(&b->waiters_, value))
        ;
}

int rota_barrier_wait(rota_barrier *b) {
    rota_task *self;
    int rc = b && b->parties_ ? rota__enter(&self) : -EINVAL;
    if (rc < 0)
        return rc;
    if (!rota__may_join(self, b->waiters_))
        return -EPERM;
    if (b->waiting_ + 1 == b->parties_) {
        open_barrier(b, 0);
        rota__fast(self);
        return 1;
    }
    b->waiting_++;
    return rota__wait_with(self, &b->waiters_, "a barrier", &self->runner->wait, leave_barrier);
}

int rota_barrier_reset(rota_barrier *b) {
    int rc = b ? rota__waits_check(b->waiters_) : -EINVAL;
    if (rc == 0)
        open_barrier(b, -EPIPE);
    return rc;
}

/* ---- latch ---- */

void rota_latch_init(rota_latch *l, size_t count) {
    if (!l)
        return;
    l->waiters_ = NULL;
    l->count_ = count;
}

int rota_latch_count_down(rota_latch *l, size_t n) {
    int rc = !l || n > l->count_ ? -EINVAL : rota__waits_check(l->waiters_);
    if (rc < 0)
        return rc;
    l->count_ -= n;
    while (l->count_ == 0 && rota__wake_first(&l->waiters_, 0))
        ;
    return 0;
}

int rota_latch_wait(rota_latch *l) {
    rota_task *self;
    int rc = l ? rota__enter(&self) : -EINVAL;
    if (rc < 0)
        return rc;
    if (l->count_)
        return rota__wait_in(self, &l->waiters_, "a latch", 0);
    rota__fast(self);
    return 0;
}
