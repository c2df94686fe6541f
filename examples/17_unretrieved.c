/* Program 17: a task that fails although nobody asks for its error. The program goes on; the error is reported when the
 * task goes, with what is needed to find it. Here the report comes to a hook; without one it is a line on stderr. */
#include <stdio.h>
#include <string.h>

#include "rota.h"

static intptr_t fails(void *unused) {
    (void)unused;
    return -ENOENT;
}

static void on_report(void *ctx, const rota_report *report) {
    const char *file = report->at.file ? report->at.file : "?";
    (void)ctx;
    if (report->kind == ROTA_REPORT_UNAWAITED)
        printf("report: task \"%s\" (spawned in %s) failed and nobody looked: %s\n", report->task,
               strrchr(file, '/') ? strrchr(file, '/') + 1 : file, rota_strerror(report->error));
}

static intptr_t amain(void *unused) {
    (void)unused;
    intptr_t result;
    rota_task *asked, *kept;

    printf("one whose error somebody asks for\n");
    int rc = rota_spawn(&asked, fails, NULL, &(rota_spawn_options){ .name = "asked" });
    if (rc == 0)
        rc = rota_join(asked, &result);
    if (rc < 0)
        return rc;
    printf("it failed: %s\n", rota_strerror(result));

    printf("one that nobody keeps\n");
    rc = rota_spawn(NULL, fails, NULL, &(rota_spawn_options){ .name = "detached" });
    if (rc == 0)
        rc = rota_yield();
    if (rc < 0)
        return rc;

    printf("one that is let go unread\n");
    rc = rota_spawn(&kept, fails, NULL, &(rota_spawn_options){ .name = "kept" });
    if (rc == 0)
        rc = rota_yield();
    if (rc < 0)
        return rc;
    rota_task_release(kept);
    printf("the program goes on\n");
    return 0;
}

int main(void) { return rota_run(amain, NULL, NULL, &(rota_loop_options){ .report = on_report }) < 0; }
