/* Child processes for tasks: rota_process_spawn, wait, status, kill, close. Talking to one is in communicate.c.
 *
 * What the caller allocates is a handle; what the loop needs until the process has been reaped is a block of its own,
 * because a handle may be closed, and its memory go, while the process still runs. Invariant: a block is in the loop's
 * list of what it owns from spawn until it is freed, and it is freed when the handle is closed *and* the process has
 * been reaped. It must not know how the end is noticed (reactor/children.c), nor how a process is started
 * (reactor/sys_spawn.c).
 */
#include "coro/process.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "coro/fd.h"

int rota__process_check(const rota_process *p, struct rota__process **block) {
    if (!p)
        return -EINVAL;
    *block = p->state_;
    return p->state_ ? rota__loop_check(p->state_->loop) : -ESHUTDOWN;
}

/* ---- the end ---- */

static void free_block(struct rota__process *s) {
    rota_loop *loop = s->loop;
    rota__loop_disarm(loop, &s->deadline);
    rota__owned_remove(&s->owned);
    rota__free(&loop->allocator, s, sizeof *s);
}

static void wake_waiters(struct rota__process *s, int rc, int status) {
    struct rota__wait *wait;
    while ((wait = s->waiters)) {
        rota__wait_remove(&s->waiters, wait);
        wait->value = status;
        (void)rota__wake(wait->task, rc);
    }
}

static void on_end(rota_child *child, int status, void *arg) {
    struct rota__process *s = arg;
    (void)child;
    s->ended = true;
    s->status = status;
    if (!s->handle) {
        free_block(s);
        return;
    }
    rota__loop_disarm(s->loop, &s->deadline);
    wake_waiters(s, 0, status);
    if (s->talk)
        rota__talk_ended(s->talk, 0);
}

/* A group is only signalled while its leader has not been reaped: until then the number is the leader's. */
static int send_signal(struct rota__process *s, int signo) {
    if (s->ended)
        return -ESRCH;
    return s->kill_group ? rota__sys_kill(-s->child.pid, signo) : rota_child_kill(&s->child, signo);
}

static void grace_is_over(rota_timer *timer, void *arg) {
    (void)timer;
    (void)send_signal(arg, SIGKILL);
}

void rota__process_end(struct rota__process *s) {
    if (s->ended || s->ending)
        return;
    s->ending = true;
    (void)send_signal(s, s->grace > 0 ? SIGTERM : SIGKILL);
    if (s->grace > 0)
        rota__loop_arm(s->loop, &s->deadline, rota__time_add(rota__loop_clock(s->loop), s->grace));
}

/* The loop closes, and nobody will be told any more: killed, and reaped here. One that SIGKILL does not end within the
 * bound stands in the middle of a system call that cannot be interrupted, of a dead disk, say. */
static void kill_and_reap(struct rota__process *s) {
    enum { MOST_MS = 2000 };
    struct pollfd p = {.fd = s->child.pidfd_, .events = POLLIN};
    int status, rc = send_signal(s, SIGKILL);
    for (int ms = 0; rc == 0 && ms < MOST_MS && !rota__child_ended(&s->child, &status); ms++)
        (void)rota__sys_poll(&p, p.fd >= 0, 1);
}

/* In a child after fork the process is the parent's. */
static void drop(struct rota__owned *owned) {
    struct rota__process *s = rota__container_of(owned, struct rota__process, owned);
    rota_loop *loop = s->loop;
    int status;
    if (!s->ended && loop->forks == rota__forks && !rota__child_ended(&s->child, &status) && !s->detach)
        kill_and_reap(s);
    rota__child_forget(&s->child);
    if (s->handle)
        s->handle->state_ = NULL;
    rota__free(&loop->allocator, s, sizeof *s);
}

/* ---- what is to be executed ---- */

