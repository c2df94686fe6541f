/* The ready queue: one FIFO for everything that is ready to run.
 *
 * A ring of pointers, with an intrusive list behind it for what does not fit. The ring is what makes it fast:
 * the entries that come next are known without touching them, so their memory can be fetched ahead (a linked
 * list cannot do that). The list is what makes pushing safe: it needs no memory and cannot fail. Whoever adds
 * entities (the spawn of a task) reserves room in the ring, so the list is rarely used; while it is in use,
 * everything pushed goes behind it, so order is kept.
 *
 * An entry is in the queue at most once. next_ says where: NULL not queued, odd: the ring position << 1 | 1,
 * even: the next one in the list (or ROTA__READY_LAST). Of an entry whose owner never asks whether it is queued, never
 * takes it out and never posts it (a task's), nothing is noted in the ring: see rota__ready_push_unmarked.
 */
#ifndef ROTA_REACTOR_READY_H
#define ROTA_REACTOR_READY_H

#include "reactor/memory.h"

#define ROTA__READY_LAST ((rota_ready *)(uintptr_t)2)

/* Distances, in entries, at which an entry and then what it hints at are prefetched; below a queue of this
 * length everything is in the cache anyway and prefetching costs more than it gives. */
enum { ROTA__PREFETCH_ENTRY = 16, ROTA__PREFETCH_HINT = 8 };

/* Enough for the first control blocks of tasks and some callbacks. */
enum { ROTA__READY_FIRST = 128 };

struct rota__ready_queue {
    rota_ready **ring;     /* mask + 1 places */
    /* Not side by side: a compiler would load both as one vector, and wait for the halves that were stored a moment ago.
     * A count and not the other end, because a yield leaves it as it is. */
    uint32_t head;         /* the first one's position; positions wrap */
    uint32_t mask;
    uint32_t count;
    rota_ready *list_first, *list_last;  /* behind the ring */
    rota_ready **first;    /* the ring that came with the loop */
    rota_ready hole;       /* stands in the ring for an entry that was removed */
    uint64_t holes;        /* that were met, ever */
};

/* An entry that must be told when the loop closes before its turn has come: it owns its memory, or a thread waits
 * for it. `drop` is called then, instead of `run`, with the closing loop as the current one. */
struct rota__post {
    rota_ready ready;
    void (*run)(struct rota__post *post);
    void (*drop)(struct rota__post *post);
};

void rota__post_run(rota_ready *ready);
static inline void rota__post_init(struct rota__post *post, void (*run)(struct rota__post *post),
                                   void (*drop)(struct rota__post *post)) {
    post->ready.next_ = NULL;
    post->ready.run_ = rota__post_run;
    post->ready.hint_ = post;
    post->run = run;
    post->drop = drop;
}

/* The loop closes over an entry that is queued: from here on it is not. Its memory may be gone afterwards. */
void rota__ready_dropped(rota_ready *entry);

/* Out of line: the ring is full or the list is in use; the ring is empty. */
void rota__ready_push_list(struct rota__ready_queue *q, rota_ready *entry);
rota_ready *rota__ready_refill(struct rota__ready_queue *q);

/* first: of ROTA__READY_FIRST places, the ring until a larger one is reserved. */
void rota__ready_open(struct rota__ready_queue *q, rota_ready **first);
void rota__ready_close(struct rota__ready_queue *q, const rota_allocator *a);

/* Makes room for n entries at once; without memory the list serves instead. */
void rota__ready_reserve(struct rota__ready_queue *q, const rota_allocator *a, size_t n);

/* How many entries there are; walks the list. */
size_t rota__ready_count(const struct rota__ready_queue *q);

/* Takes an entry out, from wherever it is. */
void rota__ready_remove(struct rota__ready_queue *q, rota_ready *entry);

/* Where the entry is. Atomic, at no cost, for rota_remote_post, which asks from another thread whether the entry is
 * still queued. */
static inline void rota__ready_mark(rota_ready *entry, rota_ready *where) {
    __atomic_store_n(&entry->next_, where, __ATOMIC_RELAXED);
}

static inline rota_ready *rota__ready_where(const rota_ready *entry) {
    return __atomic_load_n(&entry->next_, __ATOMIC_RELAXED);
}

static inline bool rota__ready_queued(const rota_ready *entry) { return rota__ready_where(entry) != NULL; }

