/* The demo web: site_run serves it, site_start and site_stop keep it in a child process, site_route plays the
 * part of /etc/hosts for its names, which end in .test so that nobody else can own them (RFC 6761).
 *
 * A page is one row of the table below. Each answer closes its connection: the crawler measures connecting on
 * purpose. It must not know what the crawler counts.
 */
#include "examples/site.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "examples/http.h"

struct site_page {
    const char *host;        /* also answers as http://127.0.0.1:PORT/<host up to the dot> */
    int status;
    int64_t delay;           /* before the first byte */
    int paragraphs;
    int64_t chunk_delay;     /* > 0: chunked, a paragraph per chunk, with this before each */
};

static const struct site_page pages[] = {
    { "garden.test", 200, 40 * ROTA_MS, 12, 0 },
    { "museum.test", 200, 1200 * ROTA_MS, 85, 0 },
    { "station.test", 200, 150 * ROTA_MS, 24, 0 },
    { "library.test", 200, 300 * ROTA_MS, 400, 0 },
    { "archive.test", 404, 80 * ROTA_MS, 1, 0 },
    { "harbour.test", 200, 120 * ROTA_MS, 8, 90 * ROTA_MS },
    { "market.test", 200, 450 * ROTA_MS, 60, 0 },
    { "theatre.test", 200, 620 * ROTA_MS, 33, 0 },
    { "silence.test", 200, 3600 * ROTA_S, 1, 0 },  /* not in the list: to try --timeout and Ctrl-C on */
};
enum { PAGES = sizeof pages / sizeof pages[0] };

static const char closed_host[] = "closed.test";

const char *const site_urls[] = {
    "http://garden.test/",  "http://museum.test/",      "http://station.test/", "http://fakey.fakefake/",
    "http://library.test/", "http://archive.test/lost", "http://closed.test/",  "http://harbour.test/",
    "http://market.test/",  "http://theatre.test/",     NULL,
};

enum { PARAGRAPH_MAX = 128 };

#define REQUEST_PATIENCE (10 * ROTA_S)

/* ---- one answer --------------------------------------------------------------------------------- */

/* Every third paragraph compares something, so that a page does not have as many < as >. */
static int paragraph(char *buf, size_t size, const char *host, int i) {
    return snprintf(buf, size, "<p>Paragraph %d of %s%s.</p>\n", i + 1, host, i % 3 == 0 ? ", where 1 < 2" : "");
}

static int send_head(int fd, const struct site_page *page, size_t length) {
    char head[256], framing[64] = "Transfer-Encoding: chunked";
    if (page->chunk_delay == 0)
        snprintf(framing, sizeof framing, "Content-Length: %zu", length);
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d %s\r\nContent-Type: text/html\r\n%s\r\nConnection: close\r\n\r\n",
                     page->status, page->status == 200 ? "OK" : "Not Found", framing);
    return rota_write_all(fd, head, (size_t)n, NULL);
}

/* The whole page is made before its head goes out, because Content-Length comes first. */
static int answer_plain(int fd, const struct site_page *page, bool with_body) {
    char *body = malloc((size_t)page->paragraphs * PARAGRAPH_MAX);
    if (body == NULL)
        return -ENOMEM;
    size_t n = 0;
    for (int i = 0; i < page->paragraphs; i++)
        n += (size_t)paragraph(body + n, PARAGRAPH_MAX, page->host, i);
    int rc = send_head(fd, page, n);
    if (rc == 0 && with_body)
        rc = rota_write_all(fd, body, n, NULL);
    free(body);
    return rc;
}

static int answer_chunked(int fd, const struct site_page *page, bool with_body) {
    int rc = send_head(fd, page, 0);
    for (int i = 0; rc == 0 && with_body && i < page->paragraphs; i++) {
        char text[PARAGRAPH_MAX], chunk[PARAGRAPH_MAX + 16];
        int n = paragraph(text, sizeof text, page->host, i);
        n = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", (unsigned)n, text);
        rc = rota_sleep(page->chunk_delay);
        if (rc == 0)
            rc = rota_write_all(fd, chunk, (size_t)n, NULL);
    }
    return rc < 0 || !with_body ? rc : rota_write_all(fd, "0\r\n\r\n", 5, NULL);
}

/* ---- one client --------------------------------------------------------------------------------- */

/* Is the part of s before any of the characters in ends the n bytes at name? */
static bool part_is(const char *s, const char *ends, const char *name, size_t n) {
    return strcspn(s, ends) == n && strncasecmp(s, name, n) == 0;
}

/* By Host; a browser that was pointed at 127.0.0.1:PORT can say it in the path. */
static const struct site_page *find_page(const struct http_parser *request) {
    static const struct site_page missing = { "this web", 404, 0, 1, 0 };
    for (int i = 0; i < PAGES; i++) {
        const char *host = pages[i].host;
        if (part_is(request->host, ":", host, strlen(host)))
            return &pages[i];
        if (part_is(request->target + 1, "/?", host, strcspn(host, ".")))
            return &pages[i];
    }
    return &missing;
}

