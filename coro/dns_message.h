/* DNS messages: names, questions, and what an answer says (RFC 1035, 4). Memory only: no socket, no loop. */
#ifndef ROTA_CORO_DNS_MESSAGE_H
#define ROTA_CORO_DNS_MESSAGE_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ROTA__DNS_LABEL_MAX = 63, ROTA__DNS_NAME_MAX = 255,       /* RFC 1035, 2.3.4; the name with its lengths and root */
    ROTA__DNS_TEXT_MAX = 4 * ROTA__DNS_NAME_MAX + 1,          /* of a name, every byte as \DDD, with the NUL */
    ROTA__DNS_HEADER = 12,
    ROTA__DNS_QUERY_MAX = ROTA__DNS_HEADER + ROTA__DNS_NAME_MAX + 4 + 11,
    ROTA__DNS_UDP_MAX = 1232,                                 /* RFC 9715: fits in a packet that nobody fragments */
    ROTA__DNS_MESSAGE_MAX = 65535,
    ROTA__DNS_ALIASES_MAX = 16
};

enum {
    ROTA__DNS_NOERROR = 0, ROTA__DNS_FORMERR = 1, ROTA__DNS_SERVFAIL = 2, ROTA__DNS_NXDOMAIN = 3, ROTA__DNS_NOTIMP = 4,
    ROTA__DNS_REFUSED = 5, ROTA__DNS_BADVERS = 16
};
enum { ROTA__DNS_TYPE_SOA = 6, ROTA__DNS_TYPE_OPT = 41, ROTA__DNS_CLASS_IN = 1 };

/* Labels with their lengths, the root's 0 at the end. Never compressed. */
struct rota__dns_name {
    unsigned n;
    uint8_t wire[ROTA__DNS_NAME_MAX];
};

/* From text: labels between dots, \DDD and \c for bytes that mean something else; a dot at the end may be there.
 * 0, -EINVAL (empty, an empty label, a bad escape), -ENAMETOOLONG. */
int rota__dns_name_parse(struct rota__dns_name *name, const char *text);

/* To text, at most `size` bytes with the NUL: its length without; -ENOBUFS. */
int rota__dns_name_print(const struct rota__dns_name *name, char *text, size_t size);

/* ASCII letters are the same in either case (RFC 4343), all else is compared as it is. */
bool rota__dns_name_equal(const struct rota__dns_name *a, const struct rota__dns_name *b);

/* The name at msg[at]: how many bytes it takes there; -EBADMSG. */
int rota__dns_name_read(const uint8_t *msg, size_t n, size_t at, struct rota__dns_name *name);

/* Writes a question to buf (ROTA__DNS_QUERY_MAX bytes); its length. */
size_t rota__dns_build(uint8_t *buf, unsigned id, const struct rota__dns_name *name, unsigned type, bool edns);

/* What a message is to the one who asked for `name` and `type` with `id`. */
enum rota__dns_verdict {
    ROTA__DNS_FOREIGN,      /* no answer to this question: to be ignored */
    ROTA__DNS_BROKEN,       /* an answer that breaks the rules */
    ROTA__DNS_CUT,          /* truncated: to be asked for over TCP */
    ROTA__DNS_ANSWER
};
struct rota__dns_head {
    unsigned rcode;         /* with the upper bits, of EDNS */
    uint32_t ttl;           /* seconds the answer may be remembered; 0: not at all */
    bool has_soa;           /* it says itself that there is no more to be had (RFC 2308, 2.2) */
    bool is_lame;           /* neither knows nor asks others: no answer, no authority, no recursion */
};
enum rota__dns_verdict rota__dns_check(const uint8_t *msg, size_t n, unsigned id, const struct rota__dns_name *name,
                                       unsigned type, struct rota__dns_head *head);

/* Of a message that was checked. Moves name along the aliases (CNAME) that the message has for it, and counts them in
 * *aliases; how many records of `type` it has for the last one; -ELOOP past ROTA__DNS_ALIASES_MAX. */
int rota__dns_follow(const uint8_t *msg, size_t n, struct rota__dns_name *name, unsigned type, unsigned *aliases);

/* Walks through the records of the answer section of a message that was checked. */
struct rota__dns_record {
    struct rota__dns_name name;
    unsigned type, class;
    uint32_t ttl;
    size_t data, data_n;    /* where in the message */
    size_t end;             /* of the record */
};
struct rota__dns_walk {
    const uint8_t *msg;
    size_t n, at;
    unsigned left;
};
void rota__dns_walk_answers(struct rota__dns_walk *walk, const uint8_t *msg, size_t n);
bool rota__dns_walk_next(struct rota__dns_walk *walk, struct rota__dns_record *record);

/* The next one of `type` that belongs to `name`. */
bool rota__dns_walk_find(struct rota__dns_walk *walk, const struct rota__dns_name *name, unsigned type,
                         struct rota__dns_record *record);

static inline unsigned rota__dns_u16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }
static inline uint32_t rota__dns_u32(const uint8_t *p) {
    return (uint32_t)rota__dns_u16(p) << 16 | rota__dns_u16(p + 2);
}

#endif
