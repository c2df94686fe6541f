/* The seam's calls on files. Each returns what the system call returns, or a negative errno value; see reactor/sys.h. */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* rename */
#include <unistd.h>

#include "reactor/sys.h"

int rota__sys_open(const char *path, int flags, mode_t mode);
ssize_t rota__sys_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t rota__sys_pwrite(int fd, const void *buf, size_t n, off_t offset);
int rota__sys_fsync(int fd, bool data_only);
int rota__sys_ftruncate(int fd, off_t size);
int rota__sys_fchmod(int fd, mode_t mode);
int rota__sys_stat(const char *path, struct stat *st, bool follow);
int rota__sys_rename(const char *from, const char *to);
int rota__sys_unlink(const char *path);
int rota__sys_mkdir(const char *path, mode_t mode);
int rota__sys_rmdir(const char *path);
int rota__sys_opendir(const char *path, void **dir);
int rota__sys_readdir(void *dir, const char **name, unsigned char *type, uint64_t *inode);
int rota__sys_closedir(void *dir);

static int result(int rc) { return rc < 0 ? -errno : rc; }

int rota__sys_open(const char *path, int flags, mode_t mode) { return result(open(path, flags | O_CLOEXEC, mode)); }

ssize_t rota__sys_pread(int fd, void *buf, size_t n, off_t offset) {
    ssize_t got = pread(fd, buf, n, offset);
    return got < 0 ? -errno : got;
}

ssize_t rota__sys_pwrite(int fd, const void *buf, size_t n, off_t offset) {
    ssize_t put = pwrite(fd, buf, n, offset);
    return put < 0 ? -errno : put;
}

/* macOS has no fdatasync; more than was asked for is never wrong. */
int rota__sys_fsync(int fd, bool data_only) {
    (void)data_only;
#ifndef __APPLE__
    if (data_only)
        return result(fdatasync(fd));
#endif
    return result(fsync(fd));
}

int rota__sys_ftruncate(int fd, off_t size) { return result(ftruncate(fd, size)); }

int rota__sys_fchmod(int fd, mode_t mode) { return result(fchmod(fd, mode)); }

int rota__sys_stat(const char *path, struct stat *st, bool follow) {
    return result(follow ? stat(path, st) : lstat(path, st));
}

int rota__sys_rename(const char *from, const char *to) { return result(rename(from, to)); }

int rota__sys_unlink(const char *path) { return result(unlink(path)); }

int rota__sys_mkdir(const char *path, mode_t mode) { return result(mkdir(path, mode)); }

int rota__sys_rmdir(const char *path) { return result(rmdir(path)); }

int rota__sys_opendir(const char *path, void **dir) {
    *dir = opendir(path);
    return *dir ? 0 : -errno;
}

/* POSIX tells the end from an error by errno alone. */
int rota__sys_readdir(void *dir, const char **name, unsigned char *type, uint64_t *inode) {
    errno = 0;
    const struct dirent *entry = readdir(dir);
    if (!entry)
        return -errno;
    *name = entry->d_name;
    *type = entry->d_type;
    *inode = entry->d_ino;
    return 1;
}

int rota__sys_closedir(void *dir) { return result(closedir(dir)); }
