/* Tests of url.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rota/http.h"
#include "tests/harness.h"

static void expect_url(const char *text, const char *host, const char *port, const char *authority,
                       const char *target) {
    rota_http_url u;
    const char *why = "";
    int rc = rota_http_url_parse(&u, text, &why);
    cr_assert_eq(rc, 0, "%s: %d, %s", text, rc, why);
    cr_expect_str_eq(u.host, host, "%s: host %s", text, u.host);
    cr_expect_str_eq(u.port, port, "%s: port %s", text, u.port);
    cr_expect_str_eq(u.authority, authority, "%s: authority %s", text, u.authority);
    cr_expect_str_eq(u.target, target, "%s: target %s", text, u.target);
}

static void expect_refused(const char *text, int error, const char *part_of_why) {
    rota_http_url u;
    const char *why = "";
    int rc = rota_http_url_parse(&u, text, &why);
    cr_expect_eq(rc, error, "%s: %d", text, rc);
    cr_expect(strstr(why, part_of_why) != NULL, "%s: %s", text, why);
}

Test(http_url, the_parts) {
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

Test(http_url, an_ipv6_address_loses_its_brackets_only_to_resolve) {
    expect_url("http://[::1]/", "::1", "80", "[::1]", "/");
    expect_url("http://[fe80::1.2.3.4]:81/", "fe80::1.2.3.4", "81", "[fe80::1.2.3.4]:81", "/");
}

Test(http_url, https_has_a_port_of_its_own) {
    rota_http_url u;
    expect_url("https://a/", "a", "443", "a", "/");
    expect_url("HTTPS://a:443/", "a", "443", "a", "/");
    expect_url("https://a:80/", "a", "80", "a:80", "/");
    expect_url("http://a:443/", "a", "443", "a:443", "/");
    cr_expect_eq(rota_http_url_parse(&u, "https://a/", NULL), 0);
    cr_expect(u.secure);
    cr_expect_eq(rota_http_url_parse(&u, "http://a/", NULL), 0);
    cr_expect(!u.secure);
}

Test(http_url, other_bytes_are_percent_coded) {
    expect_url("http://a/\xc3\xa4%20", "a", "80", "a", "/%C3%A4%20");
}

Test(http_url, schemes) {
    expect_refused("ftp://a/", -EPROTONOSUPPORT, "only http");
    expect_refused("example.org", -EINVAL, "must begin with http:// or https://");
    expect_refused("http:/a", -EINVAL, "must begin");
    expect_refused("://a", -EINVAL, "must begin");
    expect_refused("", -EINVAL, "must begin");
}

Test(http_url, hosts_that_are_none) {
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

Test(http_url, ports_that_are_none) {
    static const char *const bad[] = { "0", "65536", "-1", "80x", "+80", " 80", "4294967376", "99999999999999999999" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "http://a:%s/", bad[i]);
        expect_refused(text, -EINVAL, "port");
    }
    expect_url("http://a:65535/", "a", "65535", "a:65535", "/");
}

Test(http_url, nothing_is_cut_to_fit) {
    static char text[8192];
    for (int over = 0; over < 2; over++) {
        snprintf(text, sizeof text, "http://%0*d/", ROTA_HTTP_HOST_MAX + over, 0);
        rota_http_url u;
        const char *why;
        cr_expect_eq(rota_http_url_parse(&u, text, &why), over ? -ENAMETOOLONG : 0);
    }
    snprintf(text, sizeof text, "http://a/%0*d", ROTA_HTTP_TARGET_MAX + 10, 0);
    expect_refused(text, -ENAMETOOLONG, "too long");
}

Test(http_url, spaces_and_controls_never_reach_the_request) {
    for (int c = 1; c <= 0x20; c++) {
        char text[] = "http://a/b?c";
        text[9] = (char)c;
        expect_refused(text, -EINVAL, "space or a control");
    }
    expect_refused("http://a/\x7f", -EINVAL, "space or a control");
}

/* ---- references ---- */

