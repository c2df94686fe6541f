/* Text without stdio. */
#include "reactor/text.h"

#include <string.h>

#include "tests/harness.h"

Test(text, appends) {
    char buf[32];
    struct rota__text t;
    rota__text_init(&t, buf, sizeof buf);
    cr_expect_str_eq(buf, "");
    rota__text_add(&t, "one ");
    rota__text_add(&t, "");
    rota__text_number(&t, 2);
    cr_expect_str_eq(buf, "one 2");
    cr_expect_eq(t.length, 5u);
}

static const char *number(int64_t n) {
    static char buf[32];
    struct rota__text t;
    rota__text_init(&t, buf, sizeof buf);
    rota__text_number(&t, n);
    return buf;
}

static const char *hex(uintptr_t n) {
    static char buf[32];
    struct rota__text t;
    rota__text_init(&t, buf, sizeof buf);
    rota__text_hex(&t, n);
    return buf;
}

Test(text, numbers_of_every_size) {
    cr_expect_str_eq(number(0), "0");
    cr_expect_str_eq(number(-1), "-1");
    cr_expect_str_eq(number(INT64_MAX), "9223372036854775807");
    cr_expect_str_eq(number(INT64_MIN), "-9223372036854775808");
}

Test(text, addresses) {
    cr_expect_str_eq(hex(0), "0x0");
    cr_expect_str_eq(hex(0xdeadbeef), "0xdeadbeef");
}

Test(text, a_full_buffer_is_cut_and_still_counted) {
    char buf[8];
    memset(buf, 'x', sizeof buf);
    struct rota__text t;
    rota__text_init(&t, buf, 5);
    rota__text_add(&t, "abcdefgh");
    rota__text_number(&t, 12);
    cr_expect_str_eq(buf, "abcd");
    cr_expect_eq(t.length, 10u);
    cr_expect_eq(buf[5], 'x');
}

Test(text, no_buffer_at_all) {
    char c = 'x';
    struct rota__text t;
    rota__text_init(&t, NULL, 10);
    rota__text_add(&t, "abc");
    cr_expect_eq(t.length, 3u);
    rota__text_init(&t, &c, 0);
    rota__text_add(&t, "abc");
    cr_expect_eq(c, 'x');
    rota__text_init(&t, &c, 1);
    rota__text_add(&t, "abc");
    cr_expect_eq(c, '\0');
}
