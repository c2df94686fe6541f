/* A name server that answers badly on purpose: each kind has a name under "bad" (dns_kit.c). Whatever it sends, the
 * call ends when it must, with the right answer or an error, and nothing that was not asked for is believed. */
#include "tests/dns_kit.h"

static struct dns_kit kit;
static rota_dns dns;
static rota_address out[8];

static int resolve(const char *name) { return rota_dns_resolve(&dns, name, NULL, AF_UNSPEC, out, 8); }

#define Bad_test(name)                                                                  \
    static intptr_t dns_bad_##name##_body(void *unused);                                \
    static intptr_t dns_bad_##name##_main(void *unused) {                               \
        dns_kit_start(&kit);                                                            \
        rota_dns_options opt = dns_kit_options(&kit);                                   \
        cr_expect_eq(rota_dns_open(&dns, &opt), 0);                                     \
        intptr_t v = dns_bad_##name##_body(unused);                                     \
        cr_expect_eq(rota_dns_close(&dns), 0);                                          \
        dns_kit_stop(&kit);                                                             \
        return v;                                                                       \
    }                                                                                   \
    Test(dns_bad, name) { cr_expect_eq(run_task(dns_bad_##name##_main, NULL), 0); }     \
    static intptr_t dns_bad_##name##_body(void *unused __attribute__((unused)))

/* The false answer is passed over, and the true one that follows is taken, at once. */
static void right_in_the_end(const char *name) {
    int64_t began = rota_now();
    cr_expect_eq(resolve(name), 1, "%s", name);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.77:0", "%s", name);
    cr_expect_eq(since(began), 0, "%s", name);
}

/* An answer that breaks the rules costs the server this try, and no waiting. */
static void refused(const char *name, int error) {
    int64_t began = rota_now();
    cr_expect_eq(resolve(name), error, "%s", name);
    cr_expect_eq(since(began), 0, "%s", name);
}

Bad_test(wrong_id) { right_in_the_end("wrong-id.bad"); return 0; }
Bad_test(wrong_question) { right_in_the_end("wrong-question.bad"); return 0; }
Bad_test(response_from_another_source) { right_in_the_end("other-source.bad"); return 0; }
Bad_test(no_answer_but_a_question) { right_in_the_end("not-an-answer.bad"); return 0; }
Bad_test(garbage) { right_in_the_end("garbage.bad"); return 0; }
Bad_test(truncated_asks_over_tcp) { right_in_the_end("truncated.bad"); return 0; }
Bad_test(oversized_asks_over_tcp) { right_in_the_end("oversized.bad"); return 0; }

Bad_test(compression_loop) { refused("pointer-loop.bad", -EHOSTUNREACH); return 0; }
Bad_test(pointer_past_the_end) { refused("pointer-past-end.bad", -EHOSTUNREACH); return 0; }
Bad_test(packet_cut_off) { refused("cut-packet.bad", -EHOSTUNREACH); return 0; }
Bad_test(contents_past_the_end) { refused("data-past-end.bad", -EHOSTUNREACH); return 0; }
Bad_test(huge_counts) { refused("huge-counts.bad", -EHOSTUNREACH); return 0; }
Bad_test(zero_records) { refused("zero-records.bad", -ENOENT); return 0; }
Bad_test(short_address) { refused("short-address.bad", -EHOSTUNREACH); return 0; }
Bad_test(oversized_name) { refused("long-name.bad", -EHOSTUNREACH); return 0; }
Bad_test(alias_loop) { refused("alias-loop.bad", -ELOOP); return 0; }
Bad_test(lame_server) { refused("lame.bad", -EHOSTUNREACH); return 0; }
Bad_test(flood_of_wrong_ids) { refused("flood.bad", -EHOSTUNREACH); return 0; }

Bad_test(endless_chain_of_aliases) {
    refused("alias-chain.bad", -ELOOP);
    cr_expect_eq(kit.queries, 2 * 17, "16 aliases for each type");
    return 0;
}

/* What comes after the timeout finds no socket. */
Bad_test(late_answer) {
    int64_t began = rota_now();
    cr_expect_eq(resolve("late.bad"), -EHOSTUNREACH);
    cr_expect_eq(since(began), 10 * ROTA_S);
    cr_expect_eq(rota_sleep(20 * ROTA_S), 0);
    return 0;
}

Bad_test(tcp_closes) { refused("tcp-closes.bad", -EHOSTUNREACH); return 0; }
Bad_test(tcp_closes_half_way) { refused("tcp-closes-half-way.bad", -EHOSTUNREACH); return 0; }
Bad_test(tcp_ends_in_the_length) { refused("tcp-length-half.bad", -EHOSTUNREACH); return 0; }
Bad_test(tcp_length_zero) { refused("tcp-length-zero.bad", -EHOSTUNREACH); return 0; }
Bad_test(tcp_length_too_short) { refused("tcp-length-short.bad", -EHOSTUNREACH); return 0; }
Bad_test(tcp_length_too_long) { refused("tcp-length-huge.bad", -EHOSTUNREACH); return 0; }
Bad_test(tcp_wrong_id) { refused("tcp-wrong-id.bad", -EHOSTUNREACH); return 0; }
Bad_test(tcp_truncated) { refused("tcp-truncated.bad", -EHOSTUNREACH); return 0; }

Bad_test(tcp_byte_by_byte) {
    cr_expect_eq(resolve("tcp-slow.bad"), 1);
    cr_expect_str_eq(dns_text(&out[0]), "192.0.2.77:0");
    return 0;
}

Bad_test(tcp_silence) {
    int64_t began = rota_now();
    cr_expect_eq(resolve("tcp-silent.bad"), -EHOSTUNREACH);
    cr_expect_eq(since(began), 10 * ROTA_S);
    return 0;
}
