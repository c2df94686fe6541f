/* The virtual clock: it stands still while there is anything to do, and jumps exactly to the next deadline. */
#include "tests/reactor_kit.h"

static int64_t start;

static void begin(void) {
    kit_open_virtual();
    start = rota_now();
}

static void note_time(rota_timer *timer, void *arg) {
    (void)timer;
    *(int64_t *)arg = rota_now() - start;
}

Test(virtual_clock, stands_still_while_work_is_done, .init = begin, .fini = kit_close) {
    work_for(ROTA_MS);
    cr_expect_eq(rota_now(), start);
    turn_once(0);
    turn_once(0);
    cr_expect_eq(rota_now(), start);
}

Test(virtual_clock, jumps_exactly_to_each_deadline, .init = begin, .fini = kit_close) {
    static const int64_t when[] = { 1, 999, ROTA_MS, ROTA_S + 7, 3600 * ROTA_S, 365 * 86400 * ROTA_S };
    rota_timer timers[6];
    int64_t seen[6] = { 0 };
    for (int i = 5; i >= 0; i--) {
        rota_timer_init(&timers[i], note_time, &seen[i]);
        cr_assert_eq(rota_timer_start(loop, &timers[i], when[i]), 0);
    }
    int64_t real = real_time();
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_lt(real_time() - real, 20 * ROTA_S);
    for (int i = 0; i < 6; i++)
        cr_expect_eq(seen[i], when[i]);
}

/* Also where the timer is started already, and due before now. */
Test(virtual_clock, a_time_that_is_over_counts_as_now, .init = begin, .fini = kit_close) {
    rota_timer a, b, c;
    rota_timer_init(&a, say_timer, "a");
    rota_timer_init(&b, say_timer, "b");
    rota_timer_init(&c, say_timer, "c");
    cr_assert_eq(rota_timer_start_at(loop, &a, start - 10), 0);
    cr_assert_eq(rota_timer_start_at(loop, &b, start - 1), 0);
    cr_assert_eq(rota_timer_start(loop, &c, INT64_MIN), 0);
    cr_assert_eq(rota_timer_start(loop, &a, -5), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "bca");
}

Test(virtual_clock, a_sum_that_is_too_large_never_comes, .init = begin, .fini = kit_close) {
    rota_timer timer, other;
    int64_t seen = 0, never = 0;
    rota_timer_init(&timer, note_time, &never);
    rota_timer_init(&other, note_time, &seen);
    cr_assert_eq(rota_timer_start_at(loop, &timer, INT64_MIN), 0);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_FOREVER), 0);
    cr_assert_eq(rota_timer_start(loop, &other, ROTA_S), 0);
    turn_once(2 * ROTA_S);
    turn_once(0);
    cr_expect_eq(seen, ROTA_S);
    cr_expect_eq(never, 0);
    cr_expect(rota_timer_active(&timer));
    rota_timer_stop(loop, &timer);
}

/* D08. */
struct repeat { rota_timer timer; int calls; };

static void repeat(rota_timer *timer, void *arg) {
    struct repeat *r = arg;
    if (++r->calls < 100)
        cr_assert_eq(rota_timer_start(loop, timer, 86400 * ROTA_S), 0);
}

Test(virtual_clock, a_hundred_days_take_a_hundred_calls, .init = begin, .fini = kit_close) {
    struct repeat r = { .calls = 0 };
    rota_timer_init(&r.timer, repeat, &r);
    cr_assert_eq(rota_timer_start(loop, &r.timer, 86400 * ROTA_S), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(r.calls, 100);
    cr_expect_eq(rota_now() - start, 100 * 86400 * ROTA_S);
}

Test(virtual_clock, ready_work_comes_before_any_jump, .init = begin, .fini = kit_close) {
    rota_soon soons[300];
    rota_timer timer;
    int64_t fired = 0;
    int calls = 0;
    rota_timer_init(&timer, note_time, &fired);
    cr_assert_eq(rota_timer_start(loop, &timer, 5), 0);
    for (int i = 0; i < 300; i++) {
        rota_soon_init(&soons[i], count_soon, &calls);
        cr_assert_eq(rota_soon_start(loop, &soons[i]), 0);
    }
    turn_once(ROTA_FOREVER);  /* more than the budget of one turn: what is left forbids the jump */
    cr_expect_eq(calls, 256);
    cr_expect_eq(rota_now(), start);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(calls, 300);
    cr_expect_eq(fired, 5);
}

static void read_and_say(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)ready;
    empty(watcher->fd);
    say(arg);
}

