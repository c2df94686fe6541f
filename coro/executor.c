/* Thread executors: rota_executor_*, rota_offload.
 *
 * Who owns what. A job lies on the stack of the task that waits. It is in the queue, with one thread, or in the list
 * of those that have finished, and each of these links is read and written only under the executor's lock. A thread
 * copies what it needs of a job to its own stack before it lets go of the lock, so while the job's function runs the
 * thread touches nothing of the task's, and abandoning is cutting a link. Nothing is allocated for a job. (Before the
 * queue it may be held in its loop's port, where only that loop's thread reaches it: see submit.)
 *
 * A port stands between an executor and a loop that has jobs in it: the list of finished jobs, and the one entry
 * that is posted to the loop's inbox when that list stops being empty. So results that come close together cost one
 * wake-up, and the loop takes the whole list with one lock. Posting is done under the lock, and a loop passes
 * through the lock before it closes its inbox's end: whoever holds the lock may follow port->inbox.
 *
 * Idle threads stand in a list, last in first out, each in a nap of its own: whoever adds a job knows whether there is
 * somebody to wake, and a thread that is awake, or has been woken but does not run yet, costs no system call. Who is to
 * be woken is decided under the lock and done behind it, or it would wake up to wait for the lock.
 *
 * Threads are joined, so that nothing of them is left when close has returned, or the closing of the loop they
 * belonged to. There need not be room for all their numbers: one that ends joins the one that ended before it, and the
 * closer the last. A thread in an abandoned job ends when that does, and is detached.
 *
 * The executor is counted: its handle, each thread and each port hold it. It must not know what jobs do.
 */
#include "coro/executor.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "coro/nap.h"

enum { LOOP_THREADS = 4, ABANDONED_FACTOR = 4, QUEUE_DEFAULT = 1024, NAME_SIZE = 16 };
enum { MOST_HELD = 256, CACHE_LINE = 64, AHEAD = 16 };

struct thread;

enum job_state { WAITING, DRAINING, RUNNING, FINISHED, ABANDONED, LEFT };

/* Also a task in rota_executor_drain: one without a function, among the executor's drains until that is idle. What a
 * thread touches is one cache line: it has to come from another processor, and to go back there. */
struct job {
    struct rota__wait wait;            /* first: leave finds the rest by it */
    const struct rota__offload *offload;
    uint64_t flush;                    /* the port's next one when it came: before that one it is held, then queued */
    _Alignas(CACHE_LINE) struct job *next;
    struct job *ahead;                 /* some jobs behind this one in its list, to be fetched: may be gone by then */
    union {
        struct job **prev;             /* held, queued, draining or finished: in a list */
        struct thread *thread;         /* running */
    };
    union {
        rota_fn *fn;
        intptr_t value;                /* finished, without an error */
    };
    void *arg;
    struct rota__port *port;
    rota_task *task;
    int error;                         /* finished: 0, or why it never ran */
    uint8_t state;                     /* enum job_state */
    uint8_t place;                     /* among the latest ones of its list */
    bool abandon;
    bool over;                         /* nobody but the loop's thread touches it any more */
};

/* Walking a list of jobs waits at each for the cache line of another processor, and the next one's is known only then.
 * So whoever adds a job, and has the lines of those before it, notes it in the one some places before: from there it is
 * fetched while those in between are dealt with. */
struct jobs {
    struct job *first, **last;
    struct job *latest[AHEAD];         /* that are still in the list, in a ring; NULL */
    unsigned n_added;
};

struct rota__port {
    /* the loop's thread's */
    rota_executor *executor;
    struct rota__port *next;           /* to the other executors that the loop uses */
    size_t users;                      /* tasks in calls */
    struct jobs held;                  /* not queued yet */
    unsigned n_held;
    uint64_t flushes;                  /* ever: of what was held, into the queue */
    rota_ready flush;                  /* queued: it ends the round */
    char elsewhere[CACHE_LINE];        /* what follows is changed by threads, in a cache line of theirs */
    /* under the executor's lock */
    rota_ready ready;                  /* posted when something has finished */
    bool posted;
    struct jobs finished;
    struct rota__inbox *inbox;
    size_t running;                    /* jobs of this loop */
};

