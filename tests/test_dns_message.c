/* DNS messages as bytes: names, questions, answers; and 20,000 answers with bytes changed, which must neither be read
 * beyond their end nor keep the parser for long. */
#include "coro/dns_message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rota/dns.h"
#include "tests/harness.h"

/* ---- names ---- */

static int parse_and_print(const char *text, char *printed, size_t size) {
    struct rota__dns_name name;
    int rc = rota__dns_name_parse(&name, text);
    return rc < 0 ? rc : rota__dns_name_print(&name, printed, size);
}

Test(dns_message, names_become_text_again) {
    static const char *const cases[][2] = {
        { "example.org", "example.org" }, { "Example.ORG.", "Example.ORG" }, { ".", "." }, { "a", "a" },
        { "_sip._tcp.example", "_sip._tcp.example" }, { "a\\.b.c", "a\\.b.c" }, { "a\\\\b", "a\\\\b" },
        { "a\\032b", "a\\032b" }, { "\\000\\255.x", "\\000\\255.x" },
        { "0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa" },
        { "\\097", "a" },
    };
    char text[ROTA__DNS_TEXT_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(parse_and_print(cases[i][0], text, sizeof text), (int)strlen(cases[i][1]), "%s", cases[i][0]);
        cr_expect_str_eq(text, cases[i][1]);
    }
}

