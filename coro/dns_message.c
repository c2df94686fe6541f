/* DNS messages: building a question, judging an answer, reading its records (RFC 1035, 4).
 *
 * Everything here comes from the network and may be made by somebody who wants harm. Invariants: no byte outside of
 * [msg, msg + n) is read; every loop is bounded by bytes that it consumes; a compression pointer must point to before
 * the place where the name (or the last jump) began, so that following them ends without being counted; and
 * rota__dns_check has walked through all sections before anybody else sees a record.
 *
 * It must not know of sockets, servers or time.
 */
#include "coro/dns_message.h"

#include <errno.h>
#include <string.h>

#include "rota/dns.h"

/* ---- names as text ---- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* One byte of a label, perhaps escaped (RFC 1035, 5.1); how many characters it took, or -EINVAL. */
static int text_byte(const char *text, uint8_t *byte) {
    if (text[0] != '\\') {
        *byte = (uint8_t)text[0];
        return 1;
    }
    if (!text[1])
        return -EINVAL;
    if (!is_digit(text[1])) {
        *byte = (uint8_t)text[1];
        return 2;
    }
    if (!is_digit(text[2]) || !is_digit(text[3]))
        return -EINVAL;
    int value = (text[1] - '0') * 100 + (text[2] - '0') * 10 + (text[3] - '0');
    *byte = (uint8_t)value;
    return value <= 255 ? 4 : -EINVAL;
}

int rota__dns_name_parse(struct rota__dns_name *name, const char *text) {
    unsigned label = 0, at = 1; /* where the label's length stands, and the next byte goes */
    name->n = 0;
    if (text[0] == '.' && !text[1]) {
        name->wire[0] = 0;
        name->n = 1;
        return 0;
    }
    while (*text) {
        uint8_t byte;
        int took = text_byte(text, &byte);
        if (took < 0)
            return took;
        bool ends = *text == '.';
        text += took;
        if (ends) {
            if (at == label + 1)
                return -EINVAL;
            name->wire[label] = (uint8_t)(at - label - 1);
            label = at++;
        } else {
            if (at - label > ROTA__DNS_LABEL_MAX || at >= ROTA__DNS_NAME_MAX - 1)
                return -ENAMETOOLONG;
            name->wire[at++] = byte;
        }
    }
    if (at == 1)
        return -EINVAL;
    if (at > label + 1) { /* no dot at the end */
        name->wire[label] = (uint8_t)(at - label - 1);
        label = at;
    }
    name->wire[label] = 0;
    name->n = label + 1;
    return 0;
}

/* The text of one byte: 1, 2 or 4 characters. */
static unsigned byte_text(uint8_t byte, char text[4]) {
    if (byte <= ' ' || byte >= 0x7f) {
        text[0] = '\\';
        text[1] = (char)('0' + byte / 100);
        text[2] = (char)('0' + byte / 10 % 10);
        text[3] = (char)('0' + byte % 10);
        return 4;
    }
    unsigned n = 0;
    if (byte == '.' || byte == '\\')
        text[n++] = '\\';
    text[n++] = (char)byte;
    return n;
}

int rota__dns_name_print(const struct rota__dns_name *name, char *text, size_t size) {
    size_t used = 0;
    for (unsigned at = 0; name->wire[at]; at += name->wire[at] + 1u) {
        for (unsigned i = 0; i <= name->wire[at]; i++) {
            char piece[4] = ".";
            unsigned n = i == 0 ? at > 0 : byte_text(name->wire[at + i], piece);
            if (n >= size - used)
                return -ENOBUFS;
            memcpy(text + used, piece, n);
            used += n;
        }
    }
    if (used == 0 && size > 1)
        text[used++] = '.';
    if (used >= size || used == 0)
        return -ENOBUFS;
    text[used] = '\0';
    return (int)used;
}

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

/* Lengths of labels are below 'A', so one loop serves for them too. */
bool rota__dns_name_equal(const struct rota__dns_name *a, const struct rota__dns_name *b) {
    if (a->n != b->n)
        return false;
    for (unsigned i = 0; i < a->n; i++)
        if (lower(a->wire[i]) != lower(b->wire[i]))
            return false;
    return true;
}

