/* See sys_table.h. */
#include "tests/sys_table.h"

#define FORWARD(type, name, parameters, arguments)                           \
    type real_##name parameters;                                             \
    type rota__sys_##name parameters { return (rota__sys->name) arguments; }
#define FORWARD_WITHOUT_RESULT(type, name, parameters, arguments)            \
    type real_##name parameters;                                             \
    type rota__sys_##name parameters { (rota__sys->name) arguments; }
#define REAL(type, name, parameters, arguments) .name = real_##name,

SYS_CALLS(FORWARD)
SYS_CALLS_WITHOUT_RESULT(FORWARD_WITHOUT_RESULT)
#if defined(__linux__)
SYS_CALLS_OF_EPOLL(FORWARD)
#endif
#if !defined(__linux__) || defined(ROTA__POLLER_KQUEUE)
SYS_CALLS_OF_KQUEUE(FORWARD)
#endif

const struct rota__sys rota__sys_real = {
    SYS_CALLS(REAL)
    SYS_CALLS_WITHOUT_RESULT(REAL)
#if defined(__linux__)
    SYS_CALLS_OF_EPOLL(REAL)
#endif
#if !defined(__linux__) || defined(ROTA__POLLER_KQUEUE)
    SYS_CALLS_OF_KQUEUE(REAL)
#endif
};

const struct rota__sys *rota__sys = &rota__sys_real;
