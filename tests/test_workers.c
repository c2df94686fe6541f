/* Process executors: what jobs give, how large they may be, how workers end and are replaced, how calls are cancelled,
 * how executors and the server end. Jobs wait at gates, so that every order of events can be forced. */
#include "tests/workers_kit.h"
#include "tests/sys_table.h"

#include <pthread.h>

/* A test with a server, and in its main task an executor of so many workers. */
#define Workers_test(name, n_workers)                                   \
    static void name##_body(void);                                      \
    static intptr_t name##_main(void *unused) {                         \
        (void)unused;                                                   \
        open_workers(n_workers);                                        \
        name##_body();                                                  \
        free_workers();                                                 \
        return 0;                                                       \
    }                                                                   \
    Test(workers, name, .init = start_server, .fini = stop_server) {    \
        cr_expect_eq(run_task(name##_main, NULL), 0);                   \
    }                                                                   \
    static void name##_body(void)

/* ---- the server ---- */

Test(workers, the_server_starts_once, .init = use_kit_table) {
    cr_expect_eq(rota_fork_server_stop(), 0, "none");
    cr_expect_eq(rota_fork_server_start(), 0);
    cr_expect_eq(rota_fork_server_start(), -EALREADY);
    cr_expect_eq(rota_fork_server_stop(), 0);
    cr_expect_eq(rota_fork_server_stop(), 0);
    cr_expect_eq(rota_fork_server_start(), 0, "and again, when it was stopped");
    stop_server();
}

static atomic_int over;

static void *stay(void *unused) {
    (void)unused;
    while (!over)
        sleep_a_little();
    return NULL;
}

Test(workers, the_server_does_not_start_among_threads) {
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, stay, NULL), 0);
    cr_expect_eq(rota_fork_server_start(), -EBUSY);
    over = 1;
    cr_expect_eq(pthread_join(thread, NULL), 0);
}

Test(workers, the_server_does_not_start_in_a_loop) {
    rota_loop *loop = open_loop();
    cr_expect_eq(rota_fork_server_start(), -EBUSY);
    close_loop(loop);
}

static intptr_t without_server(void *unused) {
    rota_workers *w = (rota_workers *)1;
    (void)unused;
    cr_expect_eq(rota_workers_new(&w, NULL), -ENOTCONN);
    cr_expect_null(w);
    return 0;
}

Test(workers, there_is_none_without_a_server) { cr_expect_eq(run_task(without_server, NULL), 0); }

static int sys_three(void) { return 3; }
static int sys_unknown(void) { return -ENOSYS; }

Test(workers, the_server_needs_to_know_the_threads) {
    struct rota__sys sys = rota__sys_real;
    rota__sys = &sys;
    sys.threads = sys_three;
    cr_expect_eq(rota_fork_server_start(), -EBUSY);
    sys.threads = sys_unknown;
    cr_expect_eq(rota_fork_server_start(), -ENOTSUP);
    rota__sys = &rota__sys_real;
}

/* ---- results ---- */

Workers_test(gives_what_the_job_returns, 1) {
    cr_expect_eq(call_value(7), 7);
    cr_expect_eq(call_value(INTPTR_MIN), INTPTR_MIN);
    cr_expect_eq(common->ran, 2);
    cr_expect_neq(call_fn(job_pid, NULL), getpid());
    cr_expect_eq(rota_loop_current()->jobs, 0u);
    cr_expect_eq(rota_loop_current()->watchers, 0u, "idle workers keep no loop alive");
}

/* G01 */
Workers_test(a_failed_job_is_no_failed_call, 1) {
    intptr_t value = -EIO, got = 0;
    rota_worker_job job = {.fn = job_value, .in = &value, .in_n = sizeof value};
    cr_expect_eq(rota_workers_call(workers, &job, &got), 0);
    cr_expect_eq(got, -EIO);
    cr_expect_eq(rota_workers_call(workers, &job, NULL), -EIO, "the channels are merged");
    cr_expect_eq(job.status, -1);
}

