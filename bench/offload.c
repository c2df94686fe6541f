/* A job for a thread and its result back: one at a time, which costs two wake-ups of sleeping threads, and a thousand
 * under way at once. The floor is a hand-written pair of lists under a mutex, with conditions that are signalled only
 * when the other side sleeps; what has finished is taken as a whole. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "rota.h"

enum { ALONE = 20000, TOGETHER = 1000000 };

static long operations(long depth) { return (depth == 1 ? ALONE : TOGETHER) / bench_divide; }

/* ---- floor ---- */

struct job {
    struct job *next;
    intptr_t (*fn)(void *arg);
    void *arg;
    intptr_t value;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER, results = PTHREAD_COND_INITIALIZER;
static struct job *queue, **queue_last, *finished, **finished_last;
static bool worker_sleeps, main_sleeps, ends;
static volatile intptr_t sink;

static intptr_t add_one(void *arg) { return (intptr_t)arg + 1; }

static void *worker(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!queue && !ends) {
            worker_sleeps = true;
            pthread_cond_wait(&work, &lock);
            worker_sleeps = false;
        }
        struct job *job = queue;
        if (!job)
            break;
        queue = job->next;
        if (!queue)
            queue_last = &queue;
        pthread_mutex_unlock(&lock);
        job->value = job->fn(job->arg);
        job->next = NULL;
        pthread_mutex_lock(&lock);
        *finished_last = job;
        finished_last = &job->next;
        if (main_sleeps)
            pthread_cond_signal(&results);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void submit(struct job *job) {
    job->next = NULL;
    pthread_mutex_lock(&lock);
    *queue_last = job;
    queue_last = &job->next;
    if (worker_sleeps)
        pthread_cond_signal(&work);
    pthread_mutex_unlock(&lock);
}

static struct job *take_finished(void) {
    pthread_mutex_lock(&lock);
    while (!finished) {
        main_sleeps = true;
        pthread_cond_wait(&results, &lock);
        main_sleeps = false;
    }
    struct job *all = finished;
    finished = NULL;
    finished_last = &finished;
    pthread_mutex_unlock(&lock);
    return all;
}

static double floor_offload(long depth) {
    struct job *jobs = calloc((size_t)depth, sizeof *jobs);
    pthread_t thread;
    queue = finished = NULL;
    queue_last = &queue;
    finished_last = &finished;
    ends = false;
    if (!jobs || pthread_create(&thread, NULL, worker, NULL) != 0)
        bench_die("the floor of offload");
    int64_t start = bench_now();
    long left = operations(depth);
    for (long i = 0; i < depth; i++) {
        jobs[i].fn = add_one;
        submit(&jobs[i]);
    }
    for (long done = 0; done < left;)
        for (struct job *job = take_finished(), *next; job; job = next) {
            next = job->next;
            sink = job->value;
            if (++done + depth <= left)
                submit(job);
        }
    double ns = (double)(bench_now() - start) / (double)left;
    pthread_mutex_lock(&lock);
    ends = true;
    pthread_cond_signal(&work);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    free(jobs);
    return ns;
}

/* ---- rota ---- */

static rota_executor *executor;
static long left_to_do, under_way;

static intptr_t offload_many(void *unused) {
    rota_offload_options opt = { .executor = executor };
    (void)unused;
    while (left_to_do-- > 0) {
        intptr_t value;
        int rc = rota_offload(add_one, NULL, &value, &opt);
        if (rc < 0)
            return rc;
        sink = value;
    }
    return 0;
}

static intptr_t tasks(void *ns) {
    rota_group group;
    rota_group_begin(&group, NULL);
    int64_t start = bench_now();
    int rc = 0;
    for (long i = 0; rc == 0 && i < under_way; i++)
        rc = rota_spawn(NULL, offload_many, NULL, &(rota_spawn_options){ .group = &group });
    intptr_t v = rota_group_end(&group, rc);
    *(int64_t *)ns = bench_now() - start;
    return v;
}

static double rota_offloads(long depth) {
    int64_t ns = 0;
    under_way = depth;
    left_to_do = operations(depth);
    if (rota_executor_new(&executor, &(rota_executor_options){ .threads = 1 }) < 0 ||
        rota_run(tasks, &ns, NULL, NULL) < 0)
        bench_die("rota_offload");
    rota_executor_free(executor);
    return (double)ns / (double)operations(depth);
}

const struct bench bench_offload[] = {
    { "offload", "offload_1", "ns", 1, { { "floor", floor_offload }, { "rota", rota_offloads } } },
    { "offload", "offload_1000", "ns", 1000, { { "floor", floor_offload }, { "rota", rota_offloads } } },
    { 0 },
};
