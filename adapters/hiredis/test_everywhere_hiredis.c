/* The suspending calls of rota/hiredis.h: cancelled at every point at which they stop, and before each. */
#include <string.h>

#include "adapters/hiredis/kit.h"
#include "rota/hiredis.h"
#include "rota/sync.h"
#include "tests/everywhere.h"
#include "tests/net_kit.h"

/* In scenarios, for tests/everywhere/check.py. */
static const char *const suspending[] = {
    "rota_redis_command", "rota_redis_command_argv", "rota_redis_connect", "rota_redis_connect_unix",
    "rota_redis_receive",
};

/* ---- connecting ---- */

static int hole, fillers[2];

static void connect_begin(void) { hole = black_hole(fillers); }

static void connect_end(void) {
    close(hole);
    for (int i = 0; i < 2; i++)
        close(fillers[i]);
}

static intptr_t connect_to_the_hole(void *unused) {
    rota_redis *redis;
    char nobody[8];
    (void)unused;
    snprintf(nobody, sizeof nobody, "%d", port_of(hole));
    int rc = S(rota_redis_connect(&redis, "127.0.0.1", nobody));
    cr_expect_null(redis);
    return rc;
}

static intptr_t connect_body(void *unused) {
    rota_redis *redis;
    (void)unused;
    /* Enough to come to where it waits. */
    int64_t limit = (under_valgrind() ? 500 : 20) * ROTA_MS;
    intptr_t v = Never(rota_timeout(limit, connect_to_the_hole, NULL));
    cr_expect(v == -ETIMEDOUT || v == -ECANCELED, "%ld", (long)v);
    int rc = S(rota_redis_connect(&redis, "localhost", tcp_port));
    cr_expect((rc == 0) == (redis != NULL));
    rota_redis_close(redis);
    int rc_2 = S(rota_redis_connect_unix(&redis, path));
    cr_expect((rc_2 == 0) == (redis != NULL));
    rota_redis_close(redis);
    return rc < 0 ? rc : rc_2;
}

static const struct scenario connecting = {
    .name = "redis connect", .begin = connect_begin, .body = connect_body, .end = connect_end, .threads = true,
    .outside = true
};

/* ---- commands: the connection is good afterwards ---- */

static rota_redis *redis;

static void forget(void) { redis = NULL; }

static intptr_t command_body(void *unused) {
    redisReply *reply;
    (void)unused;
    TRY(rota_redis_connect_unix(&redis, path));
    int rc = S(rota_redis_command(redis, &reply, "SET key value"));
    cr_expect((rc == 0) == (reply != NULL));
    freeReplyObject(reply);
    int rc_2 = S(rota_redis_command_argv(redis, &reply, 2, (const char *[]){"GET", "key"}, NULL));
    cr_expect((rc_2 == 0) == (reply != NULL));
    freeReplyObject(reply);
    int rc_3 = S(rota_redis_command(redis, NULL, "PING"));
    return rc < 0 ? rc : rc_2 < 0 ? rc_2 : rc_3;
}

/* Replies that nobody waited for any more are not taken for this one. */
static void command_reuse(void) {
    redisReply *reply;
    if (!redis)
        return;
    int rc = rota_redis_command(redis, &reply, "ECHO again");
    cr_expect_eq(rc, 0, "%s", rota_strerror(rc));
    cr_expect(rc < 0 || (reply->str && strcmp(reply->str, "again") == 0));
    freeReplyObject(reply);
}

static void close_it(void) {
    if (redis)
        cr_expect_eq(rota_redis_close(redis), 0);
}

static const struct scenario commands = {
    .name = "redis commands", .begin = forget, .body = command_body, .reuse = command_reuse, .end = close_it,
    .outside = true
};

/* ---- messages: none is lost ---- */

static rota_event wanted;
static int sent, received;

static intptr_t publish(void *unused) {
    rota_redis *speaker;
    (void)unused;
    int rc = rota_redis_connect_unix(&speaker, path);
    if (rc == 0)
        rc = rota_event_wait(&wanted);
    if (rc == 0)
        rc = rota_redis_command(speaker, NULL, "PUBLISH news one");
    sent += rc == 0;
    rota_redis_close(speaker);
    return 0;
}

static void receive_begin(void) {
    redis = NULL;
    sent = received = 0;
    memset(&wanted, 0, sizeof wanted);
    helper(publish, NULL);
}

static intptr_t receive_body(void *unused) {
    redisReply *reply;
    (void)unused;
    TRY(rota_redis_connect_unix(&redis, path));
    int rc = rota_redis_subscribe(redis, "SUBSCRIBE news");
    if (rc < 0)
        return rc;
    sent++;     /* the confirmation */
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            rota_event_set(&wanted);
        rc = S(rota_redis_receive(redis, &reply));
        cr_expect((rc == 0) == (reply != NULL));
        if (rc < 0)
            return rc;
        received++;
        freeReplyObject(reply);
    }
    return 0;
}

static void receive_reuse(void) {
    redisReply *reply;
    while (received < sent) {
        int rc = rota_redis_receive(redis, &reply);
        cr_expect_eq(rc, 0, "%s", rota_strerror(rc));
        if (rc < 0)
            return;
        received++;
        freeReplyObject(reply);
    }
}

static const struct scenario receiving = {
    .name = "redis receive", .begin = receive_begin, .body = receive_body, .reuse = receive_reuse,
    .end = close_it, .outside = true
};

#define Everywhere_test(name) \
    Test(hiredis_everywhere, name, .init = begin, .fini = end, .timeout = 300) { everywhere(&name); }
Everywhere_test(connecting)
Everywhere_test(commands)
Everywhere_test(receiving)

Test(hiredis_everywhere, every_suspending_call_is_in_a_scenario, .init = begin, .fini = end) {
    everywhere_once(&connecting);
    everywhere_once(&commands);
    everywhere_once(&receiving);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
}
