/* Signal watchers: a process-wide table, one handler for all signals, and delivery in the loops' turns.
 *
 * It offers rota_signal_* and, to the loop, struct rota__signal_calls. Invariant: a loop
 * is in the handler's list exactly while it has a started watcher, and no handler that could have seen it there
 * runs any more when stop or close returns. It must not know of pollers nor of the inbox's workings.
 *
 * The handler runs on any thread at any moment, also in the middle of the code below. So it takes no lock and
 * touches no watcher (a user's memory, changed by its loop's thread without atomics). It counts the arrival and
 * tells the loops that want the signal; each loop compares the count with what its watchers saw last. A count
 * rather than a flag for each watcher, so that the handler needs only loops; and so that a watcher started
 * between arrival and delivery is not called for a signal that came before it.
 *
 * Nothing is lost:
 *
 *     handler:  count the arrival;  signals_pending = 1;  wake the loop if it sleeps
 *     loop:     signals_pending = 0;  compare the counts         (and does not go to sleep while it is set)
 *
 * Reading the list safely: a handler counts itself in `readers` before it looks at the list, and out after its
 * last look. Who takes a loop out unlinks it first and then waits until `readers` is 0 once. With sequential
 * consistency (the default of every atomic access here), a handler that counted itself in too late to be waited
 * for also reads the list too late to find the loop. The wait ends: a handler is a few stores and at most one
 * write(2) for each loop, waits for nothing, and cannot be interrupted by another handler that might jump out
 * of it (sa_mask is full); in a storm of signals one lull is enough. Rejected: signalfd (the signal would have
 * to be blocked in every thread of a program that is not ours); a fixed array of loops (a limit that somebody
 * would meet).
 *
 * Changes are made under a spin lock that handlers never take, so a handler on top of its holder is harmless
 * and no signal needs to be blocked.
 */
#include "reactor/signals.h"

#include <pthread.h>

#include "reactor/loop.h"

static struct {
    unsigned users;             /* started watchers; under the lock */
    struct sigaction before;    /* what to put back when there are none; under the lock */
    atomic_uint arrivals;
} table[ROTA__SIGNAL_LIMIT + 1];

static _Atomic(struct rota__signal_port *) ports;
static atomic_uint readers, locked;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- the handler ---- */

static bool wants(struct rota__signal_port *port, int signo) {
    unsigned bit = (unsigned)signo - 1;
    return atomic_load(&port->wanted[bit / 32]) >> bit % 32 & 1;
}

static void on_signal(int signo) {
    int saved = errno;
    atomic_fetch_add(&readers, 1);
    atomic_fetch_add(&table[signo].arrivals, 1);
    for (struct rota__signal_port *port = atomic_load(&ports); port; port = atomic_load(&port->next)) {
        if (wants(port, signo)) {
            rota__store_before_load(&port->inbox->signals_pending, 1);
            rota__inbox_wake(port->inbox);
        }
    }
    atomic_fetch_sub(&readers, 1);
    errno = saved;
}

/* ---- the table ---- */

/* Spins for what a handler or a holder of the lock needs, then sleeps: under a real-time policy the one that is
 * waited for may otherwise never get the processor. */
static void pause_after(unsigned tries) {
    if (tries >= 100)
        (void)rota__sys_poll(NULL, 0, 1);
}

static void lock(void) {
    for (unsigned i = 0; atomic_exchange(&locked, 1); i++)
        pause_after(i);
}

static void unlock(void) { atomic_store(&locked, 0); }

static void wait_for_handlers(void) {
    for (unsigned i = 0; atomic_load(&readers); i++)
        pause_after(i);
}

/* The threads that held the lock or ran the handler do not exist in the child. The parent's loops go out of the
 * list: their wakers are the parent's too, and a signal to the child is not for it. The handlers stay until the
 * child closes its copies of the loops, or executes another program. */
static void in_child(void) {
    atomic_store(&locked, 0);
    atomic_store(&readers, 0);
    atomic_store(&ports, NULL);
}

static void watch_forks(void) { (void)pthread_atfork(NULL, NULL, in_child); }

/* SA_RESTART: the handler may run on threads that never heard of this library, whose blocking calls must not
 * begin to fail with EINTR; a loop is woken through its waker and does not need the interruption. SA_ONSTACK:
 * the handler may find itself on a task's small stack, and should use the alternate one where there is one. */
static int install(int signo) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    (void)sigfillset(&action.sa_mask);
    return rota__sys_sigaction(signo, &action, &table[signo].before);
}

/* Unless somebody has put a handler of their own in the place of ours: then it is theirs to look after. */
static void restore(int signo) {
    struct sigaction now;
    if (rota__sys_sigaction(signo, NULL, &now) < 0)
        return;
    if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == on_signal)
        (void)rota__sys_sigaction(signo, &table[signo].before, NULL);
}

static void port_add(rota_loop *loop, int signo) {
    struct rota__signal_port *port = &loop->signal_port;
    unsigned bit = (unsigned)signo - 1;
    atomic_fetch_or(&port->wanted[bit / 32], 1u << bit % 32);
    if (loop->signals)
        return;
    port->inbox = loop->inbox;
    atomic_store(&port->next, atomic_load(&ports));
    rota__store_before_load(&ports, port); /* of the arrivals, in rota_signal_start */
}

