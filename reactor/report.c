/* Reports: the one way in which the library speaks up. */
#include "reactor/loop.h"
#include "reactor/text.h"

void rota__report(rota_loop *loop, int kind, int error, const char *task, const rota_at *at, const char *text) {
    rota_report report = { kind, error, task, text, { NULL, 0 } };
    if (at)
        report.at = *at;
    loop->report(loop->report_ctx, &report);
}

void rota__report_environment(const rota_loop_options *opt, const char *variable, const char *value,
                              const char *verdict, const char *const *known) {
    char line[256];
    struct rota__text t;
    rota__text_init(&t, line, sizeof line);
    rota__text_add(&t, variable);
    rota__text_add(&t, "=");
    rota__text_add(&t, value);
    rota__text_add(&t, verdict);
    for (; *known; known++) {
        rota__text_add(&t, " ");
        rota__text_add(&t, *known);
    }
    rota_report report = { ROTA_REPORT_ENVIRONMENT, -EINVAL, NULL, line, { NULL, 0 } };
    (opt->report ? opt->report : rota__report_stderr)(opt->report_ctx, &report);
}

static void report_slow_callback(rota_loop *loop, uintptr_t fn, int64_t ns) {
    char line[128];
    struct rota__text t;
    rota__text_init(&t, line, sizeof line);
    rota__text_add(&t, "the callback at ");
    rota__text_hex(&t, fn);
    rota__text_add(&t, " blocked the loop for ");
    rota__text_number(&t, ns / ROTA_MS);
    rota__text_add(&t, " ms");
    rota__report(loop, ROTA_REPORT_SLOW, 0, NULL, NULL, line);
}

void rota__step_end(rota_loop *loop, uintptr_t fn) {
    int64_t now = rota__sys_now();
    int64_t took = loop->step_began ? now - loop->step_began : 0; /* 0: debug mode was turned on in this step */
    int64_t limit = loop->options.slow_step > 0 ? loop->options.slow_step : 100 * ROTA_MS;
    if (took > limit && fn)
        report_slow_callback(loop, fn, took);
    else if (took > limit && loop->upper)
        loop->upper->slow(loop, took);
    loop->step_began = rota__sys_now(); /* reporting may have been slow itself */
}