/* I03 */
Workers_test(bad_arguments, 1) {
    rota_worker_job job = {.fn = NULL}, bytes = {.fn = job_pid, .in_n = 1}, room = {.fn = job_pid, .out_size = 1};
    intptr_t got = 0;
    cr_expect_eq(rota_workers_call(workers, &job, &got), -EINVAL);
    cr_expect_eq(got, -EINVAL);
    cr_expect_eq(rota_workers_call(workers, &bytes, NULL), -EINVAL);
    cr_expect_eq(rota_workers_call(workers, &room, NULL), -EINVAL);
    cr_expect_eq(rota_workers_call(workers, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_workers_call(NULL, &job, NULL), -EINVAL);
    cr_expect_eq(rota_workers_new(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_workers_drain(NULL), -EINVAL);
    cr_expect_eq(rota_workers_close(NULL), -EINVAL);
    cr_expect_eq(rota_workers_free(NULL), 0);
}

static void echo(size_t in_n, size_t out_size) {
    unsigned char *in = malloc(in_n + 1), *out = calloc(1, out_size + 1);
    size_t n = in_n < out_size ? in_n : out_size, wrong = 0;
    intptr_t got = -1;
    for (size_t i = 0; i < in_n; i++)
        in[i] = (unsigned char)(i * 7 + in_n);
    rota_worker_job job = {.fn = job_add_one, .in = in, .in_n = in_n, .out = out, .out_size = out_size};
    cr_expect_eq(rota_workers_call(workers, &job, &got), 0, "%zu, %zu", in_n, out_size);
    cr_expect_eq(got, (intptr_t)n);
    cr_expect_eq(job.out_n, n);
    for (size_t i = 0; i < n; i++)
        wrong += out[i] != (unsigned char)(in[i] + 1);
    cr_expect_eq(wrong, 0u, "%zu, %zu", in_n, out_size);
    cr_expect_eq(out[out_size], 0);
    free(in);
    free(out);
}

/* Both sides of the border between message and shared memory, in all combinations; a worker keeps both. */
Workers_test(bytes_of_every_size_go_in_and_out, 1) {
    static const size_t sizes[] = {
        0, 1, 100, ROTA__WORKER_INLINE, ROTA__WORKER_INLINE + 1, 5 << 20, 3
    };
    enum { N = sizeof sizes / sizeof *sizes };
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            echo(sizes[i], sizes[j]);
}

JOB(job_overclaims) {
    *out_n = out_size + 1;
    return 0;
}

static intptr_t limits(void *unused) {
    char bytes[11];
    (void)unused;
    cr_expect_eq(rota_workers_new(&workers, &(rota_workers_options){.workers = 1, .max_job_bytes = 10}), 0);
    rota_worker_job in = {.fn = job_pid, .in = bytes, .in_n = 11}, out = {.fn = job_pid, .out = bytes, .out_size = 11};
    cr_expect_eq(rota_workers_call(workers, &in, NULL), -EMSGSIZE);
    cr_expect_eq(rota_workers_call(workers, &out, NULL), -EMSGSIZE);
    rota_worker_job claims = {.fn = job_overclaims, .out = bytes, .out_size = 10};
    cr_expect_eq(rota_workers_call(workers, &claims, NULL), -EMSGSIZE);
    cr_expect_eq(claims.out_n, 0u);
    cr_expect_eq(call_value(3), 3, "the worker goes on");
    free_workers();
    return 0;
}

Test(workers, jobs_have_limits, .init = start_server, .fini = stop_server) { cr_expect_eq(run_task(limits, NULL), 0); }

/* ---- what a worker has ---- */

JOB(job_count_descriptors) {
    intptr_t n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

Workers_test(a_worker_has_no_descriptors_but_its_own, 1) {
    int extra = open("/dev/null", O_RDONLY);
    cr_expect_eq(call_fn(job_count_descriptors, NULL), 5, "0, 1, 2, its socket, its shared file");
    close(extra);
}

Workers_test(descriptors_here_are_close_on_exec, 1) {
    int before = 0;
    for (int fd = 3; fd < 256; fd++)
        before += fcntl(fd, F_GETFD) == 0;
    cr_expect_eq(call_value(1), 1);
    for (int fd = 3; fd < 256; fd++)
        before -= fcntl(fd, F_GETFD) == 0;
    cr_expect_eq(before, 0);
}

JOB(job_interrupts) {
    (void)raise(SIGINT);
    (void)raise(SIGQUIT);
    (void)raise(SIGHUP);
    return 5;
}

Workers_test(signals_of_the_terminal_do_not_end_a_worker, 1) { cr_expect_eq(call_fn(job_interrupts, NULL), 5); }

static void on_signal(int signo) { (void)signo; }

JOB(job_dispositions) {
    struct sigaction action;
    sigset_t mask;
    int wrong = sigaction(SIGUSR1, NULL, &action) != 0 || action.sa_handler != SIG_DFL;
    wrong += sigaction(SIGCHLD, NULL, &action) != 0 || action.sa_handler != SIG_DFL;
    wrong += sigprocmask(SIG_SETMASK, NULL, &mask) != 0 || sigismember(&mask, SIGUSR2);
    return wrong;
}

static intptr_t dispositions_main(void *unused) {
    (void)unused;
    open_workers(1);
    cr_expect_eq(call_fn(job_dispositions, NULL), 0);
    free_workers();
    return 0;
}

Test(workers, a_worker_has_no_handlers_and_nothing_blocked, .fini = stop_server) {
    sigset_t set, now;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    (void)signal(SIGUSR1, on_signal);
    cr_expect_eq(sigprocmask(SIG_BLOCK, &set, NULL), 0);
    start_server();
    cr_expect(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGUSR2) && !sigismember(&now, SIGUSR1));
    cr_expect_eq(run_task(dispositions_main, NULL), 0);
}

static intptr_t nested_task(void *unused) {
    (void)unused;
    int rc = rota_sleep(ROTA_MS);
    return rc < 0 ? rc : call_value(1) == -EINVAL ? 9 : 0;
}

JOB(job_runs_a_loop) {
    intptr_t v = 0;
    if (rota_yield() != -EPERM)
        return 1;
    int rc = rota_run(nested_task, NULL, &v, &(rota_loop_options){.virtual_clock = true});
    return rc < 0 ? rc : v;
}

Workers_test(a_job_may_run_a_loop_but_not_use_ours, 1) { cr_expect_eq(call_fn(job_runs_a_loop, NULL), 9); }

/* ---- order ---- */

static intptr_t task_gate(void *unused) {
    (void)unused;
    return call_fn(job_gate, NULL);
}

static intptr_t task_value(void *value) { return call_value((intptr_t)value); }

/* Two jobs stand at the gate at the same time. */
Workers_test(jobs_run_at_the_same_time, 2) {
    rota_task *a = start(task_gate, NULL), *b = start(task_gate, NULL);
    until_entered(2);
    open_gate(2);
    cr_expect_eq(rota_join(a, NULL), 0);
    cr_expect_eq(rota_join(b, NULL), 0);
    cr_expect_eq(common->ran, 2);
}

static intptr_t task_note(void *c) {
    intptr_t v = call_value((intptr_t)c);
    note((char)v);
    return v < 0 ? v : 0;
}

Workers_test(jobs_start_in_the_order_in_which_they_came, 1) {
    rota_call calls[5];
    for (int i = 0; i < 5; i++)
        calls[i] = (rota_call){.fn = task_note, .arg = (void *)(intptr_t)("abcde"[i])};
    cr_expect_eq(rota_gather(calls, 5, NULL), 0);
    cr_expect_str_eq(trace, "abcde");
}

/* G02 */
Workers_test(a_full_queue_is_told_to_those_who_do_not_wait, 1) {
    intptr_t value = 1;
    rota_worker_job job = {.fn = job_value, .in = &value, .in_n = sizeof value, .no_wait = true};
    rota_task *running = start(task_gate, NULL);
    until_entered(1);
    rota_task *queued[2] = {start(task_value, (void *)1), start(task_value, (void *)2)};
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_workers_call(workers, &job, NULL), -EAGAIN);
    open_gate(1);
    cr_expect_eq(rota_join(running, NULL), 0);
    cr_expect_eq(rota_join(queued[0], NULL), 0);
    cr_expect_eq(rota_join(queued[1], NULL), 0);
    cr_expect_eq(rota_workers_call(workers, &job, NULL), 0);
}

static intptr_t task_many(void *count) {
    intptr_t sum = 0;
    for (int i = 0; i < 50; i++)
        sum += call_value(1);
    *(intptr_t *)count += sum;
    return 0;
}

Workers_test(many_tasks_share_few_workers, 2) {
    intptr_t count = 0;
    rota_call calls[8];
    for (int i = 0; i < 8; i++)
        calls[i] = (rota_call){.fn = task_many, .arg = &count};
    cr_expect_eq(rota_gather(calls, 8, NULL), 0);
    cr_expect_eq(count, 400);
    cr_expect_eq(common->ran, 400);
}

/* ---- workers that end ---- */

JOB(job_crashes) {
    (void)raise(SIGSEGV);
    return 0;
}

JOB(job_exits) { _exit(3); }

/* Writes what no worker says, on whatever socket it has. */
JOB(job_talks_nonsense) {
    char noise[512];
    memset(noise, 'x', sizeof noise);
    for (int fd = 3; fd < 20; fd++)
        (void)send(fd, noise, sizeof noise, MSG_NOSIGNAL);
    pass_gate();
    return 0;
}

JOB(job_closes_its_socket) {
    for (int fd = 3; fd < 20; fd++)
        close(fd);
    pass_gate();
    return 0;
}

Workers_test(a_crash_fails_its_own_job_only, 2) {
    int status = -1;
    rota_task *other = start(task_gate, NULL);
    until_entered(1);
    cr_expect_eq(call_fn(job_crashes, &status), -EOWNERDEAD);
    cr_expect_eq(rota_process_exit_signal(status), SIGSEGV);
    cr_expect_eq(call_fn(job_exits, &status), -EOWNERDEAD);
    cr_expect_eq(rota_process_exit_code(status), 3);
    cr_expect_eq(call_value(4), 4, "another one has taken its place");
    open_gate(1);
    intptr_t v = 0;
    cr_expect_eq(rota_join(other, &v), 0);
    cr_expect_eq(v, 7);
}

Workers_test(a_worker_that_talks_nonsense_is_killed, 1) {
    int status = -1;
    cr_expect_eq(call_fn(job_talks_nonsense, &status), -EOWNERDEAD);
    cr_expect_eq(rota_process_exit_signal(status), SIGKILL);
    cr_expect_eq(call_fn(job_closes_its_socket, &status), -EOWNERDEAD);
    cr_expect_eq(rota_process_exit_signal(status), SIGKILL);
    cr_expect_eq(call_value(4), 4);
}

Workers_test(a_worker_killed_in_a_job_fails_it, 1) {
    rota_task *task = start(task_gate, NULL);
    until_entered(1);
    cr_expect_eq(kill(common->pid, SIGTERM), 0);
    intptr_t v = 0;
    cr_expect_eq(rota_join(task, &v), 0);
    cr_expect_eq(v, -EOWNERDEAD);
    cr_expect_eq(common->ran, 0, "and was not run again");
}

Workers_test(a_worker_killed_between_jobs_is_replaced, 1) {
    pid_t first = (pid_t)call_fn(job_pid, NULL);
    cr_expect_eq(kill(first, SIGKILL), 0);
    pid_t second = (pid_t)call_fn(job_pid, NULL);
    cr_expect(second > 0 && second != first);
}

/* It stands still when it is given the job, and never reads it. */
Workers_test(a_job_that_was_not_begun_goes_to_another_worker, 1) {
    pid_t first = (pid_t)call_fn(job_pid, NULL);
    cr_expect_eq(kill(first, SIGSTOP), 0);
    rota_task *task = start(task_value, (void *)6);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(kill(first, SIGKILL), 0);
    intptr_t v = 0;
    cr_expect_eq(rota_join(task, &v), 0);
    cr_expect_eq(v, 6);
    cr_expect_eq(common->ran, 1);
}

static intptr_t task_echo_large(void *unused) {
    (void)unused;
    echo((1 << 20) + 9, 1 << 20);
    return 0;
}

/* Killed while the input is being copied to it. */
Workers_test(a_large_job_that_was_not_begun_goes_to_another_worker, 1) {
    for (int yields = 0; yields < 8; yields++) {
        pid_t first = (pid_t)call_fn(job_pid, NULL);
        cr_expect_eq(kill(first, SIGSTOP), 0);
        rota_task *task = start(task_echo_large, NULL);
        for (int i = 0; i < yields; i++)
            cr_expect_eq(rota_yield(), 0);
        cr_expect_eq(kill(first, SIGKILL), 0);
        cr_expect_eq(rota_join(task, NULL), 0);
    }
}

/* ---- cancelling ---- */

/* G03 */
Workers_test(a_queued_job_that_is_cancelled_never_runs, 1) {
    intptr_t v = 0;
    rota_task *running = start(task_gate, NULL);
    until_entered(1);
    rota_task *queued = start(task_value, (void *)1);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(queued, "test"), 0);
    cr_expect_eq(rota_join(queued, &v), 0);
    cr_expect_eq(v, -ECANCELED);
    open_gate(1);
    cr_expect_eq(rota_join(running, NULL), 0);
    cr_expect_eq(common->ran, 1);
}