static const char *search_path(char *const *envp) {
    for (; *envp; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return "/bin:/usr/bin"; /* as execvp of the C libraries here */
}

/* Each place where the program may be, one string after the other, then an empty one; `out` NULL only counts. An empty
 * part of PATH is the current directory. */
static size_t list_paths(const char *name, const char *path, char *out) {
    size_t sum = 0, name_n = strlen(name) + 1;
    for (;;) {
        size_t n = strcspn(path, ":");
        if (out) {
            memcpy(out + sum, path, n);
            out[sum + n] = '/';
            memcpy(out + sum + n + (n > 0), name, name_n);
        }
        sum += n + (n > 0) + name_n;
        if (!path[n])
            break;
        path += n + 1;
    }
    if (out)
        out[sum] = 0;
    return sum + 1;
}

/* ---- descriptors ---- */

/* What is needed during the call alone. The parent's end of pipe i is ours[i], the program's is theirs[i]. */
struct birth {
    const rota_process_options *opt;
    const rota_allocator *allocator;
    int ours[3], theirs[3];
    struct rota__spawn how;
    char *paths;
    size_t paths_n, fds_n;
};

static void close_ends(int ends[3]) {
    for (int i = 0; i < 3; i++) {
        if (ends[i] >= 0)
            (void)rota__fd_close(rota__current, ends[i]);
        ends[i] = -1;
    }
}

/* The program's end is made blocking again, as programs expect: the two ends are two open files. */
static int open_pipe(struct birth *b, int i) {
    int fds[2];
    int rc = rota__sys_pipe(fds);
    if (rc < 0)
        return rc;
    b->ours[i] = fds[i == 0];
    b->theirs[i] = fds[i != 0];
    rota__fd_fresh(rota__current, b->ours[i], ROTA__FD_PIPE, ROTA__FD_NONBLOCKING);
    return rota__sys_set_nonblocking(b->theirs[i], 0);
}

/* An end of a pipe to another process, made by us: programs do not expect EAGAIN. Our own calls go on working with it,
 * once they know. */
static int lend(int fd) {
    struct rota__fd *slot = fd > 0 ? rota__fd_find(&rota__current->fds, fd) : NULL;
    if (fd <= 0)
        return -EINVAL;
    if (!slot || slot->kind != ROTA__FD_PIPE || !(slot->flags & ROTA__FD_NONBLOCKING))
        return 1;
    int rc = rota__sys_set_nonblocking(fd, 0);
    if (rc < 0)
        return rc;
    slot->flags &= (uint8_t)~ROTA__FD_NONBLOCKING;
    return 1;
}

/* How descriptor i of the program is made: *from is the one here. 1, or 0: it is inherited; or an error. */
static int choose(struct birth *b, int i, int wish, int *from) {
    switch (wish) {
    case ROTA_PROCESS_DEFAULT:
    case ROTA_PROCESS_INHERIT:
        *from = i;
        return 0;
    case ROTA_PROCESS_NULL:
        *from = ROTA__SPAWN_NULL;
        return 1;
    case ROTA_PROCESS_PIPE: {
        int rc = open_pipe(b, i);
        *from = b->theirs[i];
        return rc < 0 ? rc : 1;
    }
    default:
        *from = wish;
        return lend(wish);
    }
}

static int arrange_fds(struct birth *b) {
    const int wishes[3] = {b->opt->in, b->opt->out, b->opt->err};
    int from[3];
    for (int i = 0; i < 3; i++) {
        int rc;
        if (i == 2 && wishes[i] == ROTA_PROCESS_OUT) {
            from[i] = from[1];
            rc = 1;
        } else {
            rc = choose(b, i, wishes[i], &from[i]);
        }
        if (rc < 0)
            return rc;
        if (rc > 0)
            b->how.fds[b->how.n_fds++] = (struct rota__spawn_fd){.from = from[i], .to = i};
    }
    for (size_t i = 0; i < b->opt->n_fds; i++) {
        const rota_process_fd *fd = &b->opt->fds[i];
        if (fd->from < 0 || fd->to < 0 || fd->to == INT_MAX) /* numbers above a target are needed */
            return -EBADF;
        b->how.fds[b->how.n_fds++] = (struct rota__spawn_fd){.from = fd->from, .to = fd->to};
    }
    return 0;
}

/* ---- spawn ---- */

static unsigned flags_of(const rota_process_options *opt) {
    bool leads = opt->new_group || opt->group > 0 || (opt->kill_group && !opt->new_session);
    return (opt->new_session ? ROTA__SPAWN_SESSION : 0) | (leads ? ROTA__SPAWN_GROUP : 0) |
           (opt->terminal ? ROTA__SPAWN_TTY : 0) | (opt->close_others ? ROTA__SPAWN_CLOSE : 0);
}

static bool makes_sense(char *const argv[], const rota_process_options *opt) {
    bool group = opt->group > 0 && (opt->new_group || opt->new_session || opt->kill_group);
    bool session = (opt->new_group && opt->new_session) || (opt->terminal && !opt->new_session);
    return argv && argv[0] && opt->group >= 0 && !group && !session && opt->grace >= 0 && (opt->fds || !opt->n_fds) &&
           opt->n_fds < 0x10000 && !(opt->path ? !*opt->path : !*argv[0]);
}

static int prepare(struct birth *b, char *const argv[]) {
    const rota_process_options *opt = b->opt;
    const char *name = opt->path ? opt->path : argv[0];
    b->how.argv = argv;
    b->how.envp = opt->envp ? opt->envp : rota__env_all();
    b->how.cwd = opt->cwd;
    b->how.flags = flags_of(opt);
    b->how.group = opt->group;
    b->fds_n = (3 + opt->n_fds) * sizeof *b->how.fds;
    const char *path = strchr(name, '/') ? "" : search_path(b->how.envp);
    b->paths_n = list_paths(name, path, NULL);
    b->how.fds = rota__alloc(b->allocator, b->fds_n);
    b->paths = rota__alloc(b->allocator, b->paths_n);
    if (!b->how.fds || !b->paths)
        return -ENOMEM;
    (void)list_paths(name, path, b->paths);
    b->how.paths = b->paths;
    return arrange_fds(b);
}

/* From here on the process is reaped by us in any case. */
static int start(struct birth *b, rota_loop *loop, struct rota__process *s) {
    pid_t pid;
    int pidfd, status;
    int rc = rota__sys_spawn(&b->how, &pid, &pidfd);
    if (rc < 0)
        return rc;
    rota_child_init(&s->child, pid, on_end, s);
    rota__child_adopt(&s->child, pidfd);
    rc = rota_child_start(loop, &s->child);
    if (rc < 0) {
        /* No descriptor and no handler of SIGCHLD: nobody would notice the end. */
        (void)rota__sys_kill(pid, SIGKILL);
        while (rota__sys_reap(pid, -1, 0, &status) == -EINTR)
            ;
    }
    return rc;
}

static struct rota__process *new_block(rota_loop *loop, const rota_process_options *opt) {
    struct rota__process *s = rota__alloc(&loop->allocator, sizeof *s);
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    s->loop = loop;
    s->detach = opt->detach;
    s->kill_group = opt->kill_group;
    s->kill_on_cancel = opt->kill_on_cancel;
    s->grace = opt->grace;
    s->owned.drop = drop;
    rota_timer_init(&s->deadline, grace_is_over, s);
    return s;
}

int rota_process_spawn(rota_process *p, char *const argv[], const rota_process_options *opt) {
    static const rota_process_options defaults;
    opt = opt ? opt : &defaults;
    if (!p)
        return -EINVAL;
    *p = (rota_process){.pid = 0, .in = -1, .out = -1, .err = -1};
    rota_loop *loop = rota__current;
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!makes_sense(argv, opt))
        return -EINVAL;
    struct birth b = {.opt = opt, .allocator = &loop->allocator, .ours = {-1, -1, -1}, .theirs = {-1, -1, -1}};
    struct rota__process *s = new_block(loop, opt);
    rc = s ? prepare(&b, argv) : -ENOMEM;
    if (rc == 0)
        rc = start(&b, loop, s);
    close_ends(b.theirs);
    rota__free(b.allocator, b.how.fds, b.fds_n);
    rota__free(b.allocator, b.paths, b.paths_n);
    if (rc < 0) {
        close_ends(b.ours);
        rota__free(b.allocator, s, sizeof *s);
        return rc;
    }
    rota__owned_add(loop, &s->owned);
    s->handle = p;
    *p = (rota_process){.state_ = s, .pid = s->child.pid, .in = b.ours[0], .out = b.ours[1], .err = b.ours[2]};
    return 0;
}

