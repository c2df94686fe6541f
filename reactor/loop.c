/* The loop: creating it, turning it, stopping, closing, freeing; soon-callbacks and timers on it.
 *
 * One turn, in five numbered steps; docs/ARCHITECTURE.md uses the same words:
 *
 *   1  run ready work     everything that is queued, until nothing is ready or the budget is spent
 *   2  poll               ask the kernel; wait only if there is nothing else to do
 *   3  dispatch readiness the poller hands over each event it got; watchers that asked for it are called again
 *   4  due timers         in the order of their deadlines
 *   5  deferred frees     memory whose last user was still standing on it
 *
 * Data is seen before deadlines: a loop that was stalled first finds what has arrived, and only then decides
 * what is too late. It knows nothing of tasks: what runs is an entry of the ready queue with a function.
 */
#include "reactor/loop.h"

#include <string.h>

enum { BUDGET_CHUNK = 32, BUDGET_CHUNKS = 8 };   /* 256 steps, the clock read every 32 */
#define BUDGET_TIME (1 * ROTA_MS)
enum { POLL_ROUNDS = 16 };                       /* full event arrays taken in one turn */

/* ---- step 1 ---- */

/* In debug mode, and while traced, a chunk is one step: whoever counts the budget down comes by after each. */
static void next_chunk(rota_loop *loop) { loop->budget = loop->watched ? 0 : BUDGET_CHUNK - 1; }

bool rota__loop_budget_spent(rota_loop *loop) {
    unsigned most = loop->watched ? BUDGET_CHUNK * BUDGET_CHUNKS : BUDGET_CHUNKS;
    next_chunk(loop);
    if (++loop->budget_rounds < most && (loop->is_virtual || rota__loop_clock(loop) < loop->budget_until))
        return false;
    loop->budget = -1;
    return true;
}

/* How much has left the ready queue is what its head has moved; backwards where a task stepped aside. */
void rota__count_steps(rota_loop *loop) {
    struct rota__counts *counts = &loop->counts;
    counts->steps += (uint64_t)(int64_t)(int32_t)(loop->ready.head - counts->steps_head);
    rota__ready_rewind(&loop->ready);
    counts->steps_head = loop->ready.head;
}

static void run_ready(rota_loop *loop) {
    rota_ready *entry;
    next_chunk(loop);
    loop->budget_rounds = 0;
    loop->budget_until = rota__time_add(loop->now, BUDGET_TIME);
    rota__step_begin(loop);
    while (loop->budget >= 0 && !rota__ready_empty(&loop->ready) && (entry = rota__ready_peek(&loop->ready))) {
        void (*run)(rota_ready *) = entry->run_; /* once it is dropped another thread may post it, and set that */
        rota__ready_drop(&loop->ready, entry);
        loop->counts.entered++;
        if (__builtin_expect(loop->watched, 0))
            rota__run_watched(loop, entry, run);
        else
            run(entry);
        if (loop->budget >= 0 && --loop->budget < 0)
            (void)rota__loop_budget_spent(loop);
    }
    rota__count_steps(loop);
}

/* ---- steps 2 and 3 ---- */

int64_t rota__loop_clock(rota_loop *loop) {
    if (!loop->is_virtual)
        loop->now = rota__sys_now();
    return loop->now;
}

bool rota__loop_alive(const rota_loop *loop) {
    return !rota__ready_empty(&loop->ready) || loop->again || rota__timers_count(&loop->timers) || loop->watchers ||
           loop->n_signals || loop->jobs || atomic_load(&loop->inbox->remotes) || atomic_load(&loop->inbox->head);
}

/* Work that is there already: the kernel is asked, but not waited for. */
static bool must_not_wait(const rota_loop *loop) {
    return loop->stop || loop->again || !rota__ready_empty(&loop->ready) || loop->garbage;
}

/* Asks the kernel, at least once. A full array may mean that there is more: taken now, in a bounded number of
 * rounds, so that with thousands of busy descriptors none waits for many turns. */
