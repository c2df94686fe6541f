/* Raw coroutines: a function on a stack of its own that is resumed and yields.
 *
 * Offers: rota_co_new, rota_co_resume, rota_co_yield, rota_co_done, rota_co_free, rota_co_stack_used.
 * Invariant: between resume and yield exactly one of a coroutine's two contexts is saved: its own while it is
 * suspended, its resumer's while it runs. Resume and yield end in the switch, which is their return (docs/SWITCH.md):
 * so whoever switches stores values where the other side asked for them, and there is nothing to do afterwards.
 * Must not know: loops, tasks. A resumer may be anything that runs, a task or another coroutine too, and it may be
 * suspended by others while its coroutine runs; so nothing here says which coroutine is "current".
 */
#include "coro/co.h"

#include "arch/context.h"
#include "coro/sanitize.h"
#include "coro/stack.h"
#include "reactor/memory.h"

enum state { SUSPENDED, RUNNING, DONE, BROKEN };

struct rota_co {
    void *context;                  /* of the coroutine, while SUSPENDED */
    void *resumer;                  /* of who resumed it, while RUNNING */
    intptr_t *in;                   /* where the coroutine wants what is sent; may be NULL */
    intptr_t *out;                  /* where the resumer wants what is yielded; may be NULL */
    struct rota__stack stack;
    const void *thread;             /* to which it belongs */
    enum state state;
    rota_co_fn *fn;
    void *arg;
    rota_allocator allocator;       /* of this struct, unless the stack is adopted */
    rota_at at;
    void (*report)(void *ctx, const rota_report *report);  /* NULL once it has started */
    void *report_ctx;
    struct rota__fiber fiber;
    struct rota__fiber resumer_fiber;
};

/* Its address identifies the thread. */
static _Thread_local char this_thread __attribute__((tls_model("initial-exec")));

/* What the resumer is told when it gets control back: a stack that was too small must not go unnoticed. */
static intptr_t verdict(rota_co *co, intptr_t verdict) {
    if (co->stack.size_class != ROTA__STACK_ADOPTED || rota__stack_canary_ok(&co->stack))
        return verdict;
    if (co->state != DONE)
        co->state = BROKEN;
    return -EFAULT;
}

/* The bottom of every coroutine's stack. */
static void run(intptr_t value, void *arg) {
    rota_co *co = arg;
    (void)value;
    rota__fiber_arrive(&co->fiber);
    intptr_t result = co->fn(co, co->arg);
    if (co->out)
        *co->out = result;
    co->state = DONE;
    rota__fiber_exit(&co->fiber, &co->context, &co->resumer_fiber, co->resumer, verdict(co, ROTA_DONE));
}

/* With the caller's memory the control block is its top end, and the stack what lies below. */
static int new_adopted(rota_co **co, const rota_co_options *opt) {
    uintptr_t memory = (uintptr_t)opt->stack;
    if (opt->stack_size < sizeof **co + 16 || opt->stack_size > UINTPTR_MAX - memory)
        return -EINVAL;
    uintptr_t at = (memory + opt->stack_size - sizeof **co) & ~(uintptr_t)15;
    rota_co *top = (rota_co *)(void *)((unsigned char *)opt->stack + (at - memory));
    struct rota__stack stack;
    int err = rota__stack_adopt(opt->stack, at - memory, &stack);
    if (err)
        return err;
    *top = (rota_co){ .stack = stack };
    *co = top;
    return 0;
}

static int new_mapped(rota_co **co, const rota_co_options *opt) {
    const rota_allocator *a = opt->allocator ? opt->allocator : &rota__malloc;
    struct rota__stack stack;
    int err = rota__stack_map(opt->stack_size, &stack);
    if (err)
        return err;
    *co = rota__alloc(a, sizeof **co);
    if (!*co) {
        rota__stack_unmap(&stack);
        return -ENOMEM;
    }
    **co = (rota_co){ .stack = stack, .allocator = *a };
    return 0;
}

