/* What the generated calls are made with: one sound object of each type. */
#ifndef ROTA_TESTS_INVALID_KIT_H
#define ROTA_TESTS_INVALID_KIT_H

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "rota.h"

struct kit {
    rota_loop *loop, *new_loop;
    rota_task *task, *new_task;
    rota_remote *remote, *new_remote;
    rota_co *co, *new_co;
    rota_executor *executor, *new_executor;
    rota_thread_queue *thread_queue, *new_thread_queue;
    rota_workers *workers, *new_workers;
    rota_worker_job worker_job;
    rota_future future;
    rota_done done;
    rota_scope scope;
    rota_group group;
    rota_call call;
    rota_clause clause;
    rota_then then;
    rota_local local;
    rota_as_completed as_completed;
    rota_as_completed_slot as_completed_slot;
    rota_stream stream;
    rota_stream_transport transport;
    rota_address address;
    rota_signals signals;
    rota_soon soon;
    rota_timer timer;
    rota_ticker ticker;
    rota_watcher watcher;
    rota_signal signal;
    rota_child child;
    rota_event event;
    rota_mutex mutex;
    rota_cond cond;
    rota_sem sem;
    rota_rwlock rwlock;
    rota_barrier barrier;
    rota_latch latch;
    rota_queue queue;
    rota_counters counters;
    rota_process process;
    rota_process_output process_output;
    rota_peer peer;
    rota_dns dns;
    rota_gen gen;
    rota_file_listing file_listing;
    rota_file_data file_data;
    const rota_dns_record *records;
    rota_at at;
    int fd, listener, ints[2];
    intptr_t value;
    size_t size;
    int64_t offset;
    const char *text;
    char *argv[2];
    struct iovec iov;
    struct msghdr msg;
    struct stat st;
    _Alignas(16) char bytes[1024];
};

/* What a call answers when it is refused: a negative errno, or zero, NULL and false; or it has no answer. */
enum { ERROR, ZERO, VOID };

struct call {
    const char *name;
    intptr_t (*make)(struct kit *kit, int null);  /* with that pointer NULL; -1: with none */
    int answers;
    enum { NEVER, CLOSED, ALWAYS } free;           /* may succeed: when its loop has closed, also on any thread */
    int n;
    struct { const char *name; bool optional; } pointers[8];
};
extern const struct call calls[];
extern const size_t n_calls;

static inline intptr_t body(void *arg) { return arg != NULL; }
static inline intptr_t co_body(rota_co *self, void *arg) { return self && arg; }
static inline intptr_t gen_body(rota_gen *self, void *arg) { return self && arg; }
static inline intptr_t client(int fd, void *arg) { return fd && arg; }
static inline intptr_t worker(const void *in, size_t in_n, void *out, size_t out_size, size_t *out_n) {
    (void)in_n, (void)out_size;
    *out_n = 0;
    return in && out;
}
static inline int each_task(void *ctx, rota_task *task, const rota_task_info *info) { return ctx && task && info && 0; }
static inline void trace(void *ctx, const struct rota_trace_event *event) { (void)ctx, (void)event; }

#endif
