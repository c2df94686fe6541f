/* Overflows that are named (H04): rota_loop_options.report_overflow, and debug mode. */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coro/sanitize.h"
#include "tests/sys_table.h"
#include "rota.h"
#include "tests/harness.h"
#include "tests/support.h"

/* Sanitizers bring handlers and signal stacks of their own, and other frames. */
#if !defined(ROTA__ASAN) && !defined(ROTA__TSAN)

static intptr_t recurse(void *arg) {
    volatile char frame[1000];
    frame[0] = arg != NULL;
    return frame[0] ? recurse(arg) + frame[0] : 0;
}

static intptr_t spawn_greedy(void *arg) {
    rota_task *task;
    int rc = rota_spawn(&task, recurse, arg, &(rota_spawn_options){ .name = "greedy", .stack_size = 16384 });
    return rc < 0 ? rc : rota_join(task, NULL);
}

static intptr_t write_nowhere(void *arg) {
    *(volatile char *)arg = 1;
    return 0;
}

struct outcome {
    int status;
    char text[1024];
};

/* What fn(arg) in a process of its own said on standard error, and how that ended. */
static struct outcome in_a_process(void (*fn)(void *arg), void *arg) {
    struct outcome outcome = { 0, "" };
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], 2);
        fn(arg);
        _exit(77);
    }
    close(fds[1]);
    size_t n = 0;
    ssize_t r;
    while (n < sizeof outcome.text - 1 && (r = read(fds[0], outcome.text + n, sizeof outcome.text - 1 - n)) > 0)
        n += (size_t)r;
    close(fds[0]);
    cr_assert_eq(waitpid(pid, &outcome.status, 0), pid);
    return outcome;
}

static void run_greedy(void *opt) { (void)!rota_run(spawn_greedy, (void *)1, NULL, opt); }

static void expect_named(const struct outcome *outcome) {
    cr_expect(WIFSIGNALED(outcome->status), "%x", (unsigned)outcome->status);
    cr_expect(strstr(outcome->text, "'greedy'") && strstr(outcome->text, "test_overflow.c:") &&
              strstr(outcome->text, "overran its stack of "), "%s", outcome->text);
}

Test(overflow, names_the_task_and_then_does_what_it_always_did) {
    struct outcome outcome = in_a_process(run_greedy, &(rota_loop_options){ .report_overflow = true });
    expect_named(&outcome);
}

Test(overflow, debug_mode_names_it) {
    struct outcome outcome = in_a_process(run_greedy, &(rota_loop_options){ .debug = true });
    expect_named(&outcome);
}

Test(overflow, without_either_nothing_is_said) {
    struct outcome outcome = in_a_process(run_greedy, &(rota_loop_options){ .debug = false });
    cr_expect(WIFSIGNALED(outcome.status));
    cr_expect(!strstr(outcome.text, "overran"), "%s", outcome.text);
}

static void run_first_of_two_freed(void *opt) {
    rota_loop *loop, *other;
    rota_task *task;
    (void)!rota_loop_new(&other, opt);
    (void)!rota_spawn(NULL, write_nowhere, &loop, NULL); /* the other loop's first task: it watches from here on */
    (void)!rota_loop_run(other);
    (void)!rota_loop_new(&loop, opt);
    (void)!rota_loop_set_current(loop);
    (void)!rota_spawn(&task, spawn_greedy, (void *)1, NULL);
    (void)rota_loop_free(other);
    (void)!rota_loop_run(loop);
}

Test(overflow, the_signal_stack_serves_all_loops_of_the_thread) {
    struct outcome outcome = in_a_process(run_first_of_two_freed, &(rota_loop_options){ .report_overflow = true });
    expect_named(&outcome);
}

static void on_fault(int signo, siginfo_t *info, void *context) {
    (void)info, (void)context;
    static const char said[] = "the earlier handler\n";
    (void)!write(2, said, sizeof said - 1);
    _exit(signo == SIGSEGV || signo == SIGBUS ? 42 : 43);
}

