/* Watchers of the small profile: readiness, closing, limits. */
#include "tests/small/kit.h"

#include <fcntl.h>

static rota_loop *loop;
static int fds[2];

static void open_loop(void) {
    kit_pair(fds);
    cr_assert_eq(rota_loop_new(&loop, kit_memory()), 0);
}

static void close_loop(void) {
    cr_assert_eq(rota_loop_free(loop), 0);
    close(fds[0]);
    close(fds[1]);
}

static unsigned last_ready;
static void notes(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)watcher;
    last_ready = ready;
    kit_note(*(const char *)arg);
}

static char r = 'r', w = 'w';

Test(small_watch, readiness_that_is_there_and_that_comes) {
    rota_watcher watcher;
    open_loop();
    cr_assert_eq(write(fds[1], "x", 1), 1);
    rota_watcher_init(&watcher, fds[0], ROTA_READ, notes, &r);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 1);
    cr_expect_eq(last_ready, ROTA_READ);
    cr_expect_eq(rota_loop_turn(loop, 0), 1); /* edges: nothing new, no call */
    cr_expect_str_eq(kit_log, "r");
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 1);
    cr_expect_str_eq(kit_log, "rr");
    cr_expect_eq(rota_watcher_stop(loop, &watcher), 0);
    cr_expect_eq(rota_watcher_start(loop, &watcher), 0); /* anew: nobody said what was read */
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "rrr");
    close_loop();
}

Test(small_watch, both_directions_have_a_watcher_each) {
    rota_watcher reader, writer, third;
    open_loop();
    rota_watcher_init(&reader, fds[0], ROTA_READ | ROTA_PRIORITY, notes, &r);
    rota_watcher_init(&writer, fds[0], ROTA_WRITE, notes, &w);
    rota_watcher_init(&third, fds[0], ROTA_READ | ROTA_WRITE, notes, &w);
    cr_expect_eq(rota_watcher_start(loop, &reader), 0);
    cr_expect_eq(rota_watcher_start(loop, &third), -EBUSY);
    cr_expect_eq(rota_watcher_start(loop, &writer), 0);
    cr_expect_eq(rota_watcher_start(loop, &writer), -EALREADY);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "w");
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_eq(kit_log[1], 'r');
    cr_expect_eq(rota_watcher_stop(loop, &reader), 0);
    cr_expect_eq(rota_watcher_stop(loop, &writer), 0);
    cr_expect_eq(rota_watcher_start(loop, &third), 0);
    close_loop();
}

Test(small_watch, every_two_interests_share_a_descriptor_unless_they_share_a_direction) {
    enum { READS = ROTA_READ | ROTA_PRIORITY };
    open_loop();
    for (unsigned a = 1; a <= 7; a++)
        for (unsigned b = 1; b <= 7; b++) {
            rota_watcher first, second;
            bool shared = (a & READS && b & READS) || a & b & ROTA_WRITE;
            rota_watcher_init(&first, fds[0], a, notes, &r);
            rota_watcher_init(&second, fds[0], b, notes, &w);
            cr_expect_eq(rota_watcher_start(loop, &first), 0);
            cr_expect_eq(rota_watcher_start(loop, &second), shared ? -EBUSY : 0, "%u beside %u", b, a);
            cr_expect_eq(rota_watcher_stop(loop, &first), 0);
            cr_expect_eq(rota_watcher_start(loop, &first), 0, "%u after %u", a, b);
            cr_expect_eq(rota_watcher_stop(loop, &second), 0);
            cr_expect_eq(rota_watcher_stop(loop, &first), 0);
        }
    close_loop();
}

Test(small_watch, the_end_is_told) {
    rota_watcher watcher;
    open_loop();
    rota_watcher_init(&watcher, fds[0], ROTA_READ, notes, &r);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_assert_eq(shutdown(fds[1], SHUT_WR), 0);
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 1);
    cr_expect_eq(last_ready, ROTA_READ | ROTA_EOF);
    close_loop();
}

