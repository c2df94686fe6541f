/* Addresses and text: rota_address_text, rota_address_parse, rota_unix_address, rota_address_port, rota_address_equal.
 *
 * Nothing is looked up, no system call is made, so none of them waits. Invariant: what is parsed is exactly what was
 * written, or refused; cut-off names and numbers in three notations have made other programs connect to the wrong
 * machine (CVE-2024-24806, CVE-2021-29921). It must not know sockets.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "coro/fd.h"
#include "reactor/text.h"
#include "rota/net.h"

enum { HOST_TEXT_MAX = 64, PORT_MAX = 65535 };

static const size_t path_room = sizeof(((struct sockaddr_un *)0)->sun_path);
#define PATH_AT offsetof(struct sockaddr_un, sun_path)

/* ---- to text ---- */

static void add_ipv4(struct rota__text *t, const struct sockaddr_in *a) {
    char host[INET_ADDRSTRLEN];
    rota__text_add(t, inet_ntop(AF_INET, &a->sin_addr, host, sizeof host) ? host : "?");
    rota__text_add(t, ":");
    rota__text_number(t, ntohs(a->sin_port));
}

static void add_ipv6(struct rota__text *t, const struct sockaddr_in6 *a) {
    char host[INET6_ADDRSTRLEN];
    rota__text_add(t, "[");
    rota__text_add(t, inet_ntop(AF_INET6, &a->sin6_addr, host, sizeof host) ? host : "?");
    if (a->sin6_scope_id) {
        rota__text_add(t, "%");
        rota__text_number(t, a->sin6_scope_id);
    }
    rota__text_add(t, "]:");
    rota__text_number(t, ntohs(a->sin6_port));
}

/* The kernel says how long the name is; a path may end before that, in a NUL byte, and need not have one. Those of
 * abstract names belong to the name: shown as '@', as other tools show them. */
static void add_unix(struct rota__text *t, const struct sockaddr_un *a, size_t len) {
    char name[sizeof a->sun_path + 1] = "";
    size_t n = len > PATH_AT ? len - PATH_AT : 0;
    n = n < path_room ? n : path_room;
    memcpy(name, a->sun_path, n);
    if (n && !name[0])
        for (size_t i = 0; i < n; i++)
            name[i] = name[i] ? name[i] : '@';
    rota__text_add(t, name);
}

size_t rota_address_text(const rota_address *address, char *buf, size_t n) {
    struct rota__text t;
    rota__text_init(&t, buf, n);
    if (!address)
        return 0;
    const void *a = &address->addr;
    switch (address->addr.ss_family) {
    case AF_INET:
        add_ipv4(&t, a);
        break;
    case AF_INET6:
        add_ipv6(&t, a);
        break;
    case AF_UNIX:
        add_unix(&t, a, (size_t)address->len);
        break;
    default:
        rota__text_add(&t, "family ");
        rota__text_number(&t, address->addr.ss_family);
    }
    return t.length;
}

/* ---- from text ---- */

/* Decimal, all of [text, end), no sign, no leading zero but of "0" itself; -1: not so, or more than max. */
static int64_t number(const char *text, const char *end, int64_t max) {
    int64_t value = 0;
    if (text == end || (*text == '0' && end - text > 1))
        return -1;
    for (; text < end; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (*text - '0');
        if (value > max)
            return -1;
    }
    return value;
}

/* inet_pton takes a string. Of IPv4 it is strict where inet_aton takes "0x7f.1", but some take zeros in front. */
static bool parse_host(int family, const char *text, const char *end, void *out) {
    char host[HOST_TEXT_MAX];
    size_t n = (size_t)(end - text);
    if (n == 0 || n >= sizeof host || memchr(text, '\0', n))
        return false;
    memcpy(host, text, n);
    host[n] = '\0';
    for (size_t i = 0; family == AF_INET && i + 1 < n; i++)
        if (host[i] == '0' && host[i + 1] != '.' && (i == 0 || host[i - 1] == '.'))
            return false;
    return inet_pton(family, host, out) == 1;
}

static int parse_ipv4(rota_address *out, const char *text, const char *end) {
    struct sockaddr_in *a = (struct sockaddr_in *)(void *)&out->addr;
    const char *colon = memchr(text, ':', (size_t)(end - text));
    int64_t port = colon ? number(colon + 1, end, PORT_MAX) : 0;
    if (port < 0 || !parse_host(AF_INET, text, colon ? colon : end, &a->sin_addr))
        return -EINVAL;
    a->sin_family = AF_INET;
    a->sin_port = htons((uint16_t)port);
    out->len = sizeof *a;
    return 0;
}

