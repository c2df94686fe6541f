/* Child processes in tasks: spawn, wait, kill, close, communicate, run. */
#include <sched.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* macOS has no pipe2. */
static int pipe_cloexec(int fds[2]) {
    int rc = pipe(fds);
    return rc < 0 || fcntl(fds[0], F_SETFD, FD_CLOEXEC) < 0 || fcntl(fds[1], F_SETFD, FD_CLOEXEC) < 0 ? -1 : 0;
}

#include "tests/sys_table.h"
#include "rota.h"
#include "tests/support.h"

#define SHELL(script) ((char *[]){"/bin/sh", "-c", (script), NULL})

static bool no_children(void) { return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD; }

static int spawn(rota_process *p, char *script, const rota_process_options *opt) {
    return rota_process_spawn(p, SHELL(script), opt);
}

/* Its output as a string that lives until the next call. */
static const char *say_with(char *script, const rota_process_options *opt) {
    static char said[4096];
    rota_process_output o = {.limit = sizeof said - 1};
    int rc = rota_process_run(SHELL(script), NULL, 0, &o, opt);
    cr_expect_eq(rc, 0, "%s: %d", script, rc);
    snprintf(said, sizeof said, "%s", o.out ? o.out : "(nothing)");
    rota_process_output_free(&o);
    return said;
}

static const char *say(char *script) { return say_with(script, NULL); }

/* ---- spawn and wait ---- */

Task_test(process, the_exit_code_and_only_once_a_zombie) {
    rota_process p;
    int status = 99;
    cr_expect_eq(spawn(&p, "exit 7", NULL), 0);
    cr_expect(p.pid > 0 && p.in == -1 && p.out == -1 && p.err == -1);
    cr_expect_eq(rota_process_wait(&p, &status), 0);
    cr_expect_eq(rota_process_exit_code(status), 7);
    cr_expect_eq(rota_process_exit_signal(status), 0);
    cr_expect(no_children());
    cr_expect_eq(rota_process_wait(&p, NULL), 0, "any number of times");
    status = 99;
    cr_expect_eq(rota_process_status(&p, &status), 0);
    cr_expect_eq(rota_process_exit_code(status), 7);
    cr_expect_eq(rota_process_kill(&p, SIGKILL), -ESRCH);
    cr_expect_eq(rota_process_close(&p), 0);
    cr_expect_eq(rota_process_close(&p), 0);
    cr_expect_eq(rota_process_wait(&p, NULL), -ESHUTDOWN);
    cr_expect_eq(rota_process_kill(&p, SIGKILL), -ESHUTDOWN);
    return 0;
}

/* G10: reaped before anybody waits. */
Task_test(process, one_that_ended_before_the_wait) {
    rota_process p;
    int status = 99;
    char c;
    cr_expect_eq(spawn(&p, "exit 3", &(rota_process_options){.out = ROTA_PROCESS_PIPE}), 0);
    cr_expect_eq(rota_process_status(&p, &status), -EAGAIN);
    cr_expect_eq(rota_read(p.out, &c, 1), 0);
    while (rota_process_status(&p, &status) == -EAGAIN)
        cr_expect_eq(rota_sleep(1), 0);
    cr_expect(no_children(), "the loop has reaped it");
    cr_expect_eq(rota_process_wait(&p, &status), 0);
    cr_expect_eq(rota_process_exit_code(status), 3);
    return rota_process_close(&p);
}

static intptr_t wait_for(void *p) {
    int status = 99;
    int rc = rota_process_wait(p, &status);
    return rc < 0 ? rc : rota_process_exit_code(status);
}

Task_test(process, many_wait_for_one) {
    rota_process p;
    rota_call calls[10];
    cr_expect_eq(spawn(&p, "exit 5", NULL), 0);
    for (int i = 0; i < 10; i++)
        calls[i] = (rota_call){.fn = wait_for, .arg = &p};
    cr_expect_eq(rota_gather(calls, 10, NULL), 0);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(calls[i].result, 5);
    return rota_process_close(&p);
}

static intptr_t end_with(void *code) {
    rota_process p;
    char script[32];
    snprintf(script, sizeof script, "exit %d", (int)(intptr_t)code);
    int rc = spawn(&p, script, NULL);
    intptr_t v = rc < 0 ? rc : wait_for(&p);
    (void)rota_process_close(&p);
    return v;
}

Task_test(process, a_hundred_at_once) {
    enum { MOST = 100 };
    static rota_call calls[MOST];
    size_t n = under_valgrind() ? 10 : MOST;
    for (size_t i = 0; i < n; i++)
        calls[i] = (rota_call){.fn = end_with, .arg = (void *)i};
    cr_expect_eq(rota_gather(calls, n, NULL), 0);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(calls[i].result, (intptr_t)i);
    cr_expect(no_children());
    return 0;
}