static void expect_reference(const char *base, const char *reference, const char *whole) {
    rota_http_url b, got, expected;
    const char *why = NULL;
    cr_assert_eq(rota_http_url_parse(&b, base, NULL), 0);
    cr_assert_eq(rota_http_url_parse(&expected, whole, NULL), 0);
    int rc = rota_http_url_resolve(&got, &b, reference, &why);
    cr_assert_eq(rc, 0, "%s: %d, %s", reference, rc, why);
    cr_expect_str_eq(got.target, expected.target, "%s + %s: %s", base, reference, got.target);
    cr_expect_str_eq(got.authority, expected.authority, "%s + %s: %s", base, reference, got.authority);
    cr_expect_str_eq(got.host, expected.host);
    cr_expect_str_eq(got.port, expected.port);
    cr_expect_eq(got.secure, expected.secure);
}

/* RFC 3986, 5.4, without what has to do with parameters that only other schemes know. */
Test(http_url, references_of_the_rfc) {
    static const char base[] = "http://a/b/c/d;p?q";
    static const char *const rows[][2] = {
        { "g", "http://a/b/c/g" }, { "./g", "http://a/b/c/g" }, { "g/", "http://a/b/c/g/" }, { "/g", "http://a/g" },
        { "//g", "http://g/" }, { "?y", "http://a/b/c/d;p?y" }, { "g?y", "http://a/b/c/g?y" },
        { "#s", "http://a/b/c/d;p?q" }, { "g#s", "http://a/b/c/g" }, { "g?y#s", "http://a/b/c/g?y" },
        { ";x", "http://a/b/c/;x" }, { "g;x", "http://a/b/c/g;x" }, { "", "http://a/b/c/d;p?q" },
        { ".", "http://a/b/c/" }, { "./", "http://a/b/c/" }, { "..", "http://a/b/" }, { "../", "http://a/b/" },
        { "../g", "http://a/b/g" }, { "../..", "http://a/" }, { "../../", "http://a/" }, { "../../g", "http://a/g" },
        { "../../../g", "http://a/g" }, { "../../../../g", "http://a/g" }, { "/./g", "http://a/g" },
        { "/../g", "http://a/g" }, { "g.", "http://a/b/c/g." }, { ".g", "http://a/b/c/.g" },
        { "g..", "http://a/b/c/g.." }, { "..g", "http://a/b/c/..g" }, { "./../g", "http://a/b/g" },
        { "./g/.", "http://a/b/c/g/" }, { "g/./h", "http://a/b/c/g/h" }, { "g/../h", "http://a/b/c/h" },
        { "g?y/./x", "http://a/b/c/g?y/./x" }, { "g?y/../x", "http://a/b/c/g?y/../x" },
        { "https://h:8/x", "https://h:8/x" }, { "//h:8", "http://h:8/" }, { "http://h/a/../b", "http://h/b" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_reference(base, rows[i][0], rows[i][1]);
    expect_reference("https://a:444/x", "//b/y", "https://b/y");
    expect_reference("https://a:444/x?q", "y", "https://a:444/y");
}

Test(http_url, references_that_are_none) {
    static const char *const bad[] = { "http://", "//", "//a@b/", "/a b", "http://a:0/", "/\x01", "ftp://a/", "mailto:a",
                                       "javascript:alert(1)" };
    rota_http_url b, got;
    cr_assert_eq(rota_http_url_parse(&b, "http://a/", NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *why = NULL;
        int rc = rota_http_url_resolve(&got, &b, bad[i], &why);
        cr_expect(rc == -EINVAL || rc == -EPROTONOSUPPORT, "%s: %d", bad[i], rc);
        cr_expect_not_null(why, "%s", bad[i]);
    }
    static char text[ROTA_HTTP_TARGET_MAX + 2];
    memset(text, 'x', sizeof text - 1);
    cr_expect_eq(rota_http_url_resolve(&got, &b, text, NULL), -ENAMETOOLONG);
    cr_expect_eq(rota_http_url_resolve(&b, &b, "/", NULL), -EINVAL);
    cr_expect_eq(rota_http_url_parse(NULL, "http://a/", NULL), -EINVAL);
}
