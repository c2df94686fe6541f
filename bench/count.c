#define _GNU_SOURCE
#include "count.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static int tracepoint(void) {
    static const char *const paths[] = { "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
                                         "/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id" };
    for (int i = 0; i < 2; i++) {
        int id = -1;
        FILE *f = fopen(paths[i], "r");
        if (f && fscanf(f, "%d", &id) != 1)
            id = -1;
        if (f)
            fclose(f);
        if (id >= 0)
            return id;
    }
    return -ENOENT;
}

int count_open(pid_t pid) {
    int id = tracepoint();
    if (id < 0)
        return id;
    struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof attr, .config = (uint64_t)id,
                                    .inherit = 1 };
    long fd = syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
    return fd < 0 ? -errno : (int)fd;
}

long count_read(int fd) {
    uint64_t n = 0;
    return read(fd, &n, sizeof n) == sizeof n ? (long)n : -1;
}
