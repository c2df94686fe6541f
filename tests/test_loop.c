/* The loop object: creating, running, stopping, closing, freeing; who may call; what wrong calls answer. */
#include "tests/reactor_kit.h"

/* ---- creating ---- */

Test(loop, the_first_one_of_a_thread_becomes_current, .init = kit_open, .fini = kit_close) {
    rota_loop *other;
    cr_expect_eq(rota_loop_current(), loop);
    cr_assert_eq(rota_loop_new(&other, NULL), 0);
    cr_expect_eq(rota_loop_current(), loop);
    cr_expect_eq(rota_loop_free(other), 0);
    cr_expect_eq(rota_loop_current(), loop);
}

Test(loop, bad_options_are_refused) {
    static const rota_allocator no_function;
    rota_loop *l = (rota_loop *)&l;
    cr_expect_eq(rota_loop_new(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_loop_new(&l, &(rota_loop_options){ .backend = "none" }), -EINVAL);
    cr_expect_null(l);
    cr_expect_eq(rota_loop_new(&l, &(rota_loop_options){ .allocator = &no_function }), -EINVAL);
    cr_expect_null(rota_loop_current());
}

/* The environment counts where the program leaves it open. */
Test(loop, the_environment_may_choose_the_backend) {
    const char *const *names = rota_loop_backends();
    for (; *names; names++) {
        rota_loop *l;
        cr_assert_eq(setenv("ROTA_BACKEND", *names, 1), 0);
        cr_assert_eq(rota_loop_new(&l, NULL), 0);
        cr_expect_str_eq(rota_loop_backend(l), *names);
        cr_expect_eq(rota_loop_free(l), 0);
        cr_assert_eq(rota_loop_new(&l, &(rota_loop_options){ .backend = rota_loop_backends()[0] }), 0);
        cr_expect_str_eq(rota_loop_backend(l), rota_loop_backends()[0]);
        cr_expect_eq(rota_loop_free(l), 0);
    }
    rota_loop *l;
    cr_assert_eq(setenv("ROTA_BACKEND", "none", 1), 0);
    cr_expect_eq(rota_loop_new(&l, NULL), -EINVAL);
    cr_expect_null(l);
    cr_assert_eq(setenv("ROTA_BACKEND", "", 1), 0);
    cr_assert_eq(rota_loop_new(&l, NULL), 0, "empty is as not set");
    cr_expect_str_eq(rota_loop_backend(l), rota_loop_backends()[0]);
    cr_expect_eq(rota_loop_free(l), 0);
}

Test(loop, a_backend_of_the_environment_that_does_not_exist_is_reported) {
    rota_loop *l;
    cr_assert_eq(setenv("ROTA_BACKEND", "none", 1), 0);
    cr_expect_eq(rota_loop_new(&l, &(rota_loop_options){ .report = collect_report }), -EINVAL);
    cr_assert_eq(reports_of(ROTA_REPORT_ENVIRONMENT), 1);
    const char *text = report_of(ROTA_REPORT_ENVIRONMENT)->text;
    cr_expect_eq(strncmp(text, "ROTA_BACKEND=none means nothing; it may be: ", 44), 0, "%s", text);
    cr_expect_not_null(strstr(text, rota_loop_backends()[0]), "%s", text);
}

Test(loop, a_clock_of_the_environment_that_does_not_exist_is_reported_and_ignored) {
    rota_loop *l;
    cr_assert_eq(setenv("ROTA_CLOCK", "solar", 1), 0);
    cr_assert_eq(rota_loop_new(&l, &(rota_loop_options){ .report = collect_report }), 0);
    cr_assert_eq(reports_of(ROTA_REPORT_ENVIRONMENT), 1);
    cr_expect_str_eq(report_of(ROTA_REPORT_ENVIRONMENT)->text, "ROTA_CLOCK=solar is ignored; it may be: virtual");
    cr_expect_eq(rota_loop_free(l), 0);
}

static void note_fired(rota_timer *timer, void *arg) {
    (void)timer;
    *(bool *)arg = true;
}

Test(loop, the_environment_may_choose_a_clock_that_jumps) {
    rota_loop *l;
    rota_timer timer;
    bool fired = false;
    cr_assert_eq(setenv("ROTA_CLOCK", "virtual", 1), 0);
    cr_assert_eq(rota_loop_new(&l, &(rota_loop_options){ .report = collect_report }), 0);
    int64_t began = rota_loop_now(l);
    rota_timer_init(&timer, note_fired, &fired);
    cr_assert_eq(rota_timer_start(l, &timer, 86400 * ROTA_S), 0);
    cr_expect_eq(rota_loop_run(l), 0);
    cr_expect(fired);
    cr_expect_eq(rota_loop_now(l) - began, 86400 * ROTA_S);
    cr_expect_eq(reports.n, 0);
    cr_expect_eq(rota_loop_free(l), 0);
}

Test(loop, every_backend_can_be_chosen) {
    const char *const *name = rota_loop_backends();
    cr_assert_not_null(*name);
    for (; *name; name++) {
        rota_loop *l;
        cr_assert_eq(rota_loop_new(&l, &(rota_loop_options){ .backend = *name }), 0);
        cr_expect_str_eq(rota_loop_backend(l), *name);
        cr_expect_eq(rota_loop_free(l), 0);
    }
    cr_expect_null(rota_loop_backend(NULL));
}

/* E21. */
Test(loop, loops_come_and_go_without_a_trace, .timeout = 60) {
    test_begin();
    for (int i = 0; i < 3000; i++) {
        cr_assert_eq(rota_loop_new(&loop, &(rota_loop_options){ .allocator = &memory_allocator }), 0);
        turn_once(0);
        cr_assert_eq(rota_loop_free(loop), 0);
    }
    test_end();
}

/* E21. */
Test(loop, a_hundred_live_side_by_side) {
    enum { N = 100 };
    rota_loop *loops[N];
    rota_soon soons[N];
    int calls = 0;
    test_begin();
    for (int i = 0; i < N; i++) {
        cr_assert_eq(rota_loop_new(&loops[i], &(rota_loop_options){ .allocator = &memory_allocator }), 0);
        rota_soon_init(&soons[i], count_soon, &calls);
        cr_assert_eq(rota_soon_start(loops[i], &soons[i]), 0);
    }
    for (int i = 0; i < N; i++)
        cr_expect_eq(rota_loop_run(loops[i]), 0);
    cr_expect_eq(calls, N);
    for (int i = 0; i < N; i++)
        cr_expect_eq(rota_loop_free(loops[i]), 0);
    test_end();
}

/* I02: everything comes from the loop's allocator, and goes back to it with the size it had. */
Test(loop, its_own_allocator_serves_it, .init = kit_open, .fini = kit_close) {
    cr_expect_gt(memory.blocks, 0u);
}

/* ---- running ---- */

Test(loop, run_returns_when_nothing_can_happen, .init = kit_open, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    cr_expect_eq(rota_loop_run(loop), 0);
    rota_timer_init(&timer, count_timer, &calls);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_MS), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(calls, 1);
}

