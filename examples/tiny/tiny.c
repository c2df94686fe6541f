/* The small profile at work: a TCP echo server that gives all its memory itself, and says once a second how many it
 * serves. A client that is silent for ten seconds is let go.
 *
 *     tiny [PORT]          a free port on 127.0.0.1 without one
 *
 * The same source compiles with the full library, which takes what it needs from the heap instead. Statically linked, a
 * program like this one brings the library and a few wrappers of system calls: no allocator, no stdio, no threads. See
 * README.md beside it for how it is built by hand.
 */
#include <rota.h>

#include <string.h>
#include <unistd.h>

enum { CLIENTS = 100, STACK = 4096 };

/* Descriptors: the clients', and 16 more. One timer for each task is counted by the macro. Two tasks besides the
 * clients. */
ROTA_LOOP_MEMORY(memory, CLIENTS + 16, 0, CLIENTS + 2, STACK);

static int clients;

/* "what N\n" on standard output, without stdio. */
static void say(const char *what, unsigned n) {
    char line[64], *p = line + sizeof line;
    size_t length = strlen(what);
    *--p = '\n';
    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    *--p = ' ';
    p -= length;
    memcpy(p, what, length);
    if (write(1, p, (size_t)(line + sizeof line - p)) < 0)
        _exit(1);
}

static ssize_t read_within(int fd, void *buf, size_t n, int64_t limit) {
    rota_scope scope;
    rota_timeout_begin(&scope, limit);
    return (ssize_t)rota_scope_end(&scope, rota_read(fd, buf, n));
}

static intptr_t serve(void *arg) {
    int fd = *(int *)arg;
    char buf[1024];
    ssize_t n;
    clients++;
    while ((n = read_within(fd, buf, sizeof buf, 10 * ROTA_S)) > 0)
        if (rota_write_all(fd, buf, (size_t)n, NULL) < 0)
            break;
    clients--;
    (void)rota_close(fd);
    return n;
}

/* Once a second, if it has changed. */
static intptr_t report(void *arg) {
    int said = 0;
    (void)arg;
    while (rota_sleep(ROTA_S) == 0) {
        if (said == clients)
            continue;
        say("clients", (unsigned)clients);
        said = clients;
    }
    return 0;
}

static unsigned port_of(int listener) {
    union {
        struct sockaddr any;
        unsigned char bytes[64];
    } address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    (void)getsockname(listener, &address.any, &length);
    return (unsigned)address.bytes[2] << 8 | address.bytes[3];
}

static intptr_t program(void *arg) {
    int listener = rota_listen("127.0.0.1", (const char *)arg, NULL);
    if (listener < 0)
        return listener;
    int rc = rota_spawn(NULL, report, NULL, NULL);
    if (rc == 0)
        say("listening on port", port_of(listener));
    while (rc == 0) {
        int fd = rota_accept(listener, NULL, NULL);
        if (fd == -EMFILE)
            continue; /* it has paused already */
        rc = fd < 0 ? fd : 0;
        /* All stacks in use: this client is let go, those that are served are not. */
        if (fd >= 0 && rota_spawn(NULL, serve, &fd, &(rota_spawn_options){ .arg_size = sizeof fd }) < 0)
            (void)rota_close(fd);
    }
    (void)rota_close(listener);
    return rc;
}

int main(int argc, char **argv) {
    return rota_run(program, argc > 1 ? argv[1] : NULL, NULL, &memory) < 0;
}
