/* Every system call of a program that works with files fails once, and from there on; and every allocation. Each run ends,
 * with success or an error, gives back every descriptor and byte, and leaves the old content or the new one. */
#include <stdatomic.h>

#include "rota/executor.h"
#include "rota/file.h"
#include "tests/net_kit.h"

enum call { OPEN, READ, WRITE, PREAD, PWRITE, FSYNC, FTRUNCATE, FCHMOD, FSTAT, STAT, RENAME, MKDIR, OPENDIR, READDIR,
            CLOSE, THREAD, CALLS };

static struct {
    atomic_size_t made[CALLS];
    enum call kind;
    size_t at;
    int error;
    bool on;
} faults;

static int fault(enum call kind) {
    size_t n = atomic_fetch_add(&faults.made[kind], 1) + 1;
    bool hit = faults.at && kind == faults.kind && (n == faults.at || (faults.on && n > faults.at));
    return hit ? faults.error : 0;
}

#define REAL rota__sys_real
#define WITH_FAULT(kind, call) do { int e_ = fault(kind); return e_ ? e_ : (call); } while (0)

static int f_open(const char *path, int flags, mode_t mode) { WITH_FAULT(OPEN, REAL.open(path, flags, mode)); }

/* Not those of the loop's own descriptors, by which threads wake it. */
static bool is_file(int fd) {
    struct stat st;
    return REAL.fstat(fd, &st) == 0 && !S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode) && (st.st_mode & S_IFMT);
}
static ssize_t f_read(int fd, void *buf, size_t n) {
    int e = is_file(fd) ? fault(READ) : 0;
    return e ? e : REAL.read(fd, buf, n);
}
static ssize_t f_write(int fd, const void *buf, size_t n) {
    int e = is_file(fd) ? fault(WRITE) : 0;
    return e ? e : REAL.write(fd, buf, n);
}
static ssize_t f_pread(int fd, void *buf, size_t n, off_t at) { WITH_FAULT(PREAD, REAL.pread(fd, buf, n, at)); }
static ssize_t f_pwrite(int fd, const void *buf, size_t n, off_t at) { WITH_FAULT(PWRITE, REAL.pwrite(fd, buf, n, at)); }
static int f_fsync(int fd, bool data_only) { WITH_FAULT(FSYNC, REAL.fsync(fd, data_only)); }
static int f_ftruncate(int fd, off_t size) { WITH_FAULT(FTRUNCATE, REAL.ftruncate(fd, size)); }
static int f_fchmod(int fd, mode_t mode) { WITH_FAULT(FCHMOD, REAL.fchmod(fd, mode)); }
static int f_fstat(int fd, struct stat *st) { WITH_FAULT(FSTAT, REAL.fstat(fd, st)); }
static int f_stat(const char *path, struct stat *st, bool follow) { WITH_FAULT(STAT, REAL.stat(path, st, follow)); }
static int f_rename(const char *from, const char *to) { WITH_FAULT(RENAME, REAL.rename(from, to)); }
static int f_mkdir(const char *path, mode_t mode) { WITH_FAULT(MKDIR, REAL.mkdir(path, mode)); }
static int f_opendir(const char *path, void **dir) { WITH_FAULT(OPENDIR, REAL.opendir(path, dir)); }
static int f_readdir(void *dir, const char **name, unsigned char *type, uint64_t *inode) {
    WITH_FAULT(READDIR, REAL.readdir(dir, name, type, inode));
}
/* It is closed all the same: so says the seam. */
static int f_close(int fd) {
    bool counts = is_file(fd);
    int rc = REAL.close(fd), e = counts ? fault(CLOSE) : 0;
    return e ? e : rc;
}
static int f_thread(pthread_t *t, void *(*fn)(void *), void *arg, size_t n) { WITH_FAULT(THREAD, REAL.thread(t, fn, arg, n)); }
static ssize_t f_nowait(int fd, const struct iovec *iov, int n, off_t offset) {
    (void)fd, (void)iov, (void)n, (void)offset;
    return -ENOSYS;
}

/* ---- the program ---- */

static char folder[64], path[80], other[80];

static bool holds(const char *text) {
    char buf[64];
    FILE *file = fopen(path, "r");
    size_t n = file ? fread(buf, 1, sizeof buf, file) : 0;
    if (file)
        fclose(file);
    return file && n == strlen(text) && memcmp(buf, text, n) == 0;
}

