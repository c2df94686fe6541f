/* Redis by hiredis against a redis-server of the test's own, on a Unix socket in a temporary folder. */
#include "rota/hiredis.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "adapters/hiredis/kit.h"

#define Redis_test(name) Loop_test(hiredis, name, .init = begin, .fini = end)

/* The reply to a command, as text: it is expected to be a string. */
static void expect_text(rota_redis *redis, const char *text, const char *command) {
    redisReply *reply;
    int rc = rota_redis_command(redis, &reply, command);
    cr_expect_eq(rc, 0, "%s: %s", command, rota_strerror(rc));
    if (rc < 0)
        return;
    cr_expect(reply->str && strcmp(reply->str, text) == 0, "%s: %s", command, reply->str ? reply->str : "(none)");
    freeReplyObject(reply);
}

/* ---- connecting ---- */

/* Every socket that hiredis makes: it would be there for a child that another thread starts in this moment. */
static int sockets_of_hiredis;

int socket(int domain, int type, int protocol) {
    sockets_of_hiredis += !(type & SOCK_CLOEXEC);
    return (int)syscall(SYS_socket, domain, type, protocol);
}

static int flags_of(int peer_port) {
    for (int fd = 3; fd < 100; fd++) {
        struct sockaddr_in addr;
        socklen_t len = sizeof addr;
        if (getpeername(fd, (struct sockaddr *)&addr, &len) == 0 && addr.sin_family == AF_INET &&
            ntohs(addr.sin_port) == peer_port)
            return fcntl(fd, F_GETFD);
    }
    return -1;
}

Redis_test(connections_are_never_inherited) {
    rota_redis *redis;
    sockets_of_hiredis = 0;
    cr_expect_eq(rota_redis_connect(&redis, "127.0.0.1", tcp_port), 0);
    expect_text(redis, "PONG", "PING");
    cr_expect_eq(flags_of(atoi(tcp_port)), FD_CLOEXEC);
    cr_expect_eq(rota_redis_close(redis), 0);
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    expect_text(redis, "PONG", "PING");
    cr_expect_eq(rota_redis_close(redis), 0);
    cr_expect_eq(sockets_of_hiredis, 0);
    return 0;
}

/* All addresses of a name are tried: nobody listens on ::1. */
Redis_test(a_name_with_two_addresses) {
    rota_redis *redis;
    cr_expect_eq(rota_redis_connect(&redis, "localhost", tcp_port), 0);
    expect_text(redis, "PONG", "PING");
    return rota_redis_close(redis);
}

/* Nobody has sent anything, and the end is noticed all the same. */
Redis_test(the_end_of_an_idle_connection_is_noticed) {
    rota_redis *redis;
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    kit_kill(&kit);
    while (!*rota_redis_error(redis) && rota_sleep(ROTA_MS) == 0)
        ;
    cr_expect_eq(rota_redis_command(redis, NULL, "PING"), -ECONNRESET);
    return rota_redis_close(redis);
}

/* Descriptor 0 is one like any other. */
Redis_test(a_program_without_standard_input) {
    rota_redis *redis;
    int kept = dup(0);
    rota_close(0);
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    cr_expect_geq(fcntl(0, F_GETFD), 0);
    expect_text(redis, "PONG", "PING");
    cr_expect_eq(rota_redis_close(redis), 0);
    cr_expect_lt(fcntl(0, F_GETFD), 0);
    if (kept >= 0) {
        dup2(kept, 0);
        close(kept);
    }
    return 0;
}

/* ---- commands ---- */

Redis_test(replies_of_every_kind) {
    rota_redis *redis;
    redisReply *reply;
    int rc = rota_redis_connect_unix(&redis, path);
    cr_expect_eq(rc, 0);
    if (rc < 0)
        return rc;
    cr_expect_str_eq(rota_redis_error(redis), "");
    expect_text(redis, "PONG", "PING");
    expect_text(redis, "OK", "SET key value");
    expect_text(redis, "value", "GET key");
    cr_expect_eq(rota_redis_command(redis, &reply, "SET %b %b", "a\0b", (size_t)3, "c\0d\r\n", (size_t)5), 0);
    freeReplyObject(reply);
    const char *words[] = {"GET", "a\0b"};
    cr_expect_eq(rota_redis_command_argv(redis, &reply, 2, words, (size_t[]){3, 3}), 0);
    cr_expect_eq(reply->len, 5u);
    cr_expect_eq(memcmp(reply->str, "c\0d\r\n", 5), 0);
    freeReplyObject(reply);
    cr_expect_eq(rota_redis_command(redis, NULL, "RPUSH list 1 2 3"), 0);
    cr_expect_eq(rota_redis_command(redis, &reply, "LRANGE list 0 -1"), 0);
    cr_expect_eq(reply->elements, 3u);
    cr_expect_str_eq(reply->element[2]->str, "3");
    freeReplyObject(reply);
    cr_expect_eq(rota_redis_command(redis, &reply, "GET nothing"), 0);
    cr_expect_eq(reply->type, REDIS_REPLY_NIL);
    freeReplyObject(reply);
    return rota_redis_close(redis);
}

