/* Queues of items between tasks: FIFO, LIFO, by priority; bounded; capacity 0 is a rendezvous.
 *
 * Invariant: getters wait only while the queue is empty, putters only while it is full; so there never are both
 * (except for a rendezvous, which is always both, and where the first of one meets the first of the other at once).
 * An item is in exactly one place: with the putter, in the buffer, or with the getter. A getter is handed its item
 * where it wants it (wait->value is that address); a putter that waits leaves its item where it is until room.
 */
#include <string.h>

#include "coro/task.h"
#include "rota/sync.h"

int rota_queue_init(rota_queue *q, void *items, size_t item_size, size_t capacity, const rota_queue_options *opt) {
    static const rota_queue_options defaults;
    opt = opt ? opt : &defaults;
    bool by_priority = opt->order == ROTA_PRIORITY_QUEUE;
    if (!q || !item_size || (!items && capacity) || opt->order < ROTA_FIFO || opt->order > ROTA_PRIORITY_QUEUE ||
        (by_priority && (!opt->before || !capacity)))
        return -EINVAL;
    if (capacity > SIZE_MAX / item_size)
        return -EOVERFLOW;
    memset(q, 0, sizeof *q);
    q->items_ = items;
    q->item_size_ = item_size;
    q->capacity_ = capacity;
    q->options_ = *opt;
    return 0;
}

/* ---- the buffer ---- */

static unsigned char *place(const rota_queue *q, size_t i) { return q->items_ + i * q->item_size_; }

/* Most items are pointers or numbers: a call of memcpy is half of what such a message costs. */
static inline void copy(const rota_queue *q, void *to, const void *from) {
    if (__builtin_expect(q->item_size_ == sizeof(uint64_t), 1))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, q->item_size_);
}

static size_t ring(const rota_queue *q, size_t i) { return i < q->capacity_ ? i : i - q->capacity_; }

/* Binary heap: up from the end; the item moves into the hole that its ancestors leave. */
static void heap_push(rota_queue *q, const void *item) {
    size_t hole = q->used_++;
    while (hole > 0 && q->options_.before(item, place(q, (hole - 1) / 2))) {
        copy(q, place(q, hole), place(q, (hole - 1) / 2));
        hole = (hole - 1) / 2;
    }
    copy(q, place(q, hole), item);
}

/* Down from the top, with the last item. */
static void heap_pop(rota_queue *q, void *item) {
    copy(q, item, place(q, 0));
    const unsigned char *last = place(q, --q->used_);
    size_t hole = 0, child;
    while ((child = 2 * hole + 1) < q->used_) {
        if (child + 1 < q->used_ && q->options_.before(place(q, child + 1), place(q, child)))
            child++;
        if (!q->options_.before(place(q, child), last))
            break;
        copy(q, place(q, hole), place(q, child));
        hole = child;
    }
    if (place(q, hole) != last)
        copy(q, place(q, hole), last);
}

static inline void buffer_push(rota_queue *q, const void *item) {
    if (__builtin_expect(q->options_.order == ROTA_PRIORITY_QUEUE, 0))
        heap_push(q, item);
    else
        copy(q, place(q, ring(q, q->first_ + q->used_++)), item);
}

static inline void buffer_pop(rota_queue *q, void *item) {
    if (__builtin_expect(q->options_.order == ROTA_FIFO, 1)) {
        copy(q, item, place(q, q->first_));
        q->first_ = ring(q, q->first_ + 1);
        q->used_--;
    } else if (q->options_.order == ROTA_LIFO) {
        copy(q, item, place(q, ring(q, q->first_ + --q->used_)));
    } else {
        heap_pop(q, item);
    }
}

/* ---- put and get ---- */

/* In the calls that may wait it is part of them; q and item are no NULL. */
static inline __attribute__((always_inline)) int try_put(rota_queue *q, const void *item) {
    if (__builtin_expect(q->closed_, 0))
        return -ESHUTDOWN;
    int rc = rota__waits_check(q->getters_);
    if (rc < 0)
        return rc;
    if (q->getters_) {
        copy(q, rota_ptr(q->getters_->value), item);
        (void)rota__wake_first(&q->getters_, 0);
    } else if (q->used_ < q->capacity_) {
        buffer_push(q, item);
    } else {
        return -EAGAIN;
    }
    q->unfinished_++;
    return 0;
}

