/* Synchronisation between the tasks of a loop: event, mutex, condition, semaphore, read-write lock, barrier, latch,
 * queues. For one loop: tasks never run at the same time, so these are about waiting, not about memory. (Between
 * loops and threads: rota/thread_queue.h, rota_remote_post.)
 *
 * Rules that hold for all, beside those of rota/coro.h:
 *  - Waiters are served strictly first come, first served; nobody who comes later overtakes a waiter (no barging).
 *  - What a waiter was handed (a lock, a permit, an item) it keeps: if it is cancelled in the same turn, its call
 *    still succeeds, and its next suspending call refuses. A cancelled waiter takes nothing with it.
 *  - Release, notify, set, close and the try-calls never suspend and are never refused.
 *  - NULL is answered with -EINVAL; an init that returns nothing does nothing.
 *  - -EPERM: those who wait, or who hold it, belong to another loop or thread. (An object that nobody waits for or
 *    holds does not know whose it is.)
 *  - All-zero bytes are a valid event, mutex, condition, read-write lock and open latch of 0.
 *  - Memory may go when nobody waits; closing calls exist where that cannot be known.
 */
#ifndef ROTA_SYNC_H
#define ROTA_SYNC_H

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- event -------------------------------------------------------------------------------------- */

typedef struct rota_event {
    struct rota__wait *waiters_;
    bool set_;
} rota_event;

/* Wakes all that wait now, whatever becomes of the event before they run, and lets later ones pass until it is
 * cleared. Any code on the loop's thread. */
ROTA_API int rota_event_set(rota_event *event);
ROTA_API int rota_event_clear(rota_event *event);
ROTA_API bool rota_event_is_set(const rota_event *event);   /* false for NULL */

/* (S) */
ROTA_API ROTA_CHECK int rota_event_wait(rota_event *event);

/* ---- mutex -------------------------------------------------------------------------------------- */

typedef struct rota_mutex {
    struct rota__wait *waiters_;
    rota_task *owner_;
    struct rota_mutex *next_held_, **prev_held_;  /* among those that the owner holds */
} rota_mutex;

/* (S) -EDEADLK: the caller holds it. -EOWNERDEAD: its owner ended without unlocking it while the caller waited
 * (reported, also when nobody waited); the caller does not hold it: it is free, and what it protects may be
 * half-changed. */
ROTA_API ROTA_CHECK int rota_mutex_lock(rota_mutex *mutex);

/* -EAGAIN: it is held (by the caller, too). -EPERM: outside of tasks. */
ROTA_API ROTA_CHECK int rota_mutex_try_lock(rota_mutex *mutex);

/* Hands it to the first waiter. -EPERM: the caller does not hold it. */
ROTA_API int rota_mutex_unlock(rota_mutex *mutex);

/* ---- condition ---------------------------------------------------------------------------------- */

typedef struct rota_cond {
    struct rota__wait *waiters_;
    rota_mutex *mutex_;      /* of those that wait */
} rota_cond;

/* (S) Unlocks mutex, waits to be notified, locks it again, which no cancellation interrupts: on every return but
 * -EPERM the caller holds the mutex. 0 only after a notify that counted this caller. -EPERM: it does not hold it;
 * -EINVAL: others wait with another mutex (it was not unlocked). -ECANCELED: not notified; a notify from then on goes
 * to others. -EOWNERDEAD: notified, but a task ended while it held the mutex. */
ROTA_API ROTA_CHECK int rota_cond_wait(rota_cond *cond, rota_mutex *mutex);

/* Notifies the first n waiters (SIZE_MAX: all): they get the mutex in that order, behind those who wait for it
 * already. One that was notified succeeds, though it is cancelled before it runs. -EPERM: somebody waits, and the
 * caller does not hold the mutex. */
ROTA_API int rota_cond_notify(rota_cond *cond, size_t n);

/* ---- semaphore ---------------------------------------------------------------------------------- */

typedef struct rota_sem {
    struct rota__wait *waiters_;
    size_t count_, max_;
} rota_sem;

/* count permits now (max if that is less), at most max (SIZE_MAX: no bound). */
ROTA_API void rota_sem_init(rota_sem *sem, size_t count, size_t max);

ROTA_API ROTA_CHECK int rota_sem_acquire(rota_sem *sem);      /* (S) */

/* -EAGAIN: no permit; so too while others wait for one. */
ROTA_API ROTA_CHECK int rota_sem_try_acquire(rota_sem *sem);

/* Gives back n permits, to waiters first. -EOVERFLOW: above max; nothing is given back then. */
#define rota_sem_release(sem) rota_sem_release_many(sem, 1)
ROTA_API int rota_sem_release_many(rota_sem *sem, size_t n);

ROTA_API size_t rota_sem_value(const rota_sem *sem);   /* permits left; 0 for NULL */

/* ---- read-write lock ---------------------------------------------------------------------------- */

/* Readers that come while a writer waits queue behind it, so writers do not starve; those at the front enter
 * together. A reader may not read again, or write, before it unlocks: it would wait for itself. */
typedef struct rota_rwlock {
    rota_mutex writer_;      /* held by who writes; all wait in its queue */
    size_t readers_;
} rota_rwlock;

