/* Every suspending call on sockets, and what moves bytes between descriptors, cancelled wherever it stops: see
 * everywhere.h. */
#include <netdb.h>
#include <stddef.h>

#include "rota/net.h"
#include "tests/everywhere.h"
#include "tests/net_kit.h"

#define Everywhere(name) \
    Test(everywhere_sock, name, .timeout = 300) { everywhere(&name); }

static int ends[2];

static int breathe(void) { return rota_sleep(ROTA_MS); }

static void close_ends(void) {
    rota_close(ends[0]);
    rota_close(ends[1]);
}

/* ---- messages: what was sent and is not received is still there ---- */

static int sent, received;

static intptr_t talk(void *unused) {
    (void)unused;
    while (breathe() == 0)
        sent += send(ends[1], "abc", 3, MSG_DONTWAIT) == 3;
    return 0;
}

static void messages_begin(void) {
    sent = received = 0;
    cr_expect_eq(rota_socketpair(SOCK_DGRAM, ends), 0);
    helper(talk, NULL);
}

static ssize_t counted(ssize_t n) {
    received += n == 3;
    return n;
}

static intptr_t messages_body(void *unused) {
    char buf[8];
    struct iovec iov = {buf, sizeof buf};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    (void)unused;
    counted(S(rota_recv(ends[0], buf, sizeof buf, 0)));
    counted(S(rota_recvfrom(ends[0], buf, sizeof buf, 0, NULL, NULL)));
    counted(S(rota_recvmsg(ends[0], &msg, 0)));
    TRY(rota_send(ends[0], "x", 1, 0));
    TRY(rota_sendto(ends[0], "x", 1, 0, NULL, 0));
    iov.iov_len = 1;
    return S(rota_sendmsg(ends[0], &msg, 0));
}

static void messages_reuse(void) {
    char buf[8];
    for (struct pollfd p = {.fd = ends[0], .events = POLLIN}; poll(&p, 1, 0) == 1;)
        counted(rota_recv(ends[0], buf, sizeof buf, 0));
    cr_expect_eq(sent, received);
    cr_expect_eq(send(ends[1], "abc", 3, 0), 3);
    cr_expect_eq(rota_recv(ends[0], buf, sizeof buf, 0), 3);
}

static const struct scenario messages = {
    .name = "messages", .begin = messages_begin, .body = messages_body, .reuse = messages_reuse, .end = close_ends
};
Everywhere(messages)

/* ---- senders that have to wait ---- */

static int taken;

static intptr_t take(void *unused) {
    char buf[8];
    (void)unused;
    while (breathe() == 0)
        for (int i = 0; i < 4; i++)
            taken += recv(ends[1], buf, sizeof buf, MSG_DONTWAIT) > 0;
    return 0;
}

static void senders_begin(void) {
    sent = taken = 0;
    cr_expect_eq(rota_socketpair(SOCK_DGRAM, ends), 0);
    cr_expect_eq(rota_set_buffers(ends[0], 0, 4096), 0);
    while (send(ends[0], "y", 1, MSG_DONTWAIT) == 1)
        sent++;
    helper(take, NULL);
}

static intptr_t senders_body(void *unused) {
    (void)unused;
    for (int i = 0; i < 6; i++) {
        ssize_t n = S(rota_send(ends[0], "z", 1, 0));
        if (n < 0)
            return n;
        sent++;
    }
    return 0;
}

static void senders_end(void) {
    char buf[8];
    while (recv(ends[1], buf, sizeof buf, MSG_DONTWAIT) > 0)
        taken++;
    close_ends();
}

static void senders_check(void) { cr_expect_eq(sent, taken); }

static const struct scenario senders = {
    .name = "senders", .begin = senders_begin, .body = senders_body, .end = senders_end, .check = senders_check
};
Test(everywhere_sock, senders, .timeout = 300, .disabled = NOT_LINUX) { everywhere(&senders); }

/* ---- descriptors that travel: none stays open, as the end of each run sees ---- */

