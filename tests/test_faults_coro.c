/* Every allocation and every system call of the task core fails once, and from there on: each scenario then either
 * succeeds in full or ends with a negative errno; nothing hangs, aborts or stays behind (I01). */
#include "tests/support.h"

#include <errno.h>
#include <stdatomic.h>

#include "coro/stack.h"
#include "coro/task.h"
#include "tests/sys_table.h"

/* ---- scenarios: 0, or the error that stopped them ---- */

static intptr_t nothing(void *unused) {
    (void)unused;
    return 0;
}

static intptr_t sleep_a_little(void *unused) {
    (void)unused;
    return rota_sleep(ROTA_MS);
}

/* Spawns n, joins those that came to be; the first error. */
static intptr_t spawn_and_join(rota_fn *fn, void *arg, size_t n, const rota_spawn_options *opt) {
    static rota_task *tasks[1000];
    intptr_t error = 0;
    size_t started = 0;
    for (; started < n && error == 0; started++)
        error = rota_spawn(&tasks[started], fn, arg, opt);
    if (error < 0)
        started--;
    for (size_t i = 0; i < started; i++) {
        int rc = rota_join(tasks[i], NULL);
        error = error < 0 ? error : rc;
    }
    return error;
}

static intptr_t spawn_few(void *unused) {
    (void)unused;
    return spawn_and_join(sleep_a_little, NULL, 20, NULL);
}

static intptr_t spawn_thousand(void *unused) {
    (void)unused;
    return spawn_and_join(sleep_a_little, NULL, 1000, &(rota_spawn_options){ .stack_size = 16 * 1024 });
}

static intptr_t spawn_sizes(void *unused) {
    (void)unused;
    intptr_t error = 0;
    for (int i = 0; i < 8 && error == 0; i++) {
        rota_spawn_options opt = { .stack_size = (size_t)16384 << i, .eager = i % 2 };
        error = spawn_and_join(sleep_a_little, NULL, 2, &opt);
    }
    rota_spawn_options alone = { .stack_size = 9 << 20 };
    return error < 0 ? error : spawn_and_join(sleep_a_little, NULL, 2, &alone);
}

static intptr_t spawn_with_argument(void *unused) {
    char bytes[200] = { 0 };
    (void)unused;
    intptr_t error = spawn_and_join(nothing, bytes, 5, &(rota_spawn_options){ .arg_size = sizeof bytes });
    return error < 0 ? error : spawn_and_join(nothing, NULL, 5, NULL);
}

static intptr_t spawn_on_own_memory(void *unused) {
    static char stack[64 * 1024];
    (void)unused;
    return spawn_and_join(nothing, NULL, 1, &(rota_spawn_options){ .stack = stack, .stack_size = sizeof stack });
}

static intptr_t a_group(void *unused) {
    (void)unused;
    rota_group g;
    int rc = 0;
    rota_group_begin(&g, NULL);
    for (int i = 0; i < 20 && rc == 0; i++)
        rc = rota_spawn(NULL, sleep_a_little, NULL, &(rota_spawn_options){ .group = &g });
    return rota_group_end(&g, rc);
}

static intptr_t a_gathering(void *unused) {
    rota_call calls[20];
    (void)unused;
    for (int i = 0; i < 20; i++)
        calls[i] = (rota_call){ i % 5 ? sleep_a_little : a_group, NULL, 1 };
    int rc = rota_gather(calls, 20, NULL);
    for (int i = 0; rc == 0 && i < 20; i++)
        cr_expect_eq(calls[i].result, 0);
    return rc;
}

static intptr_t a_timeout(void *unused) {
    rota_scope s;
    (void)unused;
    rota_timeout_begin(&s, 10);
    intptr_t v = rota_scope_end(&s, rota_sleep(ROTA_S));
    return v == -ETIMEDOUT ? rota_timeout(ROTA_S, a_group, NULL) : v;
}

static intptr_t wait_for_future(void *future) {
    intptr_t v = 0;
    int rc = rota_future_await(future, &v);
    return rc < 0 ? rc : v == 3 ? 0 : -EIO;
}

static void ignore_done(rota_done *done, intptr_t value, void *arg) {
    (void)done;
    (void)value;
    (void)arg;
}

