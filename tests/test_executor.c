/* Thread executors: what jobs give, how they queue, how they are cancelled and abandoned, how executors end. Jobs
 * wait at gates, so that every order of events can be forced. Races that cannot are the stress program's. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "coro/task.h"
#include "rota/executor.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

/* ---- gates, and jobs that pass them ---- */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;

struct gate {
    int permits;
    pthread_cond_t more;
};

static struct gate entered = { 0, PTHREAD_COND_INITIALIZER }, go = { 0, PTHREAD_COND_INITIALIZER };

static bool may_pass(struct gate *gate) {
    pthread_mutex_lock(&gate_lock);
    bool open = gate->permits > 0;
    pthread_mutex_unlock(&gate_lock);
    return open;
}

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

/* The answer is there, and the task is cancelled before it hears of it: completion beats cancellation. */
Executor_test(cancelled_after_the_answer, 1) {
    options.abandon = true;
    options.destroy = destroy;
    rota_task *task = start_slow(5);
    pass(&entered);
    post(&go);
    for (int tries = 0; tries < 1000000 && !atomic_load(&rota_loop_current()->inbox->head); tries++)
        sched_yield();
    rota_cancel(task, "test");
    cr_expect_eq(finish(task), 5);
    cr_expect_eq(destroyed, 1);
    cr_expect_eq(on_thread, 0);
    return 0;
}

Executor_test(an_argument_is_destroyed_once_on_every_path, 1) {
    options.abandon = true;
    options.destroy = destroy;
    options.no_wait = true;
    rota_task *running = start_slow(1);
    pass(&entered);
    rota_task *queued = start_slow(2), *behind = start_slow(3);
    cr_expect_eq(rota_offload(quick, NULL, NULL, &options), -EAGAIN, "the queue is full");
    cr_expect_eq(destroyed, 1);
    cr_expect_eq(rota_offload(NULL, NULL, NULL, &options), -EINVAL);
    cr_expect_eq(destroyed, 2);
    rota_cancel(queued, "test");
    cr_expect_eq(finish(queued), -ECANCELED);
    cr_expect_eq(destroyed, 3);
    rota_scope scope;
    rota_timeout_begin(&scope, 0);
    int rc = rota_offload(quick, NULL, NULL, &options);
    cr_expect_eq(rota_scope_end(&scope, rc), -ETIMEDOUT);
    cr_expect_eq(destroyed, 4);
    post(&go);
    cr_expect_eq(finish(running), 1);
    cr_expect_eq(destroyed, 5);
    post(&go);
    cr_expect_eq(finish(behind), 3);
    cr_expect_eq(destroyed, 6);
    cr_expect_eq(on_thread, 0);
    cr_expect_eq(rota_executor_close(executor), 0);
    cr_expect_eq(rota_offload(quick, NULL, NULL, &options), -ESHUTDOWN);
    cr_expect_eq(destroyed, 7);
    return 0;
}

/* Those that hang must not keep the others from being served; five threads are all there may be for a limit of one. */
Executor_test(threads_in_abandoned_jobs_do_not_count, 1) {
    options.abandon = true;
    for (int i = 0; i < 5; i++) {
        rota_task *hanging = start_slow(i);
        pass(&entered);
        rota_cancel(hanging, "test");
        cr_expect_eq(finish(hanging), -ECANCELED);
        if (i < 4)
            cr_expect_eq(offload_quick((void *)9), 9);
    }
    rota_task *waits = start_quick(8);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(rota_yield(), 0);
    cr_expect(!rota_task_done(waits));
    post(&go); /* one comes back */
    cr_expect_eq(finish(waits), 8);
    for (int i = 0; i < 4; i++)
        post(&go);
    return 0;
}

/* ---- the queue ---- */

