/* What tasks do with each other: messages through a queue, waking by events, locks, semaphores, futures, generators,
 * cancelling, timeouts entered and left. The floor of whatever hands over is hand-written switches with a flag or a
 * ring; of what does not, the stores that cannot be avoided. */
#include <stdlib.h>
#include <time.h>

#include "bench.h"
#include "floor.h"
#include "rota.h"

enum { STACK = 65536, OPERATIONS = 2000000, SLOTS = 64 };

static long operations(void) { return OPERATIONS / bench_divide; }

/* ---- floors ---- */

static void *main_context, *other_context;
static long ring[SLOTS];
static volatile long head, tail, sink;
static volatile int flag;

static void floor_consumer(void) {
    for (;;) {
        while (head != tail)
            sink = ring[head++ % SLOTS];
        floor_switch(&other_context, main_context);
    }
}

static void floor_responder(void) {
    for (;;) {
        flag = 0;
        floor_switch(&other_context, main_context);
    }
}

static double per_operation(int64_t start) { return (double)(bench_now() - start) / (double)operations(); }

static double floor_message(long n) {
    (void)n;
    void *stack = malloc(STACK);
    head = tail = 0;
    other_context = floor_make(stack, STACK, floor_consumer);
    int64_t start = bench_now();
    for (long i = 0; i < operations(); i++) {
        if (tail - head == SLOTS)
            floor_switch(&main_context, other_context);
        ring[tail++ % SLOTS] = i;
    }
    double ns = per_operation(start);
    free(stack);
    return ns;
}

static double floor_round_trip(long n) {
    (void)n;
    void *stack = malloc(STACK);
    other_context = floor_make(stack, STACK, floor_responder);
    int64_t start = bench_now();
    for (long i = 0; i < operations(); i++) {
        flag = 1;
        floor_switch(&main_context, other_context);
    }
    double ns = per_operation(start);
    free(stack);
    return ns;
}

static double floor_flag(long n) {
    (void)n;
    int64_t start = bench_now();
    for (long i = 0; i < operations(); i++) {
        flag = 1;
        flag = 0;
    }
    return per_operation(start);
}

static double floor_clock(long n) {
    struct timespec t;
    (void)n;
    int64_t start = bench_now();
    for (long i = 0; i < operations(); i++)
        clock_gettime(CLOCK_MONOTONIC, &t);
    return per_operation(start);
}

/* ---- rota ---- */

static int64_t started;

static double run(rota_fn *fn) {
    if (rota_run(fn, NULL, NULL, NULL) < 0)
        bench_die("rota_run");
    return per_operation(started);
}

static intptr_t pair(rota_fn *a, rota_fn *b, void *arg) {
    rota_group g;
    rota_group_begin(&g, NULL);
    rota_spawn_options in = { .group = &g };
    started = bench_now();
    int rc = rota_spawn(NULL, a, arg, &in);
    if (rc == 0)
        rc = rota_spawn(NULL, b, arg, &in);
    return rota_group_end(&g, rc);
}

static intptr_t produce(void *arg) {
    int rc = 0;
    for (long i = 0; rc == 0 && i < operations(); i++)
        rc = rota_queue_put(arg, &i);
    rota_queue_close(arg);
    return rc;
}

static intptr_t consume(void *arg) {
    long item;
    int rc;
    while ((rc = rota_queue_get(arg, &item)) == 0)
        sink = item;
    return rc == -ESHUTDOWN ? 0 : rc;
}

static intptr_t messages(void *arg) {
    long slots[SLOTS];
    rota_queue q;
    (void)arg;
    ROTA_QUEUE_INIT(&q, slots);
    return pair(produce, consume, &q);
}

struct events {
    rota_event ping, pong;
};

static intptr_t ask(void *arg) {
    struct events *e = arg;
    int rc = 0;
    for (long i = 0; rc == 0 && i < operations(); i++) {
        rota_event_set(&e->ping);
        rc = rota_event_wait(&e->pong);
        rota_event_clear(&e->pong);
    }
    return rc;
}

static intptr_t answer(void *arg) {
    struct events *e = arg;
    int rc = 0;
    for (long i = 0; rc == 0 && i < operations(); i++) {
        rc = rota_event_wait(&e->ping);
        rota_event_clear(&e->ping);
        rota_event_set(&e->pong);
    }
    return rc;
}

