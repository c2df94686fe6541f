/* Wrong calls, each in a process of its own, which tells a crash and a hang from an answer (I03, I04, I05):
 *
 *   null    with each pointer NULL in turn: -EINVAL (-EFAULT where the system call says so), unless NULL is documented
 *   thread  on a thread without a loop, all objects being another thread's and most of them waited for: refused
 *   closed  with everything sound, but the loop closed: refused
 *
 * The calls, and the documented exceptions, are made by generate.py from the public headers.
 *
 * usage: invalid null|thread|closed [call]
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/invalid/kit.h"

static struct kit kit;
static const struct call *now;
static int null_at;
static int verdict;
static intptr_t items[4];

static void quiet(void *ctx, const rota_report *report) { (void)ctx, (void)report; }

static void must(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "invalid: %s cannot be made\n", what);
    _exit(2);
}

/* ---- somebody waits on each object, so that it knows whose it is ---- */

static intptr_t wait_event(void *arg) { (void)arg; return rota_event_wait(&kit.event); }
static intptr_t wait_future(void *arg) { (void)arg; return rota_future_await(&kit.future, NULL); }
static intptr_t wait_mutex(void *arg) { (void)arg; return rota_mutex_lock(&kit.mutex); }
static intptr_t wait_rwlock(void *arg) { (void)arg; return rota_rwlock_read(&kit.rwlock); }
static intptr_t wait_sem(void *arg) { (void)arg; return rota_sem_acquire(&kit.sem); }
static intptr_t wait_barrier(void *arg) { (void)arg; return rota_barrier_wait(&kit.barrier); }
static intptr_t wait_latch(void *arg) { (void)arg; return rota_latch_wait(&kit.latch); }
static intptr_t wait_queue(void *arg) { (void)arg; intptr_t item; return rota_queue_get(&kit.queue, &item); }
static intptr_t wait_cond(void *arg) {
    int rc = rota_mutex_lock(arg);
    return rc < 0 ? rc : rota_cond_wait(&kit.cond, arg);
}
static intptr_t sleep_long(void *arg) { (void)arg; return rota_sleep(3600 * ROTA_S); }

static void add_waiters(void) {
    rota_fn *const waits[] = { wait_event, wait_future, wait_mutex, wait_rwlock, wait_sem, wait_barrier, wait_latch,
                               wait_queue };
    must(rota_mutex_lock(&kit.mutex) == 0 && rota_rwlock_write(&kit.rwlock) == 0, "a lock");
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
        must(rota_spawn(NULL, waits[i], NULL, NULL) == 0, "a task");
    static rota_mutex of_cond;
    must(rota_spawn(NULL, wait_cond, &of_cond, NULL) == 0 && rota_yield() == 0, "a turn");
}

/* ---- sound objects ---- */

static void make_plain(void) {
    int fds[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "a socket");
    kit.fd = fds[0];
    kit.listener = fds[1];
    must(write(fds[1], "data\n", 5) == 5, "data");
    must(rota_address_parse(&kit.address, "127.0.0.1:9", 11) == 0, "an address");
    kit.argv[0] = kit.bytes;
    strcpy(kit.bytes, "/nonexistent/program");
    kit.iov = (struct iovec){ kit.bytes, 1 };
    kit.msg = (struct msghdr){ .msg_iov = &kit.iov, .msg_iovlen = 1 };
    kit.size = 1;
    kit.call.fn = body;
    kit.clause = (rota_clause){ .kind = ROTA_SELECT_EVENT, .object = &kit.event };
    rota_sem_init(&kit.sem, 0, 8);
    rota_latch_init(&kit.latch, 1);
    must(rota_barrier_init(&kit.barrier, 3) == 0, "a barrier");
    must(rota_queue_init(&kit.queue, items, sizeof *items, 4, NULL) == 0, "a queue");
    must(rota_executor_new(&kit.executor, NULL) == 0, "an executor");
    kit.worker_job = (rota_worker_job){ .fn = worker };
    if (strncmp(now->name, "rota_workers_", 13) == 0)
        must(rota_fork_server_start() == 0, "a fork server");
    must(rota_thread_queue_new(&kit.thread_queue, sizeof(intptr_t), 4, NULL) == 0 &&
         rota_thread_queue_try_put(kit.thread_queue, items) == 0, "a queue");
}

static void on_soon(rota_soon *soon, void *arg) { (void)soon, (void)arg; }
static void on_timer(rota_timer *timer, void *arg) { (void)timer, (void)arg; }
static void on_ticker(rota_ticker *ticker, uint64_t n, void *arg) { (void)ticker, (void)n, (void)arg; }
static void on_watcher(rota_watcher *watcher, unsigned ready, void *arg) { (void)watcher, (void)ready, (void)arg; }
static void on_signal(rota_signal *watcher, int signo, void *arg) { (void)watcher, (void)signo, (void)arg; }
static void on_child(rota_child *child, int status, void *arg) { (void)child, (void)status, (void)arg; }