int rota__poll_rounds(rota_loop *loop, int64_t timeout_ns) {
    int total = 0;
    for (int round = 0; round < POLL_ROUNDS; round++) {
        int64_t timeout = round == 0 ? timeout_ns : 0;
        if (__builtin_expect(loop->watched, 0))
            rota__poll_begins(loop, timeout);
        int capacity = loop->poll.capacity; /* which may grow meanwhile */
        int n = loop->poller->wait(loop, timeout);
        if (n < 0)
            return n;
        total += n;
        if (n < capacity)
            break;
    }
    return total;
}

/* Could anything come from outside? */
static bool is_connected(const rota_loop *loop) {
    return loop->watchers || loop->n_signals || loop->jobs || atomic_load(&loop->inbox->remotes);
}

/* From here until awake, other threads make the system call that wakes the wait. What they did before is seen here,
 * or by the checks in between: see inbox.c. False: there must be no wait. */
static bool sleeps(rota_loop *loop, int64_t wait_ns) { return wait_ns > 0 && rota__inbox_sleep(loop->inbox); }

/* A virtual clock stands still until there is nothing else to do at all: no ready work, no job of a thread
 * under way, no descriptor ready. Then it jumps to the next deadline. */
static int poll_virtual(rota_loop *loop, int64_t wait_ns) {
    bool idle = !must_not_wait(loop);
    int64_t until = rota__time_after(loop->now, wait_ns);
    int64_t next = idle ? rota__timers_next(&loop->timers, loop->jobs ? loop->now : until) : ROTA_FOREVER;
    bool may_jump = next != ROTA_FOREVER && !loop->jobs;
    /* Alive is asked last: the last remote to close sees that the loop sleeps, or the loop sees it closed. */
    bool waits = idle && !may_jump && sleeps(loop, wait_ns) && rota__loop_alive(loop);
    int n = waits || is_connected(loop) ? rota__poll_rounds(loop, waits ? wait_ns : 0) : 0;
    if (n != 0 || !may_jump || rota__inbox_has(loop->inbox) || atomic_load(&loop->inbox->signals_pending))
        return n;
    int64_t to = next < until ? next : until;
    to = to > loop->now ? to : loop->now; /* a timer may have been armed for the past */
    if (__builtin_expect(loop->watched, 0))
        rota__poll_begins(loop, to - loop->now);
    loop->now = loop->virtual_now = to;
    if (__builtin_expect(loop->watched, 0))
        rota__poll_ended(loop, 0);
    return 0;
}

/* Between two rounds of ready work the kernel is asked only if somebody could be told something: whoever watches a
 * descriptor, or the foreign loop that polls ours. What other threads and signal handlers leave is in memory, and an
 * edge that nobody watches for is as good in a later turn. */
static int look(rota_loop *loop) {
    return loop->watchers || loop->watchers_aside || loop->is_foreign ? rota__poll_rounds(loop, 0) : 0;
}

static int poll_real(rota_loop *loop, int64_t wait_ns) {
    if (must_not_wait(loop))
        return look(loop);
    int64_t timeout = sleeps(loop, wait_ns) && rota__loop_alive(loop) ? wait_ns : 0;
    if (timeout > 0) {
        /* A bound is enough: too early a look at the clock costs a turn, the exact answer a scan of timers. */
        int64_t next = rota__timers_wake(&loop->timers);
        if (next != ROTA_FOREVER || loop->is_precise) {
            int64_t left = rota__time_add(next, -rota__loop_clock(loop));
            timeout = left < 0 ? 0 : left < timeout ? left : timeout;
        }
        if (timeout > 0 && loop->is_precise)
            return rota__poll_precise(loop, rota__time_add(loop->now, timeout));
    }
    return rota__poll_rounds(loop, timeout);
}

static int poll_step(rota_loop *loop, int64_t wait_ns) {
    int rc = loop->is_virtual ? poll_virtual(loop, wait_ns) : poll_real(loop, wait_ns);
    rota__inbox_awake(loop->inbox);
    if (rota__inbox_has(loop->inbox))
        (void)rota__inbox_take(loop);
    rota__loop_clock(loop);
    return rc < 0 ? rc : 0;
}

static void dispatch_rest(rota_loop *loop) {
    if (atomic_load_explicit(&loop->inbox->signals_pending, memory_order_relaxed))
        loop->signal_calls->deliver(loop);
    if (loop->again)
        rota__fd_run_again(loop);
    rota__fd_check_stale(loop);
}

/* ---- step 4 ---- */

