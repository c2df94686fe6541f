/* Worker processes at the seam: what a server that forks them needs, and memory that they share with their parent.
 *
 * It offers threads, fork, leave, death_signal, self, parent, detach_files, shared_file, map_shared and sync_shared.
 * It must not know who forks whom, nor why.
 */
#define _GNU_SOURCE 1

#include "reactor/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__linux__)
# include <sched.h>
# include <sys/prctl.h>
# include <sys/syscall.h>
#elif defined(__FreeBSD__)
# include <sys/procctl.h>
#endif

static int checked(long r) { return r < 0 ? -errno : (int)r; }

/* ---- how many threads there are ---- */

#if defined(__SANITIZE_THREAD__)
# define WATCHER_THREADS 1 /* ThreadSanitizer has one of its own, which takes care of itself in a fork */
#elif defined(__has_feature)
# if __has_feature(thread_sanitizer)
#  define WATCHER_THREADS 1
# endif
#endif
#if !defined(WATCHER_THREADS)
# define WATCHER_THREADS 0
#endif

#if defined(__linux__)

/* glibc 2.32 and later: not 0 means that there has been no other thread since the last time that it knew. Asked
 * first, because under an emulator the kernel counts the emulator's threads too. */
extern char __libc_single_threaded __attribute__((weak));

/* What the kernel counts; a thread that was joined a moment ago may still be among them, which is on the safe side. */
static int count_threads(void) {
    DIR *dir = opendir("/proc/self/task");
    if (!dir)
        return -errno;
    int n = 0;
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    (void)closedir(dir);
    return n - (n > 1 ? WATCHER_THREADS : 0);
}

/* Without /proc: unshare(2) refuses CLONE_THREAD, which does nothing else, to a process with several threads. */
int rota__sys_threads(void) {
    if (&__libc_single_threaded && __libc_single_threaded)
        return 1;
    int n = count_threads();
    if (n > 0)
        return n;
    int rc = checked(unshare(CLONE_THREAD));
    return rc == 0 ? 1 : rc == -EINVAL ? 2 : -ENOSYS;
}

#elif defined(__APPLE__)

/* Has there ever been another one? */
int rota__sys_threads(void) { return pthread_is_threaded_np() ? 2 : 1; }

#else

/* Set for ever by the first thread that the C library of these systems makes. */
extern int __isthreaded __attribute__((weak));

int rota__sys_threads(void) {
    if (!&__isthreaded)
        return -ENOSYS;
    return __isthreaded ? 2 : 1;
}

#endif

/* ---- processes ---- */

pid_t rota__sys_fork(void) { return (pid_t)checked(fork()); }

/* At once: no handlers of exit, which belong to the process that this one is a copy of, nor its buffers. (Not _exit on
 * Linux, for the reason that sys_spawn.c gives.) */
void rota__sys_leave(int code) {
#if defined(__linux__)
    for (;;)
        (void)syscall(SYS_exit_group, (long)code);
#else
    _exit(code);
#endif
}

/* Linux sends it when the *thread* that forked ends; the receiver has to look whether the process has. */
int rota__sys_death_signal(int signo) {
#if defined(__linux__)
    return checked(prctl(PR_SET_PDEATHSIG, (unsigned long)signo, 0ul, 0ul, 0ul));
#elif defined(__FreeBSD__) && defined(PROC_PDEATHSIG_CTL)
    return checked(procctl(P_PID, 0, PROC_PDEATHSIG_CTL, &signo));
#else
    (void)signo;
    return -ENOSYS;
#endif
}

pid_t rota__sys_self(void) { return getpid(); }

pid_t rota__sys_parent(void) { return getppid(); }

/* ---- descriptors ---- */

static void close_from_to(int first, int last) {
#if defined(__linux__)
    enum { CLOSE_RANGE = 436 }; /* the same number on every architecture with the common table */
    if (syscall(CLOSE_RANGE, (unsigned)first, last < 0 ? ~0u : (unsigned)last, 0) == 0)
        return;
#endif
    struct rlimit limit;
    if (last < 0) {
        bool known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
        last = known && limit.rlim_cur < 1 << 20 ? (int)limit.rlim_cur - 1 : (1 << 20) - 1;
    }
    for (int fd = first; fd <= last; fd++)
        (void)close(fd);
}

/* Standard input becomes /dev/null, and from 3 on only those in `keep` stay open. In no order that is asked for: they
 * are few. */
int rota__sys_detach_files(const int *keep, size_t n) {
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null > 0 && dup2(null, 0) < 0)
        return -errno;
    for (int first = 3;;) {
        int next = -1;
        for (size_t i = 0; i < n; i++)
            if (keep[i] >= first && (next < 0 || keep[i] < next))
                next = keep[i];
        if (next != first)
            close_from_to(first, next < 0 ? -1 : next - 1);
        if (next < 0)
            return 0;
        first = next + 1;
    }
}

/* ---- memory ---- */

/* A file of that folder without a name. */
static int nameless_file(char *pattern) {
    int fd = mkostemp(pattern, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(pattern);
    return checked(fd);
}

/* Rejected: shm_open, whose objects macOS lets nobody read or write but by mapping. */
int rota__sys_shared_file(void) {
#if defined(__linux__)
    int fd = checked(syscall(SYS_memfd_create, "rota-worker", 1u /* MFD_CLOEXEC */));
    if (fd != -ENOSYS)
        return fd;
    char in_memory[] = "/dev/shm/rota-XXXXXX";
    fd = nameless_file(in_memory);
    if (fd >= 0)
        return fd;
#endif
    char in_tmp[] = "/tmp/rota-XXXXXX";
    return nameless_file(in_tmp);
}

void *rota__sys_map_shared(int fd, size_t n) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* OpenBSD keeps what is mapped and what is read and written apart until it is told. */
void rota__sys_sync_shared(void *p, size_t n) {
#if defined(__OpenBSD__)
    (void)msync(p, n, MS_SYNC | MS_INVALIDATE);
#else
    (void)p, (void)n;
#endif
}
