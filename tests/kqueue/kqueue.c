/* kqueue(2) on Linux, from epoll, eventfd, timerfd and pidfd: for tests only, so that poller_kqueue.c and all that
 * stands on it runs where the project is developed. No part of the library; never installed.
 *
 * It offers kqueue and kevent of sys/event.h, and takes the place of close, dup2 and dup3 for the whole program.
 * Invariant: poll(2) finds a queue's descriptor readable when kevent would return something, and each event (a
 * "knote") has an entry in exactly one epoll set exactly while it is enabled. It must not know the library.
 *
 * "Manual" is FreeBSD's kqueue(2), other systems' are named; "source" is FreeBSD's sys/kern/kern_event.c, for what
 * the manual leaves open. What is not implemented is refused with EINVAL, never imitated: vnodes, AIO, watching a
 * process for anything but its exit; and EVFILT_SIGNAL, which coexists with handlers on the BSDs, where a signalfd
 * sees only what is blocked, and takes it away from them.
 *
 * An epoll set has one entry for a descriptor; a kqueue has one for each pair of descriptor and filter, each with a
 * state of its own (Manual, DESCRIPTION: an event is identified by ident and filter, one of each pair per
 * queue). So there are sets within the set: the queue's own is for reading and for what is no descriptor of the
 * program's; one for writing and one for urgent data are entries of it, level-triggered: it is readable as long as
 * one of them has something. (Reading has none of its own because Linux lets a file be watched through two levels
 * of epoll by 500 numbers at most.) The kernel then does the work. An entry with EPOLLET is an event with EV_CLEAR:
 * both ask the condition again when the event is fetched, drop it if it has passed, and report again when more
 * arrives (Manual: the filter is also run when the user retrieves the event).
 *
 * close(2) takes a number's events out, even if duplicates of the file live on (Manual: "will remove any kevents
 * that reference the descriptor"). epoll forgets an entry only with the last duplicate, and afterwards nobody can
 * name it; and which number was closed cannot be found out later: a number that came back for the same file looks
 * as if nothing had been. So this must be done at the moment of closing, by everybody who closes: by defining close,
 * dup2 and dup3 here. The table rota__sys would not do: tests close the ends they hold themselves. (Not seen are
 * fclose and others inside libc. A number closed by them keeps its knote until it is deleted or the queue goes, as
 * on no BSD.)
 *
 * Any thread may call, and a signal handler may trigger: one lock, held with all signals blocked.
 */
#define _GNU_SOURCE 1

#include <sys/event.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(SYS_pidfd_open)
# define SYS_pidfd_open 434
#endif

enum { READS, WRITES, EXCEPTS, N_SETS };
enum { BUCKETS = 256, BATCH = 1024 };

/* What an entry's data holds: in the queue's own set READ_TAG | number, an inner set's index, or a knote that is no
 * descriptor of the program's; in an inner set the number. (Numbers, not knotes, so that an entry that nobody can
 * name any more leads nowhere.) */
#define READ_TAG (UINT64_C(1) << 63)

struct knote {
    struct knote *next;
    struct kevent event;    /* as registered; of EVFILT_USER, fflags are the user's 24 bits */
    int fd;                 /* what epoll watches: the ident, or a timerfd, eventfd or pidfd of our own */
    bool enabled;
};

struct queue {
    struct queue *next;
    int fd;                             /* what the program has */
    int sets[N_SETS];                   /* [READS] is fd */
    struct knote *knotes[BUCKETS];      /* by ident */
    struct epoll_event answers[BATCH], inner[BATCH];
};

static struct queue *queues;
static atomic_int n_queues;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void enter(sigset_t *before) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
    pthread_mutex_lock(&lock);
}

