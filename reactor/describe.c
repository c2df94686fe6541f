/* Words about a loop, for people. */
#include "reactor/loop.h"
#include "reactor/text.h"

static void count(struct rota__text *t, const char *what, size_t n) {
    if (t->length)
        rota__text_add(t, ", ");
    rota__text_number(t, (int64_t)n);
    rota__text_add(t, what);
}

size_t rota_loop_describe(const rota_loop *loop, char *buf, size_t n) {
    struct rota__text t;
    rota__text_init(&t, buf, n);
    if (!loop || loop->state == ROTA__LOOP_CLOSED) {
        rota__text_add(&t, loop ? "closed" : "no loop");
        return t.length;
    }
    count(&t, " ready", rota__ready_count(&loop->ready));
    count(&t, " timers", rota__timers_count(&loop->timers));
    count(&t, " descriptor waits", loop->watchers);
    count(&t, " signal watchers", loop->n_signals);
    count(&t, " jobs", loop->jobs);
    count(&t, " remotes", atomic_load(&loop->inbox->remotes));
    return t.length;
}
