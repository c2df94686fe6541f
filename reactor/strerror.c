/* Error values in words. A table of our own: strerror is not safe across threads, and drags in locales. */
#include "rota/reactor.h"

static const struct { int error; const char *text; } errors[] = {
    { 0, "success" },
    { EPERM, "not permitted here" },
    { ENOENT, "no such file or name" },
    { ESRCH, "no such task" },
    { EINTR, "interrupted" },
    { EIO, "input/output error" },
    { ENXIO, "no such device or address" },
    { E2BIG, "argument list too long" },
    { EBADF, "bad or closed descriptor" },
    { ECHILD, "no such child process" },
    { EAGAIN, "temporarily unavailable" },
    { ENOMEM, "out of memory" },
    { EACCES, "permission denied" },
    { EFAULT, "bad address" },
    { EBUSY, "busy" },
    { EEXIST, "exists already" },
    { ENODEV, "no such device" },
    { ENOTDIR, "not a directory" },
    { EISDIR, "is a directory" },
    { EINVAL, "invalid argument" },
    { ENFILE, "too many open files in the system" },
    { EMFILE, "too many open files" },
    { EFBIG, "file too large" },
    { ENOSPC, "no space left" },
    { ESPIPE, "not seekable" },
    { EROFS, "read-only file system" },
    { EPIPE, "the other end is closed" },
    { EDOM, "argument out of domain" },
    { ERANGE, "result out of range" },
    { EDEADLK, "deadlock: it would wait for itself, or nothing can ever wake it" },
    { ENAMETOOLONG, "name too long" },
    { ENOSYS, "not implemented by the system" },
    { ENOTEMPTY, "directory not empty" },
    { EPROTO, "protocol error" },
    { EOVERFLOW, "value too large" },
    { EILSEQ, "malformed data" },
    { ENOTSOCK, "not a socket" },
    { EDESTADDRREQ, "destination address required" },
    { EMSGSIZE, "message too long" },
    { EPROTONOSUPPORT, "protocol not supported" },
    { EOPNOTSUPP, "operation not supported" },
    { ENOTSUP, "not supported" }, /* on some systems the same number */
    { EAFNOSUPPORT, "address family not supported" },
    { EADDRINUSE, "address in use" },
    { EADDRNOTAVAIL, "address not available" },
    { ENETDOWN, "network is down" },
    { ENETUNREACH, "network unreachable" },
    { ECONNABORTED, "connection aborted" },
    { ECONNRESET, "connection reset by peer" },
    { ENOBUFS, "no buffer space" },
    { EISCONN, "already connected" },
    { ENOTCONN, "not connected; of workers: the fork server does not run" },
    { ESHUTDOWN, "closed" },
    { ETIMEDOUT, "timed out" },
    { ECONNREFUSED, "connection refused" },
    { EHOSTUNREACH, "host unreachable, or its name cannot be resolved now" },
    { EALREADY, "already under way or done" },
    { EINPROGRESS, "in progress" },
    { ECANCELED, "cancelled" },
    { EOWNERDEAD, "its owner ended" },
    { EBADMSG, "bad message" },
    { ENOPROTOOPT, "no such option" },
    { ENETRESET, "connection reset by the network" },
    { EHOSTDOWN, "host is down" },
    { ESTALE, "stale file handle" },
    { EDQUOT, "quota exceeded" },
};

const char *rota_strerror(intptr_t v) {
    if (!rota_failed(v))
        return "success";
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].error == -v)
            return errors[i].text;
    return "unknown error";
}

const char *rota_version(void) { return ROTA_VERSION; }
