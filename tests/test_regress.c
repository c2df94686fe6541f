/* Bugs that were found by attacking the library, each with what it takes to see it. */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "rota.h"
#include "tests/harness.h"
#include "tests/support.h"

static int scope_reports, suspend_reports;

static void collect(void *ctx, const rota_report *report) {
    (void)ctx;
    scope_reports += report->kind == ROTA_REPORT_SCOPE;
    suspend_reports += report->kind == ROTA_REPORT_NO_SUSPEND;
}

static int run(rota_fn *fn) {
    scope_reports = suspend_reports = 0;
    return rota_run(fn, NULL, NULL, &(rota_loop_options){ .report = collect, .virtual_clock = true });
}

/* ---- scopes ended in the wrong order: the second end made the loop's scope the task's innermost ---- */

static intptr_t ends_crossed(void *arg) {
    rota_scope outer, a, b;
    (void)arg;
    rota_scope_begin(&outer);
    rota_scope_begin(&a);
    rota_scope_begin(&b);
    cr_expect_eq(rota_scope_end(&a, 1), 1);
    cr_expect_eq(rota_scope_end(&b, 2), 2);
    cr_expect_eq(rota_sleep(1), 0);
    rota_scope_cancel(&outer, "it is still there");
    cr_expect_eq(rota_sleep(1), -ECANCELED);
    cr_expect_eq(rota_scope_end(&outer, 0), 0);
    return rota_sleep(1);
}

Test(regress, scopes_ended_in_the_wrong_order) {
    cr_expect_eq(run(ends_crossed), 0);
    cr_expect_eq(scope_reports, 1);
}

/* ---- a generator on memory in its driver's frame: the driver's scope looked left behind ---- */

static intptr_t sleeps_once(rota_gen *self, void *arg) {
    (void)arg;
    int rc = rota_sleep(1);
    return rc < 0 ? rc : rota_gen_yield(self, 7, NULL);
}

static __attribute__((noinline)) int next_inside_a_scope(rota_gen *g, intptr_t *value) {
    rota_scope s;
    rota_timeout_begin(&s, ROTA_S);
    return (int)rota_scope_end(&s, rota_gen_next(g, value));
}

static intptr_t drives_in_its_frame(void *arg) {
    static const rota_gen_options defaults;
    _Alignas(16) unsigned char inside[16384];
    rota_gen_options opt = defaults;
    rota_gen g;
    intptr_t value = 0;
    (void)arg;
    /* Valgrind knows no stack inside another one, and takes the outer one's bytes for dead: there, memory beside it. */
    static unsigned char beside[sizeof inside];
    opt.stack = under_valgrind() ? beside : inside;
    opt.stack_size = sizeof inside;
    cr_expect_eq(rota_gen_open(&g, sleeps_once, NULL, &opt), 0);
    cr_expect_eq(next_inside_a_scope(&g, &value), ROTA_YIELDED);
    cr_expect_eq(value, 7);
    cr_expect_eq(rota_gen_close(&g), 0);
    return rota_sleep(1);
}

Test(regress, a_generator_on_its_drivers_stack) {
    cr_expect_eq(run(drives_in_its_frame), 0);
    cr_expect_eq(scope_reports, 0);
}

/* ---- a callback asked for in one loop, of a future that another loop of the thread sets ---- */

static int called;
static rota_loop *called_in;

static void note_call(rota_done *done, intptr_t value, void *arg) {
    (void)done, (void)value, (void)arg;
    called++;
    called_in = rota_loop_current();
}

Test(regress, a_callback_runs_in_the_loop_that_asked) {
    rota_loop *a, *b;
    rota_future future = { 0 };
    rota_done done;
    cr_assert_eq(rota_loop_new(&a, NULL), 0);
    cr_assert_eq(rota_loop_new(&b, NULL), 0);
    cr_assert_eq(rota_loop_set_current(a), 0);
    cr_assert_eq(rota_future_on_done(&future, &done, note_call, NULL), 0);
    cr_assert_eq(rota_loop_set_current(b), 0);
    cr_assert_eq(rota_future_set(&future, 1), 0);
    cr_assert_eq(rota_loop_run(b), 0);
    cr_expect_eq(called, 0);
    cr_assert_eq(rota_loop_run(a), 0);
    cr_expect_eq(called, 1);
    cr_expect(called_in == a);
    cr_assert_eq(rota_loop_free(a), 0);
    cr_assert_eq(rota_loop_free(b), 0);
}

/* ---- handles after the loop has closed ---- */

static intptr_t nothing(void *arg) { return (intptr_t)arg; }

Test(regress, handles_are_answered_until_the_loop_is_freed) {
    rota_loop *loop;
    rota_task *task;
    intptr_t value;
    cr_assert_eq(rota_loop_new(&loop, NULL), 0);
    cr_assert_eq(rota_spawn(&task, nothing, NULL, NULL), 0);
    cr_assert_eq(rota_loop_close(loop), 0);
    cr_expect(!rota_task_done(task));
    cr_expect_eq(rota_task_result(task, &value), -ESHUTDOWN);
    cr_expect_eq(rota_cancel(task, NULL), -ESHUTDOWN);
    rota_task_release(task);
    cr_assert_eq(rota_loop_free(loop), 0);
}