/* On a thread's own stack. */
struct thread {
    rota_executor *executor;
    struct thread *next;               /* among those asleep, or to be woken */
    struct rota__nap nap;
    struct job *job;                   /* NULL: nobody waits for what it does */
    rota_fn *fn;
    void *arg;
    void (*destroy)(void *arg);
    void (*discard)(intptr_t value, void *arg);
};

struct rota_executor {
    pthread_mutex_t lock;
    pthread_cond_t ended;              /* threads, or running jobs, have become fewer */
    unsigned closers;                  /* who wait for that */
    struct jobs queue, drains;
    struct thread *asleep, *woken;     /* woken: by whoever gives back the lock */
    size_t queued, running;            /* jobs that somebody waits for */
    unsigned n_asleep;
    unsigned threads;                  /* that work for somebody, or could */
    unsigned abandoned;                /* whose task went away in the middle of a job */
    unsigned max;
    bool closed;
    bool has_ended;                    /* a thread that nobody has joined yet: */
    pthread_t last_ended;
    size_t references;
    size_t limit;                      /* of the queue, for those who do not wait */
    size_t stack_size;
    char name[NAME_SIZE];
    unsigned forks;                    /* rota__forks when it was made */
    rota_allocator allocator;
    char elsewhere[CACHE_LINE];        /* what follows is read for every job, without the lock, and changes seldom */
    atomic_bool hungry;                /* a job that were queued now would start at once */
};

static _Thread_local struct thread *this_thread __attribute__((tls_model("initial-exec")));

/* Threads in abandoned jobs do not count against the limit, or a few jobs that hang (lookups at dead name servers)
 * would stop all others for as long; they have a limit of their own. */
static bool may_grow(const rota_executor *e) {
    return e->threads < e->max && e->threads + e->abandoned < e->max * (1 + (size_t)ABANDONED_FACTOR);
}

static void lock(rota_executor *e) { (void)pthread_mutex_lock(&e->lock); }

/* Before the lock is given back: could one more job start at once, on a thread that is free or can be made? */
static void note_hunger(rota_executor *e) {
    bool hungry = e->queued < e->threads - e->running || may_grow(e);
    if (atomic_load_explicit(&e->hungry, memory_order_relaxed) != hungry)
        atomic_store_explicit(&e->hungry, hungry, memory_order_relaxed);
}

/* Of threads that sleep until then; from then on they may be gone. */
static void end_naps(struct thread *woken) {
    for (struct thread *next; woken; woken = next) {
        next = woken->next;
        rota__nap_end(&woken->nap);
    }
}

static void unlock(rota_executor *e) {
    note_hunger(e);
    struct thread *woken = e->woken;
    e->woken = NULL;
    (void)pthread_mutex_unlock(&e->lock);
    end_naps(woken);
}

/* Under the lock, which it lets go meanwhile: until threads or running jobs may have become fewer. */
static void wait_for_end(rota_executor *e) {
    note_hunger(e);
    end_naps(e->woken);
    e->woken = NULL;
    e->closers++;
    (void)pthread_cond_wait(&e->ended, &e->lock);
    e->closers--;
}

/* ---- lists ---- */

/* The line that threads touch; the one before it is the task's own. */
static inline __attribute__((always_inline)) void fetch_ahead(const struct job *job) {
    if (job->ahead)
        __builtin_prefetch(&job->ahead->next, 1);
}

static void jobs_init(struct jobs *list) { *list = (struct jobs){ .last = &list->first }; }

static void jobs_add(struct jobs *list, struct job *job) {
    job->next = job->ahead = NULL;
    job->prev = list->last;
    *list->last = job;
    list->last = &job->next;
    job->place = list->n_added++ % AHEAD;
    struct job *before = list->latest[job->place];
    list->latest[job->place] = job;
    if (before)
        before->ahead = job;
}

/* Appends all of from, which is not empty, and leaves it empty. */
static void jobs_move(struct jobs *list, struct jobs *from) {
    from->first->prev = list->last;
    *list->last = from->first;
    list->last = from->last;
    jobs_init(from);
}