Redis_test(errors_of_the_server_are_replies_or_EIO) {
    rota_redis *redis;
    redisReply *reply;
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    cr_expect_eq(rota_redis_command(redis, &reply, "NONSENSE"), 0);
    cr_expect_eq(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
    cr_expect_eq(rota_redis_command(redis, NULL, "NONSENSE"), -EIO);
    expect_text(redis, "PONG", "PING");
    return rota_redis_close(redis);
}

Redis_test(bad_arguments_are_refused) {
    rota_redis *redis;
    redisReply *reply = (redisReply *)&redis;
    cr_expect_eq(rota_redis_connect_unix(NULL, path), -EINVAL);
    cr_expect_eq(rota_redis_connect_unix(&redis, ""), -EINVAL);
    cr_expect_eq(rota_redis_connect(&redis, NULL, "1"), -EINVAL);
    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    cr_expect_eq(rota_redis_connect_unix(&redis, longer), -ENAMETOOLONG);
    cr_expect_null(redis);
    cr_expect_eq(rota_redis_command(NULL, &reply, "PING"), -EINVAL);
    cr_expect_null(reply);
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    cr_expect_eq(rota_redis_command(redis, &reply, "subscribe x"), -EINVAL);
    cr_expect_eq(rota_redis_command(redis, &reply, "PUNSUBSCRIBE x"), -EINVAL);
    cr_expect_eq(rota_redis_command(redis, &reply, "Monitor"), -EINVAL);
    cr_expect_eq(rota_redis_command(redis, &reply, "GET %q"), -EINVAL);
    cr_expect_eq(rota_redis_subscribe(redis, "PING"), -EINVAL);
    cr_expect_eq(rota_redis_subscribe(redis, "UNSUBSCRIBE"), -EINVAL);
    expect_text(redis, "PONG", "PING");
    cr_expect_eq(rota_redis_close(NULL), 0);
    return rota_redis_close(redis);
}

/* hiredis reads at most 16 KiB at a time: it must be called again while more is there. */
Redis_test(big_values_come_and_go_whole) {
    rota_redis *redis;
    redisReply *reply;
    size_t n = 8 << 20;
    char *value = malloc(n);
    for (size_t i = 0; i < n; i++)
        value[i] = (char)(i * 2654435761u >> 24);
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    cr_expect_eq(rota_redis_command(redis, NULL, "SET big %b", value, n), 0);
    cr_expect_eq(rota_redis_command(redis, &reply, "GET big"), 0);
    cr_expect_eq(reply->len, n);
    cr_expect_eq(memcmp(reply->str, value, n), 0);
    freeReplyObject(reply);
    free(value);
    return rota_redis_close(redis);
}

static intptr_t increment(void *arg) {
    redisReply *reply;
    int rc = rota_redis_command(arg, &reply, "INCR counter");
    if (rc < 0)
        return rc;
    intptr_t value = (intptr_t)reply->integer;
    freeReplyObject(reply);
    return value;
}

Redis_test(commands_of_many_tasks_are_pipelined) {
    enum { N = 500 };
    static rota_call calls[N];
    rota_redis *redis;
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    for (int i = 0; i < N; i++)
        calls[i] = (rota_call){increment, redis, 0};
    cr_expect_eq(rota_gather(calls, N, NULL), 0);
    for (int i = 0; i < N; i++)
        cr_expect_eq(calls[i].result, i + 1);
    return rota_redis_close(redis);
}

/* ---- the server is missing, dies, is replaced ---- */

Redis_test(a_missing_server_is_told_apart) {
    rota_redis *redis;
    char nobody[8];
    kit_kill(&kit);
    cr_expect_eq(rota_redis_connect_unix(&redis, path), -ECONNREFUSED);
    cr_expect_null(redis);
    unlink(path);
    cr_expect_eq(rota_redis_connect_unix(&redis, path), -ENOENT);
    snprintf(nobody, sizeof nobody, "%d", kit_free_port());
    int rc = rota_redis_connect(&redis, "127.0.0.1", nobody);
    cr_expect_eq(rc, -ECONNREFUSED, "%s", rota_strerror(rc));
    cr_expect_null(redis);
    cr_expect_eq(rota_redis_connect(&redis, "127.0.0.1", "no such service"), -EINVAL);
    return 0;
}

Redis_test(a_server_that_dies_is_an_error_to_every_waiter) {
    enum { N = 20 };
    rota_task *tasks[N];
    rota_redis *redis;
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    expect_text(redis, "PONG", "PING");
    kit_freeze(&kit);
    for (int i = 0; i < N; i++)
        cr_expect_eq(rota_spawn(&tasks[i], increment, redis, NULL), 0);
    cr_expect_eq(rota_sleep(5 * ROTA_MS), 0);
    kit_kill(&kit);
    for (int i = 0; i < N; i++) {
        intptr_t outcome;
        cr_expect_eq(rota_join(tasks[i], &outcome), 0);
        cr_expect_eq(outcome, -ECONNRESET, "%s", rota_strerror(outcome));
    }
    cr_expect_eq(rota_redis_command(redis, NULL, "PING"), -ECONNRESET);
    cr_expect_str_neq(rota_redis_error(redis), "");
    cr_expect_eq(rota_redis_close(redis), 0);
    start_server();
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    expect_text(redis, "PONG", "PING");
    return rota_redis_close(redis);
}

/* The first that is noticed is a write: no SIGPIPE. */
Redis_test(writing_to_a_dead_server_raises_no_signal) {
    rota_redis *redis;
    static char big[1 << 20];
    memset(big, 'x', sizeof big);
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    expect_text(redis, "PONG", "PING");
    kit_kill(&kit);
    int rc = rota_redis_command(redis, NULL, "SET big %b", big, sizeof big);
    cr_expect(rc == -EPIPE || rc == -ECONNRESET, "%s", rota_strerror(rc));
    return rota_redis_close(redis);
}

/* ---- cancelling ---- */

Redis_test(a_cancelled_command_leaves_the_connection_good) {
    rota_redis *redis;
    rota_scope scope;
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    expect_text(redis, "OK", "SET a first");
    expect_text(redis, "OK", "SET b second");
    kit_freeze(&kit);
    rota_timeout_begin(&scope, 5 * ROTA_MS);
    redisReply *reply;
    int rc = rota_redis_command(redis, &reply, "GET a");
    cr_expect_null(reply);
    cr_expect_eq(rota_redis_command(redis, &reply, "GET a"), -ECANCELED);  /* level-triggered, and not sent */
    cr_expect_eq(rota_scope_end(&scope, rc), -ETIMEDOUT);
    kit_thaw(&kit);
    expect_text(redis, "second", "GET b");
    return rota_redis_close(redis);
}

static intptr_t get_a(void *arg) { return rota_redis_command(arg, NULL, "GET a"); }

Redis_test(closing_wakes_those_who_wait) {
    rota_redis *redis;
    rota_task *task;
    intptr_t outcome;
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    kit_freeze(&kit);
    cr_expect_eq(rota_spawn(&task, get_a, redis, NULL), 0);
    cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
    cr_expect_eq(rota_redis_close(redis), 0);
    cr_expect_eq(rota_join(task, &outcome), 0);
    cr_expect_eq(outcome, -ESHUTDOWN);
    return 0;
}

/* Nobody answers: the queue of a listener that does not accept is full. */
Redis_test(connecting_can_be_cut_short) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fds[8], n = 0;
    fds[n] = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(bind(fds[n], (struct sockaddr *)&addr, len), 0);
    cr_expect_eq(listen(fds[n], 0), 0);
    cr_expect_eq(getsockname(fds[n++], (struct sockaddr *)&addr, &len), 0);
    while (n < 8) {
        fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fds[n++], (struct sockaddr *)&addr, len);
    }
    char silent[8];
    snprintf(silent, sizeof silent, "%d", ntohs(addr.sin_port));
    rota_scope scope;
    rota_redis *redis;
    rota_timeout_begin(&scope, 20 * ROTA_MS);
    int rc = rota_redis_connect(&redis, "127.0.0.1", silent);
    cr_expect_eq(rota_scope_end(&scope, rc), -ETIMEDOUT);
    cr_expect_null(redis);
    while (n > 0)
        close(fds[--n]);
    return 0;
}

