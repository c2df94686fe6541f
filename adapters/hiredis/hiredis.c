/* Redis for tasks: connect, close, command, subscribe, receive, by the asynchronous interface of hiredis.
 *
 * hiredis calls the hooks to say what it wants to wait for, and is called when it may read or write; the callback of a
 * command sets the future that its task waits for. Invariant: a command that was given to hiredis has one request,
 * which the waiting task frees, or, once that has gone, the callback; hiredis calls each callback exactly once, with no
 * reply when the connection ends. It must not know what commands mean, but for those that change what a reply is.
 */
#include "rota/hiredis.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "adapters/adapter.h"
#include "rota/net.h"

#if HIREDIS_MAJOR >= 1
# include <hiredis/alloc.h>
/* What freeReplyObject will give back must come from where it gives it back to. */
# define reply_alloc() hi_calloc(1, sizeof(redisReply))
#else
# define reply_alloc() calloc(1, sizeof(redisReply))
#endif

enum { MAX_KEPT = 64 };

struct message {
    struct message *next;
    redisReply *reply;
};

struct rota_redis {
    rota_loop *loop;
    redisAsyncContext *context;        /* NULL once the connection has ended: hiredis frees it itself */
    int fd;
    int error;                         /* what ended it */
    char text[128];
    struct adapter_side reader, writer;
    bool wants_read;                   /* hiredis does */
    rota_soon failing;                 /* ends the connection outside of hiredis */
#ifdef ROTA_HIREDIS_TIMERS
    rota_timer timer;
#endif
    rota_future *receiver;             /* on the stack of who receives */
    bool receiving;                    /* somebody is in receive, and frees this if it was closed meanwhile */
    bool closed;
    struct message *messages, **messages_end;
    size_t kept;
    bool lost_one;
};

/* A command under way. */
struct request {
    rota_future future;
    redisReply *reply;                 /* empty until the reply is there */
    rota_redis *redis;
    bool abandoned;                    /* its task has gone */
};

/* ---- the end of a connection ---- */

/* The inner context is looked at: hiredis copies its error outwards only later. errno is that of the call that failed:
 * it was cleared before hiredis was entered. */
static int error_of(const redisAsyncContext *context) {
    switch (context->c.err) {
    case 0:                  return -ESHUTDOWN;
    case REDIS_ERR_EOF:      return -ECONNRESET;
    case REDIS_ERR_PROTOCOL: return -EPROTO;
    case REDIS_ERR_OOM:      return -ENOMEM;
#ifdef REDIS_ERR_TIMEOUT
    case REDIS_ERR_TIMEOUT:  return -ETIMEDOUT;
#endif
    case REDIS_ERR_IO:       return errno > 0 ? -errno : -EIO;
    default:                 return -EIO;
    }
}

static void set_text(rota_redis *redis, const char *text) {
    size_t n = strlen(text);
    n = n < sizeof redis->text ? n : sizeof redis->text - 1;
    memcpy(redis->text, text, n);
    redis->text[n] = '\0';
}

static void note_end(rota_redis *redis, const redisAsyncContext *context) {
    if (redis->error == 0) {
        redis->error = error_of(context);
        set_text(redis, context->c.err ? context->c.errstr : rota_strerror(redis->error));
    }
}

/* It looks for itself what there is. */
static void wake_receiver(rota_redis *redis) {
    int rc = redis->receiver ? rota_future_set(redis->receiver, 0) : 0;
    (void)rc;   /* set already */
}

/* Something of ours failed (a watcher could not be started), perhaps inside a hook, where hiredis must not be told. */
static void fail(void *arg, int error) {
    rota_redis *redis = arg;
    if (redis->error == 0) {
        redis->error = error;
        set_text(redis, rota_strerror(error));
    }
    int rc = rota_soon_start(redis->loop, &redis->failing);
    (void)rc;   /* queued already */
}

static void end_connection(rota_soon *soon, void *arg) {
    rota_redis *redis = arg;
    (void)soon;
    if (redis->context)
        redisAsyncFree(redis->context);
}

/* ---- hooks ---- */

static void update_reader(rota_redis *redis) {
    int rc = adapter_side_want(&redis->reader, redis->wants_read && redis->kept < MAX_KEPT);
    if (rc < 0)
        fail(redis, rc);
}

static void add_read(void *arg) {
    ((rota_redis *)arg)->wants_read = true;
    update_reader(arg);
}

