/* Counts in Redis from ten tasks over one connection.
 *
 *     example_hiredis [socket]      (without: localhost, port 6379)
 */
#include <stdio.h>

#include "rota/hiredis.h"

static intptr_t count(void *arg) {
    redisReply *reply;
    int rc = rota_redis_command(arg, &reply, "INCR %s", "rota:example");
    if (rc < 0)
        return rc;
    printf("%lld\n", reply->integer);
    freeReplyObject(reply);
    return 0;
}

static intptr_t connect_and_count(void *arg) {
    rota_redis *redis;
    rota_call calls[10];
    int rc = arg ? rota_redis_connect_unix(&redis, arg) : rota_redis_connect(&redis, "localhost", "6379");
    if (rc < 0)
        return rc;
    for (int i = 0; i < 10; i++)
        calls[i] = (rota_call){count, redis, 0};
    rc = rota_gather(calls, 10, NULL);
    if (rc == 0)
        rc = rota_redis_command(redis, NULL, "DEL %s", "rota:example");
    rota_redis_close(redis);
    return rc;
}

int main(int argc, char **argv) {
    int rc = rota_run(connect_and_count, argc > 1 ? argv[1] : NULL, NULL, NULL);
    if (rc < 0)
        fprintf(stderr, "example_hiredis: %s\n", rota_strerror(rc));
    return rc < 0;
}