/* ---- wait ---- */

static int outcome(int ended_with, int *status) {
    if (ended_with < 0)
        return ended_with;
    if (status)
        *status = ended_with;
    return 0;
}

struct process_wait {
    struct rota__wait wait;    /* first */
    struct rota__process *process;
};

static void leave(struct rota__wait *wait) {
    struct rota__process *s = ((struct process_wait *)wait)->process;
    rota__wait_remove(&s->waiters, wait);
    if (s->kill_on_cancel)
        rota__process_end(s);
}

int rota_process_wait(rota_process *p, int *status) {
    rota_task *task;
    struct rota__process *s = NULL;
    int rc = rota__enter(&task);
    if (rc == 0)
        rc = rota__process_check(p, &s);
    if (rc == 0 && s->loop != task->loop)
        rc = -EPERM;
    if (rc < 0)
        return rc;
    if (s->ended) {
        rc = outcome(s->status, status);
        if (rc == 0)
            rota__fast(task);
        return rc;
    }
    struct process_wait w = {
        .wait = {.what = "a process to end", .on = s, .until = ROTA_FOREVER, .leave = leave},
        .process = s,
    };
    w.wait.task = task;
    rota__wait_push(&s->waiters, &w.wait);
    rc = rota__park(task, &w.wait);
    return rc < 0 ? rc : outcome((int)w.wait.value, status);
}

