/* Says which task has overrun its stack, before the fault does what it would have done anyway.
 *
 * Offers: rota__overflow_watch, rota__overflow_unwatch.
 * Invariant: while any loop watches, SIGSEGV and SIGBUS (what a guard gives on some systems) have handlers here, and
 * what was there before is called, or put back, for every fault. Each watching thread has an alternate signal stack:
 * there is no room for a handler on a stack that is full. A fault in the guard of the running task's stack is named, all
 * others are passed on unseen. When the last loop stops watching, the earlier dispositions come back, unless somebody
 * has set others meanwhile: those stay, and may go on passing faults to us.
 * It must not know loops' insides: what runs is rota__current->running. In the handler nothing is called but what is
 * async-signal-safe; the report hook is not, so the line goes to standard error whatever hook there is.
 */
#include "coro/overflow.h"

#include <pthread.h>
#include <stdatomic.h>

#include "coro/task.h"
#include "reactor/text.h"

enum { SIGNAL_STACK = 64 * 1024 };   /* with AMX a frame alone has 11 KiB */

static const int signals[] = { SIGSEGV, SIGBUS };
enum { SIGNALS = sizeof signals / sizeof *signals };

/* Under the lock, but for the handler: it runs only between installing and putting back. */
static struct sigaction before[SIGNALS];
static bool installed[SIGNALS];
static unsigned watchers;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The alternate stack that this thread was given, and its loops that count on it. */
static _Thread_local struct { void *memory; unsigned loops; } mine __attribute__((tls_model("initial-exec")));

static void lock(void) { (void)pthread_mutex_lock(&mutex); }
static void unlock(void) { (void)pthread_mutex_unlock(&mutex); }

/* A child of fork must not find it held by a thread that it does not have. */
static void watch_forks(void) { (void)pthread_atfork(lock, unlock, unlock); }

/* ---- in the handler ---- */

static void name_task(const rota_task *task) {
    char line[512];
    struct rota__text t;
    rota__text_init(&t, line, sizeof line - 1);
    rota__text_add(&t, "rota: task ");
    rota__task_name_text(&t, task);
    rota__place_text(&t, &task->at);
    rota__text_add(&t, ", overran its stack of ");
    rota__text_number(&t, (int64_t)task->runner->stack.size);
    rota__text_add(&t, " bytes");
    size_t n = t.length < sizeof line - 2 ? t.length : sizeof line - 2;
    line[n++] = '\n';
    (void)rota__sys_write(2, line, n);
}

/* What the signal would have done. A default or ignoring disposition is put back: returning repeats the access, and so
 * the fault, in the place where it belongs. A signal that somebody sent has nothing to repeat, and is sent again. */
static void pass_on(int signo, siginfo_t *info, void *context, const struct sigaction *to) {
    if (to->sa_flags & SA_SIGINFO) {
        to->sa_sigaction(signo, info, context);
    } else if (to->sa_handler != SIG_DFL && to->sa_handler != SIG_IGN) {
        to->sa_handler(signo);
    } else if (info->si_code <= 0 && to->sa_handler == SIG_IGN) {
        return;
    } else {
        (void)rota__sys_sigaction(signo, to, NULL);
        if (info->si_code <= 0)
            (void)rota__sys_kill(rota__sys_pid(), signo);
    }
}

static void on_fault(int signo, siginfo_t *info, void *context) {
    int saved = errno;
    const rota_task *task = info->si_code > 0 && rota__current ? rota__current->running : NULL;
    if (task && rota__stack_guards_address(&task->runner->stack, info->si_addr))
        name_task(task);
    errno = saved;
    pass_on(signo, info, context, &before[signo == SIGSEGV ? 0 : 1]);
}

/* ---- watching ---- */

/* SA_NODEFER is not wanted: a fault in here must end the process, not come here again. */
static void install(void) {
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    (void)sigemptyset(&action.sa_mask);
    for (int i = 0; i < SIGNALS; i++)
        installed[i] = rota__sys_sigaction(signals[i], NULL, &before[i]) == 0 &&
                       rota__sys_sigaction(signals[i], &action, NULL) == 0;
}

static void put_back(void) {
    struct sigaction now;
    for (int i = 0; i < SIGNALS; i++)
        if (installed[i] && rota__sys_sigaction(signals[i], NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
            now.sa_sigaction == on_fault)
            (void)rota__sys_sigaction(signals[i], &before[i], NULL);
}

/* False: there is none, and none can be had. */
static bool need_signal_stack(struct rota__overflow *overflow) {
    stack_t now;
    if (rota__sys_sigaltstack(NULL, &now) < 0)
        return false;
    if (now.ss_flags & SS_DISABLE) {
        void *memory = rota__sys_mmap(SIGNAL_STACK);
        stack_t stack = { .ss_sp = memory, .ss_size = SIGNAL_STACK };
        if (!memory)
            return false;
        if (rota__sys_sigaltstack(&stack, NULL) < 0) {
            (void)rota__sys_munmap(memory, SIGNAL_STACK);
            return false;
        }
        mine.memory = now.ss_sp = memory;
        mine.loops = 0;
    }
    if (now.ss_sp == mine.memory) {
        mine.loops++;
        overflow->signal_stack = mine.memory;
    }
    return true;
}

/* Not another thread's (a loop freed in a child of fork), nor while another loop of this thread counts on it. */
static void drop_signal_stack(void *memory) {
    stack_t now, none = { .ss_flags = SS_DISABLE, .ss_size = SIGNAL_STACK };
    if (memory != mine.memory || --mine.loops)
        return;
    mine.memory = NULL;
    if (rota__sys_sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE) && now.ss_sp == memory &&
        rota__sys_sigaltstack(&none, NULL) < 0)
        return; /* it may be in use: rather keep it for ever */
    (void)rota__sys_munmap(memory, SIGNAL_STACK);
}

void rota__overflow_watch(struct rota__overflow *overflow) {
    if (!need_signal_stack(overflow))
        return;
    (void)pthread_once(&once, watch_forks);
    lock();
    if (watchers++ == 0)
        install();
    unlock();
    overflow->watched = true;
}

void rota__overflow_unwatch(struct rota__overflow *overflow) {
    if (!overflow->watched)
        return;
    lock();
    if (--watchers == 0)
        put_back();
    unlock();
    if (overflow->signal_stack)
        drop_signal_stack(overflow->signal_stack);
}
