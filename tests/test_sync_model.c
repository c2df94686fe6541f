/* Random schedules of tasks that lock, acquire, wait, put and get, with random cancellations and timeouts, under the
 * virtual clock, against what must hold whatever the order: nothing lost, nothing duplicated, everybody ends, and
 * those who were not cancelled are served in the order in which they came.
 *
 * ROTA_MODEL_ROUNDS: how many schedules of each kind (200). ROTA_MODEL_SEED: repeats a run that failed.
 */
#include "tests/sync_kit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

enum { WORKERS = 12, STEPS = 25 };

static uint64_t seed, random_state;

#define holds(condition, ...) cr_expect(condition, __VA_ARGS__)
#define SEEDED "ROTA_MODEL_SEED=%" PRIu64 " "

static uint64_t random_number(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int64_t below(int64_t n) { return (int64_t)(random_number() % (uint64_t)n); }

/* ---- workers, and the one who cancels them ---- */

struct worker {
    int index;
    rota_scope *scope;     /* of the operation under way, else NULL */
    int64_t ticket;
    rota_task *task;
};

static struct worker workers[WORKERS];
static int running;        /* workers that have not ended */
static int cancelled;      /* operations that ended so */

/* An operation in a scope of its own, which others cancel, or which expires. What it returned. */
static int in_scope(struct worker *w, int (*operation)(struct worker *w)) {
    rota_scope s;
    int64_t limit = below(4) ? ROTA_FOREVER : below(4) * ROTA_MS;
    rota_timeout_begin(&s, limit);
    w->scope = &s;
    intptr_t v = operation(w);
    w->scope = NULL;
    v = rota_scope_end(&s, v);
    holds(v >= 0 || v == -ECANCELED || v == -ETIMEDOUT, SEEDED "gave %d", seed, (int)v);
    cancelled += v < 0;
    return (int)v;
}

/* Always parks: calls that succeed without parking would now and then yield, and then tasks tell of what they got in
 * another order than that in which they got it. */
static void pause_a_while(void) { cr_expect_eq(rota_sleep(below(3) * ROTA_MS + 1), 0); }

static void cancel_somebody(void) {
    struct worker *w = &workers[below(WORKERS)];
    if (w->scope)
        rota_scope_cancel(w->scope, "the model");
}

static void (*check)(void);   /* what must hold at any time; may be NULL */

static void run_workers(rota_fn *fn) {
    running = WORKERS;
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){ .index = i };
        cr_expect_eq(rota_spawn(&workers[i].task, fn, &workers[i], NULL), 0);
    }
    while (running) {
        pause_a_while();
        for (int64_t n = below(4); n > 0; n--)
            cancel_somebody();
        if (check)
            check();
    }
    for (int i = 0; i < WORKERS; i++)
        cr_expect_eq(rota_join(workers[i].task, NULL), 0);
}

static void rounds(rota_fn *fn, void (*at_any_time)(void)) {
    const char *n = getenv("ROTA_MODEL_ROUNDS"), *given = getenv("ROTA_MODEL_SEED");
    long left = n ? strtol(n, NULL, 10) : under_valgrind() ? 20 : 200;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)t.tv_sec * 1000003 + (uint64_t)t.tv_nsec;
    cancelled = 0;
    check = at_any_time;
    for (; left > 0; left--, seed++) {
        random_state = seed * 0x9e3779b97f4a7c15u | 1;
        intptr_t value = -1;
        int rc = run_with(fn, NULL, &value, NULL);
        cr_assert(rc == 0 && value == 0 && reports.n == 0, SEEDED "%d %s", seed, rc, reports.all[0].text);
    }
    cr_expect(cancelled > 0, "the model cancels");
}

/* Tickets are drawn when an operation begins; served ones must rise. */
static int64_t next_ticket, last_served;

static void served(int64_t ticket) {
    holds(ticket > last_served, SEEDED "%" PRId64 " after %" PRId64, seed, ticket, last_served);
    last_served = ticket;
}

/* ---- mutex ---- */

static rota_mutex mutex;
static int inside;

static int lock_and_use(struct worker *w) {
    int64_t ticket = ++next_ticket;
    int rc = rota_mutex_lock(&mutex);
    (void)w;
    if (rc < 0)
        return rc;
    served(ticket);
    holds(inside++ == 0, SEEDED "two at once", seed);
    (void)!rota_sleep(below(3) * ROTA_MS);    /* refused when it was cancelled after it got the mutex */
    inside--;
    cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    return 0;
}

static intptr_t mutex_worker(void *w) {
    for (int i = 0; i < STEPS; i++) {
        (void)in_scope(w, lock_and_use);
        pause_a_while();
    }
    running--;
    return 0;
}

static intptr_t mutex_model(void *unused) {
    (void)unused;
    mutex = (rota_mutex){ 0 };
    next_ticket = last_served = inside = 0;
    run_workers(mutex_worker);
    holds(!mutex.owner_ && !mutex.waiters_, SEEDED "left", seed);
    return 0;
}

Test(sync_model, mutex) { rounds(mutex_model, NULL); }

/* ---- semaphore ---- */

enum { PERMITS = 3 };

static rota_sem sem;

static int64_t ticket_of(const rota_task *task) {
    int i = 0;
    while (workers[i].task != task)
        i++;
    return workers[i].ticket;
}

static void check_sem(void) {
    holds(!sem.waiters_ || sem.count_ == 0, SEEDED "a permit lies about while somebody waits", seed);
    for (const struct rota__wait *w = sem.waiters_; w; w = w->next)
        holds(!w->next || ticket_of(w->task) < ticket_of(w->next->task), SEEDED "out of order", seed);
    holds(inside + (int)sem.count_ <= PERMITS, SEEDED "more permits than there are", seed);
}

static int acquire_and_use(struct worker *w) {
    w->ticket = ++next_ticket;
    int rc = below(5) ? rota_sem_acquire(&sem) : rota_sem_try_acquire(&sem);
    if (rc < 0)
        return rc == -EAGAIN ? 0 : rc;
    inside++;
    check_sem();
    (void)!rota_sleep(below(3) * ROTA_MS);
    inside--;
    cr_expect_eq(rota_sem_release(&sem), 0);
    check_sem();
    return 0;
}

static intptr_t sem_worker(void *w) {
    for (int i = 0; i < STEPS; i++) {
        (void)in_scope(w, acquire_and_use);
        pause_a_while();
    }
    running--;
    return 0;
}

static intptr_t sem_model(void *unused) {
    (void)unused;
    rota_sem_init(&sem, PERMITS, PERMITS);
    inside = 0;
    run_workers(sem_worker);
    holds(rota_sem_value(&sem) == PERMITS && !sem.waiters_, SEEDED "%zu permits left", seed, rota_sem_value(&sem));
    return 0;
}

Test(sync_model, semaphore) { rounds(sem_model, check_sem); }

/* ---- read-write lock ---- */

static rota_rwlock rwlock;
static int reading, writing;

static int lock_either_way(struct worker *w) {
    bool writes = below(3) == 0;
    int64_t ticket = ++next_ticket;
    (void)w;
    int rc = writes ? rota_rwlock_write(&rwlock) : rota_rwlock_read(&rwlock);
    if (rc < 0)
        return rc;
    if (writes)
        served(ticket);   /* readers that were let in together may begin while another reader comes */
    holds(!writing && !(writes && reading), SEEDED "%d read, %d write", seed, reading, writing);
    reading += !writes;
    writing += writes;
    (void)!rota_sleep(below(3) * ROTA_MS);
    reading -= !writes;
    writing -= writes;
    cr_expect_eq(rota_rwlock_unlock(&rwlock), 0);
    return 0;
}

static intptr_t rwlock_worker(void *w) {
    for (int i = 0; i < STEPS; i++) {
        (void)in_scope(w, lock_either_way);
        pause_a_while();
    }
    running--;
    return 0;
}

static intptr_t rwlock_model(void *unused) {
    (void)unused;
    rwlock = (rota_rwlock){ 0 };
    next_ticket = last_served = reading = writing = 0;
    run_workers(rwlock_worker);
    holds(!rwlock.readers_ && !rwlock.writer_.owner_ && !rwlock.writer_.waiters_, SEEDED "left", seed);
    return 0;
}