int rota_co_new_at(rota_at at, rota_co **co, rota_co_fn *fn, void *arg, const rota_co_options *opt) {
    static const rota_co_options defaults;
    if (!co)
        return -EINVAL;
    *co = NULL;
    if (!fn)
        return -EINVAL;
    if (!opt)
        opt = &defaults;
    int err = opt->stack ? new_adopted(co, opt) : new_mapped(co, opt);
    if (err)
        return err;
    rota_co *c = *co;
    c->fn = fn;
    c->arg = arg;
    c->at = at;
    c->report = opt->report;
    c->report_ctx = opt->report_ctx;
    c->thread = &this_thread;
    c->context = rota__context_make(c->stack.base + c->stack.size, run, c);
    rota__fiber_init(&c->fiber, &c->stack);
    return 0;
}

rota_co *rota__co_on(const struct rota__stack *stack, rota_co_fn *fn, void *arg) {
    uintptr_t at = ((uintptr_t)stack->base + stack->size - sizeof(rota_co)) & ~(uintptr_t)15;
    rota_co *co = (rota_co *)(void *)(stack->base + (at - (uintptr_t)stack->base));
    *co = (rota_co){ .stack = *stack, .fn = fn, .arg = arg, .thread = &this_thread };
    co->stack.size = at - (uintptr_t)stack->base;
    co->context = rota__context_make(co, run, co);
    rota__fiber_init(&co->fiber, &co->stack);
    return co;
}

struct rota__stack rota__co_end(rota_co *co) {
    struct rota__stack stack = co->stack;
    rota__fiber_destroy(&co->fiber);
    stack.size = (size_t)((unsigned char *)(co + 1) - stack.base);
    return stack;
}

bool rota__co_mine(const rota_co *co) { return co->thread == &this_thread; }

static __attribute__((noinline, cold)) int refuse_resume(const rota_co *co) {
    if (!co || co->state == DONE)
        return -EINVAL;
    if (co->thread != &this_thread)
        return -EPERM;
    return co->state == RUNNING ? -EALREADY : -EFAULT;
}

int rota_co_resume(rota_co *co, intptr_t in, intptr_t *out) {
    if (__builtin_expect(!co || co->state != SUSPENDED || co->thread != &this_thread, 0))
        return refuse_resume(co);
    co->state = RUNNING;
    co->report = NULL;
    co->out = out;
    if (co->in)
        *co->in = in;
    rota__fiber_here(&co->resumer_fiber);
    return rota__fiber_switch(&co->resumer_fiber, &co->resumer, &co->fiber, co->context, 0);
}

/* Who stands on a coroutine's stack is that coroutine: true for one that has resumed another one, for a task that
 * was switched away from it, and for any other thread, that it is not. */
static inline bool stands_on(const struct rota__stack *stack) {
    return (uintptr_t)__builtin_frame_address(0) - (uintptr_t)stack->base < stack->size;
}

int rota_co_yield(rota_co *self, intptr_t value, intptr_t *in) {
    if (__builtin_expect(!self || !stands_on(&self->stack), 0))
        return self ? -EPERM : -EINVAL;
    self->state = SUSPENDED;
    self->in = in;
    if (self->out)
        *self->out = value;
    return rota__fiber_switch(&self->fiber, &self->context, &self->resumer_fiber, self->resumer,
                              verdict(self, ROTA_YIELDED));
}

bool rota_co_done(const rota_co *co) { return co && co->state == DONE; }

int rota_co_free(rota_co *co) {
    if (!co)
        return 0;
    if (co->thread != &this_thread)
        return -EPERM;
    if (co->state == RUNNING)
        return -EBUSY;
    if (co->report) {
        rota_report report = { ROTA_REPORT_UNSTARTED, 0, NULL, "a coroutine went that had never started", co->at };
        co->report(co->report_ctx, &report);
    }
    rota__fiber_destroy(&co->fiber);
    struct rota__stack stack = co->stack;
    rota_allocator a = co->allocator;
    if (stack.size_class != ROTA__STACK_ADOPTED)
        rota__free(&a, co, sizeof *co);
    rota__stack_put(NULL, &stack);
    return 0;
}

size_t rota_co_stack_used(const rota_co *co) { return co ? rota__stack_used(&co->stack) : 0; }
