/* The loop of the small profile: its turn, its memory, its life; soon-callbacks. */
#include "tests/small/kit.h"

#include <string.h>

static rota_loop *loop;

static void soon_notes(rota_soon *soon, void *arg) {
    (void)soon;
    kit_note(*(const char *)arg);
}

static void timer_notes(rota_timer *timer, void *arg) {
    (void)timer;
    kit_note(*(const char *)arg);
}

static void watcher_notes(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)watcher, (void)ready;
    kit_note(*(const char *)arg);
}

static void open_loop(void) { cr_assert_eq(rota_loop_new(&loop, kit_memory()), 0); }
static void close_loop(void) { cr_assert_eq(rota_loop_free(loop), 0); }

Test(small_loop, has_the_documented_sizes) {
    cr_expect_leq(sizeof(rota_loop), 384);
    cr_expect_leq(sizeof(rota_watcher), 24);
    cr_expect_leq(sizeof(rota_timer) + sizeof(rota_timer *), 40);
    cr_expect_leq(sizeof(rota_fd_slot), 24);
}

Test(small_loop, refuses_memory_that_is_missing) {
    rota_loop_options opt = *kit_memory();
    cr_expect_eq(rota_loop_new(NULL, &opt), -EINVAL);
    cr_expect_eq(rota_loop_new(&loop, NULL), -EINVAL);
    cr_expect_null(loop);
    opt.loop = NULL;
    cr_expect_eq(rota_loop_new(&loop, &opt), -EINVAL);
    opt = *kit_memory();
    opt.fds = NULL;
    cr_expect_eq(rota_loop_new(&loop, &opt), -EINVAL);
    opt = *kit_memory();
    opt.timers = NULL;
    cr_expect_eq(rota_loop_new(&loop, &opt), -EINVAL);
}

Test(small_loop, lies_where_it_was_told_to) {
    open_loop();
    cr_expect_eq(loop, kit_memory()->loop);
    cr_expect_eq(rota_loop_current(), loop);
    close_loop();
    cr_expect_null(rota_loop_current());
}

Test(small_loop, memory_serves_one_loop_after_the_other) {
    char a = 'a';
    rota_soon soon;
    for (int i = 0; i < 3; i++) {
        open_loop();
        rota_soon_init(&soon, soon_notes, &a);
        cr_assert_eq(rota_soon_start(loop, &soon), 0);
        cr_assert_eq(rota_loop_run(loop), 0);
        close_loop();
    }
    cr_expect_str_eq(kit_log, "aaa");
}

Test(small_loop, no_epoll_descriptor_is_an_error) {
    kit_fail("epoll_create1", 1, EMFILE, false);
    cr_expect_eq(rota_loop_new(&loop, kit_memory()), -EMFILE);
    cr_expect_null(loop);
    open_loop();
    close_loop();
}

Test(small_loop, one_that_cannot_be_made_does_not_bring_back_the_last_one) {
    rota_loop *last;
    open_loop();
    last = loop;
    close_loop();
    kit_fail("epoll_create1", 1, EMFILE, false);
    cr_expect_eq(rota_loop_new(&loop, kit_memory()), -EMFILE);
    cr_expect_eq(rota_loop_run(last), -ESHUTDOWN);
    cr_expect_eq(rota_loop_set_current(last), -ESHUTDOWN);
    cr_expect_null(rota_loop_current());
    cr_expect_eq(rota_loop_free(last), 0);
    open_loop();
    cr_expect_eq(rota_loop_run(loop), 0);
    close_loop();
}

Test(small_loop, a_turn_has_its_steps_in_order) {
    int fds[2];
    char r = 'r', w = 'w', t = 't';
    rota_soon soon;
    rota_watcher watcher;
    rota_timer timer;
    kit_clock(ROTA_S);
    kit_pair(fds);
    open_loop();
    rota_timer_init(&timer, timer_notes, &t);
    rota_watcher_init(&watcher, fds[0], ROTA_READ, watcher_notes, &w);
    rota_soon_init(&soon, soon_notes, &r);
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "rwt"); /* ready work, readiness, timers: data is seen before deadlines */
    cr_assert_eq(rota_watcher_stop(loop, &watcher), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
    close_loop();
    close(fds[0]);
    close(fds[1]);
}

