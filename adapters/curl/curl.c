/* libcurl for tasks: open, close, perform, and streams that are read bit by bit, by libcurl's multi_socket
 * interface.
 *
 * libcurl says which sockets and which time it waits for (on_socket, on_timer), is told when something happened
 * (act), and then says which transfers have ended (settle). Invariant: a transfer is in the table from the moment
 * its handle is in the multi handle until its end has been noted or it was taken out; so what libcurl reports is
 * always found. It must not know protocols. */
#include "rota/curl.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/adapter.h"

enum { BUCKETS = 256 };

/* A socket that libcurl wants to be told of. */
struct socket {
    rota_curl *curl;
    int fd;
    struct adapter_side reader, writer;
    struct socket *next, **prev;
};

typedef struct rota_curl_transfer {
    CURL *easy;
    CURLcode code;
    rota_future done;                       /* 0, or what ended all transfers */
    rota_curl_stream *stream;               /* that reads it, or NULL */
    struct rota_curl_transfer *next, **prev;
} transfer;

struct rota_curl_reader {
    rota_future woken;
    bool gone;                              /* the stream was ended, and may not be touched */
};

struct rota_curl {
    rota_loop *loop;
    CURLM *multi;
    rota_timer timer;
    rota_soon failing;                      /* ends all transfers, outside of libcurl */
    int error;                              /* why */
    struct socket *sockets;
    transfer *transfers[BUCKETS];
};

/* ---- the table of transfers ---- */

static transfer **bucket_of(rota_curl *curl, const CURL *easy) {
    uint64_t mixed = (uint64_t)(uintptr_t)easy * 0x9e3779b97f4a7c15u;   /* Knuth, 6.4: multiplicative hashing */
    return &curl->transfers[mixed >> 56];
}

static transfer *transfer_of(rota_curl *curl, const CURL *easy) {
    transfer *it = *bucket_of(curl, easy);
    while (it && it->easy != easy)
        it = it->next;
    return it;
}

static void table_add(rota_curl *curl, transfer *it) {
    transfer **bucket = bucket_of(curl, it->easy);
    it->next = *bucket;
    it->prev = bucket;
    if (it->next)
        it->next->prev = &it->next;
    *bucket = it;
}

static void table_remove(transfer *it) {
    *it->prev = it->next;
    if (it->next)
        it->next->prev = it->prev;
    it->prev = NULL;
}

/* ---- what libcurl is told ---- */

/* It looks for itself what there is. */
static void stream_wake(rota_curl_stream *stream) {
    int rc = stream->reader_ ? rota_future_set(&stream->reader_->woken, 0) : 0;
    (void)rc;   /* set already */
}

/* Takes it out, and tells who waits. */
static void finish(rota_curl *curl, transfer *it, CURLcode code, int outcome) {
    struct adapter_quiet quiet;
    adapter_quiet_begin(&quiet);
    (void)curl_multi_remove_handle(curl->multi, it->easy);
    adapter_quiet_end(&quiet);
    table_remove(it);
    it->code = code;
    if (it->stream) {
        it->stream->code = code;
        it->stream->error_ = it->stream->error_ ? it->stream->error_ : outcome;
        it->stream->ended_ = true;
        it->stream->curl_ = NULL;
        stream_wake(it->stream);
    }
    outcome = rota_future_set(&it->done, outcome);   /* the first and only time */
}

static void settle(rota_curl *curl) {
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(curl->multi, &left));) {
        transfer *it = transfer_of(curl, message->easy_handle);
        if (message->msg == CURLMSG_DONE && it)
            finish(curl, it, message->data.result, 0);
    }
}

static void finish_all(rota_curl *curl, int error) {
    for (size_t i = 0; i < BUCKETS; i++)
        while (curl->transfers[i])
            finish(curl, curl->transfers[i], CURLE_ABORTED_BY_CALLBACK, error);
}

/* What failed in libcurl there, without ending a transfer, may have kept it from saying what it waits for: memory for
 * its table of sockets. Nobody knows for which transfer. */
static void act(rota_curl *curl, curl_socket_t fd, int events) {
    struct adapter_quiet quiet;
    int running;
    adapter_quiet_begin(&quiet);
    CURLMcode code = curl_multi_socket_action(curl->multi, fd, events, &running);
    adapter_quiet_end(&quiet);
    settle(curl);
    if (code != CURLM_OK)
        finish_all(curl, code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO);
}

