/* Program 11: downloads several files at the same time, each streamed chunk by chunk into a file by a generator that is
 * primed and then sent the chunks. What is not there is skipped. A file gets its name when it is whole: before that it
 * is called NAME.part, and however a download ends early (an error, a full disk, Ctrl-C), the generator's cleanup takes
 * that away.
 *
 *   11_downloader [--cacert FILE] [--into FOLDER] [URL...]     without URLs: from the demo web; FILE: whom to trust
 *                                                              for https, instead of whom the system trusts
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "examples/secure.h"
#include "examples/site.h"
#include "rota.h"
#include "rota/generator.h"
#include "rota/http.h"

enum { URLS_MAX = 64, CHUNK = 16 * 1024, PATH_SIZE = 1024 };

struct download {
    const char *url;
    struct downloader *all;
    char path[PATH_SIZE];
    char why_text[SECURE_WHY];
    uint64_t received;
    int64_t length;          /* -1: not known */
};

struct downloader {
    const char *folder;
    struct download downloads[URLS_MAX];
    size_t count, failed, running;
    rota_http_client client;
    struct site site;
    struct secure secure;
    bool demo;
    rota_scope work;
    int signo;
};

struct chunk {
    const char *data;
    size_t n;
};

/* ---- the writer ---- */

/* Small pieces of a file go to the system's cache, so they hold up nobody for long. */
static int write_chunk(int fd, const struct chunk *chunk) {
    for (size_t at = 0; at < chunk->n;) {
        ssize_t n = write(fd, chunk->data + at, chunk->n - at);
        if (n < 0 && errno != EINTR)
            return -errno;
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int finish_file(int fd, int rc, const char *part, const char *path) {
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(part, path) < 0)
        rc = -errno;
    if (rc < 0)
        unlink(part);
    return rc;
}

/* Sent: a chunk to write, or 0 for the end. */
static intptr_t writer(rota_gen *self, void *arg) {
    const char *path = arg;
    char part[PATH_SIZE + 8];
    snprintf(part, sizeof part, "%s.part", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return -errno;
    intptr_t sent = 0;
    int rc;
    while ((rc = rota_gen_yield(self, 0, &sent)) == 0 && sent != 0) {
        rc = write_chunk(fd, rota_ptr(sent));
        if (rc < 0)
            break;
    }
    return finish_file(fd, rc, part, path);
}

/* ---- one download ---- */

/* The last part of the URL's path. */
static void choose_path(struct download *d, const rota_http_url *url) {
    size_t n = strcspn(url->target, "?"), from = n;
    while (from > 0 && url->target[from - 1] != '/')
        from--;
    bool odd = from == n || url->target[from] == '.';
    snprintf(d->path, sizeof d->path, "%s/%.*s", d->all->folder, odd ? 8 : (int)(n - from),
             odd ? "download" : url->target + from);
}

/* What the generator makes of a chunk: ROTA_YIELDED when it wants more; what it failed with otherwise. */
static int send_chunk(rota_gen *w, const struct chunk *chunk) {
    intptr_t value = 0;
    int rc = rota_gen_send(w, (intptr_t)chunk, &value);
    return rc == ROTA_DONE && rota_failed(value) ? (int)value : rc;
}

static int pump(struct download *d, rota_http_response *response, rota_gen *w) {
    char buf[CHUNK];
    ssize_t n;
    while ((n = rota_http_read(response, buf, sizeof buf)) > 0) {
        d->received += (uint64_t)n;
        int rc = send_chunk(w, &(struct chunk){ buf, (size_t)n });
        if (rc < 0)
            return rc;
    }
    return n < 0 ? (int)n : send_chunk(w, NULL);
}

static int save(struct download *d, rota_http_response *response) {
    rota_gen w;
    intptr_t value = 0;
    int rc = rota_gen_open(&w, writer, d->path, NULL);
    if (rc < 0)
        return rc;
    rc = rota_gen_next(&w, &value); /* up to its first yield, where it waits for a chunk */
    if (rc == ROTA_YIELDED)
        rc = pump(d, response, &w);
    else if (rc == ROTA_DONE)
        rc = (int)value;
    rota_gen_close(&w);
    return rc;
}

static const char *name_of(const struct download *d) {
    const char *slash = strrchr(d->url, '/');
    return slash != NULL ? slash + 1 : d->url;
}

static int fetch_file(struct download *d, const char **why) {
    rota_http_response response;
    int rc = rota_http_request(&d->all->client, &response, "GET", d->url, &(rota_http_request_options){
        .connect_timeout = 10 * ROTA_S, .head_timeout = 30 * ROTA_S, .read_timeout = 30 * ROTA_S });
    *why = response.why;
    if (rc < 0) {
        const char *tls = secure_take_why(&d->all->secure, d->why_text);
        *why = *why != NULL ? *why : tls;
        return rc;
    }
    if (response.status != 200) {
        printf("%s: %d %s, skipped\n", name_of(d), response.status, response.reason);
        rota_http_response_close(&response);
        return 0;
    }
    d->length = response.length;
    choose_path(d, &response.url);
    printf("%s: begins, %" PRId64 " bytes\n", name_of(d), d->length);
    rc = save(d, &response);
    if (rc == 0)
        printf("%s: done, %" PRIu64 " bytes\n", name_of(d), d->received);
    *why = response.why;
    rota_http_response_close(&response);
    return rc;
}

static intptr_t download(void *arg) {
    struct download *d = arg;
    const char *why = NULL;
    d->all->running++;
    int rc = fetch_file(d, &why);
    d->all->running--;
    if (rc == -ECANCELED)
        return rc;
    if (rc < 0) {
        printf("%s: failed: %s\n", name_of(d), why != NULL ? why : rota_strerror(rc));
        d->all->failed++;
    }
    return 0;
}

/* ---- all of them ---- */

static intptr_t progress(void *arg) {
    struct downloader *all = arg;
    int rc;
    while ((rc = rota_sleep(200 * ROTA_MS)) == 0) {
        uint64_t sum = 0;
        for (size_t i = 0; i < all->count; i++)
            sum += all->downloads[i].received;
        fprintf(stderr, "\r%zu running, %" PRIu64 " KiB", all->running, sum / 1024);
    }
    fputs("\r\033[K", stderr);
    return rc;
}

static intptr_t interrupt(void *arg) {
    struct downloader *all = arg;
    rota_signals signals;
    int rc = rota_signals_open(&signals, ROTA_SIGNAL(SIGINT) | ROTA_SIGNAL(SIGTERM));
    if (rc < 0)
        return rc;
    rc = rota_signals_wait(&signals);
    rota_signals_close(&signals);
    if (rc < 0)
        return rc;
    all->signo = rc;
    rota_scope_cancel(&all->work, "interrupted");
    return 0;
}

static intptr_t download_all(void *arg) {
    struct downloader *all = arg;
    rota_group helpers;
    rota_http_client_options opt = { .connect = all->demo ? site_connect : secure_connect,
                                     .connect_ctx = all->demo ? (void *)&all->site : &all->secure };
    int rc = rota_http_client_open(&all->client, &opt);
    if (rc < 0)
        return rc;
    rota_group_begin(&helpers, NULL);
    rc = rota_spawn(NULL, interrupt, all, &(rota_spawn_options){ .name = "interrupt", .group = &helpers });
    if (rc == 0 && isatty(STDERR_FILENO))
        rc = rota_spawn(NULL, progress, all, &(rota_spawn_options){ .name = "progress", .group = &helpers });
    rota_scope_begin(&all->work);
    if (rc == 0)
        rc = rota_gather_map(download, all->downloads, all->count, sizeof all->downloads[0], NULL, NULL);
    rc = (int)rota_scope_end(&all->work, rc);
    rota_scope_cancel(&helpers.scope, "all is done");
    rc = (int)rota_group_end(&helpers, rc == -ECANCELED && all->signo != 0 ? 0 : rc);
    rota_http_client_close(&all->client);
    return rc;
}

static intptr_t amain(void *arg) {
    struct downloader *all = arg;
    return all->demo ? site_visit(&all->site, download_all, all) : download_all(all);
}

static void read_arguments(struct downloader *all, int argc, char **argv) {
    int at = 1;
    all->folder = ".";
    for (; at + 1 < argc; at += 2) {
        if (strcmp(argv[at], "--into") == 0)
            all->folder = argv[at + 1];
        else if (strcmp(argv[at], "--cacert") == 0)
            all->secure.cacert = argv[at + 1];
        else
            break;
    }
    all->demo = at == argc;
    const char *const *urls = all->demo ? site_downloads : (const char *const *)(argv + at);
    for (; urls[all->count] != NULL && all->count < URLS_MAX; all->count++)
        all->downloads[all->count] = (struct download){ .url = urls[all->count], .all = all, .length = -1 };
}

int main(int argc, char **argv) {
    static struct downloader all;
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes shall be an error of the write */
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_arguments(&all, argc, argv);
    intptr_t result = 0;
    int rc = secure_open(&all.secure);
    if (rc < 0) {
        char why[SECURE_WHY];
        fprintf(stderr, "downloader: %s: %s\n", all.secure.cacert, secure_take_why(&all.secure, why));
        return 1;
    }
    rc = rota_run(amain, &all, &result, NULL);
    secure_close(&all.secure);
    rc = rc < 0 ? rc : (int)result;
    if (rc < 0)
        fprintf(stderr, "downloader: %s\n", rota_strerror(rc));
    if (all.signo != 0)
        printf("interrupted\n");
    return all.signo != 0 ? 128 + all.signo : rc < 0 || all.failed > 0;
}
