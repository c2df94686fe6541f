/* What the machine says about names: resolv.conf(5), hosts(5), services(5), read as the C library reads them.
 *
 * A file is read whole, cut into lines and words in place, and the words are looked at. Lines that mean nothing are
 * skipped, as everybody does. A file counts as changed when its stamp has changed; the stamp is taken before the file
 * is read, so a change in between is found at the next look. Nothing suspends in here.
 *
 * Reading blocks the loop, for the time of a few page-cache reads: a thread for that would be the very thing that this
 * resolver is to do without. It must not know of sockets, tasks or messages.
 */
#include "coro/dns_config.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

enum { FILE_MAX = 64 << 20, FIRST_READ = 4096 };
enum { PORT = 53, TIMEOUT_S = 5, TIMEOUT_MAX_S = 30, ATTEMPTS = 2, ATTEMPTS_MAX = 5 };
enum { NDOTS = 1, NDOTS_MAX = 15, SEARCH_MAX = 32 };
#define LOOK_AGAIN ROTA_S
#define NOTHING UINT32_MAX

/* ---- files ---- */

/* A file that cannot be there for us is no failure. */
static bool is_missing(int error) {
    return error == -ENOENT || error == -ENOTDIR || error == -EACCES || error == -EPERM || error == -ELOOP ||
           error == -EISDIR || error == -ENXIO;
}

static int grow(const rota_allocator *allocator, char **text, size_t *size) {
    size_t more = *size ? *size * 2 : FIRST_READ;
    if (more > FILE_MAX)
        return -EFBIG;
    char *p = *text ? rota__realloc(allocator, *text, *size, more) : rota__alloc(allocator, more);
    if (!p)
        return -ENOMEM;
    *text = p;
    *size = more;
    return 0;
}

static int read_all(const rota_allocator *allocator, int fd, char **text, size_t *size) {
    size_t used = 0;
    for (;;) {
        int rc = used + 1 < *size ? 0 : grow(allocator, text, size);
        if (rc < 0)
            return rc;
        ssize_t r = rota__sys_read(fd, *text + used, *size - used - 1);
        if (r == -EINTR)
            continue;
        if (r < 0)
            return (int)r;
        used += (size_t)r;
        (*text)[used] = '\0';
        if (r == 0)
            return 0;
    }
}

/* The file's bytes and a NUL, in *size bytes of memory. */
static int read_file(const rota_allocator *allocator, const char *path, char **text, size_t *size) {
    struct stat st;
    *text = NULL;
    *size = 0;
    int fd = rota__sys_open_readonly(path);
    if (fd < 0)
        return fd;
    int rc = rota__sys_fstat(fd, &st);
    if (rc == 0)
        rc = S_ISREG(st.st_mode) ? read_all(allocator, fd, text, size) : -ENXIO;
    (void)rota__sys_close(fd);
    if (rc < 0) {
        rota__free(allocator, *text, *size);
        *text = NULL;
        *size = 0;
    }
    return rc;
}

/* ---- lines and words ---- */

/* The line at *at, with a NUL where it ends; NULL: no more. */
static char *next_line(char **at) {
    char *line = *at;
    if (!line || !*line)
        return NULL;
    char *end = strchr(line, '\n');
    if (end)
        *end++ = '\0';
    *at = end;
    return line;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }

/* The next word of a line; NULL at its end, or where a comment begins. */
static char *next_word(char **at, const char *comment) {
    char *word = *at;
    while (is_blank(*word))
        word++;
    if (!*word || strchr(comment, *word)) {
        *at = word + strlen(word);
        return NULL;
    }
    char *end = word;
    while (*end && !is_blank(*end) && !(comment[1] == '\0' && *end == comment[0]))
        end++;
    if (*end == comment[0])
        *end = '\0', end += strlen(end); /* "1.2.3.4#x": the comment begins in the word */
    else if (*end)
        *end++ = '\0';
    *at = end;
    return word;
}

/* Digits up to the end; SIZE_MAX when it is no number. Saturates. */
static size_t number(const char *text) {
    size_t value = 0;
    if (!*text)
        return SIZE_MAX;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return SIZE_MAX;
        if (value < 1000000)
            value = value * 10 + (size_t)(*text - '0');
    }
    return value;
}

static void set_port(rota_address *address, unsigned port) {
    if (address->addr.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&address->addr)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)&address->addr)->sin_port = htons((uint16_t)port);
}

/* An address with a scope ("fe80::1%eth0"): the C library knows the interfaces. Numbers only, so it asks nobody. */
static bool parse_scoped(const char *text, rota_address *out) {
    struct addrinfo hints = {.ai_family = AF_INET6, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *list;
    if (rota__sys_getaddrinfo(text, NULL, &hints, &list) != 0)
        return false;
    bool ok = list && list->ai_addrlen <= sizeof out->addr;
    if (ok) {
        memcpy(&out->addr, list->ai_addr, list->ai_addrlen);
        out->len = (socklen_t)list->ai_addrlen;
    }
    rota__sys_freeaddrinfo(list);
    return ok;
}

static bool parse_address(const char *text, rota_address *out) {
    struct sockaddr_in *four = (struct sockaddr_in *)&out->addr;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&out->addr;
    memset(out, 0, sizeof *out);
    if (strchr(text, '%'))
        return parse_scoped(text, out);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        out->len = sizeof *four;
        return true;
    }
    if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1)
        return false;
    six->sin6_family = AF_INET6;
    out->len = sizeof *six;
    return true;
}

/* ---- resolv.conf ---- */

static unsigned clamp(size_t value, unsigned min, unsigned max) {
    return value < min ? min : value > max ? max : (unsigned)value;
}

static void read_option(struct rota__dns_config *c, const char *word) {
    if (strcmp(word, "rotate") == 0)
        c->rotate = true;
    else if (strcmp(word, "use-vc") == 0)
        c->tcp = true;
    else if (strcmp(word, "no-aaaa") == 0)
        c->no_aaaa = true;
    const char *colon = strchr(word, ':');
    size_t value = colon ? number(colon + 1) : SIZE_MAX, n = colon ? (size_t)(colon - word) : 0;
    if (value == SIZE_MAX)
        return;
    if (n == 5 && memcmp(word, "ndots", n) == 0)
        c->ndots = clamp(value, 0, NDOTS_MAX);
    else if (n == 7 && memcmp(word, "timeout", n) == 0)
        c->timeout = clamp(value, 1, TIMEOUT_MAX_S) * ROTA_S;
    else if (n == 8 && memcmp(word, "attempts", n) == 0)
        c->attempts = clamp(value, 1, ATTEMPTS_MAX);
}

/* The last such line counts. Domains never need more room than the words of the file did. */
static void read_search(struct rota__dns_config *c, char *rest, bool only_one) {
    char *word, *to = c->search;
    c->n_search = 0;
    while (c->n_search < SEARCH_MAX && (word = next_word(&rest, "#;"))) {
        size_t n = strlen(word); /* ".": the root, an empty domain */
        while (n > 0 && word[n - 1] == '.')
            n--;
        memcpy(to, word, n);
        to[n] = '\0';
        to += n + 1;
        c->n_search++;
        if (only_one)
            return;
    }
}

static void read_resolv_line(struct rota__dns_config *c, char *line) {
    char *word = next_word(&line, "#;");
    if (!word)
        return;
    if (strcmp(word, "nameserver") == 0) {
        word = next_word(&line, "#;");
        if (word && c->n_servers < ROTA_DNS_SERVERS && parse_address(word, &c->servers[c->n_servers]))
            set_port(&c->servers[c->n_servers++], PORT);
    } else if (strcmp(word, "search") == 0 || strcmp(word, "domain") == 0) {
        read_search(c, line, word[0] == 'd');
    } else if (strcmp(word, "options") == 0) {
        while ((word = next_word(&line, "#;")))
            read_option(c, word);
    }
}

static void apply_options(struct rota__dns_config *c, const rota_dns_options *opt) {
    if (opt->n_servers) {
        memcpy(c->servers, opt->servers, opt->n_servers * sizeof *opt->servers);
        c->n_servers = (unsigned)opt->n_servers;
    } else if (c->n_servers == 0) {
        (void)parse_address("127.0.0.1", &c->servers[c->n_servers++]);
        set_port(&c->servers[0], PORT);
    }
    if (opt->timeout)
        c->timeout = opt->timeout;
    if (opt->attempts)
        c->attempts = opt->attempts;
    c->rotate = c->rotate || opt->rotate;
    c->tcp = c->tcp || opt->tcp;
}