/* G02 */
Executor_test(a_full_queue_refuses_or_makes_wait, 1) {
    enum { TASKS = 50 };
    rota_task *first = start_slow(1), *tasks[TASKS];
    pass(&entered);
    for (int i = 0; i < TASKS; i++)
        tasks[i] = start_quick(i);
    options.no_wait = true;
    for (int i = 0; i < 100; i++)
        cr_expect_eq(rota_offload(quick, NULL, NULL, &options), -EAGAIN);
    post(&go);
    cr_expect_eq(finish(first), 1);
    for (int i = 0; i < TASKS; i++)
        cr_expect_eq(finish(tasks[i]), i);
    cr_expect_eq(rota_offload(quick, NULL, NULL, &options), 0);
    return 0;
}

static char order[8];

static intptr_t note_order(void *arg) {
    order[ran++] = (char)(intptr_t)arg;
    return 0;
}

static intptr_t offload_note(void *arg) { return rota_offload(note_order, arg, NULL, &options); }

Executor_test(jobs_start_in_order, 1) {
    rota_task *tasks[5], *first = start_slow('0');
    pass(&entered);
    for (int i = 0; i < 5; i++)
        tasks[i] = start(offload_note, (void *)(intptr_t)('a' + i));
    memset(order, 0, sizeof order);
    post(&go);
    cr_expect_eq(finish(first), '0');
    for (int i = 0; i < 5; i++)
        cr_expect_eq(finish(tasks[i]), 0);
    cr_expect_str_eq(order + 1, "abcde");
    return 0;
}

Executor_test(jobs_run_side_by_side, 3) {
    rota_task *tasks[3];
    for (int i = 0; i < 3; i++)
        tasks[i] = start_slow(i);
    for (int i = 0; i < 3; i++)
        pass(&entered);
    for (int i = 0; i < 3; i++)
        post(&go);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(finish(tasks[i]), i);
    return 0;
}

/* ---- what threads are like ---- */

static intptr_t look_around(void *arg) {
    sigset_t mask;
    rota_loop *loop = arg;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    cr_expect(sigismember(&mask, SIGTERM) && sigismember(&mask, SIGALRM) && sigismember(&mask, SIGUSR1));
    /* A18: a thread without a loop cannot suspend, nor touch somebody else's. */
    cr_expect_eq(rota_yield(), -EPERM);
    cr_expect_eq(rota_sleep(0), -EPERM);
    cr_expect_eq(rota_offload(quick, NULL, NULL, &options), -EPERM);
    cr_expect_eq(rota_executor_drain(executor), -EPERM);
    cr_expect_eq(rota_loop_stop(loop), -EPERM);
    cr_expect_null(rota_loop_current());
    return 0;
}

Executor_test(a_job_is_outside_of_tasks, 1) {
    return rota_offload(look_around, rota_loop_current(), NULL, &options);
}

#ifdef __linux__
static intptr_t read_name(void *arg) { return -pthread_getname_np(pthread_self(), arg, 16); }

static intptr_t name_body(void *unused) {
    char name[16] = "";
    (void)unused;
    cr_expect_eq(rota_offload(read_name, name, NULL, &options), 0);
    cr_expect_str_eq(name, "a name that is ");
    return rota_offload(read_name, name, NULL, NULL);
}

Test(executor, threads_have_the_name_that_was_asked_for, .fini = wait_for_threads) {
    rota_executor_options opt = { .threads = 1, .name = "a name that is too long", .stack_size = 1 << 20 };
    cr_assert_eq(rota_executor_new(&executor, &opt), 0);
    options = (rota_offload_options){ .executor = executor };
    cr_expect_eq(run_task(name_body, NULL), 0);
    free_executor();
}
#endif

/* ---- threads that cannot be made ---- */

static atomic_int made, refuse_from;

static int our_thread(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack_size) {
    if (refuse_from && made + 1 >= refuse_from)
        return -EAGAIN;
    made++;
    return rota__sys_real.thread(thread, fn, arg, stack_size);
}