static int read_request(int fd, struct http_parser *request) {
    http_request_init(request);
    while (!request->done) {
        char buf[1024];
        ssize_t n = rota_read(fd, buf, sizeof buf);
        if (n < 0)
            return (int)n;
        int rc = n > 0 ? (int)http_feed(request, buf, (size_t)n) : http_end(request);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int converse(int fd) {
    struct http_parser request;
    rota_scope patience;
    rota_timeout_begin(&patience, REQUEST_PATIENCE);
    int rc = (int)rota_scope_end(&patience, read_request(fd, &request));
    if (rc < 0)
        return rc;
    const struct site_page *page = find_page(&request);
    bool with_body = strcmp(request.method, "HEAD") != 0;
    rc = rota_sleep(page->delay);
    if (rc < 0)
        return rc;
    return page->chunk_delay > 0 ? answer_chunked(fd, page, with_body) : answer_plain(fd, page, with_body);
}

/* A client that goes away or talks nonsense is an every-day event for a server: nobody is told. */
static intptr_t client(int fd, void *arg) {
    (void)arg;
    int rc = converse(fd);
    return rc == -ECANCELED ? rc : 0;
}

/* ---- the server --------------------------------------------------------------------------------- */

static void port_of(int fd, char port[6]) {
    struct sockaddr_in addr = { .sin_port = 0 };
    socklen_t len = sizeof addr;
    getsockname(fd, (struct sockaddr *)&addr, &len);
    snprintf(port, 6, "%u", (unsigned)ntohs(addr.sin_port));
}

/* A port that is bound and never listens: it stays ours, so that it refuses for certain. */
static int closed_socket(struct site *site) {
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        int error = -errno;
        rota_close(fd);
        return error;
    }
    port_of(fd, site->ports.closed);
    return fd;
}

static void listening(int fd, void *arg) {
    struct site *site = arg;
    port_of(fd, site->ports.open);
    int rc = rota_future_set(&site->ready, 0);
    (void)rc;  /* -ESHUTDOWN: nobody waits any more */
}

intptr_t site_run(void *arg) {
    struct site *site = arg;
    int closed = closed_socket(site);
    if (closed < 0)
        return closed;
    int rc = rota_serve("127.0.0.1", site->port != NULL ? site->port : "0", client, site,
                        &(rota_serve_options){ .listening = listening });
    rota_close(closed);
    return rc;
}

/* ---- in a child process ------------------------------------------------------------------------- */

struct child {
    struct site *site;
    int report, life;
};

/* Tells the parent the ports, or the error, then waits for the end of the pipe that the parent holds: it comes
 * however the parent ends. */
static intptr_t child_main(void *arg) {
    struct child *c = arg;
    rota_group server;
    rota_group_begin(&server, NULL);
    intptr_t rc = rota_spawn(NULL, site_run, c->site, &(rota_spawn_options){ .name = "site", .group = &server });
    if (rc == 0)
        rc = rota_future_await(&c->site->ready, NULL);
    if (rc == 0)
        rc = rota_write_all(c->report, &c->site->ports, sizeof c->site->ports, NULL);
    char byte;
    if (rc == 0)
        rc = rota_read(c->life, &byte, 1);
    rota_scope_cancel(&server.scope, "the crawler has ended");
    return rota_group_end(&server, rc);
}

static void child_process(struct site *site, int report, int life) {
    signal(SIGINT, SIG_IGN);  /* Ctrl-C reaches the whole group; the parent decides when we go */
    struct child c = { site, report, life };
    intptr_t result = 0;
    int rc = rota_run(child_main, &c, &result, NULL);
    _exit(rc < 0 || rota_failed(result) ? 1 : 0);
}

static int read_report(struct site *site, int fd) {
    ssize_t n;
    do
        n = read(fd, &site->ports, sizeof site->ports);  /* in one piece: less than PIPE_BUF */
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return n == (ssize_t)sizeof site->ports ? 0 : -EPIPE;
}

int site_start(struct site *site) {
    int report[2], life[2];
    if (pipe(report) < 0)
        return -errno;
    if (pipe(life) < 0) {
        int error = -errno;
        close(report[0]);
        close(report[1]);
        return error;
    }
    site->child_ = fork();
    if (site->child_ == 0) {
        close(report[0]);
        close(life[1]);
        child_process(site, report[1], life[0]);
    }
    int rc = site->child_ < 0 ? -errno : 0;
    close(report[1]);
    close(life[0]);
    site->life_ = life[1];
    if (rc == 0)
        rc = read_report(site, report[0]);
    close(report[0]);
    if (rc < 0)
        site_stop(site);
    return rc;
}

void site_stop(struct site *site) {
    close(site->life_);
    if (site->child_ > 0)
        while (waitpid(site->child_, NULL, 0) < 0 && errno == EINTR)
            ;
    site->child_ = 0;
}

/* ---- names -------------------------------------------------------------------------------------- */

static bool host_is(const char *url, const char *host) {
    size_t n = strlen(host);
    return strncmp(url, "http://", 7) == 0 && strncmp(url + 7, host, n) == 0 && url[7 + n] == '/';
}

const char *site_route(const struct site *site, const char *url) {
    if (host_is(url, closed_host))
        return site->ports.closed;
    for (int i = 0; i < PAGES; i++)
        if (host_is(url, pages[i].host))
            return site->ports.open;
    return NULL;
}