static void jobs_remove(struct jobs *list, struct job *job) {
    if (list->latest[job->place] == job)
        list->latest[job->place] = NULL;
    *job->prev = job->next;
    if (job->next)
        job->next->prev = job->prev;
    else
        list->last = job->prev;
}

/* ---- jobs that are over; all under the lock ---- */

/* Hands a job back to its loop. */
static void give_back(struct job *job, int error) {
    struct rota__port *port = job->port;
    job->state = FINISHED;
    job->error = error;
    jobs_add(&port->finished, job);
    if (!port->posted)
        port->posted = rota__inbox_post(port->inbox, &port->ready) == 0;
}

/* Jobs or threads have become fewer: was that what somebody waits for? */
static void settled(rota_executor *e) {
    if (e->closers)
        (void)pthread_cond_broadcast(&e->ended);
    if (e->queued + e->running > 0)
        return;
    while (e->drains.first) {
        struct job *drain = e->drains.first;
        jobs_remove(&e->drains, drain);
        give_back(drain, 0);
    }
}

static void unqueue(rota_executor *e, struct job *job) {
    jobs_remove(&e->queue, job);
    e->queued--;
}

/* Cuts the link between a running job and its thread. */
static void stop_running(rota_executor *e, struct job *job) {
    job->thread->job = NULL;
    job->port->running--;
    e->running--;
}

/* ---- threads ---- */

static void free_executor(rota_executor *e) {
    rota_allocator a = e->allocator;
    rota__free(&a, e, sizeof *e);
}

/* Under the lock, which it gives back. */
static void unref(rota_executor *e) {
    bool last = --e->references == 0;
    unlock(e);
    if (!last)
        return;
    (void)pthread_mutex_destroy(&e->lock);
    (void)pthread_cond_destroy(&e->ended);
    free_executor(e);
}

static void wake_one(rota_executor *e) {
    struct thread *t = e->asleep;
    e->asleep = t->next;
    e->n_asleep--;
    t->next = e->woken;
    e->woken = t;
}

static void sleep_until_woken(rota_executor *e, struct thread *t) {
    t->next = e->asleep;
    e->asleep = t;
    e->n_asleep++;
    unlock(e);
    rota__nap_take(&t->nap);
    lock(e);
}

/* Under the lock: the next job; false when the executor has been closed. */
static bool take_job(rota_executor *e, struct thread *t) {
    while (!e->queue.first && !e->closed)
        sleep_until_woken(e, t);
    struct job *job = e->queue.first;
    if (!job)
        return false;
    unqueue(e, job);
    e->running++;
    job->port->running++;
    job->state = RUNNING;
    job->thread = t;
    t->job = job;
    t->fn = job->fn;
    t->arg = job->arg;
    if (job->abandon) {
        t->destroy = job->offload->destroy;
        t->discard = job->offload->discard;
    }
    fetch_ahead(job);
    return true;
}

/* Under the lock: hands the value over. False when nobody waits for it any more. */
static bool answer(rota_executor *e, struct thread *t, intptr_t value) {
    struct job *job = t->job;
    if (!job)
        return false;
    stop_running(e, job);
    job->value = value;
    give_back(job, 0);
    settled(e);
    return true;
}

/* Under the lock, which it lets go meanwhile: ends an abandoned job. False: there is no place for its thread. */
static bool bury(rota_executor *e, struct thread *t, intptr_t value) {
    unlock(e);
    if (t->discard)
        t->discard(value, t->arg);
    if (t->destroy)
        t->destroy(t->arg);
    lock(e);
    e->abandoned--;
    if (e->threads >= e->max || e->closed)
        return false;
    e->threads++;
    return true;
}

/* Runs jobs until there is no more use for the thread. Under the lock, at both ends. False: it was abandoned. */
static bool work(rota_executor *e, struct thread *t) {
    while (take_job(e, t)) {
        unlock(e);
        intptr_t value = t->fn(t->arg);
        lock(e);
        if (!answer(e, t, value) && !bury(e, t, value))
            return false;
    }
    e->threads--;
    settled(e);
    return true;
}