static void run_due_timers(rota_loop *loop) {
    uint64_t limit = rota__timers_order(&loop->timers);
    rota_timer *timer;
    rota__step_begin(loop);
    while (!rota__timers_quiet(&loop->timers, loop->now) &&
           (timer = rota__timers_pop(&loop->timers, loop->now, limit))) {
        loop->counts.timers++;
        if (__builtin_expect(loop->watched, 0))
            rota__fire_watched(loop, timer);
        else
            timer->fn(timer, timer->arg);
    }
}

/* ---- step 5 ---- */

static void free_garbage(rota_loop *loop) {
    struct rota__garbage *garbage;
    while ((garbage = loop->garbage)) {
        loop->garbage = garbage->next;
        garbage->free(loop, garbage);
    }
}

/* ---- turning ---- */

static int turn(rota_loop *loop, int64_t wait_ns) {
    loop->counts.turns++;
    if (__builtin_expect(loop->traced, 0))
        rota__trace_turn(loop);
    run_ready(loop);                    /* 1 run ready work */
    int rc = poll_step(loop, wait_ns);  /* 2 poll; 3 dispatch readiness: the poller calls rota__fd_event, */
    dispatch_rest(loop);                /* 3 and those who asked to be called again */
    run_due_timers(loop);               /* 4 due timers */
    free_garbage(loop);                 /* 5 deferred frees */
    return rc;
}

/* The loop is the current one from here until leave_current, which puts back what was. False: it is the current one
 * already, and stays it. */
static bool become_current(rota_loop *loop) {
    if (rota__current == loop)
        return false;
    loop->outer = rota__current;
    rota__current = loop;
    return true;
}

static void leave_current(rota_loop *loop) {
    rota__current = loop->outer;
    loop->outer = NULL;
}

/* One that closes inside another's turn, or while another closes, must not become the current one again behind that. */
static void never_again_current(rota_loop *loop) {
    for (rota_loop *l = rota__current; l; l = l->outer)
        if (l->outer == loop)
            l->outer = NULL;
}

static int begin_turns(rota_loop *loop, bool *entered) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (loop->in_turn || (rota__current && rota__current->in_turn))
        return -EBUSY;
    *entered = become_current(loop);
    loop->in_turn = true;
    loop->foreign_idle = false;
    rota__inbox_awake(loop->inbox);
    (void)rota__inbox_take(loop);
    rota__loop_clock(loop);
    return 0;
}

/* Between turns of a loop that a foreign one polls: posts must write the waker, the next deadline must be on the
 * descriptor, and from now on whoever adds work says so (foreign_idle). */
static void arm_foreign(rota_loop *loop) {
    loop->foreign_idle = true;
    int64_t next = rota__timers_wake(&loop->timers);
    if (must_not_wait(loop) || !rota__inbox_sleep(loop->inbox))
        next = INT64_MIN;
    loop->poller->deadline(loop, next);
}

static void end_turns(rota_loop *loop, bool entered) {
    loop->in_turn = false;
    if (entered)
        leave_current(loop);
    if (loop->is_foreign)
        arm_foreign(loop);
}

void rota__loop_nudge(rota_loop *loop, int64_t when) {
    if (when != INT64_MIN && when != rota__timers_wake(&loop->timers))
        return;
    loop->poller->deadline(loop, when);
}

void rota__loop_arm_foreign(rota_loop *loop, rota_timer *timer, int64_t when) {
    rota__timers_arm(&loop->timers, timer, when);
    if (!ROTA__FOR_SIZE || loop->foreign_idle)
        rota__loop_nudge(loop, when);
}

int rota_loop_turn(rota_loop *loop, int64_t wait_ns) {
    bool entered;
    int rc = begin_turns(loop, &entered);
    if (rc < 0)
        return rc;
    rc = turn(loop, wait_ns < 0 ? 0 : wait_ns);
    loop->stop = false;
    end_turns(loop, entered);
    return rc < 0 ? rc : rota__loop_alive(loop);
}