static void del_read(void *arg) {
    ((rota_redis *)arg)->wants_read = false;
    update_reader(arg);
}

static void add_write(void *arg) {
    int rc = adapter_side_want(&((rota_redis *)arg)->writer, true);
    if (rc < 0)
        fail(arg, rc);
}

static void del_write(void *arg) {
    int rc = adapter_side_want(&((rota_redis *)arg)->writer, false);
    (void)rc;   /* stopping does not fail */
}

/* The last that hiredis says. The descriptor is ours, and hiredis up to 0.14 would not close number 0. */
static void cleanup(void *arg) {
    rota_redis *redis = arg;
    note_end(redis, redis->context);
    redis->wants_read = false;
    del_read(redis);
    del_write(redis);
#ifdef ROTA_HIREDIS_TIMERS
    (void)rota_timer_stop(redis->loop, &redis->timer);
#endif
    redis->context->c.fd = -1;
    int rc = rota_fd_close(redis->loop, redis->fd);
    if (rc == -ESHUTDOWN || rc == -EINVAL)  /* the loop was closed before, and knows no descriptors any more */
        (void)close(redis->fd);
    redis->context = NULL;
    wake_receiver(redis);
}

#ifdef ROTA_HIREDIS_TIMERS
static void timer_fired(rota_timer *timer, void *arg) {
    rota_redis *redis = arg;
    (void)timer;
    if (redis->context)
        redisAsyncHandleTimeout(redis->context);
}

static void schedule_timer(void *arg, struct timeval after) {
    rota_redis *redis = arg;
    int rc = rota_timer_start(redis->loop, &redis->timer, after.tv_sec * ROTA_S + after.tv_usec * ROTA_US);
    if (rc < 0)
        fail(redis, rc);
}
#endif

static void may_read(void *arg) {
    rota_redis *redis = arg;
    errno = 0;
    redisAsyncHandleRead(redis->context);
}

/* hiredis up to 0.14 writes by write(2). */
static void may_write(void *arg) {
    rota_redis *redis = arg;
    struct adapter_quiet quiet;
    adapter_quiet_begin(&quiet);
    errno = 0;
    redisAsyncHandleWrite(redis->context);
    adapter_quiet_end(&quiet);
}

/* ---- connecting ---- */

/* A context without a connection. rota dials itself, and hiredis is handed the descriptor: it would make one that
 * children inherit, block in getaddrinfo, and try one address alone. Before 1.0 it takes none; there it is asked for
 * an address that is none, which getaddrinfo refuses by its form, without asking anybody, before there is a socket. */
static redisAsyncContext *context_new(void) {
#if HIREDIS_MAJOR >= 1
    redisOptions options = {.type = REDIS_CONN_USERFD, .endpoint.fd = -1};
    redisAsyncContext *context = redisAsyncConnectWithOptions(&options);
    bool good = context && context->c.err == 0;
#else
    redisAsyncContext *context = redisAsyncConnect("::1%-", 1);
    bool good = context && context->c.err == REDIS_ERR_OTHER;
#endif
    if (!good) {
        if (context)
            redisAsyncFree(context);
        return NULL;
    }
    context->c.err = context->err = 0;
    context->c.errstr[0] = '\0';
    context->c.flags |= REDIS_CONNECTED;
    return context;
}

static rota_redis *attach(redisAsyncContext *context, int fd) {
    rota_redis *redis = calloc(1, sizeof *redis);
    if (!redis)
        return NULL;
    redis->loop = rota_loop_current();
    redis->context = context;
    redis->fd = context->c.fd = fd;
    redis->messages_end = &redis->messages;
    rota_soon_init(&redis->failing, end_connection, redis);
    adapter_side_init(&redis->reader, redis->loop, redis->fd, ROTA_READ, may_read, fail, redis);
    adapter_side_init(&redis->writer, redis->loop, redis->fd, ROTA_WRITE, may_write, fail, redis);
    context->data = redis;
    context->ev.data = redis;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
#ifdef ROTA_HIREDIS_TIMERS
    rota_timer_init(&redis->timer, timer_fired, redis);
    context->ev.scheduleTimer = schedule_timer;
#endif
    return redis;
}

/* With a descriptor, or the error of dialling. It is read from at once, so that its end is noticed. */
static int begin(rota_redis **out, int fd) {
    if (fd < 0)
        return fd;
    redisAsyncContext *context = context_new();
    rota_redis *redis = context ? attach(context, fd) : NULL;
    if (!redis) {
        if (context)
            redisAsyncFree(context);
        rota_close(fd);
        return -ENOMEM;
    }
    redis->wants_read = true;
    int rc = adapter_side_want(&redis->reader, true);
    if (rc < 0)
        (void)rota_redis_close(redis);
    else
        *out = redis;
    return rc;
}

