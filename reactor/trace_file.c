/* The trace as a file that a viewer opens: rota_trace_to_file, and ROTA_TRACE of the environment.
 *
 * The format is JSON as in "Trace Event Format" (Chromium; Perfetto reads it), in its array form, one event per line.
 * Each loop is a process of the picture, whose main thread is the loop's own stack; each task is a thread of it. Rows:
 *
 *     a task    "B"/"E" slices, one after the other without a gap: ready, runs, waits for ..., ready, runs, ...
 *     the loop  "B"/"E" slices: poll, and callbacks; instants for posts
 *     arrows    "s" at who wakes or spawns, "f" at who gets ready, with the same id
 *     curves    "C": how many tasks live, and how much is ready
 *
 * So nothing has to be remembered of a task between its events. The viewer wants thread ids to be unique in the whole
 * file and to fit in 32 bits, and takes the thread whose id is the process's for the main one: loop k has pid k << 24 | 1
 * and its task n the tid that is n higher.
 *
 * Invariant: what lies before sink->end is whole lines, behind an opening bracket; the closing bracket is written behind
 * `end` when the last loop goes, and over it when one comes again. So the file is read by everybody after a clean end,
 * and by viewers, which do without the bracket, after a kill. A write that fails ends the trace, and nothing else.
 * It must not know what a task is: it sees events.
 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "reactor/loop.h"
#include "reactor/text.h"

enum {
    BUFFER = 32 * 1024,
    LINE = 2560,             /* no event is longer: two texts, each byte of which may become six */
    TEXT_MOST = 128,         /* bytes of a name */
    PATH_MOST = 1024,
    LOOP_BITS = 24,          /* see above: rows of a loop */
    LOOP_MASK = 0xff
};
#define FLUSH_EVERY (100 * ROTA_MS)   /* when idle: little is lost of a program that is killed */

/* A file, of one loop or (the environment's) of all that the process makes. */
struct sink {
    pthread_mutex_t lock;    /* for everything below, and for writing */
    char path[PATH_MOST];
    int fd;                  /* -1: not open */
    int error;               /* the first one */
    bool reported;
    unsigned loops;          /* that write to it now, */
    unsigned numbers;        /* and that ever did */
    int64_t start;           /* time 0 of the picture */
    int64_t end;
};

struct rota__trace_file {
    struct sink *sink;
    int error;               /* of the sink, as this loop last saw it */
    uint32_t pid;
    uint64_t arrow;          /* id of the latest one */
    unsigned depth;          /* slices that are open in the loop's own row */
    int64_t ready, live;     /* as drawn; -1: not yet */
    int64_t late;            /* of the timer whose callback comes next */
    int64_t flushed;         /* when */
    size_t used;
    char buffer[BUFFER];
};

static struct sink environment = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

/* ---- writing ---- */

