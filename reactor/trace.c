/* The counters and the trace hook: rota_loop_counters, rota_loop_set_trace, and what the files of the reactor tell of.
 *
 * Invariant: loop->traced is set exactly while somebody listens, loop->watched while that or debug mode is on (or tasks have
 * C++ exceptions of their own, see park.c); in no other case is anything here called but rota_loop_counters. Everything that happens is told once, by the place where
 * it happens, in the order in which it happens.
 * It must not know what a task is: upper->who fills in who runs.
 */
#include <string.h>

#include "reactor/loop.h"

/* ---- telling ---- */

int64_t rota__trace_time(const rota_loop *loop) { return loop->is_virtual ? loop->now : rota__sys_now(); }

void rota__trace(rota_loop *loop, rota_trace_event *event) {
    event->time = rota__trace_time(loop);
    if (loop->tracer.fn)
        loop->tracer.fn(loop->tracer.ctx, event);
    if (loop->tracer.file)
        rota__trace_file_event(loop, event);
}

void rota__watched_changed(rota_loop *loop) {
    loop->traced = loop->tracer.fn || loop->tracer.file;
    loop->watched = loop->debug || loop->traced || loop->options.cpp_exceptions;
    if (loop->budget > 0)
        loop->budget = 0; /* the next to leave comes by, and the count goes on as it must from there */
}

/* ---- what the loop does ---- */

void rota__trace_turn(rota_loop *loop) {
    size_t ready = rota__ready_count(&loop->ready);
    rota__trace(loop, &(rota_trace_event){ .kind = ROTA_TRACE_TURN, .value = (int64_t)ready });
}

void rota__poll_begins(rota_loop *loop, int64_t timeout_ns) {
    loop->counts.poll_began = rota__trace_time(loop);
    if (loop->traced)
        rota__trace(loop, &(rota_trace_event){ .kind = ROTA_TRACE_POLL_BEGIN, .value = timeout_ns });
}

void rota__poll_ended(rota_loop *loop, int n) {
    if (loop->counts.poll_began)
        loop->counts.waited += rota__trace_time(loop) - loop->counts.poll_began;
    loop->counts.poll_began = 0;
    if (loop->traced)
        rota__trace(loop, &(rota_trace_event){ .kind = ROTA_TRACE_POLL_END, .value = n });
}

void rota__trace_callback(rota_loop *loop, int kind, const char *what, const void *object, int64_t value) {
    if (loop->traced)
        rota__trace(loop, &(rota_trace_event){ .kind = kind, .what = what, .object = object, .value = value });
}

void rota__trace_post(rota_loop *loop, const void *entry) {
    rota__trace(loop, &(rota_trace_event){ .kind = ROTA_TRACE_POST, .object = entry });
}

void rota__trace_job(rota_loop *loop, int kind) {
    rota_trace_event event = { .kind = kind };
    if (loop->upper)
        loop->upper->who(loop, &event);
    rota__trace(loop, &event);
}

/* ---- what it calls ---- */

void rota__run_watched(rota_loop *loop, rota_ready *entry, void (*run)(rota_ready *)) {
    bool is_task = loop->upper && (run == loop->upper->run || run == loop->upper->begin);
    if (!loop->traced || entry == &loop->ready.hole) {
        run(entry);
    } else if (is_task) {
        loop->upper->enters(entry);
        run(entry);
    } else {
        const char *what = run == rota__post_run ? "a post" : "a soon-callback";
        rota__trace_callback(loop, ROTA_TRACE_CALLBACK_BEGIN, what, entry, 0);
        run(entry);
        rota__trace_callback(loop, ROTA_TRACE_CALLBACK_END, what, entry, 0);
    }
}

void rota__fire_watched(rota_loop *loop, rota_timer *timer) {
    void (*fn)(rota_timer *, void *) = timer->fn;
    if (loop->traced) {
        rota_trace_event fires = { .kind = ROTA_TRACE_TIMER, .object = timer, .value = loop->now - timer->deadline_ };
        rota__trace(loop, &fires);
    }
    rota__trace_callback(loop, ROTA_TRACE_CALLBACK_BEGIN, "a timer", timer, 0);
    fn(timer, timer->arg);
    rota__trace_callback(loop, ROTA_TRACE_CALLBACK_END, "a timer", timer, 0);
    if (loop->debug)
        rota__step_end(loop, (uintptr_t)fn);
}

/* ---- public ---- */

int rota_loop_set_trace(rota_loop *loop, rota_trace_fn *fn, void *ctx) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    loop->tracer.fn = fn;
    loop->tracer.ctx = ctx;
    rota__watched_changed(loop);
    if (fn && loop->upper)
        loop->upper->tell(loop, fn, ctx);
    return 0;
}

int rota_loop_counters(rota_loop *loop, rota_counters *counters) {
    int rc = counters ? rota__loop_check(loop) : -EINVAL;
    if (rc < 0)
        return rc;
    rota__count_steps(loop);
    const struct rota__counts *c = &loop->counts;
    uint64_t callbacks = c->entered - c->entered_tasks - loop->ready.holes;
    *counters = (rota_counters){
        .turns = c->turns, .polls = c->polls, .events = c->events, .timers = c->timers,
        .callbacks = c->callbacks + callbacks, .posts = c->posts, .jobs = c->jobs,
        .resumptions = c->steps - (c->entered - c->entered_tasks), .refusals = c->refusals, .waited = c->waited,
    };
    if (loop->upper)
        loop->upper->count(loop, counters);
    return 0;
}

/* One behind the other, in the order of their numbers, which begin at 1: no table of pointers. */
const char *rota_trace_kind(int kind) {
    static const char names[] = "task\0" "spawn\0" "end\0" "switch in\0" "switch out\0" "wake\0" "cancel\0" "refuse\0" "turn\0"
                                "poll begin\0" "poll end\0" "timer\0" "callback begin\0" "callback end\0" "post\0"
                                "job begin\0" "job end\0";
    const char *name = names;
    for (int i = 1; kind >= i && *name; i++) {
        if (i == kind)
            return name;
        name += strlen(name) + 1;
    }
    return "?";
}
