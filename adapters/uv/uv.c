/* A uv_poll_t over rota_loop_fd: rota_uv_start, rota_uv_stop, rota_uv_handle.
 *
 * That descriptor shows everything there is to do in the loop, so libuv needs neither a timer nor an idle handle from
 * us. It must not know what runs in the loop.
 */
#include "rota/uv.h"

#include <string.h>

/* Whatever libuv reports, the loop knows better what there is to do. An error of the turn (the loop was closed without
 * stopping the handle) ends the polling, or libuv would spin. */
static void turn(uv_poll_t *poll, int status, int events) {
    rota_uv *handle = poll->data;
    (void)status, (void)events;
    int rc = rota_loop_turn(handle->loop_, 0);
    /* Busy: uv_run was called inside a turn, against the rules; the work is done when that turn goes on. Stopped by a
     * task in the turn: the handle is closing, and its memory is still there. */
    if (rc < 0 && rc != -EBUSY)
        (void)uv_poll_stop(poll);
}

int rota_uv_start(rota_uv *handle, uv_loop_t *outer, rota_loop *loop) {
    if (!handle || !outer)
        return -EINVAL;
    int fd = rota_loop_fd(loop);
    if (fd < 0)
        return fd;
    memset(&handle->poll_, 0, sizeof handle->poll_);
    handle->loop_ = loop;
    handle->closed_ = NULL;
    int rc = uv_poll_init(outer, &handle->poll_, fd);
    if (rc < 0)
        return rc;
    handle->poll_.data = handle;
    return uv_poll_start(&handle->poll_, UV_READABLE, turn);
}

static void closed(uv_handle_t *poll) {
    rota_uv *handle = poll->data;
    if (handle->closed_)
        handle->closed_(handle);
}

int rota_uv_stop(rota_uv *handle, void (*after)(rota_uv *handle)) {
    if (!handle || uv_is_closing((uv_handle_t *)&handle->poll_))
        return -EINVAL;
    handle->closed_ = after;
    uv_close((uv_handle_t *)&handle->poll_, closed);
    return 0;
}

uv_handle_t *rota_uv_handle(rota_uv *handle) { return handle ? (uv_handle_t *)&handle->poll_ : NULL; }
