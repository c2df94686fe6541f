/* Talking to a process: rota_process_communicate, run, output_free.
 *
 * Three pipes move at the same time, or the two sides wait for each other: so neither of them by the task, which can
 * only wait, but each by a watcher's callback in step 3 of the loop's turn. No task and no stack is needed for that, and
 * whatever ends it (the end, an error, a cancellation, a close) takes three watchers out and leaves what has come.
 *
 * Invariant: while a talk is the process's, its handle and the caller's output are there; whoever wakes the task has
 * taken the talk away before, and after that nothing of the process is touched.
 */
#include <string.h>

#include "coro/fd.h"
#include "coro/process.h"

enum { ROUNDS = 16, FIRST_ROOM = 4096 };    /* transfers of one callback, then others have their turn */
enum { LIMIT_DEFAULT = 64 << 20 };

/* One of the pipes. */
struct pump {
    rota_watcher watcher;
    struct rota__talk *talk;
    int *fd;                   /* in the handle; -1 once it is closed */
    char **data;               /* of readers: the output's fields */
    size_t *n, *room;
};

struct rota__talk {
    struct rota__wait wait;    /* first */
    struct rota__process *process;
    rota_loop *loop;
    rota_process_output *output;
    size_t limit;
    const char *bytes;         /* still to be written */
    size_t left;
    struct pump pumps[3];
};

/* ---- the end ---- */

static void stop(struct rota__talk *t) {
    for (int i = 0; i < 3; i++)
        if (t->pumps[i].watcher.state_)
            rota__unwatch(t->loop, &t->pumps[i].watcher);
    t->process->talk = NULL;
}

static void finish(struct rota__talk *t, int rc) {
    stop(t);
    (void)rota__wake(t->wait.task, rc);
}

static void leave(struct rota__wait *wait) {
    struct rota__talk *t = (struct rota__talk *)wait;
    stop(t);
    if (t->process->kill_on_cancel)
        rota__process_end(t->process);
}

void rota__talk_ended(struct rota__talk *t, int error) {
    const struct rota__process *s = t->process;
    bool open = t->pumps[0].watcher.state_ || t->pumps[1].watcher.state_ || t->pumps[2].watcher.state_;
    if (error == 0 && (open || !s->ended))
        return;
    if (error == 0 && s->status >= 0)
        t->output->status = s->status;
    finish(t, error < 0 ? error : s->status < 0 ? s->status : 0);
}

static void close_pump(struct pump *pump) {
    int fd = *pump->fd;
    if (pump->watcher.state_)
        rota__unwatch(pump->talk->loop, &pump->watcher);
    *pump->fd = -1;
    if (fd >= 0)
        (void)rota__fd_close(pump->talk->loop, fd);
}

static void pump_ended(struct pump *pump) {
    close_pump(pump);
    rota__talk_ended(pump->talk, 0);
}

/* Closed by the program in the middle of it: as an end. The number is not ours any more. */
static void pump_closed(struct pump *pump) {
    *pump->fd = -1;
    rota__talk_ended(pump->talk, 0);
}

/* ---- moving bytes ---- */

static void feed(rota_watcher *watcher, unsigned ready, void *arg) {
    struct pump *pump = arg;
    struct rota__talk *t = pump->talk;
    if (ready & ROTA_CLOSED) {
        pump_closed(pump);
        return;
    }
    for (int i = 0; i < ROUNDS; i++) {
        struct iovec iov = {(void *)(uintptr_t)t->bytes, t->left < ROTA__TRANSFER_MAX ? t->left : ROTA__TRANSFER_MAX};
        ssize_t r = rota__fd_try(t->loop, *pump->fd, ROTA_WRITE, &iov, 1);
        if (r == -EAGAIN)
            return;
        if (r < 0 && r != -EPIPE) {
            finish(t, (int)r);
            return;
        }
        t->bytes += r > 0 ? r : 0;
        t->left -= r > 0 ? (size_t)r : 0;
        if (r < 0 || !t->left) {
            pump_ended(pump); /* it reads no more: its output and status say why */
            return;
        }
    }
    int ignored = rota_watcher_again(t->loop, watcher);
    (void)ignored;
}

/* Room for one more byte at least, and the 0 behind it; at most up to the limit. */
static int grow(struct pump *pump) {
    struct rota__talk *t = pump->talk;
    size_t most = t->limit + 1;
    if (*pump->n + 1 < *pump->room || *pump->room == most)
        return 0;
    size_t room = *pump->room ? *pump->room * 2 : FIRST_ROOM;
    if (room > most)
        room = most;
    char *data = rota__realloc(&t->loop->allocator, *pump->data, *pump->room, room);
    if (!data)
        return -ENOMEM;
    *pump->data = data;
    *pump->room = room;
    data[*pump->n] = 0;
    return 0;
}

