/* Watchers and the descriptor table: start, stop, again, close, forget, generations, stale events, callbacks that
 * change everything while an event is being delivered. */
#include "tests/reactor_kit.h"
#include "tests/sys_table.h"

#include <limits.h>
#include <sys/ioctl.h>

static int ends[2];

static void begin(void) {
    kit_open();
    make_pair(ends);
}

static void begin_debug(void) {
    kit_open_debug();
    make_pair(ends);
}

static void end(void) {
    if (ends[0] >= 0)
        cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    if (ends[1] >= 0)
        cr_expect_eq(rota_fd_close(loop, ends[1]), 0);
    kit_close();
}

/* A watcher that remembers what it was told, and whose callback can be given something to do. */
struct watch {
    rota_watcher watcher;
    int calls;
    unsigned ready;    /* of the last call */
    void (*then)(struct watch *self);
};

static void on_watch(rota_watcher *watcher, unsigned ready, void *arg) {
    struct watch *w = arg;
    (void)watcher;
    w->calls++;
    w->ready = ready;
    if (w->then)
        w->then(w);
}

static void init(struct watch *w, int fd, unsigned events) {
    memset(w, 0, sizeof *w);
    rota_watcher_init(&w->watcher, fd, events, on_watch, w);
}

static void start(struct watch *w, int fd, unsigned events) {
    init(w, fd, events);
    cr_assert_eq(rota_watcher_start(loop, &w->watcher), 0);
}

static void stop(struct watch *w) { cr_expect_eq(rota_watcher_stop(loop, &w->watcher), 0); }

/* ---- readiness arrives ---- */

Test(fd_table, readiness_that_was_there_before_is_told, .init = begin, .fini = end) {
    struct watch w;
    put(ends[1]);
    start(&w, ends[0], ROTA_READ);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(w.calls, 1);
    cr_expect_eq(w.ready, (unsigned)ROTA_READ);
    stop(&w);
}

Test(fd_table, a_call_comes_when_readiness_arrives_and_not_while_it_stays, .init = begin, .fini = end) {
    if (!has_edges())
        return;
    struct watch w;
    start(&w, ends[0], ROTA_READ);
    turn_once(0);
    cr_expect_eq(w.calls, 0);
    put(ends[1]);
    for (int i = 0; i < 3; i++)
        turn_once(0);
    cr_expect_eq(w.calls, 1);
    put(ends[1]);
    turn_once(0);
    cr_expect_eq(w.calls, 2);
    stop(&w);
}

Test(fd_table, writing_is_ready_at_once, .init = begin, .fini = end) {
    struct watch w;
    start(&w, ends[0], ROTA_WRITE);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(w.calls, 1);
    cr_expect_eq(w.ready, (unsigned)ROTA_WRITE);
    stop(&w);
}

/* One watcher for both directions hears of each. */
Test(fd_table, one_watcher_may_be_both, .init = begin, .fini = end) {
    struct watch w;
    start(&w, ends[0], ROTA_READ | ROTA_WRITE);
    turn_once(0);
    cr_expect_eq(w.calls, 1);
    cr_expect_eq(w.ready, (unsigned)ROTA_WRITE);
    put(ends[1]);
    turn_once(0);
    cr_expect_eq(w.calls, 2);
    cr_expect(w.ready & ROTA_READ);
    stop(&w);
}

/* E07. */
Test(fd_table, a_reader_and_a_writer_are_both_called, .init = begin, .fini = end) {
    struct watch r, w;
    put(ends[1]);
    start(&r, ends[0], ROTA_READ);
    start(&w, ends[0], ROTA_WRITE);
    turn_once(0);
    cr_expect_eq(r.calls, 1);
    cr_expect_eq(w.calls, 1);
    stop(&w);
    put(ends[1]);
    turn_once(0);
    cr_expect_eq(r.calls, 2);
    cr_expect_eq(w.calls, 1);
    stop(&r);
}

Test(fd_table, urgent_data_is_told_to_those_who_ask, .init = kit_open, .fini = kit_close) {
    struct watch w;
    int pair[2] = { -1, -1 };
    /* Only TCP has urgent data; the pair of others must be good enough to be refused nothing. */
    make_pair(pair);
    start(&w, pair[0], ROTA_PRIORITY);
    put(pair[1]);
    turn_once(0);
    cr_expect_eq(w.calls, 0);  /* plain data is not urgent */
    cr_expect_eq(rota_fd_close(loop, pair[0]), 0);
    cr_expect_eq(w.ready, (unsigned)ROTA_CLOSED);
    close(pair[1]);
}

