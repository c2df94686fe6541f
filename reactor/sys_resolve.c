/* The seam's calls for resolving names: the C library's resolver, and what one of our own needs of its machine. See
 * reactor/sys.h.
 */
#define _GNU_SOURCE 1

#include "reactor/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h> /* arc4random_buf */
#include <stdlib.h> /* arc4random_buf */
#include <unistd.h>

#if defined(__linux__)
# include <sys/syscall.h>
#endif

int rota__sys_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    return getaddrinfo(host, service, hints, list);
}

void rota__sys_freeaddrinfo(struct addrinfo *list) { freeaddrinfo(list); }

int rota__sys_open_readonly(const char *path) {
    return (int)rota__checked(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
}

#if defined(__APPLE__)
# define CHANGED(st) ((st).st_mtimespec)
#else
# define CHANGED(st) ((st).st_mtim)
#endif

int rota__sys_stamp(const char *path, struct rota__stamp *stamp) {
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    stamp->device = (uint64_t)st.st_dev;
    stamp->inode = (uint64_t)st.st_ino;
    stamp->size = (uint64_t)st.st_size;
    stamp->changed_ns = (int64_t)CHANGED(st).tv_sec * 1000000000 + CHANGED(st).tv_nsec;
    return 0;
}

#if defined(__linux__)

/* By number, because musl got the wrapper late. 1 is GRND_NONBLOCK: a machine that has just been started may have no
 * unpredictable bytes yet, and this must not wait; nor do kernels before 3.17 have the call. /dev/urandom answers in
 * both cases. */
int rota__sys_random(void *buf, size_t n) {
    ssize_t r = syscall(SYS_getrandom, buf, n, 1L);
    if (r == (ssize_t)n)
        return 0;
    int fd = rota__sys_open_readonly("/dev/urandom");
    if (fd < 0)
        return fd;
    r = rota__checked(read(fd, buf, n));
    (void)close(fd);
    return r < 0 ? (int)r : r == (ssize_t)n ? 0 : -EIO;
}

#else

int rota__sys_random(void *buf, size_t n) {
    arc4random_buf(buf, n);
    return 0;
}

#endif
