/* Files: each call against a folder of its own, made anew for every test. */
#include <dirent.h>
#include <limits.h>
#include <pthread.h>

#include "coro/task.h"
#include "rota/executor.h"
#include "rota/file.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

static char folder[64];

/* A path in the test's folder; valid until the fourth call after it. */
static const char *in_folder(const char *name) {
    static char paths[4][sizeof folder + 256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/rota-file-XXXXXX");
    cr_expect(mkdtemp(folder) != NULL);
}

static int names_in_folder(void) {
    DIR *dir = opendir(folder);
    int n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n - 2;
}

static void remove_folder(void) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            (void)!remove(in_folder(entry->d_name));
    if (dir)
        closedir(dir);
    (void)!rmdir(folder);
}

/* The threads of the loop's executor are waited for: what they hold is counted. */
static void run_in_folder(rota_fn *fn) {
    make_folder();
    cr_expect_eq(run_with(fn, NULL, NULL, NULL), 0);
    cr_expect_eq(reports.n, 0, "%s", reports.all[0].text);
    remove_folder();
}

#define File_test(name)                                                     \
    static intptr_t name##_task(void *unused);                              \
    Test(file, name) { run_in_folder(name##_task); }                        \
    static intptr_t name##_task(void *unused __attribute__((unused)))

static void put(const char *name, const char *text) {
    FILE *file = fopen(in_folder(name), "w");
    fputs(text, file);
    fclose(file);
}

static bool holds(const char *name, const char *text) {
    char buf[256];
    FILE *file = fopen(in_folder(name), "r");
    size_t n = file ? fread(buf, 1, sizeof buf, file) : 0;
    if (file)
        fclose(file);
    return file && n == strlen(text) && memcmp(buf, text, n) == 0;
}

/* ---- reading and writing ---- */

File_test(what_is_written_is_read) {
    char buf[16];
    int fd = rota_file_open(in_folder("a"), O_RDWR | O_CREAT, 0600);
    cr_expect_geq(fd, 0);
    cr_expect_eq(rota_file_write(fd, "hello", 5), 5);
    cr_expect_eq(rota_file_pread(fd, buf, sizeof buf, 1), 4);
    cr_expect_eq(memcmp(buf, "ello", 4), 0);
    cr_expect_eq(rota_file_pwrite(fd, "J", 1, 0), 1);
    cr_expect_eq(lseek(fd, 0, SEEK_CUR), 5, "the calls with an offset leave the position alone");
    cr_expect_eq(lseek(fd, 0, SEEK_SET), 0);
    cr_expect_eq(rota_file_read(fd, buf, 3), 3);
    cr_expect_eq(rota_file_read(fd, buf + 3, 13), 2);
    cr_expect_eq(memcmp(buf, "Jello", 5), 0);
    cr_expect_eq(rota_file_read(fd, buf, 1), 0, "the end");
    cr_expect_eq(rota_file_pread(fd, buf, 4, 100), 0, "beyond the end");
    return rota_close(fd);
}

File_test(a_descriptor_is_close_on_exec) {
    int fd = rota_file_open(in_folder("a"), O_WRONLY | O_CREAT, 0600);
    cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    return rota_close(fd);
}

File_test(append_goes_to_the_end) {
    put("a", "one");
    int fd = rota_file_open(in_folder("a"), O_WRONLY | O_APPEND, 0);
    cr_expect_eq(rota_file_write(fd, " two", 4), 4);
    cr_expect(holds("a", "one two"));
    return rota_close(fd);
}

File_test(nothing_is_read_or_written) {
    int fd = rota_file_open(in_folder("a"), O_RDWR | O_CREAT, 0600);
    cr_expect_eq(rota_file_write(fd, NULL, 0), 0);
    cr_expect_eq(rota_file_read(fd, NULL, 0), 0);
    return rota_close(fd);
}

static const char *read_in_a_thread;
static pthread_t loop_thread;
static bool no_cache;

static ssize_t seen_pread(int fd, void *buf, size_t n, off_t offset) {
    read_in_a_thread = pthread_equal(pthread_self(), loop_thread) ? "no" : "yes";
    return rota__sys_real.pread(fd, buf, n > 3 ? 3 : n, offset); /* short counts are continued */
}

static ssize_t half_cached(int fd, const struct iovec *iov, int n, off_t offset) {
    struct iovec part = { iov->iov_base, iov->iov_len / 2 };
    return no_cache ? -EAGAIN : rota__sys_real.pread(fd, part.iov_base, part.iov_len, offset + 0 * n);
}

static intptr_t read_digits(void *unused) {
    char buf[11] = "";
    (void)unused;
    put("a", "0123456789");
    int fd = rota_file_open(in_folder("a"), O_RDONLY, 0);
    read_in_a_thread = "not at all";
    cr_expect_eq(rota_file_pread(fd, buf, 10, 0), 10);
    cr_expect_str_eq(buf, "0123456789");
    cr_expect_str_eq(read_in_a_thread, "yes");
    return rota_close(fd);
}

static void read_with(bool cached) {
    struct rota__sys sys = rota__sys_real;
    sys.pread = seen_pread;
    sys.preadv_nowait = half_cached;
    no_cache = !cached;
    loop_thread = pthread_self();
    rota__sys = &sys;
    run_in_folder(read_digits);
    rota__sys = &rota__sys_real;
}

Test(file, a_read_that_must_wait_is_a_threads) { read_with(false); }
Test(file, what_the_cache_does_not_have_is_a_threads) { read_with(true); }

/* Not of the loop's own descriptors, by which threads wake it. */
static bool is_file(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int interruptions;

static ssize_t interrupted_write(int fd, const void *buf, size_t n) {
    if (!is_file(fd))
        return rota__sys_real.write(fd, buf, n);
    return interruptions++ % 2 == 0 ? -EINTR : rota__sys_real.write(fd, buf, n > 2 ? 2 : n);
}

static intptr_t write_digits(void *unused) {
    (void)unused;
    int fd = rota_file_open(in_folder("a"), O_WRONLY | O_CREAT, 0600);
    cr_expect_eq(rota_file_write(fd, "0123456789", 10), 10);
    cr_expect(holds("a", "0123456789"));
    return rota_close(fd);
}

Test(file, writes_go_on_after_short_counts_and_interruptions) {
    struct rota__sys sys = rota__sys_real;
    interruptions = 0;
    sys.write = interrupted_write;
    rota__sys = &sys;
    run_in_folder(write_digits);
    rota__sys = &rota__sys_real;
}

/* What was written before an error is told first. */
File_test(a_full_device) {
#ifdef __linux__
    int fd = rota_file_open("/dev/full", O_WRONLY, 0);
    cr_expect_eq(rota_file_write(fd, "x", 1), -ENOSPC);
    return rota_close(fd);
#else
    return 0;
#endif
}

File_test(mistakes) {
    char buf[1];
    struct stat st;
    rota_file_listing listing;
    rota_file_data data;
    cr_expect_eq(rota_file_open(NULL, O_RDONLY, 0), -EINVAL);
    cr_expect_eq(rota_file_open(in_folder("none"), O_RDONLY, 0), -ENOENT);
    cr_expect_eq(rota_file_read(-1, buf, 1), -EBADF);
    cr_expect_eq(rota_file_read(0, NULL, 1), -EINVAL);
    cr_expect_eq(rota_file_read(0, buf, (size_t)SSIZE_MAX + 1), -EINVAL);
    cr_expect_eq(rota_file_pread(0, buf, 1, -1), -EINVAL);
    cr_expect_eq(rota_file_write(-1, buf, 1), -EBADF);
    cr_expect_eq(rota_file_write(1, NULL, 1), -EINVAL);
    cr_expect_eq(rota_file_write(1, buf, (size_t)SSIZE_MAX + 1), -EINVAL);
    cr_expect_eq(rota_file_pwrite(1, buf, 1, -1), -EINVAL);
    cr_expect_eq(rota_file_sync(-1, false), -EBADF);
    cr_expect_eq(rota_file_truncate(-1, 0), -EBADF);
    cr_expect_eq(rota_file_truncate(0, -1), -EINVAL);
    cr_expect_eq(rota_file_fstat(0, NULL), -EINVAL);
    cr_expect_eq(rota_file_fstat(-1, &st), -EBADF);
    cr_expect_eq(rota_file_stat(NULL, &st), -EINVAL);
    cr_expect_eq(rota_file_stat("x", NULL), -EINVAL);
    cr_expect_eq(rota_file_lstat(NULL, &st), -EINVAL);
    cr_expect_eq(rota_file_rename(NULL, "x"), -EINVAL);
    cr_expect_eq(rota_file_rename("x", NULL), -EINVAL);
    cr_expect_eq(rota_file_unlink(NULL), -EINVAL);
    cr_expect_eq(rota_file_mkdir(NULL, 0), -EINVAL);
    cr_expect_eq(rota_file_rmdir(NULL), -EINVAL);
    cr_expect_eq(rota_file_list(NULL, 0, &listing), -EINVAL);
    cr_expect_eq(rota_file_list("/", 0, NULL), -EINVAL);
    cr_expect_eq(rota_file_read_all(NULL, 0, &data), -EINVAL);
    cr_expect_eq(rota_file_read_all("/", 0, NULL), -EINVAL);
    cr_expect_eq(rota_file_write_all(NULL, "", 0, NULL), -EINVAL);
    cr_expect_eq(rota_file_write_all("x", NULL, 1, NULL), -EINVAL);
    rota_file_listing_free(NULL);
    rota_file_data_free(NULL);
    return 0;
}

Test(file, outside_of_tasks_calls_answer_eperm) {
    char buf[1];
    rota_file_data data;
    rota_file_listing listing;
    cr_expect_eq(rota_file_open("/", O_RDONLY, 0), -EPERM);
    cr_expect_eq(rota_file_read(0, buf, 1), -EPERM);
    cr_expect_eq(rota_file_read_all("/", 0, &data), -EPERM);
    cr_expect_eq(rota_file_list("/", 0, &listing), -EPERM);
    cr_expect_eq(rota_file_write_all("/", "", 0, NULL), -EPERM);
}

/* ---- names ---- */

File_test(sizes_and_kinds) {
    struct stat st;
    put("a", "12345");
    cr_expect_eq(symlink("a", in_folder("link")), 0);
    cr_expect_eq(rota_file_stat(in_folder("a"), &st), 0);
    cr_expect_eq(st.st_size, 5);
    cr_expect_eq(rota_file_stat(in_folder("link"), &st), 0);
    cr_expect(S_ISREG(st.st_mode));
    cr_expect_eq(rota_file_lstat(in_folder("link"), &st), 0);
    cr_expect(S_ISLNK(st.st_mode));
    int fd = rota_file_open(in_folder("a"), O_RDWR, 0);
    cr_expect_eq(rota_file_truncate(fd, 2), 0);
    cr_expect_eq(rota_file_sync(fd, true), 0);
    cr_expect_eq(rota_file_sync(fd, false), 0);
    cr_expect_eq(rota_file_fstat(fd, &st), 0);
    cr_expect_eq(st.st_size, 2);
    return rota_close(fd);
}

File_test(names_come_move_and_go) {
    struct stat st;
    cr_expect_eq(rota_file_mkdir(in_folder("d"), 0700), 0);
    cr_expect_eq(rota_file_mkdir(in_folder("d"), 0700), -EEXIST);
    put("a", "new");
    put("b", "old");
    cr_expect_eq(rota_file_rename(in_folder("a"), in_folder("b")), 0);
    cr_expect(holds("b", "new"));
    cr_expect_eq(rota_file_stat(in_folder("a"), &st), -ENOENT);
    cr_expect_eq(rota_file_rmdir(in_folder("b")), -ENOTDIR);
    cr_expect_eq(rota_file_unlink(in_folder("b")), 0);
    cr_expect_eq(rota_file_unlink(in_folder("b")), -ENOENT);
    cr_expect_eq(rota_file_rmdir(in_folder("d")), 0);
    return 0;
}

File_test(a_listing_is_sorted) {
    static const char *const names[] = { "b", "a", "z", "aa", "c-very-long-name-that-takes-more-room-than-others" };
    rota_file_listing listing;
    cr_expect_eq(rota_file_list(folder, 0, &listing), 0);
    cr_expect_eq(listing.n, 0u);
    rota_file_listing_free(&listing);
    for (size_t i = 0; i < 5; i++)
        put(names[i], "");
    cr_expect_eq(rota_file_mkdir(in_folder("m"), 0700), 0);
    cr_expect_eq(rota_file_list(folder, 6, &listing), 0);
    cr_expect_eq(listing.n, 6u);
    const char *const sorted[] = { "a", "aa", "b", names[4], "m", "z" };
    for (size_t i = 0; i < 6 && i < listing.n; i++) {
        cr_expect_str_eq(listing.names[i].name, sorted[i]);
        cr_expect(listing.names[i].inode != 0);
    }
    cr_expect(listing.names[4].type == DT_DIR || listing.names[4].type == DT_UNKNOWN);
    rota_file_listing_free(&listing);
    rota_file_listing_free(&listing);
    cr_expect_eq(rota_file_list(folder, 5, &listing), -EOVERFLOW);
    cr_expect_eq(rota_file_list(in_folder("a"), 0, &listing), -ENOTDIR);
    cr_expect_null(listing.names);
    return 0;
}

File_test(a_listing_of_a_thousand) {
    rota_file_listing listing;
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%d", i * 7919 % 1000);
        put(name, "");
    }
    cr_expect_eq(rota_file_list(folder, 0, &listing), 0);
    cr_expect_eq(listing.n, 1000u);
    for (size_t i = 1; i < listing.n; i++)
        cr_expect_lt(strcmp(listing.names[i - 1].name, listing.names[i].name), 0);
    rota_file_listing_free(&listing);
    return 0;
}

/* ---- whole files ---- */

File_test(all_of_a_file) {
    rota_file_data data;
    put("a", "hello");
    cr_expect_eq(rota_file_read_all(in_folder("a"), 0, &data), 0);
    cr_expect_eq(data.n, 5u);
    cr_expect_str_eq(data.bytes, "hello");
    rota_file_data_free(&data);
    rota_file_data_free(&data);
    cr_expect_eq(rota_file_read_all(in_folder("a"), 5, &data), 0);
    rota_file_data_free(&data);
    cr_expect_eq(rota_file_read_all(in_folder("a"), 4, &data), -EFBIG);
    cr_expect_null(data.bytes);
    put("empty", "");
    cr_expect_eq(rota_file_read_all(in_folder("empty"), 1, &data), 0);
    cr_expect_str_eq(data.bytes, "");
    rota_file_data_free(&data);
    cr_expect_eq(rota_file_read_all(folder, 0, &data), -EISDIR);
    cr_expect_eq(rota_file_read_all(in_folder("none"), 0, &data), -ENOENT);
    return 0;
}

/* The system tells 0 as the size of what is longer than the first buffer. */
static int no_size(int fd, struct stat *st) {
    int rc = rota__sys_real.fstat(fd, st);
    st->st_size = 0;
    return rc;
}

static intptr_t read_large(void *unused) {
    rota_file_data data;
    size_t n = 100000;
    char *bytes = malloc(n);
    (void)unused;
    memset(bytes, 'x', n);
    FILE *file = fopen(in_folder("a"), "w");
    fwrite(bytes, 1, n, file);
    fclose(file);
    cr_expect_eq(rota_file_read_all(in_folder("a"), 0, &data), 0);
    cr_expect_eq(data.n, n);
    cr_expect_eq(memcmp(data.bytes, bytes, n), 0);
    rota_file_data_free(&data);
    cr_expect_eq(rota_file_read_all(in_folder("a"), n, &data), 0);
    rota_file_data_free(&data);
    cr_expect_eq(rota_file_read_all(in_folder("a"), n - 1, &data), -EFBIG);
    free(bytes);
    return 0;
}

Test(file, all_of_a_file_that_has_no_size) {
    struct rota__sys sys = rota__sys_real;
    sys.fstat = no_size;
    rota__sys = &sys;
    run_in_folder(read_large);
    rota__sys = &rota__sys_real;
}

File_test(writing_all_replaces) {
    struct stat st;
    put("a", "something longer");
    cr_expect_eq(chmod(in_folder("a"), 0640), 0);
    cr_expect_eq(stat(in_folder("a"), &st), 0);
    ino_t old = st.st_ino;
    int reader = open(in_folder("a"), O_RDONLY);
    cr_expect_eq(rota_file_write_all(in_folder("a"), "new", 3, &(rota_file_write_options){ .sync = true }), 0);
    cr_expect(holds("a", "new"));
    cr_expect_eq(stat(in_folder("a"), &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0640u, "the mode is kept");
    cr_expect_neq(st.st_ino, old, "another file took its place");
    cr_expect_eq(lseek(reader, 0, SEEK_END), 16, "who has it open reads the old one");
    close(reader);
    cr_expect_eq(rota_file_write_all(in_folder("b"), "", 0, NULL), 0);
    cr_expect(holds("b", ""));
    cr_expect_eq(names_in_folder(), 2, "nothing else is left");
    return 0;
}

File_test(writing_all_in_other_ways) {
    struct stat st;
    cr_expect_eq(rota_file_write_all(in_folder("a"), "one", 3, &(rota_file_write_options){ .exclusive = true, .mode = 0600 }), 0);
    cr_expect_eq(stat(in_folder("a"), &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600u);
    cr_expect_eq(rota_file_write_all(in_folder("a"), "x", 1, &(rota_file_write_options){ .exclusive = true }), -EEXIST);
    cr_expect_eq(rota_file_write_all(in_folder("a"), " two", 4, &(rota_file_write_options){ .append = true }), 0);
    cr_expect(holds("a", "one two"));
    cr_expect_eq(rota_file_write_all(in_folder("a"), "3", 1, &(rota_file_write_options){ .in_place = true }), 0);
    cr_expect(holds("a", "3"));
    ino_t old = st.st_ino;
    cr_expect_eq(stat(in_folder("a"), &st), 0);
    cr_expect_eq(st.st_ino, old);
    cr_expect_eq(symlink("a", in_folder("link")), 0);
    cr_expect_eq(rota_file_write_all(in_folder("link"), "through", 7, NULL), 0);
    cr_expect(holds("a", "through"));
    cr_expect_eq(rota_file_write_all(folder, "x", 1, NULL), -EISDIR);
    cr_expect_eq(rota_file_write_all(in_folder("none/x"), "x", 1, NULL), -ENOENT);
    return 0;
}

/* The disk is full after 3 bytes: the old content stays, and no other name. */
static ssize_t full_after_3(int fd, const void *buf, size_t n) {
    if (!is_file(fd))
        return rota__sys_real.write(fd, buf, n);
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at >= 3 ? -ENOSPC : rota__sys_real.write(fd, buf, n > 3 ? 3 : n);
}

static intptr_t write_too_much(void *unused) {
    (void)unused;
    put("a", "old");
    cr_expect_eq(rota_file_write_all(in_folder("a"), "new content", 11, NULL), -ENOSPC);
    cr_expect(holds("a", "old"));
    cr_expect_eq(rota_file_write_all(in_folder("b"), "new content", 11, &(rota_file_write_options){ .exclusive = true }),
                 -ENOSPC);
    cr_expect_eq(names_in_folder(), 1);
    int fd = rota_file_open(in_folder("c"), O_WRONLY | O_CREAT, 0600);
    cr_expect_eq(rota_file_write(fd, "12345", 5), 3, "what went out is told");
    cr_expect_eq(rota_file_write(fd, "45", 2), -ENOSPC, "then the error");
    return rota_close(fd);
}

Test(file, a_full_disk_leaves_the_old_content) {
    struct rota__sys sys = rota__sys_real;
    sys.write = full_after_3;
    rota__sys = &sys;
    run_in_folder(write_too_much);
    rota__sys = &rota__sys_real;
}

/* ---- cancelling ---- */

/* B27. A call that is refused has done nothing. */
static intptr_t every_call(void *unused) {
    char buf[4];
    struct stat st;
    rota_file_listing listing;
    rota_file_data data;
    int fd = open(in_folder("old"), O_RDWR);
    (void)unused;
    cr_expect_eq(rota_file_open(in_folder("a"), O_RDWR | O_CREAT, 0600), -ECANCELED);
    cr_expect_eq(rota_file_read(fd, buf, 4), -ECANCELED);
    cr_expect_eq(rota_file_pread(fd, buf, 4, 0), -ECANCELED);
    cr_expect_eq(rota_file_write(fd, "x", 1), -ECANCELED);
    cr_expect_eq(rota_file_pwrite(fd, "x", 1, 0), -ECANCELED);
    cr_expect_eq(rota_file_sync(fd, false), -ECANCELED);
    cr_expect_eq(rota_file_truncate(fd, 0), -ECANCELED);
    cr_expect_eq(rota_file_fstat(fd, &st), -ECANCELED);
    cr_expect_eq(rota_file_stat(folder, &st), -ECANCELED);
    cr_expect_eq(rota_file_lstat(folder, &st), -ECANCELED);
    cr_expect_eq(rota_file_rename(in_folder("old"), in_folder("a")), -ECANCELED);
    cr_expect_eq(rota_file_unlink(in_folder("old")), -ECANCELED);
    cr_expect_eq(rota_file_mkdir(in_folder("a"), 0700), -ECANCELED);
    cr_expect_eq(rota_file_rmdir(folder), -ECANCELED);
    cr_expect_eq(rota_file_list(folder, 0, &listing), -ECANCELED);
    cr_expect_eq(rota_file_read_all(in_folder("old"), 0, &data), -ECANCELED);
    cr_expect_eq(lseek(fd, 0, SEEK_CUR), 0);
    close(fd);
    return rota_file_write_all(in_folder("a"), "x", 1, NULL);
}

File_test(a_refused_call_has_done_nothing) {
    put("old", "old");
    cr_expect_eq(rota_timeout(0, every_call, NULL), -ETIMEDOUT);
    cr_expect_eq(names_in_folder(), 1);
    cr_expect(holds("old", "old"));
    return 0;
}