Test(sync_model, read_write_lock) { rounds(rwlock_model, NULL); }

/* ---- condition: a store that is filled and emptied under a mutex ----
 * Takers are cancelled at will, and take nothing then. Each thing that is put down is announced once. */

static rota_cond cond;
static int store, taken;

/* Who sleeps has seen an empty store, and has not been told of anything since. While the mutex is free nobody is on
 * the way from a notify. So a thing that lies there while somebody sleeps was announced to one that did not take it. */
static void check_cond(void) {
    holds(mutex.owner_ || !cond.waiters_ || store == 0, SEEDED "%d lie there, and somebody sleeps", seed, store);
}

static int take_one(struct worker *w) {
    int rc = rota_mutex_lock(&mutex);
    (void)w;
    if (rc < 0)
        return rc;
    while (store == 0 && (rc = rota_cond_wait(&cond, &mutex)) == 0)
        ;
    holds(mutex.owner_ == rota_self(), SEEDED "%d without the mutex", seed, rc);
    if (rc == 0) {
        store--;
        taken++;
    }
    cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    return rc;
}

enum { TAKES = WORKERS * STEPS / 4 };

static intptr_t taker(void *w) {
    while (taken < TAKES) {
        (void)in_scope(w, take_one);
        if (below(2))
            pause_a_while();
    }
    running--;
    return 0;
}

/* Announces exactly as many as it puts down. */
static intptr_t put_things_down(void *unused) {
    (void)unused;
    for (int left = TAKES; left > 0;) {
        int n = 1 + (int)below(3);
        n = n < left ? n : left;
        cr_expect_eq(rota_mutex_lock(&mutex), 0);
        store += n;
        cr_expect_eq(rota_cond_notify(&cond, (size_t)n), 0);
        for (int64_t c = below(3); c > 0; c--)
            cancel_somebody();   /* between the notify and the unlock, the worst moment */
        cr_expect_eq(rota_mutex_unlock(&mutex), 0);
        left -= n;
        pause_a_while();
    }
    return 0;
}

/* So that all see that it is over. */
static intptr_t release_all(void *unused) {
    (void)unused;
    while (taken < TAKES)
        pause_a_while();
    cr_expect_eq(rota_mutex_lock(&mutex), 0);
    store = 1000;
    cr_expect_eq(rota_cond_notify(&cond, SIZE_MAX), 0);
    cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    return 0;
}

static intptr_t cond_model(void *unused) {
    (void)unused;
    mutex = (rota_mutex){ 0 };
    cond = (rota_cond){ 0 };
    store = taken = 0;
    rota_task *helpers[2];
    cr_expect_eq(rota_spawn(&helpers[0], put_things_down, NULL, NULL), 0);
    cr_expect_eq(rota_spawn(&helpers[1], release_all, NULL, NULL), 0);
    run_workers(taker);
    cr_expect_eq(rota_join(helpers[0], NULL), 0);
    cr_expect_eq(rota_join(helpers[1], NULL), 0);
    holds(!mutex.owner_ && !mutex.waiters_ && !cond.waiters_, SEEDED "left", seed);
    return 0;
}

Test(sync_model, condition) { rounds(cond_model, check_cond); }

/* ---- queue ---- */

enum { ITEMS = WORKERS * STEPS };

static rota_queue queue;
static int64_t slots[4];
static size_t capacity;
static signed char fate[ITEMS];       /* of each item: 1 put, 2 got */
static int n_items;
static bool ordered;                  /* one consumer, FIFO: items arrive in the order of their puts */

static int put_one(struct worker *w) {
    int64_t item = n_items++;
    (void)w;
    int rc = rota_queue_put(&queue, &item);
    if (rc < 0)
        holds(!fate[item], SEEDED "item %" PRId64 " failed with %d, and was got", seed, item, rc);
    else
        fate[item] |= 1;
    return rc;
}

