/* One turn: the order of its steps, and that none of them starves another. */
#include "tests/reactor_kit.h"

#include <sys/resource.h>

/* ---- the order of the steps ---- */

static void say_and_read(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)ready;
    empty(watcher->fd);
    say(arg);
}

struct trash { struct rota__garbage garbage; };

static void say_free(rota_loop *l, struct rota__garbage *garbage) { (void)l, (void)garbage, say("5"); }

Test(turn, steps_come_in_their_order, .init = kit_open, .fini = kit_close) {
    int ends[2];
    rota_timer timer;
    rota_watcher watcher;
    rota_soon soon;
    static struct trash trash = { { NULL, say_free } };
    make_pair(ends);
    loop->garbage = &trash.garbage;
    rota_timer_init(&timer, say_timer, "4");
    rota_watcher_init(&watcher, ends[0], ROTA_READ, say_and_read, "3");
    rota_soon_init(&soon, say_soon, "1");
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    put(ends[1]);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    turn_once(ROTA_FOREVER);
    cr_expect_str_eq(trace, "1345");
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
}

static void stall(rota_soon *soon, void *arg) {
    (void)soon;
    work_for(5 * ROTA_MS);
    put(*(int *)arg);
}

/* Data that came during a stall is seen before the deadline that passed meanwhile. */
Test(turn, after_a_stall_data_comes_before_deadlines, .init = kit_open, .fini = kit_close) {
    int ends[2];
    rota_timer timer;
    rota_watcher watcher;
    rota_soon soon;
    make_pair(ends);
    rota_watcher_init(&watcher, ends[0], ROTA_READ, say_and_read, "d");
    rota_timer_init(&timer, say_timer, "t");
    rota_soon_init(&soon, stall, &ends[1]);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_MS), 0);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    turn_once(0);
    cr_expect_str_eq(trace, "dt");
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
}

/* ---- timers in step 4 ---- */

static rota_timer timers[4];

static void say_and_restart(rota_timer *timer, void *arg) {
    say(arg);
    cr_expect_eq(rota_timer_start(loop, timer, 0), 0);
}

static void say_and_stop_others(rota_timer *timer, void *arg) {
    say(arg);
    for (int i = 0; i < 4; i++)
        if (&timers[i] != timer)
            cr_expect_eq(rota_timer_stop(loop, &timers[i]), 0);
}

static void start_timers(void (*fn)(rota_timer *, void *)) {
    int64_t when = rota_now();
    for (int i = 0; i < 4; i++) {
        rota_timer_init(&timers[i], fn, &"a\0b\0c\0d"[i * 2]);
        cr_assert_eq(rota_timer_start_at(loop, &timers[i], when), 0);
    }
}

/* D01. */
Test(turn, equal_deadlines_fire_in_the_order_of_starting, .init = kit_open, .fini = kit_close) {
    start_timers(say_timer);
    turn_once(0);
    cr_expect_str_eq(trace, "abcd");
}

/* D02. */
Test(turn, a_due_timer_can_be_stopped_by_an_earlier_one, .init = kit_open, .fini = kit_close) {
    start_timers(say_and_stop_others);
    turn_once(0);
    cr_expect_str_eq(trace, "a");
}

/* D03. */
Test(turn, a_timer_started_in_step_4_waits_for_the_next_turn, .init = kit_open, .fini = kit_close) {
    start_timers(say_and_restart);
    turn_once(0);
    cr_expect_str_eq(trace, "abcd");
    turn_once(ROTA_FOREVER);  /* it does not sleep over it */
    cr_expect_str_eq(trace, "abcdabcd");
}

static void free_timer(rota_timer *timer, void *arg) {
    (void)arg;
    say("f");
    free(timer);
}

/* D03. */
Test(turn, a_timer_may_free_itself, .init = kit_open, .fini = kit_close) {
    for (int i = 0; i < 3; i++) {
        rota_timer *timer = malloc(sizeof *timer);
        rota_timer_init(timer, free_timer, NULL);
        cr_assert_eq(rota_timer_start(loop, timer, i * ROTA_US), 0);
    }
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "fff");
}

static void stop_and_free_all(rota_timer *timer, void *arg) {
    rota_timer **all = arg;
    (void)timer;
    say("f");
    for (int i = 0; i < 100; i++) {
        cr_expect_eq(rota_timer_stop(loop, all[i]), 0);
        free(all[i]);
    }
}