Test(loop, turn_says_whether_something_is_left, .init = kit_open, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 0);
    rota_timer_init(&timer, count_timer, &calls);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_S), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_eq(rota_timer_stop(loop, &timer), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
}

Test(loop, turn_waits_no_longer_than_asked, .init = kit_open, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    cr_assert_eq(rota_timer_start(loop, &timer, 3600 * ROTA_S), 0);
    int64_t start = real_time();
    cr_expect_eq(rota_loop_turn(loop, 5 * ROTA_MS), 1);
    cr_expect_geq(real_time() - start, 5 * ROTA_MS);
    cr_expect_eq(rota_loop_turn(loop, -1), 1);
    cr_expect_eq(rota_timer_stop(loop, &timer), 0);
}

static void stop_and_say(rota_soon *soon, void *arg) {
    (void)soon;
    say(arg);
    cr_expect_eq(rota_loop_stop(loop), 0);
}

Test(loop, stop_ends_run_at_the_end_of_the_turn, .init = kit_open_virtual, .fini = kit_close) {
    rota_soon first, second;
    rota_timer due, later;
    rota_soon_init(&first, stop_and_say, "1");
    rota_soon_init(&second, say_soon, "2");
    rota_timer_init(&due, say_timer, "t");
    rota_timer_init(&later, say_timer, "l");
    cr_assert_eq(rota_soon_start(loop, &first), 0);
    cr_assert_eq(rota_soon_start(loop, &second), 0);
    cr_assert_eq(rota_timer_start(loop, &due, 0), 0);
    cr_assert_eq(rota_timer_start(loop, &later, 10 * ROTA_MS), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "12t");
    cr_expect_eq(rota_loop_run(loop), 0);  /* it can be run again */
    cr_expect_str_eq(trace, "12tl");
}