static intptr_t keep_and_be_refused(void *unused) {
    (void)unused;
    intptr_t v = call_fn(job_gate, NULL);
    cr_expect_eq(rota_yield(), -ECANCELED);
    return v;
}

/* G04 */
Workers_test(a_cancelled_waiter_waits_for_its_running_job, 1) {
    intptr_t v = 0;
    rota_task *task = start(keep_and_be_refused, NULL);
    until_entered(1);
    cr_expect_eq(rota_cancel(task, "test"), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect(!rota_task_done(task));
    open_gate(1);
    cr_expect_eq(rota_join(task, &v), 0);
    cr_expect_eq(v, 7);
}

static intptr_t task_killed(void *unused) {
    rota_worker_job job = {.fn = job_gate, .kill_on_cancel = true};
    (void)unused;
    return rota_workers_call(workers, &job, NULL);
}

/* The worker goes, and only then is its number free: until then the signal finds it, dead or alive. */
static void until_gone(pid_t pid) {
    while (kill(pid, 0) == 0)
        sleep_a_little();
}

/* G04 */
Workers_test(a_running_job_is_killed_if_asked, 1) {
    intptr_t v = 0;
    rota_task *task = start(task_killed, NULL);
    until_entered(1);
    cr_expect_eq(rota_cancel(task, "test"), 0);
    cr_expect_eq(rota_join(task, &v), 0);
    cr_expect_eq(v, -ECANCELED);
    until_gone(common->pid);
    cr_expect_eq(common->ran, 0);
    cr_expect_eq(call_value(2), 2, "another one has taken its place");
}

static intptr_t large_and_cancelled(void *result) {
    static unsigned char in[(1 << 20) + 1];
    rota_worker_job job = {.fn = job_add_one, .in = in, .in_n = sizeof in, .out = in, .out_size = sizeof in};
    *(intptr_t *)result = rota_workers_call(workers, &job, NULL);
    return *(intptr_t *)result;
}

/* At each step of its copying: whatever comes of it, the worker serves the next one. */
Workers_test(a_large_job_is_cancelled_at_any_step, 1) {
    int cancelled = 0, kept = 0;
    for (int steps = 0; steps < 12; steps++) {
        intptr_t result = 1, v;
        rota_task *task = start(large_and_cancelled, &result);
        for (int i = 0; i < steps; i++)
            cr_expect_eq(rota_yield(), 0);
        cr_expect_eq(rota_cancel(task, "test"), 0);
        cr_expect_eq(rota_join(task, &v), 0);
        cancelled += result == -ECANCELED;
        kept += result == 0;
        cr_expect_eq(call_value(2), 2);
    }
    cr_expect(cancelled > 0 && cancelled + kept == 12, "%d cancelled, %d kept", cancelled, kept);
}

/* ---- the end of an executor ---- */

/* G05 */
Workers_test(closing_ends_what_is_queued_and_keeps_what_runs, 1) {
    intptr_t v = 0;
    rota_task *running = start(task_gate, NULL);
    until_entered(1);
    rota_task *queued = start(task_value, (void *)1);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_workers_close(workers), 0);
    cr_expect_eq(rota_workers_close(workers), 0);
    cr_expect_eq(rota_join(queued, &v), 0);
    cr_expect_eq(v, -ESHUTDOWN);
    cr_expect_eq(call_value(1), -ESHUTDOWN);
    open_gate(1);
    cr_expect_eq(rota_join(running, &v), 0);
    cr_expect_eq(v, 7);
    cr_expect_eq(rota_workers_drain(workers), 0);
    until_gone(common->pid);
}