Test(virtual_clock, a_ready_descriptor_comes_before_any_jump, .init = begin, .fini = kit_close) {
    int ends[2];
    rota_watcher watcher;
    rota_timer timer;
    make_pair(ends);
    put(ends[1]);
    rota_watcher_init(&watcher, ends[0], ROTA_READ, read_and_say, "d");
    rota_timer_init(&timer, say_timer, "t");
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_assert_eq(rota_timer_start(loop, &timer, 1), 0);
    turn_once(ROTA_FOREVER);
    cr_expect_str_eq(trace, "d");
    cr_expect_eq(rota_now(), start);
    turn_once(ROTA_FOREVER);
    cr_expect_str_eq(trace, "dt");
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
}

Test(virtual_clock, a_post_comes_before_any_jump, .init = begin, .fini = kit_close) {
    rota_remote *remote;
    rota_soon soon;
    rota_timer timer;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    rota_soon_init(&soon, say_soon, "p");
    rota_timer_init(&timer, say_timer, "t");
    cr_assert_eq(rota_timer_start(loop, &timer, 1), 0);
    cr_assert_eq(rota_remote_post(remote, &soon), 0);
    turn_once(ROTA_FOREVER);
    cr_expect_str_eq(trace, "pt");
    rota_remote_close(remote);
}

/* A job of a thread takes real time: until it is done, virtual time must not run away from it. */
static void end_of_job(rota_soon *soon, void *arg) {
    (void)soon;
    loop->jobs--;
    say(arg);
}

static void *do_job(void *remote) {
    static rota_soon soon;
    struct timespec a_little = { 0, 5 * ROTA_MS };
    nanosleep(&a_little, NULL);
    rota_soon_init(&soon, end_of_job, "j");
    if (rota_remote_post(remote, &soon) < 0)
        abort();
    rota_remote_close(remote);
    return NULL;
}

Test(virtual_clock, waits_for_jobs_of_threads, .init = kit_open_threads) {
    rota_loop *clocked;
    rota_remote *remote;
    rota_timer timer;
    pthread_t thread;
    cr_expect_eq(rota_loop_free(loop), 0);
    cr_assert_eq(rota_loop_new(&clocked, &(rota_loop_options){ .virtual_clock = true }), 0);
    loop = clocked;
    rota_timer_init(&timer, say_timer, "t");
    cr_assert_eq(rota_timer_start(loop, &timer, 1), 0);
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    loop->jobs++;
    cr_assert_eq(pthread_create(&thread, NULL, do_job, remote), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "jt");
    pthread_join(thread, NULL);
    kit_close();
}

Test(virtual_clock, a_bounded_turn_jumps_no_further_than_its_bound, .init = begin, .fini = kit_close) {
    rota_timer timer;
    int64_t fired = 0;
    rota_timer_init(&timer, note_time, &fired);
    cr_assert_eq(rota_timer_start(loop, &timer, 100), 0);
    turn_once(0);
    cr_expect_eq(rota_now(), start);
    turn_once(60);
    cr_expect_eq(rota_now(), start + 60);
    cr_expect_eq(fired, 0);
    turn_once(60);
    cr_expect_eq(rota_now(), start + 100);
    cr_expect_eq(fired, 100);
}

/* A deadline in the past is due at once, and is no reason to turn the clock back. */
Test(virtual_clock, never_goes_back, .init = begin, .fini = kit_close) {
    rota_timer timer;
    int64_t fired = -1;
    rota_timer_init(&timer, note_time, &fired);
    cr_assert_eq(rota_timer_start_at(loop, &timer, start - ROTA_S), 0);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(fired, 0);
    cr_expect_eq(rota_now(), start);
    cr_assert_eq(rota_timer_start_at(loop, &timer, INT64_MIN), 0);
    turn_once(0);
    cr_expect_eq(fired, 0);
    cr_expect_eq(rota_now(), start);
}

Test(virtual_clock, a_deadline_that_never_comes_is_not_jumped_to, .init = begin, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_FOREVER), 0);
    cr_expect_eq(rota_loop_turn(loop, ROTA_MS), 1);
    cr_expect_eq(rota_now(), start);
    cr_expect_eq(calls, 0);
    cr_expect_eq(rota_timer_stop(loop, &timer), 0);
}

/* With nothing else left the loop sleeps, as it would under the real clock: it must not spin. */
Test(virtual_clock, waiting_for_ever_takes_no_time_of_the_processor, .init = kit_meddle, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    begin();
    rota_timer_init(&timer, count_timer, &calls);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_FOREVER), 0);
    int64_t real = real_time();
    cr_expect_eq(rota_loop_turn(loop, 10 * ROTA_MS), 1);
    cr_expect_geq(real_time() - real, 10 * ROTA_MS);
    cr_expect_leq(kit_waits, 2);  /* the first may have found that the system lacks a call */
    cr_expect_eq(rota_timer_stop(loop, &timer), 0);
}

/* A foreign loop waits in real time: it could never tell when virtual time should jump. */
Test(virtual_clock, cannot_be_part_of_a_foreign_loop, .init = begin, .fini = kit_close) {
    cr_expect_eq(rota_loop_fd(loop), -ENOTSUP);
}
