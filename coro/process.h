/* Child processes from the inside: what process.c and communicate.c share. */
#ifndef ROTA_CORO_PROCESS_H
#define ROTA_CORO_PROCESS_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/task.h"
#include "rota/process.h"

struct rota__talk;

/* What the loop needs until the process has been reaped. */
struct rota__process {
    rota_child child;
    struct rota__owned owned;
    rota_loop *loop;
    rota_process *handle;          /* the caller's; NULL once it is closed */
    struct rota__wait *waiters;    /* each is given the status when it is woken: this block may be gone then */
    struct rota__talk *talk;       /* a communicate under way */
    rota_timer deadline;           /* of the grace that its end was given */
    int64_t grace;
    int status;                    /* once ended: wait status, or an error */
    bool ended, ending;
    bool detach, kill_group, kill_on_cancel;
};

/* 0, and the block; or what a call on a process that is not open, or not this loop's, answers. */
int rota__process_check(const rota_process *process, struct rota__process **block);

/* Signals it to end, now or with its grace; once. */
void rota__process_end(struct rota__process *block);

/* communicate.c: the process has ended, or was closed (error); its task may be woken. */
void rota__talk_ended(struct rota__talk *talk, int error);

#endif
