/* A loop inside another: rota_loop_fd in a plain poll(2). Whatever there is to do makes the descriptor readable,
 * also what comes up while the outer poll sleeps; nothing else does, and not for longer than until the turn. */
#include "tests/reactor_kit.h"

enum { PATIENCE_MS = 10000 };   /* a wake-up that does not come within this is lost */

static int foreign;
static int turns;

static void begin(void) {
    kit_open_threads();
    foreign = rota_loop_fd(loop);
    if (is_poll()) {
        cr_assert_eq(foreign, -ENOTSUP);
        kit_close();
        cr_skip_test("no one descriptor stands for all that poll(2) looks at: -ENOTSUP");
    }
    cr_assert_geq(foreign, 0);
}

/* The outer loop: sleeps, and turns when the descriptor says so. False when nothing came in time. */
static bool outer_round(int ms) {
    if (!readable_within(foreign, ms))
        return false;
    turns++;
    turn_once(0);
    return true;
}

/* Turns until calls has reached n. */
static void outer_until(const int *calls, int n) {
    while (*calls < n)
        cr_assert(outer_round(PATIENCE_MS), "a wake-up was lost: %d of %d calls", *calls, n);
}

/* After what was expected, at most one turn for nothing, then silence. */
static void expect_silence(void) {
    for (int i = 0; i < 3 && outer_round(20); i++)
        ;
    cr_expect(!readable_within(foreign, 20), "the descriptor stays readable");
}

Test(foreign, the_descriptor_stays_the_same, .init = begin, .fini = kit_close) {
    cr_expect_eq(rota_loop_fd(loop), foreign);
    cr_expect(fcntl(foreign, F_GETFD) & FD_CLOEXEC);
}

Test(foreign, an_idle_loop_is_silent, .init = begin, .fini = kit_close) {
    expect_silence();
    cr_expect_leq(turns, 1);
}

Test(foreign, a_timer_started_outside_a_turn_wakes, .init = begin, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    int64_t start = real_time();
    cr_assert_eq(rota_timer_start(loop, &timer, 20 * ROTA_MS), 0);
    outer_until(&calls, 1);
    cr_expect_geq(real_time() - start, 20 * ROTA_MS);
    cr_expect_leq(turns, 3, "%d turns", turns);
    expect_silence();
}

Test(foreign, a_due_timer_is_seen_at_once, .init = begin, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    cr_expect(readable_within(foreign, 0));
    outer_until(&calls, 1);
    expect_silence();
}

Test(foreign, an_earlier_timer_replaces_a_later_one, .init = begin, .fini = kit_close) {
    rota_timer late, early;
    int lates = 0, earlies = 0;
    rota_timer_init(&late, count_timer, &lates);
    rota_timer_init(&early, count_timer, &earlies);
    cr_assert_eq(rota_timer_start(loop, &late, 3600 * ROTA_S), 0);
    cr_assert_eq(rota_timer_start(loop, &early, 10 * ROTA_MS), 0);
    outer_until(&earlies, 1);
    cr_expect_eq(lates, 0);
    cr_expect_leq(turns, 3);
    expect_silence();
    cr_expect_eq(rota_timer_stop(loop, &late), 0);
}

Test(foreign, timers_that_are_pushed_away_wake_rarely, .init = begin, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(rota_timer_start(loop, &timer, 20 * ROTA_MS + i * ROTA_US), 0);
    outer_until(&calls, 1);
    cr_expect_leq(turns, 4, "%d turns", turns);
}

Test(foreign, a_timer_with_slow_outer_loop_is_not_lost, .init = begin, .fini = kit_close) {
    rota_timer timers[3];
    int calls = 0;
    for (int i = 0; i < 3; i++) {
        rota_timer_init(&timers[i], count_timer, &calls);
        cr_assert_eq(rota_timer_start(loop, &timers[i], (i + 1) * ROTA_MS), 0);
    }
    work_for(10 * ROTA_MS);
    outer_until(&calls, 3);
    expect_silence();
}

Test(foreign, ready_work_from_outside_wakes, .init = begin, .fini = kit_close) {
    rota_soon soon;
    int calls = 0;
    rota_soon_init(&soon, count_soon, &calls);
    for (int i = 1; i <= 3; i++) {
        cr_assert_eq(rota_soon_start(loop, &soon), 0);
        cr_expect(readable_within(foreign, 0));
        outer_until(&calls, i);
    }
    cr_expect_leq(turns, 6);
    expect_silence();
}

static void start_again(rota_soon *soon, void *arg) {
    int *calls = arg;
    if (++*calls < 1000)
        cr_assert_eq(rota_soon_start(loop, soon), 0);
}

/* The budget ends the turn before the work ends: the descriptor must stay readable. */
Test(foreign, work_left_over_keeps_it_readable, .init = begin, .fini = kit_close) {
    rota_soon soon;
    int calls = 0;
    rota_soon_init(&soon, start_again, &calls);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    outer_until(&calls, 1000);
    cr_expect_geq(turns, 4);
    expect_silence();
}

Test(foreign, interest_in_what_is_ready_already_wakes, .init = begin, .fini = kit_close) {
    int ends[2], calls = 0;
    rota_watcher watcher;
    make_pair(ends);
    put(ends[1]);
    rota_watcher_init(&watcher, ends[0], ROTA_READ, count_watcher, &calls);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    outer_until(&calls, 1);
    expect_silence();

    /* Stopping and starting again is a change of interest too: what is still there is told once more. */
    cr_expect_eq(rota_watcher_stop(loop, &watcher), 0);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    outer_until(&calls, 2);
    expect_silence();

    cr_assert_eq(rota_watcher_again(loop, &watcher), 0);
    outer_until(&calls, 3);
    expect_silence();
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    cr_expect_eq(calls, 4);  /* ROTA_CLOSED */
    close(ends[1]);
}

