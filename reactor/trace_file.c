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
    bool is_open;            /* and so: (all zero must mean a sink that is not open: no initialised data) */
    int fd;
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

static struct sink environment = { .lock = PTHREAD_MUTEX_INITIALIZER };

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

static void put_address(struct rota__trace_file *f, const void *object) {
    struct rota__text t;
    rota__text_init(&t, f->buffer + f->used, 24);
    rota__text_hex(&t, (uintptr_t)object);
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

/* Microseconds since the start, with the nanoseconds behind the point. */
static void put_time(struct rota__trace_file *f, int64_t ns) {
    put(f, ",\"ts\":");
    int64_t thousands = (ns > f->sink->start ? ns - f->sink->start : 0) + 1000;
    put_number(f, thousands / 1000 - 1);
    size_t point = f->used;
    put_number(f, thousands % 1000 + 1000);
    f->buffer[point] = '.'; /* over the 1 */
}

/* A line of phase `ph` up to where its name stands; M, for metadata, has no time. */
static void begin_line(struct rota__trace_file *f, char ph, uint64_t task, int64_t time) {
    if (f->used + LINE > BUFFER)
        flush(f);
    put(f, ",\n{\"ph\":\"");
    f->buffer[f->used++] = ph;
    put(f, "\",\"pid\":");
    put_number(f, f->pid);
    put(f, ",\"tid\":");
    put_number(f, f->pid + (uint32_t)(task & ((1u << LOOP_BITS) - 1)));
    if (ph != 'M')
        put_time(f, time);
}

static void put_task(struct rota__trace_file *f, const rota_trace_event *e) {
    if (!e->task) {
        put(f, "everything");
        return;
    }
    put_text(f, e->name && *e->name ? e->name : "task");
    put(f, " #");
    put_number(f, (int64_t)e->task);
}

static void put_outcome(struct rota__trace_file *f, intptr_t value) {
    if (!rota_failed(value)) {
        put_number(f, value);
        return;
    }
    put(f, "\"");
    put_text(f, rota_strerror(value));
    put(f, "\"");
}

static void put_part(struct rota__trace_file *f, const rota_trace_event *e, char part, const char *text, int64_t n) {
    switch (part) {
    case 'n': put(f, ",\"name\":\""); break;
    case 'a': put(f, ",\"args\":{\""); break;
    case 'c': put(f, "\",\"cat\":\""); break;
    case 't': put_task(f, e); break;
    case 'w': put_text(f, e->what ? e->what : "something"); break;
    case 'o': put_address(f, e->object); break;
    case 'r': put_outcome(f, (intptr_t)e->value); break;
    case 's': put_text(f, text); break;
    default: put_number(f, n);
    }
}

/* Puts what the format says, which stands for itself but for
 *
 *     @p  ends the line before, and begins one of phase p in the row of e->task (0: the loop's own);
 *     ^p  the same in the row of e->other;
 *     %n  begins the name, %a the arguments, %c the category, which ends the name;
 *     %t  is the task's name and number, %w what it is about, %o which object, %r the outcome: all of the event;
 *     %s  is the text, %d the number that are given beside it.
 */
static void draw(struct rota__trace_file *f, const rota_trace_event *e, const char *format, const char *text, int64_t n) {
    for (const char *s = format; *s; s++) {
        if (*s == '@' || *s == '^') {
            if (s > format)
                put(f, "}");
            begin_line(f, s[1], *s == '@' ? e->task : e->other, e->time);
            s++;
        } else if (*s == '%') {
            put_part(f, e, *++s, text, n);
        } else {
            f->buffer[f->used++] = *s;
        }
    }
    put(f, "}");
}

/* ---- of tasks ---- */

/* From who runs to the slice that begins next in the row of whom it made ready. Nothing to start from: no arrow. */
static void arrow(struct rota__trace_file *f, const rota_trace_event *e) {
    if (e->other == 0 && f->depth == 0)
        return;
    draw(f, e, "^s%n%s%carrows\",\"id\":%d@f%n%s%carrows\",\"id\":%d", e->kind == ROTA_TRACE_SPAWN ? "spawns" : "wakes",
         (int64_t)++f->arrow);
}

/* A slice of the task's row ends, another one begins: what it does from now on. */
static void on_change(struct rota__trace_file *f, const rota_trace_event *e) {
    int kind = e->kind;
    bool is_new = kind == ROTA_TRACE_TASK || kind == ROTA_TRACE_SPAWN;
    bool waits = kind == ROTA_TRACE_TASK ? e->value == 2 : kind == ROTA_TRACE_SWITCH_OUT && !e->value;
    bool runs = kind == ROTA_TRACE_TASK ? e->value == 1 : kind == ROTA_TRACE_SWITCH_IN;
    const char *slice = waits ? "@B%nwaits for %w%cwaits\"" : "@B%n%s%c%s\"";
    draw(f, e, is_new ? "@M%nthread_name\"%aname\":\"%t\"}@M%nthread_sort_index\"%asort_index\":%d}" : "@E", NULL,
         (int64_t)e->task);
    if (kind == ROTA_TRACE_SPAWN || kind == ROTA_TRACE_WAKE)
        arrow(f, e);
    if (waits && e->object)
        slice = "@B%nwaits for %w%cwaits\"%aon\":\"%o\"}";
    draw(f, e, slice, runs ? "runs" : "ready", 0);
}

/* Of an event that is one line: its format, and the text in that. */
static const char *task_line(const rota_trace_event *e, const char **text) {
    switch (e->kind) {
    case ROTA_TRACE_END:
        return "@E%aoutcome\":%r}";
    case ROTA_TRACE_CANCEL:
        return e->what ? "^i%ncancels %t\",\"s\":\"t\"%areason\":\"%w\"}" : "^i%ncancels %t\",\"s\":\"t\"";
    default: /* a refusal, a job */
        *text = rota_trace_kind(e->kind);
        return "@i%n%s\",\"s\":\"t\"";
    }
}

static bool is_change(int kind) {
    return kind == ROTA_TRACE_TASK || kind == ROTA_TRACE_SPAWN || kind == ROTA_TRACE_SWITCH_IN ||
           kind == ROTA_TRACE_SWITCH_OUT || kind == ROTA_TRACE_WAKE;
}

static void about_task(struct rota__trace_file *f, const rota_trace_event *e) {
    const char *text = NULL;
    if (is_change(e->kind)) {
        on_change(f, e);
    } else {
        const char *format = task_line(e, &text);
        draw(f, e, format, text, 0);
    }
}

/* ---- of the loop ---- */

static void curve(struct rota__trace_file *f, const char *name, int64_t value, int64_t *drawn,
                  const rota_trace_event *e) {
    if (value != *drawn)
        draw(f, e, "@C%n%s\"%avalue\":%d}", name, value);
    *drawn = value;
}

static void on_turn(rota_loop *loop, struct rota__trace_file *f, const rota_trace_event *e) {
    rota_counters counters = { 0 };
    if (loop->upper)
        loop->upper->count(loop, &counters);
    curve(f, "ready", e->value, &f->ready, e);
    curve(f, "tasks", (int64_t)counters.live, &f->live, e);
}

/* One that was open already when the trace began has no slice. */
static void loop_slice_end(struct rota__trace_file *f, const rota_trace_event *e) {
    if (f->depth == 0)
        return;
    f->depth--;
    draw(f, e, "@E", NULL, 0);
}

static void about_loop(rota_loop *loop, struct rota__trace_file *f, const rota_trace_event *e) {
    switch (e->kind) {
    case ROTA_TRACE_TURN:
        on_turn(loop, f, e);
        break;
    case ROTA_TRACE_POLL_BEGIN:
        f->depth++;
        draw(f, e, "@B%npoll%cloop\"%atimeout_ns\":%d}", NULL, e->value == ROTA_FOREVER ? -1 : e->value);
        if (e->value > 0 && !loop->is_virtual && e->time - f->flushed > FLUSH_EVERY) {
            flush(f);
            f->flushed = e->time;
        }
        break;
    case ROTA_TRACE_CALLBACK_BEGIN:
        f->depth++;
        draw(f, e, f->late >= 0 ? "@B%n%w%cloop\"%alate_ns\":%d}" : "@B%n%w%cloop\"%aof\":%d}", NULL,
             f->late >= 0 ? f->late : e->value);
        f->late = -1;
        break;
    case ROTA_TRACE_TIMER:
        f->late = e->value > 0 ? e->value : 0;
        break;
    case ROTA_TRACE_POST:
        draw(f, e, "@i%npost\",\"s\":\"t\"", NULL, 0);
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
    rc = rota__sys_open(sink->path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_NONBLOCK, 0666);
    if (rc < 0)
        return rc;
    sink->is_open = true;
    sink->fd = rc;
    sink->start = loop->now;
    return 0;
}

static void close_fd(struct sink *sink) {
    if (sink->is_open)
        (void)rota__sys_close(sink->fd);
    sink->is_open = false;
}

/* The first event of a file stands without the comma that all others begin with, and is written at once: who cannot
 * write learns it here. */
static int introduce(rota_loop *loop, struct rota__trace_file *f) {
    struct sink *sink = f->sink;
    unsigned number = sink->numbers;
    f->pid = (number & LOOP_MASK) << LOOP_BITS | 1;
    const rota_trace_event e = { .what = loop->poller->name, .value = rota__sys_pid() };
    draw(f, &e, "@M%nprocess_name\"%aname\":\"loop %d of process %r (%w%s)\"}@M%nthread_name\"%aname\":\"loop\"}",
         loop->is_virtual ? ", virtual clock" : "", (int64_t)number + 1);
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
    draw(((rota_loop *)loop)->tracer.file, e, "@E", NULL, 0);
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
    *sink = (struct sink){ .lock = PTHREAD_MUTEX_INITIALIZER };
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
    environment = (struct sink){ .lock = PTHREAD_MUTEX_INITIALIZER };
}

/* All loops of the process share one file. */
void rota__trace_from_environment(rota_loop *loop) {
    const char *path = rota__env_trace();
    if (!path)
        return;
    pthread_mutex_lock(&environment.lock);
    int rc = environment.error;
    if (rc == 0 && !environment.is_open)
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