Test(loop, a_stop_before_run_ends_it_after_one_turn, .init = kit_open_virtual, .fini = kit_close) {
    rota_timer due, later;
    rota_timer_init(&due, say_timer, "t");
    rota_timer_init(&later, say_timer, "l");
    cr_assert_eq(rota_timer_start(loop, &due, 0), 0);
    cr_assert_eq(rota_timer_start(loop, &later, 10 * ROTA_MS), 0);
    cr_expect_eq(rota_loop_stop(loop), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "t");
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "tl");
}

static rota_loop *second_loop;

static void try_nested(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    cr_expect_eq(rota_loop_run(loop), -EBUSY);
    cr_expect_eq(rota_loop_turn(loop, 0), -EBUSY);
    cr_expect_eq(rota_loop_run(second_loop), -EBUSY);
    cr_expect_eq(rota_loop_turn(second_loop, 0), -EBUSY);
    cr_expect_eq(rota_loop_close(loop), -EBUSY);
    cr_expect_eq(rota_loop_free(loop), -EBUSY);
    cr_expect_eq(rota_loop_set_current(NULL), -EBUSY);
    cr_expect_eq(rota_loop_set_current(second_loop), -EBUSY);
    cr_expect_eq(rota_loop_current(), loop);
    cr_expect_eq(rota_loop_stop(loop), 0);
    say("n");
}

/* I06, I07. */
Test(loop, inside_a_turn_running_and_closing_are_busy, .init = kit_open, .fini = kit_close) {
    rota_soon soon;
    cr_assert_eq(rota_loop_new(&second_loop, NULL), 0);
    rota_soon_init(&soon, try_nested, NULL);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "n");
    cr_expect_eq(rota_loop_free(second_loop), 0);
}

static void close_second(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    cr_expect_eq(rota_loop_free(second_loop), 0);
    cr_expect_eq(rota_loop_current(), loop);
    cr_assert_eq(rota_loop_new(&second_loop, NULL), 0);
    cr_expect_eq(rota_loop_current(), loop);
    cr_expect_eq(rota_loop_free(second_loop), 0);
}

Test(loop, another_loop_may_come_and_go_inside_a_turn, .init = kit_open, .fini = kit_close) {
    rota_soon soon;
    cr_assert_eq(rota_loop_new(&second_loop, NULL), 0);
    rota_soon_init(&soon, close_second, NULL);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
}

static void see_current(rota_soon *soon, void *arg) {
    (void)soon;
    cr_expect_eq(rota_loop_current(), arg);
}

Test(loop, in_its_turn_a_loop_is_current, .init = kit_open, .fini = kit_close) {
    rota_loop *other;
    rota_soon soon;
    cr_assert_eq(rota_loop_new(&other, NULL), 0);
    rota_soon_init(&soon, see_current, other);
    cr_assert_eq(rota_soon_start(other, &soon), 0);
    cr_expect_eq(rota_loop_run(other), 0);
    cr_expect_eq(rota_loop_current(), loop);
    cr_expect_eq(rota_loop_set_current(other), 0);
    cr_expect_eq(rota_loop_current(), other);
    cr_expect_eq(rota_loop_set_current(NULL), 0);
    cr_expect_null(rota_loop_current());
    cr_expect_eq(rota_loop_free(other), 0);
    cr_expect_null(rota_loop_current());
}

