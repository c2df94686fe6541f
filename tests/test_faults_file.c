/* Every system call of a program that works with files fails once, and from there on; and every allocation. Each run ends,
 * with success or an error, gives back every descriptor and byte, and leaves the old content or the new one. */
#include "rota/executor.h"
#include "rota/file.h"
#include "tests/fault_kit.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

enum { CLOSE = FAULT_OWN };

/* Not those of the loop's own descriptors, by which threads wake it. */
static bool is_file(int fd) {
    struct stat st;
    return rota__sys_real.fstat(fd, &st) == 0 && !S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode) && (st.st_mode & S_IFMT);
}
static ssize_t f_read(int fd, void *buf, size_t n) {
    int e = is_file(fd) ? fault(FAULT_read) : 0;
    return e ? e : rota__sys_real.read(fd, buf, n);
}
static ssize_t f_write(int fd, const void *buf, size_t n) {
    int e = is_file(fd) ? fault(FAULT_write) : 0;
    return e ? e : rota__sys_real.write(fd, buf, n);
}
/* It is closed all the same: so says the seam. */
static int f_close(int fd) {
    bool counts = is_file(fd);
    int rc = rota__sys_real.close(fd), e = counts ? fault(CLOSE) : 0;
    return e ? e : rc;
}
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
    if (rota__sys_real.opendir(folder, &dir) < 0)
        return -1;
    while (rota__sys_real.readdir(dir, &name, &type, &inode) > 0)
        n += name[0] != '.' && strcmp(name, "other") != 0;
    rota__sys_real.closedir(dir);
    return n;
}

static void prepare(const struct fault_row *row) {
    (void)row;
    FILE *file = fopen(path, "w");
    fputs("old", file);
    fclose(file);
    (void)!unlink(other);
}

static void check(const char *what, size_t at, intptr_t value) {
    (void)value;
    cr_expect(holds("old") || holds("new"), "%s %zu: half a file", what, at);
    cr_expect_eq(names_left(), 1, "%s %zu: something is left", what, at);
}

static void change(struct rota__sys *sys) {
    sys->read = f_read;
    sys->write = f_write;
    sys->close = f_close;
    sys->preadv_nowait = f_nowait;
}

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/rota-faults-XXXXXX");
    cr_expect(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other, sizeof other, "%s/other", folder);
}

static void remove_folder(void) {
    (void)!unlink(path);
    (void)!unlink(other);
    (void)!rmdir(folder);
}

static const struct fault_row rows[] = {
    { FAULT_open, -EMFILE, 0, NULL },     { FAULT_open, -EINTR, 0, NULL },      { FAULT_read, -EIO, 0, NULL },
    { FAULT_read, -EINTR, 0, NULL },      { FAULT_write, -ENOSPC, 0, NULL },    { FAULT_write, -EINTR, 0, NULL },
    { FAULT_pread, -EIO, 0, NULL },       { FAULT_pwrite, -EDQUOT, 0, NULL },   { FAULT_fsync, -EIO, 0, NULL },
    { FAULT_ftruncate, -EFBIG, 0, NULL }, { FAULT_fchmod, -EPERM, 0, NULL },    { FAULT_fstat, -EIO, 0, NULL },
    { FAULT_stat, -EACCES, 0, NULL },     { FAULT_rename, -EXDEV, 0, NULL },    { FAULT_mkdir, -ENOSPC, 0, NULL },
    { FAULT_opendir, -ENFILE, 0, NULL },  { FAULT_readdir, -EIO, 0, NULL },     { CLOSE, -EIO, 0, "close" },
    { FAULT_thread, -EAGAIN, 0, NULL },
};

static const struct fault_program files = {
    .body = program, .rows = rows, .n_rows = sizeof rows / sizeof *rows, .change = change, .begin = make_folder,
    .end = remove_folder, .prepare = prepare, .check = check,
};

Fault_tests(faults_file, &files, .timeout = 120)