/* ---- messages ---- */

static void expect_message(rota_redis *redis, const char *kind, const char *text) {
    redisReply *reply;
    int rc = rota_redis_receive(redis, &reply);
    cr_expect_eq(rc, 0, "%s", rota_strerror(rc));
    if (rc < 0)
        return;
    cr_expect_eq(reply->elements, 3u);
    cr_expect_str_eq(reply->element[0]->str, kind);
    if (text)
        cr_expect_str_eq(reply->element[2]->str, text);
    freeReplyObject(reply);
}

/* More than are kept: the server is not read from until they are fetched, and none is lost. */
Redis_test(messages_come_in_order_to_a_slow_receiver) {
    enum { N = 2000 };
    rota_redis *listener, *speaker;
    char number[16];
    cr_expect_eq(rota_redis_connect_unix(&listener, path), 0);
    cr_expect_eq(rota_redis_connect_unix(&speaker, path), 0);
    cr_expect_eq(rota_redis_subscribe(listener, "SUBSCRIBE %s", "news"), 0);
    expect_message(listener, "subscribe", NULL);
    cr_expect_eq(rota_redis_command(listener, NULL, "PING"), -EBUSY);
    for (int i = 0; i < N; i++)
        cr_expect_eq(rota_redis_command(speaker, NULL, "PUBLISH news %d", i), 0);
    for (int i = 0; i < N; i++) {
        snprintf(number, sizeof number, "%d", i);
        expect_message(listener, "message", number);
    }
    cr_expect_eq(rota_redis_subscribe(listener, "UNSUBSCRIBE news"), 0);
    expect_message(listener, "unsubscribe", NULL);
    expect_text(listener, "PONG", "PING");   /* an ordinary connection again */
    cr_expect_eq(rota_redis_close(speaker), 0);
    return rota_redis_close(listener);
}

