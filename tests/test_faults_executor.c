/* Every allocation of a program with jobs in threads fails once, and from there on, and so does the making of every
 * thread: each run ends, with success or an error, and everything is back (G06, I01). */
#include <stdatomic.h>

#include "rota/executor.h"
#include "tests/fault_kit.h"

static atomic_int destroyed;
static int begun;

static intptr_t seven(void *unused) {
    (void)unused;
    return 7;
}

static void destroy(void *unused) {
    (void)unused;
    destroyed++;
}

static intptr_t offload(void *executor) {
    rota_offload_options opt = { .executor = executor, .abandon = true, .destroy = destroy };
    intptr_t v = 0;
    begun++;
    int rc = rota_offload(seven, NULL, &v, &opt);
    cr_expect_eq(v, rc < 0 ? rc : 7);
    return rc;
}

static intptr_t many(void *executor) {
    rota_call calls[12];
    for (int i = 0; i < 12; i++)
        calls[i] = (rota_call){ offload, i % 2 ? executor : NULL, 0 };
    return rota_gather(calls, 12, NULL);
}

static intptr_t program(void *unused) {
    rota_executor_options opt = { .threads = 3, .allocator = &memory_allocator };
    rota_executor *executor;
    (void)unused;
    int rc = rota_executor_new(&executor, &opt);
    if (rc < 0)
        return rc;
    intptr_t v = many(executor);
    rc = rota_executor_drain(executor);
    cr_expect(rc == 0 || rc == -ENOMEM, "%d", rc);
    cr_expect_eq(rota_executor_free(executor), 0);
    return v;
}

static void prepare(const struct fault_row *row) {
    (void)row;
    begun = 0;
    destroyed = 0;
}

static void check(const char *what, size_t at, intptr_t value) {
    (void)value;
    cr_expect_eq(destroyed, begun, "%s %zu: every argument once", what, at);
}

/* One failing alone leaves the others; all failing, there is an error for each call. */
static const struct fault_row rows[] = { { FAULT_thread, -EAGAIN, 0, NULL } };

static const struct fault_program jobs = {
    .body = program, .rows = rows, .n_rows = 1, .prepare = prepare, .check = check,
};

Test(faults_executor, each_thread_fails_once, .timeout = 60) { fault_each_call(&jobs, false); }
Test(faults_executor, each_thread_fails_and_all_later_ones, .timeout = 60) { fault_each_call(&jobs, true); }
Test(faults_executor, each_allocation_fails_once, .timeout = 60) { fault_each_allocation(&jobs, false); }
Test(faults_executor, each_allocation_fails_and_all_later_ones, .timeout = 60) { fault_each_allocation(&jobs, true); }
