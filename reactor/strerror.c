/* Error values in words. A table of our own: strerror is not safe across threads, and drags in locales. */
#include <string.h>

#include "rota/reactor.h"

/* One text behind the other, and a byte for each number: no table of pointers, which would be as large as the texts. */
#define ERRORS(X) \
    X(0, "success") \
    X(EPERM, "not permitted here; of calls that may suspend: outside of a task") \
    X(ENOENT, "no such file or name") \
    X(ESRCH, "no such task") \
    X(EINTR, "interrupted") \
    X(EIO, "input/output error") \
    X(ENXIO, "no such device or address") \
    X(E2BIG, "argument list too long") \
    X(EBADF, "bad or closed descriptor") \
    X(ECHILD, "no such child process") \
    X(EAGAIN, "temporarily unavailable") \
    X(ENOMEM, "out of memory") \
    X(EACCES, "permission denied") \
    X(EFAULT, "bad address") \
    X(EBUSY, "busy") \
    X(EEXIST, "exists already") \
    X(ENODEV, "no such device") \
    X(ENOTDIR, "not a directory") \
    X(EISDIR, "is a directory") \
    X(EINVAL, "invalid argument") \
    X(ENFILE, "too many open files in the system") \
    X(EMFILE, "too many open files") \
    X(EFBIG, "file too large") \
    X(ENOSPC, "no space left") \
    X(ESPIPE, "not seekable") \
    X(EROFS, "read-only file system") \
    X(EPIPE, "the other end is closed") \
    X(EDOM, "argument out of domain") \
    X(ERANGE, "result out of range") \
    X(EDEADLK, "deadlock: it would wait for itself, or nothing can ever wake it") \
    X(ENAMETOOLONG, "name too long") \
    X(ENOSYS, "not implemented by the system") \
    X(ENOTEMPTY, "directory not empty") \
    X(EPROTO, "protocol error") \
    X(EOVERFLOW, "value too large") \
    X(EILSEQ, "malformed data") \
    X(ENOTSOCK, "not a socket") \
    X(EDESTADDRREQ, "destination address required") \
    X(EMSGSIZE, "message too long") \
    X(EPROTONOSUPPORT, "protocol not supported") \
    X(EOPNOTSUPP, "operation not supported") \
    X(ENOTSUP, "not supported") /* on some systems the same number */ \
    X(EAFNOSUPPORT, "address family not supported") \
    X(EADDRINUSE, "address in use") \
    X(EADDRNOTAVAIL, "address not available") \
    X(ENETDOWN, "network is down") \
    X(ENETUNREACH, "network unreachable") \
    X(ECONNABORTED, "connection aborted") \
    X(ECONNRESET, "connection reset by peer") \
    X(ENOBUFS, "no buffer space") \
    X(EISCONN, "already connected") \
    X(ENOTCONN, "not connected; of workers: the fork server does not run") \
    X(ESHUTDOWN, "closed") \
    X(ETIMEDOUT, "timed out") \
    X(ECONNREFUSED, "connection refused") \
    X(EHOSTUNREACH, "host unreachable, or its name cannot be resolved now") \
    X(EALREADY, "already under way or done") \
    X(EINPROGRESS, "in progress") \
    X(ECANCELED, "cancelled") \
    X(EOWNERDEAD, "its owner ended") \
    X(EBADMSG, "bad message") \
    X(ENOPROTOOPT, "no such option") \
    X(ENETRESET, "connection reset by the network") \
    X(EHOSTDOWN, "host is down") \
    X(ESTALE, "stale file handle") \
    X(EDQUOT, "quota exceeded")

#define NUMBER(error, text) error,
static const uint8_t numbers[] = { ERRORS(NUMBER) };

#define TEXT(error, text) text "\0"
static const char texts[] = ERRORS(TEXT);

const char *rota_strerror(intptr_t v) {
    if (!rota_failed(v))
        return "success";
    const char *text = texts;
    for (size_t i = 0; i < sizeof numbers; i++, text += strlen(text) + 1)
        if (numbers[i] == -v)
            return text;
    return "unknown error";
}

const char *rota_version(void) { return ROTA_VERSION; }
