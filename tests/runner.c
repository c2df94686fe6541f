/* The plain test runner behind tests/harness.h.
 *
 * Every test runs in a process of its own, forked from this one, and its wait status is the verdict: a leak or
 * a memory error that a sanitizer or valgrind reports at exit makes the status non-zero and so fails the test.
 * What a test prints is kept in a file and shown only when it fails. The last line is
 * "N passed, N failed, N skipped"; the exit code is 0 when none failed, 1 when some did, 2 for a bad command.
 *
 * Nothing here may know the library: the runner must be right when the library is not.
 */
#ifndef _GNU_SOURCE
# define _GNU_SOURCE
#endif
#include "tests/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_FAILED = 121,   /* a child whose checks failed, */
    EXIT_SKIPPED = 122,  /* or that skipped itself: codes that no .exit_code should use */
    MAX_JOBS = 64,
    MAX_SHOWN = 20       /* failed checks of one test */
};

static struct test *tests, **tests_end = &tests;

static struct {
    const char **filters;
    int n_filters, jobs;
    double timeout, scale;
    bool no_fork, list, verbose, fds;
} options = { .timeout = 30, .scale = 1 };

static int passed, failed, skipped;

/* Of the process in which a test runs. */
static int failures;
static bool alone;      /* --no-fork */

void test_register(struct test *test) {
    *tests_end = test;
    tests_end = &test->next;
}

static void closing_line(void) {
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    fflush(stdout);
}

/* ---- in the test's process ---- */

void test_failed(bool fatal, const char *file, int line, const char *text, const char *format, ...) {
    va_list args;
    if (++failures > MAX_SHOWN && !fatal)
        return;
    fflush(stdout);
    fprintf(stderr, "  %s:%d: %s\n", file, line, text);
    if (strcmp(format, " ") != 0) {
        fputs("    ", stderr);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
    }
    if (!fatal)
        return;
    /* Leaving by exit rather than by longjmp is right on any stack. Alone, the remaining tests are lost. */
    if (!alone)
        _exit(EXIT_FAILED);
    fprintf(stderr, "  (a failed assertion ends the run in one process)\n");
    failed++;
    closing_line();
    _exit(1);
}

void test_skip(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    if (alone) {
        fprintf(stderr, "  (a test that skips itself needs a process of its own)\n");
        failed++;
        closing_line();
        _exit(1);
    }
    _exit(EXIT_SKIPPED);
}

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Runs one test here; true when none of its checks failed. */
static bool run_here(const struct test *test) {
    int before = options.fds ? open_descriptors() : 0;
    failures = 0;
    if (test->init)
        test->init();
    test->body();
    if (test->fini)
        test->fini();
    if (failures > MAX_SHOWN)
        fprintf(stderr, "  (%d failed checks in all)\n", failures);
    if (options.fds && open_descriptors() != before)
        test_failed(false, test->file, test->line, "descriptors left open", "%d before, %d after", before,
                    open_descriptors());
    return failures == 0;
}

/* ---- in the runner ---- */

struct job {
    const struct test *test;
    pid_t pid;
    FILE *output;
    double started, deadline;
    bool late;
};

static struct job jobs[MAX_JOBS];
static int child_ended[2];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void on_child(int signo) {
    int saved = errno;
    (void)signo;
    if (write(child_ended[1], "", 1) < 0) { /* full: the runner has enough to wake up for */ }
    errno = saved;
}

/* Children have process groups of their own, so the terminal's interrupt does not reach them. */
static void on_interrupt(int signo) {
    for (int i = 0; i < MAX_JOBS; i++)
        if (jobs[i].pid > 0)
            kill(-jobs[i].pid, SIGKILL);
    signal(signo, SIG_DFL);
    raise(signo);
}

static void child(const struct test *test, FILE *output) {
    struct rlimit no_core = { 0, 0 };
    int null = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    /* A sanitizer's handler would turn the expected signal into an exit code. */
    if (test->signal)
        signal(test->signal, SIG_DFL);
    close(child_ended[0]);
    close(child_ended[1]);
    if (null >= 0) {
        dup2(null, 0);
        close(null);
    }
    if (output) {
        dup2(fileno(output), 1);
        dup2(fileno(output), 2);
        close(fileno(output));
    }
    /* exit and not _exit: leak checkers report from there. */
    exit(run_here(test) ? 0 : EXIT_FAILED);
}

