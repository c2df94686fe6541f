/* The loop options `precise` and `spin_ns`: how often the kernel is asked, by what the loop sleeps, and when. The
 * kernel here is the real one asked without waiting, and time is told by it alone: a question takes ASK, a sleep as long
 * as it was asked to and LATE more. What a real kernel makes of it, bench measures. */
#include <signal.h>

#include "rota/coro.h"
#include "rota/trace.h"
#include "tests/reactor_kit.h"
#include "tests/sys_table.h"

enum { ASK = 300, LATE = 40000, SPIN = 60000 };

static int64_t fake_time, armed, longest_sleep;
static int asked, slept, set, wakes, pwaits;
static void (*while_asked)(void), (*while_asleep)(void);

static int64_t fake_now(void) { return fake_time; }

static int fake_settime(int fd, int flags, const struct itimerspec *at) {
#if defined(__linux__)
    (void)fd;
    cr_expect_neq(flags, 0, "absolute");
    set++;
    armed = (int64_t)at->it_value.tv_sec * ROTA_S + at->it_value.tv_nsec;
#else
    (void)fd, (void)flags, (void)at;
#endif
    return 0;
}

static void ask(void) {
    asked++;
    fake_time += ASK;
    if (while_asked)
        while_asked();
}

/* ns < 0: for ever, so until the timer descriptor; or until something that happens meanwhile. */
static void doze(int64_t ns) {
    int64_t until = ns < 0 ? armed : fake_time + ns;
    slept++;
    longest_sleep = until - fake_time > longest_sleep ? until - fake_time : longest_sleep;
    if (while_asleep)
        while_asleep();
    else if (until >= fake_time)
        fake_time = until + LATE;
    else
        cr_assert(false, "it would sleep for ever");
}

static void wait_for(int64_t ns) {
    if (ns == 0)
        ask();
    else
        doze(ns);
}

static int64_t span(const struct timespec *t) { return t ? (int64_t)t->tv_sec * ROTA_S + t->tv_nsec : -1; }

static int fake_epoll_wait(int epoll, struct epoll_event *events, int n, int ms) {
    wait_for(ms < 0 ? -1 : ms * ROTA_MS);
    return rota__sys_real.epoll_wait(epoll, events, n, 0);
}

static int fake_epoll_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout) {
    pwaits++;
    wait_for(span(timeout));
    return rota__sys_real.epoll_wait(epoll, events, n, 0);
}

static int fake_kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n,
                       const struct timespec *timeout) {
    const struct timespec none = { 0, 0 };
    if (n > 0)
        wait_for(span(timeout));
    else
        wakes++; /* in a test of posts: a change is the wake-up */
    return rota__sys_real.kevent(kq, changes, n_changes, events, n, n > 0 ? &none : timeout);
}

static int fake_poll(struct pollfd *fds, nfds_t n, int ms) {
    wait_for(ms < 0 ? -1 : ms * ROTA_MS);
    return rota__sys_real.poll(fds, n, 0);
}

static ssize_t counted_write(int fd, const void *buf, size_t n) {
    wakes++;
    return rota__sys_real.write(fd, buf, n);
}

static void open_faked(rota_loop_options options) {
    kit_sys = rota__sys_real;
    fake_time = rota__sys_real.now();
    kit_sys.now = fake_now;
    kit_sys.timerfd_settime = fake_settime;
    kit_sys.epoll_wait = fake_epoll_wait;
    kit_sys.epoll_pwait2 = fake_epoll_pwait2;
    kit_sys.kevent = fake_kevent;
    kit_sys.poll = fake_poll;
    kit_sys.write = counted_write;
    rota__sys = &kit_sys;
    options.allocator = &memory_allocator;
    kit_open_with(options);
}

static void open_precise(void) { open_faked((rota_loop_options){ .precise = true }); }
static void open_spinning(void) { open_faked((rota_loop_options){ .spin_ns = SPIN }); }

static int64_t fired;

static void note_time(rota_timer *timer, void *arg) {
    (void)timer;
    fired = fake_time;
    ++*(int *)arg;
}

/* How late a timer of so many ns fires. */
static int64_t lateness(int64_t ns) {
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, note_time, &calls);
    int64_t due = fake_time + ns;
    cr_assert_eq(rota_timer_start(loop, &timer, ns), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(calls, 1);
    cr_expect_geq(fired, due, "never early");
    return fired - due;
}

/* ---- precise ---- */

