/* Program 12, row L8: what an event loop is, in sixty lines. A queue of coroutines that can go on, a list of those that
 * sleep, a list of those that wait for a descriptor, and poll(2) when nobody can go on. Nothing of rota's loop is used:
 * only its coroutines. */
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "rota/coro.h"

enum { MAX = 8 };

/* What a coroutine says when it stops: until when, or for which descriptor, it wants to wait. */
struct job {
    const char *name;
    rota_co *co;
    int64_t wake_at;   /* 0: it does not sleep */
    int fd;            /* -1: it does not wait for one */
    bool waits;
};

static struct job *queue[MAX], jobs[MAX];
static int queued, n_jobs, ends[2];

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * ROTA_S + t.tv_nsec;
}

/* ---- the loop ----------------------------------------------------------------------------------- */

static int step(struct job *job) {
    int rc = rota_co_resume(job->co, 0, NULL);
    if (rc == ROTA_YIELDED && !job->waits)
        queue[queued++] = job;   /* it only let the others pass: behind all that are ready */
    return rc;
}

static void wake(struct job *job) {
    job->waits = false;
    queue[queued++] = job;
}

/* Sleeps in the kernel until a descriptor is ready or the first sleeper is due. */
static bool wait_for_something(void) {
    struct pollfd fds[MAX];
    struct job *of[MAX];
    nfds_t n = 0;
    struct job *first = NULL;
    for (struct job *job = jobs; job < jobs + n_jobs; job++) {
        if (job->waits && job->fd >= 0) {
            of[n] = job;
            fds[n++] = (struct pollfd){ .fd = job->fd, .events = POLLIN };
        } else if (job->waits && (!first || job->wake_at < first->wake_at)) {
            first = job;
        }
    }
    if (n == 0 && !first)
        return false;
    int64_t left = first ? first->wake_at - now() : 0;
    int timeout = first ? (left > 0 ? (int)((left + ROTA_MS - 1) / ROTA_MS) : 0) : -1;
    if (poll(fds, n, timeout) == 0)
        wake(first);
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].revents)
            wake(of[i]);
    return true;
}

static int loop(void) {
    int rc = 0;
    do {
        while (queued > 0 && rc >= 0) {
            struct job *job = queue[0];
            queued--;
            for (int i = 0; i < queued; i++)
                queue[i] = queue[i + 1];
            rc = step(job);
        }
    } while (rc >= 0 && wait_for_something());
    return rc;
}

/* ---- what coroutines call ----------------------------------------------------------------------- */

static int pass(struct job *self) { return rota_co_yield(self->co, 0, NULL); }

static int sleep_for(struct job *self, int64_t ns) {
    self->fd = -1;
    self->wake_at = now() + ns;
    self->waits = true;
    return rota_co_yield(self->co, 0, NULL);
}

static int wait_readable(struct job *self, int fd) {
    self->fd = fd;
    self->waits = true;
    return rota_co_yield(self->co, 0, NULL);
}

/* ---- a program for it --------------------------------------------------------------------------- */

static intptr_t counter(rota_co *co, void *arg) {
    struct job *self = arg;
    (void)co;
    for (int i = 1; i <= 3; i++) {
        printf("%s %d\n", self->name, i);
        int rc = pass(self);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static intptr_t writer(rota_co *co, void *arg) {
    struct job *self = arg;
    (void)co;
    int rc = sleep_for(self, 20 * ROTA_MS);
    printf("%s: slept, writes\n", self->name);
    return rc < 0 || write(ends[1], "ping", 4) < 0 ? -EIO : 0;
}

static intptr_t reader(rota_co *co, void *arg) {
    struct job *self = arg;
    char text[5] = "";
    (void)co;
    printf("%s: waits for the pipe\n", self->name);
    int rc = wait_readable(self, ends[0]);
    ssize_t n = rc < 0 ? -1 : read(ends[0], text, 4);
    printf("%s: %s\n", self->name, text);
    return n < 0 ? -EIO : 0;
}

static int start(const char *name, rota_co_fn *fn) {
    struct job *job = &jobs[n_jobs++];
    job->name = name;
    queue[queued++] = job;
    return rota_co_new(&job->co, fn, job, NULL);
}

int main(void) {
    if (pipe(ends) < 0)
        return 1;
    int rc = start("reader", reader);
    if (rc == 0)
        rc = start("one", counter);
    if (rc == 0)
        rc = start("two", counter);
    if (rc == 0)
        rc = start("writer", writer);
    if (rc == 0)
        rc = loop();
    for (int i = 0; i < n_jobs; i++)
        rota_co_free(jobs[i].co);
    return rc < 0;
}
