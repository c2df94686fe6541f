/* In the place of error_text.c and graph.c where the details of reports are left out (-Dreport_details=false): an error is a
 * number, and a deadlock says how many tasks it has, not who waits for whom. */
#include "coro/task.h"
#include "reactor/text.h"

void rota__error_text(struct rota__text *t, int error) {
    rota__text_add(t, ": error ");
    rota__text_number(t, -error);
}

void rota__report_deadlock(rota_loop *loop, int kind) {
    char text[64];
    struct rota__text t;
    rota__text_init(&t, text, sizeof text);
    rota__text_add(&t, kind == ROTA_REPORT_DEADLOCK ? "deadlock, of tasks: " : "the loop closes over tasks: ");
    rota__text_number(&t, (int64_t)rota__tasks_of(loop)->live);
    rota__report(loop, kind, kind == ROTA_REPORT_DEADLOCK ? -EDEADLK : 0, NULL, NULL, text);
}
