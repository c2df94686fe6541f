/* Process executors: rota_workers_new, call, drain, close, free.
 *
 * Who owns what. A job lies on the stack of the task that waits; it is in the queue, with one worker, or finished. A
 * worker has at most one job, and is idle, starting (until it says that it is ready), busy, or lost: its socket has
 * ended, another one has taken its place, and it is kept until the server says how it ended. Everything happens on the
 * loop's thread, and nothing is allocated for a job.
 *
 * Bytes of small jobs go along with the message, read and written in place. Large ones are written to the worker's
 * shared file, and read from it, by the task itself, in pieces between which the loop goes on. Written and not mapped
 * here: a file that cannot grow is an error then, where a store to memory would be a signal. While its task copies
 * (LOADING, UNLOADING), a worker that dies is only marked, and the task sees to it.
 *
 * A job that was sent to a worker may have been begun or not when that dies; the worker notes in the shared file what
 * it begins. So what was not begun goes to another worker, and nothing runs twice. Rejected: an answer "begun" for each
 * job, which would wake the loop twice.
 *
 * It must not know how workers are forked (fork_server.c), nor what they do with a job (worker.c).
 */
#include "coro/workers.h"

#include <signal.h>
#include <string.h>

#include "coro/fd.h"

enum { QUEUE_DEFAULT = 1024, BYTES_DEFAULT = 1 << 30, PIECE = 1 << 20, ROOM_KEPT = 4 << 20, MOST_TRIES = 3 };

enum job_state { QUEUED, LOADING, RUNNING, UNLOADING, FINISHED };

struct job {
    struct rota__wait wait;            /* first: leave finds the rest by it */
    struct job *next, **prev;          /* in the queue */
    rota_workers *workers;
    rota_worker_job *call;
    struct worker *worker;
    enum job_state state;
    bool cancelled;                    /* but it runs */
    unsigned tries;                    /* workers that it was given to, and that ended before it began */
    int error;
    intptr_t value;
};

struct worker {
    struct worker *next, **prev;       /* of all */
    struct worker *next_idle;
    rota_workers *workers;
    int jobs, link, shared;
    rota_watcher reads, writes, ends;  /* jobs, jobs, link */
    bool ready, lost;
    bool gone;                         /* has ended while its task copied */
    int error, status;                 /* how it ended; why it was never ready */
    struct job *job;
    uint64_t number;                   /* of the job */
    size_t sent, got, room;
    unsigned char request[ROTA__MESSAGE_HEAD], answer[ROTA__MESSAGE_HEAD];
};

struct rota_workers {
    rota_loop *loop;                   /* NULL: it has been closed */
    struct rota__owned owned;
    struct worker *all, *idle;
    struct job *first, **last;         /* the queue */
    size_t queued, running;            /* jobs */
    unsigned n, starting, max;         /* workers that are not lost; of these, not yet ready */
    unsigned stillborn;                /* in a row, since the last call */
    size_t limit, max_bytes;
    struct rota__wait *drains;
    size_t users;                      /* tasks in calls */
    bool closed, freed;
    rota_allocator allocator;
};

static void pump(rota_workers *w);

/* ---- jobs ---- */

static void queue_last(rota_workers *w, struct job *job) {
    job->state = QUEUED;
    job->next = NULL;
    job->prev = w->last;
    *w->last = job;
    w->last = &job->next;
    w->queued++;
}

static void queue_first(rota_workers *w, struct job *job) {
    job->state = QUEUED;
    job->next = w->first;
    job->prev = &w->first;
    if (job->next)
        job->next->prev = &job->next;
    else
        w->last = &job->next;
    w->first = job;
    w->queued++;
}

static void unqueue(rota_workers *w, struct job *job) {
    *job->prev = job->next;
    if (job->next)
        job->next->prev = job->prev;
    else
        w->last = job->prev;
    w->queued--;
}

/* Jobs have become fewer. */
static void settled(rota_workers *w) {
    if (w->queued + w->running > 0)
        return;
    while (rota__wake_first(&w->drains, 0))
        ;
}

/* Its task runs already, or will. */
static void finish(struct job *job, int error) {
    job->state = FINISHED;
    job->error = error;
    (void)rota__wake(job->wait.task, 0);
}