Test(small_loop, nothing_left_ends_the_run) {
    open_loop();
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 0); /* and does not wait for nothing */
    close_loop();
}

static void soon_stops(rota_soon *soon, void *arg) {
    (void)arg;
    cr_expect_eq(rota_soon_start(loop, soon), 0);
    cr_expect_eq(rota_loop_stop(loop), 0);
    kit_note('s');
}

Test(small_loop, stop_ends_the_run_at_the_end_of_the_turn) {
    rota_soon soon;
    open_loop();
    rota_soon_init(&soon, soon_stops, NULL);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    size_t steps = strlen(kit_log);
    cr_expect_gt(steps, 0);
    cr_expect_leq(steps, 255); /* the budget of one step 1 */
    cr_expect_eq(rota_soon_stop(loop, &soon), 0);
    close_loop();
}

Test(small_loop, ready_work_without_end_lets_the_kernel_be_asked) {
    int fds[2];
    char w = 'w';
    rota_soon soon;
    rota_watcher watcher;
    kit_pair(fds);
    open_loop();
    rota_soon_init(&soon, soon_stops, NULL);
    rota_watcher_init(&watcher, fds[0], ROTA_READ, watcher_notes, &w);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 1);
    kit_log[0] = 0;
    for (int i = 0; i < 10 && !strchr(kit_log, 'w'); i++)
        cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 1);
    cr_expect_eq(rota_watcher_stop(loop, &watcher), 0);
    cr_expect_eq(rota_soon_stop(loop, &soon), 0);
    close_loop();
    close(fds[0]);
    close(fds[1]);
}

static void soon_goes_on(rota_soon *soon, void *arg) {
    (void)arg;
    cr_expect_eq(rota_soon_start(loop, soon), 0);
}

Test(small_loop, ready_work_that_is_left_keeps_the_poll_from_waiting) {
    int fds[2];
    char w = 'w';
    rota_soon soon;
    rota_watcher watcher;
    kit_pair(fds);
    open_loop();
    rota_soon_init(&soon, soon_goes_on, NULL);
    rota_watcher_init(&watcher, fds[0], ROTA_READ, watcher_notes, &w);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 1);
    close_loop();
    close(fds[0]);
    close(fds[1]);
}

static void soon_calls_loop(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    cr_expect_eq(rota_loop_run(loop), -EBUSY);
    cr_expect_eq(rota_loop_turn(loop, 0), -EBUSY);
    cr_expect_eq(rota_loop_close(loop), -EBUSY);
    cr_expect_eq(rota_loop_free(loop), -EBUSY);
    cr_expect_eq(rota_loop_set_current(NULL), -EBUSY);
    kit_note('b');
}

Test(small_loop, is_not_entered_twice) {
    rota_soon soon;
    open_loop();
    rota_soon_init(&soon, soon_calls_loop, NULL);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(kit_log, "b");
    close_loop();
}

Test(small_loop, an_interrupted_wait_is_no_error_and_a_failed_one_is) {
    char t = 't';
    rota_timer timer;
    kit_clock(ROTA_S);
    open_loop();
    rota_timer_init(&timer, timer_notes, &t);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_MS), 0);
    kit_fail("epoll_wait", 1, EINTR, false);
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 1);
    kit_fail("epoll_wait", 1, EBADF, false);
    cr_expect_eq(rota_loop_run(loop), -EBADF);
    cr_expect_eq(rota_loop_run(loop), 0); /* and it goes on */
    cr_expect_str_eq(kit_log, "t");
    close_loop();
}

