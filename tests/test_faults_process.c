/* Every system call and allocation of a program that starts processes fails, once, and from there on (I01). Each run
 * ends, with success or an error, and gives back every descriptor and byte, and every process. */
#include <sys/wait.h>

#include "reactor/sys.h"
#include "rota.h"
#include "tests/harness.h"
#include "tests/support.h"

enum call { SPAWN, PIPE, BLOCKING, PIDFD, PIDFD_SIGNAL, REAP, READ, WRITE, SIGACTION, CALLS };

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

static bool hide_pidfds;

static int sys_spawn(const struct rota__spawn *how, pid_t *pid, int *pidfd) {
    int rc = fault(SPAWN);
    if (rc < 0)
        return rc;
    rc = REAL.spawn(how, pid, pidfd);
    if (*pidfd >= 0) {
        REAL.close(*pidfd); /* so that pidfd_open is called */
        *pidfd = -1;
    }
    return rc;
}

static int sys_pidfd_open(pid_t pid) {
    if (hide_pidfds)
        return -ENOSYS;
    WITH_FAULT(PIDFD, REAL.pidfd_open(pid));
}

static int sys_pipe(int fds[2]) { WITH_FAULT(PIPE, REAL.pipe(fds)); }
static int sys_set_nonblocking(int fd, int on) { WITH_FAULT(BLOCKING, REAL.set_nonblocking(fd, on)); }
static int sys_pidfd_signal(int fd, int signo) { WITH_FAULT(PIDFD_SIGNAL, REAL.pidfd_signal(fd, signo)); }
static int sys_reap(pid_t pid, int pidfd, int options, int *status) {
    WITH_FAULT(REAP, REAL.reap(pid, pidfd, options, status));
}
static ssize_t sys_readv(int fd, const struct iovec *iov, int n) { WITH_FAULT(READ, REAL.readv(fd, iov, n)); }
static ssize_t sys_writev(int fd, const struct iovec *iov, int n) { WITH_FAULT(WRITE, REAL.writev(fd, iov, n)); }
static int sys_sigaction(int signo, const struct sigaction *action, struct sigaction *old) {
    int error = action && action->sa_handler != SIG_DFL ? fault(SIGACTION) : 0;
    return error ? error : REAL.sigaction(signo, action, old);
}

static struct rota__sys failing_sys(void) {
    struct rota__sys sys = REAL;
    sys.spawn = sys_spawn;
    sys.pipe = sys_pipe;
    sys.set_nonblocking = sys_set_nonblocking;
    sys.pidfd_open = sys_pidfd_open;
    sys.pidfd_signal = sys_pidfd_signal;
    sys.reap = sys_reap;
    sys.readv = sys_readv;
    sys.writev = sys_writev;
    sys.sigaction = sys_sigaction;
    return sys;
}

/* ---- the program ---- */

#define SHELL(script) ((char *[]){"/bin/sh", "-c", (script), NULL})

static intptr_t talk(void *unused) {
    rota_process p;
    rota_process_output o = {.limit = 0};
    (void)unused;
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE};
    int rc = rota_process_spawn(&p, SHELL("cat; exit 4"), &opt);
    if (rc < 0)
        return rc;
    rc = rota_process_communicate(&p, "hello", 5, &o);
    cr_expect(rc < 0 || (o.out && strcmp(o.out, "hello") == 0 && rota_process_exit_code(o.status) == 4));
    rota_process_output_free(&o);
    (void)rota_process_close(&p);
    return rc;
}

/* Closed while it runs: it is killed, and its input ends. */
static intptr_t give_up(void *unused) {
    rota_process p;
    (void)unused;
    int rc = rota_process_spawn(&p, SHELL("read x"), &(rota_process_options){.in = ROTA_PROCESS_PIPE});
    if (rc == 0)
        rc = rota_process_close(&p);
    return rc;
}