/* D10: and a loop that has nothing to do does nothing. */
Test(loop, an_idle_loop_sleeps, .init = kit_open_meddled, .fini = kit_close) {
    rota_timer far, end;
    int calls = 0;
    rota_timer_init(&far, count_timer, &calls);
    rota_timer_init(&end, stop_timer, NULL);
    cr_assert_eq(rota_timer_start(loop, &far, 3600 * ROTA_S), 0);
    cr_assert_eq(rota_timer_start(loop, &end, 200 * ROTA_MS), 0);
    kit_waits = 0;
    int64_t cpu = cpu_time();
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_leq(kit_waits, 2, "%d waits", kit_waits);
    cr_expect_lt(cpu_time() - cpu, 100 * ROTA_MS);  /* of the 200 that it slept; the count above is exact */
    cr_expect_eq(calls, 0);
    cr_expect_eq(rota_timer_stop(loop, &far), 0);
}

/* ---- the clock ---- */

Test(loop, now_follows_the_clock, .init = kit_open, .fini = kit_close) {
    int64_t a = real_time(), b = rota_now(), c = real_time();
    cr_expect(a <= b && b <= c);
    cr_expect_eq(rota_loop_set_current(NULL), 0);
    a = real_time(), b = rota_now();
    cr_expect(a <= b);
    int64_t judged = rota_loop_now(loop);
    work_for(ROTA_MS);
    cr_expect_eq(rota_loop_now(loop), judged);
    turn_once(0);
    cr_expect_geq(rota_loop_now(loop), judged + ROTA_MS);
    cr_expect_eq(rota_loop_now(NULL), -EINVAL);
}

/* D04. */
Test(loop, timers_are_never_early, .init = kit_open, .fini = kit_close, .timeout = 60) {
    enum { N = 2000 };
    static struct { rota_timer timer; int64_t due; } timers[N];
    static int early, fired;
    for (int i = 0; i < N; i++) {
        rota_timer_init(&timers[i].timer, count_timer, &fired);
        int64_t ns = (1 + i % 20) * ROTA_MS + i * 977 % ROTA_MS;
        timers[i].due = real_time() + ns;
        cr_assert_eq(rota_timer_start(loop, &timers[i].timer, ns), 0);
    }
    int seen = 0;
    while (rota_loop_turn(loop, ROTA_FOREVER) > 0 || fired < N) {
        int64_t now = real_time();
        for (int i = 0; i < N; i++) {
            if (timers[i].due && !rota_timer_active(&timers[i].timer)) {
                early += now < timers[i].due;
                timers[i].due = 0;
                seen++;
            }
        }
    }
    cr_expect_eq(early, 0);
    cr_expect_eq(fired, N);
    cr_expect_leq(seen, N);
}

struct chain { rota_timer timer; int left; int64_t due; int early; };

static void next_of_chain(rota_timer *timer, void *arg) {
    struct chain *chain = arg;
    chain->early += real_time() < chain->due;
    if (--chain->left) {
        chain->due = real_time() + 50 * ROTA_US;
        cr_assert_eq(rota_timer_start(loop, timer, 50 * ROTA_US), 0);
    }
}

static void run_chain(void) {
    struct chain chain = { .left = 40, .due = real_time() + 50 * ROTA_US };
    rota_timer_init(&chain.timer, next_of_chain, &chain);
    cr_assert_eq(rota_timer_start(loop, &chain.timer, 50 * ROTA_US), 0);
    kit_waits = 0;
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(chain.left, 0);
    cr_expect_eq(chain.early, 0);
    cr_expect_leq(kit_waits, 2 * 40, "%d waits for 40 timers", kit_waits);
}

/* D09. */
Test(loop, short_timers_do_not_spin, .init = kit_open_meddled, .fini = kit_close) { run_chain(); }

static int no_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout) {
    (void)epoll, (void)events, (void)n, (void)timeout;
    return -ENOSYS;
}

/* D09, E20. */
Test(loop, short_timers_do_not_spin_without_pwait2, .init = kit_open_meddled, .fini = kit_close) {
    kit_sys.epoll_pwait2 = no_pwait2;
    run_chain();
}

