/* Every suspending call of the library, cancelled wherever it stops: see everywhere.h. */
#include "rota/combine.h"
#include "rota/generator.h"
#include "rota/sync.h"
#include "rota/thread_queue.h"
#include "tests/everywhere.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>

#define Everywhere(name) \
    Test(everywhere, name, .timeout = 300) { everywhere(&name); }

/* ---- helpers that many need ---- */

/* Tasks that were begun, and have ended. */
static int begun, ended;

static void forget_counts(void) { begun = ended = 0; }

/* Sleeps as many milliseconds as its argument says, and gives that back. */
static intptr_t counted(void *ms) {
    begun++;
    int rc = rota_sleep((intptr_t)ms * ROTA_MS);
    ended++;
    return rc < 0 ? rc : (intptr_t)ms;
}

static void all_have_ended(void) { cr_expect_eq(begun, ended, "%d were begun, %d have ended", begun, ended); }

/* Between what the target does, so that it has to wait. */
static int breathe(void) { return rota_sleep(ROTA_MS); }

/* ---- time ---- */

static intptr_t time_body(void *unused) {
    (void)unused;
    TRY(rota_sleep(5 * ROTA_MS));
    TRY(rota_yield());
    TRY(rota_sleep(0));
    TRY(rota_sleep_until(rota_now() + 1));
    return 0;
}

static const struct scenario times = { .name = "times", .body = time_body };
Everywhere(times)

/* ---- futures and tasks ---- */

static rota_future future;

static intptr_t set_future(void *value) {
    int rc = breathe();
    return rc < 0 ? rc : rota_future_set(&future, (intptr_t)value);
}

static void futures_begin(void) {
    forget_counts();
    rota_future_init(&future);
    helper(set_future, (void *)7);
}

static intptr_t futures_body(void *unused) {
    rota_task *a, *b;
    intptr_t v = 0;
    (void)unused;
    TRY(rota_future_await(&future, &v));
    cr_expect_eq(v, 7);
    cr_expect_eq(rota_spawn(&a, counted, (void *)2, NULL), 0);
    cr_expect_eq(rota_spawn(&b, counted, (void *)3, NULL), 0);
    int rc = S(rota_await(a, &v));
    cr_expect_eq(v, rc < 0 ? rc : 2);
    rota_task_release(a);
    int rc_b = S(rota_join(b, &v));
    cr_expect_eq(v, rc_b < 0 ? rc_b : 3);
    return rc < 0 ? rc : rc_b;
}

static void futures_reuse(void) {
    if (!rota_future_done(&future))
        cr_expect_eq(rota_future_set(&future, 8), 0);
    cr_expect_eq(rota_future_await(&future, NULL) < 0, false);
}

static void futures_check(void) {
    all_have_ended();
    cr_expect_null(future.waiters_);
}

static const struct scenario futures = {
    .name = "futures", .begin = futures_begin, .body = futures_body, .reuse = futures_reuse, .check = futures_check
};
Everywhere(futures)

/* ---- running several: nobody is left when the call returns ---- */

static intptr_t gather_body(void *unused) {
    rota_call calls[3] = { { .fn = counted, .arg = (void *)3 }, { .fn = counted, .arg = (void *)1 },
                           { .fn = counted, .arg = (void *)2 } };
    (void)unused;
    int rc = S(rota_gather(calls, 3, NULL));
    all_have_ended();
    for (int i = 0; rc == 0 && i < 3; i++)
        cr_expect_eq(calls[i].result, (intptr_t)calls[i].arg);
    rota_gather_options keep_going = { .keep_going = true };
    int rc_2 = S(rota_gather(calls, 3, &keep_going));
    all_have_ended();
    return rc < 0 ? rc : rc_2;
}

static const struct scenario gather = { .name = "gather", .begin = forget_counts, .body = gather_body };
Everywhere(gather)

static intptr_t counted_at(void *ms) { return counted((void *)(intptr_t)*(int *)ms); }

static intptr_t gather_map_body(void *unused) {
    int ms[4] = { 4, 1, 3, 2 };
    intptr_t results[4];
    (void)unused;
    int rc = S(rota_gather_map(counted_at, ms, 4, sizeof *ms, results, NULL));
    all_have_ended();
    for (int i = 0; rc == 0 && i < 4; i++)
        cr_expect_eq(results[i], ms[i]);
    return rc;
}

static const struct scenario gather_map = { .name = "gather_map", .begin = forget_counts, .body = gather_map_body };
Everywhere(gather_map)

static intptr_t race_body(void *unused) {
    rota_call calls[3] = { { .fn = counted, .arg = (void *)3 }, { .fn = counted, .arg = (void *)1 },
                           { .fn = counted, .arg = (void *)2 } };
    size_t winner = 9;
    int64_t started = rota_now();
    (void)unused;
    int rc = S(rota_race(calls, 3, &winner));
    all_have_ended();
    cr_expect(rc < 0 || winner == 1);
    cr_expect_leq(since(started), ROTA_MS, "the losers were cancelled");
    TRY(rota_yield());
    return rc;
}

static const struct scenario races = { .name = "races", .begin = forget_counts, .body = race_body };
Everywhere(races)

static intptr_t group_body(void *unused) {
    rota_group group;
    intptr_t slot;
    (void)unused;
    rota_group_begin(&group, NULL);
    rota_spawn_options opt = { .group = &group, .result = &slot };
    for (intptr_t i = 1; i <= 3; i++)
        cr_expect_eq(rota_spawn(NULL, counted, (void *)i, &opt), 0);
    intptr_t v = S(rota_sleep(2 * ROTA_MS));
    v = Never(rota_group_end(&group, v));
    all_have_ended();
    int rc = S(rota_yield());
    return v < 0 ? v : rc;
}