static void fail_queue(rota_workers *w, int error) {
    while (w->first) {
        struct job *job = w->first;
        unqueue(w, job);
        finish(job, error);
    }
    settled(w);
}

static bool is_large(const rota_worker_job *call) {
    return call->in_n > ROTA__WORKER_INLINE || call->out_size > ROTA__WORKER_INLINE;
}

/* ---- workers come and go ---- */

static void unwatch(rota_loop *loop, rota_watcher *watcher) {
    if (watcher->state_)
        rota__unwatch(loop, watcher);
}

/* loop: the one they belong to, or belonged to until it was closed. */
static void destroy(rota_loop *loop, struct worker *k) {
    rota_workers *w = k->workers;
    const int fds[] = {k->jobs, k->link, k->shared};
    unwatch(loop, &k->reads);
    unwatch(loop, &k->writes);
    unwatch(loop, &k->ends);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            (void)rota__fd_close(loop, fds[i]);
    *k->prev = k->next;
    if (k->next)
        k->next->prev = k->prev;
    rota__free(&w->allocator, k, sizeof *k);
}

static void leave_idle(rota_workers *w, const struct worker *k) {
    struct worker **at = &w->idle;
    while (*at && *at != k)
        at = &(*at)->next_idle;
    if (*at)
        *at = k->next_idle;
}

/* It counts no more. */
static void discount(struct worker *k) {
    rota_workers *w = k->workers;
    k->lost = true;
    w->n--;
    w->starting -= !k->ready;
    leave_idle(w, k);
}

/* Ends it, whatever it does: the server kills it when the link ends. By shutdown, because a child that the program has
 * forked may hold copies. */
static void end(rota_loop *loop, struct worker *k) {
    if (!k->lost)
        discount(k);
    (void)rota__sys_shutdown(k->link, SHUT_RDWR);
    (void)rota__sys_shutdown(k->jobs, SHUT_RDWR);
    destroy(loop, k);
}

static void on_answer(rota_watcher *watcher, unsigned ready, void *arg);
static void on_room(rota_watcher *watcher, unsigned ready, void *arg);
static void on_end(rota_watcher *watcher, unsigned ready, void *arg);

/* The worker's ends of what connects us. */
static int connect_worker(struct worker *k, int theirs[ROTA__BIRTH_FDS]) {
    int pair[2];
    int rc = rota__sys_socketpair(SOCK_STREAM, pair);
    if (rc < 0)
        return rc;
    k->link = pair[0];
    theirs[ROTA__BIRTH_LINK] = pair[1];
    rc = rota__sys_socketpair(SOCK_STREAM, pair);
    if (rc < 0)
        return rc;
    k->jobs = pair[0];
    theirs[ROTA__BIRTH_JOBS] = pair[1];
    rc = rota__sys_set_nonblocking(pair[1], 0); /* the worker has nothing else to do than wait */
    if (rc < 0)
        return rc;
    k->shared = rc = rota__sys_shared_file();
    theirs[ROTA__BIRTH_SHARED] = k->shared;
    if (rc < 0)
        return rc;
    k->room = ROTA__SHARED_HEAD;
    return rota__sys_ftruncate(k->shared, ROTA__SHARED_HEAD);
}

static int watch_worker(rota_loop *loop, struct worker *k) {
    rota__fd_fresh(loop, k->jobs, ROTA__FD_SOCKET, ROTA__FD_NONBLOCKING);
    rota__fd_fresh(loop, k->link, ROTA__FD_SOCKET, ROTA__FD_NONBLOCKING);
    rota__fd_fresh(loop, k->shared, ROTA__FD_FILE, 0);
    rota_watcher_init(&k->reads, k->jobs, ROTA_READ, on_answer, k);
    rota_watcher_init(&k->writes, k->jobs, ROTA_WRITE, on_room, k);
    rota_watcher_init(&k->ends, k->link, ROTA_READ, on_end, k);
    int rc = rota__watch_aside(loop, &k->reads);
    return rc < 0 ? rc : rota__watch_aside(loop, &k->ends);
}

