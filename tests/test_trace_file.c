/* The trace as a file: what is in it, when it is closed, and that a failing one hurts nobody. What a JSON reader says
 * of it: tests/trace/check.py. */
#include "rota/trace.h"
#include "tests/reactor_kit.h"
#include "tests/sys_table.h"

static char path[64];
static char text[1 << 18];

static void read_file(void) {
    text[0] = '\0';
    FILE *f = fopen(path, "r");
    if (!f)
        return;
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
}

static int count_of(const char *s) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, s)); at++)
        n++;
    return n;
}

static bool ends_with(const char *s) {
    size_t n = strlen(s), length = strlen(text);
    return length >= n && strcmp(text + length - n, s) == 0;
}

static void make_path(void) {
    strcpy(path, "/tmp/rota-trace-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void remove_file(void) { unlink(path); }

/* ---- what is written ---- */

static intptr_t nap(void *unused) {
    (void)unused;
    return rota_sleep(ROTA_MS);
}

static intptr_t traced_program(void *rc) {
    *(int *)rc = rota_trace_to_file(rota_loop_current(), path);
    cr_expect_eq(rota_spawn(NULL, nap, NULL, &(rota_spawn_options){ .name = "napper" }), 0);
    cr_expect_eq(rota_sleep(5 * ROTA_MS), 0);
    return 42;
}

Test(trace_file, a_program_is_written_as_slices_and_arrows, .init = make_path, .fini = remove_file) {
    intptr_t value;
    int rc;
    cr_expect_eq(run_with(traced_program, &rc, &value, NULL), 0);
    cr_expect_eq(rc, 0);
    read_file();
    cr_expect_eq(strncmp(text, "[\n{\"ph\":\"M\"", 11), 0);
    cr_expect(ends_with("}\n]\n"));
    cr_expect_eq(count_of("\"name\":\"napper #2\""), 1);
    cr_expect_eq(count_of("\"name\":\"waits for a time\""), 2);
    cr_expect_eq(count_of("\"ph\":\"B\""), count_of("\"ph\":\"E\""));
    cr_expect_eq(count_of("\"ph\":\"s\""), 3);  /* a spawn, two wakes */
    cr_expect_eq(count_of("\"ph\":\"f\""), 3);
    cr_expect_eq(count_of("{\"ph\":\"E\",\"pid\":1,\"tid\":2,\"ts\":5000.000,\"args\":{\"outcome\":42}}"), 1);
}

static intptr_t stop_half_way(void *unused) {
    (void)unused;
    rota_loop *loop_here = rota_loop_current();
    cr_expect_eq(rota_trace_to_file(loop_here, path), 0);
    cr_expect_eq(rota_trace_to_file(loop_here, path), -EALREADY);
    cr_expect_eq(rota_spawn(NULL, nap, NULL, &(rota_spawn_options){ .name = "napper" }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_trace_to_file(loop_here, NULL), 0);
    cr_expect_eq(rota_trace_to_file(loop_here, NULL), 0);
    cr_expect_eq(rota_spawn(NULL, nap, NULL, &(rota_spawn_options){ .name = "unseen" }), 0);
    return rota_sleep(5 * ROTA_MS);
}

Test(trace_file, it_can_be_ended_in_between, .init = make_path, .fini = remove_file) {
    intptr_t value;
    cr_expect_eq(run_with(stop_half_way, NULL, &value, NULL), 0);
    read_file();
    cr_expect(ends_with("}\n]\n"));
    cr_expect_eq(count_of("napper"), 1);
    cr_expect_eq(count_of("unseen"), 0);
    cr_expect_eq(count_of("\"ph\":\"B\""), count_of("\"ph\":\"E\""));
}

/* More than a buffer. */
static intptr_t many_naps(void *unused) {
    (void)unused;
    cr_expect_eq(rota_trace_to_file(rota_loop_current(), path), 0);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(rota_sleep(ROTA_MS), 0);
    return 0;
}

Test(trace_file, a_full_buffer_is_written_at_once, .init = make_path, .fini = remove_file) {
    intptr_t value;
    cr_expect_eq(run_with(many_naps, NULL, &value, NULL), 0);
    read_file();
    cr_expect_gt(strlen(text), 40000);
    cr_expect_eq(count_of("waits for a time"), 100);
    cr_expect(ends_with("}\n]\n"));
}

Test(trace_file, the_process_is_named_in_the_path, .init = kit_open_virtual, .fini = kit_close) {
    char template[64];
    snprintf(path, sizeof path, "/tmp/rota-trace-%d-%%", (int)getpid());
    strcpy(template, "/tmp/rota-trace-%p-%%");
    cr_assert_eq(rota_trace_to_file(loop, template), 0);
    cr_expect_eq(rota_trace_to_file(loop, NULL), 0);
    read_file();
    cr_expect(ends_with("\n]\n"));
    unlink(path);
}

/* ---- bad paths ---- */

Test(trace_file, what_cannot_be_a_trace_is_refused, .init = kit_open_virtual, .fini = kit_close) {
    char long_path[1100];
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    cr_expect_eq(rota_trace_to_file(NULL, "/dev/null"), -EINVAL);
    cr_expect_eq(rota_trace_to_file(loop, ""), -EINVAL);
    cr_expect_eq(rota_trace_to_file(loop, long_path), -ENAMETOOLONG);
    cr_expect_eq(rota_trace_to_file(loop, "/nowhere/at/all"), -ENOENT);
    cr_expect_eq(rota_trace_to_file(loop, "/tmp"), -EISDIR);
    cr_expect_eq(rota_trace_to_file(loop, "/dev/null"), 0);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_trace_to_file(loop, "/dev/null"), -ESHUTDOWN);
}

Test(trace_file, a_named_pipe_is_no_file_and_nobody_waits_for_its_reader, .init = kit_open_virtual, .fini = kit_close) {
    snprintf(path, sizeof path, "/tmp/rota-fifo-%d", (int)getpid());
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(rota_trace_to_file(loop, path), -ENXIO);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    cr_expect_eq(rota_trace_to_file(loop, path), -ESPIPE);
    close(reader);
    unlink(path);
}

/* ---- faults ---- */

static struct { int writes, fail_at, short_at; bool on; int error; } disk;

static ssize_t failing_pwrite(int fd, const void *buf, size_t n, off_t offset) {
    int call = ++disk.writes;
    if (disk.fail_at && (call == disk.fail_at || (disk.on && call > disk.fail_at)))
        return disk.error;
    if (call == disk.short_at)
        n = n > 7 ? 7 : n;
    return rota__sys_real.pwrite(fd, buf, n, offset);
}

static int failing_open(const char *name, int flags, mode_t mode) {
    return (void)name, (void)flags, (void)mode, -EMFILE;
}

static intptr_t whatever_the_disk_does(void *rc) {
    *(int *)rc = rota_trace_to_file(rota_loop_current(), path);
    for (int i = 0; i < 150; i++)
        cr_expect_eq(rota_sleep(ROTA_MS), 0);
    return 42;
}

static void run_on_disk(int expected, int expected_reports) {
    intptr_t value;
    int rc;
    disk.writes = 0;
    kit_meddle();
    kit_sys.pwrite = failing_pwrite;
    cr_expect_eq(run_with(whatever_the_disk_does, &rc, &value, NULL), 0);
    rota__sys = &rota__sys_real;
    cr_expect_eq(value, 42);
    cr_expect_eq(rc, expected);
    cr_expect_eq(reports_of(ROTA_REPORT_TRACE), expected_reports, "%d reports", reports.n);
    read_file();
}

Test(trace_file, a_full_disk_ends_the_trace_and_nothing_else, .init = make_path, .fini = remove_file) {
    disk.error = -ENOSPC;
    for (disk.fail_at = 1; disk.fail_at < 5; disk.fail_at++) {
        run_on_disk(disk.fail_at == 1 ? -ENOSPC : 0, disk.fail_at > 1);
        if (disk.fail_at > 1)
            cr_expect(ends_with("}\n]\n")); /* what came before is whole */
    }
    disk.on = true;
    disk.fail_at = 2;
    run_on_disk(0, 1);
    cr_expect(ends_with("}"));
    cr_expect_not_null(strstr(report_of(ROTA_REPORT_TRACE)->text, path));
    cr_expect_eq(report_of(ROTA_REPORT_TRACE)->error, -ENOSPC);
}

Test(trace_file, interrupted_and_short_writes_go_on, .init = make_path, .fini = remove_file) {
    disk.error = -EINTR;
    disk.fail_at = 2;
    disk.short_at = 3;
    run_on_disk(0, 0);
    cr_expect(ends_with("}\n]\n"));
    cr_expect_eq(count_of("waits for a time"), 150);
}

static void open_meddled(void) {
    kit_meddle();
    kit_sys.open = failing_open;
    kit_open_virtual();
}

Test(trace_file, no_descriptor_no_trace, .init = open_meddled, .fini = kit_close) {
    cr_expect_eq(rota_trace_to_file(loop, "/dev/null"), -EMFILE);
    turn_once(0);
}

Test(trace_file, no_memory_no_trace, .init = kit_open_virtual, .fini = kit_close) {
    for (size_t at = 1; at <= 2; at++) {
        memory.fail_at = memory.calls + at;
        cr_expect_eq(rota_trace_to_file(loop, "/dev/null"), -ENOMEM);
    }
    memory.fail_at = 0;
    cr_expect_eq(rota_trace_to_file(loop, "/dev/null"), 0);
}

/* ---- the environment ---- */

static intptr_t nap_42(void *unused) {
    (void)unused;
    return rota_sleep(ROTA_MS) == 0 ? 42 : 0;
}

/* That of the environment stays open as long as the process: the next loop's lines go behind. */
static void close_the_trace_of_the_process(void) {
    struct stat file, st;
    cr_expect_eq(stat(path, &file), 0);
    for (int fd = 3; fd < 64; fd++)
        if (fstat(fd, &st) == 0 && st.st_dev == file.st_dev && st.st_ino == file.st_ino)
            close(fd);
}

Test(trace_file, the_environment_turns_it_on_for_one_loop_after_the_other, .init = make_path, .fini = remove_file) {
    intptr_t value;
    rota_loop_options options = { .virtual_clock = true, .report = collect_report };
    setenv("ROTA_TRACE", path, 1);
    for (int i = 1; i <= 3; i++) {
        cr_expect_eq(rota_run(nap_42, NULL, &value, &options), 0);
        cr_expect_eq(value, 42);
        read_file();
        cr_expect(ends_with("}\n]\n"));
        cr_expect_eq(count_of("process_name"), i);
    }
    unsetenv("ROTA_TRACE");
    cr_expect_eq(reports.n, 0);
    close_the_trace_of_the_process();
}

Test(trace_file, a_path_that_does_not_work_is_reported_once) {
    intptr_t value;
    rota_loop_options options = { .virtual_clock = true, .report = collect_report };
    setenv("ROTA_TRACE", "/nowhere/at/all", 1);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_run(nap_42, NULL, &value, &options), 0);
    unsetenv("ROTA_TRACE");
    cr_expect_eq(reports_of(ROTA_REPORT_TRACE), 1);
    cr_expect_eq(report_of(ROTA_REPORT_TRACE)->error, -ENOENT);
}
