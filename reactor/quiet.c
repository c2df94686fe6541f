/* Writing without SIGPIPE to descriptors of any kind: blocked around the write, and taken if it was this one's. */
#include "reactor/quiet.h"

#include <errno.h>
#include <signal.h>

#include "reactor/sys.h"

static int write_all(int fd, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t written = rota__sys_write(fd, bytes, n);
        if (written == -EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? (int)written : -EIO;
        bytes += written;
        n -= (size_t)written;
    }
    return 0;
}

int rota__write_quietly(int fd, const char *bytes, size_t n) {
    sigset_t pipe, old, pending;
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)sigemptyset(&pending);
    int rc = rota__sys_sigmask(SIG_BLOCK, &pipe, &old);
    if (rc < 0)
        return rc;
    (void)rota__sys_sigpending(&pending);
    rc = write_all(fd, bytes, n);
    if (rc == -EPIPE && sigismember(&pending, SIGPIPE) != 1)
        (void)rota__sys_sigtake(&pipe);
    if (sigismember(&old, SIGPIPE) != 1)
        (void)rota__sys_sigmask(SIG_UNBLOCK, &pipe, NULL);
    return rc;
}