static void leave(const sigset_t *before) {
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

static int really_close(int fd) { return (int)syscall(SYS_close, fd); }

/* ---- knotes ---- */

static bool is_of_descriptor(int filter) {
    return filter == EVFILT_READ || filter == EVFILT_WRITE || filter == EVFILT_EXCEPT;
}

static struct knote **bucket(struct queue *q, uintptr_t ident) { return &q->knotes[ident % BUCKETS]; }

static struct knote *find(struct queue *q, uintptr_t ident, int filter) {
    struct knote *k = *bucket(q, ident);
    while (k && (k->event.ident != ident || k->event.filter != filter))
        k = k->next;
    return k;
}

static int set_of(int filter) { return filter == EVFILT_WRITE ? WRITES : filter == EVFILT_EXCEPT ? EXCEPTS : READS; }

/* Enables, or looks at the condition anew: epoll does both when an entry is added or modified (Manual: the filter is
 * run upon registration to detect a condition that is there already). */
static int arm(struct queue *q, struct knote *k) {
    static const uint32_t asked[] = {EPOLLIN | EPOLLRDHUP, EPOLLOUT, EPOLLPRI};
    int index = set_of(k->event.filter), set = q->sets[index], error;
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uintptr_t)k};
    if (is_of_descriptor(k->event.filter)) {
        e.events = asked[index] | (k->event.flags & EV_CLEAR ? EPOLLET : 0);
        e.data.u64 = k->event.ident | (index == READS ? READ_TAG : 0);
    }
    error = epoll_ctl(set, k->enabled ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, k->fd, &e) < 0 ? errno : 0;
    if (error == ENOENT || error == EEXIST)
        error = epoll_ctl(set, error == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, k->fd, &e) < 0 ? errno : 0;
    k->enabled = error == 0;
    return error == EPERM ? EINVAL : error; /* no filter for such files here: EINVAL on the BSDs */
}

/* An entry with no events would still report errors: so it is taken out. */
static void disarm(struct queue *q, struct knote *k) {
    if (k->enabled)
        (void)epoll_ctl(q->sets[set_of(k->event.filter)], EPOLL_CTL_DEL, k->fd, &(struct epoll_event){0});
    k->enabled = false;
}

static void drop(struct queue *q, struct knote *k) {
    struct knote **at = bucket(q, k->event.ident);
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    disarm(q, k);
    if (!is_of_descriptor(k->event.filter))
        really_close(k->fd);
    free(k);
}

/* ---- what is behind a new knote ---- */

static int attach_descriptor(struct knote *k) {
    struct stat st;
    k->fd = (int)k->event.ident;
    if (fstat(k->fd, &st) < 0)
        return errno;
    /* OpenBSD's manual: the filter tells of out-of-band data on sockets. Level-triggered it would have to be quiet
     * while the peer has hung up, which epoll reports in every set. */
    if (k->event.filter == EVFILT_EXCEPT)
        return S_ISSOCK(st.st_mode) && k->event.flags & EV_CLEAR && k->event.fflags & NOTE_OOB ? 0 : EINVAL;
    /* FreeBSD's sys/kern/sys_pipe.c: no filter for writing where the other end is gone. */
    struct pollfd p = {.fd = k->fd, .events = POLLOUT};
    if (k->event.filter == EVFILT_WRITE && S_ISFIFO(st.st_mode) && poll(&p, 1, 0) == 1 && p.revents & POLLERR)
        return EPIPE;
    return 0;
}

/* Manual, EVFILT_TIMER: periodic unless EV_ONESHOT or NOTE_ABSTIME; milliseconds unless fflags say otherwise; an
 * existing timer that is added again starts anew, and what it had not delivered is gone; EV_CLEAR by itself. Source:
 * a negative time is EINVAL; no time at all is the shortest one; an absolute one counts from the epoch. */
static int start_timer(struct knote *k) {
    static const int64_t units[] = {[0] = 1000000, [NOTE_SECONDS] = 1000000000, [NOTE_MSECONDS] = 1000000,
                                    [NOTE_USECONDS] = 1000, [NOTE_NSECONDS] = 1};
    unsigned unit = k->event.fflags & ~NOTE_ABSTIME;
    if (unit >= sizeof units / sizeof *units || !units[unit] || k->event.data < 0)
        return EINVAL;
    bool absolute = k->event.fflags & NOTE_ABSTIME;
    int64_t ns;
    if (__builtin_mul_overflow(k->event.data, units[unit], &ns))
        ns = INT64_MAX;
    ns = ns > 0 ? ns : 1; /* 0 would stop a timerfd */
    struct itimerspec at = {.it_value = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)}};
    k->event.flags |= EV_CLEAR | (absolute ? EV_ONESHOT : 0);
    if (!(k->event.flags & EV_ONESHOT))
        at.it_interval = at.it_value;
    int fresh = timerfd_create(absolute ? CLOCK_REALTIME : CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fresh < 0)
        return errno;
    k->fd = fresh;
    return timerfd_settime(k->fd, absolute ? TFD_TIMER_ABSTIME : 0, &at, NULL) < 0 ? errno : 0;
}

