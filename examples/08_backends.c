/* Program 8: the same program on each way of asking the kernel that this build has. The names are those that the
 * environment variable ROTA_BACKEND takes, for any program. */
#include <stdio.h>
#include <sys/socket.h>

#include "rota.h"

static intptr_t reader(void *arg) {
    char text[16] = "";
    int64_t start = rota_now();
    ssize_t n = rota_read(*(int *)arg, text, sizeof text - 1);
    if (n > 0)
        printf("  read \"%s\" after %.2f s\n", text, (double)(rota_now() - start) / (double)ROTA_S);
    return n;
}

static intptr_t talk(void *unused) {
    (void)unused;
    int ends[2];
    rota_task *task;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return -errno;
    intptr_t rc = rota_spawn(&task, reader, &ends[0], NULL);
    if (rc == 0) {
        rc = rota_sleep(250 * ROTA_MS);
        if (rc == 0)
            rc = rota_write_all(ends[1], "hello", 5, NULL);
        int joined = rota_join(task, NULL);
        rc = rc < 0 ? rc : joined;
    }
    rota_close(ends[0]);
    rota_close(ends[1]);
    return rc;
}

int main(void) {
    for (const char *const *name = rota_loop_backends(); *name; name++) {
        printf("%s\n", *name);
        int rc = rota_run(talk, NULL, NULL, &(rota_loop_options){ .backend = *name });
        if (rc < 0) {
            fprintf(stderr, "backends: %s\n", rota_strerror(rc));
            return 1;
        }
    }
    return 0;
}
