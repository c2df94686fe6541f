/* Names: a resolver that asks name servers itself, over UDP and TCP, next to rota_resolve, which lets a thread call the
 * C library. It makes no thread, so a lookup that is cancelled leaves nothing behind.
 *
 *     rota_dns dns;
 *     int rc = rota_dns_open(&dns, NULL);
 *     int fd = rota_dial("example.org", "80", &(rota_dial_options){ .dns = &dns });
 *     rota_dns_close(&dns);
 *
 * Standards: RFC 1034, 1035 (messages), 1123 6.1.3 (UDP, then TCP), 2181, 2308 (names that do not exist), 2782 (SRV),
 * 3596 (AAAA), 5452 (what an answer must match), 6761 (localhost), 6891 (EDNS), 7766 (TCP), 9715 (1232 bytes).
 *
 * Where it differs from the C library (glibc) over the same resolv.conf and hosts:
 *  - nsswitch.conf is not read: the hosts file, then the servers. No mDNS, no cache daemon.
 *  - Servers are asked for names in full ASCII only; bytes above it are -EINVAL (write them as "xn--…").
 *  - EDNS is always used (option edns0 is accepted and changes nothing), and left out for a server that refuses it.
 *  - Each try has the same timeout; it is not doubled. A try has a socket, a port and an id of its own.
 *  - A server that does not answer, or fails, ends the search through the domains of resolv.conf: to go on could find
 *    another host of that name. (glibc goes on after SERVFAIL.)
 *  - Of A and AAAA, an answer to one is enough when the servers fail for the other.
 *  - Without "search" or "domain" the machine's own name gives no domain. LOCALDOMAIN and RES_OPTIONS are not read.
 *  - Lines of resolv.conf may begin with blanks and end in \r; bad numbers and domains are skipped.
 *  - "localhost" and names that end in ".localhost" are never asked of a server.
 *  - Order: see rota_dns_resolve; gai.conf is not read.
 */
#ifndef ROTA_DNS_H
#define ROTA_DNS_H

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ROTA_DNS_SERVERS = 3 };     /* as many are used */

typedef struct rota_dns_options {
    const char *resolv_conf;       /* a path; NULL: /etc/resolv.conf; "": none is read */
    const char *hosts;             /* a path; NULL: /etc/hosts; "": none is read */
    const char *services;          /* a path; NULL: /etc/services; "": none is read */
    const rota_address *servers;   /* to be asked instead of those of resolv.conf; copied */
    size_t n_servers;              /* at most ROTA_DNS_SERVERS */
    int64_t timeout;               /* ns, of one try at one server; 0: resolv.conf's, else 5 s */
    unsigned attempts;             /* how often each server is tried; 0: resolv.conf's, else 2 */
    size_t cache;                  /* answers that are remembered for their time to live; 0: none */
    bool rotate;                   /* begin with another server each time (resolv.conf: rotate) */
    bool tcp;                      /* ask over TCP at once (resolv.conf: use-vc) */
    bool no_edns;
} rota_dns_options;

/* A resolver. Belongs to the loop that was current when it was opened; any number of tasks use it at once. */
typedef struct rota_dns {
    struct rota__dns *core_;
} rota_dns;

/* Opens no descriptor and reads no file. opt is copied. Close it before its loop is freed. -EINVAL (no loop; more
 * servers than there may be, or of another family than IPv4 and IPv6; a negative timeout), -ENOMEM. */
ROTA_API ROTA_CHECK int rota_dns_open(rota_dns *dns, const rota_dns_options *opt);

/* Never suspends. Tasks inside wake with -ESHUTDOWN; calls from then on answer that too. Closing twice is 0. */
ROTA_API int rota_dns_close(rota_dns *dns);

/* (S) As rota_resolve: at most n addresses, and how many is returned; numbers are parsed at once; service is a port, a
 * name of one for TCP, or NULL. The hosts file comes first; then localhost is 127.0.0.1 and ::1; then the servers are
 * asked, for A and AAAA at the same time (family 0), in the search domains as resolv.conf says (search, domain, ndots;
 * a name that ends in a dot is taken as it is).
 * resolv.conf (nameserver, search, domain, options ndots, timeout, attempts, rotate, use-vc, no-aaaa) and the hosts
 * file are read again when they have changed, which is looked at once a second at most; that blocks the loop for as
 * long as it takes to read a small file. A missing resolv.conf, and one without a server, means 127.0.0.1.
 * Order: all IPv6 addresses, then all IPv4 ones, if there is a route to the first IPv6 one; else the other way round.
 * Within a family as the server or the file has them.
 * The longest it takes with servers that do not answer: timeout x attempts x servers for each name that is tried, twice
 * that where answers were truncated and TCP hangs as well.
 * -ENOENT (no such name, or it has no address), -EHOSTUNREACH (no server gave an answer of use), -ELOOP (more than 16
 * aliases in a row), -EINVAL (bad host, service, family; n == 0), -ENAMETOOLONG (host over 253 bytes, or a label over
 * 63), -ESHUTDOWN, -EPERM (opened on another loop), -ENOMEM, -EFBIG (a file over 64 MiB); the system's errors when a
 * socket cannot be made or a file cannot be read. */
ROTA_API ROTA_CHECK int rota_dns_resolve(rota_dns *dns, const char *host, const char *service, int family,
                                         rota_address *out, size_t n);

/* Types of records; rota_dns_query takes any number from 1 to 65535 but 41 and 128 to 255, which are no records. */
enum {
    ROTA_DNS_A = 1, ROTA_DNS_NS = 2, ROTA_DNS_CNAME = 5, ROTA_DNS_PTR = 12, ROTA_DNS_MX = 15, ROTA_DNS_TXT = 16,
    ROTA_DNS_AAAA = 28, ROTA_DNS_SRV = 33
};

/* Names are text without the dot at the end, except for the root ("."); bytes that are not printable, dots inside
 * labels and backslashes are written as RFC 1035, 5.1 says (\DDD, \.). */
typedef struct rota_dns_record {
    const char *name;            /* whose record it is: the name asked for, or what it is an alias of */
    unsigned type;
    uint32_t ttl;                /* seconds it may be remembered */
    const char *target;          /* NS, CNAME, PTR, MX, SRV: the name it points to; else NULL */
    unsigned priority;           /* MX (preference), SRV */
    unsigned weight, port;       /* SRV */
    const char *text;            /* TXT: its strings in a row, with a NUL behind; else NULL */
    size_t text_size;
    const unsigned char *data;   /* all types: the bytes as they came. A, AAAA: the address in network order */
    size_t data_size;
} rota_dns_record;

/* (S) All records of a type that a name has, asked of the servers (no file, no search domain). Aliases are followed,
 * but for type CNAME. How many there are is returned, 0 when the name exists and has none; *records points to the
 * first of them, in buf, with everything that they point to. Errors as rota_dns_resolve (-ENOENT: there is no such
 * name); -ENOBUFS: buf is too small (it takes some 100 bytes a record beside its contents). */
ROTA_API ROTA_CHECK int rota_dns_query(rota_dns *dns, const char *name, unsigned type, void *buf, size_t size,
                                       const rota_dns_record **records);

/* The name under which an address has its PTR record ("1.0.0.127.in-addr.arpa", RFC 1035, 3.5; "….ip6.arpa", RFC
 * 3596, 2.5), in buf; ROTA_DNS_ARPA bytes are enough. Its length; -EINVAL (no IPv4 or IPv6 address), -ENOBUFS. */
enum { ROTA_DNS_ARPA = 73 };
ROTA_API ROTA_CHECK int rota_dns_arpa(const struct sockaddr *addr, char *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif
