/* Looks up the addresses of names in two ways, and says how long each took: by the resolver that asks the name servers
 * itself (rota_dns_resolve), all names at once in one thread, and by the C library in threads (rota_resolve).
 *
 *   resolve [--server ADDRESS:PORT] [--mx] NAME...
 *
 * --server asks this server instead of those of /etc/resolv.conf (IPv6: [ADDRESS]:PORT), and leaves the C library out,
 * which cannot be told to. --mx prints the mail exchangers of the names, too.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rota.h"

enum { MAX_NAMES = 64, MAX_ADDRESSES = 16 };

struct lookup {
    const char *name;
    bool by_us;
    int n;                      /* addresses, or an error */
    int64_t took;
    rota_address addresses[MAX_ADDRESSES];
};

static rota_dns dns;
static bool own_server, wants_mx;
static const char **names;
static int n_names;

static intptr_t look_up(void *arg) {
    struct lookup *l = arg;
    int64_t began = rota_now();
    l->n = l->by_us ? rota_dns_resolve(&dns, l->name, NULL, AF_UNSPEC, l->addresses, MAX_ADDRESSES)
                    : rota_resolve(l->name, NULL, AF_UNSPEC, l->addresses, MAX_ADDRESSES);
    l->took = rota_now() - began;
    return 0;
}

static void print_address(const rota_address *a) {
    char text[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *four = (const struct sockaddr_in *)&a->addr;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&a->addr;
    const void *bytes = a->addr.ss_family == AF_INET ? (const void *)&four->sin_addr : (const void *)&six->sin6_addr;
    inet_ntop(a->addr.ss_family, bytes, text, sizeof text);
    printf("    %s\n", text);
}

static void print_lookup(const struct lookup *l) {
    printf("%s, %s: ", l->name, l->by_us ? "asked by ourselves" : "by the C library");
    if (l->n < 0)
        printf("%s", rota_strerror(l->n));
    else
        printf("%d address%s", l->n, l->n == 1 ? "" : "es");
    printf(" in %.1f ms\n", (double)l->took / 1e6);
    for (int i = 0; i < l->n; i++)
        print_address(&l->addresses[i]);
}

static void print_mx(const char *name) {
    char buf[4096];
    const rota_dns_record *records;
    int n = rota_dns_query(&dns, name, ROTA_DNS_MX, buf, sizeof buf, &records);
    if (n < 0)
        printf("%s, mail: %s\n", name, rota_strerror(n));
    for (int i = 0; i < n; i++)
        printf("%s, mail: %u %s\n", name, records[i].priority, records[i].target);
}

static intptr_t look_up_all(void *lookups) {
    rota_call calls[2 * MAX_NAMES];
    struct lookup *all = lookups;
    int n = own_server ? n_names : 2 * n_names;
    for (int i = 0; i < n; i++) {
        all[i].name = names[i % n_names];
        all[i].by_us = i < n_names;
        calls[i] = (rota_call){ .fn = look_up, .arg = &all[i] };
    }
    int rc = rota_gather(calls, (size_t)n, NULL);
    for (int i = 0; rc == 0 && i < n; i++)
        print_lookup(&all[i]);
    for (int i = 0; rc == 0 && wants_mx && i < n_names; i++)
        print_mx(names[i]);
    return rc;
}

static intptr_t run(void *server) {
    rota_dns_options opt = { .servers = server, .n_servers = server ? 1 : 0 };
    int rc = rota_dns_open(&dns, &opt);
    if (rc < 0)
        return rc;
    struct lookup *lookups = calloc(2 * MAX_NAMES, sizeof *lookups);
    intptr_t v = lookups ? look_up_all(lookups) : -ENOMEM;
    free(lookups);
    rota_dns_close(&dns);
    return v;
}

static bool parse_server(const char *text, rota_address *server) {
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_in *four = (struct sockaddr_in *)&server->addr;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&server->addr;
    const char *colon = strrchr(text, ':');
    int brackets = text[0] == '[';
    size_t n = colon ? (size_t)(colon - text) : 0;
    int port = colon ? atoi(colon + 1) : 0;
    if (n < 3 || port < 1 || port > 65535 || n - 2 * (size_t)brackets >= sizeof host)
        return false;
    n -= 2 * (size_t)brackets;
    memcpy(host, text + brackets, n);
    host[n] = '\0';
    memset(server, 0, sizeof *server);
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        server->len = sizeof *four;
        return true;
    }
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)port);
    server->len = sizeof *six;
    return inet_pton(AF_INET6, host, &six->sin6_addr) == 1;
}

int main(int argc, char **argv) {
    rota_address server;
    intptr_t result;
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--mx") == 0)
            wants_mx = true;
        else if (strcmp(argv[i], "--server") == 0 && i + 1 < argc && parse_server(argv[++i], &server))
            own_server = true;
        else
            argc = 0;
    }
    names = (const char **)argv + i;
    n_names = argc - i;
    if (n_names < 1 || n_names > MAX_NAMES) {
        fprintf(stderr, "usage: resolve [--server ADDRESS:PORT] [--mx] NAME... (at most %d)\n", MAX_NAMES);
        return 2;
    }
    int rc = rota_run(run, own_server ? &server : NULL, &result, NULL);
    if (rc < 0 || result < 0) {
        fprintf(stderr, "resolve: %s\n", rota_strerror(rc < 0 ? rc : result));
        return 1;
    }
    return 0;
}