Test(fd_table, the_end_of_data_is_told, .init = begin, .fini = end) {
    struct watch w;
    start(&w, ends[0], ROTA_READ);
    put(ends[1]);
    cr_expect_eq(rota_fd_close(loop, ends[1]), 0);
    ends[1] = -1;
    turn_once(ROTA_FOREVER);
    cr_expect_eq(w.calls, 1);
    cr_expect((w.ready & (ROTA_READ | ROTA_EOF)) == (ROTA_READ | ROTA_EOF));
    stop(&w);
}

/* E19. */
Test(fd_table, a_writer_hears_that_the_reader_has_gone, .init = kit_open, .fini = kit_close) {
    struct watch w;
    int pipe_ends[2];
    char page[65536] = { 0 };
    make_pipe(pipe_ends);
    while (write(pipe_ends[1], page, sizeof page) > 0)
        ;
    start(&w, pipe_ends[1], ROTA_WRITE);
    turn_once(0);
    cr_expect_eq(w.calls, 0);
    close(pipe_ends[0]);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(w.calls, 1);
    cr_expect(w.ready & (ROTA_WRITE | ROTA_ERROR | ROTA_EOF));
    cr_expect_eq(rota_fd_close(loop, pipe_ends[1]), 0);
}

/* E16: what a partial read leaves is not announced again; asking again is. */
Test(fd_table, what_a_partial_read_leaves_is_had_by_asking_again, .init = begin, .fini = end) {
    if (!has_edges())
        return;
    struct watch w;
    char c;
    start(&w, ends[0], ROTA_READ);
    put(ends[1]);
    put(ends[1]);
    turn_once(0);
    cr_assert_eq(read(ends[0], &c, 1), 1);
    turn_once(0);
    cr_expect_eq(w.calls, 1);
    cr_expect_eq(rota_watcher_again(loop, &w.watcher), 0);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(w.calls, 2);
    cr_expect(w.ready & ROTA_READ);
    stop(&w);
}

/* E16: and so is starting a watcher anew. */
Test(fd_table, a_new_watcher_hears_of_what_is_still_there, .init = begin, .fini = end) {
    struct watch w;
    start(&w, ends[0], ROTA_READ);
    put(ends[1]);
    turn_once(0);
    stop(&w);
    start(&w, ends[0], ROTA_READ);
    turn_once(0);
    cr_expect_eq(w.calls, 1);
    stop(&w);
}

/* What was read meanwhile is not told: a watcher that then read from a blocking descriptor would hang. */
Test(fd_table, a_new_watcher_does_not_hear_of_what_has_gone, .init = begin, .fini = end) {
    struct watch w;
    start(&w, ends[0], ROTA_READ);
    put(ends[1]);
    turn_once(0);
    cr_expect_eq(w.calls, 1);
    empty(ends[0]);
    stop(&w);
    start(&w, ends[0], ROTA_READ);
    turn_once(0);
    turn_once(0);
    cr_expect_eq(w.calls, 0);
    put(ends[1]);
    turn_once(0);
    cr_expect_eq(w.calls, 1);
    stop(&w);
}

Test(fd_table, what_comes_while_nobody_watches_is_not_lost, .init = begin, .fini = end) {
    struct watch w;
    start(&w, ends[0], ROTA_READ);
    turn_once(0);
    stop(&w);
    put(ends[1]);
    turn_once(0);
    start(&w, ends[0], ROTA_READ);
    turn_once(0);
    cr_expect_eq(w.calls, 1);
    stop(&w);
}

/* ---- callbacks that change things ---- */

static struct watch first, second;

static void restart_self(struct watch *self) {
    empty(ends[0]);
    stop(self);
    cr_assert_eq(rota_watcher_start(loop, &self->watcher), 0);
}

/* E17. */
Test(fd_table, restarting_in_its_own_callback_neither_misses_nor_repeats, .init = begin, .fini = end) {
    start(&first, ends[0], ROTA_READ);
    first.then = restart_self;
    for (int i = 1; i <= 5; i++) {
        put(ends[1]);
        for (int j = 0; j < 3; j++)
            turn_once(0);
        cr_expect_eq(first.calls, i);
    }
    stop(&first);
}

