/* Tests of examples/url.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "examples/url.h"
#include "tests/harness.h"

static void expect_url(const char *text, const char *host, const char *port, const char *authority,
                       const char *target) {
    struct url u;
    const char *why = "";
    int rc = url_parse(&u, text, &why);
    cr_assert_eq(rc, 0, "%s: %d, %s", text, rc, why);
    cr_expect_str_eq(u.host, host, "%s: host %s", text, u.host);
    cr_expect_str_eq(u.port, port, "%s: port %s", text, u.port);
    cr_expect_str_eq(u.authority, authority, "%s: authority %s", text, u.authority);
    cr_expect_str_eq(u.target, target, "%s: target %s", text, u.target);
}

static void expect_refused(const char *text, int error, const char *part_of_why) {
    struct url u;
    const char *why = "";
    int rc = url_parse(&u, text, &why);
    cr_expect_eq(rc, error, "%s: %d", text, rc);
    cr_expect(strstr(why, part_of_why) != NULL, "%s: %s", text, why);
}

Test(url, the_parts) {
    expect_url("http://example.org", "example.org", "80", "example.org", "/");
    expect_url("HTTP://Example.org/", "Example.org", "80", "Example.org", "/");
    expect_url("http://a:8080/b/c?d=e&f#g", "a", "8080", "a:8080", "/b/c?d=e&f");
    expect_url("http://a?q", "a", "80", "a", "/?q");
    expect_url("http://a#f", "a", "80", "a", "/");
    expect_url("http://a:/x", "a", "80", "a", "/x");
    expect_url("http://a:00080/x", "a", "80", "a", "/x");
    expect_url("http://127.0.0.1:1/", "127.0.0.1", "1", "127.0.0.1:1", "/");
    expect_url("http://a/@b:c", "a", "80", "a", "/@b:c");
}

Test(url, an_ipv6_address_loses_its_brackets_only_to_resolve) {
    expect_url("http://[::1]/", "::1", "80", "[::1]", "/");
    expect_url("http://[fe80::1.2.3.4]:81/", "fe80::1.2.3.4", "81", "[fe80::1.2.3.4]:81", "/");
}

Test(url, other_bytes_are_percent_coded) {
    expect_url("http://a/\xc3\xa4%20", "a", "80", "a", "/%C3%A4%20");
}

Test(url, schemes) {
    expect_refused("https://a/", -EPROTONOSUPPORT, "TLS");
    expect_refused("HTTPS://a/", -EPROTONOSUPPORT, "TLS");
    expect_refused("ftp://a/", -EPROTONOSUPPORT, "only http");
    expect_refused("example.org", -EINVAL, "must begin with http://");
    expect_refused("http:/a", -EINVAL, "must begin");
    expect_refused("://a", -EINVAL, "must begin");
    expect_refused("", -EINVAL, "must begin");
}

Test(url, hosts_that_are_none) {
    expect_refused("http://", -EINVAL, "no host");
    expect_refused("http:///x", -EINVAL, "no host");
    expect_refused("http://:80/", -EINVAL, "no host");
    expect_refused("http://[]/", -EINVAL, "no host");
    expect_refused("http://[::1/", -EINVAL, "closing bracket");
    expect_refused("http://[::1", -EINVAL, "");
    expect_refused("http://[::g]/", -EINVAL, "character");
    expect_refused("http://[::1]x/", -EINVAL, "");
    expect_refused("http://a b/", -EINVAL, "character");
    expect_refused("http://a\r\nX: y/", -EINVAL, "");
    expect_refused("http://a\\b/", -EINVAL, "character");
    expect_refused("http://\xc3\xa4/", -EINVAL, "character");
    expect_refused("http://me@a/", -EINVAL, "user name");
    expect_refused("http://a:b@c:80/", -EINVAL, "user name");
}

Test(url, ports_that_are_none) {
    static const char *const bad[] = { "0", "65536", "-1", "80x", "+80", " 80", "4294967376", "99999999999999999999" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "http://a:%s/", bad[i]);
        expect_refused(text, -EINVAL, "port");
    }
    expect_url("http://a:65535/", "a", "65535", "a:65535", "/");
}

Test(url, nothing_is_cut_to_fit) {
    static char text[4096];
    for (int over = 0; over < 2; over++) {
        snprintf(text, sizeof text, "http://%0*d/", URL_HOST_MAX + over, 0);
        struct url u;
        const char *why;
        cr_expect_eq(url_parse(&u, text, &why), over ? -ENAMETOOLONG : 0);
    }
    snprintf(text, sizeof text, "http://a/%0*d", URL_TARGET_MAX + 10, 0);
    expect_refused(text, -ENAMETOOLONG, "too long");
}

Test(url, spaces_and_controls_never_reach_the_request) {
    for (int c = 1; c <= 0x20; c++) {
        char text[] = "http://a/b?c";
        text[9] = (char)c;
        expect_refused(text, -EINVAL, "space or a control");
    }
    expect_refused("http://a/\x7f", -EINVAL, "space or a control");
}