Test(precise, sleeps_by_a_timer_descriptor, .init = open_precise, .fini = kit_close) {
    cr_expect_leq(lateness(10 * ROTA_MS), is_poll() ? ROTA_MS + LATE : LATE);
    cr_expect_eq(slept, 1);
    cr_expect_eq(pwaits, 0);
    cr_expect_eq(set, is_epoll(), "set once; the other backends have none");
}

Test(precise, without_it_a_timeout_is_enough, .fini = kit_close) {
    open_faked((rota_loop_options){ 0 });
    cr_expect_leq(lateness(10 * ROTA_MS), is_poll() ? ROTA_MS + LATE : LATE);
    cr_expect_eq(set, 0);
    cr_expect_eq(asked, 0);
    cr_expect_eq(loop->poll.timer_fd, -1);
}

static int ends[2];

static void arrives_soon(void) {
    fake_time += ROTA_MS;
    put(ends[1]);
}

Test(precise, the_same_deadline_is_set_once, .init = open_precise, .fini = kit_close) {
    rota_watcher watcher;
    rota_timer timer;
    int calls = 0;
    make_pair(ends);
    rota_watcher_init(&watcher, ends[0], ROTA_READ, count_and_empty, &calls);
    rota_timer_init(&timer, stop_timer, NULL);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_S), 0);
    while_asleep = arrives_soon;
    for (int i = 0; i < 5; i++)
        turn_once(ROTA_FOREVER);
    cr_expect_eq(calls, 5);
    cr_expect_eq(set, is_epoll());
    cr_assert_eq(rota_timer_start(loop, &timer, 100 * ROTA_MS), 0);
    turn_once(ROTA_FOREVER);
    cr_expect_eq(set, 2 * is_epoll(), "a nearer one is another");
    cr_expect_eq(rota_watcher_stop(loop, &watcher), 0);
    cr_expect_eq(rota_timer_stop(loop, &timer), 0);
    close(ends[0]), close(ends[1]);
}

static int no_settime(int fd, int flags, const struct itimerspec *at) {
    (void)fd, (void)flags, (void)at;
    set++;
    return -ENOMEM;
}

Test(precise, a_descriptor_that_cannot_be_set_leaves_the_timeout, .init = open_precise, .fini = kit_close) {
    kit_sys.timerfd_settime = no_settime;
    cr_expect_leq(lateness(10 * ROTA_MS), is_poll() ? ROTA_MS + LATE : LATE);
    cr_expect_eq(slept, 1);
    cr_expect_eq(pwaits, set);
}

static int no_timerfd(void) { return -EMFILE; }

Test(precise, without_a_descriptor_there_is_no_loop) {
    const rota_loop_options options = { .allocator = &memory_allocator, .precise = true };
    test_begin();
    kit_sys = rota__sys_real;
    kit_sys.timerfd_create = no_timerfd;
    rota__sys = &kit_sys;
    int rc = rota_loop_new(&loop, &options);
    if (rc == 0 && !is_epoll())
        cr_expect_eq(rota_loop_free(loop), 0);
    else
        cr_expect_eq(rc, -EMFILE);
    test_end();
}

/* The one descriptor serves both: what a foreign loop polls, and a turn that waits. */
Test(precise, a_foreign_loop_still_sees_deadlines, .init = kit_open_meddled, .fini = kit_close) {
    rota_timer timer;
    int calls = 0;
    cr_expect_eq(rota_loop_free(loop), 0);
    cr_assert_eq(rota_loop_new(&loop, &(rota_loop_options){ .allocator = &memory_allocator, .precise = true }), 0);
    int fd = rota_loop_fd(loop);
    if (fd == -ENOTSUP)
        return;
    cr_assert_geq(fd, 0);
    rota_timer_init(&timer, count_timer, &calls);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(rota_timer_start(loop, &timer, 2 * ROTA_MS), 0);
        if (i != 1)
            cr_expect(readable_within(fd, 10000));
        while (calls == i)
            turn_once(i == 1 ? ROTA_FOREVER : 0);
    }
    cr_expect(!readable_within(fd, 0));
}