static void stop_second(struct watch *self) {
    (void)self;
    stop(&second);
    memset(&second.watcher, 0xee, sizeof second.watcher);  /* after stop, the memory is the caller's */
}

Test(fd_table, the_reader_may_stop_the_writer_of_the_same_event, .init = begin, .fini = end) {
    put(ends[1]);
    start(&first, ends[0], ROTA_READ);
    start(&second, ends[0], ROTA_WRITE);
    first.then = stop_second;
    turn_once(0);
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(second.calls, 0);
    stop(&first);
}

static void forget_self(struct watch *self) {
    stop(self);
    memset(&self->watcher, 0xee, sizeof self->watcher);
}

Test(fd_table, a_watcher_may_go_in_its_own_callback, .init = begin, .fini = end) {
    put(ends[1]);
    start(&first, ends[0], ROTA_READ);
    start(&second, ends[0], ROTA_WRITE);
    first.then = second.then = forget_self;
    turn_once(0);
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(second.calls, 1);
    cr_expect_eq(loop->watchers, 0u);
}

static struct watch third;
static int reused = -1;

/* Closes the descriptor of the event, and gets the number back for something else, which is ready too. */
static void close_and_reuse(struct watch *self) {
    int fd = self->watcher.fd;
    self->then = NULL;
    cr_expect_eq(rota_fd_close(loop, fd), 0);
    reused = dup(ends[1]);
    cr_assert_eq(reused, fd);
    ends[0] = -1;
    start(&third, reused, ROTA_WRITE);
}

Test(fd_table, closing_in_a_callback_drops_the_rest_of_the_event, .init = begin, .fini = end) {
    put(ends[1]);
    start(&first, ends[0], ROTA_READ);
    start(&second, ends[0], ROTA_WRITE);
    first.then = close_and_reuse;
    int was = ends[0];
    turn_once(0);
    cr_expect_eq(reused, was);
    cr_expect_eq(first.calls, 2);
    cr_expect_eq(first.ready, (unsigned)ROTA_CLOSED);
    cr_expect_eq(second.calls, 1);
    cr_expect_eq(second.ready, (unsigned)ROTA_CLOSED);
    turn_once(0);
    cr_expect_eq(third.calls, 1);  /* its own readiness, once */
    cr_expect_eq(third.ready & (ROTA_WRITE | ROTA_CLOSED), (unsigned)ROTA_WRITE);
    cr_expect_eq(rota_fd_close(loop, reused), 0);
}

static void close_second(struct watch *self) {
    (void)self;
    cr_expect_eq(rota_fd_close(loop, second.watcher.fd), 0);
    stop(&second);
}

/* An event that the kernel had already handed out, for a descriptor that an earlier callback of the batch closed. */
Test(fd_table, a_late_event_of_a_closed_descriptor_is_dropped, .init = begin, .fini = end) {
    int more[2];
    make_pair(more);
    start(&first, ends[0], ROTA_READ);
    start(&second, more[0], ROTA_READ);
    first.then = close_second;
    put(ends[1]);
    put(more[1]);
    turn_once(0);
    cr_expect_eq(first.calls, 1);
    cr_expect_leq(second.calls, 2);
    cr_expect_eq(second.ready, (unsigned)ROTA_CLOSED);
    stop(&first);
    close(more[1]);
}

/* ---- close and forget ---- */

/* E02. */
Test(fd_table, close_tells_the_watchers_and_closes, .init = begin, .fini = end) {
    start(&first, ends[0], ROTA_READ);
    start(&second, ends[0], ROTA_WRITE);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    cr_expect_eq(first.ready, (unsigned)ROTA_CLOSED);
    cr_expect_eq(second.ready, (unsigned)ROTA_CLOSED);
    cr_expect_eq(first.calls + second.calls, 2);
    cr_expect_eq(fcntl(ends[0], F_GETFD), -1);
    cr_expect_eq(loop->watchers, 0u);
    cr_expect_eq(rota_watcher_again(loop, &first.watcher), -EINVAL);
    cr_expect_eq(rota_fd_close(loop, ends[0]), -EBADF);
    ends[0] = -1;
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
}

Test(fd_table, a_watcher_of_both_directions_is_told_once, .init = begin, .fini = end) {
    start(&first, ends[0], ROTA_READ | ROTA_WRITE);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    ends[0] = -1;
    cr_expect_eq(first.calls, 1);
}

