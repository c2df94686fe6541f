/* Buffered streams: open, read, read_exact, until, line, write, try_write, drain, shutdown, close.
 *
 * A stream is memory of the caller's around a descriptor: an input buffer of fixed size, and a ring for output that
 * grows to the high-water mark at most, so that neither a peer that sends no separator nor one that does not read
 * can make it grow.
 *
 * Who sends queued bytes? Not the next call on the stream: a program that writes a request and then waits for the
 * answer would wait for ever. Not a task of the stream's: it would cost a stack, and its failures would belong to
 * nobody. A watcher does it, in step 3 of the loop's turn, and runs only while bytes wait; in the usual case, where
 * the system takes everything at once, it is never started.
 *
 * A transport (TLS, say) may stand between the stream and the descriptor. Then the same watcher serves both sides,
 * because a read may have to wait until the descriptor is writable and a write until it is readable, and a descriptor
 * has room for one watcher in each direction. Whatever one side did may be what the other side waits for: so after
 * each step of one the output is tried, and an event wakes the reader unless it is plainly the writer's.
 *
 * Invariant: after any point where a task may have stood still, it looks at its rota__stream_op, which is on its
 * own stack, before it touches the stream: closing marks the calls under way there, and the stream's memory may be
 * gone when they run again. It must not know what the bytes mean, nor whether fd is a socket, nor what a transport
 * does with them.
 */
#include <string.h>

#include "coro/fd.h"

enum { STREAM_OPEN = 1, STREAM_BUFFER_LENT = 2 };
enum { IN_DEFAULT = 64 * 1024, HIGH_WATER_DEFAULT = 64 * 1024, OUT_FIRST = 4096 };

/* A call under way. */
struct rota__stream_op {
    struct rota__wait wait;    /* first; for writers, and for readers by way of a transport */
    bool waiting;              /* on `wait`: a writer until at most `until` bytes are queued */
    size_t until;
    unsigned wants;            /* a reader by way of a transport, from its park until it runs: directions of fd */
    bool forgotten;            /* fd was closed or forgotten meanwhile */
    bool closed;               /* the stream is gone */
    bool parked;
};

/* ---- the frame of every call ---- */

static int begin(rota_stream *s, struct rota__stream_op **(*side)(rota_stream *),
                                           struct rota__stream_op *op, rota_task **task) {
    int rc = rota__enter_again(task);
    if (rc < 0)
        return rc;
    if (!s)
        return -EINVAL;
    if (!(s->flags_ & STREAM_OPEN))
        return -EBADF;
    if (s->loop_ != (*task)->loop)
        return -EPERM;
    if (*side(s))
        return -EBUSY;
    memset(op, 0, sizeof *op);
    /* gcc would warn of op's address, which outlives the caller's frame nowhere (see end). */
    __asm__("" : "+r"(op));
    *side(s) = op;
    return 0;
}

static struct rota__stream_op **reading(rota_stream *s) { return &s->reading_; }
static struct rota__stream_op **writing(rota_stream *s) { return &s->writing_; }

/* The courtesy to others comes before the last look at the op: they may close the stream. */
static ssize_t end(rota_stream *s, struct rota__stream_op **(*side)(rota_stream *), struct rota__stream_op *op,
                   rota_task *task, ssize_t result) {
    if (result >= 0 && !op->parked)
        rota__fast(task);
    if (op->closed)
        return -EBADF;
    *side(s) = NULL;
    return result;
}

/* ---- open and close ---- */

