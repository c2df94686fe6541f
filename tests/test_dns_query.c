/* rota_dns_query and rota_dns_arpa: records of every kind, in the caller's memory. */
#include "tests/dns_kit.h"

static rota_dns dns;
static int udp;
static char buf[4096];
static const rota_dns_record *records;

/* Answers every question with the same message, but for id and question. */
static void (*fill)(struct dns_exchange *x);

static intptr_t serve(void *unused) {
    (void)unused;
    static struct dns_exchange x;
    int rc;
    while ((rc = rota_poll(udp, ROTA_READ)) >= 0) {
        uint8_t query[512];
        memset(&x, 0, offsetof(struct dns_exchange, reply));
        x.fd = udp;
        x.from_len = sizeof x.from;
        ssize_t n = recvfrom(udp, query, sizeof query, MSG_DONTWAIT, (struct sockaddr *)&x.from, &x.from_len);
        if (n < ROTA__DNS_HEADER)
            continue;
        x.id = rota__dns_u16(query);
        int took = rota__dns_name_read(query, (size_t)n, ROTA__DNS_HEADER, &x.name);
        x.type = rota__dns_u16(query + ROTA__DNS_HEADER + took);
        (void)!rota__dns_name_print(&x.name, x.text, sizeof x.text);
        dns_reply_begin(&x, ROTA__DNS_NOERROR);
        fill(&x);
        dns_reply_send(&x);
    }
    return rc;
}

static rota_fn *body;

static intptr_t with_server(void *unused) {
    (void)unused;
    struct dns_kit kit;
    rota_task *task;
    dns_kit_open(&kit);
    udp = kit.udp;
    cr_expect_eq(rota_spawn(&task, serve, NULL, NULL), 0);
    rota_dns_options opt = dns_kit_options(&kit);
    opt.cache = 4;
    cr_expect_eq(rota_dns_open(&dns, &opt), 0);
    intptr_t v = body(NULL);
    cr_expect_eq(rota_dns_close(&dns), 0);
    rota_cancel(task, "done");
    (void)!rota_join(task, NULL);
    dns_kit_close(&kit);
    return v;
}

#define Query_test(name)                                                                                \
    static intptr_t dns_query_##name##_body(void *unused);                                              \
    Test(dns_query, name) {                                                                             \
        body = dns_query_##name##_body;                                                                 \
        cr_expect_eq(run_task(with_server, NULL), 0);                                                   \
    }                                                                                                   \
    static intptr_t dns_query_##name##_body(void *unused __attribute__((unused)))

static int query(const char *name, unsigned type) {
    return rota_dns_query(&dns, name, type, buf, sizeof buf, &records);
}

static void fill_mx(struct dns_exchange *x) {
    dns_reply_record(x, x->text, ROTA_DNS_MX, 100, "\0\x14\2m2\xc0\x0c", 7);
    dns_reply_record(x, x->text, ROTA_DNS_MX, 100, "\0\x0a\2m1\xc0\x0c", 7);
}

Query_test(mx) {
    fill = fill_mx;
    cr_expect_eq(query("example.org", ROTA_DNS_MX), 2);
    cr_expect_eq(records[0].priority, 20u);
    cr_expect_str_eq(records[0].target, "m2.example.org");
    cr_expect_eq(records[1].priority, 10u);
    cr_expect_str_eq(records[1].target, "m1.example.org");
    cr_expect_str_eq(records[1].name, "example.org");
    cr_expect_eq(records[1].ttl, 100u);
    cr_expect_eq(records[1].type, (unsigned)ROTA_DNS_MX);
    return 0;
}

static void fill_txt(struct dns_exchange *x) {
    dns_reply_record(x, x->text, ROTA_DNS_TXT, 5, "\5v=abc\0\3def", 11);
    dns_reply_record(x, x->text, ROTA_DNS_TXT, 5, "\0", 1);
}

Query_test(txt) {
    fill = fill_txt;
    cr_expect_eq(query("example.org", ROTA_DNS_TXT), 2);
    cr_expect_str_eq(records[0].text, "v=abcdef");
    cr_expect_eq(records[0].text_size, 8u);
    cr_expect_eq(records[0].data_size, 11u);
    cr_expect_eq(memcmp(records[0].data, "\5v=abc\0\3def", 11), 0);
    cr_expect_str_eq(records[1].text, "");
    cr_expect_null(records[0].target);
    return 0;
}

static void fill_srv(struct dns_exchange *x) {
    dns_reply_record(x, x->text, ROTA_DNS_SRV, 5, "\0\1\0\2\x1f\x90\1h\4test\0", 14);
}

Query_test(srv) {
    fill = fill_srv;
    cr_expect_eq(query("_http._tcp.example.org", ROTA_DNS_SRV), 1);
    cr_expect_eq(records[0].priority, 1u);
    cr_expect_eq(records[0].weight, 2u);
    cr_expect_eq(records[0].port, 8080u);
    cr_expect_str_eq(records[0].target, "h.test");
    return 0;
}

static void fill_ns_ptr_cname(struct dns_exchange *x) {
    dns_reply_record(x, x->text, x->type, 5, "\2ns\4te.t\0", 9);
}

