/* The fork server: rota_fork_server_start and _stop, and, for executors, rota__fork_worker and rota__fork_server_check.
 *
 * Why there is one: a fork of a process that has threads gives a child in which the locks that others held stay locked
 * for ever, malloc's among them, so that only async-signal-safe functions may be called there. The server is forked
 * while there is one thread, never makes another, and forks the workers later. (CPython's multiprocessing calls the
 * same thing "forkserver"; there it executes a new interpreter. Here nothing is executed, so that pointers to functions
 * stay valid.)
 *
 * Invariant of the parent's side: `server` is written under its lock, and its descriptor is that of a server which has
 * not been reaped. Invariant of the server's side: a worker is in `slots` from its fork until it has been reaped, and
 * its link is open as long, so that a number in `slots` is never another process's. It must not know what workers do.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "coro/workers.h"
#include "reactor/loop.h"

enum { TRIES_MS = 2000 };

/* ---- what both sides know ---- */

static void fork_without_signals(pid_t *pid) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)rota__sys_sigmask(SIG_SETMASK, &all, &before);
    *pid = rota__sys_fork();
    if (*pid != 0)
        (void)rota__sys_sigmask(SIG_SETMASK, &before, NULL);
}

/* In a new process, all signals blocked: none of the program's handlers may run here. */
static void reset_signals(void) {
    static const int of_the_terminal[] = {SIGINT, SIGQUIT, SIGHUP};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int signo = 1; signo < NSIG; signo++)
        (void)rota__sys_sigaction(signo, &action, NULL); /* those that cannot be changed are as they should be */
    action.sa_handler = SIG_IGN;
    for (size_t i = 0; i < sizeof of_the_terminal / sizeof *of_the_terminal; i++)
        (void)rota__sys_sigaction(of_the_terminal[i], &action, NULL);
}

static void unblock_signals(void) {
    sigset_t none;
    (void)sigemptyset(&none);
    (void)rota__sys_sigmask(SIG_SETMASK, &none, NULL);
}

static void close_all(const int *fds, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            (void)rota__sys_close(fds[i]);
}

union control {
    struct cmsghdr align;
    unsigned char bytes[64 + ROTA__BIRTH_FDS * sizeof(int)];
};

static struct msghdr message(struct iovec *iov, union control *control) {
    struct msghdr msg;
    memset(&msg, 0, sizeof msg);
    memset(control, 0, sizeof *control);
    msg.msg_iov = iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control->bytes;
    msg.msg_controllen = CMSG_SPACE(ROTA__BIRTH_FDS * sizeof(int));
    return msg;
}

/* ---- the server ---- */

struct slot {
    pid_t pid;
    int link;                  /* -1: the parent has ended it */
};

/* In the server alone; its stack. */
struct host {
    int requests;
    int bell[2];               /* handlers write, the server reads */
    pid_t parent;
    struct slot *slots;
    struct pollfd *polled;     /* requests, the bell, then the links of the slots */
    size_t n, room;
    bool over;
};

static int bell = -1;          /* for the handlers; set in the server alone */

static void ring(int signo) {
    int saved = errno;
    (void)signo;
    (void)rota__sys_write(bell, "", 1); /* full: it rings already */
    errno = saved;
}

static void handle(int signo) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = ring;
    action.sa_flags = SA_RESTART;
    (void)rota__sys_sigaction(signo, &action, NULL);
}

static int more_room(struct host *h) {
    if (h->n < h->room)
        return 0;
    size_t room = h->room ? 2 * h->room : 16;
    struct slot *slots = rota__realloc(&rota__malloc, h->slots, h->room * sizeof *slots, room * sizeof *slots);
    if (!slots)
        return -ENOMEM;
    h->slots = slots;
    struct pollfd *polled = rota__realloc(&rota__malloc, h->polled, (2 + h->room) * sizeof *polled,
                                          (2 + room) * sizeof *polled);
    if (!polled)
        return -ENOMEM;
    h->polled = polled;
    h->room = room;
    return 0;
}

/* Nobody may listen any more. */
static void tell(int link, int error, int status) {
    struct rota__worker_end end = {.error = error, .status = status};
    (void)rota__sys_send(link, &end, sizeof end, MSG_DONTWAIT);
    (void)rota__sys_close(link);
}

static void ended(struct host *h, pid_t pid, int status) {
    for (size_t i = 0; i < h->n; i++) {
        if (h->slots[i].pid != pid)
            continue;
        tell(h->slots[i].link, 0, status);
        h->slots[i] = h->slots[--h->n];
        h->polled[2 + i] = h->polled[2 + h->n];
        return;
    }
}