static intptr_t a_future(void *unused) {
    rota_future f = { 0 };
    rota_done done;
    rota_task *tasks[10];
    int rc = rota_future_on_done(&f, &done, ignore_done, NULL), n = 0;
    (void)unused;
    for (; n < 10 && rc == 0; n++)
        rc = rota_spawn(&tasks[n], wait_for_future, &f, NULL);
    n -= rc < 0;
    int slept = rota_sleep(1);
    int set = rota_future_set(&f, 3);
    cr_expect_eq(set, 0);
    for (int i = 0; i < n; i++) {
        int joined = rota_join(tasks[i], NULL);
        rc = rc < 0 ? rc : joined;
    }
    rc = rc < 0 ? rc : slept;
    (void)rota_done_remove(&done);
    return rc;
}

static const struct {
    const char *name;
    rota_fn *fn;
} scenarios[] = {
    { "create and close", nothing },      { "spawn", spawn_few },       { "stack sizes", spawn_sizes },
    { "arguments", spawn_with_argument }, { "group", a_group },         { "caller's stack", spawn_on_own_memory },
    { "gather", a_gathering },            { "timeout", a_timeout },     { "future", a_future },
    { "1,000 tasks", spawn_thousand },
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* Runs one with the faults that are set up. True when it succeeded. */
static bool runs(int i, const char *what, size_t at, bool on) {
    rota_loop_options opt = test_options();
    intptr_t v = 1;
    atomic_store(&rota__stack_guards, 0); /* that question is asked again */
    int rc = rota_run(scenarios[i].fn, NULL, &v, &opt);
    cr_expect(rc <= 0 && rc > -4096, "%s: run returned %d", scenarios[i].name, rc);
    cr_expect(v == 0 || rota_failed(v), "%s: value %ld", scenarios[i].name, (long)v);
    cr_expect(rc == 0 || v == rc);
    test_end();
    if (memory.blocks || memory.mistakes)
        cr_expect(false, "%s, %s %zu%s", scenarios[i].name, what, at, on ? " and later" : "");
    return rc == 0 && v == 0;
}

/* ---- allocations ---- */

static void fail_each_allocation(bool on) {
    for (int i = 0; i < SCENARIOS; i++) {
        test_begin();
        cr_expect(runs(i, "none", 0, false), "%s", scenarios[i].name);
        size_t calls = memory.calls;
        cr_expect_gt(calls, 2u);
        for (size_t at = 1; at <= calls; at++) {
            test_begin();
            memory.fail_at = at;
            memory.fail_on = on;
            (void)runs(i, "allocation", at, on);
            cr_expect_gt(memory.failed, 0u);
        }
    }
}

Test(faults_coro, each_allocation_fails_once, .timeout = 120) { fail_each_allocation(false); }

Test(faults_coro, each_allocation_fails_and_all_later_ones, .timeout = 120) { fail_each_allocation(true); }

Test(faults_coro, without_memory_for_the_loop_there_is_an_error) {
    test_begin();
    memory.fail_at = 1;
    cr_expect(!runs(0, "allocation", 1, false));
}

/* ---- system calls ---- */

enum call { MMAP, MUNMAP, MPROTECT, MADVISE, PIPE, WRITE, CLOSE, EPOLL_CREATE, EPOLL_CTL, EPOLL_WAIT, EPOLL_PWAIT2,
            EVENTFD, TIMERFD, CALLS };

static struct {
    size_t made[CALLS];
    enum call kind;
    size_t at;
    bool on;
} faults;

static bool fails(enum call kind) {
    size_t n = ++faults.made[kind];
    return faults.at && kind == faults.kind && (n == faults.at || (faults.on && n > faults.at));
}

#define REAL rota__sys_real
static void *sys_mmap(size_t n) { return fails(MMAP) ? NULL : REAL.mmap(n); }
static int sys_munmap(void *p, size_t n) {
    int rc = REAL.munmap(p, n); /* done all the same: the tests' process goes on */
    return fails(MUNMAP) ? -ENOMEM : rc;
}
static int sys_mprotect_none(void *p, size_t n) { return fails(MPROTECT) ? -ENOMEM : REAL.mprotect_none(p, n); }
static int sys_madvise(void *p, size_t n, int advice) {
    return fails(MADVISE) ? -EINVAL : REAL.madvise(p, n, advice);
}
static int sys_pipe(int fds[2]) { return fails(PIPE) ? -EMFILE : REAL.pipe(fds); }
static ssize_t sys_write(int fd, const void *buf, size_t n) { return fails(WRITE) ? -EIO : REAL.write(fd, buf, n); }
static int sys_close(int fd) {
    int rc = REAL.close(fd);
    return fails(CLOSE) ? -EIO : rc;
}

#ifdef __linux__
static int sys_epoll_create(void) { return fails(EPOLL_CREATE) ? -EMFILE : REAL.epoll_create(); }
static int sys_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event) {
    return fails(EPOLL_CTL) ? -ENOMEM : REAL.epoll_ctl(epoll, op, fd, event);
}
static int wait_error; /* of the two calls that wait */
static int sys_epoll_wait(int epoll, struct epoll_event *events, int n, int timeout_ms) {
    return fails(EPOLL_WAIT) ? wait_error : REAL.epoll_wait(epoll, events, n, timeout_ms);
}
static int sys_epoll_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout) {
    return fails(EPOLL_PWAIT2) ? wait_error : REAL.epoll_pwait2(epoll, events, n, timeout);
}
static int sys_eventfd(void) { return fails(EVENTFD) ? -ENFILE : REAL.eventfd(); }
static int sys_timerfd_create(void) { return fails(TIMERFD) ? -EMFILE : REAL.timerfd_create(); }
#endif

