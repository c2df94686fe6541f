/* Addresses and text: there and back, and everything that must be refused. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "rota/net.h"
#include "tests/harness.h"

static int parse(rota_address *a, const char *text) { return rota_address_parse(a, text, strlen(text)); }

static void there_and_back(const char *text, const char *expected) {
    rota_address a;
    char buf[ROTA_ADDRESS_TEXT];
    cr_expect_eq(parse(&a, text), 0, "%s", text);
    cr_expect_eq(rota_address_text(&a, buf, sizeof buf), strlen(expected));
    cr_expect_str_eq(buf, expected);
}

Test(address, ip_there_and_back) {
    there_and_back("127.0.0.1:80", "127.0.0.1:80");
    there_and_back("255.255.255.255:65535", "255.255.255.255:65535");
    there_and_back("10.0.0.1", "10.0.0.1:0");
    there_and_back("[::1]:80", "[::1]:80");
    there_and_back("[::1]", "[::1]:0");
    there_and_back("::1", "[::1]:0");
    there_and_back("::", "[::]:0");
    there_and_back("[fe80::1%7]:443", "[fe80::1%7]:443");
    there_and_back("[2001:DB8:0:0:0:0:0:1]:1", "[2001:db8::1]:1");
    there_and_back("[::ffff:1.2.3.4]:5", "[::ffff:1.2.3.4]:5");
    there_and_back("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295]:65535",
                   "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

Test(address, unix_there_and_back) {
    there_and_back("/run/name", "/run/name");
    there_and_back("./name", "./name");
#ifdef __linux__
    there_and_back("@name", "@name");
    rota_address a;
    cr_expect_eq(parse(&a, "@name"), 0);
    cr_expect_eq(a.len, offsetof(struct sockaddr_un, sun_path) + 5);
    cr_expect_eq(((struct sockaddr_un *)&a.addr)->sun_path[0], '\0');
#endif
}

/* F20 */
Test(address, refused) {
    static const char *const bad[] = {
        "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:80x", "127.0.0.1:", "127.0.0.1: 80", "127.0.0.1:+80",
        "127.0.0.1:080", "127.0.0.1:99999999999999999999", "127.0.0.1:80:", ":80", "0x7f000001:80", "127.1:80",
        "2130706433:80", "0177.0.0.1:80", "127.0.0.01:80", "1.2.3:1", "1.2.3.4.5:1", "256.0.0.1:1", " 127.0.0.1:80",
        "localhost:80", "[::1", "[::1]80", "[::1]:", "[::1]:x", "[::1]:65536", "[]:80", "[", "]", "[127.0.0.1]:80",
        "[::1%]:80", "[::1%x]:80", "[::1%4294967296]:80", "[::1%-1]:80", "[:::1]:80", "1::2::3", "", ".",
    };
    rota_address a;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(&a, 1, sizeof a);
        cr_expect_eq(parse(&a, bad[i]), -EINVAL, "%s", bad[i]);
    }
    cr_expect_eq(rota_address_parse(&a, "127.0.0.1:80\0x", 14), -EINVAL);
    cr_expect_eq(rota_address_parse(&a, "127.0.0.1\0:80", 13), -EINVAL);
    cr_expect_eq(rota_address_parse(&a, "/run/a\0b", 8), -EINVAL);
    cr_expect_eq(rota_address_parse(NULL, "::1", 3), -EINVAL);
    cr_expect_eq(rota_address_parse(&a, NULL, 3), -EINVAL);
    cr_expect_eq(rota_unix_address(&a, ""), -EINVAL);
#ifdef __linux__
    cr_expect_eq(rota_unix_address(&a, "@"), -EINVAL);
#endif
    cr_expect_eq(rota_unix_address(&a, NULL), -EINVAL);
}

