/* Descriptor calls of the small profile. */
#include "tests/small/kit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/uio.h>
#include <sys/un.h>

static int fds[2];

#define FD_TEST(name)                                                                \
    static intptr_t name##_body(void *arg);                                          \
    Test(small_fd, name) {                                                           \
        intptr_t result = -1;                                                        \
        kit_pair(fds);                                                               \
        cr_assert_eq(rota_run(name##_body, NULL, &result, kit_memory()), 0);         \
        cr_expect_eq(result, 0);                                                     \
        close(fds[1]);                                                               \
    }                                                                                \
    static intptr_t name##_body(void *arg)

/* Of a task, which is released; or why there is none. */
static intptr_t outcome(rota_task *task) {
    intptr_t value = 0;
    cr_expect_eq(rota_join(task, &value), 0);
    return value;
}

static intptr_t reads(void *arg) {
    char buf[8];
    ssize_t n = rota_read(*(int *)arg, buf, sizeof buf);
    kit_note(n > 0 ? buf[0] : n == 0 ? '0' : n == -EBADF ? 'b' : n == -EBUSY ? 'y' : n == -ECANCELED ? 'c' : '?');
    return n;
}

FD_TEST(a_read_waits_for_data_and_for_the_end) {
    char buf[8];
    rota_task *task;
    (void)arg;
    cr_expect_eq(rota_write(fds[1], "ab", 2), 2);
    cr_expect_eq(rota_read(fds[0], buf, 1), 1);
    cr_expect_eq(rota_read(fds[0], buf + 1, 7), 1);
    cr_expect_eq(rota_read(fds[0], buf, 0), 0);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(rota_spawn(&task, reads, &fds[0], NULL), 0);
        cr_expect_eq(rota_yield(), 0);
        cr_expect_eq(i < 2 ? rota_write(fds[1], i ? "y" : "x", 1) : 1, 1);
        cr_expect_eq(i < 2 ? 0 : shutdown(fds[1], SHUT_WR), 0);
        cr_expect_geq(outcome(task), 0);
    }
    cr_expect_str_eq(kit_log, "xy0");
    return rota_close(fds[0]);
}

FD_TEST(read_exact_and_write_all) {
    char buf[8];
    size_t done;
    (void)arg;
    cr_expect_eq(rota_write_all(fds[1], "abcd", 4, &done), 0);
    cr_expect_eq(done, 4);
    cr_expect_eq(rota_read_exact(fds[0], buf, 4, NULL), 0);
    cr_expect_eq(rota_write_all(fds[1], "ef", 2, NULL), 0);
    cr_expect_eq(shutdown(fds[1], SHUT_WR), 0);
    cr_expect_eq(rota_read_exact(fds[0], buf, 4, &done), -EPIPE);
    cr_expect_eq(done, 2);
    return rota_close(fds[0]);
}

static intptr_t writes_much(void *arg) {
    static char bytes[1 << 20];
    size_t *done = arg;
    int rc = rota_write_all(fds[0], bytes, sizeof bytes, done);
    kit_note(rc == 0 ? 'w' : rc == -ECANCELED ? 'c' : '?');
    return rc;
}

FD_TEST(a_writer_waits_for_room) {
    rota_task *task;
    size_t done = 0, got = 0;
    char buf[4096];
    (void)arg;
    cr_expect_eq(rota_spawn(&task, writes_much, &done, NULL), 0);
    while (got < 1 << 20) {
        ssize_t n = rota_read(fds[1], buf, sizeof buf);
        cr_expect_gt(n, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    cr_expect_eq(outcome(task), 0);
    cr_expect_eq(done, 1 << 20);
    return rota_close(fds[0]);
}

FD_TEST(one_reads_while_another_writes) {
    rota_task *reader, *writer;
    size_t done = 0;
    (void)arg;
    cr_expect_eq(rota_spawn(&reader, reads, &fds[0], NULL), 0);
    cr_expect_eq(rota_spawn(&writer, writes_much, &done, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_write(fds[1], "r", 1), 1);
    cr_expect_gt(outcome(reader), 0);
    cr_expect_eq(rota_cancel(writer, NULL), 0);
    cr_expect_eq(outcome(writer), -ECANCELED);
    cr_expect_gt(done, 0);
    cr_expect_lt(done, 1 << 20);
    cr_expect_str_eq(kit_log, "rc");
    return rota_close(fds[0]);
}

static intptr_t writes_one(void *arg) {
    (void)arg;
    return rota_write(fds[1], "z", 1);
}

FD_TEST(a_second_waiter_for_a_direction_is_refused) {
    rota_task *first, *second;
    char c;
    (void)arg;
    cr_expect_eq(rota_spawn(&first, reads, &fds[0], NULL), 0);
    cr_expect_eq(rota_spawn(&second, reads, &fds[0], NULL), 0);
    cr_expect_eq(outcome(second), -EBUSY);
    cr_expect_eq(rota_spawn(&second, writes_one, NULL, NULL), 0);
    cr_expect_eq(rota_cancel(first, NULL), 0);
    cr_expect_eq(rota_read(fds[0], &c, 1), 1); /* the direction is free at once */
    cr_expect_eq(outcome(first), -ECANCELED);
    cr_expect_eq(outcome(second), 1);
    cr_expect_str_eq(kit_log, "yc");
    return rota_close(fds[0]);
}

FD_TEST(closed_under_its_waiter) {
    rota_task *task;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, reads, &fds[0], NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_close(fds[0]), 0);
    cr_expect_eq(outcome(task), -EBADF);
    char c;
    cr_expect_eq(rota_read(fds[0], &c, 1), -EBADF);
    cr_expect_eq(rota_close(fds[0]), -EBADF);
    return 0;
}

static void closes(rota_watcher *watcher, unsigned ready, void *arg) {
    (void)watcher, (void)arg;
    if (!(ready & ROTA_CLOSED))
        cr_expect_eq(rota_close(fds[0]), 0);
}

/* Data has come and the task was woken; before it runs, a callback of the same batch closes its descriptor. It must not
 * touch the number again. */
FD_TEST(closed_between_the_wake_up_and_the_next_step) {
    rota_task *task, *next;
    int third[2];
    rota_watcher watcher;
    int other[2];
    (void)arg;
    kit_pair(other);
    kit_pair(third);
    cr_expect_eq(rota_spawn(&task, reads, &fds[0], NULL), 0);
    cr_expect_eq(rota_spawn(&next, reads, &third[0], NULL), 0);
    rota_watcher_init(&watcher, other[0], ROTA_READ, closes, NULL);
    cr_expect_eq(rota_watcher_start(rota_loop_current(), &watcher), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_sleep(ROTA_MS), 0); /* they have been registered, and found unreadable */
    cr_expect_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(write(third[1], "n", 1), 1);
    cr_expect_eq(write(other[1], "x", 1), 1);
    cr_expect_eq(outcome(task), -EBADF);
    cr_expect_eq(outcome(next), 1); /* which was woken in between: waking twice is waking once */
    cr_expect_eq(rota_close(third[0]), 0);
    close(third[1]);
    cr_expect_eq(rota_watcher_stop(rota_loop_current(), &watcher), 0);
    cr_expect_eq(rota_close(other[0]), 0);
    close(other[1]);
    return 0;
}

FD_TEST(forgotten_under_its_waiter_it_stays_open) {
    rota_task *task;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, reads, &fds[0], NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_forget(fds[0]), 0);
    cr_expect_eq(outcome(task), -EBADF);
    cr_expect_eq(rota_spawn(&task, reads, &fds[0], NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_write(fds[1], "k", 1), 1);
    cr_expect_eq(outcome(task), 1);
    cr_expect_eq(rota_forget(-1), -EBADF);
    return rota_close(fds[0]);
}

/* The data has come first: it is not lost, the next call refuses. */
FD_TEST(data_beats_cancellation) {
    rota_task *task;
    (void)arg;
    cr_expect_eq(rota_spawn(&task, reads, &fds[0], NULL), 0);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect_eq(write(fds[1], "d", 1), 1);
    cr_expect_eq(rota_sleep(ROTA_MS), 0); /* takes the event; reads runs behind us */
    rota_cancel(task, NULL);
    intptr_t result;
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result, 1);
    return rota_close(fds[0]);
}

FD_TEST(a_number_beyond_the_table_cannot_be_waited_for) {
    char c;
    (void)arg;
    int high = fcntl(fds[0], F_DUPFD_CLOEXEC, KIT_FDS);
    cr_expect_geq(high, KIT_FDS);
    cr_expect_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_read(high, &c, 1), 1);
    cr_expect_eq(rota_read(high, &c, 1), -EMFILE);
    cr_expect_eq(rota_poll(high, ROTA_READ), -EMFILE);
    cr_expect_eq(rota_close(high), 0);
    return rota_close(fds[0]);
}

static void is_told(rota_watcher *watcher, unsigned ready, void *arg) { (void)watcher, (void)ready, (void)arg; }

static intptr_t leaves_a_watcher(void *arg) {
    static rota_watcher watcher;
    static int end;
    (void)arg;
    end = fds[1];
    cr_expect_eq(rota_spawn(NULL, reads, &end, NULL), 0);
    rota_watcher_init(&watcher, fds[0], ROTA_READ, is_told, NULL);
    cr_expect_eq(rota_watcher_start(rota_loop_current(), &watcher), 0);
    return rota_sleep(ROTA_MS);
}

/* The last task has ended: a watcher that is left is nothing to wait for. */
Test(small_fd, a_loop_that_closes_waits_for_tasks_alone) {
    kit_pair(fds);
    cr_expect_eq(rota_run(leaves_a_watcher, NULL, NULL, kit_memory()), 0);
    cr_expect_str_eq(kit_log, "c");
    close(fds[0]);
    close(fds[1]);
}

/* ---- what is no socket ---- */

static intptr_t reads_late(void *arg) {
    char buf[4096];
    ssize_t n;
    size_t sum = 0;
    while ((n = rota_read(*(int *)arg, buf, sizeof buf)) > 0)
        sum += (size_t)n;
    return n < 0 ? n : (intptr_t)sum;
}

static intptr_t reads_a_byte(void *fd) {
    char c;
    return rota_read(*(int *)fd, &c, 1);
}

static intptr_t writes_a_byte(void *fd) { return rota_write(*(int *)fd, "x", 1); }

static intptr_t within(int64_t limit, rota_fn *fn, int *fd) {
    rota_task *task;
    intptr_t value = 0;
    cr_expect_eq(rota_spawn(&task, fn, fd, &(rota_spawn_options){ .timeout = limit }), 0);
    cr_expect_eq(rota_join(task, &value), 0);
    return value;
}

/* They will never be ready. (An emulator may not pass on what is asked: then there is nothing to be seen.) */
FD_TEST(the_wrong_end_of_a_pipe_is_an_error_at_once) {
    int ends[2];
    (void)arg;
    for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
        cr_assert_eq(pipe2(ends, O_CLOEXEC | flags), 0);
        if (readv(ends[1], NULL, 0) < 0) {
            cr_expect_eq(within(ROTA_S, reads_a_byte, &ends[1]), -EBADF);
            cr_expect_eq(within(ROTA_S, writes_a_byte, &ends[0]), -EBADF);
        }
        cr_expect_eq(within(ROTA_MS, reads_a_byte, &ends[0]), -ETIMEDOUT); /* the right one waits */
        cr_expect_eq(within(ROTA_S, writes_a_byte, &ends[1]), 1);
        cr_expect_eq(within(ROTA_S, reads_a_byte, &ends[0]), 1);
        cr_expect_eq(rota_close(ends[0]), 0);
        cr_expect_eq(rota_close(ends[1]), 0);
    }
    return rota_close(fds[0]);
}

