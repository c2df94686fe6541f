/* Descriptors travel over a unix socket: the receiver gets one end of a pipe and reads from it while the sender has
 * closed its own copy long ago. This is how a process that may open a file hands it to one that may not. */
#include <stdio.h>

#include "rota.h"

static intptr_t lend(void *arg) {
    int fd = *(int *)arg, ends[2];
    intptr_t rc = rota_pipe(ends);
    if (rc < 0)
        return rc;
    rc = rota_send_fds(fd, "pipe", 4, &ends[0], 1);
    rota_close(ends[0]);  /* what is on its way has its own reference */
    if (rc >= 0)
        rc = rota_sleep(10 * ROTA_MS);
    if (rc >= 0)
        rc = rota_write_all(ends[1], "through a pipe that travelled", 29, NULL);
    rota_close(ends[1]);
    return rc;
}

static intptr_t borrow(void *arg) {
    char label[16], buf[64];
    int got[1];
    size_t n_fds = 1;
    ssize_t n = rota_recv_fds(*(int *)arg, label, sizeof label, got, &n_fds);
    if (n < 0)
        return n;
    printf("%zu descriptor with the label \"%.*s\"\n", n_fds, (int)n, label);
    if (n_fds == 0)
        return 0;
    while ((n = rota_read(got[0], buf, sizeof buf)) > 0)
        printf("read: %.*s\n", (int)n, buf);
    rota_close(got[0]);
    return n;
}

static intptr_t body(void *unused) {
    int ends[2];
    (void)unused;
    intptr_t rc = rota_socketpair(SOCK_STREAM, ends);
    if (rc < 0)
        return rc;
    rota_call both[] = { { .fn = lend, .arg = &ends[0] }, { .fn = borrow, .arg = &ends[1] } };
    rc = rota_gather(both, 2, NULL);
    rota_close(ends[0]);
    rota_close(ends[1]);
    return rc;
}

int main(void) {
    int rc = rota_run(body, NULL, NULL, NULL);
    if (rc < 0)
        fprintf(stderr, "unix_fd_passing: %s\n", rota_strerror(rc));
    return rc < 0;
}
