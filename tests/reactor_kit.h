/* What the tests of the reactor share beyond support.h: a loop for each test, callbacks that leave a trace or
 * count, a copy of the table of system calls to meddle with.
 *
 * Each test runs in a process of its own, so everything here is plain static state of one test. */
#ifndef ROTA_TESTS_REACTOR_KIT_H
#define ROTA_TESTS_REACTOR_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "reactor/loop.h"
#include "tests/support.h"
#include "tests/sys_table.h"

#define KIT __attribute__((unused)) static

/* ---- a loop for each test: .init = one of kit_open..., .fini = kit_close ---- */

static rota_loop *loop;

KIT void kit_open_with(rota_loop_options options) {
    test_begin();
    options.report = collect_report;
    cr_assert_eq(rota_loop_new(&loop, &options), 0);
}

KIT void kit_open(void) { kit_open_with((rota_loop_options){ .allocator = &memory_allocator }); }
KIT void kit_open_debug(void) { kit_open_with((rota_loop_options){ .allocator = &memory_allocator, .debug = true }); }
KIT void kit_open_virtual(void) { kit_open_with(test_options()); }

/* The books of memory_allocator are kept for one thread only. */
KIT void kit_open_threads(void) { kit_open_with((rota_loop_options){ 0 }); }

KIT void kit_close(void) {
    cr_expect_eq(rota_loop_free(loop), 0);
    test_end();
}

KIT void turn_once(int64_t wait_ns) { cr_assert_geq(rota_loop_turn(loop, wait_ns), 0); }

/* ---- the system ---- */

static struct rota__sys kit_sys;   /* a copy to change; in use after kit_meddle */
static int kit_waits;              /* how often the kernel was asked for events */
static void (*kit_before_wait)(void);

KIT void kit_count_wait(void) {
    kit_waits++;
    if (kit_before_wait)
        kit_before_wait();
}

KIT int kit_epoll_wait(int epoll, struct epoll_event *events, int n, int ms) {
    kit_count_wait();
    return rota__sys_real.epoll_wait(epoll, events, n, ms);
}

KIT int kit_epoll_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout) {
    kit_count_wait();
    return rota__sys_real.epoll_pwait2(epoll, events, n, timeout);
}

KIT int kit_kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n,
                   const struct timespec *timeout) {
    if (n > 0)
        kit_count_wait();
    return rota__sys_real.kevent(kq, changes, n_changes, events, n, timeout);
}

/* Of the poller; without descriptors it is a pause of other code. */
KIT int kit_poll(struct pollfd *fds, nfds_t n, int ms) {
    if (n > 0)
        kit_count_wait();
    return rota__sys_real.poll(fds, n, ms);
}

KIT void kit_meddle(void) {
    kit_sys = rota__sys_real;
    kit_sys.epoll_wait = kit_epoll_wait;
    kit_sys.epoll_pwait2 = kit_epoll_pwait2;
    kit_sys.kevent = kit_kevent;
    kit_sys.poll = kit_poll;
    rota__sys = &kit_sys;
}

KIT void kit_open_meddled(void) {
    kit_meddle();
    kit_open();
}

KIT bool is_epoll(void) { return strcmp(rota_loop_backend(loop), "epoll") == 0; }

KIT bool is_poll(void) { return strcmp(rota_loop_backend(loop), "poll") == 0; }

/* ---- time ---- */

KIT int64_t cpu_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * ROTA_S + t.tv_nsec;
}

KIT int64_t real_time(void) { return rota__sys_real.now(); }

KIT void work_for(int64_t ns) {
    for (int64_t until = real_time() + ns; real_time() < until;)
        ;
}

/* ---- descriptors ---- */

KIT void make_pair(int ends[2]) {
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    for (int i = 0; i < 2; i++)
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
}

KIT void make_pipe(int ends[2]) {
    cr_assert_eq(pipe(ends), 0);
    for (int i = 0; i < 2; i++)
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
}

KIT void put(int fd) { cr_assert_eq(write(fd, "x", 1), 1); }

KIT void empty(int fd) {
    char buf[4096];
    while (read(fd, buf, sizeof buf) > 0)
        ;
}

KIT bool readable_within(int fd, int ms) {
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int rc;
    while ((rc = poll(&p, 1, ms)) < 0 && errno == EINTR)
        ;
    return rc == 1 && (p.revents & POLLIN);
}

/* ---- callbacks that note their argument, a string, in the trace ---- */

KIT void say(const char *s) {
    while (*s)
        note(*s++);
}

KIT void say_soon(rota_soon *soon, void *arg) { (void)soon, say(arg); }
KIT void say_timer(rota_timer *timer, void *arg) { (void)timer, say(arg); }
KIT void say_watcher(rota_watcher *watcher, unsigned ready, void *arg) { (void)watcher, (void)ready, say(arg); }

/* ---- callbacks that count in their argument, an int ---- */

KIT void count_soon(rota_soon *soon, void *arg) { (void)soon, ++*(int *)arg; }
KIT void count_timer(rota_timer *timer, void *arg) { (void)timer, ++*(int *)arg; }
KIT void count_watcher(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)watcher, (void)ready, ++*(int *)arg;
}

KIT void count_and_empty(rota_watcher *watcher, unsigned ready, void *arg) {
    if (!(ready & ROTA_CLOSED))
        empty(watcher->fd);
    ++*(int *)arg;
}

/* For tests of what only edges allow: where there are none, asserts instead that a callback is called in every turn
 * until it reads. */
KIT bool has_edges(void) {
    rota_watcher watcher;
    int ends[2], calls = 0;
    if (!is_poll())
        return true;
    make_pair(ends);
    rota_watcher_init(&watcher, ends[0], ROTA_READ, count_watcher, &calls);
    cr_assert_eq(rota_watcher_start(loop, &watcher), 0);
    put(ends[1]);
    for (int i = 1; i <= 3; i++) {
        turn_once(ROTA_FOREVER);
        cr_expect_eq(calls, i);
    }
    empty(ends[0]);
    turn_once(0);
    cr_expect_eq(calls, 3);
    cr_expect_eq(rota_watcher_stop(loop, &watcher), 0);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
    return false;
}

KIT void stop_timer(rota_timer *timer, void *arg) { (void)timer, (void)arg, (void)rota_loop_stop(loop); }

#endif
