/* Select: exactly one clause has its effect, whatever happens in the same turn. */
#include "tests/support.h"

#include <sys/socket.h>
#include <unistd.h>

#include "coro/task.h"
#include "rota/combine.h"

#define GET(q, to)      { .kind = ROTA_SELECT_GET, .object = (q), .item = (to) }
#define PUT(q, from)    { .kind = ROTA_SELECT_PUT, .object = (q), .item = (from) }
#define ACQUIRE(s)      { .kind = ROTA_SELECT_ACQUIRE, .object = (s) }
#define LOCK(m)         { .kind = ROTA_SELECT_LOCK, .object = (m) }
#define EVENT(e)        { .kind = ROTA_SELECT_EVENT, .object = (e) }
#define FUTURE(f, to)   { .kind = ROTA_SELECT_FUTURE, .object = (f), .item = (to) }
#define FD(d, mask)     { .kind = ROTA_SELECT_FD, .fd = (d), .events = (mask) }
#define COUNT(array)    (sizeof(array) / sizeof(array)[0])

/* One of each object, and a task that selects over clauses. */
static rota_queue q, q2;
static int q_items[1], q2_items[1];
static rota_sem sem;
static rota_mutex mutex;
static rota_event event;
static rota_future future;

static void fresh(void) {
    ROTA_QUEUE_INIT(&q, q_items);
    ROTA_QUEUE_INIT(&q2, q2_items);
    rota_sem_init(&sem, 0, 2);
    mutex = (rota_mutex){ 0 };
    event = (rota_event){ 0 };
    rota_future_init(&future);
}

/* Nobody is left in any queue. */
static void expect_no_waiters(void) {
    cr_expect_null(q.getters_);
    cr_expect_null(q.putters_);
    cr_expect_null(q2.getters_);
    cr_expect_null(q2.putters_);
    cr_expect_null(sem.waiters_);
    cr_expect_null(mutex.waiters_);
    cr_expect_null(event.waiters_);
    cr_expect_null(future.waiters_);
}

struct selector {
    rota_clause *clauses;
    size_t n;
    int rc, after;
};

static intptr_t select_once(void *arg) {
    struct selector *s = arg;
    s->rc = rota_select(s->clauses, s->n);
    note('s');
    if (s->rc >= 0 && s->clauses[s->rc].kind == ROTA_SELECT_LOCK && s->clauses[s->rc].result == 0)
        rota_mutex_unlock(s->clauses[s->rc].object);
    s->after = rota_yield();
    return 0;
}