/* F20: what is too long is never cut off to something that exists. */
Test(address, too_long) {
    static const size_t lengths[] = {203, 255, 256, 257, 65536};
    char *text = malloc(65537);
    rota_address a;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memset(text, 'a', lengths[i]);
        cr_expect_eq(rota_address_parse(&a, text, lengths[i]), -ENAMETOOLONG);
        memcpy(text + lengths[i] - 10, "0x7f000001", 10);
        cr_expect_eq(rota_address_parse(&a, text, lengths[i]), -ENAMETOOLONG);
        memcpy(text, "127.0.0.1:", 10);
        memset(text + 10, '0', lengths[i] - 12);
        memcpy(text + lengths[i] - 2, "80", 2);
        cr_expect_eq(rota_address_parse(&a, text, lengths[i]), -ENAMETOOLONG);
        text[0] = '[';
        memset(text + 1, ':', lengths[i] - 2);
        text[lengths[i] - 1] = ']';
        cr_expect_eq(rota_address_parse(&a, text, lengths[i]), -ENAMETOOLONG);
    }
    free(text);
}

/* F19: as long as the field, which the system takes too, and one more. */
Test(address, unix_lengths) {
    size_t room = sizeof(((struct sockaddr_un *)0)->sun_path);
    char name[200], buf[ROTA_ADDRESS_TEXT];
    rota_address a;
    memset(name, 'x', sizeof name);
    name[0] = '/';
    for (size_t n = room - 1; n <= room + 1; n++) {
        cr_expect_eq(rota_address_parse(&a, name, n), n <= room ? 0 : -ENAMETOOLONG);
        cr_expect_eq(n <= room ? rota_address_text(&a, buf, sizeof buf) : n, n);
        cr_expect(n > room || memcmp(buf, name, n) == 0);
    }
}

Test(address, text_of_other_things) {
    rota_address a = {.addr = {.ss_family = AF_UNIX}, .len = sizeof(sa_family_t)};
    char buf[ROTA_ADDRESS_TEXT] = "x", small[8];
    cr_expect_eq(rota_address_text(&a, buf, sizeof buf), 0u);
    cr_expect_str_eq(buf, "");
    a.addr.ss_family = 77;
    cr_expect_eq(rota_address_text(&a, buf, sizeof buf), 9u);
    cr_expect_str_eq(buf, "family 77");
    cr_expect_eq(parse(&a, "127.0.0.1:80"), 0);
    cr_expect_eq(rota_address_text(&a, small, sizeof small), 12u);
    cr_expect_str_eq(small, "127.0.0");
    cr_expect_eq(rota_address_text(&a, NULL, 0), 12u);
    cr_expect_eq(rota_address_text(NULL, buf, sizeof buf), 0u);
    cr_expect_str_eq(buf, "");
}

Test(address, port_and_equality) {
    rota_address a, b;
    cr_expect_eq(parse(&a, "[fe80::1%1]:80"), 0);
    cr_expect_eq(rota_address_port(&a), 80);
    cr_expect_eq(parse(&b, "[fe80::1%1]:80"), 0);
    ((struct sockaddr_in6 *)&b.addr)->sin6_flowinfo = 9;
    cr_expect(rota_address_equal(&a, &b));
    cr_expect_eq(parse(&b, "[fe80::1%2]:80"), 0);
    cr_expect(!rota_address_equal(&a, &b));
    cr_expect_eq(parse(&a, "1.2.3.4:80"), 0);
    cr_expect(!rota_address_equal(&a, &b));
    cr_expect_eq(parse(&b, "1.2.3.4:81"), 0);
    cr_expect(!rota_address_equal(&a, &b));
    cr_expect_eq(parse(&b, "1.2.3.4:80"), 0);
    cr_expect(rota_address_equal(&a, &b));
    cr_expect_eq(parse(&a, "/x"), 0);
    cr_expect_eq(parse(&b, "/y"), 0);
    cr_expect(!rota_address_equal(&a, &b) && rota_address_equal(&b, &b) && !rota_address_equal(&a, NULL));
    cr_expect_eq(rota_address_port(&a), -EINVAL);
    cr_expect_eq(rota_address_port(NULL), -EINVAL);
}
