/* rota's sockets, beside the TCP of coro.h: messages and datagrams, unix sockets and the passing of descriptors, pipes
 * and pseudo-terminals, socket options, addresses as text, servers on a listener of one's own, and bytes moved inside
 * the kernel.
 *
 * Descriptors are plain numbers; what these calls make is non-blocking and close-on-exec, belongs to the caller, and
 * goes by rota_close. Functions marked (S) may suspend the calling task. Errors are negative errno values; errno itself
 * is unspecified after any call.
 *
 * A descriptor may be waited for in several loops, one task for each direction in each of them. Readiness then wakes
 * all of them, and the system decides whose call gets what there is. rota_close wakes the tasks of its own loop only:
 * before it, every other loop must have had rota_forget.
 */
#ifndef ROTA_NET_H
#define ROTA_NET_H

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- messages ----------------------------------------------------------------------------------- */

/* The system calls, with a task that waits instead of a thread that blocks; on any kind of socket (-ENOTSOCK on what is
 * none). They share what rota_read says of modes, signals and errors.
 *
 * Of datagrams: one without bytes is data (0 is returned), not an end. One that is too long for the buffer is cut off,
 * and that is told in msg_flags (MSG_TRUNC), hence use rota_recvmsg where it matters; on Linux, with MSG_TRUNC in
 * flags, the returned length is the real one, more than n. One that is too long to be sent: -EMSGSIZE. On a connected
 * socket -ECONNREFUSED tells once that an earlier datagram found nobody. -ENOBUFS (not Linux): the interface's queue is
 * full, and nothing tells when it is not.
 *
 * flags: with MSG_DONTWAIT, MSG_OOB or MSG_ERRQUEUE a call never waits, and says -EAGAIN instead. MSG_WAITALL waits for
 * nothing more than without it: rota_read_exact does. Descriptors in a received message are close-on-exec. */
ROTA_API ROTA_CHECK ssize_t rota_recv(int fd, void *buf, size_t n, int flags);                   /* (S) */
ROTA_API ROTA_CHECK ssize_t rota_send(int fd, const void *buf, size_t n, int flags);             /* (S) */
/* (S) addr and len as in accept(2): *len is the room, then the address's length; both NULL: not asked for. */
ROTA_API ROTA_CHECK ssize_t rota_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr,
                                          socklen_t *len);
/* (S) addr NULL: a connected socket's peer. To a unix socket whose queue is full nothing tells when there is room: the
 * call tries again after a pause, from 1 to 64 ms. */
ROTA_API ROTA_CHECK ssize_t rota_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
                                        socklen_t len);
ROTA_API ROTA_CHECK ssize_t rota_recvmsg(int fd, struct msghdr *msg, int flags);                 /* (S) */
ROTA_API ROTA_CHECK ssize_t rota_sendmsg(int fd, const struct msghdr *msg, int flags);           /* (S) */

/* Most descriptors in one message. Linux passes 253 on; musl's sendmsg takes 1,024 bytes of control data, which are 252. */
enum { ROTA_FDS_MAX = 252 };

/* (S) Sends n_fds descriptors over a unix socket, with n > 0 bytes, of which as many as were sent are returned. The
 * peer gets descriptors of its own: those of the caller stay open, and may be closed at once. -EINVAL (no bytes, no
 * descriptors, more than ROTA_FDS_MAX), -ETOOMANYREFS (too many under way), -EBADF (one of them is none). */
ROTA_API ROTA_CHECK ssize_t rota_send_fds(int fd, const void *buf, size_t n, const int *fds, size_t n_fds);

/* (S) Receives bytes, as rota_recv, and the descriptors that came with them: *n_fds is the room in fds, then their
 * number. They are the caller's, and close-on-exec. -EMSGSIZE: there were more than that, or (of datagrams) bytes than
 * n; all descriptors that came are closed, *n_fds is 0, and the message is lost. -EINVAL (n == 0, no fds). */
ROTA_API ROTA_CHECK ssize_t rota_recv_fds(int fd, void *buf, size_t n, int *fds, size_t *n_fds);

/* ---- UDP ---------------------------------------------------------------------------------------- */

typedef struct rota_udp_options {
    int family;            /* AF_INET, AF_INET6; 0: both */
    bool reuse_address;    /* several sockets may bind the same multicast address */
    bool reuse_port;       /* several sockets share the port, and the system spreads the datagrams (Linux) */
    bool ipv6_only;        /* "::" does not take IPv4 */
    bool broadcast;        /* may send to broadcast addresses */
    int receive_buffer;    /* bytes, as rota_set_buffers; 0: the system's */
    int send_buffer;
} rota_udp_options;

/* (S) A UDP socket bound to an address of host: for servers. host NULL or "::": all addresses (those of IPv4 alone
 * where there is no IPv6, or family says so). service NULL or "0": any port. The first address that works is taken.
 * Errors as rota_listen. */
ROTA_API ROTA_CHECK int rota_udp_bind(const char *host, const char *service, const rota_udp_options *opt);

