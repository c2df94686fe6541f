/* kqueue(2) as this project relies on it. On Linux this tests kqueue.c; on a BSD the kernel, so that both are held to
 * the same facts. What only kqueue.c promises is marked. */
#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"

static int kq;

static void open_queue(void) {
    kq = kqueue();
    cr_assert_geq(kq, 0);
}

static void close_queue(void) { (void)close(kq); }

#define Queue_test(name) Test(kqueue, name, .init = open_queue, .fini = close_queue, .timeout = 60)

static const struct timespec at_once = {0, 0}, long_enough = {10, 0};

/* 0, or the error. */
static int change(uintptr_t ident, int filter, int flags, unsigned fflags, int64_t data, uintptr_t udata) {
    struct kevent event;
    EV_SET(&event, ident, filter, flags, fflags, data, (void *)udata);
    return kevent(kq, &event, 1, NULL, 0, NULL) < 0 ? errno : 0;
}

static int add(uintptr_t ident, int filter, int flags) { return change(ident, filter, EV_ADD | flags, 0, 0, 0); }

/* The next event, waiting for it; how many there were (0 or 1). */
static int next(struct kevent *event) { return kevent(kq, NULL, 0, event, 1, &long_enough); }

static int pending(void) {
    struct kevent events[16];
    return kevent(kq, NULL, 0, events, 16, &at_once);
}

static bool readable(int fd, int ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

static void close2(const int fds[2]) {
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void pair(int fds[2]) {
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int i = 0; i < 2; i++)
        (void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
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

/* ---- reading and writing ---- */

Queue_test(data_and_the_end_are_one_event) {
    int fds[2];
    char bytes[8];
    struct kevent event;
    struct sockaddr_in addr;
    int listener = listener_at(&addr);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fds[0], (struct sockaddr *)&addr, sizeof addr), 0);
    fds[1] = accept(listener, NULL, NULL);
    cr_assert_eq(write(fds[1], "abc", 3), 3);
    (void)close(fds[1]);
    while (recv(fds[0], bytes, 4, MSG_PEEK | MSG_WAITALL) < 3) /* both have arrived */
        ;
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_CLEAR), 0);
    cr_assert_eq(next(&event), 1);
    cr_expect_eq(event.filter, EVFILT_READ);
    cr_expect_eq((int)event.ident, fds[0]);
    cr_expect_eq(event.data, 3);
    cr_expect(event.flags & EV_EOF);
    cr_expect_eq(event.fflags, 0u, "an end is no error");
    cr_expect_eq(pending(), 0);
    (void)close(fds[0]);
    (void)close(listener);
}

Queue_test(a_pipe_without_writer_has_ended) {
    int fds[2];
    struct kevent event;
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(write(fds[1], "ab", 2), 2);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_CLEAR), 0);
    cr_assert_eq(next(&event), 1);
    cr_expect_eq(event.data, 2);
    cr_expect(!(event.flags & EV_EOF));
    (void)close(fds[1]);
    cr_assert_eq(next(&event), 1);
    cr_expect(event.flags & EV_EOF);
    cr_expect_eq(event.data, 2, "what is there stays");
    (void)close(fds[0]);
}

Queue_test(a_refused_connection_has_an_error) {
    struct sockaddr_in addr;
    struct kevent event;
    (void)close(listener_at(&addr));
    int fd = socket(AF_INET, SOCK_STREAM, 0), value = 0;
    socklen_t len = sizeof value;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0 && errno == EINPROGRESS) {
        cr_assert_eq(add((uintptr_t)fd, EVFILT_WRITE, EV_CLEAR), 0);
        cr_assert_eq(next(&event), 1);
        cr_expect(event.flags & EV_EOF);
        cr_expect_neq(event.fflags, 0u);
        cr_expect_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len), 0);
        cr_expect_eq(value, ECONNREFUSED, "telling of the error does not take it");
    }
    (void)close(fd);
}

Queue_test(level_and_edge) {
    int fds[2];
    pair(fds);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, 0), 0);
    cr_expect_eq(pending(), 1);
    cr_expect_eq(pending(), 1, "without EV_CLEAR the condition counts");
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_CLEAR), 0);
    cr_expect_eq(pending(), 1, "adding again asks again");
    cr_expect_eq(pending(), 0, "with it the news");
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(pending(), 1);
    close2(fds);
}

