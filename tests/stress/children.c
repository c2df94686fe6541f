/* Processes started by several loops and several threads at once, while other threads fork and make descriptors: every
 * status arrives once and is the right one, and no program finds a descriptor that it was not given. The argument is
 * the number of rounds of each thread. Exits 0 when all of that held. */
#include "stress.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "rota.h"

enum { LOOPS = 3, TASKS = 4 };

static int rounds = 20;
static atomic_bool over;
static atomic_long started;

/* One that looks at what it has: 0, 1, 2 and the folder itself, which is 3. What the test was started with stays. */
static int inherited[64];
static size_t n_inherited;

static void note_inherited(void) {
    for (int fd = 3; fd < 256 && n_inherited < 64; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            inherited[n_inherited++] = fd;
}

static bool was_inherited(int fd) {
    for (size_t i = 0; i < n_inherited; i++)
        if (inherited[i] == fd)
            return true;
    return false;
}

/* `ls` has one more: the folder that it reads, the lowest number that was free. */
static void check_descriptors(const char *said) {
    int strangers = 0;
    for (const char *at = said; *at; at = strchr(at, '\n') + 1) {
        int fd = atoi(at);
        strangers += fd > 2 && !was_inherited(fd);
    }
    must(strangers <= 1);
}

static intptr_t list_descriptors(void *unused) {
    char *argv[] = {"ls", "/proc/self/fd", NULL};
    rota_process_output o = {.limit = 0};
    (void)unused;
    int rc = rota_process_run(argv, "x", 1, &o, NULL);
    must(rc == 0 && o.status == 0);
    check_descriptors(o.out);
    rota_process_output_free(&o);
    return 0;
}

static intptr_t wait_for_status(void *code) {
    char script[32];
    char *argv[] = {"/bin/sh", "-c", script, NULL};
    rota_process p;
    int status;
    snprintf(script, sizeof script, "exit %d", (int)(intptr_t)code);
    must(rota_process_spawn(&p, argv, NULL) == 0);
    must(rota_process_wait(&p, &status) == 0);
    must(rota_process_exit_code(status) == (int)(intptr_t)code);
    must(rota_process_close(&p) == 0);
    return 0;
}

static intptr_t kill_and_forget(void *unused) {
    char *argv[] = {"sleep", "1000", NULL};
    rota_process p;
    (void)unused;
    must(rota_process_spawn(&p, argv, &(rota_process_options){.in = ROTA_PROCESS_PIPE}) == 0);
    must(rota_process_close(&p) == 0);
    return 0;
}

static intptr_t all_rounds(void *number) {
    bool lists = access("/proc/self/fd", R_OK) == 0;
    for (int i = 0; i < rounds; i++) {
        rota_call calls[TASKS] = {
            {.fn = wait_for_status, .arg = (void *)(((intptr_t)number * 7 + i) % 256)},
            {.fn = lists ? list_descriptors : wait_for_status},
            {.fn = kill_and_forget},
            {.fn = wait_for_status, .arg = (void *)(intptr_t)(i % 256)},
        };
        must(rota_gather(calls, TASKS, NULL) == 0);
        atomic_fetch_add(&started, TASKS);
    }
    return 0;
}

static void *run_loop(void *number) {
    intptr_t v;
    must(rota_run(all_rounds, number, &v, NULL) == 0 && v == 0);
    return NULL;
}

/* Descriptors come and go all the time; each is close-on-exec from its first moment. */
static void *make_descriptors(void *unused) {
    (void)unused;
    while (!atomic_load(&over)) {
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);   /* socketpair cannot promise it on every system */
        must(fd >= 0);
        close(fd);
    }
    return NULL;
}

static void *fork_all_the_time(void *unused) {
    (void)unused;
    while (!atomic_load(&over)) {
        int status;
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0)
            _exit(0);
        must(waitpid(pid, &status, 0) == pid && status == 0);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t loops[LOOPS], others[2];
    if (argc > 1)
        rounds = atoi(argv[1]);
    note_inherited();
    others[0] = start_thread(make_descriptors, NULL);
    others[1] = start_thread(fork_all_the_time, NULL);
    for (int i = 0; i < LOOPS; i++)
        loops[i] = start_thread(run_loop, (void *)(intptr_t)i);
    for (int i = 0; i < LOOPS; i++)
        join(loops[i]);
    atomic_store(&over, true);
    for (int i = 0; i < 2; i++)
        join(others[i]);
    must(waitpid(-1, NULL, WNOHANG) == -1); /* no zombie is left */
    printf("%ld processes\n", atomic_load(&started));
    return 0;
}