static int start(rota_workers *w) {
    int theirs[ROTA__BIRTH_FDS] = {-1, -1, -1};
    struct worker *k = rota__alloc(&w->allocator, sizeof *k);
    if (!k)
        return -ENOMEM;
    memset(k, 0, sizeof *k);
    k->workers = w;
    k->jobs = k->link = k->shared = -1;
    k->status = -1;
    k->next = w->all;
    k->prev = &w->all;
    if (k->next)
        k->next->prev = &k->next;
    w->all = k;
    int rc = connect_worker(k, theirs);
    if (rc == 0)
        rc = watch_worker(w->loop, k);
    if (rc == 0)
        rc = rota__fork_worker(theirs);
    for (int i = ROTA__BIRTH_LINK; i <= ROTA__BIRTH_JOBS; i++)
        if (theirs[i] >= 0)
            (void)rota__sys_close(theirs[i]);
    if (rc < 0) {
        destroy(w->loop, k);
        return rc;
    }
    w->n++;
    w->starting++;
    return 0;
}

/* Its socket has ended, or it says what no worker says (a job may do anything with its descriptors). How it ends is to
 * come. Another one takes its place at once; but not that of one that never had a job: what ended it would end that one
 * too, and so on for ever. */
static void lose(struct worker *k) {
    rota_workers *w = k->workers;
    if (k->lost)
        return;
    w->stillborn += !k->ready;
    discount(k);
    unwatch(w->loop, &k->reads);
    unwatch(w->loop, &k->writes);
    (void)rota__sys_shutdown(k->link, SHUT_WR);
    if (k->number > 0 && !w->closed)
        (void)start(w); /* failing, the next job says why */
}

/* ---- to the worker ---- */

/* The rest of the request, with the input if that is small. */
static void send_rest(struct worker *k) {
    const rota_worker_job *call = k->job->call;
    size_t in_n = call->in_n > ROTA__WORKER_INLINE ? 0 : call->in_n;
    ssize_t r = 0;
    while (k->sent < ROTA__MESSAGE_HEAD + in_n) {
        size_t head = k->sent < ROTA__MESSAGE_HEAD ? ROTA__MESSAGE_HEAD - k->sent : 0;
        size_t body = k->sent + head - ROTA__MESSAGE_HEAD;
        struct iovec iov[2] = {
            {k->request + ROTA__MESSAGE_HEAD - head, head},
            {in_n ? (char *)(uintptr_t)call->in + body : NULL, in_n - body},
        };
        struct msghdr msg;
        memset(&msg, 0, sizeof msg);
        msg.msg_iov = head ? iov : iov + 1;
        msg.msg_iovlen = 1 + (head && in_n);
        r = rota__sys_sendmsg(k->jobs, &msg, MSG_DONTWAIT);
        if (r < 0 && r != -EINTR)
            break;
        k->sent += r > 0 ? (size_t)r : 0;
    }
    if (r == -EAGAIN && (k->writes.state_ || rota__watch_aside(k->workers->loop, &k->writes) == 0))
        return;
    unwatch(k->workers->loop, &k->writes);
    if (r < 0)
        lose(k);
}

static void on_room(rota_watcher *watcher, unsigned ready, void *arg) {
    struct worker *k = arg;
    rota_workers *w = k->workers;
    (void)watcher, (void)ready;
    if (k->job && k->job->state == RUNNING)
        send_rest(k);
    pump(w);
}

static void begin(struct worker *k) {
    const rota_worker_job *call = k->job->call;
    struct rota__worker_request request = {
        .number = ++k->number, .fn = call->fn, .in_n = call->in_n, .out_size = call->out_size, .room = k->room,
    };
    memcpy(k->request, &request, sizeof request);
    k->sent = k->got = 0;
    k->job->state = RUNNING;
    if (!k->lost)
        send_rest(k);
}

static void assign(struct worker *k, struct job *job) {
    rota_workers *w = k->workers;
    w->idle = k->next_idle;
    unqueue(w, job);
    w->running++;
    k->job = job;
    job->worker = k;
    if (is_large(job->call)) {
        job->state = LOADING;
        (void)rota__wake(job->wait.task, 0);
    } else {
        begin(k);
    }
}

