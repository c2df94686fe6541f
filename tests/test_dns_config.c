/* resolv.conf, hosts, services: what is read, when it is read again, and which names are asked for in which order. The
 * table of search orders was compared with glibc 2.36 over the same files: questions and answers are the same, but for
 * the rows that are marked. */
#include "tests/dns_kit.h"
#include "tests/sys_table.h"

#include <sys/stat.h>

static struct dns_kit kit;
static rota_dns dns;
static rota_address out[8];
static char dir[64], resolv[96], hosts[96], services[96];

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    cr_expect(f && fputs(text, f) >= 0 && fclose(f) == 0, "%s", path);
}

static void make_dir(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/rota-dns-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(resolv, sizeof resolv, "%s/resolv.conf", dir);
    snprintf(hosts, sizeof hosts, "%s/hosts", dir);
    snprintf(services, sizeof services, "%s/services", dir);
}

static void remove_dir(void) {
    unlink(resolv);
    unlink(hosts);
    unlink(services);
    rmdir(dir);
}

static int resolve(const char *name, int family) { return rota_dns_resolve(&dns, name, NULL, family, out, 8); }

/* With files of the test, and our server. */
static void open_files(void) {
    rota_dns_options opt = dns_kit_options(&kit);
    opt.resolv_conf = resolv;
    opt.hosts = hosts;
    opt.services = services;
    cr_expect_eq(rota_dns_open(&dns, &opt), 0);
}

