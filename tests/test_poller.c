/* The contract of reactor/poller.h, the same for every poller that is built in.
 *
 * The tests speak to the poller itself and read what it reports from the slot of the descriptor, where
 * rota__fd_event leaves it. */
#include "tests/harness.h"
#include "tests/sys_table.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/loop.h"

static void for_each_poller(void (*check)(rota_loop *loop)) {
    for (const struct rota__poller *const *p = rota__pollers; *p; p++) {
        rota_loop *loop;
        rota_loop_options options = {.backend = (*p)->name};
        cr_assert_eq(rota_loop_new(&loop, &options), 0);
        check(loop);
        cr_expect_eq(rota_loop_free(loop), 0);
    }
}

#define POLLER_TEST(name)                                                   \
    static void name(rota_loop *loop);                                      \
    Test(poller, name, .timeout = 60) { for_each_poller(name); } \
    static void name(rota_loop *loop)

static bool is(const rota_loop *loop, const char *name) { return strcmp(loop->poller->name, name) == 0; }

static struct rota__fd *slot_of(rota_loop *loop, int fd) { return rota__fd_need(&loop->fds, &loop->allocator, fd); }

/* Registers as the loop would. */
static int set(rota_loop *loop, int fd, uint32_t generation, unsigned had, unsigned interest) {
    int rc = loop->poller->set(loop, fd, generation, had, interest);
    struct rota__fd *slot = slot_of(loop, fd);
    if (rc == 0) {
        slot->generation = generation;
        slot->registered = (uint8_t)interest;
    }
    return rc;
}

/* What was reported for fd since the last look. */
static unsigned seen(rota_loop *loop, int fd) {
    struct rota__fd *slot = slot_of(loop, fd);
    unsigned ready = slot->ready;
    slot->ready = 0;
    return ready;
}

static int wait_ns(rota_loop *loop, int64_t ns) { return loop->poller->wait(loop, ns); }

/* Waits until something of `events` is reported for fd; everything that was. */
static unsigned await(rota_loop *loop, int fd, unsigned events) {
    unsigned ready = seen(loop, fd);
    while (!(ready & events)) {
        cr_assert_geq(wait_ns(loop, 10 * ROTA_S), 0);
        ready |= seen(loop, fd);
    }
    return ready;
}

static void close2(const int fds[2]) {
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void nonblocking_pair(int fds[2]) {
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
}

static int listener_at(struct sockaddr_in *addr) {
    socklen_t len = sizeof *addr;
    memset(addr, 0, sizeof *addr);
    addr->sin_family = AF_INET;
    addr->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)addr, len), 0);
    cr_assert_eq(listen(fd, 4), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)addr, &len), 0);
    return fd;
}

/* A number that is not open. */
static int unused_fd(void) {
    int fd = dup(0);
    (void)close(fd);
    return fd;
}

