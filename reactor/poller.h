/* The contract between the loop and a poller (poller_epoll.c, poller_kqueue.c, poller_poll.c).
 *
 * A poller is one file that defines one const struct rota__poller. It keeps its own state in the loop's
 * `poll` member (struct rota__poll) and knows nothing of watchers: it reports readiness of a descriptor
 * number with the generation under which it was registered, through rota__fd_event. (poll(2) keeps no set in the
 * kernel: that poller asks about the slots of the table, and where a callback waits it cannot tell news from what
 * it has told before; see there.)
 *
 *   open    Makes the kernel object and the waker. 0 or an error, with nothing left behind.
 *   close   Gives back everything but the waker. forked: this is a child after fork: close descriptors but
 *           change nothing in kernel objects that are shared with the parent.
 *   set     Makes (fd, generation) registered for `interest` (ROTA_READ | ROTA_WRITE; reading includes urgent
 *           data and the peer's end), edge-triggered. had: the interest registered so far by this loop under
 *           this generation, 0 if none. interest 0 removes. Adding must report readiness that is already
 *           there. A hang-up is reported as READ | WRITE | EOF, an error as READ | WRITE | ERROR, the peer's end
 *           of data as READ | EOF. 0; -EPERM: cannot be polled (a regular file); -EBADF, -ENOMEM, -ENOSPC.
 *           A descriptor that is already in the set under an older generation is taken over.
 *   wait    Waits until something is ready or timeout_ns has passed (0: not at all; ROTA_FOREVER), at least
 *           that long, and calls rota__fd_event for each ready descriptor. Returns how many events it got
 *           (poll->capacity: there may be more), or an error; -EINTR counts as 0 events.
 *           After a wake, returns at once. Calls rota__polled as soon as the kernel has answered.
 *   fd      The descriptor that a foreign loop polls; *its* readability means: wait has something. From now
 *           on `deadline` is called. -ENOTSUP.
 *   deadline  Only after fd: makes that descriptor readable at `when` (absolute; ROTA_FOREVER: by nothing but
 *           events; anything past: at once).
 *
 *   arm     Only in loops that are precise, before wait with ROTA_FOREVER: that one is to return by `when`, which is to
 *           come, and never before it unless something else happens. An error: give wait a timeout instead. NULL where
 *           nothing is more precise than that.
 *
 *   renew   Makes the set anew and empty but for the waker and the timer; the descriptor number, where fd was
 *           asked for, stays the same. The caller registers everything again. 0 or an error with the old set
 *           left as it was: -ENOTSUP where nothing can get stale.
 *
 * Waking: open fills loop->inbox->waker; rota__waker_wake is called by any thread and by signal handlers, and
 * needs only that struct. Its descriptor belongs to the inbox, which outlives the loop while remotes exist.
 */
#ifndef ROTA_REACTOR_POLLER_H
#define ROTA_REACTOR_POLLER_H

#include "reactor/sys.h"
#include "rota/reactor.h"

/* What a poller keeps in a loop. */
struct rota__poll {
    void *events;        /* array for the kernel's answers */
    int capacity;        /* of events */
    int fd;              /* epoll or kqueue descriptor, -1 */
    int timer_fd;        /* of a loop that is precise or polled by a foreign one, -1 */
    int64_t armed;       /* what timer_fd is set to; 0: nothing */
    bool no_pwait2;      /* the kernel lacks epoll_pwait2 */
};

struct rota__waker {
    int fd;
    int (*wake)(int fd);    /* async-signal-safe, any thread */
    int other;              /* where waking takes a pipe: the end that is read; -1 elsewhere */
};

struct rota__poller {
    const char *name;
    int (*open)(rota_loop *loop);
    void (*close)(rota_loop *loop, bool forked);
    int (*set)(rota_loop *loop, int fd, uint32_t generation, unsigned had, unsigned interest);
    int (*wait)(rota_loop *loop, int64_t timeout_ns);
    int (*fd)(rota_loop *loop);
    void (*deadline)(rota_loop *loop, int64_t when);
    int (*arm)(rota_loop *loop, int64_t when);
    int (*renew)(rota_loop *loop);
};

extern const struct rota__poller rota__poller_epoll, rota__poller_kqueue, rota__poller_poll;

/* The pollers that are built in, best first, ended by NULL (pollers.c, from the build's choice). */
extern const struct rota__poller *const rota__pollers[];

/* From wait: the descriptor registered as (fd, generation) became ready. ready: ROTA_READ, WRITE, PRIORITY,
 * EOF, ERROR. May stop, start and close watchers of any descriptor. */
void rota__fd_event(rota_loop *loop, int fd, uint32_t generation, unsigned ready);

#endif
