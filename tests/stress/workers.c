/* Process executors of several loops, on several threads, with one server between them: jobs that give what they should,
 * jobs that crash, jobs that are killed, while other threads fork. The argument is the number of rounds of each loop.
 * Exits 0 when every call got what was due to it, and no process was left. */
#include "stress.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "rota.h"

enum { LOOPS = 3, TASKS = 6, BYTES = 100 * 1000 };

static int rounds = 20;
static atomic_bool over;

struct loop {
    rota_workers *workers;
};

static intptr_t add_one(const void *in, size_t in_n, void *out, size_t out_size, size_t *out_n) {
    must(in_n <= out_size);
    for (size_t i = 0; i < in_n; i++)
        ((unsigned char *)out)[i] = (unsigned char)(((const unsigned char *)in)[i] + 1);
    *out_n = in_n;
    return (intptr_t)in_n;
}

static intptr_t crash(const void *in, size_t in_n, void *out, size_t out_size, size_t *out_n) {
    (void)in, (void)in_n, (void)out, (void)out_size, (void)out_n;
    _exit(9);
}

static intptr_t stay(const void *in, size_t in_n, void *out, size_t out_size, size_t *out_n) {
    (void)in, (void)in_n, (void)out, (void)out_size, (void)out_n;
    while (pause() < 0)
        ;
    return 0;
}

static void check_bytes(rota_workers *workers, size_t n) {
    unsigned char *in = malloc(n), *out = malloc(n);
    intptr_t value;
    must(in && out);
    memset(in, (int)(n % 251), n);
    rota_worker_job job = {.fn = add_one, .in = in, .in_n = n, .out = out, .out_size = n};
    must(rota_workers_call(workers, &job, &value) == 0);
    must(value == (intptr_t)n && job.out_n == n && out[0] == n % 251 + 1 && out[n - 1] == n % 251 + 1);
    free(in);
    free(out);
}

static intptr_t small(void *arg) {
    check_bytes(((struct loop *)arg)->workers, 100);
    return 0;
}

static intptr_t large(void *arg) {
    check_bytes(((struct loop *)arg)->workers, BYTES);
    return 0;
}

static intptr_t crashing(void *arg) {
    rota_worker_job job = {.fn = crash};
    must(rota_workers_call(((struct loop *)arg)->workers, &job, NULL) == -EOWNERDEAD);
    must(rota_process_exit_code(job.status) == 9);
    return 0;
}

static intptr_t call_stay(void *workers) {
    rota_worker_job job = {.fn = stay, .kill_on_cancel = true};
    return rota_workers_call(workers, &job, NULL);
}

static intptr_t killed(void *arg) {
    must(rota_timeout(ROTA_MS, call_stay, ((struct loop *)arg)->workers) == -ETIMEDOUT);
    return 0;
}

static intptr_t all_rounds(void *arg) {
    struct loop *loop = arg;
    must(rota_workers_new(&loop->workers, &(rota_workers_options){.workers = 2}) == 0);
    for (int i = 0; i < rounds; i++) {
        rota_call calls[TASKS] = {
            {.fn = small, .arg = loop}, {.fn = large, .arg = loop}, {.fn = crashing, .arg = loop},
            {.fn = small, .arg = loop}, {.fn = killed, .arg = loop}, {.fn = large, .arg = loop},
        };
        must(rota_gather(calls, TASKS, NULL) == 0);
    }
    must(rota_workers_free(loop->workers) == 0);
    return 0;
}

static void *run_loop(void *arg) {
    intptr_t v;
    must(rota_run(all_rounds, arg, &v, NULL) == 0 && v == 0);
    return NULL;
}

static void *fork_all_the_time(void *unused) {
    (void)unused;
    while (!atomic_load(&over)) {
        int status;
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0)
            _exit(0);
        must(waitpid(pid, &status, 0) == pid && status == 0);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[LOOPS];
    struct loop loops[LOOPS];
    if (argc > 1)
        rounds = atoi(argv[1]);
    must(rota_fork_server_start() == 0);
    pthread_t forks = start_thread(fork_all_the_time, NULL);
    must(rota_fork_server_start() == -EBUSY);
    for (int i = 0; i < LOOPS; i++)
        threads[i] = start_thread(run_loop, &loops[i]);
    for (int i = 0; i < LOOPS; i++)
        join(threads[i]);
    atomic_store(&over, true);
    join(forks);
    must(rota_fork_server_stop() == 0);
    must(waitpid(-1, NULL, WNOHANG) == -1); /* no zombie is left */
    printf("%d jobs\n", LOOPS * TASKS * rounds);
    return 0;
}
