/* Queues between loops and threads: rota_thread_queue_*. A ring of items, and those who wait, under one lock.
 *
 * Invariant, as in queue.c: getters wait only while the queue is empty, putters only while it is full (with capacity 0
 * it is both, and then only one of the two kinds waits). Whoever makes an item or a place available hands it to the
 * first waiter in the same critical section, so a newcomer finds nothing to take before a waiter does.
 *
 * Who owns what. A waiter lies on the stack of its task or thread. While it stands in a list, everybody who holds the
 * lock may reach it. Serving takes it out of the list, says so (`served`), and tells the one who waits, all before the
 * lock is given back. So under the lock a waiter is in one of two states, and a cancellation decides by which one it
 * finds: still listed, it leaves with nothing; served, it succeeds, and its next suspending call refuses.
 *
 * What tells a task of another thread's loop is an entry that is posted to that loop's inbox. Three things could go
 * wrong with it:
 *  - It arrives before the task has parked. It is only run on the loop's own stack, which is entered by parking.
 *  - The task is cancelled while the entry is under way, and returns from the stack that the entry lies on. So leaving
 *    after having been served takes the entry back: it was posted under the lock that leaving holds, so it is in the
 *    inbox or in the ready queue by then.
 *  - The task runs, ends, and its loop closes, while the poster still is inside rota__inbox_post, on its way to write
 *    the waker. So both ways to resume, delivery and leaving, pass through the lock first, which the poster holds until
 *    it has done with the inbox. (The alternative is one more reference to the inbox for each wait; that also costs two
 *    atomic operations, but leaves a closed loop's descriptor open for as long as the poster is not scheduled.)
 *
 * The lock is held for a copy and a post, never while something is waited for. It must not know of select.
 */
#include <pthread.h>
#include <string.h>

#include "coro/task.h"
#include "rota/thread_queue.h"

enum side { GET, PUT };

struct waiter {
    struct rota__wait wait;        /* first; of a task */
    rota_ready ready;              /* posted to its loop when it has been served */
    rota_loop *loop;               /* NULL: a thread */
    rota_thread_queue *queue;
    struct waiter *next, **prev;   /* in the list of its side */
    void *item;                    /* where it goes, or what is put */
    bool served;                   /* out of its list, and result is valid */
    int result;
    pthread_cond_t turn;           /* of a thread: served has become true */
};

struct waiters {
    struct waiter *first, **last;
};

struct rota_thread_queue {
    pthread_mutex_t lock;
    struct waiters waiters[2];     /* by enum side */
    size_t item_size, capacity, first, used;
    bool closed;
    unsigned forks;                /* rota__forks when it was made */
    rota_allocator allocator;
    unsigned char items[];
};

/* ---- waiters; all under the lock ---- */

static void waiters_add(struct waiters *list, struct waiter *w) {
    w->next = NULL;
    w->prev = list->last;
    *list->last = w;
    list->last = &w->next;
}

static void waiters_remove(struct waiters *list, struct waiter *w) {
    *w->prev = w->next;
    if (w->next)
        w->next->prev = w->prev;
    else
        list->last = w->prev;
}

/* The first waiter of a side has got what it waits for, or never will. A task of the caller's own loop is parked, and
 * wakes without a detour, in the place in line that it gets now. */
static void serve_first(rota_thread_queue *q, enum side side, int result) {
    struct waiter *w = q->waiters[side].first;
    waiters_remove(&q->waiters[side], w);
    w->result = result;
    w->served = true;
    if (!w->loop)
        (void)pthread_cond_signal(&w->turn);
    else if (w->loop == rota__current)
        (void)rota__wake(w->wait.task, 0);
    else
        (void)rota__inbox_post(w->loop->inbox, &w->ready); /* open: a loop ends its tasks before it closes */
}

/* ---- items; all under the lock ---- */

static unsigned char *place(rota_thread_queue *q, size_t i) {
    i += q->first;
    return q->items + (i < q->capacity ? i : i - q->capacity) * q->item_size;
}

static void push(rota_thread_queue *q, const void *item) { memcpy(place(q, q->used++), item, q->item_size); }

static void pop(rota_thread_queue *q, void *item) {
    memcpy(item, place(q, 0), q->item_size);
    q->used--;
    if (++q->first == q->capacity)
        q->first = 0;
}