static int open_fds(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* ---- readiness ---- */

POLLER_TEST(readiness_that_is_there_is_reported) {
    int fds[2];
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(set(loop, fds[0], 7, 0, ROTA_READ), 0);
    cr_expect_eq(wait_ns(loop, ROTA_FOREVER), 1);
    cr_expect_eq(seen(loop, fds[0]), ROTA_READ);
    cr_expect_eq(loop->stale_events, 0);
    close2(fds);
}

POLLER_TEST(readiness_is_an_edge) {
    int fds[2];
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    cr_expect_eq(wait_ns(loop, 0), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(wait_ns(loop, ROTA_S), 1);
    cr_expect_eq(wait_ns(loop, 0), 0, "still readable, but that is no news");
    cr_assert_eq(write(fds[1], "x", 1), 1);
    if (is(loop, "poll")) { /* cannot know that there is more: tells when what was told has been forgotten */
        cr_expect_eq(wait_ns(loop, 0), 0);
        cr_expect_eq(seen(loop, fds[0]), ROTA_READ);
    }
    cr_expect_eq(wait_ns(loop, ROTA_S), 1, "more data is");
    cr_expect_eq(seen(loop, fds[0]), ROTA_READ);
    close2(fds);
}

POLLER_TEST(writing_is_added_and_comes_back) {
    int fds[2];
    char bytes[4096];
    memset(bytes, 0, sizeof bytes);
    nonblocking_pair(fds);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    cr_expect_eq(wait_ns(loop, 0), 0);
    cr_assert_eq(set(loop, fds[0], 1, ROTA_READ, ROTA_READ | ROTA_WRITE), 0);
    cr_expect_eq(await(loop, fds[0], ROTA_WRITE), ROTA_WRITE);
    while (write(fds[0], bytes, sizeof bytes) > 0)
        ;
    while (wait_ns(loop, 0) > 0)
        ;
    (void)seen(loop, fds[0]);
    while (read(fds[1], bytes, sizeof bytes) > 0)
        ;
    cr_expect_eq(await(loop, fds[0], ROTA_WRITE), ROTA_WRITE);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect(await(loop, fds[0], ROTA_READ) & ROTA_READ, "the other direction is kept");
    close2(fds);
}

/* ---- ends and errors ---- */

POLLER_TEST(data_and_the_end_come_together) {
    int fds[2];
    char bytes[8];
    nonblocking_pair(fds);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    cr_assert_eq(write(fds[1], "abc", 3), 3);
    (void)close(fds[1]);
    unsigned ready = await(loop, fds[0], ROTA_EOF);
    cr_expect(ready & ROTA_READ);
    cr_expect_eq(read(fds[0], bytes, sizeof bytes), 3, "the data is drained first");
    cr_expect_eq(read(fds[0], bytes, sizeof bytes), 0);
    (void)close(fds[0]);
}

POLLER_TEST(half_close_is_the_end_of_reading) {
    int fds[2];
    nonblocking_pair(fds);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    cr_assert_eq(shutdown(fds[1], SHUT_WR), 0);
    cr_expect_eq(await(loop, fds[0], ROTA_EOF), ROTA_READ | ROTA_EOF);
    close2(fds);
}

POLLER_TEST(a_pipe_without_writer_has_ended) {
    int fds[2];
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    (void)close(fds[1]);
    cr_expect(await(loop, fds[0], ROTA_EOF) & ROTA_READ);
    (void)close(fds[0]);
}

POLLER_TEST(a_pipe_whose_reader_goes_wakes_the_writer) {
    int fds[2];
    char bytes[4096];
    memset(bytes, 0, sizeof bytes);
    cr_assert_eq(rota__sys->pipe(fds), 0);
    while (write(fds[1], bytes, sizeof bytes) > 0)
        ;
    cr_assert_eq(set(loop, fds[1], 1, 0, ROTA_WRITE), 0);
    while (wait_ns(loop, 0) > 0)
        ;
    (void)seen(loop, fds[1]);
    (void)close(fds[0]);
    cr_expect(await(loop, fds[1], ROTA_WRITE) & ROTA_WRITE);
    (void)close(fds[1]);
}

/* kqueue refuses the filter then, and -EPERM ("always ready") leads to the same write. */
POLLER_TEST(a_pipe_whose_reader_is_gone_can_be_written_at) {
    int fds[2];
    cr_assert_eq(rota__sys->pipe(fds), 0);
    (void)close(fds[0]);
    int rc = set(loop, fds[1], 1, 0, ROTA_WRITE);
    cr_expect(rc == 0 || rc == -EPERM, "%d", rc);
    if (rc == 0)
        cr_expect(await(loop, fds[1], ROTA_WRITE) & ROTA_WRITE);
    (void)close(fds[1]);
}

POLLER_TEST(a_refused_connection_is_an_error) {
    struct sockaddr_in addr;
    (void)close(listener_at(&addr));
    int fd = rota__sys->socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    int rc = rota__sys->connect(fd, (struct sockaddr *)&addr, sizeof addr);
    if (rc == -EINPROGRESS) {
        cr_assert_eq(set(loop, fd, 1, 0, ROTA_READ | ROTA_WRITE), 0);
        unsigned ready = await(loop, fd, ROTA_ERROR);
        cr_expect(ready & ROTA_READ && ready & ROTA_WRITE, "an error ends every wait: %x", ready);
    } else {
        cr_expect_eq(rc, -ECONNREFUSED);
    }
    (void)close(fd);
}

/* FreeBSD and NetBSD have no filter for it. */
POLLER_TEST(urgent_data_has_priority) {
#if defined(__linux__) || defined(__APPLE__) || defined(__OpenBSD__)
    struct sockaddr_in addr;
    int listener = listener_at(&addr);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&addr, sizeof addr), 0);
    int fd = accept(listener, NULL, NULL);
    cr_assert_eq(set(loop, fd, 1, 0, ROTA_READ), 0);
    cr_assert_eq(send(client, "!", 1, MSG_OOB), 1);
    cr_expect(await(loop, fd, ROTA_PRIORITY) & ROTA_PRIORITY);
    (void)close(fd);
    (void)close(client);
    (void)close(listener);
#else
    (void)loop;
#endif
}

