/* The seam's calls on threads. See reactor/sys.h. */
#define _GNU_SOURCE 1

#include "reactor/sys.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#if defined(__FreeBSD__) || defined(__OpenBSD__)
# include <pthread_np.h>
#endif
#if defined(__linux__)
# include <sched.h>
#endif

/* Signals are blocked around the creation, not at the thread's start: a thread inherits the mask, so there is
 * no moment in which a handler of the program could run on a thread that the program does not know. */
int rota__sys_thread(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack_size) {
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error)
        return -error;
    sigset_t all, before;
    (void)sigfillset(&all);
    if (stack_size)
        error = pthread_attr_setstacksize(&attr, stack_size);
    if (!error) {
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(thread, &attr, fn, arg);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    (void)pthread_attr_destroy(&attr);
    return -error;
}

/* The attribute knows the constant of <limits.h> only; what thread-local memory and signal frames take in this process
 * is known to sysconf, where it is known at all, and else to the first pthread_create. */
int rota__sys_thread_stack(size_t n) {
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error)
        return -error;
    error = pthread_attr_setstacksize(&attr, n);
    (void)pthread_attr_destroy(&attr);
#if defined(_SC_THREAD_STACK_MIN)
    long least = sysconf(_SC_THREAD_STACK_MIN);
    if (least > 0 && n < (size_t)least)
        error = EINVAL;
#endif
    return -error;
}

int rota__sys_thread_join(pthread_t thread) { return -pthread_join(thread, NULL); }

#if defined(__APPLE__)
void rota__sys_thread_name(const char *name) { (void)pthread_setname_np(name); }
#elif defined(__NetBSD__)
void rota__sys_thread_name(const char *name) {
    (void)pthread_setname_np(pthread_self(), "%s", (void *)(uintptr_t)name);
}
#elif defined(__FreeBSD__) || defined(__OpenBSD__)
void rota__sys_thread_name(const char *name) { pthread_set_name_np(pthread_self(), name); }
#else
void rota__sys_thread_name(const char *name) { (void)pthread_setname_np(pthread_self(), name); }
#endif

/* Not more than the process is allowed: a container often has few of the machine's. */
int rota__sys_processors(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > INT32_MAX ? INT32_MAX : (int)n;
}