int rota_stream_open(rota_stream *s, int fd, const rota_stream_options *opt) {
    static const rota_stream_options defaults;
    opt = opt ? opt : &defaults;
    if (!s || (opt->buffer && !opt->buffer_size))
        return -EINVAL;
    memset(s, 0, sizeof *s);
    s->fd = -1;
    rota_loop *loop = rota__current;
    int rc = rota__loop_check(loop);
    if (rc == 0)
        rc = rota__fd_know(loop, fd);
    if (rc < 0)
        return rc;
    s->in_size_ = opt->buffer_size ? opt->buffer_size : IN_DEFAULT;
    s->in_ = opt->buffer ? opt->buffer : rota__alloc(&loop->allocator, s->in_size_);
    if (!s->in_)
        return -ENOMEM;
    s->high_water_ = opt->high_water ? opt->high_water : HIGH_WATER_DEFAULT;
    s->flags_ = STREAM_OPEN | (opt->buffer ? STREAM_BUFFER_LENT : 0);
    s->transport_ = opt->transport;
    s->transport_ctx_ = opt->transport_ctx;
    s->loop_ = loop;
    s->fd = fd;
    return 0;
}

void *rota_stream_transport_ctx(const rota_stream *s, const rota_stream_transport *transport) {
    return s && s->flags_ & STREAM_OPEN && transport && s->transport_ == transport ? s->transport_ctx_ : NULL;
}

static void wake(struct rota__stream_op *op) {
    if (!op || !op->waiting)
        return;
    op->waiting = false;
    (void)rota__wake(op->wait.task, 0);
}

/* If it waits, and need not any more. Who drains waits for what the transport holds too. */
static void wake_writer(rota_stream *s) {
    const struct rota__stream_op *op = s->writing_;
    if (op && s->out_used_ <= op->until && (op->until || !s->out_wants_))
        wake(s->writing_);
}

int rota_stream_close(rota_stream *s) {
    if (!s)
        return -EINVAL;
    if (!(s->flags_ & STREAM_OPEN))
        return -EBADF;
    if (rota__loop_check(s->loop_) == -EPERM)
        return -EPERM;
    if (s->flusher_.state_)
        rota__unwatch(s->loop_, &s->flusher_);
    if (s->reading_)
        s->reading_->closed = true; /* it stands in a wait on fd, or has yielded */
    if (s->writing_)
        s->writing_->closed = true;
    wake(s->reading_);
    wake(s->writing_);
    if (s->transport_)
        s->transport_->close(s->transport_ctx_, !s->out_used_ && !s->out_wants_ && !s->out_error_);
    if (!(s->flags_ & STREAM_BUFFER_LENT))
        rota__free(&s->loop_->allocator, s->in_, s->in_size_);
    rota__free(&s->loop_->allocator, s->out_, s->out_size_);
    int fd = s->fd;
    s->flags_ = 0;
    s->fd = -1;
    return rota__fd_close(s->loop_, fd);
}

/* ---- the queue of what is to be written ---- */

/* Its bytes in order, in one or two pieces. */
static int pieces(const rota_stream *s, struct iovec iov[2]) {
    size_t to_end = s->out_size_ - s->out_first_;
    size_t first = s->out_used_ < to_end ? s->out_used_ : to_end;
    iov[0] = (struct iovec){s->out_ + s->out_first_, first};
    iov[1] = (struct iovec){s->out_, s->out_used_ - first};
    return iov[1].iov_len ? 2 : 1;
}

