/* Pairs of descriptors: rota_pipe, rota_socketpair, rota_pty_open.
 *
 * Invariant: on failure nothing is left open, and the caller's array is as it was. They need no loop; where there is
 * one, it learns that the numbers are new.
 */
#include "coro/fd.h"
#include "rota/net.h"

static int made(int rc, const int got[2], const unsigned kind[2], int first_flags, int second_flags, int out[2]) {
    if (rc < 0)
        return rc;
    if (rota__loop_check(rota__current) == 0) {
        rota__fd_fresh(rota__current, got[0], kind[0], (unsigned)first_flags);
        rota__fd_fresh(rota__current, got[1], kind[1], (unsigned)second_flags);
    }
    out[0] = got[0];
    out[1] = got[1];
    return 0;
}

int rota_pipe(int fds[2]) {
    static const unsigned kinds[2] = {ROTA__FD_PIPE, ROTA__FD_PIPE};
    int got[2];
    return fds ? made(rota__sys_pipe(got), got, kinds, ROTA__FD_NONBLOCKING, ROTA__FD_NONBLOCKING, fds) : -EINVAL;
}

int rota_socketpair(int type, int fds[2]) {
    static const unsigned kinds[2] = {ROTA__FD_SOCKET, ROTA__FD_SOCKET};
    int got[2];
    if (!fds || (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET))
        return -EINVAL;
    return made(rota__sys_socketpair(type, got), got, kinds, ROTA__FD_NONBLOCKING, ROTA__FD_NONBLOCKING, fds);
}

int rota_pty_open(int *master, int *slave) {
    static const unsigned kinds[2] = {ROTA__FD_OTHER, ROTA__FD_OTHER};
    int got[2], fds[2];
    if (!master || !slave)
        return -EINVAL;
    int rc = made(rota__sys_pty(got), got, kinds, ROTA__FD_NONBLOCKING, 0, fds);
    if (rc == 0) {
        *master = fds[0];
        *slave = fds[1];
    }
    return rc;
}
