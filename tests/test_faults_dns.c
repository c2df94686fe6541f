/* Every system call of a resolver fails once, and from there on; and every allocation. The program reads files of its
 * own, asks over UDP and TCP, and dials; the server answers inside of send, with calls that never fail. Each run ends,
 * with success or an error, and gives back every descriptor and byte. */
#include "tests/dns_kit.h"
#include "tests/fault_kit.h"
#include "tests/sys_table.h"

static struct dns_kit kit;

static ssize_t send_and_answer(int fd, const void *buf, size_t n, int flags) {
    ssize_t r = rota__sys_real.send(fd, buf, n, flags);
    while (r > 0 && dns_kit_answer_now(&kit)) /* also what was given up before */
        ;
    return r;
}

static ssize_t sys_send(int fd, const void *buf, size_t n, int flags) {
    int error = fault(FAULT_send);
    return error ? error : send_and_answer(fd, buf, n, flags);
}

static void change(struct rota__sys *sys) { sys->send = sys_send; }

/* ---- the program ---- */

static char dir[64], resolv[96], hosts[96];

static void begin(void) {
    dns_kit_open(&kit);
    FILE *f;
    strcpy(dir, "/tmp/rota-dns-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(resolv, sizeof resolv, "%s/resolv.conf", dir);
    snprintf(hosts, sizeof hosts, "%s/hosts", dir);
    cr_assert_not_null(f = fopen(resolv, "w"));
    fputs("search one.test\noptions timeout:1\n", f);
    fclose(f);
    cr_assert_not_null(f = fopen(hosts, "w"));
    fputs("192.0.2.9 here\n", f);
    fclose(f);
}

static void end(void) {
    dns_kit_close(&kit);
    unlink(resolv);
    unlink(hosts);
    rmdir(dir);
}

static int use(rota_dns *dns) {
    static char buf[1024];
    const rota_dns_record *records;
    rota_address out[4];
    int rc = rota_dns_resolve(dns, "here", NULL, AF_INET, out, 4);
    if (rc >= 0)
        rc = rota_dns_resolve(dns, "both.test", NULL, AF_UNSPEC, out, 4);
    if (rc >= 0)
        rc = rota_dns_resolve(dns, "truncated.bad", NULL, AF_INET, out, 4);
    if (rc >= 0)
        rc = rota_dns_query(dns, "alias.test", ROTA_DNS_CNAME, buf, sizeof buf, &records);
    if (rc >= 0)
        rc = rota_dial("looped.test", "9", &(rota_dial_options){ .dns = dns, .family = AF_INET });
    if (rc >= 0)
        rota_close(rc);
    return rc == -ECONNREFUSED ? 0 : rc; /* nobody listens on that port of loopback */
}

static intptr_t program(void *unused) {
    rota_dns dns;
    (void)unused;
    rota_dns_options opt = dns_kit_options(&kit);
    opt.resolv_conf = resolv;
    opt.hosts = hosts;
    opt.cache = 4;
    int rc = rota_dns_open(&dns, &opt);
    if (rc == 0) {
        rc = use(&dns);
        cr_expect_eq(rota_dns_close(&dns), 0);
    }
    return rc;
}

static void prepare(const struct fault_row *row) {
    (void)row;
    kit.log[0] = '\0';
}

static void check(const char *what, size_t at, intptr_t value) {
    cr_expect_neq(value, -ETIMEDOUT, "%s %zu", what, at);
    while (dns_kit_answer_now(&kit)) /* questions that were given up */
        ;
}

/* EAGAIN for ever is no fault of a socket that polls writable. */
static const struct fault_row rows[] = {
    { FAULT_socket, -EMFILE, 0, NULL },                { FAULT_socket, -EAFNOSUPPORT, 0, NULL },
    { FAULT_connect, -ENETUNREACH, 0, NULL },          { FAULT_send, -EPERM, FAULT_RECOVERS, NULL },
    { FAULT_send, -EAGAIN, FAULT_RECOVERS | FAULT_ONCE, NULL }, { FAULT_recv, -ECONNREFUSED, FAULT_RECOVERS, NULL },
    { FAULT_recv, -ENOMEM, FAULT_RECOVERS, NULL },     { FAULT_recv, -EINTR, 0, NULL },
    { FAULT_getsockopt, -ENOBUFS, 0, NULL },           { FAULT_open_readonly, -EMFILE, 0, NULL },
    { FAULT_open_readonly, -EACCES, 0, NULL },         { FAULT_stamp, -EACCES, 0, NULL },
    { FAULT_stamp, -ENOMEM, 0, NULL },                 { FAULT_fstat, -EIO, 0, NULL },
    { FAULT_read, -EIO, 0, NULL },                     { FAULT_read, -EINTR, 0, NULL },
    { FAULT_random, -ENOSYS, 0, NULL },
};

static const struct fault_program resolver = {
    .body = program, .rows = rows, .n_rows = sizeof rows / sizeof *rows, .change = change, .begin = begin,
    .end = end, .prepare = prepare, .check = check,
};

Fault_tests(faults_dns, &resolver, .timeout = 120)