static intptr_t free_while_running(void *unused) {
    intptr_t v = 0;
    (void)unused;
    open_workers(1);
    rota_task *running = start(task_gate, NULL);
    until_entered(1);
    free_workers();
    open_gate(1);
    cr_expect_eq(rota_join(running, &v), 0);
    cr_expect_eq(v, 7);
    return 0;
}

/* G05 */
Test(workers, freeing_lets_running_jobs_end, .init = start_server, .fini = stop_server) {
    cr_expect_eq(run_task(free_while_running, NULL), 0);
}

Workers_test(draining_waits_for_all, 1) {
    cr_expect_eq(rota_workers_drain(workers), 0, "nothing to wait for");
    rota_task *running = start(task_gate, NULL), *queued = start(task_value, (void *)1);
    until_entered(1);
    open_gate(1);
    cr_expect_eq(rota_workers_drain(workers), 0);
    cr_expect_eq(common->ran, 2);
    cr_expect_eq(rota_join(running, NULL), 0);
    cr_expect_eq(rota_join(queued, NULL), 0);
}

static intptr_t leave_open(void *unused) {
    (void)unused;
    open_workers(2);
    rota_task_release(start(task_gate, NULL));
    until_entered(1);
    open_gate(1);
    return 0;
}

/* The loop ends, with a job that runs, which it waits for; the handle is freed later. */
Test(workers, a_loop_closes_before_its_executor, .init = start_server, .fini = stop_server) {
    intptr_t v = -1;
    cr_expect_eq(rota_run(leave_open, NULL, &v, NULL), 0);
    cr_expect_eq(v, 0);
    cr_expect_eq(common->ran, 1);
    cr_expect_eq(rota_workers_close(workers), 0);
    free_workers();
}

