/* Every allocation and every system call of the reactor is made to fail: the Nth one, for all N, once and for good.
 * A scenario must then end with an error of the call concerned or in full success, with everything given back
 * (I01), and the loop must go on being usable. */
#include "tests/reactor_kit.h"
#include "tests/sys_table.h"

/* ---- the driver for system calls ---- */

static struct {
    long calls;      /* that may fail, so far */
    long fail_at;    /* counted from 1; 0: none */
    bool fail_on;    /* all later ones too */
    long failed;
} fault;

static bool must_fail(int own_error, int *error) {
    fault.calls++;
    if (!fault.fail_at || (fault.calls != fault.fail_at && !(fault.fail_on && fault.calls > fault.fail_at)))
        return false;
    fault.failed++;
    *error = own_error;
    return true;
}

/* A wrapper: fails with a likely error of this call, or makes it. */
#define FAULTY(result, name, own_error, parameters, arguments)      \
    static result faulty_##name parameters {                        \
        int error;                                                  \
        if (must_fail(own_error, &error))                           \
            return error;                                           \
        return rota__sys_real.name arguments;                       \
    }

FAULTY(int, epoll_create, -EMFILE, (void), ())
FAULTY(int, epoll_ctl, -ENOSPC, (int ep, int op, int fd, struct epoll_event *event), (ep, op, fd, event))
FAULTY(int, eventfd, -EMFILE, (void), ())
FAULTY(int, timerfd_create, -ENFILE, (void), ())
FAULTY(int, pipe, -EMFILE, (int fds[2]), (fds))
FAULTY(int, dup2, -EBUSY, (int fd, int onto), (fd, onto))
FAULTY(int, fstat, -EIO, (int fd, struct stat *st), (fd, st))
FAULTY(int, kqueue, -EMFILE, (void), ())

/* Asking for what there is and giving back cannot be made to fail: nobody could do anything about it. */
static int faulty_sigaction(int signo, const struct sigaction *action, struct sigaction *old) {
    int error;
    if (action && action->sa_handler != SIG_DFL && must_fail(-EINVAL, &error))
        return error;
    return rota__sys_real.sigaction(signo, action, old);
}

static int faulty_kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n,
                         const struct timespec *timeout) {
    int error;
    if (must_fail(-ENOMEM, &error))
        return error;
    return rota__sys_real.kevent(kq, changes, n_changes, events, n, timeout);
}

/* Of the poller; without descriptors it is a pause, which cannot fail. */
static int faulty_poll(struct pollfd *fds, nfds_t n, int ms) {
    int error;
    if (n > 0 && must_fail(-ENOMEM, &error))
        return error;
    return rota__sys_real.poll(fds, n, ms);
}

FAULTY(int, epoll_wait, -ENOMEM, (int ep, struct epoll_event *events, int n, int ms), (ep, events, n, ms))
FAULTY(int, epoll_pwait2, -ENOMEM, (int ep, struct epoll_event *events, int n, const struct timespec *timeout),
       (ep, events, n, timeout))

static void make_faulty(void) {
    kit_sys = rota__sys_real;
    kit_sys.pipe = faulty_pipe;
    kit_sys.dup2 = faulty_dup2;
    kit_sys.fstat = faulty_fstat;
    kit_sys.sigaction = faulty_sigaction;
    kit_sys.epoll_create = faulty_epoll_create;
    kit_sys.epoll_ctl = faulty_epoll_ctl;
    kit_sys.epoll_wait = faulty_epoll_wait;
    kit_sys.epoll_pwait2 = faulty_epoll_pwait2;
    kit_sys.eventfd = faulty_eventfd;
    kit_sys.timerfd_create = faulty_timerfd_create;
    kit_sys.kqueue = faulty_kqueue;
    kit_sys.kevent = faulty_kevent;
    kit_sys.poll = faulty_poll;
    rota__sys = &kit_sys;
}

/* ---- the driver ---- */

typedef int scenario(void);   /* 0 or the first error */

static const int documented[] = {
    0, -ENOMEM, -EMFILE, -ENFILE, -ENOSPC, -EINVAL, -EIO, -EBUSY, -ENOTSUP,
};

static void check_result(const char *what, long n, int rc) {
    bool known = false;
    for (size_t i = 0; i < sizeof documented / sizeof *documented; i++)
        known |= rc == documented[i];
    cr_expect(known, "%s %ld: %d", what, n, rc);
}

static long fail_memory(scenario *run, bool fail_on) {
    for (size_t n = 1;; n++) {
        test_begin();
        memory.fail_at = n;
        memory.fail_on = fail_on;
        int rc = run();
        check_result("allocation", (long)n, rc);
        test_end();
        if (!memory.failed) {
            cr_expect_eq(rc, 0);
            return (long)n - 1;
        }
    }
}

