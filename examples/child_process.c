/* Programs as child processes: what one says, a pipeline of three, a limit on time, errors.
 *
 *     child_process
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "rota.h"

/* Output, error output and exit code of a command, in an environment and a directory of its own. */
static int hear_it(void) {
    char *argv[] = {"sh", "-c", "echo \"$GREETING from $(pwd)\"; echo 'and a complaint' >&2; exit 3", NULL};
    char *env[] = {"GREETING=hello", "PATH=/usr/bin:/bin", NULL};
    rota_process_options opt = {.envp = env, .cwd = "/"};
    rota_process_output output = {0};
    int rc = rota_process_run(argv, NULL, 0, &output, &opt);
    if (rc == 0)
        printf("output: %serrors: %sexit code: %d\n", output.out, output.err, rota_process_exit_code(output.status));
    rota_process_output_free(&output);
    return rc;
}

/* The output of each is the input of the next: the pipe between two is one descriptor of ours, lent to the second. */
static int pipeline(const char *text) {
    char *tr[] = {"tr", "-cs", "a-z", "\\n", NULL}, *sort[] = {"sort", NULL}, *uniq[] = {"uniq", "-c", NULL};
    char *env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
    rota_process p[3] = {0};
    rota_process_options first = {.envp = env, .in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE};
    rota_process_output output = {0};
    int rc = rota_process_spawn(&p[0], tr, &first);
    if (rc == 0)
        rc = rota_process_spawn(&p[1], sort, &(rota_process_options){.envp = env, .in = p[0].out,
                                                                     .out = ROTA_PROCESS_PIPE});
    if (rc == 0)
        rc = rota_process_spawn(&p[2], uniq, &(rota_process_options){.envp = env, .in = p[1].out,
                                                                     .out = ROTA_PROCESS_PIPE});
    /* Ours of the pipes between them: sort must see the end of its input when tr ends. */
    for (int i = 0; i < 2; i++) {
        if (p[i].out >= 0 && p[i].pid > 0)
            rota_close(p[i].out);
        p[i].out = -1;
    }
    if (rc == 0)
        rc = rota_write_all(p[0].in, text, strlen(text), NULL);
    if (rc == 0) {
        rota_close(p[0].in);
        p[0].in = -1;
        rc = rota_process_communicate(&p[2], NULL, 0, &output);
    }
    if (rc == 0)
        printf("%s", output.out);
    rota_process_output_free(&output);
    for (int i = 0; i < 3; i++)
        rota_process_close(&p[i]);
    return rc;
}

static intptr_t sleep_long(void *output) {
    char *argv[] = {"sh", "-c", "echo started; sleep 1000", NULL};
    /* The whole group: the shell's `sleep` as well. */
    return rota_process_run(argv, NULL, 0, output, &(rota_process_options){.kill_group = true});
}

static void limited(void) {
    rota_process_output output = {0};
    intptr_t rc = rota_timeout(300 * ROTA_MS, sleep_long, &output);
    printf("after 300 ms: %s\n", rota_strerror(rc));
    rota_process_output_free(&output);
}

static int talk_and_kill(void) {
    char *argv[] = {"cat", NULL};
    char answer[6] = "";
    rota_process cat;
    int status = 0;
    rota_process_options opt = {.in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE};
    int rc = rota_process_spawn(&cat, argv, &opt);
    if (rc < 0)
        return rc;
    rc = rota_write_all(cat.in, "hello", 5, NULL);
    if (rc == 0)
        rc = rota_read_exact(cat.out, answer, 5, NULL);
    if (rc == 0)
        rc = rota_process_kill(&cat, SIGTERM);
    if (rc == 0)
        rc = rota_process_wait(&cat, &status);
    printf("cat said %s and was ended by signal %d\n", answer, rota_process_exit_signal(status));
    rota_process_close(&cat);
    return rc;
}

static intptr_t program(void *unused) {
    char *missing[] = {"no-such-program", NULL};
    rota_process p;
    (void)unused;
    int rc = hear_it();
    if (rc == 0)
        rc = pipeline("the cat and the dog and the bird");
    if (rc == 0)
        rc = talk_and_kill();
    limited();
    printf("no-such-program: %s\n", rota_strerror(rota_process_spawn(&p, missing, NULL)));
    return rc;
}

int main(void) {
    int rc = rota_run(program, NULL, NULL, NULL);
    if (rc < 0)
        fprintf(stderr, "child_process: %s\n", rota_strerror(rc));
    return rc < 0;
}
