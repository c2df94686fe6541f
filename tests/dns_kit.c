/* See dns_kit.h. */
#include "tests/dns_kit.h"

#include <stdio.h>
#include <strings.h>

/* ---- replies ---- */

static void put(struct dns_exchange *x, const void *bytes, size_t n) {
    if (x->n + n <= sizeof x->reply) {
        memcpy(x->reply + x->n, bytes, n);
        x->n += n;
    }
}

static void put16(struct dns_exchange *x, unsigned v) { put(x, (uint8_t[]){ (uint8_t)(v >> 8), (uint8_t)v }, 2); }

static void put32(struct dns_exchange *x, uint32_t v) {
    put16(x, v >> 16);
    put16(x, v & 0xffff);
}

static void count_up(struct dns_exchange *x, int at) {
    unsigned n = rota__dns_u16(x->reply + at) + 1;
    x->reply[at] = (uint8_t)(n >> 8);
    x->reply[at + 1] = (uint8_t)n;
}

enum { ANSWERS = 6, AUTHORITY = 8 };

static void set16(struct dns_exchange *x, int at, unsigned v) {
    x->reply[at] = (uint8_t)(v >> 8);
    x->reply[at + 1] = (uint8_t)v;
}

void dns_reply_begin(struct dns_exchange *x, int rcode) {
    x->n = 0;
    put16(x, x->id);
    put16(x, 0x8180u | (unsigned)rcode);
    put16(x, 1);
    put16(x, 0);
    put32(x, 0);
    put(x, x->name.wire, x->name.n);
    put16(x, x->type);
    put16(x, 1);
}

static void record_in(struct dns_exchange *x, int section, const char *name, unsigned type, uint32_t ttl,
                      const void *data, size_t n) {
    struct rota__dns_name owner;
    cr_expect_eq(rota__dns_name_parse(&owner, name), 0, "%s", name);
    put(x, owner.wire, owner.n);
    put16(x, type);
    put16(x, 1);
    put32(x, ttl);
    put16(x, (unsigned)n);
    put(x, data, n);
    count_up(x, section);
}

void dns_reply_record(struct dns_exchange *x, const char *name, unsigned type, uint32_t ttl, const void *data,
                      size_t n) {
    record_in(x, ANSWERS, name, type, ttl, data, n);
}

void dns_reply_a(struct dns_exchange *x, const char *name, const char *address) {
    uint8_t bytes[16];
    int family = strchr(address, ':') ? AF_INET6 : AF_INET;
    cr_expect_eq(inet_pton(family, address, bytes), 1);
    dns_reply_record(x, name, family == AF_INET ? ROTA_DNS_A : ROTA_DNS_AAAA, 300, bytes, family == AF_INET ? 4 : 16);
}

void dns_reply_alias(struct dns_exchange *x, const char *name, const char *target) {
    struct rota__dns_name to;
    cr_expect_eq(rota__dns_name_parse(&to, target), 0);
    dns_reply_record(x, name, ROTA_DNS_CNAME, 300, to.wire, to.n);
}

static void put_soa(struct dns_exchange *x) {
    static const uint8_t data[] = { 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 60 };
    record_in(x, AUTHORITY, "test", ROTA__DNS_TYPE_SOA, 600, data, sizeof data);
}

void dns_reply_send(struct dns_exchange *x) {
    uint8_t length[2] = { (uint8_t)(x->n >> 8), (uint8_t)x->n };
    if (!x->tcp) {
        (void)!sendto(x->fd, x->reply, x->n, MSG_DONTWAIT, (struct sockaddr *)&x->from, x->from_len);
        return;
    }
    if (x->without_tasks) {
        struct iovec iov[2] = { { length, 2 }, { x->reply, x->n } };
        (void)!writev(x->fd, iov, 2);
    } else if (rota_write_all(x->fd, length, 2, NULL) == 0) {
        (void)!rota_write_all(x->fd, x->reply, x->n, NULL);
    }
}

/* ---- the zone ---- */

