/* System calls, counted exactly by the kernel (the tracepoint raw_syscalls:sys_enter): nothing is slowed down, so that
 * batches stay as large as they are without counting. */
#ifndef ROTA_BENCH_COUNT_H
#define ROTA_BENCH_COUNT_H

#include <sys/types.h>

/* Counts those of a process and of the threads that it makes later (0: this one) from now on. A descriptor, or a
 * negative errno where the kernel does not let us. */
int count_open(pid_t pid);

/* How many so far. */
long count_read(int fd);

#endif
