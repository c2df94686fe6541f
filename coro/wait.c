/* Waiting for tasks that somebody else owns: rota_wait, rota_as_completed_begin, _next, _end. Nobody is cancelled
 * here, and no handle is kept.
 *
 * rota_wait parks on a wait of its own and has one more in the future of each task, which only counts. What it needs
 * to know it is told there, in the moment in which a task ends: when the caller runs again, the handles that it gave
 * may have been released by their owners, and their control blocks be other tasks.
 */
#include "coro/task.h"
#include "rota/combine.h"

/* ---- an array of handles ---- */

/* NULL entries are skipped everywhere; 0 if all others are tasks that self may wait for. */
static int check_tasks(rota_task *const *tasks, size_t n, const rota_task *self) {
    for (size_t i = 0; i < n; i++) {
        int rc = tasks[i] ? rota__task_check(tasks[i]) : 0;
        if (rc == 0 && tasks[i] && tasks[i]->loop != rota__current)
            rc = -EPERM;
        if (rc == 0 && tasks[i] && tasks[i] == self)
            rc = -EDEADLK;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The first time that a task is met. With a mark in the task, so that it is neither quadratic nor needs memory. */
static bool is_new(rota_task *task) {
    if (!task || task->flags & ROTA__TASK_COUNTED)
        return false;
    task->flags |= ROTA__TASK_COUNTED;
    return true;
}

static void clear_marks(rota_task *const *tasks, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (tasks[i])
            tasks[i]->flags &= (uint16_t)~ROTA__TASK_COUNTED;
}

/* ---- wait ---- */

enum { MEMBERS_ON_STACK = 8 };

struct member {
    struct rota__wait wait;    /* first; on is NULL unless it is queued */
    struct waiting *of;
};

struct waiting {
    struct rota__wait wait;    /* what the caller is parked on */
    struct member *members;
    size_t n, distinct, done;
    int until;
    bool failed;
};

static bool is_over(const struct waiting *w) {
    return w->done == w->distinct || (w->until == ROTA_FIRST && w->done) ||
           (w->until == ROTA_FIRST_ERROR && w->failed);
}

static void count(struct waiting *w, const rota_task *task, intptr_t value) {
    w->done++;
    w->failed |= rota_failed(value) && !(task->flags & ROTA__TASK_OBEYED);
}

/* Also after the caller has been woken, until it runs: what ends in the same turn is counted too. */
static bool member_ended(struct rota__wait *wait, intptr_t woken) {
    struct waiting *w = ((struct member *)wait)->of;
    struct rota__wait **queue = (struct rota__wait **)(uintptr_t)wait->on;
    (void)woken;
    wait->on = NULL;
    count(w, rota__container_of(queue, rota_task, future.waiters_), wait->value);
    if (is_over(w))
        (void)rota__wake(wait->task, 0);
    return false;
}

static void enlist(struct waiting *w, rota_task *self, rota_task *const *tasks) {
    for (size_t i = 0; i < w->n; i++) {
        struct member *m = &w->members[i];
        m->wait.on = NULL;
        if (!is_new(tasks[i]))
            continue;
        w->distinct++;
        if (tasks[i]->state == ROTA__TASK_DONE) {
            count(w, tasks[i], tasks[i]->future.value_);
            continue;
        }
        *m = (struct member){ .of = w, .wait = { .task = self, .what = "tasks", .on = &tasks[i]->future.waiters_,
                                                 .until = ROTA_FOREVER, .won = member_ended } };
        rota__wait_push(&tasks[i]->future.waiters_, &m->wait);
    }
    clear_marks(tasks, w->n);
}

static void leave_members(struct waiting *w) {
    for (size_t i = 0; i < w->n; i++)
        if (w->members[i].wait.on)
            rota__wait_leave(&w->members[i].wait);
}

static void leave_nothing(struct rota__wait *wait) { (void)wait; }

static int wait_for(struct waiting *w, rota_task *self, rota_task *const *tasks, int64_t limit) {
    int rc = 0;
    enlist(w, self, tasks);
    if (!w->distinct)
        return -EINVAL;
    if (is_over(w)) {
        rota__fast(self);
    } else {
        w->wait = (struct rota__wait){ .what = "tasks", .on = tasks, .until = ROTA_FOREVER, .leave = leave_nothing };
        if (limit != ROTA_FOREVER)
            w->wait.until = rota__time_add(rota__loop_clock(self->loop), limit > 0 ? limit : 0);
        rc = (int)rota__park(self, &w->wait);
    }
    leave_members(w);
    return rc;
}

int rota_wait(rota_task *const *tasks, size_t n, int until, int64_t limit, size_t *done) {
    rota_task *self;
    struct member few[MEMBERS_ON_STACK];
    if (done)
        *done = 0;
    if (!tasks || until < ROTA_FIRST || until > ROTA_ALL)
        return -EINVAL;
    int rc = rota__enter(&self);
    if (rc == 0)
        rc = check_tasks(tasks, n, self);
    if (rc < 0)
        return rc;
    struct waiting w = { .members = few, .n = n, .until = until };
    size_t size;
    if (__builtin_mul_overflow(n, sizeof *few, &size))
        return -ENOMEM;
    if (n > MEMBERS_ON_STACK && !(w.members = rota__alloc(&self->loop->allocator, size)))
        return -ENOMEM;
    rc = wait_for(&w, self, tasks, limit);
    if (w.members != few)
        rota__free(&self->loop->allocator, w.members, size);
    if (done)
        *done = w.done;
    return rc;
}

/* ---- as completed ---- */

/* Somebody who waits for the next one: what it is handed lies in its own frame, as the slots may be gone when it runs. */
struct taker {
    struct rota__wait wait;
    bool served;
    rota_task *task;
    intptr_t value;
};

/* A slot that has ended goes to the first who waits for one, or into the list. After the last one nobody will be
 * given anything more. */
static void slot_ended(rota_done *done, intptr_t value, void *arg) {
    rota_as_completed_slot *slot = arg;
    rota_as_completed *it = slot->of_;
    struct rota__wait *waiter = it->waiters_;
    (void)done;
    slot->next_ = NULL;
    it->pending_--;
    if (waiter) {
        struct taker *taker = rota__container_of(waiter, struct taker, wait);
        taker->served = true;
        taker->task = slot->task_;
        taker->value = value;
        (void)rota__wake_first(&it->waiters_, 0);
    } else {
        if (it->first_)
            it->last_->next_ = slot;
        else
            it->first_ = slot;
        it->last_ = slot;
    }
    while (!it->pending_ && rota__wake_first(&it->waiters_, 0))
        ;
}

int rota_as_completed_begin(rota_as_completed *it, rota_task *const *tasks, size_t n, rota_as_completed_slot *slots) {
    if (!it || (n && (!tasks || !slots)))
        return -EINVAL;
    *it = (rota_as_completed){ .slots_ = slots };
    int rc = rota__loop_check(rota__current);
    if (rc == 0)
        rc = check_tasks(tasks, n, rota_self());
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (!is_new(tasks[i]))
            continue;
        rota_as_completed_slot *slot = &slots[it->n_++];
        slot->of_ = it;
        slot->task_ = tasks[i];
        /* Cannot fail: all that it checks was checked above. */
        (void)!rota_future_on_done(&tasks[i]->future, &slot->done_, slot_ended, slot);
    }
    it->pending_ = it->n_;
    clear_marks(tasks, n);
    return 0;
}

int rota_as_completed_next(rota_as_completed *it, rota_task **task, intptr_t *result) {
    rota_task *self;
    int rc = it ? rota__enter(&self) : -EINVAL;
    if (rc < 0)
        return rc;
    struct taker taker = { .served = it->first_ };
    if (it->first_) {
        taker.task = it->first_->task_;
        taker.value = it->first_->done_.value_;
        it->first_ = it->first_->next_;
        rota__fast(self);
    } else if (it->pending_) {
        rc = rota__wait_with(self, &it->waiters_, "the next task to end", &taker.wait, rota__wait_leave);
    }
    if (rc < 0 || !taker.served)
        return rc;
    if (task)
        *task = taker.task;
    if (result)
        *result = taker.value;
    return 1;
}

void rota_as_completed_end(rota_as_completed *it) {
    if (!it)
        return;
    for (size_t i = 0; i < it->n_; i++)
        (void)rota_done_remove(&it->slots_[i].done_);
    it->first_ = NULL;
    it->n_ = it->pending_ = 0;
    while (rota__wake_first(&it->waiters_, -ESHUTDOWN))
        ;
}