static int parse_ipv6(rota_address *out, const char *text, const char *end) {
    struct sockaddr_in6 *a = (struct sockaddr_in6 *)(void *)&out->addr;
    const char *host_end = end;
    int64_t port = 0, scope = 0;
    if (*text == '[') {
        text++;
        host_end = memchr(text, ']', (size_t)(end - text));
        if (!host_end)
            return -EINVAL;
        if (host_end + 1 < end)
            port = host_end[1] == ':' ? number(host_end + 2, end, PORT_MAX) : -1;
    }
    const char *percent = memchr(text, '%', (size_t)(host_end - text));
    if (percent)
        scope = number(percent + 1, host_end, UINT32_MAX);
    if (port < 0 || scope < 0 || !parse_host(AF_INET6, text, percent ? percent : host_end, &a->sin6_addr))
        return -EINVAL;
    a->sin6_family = AF_INET6;
    a->sin6_port = htons((uint16_t)port);
    a->sin6_scope_id = (uint32_t)scope;
    out->len = sizeof *a;
    return 0;
}

/* A second colon before any bracket: IPv6. */
static bool looks_like_ipv6(const char *text, size_t n) {
    const char *colon = memchr(text, ':', n);
    return *text == '[' || (colon && memchr(colon + 1, ':', n - (size_t)(colon + 1 - text)));
}

static int parse_unix(rota_address *out, const char *name, size_t n) {
    struct sockaddr_un *a = (struct sockaddr_un *)(void *)&out->addr;
    if (n == 0 || memchr(name, '\0', n))
        return -EINVAL;
    if (n > path_room)
        return -ENAMETOOLONG;
    a->sun_family = AF_UNIX;
    memcpy(a->sun_path, name, n);
    /* A path that fills the field has no room for a NUL, and needs none: the length tells. */
    out->len = (socklen_t)(PATH_AT + n + (n < path_room));
    if (*name != '@')
        return 0;
#ifdef __linux__
    if (n == 1)
        return -EINVAL;
    a->sun_path[0] = '\0';
    out->len = (socklen_t)(PATH_AT + n);
    return 0;
#else
    return -ENOTSUP;
#endif
}

int rota_address_parse(rota_address *out, const char *text, size_t n) {
    if (!out || !text || n == 0)
        return -EINVAL;
    memset(out, 0, sizeof *out);
    int rc;
    if (*text == '/' || *text == '@' || (n > 1 && text[0] == '.' && text[1] == '/'))
        rc = parse_unix(out, text, n);
    else if (n >= ROTA_ADDRESS_TEXT)
        rc = -ENAMETOOLONG;
    else
        rc = looks_like_ipv6(text, n) ? parse_ipv6(out, text, text + n) : parse_ipv4(out, text, text + n);
    if (rc < 0)
        memset(out, 0, sizeof *out);
    return rc;
}

int rota_unix_address(rota_address *out, const char *name) {
    if (!out || !name)
        return -EINVAL;
    memset(out, 0, sizeof *out);
    return parse_unix(out, name, strlen(name));
}

/* ---- asking ---- */

int rota_address_port(const rota_address *address) {
    if (address && address->addr.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)&address->addr)->sin_port);
    if (address && address->addr.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)&address->addr)->sin6_port);
    return -EINVAL;
}

/* By field: what else is in them (padding, the flow of IPv6, a length on the BSDs) says nothing about where. */
bool rota_address_equal(const rota_address *a, const rota_address *b) {
    if (!a || !b || a->addr.ss_family != b->addr.ss_family)
        return false;
    const void *x = &a->addr, *y = &b->addr;
    const struct sockaddr_in *x4 = x, *y4 = y;
    const struct sockaddr_in6 *x6 = x, *y6 = y;
    switch (a->addr.ss_family) {
    case AF_INET:
        return x4->sin_port == y4->sin_port && x4->sin_addr.s_addr == y4->sin_addr.s_addr;
    case AF_INET6:
        return x6->sin6_port == y6->sin6_port && x6->sin6_scope_id == y6->sin6_scope_id &&
               memcmp(&x6->sin6_addr, &y6->sin6_addr, sizeof x6->sin6_addr) == 0;
    default:
        return a->len == b->len && (size_t)a->len <= sizeof a->addr && memcmp(x, y, (size_t)a->len) == 0;
    }
}
