/* Bugs that were found by attacking the library, each with what it takes to see it. */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* ---- a join that lets others run before it drops the handle: the block may be another task's then ---- */

struct late_join {
    rota_task *task;
    rota_event set;
    int fast_calls;
    bool cancelled, too_late, joins, joined;
};

static intptr_t joins_late(void *arg) {
    struct late_join *j = arg;
    intptr_t value;
    cr_expect_eq(rota_yield(), 0);
    if (j->cancelled)
        cr_expect_eq(rota_cancel(rota_self(), NULL), 0);
    for (int i = 0; i < j->fast_calls; i++)
        (void)!rota_event_wait(&j->set);
    if (j->too_late)
        return 0;
    j->joins = true;
    int rc = rota_join(j->task, &value);
    cr_expect_eq(rc, j->cancelled ? -ECANCELED : 0);
    j->joined = true;
    return 0;
}

static intptr_t returns_seven(void *arg) {
    (void)arg;
    return 7;
}

/* While the joiner stands in its join: a task with the block of one whose handle has gone, as a group's do at its end. */
static rota_task *takes_over(const struct late_join *j, rota_task *taken_before[], size_t most, size_t *n) {
    for (*n = 0; *n < most && j->joins && !j->joined; (*n)++) {
        cr_expect_eq(rota_spawn(&taken_before[*n], returns_seven, NULL, NULL), 0);
        if (taken_before[*n] == j->task)
            return taken_before[*n];
    }
    return NULL;
}