/* ---- what cannot be registered ---- */

POLLER_TEST(files_and_directories_are_refused) {
    char name[] = "/tmp/rota-test-XXXXXX";
    int file = mkstemp(name), directory = open("/", O_RDONLY);
    cr_assert(file >= 0 && directory >= 0);
    (void)unlink(name);
    cr_expect_eq(loop->poller->set(loop, file, 1, 0, ROTA_READ), -EPERM);
    cr_expect_eq(loop->poller->set(loop, file, 1, 0, ROTA_READ | ROTA_WRITE), -EPERM);
    cr_expect_eq(loop->poller->set(loop, directory, 1, 0, ROTA_READ), -EPERM);
    (void)close(file);
    (void)close(directory);
}

POLLER_TEST(closed_numbers_are_refused) {
    int fd = unused_fd();
    cr_expect_eq(loop->poller->set(loop, fd, 1, 0, ROTA_READ), -EBADF);
    cr_expect_eq(loop->poller->set(loop, fd, 1, ROTA_READ, ROTA_READ | ROTA_WRITE), -EBADF);
    cr_expect_eq(loop->poller->set(loop, fd, 1, ROTA_READ, 0), 0, "nothing to remove is what was wanted");
}

POLLER_TEST(removed_is_silent) {
    int fds[2];
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(set(loop, fds[0], 1, ROTA_READ, 0), 0);
    cr_expect_eq(wait_ns(loop, 0), 0);
    cr_expect_eq(set(loop, fds[0], 1, ROTA_READ, 0), 0);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    cr_expect_eq(wait_ns(loop, 0), 1);
    close2(fds);
}

/* ---- generations ---- */

POLLER_TEST(a_new_generation_takes_over) {
    int fds[2];
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    cr_assert_eq(set(loop, fds[0], 2, 0, ROTA_READ), 0);
    cr_expect_eq(await(loop, fds[0], ROTA_READ), ROTA_READ);
    cr_expect_eq(loop->stale_events, 0, "reported under the new one only");
    slot_of(loop, fds[0])->generation = 3;
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(wait_ns(loop, ROTA_S), 1);
    if (is(loop, "poll")) { /* has no set of its own: asks under the slot's generation */
        cr_expect_eq(seen(loop, fds[0]), ROTA_READ);
        cr_expect_eq(loop->stale_events, 0);
    } else {
        cr_expect_eq(seen(loop, fds[0]), 0, "of an older one: dropped");
        cr_expect_eq(loop->stale_events, 1);
    }
    close2(fds);
}

/* The number was closed and came back, and the loop does not know. */
POLLER_TEST(a_number_closed_behind_the_back_is_added_again) {
    int fds[2], other[2];
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    nonblocking_pair(other);
    cr_assert_eq(dup2(other[0], fds[0]), fds[0]);
    cr_assert_eq(set(loop, fds[0], 1, ROTA_READ, ROTA_READ | ROTA_WRITE), 0);
    cr_expect_eq(await(loop, fds[0], ROTA_WRITE), ROTA_WRITE);
    cr_assert_eq(write(other[1], "x", 1), 1);
    cr_expect(await(loop, fds[0], ROTA_READ) & ROTA_READ, "reading too, which the loop took for registered");
    close2(fds);
    close2(other);
}