Test(small_watch, again_is_another_call_while_it_is_ready) {
    rota_watcher watcher;
    open_loop();
    rota_watcher_init(&watcher, fds[0], ROTA_READ, notes, &r);
    cr_expect_eq(rota_watcher_again(loop, &watcher), -EINVAL);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 1);
    cr_expect_eq(rota_watcher_again(loop, &watcher), 0);
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 1);
    cr_expect_str_eq(kit_log, "rr");
    kit_empty(fds[0]);
    cr_expect_eq(rota_watcher_again(loop, &watcher), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "rr");
    close_loop();
}

Test(small_watch, a_number_beyond_the_table_is_an_error) {
    rota_watcher watcher;
    open_loop();
    int high = fcntl(fds[0], F_DUPFD_CLOEXEC, KIT_FDS);
    cr_assert_geq(high, KIT_FDS);
    rota_watcher_init(&watcher, high, ROTA_READ, notes, &r);
    cr_expect_eq(rota_watcher_start(loop, &watcher), -EMFILE);
    cr_expect_eq(rota_fd_forget(loop, high), 0);
    cr_expect_eq(rota_fd_close(loop, high), 0);
    cr_expect_eq(rota_fd_close(loop, high), -EBADF);
    close_loop();
}

Test(small_watch, bad_calls) {
    rota_watcher watcher;
    open_loop();
    rota_watcher_init(NULL, 0, ROTA_READ, notes, &r);
    cr_expect_eq(rota_watcher_start(loop, NULL), -EINVAL);
    cr_expect_eq(rota_watcher_stop(loop, NULL), -EINVAL);
    cr_expect_eq(rota_watcher_again(loop, NULL), -EINVAL);
    rota_watcher_init(&watcher, fds[0], 0, notes, &r);
    cr_expect_eq(rota_watcher_start(loop, &watcher), -EINVAL);
    rota_watcher_init(&watcher, fds[0], ROTA_READ | ROTA_EOF, notes, &r);
    cr_expect_eq(rota_watcher_start(loop, &watcher), -EINVAL);
    rota_watcher_init(&watcher, fds[0], ROTA_READ, NULL, &r);
    cr_expect_eq(rota_watcher_start(loop, &watcher), -EINVAL);
    rota_watcher_init(&watcher, -1, ROTA_READ, notes, &r);
    cr_expect_eq(rota_watcher_start(loop, &watcher), -EBADF);
    rota_watcher_init(&watcher, KIT_FDS - 1, ROTA_READ, notes, &r);
    cr_expect_eq(rota_watcher_start(loop, &watcher), -EBADF);
    cr_expect_eq(rota_watcher_stop(loop, &watcher), 0);
    cr_expect_eq(rota_fd_close(loop, -1), -EBADF);
    cr_expect_eq(rota_fd_forget(loop, -1), -EBADF);
    close_loop();
}

Test(small_watch, a_regular_file_cannot_be_watched) {
    rota_watcher watcher;
    open_loop();
    FILE *file = tmpfile();
    cr_assert_not_null(file);
    rota_watcher_init(&watcher, fileno(file), ROTA_READ, notes, &r);
    cr_expect_eq(rota_watcher_start(loop, &watcher), -EPERM);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
    fclose(file);
    close_loop();
}

/* ---- closing ---- */

static void closes(rota_watcher *watcher, unsigned ready, void *arg) {
    last_ready = ready;
    kit_note(ready & ROTA_CLOSED ? 'c' : *(const char *)arg);
    if (!(ready & ROTA_CLOSED))
        cr_expect_eq(rota_fd_close(loop, watcher->fd), 0);
}

