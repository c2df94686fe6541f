/* Child processes: start a program with pipes, environment and directory, wait for it, talk to it, end it.
 *
 * Rules that hold for every call here, beside those of rota/reactor.h and rota/coro.h:
 *  - A process belongs to the loop that was current when it was started; its end is noticed, and it is reaped, by that
 *    loop whether anybody waits or not. No call leaves a zombie.
 *  - In the new program no signal is blocked and none is ignored or handled. Its descriptors are 0, 1, 2, those that
 *    were passed, and whatever the parent has open that is not close-on-exec (see close_others); everything that this
 *    library opens is close-on-exec.
 *  - Writing to a process that does not read any more is -EPIPE, never SIGPIPE.
 */
#ifndef ROTA_PROCESS_H
#define ROTA_PROCESS_H

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of the program's standard input, output and error output: one of these, or a descriptor > 0 of the
 * caller's, who keeps it. (Our end of a pipe to another process is made blocking when it is given so, as programs
 * expect it.) */
enum {
    ROTA_PROCESS_DEFAULT = 0,    /* inherit; with rota_process_run, see there */
    ROTA_PROCESS_INHERIT = -1,
    ROTA_PROCESS_NULL = -2,      /* /dev/null */
    ROTA_PROCESS_PIPE = -3,      /* a pipe to this process: rota_process.in, out, err */
    ROTA_PROCESS_OUT = -4        /* for err alone: where the output goes */
};

/* A descriptor for the new program: `from` here, `to` there. */
typedef struct rota_process_fd {
    int from, to;
} rota_process_fd;

typedef struct rota_process_options {
    const char *path;             /* the program; NULL: argv[0]. One without a slash is searched for in PATH (envp's) */
    char *const *envp;            /* "NAME=value", NULL last; NULL: the environment of this process */
    const char *cwd;              /* its directory (a relative path counts from there); NULL: that of this process */
    int in, out, err;             /* ROTA_PROCESS_*, or descriptors */
    const rota_process_fd *fds;   /* more descriptors to pass, */
    size_t n_fds;                 /* so many */
    pid_t group;                  /* > 0: joins this process group */
    bool new_group;               /* leads a process group of its own */
    bool new_session;             /* leads a session of its own, without controlling terminal (and a group) */
    bool terminal;                /* with new_session: its standard input becomes the controlling terminal */
    bool close_others;            /* no descriptor but 0, 1, 2 and fds is inherited */
    bool kill_group;              /* signals of rota_process_kill and of closing go to its whole group; makes it lead
                                     one (new_group) unless new_session does */
    bool kill_on_cancel;          /* a wait or communicate that is cancelled ends it as rota_process_close would */
    bool detach;                  /* closing, and the end of the loop, let it live; closing the loop then leaves the
                                     process to the program, which may reap it */
    int64_t grace;                /* ending it (rota_process_close; a rota_process_run that fails, by a timeout say)
                                     sends SIGTERM first, and SIGKILL so much later; 0: SIGKILL at once. No call
                                     waits for that: the loop sees to it, for as long as it is open. A program that is
                                     to end only then kills with SIGTERM, waits in a shield so long, and closes */
} rota_process_options;

/* A process that was started. Caller-allocated; all-zero bytes are one that was closed. Stays where it is until it is
 * closed. */
typedef struct rota_process {
    struct rota__process *state_;
    pid_t pid;                    /* read only */
    int in, out, err;             /* our ends of its pipes: non-blocking, close-on-exec, else -1. Yours: read, write and
                                     close them, or hand them to a stream, and set the field to -1 then. Closing
                                     the process closes those that are left */
} rota_process;

/* Starts a program; argv ends with NULL and has at least one string. Never suspends, and stops the loop only until the
 * program has been entered. Nothing of opt and argv is kept. opt may be NULL.
 * What keeps the program from being entered is this call's result: -ENOENT, -EACCES, -ENOTDIR, -ENOEXEC (no shell is
 * tried), -E2BIG; of cwd; -EBADF (a descriptor that is passed), -EPERM (a group); -EINVAL (no argv, bad options);
 * -EAGAIN, -ENOMEM, -EMFILE, -ENFILE. Then there is no process, and *process is a closed one. */