/* (S) A UDP socket connected to the first address of host that has a route: only its datagrams arrive, and rota_send
 * needs no address. Nothing is sent: whether anybody is there is told by the first calls (-ECONNREFUSED). Errors as
 * rota_dial. */
ROTA_API ROTA_CHECK int rota_udp_connect(const char *host, const char *service, const rota_udp_options *opt);

/* Receives what is sent to this multicast group from now on, or no longer. interface: its number (if_nametoindex); 0:
 * the system's choice. -EINVAL (no multicast address), -EADDRINUSE (joined already), -EADDRNOTAVAIL (not joined),
 * -ENODEV (no such interface, no route), -ENOTSUP (IPv4 by number, on NetBSD and OpenBSD), -EAFNOSUPPORT. */
ROTA_API ROTA_CHECK int rota_udp_join(int fd, const rota_address *group, unsigned interface);
ROTA_API ROTA_CHECK int rota_udp_leave(int fd, const rota_address *group, unsigned interface);

/* Of multicast datagrams sent by fd: how many routers they pass (0: they stay on this machine; 1, the default: in this
 * network; at most 255), whether this machine's members get them too (the default), by which interface they go. */
ROTA_API ROTA_CHECK int rota_udp_set_hops(int fd, int hops);
ROTA_API ROTA_CHECK int rota_udp_set_loop(int fd, bool on);
ROTA_API ROTA_CHECK int rota_udp_set_interface(int fd, unsigned interface);

/* ---- unix sockets ------------------------------------------------------------------------------- */

/* Names of unix sockets: the path of a file, at most as long as the system takes (Linux: 108 bytes; never cut off:
 * -ENAMETOOLONG); or, on Linux, '@' and an abstract name of at most 107 bytes, which is no file and goes with its
 * socket (-ENOTSUP elsewhere; for a file of that name say "./@name"). The file stays when its socket is closed: who
 * made it removes it. */
typedef struct rota_unix_options {
    int backlog;           /* of a listener; 0: 511 */
    unsigned mode;         /* permissions of the file, as chmod(2); 0: those that the umask leaves */
    bool replace_dead;     /* a socket's file on which nobody listens (-ECONNREFUSED) is removed first. Of two servers
                              that start in the same moment one can lose its name: they need a lock of their own */
} rota_unix_options;

/* A listening stream socket. Never suspends. -EADDRINUSE (there is such a file, or name), -EINVAL (no name),
 * -ENAMETOOLONG, -ENOTSUP; errors of socket, bind, chmod and listen. Failing, it leaves no file. */
ROTA_API ROTA_CHECK int rota_unix_listen(const char *name, const rota_unix_options *opt);

/* (S) A stream socket connected to that listener. While the listener's queue is full it waits. -ENOENT (no such file),
 * -ECONNREFUSED (nobody listens), -EACCES, -EPROTOTYPE (datagrams), and those of rota_unix_listen. */
ROTA_API ROTA_CHECK int rota_unix_dial(const char *name);

/* A datagram socket with this name; name NULL: without one (nobody can answer it). Never suspends. Datagrams on unix
 * sockets are neither lost nor reordered. Errors as rota_unix_listen. */
ROTA_API ROTA_CHECK int rota_unix_bind(const char *name, const rota_unix_options *opt);

/* The datagrams of fd go to that name from now on, and only its arrive. Never suspends. Errors as rota_unix_dial. */
ROTA_API ROTA_CHECK int rota_unix_connect(int fd, const char *name);

/* The address of a name, for rota_sendto and others. -EINVAL, -ENAMETOOLONG, -ENOTSUP. */
ROTA_API ROTA_CHECK int rota_unix_address(rota_address *out, const char *name);

/* Who connected a unix stream, or listened, at that moment: the kernel's word. */
typedef struct rota_peer {
    int64_t process;       /* -1 where the system does not tell (not Linux) */
    int64_t user, group;
} rota_peer;
ROTA_API ROTA_CHECK int rota_unix_peer(int fd, rota_peer *out);

/* ---- pairs -------------------------------------------------------------------------------------- */

/* A pipe: bytes written to fds[1] are read from fds[0]. -EMFILE, -ENFILE, -ENOMEM; and so the next ones. */
ROTA_API ROTA_CHECK int rota_pipe(int fds[2]);

/* Two unix sockets that are connected with each other. type: SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET. */
ROTA_API ROTA_CHECK int rota_socketpair(int type, int fds[2]);

/* A pseudo-terminal: master, and slave, which is a terminal for a child process. The slave blocks, as programs expect
 * it, and is nobody's controlling terminal yet. Reading the master gives -EIO (Linux) or 0 once no slave is open. */
ROTA_API ROTA_CHECK int rota_pty_open(int *master, int *slave);

/* ---- options of sockets ------------------------------------------------------------------------- */

/* None of these suspends. Errors: those of setsockopt(2) and getsockopt(2); -ENOTSOCK, -EBADF. */

/* TCP: small writes go out at once (rota_dial has set it). */
ROTA_API ROTA_CHECK int rota_set_nodelay(int fd, bool on);

