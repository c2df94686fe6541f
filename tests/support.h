/* What tests of tasks have in common: they run under the virtual clock, with a hook that collects reports and an
 * allocator that keeps books; and after each run everything must be back (the oracle of every case).
 *
 *     Task_test(suite, name) { ...; return 0; }     a test whose body is the main task of a rota_run
 *
 * In such a body, and everywhere in tasks, use cr_expect: a failed cr_assert would leap across stacks.
 */
#ifndef ROTA_TESTS_SUPPORT_H
#define ROTA_TESTS_SUPPORT_H

#include <stdio.h>
#include <string.h>

#include "rota/coro.h"
#include "tests/harness.h"

/* ---- reports ---- */

enum { MAX_REPORTS = 64 };

struct reports {
    int n;          /* how many there were; the first MAX_REPORTS are kept */
    struct kept_report {
        int kind, error;
        char task[32];
        char text[2048];
        rota_at at;
    } all[MAX_REPORTS];
};

extern struct reports reports;   /* of this run */

void collect_report(void *ctx, const rota_report *report);

/* How many reports of a kind there were; the first one of a kind (an empty one, never NULL, if there is none). */
int reports_of(int kind);
const struct kept_report *report_of(int kind);

/* Built without the details of reports, which are not looked for then. */
#ifdef ROTA_TESTS_BRIEF_REPORTS
enum { BRIEF_REPORTS = 1 };
#else
enum { BRIEF_REPORTS = 0 };
#endif
static inline bool report_says(const struct kept_report *report, const char *words) {
    return BRIEF_REPORTS || strstr(report->text, words);
}

/* ---- memory ---- */

/* Counts, checks that sizes given back are those that were asked for, and fails on demand. */
struct memory {
    size_t blocks, bytes;   /* that are out */
    size_t calls;           /* that asked for memory, so far */
    size_t fail_at;         /* the call that fails, counted from 1; 0: none */
    bool fail_on;           /* all later ones fail too */
    size_t failed;          /* how many did */
    size_t mistakes;        /* a wrong size given back, a foreign pointer */
};

extern struct memory memory;     /* of this run */
extern const rota_allocator memory_allocator;

/* ---- running ---- */

/* Virtual clock, the hook, the allocator. */
rota_loop_options test_options(void);

/* Forgets reports, and what was counted. */
void test_begin(void);

/* Waits until no more threads are left than there were at the first test_begin, where the system tells: those of
 * executors end by themselves, and until then valgrind finds the C library's memory of them. (Criterion has one of its
 * own, and so has an emulator.) */
void wait_for_threads(void);

/* The oracle: descriptors and memory are as they were at test_begin, no loop is current. */
void test_end(void);

/* rota_run between test_begin and test_end; opt NULL: test_options. Reports are left to the caller. */
int run_with(rota_fn *fn, void *arg, intptr_t *value, const rota_loop_options *opt);

/* The same, expecting 0 and no report; the value. */
intptr_t run_task(rota_fn *fn, void *arg);

/* For tests of callers outside of tasks: a loop with test_options that is current. */
rota_loop *open_loop(void);
void close_loop(rota_loop *loop);

#define Task_test(suite, name)                                                                      \
    static intptr_t suite##_##name##_task(void *unused);                                            \
    Test(suite, name) { cr_expect_eq(run_task(suite##_##name##_task, NULL), 0); }                   \
    static intptr_t suite##_##name##_task(void *unused __attribute__((unused)))

/* Where a test must be smaller, or makes no sense. */
bool under_valgrind(void);

/* ---- tasks that many tests need ---- */

/* What happened, one character at a time. */
extern char trace[256];
void note(char c);

intptr_t sleep_for(void *ns);          /* arg: int64_t *; what rota_sleep returns */
intptr_t wait_forever(void *unused);   /* until cancelled: -ECANCELED */
intptr_t return_arg(void *value);      /* ends at once with its argument, a number */

/* Exact, under the virtual clock. */
static inline int64_t since(int64_t start) { return rota_now() - start; }

#endif
