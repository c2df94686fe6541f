/* What the tests of synchronisation have in common: actors, tasks that make one waiting call and tell what came of it;
 * and the situations that every waiting call must answer in the same way, whatever it waits for. */
#ifndef ROTA_TESTS_SYNC_KIT_H
#define ROTA_TESTS_SYNC_KIT_H

#include <pthread.h>

#include "coro/task.h"
#include "rota/sync.h"
#include "tests/support.h"

/* A task that calls `call`, notes its letter, makes one more suspending call, and then gives back what it got. */
struct actor {
    int (*call)(struct actor *a);
    void (*undo)(struct actor *a);   /* after success; may be NULL */
    void *on;
    char letter;
    int rc, next;                    /* what call gave, and the suspending call after it */
    int64_t value;                   /* what it put or got */
    bool done;
    rota_task *task;
};

static inline intptr_t actor_main(void *arg) {
    struct actor *a = arg;
    a->rc = a->call(a);
    note(a->letter);
    a->next = rota_yield();
    if (a->rc >= 0 && a->undo)
        a->undo(a);
    a->done = true;
    return 0;
}

static inline void start(struct actor *a) {
    a->rc = a->next = 99;
    a->done = false;
    cr_expect_eq(rota_spawn(&a->task, actor_main, a, NULL), 0);
}

/* Lets everything go as far as it gets, in this turn and, with what other threads have posted, in the next. */
static inline void settle(void) {
    cr_expect_eq(rota_sleep(1), 0);
    for (int i = 0; i < 8; i++)
        cr_expect_eq(rota_yield(), 0);
}

static inline bool parked(const struct actor *a) { return a->rc == 99; }

static inline void finish(struct actor *a) { cr_expect_eq(rota_join(a->task, NULL), 0); }

static inline void cancel(struct actor *a) { cr_expect_eq(rota_cancel(a->task, "test"), 0); }

/* Calls fn(arg) in a thread of its own, from a task that stands still meanwhile. */
static inline void in_thread(void *(*fn)(void *), void *arg) {
    pthread_t thread;
    cr_expect_eq(pthread_create(&thread, NULL, fn, arg), 0);
    cr_expect_eq(pthread_join(thread, NULL), 0);
}

/* ---- what holds for everything that is waited for ---- */

/* A thing to wait for, as the main task of a test sees it. */
struct thing {
    int (*call)(struct actor *a);
    void (*undo)(struct actor *a);
    void *on;
    void (*occupy)(void);            /* from here on `call` waits; may be NULL */
    void (*give)(void);              /* lets one waiter through */
    bool gives_once;                 /* `undo` lets the next one through, not another give */
};

static inline struct actor actor_of(const struct thing *t, char letter) {
    return (struct actor){ .call = t->call, .undo = t->undo, .on = t->on, .letter = letter, .value = letter };
}

static inline void begin_two(const struct thing *t, struct actor *a, struct actor *b) {
    *a = actor_of(t, 'a');
    *b = actor_of(t, 'b');
    if (t->occupy)
        t->occupy();
    start(a);
    start(b);
    settle();
    cr_expect(parked(a) && parked(b));
}

/* B27, and the order: cancelled, then released. */
static inline void cancelled_then_given(const struct thing *t) {
    struct actor a, b;
    begin_two(t, &a, &b);
    cancel(&a);
    t->give();
    settle();
    cr_expect_eq(a.rc, -ECANCELED);
    cr_expect_eq(b.rc, 0, "%d: what the first one left is the second one's", b.rc);
    finish(&a);
    finish(&b);
}

/* The other order, in the same turn: it keeps what it was handed, and its next call refuses. C04, C13. */
static inline void given_then_cancelled(const struct thing *t) {
    struct actor a, b;
    begin_two(t, &a, &b);
    t->give();
    cancel(&a);
    settle();
    cr_expect_eq(a.rc, 0, "%d: what was handed over is kept", a.rc);
    cr_expect_eq(a.next, -ECANCELED);
    if (!t->gives_once) {
        cr_expect(parked(&b));
        t->give();
        settle();
    }
    cr_expect_eq(b.rc, 0);
    cr_expect_eq(b.next, 0);
    finish(&a);
    finish(&b);
}

static inline void cancelled_twice(const struct thing *t) {
    struct actor a, b;
    begin_two(t, &a, &b);
    cancel(&a);
    cancel(&a);
    settle();
    cr_expect_eq(a.rc, -ECANCELED);
    cr_expect(parked(&b));
    t->give();
    finish(&a);
    finish(&b);
    cr_expect_eq(b.rc, 0);
}