/* D03. */
Test(turn, a_timer_may_free_all_others, .init = kit_open, .fini = kit_close) {
    static rota_timer *all[100];
    for (int i = 0; i < 100; i++) {
        all[i] = malloc(sizeof *all[i]);
        rota_timer_init(all[i], stop_and_free_all, all);
        cr_assert_eq(rota_timer_start(loop, all[i], i / 50 * ROTA_S), 0);
    }
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "f");
    cr_expect_null(rota__timers_check(&loop->timers));
}

/* ---- nothing starves ---- */

static int steps;

static void step_again(rota_soon *soon, void *arg) {
    (void)arg;
    steps++;
    cr_assert_eq(rota_soon_start(loop, soon), 0);
}

Test(turn, ready_work_that_never_ends_starves_neither_data_nor_timers, .init = kit_open, .fini = kit_close) {
    int ends[2];
    rota_soon soon;
    rota_timer timer;
    rota_watcher watcher;
    make_pair(ends);
    rota_soon_init(&soon, step_again, NULL);
    rota_timer_init(&timer, say_timer, "t");
    rota_watcher_init(&watcher, ends[0], ROTA_READ, say_and_read, "d");
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    put(ends[1]);
    turn_once(ROTA_FOREVER);
    cr_expect_str_eq(trace, "dt");
    cr_expect(steps >= 32 && steps <= 256, "%d steps", steps);
    cr_expect_eq(rota_soon_stop(loop, &soon), 0);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
}

/* Under the virtual clock budgets count, whatever time the work takes. */
Test(turn, the_budget_is_256_steps, .init = kit_open_virtual, .fini = kit_close) {
    rota_soon soon;
    rota_soon_init(&soon, step_again, NULL);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    turn_once(0);
    cr_expect_eq(steps, 256);
    turn_once(0);
    cr_expect_eq(steps, 512);
    cr_expect_eq(rota_soon_stop(loop, &soon), 0);
}

static void step_slowly(rota_soon *soon, void *arg) {
    work_for(100 * ROTA_US);
    step_again(soon, arg);
}

Test(turn, long_steps_use_up_the_budget_sooner, .init = kit_open, .fini = kit_close) {
    rota_soon soon;
    rota_soon_init(&soon, step_slowly, NULL);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    turn_once(0);
    cr_expect_eq(steps, 32);
    cr_expect_eq(rota_soon_stop(loop, &soon), 0);
}

static void restart_timer(rota_timer *timer, void *arg) {
    ++*(int *)arg;
    cr_assert_eq(rota_timer_start(loop, timer, 0), 0);
}

Test(turn, timers_that_never_end_starve_neither_data_nor_ready_work, .init = kit_open, .fini = kit_close) {
    int ends[2], ticks = 0;
    rota_soon soon;
    rota_timer timer;
    rota_watcher watcher;
    make_pair(ends);
    rota_timer_init(&timer, restart_timer, &ticks);
    rota_soon_init(&soon, say_soon, "r");
    rota_watcher_init(&watcher, ends[0], ROTA_READ, say_and_read, "d");
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    turn_once(0);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    put(ends[1]);
    turn_once(0);
    cr_expect_str_eq(trace, "rd");
    cr_expect_eq(ticks, 2);
    cr_expect_eq(rota_timer_stop(loop, &timer), 0);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
}

/* One end of a pair that is always ready: the callback reads a little and writes as much for itself. */
static int feeds;

static void feed_itself(rota_watcher *watcher, unsigned ready, void *arg) {
    char c;
    if (ready & ROTA_CLOSED)
        return;
    feeds++;
    cr_assert_eq(read(watcher->fd, &c, 1), 1);
    put(*(int *)arg);
}

/* E15: the busy one gets one call in a turn, so the slow ones are served in the turn in which they become ready. */
Test(turn, a_descriptor_that_is_always_ready_starves_nobody, .init = kit_open, .fini = kit_close) {
    enum { SLOW = 100, TURNS = 50 };
    int busy_ends[2], slow_ends[SLOW][2], calls = 0;
    rota_watcher busy, slow[SLOW];
    rota_timer timer;
    int ticks = 0;
    make_pair(busy_ends);
    put(busy_ends[1]);
    rota_watcher_init(&busy, busy_ends[0], ROTA_READ, feed_itself, &busy_ends[1]);
    cr_assert_eq(rota_watcher_start(loop, &busy), 0);
    for (int i = 0; i < SLOW; i++) {
        make_pair(slow_ends[i]);
        rota_watcher_init(&slow[i], slow_ends[i][0], ROTA_READ, count_and_empty, &calls);
        cr_assert_eq(rota_watcher_start(loop, &slow[i]), 0);
    }
    rota_timer_init(&timer, restart_timer, &ticks);
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    for (int i = 0; i < TURNS; i++) {
        put(slow_ends[i % SLOW][1]);
        turn_once(0);
        cr_assert_eq(calls, i + 1);
        cr_assert_leq(feeds, 2 * (i + 1));
    }
    cr_expect_geq(feeds, TURNS);
    cr_expect_eq(ticks, TURNS);
    cr_expect_eq(rota_timer_stop(loop, &timer), 0);
    for (int i = 0; i < SLOW; i++) {
        cr_expect_eq(rota_fd_close(loop, slow_ends[i][0]), 0);
        close(slow_ends[i][1]);
    }
    cr_expect_eq(rota_fd_close(loop, busy_ends[0]), 0);
    close(busy_ends[1]);
}