/* The reader, told first, may stop the writer and reuse its memory: then the writer is not called any more. */
Test(fd_table, on_close_the_reader_may_stop_the_writer, .init = begin, .fini = end) {
    start(&first, ends[0], ROTA_READ);
    start(&second, ends[0], ROTA_WRITE);
    first.then = stop_second;
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    ends[0] = -1;
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(second.calls, 0);
}

static void move_second(struct watch *self) {
    (void)self;
    start(&second, ends[1], ROTA_WRITE);
}

/* Or start it again for another descriptor: it is not told of the old one then. */
Test(fd_table, on_close_the_reader_may_move_the_writer, .init = begin, .fini = end) {
    start(&first, ends[0], ROTA_READ);
    start(&second, ends[0], ROTA_WRITE);
    first.then = move_second;
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    ends[0] = -1;
    cr_expect_eq(second.calls, 0);
    turn_once(0);
    cr_expect_eq(second.calls, 1);
    cr_expect(second.ready & ROTA_WRITE);
    stop(&second);
}

static void close_the_other(struct watch *self) {
    (void)self;
    int fd = ends[1];
    ends[1] = -1;
    cr_expect_eq(rota_fd_close(loop, fd), 0);
}

/* Closing inside the call that tells of a close. */
Test(fd_table, closes_may_nest, .init = begin, .fini = end) {
    start(&first, ends[0], ROTA_READ);
    start(&second, ends[0], ROTA_WRITE);
    start(&third, ends[1], ROTA_READ);
    first.then = close_the_other;
    third.then = stop_second;
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    ends[0] = -1;
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(third.calls, 1);
    cr_expect_eq(second.calls, 0);
}

static void try_to_close_loop(struct watch *self) {
    (void)self;
    cr_expect_eq(rota_loop_close(loop), -EBUSY);
    cr_expect_eq(rota_loop_free(loop), -EBUSY);
}

/* I07: outside of a turn, too, a loop is not closed under its own feet. */
Test(fd_table, the_loop_is_busy_while_watchers_are_told_of_a_close, .init = begin, .fini = end) {
    start(&first, ends[0], ROTA_READ);
    start(&second, ends[0], ROTA_WRITE);
    first.then = second.then = try_to_close_loop;
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    ends[0] = -1;
    cr_expect_eq(first.calls + second.calls, 2);
}

Test(fd_table, forget_leaves_it_open_and_unwatched, .init = begin, .fini = end) {
    start(&first, ends[0], ROTA_READ);
    cr_expect_eq(rota_fd_forget(loop, ends[0]), 0);
    cr_expect_eq(first.ready, (unsigned)ROTA_CLOSED);
    put(ends[1]);
    turn_once(0);
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(loop->stale_events, 0u);  /* the kernel was told */
    char c;
    cr_expect_eq(read(ends[0], &c, 1), 1);

    /* It can be watched again. */
    start(&first, ends[0], ROTA_READ);
    put(ends[1]);
    turn_once(0);
    cr_expect_eq(first.calls, 1);
    stop(&first);
}

Test(fd_table, forgetting_what_was_never_watched_is_fine, .init = begin, .fini = end) {
    cr_expect_eq(rota_fd_forget(loop, ends[0]), 0);
    cr_expect_eq(rota_fd_forget(loop, 999999), 0);
    cr_expect_eq(rota_fd_forget(loop, -1), -EBADF);
}

/* ---- numbers that come back ---- */

Test(fd_table, a_reused_number_has_readiness_of_its_own, .init = begin, .fini = end) {
    for (int i = 0; i < 100; i++) {
        put(ends[1]);
        start(&first, ends[0], ROTA_READ);
        if (i & 1)
            turn_once(0);
        int old = ends[0];
        cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
        close(ends[1]);
        make_pair(ends);
        cr_assert_eq(ends[0], old);
        start(&second, ends[0], ROTA_READ);
        turn_once(0);
        cr_expect_eq(second.calls, 0, "round %d", i);
        stop(&second);
        cr_expect_eq(rota_fd_forget(loop, ends[0]), 0);
    }
}