static const struct scenario group = { .name = "group", .begin = forget_counts, .body = group_body };
Everywhere(group)

/* ---- waiting for several that somebody else owns: they go on ---- */

static intptr_t wait_body(void *unused) {
    rota_task *tasks[3];
    rota_as_completed it;
    rota_as_completed_slot slots[3];
    size_t done;
    (void)unused;
    for (intptr_t i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(&tasks[i], counted, (void *)(i + 1), NULL), 0);
    int rc = S(rota_wait(tasks, 3, ROTA_FIRST, ROTA_FOREVER, &done));
    if (rc == 0)
        rc = S(rota_wait(tasks, 3, ROTA_ALL, 0, &done));
    int rc_2 = rota_as_completed_begin(&it, tasks, 3, slots);
    cr_expect_eq(rc_2, 0);
    int given = 0;
    while ((rc_2 = S(rota_as_completed_next(&it, NULL, NULL))) == 1)
        given++;
    cr_expect(rc_2 < 0 || given == 3);
    rota_as_completed_end(&it);
    if (rc == 0)
        rc = S(rota_wait(tasks, 3, ROTA_ALL, ROTA_FOREVER, &done));
    for (int i = 0; i < 3; i++)
        rota_task_release(tasks[i]);
    return rc < 0 ? rc : rc_2;
}

static const struct scenario waits = {
    .name = "waits", .begin = forget_counts, .body = wait_body, .check = all_have_ended
};
Everywhere(waits)

/* ---- limits and shields ---- */

static int cleanups_begun, cleanups_ended;

static void limits_begin(void) { cleanups_begun = cleanups_ended = 0; }

static intptr_t two_sleeps(void *unused) {
    (void)unused;
    TRY(rota_sleep(2 * ROTA_MS));
    TRY(rota_sleep(2 * ROTA_MS));
    return 5;
}

static intptr_t long_sleep(void *unused) {
    (void)unused;
    TRY(rota_sleep(100 * ROTA_MS));
    return 0;
}

static intptr_t cleanup(void *unused) {
    (void)unused;
    cleanups_begun++;
    int rc = S(rota_sleep(ROTA_MS));
    cr_expect_eq(rc, 0, "%d: hidden by the shield", rc);
    rc = S(rota_yield());
    cr_expect_eq(rc, 0);
    cleanups_ended++;
    return rc;
}

static intptr_t limits_body(void *unused) {
    (void)unused;
    intptr_t v = Never(rota_timeout(10 * ROTA_MS, two_sleeps, NULL));
    cr_expect(v == 5 || v == -ECANCELED, "%ld", (long)v);
    if (v == 5) {
        v = Never(rota_timeout(10 * ROTA_MS, long_sleep, NULL));
        cr_expect(v == -ETIMEDOUT || v == -ECANCELED, "%ld", (long)v);
    }
    intptr_t w = Never(rota_shield(10 * ROTA_MS, cleanup, NULL));
    cr_expect_eq(w, 0);
    return S(rota_yield());
}

static void limits_check(void) {
    cr_expect_eq(cleanups_begun, 1);
    cr_expect_eq(cleanups_ended, 1);
}

static const struct scenario limits = {
    .name = "limits", .begin = limits_begin, .body = limits_body, .check = limits_check
};
Everywhere(limits)

/* ---- event, latch, barrier ---- */

static rota_event event;
static rota_latch latch;
static rota_barrier barrier;

static intptr_t open_gates(void *unused) {
    (void)unused;
    if (breathe() < 0)
        return 0;
    rota_event_set(&event);
    if (breathe() < 0)
        return 0;
    rota_latch_count_down(&latch, 1);
    if (breathe() < 0)
        return 0;
    int rc = rota_barrier_wait(&barrier);
    return rc < 0 && rc != -EPIPE ? rc : 0;
}

static void gates_begin(void) {
    memset(&event, 0, sizeof event);
    rota_latch_init(&latch, 1);
    cr_expect_eq(rota_barrier_init(&barrier, 2), 0);
    helper(open_gates, NULL);
}

static intptr_t gates_body(void *unused) {
    (void)unused;
    TRY(rota_event_wait(&event));
    TRY(rota_latch_wait(&latch));
    TRY(rota_barrier_wait(&barrier));
    TRY(rota_yield());
    return 0;
}

static intptr_t wait_at_barrier(void *unused) {
    (void)unused;
    return rota_barrier_wait(&barrier);
}

static void gates_reuse(void) {
    rota_call calls[2] = { { .fn = wait_at_barrier }, { .fn = wait_at_barrier } };
    rota_event_set(&event);
    cr_expect_eq(rota_event_wait(&event), 0);
    cr_expect_eq(rota_gather(calls, 2, NULL), 0);
    cr_expect_eq(calls[0].result + calls[1].result, 1);
}

static void gates_check(void) {
    cr_expect_null(event.waiters_);
    cr_expect_null(latch.waiters_);
    cr_expect_null(barrier.waiters_);
    cr_expect_eq(barrier.waiting_, 0u);
}

static const struct scenario gates = {
    .name = "gates", .begin = gates_begin, .body = gates_body, .reuse = gates_reuse, .check = gates_check
};
Everywhere(gates)

/* ---- mutex and condition ---- */

static rota_mutex mutex;
static rota_cond cond;
static int inside, signals_given;

/* Alone in there, also after a wait on the condition. */
static void enter_section(void) { cr_expect_eq(++inside, 1); }
static void leave_section(void) { inside--; }