static int joined_too_late(bool cancelled, int fast_calls) {
    struct late_join j = { .cancelled = cancelled, .fast_calls = fast_calls };
    rota_task *joiner, *taken_before[256], *taken;
    rota_group group;
    intptr_t value;
    size_t n;
    cr_expect_eq(rota_event_set(&j.set), 0);
    rota_group_begin(&group, NULL);
    cr_expect_eq(rota_spawn(&j.task, returns_seven, NULL, &(rota_spawn_options){ .group = &group }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_spawn(&joiner, joins_late, &j, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_group_end(&group, 0), 0);
    j.too_late = true;
    taken = takes_over(&j, taken_before, 256, &n);
    int found = taken != NULL;
    cr_expect_eq(rota_join(joiner, NULL), 0);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(rota_join(taken_before[i], &value), 0, "%zu", i);
    if (taken)
        cr_expect_eq(rota_join(taken, &value), 0, "its handle is its own");
    return found;
}

static intptr_t joined_too_late_anywhere(void *arg) {
    bool cancelled = arg != NULL;
    int found = 0;
    for (int fast_calls = 0; fast_calls <= 70; fast_calls++)
        found += joined_too_late(cancelled, fast_calls);
    cr_expect(found > 0, "it did let others run");
    return 0;
}

static intptr_t joined_too_late_and_cancelled(void *arg) {
    (void)arg;
    return joined_too_late_anywhere(&(int){ 1 });
}

Test(regress, a_join_drops_the_handle_before_others_run) { cr_expect_eq(run(joined_too_late_anywhere), 0); }

Test(regress, a_join_that_is_refused_drops_no_other_tasks_handle) {
    cr_expect_eq(run(joined_too_late_and_cancelled), 0);
}

/* ---- starting a process left AddressSanitizer's marks of the child's stack in memory that was given back ---- */

static intptr_t uses_memory_behind_processes(void *arg) {
    enum { AS_LARGE_AS_THE_CHILDS_STACK = 64 * 1024 };
    (void)arg;
    for (int i = 0; i < 2; i++) {
        rota_process_output output = { .limit = 0 };
        char *argv[] = { i ? "/bin/sh" : "/no/such/program", "-c", "exit 3", NULL };
        cr_expect_eq(rota_process_run(argv, NULL, 0, &output, NULL), i ? 0 : -ENOENT);
        rota_process_output_free(&output);
        void *again = mmap(NULL, AS_LARGE_AS_THE_CHILDS_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                            -1, 0);
        cr_expect(again != MAP_FAILED);
        memset(again, 1, AS_LARGE_AS_THE_CHILDS_STACK);
        munmap(again, AS_LARGE_AS_THE_CHILDS_STACK);
    }
    return 0;
}

Test(regress, memory_that_a_start_used_can_be_used_again) {
    cr_expect_eq(rota_run(uses_memory_behind_processes, NULL, NULL, NULL), 0);
}

static intptr_t passes_to_the_last_number(void *arg) {
    rota_process process;
    char *argv[] = { "/bin/true", NULL };
    const rota_process_fd fd = { .from = 0, .to = INT_MAX };
    (void)arg;
    cr_expect_eq(rota_process_spawn(&process, argv, &(rota_process_options){ .fds = &fd, .n_fds = 1 }), -EBADF);
    return 0;
}

Test(regress, no_descriptor_has_the_last_number) { cr_expect_eq(run(passes_to_the_last_number), 0); }

/* ---- a loop that was the current one, and was freed inside another's turn, became the current one again ---- */

static void free_loop(rota_soon *soon, void *loop) {
    (void)soon;
    cr_expect_eq(rota_loop_free(loop), 0);
}

Test(regress, a_loop_freed_in_anothers_turn_is_not_current_afterwards) {
    rota_loop *first, *second;
    rota_soon soon;
    cr_assert_eq(rota_loop_new(&first, NULL), 0);
    cr_assert_eq(rota_loop_new(&second, NULL), 0);
    cr_assert_eq(rota_loop_current(), first);
    rota_soon_init(&soon, free_loop, first);
    cr_assert_eq(rota_soon_start(second, &soon), 0);
    cr_expect_eq(rota_loop_run(second), 0);
    cr_expect_null(rota_loop_current());
    cr_expect_gt(rota_now(), 0);
    cr_expect_eq(rota_loop_free(second), 0);
}

static intptr_t free_when_cancelled(void *loop) {
    cr_expect_eq(rota_sleep(3600 * ROTA_S), -ECANCELED);
    cr_expect_eq(rota_loop_free(loop), 0);
    return 0;
}

Test(regress, a_loop_freed_while_another_closes_is_not_current_afterwards) {
    rota_loop *first, *second;
    cr_assert_eq(rota_loop_new(&first, NULL), 0);
    cr_assert_eq(rota_loop_new(&second, NULL), 0);
    cr_assert_eq(rota_loop_set_current(second), 0);
    cr_assert_eq(rota_spawn(NULL, free_when_cancelled, first, NULL), 0);
    cr_assert_eq(rota_loop_turn(second, 0), 1);
    cr_assert_eq(rota_loop_set_current(first), 0);
    cr_expect_eq(rota_loop_free(second), 0);
    cr_expect_null(rota_loop_current());
}

static intptr_t free_it(void *loop) { return rota_loop_free(loop); }

Test(regress, a_loop_freed_inside_rota_run_is_not_current_afterwards) {
    rota_loop *first;
    intptr_t result;
    cr_assert_eq(rota_loop_new(&first, NULL), 0);
    cr_expect_eq(rota_run(free_it, first, &result, NULL), 0);
    cr_expect_eq(result, 0);
    cr_expect_null(rota_loop_current());
}

/* ---- a future that outlived the loop of its waiter, which was dropped, kept the wait on that one's stack ---- */

static intptr_t await_it(void *future) { return rota_future_await(future, NULL); }
static intptr_t await_shielded(void *future) { return rota_shield(ROTA_FOREVER, await_it, future); }
static intptr_t set_it(void *future) { return rota_future_set(future, 1); }

static intptr_t spawn_and_leave(void *future) {
    cr_expect_eq(rota_spawn(NULL, await_shielded, future, NULL), 0);
    return rota_yield();
}

Test(regress, a_dropped_waiter_is_forgotten_by_what_it_waits_for) {
    static rota_future future;
    rota_future_init(&future);
    cr_expect_eq(run_with(spawn_and_leave, &future, NULL, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_PENDING), 1);
    cr_expect_eq(run_with(set_it, &future, NULL, NULL), 0);
}

/* ---- a process of another loop of the same thread was waited for, for ever ---- */

static intptr_t waits_for_a_strange_process(void *arg) {
    rota_process *process = arg;
    rota_process_output output = { .limit = 0 };
    cr_expect_eq(rota_process_wait(process, NULL), -EPERM);
    cr_expect_eq(rota_process_communicate(process, NULL, 0, &output), -EPERM);
    return 0;
}

Test(regress, a_process_of_another_loop_is_not_waited_for) {
    rota_loop *its, *another;
    rota_process process;
    rota_task *task;
    char *argv[] = { "/bin/cat", NULL };
    cr_assert_eq(rota_loop_new(&its, NULL), 0);
    cr_assert_eq(rota_process_spawn(&process, argv, &(rota_process_options){ .in = ROTA_PROCESS_PIPE }), 0);
    cr_assert_eq(rota_loop_new(&another, NULL), 0);
    cr_assert_eq(rota_loop_set_current(another), 0);
    cr_assert_eq(rota_spawn(&task, waits_for_a_strange_process, &process, NULL), 0);
    cr_expect_eq(rota_loop_run_until(another, task, NULL), 0);
    rota_task_release(task);
    cr_expect_eq(rota_loop_free(another), 0);
    cr_expect_eq(rota_process_close(&process), 0);
    cr_expect_eq(rota_loop_free(its), 0);
}

static int scopes_told;

static void count_scopes(void *unused, const rota_report *report) {
    (void)unused;
    scopes_told += report->kind == ROTA_REPORT_SCOPE;
}

/* What two blocks of one frame have their variables in. */
static union { rota_group group; rota_scope scope; } place;

/* A scope forgotten in a block, one begun after it, and a third where the first one was: the chain was a ring then. */
static intptr_t forgets_around_another(void *unused) {
    rota_scope around;
    (void)unused;
    rota_group_begin(&place.group, NULL);
    rota_timeout_begin(&around, 5 * ROTA_MS);
    rota_scope_begin(&place.scope);
    cr_expect_eq(rota_sleep(50 * ROTA_MS), -ECANCELED);
    cr_expect_eq(rota_scope_end(&place.scope, 1), 1);
    cr_expect_eq(rota_scope_end(&around, -ECANCELED), -ETIMEDOUT);
    return rota_sleep(1);
}

Test(regress, a_forgotten_scope_around_a_live_one_makes_no_ring) {
    rota_loop_options opt = test_options();
    intptr_t v = 1;
    opt.report = count_scopes;
    cr_expect_eq(run_with(forgets_around_another, NULL, &v, &opt), 0);
    cr_expect_eq(v, 0);
    cr_expect_eq(scopes_told, 1);
}

static __attribute__((noinline)) int forget_groups(int n) {
    rota_group group;
    rota_group_begin(&group, NULL);
    return n > 1 ? forget_groups(n - 1) + 1 : 1;
}

static intptr_t forgets_more_than_is_noted(void *unused) {
    (void)unused;
    cr_expect_eq(forget_groups(8), 8);
    return rota_sleep(1);
}

/* Frames that are gone are not read, however many scopes were in them. */
Test(regress, more_forgotten_scopes_than_notes) {
    rota_loop_options opt = test_options();
    intptr_t v = 1;
    opt.report = count_scopes;
    cr_expect_eq(run_with(forgets_more_than_is_noted, NULL, &v, &opt), 0);
    cr_expect_eq(v, 0);
    cr_expect_eq(scopes_told, 5, "four, and that there may be more");
}

Test(regress, errors_that_are_returned_have_words) {
    cr_expect(strcmp(rota_strerror(-EOWNERDEAD), "unknown error") != 0);
}

/* Calls that never started have the error as their result: not 0, which reads as success. */
static intptr_t gather_when_refused(void *unused) {
    rota_call calls[2] = { { return_arg, (void *)1, 5 }, { return_arg, (void *)2, 5 } };
    intptr_t numbers[2] = { 1, 2 }, results[2] = { 5, 5 };
    (void)unused;
    cr_expect_eq(rota_gather(calls, 2, NULL), -ECANCELED);
    cr_expect_eq(calls[0].result, -ECANCELED);
    cr_expect_eq(calls[1].result, -ECANCELED);
    cr_expect_eq(rota_gather_map(return_arg, numbers, 2, sizeof *numbers, results, NULL), -ECANCELED);
    cr_expect_eq(results[1], -ECANCELED);
    calls[1].result = 5;
    cr_expect_eq(rota_race(calls, 2, NULL), -ECANCELED);
    cr_expect_eq(calls[1].result, -ECANCELED);
    return 0;
}

Task_test(regress, calls_that_were_refused_have_the_error_as_their_result) {
    cr_expect_eq(rota_timeout(0, gather_when_refused, NULL), 0);
    return 0;
}

/* ---- a task that tries and yields by turns: with nobody else to watch for, the kernel was never asked again ---- */

static int pair[2];

static intptr_t writes_later(void *arg) {
    (void)arg;
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_try_write(pair[1], "x", 1), 1);
    return 0;
}

static intptr_t tries_and_yields(void *arg) {
    char c = 0;
    (void)arg;
    cr_expect_eq(rota_spawn(NULL, writes_later, NULL, NULL), 0);
    cr_expect_eq(rota_read(pair[0], &c, 1), 1); /* the kernel knows it from here on */
    ssize_t r = rota_try_read(pair[0], &c, 1);
    cr_expect_eq(r, -EAGAIN);
    cr_expect_eq(rota_spawn(NULL, writes_later, NULL, NULL), 0);
    for (int i = 0; i < 10000 && r == -EAGAIN; i++) {
        cr_expect_eq(rota_yield(), 0);
        r = rota_try_read(pair[0], &c, 1);
    }
    cr_expect_eq(r, 1);
    return 0;
}

static char much[1 << 16];

static void drain_pair(void) {
    while (recv(pair[0], much, sizeof much, MSG_DONTWAIT) > 0)
        ;
}

static intptr_t drains_later(void *arg) {
    (void)arg;
    cr_expect_eq(rota_yield(), 0);
    drain_pair();
    return 0;
}

static ssize_t fill_pair(void) {
    ssize_t r;
    while ((r = rota_try_write(pair[1], much, sizeof much)) > 0)
        ;
    return r;
}

static intptr_t tries_to_write_and_yields(void *arg) {
    (void)arg;
    cr_expect_eq(fill_pair(), -EAGAIN);
    cr_expect_eq(rota_spawn(NULL, drains_later, NULL, NULL), 0);
    cr_expect_gt(rota_write(pair[1], much, sizeof much), 0); /* the kernel knows it from here on */
    ssize_t r = fill_pair();
    cr_expect_eq(r, -EAGAIN);
    cr_expect_eq(rota_spawn(NULL, drains_later, NULL, NULL), 0);
    for (int i = 0; i < 10000 && r == -EAGAIN; i++) {
        cr_expect_eq(rota_yield(), 0);
        r = rota_try_write(pair[1], much, 1);
    }
    cr_expect_eq(r, 1);
    return 0;
}

static void in_a_pair(rota_fn *fn) {
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    cr_expect_eq(rota_run(fn, NULL, NULL, NULL), 0);
    close(pair[0]);
    close(pair[1]);
}

Test(regress, trying_and_yielding_by_turns) { in_a_pair(tries_and_yields); }
Test(regress, trying_to_write_and_yielding_by_turns) { in_a_pair(tries_to_write_and_yields); }

/* ---- an overrun of the caller's stack, reported; stacks by default larger than any class: the end of that task, joined,
 * took its stack for one of the default class, and wrote before the lists of idle ones ---- */

static intptr_t overruns(void *stack) {
    memset(stack, 0x55, 64);
    cr_expect_eq(rota_sleep(1), 0);
    return 1;
}

static intptr_t joins_overrunning_tasks(void *arg) {
    static _Alignas(16) unsigned char stack[256 * 1024];
    (void)arg;
    for (int i = 0; i < 3; i++) {
        rota_task *task;
        intptr_t value = 0;
        rota_spawn_options opt = { .stack = stack, .stack_size = sizeof stack };
        cr_assert_eq(rota_spawn(&task, overruns, stack, &opt), 0);
        cr_expect_eq(rota_join(task, &value), 0);
        cr_expect_eq(value, 1);
    }
    rota_task *task;
    cr_assert_eq(rota_spawn(&task, overruns, stack, NULL), 0); /* which writes where it may, this time */
    return rota_join(task, NULL);
}

static int overflow_reports;

static void count_overflows(void *ctx, const rota_report *report) {
    (void)ctx;
    overflow_reports += report->kind == ROTA_REPORT_STACK;
}

Test(regress, an_overrun_where_stacks_are_larger_than_any_class) {
    rota_loop_options opt = { .stack_size = 64 << 20, .report = count_overflows, .virtual_clock = true };
    cr_expect_eq(rota_run(joins_overrunning_tasks, NULL, NULL, &opt), 0);
    cr_expect_eq(overflow_reports, 3);
}

/* ---- a task's future closed or set by hand: who joined the task, or came to join it, kept the handle ---- */

static rota_task *joined;

static intptr_t closes_it(void *arg) {
    (void)arg;
    return rota_future_close(rota_task_future(joined));
}

static intptr_t sets_it(void *arg) {
    (void)arg;
    return rota_future_set(rota_task_future(joined), 7);
}

static intptr_t sleeps_a_second(void *arg) {
    (void)arg;
    return rota_sleep(ROTA_S);
}

static intptr_t joins_what_is_settled(void *how) {
    rota_fn *const *settles = how;
    intptr_t value = 0;
    cr_expect_eq(rota_spawn(&joined, sleeps_a_second, NULL, NULL), 0);
    uint64_t number = rota_task_number(joined);
    cr_expect_eq(rota_spawn(NULL, *settles, NULL, NULL), 0);
    int rc = rota_join(joined, &value);
    cr_expect_eq(value, *settles == sets_it ? 7 : -ESHUTDOWN);
    cr_expect_eq(rota_sleep(2 * ROTA_S), 0);
    cr_expect_neq(rota_task_number(joined), number, "the handle is gone, and the task with it");
    return rc;
}

static intptr_t joins_what_was_closed(void *arg) {
    (void)arg;
    cr_expect_eq(rota_spawn(&joined, sleeps_a_second, NULL, NULL), 0);
    uint64_t number = rota_task_number(joined);
    cr_expect_eq(rota_future_close(rota_task_future(joined)), 0);
    cr_expect_eq(rota_join(joined, NULL), -ESHUTDOWN);
    cr_expect_eq(rota_sleep(2 * ROTA_S), 0);
    cr_expect_neq(rota_task_number(joined), number);
    return 0;
}

Test(regress, a_join_lets_go_of_the_handle_when_the_future_is_settled_by_hand) {
    static rota_fn *const closes = closes_it, *const sets = sets_it;
    rota_loop_options opt = { .virtual_clock = true };
    cr_expect_eq(rota_run(joins_what_is_settled, (void *)(uintptr_t)&closes, NULL, &opt), -ESHUTDOWN);
    cr_expect_eq(rota_run(joins_what_is_settled, (void *)(uintptr_t)&sets, NULL, &opt), 0);
    cr_expect_eq(rota_run(joins_what_was_closed, NULL, NULL, &opt), 0);
}

/* ---- what main has made ready runs, however little fits into a turn: the loop was stopped in the middle of its last ---- */

static int ran, ran_cancelled;

static intptr_t notes_its_cancellation(void *arg) {
    ran++;
    ran_cancelled += rota_cancelled(NULL, NULL);
    return (intptr_t)arg;
}

static intptr_t leaves_much_ready(void *arg) {
    for (int i = 0; i < 1000; i++)
        cr_expect_eq(rota_spawn(NULL, notes_its_cancellation, NULL, NULL), 0);
    return (intptr_t)arg;
}

Test(regress, what_is_ready_when_main_ends_is_not_cancelled) {
    for (int debug = 0; debug < 2; debug++) {
        ran = ran_cancelled = 0;
        cr_expect_eq(rota_run(leaves_much_ready, NULL, NULL, &(rota_loop_options){ .debug = debug }), 0);
        cr_expect_eq(ran, 1000);
        cr_expect_eq(ran_cancelled, 0);
    }
}