/* A socket cannot be watched. Nobody knows whose it is, and libcurl (multi.c, `dead`) has no other answer either. */
static void fail(rota_curl *curl, int error) {
    curl->error = error;
    int rc = rota_soon_start(curl->loop, &curl->failing);
    (void)rc;   /* queued already */
}

static void end_all(rota_soon *soon, void *arg) {
    rota_curl *curl = arg;
    (void)soon;
    finish_all(curl, curl->error);
}

/* ---- what libcurl wants ---- */

static void may_read(void *arg) { act(((struct socket *)arg)->curl, ((struct socket *)arg)->fd, CURL_CSELECT_IN); }
static void may_write(void *arg) { act(((struct socket *)arg)->curl, ((struct socket *)arg)->fd, CURL_CSELECT_OUT); }
static void side_failed(void *arg, int error) { fail(((struct socket *)arg)->curl, error); }

static struct socket *socket_new(rota_curl *curl, int fd) {
    struct socket *it = calloc(1, sizeof *it);
    if (!it)
        return NULL;
    it->curl = curl;
    it->fd = fd;
    adapter_side_init(&it->reader, curl->loop, fd, ROTA_READ, may_read, side_failed, it);
    adapter_side_init(&it->writer, curl->loop, fd, ROTA_WRITE, may_write, side_failed, it);
    it->next = curl->sockets;
    it->prev = &curl->sockets;
    if (it->next)
        it->next->prev = &it->next;
    curl->sockets = it;
    return it;
}

/* The descriptor is forgotten, not only unwatched: libcurl closes some (those of its resolver) without on_close. */
static void socket_free(struct socket *it) {
    int rc = adapter_side_want(&it->reader, false);
    rc = adapter_side_want(&it->writer, false);
    rc = rota_fd_forget(it->curl->loop, it->fd);
    (void)rc;   /* stopping and forgetting do not fail, but in a loop that is closed, which has done so itself */
    *it->prev = it->next;
    if (it->next)
        it->next->prev = it->prev;
    free(it);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket) {
    rota_curl *curl = arg;
    struct socket *it = of_socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (it)
            socket_free(it);
        return 0;
    }
    if (!it) {
        it = socket_new(curl, fd);
        if (it)
            (void)curl_multi_assign(curl->multi, fd, it);
    }
    int rc = it ? adapter_side_want(&it->reader, what & CURL_POLL_IN) : -ENOMEM;
    if (rc == 0)
        rc = adapter_side_want(&it->writer, what & CURL_POLL_OUT);
    if (rc < 0)
        fail(curl, rc);
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg) {
    rota_curl *curl = arg;
    (void)multi;
    int rc = ms < 0 ? rota_timer_stop(curl->loop, &curl->timer)
                    : rota_timer_start(curl->loop, &curl->timer, ms * ROTA_MS);
    (void)rc;   /* no memory is needed, and a loop that is closed has no transfers */
    return 0;
}

static void timer_fired(rota_timer *timer, void *arg) {
    (void)timer;
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl of this age opens sockets that children would inherit. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *addr) {
    (void)arg, (void)purpose;
#ifdef SOCK_CLOEXEC
    return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
#else
    int fd = socket(addr->family, addr->socktype, addr->protocol);
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
#endif
}

/* By the loop, so that the next socket with that number is not taken for this one. */
static int on_close(void *arg, curl_socket_t fd) {
    rota_curl *curl = arg;
    int rc = rota_fd_close(curl->loop, fd);
    return rc == -ESHUTDOWN || rc == -EINVAL ? close(fd) : rc;
}

/* ---- opening and closing ---- */

