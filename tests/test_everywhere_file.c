/* Calls on files, cancelled wherever they stop: see everywhere.h. A job that runs is waited for, and one that is queued is
 * not; which of the two a cancellation meets is the threads' affair, so what a call gives then is checked by what it has
 * done: all, or nothing. */
#include <fcntl.h>

#include "rota/executor.h"
#include "rota/file.h"
#include "tests/everywhere.h"
#include "tests/net_kit.h"

static char folder[64], path[80], other[80];

static void begin(void) {
    snprintf(folder, sizeof folder, "/tmp/rota-everywhere-XXXXXX");
    cr_expect(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other, sizeof other, "%s/other", folder);
}

static void end(void) {
    (void)!unlink(path);
    (void)!unlink(other);
    (void)!rmdir(other);
    cr_expect_eq(rmdir(folder), 0, "something is left over");
}

static void reuse(void) {
    rota_file_data data;
    cr_expect_eq(rota_file_write_all(path, "again", 5, NULL), 0);
    cr_expect_eq(rota_file_read_all(path, 0, &data), 0);
    cr_expect_str_eq(data.bytes, "again");
    rota_file_data_free(&data);
}

static intptr_t with_descriptor(int fd) {
    char buf[4];
    struct stat st;
    intptr_t rc = Never(rota_file_write(fd, "1234", 4));
    if (rc >= 0)
        rc = Never(rota_file_pwrite(fd, "5", 1, 3));
    if (rc >= 0)
        rc = Never(rota_file_pread(fd, buf, 4, 0));
    if (rc >= 0) {
        cr_expect_eq(memcmp(buf, "1235", 4), 0);
        rc = Never(rota_file_read(fd, buf, 4));
    }
    if (rc >= 0)
        rc = Never(rota_file_sync(fd, true));
    if (rc >= 0)
        rc = Never(rota_file_truncate(fd, 2));
    if (rc >= 0)
        rc = Never(rota_file_fstat(fd, &st));
    if (rc >= 0)
        cr_expect_eq(st.st_size, 2);
    return rc;
}

static intptr_t names(void) {
    struct stat st;
    rota_file_listing listing;
    intptr_t rc = Never(rota_file_stat(path, &st));
    if (rc == 0)
        rc = Never(rota_file_rename(path, other));
    if (rc == 0)
        rc = Never(rota_file_lstat(other, &st));
    if (rc == 0)
        rc = Never(rota_file_list(folder, 0, &listing));
    if (rc == 0) {
        cr_expect_eq(listing.n, 1u);
        rota_file_listing_free(&listing);
        rc = Never(rota_file_unlink(other));
    }
    if (rc == 0)
        rc = Never(rota_file_mkdir(other, 0700));
    if (rc == 0)
        rc = Never(rota_file_rmdir(other));
    return rc;
}

static intptr_t files_body(void *unused) {
    rota_file_data data;
    (void)unused;
    int fd = Never(rota_file_open(path, O_RDWR | O_CREAT, 0600));
    if (fd < 0)
        return fd;
    intptr_t rc = with_descriptor(fd);
    rota_close(fd);
    if (rc == 0)
        rc = Never(rota_file_write_all(path, "whole", 5, NULL));
    if (rc == 0)
        rc = Never(rota_file_read_all(path, 0, &data));
    if (rc == 0) {
        cr_expect_str_eq(data.bytes, "whole");
        rota_file_data_free(&data);
        rc = names();
    }
    return rc;
}

static const struct scenario files = { "files", begin, files_body, reuse, end, NULL, .threads = true };
Test(everywhere_file, files, .timeout = 300) { everywhere(&files); }

/* Every public call that may suspend, of rota/file.h. */
static const char *const suspending[] = {
    "rota_file_fstat", "rota_file_list", "rota_file_lstat", "rota_file_mkdir", "rota_file_open", "rota_file_pread",
    "rota_file_pwrite", "rota_file_read", "rota_file_read_all", "rota_file_rename", "rota_file_rmdir", "rota_file_stat",
    "rota_file_sync", "rota_file_truncate", "rota_file_unlink", "rota_file_write", "rota_file_write_all",
};

Test(everywhere_file, every_suspending_call_is_in_a_scenario) {
    everywhere_once(&files);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
}