/* E01: closed by the library while a duplicate lives: what comes for the duplicate concerns nobody. */
Test(fd_table, a_duplicate_of_a_closed_descriptor_calls_nobody, .init = begin, .fini = end) {
    int copy = dup(ends[0]);
    start(&first, ends[0], ROTA_READ);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    ends[0] = -1;
    put(ends[1]);
    int64_t cpu = cpu_time();
    for (int i = 0; i < 4; i++)
        cr_expect_eq(rota_loop_turn(loop, 20 * ROTA_MS), 0);
    cr_expect_lt(cpu_time() - cpu, 40 * ROTA_MS);
    cr_expect_eq(first.calls, 1);
    close(copy);
}

/* E22. */
Test(fd_table, after_64_stale_events_the_set_is_rebuilt, .init = begin_debug, .fini = end) {
    int more[2], copy = dup(ends[0]);
    make_pair(more);
    start(&first, ends[0], ROTA_READ);
    start(&second, more[0], ROTA_READ);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    ends[0] = -1;
    if (is_epoll()) {
        for (int i = 0; i < 200; i++) {
            put(ends[1]);
            turn_once(0);
            cr_expect_lt(loop->stale_events, 64u);
        }
        cr_expect_eq(reports_of(ROTA_REPORT_STALE_FD), 1, "%d rebuilds", reports_of(ROTA_REPORT_STALE_FD));
    }
    /* What was watched still is. */
    put(more[1]);
    turn_once(0);
    cr_expect_eq(second.calls, 1);
    cr_expect_eq(rota_fd_close(loop, more[0]), 0);
    close(more[1]);
    close(copy);
}

/* Numbers closed behind the loop's back are found when the set is rebuilt, and their watchers told. */
Test(fd_table, a_rebuild_finds_what_was_closed_behind_its_back, .init = begin_debug, .fini = end) {
    int more[2], copy = dup(ends[0]);
    make_pair(more);
    start(&first, ends[0], ROTA_READ);
    start(&second, more[0], ROTA_READ);
    close(more[0]);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    ends[0] = -1;
    for (int i = 0; is_epoll() && i < 70; i++) {
        put(ends[1]);
        turn_once(0);
    }
    if (is_epoll())
        cr_expect_eq(second.ready, (unsigned)ROTA_CLOSED);
    else
        stop(&second);
    close(more[1]);
    close(copy);
}

/* E03: raw close, and nobody took the number. */
Test(fd_table, starting_on_a_number_closed_behind_its_back_says_so, .init = begin, .fini = end) {
    start(&first, ends[0], ROTA_READ);
    stop(&first);
    close(ends[0]);
    init(&first, ends[0], ROTA_READ);
    cr_expect_eq(rota_watcher_start(loop, &first.watcher), -EBADF);
    cr_expect_eq(loop->watchers, 0u);
    ends[0] = -1;
}

/* E03: the other direction's watcher, which would have waited for ever, is told. */
Test(fd_table, what_still_waits_on_a_number_closed_behind_its_back_is_told, .init = begin, .fini = end) {
    start(&first, ends[0], ROTA_READ);
    start(&second, ends[0], ROTA_WRITE);
    turn_once(0);
    stop(&second);
    close(ends[0]);
    cr_expect_eq(rota_watcher_start(loop, &second.watcher), -EBADF);
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(first.ready, (unsigned)ROTA_CLOSED);
    cr_expect_eq(loop->watchers, 0u);
    ends[0] = -1;
}

/* E03: a task's wait trusts what it knows; in debug mode each is checked, and the number named. */
Test(fd_table, debug_mode_checks_every_wait, .init = begin_debug, .fini = end) {
    char number[32];
    init(&first, ends[0], ROTA_READ);
    cr_assert_eq(rota__watch(loop, &first.watcher), 0);
    rota__unwatch(loop, &first.watcher);
    close(ends[0]);
    cr_expect_eq(rota__watch(loop, &first.watcher), -EBADF);
    cr_assert_eq(reports_of(ROTA_REPORT_STALE_FD), 1);
    snprintf(number, sizeof number, "descriptor %d ", ends[0]);
    cr_expect_not_null(strstr(report_of(ROTA_REPORT_STALE_FD)->text, number));
    cr_expect_eq(report_of(ROTA_REPORT_STALE_FD)->error, -EBADF);
    ends[0] = -1;
}