/* G13, B27 */
Task_test(process, a_cancelled_wait_leaves_the_status) {
    rota_process p;
    int status = 99;
    cr_expect_eq(spawn(&p, "read x; exit 4", &(rota_process_options){.in = ROTA_PROCESS_PIPE}), 0);
    cr_expect_eq(rota_timeout(ROTA_MS, wait_for, &p), -ETIMEDOUT);
    cr_expect_eq(rota_write_all(p.in, "\n", 1, NULL), 0);
    while (rota_process_status(&p, &status) == -EAGAIN)
        cr_expect_eq(rota_sleep(1), 0);
    cr_expect(no_children());
    cr_expect_eq(wait_for(&p), 4);
    return rota_process_close(&p);
}

Task_test(process, a_cancelled_wait_ends_it_if_asked) {
    rota_process p;
    cr_expect_eq(spawn(&p, "read x", &(rota_process_options){.in = ROTA_PROCESS_PIPE, .kill_on_cancel = true}), 0);
    cr_expect_eq(rota_timeout(ROTA_MS, wait_for, &p), -ETIMEDOUT);
    int status = 0;
    cr_expect_eq(rota_process_wait(&p, &status), 0);
    cr_expect_eq(rota_process_exit_signal(status), SIGKILL);
    return rota_process_close(&p);
}

/* G11 */
Task_test(process, what_cannot_be_executed_is_the_spawners_error) {
    rota_process p;
    char *none[] = {"/no/such/program", NULL}, *found_nowhere[] = {"no-such-program-anywhere", NULL};
    char *denied[] = {"/etc/passwd", NULL}, *folder[] = {"/", NULL}, *under_a_file[] = {"/etc/passwd/x", NULL};
    cr_expect_eq(rota_process_spawn(&p, none, NULL), -ENOENT);
    cr_expect(p.pid == 0 && p.in == -1);
    cr_expect_eq(rota_process_wait(&p, NULL), -ESHUTDOWN);
    cr_expect_eq(rota_process_close(&p), 0);
    cr_expect_eq(rota_process_spawn(&p, found_nowhere, NULL), -ENOENT);
    cr_expect_eq(rota_process_spawn(&p, denied, NULL), -EACCES);
    cr_expect_eq(rota_process_spawn(&p, folder, NULL), -EACCES);
    int rc = rota_process_spawn(&p, under_a_file, NULL);
    cr_expect(rc == -ENOTDIR || rc == -ENOENT, "%d", rc);
    cr_expect_eq(spawn(&p, "exit", &(rota_process_options){.cwd = "/no/such/folder"}), -ENOENT);
    rc = spawn(&p, "exit", &(rota_process_options){.cwd = "/etc/passwd"});
    cr_expect_eq(rc, -ENOTDIR);
    cr_expect_eq(spawn(&p, "exit", &(rota_process_options){.in = 999}), -EBADF);
    cr_expect(no_children(), "and no zombie");
    return 0;
}

/* With pipes that were made already. */
Task_test(process, a_failed_spawn_gives_back_its_pipes) {
    rota_process p;
    char *none[] = {"/no/such/program", NULL};
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE, .err = ROTA_PROCESS_PIPE};
    for (int i = 0; i < 20; i++)
        cr_expect_eq(rota_process_spawn(&p, none, &opt), -ENOENT);
    return 0; /* test_end counts descriptors */
}

