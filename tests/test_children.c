/* Child watchers: told once, by pidfd and by SIGCHLD, whoever else reaps. Every test runs in both ways. */
#include <signal.h>
#include <sys/wait.h>

#include "tests/reactor_kit.h"
#include "tests/sys_table.h"

static int no_pidfd(pid_t pid) {
    (void)pid;
    return -ENOSYS;
}

static void without_pidfd(void) {
    kit_meddle();
    kit_sys.pidfd_open = no_pidfd;
}

/* The same test with a pidfd where the system has one, and with SIGCHLD. */
#define Both_tests(name)                                                                                       \
    static void name(void);                                                                                    \
    Test(children, name, .init = kit_open, .fini = kit_close) { name(); }                                      \
    Test(children_by_signal, name, .init = kit_open, .fini = kit_close) {                                      \
        without_pidfd();                                                                                       \
        name();                                                                                                \
    }                                                                                                          \
    static void name(void)

/* ---- processes that end when told to ---- */

struct born {
    pid_t pid;
    int gate;      /* see let_go */
};

/* In the child. valgrind, which would look for leaks in a copy of the test, does not follow an exec. */
static void wait_and_exit(int gate, int code) {
    char byte, script[64];
    snprintf(script, sizeof script, "read x <&%d; exit %d", gate, code);
    if (under_valgrind())
        execl("/bin/sh", "sh", "-c", script, NULL);
    while (read(gate, &byte, 1) < 0 && errno == EINTR)
        ;
    _exit(code);
}

static struct born bear(int code) {
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    struct born b = {.pid = fork(), .gate = fds[1]};
    if (b.pid == 0) {
        close(fds[1]);
        wait_and_exit(fds[0], code);
    }
    close(fds[0]);
    return b;
}

/* A byte: later ones inherit the gates of earlier ones, so that closing would not do. */
static void let_go(struct born *b) {
    (void)!write(b->gate, "\n", 1);
    close(b->gate);
}

/* Until it is a zombie, which stays one. */
static void wait_for_end(pid_t pid) {
    siginfo_t info;
    cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static bool is_gone(pid_t pid) { return waitpid(pid, NULL, WNOHANG) == -1 && errno == ECHILD; }

static struct told {
    int calls, status;
    rota_child *child;
} told[512];

static void tell(rota_child *child, int status, void *arg) {
    struct told *t = arg;
    t->calls++;
    t->status = status;
    t->child = child;
}

static int total_calls(void) {
    int n = 0;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        n += told[i].calls;
    return n;
}

static void watch(rota_child *c, pid_t pid, struct told *t) {
    memset(t, 0, sizeof *t);
    rota_child_init(c, pid, tell, t);
    cr_assert_eq(rota_child_start(loop, c), 0);
}

static void until_told(int calls) {
    while (total_calls() < calls)
        cr_assert_eq(rota_loop_turn(loop, ROTA_FOREVER) >= 0, true);
}

/* ---- tests ---- */

Both_tests(tells_the_status_once_and_reaps) {
    rota_child c;
    struct born b = bear(7);
    watch(&c, b.pid, &told[0]);
    turn_once(0);
    turn_once(0);
    cr_expect_eq(told[0].calls, 0);
    let_go(&b);
    cr_expect_eq(rota_loop_run(loop), 0, "and then nothing keeps the loop alive");
    cr_expect_eq(told[0].calls, 1);
    cr_expect(told[0].child == &c);
    cr_expect(WIFEXITED(told[0].status) && WEXITSTATUS(told[0].status) == 7);
    cr_expect(is_gone(b.pid));
}

/* G10 */
Both_tests(one_that_ended_before_is_told_of_too) {
    rota_child c;
    struct born b = bear(3);
    let_go(&b);
    wait_for_end(b.pid);
    watch(&c, b.pid, &told[0]);
    cr_expect_eq(told[0].calls, 0, "not inside start");
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(told[0].calls == 1 && WEXITSTATUS(told[0].status) == 3);
}

/* G10 */
Both_tests(two_at_once) {
    rota_child c[2];
    struct born b[2] = {bear(1), bear(2)};
    for (int i = 0; i < 2; i++)
        watch(&c[i], b[i].pid, &told[i]);
    for (int i = 0; i < 2; i++)
        let_go(&b[i]);
    for (int i = 0; i < 2; i++)
        wait_for_end(b[i].pid);
    cr_expect_eq(rota_loop_run(loop), 0);
    for (int i = 0; i < 2; i++)
        cr_expect(told[i].calls == 1 && WEXITSTATUS(told[i].status) == i + 1);
}

/* G10 */
Both_tests(many_at_once_each_told_once) {
    enum { MOST = 500 };
    static rota_child c[MOST];
    static pid_t pids[MOST];
    int n = under_valgrind() ? 40 : MOST, fds[2];
    cr_assert_eq(pipe(fds), 0);
    for (int i = 0; i < n; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            close(fds[1]);
            wait_and_exit(fds[0], i % 256);
        }
        cr_assert_gt(pids[i], 0);
        watch(&c[i], pids[i], &told[i]);
    }
    close(fds[0]);
    close(fds[1]); /* all of them at once */
    cr_expect_eq(rota_loop_run(loop), 0);
    for (int i = 0; i < n; i++)
        cr_expect(told[i].calls == 1 && WEXITSTATUS(told[i].status) == i % 256);
    cr_expect(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "no zombie is left");
}

