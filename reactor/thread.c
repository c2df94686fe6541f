/* Who is calling? Every loop belongs to one thread, and in a child after fork to none: the kernel objects are
 * shared with the parent there. One number answers both questions with one comparison: a thread's id, which is
 * given anew after fork. */
#include <pthread.h>
#include <stdatomic.h>

#include "reactor/loop.h"

_Thread_local rota_loop *rota__current __attribute__((tls_model("initial-exec")));
_Thread_local uint64_t rota__own_id __attribute__((tls_model("initial-exec")));

static _Atomic(uint64_t) last_id;
static pthread_once_t once = PTHREAD_ONCE_INIT;
unsigned rota__forks;

uint64_t rota__thread_id(void) {
    if (!rota__own_id)
        rota__own_id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    return rota__own_id;
}

static void in_child(void) {
    rota__forks++;
    rota__own_id = 0;
    for (rota_loop *l = rota__current, *outer; l; l = outer) {
        outer = l->outer;
        l->outer = NULL;
    }
    rota__current = NULL;
    rota__trace_forked();
}

static void watch(void) { (void)pthread_atfork(NULL, NULL, in_child); }

void rota__watch_forks(void) { (void)pthread_once(&once, watch); }

int rota__loop_check(const rota_loop *loop) {
    if (!loop)
        return -EINVAL;
    if (__builtin_expect(loop->owner != rota__own_id, 0))
        return loop->forks != rota__forks ? -EINVAL : -EPERM;
    return loop->state == ROTA__LOOP_CLOSED ? -ESHUTDOWN : 0;
}
