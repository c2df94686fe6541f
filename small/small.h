/* The small profile from the inside: what its files know of each other. Nothing of the full library is used but
 * arch/, the switch; the reasons are in docs/DECISIONS.md, "The small profile".
 *
 *   loop.c     the loop and its turn; soon-callbacks; the ring that all queues are      needs timers.c, watch.c
 *   timers.c   the heap                                                                 needs nothing
 *   watch.c    epoll and the watchers                                                   needs nothing
 * and, with small/task.h,
 *   task.c     parking, waking, spawning, ending                                        needs the three above, future.c
 *   future.c   futures, and waiting for tasks                                           needs task.c
 *   scope.c    scopes inside tasks                                                      needs task.c
 *   fd.c       descriptor calls                                                         needs task.c, watch.c
 *
 * System calls are called where they are needed, with no table in between: each ends in rota__result.
 */
#ifndef ROTA_SMALL_SMALL_H
#define ROTA_SMALL_SMALL_H

#include "rota/small.h"

/* Said here too, because the compiler option is for definitions only: what is elsewhere in the library is reached
 * directly. */
#pragma GCC visibility push(hidden)

/* Members of a struct, from a pointer to one. */
#define ROTA__OF(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* ---- loop.c ---- */

/* The loop whose turn runs; NULL outside of turns. One at most, but for a loop that is closed in another's turn. */
extern rota_loop *rota__turning;

/* The one outside of turns. */
extern rota_loop *rota__current;

static inline rota_loop *rota__here(void) { return rota__turning ? rota__turning : rota__current; }

/* What a system call answered, or a negative errno. An int holds all of it: Linux transfers less than 2 GiB at once
 * (read(2), "Notes"). */
int rota__result(int answer);

/* May the loop be used now, with that object? Asked in place, before anything is kept in registers over a call; all
 * that a call finds wrong with its arguments ends in rota__refuse. */
static inline __attribute__((always_inline)) bool rota__usable(const rota_loop *loop, const void *object) {
    return loop && object && !loop->closed_;
}

/* -ESHUTDOWN for a loop that is closed, else -EINVAL: something is NULL or out of range. */
int rota__refuse(const rota_loop *loop);

/* The clock, read now; also stored as the turn's time. */
static inline int64_t rota__clock(rota_loop *loop) { return loop->now_ = rota_now(); }

/* `ns` from now (<= 0: now); saturating. */
int64_t rota__after(int64_t ns);

/* Rings: whoever owns one points to its last link, NULL when it is empty, so that one pointer makes a queue. A link
 * that is in no ring is NULL. pop: the first one, of a ring that is not empty. */
void rota__ring_push(struct rota__link **ring, struct rota__link *link);
struct rota__link *rota__ring_pop(struct rota__link **ring);
void rota__ring_remove(struct rota__link **ring, struct rota__link *link);

/* ---- timers.c: the heap. Whether there is an entry left is asked by those who start timers. ---- */

int rota__timer_arm(rota_loop *loop, rota_timer *timer, int64_t when);     /* 0 */
void rota__timer_disarm(rota_loop *loop, rota_timer *timer);   /* also of one that is not started */
void rota__timers_fire(rota_loop *loop);                       /* step 4 */

/* ---- watch.c ---- */

/* anew (0 or 1): the kernel is told in any case, and reports everything that is ready now. Not needed by those who have
 * just seen EAGAIN: an event is sure to come once that has changed. */
int rota__watch(rota_loop *loop, rota_watcher *watcher, int anew);
void rota__unwatch(rota_loop *loop, rota_watcher *watcher);     /* also of one that is not started */
rota_fd_slot *rota__slot(rota_loop *loop, int fd);      /* NULL: the table has no room for it */
int rota__vacate(rota_loop *loop, int fd, int closing);     /* stops and tells its watchers */
unsigned rota__readiness(unsigned events, unsigned wanted);     /* what a watcher is told of the kernel's events */
int rota__dispatch(rota_loop *loop, int timeout_ms);    /* steps 2 and 3: asks the kernel, calls watchers */

#pragma GCC visibility pop

#endif