Queue_test(a_condition_that_has_passed_is_not_reported) {
    int fds[2];
    char c;
    pair(fds);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_CLEAR), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(read(fds[0], &c, 1), 1);
    cr_expect_eq(pending(), 0);
    close2(fds);
}

Queue_test(filters_of_one_descriptor_are_separate) {
    int fds[2], seen = 0;
    struct kevent events[4];
    pair(fds);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, 7), 0);
    cr_assert_eq(change((uintptr_t)fds[0], EVFILT_WRITE, EV_ADD | EV_ONESHOT, 0, 0, 8), 0);
    cr_assert_eq(kevent(kq, NULL, 0, events, 4, &at_once), 2);
    for (int i = 0; i < 2; i++) {
        seen |= events[i].filter == EVFILT_READ ? 1 : 2;
        cr_expect_eq((uintptr_t)events[i].udata, events[i].filter == EVFILT_READ ? 7u : 8u);
        cr_expect_gt(events[i].data, 0);
    }
    cr_expect_eq(seen, 3);
    cr_expect_eq(change((uintptr_t)fds[0], EVFILT_WRITE, EV_DELETE, 0, 0, 0), ENOENT, "once is once");
    cr_expect_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_DELETE, 0, 0, 0), 0);
    cr_expect_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_DELETE, 0, 0, 0), ENOENT);
    close2(fds);
}

Queue_test(adding_again_changes_udata_and_makes_no_second) {
    int fds[2];
    struct kevent events[4];
    pair(fds);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, 1), 0);
    cr_assert_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, 2), 0);
    cr_assert_eq(kevent(kq, NULL, 0, events, 4, &at_once), 1);
    cr_expect_eq((uintptr_t)events[0].udata, 2u);
    close2(fds);
}

Queue_test(disabled_is_silent) {
    int fds[2];
    pair(fds);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_DISABLE), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(pending(), 0);
    cr_expect(!readable(kq, 0));
    cr_assert_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_ENABLE, 0, 0, 0), 0);
    cr_expect_eq(pending(), 1);
    cr_assert_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_DISABLE, 0, 0, 0), 0);
    (void)close(fds[1]);
    cr_expect_eq(pending(), 0, "not even an end");
    (void)close(fds[0]);
}

Queue_test(dispatch_disables_after_one) {
    int fds[2];
    pair(fds);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_DISPATCH), 0);
    cr_expect_eq(pending(), 1);
    cr_expect_eq(pending(), 0);
    cr_assert_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_ENABLE | EV_DISPATCH, 0, 0, 0), 0);
    cr_expect_eq(pending(), 1, "it was disabled, not deleted");
    cr_expect_eq(pending(), 0);
    close2(fds);
}

Queue_test(urgent_data) {
#if defined(EVFILT_EXCEPT) && defined(NOTE_OOB)
    struct sockaddr_in addr;
    struct kevent event;
    int listener = listener_at(&addr), client = socket(AF_INET, SOCK_STREAM, 0), pipes[2];
    char c;
    cr_assert_eq(connect(client, (struct sockaddr *)&addr, sizeof addr), 0);
    int fd = accept(listener, NULL, NULL);
    cr_assert_eq(change((uintptr_t)fd, EVFILT_EXCEPT, EV_ADD | EV_CLEAR, NOTE_OOB, 0, 0), 0);
    cr_expect_eq(pending(), 0);
    cr_assert_eq(send(client, "!", 1, MSG_OOB), 1);
    cr_assert_eq(next(&event), 1);
    cr_expect_eq(event.filter, EVFILT_EXCEPT);
    cr_expect(event.fflags & NOTE_OOB);
    cr_expect_eq(recv(fd, &c, 1, MSG_OOB), 1);
    (void)close(client);
    cr_expect_eq(pending(), 0, "an end is no exception");
    (void)close(fd);
    (void)close(listener);
    cr_assert_eq(pipe(pipes), 0);
# ifdef __linux__
    cr_expect_eq(change((uintptr_t)pipes[0], EVFILT_EXCEPT, EV_ADD | EV_CLEAR, NOTE_OOB, 0, 0), EINVAL);
# endif
    close2(pipes);
#endif
}

/* ---- the end of a descriptor ---- */

