/* What the tests of the small profile share: memory for loops, connected sockets, a clock that stands still until the
 * loop waits, and system calls that fail on demand. */
#ifndef TESTS_SMALL_KIT_H
#define TESTS_SMALL_KIT_H

#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rota/small.h"
#include "tests/harness.h"

enum { KIT_FDS = 64, KIT_TIMERS = 16, KIT_TASKS = 8, KIT_STACK = 16 * 1024 };

/* Options for a loop with that much memory. Registered with valgrind, which otherwise takes a switch between
 * neighbouring stacks for one long stack. */
const rota_loop_options *kit_memory(void);
const rota_loop_options *kit_other_memory(void);

/* Two connected stream sockets, non-blocking. */
void kit_pair(int fds[2]);

/* Fills what the kernel takes, so that the next write would block; how much it was. Empties it. */
size_t kit_fill(int fd);
size_t kit_empty(int fd);

/* From now on the clock says `now` and moves only when epoll_wait waits: by what it would have waited. */
void kit_clock(int64_t now);
int64_t kit_now(void);
void kit_advance(int64_t ns);

/* And by so much whenever it is read: so that what tries again and again gets somewhere. */
void kit_clock_step(int64_t ns);

/* What happened last: protocols of tests, "abc". */
extern char kit_log[256];
void kit_note(char c);

/* The n-th call (from 1) of the named system call from now on fails with that error; all: each later one too. Counts
 * them either way: kit_calls. */
void kit_fail(const char *name, int n, int error, bool all);
void kit_fail_none(void);
int kit_calls(const char *name);

#endif
