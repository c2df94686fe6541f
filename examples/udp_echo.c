/* A UDP echo server and a client in one program: datagrams keep their borders, carry the address that they came from,
 * and an empty one is one too. */
#include <stdio.h>
#include <string.h>

#include "rota.h"

static intptr_t serve(void *arg) {
    int fd = *(int *)arg;
    char buf[1500];
    for (;;) {
        rota_address from = { .len = sizeof from.addr };
        ssize_t n = rota_recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from.addr, &from.len);
        if (n == -ECONNREFUSED)
            continue;  /* somebody we answered has gone; of no concern to the others */
        if (n < 0)
            return n;
        n = rota_sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from.addr, from.len);
        if (n < 0)
            return n;
    }
}

static intptr_t ask(void *arg) {
    static const char *const words[] = { "hello", "", "datagrams have borders" };
    int fd = *(int *)arg;
    char buf[1500];
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        ssize_t n = rota_send(fd, words[i], strlen(words[i]), 0);
        if (n >= 0)
            n = rota_recv(fd, buf, sizeof buf, 0);
        if (n < 0)
            return n;
        printf("%zd bytes came back: \"%.*s\"\n", n, (int)n, buf);
    }
    return 0;
}

static intptr_t body(void *arg) {
    int *fds = arg;
    rota_address self;
    char port[8];
    intptr_t rc = fds[0] = rota_udp_bind("127.0.0.1", NULL, NULL);
    if (rc >= 0)
        rc = rota_local_address(fds[0], &self);
    if (rc < 0)
        return rc;
    snprintf(port, sizeof port, "%d", rota_address_port(&self));
    rc = fds[1] = rota_udp_connect("127.0.0.1", port, NULL);
    if (rc < 0)
        return rc;
    rota_task *server;
    rc = rota_spawn(&server, serve, &fds[0], &(rota_spawn_options){ .name = "server" });
    if (rc < 0)
        return rc;
    rc = rota_timeout(5 * ROTA_S, ask, &fds[1]);  /* datagrams can be lost: never wait for one without a limit */
    rota_cancel(server, "the client has all its answers");
    int ended = rota_join(server, NULL);
    return rc < 0 ? rc : ended == -ECANCELED ? 0 : ended;
}

int main(void) {
    int fds[2] = { -1, -1 };
    int rc = rota_run(body, fds, NULL, NULL);
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            rota_close(fds[i]);
    if (rc < 0)
        fprintf(stderr, "udp_echo: %s\n", rota_strerror(rc));
    return rc < 0;
}
