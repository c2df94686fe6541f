/* Bytes moved inside the kernel: rota_sendfile, rota_splice.
 *
 * Both use the system's call where it cannot block the loop, and copy through a buffer where there is none, where it
 * refuses the kind of descriptor, or where a descriptor may block (O_NONBLOCK is not set on what others made).
 * Invariant: what was counted has been taken by `out`; of rota_sendfile the position in the file follows that count, so
 * that it can be called again after any error.
 */
#include <unistd.h>

#include "coro/fd.h"
#include "rota/net.h"

/* In one system call, so that others get their turn; and a pipe's usual capacity. */
enum { PIECE = 256 << 10, COPY = 64 << 10 };

struct move {
    int in, out;
    int64_t offset;
    size_t left, done;
    rota_task *task;
    int pipe[2];               /* of rota_splice */
    size_t in_pipe;
};

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Which answers mean "not with this call": the kind of a descriptor, or the system, has it not. */
static bool unsupported(ssize_t r) {
    return r == -EINVAL || r == -ENOSYS || r == -EOPNOTSUPP;
}

static int kind_of(rota_loop *loop, int fd) {
    int rc = rota__fd_know(loop, fd);
    return rc < 0 ? rc : rota__fd_find(&loop->fds, fd)->kind;
}

/* May a system call on it, with no flag to say so, be relied on not to wait? Regular files do not know waiting. Of
 * others the system is asked each time: whoever shares the description can have changed its mode. */
static bool never_blocks(rota_loop *loop, int fd) {
    return rota__fd_find(&loop->fds, fd)->kind == ROTA__FD_FILE || rota__sys_is_nonblocking(fd) == 1;
}

/* After each piece: moved bytes are counted; others have their turn, and a cancellation its chance. */
static int next_piece(struct move *m, size_t moved, bool parked) {
    m->done += moved;
    if (m->left != SIZE_MAX)
        m->left -= moved;
    if (!parked)
        rota__fast(m->task);
    return m->left ? rota__enter(&m->task) : 0;
}

/* ---- a file ---- */

/* A call that has moved something before it met the broken end raises the signal too, and returns the count: so it is
 * looked for after each. */
static ssize_t try_sendfile(void *arg) {
    struct move *m = arg;
    struct rota__quiet quiet;
    int rc = rota__quiet_begin(&quiet);
    if (rc < 0)
        return rc;
    ssize_t r = rota__sys_sendfile(m->out, m->in, &m->offset, smaller(m->left, PIECE));
    rota__quiet_end(&quiet, -EPIPE);
    return r;
}

/* Counted by what sendfile returned; 1: the copying way is needed. */
static int send_in_kernel(struct move *m) {
    int rc = 0;
    if (!never_blocks(m->task->loop, m->out))
        return 1;
    while (rc == 0 && m->left) {
        bool parked = false;
        ssize_t r = rota__fd_call(m->task, m->out, ROTA_WRITE, "sending a file to", try_sendfile, m, &parked);
        if (unsupported(r))
            return 1;
        if (r <= 0)
            return r < 0 ? (int)r : m->left == SIZE_MAX ? 0 : -EPIPE;
        rc = next_piece(m, (size_t)r, parked);
    }
    return rc;
}

static int send_by_copy(struct move *m, char *buf) {
    int rc = 0;
    while (rc == 0 && m->left) {
        size_t written;
        ssize_t n;
        do
            n = rota__sys_pread(m->in, buf, smaller(m->left, COPY), (off_t)m->offset);
        while (n == -EINTR);
        if (n <= 0)
            return n < 0 ? (int)n : m->left == SIZE_MAX ? 0 : -EPIPE;
        rc = rota_write_all(m->out, buf, (size_t)n, &written);
        m->offset += (int64_t)written;
        m->done += written;
        if (m->left != SIZE_MAX)
            m->left -= written;
    }
    return rc;
}

static int with_buffer(struct move *m, int (*copy)(struct move *m, char *buf)) {
    const rota_allocator *allocator = &m->task->loop->allocator;
    char *buf = rota__alloc(allocator, COPY);
    if (!buf)
        return -ENOMEM;
    int rc = copy(m, buf);
    rota__free(allocator, buf, COPY);
    return rc;
}