static int put_now(rota_thread_queue *q, const void *item) {
    const struct waiter *getter = q->waiters[GET].first;
    if (q->closed)
        return -ESHUTDOWN;
    if (getter) {
        memcpy(getter->item, item, q->item_size);
        serve_first(q, GET, 0);
    } else if (q->used < q->capacity) {
        push(q, item);
    } else {
        return -EAGAIN;
    }
    return 0;
}

static int get_now(rota_thread_queue *q, void *item) {
    const struct waiter *putter = q->waiters[PUT].first;
    if (q->used) {
        pop(q, item);
        if (putter)
            push(q, putter->item);
    } else if (putter) {
        memcpy(item, putter->item, q->item_size);
    } else {
        return q->closed ? -ESHUTDOWN : -EAGAIN;
    }
    if (putter)
        serve_first(q, PUT, 0);
    return 0;
}

static int try_now(rota_thread_queue *q, enum side side, void *item) {
    return side == PUT ? put_now(q, item) : get_now(q, item);
}

/* ---- tasks that wait ---- */

/* Step 1, on the loop's stack. The lock is passed through to let the poster out of the inbox: see the top. */
static void deliver(rota_ready *ready) {
    struct waiter *w = rota__container_of(ready, struct waiter, ready);
    (void)pthread_mutex_lock(&w->queue->lock);
    (void)pthread_mutex_unlock(&w->queue->lock);
    (void)rota__wake(w->wait.task, 0);
}

static enum side side_of(const struct waiter *w) { return (enum side)w->wait.value; }

static void leave(struct rota__wait *wait) {
    struct waiter *w = (struct waiter *)wait; /* its first member */
    (void)pthread_mutex_lock(&w->queue->lock);
    bool served = w->served;
    if (!served)
        waiters_remove(&w->queue->waiters[side_of(w)], w);
    (void)pthread_mutex_unlock(&w->queue->lock);
    if (served) {
        (void)rota__inbox_take(w->loop);
        rota__ready_remove(&w->loop->ready, &w->ready);
    }
}

static int wait_as_task(rota_thread_queue *q, rota_task *self, enum side side, void *item) {
    struct waiter w;
    (void)pthread_mutex_lock(&q->lock);
    int rc = try_now(q, side, item);
    if (rc == -EAGAIN) {
        w.wait = (struct rota__wait){ .what = side == PUT ? "room in a thread queue" : "an item of a thread queue",
                                      .task = self, .on = q, .until = ROTA_FOREVER, .leave = leave, .value = side };
        w.ready = (rota_ready){ .run_ = deliver, .hint_ = &w };
        w.loop = self->loop;
        w.queue = q;
        w.item = item;
        w.served = false;
        waiters_add(&q->waiters[side], &w);
    }
    (void)pthread_mutex_unlock(&q->lock);
    if (rc != -EAGAIN) {
        if (rc == 0)
            rota__fast(self);
        return rc;
    }
    /* Somebody may still send something, as if a remote were open. A job would stop the virtual clock, and with it
     * the deadline of this wait. */
    atomic_size_t *senders = &self->loop->inbox->remotes;
    atomic_fetch_add_explicit(senders, 1, memory_order_relaxed);
    rc = rota__park(self, &w.wait);
    atomic_fetch_sub_explicit(senders, 1, memory_order_relaxed);
    return w.served ? w.result : rc;
}

/* ---- threads that wait ---- */

static int wait_as_thread(rota_thread_queue *q, enum side side, void *item) {
    struct waiter w;
    if (rota__current && rota__current->in_turn)
        return -EPERM;
    int rc = pthread_cond_init(&w.turn, NULL);
    if (rc != 0)
        return -rc;
    (void)pthread_mutex_lock(&q->lock);
    rc = try_now(q, side, item);
    if (rc == -EAGAIN) {
        w.loop = NULL;
        w.item = item;
        w.served = false;
        waiters_add(&q->waiters[side], &w);
        while (!w.served)
            (void)pthread_cond_wait(&w.turn, &q->lock);
        rc = w.result;
    }
    /* It was signalled under the lock, so nobody is inside of the condition any more. */
    (void)pthread_mutex_unlock(&q->lock);
    (void)pthread_cond_destroy(&w.turn);
    return rc;
}

/* ---- the calls ---- */

