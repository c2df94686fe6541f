/* A queue of items between loops and threads: bounded, first in first out.
 *
 * Every call may come from any thread. Tasks of any loops suspend in put and get; threads that run no loop block in
 * put_blocking and get_blocking; the try-calls wait nowhere. Tasks and threads that wait are served in the order in
 * which they came, and nobody overtakes them. An item is in exactly one place, and never lost: a waiter that was
 * handed one, or whose item was taken, succeeds though it is cancelled before it runs; a cancelled one leaves with
 * nothing. A task that waits here keeps its loop alive, and is never found to be deadlocked: no loop can know what
 * other threads will do.
 *
 * Inside one loop use rota_queue: it needs no lock.
 */
#ifndef ROTA_THREAD_QUEUE_H
#define ROTA_THREAD_QUEUE_H

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rota_thread_queue rota_thread_queue;

typedef struct rota_thread_queue_options {
    const rota_allocator *allocator;   /* for the queue and its items; NULL: malloc */
} rota_thread_queue_options;

/* A queue for capacity items of item_size bytes each. Capacity 0 is a rendezvous: a put waits until a get takes the
 * item from it. opt is copied. -EINVAL (item_size 0), -EOVERFLOW (the sizes multiply beyond memory), -ENOMEM; *queue
 * is NULL then. */
ROTA_API ROTA_CHECK int rota_thread_queue_new(rota_thread_queue **queue, size_t item_size, size_t capacity,
                                              const rota_thread_queue_options *opt);

/* Frees it with what is left in it. Every call of others must have returned, or be about to return what it was woken
 * with; -EBUSY while somebody waits (close it first, and let them end). NULL is fine. In a child after fork every
 * other call answers -EINVAL, and this one frees the child's copy. */
ROTA_API int rota_thread_queue_free(rota_thread_queue *queue);

/* (S) Copies *item in; waits while it is full, and *item stays the caller's until it returns: on any error it is not
 * in. -ESHUTDOWN: it is closed, or was while waiting. */
ROTA_API ROTA_CHECK int rota_thread_queue_put(rota_thread_queue *queue, const void *item);

/* (S) Copies the next item out; waits while it is empty. On any error *item is unchanged. -ESHUTDOWN: closed and
 * empty. */
ROTA_API ROTA_CHECK int rota_thread_queue_get(rota_thread_queue *queue, void *item);

/* The same for a thread that runs no loop: the thread blocks, until it is served or the queue is closed. -EPERM inside
 * a turn of a loop, which would stand still. */
ROTA_API ROTA_CHECK int rota_thread_queue_put_blocking(rota_thread_queue *queue, const void *item);
ROTA_API ROTA_CHECK int rota_thread_queue_get_blocking(rota_thread_queue *queue, void *item);

/* -EAGAIN instead of waiting. Not for signal handlers. */
ROTA_API ROTA_CHECK int rota_thread_queue_try_put(rota_thread_queue *queue, const void *item);
ROTA_API ROTA_CHECK int rota_thread_queue_try_get(rota_thread_queue *queue, void *item);

/* No more puts. Getters drain what is left; those who wait in vain, and putters, wake with -ESHUTDOWN. Closing again
 * does nothing. */
ROTA_API int rota_thread_queue_close(rota_thread_queue *queue);

/* Items in it at some moment during the call; 0 for NULL. */
ROTA_API size_t rota_thread_queue_size(rota_thread_queue *queue);

#ifdef __cplusplus
}
#endif
#endif
