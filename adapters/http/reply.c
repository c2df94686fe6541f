/* Answers: the rota_http_reply_* calls. They are put together in the connection's output buffer, behind the answers to
 * earlier requests that came in the same batch.
 *
 * Invariant: as long as reply->head_sent is false, the whole answer lies in the output from reply_at on, and can be
 * taken back. */
#include <string.h>
#include <time.h>

#include "adapters/http/server.h"

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" }, { 206, "Partial Content" },
    { 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" }, { 304, "Not Modified" },
    { 307, "Temporary Redirect" }, { 308, "Permanent Redirect" }, { 400, "Bad Request" }, { 401, "Unauthorized" },
    { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 406, "Not Acceptable" },
    { 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" }, { 411, "Length Required" },
    { 412, "Precondition Failed" }, { 413, "Content Too Large" }, { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" }, { 416, "Range Not Satisfiable" }, { 417, "Expectation Failed" },
    { 421, "Misdirected Request" }, { 422, "Unprocessable Content" }, { 426, "Upgrade Required" },
    { 428, "Precondition Required" }, { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
    { 503, "Service Unavailable" }, { 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" },
};

static const char *reason_of(int status) {
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}

/* ---- the head ----------------------------------------------------------------------------------- */

/* What is left of the output buffer, to put a piece of the head in whole. */
static struct rota__http_out open_out(struct rota__http_server_conn *c) {
    struct rota__http_wire *w = &c->wire;
    return (struct rota__http_out){ .buf = w->out + w->out_n, .size = w->out_size - w->out_n };
}

static int close_out(struct rota__http_server_conn *c, const struct rota__http_out *out) {
    if (out->full)
        return -EMSGSIZE;
    c->wire.out_n += out->n;
    return 0;
}

static __attribute__((noinline)) void make_opening(struct rota__http_part *part, int64_t now) {
    char date[ROTA__HTTP_DATE_SIZE];
    struct rota__http_out out = { .buf = part->opening, .size = HTTP_OPENING_N };
    rota__http_date(date, now);
    rota__http_put(&out, HTTP_OK, HTTP_OK_N);
    rota__http_put(&out, "Date: ", 6);
    rota__http_put(&out, date, sizeof date - 1);
    rota__http_put(&out, "\r\n", 2);
    part->date_of = now;
}

/* Of an answer with 200: the status line and the Date, which is formatted once a second. */
static inline const char *opening_now(struct rota__http_part *part) {
    int64_t now = (int64_t)time(NULL);
    if (now != part->date_of)
        make_opening(part, now);
    return part->opening;
}

static void put_opening(struct rota__http_out *out, struct rota__http_part *part, int status) {
    const char *opening = opening_now(part);
    if (status == 200) {
        rota__http_put(out, opening, HTTP_OPENING_N);
        return;
    }
    rota__http_put(out, "HTTP/1.1 ", 9);
    rota__http_put_number(out, (uint64_t)status, 10);
    rota__http_put(out, " ", 1);
    rota__http_put_text(out, reason_of(status));
    rota__http_put(out, "\r\n", 2);
    rota__http_put(out, opening + HTTP_OK_N, HTTP_DATE_LINE_N);
}

int rota_http_reply_begin(rota_http_reply *reply, int status) {
    if (reply == NULL || status < 200 || status > 599)
        return -EINVAL;
    if (reply->state_ & REPLY_BEGUN)
        return -EALREADY;
    struct rota__http_server_conn *c = reply->conn_;
    struct rota__http_out out = open_out(c);
    put_opening(&out, c->part, status);
    if (c->service->opt.server != NULL)
        rota__http_put_field(&out, "Server", c->service->opt.server);
    int rc = close_out(c, &out);
    if (rc < 0)
        return rc;
    reply->status = status;
    reply->state_ |= REPLY_BEGUN;
    if (c->no_body || status == 204 || status == 304)
        reply->state_ |= REPLY_NO_BODY;
    return 0;
}

static int begun(rota_http_reply *reply) {
    if (reply == NULL)
        return -EINVAL;
    if (reply->state_ & REPLY_HEAD_DONE)
        return -EALREADY;
    return reply->state_ & REPLY_BEGUN ? 0 : rota_http_reply_begin(reply, 200);
}

int rota_http_reply_field(rota_http_reply *reply, const char *name, const char *value) {
    if (!rota__http_may_send(name, value))
        return -EINVAL;
    int rc = begun(reply);
    if (rc < 0)
        return rc;
    struct rota__http_out out = open_out(reply->conn_);
    rota__http_put_field(&out, name, value);
    return close_out(reply->conn_, &out);
}

/* 204 has no length (RFC 9110, 8.6), and nothing to count. */
int rota_http_reply_length(rota_http_reply *reply, uint64_t n) {
    int rc = begun(reply);
    if (rc < 0)
        return rc;
    if (reply->state_ & REPLY_FRAMED)
        return -EALREADY;
    struct rota__http_out out = open_out(reply->conn_);
    if (reply->status != 204) {
        rota__http_put(&out, "Content-Length: ", 16);
        rota__http_put_number(&out, n, 10);
        rota__http_put(&out, "\r\n", 2);
    }
    rc = close_out(reply->conn_, &out);
    if (rc < 0)
        return rc;
    reply->left_ = n;
    reply->state_ |= REPLY_FRAMED;
    return 0;
}

/* The fields that say how the message and the connection end, and the empty line. */
static int end_head(rota_http_reply *reply) {
    struct rota__http_server_conn *c = reply->conn_;
    int rc = begun(reply);
    if (rc < 0)
        return rc;
    struct rota__http_out out = open_out(c);
    unsigned framing = 0;
    if (!(reply->state_ & REPLY_FRAMED) && reply->status != 204 && reply->status != 304) {
        if (c->request.minor > 0) {
            rota__http_put_field(&out, "Transfer-Encoding", "chunked");
            framing = REPLY_CHUNKED;
        } else {
            c->close = true;
        }
    }
    c->close |= c->part->stopping;
    if (c->close)
        rota__http_put_field(&out, "Connection", "close");
    else if (c->request.minor == 0)
        rota__http_put_field(&out, "Connection", "keep-alive");
    rota__http_put(&out, "\r\n", 2);
    rc = close_out(c, &out);
    if (rc == 0)
        reply->state_ |= REPLY_HEAD_DONE | framing;
    return rc;
}

/* ---- the body ----------------------------------------------------------------------------------- */

/* Output that does not fit any more takes the head along. */
static int put(rota_http_reply *reply, const void *data, size_t n) {
    struct rota__http_wire *w = &reply->conn_->wire;
    if (n > w->out_size - w->out_n)
        reply->head_sent = true;
    int rc = rota__http_wire_put(w, data, n);
    if (rc < 0)
        w->error = w->error < 0 ? w->error : rc;
    return rc;
}

static int put_chunk(rota_http_reply *reply, const void *data, size_t n) {
    char line[20];
    struct rota__http_out out = { .buf = line, .size = sizeof line };
    rota__http_put_number(&out, n, 16);
    rota__http_put(&out, "\r\n", 2);
    int rc = put(reply, line, out.n);
    rc = rc < 0 ? rc : put(reply, data, n);
    return rc < 0 ? rc : put(reply, "\r\n", 2);
}

static int write_body(rota_http_reply *reply, const void *data, size_t n) {
    int rc = reply->state_ & REPLY_HEAD_DONE ? 0 : end_head(reply);
    if (rc < 0 || n == 0)
        return rc;
    if (reply->state_ & REPLY_FRAMED) {
        if (n > reply->left_)
            return -EMSGSIZE;
        reply->left_ -= n;
    }
    if (reply->state_ & REPLY_NO_BODY)
        return 0;
    return reply->state_ & REPLY_CHUNKED ? put_chunk(reply, data, n) : put(reply, data, n);
}

int rota_http_reply_write(rota_http_reply *reply, const void *data, size_t n) {
    if (reply == NULL || (data == NULL && n > 0))
        return -EINVAL;
    int rc = rota__http_refused();
    return rc < 0 ? rc : write_body(reply, data, n);
}

int rota_http_reply_flush(rota_http_reply *reply) {
    if (reply == NULL)
        return -EINVAL;
    int rc = rota__http_refused();
    if (rc == 0 && !(reply->state_ & REPLY_HEAD_DONE))
        rc = end_head(reply);
    if (rc < 0)
        return rc;
    reply->head_sent = true;
    rc = rota__http_wire_flush(&reply->conn_->wire);
    if (rc < 0)
        reply->conn_->wire.error = rc;
    return rc;
}

/* What rota_http_reply_field would do, without a look at the name. */
static int put_type(rota_http_reply *reply, const char *type) {
    size_t n = strlen(type);
    if (rota__http_span_value(type, n) < n)
        return -EINVAL;
    if (reply->state_ & REPLY_HEAD_DONE)
        return -EALREADY;
    struct rota__http_out out = open_out(reply->conn_);
    rota__http_put(&out, "Content-Type: ", 14);
    rota__http_put(&out, type, n);
    rota__http_put(&out, "\r\n", 2);
    return close_out(reply->conn_, &out);
}

static inline char *add(char *to, const void *bytes, size_t n) {
    memcpy(to, bytes, n);
    return to + n;
}

/* Completes the head that is kept for the answers that follow: most are like the one before, or differ in length. False:
 * the type is too long for that, or none. */
static __attribute__((noinline)) bool make_usual(struct rota__http_part *part, const char *type, size_t length) {
    if (part->usual_n == 0 || strcmp(type, part->type) != 0) {
        size_t n = strlen(type);
        if (n > HTTP_SHORT_TYPE || rota__http_span_value(type, n) < n)
            return false;
        memcpy(part->type, type, n + 1);
        char *to = add(part->opening + HTTP_OPENING_N, HTTP_TYPE, sizeof HTTP_TYPE - 1);
        to = add(add(to, type, n), HTTP_LENGTH, sizeof HTTP_LENGTH - 1);
        part->number_at = (size_t)(to - part->opening);
    }
    struct rota__http_out out = { .buf = part->opening, .size = sizeof part->opening, .n = part->number_at };
    rota__http_put_number(&out, length, 10);
    rota__http_put_text(&out, HTTP_HEAD_END);
    part->length = length;
    part->usual_n = out.n;
    return true;
}

/* Most answers: 200, with a body and nothing special, to a client that stays. In one go, when it fits: true. What it
 * says and leaves behind is what the calls one by one would. */
static inline bool send_whole(rota_http_reply *reply, const char *type, const void *data, size_t n) {
    struct rota__http_server_conn *c = reply->conn_;
    struct rota__http_part *part = c->part;
    struct rota__http_wire *w = &c->wire;
    size_t room = w->out_size - w->out_n;
    bool special = c->close || part->stopping || c->no_body || c->request.minor == 0 ||
                   c->service->opt.server != NULL;
    if (special || room < HTTP_USUAL_MAX || n > room - HTTP_USUAL_MAX)
        return false;
    const char *opening = opening_now(part);
    bool same = part->usual_n > 0 && n == part->length && strcmp(type, part->type) == 0;
    if (!same && !make_usual(part, type, n))
        return false;
    char *to = w->out + w->out_n;
    memcpy(to, opening, HTTP_USUAL_MAX); /* with what may lie behind, as there is room: so many take few instructions */
    if (n > 0)
        memcpy(to + part->usual_n, data, n);
    w->out_n += part->usual_n + n;
    reply->state_ = REPLY_BEGUN | REPLY_FRAMED | REPLY_HEAD_DONE;
    return true;
}

int rota_http_reply_send(rota_http_reply *reply, int status, const char *type, const void *data, size_t n) {
    if (reply == NULL || (data == NULL && n > 0))
        return -EINVAL;
    int rc = rota__http_refused();
    if (rc == 0 && status == 200 && reply->state_ == 0 && type != NULL && send_whole(reply, type, data, n))
        return 0;
    if (rc == 0 && !(reply->state_ & REPLY_BEGUN && reply->status == status))
        rc = rota_http_reply_begin(reply, status);
    if (rc == 0 && type != NULL)
        rc = put_type(reply, type);
    if (rc == 0)
        rc = rota_http_reply_length(reply, n);
    return rc < 0 ? rc : write_body(reply, data, n);
}

/* ---- the end ------------------------------------------------------------------------------------ */

int rota__http_reply_end(struct rota__http_server_conn *c) {
    rota_http_reply *reply = &c->reply;
    int rc = 0;
    if (rota__http_reply_whole(reply))
        return 0;
    if (!(reply->state_ & (REPLY_HEAD_DONE | REPLY_FRAMED)))
        rc = rota_http_reply_length(reply, 0);
    if (rc == 0 && !(reply->state_ & REPLY_HEAD_DONE))
        rc = end_head(reply);
    if (rc < 0 || reply->state_ & REPLY_NO_BODY)
        return rc;
    if (reply->state_ & REPLY_CHUNKED)
        return put(reply, "0\r\n\r\n", 5);
    return reply->left_ > 0 ? -EPROTO : 0;
}

int rota__http_reply_error(struct rota__http_server_conn *c, int status, const char *why) {
    rota_http_reply *reply = &c->reply;
    c->close = true;
    if (reply->head_sent)
        return -EALREADY;
    c->wire.out_n = c->reply_at;
    rota__http_reply_init(c);
    why = why != NULL ? why : reason_of(status);
    int rc = rota_http_reply_begin(reply, status);
    rc = rc < 0 ? rc : rota_http_reply_field(reply, "Content-Type", "text/plain");
    rc = rc < 0 ? rc : rota_http_reply_length(reply, strlen(why) + 1);
    rc = rc < 0 ? rc : write_body(reply, why, strlen(why));
    return rc < 0 ? rc : write_body(reply, "\n", 1);
}
