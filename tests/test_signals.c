/* Signal watchers: delivery, dispositions, several watchers and loops. */
#include "tests/harness.h"
#include "tests/sys_table.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/loop.h"

static rota_loop *loop;
static rota_signal a, b, c; /* static: the loop holds them until .fini closes it */
static char order[64];     /* a letter for each call, the watcher's arg */

static void open_loop(void) {
    order[0] = 0;
    cr_assert_eq(rota_loop_new(&loop, NULL), 0);
}

static void close_loop(void) { cr_expect_eq(rota_loop_free(loop), 0); }

static void note(rota_signal *w, int signo, void *arg) {
    cr_expect_eq(signo, w->signo);
    strncat(order, arg, 1);
}

static void (*disposition(int signo))(int) {
    struct sigaction now;
    cr_assert_eq(sigaction(signo, NULL, &now), 0);
    return now.sa_handler;
}

static void turn(void) { cr_assert_geq(rota_loop_turn(loop, 0), 0); }

/* Until the loop has nothing more to deliver. */
static void turns(void) {
    turn();
    turn();
}

#define SIGNAL_TEST(name) \
    Test(signals, name, .init = open_loop, .fini = close_loop, .timeout = 30)

SIGNAL_TEST(every_watcher_is_called_in_starting_order) {
    rota_signal_init(&a, SIGUSR1, note, "a");
    rota_signal_init(&b, SIGUSR2, note, "b");
    rota_signal_init(&c, SIGUSR1, note, "c");
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    cr_assert_eq(rota_signal_start(loop, &b), 0);
    cr_assert_eq(rota_signal_start(loop, &c), 0);
    turns();
    cr_expect_str_eq(order, "");
    (void)raise(SIGUSR1);
    cr_expect_str_eq(order, "", "not in the handler");
    turns();
    cr_expect_str_eq(order, "ac");
    (void)raise(SIGUSR2);
    (void)raise(SIGUSR1);
    turns();
    cr_expect_str_eq(order, "acabc");
}

SIGNAL_TEST(deliveries_before_the_turn_become_one_call) {
    rota_signal_init(&a, SIGUSR1, note, "a");
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    for (int i = 0; i < 10; i++)
        (void)raise(SIGUSR1);
    turns();
    cr_expect_str_eq(order, "a");
}

SIGNAL_TEST(a_watcher_is_not_called_for_what_came_before_it) {
    rota_signal_init(&a, SIGUSR1, note, "a");
    rota_signal_init(&b, SIGUSR1, note, "b");
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    (void)raise(SIGUSR1);
    cr_assert_eq(rota_signal_start(loop, &b), 0);
    turns();
    cr_expect_str_eq(order, "a");
}

static int install_and_raise(int signo, const struct sigaction *action, struct sigaction *old) {
    int rc = rota__sys_real.sigaction(signo, action, old);
    if (action)
        (void)raise(signo);
    return rc;
}

/* The handler is there, the loop not yet in its list: such a signal must not be swallowed. */
SIGNAL_TEST(a_signal_in_the_middle_of_starting_counts) {
    struct rota__sys altered = rota__sys_real;
    altered.sigaction = install_and_raise;
    rota__sys = &altered;
    rota_signal_init(&a, SIGUSR1, note, "a");
    cr_expect_eq(rota_signal_start(loop, &a), 0);
    rota__sys = &rota__sys_real;
    turns();
    cr_expect_str_eq(order, "a");
}

/* ---- dispositions ---- */

static void mine(int signo) { (void)signo; }

SIGNAL_TEST(the_previous_handler_comes_back_with_the_last_stop) {
    (void)signal(SIGUSR1, mine);
    rota_signal_init(&a, SIGUSR1, note, "a");
    rota_signal_init(&b, SIGUSR1, note, "b");
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    cr_expect(disposition(SIGUSR1) != mine);
    cr_assert_eq(rota_signal_start(loop, &b), 0);
    cr_expect_eq(rota_signal_stop(loop, &a), 0);
    cr_expect(disposition(SIGUSR1) != mine);
    cr_expect_eq(rota_signal_stop(loop, &b), 0);
    cr_expect(disposition(SIGUSR1) == mine);
    cr_expect_eq(rota_signal_stop(loop, &b), 0, "stopping twice");
    cr_assert_eq(rota_signal_start(loop, &b), 0);
    cr_expect(disposition(SIGUSR1) != mine, "and again");
}

SIGNAL_TEST(a_handler_that_came_later_is_left_alone) {
    rota_signal_init(&a, SIGUSR1, note, "a");
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    (void)signal(SIGUSR1, mine);
    cr_expect_eq(rota_signal_stop(loop, &a), 0);
    cr_expect(disposition(SIGUSR1) == mine);
}

