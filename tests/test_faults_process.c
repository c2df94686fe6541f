/* Every system call and allocation of a program that starts processes fails, once, and from there on (I01). Each run
 * ends, with success or an error, and gives back every descriptor and byte, and every process. */
#include <sys/wait.h>

#include "rota.h"
#include "tests/fault_kit.h"
#include "tests/sys_table.h"

enum { SPAWN = FAULT_OWN, SIGACTION };

static bool hide_pidfds;

static int sys_spawn(const struct rota__spawn *how, pid_t *pid, int *pidfd) {
    int rc = fault(SPAWN);
    if (rc < 0)
        return rc;
    rc = rota__sys_real.spawn(how, pid, pidfd);
    if (*pidfd >= 0) {
        rota__sys_real.close(*pidfd); /* so that pidfd_open is called */
        *pidfd = -1;
    }
    return rc;
}

static int sys_pidfd_open(pid_t pid) {
    int error = hide_pidfds ? -ENOSYS : fault(FAULT_pidfd_open);
    return error ? error : rota__sys_real.pidfd_open(pid);
}

static int sys_sigaction(int signo, const struct sigaction *action, struct sigaction *old) {
    int error = action && action->sa_handler != SIG_DFL ? fault(SIGACTION) : 0;
    return error ? error : rota__sys_real.sigaction(signo, action, old);
}

static void change(struct rota__sys *sys) {
    sys->spawn = sys_spawn;
    sys->pidfd_open = sys_pidfd_open;
    sys->sigaction = sys_sigaction;
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

static bool unsignalled; /* one that cannot be signalled is left to its own end, which its closed input brings */

static void prepare(const struct fault_row *row) {
    hide_pidfds = row && row->call == SIGACTION;
    unsignalled = row && row->call == FAULT_pidfd_signal;
}

static void check(const char *what, size_t at, intptr_t value) {
    (void)value;
    bool left = (unsignalled && at) || (waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    cr_expect(left, "%s %zu: a zombie", what, at);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static const struct fault_row rows[] = {
    { SPAWN, -EAGAIN, 0, "spawn" },                    { SPAWN, -ENOMEM, 0, "spawn" },
    { FAULT_pipe, -EMFILE, 0, NULL },                  { FAULT_set_nonblocking, -EIO, 0, NULL },
    { FAULT_pidfd_open, -ENOSYS, FAULT_HARMLESS, NULL }, { FAULT_pidfd_open, -EMFILE, FAULT_HARMLESS, NULL },
    { FAULT_pidfd_signal, -EPERM, FAULT_OPTIONAL, NULL }, { FAULT_reap, -EINTR, 0, NULL },
    { FAULT_readv, -EIO, 0, NULL },                    { FAULT_readv, -EINTR, 0, NULL },
    { FAULT_writev, -EIO, 0, NULL },                   { FAULT_writev, -EINTR, 0, NULL },
    { SIGACTION, -EINVAL, 0, "sigaction" },
};

static const struct fault_program processes = {
    .body = program, .rows = rows, .n_rows = sizeof rows / sizeof *rows, .change = change, .prepare = prepare,
    .check = check,
};

Fault_tests(faults_process, &processes, .timeout = 120)
