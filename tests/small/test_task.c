/* Tasks and futures of the small profile. Each test is a task of rota_run's, or makes a loop of its own. */
#include "tests/small/kit.h"

#include <signal.h>

#define TASK_TEST(name)                                                              \
    static intptr_t name##_body(void *arg);                                          \
    Test(small_task, name) {                                                         \
        intptr_t result = -1;                                                        \
        kit_clock(1000 * ROTA_S);                                                    \
        cr_assert_eq(rota_run(name##_body, NULL, &result, kit_memory()), 0);         \
        cr_expect_eq(result, 0);                                                     \
        cr_expect_null(rota_loop_current());                                         \
    }                                                                                \
    static intptr_t name##_body(void *arg)

/* How __builtin_trap ends a process. */
#ifdef __x86_64__
enum { TRAP = SIGILL };
#else
enum { TRAP = SIGTRAP };
#endif

static intptr_t note(void *arg) {
    kit_note(*(const char *)arg);
    return 0;
}

static intptr_t give(void *arg) { return (intptr_t)arg; }

static intptr_t sleep_ms(void *arg) {
    int rc = rota_sleep((intptr_t)arg * ROTA_MS);
    kit_note(rc == 0 ? 's' : rc == -ECANCELED ? 'c' : '?');
    return rc;
}

/* ---- spawning ---- */

TASK_TEST(spawned_tasks_run_in_their_order_behind_the_spawner) {
    static char names[] = "abc";
    rota_task *task;
    (void)arg;
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(i == 2 ? &task : NULL, note, &names[i], NULL), 0);
    kit_note('m');
    cr_expect_eq(rota_join(task, NULL), 0);
    cr_expect_str_eq(kit_log, "mabc");
    return 0;
}

static intptr_t copied(void *arg) {
    cr_expect_eq((uintptr_t)arg % 16, 0);
    return *(int *)arg;
}

TASK_TEST(arguments_are_copied_to_the_stack) {
    rota_task *tasks[3];
    intptr_t result;
    (void)arg;
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(&tasks[i], copied, &i, &(rota_spawn_options){ .arg_size = sizeof i }), 0);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(rota_join(tasks[i], &result), 0);
        cr_expect_eq(result, i);
    }
    return 0;
}

TASK_TEST(the_stack_that_was_left_last_serves_the_next_task_as_a_new_one) {
    rota_task *expired, *cancelled, *next, *after;
    intptr_t result;
    (void)arg;
    cr_expect_eq(rota_spawn(&expired, sleep_ms, (void *)1000, &(rota_spawn_options){ .timeout = ROTA_MS }), 0);
    cr_expect_eq(rota_spawn(&cancelled, sleep_ms, (void *)1000, NULL), 0);
    cr_expect_eq(rota_join(expired, &result), 0);
    cr_expect_eq(result, -ETIMEDOUT);
    cr_expect_eq(rota_cancel(cancelled, NULL), 0);
    cr_expect_eq(rota_join(cancelled, &result), 0);
    cr_expect_eq(result, -ECANCELED);
    cr_expect_eq(rota_spawn(&next, sleep_ms, (void *)1000, NULL), 0);
    cr_expect_eq(rota_spawn(&after, sleep_ms, (void *)1000, NULL), 0);
    cr_expect(next == cancelled && after == expired);
    cr_expect_eq(rota_join(next, &result), 0);
    cr_expect_eq(result, 0);
    cr_expect_eq(rota_join(after, &result), 0);
    cr_expect_eq(result, 0);
    return 0;
}