Task_test(process, bad_arguments) {
    rota_process p;
    char *nothing[] = {NULL}, *empty[] = {"", NULL};
    rota_process_fd fd = {-1, 3};
    cr_expect_eq(rota_process_spawn(NULL, SHELL("exit"), NULL), -EINVAL);
    cr_expect_eq(rota_process_spawn(&p, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_process_spawn(&p, nothing, NULL), -EINVAL);
    cr_expect_eq(rota_process_spawn(&p, empty, NULL), -EINVAL);
    cr_expect_eq(spawn(&p, "exit", &(rota_process_options){.in = ROTA_PROCESS_OUT}), -EINVAL);
    cr_expect_eq(spawn(&p, "exit", &(rota_process_options){.out = -77}), -EINVAL);
    cr_expect_eq(spawn(&p, "exit", &(rota_process_options){.n_fds = 1}), -EINVAL);
    cr_expect_eq(spawn(&p, "exit", &(rota_process_options){.fds = &fd, .n_fds = 1}), -EBADF);
    cr_expect_eq(spawn(&p, "exit", &(rota_process_options){.grace = -1}), -EINVAL);
    cr_expect_eq(spawn(&p, "exit", &(rota_process_options){.new_group = true, .new_session = true}), -EINVAL);
    cr_expect_eq(spawn(&p, "exit", &(rota_process_options){.terminal = true}), -EINVAL);
    cr_expect_eq(spawn(&p, "exit", &(rota_process_options){.group = 1, .new_group = true}), -EINVAL);
    cr_expect_eq(rota_process_close(NULL), -EINVAL);
    cr_expect_eq(rota_process_wait(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_process_communicate(NULL, NULL, 0, NULL), -EINVAL);
    cr_expect_eq(rota_process_run(SHELL("exit"), NULL, 0, NULL, NULL), -EINVAL);
    rota_process_output_free(NULL);
    rota_process zero;
    memset(&zero, 0, sizeof zero);
    cr_expect_eq(rota_process_close(&zero), 0);
    cr_expect_geq(fcntl(0, F_GETFD), 0, "descriptor 0 is not its");
    return 0;
}

Test(process, needs_a_loop) {
    rota_process p;
    cr_expect_eq(spawn(&p, "exit", NULL), -EINVAL);
}

/* ---- what the program gets ---- */

Task_test(process, environment_directory_arguments) {
    char *env[] = {"COLOUR=green", NULL};
    cr_expect_str_eq(say_with("echo $COLOUR", &(rota_process_options){.envp = env}), "green\n");
    cr_expect_str_eq(say_with("pwd", &(rota_process_options){.cwd = "/"}), "/\n");
    char *argv[] = {"me", "-c", "echo $0 $1", "a", "b", NULL};
    rota_process_output o = {0};
    cr_expect_eq(rota_process_run(argv, NULL, 0, &o, &(rota_process_options){.path = "/bin/sh"}), 0);
    cr_expect_str_eq(o.out, "a b\n");
    rota_process_output_free(&o);
    return 0;
}

static bool runs_in_path(char *name, char *path) {
    char *argv[] = {name, "-c", "exit 0", NULL}, *env[] = {path, NULL};
    rota_process_output o = {0};
    int rc = rota_process_run(argv, NULL, 0, &o, &(rota_process_options){.envp = path ? env : (char *[]){NULL}});
    bool ok = rc == 0 && o.status == 0;
    rota_process_output_free(&o);
    return ok;
}

Task_test(process, programs_are_searched_for) {
    cr_expect(runs_in_path("sh", NULL), "without PATH where the system's programs are");
    cr_expect(runs_in_path("sh", "PATH=/no/such/folder:/bin"));
    cr_expect(runs_in_path("sh", "PATH=/etc/passwd:/bin:"));
    cr_expect(!runs_in_path("sh", "PATH=/no/such/folder"));
    cr_expect(!runs_in_path("sh", "PATH="));
    cr_expect(!runs_in_path("passwd", "PATH=/etc"));
    int here = open(".", O_RDONLY | O_CLOEXEC);
    cr_expect_eq(chdir("/bin"), 0);
    cr_expect(runs_in_path("sh", "PATH="), "an empty part is the current directory");
    cr_expect(runs_in_path("sh", "PATH=/no/such/folder:"));
    cr_expect(runs_in_path("sh", "PATH=:/no/such/folder"));
    cr_expect_eq(fchdir(here), 0);
    close(here);
    return 0;
}

static void ignore_it(int signo) { (void)signo; }

/* Bit n - 1 of the number that /proc says. */
static unsigned long long status_mask(const char *said, const char *name) {
    const char *at = strstr(said, name);
    return at ? strtoull(at + strlen(name), NULL, 16) : ~0ull;
}

/* G18: also for the program, whoever ignores SIGPIPE here. */
Task_test(process, signals_are_as_a_program_expects_them) {
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &old);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR2, ignore_it);
    rota_process_output o = {0};
    char *argv[] = {"cat", "/proc/self/status", NULL};
    if (rota_process_run(argv, NULL, 0, &o, NULL) == 0 && strstr(o.out, "SigBlk:")) {
        cr_expect_eq(status_mask(o.out, "SigBlk:"), 0u);
        cr_expect_eq(status_mask(o.out, "SigIgn:"), 0u);
        cr_expect_eq(status_mask(o.out, "SigCgt:"), 0u);
    }
    rota_process_output_free(&o);
    struct sigaction now;
    sigaction(SIGUSR2, NULL, &now);
    cr_expect(now.sa_handler == ignore_it, "ours are as they were");
    sigset_t mask;
    sigprocmask(SIG_SETMASK, &old, &mask);
    cr_expect(sigismember(&mask, SIGTERM) && !sigismember(&mask, SIGINT));
    signal(SIGPIPE, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    return 0;
}

Task_test(process, a_session_and_a_group_of_its_own) {
    rota_process p;
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE, .new_session = true};
    cr_expect_eq(spawn(&p, "read x", &opt), 0);
    cr_expect_eq(getsid(p.pid), p.pid);
    cr_expect_eq(rota_process_close(&p), 0);
    opt.new_session = false;
    opt.new_group = true;
    cr_expect_eq(spawn(&p, "read x", &opt), 0);
    cr_expect_eq(getpgid(p.pid), p.pid);
    cr_expect_eq(getsid(p.pid), getsid(0));
    rota_process q;
    cr_expect_eq(spawn(&q, "read x", &(rota_process_options){.in = ROTA_PROCESS_PIPE, .group = p.pid}), 0);
    cr_expect_eq(getpgid(q.pid), p.pid);
    cr_expect_eq(rota_process_close(&q), 0);
    return rota_process_close(&p);
}

