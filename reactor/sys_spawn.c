/* Child processes at the seam: starting one with its descriptors, directory and session; signalling and reaping it.
 *
 * It offers spawn, pidfd_open, pidfd_signal and reap. Invariant: between the start of
 * the child and its exec only async-signal-safe calls are made, on memory that was prepared before; when spawn fails,
 * no process is left, not even as a zombie. It must not know of loops, nor allocate for the caller.
 *
 * How the child is started. On Linux by clone(CLONE_VM | CLONE_VFORK) on a stack of its own: no page table is copied
 * (a fork of a large process takes milliseconds), and the parent stands still until the exec, so that the child may
 * use the parent's memory. vfork(2) itself would let both run on one stack. Elsewhere, and under ThreadSanitizer,
 * whose book-keeping a second process in the same memory would confuse, by fork.
 *
 * How the parent learns of a failure. In shared memory the child's last words are simply there. Emulators (qemu-user,
 * valgrind) turn a vfork into a fork, where they would be lost (glibc's posix_spawn reports success there), so there is
 * also a pipe that the exec closes, which is read whenever the memory turns out not to have been shared. Not always:
 * a fork in another thread inherits the writing end, and would let the reader wait for that process.
 */
#define _GNU_SOURCE 1

#include "reactor/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__linux__)
# include <sched.h>
# include <sys/syscall.h>
#endif

static int checked(long r) { return r < 0 ? -errno : (int)r; }

#if defined(__SANITIZE_THREAD__)
# define THREADS_ARE_WATCHED 1
#elif defined(__has_feature)
# if __has_feature(thread_sanitizer)
#  define THREADS_ARE_WATCHED 1
# endif
#endif

/* ---- what both sides of the start know ---- */

struct birth {
    const struct rota__spawn *how;
    int lowest;                /* above every target: descriptors from here on are in nobody's way */
    int words;                 /* writing end of the pipe */
    sigset_t before;           /* the parent's mask */
    volatile int shares;       /* set by the child: the parent sees it if the memory is shared */
    volatile int error;        /* likewise */
};

/* ---- in the child ---- */

/* Every `from` that a target might overwrite goes out of the way first; then no order can be wrong. The copies are
 * close-on-exec, what dup2 makes is not. */
static int arrange_fds(struct birth *b) {
    const struct rota__spawn *how = b->how;
    for (size_t i = 0; i < how->n_fds; i++) {
        struct rota__spawn_fd *fd = &how->fds[i];
        int from = fd->from == ROTA__SPAWN_NULL ? open("/dev/null", O_RDWR | O_CLOEXEC) : fd->from;
        if (from >= 0 && from < b->lowest)
            from = fcntl(from, F_DUPFD_CLOEXEC, b->lowest);
        if (from < 0)
            return -errno;
        fd->moved = from;
    }
    for (size_t i = 0; i < how->n_fds; i++)
        if (dup2(how->fds[i].moved, how->fds[i].to) < 0)
            return -errno;
    return 0;
}

/* Marks the descriptors from `first` to `last` (-1: all) close-on-exec. Where there is no call for it, one by one:
 * numbers are given out lowest first, so none above a million is expected however high the limit is. */