/* A larger ring for n more bytes, up to the high-water mark. Without memory the one there is serves on. */
static int grow(rota_stream *s, size_t n) {
    size_t room = s->high_water_ - s->out_used_;
    size_t need = s->out_used_ + (n < room ? n : room);
    size_t size = s->out_size_ ? s->out_size_ : OUT_FIRST;
    if (need <= s->out_size_)
        return 0;
    while (size < need)
        size = size > s->high_water_ / 2 ? s->high_water_ : size * 2;
    if (size > s->high_water_)
        size = s->high_water_;
    unsigned char *ring = rota__alloc(&s->loop_->allocator, size);
    if (!ring)
        return s->out_size_ ? 0 : -ENOMEM;
    struct iovec iov[2];
    if (s->out_used_) {
        (void)pieces(s, iov);
        memcpy(ring, iov[0].iov_base, iov[0].iov_len);
        memcpy(ring + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
    }
    rota__free(&s->loop_->allocator, s->out_, s->out_size_);
    s->out_ = ring;
    s->out_size_ = size;
    s->out_first_ = 0;
    return 0;
}

static size_t enqueue(rota_stream *s, const unsigned char *bytes, size_t n) {
    size_t sum = 0;
    while (sum < n && s->out_used_ < s->out_size_) {
        size_t at = s->out_first_ + s->out_used_;
        at -= at >= s->out_size_ ? s->out_size_ : 0;
        size_t stop = at < s->out_first_ ? s->out_first_ : s->out_size_;
        size_t piece = stop - at < n - sum ? stop - at : n - sum;
        memcpy(s->out_ + at, bytes + sum, piece);
        s->out_used_ += piece;
        sum += piece;
    }
    return sum;
}

static void dequeue(rota_stream *s, size_t n) {
    s->out_first_ += n;
    s->out_first_ -= s->out_first_ >= s->out_size_ ? s->out_size_ : 0;
    s->out_used_ -= n;
    if (!s->out_used_)
        s->out_first_ = 0;
}

static void fail_output(rota_stream *s, int error) {
    s->out_error_ = error;
    s->out_used_ = 0;
    s->out_wants_ = 0;
}

/* ---- by way of a transport ---- */

static void carried_event(rota_watcher *watcher, unsigned ready, void *arg);

/* Watches for what either side is waiting for. */
static int rewatch(rota_stream *s) {
    unsigned wants = s->out_wants_ | (s->reading_ ? s->reading_->wants : 0);
    if (s->flusher_.state_) {
        if (s->flusher_.events == wants)
            return 0;
        rota__unwatch(s->loop_, &s->flusher_);
    }
    if (!wants)
        return 0;
    rota_watcher_init(&s->flusher_, s->fd, wants, carried_event, s);
    return rota__watch(s->loop_, &s->flusher_);
}

/* Gives the transport, and the transport the system, what they take. */
static void carried_push(rota_stream *s) {
    const rota_stream_transport *transport = s->transport_;
    struct iovec iov[2];
    unsigned wants = 0, wants_more = 0;
    ssize_t r = transport->flush(s->transport_ctx_, &wants);
    while (r == 0 && s->out_used_) {
        int n = pieces(s, iov);
        r = transport->send(s->transport_ctx_, iov, n, &wants);
        if (r > 0)
            dequeue(s, (size_t)r);
        r = r > 0 ? transport->flush(s->transport_ctx_, &wants) : r < 0 ? r : -EIO;
    }
    /* A send that waits for the peer may have left something to give to it: waited for as well. */
    if (r == -EAGAIN) {
        int rc = transport->flush(s->transport_ctx_, &wants_more);
        r = rc == 0 ? r : rc;
    }
    s->out_wants_ = r == -EAGAIN ? wants | wants_more : 0;
    if (r < 0 && r != -EAGAIN)
        fail_output(s, (int)r);
}

/* After each step of either side. */
static int settle(rota_stream *s) {
    if (!s->out_error_)
        carried_push(s);
    int rc = rewatch(s);
    if (rc < 0 && s->out_wants_)
        fail_output(s, rc);
    wake_writer(s);
    return rc;
}

/* In step 3, while somebody waits for fd. */
static void carried_event(rota_watcher *watcher, unsigned ready, void *arg) {
    rota_stream *s = arg;
    struct rota__stream_op *op = s->reading_;
    (void)watcher;
    if (ready & ROTA_CLOSED) {
        fail_output(s, -EBADF);
        if (op && op->wants)
            op->forgotten = true; /* also when it was woken before and has not run yet: it must not touch fd */
    }
    if (op && op->wants && !(ready == ROTA_WRITE && s->out_wants_ == ROTA_WRITE && op->wants == ROTA_READ))
        wake(op);
    if (ready & ROTA_CLOSED)
        wake_writer(s);
    else
        (void)settle(s);
}

static void leave(struct rota__wait *wait) { ((struct rota__stream_op *)wait)->waiting = false; }

/* Until an event of fd may have changed something. */
static int carried_wait(rota_stream *s, struct rota__stream_op *op, rota_task *task, unsigned wants) {
    int rc = rota__enter_again(&task); /* before a second wait of one call */
    op->wants = rc < 0 ? 0 : wants;
    int settled = settle(s);
    if (rc < 0 || settled < 0) {
        op->wants = 0;
        return rc < 0 ? rc : settled;
    }
    op->wait = (struct rota__wait){
        .what = "reading from", .on = (void *)(intptr_t)s->fd, .until = ROTA_FOREVER, .leave = leave};
    op->waiting = op->parked = true;
    rc = (int)rota__park(task, &op->wait);
    if (op->closed || op->forgotten)
        return -EBADF;
    op->wants = 0;
    if (rc < 0)
        (void)settle(s);
    return rc;
}

static ssize_t carried_receive(rota_stream *s, struct rota__stream_op *op, rota_task *task, void *buf, size_t n) {
    for (;;) {
        unsigned wants = 0;
        ssize_t r = s->transport_->receive(s->transport_ctx_, buf, n, &wants);
        if (r != -EAGAIN) {
            (void)settle(s);
            return r;
        }
        int rc = carried_wait(s, op, task, wants);
        if (rc < 0)
            return rc;
    }
}

/* As offer. */
static ssize_t carried_offer(rota_stream *s, const unsigned char *bytes, size_t n) {
    ssize_t r = -EAGAIN;
    if (!s->out_used_ && !s->out_wants_) {
        struct iovec iov = {(void *)(uintptr_t)bytes, n < ROTA__TRANSFER_MAX ? n : ROTA__TRANSFER_MAX};
        unsigned wants = 0;
        r = s->transport_->send(s->transport_ctx_, &iov, 1, &wants);
        r = r ? r : -EIO;
    }
    if (r == -EAGAIN) {
        int rc = grow(s, n);
        r = rc < 0 ? rc : (ssize_t)enqueue(s, bytes, n);
        if (rc < 0)
            return rc;
    }
    if (r < 0)
        fail_output(s, (int)r);
    else
        (void)settle(s);
    return r;
}

/* ---- reading ---- */

/* One read; never yields. Closed under it, fd is closed too, and it fails: so more than 0 means that the stream is
 * still there. */
static ssize_t receive(rota_stream *s, struct rota__stream_op *op, rota_task *task, void *buf, size_t n) {
    if (__builtin_expect(s->transport_ != NULL, 0))
        return carried_receive(s, op, task, buf, n);
    struct iovec iov = {buf, n < ROTA__TRANSFER_MAX ? n : ROTA__TRANSFER_MAX};
    int fd = s->fd;
    ssize_t r = rota__fd_try(task->loop, fd, ROTA_READ, &iov, 1);
    if (r == -EAGAIN) {
        op->parked = true;
        r = rota__fd_retry(task, fd, ROTA_READ, &iov, 1);
    }
    return r;
}

/* More bytes into the buffer, which has room: what is left is moved to its beginning when it has reached the end. */
static ssize_t fill(rota_stream *s, struct rota__stream_op *op, rota_task *task) {
    if (s->in_used_ == 0)
        s->in_first_ = 0;
    if (s->in_first_ + s->in_used_ == s->in_size_) {
        memmove(s->in_, s->in_ + s->in_first_, s->in_used_);
        s->in_first_ = 0;
    }
    size_t end_of_data = s->in_first_ + s->in_used_;
    ssize_t r = receive(s, op, task, s->in_ + end_of_data, s->in_size_ - end_of_data);
    if (r > 0)
        s->in_used_ += (size_t)r;
    return r;
}

static void consume(rota_stream *s, size_t n) {
    s->in_first_ += n;
    s->in_used_ -= n;
}

static size_t take(rota_stream *s, void *buf, size_t n) {
    if (n > s->in_used_)
        n = s->in_used_;
    if (n)
        memcpy(buf, s->in_ + s->in_first_, n);
    consume(s, n);
    return n;
}

/* At least one byte to buf, by way of the buffer unless buf is the larger of the two. n > 0. */
static ssize_t read_some(rota_stream *s, struct rota__stream_op *op, rota_task *task, void *buf, size_t n) {
    if (!s->in_used_ && n >= s->in_size_)
        return receive(s, op, task, buf, n);
    ssize_t r = s->in_used_ ? 1 : fill(s, op, task);
    return r > 0 ? (ssize_t)take(s, buf, n) : r;
}

ssize_t rota_stream_read(rota_stream *s, void *buf, size_t n) {
    rota__leave_forgotten();
    struct rota__stream_op op;
    rota_task *task;
    int rc = buf || !n ? begin(s, reading, &op, &task) : -EINVAL;
    if (rc < 0)
        return rc;
    return end(s, reading, &op, task, n ? read_some(s, &op, task, buf, n) : 0);
}

int rota_stream_read_exact(rota_stream *s, void *buf, size_t n, size_t *done) {
    rota__leave_forgotten();
    struct rota__stream_op op;
    rota_task *task;
    size_t sum = 0;
    if (done)
        *done = 0;
    int rc = buf || !n ? begin(s, reading, &op, &task) : -EINVAL;
    if (rc < 0)
        return rc;
    ssize_t r = 1;
    while (sum < n && (r = read_some(s, &op, task, (char *)buf + sum, n - sum)) > 0)
        sum += (size_t)r;
    if (done)
        *done = sum;
    return (int)end(s, reading, &op, task, r < 0 ? r : sum < n ? -EPIPE : 0);
}

/* ---- until ---- */

/* Where the separator begins in [from, n), or n. Its first byte is looked for by memchr; separators are short and
 * the program's own choice, so nothing cleverer is needed. */
static size_t find(const unsigned char *bytes, size_t from, size_t n, const unsigned char *separator, size_t len) {
    while (n - from >= len) {
        const unsigned char *at = memchr(bytes + from, separator[0], n - from - len + 1);
        if (!at)
            return n;
        from = (size_t)(at - bytes);
        if (memcmp(at, separator, len) == 0)
            return from;
        from++;
    }
    return n;
}

/* The length of what ends with the separator, not consumed yet; 0, -EPIPE, -EMSGSIZE and others as until. Each byte
 * is searched once however slowly they come. */
static ssize_t find_separator(rota_stream *s, struct rota__stream_op *op, rota_task *task, const void *separator,
                              size_t len, size_t limit) {
    if (limit == 0 || limit > s->in_size_)
        limit = s->in_size_;
    for (size_t searched = 0;;) {
        size_t n = s->in_used_ < limit ? s->in_used_ : limit;
        size_t at = find(s->in_ + s->in_first_, searched, n, separator, len);
        if (at < n)
            return (ssize_t)(at + len);
        if (n == limit)
            return -EMSGSIZE;
        searched = n >= len ? n - len + 1 : 0;
        ssize_t r = fill(s, op, task);
        if (r < 0)
            return r;
        if (r == 0)
            return s->in_used_ ? -EPIPE : 0;
    }
}

ssize_t rota_stream_until(rota_stream *s, const void *separator, size_t len, size_t limit, const char **data,
                          size_t *left) {
    rota__leave_forgotten();
    struct rota__stream_op op;
    rota_task *task;
    if (data)
        *data = NULL;
    if (left)
        *left = 0;
    int rc = begin(s, reading, &op, &task);
    if (rc < 0)
        return rc;
    ssize_t n = separator && len && data ? find_separator(s, &op, task, separator, len, limit) : -EINVAL;
    if (!op.closed && data) {
        *data = (const char *)s->in_ + s->in_first_;
        if (n > 0)
            consume(s, (size_t)n);
        else if (left)
            *left = s->in_used_;
    }
    return end(s, reading, &op, task, n);
}

/* Makes a string of the first n bytes, the last `eol` of which end the line. Without an end of line the byte behind
 * is free: the end of the data is only ever seen with room to read more. */
static ssize_t as_string(rota_stream *s, size_t n, size_t eol, const char **data) {
    unsigned char *line = s->in_ + s->in_first_;
    consume(s, n);
    n -= eol;
    if (eol && n && line[n - 1] == '\r')
        n--;
    line[n] = 0;
    *data = (const char *)line;
    return (ssize_t)n + 1;
}

ssize_t rota_stream_line(rota_stream *s, size_t limit, const char **data) {
    rota__leave_forgotten();
    struct rota__stream_op op;
    rota_task *task;
    if (data)
        *data = NULL;
    int rc = begin(s, reading, &op, &task);
    if (rc < 0)
        return rc;
    ssize_t n = data ? find_separator(s, &op, task, "\n", 1, limit) : -EINVAL;
    if (n > 0)
        n = as_string(s, (size_t)n, 1, data);
    else if (n == -EPIPE)
        n = as_string(s, s->in_used_, 0, data);
    n = end(s, reading, &op, task, n);
    if (n < 0 && data)
        *data = NULL;
    return n;
}

/* ---- the queue and the system ---- */

/* Gives the system what it takes. */
static void push(rota_stream *s) {
    struct iovec iov[2];
    while (s->out_used_) {
        int n = pieces(s, iov);
        ssize_t r = rota__fd_try(s->loop_, s->fd, ROTA_WRITE, iov, n);
        if (r == -EAGAIN)
            return;
        if (r <= 0) {
            fail_output(s, r < 0 ? (int)r : -EIO);
            return;
        }
        dequeue(s, (size_t)r);
    }
}

/* In step 3, while bytes wait. */
static void flush(rota_watcher *watcher, unsigned ready, void *arg) {
    rota_stream *s = arg;
    if (ready & ROTA_CLOSED)
        fail_output(s, -EBADF); /* by rota_close or rota_forget: fd is not the stream's any more */
    else
        push(s);
    if (!s->out_used_ && watcher->state_)
        rota__unwatch(s->loop_, watcher);
    wake_writer(s);
}

/* Queues what fits of n bytes that the system did not take: how many, or an error. Whatever can fail comes first. */
static ssize_t queue_rest(rota_stream *s, const unsigned char *bytes, size_t n) {
    int rc = grow(s, n);
    if (rc < 0)
        return rc;
    if (!s->flusher_.state_) {
        rota_watcher_init(&s->flusher_, s->fd, ROTA_WRITE, flush, s);
        rc = rota__watch(s->loop_, &s->flusher_);
        if (rc < 0)
            return rc;
    }
    return (ssize_t)enqueue(s, bytes, n);
}

/* ---- writing ---- */

/* Until at most `until` bytes are queued. */
static int wait_for_room(rota_stream *s, struct rota__stream_op *op, rota_task *task, size_t until) {
    int rc = rota__enter_again(&task); /* before a second wait of one call */
    if (rc < 0)
        return rc;
    op->wait = (struct rota__wait){.what = "room in a stream", .on = s, .until = ROTA_FOREVER, .leave = leave};
    op->waiting = op->parked = true;
    op->until = until;
    rc = (int)rota__park(task, &op->wait);
    return op->closed ? -EBADF : rc < 0 ? rc : s->out_error_;
}

/* Bytes of [bytes, bytes + n) that were taken without waiting, or an error. */
static ssize_t offer(rota_stream *s, const unsigned char *bytes, size_t n) {
    if (__builtin_expect(s->transport_ != NULL, 0))
        return carried_offer(s, bytes, n);
    if (!s->out_used_) {
        struct iovec iov = {(void *)(uintptr_t)bytes, n < ROTA__TRANSFER_MAX ? n : ROTA__TRANSFER_MAX};
        ssize_t r = rota__fd_try(s->loop_, s->fd, ROTA_WRITE, &iov, 1);
        if (r == 0)
            r = -EIO; /* a device that takes nothing of something */
        if (r != -EAGAIN) {
            if (r < 0)
                fail_output(s, (int)r);
            return r;
        }
    }
    return queue_rest(s, bytes, n);
}

int rota_stream_write(rota_stream *s, const void *buf, size_t n) {
    rota__leave_forgotten();
    struct rota__stream_op op;
    rota_task *task;
    const unsigned char *bytes = buf;
    int rc = begin(s, writing, &op, &task);
    if (rc == -ECANCELED && s && s->flags_ & STREAM_OPEN && s->loop_ == task->loop && !s->writing_)
        s->taken = 0; /* what is there is of an earlier call; of one that is under way it is not ours to change */
    if (rc < 0)
        return rc;
    s->taken = 0;
    rc = n > PTRDIFF_MAX ? -EINVAL : s->out_error_;
    for (size_t sum = 0; rc == 0 && sum < n;) {
        ssize_t r = offer(s, bytes + sum, n - sum);
        if (r > 0)
            s->taken = sum += (size_t)r;
        else /* half of it free, so that a slow reader does not cause a wake-up for each few bytes */
            rc = r < 0 ? (int)r : wait_for_room(s, &op, task, s->high_water_ / 2);
    }
    return (int)end(s, writing, &op, task, rc);
}

ssize_t rota_stream_try_write(rota_stream *s, const void *buf, size_t n) {
    const unsigned char *bytes = buf;
    if (!s || n > PTRDIFF_MAX)
        return -EINVAL;
    if (!(s->flags_ & STREAM_OPEN))
        return -EBADF;
    int rc = rota__loop_check(s->loop_);
    if (rc == 0)
        rc = s->writing_ ? -EBUSY : s->out_error_;
    if (rc < 0)
        return rc;
    size_t sum = 0;
    ssize_t r = 1;
    while (sum < n && (r = offer(s, bytes + sum, n - sum)) > 0)
        sum += (size_t)r;
    s->taken = sum;
    return sum || r > 0 ? (ssize_t)sum : r < 0 ? r : -EAGAIN;
}

static int drain(rota_stream *s, struct rota__stream_op *op, rota_task *task) {
    int rc = s->out_error_;
    while (rc == 0 && (s->out_used_ || s->out_wants_))
        rc = wait_for_room(s, op, task, 0);
    return rc;
}

int rota_stream_drain(rota_stream *s) {
    rota__leave_forgotten();
    struct rota__stream_op op;
    rota_task *task;
    int rc = begin(s, writing, &op, &task);
    return rc < 0 ? rc : (int)end(s, writing, &op, task, drain(s, &op, task));
}

/* The transport's own end of data, and until the system has it. fd's other half stays as it is: the transport may have
 * to answer its peer still. */
static int carried_shutdown(rota_stream *s, struct rota__stream_op *op, rota_task *task) {
    for (;;) {
        unsigned wants = 0;
        int ended = s->transport_->shutdown(s->transport_ctx_, &wants);
        if (ended < 0 && ended != -EAGAIN)
            return ended;
        int rc = settle(s);
        if (rc == 0 && ended == -EAGAIN && !s->out_wants_) {
            s->out_wants_ = wants;
            rc = rewatch(s);
        }
        if (rc == 0)
            rc = drain(s, op, task);
        if (rc < 0 || ended == 0)
            return rc;
    }
}

int rota_stream_shutdown(rota_stream *s) {
    rota__leave_forgotten();
    struct rota__stream_op op;
    rota_task *task;
    int rc = begin(s, writing, &op, &task);
    if (rc < 0)
        return rc;
    rc = drain(s, &op, task);
    if (rc == 0)
        rc = s->transport_ ? carried_shutdown(s, &op, task) : rota__sys_shutdown(s->fd, SHUT_WR);
    return (int)end(s, writing, &op, task, rc);
}