/* After the watcher was unlinked. Only leaving the list needs the wait: a handler that still sees the bit wakes
 * the loop for nothing. */
static void port_remove(rota_loop *loop, int signo) {
    struct rota__signal_port *port = &loop->signal_port;
    unsigned bit = (unsigned)signo - 1;
    rota_signal *w = loop->signals;
    while (w && w->signo != signo)
        w = w->next_;
    if (!w)
        atomic_fetch_and(&port->wanted[bit / 32], ~(1u << bit % 32));
    if (loop->signals)
        return;
    _Atomic(struct rota__signal_port *) *at = &ports;
    while (atomic_load(at) && atomic_load(at) != port)
        at = &atomic_load(at)->next;
    if (atomic_load(at)) /* else this is a child after fork */
        rota__store_before_load(at, atomic_load(&port->next));
    wait_for_handlers();
}

/* ---- the loop's side ---- */

/* At the end, so that watchers are called in the order in which they were started. They are few. */
static void link_watcher(rota_loop *loop, rota_signal *w) {
    rota_signal **at = &loop->signals;
    while (*at)
        at = &(*at)->next_;
    w->next_ = NULL;
    w->prev_ = at;
    *at = w;
    w->loop_ = loop;
    loop->n_signals++;
}

static void unlink_watcher(rota_loop *loop, rota_signal *w) {
    if (loop->signal_port.cursor == w)
        loop->signal_port.cursor = w->next_;
    *w->prev_ = w->next_;
    if (w->next_)
        w->next_->prev_ = w->prev_;
    w->loop_ = NULL;
    loop->n_signals--;
}

static void stop(rota_loop *loop, rota_signal *w) {
    unlink_watcher(loop, w);
    lock();
    if (--table[w->signo].users == 0)
        restore(w->signo);
    port_remove(loop, w->signo);
    unlock();
}

static void call(rota_loop *loop, rota_signal *w) {
    void (*fn)(rota_signal *, int, void *) = w->fn;
    int signo = w->signo;
    rota__step_begin(loop);
    rota__trace_callback(loop, ROTA_TRACE_CALLBACK_BEGIN, "a signal watcher", w, signo);
    fn(w, signo, w->arg);
    rota__trace_callback(loop, ROTA_TRACE_CALLBACK_END, "a signal watcher", w, signo);
    if (loop->debug)
        rota__step_end(loop, (uintptr_t)fn);
}

/* A callback may stop and free any watcher: the cursor steps aside (unlink_watcher). One that is stopped and
 * started again comes back at the end; the bound keeps such a callback from running here for ever. What it
 * leaves over has set signals_pending once more. */
static void deliver(rota_loop *loop) {
    struct rota__signal_port *port = &loop->signal_port;
    rota__store_before_load(&loop->inbox->signals_pending, 0);
    port->cursor = loop->signals;
    for (size_t left = loop->n_signals; left > 0 && port->cursor; left--) {
        rota_signal *w = port->cursor;
        port->cursor = w->next_;
        unsigned arrivals = atomic_load(&table[w->signo].arrivals);
        if (arrivals == w->pending_)
            continue;
        w->pending_ = arrivals;
        loop->counts.callbacks++;
        call(loop, w);
    }
    port->cursor = NULL;
}

static void stop_all(rota_loop *loop) {
    while (loop->signals)
        stop(loop, loop->signals);
}

static const struct rota__signal_calls calls = { .deliver = deliver, .stop_all = stop_all };

/* ---- public ---- */

void rota_signal_init(rota_signal *w, int signo,
                      void (*fn)(rota_signal *watcher, int signo, void *arg), void *arg) {
    if (!w)
        return;
    w->next_ = NULL;
    w->prev_ = NULL;
    w->loop_ = NULL;
    w->fn = fn;
    w->arg = arg;
    w->signo = signo;
    w->pending_ = 0;
}

/* The signals of a fault cannot wait for a turn: the handler would return to the faulting instruction and be
 * called again, for ever. The numbers that only the system may use are refused by sigaction. */
static bool can_watch(int signo) {
    return signo > 0 && signo <= ROTA__SIGNAL_LIMIT && signo != SIGSEGV && signo != SIGBUS && signo != SIGFPE &&
           signo != SIGILL;
}

int rota_signal_start(rota_loop *loop, rota_signal *w) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!w || !w->fn || !can_watch(w->signo))
        return -EINVAL;
    if (w->loop_)
        return -EALREADY;
    (void)pthread_once(&once, watch_forks);
    lock();
    w->pending_ = atomic_load(&table[w->signo].arrivals);
    rc = table[w->signo].users ? 0 : install(w->signo);
    if (rc == 0) {
        table[w->signo].users++;
        port_add(loop, w->signo);
        link_watcher(loop, w);
        loop->signal_calls = &calls;
    }
    unlock();
    /* It may have come after the handler was there and before the handler could find this loop. (The wake is for a
     * foreign loop: ours does not sleep now.) */
    if (rc == 0 && atomic_load(&table[w->signo].arrivals) != w->pending_) {
        atomic_store(&loop->inbox->signals_pending, 1);
        rota__inbox_wake(loop->inbox);
    }
    return rc;
}

int rota_signal_stop(rota_loop *loop, rota_signal *w) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!w || (w->loop_ && w->loop_ != loop))
        return -EINVAL;
    if (w->loop_)
        stop(loop, w);
    return 0;
}
