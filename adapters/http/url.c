/* Splits http:// and https:// URLs: rota_http_url_parse, rota_http_url_resolve. It refuses what it does not understand
 * rather than guess, because a URL that two programs read in two ways is how requests end at the wrong host. It
 * resolves no names. */
#include "rota/http.h"

#include <string.h>

#include "adapters/http/text.h"

static int bad(const char **why, int error, const char *text) {
    *why = text;
    return error;
}

/* How long the scheme at the beginning of text is; 0 when there is none: RFC 3986, 3.1. */
static size_t scheme_length(const char *text) {
    size_t n = strcspn(text, ":/?#");
    return text[n] == ':' ? n : 0;
}

static int scheme(rota_http_url *url, const char **text, const char **why) {
    size_t n = scheme_length(*text);
    if (n == 0 || strncmp(*text + n, "://", 3) != 0)
        return bad(why, -EINVAL, "not a URL: it must begin with http:// or https://");
    url->secure = n == 5 && rota__http_same_n(*text, "https", n);
    if (!url->secure && !(n == 4 && rota__http_same_n(*text, "http", n)))
        return bad(why, -EPROTONOSUPPORT, "only http:// and https:// are understood");
    *text += n + 3;
    return 0;
}

static const char host_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

/* The characters of a host, in brackets or without: length n at text. */
static int host(rota_http_url *url, const char *text, size_t n, const char **why) {
    const char *allowed = host_letters;
    if (n > 0 && *text == '[') {
        if (n < 2 || text[n - 1] != ']')
            return bad(why, -EINVAL, "the IPv6 address has no closing bracket");
        text++;
        n -= 2;
        allowed = "0123456789abcdefABCDEF:.";
    }
    if (n == 0)
        return bad(why, -EINVAL, "it has no host");
    if (n > ROTA_HTTP_HOST_MAX)
        return bad(why, -ENAMETOOLONG, "the host is longer than 253 characters");
    if (strspn(text, allowed) < n)
        return bad(why, -EINVAL, "the host has a character that host names and addresses do not have");
    memcpy(url->host, text, n);
    url->host[n] = '\0';
    return 0;
}

/* "" (after an empty ":" too, RFC 3986, 3.2.3) means the scheme's. */
static int port(rota_http_url *url, const char *text, size_t n, const char **why) {
    unsigned value = 0;
    for (size_t i = 0; i < n; i++) {
        if (!rota__http_is(text[i], HTTP_DIGIT) || value > 65535)
            return bad(why, -EINVAL, "the port is not a number from 1 to 65535");
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (n > 0 && (value == 0 || value > 65535))
        return bad(why, -EINVAL, "the port is not a number from 1 to 65535");
    struct rota__http_out out = { .buf = url->port, .size = sizeof url->port };
    rota__http_put_number(&out, n > 0 ? value : url->secure ? 443u : 80u, 10);
    rota__http_put(&out, "", 1);
    return 0;
}

static void put_authority(rota_http_url *url, bool brackets) {
    struct rota__http_out out = { .buf = url->authority, .size = sizeof url->authority };
    rota__http_put_text(&out, brackets ? "[" : "");
    rota__http_put_text(&out, url->host);
    rota__http_put_text(&out, brackets ? "]" : "");
    if (strcmp(url->port, url->secure ? "443" : "80") != 0) {
        rota__http_put(&out, ":", 1);
        rota__http_put_text(&out, url->port);
    }
    rota__http_put(&out, "", 1);
}

static int authority(rota_http_url *url, const char *text, size_t n, const char **why) {
    if (memchr(text, '@', n) != NULL)
        return bad(why, -EINVAL, "a user name in the URL is not supported");
    size_t end = n;  /* of the host: at the last colon that is not inside brackets */
    while (end > 0 && text[end - 1] != ':' && text[end - 1] != ']')
        end--;
    end = end > 0 && text[end - 1] == ':' ? end - 1 : n;
    int rc = host(url, text, end, why);
    if (rc == 0)
        rc = port(url, text + end + (end < n), n - end - (end < n), why);
    if (rc == 0)
        put_authority(url, *text == '[');
    return rc;
}

/* Puts the n bytes at text behind the first `at` of the target; controls and spaces would end the request line or
 * begin another one. Returns the new length. */
static int add_target(rota_http_url *url, size_t at, const char *text, size_t n, const char **why) {
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!rota__http_is(text[i], HTTP_TARGET))
            return bad(why, -EINVAL, "it has a space or a control character");
        if (at + 3 > ROTA_HTTP_TARGET_MAX)
            return bad(why, -ENAMETOOLONG, "the path is too long");
        if (c < 0x80) {
            url->target[at++] = (char)c;
            continue;
        }
        url->target[at++] = '%';
        url->target[at++] = hex[c >> 4];
        url->target[at++] = hex[c & 15];
    }
    url->target[at] = '\0';
    return (int)at;
}