/* Only epoll keeps such an entry, and nobody can name it any more. */
POLLER_TEST(renew_loses_what_nobody_can_remove) {
    int fds[2];
    if (!is(loop, "epoll")) {
        cr_expect_eq(loop->poller->renew(loop), -ENOTSUP);
        return;
    }
    int set_fd = loop->poller->fd(loop);
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    int survivor = dup(fds[0]);
    (void)close(fds[0]);
    slot_of(loop, fds[0])->generation++;
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(wait_ns(loop, 0), 1);
    cr_expect_eq(loop->stale_events, 1);
    int before = open_fds();
    cr_assert_eq(loop->poller->renew(loop), 0);
    cr_expect_eq(open_fds(), before);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(wait_ns(loop, 0), 0);
    cr_expect_eq(loop->poll.fd, set_fd);
    cr_expect_eq(loop->inbox->waker.wake(loop->inbox->waker.fd), 8);
    cr_expect_eq(wait_ns(loop, 0), 1, "the waker is in the new set");
    loop->poller->deadline(loop, rota__sys->now() + ROTA_MS);
    cr_expect_eq(wait_ns(loop, 10 * ROTA_S), 1, "and the timer");
    (void)close(survivor);
    (void)close(fds[1]);
}

/* ---- waiting ---- */

static void check_never_early(rota_loop *loop) {
    static const int64_t limits[] = {0, 1, 50 * ROTA_US, 999 * ROTA_US, ROTA_MS, 3 * ROTA_MS + 1, 20 * ROTA_MS};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        int64_t start = rota__sys->now();
        cr_expect_eq(wait_ns(loop, limits[i]), 0);
        cr_expect_geq(rota__sys->now() - start, limits[i], "limit %lld", (long long)limits[i]);
    }
}

POLLER_TEST(a_timeout_is_never_early) { check_never_early(loop); }

static struct rota__sys altered;
static int calls;

#ifdef __linux__
static int no_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout) {
    (void)epoll, (void)events, (void)n, (void)timeout;
    calls++;
    return -ENOSYS;
}
#endif

Test(poller, without_epoll_pwait2_a_timeout_is_never_early, .timeout = 60) {
#ifdef __linux__
    altered = rota__sys_real;
    altered.epoll_pwait2 = no_pwait2;
    rota__sys = &altered;
    for_each_poller(check_never_early);
    bool asked = false;
    for (const struct rota__poller *const *p = rota__pollers; *p; p++)
        asked |= strcmp((*p)->name, "epoll") == 0;
    cr_expect_eq(calls, asked, "asked once");
#endif
}

static void *wake_soon(void *arg) {
    struct rota__waker *waker = arg;
    cr_expect_geq(waker->wake(waker->fd), 0);
    return NULL;
}

POLLER_TEST(another_thread_wakes_the_wait) {
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, wake_soon, &loop->inbox->waker), 0);
        cr_expect_eq(wait_ns(loop, ROTA_FOREVER), 1);
        cr_expect_eq(pthread_join(thread, NULL), 0);
        cr_expect_eq(wait_ns(loop, 0), 0, "once");
    }
}

POLLER_TEST(wakes_before_the_wait_are_kept_and_merged) {
    struct rota__waker *waker = &loop->inbox->waker;
    for (int i = 0; i < 100000; i++)
        (void)waker->wake(waker->fd);
    cr_expect_eq(wait_ns(loop, ROTA_FOREVER), 1);
    cr_expect_eq(wait_ns(loop, 0), 0);
    cr_expect_geq(waker->wake(waker->fd), 0);
    cr_expect_eq(wait_ns(loop, ROTA_FOREVER), 1, "and it still works");
}

static void ignore(int signo) { (void)signo; }

POLLER_TEST(a_signal_ends_the_wait_without_error) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = ignore;
    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    (void)setitimer(ITIMER_REAL, &often, NULL);
    cr_expect_eq(wait_ns(loop, ROTA_FOREVER), 0);
    (void)setitimer(ITIMER_REAL, &never, NULL);
}

static void *refuse(void *ctx, void *old, size_t old_n, size_t n) {
    (void)ctx, (void)old, (void)old_n, (void)n;
    return NULL;
}