static void install_earlier(void) {
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

static void run_greedy_with_handler(void *opt) {
    install_earlier();
    run_greedy(opt);
}

Test(overflow, an_earlier_handler_comes_next) {
    struct outcome outcome = in_a_process(run_greedy_with_handler, &(rota_loop_options){ .report_overflow = true });
    cr_expect(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 42, "%x", (unsigned)outcome.status);
    const char *ours = strstr(outcome.text, "overran"), *its = strstr(outcome.text, "the earlier handler");
    cr_expect(ours && its && ours < its, "%s", outcome.text);
}

static void run_other_fault(void *opt) {
    void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0);
    install_earlier();
    (void)!rota_run(write_nowhere, page, NULL, opt);
}

Test(overflow, other_faults_are_passed_on_unseen) {
    if (under_valgrind())
        cr_skip_test("valgrind counts the fault as an error, and says so by the exit code");
    struct outcome outcome = in_a_process(run_other_fault, &(rota_loop_options){ .report_overflow = true });
    cr_expect(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 42, "%x", (unsigned)outcome.status);
    cr_expect_str_eq(outcome.text, "the earlier handler\n");
}

static intptr_t send_to_self(void *arg) {
    (void)arg;
    kill(getpid(), SIGSEGV);
    return rota_sleep(10 * ROTA_S);
}

static void run_sent(void *opt) { (void)!rota_run(send_to_self, NULL, NULL, opt); }

Test(overflow, a_signal_that_was_sent_still_ends_the_process) {
    struct outcome outcome = in_a_process(run_sent, &(rota_loop_options){ .report_overflow = true });
    cr_expect(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGSEGV, "%x", (unsigned)outcome.status);
    cr_expect(!strstr(outcome.text, "overran"), "%s", outcome.text); /* an emulator has words of its own */
}

static intptr_t nothing(void *arg) { return arg != NULL; }

Test(overflow, what_was_there_comes_back) {
    struct sigaction before, after;
    stack_t own, stack;
    cr_assert_eq(sigaltstack(NULL, &own), 0);
    cr_assert_eq(sigaction(SIGSEGV, NULL, &before), 0);
    cr_expect_eq(rota_run(nothing, NULL, NULL, &(rota_loop_options){ .report_overflow = true }), 0);
    cr_assert_eq(sigaction(SIGSEGV, NULL, &after), 0);
    cr_expect(before.sa_handler == after.sa_handler);
    cr_expect_eq(after.sa_flags & (SA_SIGINFO | SA_ONSTACK), before.sa_flags & (SA_SIGINFO | SA_ONSTACK));
    cr_assert_eq(sigaltstack(NULL, &stack), 0);
    cr_expect_eq(stack.ss_flags, own.ss_flags);
    cr_expect(stack.ss_flags & SS_DISABLE || stack.ss_sp == own.ss_sp);
}

/* Whatever cannot be had: the loop works, only the naming is missing. */
static int no_sigaltstack(const stack_t *stack, stack_t *old) { return stack || old ? -EPERM : 0; }
static int no_sigaction(int signo, const struct sigaction *action, struct sigaction *old) {
    return signo || action || old ? -EINVAL : 0;
}

Test(overflow, is_no_condition_for_a_loop) {
    struct rota__sys sys = rota__sys_real;
    rota__sys = &sys;
    sys.sigaltstack = no_sigaltstack;
    cr_expect_eq(rota_run(nothing, NULL, NULL, &(rota_loop_options){ .report_overflow = true }), 0);
    sys = rota__sys_real;
    sys.sigaction = no_sigaction;
    cr_expect_eq(rota_run(nothing, NULL, NULL, &(rota_loop_options){ .report_overflow = true }), 0);
    rota__sys = &rota__sys_real;
}

#endif