static const struct { const char *name; unsigned type; const char *data; } zone[] = {
    { "four.test", ROTA_DNS_A, "192.0.2.4" },
    { "six.test", ROTA_DNS_AAAA, "2001:db8::6" },
    { "both.test", ROTA_DNS_A, "192.0.2.1" },
    { "both.test", ROTA_DNS_A, "192.0.2.2" },
    { "both.test", ROTA_DNS_AAAA, "2001:db8::1" },
    { "looped.test", ROTA_DNS_A, "127.0.0.1" },
    { "looped.test", ROTA_DNS_AAAA, "::1" },
    { "alias.test", ROTA_DNS_CNAME, "other.test" },
    { "other.test", ROTA_DNS_CNAME, "both.test" },
    { "dangling.test", ROTA_DNS_CNAME, "nowhere.test" },
    { "to-empty.test", ROTA_DNS_CNAME, "empty.test" },
    { "mail.test", ROTA_DNS_MX, "\x00\x0a\x02mx\x04test" },
    { "db", ROTA_DNS_A, "192.0.2.90" },
    { "db.one.test", ROTA_DNS_A, "192.0.2.91" },
    { "db.two.test", ROTA_DNS_A, "192.0.2.92" },
    { "only.two.test", ROTA_DNS_A, "192.0.2.93" },
    { "a.b", ROTA_DNS_A, "192.0.2.94" },
    { "a.b.one.test", ROTA_DNS_A, "192.0.2.95" },
};

/* Names that exist and have nothing that a test asks for. */
static bool is_empty(const char *name) {
    return strcasecmp(name, "empty.test") == 0 || strcasecmp(name, "db.empty.test") == 0;
}

/* The record of the zone; an alias counts for every type. NULL: none. *exists: the name has others. */
static size_t zone_find(const char *name, unsigned type, size_t from, bool *exists) {
    for (size_t i = from; i < sizeof zone / sizeof *zone; i++) {
        if (strcasecmp(zone[i].name, name) != 0)
            continue;
        *exists = true;
        if (zone[i].type == type || zone[i].type == ROTA_DNS_CNAME)
            return i;
    }
    return SIZE_MAX;
}

static void zone_add(struct dns_exchange *x, size_t i) {
    if (zone[i].type == ROTA_DNS_A || zone[i].type == ROTA_DNS_AAAA)
        dns_reply_a(x, zone[i].name, zone[i].data);
}

void dns_kit_zone(struct dns_exchange *x) {
    const char *name = x->text;
    bool exists = is_empty(name);
    size_t i = zone_find(name, x->type, 0, &exists);
    dns_reply_begin(x, exists ? ROTA__DNS_NOERROR : ROTA__DNS_NXDOMAIN);
    while (i != SIZE_MAX && zone[i].type == ROTA_DNS_CNAME && x->type != ROTA_DNS_CNAME) {
        dns_reply_alias(x, zone[i].name, zone[i].data);
        name = zone[i].data;
        exists = is_empty(name);
        i = zone_find(name, x->type, 0, &exists);
        set16(x, 2, 0x8180u | (exists ? 0u : ROTA__DNS_NXDOMAIN));
    }
    bool any = false;
    for (; i != SIZE_MAX; i = zone_find(name, x->type, i + 1, &exists), any = true)
        zone_add(x, i);
    if (!any)
        put_soa(x);
}

/* ---- answers that are bad on purpose: each sends what it has to send ---- */

static void good(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    if (x->type == ROTA_DNS_A)
        dns_reply_a(x, x->text, "192.0.2.77");
    else
        put_soa(x);
}

static void evil(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    if (x->type == ROTA_DNS_A)
        dns_reply_a(x, x->text, "203.0.113.66");
    else
        dns_reply_a(x, x->text, "2001:db8::bad");
}

static void send_good(struct dns_exchange *x) {
    good(x);
    dns_reply_send(x);
}

static void wrong_id(struct dns_exchange *x) {
    evil(x);
    x->reply[0] ^= 0xff;
    dns_reply_send(x);
    send_good(x);
}

static void wrong_question(struct dns_exchange *x) {
    evil(x);
    x->reply[ROTA__DNS_HEADER + 1] ^= 1;
    dns_reply_send(x);
    evil(x);
    x->reply[ROTA__DNS_HEADER + x->name.n + 1] ^= 0x40; /* another type */
    dns_reply_send(x);
    evil(x);
    x->reply[ROTA__DNS_HEADER + x->name.n + 3] = 3; /* class CHAOS */
    dns_reply_send(x);
    evil(x);
    set16(x, 4, 2); /* two questions */
    dns_reply_send(x);
    evil(x);
    set16(x, 4, 0); /* none, and an answer all the same */
    dns_reply_send(x);
    send_good(x);
}

