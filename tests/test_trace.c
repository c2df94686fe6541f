/* Counters and the trace hook: what is told, in which order, and what is counted. */
#include "rota/combine.h"
#include "rota/sync.h"
#include "rota/trace.h"
#include "tests/reactor_kit.h"

/* ---- a hook that keeps what it is told as lines of text ---- */

enum { MAX_LINES = 128 };

static struct record {
    int n;
    int kinds[MAX_LINES];
    char lines[MAX_LINES][96];
    int64_t first;      /* time of the first event */
    bool skip_turns;
} record;

static void keep(void *ctx, const rota_trace_event *e) {
    struct record *r = ctx;
    if (r->n == 0)
        r->first = e->time;
    if (r->n == MAX_LINES || (r->skip_turns && (e->kind == ROTA_TRACE_TURN || e->kind == ROTA_TRACE_POLL_BEGIN ||
                                                e->kind == ROTA_TRACE_POLL_END)))
        return;
    r->kinds[r->n] = e->kind;
    int n = snprintf(r->lines[r->n], sizeof *r->lines, "%lld %s", (long long)((e->time - r->first) / ROTA_MS),
                     rota_trace_kind(e->kind));
    if (e->task)
        n += snprintf(r->lines[r->n] + n, sizeof *r->lines - (size_t)n, " %s#%d", e->name ? e->name : "", (int)e->task);
    if (e->what)
        n += snprintf(r->lines[r->n] + n, sizeof *r->lines - (size_t)n, " (%s)", e->what);
    if (e->other)
        n += snprintf(r->lines[r->n] + n, sizeof *r->lines - (size_t)n, " by #%d", (int)e->other);
    if (e->value && e->value < ROTA_S && e->value > -4096)
        snprintf(r->lines[r->n] + n, sizeof *r->lines - (size_t)n, " = %lld", (long long)e->value);
    r->n++;
}

static void expect_lines(const char *const *expected) {
    int i = 0;
    for (; expected[i] && i < record.n; i++)
        cr_expect_str_eq(record.lines[i], expected[i], "line %d: '%s', not '%s'", i, record.lines[i], expected[i]);
    cr_expect(!expected[i] && i == record.n, "%d lines, expected another number; next: '%s'", record.n,
              i < record.n ? record.lines[i] : "none");
}

static int count_kind(int kind) {
    int n = 0;
    for (int i = 0; i < record.n; i++)
        n += record.kinds[i] == kind;
    return n;
}

static rota_loop_options traced_options(void) {
    rota_loop_options options = test_options();
    options.trace = keep;
    options.trace_ctx = &record;
    return options;
}

/* ---- the golden sequence ---- */

static intptr_t set_future(void *future) {
    (void)!rota_sleep(5 * ROTA_MS);
    cr_expect_eq(rota_future_set(future, 7), 0);
    return 3;
}

