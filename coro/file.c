/* Files: each call is one job for a thread of the loop's executor, which makes the system calls of it one after the other.
 *
 * Invariant: while a job runs its task stands in the call, whatever is cancelled, so the job may use what lies on the
 * task's stack and what its arguments point to. Memory for results (a listing, a file's bytes) is taken by the job, from
 * the loop's allocator, and given back by the job when it fails.
 *
 * Reads first try the page cache from the loop's own thread, where the system has a call that never waits for the disk
 * (RWF_NOWAIT): a round trip through a thread costs some 10 us, a copy of cached bytes less than one.
 *
 * Rejected: io_uring for files. Containers and hardened systems turn it off, and then there would be two ways of doing
 * each of these calls, with different errors.
 */
#include "rota/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "coro/task.h"
#include "reactor/text.h"
#include "rota/executor.h"

/* Runs job(op) in a thread; what it returns, or why it never ran. In line, so that the frame is the public call's when
 * scopes that were left open are looked for. */
static inline __attribute__((always_inline)) ssize_t in_thread(rota_fn *job, void *op) {
    intptr_t value;
    rota__leave_forgotten();
    int rc = rota_offload(job, op, &value, NULL);
    return rc < 0 ? rc : value;
}

/* ---- reading and writing ---- */

enum { AT_POSITION = -1 };

struct transfer {
    int fd;
    char *buf;
    size_t n, done;
    off_t offset;    /* AT_POSITION: where the descriptor stands */
};

static ssize_t read_some(const struct transfer *t) {
    return t->offset == AT_POSITION ? rota__sys_read(t->fd, t->buf + t->done, t->n - t->done)
                                    : rota__sys_pread(t->fd, t->buf + t->done, t->n - t->done, t->offset + (off_t)t->done);
}

static ssize_t write_some(const struct transfer *t) {
    return t->offset == AT_POSITION ? rota__sys_write(t->fd, t->buf + t->done, t->n - t->done)
                                    : rota__sys_pwrite(t->fd, t->buf + t->done, t->n - t->done, t->offset + (off_t)t->done);
}

/* Until all is done, the file ends, or an error comes: that one is told when nothing was transferred before it. */
static intptr_t transfer_all(struct transfer *t, ssize_t (*some)(const struct transfer *t)) {
    while (t->done < t->n) {
        ssize_t n = some(t);
        if (n == -EINTR)
            continue;
        if (n < 0 && t->done == 0)
            return n;
        if (n <= 0)
            break;
        t->done += (size_t)n;
    }
    return (intptr_t)t->done;
}

static intptr_t read_job(void *op) { return transfer_all(op, read_some); }

static intptr_t write_job(void *op) { return transfer_all(op, write_some); }

/* What lies in the page cache. Any failure is left for the thread to meet again, in the usual way. */
static void read_cached(struct transfer *t) {
    struct iovec iov = { t->buf, t->n };
    ssize_t n = rota__sys_preadv_nowait(t->fd, &iov, 1, t->offset);
    if (n > 0)
        t->done = (size_t)n;
}

static inline __attribute__((always_inline)) ssize_t read_at(int fd, void *buf, size_t n, off_t offset) {
    rota_task *self;
    int rc = rota__enter(&self);
    if (rc < 0)
        return rc;
    if (!buf && n)
        return -EINVAL;
    if (n > SSIZE_MAX || offset < AT_POSITION)
        return -EINVAL;
    struct transfer t = { .fd = fd, .buf = buf, .n = n, .offset = offset };
    read_cached(&t);
    if (t.done == n) {
        rota__fast(self);
        return (ssize_t)n;
    }
    ssize_t got = in_thread(read_job, &t);
    return got < 0 && t.done ? (ssize_t)t.done : got;
}

static inline __attribute__((always_inline)) ssize_t write_at(int fd, const void *buf, size_t n, off_t offset) {
    if (!buf && n)
        return -EINVAL;
    if (n > SSIZE_MAX || offset < AT_POSITION)
        return -EINVAL;
    struct transfer t = { .fd = fd, .buf = (char *)(uintptr_t)buf, .n = n, .offset = offset };
    return in_thread(write_job, &t);
}