/* (S) -EDEADLK: the caller writes. -EOWNERDEAD: as rota_mutex_lock, of a writer; a reader that ends without
 * unlocking is not noticed. */
ROTA_API ROTA_CHECK int rota_rwlock_read(rota_rwlock *lock);
ROTA_API ROTA_CHECK int rota_rwlock_write(rota_rwlock *lock);  /* (S) */

/* Ends the caller's reading or writing. -EPERM: nobody reads, and the caller does not write. (Who reads is not
 * known, only how many.) */
ROTA_API int rota_rwlock_unlock(rota_rwlock *lock);

/* ---- barrier ------------------------------------------------------------------------------------ */

typedef struct rota_barrier {
    struct rota__wait *waiters_;
    size_t parties_, waiting_;
} rota_barrier;

/* -EINVAL for 0 parties. */
ROTA_API ROTA_CHECK int rota_barrier_init(rota_barrier *barrier, size_t parties);

/* (S) Waits until as many tasks wait as there are parties; then all go on, and it can be used again. 1 for the
 * last to come, 0 for the others. A waiter that is cancelled no longer counts; the others keep waiting.
 * -EPIPE: reset. */
ROTA_API ROTA_CHECK int rota_barrier_wait(rota_barrier *barrier);

/* Wakes those that wait with -EPIPE. It can be used again at once. */
ROTA_API int rota_barrier_reset(rota_barrier *barrier);

/* ---- latch -------------------------------------------------------------------------------------- */

/* Opens once, when it has been counted down to 0. */
typedef struct rota_latch {
    struct rota__wait *waiters_;
    size_t count_;
} rota_latch;

ROTA_API void rota_latch_init(rota_latch *latch, size_t count);

/* Wakes all who wait when nothing is left. -EINVAL: n is more than is left; nothing changes. */
ROTA_API int rota_latch_count_down(rota_latch *latch, size_t n);
ROTA_API ROTA_CHECK int rota_latch_wait(rota_latch *latch);    /* (S) */

/* ---- queues ------------------------------------------------------------------------------------- */

enum { ROTA_FIFO, ROTA_LIFO, ROTA_PRIORITY_QUEUE };

typedef struct rota_queue_options {
    int order;                                       /* ROTA_FIFO ... */
    bool (*before)(const void *a, const void *b);    /* ROTA_PRIORITY_QUEUE: a leaves before b; equal items leave
                                                        in the order in which they came only if before says so */
} rota_queue_options;

/* A bounded queue of items that are copied in and out. */
typedef struct rota_queue {
    unsigned char *items_;
    size_t item_size_, capacity_, first_, used_;
    struct rota__wait *getters_, *putters_, *joiners_;
    size_t unfinished_;
    rota_queue_options options_;
    bool closed_;
} rota_queue;

/* items: memory for capacity items of item_size bytes each, the caller's; there is no queue without a bound. Capacity
 * 0 is a rendezvous: a put waits until a get takes the item from it. -EINVAL (item_size 0, no memory, a priority queue without `before` or of
 * capacity 0), -EOVERFLOW (the sizes multiply beyond memory). */
ROTA_API ROTA_CHECK int rota_queue_init(rota_queue *queue, void *items, size_t item_size, size_t capacity,
                                        const rota_queue_options *opt);
/* A FIFO queue over an array of items: cannot fail. */
#define ROTA_QUEUE_INIT(queue, array) \
    ((void)!rota_queue_init((queue), (array), sizeof (array)[0], sizeof (array) / sizeof (array)[0], NULL))

/* (S) Copies *item in; waits while it is full, and *item stays the caller's until it returns: on any error it is not
 * in. -ESHUTDOWN: it is closed, or was while waiting. */
ROTA_API ROTA_CHECK int rota_queue_put(rota_queue *queue, const void *item);

/* (S) Copies the next item out; waits while it is empty. On any error *item is unchanged. -ESHUTDOWN: closed and
 * empty. */
ROTA_API ROTA_CHECK int rota_queue_get(rota_queue *queue, void *item);

/* -EAGAIN instead of waiting. They never let others run: where many are made in a row, call rota_yield in between, or
 * use rota_queue_put and rota_queue_get, which step aside after 64 calls that need not wait. */
ROTA_API ROTA_CHECK int rota_queue_try_put(rota_queue *queue, const void *item);
ROTA_API ROTA_CHECK int rota_queue_try_get(rota_queue *queue, void *item);

/* No more puts. Getters drain what is left; those who wait in vain, and putters, wake with -ESHUTDOWN. A join goes on
 * waiting: what was put is still to be finished. Closing again does nothing. */
ROTA_API int rota_queue_close(rota_queue *queue);

ROTA_API size_t rota_queue_size(const rota_queue *queue);   /* items in it now; 0 for NULL */

/* Every item that was put has to be finished once; join waits until all are (of those put meanwhile, too).
 * -EINVAL: more than were put. */
ROTA_API int rota_queue_task_done(rota_queue *queue);
ROTA_API ROTA_CHECK int rota_queue_join(rota_queue *queue);    /* (S) */

#ifdef __cplusplus
}
#endif
#endif