static intptr_t notifier(void *unused) {
    (void)unused;
    for (int i = 0; i < 3; i++) {
        if (rota_mutex_lock(&mutex) < 0)
            return 0;
        enter_section();
        int rc = breathe();
        signals_given++;
        rota_cond_notify(&cond, 1);
        leave_section();
        rota_mutex_unlock(&mutex);
        if (rc < 0 || breathe() < 0)
            return 0;
    }
    return 0;
}

static void mutexes_begin(void) {
    memset(&mutex, 0, sizeof mutex);
    memset(&cond, 0, sizeof cond);
    inside = signals_given = 0;
    helper(notifier, NULL);
}

static intptr_t mutexes_body(void *unused) {
    (void)unused;
    TRY(rota_yield());
    TRY(rota_mutex_lock(&mutex));
    enter_section();
    int rc = 0;
    for (int i = 0; rc == 0 && i < 2; i++) {
        leave_section();
        rc = S(rota_cond_wait(&cond, &mutex));
        enter_section();
        cr_expect_eq(mutex.owner_, rota_self(), "holds it on every return");
    }
    leave_section();
    cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    TRY(rota_yield());
    return rc;
}

static void mutexes_reuse(void) {
    cr_expect_eq(rota_mutex_lock(&mutex), 0);
    cr_expect_eq(rota_cond_notify(&cond, 1), 0);
    cr_expect_eq(rota_mutex_unlock(&mutex), 0);
}

static void mutexes_check(void) {
    cr_expect_null(mutex.owner_);
    cr_expect_null(mutex.waiters_);
    cr_expect_null(cond.waiters_);
    cr_expect_eq(inside, 0);
}

static const struct scenario mutexes = {
    .name = "mutexes", .begin = mutexes_begin, .body = mutexes_body, .reuse = mutexes_reuse, .check = mutexes_check
};
Everywhere(mutexes)

/* ---- semaphore and read-write lock ---- */

static rota_sem sem;
static rota_rwlock rwlock;

static intptr_t holder(void *unused) {
    (void)unused;
    int a = rota_sem_acquire(&sem), b = rota_sem_acquire(&sem), c = rota_rwlock_write(&rwlock);
    int rc = breathe();
    if (a == 0)
        rota_sem_release(&sem);
    if (b == 0)
        rota_sem_release(&sem);
    if (c == 0)
        rota_rwlock_unlock(&rwlock);
    if (rc < 0 || rota_rwlock_read(&rwlock) < 0)
        return 0;
    rc = rota_sleep(3 * ROTA_MS);
    rota_rwlock_unlock(&rwlock);
    return 0;
}

static void permits_begin(void) {
    memset(&rwlock, 0, sizeof rwlock);
    rota_sem_init(&sem, 2, 2);
    helper(holder, NULL);
}

static intptr_t permits_body(void *unused) {
    (void)unused;
    TRY(rota_yield());
    TRY(rota_sem_acquire(&sem));
    int rc = S(rota_sem_acquire(&sem));
    rota_sem_release(&sem);
    if (rc < 0)
        return rc;
    rc = S(rota_rwlock_read(&rwlock));
    rota_sem_release(&sem);
    if (rc < 0)
        return rc;
    rc = S(rota_yield());
    rota_rwlock_unlock(&rwlock);
    if (rc < 0)
        return rc;
    TRY(rota_rwlock_write(&rwlock));
    rc = S(rota_sleep(1));
    rota_rwlock_unlock(&rwlock);
    return rc;
}

static void permits_reuse(void) {
    cr_expect_eq(rota_sem_acquire(&sem), 0);
    cr_expect_eq(rota_sem_acquire(&sem), 0);
    cr_expect_eq(rota_sem_release_many(&sem, 2), 0);
    cr_expect_eq(rota_rwlock_write(&rwlock), 0);
    cr_expect_eq(rota_rwlock_unlock(&rwlock), 0);
}

static void permits_check(void) {
    cr_expect_eq(rota_sem_value(&sem), 2u);
    cr_expect_null(sem.waiters_);
    cr_expect_eq(rwlock.readers_, 0u);
    cr_expect_null(rwlock.writer_.owner_);
    cr_expect_null(rwlock.writer_.waiters_);
}

static const struct scenario permits = {
    .name = "permits", .begin = permits_begin, .body = permits_body, .reuse = permits_reuse, .check = permits_check
};
Everywhere(permits)

/* ---- queues: what was put was got, or is still there ---- */

static rota_queue out, in;
static int out_items[4], in_items[4];
static int out_put, out_got, in_put, in_got, finished;

static intptr_t take_out(void *unused) {
    int item;
    (void)unused;
    for (int i = 0; i < 5; i++) {
        if (breathe() < 0 || rota_queue_get(&out, &item) < 0)
            return 0;
        out_got++;
        int rc = breathe();
        rota_queue_task_done(&out);
        finished++;
        if (rc < 0)
            return 0;
    }
    return 0;
}

static intptr_t put_in(void *unused) {
    (void)unused;
    for (int i = 0; i < 4; i++) {
        if (rota_sleep(10 * ROTA_MS) < 0 || rota_queue_put(&in, &i) < 0)
            return 0;
        in_put++;
    }
    return 0;
}

static bool is_less(const void *a, const void *b) { return *(const int *)a < *(const int *)b; }

static void queues_begin_with(int order, size_t capacity) {
    rota_queue_options opt = { .order = order, .before = is_less };
    out_put = out_got = in_put = in_got = finished = 0;
    cr_expect_eq(rota_queue_init(&out, out_items, sizeof(int), capacity, &opt), 0);
    cr_expect_eq(rota_queue_init(&in, in_items, sizeof(int), capacity, &opt), 0);
    helper(take_out, NULL);
    helper(put_in, NULL);
}

