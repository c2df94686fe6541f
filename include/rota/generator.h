/* Generators: functions that give one value after the other. The body runs on a stack of its own and may suspend
 * like any other code when it is driven by a task; without a loop it may not. */
#ifndef ROTA_GENERATOR_H
#define ROTA_GENERATOR_H

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rota_gen rota_gen;
typedef intptr_t rota_gen_fn(rota_gen *self, void *arg);

typedef struct rota_gen_options {
    void *stack;        /* caller's memory (unguarded, with a canary); NULL: mapped; in a task, of the loop's pool */
    size_t stack_size;  /* 0: 64 KiB */
} rota_gen_options;

struct rota_gen {
    rota_co *co_;
    rota_gen_fn *fn_;
    void *arg_;
    rota_task *driver_;      /* who stands in next */
    rota_scope *scope_;      /* the driver's innermost when it came in */
    rota_loop *loop_;        /* whose pool the stack is from, when pooled_ */
    bool pooled_;
    int error_;              /* what the body's yield shall return */
    unsigned state_;
    rota_at at_;
};

/* Makes a generator that has not started; the body runs at the first next. g must stay where it is until closed. One
 * that was opened in a task must be closed before its loop is: tasks that close what they opened see to that.
 * -EINVAL (no g, no fn, a stack too small to run on), -ENOMEM; closing it is 0 then. */
#define rota_gen_open(...) rota_gen_open_at(ROTA_HERE, __VA_ARGS__)
ROTA_API ROTA_CHECK int rota_gen_open_at(rota_at at, rota_gen *g, rota_gen_fn *fn, void *arg,
                                         const rota_gen_options *opt);

/* (S: when the body does; in a task it is refused like any (S) call, and the generator stays as it was.) Runs the body
 * to its next yield: ROTA_YIELDED and *value; when it has returned, ROTA_DONE and *value is what it returned, or its
 * error, once; after that, and after a close, ROTA_DONE with 0. value may be NULL; an error leaves *value alone.
 * -EBUSY: the body is under way (it waits, in another task's next), -EPERM: another thread, -EINVAL: not open,
 * -EFAULT: it overran its caller's stack, and is finished. -ESHUTDOWN: its loop has closed. */
ROTA_API ROTA_CHECK int rota_gen_next(rota_gen *g, intptr_t *value);

/* The same; the body's yield gives `in` to it. The first one of a generator that has not started is dropped. */
ROTA_API ROTA_CHECK int rota_gen_send(rota_gen *g, intptr_t in, intptr_t *value);

/* The same; the body's yield returns `error` (a negative errno), and what the body makes of it is the answer. A body
 * that has not started never runs, and a finished one is no more: the error comes straight back. -EINVAL: no error. */
ROTA_API ROTA_CHECK int rota_gen_throw(rota_gen *g, int error, intptr_t *value);

/* In the body: hands value out, and stops until the next one is wanted; *in (may be NULL) is what was sent, 0 for a
 * next. -ECANCELED: the generator is closed: clean up and return. Other errors: thrown in. Refused, and not yielded:
 * -EINVAL: the body is inside a scope that it began itself: a scope must not be open across a yield, it would be the
 * driver's too; -EPERM: not called by the body. */
ROTA_API ROTA_CHECK int rota_gen_yield(rota_gen *self, intptr_t value, intptr_t *in);

/* (S: when the body's cleanup does; not interrupted then, though the cleanup sees a cancellation.) Ends it early: a
 * body that stands at a yield goes on there with -ECANCELED until it has returned; one that has not started never
 * runs (and is reported in debug mode). What its cleanup failed with, else 0. Closing twice, or an unopened (all-zero)
 * one, is 0. -EBUSY: the body is under way; -EPERM: another thread; -EFAULT as next; -ESHUTDOWN: its loop has closed, and
 * the body's cleanup can never run. */
ROTA_API int rota_gen_close(rota_gen *g);

/* True when the body has returned, or the generator is closed. */
ROTA_API bool rota_gen_done(const rota_gen *g);

/* for-each: runs the block with each value, and closes the generator however the block is left (break, return,
 * goto). rc (an int) is 0 when all values have come or the block was left; or the error that ended it, of the body, of
 * opening, or of the cleanup that the leaving made run. Setting rc to an error in the block ends it at the next value.
 * Where the block sets rc and then leaves, rc stays as it was set, also when the cleanup fails.
 * value: an intptr_t; after the last value, what the body returned.
 *
 *     ROTA_GEN_EACH(rc, prime, primes, &limit) { printf("%d\n", (int)prime); }
 */
#define ROTA_GEN_EACH(rc, value, fn, arg) ROTA__GEN_EACH(rc, value, fn, arg, __LINE__)
/* The line becomes part of the names, so that a loop in a loop hides nothing. */
#define ROTA__GEN_EACH(rc, value, fn, arg, line) ROTA__GEN_EACH_ON(rc, value, fn, arg, line)
#define ROTA__GEN_EACH_ON(rc, value, fn, arg, line) \
    for (struct rota__each rota__each_##line __attribute__((cleanup(rota__gen_leave))), \
         *rota__each_at_##line = rota__gen_begin(ROTA_HERE, &rota__each_##line, (fn), (arg), &(rc)); \
         rota__gen_step(rota__each_at_##line, &(value));)

struct rota__each {
    rota_gen gen;
    int *rc;
};
ROTA_API struct rota__each *rota__gen_begin(rota_at at, struct rota__each *each, rota_gen_fn *fn, void *arg, int *rc);
ROTA_API bool rota__gen_step(struct rota__each *each, intptr_t *value);
ROTA_API void rota__gen_leave(struct rota__each *each);

#ifdef __cplusplus
}
#endif
#endif