Test(small_watch, a_callback_may_close_its_descriptor) {
    rota_watcher reader, writer;
    open_loop();
    rota_watcher_init(&reader, fds[0], ROTA_READ, closes, &r);
    rota_watcher_init(&writer, fds[0], ROTA_WRITE, closes, &w);
    cr_assert_eq(rota_watcher_start(loop, &reader), 0);
    cr_assert_eq(rota_watcher_start(loop, &writer), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_loop_turn(loop, 0), 0); /* both are stopped, none is called for the event that came with it */
    cr_expect_str_eq(kit_log, "rcc");
    cr_expect_eq(fcntl(fds[0], F_GETFD), -1);
    close_loop();
}

static rota_watcher other;
static void stops_other(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)watcher, (void)arg;
    kit_note(ready & ROTA_CLOSED ? 'c' : 's');
    cr_expect_eq(rota_watcher_stop(loop, &other), 0);
    memset(&other, 0xee, sizeof other); /* its memory is the caller's again */
}

Test(small_watch, the_first_to_be_told_may_stop_the_second) {
    rota_watcher reader;
    open_loop();
    rota_watcher_init(&reader, fds[0], ROTA_READ, stops_other, NULL);
    rota_watcher_init(&other, fds[0], ROTA_WRITE, notes, &w);
    cr_assert_eq(rota_watcher_start(loop, &reader), 0);
    cr_assert_eq(rota_watcher_start(loop, &other), 0);
    cr_expect_eq(rota_fd_close(loop, fds[0]), 0);
    cr_expect_str_eq(kit_log, "c");
    close_loop();
}

Test(small_watch, an_event_of_both_does_not_reach_the_one_that_was_stopped) {
    rota_watcher reader;
    open_loop();
    rota_watcher_init(&reader, fds[0], ROTA_READ, stops_other, NULL);
    rota_watcher_init(&other, fds[0], ROTA_WRITE, notes, &w);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(rota_watcher_start(loop, &reader), 0);
    cr_assert_eq(rota_watcher_start(loop, &other), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "s");
    close_loop();
}

static int fresh[2];
static rota_watcher owner;
static void replaces(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)watcher, (void)ready, (void)arg;
    kit_note('x');
    cr_expect_eq(rota_fd_close(loop, fds[0]), 0);
    kit_pair(fresh); /* the number is there again, with an event of the old one in the batch */
    cr_expect_eq(fresh[0], fds[0]);
    rota_watcher_init(&owner, fresh[0], ROTA_READ, notes, &w);
    cr_expect_eq(rota_watcher_start(loop, &owner), 0);
}

/* Two descriptors are ready in one batch; the first one's callback closes the second and opens another one, which gets
 * its number. */
Test(small_watch, a_late_event_does_not_reach_the_next_owner_of_the_number) {
    rota_watcher first, late;
    int early[2];
    kit_pair(early);
    open_loop();
    rota_watcher_init(&first, early[0], ROTA_READ, replaces, NULL);
    rota_watcher_init(&late, fds[0], ROTA_READ, notes, &r);
    cr_assert_eq(rota_watcher_start(loop, &first), 0);
    cr_assert_eq(rota_watcher_start(loop, &late), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 1); /* takes the news that both can be written */
    cr_assert_eq(write(early[1], "x", 1), 1);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "xr"); /* r: told of its closing; the new owner has not been called */
    cr_expect_eq(last_ready, ROTA_CLOSED);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "xr");
    cr_assert_eq(write(fresh[1], "x", 1), 1);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "xrw");
    for (int i = 0; i < 2; i++)
        close(early[i]);
    close(fresh[1]);
    close_loop();
}

static void replaces_itself(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)arg;
    kit_note(ready & ROTA_CLOSED ? 'c' : 'x');
    if (ready & ROTA_CLOSED)
        return;
    cr_expect_eq(rota_fd_close(loop, watcher->fd), 0);
    kit_pair(fresh);
    cr_expect_eq(fresh[0], fds[0]);
    kit_fill(fresh[0]);
    rota_watcher_init(&owner, fresh[0], ROTA_WRITE, notes, &w);
    cr_expect_eq(rota_watcher_start(loop, &owner), 0);
}