FD_TEST(pipes_that_block_do_not_block_the_loop) {
    static const char bytes[100000];
    int ends[2];
    rota_task *task;
    intptr_t result;
    (void)arg;
    cr_expect_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_expect_eq(rota_spawn(&task, reads_late, &ends[0], NULL), 0);
    cr_expect_eq(rota_write_all(ends[1], bytes, sizeof bytes, NULL), 0);
    cr_expect_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    cr_expect_eq(rota_close(ends[1]), 0);
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result, sizeof bytes);
    cr_expect_eq(rota_close(ends[0]), 0);
    return rota_close(fds[0]);
}

FD_TEST(a_socket_that_blocks_does_not_block_the_loop) {
    rota_task *task;
    (void)arg;
    cr_expect_eq(fcntl(fds[0], F_SETFL, 0), 0);
    cr_expect_eq(rota_spawn(&task, reads, &fds[0], NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_write(fds[1], "b", 1), 1);
    cr_expect_eq(outcome(task), 1);
    return rota_close(fds[0]);
}

FD_TEST(regular_files_are_always_ready) {
    char buf[8];
    FILE *file = tmpfile();
    (void)arg;
    cr_expect_eq(rota_write_all(fileno(file), "file", 4, NULL), 0);
    cr_expect_eq(lseek(fileno(file), 0, SEEK_SET), 0);
    cr_expect_eq(rota_read(fileno(file), buf, sizeof buf), 4);
    cr_expect_eq(rota_read(fileno(file), buf, sizeof buf), 0);
    cr_expect_eq(rota_poll(fileno(file), ROTA_READ | ROTA_WRITE), ROTA_READ | ROTA_WRITE);
    fclose(file);
    return rota_close(fds[0]);
}

FD_TEST(a_write_to_a_peer_that_is_gone_raises_no_signal) {
    (void)arg;
    signal(SIGPIPE, SIG_DFL);
    cr_expect_eq(rota_close(fds[1]), 0);
    cr_expect_eq(rota_write(fds[0], "x", 1), -EPIPE);
    return rota_close(fds[0]);
}

/* ---- poll ---- */

FD_TEST(poll_says_what_is_ready) {
    (void)arg;
    cr_expect_eq(rota_poll(fds[0], ROTA_READ | ROTA_WRITE), ROTA_WRITE);
    cr_expect_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(rota_poll(fds[0], ROTA_READ), ROTA_READ);
    cr_expect_eq(kit_empty(fds[0]), 1);
    rota_task *task;
    cr_expect_eq(rota_spawn(&task, reads, &fds[1], NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_write(fds[0], "p", 1), 1);
    cr_expect_eq(outcome(task), 1);
    cr_expect_eq(rota_close(fds[1]), 0);
    cr_expect_eq(rota_poll(fds[0], ROTA_READ), ROTA_READ | ROTA_EOF);
    cr_expect_eq(rota_poll(fds[0], 0), -EINVAL);
    cr_expect_eq(rota_poll(fds[0], ROTA_EOF), -EINVAL);
    cr_expect_eq(rota_poll(-1, ROTA_READ), -EBADF);
    cr_expect_eq(rota_poll(KIT_FDS - 1, ROTA_READ), -EBADF);
    return rota_close(fds[0]);
}

/* ---- accept, connect, listen ---- */

static struct sockaddr_in address_of(int fd) {
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    memset(&addr, 0, sizeof addr);
    cr_expect_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    return addr;
}

static intptr_t connects(void *arg) {
    const struct sockaddr_in *addr = arg;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = rota_connect(fd, (const struct sockaddr *)addr, sizeof *addr);
    cr_expect_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0); /* as it was */
    if (rc == 0)
        rc = (int)rota_write(fd, "hello", 5);
    cr_expect_eq(rota_close(fd), 0);
    return rc;
}

FD_TEST(a_connection_is_made) {
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    rota_task *task;
    char buf[8];
    (void)arg;
    int listener = rota_listen("127.0.0.1", "0", NULL);
    cr_expect_geq(listener, 0);
    struct sockaddr_in addr = address_of(listener);
    cr_expect_eq(rota_spawn(&task, connects, &addr, NULL), 0);
    int client = rota_accept(listener, (struct sockaddr *)&peer, &len);
    cr_expect_geq(client, 0);
    cr_expect_eq(peer.sin_family, AF_INET);
    cr_expect(fcntl(client, F_GETFL) & O_NONBLOCK);
    cr_expect(fcntl(client, F_GETFD) & FD_CLOEXEC);
    int at_once = 0;
    cr_expect_eq(getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &at_once, &(socklen_t){ sizeof at_once }), 0);
    cr_expect(at_once, "taken from the listener");
    cr_expect_eq(rota_read_exact(client, buf, 5, NULL), 0);
    cr_expect_eq(outcome(task), 5);
    cr_expect_eq(rota_close(client), 0);
    cr_expect_eq(rota_close(listener), 0);
    cr_expect_eq(rota_spawn(&task, connects, &addr, NULL), 0);
    cr_expect_eq(outcome(task), -ECONNREFUSED);
    cr_expect_eq(rota_connect(fds[0], NULL, 0), -EINVAL);
    cr_expect_eq(rota_connect(-1, (struct sockaddr *)&addr, sizeof addr), -EBADF);
    return rota_close(fds[0]);
}

