/* Generators: a raw coroutine with a protocol. The body runs on its own stack but as part of the task that asks for
 * the next value, so it may wait like any other code of that task: parking saves whatever stack is in use.
 *
 * Offers: everything in rota/generator.h.
 * Invariant: while the body runs, driver_ is the task that stands in next (NULL: none), and scope_ that task's
 * innermost scope when it came in. The body must have left its own scopes before it yields: the chain of scopes
 * belongs to the task, which goes on elsewhere.
 * Must not know: what a body waits for. A close is a resume like any other, whose yields refuse.
 */
#include "rota/generator.h"

#include <string.h>

#include "coro/co.h"
#include "coro/task.h"

enum { UNOPENED, FRESH, SUSPENDED, RUNNING, CLOSING, FINISHED };

/* ---- opening ---- */

static intptr_t body(rota_co *co, void *arg) {
    rota_gen *g = arg;
    (void)co;
    return g->fn_(g, g->arg_);
}

/* A stack of the loop's pool: a generator is as cheap as a task then, and guarded. */
static int open_pooled(rota_gen *g, size_t size) {
    struct rota__stack stack;
    int rc = rota__tasks_need(g->loop_);
    if (rc == 0)
        rc = rota__stack_get(&rota__tasks_of(g->loop_)->stacks, size, &stack);
    if (rc < 0)
        return rc;
    g->co_ = rota__co_on(&stack, body, g);
    g->pooled_ = true;
    return 0;
}

int rota_gen_open_at(rota_at at, rota_gen *g, rota_gen_fn *fn, void *arg, const rota_gen_options *opt) {
    static const rota_gen_options defaults;
    if (!g)
        return -EINVAL;
    memset(g, 0, sizeof *g);    /* may be closed whatever comes of this */
    if (!fn)
        return -EINVAL;
    opt = opt ? opt : &defaults;
    g->fn_ = fn;
    g->arg_ = arg;
    g->at_ = at;
    /* Only in a task: what is opened outside of one may well outlive the loop that happens to be current, and a stack
     * of that loop's pool must not. */
    g->loop_ = rota_self() ? rota__current : NULL;
    int rc;
    if (g->loop_ && !opt->stack)
        rc = open_pooled(g, opt->stack_size);
    else
        rc = rota_co_new(&g->co_, body, g, &(rota_co_options){ .stack = opt->stack, .stack_size = opt->stack_size });
    if (rc == 0)
        g->state_ = FRESH;
    return rc;
}

static void release(rota_gen *g) {
    g->state_ = FINISHED;
    if (g->pooled_) {
        struct rota__stack stack = rota__co_end(g->co_);
        rota__stack_put(&rota__tasks_of(g->loop_)->stacks, &stack);
    } else {
        (void)rota_co_free(g->co_);
    }
    g->co_ = NULL;
}

/* ---- running the body ---- */

/* Resumes the body until it yields or returns: ROTA_YIELDED, or its stack is given back: ROTA_DONE, or -EFAULT when
 * it overran the caller's memory and so cannot be continued.
 * In line, because each frame returned through after a switch costs a mispredicted return (docs/SWITCH.md). */
static inline __attribute__((always_inline)) int run(rota_gen *g, unsigned state, intptr_t in, intptr_t *out) {
    rota_task *driver = rota_self();
    g->state_ = state;
    g->driver_ = driver;
    g->scope_ = driver ? driver->scope : NULL;
    if (driver)
        driver->runner->elsewhere++;
    int rc = rota_co_resume(g->co_, in, out);
    if (driver)
        driver->runner->elsewhere--;
    g->driver_ = NULL;
    if (rc == ROTA_YIELDED) {
        g->state_ = SUSPENDED;
        return rc;
    }
    if (driver && driver->scope != g->scope_)
        rota__scope_repair(driver, g->scope_, NULL);
    release(g);
    return rc;
}