static inline bool rota__ready_empty(const struct rota__ready_queue *q) {
    return q->count == 0 && !q->list_first;
}

static inline uint32_t rota__ready_in_ring(const struct rota__ready_queue *q) { return q->count; }

/* The position behind the last one. */
static inline uint32_t rota__ready_tail(const struct rota__ready_queue *q) { return q->head + q->count; }

/* In the ring: and nothing stands behind it. */
static inline bool rota__ready_has_room(const struct rota__ready_queue *q) {
    return q->count <= q->mask && !q->list_first;
}

/* There is room in the ring. */
static inline void rota__ready_append(struct rota__ready_queue *q, rota_ready *entry) {
    q->ring[(q->head + q->count++) & q->mask] = entry;
}

static inline void rota__ready_push(struct rota__ready_queue *q, rota_ready *entry) {
    if (__builtin_expect(!rota__ready_has_room(q), 0)) {
        rota__ready_push_list(q, entry);
        return;
    }
    rota__ready_mark(entry, (rota_ready *)((uintptr_t)rota__ready_tail(q) << 1 | 1));
    rota__ready_append(q, entry);
}

/* The same for an entry that nobody asks where it is. */
static inline void rota__ready_push_unmarked(struct rota__ready_queue *q, rota_ready *entry) {
    if (__builtin_expect(rota__ready_has_room(q), 1))
        rota__ready_append(q, entry);
    else
        rota__ready_push_list(q, entry);
}

/* In front of everything: for an entry that only stepped aside. False, and nothing done, when the ring is full. */
static inline bool rota__ready_push_front(struct rota__ready_queue *q, rota_ready *entry) {
    if (q->count > q->mask)
        return false;
    q->ring[--q->head & q->mask] = entry;
    q->count++;
    rota__ready_mark(entry, (rota_ready *)((uintptr_t)q->head << 1 | 1));
    return true;
}

/* An empty ring begins anew at its first place. With room for 10,000 tasks of which a few are ready at a time, the places
 * that are used stay in the cache, and most are never in memory. */
static inline void rota__ready_rewind(struct rota__ready_queue *q) {
    if (q->count == 0)
        q->head = 0;
}

/* The next entry, which stays queued; NULL when the ring is empty. */
static inline rota_ready *rota__ready_first(const struct rota__ready_queue *q) {
    return q->count != 0 ? q->ring[q->head & q->mask] : NULL;
}

/* The same, where NULL means that nothing is ready. */
static inline rota_ready *rota__ready_peek(struct rota__ready_queue *q) {
    if (__builtin_expect(q->count == 0, 0))
        return rota__ready_refill(q);
    return q->ring[q->head & q->mask];
}

/* Always in line: compilers take a call of a function that only fetches ahead for one that does nothing. */
static inline __attribute__((always_inline)) void rota__ready_fetch_ahead(const struct rota__ready_queue *q,
                                                                          uint32_t head, uint32_t n) {
    if (n > ROTA__PREFETCH_ENTRY) {
        __builtin_prefetch(q->ring[(head + ROTA__PREFETCH_ENTRY) & q->mask]);
        __builtin_prefetch(q->ring[(head + ROTA__PREFETCH_HINT) & q->mask]->hint_);
    }
}

/* Drops the entry that first or peek returned. */
static inline void rota__ready_drop_unmarked(struct rota__ready_queue *q) {
    uint32_t head = ++q->head, count = --q->count;
    rota__ready_fetch_ahead(q, head, count);
}

static inline void rota__ready_drop(struct rota__ready_queue *q, rota_ready *entry) {
    /* From here another thread may post it again: what was done with it before comes first. */
    __atomic_store_n(&entry->next_, NULL, __ATOMIC_RELEASE);
    rota__ready_drop_unmarked(q);
}

/* Of an empty queue: one that came and went at once. Steps are counted by positions. */
static inline void rota__ready_step(struct rota__ready_queue *q) {
    q->head++;
}

/* Drops what first returned, and queues `entry`: there is room for it, as long as there is no list. Neither is one that
 * somebody asks about. */
static inline void rota__ready_exchange(struct rota__ready_queue *q, rota_ready *entry) {
    uint32_t head = q->head, count = q->count;
    q->ring[(head + count) & q->mask] = entry;
    q->head = head + 1;
    rota__ready_fetch_ahead(q, head + 1, count);
}

#endif
