/* After fork: the child can only close, and the parent's loop goes on as if nothing had happened. */
#include "tests/reactor_kit.h"

#include <sys/wait.h>

static rota_remote *remote;

/* Runs fn in a child, which then closes what fn has left (and set to NULL when it has not); true when all of that
 * worked. (Checks in the child are not seen by Criterion, so they become the exit code; and the exit skips what the
 * test program does at its end.) */
static bool in_child(bool (*fn)(void)) {
    int status = -1;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        bool ok = fn();
        rota_remote_close(remote);
        _exit(ok && rota_loop_free(loop) == 0 ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int ends[2];
static rota_watcher watcher;
static int calls;

static bool calls_refuse(void) {
    rota_timer timer;
    rota_soon soon;
    rota_remote *other;
    rota_timer_init(&timer, count_timer, &calls);
    rota_soon_init(&soon, count_soon, &calls);
    return rota_loop_run(loop) == -EINVAL && rota_loop_turn(loop, 0) == -EINVAL && rota_loop_stop(loop) == -EINVAL &&
           rota_loop_fd(loop) == -EINVAL && rota_loop_set_current(loop) == -EINVAL &&
           rota_timer_start(loop, &timer, 0) == -EINVAL && rota_timer_stop(loop, &timer) == -EINVAL &&
           rota_soon_start(loop, &soon) == -EINVAL && rota_watcher_start(loop, &watcher) == -EINVAL &&
           rota_watcher_stop(loop, &watcher) == -EINVAL && rota_fd_close(loop, 0) == -EINVAL &&
           rota_remote_open(&other, loop) == -EINVAL && rota_loop_current() == NULL;
}

Test(fork, calls_of_the_child_refuse, .init = kit_open, .fini = kit_close) { cr_expect(in_child(calls_refuse)); }

static bool own_loop_works(void) {
    rota_loop *own;
    rota_timer timer;
    int n = 0;
    rota_timer_init(&timer, count_timer, &n);
    return rota_loop_new(&own, NULL) == 0 && rota_loop_current() == own &&
           rota_timer_start(own, &timer, ROTA_MS) == 0 && rota_loop_run(own) == 0 && n == 1 &&
           rota_loop_turn(loop, 0) == -EINVAL && rota_loop_free(own) == 0;
}

Test(fork, the_child_can_have_a_loop_of_its_own, .init = kit_open, .fini = kit_close) {
    cr_expect(in_child(own_loop_works));
}

static bool closing_works(void) { return rota_loop_close(loop) == 0 && rota_loop_close(loop) == 0; }

/* The parent's poll set must not lose anything through it. */
Test(fork, the_child_may_close_and_the_parent_notices_nothing, .init = kit_open, .fini = kit_close) {
    rota_timer timer;
    make_pair(ends);
    rota_watcher_init(&watcher, ends[0], ROTA_READ, count_watcher, &calls);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    rota_timer_init(&timer, say_timer, "t");
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_MS), 0);
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    cr_expect(in_child(closing_works));
    put(ends[1]);
    turn_once(0);
    cr_expect_eq(calls, 1);
    empty(ends[0]);
    while (rota_timer_active(&timer))
        turn_once(ROTA_FOREVER);
    rota_soon soon;
    rota_soon_init(&soon, count_soon, &calls);
    cr_expect_eq(rota_remote_post(remote, &soon), 0);
    turn_once(0);
    cr_expect_eq(calls, 2);
    rota_remote_close(remote);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
}

static bool closing_a_closed_one_works(void) { return rota_loop_close(loop) == 0; }

Test(fork, a_loop_that_was_closed_before_can_be_freed, .init = kit_open, .fini = kit_close) {
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect(in_child(closing_a_closed_one_works));
}

static int foreign;

/* A remote's waker is shared with the parent: nothing in the child may touch it. */
static bool remotes_refuse(void) {
    rota_soon soon;
    rota_soon_init(&soon, count_soon, &calls);
    bool refused = rota_remote_post(remote, &soon) == -EINVAL && rota_remote_post(remote, &soon) == -EINVAL;
    rota_remote_close(remote);
    remote = NULL;
    return refused;
}

Test(fork, remotes_of_the_child_refuse_and_wake_nobody, .init = kit_open, .fini = kit_close) {
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    foreign = rota_loop_fd(loop);
    turn_once(0);
    if (foreign >= 0)
        cr_assert(!readable_within(foreign, 0));
    cr_expect(in_child(remotes_refuse));
    if (foreign >= 0)
        cr_expect(!readable_within(foreign, 0), "the child woke the parent's loop");
    rota_remote_close(remote);
}

static void fork_inside(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    say(in_child(own_loop_works) ? "y" : "n");
}

Test(fork, from_inside_a_turn, .init = kit_open, .fini = kit_close) {
    rota_soon soon;
    rota_soon_init(&soon, fork_inside, NULL);
    cr_assert_eq(rota_soon_start(loop, &soon), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "y");
}

static void count_signal(rota_signal *w, int signo, void *arg) { (void)w, (void)signo, ++*(int *)arg; }

static bool signal_in_child(void) {
    raise(SIGUSR1);  /* the handler is still there, and finds no loop of this process */
    return true;
}

Test(fork, a_signal_to_the_child_is_not_the_parents, .init = kit_open, .fini = kit_close) {
    rota_signal signal;
    rota_signal_init(&signal, SIGUSR1, count_signal, &calls);
    cr_assert_eq(rota_signal_start(loop, &signal), 0);
    cr_expect(in_child(signal_in_child));
    turn_once(0);
    cr_expect_eq(calls, 0);
    raise(SIGUSR1);
    turn_once(0);
    cr_expect_eq(calls, 1);
    cr_expect_eq(rota_signal_stop(loop, &signal), 0);
}

static bool of_a_grandchild(void) { return in_child(calls_refuse) && calls_refuse(); }

Test(fork, a_grandchild_is_told_the_same, .init = kit_open, .fini = kit_close) { cr_expect(in_child(of_a_grandchild)); }