Test(signals, a_loop_without_watchers_changes_no_disposition) {
    void (*before[32])(int);
    for (int signo = 1; signo < 32; signo++)
        before[signo] = disposition(signo);
    open_loop();
    turn();
    for (int signo = 1; signo < 32; signo++)
        cr_expect(disposition(signo) == before[signo], "signal %d", signo);
    close_loop();
    for (int signo = 1; signo < 32; signo++)
        cr_expect(disposition(signo) == before[signo], "signal %d", signo);
}

Test(signals, an_unwatched_signal_keeps_its_default, .signal = SIGINT) {
    open_loop();
    (void)raise(SIGINT);
    close_loop();
}

Test(signals, closing_the_loop_stops_its_watchers) {
    (void)signal(SIGUSR1, SIG_IGN);
    open_loop();
    rota_signal_init(&a, SIGUSR1, note, "a");
    rota_signal_init(&b, SIGUSR1, note, "b");
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    cr_assert_eq(rota_signal_start(loop, &b), 0);
    (void)raise(SIGUSR1);
    cr_assert_eq(rota_loop_close(loop), 0);
    cr_expect(disposition(SIGUSR1) == SIG_IGN);
    cr_expect_eq(rota_signal_stop(loop, &a), -ESHUTDOWN);
    cr_expect_eq(rota_signal_start(loop, &a), -ESHUTDOWN);
    close_loop();
    cr_expect_str_eq(order, "");
    open_loop();
    cr_assert_eq(rota_signal_start(loop, &a), 0, "free for another loop");
    (void)raise(SIGUSR1);
    turns();
    cr_expect_str_eq(order, "a");
    close_loop();
}

static ssize_t fail_to_write(int fd, const void *buf, size_t n) {
    (void)fd, (void)buf, (void)n;
    errno = EAGAIN;
    return -EAGAIN;
}

/* SA_RESTART: other threads' blocking calls; SA_ONSTACK: small stacks; errno: whatever was interrupted. */
SIGNAL_TEST(the_handler_disturbs_nobody) {
    struct sigaction now;
    rota_signal_init(&a, SIGUSR1, note, "a");
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    cr_assert_eq(sigaction(SIGUSR1, NULL, &now), 0);
    cr_expect(now.sa_flags & SA_RESTART);
    cr_expect(now.sa_flags & SA_ONSTACK);
    cr_expect_eq(sigismember(&now.sa_mask, SIGALRM), 1);
    struct rota__sys altered = rota__sys_real;
    altered.write = fail_to_write;
    rota__sys = &altered;
    /* As in the wait: asleep, so that the handler must wake it. */
    cr_assert(rota__inbox_sleep(loop->inbox));
    errno = 77;
    (void)raise(SIGUSR1);
    cr_expect_eq(errno, 77);
    rota__sys = &rota__sys_real;
}

/* ---- changes from callbacks ---- */

static rota_signal *victim;

static void stop_victim(rota_signal *w, int signo, void *arg) {
    note(w, signo, arg);
    if (victim) {
        cr_expect_eq(rota_signal_stop(loop, victim), 0);
        memset(victim, 0xee, sizeof *victim);
        if (victim != w)
            free(victim);
    }
    victim = NULL;
}

SIGNAL_TEST(a_callback_may_stop_and_free_the_next_watcher) {
    victim = malloc(sizeof *victim);
    rota_signal_init(&a, SIGUSR1, stop_victim, "a");
    rota_signal_init(victim, SIGUSR1, note, "b");
    rota_signal_init(&c, SIGUSR1, note, "c");
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    cr_assert_eq(rota_signal_start(loop, victim), 0);
    cr_assert_eq(rota_signal_start(loop, &c), 0);
    (void)raise(SIGUSR1);
    turns();
    cr_expect_str_eq(order, "ac");
}

SIGNAL_TEST(a_callback_may_stop_itself) {
    rota_signal_init(&a, SIGUSR1, stop_victim, "a");
    rota_signal_init(&b, SIGUSR1, note, "b");
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    cr_assert_eq(rota_signal_start(loop, &b), 0);
    victim = &a;
    (void)raise(SIGUSR1);
    turns();
    (void)raise(SIGUSR1);
    turns();
    cr_expect_str_eq(order, "abb");
}

static int rounds;

static void again_and_raise(rota_signal *w, int signo, void *arg) {
    (void)arg;
    rounds++;
    cr_expect_eq(rota_signal_stop(loop, w), 0);
    cr_expect_eq(rota_signal_start(loop, w), 0);
    (void)raise(signo);
}

/* Each callback makes the next one due: they must not starve the turn. */
SIGNAL_TEST(a_callback_that_raises_and_restarts_ends_the_turn) {
    (void)signal(SIGUSR1, SIG_IGN);
    rota_signal_init(&a, SIGUSR1, again_and_raise, NULL);
    rota_signal_init(&b, SIGUSR1, again_and_raise, NULL);
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    cr_assert_eq(rota_signal_start(loop, &b), 0);
    (void)raise(SIGUSR1);
    turn();
    int first = rounds;
    cr_expect(first >= 1 && first <= 4, "%d", first);
    turn();
    cr_expect_gt(rounds, first, "and nothing is forgotten");
}