static void trigger(struct knote *k) { (void)eventfd_write(k->fd, 1); }

/* Source: NOTE_TRIGGER counts at registration too. */
static int attach_user(struct knote *k) {
    k->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (k->fd < 0)
        return errno;
    if (k->event.fflags & NOTE_TRIGGER)
        trigger(k);
    k->event.fflags &= NOTE_FFLAGSMASK;
    return 0;
}

/* Manual, ERRORS: ESRCH when there is no such process. A zombie has a pidfd, readable from the start: its event comes
 * at once, as on FreeBSD (NetBSD says ESRCH). */
static int attach_process(struct knote *k) {
    if (k->event.fflags != NOTE_EXIT)
        return EINVAL;
    k->fd = (int)syscall(SYS_pidfd_open, (pid_t)k->event.ident, 0);
    return k->fd < 0 ? errno : 0;
}

static int attach(struct knote *k) {
    switch (k->event.filter) {
    case EVFILT_READ: case EVFILT_WRITE: case EVFILT_EXCEPT: return attach_descriptor(k);
    case EVFILT_TIMER: return start_timer(k);
    case EVFILT_USER: return attach_user(k);
    case EVFILT_PROC: return attach_process(k);
    default: return EINVAL;
    }
}

/* ---- changes ---- */

static int add(struct queue *q, const struct kevent *change) {
    struct knote *k = calloc(1, sizeof *k);
    if (!k)
        return ENOMEM;
    k->event = *change;
    k->fd = -1;
    int error = attach(k);
    if (!error && !(change->flags & EV_DISABLE))
        error = arm(q, k);
    if (error) {
        if (!is_of_descriptor(change->filter) && k->fd >= 0)
            really_close(k->fd);
        free(k);
        return error;
    }
    struct knote **at = bucket(q, change->ident);
    k->next = *at;
    *at = k;
    return 0;
}

/* Manual, EVFILT_USER: the upper bits say what to do with the lower 24; NOTE_TRIGGER triggers. Source: EV_CLEAR in a
 * change to one that exists is a wish to take the trigger back, after any NOTE_TRIGGER beside it. */
static void touch_user(struct knote *k, const struct kevent *change) {
    unsigned flags = change->fflags & NOTE_FFLAGSMASK;
    eventfd_t ignored;
    if (change->fflags & NOTE_TRIGGER)
        trigger(k);
    switch (change->fflags & NOTE_FFCTRLMASK) {
    case NOTE_FFAND: k->event.fflags &= flags; break;
    case NOTE_FFOR: k->event.fflags |= flags; break;
    case NOTE_FFCOPY: k->event.fflags = flags; break;
    default: break;
    }
    k->event.data = change->data;
    if (change->flags & EV_CLEAR)
        (void)eventfd_read(k->fd, &ignored);
}

static int restart_timer(struct queue *q, struct knote *k, const struct kevent *change) {
    struct knote fresh = {.event = *change, .fd = -1};
    int error = start_timer(&fresh);
    if (error) {
        if (fresh.fd >= 0)
            really_close(fresh.fd);
        return error;
    }
    disarm(q, k);
    really_close(k->fd);
    k->fd = fresh.fd;
    k->event = fresh.event;
    return 0;
}

/* Manual: adding again modifies the parameters and makes no second one; adding enables, unless EV_DISABLE says no.
 * Source: any change takes over udata, and runs the filter. */
static int modify(struct queue *q, struct knote *k, const struct kevent *change) {
    int error = 0;
    bool enabled = k->enabled;
    k->event.udata = change->udata;
    if (change->filter == EVFILT_USER) {
        touch_user(k, change);
    } else if (change->flags & EV_ADD) {
        if (change->filter == EVFILT_TIMER)
            error = restart_timer(q, k, change);
        else
            k->event = *change;
    }
    if (error)
        return error;
    if (change->flags & EV_DISABLE)
        disarm(q, k);
    else if (change->flags & (EV_ADD | EV_ENABLE) || enabled)
        error = arm(q, k);
    return error;
}