static rota_workers *of_another_loop;

static intptr_t call_the_other(void *unused) {
    rota_worker_job job = {.fn = job_pid};
    (void)unused;
    cr_expect_eq(rota_workers_call(of_another_loop, &job, NULL), -EPERM);
    cr_expect_eq(rota_workers_drain(of_another_loop), -EPERM);
    return 0;
}

Test(workers, an_executor_belongs_to_one_loop, .init = start_server, .fini = stop_server) {
    rota_loop *loop = open_loop();
    intptr_t v = -1;
    cr_expect_eq(rota_workers_new(&of_another_loop, NULL), 0);
    cr_expect_eq(rota_run(call_the_other, NULL, &v, NULL), 0);
    cr_expect_eq(rota_loop_set_current(loop), 0);
    cr_expect_eq(rota_workers_free(of_another_loop), 0);
    close_loop(loop);
}

/* ---- the end of the server, and of the parent ---- */

JOB(job_parent) { return getppid(); }

/* Its descriptor here is closed before it is stopped: the usual books do not apply. */
static intptr_t dead_server(void *unused) {
    intptr_t v = 0;
    rota_workers *w;
    (void)unused;
    open_workers(2);
    pid_t server = (pid_t)call_fn(job_parent, NULL);
    cr_expect_neq(server, getpid());
    rota_task *running = start(task_gate, NULL);
    until_entered(1);
    cr_expect_eq(kill(server, SIGKILL), 0);
    cr_expect_eq(rota_join(running, &v), 0);
    cr_expect_eq(v, -ENOTCONN);
    cr_expect_eq(call_value(1), -ENOTCONN);
    cr_expect_eq(rota_workers_new(&w, NULL), -ENOTCONN);
    cr_expect_eq(rota_sleep(ROTA_MS), 0, "the loop goes on");
    cr_expect(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "no zombie is left");
    free_workers();
    return 0;
}