Test(precise, real_timers_are_never_early, .fini = kit_close) {
    static const rota_loop_options kinds[] = { { .precise = true }, { .spin_ns = SPIN }, { .spin_ns = 10 * SPIN } };
    test_begin();
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        rota_timer timer;
        int calls = 0;
        if (k > 0)
            cr_expect_eq(rota_loop_free(loop), 0);
        cr_assert_eq(rota_loop_new(&loop, &kinds[k]), 0);
        rota_timer_init(&timer, count_timer, &calls);
        for (int i = 0; i < 60; i++) {
            int64_t due = real_time() + 10 * i * ROTA_US;
            cr_assert_eq(rota_timer_start(loop, &timer, 10 * i * ROTA_US), 0);
            cr_expect_eq(rota_loop_run(loop), 0);
            cr_expect_geq(real_time(), due);
        }
        cr_expect_eq(calls, 60);
    }
}

/* ---- spin_ns ---- */

Test(spin, a_near_deadline_is_waited_for_awake, .init = open_spinning, .fini = kit_close) {
    cr_expect_leq(lateness(50 * ROTA_US), 2 * ASK);
    cr_expect_eq(slept, 0);
    cr_expect_geq(asked, 50 * ROTA_US / ASK);
}

Test(spin, sleeps_until_the_last_stretch, .init = open_spinning, .fini = kit_close) {
    int64_t late = lateness(10 * ROTA_MS);
    cr_expect_eq(slept, 1);
    if (is_poll()) {
        cr_expect_leq(late, ROTA_MS + LATE, "whole milliseconds");
        return;
    }
    cr_expect_leq(late, 2 * ASK);
    cr_expect_leq(longest_sleep, 10 * ROTA_MS - 2 * SPIN, "it spun first, and spins after");
    cr_expect_leq(asked, 2 * SPIN / ASK + 4);
    cr_expect_eq(set, is_epoll(), "implies precise");
}

static void sleeping_ends_it(void) {
    fake_time += ROTA_MS;
    put(ends[1]);
}

static int asked_when_put;

static void arrives_at_the_tenth(void) {
    if (asked == 10) {
        put(ends[1]);
        asked_when_put = asked;
    }
}

static void with_a_watcher(int sleeps) {
    rota_watcher watcher;
    int calls = 0;
    make_pair(ends);
    rota_watcher_init(&watcher, ends[0], ROTA_READ, count_and_empty, &calls);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    while (calls == 0)
        turn_once(ROTA_FOREVER);
    cr_expect_eq(slept, sleeps);
    cr_expect_eq(rota_watcher_stop(loop, &watcher), 0);
    close(ends[0]), close(ends[1]);
}

Test(spin, what_arrives_meanwhile_is_served_without_a_sleep, .init = open_spinning, .fini = kit_close) {
    while_asked = arrives_at_the_tenth;
    with_a_watcher(0);
    cr_expect_eq(asked_when_put, 10);
    cr_expect_eq(asked, 10, "at once");
}

Test(spin, sleeps_when_nothing_arrives, .init = open_spinning, .fini = kit_close) {
    while_asleep = sleeping_ends_it;
    with_a_watcher(1);
    cr_expect_geq(asked, SPIN / ASK);
    cr_expect_leq(asked, SPIN / ASK + 2);
}

static rota_remote *remote;
static rota_soon posted;
static int post_calls, post_at;

static void post_now(void) {
    if (asked != post_at)
        return;
    post_at = -1;
    wakes = 0;
    cr_expect_eq(rota_remote_post(remote, &posted), 0);
}

static void with_a_post(int sleeps, int system_calls) {
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    rota_soon_init(&posted, count_soon, &post_calls);
    turn_once(ROTA_FOREVER);
    turn_once(0);
    cr_expect_eq(post_calls, 1);
    cr_expect_eq(slept, sleeps);
    cr_expect_eq(wakes, system_calls);
    rota_remote_close(remote);
}

/* D11: and the poster makes no system call for it. */
Test(spin, a_post_ends_it, .init = open_spinning, .fini = kit_close) {
    while_asked = post_now;
    post_at = 20;
    with_a_post(0, 0);
    cr_expect_leq(asked, 22);
}

static void close_now(void) {
    if (asked == 20)
        rota_remote_close(remote);
}

/* Nothing keeps the loop alive any more: it must not go to sleep, for nobody will wake it. */
Test(spin, the_last_remote_that_closes_meanwhile_is_not_slept_through, .init = open_spinning, .fini = kit_close) {
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    while_asked = close_now;
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(slept, 0);
}

static void post_asleep(void) {
    post_at = asked;
    post_now();
}

Test(spin, a_post_after_it_wakes_the_sleep, .init = open_spinning, .fini = kit_close) {
    while_asleep = post_asleep;
    with_a_post(1, 1);
}