/* ---- descriptors ---- */

Task_test(process, output_and_errors_may_go_the_same_way) {
    cr_expect_str_eq(say_with("echo a; echo b >&2", &(rota_process_options){.err = ROTA_PROCESS_OUT}), "a\nb\n");
    rota_process_options null = {.in = ROTA_PROCESS_NULL, .out = ROTA_PROCESS_NULL, .err = ROTA_PROCESS_NULL};
    cr_expect_str_eq(say_with("cat; echo a; echo b >&2", &null), "(nothing)");
    return 0;
}

Task_test(process, descriptors_of_the_caller) {
    int fds[2];
    char buf[16] = "";
    cr_expect_eq(pipe(fds), 0);
    rota_process_options opt = {.out = fds[1]};
    cr_expect_str_eq(say_with("echo through", &opt), "(nothing)");
    cr_expect_eq(read(fds[0], buf, sizeof buf), 8);
    cr_expect(memcmp(buf, "through\n", 8) == 0);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* Each wants the number of another. */
Task_test(process, descriptors_that_swap_numbers) {
    int a[2], b[2];
    char buf[16] = "";
    cr_expect_eq(pipe_cloexec(a), 0);
    cr_expect_eq(pipe_cloexec(b), 0);
    rota_process_fd fds[] = {{a[1], b[1]}, {b[1], a[1]}, {a[1], 9}, {b[1], 3}};
    char script[128];
    snprintf(script, sizeof script, "echo to-b >&%d; echo to-a >&%d; echo a9 >&9; echo b3 >&3", a[1], b[1]);
    if (a[1] < 10 && b[1] < 10) {
        (void)say_with(script, &(rota_process_options){.fds = fds, .n_fds = a[1] == 9 || b[1] == 9 ? 2 : 4});
        cr_expect_gt(read(a[0], buf, sizeof buf), 0);
        cr_expect(memcmp(buf, "to-a\n", 5) == 0, "%s", buf);
        cr_expect_gt(read(b[0], buf, sizeof buf), 0);
        cr_expect(memcmp(buf, "to-b\n", 5) == 0, "%s", buf);
    }
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    return 0;
}

/* Descriptor 3 is that of `ls` itself. */
Task_test(process, nothing_leaks_into_the_program) {
    if (access("/proc/self/fd", R_OK) < 0)
        return 0;
    int fds[2];
    cr_expect_eq(pipe_cloexec(fds), 0);
    rota_process other;
    rota_process_options pipes = {.in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE};
    cr_expect_eq(spawn(&other, "read x", &pipes), 0);
    int plain = dup(fds[0]); /* what a careless program has */
    cr_expect_eq(fcntl(plain, F_GETFD), 0);
    rota_process_fd pass = {fds[1], 17};
    rota_process_options opt = {.close_others = true, .fds = &pass, .n_fds = 1};
    char *argv[] = {"ls", "/proc/self/fd", NULL};
    rota_process_output o = {0};
    cr_expect_eq(rota_process_run(argv, NULL, 0, &o, &opt), 0);
    cr_expect_str_eq(o.out, "0\n1\n17\n2\n3\n", "%s", o.out);
    rota_process_output_free(&o);
    opt.close_others = false;
    char line[16];
    snprintf(line, sizeof line, "\n%d\n", plain);
    cr_expect_eq(rota_process_run(argv, NULL, 0, &o, &opt), 0);
    cr_expect_not_null(strstr(o.out, line), "without the option it is inherited");
    rota_process_output_free(&o);
    close(plain);
    close(fds[0]);
    close(fds[1]);
    return rota_process_close(&other);
}

Task_test(process, our_ends_are_non_blocking_and_close_on_exec) {
    rota_process p;
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE, .err = ROTA_PROCESS_PIPE};
    cr_expect_eq(spawn(&p, "cat", &opt), 0);
    int ends[3] = {p.in, p.out, p.err};
    for (int i = 0; i < 3; i++) {
        cr_expect(fcntl(ends[i], F_GETFD) & FD_CLOEXEC);
        cr_expect(fcntl(ends[i], F_GETFL) & O_NONBLOCK);
    }
    return rota_process_close(&p);
}