int rota_process_status(const rota_process *p, int *status) {
    struct rota__process *s;
    int rc = rota__process_check(p, &s);
    if (rc < 0)
        return rc;
    return s->ended ? outcome(s->status, status) : -EAGAIN;
}

int rota_process_exit_code(int status) { return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

int rota_process_exit_signal(int status) { return status >= 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0; }

/* ---- kill and close ---- */

int rota_process_kill(rota_process *p, int signo) {
    struct rota__process *s;
    int rc = rota__process_check(p, &s);
    if (rc < 0)
        return rc;
    return signo < 0 ? -EINVAL : send_signal(s, signo);
}

/* In a child after fork nothing is signalled: the loop's closing there frees the block. */
static void give_up(struct rota__process *s, bool forked) {
    s->handle = NULL;
    if (forked)
        return;
    wake_waiters(s, -ESHUTDOWN, 0);
    if (s->talk)
        rota__talk_ended(s->talk, -ESHUTDOWN);
    if (s->ended)
        free_block(s);
    else if (!s->detach)
        rota__process_end(s);
}

/* The pipes are closed last: until then a communicate that is told of the end looks at them. */
int rota_process_close(rota_process *p) {
    if (!p)
        return -EINVAL;
    struct rota__process *s = p->state_;
    rota_loop *loop = s ? s->loop : rota__current;
    int rc = s ? rota__loop_check(loop) : 0;
    if (rc == -EPERM)
        return rc;
    p->state_ = NULL;
    if (s)
        give_up(s, rc < 0);
    int ends[3] = {p->in, p->out, p->err};
    for (int i = 0; p->pid > 0 && i < 3; i++)
        if (ends[i] >= 0)
            (void)rota__fd_close(loop, ends[i]);
    p->in = p->out = p->err = -1;
    return 0;
}
