/* Reports: the hook, and the line on standard error that is there when nobody asked for them. */
#include "tests/reactor_kit.h"

Test(report, the_hook_gets_everything, .init = kit_open, .fini = kit_close) {
    rota_at at = { "file.c", 7 };
    rota__report(loop, ROTA_REPORT_UNAWAITED, -EIO, "worker", &at, "some words");
    cr_assert_eq(reports.n, 1);
    const struct kept_report *report = report_of(ROTA_REPORT_UNAWAITED);
    cr_expect_eq(report->error, -EIO);
    cr_expect_str_eq(report->task, "worker");
    cr_expect_str_eq(report->text, "some words");
    cr_expect_str_eq(report->at.file, "file.c");
    cr_expect_eq(report->at.line, 7);
    rota__report(loop, ROTA_REPORT_STALE_FD, 0, NULL, NULL, "no place");
    cr_expect_null(report_of(ROTA_REPORT_STALE_FD)->at.file);
}

/* Standard error becomes a pipe; what the default hook writes is returned. */
static const char *written(const char *text) {
    static char buf[8192];
    rota_report report = { ROTA_REPORT_PENDING, 0, NULL, text, { NULL, 0 } };
    int ends[2], old = dup(2);
    make_pipe(ends);
    dup2(ends[1], 2);
    rota__report_stderr(NULL, &report);
    dup2(old, 2);
    close(old);
    close(ends[1]);
    ssize_t n = read(ends[0], buf, sizeof buf - 1);
    close(ends[0]);
    buf[n > 0 ? n : 0] = '\0';
    return buf;
}

Test(report, by_default_it_is_a_line_on_standard_error) {
    cr_expect_str_eq(written("words"), "rota: words\n");
    cr_expect_str_eq(written("two\nlines"), "rota: two\nlines\n");
}

Test(report, a_long_one_is_cut_and_still_a_line) {
    static char text[4000];
    memset(text, 'x', sizeof text - 1);
    const char *line = written(text);
    size_t n = strlen(line);
    cr_expect(n > 1000 && n <= 2048, "%zu bytes", n);
    cr_expect_eq(line[n - 1], '\n');
    cr_expect_eq(line[n - 2], 'x');
}

/* A library that speaks up must not kill a program whose standard error nobody reads. */
Test(report, a_broken_standard_error_does_not_kill) {
    int ends[2], old = dup(2);
    rota_report report = { ROTA_REPORT_PENDING, 0, NULL, "words", { NULL, 0 } };
    sigset_t before, after, pending;
    signal(SIGPIPE, SIG_DFL);
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    make_pipe(ends);
    close(ends[0]);
    dup2(ends[1], 2);
    rota__report_stderr(NULL, &report);
    dup2(old, 2);
    close(old);
    close(ends[1]);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    sigpending(&pending);
    cr_expect(!sigismember(&pending, SIGPIPE));
    cr_expect_eq(sigismember(&after, SIGPIPE), sigismember(&before, SIGPIPE));
}

Test(report, debug_mode_comes_from_the_environment) {
    static const struct { const char *value; bool debug; } cases[] = {
        { "1", true }, { "yes", true }, { "0", false }, { "", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("ROTA_DEBUG", cases[i].value, 1);
        kit_open();
        cr_expect_eq(loop->debug, cases[i].debug, "ROTA_DEBUG=%s", cases[i].value);
        kit_close();
    }
    unsetenv("ROTA_DEBUG");
    kit_open();
    cr_expect(!loop->debug);
    kit_close();
    kit_open_debug();
    cr_expect(loop->debug);
    kit_close();
}
