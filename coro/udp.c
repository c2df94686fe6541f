/* UDP: rota_udp_bind, rota_udp_connect, and multicast.
 *
 * Invariant: a socket that is returned has all its options and its address; one that failed in the middle is closed. It
 * must not know how names are resolved, nor what is sent.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "coro/fd.h"
#include "coro/resolve.h"
#include "rota/net.h"

enum { HOPS_MAX = 255 };

typedef int place_fn(int fd, const struct sockaddr *addr, socklen_t len);

static int set(int fd, int level, int name, int value) {
    return rota__sys_setsockopt(fd, level, name, &value, sizeof value);
}

/* ---- making one ---- */

static int set_up(int fd, int family, const rota_udp_options *opt) {
    int rc = opt->reuse_address ? set(fd, SOL_SOCKET, SO_REUSEADDR, 1) : 0;
    if (rc == 0 && opt->reuse_port)
        rc = rota_set_reuse_port(fd, true);
    if (rc == 0 && opt->broadcast)
        rc = set(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (rc == 0)
        rc = rota_set_buffers(fd, opt->receive_buffer, opt->send_buffer);
    if (rc == 0 && family == AF_INET6) {
        rc = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, opt->ipv6_only);
        if (!opt->ipv6_only)
            rc = 0; /* OpenBSD has no socket for both */
    }
    return rc;
}

static int make(rota_loop *loop, const struct addrinfo *a, const rota_udp_options *opt, place_fn *place) {
    int fd = rota__sys_socket(a->ai_family, SOCK_DGRAM, IPPROTO_UDP);
    if (fd < 0)
        return fd;
    rota__fd_fresh(loop, fd, ROTA__FD_SOCKET, ROTA__FD_NONBLOCKING);
    int rc = set_up(fd, a->ai_family, opt);
    if (rc == 0)
        rc = place(fd, a->ai_addr, (socklen_t)a->ai_addrlen);
    if (rc < 0)
        (void)rota__fd_close(loop, fd);
    return rc < 0 ? rc : fd;
}

/* On the first address that works. */
static int make_on(rota_task *task, const char *host, const char *service, int family, const rota_udp_options *opt,
                   place_fn *place) {
    struct addrinfo *list;
    bool parked = false;
    int fd = -ENOENT, rc = rota__resolve(task, host, service, family, SOCK_DGRAM, &list, &parked);
    if (rc < 0)
        return rc;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = make(task->loop, a, opt, place);
    rota__sys_freeaddrinfo(list);
    if (fd >= 0 && !parked)
        rota__fast(task);
    return fd;
}

static const rota_udp_options defaults;

static bool options_ok(const rota_udp_options *opt) {
    return opt->receive_buffer >= 0 && opt->send_buffer >= 0 &&
           (opt->family == AF_UNSPEC || opt->family == AF_INET || opt->family == AF_INET6);
}

int rota_udp_bind(const char *host, const char *service, const rota_udp_options *opt) {
    rota__leave_forgotten();
    opt = opt ? opt : &defaults;
    bool any = !host || strcmp(host, "::") == 0;
    rota_task *task;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!options_ok(opt))
        return -EINVAL;
    service = service ? service : "0";
    if (!host && opt->family == AF_INET)
        return make_on(task, "0.0.0.0", service, AF_INET, opt, rota__sys_bind);
    rc = make_on(task, any ? "::" : host, service, opt->family, opt, rota__sys_bind);
    /* "All addresses" where IPv6 is compiled out, or switched off. */
    if (any && !opt->ipv6_only && opt->family != AF_INET6 &&
        (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL || rc == -EPROTONOSUPPORT))
        rc = make_on(task, "0.0.0.0", service, AF_INET, opt, rota__sys_bind);
    return rc;
}

int rota_udp_connect(const char *host, const char *service, const rota_udp_options *opt) {
    rota__leave_forgotten();
    opt = opt ? opt : &defaults;
    rota_task *task;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!service || !options_ok(opt))
        return -EINVAL;
    return make_on(task, host, service, opt->family, opt, rota__sys_connect);
}

/* ---- multicast ---- */

static bool is_group(const rota_address *a) {
    const void *p = &a->addr;
    if (a->addr.ss_family == AF_INET)
        return IN_MULTICAST(ntohl(((const struct sockaddr_in *)p)->sin_addr.s_addr));
    return a->addr.ss_family == AF_INET6 && IN6_IS_ADDR_MULTICAST(&((const struct sockaddr_in6 *)p)->sin6_addr);
}

static int change(int fd, const rota_address *group, unsigned interface, int join) {
    if (!group || !is_group(group) || interface > INT32_MAX)
        return -EINVAL;
    return rota__sys_multicast_group(fd, (const struct sockaddr *)&group->addr, interface, join);
}

int rota_udp_join(int fd, const rota_address *group, unsigned interface) { return change(fd, group, interface, 1); }

int rota_udp_leave(int fd, const rota_address *group, unsigned interface) { return change(fd, group, interface, 0); }

static int family_of(int fd) {
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    int rc = rota__sys_getsockname(fd, (struct sockaddr *)&addr, &len);
    if (rc < 0)
        return rc;
    return addr.ss_family == AF_INET || addr.ss_family == AF_INET6 ? addr.ss_family : -EAFNOSUPPORT;
}

/* The two options of IPv4 are a byte: OpenBSD takes no int for them. */
static int set_multicast(int fd, int ipv4_name, int ipv6_name, int value) {
    unsigned char byte = (unsigned char)value;
    int family = family_of(fd);
    if (family < 0)
        return family;
    return family == AF_INET ? rota__sys_setsockopt(fd, IPPROTO_IP, ipv4_name, &byte, sizeof byte)
                             : set(fd, IPPROTO_IPV6, ipv6_name, value);
}

int rota_udp_set_hops(int fd, int hops) {
    if (hops < 0 || hops > HOPS_MAX)
        return -EINVAL;
    return set_multicast(fd, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, hops);
}

int rota_udp_set_loop(int fd, bool on) { return set_multicast(fd, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, on); }

int rota_udp_set_interface(int fd, unsigned interface) {
    int family = family_of(fd);
    if (family < 0)
        return family;
    return interface > INT32_MAX ? -EINVAL : rota__sys_multicast_interface(fd, family, interface);
}