TASK_TEST(the_result_goes_where_it_was_asked_for) {
    intptr_t slot = 7;
    (void)arg;
    cr_expect_eq(rota_spawn(NULL, give, (void *)42, &(rota_spawn_options){ .result = &slot }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(slot, 42);
    return 0;
}

static void never(rota_timer *timer, void *arg) { (void)timer, (void)arg; }

TASK_TEST(more_tasks_than_stacks_are_an_error) {
    rota_task *tasks[KIT_TASKS];
    (void)arg;
    for (int i = 0; i < KIT_TASKS - 1; i++)
        cr_expect_eq(rota_spawn(&tasks[i], sleep_ms, (void *)1, NULL), 0);
    tasks[KIT_TASKS - 1] = tasks[0];
    cr_expect_eq(rota_spawn(&tasks[KIT_TASKS - 1], sleep_ms, (void *)1, NULL), -EAGAIN);
    cr_expect_null(tasks[KIT_TASKS - 1]);
    cr_expect_eq(rota_spawn(NULL, sleep_ms, (void *)1, NULL), -EAGAIN);
    rota_timer timers[KIT_TIMERS]; /* neither a stack nor an entry: still for want of a stack */
    for (int i = 0; i < KIT_TIMERS; i++) {
        rota_timer_init(&timers[i], never, NULL);
        cr_expect_eq(rota_timer_start(rota_loop_current(), &timers[i], ROTA_FOREVER), 0);
    }
    cr_expect_eq(rota_spawn(NULL, sleep_ms, (void *)1, NULL), -EAGAIN);
    for (int i = 0; i < KIT_TIMERS; i++)
        cr_expect_eq(rota_timer_stop(rota_loop_current(), &timers[i]), 0);
    cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
    cr_expect_eq(rota_spawn(NULL, sleep_ms, (void *)1, NULL), -EAGAIN); /* ended, but the handles hold their stacks */
    for (int i = 0; i < KIT_TASKS - 1; i++)
        rota_task_release(tasks[i]);
    for (int i = 0; i < KIT_TASKS - 1; i++)
        cr_expect_eq(rota_spawn(NULL, sleep_ms, (void *)1, NULL), 0);
    cr_expect_eq(rota_loop_tasks(rota_loop_current()), KIT_TASKS);
    return 0;
}

/* Each task that lives has an entry for its timer, so that sleeping never fails. */
TASK_TEST(timers_leave_no_entry_for_another_task) {
    rota_timer timers[KIT_TIMERS + KIT_TASKS];
    rota_loop *loop = rota_loop_current();
    (void)arg;
    for (int i = 0; i < KIT_TIMERS + KIT_TASKS; i++)
        rota_timer_init(&timers[i], never, NULL);
    for (int i = 0; i < KIT_TIMERS + KIT_TASKS - 1; i++)
        cr_expect_eq(rota_timer_start(loop, &timers[i], ROTA_FOREVER), 0);
    cr_expect_eq(rota_timer_start(loop, &timers[KIT_TIMERS + KIT_TASKS - 1], ROTA_FOREVER), -ENOMEM);
    cr_expect_eq(rota_spawn(NULL, sleep_ms, (void *)1, NULL), -ENOMEM);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect_eq(rota_timer_stop(loop, &timers[0]), 0);
    cr_expect_eq(rota_spawn(NULL, sleep_ms, (void *)1, NULL), 0);
    cr_expect_eq(rota_timer_start(loop, &timers[0], ROTA_FOREVER), -ENOMEM);
    cr_expect_eq(rota_sleep(5 * ROTA_MS), 0);
    cr_expect_eq(rota_timer_start(loop, &timers[0], ROTA_FOREVER), 0); /* the entry went with the task */
    cr_expect_eq(rota_timer_start(loop, &timers[KIT_TIMERS + KIT_TASKS - 1], ROTA_FOREVER), -ENOMEM);
    for (int i = 0; i < KIT_TIMERS + KIT_TASKS; i++)
        cr_expect_eq(rota_timer_stop(loop, &timers[i]), 0);
    return 0;
}

static intptr_t first_byte(void *arg) { return *(unsigned char *)arg; }

TASK_TEST(bad_spawns) {
    rota_task *task = rota_self();
    (void)arg;
    cr_expect_eq(rota_spawn(&task, NULL, NULL, NULL), -EINVAL);
    cr_expect_null(task);
    cr_expect_eq(rota_spawn(&task, give, NULL, &(rota_spawn_options){ .arg_size = 4 }), -EINVAL);
    cr_expect_eq(rota_spawn(&task, give, &task, &(rota_spawn_options){ .arg_size = KIT_STACK }), -EINVAL);
    rota_spawn_options most = { .arg_size = KIT_STACK - ROTA_STACK_MIN };
    cr_expect_eq(rota_spawn(NULL, first_byte, kit_memory()->stacks, &most), 0); /* any memory that is as large */
    most.arg_size++;
    cr_expect_eq(rota_spawn(&task, first_byte, kit_memory()->stacks, &most), -EINVAL);
    cr_expect_eq(rota_spawn(&task, give, &task, &(rota_spawn_options){ .arg_size = SIZE_MAX }), -EINVAL);
    return 0;
}

Test(small_task, stacks_that_are_not_as_they_must_be) {
    rota_loop_options opt = *kit_memory();
    intptr_t result;
    cr_expect_eq(rota_spawn(NULL, give, NULL, NULL), -EINVAL); /* no loop */
    opt.n_tasks = 0;
    cr_expect_eq(rota_run(give, NULL, &result, &opt), -EAGAIN);
    opt = *kit_memory();
    opt.stack_size = ROTA_STACK_MIN - 16;
    cr_expect_eq(rota_run(give, NULL, &result, &opt), -EINVAL);
    opt.stack_size = ROTA_STACK_MIN;
    cr_expect_eq(rota_run(give, NULL, &result, &opt), 0);
    opt.stack_size = ROTA_STACK_MIN + 8;
    cr_expect_eq(rota_run(give, NULL, &result, &opt), -EINVAL);
    opt = *kit_memory();
    opt.stacks = (char *)opt.stacks + 8;
    cr_expect_eq(rota_run(give, NULL, &result, &opt), -EINVAL);
    opt.stacks = NULL;
    cr_expect_eq(rota_run(give, NULL, &result, &opt), -EINVAL);
    cr_expect_eq(rota_run(give, NULL, &result, NULL), -EINVAL);
    cr_expect_eq(result, -EINVAL);
}

static intptr_t deep(void *arg) {
    volatile char frame[8 * 1024];
    (void)arg;
    frame[0] = frame[sizeof frame - 1] = 1;
    return rota_yield() + frame[0] - 1;
}

static intptr_t overruns(void *arg) {
    volatile char *below = (volatile char *)arg;
    for (int i = 0; i < 64; i++)
        below[i] = 1; /* what a frame that is too large would do */
    return rota_yield();
}

Test(small_task, a_stack_that_is_large_enough_is_not_complained_of) {
    intptr_t result;
    cr_expect_eq(rota_run(deep, NULL, &result, kit_memory()), 0);
    cr_expect_eq(result, 0);
}

Test(small_task, an_overrun_stack_ends_the_process, .signal = TRAP) {
    const rota_loop_options *opt = kit_memory();
    char *last = (char *)opt->stacks + (opt->n_tasks - 1) * opt->stack_size; /* the one that is used first */
    intptr_t result;
    cr_expect_eq(rota_run(overruns, last, &result, opt), 0);
}

/* ---- waiting for tasks ---- */

TASK_TEST(await_gives_the_outcome_any_number_of_times) {
    rota_task *task;
    intptr_t result = 0;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, give, (void *)(intptr_t)-EIO, NULL), 0);
    cr_expect(!rota_task_done(task));
    cr_expect_eq(rota_task_result(task, &result), -EAGAIN);
    cr_expect_eq(rota_await(task, &result), 0);
    cr_expect_eq(result, -EIO);
    cr_expect_eq(rota_await(task, NULL), -EIO); /* the channels merged */
    cr_expect(rota_task_done(task));
    cr_expect_eq(rota_task_result(task, &result), 0);
    cr_expect_eq(rota_cancel(task, NULL), -ESRCH);
    rota_task_release(task);
    cr_expect_eq(rota_await(task, &result), -ESRCH);
    cr_expect_eq(result, -ESRCH);
    cr_expect_eq(rota_cancel(task, NULL), -ESRCH);
    cr_expect(!rota_task_done(task));
    rota_task_release(task);
    rota_task_release(NULL);
    cr_expect_eq(rota_await(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_await(rota_self(), NULL), -EDEADLK);
    return 0;
}

static intptr_t joins(void *arg) {
    intptr_t result;
    int rc = rota_await((rota_task *)arg, &result);
    kit_note(rc == 0 && result == -ECANCELED ? 'j' : rc == -ECANCELED ? 'c' : '?');
    return 0;
}

TASK_TEST(many_wait_for_one_and_are_woken_in_their_order) {
    rota_task *sleeper, *waiters[3];
    (void)arg;
    cr_expect_eq(rota_spawn(&sleeper, sleep_ms, (void *)1000, NULL), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(&waiters[i], joins, sleeper, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(waiters[1], NULL), 0); /* cancelling who waits does nothing to the task */
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(kit_log, "c");
    cr_expect_eq(rota_cancel(sleeper, "enough"), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_join(waiters[i], NULL), 0);
    cr_expect_str_eq(kit_log, "ccjj");
    rota_task_release(sleeper);
    return 0;
}

/* ---- time ---- */

TASK_TEST(sleepers_wake_in_the_order_of_their_deadlines) {
    static const int64_t ms[] = { 30, 10, 20 };
    rota_task *tasks[3];
    int64_t start = rota_now();
    (void)arg;
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(&tasks[i], sleep_ms, (void *)(intptr_t)ms[i], NULL), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_join(tasks[i], NULL), 0);
    cr_expect_geq(rota_now() - start, 30 * ROTA_MS);
    cr_expect_leq(rota_now() - start, 33 * ROTA_MS);
    cr_expect_eq(rota_sleep(0), 0);
    cr_expect_eq(rota_sleep(-1), 0);
    cr_expect_eq(rota_sleep_until(0), 0);
    return 0;
}

TASK_TEST(a_deadline_ends_a_task_with_a_timeout) {
    rota_task *task;
    intptr_t result;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, sleep_ms, (void *)1000, &(rota_spawn_options){ .timeout = 5 * ROTA_MS }), 0);
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result, -ETIMEDOUT);
    cr_expect_eq(rota_spawn(&task, sleep_ms, (void *)1, &(rota_spawn_options){ .timeout = -1 }), 0);
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result, -ETIMEDOUT);
    cr_expect_str_eq(kit_log, "cc");
    return 0;
}