/* E03: raw close, and the number came back. */
Test(fd_table, a_number_reused_behind_its_back_gives_the_new_ones_events, .init = begin, .fini = end) {
    int old = ends[0];
    put(ends[1]);
    start(&first, ends[0], ROTA_READ);
    turn_once(0);
    stop(&first);
    close(ends[0]);
    close(ends[1]);
    make_pair(ends);
    cr_assert_eq(ends[0], old);
    start(&first, ends[0], ROTA_READ);
    turn_once(0);
    cr_expect_eq(first.calls, 0);
    put(ends[1]);
    turn_once(0);
    cr_expect_eq(first.calls, 1);
    stop(&first);
}

/* A descriptor that the library itself made, under a number that somebody closed raw. */
Test(fd_table, a_fresh_descriptor_takes_over_its_slot, .init = begin_debug, .fini = end) {
    start(&first, ends[0], ROTA_READ);
    close(ends[0]);
    uint32_t generation = rota__fd_find(&loop->fds, ends[0])->generation;
    cr_assert_eq(dup2(ends[1], ends[0]), ends[0]);
    rota__fd_fresh(loop, ends[0], ROTA__FD_SOCKET, ROTA__FD_NONBLOCKING);
    cr_expect_eq(first.ready, (unsigned)ROTA_CLOSED);
    cr_expect_neq(rota__fd_find(&loop->fds, ends[0])->generation, generation);
    cr_assert_eq(reports_of(ROTA_REPORT_STALE_FD), 1);
    char number[32];
    snprintf(number, sizeof number, "descriptor %d ", ends[0]);
    cr_expect_not_null(strstr(report_of(ROTA_REPORT_STALE_FD)->text, number));
}

/* ---- what cannot be watched ---- */

/* E09. */
Test(fd_table, numbers_that_are_not_open, .init = begin, .fini = end) {
    static const int bad[] = { -1, INT_MIN, 999999, INT_MAX };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t bytes = memory.bytes;
        init(&first, bad[i], ROTA_READ);
        cr_expect_eq(rota_watcher_start(loop, &first.watcher), -EBADF, "%d", bad[i]);
        cr_expect_eq(rota_watcher_again(loop, &first.watcher), -EINVAL);
        cr_expect_eq(rota_watcher_stop(loop, &first.watcher), 0);
        cr_expect_eq(rota_fd_close(loop, bad[i]), -EBADF);
        cr_expect_eq(memory.bytes, bytes, "a number that is not open grows the table");
    }
}

Test(fd_table, a_closed_number, .init = begin, .fini = end) {
    close(ends[0]);
    init(&first, ends[0], ROTA_WRITE);
    cr_expect_eq(rota_watcher_start(loop, &first.watcher), -EBADF);
    ends[0] = -1;
}

Test(fd_table, bad_interest, .init = begin, .fini = end) {
    static const unsigned bad[] = { 0, ROTA_EOF, ROTA_READ | ROTA_ERROR, ROTA_CLOSED, 64 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        init(&first, ends[0], bad[i]);
        cr_expect_eq(rota_watcher_start(loop, &first.watcher), -EINVAL);
    }
}

/* E06. */
Test(fd_table, one_watcher_for_each_direction, .init = begin, .fini = end) {
    struct watch both;
    start(&first, ends[0], ROTA_READ);
    cr_expect_eq(rota_watcher_start(loop, &first.watcher), -EALREADY);
    init(&second, ends[0], ROTA_READ);
    cr_expect_eq(rota_watcher_start(loop, &second.watcher), -EBUSY);
    init(&second, ends[0], ROTA_PRIORITY);
    cr_expect_eq(rota_watcher_start(loop, &second.watcher), -EBUSY);
    init(&both, ends[0], ROTA_READ | ROTA_WRITE);
    cr_expect_eq(rota_watcher_start(loop, &both.watcher), -EBUSY);
    start(&second, ends[0], ROTA_WRITE);
    cr_expect_eq(rota_watcher_stop(loop, &both.watcher), 0);  /* was never started: nothing happens */
    put(ends[1]);
    turn_once(0);
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(second.calls, 1);
    stop(&first);
    stop(&second);
}

static int some_file(void) {
    char name[] = "/tmp/rota-test-XXXXXX";
    int fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    unlink(name);
    return fd;
}