/* Under the lock: the thread to be joined now, if there is one. */
static bool take_ended(rota_executor *e, pthread_t *thread) {
    bool has_ended = e->has_ended;
    *thread = e->last_ended;
    e->has_ended = false;
    return has_ended;
}

static void *thread_main(void *arg) {
    rota_executor *e = arg;
    struct thread self = { .executor = e };
    rota__sys_thread_name(e->name);
    this_thread = &self;
    rota__nap_open(&self.nap);
    pthread_t earlier;
    bool joins = false;
    lock(e);
    if (work(e, &self)) {
        joins = take_ended(e, &earlier);
        e->last_ended = pthread_self();
        e->has_ended = true;
    } else {
        (void)pthread_detach(pthread_self());
    }
    rota__nap_close(&self.nap);
    unref(e);
    if (joins)
        (void)rota__sys_thread_join(earlier);
    return NULL;
}

static int start_thread(rota_executor *e) {
    e->threads++;
    e->references++;
    pthread_t thread;
    int rc = rota__sys_thread(&thread, thread_main, e, e->stack_size);
    if (rc < 0) {
        e->threads--;
        e->references--;
    }
    return rc;
}

/* Under the lock: threads for what is queued, woken or made. One that was woken or made but does not run yet is as free
 * as its job is queued: the comparisons are right at any moment. 0, or the error of the last attempt to make one. */
static int need_threads(rota_executor *e) {
    int rc = 0;
    while (e->n_asleep && e->queued > e->threads - e->running - e->n_asleep)
        wake_one(e);
    while (rc == 0 && e->queued > e->threads - e->running && may_grow(e))
        rc = start_thread(e);
    return rc;
}

/* From now on nothing is queued, and threads that have nothing to do end. */
static void shut(rota_executor *e) {
    e->closed = true;
    while (e->queue.first) {
        struct job *job = e->queue.first;
        unqueue(e, job);
        give_back(job, -ESHUTDOWN);
    }
    while (e->asleep)
        wake_one(e);
    settled(e);
}

/* Under the lock, which it gives back: waits until there are no threads but those in abandoned jobs. */
static void join_threads(rota_executor *e) {
    pthread_t last;
    while (e->threads)
        wait_for_end(e);
    bool joins = take_ended(e, &last);
    unlock(e);
    if (joins)
        (void)rota__sys_thread_join(last);
}

/* ---- the loop's side ---- */

/* Step 1, on the loop's stack: wakes those whose jobs have finished. Nothing else of the loop's runs before it is
 * through, so none of them can leave meanwhile, and the lock is not needed. */
static void deliver(rota_ready *ready) {
    struct rota__port *port = rota__container_of(ready, struct rota__port, ready);
    lock(port->executor);
    struct job *job = port->finished.first;
    jobs_init(&port->finished);
    port->posted = false;
    unlock(port->executor);
    for (struct job *next; job; job = next) {
        next = job->next;
        fetch_ahead(job);
        job->over = true;
        (void)rota__wake(job->task, 0);
    }
}

/* Out of the list in which it waits to run, or for the executor to be idle. */
static void take_out(struct job *job) {
    struct rota__port *port = job->port;
    if (job->state == DRAINING) {
        jobs_remove(&port->executor->drains, job);
    } else if (job->flush < port->flushes) {
        unqueue(port->executor, job);
    } else {
        jobs_remove(&port->held, job);
        port->n_held--;
    }
}

/* Cancelled: what is still possible depends on how far the job is. */
static void leave(struct rota__wait *wait) {
    struct job *job = (struct job *)wait; /* its first member */
    rota_executor *e = job->port->executor;
    lock(e);
    job->over = job->state != RUNNING || job->abandon;
    if (job->state == FINISHED) {
        jobs_remove(&job->port->finished, job);
    } else if (job->state == RUNNING && job->abandon) {
        stop_running(e, job);
        job->state = ABANDONED;
        e->threads--;
        e->abandoned++;
        (void)need_threads(e); /* failing, those who wait are served by the threads there are */
    } else if (job->state != RUNNING) {
        take_out(job);
        job->state = LEFT;
    }
    settled(e);
    unlock(e);
}