ssize_t rota_file_read(int fd, void *buf, size_t n) { return read_at(fd, buf, n, AT_POSITION); }

ssize_t rota_file_pread(int fd, void *buf, size_t n, off_t offset) {
    return offset < 0 ? -EINVAL : read_at(fd, buf, n, offset);
}

ssize_t rota_file_write(int fd, const void *buf, size_t n) { return write_at(fd, buf, n, AT_POSITION); }

ssize_t rota_file_pwrite(int fd, const void *buf, size_t n, off_t offset) {
    return offset < 0 ? -EINVAL : write_at(fd, buf, n, offset);
}

/* ---- one system call each ---- */

struct simple {
    const char *path, *to;
    int fd, flags;
    mode_t mode;
    off_t size;
    bool choice;         /* of two forms of the call */
    struct stat *st;
};

static int until_not_interrupted(int (*call)(const struct simple *op), const struct simple *op) {
    int rc;
    do
        rc = call(op);
    while (rc == -EINTR);
    return rc;
}

#define JOB(name, expression)                                                          \
    static int name##_once(const struct simple *op) { return expression; }             \
    static intptr_t name##_job(void *op) { return until_not_interrupted(name##_once, op); }

JOB(open, rota__sys_open(op->path, op->flags, op->mode))
JOB(sync, rota__sys_fsync(op->fd, op->choice))
JOB(truncate, rota__sys_ftruncate(op->fd, op->size))
JOB(fstat, rota__sys_fstat(op->fd, op->st))
JOB(stat, rota__sys_stat(op->path, op->st, op->choice))
JOB(rename, rota__sys_rename(op->path, op->to))
JOB(unlink, rota__sys_unlink(op->path))
JOB(mkdir, rota__sys_mkdir(op->path, op->mode))
JOB(rmdir, rota__sys_rmdir(op->path))

#define DO(job, ...) ((int)in_thread(job, &(struct simple){ __VA_ARGS__ }))

int rota_file_open(const char *path, int flags, mode_t mode) {
    return path ? DO(open_job, .path = path, .flags = flags, .mode = mode) : -EINVAL;
}

int rota_file_sync(int fd, bool data_only) { return DO(sync_job, .fd = fd, .choice = data_only); }

int rota_file_truncate(int fd, off_t size) { return size < 0 ? -EINVAL : DO(truncate_job, .fd = fd, .size = size); }

int rota_file_fstat(int fd, struct stat *st) { return st ? DO(fstat_job, .fd = fd, .st = st) : -EINVAL; }

int rota_file_stat(const char *path, struct stat *st) {
    return path && st ? DO(stat_job, .path = path, .st = st, .choice = true) : -EINVAL;
}

int rota_file_lstat(const char *path, struct stat *st) {
    return path && st ? DO(stat_job, .path = path, .st = st) : -EINVAL;
}

int rota_file_rename(const char *from, const char *to) {
    return from && to ? DO(rename_job, .path = from, .to = to) : -EINVAL;
}

int rota_file_unlink(const char *path) { return path ? DO(unlink_job, .path = path) : -EINVAL; }

int rota_file_mkdir(const char *path, mode_t mode) { return path ? DO(mkdir_job, .path = path, .mode = mode) : -EINVAL; }

int rota_file_rmdir(const char *path) { return path ? DO(rmdir_job, .path = path) : -EINVAL; }

/* ---- directories ---- */

enum { LISTING_FIRST = 4096 };

/* One block: this, the names' text one after the other, and at the end of the job an array of them. */
struct rota__listing {
    rota_allocator allocator;
    size_t size, used;       /* bytes, this struct included */
};

/* In front of each name's text, while the block may still move. */
struct raw_name {
    uint64_t inode;
    size_t next;             /* offset of the next one */
    unsigned char type;
    char text[];
};

struct list_job {
    const char *path;
    size_t limit, n;
    rota_loop *loop;
    struct rota__listing *memory;
};

static size_t aligned(size_t n) { return (n + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1); }