Queue_test(close_drops_a_numbers_events) {
    int fds[2];
    pair(fds);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_CLEAR), 0);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_WRITE, EV_CLEAR), 0);
    cr_expect_eq(pending(), 1);
    int survivor = dup(fds[0]);
    (void)close(fds[0]);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(pending(), 0, "though a duplicate keeps the file");
    cr_expect(!readable(kq, 0));
    cr_expect_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_DELETE, 0, 0, 0), EBADF);
    cr_assert_eq(dup2(survivor, fds[0]), fds[0]);
    cr_expect_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_DELETE, 0, 0, 0), ENOENT, "the number came back empty");
    cr_expect_eq(pending(), 0);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_CLEAR), 0);
    cr_expect_eq(pending(), 1);
    close2(fds);
    (void)close(survivor);
}

Queue_test(dup2_closes_what_it_replaces) {
    int fds[2], other[2];
    pair(fds);
    pair(other);
    int survivor = dup(fds[0]);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_CLEAR), 0);
    cr_assert_eq(dup2(-1, fds[0]), -1);
    cr_expect_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_ENABLE, 0, 0, 0), 0, "not if it fails");
    cr_assert_eq(dup2(other[0], fds[0]), fds[0]);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(write(other[1], "x", 1), 1);
    cr_expect_eq(pending(), 0);
    cr_expect_eq(change((uintptr_t)fds[0], EVFILT_READ, EV_DELETE, 0, 0, 0), ENOENT);
    close2(fds);
    close2(other);
    (void)close(survivor);
}

Queue_test(a_child_has_no_queue) {
    int fds[2], status;
    pair(fds);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_CLEAR), 0);
    cr_assert_eq(change(1, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, 0), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(fcntl(kq, F_GETFD) < 0 && kevent(kq, NULL, 0, NULL, 0, &at_once) < 0 && errno == EBADF ? 0 : 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_expect_eq(pending(), 1, "and takes nothing out of its parent's");
    cr_assert_eq(change(1, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0), 0);
    cr_expect_eq(pending(), 1);
    close2(fds);
}

/* ---- user events ---- */

#ifdef EVFILT_USER

static void *trigger_5(void *unused) {
    (void)unused;
    cr_expect_eq(change(5, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0), 0);
    return NULL;
}

Queue_test(another_thread_triggers) {
    cr_assert_eq(change(5, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, 0), 0);
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        struct kevent event;
        cr_assert_eq(pthread_create(&thread, NULL, trigger_5, NULL), 0);
        cr_assert_eq(next(&event), 1);
        cr_expect_eq(event.filter, EVFILT_USER);
        cr_expect_eq((int)event.ident, 5);
        cr_expect_eq(pthread_join(thread, NULL), 0);
        cr_expect_eq(pending(), 0);
    }
}

static void trigger_from_handler(int signo) { (void)signo, (void)trigger_5(NULL); }

Queue_test(a_signal_handler_triggers) {
    struct kevent event;
    cr_assert_eq(change(5, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, 0), 0);
    (void)signal(SIGALRM, trigger_from_handler);
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    (void)setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 50;) {
        int n = kevent(kq, NULL, 0, &event, 1, NULL);
        cr_assert(n == 1 || errno == EINTR);
        i += n == 1;
        (void)change(6, EVFILT_USER, EV_ADD, 0, 0, 0); /* what the handler interrupts */
        (void)change(6, EVFILT_USER, EV_DELETE, 0, 0, 0);
    }
    (void)setitimer(ITIMER_REAL, &never, NULL);
}

Queue_test(a_trigger_stays_without_clear) {
    cr_assert_eq(change(1, EVFILT_USER, EV_ADD, 0, 0, 0), 0);
    cr_expect_eq(pending(), 0);
    cr_assert_eq(change(1, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0), 0);
    cr_expect_eq(pending(), 1);
    cr_expect_eq(pending(), 1);
    cr_assert_eq(change(1, EVFILT_USER, EV_CLEAR, NOTE_TRIGGER, 0, 0), 0);
#if defined(__linux__) || defined(__FreeBSD__)
    cr_expect_eq(pending(), 0, "why a waker passes no flags");
#endif
    cr_expect_eq(change(2, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0), ENOENT);
}