int rota_loop_run(rota_loop *loop) {
    bool entered;
    int rc = begin_turns(loop, &entered);
    if (rc < 0)
        return rc;
    bool stopped = false;
    while (rc == 0 && !stopped && rota__loop_alive(loop)) {
        rc = turn(loop, ROTA_FOREVER);
        stopped = loop->stop;
    }
    loop->stop = false;
    if (rc == 0 && !stopped && loop->upper)
        rc = loop->upper->stuck(loop);
    end_turns(loop, entered);
    return rc;
}

int rota_loop_stop(rota_loop *loop) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    loop->stop = true;
    if (loop->foreign_idle)
        rota__loop_nudge(loop, INT64_MIN);
    return 0;
}

int rota_loop_fd(rota_loop *loop) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (loop->is_virtual)
        return -ENOTSUP; /* the foreign loop waits in real time, and could not tell when ours should jump */
    int fd = loop->poller->fd(loop);
    if (fd < 0)
        return fd;
    loop->is_foreign = true;
    if (!loop->in_turn)
        arm_foreign(loop);
    return fd;
}

/* ---- life ---- */

static const struct rota__poller *find_poller(const char *name) {
    for (const struct rota__poller *const *p = rota__pollers; *p; p++)
        if (!name || strcmp((*p)->name, name) == 0)
            return *p;
    return NULL;
}

/* What the program leaves open, its environment may say. */
static const struct rota__poller *choose_poller(const rota_loop_options *opt) {
    const char *asked = opt->backend ? NULL : rota__env_backend();
    const struct rota__poller *poller = find_poller(opt->backend ? opt->backend : asked);
    if (!poller && asked)
        rota__report_environment(opt, "ROTA_BACKEND", asked, " means nothing; it may be:", rota_loop_backends());
    return poller;
}

static bool choose_clock(const rota_loop_options *opt) {
    static const char *const known[] = { "virtual", NULL };
    const char *asked = rota__env_clock();
    if (opt->virtual_clock || !asked)
        return opt->virtual_clock;
    if (strcmp(asked, known[0]) == 0)
        return true;
    rota__report_environment(opt, "ROTA_CLOCK", asked, " is ignored; it may be:", known);
    return false;
}

static int open_parts(rota_loop *loop) {
    rota__ready_open(&loop->ready, loop->first_ready);
    loop->inbox = rota__inbox_new(&loop->allocator);
    int rc = loop->inbox ? loop->poller->open(loop) : -ENOMEM;
    if (rc < 0 && loop->inbox)
        rota__inbox_unref(loop->inbox);
    return rc;
}

int rota_loop_new(rota_loop **out, const rota_loop_options *opt) {
    const rota_loop_options defaults = { 0 };
    if (!out)
        return -EINVAL;
    *out = NULL;
    opt = opt ? opt : &defaults;
    const rota_allocator *a = opt->allocator ? opt->allocator : &rota__malloc;
    const struct rota__poller *poller = choose_poller(opt);
    if (!poller || !a->alloc || opt->spin_ns < 0)
        return -EINVAL;
    rota_loop *loop = rota__alloc(a, sizeof *loop);
    if (!loop)
        return -ENOMEM;
    memset(loop, 0, sizeof *loop);
    loop->options = *opt;
    loop->limited = opt->max_tasks != 0;
    loop->allocator = *a;
    loop->poller = poller;
    loop->report = opt->report ? opt->report : rota__report_stderr;
    loop->report_ctx = opt->report_ctx;
    loop->debug = opt->debug || rota__env_debug();
    loop->tracer = (struct rota__tracer){ .fn = opt->trace, .ctx = opt->trace_ctx };
    rota__watched_changed(loop);
    loop->is_virtual = choose_clock(opt);
    loop->is_precise = opt->precise || opt->spin_ns > 0;
    loop->again_last = &loop->again;
    loop->poll.fd = loop->poll.timer_fd = -1;
    loop->owner = loop->user = rota__thread_id();
    loop->forks = rota__forks;
    rota__watch_forks();
    int rc = open_parts(loop);
    if (rc < 0) {
        rota__free(a, loop, sizeof *loop);
        return rc;
    }
    loop->now = rota__sys_now();
    loop->virtual_now = loop->is_virtual ? loop->now : ROTA_FOREVER;
    rota__timers_init(&loop->timers, &loop->allocator, loop->now);
    loop->timers.next_is_asked = loop->is_virtual;
    if (!rota__current)
        rota__current = loop;
    rota__trace_from_environment(loop);
    *out = loop;
    return 0;
}

