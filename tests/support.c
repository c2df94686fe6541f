/* See support.h. */
#include "tests/support.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>

#include "coro/sanitize.h"

struct reports reports;
struct memory memory;
char trace[256];
static int descriptors_before;

/* ---- reports ---- */

void collect_report(void *ctx, const rota_report *report) {
    (void)ctx;
    if (reports.n++ >= MAX_REPORTS)
        return;
    struct kept_report *kept = &reports.all[reports.n - 1];
    kept->kind = report->kind;
    kept->error = report->error;
    kept->at = report->at;
    snprintf(kept->task, sizeof kept->task, "%s", report->task ? report->task : "");
    snprintf(kept->text, sizeof kept->text, "%s", report->text);
}

int reports_of(int kind) {
    int n = 0;
    for (int i = 0; i < reports.n && i < MAX_REPORTS; i++)
        n += reports.all[i].kind == kind;
    return n;
}

const struct kept_report *report_of(int kind) {
    static const struct kept_report none;
    for (int i = 0; i < reports.n && i < MAX_REPORTS; i++)
        if (reports.all[i].kind == kind)
            return &reports.all[i];
    return &none;
}

/* ---- memory ---- */

/* In front of each block; as large as the strictest alignment. */
union block {
    struct {
        size_t n;
        const struct memory *owner;
    } of;
    max_align_t align;
};

static bool must_fail(struct memory *m) {
    m->calls++;
    if (!m->fail_at || (m->calls != m->fail_at && !(m->fail_on && m->calls > m->fail_at)))
        return false;
    m->failed++;
    return true;
}

static void *give(struct memory *m, size_t n) {
    union block *block = must_fail(m) ? NULL : malloc(sizeof *block + n);
    if (!block)
        return NULL;
    block->of.n = n;
    block->of.owner = m;
    m->blocks++;
    m->bytes += n;
    memset(block + 1, 0xa5, n); /* nobody may count on zeroes */
    return block + 1;
}

static void take_back(struct memory *m, void *old, size_t old_n) {
    union block *block = (union block *)old - 1;
    if (block->of.owner != m || block->of.n != old_n)
        m->mistakes++;
    m->blocks--;
    m->bytes -= block->of.n;
    memset(block, 0x5a, sizeof *block + block->of.n);
    free(block);
}

static void *allocate(void *ctx, void *old, size_t old_n, size_t n) {
    struct memory *m = ctx;
    void *fresh = NULL;
    if (n && !(fresh = give(m, n)))
        return NULL;
    if (old && fresh)
        memcpy(fresh, old, old_n < n ? old_n : n);
    if (old)
        take_back(m, old, old_n);
    return fresh;
}

const rota_allocator memory_allocator = { allocate, &memory };

/* ---- running ---- */

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

rota_loop_options test_options(void) {
    return (rota_loop_options){ .virtual_clock = true, .report = collect_report, .allocator = &memory_allocator };
}

/* Of this process; 0 where the system does not tell. */
static int count_threads(void) {
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks)
        return 0;
    for (struct dirent *entry; (entry = readdir(tasks));)
        n += entry->d_name[0] != '.';
    closedir(tasks);
    return n;
}

static int threads_before;

void wait_for_threads(void) {
    int expected = threads_before ? threads_before : 1; /* in a test without test_begin */
    for (int tries = 0; tries < 100000 && count_threads() > expected; tries++)
        sched_yield();
}

void test_begin(void) {
    if (!threads_before)
        threads_before = count_threads();
    memset(&reports, 0, sizeof reports);
    memset(&memory, 0, sizeof memory);
    memset(trace, 0, sizeof trace);
    descriptors_before = open_descriptors();
}

void test_end(void) {
    int now = open_descriptors();
    cr_expect_eq(now, descriptors_before, "%d descriptors before, %d after", descriptors_before, now);
    cr_expect_eq(memory.blocks, 0u, "%zu blocks, %zu bytes were not freed", memory.blocks, memory.bytes);
    cr_expect_eq(memory.mistakes, 0u, "%zu blocks were freed with a wrong size", memory.mistakes);
    cr_expect_null(rota_loop_current());
}

int run_with(rota_fn *fn, void *arg, intptr_t *value, const rota_loop_options *opt) {
    rota_loop_options defaults = test_options();
    test_begin();
    int rc = rota_run(fn, arg, value, opt ? opt : &defaults);
    test_end();
    return rc;
}

intptr_t run_task(rota_fn *fn, void *arg) {
    intptr_t value = -1;
    int rc = run_with(fn, arg, &value, NULL);
    cr_expect_eq(rc, 0, "rota_run returned %d", rc);
    for (int i = 0; i < reports.n && i < MAX_REPORTS; i++)
        cr_expect(false, "report: %s", reports.all[i].text);
    return value;
}

rota_loop *open_loop(void) {
    rota_loop_options opt = test_options();
    rota_loop *loop = NULL;
    test_begin();
    int rc = rota_loop_new(&loop, &opt);
    cr_assert_eq(rc, 0);
    return loop;
}

void close_loop(rota_loop *loop) {
    cr_expect_eq(rota_loop_free(loop), 0);
    test_end();
}

bool under_valgrind(void) {
#ifdef ROTA__VALGRIND
    return RUNNING_ON_VALGRIND != 0;
#else
    return false;
#endif
}

/* ---- tasks ---- */

void note(char c) {
    size_t n = strlen(trace);
    if (n + 1 < sizeof trace)
        trace[n] = c;
}

intptr_t sleep_for(void *ns) { return rota_sleep(*(int64_t *)ns); }

intptr_t wait_forever(void *unused) {
    (void)unused;
    return rota_sleep_until(ROTA_FOREVER - 1);
}

intptr_t return_arg(void *value) { return (intptr_t)value; }
