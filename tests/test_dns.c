/* The resolver of our own, against a name server of ours (dns_kit): what it answers, whom it asks, when it gives up.
 * Under the virtual clock, so times are exact. */
#include "tests/dns_kit.h"
#include "tests/sys_table.h"

static struct dns_kit kit;
static rota_dns dns;

static void begin_with(rota_dns_options opt) { cr_expect_eq(rota_dns_open(&dns, &opt), 0); }

static int no_thread(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack) {
    (void)thread, (void)fn, (void)arg, (void)stack;
    cr_expect(false, "a thread was made");
    return -EAGAIN;
}

/* In every test of this file a thread would be a failure. */
static void forbid_threads(void) { use_shim()->thread = no_thread; }

/* A server and a resolver that asks it. */
#define Dns_test(name)                                                              \
    static intptr_t dns_##name##_body(void *unused);                                \
    static intptr_t dns_##name##_main(void *unused) {                               \
        dns_kit_start(&kit);                                                        \
        begin_with(dns_kit_options(&kit));                                          \
        intptr_t v = dns_##name##_body(unused);                                     \
        cr_expect_eq(rota_dns_close(&dns), 0);                                      \
        dns_kit_stop(&kit);                                                         \
        return v;                                                                   \
    }                                                                               \
    Test(dns, name, .init = forbid_threads) { cr_expect_eq(run_task(dns_##name##_main, NULL), 0); } \
    static intptr_t dns_##name##_body(void *unused __attribute__((unused)))

static void reopen(rota_dns_options opt) {
    cr_expect_eq(rota_dns_close(&dns), 0);
    begin_with(opt);
}

static rota_address out[8];

static int resolve(const char *name) { return rota_dns_resolve(&dns, name, "80", AF_UNSPEC, out, 8); }

/* ---- addresses ---- */

Dns_test(four) {
    cr_expect_eq(resolve("four.test"), 1);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.4:80");
    cr_expect_eq(dns_kit_asked(&kit, "four.test/1 "), 1);
    cr_expect_eq(dns_kit_asked(&kit, "four.test/28 "), 1, "both types are asked for");
    return 0;
}

Dns_test(six) {
    cr_expect_eq(resolve("six.test"), 1);
    cr_expect_str_eq(dns_text(&out[0]), "2001:db8::6:80");
    return 0;
}

Dns_test(both_families_and_all_addresses) {
    cr_expect_eq(resolve("looped.test"), 2);
    cr_expect_neq(out[0].addr.ss_family, out[1].addr.ss_family);
    cr_expect_eq(resolve("both.test"), 3);
    return 0;
}

Dns_test(only_the_family_that_was_asked_for) {
    cr_expect_eq(rota_dns_resolve(&dns, "both.test", "80", AF_INET, out, 8), 2);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.1:80");
    cr_expect_str_eq(dns_text(&out[1]), "192.0.2.2:80");
    cr_expect_eq(rota_dns_resolve(&dns, "both.test", "80", AF_INET6, out, 8), 1);
    cr_expect_str_eq(dns_text(&out[0]), "2001:db8::1:80");
    cr_expect_eq(kit.queries, 2);
    return 0;
}

Dns_test(no_more_than_there_is_room_for) {
    rota_address one[2];
    memset(one, 0x55, sizeof one);
    cr_expect_eq(rota_dns_resolve(&dns, "both.test", NULL, AF_INET, one, 1), 1);
    cr_expect_eq(((unsigned char *)&one[1])[0], 0x55);
    return 0;
}

Dns_test(upper_case_and_a_dot_at_the_end) {
    cr_expect_eq(resolve("FOUR.Test."), 1);
    return 0;
}

Dns_test(a_name_that_does_not_exist) {
    cr_expect_eq(resolve("nowhere.test"), -ENOENT);
    return 0;
}

Dns_test(a_name_without_addresses) {
    cr_expect_eq(resolve("empty.test"), -ENOENT);
    cr_expect_eq(rota_dns_resolve(&dns, "six.test", NULL, AF_INET, out, 8), -ENOENT);
    return 0;
}

Dns_test(aliases_are_followed_in_one_answer) {
    cr_expect_eq(rota_dns_resolve(&dns, "alias.test", NULL, AF_INET, out, 8), 2);
    cr_expect_eq(kit.queries, 1);
    cr_expect_eq(resolve("dangling.test"), -ENOENT);
    cr_expect_eq(resolve("to-empty.test"), -ENOENT);
    return 0;
}

Dns_test(an_alias_alone_is_asked_about_again) {
    cr_expect_eq(rota_dns_resolve(&dns, "alias-cut.bad", NULL, AF_INET, out, 8), 2);
    cr_expect_eq(dns_kit_asked(&kit, "both.test/1 "), 1);
    return 0;
}

Dns_test(a_large_answer_comes_over_tcp) {
    static rota_address many[2000];
    cr_expect_eq(rota_dns_resolve(&dns, "big.bad", NULL, AF_INET, many, 2000), 1800);
    cr_expect_str_eq(dns_text(&many[1799]), "10.0.7.49:0");
    cr_expect_eq(kit.tcp_queries, 1);
    return 0;
}

Dns_test(tcp_from_the_start) {
    rota_dns_options opt = dns_kit_options(&kit);
    opt.tcp = true;
    reopen(opt);
    cr_expect_eq(resolve("both.test"), 3);
    cr_expect_eq(kit.queries, 0);
    cr_expect_eq(kit.tcp_queries, 2);
    return 0;
}

static intptr_t resolve_apart(void *name) {
    rota_address own[4];
    return rota_dns_resolve(&dns, name, NULL, 0, own, 4);
}

Dns_test(many_at_once) {
    rota_call calls[40];
    static const char *const names[] = { "four.test", "nowhere.test", "truncated.bad", "alias.test" };
    static const int results[] = { 1, -ENOENT, 1, 3 };
    for (int i = 0; i < 40; i++)
        calls[i] = (rota_call){ .fn = resolve_apart, .arg = (void *)(uintptr_t)names[i % 4] };
    cr_expect_eq(rota_gather(calls, 40, &(rota_gather_options){ .keep_going = true }), 0);
    for (int i = 0; i < 40; i++)
        cr_expect_eq(calls[i].result, results[i % 4], "%s", names[i % 4]);
    return 0;
}

/* ---- without asking ---- */

Dns_test(numbers_are_parsed_at_once) {
    cr_expect_eq(resolve("127.0.0.1"), 1);
    cr_expect_str_eq(dns_text(&out[0]), "127.0.0.1:80");
    cr_expect_eq(resolve("::1"), 1);
    cr_expect_str_eq(dns_text(&out[0]), "::1:80");
    cr_expect_eq(rota_dns_resolve(&dns, "127.0.0.1", NULL, AF_INET6, out, 8), -ENOENT);
    cr_expect_eq(kit.queries, 0);
    return 0;
}

Dns_test(localhost_is_here) {
    static const char *const names[] = { "localhost", "LOCALHOST", "localhost.", "a.localhost", "a.b.LocalHost." };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_expect_eq(resolve(names[i]), 2, "%s", names[i]);
        cr_expect_eq(rota_dns_resolve(&dns, names[i], NULL, AF_INET, out, 8), 1);
        cr_expect_str_eq(dns_text(&out[0]), "127.0.0.1:0");
        cr_expect_eq(rota_dns_resolve(&dns, names[i], NULL, AF_INET6, out, 8), 1);
        cr_expect_str_eq(dns_text(&out[0]), "::1:0");
    }
    cr_expect_eq(kit.queries, 0);
    cr_expect_eq(resolve("notlocalhost"), -ENOENT);
    cr_expect_eq(kit.queries, 2);
    return 0;
}

/* ---- what is refused; F20 ---- */

Dns_test(bad_questions) {
    static const char *const hosts[] = { "", ".", "a..b", ".a", "a b", "a/b",
                                         "user@host", "[::1]", "a\\b", "h\xc3\xa9.test" };
    static const char *const services[] = { "65536", "-1", "", "80x", " 80" };
    static char name[65537];
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        cr_expect_eq(resolve(hosts[i]), -EINVAL, "'%s'", hosts[i]);
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        cr_expect_eq(rota_dns_resolve(&dns, "four.test", services[i], 0, out, 8), -EINVAL, "'%s'", services[i]);
    memset(name, 'a', 65536);
    for (size_t n = 64; n <= 257; n += n == 64 ? 191 : 1) {
        name[n] = 0;
        cr_expect_eq(resolve(name), -ENAMETOOLONG);
        name[n] = 'a';
    }
    cr_expect_eq(resolve(name), -ENAMETOOLONG);
    cr_expect_eq(resolve(NULL), -EINVAL);
    cr_expect_eq(rota_dns_resolve(NULL, "a", NULL, 0, out, 8), -EINVAL);
    cr_expect_eq(rota_dns_resolve(&dns, "a", NULL, AF_UNIX, out, 8), -EINVAL);
    cr_expect_eq(rota_dns_resolve(&dns, "a", NULL, 0, NULL, 8), -EINVAL);
    cr_expect_eq(rota_dns_resolve(&dns, "a", NULL, 0, out, 0), -EINVAL);
    cr_expect_eq(resolve("fe80::1%no:such"), -ENOENT);
    cr_expect_eq(kit.queries, 0);
    return 0;
}

Dns_test(the_longest_name) {
    char name[256];
    memset(name, 'a', sizeof name);
    name[63] = name[127] = name[191] = '.';
    name[253] = 0;
    cr_expect_eq(resolve(name), -ENOENT);
    cr_expect_eq(kit.queries, 2);
    return 0;
}

Test(dns, bad_options) {
    rota_address servers[ROTA_DNS_SERVERS + 1];
    memset(servers, 0, sizeof servers);
    rota_loop *loop = open_loop();
    cr_expect_eq(rota_dns_open(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_dns_open(&dns, &(rota_dns_options){ .timeout = -1 }), -EINVAL);
    cr_expect_eq(rota_dns_open(&dns, &(rota_dns_options){ .attempts = 101 }), -EINVAL);
    cr_expect_eq(rota_dns_open(&dns, &(rota_dns_options){ .servers = servers, .n_servers = 1 }), -EINVAL);
    cr_expect_eq(rota_dns_open(&dns, &(rota_dns_options){ .n_servers = 1 }), -EINVAL);
    for (int i = 0; i <= ROTA_DNS_SERVERS; i++)
        servers[i].addr.ss_family = AF_INET, servers[i].len = sizeof(struct sockaddr_in);
    rota_dns_options opt = { .servers = servers, .n_servers = ROTA_DNS_SERVERS + 1 };
    cr_expect_eq(rota_dns_open(&dns, &opt), -EINVAL);
    cr_expect_eq(rota_dns_open(&dns, &(rota_dns_options){ .servers = servers, .n_servers = ROTA_DNS_SERVERS }), 0);
    cr_expect_eq(rota_dns_resolve(&dns, "a", NULL, 0, out, 8), -EPERM, "outside of tasks");
    cr_expect_eq(rota_dns_close(&dns), 0);
    cr_expect_eq(rota_dns_close(&dns), 0);
    cr_expect_eq(rota_dns_close(NULL), -EINVAL);
    close_loop(loop);
    cr_expect_eq(rota_dns_open(&dns, NULL), -EINVAL, "no loop");
}

/* ---- servers that fail ---- */

Dns_test(silence_ends_after_timeout_times_attempts) {
    int64_t began = rota_now();
    kit.silent = true;
    cr_expect_eq(resolve("four.test"), -EHOSTUNREACH);
    cr_expect_eq(since(began), 10 * ROTA_S, "2 x 5 s");
    cr_expect_eq(kit.queries, 4);
    return 0;
}

/* The second server gets its turn when the first one has failed in each of these ways. */
static struct dns_kit second;

static void ask_two(bool rotate) {
    rota_address servers[2] = { kit.address, second.address };
    rota_dns_options opt = dns_kit_options(&kit);
    opt.servers = servers;
    opt.n_servers = 2;
    opt.rotate = rotate;
    reopen(opt);
}

Dns_test(the_next_server) {
    static const int rcodes[] = { ROTA__DNS_SERVFAIL, ROTA__DNS_REFUSED, ROTA__DNS_NOTIMP, ROTA__DNS_FORMERR, 9 };
    dns_kit_start(&second);
    ask_two(false);
    int64_t began = rota_now();
    for (size_t i = 0; i < sizeof rcodes / sizeof *rcodes; i++) {
        kit.rcode = rcodes[i];
        cr_expect_eq(resolve("four.test"), 1, "after rcode %d", rcodes[i]);
    }
    cr_expect_eq(since(began), 0, "at once");
    kit.silent = true;
    cr_expect_eq(resolve("four.test"), 1);
    cr_expect_eq(since(began), 5 * ROTA_S);
    kit.silent = false;
    kit.rcode = ROTA__DNS_SERVFAIL;
    second.rcode = ROTA__DNS_REFUSED;
    cr_expect_eq(resolve("four.test"), -EHOSTUNREACH);
    cr_expect_eq(since(began), 5 * ROTA_S);
    dns_kit_stop(&second);
    return 0;
}

Dns_test(nobody_listens) {
    struct sockaddr_in a = loopback(closed_port());
    rota_address server = { .len = sizeof a };
    rota_dns_options opt = dns_kit_options(&kit);
    memcpy(&server.addr, &a, sizeof a);
    opt.servers = &server;
    reopen(opt);
    cr_expect_eq(resolve("four.test"), -EHOSTUNREACH);
    opt.tcp = true;
    reopen(opt);
    cr_expect_eq(resolve("four.test"), -EHOSTUNREACH);
    return 0;
}

Dns_test(servers_take_turns) {
    dns_kit_start(&second);
    ask_two(true);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(resolve("four.test"), 1);
    cr_expect_eq(kit.queries, 4);
    cr_expect_eq(second.queries, 4);
    ask_two(false);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(resolve("four.test"), 1);
    cr_expect_eq(kit.queries, 12);
    dns_kit_stop(&second);
    return 0;
}

Dns_test(edns_is_left_out_for_a_server_that_refuses_it) {
    kit.no_edns = true;
    cr_expect_eq(resolve("four.test"), 1);
    cr_expect_eq(kit.queries, 4);
    cr_expect_eq(kit.edns_queries, 2);
    rota_dns_options opt = dns_kit_options(&kit);
    opt.no_edns = true;
    reopen(opt);
    cr_expect_eq(resolve("four.test"), 1);
    cr_expect_eq(kit.edns_queries, 2);
    return 0;
}

Dns_test(timeout_and_attempts_are_options) {
    rota_dns_options opt = dns_kit_options(&kit);
    opt.timeout = 30 * ROTA_MS;
    opt.attempts = 3;
    reopen(opt);
    kit.silent = true;
    int64_t began = rota_now();
    cr_expect_eq(resolve("four.test"), -EHOSTUNREACH);
    cr_expect_eq(since(began), 90 * ROTA_MS);
    return 0;
}

/* ---- cancelling and closing ---- */

static intptr_t resolve_task(void *name) { return resolve(name); }

static rota_task *under_way(const char *name) {
    rota_task *task = start(resolve_task, (void *)(uintptr_t)name);
    for (int i = 0; i < 20; i++)
        cr_expect_eq(rota_yield(), 0);
    cr_expect(!rota_task_done(task));
    return task;
}

/* run_task compares the descriptors that are open; the time shows that nothing was waited for. */
static void cancel_it(const char *name) {
    int64_t began = rota_now();
    rota_task *task = under_way(name);
    rota_cancel(task, "test");
    cr_expect_eq(finish(task), -ECANCELED);
    cr_expect_eq(since(began), 0);
}

Dns_test(cancelled_while_udp_is_waited_for) {
    kit.silent = true;
    cancel_it("four.test");
    return 0;
}

Dns_test(cancelled_while_tcp_is_read) {
    cancel_it("tcp-silent.bad");
    return 0;
}

Dns_test(cancelled_while_tcp_connects) {
    int fillers[2], hole = black_hole(fillers);
    struct sockaddr_in a = loopback(port_of(hole));
    rota_address server = { .len = sizeof a };
    rota_dns_options opt = dns_kit_options(&kit);
    memcpy(&server.addr, &a, sizeof a);
    opt.servers = &server;
    opt.tcp = true;
    reopen(opt);
    if (!NOT_LINUX)
        cancel_it("four.test");
    close(hole);
    close(fillers[0]);
    close(fillers[1]);
    return 0;
}

Dns_test(a_deadline_around_it) {
    kit.silent = true;
    cr_expect_eq(rota_timeout(30 * ROTA_MS, resolve_task, "four.test"), -ETIMEDOUT);
    return 0;
}

Dns_test(closed_under_its_waiters) {
    kit.silent = true;
    rota_task *a = under_way("four.test"), *b = under_way("tcp-silent.bad");
    cr_expect_eq(rota_dns_close(&dns), 0);
    cr_expect_eq(finish(a), -ESHUTDOWN);
    cr_expect_eq(finish(b), -ESHUTDOWN);
    cr_expect_eq(resolve("four.test"), -ESHUTDOWN);
    return 0;
}

/* Closed and opened again before the waiter runs: it belongs to the resolver that went. */
Dns_test(closed_and_opened_again) {
    kit.silent = true;
    rota_task *a = under_way("four.test");
    reopen(dns_kit_options(&kit));
    cr_expect_eq(finish(a), -ESHUTDOWN);
    return 0;
}

/* ---- the order of addresses ---- */

static int no_route_to_six(int fd, const struct sockaddr *addr, socklen_t len) {
    return addr->sa_family == AF_INET6 ? -ENETUNREACH : rota__sys_real.connect(fd, addr, len);
}

static int a_route_to_six(int fd, const struct sockaddr *addr, socklen_t len) {
    return addr->sa_family == AF_INET6 ? 0 : rota__sys_real.connect(fd, addr, len);
}

Dns_test(six_first_where_there_is_a_route) {
    shim.connect = a_route_to_six;
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    if (fd >= 0) {
        cr_expect_eq(resolve("both.test"), 3);
        cr_expect_str_eq(dns_text(&out[0]), "2001:db8::1:80");
        cr_expect_str_eq(dns_text(&out[1]), "192.0.2.1:80");
        close(fd);
    }
    return 0;
}

Dns_test(four_first_where_there_is_none) {
    shim.connect = no_route_to_six;
    cr_expect_eq(resolve("both.test"), 3);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.1:80");
    cr_expect_str_eq(dns_text(&out[2]), "2001:db8::1:80");
    return 0;
}

/* ---- the cache ---- */

static void with_cache(size_t n) {
    rota_dns_options opt = dns_kit_options(&kit);
    opt.cache = n;
    reopen(opt);
}

Dns_test(nothing_is_remembered_unasked) {
    cr_expect_eq(resolve("four.test"), 1);
    cr_expect_eq(resolve("four.test"), 1);
    cr_expect_eq(kit.queries, 4);
    return 0;
}

Dns_test(answers_are_remembered_for_their_time_to_live) {
    with_cache(10);
    cr_expect_eq(resolve("both.test"), 3);
    cr_expect_eq(kit.queries, 2);
    cr_expect_eq(rota_sleep(299 * ROTA_S), 0);
    cr_expect_eq(resolve("BOTH.test"), 3);
    cr_expect_eq(kit.queries, 2);
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect_eq(resolve("both.test"), 3);
    cr_expect_eq(kit.queries, 4);
    return 0;
}

/* RFC 2308, 5: the smaller of the SOA's own time (600) and its minimum (60). */
Dns_test(that_there_is_nothing_is_remembered_too) {
    with_cache(10);
    cr_expect_eq(resolve("nowhere.test"), -ENOENT);
    cr_expect_eq(rota_sleep(59 * ROTA_S), 0);
    cr_expect_eq(resolve("nowhere.test"), -ENOENT);
    cr_expect_eq(kit.queries, 2);
    cr_expect_eq(rota_sleep(ROTA_S), 0);
    cr_expect_eq(resolve("nowhere.test"), -ENOENT);
    cr_expect_eq(kit.queries, 4);
    return 0;
}

Dns_test(the_cache_is_bounded) {
    with_cache(2);
    cr_expect_eq(rota_dns_resolve(&dns, "four.test", NULL, AF_INET, out, 8), 1);
    cr_expect_eq(rota_dns_resolve(&dns, "both.test", NULL, AF_INET, out, 8), 2);
    cr_expect_eq(rota_dns_resolve(&dns, "four.test", NULL, AF_INET, out, 8), 1); /* used last */
    cr_expect_eq(rota_dns_resolve(&dns, "db", NULL, AF_INET, out, 8), 1);        /* pushes out both.test */
    cr_expect_eq(kit.queries, 3);
    cr_expect_eq(rota_dns_resolve(&dns, "four.test", NULL, AF_INET, out, 8), 1);
    cr_expect_eq(kit.queries, 3);
    cr_expect_eq(rota_dns_resolve(&dns, "both.test", NULL, AF_INET, out, 8), 2);
    cr_expect_eq(kit.queries, 4);
    return 0;
}

Dns_test(failures_are_not_remembered) {
    with_cache(10);
    kit.rcode = ROTA__DNS_SERVFAIL;
    cr_expect_eq(resolve("four.test"), -EHOSTUNREACH);
    kit.rcode = 0;
    cr_expect_eq(resolve("four.test"), 1);
    return 0;
}

Dns_test(a_remembered_alias_is_followed) {
    with_cache(10);
    cr_expect_eq(rota_dns_resolve(&dns, "alias-cut.bad", NULL, AF_INET, out, 8), 2);
    cr_expect_eq(rota_dns_resolve(&dns, "alias-cut.bad", NULL, AF_INET, out, 8), 2);
    cr_expect_eq(kit.queries, 2);
    return 0;
}

/* ---- dialling ---- */

static intptr_t accept_one(void *listener) {
    int fd = rota_accept((int)(intptr_t)listener, NULL, NULL);
    if (fd >= 0)
        rota_close(fd);
    return fd < 0 ? fd : 0;
}

Dns_test(dial_through_it) {
    char service[8];
    int listener = raw_listener(4);
    snprintf(service, sizeof service, "%d", port_of(listener));
    rota_task *task = start(accept_one, (void *)(intptr_t)listener);
    int fd = rota_dial("looped.test", service, &(rota_dial_options){ .dns = &dns });
    cr_expect_geq(fd, 0, "%d", fd);
    cr_expect_eq(finish(task), 0);
    cr_expect_eq(rota_close(fd), 0);
    cr_expect_eq(rota_dial("nowhere.test", service, &(rota_dial_options){ .dns = &dns }), -ENOENT);
    cr_expect_eq(rota_dial("a..b", service, &(rota_dial_options){ .dns = &dns }), -EINVAL);
    rota_close(listener);
    return 0;
}

static intptr_t dial_task(void *unused) {
    (void)unused;
    return rota_dial("looped.test", "80", &(rota_dial_options){ .dns = &dns });
}

Dns_test(dial_is_cancelled_while_it_asks) {
    kit.silent = true;
    rota_task *task = start(dial_task, NULL);
    rota_cancel(task, "test");
    cr_expect_eq(finish(task), -ECANCELED);
    return 0;
}