int rota_redis_connect_unix(rota_redis **out, const char *path) {
    if (!out)
        return -EINVAL;
    *out = NULL;
    return begin(out, path ? rota_unix_dial(path) : -EINVAL);
}

int rota_redis_connect(rota_redis **out, const char *host, const char *service) {
    if (!out)
        return -EINVAL;
    *out = NULL;
    return begin(out, host && service ? rota_dial(host, service, NULL) : -EINVAL);
}

/* There is one. */
static redisReply *first_message(rota_redis *redis) {
    struct message *message = redis->messages;
    redisReply *reply = message->reply;
    redis->messages = message->next;
    if (!redis->messages)
        redis->messages_end = &redis->messages;
    free(message);
    redis->kept--;
    if (redis->context)
        update_reader(redis);
    return reply;
}

int rota_redis_close(rota_redis *redis) {
    if (!redis)
        return 0;
    int rc = rota_soon_stop(redis->loop, &redis->failing);
    if (rc == -EPERM)
        return rc;
    if (redis->error == 0)
        redis->error = -ESHUTDOWN;
    if (redis->context)
        redisAsyncFree(redis->context);
    while (redis->messages)
        freeReplyObject(first_message(redis));
    redis->error = -ESHUTDOWN;
    redis->closed = true;
    wake_receiver(redis);
    if (!redis->receiving)
        free(redis);
    return 0;
}

const char *rota_redis_error(const rota_redis *redis) { return redis ? redis->text : ""; }

/* ---- commands ---- */

/* hiredis frees a reply after the callback. What it holds is moved out, and an empty shell stays behind. */
static void take(redisReply *to, redisReply *from) {
    *to = *from;
    memset(from, 0, sizeof *from);
    from->type = REDIS_REPLY_NIL;
}

static void request_free(struct request *request) {
    if (request->reply)
        freeReplyObject(request->reply);
    free(request);
}

static struct request *request_new(rota_redis *redis) {
    struct request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->redis = redis;
    request->reply = reply_alloc();
    if (!request->reply) {
        free(request);
        return NULL;
    }
    request->reply->type = REDIS_REPLY_NIL;
    return request;
}

static void on_reply(redisAsyncContext *context, void *reply, void *arg) {
    struct request *request = arg;
    if (request->abandoned) {
        request_free(request);
        return;
    }
    int outcome = 0;
    if (reply) {
        take(request->reply, reply);
    } else {
        note_end(request->redis, context);
        outcome = request->redis->error;
    }
    int rc = rota_future_set(&request->future, outcome);
    (void)rc;   /* set once, by us */
}

/* The first word of a command as it goes over the wire: "*2\r\n$4\r\nPING\r\n…". */
enum { ORDINARY, PUBSUB, NEVER_ENDING };

static int kind_of(const char *command) {
    const char *word = strstr(command, "\r\n");
    word = word ? strstr(word + 2, "\r\n") : NULL;
    if (!word)
        return ORDINARY;
    word += 2;
    if (strncasecmp(word, "monitor\r", 8) == 0 || strncasecmp(word, "ssubscribe\r", 11) == 0 ||
        strncasecmp(word, "sunsubscribe\r", 13) == 0)
        return NEVER_ENDING;
    word += *word == 'p' || *word == 'P';
    word += strncasecmp(word, "un", 2) == 0 ? 2 : 0;
    return strncasecmp(word, "subscribe\r", 10) == 0 ? PUBSUB : ORDINARY;
}

/* May the connection be used, for this kind of command? */
static int usable(const rota_redis *redis, int kind) {
    if (redis->error)
        return redis->error;
    if (redis->loop != rota_loop_current())
        return -EPERM;
    return kind == ORDINARY && redis->context->c.flags & REDIS_SUBSCRIBED ? -EBUSY : 0;
}

