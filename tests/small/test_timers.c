/* Timers of the small profile. Random operations against a model: test_timers_model.c. */
#include "tests/small/kit.h"

static rota_loop *loop;

static void open_loop(void) {
    kit_clock(1000 * ROTA_S);
    cr_assert_eq(rota_loop_new(&loop, kit_memory()), 0);
}
static void close_loop(void) { cr_assert_eq(rota_loop_free(loop), 0); }

static void notes(rota_timer *timer, void *arg) {
    (void)timer;
    kit_note(*(const char *)arg);
}

Test(small_timers, fire_by_deadline_and_equal_ones_in_the_order_of_starting) {
    static char names[] = "cabd";
    static const int64_t delays[] = { 5 * ROTA_MS, 3 * ROTA_MS, 3 * ROTA_MS, 7 * ROTA_MS };
    rota_timer timers[4];
    open_loop();
    for (int i = 0; i < 4; i++) {
        rota_timer_init(&timers[i], notes, &names[i]);
        cr_assert_eq(rota_timer_start(loop, &timers[i], delays[i]), 0);
        cr_expect(rota_timer_active(&timers[i]));
    }
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(kit_log, "abcd");
    for (int i = 0; i < 4; i++)
        cr_expect(!rota_timer_active(&timers[i]));
    close_loop();
}

static int64_t fired_at;
static void takes_time(rota_timer *timer, void *arg) {
    (void)timer, (void)arg;
    fired_at = rota_now();
}

Test(small_timers, never_fire_early_and_at_most_a_millisecond_late) {
    static const int64_t delays[] = { 1, ROTA_US, ROTA_MS - 1, ROTA_MS, ROTA_MS + 1, 1500 * ROTA_US, ROTA_S };
    rota_timer timer;
    open_loop();
    rota_timer_init(&timer, takes_time, NULL);
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        int64_t started = rota_now();
        cr_assert_eq(rota_timer_start(loop, &timer, delays[i]), 0);
        cr_expect_eq(rota_loop_run(loop), 0);
        cr_expect_geq(fired_at - started, delays[i]);
        cr_expect_leq(fired_at - started, delays[i] + ROTA_MS);
    }
    close_loop();
}

Test(small_timers, more_than_the_memory_has_entries_for) {
    static char a = 'a';
    rota_timer timers[KIT_TIMERS + KIT_TASKS + 1];
    enum { MOST = KIT_TIMERS + KIT_TASKS };
    open_loop();
    for (int i = 0; i <= MOST; i++)
        rota_timer_init(&timers[i], notes, &a);
    for (int i = 0; i < MOST; i++)
        cr_assert_eq(rota_timer_start(loop, &timers[i], ROTA_MS), 0);
    cr_expect_eq(rota_timer_start(loop, &timers[MOST], 0), -ENOMEM);
    cr_expect(!rota_timer_active(&timers[MOST]));
    cr_expect_eq(rota_timer_start(loop, &timers[0], 2 * ROTA_MS), 0); /* moving one needs nothing */
    cr_expect_eq(rota_timer_stop(loop, &timers[1]), 0);
    cr_expect_eq(rota_timer_stop(loop, &timers[1]), 0); /* and gives back one entry, not two */
    cr_expect_eq(rota_timer_start(loop, &timers[MOST], ROTA_MS), 0);
    cr_expect_eq(rota_timer_start(loop, &timers[1], ROTA_MS), -ENOMEM);
    cr_expect_eq(rota_loop_run(loop), 0);
    for (int i = 0; i < MOST; i++) /* those that fired have given theirs back */
        cr_expect_eq(rota_timer_start(loop, &timers[i], 0), 0);
    close_loop();
}

static int rounds;
static void starts_itself(rota_timer *timer, void *arg) {
    (void)arg;
    kit_note('t');
    if (++rounds < 3)
        cr_expect_eq(rota_timer_start_at(loop, timer, INT64_MIN), 0);
}

Test(small_timers, started_in_step_4_fire_in_the_next_turn) {
    rota_timer timer;
    open_loop();
    rota_timer_init(&timer, starts_itself, NULL);
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    for (int turn = 1; turn <= 3; turn++) {
        cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), turn < 3);
        cr_expect_eq(rounds, turn);
        kit_advance(1);
    }
    close_loop();
}

static rota_timer victim;
static void stops_victim(rota_timer *timer, void *arg) {
    (void)timer, (void)arg;
    kit_note('s');
    cr_expect_eq(rota_timer_stop(loop, &victim), 0);
}

Test(small_timers, one_that_is_due_can_still_be_stopped) {
    static char v = 'v';
    rota_timer timer;
    open_loop();
    rota_timer_init(&timer, stops_victim, NULL);
    rota_timer_init(&victim, notes, &v);
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    cr_assert_eq(rota_timer_start(loop, &victim, 0), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(kit_log, "s");
    close_loop();
}

Test(small_timers, forever_never_comes_and_keeps_the_loop_alive) {
    static char f = 'f';
    rota_timer timer;
    open_loop();
    rota_timer_init(&timer, notes, &f);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_FOREVER), 0);
    cr_expect_eq(rota_loop_turn(loop, 10 * ROTA_S), 1);
    cr_expect_str_eq(kit_log, "");
    cr_expect_eq(kit_now(), 1010 * ROTA_S);
    close_loop();
}

Test(small_timers, null_is_an_error) {
    rota_timer timer;
    open_loop();
    rota_timer_init(NULL, notes, NULL);
    rota_timer_init(&timer, NULL, NULL);
    cr_expect_eq(rota_timer_start(NULL, &timer, 0), -EINVAL);
    cr_expect_eq(rota_timer_start(loop, NULL, 0), -EINVAL);
    cr_expect_eq(rota_timer_start(loop, &timer, 0), -EINVAL);
    cr_expect_eq(rota_timer_stop(loop, NULL), -EINVAL);
    cr_expect_eq(rota_timer_stop(NULL, &timer), -EINVAL);
    close_loop();
}
