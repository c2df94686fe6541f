/* Asking name servers: a resolver's core, and the questions that one task has under way. */
#ifndef ROTA_CORO_DNS_QUERY_H
#define ROTA_CORO_DNS_QUERY_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include "coro/dns_cache.h"
#include "coro/dns_config.h"
#include "coro/dns_message.h"
#include "coro/task.h"

/* What a rota_dns points to. Goes with rota_dns_close. */
struct rota__dns {
    rota_loop *loop;
    rota_dns_options options;        /* with paths and servers in memory of its own: */
    size_t size;                     /* of this block, with them behind it */
    struct rota__dns_files files;
    struct rota__dns_cache cache;
    struct rota__dns_lookup *lookups;
    unsigned next_server;            /* option rotate */
};

enum rota__dns_state {
    ROTA__DNS_START,                 /* the next server is to be asked */
    ROTA__DNS_WAITS_UDP, ROTA__DNS_CONNECTS, ROTA__DNS_SENDS_TCP, ROTA__DNS_WAITS_TCP,
    ROTA__DNS_DONE
};

/* One name and type, from server to server until there is an answer. */
struct rota__dns_question {
    struct rota__dns_lookup *lookup;
    struct rota__dns_name name;      /* moves along when the answer is an alias */
    unsigned type, aliases;
    enum rota__dns_state state;
    int result;                      /* of DONE: records of that type, 0: none; -ENOENT: no such name; an error */
    const uint8_t *answer;           /* of DONE with result > 0: the message that has them, */
    size_t answer_n;                 /* valid until rota__dns_lookup_end */
    uint32_t age;                    /* seconds that it has been in the cache */

    unsigned first, tried;           /* the server to begin with; how many tries were made */
    bool edns, tcp, news;
    int fd;                          /* -1: none */
    int64_t until;                   /* of this try */
    rota_watcher watcher;
    unsigned id, foreign;            /* messages that were none of ours, in this try */
    size_t query_n, moved;           /* bytes of the query; bytes sent, then received, over TCP */
    uint8_t length[2];               /* of the answer over TCP */
    uint8_t *tcp_answer;
    size_t tcp_size;
    uint8_t query[2 + ROTA__DNS_QUERY_MAX];         /* with its length before it, for TCP */
    uint8_t udp_answer[ROTA__DNS_UDP_MAX + 1];      /* a byte more, to see what is longer */
};

/* What one call is at. From the loop's allocator: buffers for two answers are too much for a small stack. */
struct rota__dns_lookup {
    struct rota__wait wait;          /* first: leave finds the rest by it */
    rota_task *task;
    rota_loop *loop;
    struct rota__dns *core;          /* NULL: it has been closed */
    struct rota__dns_lookup *next, **prev;
    struct rota__dns_config *config;
    bool parked;
    unsigned n;
    struct rota__dns_question questions[2];
};

/* NULL without memory. */
struct rota__dns_lookup *rota__dns_lookup_begin(struct rota__dns *core, rota_task *task);
void rota__dns_lookup_end(struct rota__dns_lookup *lookup);

/* A question to be asked with the next rota__dns_ask, which forgets earlier ones. */
void rota__dns_question_add(struct rota__dns_lookup *lookup, const struct rota__dns_name *name, unsigned type);
void rota__dns_questions_forget(struct rota__dns_lookup *lookup);

/* (S) Until all questions are done. 0; -ECANCELED; -ESHUTDOWN: core is gone. The caller has passed rota__enter. */
int rota__dns_ask(struct rota__dns_lookup *lookup);

/* The core is about to go: lookups end with -ESHUTDOWN. */
void rota__dns_lookups_close(struct rota__dns *core);

#endif
