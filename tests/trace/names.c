/* For check.py: tasks whose names JSON must escape, in two loops at once, in one after them, and in a child after fork.
 * With an argument: works until it is killed, and says so when there is something in the file. */
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rota.h"

static intptr_t nap(void *unused) {
    (void)unused;
    return rota_sleep(ROTA_MS);
}

static intptr_t spawn_names(void *unused) {
    static const char long_name[] =
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    static const char *const names[] = {
        "quote \" and \\", "control \x01\n\x7f", "half \xe2 character \xc0\xaf",
        "d\xc3\xa9j\xc3\xa0 \xe2\x82\xac \xf0\x9f\x98\x80", "", NULL, long_name,
    };
    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (rota_spawn(NULL, nap, NULL, &(rota_spawn_options){ .name = names[i] }) < 0)
            return -ENOMEM;
    return rota_sleep(2 * ROTA_MS);
}

static void *run_loop(void *unused) {
    intptr_t value;
    (void)unused;
    return (void *)(intptr_t)(rota_run(spawn_names, NULL, &value, NULL) < 0 || value < 0);
}

static intptr_t go_on(void *unused) {
    (void)unused;
    for (int i = 0; rota_sleep(ROTA_MS) == 0; i++)
        if (i == 300) {   /* what is written when the loop waits comes at most 100 ms late */
            puts("written");
            fflush(stdout);
        }
    return 0;
}

static int run_in_child(void) {
    int status = 1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(run_loop(NULL) != NULL);
    return pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
}

int main(int argc, char **argv) {
    (void)argv;
    intptr_t value;
    if (argc > 1)
        return rota_run(go_on, NULL, &value, NULL) < 0;
    pthread_t threads[2];
    void *failed[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, run_loop, NULL) != 0)
            return 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], &failed[i]);
    return run_loop(NULL) || failed[0] || failed[1] || run_in_child();
}
