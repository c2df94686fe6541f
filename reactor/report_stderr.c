/* What happens to reports when nobody asked for them: a line on standard error, in one write so that lines of
 * several threads do not mix. */
#include <signal.h>

#include "reactor/loop.h"
#include "reactor/text.h"

/* Standard error may be a pipe that nobody reads any more: a report must not end the program by SIGPIPE. */
static void write_quietly(const char *line, size_t n) {
    sigset_t pipe, old, pending;
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)sigemptyset(&pending);
    if ((rota__sys->sigmask)(SIG_BLOCK, &pipe, &old) < 0)
        return;
    (void)rota__sys->sigpending(&pending);
    if (rota__sys->write(2, line, n) == -EPIPE && sigismember(&pending, SIGPIPE) != 1)
        (void)rota__sys->sigtake(&pipe);
    if (sigismember(&old, SIGPIPE) != 1)
        (void)(rota__sys->sigmask)(SIG_UNBLOCK, &pipe, NULL);
}

void rota__report_stderr(void *ctx, const rota_report *report) {
    char line[2048];
    struct rota__text t;
    (void)ctx;
    rota__text_init(&t, line, sizeof line - 1);
    rota__text_add(&t, "rota: ");
    rota__text_add(&t, report->text);
    size_t n = t.length < sizeof line - 2 ? t.length : sizeof line - 2;
    line[n++] = '\n';
    write_quietly(line, n);
}