static intptr_t accepts(void *arg) {
    int fd = rota_accept(*(int *)arg, NULL, NULL);
    kit_note(fd >= 0 ? 'a' : fd == -ECANCELED ? 'c' : fd == -EBADF ? 'b' : '?');
    return fd;
}

FD_TEST(a_listener_that_blocks_does_not_block_the_loop) {
    rota_task *task;
    (void)arg;
    int listener = rota_listen("127.0.0.1", NULL, NULL);
    cr_expect_eq(fcntl(listener, F_SETFL, 0), 0);
    cr_expect_eq(rota_spawn(&task, accepts, &listener, NULL), 0);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome(task), -ECANCELED);
    cr_expect_eq(rota_spawn(&task, accepts, &listener, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_close(listener), 0);
    cr_expect_eq(outcome(task), -EBADF);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_expect_eq(rota_accept(fd, NULL, NULL), -EINVAL); /* it does not listen */
    cr_expect_eq(rota_close(fd), 0);
    cr_expect_eq(rota_accept(fd, NULL, NULL), -EBADF);
    return rota_close(fds[0]);
}

static intptr_t accept_error(int error, int times) {
    struct sockaddr_in addr;
    rota_task *task;
    int listener = rota_listen("127.0.0.1", "0", NULL);
    addr = address_of(listener);
    cr_expect_eq(rota_spawn(&task, connects, &addr, NULL), 0);
    kit_fail("accept4", 1, error, times > 1);
    int rc = rota_accept(listener, NULL, NULL);
    kit_fail_none();
    int fd = rc >= 0 ? rc : rota_accept(listener, NULL, NULL); /* the listener is sound either way */
    cr_expect_geq(fd, 0);
    cr_expect_eq(rota_close(fd), 0);
    cr_expect_eq(outcome(task), 5);
    cr_expect_eq(rota_close(listener), 0);
    return rc;
}