/* ---- from the worker ---- */

static void let_go(struct worker *k) {
    k->job->worker = NULL;
    k->job = NULL;
    k->workers->running--;
}

/* The worker is free for another job. */
static void release(struct worker *k) {
    rota_workers *w = k->workers;
    let_go(k);
    if (w->closed) {
        lose(k);
    } else if (!k->lost) {
        k->next_idle = w->idle;
        w->idle = k;
    }
}

static void is_ready(struct worker *k, const struct rota__worker_answer *a) {
    rota_workers *w = k->workers;
    k->got = 0;
    if (a->error) {
        k->error = a->error;
        lose(k);
        return;
    }
    k->ready = true;
    w->stillborn = 0;
    w->starting--;
    k->next_idle = w->idle;
    w->idle = k;
}

static void is_answered(struct worker *k, const struct rota__worker_answer *a) {
    rota_workers *w = k->workers;
    struct job *job = k->job;
    k->got = 0;
    job->value = a->value;
    job->call->out_n = a->out_n;
    if (a->out_n && job->call->out_size > ROTA__WORKER_INLINE) {
        job->state = UNLOADING;
        (void)rota__wake(job->wait.task, 0);
        return;
    }
    release(k);
    finish(job, a->error);
    settled(w);
}

/* How much more there is of the answer, or -1: this is none. All that is known of it is in k->answer. */
static ssize_t missing(const struct worker *k) {
    struct rota__worker_answer a;
    if (k->got < ROTA__MESSAGE_HEAD)
        return (ssize_t)(ROTA__MESSAGE_HEAD - k->got);
    memcpy(&a, k->answer, sizeof a);
    size_t room = k->job ? k->job->call->out_size : 0;
    if (a.number != k->number || a.out_n > room)
        return -1;
    size_t need = ROTA__MESSAGE_HEAD + (room > ROTA__WORKER_INLINE ? 0 : a.out_n);
    return k->got > need ? -1 : (ssize_t)(need - k->got);
}

/* One try to read it. The output goes where it belongs: a peer that says more than its output is out of its mind. */
static ssize_t receive(const struct worker *k) {
    const rota_worker_job *call = k->job ? k->job->call : NULL;
    size_t room = call && call->out_size <= ROTA__WORKER_INLINE ? call->out_size : 0;
    size_t head = k->got < ROTA__MESSAGE_HEAD ? ROTA__MESSAGE_HEAD - k->got : 0;
    size_t body = k->got + head - ROTA__MESSAGE_HEAD;
    struct iovec iov[2] = {
        {(unsigned char *)(uintptr_t)k->answer + ROTA__MESSAGE_HEAD - head, head},
        {room ? (char *)call->out + body : NULL, room - body},
    };
    struct msghdr msg;
    memset(&msg, 0, sizeof msg);
    msg.msg_iov = head ? iov : iov + 1;
    msg.msg_iovlen = 1 + (head && room);
    return rota__sys_recvmsg(k->jobs, &msg, MSG_DONTWAIT);
}

/* Reads until the answer is complete, or there is nothing more. A job that is waited for may be finished then. */
static void take_answer(struct worker *k) {
    while (!k->lost) {
        bool expects = !k->ready || (k->job && k->job->state == RUNNING);
        ssize_t r = receive(k);
        if (r == -EAGAIN)
            return;
        if (r == -EINTR)
            continue;
        k->got += r > 0 ? (size_t)r : 0;
        ssize_t more = r <= 0 || !expects ? -1 : missing(k);
        if (more < 0) {
            lose(k);
        } else if (more == 0) {
            struct rota__worker_answer a;
            memcpy(&a, k->answer, sizeof a);
            if (k->ready)
                is_answered(k, &a);
            else
                is_ready(k, &a);
            return;
        }
    }
}

static void on_answer(rota_watcher *watcher, unsigned ready, void *arg) {
    struct worker *k = arg;
    rota_workers *w = k->workers;
    (void)watcher;
    if (ready & ROTA_CLOSED) {
        k->jobs = -1;
        lose(k);
    } else {
        take_answer(k);
    }
    pump(w);
}