#define Config_test(name)                                                                                       \
    static intptr_t dns_config_##name##_body(void *unused);                                                     \
    static intptr_t dns_config_##name##_main(void *unused) {                                                    \
        dns_kit_start(&kit);                                                                                    \
        open_files();                                                                                           \
        intptr_t v = dns_config_##name##_body(unused);                                                          \
        cr_expect_eq(rota_dns_close(&dns), 0);                                                                  \
        dns_kit_stop(&kit);                                                                                     \
        return v;                                                                                               \
    }                                                                                                           \
    Test(dns_config, name, .init = make_dir, .fini = remove_dir) {                                              \
        cr_expect_eq(run_task(dns_config_##name##_main, NULL), 0);                                              \
    }                                                                                                           \
    static intptr_t dns_config_##name##_body(void *unused __attribute__((unused)))

/* ---- search domains ---- */

static const struct search {
    const char *conf, *host;
    int result;
    const char *asked, *address;  /* for A */
} searches[] = {
    { "", "db", 1, "db/1 ", "192.0.2.90" },
    { "search one.test\n", "db", 1, "db.one.test/1 ", "192.0.2.91" },
    { "search one.test two.test\n", "db", 1, "db.one.test/1 ", "192.0.2.91" },
    { "search none.test two.test\n", "db", 1, "db.none.test/1 db.two.test/1 ", "192.0.2.92" },
    { "search one.test two.test\n", "only", 1, "only.one.test/1 only.two.test/1 ", "192.0.2.93" },
    { "search none.test\n", "db", 1, "db.none.test/1 db/1 ", "192.0.2.90" },
    { "search empty.test two.test\n", "db", 1, "db.empty.test/1 db.two.test/1 ", "192.0.2.92" },
    { "search one.test\n", "db.", 1, "db/1 ", "192.0.2.90" },
    { "search one.test\n", "nothing", -ENOENT, "nothing.one.test/1 nothing/1 ", NULL },
    { "search one.test\n", "a.b", 1, "a.b/1 ", "192.0.2.94" },
    { "search one.test\noptions ndots:2\n", "a.b", 1, "a.b.one.test/1 ", "192.0.2.95" },
    { "search none.test\noptions ndots:2\n", "a.b", 1, "a.b.none.test/1 a.b/1 ", "192.0.2.94" },
    { "search one.test\noptions ndots:0\n", "db", 1, "db/1 ", "192.0.2.90" },
    { "search one.test\n", "x.y", -ENOENT, "x.y/1 x.y.one.test/1 ", NULL },
    { "search one.test\n", "x.y.", -ENOENT, "x.y/1 ", NULL },
    { "domain one.test\n", "db", 1, "db.one.test/1 ", "192.0.2.91" },
    { "domain one.test two.test\n", "only", -ENOENT, "only.one.test/1 only/1 ", NULL },
    { "domain one.test\nsearch two.test\n", "db", 1, "db.two.test/1 ", "192.0.2.92" },
    { "search two.test\ndomain one.test\n", "db", 1, "db.one.test/1 ", "192.0.2.91" },
    { "search one.test.\n", "db", 1, "db.one.test/1 ", "192.0.2.91" },
    { "# search two.test\n;search two.test\nsearch one.test # two.test\n", "db", 1, "db.one.test/1 ", "192.0.2.91" },
    { "search . one.test\n", "db", 1, "db/1 ", "192.0.2.90" },
    { "search .\n", "nothing", -ENOENT, "nothing/1 ", NULL },
    { "search . one.test\n", "nothing", -ENOENT, "nothing/1 nothing.one.test/1 ", NULL },
    { "options ndots:99\nsearch one.test", "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.db", -ENOENT,
      "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.db/1 1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.db.one.test/1 ", NULL },
    /* Not as glibc: it wants words at the beginning of a line and no \r, lets a..b end the search, and takes "ndots:x"
     * for 0. */
    { "  search\tone.test\r\n", "db", 1, "db.one.test/1 ", "192.0.2.91" },
    { "search a..b one.test\n", "db", 1, "db.one.test/1 ", "192.0.2.91" },
    { "options ndots:x ndots: bogus timeout:\nsearch one.test", "db", 1, "db.one.test/1 ", "192.0.2.91" },
};

Config_test(search_order) {
    for (size_t i = 0; i < sizeof searches / sizeof *searches; i++) {
        const struct search *s = &searches[i];
        cr_expect_eq(rota_dns_close(&dns), 0);
        write_file(resolv, s->conf);
        open_files();
        kit.log[0] = '\0';
        cr_expect_eq(resolve(s->host, AF_INET), s->result, "'%s' with '%s'", s->host, s->conf);
        cr_expect_str_eq(kit.log, s->asked, "'%s' with '%s': asked %s", s->host, s->conf, kit.log);
        if (s->address)
            cr_expect_eq(strncmp(dns_text(&out[0]), s->address, strlen(s->address)), 0, "%s", dns_text(&out[0]));
    }
    return 0;
}

/* To go on after a failure could find another host of that name. */
Config_test(a_failure_ends_the_search) {
    write_file(resolv, "search none.test one.test\n");
    kit.rcode = ROTA__DNS_SERVFAIL;
    cr_expect_eq(resolve("db", AF_INET), -EHOSTUNREACH);
    cr_expect_eq(dns_kit_asked(&kit, "db.one.test"), 0);
    return 0;
}

Config_test(too_long_with_a_domain) {
    char conf[300], host[64];
    memset(conf, 0, sizeof conf);
    strcpy(conf, "search ");
    for (int i = 0; i < 240; i++)
        strcat(conf, i % 40 == 39 ? "." : "d");
    strcat(conf, " one.test\n");
    write_file(resolv, conf);
    memset(host, 'h', 63);
    host[63] = '\0';
    cr_expect_eq(resolve(host, AF_INET), -ENOENT);
    cr_expect_eq(kit.queries, 2, "with the second domain, and as it is");
    return 0;
}

/* ---- options ---- */

Config_test(timeout_and_attempts) {
    write_file(resolv, "options timeout:3 attempts:4\n");
    kit.silent = true;
    int64_t began = rota_now();
    cr_expect_eq(resolve("four.test", AF_INET), -EHOSTUNREACH);
    cr_expect_eq(since(began), 12 * ROTA_S);
    cr_expect_eq(rota_dns_close(&dns), 0);
    write_file(resolv, "options timeout:0 attempts:0 timeout:999999999999999999999 attempts:77\n");
    open_files();
    began = rota_now();
    cr_expect_eq(resolve("four.test", AF_INET), -EHOSTUNREACH);
    cr_expect_eq(since(began), 5 * 30 * ROTA_S, "the C library's limits");
    return 0;
}

Config_test(use_vc_and_no_aaaa) {
    write_file(resolv, "options use-vc no-aaaa edns0 trust-ad\n");
    cr_expect_eq(resolve("both.test", AF_UNSPEC), 2);
    cr_expect_eq(resolve("both.test", AF_INET6), -ENOENT);
    cr_expect_eq(kit.tcp_queries, 1);
    cr_expect_eq(kit.queries, 0);
    return 0;
}

/* ---- the hosts file ---- */

Config_test(hosts_file) {
    write_file(hosts, "# comment\n\n192.0.2.50 alpha.test Alpha # beta\n  2001:db8::50\talpha.test\n"
                      "192.0.2.51 alpha.test\nnonsense gamma\n192.0.2.52 delta\r\n192.0.2.53\n192.0.2.54 eps#ilon\n"
                      "127.0.0.9 localhost\n192.0.2.55 last");
    cr_expect_eq(resolve("ALPHA.test", AF_INET), 2);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.50:0");
    cr_expect_str_eq(dns_text(&out[1]), "192.0.2.51:0");
    cr_expect_eq(resolve("alpha.test.", AF_INET6), 1);
    cr_expect_str_eq(dns_text(&out[0]), "2001:db8::50:0");
    cr_expect_eq(resolve("alpha.test", AF_UNSPEC), 3);
    cr_expect_eq(rota_dns_resolve(&dns, "alpha", "8080", AF_UNSPEC, out, 8), 1);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.50:8080");
    cr_expect_eq(resolve("delta", AF_UNSPEC), 1);
    cr_expect_eq(resolve("eps", AF_UNSPEC), 1);
    cr_expect_eq(resolve("last", AF_UNSPEC), 1);
    cr_expect_eq(resolve("localhost", AF_INET), 1);
    cr_expect_str_eq(dns_text(&out[0]), "127.0.0.9:0", "the file's word counts");
    cr_expect_eq(kit.queries, 0);
    cr_expect_eq(resolve("localhost", AF_INET6), 1, "and for the other family it is what it always is");
    cr_expect_eq(resolve("gamma", AF_INET), -ENOENT);
    cr_expect_eq(resolve("beta", AF_INET), -ENOENT);
    cr_expect_eq(kit.queries, 2);
    return 0;
}

/* As glibc: the file has the name, though not in this family. */
Config_test(hosts_file_has_the_other_family) {
    write_file(hosts, "192.0.2.50 six.test\n");
    cr_expect_eq(resolve("six.test", AF_UNSPEC), 1);
    cr_expect_eq(kit.queries, 0);
    cr_expect_eq(resolve("six.test", AF_INET6), 1);
    cr_expect_str_eq(dns_text(&out[0]), "2001:db8::6:0");
    return 0;
}

Config_test(hosts_file_of_many_names) {
    FILE *f = fopen(hosts, "w");
    char name[32];
    for (int i = 0; i < 3000; i++)
        fprintf(f, "10.1.%d.%d host%d alias%d\n", i / 250, i % 250, i, i);
    fclose(f);
    for (int i = 0; i < 3000; i += 7) {
        snprintf(name, sizeof name, "alias%d", i);
        cr_expect_eq(resolve(name, AF_INET), 1, "%s", name);
    }
    cr_expect_eq(kit.queries, 0);
    return 0;
}

Config_test(a_scope_in_the_hosts_file) {
    write_file(hosts, "fe80::1%1 scoped\nfe80::2%nosuchinterface lost\n");
    cr_expect_eq(resolve("scoped", AF_UNSPEC), 1);
    cr_expect_eq(((struct sockaddr_in6 *)&out[0].addr)->sin6_scope_id, 1u);
    cr_expect_eq(resolve("lost", AF_INET), -ENOENT);
    return 0;
}

/* ---- services ---- */

Config_test(services_file) {
    write_file(services, "http 80/udp\nhttp\t80/tcp www # comment\nbig 70000/tcp\nodd 1/sctp\nbad tcp\n"
                         "tftp 69/udp\nboth 513/udp\nboth 514/tcp\nboth 515/tcp\nboth 516/udp\n");
    cr_expect_eq(rota_dns_resolve(&dns, "four.test", "http", AF_INET, out, 8), 1);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.4:80");
    cr_expect_eq(rota_dns_resolve(&dns, "127.0.0.1", "www", AF_INET, out, 8), 1);
    cr_expect_str_eq(dns_text(&out[0]), "127.0.0.1:80");
    cr_expect_eq(rota_dns_resolve(&dns, "127.0.0.1", "tftp", AF_INET, out, 8), 1);
    cr_expect_str_eq(dns_text(&out[0]), "127.0.0.1:69", "of UDP alone");
    cr_expect_eq(rota_dns_resolve(&dns, "127.0.0.1", "both", AF_INET, out, 8), 1);
    cr_expect_str_eq(dns_text(&out[0]), "127.0.0.1:514", "the first of TCP");
    static const char *const none[] = { "big", "odd", "bad", "comment", "80/tcp", "nothing" };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        cr_expect_eq(rota_dns_resolve(&dns, "four.test", none[i], AF_INET, out, 8), -EINVAL, "%s", none[i]);
    unlink(services);
    cr_expect_eq(rota_dns_resolve(&dns, "four.test", "http", AF_INET, out, 8), -EINVAL);
    return 0;
}

/* ---- changes ---- */

Config_test(changes_are_seen_after_a_second) {
    write_file(hosts, "192.0.2.60 changing\n");
    cr_expect_eq(resolve("changing", AF_INET), 1);
    write_file(hosts, "192.0.2.61 changing # longer\n");
    cr_expect_eq(resolve("changing", AF_INET), 1);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.60:0", "not looked at more than once a second");
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect_eq(resolve("changing", AF_INET), 1);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.61:0");
    unlink(hosts);
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect_eq(resolve("changing", AF_INET), -ENOENT);
    write_file(hosts, "192.0.2.62 changing\n");
    write_file(resolv, "search one.test\n");
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect_eq(resolve("changing", AF_INET), 1);
    cr_expect_eq(resolve("db", AF_INET), 1);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.91:0");
    return 0;
}

static int opened;
static int counted_open(const char *path) {
    opened++;
    return rota__sys_real.open_readonly(path);
}

static void count_opens(void) {
    make_dir();
    opened = 0;
    use_shim()->open_readonly = counted_open;
}

static intptr_t unchanged_main(void *unused) {
    (void)unused;
    dns_kit_start(&kit);
    write_file(hosts, "192.0.2.60 same\n");
    write_file(resolv, "");
    open_files();
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(resolve("same", AF_INET), 1);
        cr_expect_eq(rota_sleep(2 * ROTA_S), 0);
    }
    cr_expect_eq(opened, 2, "files that have not changed are not read again");
    cr_expect_eq(rota_dns_close(&dns), 0);
    dns_kit_stop(&kit);
    return 0;
}

Test(dns_config, files_that_stay_are_read_once, .init = count_opens, .fini = remove_dir) {
    cr_expect_eq(run_task(unchanged_main, NULL), 0);
}

/* What is no file to read is as good as missing, and is not waited for. */
Config_test(no_files_to_read) {
    cr_expect_eq(mkdir(resolv, 0700), 0);
    cr_expect_eq(mkfifo(hosts, 0600), 0);
    cr_expect_eq(resolve("four.test", AF_INET), 1);
    rmdir(resolv);
    return 0;
}

/* ---- which servers ---- */

static char asked_server[80];

static int refuse_connect(int fd, const struct sockaddr *addr, socklen_t len) {
    rota_address a = { .len = len };
    (void)fd;
    memcpy(&a.addr, addr, len);
    strncat(asked_server, dns_text(&a), sizeof asked_server - strlen(asked_server) - 2);
    strcat(asked_server, " ");
    return -ECONNREFUSED;
}

static void watch_connect(void) {
    make_dir();
    use_shim()->connect = refuse_connect;
}

static intptr_t servers_main(void *unused) {
    static const char *const cases[][2] = {
        { NULL, "127.0.0.1:53 " },
        { "", "127.0.0.1:53 " },
        { "nameserver bogus\nnameserver 1.2.3\n", "127.0.0.1:53 " },
        { "nameserver 192.0.2.1\n", "192.0.2.1:53 " },
        { "nameserver 192.0.2.1 # x\n nameserver\t::1\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
          "192.0.2.1:53 ::1:53 192.0.2.3:53 " },
        { "nameserver fe80::1%1\n", "fe80::1:53 " },
        { "nameservers 192.0.2.1\nnameserver\n", "127.0.0.1:53 " },
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i][0])
            write_file(resolv, cases[i][0]);
        rota_dns_options opt = { .resolv_conf = resolv, .hosts = "", .attempts = 1 };
        cr_expect_eq(rota_dns_open(&dns, &opt), 0);
        asked_server[0] = '\0';
        cr_expect_eq(resolve("four.test", AF_INET), -EHOSTUNREACH);
        cr_expect_str_eq(asked_server, cases[i][1], "case %zu: %s", i, asked_server);
        cr_expect_eq(rota_dns_close(&dns), 0);
    }
    return 0;
}

Test(dns_config, servers, .init = watch_connect, .fini = remove_dir) { cr_expect_eq(run_task(servers_main, NULL), 0); }