Queue_test(user_flags) {
    struct kevent event;
    cr_assert_eq(change(1, EVFILT_USER, EV_ADD | EV_CLEAR, 0x0f, 0, 0), 0);
    cr_assert_eq(change(1, EVFILT_USER, 0, NOTE_FFOR | 0x30, 0, 0), 0);
    cr_assert_eq(change(1, EVFILT_USER, 0, NOTE_FFAND | 0x3c, 0, 0), 0);
    cr_assert_eq(change(1, EVFILT_USER, 0, NOTE_FFNOP | NOTE_TRIGGER | 0xff, 0, 0), 0);
    cr_assert_eq(next(&event), 1);
    cr_expect_eq(event.fflags & NOTE_FFLAGSMASK, 0x3cu);
    cr_assert_eq(change(1, EVFILT_USER, 0, NOTE_FFCOPY | NOTE_TRIGGER | 0x55, 0, 0), 0);
    cr_assert_eq(next(&event), 1);
    cr_expect_eq(event.fflags & NOTE_FFLAGSMASK, 0x55u);
}

/* ---- receipts, errors, time limits ---- */

Queue_test(receipts_leave_events_alone) {
    struct kevent changes[3], answers[4];
    cr_assert_eq(change(1, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0, 0), 0);
    EV_SET(&changes[0], 2, EVFILT_USER, EV_ADD | EV_RECEIPT, 0, 0, NULL);
    EV_SET(&changes[1], 3, EVFILT_USER, EV_DELETE | EV_RECEIPT, 0, 0, NULL);
    EV_SET(&changes[2], 4, EVFILT_USER, EV_ADD | EV_RECEIPT, 0, 0, NULL);
    cr_assert_eq(kevent(kq, changes, 3, answers, 4, NULL), 3);
    for (int i = 0; i < 3; i++) {
        cr_expect(answers[i].flags & EV_ERROR);
        cr_expect_eq((int)answers[i].ident, i + 2);
        cr_expect_eq(answers[i].data, i == 1 ? ENOENT : 0);
    }
    cr_expect_eq(pending(), 1, "the pending one");
    cr_assert_eq(kevent(kq, changes, 3, answers, 1, NULL), 1, "no room: stops");
}

Queue_test(errors_go_into_the_list_or_end_the_call) {
    struct kevent changes[2], answers[2];
    EV_SET(&changes[0], 1, EVFILT_USER, EV_DELETE, 0, 0, NULL);
    EV_SET(&changes[1], 2, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0, NULL);
    cr_expect_eq(kevent(kq, changes, 2, NULL, 0, NULL), -1);
    cr_expect_eq(errno, ENOENT);
    cr_expect_eq(pending(), 0, "and what follows is not done");
    cr_assert_eq(kevent(kq, changes, 2, answers, 2, NULL), 1);
    cr_expect(answers[0].flags & EV_ERROR);
    cr_expect_eq(answers[0].data, ENOENT);
    cr_expect_eq(pending(), 1, "here it was");
    cr_assert_eq(kevent(kq, changes + 1, 1, changes, 2, NULL), 1, "one array may be both");
}

#endif

Queue_test(what_is_refused) {
    int fd = dup(0);
    (void)close(fd);
    cr_expect_eq(add((uintptr_t)fd, EVFILT_READ, 0), EBADF);
    cr_expect_eq(add(0, 99, 0), EINVAL);
    cr_expect_eq(change(1, EVFILT_TIMER, EV_ADD, 0, -1, 0), EINVAL);
    cr_expect_eq(kevent(fd, NULL, 0, NULL, 0, &at_once), -1);
    cr_expect_eq(errno, EBADF);
}

Queue_test(a_pipe_whose_reader_is_gone_has_no_write_filter) {
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(add((uintptr_t)fds[1], EVFILT_WRITE, EV_CLEAR), 0);
    cr_expect_eq(pending(), 1);
    (void)close(fds[0]);
    struct kevent event;
    cr_assert_eq(next(&event), 1, "one that was added is told");
    cr_expect(event.flags & EV_EOF);
    (void)close(fds[1]);
    cr_assert_eq(pipe(fds), 0);
    (void)close(fds[0]);
    int error = add((uintptr_t)fds[1], EVFILT_WRITE, EV_CLEAR);
    cr_expect(error == EPIPE || error == EBADF, "%d", error);
    (void)close(fds[1]);
}