/* ---- names in messages ---- */

int rota__dns_name_read(const uint8_t *msg, size_t n, size_t at, struct rota__dns_name *name) {
    size_t began = at, before = at, took = 0; /* took: bytes at `began`, once the first pointer was met */
    name->n = 0;
    for (;;) {
        if (at >= n)
            return -EBADMSG;
        uint8_t length = msg[at];
        if (length >= 0xc0) {
            if (n - at < 2)
                return -EBADMSG;
            took = took ? took : at + 2 - began;
            at = rota__dns_u16(msg + at) & 0x3fff;
            if (at >= before || at < ROTA__DNS_HEADER)
                return -EBADMSG;
            before = at;
            continue;
        }
        /* 0x40 and 0x80 were kinds of labels once, or never (RFC 6891, 5). */
        if (length > ROTA__DNS_LABEL_MAX || n - at < length + 1u || name->n + length + 1u > ROTA__DNS_NAME_MAX)
            return -EBADMSG;
        memcpy(name->wire + name->n, msg + at, length + 1u);
        name->n += length + 1u;
        at += length + 1u;
        if (length == 0)
            return (int)(took ? took : at - began);
        if (name->n == ROTA__DNS_NAME_MAX)
            return -EBADMSG; /* no room for the root */
    }
}

/* ---- the question ---- */

static uint8_t *put16(uint8_t *p, unsigned v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return p + 2;
}

enum { FLAG_RESPONSE = 0x8000, FLAGS_OPCODE = 0x7800, FLAG_AUTHORITY = 0x400, FLAG_TRUNCATED = 0x200,
       FLAG_RECURSION = 0x100, FLAG_RECURSION_AVAILABLE = 0x80 };

size_t rota__dns_build(uint8_t *buf, unsigned id, const struct rota__dns_name *name, unsigned type, bool edns) {
    uint8_t *p = put16(put16(buf, id), FLAG_RECURSION);
    p = put16(put16(p, 1), 0);
    p = put16(put16(p, 0), edns);
    memcpy(p, name->wire, name->n);
    p = put16(put16(p + name->n, type), ROTA__DNS_CLASS_IN);
    if (edns) { /* RFC 6891, 6.1.2: the root, OPT, our UDP size as class; version and flags 0, no options */
        *p++ = 0;
        p = put16(put16(p, ROTA__DNS_TYPE_OPT), ROTA__DNS_UDP_MAX);
        memset(p, 0, 6);
        p += 6;
    }
    return (size_t)(p - buf);
}

/* ---- records ---- */

static int record_read(const uint8_t *msg, size_t n, size_t at, struct rota__dns_record *r) {
    int took = rota__dns_name_read(msg, n, at, &r->name);
    if (took < 0)
        return took;
    at += (size_t)took;
    if (n - at < 10)
        return -EBADMSG;
    r->type = rota__dns_u16(msg + at);
    r->class = rota__dns_u16(msg + at + 2);
    r->ttl = rota__dns_u32(msg + at + 4);
    r->data_n = rota__dns_u16(msg + at + 8);
    r->data = at + 10;
    r->end = r->data + r->data_n;
    if (r->ttl > INT32_MAX)
        r->ttl = 0; /* RFC 2181, 8 */
    return n - r->data < r->data_n ? -EBADMSG : 0;
}

/* A name at this place of the contents, that ends where they end. */
static bool ends_with_name(const uint8_t *msg, size_t n, const struct rota__dns_record *r, size_t skip) {
    struct rota__dns_name name;
    if (r->data_n < skip)
        return false;
    /* Up to the end of the contents only, though pointers lead to before them. */
    int took = rota__dns_name_read(msg, r->end < n ? r->end : n, r->data + skip, &name);
    return took >= 0 && (size_t)took + skip == r->data_n;
}

/* RFC 1035, 3.3.14: strings that fill the contents, at least one. */
static bool are_strings(const uint8_t *data, size_t n) {
    size_t at = 0;
    while (at < n)
        at += data[at] + 1u;
    return n > 0 && at == n;
}