/* The same within one event, which says that both directions are ready: it was the old descriptor that could be
 * written. */
Test(small_watch, what_is_left_of_an_event_does_not_reach_the_next_owner_of_the_number) {
    rota_watcher reader;
    open_loop();
    rota_watcher_init(&reader, fds[0], ROTA_READ, replaces_itself, NULL);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(rota_watcher_start(loop, &reader), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "xc");
    cr_expect_eq(rota_watcher_stop(loop, &owner), 0);
    close(fresh[1]);
    close_loop();
}

Test(small_watch, forgotten_it_stays_open_and_can_be_watched_again) {
    rota_watcher watcher;
    open_loop();
    rota_watcher_init(&watcher, fds[0], ROTA_READ, notes, &r);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_expect_eq(rota_fd_forget(loop, fds[0]), 0);
    cr_expect_eq(last_ready, ROTA_CLOSED);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
    cr_expect_eq(rota_watcher_start(loop, &watcher), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "rr");
    close_loop();
}

static int restarts;
static void starts_again(rota_watcher *watcher, unsigned ready, void *arg) {
    kit_note(ready & ROTA_CLOSED ? 'c' : *(const char *)arg);
    if (ready & ROTA_CLOSED)
        restarts = rota_watcher_start(loop, watcher);
}

Test(small_watch, one_that_is_forgotten_may_start_again_when_it_is_told) {
    rota_watcher reader, writer;
    open_loop();
    rota_watcher_init(&reader, fds[0], ROTA_READ, starts_again, &r);
    rota_watcher_init(&writer, fds[0], ROTA_WRITE, starts_again, &w);
    cr_assert_eq(rota_watcher_start(loop, &reader), 0);
    cr_assert_eq(rota_watcher_start(loop, &writer), 0);
    cr_expect_eq(rota_fd_forget(loop, fds[0]), 0);
    cr_expect_str_eq(kit_log, "cc");
    cr_expect_eq(restarts, 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "ccrw");
    cr_expect_eq(rota_watcher_stop(loop, &reader), 0);
    cr_expect_eq(rota_watcher_stop(loop, &writer), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
    close_loop();
}

Test(small_watch, one_that_is_closed_cannot_start_again_when_it_is_told) {
    rota_watcher reader, writer;
    open_loop();
    rota_watcher_init(&reader, fds[0], ROTA_READ, starts_again, &r);
    rota_watcher_init(&writer, fds[0], ROTA_WRITE, starts_again, &w);
    cr_assert_eq(rota_watcher_start(loop, &reader), 0);
    cr_assert_eq(rota_watcher_start(loop, &writer), 0);
    cr_expect_eq(rota_fd_close(loop, fds[0]), 0);
    cr_expect_str_eq(kit_log, "cc");
    cr_expect_eq(restarts, -EBADF);
    cr_expect_eq(rota_loop_turn(loop, 0), 0); /* neither is counted */
    cr_assert_eq(dup(fds[1]), fds[0]);
    cr_expect_eq(rota_watcher_start(loop, &reader), 0);
    cr_expect_eq(rota_watcher_start(loop, &writer), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    close_loop();
}

static void moves_other(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)watcher, (void)ready, (void)arg;
    kit_note('m');
    cr_expect_eq(rota_watcher_stop(loop, &other), 0);
    cr_expect_eq(rota_watcher_start(loop, &other), 0);
}

Test(small_watch, one_that_is_started_by_another_one_that_was_told_is_not_told) {
    rota_watcher reader;
    open_loop();
    rota_watcher_init(&reader, fds[0], ROTA_READ, moves_other, NULL);
    rota_watcher_init(&other, fds[0], ROTA_WRITE, notes, &w);
    cr_assert_eq(rota_watcher_start(loop, &reader), 0);
    cr_assert_eq(rota_watcher_start(loop, &other), 0);
    cr_expect_eq(rota_fd_forget(loop, fds[0]), 0);
    cr_expect_str_eq(kit_log, "m");
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_str_eq(kit_log, "mw");
    cr_expect_eq(last_ready, ROTA_WRITE);
    close_loop();
}

static void closes_once_more(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)ready, (void)arg;
    kit_note('c');
    cr_expect_eq(rota_fd_close(loop, watcher->fd), -EBADF);
    cr_expect_eq(rota_watcher_start(loop, watcher), -EBADF);
}