/* Until the job is over. One that runs cannot be left: the wait for it goes on, and cannot be interrupted any more.
 * Was it cancelled? */
static inline __attribute__((always_inline)) bool wait_for(rota_task *task, struct job *job) {
    job->port->users++;
    rota__job_begin(task->loop);
    bool cancelled = rota__park(task, &job->wait) < 0;
    if (!job->over) {
        job->wait.leave = NULL;
        (void)rota__park(task, &job->wait);
    }
    rota__job_end(task->loop);
    job->port->users--;
    return cancelled;
}

/* Under the lock: queues what the port holds. Where that is in vain the answer comes as that of a job does. */
static void flush(struct rota__port *port) {
    rota_executor *e = port->executor;
    struct job *job;
    if (port->n_held > 0 && !e->closed) {
        e->queued += port->n_held;
        jobs_move(&e->queue, &port->held);
    }
    while ((job = port->held.first)) {
        jobs_remove(&port->held, job);
        give_back(job, -ESHUTDOWN);
    }
    port->n_held = 0;
    port->flushes++;
    int rc = need_threads(e);
    while (rc < 0 && e->queued && e->threads + e->abandoned == 0) {
        job = e->queue.first;
        unqueue(e, job);
        give_back(job, rc);
    }
}

static void flush_now(struct rota__port *port) {
    lock(port->executor);
    flush(port);
    unlock(port->executor);
}

/* Step 1, on the loop's stack, behind all that was ready when the first job was held. */
static void flush_later(rota_ready *ready) {
    struct rota__port *port = rota__container_of(ready, struct rota__port, flush);
    if (port->n_held)
        flush_now(port);
}

/* The first job of a round is queued at once if it could start at once. The others are held back until all that was
 * ready has run, to be queued under one lock, with one wake-up: a thousand tasks that are woken together mostly come
 * back together, and a thread that is woken for each of them falls asleep after each. */
static void submit(rota_task *task, struct job *job) {
    struct rota__port *port = job->port;
    bool first = !rota__ready_queued(&port->flush);
    jobs_add(&port->held, job);
    if (++port->n_held == MOST_HELD ||
        (first && atomic_load_explicit(&port->executor->hungry, memory_order_relaxed)))
        flush_now(port);
    if (first)
        rota__loop_push(task->loop, &port->flush);
}

/* For one that must not wait in line. */
static bool queue_is_full(struct rota__port *port) {
    rota_executor *e = port->executor;
    lock(e);
    flush(port);
    bool full = !e->closed && e->queued >= e->limit;
    unlock(e);
    return full;
}

/* ---- ports ---- */

/* Ports of executors that were closed go when another one is made, so that a loop does not collect them. */
static void sweep_ports(struct rota__tasks *tasks) {
    for (struct rota__port **at = &tasks->ports, *port; (port = *at);) {
        rota_executor *e = port->executor;
        lock(e);
        if (!e->closed || port->users || port->posted || rota__ready_queued(&port->flush)) {
            unlock(e);
            at = &port->next;
            continue;
        }
        *at = port->next;
        unref(e);
        rota__free(&tasks->loop->allocator, port, sizeof *port);
    }
}

static struct rota__port *new_port(struct rota__tasks *tasks, rota_executor *e) {
    struct rota__port *port = rota__alloc(&tasks->loop->allocator, sizeof *port);
    if (!port)
        return NULL;
    memset(port, 0, sizeof *port);
    port->ready.run_ = deliver;
    port->ready.hint_ = port;
    port->flush.run_ = flush_later;
    port->flush.hint_ = port;
    jobs_init(&port->held);
    port->inbox = tasks->loop->inbox;
    port->executor = e;
    jobs_init(&port->finished);
    lock(e);
    e->references++;
    unlock(e);
    sweep_ports(tasks);
    port->next = tasks->ports;
    tasks->ports = port;
    return port;
}