static void fifo_begin(void) { queues_begin_with(ROTA_FIFO, 2); }
static void lifo_begin(void) { queues_begin_with(ROTA_LIFO, 2); }
static void priority_begin(void) { queues_begin_with(ROTA_PRIORITY_QUEUE, 2); }
static void rendezvous_begin(void) { queues_begin_with(ROTA_FIFO, 0); }

static intptr_t queues_body(void *unused) {
    int item;
    (void)unused;
    for (int i = 0; i < 5; i++) {
        TRY(rota_queue_put(&out, &i));
        out_put++;
    }
    TRY(rota_queue_join(&out));
    cr_expect_eq(finished, 5);
    for (int i = 0; i < 3; i++) {
        TRY(rota_queue_get(&in, &item));
        in_got++;
    }
    return 0;
}

static intptr_t put_one(void *queue) { return rota_queue_put(queue, &(int){ 1 }); }
static intptr_t get_one(void *queue) { return rota_queue_get(queue, &(int){ 0 }); }

static void queues_reuse(void) {
    rota_call calls[2] = { { .fn = get_one, .arg = &in }, { .fn = put_one, .arg = &in } };
    cr_expect_eq(rota_gather(calls, 2, NULL), 0);
}

static void queues_check(void) {
    cr_expect_eq(out_put, out_got + (int)rota_queue_size(&out), "%d put, %d got, %zu left", out_put, out_got,
                 rota_queue_size(&out));
    cr_expect_eq(in_put, in_got + (int)rota_queue_size(&in), "%d put, %d got, %zu left", in_put, in_got,
                 rota_queue_size(&in));
    cr_expect_eq((int)out.unfinished_, out_put - finished);
    cr_expect(!out.getters_ && !out.putters_ && !out.joiners_ && !in.getters_ && !in.putters_ && !in.joiners_);
}

#define QUEUES(kind)                                                                                      \
    static const struct scenario kind = { .name = #kind, .begin = kind##_begin, .body = queues_body,       \
                                          .reuse = queues_reuse, .check = queues_check };                 \
    Everywhere(kind)
QUEUES(fifo)
QUEUES(lifo)
QUEUES(priority)
QUEUES(rendezvous)

/* ---- queues between threads, used from one ---- */

static rota_thread_queue *t_out, *t_in;

static intptr_t take_out_t(void *unused) {
    int item;
    (void)unused;
    while (breathe() == 0 && rota_thread_queue_get(t_out, &item) == 0)
        out_got++;
    return 0;
}

static intptr_t put_in_t(void *unused) {
    (void)unused;
    for (int i = 0; i < 3; i++) {
        if (rota_sleep(10 * ROTA_MS) < 0 || rota_thread_queue_put(t_in, &i) < 0)
            return 0;
        in_put++;
    }
    return 0;
}

static void thread_queues_begin(void) {
    rota_thread_queue_options opt = { .allocator = &memory_allocator };
    out_put = out_got = in_put = in_got = 0;
    cr_expect_eq(rota_thread_queue_new(&t_out, sizeof(int), 1, &opt), 0);
    cr_expect_eq(rota_thread_queue_new(&t_in, sizeof(int), 0, &opt), 0);
    helper(take_out_t, NULL);
    helper(put_in_t, NULL);
}

static intptr_t thread_queues_body(void *unused) {
    int item;
    (void)unused;
    for (int i = 0; i < 4; i++) {
        TRY(rota_thread_queue_put(t_out, &i));
        out_put++;
    }
    for (int i = 0; i < 2; i++) {
        TRY(rota_thread_queue_get(t_in, &item));
        in_got++;
    }
    return 0;
}

static void thread_queues_reuse(void) {
    int item;
    if (rota_thread_queue_size(t_out) == 0) {
        cr_expect_eq(rota_thread_queue_put(t_out, &(int){ 1 }), 0);
        out_put++;
    }
    cr_expect_eq(rota_thread_queue_get(t_out, &item), 0);
    out_got++;
}

static void thread_queues_end(void) {
    cr_expect_eq(out_put, out_got + (int)rota_thread_queue_size(t_out));
    cr_expect_eq(in_put, in_got + (int)rota_thread_queue_size(t_in));
    cr_expect_eq(rota_thread_queue_free(t_out), 0, "somebody waits");
    cr_expect_eq(rota_thread_queue_free(t_in), 0, "somebody waits");
}

static const struct scenario thread_queues = {
    .name = "thread_queues", .begin = thread_queues_begin, .body = thread_queues_body, .reuse = thread_queues_reuse,
    .end = thread_queues_end
};
Everywhere(thread_queues)

/* ---- select: one of many, and nothing of the others ---- */

static int select_fds[2];
static int permits_taken;

static intptr_t offer(void *unused) {
    int item;
    (void)unused;
    if (breathe() < 0)
        return 0;
    in_put += rota_queue_try_put(&in, &(int){ 1 }) == 0;
    if (breathe() < 0)
        return 0;
    out_got += rota_queue_try_get(&out, &item) == 0;
    if (breathe() < 0)
        return 0;
    rota_sem_release(&sem);
    if (breathe() < 0)
        return 0;
    rota_mutex_unlock(&mutex);
    if (breathe() < 0)
        return 0;
    rota_event_set(&event);
    return 0;
}

/* Holds the mutex from the start, and gives it back although it is cancelled. */
static intptr_t offer_holding(void *unused) {
    int rc = rota_mutex_try_lock(&mutex);
    (void)unused;
    rc = rc < 0 ? rc : (int)offer(NULL);
    if (mutex.owner_ == rota_self())
        rota_mutex_unlock(&mutex);
    return rc;
}