/* TCP: a connection that is silent for `idle` is probed, every `interval`, and fails with -ETIMEDOUT after `probes`
 * without an answer. Times are rounded up to seconds. idle <= 0 turns it off; interval, probes <= 0: the system's. */
ROTA_API ROTA_CHECK int rota_set_keepalive(int fd, int64_t idle, int64_t interval, int probes);

/* TCP: closing drops what is unsent and resets the connection (linger with no time). There is no call for a linger with
 * a time: on Linux close(2) then blocks, also on a non-blocking socket, and the loop with it. Shut down and read to the
 * end instead. */
ROTA_API ROTA_CHECK int rota_set_reset_on_close(int fd, bool on);

/* Sizes of the kernel's buffers in bytes; <= 0 leaves one as it is. The system may take less than asked for; Linux
 * doubles it for its own needs. */
ROTA_API ROTA_CHECK int rota_set_buffers(int fd, int receive, int send);

/* Before bind: an address whose old connections still linger; several sockets on one port (where the system has it,
 * else -ENOTSUP); sending to broadcast addresses. */
ROTA_API ROTA_CHECK int rota_set_reuse_address(int fd, bool on);
ROTA_API ROTA_CHECK int rota_set_reuse_port(int fd, bool on);
ROTA_API ROTA_CHECK int rota_set_broadcast(int fd, bool on);

/* The error that waits on the socket (0: none), which is taken away by this. Its own failure is what it returns. */
ROTA_API ROTA_CHECK int rota_socket_error(int fd, int *error);

/* Its own address; its peer's (-ENOTCONN). */
ROTA_API ROTA_CHECK int rota_local_address(int fd, rota_address *out);
ROTA_API ROTA_CHECK int rota_peer_address(int fd, rota_address *out);

/* ---- addresses as text -------------------------------------------------------------------------- */

/* Enough for every address. */
enum { ROTA_ADDRESS_TEXT = 160 };

/* "127.0.0.1:80", "[fe80::1%2]:80" (scopes by number), "/run/name", "@abstract", "" for a unix socket without a name,
 * "family 17" for another. Returns the length that it has or would have, like snprintf; 0 for NULL. */
ROTA_API size_t rota_address_text(const rota_address *address, char *buf, size_t n);

/* The inverse, of n bytes: numbers only, no names and nothing looked up. "127.0.0.1:80", "[::1]:80", "[fe80::1%2]:80";
 * without a port it is 0 ("127.0.0.1", "::1"); "/path", "./path", "@name" of unix sockets. Nothing is cut off or
 * guessed: numbers in octal or hexadecimal, signs, blanks, ports above 65535 and NUL bytes are -EINVAL, what is longer
 * than any address -ENAMETOOLONG. */
ROTA_API ROTA_CHECK int rota_address_parse(rota_address *out, const char *text, size_t n);

/* The port of an IPv4 or IPv6 address, else -EINVAL. */
ROTA_API ROTA_CHECK int rota_address_port(const rota_address *address);

/* The same family, bytes, port and scope? */
ROTA_API bool rota_address_equal(const rota_address *a, const rota_address *b);

/* ---- servers ------------------------------------------------------------------------------------ */

/* (S) As rota_serve, on a listening stream socket of any kind. It takes the listener over: makes it non-blocking, and
 * has closed it on every return. opt->listen is not looked at. With opt->threads the loops share this one listener:
 * each new connection wakes those that wait, and one of them gets it. -EINVAL also when it does not listen. */
ROTA_API ROTA_CHECK int rota_serve_fd(int listener, rota_client_fn *client, void *arg, const rota_serve_options *opt);

/* ---- bytes moved inside the kernel -------------------------------------------------------------- */

/* (S) n bytes of the regular file `in`, from *offset on (NULL: its own position), to `out`: any descriptor. They are
 * not copied through the process where the system can do that (Linux, a non-blocking `out`), else read and written. n
 * == SIZE_MAX: up to the end of the file. 0 when all of them went; -EPIPE when the file ended before (it may have been
 * cut off meanwhile), or nobody reads `out` any more. *done (may be NULL) counts what went, on every return, and
 * *offset, or the position, has moved as far. Reading blocks the loop for as long as the disk takes. -EINVAL (`in` is
 * no regular file, a negative offset), -ENOMEM, errors of the system. */
ROTA_API ROTA_CHECK int rota_sendfile(int out, int in, int64_t *offset, size_t n, size_t *done);

/* (S) n bytes from one descriptor to another, of any kind, through a pipe in the kernel where the system can do that
 * (Linux, both non-blocking), else read and written. n == SIZE_MAX: up to the end of `in`. 0 when all of them went,
 * -EPIPE when `in` ended before. *done (may be NULL) counts what was written to `out`, on every return. When it fails
 * or is cancelled, up to 64 KiB more may have been taken from `in`, and these are lost: it is for ends that then go as
 * well. -EMFILE, -ENOMEM, errors of reading and writing. */
ROTA_API ROTA_CHECK int rota_splice(int in, int out, size_t n, size_t *done);

#ifdef __cplusplus
}
#endif
#endif