static bool grow(struct list_job *job, size_t wanted) {
    struct rota__listing *memory = job->memory;
    size_t old = memory ? memory->size : 0, size = old ? old : LISTING_FIRST;
    while (size < wanted)
        size *= 2;
    if (size == old)
        return true;
    memory = rota__realloc(&job->loop->allocator, memory, old, size);
    if (!memory)
        return false;
    if (!old) {
        memory->allocator = job->loop->allocator;
        memory->used = aligned(sizeof *memory);
    }
    memory->size = size;
    job->memory = memory;
    return true;
}

static void free_memory(struct rota__listing *memory) {
    if (memory) {
        rota_allocator allocator = memory->allocator;
        rota__free(&allocator, memory, memory->size);
    }
}

static int add_name(struct list_job *job, const char *name, unsigned char type, uint64_t inode) {
    size_t length = strlen(name) + 1, bytes = aligned(sizeof(struct raw_name) + length);
    if (job->limit && job->n == job->limit)
        return -EOVERFLOW;
    if (!grow(job, job->memory->used + bytes))
        return -ENOMEM;
    struct raw_name *raw = (void *)((char *)job->memory + job->memory->used);
    job->memory->used += bytes;
    raw->inode = inode;
    raw->type = type;
    raw->next = job->memory->used;
    memcpy(raw->text, name, length);
    job->n++;
    return 0;
}

