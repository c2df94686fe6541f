/* Process executors from the inside: what the parent (workers.c), the server (fork_server.c) and the worker (worker.c)
 * say to each other. All three are the same program, so structs go over the sockets as they are. */
#ifndef ROTA_CORO_WORKERS_H
#define ROTA_CORO_WORKERS_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "rota/workers.h"

/* ---- the parent and the server ---- */

/* A request is one byte with three descriptors; what is asked for is a worker that has the last two. The first is the
 * server's end of a link that belongs to this worker alone. On it the server says once what became of the worker, and
 * the parent ends the worker by ending its own direction: so killing is by a number that is still the worker's, and no
 * two executors, on whatever threads, have a conversation in common. */
enum { ROTA__BIRTH_LINK, ROTA__BIRTH_JOBS, ROTA__BIRTH_SHARED, ROTA__BIRTH_FDS };

struct rota__worker_end {
    int32_t error;             /* not 0: it was never forked */
    int32_t status;            /* else: the wait status */
};

/* Any thread. -ENOTCONN: no server; else errors of sendmsg. */
int rota__fork_worker(const int fds[ROTA__BIRTH_FDS]);

/* 0 when the server lives, else -ENOTCONN; one that has died is reaped. */
int rota__fork_server_check(void);

/* ---- the parent and a worker ---- */

/* Up to so many bytes go with the request, and with the answer; more go through the shared file. Measured, in and out,
 * on x86-64 in us: 4 KiB 7.0 by socket and 7.2 by file, 16 KiB 7.7 and 9.6, 32 KiB 11.1 and 12.0, 64 KiB 20.9 and 15.7,
 * 256 KiB 73 and 45. */
enum { ROTA__WORKER_INLINE = 32 * 1024 };

/* The shared file: the number of the job that was begun last, a gap so that what follows is aligned, the input, the
 * output. */
enum { ROTA__SHARED_HEAD = 4096, ROTA__SHARED_ALIGN = 64 };

struct rota__worker_request {
    uint64_t number;           /* from 1 */
    rota_worker_fn *fn;
    size_t in_n, out_size;
    size_t room;               /* size of the shared file */
};

struct rota__worker_answer {
    uint64_t number;           /* 0: the worker is ready, or why it is not */
    intptr_t value;
    size_t out_n;
    int32_t error;             /* not 0: the job was not run, or gave more than fits */
};

/* Structs are followed by bytes at this distance. */
enum { ROTA__MESSAGE_HEAD = 64 };

static inline size_t rota__shared_out(size_t in_n) {
    size_t in = in_n > ROTA__WORKER_INLINE ? in_n : 0;
    return ROTA__SHARED_HEAD + (in + ROTA__SHARED_ALIGN - 1) / ROTA__SHARED_ALIGN * ROTA__SHARED_ALIGN;
}

static inline size_t rota__shared_room(size_t in_n, size_t out_size) {
    return rota__shared_out(in_n) + (out_size > ROTA__WORKER_INLINE ? out_size : 0);
}

/* What a worker does until its socket ends; its exit code. */
int rota__worker_main(int jobs, int shared);

#endif