/* E05. */
Test(fd_table, files_and_directories_are_always_ready, .init = kit_open, .fini = kit_close) {
    int fds[2] = { some_file(), open("/", O_RDONLY) };
    for (int i = 0; i < 2; i++) {
        cr_assert_geq(fds[i], 0);
        start(&first, fds[i], ROTA_READ);
        turn_once(ROTA_FOREVER);
        cr_expect_eq(first.calls, 1);
        cr_expect(first.ready & ROTA_READ);
        turn_once(0);
        cr_expect_eq(first.calls, 1);  /* told once, like anything else */
        cr_expect_eq(rota_watcher_again(loop, &first.watcher), 0);
        turn_once(ROTA_FOREVER);
        cr_expect_eq(first.calls, 2);
        stop(&first);
        start(&first, fds[i], ROTA_READ);
        turn_once(ROTA_FOREVER);
        cr_expect_eq(first.calls, 1);
        cr_expect_eq(rota_fd_close(loop, fds[i]), 0);
        cr_expect_eq(first.ready, (unsigned)ROTA_CLOSED);
    }
}

/* E05. */
Test(fd_table, character_devices_are_ready_or_always_ready, .init = kit_open, .fini = kit_close) {
    int fd = open("/dev/null", O_RDWR);
    start(&first, fd, ROTA_READ | ROTA_WRITE);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(rota_fd_close(loop, fd), 0);
}

/* E10: a loop is watched by another. */
Test(fd_table, a_loop_can_watch_a_loop, .init = kit_open, .fini = kit_close) {
    rota_loop *inner;
    rota_soon soon;
    int calls = 0;
    cr_assert_eq(rota_loop_new(&inner, NULL), 0);
    int fd = rota_loop_fd(inner);
    if (is_poll()) {
        cr_expect_eq(fd, -ENOTSUP);
        cr_expect_eq(rota_loop_free(inner), 0);
        return;
    }
    cr_assert_geq(fd, 0);
    start(&first, fd, ROTA_READ);
    turn_once(0);
    rota_soon_init(&soon, count_soon, &calls);
    for (int i = 1; i <= 3; i++) {
        int before = first.calls;
        cr_assert_eq(rota_soon_start(inner, &soon), 0);
        turn_once(ROTA_S);
        cr_expect_gt(first.calls, before);
        cr_expect_eq(rota_loop_turn(inner, 0), 0);
        cr_expect_eq(calls, i);
    }
    cr_expect_eq(rota_fd_forget(loop, fd), 0);
    cr_expect_eq(rota_loop_free(inner), 0);
}

/* E10: a terminal. */
Test(fd_table, a_pseudo_terminal, .init = kit_open, .fini = kit_close) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
        cr_skip_test("no pseudo-terminals here");
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    cr_assert_geq(slave, 0);
    start(&first, master, ROTA_READ);
    turn_once(0);
    first.calls = 0;
    put(slave);
    turn_once(ROTA_S);
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(rota_fd_close(loop, master), 0);
    close(slave);
}

/* E18. */
Test(fd_table, a_descriptor_that_came_by_message, .init = begin, .fini = end) {
    int more[2], got = -1;
    union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control;
    char c = 'x';
    struct iovec iov = { &c, 1 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    make_pair(more);
    memset(&control, 0, sizeof control);
    control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
                                       .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(&control.header), &more[0], sizeof(int));
    cr_assert_eq(sendmsg(ends[1], &msg, 0), 1);
    cr_assert_eq(recvmsg(ends[0], &msg, 0), 1);
    memcpy(&got, CMSG_DATA(&control.header), sizeof(int));
    start(&first, got, ROTA_READ);
    close(more[0]);
    put(more[1]);
    turn_once(ROTA_S);
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(rota_fd_close(loop, got), 0);
    close(more[1]);
}

/* What each poller registers with. */
static int set_error;

static int failing_ctl(int epoll, int op, int fd, struct epoll_event *event) {
    return set_error ? set_error : rota__sys_real.epoll_ctl(epoll, op, fd, event);
}

static int failing_change(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n,
                          const struct timespec *timeout) {
    return set_error && n_changes ? set_error : rota__sys_real.kevent(kq, changes, n_changes, events, n, timeout);
}

static int failing_fstat(int fd, struct stat *st) { return set_error ? set_error : rota__sys_real.fstat(fd, st); }

/* E04. */
Test(fd_table, a_full_poll_set_fails_one_call_only, .init = kit_open_meddled, .fini = kit_close) {
    int pair[2];
    make_pair(pair);
    kit_sys.epoll_ctl = failing_ctl;
    kit_sys.kevent = failing_change;
    if (is_poll())
        kit_sys.fstat = failing_fstat;
    start(&second, pair[1], ROTA_READ);
    static const int errors[] = { -ENOSPC, -ENOMEM };
    for (int i = 0; i < 2; i++) {
        set_error = errors[i];
        init(&first, pair[0], ROTA_READ | ROTA_WRITE);
        cr_expect_eq(rota_watcher_start(loop, &first.watcher), errors[i]);
        cr_expect_eq(loop->watchers, 1u);
    }
    set_error = 0;
    cr_expect_eq(rota_watcher_start(loop, &first.watcher), 0);
    put(pair[1]);
    put(pair[0]);
    turn_once(0);
    cr_expect(first.calls == 1 || first.calls == 2, "kqueue has an event for each direction");
    cr_expect_eq(first.ready & (ROTA_READ | ROTA_WRITE), first.calls == 1 ? ROTA_READ | ROTA_WRITE : first.ready);
    cr_expect_eq(second.calls, 1);
    cr_expect_eq(rota_fd_close(loop, pair[0]), 0);
    cr_expect_eq(rota_fd_close(loop, pair[1]), 0);
}

/* ---- being called again ---- */

Test(fd_table, again_wants_a_started_watcher, .init = begin, .fini = end) {
    init(&first, ends[0], ROTA_READ);
    cr_expect_eq(rota_watcher_again(loop, &first.watcher), -EINVAL);
}

static void stop_all_three(struct watch *self) {
    (void)self;
    stop(&first);
    stop(&second);
    stop(&third);
}

/* Whoever is called again may stop others that are waiting for the same. */
Test(fd_table, one_that_is_called_again_may_stop_others, .init = begin, .fini = end) {
    if (!has_edges())
        return;
    start(&first, ends[0], ROTA_READ);
    start(&second, ends[1], ROTA_READ);
    start(&third, ends[1], ROTA_WRITE);
    turn_once(0);
    third.calls = 0;
    cr_assert_eq(rota_watcher_again(loop, &first.watcher), 0);
    cr_assert_eq(rota_watcher_again(loop, &second.watcher), 0);
    cr_assert_eq(rota_watcher_again(loop, &third.watcher), 0);
    first.then = stop_all_three;
    turn_once(ROTA_FOREVER);
    cr_expect_eq(first.calls, 1);
    cr_expect_eq(second.calls + third.calls, 0);
    cr_expect_null(loop->again);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
}

static int blocking_reads;

static void note_flags(struct watch *self) { blocking_reads += !(fcntl(self->watcher.fd, F_GETFL) & O_NONBLOCK); }

Test(fd_table, the_blocking_mode_stays, .init = kit_open, .fini = kit_close) {
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    start(&first, pair[0], ROTA_READ);
    first.then = note_flags;
    put(pair[1]);
    turn_once(0);
    cr_expect_eq(blocking_reads, 1);
    cr_expect_eq(rota_fd_close(loop, pair[0]), 0);
    close(pair[1]);
}

/* ---- the table itself ---- */

Test(fd_table, slots_stay_where_they_are, .init = kit_open, .fini = kit_close) {
    struct rota__fd_table *t = &loop->fds;
    struct rota__fd *slot = rota__fd_need(t, &memory_allocator, 3);
    cr_assert_not_null(slot);
    cr_expect_not_null(rota__fd_need(t, &memory_allocator, 100000));
    cr_expect_eq(rota__fd_find(t, 3), slot);
    cr_expect_null(rota__fd_find(t, -1));
    cr_expect_null(rota__fd_find(t, 50000));
    cr_expect_null(rota__fd_find(t, INT_MAX));
    cr_expect_eq(rota__fd_find(t, 100000)->generation, 0u);
}

Test(fd_table, without_memory_for_the_table, .init = begin, .fini = end) {
    for (size_t i = 1; i <= 2; i++) {
        init(&first, ends[0], ROTA_READ);
        memory.fail_at = memory.calls + i;
        cr_expect_eq(rota_watcher_start(loop, &first.watcher), -ENOMEM);
    }
    memory.fail_at = 0;
    cr_expect_eq(rota_watcher_start(loop, &first.watcher), 0);
    stop(&first);
}