/* D05. */
static void work_then_start(rota_soon *soon, void *arg) {
    (void)soon;
    work_for(20 * ROTA_MS);
    cr_assert_eq(rota_timer_start(loop, arg, 10 * ROTA_MS), 0);
}

Test(loop, a_timer_counts_from_its_start_not_from_the_turns, .init = kit_open, .fini = kit_close) {
    rota_soon soon;
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    rota_soon_init(&soon, work_then_start, &timer);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    int64_t start = real_time();
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_geq(real_time() - start, 30 * ROTA_MS);
    cr_expect_eq(calls, 1);
}

Test(loop, times_saturate, .init = kit_open, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    cr_expect_eq(rota_timer_start(loop, &timer, ROTA_FOREVER), 0);
    cr_expect(rota_timer_active(&timer));
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_eq(rota_timer_start(loop, &timer, INT64_MIN), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
    cr_expect_eq(calls, 1);
    cr_expect_eq(rota_timer_start_at(loop, &timer, INT64_MIN), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
    cr_expect_eq(calls, 2);
}

/* ---- soon-callbacks ---- */

static void again_and_say(rota_soon *soon, void *arg) {
    int *left = arg;
    say("a");
    if (--*left)
        cr_expect_eq(rota_soon_start(loop, soon), 0);
}

Test(loop, a_soon_callback_runs_once_and_may_start_itself_again, .init = kit_open, .fini = kit_close) {
    rota_soon again, other;
    int left = 2;
    rota_soon_init(&again, again_and_say, &left);
    rota_soon_init(&other, say_soon, "b");
    cr_expect_eq(rota_soon_start(loop, &again), 0);
    cr_expect_eq(rota_soon_start(loop, &again), -EALREADY);
    cr_expect_eq(rota_soon_start(loop, &other), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "aba");
}

Test(loop, a_stopped_soon_callback_does_not_run, .init = kit_open, .fini = kit_close) {
    rota_soon soons[3];
    for (int i = 0; i < 3; i++) {
        rota_soon_init(&soons[i], say_soon, &"a\0b\0c"[i * 2]);
        cr_expect_eq(rota_soon_start(loop, &soons[i]), 0);
    }
    cr_expect_eq(rota_soon_stop(loop, &soons[1]), 0);
    cr_expect_eq(rota_soon_stop(loop, &soons[1]), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "ac");
    cr_expect_eq(rota_soon_start(loop, &soons[1]), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "acb");
}

/* ---- closing ---- */

Test(loop, closing_stops_everything_without_a_call, .init = kit_open, .fini = kit_close) {
    int ends[2];
    rota_timer timer;
    rota_watcher watcher;
    rota_soon soon;
    make_pair(ends);
    put(ends[1]);
    rota_timer_init(&timer, say_timer, "t");
    rota_watcher_init(&watcher, ends[0], ROTA_READ, say_watcher, "w");
    rota_soon_init(&soon, say_soon, "s");
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_str_eq(trace, "");
    cr_expect(!rota_timer_active(&timer));

    /* All of them can be used with another loop at once. */
    rota_loop *other;
    cr_assert_eq(rota_loop_new(&other, NULL), 0);
    cr_expect_eq(rota_watcher_start(other, &watcher), 0);
    cr_expect_eq(rota_timer_start(other, &timer, 0), 0);
    cr_expect_eq(rota_soon_start(other, &soon), 0);
    cr_expect_eq(rota_loop_turn(other, 0), 1);
    cr_expect_str_eq(trace, "swt");
    cr_expect_eq(rota_loop_free(other), 0);
    close(ends[0]);
    close(ends[1]);
}

/* Every call with this loop; each must give rc. */
static void try_every_call(int rc) {
    rota_timer timer;
    rota_soon soon;
    rota_watcher watcher;
    rota_signal signal;
    rota_remote *remote;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    rota_soon_init(&soon, count_soon, &calls);
    rota_watcher_init(&watcher, 0, ROTA_READ, count_watcher, &calls);
    rota_signal_init(&signal, SIGUSR1, NULL, NULL);
    cr_expect_eq(rota_loop_run(loop), rc);
    cr_expect_eq(rota_loop_turn(loop, 0), rc);
    cr_expect_eq(rota_loop_stop(loop), rc);
    cr_expect_eq(rota_loop_fd(loop), rc);
    cr_expect_eq(rota_loop_set_current(loop), rc);
    cr_expect_eq(rota_soon_start(loop, &soon), rc);
    cr_expect_eq(rota_soon_stop(loop, &soon), rc);
    cr_expect_eq(rota_timer_start(loop, &timer, 0), rc);
    cr_expect_eq(rota_timer_start_at(loop, &timer, 0), rc);
    cr_expect_eq(rota_timer_stop(loop, &timer), rc);
    cr_expect_eq(rota_watcher_start(loop, &watcher), rc);
    cr_expect_eq(rota_watcher_stop(loop, &watcher), rc);
    cr_expect_eq(rota_watcher_again(loop, &watcher), rc);
    cr_expect_eq(rota_fd_close(loop, 0), rc);
    cr_expect_eq(rota_fd_forget(loop, 0), rc);
    cr_expect_eq(rota_remote_open(&remote, loop), rc);
    cr_expect_null(remote);
    cr_expect_eq(rota_signal_start(loop, &signal), rc);
    cr_expect_eq(rota_signal_stop(loop, &signal), rc);
    cr_expect_eq(calls, 0);
}

/* I04. */
Test(loop, a_closed_loop_answers_eshutdown, .init = kit_open, .fini = kit_close) {
    char buf[16];
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_null(rota_loop_current());
    try_every_call(-ESHUTDOWN);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_loop_describe(loop, buf, sizeof buf), 6u);
    cr_expect_str_eq(buf, "closed");
}

static void *other_thread(void *arg) {
    (void)arg;
    cr_expect_null(rota_loop_current());
    try_every_call(-EPERM);
    cr_expect_eq(rota_loop_close(loop), -EPERM);
    cr_expect_eq(rota_loop_free(loop), -EPERM);
    rota_loop *own;
    cr_expect_eq(rota_loop_new(&own, NULL), 0);
    try_every_call(-EPERM);  /* also from a thread that has a loop */
    cr_expect_eq(rota_loop_free(own), 0);
    return NULL;
}

static void in_other_thread(void) {
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, other_thread, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

/* I05. */
Test(loop, another_thread_is_answered_eperm, .init = kit_open, .fini = kit_close) { in_other_thread(); }

/* I05: who owns a loop is decided before what state it is in. */
Test(loop, another_thread_cannot_free_a_closed_loop, .init = kit_open, .fini = kit_close) {
    cr_expect_eq(rota_loop_close(loop), 0);
    in_other_thread();
}

/* I03. */
Test(loop, null_is_answered_einval, .init = kit_open, .fini = kit_close) {
    rota_loop *mine = loop;
    loop = NULL;
    cr_expect_eq(rota_loop_set_current(NULL), 0);
    rota_timer timer;
    rota_soon soon;
    rota_watcher watcher;
    rota_remote *remote;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    rota_soon_init(&soon, count_soon, &calls);
    rota_watcher_init(&watcher, 0, ROTA_READ, count_watcher, &calls);
    cr_expect_eq(rota_loop_run(NULL), -EINVAL);
    cr_expect_eq(rota_loop_turn(NULL, 0), -EINVAL);
    cr_expect_eq(rota_loop_stop(NULL), -EINVAL);
    cr_expect_eq(rota_loop_fd(NULL), -EINVAL);
    cr_expect_eq(rota_loop_close(NULL), -EINVAL);
    cr_expect_eq(rota_loop_free(NULL), 0);
    cr_expect_eq(rota_soon_start(NULL, &soon), -EINVAL);
    cr_expect_eq(rota_soon_stop(NULL, &soon), -EINVAL);
    cr_expect_eq(rota_timer_start(NULL, &timer, 0), -EINVAL);
    cr_expect_eq(rota_timer_stop(NULL, &timer), -EINVAL);
    cr_expect_eq(rota_watcher_start(NULL, &watcher), -EINVAL);
    cr_expect_eq(rota_watcher_stop(NULL, &watcher), -EINVAL);
    cr_expect_eq(rota_watcher_again(NULL, &watcher), -EINVAL);
    cr_expect_eq(rota_fd_close(NULL, 0), -EINVAL);
    cr_expect_eq(rota_fd_forget(NULL, 0), -EINVAL);
    cr_expect_eq(rota_remote_open(&remote, NULL), -EINVAL);  /* no current loop either */
    cr_expect_null(remote);
    loop = mine;

    cr_expect_eq(rota_soon_start(loop, NULL), -EINVAL);
    cr_expect_eq(rota_soon_stop(loop, NULL), -EINVAL);
    cr_expect_eq(rota_timer_start(loop, NULL, 0), -EINVAL);
    cr_expect_eq(rota_timer_start_at(loop, NULL, 0), -EINVAL);
    cr_expect_eq(rota_timer_stop(loop, NULL), -EINVAL);
    cr_expect_eq(rota_watcher_start(loop, NULL), -EINVAL);
    cr_expect_eq(rota_watcher_stop(loop, NULL), -EINVAL);
    cr_expect_eq(rota_watcher_again(loop, NULL), -EINVAL);
    cr_expect_eq(rota_signal_start(loop, NULL), -EINVAL);
    cr_expect_eq(rota_signal_stop(loop, NULL), -EINVAL);
    cr_expect_eq(rota_remote_open(NULL, loop), -EINVAL);

    rota_timer_init(&timer, NULL, NULL);
    rota_soon_init(&soon, NULL, NULL);
    rota_watcher_init(&watcher, 0, ROTA_READ, NULL, NULL);
    cr_expect_eq(rota_timer_start(loop, &timer, 0), -EINVAL);
    cr_expect_eq(rota_soon_start(loop, &soon), -EINVAL);
    cr_expect_eq(rota_watcher_start(loop, &watcher), -EINVAL);
}

/* ---- words ---- */

Test(loop, describe_counts_what_keeps_it_alive, .init = kit_open, .fini = kit_close) {
    char buf[200], small[8];
    rota_timer timers[2];
    rota_soon soon;
    rota_remote *remote;
    for (int i = 0; i < 2; i++) {
        rota_timer_init(&timers[i], say_timer, "");
        cr_assert_eq(rota_timer_start(loop, &timers[i], ROTA_S), 0);
    }
    rota_soon_init(&soon, say_soon, "");
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    size_t n = rota_loop_describe(loop, buf, sizeof buf);
    cr_expect_str_eq(buf, "1 ready, 2 timers, 0 descriptor waits, 0 signal watchers, 0 jobs, 1 remotes");
    cr_expect_eq(n, strlen(buf));
    cr_expect_eq(rota_loop_describe(loop, small, sizeof small), n);
    cr_expect_str_eq(small, "1 ready");
    cr_expect_eq(rota_loop_describe(loop, NULL, 0), n);
    rota_remote_close(remote);
    cr_expect_eq(rota_loop_close(loop), 0);  /* while the timers are still there */
}

/* ---- the process is left as it was ---- */

static sigset_t mask_now(void) {
    sigset_t mask;
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    return mask;
}

static void see_mask(rota_soon *soon, void *arg) {
    sigset_t before = *(sigset_t *)arg, now = mask_now();
    (void)soon;
    for (int signo = 1; signo < 32; signo++)
        cr_expect_eq(sigismember(&now, signo), sigismember(&before, signo));
}

/* G17, G18. */
Test(loop, masks_and_dispositions_stay) {
    struct sigaction pipe_before, pipe_after;
    rota_soon soon;
    sigset_t block, before;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &block, NULL);
    before = mask_now();
    sigaction(SIGPIPE, NULL, &pipe_before);
    kit_open();
    rota_soon_init(&soon, see_mask, &before);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    kit_close();
    see_mask(NULL, &before);
    sigaction(SIGPIPE, NULL, &pipe_after);
    cr_expect_eq(pipe_after.sa_handler, pipe_before.sa_handler);
}
