/* Waiting in a loop with the option `precise` or `spin_ns`: what poll_real of loop.c does for others in two lines.
 *
 * It offers rota__poll_precise. Invariant: the loop is announced as asleep exactly while it may sleep, so that whoever
 * posts while it spins makes no system call, and whoever posts later wakes it (inbox.c). It must not know of tasks or
 * descriptors.
 *
 * What makes a wait late. A thread's timeouts have slack (50 us on Linux), by which the kernel may delay them to join
 * others; descriptors of timers have none. And waking a processor takes tens of us, by whatever means: only who does
 * not sleep avoids that. So `precise` waits by a timer's descriptor, and `spin_ns` does not sleep through the last
 * stretch; the timer's descriptor brings it there in time.
 *
 * Rejected: prctl(PR_SET_TIMERSLACK). For good it would reach the user's own waits in this thread, and every thread and
 * child process made from it, through exec too (prctl(2)). Around each wait it is two system calls more where the
 * descriptor takes one, and that one only when the deadline has changed. */
#include "reactor/loop.h"

/* Asks the kernel again and again until it has something, somebody has posted, a signal came, or it is `until`. In a
 * trace and in the counters of time all that is one wait. */
static int spin(rota_loop *loop, int64_t until) {
    const struct rota__inbox *inbox = loop->inbox;
    int n;
    if (__builtin_expect(loop->watched, 0))
        rota__poll_begins(loop, until - loop->now);
    loop->spinning = true;
    do {
        n = loop->poller->wait(loop, 0);
    } while (n == 0 && !atomic_load_explicit(&inbox->head, memory_order_relaxed) &&
             !atomic_load_explicit(&inbox->signals_pending, memory_order_relaxed) && rota__loop_clock(loop) < until);
    loop->spinning = false;
    if (__builtin_expect(loop->watched, 0) && n == 0)
        rota__poll_ended(loop, 0);
    return n;
}

static int sleep_until(rota_loop *loop, int64_t until) {
    if (until == ROTA_FOREVER || (loop->poller->arm && loop->poller->arm(loop, until) == 0))
        return rota__poll_rounds(loop, ROTA_FOREVER);
    return rota__poll_rounds(loop, until - loop->now);
}

/* Once it has slept it returns, spin_ns before the deadline: the next turn finds that near, and spins. */
int rota__poll_precise(rota_loop *loop, int64_t until) {
    int64_t ns = loop->options.spin_ns;
    if (ns == 0)
        return sleep_until(loop, until);
    int64_t first = rota__time_add(loop->now, ns);
    bool near = until != ROTA_FOREVER && until - ns <= first;
    rota__inbox_awake(loop->inbox);
    int n = spin(loop, near ? until : first);
    if (n != 0 || near || !rota__inbox_sleep(loop->inbox) || !rota__loop_alive(loop))
        return n;
    return sleep_until(loop, until == ROTA_FOREVER ? until : until - ns);
}