static intptr_t with_descriptor(void) {
    char buf[8];
    struct stat st;
    int fd = rota_file_open(other, O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return fd;
    ssize_t rc = rota_file_pwrite(fd, "12345678", 8, 0);
    if (rc >= 0)
        rc = rota_file_pread(fd, buf, 8, 0);
    if (rc >= 0)
        rc = rota_file_read(fd, buf, 8);
    if (rc >= 0)
        rc = rota_file_truncate(fd, 4);
    if (rc >= 0)
        rc = rota_file_fstat(fd, &st);
    int closed = rota_close(fd);
    return rc < 0 ? rc : closed;
}

static intptr_t program(void *arg) {
    rota_file_data data;
    rota_file_listing listing;
    (void)arg;
    intptr_t rc = with_descriptor();
    if (rc == 0)
        rc = rota_file_write_all(path, "new", 3, &(rota_file_write_options){ .sync = true });
    if (rc == 0)
        rc = rota_file_read_all(path, 0, &data);
    if (rc == 0)
        rota_file_data_free(&data);
    if (rc == 0)
        rc = rota_file_list(folder, 0, &listing);
    if (rc == 0) {
        cr_expect_eq(listing.n, 2u);
        rota_file_listing_free(&listing);
    }
    if (rc == 0 && (rc = rota_file_mkdir(other, 0700)) == -EEXIST)
        rc = rota_file_unlink(other);
    return rc;
}

/* ---- the driver ---- */

static int names_left(void) {
    void *dir;
    const char *name;
    unsigned char type;
    uint64_t inode;
    int n = 0;
    if (REAL.opendir(folder, &dir) < 0)
        return -1;
    while (REAL.readdir(dir, &name, &type, &inode) > 0)
        n += name[0] != '.' && strcmp(name, "other") != 0;
    REAL.closedir(dir);
    return n;
}

static bool runs(const char *what, size_t at) {
    rota_loop_options opt = test_options();
    intptr_t v = 1;
    FILE *file = fopen(path, "w");
    fputs("old", file);
    fclose(file);
    (void)!unlink(other);
    int rc = rota_run(program, NULL, &v, &opt);
    wait_for_threads();
    cr_expect(rc <= 0 && (v == 0 || rota_failed(v)), "%s %zu: run %d, value %ld", what, at, rc, (long)v);
    cr_expect(holds("old") || holds("new"), "%s %zu: half a file", what, at);
    cr_expect_eq(names_left(), 1, "%s %zu: something is left", what, at);
    test_end();
    return rc == 0 && v == 0;
}

static void begin(enum call kind, size_t at, int error, bool on) {
    memset(&faults, 0, sizeof faults);
    faults.kind = kind;
    faults.at = at;
    faults.error = error;
    faults.on = on;
    test_begin();
}

static const struct rota__sys *failing_sys(void) {
    static struct rota__sys sys;
    sys = REAL;
    sys.open = f_open;
    sys.read = f_read;
    sys.write = f_write;
    sys.pread = f_pread;
    sys.pwrite = f_pwrite;
    sys.fsync = f_fsync;
    sys.ftruncate = f_ftruncate;
    sys.fchmod = f_fchmod;
    sys.fstat = f_fstat;
    sys.stat = f_stat;
    sys.rename = f_rename;
    sys.mkdir = f_mkdir;
    sys.opendir = f_opendir;
    sys.readdir = f_readdir;
    sys.close = f_close;
    sys.thread = f_thread;
    sys.preadv_nowait = f_nowait;
    return &sys;
}

static void in_a_folder(void (*drive)(bool on), bool on) {
    snprintf(folder, sizeof folder, "/tmp/rota-faults-XXXXXX");
    cr_expect(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    rota__sys = failing_sys();
    drive(on);
    rota__sys = &rota__sys_real;
    (void)!unlink(path);
    (void)!unlink(other);
    (void)!rmdir(folder);
}

static const struct {
    enum call kind;
    const char *name;
    int error;
} kinds[] = {
    { OPEN, "open", -EMFILE },     { OPEN, "open", -EINTR },        { READ, "read", -EIO },
    { READ, "read", -EINTR },      { WRITE, "write", -ENOSPC },     { WRITE, "write", -EINTR },
    { PREAD, "pread", -EIO },      { PWRITE, "pwrite", -EDQUOT },   { FSYNC, "fsync", -EIO },
    { FTRUNCATE, "ftruncate", -EFBIG }, { FCHMOD, "fchmod", -EPERM }, { FSTAT, "fstat", -EIO },
    { STAT, "stat", -EACCES },     { RENAME, "rename", -EXDEV },    { MKDIR, "mkdir", -ENOSPC },
    { OPENDIR, "opendir", -ENFILE }, { READDIR, "readdir", -EIO },  { CLOSE, "close", -EIO },
    { THREAD, "thread", -EAGAIN },
};

static void fail_calls(bool on) {
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (on && kinds[k].error == -EINTR)
            continue; /* for ever: no fault that a system has */
        begin(OPEN, 0, 0, false);
        cr_expect(runs("nothing", 0));
        size_t made = atomic_load(&faults.made[kinds[k].kind]);
        cr_expect_gt(made, 0u, "the program makes no %s", kinds[k].name);
        for (size_t at = 1; at <= made; at++) {
            begin(kinds[k].kind, at, kinds[k].error, on);
            bool succeeded = runs(kinds[k].name, at);
            if (kinds[k].error == -EINTR)
                cr_expect(succeeded, "an interrupted %s is made again", kinds[k].name);
        }
    }
}

static void fail_allocations(bool on) {
    begin(OPEN, 0, 0, false);
    cr_expect(runs("nothing", 0));
    size_t calls = memory.calls;
    for (size_t at = 1; at <= calls; at++) {
        begin(OPEN, 0, 0, false);
        memory.fail_at = at;
        memory.fail_on = on;
        (void)runs("allocation", at);
    }
}

Test(faults_file, each_system_call_fails_once, .timeout = 120) { in_a_folder(fail_calls, false); }
Test(faults_file, each_system_call_fails_and_all_later_ones, .timeout = 120) { in_a_folder(fail_calls, true); }
Test(faults_file, each_allocation_fails_once, .timeout = 120) { in_a_folder(fail_allocations, false); }
Test(faults_file, each_allocation_fails_and_all_later_ones, .timeout = 120) { in_a_folder(fail_allocations, true); }