/* ---- cancelling ---- */

static intptr_t refused(void *arg) {
    int *left = arg;
    while (--*left > 0)
        if (rota_sleep(ROTA_S) != -ECANCELED)
            return 1;
    return rota_cancelled(NULL, NULL) ? -ECANCELED : 2;
}

TASK_TEST(cancelled_is_a_level_not_an_edge) {
    rota_task *task;
    intptr_t result;
    int left = 100;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, refused, &left, NULL), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_gt(left, 0); /* a task that ignores refusals lets others run */
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result, -ECANCELED);
    return 0;
}

static intptr_t uncancels(void *arg) {
    (void)arg;
    cr_expect_eq(rota_yield(), -ECANCELED);
    cr_expect(rota_uncancel());
    cr_expect(!rota_uncancel());
    return rota_sleep(ROTA_MS);
}

TASK_TEST(a_cancellation_can_be_withdrawn) {
    rota_task *task;
    intptr_t result;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, uncancels, NULL, NULL), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0); /* before its first step: it runs all the same */
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result, 0);
    return 0;
}

static rota_future shared;
static intptr_t awaits_shared(void *arg) {
    intptr_t value;
    int rc = rota_future_await(&shared, &value);
    (void)arg;
    kit_note(rc == 0 ? (char)value : rc == -ECANCELED ? 'c' : 'x');
    return rota_yield(); /* refused now, if it was cancelled */
}

