/* What the server's connections (server.c) and their answers (reply.c) share. */
#ifndef ROTA_HTTP_SERVER_H
#define ROTA_HTTP_SERVER_H

#include <pthread.h>

#include "adapters/http/text.h"
#include "adapters/http/wire.h"

enum { ROTA__HTTP_OUT_SIZE = 16 * 1024 };

#define HTTP_OK "HTTP/1.1 200 OK\r\n"
#define HTTP_TYPE "Content-Type: "
#define HTTP_LENGTH "\r\nContent-Length: "
#define HTTP_HEAD_END "\r\n\r\n"
enum { HTTP_OK_N = sizeof HTTP_OK - 1, HTTP_DATE_LINE_N = sizeof "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" - 1,
       HTTP_OPENING_N = HTTP_OK_N + HTTP_DATE_LINE_N, HTTP_SHORT_TYPE = 32,
       HTTP_USUAL_MAX = HTTP_OPENING_N + sizeof HTTP_TYPE - 1 + HTTP_SHORT_TYPE + sizeof HTTP_LENGTH - 1 +
                        20 /* digits */ + sizeof HTTP_HEAD_END - 1 };

/* What the connections of one loop share. A server on several threads has one for each of their loops, and no thread
 * touches another one's. */
struct rota__http_part {
    struct rota__http_service *service;
    rota_loop *loop;
    struct rota__http_server_conn *conns;
    bool stopping;                 /* no request after those under way */
    int64_t date_of;               /* the second that opening says; 0: none yet */
    char opening[HTTP_USUAL_MAX];  /* of the answers within it: status line of 200, Date; and the rest of the latest */
    size_t number_at, usual_n;     /* usual head. Where its length begins, and how long it is; 0: there was none */
    size_t length;                 /* that it says */
    char type[HTTP_SHORT_TYPE + 1];   /* that it says */
    struct rota__http_part *next;  /* of the other loops */
};

/* What all connections of a server share. */
struct rota__http_service {
    rota_http_handler_fn *handler;
    void *arg;
    rota_http_serve_options opt;   /* defaults filled in */
    rota_allocator allocator;
    struct rota__http_part first;  /* of the loop that serves; it frees the others */
    pthread_mutex_t lock;          /* of the list of the others */
    struct rota__http_part *others;
};

struct rota__http_server_conn {
    struct rota__http_server_conn *next, *prev;
    struct rota__http_service *service;
    struct rota__http_part *part;
    rota_stream stream;            /* unless the caller has one */
    char no_buffer;
    bool close;                    /* after this answer */
    bool idle;                     /* inside idle_scope, without a request */
    bool continue_owed;            /* the client waits for 100 Continue before it sends the body */
    bool no_body;                  /* HEAD */
    rota_scope idle_scope;
    rota_http_incoming request;
    rota_http_reply reply;
    size_t reply_at;               /* where in the output the reply begins, as long as nothing of it was sent */
    struct rota__http_wire wire;
    char memory[];
};

enum { REPLY_BEGUN = 1, REPLY_FRAMED = 2, REPLY_CHUNKED = 4, REPLY_HEAD_DONE = 8, REPLY_NO_BODY = 16 };

/* Is all there of an answer whose length was said? */
static inline bool rota__http_reply_whole(const rota_http_reply *reply) {
    return reply->state_ == (REPLY_BEGUN | REPLY_FRAMED | REPLY_HEAD_DONE) && reply->left_ == 0;
}

/* Begins an answer that nothing was said about yet. */
static inline void rota__http_reply_init(struct rota__http_server_conn *c) {
    c->reply = (rota_http_reply){ .status = 200, .conn_ = c };
    c->reply_at = c->wire.out_n;
}

/* (S) What the handler left out of the answer. -EPROTO: it is shorter than was said. */
int rota__http_reply_end(struct rota__http_server_conn *c);

/* (S) Takes back what was not sent, and answers with that status; the connection ends behind it. -EALREADY when the
 * head is on its way. */
int rota__http_reply_error(struct rota__http_server_conn *c, int status, const char *why);

#endif
