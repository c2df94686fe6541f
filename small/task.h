/* Tasks of the small profile from the inside: what task.c, future.c, scope.c and fd.c know of each other. A build with
 * callbacks only has none of them. */
#ifndef ROTA_SMALL_TASK_H
#define ROTA_SMALL_TASK_H

#include "small/small.h"

#pragma GCC visibility push(hidden)

/* ---- task.c ---- */

/* Why a task stands still: a struct on its stack, from park to wake. */
struct rota__wait {
    rota_task *task;
    void (*leave)(struct rota__wait *wait);  /* takes it out of there: the task is cancelled. NULL: it is in none */
    struct rota__link link;                  /* in the ring of what it waits for, if it has one */
};

enum { ROTA__TASK_FREE, ROTA__TASK_LIVE, ROTA__TASK_DONE };

/* At the top of its stack. */
struct rota_task {
    union {
        rota_ready ready;                    /* while it is queued */
        struct {
            struct rota__link unlinked;      /* while it is parked: */
            int64_t until;                   /* wakes with 0 at this time */
        } parked;
    };
    void *context;                           /* while it does not run */
    int64_t due;                             /* when its calls begin to refuse; ROTA__LONG_AGO: they do */
    struct rota__level *scope;               /* innermost: a scope's, or root */
    struct rota__wait *wait;                 /* what it is parked on; NULL when it is not, or has been woken */
    union {
        rota_timer timer;                    /* runs while it is parked with a time to watch; arg is the loop */
        rota_fn *entry;                      /* until its first step */
    };
    struct rota__level root;
    rota_future future;                      /* of its outcome; value_ is where to write that, until there is one */
    int woken;                               /* what park returns */
    uint8_t state;                           /* ROTA__TASK_* */
    bool handle;                             /* somebody holds one */
    bool stops;                              /* the loop stops when it has ended */
    int8_t fast;                             /* what rota__spend may still take */
};

enum { ROTA__FAST_CALLS = 64, ROTA__FAST = 1, ROTA__REFUSAL = 8 };

/* Before all deadlines, which are never negative. */
#define ROTA__LONG_AGO ((int64_t)-1)

/* Of a level. */
enum {
    ROTA__CANCELLED = 1,                     /* by a call on this level */
    ROTA__EXPIRED = 2,                       /* its own deadline refused or ended a call */
    ROTA__SHUT = 4,                          /* a root: the loop closes */
    ROTA__SHIELD = 8,
    ROTA__FORCED = ROTA__CANCELLED | ROTA__EXPIRED | ROTA__SHUT
};

static inline rota_loop *rota__loop_of(const rota_task *task) { return task->timer.arg; }

/* The task that runs; NULL outside of tasks. There is one for all loops, as one of them at most is in a turn. */
extern rota_task *rota__running;

/* May something that suspends be called now? 0; -EPERM outside of tasks, -ECANCELED when a scope refuses. The first
 * line of every (S) call. The check is one comparison, because a cancelled task was due at the beginning of time. */
int rota__enter(void);

/* Suspends the running task on `wait` (leave set; queued by the caller where it is to be queued) until it is woken:
 * returns what rota__wake was given; 0 when `until` came; -ECANCELED after `leave` when the task was cancelled or its
 * deadline passed. Only straight after rota__enter gave 0. */
int rota__park(struct rota__wait *wait, int64_t until);

/* Makes a parked task ready. The wait must be out of its ring. */
void rota__wake(rota_task *task, int value);

/* The end of a call of the running task that did not park, or was refused: it costs so many of its 64 fast calls. When
 * they are spent the task yields, whatever its scopes say. 0. */
int rota__spend(int cost);

/* The same at the usual cost; gives back result. */
int rota__done(int result);

/* Its levels have changed: sets due anew, and wakes or re-arms a task that is parked. */
void rota__due_changed(rota_task *task);

/* 0, -EINVAL (NULL), -ESHUTDOWN, -ESRCH. */
int rota__task_check(const rota_task *task);

/* v, as it leaves the level: -ETIMEDOUT for a -ECANCELED that its own deadline was the cause of. */
static inline intptr_t rota__convert(const struct rota__level *level, intptr_t v) {
    return v == -ECANCELED && level->flags_ & ROTA__EXPIRED ? -ETIMEDOUT : v;
}

/* The end of a call with two channels: rc is the fate of the wait, value the outcome of what was waited for. */
int rota__two_channels(int rc, intptr_t value, intptr_t *result);

/* ---- future.c ---- */

#define ROTA__FUTURE_SET    ((struct rota__link *)1)
#define ROTA__FUTURE_CLOSED ((struct rota__link *)2)

void rota__future_end(rota_future *future, struct rota__link *state, int fate, intptr_t value);

#pragma GCC visibility pop

#endif