/* ---- the end of a worker ---- */

/* When in doubt it was. */
static bool was_begun(const struct worker *k) {
    uint64_t number;
    return rota__sys_pread(k->shared, &number, sizeof number, 0) != sizeof number || number == k->number;
}

/* Its job has not been begun. Not for ever: what ends workers may be the system they run on. */
static void try_elsewhere(rota_workers *w, struct job *job) {
    if (++job->tries == MOST_TRIES)
        finish(job, -EAGAIN);
    else if (job->cancelled)
        finish(job, -ECANCELED);
    else if (w->closed)
        finish(job, -ESHUTDOWN);
    else
        queue_first(w, job);
}

static void bury(struct worker *k) {
    rota_workers *w = k->workers;
    struct job *job = k->job;
    if (job && job->state != RUNNING) {
        k->gone = true;
        return;
    }
    if (job) {
        bool begun = was_begun(k);
        let_go(k);
        if (begun) {
            job->call->status = k->status;
            finish(job, k->error ? k->error : -EOWNERDEAD);
        } else {
            try_elsewhere(w, job);
        }
    }
    int error = k->error ? k->error : -EAGAIN;
    bool ready = k->ready;
    destroy(w->loop, k);
    if (!ready && w->n == 0)
        fail_queue(w, error);
    settled(w);
}

/* An answer may have come before the end. */
static void on_end(rota_watcher *watcher, unsigned ready, void *arg) {
    struct worker *k = arg;
    rota_workers *w = k->workers;
    struct rota__worker_end said = {.error = 0, .status = -1};
    (void)watcher;
    ssize_t r;
    do
        r = ready & ROTA_CLOSED ? 0 : rota__sys_recv(k->link, &said, sizeof said, MSG_DONTWAIT);
    while (r == -EINTR);
    if (r == -EAGAIN)
        return;
    if (ready & ROTA_CLOSED)
        k->link = -1;
    if (r != sizeof said) {
        said.error = rota__fork_server_check();
        said.error = said.error ? said.error : -EAGAIN; /* it had no descriptor left to answer with */
        said.status = -1;
    }
    unwatch(w->loop, &k->ends);
    take_answer(k);
    lose(k);
    if (!k->error)
        k->error = said.error;
    k->status = said.status;
    bury(k);
    pump(w);
}

/* Gives jobs to workers, and forks more when there are not enough; not on and on where none gets ready. */
static void pump(rota_workers *w) {
    int rc = 0;
    while (w->first && w->idle)
        assign(w->idle, w->first);
    while (rc == 0 && w->queued > w->starting && w->n < w->max && w->stillborn < MOST_TRIES)
        rc = start(w);
    if (rc < 0 && w->n == 0)
        fail_queue(w, rc);
}

/* ---- the task's side ---- */

/* Cancelled. */
static void leave(struct rota__wait *wait) {
    struct job *job = (struct job *)wait; /* its first member */
    rota_workers *w = job->workers;
    struct worker *k = job->worker;
    job->cancelled = true;
    if (job->state == QUEUED) {
        unqueue(w, job);
    } else if (job->state == RUNNING && job->call->kill_on_cancel) {
        let_go(k);
        bool replace = !k->lost && !w->closed;
        end(w->loop, k);
        if (replace)
            (void)start(w); /* failing, the next job says why */
        pump(w);
    } else {
        return;
    }
    job->state = FINISHED;
    job->error = -ECANCELED;
    settled(w);
}

/* Between two pieces the loop goes on. */
static int write_pieces(rota_task *self, const struct worker *k, const char *bytes, size_t n) {
    for (size_t done = 0; done < n && !k->gone;) {
        size_t piece = n - done < PIECE ? n - done : PIECE;
        ssize_t r = rota__sys_pwrite(k->shared, bytes + done, piece, (off_t)(ROTA__SHARED_HEAD + done));
        if (r < 0 && r != -EINTR)
            return (int)r;
        done += r > 0 ? (size_t)r : 0;
        if (done < n)
            rota__breathe(self);
    }
    return 0;
}