static int apply(struct queue *q, const struct kevent *change) {
    /* Source: of a filter on descriptors, the number is looked at before anything else. */
    if (is_of_descriptor(change->filter) && fcntl((int)change->ident, F_GETFD) < 0)
        return EBADF;
    struct knote *k = find(q, change->ident, change->filter);
    if (!k) /* Manual, ERRORS: ENOENT if there is nothing to modify or delete */
        return change->flags & EV_ADD ? add(q, change) : ENOENT;
    if (!(change->flags & EV_DELETE))
        return modify(q, k, change);
    drop(q, k);
    return 0;
}

/* How many places of events hold errors and receipts, or -errno. Manual, RETURN VALUES: an error goes into the
 * eventlist with EV_ERROR and the errno in data, if there is room, else it ends the call. EV_RECEIPT forces that
 * with 0 for success; without room, later changes are not processed. */
static int apply_all(struct queue *q, const struct kevent *changes, int n, struct kevent *events, int room) {
    int told = 0;
    for (int i = 0; i < n; i++) {
        struct kevent change = changes[i]; /* both lists may be the same array */
        int error = apply(q, &change);
        if (!error && !(change.flags & EV_RECEIPT))
            continue;
        if (told == room)
            return error && !told ? -error : told;
        change.flags = EV_ERROR;
        change.data = error;
        events[told++] = change;
    }
    return told;
}

/* ---- events ---- */

/* Manual, EVFILT_READ: data is the number of bytes; of a listening socket, the backlog, of which Linux tells only
 * that it is not empty. */
static int64_t readable_bytes(int fd) {
    int n;
    return ioctl(fd, FIONREAD, &n) == 0 ? n : 1;
}

/* Manual, EVFILT_WRITE: data is the space that remains in the buffer. */
static int64_t space(int fd, bool is_socket) {
    int size, used;
    socklen_t len = sizeof size;
    if (is_socket)
        return getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) == 0 && ioctl(fd, TIOCOUTQ, &used) == 0 ?
               size - used : 1;
    size = fcntl(fd, F_GETPIPE_SZ);
    return size > 0 && ioctl(fd, FIONREAD, &used) == 0 ? size - used : 1;
}

/* Manual, EVFILT_READ and EVFILT_WRITE: EV_EOF when that direction has been shut down or the other end has gone, for
 * reading also while there is data; fflags is the socket's error, if any. Its value could only be had by taking it
 * from the socket: EIO stands for it, as no kernel would say. */
static bool tell_descriptor(const struct knote *k, uint32_t ready, struct kevent *event) {
    struct stat st;
    bool is_socket = fstat(k->fd, &st) == 0 && S_ISSOCK(st.st_mode);
    bool reads = k->event.filter == EVFILT_READ;
    if (k->event.filter == EVFILT_EXCEPT) {
        event->fflags = NOTE_OOB;
        return ready & EPOLLPRI;
    }
    event->data = reads ? readable_bytes(k->fd) : space(k->fd, is_socket);
    if (ready & (EPOLLHUP | EPOLLRDHUP) || (!is_socket && ready & EPOLLERR)) {
        event->flags |= EV_EOF;
        event->fflags = is_socket && ready & EPOLLERR ? EIO : 0;
    }
    return true;
}

/* Manual, EVFILT_TIMER: data is the number of expiries since the last call. */
static bool tell_timer(const struct knote *k, struct kevent *event) {
    uint64_t times;
    if (read(k->fd, &times, sizeof times) != (ssize_t)sizeof times)
        return false;
    event->data = (int64_t)times;
    return true;
}

/* Manual, EVFILT_USER: fflags are the user's. EV_CLEAR takes the trigger back. */
static bool tell_user(const struct knote *k, struct kevent *event) {
    eventfd_t ignored;
    event->fflags = k->event.fflags;
    event->data = k->event.data;
    if (k->event.flags & EV_CLEAR)
        (void)eventfd_read(k->fd, &ignored);
    return true;
}

/* Manual, EVFILT_PROC: the exit status is in data (OpenBSD's: in the format of wait(2)). Source: with EV_EOF, and
 * once. The process stays a zombie for whoever waits for it; after that its status is lost here, not on the BSDs. */
static bool tell_exit(const struct knote *k, struct kevent *event) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    event->fflags = NOTE_EXIT;
    event->flags |= EV_EOF | EV_ONESHOT;
    if (waitid(P_PID, (id_t)k->event.ident, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid)
        event->data = info.si_code == CLD_EXITED ? info.si_status << 8 :
                      info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
    return true;
}