/* At the limit one byte more is asked for, to tell the end of the data from too much of it. */
static ssize_t receive(struct pump *pump) {
    char extra;
    int rc = grow(pump);
    if (rc < 0)
        return rc;
    size_t left = *pump->room - 1 - *pump->n;
    struct iovec iov = {left ? *pump->data + *pump->n : &extra, left ? left : 1};
    ssize_t r = rota__fd_try(pump->talk->loop, *pump->fd, ROTA_READ, &iov, 1);
    if (r > 0 && !left)
        return -EMSGSIZE;
    if (r > 0) {
        *pump->n += (size_t)r;
        (*pump->data)[*pump->n] = 0;
    }
    return r;
}

static void drain(rota_watcher *watcher, unsigned ready, void *arg) {
    struct pump *pump = arg;
    if (ready & ROTA_CLOSED) {
        pump_closed(pump);
        return;
    }
    for (int i = 0; i < ROUNDS; i++) {
        ssize_t r = receive(pump);
        if (r == -EAGAIN)
            return;
        if (r < 0) {
            finish(pump->talk, (int)r);
            return;
        }
        if (r == 0) {
            pump_ended(pump);
            return;
        }
    }
    int ignored = rota_watcher_again(pump->talk->loop, watcher);
    (void)ignored;
}

/* ---- public ---- */

static int start_pump(struct rota__talk *t, int i, int *fd, unsigned direction) {
    struct pump *pump = &t->pumps[i];
    pump->talk = t;
    pump->fd = fd;
    rota_watcher_init(&pump->watcher, *fd, direction, direction == ROTA_READ ? drain : feed, pump);
    if (*fd < 0)
        return 0;
    int rc = direction == ROTA_READ ? grow(pump) : 0;
    return rc < 0 ? rc : rota_watcher_start(t->loop, &pump->watcher);
}

static int start(struct rota__talk *t, rota_process *p) {
    rota_process_output *o = t->output;
    t->pumps[1].data = &o->out;
    t->pumps[1].n = &o->out_n;
    t->pumps[1].room = &o->out_room_;
    t->pumps[2].data = &o->err;
    t->pumps[2].n = &o->err_n;
    t->pumps[2].room = &o->err_room_;
    t->process->talk = t;
    int rc = start_pump(t, 0, &p->in, ROTA_WRITE);
    if (rc == 0)
        rc = start_pump(t, 1, &p->out, ROTA_READ);
    if (rc == 0)
        rc = start_pump(t, 2, &p->err, ROTA_READ);
    if (rc < 0) {
        stop(t);
        return rc;
    }
    if (!t->left)
        close_pump(&t->pumps[0]);
    return 0;
}

static void clear(rota_process_output *o) {
    *o = (rota_process_output){.limit = o->limit, .status = -1};
}

/* Always parks, however soon everything is there: one shape for a call that is long by nature. */
int rota_process_communicate(rota_process *p, const void *in, size_t n, rota_process_output *output) {
    rota_task *task;
    struct rota__process *s = NULL;
    if (output)
        clear(output);
    int rc = rota__enter(&task);
    if (rc == 0)
        rc = rota__process_check(p, &s);
    if (rc == 0 && s->loop != task->loop)
        rc = -EPERM;
    if (rc < 0)
        return rc;
    if (!output || (n && (!in || p->in < 0)) || output->limit >= SIZE_MAX / 4)
        return -EINVAL;
    if (s->talk)
        return -EBUSY;
    output->allocator_ = task->loop->allocator;
    struct rota__talk t = {
        .wait = {.what = "a process to be done", .on = s, .until = ROTA_FOREVER, .leave = leave},
        .process = s, .loop = task->loop, .output = output, .bytes = in, .left = n,
        .limit = output->limit ? output->limit : LIMIT_DEFAULT,
    };
    rc = start(&t, p);
    if (rc < 0)
        return rc;
    if (s->ended && !t.pumps[1].watcher.state_ && !t.pumps[2].watcher.state_ && !t.pumps[0].watcher.state_) {
        stop(&t);
        if (s->status < 0)
            return s->status;
        output->status = s->status;
        rota__fast(task);
        return 0;
    }
    return rota__park(task, &t.wait);
}

int rota_process_run(char *const argv[], const void *in, size_t n, rota_process_output *output,
                     const rota_process_options *opt) {
    rota__leave_forgotten();
    rota_task *task;
    rota_process p;
    rota_process_options options = opt ? *opt : (rota_process_options){.path = NULL};
    if (output)
        clear(output);
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!output || (n && !in))
        return -EINVAL;
    if (options.in == ROTA_PROCESS_DEFAULT)
        options.in = in ? ROTA_PROCESS_PIPE : ROTA_PROCESS_NULL;
    if (options.out == ROTA_PROCESS_DEFAULT)
        options.out = ROTA_PROCESS_PIPE;
    if (options.err == ROTA_PROCESS_DEFAULT)
        options.err = ROTA_PROCESS_PIPE;
    rc = rota_process_spawn(&p, argv, &options);
    if (rc < 0)
        return rc;
    rc = rota_process_communicate(&p, in, n, output);
    (void)rota_process_close(&p);
    return rc;
}

void rota_process_output_free(rota_process_output *o) {
    if (!o)
        return;
    rota__free(&o->allocator_, o->out, o->out_room_);
    rota__free(&o->allocator_, o->err, o->err_room_);
    clear(o);
}