void rota__owned_add(rota_loop *loop, struct rota__owned *owned) {
    owned->next = loop->owned;
    owned->prev = &loop->owned;
    if (owned->next)
        owned->next->prev = &owned->next;
    loop->owned = owned;
}

void rota__owned_remove(struct rota__owned *owned) {
    *owned->prev = owned->next;
    if (owned->next)
        owned->next->prev = owned->prev;
}

static void drop_owned(rota_loop *loop) {
    struct rota__owned *owned;
    while ((owned = loop->owned)) {
        rota__owned_remove(owned);
        owned->drop(owned);
    }
}

/* In a child after fork everything but memory and our descriptors belongs to the parent's loop too. */
static void close_parts(rota_loop *loop, bool forked) {
    (void)rota__trace_file_close(loop, forked);
    if (loop->signal_calls)
        loop->signal_calls->stop_all(loop);
    rota__fd_stop_all(loop);
    rota__timers_clear(&loop->timers);
    rota__inbox_close(loop->inbox);
    loop->poller->close(loop, forked);
    rota__ready_close(&loop->ready, &loop->allocator);
    while (loop->starved)
        rota__starved_remove(loop->starved);
    loop->state = ROTA__LOOP_CLOSED;
    loop->user = UINT64_MAX;
    if (loop->upper)
        loop->upper->free(loop);
    drop_owned(loop);
    if (loop->children.stop_all)
        loop->children.stop_all(loop);
    free_garbage(loop);
    rota__timers_free(&loop->timers);
    rota__fd_table_free(&loop->fds, &loop->allocator);
    rota__inbox_unref(loop->inbox);
    loop->inbox = NULL;
}

int rota_loop_close(rota_loop *loop) {
    int rc = rota__loop_check(loop);
    bool forked = loop && rc == -EINVAL;
    if (rc == -ESHUTDOWN || (forked && loop->state == ROTA__LOOP_CLOSED))
        return 0;
    if (rc < 0 && !forked)
        return rc;
    if ((loop->in_turn || loop->closing || loop->state == ROTA__LOOP_CLOSING) && !forked)
        return -EBUSY;
    never_again_current(loop);
    (void)become_current(loop);
    loop->state = ROTA__LOOP_CLOSING;
    loop->is_foreign = loop->foreign_idle = false;
    if (loop->upper && !forked)
        loop->upper->drain(loop);
    close_parts(loop, forked);
    leave_current(loop);
    return 0;
}

int rota_loop_free(rota_loop *loop) {
    if (!loop)
        return 0;
    int rc = rota_loop_close(loop);
    if (rc < 0)
        return rc;
    if (rota__current == loop)
        rota__current = NULL;
    if (loop->upper)
        loop->upper->gone(loop);
    rota_allocator a = loop->allocator;
    rota__free(&a, loop, sizeof *loop);
    return 0;
}

/* ---- who and when ---- */

rota_loop *rota_loop_current(void) { return rota__current; }

int rota_loop_set_current(rota_loop *loop) {
    int rc = loop ? rota__loop_check(loop) : 0;
    if (rc < 0)
        return rc;
    if (rota__current && rota__current->in_turn)
        return -EBUSY;
    rota__current = loop;
    return 0;
}

int rota_loop_set_debug(rota_loop *loop, bool on) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    loop->debug = on;
    loop->step_began = 0;
    rota__watched_changed(loop);
    return 0;
}

int64_t rota_now(void) { return rota__current ? rota__loop_clock(rota__current) : rota__sys_now(); }

int64_t rota_loop_now(const rota_loop *loop) { return loop ? loop->now : -EINVAL; }

const char *rota_loop_backend(const rota_loop *loop) { return loop ? loop->poller->name : NULL; }

/* ---- starved: what waits for a descriptor to be closed ---- */

void rota__starved_add(rota_loop *loop, struct rota__starved *starved) {
    starved->next = loop->starved;
    starved->prev = &loop->starved;
    if (starved->next)
        starved->next->prev = &starved->next;
    loop->starved = starved;
}

void rota__starved_remove(struct rota__starved *starved) {
    *starved->prev = starved->next;
    if (starved->next)
        starved->next->prev = starved->prev;
}

