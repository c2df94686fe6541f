/* Cancel everywhere, for the calls of rota/dns.h. The server answers inside of send: it is no task of the loop. */
#include "tests/dns_kit.h"
#include "tests/everywhere.h"
#include "tests/sys_table.h"

static struct dns_kit kit;
static rota_dns dns;
static struct rota__sys table;

static ssize_t send_and_answer(int fd, const void *buf, size_t n, int flags) {
    ssize_t r = rota__sys_real.send(fd, buf, n, flags);
    while (r > 0 && dns_kit_answer_now(&kit)) /* also what was given up before */
        ;
    return r;
}

static void names_init(void) {
    table = *rota__sys;
    table.send = send_and_answer;
    rota__sys = &table;
}

static void names_begin(void) {
    dns_kit_open(&kit);
    rota_dns_options opt = dns_kit_options(&kit);
    opt.timeout = 10 * ROTA_MS;
    cr_expect_eq(rota_dns_open(&dns, &opt), 0);
}

static intptr_t names_body(void *unused) {
    static char buf[512];
    const rota_dns_record *records;
    rota_address out[4];
    (void)unused;
    int four = S(rota_dns_resolve(&dns, "both.test", NULL, AF_UNSPEC, out, 4));
    int tcp = S(rota_dns_resolve(&dns, "truncated.bad", NULL, AF_INET, out, 4));
    int alias = S(rota_dns_query(&dns, "alias.test", ROTA_DNS_CNAME, buf, sizeof buf, &records));
    int local = S(rota_dns_resolve(&dns, "localhost", NULL, AF_INET, out, 4));
    int last = S(rota_yield());
    return four < 0 ? four : tcp < 0 ? tcp : alias < 0 ? alias : local < 0 ? local : last;
}

static void names_reuse(void) {
    rota_address out[4];
    cr_expect_eq(rota_dns_resolve(&dns, "both.test", NULL, AF_INET, out, 4), 2);
}

static void names_end(void) {
    cr_expect_eq(rota_dns_close(&dns), 0);
    while (dns_kit_answer_now(&kit)) /* questions that were given up */
        ;
    dns_kit_close(&kit);
}

static const struct scenario names = {
    .name = "names asked for by ourselves", .begin = names_begin, .body = names_body, .reuse = names_reuse,
    .end = names_end
};
Test(everywhere_dns, names, .init = names_init, .timeout = 300) { everywhere(&names); }

/* Every public call of rota/dns.h that may suspend. tests/everywhere/check.py holds it against the headers. */
static const char *const suspending[] = { "rota_dns_query", "rota_dns_resolve" };

Test(everywhere_dns, every_suspending_call_is_in_a_scenario, .init = names_init) {
    everywhere_once(&names);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
}
