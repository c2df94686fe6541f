/* Splits http:// URLs: url_parse. It refuses what it does not understand rather than guess, because a URL that
 * two programs read in two ways is how requests end at the wrong host. It resolves nothing. */
#include "examples/url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int bad(const char **why, int error, const char *text) {
    *why = text;
    return error;
}

static int scheme(const char **text, const char **why) {
    size_t n = strcspn(*text, ":/?#");
    if (strncmp(*text + n, "://", 3) != 0 || n == 0)
        return bad(why, -EINVAL, "not a URL: it must begin with http://");
    if (n == 5 && strncasecmp(*text, "https", n) == 0)
        return bad(why, -EPROTONOSUPPORT, "https:// needs TLS, which this program does not have yet");
    if (n != 4 || strncasecmp(*text, "http", n) != 0)
        return bad(why, -EPROTONOSUPPORT, "only http:// is understood");
    *text += n + 3;
    return 0;
}

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

/* The characters of a host, without brackets: length n at text, and where the host itself begins. */
static int host(struct url *url, const char *text, size_t n, const char **why) {
    const char *allowed = letters;
    if (n > 0 && *text == '[') {
        if (n < 2 || text[n - 1] != ']')
            return bad(why, -EINVAL, "the IPv6 address has no closing bracket");
        text++;
        n -= 2;
        allowed = "0123456789abcdefABCDEF:.";
    }
    if (n == 0)
        return bad(why, -EINVAL, "it has no host");
    if (n > URL_HOST_MAX)
        return bad(why, -ENAMETOOLONG, "the host is longer than 253 characters");
    if (strspn(text, allowed) < n)
        return bad(why, -EINVAL, "the host has a character that host names and addresses do not have");
    memcpy(url->host, text, n);
    url->host[n] = '\0';
    return 0;
}

/* "" (after an empty ":" too, RFC 3986, 3.2.3) means 80. */
static int port(struct url *url, const char *text, size_t n, const char **why) {
    unsigned value = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || value > 65535)
            return bad(why, -EINVAL, "the port is not a number from 1 to 65535");
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (n > 0 && (value == 0 || value > 65535))
        return bad(why, -EINVAL, "the port is not a number from 1 to 65535");
    snprintf(url->port, sizeof url->port, "%u", n > 0 ? value : 80u);
    return 0;
}

static int authority(struct url *url, const char *text, size_t n, const char **why) {
    if (memchr(text, '@', n) != NULL)
        return bad(why, -EINVAL, "a user name in the URL is not supported");
    size_t end = n;  /* of the host: at the last colon that is not inside brackets */
    while (end > 0 && text[end - 1] != ':' && text[end - 1] != ']')
        end--;
    end = end > 0 && text[end - 1] == ':' ? end - 1 : n;
    int rc = host(url, text, end, why);
    if (rc == 0)
        rc = port(url, text + end + (end < n), n - end - (end < n), why);
    if (rc < 0)
        return rc;
    const char *open = *text == '[' ? "[" : "", *close = *text == '[' ? "]" : "";
    const char *colon = strcmp(url->port, "80") != 0 ? ":" : "", *number = *colon ? url->port : "";
    snprintf(url->authority, sizeof url->authority, "%s%s%s%s%s", open, url->host, close, colon, number);
    return 0;
}

/* The fragment stays with the client. Controls and spaces would end the request line or begin another one. */
static int target(struct url *url, const char *text, const char **why) {
    size_t n = 0;
    if (*text != '/')
        url->target[n++] = '/';
    for (; *text != '\0' && *text != '#'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c <= 0x20 || c == 0x7f)
            return bad(why, -EINVAL, "it has a space or a control character");
        if (n + 3 > URL_TARGET_MAX)
            return bad(why, -ENAMETOOLONG, "the path is too long");
        if (c < 0x80)
            url->target[n++] = (char)c;
        else
            n += (size_t)sprintf(url->target + n, "%%%02X", c);
    }
    url->target[n] = '\0';
    return 0;
}

int url_parse(struct url *url, const char *text, const char **why) {
    int rc = scheme(&text, why);
    if (rc < 0)
        return rc;
    size_t n = strcspn(text, "/?#");
    rc = authority(url, text, n, why);
    return rc < 0 ? rc : target(url, text + n, why);
}