TASK_TEST(completion_beats_cancellation) {
    rota_task *task;
    intptr_t result;
    (void)arg;
    rota_future_init(&shared);
    cr_expect_eq(rota_spawn(&task, awaits_shared, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_future_set(&shared, 'v'), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result, -ECANCELED);
    cr_expect_str_eq(kit_log, "v");
    return 0;
}

/* ---- futures ---- */

static void timer_sets(rota_timer *timer, void *arg) {
    (void)timer;
    cr_expect_eq(rota_future_set(arg, 42), 0);
}

TASK_TEST(a_callback_wakes_a_task_by_a_future) {
    rota_future future = { 0 };
    rota_timer timer;
    intptr_t value;
    (void)arg;
    rota_timer_init(&timer, timer_sets, &future);
    cr_expect_eq(rota_timer_start(rota_loop_current(), &timer, ROTA_MS), 0);
    cr_expect_eq(rota_future_value(&future, &value), -EAGAIN);
    cr_expect_eq(rota_future_await(&future, &value), 0);
    cr_expect_eq(value, 42);
    cr_expect(rota_future_done(&future));
    cr_expect_eq(rota_future_set(&future, 1), -EALREADY);
    cr_expect_eq(rota_future_await(&future, &value), 0);
    cr_expect_eq(rota_future_value(&future, &value), 0);
    cr_expect_eq(value, 42);
    return 0;
}

TASK_TEST(a_future_closed_under_its_waiters_tells_them) {
    rota_task *tasks[2];
    intptr_t value;
    (void)arg;
    rota_future_init(&shared);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rota_spawn(&tasks[i], awaits_shared, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_future_close(&shared), 0);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rota_join(tasks[i], NULL), 0);
    cr_expect_str_eq(kit_log, "xx");
    cr_expect_eq(rota_future_set(&shared, 1), -ESHUTDOWN);
    cr_expect_eq(rota_future_await(&shared, &value), -ESHUTDOWN);
    cr_expect_eq(rota_future_value(&shared, &value), -ESHUTDOWN);
    cr_expect_eq(rota_future_close(&shared), 0);
    cr_expect_eq(rota_future_set(NULL, 0), -EINVAL);
    cr_expect_eq(rota_future_close(NULL), -EINVAL);
    cr_expect_eq(rota_future_await(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_future_value(NULL, NULL), -EINVAL);
    rota_future_init(NULL);
    return 0;
}

/* ---- fairness, and the way back to the loop ---- */

static intptr_t spins(void *arg) {
    for (int i = 0; i < 1000; i++)
        cr_expect_eq(rota_future_await(arg, NULL), 0);
    kit_note('s');
    return 0;
}

TASK_TEST(calls_that_succeed_at_once_let_others_run) {
    static char o = 'o';
    rota_future future = { 0 };
    rota_task *task;
    (void)arg;
    cr_expect_eq(rota_future_set(&future, 0), 0);
    cr_expect_eq(rota_spawn(&task, spins, &future, NULL), 0);
    cr_expect_eq(rota_spawn(NULL, note, &o, NULL), 0);
    cr_expect_eq(rota_join(task, NULL), 0);
    cr_expect_str_eq(kit_log, "os");
    return 0;
}

static void soon_notes(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    kit_note('c');
}

TASK_TEST(callbacks_and_tasks_share_one_queue) {
    static char a = 'a', b = 'b';
    rota_soon soon;
    (void)arg;
    rota_soon_init(&soon, soon_notes, NULL);
    cr_expect_eq(rota_spawn(NULL, note, &a, NULL), 0);
    cr_expect_eq(rota_soon_start(rota_loop_current(), &soon), 0);
    cr_expect_eq(rota_spawn(NULL, note, &b, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(kit_log, "acb");
    return 0;
}

static int yields;
static intptr_t yields_for_ever(void *arg) {
    (void)arg;
    while (rota_yield() == 0)
        yields++;
    return 0;
}

TASK_TEST(tasks_that_only_yield_do_not_keep_timers_from_firing) {
    (void)arg;
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rota_spawn(NULL, yields_for_ever, NULL, NULL), 0);
    int64_t until = rota_now() + ROTA_MS;
    kit_advance(2 * ROTA_MS);
    cr_expect_eq(rota_sleep_until(until), 0);
    cr_expect_gt(yields, 10);
    return 0;
}

/* ---- the life of a loop with tasks ---- */

static intptr_t leaves_tasks(void *arg) {
    rota_task *task;
    (void)arg;
    cr_expect_eq(rota_spawn(NULL, sleep_ms, (void *)1000, NULL), 0);
    cr_expect_eq(rota_spawn(&task, sleep_ms, (void *)1000, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    return 5;
}

Test(small_task, what_is_left_is_cancelled_and_runs_to_its_end) {
    intptr_t result;
    cr_expect_eq(rota_run(leaves_tasks, NULL, &result, kit_memory()), 0);
    cr_expect_eq(result, 5);
    cr_expect_str_eq(kit_log, "cc");
    cr_expect_eq(rota_run(leaves_tasks, NULL, NULL, kit_memory()), 0); /* the memory serves the next one */
    cr_expect_str_eq(kit_log, "cccc");
}

static intptr_t spawns_while_closing(void *arg) {
    (void)arg;
    cr_expect_eq(rota_sleep(ROTA_S), -ECANCELED);
    cr_expect_eq(rota_spawn(NULL, sleep_ms, (void *)1000, NULL), 0);
    cr_expect(!rota_uncancel());
    for (int i = 0; i < 10000; i++) /* some turns; each refusal costs an eighth of a step */
        cr_expect_eq(rota_yield(), -ECANCELED);
    cr_expect_eq(rota_spawn(NULL, sleep_ms, (void *)1000, NULL), 0);
    return 0;
}

static intptr_t spawns_that(void *arg) {
    (void)arg;
    cr_expect_eq(rota_spawn(NULL, spawns_while_closing, NULL, NULL), 0);
    return rota_yield();
}

Test(small_task, one_that_is_spawned_while_the_loop_closes_is_cancelled_too) {
    cr_expect_eq(rota_run(spawns_that, NULL, NULL, kit_memory()), 0);
    cr_expect_str_eq(kit_log, "cc");
}

static intptr_t waits_for_nothing(void *arg) {
    rota_future future = { 0 };
    (void)arg;
    int rc = rota_future_await(&future, NULL);
    kit_note(rc == -ECANCELED ? 'c' : '?');
    return rc;
}

static intptr_t closes_another_loop(void *arg) {
    rota_task *self = rota_self();
    rota_loop *here = rota_loop_current();
    cr_expect_eq(rota_loop_close(arg), 0);
    cr_expect_str_eq(kit_log, "c");
    cr_expect_eq(rota_self(), self);
    cr_expect_eq(rota_loop_current(), here);
    return rota_sleep(ROTA_US);
}

/* In a turn of this one: the other's tasks end in turns of their own. */
Test(small_task, another_loop_that_is_closed_ends_its_tasks) {
    rota_loop *other;
    intptr_t result;
    cr_assert_eq(rota_loop_new(&other, kit_other_memory()), 0);
    cr_expect_eq(rota_spawn(NULL, waits_for_nothing, NULL, NULL), 0);
    cr_expect_eq(rota_loop_turn(other, 0), 0);
    cr_expect_eq(rota_run(closes_another_loop, other, &result, kit_memory()), 0);
    cr_expect_eq(result, 0);
    cr_expect_eq(rota_loop_tasks(other), 0);
    cr_expect_null(rota_loop_current());
}

static void yields_in_a_callback(rota_soon *soon, void *arg) {
    (void)soon;
    cr_expect_null(rota_self());
    cr_expect_eq(rota_yield(), -EPERM);
    kit_note(rota_loop_close(arg) == -EBUSY ? 'b' : '?');
}

static intptr_t closes_what_closes_it(void *arg) {
    intptr_t rc = waits_for_nothing(NULL);
    cr_expect_eq(rota_loop_close(arg), -EBUSY);
    return rc;
}

static intptr_t closes_one_with_work(void *arg) {
    rota_loop *here = rota_loop_current(), *other = arg;
    rota_soon soon;
    rota_soon_init(&soon, yields_in_a_callback, here);
    cr_expect_eq(rota_soon_start(other, &soon), 0);
    cr_expect_eq(rota_loop_set_current(other), -EBUSY);
    cr_expect_eq(rota_loop_close(other), 0);
    return rota_yield();
}

/* What the other loop runs while it closes is no part of the task that closes it; and this loop is in its turn still. */
Test(small_task, another_loop_that_is_closed_runs_nothing_in_the_name_of_the_task) {
    rota_loop *here, *other;
    rota_task *task;
    cr_assert_eq(rota_loop_new(&here, kit_memory()), 0);
    cr_assert_eq(rota_loop_new(&other, kit_other_memory()), 0);
    cr_expect_eq(rota_spawn(&task, closes_one_with_work, other, NULL), 0);
    cr_expect_eq(rota_loop_set_current(other), 0);
    cr_expect_eq(rota_spawn(NULL, closes_what_closes_it, here, NULL), 0);
    cr_expect_eq(rota_loop_turn(other, 0), 0);
    cr_expect_eq(rota_loop_run_until(here, task, NULL), 0);
    cr_expect_str_eq(kit_log, "bc");
    cr_expect_eq(rota_loop_tasks(other), 0);
    cr_expect_eq(rota_loop_close(here), 0);
}

Test(small_task, nothing_that_could_wake_it_is_a_deadlock) {
    intptr_t result;
    cr_expect_eq(rota_run(waits_for_nothing, NULL, &result, kit_memory()), -EDEADLK);
    cr_expect_eq(result, -EDEADLK);
    cr_expect_str_eq(kit_log, "c");
}

static intptr_t stops_the_loop(void *arg) {
    (void)arg;
    cr_expect_eq(rota_loop_stop(rota_loop_current()), 0);
    return rota_sleep(ROTA_S);
}

static intptr_t runs_inside(void *arg) {
    intptr_t result;
    (void)arg;
    cr_expect_eq(rota_run(give, NULL, &result, kit_memory()), -EBUSY);
    cr_expect_eq(rota_loop_run_until(rota_loop_current(), rota_self(), &result), -EBUSY);
    return 0;
}

Test(small_task, run_until_a_task_has_ended) {
    rota_loop *loop;
    rota_task *task;
    intptr_t result;
    kit_clock(ROTA_S);
    cr_assert_eq(rota_loop_new(&loop, kit_memory()), 0);
    cr_assert_eq(rota_spawn(&task, give, (void *)9, NULL), 0);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(rota_loop_run_until(loop, task, &result), 0);
        cr_expect_eq(result, 9);
    }
    rota_task_release(task);
    cr_expect_eq(rota_loop_run_until(loop, task, &result), -ESRCH);
    cr_expect_eq(rota_loop_run_until(loop, NULL, &result), -EINVAL);
    cr_assert_eq(rota_spawn(&task, stops_the_loop, NULL, NULL), 0);
    cr_expect_eq(rota_loop_run_until(NULL, task, &result), -EINVAL);
    cr_expect_eq(rota_loop_run_until(loop, task, &result), -ECANCELED);
    cr_expect_eq(rota_loop_run_until(loop, task, &result), 0);
    rota_task_release(task);
    cr_assert_eq(rota_spawn(&task, runs_inside, NULL, NULL), 0);
    cr_expect_eq(rota_loop_run_until(loop, task, NULL), 0);
    cr_expect_eq(rota_loop_free(loop), 0);
    cr_expect_eq(rota_await(task, NULL), -ESHUTDOWN);
}

static struct {
    rota_task *task;
    intptr_t value;
} job;

static intptr_t sees_its_copy(void *arg) {
    const rota_task *task;
    memcpy(&task, arg, sizeof task);
    return task == (void *)&job;
}

Test(small_task, a_handle_in_the_argument_is_written_after_that_was_copied) {
    rota_loop *loop;
    intptr_t result = 0;
    cr_assert_eq(rota_loop_new(&loop, kit_memory()), 0);
    job.task = (rota_task *)(void *)&job;
    cr_assert_eq(rota_spawn(&job.task, sees_its_copy, &job, &(rota_spawn_options){ .arg_size = sizeof job }), 0);
    cr_expect_eq(rota_loop_run_until(loop, job.task, &result), 0);
    cr_expect_eq(result, 1);
    rota_task_release(job.task);
    cr_expect_eq(rota_spawn(&job.task, NULL, &job, NULL), -EINVAL);
    cr_expect_null(job.task);
    cr_expect_eq(rota_loop_free(loop), 0);
}

static rota_task *stale;
static intptr_t leaves_a_handle(void *arg) {
    (void)arg;
    cr_expect_eq(rota_spawn(&stale, give, NULL, NULL), 0);
    return rota_yield();
}

static const char *stands_at[KIT_TASKS];
static intptr_t stands(void *arg) {
    char here;
    stands_at[(uintptr_t)arg] = &here;
    return rota_sleep(ROTA_MS);
}

static intptr_t releases_it(void *arg) {
    intptr_t value;
    (void)arg;
    cr_expect_eq(rota_await(stale, &value), -ESRCH);
    cr_expect_eq(rota_cancel(stale, NULL), -ESRCH);
    rota_task_release(stale);
    for (uintptr_t i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(NULL, stands, (void *)i, NULL), 0);
    cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
    cr_expect_neq(stands_at[0], stands_at[1]);
    cr_expect_neq(stands_at[1], stands_at[2]);
    cr_expect_neq(stands_at[0], stands_at[2]);
    return 0;
}

/* Released then, its stack would be free twice. */
Test(small_task, a_handle_does_not_outlive_its_loop) {
    kit_clock(ROTA_S);
    cr_expect_eq(rota_run(leaves_a_handle, NULL, NULL, kit_memory()), 0);
    rota_task_release(stale);
    cr_expect_eq(rota_run(releases_it, NULL, NULL, kit_memory()), 0);
}

static void is_refused(rota_soon *soon, void *task) {
    (void)soon;
    cr_expect_eq(rota_loop_run_until(rota_loop_current(), task, NULL), -EBUSY);
}

static void stops(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    cr_expect_eq(rota_loop_stop(rota_loop_current()), 0);
}

static void note_time(rota_timer *timer, void *arg) {
    (void)timer, (void)arg;
    kit_note('t');
}

static intptr_t naps(void *arg) { return (void)arg, rota_sleep(ROTA_MS); }

/* Refused, or stopped before the task had ended: its end is no reason any more to end a run. */
Test(small_task, run_until_leaves_nothing_behind) {
    rota_loop *loop;
    rota_task *task;
    rota_timer timer;
    rota_soon soon;
    kit_clock(ROTA_S);
    cr_assert_eq(rota_loop_new(&loop, kit_memory()), 0);
    for (int is_stopped = 0; is_stopped < 2; is_stopped++) {
        rota_timer_init(&timer, note_time, NULL);
        cr_assert_eq(rota_timer_start(loop, &timer, 5 * ROTA_MS), 0);
        cr_assert_eq(rota_spawn(&task, naps, NULL, NULL), 0);
        rota_soon_init(&soon, is_stopped ? stops : is_refused, task);
        cr_assert_eq(rota_soon_start(loop, &soon), 0);
        if (is_stopped)
            cr_expect_eq(rota_loop_run_until(loop, task, NULL), -ECANCELED);
        cr_expect_eq(rota_loop_run(loop), 0);
        cr_expect(!rota_timer_active(&timer));
        cr_expect(rota_task_done(task));
        rota_task_release(task);
    }
    cr_expect_str_eq(kit_log, "tt");
    cr_expect_eq(rota_loop_free(loop), 0);
}

Test(small_task, outside_of_tasks_nothing_suspends) {
    rota_loop *loop;
    rota_future future = { 0 };
    cr_expect_eq(rota_sleep(1), -EPERM);
    cr_assert_eq(rota_loop_new(&loop, kit_memory()), 0);
    cr_expect_eq(rota_yield(), -EPERM);
    cr_expect_eq(rota_sleep(1), -EPERM);
    cr_expect_eq(rota_future_await(&future, NULL), -EPERM);
    cr_expect_null(rota_self());
    cr_expect(!rota_uncancel());
    cr_expect(!rota_cancelled(NULL, NULL));
    cr_expect_eq(rota_loop_free(loop), 0);
}
