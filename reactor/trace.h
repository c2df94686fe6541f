/* Counters and the trace hook, from the inside: what the loop keeps, and how its files tell of events.
 *
 * loop->traced is what the places look at that must be as fast as they can be; most of them had a cold branch anyway
 * (debug mode, a foreign loop that sleeps), and share it through loop->watched and loop->on_push. */
#ifndef ROTA_REACTOR_TRACE_H
#define ROTA_REACTOR_TRACE_H

#include "rota/trace.h"

/* rota_counters holds the sums; here is what they are made of. */
struct rota__counts {
    uint64_t turns, polls, events, timers, callbacks, posts, jobs, refusals;
    uint64_t entered;       /* entries of the ready queue that the loop's own stack ran, */
    uint64_t entered_tasks; /* tasks among them (the rest were entered from other tasks) */
    uint64_t steps;         /* entries that left the ready queue, up to position steps_head of it */
    uint32_t steps_head;
    int64_t poll_began, waited;
};

/* Who listens: the user's hook, and the file. */
struct rota__trace_file;
struct rota__tracer {
    rota_trace_fn *fn;
    void *ctx;
    struct rota__trace_file *file;
};

/* Gives the event its time and tells whoever listens. Only while loop->traced. */
void rota__trace(rota_loop *loop, rota_trace_event *event);

/* What events that are made now say: the loop's clock, not only of this turn. */
int64_t rota__trace_time(const rota_loop *loop);

/* Debug mode or the listeners have changed. */
void rota__watched_changed(rota_loop *loop);

/* While loop->watched: an entry of the ready queue (run: its run_, while it was still queued), a timer. */
void rota__run_watched(rota_loop *loop, rota_ready *entry, void (*run)(rota_ready *));
void rota__fire_watched(rota_loop *loop, rota_timer *timer);

/* While loop->traced. */
void rota__trace_turn(rota_loop *loop);
void rota__trace_callback(rota_loop *loop, int kind, const char *what, const void *object, int64_t value);
void rota__trace_post(rota_loop *loop, const void *entry);
void rota__trace_job(rota_loop *loop, int kind);

/* While loop->watched: the kernel is about to be asked; it has answered. */
void rota__poll_begins(rota_loop *loop, int64_t timeout_ns);
void rota__poll_ended(rota_loop *loop, int n);

/* trace_file.c: for the loop's file; once it has one. Close: the first error that writing met; 0, and nothing done, when
 * there is no file. */
void rota__trace_from_environment(rota_loop *loop);
void rota__trace_file_event(rota_loop *loop, const rota_trace_event *event);
int rota__trace_file_close(rota_loop *loop, bool forked);
void rota__trace_forked(void);

#endif