static intptr_t pass(void *unused) {
    int fds[2];
    char c;
    (void)unused;
    while (breathe() == 0) {
        if (rota_pipe(fds) < 0)
            break;
        ssize_t n = rota_send_fds(ends[1], "x", 1, fds, 2);
        rota_close(fds[0]);
        rota_close(fds[1]);
        if (n == 1 && rota_recv(ends[1], &c, 1, 0) != 1) /* it has them */
            break;
    }
    return 0;
}

static void passing_begin(void) {
    cr_expect_eq(rota_socketpair(SOCK_DGRAM, ends), 0);
    helper(pass, NULL);
}

static intptr_t passing_body(void *unused) {
    int fds[4];
    char c;
    (void)unused;
    for (int i = 0; i < 3; i++) {
        size_t n = 4;
        ssize_t r = S(rota_recv_fds(ends[0], &c, 1, fds, &n));
        cr_expect(r < 0 ? n == 0 : n == 2, "%zd bytes, %zu descriptors", r, n);
        for (size_t k = 0; k < n; k++)
            rota_close(fds[k]);
        if (r < 0)
            return r;
        TRY(rota_send_fds(ends[0], "a", 1, ends, 1));
    }
    return 0;
}

static const struct scenario passing = {
    .name = "passing", .begin = passing_begin, .body = passing_body, .end = close_ends
};
Everywhere(passing)

/* ---- sockets that are made ---- */

static intptr_t udp_body(void *unused) {
    (void)unused;
    int a = S(rota_udp_bind("127.0.0.1", "0", NULL));
    if (a >= 0)
        rota_close(a);
    int b = S(rota_udp_connect("127.0.0.1", "9", NULL));
    if (b >= 0)
        rota_close(b);
    return a < 0 ? a : b < 0 ? b : S(rota_yield());
}

static const struct scenario udp = {.name = "udp", .body = udp_body};
Everywhere(udp)

static char path[] = "/tmp/rota-everywhere-XXXXXX";

static void unix_begin(void) {
    (void)snprintf(path, sizeof path, "/tmp/rota-everywhere-XXXXXX");
    close(mkstemp(path));
    unlink(path);
    ends[0] = rota_unix_listen(path, &(rota_unix_options){.backlog = 1});
    ends[1] = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_expect_geq(ends[0], 0);
}

static intptr_t unix_body(void *unused) {
    int fds[4], n = 0, rc = 0;
    (void)unused;
    for (; n < 4 && rc >= 0; n++) { /* the last ones find the queue full, and wait in vain */
        rota_scope scope;
        rota_timeout_begin(&scope, 5 * ROTA_MS);
        rc = fds[n] = (int)rota_scope_end(&scope, S(rota_unix_dial(path)));
    }
    for (int i = 0; i < n; i++)
        if (fds[i] >= 0)
            rota_close(fds[i]);
    return rc == -ETIMEDOUT ? S(rota_yield()) : rc;
}

static void unix_end(void) {
    close_ends();
    unlink(path);
}

static const struct scenario unix_names = {
    .name = "unix", .begin = unix_begin, .body = unix_body, .end = unix_end
};
Test(everywhere_sock, unix_names, .timeout = 300, .disabled = NOT_LINUX) { everywhere(&unix_names); }

/* ---- files that are sent: the position is where the count says ---- */

enum { FILE_SIZE = 300000 };

static int file, out[2];
static int64_t offset;
static size_t passed_on, arrived;

static intptr_t swallow(void *fd) {
    static char room[30000];
    ssize_t n;
    while (breathe() == 0)
        while ((n = recv((int)(intptr_t)fd, room, sizeof room, MSG_DONTWAIT)) > 0)
            arrived += (size_t)n;
    return 0;
}

static void make_file(void) {
    static char bytes[FILE_SIZE];
    char name[] = "/tmp/rota-everywhere-XXXXXX";
    file = mkstemp(name);
    unlink(name);
    cr_expect_eq(write(file, bytes, sizeof bytes), FILE_SIZE);
    cr_expect_eq(lseek(file, 0, SEEK_SET), 0);
}

static void files_begin(void) {
    make_file();
    offset = 0;
    passed_on = arrived = 0;
    cr_expect_eq(rota_socketpair(SOCK_STREAM, out), 0);
    helper(swallow, (void *)(intptr_t)out[1]);
}