static int get_one(struct worker *w) {
    int64_t item = -1;
    (void)w;
    int rc = rota_queue_get(&queue, &item);
    if (rc == -ESHUTDOWN)
        return 1;
    if (rc < 0) {
        holds(item == -1, SEEDED "an item came with %d", seed, rc);
        return rc;
    }
    holds(item >= 0 && item < n_items && !(fate[item] & 2), SEEDED "item %" PRId64 " twice", seed, item);
    fate[item] |= 2;
    if (ordered)
        served(item + 1);
    return 0;
}

static int producers;

/* The last producer closes it. */
static intptr_t queue_worker(void *arg) {
    struct worker *w = arg;
    bool produces = ordered ? w->index > 0 : w->index % 2;
    if (produces) {
        for (int i = 0; i < STEPS; i++) {
            (void)in_scope(w, put_one);
            if (below(2))
                pause_a_while();
        }
        if (--producers == 0)
            cr_expect_eq(rota_queue_close(&queue), 0);
    } else {
        while (in_scope(w, get_one) != 1)
            if (below(3) == 0)
                pause_a_while();
    }
    running--;
    return 0;
}

static void queue_round(int order, bool one_consumer, bool (*before)(const void *a, const void *b)) {
    ordered = one_consumer;
    producers = ordered ? WORKERS - 1 : WORKERS / 2;
    n_items = 0;
    last_served = 0;
    memset(fate, 0, sizeof fate);
    cr_expect_eq(rota_queue_init(&queue, slots, sizeof *slots, capacity,
                                 &(rota_queue_options){ .order = order, .before = before }), 0);
    run_workers(queue_worker);
    for (int i = 0; i < n_items; i++)
        holds(fate[i] == 0 || fate[i] == 3, SEEDED "item %d was %s", seed, i, fate[i] == 1 ? "lost" : "made up");
}

static bool larger(const void *a, const void *b) { return *(const int64_t *)a > *(const int64_t *)b; }

static intptr_t queue_model(void *unused) {
    (void)unused;
    capacity = (size_t)below(5);
    switch (below(4)) {
    case 0:  queue_round(ROTA_FIFO, true, NULL); break;
    case 1:  queue_round(ROTA_FIFO, false, NULL); break;
    case 2:  queue_round(ROTA_LIFO, false, NULL); break;
    default: capacity += capacity == 0; queue_round(ROTA_PRIORITY_QUEUE, false, larger); break;
    }
    return 0;
}

Test(sync_model, queue) { rounds(queue_model, NULL); }

/* ---- barrier: rounds of as many as there are parties, with members that give up ---- */

enum { PARTIES = 3 };

static rota_barrier barrier;
static int passed, lasts;

static int pass(struct worker *w) {
    (void)w;
    int rc = rota_barrier_wait(&barrier);
    if (rc >= 0)
        passed++;
    if (rc == 1)
        lasts++;
    size_t n = 0;
    for (const struct rota__wait *p = barrier.waiters_; p; p = p->next)
        n++;
    holds(n == barrier.waiting_ && n < PARTIES, SEEDED "%zu wait, %zu counted", seed, n, barrier.waiting_);
    return rc > 0 ? 0 : rc;
}

static intptr_t barrier_worker(void *w) {
    for (int i = 0; i < STEPS; i++) {
        (void)in_scope(w, pass);
        pause_a_while();
    }
    running--;
    return 0;
}

static intptr_t free_the_rest(void *unused) {   /* the last ones would wait for ever */
    (void)unused;
    while (running) {
        cr_expect_eq(rota_sleep(50 * ROTA_MS), 0);
        for (int i = 0; i < WORKERS; i++)
            if (workers[i].scope)
                rota_scope_cancel(workers[i].scope, "the end");
    }
    return 0;
}

static intptr_t barrier_model(void *unused) {
    (void)unused;
    cr_expect_eq(rota_barrier_init(&barrier, PARTIES), 0);
    passed = lasts = 0;
    running = 1;
    rota_task *helper;
    cr_expect_eq(rota_spawn(&helper, free_the_rest, NULL, NULL), 0);
    run_workers(barrier_worker);
    cr_expect_eq(rota_join(helper, NULL), 0);
    holds(passed == lasts * PARTIES, SEEDED "%d passed in %d rounds", seed, passed, lasts);
    return 0;
}

Test(sync_model, barrier) { rounds(barrier_model, NULL); }
