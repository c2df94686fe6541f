/* A timer and TCP echo by tasks. */
#include "rota.h"

#include "common.h"

FOOTPRINT_MEMORY(1010);

static intptr_t echo(void *arg) {
    char buf[512];
    int fd = *(int *)arg;
    ssize_t n;
    while ((n = rota_read(fd, buf, sizeof buf)) > 0)
        if (rota_write_all(fd, buf, (size_t)n, NULL) < 0)
            break;
    rota_close(fd);
    return 0;
}

static intptr_t clock_task(void *arg) {
    (void)arg;
    while (rota_sleep(ROTA_S) == 0)
        tick();
    return 0;
}

static intptr_t program(void *arg) {
    int listener = listen_somewhere();
    (void)arg;
    if (rota_spawn(NULL, clock_task, NULL, NULL) < 0)
        return -1;
    say_port(listener);
    for (;;) {
        int fd = rota_accept(listener, NULL, NULL);
        if (fd < 0)
            return fd;
        if (rota_spawn(NULL, echo, &fd, &(rota_spawn_options){ .arg_size = sizeof fd }) < 0)
            rota_close(fd);
    }
}

int main(void) { return rota_run(program, NULL, NULL, FOOTPRINT_OPTIONS) < 0; }
