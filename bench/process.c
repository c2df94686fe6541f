/* Processes. process_spawn: /bin/true is started and waited for. The floor is posix_spawn and waitpid in a loop.
 *
 * process_job: an empty job of a worker process, there and back. The floor is a byte there and back between two processes
 * that block in read and write on a socketpair: no poller, no checks. process_job_32k and process_job_1m: so many bytes
 * in and as many out; the floor sends and receives them through the socketpair. The worker is there already. */
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"

enum { PROCESSES = 1000 };

static char *program[] = {"/bin/true", NULL};

static long processes(void) { return PROCESSES / bench_divide; }

static double floor_spawn(long unused) {
    char *env[] = {NULL};
    (void)unused;
    int64_t start = bench_now();
    for (long i = 0; i < processes(); i++) {
        pid_t pid;
        int status;
        if (posix_spawn(&pid, program[0], NULL, NULL, program, env) != 0 || waitpid(pid, &status, 0) != pid)
            bench_die("posix_spawn");
    }
    return (double)(bench_now() - start) / (double)processes() / 1000;
}

static intptr_t spawn_all(void *unused) {
    char *env[] = {NULL};
    rota_process_options opt = {.envp = env};
    (void)unused;
    int64_t start = bench_now();
    for (long i = 0; i < processes(); i++) {
        rota_process p;
        int status;
        if (rota_process_spawn(&p, program, &opt) < 0 || rota_process_wait(&p, &status) < 0)
            bench_die("rota_process_spawn");
        (void)rota_process_close(&p);
    }
    return (intptr_t)((bench_now() - start) / processes());
}

static double rota_spawns(long unused) {
    intptr_t ns;
    (void)unused;
    if (rota_run(spawn_all, NULL, &ns, NULL) < 0 || rota_failed(ns))
        bench_die("rota_run");
    return (double)ns / 1000;
}

/* ---- jobs in worker processes ---- */

enum { JOBS = 20000, JOB_BYTES = 200 << 20, MOST_BYTES = 1 << 20 };

static char payload[MOST_BYTES], result[MOST_BYTES];

static long jobs(long bytes) {
    long n = (bytes > 4096 ? JOB_BYTES / bytes : JOBS) / bench_divide;
    return n < 1 ? 1 : n;
}

static void move_all(int fd, char *bytes, long n, int sends) {
    while (n > 0) {
        ssize_t r = sends ? write(fd, bytes, (size_t)n) : read(fd, bytes, (size_t)n);
        if (r <= 0)
            _exit(0); /* the other side has ended */
        bytes += r;
        n -= r;
    }
}

static double floor_job(long bytes) {
    int ends[2];
    long message = bytes ? bytes : 1;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        bench_die("socketpair");
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        for (;;) {
            move_all(ends[1], payload, message, 0);
            move_all(ends[1], payload, message, 1);
        }
    }
    close(ends[1]);
    int64_t start = 0;
    for (long i = -1; i < jobs(bytes); i++) {
        if (i == 0)
            start = bench_now();
        move_all(ends[0], payload, message, 1);
        move_all(ends[0], result, message, 0);
    }
    double us = (double)(bench_now() - start) / (double)jobs(bytes) / 1000;
    close(ends[0]);
    (void)waitpid(pid, NULL, 0);
    return us;
}

static intptr_t copy_job(const void *in, size_t in_n, void *out, size_t out_size, size_t *out_n) {
    if (in_n <= out_size && in_n > 0)
        memcpy(out, in, in_n);
    *out_n = in_n;
    return 0;
}

static intptr_t call_all(void *arg) {
    size_t bytes = (size_t)(intptr_t)arg;
    rota_workers *workers;
    rota_worker_job job = {.fn = copy_job, .in = payload, .in_n = bytes, .out = result, .out_size = bytes};
    if (rota_workers_new(&workers, &(rota_workers_options){.workers = 1}) < 0)
        bench_die("rota_workers_new");
    int64_t start = 0;
    for (long i = -1; i < jobs((long)bytes); i++) {
        if (i == 0)
            start = bench_now();
        if (rota_workers_call(workers, &job, NULL) < 0)
            bench_die("rota_workers_call");
    }
    int64_t ns = (bench_now() - start) / jobs((long)bytes);
    (void)rota_workers_free(workers);
    return (intptr_t)ns;
}

static double rota_job(long bytes) {
    intptr_t ns;
    int rc = rota_fork_server_start();
    if (rc < 0 || rota_run(call_all, (void *)(intptr_t)bytes, &ns, NULL) < 0 || rota_failed(ns))
        bench_die("rota_run");
    (void)rota_fork_server_stop();
    return (double)ns / 1000;
}

const struct bench bench_process[] = {
    { "process", "process_spawn", "us", 1, { { "floor", floor_spawn }, { "rota", rota_spawns } },
      "/bin/true started and waited for" },
    { "process", "process_job", "us", 0, { { "floor", floor_job }, { "rota", rota_job } },
      "one empty job sent to a worker process that is there already, and its answer received" },
    { "process", "process_job_32k", "us", 32768, { { "floor", floor_job }, { "rota", rota_job } },
      "one job sent to a worker process that is there already, with 32 KiB, and 32 KiB received" },
    { "process", "process_job_1m", "us", MOST_BYTES, { { "floor", floor_job }, { "rota", rota_job } },
      "one job sent to a worker process that is there already, with 1 MiB, and 1 MiB received" },
    { 0 }
};
