/* The demo web: site_run serves it, site_start and site_stop keep it in a child process; site_route and site_connect
 * play the part of /etc/hosts for its names, which end in .test so that nobody else can own them (RFC 6761).
 *
 * A page is one row of a table below, and so is a file to download. It must not know what its visitors count.
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

#include "rota/http.h"

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

/* On files.test. In pieces, so that it takes a while, as a download does. */
struct site_file {
    const char *path;
    size_t size;
    int64_t piece_delay;     /* before each piece */
    size_t ends_at;          /* the connection breaks behind so many bytes; 0: never */
};

static const struct site_file files[] = {
    { "/maps.zip", 600 * 1024, 30 * ROTA_MS, 0 },
    { "/songs.zip", 900 * 1024, 20 * ROTA_MS, 0 },
    { "/letters.zip", 250 * 1024, 50 * ROTA_MS, 0 },
    { "/broken.zip", 400 * 1024, 20 * ROTA_MS, 150 * 1024 },
    { "/endless.zip", 64 * 1024 * 1024, 100 * ROTA_MS, 0 },
};
enum { FILES = sizeof files / sizeof files[0] };
static const char files_host[] = "files.test";

static const char closed_host[] = "closed.test";

const char *const site_urls[] = {
    "http://garden.test/",  "http://museum.test/",      "http://station.test/", "http://fakey.fakefake/",
    "http://library.test/", "http://archive.test/lost", "http://closed.test/",  "http://harbour.test/",
    "http://market.test/",  "http://theatre.test/",     NULL,
};

const char *const site_downloads[] = {
    "http://files.test/maps.zip", "http://files.test/songs.zip", "http://files.test/lost.zip",
    "http://files.test/letters.zip", NULL,
};

enum { PARAGRAPH_MAX = 128, PIECE = 16 * 1024 };

/* ---- one answer --------------------------------------------------------------------------------- */

/* Every third paragraph compares something, so that a page does not have as many < as >. */
static int paragraph(char *buf, size_t size, const char *host, int i) {
    return snprintf(buf, size, "<p>Paragraph %d of %s%s.</p>\n", i + 1, host, i % 3 == 0 ? ", where 1 < 2" : "");
}

/* The whole page is made before its head goes out, because Content-Length comes first. */
static int answer_plain(rota_http_reply *reply, const struct site_page *page) {
    char *body = malloc((size_t)page->paragraphs * PARAGRAPH_MAX);
    if (body == NULL)
        return -ENOMEM;
    size_t n = 0;
    for (int i = 0; i < page->paragraphs; i++)
        n += (size_t)paragraph(body + n, PARAGRAPH_MAX, page->host, i);
    int rc = rota_http_reply_send(reply, page->status, "text/html", body, n);
    free(body);
    return rc;
}

static int answer_chunked(rota_http_reply *reply, const struct site_page *page) {
    int rc = rota_http_reply_begin(reply, page->status);
    if (rc == 0)
        rc = rota_http_reply_field(reply, "Content-Type", "text/html");
    for (int i = 0; rc == 0 && i < page->paragraphs; i++) {
        char text[PARAGRAPH_MAX];
        int n = paragraph(text, sizeof text, page->host, i);
        rc = rota_http_reply_flush(reply);
        if (rc == 0)
            rc = rota_sleep(page->chunk_delay);
        if (rc == 0)
            rc = rota_http_reply_write(reply, text, (size_t)n);
    }
    return rc;
}

/* Bytes that differ by place, behind the four that a zip file begins with. */
static void fill_piece(char *piece, size_t n, size_t at) {
    for (size_t i = 0; i < n; i++)
        piece[i] = at + i < 4 ? "PK\3\4"[at + i] : (char)((at + i) * 7 + (at + i) / 251);
}

static int answer_file(rota_http_reply *reply, const struct site_file *file) {
    char piece[PIECE];
    size_t end = file->ends_at > 0 ? file->ends_at : file->size;
    int rc = rota_http_reply_begin(reply, 200);
    if (rc == 0)
        rc = rota_http_reply_field(reply, "Content-Type", "application/zip");
    if (rc == 0)
        rc = rota_http_reply_length(reply, file->size);
    for (size_t at = 0, n; rc == 0 && at < end; at += n) {
        n = end - at < sizeof piece ? end - at : sizeof piece;
        fill_piece(piece, n, at);
        rc = rota_http_reply_flush(reply);
        if (rc == 0)
            rc = rota_sleep(file->piece_delay);
        if (rc == 0)
            rc = rota_http_reply_write(reply, piece, n);
    }
    /* An answer shorter than was said ends the connection; -EPIPE keeps the server from calling it our mistake. */
    return rc == 0 && end < file->size ? -EPIPE : rc;
}