static intptr_t receive(void *arg) {
    redisReply *reply;
    int rc = rota_redis_receive(arg, &reply);
    if (rc == 0)
        freeReplyObject(reply);
    return rc;
}

Redis_test(receiving_can_be_cut_short_closed_and_lost) {
    rota_redis *redis;
    rota_task *task;
    intptr_t outcome;
    rota_scope scope;
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    cr_expect_eq(rota_redis_subscribe(redis, "PSUBSCRIBE a* b*"), 0);
    expect_message(redis, "psubscribe", NULL);
    expect_message(redis, "psubscribe", NULL);
    rota_timeout_begin(&scope, 2 * ROTA_MS);
    cr_expect_eq(rota_scope_end(&scope, receive(redis)), -ETIMEDOUT);
    cr_expect_eq(rota_spawn(&task, receive, redis, NULL), 0);
    cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
    cr_expect_eq(receive(redis), -EBUSY);
    cr_expect_eq(rota_redis_close(redis), 0);
    cr_expect_eq(rota_join(task, &outcome), 0);
    cr_expect_eq(outcome, -ESHUTDOWN);

    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    cr_expect_eq(rota_redis_subscribe(redis, "SUBSCRIBE a"), 0);
    expect_message(redis, "subscribe", NULL);
    cr_expect_eq(rota_spawn(&task, receive, redis, NULL), 0);
    cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
    kit_kill(&kit);
    cr_expect_eq(rota_join(task, &outcome), 0);
    cr_expect_eq(outcome, -ECONNRESET);
    cr_expect_eq(receive(redis), -ECONNRESET);
    return rota_redis_close(redis);
}

/* ---- two loops ---- */

static intptr_t count_to_200(void *arg) {
    rota_redis *redis;
    (void)arg;
    int rc = rota_redis_connect_unix(&redis, path);
    for (int i = 0; i < 200 && rc == 0; i++)
        rc = rota_redis_command(redis, NULL, "INCR shared");
    if (redis)
        rota_redis_close(redis);
    return rc;
}

static void *whole_program(void *arg) {
    (void)arg;
    return (void *)(intptr_t)rota_run(count_to_200, NULL, NULL, NULL);
}

Redis_test(two_threads_with_a_loop_each) {
    pthread_t threads[2];
    rota_redis *redis;
    for (int i = 0; i < 2; i++)
        cr_expect_eq(pthread_create(&threads[i], NULL, whole_program, NULL), 0);
    for (int i = 0; i < 2; i++) {
        void *rc;
        pthread_join(threads[i], &rc);
        cr_expect_null(rc);
    }
    cr_expect_eq(rota_redis_connect_unix(&redis, path), 0);
    expect_text(redis, "400", "GET shared");
    return rota_redis_close(redis);
}

/* Memory and descriptors: the loop is closed by rota_run while a connection is open and tasks wait in it. */
static rota_redis *left_open;

static intptr_t leave_it_open(void *arg) {
    (void)arg;
    int rc = rota_redis_connect_unix(&left_open, path);
    kit_freeze(&kit);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = rota_spawn(NULL, get_a, left_open, NULL);
    return rc == 0 ? rota_sleep(2 * ROTA_MS) : rc;
}

Test(hiredis, a_loop_may_close_first, .init = begin, .fini = end) {
    rota_loop *loop;
    rota_task *task;
    cr_assert_eq(rota_loop_new(&loop, NULL), 0);
    cr_assert_eq(rota_spawn(&task, leave_it_open, NULL, NULL), 0);
    cr_expect_eq(rota_loop_run_until(loop, task, NULL), 0);
    rota_task_release(task);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_redis_close(left_open), 0);
    cr_expect_eq(rota_loop_free(loop), 0);
}