static intptr_t events(void *arg) {
    struct events e = { { 0 }, { 0 } };
    (void)arg;
    return pair(ask, answer, &e);
}

static intptr_t locks(void *arg) {
    rota_mutex m = { 0 };
    int rc = 0;
    (void)arg;
    started = bench_now();
    for (long i = 0; rc == 0 && i < operations(); i++) {
        rc = rota_mutex_lock(&m);
        rota_mutex_unlock(&m);
    }
    return rc;
}

static intptr_t permits(void *arg) {
    rota_sem s;
    int rc = 0;
    (void)arg;
    rota_sem_init(&s, 1, 1);
    started = bench_now();
    for (long i = 0; rc == 0 && i < operations(); i++) {
        rc = rota_sem_acquire(&s);
        rota_sem_release(&s);
    }
    return rc;
}

/* Two tasks that hand a mutex over to each other: each hand-over is a switch. */
static intptr_t contend(void *arg) {
    int rc = 0;
    for (long i = 0; rc == 0 && i < operations(); i++) {
        rc = rota_mutex_lock(arg);
        if (rc == 0)
            rc = rota_yield();
        rota_mutex_unlock(arg);
    }
    return rc;
}

static intptr_t contended(void *arg) {
    rota_mutex m = { 0 };
    (void)arg;
    return pair(contend, contend, &m);
}

static rota_future *pending;

static intptr_t set_futures(void *arg) {
    (void)arg;
    for (long i = 0; i < operations(); i++) {
        if (rota_future_set(pending, i) < 0 || rota_yield() < 0)
            return -EIO;
    }
    return 0;
}

static intptr_t await_futures(void *arg) {
    int rc = 0;
    (void)arg;
    for (long i = 0; rc == 0 && i < operations(); i++) {
        rota_future f = { 0 };
        pending = &f;
        rc = rota_future_await(&f, NULL);
    }
    return rc;
}

static intptr_t futures(void *arg) {
    return pair(await_futures, set_futures, arg);
}

static intptr_t numbers(rota_gen *self, void *arg) {
    int rc = 0;
    (void)arg;
    for (intptr_t i = 0; rc == 0; i++)
        rc = rota_gen_yield(self, i, NULL);
    return rc;
}

static intptr_t generate(void *arg) {
    rota_gen g;
    intptr_t value;
    int rc = rota_gen_open(&g, numbers, NULL, NULL);
    (void)arg;
    if (rc < 0)
        return rc;
    started = bench_now();
    for (long i = 0; i < operations(); i++)
        if (rota_gen_next(&g, &value) != ROTA_YIELDED)
            return -EIO;
    return rota_gen_close(&g);
}

static intptr_t at_once(void *arg) { return (intptr_t)arg; }

enum { GATHERED = 10 };

static intptr_t gathers(void *arg) {
    rota_call calls[GATHERED];
    (void)arg;
    started = bench_now();
    for (long i = 0; i < operations(); i += GATHERED) {
        for (int k = 0; k < GATHERED; k++)
            calls[k] = (rota_call){ at_once, NULL, 0 };
        if (rota_gather(calls, GATHERED, NULL) < 0)
            return -EIO;
    }
    return 0;
}

static intptr_t races(void *arg) {
    size_t winner;
    (void)arg;
    started = bench_now();
    for (long i = 0; i < operations(); i += 2) {
        rota_call calls[2] = { { at_once, NULL, 0 }, { at_once, NULL, 0 } };
        if (rota_race(calls, 2, &winner) < 0)
            return -EIO;
    }
    return 0;
}

static intptr_t selects(void *arg) {
    long slots[SLOTS], item;
    rota_queue q, empty;
    (void)arg;
    ROTA_QUEUE_INIT(&q, slots);
    if (rota_queue_init(&empty, NULL, sizeof item, 0, NULL) < 0)
        return -EIO;
    started = bench_now();
    for (long i = 0; i < operations(); i++) {
        rota_clause clauses[2] = { { .kind = ROTA_SELECT_GET, .object = &empty, .item = &item },
                                   { .kind = ROTA_SELECT_GET, .object = &q, .item = &item } };
        if (rota_queue_try_put(&q, &i) < 0 || rota_select(clauses, 2) != 1)
            return -EIO;
    }
    return 0;
}