Both_tests(a_signal_is_told) {
    rota_child c;
    struct born b = bear(0);
    watch(&c, b.pid, &told[0]);
    cr_expect_eq(rota_child_kill(&c, 0), 0);
    cr_expect_eq(rota_child_kill(&c, SIGKILL), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(WIFSIGNALED(told[0].status) && WTERMSIG(told[0].status) == SIGKILL);
    cr_expect_eq(rota_child_kill(&c, SIGKILL), -ESRCH);
    close(b.gate);
}

Both_tests(somebody_else_took_the_status) {
    rota_child c;
    struct born b = bear(0);
    watch(&c, b.pid, &told[0]);
    let_go(&b);
    wait_for_end(b.pid);
    cr_assert_eq(waitpid(b.pid, NULL, 0), b.pid);
    cr_expect_eq(rota_loop_run(loop), 0, "and it does not hang");
    cr_expect(told[0].calls == 1 && told[0].status == -ECHILD);
}

Both_tests(the_status_was_taken_before_the_start) {
    rota_child c;
    struct born b = bear(0);
    let_go(&b);
    cr_assert_eq(waitpid(b.pid, NULL, 0), b.pid);
    watch(&c, b.pid, &told[0]);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(told[0].calls == 1 && told[0].status == -ECHILD);
}

/* The kernel reaps, and drops the status; with a handler of ours in place it cannot. */
Both_tests(sigchld_is_ignored) {
    cr_assert(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    rota_child c;
    struct born b = bear(5);
    watch(&c, b.pid, &told[0]);
    let_go(&b);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(told[0].calls, 1);
    cr_expect(told[0].status == -ECHILD || WEXITSTATUS(told[0].status) == 5, "%d", told[0].status);
    cr_expect(is_gone(b.pid));
    struct sigaction now;
    cr_expect(sigaction(SIGCHLD, NULL, &now) == 0 && now.sa_handler == SIG_IGN, "it is as it was");
}

Both_tests(no_zombies_are_wanted) {
    struct sigaction quiet = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    cr_assert_eq(sigaction(SIGCHLD, &quiet, NULL), 0);
    rota_child c;
    struct born b = bear(5);
    watch(&c, b.pid, &told[0]);
    let_go(&b);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(told[0].calls == 1 && (told[0].status == -ECHILD || WEXITSTATUS(told[0].status) == 5));
}

Both_tests(children_of_others_are_left_alone) {
    rota_child c;
    struct born ours = bear(1), theirs = bear(2);
    let_go(&theirs);
    wait_for_end(theirs.pid);
    watch(&c, ours.pid, &told[0]);
    let_go(&ours);
    cr_expect_eq(rota_loop_run(loop), 0);
    int status = 0;
    cr_expect_eq(waitpid(theirs.pid, &status, WNOHANG), theirs.pid);
    cr_expect_eq(WEXITSTATUS(status), 2);
}

Both_tests(a_stopped_watcher_leaves_the_process_to_its_owner) {
    rota_child c;
    struct born b = bear(4);
    int status;
    watch(&c, b.pid, &told[0]);
    cr_expect_eq(rota_child_stop(loop, &c), 0);
    cr_expect_eq(rota_child_stop(loop, &c), 0);
    cr_expect_eq(rota_child_kill(&c, SIGTERM), -ESRCH);
    memset(&c, 0x5a, sizeof c);
    let_go(&b);
    cr_expect_eq(rota_loop_run(loop), 0, "nothing keeps it alive");
    cr_expect_eq(waitpid(b.pid, &status, 0), b.pid);
    cr_expect_eq(WEXITSTATUS(status), 4);
    cr_expect_eq(told[0].calls, 0);
}

Both_tests(a_stopped_watcher_can_be_started_again) {
    rota_child c;
    struct born b = bear(4);
    watch(&c, b.pid, &told[0]);
    cr_expect_eq(rota_child_stop(loop, &c), 0);
    cr_expect_eq(rota_child_start(loop, &c), 0);
    cr_expect_eq(rota_child_start(loop, &c), -EALREADY);
    let_go(&b);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(told[0].calls == 1 && WEXITSTATUS(told[0].status) == 4);
}

static rota_child *pair;

static void stop_the_other(rota_child *child, int status, void *arg) {
    tell(child, status, arg);
    cr_expect_eq(rota_child_stop(loop, &pair[child == pair]), 0);
    free(pair);
}

/* Both have ended when the first is told. */
Both_tests(a_callback_may_stop_and_free_the_others) {
    struct born b[2] = {bear(0), bear(0)};
    memset(told, 0, sizeof told);
    pair = malloc(2 * sizeof *pair);
    for (int i = 0; i < 2; i++) {
        rota_child_init(&pair[i], b[i].pid, stop_the_other, &told[0]);
        cr_assert_eq(rota_child_start(loop, &pair[i]), 0);
        let_go(&b[i]);
    }
    for (int i = 0; i < 2; i++)
        wait_for_end(b[i].pid);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(told[0].calls, 1);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static struct born chain[4];

static void start_the_next(rota_child *child, int status, void *arg) {
    tell(child, status, arg);
    size_t i = (size_t)(arg == told ? 0 : (struct told *)arg - told) + 1;
    if (i < sizeof chain / sizeof *chain) {
        rota_child_init(child, chain[i].pid, start_the_next, &told[i]);
        cr_expect_eq(rota_child_start(loop, child), 0);
        let_go(&chain[i]);
    }
}

Both_tests(a_callback_may_start_its_watcher_for_another_process) {
    rota_child c;
    for (int i = 0; i < 4; i++)
        chain[i] = bear(i);
    rota_child_init(&c, chain[0].pid, start_the_next, &told[0]);
    cr_assert_eq(rota_child_start(loop, &c), 0);
    let_go(&chain[0]);
    cr_expect_eq(rota_loop_run(loop), 0);
    for (int i = 0; i < 4; i++)
        cr_expect(told[i].calls == 1 && WEXITSTATUS(told[i].status) == i);
}

Both_tests(closing_the_loop_stops_watchers_without_a_call) {
    rota_child c;
    struct born b = bear(0);
    watch(&c, b.pid, &told[0]);
    cr_expect_eq(rota_loop_close(loop), 0);
    let_go(&b);
    cr_expect_eq(waitpid(b.pid, NULL, 0), b.pid);
    cr_expect_eq(told[0].calls, 0);
}

/* G09: the parent's child is not the child's. */
Both_tests(after_fork_the_watcher_is_the_parents) {
    rota_child c;
    struct born b = bear(6);
    watch(&c, b.pid, &told[0]);
    pid_t pid = fork();
    if (pid == 0) {
        int ok = rota_child_kill(&c, SIGKILL) == -EINVAL && rota_child_stop(loop, &c) == -EINVAL &&
                 rota_loop_free(loop) == 0;
        _exit(ok ? 0 : 1);
    }
    int status;
    cr_expect(waitpid(pid, &status, 0) == pid && status == 0);
    let_go(&b);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(told[0].calls == 1 && WEXITSTATUS(told[0].status) == 6);
}

Both_tests(a_foreign_loop_sees_the_end) {
    rota_child c;
    int fd = rota_loop_fd(loop);
    if (fd == -ENOTSUP)
        cr_skip_test("this backend has no descriptor");
    struct born b = bear(9);
    watch(&c, b.pid, &told[0]);
    cr_expect_geq(rota_loop_turn(loop, 0), 0);
    let_go(&b);
    while (told[0].calls == 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        cr_assert(poll(&p, 1, 10000) == 1 || errno == EINTR);
        cr_assert_geq(rota_loop_turn(loop, 0), 0);
    }
    cr_expect_eq(WEXITSTATUS(told[0].status), 9);
}

Test(children, bad_arguments, .init = kit_open, .fini = kit_close) {
    rota_child c;
    rota_child_init(&c, 0, tell, told);
    cr_expect_eq(rota_child_start(loop, &c), -EINVAL);
    rota_child_init(&c, -1, tell, told);
    cr_expect_eq(rota_child_start(loop, &c), -EINVAL);
    rota_child_init(&c, 1, NULL, told);
    cr_expect_eq(rota_child_start(loop, &c), -EINVAL);
    cr_expect_eq(rota_child_start(loop, NULL), -EINVAL);
    cr_expect_eq(rota_child_start(NULL, &c), -EINVAL);
    cr_expect_eq(rota_child_stop(loop, NULL), -EINVAL);
    cr_expect_eq(rota_child_kill(NULL, 0), -EINVAL);
    cr_expect_eq(rota_child_kill(&c, -1), -EINVAL);
}

/* Somebody closes descriptors that are not theirs: the end is told all the same. */
Test(children, its_descriptor_is_closed_by_others, .init = kit_open, .fini = kit_close) {
    rota_child c;
    struct born b = bear(8);
    watch(&c, b.pid, &told[0]);
    if (c.pidfd_ >= 0)
        cr_expect_eq(rota_fd_close(loop, c.pidfd_), 0);
    let_go(&b);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(told[0].calls == 1 && WEXITSTATUS(told[0].status) == 8);
}

/* ---- no descriptor, no memory ---- */

static int table_is_full(pid_t pid) {
    (void)pid;
    return -EMFILE;
}

Test(children, needs_no_descriptor, .init = kit_open, .fini = kit_close) {
    rota_child c;
    kit_meddle();
    kit_sys.pidfd_open = table_is_full;
    struct born b = bear(2);
    watch(&c, b.pid, &told[0]);
    let_go(&b);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(told[0].calls == 1 && WEXITSTATUS(told[0].status) == 2);
}

Test(children, needs_no_memory, .init = kit_open, .fini = kit_close) {
    rota_child c;
    struct born b = bear(2);
    memory.fail_at = memory.calls + 1;
    memory.fail_on = true;
    watch(&c, b.pid, &told[0]);
    let_go(&b);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(told[0].calls == 1 && WEXITSTATUS(told[0].status) == 2);
}

static int no_sigaction(int signo, const struct sigaction *action, struct sigaction *old) {
    return action && action->sa_handler != SIG_DFL ? -EINVAL : rota__sys_real.sigaction(signo, action, old);
}

Test(children, without_pidfd_and_handler_start_says_so, .init = kit_open, .fini = kit_close) {
    rota_child c;
    without_pidfd();
    kit_sys.sigaction = no_sigaction;
    struct born b = bear(2);
    rota_child_init(&c, b.pid, tell, &told[0]);
    cr_expect_eq(rota_child_start(loop, &c), -EINVAL);
    kit_sys.sigaction = rota__sys_real.sigaction;
    cr_expect_eq(rota_child_start(loop, &c), 0);
    let_go(&b);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(told[0].calls, 1);
}

static int interrupted;

static int reap_interrupted(pid_t pid, int pidfd, int options, int *status) {
    return interrupted++ % 2 == 0 ? -EINTR : rota__sys_real.reap(pid, pidfd, options, status);
}

Both_tests(reaping_is_interrupted) {
    rota_child c;
    if (rota__sys == &rota__sys_real)
        kit_meddle();
    kit_sys.reap = reap_interrupted;
    struct born b = bear(2);
    watch(&c, b.pid, &told[0]);
    let_go(&b);
    until_told(1);
    cr_expect(told[0].calls == 1 && WEXITSTATUS(told[0].status) == 2);
    cr_expect_gt(interrupted, 1);
}
