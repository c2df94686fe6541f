/* Writing to a descriptor that somebody else has: standard error, or where a dump goes. */
#ifndef ROTA_REACTOR_QUIET_H
#define ROTA_REACTOR_QUIET_H

#include <stddef.h>

/* All n bytes, in one write where the system takes them so. It may be a pipe that nobody reads any more: there is no
 * SIGPIPE. 0, or the error of write(2) or of masking the signal. */
int rota__write_quietly(int fd, const char *bytes, size_t n);

#endif
