/* Every allocation of a program with jobs in threads fails once, and from there on, and so does the making of every
 * thread: each run ends, with success or an error, and everything is back (G06, I01). */
#include <stdatomic.h>

#include "reactor/sys.h"
#include "rota/executor.h"
#include "tests/net_kit.h"

static atomic_int destroyed;
static int begun;
static struct {
    int made, at;
    bool on;
} faults;

static int failing_thread(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack_size) {
    int n = ++faults.made;
    return faults.at && (n == faults.at || (faults.on && n > faults.at)) ? -EAGAIN
                                                                         : rota__sys_real.thread(thread, fn, arg, stack_size);
}

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

static bool runs(const char *what, int at) {
    rota_loop_options opt = test_options();
    intptr_t v = 1;
    int rc = rota_run(program, NULL, &v, &opt);
    wait_for_threads();
    cr_expect(rc <= 0 && (v == 0 || rota_failed(v)), "%s %d: run %d, value %ld", what, at, rc, (long)v);
    cr_expect_eq(destroyed, begun, "%s %d: every argument once", what, at);
    test_end();
    return rc == 0 && v == 0;
}

static void begin(int thread, bool on) {
    faults.made = begun = 0;
    faults.at = thread;
    faults.on = on;
    destroyed = 0;
    use_shim()->thread = failing_thread;
    test_begin();
}

/* One failing alone leaves the others; all failing, there is an error for each call. */
static void fail_each_thread(bool on) {
    for (int at = 1; at <= 8; at++) {
        begin(at, on);
        (void)runs("thread", at);
    }
}

Test(faults_executor, each_thread_fails_once, .timeout = 60) { fail_each_thread(false); }
Test(faults_executor, each_thread_fails_and_all_later_ones, .timeout = 60) { fail_each_thread(true); }

static void fail_each_allocation(bool on) {
    begin(0, false);
    cr_expect(runs("nothing", 0));
    size_t calls = memory.calls;
    cr_expect_gt(calls, 0u);
    for (size_t at = 1; at <= calls; at++) {
        begin(0, false);
        memory.fail_at = at;
        memory.fail_on = on;
        (void)runs("allocation", (int)at);
    }
}

Test(faults_executor, each_allocation_fails_once, .timeout = 60) { fail_each_allocation(false); }
Test(faults_executor, each_allocation_fails_and_all_later_ones, .timeout = 60) { fail_each_allocation(true); }