/* Where the array can grow when it was full it does, if there is memory. */
static void take_more_than_fits(rota_loop *loop, bool memory) {
    enum { MORE = 26, MANY = 1024 };
    bool unlimited = loop->poll.capacity > MANY;   /* poll(2): takes all at once */
    int at_once = unlimited ? MANY + MORE : loop->poll.capacity, n = unlimited ? at_once : at_once + MORE, fds[2];
    int *copies = malloc((size_t)n * sizeof *copies);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    for (int i = 0; i < n; i++) {
        copies[i] = dup(fds[0]);
        if (copies[i] < 0)
            cr_skip_test("not enough descriptors");
        cr_assert_eq(set(loop, copies[i], 1, 0, ROTA_READ), 0);
    }
    rota_allocator allocator = loop->allocator;
    if (!memory && !unlimited)
        loop->allocator.alloc = refuse;
    cr_expect_eq(wait_ns(loop, 0), at_once);
    loop->allocator = allocator;
    cr_expect(memory || unlimited || loop->poll.capacity == at_once);
    cr_expect_eq(wait_ns(loop, 0), n - at_once);
    for (int i = 0; i < n; i++) {
        cr_expect_eq(seen(loop, copies[i]), ROTA_READ);
        (void)close(copies[i]);
    }
    free(copies);
    close2(fds);
}

POLLER_TEST(more_events_than_the_array_holds) { take_more_than_fits(loop, true); }
POLLER_TEST(more_events_than_an_array_holds_that_cannot_grow) { take_more_than_fits(loop, false); }

/* ---- opening and closing ---- */

static int fail_at;

static bool fails(void) { return ++calls == fail_at; }

static int try_create(void) { return fails() ? -EMFILE : rota__sys_real.epoll_create(); }
static int try_eventfd(void) { return fails() ? -EMFILE : rota__sys_real.eventfd(); }
static int try_ctl(int epoll, int op, int fd, struct epoll_event *event) {
    return fails() ? -ENOMEM : rota__sys_real.epoll_ctl(epoll, op, fd, event);
}
static int try_kqueue(void) { return fails() ? -EMFILE : rota__sys_real.kqueue(); }
static int try_kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n_events,
                      const struct timespec *timeout) {
    return fails() ? -ENOMEM : rota__sys_real.kevent(kq, changes, n_changes, events, n_events, timeout);
}
static int try_pipe(int fds[2]) { return fails() ? -EMFILE : rota__sys_real.pipe(fds); }

static void check_failing_open(const char *backend) {
    rota_loop_options options = {.backend = backend};
    int before = open_fds(), failures = 0;
    for (fail_at = 1;; fail_at++) {
        rota_loop *loop;
        calls = 0;
        int rc = rota_loop_new(&loop, &options);
        if (rc == 0) {
            cr_expect_eq(rota_loop_free(loop), 0);
            break;
        }
        failures++;
        cr_expect(rc == -EMFILE || rc == -ENOMEM, "%d", rc);
        cr_expect_null(loop);
        cr_expect_eq(open_fds(), before);
    }
    cr_expect_geq(failures, strcmp(backend, "poll") == 0 ? 1 : 2);
    cr_expect_eq(open_fds(), before);
}

Test(poller, a_failing_open_leaves_nothing) {
    altered = rota__sys_real;
    altered.epoll_create = try_create;
    altered.eventfd = try_eventfd;
    altered.epoll_ctl = try_ctl;
    altered.kqueue = try_kqueue;
    altered.kevent = try_kevent;
    altered.pipe = try_pipe;
    rota__sys = &altered;
    for (const struct rota__poller *const *p = rota__pollers; *p; p++)
        check_failing_open((*p)->name);
}

Test(poller, descriptors_are_closed_and_not_inherited) {
    for (const struct rota__poller *const *p = rota__pollers; *p; p++) {
        rota_loop *loop;
        rota_loop_options options = {.backend = (*p)->name};
        int before = open_fds();
        cr_assert_eq(rota_loop_new(&loop, &options), 0);
        cr_assert_eq(loop->poller->fd(loop), is(loop, "poll") ? -ENOTSUP : loop->poll.fd);
        cr_expect(loop->poll.fd < 0 || fcntl(loop->poll.fd, F_GETFD) & FD_CLOEXEC);
        cr_expect(fcntl(loop->inbox->waker.fd, F_GETFD) & FD_CLOEXEC);
        cr_expect(loop->inbox->waker.other < 0 || fcntl(loop->inbox->waker.other, F_GETFD) & FD_CLOEXEC);
        cr_expect(loop->poll.timer_fd < 0 || fcntl(loop->poll.timer_fd, F_GETFD) & FD_CLOEXEC);
        cr_expect_eq(rota_loop_free(loop), 0);
        cr_expect_eq(open_fds(), before);
    }
}

