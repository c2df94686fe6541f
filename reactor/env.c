/* The environment, in an object of its own: programs without one leave it out. */
#include <stdlib.h>
#include <string.h>

#include "reactor/loop.h"

#if defined(__APPLE__)
# include <crt_externs.h> /* a shared library has no `environ` there */
char **rota__env_all(void) { return *_NSGetEnviron(); }
#else
/* Weak: FreeBSD defines it in the program alone, and a shared library must link without it. */
extern char **environ __attribute__((weak));
char **rota__env_all(void) { return &environ ? environ : NULL; }
#endif

static const char *value_of(const char *variable) {
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

bool rota__env_debug(void) {
    const char *value = value_of("ROTA_DEBUG");
    return value && strcmp(value, "0") != 0;
}

const char *rota__env_backend(void) { return value_of("ROTA_BACKEND"); }

const char *rota__env_clock(void) { return value_of("ROTA_CLOCK"); }

const char *rota__env_trace(void) { return value_of("ROTA_TRACE"); }