static inline __attribute__((always_inline)) int try_get(rota_queue *q, void *item) {
    struct rota__wait *putter = q->putters_;
    int rc = rota__waits_check(putter);
    if (rc < 0)
        return rc;
    if (q->used_) {
        buffer_pop(q, item);
        if (putter)
            buffer_push(q, rota_ptr(putter->value));
    } else if (putter) {
        copy(q, item, rota_ptr(putter->value));
    } else {
        return q->closed_ ? -ESHUTDOWN : -EAGAIN;
    }
    if (putter) {
        q->unfinished_++;
        (void)rota__wake_first(&q->putters_, 0);
    }
    return 0;
}

int rota_queue_try_put(rota_queue *q, const void *item) { return q && item ? try_put(q, item) : -EINVAL; }

int rota_queue_try_get(rota_queue *q, void *item) { return q && item ? try_get(q, item) : -EINVAL; }

/* The caller, if this is the usual call: from a task that nothing hinders and that need not yield, on a queue of pointers
 * or numbers, first in first out. All else is done out of line, by a tail call, so that the usual call saves nothing. */
static inline rota_task *usual_caller(const rota_queue *q) {
    rota_loop *loop = rota__current;
    rota_task *self = loop ? loop->running : NULL;
    bool usual = !ROTA__FOR_SIZE && self && !self->depth && loop->now < self->due && self->fast > 1 &&
                 q->item_size_ == sizeof(uint64_t) && q->options_.order == ROTA_FIFO;
    return __builtin_expect(usual, 1) ? self : NULL;
}

/* frame: the caller's, for rota__enter. */
static __attribute__((noinline)) int put(rota_queue *q, const void *item, const void *frame) {
    rota_task *self;
    int rc = q && item ? rota__enter_from(&self, frame) : -EINVAL;
    if (rc < 0)
        return rc;
    rc = try_put(q, item);
    if (rc == -EAGAIN)
        return rota__wait_in(self, &q->putters_, "room in a queue", (intptr_t)item);
    if (rc == 0)
        rota__fast(self);
    return rc;
}

int rota_queue_put(rota_queue *q, const void *item) {
    rota_task *self = q && item ? usual_caller(q) : NULL;
    if (__builtin_expect(!self || q->closed_ || q->getters_ || q->used_ >= q->capacity_, 0))
        return put(q, item, __builtin_dwarf_cfa());
    buffer_push(q, item);
    q->unfinished_++;
    self->fast--;
    return 0;
}

static __attribute__((noinline)) int get(rota_queue *q, void *item, const void *frame) {
    rota_task *self;
    int rc = q && item ? rota__enter_from(&self, frame) : -EINVAL;
    if (rc < 0)
        return rc;
    rc = try_get(q, item);
    if (rc == -EAGAIN)
        return rota__wait_in(self, &q->getters_, "an item of a queue", (intptr_t)item);
    if (rc == 0)
        rota__fast(self);
    return rc;
}

int rota_queue_get(rota_queue *q, void *item) {
    rota_task *self = q && item ? usual_caller(q) : NULL;
    if (__builtin_expect(!self || q->putters_ || !q->used_, 0))
        return get(q, item, __builtin_dwarf_cfa());
    buffer_pop(q, item);
    self->fast--;
    return 0;
}

int rota_queue_close(rota_queue *q) {
    int rc = q ? rota__waits_check(q->getters_) : -EINVAL;
    if (rc == 0)
        rc = rota__waits_check(q->putters_);
    if (rc < 0)
        return rc;
    q->closed_ = true;
    while (rota__wake_first(&q->getters_, -ESHUTDOWN) || rota__wake_first(&q->putters_, -ESHUTDOWN))
        ;
    return 0;
}

size_t rota_queue_size(const rota_queue *q) { return q ? q->used_ : 0; }

/* ---- finishing ---- */

int rota_queue_task_done(rota_queue *q) {
    int rc = !q || !q->unfinished_ ? -EINVAL : rota__waits_check(q->joiners_);
    if (rc < 0)
        return rc;
    if (--q->unfinished_ == 0)
        while (rota__wake_first(&q->joiners_, 0))
            ;
    return 0;
}

int rota_queue_join(rota_queue *q) {
    rota_task *self;
    int rc = q ? rota__enter(&self) : -EINVAL;
    if (rc < 0)
        return rc;
    if (q->unfinished_)
        return rota__wait_in(self, &q->joiners_, "a queue to be finished", 0);
    rota__fast(self);
    return 0;
}