Test(foreign, data_for_a_watched_descriptor_wakes, .init = begin, .fini = kit_close) {
    int ends[2], calls = 0;
    rota_watcher watcher;
    make_pair(ends);
    rota_watcher_init(&watcher, ends[0], ROTA_READ, count_watcher, &calls);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    expect_silence();
    put(ends[1]);
    outer_until(&calls, 1);
    expect_silence();
    cr_expect_eq(rota_watcher_stop(loop, &watcher), 0);
    cr_expect_eq(rota_fd_forget(loop, ends[0]), 0);
    close(ends[0]);
    close(ends[1]);
}

/* ---- while the outer poll sleeps, in this thread; others act ---- */

struct poster {
    rota_remote *remote;
    int n;
    int64_t pause;
    rota_soon soons[2000];
};

static void *post_all(void *arg) {
    struct poster *poster = arg;
    for (int i = 0; i < poster->n; i++) {
        if (poster->pause)
            nanosleep(&(struct timespec){ 0, (long)poster->pause }, NULL);
        if (rota_remote_post(poster->remote, &poster->soons[i]) < 0)
            return (void *)1;
    }
    rota_remote_close(poster->remote);
    return NULL;
}

static void post_and_count(int n, int64_t pause) {
    static struct poster poster;
    pthread_t thread;
    int calls = 0;
    void *failed;
    poster.n = n;
    poster.pause = pause;
    for (int i = 0; i < n; i++)
        rota_soon_init(&poster.soons[i], count_soon, &calls);
    cr_assert_eq(rota_remote_open(&poster.remote, loop), 0);
    turns = 0;
    cr_assert_eq(pthread_create(&thread, NULL, post_all, &poster), 0);
    outer_until(&calls, n);
    pthread_join(thread, &failed);
    cr_expect_null(failed);
    expect_silence();
}

Test(foreign, posts_wake_a_sleeping_outer_poll, .init = begin, .fini = kit_close) {
    post_and_count(20, 2 * ROTA_MS);
    cr_expect_leq(turns, 2 * 20 + 3, "%d turns for 20 posts", turns);
}

/* G08 for foreign loops. */
Test(foreign, no_post_of_a_flood_is_lost, .init = begin, .fini = kit_close, .timeout = 60) {
    for (int i = 0; i < 10; i++)
        post_and_count(2000, 0);
}

static void count_signal(rota_signal *watcher, int signo, void *arg) { (void)watcher, (void)signo, ++*(int *)arg; }

static void *send_signal(void *arg) {
    (void)arg;
    nanosleep(&(struct timespec){ 0, 5 * ROTA_MS }, NULL);
    kill(getpid(), SIGUSR1);
    return NULL;
}

Test(foreign, a_signal_wakes_the_outer_poll, .init = begin, .fini = kit_close) {
    rota_signal watcher;
    pthread_t thread;
    int calls = 0;
    rota_signal_init(&watcher, SIGUSR1, count_signal, &calls);
    cr_assert_eq(rota_signal_start(loop, &watcher), 0);
    expect_silence();
    cr_assert_eq(pthread_create(&thread, NULL, send_signal, NULL), 0);
    outer_until(&calls, 1);
    pthread_join(thread, NULL);
    expect_silence();
    cr_expect_eq(rota_signal_stop(loop, &watcher), 0);
}

Test(foreign, stop_wakes, .init = begin, .fini = kit_close) {
    expect_silence();
    cr_expect_eq(rota_loop_stop(loop), 0);
    cr_expect(readable_within(foreign, 0));
    expect_silence();
}

static void ask_for_descriptor(rota_soon *soon, void *arg) {
    (void)soon;
    foreign = rota_loop_fd(loop);
    cr_assert_eq(rota_timer_start(loop, arg, ROTA_MS), 0);
}

Test(foreign, it_can_be_asked_for_inside_a_turn, .init = begin, .fini = kit_close) {
    rota_loop *first = loop, *second;
    rota_soon soon;
    rota_timer timer;
    int calls = 0;
    cr_assert_eq(rota_loop_new(&second, NULL), 0);
    loop = second;
    rota_timer_init(&timer, count_timer, &calls);
    rota_soon_init(&soon, ask_for_descriptor, &timer);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    turn_once(0);
    outer_until(&calls, 1);
    cr_expect_eq(rota_loop_free(second), 0);
    loop = first;
}

/* In an outer epoll-like poll of two loops, each shows only its own work. */
Test(foreign, two_loops_do_not_disturb_each_other, .init = begin, .fini = kit_close) {
    rota_loop *second;
    rota_soon soon;
    int calls = 0;
    cr_assert_eq(rota_loop_new(&second, NULL), 0);
    int other = rota_loop_fd(second);
    cr_assert_geq(other, 0);
    rota_soon_init(&soon, count_soon, &calls);
    cr_assert_eq(rota_soon_start(second, &soon), 0);
    cr_expect(readable_within(other, 0));
    cr_expect(!readable_within(foreign, 0));
    cr_expect_eq(rota_loop_turn(second, 0), 0);
    cr_expect_eq(calls, 1);
    cr_expect_eq(rota_loop_free(second), 0);
}

Test(foreign, the_loop_can_still_be_run, .init = begin, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    cr_assert_eq(rota_timer_start(loop, &timer, 2 * ROTA_MS), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(calls, 1);
}