static intptr_t call_once(void *unused) {
    (void)unused;
    open_workers(1);
    cr_expect_eq(call_value(5), 5);
    free_workers();
    return 0;
}

Test(workers, a_dead_server_is_told_to_callers, .init = start_server, .fini = stop_server) {
    intptr_t v = -1;
    cr_expect_eq(rota_run(dead_server, NULL, &v, NULL), 0);
    cr_expect_eq(v, 0);
    cr_expect_eq(rota_fork_server_start(), 0, "and may be followed by another one");
    cr_expect_eq(run_task(call_once, NULL), 0);
}

static intptr_t in_a_job_for_ever(void *unused) {
    (void)unused;
    open_workers(2);
    rota_task *tasks[2] = {start(task_gate, NULL), start(task_gate, NULL)};
    until_entered(2);
    (void)tasks;
    (void)raise(SIGKILL);
    return 0;
}

/* Everybody below holds the pipe: it ends when all have. */
Test(workers, all_processes_end_with_the_parent) {
    int ends[2], status;
    char byte;
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        intptr_t v;
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        start_server();
        _exit(rota_run(in_a_job_for_ever, NULL, &v, NULL) < 0);
    }
    close(ends[1]);
    cr_expect_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (read(ends[0], &byte, 1) > 0)
        ;
    close(ends[0]);
}