static rota_task *begin_select(struct selector *s) {
    rota_task *task;
    cr_expect_eq(rota_spawn(&task, select_once, s, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    return task;
}

static void end_select(rota_task *task) {
    cr_expect_eq(rota_join(task, NULL), 0);
    expect_no_waiters();
}

/* ---- each kind, at once ---- */

Task_test(select, of_several_that_can_go_the_first_does_and_no_other) {
    int item = 5, got = 0;
    intptr_t value = 0;
    fresh();
    cr_expect_eq(rota_queue_put(&q, &item), 0);
    rota_sem_release(&sem);
    cr_expect_eq(rota_future_set(&future, 3), 0);
    rota_event_set(&event);
    rota_clause c[] = { PUT(&q, &item), GET(&q, &got), ACQUIRE(&sem), LOCK(&mutex), EVENT(&event),
                        FUTURE(&future, &value) };
    cr_expect_eq(rota_select(c, COUNT(c)), 1, "the queue is full: nothing can be put");
    cr_expect(got == 5 && c[1].result == 0 && rota_queue_size(&q) == 0);
    cr_expect(rota_sem_value(&sem) == 1 && !mutex.owner_ && value == 0);
    cr_expect_eq(rota_select(c, COUNT(c)), 0, "the same clauses again: now there is room");
    cr_expect_eq(rota_select(c + 2, 4), 0);
    cr_expect_eq(rota_sem_value(&sem), 0u);
    cr_expect_eq(rota_select(c + 2, 4), 1);
    cr_expect_eq(mutex.owner_, rota_self());
    cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    cr_expect_eq(rota_select(c + 4, 2), 0);
    cr_expect_eq(rota_select(c + 5, 1), 0);
    cr_expect_eq(value, 3);
    expect_no_waiters();
    return 0;
}

Task_test(select, errors_of_the_calls_themselves_can_go) {
    int got = 0;
    fresh();
    rota_queue_close(&q);
    rota_clause c = GET(&q, &got);
    cr_expect_eq(rota_select(&c, 1), 0);
    cr_expect_eq(c.result, -ESHUTDOWN);
    c = (rota_clause)PUT(&q, &got);
    cr_expect_eq(rota_select(&c, 1), 0);
    cr_expect_eq(c.result, -ESHUTDOWN);
    cr_expect_eq(rota_mutex_lock(&mutex), 0);
    c = (rota_clause)LOCK(&mutex);
    cr_expect_eq(rota_select(&c, 1), 0);
    cr_expect_eq(c.result, -EDEADLK);
    cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    cr_expect_eq(rota_future_close(&future), 0);
    c = (rota_clause)FUTURE(&future, NULL);
    cr_expect_eq(rota_select(&c, 1), 0);
    cr_expect_eq(c.result, -ESHUTDOWN);
    c = (rota_clause)FD(-1, ROTA_READ);
    cr_expect_eq(rota_select(&c, 1), 0);
    cr_expect_eq(c.result, -EBADF);
    return 0;
}

Task_test(select, a_future_has_two_channels_unless_they_are_merged) {
    intptr_t value = 0;
    fresh();
    cr_expect_eq(rota_future_set(&future, -EAGAIN), 0);
    rota_clause c[] = { FUTURE(&future, &value), FUTURE(&future, NULL) };
    cr_expect_eq(rota_select(c, 2), 0);
    cr_expect(c[0].result == 0 && value == -EAGAIN);
    cr_expect_eq(rota_select(c + 1, 1), 0);
    cr_expect_eq(c[1].result, -EAGAIN, "an outcome, not a try that failed");
    return 0;
}

Task_test(select, mistakes) {
    int item = 0;
    rota_clause c[] = { EVENT(&event), { .kind = 99, .object = &event } };
    fresh();
    rota_event_set(&event);
    cr_expect_eq(rota_select(NULL, 1), -EINVAL);
    cr_expect_eq(rota_select(c, 0), -EINVAL);
    cr_expect_eq(rota_select(c, 2), -EINVAL, "before anything is tried");
    const rota_clause bad[] = { GET(NULL, &item), GET(&q, NULL), PUT(&q, NULL), ACQUIRE(NULL), LOCK(NULL), EVENT(NULL),
                                FUTURE(NULL, NULL), FD(0, 0), FD(0, ROTA_EOF) };
    for (size_t i = 0; i < COUNT(bad); i++) {
        c[0] = bad[i];
        cr_expect_eq(rota_select(c, 1), -EINVAL, "clause %zu", i);
        cr_expect_eq(rota_try_select(c, 1), -EINVAL, "clause %zu", i);
    }
    return 0;
}

Task_test(select, trying_does_not_wait) {
    int got = 0, item = 4;
    fresh();
    rota_clause c[] = { GET(&q, &got), ACQUIRE(&sem), EVENT(&event), FUTURE(&future, NULL) };
    cr_expect_eq(rota_try_select(c, COUNT(c)), -EAGAIN);
    expect_no_waiters();
    cr_expect_eq(rota_queue_put(&q, &item), 0);
    cr_expect_eq(rota_try_select(c, COUNT(c)), 0);
    cr_expect_eq(got, 4);
    return 0;
}

Test(select, outside_of_a_task) {
    rota_loop *loop = open_loop();
    fresh();
    rota_clause c[] = { EVENT(&event), LOCK(&mutex) };
    cr_expect_eq(rota_select(c, 1), -EPERM);
    cr_expect_eq(rota_try_select(c, 1), -EAGAIN);
    cr_expect_eq(rota_try_select(c, 2), 1);
    cr_expect_eq(c[1].result, -EPERM);
    close_loop(loop);
}

/* ---- each kind, waited for, next to all others ---- */

static int item_in = 7;

static void set_put(void) { cr_expect_eq(rota_queue_try_put(&q, &item_in), 0); }
static void set_get(void) { int out; cr_expect_eq(rota_queue_try_get(&q2, &out), 0); cr_expect_eq(out, 1); }
static void set_sem(void) { cr_expect_eq(rota_sem_release(&sem), 0); }
static void set_mutex(void) { cr_expect_eq(rota_mutex_unlock(&mutex), 0); }
static void set_event(void) { rota_event_set(&event); }
static void set_future(void) { cr_expect_eq(rota_future_set(&future, -EIO), 0); }

static void (*const triggers[])(void) = { set_put, set_get, set_sem, set_mutex, set_event, set_future };
enum { KINDS = COUNT(triggers) };

static struct { int got, given; intptr_t value; } slots;

/* q is empty, q2 is full, the mutex is the caller's: nothing can go. */
static void all_blocked(rota_clause *c) {
    int one = 1;
    fresh();
    slots.got = 0;
    slots.given = 2;
    slots.value = 0;
    cr_expect_eq(rota_queue_put(&q2, &one), 0);
    cr_expect_eq(rota_mutex_lock(&mutex), 0);
    const rota_clause all[KINDS] = { GET(&q, &slots.got), PUT(&q2, &slots.given), ACQUIRE(&sem), LOCK(&mutex),
                                     EVENT(&event), FUTURE(&future, &slots.value) };
    memcpy(c, all, sizeof all);
}

/* How many effects there are; of the clause that won, and of no other. */
static int effects(int winner) {
    int n = 0;
    n += slots.got == 7;
    n += rota_queue_size(&q2) == 1 && q2_items[0] == 2;
    n += slots.value == -EIO;
    if (winner == 2)
        n += rota_sem_value(&sem) == 0;
    if (winner == 3 || winner == 4)
        n++;
    return n;
}

static void expect_items_kept(bool put, int winner) {
    int out = 0;
    if (put && winner != 0) {
        cr_expect_eq(rota_queue_try_get(&q, &out), 0, "the item is still there");
        cr_expect_eq(out, 7);
    }
}

Task_test(select, waits_for_each_kind_and_leaves_the_others) {
    for (int kind = 0; kind < KINDS; kind++) {
        rota_clause c[KINDS];
        struct selector s = { c, KINDS, -99, 0 };
        all_blocked(c);
        rota_task *task = begin_select(&s);
        triggers[kind]();
        expect_no_waiters(); /* at once, not when the task runs */
        end_select(task);
        cr_expect_eq(s.rc, kind);
        cr_expect_eq(c[kind].result, 0);
        cr_expect_eq(effects(kind), 1, "kind %d", kind);
        if (kind != 3)
            cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    }
    return 0;
}

/* Two objects get ready in one turn, in both orders: the first one wins, what the second one had is still there. */
Task_test(select, exactly_one_effect_when_two_go_in_one_turn) {
    for (int first = 0; first < KINDS; first++) {
        for (int second = 0; second < KINDS; second++) {
            if (first == second)
                continue;
            rota_clause c[KINDS];
            struct selector s = { c, KINDS, -99, 0 };
            all_blocked(c);
            rota_task *task = begin_select(&s);
            triggers[first]();
            triggers[second]();
            cr_expect_eq(rota_sem_value(&sem), second == 2 ? 1u : 0u, "the permit of the second one is kept");
            end_select(task);
            cr_expect_eq(s.rc, first, "%d before %d", first, second);
            expect_items_kept(first == 0 || second == 0, first);
            cr_expect_eq(slots.got, first == 0 ? 7 : 0);
            cr_expect_eq(slots.value, first == 5 ? -EIO : 0);
            cr_expect_eq(rota_queue_size(&q2), first == 1 ? 1u : second == 1 ? 0u : 1u);
            if (first != 3 && second != 3)
                cr_expect_eq(rota_mutex_unlock(&mutex), 0);
            cr_expect_null(mutex.owner_);
        }
    }
    return 0;
}

/* Completion beats cancellation; a cancellation that was first takes nothing with it. */
Task_test(select, won_and_cancelled_in_one_turn_in_both_orders) {
    for (int kind = 0; kind < KINDS; kind++) {
        for (int cancel_first = 0; cancel_first < 2; cancel_first++) {
            rota_clause c[KINDS];
            struct selector s = { c, KINDS, -99, 0 };
            all_blocked(c);
            rota_task *task = begin_select(&s);
            if (cancel_first)
                cr_expect_eq(rota_cancel(task, NULL), 0);
            if (cancel_first)
                expect_no_waiters();
            triggers[kind]();
            if (!cancel_first)
                cr_expect_eq(rota_cancel(task, NULL), 0);
            end_select(task);
            cr_expect_eq(s.rc, cancel_first ? -ECANCELED : kind, "kind %d", kind);
            cr_expect_eq(s.after, -ECANCELED);
            expect_items_kept(kind == 0, cancel_first ? -1 : 0);
            cr_expect_eq(rota_sem_value(&sem), kind == 2 && cancel_first ? 1u : 0u);
            cr_expect_eq(slots.value, kind == 5 && !cancel_first ? -EIO : 0);
            if (kind != 3)
                cr_expect_eq(rota_mutex_unlock(&mutex), 0);
            cr_expect_null(mutex.owner_);
        }
    }
    return 0;
}

Task_test(select, cancelled_before_its_first_step) {
    rota_task *task;
    rota_clause c[] = { EVENT(&event) };
    struct selector s = { c, 1, -99, 0 };
    fresh();
    rota_event_set(&event);
    cr_expect_eq(rota_spawn(&task, select_once, &s, NULL), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    end_select(task);
    cr_expect_eq(s.rc, -ECANCELED, "before anything is tried");
    return 0;
}

Task_test(select, a_timeout_takes_nothing) {
    rota_clause c[KINDS];
    rota_scope scope;
    int64_t start = rota_now();
    all_blocked(c);
    c[3] = (rota_clause)EVENT(&event); /* the mutex is ours */
    rota_timeout_begin(&scope, 10 * ROTA_MS);
    cr_expect_eq(rota_select(c, KINDS), -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, -ECANCELED), -ETIMEDOUT);
    cr_expect_eq(since(start), 10 * ROTA_MS);
    expect_no_waiters();
    for (int i = 0; i < KINDS; i++)
        if (i != 3)
            triggers[i]();
    cr_expect_eq(rota_sem_value(&sem), 1u);
    cr_expect_eq(rota_queue_size(&q), 1u);
    return rota_mutex_unlock(&mutex);
}

/* ---- places in queues ---- */

static intptr_t get_one(void *arg) {
    int *got = arg;
    int rc = rota_queue_get(&q, got);
    note('g');
    return rc;
}

Task_test(select, has_its_place_among_the_waiters_of_each_queue) {
    int before = 0, after = 0, got = 0, items[] = { 1, 2, 3 };
    rota_task *t[2];
    rota_clause c[] = { EVENT(&event), GET(&q, &got) };
    struct selector s = { c, 2, -99, 0 };
    fresh();
    cr_expect_eq(rota_spawn(&t[0], get_one, &before, NULL), 0);
    rota_task *task = begin_select(&s);
    cr_expect_eq(rota_spawn(&t[1], get_one, &after, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_queue_try_put(&q, &items[i]), 0);
    end_select(task);
    cr_expect_eq(rota_join(t[0], NULL), 0);
    cr_expect_eq(rota_join(t[1], NULL), 0);
    cr_expect(before == 1 && got == 2 && after == 3);
    cr_expect_str_eq(trace, "gsg");
    return 0;
}

Task_test(select, who_stands_behind_one_that_left_is_not_forgotten) {
    int after = 0, got = 0, item = 9;
    rota_task *t;
    rota_clause c[] = { EVENT(&event), GET(&q, &got) };
    struct selector s = { c, 2, -99, 0 };
    fresh();
    rota_task *task = begin_select(&s);
    cr_expect_eq(rota_spawn(&t, get_one, &after, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    rota_event_set(&event);
    cr_expect_eq(rota_queue_try_put(&q, &item), 0); /* before the select's task runs */
    end_select(task);
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect(s.rc == 0 && got == 0 && after == 9);
    return 0;
}

Task_test(select, the_same_object_twice_is_one_waiter) {
    rota_clause c[] = { ACQUIRE(&sem), ACQUIRE(&sem), ACQUIRE(&sem) };
    struct selector s = { c, 3, -99, 0 };
    fresh();
    rota_sem_init(&sem, 0, 1);
    rota_task *task = begin_select(&s);
    cr_expect_eq(rota_sem_release_many(&sem, 3), -EOVERFLOW);
    cr_expect_eq(rota_sem_release_many(&sem, 2), 0, "one for the waiter, one kept");
    end_select(task);
    cr_expect_eq(s.rc, 0);
    cr_expect_eq(rota_sem_value(&sem), 1u);
    return 0;
}

Task_test(select, get_and_put_on_one_rendezvous_do_not_meet_each_other) {
    int got = 0, given = 3, other = 8;
    fresh();
    cr_expect_eq(rota_queue_init(&q, NULL, sizeof(int), 0, NULL), 0);
    rota_clause c[] = { GET(&q, &got), PUT(&q, &given) };
    struct selector s = { c, 2, -99, 0 };
    rota_task *task = begin_select(&s);
    cr_expect_eq(s.rc, -99, "still waits");
    cr_expect_eq(rota_queue_try_put(&q, &other), 0);
    end_select(task);
    cr_expect(s.rc == 0 && got == 8);
    task = begin_select(&s);
    cr_expect_eq(rota_queue_try_get(&q, &other), 0);
    end_select(task);
    cr_expect(s.rc == 1 && other == 3);
    return 0;
}

Task_test(select, two_selects_meet_at_a_rendezvous) {
    int got = 0, given = 3;
    fresh();
    cr_expect_eq(rota_queue_init(&q, NULL, sizeof(int), 0, NULL), 0);
    rota_clause a[] = { EVENT(&event), PUT(&q, &given) }, b[] = { ACQUIRE(&sem), GET(&q, &got) };
    struct selector s = { a, 2, -99, 0 };
    rota_task *task = begin_select(&s);
    cr_expect_eq(rota_select(b, 2), 1);
    expect_no_waiters();
    rota_event_set(&event); /* too late */
    end_select(task);
    cr_expect(s.rc == 1 && got == 3);
    return 0;
}

Task_test(select, objects_that_end_wake_it) {
    int got = 0;
    rota_clause c[] = { ACQUIRE(&sem), GET(&q, &got), FUTURE(&future, NULL) };
    struct selector s = { c, 3, -99, 0 };
    fresh();
    rota_task *task = begin_select(&s);
    rota_queue_close(&q);
    end_select(task);
    cr_expect(s.rc == 1 && c[1].result == -ESHUTDOWN);
    fresh();
    task = begin_select(&s);
    cr_expect_eq(rota_future_close(&future), 0);
    end_select(task);
    cr_expect(s.rc == 2 && c[2].result == -ESHUTDOWN);
    return 0;
}

static intptr_t lock_and_end(void *unused) {
    (void)unused;
    cr_expect_eq(rota_mutex_lock(&mutex), 0);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    return 0;
}

static intptr_t select_a_dead_owners_mutex(void *unused) {
    (void)unused;
    fresh();
    rota_clause c[] = { EVENT(&event), LOCK(&mutex) };
    cr_expect_eq(rota_spawn(NULL, lock_and_end, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_select(c, 2), 1);
    cr_expect_eq(c[1].result, -EOWNERDEAD);
    cr_expect_null(mutex.owner_);
    expect_no_waiters();
    return 0;
}

Test(select, a_mutex_whose_owner_died) {
    cr_expect_eq(run_with(select_a_dead_owners_mutex, NULL, NULL, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_MUTEX), 1);
}

Task_test(select, over_tasks) {
    int64_t ns[] = { 20 * ROTA_MS, 10 * ROTA_MS };
    rota_task *t[2];
    intptr_t value = 9;
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rota_spawn(&t[i], sleep_for, &ns[i], NULL), 0);
    rota_clause c[] = { FUTURE(rota_task_future(t[0]), &value), FUTURE(rota_task_future(t[1]), &value) };
    cr_expect_eq(rota_select(c, 2), 1);
    cr_expect_eq(value, 0);
    cr_expect_eq(rota_join(t[0], NULL), 0);
    cr_expect_eq(rota_join(t[1], NULL), 0);
    return 0;
}

static intptr_t wait_for_nothing(void *unused) {
    (void)unused;
    rota_clause c[] = { ACQUIRE(&sem), EVENT(&event) };
    fresh();
    return rota_select(c, 2);
}

Test(select, in_a_deadlock_says_what_it_waits_for) {
    cr_expect_eq(run_with(wait_for_nothing, NULL, NULL, NULL), -EDEADLK);
    cr_expect(report_says(report_of(ROTA_REPORT_DEADLOCK), "one of several"));
    cr_expect_null(sem.waiters_);
}

/* 64 in a row that need not wait: another task runs in between. */
static intptr_t note_it(void *unused) {
    (void)unused;
    note('n');
    return 0;
}

Task_test(select, yields_after_many_that_did_not_wait) {
    rota_clause c[] = { EVENT(&event) };
    fresh();
    rota_event_set(&event);
    cr_expect_eq(rota_spawn(NULL, note_it, NULL, NULL), 0);
    for (int i = 0; i < 63; i++)
        cr_expect_eq(rota_select(c, 1), 0);
    cr_expect_str_eq(trace, "");
    cr_expect_eq(rota_select(c, 1), 0);
    cr_expect_str_eq(trace, "n");
    return 0;
}

/* ---- descriptors ---- */

static void make_pair(int fd[2]) { cr_expect_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0); }

static void close_pair(const int fd[2]) {
    cr_expect_eq(rota_close(fd[0]), 0);
    cr_expect_eq(rota_close(fd[1]), 0);
}

Task_test(select, a_descriptor_at_once_and_later) {
    int fd[2];
    make_pair(fd);
    fresh();
    rota_clause c[] = { EVENT(&event), FD(fd[0], ROTA_READ), FD(fd[0], ROTA_WRITE) };
    struct selector s = { c, 2, -99, 0 };
    cr_expect_eq(rota_select(c, 3), 2);
    cr_expect_eq(c[2].result, ROTA_WRITE);
    rota_task *task = begin_select(&s);
    cr_expect_eq(write(fd[1], "x", 1), 1);
    end_select(task);
    cr_expect_eq(s.rc, 1);
    cr_expect_eq(c[1].result, ROTA_READ);
    cr_expect_eq(c[1].events, (unsigned)ROTA_READ, "only result is written");
    cr_expect_eq(rota_try_select(c, 2), 1);
    close_pair(fd);
    return 0;
}

Task_test(select, a_descriptor_that_was_read_empty_is_waited_for_again) {
    int fd[2];
    char byte;
    make_pair(fd);
    fresh();
    rota_clause c[] = { FD(fd[0], ROTA_READ), EVENT(&event) };
    struct selector s = { c, 2, -99, 0 };
    for (int round = 0; round < 3; round++) {
        rota_task *task = begin_select(&s);
        cr_expect_null(rota_self()->loop->again, "what was remembered is not taken for news");
        cr_expect_eq(write(fd[1], "x", 1), 1);
        end_select(task);
        cr_expect_eq(s.rc, 0);
        cr_expect_eq(rota_read(fd[0], &byte, 1), 1);
        task = begin_select(&s);
        rota_event_set(&event);
        end_select(task);
        cr_expect_eq(s.rc, 1);
        rota_event_clear(&event);
    }
    close_pair(fd);
    return 0;
}

Task_test(select, a_loser_stops_watching) {
    int fd[2];
    char byte;
    make_pair(fd);
    fresh();
    rota_clause c[] = { EVENT(&event), FD(fd[0], ROTA_READ) };
    struct selector s = { c, 2, -99, 0 };
    rota_task *task = begin_select(&s);
    cr_expect_eq(rota_self()->loop->watchers, 1u);
    rota_event_set(&event);
    cr_expect_eq(rota_self()->loop->watchers, 0u, "at once");
    cr_expect_eq(write(fd[1], "x", 1), 1);
    end_select(task);
    cr_expect_eq(s.rc, 0);
    cr_expect_eq(rota_read(fd[0], &byte, 1), 1, "and nothing was lost");
    close_pair(fd);
    return 0;
}

Task_test(select, a_descriptor_wins_over_an_event_of_the_same_turn) {
    int fd[2], item = 4, got = 0;
    make_pair(fd);
    fresh();
    rota_clause c[] = { FD(fd[0], ROTA_READ), GET(&q, &got) };
    struct selector s = { c, 2, -99, 0 };
    rota_task *task = begin_select(&s);
    cr_expect_eq(write(fd[1], "x", 1), 1);
    while (s.rc == -99 && rota_self()->loop->watchers)
        cr_expect_eq(rota_yield(), 0); /* step 3 of a turn finds it; the select's task is ready then */
    if (s.rc == -99)
        cr_expect_eq(rota_queue_try_put(&q, &item), 0);
    end_select(task);
    cr_expect(s.rc == 0 && got == 0);
    close_pair(fd);
    return 0;
}

Task_test(select, a_second_waiter_for_a_direction_goes_with_ebusy) {
    int fd[2];
    make_pair(fd);
    fresh();
    rota_clause c[] = { EVENT(&event), ACQUIRE(&sem), FD(fd[0], ROTA_READ), FD(fd[0], ROTA_READ) };
    cr_expect_eq(rota_select(c, 4), 3);
    cr_expect_eq(c[3].result, -EBUSY);
    cr_expect_eq(rota_self()->loop->watchers, 0u);
    expect_no_waiters();
    close_pair(fd);
    return 0;
}

Task_test(select, both_directions_of_one_descriptor_and_its_close) {
    int fd[2];
    make_pair(fd);
    fresh();
    char full[4096] = { 0 };
    while (send(fd[0], full, sizeof full, MSG_DONTWAIT) > 0)
        ;
    rota_clause c[] = { FD(fd[0], ROTA_READ), FD(fd[0], ROTA_WRITE), EVENT(&event) };
    struct selector s = { c, 3, -99, 0 };
    rota_task *task = begin_select(&s);
    cr_expect_eq(rota_self()->loop->watchers, 2u);
    cr_expect_eq(rota_close(fd[0]), 0);
    end_select(task);
    cr_expect_eq(s.rc, 0);
    cr_expect_eq(c[0].result, -EBADF);
    cr_expect_eq(rota_close(fd[1]), 0);
    return 0;
}

Task_test(select, a_descriptor_that_is_forgotten_and_stays_open) {
    int fd[2];
    make_pair(fd);
    fresh();
    rota_clause c[] = { FD(fd[0], ROTA_READ), EVENT(&event) };
    struct selector s = { c, 2, -99, 0 };
    rota_task *task = begin_select(&s);
    cr_expect_eq(rota_forget(fd[0]), 0);
    end_select(task);
    cr_expect_eq(s.rc, 0);
    cr_expect_eq(c[0].result, -EBADF);
    close_pair(fd);
    return 0;
}

Task_test(select, a_false_alarm_costs_no_place) {
    int fd[2], got = 0, after = 0, item = 6;
    rota_task *t;
    make_pair(fd);
    fresh();
    rota_clause c[] = { GET(&q, &got), FD(fd[0], ROTA_READ) };
    struct selector s = { c, 2, -99, 0 };
    rota_task *task = begin_select(&s);
    cr_expect_eq(rota_spawn(&t, get_one, &after, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    /* The event was fetched from the kernel, and somebody has read the byte before it is looked at. */
    rota_loop *loop = rota_self()->loop;
    struct rota__fd *slot = rota__fd_find(&loop->fds, fd[0]);
    rota__fd_event(loop, fd[0], slot->generation, ROTA_READ);
    cr_expect_eq(slot->ready & ROTA_READ, 0);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect_eq(s.rc, -99, "still waits");
    cr_expect_eq(rota_queue_try_put(&q, &item), 0);
    cr_expect_eq(got, 6, "it stood before the other one");
    cr_expect_eq(after, 0);
    cr_expect_eq(rota_queue_try_put(&q, &item), 0);
    end_select(task);
    cr_expect_eq(s.rc, 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    close_pair(fd);
    return 0;
}

Task_test(select, a_descriptor_whose_table_page_cannot_be_had) {
    int fd[2];
    make_pair(fd);
    fresh();
    int high = dup2(fd[0], 700);
    cr_expect_eq(high, 700);
    rota_clause c[] = { EVENT(&event), FD(high, ROTA_READ) };
    memory.fail_at = memory.calls + 1;
    memory.fail_on = true;
    cr_expect_eq(rota_select(c, 2), 1);
    cr_expect_eq(c[1].result, -ENOMEM);
    memory.fail_at = 0;
    expect_no_waiters();
    cr_expect_eq(rota_close(high), 0);
    close_pair(fd);
    return 0;
}

/* ---- many, at random: nothing is lost and nothing is made up ---- */

enum { WORKERS = 12, ITEMS = 400 };

struct storm {
    rota_queue in[2], out;
    int items[2][2], out_items[1];
    unsigned seed;
    size_t taken, cancelled;
};

static unsigned next_random(struct storm *s) { return s->seed = s->seed * 1664525u + 1013904223u; }

/* Moves items from either input to the output; a select that is cancelled has moved none. */
static intptr_t storm_worker(void *arg) {
    struct storm *s = arg;
    int item = 0, rc = 0;
    while (rc >= 0) {
        rota_clause c[] = { GET(&s->in[0], &item), GET(&s->in[1], &item) };
        rota_scope scope;
        rota_timeout_begin(&scope, next_random(s) % 3 * ROTA_MS + 1);
        rc = rota_select(c, 2);
        bool has_item = rc >= 0 && c[rc].result == 0;
        rc = (int)rota_scope_end(&scope, rc);
        if (rc == -ETIMEDOUT) {
            s->cancelled++;
            rc = 0;
        } else if (has_item) {
            rc = rota_queue_put(&s->out, &item);
        } else {
            rc = -ESHUTDOWN;
        }
    }
    return rc == -ESHUTDOWN ? 0 : rc;
}

static intptr_t storm_producer(void *arg) {
    struct storm *s = arg;
    int rc = 0;
    for (int i = 0; i < ITEMS && rc == 0; i++) {
        rota_clause c[] = { PUT(&s->in[0], &i), PUT(&s->in[1], &i) };
        rc = rota_select(c, 2) < 0;
        if (next_random(s) % 4 == 0)
            rc = rota_sleep(next_random(s) % 4 * ROTA_MS);
    }
    rota_queue_close(&s->in[0]);
    rota_queue_close(&s->in[1]);
    return rc;
}

static intptr_t storm_consumer(void *arg) {
    struct storm *s = arg;
    static bool seen[ITEMS];
    int item, rc = 0;
    memset(seen, 0, sizeof seen);
    while (s->taken < ITEMS && (rc = rota_queue_get(&s->out, &item)) == 0) {
        cr_expect(item >= 0 && item < ITEMS && !seen[item], "item %d", item);
        seen[item] = true;
        s->taken++;
    }
    return rc;
}

Task_test(select, in_a_storm_of_timeouts_no_item_is_lost_or_doubled) {
    static struct storm s;
    memset(&s, 0, sizeof s);
    s.seed = 12345;
    ROTA_QUEUE_INIT(&s.in[0], s.items[0]);
    ROTA_QUEUE_INIT(&s.in[1], s.items[1]);
    ROTA_QUEUE_INIT(&s.out, s.out_items);
    rota_group g;
    rota_group_begin(&g, NULL);
    rota_spawn_options in = { .group = &g };
    int rc = rota_spawn(NULL, storm_producer, &s, &in);
    rc |= rota_spawn(NULL, storm_consumer, &s, &in);
    for (int i = 0; i < WORKERS; i++)
        rc |= rota_spawn(NULL, storm_worker, &s, &in);
    cr_expect_eq(rota_group_end(&g, rc), 0);
    cr_expect_eq(s.taken, (size_t)ITEMS);
    cr_expect_gt(s.cancelled, 10u);
    return 0;
}
