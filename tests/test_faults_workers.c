/* Every system call and allocation of a program with worker processes fails, once, and from there on, in the process
 * that makes it (I01, G06). Each run ends, with success or an error, and gives back every descriptor and byte, and
 * every process; no job runs twice. What each process made of each call is counted in memory that all share. */
#include "tests/workers_kit.h"

enum call {
    SOCKETPAIR, PIPE, BLOCKING, SHARED_FILE, TRUNCATE, SENDMSG, RECVMSG, RECV, PREAD, PWRITE, EPOLL_CTL, FORK,
    SERVER_FORK, SERVER_RECVMSG, SERVER_POLL, SERVER_SEND, SERVER_REAP,
    WORKER_RECV, WORKER_SEND, WORKER_MMAP, WORKER_MAP,
    CALLS
};

static struct {
    atomic_size_t made[CALLS];
    enum call kind;
    size_t at;
    int error;
    bool on;
    pid_t parent;
} *faults;

static int fault(enum call kind) {
    size_t n = atomic_fetch_add(&faults->made[kind], 1) + 1;
    bool hit = faults->at && kind == faults->kind && (n == faults->at || (faults->on && n > faults->at));
    return hit ? faults->error : 0;
}

static bool in_parent(void) { return getpid() == faults->parent; }
static bool in_server(void) { return getppid() == faults->parent; }

#define REAL rota__sys_real
#define WITH_FAULT(kind, call) do { int e_ = fault(kind); return e_ ? e_ : (call); } while (0)

static int sys_socketpair(int type, int fds[2]) { WITH_FAULT(SOCKETPAIR, REAL.socketpair(type, fds)); }
static int sys_pipe(int fds[2]) { WITH_FAULT(PIPE, REAL.pipe(fds)); }
static int sys_set_nonblocking(int fd, int on) { WITH_FAULT(BLOCKING, REAL.set_nonblocking(fd, on)); }
static int sys_shared_file(void) { WITH_FAULT(SHARED_FILE, REAL.shared_file()); }
static int sys_ftruncate(int fd, off_t n) { WITH_FAULT(TRUNCATE, REAL.ftruncate(fd, n)); }
static ssize_t sys_sendmsg(int fd, const struct msghdr *msg, int flags) {
    WITH_FAULT(SENDMSG, REAL.sendmsg(fd, msg, flags));
}
static ssize_t sys_recvmsg(int fd, struct msghdr *msg, int flags) {
    WITH_FAULT(in_parent() ? RECVMSG : SERVER_RECVMSG, REAL.recvmsg(fd, msg, flags));
}
static ssize_t sys_recv(int fd, void *buf, size_t n, int flags) {
    WITH_FAULT(in_parent() ? RECV : WORKER_RECV, REAL.recv(fd, buf, n, flags));
}
static ssize_t sys_send(int fd, const void *buf, size_t n, int flags) {
    WITH_FAULT(in_server() ? SERVER_SEND : WORKER_SEND, REAL.send(fd, buf, n, flags));
}
static ssize_t sys_pread(int fd, void *buf, size_t n, off_t at) { WITH_FAULT(PREAD, REAL.pread(fd, buf, n, at)); }
static ssize_t sys_pwrite(int fd, const void *buf, size_t n, off_t at) {
    WITH_FAULT(PWRITE, REAL.pwrite(fd, buf, n, at));
}
static pid_t sys_fork(void) { WITH_FAULT(in_parent() ? FORK : SERVER_FORK, REAL.fork()); }
static int sys_poll(struct pollfd *fds, nfds_t n, int ms) {
    int rc = in_server() && ms < 0 ? fault(SERVER_POLL) : 0;
    return rc ? rc : REAL.poll(fds, n, ms);
}
static int sys_reap(pid_t pid, int pidfd, int options, int *status) {
    int rc = in_server() ? fault(SERVER_REAP) : 0;
    return rc ? rc : REAL.reap(pid, pidfd, options, status);
}
static void *sys_mmap(size_t n) {
    return !in_parent() && !in_server() && fault(WORKER_MMAP) ? NULL : REAL.mmap(n);
}
static void *sys_map_shared(int fd, size_t n) { return fault(WORKER_MAP) ? NULL : REAL.map_shared(fd, n); }
#ifdef __linux__
static int sys_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event) {
    WITH_FAULT(EPOLL_CTL, REAL.epoll_ctl(epoll, op, fd, event));
}
#endif

static struct rota__sys failing_sys(void) {
    struct rota__sys sys = kit_table();
    sys.socketpair = sys_socketpair;
    sys.pipe = sys_pipe;
    sys.set_nonblocking = sys_set_nonblocking;
    sys.shared_file = sys_shared_file;
    sys.ftruncate = sys_ftruncate;
    sys.sendmsg = sys_sendmsg;
    sys.recvmsg = sys_recvmsg;
    sys.recv = sys_recv;
    sys.send = sys_send;
    sys.pread = sys_pread;
    sys.pwrite = sys_pwrite;
    sys.fork = sys_fork;
    sys.poll = sys_poll;
    sys.reap = sys_reap;
    sys.mmap = sys_mmap;
    sys.map_shared = sys_map_shared;
#ifdef __linux__
    sys.epoll_ctl = sys_epoll_ctl;
#endif
    return sys;
}

