/* Redis for tasks, by hiredis: each command suspends its task until the reply is there. Many tasks may share a
 * connection; their commands are pipelined.
 *
 * A connection belongs to the loop that was current when it was made, and is closed before that loop is freed. While it
 * is open it keeps the loop alive. What ends it, ends it for good: every waiter gets the error, and so does every later
 * call, until the program closes it and makes a new one.
 * hiredis keeps no limit on replies (a bulk reply may be 512 MB); a server that is not trusted needs one of its own.
 * Where an allocation of hiredis itself fails, up to 0.14 it ends the process.
 */
#ifndef ROTA_HIREDIS_H
#define ROTA_HIREDIS_H

#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rota_redis rota_redis;

/* (S) A connection to a host and port, as rota_dial makes it (all addresses are tried), or to a Unix socket, as
 * rota_unix_dial does. Limits by scope (rota_timeout); cancelled, nothing is left of it. No AUTH, no SELECT: those are
 * commands. Errors of rota_dial and rota_unix_dial, -EINVAL, -ENOMEM; *redis is NULL then. */
ROTA_API ROTA_CHECK int rota_redis_connect(rota_redis **redis, const char *host, const char *service);
ROTA_API ROTA_CHECK int rota_redis_connect_unix(rota_redis **redis, const char *path);         /* (S) */

/* Closes and frees. Those who wait in it wake with -ESHUTDOWN. NULL is fine. -EPERM from another thread. */
ROTA_API int rota_redis_close(rota_redis *redis);

/* (S) Sends a command (format as redisCommand: %s, %b …) and waits for its reply, which is the caller's
 * (freeReplyObject). Two channels: what is returned is the fate of the call, and an error that the server answers is
 * a reply of type REDIS_REPLY_ERROR. With reply NULL the reply is dropped, and one of that type becomes -EIO.
 * Cancelled, the reply is dropped when it comes, and the connection stays good; the server does the command all the
 * same. Commands of one task are served in order; MULTI of two tasks on one connection would mix.
 * *reply is NULL on failure. -EINVAL (bad format; a command for rota_redis_subscribe; SSUBSCRIBE, MONITOR), -EBUSY (the
 * connection is subscribed: use another one), -ECONNRESET (the server is gone), -EPROTO (it does not talk as Redis
 * does), other errors of read(2) and write(2), -ESHUTDOWN (closed meanwhile), -EPERM (a task of another loop),
 * -ENOMEM. */
ROTA_API ROTA_CHECK int rota_redis_command(rota_redis *redis, redisReply **reply, const char *format, ...);
/* (S) The same with the words of the command one by one; lens NULL: they are strings. */
ROTA_API ROTA_CHECK int rota_redis_command_argv(rota_redis *redis, redisReply **reply, int argc, const char **argv,
                                                const size_t *lens);

/* Sends SUBSCRIBE, PSUBSCRIBE, UNSUBSCRIBE or PUNSUBSCRIBE. Never suspends: the server's confirmations come as
 * messages. -EINVAL (another command; unsubscribing what is not subscribed), otherwise as rota_redis_command. */
ROTA_API ROTA_CHECK int rota_redis_subscribe(rota_redis *redis, const char *format, ...);

/* (S) The next message, the caller's (freeReplyObject): an array as Redis sends it, "message", channel, text. Messages
 * that nobody has fetched are kept; from 64 on no more are read from the server until they are fetched, and a cancelled
 * call loses none. -EBUSY: another task receives. -ENOMEM: a message was lost. Otherwise as rota_redis_command. */
ROTA_API ROTA_CHECK int rota_redis_receive(rota_redis *redis, redisReply **message);

/* What ended the connection, for a person; "" while it is good. Valid until it is closed. */
ROTA_API const char *rota_redis_error(const rota_redis *redis);

#ifdef __cplusplus
}
#endif
#endif