/* E14. */
Test(turn, more_ready_descriptors_than_the_event_array_holds, .init = kit_open, .fini = kit_close) {
    enum { MOST = 5000 };
    static rota_watcher watchers[MOST];
    struct rlimit limit;
    int calls = 0, n = 0;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int ends[2];
    make_pair(ends);
    put(ends[1]);
    /* Duplicates are descriptors of their own for the poller, and cost the kernel little. */
    for (; n < MOST; n++) {
        int fd = dup(ends[0]);
        if (fd < 0)
            break;
        rota_watcher_init(&watchers[n], fd, ROTA_READ, count_watcher, &calls);
        cr_assert_eq(rota_watcher_start(loop, &watchers[n]), 0);
    }
    cr_assert(n == MOST || n > loop->poll.capacity, "only %d descriptors can be opened", n);
    turn_once(0);
    if (!is_poll()) /* has them all at once, and would call again */
        turn_once(0);
    cr_expect_eq(calls, n);
    for (int i = 0; i < n; i++)
        cr_expect_eq(rota_fd_close(loop, watchers[i].fd), 0);
    close(ends[0]);
    close(ends[1]);
}

/* ---- asking to be called again ---- */

static void ask_again(rota_watcher *watcher, unsigned ready, void *arg) {
    if (ready & ROTA_CLOSED)
        return;
    say(arg);
    cr_expect_eq(rota_watcher_again(loop, watcher), 0);
    cr_expect_eq(rota_watcher_again(loop, watcher), 0);
}

Test(turn, asking_again_gives_one_call_in_the_next_turn, .init = kit_open, .fini = kit_close) {
    if (!has_edges())
        return;
    int ends[2];
    rota_watcher watcher;
    rota_soon soon;
    make_pair(ends);
    put(ends[1]);
    rota_watcher_init(&watcher, ends[0], ROTA_READ, ask_again, "a");
    rota_soon_init(&soon, say_soon, "s");
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    turn_once(ROTA_FOREVER);
    cr_expect_str_eq(trace, "aa");  /* the event, and, in the same step 3, what was asked for */
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    turn_once(ROTA_FOREVER);  /* does not sleep */
    cr_expect_str_eq(trace, "aasa");
    turn_once(ROTA_FOREVER);
    cr_expect_str_eq(trace, "aasaa");
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
}

static void post_once_more(rota_soon *soon, void *arg) {
    (void)soon;
    say("p");
    cr_expect_eq(rota_soon_start(loop, arg), 0);
}

/* Started in step 1, it is behind everything that was queued, and still of this turn. */
Test(turn, next_means_behind_everything_queued, .init = kit_open, .fini = kit_close) {
    rota_soon first, second, third;
    rota_soon_init(&third, say_soon, "3");
    rota_soon_init(&first, post_once_more, &third);
    rota_soon_init(&second, say_soon, "2");
    cr_assert_eq(rota_soon_start(loop, &first), 0);
    cr_assert_eq(rota_soon_start(loop, &second), 0);
    turn_once(0);
    cr_expect_str_eq(trace, "p23");
}

/* ---- what a turn costs ---- */

/* Timers that are far away are not looked at in each turn: their number must not matter. When the first one was moved
 * away, only a look at all of its slot could tell the new deadline; the old bound must do until it comes. */
Test(turn, a_turn_does_not_walk_the_timers, .init = kit_open, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    int64_t when = rota_now() + 3600 * ROTA_S;
    cr_assert_eq(rota_timer_start_at(loop, &timer, when), 0);
    cr_assert_eq(rota_timer_start_at(loop, &timer, when + 3600 * ROTA_S), 0);
    for (int i = 0; i < 3; i++)
        turn_once(ROTA_MS);
    cr_expect_eq(rota__timers_wake(&loop->timers), when);
    cr_expect_eq(rota_timer_stop(loop, &timer), 0);
}