Task_test(process, its_pipes_may_become_streams) {
    rota_process p;
    rota_stream in, out;
    const char *line;
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE};
    cr_expect_eq(spawn(&p, "while read x; do echo got $x; done", &opt), 0);
    cr_expect_eq(rota_stream_open(&in, p.in, NULL), 0);
    cr_expect_eq(rota_stream_open(&out, p.out, NULL), 0);
    p.in = p.out = -1;
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(rota_stream_write(&in, "line\n", 5), 0);
        cr_expect_gt(rota_stream_line(&out, 0, &line), 0);
        cr_expect(line && strcmp(line, "got line") == 0);
    }
    cr_expect_eq(rota_stream_close(&in), 0);
    cr_expect_eq(rota_stream_line(&out, 0, &line), 0);
    cr_expect_eq(rota_stream_close(&out), 0);
    cr_expect_eq(wait_for(&p), 0);
    return rota_process_close(&p);
}

/* Our end is not blocking, which `cat` would take for an error. */
Task_test(process, the_output_of_one_is_the_input_of_another) {
    rota_process a, b;
    char c;
    rota_process_output o = {0};
    cr_expect_eq(spawn(&a, "read x; echo hello; exec cat", &(rota_process_options){.in = ROTA_PROCESS_PIPE,
                                                                                  .out = ROTA_PROCESS_PIPE}), 0);
    cr_expect_eq(spawn(&b, "echo; exec cat", &(rota_process_options){.in = a.out, .out = ROTA_PROCESS_PIPE}), 0);
    cr_expect_eq(rota_read(b.out, &c, 1), 1);
    cr_expect(!(fcntl(a.out, F_GETFL) & O_NONBLOCK));
    rota_close(a.out);
    a.out = -1;
    cr_expect_eq(rota_write_all(a.in, "\nmore\n", 6, NULL), 0);
    rota_close(a.in);
    a.in = -1;
    cr_expect_eq(rota_process_communicate(&b, NULL, 0, &o), 0);
    cr_expect_str_eq(o.out, "hello\nmore\n", "%s", o.out);
    rota_process_output_free(&o);
    cr_expect_eq(rota_process_close(&a), 0);
    return rota_process_close(&b);
}

/* G12, E12 */
Task_test(process, it_stops_reading_while_we_write) {
    enum { MUCH = 1 << 20 };
    rota_process p;
    char *bytes = calloc(1, MUCH);
    cr_expect_eq(spawn(&p, "exec <&-; exit 3", &(rota_process_options){.in = ROTA_PROCESS_PIPE}), 0);
    cr_expect_eq(rota_write_all(p.in, bytes, MUCH, NULL), -EPIPE);
    cr_expect_eq(wait_for(&p), 3);
    cr_expect_eq(rota_process_close(&p), 0);
    rota_process_output o = {0};
    cr_expect_eq(rota_process_run(SHELL("head -c 5 | wc -c"), bytes, MUCH, &o, NULL), 0);
    cr_expect_eq(atoi(o.out ? o.out : ""), 5);
    rota_process_output_free(&o);
    free(bytes);
    return 0;
}

/* ---- kill and close ---- */

Task_test(process, a_signal_ends_it) {
    rota_process p;
    int status;
    cr_expect_eq(spawn(&p, "read x", &(rota_process_options){.in = ROTA_PROCESS_PIPE}), 0);
    cr_expect_eq(rota_process_kill(&p, -1), -EINVAL);
    cr_expect_eq(rota_process_kill(&p, 0), 0);
    cr_expect_eq(rota_process_kill(&p, SIGTERM), 0);
    cr_expect_eq(rota_process_wait(&p, &status), 0);
    cr_expect_eq(rota_process_exit_signal(status), SIGTERM);
    cr_expect_eq(rota_process_exit_code(status), -1);
    return rota_process_close(&p);
}

/* Virtual time goes on meanwhile, past any grace; how much real time a process needs for its end, nobody knows. */
static void reaped_soon(void) {
    for (int i = 0; i < 2000000 && !no_children(); i++) {
        cr_expect_eq(rota_sleep(ROTA_MS), 0);
        sched_yield();
    }
    cr_expect(no_children());
}

