/* Waiting for signals in a task. They are raised by the test itself, so all is in order. */
#include <signal.h>
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