/* It never gets as far as the queue. */
static inline void cancelled_before_its_first_step(const struct thing *t) {
    struct actor a = actor_of(t, 'a'), b = actor_of(t, 'b');
    if (t->occupy)
        t->occupy();
    start(&a);
    cancel(&a);
    start(&b);
    settle();
    cr_expect_eq(a.rc, -ECANCELED);
    cr_expect(parked(&b));
    t->give();
    finish(&a);
    finish(&b);
    cr_expect_eq(b.rc, 0);
}


static inline intptr_t call_it(void *arg) {
    struct actor *a = arg;
    return a->call(a);
}

static inline intptr_t limited_main(void *arg) { return rota_timeout(5 * ROTA_MS, call_it, arg); }

/* Its own deadline ends the wait at the exact time, and the thing serves others after that. */
static inline void times_out(const struct thing *t) {
    struct actor a = actor_of(t, 'a'), b = actor_of(t, 'b');
    int64_t begun = rota_now();
    intptr_t v = 0;
    if (t->occupy)
        t->occupy();
    cr_expect_eq(rota_spawn(&a.task, limited_main, &a, NULL), 0);
    cr_expect_eq(rota_join(a.task, &v), 0);
    cr_expect_eq(v, -ETIMEDOUT);
    cr_expect_eq(since(begun), 5 * ROTA_MS);
    start(&b);
    settle();
    t->give();
    finish(&b);
    cr_expect_eq(b.rc, 0);
}

/* One that is cancelled in the middle of those who wait takes nothing, and the rest stay in order. */
static inline void middle_of_five_is_cancelled(const struct thing *t) {
    struct actor a[5];
    if (t->occupy)
        t->occupy();
    memset(trace, 0, sizeof trace);
    for (int i = 0; i < 5; i++) {
        a[i] = actor_of(t, (char)('a' + i));
        start(&a[i]);
    }
    settle();
    cancel(&a[2]);
    settle();
    for (int i = 0; i < (t->gives_once ? 1 : 4); i++) {
        t->give();
        settle();
    }
    for (int i = 0; i < 5; i++)
        finish(&a[i]);
    cr_expect_str_eq(trace, "cabde", "%s", trace);
}

/* C01 */
static inline void a_hundred_in_order(const struct thing *t) {
    static struct actor a[100];
    if (t->occupy)
        t->occupy();
    memset(trace, 0, sizeof trace);
    for (int i = 0; i < 100; i++) {
        a[i] = actor_of(t, (char)('0' + i % 64));
        start(&a[i]);
    }
    settle();
    for (int i = 0; i < (t->gives_once ? 1 : 100); i++)
        t->give();
    for (int i = 0; i < 100; i++)
        finish(&a[i]);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(trace[i], '0' + i % 64);
}

static inline void is_refused_when_cancelled(const struct thing *t) {
    struct actor a = actor_of(t, 'a');
    rota_scope s;
    rota_timeout_begin(&s, 0);
    int rc = a.call(&a);
    cr_expect_eq(rc, -ECANCELED, "although it need not wait");
    cr_expect_eq(rota_scope_end(&s, rc), -ETIMEDOUT);
}

#define Thing_tests(suite, thing)                                                                                   \
    Task_test(suite, one_that_is_cancelled_leaves_it_to_the_next) { cancelled_then_given(&(thing)); return 0; }     \
    Task_test(suite, one_that_was_served_and_then_cancelled_keeps_it) { given_then_cancelled(&(thing)); return 0; } \
    Task_test(suite, cancelling_twice_is_cancelling_once) { cancelled_twice(&(thing)); return 0; }                  \
    Task_test(suite, one_cancelled_before_its_first_step_never_queues) {                                            \
        cancelled_before_its_first_step(&(thing));                                                                  \
        return 0;                                                                                                   \
    }                                                                                                               \
    Task_test(suite, a_timeout_ends_the_wait) { times_out(&(thing)); return 0; }                                    \
    Task_test(suite, the_rest_stay_in_order_when_one_leaves) { middle_of_five_is_cancelled(&(thing)); return 0; }   \
    Task_test(suite, a_hundred_are_served_in_order) { a_hundred_in_order(&(thing)); return 0; }                     \
    Task_test(suite, refuses_inside_a_cancelled_scope) { is_refused_when_cancelled(&(thing)); return 0; }

#endif
