/* What is peculiar to the poller over poll(2): it asks about the table's slots, and must neither miss what somebody
 * waits for nor return at once for ever for what nobody does. The contract itself is tested in test_poller.c. */
#include "tests/reactor_kit.h"

#include <sys/resource.h>

static void begin(void) {
    bool built_in = false;
    for (const char *const *name = rota_loop_backends(); *name; name++)
        built_in |= strcmp(*name, "poll") == 0;
    if (!built_in)
        cr_skip_test("built without this poller");
    kit_meddle();
    kit_open_with((rota_loop_options){ .allocator = &memory_allocator, .backend = "poll" });
}

#define Poll_test(name) Test(poller_poll, name, .init = begin, .fini = kit_close)

/* Whoever is waiting for nothing sleeps: two waits of which the first may bring what there was. */
static void expect_sleep(void) {
    turn_once(0);
    cr_expect_eq(loop->poller->wait(loop, 2 * ROTA_MS), 0);
}

/* A watcher that stops leaves the registration, and what is ready stays remembered. */
static void register_only(rota_watcher *w, int fd, unsigned events, int *calls) {
    rota_watcher_init(w, fd, events, count_watcher, calls);
    cr_assert_eq(rota_watcher_start(loop, w), 0);
    turn_once(0);
    cr_assert_eq(rota_watcher_stop(loop, w), 0);
}

Poll_test(data_that_nobody_waits_for_is_told_once) {
    rota_watcher w;
    int ends[2], calls = 0;
    make_pair(ends);
    register_only(&w, ends[0], ROTA_READ | ROTA_WRITE, &calls);
    put(ends[1]);
    expect_sleep();
    cr_expect_eq(rota__fd_find(&loop->fds, ends[0])->ready & ROTA_READ, ROTA_READ);
    calls = 0;
    cr_assert_eq(rota_watcher_start(loop, &w), 0);
    turn_once(0);
    cr_expect_eq(calls, 1, "whoever waits next hears of it");
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
}

/* poll(2) reports a hang-up whatever is asked. */
Poll_test(a_hang_up_that_nobody_waits_for_is_told_once) {
    rota_watcher w;
    int ends[2], calls = 0;
    make_pair(ends);
    register_only(&w, ends[0], ROTA_READ, &calls);
    close(ends[1]);
    expect_sleep();
    cr_expect_eq(rota__fd_find(&loop->fds, ends[0])->ready & ROTA_EOF, ROTA_EOF);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
}

Poll_test(an_error_that_nobody_waits_for_is_told_once) {
    rota_watcher w;
    int ends[2], calls = 0;
    make_pipe(ends);
    register_only(&w, ends[1], ROTA_WRITE, &calls);
    close(ends[0]);
    expect_sleep();
    cr_expect_eq(rota_fd_close(loop, ends[1]), 0);
}

/* Closed behind the loop's back: waiting for it is over, with an error, where epoll would be silent. */
Poll_test(a_number_that_is_not_open_is_an_error) {
    rota_watcher w;
    int ends[2], calls = 0;
    make_pair(ends);
    rota_watcher_init(&w, ends[0], ROTA_READ, count_watcher, &calls);
    cr_assert_eq(rota_watcher_start(loop, &w), 0);
    close(ends[0]);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(calls, 1);
    cr_expect_eq(rota__fd_find(&loop->fds, ends[0])->ready & ROTA_ERROR, ROTA_ERROR);
    cr_expect_eq(rota_watcher_stop(loop, &w), 0);
    expect_sleep();
    cr_expect_eq(rota_fd_close(loop, ends[0]), -EBADF);
    close(ends[1]);
}

static rota_watcher heir;
static int heir_calls;