static void start(struct job *job, const struct test *test) {
    fflush(stdout);
    fflush(stderr);
    job->test = test;
    job->late = false;
    job->output = tmpfile();
    job->started = now();
    job->deadline = job->started + (test->timeout > 0 ? test->timeout : options.timeout) * options.scale;
    job->pid = fork();
    if (job->pid == 0)
        child(test, job->output);
    if (job->pid < 0) {
        perror("fork");
        exit(2);
    }
    /* Here too, since either process may be the first to need it. */
    setpgid(job->pid, job->pid);
}

static void show_output(FILE *output) {
    char line[4096];
    rewind(output);
    while (fgets(line, sizeof line, output))
        fputs(line, stdout);
}

/* Why the test failed, or NULL. */
static const char *verdict(const struct job *job, int status, char *text, size_t n) {
    const struct test *test = job->test;
    if (job->late)
        return "timed out";
    if (WIFSIGNALED(status)) {
        if (test->signal == WTERMSIG(status))
            return NULL;
        snprintf(text, n, "ended by signal %d", WTERMSIG(status));
        return text;
    }
    if (WEXITSTATUS(status) == EXIT_FAILED)
        return "checks failed";
    if (test->signal) {
        snprintf(text, n, "was not ended by signal %d", test->signal);
        return text;
    }
    if (WEXITSTATUS(status) == test->exit_code)
        return NULL;
    snprintf(text, n, "exit code %d", WEXITSTATUS(status));
    return text;
}

static void finish(struct job *job, int status) {
    const struct test *test = job->test;
    double took = now() - job->started;
    char text[64];
    const char *why = verdict(job, status, text, sizeof text);
    bool skip = !job->late && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED;
    kill(-job->pid, SIGKILL);   /* whatever the test left running */
    job->pid = 0;
    if (skip)
        skipped++;
    else if (why)
        failed++;
    else
        passed++;
    if (skip || why || options.verbose)
        printf("%s %s/%s (%s%s%.2f s)  %s:%d\n", skip ? "SKIP" : why ? "FAIL" : "pass", test->suite, test->name,
               why && !skip ? why : "", why && !skip ? ", " : "", took, test->file, test->line);
    if (job->output) {
        if (skip || why)
            show_output(job->output);
        fclose(job->output);
    }
    fflush(stdout);
}

static struct job *job_of(pid_t pid) {
    for (int i = 0; i < options.jobs; i++)
        if (jobs[i].pid == pid)
            return &jobs[i];
    return NULL;
}

/* Waits until a child ends or a deadline comes, and deals with both. */
static void wait_for_children(void) {
    struct pollfd readable = { .fd = child_ended[0], .events = POLLIN };
    double next = now() + 3600;
    char drain[64];
    int status;
    pid_t pid;
    for (int i = 0; i < options.jobs; i++)
        if (jobs[i].pid && !jobs[i].late && jobs[i].deadline < next)
            next = jobs[i].deadline;
    double left = next - now();
    poll(&readable, 1, left > 0 ? (int)(left * 1000) + 1 : 0);
    while (read(child_ended[0], drain, sizeof drain) > 0) { }
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct job *job = job_of(pid);
        if (job)
            finish(job, status);
    }
    for (int i = 0; i < options.jobs; i++)
        if (jobs[i].pid && !jobs[i].late && now() >= jobs[i].deadline) {
            jobs[i].late = true;
            kill(-jobs[i].pid, SIGKILL);
        }
}

static bool wanted(const struct test *test, const char *filter) {
    char name[512];
    snprintf(name, sizeof name, "%s/%s", test->suite, test->name);
    return fnmatch(filter, name, 0) == 0;
}

static bool selected(const struct test *test) {
    for (int i = 0; i < options.n_filters; i++)
        if (wanted(test, options.filters[i]))
            return true;
    return options.n_filters == 0;
}