static intptr_t offer_later(void *unused) {
    (void)unused;
    if (rota_sleep(20 * ROTA_MS) < 0)
        return 0;
    if (rota_future_set(&future, 3) < 0 || breathe() < 0)
        return 0;
    cr_expect_eq(write(select_fds[1], "x", 1), 1);
    return 0;
}

static void select_begin(void) {
    memset(&mutex, 0, sizeof mutex);
    memset(&event, 0, sizeof event);
    rota_future_init(&future);
    rota_sem_init(&sem, 0, 1);
    out_put = out_got = in_put = in_got = permits_taken = 0;
    ROTA_QUEUE_INIT(&in, in_items);
    cr_expect_eq(rota_queue_init(&out, out_items, sizeof(int), 1, NULL), 0);
    cr_expect_eq(rota_queue_try_put(&out, &(int){ 0 }), 0);
    out_put = 1;
    unix_pair(select_fds);
    helper(offer_holding, NULL);
    helper(offer_later, NULL);
}

static void won(const rota_clause *clause) {
    if (clause->kind == ROTA_SELECT_GET)
        in_got++;
    else if (clause->kind == ROTA_SELECT_PUT)
        out_put++;
    else if (clause->kind == ROTA_SELECT_ACQUIRE)
        permits_taken++;
    else if (clause->kind == ROTA_SELECT_LOCK)
        cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    else if (clause->kind == ROTA_SELECT_EVENT)
        rota_event_clear(&event);
}

static intptr_t select_body(void *unused) {
    int got = 0, put = 9;
    intptr_t value = 0;
    rota_clause clauses[7] = {
        { .kind = ROTA_SELECT_GET, .object = &in, .item = &got }, { .kind = ROTA_SELECT_PUT, .object = &out, .item = &put },
        { .kind = ROTA_SELECT_ACQUIRE, .object = &sem },          { .kind = ROTA_SELECT_LOCK, .object = &mutex },
        { .kind = ROTA_SELECT_EVENT, .object = &event },          { .kind = ROTA_SELECT_FD, .fd = select_fds[0], .events = ROTA_READ },
        { .kind = ROTA_SELECT_FUTURE, .object = &future, .item = &value },
    };
    (void)unused;
    TRY(rota_yield());
    for (int i = 0; i < 7; i++) {
        int index = S(rota_select(clauses, 7));
        if (index < 0)
            return index;
        won(&clauses[index]);
        if (index == 3 || index == 6) /* they could go again at once: no more of them */
            clauses[index] = clauses[4];
    }
    return 0;
}

static void select_reuse(void) {
    int item;
    cr_expect_eq(rota_mutex_lock(&mutex), 0);
    cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    if (rota_queue_size(&in) == 0 && rota_queue_try_put(&in, &(int){ 1 }) == 0)
        in_put++;
    cr_expect_eq(rota_queue_get(&in, &item), 0);
    in_got++;
    cr_expect_eq(write(select_fds[1], "y", 1), 1);
    cr_expect_gt(rota_read(select_fds[0], &(char){ 0 }, 1), 0);
}

static void select_end(void) {
    rota_close(select_fds[0]);
    rota_close(select_fds[1]);
}

static void select_check(void) {
    cr_expect_eq(out_put, out_got + (int)rota_queue_size(&out), "%d put, %d got, %zu left", out_put, out_got,
                 rota_queue_size(&out));
    cr_expect_eq(in_put, in_got + (int)rota_queue_size(&in));
    cr_expect(permits_taken + (int)rota_sem_value(&sem) <= 1);
    cr_expect_null(mutex.owner_);
    cr_expect(!in.getters_ && !out.putters_ && !sem.waiters_ && !mutex.waiters_ && !event.waiters_ && !future.waiters_);
}

static const struct scenario selects = {
    .name = "selects", .begin = select_begin, .body = select_body, .reuse = select_reuse, .end = select_end,
    .check = select_check
};
Everywhere(selects)

/* ---- generators: what was opened is cleaned up ---- */

static int bodies_begun, bodies_ended;

static intptr_t numbers(rota_gen *self, void *unused) {
    int rc = 0;
    (void)unused;
    bodies_begun++;
    for (intptr_t i = 0; rc == 0 && i < 9; i++) {
        rc = S(rota_sleep(ROTA_MS));
        if (rc == 0)
            rc = rota_gen_yield(self, i, NULL);
        if (rc == -EIO)
            rc = 0; /* thrown in: goes on */
    }
    (void)S(rota_yield()); /* cleanup that waits; refused when the driver is */
    bodies_ended++;
    return rc == -ECANCELED ? 0 : rc;
}

static intptr_t generators_body(void *unused) {
    rota_gen gen;
    intptr_t v = 0;
    (void)unused;
    cr_expect_eq(rota_gen_open(&gen, numbers, NULL, NULL), 0);
    int rc = S(rota_gen_next(&gen, &v));
    if (rc >= 0)
        rc = S(rota_gen_send(&gen, 5, &v));
    if (rc >= 0)
        rc = S(rota_gen_throw(&gen, -EIO, &v));
    int closed = Never(rota_gen_close(&gen));
    cr_expect_eq(closed, 0);
    cr_expect_eq(bodies_begun, bodies_ended);
    TRY(rota_yield());
    return rc;
}

static void generators_begin(void) { bodies_begun = bodies_ended = 0; }

static const struct scenario generators = {
    .name = "generators", .begin = generators_begin, .body = generators_body
};
Everywhere(generators)

/* ---- signals ---- */

static rota_signals signals;
static int raised, taken;