/* text NULL: there is no file. */
static int load_config(struct rota__dns_files *files, char *text) {
    size_t size = sizeof *files->config + (text ? strlen(text) + 1 : 0);
    struct rota__dns_config *c = rota__alloc(files->allocator, size);
    char *line;
    if (!c)
        return -ENOMEM;
    memset(c, 0, sizeof *c);
    c->references = 1;
    c->size = size;
    c->timeout = TIMEOUT_S * ROTA_S;
    c->attempts = ATTEMPTS;
    c->ndots = NDOTS;
    while ((line = next_line(&text)))
        read_resolv_line(c, line);
    apply_options(c, files->options);
    rota__dns_config_unref(files->config, files->allocator);
    files->config = c;
    return 0;
}

struct rota__dns_config *rota__dns_config_ref(struct rota__dns_config *config) {
    config->references++;
    return config;
}

void rota__dns_config_unref(struct rota__dns_config *config, const rota_allocator *allocator) {
    if (config && --config->references == 0)
        rota__free(allocator, config, config->size);
}

/* ---- the hosts file ---- */

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

/* FNV-1a. The file's owner is trusted, so nobody makes names collide on purpose. */
static size_t hash(const char *name, size_t n) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)lower(name[i])) * 16777619u;
    return h;
}

static bool same_name(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return a[n] == '\0';
}

static void hosts_free(struct rota__dns_hosts *h, const rota_allocator *allocator) {
    rota__free(allocator, h->text, h->text_size);
    rota__free(allocator, h->all, h->size * sizeof *h->all);
    rota__free(allocator, h->buckets, h->n_buckets * sizeof *h->buckets);
    memset(h, 0, sizeof *h);
}

static int hosts_add(struct rota__dns_hosts *h, const rota_allocator *allocator, const char *name,
                     const rota_address *address) {
    if (h->n == h->size) {
        size_t size = h->size ? h->size * 2 : 16, old = h->size * sizeof *h->all;
        struct rota__dns_host *all = h->all ? rota__realloc(allocator, h->all, old, size * sizeof *all)
                                            : rota__alloc(allocator, size * sizeof *all);
        if (!all)
            return -ENOMEM;
        h->all = all;
        h->size = size;
    }
    struct rota__dns_host *host = &h->all[h->n++];
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->addr;
    *host = (struct rota__dns_host){.name = name, .family = (uint8_t)address->addr.ss_family};
    if (host->family == AF_INET6) {
        memcpy(host->bytes, &six->sin6_addr, 16);
        host->scope = six->sin6_scope_id;
    } else {
        memcpy(host->bytes, &((const struct sockaddr_in *)&address->addr)->sin_addr, 4);
    }
    return 0;
}

/* From the last to the first, so that a chain has the order of the file. */
static int hosts_index(struct rota__dns_hosts *h, const rota_allocator *allocator) {
    size_t n = 1;
    while (n < h->n)
        n *= 2;
    h->buckets = rota__alloc(allocator, n * sizeof *h->buckets);
    if (!h->buckets)
        return -ENOMEM;
    h->n_buckets = n;
    for (size_t i = 0; i < n; i++)
        h->buckets[i] = NOTHING;
    for (size_t i = h->n; i-- > 0;) {
        uint32_t *bucket = &h->buckets[hash(h->all[i].name, strlen(h->all[i].name)) & (n - 1)];
        h->all[i].next = *bucket;
        *bucket = (uint32_t)i;
    }
    return 0;
}

/* Takes text over. */
static int load_hosts(struct rota__dns_files *files, char *text, size_t size) {
    struct rota__dns_hosts h = {.text = text, .text_size = size};
    char *line, *word;
    int rc = 0;
    while (rc == 0 && (line = next_line(&text))) {
        rota_address address;
        word = next_word(&line, "#");
        if (!word || !parse_address(word, &address))
            continue;
        while (rc == 0 && (word = next_word(&line, "#")))
            rc = hosts_add(&h, files->allocator, word, &address);
    }
    if (rc == 0)
        rc = hosts_index(&h, files->allocator);
    if (rc < 0) {
        hosts_free(&h, files->allocator);
        return rc;
    }
    hosts_free(&files->hosts, files->allocator);
    files->hosts = h;
    return 0;
}

static const struct rota__dns_host *from(const struct rota__dns_hosts *h, uint32_t i, const char *name, size_t n) {
    while (i != NOTHING && !same_name(h->all[i].name, name, n))
        i = h->all[i].next;
    return i == NOTHING ? NULL : &h->all[i];
}

