/* For gdb.py: three tasks, of which two wait below functions of known names; then the process traps itself. */
#include <signal.h>

#include "tests/sys_table.h"
#include "rota.h"
#include "rota/sync.h"

static rota_event never;

/* What follows a call keeps it from being the last thing done, a jump that leaves no frame. */
#define NO_TAIL_CALL() __asm__ volatile("" ::: "memory")

__attribute__((noinline)) static int deeper_in_sleep(void) {
    int rc = rota_sleep(ROTA_S);
    NO_TAIL_CALL();
    return rc;
}

__attribute__((noinline)) static int deep_in_sleep(void) {
    int rc = deeper_in_sleep();
    NO_TAIL_CALL();
    return rc;
}

static intptr_t sleeper(void *unused) {
    (void)unused;
    int rc = deep_in_sleep();
    NO_TAIL_CALL();
    return rc;
}

__attribute__((noinline)) static int wait_for_event(void) {
    int rc = rota_event_wait(&never);
    NO_TAIL_CALL();
    return rc;
}

static intptr_t waiter(void *unused) {
    (void)unused;
    int rc = wait_for_event();
    NO_TAIL_CALL();
    return rc;
}

static intptr_t stop_here(void *unused) {
    (void)unused;
    int rc = rota_spawn(NULL, sleeper, NULL, &(rota_spawn_options){ .name = "sleeper" });
    if (rc == 0)
        rc = rota_spawn(NULL, waiter, NULL, &(rota_spawn_options){ .name = "waiter" });
    if (rc == 0)
        rc = rota_yield();
    raise(SIGTRAP);
    return rc;
}

/* gdb's gcore leaves out a mapping that it cannot read from end to end, as one with guards that madvise installs; so the
 * guards of this program are made by mprotect. (The kernel's own core files have such stacks in them.) */
static int no_madvise(void *p, size_t n, int advice) { return (void)p, (void)n, (void)advice, -EINVAL; }

int main(void) {
    struct rota__sys sys = rota__sys_real;
    sys.madvise = no_madvise;
    rota__sys = &sys;
    return rota_run(stop_here, NULL, NULL, NULL);
}