/* G06 */
Executor_test(works_with_the_threads_there_are, 3) {
    use_shim()->thread = our_thread;
    made = 0;
    refuse_from = 1;
    cr_expect_eq(rota_offload(quick, NULL, NULL, &options), -EAGAIN);
    cr_expect_eq(rota_loop_current()->jobs, 0u);
    for (int most = 1; most <= 2; most++) {
        refuse_from = most + 1;
        rota_task *tasks[4];
        for (int i = 0; i < 4; i++)
            tasks[i] = start_slow(i);
        for (int i = 0; i < 4; i++)
            post(&go);
        for (int i = 0; i < 4; i++)
            cr_expect_eq(finish(tasks[i]), i);
        cr_expect_eq(made, most);
    }
    return 0;
}

/* ---- the end ---- */

static intptr_t drain(void *unused) {
    (void)unused;
    return rota_executor_drain(executor);
}

Executor_test(draining_waits_for_all_and_can_be_cancelled, 1) {
    cr_expect_eq(rota_executor_drain(executor), 0, "nothing was ever submitted");
    rota_task *running = start_slow(1), *queued = start_quick(2);
    rota_task *one = start(drain, NULL), *two = start(drain, NULL);
    pass(&entered);
    rota_cancel(one, "test");
    cr_expect_eq(finish(one), -ECANCELED);
    cr_expect(!rota_task_done(two));
    post(&go);
    cr_expect_eq(finish(two), 0);
    cr_expect_eq(finish(running), 1);
    cr_expect_eq(finish(queued), 2);
    cr_expect_eq(ran, 2);
    return 0;
}

Executor_test(draining_does_not_wait_for_abandoned_jobs, 1) {
    options.abandon = true;
    rota_task *task = start_slow(1), *drains = start(drain, NULL);
    pass(&entered);
    rota_cancel(task, "test");
    cr_expect_eq(finish(drains), 0);
    cr_expect_eq(finish(task), -ECANCELED);
    post(&go);
    return 0;
}

static void *let_go(void *unused) {
    (void)unused;
    for (int i = 0; i < 100; i++)
        sched_yield();
    post(&go);
    return NULL;
}

/* G05 */
Executor_test(closing_cancels_the_queue_and_waits_for_what_runs, 2) {
    pthread_t thread;
    rota_task *running = start_slow(1), *other = start_slow(2), *queued = start_quick(3);
    pass(&entered);
    pass(&entered);
    post(&go);
    cr_expect_eq(pthread_create(&thread, NULL, let_go, NULL), 0);
    cr_expect_eq(rota_executor_close(executor), 0);
    cr_expect_eq(ran, 2);
    pthread_join(thread, NULL);
    cr_expect_eq(finish(running), 1);
    cr_expect_eq(finish(other), 2);
    cr_expect_eq(finish(queued), -ESHUTDOWN);
    cr_expect_eq(offload_quick(NULL), -ESHUTDOWN);
    cr_expect_eq(rota_executor_drain(executor), 0);
    cr_expect_eq(rota_executor_close(executor), 0);
    return 0;
}

Executor_test(closing_does_not_wait_for_abandoned_jobs, 1) {
    options.abandon = true;
    options.destroy = destroy;
    rota_task *task = start_slow(1);
    pass(&entered);
    rota_cancel(task, "test");
    cr_expect_eq(finish(task), -ECANCELED);
    cr_expect_eq(rota_executor_close(executor), 0);
    cr_expect_eq(destroyed, 0);
    post(&go);
    cr_expect(becomes(&destroyed, 1));
    return 0;
}

static intptr_t close_from_inside(void *unused) {
    (void)unused;
    cr_expect_eq(rota_executor_free(executor), -EDEADLK);
    return rota_executor_close(executor);
}

/* G05 */
Executor_test(closing_from_a_job_is_a_deadlock, 1) {
    cr_expect_eq(rota_offload(close_from_inside, NULL, NULL, &options), -EDEADLK);
    cr_expect_eq(offload_quick((void *)1), 1, "nothing has happened");
    return 0;
}

/* ---- nothing is left of their threads ---- */

static atomic_int joined;

static int counting_join(pthread_t thread) {
    joined++;
    return rota__sys_real.thread_join(thread);
}

