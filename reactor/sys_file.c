/* The seam's calls on files. Each returns what the system call returns, or a negative errno value; see reactor/sys.h. */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* rename */
#include <unistd.h>

#if defined(__linux__)
# include <sys/sendfile.h>
#endif

#include "reactor/sys.h"

int rota__sys_open(const char *path, int flags, mode_t mode) {
    return (int)rota__checked(open(path, flags | O_CLOEXEC, mode));
}

ssize_t rota__sys_pread(int fd, void *buf, size_t n, off_t offset) {
    return rota__checked(pread(fd, buf, n, offset));
}

ssize_t rota__sys_pwrite(int fd, const void *buf, size_t n, off_t offset) {
    return rota__checked(pwrite(fd, buf, n, offset));
}

/* macOS has no fdatasync; more than was asked for is never wrong. */
int rota__sys_fsync(int fd, bool data_only) {
    (void)data_only;
#ifndef __APPLE__
    if (data_only)
        return (int)rota__checked(fdatasync(fd));
#endif
    return (int)rota__checked(fsync(fd));
}

int rota__sys_ftruncate(int fd, off_t size) { return (int)rota__checked(ftruncate(fd, size)); }

int rota__sys_fchmod(int fd, mode_t mode) { return (int)rota__checked(fchmod(fd, mode)); }

int rota__sys_stat(const char *path, struct stat *st, bool follow) {
    return (int)rota__checked(follow ? stat(path, st) : lstat(path, st));
}

int rota__sys_rename(const char *from, const char *to) { return (int)rota__checked(rename(from, to)); }

int rota__sys_unlink(const char *path) { return (int)rota__checked(unlink(path)); }

int rota__sys_mkdir(const char *path, mode_t mode) { return (int)rota__checked(mkdir(path, mode)); }

int rota__sys_rmdir(const char *path) { return (int)rota__checked(rmdir(path)); }

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

int rota__sys_closedir(void *dir) { return (int)rota__checked(closedir(dir)); }

/* ---- moving bytes inside the kernel ---- */

int64_t rota__sys_seek(int fd, int64_t offset, int whence) {
    off_t at = lseek(fd, (off_t)offset, whence);
    return at < 0 ? -errno : (int64_t)at;
}

#if defined(__linux__)

/* Both move bytes without showing them to the process; of descriptors that may block, so do they. */
ssize_t rota__sys_sendfile(int out, int in, int64_t *offset, size_t n) {
    off_t at = (off_t)*offset;
    ssize_t r = rota__checked(sendfile(out, in, &at, n));
    *offset = at;
    return r;
}

ssize_t rota__sys_splice(int in, int out, size_t n) {
    return rota__checked(splice(in, NULL, out, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

#else

/* Of other systems the calls of these names are others, or have another effect. */
ssize_t rota__sys_sendfile(int out, int in, int64_t *offset, size_t n) {
    (void)out, (void)in, (void)offset, (void)n;
    return -ENOSYS;
}

ssize_t rota__sys_splice(int in, int out, size_t n) {
    (void)in, (void)out, (void)n;
    return -ENOSYS;
}

#endif
