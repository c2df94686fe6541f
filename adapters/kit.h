/* What the tests of adapters have in common: real servers, each in a temporary folder under the care of a keeper.
 *
 * The keeper is a process in a session of its own. It starts and ends the servers, and when the test's end of the
 * leash closes, for whatever reason, it kills them and removes the folder: so also after a crash, a failed assertion
 * or a timeout nothing is left.
 */
#ifndef ROTA_ADAPTERS_KIT_H
#define ROTA_ADAPTERS_KIT_H

#include <sys/types.h>

#include "rota/coro.h"
#include "tests/harness.h"

struct kit {
    char dir[40];      /* the folder */
    int leash;
    pid_t keeper;
};

/* Makes the folder and the keeper. */
void kit_open(struct kit *kit);

/* Kills the servers, removes the folder; all is gone on return. */
void kit_close(struct kit *kit);

/* Runs a program in the folder and waits for its end: its exit code, -1 when it could not run. Its output goes to
 * the file "log" there. unprivileged: not as root, which some servers refuse; the folder is given to that user. */
int kit_run(struct kit *kit, bool unprivileged, const char *const *argv);

/* The same in the background. False when it could not be started. One at a time. */
bool kit_start(struct kit *kit, bool unprivileged, const char *const *argv);

/* SIGKILL to the server; it is gone on return. */
void kit_kill(struct kit *kit);

/* Stops the server as it stands, and lets it go on. */
void kit_freeze(struct kit *kit);
void kit_thaw(struct kit *kit);

/* Waits until somebody accepts there; false after 20 s. */
bool kit_unix_listens(const char *path);
bool kit_port_listens(int port);

/* A port of 127.0.0.1 that nobody listens on now. */
int kit_free_port(void);

/* The path of a program (PATH, then the other folders, patterns of glob(3)), in static memory; NULL: not there. */
const char *kit_program(const char *name, const char *other_folders);

/* Runs the function as the main task of a rota_run with the real clock, and expects 0. */
void kit_main(rota_fn *fn);

/* A test whose body is such a task. */
#define Loop_test(Suite, Name, ...)                                             \
    static intptr_t Suite##_##Name##_main(void *arg);                           \
    Test(Suite, Name, __VA_ARGS__) { kit_main(Suite##_##Name##_main); }         \
    static intptr_t Suite##_##Name##_main(void *arg __attribute__((unused)))

#endif
