/* Every system call and allocation of a program with worker processes fails, once, and from there on, in the process
 * that makes it (I01, G06). Each run ends, with success or an error, and gives back every descriptor and byte, and
 * every process; no job runs twice. What each process made of each call is counted in memory that all share. */
#include "tests/fault_kit.h"
#include "tests/workers_kit.h"
#include "tests/sys_table.h"

enum {
    FORK = FAULT_OWN, SERVER_FORK, SERVER_RECVMSG, SERVER_POLL, SERVER_SEND, SERVER_REAP,
    WORKER_RECV, WORKER_SEND, WORKER_MMAP, WORKER_MAP
};

static pid_t parent;

static bool in_parent(void) { return getpid() == parent; }
static bool in_server(void) { return getppid() == parent; }

#define REAL rota__sys_real
#define WITH_FAULT(kind, call) do { int e_ = fault(kind); return e_ ? e_ : (call); } while (0)

static ssize_t sys_recvmsg(int fd, struct msghdr *msg, int flags) {
    WITH_FAULT(in_parent() ? FAULT_recvmsg : SERVER_RECVMSG, REAL.recvmsg(fd, msg, flags));
}
static ssize_t sys_recv(int fd, void *buf, size_t n, int flags) {
    WITH_FAULT(in_parent() ? FAULT_recv : WORKER_RECV, REAL.recv(fd, buf, n, flags));
}
static ssize_t sys_send(int fd, const void *buf, size_t n, int flags) {
    WITH_FAULT(in_server() ? SERVER_SEND : WORKER_SEND, REAL.send(fd, buf, n, flags));
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
static void change(struct rota__sys *sys) {
    sys->threads = one_thread;
    sys->recvmsg = sys_recvmsg;
    sys->recv = sys_recv;
    sys->send = sys_send;
    sys->fork = sys_fork;
    sys->poll = sys_poll;
    sys->reap = sys_reap;
    sys->mmap = sys_mmap;
    sys->map_shared = sys_map_shared;
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

static intptr_t run(int *rc) {
    intptr_t v = 1;
    *rc = rota_fork_server_start();
    if (*rc < 0)
        v = *rc;
    if (*rc == 0) {
        rota_loop_options opt = test_options();
        *rc = rota_run(program, NULL, &v, &opt);
    }
    stop_server();
    return v;
}

static void share_memory(void) {
    fault_share();
    common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert(common != MAP_FAILED);
}

static void prepare(const struct fault_row *row) {
    (void)row;
    memset(common, 0, sizeof *common);
    parent = getpid();
}

/* epoll: where there is one. */
static const struct fault_row rows[] = {
    { FAULT_socketpair, -EMFILE, 0, NULL },     { FAULT_pipe, -EMFILE, 0, NULL },
    { FAULT_set_nonblocking, -EIO, 0, NULL },   { FAULT_shared_file, -EMFILE, 0, NULL },
    { FAULT_ftruncate, -ENOSPC, 0, NULL },      { FAULT_sendmsg, -EPIPE, 0, NULL },
    { FAULT_sendmsg, -ENOBUFS, 0, NULL },       { FAULT_sendmsg, -EINTR, 0, NULL },
    { FAULT_recvmsg, -ECONNRESET, 0, NULL },    { FAULT_recvmsg, -EINTR, 0, NULL },
    { FAULT_recv, -EIO, 0, NULL },              { FAULT_recv, -EINTR, 0, NULL },
    { FAULT_pread, -EIO, 0, NULL },             { FAULT_pwrite, -ENOSPC, 0, NULL },
    { FAULT_pwrite, -EINTR, 0, NULL },          { FORK, -EAGAIN, 0, "fork" },
    { SERVER_FORK, -EAGAIN, 0, "fork in the server" },
    { SERVER_RECVMSG, -ENOMEM, 0, "recvmsg in the server" }, { SERVER_RECVMSG, -EINTR, 0, "recvmsg in the server" },
    { SERVER_POLL, -ENOMEM, 0, "poll in the server" },       { SERVER_POLL, -EINTR, 0, "poll in the server" },
    { SERVER_SEND, -EPIPE, 0, "send in the server" },        { SERVER_REAP, -EINTR, 0, "reap in the server" },
    { WORKER_RECV, -EIO, 0, "recv in a worker" },            { WORKER_RECV, -EINTR, 0, "recv in a worker" },
    { WORKER_SEND, -EPIPE, 0, "send in a worker" },          { WORKER_SEND, -EINTR, 0, "send in a worker" },
    { WORKER_MMAP, -ENOMEM, 0, "mmap in a worker" },         { WORKER_MAP, -ENOMEM, 0, "mapping in a worker" },
    { FAULT_epoll_ctl, -ENOSPC, FAULT_OPTIONAL, NULL },
};

static const struct fault_program worker_processes = {
    .run = run, .rows = rows, .n_rows = sizeof rows / sizeof *rows, .change = change, .begin = share_memory,
    .prepare = prepare,
};

Fault_tests(faults_workers, &worker_processes, .timeout = 120)

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