/* The descriptor is still open then: it must be closed once, or the second close hits who got the number. */
Test(small_watch, one_that_is_closed_may_close_it_once_more_when_it_is_told) {
    rota_watcher reader, writer;
    open_loop();
    rota_watcher_init(&reader, fds[0], ROTA_READ, closes_once_more, NULL);
    rota_watcher_init(&writer, fds[0], ROTA_WRITE, closes_once_more, NULL);
    cr_assert_eq(rota_watcher_start(loop, &reader), 0);
    cr_assert_eq(rota_watcher_start(loop, &writer), 0);
    cr_expect_eq(rota_fd_close(loop, fds[0]), 0);
    cr_expect_str_eq(kit_log, "cc");
    cr_expect_eq(fcntl(fds[0], F_GETFD), -1);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
    close_loop();
}

/* What is left in one loop is not in the way of the next one in the same memory. */
Test(small_watch, watchers_that_are_left_go_with_the_loop) {
    rota_watcher watcher;
    open_loop();
    for (int i = 0; i < 2; i++) {
        rota_watcher_init(&watcher, fds[0], ROTA_READ, notes, &r);
        cr_expect_eq(rota_watcher_start(loop, &watcher), 0);
        cr_expect_eq(rota_loop_free(loop), 0);
        cr_assert_eq(rota_loop_new(&loop, kit_memory()), 0);
    }
    close_loop();
}

/* More are ready than one array holds: all are told before the timers of the same turn. */
static void timer_notes(rota_timer *timer, void *arg) {
    (void)timer, (void)arg;
    kit_note('t');
}

Test(small_watch, many_events_come_before_timers) {
    enum { MANY = 40 };
    rota_watcher watchers[MANY];
    rota_timer timer;
    int copies[MANY];
    open_loop();
    cr_assert_eq(write(fds[1], "x", 1), 1);
    for (int i = 0; i < MANY; i++) {
        copies[i] = dup(fds[0]);
        cr_assert(copies[i] >= 0 && copies[i] < KIT_FDS);
        rota_watcher_init(&watchers[i], copies[i], ROTA_READ, notes, &r);
        cr_assert_eq(rota_watcher_start(loop, &watchers[i]), 0);
    }
    rota_timer_init(&timer, timer_notes, NULL);
    cr_assert_eq(rota_timer_start(loop, &timer, 0), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_eq(strlen(kit_log), MANY + 1);
    cr_expect_eq(kit_log[MANY], 't');
    for (int i = 0; i < MANY; i++)
        cr_expect_eq(rota_fd_close(loop, copies[i]), 0);
    close_loop();
}

Test(small_watch, what_the_kernel_refuses_is_the_error_of_start) {
    static const int errors[] = { ENOMEM, ENOSPC };
    rota_watcher watcher;
    open_loop();
    rota_watcher_init(&watcher, fds[0], ROTA_READ, notes, &r);
    for (int i = 0; i < 2; i++) {
        kit_fail("epoll_ctl", 1, errors[i], true);
        cr_expect_eq(rota_watcher_start(loop, &watcher), -errors[i]);
    }
    kit_fail_none();
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
    cr_expect_eq(rota_watcher_start(loop, &watcher), 0);
    close_loop();
}