Test(small_loop, a_closed_loop_refuses_everything) {
    char a = 'a';
    rota_soon soon;
    rota_timer timer;
    rota_watcher watcher;
    open_loop();
    rota_soon_init(&soon, soon_notes, &a);
    rota_timer_init(&timer, timer_notes, &a);
    rota_watcher_init(&watcher, 0, ROTA_READ, watcher_notes, &a);
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_loop_run(loop), -ESHUTDOWN);
    cr_expect_eq(rota_loop_turn(loop, 0), -ESHUTDOWN);
    cr_expect_eq(rota_loop_stop(loop), -ESHUTDOWN);
    cr_expect_eq(rota_loop_set_current(loop), -ESHUTDOWN);
    cr_expect_eq(rota_soon_start(loop, &soon), -ESHUTDOWN);
    cr_expect_eq(rota_soon_stop(loop, &soon), -ESHUTDOWN);
    cr_expect_eq(rota_timer_start(loop, &timer, 0), -ESHUTDOWN);
    cr_expect_eq(rota_timer_stop(loop, &timer), -ESHUTDOWN);
    cr_expect_eq(rota_watcher_start(loop, &watcher), -ESHUTDOWN);
    cr_expect_eq(rota_watcher_stop(loop, &watcher), -ESHUTDOWN);
    cr_expect_eq(rota_watcher_again(loop, &watcher), -ESHUTDOWN);
    cr_expect_eq(rota_fd_close(loop, 0), -ESHUTDOWN);
    cr_expect_eq(rota_fd_forget(loop, 0), -ESHUTDOWN);
    close_loop();
    cr_expect_str_eq(kit_log, "");
}

Test(small_loop, null_is_an_error) {
    rota_soon soon;
    open_loop();
    rota_soon_init(NULL, soon_notes, NULL);
    rota_soon_init(&soon, NULL, NULL);
    cr_expect_eq(rota_loop_run(NULL), -EINVAL);
    cr_expect_eq(rota_loop_turn(NULL, 0), -EINVAL);
    cr_expect_eq(rota_loop_stop(NULL), -EINVAL);
    cr_expect_eq(rota_loop_close(NULL), -EINVAL);
    cr_expect_eq(rota_loop_free(NULL), 0);
    cr_expect_eq(rota_loop_now(NULL), -EINVAL);
    cr_expect_eq(rota_soon_start(NULL, &soon), -EINVAL);
    cr_expect_eq(rota_soon_start(loop, NULL), -EINVAL);
    cr_expect_eq(rota_soon_start(loop, &soon), -EINVAL);
    cr_expect_eq(rota_soon_stop(loop, NULL), -EINVAL);
    close_loop();
}

Test(small_loop, two_loops_take_turns) {
    ROTA_LOOP_MEMORY(other_memory, 8, 1, 0, 0);
    rota_loop *other;
    open_loop();
    cr_assert_eq(rota_loop_new(&other, &other_memory), 0);
    cr_expect_eq(rota_loop_current(), loop);
    cr_expect_eq(rota_loop_set_current(other), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
    cr_expect_eq(rota_loop_current(), other);
    cr_expect_eq(rota_loop_set_current(NULL), 0);
    cr_expect_eq(rota_loop_free(other), 0);
    close_loop();
}

/* ---- soon-callbacks ---- */

Test(small_loop, soon_callbacks_run_in_their_order) {
    char names[] = "abc";
    rota_soon soon[3];
    open_loop();
    for (int i = 0; i < 3; i++) {
        rota_soon_init(&soon[i], soon_notes, &names[i]);
        cr_assert_eq(rota_soon_start(loop, &soon[i]), 0);
        cr_expect_eq(rota_soon_start(loop, &soon[i]), -EALREADY);
    }
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(kit_log, "abc");
    close_loop();
}

Test(small_loop, soon_callbacks_are_stopped_wherever_they_are) {
    char names[] = "abcd";
    rota_soon soon[4];
    open_loop();
    for (int gone = 0; gone < 4; gone++) {
        kit_log[0] = 0;
        memset(kit_log, 0, sizeof kit_log);
        for (int i = 0; i < 4; i++) {
            rota_soon_init(&soon[i], soon_notes, &names[i]);
            cr_assert_eq(rota_soon_start(loop, &soon[i]), 0);
        }
        cr_expect_eq(rota_soon_stop(loop, &soon[gone]), 0);
        cr_expect_eq(rota_soon_stop(loop, &soon[gone]), 0);
        cr_expect_eq(rota_loop_run(loop), 0);
        cr_expect_eq(strlen(kit_log), 3);
        cr_expect_null(strchr(kit_log, names[gone]));
    }
    close_loop();
}

static void soon_again(rota_soon *soon, void *arg) {
    int *left = arg;
    kit_note('s');
    if (--*left > 0)
        cr_expect_eq(rota_soon_start(loop, soon), 0);
}

Test(small_loop, a_soon_callback_may_start_itself) {
    int left = 3;
    rota_soon soon;
    open_loop();
    rota_soon_init(&soon, soon_again, &left);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(kit_log, "sss");
    close_loop();
}