/* ---- a set of signals closed by another thread ---- */

static void *close_signals(void *arg) { return (void *)(intptr_t)rota_signals_close(arg); }

static intptr_t signals_of_another_thread(void *arg) {
    rota_signals set;
    pthread_t thread;
    void *rc;
    (void)arg;
    cr_expect_eq(rota_signals_open(&set, ROTA_SIGNAL(SIGUSR1)), 0);
    cr_expect_eq(pthread_create(&thread, NULL, close_signals, &set), 0);
    cr_expect_eq(pthread_join(thread, &rc), 0);
    cr_expect_eq((intptr_t)rc, -EPERM);
    raise(SIGUSR1);
    cr_expect_eq(rota_signals_wait(&set), SIGUSR1);
    return rota_signals_close(&set);
}

Test(regress, signals_are_closed_by_their_own_thread_only) { cr_expect_eq(run(signals_of_another_thread), 0); }

/* ---- ways out of ROTA_NO_SUSPEND ---- */

static int others;

static intptr_t other(void *arg) {
    (void)arg;
    others++;
    return 0;
}

static intptr_t yields(void *arg) {
    (void)arg;
    return rota_yield();
}

static intptr_t holes(void *arg) {
    rota_group g;
    (void)arg;
    others = 0;
    ROTA_NO_SUSPEND {
        cr_expect_eq(rota_shield(ROTA_S, yields, NULL), -EPERM);
        cr_expect_eq(suspend_reports, 1);
        cr_expect_eq(rota_spawn(NULL, other, NULL, &(rota_spawn_options){ .eager = true }), 0);
        cr_expect_eq(others, 0);
        rota_group_begin(&g, NULL);
        cr_expect_eq(rota_spawn(NULL, other, NULL, &(rota_spawn_options){ .group = &g }), 0);
        cr_expect_eq(rota_group_end(&g, 0), 0);
        cr_expect_eq(suspend_reports, 2); /* it waited, as it must, and was reported */
    }
    return rota_yield();
}

Test(regress, nothing_lifts_no_suspend) { cr_expect_eq(run(holes), 0); }

/* ---- a deadline that has passed when the task is spawned ---- */

static intptr_t sleeps(void *arg) {
    (void)arg;
    return rota_sleep(ROTA_S);
}

static intptr_t spawned_too_late(void *arg) {
    rota_task *task;
    intptr_t value;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, sleeps, NULL, &(rota_spawn_options){ .timeout = -1 }), 0);
    cr_expect_eq(rota_join(task, &value), 0);
    cr_expect_eq(value, -ETIMEDOUT);
    return 0;
}

Test(regress, a_negative_timeout_has_passed) { cr_expect_eq(run(spawned_too_late), 0); }

/* ---- slots that go while a taker has been handed one ---- */

struct taking {
    rota_as_completed it;
    rota_task *got;
    intptr_t value;
};

static intptr_t takes(void *arg) {
    struct taking *t = arg;
    return rota_as_completed_next(&t->it, &t->got, &t->value);
}

static intptr_t gives_seven(void *arg) {
    (void)arg;
    int rc = rota_sleep(1);
    return rc < 0 ? rc : 7;
}

static void end_and_scribble(rota_done *done, intptr_t value, void *arg) {
    struct taking *t = arg;
    (void)done, (void)value;
    rota_as_completed_slot *slots = t->it.slots_;
    rota_as_completed_end(&t->it);
    memset(slots, 0x5a, sizeof *slots);
}

static intptr_t ends_under_a_taker(void *arg) {
    rota_as_completed_slot slots[1];
    struct taking t = { .value = 0 };
    rota_task *task, *taker;
    rota_done done;
    intptr_t v;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, gives_seven, NULL, NULL), 0);
    cr_expect_eq(rota_as_completed_begin(&t.it, &task, 1, slots), 0);
    cr_expect_eq(rota_future_on_done(rota_task_future(task), &done, end_and_scribble, &t), 0);
    cr_expect_eq(rota_spawn(&taker, takes, &t, NULL), 0);
    cr_expect_eq(rota_join(taker, &v), 0);
    cr_expect_eq(v, 1);
    cr_expect(t.got == task);
    cr_expect_eq(t.value, 7);
    return rota_join(task, NULL) < 0 ? -1 : 0;
}

Test(regress, what_a_taker_was_handed_does_not_lie_in_the_slots) { cr_expect_eq(run(ends_under_a_taker), 0); }

Test(regress, errors_that_are_returned_have_words) {
    cr_expect(strcmp(rota_strerror(-EOWNERDEAD), "unknown error") != 0);
}
