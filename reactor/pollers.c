/* The pollers that this build contains, best first: the one place that knows which those are. The build says so
 * with -DROTA__POLLER_<NAME>. */
#include "reactor/poller.h"

const struct rota__poller *const rota__pollers[] = {
#if defined(ROTA__POLLER_EPOLL)
    &rota__poller_epoll,
#endif
#if defined(ROTA__POLLER_KQUEUE)
    &rota__poller_kqueue,
#endif
#if defined(ROTA__POLLER_POLL)
    &rota__poller_poll,
#endif
    NULL,
};

static const char *const names[] = {
#if defined(ROTA__POLLER_EPOLL)
    "epoll",
#endif
#if defined(ROTA__POLLER_KQUEUE)
    "kqueue",
#endif
#if defined(ROTA__POLLER_POLL)
    "poll",
#endif
    NULL,
};

const char *const *rota_loop_backends(void) { return names; }