static void close_range_on_exec(int first, int last) {
#if defined(__linux__)
    enum { CLOSE_RANGE = 436, ON_EXEC = 4 }; /* the same number on every architecture with the common table */
    if (syscall(CLOSE_RANGE, (unsigned)first, last < 0 ? ~0u : (unsigned)last, ON_EXEC) == 0)
        return;
#endif
    struct rlimit limit;
    if (last < 0) {
        bool known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
        last = known && limit.rlim_cur < 1 << 20 ? (int)limit.rlim_cur - 1 : (1 << 20) - 1;
    }
    for (int fd = first; fd <= last; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* The gaps between the targets, from 3 on. */
static void close_others(const struct rota__spawn *how) {
    int first = 3;
    for (;;) {
        int next = -1;
        for (size_t i = 0; i < how->n_fds; i++)
            if (how->fds[i].to >= first && (next < 0 || how->fds[i].to < next))
                next = how->fds[i].to;
        if (next < 0)
            break;
        if (next > first)
            close_range_on_exec(first, next - 1);
        first = next + 1;
    }
    close_range_on_exec(first, -1);
}

/* All signals are still blocked. Handlers must go before that ends: until the exec they could run here, on the parent's
 * memory. What is ignored would stay so beyond the exec, which surprises programs (SIGPIPE above all). */
static void reset_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int signo = 1; signo < NSIG; signo++)
        (void)sigaction(signo, &action, NULL); /* those that cannot be changed are as they should be */
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static __attribute__((noinline)) int arrange(struct birth *b) {
    const struct rota__spawn *how = b->how;
    if (b->words < b->lowest && (b->words = fcntl(b->words, F_DUPFD_CLOEXEC, b->lowest)) < 0)
        return -errno;
    if (how->flags & ROTA__SPAWN_SESSION && setsid() < 0)
        return -errno;
    if (how->flags & ROTA__SPAWN_GROUP && setpgid(0, how->group) < 0)
        return -errno;
    int rc = arrange_fds(b);
    if (rc < 0)
        return rc;
    if (how->flags & ROTA__SPAWN_TTY && ioctl(0, TIOCSCTTY, 0) < 0)
        return -errno;
    if (how->cwd && chdir(how->cwd) < 0)
        return -errno;
    if (how->flags & ROTA__SPAWN_CLOSE)
        close_others(how);
    reset_signals();
    return 0;
}

/* As execvp searches: one that may not be executed is remembered, but a later one may be better. No shell for a file
 * that is no program: what a stray text file does is not for a library to find out. */
static int execute(const struct rota__spawn *how) {
    int error = -ENOENT;
    for (const char *path = how->paths; *path; path += strlen(path) + 1) {
        (void)execve(path, how->argv, how->envp);
        if (errno == EACCES)
            error = -EACCES;
        else if (errno != ENOENT && errno != ENOTDIR)
            return -errno;
    }
    return error;
}

/* Not _exit: it does not return, which AddressSanitizer takes as a reason to look at a stack that it does not know. */
static void leave(void) {
#if defined(__linux__)
    for (;;)
        (void)syscall(SYS_exit_group, 127L);
#else
    _exit(127);
#endif
}

/* Nothing here or in execute has its address taken: these frames never end, and AddressSanitizer would go on guarding
 * what surrounds such a variable in memory that is something else by then, the stack of a task, say. Hence arrange is
 * not to be inlined either. */
static int child_main(void *arg) {
    struct birth *b = arg;
    b->shares = 1;
    b->error = arrange(b);
    if (b->error == 0)
        b->error = execute(b->how);
    if (b->words >= 0 && write(b->words, (const void *)(uintptr_t)&b->error, sizeof b->error) < 0)
        b->words = -1; /* nobody listens */
    leave();
    return 0;
}

/* ---- starting it ---- */

#if defined(__linux__) && !defined(THREADS_ARE_WATCHED)

enum { CHILD_STACK = 64 * 1024, PIDFD = 0x1000 /* CLONE_PIDFD, Linux 5.2; older ones ignore it */ };

/* The descriptor comes with the process, so that no other can have got its number in between (SIGCHLD ignored, or
 * somebody who reaps every child). */
static int start(struct birth *b, int *pidfd) {
    char *stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -errno;
    int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
    int pid = checked(clone(child_main, stack + CHILD_STACK, flags | PIDFD, b, pidfd));
    if (pid == -EINVAL) /* an emulator that does not know the flag */
        pid = checked(clone(child_main, stack + CHILD_STACK, flags, b));
    (void)munmap(stack, CHILD_STACK);
    return pid;
}

#else

static int start(struct birth *b, int *pidfd) {
    pid_t pid = fork();
    (void)pidfd;
    if (pid == 0)
        (void)child_main(b);
    return checked(pid);
}

#endif

/* What the child said before it ended: an error, or 0 when the exec closed the pipe. */
static int last_words(const struct birth *b, int fd) {
    if (b->shares)
        return b->error;
    int error = 0;
    ssize_t n;
    do
        n = read(fd, &error, sizeof error);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof error ? error : 0;
}

static int open_pipe(int fds[2]) {
#if defined(__APPLE__)
    if (pipe(fds) < 0)
        return -errno;
    (void)fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    (void)fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    return 0;
#else
    return checked(pipe2(fds, O_CLOEXEC));
#endif
}

static int lowest_free(const struct rota__spawn *how) {
    int lowest = 3;
    for (size_t i = 0; i < how->n_fds; i++)
        if (how->fds[i].to >= lowest)
            lowest = how->fds[i].to + 1;
    return lowest;
}

int rota__sys_spawn(const struct rota__spawn *how, pid_t *pid, int *pidfd) {
    struct birth b = {.how = how, .lowest = lowest_free(how)};
    int words[2];
    *pidfd = -1;
    int rc = open_pipe(words);
    if (rc < 0)
        return rc;
    b.words = words[1];
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &b.before);
    rc = start(&b, pidfd);
    (void)pthread_sigmask(SIG_SETMASK, &b.before, NULL);
    (void)close(words[1]);
    *pid = rc;
    if (rc >= 0)
        rc = last_words(&b, words[0]);
    (void)close(words[0]);
    if (rc < 0 && *pid > 0) {
        int status;
        while (waitpid(*pid, &status, 0) < 0 && errno == EINTR)
            ; /* it ends at once */
        if (*pidfd >= 0)
            (void)close(*pidfd);
        *pidfd = -1;
    }
    return rc < 0 ? rc : 0;
}

/* ---- afterwards ---- */

#if defined(__linux__)

/* The same on every architecture with the common table. */
enum { PIDFD_SEND_SIGNAL = 424, PIDFD_OPEN = 434 };
enum { BY_PIDFD = 3 }; /* P_PIDFD, Linux 5.4 */

int rota__sys_pidfd_open(pid_t pid) { return checked(syscall(PIDFD_OPEN, pid, 0)); }

int rota__sys_pidfd_signal(int pidfd, int signo) {
    return checked(syscall(PIDFD_SEND_SIGNAL, pidfd, signo, NULL, 0));
}

static int as_status(const siginfo_t *info) {
    if (info->si_code == CLD_EXITED)
        return (info->si_status & 0xff) << 8;
    return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

int rota__sys_reap(pid_t pid, int pidfd, int options, int *status) {
    if (pidfd >= 0) {
        siginfo_t info;
        memset(&info, 0, sizeof info);
        if (waitid((idtype_t)BY_PIDFD, (id_t)pidfd, &info, WEXITED | options) == 0) {
            if (info.si_pid)
                *status = as_status(&info);
            return info.si_pid ? pid : 0;
        }
        if (errno != EINVAL)
            return -errno;
    }
    return checked(waitpid(pid, status, options));
}

#else

int rota__sys_pidfd_open(pid_t pid) {
    (void)pid;
    return -ENOSYS;
}

int rota__sys_pidfd_signal(int pidfd, int signo) {
    (void)pidfd, (void)signo;
    return -ENOSYS;
}

int rota__sys_reap(pid_t pid, int pidfd, int options, int *status) {
    (void)pidfd;
    return checked(waitpid(pid, status, options));
}

#endif