/* Manual: EV_ONESHOT deletes after the first event was retrieved, EV_DISPATCH disables. */
static bool tell(struct queue *q, struct knote *k, uint32_t ready, struct kevent *event) {
    bool told;
    *event = k->event;
    event->flags &= EV_CLEAR | EV_ONESHOT | EV_DISPATCH;
    event->fflags = 0;
    event->data = 0;
    switch (k->event.filter) {
    case EVFILT_TIMER: told = tell_timer(k, event); break;
    case EVFILT_USER: told = tell_user(k, event); break;
    case EVFILT_PROC: told = tell_exit(k, event); break;
    default: told = tell_descriptor(k, ready, event); break;
    }
    if (told && event->flags & EV_ONESHOT)
        drop(q, k);
    else if (told && event->flags & EV_DISPATCH)
        disarm(q, k);
    return told;
}

static bool tell_number(struct queue *q, int fd, int filter, uint32_t ready, struct kevent *event) {
    struct knote *k = find(q, (uintptr_t)fd, filter);
    return k && tell(q, k, ready, event);
}

static int collect_inner(struct queue *q, int set, struct kevent *events, int room) {
    int n = epoll_wait(q->sets[set], q->inner, room < BATCH ? room : BATCH, 0), told = 0;
    for (int i = 0; i < n; i++)
        told += tell_number(q, (int)q->inner[i].data.u64, set == WRITES ? EVFILT_WRITE : EVFILT_EXCEPT,
                            q->inner[i].events, &events[told]);
    return told;
}

/* The inner sets come last: each may have more than one event, and what there is no room for stays in them, while an
 * edge that was taken from the outer set must be told now. */
static int collect(struct queue *q, struct kevent *events, int room) {
    int n = epoll_wait(q->fd, q->answers, room < BATCH ? room : BATCH, 0), told = 0;
    bool inner[N_SETS] = {false};
    for (int i = 0; i < n; i++) {
        uint64_t data = q->answers[i].data.u64;
        uint32_t ready = q->answers[i].events;
        if (data < N_SETS)
            inner[data] = true;
        else if (data & READ_TAG)
            told += tell_number(q, (int)(data & ~READ_TAG), EVFILT_READ, ready, &events[told]);
        else
            told += tell(q, (struct knote *)(uintptr_t)data, ready, &events[told]);
    }
    for (int set = WRITES; set < N_SETS; set++)
        if (inner[set] && told < room)
            told += collect_inner(q, set, events + told, room - told);
    return told;
}

/* ---- queues ---- */

static void destroy(struct queue *q) {
    for (int i = 0; i < BUCKETS; i++)
        while (q->knotes[i])
            drop(q, q->knotes[i]);
    for (int i = WRITES; i < N_SETS; i++)
        if (q->sets[i] >= 0)
            really_close(q->sets[i]);
    free(q);
}

static void unlist(struct queue *q) {
    struct queue **at = &queues;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    n_queues--;
}

static struct queue *find_queue(int fd) {
    struct queue *q = queues;
    while (q && q->fd != fd)
        q = q->next;
    return q;
}

static int open_sets(struct queue *q) {
    q->fd = q->sets[READS] = epoll_create1(EPOLL_CLOEXEC);
    if (q->fd < 0)
        return errno;
    for (int i = WRITES; i < N_SETS; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)i};
        q->sets[i] = epoll_create1(EPOLL_CLOEXEC);
        if (q->sets[i] < 0 || epoll_ctl(q->fd, EPOLL_CTL_ADD, q->sets[i], &e) < 0)
            return errno;
    }
    return 0;
}

int kqueue(void) {
    sigset_t before;
    enter(&before);
    struct queue *q = calloc(1, sizeof *q);
    int error = ENOMEM, fd = -1;
    if (q) {
        q->fd = q->sets[READS] = q->sets[WRITES] = q->sets[EXCEPTS] = -1;
        error = open_sets(q);
        fd = q->fd;
    }
    if (q && error) {
        if (fd >= 0)
            really_close(fd);
        destroy(q);
        fd = -1;
    } else if (q) {
        q->next = queues;
        queues = q;
        n_queues++;
    }
    leave(&before);
    errno = error;
    return fd;
}