Query_test(names) {
    static const unsigned types[] = { ROTA_DNS_NS, ROTA_DNS_PTR, ROTA_DNS_CNAME };
    fill = fill_ns_ptr_cname;
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(query("example.org", types[i]), 1);
        cr_expect_str_eq(records[0].target, "ns.te\\.t", "a dot inside of a label");
    }
    return 0;
}

static void fill_addresses(struct dns_exchange *x) {
    dns_reply_alias(x, x->text, "real.test");
    dns_reply_a(x, "real.test", x->type == ROTA_DNS_A ? "192.0.2.1" : "2001:db8::1");
}

Query_test(addresses_behind_an_alias) {
    fill = fill_addresses;
    cr_expect_eq(query("example.org", ROTA_DNS_A), 1);
    cr_expect_str_eq(records[0].name, "real.test");
    cr_expect_eq(records[0].data_size, 4u);
    cr_expect_eq(records[0].data[3], 1);
    cr_expect_eq(query("example.org", ROTA_DNS_AAAA), 1);
    cr_expect_eq(records[0].data_size, 16u);
    cr_expect_eq(query("example.org", ROTA_DNS_CNAME), 1, "the alias itself");
    cr_expect_str_eq(records[0].target, "real.test");
    return 0;
}

/* Types that have no name here: their bytes. */
static void fill_unknown(struct dns_exchange *x) { dns_reply_record(x, x->text, x->type, 5, "\0\5issueca", 9); }

Query_test(any_other_type) {
    fill = fill_unknown;
    cr_expect_eq(query("example.org", 257), 1);
    cr_expect_eq(records[0].data_size, 9u);
    cr_expect_null(records[0].target);
    cr_expect_null(records[0].text);
    return 0;
}

static void fill_nothing(struct dns_exchange *x) { (void)x; }
static void fill_nxdomain(struct dns_exchange *x) { x->reply[3] |= ROTA__DNS_NXDOMAIN; }

Query_test(none_and_no_such_name) {
    fill = fill_nothing;
    cr_expect_eq(query("example.org", ROTA_DNS_MX), 0);
    cr_expect_null(records);
    fill = fill_nxdomain;
    cr_expect_eq(query("example.org", ROTA_DNS_MX), -ENOENT);
    return 0;
}

Query_test(the_age_counts) {
    fill = fill_mx;
    cr_expect_eq(query("example.org", ROTA_DNS_MX), 2);
    cr_expect_eq(rota_sleep(40 * ROTA_S), 0);
    fill = fill_nxdomain;
    cr_expect_eq(query("example.org", ROTA_DNS_MX), 2, "remembered");
    cr_expect_eq(records[0].ttl, 60u);
    return 0;
}

/* Whatever the size and the address of the memory: all, or -ENOBUFS and nothing written behind. */
Query_test(memory_of_every_size) {
    static char room[600];
    size_t first = 0;
    fill = fill_mx;
    for (size_t skew = 0; skew < 16; skew++)
        for (size_t size = 0; size + skew < sizeof room - 1; size++) {
            memset(room, 0x55, sizeof room);
            int rc = rota_dns_query(&dns, "example.org", ROTA_DNS_MX, room + skew, size, &records);
            cr_expect(rc == -ENOBUFS || rc == 2, "%d", rc);
            cr_expect_eq(room[skew + size], 0x55);
            if (rc == 2 && !first)
                first = size;
            if (rc == 2) {
                cr_expect_str_eq(records[1].target, "m1.example.org");
                break;
            }
        }
    cr_expect_gt(first, 2 * sizeof(rota_dns_record));
    cr_expect_lt(first, 400u);
    return 0;
}

Query_test(bad_questions) {
    static const unsigned types[] = { 0, 41, 128, 255, 65536 };
    fill = fill_nothing;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        cr_expect_eq(query("example.org", types[i]), -EINVAL);
    cr_expect_eq(query("", 1), -EINVAL);
    cr_expect_eq(query("a..b", 1), -EINVAL);
    cr_expect_eq(query(NULL, 1), -EINVAL);
    cr_expect_eq(rota_dns_query(NULL, "a", 1, buf, sizeof buf, &records), -EINVAL);
    cr_expect_eq(rota_dns_query(&dns, "a", 1, buf, sizeof buf, NULL), -EINVAL);
    cr_expect_eq(rota_dns_query(&dns, "a", 1, NULL, 1, &records), -EINVAL);
    cr_expect_eq(query(".", ROTA_DNS_NS), 0, "the root is a name");
    return 0;
}

Test(dns_query, names_of_addresses) {
    struct sockaddr_in four = loopback(80);
    struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
    struct sockaddr other = { .sa_family = AF_UNIX };
    char text[ROTA_DNS_ARPA];
    cr_expect_eq(rota_dns_arpa((struct sockaddr *)&four, text, sizeof text), 22);
    cr_expect_str_eq(text, "1.0.0.127.in-addr.arpa");
    inet_pton(AF_INET6, "4321:0:1:2:3:4:567:89ab", &six.sin6_addr);
    cr_expect_eq(rota_dns_arpa((struct sockaddr *)&six, text, sizeof text), 72);
    cr_expect_str_eq(text, "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa");
    cr_expect_eq(rota_dns_arpa((struct sockaddr *)&six, text, 72), -ENOBUFS);
    cr_expect_eq(rota_dns_arpa(&other, text, sizeof text), -EINVAL);
    cr_expect_eq(rota_dns_arpa(NULL, text, sizeof text), -EINVAL);
}