static void other_source(struct dns_exchange *x) {
    int other = socket(AF_INET, SOCK_DGRAM, 0);
    evil(x);
    (void)!sendto(other, x->reply, x->n, 0, (struct sockaddr *)&x->from, x->from_len);
    close(other);
    send_good(x);
}

static void not_an_answer(struct dns_exchange *x) {
    evil(x);
    x->reply[2] &= 0x7f; /* QR: a question */
    dns_reply_send(x);
    evil(x);
    x->reply[2] |= 0x28; /* opcode UPDATE */
    dns_reply_send(x);
    send_good(x);
}

static void garbage(struct dns_exchange *x) {
    for (size_t n = 0; n < 40; n++) {
        x->n = n;
        for (size_t i = 0; i < n; i++)
            x->reply[i] = (uint8_t)(i * 37 + n);
        dns_reply_send(x);
    }
    send_good(x);
}

/* An answer of which the name points to itself. */
static void pointer_loop(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    set16(x, ANSWERS, 1);
    put16(x, 0xc000u | (unsigned)x->n);
    put16(x, x->type);
    put16(x, 1);
    put32(x, 60);
    put16(x, 4);
    put32(x, 0);
    dns_reply_send(x);
}

static void pointer_past_end(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    set16(x, ANSWERS, 1);
    put16(x, 0xffff);
    put16(x, x->type);
    put16(x, 1);
    put32(x, 60);
    put16(x, 4);
    put32(x, 0);
    dns_reply_send(x);
}

static void cut_packet(struct dns_exchange *x) {
    evil(x);
    x->n -= 3;
    dns_reply_send(x);
}

static void data_past_end(struct dns_exchange *x) {
    evil(x);
    x->reply[x->n - (x->type == ROTA_DNS_A ? 5 : 17)] = 0xff; /* the length of the contents */
    dns_reply_send(x);
}

static void huge_counts(struct dns_exchange *x) {
    evil(x);
    for (int at = ANSWERS; at <= 10; at += 2)
        set16(x, at, 0xffff);
    dns_reply_send(x);
}

static void zero_records(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    dns_reply_send(x);
}

static void short_address(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    dns_reply_record(x, x->text, x->type, 60, "\x7f\x00\x01", 3);
    dns_reply_send(x);
}

static void alias_loop(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    dns_reply_alias(x, x->text, "there.bad");
    dns_reply_alias(x, "there.bad", x->text);
    dns_reply_send(x);
}

/* One alias an answer, each to a name that is one longer: an endless chain of questions. */
static void alias_chain(struct dns_exchange *x) {
    static int n;
    char next[80];
    snprintf(next, sizeof next, "alias-chain.%d.bad", n++ % 1000);
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    dns_reply_alias(x, x->text, next);
    dns_reply_send(x);
}

/* The alias alone; what it stands for must be asked for. */
static void alias_cut(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    dns_reply_alias(x, x->text, "both.test");
    dns_reply_send(x);
}

static void long_name(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    set16(x, ANSWERS, 1);
    for (int i = 0; i < 5; i++) {
        put(x, "\x3f", 1);
        put(x, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 63);
    }
    put(x, "\0", 1);
    put16(x, x->type);
    put16(x, 1);
    put32(x, 60);
    put16(x, 4);
    put32(x, 0);
    dns_reply_send(x);
}

static void late(struct dns_exchange *x) {
    (void)!rota_sleep(7 * ROTA_S);
    evil(x);
    dns_reply_send(x);
}

static void flood(struct dns_exchange *x) {
    evil(x);
    for (int i = 0; i < 80; i++) {
        set16(x, 0, x->id + 1 + (unsigned)i);
        dns_reply_send(x);
    }
}

static void lame(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    x->reply[3] &= 0x7f; /* no recursion */
    dns_reply_send(x);
}

/* ---- over TCP ---- */

static void truncated(struct dns_exchange *x) {
    if (x->tcp) {
        send_good(x);
        return;
    }
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    x->reply[2] |= 2;
    dns_reply_send(x);
}