static bool soa_minimum(const uint8_t *msg, size_t n, const struct rota__dns_record *r, uint32_t *minimum) {
    struct rota__dns_name name;
    size_t at = r->data;
    for (int i = 0; i < 2; i++) {
        int took = rota__dns_name_read(msg, r->end < n ? r->end : n, at, &name);
        if (took < 0)
            return false;
        at += (size_t)took;
    }
    if (r->end - at != 20)
        return false;
    *minimum = rota__dns_u32(msg + at + 16);
    return true;
}

/* Are the contents what the type says? Types that we do not know are any bytes. */
static bool is_sound(const uint8_t *msg, size_t n, const struct rota__dns_record *r) {
    uint32_t minimum;
    if (r->class != ROTA__DNS_CLASS_IN)
        return true;
    switch (r->type) {
    case ROTA_DNS_A:
        return r->data_n == 4;
    case ROTA_DNS_AAAA:
        return r->data_n == 16;
    case ROTA_DNS_NS: case ROTA_DNS_CNAME: case ROTA_DNS_PTR:
        return ends_with_name(msg, n, r, 0);
    case ROTA_DNS_MX:
        return ends_with_name(msg, n, r, 2);
    case ROTA_DNS_SRV:
        return ends_with_name(msg, n, r, 6);
    case ROTA_DNS_TXT:
        return are_strings(msg + r->data, r->data_n);
    case ROTA__DNS_TYPE_SOA:
        return soa_minimum(msg, n, r, &minimum);
    default:
        return true;
    }
}

/* ---- judging an answer ---- */

static unsigned flags_of(const uint8_t *msg) { return rota__dns_u16(msg + 2); }

/* RFC 5452, 9.1: id and question are those that were sent (the address is the connected socket's business). A server
 * that refuses may leave the question out: the worst that can come of it is another server being asked. */
static bool is_ours(const uint8_t *msg, size_t n, unsigned id, const struct rota__dns_name *name, unsigned type,
                    size_t *at) {
    struct rota__dns_name asked;
    if (n < ROTA__DNS_HEADER || rota__dns_u16(msg) != id ||
        (flags_of(msg) & (FLAG_RESPONSE | FLAGS_OPCODE)) != FLAG_RESPONSE)
        return false;
    unsigned questions = rota__dns_u16(msg + 4), rcode = flags_of(msg) & 15;
    *at = ROTA__DNS_HEADER;
    if (questions == 0)
        return rcode != ROTA__DNS_NOERROR && rcode != ROTA__DNS_NXDOMAIN;
    int took = questions == 1 ? rota__dns_name_read(msg, n, *at, &asked) : -EBADMSG;
    if (took < 0 || n - *at < (size_t)took + 4)
        return false;
    *at += (size_t)took + 4;
    return rota__dns_name_equal(&asked, name) && rota__dns_u16(msg + *at - 4) == type &&
           rota__dns_u16(msg + *at - 2) == ROTA__DNS_CLASS_IN;
}

enum section { ANSWERS, AUTHORITY, ADDITIONAL };

/* What one record adds to what is known of the whole. */
static bool note(const uint8_t *msg, size_t n, enum section section, const struct rota__dns_record *r,
                 struct rota__dns_head *head, uint32_t *negative) {
    uint32_t minimum;
    if (r->type == ROTA__DNS_TYPE_OPT && section == ADDITIONAL) {
        head->rcode |= (r->ttl >> 24) << 4;
        return r->name.n == 1;
    }
    if (!is_sound(msg, n, r))
        return false;
    if (section == ANSWERS && r->ttl < head->ttl)
        head->ttl = r->ttl;
    if (section == AUTHORITY && r->type == ROTA__DNS_TYPE_SOA && r->class == ROTA__DNS_CLASS_IN && !head->has_soa) {
        if (!soa_minimum(msg, n, r, &minimum))
            return false;
        head->has_soa = true;
        *negative = minimum < r->ttl ? minimum : r->ttl; /* RFC 2308, 5 */
    }
    return true;
}