/* May anybody, here and now, make the body go on or end it? */
static int check(const rota_gen *g) {
    if (!g)
        return -EINVAL;
    /* The stack, with the coroutine on it, went with the loop's pool. */
    if (g->pooled_ && g->co_ && g->loop_->state == ROTA__LOOP_CLOSED)
        return -ESHUTDOWN;
    if (g->co_ && !rota__co_mine(g->co_))
        return -EPERM;
    return g->state_ == RUNNING || g->state_ == CLOSING ? -EBUSY : 0;
}

/* The same for more values. In a task that is a suspension point like any other. */
static int enter(const rota_gen *g) {
    rota_task *self;
    int rc = check(g);
    if (rc < 0)
        return rc;
    if (g->state_ == UNOPENED)
        return -EINVAL;
    return rota_self() ? rota__enter(&self) : 0;
}

static inline __attribute__((always_inline)) int advance(rota_gen *g, intptr_t in, intptr_t *value) {
    intptr_t out = 0;
    int rc = g->state_ == FINISHED ? ROTA_DONE : run(g, RUNNING, in, &out);
    if (rc == ROTA_DONE && rota_failed(out))
        return (int)out;
    if (rc >= 0 && value)
        *value = out;
    return rc;
}

int rota_gen_send(rota_gen *g, intptr_t in, intptr_t *value) {
    rota__leave_forgotten();
    int rc = enter(g);
    return rc < 0 ? rc : advance(g, in, value);
}

int rota_gen_next(rota_gen *g, intptr_t *value) { return rota_gen_send(g, 0, value); }

int rota_gen_throw(rota_gen *g, int error, intptr_t *value) {
    rota__leave_forgotten();
    int rc = rota_failed(error) ? enter(g) : -EINVAL;
    if (rc < 0)
        return rc;
    if (g->state_ == FRESH)
        release(g);
    if (g->state_ == FINISHED)
        return error;
    g->error_ = error;
    return advance(g, 0, value);
}

int rota_gen_yield(rota_gen *g, intptr_t value, intptr_t *in) {
    if (!g)
        return -EINVAL;
    if (g->state_ == CLOSING)
        return -ECANCELED;
    if (g->state_ != RUNNING)
        return -EPERM;
    if (g->driver_ && g->driver_->scope != g->scope_)
        return -EINVAL;
    int rc = rota_co_yield(g->co_, value, in);
    if (rc < 0)
        return rc;
    if (g->state_ == CLOSING)
        return -ECANCELED;
    int error = g->error_;
    g->error_ = 0;
    return error;
}

int rota_gen_close(rota_gen *g) {
    intptr_t out = 0;
    int rc = check(g);
    if (rc == -ESHUTDOWN) {
        g->state_ = FINISHED;
        g->co_ = NULL;
    }
    if (rc < 0)
        return rc;
    if (g->state_ == FRESH) {
        if (rota__current && rota__current->debug)
            rota__report(rota__current, ROTA_REPORT_UNSTARTED, 0, NULL, &g->at_,
                         "a generator was closed that had never started");
        release(g);
    }
    if (g->state_ != SUSPENDED)
        return 0;
    rc = run(g, CLOSING, 0, &out);
    if (rc < 0)
        return rc;
    return rota_failed(out) && out != -ECANCELED ? (int)out : 0;
}

bool rota_gen_done(const rota_gen *g) { return g && g->state_ == FINISHED; }

/* ---- for-each ---- */

struct rota__each *rota__gen_begin(rota_at at, struct rota__each *each, rota_gen_fn *fn, void *arg, int *rc) {
    memset(each, 0, sizeof *each);
    each->rc = rc;
    *rc = rota_gen_open_at(at, &each->gen, fn, arg, NULL);
    return each;
}

bool rota__gen_step(struct rota__each *each, intptr_t *value) {
    if (*each->rc < 0)
        return false;
    int step = rota_gen_next(&each->gen, value);
    *each->rc = step < 0 ? step : 0;
    return step == ROTA_YIELDED;
}

/* The failure of a cleanup has no other way out of the block. */
void rota__gen_leave(struct rota__each *each) {
    int rc = rota_gen_close(&each->gen);
    if (rc < 0 && *each->rc == 0)
        *each->rc = rc;
}
