/* Processes. process_spawn: /bin/true is started and waited for. The floor is posix_spawn and waitpid in a loop. */
#include <spawn.h>
#include <sys/wait.h>

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

const struct bench bench_process[] = {
    { "process", "process_spawn", "us", 1, { { "floor", floor_spawn }, { "rota", rota_spawns } } },
    { 0 }
};
