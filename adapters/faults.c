/* See faults.h. System calls go through a copy of rota's table of them. Allocations are caught by the linker
 * (--wrap=malloc and its kin, adapters/tests/meson.build), in all that is linked statically: rota, adapter, test.
 *
 * Left out of the system calls are waiting itself (a loop that cannot wait ends, as it must), closing (there is no
 * failure from which anything could be learned), and reads and writes that are not of sockets: those wake the loop.
 */
#include "adapters/faults.h"

#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sys_table.h"
#include "tests/support.h"

static struct {
    atomic_size_t made;
    atomic_bool armed;
    enum fault_kind kind;
    size_t at;
    bool on;
    const char *first;          /* what failed first */
} faults;

static bool hit(enum fault_kind kind, const char *name) {
    if (!atomic_load(&faults.armed) || kind != faults.kind)
        return false;
    size_t n = atomic_fetch_add(&faults.made, 1) + 1;
    if (!faults.at || (n != faults.at && !(faults.on && n > faults.at)))
        return false;
    if (n == faults.at)
        faults.first = name;
    return true;
}

void faults_pause(void) { atomic_store(&faults.armed, false); }
void faults_go_on(void) { atomic_store(&faults.armed, true); }

/* ---- system calls ---- */

#define REAL rota__sys_real
#define CALL(type, name, parameters, arguments, error)                    \
    static type sys_##name parameters {                                    \
        return hit(FAULT_SYSTEM, #name) ? (error) : (REAL.name) arguments; \
    }

CALL(ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags), -ECONNRESET)
CALL(ssize_t, send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags), -EPIPE)
CALL(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), -ECONNRESET)
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), -EPIPE)
CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -EMFILE)
CALL(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), -ENETUNREACH)
CALL(int, getsockopt, (int fd, int level, int name, void *v, socklen_t *n), (fd, level, name, v, n), -ENOBUFS)
CALL(int, setsockopt, (int fd, int level, int name, const void *v, socklen_t n), (fd, level, name, v, n), -ENOBUFS)
CALL(int, getsockname, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n), -ENOBUFS)
CALL(int, fstat, (int fd, struct stat *st), (fd, st), -ENOMEM)
CALL(int, is_nonblocking, (int fd), (fd), -EIO)
CALL(int, set_nonblocking, (int fd, int on), (fd, on), -EIO)
CALL(int, is_socket_file, (const char *path), (path), -EACCES)
CALL(void *, mmap, (size_t n), (n), NULL)
CALL(int, mprotect_none, (void *p, size_t n), (p, n), -ENOMEM)
CALL(int, madvise, (void *p, size_t n, int advice), (p, n, advice), -ENOMEM)
CALL(int, thread, (pthread_t *id, void *(*fn)(void *), void *arg, size_t stack_size), (id, fn, arg, stack_size), -EAGAIN)
CALL(int, eventfd, (void), (), -EMFILE)
CALL(int, pipe, (int fds[2]), (fds), -EMFILE)
CALL(int, open_readonly, (const char *path), (path), -EMFILE)
CALL(int, stamp, (const char *path, struct rota__stamp *stamp), (path, stamp), -EACCES)
CALL(int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *e), (epoll, op, fd, e), -ENOMEM)
CALL(int, timerfd_create, (void), (), -EMFILE)
CALL(int, timerfd_settime, (int fd, int flags, const struct itimerspec *v), (fd, flags, v), -EINVAL)

/* That of a task; the backend poll waits with it too. */
static int sys_poll(struct pollfd *fds, nfds_t n, int timeout_ms) {
    return rota_self() && hit(FAULT_SYSTEM, "poll") ? -ENOMEM : REAL.poll(fds, n, timeout_ms);
}

static int sys_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                           struct addrinfo **list) {
    return hit(FAULT_SYSTEM, "getaddrinfo") ? EAI_MEMORY : REAL.getaddrinfo(host, service, hints, list);
}

