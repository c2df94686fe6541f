/* Splits http:// URLs (RFC 3986) for the examples. */
#ifndef EXAMPLES_URL_H
#define EXAMPLES_URL_H

enum { URL_HOST_MAX = 253, URL_TARGET_MAX = 2000 };

struct url {
    char host[URL_HOST_MAX + 1];      /* to resolve: no brackets around an IPv6 address */
    char port[6];
    char authority[URL_HOST_MAX + 9]; /* for the Host field: brackets, and the port unless it is 80 */
    char target[URL_TARGET_MAX + 1];  /* path and query, never empty; bytes from 0x80 on are %-coded */
};

/* 0, or a negative errno and in *why (never NULL) a sentence for a person: -EPROTONOSUPPORT (https, or any
 * scheme but http), -EINVAL, -ENAMETOOLONG. Nothing is ever cut to fit. */
int url_parse(struct url *url, const char *text, const char **why);

#endif