/* ---- bad arguments ---- */

static void *use_from_another_thread(void *arg) {
    cr_expect_eq(rota_signal_start(loop, arg), -EPERM);
    cr_expect_eq(rota_signal_stop(loop, arg), -EPERM);
    return NULL;
}

SIGNAL_TEST(misuse_is_refused) {
    static const int bad[] = {0, -1, 129, 100000, SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    pthread_t thread;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rota_signal_init(&a, bad[i], note, "a");
        cr_expect_eq(rota_signal_start(loop, &a), -EINVAL, "signal %d", bad[i]);
    }
    rota_signal_init(&a, SIGUSR1, NULL, NULL);
    cr_expect_eq(rota_signal_start(loop, &a), -EINVAL);
    rota_signal_init(&a, SIGUSR1, note, "a");
    cr_expect_eq(rota_signal_start(NULL, &a), -EINVAL);
    cr_expect_eq(rota_signal_start(loop, NULL), -EINVAL);
    cr_expect_eq(rota_signal_stop(loop, NULL), -EINVAL);
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    cr_expect_eq(rota_signal_start(loop, &a), -EALREADY);
    cr_assert_eq(pthread_create(&thread, NULL, use_from_another_thread, &a), 0);
    (void)pthread_join(thread, NULL);
    rota_loop *other;
    cr_assert_eq(rota_loop_new(&other, NULL), 0);
    cr_expect_eq(rota_signal_start(other, &a), -EALREADY);
    cr_expect_eq(rota_signal_stop(other, &a), -EINVAL);
    cr_expect_eq(rota_loop_free(other), 0);
    cr_expect_eq(rota_signal_stop(loop, &a), 0);
    cr_expect(disposition(SIGUSR1) == SIG_DFL);
}

/* ---- waking, several loops ---- */

static atomic_int count, finished;

static void count_one(rota_signal *w, int signo, void *arg) {
    (void)signo;
    if (atomic_fetch_add(&count, 1) + 1 == 2000) {
        cr_expect_eq(rota_signal_stop(arg, w), 0);
        atomic_store(&finished, 1);
    }
}

static void *send_2000(void *arg) {
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        (void)kill(getpid(), SIGUSR1);
        while (atomic_load(&count) <= i)
            (void)sched_yield();
    }
    return NULL;
}

/* Each signal is sent after the last one was handled: a lost wake-up hangs here. */
SIGNAL_TEST(a_signal_wakes_the_sleeping_loop) {
    pthread_t thread;
    (void)signal(SIGUSR1, SIG_IGN);
    rota_signal_init(&a, SIGUSR1, count_one, loop);
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    cr_assert_eq(pthread_create(&thread, NULL, send_2000, NULL), 0);
    cr_expect_eq(rota_loop_run(loop), 0, "the watcher keeps the loop alive, and its stop lets it go");
    (void)pthread_join(thread, NULL);
    cr_expect_eq(atomic_load(&count), 2000);
}

static atomic_int watching, called;

static void stop_it(rota_signal *w, int signo, void *arg) {
    (void)signo;
    atomic_fetch_add(&called, 1);
    cr_expect_eq(rota_signal_stop(arg, w), 0);
}

static void *watch_in_a_thread(void *arg) {
    rota_loop *own;
    rota_signal own_watcher;
    (void)arg;
    cr_expect_eq(rota_loop_new(&own, NULL), 0);
    rota_signal_init(&own_watcher, SIGUSR2, stop_it, own);
    cr_expect_eq(rota_signal_start(own, &own_watcher), 0);
    atomic_fetch_add(&watching, 1);
    cr_expect_eq(rota_loop_run(own), 0);
    cr_expect_eq(rota_loop_free(own), 0);
    return NULL;
}

Test(signals, loops_of_several_threads_all_hear_it, .timeout = 30) {
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    (void)signal(SIGUSR2, mine);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, watch_in_a_thread, NULL), 0);
    while (atomic_load(&watching) < THREADS)
        (void)sched_yield();
    (void)kill(getpid(), SIGUSR2);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&called), THREADS);
    cr_expect(disposition(SIGUSR2) == mine);
}

/* ---- fork ---- */

SIGNAL_TEST(a_child_gets_rid_of_the_handler_and_does_not_wake_the_parent) {
    int status;
    rota_signal_init(&a, SIGUSR1, note, "a");
    cr_assert_eq(rota_signal_start(loop, &a), 0);
    struct pollfd p = {.fd = rota_loop_fd(loop), .events = POLLIN};
    turns();
    cr_assert_eq(poll(&p, 1, 0), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)raise(SIGUSR1);
        int rc = rota_loop_free(loop);
        _exit(rc == 0 && disposition(SIGUSR1) == SIG_DFL ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    cr_expect_eq(poll(&p, 1, 0), 0, "the waker is shared");
    turns();
    cr_expect_str_eq(order, "");
    (void)raise(SIGUSR1);
    turns();
    cr_expect_str_eq(order, "a");
}