static struct rota__sys failing_sys(void) {
    struct rota__sys sys = rota__sys_real;
    sys.mmap = sys_mmap;
    sys.munmap = sys_munmap;
    sys.mprotect_none = sys_mprotect_none;
    sys.madvise = sys_madvise;
    sys.pipe = sys_pipe;
    sys.write = sys_write;
    sys.close = sys_close;
#ifdef __linux__
    sys.epoll_create = sys_epoll_create;
    sys.epoll_ctl = sys_epoll_ctl;
    sys.epoll_wait = sys_epoll_wait;
    sys.epoll_pwait2 = sys_epoll_pwait2;
    sys.eventfd = sys_eventfd;
    sys.timerfd_create = sys_timerfd_create;
#endif
    return sys;
}

static void set_faults(enum call kind, size_t at, bool on) {
    memset(&faults, 0, sizeof faults);
    faults.kind = kind;
    faults.at = at;
    faults.on = on;
    test_begin();
}

/* All N of one kind in one scenario; where there are thousands, about 60 of them. */
static void fail_each(int scenario, enum call kind, size_t calls, bool on) {
    size_t step = calls > 60 ? calls / 60 : 1;
    for (size_t at = 1; at <= calls; at += step) {
        set_faults(kind, at, on);
        (void)runs(scenario, "system call", at, on);
    }
}

static void fail_each_system_call(bool on) {
    const struct rota__sys sys = failing_sys();
    rota__sys = &sys;
    for (int i = 0; i < SCENARIOS; i++) {
        size_t made[CALLS];
        set_faults(MMAP, 0, false);
        cr_expect(runs(i, "none", 0, false), "%s", scenarios[i].name);
        memcpy(made, faults.made, sizeof made);
        for (int kind = 0; kind < CALLS; kind++)
            fail_each(i, (enum call)kind, made[kind], on);
    }
    rota__sys = &rota__sys_real;
}

Test(faults_coro, each_system_call_fails_once, .timeout = 120) {
#ifdef __linux__
    wait_error = -EINTR;
#endif
    fail_each_system_call(false);
}

Test(faults_coro, each_system_call_fails_and_all_later_ones, .timeout = 120) {
#ifdef __linux__
    wait_error = -EINTR;
#endif
    fail_each_system_call(true);
}

#ifdef __linux__
Test(faults_coro, waiting_that_fails_ends_the_run) {
    wait_error = -EBADF;
    fail_each_system_call(true);
}

Test(faults_coro, waiting_that_does_not_exist_falls_back) { /* E20 */
    const struct rota__sys sys = failing_sys();
    rota__sys = &sys;
    wait_error = -ENOSYS;
    for (int i = 0; i < SCENARIOS; i++) {
        set_faults(EPOLL_PWAIT2, 1, true);
        cr_expect(runs(i, "epoll_pwait2", 1, true), "%s", scenarios[i].name);
    }
    rota__sys = &rota__sys_real;
}
#endif

/* ---- guards ---- */

static int refuse_guards(void *p, size_t n, int advice) {
    (void)p;
    (void)n;
    (void)advice;
    return -EINVAL;
}

static int refuse_mprotect(void *p, size_t n) {
    (void)p;
    (void)n;
    return -ENOMEM;
}

Test(faults_coro, without_guards_there_are_no_stacks) { /* H05, H06 */
    struct rota__sys sys = rota__sys_real;
    sys.madvise = refuse_guards;
    rota__sys = &sys;
    test_begin();
    cr_expect(runs(1, "madvise", 1, true), "mprotect serves instead");
    sys.mprotect_none = refuse_mprotect;
    test_begin();
    cr_expect(!runs(1, "madvise and mprotect", 1, true));
    rota__sys = &rota__sys_real;
    atomic_store(&rota__stack_guards, 0);
}
