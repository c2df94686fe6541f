#include "tests/small/kit.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>
#if defined(__has_include)
# if __has_include(<valgrind/valgrind.h>)
#  include <valgrind/valgrind.h>
#  define KIT_STACK_IS(base, n) (void)VALGRIND_STACK_REGISTER(base, (char *)(base) + (n))
# endif
#endif
#ifndef KIT_STACK_IS
# define KIT_STACK_IS(base, n) (void)0
#endif

ROTA_LOOP_MEMORY(kit, KIT_FDS, KIT_TIMERS, KIT_TASKS, KIT_STACK);

ROTA_LOOP_MEMORY(other, KIT_FDS, 0, 2, KIT_STACK);

static const rota_loop_options *known(const rota_loop_options *opt, bool *are_known) {
    for (unsigned i = 0; i < opt->n_tasks && !*are_known; i++)
        KIT_STACK_IS((char *)opt->stacks + i * opt->stack_size, opt->stack_size);
    *are_known = true;
    return opt;
}

const rota_loop_options *kit_memory(void) {
    static bool are_known;
    return known(&kit, &are_known);
}

const rota_loop_options *kit_other_memory(void) {
    static bool are_known;
    return known(&other, &are_known);
}

void kit_pair(int fds[2]) { cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0); }

size_t kit_fill(int fd) {
    static const char bytes[4096];
    size_t sum = 0;
    ssize_t n;
    while ((n = send(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
        sum += (size_t)n;
    return sum;
}

size_t kit_empty(int fd) {
    char bytes[4096];
    size_t sum = 0;
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        sum += (size_t)n;
    return sum;
}

char kit_log[256];
void kit_note(char c) {
    size_t n = strlen(kit_log);
    if (n + 1 < sizeof kit_log)
        kit_log[n] = c;
}

/* ---- system calls ---- */

enum { CALLS = 18 };
static struct call {
    const char *name;
    int seen, fail_at, error;
    bool all;
} calls[CALLS];

static struct call *call_of(const char *name) {
    struct call *c = calls;
    while (c->name && strcmp(c->name, name) != 0)
        c++;
    cr_assert(c < calls + CALLS);
    c->name = name;
    return c;
}

static bool fails(const char *name) {
    struct call *c = call_of(name);
    c->seen++;
    if (!c->fail_at || (c->all ? c->seen < c->fail_at : c->seen != c->fail_at))
        return false;
    errno = c->error;
    return true;
}

void kit_fail(const char *name, int n, int error, bool all) {
    struct call *c = call_of(name);
    c->seen = 0;
    c->fail_at = n;
    c->error = error;
    c->all = all;
}

void kit_fail_none(void) {
    for (int i = 0; i < CALLS; i++)
        calls[i].fail_at = 0;
}

int kit_calls(const char *name) { return call_of(name)->seen; }

#define WRAP(type, name, parameters, arguments)                    \
    type __real_##name parameters;                                 \
    type __wrap_##name parameters;                                 \
    type __wrap_##name parameters {                                \
        return fails(#name) ? -1 : __real_##name arguments;        \
    }

WRAP(int, accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags), (fd, addr, len, flags))
WRAP(int, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))
WRAP(int, connect, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))
WRAP(int, epoll_create1, (int flags), (flags))
WRAP(int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event), (epoll, op, fd, event))
WRAP(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len), (fd, level, name, value, len))
WRAP(int, listen, (int fd, int backlog), (fd, backlog))
WRAP(int, poll, (struct pollfd *fds, nfds_t n, int ms), (fds, n, ms))
WRAP(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n))
WRAP(ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags))
WRAP(ssize_t, send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags))
WRAP(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len), (fd, level, name, value, len))
WRAP(int, socket, (int family, int type, int protocol), (family, type, protocol))
WRAP(ssize_t, readv, (int fd, const struct iovec *iov, int n), (fd, iov, n))
WRAP(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n))
WRAP(ssize_t, writev, (int fd, const struct iovec *iov, int n), (fd, iov, n))

static bool stands_still;
static int64_t clock_now;

static int64_t clock_step;

void kit_clock(int64_t now) {
    stands_still = true;
    clock_now = now;
}

void kit_clock_step(int64_t ns) { clock_step = ns; }

int64_t kit_now(void) { return clock_now; }
void kit_advance(int64_t ns) { clock_now += ns; }

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t) {
    if (!stands_still || id != CLOCK_MONOTONIC)
        return __real_clock_gettime(id, t);
    clock_now += clock_step;
    t->tv_sec = (time_t)(clock_now / ROTA_S);
    t->tv_nsec = (long)(clock_now % ROTA_S);
    return 0;
}

int __real_epoll_wait(int epoll, struct epoll_event *events, int n, int ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int n, int ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int n, int ms) {
    if (fails("epoll_wait"))
        return -1;
    if (!stands_still)
        return __real_epoll_wait(epoll, events, n, ms);
    int got = __real_epoll_wait(epoll, events, n, ms < 0 || ms >= 86400000 ? ms : 0);
    if (got == 0 && ms > 0)
        clock_now += ms * ROTA_MS;
    return got;
}