Test(dns_message, bad_names) {
    static const char *const cases[] = { "", ".a", "a..b", "..", "a\\", "a\\25", "a\\256", "a\\1x2" };
    char text[ROTA__DNS_TEXT_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(parse_and_print(cases[i], text, sizeof text), -EINVAL, "'%s'", cases[i]);
}

Test(dns_message, lengths_of_names) {
    char text[400], printed[ROTA__DNS_TEXT_MAX];
    memset(text, 'a', sizeof text);
    text[63] = 0;
    cr_expect_eq(parse_and_print(text, printed, sizeof printed), 63);
    text[63] = 'a';
    text[64] = 0;
    cr_expect_eq(parse_and_print(text, printed, sizeof printed), -ENAMETOOLONG);
    text[64] = 'a';
    text[63] = text[127] = text[191] = '.';
    text[253] = 0;
    cr_expect_eq(parse_and_print(text, printed, sizeof printed), 253);
    text[253] = 'a';
    text[254] = 0;
    cr_expect_eq(parse_and_print(text, printed, sizeof printed), -ENAMETOOLONG);
    text[253] = '.';
    cr_expect_eq(parse_and_print(text, printed, sizeof printed), 253, "a dot at the end is none of its bytes");
}

Test(dns_message, printing_needs_room) {
    struct rota__dns_name name;
    char text[16];
    cr_assert_eq(rota__dns_name_parse(&name, "ab.cd"), 0);
    for (size_t size = 0; size <= 5; size++)
        cr_expect_eq(rota__dns_name_print(&name, text, size), -ENOBUFS);
    cr_expect_eq(rota__dns_name_print(&name, text, 6), 5);
    cr_assert_eq(rota__dns_name_parse(&name, "."), 0);
    cr_expect_eq(rota__dns_name_print(&name, text, 1), -ENOBUFS);
    cr_expect_eq(rota__dns_name_print(&name, text, 2), 1);
}

Test(dns_message, names_are_equal_in_either_case) {
    struct rota__dns_name a, b;
    cr_assert_eq(rota__dns_name_parse(&a, "eXaMpLe.org"), 0);
    cr_assert_eq(rota__dns_name_parse(&b, "Example.ORG."), 0);
    cr_expect(rota__dns_name_equal(&a, &b));
    cr_assert_eq(rota__dns_name_parse(&b, "Example.ORG.x"), 0);
    cr_expect(!rota__dns_name_equal(&a, &b));
    cr_assert_eq(rota__dns_name_parse(&a, "a[b"), 0);
    cr_assert_eq(rota__dns_name_parse(&b, "a{b"), 0);
    cr_expect(!rota__dns_name_equal(&a, &b), "only letters");
}

/* ---- names in messages ---- */

static int read_at(const char *bytes, size_t n, size_t at, char *text) {
    uint8_t msg[600] = { 0 };
    struct rota__dns_name name;
    memcpy(msg + ROTA__DNS_HEADER, bytes, n);
    int took = rota__dns_name_read(msg, ROTA__DNS_HEADER + n, ROTA__DNS_HEADER + at, &name);
    if (took >= 0 && text)
        cr_assert_gt(rota__dns_name_print(&name, text, ROTA__DNS_TEXT_MAX), 0);
    return took;
}

Test(dns_message, compressed_names) {
    char text[ROTA__DNS_TEXT_MAX];
    cr_expect_eq(read_at("\1a\1b\0", 5, 0, text), 5);
    cr_expect_str_eq(text, "a.b");
    cr_expect_eq(read_at("\1a\1b\0\1c\xc0\x0c", 9, 5, text), 4);
    cr_expect_str_eq(text, "c.a.b");
    cr_expect_eq(read_at("\1a\1b\0\1c\xc0\x0e\xc0\x11", 11, 9, text), 2, "a pointer to a pointer");
    cr_expect_str_eq(text, "c.b");
    cr_expect_eq(read_at("\0", 1, 0, text), 1);
}

Test(dns_message, bad_compression) {
    static const struct { const char *bytes; size_t n, at; } cases[] = {
        { "\xc0\x0c", 2, 0 },                   /* to itself */
        { "\1a\xc0\x0c", 4, 0 },                /* back to its own beginning */
        { "\xc0\x0e\xc0\x0c", 4, 0 },           /* forward, and back */
        { "\xc0\x0e\xc0\x0c", 4, 2 },
        { "\xc0\x00", 2, 0 },                   /* into the header */
        { "\xff\xff", 2, 0 }, { "\xc0", 1, 0 }, { "\3ab", 3, 0 }, { "\1a", 2, 0 }, { "", 0, 0 },
        { "\x41\0", 2, 0 }, { "\x80\0", 2, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(read_at(cases[i].bytes, cases[i].n, cases[i].at, NULL), -EBADMSG, "case %zu", i);
}

Test(dns_message, the_longest_name_in_a_message) {
    char bytes[300];
    memset(bytes, 'a', sizeof bytes);
    bytes[0] = bytes[64] = bytes[128] = 63;
    bytes[192] = 61;
    bytes[254] = 0;
    cr_expect_eq(read_at(bytes, 255, 0, NULL), 255);
    bytes[192] = 62;
    bytes[255] = 0;
    cr_expect_eq(read_at(bytes, 256, 0, NULL), -EBADMSG);
}

/* ---- questions and answers ---- */

Test(dns_message, a_question) {
    static const uint8_t wanted[] = { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 'a', 0, 0, 28, 0, 1,
                                      0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0 };
    uint8_t query[ROTA__DNS_QUERY_MAX];
    struct rota__dns_name name;
    cr_assert_eq(rota__dns_name_parse(&name, "a"), 0);
    cr_assert_eq(rota__dns_build(query, 0x1234, &name, ROTA_DNS_AAAA, true), sizeof wanted);
    cr_expect_eq(memcmp(query, wanted, sizeof wanted), 0);
    cr_assert_eq(rota__dns_build(query, 0x1234, &name, ROTA_DNS_AAAA, false), sizeof wanted - 11);
}

/* a.b: an alias of c.b, which has an address; SOA, OPT. With compression, as servers write it. */
static const uint8_t sample[] = {
    0x12, 0x34, 0x81, 0x80, 0, 1, 0, 3, 0, 1, 0, 1,
    1, 'a', 1, 'b', 0, 0, 1, 0, 1,
    0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 'c', 0xc0, 14,
    0xc0, 33, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 1,
    0xc0, 33, 0, 16, 0, 1, 0, 0, 0, 90, 0, 5, 1, 'x', 2, 'y', 'z',
    0xc0, 14, 0, 6, 0, 1, 0, 0, 1, 0, 0, 24, 0xc0, 14, 0xc0, 14,
    0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 20,
    0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0,
};

static struct rota__dns_name asked(const char *text) {
    struct rota__dns_name name;
    cr_assert_eq(rota__dns_name_parse(&name, text), 0);
    return name;
}

Test(dns_message, an_answer) {
    struct rota__dns_name name = asked("A.b");
    struct rota__dns_head head;
    unsigned aliases = 0;
    cr_assert_eq(rota__dns_check(sample, sizeof sample, 0x1234, &name, ROTA_DNS_A, &head), ROTA__DNS_ANSWER);
    cr_expect_eq(head.rcode, 0u);
    cr_expect_eq(head.ttl, 20u, "the least of all, and of the SOA");
    cr_expect(head.has_soa);
    cr_expect(!head.is_lame);
    cr_expect_eq(rota__dns_follow(sample, sizeof sample, &name, ROTA_DNS_A, &aliases), 1);
    cr_expect_eq(aliases, 1u);
    struct rota__dns_walk walk;
    struct rota__dns_record r;
    rota__dns_walk_answers(&walk, sample, sizeof sample);
    cr_assert(rota__dns_walk_find(&walk, &name, ROTA_DNS_A, &r));
    cr_expect_eq(memcmp(sample + r.data, "\xc0\0\2\1", 4), 0);
    cr_expect(!rota__dns_walk_find(&walk, &name, ROTA_DNS_A, &r));
}

Test(dns_message, every_shorter_answer_is_broken_or_none) {
    struct rota__dns_name name = asked("a.b");
    struct rota__dns_head head;
    for (size_t n = 0; n < sizeof sample; n++) {
        uint8_t *copy = malloc(n ? n : 1);   /* so that a read past the end is seen */
        memcpy(copy, sample, n);
        enum rota__dns_verdict v = rota__dns_check(copy, n, 0x1234, &name, ROTA_DNS_A, &head);
        cr_expect_eq(v, n < 21 ? ROTA__DNS_FOREIGN : ROTA__DNS_BROKEN, "%zu bytes", n);
        free(copy);
    }
}

static enum rota__dns_verdict check_with(size_t at, uint8_t value, struct rota__dns_head *head) {
    uint8_t copy[sizeof sample];
    struct rota__dns_name name = asked("a.b");
    memcpy(copy, sample, sizeof sample);
    copy[at] = value;
    return rota__dns_check(copy, sizeof copy, 0x1234, &name, ROTA_DNS_A, head);
}

Test(dns_message, one_byte_decides) {
    struct rota__dns_head head;
    cr_expect_eq(check_with(0, 0x13, &head), ROTA__DNS_FOREIGN, "id");
    cr_expect_eq(check_with(2, 0x01, &head), ROTA__DNS_FOREIGN, "a question");
    cr_expect_eq(check_with(2, 0x91, &head), ROTA__DNS_FOREIGN, "opcode");
    cr_expect_eq(check_with(2, 0x83, &head), ROTA__DNS_CUT, "TC");
    cr_expect_eq(check_with(5, 2, &head), ROTA__DNS_FOREIGN, "two questions");
    cr_expect_eq(check_with(13, 'A', &head), ROTA__DNS_ANSWER, "either case");
    cr_expect_eq(check_with(13, 'x', &head), ROTA__DNS_FOREIGN, "another name");
    cr_expect_eq(check_with(18, 28, &head), ROTA__DNS_FOREIGN, "another type");
    cr_expect_eq(check_with(20, 3, &head), ROTA__DNS_FOREIGN, "another class");
    cr_expect_eq(check_with(48, 5, &head), ROTA__DNS_BROKEN, "an address of 5 bytes");
    cr_expect_eq(check_with(65, 3, &head), ROTA__DNS_BROKEN, "a string past its record");
    cr_expect_eq(check_with(43, 0x80, &head), ROTA__DNS_ANSWER);
    cr_expect_eq(head.ttl, 0u, "a negative time to live is none: RFC 2181, 8");
    cr_expect_eq(check_with(sizeof sample - 6, 1, &head), ROTA__DNS_ANSWER);
    cr_expect_eq(head.rcode, 16u, "the upper bits are in OPT");
}

/* Deterministic: the same 20,000 packets in every run. */
static uint32_t seed;

static uint32_t next_random(void) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    return seed ^= seed << 5;
}

/* Everything that would be done with an answer. */
static void use(const uint8_t *msg, size_t n) {
    static const unsigned types[] = { ROTA_DNS_A, ROTA_DNS_CNAME, ROTA_DNS_TXT, ROTA__DNS_TYPE_SOA };
    struct rota__dns_name name = asked("a.b");
    struct rota__dns_head head;
    struct rota__dns_walk walk;
    struct rota__dns_record r;
    char text[ROTA__DNS_TEXT_MAX];
    if (rota__dns_check(msg, n, 0x1234, &name, ROTA_DNS_A, &head) != ROTA__DNS_ANSWER)
        return;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        unsigned aliases = 0;
        struct rota__dns_name at = name;
        int found = rota__dns_follow(msg, n, &at, types[i], &aliases);
        cr_assert(found >= 0 || found == -ELOOP);
        cr_assert_gt(rota__dns_name_print(&at, text, sizeof text), 0);
        rota__dns_walk_answers(&walk, msg, n);
        for (int k = 0; k < found; k++) {
            cr_assert(rota__dns_walk_find(&walk, &at, types[i], &r));
            cr_assert_leq(r.data + r.data_n, n);
        }
    }
}

Test(dns_message, twenty_thousand_changed_answers) {
    size_t passed = 0;
    seed = 2463534242u;
    for (int i = 0; i < 20000; i++) {
        size_t n = sizeof sample - (i % 4 == 3 ? next_random() % sizeof sample : 0);
        uint8_t *copy = malloc(n);
        memcpy(copy, sample, n);
        for (uint32_t changes = next_random() % 4 + 1; changes > 0; changes--) {
            size_t at = next_random() % n;
            copy[at] = next_random() % 3 ? (uint8_t)next_random() : (uint8_t)(0xc0 | (next_random() & 1));
        }
        if (i % 2 && n > ROTA__DNS_HEADER + 9)
            memcpy(copy, sample, ROTA__DNS_HEADER + 9); /* it is ours: what follows is looked at */
        use(copy, n);
        passed++;
        free(copy);
    }
    cr_expect_eq(passed, 20000u);
}
