/* The client's connections. */
#ifndef ROTA_HTTP_POOL_H
#define ROTA_HTTP_POOL_H

#include "adapters/http/wire.h"

enum { ROTA__HTTP_CLIENT_OPEN = 1 };

/* In use by one response, or idle, or being made. Idle ones are in the order in which they were used last. */
struct rota__http_conn {
    struct rota__http_conn *next, *prev;
    rota_http_client *client;      /* NULL: it has been closed */
    rota_allocator allocator;
    size_t size;                   /* of this block */
    bool idle, connected, reused, keep;
    size_t head_max;
    bool secure;
    char host[ROTA_HTTP_HOST_MAX + 1], port[6];
    rota_timer timer;              /* while idle */
    rota_stream stream;
    char no_buffer;                /* the stream's: this library has its own */
    struct rota__http_wire wire;
    char memory[];
};

/* (S) A connection to url's host that is the caller's alone; waits while the limits are reached. fresh: no idle one.
 * connected is false when it is to be made. */
int rota__http_pool_take(rota_http_client *client, const rota_http_url *url, bool fresh,
                         struct rota__http_conn **conn);

/* Gives it back: kept when conn->keep. Never suspends. */
void rota__http_pool_give(struct rota__http_conn *conn);

#endif
