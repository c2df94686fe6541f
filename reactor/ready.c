/* The ready queue's slow half: growing the ring, the list behind it, and taking entries out of the middle.
 * The order in which entries were pushed is kept through all of it. See ready.h. */
#include "reactor/ready.h"

static void run_hole(rota_ready *self) { rota__container_of(self, struct rota__ready_queue, hole)->holes++; }

/* ---- entries that are told ---- */

void rota__post_run(rota_ready *ready) {
    struct rota__post *post = (struct rota__post *)ready; /* its first member */
    post->run(post);
}

void rota__ready_dropped(rota_ready *entry) {
    /* Asked first: the owner of another entry may free it as soon as it sees that it is not queued. */
    bool tells = entry->run_ == rota__post_run;
    __atomic_store_n(&entry->next_, NULL, __ATOMIC_RELEASE);
    if (tells)
        ((struct rota__post *)entry)->drop((struct rota__post *)entry);
}

/* ---- the queue ---- */

void rota__ready_open(struct rota__ready_queue *q, rota_ready **first) {
    q->ring = q->first = first;
    q->head = q->count = 0;
    q->mask = ROTA__READY_FIRST - 1;
    q->list_first = q->list_last = NULL;
    q->hole.run_ = run_hole;
    q->hole.next_ = NULL;
    q->hole.hint_ = NULL;
    q->holes = 0;
}

static void free_ring(const struct rota__ready_queue *q, const rota_allocator *a) {
    if (q->ring != q->first)
        rota__free(a, q->ring, ((size_t)q->mask + 1) * sizeof *q->ring);
}

void rota__ready_close(struct rota__ready_queue *q, const rota_allocator *a) {
    rota_ready *entry;
    while ((entry = rota__ready_peek(q))) {
        q->head++;
        q->count--;
        rota__ready_dropped(entry);
    }
    free_ring(q, a);
    q->ring = NULL;
}

/* Positions survive growing: entry p moves from p & old mask to p & new mask, and next_ holds p itself. */
void rota__ready_reserve(struct rota__ready_queue *q, const rota_allocator *a, size_t n) {
    size_t capacity = (size_t)q->mask + 1;
    if (n <= capacity || n > (size_t)1 << 30)
        return;
    while (capacity < n)
        capacity *= 2;
    rota_ready **ring = rota__alloc(a, capacity * sizeof *ring);
    if (!ring)
        return;
    uint32_t mask = (uint32_t)capacity - 1;
    for (uint32_t p = q->head; p != rota__ready_tail(q); p++)
        ring[p & mask] = q->ring[p & q->mask];
    free_ring(q, a);
    q->ring = ring;
    q->mask = mask;
}

size_t rota__ready_count(const struct rota__ready_queue *q) {
    size_t n = rota__ready_in_ring(q);
    for (const rota_ready *r = q->list_first; r && r != ROTA__READY_LAST; r = rota__ready_where(r))
        n++;
    return n;
}

void rota__ready_push_list(struct rota__ready_queue *q, rota_ready *entry) {
    rota__ready_mark(entry, ROTA__READY_LAST);
    if (q->list_first)
        rota__ready_mark(q->list_last, entry);
    else
        q->list_first = entry;
    q->list_last = entry;
}

rota_ready *rota__ready_refill(struct rota__ready_queue *q) {
    rota_ready *entry;
    while ((entry = q->list_first) && q->count <= q->mask) {
        rota_ready *next = rota__ready_where(entry);
        q->list_first = next == ROTA__READY_LAST ? NULL : next;
        rota__ready_mark(entry, (rota_ready *)((uintptr_t)rota__ready_tail(q) << 1 | 1));
        rota__ready_append(q, entry);
    }
    return q->count == 0 ? NULL : q->ring[q->head & q->mask];
}

void rota__ready_remove(struct rota__ready_queue *q, rota_ready *entry) {
    uintptr_t where = (uintptr_t)rota__ready_where(entry);
    if (where & 1) {
        q->ring[where >> 1 & q->mask] = &q->hole;
    } else {
        rota_ready *before = NULL, *at = q->list_first;
        while (at && at != entry) {
            before = at;
            at = rota__ready_where(at);
            if (at == ROTA__READY_LAST)
                at = NULL;
        }
        if (!at)
            return; /* not here: it is being posted this moment by another thread, which is not allowed */
        rota_ready *next = where == (uintptr_t)ROTA__READY_LAST ? NULL : (rota_ready *)where;
        if (before)
            rota__ready_mark(before, next ? next : ROTA__READY_LAST);
        else
            q->list_first = next;
        if (!next)
            q->list_last = before;
    }
    rota__ready_mark(entry, NULL);
}
