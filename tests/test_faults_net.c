/* Every system call of a network program fails once, and from there on; and every allocation. The program: a server on
 * loopback, a client that resolves a name, dials, and has something echoed. Each run ends, with success or an error,
 * and gives back every descriptor and byte. */
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "rota.h"
#include "tests/fault_kit.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

enum { LOOKUP = FAULT_OWN };

/* Not the machine's own name service: what that opens is no part of this. */
static int sys_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    if (host && strcmp(host, "localhost") == 0 && !(hints->ai_flags & AI_NUMERICHOST))
        return fault(LOOKUP) ? EAI_MEMORY : rota__sys_real.getaddrinfo("127.0.0.1", service, hints, list);
    return rota__sys_real.getaddrinfo(host, service, hints, list);
}

static void change(struct rota__sys *sys) { sys->getaddrinfo = sys_getaddrinfo; }

/* ---- the program ---- */

static char service[8];
static rota_event listens;

static void note_port(int fd, void *arg) {
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    (void)arg;
    rota__sys_real.getsockname(fd, (struct sockaddr *)&a, &len);
    snprintf(service, sizeof service, "%d", ntohs(a.sin_port));
    (void)rota_event_set(&listens);
}

static intptr_t echo(int fd, void *arg) {
    char buf[64];
    ssize_t n;
    (void)arg;
    while ((n = rota_read(fd, buf, sizeof buf)) > 0 && (n = rota_write_all(fd, buf, (size_t)n, NULL)) == 0)
        ;
    return n;
}

static intptr_t serve(void *arg) {
    return rota_serve("127.0.0.1", "0", echo, arg, &(rota_serve_options){ .listening = note_port });
}

static intptr_t ask(void *arg) {
    char out[100] = "hello", back[sizeof out];
    (void)arg;
    int rc = rota_event_wait(&listens);
    int fd = rc < 0 ? rc : rota_dial("localhost", service, &(rota_dial_options){ .family = AF_INET });
    if (fd < 0)
        return fd;
    rc = rota_write_all(fd, out, sizeof out, NULL);
    if (rc == 0)
        rc = rota_read_exact(fd, back, sizeof back, NULL);
    if (rc == 0)
        cr_expect(memcmp(out, back, sizeof out) == 0, "the bytes arrived as others");
    rota_close(fd);
    return rc;
}

static intptr_t program(void *arg) {
    rota_task *server;
    (void)arg;
    memset(&listens, 0, sizeof listens);
    int rc = rota_spawn(&server, serve, NULL, NULL);
    if (rc < 0)
        return rc;
    intptr_t asked = rota_timeout(5 * ROTA_S, ask, NULL);
    rota_cancel(server, "asked");
    rc = rota_join(server, NULL);
    return rota_failed(asked) ? asked : rc == -ECANCELED ? 0 : rc;
}

/* The poll(2) backend waits with poll: in a build with that alone, a wait that fails ends the run, as it must. */
static const struct fault_row rows[] = {
    { FAULT_recv, -ECONNRESET, 0, NULL },       { FAULT_recv, -EINTR, 0, NULL },
    { FAULT_send, -EPIPE, 0, NULL },            { FAULT_send, -ENOBUFS, 0, NULL },
    { FAULT_accept, -EMFILE, 0, NULL },         { FAULT_accept, -ECONNABORTED, 0, NULL },
    { FAULT_accept, -ENOMEM, 0, NULL },         { FAULT_connect, -ENETUNREACH, 0, NULL },
    { FAULT_socket, -EMFILE, 0, NULL },         { FAULT_socket, -ENOBUFS, 0, NULL },
    { FAULT_bind, -EADDRINUSE, 0, NULL },       { FAULT_listen, -EADDRINUSE, 0, NULL },
    { FAULT_getsockopt, -ENOBUFS, 0, NULL },    { FAULT_setsockopt, -ENOBUFS, 0, NULL },
    { FAULT_poll, -ENOMEM, 0, NULL },           { FAULT_thread, -EAGAIN, 0, NULL },
    { LOOKUP, -ENOMEM, 0, "getaddrinfo" },
};

static const struct fault_program net = {
    .body = program, .rows = rows, .n_rows = sizeof rows / sizeof *rows, .change = change,
};

Fault_tests(faults_net, &net, .timeout = 120)