static intptr_t wait_for_it(void *unused) {
    rota_process p;
    (void)unused;
    int rc = rota_process_spawn(&p, SHELL("exit 0"), NULL);
    if (rc < 0)
        return rc;
    rc = rota_process_wait(&p, NULL);
    (void)rota_process_close(&p);
    return rc;
}

static intptr_t program(void *unused) {
    intptr_t v[3] = {talk(unused), give_up(unused), wait_for_it(unused)};
    return v[0] ? v[0] : v[1] ? v[1] : v[2];
}

/* ---- the driver ---- */

static bool runs(const char *what, size_t at) {
    rota_loop_options opt = test_options();
    intptr_t v = 1;
    int rc = rota_run(program, NULL, &v, &opt);
    cr_expect(rc <= 0 && (v == 0 || rota_failed(v)), "%s %zu: run %d, value %ld", what, at, rc, (long)v);
    test_end();
    /* One that could not be signalled was left to its own end, which its closed input brings. */
    bool unsignalled = faults.at && faults.kind == PIDFD_SIGNAL;
    cr_expect(unsignalled || (waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD), "%s %zu: a zombie", what, at);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return rc == 0 && v == 0;
}

static void begin(enum call kind, size_t at, int error, bool on) {
    memset(&faults, 0, sizeof faults);
    faults.kind = kind;
    faults.at = at;
    faults.error = error;
    faults.on = on;
    test_begin();
}

static const struct {
    enum call kind;
    const char *name;
    int error;
} kinds[] = {
    {SPAWN, "spawn", -EAGAIN}, {SPAWN, "spawn", -ENOMEM}, {PIPE, "pipe", -EMFILE}, {BLOCKING, "set_nonblocking", -EIO},
    {PIDFD, "pidfd_open", -ENOSYS}, {PIDFD, "pidfd_open", -EMFILE}, {PIDFD_SIGNAL, "pidfd_signal", -EPERM},
    {REAP, "reap", -EINTR}, {READ, "readv", -EIO}, {READ, "readv", -EINTR}, {WRITE, "writev", -EIO},
    {WRITE, "writev", -EINTR}, {SIGACTION, "sigaction", -EINVAL},
};

static void fail_each(bool on) {
    const struct rota__sys sys = failing_sys();
    rota__sys = &sys;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (on && kinds[k].error == -EINTR)
            continue; /* for ever is no fault that a system has */
        hide_pidfds = kinds[k].kind == SIGACTION;
        begin(SPAWN, 0, 0, false);
        cr_expect(runs("nothing", 0));
        size_t made = faults.made[kinds[k].kind];
        bool optional = kinds[k].kind == PIDFD_SIGNAL; /* on a system without it */
        cr_expect(made > 0 || optional, "the program makes no %s", kinds[k].name);
        for (size_t at = 1; at <= made; at++) {
            begin(kinds[k].kind, at, kinds[k].error, on);
            bool succeeded = runs(kinds[k].name, at);
            if (kinds[k].error == -EINTR || kinds[k].kind == PIDFD)
                cr_expect(succeeded, "%s %zu: is made up for", kinds[k].name, at);
        }
    }
    hide_pidfds = false;
    rota__sys = &rota__sys_real;
}

Test(faults_process, each_system_call_fails_once, .timeout = 120) { fail_each(false); }
Test(faults_process, each_system_call_fails_and_all_later_ones, .timeout = 120) { fail_each(true); }

static void fail_each_allocation(bool on) {
    begin(SPAWN, 0, 0, false);
    cr_expect(runs("nothing", 0));
    size_t calls = memory.calls;
    for (size_t at = 1; at <= calls; at++) {
        begin(SPAWN, 0, 0, false);
        memory.fail_at = at;
        memory.fail_on = on;
        (void)runs("allocation", at);
    }
}

Test(faults_process, each_allocation_fails_once, .timeout = 120) { fail_each_allocation(false); }
Test(faults_process, each_allocation_fails_and_all_later_ones, .timeout = 120) { fail_each_allocation(true); }
