/* Every system call of a resolver fails once, and from there on; and every allocation. The program reads files of its
 * own, asks over UDP and TCP, and dials; the server answers inside of send, with calls that never fail. Each run ends,
 * with success or an error, and gives back every descriptor and byte. */
#include "tests/dns_kit.h"

enum call { SOCKET, CONNECT, SEND, RECV, GETSOCKOPT, OPEN, STAMP, FSTAT, READ, RANDOM, CALLS };

static struct {
    size_t made[CALLS];
    enum call kind;
    size_t at;
    int error;
    bool on;
} faults;

static int fault(enum call kind) {
    size_t n = ++faults.made[kind];
    bool hit = faults.at && kind == faults.kind && (n == faults.at || (faults.on && n > faults.at));
    return hit ? faults.error : 0;
}

#define REAL rota__sys_real
#define WITH_FAULT(kind, call) do { int e_ = fault(kind); return e_ ? e_ : (call); } while (0)

static struct dns_kit kit;

static ssize_t send_and_answer(int fd, const void *buf, size_t n, int flags) {
    ssize_t r = REAL.send(fd, buf, n, flags);
    while (r > 0 && dns_kit_answer_now(&kit)) /* also what was given up before */
        ;
    return r;
}

static ssize_t sys_send(int fd, const void *buf, size_t n, int flags) {
    WITH_FAULT(SEND, send_and_answer(fd, buf, n, flags));
}
static ssize_t sys_recv(int fd, void *buf, size_t n, int flags) { WITH_FAULT(RECV, REAL.recv(fd, buf, n, flags)); }
static int sys_socket(int domain, int type, int protocol) { WITH_FAULT(SOCKET, REAL.socket(domain, type, protocol)); }
static int sys_connect(int fd, const struct sockaddr *addr, socklen_t len) {
    WITH_FAULT(CONNECT, REAL.connect(fd, addr, len));
}
static int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
    WITH_FAULT(GETSOCKOPT, REAL.getsockopt(fd, level, name, value, len));
}
static int sys_open(const char *path) { WITH_FAULT(OPEN, REAL.open_readonly(path)); }
static int sys_stamp(const char *path, struct rota__stamp *stamp) { WITH_FAULT(STAMP, REAL.stamp(path, stamp)); }
static int sys_fstat(int fd, struct stat *st) { WITH_FAULT(FSTAT, REAL.fstat(fd, st)); }
static ssize_t sys_read(int fd, void *buf, size_t n) { WITH_FAULT(READ, REAL.read(fd, buf, n)); }
static int sys_random(void *buf, size_t n) { WITH_FAULT(RANDOM, REAL.random(buf, n)); }

static void use_failing_sys(void) {
    struct rota__sys *sys = use_shim();
    sys->socket = sys_socket;
    sys->connect = sys_connect;
    sys->send = sys_send;
    sys->recv = sys_recv;
    sys->getsockopt = sys_getsockopt;
    sys->open_readonly = sys_open;
    sys->stamp = sys_stamp;
    sys->fstat = sys_fstat;
    sys->read = sys_read;
    sys->random = sys_random;
}

/* ---- the program ---- */

static char dir[64], resolv[96], hosts[96];

static void begin_files(void) {
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

static void end_files(void) {
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

/* ---- the driver ---- */

static bool runs(const char *what, size_t at) {
    rota_loop_options opt = test_options();
    intptr_t v = 1;
    int rc = rota_run(program, NULL, &v, &opt);
    cr_expect(rc <= 0 && (v == 0 || rota_failed(v)), "%s %zu: run %d, value %ld", what, at, rc, (long)v);
    cr_expect_neq(v, -ETIMEDOUT, "%s %zu", what, at);
    while (dns_kit_answer_now(&kit)) /* questions that were given up */
        ;
    test_end();
    return rc == 0 && v == 0;
}

static void begin(enum call kind, size_t at, int error, bool on) {
    memset(&faults, 0, sizeof faults);
    faults.kind = kind;
    faults.at = at;
    faults.error = error;
    faults.on = on;
    kit.log[0] = '\0';
    test_begin();
}

/* recovers: one failure is made good by another try. */
static const struct {
    enum call kind;
    const char *name;
    int error;
    bool recovers;
} kinds[] = {
    { SOCKET, "socket", -EMFILE, false },       { SOCKET, "socket", -EAFNOSUPPORT, false },
    { CONNECT, "connect", -ENETUNREACH, false }, { SEND, "send", -EPERM, true }, { SEND, "send", -EAGAIN, true },
    { RECV, "recv", -ECONNREFUSED, true },      { RECV, "recv", -ENOMEM, true }, { RECV, "recv", -EINTR, true },
    { GETSOCKOPT, "getsockopt", -ENOBUFS, false }, { OPEN, "open", -EMFILE, false }, { OPEN, "open", -EACCES, false },
    { STAMP, "stamp", -EACCES, false },         { STAMP, "stamp", -ENOMEM, false }, { FSTAT, "fstat", -EIO, false },
    { READ, "read", -EIO, false },              { READ, "read", -EINTR, true }, { RANDOM, "random", -ENOSYS, false },
};

static void fail_each(bool on) {
    dns_kit_open(&kit);
    begin(SOCKET, 0, 0, false);
    cr_expect(runs("nothing", 0));
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        /* EINTR for ever is no fault that a system has, nor EAGAIN of a socket that polls writable. */
        if (on && (kinds[k].error == -EINTR || kinds[k].error == -EAGAIN))
            continue;
        begin(SOCKET, 0, 0, false);
        cr_expect(runs("nothing", 0));
        size_t made = faults.made[kinds[k].kind];
        cr_expect_gt(made, 0u, "the program makes no %s", kinds[k].name);
        for (size_t at = 1; at <= made; at++) {
            begin(kinds[k].kind, at, kinds[k].error, on);
            bool succeeded = runs(kinds[k].name, at);
            if (kinds[k].recovers && !on)
                cr_expect(succeeded, "one %s that fails (%d, the %zu.) is made again", kinds[k].name,
                          kinds[k].error, at);
        }
    }
    dns_kit_close(&kit);
}

static void set_up(void) {
    begin_files();
    use_failing_sys();
}

Test(faults_dns, each_system_call_fails_once, .init = set_up, .fini = end_files, .timeout = 120) { fail_each(false); }
Test(faults_dns, each_system_call_fails_and_all_later_ones, .init = set_up, .fini = end_files, .timeout = 120) {
    fail_each(true);
}

static void fail_each_allocation(bool on) {
    dns_kit_open(&kit);
    begin(SOCKET, 0, 0, false);
    cr_expect(runs("nothing", 0));
    size_t calls = memory.calls;
    for (size_t at = 1; at <= calls; at++) {
        begin(SOCKET, 0, 0, false);
        memory.fail_at = at;
        memory.fail_on = on;
        (void)runs("allocation", at);
    }
    dns_kit_close(&kit);
}

Test(faults_dns, each_allocation_fails_once, .init = set_up, .fini = end_files, .timeout = 120) {
    fail_each_allocation(false);
}
Test(faults_dns, each_allocation_fails_and_all_later_ones, .init = set_up, .fini = end_files, .timeout = 120) {
    fail_each_allocation(true);
}