static int send_file(struct move *m, const int64_t *offset) {
    int rc = rota__enter(&m->task);
    if (rc == 0)
        rc = kind_of(m->task->loop, m->in);
    if (rc < 0)
        return rc;
    if (rc != ROTA__FD_FILE)
        return -EINVAL;
    rc = kind_of(m->task->loop, m->out);
    if (rc < 0)
        return rc;
    m->offset = offset ? *offset : rota__sys_seek(m->in, 0, SEEK_CUR);
    if (m->offset < 0)
        return offset ? -EINVAL : (int)m->offset;
    rc = send_in_kernel(m);
    return rc == 1 ? with_buffer(m, send_by_copy) : rc;
}

int rota_sendfile(int out, int in, int64_t *offset, size_t n, size_t *done) {
    rota__leave_forgotten();
    struct move m = {.in = in, .out = out, .left = n, .offset = -1};
    int rc = send_file(&m, offset);
    if (offset && m.offset >= 0)
        *offset = m.offset;
    else if (!offset && m.done)
        (void)rota__sys_seek(in, m.offset, SEEK_SET);
    if (done)
        *done = m.done;
    return rc;
}

/* ---- any two ---- */

static ssize_t try_fill(void *arg) {
    struct move *m = arg;
    return rota__sys_splice(m->in, m->pipe[1], smaller(m->left, COPY));
}

static ssize_t try_empty(void *arg) {
    struct move *m = arg;
    struct rota__quiet quiet;
    int rc = rota__quiet_begin(&quiet);
    if (rc < 0)
        return rc;
    ssize_t r = rota__sys_splice(m->pipe[0], m->out, m->in_pipe);
    rota__quiet_end(&quiet, -EPIPE);
    return r;
}

/* Between the two ends lies a pipe of our own, which is empty when it is filled, and filled when it is emptied: so an
 * EAGAIN is always that of the other descriptor. 0, an error, or 1: the copying way is needed, for what is in the pipe
 * too. */
static int splice_piece(struct move *m, bool *ended) {
    bool parked = false;
    ssize_t r = rota__fd_call(m->task, m->in, ROTA_READ, "splicing from", try_fill, m, &parked);
    if (unsupported(r))
        return 1;
    *ended = r == 0;
    m->in_pipe = r > 0 ? (size_t)r : 0;
    int rc = r < 0 ? (int)r : 0;
    while (rc == 0 && m->in_pipe) {
        r = rota__fd_call(m->task, m->out, ROTA_WRITE, "splicing to", try_empty, m, &parked);
        if (unsupported(r))
            return 1;
        if (r <= 0)
            return r < 0 ? (int)r : -EIO;
        m->in_pipe -= (size_t)r;
        rc = next_piece(m, (size_t)r, parked);
    }
    return rc;
}

static int splice_all(struct move *m) {
    bool ended = false;
    int rc = 0;
    while (rc == 0 && m->left) {
        rc = splice_piece(m, &ended);
        if (rc == 0 && ended)
            return m->left == SIZE_MAX ? 0 : -EPIPE;
    }
    return rc;
}

static int copy_all(struct move *m, char *buf) {
    int rc = 0;
    while (rc == 0 && m->left) {
        size_t written = 0;
        ssize_t n = m->in_pipe ? rota__sys_read(m->pipe[0], buf, smaller(m->in_pipe, COPY))
                               : rota_read(m->in, buf, smaller(m->left, COPY));
        if (n <= 0)
            return n < 0 ? (int)n : m->left == SIZE_MAX ? 0 : -EPIPE;
        m->in_pipe -= m->in_pipe ? (size_t)n : 0;
        rc = rota_write_all(m->out, buf, (size_t)n, &written);
        m->done += written;
        if (m->left != SIZE_MAX)
            m->left -= written;
    }
    return rc;
}

static int splice_through(struct move *m) {
    int rc = 1;
    if (never_blocks(m->task->loop, m->in) && never_blocks(m->task->loop, m->out)) {
        rc = rota__sys_pipe(m->pipe);
        if (rc < 0)
            return rc;
        rc = splice_all(m);
    }
    if (rc == 1)
        rc = with_buffer(m, copy_all);
    for (int i = 0; i < 2; i++)
        if (m->pipe[i] >= 0)
            (void)rota__fd_close(m->task->loop, m->pipe[i]);
    return rc;
}

int rota_splice(int in, int out, size_t n, size_t *done) {
    rota__leave_forgotten();
    struct move m = {.in = in, .out = out, .left = n, .pipe = {-1, -1}};
    int rc = rota__enter(&m.task);
    if (rc == 0)
        rc = kind_of(m.task->loop, in);
    if (rc >= 0)
        rc = kind_of(m.task->loop, out);
    if (rc >= 0)
        rc = splice_through(&m);
    if (done)
        *done = m.done;
    return rc;
}