Task_test(process, closing_kills_and_the_loop_reaps) {
    rota_process *p = malloc(sizeof *p);
    cr_expect_eq(spawn(p, "trap '' TERM; read x", &(rota_process_options){.in = ROTA_PROCESS_PIPE}), 0);
    cr_expect_eq(rota_process_close(p), 0);
    memset(p, 0x5a, sizeof *p);
    free(p);
    reaped_soon();
    return 0;
}

/* Its grace is over, in virtual time at once. */
Task_test(process, one_that_ignores_the_signal_is_killed_when_its_grace_is_over) {
    rota_process p;
    char c;
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE, .grace = ROTA_S};
    cr_expect_eq(spawn(&p, "trap '' TERM; echo; while :; do read x; done", &opt), 0);
    cr_expect_eq(rota_read(p.out, &c, 1), 1);
    cr_expect_eq(rota_process_close(&p), 0);
    reaped_soon();
    return 0;
}

static intptr_t with_real_time(void *unused) {
    rota_process p;
    char buf[16];
    (void)unused;
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE, .grace = 100 * ROTA_S,
                                .kill_on_cancel = true};
    cr_expect_eq(spawn(&p, "trap 'echo bye; exit 6' TERM; echo; read x; read x", &opt), 0);
    cr_expect_eq(rota_read(p.out, buf, 1), 1);
    cr_expect_eq(rota_timeout(ROTA_MS, wait_for, &p), -ETIMEDOUT);
    cr_expect_eq(wait_for(&p), 6, "it had its say");
    return rota_process_close(&p);
}

Test(process, its_grace_lets_it_clean_up) {
    rota_loop_options opt = test_options();
    opt.virtual_clock = false;
    intptr_t v = 1;
    cr_expect_eq(run_with(with_real_time, NULL, &v, &opt), 0);
    cr_expect_eq(v, 0);
}

Task_test(process, the_whole_group_is_ended_if_asked) {
    rota_process p;
    char c;
    rota_process_options opt = {.out = ROTA_PROCESS_PIPE, .kill_group = true};
    cr_expect_eq(spawn(&p, "(echo; while :; do sleep 1000; done) & wait", &opt), 0);
    int out = p.out;
    p.out = -1;
    cr_expect_eq(rota_read(out, &c, 1), 1);
    cr_expect_eq(rota_process_close(&p), 0);
    cr_expect_eq(rota_read(out, &c, 1), 0, "nobody is left who could write");
    return rota_close(out);
}

static intptr_t wait_and_see_it_close(void *p) {
    cr_expect_eq(rota_process_wait(p, NULL), -ESHUTDOWN);
    return 0;
}

static intptr_t talk_and_see_it_close(void *p) {
    rota_process_output o = {0};
    cr_expect_eq(rota_process_communicate(p, NULL, 0, &o), -ESHUTDOWN);
    rota_process_output_free(&o);
    return 0;
}

Task_test(process, closing_wakes_those_who_wait) {
    rota_process *p = malloc(sizeof *p);
    rota_task *a, *b;
    cr_expect_eq(spawn(p, "exec sleep 1000", &(rota_process_options){.out = ROTA_PROCESS_PIPE}), 0);
    cr_expect_eq(rota_spawn(&a, wait_and_see_it_close, p, NULL), 0);
    cr_expect_eq(rota_spawn(&b, talk_and_see_it_close, p, NULL), 0);
    cr_expect_eq(rota_sleep(1), 0);
    cr_expect_eq(rota_process_close(p), 0);
    free(p);
    cr_expect_eq(rota_join(a, NULL), 0);
    cr_expect_eq(rota_join(b, NULL), 0);
    return 0;
}

/* ---- the loop's end ---- */

static rota_process forgotten;

static intptr_t forget_it(void *opt) { return spawn(&forgotten, "read x; read x; exit 9", opt); }

Test(process, the_loop_kills_and_reaps_when_it_closes) {
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE};
    rota_loop_options options = test_options();
    test_begin();
    cr_expect_eq(rota_run(forget_it, &opt, NULL, &options), 0);
    cr_expect(no_children());
    cr_expect_eq(rota_process_wait(&forgotten, NULL), -EPERM, "outside of a task");
    cr_expect_eq(rota_process_kill(&forgotten, SIGTERM), -ESHUTDOWN);
    cr_expect_eq(rota_process_close(&forgotten), 0);
    cr_expect_eq(forgotten.in, -1);
    test_end();
}

