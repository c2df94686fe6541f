/* In the place of trace_file.c where that is left out (-Dtrace_file=false): who wants a file is told that there is none.
 * Counters and the hook of rota_loop_set_trace work as ever. */
#include "reactor/loop.h"

void rota__trace_from_environment(rota_loop *loop) {
    if (rota__env_trace())
        rota__report(loop, ROTA_REPORT_TRACE, -ENOTSUP, NULL, NULL,
                     "ROTA_TRACE is ignored: rota was built with -Dtrace_file=false");
}

void rota__trace_file_event(rota_loop *loop, const rota_trace_event *event) { (void)loop, (void)event; }

int rota__trace_file_close(rota_loop *loop, bool forked) { return (void)loop, (void)forked, 0; }

void rota__trace_forked(void) {}

int rota_trace_to_file(rota_loop *loop, const char *path) {
    int rc = rota__loop_check(loop);
    return rc < 0 || !path ? rc : -ENOTSUP;
}
