/* UDP sockets: their constructors and options, and multicast. */
#include <net/if.h>

#include "rota/net.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

static const char *port_text(int fd) {
    static char text[8];
    snprintf(text, sizeof text, "%d", port_of(fd));
    return text;
}

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    cr_expect_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

Task_test(udp, bind_and_connect) {
    char buf[8] = "";
    int server = rota_udp_bind("127.0.0.1", NULL, NULL);
    int client = rota_udp_connect("127.0.0.1", port_text(server), NULL);
    cr_expect(server >= 0 && client >= 0);
    cr_expect(!is_blocking(server) && fcntl(server, F_GETFD) & FD_CLOEXEC);
    rota_address from = {.len = sizeof from.addr}, self;
    cr_expect_eq(rota_send(client, "ask", 3, 0), 3);
    cr_expect_eq(rota_recvfrom(server, buf, sizeof buf, 0, (struct sockaddr *)&from.addr, &from.len), 3);
    cr_expect_eq(rota_local_address(client, &self), 0);
    cr_expect(rota_address_equal(&from, &self));
    cr_expect_eq(rota_sendto(server, "answer", 6, 0, (struct sockaddr *)&from.addr, from.len), 6);
    cr_expect_eq(rota_recv(client, buf, sizeof buf, 0), 6);
    rota_close(server);
    rota_close(client);
    return 0;
}

Task_test(udp, all_addresses) {
    char buf[8];
    static const rota_udp_options v4 = {.family = AF_INET};
    int both = rota_udp_bind(NULL, "0", NULL), four = rota_udp_bind(NULL, NULL, &v4);
    cr_expect(both >= 0 && four >= 0);
    for (int i = 0; i < 2; i++) {
        int client = rota_udp_connect("127.0.0.1", port_text(i ? four : both), NULL);
        cr_expect_eq(rota_send(client, "x", 1, 0), 1);
        cr_expect_eq(rota_recv(i ? four : both, buf, sizeof buf, 0), 1);
        rota_close(client);
    }
    rota_close(both);
    rota_close(four);
    return 0;
}

static int no_ipv6(int domain, int type, int protocol) {
    return domain == AF_INET6 ? -EAFNOSUPPORT : rota__sys_real.socket(domain, type, protocol);
}

static intptr_t without_ipv6(void *unused) {
    static const rota_udp_options six = {.family = AF_INET6}, only = {.ipv6_only = true};
    (void)unused;
    int fd = rota_udp_bind(NULL, NULL, NULL);
    cr_expect_geq(fd, 0);
    rota_close(fd);
    cr_expect_eq(rota_udp_bind(NULL, NULL, &six), -EAFNOSUPPORT);
    cr_expect_eq(rota_udp_bind("::", NULL, &only), -EAFNOSUPPORT);
    return 0;
}

Test(udp, without_ipv6) {
    use_shim()->socket = no_ipv6;
    cr_expect_eq(run_task(without_ipv6, NULL), 0);
    rota__sys = &rota__sys_real;
}

Task_test(udp, options) {
    static const rota_udp_options opt = {.reuse_address = true, .reuse_port = true, .broadcast = true,
                                         .receive_buffer = 8192, .send_buffer = 8192};
    int fd = rota_udp_bind("127.0.0.1", NULL, &opt), plain = rota_udp_bind("127.0.0.1", NULL, NULL);
    cr_expect(option(fd, SOL_SOCKET, SO_REUSEADDR));
    cr_expect(option(fd, SOL_SOCKET, SO_BROADCAST));
    cr_expect_lt(option(fd, SOL_SOCKET, SO_RCVBUF), option(plain, SOL_SOCKET, SO_RCVBUF));
    cr_expect_lt(option(fd, SOL_SOCKET, SO_SNDBUF), option(plain, SOL_SOCKET, SO_SNDBUF));
    int second = rota_udp_bind("127.0.0.1", port_text(fd), &opt);
    cr_expect_geq(second, 0);
    cr_expect_eq(rota_udp_bind("127.0.0.1", port_text(plain), NULL), -EADDRINUSE);
    rota_close(fd);
    rota_close(plain);
    rota_close(second);
    return 0;
}