static int read_names(struct list_job *job, void *dir) {
    const char *name;
    unsigned char type;
    uint64_t inode;
    int rc;
    while ((rc = rota__sys_readdir(dir, &name, &type, &inode)) > 0) {
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        rc = add_name(job, name, type, inode);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* Heap sort: in place, with a bound, and without the C library's qsort, which may allocate. */
static void sift(rota_file_name *names, size_t i, size_t n) {
    rota_file_name moved = names[i];
    size_t child;
    while ((child = 2 * i + 1) < n) {
        if (child + 1 < n && strcmp(names[child].name, names[child + 1].name) < 0)
            child++;
        if (strcmp(moved.name, names[child].name) >= 0)
            break;
        names[i] = names[child];
        i = child;
    }
    names[i] = moved;
}

static void sort(rota_file_name *names, size_t n) {
    for (size_t i = n / 2; i-- > 0;)
        sift(names, i, n);
    for (size_t end = n; end-- > 1;) {
        rota_file_name last = names[end];
        names[end] = names[0];
        names[0] = last;
        sift(names, 0, end);
    }
}

/* The block moves no more. */
static rota_file_name *index_names(struct rota__listing *memory, size_t n) {
    rota_file_name *names = (void *)((char *)memory + memory->used);
    size_t at = aligned(sizeof *memory);
    for (size_t i = 0; i < n; i++) {
        const struct raw_name *raw = (const void *)((char *)memory + at);
        names[i] = (rota_file_name){ .name = raw->text, .type = raw->type, .inode = raw->inode };
        at = raw->next;
    }
    sort(names, n);
    return names;
}

static intptr_t list_directory(void *arg) {
    struct list_job *job = arg;
    void *dir;
    int rc = rota__sys_opendir(job->path, &dir);
    if (rc < 0)
        return rc;
    rc = grow(job, sizeof *job->memory) ? read_names(job, dir) : -ENOMEM;
    (void)rota__sys_closedir(dir);
    if (rc == 0 && !grow(job, job->memory->used + job->n * sizeof(rota_file_name)))
        rc = -ENOMEM;
    if (rc < 0)
        free_memory(job->memory);
    return rc;
}

int rota_file_list(const char *path, size_t limit, rota_file_listing *listing) {
    if (!listing)
        return -EINVAL;
    *listing = (rota_file_listing){ .names = NULL };
    if (!path)
        return -EINVAL;
    struct list_job job = { .path = path, .limit = limit, .loop = rota__current };
    int rc = (int)in_thread(list_directory, &job);
    if (rc < 0)
        return rc;
    listing->memory_ = job.memory;
    listing->n = job.n;
    listing->names = index_names(job.memory, job.n);
    return 0;
}

void rota_file_listing_free(rota_file_listing *listing) {
    if (!listing)
        return;
    free_memory(listing->memory_);
    *listing = (rota_file_listing){ .names = NULL };
}

/* ---- reading all of a file ---- */

enum { READ_FIRST = 16384 };

struct read_all_job {
    const char *path;
    size_t limit;
    rota_loop *loop;
    char *bytes;
    size_t n, size;
};

/* Room for at least one byte more than there is, and one for the NUL. */
static int make_room(struct read_all_job *job) {
    if (job->size - job->n >= 2)
        return 0;
    if (job->size > SIZE_MAX / 2)
        return -EFBIG;
    char *bytes = rota__realloc(&job->loop->allocator, job->bytes, job->size, job->size * 2);
    if (!bytes)
        return -ENOMEM;
    job->bytes = bytes;
    job->size *= 2;
    return 0;
}

/* The size that the system tells is a guess: /proc says 0, and the file may grow while it is read. */
static int first_room(struct read_all_job *job, int fd) {
    struct stat st;
    int rc = rota__sys_fstat(fd, &st);
    if (rc < 0)
        return rc;
    job->size = READ_FIRST;
    if (S_ISREG(st.st_mode) && st.st_size > 0) {
        if (job->limit && (uintmax_t)st.st_size > job->limit)
            return -EFBIG;
        if ((uintmax_t)st.st_size > SIZE_MAX - 2)
            return -EFBIG;
        job->size = (size_t)st.st_size + 2;
    }
    job->bytes = rota__alloc(&job->loop->allocator, job->size);
    return job->bytes ? 0 : -ENOMEM;
}

static int read_to_the_end(struct read_all_job *job, int fd) {
    for (;;) {
        int rc = make_room(job);
        if (rc < 0)
            return rc;
        struct transfer t = { .fd = fd, .buf = job->bytes + job->n, .n = job->size - job->n - 1, .offset = AT_POSITION };
        ssize_t n = read_some(&t);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        job->n += (size_t)n;
        if (job->limit && job->n > job->limit)
            return -EFBIG;
    }
}

static int open_patiently(const char *path, int flags, mode_t mode) {
    return (int)open_job(&(struct simple){ .path = path, .flags = flags, .mode = mode });
}

static intptr_t read_whole(void *arg) {
    struct read_all_job *job = arg;
    int fd = open_patiently(job->path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    int rc = first_room(job, fd);
    if (rc == 0)
        rc = read_to_the_end(job, fd);
    (void)rota__sys_close(fd);
    if (rc == 0)
        job->bytes[job->n] = '\0';
    else
        rota__free(&job->loop->allocator, job->bytes, job->size);
    return rc;
}

int rota_file_read_all(const char *path, size_t limit, rota_file_data *data) {
    if (!data)
        return -EINVAL;
    *data = (rota_file_data){ .bytes = NULL };
    if (!path)
        return -EINVAL;
    struct read_all_job job = { .path = path, .limit = limit, .loop = rota__current };
    int rc = (int)in_thread(read_whole, &job);
    if (rc == 0)
        *data = (rota_file_data){ .bytes = job.bytes, .n = job.n, .size_ = job.size, .loop_ = job.loop };
    return rc;
}

void rota_file_data_free(rota_file_data *data) {
    if (!data)
        return;
    if (data->bytes)
        rota__free(&data->loop_->allocator, data->bytes, data->size_);
    *data = (rota_file_data){ .bytes = NULL };
}

/* ---- writing all of a file ---- */

enum { SUFFIX_MAX = 32, NAME_TRIES = 100 };

struct write_all_job {
    const char *path;
    const void *bytes;
    size_t n;
    rota_file_write_options options;
    char *beside;            /* room for the path and a suffix */
    size_t beside_size;
    bool made;               /* the file at `beside` exists */
};

/* A short count stands for an error that the next write would tell. */
static int write_out(const struct write_all_job *job, int fd) {
    struct transfer t = { .fd = fd, .buf = (char *)(uintptr_t)job->bytes, .n = job->n, .offset = AT_POSITION };
    while (t.done < t.n) {
        ssize_t n = write_some(&t);
        if (n < 0 && n != -EINTR)
            return (int)n;
        t.done += n > 0 ? (size_t)n : 0;
    }
    return job->options.sync ? (int)sync_job(&(struct simple){ .fd = fd }) : 0;
}

/* The error of close(2) is one of writing, too: some file systems tell it only there. */
static int write_and_close(const struct write_all_job *job, int fd) {
    int rc = write_out(job, fd);
    int closed = rota__sys_close(fd);
    return rc < 0 ? rc : closed;
}

/* A new file next to the path, with a name that nobody else has. */
static int open_beside(struct write_all_job *job, mode_t mode) {
    int fd = -EEXIST;
    for (unsigned i = 0; fd == -EEXIST && i < NAME_TRIES; i++) {
        struct rota__text t;
        rota__text_init(&t, job->beside, job->beside_size);
        rota__text_add(&t, job->path);
        rota__text_add(&t, ".");
        rota__text_number(&t, rota__sys_now() & INT32_MAX);
        rota__text_add(&t, "-");
        rota__text_number(&t, i);
        rota__text_add(&t, ".new");
        fd = open_patiently(job->beside, O_WRONLY | O_CREAT | O_EXCL, mode);
    }
    job->made = fd >= 0;
    return fd;
}

/* So that the new name is on the device too. */
static int sync_directory(struct write_all_job *job) {
    size_t n = strlen(job->path);
    while (n > 1 && job->path[n - 1] != '/')
        n--;
    memcpy(job->beside, job->path, n);
    job->beside[n] = '\0';
    int fd = open_patiently(n > 1 || job->path[0] == '/' ? job->beside : ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    int rc = (int)sync_job(&(struct simple){ .fd = fd });
    (void)rota__sys_close(fd);
    return rc;
}

static mode_t mode_of(const struct write_all_job *job) { return job->options.mode ? job->options.mode : 0666; }

static int replace(struct write_all_job *job, const struct stat *old) {
    int fd = open_beside(job, mode_of(job));
    if (fd < 0)
        return fd;
    int rc = old ? rota__sys_fchmod(fd, old->st_mode & 07777) : 0;
    int closed = write_and_close(job, fd);
    rc = rc < 0 ? rc : closed;
    if (rc == 0)
        rc = (int)rename_job(&(struct simple){ .path = job->beside, .to = job->path });
    if (rc == 0)
        job->made = false;
    return rc == 0 && job->options.sync ? sync_directory(job) : rc;
}

static int write_in_place(const struct write_all_job *job) {
    int flags = O_WRONLY | O_CREAT | (job->options.append ? O_APPEND : O_TRUNC) | (job->options.exclusive ? O_EXCL : 0);
    int fd = open_patiently(job->path, flags, mode_of(job));
    int rc = fd < 0 ? fd : write_and_close(job, fd);
    if (fd >= 0 && rc < 0 && job->options.exclusive)
        (void)rota__sys_unlink(job->path); /* this call made it */
    return rc;
}

/* Only a regular file is replaced: where a device, a pipe or a link stands, it is what is to be written to. */
static intptr_t write_whole(void *arg) {
    struct write_all_job *job = arg;
    struct stat st;
    int rc = rota__sys_stat(job->path, &st, false);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (job->options.append || job->options.in_place || job->options.exclusive || (rc == 0 && !S_ISREG(st.st_mode)))
        return write_in_place(job);
    rc = replace(job, rc == 0 && !job->options.mode ? &st : NULL);
    if (job->made)
        (void)rota__sys_unlink(job->beside);
    return rc;
}

int rota_file_write_all(const char *path, const void *bytes, size_t n, const rota_file_write_options *opt) {
    if (!path || (!bytes && n) || n > SSIZE_MAX)
        return -EINVAL;
    rota_task *self;
    int rc = rota__enter(&self);
    if (rc < 0)
        return rc;
    struct write_all_job job = { .path = path, .bytes = bytes, .n = n };
    if (opt)
        job.options = *opt;
    size_t length = strlen(path);
    job.beside_size = length + SUFFIX_MAX;
    job.beside = rota__alloc(&self->loop->allocator, job.beside_size);
    if (!job.beside)
        return -ENOMEM;
    rc = (int)in_thread(write_whole, &job);
    rota__free(&self->loop->allocator, job.beside, job.beside_size);
    return rc;
}
