/* Thread executors: what jobs give, how they queue, how they are cancelled and abandoned, how executors end. Jobs wait at
 * gates, so that every order of events can be forced. Races that cannot are the stress program's. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "coro/task.h"
#include "rota/executor.h"
#include "tests/net_kit.h"

/* ---- gates, and jobs that pass them ---- */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;

struct gate {
    int permits;
    pthread_cond_t more;
};

static struct gate entered = { 0, PTHREAD_COND_INITIALIZER }, go = { 0, PTHREAD_COND_INITIALIZER };

static void post(struct gate *gate) {
    pthread_mutex_lock(&gate_lock);
    gate->permits++;
    pthread_cond_signal(&gate->more);
    pthread_mutex_unlock(&gate_lock);
}

static void pass(struct gate *gate) {
    pthread_mutex_lock(&gate_lock);
    while (gate->permits == 0)
        pthread_cond_wait(&gate->more, &gate_lock);
    gate->permits--;
    pthread_mutex_unlock(&gate_lock);
}

static atomic_int ran, destroyed, discarded, on_thread;
static pthread_t main_thread;

static void forget_counts(void) {
    ran = destroyed = discarded = on_thread = 0;
    entered.permits = go.permits = 0;
    main_thread = pthread_self();
}

static intptr_t quick(void *arg) {
    ran++;
    return (intptr_t)arg;
}

static intptr_t slow(void *arg) {
    post(&entered);
    pass(&go);
    return quick(arg);
}

static void destroy(void *arg) {
    (void)arg;
    on_thread += !pthread_equal(pthread_self(), main_thread);
    destroyed++;
}

static void discard(intptr_t value, void *arg) {
    cr_expect_eq(value, (intptr_t)arg);
    cr_expect_eq(destroyed, 0);
    discarded++;
}

/* Until *counter, which threads change, is n; false when it does not come to that. */
static bool becomes(atomic_int *counter, int n) {
    for (int tries = 0; tries < 1000000 && *counter != n; tries++)
        sched_yield();
    return *counter == n;
}

/* ---- tasks in calls ---- */

static rota_executor *executor;
static rota_offload_options options;

static intptr_t offload_slow(void *arg) {
    rota_offload_options opt = options;
    intptr_t value = -1;
    int rc = rota_offload(slow, arg, &value, &opt);
    return rc < 0 ? rc : value;
}

static intptr_t offload_quick(void *arg) {
    rota_offload_options opt = options;
    intptr_t value = -1;
    int rc = rota_offload(quick, arg, &value, &opt);
    return rc < 0 ? rc : value;
}

static rota_task *start_slow(intptr_t value) { return start(offload_slow, (void *)value); }
static rota_task *start_quick(intptr_t value) { return start(offload_quick, (void *)value); }

static void open_executor(unsigned threads) {
    rota_executor_options opt = { .threads = threads, .queue = 2, .allocator = NULL };
    cr_expect_eq(rota_executor_new(&executor, &opt), 0);
    options = (rota_offload_options){ .executor = executor };
}

static void free_executor(void) { cr_expect_eq(rota_executor_free(executor), 0); }

/* A test with an executor of its own, of one thread unless said otherwise. */
#define Executor_test(name, threads)                                                            \
    static intptr_t name##_body(void);                                                          \
    static intptr_t name##_main(void *unused) {                                                 \
        (void)unused;                                                                           \
        return name##_body();                                                                   \
    }                                                                                           \
    Test(executor, name, .fini = wait_for_threads) {                                            \
        forget_counts();                                                                        \
        open_executor(threads);                                                                 \
        cr_expect_eq(run_task(name##_main, NULL), 0);                                           \
        free_executor();                                                                        \
    }                                                                                           \
    static intptr_t name##_body(void)

/* ---- results ---- */

Executor_test(gives_what_the_job_returns, 1) {
    intptr_t value = 0;
    cr_expect_eq(rota_offload(quick, (void *)7, &value, &options), 0);
    cr_expect_eq(value, 7);
    cr_expect_eq(rota_offload(quick, (void *)8, NULL, &options), 0, "a success without its value");
    cr_expect_eq(rota_offload(quick, (void *)9, &value, NULL), 0, "in the loop's own executor");
    cr_expect_eq(value, 9);
    cr_expect_eq(rota_loop_current()->jobs, 0u);
    return 0;
}

/* G01 */
Executor_test(a_failed_job_is_no_failed_call, 1) {
    intptr_t value = 0;
    cr_expect_eq(rota_offload(quick, (void *)-EIO, &value, &options), 0);
    cr_expect_eq(value, -EIO);
    cr_expect_eq(rota_offload(quick, (void *)-EIO, NULL, &options), -EIO, "the channels are merged");
    return 0;
}

/* I03 */
Executor_test(bad_arguments, 1) {
    static const rota_allocator none;
    rota_executor *e = executor;
    intptr_t value = 0;
    cr_expect_eq(rota_offload(NULL, NULL, &value, &options), -EINVAL);
    cr_expect_eq(value, -EINVAL);
    cr_expect_eq(rota_executor_new(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_executor_new(&e, &(rota_executor_options){ .allocator = &none }), -EINVAL);
    cr_expect_null(e);
    cr_expect_eq(rota_executor_drain(NULL), -EINVAL);
    cr_expect_eq(rota_executor_close(NULL), -EINVAL);
    cr_expect_eq(rota_executor_free(NULL), 0);
    return 0;
}

Test(executor, outside_of_tasks) {
    forget_counts();
    cr_expect_eq(rota_offload(quick, NULL, NULL, &(rota_offload_options){ .destroy = destroy }), -EPERM);
    cr_expect_eq(destroyed, 1);
    open_executor(1);
    cr_expect_eq(rota_executor_drain(executor), -EPERM);
    free_executor();
}

/* ---- cancelling ---- */

/* G03, B27 */
Executor_test(a_cancelled_queued_job_never_runs, 1) {
    rota_task *first = start_slow(1), *second = start_quick(2), *third = start_quick(3);
    pass(&entered);
    rota_cancel(second, "test");
    cr_expect_eq(finish(second), -ECANCELED);
    post(&go);
    cr_expect_eq(finish(first), 1);
    cr_expect_eq(finish(third), 3);
    cr_expect_eq(ran, 2);
    return 0;
}

static intptr_t then_yield(void *arg) {
    intptr_t value = offload_slow(arg);
    return value == 1 ? rota_yield() : -EIO;
}

/* G04: without abandon it waits, keeps the value, and the next call refuses. */
Executor_test(a_running_job_is_waited_for, 1) {
    rota_task *task = start(then_yield, (void *)1);
    pass(&entered);
    rota_cancel(task, "test");
    for (int i = 0; i < 10; i++)
        cr_expect_eq(rota_yield(), 0);
    cr_expect(!rota_task_done(task));
    post(&go);
    cr_expect_eq(finish(task), -ECANCELED);
    cr_expect_eq(ran, 1);
    return 0;
}

/* G04: with it, it does not; the pool destroys the argument later. */
Executor_test(an_abandoned_job_is_left_to_itself, 1) {
    options.abandon = true;
    options.destroy = destroy;
    options.discard = discard;
    rota_task *task = start_slow(5);
    pass(&entered);
    rota_cancel(task, "test");
    cr_expect_eq(finish(task), -ECANCELED);
    cr_expect_eq(rota_loop_current()->jobs, 0u, "it keeps nothing alive");
    cr_expect_eq(destroyed, 0);
    post(&go);
    cr_expect(becomes(&destroyed, 1));
    cr_expect_eq(on_thread, 1);
    cr_expect_eq(discarded, 1);
    return 0;
}
