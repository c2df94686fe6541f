/* A name server of ours, for tests: tasks on the test's own loop, on UDP and TCP of one port of loopback. It knows a
 * small zone, and it answers badly on purpose for names under "bad": see dns_kit.c for what each of them does.
 *
 *     static intptr_t body(void *unused) {
 *         struct dns_kit kit;
 *         dns_kit_start(&kit);
 *         ...
 *         dns_kit_stop(&kit);
 */
#ifndef ROTA_TESTS_DNS_KIT_H
#define ROTA_TESTS_DNS_KIT_H

#include "coro/dns_message.h"
#include "rota/dns.h"
#include "tests/net_kit.h"

enum { DNS_KIT_MAX = 65535, DNS_KIT_LOG = 4096 };

struct dns_kit {
    rota_address address;           /* what to ask */
    int udp, tcp;
    rota_task *udp_task, *tcp_task;
    int queries, tcp_queries;       /* how many came; UDP's, TCP's */
    bool silent;                    /* answers nothing */
    int rcode;                      /* answers all with this one, if not 0 */
    bool no_edns;                   /* refuses questions with EDNS: FORMERR */
    int edns_queries;
    char log[DNS_KIT_LOG];          /* "name/type " for each question that came */
};

/* A question, and the answer that is made for it. */
struct dns_exchange {
    struct dns_kit *kit;
    int fd;
    bool tcp, edns, without_tasks;
    struct sockaddr_storage from;   /* of UDP */
    socklen_t from_len;
    unsigned id, type;
    struct rota__dns_name name;
    char text[ROTA__DNS_TEXT_MAX];
    size_t n;
    uint8_t reply[DNS_KIT_MAX];
};

/* Inside a task. */
void dns_kit_start(struct dns_kit *kit);
void dns_kit_stop(struct dns_kit *kit);

/* Without tasks, with the system's own calls alone: the sockets; what has come is answered (false: nothing). */
void dns_kit_open(struct dns_kit *kit);
void dns_kit_close(struct dns_kit *kit);
bool dns_kit_answer_now(struct dns_kit *kit);

/* How often this text stands in the log. */
int dns_kit_asked(const struct dns_kit *kit, const char *text);

/* Makes a reply: a header with the question, then records. */
void dns_reply_begin(struct dns_exchange *x, int rcode);
void dns_reply_record(struct dns_exchange *x, const char *name, unsigned type, uint32_t ttl, const void *data,
                      size_t n);
void dns_reply_a(struct dns_exchange *x, const char *name, const char *address);
void dns_reply_alias(struct dns_exchange *x, const char *name, const char *target);
void dns_reply_send(struct dns_exchange *x);

/* What the zone says of the question, into x->reply. */
void dns_kit_zone(struct dns_exchange *x);

/* A resolver that asks these servers, and reads no file. timeout 0: 5 s. */
rota_dns_options dns_kit_options(const struct dns_kit *kit);

/* An address as text, for comparisons: "192.0.2.1:80", "2001:db8::1:80"; valid until the fourth next call. */
const char *dns_text(const rota_address *address);

#endif