static intptr_t forever(void *arg) {
    (void)arg;
    return rota_sleep(ROTA_FOREVER);
}

static intptr_t cancels(void *arg) {
    (void)arg;
    started = bench_now();
    for (long i = 0; i < operations(); i++) {
        rota_task *task;
        if (rota_spawn(&task, forever, NULL, NULL) < 0 || rota_yield() < 0)
            return -EIO;
        rota_cancel(task, NULL);
        if (rota_join(task, NULL) != -ECANCELED)
            return -EIO;
    }
    return 0;
}

static intptr_t timeouts(void *arg) {
    (void)arg;
    started = bench_now();
    for (long i = 0; i < operations(); i++) {
        rota_scope s;
        rota_timeout_begin(&s, ROTA_S);
        if (rota_scope_end(&s, i) != i)
            return -EIO;
    }
    return 0;
}

static double rota_message(long n) { (void)n; return run(messages); }
static double rota_events(long n) { (void)n; return run(events); }
static double rota_locks(long n) { (void)n; return run(locks); }
static double rota_contended(long n) { (void)n; return run(contended) / 2; }
static double rota_permits(long n) { (void)n; return run(permits); }
static double rota_futures(long n) { (void)n; return run(futures); }
static double rota_generate(long n) { (void)n; return run(generate); }
static double rota_gathers(long n) { (void)n; return run(gathers); }
static double rota_races(long n) { (void)n; return run(races); }
static double rota_selects(long n) { (void)n; return run(selects); }
static double rota_cancels(long n) { (void)n; return run(cancels); }
static double rota_timeouts(long n) { (void)n; return run(timeouts); }

const struct bench bench_sync[] = {
    { "sync", "queue_message", "ns", 0, { { "floor", floor_message }, { "rota", rota_message } },
      "one number put into a queue of 64 places by a task, and taken out by another" },
    { "sync", "event_wake", "ns", 0, { { "floor", floor_round_trip }, { "rota", rota_events } },
      "one round trip: a task sets an event, another one waits for it and sets a second one in answer" },
    { "sync", "mutex", "ns", 0, { { "floor", floor_flag }, { "rota", rota_locks } },
      "one lock and unlock of a mutex that nobody else wants" },
    { "sync", "mutex_handover", "ns", 0, { { "floor", floor_round_trip }, { "rota", rota_contended } },
      "one lock, yield and unlock, by 2 tasks that hand one mutex over to each other" },
    { "sync", "semaphore", "ns", 0, { { "floor", floor_flag }, { "rota", rota_permits } },
      "one acquire and release of a semaphore with one permit that nobody else wants" },
    { "sync", "future", "ns", 0, { { "floor", floor_round_trip }, { "rota", rota_futures } },
      "one future awaited by a task and set by another, which yields after it" },
    { "sync", "select_of_2", "ns", 0, { { "floor", floor_message }, { "rota", rota_selects } },
      "one number put into a queue and taken by a select on this queue and an empty one" },
    { "sync", "gather_each", "ns", 0, { { "floor", floor_round_trip }, { "rota", rota_gathers } },
      "one of the 10 functions, which return at once, of a rota_gather: a tenth of it" },
    { "sync", "race_each", "ns", 0, { { "floor", floor_round_trip }, { "rota", rota_races } },
      "one of the 2 functions, which return at once, of a rota_race: half of it" },
    { "sync", "generator_next", "ns", 0, { { "floor", floor_round_trip }, { "rota", rota_generate } },
      "one value taken from a generator: it is resumed, and yields the value" },
    { 0 }
};

const struct bench bench_cancel[] = {
    { "cancel", "cancel_join", "ns", 0, { { "floor", floor_round_trip }, { "rota", rota_cancels } },
      "one task made, run until it sleeps, cancelled and joined" },
    { "cancel", "timeout_scope", "ns", 0, { { "floor", floor_clock }, { "rota", rota_timeouts } },
      "one timeout of 1 s entered and left in time" },
    { 0 }
};
