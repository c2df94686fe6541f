/* All that rota does for a program of Redis fails, one call after the other: see faults.h. */
#include <string.h>

#include "adapters/faults.h"
#include "adapters/hiredis/kit.h"
#include "rota/hiredis.h"

static int values(rota_redis *redis) {
    redisReply *reply;
    int rc = rota_redis_command(redis, NULL, "SET key value");
    if (rc == 0)
        rc = rota_redis_command_argv(redis, &reply, 2, (const char *[]){"GET", "key"}, NULL);
    if (rc < 0)
        return rc;
    cr_expect(reply->str && strcmp(reply->str, "value") == 0);
    freeReplyObject(reply);
    return 0;
}

static int receive(rota_redis *redis) {
    redisReply *reply;
    int rc = rota_redis_receive(redis, &reply);
    if (rc == 0)
        freeReplyObject(reply);
    return rc;
}

static int messages(rota_redis *listener, rota_redis *speaker) {
    int rc = rota_redis_subscribe(listener, "SUBSCRIBE news");
    if (rc == 0)
        rc = receive(listener);
    if (rc == 0)
        rc = rota_redis_command(speaker, NULL, "PUBLISH news one");
    if (rc == 0)
        rc = receive(listener);
    return rc;
}

static intptr_t scenario(void *unused) {
    rota_redis *one, *other = NULL;
    (void)unused;
    int rc = rota_redis_connect(&one, "127.0.0.1", tcp_port);
    if (rc == 0)
        rc = rota_redis_connect_unix(&other, path);
    cr_expect(rc == 0 || !other);
    if (rc == 0)
        rc = values(one);
    if (rc == 0)
        rc = messages(other, one);
    if (one)
        rota_redis_close(one);
    if (other)
        rota_redis_close(other);
    return rc;
}

static intptr_t afterwards(void *unused) {
    rota_redis *redis;
    (void)unused;
    int rc = rota_redis_connect_unix(&redis, path);
    if (rc == 0) {
        rc = values(redis);
        rota_redis_close(redis);
    }
    return rc;
}

static const struct fault_program program = {.scenario = scenario, .afterwards = afterwards};

Fault_tests(hiredis_faults, &program, .init = begin, .fini = end, .timeout = 100)