/* More than fits in what was said to be taken, and not marked. */
static void oversized(struct dns_exchange *x) {
    good(x);
    while (!x->tcp && x->type == ROTA_DNS_A && x->n < 1400)
        dns_reply_a(x, x->text, "192.0.2.77");
    dns_reply_send(x);
}

/* The first n bytes of what is to be sent over TCP; then the connection ends. */
static void tcp_part(struct dns_exchange *x, size_t announced, size_t n) {
    uint8_t length[2] = { (uint8_t)(announced >> 8), (uint8_t)announced };
    (void)!rota_write_all(x->fd, length, n < 2 ? n : 2, NULL);
    if (n > 2)
        (void)!rota_write_all(x->fd, x->reply, n - 2, NULL);
}

static void tcp_closes(struct dns_exchange *x) {
    if (!x->tcp)
        truncated(x);
}

static void tcp_closes_half_way(struct dns_exchange *x) {
    if (!x->tcp) {
        truncated(x);
        return;
    }
    evil(x);
    tcp_part(x, x->n, x->n - 3);
}

static void tcp_length_half(struct dns_exchange *x) {
    if (!x->tcp)
        truncated(x);
    else
        tcp_part(x, 0, 1);
}

static void tcp_length_zero(struct dns_exchange *x) {
    if (!x->tcp)
        truncated(x);
    else
        tcp_part(x, 0, 2);
}

static void tcp_length_short(struct dns_exchange *x) {
    if (!x->tcp) {
        truncated(x);
        return;
    }
    evil(x);
    tcp_part(x, x->n - 4, x->n + 2);
}

static void tcp_length_huge(struct dns_exchange *x) {
    if (!x->tcp) {
        truncated(x);
        return;
    }
    evil(x);
    tcp_part(x, 0xffff, x->n + 2);
}

static void tcp_wrong_id(struct dns_exchange *x) {
    if (!x->tcp) {
        truncated(x);
        return;
    }
    evil(x);
    x->reply[0] ^= 1;
    dns_reply_send(x);
}

static void tcp_truncated(struct dns_exchange *x) {
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    x->reply[2] |= 2;
    dns_reply_send(x);
}

static void tcp_silent(struct dns_exchange *x) {
    if (!x->tcp)
        truncated(x);
    else
        (void)!rota_sleep(3600 * ROTA_S);
}

/* A byte at a time. */
static void tcp_slow(struct dns_exchange *x) {
    if (!x->tcp) {
        truncated(x);
        return;
    }
    good(x);
    uint8_t length[2] = { (uint8_t)(x->n >> 8), (uint8_t)x->n };
    for (size_t i = 0; i < x->n + 2; i++) {
        if (rota_write_all(x->fd, i < 2 ? &length[i] : &x->reply[i - 2], 1, NULL) < 0 || rota_sleep(ROTA_MS) < 0)
            return;
    }
}

/* 60,000 bytes, which only TCP carries. */
static void big(struct dns_exchange *x) {
    if (!x->tcp) {
        truncated(x);
        return;
    }
    dns_reply_begin(x, ROTA__DNS_NOERROR);
    for (unsigned i = 0; i < 1800; i++) {
        char address[sizeof "10.0.255.255"];
        snprintf(address, sizeof address, "10.0.%u.%u", i / 250 % 256, i % 250);
        dns_reply_a(x, x->text, address);
    }
    dns_reply_send(x);
}

static const struct { const char *label; void (*answer)(struct dns_exchange *x); } bad[] = {
    { "wrong-id", wrong_id }, { "wrong-question", wrong_question }, { "other-source", other_source },
    { "not-an-answer", not_an_answer }, { "garbage", garbage }, { "pointer-loop", pointer_loop },
    { "pointer-past-end", pointer_past_end }, { "cut-packet", cut_packet }, { "data-past-end", data_past_end },
    { "huge-counts", huge_counts }, { "zero-records", zero_records }, { "short-address", short_address },
    { "alias-loop", alias_loop }, { "alias-chain", alias_chain }, { "alias-cut", alias_cut },
    { "long-name", long_name },
    { "late", late }, { "flood", flood }, { "lame", lame }, { "truncated", truncated }, { "oversized", oversized },
    { "tcp-closes", tcp_closes }, { "tcp-closes-half-way", tcp_closes_half_way },
    { "tcp-length-half", tcp_length_half },
    { "tcp-length-zero", tcp_length_zero }, { "tcp-length-short", tcp_length_short },
    { "tcp-length-huge", tcp_length_huge }, { "tcp-wrong-id", tcp_wrong_id }, { "tcp-truncated", tcp_truncated },
    { "tcp-silent", tcp_silent }, { "tcp-slow", tcp_slow }, { "big", big },
};