Queue_test(time_limits) {
    struct kevent event;
    const struct timespec bad[] = {{0, 1000000000}, {0, -1}, {-1, 0}}, short_one = {0, 20000000};
    struct timespec before, after;
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(kevent(kq, NULL, 0, &event, 1, &bad[i]), -1, "limit %d", i);
        cr_expect_eq(errno, EINVAL);
    }
    cr_expect_eq(kevent(kq, NULL, 0, NULL, 0, NULL), 0, "no room for events: does not wait");
    clock_gettime(CLOCK_MONOTONIC, &before);
    cr_expect_eq(kevent(kq, NULL, 0, &event, 1, &short_one), 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    cr_expect_geq((after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec, 20000000);
}

static void nothing(int signo) { (void)signo; }

Queue_test(a_signal_ends_the_wait) {
    struct kevent event;
    struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    (void)signal(SIGALRM, nothing);
    (void)setitimer(ITIMER_REAL, &often, NULL);
    cr_expect_eq(kevent(kq, NULL, 0, &event, 1, NULL), -1);
    cr_expect_eq(errno, EINTR);
    (void)setitimer(ITIMER_REAL, &never, NULL);
}

Queue_test(more_events_than_room) {
    struct kevent events[8];
    int fds[2], copies[8], seen = 0;
    pair(fds);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    for (int i = 0; i < 8; i++) {
        copies[i] = dup(fds[0]);
        cr_assert_eq(change((uintptr_t)copies[i], EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, (uintptr_t)i), 0);
    }
    cr_assert_eq(kevent(kq, NULL, 0, events, 5, &at_once), 5);
    cr_expect(readable(kq, 0));
    cr_assert_eq(kevent(kq, NULL, 0, events + 5, 3, &at_once), 3);
    cr_expect(!readable(kq, 0));
    for (int i = 0; i < 8; i++) {
        seen |= 1 << (uintptr_t)events[i].udata;
        (void)close(copies[i]);
    }
    cr_expect_eq(seen, 0xff);
    close2(fds);
}

/* ---- timers ---- */

Queue_test(timers_fire_once_or_again) {
    struct kevent event;
    cr_assert_eq(change(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 2, 3), 0);
    cr_assert_eq(next(&event), 1);
    cr_expect_eq(event.filter, EVFILT_TIMER);
    cr_expect_eq((uintptr_t)event.udata, 3u);
    cr_expect_eq(event.data, 1);
    cr_expect_eq(change(1, EVFILT_TIMER, EV_DELETE, 0, 0, 0), ENOENT, "once");
    cr_assert_eq(change(1, EVFILT_TIMER, EV_ADD, 0, 1, 0), 0);
    cr_assert_eq(next(&event), 1);
    cr_expect_geq(event.data, 1);
    cr_assert_eq(next(&event), 1, "again, in milliseconds");
    cr_assert_eq(change(1, EVFILT_TIMER, EV_DELETE, 0, 0, 0), 0);
    cr_expect_eq(pending(), 0);
}

#ifdef NOTE_NSECONDS
Queue_test(a_timer_in_nanoseconds_is_not_early) {
    struct kevent event;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    cr_assert_eq(change(0, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_NSECONDS, 3000000, 0), 0);
    cr_expect(readable(kq, 10000));
    clock_gettime(CLOCK_MONOTONIC, &after);
    cr_expect_geq((after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec, 3000000);
    cr_assert_eq(next(&event), 1);
    cr_expect(!readable(kq, 0));
}
#endif

/* macOS calls it NOTE_ABSOLUTE: there, code that asks for this name must not think there are no absolute timers. */
Queue_test(absolute_timers_have_the_bsds_name) {
#if defined(NOTE_ABSTIME) && !defined(NOTE_ABSOLUTE)
    struct kevent event;
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    cr_assert_eq(change(1, EVFILT_TIMER, EV_ADD, NOTE_ABSTIME | NOTE_SECONDS, real.tv_sec - 1, 0), 0);
    cr_assert_eq(next(&event), 1, "past");
    cr_expect_eq(change(1, EVFILT_TIMER, EV_DELETE, 0, 0, 0), ENOENT, "and over");
    cr_assert_eq(change(1, EVFILT_TIMER, EV_ADD, NOTE_ABSTIME | NOTE_SECONDS, real.tv_sec + 3600, 0), 0);
    cr_expect_eq(pending(), 0);
#elif defined(__linux__)
    cr_expect(false, "kqueue.c has BSD names");
#endif
}

Queue_test(adding_a_timer_again_starts_it_anew) {
    struct kevent event;
    cr_assert_eq(change(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 1, 0), 0);
    cr_expect(readable(kq, 10000));
    cr_assert_eq(change(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 3600000, 0), 0);
#if defined(__linux__) || defined(__FreeBSD__)
    cr_expect_eq(pending(), 0, "with the expiry that nobody had fetched gone");
#endif
    cr_assert_eq(change(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 1, 0), 0);
    cr_expect_eq(next(&event), 1);
}

/* ---- processes ---- */

/* A child that ends when `start` can be read, if that is an fd. */
static pid_t child_that(int start, int code, int signo) {
    pid_t pid = fork();
    char c;
    if (pid != 0)
        return pid;
    if (start >= 0)
        (void)!read(start, &c, 1);
    if (signo)
        (void)kill(getpid(), signo);
    _exit(code);
}

Queue_test(an_exit_brings_the_wait_status) {
    struct kevent event;
    int start[2], status;
    cr_assert_eq(pipe(start), 0);
    pid_t pid = child_that(start[0], 7, 0);
    cr_assert_eq(change((uintptr_t)pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 9), 0);
    cr_expect_eq(pending(), 0);
    cr_assert_eq(write(start[1], "x", 1), 1);
    cr_assert_eq(next(&event), 1);
    cr_expect_eq((pid_t)event.ident, pid);
    cr_expect(event.fflags & NOTE_EXIT);
    cr_expect_eq((uintptr_t)event.udata, 9u);
    int reported = (int)event.data;  /* a variable: macOS takes its address */
    cr_expect(WIFEXITED(reported) && WEXITSTATUS(reported) == 7, "%llx", (long long)event.data);
    cr_expect_eq(pending(), 0, "once");
    cr_expect_eq(waitpid(pid, &status, 0), pid, "still there for whoever waits");
    cr_expect_eq(status, (int)event.data);
    close2(start);
}

Queue_test(an_exit_by_signal_brings_the_wait_status) {
    struct kevent event;
    int start[2], status;
    cr_assert_eq(pipe(start), 0);
    pid_t pid = child_that(start[0], 0, SIGTERM);
    cr_assert_eq(change((uintptr_t)pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0), 0);
    cr_assert_eq(write(start[1], "x", 1), 1);
    cr_assert_eq(next(&event), 1);
    int reported = (int)event.data;  /* a variable: macOS takes its address */
    cr_expect(WIFSIGNALED(reported) && WTERMSIG(reported) == SIGTERM);
    cr_expect_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, (int)event.data);
    close2(start);
}

Queue_test(a_zombie_fires_at_once) {
    struct kevent event;
    siginfo_t info;
    pid_t pid = child_that(-1, 3, 0);
    cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    int error = change((uintptr_t)pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0);
#ifdef __NetBSD__
    cr_expect_eq(error, ESRCH);
    (void)event;
#else
    cr_assert_eq(error, 0);
    cr_assert_eq(kevent(kq, NULL, 0, &event, 1, &at_once), 1);
    int reported = (int)event.data;  /* a variable: macOS takes its address */
    cr_expect(WIFEXITED(reported) && WEXITSTATUS(reported) == 3);
#endif
    cr_expect_eq(waitpid(pid, NULL, 0), pid);
    cr_expect_eq(change((uintptr_t)pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0), ESRCH, "no process");
}

/* ---- the queue's own descriptor ---- */

Queue_test(the_queue_can_be_polled) {
    int fds[2];
    struct kevent event;
    pair(fds);
    cr_expect(!readable(kq, 0));
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_CLEAR), 0);
    cr_expect(readable(kq, 0));
    cr_expect(readable(kq, 0));
    cr_assert_eq(next(&event), 1);
    cr_expect(!readable(kq, 0), "collected");
    close2(fds);
}

static int open_fds(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

Test(kqueue, closing_leaves_nothing) {
    int before = open_fds(), fds[2];
    pair(fds);
    open_queue();
    cr_assert_eq(add((uintptr_t)fds[0], EVFILT_READ, EV_CLEAR), 0);
    cr_assert_eq(change(1, EVFILT_TIMER, EV_ADD, 0, 1000, 0), 0);
    cr_assert_eq(change(1, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0), 0);
    cr_assert_eq(change(1, EVFILT_TIMER, EV_ADD, 0, 2000, 0), 0);
    (void)close(kq);
    close2(fds);
    cr_expect_eq(open_fds(), before);
}