/* In a child after fork the lock may be held by a thread that does not exist there. */
static bool is_usable(const rota_thread_queue *q, const void *item) { return q && item && q->forks == rota__forks; }

static int try_call(rota_thread_queue *q, enum side side, void *item) {
    if (!is_usable(q, item))
        return -EINVAL;
    (void)pthread_mutex_lock(&q->lock);
    int rc = try_now(q, side, item);
    (void)pthread_mutex_unlock(&q->lock);
    return rc;
}

/* Putters only read what is behind the pointer; a waiter has one member for both. */
static void *writable(const void *item) { return (void *)(uintptr_t)item; }

int rota_thread_queue_new(rota_thread_queue **out, size_t item_size, size_t capacity,
                          const rota_thread_queue_options *opt) {
    const rota_allocator *a = opt && opt->allocator ? opt->allocator : &rota__malloc;
    if (!out)
        return -EINVAL;
    *out = NULL;
    if (!item_size || !a->alloc)
        return -EINVAL;
    if (capacity > (SIZE_MAX / 2 - sizeof **out) / item_size)
        return -EOVERFLOW;
    rota_thread_queue *q = rota__alloc(a, sizeof *q + capacity * item_size);
    if (!q)
        return -ENOMEM;
    memset(q, 0, sizeof *q);
    int rc = pthread_mutex_init(&q->lock, NULL);
    if (rc != 0) {
        rota__free(a, q, sizeof *q + capacity * item_size);
        return -rc;
    }
    for (int side = GET; side <= PUT; side++)
        q->waiters[side].last = &q->waiters[side].first;
    q->item_size = item_size;
    q->capacity = capacity;
    q->allocator = *a;
    rota__watch_forks();
    q->forks = rota__forks;
    *out = q;
    return 0;
}

int rota_thread_queue_free(rota_thread_queue *q) {
    if (!q)
        return 0;
    if (q->forks == rota__forks) {
        /* Whoever woke the last waiter may still hold the lock; after it nobody touches the queue. */
        (void)pthread_mutex_lock(&q->lock);
        bool busy = q->waiters[GET].first || q->waiters[PUT].first;
        (void)pthread_mutex_unlock(&q->lock);
        if (busy)
            return -EBUSY;
        (void)pthread_mutex_destroy(&q->lock);
    }
    rota_allocator a = q->allocator;
    rota__free(&a, q, sizeof *q + q->capacity * q->item_size);
    return 0;
}

int rota_thread_queue_put(rota_thread_queue *q, const void *item) {
    rota_task *self;
    int rc = is_usable(q, item) ? rota__enter(&self) : -EINVAL;
    return rc < 0 ? rc : wait_as_task(q, self, PUT, writable(item));
}

int rota_thread_queue_get(rota_thread_queue *q, void *item) {
    rota_task *self;
    int rc = is_usable(q, item) ? rota__enter(&self) : -EINVAL;
    return rc < 0 ? rc : wait_as_task(q, self, GET, item);
}

int rota_thread_queue_put_blocking(rota_thread_queue *q, const void *item) {
    return is_usable(q, item) ? wait_as_thread(q, PUT, writable(item)) : -EINVAL;
}

int rota_thread_queue_get_blocking(rota_thread_queue *q, void *item) {
    return is_usable(q, item) ? wait_as_thread(q, GET, item) : -EINVAL;
}

int rota_thread_queue_try_put(rota_thread_queue *q, const void *item) { return try_call(q, PUT, writable(item)); }

int rota_thread_queue_try_get(rota_thread_queue *q, void *item) { return try_call(q, GET, item); }

int rota_thread_queue_close(rota_thread_queue *q) {
    if (!is_usable(q, q))
        return -EINVAL;
    (void)pthread_mutex_lock(&q->lock);
    q->closed = true;
    for (int side = GET; side <= PUT; side++)
        while (q->waiters[side].first)
            serve_first(q, (enum side)side, -ESHUTDOWN);
    (void)pthread_mutex_unlock(&q->lock);
    return 0;
}

size_t rota_thread_queue_size(rota_thread_queue *q) {
    if (!is_usable(q, q))
        return 0;
    (void)pthread_mutex_lock(&q->lock);
    size_t used = q->used;
    (void)pthread_mutex_unlock(&q->lock);
    return used;
}