static bool walk_all(const uint8_t *msg, size_t n, size_t at, struct rota__dns_head *head, uint32_t *negative) {
    struct rota__dns_record r;
    for (int section = ANSWERS; section <= ADDITIONAL; section++)
        for (unsigned left = rota__dns_u16(msg + 6 + 2 * section); left > 0; left--) {
            if (record_read(msg, n, at, &r) < 0 || !note(msg, n, (enum section)section, &r, head, negative))
                return false;
            at = r.end;
        }
    return true;
}

enum rota__dns_verdict rota__dns_check(const uint8_t *msg, size_t n, unsigned id, const struct rota__dns_name *name,
                                       unsigned type, struct rota__dns_head *head) {
    size_t at;
    uint32_t negative = 0;
    if (!is_ours(msg, n, id, name, type, &at))
        return ROTA__DNS_FOREIGN;
    *head = (struct rota__dns_head){ .rcode = flags_of(msg) & 15, .ttl = INT32_MAX };
    if (flags_of(msg) & FLAG_TRUNCATED)
        return ROTA__DNS_CUT;
    if (!walk_all(msg, n, at, head, &negative))
        return ROTA__DNS_BROKEN;
    head->is_lame = head->rcode == ROTA__DNS_NOERROR && rota__dns_u16(msg + 6) == 0 && !head->has_soa &&
                    !(flags_of(msg) & (FLAG_AUTHORITY | FLAG_RECURSION_AVAILABLE));
    /* No answer, or an alias without what it stands for: remembered only as long as the SOA allows. */
    if (head->rcode == ROTA__DNS_NXDOMAIN || head->has_soa || head->ttl == INT32_MAX)
        head->ttl = negative < head->ttl ? negative : head->ttl;
    return ROTA__DNS_ANSWER;
}

/* ---- the answers of a message that was checked ---- */

void rota__dns_walk_answers(struct rota__dns_walk *walk, const uint8_t *msg, size_t n) {
    struct rota__dns_name asked;
    *walk = (struct rota__dns_walk){ .msg = msg, .n = n, .at = ROTA__DNS_HEADER, .left = rota__dns_u16(msg + 6) };
    if (rota__dns_u16(msg + 4)) {
        int took = rota__dns_name_read(msg, n, walk->at, &asked);
        walk->left = took < 0 ? 0 : walk->left;
        walk->at += took < 0 ? 0 : (size_t)took + 4;
    }
}

bool rota__dns_walk_next(struct rota__dns_walk *walk, struct rota__dns_record *record) {
    if (walk->left == 0 || record_read(walk->msg, walk->n, walk->at, record) < 0)
        return false;
    walk->left--;
    walk->at = record->end;
    return true;
}

bool rota__dns_walk_find(struct rota__dns_walk *walk, const struct rota__dns_name *name, unsigned type,
                         struct rota__dns_record *record) {
    while (rota__dns_walk_next(walk, record))
        if (record->type == type && record->class == ROTA__DNS_CLASS_IN && rota__dns_name_equal(&record->name, name))
            return true;
    return false;
}

static int count(const uint8_t *msg, size_t n, const struct rota__dns_name *name, unsigned type) {
    struct rota__dns_walk walk;
    struct rota__dns_record r;
    int found = 0;
    rota__dns_walk_answers(&walk, msg, n);
    while (rota__dns_walk_find(&walk, name, type, &r))
        found++;
    return found;
}

/* Servers may put the records in any order, so each step looks through all of them. */
int rota__dns_follow(const uint8_t *msg, size_t n, struct rota__dns_name *name, unsigned type, unsigned *aliases) {
    struct rota__dns_walk walk;
    struct rota__dns_record r;
    for (;;) {
        int found = count(msg, n, name, type);
        rota__dns_walk_answers(&walk, msg, n);
        if (found > 0 || type == ROTA_DNS_CNAME || !rota__dns_walk_find(&walk, name, ROTA_DNS_CNAME, &r))
            return found;
        if (++*aliases > ROTA__DNS_ALIASES_MAX)
            return -ELOOP;
        if (rota__dns_name_read(msg, n, r.data, name) < 0)
            return -EBADMSG; /* cannot be: it was checked */
    }
}