static intptr_t bad_arguments(void *unused) {
    (void)unused;
    static const rota_udp_options family = {.family = 77}, buffer = {.receive_buffer = -1};
    cr_expect_eq(rota_udp_bind("127.0.0.1", "65536", NULL), -EINVAL);
    cr_expect_eq(rota_udp_bind("127.0.0.1", "80x", NULL), -EINVAL);
    cr_expect_eq(rota_udp_bind("127.0.0.1", "0", &family), -EINVAL);
    cr_expect_eq(rota_udp_bind("127.0.0.1", "0", &buffer), -EINVAL);
    cr_expect_eq(rota_udp_bind("203.0.113.1", "0", NULL), -EADDRNOTAVAIL);
    cr_expect_eq(rota_udp_connect("127.0.0.1", NULL, NULL), -EINVAL);
    cr_expect_eq(rota_udp_connect(NULL, "1", NULL), -EINVAL);
    cr_expect_eq(rota_udp_connect("127.0.0.1", "-1", NULL), -EINVAL);
    return 0;
}

Test(udp, bad_arguments, .fini = wait_for_threads) { cr_expect_eq(run_task(bad_arguments, NULL), 0); }

Test(udp, outside_of_tasks) {
    cr_expect_eq(rota_udp_bind(NULL, NULL, NULL), -EPERM);
    cr_expect_eq(rota_udp_connect("::1", "1", NULL), -EPERM);
}

/* ---- multicast: on the loopback interface, or on another one (Linux has no IPv6 multicast on loopback), with groups
 * and hops that do not leave the host ---- */

static rota_address group_of(const char *text) {
    rota_address a;
    cr_expect_eq(rota_address_parse(&a, text, strlen(text)), 0);
    return a;
}

static intptr_t receive(void *arg) {
    struct io *io = arg;
    return rota_recv(io->fd, io->buf, io->n, 0);
}

/* What the system says to the option: 0, but emulators do not know it. */
static int raw_set_interface(int fd, unsigned interface) {
#ifdef __linux__
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    struct ip_mreqn four = { .imr_ifindex = (int)interface };
    int six = (int)interface;
    if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return -errno;
    int rc = a.ss_family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &four, sizeof four)
                                    : setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &six, sizeof six);
    return rc < 0 ? -errno : 0;
#else
    (void)fd, (void)interface;
    return 0;
#endif
}

#ifdef __linux__
static int plain_socket(const rota_address *any, struct sockaddr_storage *bound) {
    socklen_t len = sizeof *bound;
    int fd = socket(any->addr.ss_family, SOCK_DGRAM, 0);
    cr_expect_eq(bind(fd, (const struct sockaddr *)&any->addr, any->len), 0);
    cr_expect_eq(getsockname(fd, (struct sockaddr *)bound, &len), 0);
    return fd;
}

/* Do datagrams to this group come back here, by that interface? Asked by plain sockets: containers and emulators
 * may lack the route, the interface's flag or the options. */
static bool has_multicast(rota_address group, unsigned interface) {
    bool four = group.addr.ss_family == AF_INET;
    rota_address any = group_of(four ? "0.0.0.0:0" : "[::]:0");
    struct sockaddr_storage in_name, out_name;
    int in = plain_socket(&any, &in_name), out = plain_socket(&any, &out_name);
    struct group_req join;
    memset(&join, 0, sizeof join); /* its padding too: valgrind sees it handed over */
    join.gr_interface = interface;
    join.gr_group = group.addr;
    struct pollfd p = {.fd = in, .events = POLLIN};
    /* IPv6 has the port in the same place. */
    ((struct sockaddr_in *)&group.addr)->sin_port = ((struct sockaddr_in *)&in_name)->sin_port;
    bool works = setsockopt(in, four ? IPPROTO_IP : IPPROTO_IPV6, MCAST_JOIN_GROUP, &join, sizeof join) == 0 &&
                 raw_set_interface(out, interface) == 0 &&
                 sendto(out, "?", 1, 0, (struct sockaddr *)&group.addr, group.len) == 1 && poll(&p, 1, 100) == 1;
    close(in);
    close(out);
    return works;
}
#else
static bool has_multicast(rota_address group, unsigned interface) {
    (void)group, (void)interface;
    return false; /* not known: either is right */
}
#endif

static unsigned loopback_interface(void) {
    unsigned n = if_nametoindex("lo");
    return n ? n : if_nametoindex("lo0");
}

/* The first one that delivers; if none does, loopback. */
static unsigned interface_for(const char *group) {
    unsigned found = 0;
    struct if_nameindex *all = if_nameindex();
    for (struct if_nameindex *i = all; i && i->if_index && !found; i++)
        if (has_multicast(group_of(group), i->if_index))
            found = i->if_index;
    if (all)
        if_freenameindex(all);
    if (!found)
        printf("no multicast here (%s): its delivery cannot be tested\n", group);
    return found ? found : loopback_interface();
}