static int own_executor(rota_loop *loop, rota_executor **e) {
    struct rota__tasks *tasks = rota__tasks_of(loop);
    /* malloc, not the loop's allocator: threads in abandoned jobs hold it after the loop has gone, and with it the
     * memory that a caller's allocator hands out. */
    rota_executor_options opt = { .threads = loop->options.threads ? loop->options.threads : LOOP_THREADS };
    int rc = tasks->executor ? 0 : rota_executor_new(&tasks->executor, &opt);
    *e = tasks->executor;
    return rc;
}

/* Also when the loop could not end its tasks, because polling failed: what they have queued never runs, and what
 * runs is waited for, since it works on their memory. */
static void close_port(struct rota__port *port) {
    rota_executor *e = port->executor;
    lock(e);
    for (struct job *job = e->queue.first, *next; job; job = next) {
        next = job->next;
        if (job->port == port)
            unqueue(e, job);
    }
    for (struct job *job = e->drains.first, *next; job; job = next) {
        next = job->next;
        if (job->port == port)
            jobs_remove(&e->drains, job);
    }
    while (port->running)
        wait_for_end(e);
    settled(e);
    unref(e);
}

/* The loop has closed, all its tasks have ended: it lets go of the executors it used, and its own one ends, with
 * its threads. Waits for no abandoned job. */
static void leave_executors(rota_loop *loop) {
    struct rota__tasks *tasks = rota__tasks_of(loop);
    /* In a child after fork the threads do not exist, and one may have held a lock. */
    bool forked = loop->forks != rota__forks;
    struct rota__port *port;
    while ((port = tasks->ports)) {
        tasks->ports = port->next;
        if (!forked)
            close_port(port);
        rota__free(&loop->allocator, port, sizeof *port);
    }
    if (!tasks->executor)
        return;
    (void)rota_executor_free(tasks->executor);
    tasks->executor = NULL;
}

/* The loop's port to an executor; made if there is none. */
static __attribute__((noinline)) int find_port_slowly(rota_loop *loop, rota_executor *e, struct rota__port **out) {
    struct rota__tasks *tasks = rota__tasks_of(loop);
    tasks->leave_executors = leave_executors;
    int rc = e ? 0 : own_executor(loop, &e);
    if (rc < 0)
        return rc;
    if (e->forks != rota__forks)
        return -EINVAL;
    struct rota__port *port = tasks->ports;
    while (port && port->executor != e)
        port = port->next;
    *out = port ? port : new_port(tasks, e);
    return *out ? 0 : -ENOMEM;
}

/* The same: mostly it is the latest one. */
static inline int find_port(rota_loop *loop, rota_executor *e, struct rota__port **out) {
    struct rota__port *latest = rota__tasks_of(loop)->ports;
    if (ROTA__FOR_SIZE || !e || !latest || latest->executor != e || e->forks != rota__forks)
        return find_port_slowly(loop, e, out);
    *out = latest;
    return 0;
}

/* ---- the calls ---- */

/* In line where speed counts: a frame less between a task and where it stops is two cache lines less when it goes on. */
static inline __attribute__((always_inline)) int offload_here(rota_task *task, struct rota__offload *offload,
                                                              intptr_t *value) {
    struct rota__port *port;
    offload->abandoned = offload->cancelled = false;
    int rc = find_port(task->loop, offload->executor, &port);
    if (rc == 0 && offload->no_wait && queue_is_full(port))
        rc = -EAGAIN;
    if (rc < 0)
        return rc;
    struct job job = {
        .wait = { .what = offload->what, .on = offload->on, .task = task, .until = ROTA_FOREVER, .leave = leave },
        .offload = offload, .fn = offload->fn, .arg = offload->arg, .port = port, .task = task,
        .abandon = offload->abandon, .state = WAITING, .flush = port->flushes,
    };
    submit(task, &job);
    offload->cancelled = wait_for(task, &job);
    offload->abandoned = job.state == ABANDONED;
    *value = job.value;
    return job.state == FINISHED ? job.error : -ECANCELED;
}

int rota__offload(rota_task *task, struct rota__offload *offload, intptr_t *value) {
    return offload_here(task, offload, value);
}