static void reap_all(struct host *h) {
    int status;
    for (pid_t pid; (pid = rota__sys_reap(-1, -1, WNOHANG, &status)) != 0;) {
        if (pid == -EINTR)
            continue;
        if (pid < 0)
            return;
        ended(h, pid, status);
    }
}

/* In a new worker. */
static void become_worker(pid_t server, const int fds[ROTA__BIRTH_FDS]) {
    const int keep[] = {fds[ROTA__BIRTH_JOBS], fds[ROTA__BIRTH_SHARED]};
    (void)rota__sys_death_signal(SIGKILL);
    rota__sys_thread_name("rota-worker");
    reset_signals();
    if (rota__sys_detach_files(keep, 2) < 0 || rota__sys_parent() != server)
        rota__sys_leave(1);
    unblock_signals();
    rota__sys_leave(rota__worker_main(fds[ROTA__BIRTH_JOBS], fds[ROTA__BIRTH_SHARED]));
}

static void birth(struct host *h, const int fds[ROTA__BIRTH_FDS], pid_t server) {
    pid_t pid = more_room(h);
    if (pid == 0) {
        fork_without_signals(&pid);
        if (pid == 0)
            become_worker(server, fds);
    }
    (void)rota__sys_close(fds[ROTA__BIRTH_JOBS]);
    (void)rota__sys_close(fds[ROTA__BIRTH_SHARED]);
    if (pid < 0) {
        tell(fds[ROTA__BIRTH_LINK], pid, 0);
        return;
    }
    h->slots[h->n] = (struct slot){.pid = pid, .link = fds[ROTA__BIRTH_LINK]};
    h->polled[2 + h->n] = (struct pollfd){.fd = fds[ROTA__BIRTH_LINK], .events = POLLIN};
    h->n++;
}

/* What has come with the message; those that had no place in our table are missing at the end. */
static size_t take_fds(struct msghdr *msg, int fds[ROTA__BIRTH_FDS]) {
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(c), (n < ROTA__BIRTH_FDS ? n : ROTA__BIRTH_FDS) * sizeof(int));
    return n;
}

static void next_request(struct host *h) {
    union control control;
    int fds[ROTA__BIRTH_FDS];
    char byte;
    struct iovec iov = {&byte, 1};
    struct msghdr msg = message(&iov, &control);
    ssize_t r = rota__sys_recvmsg(h->requests, &msg, MSG_DONTWAIT);
    if (r == -EAGAIN || r == -EINTR)
        return;
    h->over = r <= 0;
    if (h->over)
        return;
    size_t n = take_fds(&msg, fds);
    if (n == ROTA__BIRTH_FDS) {
        birth(h, fds, rota__sys_self());
        return;
    }
    if (n > 0)
        tell(fds[ROTA__BIRTH_LINK], -EMFILE, 0);
    if (n > 1)
        close_all(fds + 1, n - 1);
}

static void empty_bell(const struct host *h) {
    char rings[64];
    while (rota__sys_read(h->bell[0], rings, sizeof rings) > 0)
        ;
}

static void serve_round(struct host *h) {
    h->polled[0] = (struct pollfd){.fd = h->requests, .events = POLLIN};
    h->polled[1] = (struct pollfd){.fd = h->bell[0], .events = POLLIN};
    int n = rota__sys_poll(h->polled, (nfds_t)(2 + h->n), -1);
    if (n < 0) {
        h->over = n != -EINTR; /* no memory, say: an end that is seen is better than a server that hears nothing */
        return;
    }
    for (size_t i = 0; i < h->n; i++) {
        if (!h->polled[2 + i].revents)
            continue;
        (void)rota__sys_kill(h->slots[i].pid, SIGKILL);
        h->polled[2 + i].fd = -1; /* poll skips it */
    }
    if (h->polled[1].revents) {
        empty_bell(h);
        reap_all(h);
        /* The signal of the parent's death comes when the thread that forked us ends. */
        h->over = rota__sys_parent() != h->parent;
    }
    if (!h->over && h->polled[0].revents)
        next_request(h);
}

/* One that SIGKILL does not end within the bound stands in the middle of a system call that cannot be interrupted. */
static void end_all(struct host *h) {
    for (size_t i = 0; i < h->n; i++)
        (void)rota__sys_kill(h->slots[i].pid, SIGKILL);
    for (int ms = 0; h->n > 0 && ms < TRIES_MS; ms++) {
        reap_all(h);
        if (h->n > 0)
            (void)rota__sys_poll(NULL, 0, 1);
    }
}