/* (S) command is freed. */
static int run(rota_redis *redis, redisReply **reply, char *command, size_t n) {
    int rc = kind_of(command) == ORDINARY ? usable(redis, ORDINARY) : -EINVAL;
    struct request *request = rc == 0 ? request_new(redis) : NULL;
    if (rc == 0 && !request)
        rc = -ENOMEM;
    if (rc == 0 && redisAsyncFormattedCommand(redis->context, on_reply, request, command, n) != REDIS_OK) {
        rc = redis->context->c.err ? error_of(redis->context) : -ENOMEM;
        request_free(request);
    }
    free(command);
    if (rc < 0)
        return rc;
    intptr_t outcome;
    rc = rota_future_await(&request->future, &outcome);
    /* Cancelled first, and the reply came before this task ran: the request is ours all the same. */
    if (rc < 0 && !rota_future_done(&request->future)) {
        request->abandoned = true;
        return rc;
    }
    rc = rc < 0 ? rc : (int)outcome;
    if (rc == 0 && reply) {
        *reply = request->reply;
        request->reply = NULL;
    } else if (rc == 0 && request->reply->type == REDIS_REPLY_ERROR) {
        rc = -EIO;
    }
    request_free(request);
    return rc;
}

/* What hiredis answers when it could not format a command. */
static int format_error(int n) { return n == -1 ? -ENOMEM : -EINVAL; }

int rota_redis_command(rota_redis *redis, redisReply **reply, const char *format, ...) {
    if (reply)
        *reply = NULL;
    int rc = adapter_enter();
    if (rc < 0)
        return rc;
    if (!redis || !format)
        return -EINVAL;
    va_list args;
    char *command;
    va_start(args, format);
    int n = redisvFormatCommand(&command, format, args);
    va_end(args);
    return n <= 0 ? format_error(n) : run(redis, reply, command, (size_t)n);
}

int rota_redis_command_argv(rota_redis *redis, redisReply **reply, int argc, const char **argv, const size_t *lens) {
    if (reply)
        *reply = NULL;
    int rc = adapter_enter();
    if (rc < 0)
        return rc;
    if (!redis || !argv || argc <= 0)
        return -EINVAL;
    char *command;
    long long n = redisFormatCommandArgv(&command, argc, argv, lens);
    return n <= 0 ? format_error((int)n) : run(redis, reply, command, (size_t)n);
}

/* ---- messages ---- */

static void on_message(redisAsyncContext *context, void *reply, void *arg) {
    rota_redis *redis = context->data;
    (void)arg;
    if (!reply)
        return; /* the end: cleanup tells whoever receives */
    struct message *message = calloc(1, sizeof *message);
    redisReply *copy = message ? reply_alloc() : NULL;
    if (copy) {
        take(copy, reply);
        message->reply = copy;
        *redis->messages_end = message;
        redis->messages_end = &message->next;
        redis->kept++;
        update_reader(redis);
    } else {
        free(message);
        redis->lost_one = true;
    }
    wake_receiver(redis);
}

int rota_redis_subscribe(rota_redis *redis, const char *format, ...) {
    if (!redis || !format)
        return -EINVAL;
    int rc = usable(redis, PUBSUB);
    if (rc < 0)
        return rc;
    va_list args;
    char *command;
    va_start(args, format);
    int n = redisvFormatCommand(&command, format, args);
    va_end(args);
    if (n <= 0)
        return format_error(n);
    if (kind_of(command) != PUBSUB)
        rc = -EINVAL;
    else if (redisAsyncFormattedCommand(redis->context, on_message, NULL, command, (size_t)n) != REDIS_OK)
        rc = redis->context->c.err ? error_of(redis->context) : -EINVAL;
    free(command);
    return rc;
}

/* (S) */
static int wait_for_message(rota_redis *redis) {
    while (!redis->messages && !redis->lost_one && !redis->error) {
        rota_future woken = {0};
        redis->receiver = &woken;
        int rc = rota_future_await(&woken, NULL);
        redis->receiver = NULL;
        if (rc < 0)
            return redis->closed ? -ESHUTDOWN : rc;
    }
    return 0;
}

int rota_redis_receive(rota_redis *redis, redisReply **out) {
    if (!redis || !out)
        return -EINVAL;
    *out = NULL;
    int rc = adapter_enter();
    if (rc < 0)
        return rc;
    if (redis->loop != rota_loop_current())
        return -EPERM;
    if (redis->receiving)
        return -EBUSY;
    redis->receiving = true;
    rc = wait_for_message(redis);
    redis->receiving = false;
    if (rc == 0 && redis->messages) {
        *out = first_message(redis);
    } else if (rc == 0) {
        rc = redis->lost_one ? -ENOMEM : redis->error;
        redis->lost_one = false;
    }
    if (redis->closed)
        free(redis);
    return rc;
}