int rota_offload(rota_fn *fn, void *arg, intptr_t *result, const rota_offload_options *opt) {
    static const rota_offload_options defaults;
    rota_task *task;
    intptr_t value = 0;
    opt = opt ? opt : &defaults;
    struct rota__offload offload = {
        .fn = fn, .arg = arg, .executor = opt->executor, .what = "a job in a thread", .on = opt->executor,
        .no_wait = opt->no_wait, .abandon = opt->abandon, .destroy = opt->destroy, .discard = opt->discard,
    };
    int rc = fn ? rota__enter(&task) : -EINVAL;
    if (rc == 0)
        rc = ROTA__FOR_SIZE ? rota__offload(task, &offload, &value) : offload_here(task, &offload, &value);
    if (opt->destroy && !offload.abandoned)
        opt->destroy(arg);
    return rota__two_channels(rc, value, result);
}

static unsigned most_threads(unsigned wanted) {
    long n = wanted ? (long)wanted : rota__sys_processors();
    return n < 1 ? 1 : n > INT32_MAX ? INT32_MAX : (unsigned)n;
}

static int init_locks(rota_executor *e) {
    int rc = pthread_mutex_init(&e->lock, NULL);
    if (rc != 0)
        return -rc;
    rc = pthread_cond_init(&e->ended, NULL);
    if (rc != 0)
        (void)pthread_mutex_destroy(&e->lock);
    return -rc;
}

int rota_executor_new(rota_executor **out, const rota_executor_options *opt) {
    static const rota_executor_options defaults;
    if (!out)
        return -EINVAL;
    *out = NULL;
    opt = opt ? opt : &defaults;
    const rota_allocator *a = opt->allocator ? opt->allocator : &rota__malloc;
    if (!a->alloc || (opt->stack_size && rota__sys_thread_stack(opt->stack_size) < 0))
        return -EINVAL;
    rota_executor *e = rota__alloc(a, sizeof *e);
    if (!e)
        return -ENOMEM;
    memset(e, 0, sizeof *e);
    int rc = init_locks(e);
    if (rc < 0) {
        rota__free(a, e, sizeof *e);
        return rc;
    }
    jobs_init(&e->queue);
    jobs_init(&e->drains);
    e->max = most_threads(opt->threads);
    e->limit = opt->queue ? opt->queue : QUEUE_DEFAULT;
    e->stack_size = opt->stack_size;
    (void)strncpy(e->name, opt->name ? opt->name : "rota", sizeof e->name - 1);
    e->allocator = *a;
    e->references = 1;
    atomic_init(&e->hungry, true);
    rota__watch_forks();
    e->forks = rota__forks;
    *out = e;
    return 0;
}

int rota_executor_drain(rota_executor *e) {
    rota_task *task;
    struct rota__port *port;
    int rc = e ? rota__enter(&task) : -EINVAL;
    if (rc == 0)
        rc = find_port(task->loop, e, &port);
    if (rc < 0)
        return rc;
    struct job drain = {
        .wait = { .what = "a thread executor to be idle", .on = e, .task = task, .until = ROTA_FOREVER,
                  .leave = leave },
        .port = port, .task = task, .state = DRAINING,
    };
    lock(e);
    flush(port);
    bool busy = e->queued + e->running > 0;
    if (busy)
        jobs_add(&e->drains, &drain);
    unlock(e);
    if (busy)
        (void)wait_for(task, &drain);
    else
        rota__fast(task);
    return !busy || drain.state == FINISHED ? 0 : -ECANCELED;
}

int rota_executor_close(rota_executor *e) {
    if (!e)
        return -EINVAL;
    if (e->forks != rota__forks)
        return 0;
    if (this_thread && this_thread->executor == e)
        return -EDEADLK;
    lock(e);
    shut(e);
    join_threads(e);
    return 0;
}

int rota_executor_free(rota_executor *e) {
    int rc = e ? rota_executor_close(e) : 0;
    if (!e || rc < 0)
        return rc;
    if (e->forks != rota__forks) {
        free_executor(e);
    } else {
        lock(e);
        unref(e);
    }
    return 0;
}
