/* Servers on several loops that start, serve and stop while clients of other threads connect and leave: for
 * ThreadSanitizer, and for threads that nobody stops. Exits 0 when each server came to its end with all that it began.
 * The argument is the number of servers. */
#include "tests/stress/stress.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "rota/net.h"

enum { LOOPS = 4, CALLERS = 3 };

static atomic_int port, begun, ended, echoed;
static atomic_bool over;

static void listening(int fd, void *arg) {
    rota_address a;
    (void)arg;
    must(rota_local_address(fd, &a) == 0);
    atomic_store(&port, rota_address_port(&a));
}

static intptr_t echo(int fd, void *arg) {
    char c;
    must(arg == &port);
    atomic_fetch_add(&begun, 1);
    while (rota_read(fd, &c, 1) == 1 && rota_write(fd, &c, 1) == 1)
        ;
    atomic_fetch_add(&ended, 1);
    return 0;
}

static void *caller(void *unused) {
    (void)unused;
    while (!atomic_load(&over)) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atomic_load(&port))};
        struct linger now = {.l_onoff = 1};
        char c = 'x';
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        must(fd >= 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && send(fd, &c, 1, MSG_NOSIGNAL) == 1 &&
            recv(fd, &c, 1, 0) == 1)
            atomic_fetch_add(&echoed, 1);
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); /* no port stays behind */
        (void)close(fd);
    }
    return NULL;
}

static intptr_t serve(void *drain) {
    rota_serve_options opt = {.threads = LOOPS, .listening = listening, .drain = drain ? ROTA_MS : 0};
    return rota_serve("127.0.0.1", "0", echo, &port, &opt);
}

static intptr_t one_server(void *number) {
    int64_t life = (*(int *)number % 7) * ROTA_MS;
    int rc = (int)rota_timeout(life, serve, *(int *)number % 2 ? &port : NULL);
    must(rc == -ETIMEDOUT || (life == 0 && rc == -ECANCELED));
    must(atomic_load(&begun) == atomic_load(&ended));
    return 0;
}

int main(int argc, char **argv) {
    pthread_t threads[CALLERS];
    int servers = argc > 1 ? atoi(argv[1]) : 200;
    alarm(240);
    for (int i = 0; i < CALLERS; i++)
        threads[i] = start_thread(caller, NULL);
    for (int i = 0; i < servers; i++)
        must(rota_run(one_server, &i, NULL, NULL) == 0);
    atomic_store(&over, true);
    for (int i = 0; i < CALLERS; i++)
        join(threads[i]);
    printf("%d servers, %d clients, %d echoes\n", servers, atomic_load(&begun), atomic_load(&echoed));
    return 0;
}
