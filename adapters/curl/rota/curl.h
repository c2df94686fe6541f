/* libcurl for tasks: a transfer suspends its task while it is under way. All protocols of libcurl, HTTP/2,
 * redirects, proxies; thousands of transfers at once on one thread.
 *
 * An easy handle is set up as ever (curl_easy_setopt), by its user, and is the user's again afterwards. Four options
 * belong to this adapter, which sets them when a transfer begins: OPENSOCKETFUNCTION, CLOSESOCKETFUNCTION, NOSIGNAL
 * and, where libcurl has it, QUICK_EXIT (or giving a transfer up would wait for a thread that resolves its name).
 * Connections are kept and shared between the transfers of one rota_curl, so the adapter's options stay on an easy
 * handle: do not use it elsewhere after the rota_curl has been closed without curl_easy_reset. libcurl's callbacks
 * (WRITEFUNCTION and the like) run on the loop's stack: they must not suspend (such calls answer -EPERM), nor close
 * the rota_curl. curl_global_init once, before other threads exist, is the program's duty. */
#ifndef ROTA_CURL_H
#define ROTA_CURL_H

#include <curl/curl.h>

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The transfers of a loop, and the connections that are kept between them. */
typedef struct rota_curl rota_curl;

/* For the current loop. To be closed before the loop is freed; by itself it does not keep the loop alive. -EINVAL (no
 * loop), -ENOMEM, -EPERM, -ESHUTDOWN; *curl is NULL then. */
ROTA_API ROTA_CHECK int rota_curl_open(rota_curl **curl);

/* Closes connections and frees. Tasks in a transfer wake with -ESHUTDOWN; streams end with that error, and must
 * still be ended by rota_curl_end. NULL is fine. -EPERM from another thread. */
ROTA_API int rota_curl_close(rota_curl *curl);

/* For curl_multi_setopt (limits on connections, multiplexing) of all but SOCKETFUNCTION and TIMERFUNCTION. NULL for
 * NULL. */
ROTA_API CURLM *rota_curl_multi(rota_curl *curl);

/* (S) Does the transfer. Two channels: returned is the fate of the call, *code how the transfer went (CURLE_OK …);
 * with code NULL, rota_curl_error of it is returned. Cancelled, the transfer ends at once, and its connection is
 * closed (one stream of HTTP/2 is reset). Many tasks may be in here; one easy handle is in one transfer at a time.
 * -EINVAL, -EBUSY (the handle is in a transfer already), -EPERM (a task of another loop), -ENOMEM (also: when
 * sockets cannot be watched, all transfers end with what rota_watcher_start said), -ESHUTDOWN; *code is
 * CURLE_ABORTED_BY_CALLBACK then. */
ROTA_API ROTA_CHECK int rota_curl_perform(rota_curl *curl, CURL *easy, CURLcode *code);

/* What a CURLcode is as an error: 0, or -ENOENT (no such host; a resource that is not there), -ECONNREFUSED (cannot
 * connect), -ETIMEDOUT (libcurl's own limits), -ECONNRESET (sending or receiving failed), -EPIPE (the data ended
 * early), -EACCES (certificates, logins), -EPROTO, -EINVAL (URL), -EMSGSIZE (larger than MAXFILESIZE), -ENOMEM,
 * -EIO. */
ROTA_API int rota_curl_error(CURLcode code);

/* ---- reading a transfer bit by bit --------------------------------------------------------------- */

/* A transfer whose body is read by a task, at the task's speed: what is not read is not received (libcurl pauses the
 * transfer; of HTTP/2, the peer may still send what fits the window, and libcurl keeps that). The caller's memory. */
typedef struct rota_curl_stream {
    CURL *easy;                     /* read only */
    CURLcode code;                  /* read only: how the transfer ended, once a read has returned 0 or an error */
    rota_curl *curl_;
    struct rota_curl_transfer *transfer_;
    struct rota_curl_reader *reader_; /* on the stack of who reads */
    unsigned char *data_;           /* [first_, used_) has been received and not been read */
    size_t size_, first_, used_;
    int error_;                     /* what ended it, besides code */
    bool paused_, ended_;
} rota_curl_stream;

/* Begins the transfer; sets WRITEFUNCTION and WRITEDATA. Does not suspend. Errors as rota_curl_perform; nothing is
 * begun then. */
ROTA_API ROTA_CHECK int rota_curl_begin(rota_curl *curl, rota_curl_stream *stream, CURL *easy);

/* (S) At least 1 byte of the body, at most n; 0 at the end (or n == 0). After the first call that did not fail the
 * headers are there (CURLINFO_RESPONSE_CODE and the like). A failed transfer: rota_curl_error(stream->code), once
 * what came before it has been read. -EBUSY: another task reads; otherwise as rota_curl_perform. Cancelled, nothing
 * is lost. */
ROTA_API ROTA_CHECK ssize_t rota_curl_read(rota_curl_stream *stream, void *buf, size_t n);

/* Ends the transfer, if it still goes on, and frees what the stream holds; a task that reads wakes with -ESHUTDOWN. The
 * easy handle is the user's again. Once for each rota_curl_begin; more does nothing. */
ROTA_API int rota_curl_end(rota_curl_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