/* The child's copy goes; the parent's set must not lose anything by that. */
POLLER_TEST(a_child_leaves_the_parents_set_alone) {
    int fds[2], status;
    char byte;
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(rota_loop_free(loop) == 0 ? 0 : 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(wait_ns(loop, ROTA_S), 1);
    cr_expect_eq(seen(loop, fds[0]), ROTA_READ);
    cr_assert_eq(read(fds[0], &byte, 1), 1);
    cr_expect_geq(loop->inbox->waker.wake(loop->inbox->waker.fd), 0);
    cr_expect_eq(wait_ns(loop, ROTA_S), 1);
    close2(fds);
}

/* ---- a foreign loop ---- */

/* What it is that poll(2) has not. */
static bool has_descriptor(rota_loop *loop) {
    if (is(loop, "poll"))
        cr_expect_eq(loop->poller->fd(loop), -ENOTSUP);
    return !is(loop, "poll");
}

static bool readable(int fd, int ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

POLLER_TEST(foreign_sees_events_until_they_are_collected) {
    if (!has_descriptor(loop))
        return;
    int fds[2], fd = loop->poller->fd(loop);
    cr_assert_geq(fd, 0);
    cr_expect_eq(loop->poller->fd(loop), fd);
    cr_assert_eq(rota__sys->pipe(fds), 0);
    cr_expect(!readable(fd, 0));
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect(!readable(fd, 0));
    cr_assert_eq(set(loop, fds[0], 1, 0, ROTA_READ), 0);
    cr_expect(readable(fd, 0), "an interest in what is ready shows at once");
    cr_expect(readable(fd, 0), "and stays");
    cr_expect_eq(wait_ns(loop, 0), 1);
    cr_expect(!readable(fd, 0), "until it is collected, though the pipe is still readable");
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect(readable(fd, 10000));
    close2(fds);
}

POLLER_TEST(foreign_sees_wakes) {
    if (!has_descriptor(loop))
        return;
    int fd = loop->poller->fd(loop);
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, wake_soon, &loop->inbox->waker), 0);
        cr_expect(readable(fd, 10000));
        cr_expect_eq(pthread_join(thread, NULL), 0);
        cr_expect_eq(wait_ns(loop, 0), 1);
        cr_expect(!readable(fd, 0), "the waker is never read, and quiet all the same");
    }
}

POLLER_TEST(foreign_sees_deadlines) {
    if (!has_descriptor(loop))
        return;
    int fd = loop->poller->fd(loop);
    for (int i = 0; i < 5; i++) {
        int64_t when = rota__sys->now() + 3 * ROTA_MS;
        loop->poller->deadline(loop, rota__sys->now() + 3600 * ROTA_S);
        cr_expect(!readable(fd, 0));
        loop->poller->deadline(loop, when);
        cr_expect(readable(fd, 10000));
        cr_expect_geq(rota__sys->now(), when);
        cr_expect_eq(wait_ns(loop, 0), 1);
        cr_expect(!readable(fd, 0));
    }
    loop->poller->deadline(loop, rota__sys->now() + ROTA_MS);
    loop->poller->deadline(loop, ROTA_FOREVER);
    cr_expect(!readable(fd, 30), "taken back");
}

POLLER_TEST(foreign_sees_what_is_due_at_once) {
    if (!has_descriptor(loop))
        return;
    int fd = loop->poller->fd(loop);
    const int64_t past[] = {INT64_MIN, -1, 0, 1, rota__sys->now()};
    for (size_t i = 0; i < sizeof past / sizeof *past; i++) {
        loop->poller->deadline(loop, past[i]);
        cr_expect(readable(fd, 0));
        cr_expect_eq(wait_ns(loop, 0), 1);
        cr_expect(!readable(fd, 0));
    }
}