static struct rota__sys failing_sys(void) {
    struct rota__sys sys = REAL;
#define FAILS(name) sys.name = sys_##name
    FAILS(recv), FAILS(send), FAILS(recvmsg), FAILS(sendmsg), FAILS(socket), FAILS(connect), FAILS(getsockopt);
    FAILS(setsockopt), FAILS(getsockname), FAILS(fstat), FAILS(is_nonblocking), FAILS(set_nonblocking);
    FAILS(is_socket_file), FAILS(mmap), FAILS(mprotect_none), FAILS(madvise), FAILS(thread), FAILS(eventfd);
    FAILS(pipe), FAILS(open_readonly), FAILS(stamp), FAILS(epoll_ctl), FAILS(timerfd_create);
    FAILS(timerfd_settime), FAILS(getaddrinfo), FAILS(poll);
    return sys;
}

/* ---- memory ---- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t n);

void *__wrap_malloc(size_t n) { return hit(FAULT_MEMORY, "malloc") ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return hit(FAULT_MEMORY, "calloc") ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *old, size_t n) { return hit(FAULT_MEMORY, "realloc") ? NULL : __real_realloc(old, n); }

void *faults_malloc(size_t n) { return malloc(n); }
void *faults_calloc(size_t n, size_t size) { return calloc(n, size); }
void *faults_realloc(void *old, size_t n) { return realloc(old, n); }

char *faults_strdup(const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = malloc(n);
    return copy ? memcpy(copy, text, n) : NULL;
}

/* ---- the driver ---- */

static intptr_t armed_scenario(void *program) {
    faults_go_on();
    intptr_t v = ((const struct fault_program *)program)->scenario(NULL);
    faults_pause();
    return v;
}

static intptr_t main_task(void *arg) {
    const struct fault_program *program = arg;
    int64_t limit = (under_valgrind() ? 30 : 5) * ROTA_S;
    intptr_t v = rota_timeout(limit, armed_scenario, arg);
    faults_pause();
    intptr_t after = rota_timeout(limit, program->afterwards, NULL);
    cr_expect_eq(after, 0, "call %zu (%s) has failed%s; later, on a new connection: %s", faults.at,
                 faults.first ? faults.first : "none", faults.on ? ", and all later ones" : "", rota_strerror(after));
    return v;
}

static intptr_t run_once(const struct fault_program *program, enum fault_kind kind, size_t at, bool on) {
    rota_loop_options opt = test_options();
    opt.virtual_clock = false;
    if (program->threads)
        opt.allocator = NULL;
    atomic_store(&faults.made, 0);
    faults.kind = kind;
    faults.at = at;
    faults.on = on;
    faults.first = NULL;
    test_begin();
    intptr_t v = 1;
    int rc = rota_run(main_task, (void *)(uintptr_t)program, &v, &opt);
    if (program->threads)
        wait_for_threads();
    test_end();
    cr_expect(rc == 0 && v <= 0 && v > -4096 && v != -ETIMEDOUT, "call %zu (%s): run %d, value %ld (%s)", at,
              faults.first ? faults.first : "none", rc, (long)v, rota_failed(v) ? rota_strerror(v) : "");
    return rc < 0 ? rc : v;
}

void faults_drive(const struct fault_program *program, enum fault_kind kind, bool on, size_t step) {
    const struct rota__sys sys = failing_sys();
    rota__sys = &sys;
    for (int i = 0; i < 2; i++)     /* what is made once is made */
        cr_expect_eq(run_once(program, kind, 0, false), 0, "nothing fails");
    size_t all = atomic_load(&faults.made);
    cr_expect_gt(all, 0u, "the scenario makes no such call");
    step *= under_valgrind() ? 7 : 1;
    int hung = 0;
    for (size_t at = 1; at <= all && hung < 3; at += step)
        hung += run_once(program, kind, at, on) == -ETIMEDOUT;
    if (getenv("ROTA_TEST_VERBOSE"))
        fprintf(stderr, "%zu calls that may fail\n", all);
    rota__sys = &rota__sys_real;
}