static intptr_t detach_it(void *opt) {
    int rc = spawn(&forgotten, "read x; exit 9", opt);
    int in = forgotten.in;
    forgotten.in = -1;
    cr_expect_eq(rota_process_close(&forgotten), 0);
    return rc < 0 ? rc : in;
}

Test(process, a_detached_one_lives_on) {
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE, .detach = true};
    intptr_t in = -1;
    int status;
    test_begin();
    rota_loop_options options = test_options();
    cr_expect_eq(rota_run(detach_it, &opt, &in, &options), 0);
    cr_expect(!no_children());
    cr_expect_eq(write((int)in, "\n", 1), 1);
    close((int)in);
    cr_expect_gt(waitpid(-1, &status, 0), 0);
    cr_expect_eq(WEXITSTATUS(status), 9);
    test_end();
}

/* G09 */
static intptr_t fork_inside(void *unused) {
    rota_process p;
    (void)unused;
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE};
    cr_expect_eq(spawn(&p, "read x; exit 2", &opt), 0);
    pid_t pid = fork();
    if (pid == 0) {
        bool ok = rota_process_kill(&p, SIGKILL) == -EINVAL && rota_process_close(&p) == 0 && p.in == -1;
        if (under_valgrind())
            execl("/bin/sh", "sh", "-c", ok ? "exit 0" : "exit 1", NULL);
        _exit(ok ? 0 : 1);
    }
    int status;
    cr_expect(waitpid(pid, &status, 0) == pid && status == 0);
    cr_expect_eq(rota_write_all(p.in, "\n", 1, NULL), 0);
    cr_expect_eq(wait_for(&p), 2);
    return rota_process_close(&p);
}

Task_test(process, after_fork_it_is_the_parents) { return fork_inside(NULL); }

/* ---- communicate ---- */

/* More than any pipe holds, both ways at the same time. */
Task_test(process, much_goes_in_and_comes_out) {
    enum { MUCH = 3 << 20 };
    unsigned char *bytes = malloc(MUCH);
    for (size_t i = 0; i < MUCH; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    rota_process_output o = {0};
    cr_expect_eq(rota_process_run(SHELL("tee /dev/stderr"), bytes, MUCH, &o, NULL), 0);
    cr_expect(o.status == 0 && o.out_n == MUCH && o.err_n == MUCH);
    cr_expect(o.out && memcmp(o.out, bytes, MUCH) == 0);
    cr_expect(o.err && memcmp(o.err, bytes, MUCH) == 0);
    rota_process_output_free(&o);
    rota_process_output_free(&o);
    cr_expect_null(o.out);
    free(bytes);
    return 0;
}

Task_test(process, output_errors_and_status) {
    rota_process_output o = {0};
    cr_expect_eq(rota_process_run(SHELL("cat; echo b >&2; exit 8"), "aaa", 3, &o, NULL), 0);
    cr_expect_str_eq(o.out, "aaa");
    cr_expect_str_eq(o.err, "b\n");
    cr_expect_eq(rota_process_exit_code(o.status), 8);
    rota_process_output_free(&o);
    cr_expect_eq(rota_process_run(SHELL("exit 0"), NULL, 0, &o, NULL), 0);
    cr_expect(o.out && !*o.out && o.err && !*o.err && o.out_n == 0);
    rota_process_output_free(&o);
    return 0;
}

Task_test(process, more_than_the_limit) {
    rota_process_output o = {.limit = 5};
    cr_expect_eq(rota_process_run(SHELL("echo 12345"), NULL, 0, &o, NULL), -EMSGSIZE);
    cr_expect_str_eq(o.out, "12345");
    cr_expect_eq(o.status, -1);
    rota_process_output_free(&o);
    cr_expect_eq(rota_process_run(SHELL("printf 12345"), NULL, 0, &o, NULL), 0, "the limit itself is fine");
    cr_expect_str_eq(o.out, "12345");
    rota_process_output_free(&o);
    cr_expect_eq(rota_process_run(SHELL("yes"), NULL, 0, &o, NULL), -EMSGSIZE, "one that never ends");
    rota_process_output_free(&o);
    reaped_soon();
    return 0;
}

static intptr_t run_for_ever(void *o) {
    return rota_process_run(SHELL("echo begun; sleep 1000"), NULL, 0, o, &(rota_process_options){.kill_group = true});
}

static intptr_t run_within(void *unused) {
    rota_process_output o = {0};
    (void)unused;
    cr_expect_eq(rota_timeout(100 * ROTA_MS, run_for_ever, &o), -ETIMEDOUT);
    cr_expect(!o.out || strncmp(o.out, "begun\n", o.out_n) == 0, "what came is there");
    rota_process_output_free(&o);
    reaped_soon();
    return 0;
}

Task_test(process, a_timeout_ends_a_run) { return run_within(NULL); }

static intptr_t talk_for_ever(void *p) {
    rota_process_output o = {0};
    int rc = rota_process_communicate(p, "x", 1, &o);
    rota_process_output_free(&o);
    return rc;
}

Task_test(process, a_cancelled_communicate_leaves_it_open) {
    rota_process p;
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE, .kill_group = true};
    cr_expect_eq(spawn(&p, "exec sleep 1000", &opt), 0);
    cr_expect_eq(rota_timeout(ROTA_MS, talk_for_ever, &p), -ETIMEDOUT);
    cr_expect_eq(rota_process_status(&p, NULL), -EAGAIN);
    cr_expect_eq(rota_process_kill(&p, SIGKILL), 0);
    cr_expect_eq(wait_for(&p), -1);
    rota_process_output o = {0};
    cr_expect_eq(rota_process_communicate(&p, NULL, 0, &o), 0, "what is left can still be had");
    cr_expect_eq(rota_process_exit_signal(o.status), SIGKILL);
    cr_expect_eq(p.out, -1);
    rota_process_output_free(&o);
    cr_expect_eq(rota_process_communicate(&p, NULL, 0, &o), 0);
    cr_expect_eq(rota_process_communicate(&p, "x", 1, &o), -EINVAL, "no pipe to write to");
    rota_process_output_free(&o);
    return rota_process_close(&p);
}