/* The fragment stays with the client. */
static int target(rota_http_url *url, const char *text, const char **why) {
    url->target[0] = '/';
    int rc = add_target(url, *text != '/', text, strcspn(text, "#"), why);
    return rc < 0 ? rc : 0;
}

int rota_http_url_parse(rota_http_url *url, const char *text, const char **why) {
    const char *ignored;
    why = why != NULL ? why : &ignored;
    *why = NULL;
    if (url == NULL || text == NULL)
        return -EINVAL;
    int rc = scheme(url, &text, why);
    if (rc < 0)
        return rc;
    size_t n = strcspn(text, "/?#");
    rc = authority(url, text, n, why);
    return rc < 0 ? rc : target(url, text + n, why);
}

/* ---- references --------------------------------------------------------------------------------- */

/* Takes the last segment of the path [0, *to) away, with the slash before it. */
static void up(const char *path, size_t *to) {
    while (*to > 0 && path[--*to] != '/')
        continue;
}

/* RFC 3986, 5.2.4, in place, on the path alone: each segment is kept, dropped ("."), or takes the one before it away
 * ("..", which at the root changes nothing). */
static void remove_dots(char *target) {
    size_t end = strcspn(target, "?"), to = 0, all = strlen(target);
    for (size_t at = 0; at < end;) {
        size_t n = 1 + strcspn(target + at + 1, "/?");  /* "/segment" */
        bool last = at + n >= end;
        bool one = n == 2 && target[at + 1] == '.';
        bool two = n == 3 && target[at + 1] == '.' && target[at + 2] == '.';
        if (two)
            up(target, &to);
        if (!one && !two) {
            memmove(target + to, target + at, n);
            to += n;
        } else if (last) {
            target[to++] = '/';
        }
        at += n;
    }
    memmove(target + to, target + end, all - end + 1);
}

/* With the path of base up to its last slash, or all of it, before the reference's own. */
static int merge(rota_http_url *url, const rota_http_url *base, const char *reference, const char **why) {
    size_t path = strcspn(base->target, "?"), keep = 0;
    if (*reference == '?' || *reference == '#' || *reference == '\0')
        keep = *reference == '?' ? path : strlen(base->target);
    else if (*reference != '/')
        for (size_t i = 0; i < path; i++)
            keep = base->target[i] == '/' ? i + 1 : keep;
    memcpy(url->target, base->target, keep);
    int rc = add_target(url, keep, reference, strcspn(reference, "#"), why);
    if (rc < 0)
        return rc;
    if (url->target[0] == '/')
        remove_dots(url->target);
    return 0;
}

int rota_http_url_resolve(rota_http_url *url, const rota_http_url *base, const char *reference, const char **why) {
    const char *ignored;
    why = why != NULL ? why : &ignored;
    *why = NULL;
    if (url == NULL || base == NULL || reference == NULL || url == base)
        return -EINVAL;
    if (scheme_length(reference) > 0) {
        int rc = rota_http_url_parse(url, reference, why);
        if (rc == 0)
            remove_dots(url->target);
        return rc;
    }
    url->secure = base->secure;
    if (strncmp(reference, "//", 2) == 0) {
        size_t n = strcspn(reference + 2, "/?#");
        int rc = authority(url, reference + 2, n, why);
        if (rc == 0)
            rc = target(url, reference + 2 + n, why);
        if (rc == 0)
            remove_dots(url->target);
        return rc;
    }
    memcpy(url->host, base->host, sizeof url->host);
    memcpy(url->port, base->port, sizeof url->port);
    memcpy(url->authority, base->authority, sizeof url->authority);
    return merge(url, base, reference, why);
}