/* ---- fork ---- */

static bool child_works(rota_loop *inherited) {
    intptr_t v = -1;
    rota_workers *w = workers;
    if (rota_workers_close(w) != -EINVAL || rota_fork_server_stop() != 0)
        return false;
    start_server();
    if (rota_run(call_once, NULL, &v, NULL) != 0 || v != 0 || rota_fork_server_stop() != 0)
        return false;
    return rota_workers_free(w) == 0 && rota_loop_free(inherited) == 0;
}

/* G09 */
Test(workers, a_child_after_fork_has_no_workers, .init = start_server, .fini = stop_server) {
    rota_loop *loop = open_loop();
    rota_task *task;
    intptr_t v = -1;
    int status = -1;
    open_workers(1);
    cr_assert_eq(rota_spawn(&task, task_gate, NULL, NULL), 0);
    while (common->entered < 1)
        cr_assert_eq(rota_loop_turn(loop, ROTA_MS), 1);
    pid_t pid = fork();
    if (pid == 0) {
        if (child_works(loop))
            (void)raise(SIGKILL); /* so that no leak checker asks for what the parent holds */
        _exit(1);
    }
    cr_expect_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%d", status);
    open_gate(1);
    cr_expect_eq(rota_loop_run_until(loop, task, &v), 0);
    cr_expect_eq(v, 7);
    rota_task_release(task);
    free_workers();
    close_loop(loop);
}