/* A number is about to be closed: its knotes go, or the queue that it is. */
static void forget(int fd) {
    struct queue *q = find_queue(fd);
    if (q) {
        unlist(q);
        destroy(q);
    }
    for (q = queues; q; q = q->next) {
        struct knote *k, *next;
        for (k = *bucket(q, (uintptr_t)fd); k; k = next) {
            next = k->next;
            if (k->event.ident == (uintptr_t)fd && is_of_descriptor(k->event.filter))
                drop(q, k);
        }
    }
}

int close(int fd) {
    sigset_t before;
    if (!n_queues)
        return really_close(fd);
    enter(&before);
    forget(fd);
    int rc = really_close(fd), error = errno;
    leave(&before);
    errno = error;
    return rc;
}

int dup3(int fd, int onto, int flags) {
    sigset_t before;
    enter(&before);
    if (fd != onto && fcntl(fd, F_GETFD) >= 0)
        forget(onto);
    int rc = (int)syscall(SYS_dup3, fd, onto, flags), error = errno;
    leave(&before);
    errno = error;
    return rc;
}

int dup2(int fd, int onto) {
    if (fd == onto)
        return fcntl(fd, F_GETFD) < 0 ? -1 : fd;
    return dup3(fd, onto, 0);
}

/* ---- fork ---- */

/* Manual: "The queue is not inherited by a child created with fork(2)", so there its number is closed. Closing takes
 * nothing out of the parent's sets; EPOLL_CTL_DEL would, so there is none. */
static sigset_t before_fork;

static void fork_begins(void) {
    sigset_t before;
    enter(&before);
    before_fork = before;
}

static void fork_in_parent(void) {
    sigset_t before = before_fork;
    leave(&before);
}

static void fork_in_child(void) {
    struct queue *q;
    while ((q = queues)) {
        unlist(q);
        for (int i = 0; i < BUCKETS; i++)
            for (struct knote *k = q->knotes[i]; k; k = k->next)
                k->enabled = false;
        really_close(q->fd);
        destroy(q);
    }
    fork_in_parent();
}

__attribute__((constructor)) static void watch_forks(void) {
    pthread_atfork(fork_begins, fork_in_parent, fork_in_child);
}

/* ---- waiting ---- */

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Waits without the lock and without taking anything: poll(2) of the outer set. 0, or errno. */
static int wait_until(int kq, int64_t until) {
    struct timespec t, *limit = NULL;
    struct pollfd p = {.fd = kq, .events = POLLIN};
    if (until != INT64_MAX) {
        int64_t left = until - now();
        left = left > 0 ? left : 0;
        t = (struct timespec){(time_t)(left / 1000000000), (long)(left % 1000000000)};
        limit = &t;
    }
    return ppoll(&p, 1, limit, NULL) < 0 ? errno : 0;
}

/* Manual, ERRORS: EINVAL for an invalid time limit; source: before anything is fetched, after changes were applied. */
static int deadline_of(const struct timespec *timeout, int64_t *until) {
    *until = INT64_MAX;
    if (!timeout)
        return 0;
    if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000)
        return EINVAL;
    int64_t start = now();
    if (timeout->tv_sec < (INT64_MAX - start) / 1000000000 - 1)
        *until = start + (int64_t)timeout->tv_sec * 1000000000 + timeout->tv_nsec;
    return 0;
}

/* Events of kq, waiting for the first one until the deadline; or -errno. Manual, ERRORS: EINTR only if a signal came
 * before any event. */
static int scan(int kq, struct kevent *events, int room, const struct timespec *timeout) {
    int64_t until;
    int error = deadline_of(timeout, &until), told = 0;
    while (!error) {
        sigset_t before;
        error = wait_until(kq, until);
        enter(&before);
        struct queue *q = find_queue(kq);
        told = q ? collect(q, events, room) : -EBADF;
        leave(&before);
        if (told || (until != INT64_MAX && now() >= until))
            return told ? told : -error;
    }
    return -error;
}

int kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n_events,
           const struct timespec *timeout) {
    sigset_t before;
    enter(&before);
    struct queue *q = find_queue(kq);
    int rc = q ? apply_all(q, changes, n_changes, events, n_events) : -EBADF;
    leave(&before);
    /* Manual: with no room for events it returns at once, whatever the timeout. */
    if (rc == 0 && n_events > 0)
        rc = scan(kq, events, n_events, timeout);
    if (rc >= 0)
        return rc;
    errno = -rc;
    return -1;
}