const struct rota__dns_host *rota__dns_hosts_find(const struct rota__dns_hosts *h, const char *name, size_t n) {
    return h->n_buckets ? from(h, h->buckets[hash(name, n) & (h->n_buckets - 1)], name, n) : NULL;
}

const struct rota__dns_host *rota__dns_hosts_next(const struct rota__dns_hosts *h,
                                                  const struct rota__dns_host *host) {
    return from(h, host->next, host->name, strlen(host->name));
}

/* ---- when they are read ---- */

void rota__dns_files_init(struct rota__dns_files *files, const rota_allocator *allocator,
                          const rota_dns_options *options) {
    memset(files, 0, sizeof *files);
    files->allocator = allocator;
    files->options = options;
    files->resolv.path = options->resolv_conf;
    files->hosts_file.path = options->hosts;
}

void rota__dns_files_free(struct rota__dns_files *files) {
    rota__dns_config_unref(files->config, files->allocator);
    hosts_free(&files->hosts, files->allocator);
}

static bool same_stamp(const struct rota__stamp *a, const struct rota__stamp *b) {
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->changed_ns == b->changed_ns;
}

/* Its text, if it has changed: 1, with *text NULL when it is missing; 0: as it was. */
static int changed(struct rota__dns_files *files, struct rota__dns_file *file, int64_t now, char **text, size_t *size,
                   struct rota__stamp *stamp) {
    *text = NULL;
    *size = 0;
    memset(stamp, 0, sizeof *stamp);
    if (file->known && now - file->looked_at < LOOK_AGAIN)
        return 0;
    file->looked_at = now;
    int rc = *file->path ? rota__sys_stamp(file->path, stamp) : -ENOENT;
    if (rc == 0 && file->known && same_stamp(stamp, &file->stamp))
        return 0;
    if (rc == 0)
        rc = read_file(files->allocator, file->path, text, size);
    if (is_missing(rc)) {
        memset(stamp, 0, sizeof *stamp);
        return !file->known || !same_stamp(stamp, &file->stamp);
    }
    return rc < 0 ? rc : 1;
}

static int refresh(struct rota__dns_files *files, struct rota__dns_file *file, int64_t now) {
    struct rota__stamp stamp;
    char *text;
    size_t size;
    int rc = changed(files, file, now, &text, &size, &stamp);
    if (rc > 0 && file == &files->resolv) {
        rc = load_config(files, text);
        rota__free(files->allocator, text, size);
    } else if (rc > 0) {
        rc = load_hosts(files, text, size);
    } else {
        return file->known ? 0 : rc;
    }
    if (rc < 0)
        return file->known ? 0 : rc;
    file->known = true;
    file->stamp = stamp;
    return 0;
}

int rota__dns_files_refresh(struct rota__dns_files *files, int64_t now) {
    int rc = refresh(files, &files->resolv, now);
    return rc < 0 ? rc : refresh(files, &files->hosts_file, now);
}

/* ---- services ---- */

/* The port, if the line is of that service; *tcp: by which of the two. */
static int service_line(char *line, const char *name, bool *tcp) {
    char *first = next_word(&line, "#"), *port = first ? next_word(&line, "#") : NULL, *word = first;
    char *slash = port ? strchr(port, '/') : NULL;
    *tcp = slash && strcmp(slash, "/tcp") == 0;
    if (!*tcp && !(slash && strcmp(slash, "/udp") == 0))
        return -EINVAL;
    *slash = '\0';
    while (word && strcmp(word, name) != 0)
        word = next_word(&line, "#");
    size_t value = number(port);
    return word && value <= 0xffff ? (int)value : -EINVAL;
}

int rota__dns_service(const rota_allocator *allocator, const char *path, const char *name) {
    char *text, *at, *line;
    size_t size;
    int rc = *path ? read_file(allocator, path, &text, &size) : -ENOENT;
    if (rc < 0)
        return is_missing(rc) ? -EINVAL : rc;
    int port = -EINVAL, udp = -EINVAL;
    at = text;
    while (port < 0 && (line = next_line(&at))) {
        bool tcp;
        int found = service_line(line, name, &tcp);
        *(tcp ? &port : &udp) = tcp || udp < 0 ? found : udp;
    }
    rota__free(allocator, text, size);
    return port < 0 ? udp : port;
}