static int read_pieces(rota_task *self, const struct worker *k, char *bytes, size_t n, size_t offset) {
    for (size_t done = 0; done < n;) {
        size_t piece = n - done < PIECE ? n - done : PIECE;
        ssize_t r = rota__sys_pread(k->shared, bytes + done, piece, (off_t)(offset + done));
        if (r == 0 || (r < 0 && r != -EINTR))
            return r == 0 ? -EIO : (int)r; /* the job has cut its own file off */
        done += r > 0 ? (size_t)r : 0;
        if (done < n)
            rota__breathe(self);
    }
    return 0;
}

static int set_room(struct worker *k, size_t room) {
    int rc = k->room == room ? 0 : rota__sys_ftruncate(k->shared, (off_t)room);
    if (rc == 0)
        k->room = room;
    return rc;
}

/* What its task had to do with the worker is done. */
static void copied(struct worker *k) {
    rota_workers *w = k->workers;
    if (k->gone) {
        let_go(k);
        destroy(w->loop, k);
    } else {
        release(k);
    }
}

static void load(rota_task *self, struct job *job) {
    struct worker *k = job->worker;
    rota_workers *w = job->workers;
    const rota_worker_job *call = job->call;
    size_t room = rota__shared_room(call->in_n, call->out_size);
    int rc = 0;
    if (self->loop->now >= self->due)
        rc = -ECANCELED; /* after it was given the worker, before it ran */
    if (rc == 0 && room > k->room)
        rc = set_room(k, room);
    if (rc == 0 && call->in_n > ROTA__WORKER_INLINE)
        rc = write_pieces(self, k, call->in, call->in_n);
    if (rc == 0 && self->loop->now >= self->due)
        rc = -ECANCELED;
    if (rc == 0 && !k->gone) {
        begin(k);
        pump(w);
        return;
    }
    copied(k);
    if (rc == 0) {
        try_elsewhere(w, job);
    } else {
        job->state = FINISHED;
        job->error = rc;
    }
    settled(w);
    pump(w);
}

static void unload(rota_task *self, struct job *job) {
    struct worker *k = job->worker;
    rota_workers *w = job->workers;
    rota_worker_job *call = job->call;
    int rc = read_pieces(self, k, call->out, call->out_n, rota__shared_out(call->in_n));
    if (rc < 0)
        call->out_n = 0;
    if (rc == 0 && k->room > ROOM_KEPT)
        (void)set_room(k, ROOM_KEPT); /* failing, it stays as large as it is */
    copied(k);
    job->state = FINISHED;
    job->error = rc;
    settled(w);
    pump(w);
}

/* Until the job is finished. One that runs cannot be left: the wait for it goes on, and nothing interrupts it. */
static void wait_for(rota_task *self, struct job *job) {
    rota__job_begin(self->loop);
    while (job->state != FINISHED) {
        if (job->state == LOADING)
            load(self, job);
        else if (job->state == UNLOADING)
            unload(self, job);
        else if (rota__park(self, &job->wait) < 0)
            job->wait.leave = NULL;
    }
    rota__job_end(self->loop);
}

/* ---- the calls ---- */

/* 0, or what a call on these workers answers on this thread. */
static int check(const rota_workers *w) {
    if (!w)
        return -EINVAL;
    return w->loop ? rota__loop_check(w->loop) : -ESHUTDOWN;
}

static bool makes_sense(const rota_worker_job *call) {
    return call->fn && (call->in || !call->in_n) && (call->out || !call->out_size);
}

static int may_call(const rota_task *self, const rota_workers *w, const rota_worker_job *call) {
    int rc = check(w);
    if (rc < 0)
        return rc;
    if (self->loop != w->loop)
        return -EPERM;
    if (!makes_sense(call))
        return -EINVAL;
    if (w->closed)
        return -ESHUTDOWN;
    if (call->in_n > w->max_bytes || call->out_size > w->max_bytes)
        return -EMSGSIZE;
    return call->no_wait && !w->idle && w->queued >= w->limit ? -EAGAIN : 0;
}

static void end_all(rota_loop *loop, rota_workers *w) {
    while (w->all)
        end(loop, w->all);
}