/* ---- the server ---- */

/* Only what our own resolver sends: its questions are taken as they are. */
static bool read_question(struct dns_exchange *x, const uint8_t *query, size_t n) {
    if (n < ROTA__DNS_HEADER)
        return false;
    x->id = rota__dns_u16(query);
    int took = rota__dns_name_read(query, n, ROTA__DNS_HEADER, &x->name);
    if (took < 0 || n < ROTA__DNS_HEADER + (size_t)took + 4)
        return false;
    x->type = rota__dns_u16(query + ROTA__DNS_HEADER + took);
    x->edns = rota__dns_u16(query + 10) == 1;
    return rota__dns_name_print(&x->name, x->text, sizeof x->text) > 0;
}

static void note_question(struct dns_exchange *x) {
    struct dns_kit *kit = x->kit;
    size_t used = strlen(kit->log);
    *(x->tcp ? &kit->tcp_queries : &kit->queries) += 1;
    kit->edns_queries += x->edns;
    snprintf(kit->log + used, sizeof kit->log - used, "%s/%u ", x->text, x->type);
}

static bool answer_badly(struct dns_exchange *x) {
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t n = strlen(bad[i].label);
        if (strncmp(x->text, bad[i].label, n) == 0 && x->text[n] == '.') {
            bad[i].answer(x);
            return true;
        }
    }
    return false;
}

static void answer(struct dns_exchange *x) {
    note_question(x);
    if (x->kit->silent)
        return;
    if (x->kit->no_edns && x->edns) {
        dns_reply_begin(x, ROTA__DNS_FORMERR);
    } else if (x->kit->rcode) {
        dns_reply_begin(x, x->kit->rcode);
    } else if (answer_badly(x)) {
        return;
    } else {
        dns_kit_zone(x);
    }
    dns_reply_send(x);
}

static struct dns_exchange *new_exchange(struct dns_kit *kit, int fd, bool tcp) {
    struct dns_exchange *x = malloc(sizeof *x);
    memset(x, 0, offsetof(struct dns_exchange, reply));
    x->kit = kit;
    x->fd = fd;
    x->tcp = tcp;
    x->from_len = sizeof x->from;
    return x;
}

static intptr_t answer_and_free(void *arg) {
    struct dns_exchange *x = arg;
    answer(x);
    free(x);
    return 0;
}

/* A task for each question: one that is answered late holds up no other. */
static intptr_t serve_udp(void *arg) {
    struct dns_kit *kit = arg;
    rota_group group;
    intptr_t rc;
    rota_group_begin(&group, NULL);
    while ((rc = rota_poll(kit->udp, ROTA_READ)) >= 0) {
        uint8_t query[512];
        struct dns_exchange *x = new_exchange(kit, kit->udp, false);
        ssize_t n = recvfrom(kit->udp, query, sizeof query, MSG_DONTWAIT, (struct sockaddr *)&x->from, &x->from_len);
        if (n < 0 || !read_question(x, query, (size_t)n) ||
            rota_spawn(NULL, answer_and_free, x, &(rota_spawn_options){ .group = &group }) < 0)
            free(x);
    }
    rota_scope_cancel(&group.scope, "the server stops");
    return rota_group_end(&group, rc);
}

static intptr_t serve_connection(void *arg) {
    struct dns_exchange *x = arg;
    uint8_t length[2], query[512];
    if (rota_read_exact(x->fd, length, 2, NULL) == 0 && rota__dns_u16(length) <= sizeof query &&
        rota_read_exact(x->fd, query, rota__dns_u16(length), NULL) == 0 &&
        read_question(x, query, rota__dns_u16(length)))
        answer(x);
    rota_close(x->fd);
    free(x);
    return 0;
}

static intptr_t serve_tcp(void *arg) {
    struct dns_kit *kit = arg;
    rota_group group;
    int fd;
    rota_group_begin(&group, NULL);
    while ((fd = rota_accept(kit->tcp, NULL, NULL)) >= 0) {
        struct dns_exchange *x = new_exchange(kit, fd, true);
        if (rota_spawn(NULL, serve_connection, x, &(rota_spawn_options){ .group = &group }) < 0) {
            rota_close(fd);
            free(x);
        }
    }
    rota_scope_cancel(&group.scope, "the server stops");
    return rota_group_end(&group, fd);
}