static void close_other(rota_watcher *w, unsigned ready, void *arg) {
    int *other = arg;
    if (ready & ROTA_CLOSED)
        return;
    (void)w;
    (void)rota_fd_close(loop, other[0]);
    int again = dup(other[1]);   /* takes the number */
    cr_expect_eq(again, other[0]);
    rota__fd_fresh(loop, again, ROTA__FD_UNKNOWN, 0);
    rota_watcher_init(&heir, again, ROTA_READ, count_watcher, &heir_calls);
    cr_expect_eq(rota_watcher_start(loop, &heir), 0);
}

/* Both were ready; the first one's callback closes the second, and its number comes back: the old answer is not for
 * the new owner. */
Poll_test(an_answer_for_a_former_owner_is_dropped) {
    rota_watcher first, second;
    int a[2], b[2], calls = 0;
    make_pair(a);
    make_pair(b);
    int other[2] = {b[0], a[1]};
    rota_watcher_init(&first, a[0], ROTA_READ, close_other, other);
    rota_watcher_init(&second, b[0], ROTA_READ, count_watcher, &calls);
    cr_assert_eq(rota_watcher_start(loop, &first), 0);
    cr_assert_eq(rota_watcher_start(loop, &second), 0);
    put(a[1]);
    put(b[1]);
    turn_once(0);
    cr_expect_eq(calls, 1, "that it was closed");
    cr_expect_eq(heir_calls, 0);
    cr_expect_eq(rota__fd_find(&loop->fds, b[0])->ready, 0);
    cr_expect_eq(rota_watcher_stop(loop, &heir), 0);
    cr_expect_eq(rota_fd_close(loop, a[0]), 0);
    cr_expect_eq(rota_fd_close(loop, b[0]), 0);
    close(a[1]);
    close(b[1]);
}

static rota_watcher high_watcher;
static int high_fd, high_calls;

static void watch_high(rota_watcher *w, unsigned ready, void *arg) {
    (void)ready, (void)arg;
    cr_expect_eq(rota_watcher_stop(loop, w), 0);
    rota_watcher_init(&high_watcher, high_fd, ROTA_READ, count_watcher, &high_calls);
    cr_expect_eq(rota_watcher_start(loop, &high_watcher), 0);
}

/* A callback registers a number for which there is no room yet: the answers that are still to come move. */
Poll_test(answers_survive_a_callback_that_needs_more_room) {
    enum { N = 20 };
    rota_watcher first, others[N];
    int ends[2], fds[N], calls = 0;
    make_pair(ends);
    put(ends[1]);
    high_fd = fcntl(ends[0], F_DUPFD, 200);
    cr_assert_geq(high_fd, 200);
    rota_watcher_init(&first, ends[0], ROTA_READ, watch_high, NULL);
    cr_assert_eq(rota_watcher_start(loop, &first), 0);
    for (int i = 0; i < N; i++) {
        fds[i] = dup(ends[0]);
        rota_watcher_init(&others[i], fds[i], ROTA_READ, count_watcher, &calls);
        cr_assert_eq(rota_watcher_start(loop, &others[i]), 0);
    }
    turn_once(0);
    cr_expect_eq(calls, N);
    turn_once(0);
    cr_expect_eq(high_calls, 1);
    for (int i = 0; i < N; i++)
        cr_expect_eq(rota_fd_close(loop, fds[i]), 0);
    cr_expect_eq(rota_fd_close(loop, high_fd), 0);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
}

/* A full pipe is still a wake-up, and is emptied. */
Poll_test(a_flood_of_wakes_is_one) {
    for (int i = 0; i < 70000; i++)
        (void)loop->inbox->waker.wake(loop->inbox->waker.fd);
    cr_expect_eq(loop->poller->wait(loop, ROTA_FOREVER), 1);
    cr_expect_eq(loop->poller->wait(loop, 0), 0);
}

Poll_test(it_has_no_descriptor_for_foreign_loops) {
    cr_expect_eq(rota_loop_fd(loop), -ENOTSUP);
    cr_expect(!loop->is_foreign);
}