/* ---- the program ---- */

enum { LARGE = ROTA__WORKER_INLINE + 1000 };

JOB(job_ends) { _exit(3); }

static intptr_t small_job(void) {
    intptr_t v = call_value(3);
    cr_expect(v == 3 || rota_failed(v), "%ld", (long)v);
    return v == 3 ? 0 : v;
}

static intptr_t large_job(void) {
    static unsigned char in[LARGE], out[LARGE];
    memset(in, 8, sizeof in);
    memset(out, 0, sizeof out);
    rota_worker_job job = {.fn = job_add_one, .in = in, .in_n = sizeof in, .out = out, .out_size = sizeof out};
    int rc = rota_workers_call(workers, &job, NULL);
    cr_expect(rc < 0 || (job.out_n == sizeof out && out[0] == 9 && out[LARGE - 1] == 9));
    return rc;
}

static intptr_t crashing_job(void) {
    int status;
    intptr_t v = call_fn(job_ends, &status);
    cr_expect(v < 0 && (v != -EOWNERDEAD || status == -1 || rota_process_exit_code(status) == 3 ||
                        rota_process_exit_signal(status) > 0), "%ld, %d", (long)v, status);
    return v == -EOWNERDEAD ? 0 : v;
}

static intptr_t program(void *unused) {
    (void)unused;
    int rc = rota_workers_new(&workers, &(rota_workers_options){.workers = 2});
    if (rc < 0)
        return rc;
    intptr_t v[4] = {small_job(), large_job(), crashing_job(), small_job()};
    cr_expect(common->ran <= 2, "a job ran twice");
    free_workers();
    for (int i = 0; i < 4; i++)
        if (v[i] < 0)
            return v[i];
    return 0;
}

/* ---- the driver ---- */

static bool runs(const char *what, size_t at) {
    intptr_t v = 1;
    int rc = rota_fork_server_start();
    if (rc == 0) {
        rota_loop_options opt = test_options();
        rc = rota_run(program, NULL, &v, &opt);
    }
    cr_expect(rc < 0 || (rc == 0 && (v == 0 || rota_failed(v))), "%s %zu: %d, value %ld", what, at, rc, (long)v);
    stop_server();
    test_end();
    return rc == 0 && v == 0;
}

static void begin(enum call kind, size_t at, int error, bool on) {
    memset(faults, 0, sizeof *faults);
    memset(common, 0, sizeof *common);
    faults->parent = getpid();
    faults->kind = kind;
    faults->at = at;
    faults->error = error;
    faults->on = on;
    test_begin();
}

static void share_memory(void) {
    faults = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert(faults != MAP_FAILED && common != MAP_FAILED);
}

static const struct {
    enum call kind;
    const char *name;
    int error;
} kinds[] = {
    {SOCKETPAIR, "socketpair", -EMFILE}, {PIPE, "pipe", -EMFILE}, {BLOCKING, "set_nonblocking", -EIO},
    {SHARED_FILE, "shared_file", -EMFILE}, {TRUNCATE, "ftruncate", -ENOSPC}, {SENDMSG, "sendmsg", -EPIPE},
    {SENDMSG, "sendmsg", -ENOBUFS}, {SENDMSG, "sendmsg", -EINTR}, {RECVMSG, "recvmsg", -ECONNRESET},
    {RECVMSG, "recvmsg", -EINTR}, {RECV, "recv", -EIO}, {RECV, "recv", -EINTR}, {PREAD, "pread", -EIO},
    {PWRITE, "pwrite", -ENOSPC}, {PWRITE, "pwrite", -EINTR}, {FORK, "fork", -EAGAIN},
    {SERVER_FORK, "fork in the server", -EAGAIN}, {SERVER_RECVMSG, "recvmsg in the server", -ENOMEM},
    {SERVER_RECVMSG, "recvmsg in the server", -EINTR}, {SERVER_POLL, "poll in the server", -ENOMEM},
    {SERVER_POLL, "poll in the server", -EINTR}, {SERVER_SEND, "send in the server", -EPIPE},
    {SERVER_REAP, "reap in the server", -EINTR}, {WORKER_RECV, "recv in a worker", -EIO},
    {WORKER_RECV, "recv in a worker", -EINTR}, {WORKER_SEND, "send in a worker", -EPIPE},
    {WORKER_SEND, "send in a worker", -EINTR}, {WORKER_MMAP, "mmap in a worker", -ENOMEM},
    {WORKER_MAP, "mapping in a worker", -ENOMEM},
#ifdef __linux__
    {EPOLL_CTL, "epoll_ctl", -ENOSPC},
#endif
};