static int write_at(struct sink *sink, const char *bytes, size_t n, int64_t offset) {
    while (n > 0) {
        ssize_t written = rota__sys_pwrite(sink->fd, bytes, n, (off_t)offset);
        if (written == -EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? (int)written : -EIO;
        bytes += written;
        offset += written;
        n -= (size_t)written;
    }
    return 0;
}

static int write_bracket(struct sink *sink) { return write_at(sink, "\n]\n", 3, sink->end); }

/* The file ends where the last whole write did, so that it stays readable. */
static void give_up(struct sink *sink, int error) {
    sink->error = error;
    (void)rota__sys_ftruncate(sink->fd, (off_t)sink->end);
    (void)write_bracket(sink);
}

static void flush(struct rota__trace_file *f) {
    struct sink *sink = f->sink;
    pthread_mutex_lock(&sink->lock);
    if (f->used > 0 && sink->error == 0) {
        int rc = write_at(sink, f->buffer, f->used, sink->end);
        if (rc == 0)
            sink->end += (int64_t)f->used;
        else
            give_up(sink, rc);
    }
    f->used = 0;
    f->error = sink->error;
    pthread_mutex_unlock(&sink->lock);
}

static void report(rota_loop *loop, struct sink *sink, int error) {
    char line[PATH_MOST + 128];
    struct rota__text t;
    pthread_mutex_lock(&sink->lock);
    bool first = !sink->reported;
    sink->reported = true;
    pthread_mutex_unlock(&sink->lock);
    if (!first)
        return;
    rota__text_init(&t, line, sizeof line);
    rota__text_add(&t, "the trace file ");
    rota__text_add(&t, sink->path);
    rota__text_add(&t, " cannot be written: ");
    rota__text_add(&t, rota_strerror(error));
    rota__report(loop, ROTA_REPORT_TRACE, error, NULL, NULL, line);
}

/* ---- JSON ---- */

static void put(struct rota__trace_file *f, const char *s) {
    size_t n = strlen(s);
    memcpy(f->buffer + f->used, s, n);
    f->used += n;
}

static void put_number(struct rota__trace_file *f, int64_t n) {
    struct rota__text t;
    rota__text_init(&t, f->buffer + f->used, 24);
    rota__text_number(&t, n);
    f->used += t.length;
}

/* How many bytes of s are one character of well-formed UTF-8 (Unicode, table 3-7): 0, none are. */
static size_t character(const unsigned char *s) {
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < n; i++) {
        if (s[i] < low || s[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return n;
}

/* The inside of a JSON string (RFC 8259, 7). Bytes of no character become U+FFFD, each. */
static void put_text(struct rota__trace_file *f, const char *text) {
    const unsigned char *s = (const unsigned char *)text, *most = s + TEXT_MOST;
    while (*s && s < most) {
        size_t n = character(s);
        if (n == 0) {
            put(f, "\\ufffd");
        } else if (*s < 0x20 || *s == 0x7f || *s == '"' || *s == '\\') {
            char escape[] = { '\\', 'u', '0', '0', "0123456789abcdef"[*s >> 4], "0123456789abcdef"[*s & 15], '\0' };
            put(f, escape);
        } else {
            memcpy(f->buffer + f->used, s, n);
            f->used += n;
        }
        s += n ? n : 1;
    }
    if (*s)
        put(f, "...");
}

static void put_field(struct rota__trace_file *f, const char *key, int64_t n) {
    put(f, ",\"");
    put(f, key);
    put(f, "\":");
    put_number(f, n);
}

/* Microseconds, with the nanoseconds behind the point. */
static void put_time(struct rota__trace_file *f, int64_t ns) {
    int64_t from_start = ns > f->sink->start ? ns - f->sink->start : 0;
    put_field(f, "ts", from_start / ROTA_US);
    int part = (int)(from_start % ROTA_US);
    char digits[] = { '.', (char)('0' + part / 100), (char)('0' + part / 10 % 10), (char)('0' + part % 10), '\0' };
    put(f, digits);
}

static uint32_t row(const struct rota__trace_file *f, uint64_t task) {
    return f->pid + (uint32_t)(task & ((1u << LOOP_BITS) - 1));
}

/* An event of phase `ph` up to where its name stands; the rest goes behind it, and line_end ends it. */
static void line(struct rota__trace_file *f, const char *ph, uint64_t task) {
    if (f->used + LINE > BUFFER)
        flush(f);
    put(f, ",\n{\"ph\":\"");
    put(f, ph);
    put(f, "\"");
    put_field(f, "pid", f->pid);
    put_field(f, "tid", row(f, task));
}

static void line_at(struct rota__trace_file *f, const char *ph, uint64_t task, const rota_trace_event *e) {
    line(f, ph, task);
    put_time(f, e->time);
}

static void line_end(struct rota__trace_file *f) { put(f, "}"); }

static void put_name(struct rota__trace_file *f, const char *before, const char *name) {
    put(f, ",\"name\":\"");
    put(f, before);
    put_text(f, name);
    put(f, "\"");
}

/* ---- rows ---- */

static void put_row_name(struct rota__trace_file *f, const char *name, uint64_t task) {
    put_text(f, name && *name ? name : "task");
    put(f, " #");
    put_number(f, (int64_t)task);
}

static void name_row(struct rota__trace_file *f, uint64_t task, const char *name) {
    line(f, "M", task);
    put(f, ",\"name\":\"thread_name\",\"args\":{\"name\":\"");
    put_row_name(f, name, task);
    put(f, "\"}}");
    line(f, "M", task);
    put(f, ",\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":");
    put_number(f, (int64_t)task);
    put(f, "}}");
}

static void put_object(struct rota__trace_file *f, const rota_trace_event *e) {
    if (!e->object)
        return;
    struct rota__text t;
    put(f, ",\"args\":{\"on\":\"");
    rota__text_init(&t, f->buffer + f->used, 24);
    rota__text_hex(&t, (uintptr_t)e->object);
    f->used += t.length;
    put(f, "\"}");
}

static void slice_end(struct rota__trace_file *f, uint64_t task, const rota_trace_event *e) {
    line_at(f, "E", task, e);
    line_end(f);
}

static void slice_begin(struct rota__trace_file *f, uint64_t task, const char *kind, const rota_trace_event *e) {
    line_at(f, "B", task, e);
    put_name(f, kind, "");
    put(f, ",\"cat\":\"");
    put(f, kind);
    put(f, "\"");
    line_end(f);
}

static void wait_begin(struct rota__trace_file *f, const rota_trace_event *e) {
    line_at(f, "B", e->task, e);
    put_name(f, "waits for ", e->what ? e->what : "something");
    put(f, ",\"cat\":\"waits\"");
    put_object(f, e);
    line_end(f);
}

/* From who runs to the slice that begins next in the row of whom it made ready. Nothing to start from: no arrow. */
static void arrow(struct rota__trace_file *f, const char *name, const rota_trace_event *e) {
    if (e->other == 0 && f->depth == 0)
        return;
    f->arrow++;
    line_at(f, "s", e->other, e);
    put_name(f, name, "");
    put(f, ",\"cat\":\"arrows\"");
    put_field(f, "id", (int64_t)f->arrow);
    line_end(f);
    line_at(f, "f", e->task, e);
    put_name(f, name, "");
    put(f, ",\"cat\":\"arrows\"");
    put_field(f, "id", (int64_t)f->arrow);
    line_end(f);
}

static void instant(struct rota__trace_file *f, uint64_t task, const char *before, const char *name,
                    const rota_trace_event *e) {
    line_at(f, "i", task, e);
    put_name(f, before, name);
    put(f, ",\"s\":\"t\"");
    line_end(f);
}

/* ---- events ---- */

static void curve(struct rota__trace_file *f, const char *name, int64_t value, int64_t *drawn,
                  const rota_trace_event *e) {
    if (value == *drawn)
        return;
    *drawn = value;
    line_at(f, "C", 0, e);
    put_name(f, name, "");
    put(f, ",\"args\":{\"value\":");
    put_number(f, value);
    put(f, "}}");
}

static void on_turn(rota_loop *loop, struct rota__trace_file *f, const rota_trace_event *e) {
    rota_counters counters = { 0 };
    if (loop->upper)
        loop->upper->count(loop, &counters);
    curve(f, "ready", e->value, &f->ready, e);
    curve(f, "tasks", (int64_t)counters.live, &f->live, e);
}

static void on_end(struct rota__trace_file *f, const rota_trace_event *e) {
    line_at(f, "E", e->task, e);
    put(f, ",\"args\":{\"outcome\":");
    if (rota_failed((intptr_t)e->value)) {
        put(f, "\"");
        put_text(f, rota_strerror((intptr_t)e->value));
        put(f, "\"");
    } else {
        put_number(f, e->value);
    }
    put(f, "}}");
}

static void on_cancel(struct rota__trace_file *f, const rota_trace_event *e) {
    line_at(f, "i", e->other, e);
    put(f, ",\"name\":\"cancels ");
    if (e->task)
        put_row_name(f, e->name, e->task);
    else
        put(f, "everything");
    put(f, "\",\"s\":\"t\"");
    if (e->what) {
        put(f, ",\"args\":{\"reason\":\"");
        put_text(f, e->what);
        put(f, "\"}");
    }
    line_end(f);
}

static void on_task(struct rota__trace_file *f, const rota_trace_event *e) {
    name_row(f, e->task, e->name);
    if (e->value == 2)
        wait_begin(f, e);
    else
        slice_begin(f, e->task, e->value == 1 ? "runs" : "ready", e);
}

static void about_task(struct rota__trace_file *f, const rota_trace_event *e) {
    switch (e->kind) {
    case ROTA_TRACE_TASK:
        on_task(f, e);
        break;
    case ROTA_TRACE_SPAWN:
        name_row(f, e->task, e->name);
        arrow(f, "spawns", e);
        slice_begin(f, e->task, "ready", e);
        break;
    case ROTA_TRACE_SWITCH_IN:
        slice_end(f, e->task, e);
        slice_begin(f, e->task, "runs", e);
        break;
    case ROTA_TRACE_SWITCH_OUT:
        slice_end(f, e->task, e);
        if (e->value)
            slice_begin(f, e->task, "ready", e);
        else
            wait_begin(f, e);
        break;
    case ROTA_TRACE_WAKE:
        slice_end(f, e->task, e);
        arrow(f, "wakes", e);
        slice_begin(f, e->task, "ready", e);
        break;
    case ROTA_TRACE_END:
        on_end(f, e);
        break;
    case ROTA_TRACE_CANCEL:
        on_cancel(f, e);
        break;
    default:
        instant(f, e->task, rota_trace_kind(e->kind), "", e); /* a refusal, a job */
    }
}

static void loop_slice(struct rota__trace_file *f, const char *name, const char *argument, int64_t value,
                       const rota_trace_event *e) {
    f->depth++;
    line_at(f, "B", 0, e);
    put_name(f, "", name);
    put(f, ",\"cat\":\"loop\",\"args\":{\"");
    put(f, argument);
    put(f, "\":");
    put_number(f, value);
    put(f, "}}");
}

/* One that was open already when the trace began has no slice. */
static void loop_slice_end(struct rota__trace_file *f, const rota_trace_event *e) {
    if (f->depth == 0)
        return;
    f->depth--;
    slice_end(f, 0, e);
}

static void about_loop(rota_loop *loop, struct rota__trace_file *f, const rota_trace_event *e) {
    bool fires = f->late >= 0;
    switch (e->kind) {
    case ROTA_TRACE_TURN:
        on_turn(loop, f, e);
        break;
    case ROTA_TRACE_POLL_BEGIN:
        loop_slice(f, "poll", "timeout_ns", e->value == ROTA_FOREVER ? -1 : e->value, e);
        if (e->value > 0 && !loop->is_virtual && e->time - f->flushed > FLUSH_EVERY) {
            flush(f);
            f->flushed = e->time;
        }
        break;
    case ROTA_TRACE_CALLBACK_BEGIN:
        loop_slice(f, e->what, fires ? "late_ns" : "of", fires ? f->late : e->value, e);
        f->late = -1;
        break;
    case ROTA_TRACE_TIMER:
        f->late = e->value > 0 ? e->value : 0;
        break;
    case ROTA_TRACE_POST:
        instant(f, 0, "post", "", e);
        break;
    case ROTA_TRACE_POLL_END:
    case ROTA_TRACE_CALLBACK_END:
        loop_slice_end(f, e);
        break;
    default:
        break; /* a job of nobody */
    }
}

void rota__trace_file_event(rota_loop *loop, const rota_trace_event *e) {
    struct rota__trace_file *f = loop->tracer.file;
    if (f->error < 0)
        return;
    if (e->task || e->kind == ROTA_TRACE_CANCEL)
        about_task(f, e);
    else
        about_loop(loop, f, e);
    if (f->error < 0)
        report(loop, f->sink, f->error);
}

/* ---- opening and closing ---- */

/* %p in a path is the process; %% is %. A child after fork that names no process gets a file of its own all the same: its
 * parent writes to the other. */
static int expand(const char *path, bool child, char *out) {
    struct rota__text t;
    bool named = false;
    rota__text_init(&t, out, PATH_MOST);
    for (const char *s = path; *s; s++) {
        bool escape = s[0] == '%' && (s[1] == 'p' || s[1] == '%');
        if (escape && *++s == 'p') {
            rota__text_number(&t, rota__sys_pid());
            named = true;
        } else {
            rota__text_add(&t, (char[]){ *s, '\0' });
        }
    }
    if (child && !named) {
        rota__text_add(&t, ".");
        rota__text_number(&t, rota__sys_pid());
    }
    return t.length == 0 ? -EINVAL : t.length < PATH_MOST ? 0 : -ENAMETOOLONG;
}

static int open_sink(rota_loop *loop, struct sink *sink, const char *path, bool child) {
    int rc = expand(path, child, sink->path);
    if (rc < 0)
        return rc;
    /* Not blocking: opening a pipe with a name would wait for a reader. */
    sink->fd = rota__sys_open(sink->path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_NONBLOCK, 0666);
    if (sink->fd < 0) {
        rc = sink->fd;
        sink->fd = -1;
        return rc;
    }
    sink->error = 0;
    sink->numbers = sink->loops = 0;
    sink->end = 0;
    sink->start = loop->now;
    return 0;
}

static void close_fd(struct sink *sink) {
    if (sink->fd >= 0)
        (void)rota__sys_close(sink->fd);
    sink->fd = -1;
}

/* The first event of a file stands without the comma that all others begin with, and is written at once: who cannot
 * write learns it here. */
static int introduce(rota_loop *loop, struct rota__trace_file *f) {
    struct sink *sink = f->sink;
    unsigned number = sink->numbers;
    f->pid = (number & LOOP_MASK) << LOOP_BITS | 1;
    line(f, "M", 0);
    put(f, ",\"name\":\"process_name\",\"args\":{\"name\":\"loop ");
    put_number(f, number + 1);
    put(f, " of process ");
    put_number(f, rota__sys_pid());
    put(f, " (");
    put(f, loop->poller->name);
    put(f, loop->is_virtual ? ", virtual clock)\"}}" : ")\"}}");
    line(f, "M", 0);
    put(f, ",\"name\":\"thread_name\",\"args\":{\"name\":\"loop\"}}");
    if (sink->end == 0)
        f->buffer[0] = '[';
    int rc = write_at(sink, f->buffer, f->used, sink->end);
    if (rc < 0)
        return rc;
    sink->end += (int64_t)f->used;
    f->used = 0;
    sink->numbers++;
    sink->loops++;
    return 0;
}

/* With the sink's lock held. */
static int join(rota_loop *loop, struct sink *sink) {
    struct rota__trace_file *f = rota__alloc(&loop->allocator, sizeof *f);
    if (!f)
        return -ENOMEM;
    memset(f, 0, sizeof *f - sizeof f->buffer);
    f->sink = sink;
    f->ready = f->live = f->late = -1;
    f->flushed = loop->now;
    f->arrow = (uint64_t)sink->numbers << 40;   /* unique in the file, and exact in a double */
    int rc = introduce(loop, f);
    if (rc < 0) {
        rota__free(&loop->allocator, f, sizeof *f);
        return rc;
    }
    loop->tracer.file = f;
    return 0;
}

static void listener(void *loop, const rota_trace_event *event) { rota__trace_file_event(loop, event); }

static void listen_to(rota_loop *loop) {
    rota__watched_changed(loop);
    if (loop->upper)
        loop->upper->tell(loop, listener, loop);
}

/* Ends what is open in the rows of tasks that still live. */
static void end_row(void *loop, const rota_trace_event *e) {
    struct rota__trace_file *f = ((rota_loop *)loop)->tracer.file;
    slice_end(f, e->task, e);
}

static void end_rows(rota_loop *loop, struct rota__trace_file *f) {
    rota_trace_event now = { .time = rota__trace_time(loop) };
    while (f->depth > 0)
        loop_slice_end(f, &now);
    if (loop->upper)
        loop->upper->tell(loop, end_row, loop);
    flush(f);
}

/* In a child after fork the file is its parent's. */
int rota__trace_file_close(rota_loop *loop, bool forked) {
    struct rota__trace_file *f = loop->tracer.file;
    if (!f)
        return 0;
    struct sink *sink = f->sink;
    int error = 0;
    if (!forked) {
        end_rows(loop, f);
        error = f->error;
        pthread_mutex_lock(&sink->lock);
        if (--sink->loops == 0 && error == 0)
            error = sink->error = write_bracket(sink);
        pthread_mutex_unlock(&sink->lock);
        if (error < 0)
            report(loop, sink, error);
    }
    loop->tracer.file = NULL;
    rota__watched_changed(loop);
    rota__free(&loop->allocator, f, sizeof *f);
    if (sink != &environment) {
        close_fd(sink);
        rota__free(&loop->allocator, sink, sizeof *sink);
    }
    return error;
}

int rota_trace_to_file(rota_loop *loop, const char *path) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!path)
        return rota__trace_file_close(loop, false);
    if (loop->tracer.file)
        return -EALREADY;
    struct sink *sink = rota__alloc(&loop->allocator, sizeof *sink);
    if (!sink)
        return -ENOMEM;
    *sink = (struct sink){ .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };
    rc = open_sink(loop, sink, path, false);
    if (rc == 0)
        rc = join(loop, sink);
    if (rc < 0) {
        close_fd(sink);
        rota__free(&loop->allocator, sink, sizeof *sink);
        return rc;
    }
    listen_to(loop);
    return 0;
}

/* ---- the environment ---- */

/* In a child after fork, before anything else runs there: the file is the parent's, and the lock may be held by a thread
 * that is not there. */
void rota__trace_forked(void) {
    close_fd(&environment);
    environment = (struct sink){ .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };
}

/* All loops of the process share one file. */
void rota__trace_from_environment(rota_loop *loop) {
    const char *path = rota__env_trace();
    if (!path)
        return;
    pthread_mutex_lock(&environment.lock);
    int rc = environment.error;
    if (rc == 0 && environment.fd < 0)
        rc = open_sink(loop, &environment, path, rota__forks != 0);
    if (rc == 0)
        rc = join(loop, &environment);
    if (rc < 0 && environment.error == 0)
        environment.error = rc; /* one try: not every loop of a program shall fail anew */
    pthread_mutex_unlock(&environment.lock);
    if (rc < 0)
        report(loop, &environment, rc);
    else
        listen_to(loop);
}