static intptr_t hold_until_all_wait(void *arg) {
    ran++;
    for (int tries = 0; tries < 1000000 && ran < 3; tries++)
        sched_yield();
    return (intptr_t)arg;
}

static intptr_t offload_together(void *in) {
    return rota_offload(hold_until_all_wait, NULL, NULL, &(rota_offload_options){ .executor = in });
}

static intptr_t three_at_once(void *unused) {
    rota_call calls[3];
    (void)unused;
    for (int i = 0; i < 3; i++)
        calls[i] = (rota_call){ offload_together, executor, 0 };
    return rota_gather(calls, 3, NULL);
}

static void count_threads_made(void) {
    struct rota__sys *sys = use_shim();
    sys->thread = our_thread;
    sys->thread_join = counting_join;
    made = refuse_from = joined = 0;
    forget_counts();
}

/* Valgrind calls memory of threads that still end "possibly lost", in the user's program. */
Test(executor, the_loops_own_threads_are_joined_when_it_closes) {
    count_threads_made();
    cr_expect_eq(run_task(three_at_once, NULL), 0);
    cr_expect_eq(made, 3);
    cr_expect_eq(joined, 3);
}

Test(executor, closing_joins_the_threads) {
    count_threads_made();
    open_executor(3);
    cr_expect_eq(run_task(three_at_once, NULL), 0);
    cr_expect_eq(joined, 0, "other loops may use them");
    cr_expect_eq(rota_executor_close(executor), 0);
    cr_expect_eq(made, 3);
    cr_expect_eq(joined, 3);
    free_executor();
    cr_expect_eq(joined, 3);
}

static intptr_t abandon_one(void *unused) {
    (void)unused;
    options = (rota_offload_options){ .abandon = true, .destroy = destroy };
    rota_task *task = start_slow(1);
    pass(&entered);
    rota_cancel(task, "test");
    cr_expect_eq(finish(task), -ECANCELED);
    options = (rota_offload_options){ 0 };
    return offload_quick((void *)5);
}

Test(executor, an_abandoned_thread_is_not_joined, .fini = wait_for_threads) {
    count_threads_made();
    cr_expect_eq(run_task(abandon_one, NULL), 5);
    cr_expect_eq(made, 2);
    cr_expect_eq(joined, 1);
    cr_expect_eq(destroyed, 0);
    post(&go);
    cr_expect(becomes(&destroyed, 1));
}

Test(executor, a_stack_that_no_thread_can_have_is_refused) {
    rota_executor *e = (rota_executor *)&e;
    cr_expect_eq(rota_executor_new(&e, &(rota_executor_options){ .stack_size = 1 }), -EINVAL);
    cr_expect_null(e);
}

/* The least that is taken can be had: it is no later call that says otherwise. */
Executor_test(the_least_stack_is_enough_for_a_thread, 1) {
    rota_executor *small = NULL;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = page;
    while (size < (size_t)1 << 24 &&
           rota_executor_new(&small, &(rota_executor_options){ .threads = 1, .stack_size = size }) == -EINVAL)
        size += page;
    options.executor = small;
    cr_expect_eq(offload_quick((void *)3), 3, "%zu bytes", size);
    cr_expect_eq(rota_executor_free(small), 0);
    return 0;
}

/* A loop does not collect executors that have gone. */
static intptr_t many_executors(void *unused) {
    (void)unused;
    size_t blocks = 0;
    for (int i = 0; i < 20; i++) {
        rota_executor_options opt = { .threads = 1, .allocator = &memory_allocator };
        cr_expect_eq(rota_executor_new(&executor, &opt), 0);
        options.executor = executor;
        cr_expect_eq(rota_offload(quick, NULL, NULL, &options), 0);
        cr_expect_eq(rota_executor_free(executor), 0);
        if (i == 2)
            blocks = memory.blocks;
    }
    cr_expect_eq(memory.blocks, blocks);
    return 0;
}