/* Between the last question and the sleep: the look at the list after saying ASLEEP finds it. */
static void post_at_the_last(void) {
    if (fake_time + ASK >= armed)
        post_at = asked;
    post_now();
}

Test(spin, a_post_at_its_last_question_is_not_slept_through, .init = open_spinning, .fini = kit_close) {
    armed = fake_time + SPIN; /* nobody else uses it here */
    post_at = -2;
    while_asked = post_at_the_last;
    with_a_post(0, 0);
}

static void raise_at_the_tenth(void) {
    if (asked == 10)
        raise(SIGUSR1);
}

static void count_signal(rota_signal *watcher, int signo, void *arg) {
    (void)watcher, (void)signo, ++*(int *)arg;
}

Test(spin, a_signal_ends_it, .init = open_spinning, .fini = kit_close) {
    rota_signal watcher;
    int calls = 0;
    rota_signal_init(&watcher, SIGUSR1, count_signal, &calls);
    cr_assert_eq(rota_signal_start(loop, &watcher), 0);
    while_asked = raise_at_the_tenth;
    turn_once(ROTA_FOREVER);
    cr_expect_eq(calls, 1);
    cr_expect_eq(slept, 0);
    cr_expect_eq(asked, 10);
    cr_expect_eq(rota_signal_stop(loop, &watcher), 0);
}

Test(spin, for_ever_never_sleeps, .fini = kit_close) {
    open_faked((rota_loop_options){ .spin_ns = ROTA_FOREVER });
    cr_expect_leq(lateness(ROTA_MS), 2 * ASK);
    cr_expect_eq(slept, 0);
    while_asked = post_now;
    post_at = asked + 5000;
    with_a_post(0, 0);
}

Test(spin, a_turn_that_may_not_wait_asks_once, .init = open_spinning, .fini = kit_close) {
    rota_timer timer;
    rota_timer_init(&timer, stop_timer, NULL);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_S), 0);
    turn_once(0);
    cr_expect_eq(asked, 1);
    int64_t start = fake_time;
    turn_once(20 * ROTA_US);
    cr_expect_eq(slept, 0);
    cr_expect_leq(fake_time - start, 20 * ROTA_US + ASK);
    cr_expect_eq(rota_timer_stop(loop, &timer), 0);
}

Test(spin, nothing_to_wait_for_is_not_waited_for, .init = open_spinning, .fini = kit_close) {
    cr_expect_eq(rota_loop_turn(loop, ROTA_FOREVER), 0);
    cr_expect_eq(asked, 1);
}

static int begins, answers;

static void count_waits(void *ctx, const rota_trace_event *event) {
    (void)ctx;
    begins += event->kind == ROTA_TRACE_POLL_BEGIN;
    answers += event->kind == ROTA_TRACE_POLL_END;
}

Test(spin, is_one_wait_in_a_trace, .fini = kit_close) {
    open_faked((rota_loop_options){ .spin_ns = SPIN, .trace = count_waits });
    (void)lateness(SPIN);
    cr_expect_gt(asked, 100);
    cr_expect_eq(begins, 1);
    cr_expect_eq(answers, 1);
}

Test(spin, a_virtual_clock_ignores_both, .fini = kit_close) {
    open_faked((rota_loop_options){ .precise = true, .spin_ns = SPIN, .virtual_clock = true });
    rota_timer timer;
    int calls = 0;
    rota_timer_init(&timer, count_timer, &calls);
    cr_assert_eq(rota_timer_start(loop, &timer, ROTA_S), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(calls, 1);
    cr_expect_eq(asked + slept + set, 0);
    cr_expect_eq(loop->poll.timer_fd, -1);
}

Test(spin, less_than_nothing_is_refused) {
    cr_expect_eq(rota_loop_new(&loop, &(rota_loop_options){ .spin_ns = -1 }), -EINVAL);
    cr_expect_null(loop);
}

static intptr_t sleeps(void *arg) {
    int64_t start = rota_now();
    (void)arg;
    int rc = rota_sleep(50 * ROTA_US);
    return rc < 0 ? rc : rota_now() - start;
}

Test(spin, rota_run_takes_the_option, .init = open_spinning, .fini = kit_close) {
    intptr_t took;
    cr_expect_eq(rota_run(sleeps, NULL, &took, &(rota_loop_options){ .spin_ns = SPIN }), 0);
    cr_expect_geq(took, 50 * ROTA_US);
    cr_expect_leq(took, 50 * ROTA_US + 3 * ASK);
    cr_expect_eq(slept, 0);
}