static intptr_t golden_main(void *unused) {
    (void)unused;
    rota_future future = { 0 };
    cr_expect_eq(rota_spawn(NULL, set_future, &future, &(rota_spawn_options){ .name = "setter" }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_future_await(&future, NULL), 0);
    return 0;
}

Test(trace, a_small_program_is_told_step_by_step) {
    rota_loop_options options = traced_options();
    intptr_t value;
    cr_expect_eq(run_with(golden_main, NULL, &value, &options), 0);
    expect_lines((const char *const[]){
        "0 spawn main#1", "0 turn = 1",
        "0 switch in main#1", "0 spawn setter#2 by #1", "0 switch out main#1 (its turn) = 1",
        "0 switch in setter#2", "0 switch out setter#2 (a time)",
        "0 switch in main#1", "0 switch out main#1 (a future)",
        "0 poll begin = 5000000", "5 poll end",
        "5 timer", "5 callback begin (a timer)", "5 wake setter#2", "5 callback end (a timer)",
        "5 turn = 1",
        "5 switch in setter#2", "5 wake main#1 by #2", "5 end setter#2 = 3",
        "5 switch in main#1", "5 end main#1", "5 callback begin (a soon-callback)", "5 callback end (a soon-callback)",
        "5 cancel (the loop closes)", NULL });
}

/* ---- what each kind says ---- */

static intptr_t spawn_eagerly(void *unused) {
    (void)unused;
    cr_expect_eq(rota_spawn(NULL, return_arg, (void *)1, &(rota_spawn_options){ .name = "child", .eager = true }), 0);
    return 0;
}

Test(trace, an_eager_child_runs_before_its_spawner_goes_on) {
    rota_loop_options options = traced_options();
    record.skip_turns = true;
    intptr_t value;
    cr_expect_eq(run_with(spawn_eagerly, NULL, &value, &options), 0);
    expect_lines((const char *const[]){
        "0 spawn main#1", "0 switch in main#1", "0 spawn child#2 by #1", "0 switch out main#1 (its turn) = 1",
        "0 switch in child#2", "0 end child#2 = 1", "0 switch in main#1", "0 end main#1",
        "0 callback begin (a soon-callback)", "0 callback end (a soon-callback)", "0 cancel (the loop closes)", NULL });
}

static intptr_t note_that_it_ran(void *ran) {
    *(bool *)ran = true;
    return 0;
}

/* The task has ended, and the hook is in none: the child is queued, and nobody goes on behind it. */
static void spawn_from_report(void *ran, const rota_report *report) {
    rota_spawn_options eager = { .name = "late", .eager = true };
    cr_expect_eq(report->kind, ROTA_REPORT_UNAWAITED);
    cr_expect_eq(rota_spawn(NULL, note_that_it_ran, ran, &eager), 0);
    cr_expect(!*(bool *)ran);
}

static intptr_t fail_unseen(void *unused) {
    (void)unused;
    cr_expect_eq(rota_spawn(NULL, return_arg, (void *)-ENOENT, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    return rota_yield();
}

Test(trace, an_eager_child_of_a_task_that_has_ended_is_queued) {
    rota_loop_options options = traced_options();
    bool ran = false;
    intptr_t value;
    options.report = spawn_from_report;
    options.report_ctx = &ran;
    cr_expect_eq(run_with(fail_unseen, NULL, &value, &options), 0);
    cr_expect(ran);
    cr_expect_eq(count_kind(ROTA_TRACE_SWITCH_IN), count_kind(ROTA_TRACE_SWITCH_OUT) + count_kind(ROTA_TRACE_END));
}

static intptr_t cancel_one(void *unused) {
    (void)unused;
    rota_task *task;
    cr_expect_eq(rota_spawn(&task, wait_forever, NULL, &(rota_spawn_options){ .name = "victim" }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(task, "enough"), 0);
    cr_expect_eq(rota_join(task, NULL), -ECANCELED);
    return 0;
}

Test(trace, a_cancellation_names_who_whom_and_why) {
    rota_loop_options options = traced_options();
    record.skip_turns = true;
    intptr_t value;
    cr_expect_eq(run_with(cancel_one, NULL, &value, &options), 0);
    cr_expect_eq(count_kind(ROTA_TRACE_CANCEL), 2); /* and the loop closes */
    for (int i = 0; i + 1 < record.n; i++)
        if (record.kinds[i] == ROTA_TRACE_CANCEL && record.kinds[i + 1] == ROTA_TRACE_WAKE) {
            cr_expect_str_eq(record.lines[i], "0 cancel victim#2 (enough) by #1");
            cr_expect_str_eq(record.lines[i + 1], "0 wake victim#2 by #1 = -125");
        }
}

static intptr_t be_refused(void *unused) {
    (void)unused;
    cr_expect_eq(rota_cancel(rota_self(), NULL), 0);
    cr_expect_eq(rota_yield(), -ECANCELED);
    cr_expect_eq(rota_yield(), -ECANCELED);
    rota_counters c;
    cr_expect_eq(rota_loop_counters(rota_loop_current(), &c), 0);
    cr_expect_eq(c.refusals, 2);
    return 0;
}

Test(trace, a_refused_call_is_told_and_counted) {
    rota_loop_options options = traced_options();
    intptr_t value;
    cr_expect_eq(run_with(be_refused, NULL, &value, &options), 0);
    cr_expect_eq(count_kind(ROTA_TRACE_REFUSE), 2);
}

static void nothing(void *unused) { (void)unused; }

static intptr_t call_and_post(void *unused) {
    (void)unused;
    rota_remote *remote;
    rota_soon soon;
    int calls = 0;
    cr_expect_eq(rota_call_soon(nothing, NULL), 0);
    cr_expect_eq(rota_remote_open(&remote, rota_loop_current()), 0);
    rota_soon_init(&soon, count_soon, &calls);
    cr_expect_eq(rota_remote_post(remote, &soon), 0);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    rota_remote_close(remote);
    cr_expect_eq(calls, 1);
    return 0;
}

Test(trace, posts_and_callbacks_are_told) {
    rota_loop_options options = traced_options();
    record.skip_turns = true;
    intptr_t value;
    cr_expect_eq(run_with(call_and_post, NULL, &value, &options), 0);
    expect_lines((const char *const[]){
        "0 spawn main#1", "0 switch in main#1", "0 switch out main#1 (a time)",
        "0 callback begin (a post)", "0 callback end (a post)",
        "0 post", "0 callback begin (a soon-callback)", "0 callback end (a soon-callback)",
        "1 timer", "1 callback begin (a timer)", "1 wake main#1", "1 callback end (a timer)",
        "1 switch in main#1", "1 end main#1",
        "1 callback begin (a soon-callback)", "1 callback end (a soon-callback)", "1 cancel (the loop closes)", NULL });
}

/* ---- setting the hook ---- */

static void open_traced(void) { kit_open_with(traced_options()); }

static void read_all(rota_watcher *w, unsigned ready, void *arg) {
    (void)ready;
    empty(w->fd);
    ++*(int *)arg;
}

Test(trace, a_reactor_without_tasks_is_told_too, .init = open_traced, .fini = kit_close) {
    int ends[2], calls = 0;
    make_pipe(ends);
    rota_watcher w;
    rota_watcher_init(&w, ends[0], ROTA_READ, read_all, &calls);
    cr_assert_eq(rota_watcher_start(loop, &w), 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    turn_once(0);
    cr_expect_eq(calls, 1);
    cr_expect_eq(count_kind(ROTA_TRACE_CALLBACK_BEGIN), 1);
    cr_expect_eq(count_kind(ROTA_TRACE_CALLBACK_END), 1);
    for (int i = 0; i < record.n; i++)
        if (record.kinds[i] == ROTA_TRACE_CALLBACK_BEGIN)
            cr_expect(strstr(record.lines[i], "(a watcher)"));
    cr_expect_eq(count_kind(ROTA_TRACE_POLL_BEGIN), count_kind(ROTA_TRACE_POLL_END));
    cr_expect_eq(rota_watcher_stop(loop, &w), 0);
    close(ends[0]);
    close(ends[1]);
}

static intptr_t set_it_late(void *unused) {
    (void)unused;
    rota_task *a, *b;
    cr_expect_eq(rota_spawn(&a, wait_forever, NULL, &(rota_spawn_options){ .name = "a" }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_spawn(&b, return_arg, NULL, &(rota_spawn_options){ .name = "b" }), 0);
    cr_expect_eq(record.n, 0);
    cr_expect_eq(rota_loop_set_trace(rota_loop_current(), keep, &record), 0);
    cr_expect_eq(rota_join(b, NULL), 0);
    cr_expect_eq(rota_loop_set_trace(rota_loop_current(), NULL, NULL), 0);
    cr_expect_eq(rota_cancel(a, NULL), 0);
    cr_expect_eq(rota_join(a, NULL), -ECANCELED);
    return 0;
}

Test(trace, who_comes_late_learns_what_is_there) {
    intptr_t value;
    cr_expect_eq(run_with(set_it_late, NULL, &value, NULL), 0);
    expect_lines((const char *const[]){
        "0 task main#1 = 1", "0 task a#2 (a time) = 2", "0 task b#3",
        "0 switch out main#1 (task)", "0 switch in b#3", "0 wake main#1 by #3", "0 end b#3",
        "0 switch in main#1", NULL });
}

Test(trace, the_hook_is_refused_where_every_call_is, .init = kit_open_virtual, .fini = kit_close) {
    rota_counters c;
    cr_expect_eq(rota_loop_set_trace(NULL, keep, NULL), -EINVAL);
    cr_expect_eq(rota_loop_counters(NULL, &c), -EINVAL);
    cr_expect_eq(rota_loop_counters(loop, NULL), -EINVAL);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_loop_set_trace(loop, keep, NULL), -ESHUTDOWN);
    cr_expect_eq(rota_loop_counters(loop, &c), -ESHUTDOWN);
}

Test(trace, every_kind_has_a_name) {
    for (int kind = ROTA_TRACE_TASK; kind <= ROTA_TRACE_JOB_END; kind++)
        cr_expect_neq(rota_trace_kind(kind)[0], '?');
    cr_expect_str_eq(rota_trace_kind(0), "?");
    cr_expect_str_eq(rota_trace_kind(ROTA_TRACE_JOB_END + 1), "?");
    cr_expect_str_eq(rota_trace_kind(-1), "?");
}

/* The order of what runs is the same with the hook as without it. */
static intptr_t note_and_yield(void *letter) {
    for (int i = 0; i < 40; i++) {
        note(*(const char *)letter);
        (void)!rota_yield();
    }
    return 0;
}

static intptr_t three_letters(void *unused) {
    (void)unused;
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(NULL, note_and_yield, (void *)(uintptr_t)&"abc"[i], NULL), 0);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    return 0;
}

Test(trace, the_order_stays_the_same) {
    char without[sizeof trace];
    intptr_t value;
    cr_expect_eq(run_with(three_letters, NULL, &value, NULL), 0);
    memcpy(without, trace, sizeof trace);
    memset(trace, 0, sizeof trace);
    rota_loop_options options = traced_options();
    cr_expect_eq(run_with(three_letters, NULL, &value, &options), 0);
    cr_expect_str_eq(trace, without);
}

/* ---- counters ---- */

static intptr_t yield_ten_times(void *unused) {
    (void)unused;
    for (int i = 0; i < 10; i++)
        cr_expect_eq(rota_yield(), 0);
    return 0;
}

static intptr_t count_resumptions(void *unused) {
    (void)unused;
    rota_counters c;
    rota_task *task;
    cr_expect_eq(rota_loop_counters(rota_loop_current(), &c), 0);
    cr_expect(c.spawned == 1 && c.live == 1 && c.ended == 0 && c.resumptions == 1 && c.turns == 1);
    cr_expect_eq(rota_spawn(&task, yield_ten_times, NULL, NULL), 0);
    cr_expect_eq(rota_join(task, NULL), 0);
    cr_expect_eq(rota_loop_counters(rota_loop_current(), &c), 0);
    cr_expect(c.spawned == 2 && c.live == 1 && c.ended == 1);
    cr_expect_eq(c.resumptions, 13, "%d", (int)c.resumptions); /* it 11 times, we again once */
    cr_expect_eq(rota_spawn(NULL, yield_ten_times, NULL, &(rota_spawn_options){ .eager = true }), 0);
    cr_expect_eq(rota_loop_counters(rota_loop_current(), &c), 0);
    cr_expect_eq(c.resumptions, 15, "%d", (int)c.resumptions); /* it, and we again */
    return 0;
}

Task_test(trace, resumptions_are_counted_at_any_time) { return count_resumptions(NULL); }

/* The same seen from the hook: as many as there were switches into tasks. */
static void count_switches(void *ctx, const rota_trace_event *e) {
    *(uint64_t *)ctx += e->kind == ROTA_TRACE_SWITCH_IN;
}

static intptr_t busy(void *counted) {
    rota_counters c;
    rota_soon soons[3];
    int calls = 0;
    for (int i = 0; i < 3; i++) {
        rota_soon_init(&soons[i], count_soon, &calls);
        cr_expect_eq(rota_soon_start(rota_loop_current(), &soons[i]), 0);
    }
    cr_expect_eq(rota_soon_stop(rota_loop_current(), &soons[1]), 0); /* leaves a hole in the queue */
    for (int i = 0; i < 200; i++)
        cr_expect_eq(rota_spawn(NULL, yield_ten_times, NULL, &(rota_spawn_options){ .eager = i % 3 == 0 }), 0);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect_eq(rota_loop_counters(rota_loop_current(), &c), 0);
    cr_expect_eq(c.resumptions, *(uint64_t *)counted, "%d", (int)c.resumptions);
    cr_expect_eq(c.callbacks, 2);
    cr_expect_eq(c.timers, 1);
    cr_expect_eq(c.spawned, 201);
    cr_expect_eq(c.live, 1);
    return 0;
}

Test(trace, counters_and_hook_agree) {
    uint64_t counted = 0;
    rota_loop_options options = test_options();
    options.trace = count_switches;
    options.trace_ctx = &counted;
    intptr_t value;
    cr_expect_eq(run_with(busy, &counted, &value, &options), 0);
}

Test(trace, what_the_reactor_does_is_counted, .init = kit_open, .fini = kit_close) {
    int ends[2], calls = 0;
    make_pipe(ends);
    rota_watcher w;
    rota_timer timer;
    rota_counters c;
    rota_watcher_init(&w, ends[0], ROTA_READ, read_all, &calls);
    cr_assert_eq(rota_watcher_start(loop, &w), 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    rota_timer_init(&timer, count_timer, &calls);
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    turn_once(0);
    cr_assert_eq(rota_loop_counters(loop, &c), 0);
    cr_expect(c.turns == 1 && c.polls == 1 && c.events == 1 && c.timers == 1 && c.callbacks == 1, "%d %d %d %d %d",
              (int)c.turns, (int)c.polls, (int)c.events, (int)c.timers, (int)c.callbacks);
    cr_expect(c.spawned == 0 && c.resumptions == 0 && c.waited == 0);
    cr_expect_eq(rota_watcher_stop(loop, &w), 0);
    close(ends[0]);
    close(ends[1]);
}

static void run_on(rota_soon *soon, void *arg) {
    (void)arg;
    cr_expect_eq(rota_soon_start(loop, soon), 0);
}

static uint64_t polls_so_far(void) {
    rota_counters c;
    cr_expect_eq(rota_loop_counters(loop, &c), 0);
    return c.polls;
}

/* Between two rounds of ready work the kernel has nothing to say where nobody watches a descriptor. */
Test(trace, a_busy_loop_asks_the_kernel_only_for_watchers, .init = kit_open, .fini = kit_close) {
    int ends[2], calls = 0;
    make_pipe(ends);
    rota_soon soon;
    rota_watcher w;
    rota_soon_init(&soon, run_on, NULL);
    rota_watcher_init(&w, ends[0], ROTA_READ, read_all, &calls);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(polls_so_far(), 0);
    cr_assert_eq(rota_watcher_start(loop, &w), 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(polls_so_far(), 1);
    cr_expect_eq(calls, 1, "and sees what has come, however busy it is");
    cr_expect_eq(rota_watcher_stop(loop, &w), 0);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(polls_so_far(), 1);
    cr_assert_eq(rota__watch_aside(loop, &w), 0); /* one that does not keep the loop alive */
    cr_assert_eq(write(ends[1], "x", 1), 1);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(polls_so_far(), 2);
    cr_expect_eq(calls, 2);
    rota__unwatch(loop, &w);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(polls_so_far(), 2);
    if (rota_loop_fd(loop) >= 0) { /* which another loop watches, so that there is always somebody */
        turn_once(ROTA_FOREVER);
        cr_expect_eq(polls_so_far(), 3);
    }
    cr_expect_eq(rota_soon_stop(loop, &soon), 0);
    close(ends[0]);
    close(ends[1]);
}

static intptr_t wait_a_second(void *unused) {
    (void)unused;
    rota_counters c;
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect_eq(rota_loop_counters(rota_loop_current(), &c), 0);
    cr_expect_eq(c.waited, ROTA_S);
    return 0;
}

Test(trace, waiting_time_is_counted_in_debug_mode) {
    rota_loop_options options = test_options();
    options.debug = true;
    intptr_t value;
    cr_expect_eq(run_with(wait_a_second, NULL, &value, &options), 0);
}

static intptr_t task_numbers(void *unused) {
    (void)unused;
    rota_task *a, *b;
    cr_expect_eq(rota_spawn(&a, return_arg, NULL, NULL), 0);
    cr_expect_eq(rota_join(a, NULL), 0);
    cr_expect_eq(rota_spawn(&b, return_arg, NULL, NULL), 0);
    cr_expect_eq(rota_task_number(rota_self()), 1);
    cr_expect_eq(rota_task_number(b), 3);
    cr_expect_eq(rota_join(b, NULL), 0);
    cr_expect_eq(rota_task_number(b), 0);
    cr_expect_eq(rota_task_number(NULL), 0);
    return 0;
}

Task_test(trace, a_number_is_never_used_again) { return task_numbers(NULL); }