static intptr_t raiser(void *unused) {
    (void)unused;
    for (int i = 0; i < 2; i++) {
        if (rota_sleep(10 * ROTA_MS) < 0)
            return 0;
        raised++;
        raise(i ? SIGUSR2 : SIGUSR1);
    }
    return 0;
}

static void signals_begin(void) {
    raised = taken = 0;
    cr_expect_eq(rota_signals_open(&signals, ROTA_SIGNAL(SIGUSR1) | ROTA_SIGNAL(SIGUSR2)), 0);
    helper(raiser, NULL);
}

static intptr_t signals_body(void *unused) {
    (void)unused;
    for (int i = 0; i < 2; i++) {
        int signo = S(rota_signals_wait(&signals));
        if (signo < 0)
            return signo;
        cr_expect_eq(signo, i ? SIGUSR2 : SIGUSR1);
        taken++;
    }
    return S(rota_yield());
}

/* One that was raised and not taken is there for the next one who waits. */
static void signals_reuse(void) {
    for (; taken < raised; taken++)
        cr_expect_gt(rota_signals_wait(&signals), 0);
    raise(SIGUSR1);
    cr_expect_eq(rota_signals_wait(&signals), SIGUSR1);
}

static void signals_end(void) { cr_expect_eq(rota_signals_close(&signals), 0); }

static void signals_check(void) {
    struct sigaction now;
    sigaction(SIGUSR1, NULL, &now);
    cr_expect(now.sa_handler == SIG_DFL);
    cr_expect_null(signals.waiter_);
}

static const struct scenario signal_sets = {
    .name = "signal_sets", .begin = signals_begin, .body = signals_body, .reuse = signals_reuse, .end = signals_end,
    .check = signals_check
};
Everywhere(signal_sets)

/* ---- descriptors: every byte that was written is read, or still there ---- */

enum { MUCH = 300 * 1024 };

static int ends[2];                    /* the target's, the peer's */
static size_t sent, received;          /* by the target and by the peer; */
static size_t sent_back, received_back; /* the other way */
static unsigned char much[MUCH], room[MUCH];

static size_t drain_now(int fd) {
    unsigned char buf[4096];
    size_t n = 0;
    for (ssize_t rc; (rc = recv(fd, buf, sizeof buf, MSG_DONTWAIT)) > 0;)
        n += (size_t)rc;
    return n;
}

static intptr_t read_all(void *unused) {
    unsigned char buf[8192];
    ssize_t n;
    (void)unused;
    for (;;) {
        if (breathe() < 0 || (n = rota_read(ends[1], buf, sizeof buf)) <= 0)
            return 0;
        received += (size_t)n;
    }
}

static intptr_t answer(void *unused) {
    (void)unused;
    for (int i = 0; i < 6; i++) {
        size_t done = 0;
        int rc = rota_sleep(50 * ROTA_MS);
        if (rc == 0)
            rc = rota_write_all(ends[1], "answer", 6, &done);
        sent_back += done;
        if (rc < 0)
            return 0;
    }
    return 0;
}

static void pair_begin(void) {
    int small = 4096;
    sent = received = sent_back = received_back = 0;
    unix_pair(ends);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
}

static void descriptors_begin(void) {
    pair_begin();
    helper(read_all, NULL);
    helper(answer, NULL);
}

static intptr_t descriptors_body(void *unused) {
    char buf[8];
    size_t done = 0;
    struct iovec out_parts[2] = { { much, 20000 }, { much, 20000 } }, in_parts[2] = { { buf, 3 }, { buf + 3, 3 } };
    (void)unused;
    ssize_t n = S(rota_write(ends[0], "hello", 5));
    sent += n > 0 ? (size_t)n : 0;
    n = S(rota_writev(ends[0], out_parts, 2));
    sent += n > 0 ? (size_t)n : 0;
    int rc = S(rota_write_all(ends[0], much, MUCH, &done));
    sent += done;
    cr_expect(rc < 0 || done == MUCH);
    n = S(rota_write(ends[0], much, 5000));
    sent += n > 0 ? (size_t)n : 0;
    n = S(rota_read(ends[0], buf, 6));
    received_back += n > 0 ? (size_t)n : 0;
    n = S(rota_readv(ends[0], in_parts, 2));
    received_back += n > 0 ? (size_t)n : 0;
    rc = S(rota_read_exact(ends[0], buf, 8, &done));
    received_back += done;
    cr_expect(rc < 0 || done == 8);
    if (received_back == 20) { /* the rest of the third answer is still there */
        n = S(rota_read(ends[0], buf, 8));
        received_back += n > 0 ? (size_t)n : 0;
    }
    return S(rota_poll(ends[0], ROTA_READ));
}

static void descriptors_reuse(void) {
    received += drain_now(ends[1]);
    received_back += drain_now(ends[0]);
    cr_expect_eq(rota_write_all(ends[1], "again", 5, NULL), 0);
    cr_expect_eq(rota_read_exact(ends[0], room, 5, NULL), 0);
    cr_expect_str_eq((char *)room, "again");
    cr_expect_eq(rota_write_all(ends[0], "again", 5, NULL), 0);
    cr_expect_eq(rota_read_exact(ends[1], room, 5, NULL), 0);
}

static void pair_end(void) {
    received += drain_now(ends[1]);
    received_back += drain_now(ends[0]);
    rota_close(ends[0]);
    rota_close(ends[1]);
}

static void pair_check(void) {
    cr_expect_eq(sent, received, "%zu bytes sent, %zu received", sent, received);
    cr_expect_eq(sent_back, received_back, "%zu bytes sent back, %zu received", sent_back, received_back);
}

static const struct scenario descriptors = {
    .name = "descriptors", .begin = descriptors_begin, .body = descriptors_body, .reuse = descriptors_reuse,
    .end = pair_end, .check = pair_check
};
Everywhere(descriptors)