void rota__loop_fd_freed(rota_loop *loop) {
    struct rota__starved *starved;
    while ((starved = loop->starved)) {
        rota__starved_remove(starved);
        starved->retry(starved);
    }
}

/* ---- soon-callbacks ---- */

void rota__run_soon(rota_ready *ready) {
    rota_soon *soon = (rota_soon *)ready; /* its first member */
    void (*fn)(rota_soon *, void *) = soon->fn;
    fn(soon, soon->arg);
    if (rota__current->debug)
        rota__step_end(rota__current, (uintptr_t)fn);
}

void rota_soon_init(rota_soon *soon, void (*fn)(rota_soon *soon, void *arg), void *arg) {
    if (!soon)
        return;
    soon->ready_.next_ = NULL;
    soon->ready_.run_ = rota__run_soon;
    soon->ready_.hint_ = soon;
    soon->fn = fn;
    soon->arg = arg;
}

int rota_soon_start(rota_loop *loop, rota_soon *soon) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!soon || !soon->fn)
        return -EINVAL;
    if (rota__ready_queued(&soon->ready_))
        return -EALREADY;
    rota__loop_push(loop, &soon->ready_);
    return 0;
}

int rota_soon_stop(rota_loop *loop, rota_soon *soon) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!soon)
        return -EINVAL;
    if (rota__ready_queued(&soon->ready_)) {
        (void)rota__inbox_take(loop); /* it may have been posted, and not have arrived yet */
        rota__ready_remove(&loop->ready, &soon->ready_);
    }
    return 0;
}

/* ---- timers ---- */

void rota_timer_init(rota_timer *timer, void (*fn)(rota_timer *timer, void *arg), void *arg) {
    if (!timer)
        return;
    memset(timer, 0, sizeof *timer);
    timer->fn = fn;
    timer->arg = arg;
}

/* The three calls below are made with every request of a server. What all of them refuse is one branch that leads out
 * of line, as does all that needs a call: so the way through saves no registers. A timer that is started has been found to
 * have a function; so that is asked of the others only. */
static __attribute__((noinline, cold)) int refuse(const rota_loop *loop) {
    int rc = rota__loop_check(loop);
    return rc < 0 ? rc : -EINVAL; /* the timer's fault */
}

static __attribute__((noinline)) int start_foreign(rota_loop *loop, rota_timer *timer, int64_t when) {
    rota__loop_arm_foreign(loop, timer, when);
    return 0;
}

static inline int start_at(rota_loop *loop, rota_timer *timer, int64_t when) {
    if (!ROTA__FOR_SIZE && rota__timers_postpone(&loop->timers, timer, when))
        return 0;
    if (__builtin_expect(!timer->fn, 0))
        return refuse(loop);
    if (ROTA__FOR_SIZE || __builtin_expect(loop->foreign_idle, 0))
        return start_foreign(loop, timer, when);
    rota__timers_insert(&loop->timers, timer, when);
    return 0;
}

int rota_timer_start_at(rota_loop *loop, rota_timer *timer, int64_t when) {
    if (__builtin_expect(!rota__loop_usable(loop) || !timer, 0))
        return refuse(loop);
    return start_at(loop, timer, when);
}

/* The clock is read: counting from the turn's time would fire early after a callback that worked long. */
static __attribute__((noinline)) int start_by_clock(rota_loop *loop, rota_timer *timer, int64_t ns) {
    return start_at(loop, timer, rota__time_after(rota__loop_clock(loop), ns));
}

/* One comparison finds a real clock, an ns that is not positive, and a sum that is too large. */
int rota_timer_start(rota_loop *loop, rota_timer *timer, int64_t ns) {
    if (__builtin_expect(!rota__loop_usable(loop) || !timer, 0))
        return refuse(loop);
    int64_t when = (int64_t)((uint64_t)loop->virtual_now + (uint64_t)ns);
    return when > loop->virtual_now ? start_at(loop, timer, when) : start_by_clock(loop, timer, ns);
}

int rota_timer_stop(rota_loop *loop, rota_timer *timer) {
    if (__builtin_expect(!rota__loop_usable(loop) || !timer, 0))
        return refuse(loop);
    rota__loop_disarm(loop, timer);
    return 0;
}