static void fail_each(bool on) {
    const struct rota__sys sys = failing_sys();
    share_memory();
    rota__sys = &sys;
    begin(SOCKETPAIR, 0, 0, false);
    cr_expect(runs("nothing", 0));
    size_t made[CALLS];
    for (int i = 0; i < CALLS; i++)
        made[i] = faults->made[i];
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (on && kinds[k].error == -EINTR)
            continue; /* for ever is no fault that a system has */
        cr_expect(made[kinds[k].kind] > 0 || kinds[k].kind == EPOLL_CTL, "the program makes no %s", kinds[k].name);
        for (size_t at = 1; at <= made[kinds[k].kind]; at++) {
            begin(kinds[k].kind, at, kinds[k].error, on);
            bool succeeded = runs(kinds[k].name, at);
            cr_expect(succeeded || kinds[k].error != -EINTR, "%s %zu: interrupted", kinds[k].name, at);
        }
    }
    rota__sys = &rota__sys_real;
}

Test(faults_workers, each_system_call_fails_once, .timeout = 120) { fail_each(false); }
Test(faults_workers, each_system_call_fails_and_all_later_ones, .timeout = 120) { fail_each(true); }

static void fail_each_allocation(bool on) {
    const struct rota__sys sys = failing_sys();
    share_memory();
    rota__sys = &sys;
    begin(SOCKETPAIR, 0, 0, false);
    cr_expect(runs("nothing", 0));
    size_t calls = memory.calls;
    for (size_t at = 1; at <= calls; at++) {
        begin(SOCKETPAIR, 0, 0, false);
        memory.fail_at = at;
        memory.fail_on = on;
        (void)runs("allocation", at);
    }
    rota__sys = &rota__sys_real;
}

Test(faults_workers, each_allocation_fails_once, .timeout = 120) { fail_each_allocation(false); }
Test(faults_workers, each_allocation_fails_and_all_later_ones, .timeout = 120) { fail_each_allocation(true); }

/* ---- short transfers ---- */

static int turn;

static ssize_t short_sendmsg(int fd, const struct msghdr *msg, int flags) {
    if (msg->msg_control)
        return REAL.sendmsg(fd, msg, flags);
    if (++turn % 3 == 0)
        return -EAGAIN;
    size_t n = msg->msg_iov[0].iov_len;
    return REAL.send(fd, msg->msg_iov[0].iov_base, n < 5000 ? n : 5000, flags);
}

static ssize_t short_recvmsg(int fd, struct msghdr *msg, int flags) {
    if (msg->msg_control)
        return REAL.recvmsg(fd, msg, flags);
    size_t n = msg->msg_iov[0].iov_len;
    return REAL.recv(fd, msg->msg_iov[0].iov_base, n < 1000 ? n : 1000, flags);
}

static ssize_t short_recv(int fd, void *buf, size_t n, int flags) {
    return REAL.recv(fd, buf, n < 700 ? n : 700, flags);
}
static ssize_t short_send(int fd, const void *buf, size_t n, int flags) {
    return REAL.send(fd, buf, n < 900 ? n : 900, flags);
}
static ssize_t short_pread(int fd, void *buf, size_t n, off_t at) {
    return REAL.pread(fd, buf, n < 9000 ? n : 9000, at);
}
static ssize_t short_pwrite(int fd, const void *buf, size_t n, off_t at) {
    return REAL.pwrite(fd, buf, n < 9000 ? n : 9000, at);
}

static intptr_t echoes(void *unused) {
    static unsigned char in[2 * LARGE], out[2 * LARGE];
    static const size_t sizes[] = {10, 20000, ROTA__WORKER_INLINE, LARGE, 2 * LARGE};
    (void)unused;
    open_workers(1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i], wrong = 0;
        memset(in, (int)i, n);
        memset(out, 0, n);
        rota_worker_job job = {.fn = job_add_one, .in = in, .in_n = n, .out = out, .out_size = n};
        cr_expect_eq(rota_workers_call(workers, &job, NULL), 0);
        for (size_t at = 0; at < n; at++)
            wrong += out[at] != i + 1;
        cr_expect_eq(wrong, 0u, "%zu", n);
    }
    free_workers();
    return 0;
}

Test(faults_workers, transfers_may_be_short) {
    struct rota__sys sys = kit_table();
    sys.sendmsg = short_sendmsg;
    sys.recvmsg = short_recvmsg;
    sys.recv = short_recv;
    sys.send = short_send;
    sys.pread = short_pread;
    sys.pwrite = short_pwrite;
    rota__sys = &sys;
    start_server();
    cr_expect_eq(run_task(echoes, NULL), 0);
    stop_server();
    rota__sys = &rota__sys_real;
}