static void run_alone(void) {
    alone = true;
    for (const struct test *test = tests; test; test = test->next) {
        if (!selected(test))
            continue;
        if (test->disabled || test->signal || test->exit_code) {
            skipped++;
            continue;
        }
        if (options.verbose) {
            printf("%s/%s\n", test->suite, test->name);
            fflush(stdout);
        }
        if (run_here(test)) {
            passed++;
        } else {
            failed++;
            printf("FAIL %s/%s  %s:%d\n", test->suite, test->name, test->file, test->line);
        }
    }
}

static void run_forked(void) {
    const struct test *test = tests;
    struct sigaction on = { .sa_handler = on_child, .sa_flags = SA_RESTART };
    int running = 0;
    if (pipe(child_ended)) {
        perror("pipe");
        exit(2);
    }
    for (int i = 0; i < 2; i++)
        fcntl(child_ended[i], F_SETFL, O_NONBLOCK);
    sigaction(SIGCHLD, &on, NULL);
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    do {
        for (; test && running < options.jobs; test = test->next) {
            if (!selected(test))
                continue;
            if (test->disabled) {
                skipped++;
                continue;
            }
            start(job_of(0), test);
            running++;
        }
        if (running)
            wait_for_children();
        running = 0;
        for (int i = 0; i < options.jobs; i++)
            running += jobs[i].pid != 0;
    } while (test || running);
}

static void check_names(void) {
    for (const struct test *a = tests; a; a = a->next)
        for (const struct test *b = a->next; b; b = b->next)
            if (strcmp(a->name, b->name) == 0 && strcmp(a->suite, b->suite) == 0) {
                fprintf(stderr, "%s/%s is in %s:%d and in %s:%d\n", a->suite, a->name, a->file, a->line, b->file,
                        b->line);
                exit(2);
            }
}

static void check_filters(void) {
    for (int i = 0; i < options.n_filters; i++) {
        const struct test *test = tests;
        while (test && !wanted(test, options.filters[i]))
            test = test->next;
        if (!test) {
            fprintf(stderr, "no test is called %s\n", options.filters[i]);
            exit(2);
        }
    }
    if (!tests) {
        fprintf(stderr, "there are no tests\n");
        exit(2);
    }
}

static void usage(const char *program) {
    fprintf(stderr,
            "usage: %s [options] [suite/name ...]   (shell patterns)\n"
            "  -j N          tests at once (default: one per CPU)\n"
            "  --list        names only\n"
            "  --no-fork     all in this process; leaves out those that expect a signal or an exit code\n"
            "  --timeout S   seconds for a test that says nothing else (30)\n"
            "  --scale F     multiplies every timeout: for valgrind and emulators\n"
            "  --fds         a test that leaves descriptors open fails\n"
            "  -v            name every test\n",
            program);
    exit(2);
}

static const char *value_of(char **argv, int *i) {
    if (!argv[*i + 1])
        usage(argv[0]);
    return argv[++*i];
}

static void parse(char **argv) {
    for (int i = 1; argv[i]; i++) {
        if (strcmp(argv[i], "-j") == 0)
            options.jobs = atoi(value_of(argv, &i));
        else if (strcmp(argv[i], "--timeout") == 0)
            options.timeout = atof(value_of(argv, &i));
        else if (strcmp(argv[i], "--scale") == 0)
            options.scale = atof(value_of(argv, &i));
        else if (strcmp(argv[i], "--no-fork") == 0)
            options.no_fork = true;
        else if (strcmp(argv[i], "--list") == 0)
            options.list = true;
        else if (strcmp(argv[i], "--fds") == 0)
            options.fds = true;
        else if (strcmp(argv[i], "-v") == 0)
            options.verbose = true;
        else if (argv[i][0] == '-')
            usage(argv[0]);
        else
            options.filters[options.n_filters++] = argv[i];
    }
    if (options.jobs < 1)
        options.jobs = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (options.jobs < 1)
        options.jobs = 1;
    if (options.jobs > MAX_JOBS)
        options.jobs = MAX_JOBS;
}

int main(int argc, char **argv) {
    const char *filters[argc];
    options.filters = filters;
    parse(argv);
    check_names();
    check_filters();
    if (options.list) {
        for (const struct test *test = tests; test; test = test->next)
            if (selected(test))
                printf("%s/%s\n", test->suite, test->name);
        return 0;
    }
    if (options.no_fork)
        run_alone();
    else
        run_forked();
    closing_line();
    return failed ? 1 : 0;
}
