/* Waiting for signals in a task. They are raised by the test itself, so all is in order. */
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/net_kit.h"

static intptr_t wait_for_one(void *arg) { return rota_signals_wait(arg); }

Task_test(coro_signals, waits_until_one_comes) {
    rota_signals s;
    cr_expect_eq(rota_signals_open(&s, ROTA_SIGNAL(SIGUSR1) | ROTA_SIGNAL(SIGUSR2)), 0);
    rota_task *waiter = start(wait_for_one, &s);
    cr_expect(!rota_task_done(waiter));
    raise(SIGUSR2);
    cr_expect_eq(finish(waiter), SIGUSR2);
    waiter = start(wait_for_one, &s);
    raise(SIGUSR1);
    cr_expect_eq(finish(waiter), SIGUSR1);
    cr_expect_eq(rota_signals_close(&s), 0);
    return 0;
}

Task_test(coro_signals, lowest_first_and_none_is_lost) {
    rota_signals s;
    int low = SIGUSR1 < SIGUSR2 ? SIGUSR1 : SIGUSR2, high = SIGUSR1 + SIGUSR2 - low;
    cr_expect_eq(rota_signals_open(&s, ROTA_SIGNAL(SIGUSR1) | ROTA_SIGNAL(SIGUSR2)), 0);
    raise(high);
    raise(low);
    cr_expect_eq(rota_sleep(1), 0); /* a turn: both are delivered */
    cr_expect_eq(rota_signals_wait(&s), low);
    cr_expect_eq(rota_signals_wait(&s), high);
    rota_signals_close(&s);
    return 0;
}

Task_test(coro_signals, one_waiter_at_a_time) {
    rota_signals s;
    cr_expect_eq(rota_signals_open(&s, ROTA_SIGNAL(SIGUSR1)), 0);
    rota_task *waiter = start(wait_for_one, &s);
    cr_expect_eq(rota_signals_wait(&s), -EBUSY);
    rota_cancel(waiter, "test");
    cr_expect_eq(finish(waiter), -ECANCELED);
    waiter = start(wait_for_one, &s);
    raise(SIGUSR1);
    cr_expect_eq(finish(waiter), SIGUSR1);
    rota_signals_close(&s);
    return 0;
}

Task_test(coro_signals, close_wakes_the_waiter) {
    rota_signals *s = malloc(sizeof *s);
    cr_expect_eq(rota_signals_open(s, ROTA_SIGNAL(SIGUSR1)), 0);
    rota_task *waiter = start(wait_for_one, s);
    cr_expect_eq(rota_signals_close(s), 0);
    cr_expect_eq(rota_signals_close(s), 0);
    cr_expect_eq(rota_signals_wait(s), -ESHUTDOWN);
    memset(s, 0x5a, sizeof *s);
    free(s);
    cr_expect_eq(finish(waiter), -ESHUTDOWN);
    return 0;
}

/* Handed over: closing the set afterwards changes nothing. */
Task_test(coro_signals, handed_over_is_kept) {
    rota_signals s;
    cr_expect_eq(rota_signals_open(&s, ROTA_SIGNAL(SIGUSR1)), 0);
    rota_task *waiter = start(wait_for_one, &s);
    raise(SIGUSR1);
    cr_expect_eq(rota_sleep(1), 0);
    rota_signals_close(&s);
    cr_expect_eq(finish(waiter), SIGUSR1);
    return 0;
}

static void count_it(int signo) { (void)signo; }

Task_test(coro_signals, handlers_are_put_back) {
    struct sigaction mine = {.sa_handler = count_it}, now;
    sigaction(SIGUSR1, &mine, NULL);
    rota_signals s;
    cr_expect_eq(rota_signals_open(&s, ROTA_SIGNAL(SIGUSR1)), 0);
    sigaction(SIGUSR1, NULL, &now);
    cr_expect_neq(now.sa_handler, count_it);
    rota_signals_close(&s);
    sigaction(SIGUSR1, NULL, &now);
    cr_expect_eq(now.sa_handler, count_it);
    return 0;
}

Task_test(coro_signals, bad_arguments) {
    rota_signals s;
    cr_expect_eq(rota_signals_open(NULL, 1), -EINVAL);
    cr_expect_eq(rota_signals_open(&s, 0), -EINVAL);
    cr_expect_eq(rota_signals_open(&s, ROTA_SIGNAL(SIGUSR1) | ROTA_SIGNAL(SIGKILL)), -EINVAL);
    struct sigaction now;
    sigaction(SIGUSR1, NULL, &now);
    cr_expect_eq(now.sa_handler, SIG_DFL, "nothing is left behind");
    cr_expect_eq(rota_loop_current()->n_signals, 0u);
    memory.fail_at = memory.calls + 1;
    cr_expect_eq(rota_signals_open(&s, ROTA_SIGNAL(SIGUSR1)), -ENOMEM);
    memory.fail_at = 0;
    cr_expect_eq(rota_signals_wait(NULL), -EINVAL);
    cr_expect_eq(rota_signals_close(NULL), -EINVAL);
    return 0;
}