/* The last one who uses it has gone. */
static void free_workers(rota_workers *w) {
    rota_allocator a = w->allocator;
    if (w->loop) {
        end_all(w->loop, w);
        rota__owned_remove(&w->owned);
    }
    rota__free(&a, w, sizeof *w);
}

static int call_with(rota_task *self, rota_workers *w, rota_worker_job *call, intptr_t *value) {
    struct job job = {
        .wait = {.task = self, .what = "a job in a worker process", .on = w, .until = ROTA_FOREVER, .leave = leave},
        .workers = w, .call = call,
    };
    w->users++;
    w->stillborn = 0;
    queue_last(w, &job);
    pump(w);
    wait_for(self, &job);
    if (--w->users == 0 && w->freed)
        free_workers(w);
    *value = job.value;
    return job.error;
}

int rota_workers_call(rota_workers *w, rota_worker_job *job, intptr_t *result) {
    rota_task *self;
    intptr_t value = 0;
    if (job) {
        job->out_n = 0;
        job->status = -1;
    }
    int rc = w && job ? rota__enter(&self) : -EINVAL;
    if (rc == 0)
        rc = may_call(self, w, job);
    if (rc == 0)
        rc = call_with(self, w, job, &value);
    return rota__two_channels(rc, value, result);
}

int rota_workers_drain(rota_workers *w) {
    rota_task *self;
    int rc = w ? rota__enter(&self) : -EINVAL;
    if (rc == 0 && w->loop)
        rc = check(w);
    if (rc == 0 && w->loop && w->loop != self->loop)
        rc = -EPERM;
    if (rc < 0)
        return rc;
    if (w->queued + w->running == 0) {
        rota__fast(self);
        return 0;
    }
    return rota__wait_in(self, &w->drains, "worker processes to be idle", 0);
}

/* The loop closes, or this is a child after fork, where everything but descriptors is the parent's. */
static void drop(struct rota__owned *owned) {
    rota_workers *w = rota__container_of(owned, rota_workers, owned);
    rota_loop *loop = w->loop;
    if (loop->forks == rota__forks)
        end_all(loop, w);
    while (w->all)
        destroy(loop, w->all);
    w->closed = true;
    w->loop = NULL;
    w->idle = NULL;
}

int rota_workers_new(rota_workers **out, const rota_workers_options *opt) {
    static const rota_workers_options defaults;
    rota_loop *loop = rota__current;
    if (!out)
        return -EINVAL;
    *out = NULL;
    opt = opt ? opt : &defaults;
    int rc = rota__loop_check(loop);
    if (rc == 0)
        rc = rota__fork_server_check();
    if (rc < 0)
        return rc;
    rota_workers *w = rota__alloc(&loop->allocator, sizeof *w);
    if (!w)
        return -ENOMEM;
    memset(w, 0, sizeof *w);
    int processors = rota__sys_processors();
    w->max = opt->workers ? opt->workers : processors < 1 ? 1 : (unsigned)processors;
    w->limit = opt->queue ? opt->queue : QUEUE_DEFAULT;
    w->max_bytes = opt->max_job_bytes ? opt->max_job_bytes : BYTES_DEFAULT;
    w->last = &w->first;
    w->loop = loop;
    w->allocator = loop->allocator;
    w->owned.drop = drop;
    rota__owned_add(loop, &w->owned);
    *out = w;
    return 0;
}

int rota_workers_close(rota_workers *w) {
    if (w && !w->loop)
        return 0;
    int rc = check(w);
    if (rc < 0 && rc != -ESHUTDOWN)
        return rc;
    w->closed = true;
    fail_queue(w, -ESHUTDOWN);
    for (struct worker *k = w->all, *next; k; k = next) {
        next = k->next;
        if (!k->job)
            end(w->loop, k);
    }
    return 0;
}

int rota_workers_free(rota_workers *w) {
    if (!w)
        return 0;
    int rc = rota_workers_close(w);
    if (rc == -EPERM)
        return rc;
    if (rc == -EINVAL) {
        rota__owned_remove(&w->owned);
        drop(&w->owned);
        w->users = 0;
    }
    w->freed = true;
    if (w->users == 0)
        free_workers(w);
    return 0;
}