/* ---- streams ---- */

static rota_stream stream;

static intptr_t send_lines(void *unused) {
    static const char *const lines[] = { "one\n", "tw", "o\n", "thr;", "eefo", "urfive", "six" };
    (void)unused;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (rota_sleep(50 * ROTA_MS) < 0 || rota_write_all(ends[1], lines[i], strlen(lines[i]), NULL) < 0)
            return 0;
    return 0;
}

static void streams_begin(void) {
    pair_begin();
    cr_expect_eq(rota_stream_open(&stream, ends[0], &(rota_stream_options){ .buffer_size = 64, .high_water = 4096 }), 0);
    helper(read_all, NULL);
    helper(send_lines, NULL);
}

static intptr_t streams_body(void *unused) {
    const char *line;
    char buf[8];
    size_t done;
    (void)unused;
    int rc = S(rota_stream_write(&stream, much, 100000));
    sent += stream.taken;
    if (rc < 0)
        return rc;
    TRY(rota_stream_drain(&stream));
    TRY(rota_stream_line(&stream, 0, &line));
    cr_expect_str_eq(line, "one");
    TRY(rota_stream_line(&stream, 0, &line));
    cr_expect_str_eq(line, "two");
    TRY(rota_stream_until(&stream, ";", 1, 0, &line, NULL));
    rc = S(rota_stream_read_exact(&stream, buf, 6, &done));
    cr_expect(rc < 0 || (done == 6 && memcmp(buf, "eefour", 6) == 0));
    if (rc < 0)
        return rc;
    ssize_t n = S(rota_stream_read(&stream, buf, 8));
    if (n < 0)
        return n;
    n = S(rota_stream_read(&stream, buf, 8));
    if (n < 0)
        return n;
    rc = S(rota_stream_write(&stream, much, 60000));
    sent += stream.taken;
    if (rc < 0)
        return rc;
    TRY(rota_stream_shutdown(&stream));
    return 0;
}

/* What a call took goes out though its task was cancelled. */
static void streams_reuse(void) {
    unsigned char buf[4096];
    rota_scope limit;
    ssize_t n = 1;
    rota_timeout_begin(&limit, ROTA_MS);
    while (n > 0 && received < sent)
        received += (n = rota_read(ends[1], buf, sizeof buf)) > 0 ? (size_t)n : 0;
    n = rota_scope_end(&limit, n);
    cr_expect_eq(sent, received, "%zu bytes taken, %zu received", sent, received);
    int rc = rota_stream_write(&stream, "x", 1);
    cr_expect(rc == 0 || rc == -EPIPE, "%d: it was shut down, or serves the next one", rc);
}

static void streams_end(void) {
    cr_expect_eq(rota_stream_close(&stream), 0);
    rota_close(ends[1]);
}

static const struct scenario streams = {
    .name = "streams", .begin = streams_begin, .body = streams_body, .reuse = streams_reuse, .end = streams_end
};
Everywhere(streams)

/* ---- TCP: no descriptor is left, whoever had it ---- */

static int port, listening_fd, hole, fillers[2];

/* Connects without a word, so that somebody is there to be accepted. */
static intptr_t knock(void *unused) {
    int fds[2] = { -1, -1 };
    (void)unused;
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in a = loopback(port);
        if (breathe() < 0)
            break;
        fds[i] = nonblocking(socket(AF_INET, SOCK_STREAM, 0));
        (void)connect(fds[i], (struct sockaddr *)&a, sizeof a);
    }
    (void)!rota_sleep(ROTA_S);
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return 0;
}

static void tcp_begin(void) {
    listening_fd = raw_listener(8);
    port = port_of(listening_fd);
    hole = black_hole(fillers);
    helper(knock, NULL);
}

static intptr_t connect_to_the_hole(void *unused) {
    struct sockaddr_in a = loopback(port_of(hole));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)unused;
    int rc = S(rota_connect(fd, (struct sockaddr *)&a, sizeof a));
    cr_expect(is_open(fd), "stays the caller's");
    rota_close(fd);
    return rc;
}

static intptr_t dial_the_hole(void *unused) {
    char service[8];
    (void)unused;
    snprintf(service, sizeof service, "%d", port_of(hole));
    int fd = S(rota_dial("127.0.0.1", service, NULL));
    if (fd >= 0)
        rota_close(fd);
    return fd;
}

static intptr_t tcp_body(void *unused) {
    char service[8];
    (void)unused;
    for (int i = 0; i < 2; i++) {
        int fd = S(rota_accept(listening_fd, NULL, NULL));
        if (fd < 0)
            return fd;
        rota_close(fd);
    }
    intptr_t v = Never(rota_timeout(20 * ROTA_MS, connect_to_the_hole, NULL));
    cr_expect(v == -ETIMEDOUT || v == -ECANCELED, "%ld", (long)v);
    v = Never(rota_timeout(20 * ROTA_MS, dial_the_hole, NULL));
    cr_expect(v == -ETIMEDOUT || v == -ECANCELED, "%ld", (long)v);
    snprintf(service, sizeof service, "%d", port);
    int fd = S(rota_dial("127.0.0.1", service, NULL));
    if (fd >= 0)
        rota_close(fd);
    TRY(rota_yield());
    return fd < 0 ? fd : 0;
}

static void tcp_reuse(void) {
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), peer;
    cr_expect_eq(rota_connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    cr_expect_geq(peer = rota_accept(listening_fd, NULL, NULL), 0);
    rota_close(fd);
    rota_close(peer);
}

static void tcp_end(void) {
    rota_close(listening_fd);
    close(hole);
    for (int i = 0; i < 2; i++)
        close(fillers[i]);
}

