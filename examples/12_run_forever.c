/* Program 12: a task that never ends, until Ctrl-C stops the loop. With a number of seconds, the program interrupts
 * itself after that time. */
#include <signal.h>
#include <stdio.h>

#include "examples/args.h"
#include "rota.h"

static intptr_t worker(void *unused) {
    (void)unused;
    int rc;
    do
        printf("task is running\n");
    while ((rc = rota_sleep(1 * ROTA_S)) == 0);
    printf("task was told to end: %s\n", rota_strerror(rc));
    return rc;
}

static void on_interrupt(rota_signal *watcher, int signo, void *arg) {
    (void)watcher, (void)signo;
    printf("interrupted\n");
    rota_loop_stop(arg);
}

static void press_ctrl_c(void *unused) {
    (void)unused;
    raise(SIGINT);
}

int main(int argc, char **argv) {
    int64_t ns = 0;
    rota_loop *loop;
    rota_signal interrupt;
    if (argc > 2 || (argc == 2 && !args_seconds(argv[1], &ns))) {
        fprintf(stderr, "usage: 12_run_forever [SECONDS]\n");
        return 2;
    }
    int rc = rota_loop_new(&loop, NULL);
    if (rc < 0)
        return 1;
    rota_signal_init(&interrupt, SIGINT, on_interrupt, loop);
    rc = rota_signal_start(loop, &interrupt);
    if (rc == 0)
        rc = rota_spawn(NULL, worker, NULL, NULL);
    if (rc == 0 && ns > 0)
        rc = rota_call_later(ns, press_ctrl_c, NULL);
    if (rc == 0)
        rc = rota_loop_run(loop);
    rota_loop_free(loop);
    return rc < 0;
}