FD_TEST(errors_of_one_connection_are_skipped_and_those_of_the_listener_are_not) {
    static const int skipped[] = { ECONNABORTED, EINTR, EPROTO, EPERM, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH,
                                   ENOPROTOOPT, ENONET, EAGAIN };
    static const int told[] = { ENOBUFS, ENOMEM, EINVAL, EMFILE, ENFILE };
    (void)arg;
    for (size_t i = 0; i + 1 < sizeof skipped / sizeof *skipped; i++)
        cr_expect_geq(accept_error(skipped[i], 1), 0);
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        cr_expect_eq(accept_error(told[i], 2), -told[i]);
    return rota_close(fds[0]);
}

FD_TEST(a_full_descriptor_table_pauses_who_accepts) {
    (void)arg;
    int64_t start = rota_now();
    cr_expect_eq(accept_error(EMFILE, 2), -EMFILE);
    cr_expect_geq(rota_now() - start, 50 * ROTA_MS);
    return rota_close(fds[0]);
}

static intptr_t connects_and_reads(void *arg) {
    char c;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = rota_connect(fd, arg, sizeof(struct sockaddr_in));
    ssize_t n = rc < 0 ? rc : rota_read(fd, &c, 1);
    cr_expect_eq(rota_close(fd), 0);
    return n;
}