static void multicast(const char *any, const char *group_text) {
    unsigned interface = interface_for(group_text);
    char buf[8];
    rota_scope scope;
    int server = rota_udp_bind(any, NULL, NULL), client = rota_udp_bind(any, NULL, NULL);
    char with_port[64];
    cr_expect(server >= 0 && client >= 0);
    snprintf(with_port, sizeof with_port, "%s:%d", group_text, port_of(server));
    rota_address group = group_of(with_port);
    int rc = rota_udp_join(server, &group, interface);
    if (rc < 0) { /* no multicast here: then it must say so */
        cr_expect(rc == -ENODEV || rc == -EADDRNOTAVAIL || rc == -EOPNOTSUPP || rc == -ENOPROTOOPT, "%d", rc);
        goto out;
    }
    cr_expect_eq(rota_udp_join(server, &group, interface), -EADDRINUSE);
    cr_expect_eq(rota_udp_set_interface(client, interface), raw_set_interface(client, interface));
    cr_expect_eq(rota_udp_set_hops(client, 0), 0);
    cr_expect_eq(rota_udp_set_loop(client, true), 0);
    ssize_t n = rota_sendto(client, "all", 3, 0, (struct sockaddr *)&group.addr, group.len);
    bool delivers = has_multicast(group, interface);
    cr_expect(n == 3 || !delivers, "%zd", n);
    if (n == 3) {
        struct io io = {.fd = server, .buf = buf, .n = sizeof buf};
        rota_timeout_begin(&scope, delivers ? 10 * ROTA_S : 0);
        n = (ssize_t)rota_scope_end(&scope, receive(&io));
        cr_expect(n == 3 || (!delivers && n == -ETIMEDOUT), "%zd", n);
    }
    cr_expect_eq(rota_udp_leave(server, &group, interface), 0);
    cr_expect_eq(rota_udp_leave(server, &group, interface), -EADDRNOTAVAIL);
out:
    rota_close(server);
    rota_close(client);
}

Task_test(udp, multicast_ipv4) {
    multicast("0.0.0.0", "239.255.77.77");
    return 0;
}

Task_test(udp, multicast_ipv6) {
    int probe = socket(AF_INET6, SOCK_DGRAM, 0);
    if (probe < 0)
        return 0;
    close(probe);
    multicast("::", "[ff01::7777]");
    return 0;
}

Task_test(udp, multicast_options) {
    int fd = rota_udp_bind("127.0.0.1", NULL, NULL), sv[2];
    unsigned char byte = 9;
    socklen_t len = sizeof byte;
    cr_expect_eq(rota_udp_set_hops(fd, 7), 0);
    cr_expect_eq(getsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &byte, &len), 0);
    cr_expect_eq(byte, 7);
    cr_expect_eq(rota_udp_set_loop(fd, false), 0);
    len = sizeof byte;
    cr_expect_eq(getsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &byte, &len), 0);
    cr_expect_eq(byte, 0);
    cr_expect_eq(rota_udp_set_hops(fd, 256), -EINVAL);
    cr_expect_eq(rota_udp_set_hops(fd, -1), -EINVAL);
    cr_expect_eq(rota_udp_set_interface(fd, 0), raw_set_interface(fd, 0));
    rota_address group = group_of("239.1.2.3"), other = group_of("10.0.0.1"), unix_name = group_of("/x");
    cr_expect_eq(rota_udp_join(fd, &other, 0), -EINVAL);
    cr_expect_eq(rota_udp_join(fd, &unix_name, 0), -EINVAL);
    cr_expect_eq(rota_udp_join(fd, NULL, 0), -EINVAL);
    cr_expect_lt(rota_udp_join(fd, &group, INT32_MAX), 0);
    cr_expect_eq(rota_udp_join(fd, &group, UINT32_MAX), -EINVAL);
    cr_expect_eq(rota_udp_set_loop(-1, true), -EBADF);
    unix_pair(sv);
    cr_expect_eq(rota_udp_set_loop(sv[0], true), -EAFNOSUPPORT);
    cr_expect_eq(rota_udp_set_interface(sv[0], 1), -EAFNOSUPPORT);
    rota_close(fd);
    close(sv[0]);
    close(sv[1]);
    return 0;
}
