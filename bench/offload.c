/* A function run in a thread (one thread), waited for by the loop: ns for each, one after the other and with 1,000 under
 * way. The floor hands items to a thread and back through two raw queues. */
#include <pthread.h>
#include <stdlib.h>

#include "bench.h"
#include "raw_queue.h"
#include "rota.h"

enum { JOBS_1 = 50000, JOBS_1000 = 1000000 };

static long jobs(long depth) { return (depth > 1 ? JOBS_1000 : JOBS_1) / bench_divide; }

static __attribute__((noinline)) intptr_t nothing(void *arg) { return (intptr_t)arg; }

/* ---- floor ---- */

struct job {
    struct raw_item item; /* first */
    intptr_t (*fn)(void *);
    intptr_t result;
};

static struct raw_queue todo, done;

static void *worker(void *arg) {
    for (long left = *(long *)arg; left > 0;)
        for (struct raw_item *i = raw_take(&todo), *next; i; i = next, left--) {
            struct job *j = (struct job *)i;
            next = i->next;
            j->result = j->fn(NULL);
            raw_put(&done, i);
        }
    return NULL;
}

static double floor_offload(long depth) {
    struct job *all = calloc((size_t)depth, sizeof *all);
    long n = jobs(depth), sent = 0, back = 0;
    pthread_t thread;
    raw_open(&todo);
    raw_open(&done);
    if (pthread_create(&thread, NULL, worker, &n) != 0)
        bench_die("pthread_create");
    int64_t start = bench_now();
    for (; sent < depth && sent < n; sent++) {
        all[sent].fn = nothing;
        raw_put(&todo, &all[sent].item);
    }
    while (back < n)
        for (struct raw_item *i = raw_take(&done), *next; i; i = next) {
            next = i->next;
            back++;
            if (sent < n) {
                sent++;
                raw_put(&todo, i);
            }
        }
    double ns = (double)(bench_now() - start) / (double)n;
    pthread_join(thread, NULL);
    raw_close(&todo);
    raw_close(&done);
    free(all);
    return ns;
}

/* ---- rota ---- */

static long left;

static intptr_t offloader(void *executor) {
    rota_offload_options opt = { .executor = executor };
    while (left-- > 0)
        if (rota_offload(nothing, NULL, NULL, &opt) < 0)
            bench_die("rota_offload");
    return 0;
}

static intptr_t offload_all(void *arg) {
    long depth = *(long *)arg;
    rota_executor *executor;
    rota_group g;
    if (rota_executor_new(&executor, &(rota_executor_options){ .threads = 1 }) < 0)
        bench_die("rota_executor_new");
    left = jobs(depth);
    rota_group_begin(&g, NULL);
    int64_t start = bench_now();
    for (long i = 0; i < depth; i++)
        if (rota_spawn(NULL, offloader, executor, &(rota_spawn_options){ .group = &g }) < 0)
            bench_die("rota_spawn");
    if (rota_group_end(&g, 0) < 0)
        return -EIO;
    int64_t ns = bench_now() - start;
    rota_executor_free(executor);
    return (intptr_t)ns;
}

static double rota_offloads(long depth) {
    intptr_t ns;
    if (rota_run(offload_all, &depth, &ns, NULL) < 0 || rota_failed(ns))
        bench_die("rota_run");
    return (double)ns / (double)jobs(depth);
}

const struct bench bench_offload[] = {
    { "offload", "offload_1", "ns", 1, { { "floor", floor_offload }, { "rota", rota_offloads } },
      "one function, which returns at once, run in another thread and waited for; 1 under way" },
    { "offload", "offload_1000", "ns", 1000, { { "floor", floor_offload }, { "rota", rota_offloads } },
      "one function, which returns at once, run in another thread and waited for; 1,000 under way" },
    { 0 }
};