static long fail_calls(scenario *run, bool fail_on) {
    make_faulty();
    for (long n = 1;; n++) {
        memset(&fault, 0, sizeof fault);
        fault.fail_at = n;
        fault.fail_on = fail_on;
        test_begin();
        int rc = run();
        check_result("system call", n, rc);
        test_end();
        if (!fault.failed) {
            cr_expect_eq(rc, 0);
            return n - 1;
        }
        cr_assert_lt(n, 10000);
    }
}

static void fail_everything(scenario *run) {
    cr_expect_geq(fail_memory(run, false), 1, "no allocation failed: the scenario tests nothing");
    (void)fail_memory(run, true);
    cr_expect_geq(fail_calls(run, false), 1, "no system call failed");
    (void)fail_calls(run, true);
}

/* ---- scenarios ---- */

static int open_it(void) {
    return rota_loop_new(&loop, &(rota_loop_options){ .allocator = &memory_allocator, .report = collect_report });
}

/* Closes, and gives the first error. */
static int finish(int rc) {
    cr_expect_eq(rota_loop_free(loop), 0);
    return rc;
}

static int new_and_close(void) {
    int rc = open_it();
    if (rc < 0) {
        cr_expect_null(loop);
        cr_expect_null(rota_loop_current());
        return rc;
    }
    return finish(0);
}

static int timers(void) {
    static rota_timer timer[100];   /* enough to make the heap grow */
    static int calls;
    calls = 0;
    int rc = open_it();
    if (rc < 0)
        return rc;
    int64_t when = rota_now();
    for (int i = 0; i < 100; i++) {
        rota_timer_init(&timer[i], count_timer, &calls);
        cr_expect_eq(rota_timer_start_at(loop, &timer[i], when), 0);
    }
    rc = rota_loop_run(loop);
    /* Memory never keeps a timer from firing. */
    if (rc == 0)
        cr_expect_eq(calls, 100);
    return finish(rc);
}

static int watcher(void) {
    rota_watcher w;
    int ends[2], calls = 0;
    int rc = open_it();
    if (rc < 0)
        return rc;
    make_pair(ends);
    put(ends[1]);
    rota_watcher_init(&w, ends[0], ROTA_READ, count_watcher, &calls);
    rc = rota_watcher_start(loop, &w);
    int started = rc;
    if (rc == 0)
        rc = rota_loop_turn(loop, 0);
    if (rc >= 0) {
        cr_expect_geq(calls, 1);
        rc = 0;
    } else if (started < 0) {
        cr_expect_eq(rota_loop_turn(loop, 0) > 0, false, "a failed start keeps the loop alive");
    }
    cr_expect_eq(rota_watcher_stop(loop, &w), 0);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
    return finish(rc);
}

static int wide_table(void) {
    rota_watcher w;
    int calls = 0;
    int rc = open_it();
    if (rc < 0)
        return rc;
    int fd = fcntl(0, F_DUPFD, 1000);
    cr_assert_geq(fd, 1000);
    rota_watcher_init(&w, fd, ROTA_READ, count_watcher, &calls);
    rc = rota_watcher_start(loop, &w);
    cr_expect_eq(rota_fd_close(loop, fd), 0);
    return finish(rc);
}

static int remote(void) {
    rota_remote *r;
    rota_soon soon;
    int calls = 0;
    int rc = open_it();
    if (rc < 0)
        return rc;
    rc = rota_remote_open(&r, loop);
    if (rc < 0) {
        cr_expect_null(r);
        return finish(rc);
    }
    rota_soon_init(&soon, count_soon, &calls);
    cr_expect_eq(rota_remote_post(r, &soon), 0);
    rota_remote_close(r);
    rc = rota_loop_run(loop);
    cr_expect_eq(calls, 1);
    return finish(rc);
}

static int foreign(void) {
    rota_timer timer;
    int calls = 0;
    int rc = open_it();
    if (rc < 0)
        return rc;
    rc = rota_loop_fd(loop);
    rota_timer_init(&timer, count_timer, &calls);
    cr_expect_eq(rota_timer_start(loop, &timer, ROTA_MS), 0);
    /* On kqueue everything takes one call; where it fails for ever, so do timer and waker. */
    if (rc >= 0 && !(fault.fail_on && fault.failed))
        cr_expect(readable_within(rc, 10000));
    if (rc >= 0)
        rc = rota_loop_run(loop);
    else if (rc == -ENOTSUP)
        rc = 0;   /* this poller has no such descriptor */
    return finish(rc);
}

static void count_signal(rota_signal *w, int signo, void *arg) { (void)w, (void)signo, ++*(int *)arg; }