Task_test(process, one_talk_at_a_time) {
    rota_process p;
    rota_task *talker;
    rota_process_output o = {0};
    rota_process_options opt = {.out = ROTA_PROCESS_PIPE};
    cr_expect_eq(spawn(&p, "exec sleep 1000", &opt), 0);
    cr_expect_eq(rota_spawn(&talker, talk_and_see_it_close, &p, NULL), 0);
    cr_expect_eq(rota_sleep(1), 0);
    cr_expect_eq(rota_process_communicate(&p, NULL, 0, &o), -EBUSY);
    cr_expect_eq(rota_process_close(&p), 0);
    return rota_join(talker, NULL);
}

Task_test(process, somebody_else_takes_the_status) {
    rota_process p;
    cr_expect_eq(spawn(&p, "exit 3", NULL), 0);
    cr_expect_eq(waitpid(p.pid, NULL, 0), p.pid);
    cr_expect_eq(rota_process_kill(&p, SIGKILL), -ESRCH, "and the number is not used");
    int status;
    cr_expect_eq(rota_process_wait(&p, &status), -ECHILD);
    cr_expect_eq(rota_process_wait(&p, &status), -ECHILD);
    return rota_process_close(&p);
}

/* ---- the way for emulators and other systems ---- */

static const struct rota__sys *real_sys = &rota__sys_real;

static int no_pidfd(pid_t pid) {
    (void)pid;
    return -ENOSYS;
}

static int spawn_without(const struct rota__spawn *how, pid_t *pid, int *pidfd) {
    int rc = real_sys->spawn(how, pid, pidfd);
    if (*pidfd >= 0)
        close(*pidfd);
    *pidfd = -1;
    return rc;
}

static intptr_t several(void *unused) {
    (void)unused;
    for (int i = 0; i < 5; i++)
        cr_expect_eq(end_with((void *)(intptr_t)i), i);
    cr_expect_str_eq(say("echo hello"), "hello\n");
    return fork_inside(NULL);
}

Test(process, without_pidfds) {
    struct rota__sys sys = rota__sys_real;
    sys.pidfd_open = no_pidfd;
    sys.spawn = spawn_without;
    rota__sys = &sys;
    cr_expect_eq(run_task(several, NULL), 0);
    cr_expect_eq(run_task(run_within, NULL), 0);
    rota__sys = &rota__sys_real;
    cr_expect(no_children());
}

/* SIGCHLD ignored: the kernel reaps. Nothing hangs. */
static intptr_t ignored(void *unused) {
    rota_process p;
    int status = 0;
    (void)unused;
    cr_expect_eq(spawn(&p, "exit 3", NULL), 0);
    int rc = rota_process_wait(&p, &status);
    cr_expect(rc == -ECHILD || (rc == 0 && rota_process_exit_code(status) == 3), "%d", rc);
    return rota_process_close(&p);
}

Test(process, sigchld_is_ignored) {
    signal(SIGCHLD, SIG_IGN);
    cr_expect_eq(run_task(ignored, NULL), 0);
    signal(SIGCHLD, SIG_DFL);
}