static intptr_t files_body(void *unused) {
    size_t done;
    (void)unused;
    int rc = S(rota_sendfile(out[0], file, &offset, FILE_SIZE, &done));
    cr_expect(rc < 0 || done == FILE_SIZE);
    cr_expect_eq((size_t)offset, done);
    passed_on += done;
    int rc_2 = S(rota_sendfile(out[0], file, NULL, 1000, &done));
    cr_expect_eq((size_t)lseek(file, 0, SEEK_CUR), done);
    passed_on += done;
    return rc < 0 ? rc : rc_2;
}

static void files_end(void) {
    char room[4096];
    ssize_t n;
    while ((n = recv(out[1], room, sizeof room, MSG_DONTWAIT)) > 0)
        arrived += (size_t)n;
    close(file);
    rota_close(out[0]);
    rota_close(out[1]);
}

static void files_check(void) { cr_expect_eq(passed_on, arrived); }

static const struct scenario files = {
    .name = "files", .begin = files_begin, .body = files_body, .end = files_end, .check = files_check
};
Everywhere(files)

/* ---- bytes passed on: what is counted has arrived ---- */

static void relays_begin(void) {
    files_begin();
    cr_expect_eq(rota_socketpair(SOCK_STREAM, ends), 0);
    helper(talk, NULL);
    sent = 0;
}

static intptr_t relays_body(void *unused) {
    size_t done;
    (void)unused;
    int rc = S(rota_splice(ends[0], out[0], 9, &done));
    cr_expect(rc < 0 || done == 9);
    passed_on += done;
    /* No room: it waits at the start of its last piece. */
    for (ssize_t n; (n = send(out[0], path, sizeof path, MSG_DONTWAIT)) > 0;)
        passed_on += (size_t)n;
    int rc_2 = S(rota_splice(file, out[0], 20000, &done));
    passed_on += done;
    return rc < 0 ? rc : rc_2;
}

static void relays_end(void) {
    files_end();
    close_ends();
}

static const struct scenario relays = {
    .name = "relays", .begin = relays_begin, .body = relays_body, .end = relays_end, .check = files_check
};
Everywhere(relays)

/* ---- a server on a listener of one's own, and with other threads ---- */

static intptr_t client_main(int fd, void *unused) {
    char c;
    (void)unused;
    return rota_read(fd, &c, 1);
}

static intptr_t serve(void *threads) {
    rota_serve_options opt = {.threads = (unsigned)(uintptr_t)threads};
    int listener = raw_listener(4);
    int rc = S(rota_serve_fd(listener, client_main, NULL, &opt));
    cr_expect(!is_open(listener));
    return rc;
}

static intptr_t servers_body(void *threads) {
    (void)threads;
    intptr_t v = Never(rota_timeout(5 * ROTA_MS, serve, NULL));
    cr_expect(v == -ETIMEDOUT || v == -ECANCELED, "%ld", (long)v);
    return S(rota_yield());
}

static const struct scenario servers = {.name = "servers", .body = servers_body};
Everywhere(servers)

static intptr_t crews_body(void *unused) {
    (void)unused;
    intptr_t v = Never(rota_timeout(5 * ROTA_MS, serve, (void *)3));
    cr_expect(v == -ETIMEDOUT || v == -ECANCELED, "%ld", (long)v);
    return S(rota_yield());
}

static const struct scenario crews = {.name = "crews", .body = crews_body, .threads = true};
Everywhere(crews)

/* ---- the list ---- */

/* Every public call of net.h that may suspend. tests/everywhere/check.py holds it against the header. */
static const char *const suspending[] = {
    "rota_recv", "rota_recv_fds", "rota_recvfrom", "rota_recvmsg", "rota_send", "rota_send_fds", "rota_sendfile",
    "rota_sendmsg", "rota_sendto", "rota_serve_fd", "rota_splice", "rota_udp_bind", "rota_udp_connect",
    "rota_unix_dial",
};

static const struct scenario *const scenarios[] = {
    &messages, &senders, &passing, &udp, &unix_names, &files, &relays, &servers,
};

Test(everywhere_sock, every_suspending_call_is_in_a_scenario, .disabled = NOT_LINUX) {
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        everywhere_once(scenarios[i]);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
}