int rota_curl_open(rota_curl **out) {
    if (!out)
        return -EINVAL;
    *out = NULL;
    rota_loop *loop = rota_loop_current();
    rota_curl *curl = loop ? calloc(1, sizeof *curl) : NULL;
    if (!curl)
        return loop ? -ENOMEM : -EINVAL;
    curl->loop = loop;
    rota_timer_init(&curl->timer, timer_fired, curl);
    rota_soon_init(&curl->failing, end_all, curl);
    int rc = rota_timer_stop(loop, &curl->timer);   /* may this thread use the loop? */
    curl->multi = rc == 0 ? curl_multi_init() : NULL;
    if (!curl->multi) {
        free(curl);
        return rc < 0 ? rc : -ENOMEM;
    }
    curl_multi_setopt(curl->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(curl->multi, CURLMOPT_SOCKETDATA, curl);
    curl_multi_setopt(curl->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(curl->multi, CURLMOPT_TIMERDATA, curl);
    *out = curl;
    return 0;
}

int rota_curl_close(rota_curl *curl) {
    if (!curl)
        return 0;
    int rc = rota_soon_stop(curl->loop, &curl->failing);
    if (rc == -EPERM)
        return rc;
    finish_all(curl, -ESHUTDOWN);
    struct adapter_quiet quiet;
    adapter_quiet_begin(&quiet);
    (void)curl_multi_cleanup(curl->multi);
    adapter_quiet_end(&quiet);
    while (curl->sockets)
        socket_free(curl->sockets);
    (void)rota_timer_stop(curl->loop, &curl->timer);
    (void)rota_soon_stop(curl->loop, &curl->failing);
    free(curl);
    return 0;
}

CURLM *rota_curl_multi(rota_curl *curl) { return curl ? curl->multi : NULL; }

int rota_curl_error(CURLcode code) {
    switch (code) {
    case CURLE_OK: return 0;
    case CURLE_URL_MALFORMAT: case CURLE_UNSUPPORTED_PROTOCOL: case CURLE_BAD_FUNCTION_ARGUMENT: return -EINVAL;
    case CURLE_COULDNT_RESOLVE_HOST: case CURLE_COULDNT_RESOLVE_PROXY: case CURLE_REMOTE_FILE_NOT_FOUND:
    case CURLE_FILE_COULDNT_READ_FILE: return -ENOENT;
    case CURLE_COULDNT_CONNECT: return -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT: return -ETIMEDOUT;
    case CURLE_SEND_ERROR: case CURLE_RECV_ERROR: return -ECONNRESET;
    case CURLE_GOT_NOTHING: case CURLE_PARTIAL_FILE: return -EPIPE;
    case CURLE_PEER_FAILED_VERIFICATION: case CURLE_LOGIN_DENIED: case CURLE_REMOTE_ACCESS_DENIED:
    case CURLE_SSL_CERTPROBLEM: case CURLE_SSL_ISSUER_ERROR: return -EACCES;
    case CURLE_WEIRD_SERVER_REPLY: case CURLE_HTTP2: case CURLE_HTTP2_STREAM: case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_SSL_CONNECT_ERROR: case CURLE_TOO_MANY_REDIRECTS: return -EPROTO;
    case CURLE_FILESIZE_EXCEEDED: return -EMSGSIZE;
    case CURLE_OUT_OF_MEMORY: return -ENOMEM;
    default: return -EIO;
    }
}

/* ---- transfers ---- */

static int multi_error(CURLMcode code) {
    switch (code) {
    case CURLM_OK: return 0;
    case CURLM_ADDED_ALREADY: return -EBUSY;
    case CURLM_OUT_OF_MEMORY: return -ENOMEM;
    case CURLM_RECURSIVE_API_CALL: return -EPERM;
    default: return -EINVAL;
    }
}

/* On success it is in the table. */
static int start(rota_curl *curl, transfer *it) {
    if (curl->loop != rota_loop_current())
        return -EPERM;
    if (transfer_of(curl, it->easy))
        return -EBUSY;
    curl_easy_setopt(it->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(it->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(it->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(it->easy, CURLOPT_CLOSESOCKETDATA, curl);
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(it->easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    int rc = multi_error(curl_multi_add_handle(curl->multi, it->easy));
    if (rc == 0)
        table_add(curl, it);
    return rc;
}

int rota_curl_perform(rota_curl *curl, CURL *easy, CURLcode *code) {
    if (code)
        *code = CURLE_ABORTED_BY_CALLBACK;
    int rc = adapter_enter();
    if (rc < 0)
        return rc;
    if (!curl || !easy)
        return -EINVAL;
    transfer it = {.easy = easy};
    rc = start(curl, &it);
    if (rc < 0)
        return rc;
    intptr_t outcome;
    rc = rota_future_await(&it.done, &outcome);
    if (rc < 0 && it.prev)
        finish(curl, &it, CURLE_ABORTED_BY_CALLBACK, rc);
    if (rc == 0)
        rc = (int)outcome;
    if (rc == 0 && !code)
        return rota_curl_error(it.code);
    if (rc == 0)
        *code = it.code;
    return rc;
}

/* ---- streams ---- */

/* libcurl hands over what it has received, at most CURL_MAX_WRITE_SIZE at once (a little more for headers). What does
 * not fit it keeps, until the stream has been read empty. */
static size_t on_data(char *data, size_t one, size_t n, void *arg) {
    rota_curl_stream *stream = arg;
    (void)one;
    if (stream->first_ == stream->used_)
        stream->first_ = stream->used_ = 0;
    if (stream->used_ == 0 && n > stream->size_) {
        unsigned char *larger = realloc(stream->data_, n);
        if (!larger) {
            stream->error_ = -ENOMEM;
            return n + 1;   /* not what was handed over: the transfer fails */
        }
        stream->data_ = larger;
        stream->size_ = n;
    }
    if (n > stream->size_ - stream->used_) {
        stream->paused_ = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    memcpy(stream->data_ + stream->used_, data, n);
    stream->used_ += n;
    stream_wake(stream);
    return n;
}

int rota_curl_begin(rota_curl *curl, rota_curl_stream *stream, CURL *easy) {
    if (!stream)
        return -EINVAL;
    memset(stream, 0, sizeof *stream);
    if (!curl || !easy)
        return -EINVAL;
    if (transfer_of(curl, easy))
        return -EBUSY;
    stream->easy = easy;
    stream->curl_ = curl;
    stream->size_ = 2 * CURL_MAX_WRITE_SIZE;
    stream->data_ = malloc(stream->size_);
    stream->transfer_ = calloc(1, sizeof *stream->transfer_);
    int rc = stream->data_ && stream->transfer_ ? 0 : -ENOMEM;
    if (rc == 0) {
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, stream);
        stream->transfer_->easy = easy;
        stream->transfer_->stream = stream;
        rc = start(curl, stream->transfer_);
    }
    if (rc < 0) {
        free(stream->data_);
        free(stream->transfer_);
        memset(stream, 0, sizeof *stream);
    }
    return rc;
}

/* Goes on with a transfer whose data did not fit. libcurl may call on_data from here, or end the transfer later. Where
 * it cannot go on, it does not end it: nobody would ever hear of it again. */
static void unpause(rota_curl_stream *stream) {
    if (!stream->paused_ || stream->ended_)
        return;
    stream->paused_ = false;
    struct adapter_quiet quiet;
    adapter_quiet_begin(&quiet);
    CURLcode code = curl_easy_pause(stream->easy, CURLPAUSE_CONT);
    adapter_quiet_end(&quiet);
    if (code != CURLE_OK)
        finish(stream->curl_, stream->transfer_, code, 0);
}

/* (S) Until there is data, or the end. */
static int wait_for_data(rota_curl_stream *stream) {
    while (stream->first_ == stream->used_ && !stream->ended_) {
        unpause(stream);
        if (stream->first_ < stream->used_)
            break;
        struct rota_curl_reader reader = {0};
        stream->reader_ = &reader;
        int rc = rota_future_await(&reader.woken, NULL);
        if (reader.gone)
            return rc < 0 ? rc : -ESHUTDOWN;
        stream->reader_ = NULL;
        if (rc < 0)
            return rc;
    }
    return 0;
}

ssize_t rota_curl_read(rota_curl_stream *stream, void *buf, size_t n) {
    int rc = adapter_enter();
    if (rc < 0)
        return rc;
    if (!stream || !stream->transfer_ || (!buf && n))
        return -EINVAL;
    if (stream->curl_ && stream->curl_->loop != rota_loop_current())
        return -EPERM;
    if (stream->reader_)
        return -EBUSY;
    if (n == 0)
        return 0;
    rc = wait_for_data(stream);
    if (rc < 0)
        return rc;
    size_t there = stream->used_ - stream->first_;
    if (there == 0)
        return stream->error_ ? stream->error_ : rota_curl_error(stream->code);
    n = n < there ? n : there;
    memcpy(buf, stream->data_ + stream->first_, n);
    stream->first_ += n;
    return (ssize_t)n;
}

int rota_curl_end(rota_curl_stream *stream) {
    if (!stream)
        return -EINVAL;
    if (!stream->transfer_)
        return 0;
    if (stream->reader_) {
        stream->reader_->gone = true;
        stream_wake(stream);
        stream->reader_ = NULL;
    }
    if (stream->transfer_->prev)
        finish(stream->curl_, stream->transfer_, CURLE_ABORTED_BY_CALLBACK, -ESHUTDOWN);
    free(stream->transfer_);
    free(stream->data_);
    stream->transfer_ = NULL;
    stream->data_ = NULL;
    return 0;
}