/* In the new process, all signals blocked; what it leaves with. */
static int serve(struct host *h) {
    const int keep[] = {h->requests, h->bell[0], h->bell[1]};
    bell = h->bell[1];
    rota__sys_thread_name("rota-forks");
    reset_signals();
    handle(SIGCHLD);
    handle(SIGUSR1);
    (void)rota__sys_death_signal(SIGUSR1);
    if (rota__sys_detach_files(keep, 3) < 0 || more_room(h) < 0 || rota__sys_parent() != h->parent)
        return 1;
    unblock_signals();
    while (!h->over)
        serve_round(h);
    end_all(h);
    return 0;
}

/* ---- the parent ---- */

static struct {
    pthread_mutex_t lock;
    pid_t pid;                 /* 0: none */
    int requests;
    unsigned forks;            /* rota__forks when it was started: in a child after fork it is the parent's */
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void lock(void) { (void)pthread_mutex_lock(&server.lock); }

static void unlock(void) { (void)pthread_mutex_unlock(&server.lock); }

/* Under the lock. */
static bool lives(void) {
    char byte;
    ssize_t r = 0;
    while (server.pid && (r = rota__sys_recv(server.requests, &byte, 1, MSG_PEEK | MSG_DONTWAIT)) == -EINTR)
        ;
    return r == -EAGAIN;
}

/* Under the lock: it is told to end by the end of its socket, also where a child of ours holds a copy of that; one that
 * cannot be told (it has died, or is stopped) needs no telling. */
static void bury(void) {
    int status;
    if (!server.pid)
        return;
    if (!lives())
        (void)rota__sys_kill(server.pid, SIGKILL);
    (void)rota__sys_shutdown(server.requests, SHUT_RDWR);
    (void)rota__sys_close(server.requests);
    while (rota__sys_reap(server.pid, -1, 0, &status) == -EINTR)
        ;
    server.pid = 0;
}

/* A server that belongs to the parent of this process is forgotten; a thread there may have held the lock. */
static void forget_inherited(void) {
    if (server.pid && server.forks != rota__forks) {
        (void)rota__sys_close(server.requests);
        server.pid = 0;
    }
    if (server.forks != rota__forks)
        (void)pthread_mutex_init(&server.lock, NULL);
    server.forks = rota__forks;
}

static int may_start(void) {
    int n = rota__sys_threads();
    if (n < 0)
        return -ENOTSUP;
    if (n > 1 || rota__current)
        return -EBUSY;
    forget_inherited();
    if (lives())
        return -EALREADY;
    bury();
    return 0;
}

int rota_fork_server_start(void) {
    rota__watch_forks();
    int rc = may_start();
    if (rc < 0)
        return rc;
    int ends[2];
    struct host h = {.parent = rota__sys_self()};
    rc = rota__sys_socketpair(SOCK_STREAM, ends);
    if (rc < 0)
        return rc;
    rc = rota__sys_pipe(h.bell);
    if (rc < 0) {
        close_all(ends, 2);
        return rc;
    }
    h.requests = ends[1];
    pid_t pid;
    fork_without_signals(&pid);
    if (pid == 0)
        rota__sys_leave(serve(&h));
    close_all(h.bell, 2);
    (void)rota__sys_close(ends[1]);
    if (pid < 0) {
        (void)rota__sys_close(ends[0]);
        return pid;
    }
    server.pid = pid;
    server.requests = ends[0];
    return 0;
}

int rota_fork_server_stop(void) {
    if (server.forks != rota__forks)
        return 0;
    lock();
    bury();
    unlock();
    return 0;
}

int rota__fork_server_check(void) {
    if (server.forks != rota__forks)
        return -ENOTCONN;
    lock();
    bool alive = lives();
    if (!alive)
        bury();
    unlock();
    return alive ? 0 : -ENOTCONN;
}

static ssize_t send_request(const int fds[ROTA__BIRTH_FDS]) {
    union control control;
    char byte = 'w';
    struct iovec iov = {&byte, 1};
    struct msghdr msg = message(&iov, &control);
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(ROTA__BIRTH_FDS * sizeof(int));
    memcpy(CMSG_DATA(c), fds, ROTA__BIRTH_FDS * sizeof(int));
    ssize_t r;
    do
        r = rota__sys_sendmsg(server.requests, &msg, MSG_DONTWAIT);
    while (r == -EINTR);
    return r;
}

int rota__fork_worker(const int fds[ROTA__BIRTH_FDS]) {
    if (server.forks != rota__forks)
        return -ENOTCONN;
    lock();
    ssize_t r = server.pid ? send_request(fds) : -ENOTCONN;
    if (r == -EPIPE || r == -ECONNRESET) {
        bury();
        r = -ENOTCONN;
    }
    unlock();
    return r < 0 ? (int)r : 0;
}