static int signals(void) {
    struct sigaction before, after;
    rota_signal w;
    int calls = 0;
    sigaction(SIGUSR1, NULL, &before);
    int rc = open_it();
    if (rc < 0)
        return rc;
    rota_signal_init(&w, SIGUSR1, count_signal, &calls);
    rc = rota_signal_start(loop, &w);
    if (rc == 0) {
        raise(SIGUSR1);
        rc = rota_loop_turn(loop, 0);
        rc = rc < 0 ? rc : 0;
        cr_expect_eq(calls, 1);
    }
    cr_expect_eq(rota_signal_stop(loop, &w), 0);
    rc = finish(rc);
    sigaction(SIGUSR1, NULL, &after);
    cr_expect_eq(after.sa_handler, before.sa_handler);
    return rc;
}

/* A set that is to be rebuilt and cannot be: stays as it was, and is tried again. */
static int rebuild(void) {
    rota_watcher gone, w;
    int ends[2], more[2], calls = 0, rc = open_it();
    if (rc < 0)
        return rc;
    make_pair(ends);
    make_pair(more);
    int copy = dup(ends[0]);
    rota_watcher_init(&gone, ends[0], ROTA_READ, say_watcher, "");
    rota_watcher_init(&w, more[0], ROTA_READ, count_watcher, &calls);
    rc = rota_watcher_start(loop, &gone);
    if (rc == 0)
        rc = rota_watcher_start(loop, &w);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    for (int i = 0; rc >= 0 && i < 150; i++) {
        put(ends[1]);
        rc = rota_loop_turn(loop, 0);
    }
    if (rc >= 0) {
        put(more[1]);
        rc = rota_loop_turn(loop, 0);
    }
    if (rc >= 0)
        cr_expect_geq(calls, 1);  /* the event, or that it could not be watched any more */
    cr_expect_eq(rota_fd_close(loop, more[0]), 0);
    close(more[1]);
    close(ends[1]);
    close(copy);
    return finish(rc < 0 ? rc : 0);
}

Test(faults_reactor, new_and_close) { fail_everything(new_and_close); }
Test(faults_reactor, timers) { fail_everything(timers); }
Test(faults_reactor, watcher) { fail_everything(watcher); }
Test(faults_reactor, wide_table) { fail_everything(wide_table); }
Test(faults_reactor, remote) { fail_everything(remote); }
Test(faults_reactor, foreign) { fail_everything(foreign); }
Test(faults_reactor, signals) { fail_everything(signals); }
Test(faults_reactor, rebuild, .timeout = 60) { fail_everything(rebuild); }

/* ---- waits that are interrupted ---- */

static int interrupted_wait(int ep, struct epoll_event *events, int n, int ms) {
    int error;
    if (must_fail(-EINTR, &error))
        return error;
    return rota__sys_real.epoll_wait(ep, events, n, ms);
}

static int interrupted_pwait2(int ep, struct epoll_event *events, int n, const struct timespec *timeout) {
    int error;
    if (must_fail(-EINTR, &error))
        return error;
    return rota__sys_real.epoll_pwait2(ep, events, n, timeout);
}

static int interrupted_kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n,
                              const struct timespec *timeout) {
    int error;
    if (n > 0 && must_fail(-EINTR, &error))
        return error;
    return rota__sys_real.kevent(kq, changes, n_changes, events, n, timeout);
}

static int interrupted_poll(struct pollfd *fds, nfds_t n, int ms) {
    int error;
    if (n > 0 && must_fail(-EINTR, &error))
        return error;
    return rota__sys_real.poll(fds, n, ms);
}

static int wait_for_all(void) {
    rota_timer timer;
    rota_watcher w;
    int ends[2], calls = 0, ticks = 0, rc = open_it();
    if (rc < 0)
        return rc;
    make_pair(ends);
    put(ends[1]);
    rota_watcher_init(&w, ends[0], ROTA_READ, count_watcher, &calls);
    rota_timer_init(&timer, count_timer, &ticks);
    cr_expect_eq(rota_watcher_start(loop, &w), 0);
    int64_t due = real_time() + 2 * ROTA_MS;
    cr_expect_eq(rota_timer_start(loop, &timer, 2 * ROTA_MS), 0);
    while (rc >= 0 && (!calls || !ticks))
        rc = rota_loop_turn(loop, ROTA_FOREVER);
    cr_expect_geq(real_time(), due);
    cr_expect_eq(rota_watcher_stop(loop, &w), 0);
    cr_expect_eq(rota_fd_close(loop, ends[0]), 0);
    close(ends[1]);
    return finish(rc < 0 ? rc : 0);
}

/* E13. */
Test(faults_reactor, an_interrupted_wait_is_no_error) {
    kit_sys = rota__sys_real;
    kit_sys.epoll_wait = interrupted_wait;
    kit_sys.epoll_pwait2 = interrupted_pwait2;
    kit_sys.kevent = interrupted_kevent;
    kit_sys.poll = interrupted_poll;
    rota__sys = &kit_sys;
    for (long n = 1; n <= 4; n++) {
        memset(&fault, 0, sizeof fault);
        fault.fail_at = n;
        test_begin();
        cr_expect_eq(wait_for_all(), 0);
        test_end();
    }
}