/* The connection gets a number that the loop has no slot for: it is closed, and that is told. */
FD_TEST(a_connection_beyond_the_table_is_closed) {
    int fill[KIT_FDS], n = 0;
    struct sockaddr_in addr;
    rota_task *task;
    intptr_t result;
    (void)arg;
    int listener = rota_listen("127.0.0.1", "0", NULL);
    addr = address_of(listener);
    cr_expect_eq(rota_spawn(&task, connects_and_reads, &addr, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    do
        fill[n++] = dup(fds[0]);
    while (fill[n - 1] < KIT_FDS - 1 && n < KIT_FDS);
    cr_expect_eq(rota_accept(listener, NULL, NULL), -EMFILE);
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result == 0 || result == -ECONNRESET, true);
    while (n > 0)
        close(fill[--n]);
    cr_expect_eq(rota_close(listener), 0);
    return rota_close(fds[0]);
}

FD_TEST(listening_addresses) {
    (void)arg;
    static const struct { const char *host, *service; int error; } rows[] = {
        { "127.0.0.1", "65536", -EINVAL }, { "127.0.0.1", "", -EINVAL }, { "127.0.0.1", "http", -EINVAL },
        { "127.0.0.1", "-1", -EINVAL }, { "localhost", "0", -ENOENT }, { "", "0", -ENOENT },
        { "1.2.3", "0", -ENOENT }, { "192.0.2.1", "0", -EADDRNOTAVAIL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(rota_listen(rows[i].host, rows[i].service, NULL), rows[i].error, "row %zu", i);
    int all = rota_listen(NULL, NULL, NULL);
    cr_expect_geq(all, 0);
    cr_expect_eq(rota_close(all), 0);
    const rota_listen_options shared = { .backlog = 1, .reuse_port = true };
    int one = rota_listen("127.0.0.1", "0", &shared);
    struct sockaddr_in addr = address_of(one);
    char port[8];
    snprintf(port, sizeof port, "%u", ntohs(addr.sin_port));
    int two = rota_listen("127.0.0.1", port, &shared);
    cr_expect_geq(two, 0);
    cr_expect_eq(rota_listen("127.0.0.1", port, NULL), -EADDRINUSE);
    cr_expect_eq(rota_close(one), 0);
    cr_expect_eq(rota_close(two), 0);
    int six = rota_listen("::1", "0", &(rota_listen_options){ .ipv6_only = true });
    if (six >= 0)
        cr_expect_eq(rota_close(six), 0);
    return rota_close(fds[0]);
}

FD_TEST(without_ipv6_all_addresses_are_those_of_ipv4) {
    (void)arg;
    kit_fail("socket", 1, EAFNOSUPPORT, false);
    int fd = rota_listen(NULL, "0", NULL);
    cr_expect_geq(fd, 0);
    cr_expect_eq(address_of(fd).sin_family, AF_INET);
    cr_expect_eq(rota_close(fd), 0);
    kit_fail("socket", 1, EAFNOSUPPORT, false);
    cr_expect_eq(rota_listen("::", "0", &(rota_listen_options){ .ipv6_only = true }), -EAFNOSUPPORT);
    return rota_close(fds[0]);
}

/* The queue of a unix listener is full: time tells when there is room. */
static intptr_t unix_connects(void *arg) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = rota_connect(fd, arg, sizeof(struct sockaddr_un));
    kit_note(rc == 0 ? 'k' : '?');
    (void)rota_close(fd);
    return rc;
}

FD_TEST(a_unix_listener_whose_queue_is_full_is_waited_for) {
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    rota_task *tasks[4];
    (void)arg;
    snprintf(addr.sun_path + 1, sizeof addr.sun_path - 1, "rota-small-%d", (int)getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_expect_eq(bind(listener, (struct sockaddr *)&addr, sizeof addr), 0);
    cr_expect_eq(listen(listener, 0), 0);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(rota_spawn(&tasks[i], unix_connects, &addr, NULL), 0);
    cr_expect_eq(rota_sleep(3 * ROTA_MS), 0);
    cr_expect_lt(strlen(kit_log), 4);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(rota_close(rota_accept(listener, NULL, NULL)), 0);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(outcome(tasks[i]), 0);
    cr_expect_str_eq(kit_log, "kkkk");
    cr_expect_eq(rota_close(listener), 0);
    return rota_close(fds[0]);
}

Test(small_fd, outside_of_tasks) {
    rota_loop *loop;
    char c;
    kit_pair(fds);
    cr_assert_eq(rota_loop_new(&loop, kit_memory()), 0);
    cr_expect_eq(rota_read(fds[0], &c, 1), -EPERM);
    cr_expect_eq(rota_write(fds[0], &c, 1), -EPERM);
    cr_expect_eq(rota_accept(fds[0], NULL, NULL), -EPERM);
    cr_expect_eq(rota_connect(fds[0], NULL, 0), -EPERM);
    cr_expect_eq(rota_poll(fds[0], ROTA_READ), -EPERM);
    cr_expect_eq(rota_listen(NULL, NULL, NULL), -EPERM);
    cr_expect_eq(rota_close(fds[0]), 0);
    cr_expect_eq(rota_loop_free(loop), 0);
    cr_expect_eq(rota_forget(fds[1]), 0);
    cr_expect_eq(rota_close(fds[1]), 0); /* without a loop it is close(2) */
}