ROTA_API ROTA_CHECK int rota_process_spawn(rota_process *process, char *const argv[], const rota_process_options *opt);

/* (S) Until it has ended; any number of tasks, any number of times. *status (may be NULL) is its wait status, for
 * rota_process_exit_code and the macros of <sys/wait.h>. -ECHILD: it has ended, and somebody else has taken the status
 * (waitpid(-1); SIGCHLD was ignored). Cancelled, the status stays for a later call. -ESHUTDOWN: not open, or closed
 * meanwhile; -EPERM from a task of another loop. */
ROTA_API ROTA_CHECK int rota_process_wait(rota_process *process, int *status);

/* What wait would give, without waiting: 0, -EAGAIN while it runs; -ECHILD, -ESHUTDOWN, -EPERM. */
ROTA_API ROTA_CHECK int rota_process_status(const rota_process *process, int *status);

/* Of a wait status: what the program returned, 0 to 255, or -1 when a signal ended it; that signal, else 0. */
ROTA_API int rota_process_exit_code(int status);
ROTA_API int rota_process_exit_signal(int status);

/* Sends a signal. -ESRCH after the end: a number that may be another process's is never used. -EINVAL, -EPERM as
 * kill(2); -ESHUTDOWN, -EPERM. */
ROTA_API ROTA_CHECK int rota_process_kill(rota_process *process, int signo);

/* Gives it up: closes the pipes that are left, ends it (SIGKILL, or as `grace` says) unless it has ended or was
 * started with `detach`, and lets the loop reap it when it has. Never suspends; waiters wake with -ESHUTDOWN. Until it
 * has been reaped the loop stays alive; a loop that is closed before (as rota_run does when its main task has ended) kills at
 * once and waits for the end. 0, also when it was closed; -EPERM. */
ROTA_API int rota_process_close(rota_process *process);

/* What a program said. Set limit, or leave it 0; the rest is written by communicate and run, on every return, and
 * freed by rota_process_output_free. */
typedef struct rota_process_output {
    size_t limit;                 /* most bytes of each; 0: 64 MiB */
    char *out, *err;              /* its output and error output; a 0 behind the last byte; NULL without a pipe */
    size_t out_n, err_n;
    int status;                   /* wait status, once it has ended, else -1: so after a timeout or a cancellation, when
                                     it has not ended yet */
    size_t out_room_, err_room_;
    rota_allocator allocator_;    /* the loop's */
} rota_process_output;

/* (S) Writes n bytes to its standard input and closes that, reads its output and error output to their ends, all at the
 * same time, and waits for the end. Pipes that it was not given are left out; a program that stops reading is no
 * error. What inherits its pipes and outlives it is waited for too. 0 when it has ended, whatever its status.
 * Else *output holds what has come so far (what was written is lost) and the process is still open: -ECANCELED,
 * -EMSGSIZE (more than limit), -ENOMEM, -EINVAL (no output; bytes without a pipe), -EBUSY (another task talks to it, or
 * reads from the pipe), -ECHILD, -ESHUTDOWN as rota_process_wait, errors of read and write. */
ROTA_API ROTA_CHECK int rota_process_communicate(rota_process *process, const void *in, size_t n,
                                                 rota_process_output *output);

/* (S) Spawn, communicate, close. Unless opt says otherwise (ROTA_PROCESS_DEFAULT), output and error output are pipes,
 * and so is the input if there is one (in not NULL), else /dev/null. When it returns with an error, a timeout's say,
 * the process is being ended (with opt's grace: SIGTERM, and SIGKILL later), output->status is -1, and what it had said
 * until then is in *output. Errors of the three. */
ROTA_API ROTA_CHECK int rota_process_run(char *const argv[], const void *in, size_t n, rota_process_output *output,
                                         const rota_process_options *opt);

/* All fields but limit are cleared. All-zero bytes are fine, and so is a second call. */
ROTA_API void rota_process_output_free(rota_process_output *output);

#ifdef __cplusplus
}
#endif
#endif