Test(coro_signals, outside_of_tasks) {
    rota_signals s;
    cr_expect_eq(rota_signals_open(&s, ROTA_SIGNAL(SIGUSR1)), -EINVAL, "no loop");
    rota_loop *loop = open_loop();
    cr_expect_eq(rota_signals_open(&s, ROTA_SIGNAL(SIGUSR1)), 0);
    cr_expect_eq(rota_signals_wait(&s), -EPERM);
    cr_expect_eq(rota_signals_close(&s), 0);
    close_loop(loop);
}

/* ---- a storm ---- */

static struct {
    rota_signals alarms;
    size_t echoed;
    int delivered;
    bool over;
} storm;

static intptr_t echo_back(void *fd) {
    char buf[700];
    ssize_t n;
    while ((n = rota_read((int)(intptr_t)fd, buf, sizeof buf)) > 0 &&
           (n = rota_write_all((int)(intptr_t)fd, buf, (size_t)n, NULL)) == 0)
        ;
    return n;
}

static intptr_t count_alarms(void *enough) {
    int rc = 0;
    while (storm.delivered < (int)(intptr_t)enough && rc >= 0) {
        rc = rota_signals_wait(&storm.alarms);
        storm.delivered += rc == SIGALRM;
    }
    storm.over = true;
    return rc < 0 ? rc : 0;
}

/* Until the storm is over: bytes go round and come back as they were, and no sleep ends early. */
static intptr_t traffic(void *fd) {
    unsigned char out[1000], back[sizeof out];
    for (unsigned round = 0; !storm.over; round++) {
        for (size_t i = 0; i < sizeof out; i++)
            out[i] = (unsigned char)(i * round + i / 3);
        int rc = rota_write_all((int)(intptr_t)fd, out, sizeof out, NULL);
        if (rc == 0)
            rc = rota_read_exact((int)(intptr_t)fd, back, sizeof back, NULL);
        if (rc < 0)
            return rc;
        cr_expect(memcmp(out, back, sizeof out) == 0);
        storm.echoed += sizeof out;
        int64_t start = rota_now();
        if ((rc = rota_sleep(200 * ROTA_US)) < 0)
            return rc;
        cr_expect_geq(rota_now() - start, 200 * ROTA_US);
    }
    return 0;
}

static intptr_t stormy(void *enough) {
    int fds[2];
    struct itimerval often = {.it_interval = {0, 100}, .it_value = {0, 100}}, never = {.it_value = {0, 0}};
    rota_task *echo, *counter, *talker;
    cr_expect_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cr_expect_eq(rota_signals_open(&storm.alarms, ROTA_SIGNAL(SIGALRM)), 0);
    cr_expect_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    cr_expect_eq(rota_spawn(&echo, echo_back, (void *)(intptr_t)fds[1], NULL), 0);
    cr_expect_eq(rota_spawn(&talker, traffic, (void *)(intptr_t)fds[0], NULL), 0);
    cr_expect_eq(rota_spawn(&counter, count_alarms, enough, NULL), 0);
    cr_expect_eq(finish(counter), 0);
    cr_expect_eq(finish(talker), 0);
    cr_expect_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    rota_close(fds[0]);
    cr_expect_eq(finish(echo), 0);
    rota_close(fds[1]);
    cr_expect_gt(storm.echoed, 0u);
    return rota_signals_close(&storm.alarms);
}

/* E13: SIGALRM at 10 kHz. The count of deliveries is what ends it, so that a slow machine only takes longer. */
Test(coro_signals, a_storm_of_alarms_harms_nobody, .timeout = 60) {
    rota_loop_options opt = test_options();
    opt.virtual_clock = false;
    intptr_t v = 1;
    cr_expect_eq(run_with(stormy, (void *)(intptr_t)(under_valgrind() ? 50 : 1000), &v, &opt), 0);
    cr_expect_eq(v, 0);
}

/* G14: what nobody waits for does what it always did, also beside a set of others. */
static intptr_t interrupted_for_real(void *unused) {
    rota_signals s;
    (void)unused;
    if (rota_signals_open(&s, ROTA_SIGNAL(SIGUSR1)) == 0)
        raise(SIGTERM);
    return 0;
}

Test(coro_signals, signals_of_no_set_keep_their_action, .signal = SIGTERM) {
    int ignored = rota_run(interrupted_for_real, NULL, NULL, NULL);
    (void)ignored;
}

/* G15: two sets of one signal, one closed while it is delivered to both. */
static intptr_t close_other(void *other) {
    rota_signals mine;
    cr_expect_eq(rota_signals_open(&mine, ROTA_SIGNAL(SIGUSR1)), 0);
    int signo = rota_signals_wait(&mine);
    cr_expect_eq(rota_signals_close(other), 0);
    cr_expect_eq(rota_signals_close(&mine), 0);
    return signo;
}

Task_test(coro_signals, two_sets_of_one_signal_and_a_close_in_between) {
    static rota_signals theirs;
    cr_expect_eq(rota_signals_open(&theirs, ROTA_SIGNAL(SIGUSR1)), 0);
    rota_task *waiter = start(wait_for_one, &theirs), *closer = start(close_other, &theirs);
    raise(SIGUSR1);
    cr_expect_eq(finish(closer), SIGUSR1);
    cr_expect_eq(finish(waiter), SIGUSR1, "it was handed over before the close");
    struct sigaction now;
    cr_expect(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    return 0;
}