/* ---- one request -------------------------------------------------------------------------------- */

/* Is the part of s before any of the characters in ends the n bytes at name? */
static bool part_is(const char *s, const char *ends, const char *name, size_t n) {
    return strcspn(s, ends) == n && strncasecmp(s, name, n) == 0;
}

static bool host_is(const rota_http_incoming *request, const char *host) {
    return part_is(request->host, ":", host, strlen(host));
}

/* By Host; a browser that was pointed at 127.0.0.1:PORT can say it in the path. */
static const struct site_page *find_page(const rota_http_incoming *request) {
    static const struct site_page missing = { "this web", 404, 0, 1, 0 };
    for (int i = 0; i < PAGES; i++) {
        const char *host = pages[i].host;
        if (host_is(request, host) || part_is(request->target + 1, "/?", host, strcspn(host, ".")))
            return &pages[i];
    }
    return &missing;
}

/* files.test/maps.zip, or 127.0.0.1:PORT/files/maps.zip. */
static const struct site_file *find_file(const rota_http_incoming *request) {
    const char *path = request->target;
    if (!host_is(request, files_host) && strncmp(path, "/files/", 7) == 0)
        path += 6;
    else if (!host_is(request, files_host))
        return NULL;
    for (int i = 0; i < FILES; i++)
        if (strcmp(path, files[i].path) == 0)
            return &files[i];
    return NULL;
}

/* /to/URL leads to that URL. */
static int answer_redirect(rota_http_reply *reply, const char *to) {
    static const char text[] = "<p>It is elsewhere.</p>\n";
    int rc = rota_http_reply_begin(reply, 302);
    if (rc == 0)
        rc = rota_http_reply_field(reply, "Location", to);
    return rc < 0 ? rc : rota_http_reply_write(reply, text, sizeof text - 1);
}

static intptr_t handler(rota_http_incoming *request, rota_http_reply *reply, void *arg) {
    (void)arg;
    if (strncmp(request->target, "/to/", 4) == 0)
        return answer_redirect(reply, request->target + 4);
    const struct site_file *file = find_file(request);
    if (file != NULL)
        return answer_file(reply, file);
    const struct site_page *page = find_page(request);
    int rc = rota_sleep(page->delay);
    if (rc < 0)
        return rc;
    return page->chunk_delay > 0 ? answer_chunked(reply, page) : answer_plain(reply, page);
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
    const rota_http_serve_options opt = { .serve.listening = listening };
    const char *port = site->port != NULL ? site->port : "0";
    int rc = site->serve != NULL ? site->serve(site->serve_ctx, "127.0.0.1", port, handler, site, &opt)
                                 : rota_http_serve("127.0.0.1", port, handler, site, &opt);
    rota_close(closed);
    return rc;
}

intptr_t site_visit(struct site *site, rota_fn *visit, void *arg) {
    rota_group server;
    rota_group_begin(&server, NULL);
    intptr_t rc = rota_spawn(NULL, site_run, site, &(rota_spawn_options){ .name = "site", .group = &server });
    if (rc == 0)
        rc = rota_future_await(&site->ready, NULL);
    if (rc == 0)
        rc = visit(arg);
    rota_scope_cancel(&server.scope, "the visit is over");
    return rota_group_end(&server, rc);
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

static const char *port_of_host(const struct site *site, const char *host, size_t n) {
    if (n == strlen(closed_host) && strncasecmp(host, closed_host, n) == 0)
        return site->ports.closed;
    if (n == strlen(files_host) && strncasecmp(host, files_host, n) == 0)
        return site->ports.open;
    for (int i = 0; i < PAGES; i++)
        if (n == strlen(pages[i].host) && strncasecmp(host, pages[i].host, n) == 0)
            return site->ports.open;
    return NULL;
}

const char *site_route(const struct site *site, const char *url) {
    return strncmp(url, "http://", 7) == 0 ? port_of_host(site, url + 7, strcspn(url + 7, "/:")) : NULL;
}

int site_connect(void *arg, rota_stream *stream, const char *host, const char *port, bool secure, char *why, size_t n) {
    (void)why, (void)n;
    const char *ours = port_of_host(arg, host, strlen(host));
    if (secure)
        return -EPROTONOSUPPORT;
    int fd = rota_dial(ours != NULL ? "127.0.0.1" : host, ours != NULL ? ours : port, NULL);
    if (fd < 0)
        return fd;
    int rc = rota_stream_open(stream, fd, NULL);
    if (rc < 0)
        rota_close(fd);
    return rc;
}