/* I02 */
Test(executor, memory_comes_back_to_its_allocator, .fini = wait_for_threads) {
    forget_counts();
    options = (rota_offload_options){ .executor = NULL };
    cr_expect_eq(run_task(many_executors, NULL), 0);
}

static intptr_t leave_running(void *unused) {
    (void)unused;
    options = (rota_offload_options){ .abandon = true, .destroy = destroy };
    rota_task_release(start_slow(1));
    pass(&entered);
    return 0;
}

Test(executor, closing_a_loop_waits_for_no_abandoned_job, .fini = wait_for_threads) {
    forget_counts();
    cr_expect_eq(run_task(leave_running, NULL), 0);
    cr_expect_eq(destroyed, 0);
    post(&go);
    cr_expect(becomes(&destroyed, 1));
}

/* ---- several loops ---- */

static intptr_t many_jobs(void *arg) {
    for (intptr_t i = 0; i < 50; i++)
        cr_expect_eq(offload_quick((void *)i), i);
    (void)arg;
    return 0;
}

static void *run_a_loop(void *arg) {
    rota_loop_options opt = { .virtual_clock = false };
    cr_expect_eq(rota_run(many_jobs, arg, NULL, &opt), 0);
    return NULL;
}

Test(executor, one_serves_several_loops_at_once, .fini = wait_for_threads) {
    pthread_t threads[3];
    forget_counts();
    open_executor(2);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, run_a_loop, NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(ran, 150);
    free_executor();
}

/* ---- fork ---- */

static intptr_t in_the_child(void *unused) {
    (void)unused;
    cr_expect_eq(rota_offload(quick, NULL, NULL, &options), -EINVAL);
    cr_expect_eq(rota_executor_drain(executor), -EINVAL);
    return rota_offload(quick, NULL, NULL, NULL); /* its loop's own executor is a new one */
}

static bool child_works(rota_loop *inherited) {
    intptr_t value = -1;
    return rota_executor_close(executor) == 0 && rota_run(in_the_child, NULL, &value, NULL) == 0 && value == 0 &&
           rota_executor_free(executor) == 0 && rota_loop_free(inherited) == 0;
}

static intptr_t use_both(void *value) {
    intptr_t rc = rota_offload(quick, NULL, NULL, NULL);
    return rc < 0 ? rc : offload_slow(value);
}

/* G09. One thread works, one is idle. */
Test(executor, a_child_after_fork_has_no_threads, .fini = wait_for_threads) {
    rota_loop *loop = open_loop();
    rota_task *task;
    intptr_t value = -1;
    int status = -1;
    forget_counts();
    open_executor(1);
    cr_assert_eq(rota_spawn(&task, use_both, (void *)1, NULL), 0);
    while (!may_pass(&entered))
        cr_assert_eq(rota_loop_turn(loop, ROTA_MS), 1);
    pid_t pid = fork();
    if (pid == 0) {
        /* Killed, so that no leak checker asks for the C library's memory of threads that do not exist there. */
        if (child_works(loop))
            (void)raise(SIGKILL);
        _exit(1);
    }
    cr_expect_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%d", status);
    post(&go);
    cr_expect_eq(rota_loop_run_until(loop, task, &value), 0);
    cr_expect_eq(value, 1);
    rota_task_release(task);
    close_loop(loop);
    free_executor();
}

/* ---- reports ---- */

static intptr_t look_at_description(void *unused) {
    char text[256];
    (void)unused;
    rota_task *task = start_slow(1);
    (void)rota_loop_describe(rota_loop_current(), text, sizeof text);
    cr_expect_not_null(strstr(text, "1 jobs"), "%s", text);
    cr_expect_str_eq(task->wait->what, "a job in a thread");
    post(&go);
    return finish(task) == 1 ? 0 : -EIO;
}

Test(executor, a_job_keeps_its_loop_alive, .fini = wait_for_threads) {
    forget_counts();
    options = (rota_offload_options){ .executor = NULL };
    cr_expect_eq(run_task(look_at_description, NULL), 0);
}
