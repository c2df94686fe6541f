/* rota inside libuv's loop: a handle that turns a rota loop whenever there is something to do in it.
 *
 * For programs that live on libuv (Node's addons, Neovim and its like, other user interfaces): libuv keeps the thread,
 * and tasks, timers and sockets of rota run between its callbacks. One turn runs ready tasks for at most a millisecond
 * before it gives way. All of it is one thread, so callbacks of libuv may spawn and cancel tasks, set futures and start
 * timers, and what they add wakes libuv; tasks may call libuv. A callback of libuv is not a task: (S) calls answer
 * -EPERM there (spawn a task that makes them). A task must not call uv_run itself.
 *
 * The current loop of the thread (rota_loop_set_current; the first that was made, by itself) is what rota_spawn in a
 * callback of libuv works on.
 *
 * libuv's own header needs names of POSIX: with -std=c11 it does not compile; use -std=gnu11 (a compiler's default is
 * like it), or define _POSIX_C_SOURCE as 200809L.
 */
#ifndef ROTA_UV_H
#define ROTA_UV_H

#include <uv.h>

#include "rota/reactor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's memory, until `closed` of rota_uv_stop has been called. */
typedef struct rota_uv {
    uv_poll_t poll_;
    rota_loop *loop_;
    void (*closed_)(struct rota_uv *handle);
    void *data;          /* yours */
} rota_uv;

/* Starts turning loop in outer; both belong to this thread. The handle keeps uv_run going, as any of libuv's, also
 * while rota has nothing to do: stop it when you are done, or uv_unref(rota_uv_handle(...)).
 * -EINVAL, the errors of rota_loop_fd and of uv_poll_init; the memory is free then. */
ROTA_API ROTA_CHECK int rota_uv_start(rota_uv *handle, uv_loop_t *outer, rota_loop *loop);

/* Stops, before the loop is closed; also from inside a task or callback of either loop. closed (may be NULL) is called
 * by libuv in its next iteration, as uv_close does it; then the memory may go. -EINVAL (it was stopped already). */
ROTA_API int rota_uv_stop(rota_uv *handle, void (*closed)(rota_uv *handle));

/* For uv_ref, uv_unref and the like; NULL for NULL. */
ROTA_API uv_handle_t *rota_uv_handle(rota_uv *handle);

#ifdef __cplusplus
}
#endif
#endif