/* ---- without tasks ---- */

static bool answer_udp_now(struct dns_kit *kit, struct dns_exchange *x) {
    uint8_t query[512];
    x->fd = kit->udp;
    x->from_len = sizeof x->from;
    ssize_t n = recvfrom(kit->udp, query, sizeof query, MSG_DONTWAIT, (struct sockaddr *)&x->from, &x->from_len);
    if (n > 0 && read_question(x, query, (size_t)n))
        answer(x);
    return n >= 0;
}

/* Whoever connected has sent the question already, or never will. */
static bool answer_tcp_now(struct dns_kit *kit, struct dns_exchange *x) {
    uint8_t query[514];
    x->tcp = true;
    x->fd = accept(kit->tcp, NULL, NULL);
    if (x->fd < 0)
        return false;
    ssize_t n = recv(x->fd, query, sizeof query, MSG_DONTWAIT);
    if (n > 2 && read_question(x, query + 2, (size_t)n - 2))
        answer(x);
    close(x->fd);
    return true;
}

bool dns_kit_answer_now(struct dns_kit *kit) {
    static struct dns_exchange x;
    memset(&x, 0, offsetof(struct dns_exchange, reply));
    x.kit = kit;
    x.without_tasks = true;
    return answer_udp_now(kit, &x) || answer_tcp_now(kit, &x);
}

/* ---- start and stop ---- */

void dns_kit_open(struct dns_kit *kit) {
    struct sockaddr_in a;
    memset(kit, 0, sizeof *kit);
    for (int tries = 0; tries < 20; tries++) { /* the port may be taken for the other protocol */
        a = loopback(0);
        kit->udp = nonblocking(socket(AF_INET, SOCK_DGRAM, 0));
        kit->tcp = nonblocking(socket(AF_INET, SOCK_STREAM, 0));
        cr_expect_eq(bind(kit->udp, (struct sockaddr *)&a, sizeof a), 0);
        a = loopback(port_of(kit->udp));
        if (bind(kit->tcp, (struct sockaddr *)&a, sizeof a) == 0 && listen(kit->tcp, 16) == 0)
            break;
        close(kit->udp);
        close(kit->tcp);
    }
    memcpy(&kit->address.addr, &a, sizeof a);
    kit->address.len = sizeof a;
}

void dns_kit_close(struct dns_kit *kit) {
    rota_close(kit->udp);
    rota_close(kit->tcp);
}

void dns_kit_start(struct dns_kit *kit) {
    dns_kit_open(kit);
    cr_expect_eq(rota_spawn(&kit->udp_task, serve_udp, kit, NULL), 0);
    cr_expect_eq(rota_spawn(&kit->tcp_task, serve_tcp, kit, NULL), 0);
}

void dns_kit_stop(struct dns_kit *kit) {
    rota_cancel(kit->udp_task, "stop");
    rota_cancel(kit->tcp_task, "stop");
    (void)!rota_join(kit->udp_task, NULL);
    (void)!rota_join(kit->tcp_task, NULL);
    dns_kit_close(kit);
}

int dns_kit_asked(const struct dns_kit *kit, const char *text) {
    int n = 0;
    for (const char *at = kit->log; (at = strstr(at, text)); at++)
        n++;
    return n;
}

rota_dns_options dns_kit_options(const struct dns_kit *kit) {
    return (rota_dns_options){ .resolv_conf = "", .hosts = "", .services = "",
                               .servers = &kit->address, .n_servers = 1 };
}

const char *dns_text(const rota_address *address) {
    static char texts[4][80];
    static int turn;
    char *text = texts[turn++ % 4], host[64] = "?";
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address->addr;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->addr;
    bool is_four = address->addr.ss_family == AF_INET;
    inet_ntop(address->addr.ss_family, is_four ? (const void *)&four->sin_addr : (const void *)&six->sin6_addr, host,
              sizeof host);
    snprintf(text, sizeof texts[0], "%s:%d", host, ntohs(is_four ? four->sin_port : six->sin6_port));
    return text;
}
