/* The seam's calls on sockets beyond those of every server, and on terminals: who the peer is, multicast, socket files,
 * pseudo-terminals. See reactor/sys.h.
 */
#define _GNU_SOURCE 1

#include "reactor/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what systems tell of a socket ---- */

#if defined(__linux__)

int rota__sys_spreads_connections(void) { return 1; }

int rota__sys_peer_ids(int fd, int64_t ids[3]) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return -errno;
    ids[0] = peer.pid;
    ids[1] = (int64_t)peer.uid;
    ids[2] = (int64_t)peer.gid;
    return 0;
}

#else

/* There SO_REUSEPORT gives all connections to one of the listeners. */
int rota__sys_spreads_connections(void) { return 0; }

int rota__sys_peer_ids(int fd, int64_t ids[3]) {
    uid_t user;
    gid_t group;
    if (getpeereid(fd, &user, &group) < 0)
        return -errno;
    ids[0] = -1;
    ids[1] = (int64_t)user;
    ids[2] = (int64_t)group;
    return 0;
}

#endif

int rota__sys_is_socket_file(const char *path) {
    struct stat st;
    return lstat(path, &st) < 0 ? -errno : S_ISSOCK(st.st_mode);
}

int rota__sys_file_mode(const char *path, unsigned mode) { return (int)rota__checked(chmod(path, (mode_t)mode)); }

/* ---- multicast ---- */

/* An interface is meant by its number, which 0 leaves to the system. Of IPv4 two of the systems only know it by an
 * address of its own. */
#if defined(__linux__) || defined(__FreeBSD__) || defined(__APPLE__)

static int ipv4_group(int fd, struct in_addr group, unsigned interface, int join) {
    struct ip_mreqn r = {.imr_multiaddr = group, .imr_ifindex = (int)interface};
    return (int)rota__checked(setsockopt(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &r, sizeof r));
}

static int ipv4_interface(int fd, unsigned interface) {
    struct ip_mreqn r = {.imr_ifindex = (int)interface};
    return (int)rota__checked(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &r, sizeof r));
}

#else

static int ipv4_group(int fd, struct in_addr group, unsigned interface, int join) {
    struct ip_mreq r = {.imr_multiaddr = group};
    if (interface)
        return -ENOTSUP;
    return (int)rota__checked(setsockopt(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &r, sizeof r));
}

static int ipv4_interface(int fd, unsigned interface) {
    struct in_addr any = {.s_addr = INADDR_ANY};
    if (interface)
        return -ENOTSUP;
    return (int)rota__checked(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &any, sizeof any));
}

#endif

int rota__sys_multicast_group(int fd, const struct sockaddr *group, unsigned interface, int join) {
    struct ipv6_mreq r;
    if (group->sa_family == AF_INET)
        return ipv4_group(fd, ((const struct sockaddr_in *)(const void *)group)->sin_addr, interface, join);
    if (group->sa_family != AF_INET6)
        return -EAFNOSUPPORT;
    r.ipv6mr_multiaddr = ((const struct sockaddr_in6 *)(const void *)group)->sin6_addr;
    r.ipv6mr_interface = interface;
    return (int)rota__checked(setsockopt(fd, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &r, sizeof r));
}

int rota__sys_multicast_interface(int fd, int family, unsigned interface) {
    if (family == AF_INET)
        return ipv4_interface(fd, interface);
    return (int)rota__checked(setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface, sizeof interface));
}

/* ---- pseudo-terminals ---- */

/* ptsname keeps its answer in one place for all threads; where there is no better call, two threads that open
 * terminals in the same moment can meet there, and the open then fails or hits the other's. */
#if defined(__linux__) || defined(__NetBSD__)
static int slave_name(int master, char *name, size_t n) { return -ptsname_r(master, name, n); }
#else
static int slave_name(int master, char *name, size_t n) {
    const char *shared = ptsname(master);
    if (!shared || strlen(shared) >= n)
        return -ENOTTY;
    memcpy(name, shared, strlen(shared) + 1);
    return 0;
}
#endif

static int open_slave(int master) {
    char name[128];
    if (grantpt(master) < 0 || unlockpt(master) < 0)
        return -errno;
    int error = slave_name(master, name, sizeof name);
    return error < 0 ? error : (int)rota__checked(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
}

/* Not everywhere does posix_openpt take another flag than these two. The slave blocks: it is for a program that knows
 * nothing of us. */
int rota__sys_pty(int fds[2]) {
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 && errno == EINVAL)
        master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0)
        return -errno;
    int slave = fcntl(master, F_SETFD, FD_CLOEXEC) < 0 ? -errno : open_slave(master);
    if (slave >= 0 && fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK) < 0) {
        int error = -errno;
        (void)close(slave);
        slave = error;
    }
    if (slave < 0) {
        (void)close(master);
        return slave;
    }
    fds[0] = master;
    fds[1] = slave;
    return 0;
}
