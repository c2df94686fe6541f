/* The suspending calls of rota/process.h, cancelled wherever they stop: see everywhere.h. */
#include <stdlib.h>
#include <sys/wait.h>

#include "rota/process.h"
#include "tests/everywhere.h"

#define SHELL(script) ((char *[]){"/bin/sh", "-c", (script), NULL})

/* Closing the loop has reaped what was given up. */
static void no_child_is_left(void) { cr_expect(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD); }

static intptr_t wait_body(void *unused) {
    rota_process p;
    int status = -1;
    (void)unused;
    cr_expect_eq(rota_process_spawn(&p, SHELL("exit 3"), NULL), 0);
    int rc = S(rota_process_wait(&p, &status));
    cr_expect(rc < 0 || rota_process_exit_code(status) == 3);
    int rc_2 = S(rota_process_wait(&p, NULL));
    cr_expect_eq(rota_process_close(&p), 0);
    return rc < 0 ? rc : rc_2;
}

static const struct scenario waits = { .name = "process waits", .body = wait_body, .check = no_child_is_left };
Test(everywhere_process, waits, .timeout = 300) { everywhere(&waits); }

static intptr_t communicate_body(void *unused) {
    rota_process p;
    rota_process_output o = { .limit = 0 };
    rota_process_options opt = { .in = ROTA_PROCESS_PIPE, .out = ROTA_PROCESS_PIPE };
    (void)unused;
    cr_expect_eq(rota_process_spawn(&p, SHELL("cat"), &opt), 0);
    int rc = S(rota_process_communicate(&p, "abc", 3, &o));
    cr_expect(rc < 0 || (o.out && strcmp(o.out, "abc") == 0));
    rota_process_output_free(&o);
    cr_expect_eq(rota_process_close(&p), 0);
    return rc;
}

static const struct scenario communicates = {
    .name = "communicates", .body = communicate_body, .check = no_child_is_left
};
Test(everywhere_process, communicates, .timeout = 300) { everywhere(&communicates); }

static intptr_t run_body(void *unused) {
    rota_process_output o = { .limit = 0 };
    (void)unused;
    int rc = S(rota_process_run(SHELL("cat; exit 2"), "abc", 3, &o, NULL));
    cr_expect(rc < 0 || (strcmp(o.out, "abc") == 0 && rota_process_exit_code(o.status) == 2));
    rota_process_output_free(&o);
    return rc;
}

static const struct scenario runs = { .name = "runs a program", .body = run_body, .check = no_child_is_left };
Test(everywhere_process, runs, .timeout = 300) { everywhere(&runs); }

static const char *const suspending[] = {
    "rota_process_wait", "rota_process_communicate", "rota_process_run",
};

Test(everywhere_process, every_call_is_in_a_scenario) {
    everywhere_once(&waits);
    everywhere_once(&communicates);
    everywhere_once(&runs);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
}