static const struct scenario tcp = {
    .name = "tcp", .begin = tcp_begin, .body = tcp_body, .reuse = tcp_reuse, .end = tcp_end
};
Test(everywhere, tcp, .timeout = 300, .disabled = NOT_LINUX) { everywhere(&tcp); }

/* ---- names, which threads look up ---- */

/* Not the machine's own name service: what that opens and how long it takes is no part of this. */
static int look_up_here(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    return rota__sys_real.getaddrinfo(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, service, hints, list);
}

static struct rota__sys names_sys;

static void names_init(void) {
    names_sys = *rota__sys;
    names_sys.getaddrinfo = look_up_here;
    rota__sys = &names_sys;
}

static void names_begin(void) {
    listening_fd = raw_listener(8);
    port = port_of(listening_fd);
}

static intptr_t names_body(void *unused) {
    rota_address addresses[4];
    char service[8];
    (void)unused;
    int n = S(rota_resolve("localhost", "80", AF_INET, addresses, 4));
    int fd = S(rota_listen("localhost", "0", NULL));
    if (fd >= 0)
        rota_close(fd);
    snprintf(service, sizeof service, "%d", port);
    int fd_2 = S(rota_dial("localhost", service, &(rota_dial_options){ .family = AF_INET }));
    if (fd_2 >= 0)
        rota_close(fd_2);
    int rc = S(rota_yield());
    return n < 0 ? n : fd < 0 ? fd : fd_2 < 0 ? fd_2 : rc;
}

static void names_end(void) { rota_close(listening_fd); }

static const struct scenario names = {
    .name = "names", .begin = names_begin, .body = names_body, .end = names_end, .threads = true
};
Test(everywhere, names, .init = names_init, .timeout = 300) { everywhere(&names); }

/* ---- a server: its clients have ended when it returns ---- */

static void note_port(int fd, void *arg) {
    (void)arg;
    port = port_of(fd);
}

static intptr_t echo(int fd, void *arg) {
    char buf[16];
    ssize_t n;
    (void)arg;
    begun++;
    while ((n = rota_read(fd, buf, sizeof buf)) > 0 && (n = rota_write_all(fd, buf, (size_t)n, NULL)) == 0)
        ;
    ended++;
    return n;
}

static intptr_t client(void *unused) {
    char service[8], buf[8];
    (void)unused;
    for (int i = 0; i < 3; i++) {
        if (breathe() < 0)
            return 0;
        snprintf(service, sizeof service, "%d", port);
        int fd = rota_dial("127.0.0.1", service, NULL);
        if (fd < 0)
            continue;
        if (rota_write_all(fd, "ping", 4, NULL) == 0)
            (void)!rota_read_exact(fd, buf, 4, NULL);
        (void)!breathe();
        rota_close(fd);
    }
    return 0;
}

static intptr_t serve(void *drain) {
    rota_serve_options opt = { .listening = note_port, .max_clients = 2, .drain = (intptr_t)drain * ROTA_MS };
    int rc = S(rota_serve("127.0.0.1", "0", echo, NULL, &opt));
    all_have_ended();
    return rc;
}

static void servers_begin(void) {
    forget_counts();
    helper(client, NULL);
    helper(client, NULL);
}

static intptr_t servers_body(void *unused) {
    (void)unused;
    intptr_t v = Never(rota_timeout(20 * ROTA_MS, serve, NULL));
    cr_expect(v == -ETIMEDOUT || v == -ECANCELED, "%ld", (long)v);
    v = Never(rota_timeout(20 * ROTA_MS, serve, (void *)5));
    cr_expect(v == -ETIMEDOUT || v == -ECANCELED, "%ld", (long)v);
    return S(rota_yield());
}

static const struct scenario servers = { .name = "servers", .begin = servers_begin, .body = servers_body };
Everywhere(servers)

/* ---- the list ---- */

/* Every public call that may suspend. tests/everywhere/check.py holds it against the headers. */
static const char *const suspending[] = {
    "rota_accept", "rota_as_completed_next", "rota_await", "rota_barrier_wait", "rota_cond_wait", "rota_connect",
    "rota_dial", "rota_event_wait", "rota_future_await", "rota_gather", "rota_gather_map", "rota_gen_close",
    "rota_gen_next", "rota_gen_send", "rota_gen_throw", "rota_group_end", "rota_join", "rota_latch_wait",
    "rota_listen", "rota_mutex_lock", "rota_poll", "rota_queue_get", "rota_queue_join", "rota_queue_put",
    "rota_race", "rota_read", "rota_read_exact", "rota_readv", "rota_resolve", "rota_rwlock_read",
    "rota_rwlock_write", "rota_select", "rota_sem_acquire", "rota_serve", "rota_shield", "rota_signals_wait",
    "rota_sleep", "rota_sleep_until", "rota_stream_drain", "rota_stream_line", "rota_stream_read",
    "rota_stream_read_exact", "rota_stream_shutdown", "rota_stream_until", "rota_stream_write",
    "rota_thread_queue_get", "rota_thread_queue_put", "rota_timeout", "rota_wait", "rota_write", "rota_write_all",
    "rota_writev", "rota_yield",
};

static const struct scenario *const scenarios[] = {
    &times, &futures, &gather, &gather_map, &races, &group, &waits, &limits, &gates, &mutexes, &permits, &fifo, &lifo,
    &priority, &rendezvous, &thread_queues, &selects, &generators, &signal_sets, &descriptors, &streams, &tcp, &names,
    &servers,
};

Test(everywhere, every_suspending_call_is_in_a_scenario, .disabled = NOT_LINUX) {
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        everywhere_once(scenarios[i]);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
}