static void make_of_loop(void) {
    kit.loop = rota_loop_current();
    rota_soon_init(&kit.soon, on_soon, NULL);
    rota_timer_init(&kit.timer, on_timer, NULL);
    rota_ticker_init(&kit.ticker, on_ticker, NULL);
    rota_watcher_init(&kit.watcher, kit.fd, ROTA_READ, on_watcher, NULL);
    rota_signal_init(&kit.signal, SIGUSR1, on_signal, NULL);
    rota_child_init(&kit.child, 1 << 20, on_child, NULL);
    must(rota_spawn(&kit.task, sleep_long, NULL, NULL) == 0, "a task");
    must(rota_remote_open(&kit.remote, kit.loop) == 0, "a remote");
    must(rota_co_new(&kit.co, co_body, NULL, NULL) == 0, "a coroutine");
    must(rota_gen_open(&kit.gen, gen_body, NULL, NULL) == 0, "a generator");
    must(rota_stream_open(&kit.stream, dup(kit.fd), NULL) == 0, "a stream");
    must(rota_dns_open(&kit.dns, NULL) == 0, "a resolver");
    must(rota_signals_open(&kit.signals, ROTA_SIGNAL(SIGUSR2)) == 0, "a signal set");
    rota_group_begin(&kit.group, NULL);
    rota_scope_begin(&kit.scope);
    char *program[] = { (char *)"/bin/true", NULL };
    rota_process_options opt = { .out = ROTA_PROCESS_PIPE };
    if (strncmp(now->name, "rota_process_", 13) == 0)
        must(rota_process_spawn(&kit.process, program, &opt) == 0, "a process");
    if (strncmp(now->name, "rota_workers_", 13) == 0)
        must(rota_workers_new(&kit.workers, NULL) == 0, "workers");
}

/* ---- the ways ---- */

static bool refused(intptr_t answer) {
    return now->answers == VOID || (now->answers == ZERO ? (answer & 0xff) == 0 : answer < 0);
}

/* -EINVAL, or what the kernel says of a NULL buffer. */
static bool says_invalid(intptr_t answer) {
    return now->answers != ERROR || answer == -EINVAL || answer == -EFAULT;
}

static void judge(bool ok, intptr_t answer, const char *pointer) {
    if (ok)
        return;
    verdict = 1;
    printf("%s(%s%s) answered %ld\n", now->name, pointer ? pointer : "", pointer ? " = NULL" : "", (long)answer);
    fflush(stdout);
}

static intptr_t call_with_null(void *arg) {
    (void)arg;
    make_of_loop();
    rota_scope limit;
    rota_timeout_begin(&limit, 20 * ROTA_MS);
    intptr_t answer = now->make(&kit, null_at);
    if (!now->pointers[null_at].optional)
        judge(refused(answer) && says_invalid(answer), answer, now->pointers[null_at].name);
    fflush(stdout);
    _exit(verdict); /* what the call left behind is of no interest */
}

static void *on_thread(void *arg) {
    (void)arg;
    intptr_t answer = now->make(&kit, -1);
    judge(now->free == ALWAYS || refused(answer), answer, NULL);
    fflush(stdout);
    _exit(verdict);
}

static intptr_t call_on_thread(void *arg) {
    (void)arg;
    make_of_loop();
    add_waiters();
    pthread_t thread;
    must(pthread_create(&thread, NULL, on_thread, NULL) == 0, "a thread");
    pthread_join(thread, NULL);
    return 0;
}

static intptr_t make_and_leave(void *arg) {
    (void)arg;
    make_of_loop();
    (void)!rota_scope_end(&kit.scope, 0);
    return rota_group_end(&kit.group, 0);
}

static void call_closed(const rota_loop_options *opt) {
    rota_loop *loop;
    rota_task *task;
    must(rota_loop_new(&loop, opt) == 0 && rota_spawn(&task, make_and_leave, NULL, NULL) == 0 &&
         rota_loop_run_until(loop, task, NULL) == 0 && rota_loop_close(loop) == 0, "a closed loop");
    intptr_t answer = now->make(&kit, -1);
    bool again = strcmp(now->name, "rota_loop_close") == 0 || strcmp(now->name, "rota_loop_free") == 0;
    judge(now->free != NEVER || again || refused(answer), answer, NULL);
    fflush(stdout);
    _exit(verdict);
}

static void run_child(const char *way) {
    rota_loop_options opt = { .report = quiet };
    alarm(20);
    make_plain();
    if (strcmp(way, "closed") == 0)
        call_closed(&opt);
    if (strcmp(way, "null") == 0 && strcmp(now->name, "rota_run_at") == 0) {
        judge(says_invalid(now->make(&kit, null_at)) || now->pointers[null_at].optional, 0, "fn");
        _exit(verdict);
    }
    (void)!rota_run(strcmp(way, "null") == 0 ? call_with_null : call_on_thread, NULL, NULL, &opt);
    _exit(3);
}

static bool in_a_process(const char *way) {
    int status = 0;
    if (!now->make) {
        printf("%s\n", now->name);
        return false;
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        run_child(way);
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
        printf("%s(%s): %s %d\n", now->name, null_at >= 0 ? now->pointers[null_at].name : "",
               WIFSIGNALED(status) ? "ended by signal" : "ended with", WIFSIGNALED(status) ? WTERMSIG(status)
                                                                                           : WEXITSTATUS(status));
    return false;
}

int main(int argc, char **argv) {
    const char *way = argc > 1 ? argv[1] : "null";
    unsigned passed = 0, failed = 0;
    for (size_t i = 0; i < n_calls; i++) {
        now = &calls[i];
        if (argc > 2 && strcmp(argv[2], now->name) != 0)
            continue;
        bool nulls = strcmp(way, "null") == 0;
        if (strcmp(way, "thread") == 0 && strcmp(now->name, "rota_remote_call_at") == 0)
            continue; /* it waits for the loop, whose thread waits for this one */
        for (null_at = nulls ? 0 : -1; null_at < (nulls ? now->n : 0); null_at++)
            *(in_a_process(way) ? &passed : &failed) += 1;
    }
    printf("%s: %u passed, %u failed\n", way, passed, failed);
    return failed != 0 || passed == 0;
}
