/* Program 19: three pages scraped one after the other, then at the same time, with what happens when. Given URLs, it
 * scrapes those.
 *
 *   19_scraper_sync_async [--cacert FILE] [URL...]     FILE: whom to trust for https, instead of whom the system trusts
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "examples/secure.h"
#include "examples/site.h"
#include "rota.h"
#include "rota/http.h"

enum { PAGES_MAX = 16, PAGE_MAX = 16 << 20 };

struct page {
    const char *url;
    rota_http_client *client;
    size_t size;
};

static struct site site;
static struct secure secure;
static const char *const demo[] = { "http://library.test/", "http://market.test/", "http://theatre.test/", NULL };
static const char *const *urls = demo;

static void log_line(const char *what, const char *url) {
    char clock[16];
    time_t now = time(NULL);
    strftime(clock, sizeof clock, "%H:%M:%S", localtime(&now));
    printf("[%s] %-8s %s\n", clock, what, url);
}

static intptr_t scrape(void *arg) {
    struct page *page = arg;
    rota_http_response response;
    const char *text;
    char why_text[SECURE_WHY];
    log_line("START", page->url);
    int rc = rota_http_request(page->client, &response, "GET", page->url, NULL);
    const char *tls = rc < 0 ? secure_take_why(&secure, why_text) : NULL;
    if (rc == 0) {
        log_line("RESPONSE", page->url);
        rc = rota_http_read_all(&response, &text, &page->size, PAGE_MAX);
        rota_http_response_close(&response);
    }
    if (rc == -ECANCELED)
        return rc;
    log_line(rc == 0 ? "PAGE" : "FAILED", page->url);
    if (rc < 0)
        printf("           %s\n", response.why != NULL ? response.why : tls != NULL ? tls : rota_strerror(rc));
    return 0;
}

static intptr_t scrape_in_turn(struct page *pages, size_t n) {
    intptr_t rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = scrape(&pages[i]);
    return rc;
}

static intptr_t scrape_at_once(struct page *pages, size_t n) {
    return rota_gather_map(scrape, pages, n, sizeof *pages, NULL, NULL);
}

/* A client of its own for each run: the second one shall not find the connections of the first. */
static intptr_t run(const char *title, intptr_t (*how)(struct page *pages, size_t n)) {
    struct page pages[PAGES_MAX];
    rota_http_client client;
    size_t n = 0;
    int rc = rota_http_client_open(&client, &(rota_http_client_options){
        .connect = urls == demo ? site_connect : secure_connect,
        .connect_ctx = urls == demo ? (void *)&site : &secure });
    if (rc < 0)
        return rc;
    for (; urls[n] != NULL && n < PAGES_MAX; n++)
        pages[n] = (struct page){ .url = urls[n], .client = &client };
    printf("%s\n", title);
    int64_t start = rota_now();
    rc = (int)how(pages, n);
    double took = (double)(rota_now() - start) / (double)ROTA_S;
    for (size_t i = 0; i < n; i++)
        printf("  %-24s %8zu bytes\n", pages[i].url, pages[i].size);
    printf("Ran in %.3f secs\n\n", took);
    rota_http_client_close(&client);
    return rc;
}

static intptr_t both(void *unused) {
    (void)unused;
    intptr_t rc = run("Synchronous", scrape_in_turn);
    return rc < 0 ? rc : run("Asynchronous", scrape_at_once);
}

static intptr_t amain(void *arg) { return urls == demo ? site_visit(&site, both, arg) : both(arg); }

int main(int argc, char **argv) {
    int at = argc > 2 && strcmp(argv[1], "--cacert") == 0 ? 3 : 1;
    secure.cacert = at == 3 ? argv[2] : NULL;
    if (at < argc)
        urls = (const char *const *)(argv + at);
    int rc = secure_open(&secure);
    if (rc < 0) {
        char why[SECURE_WHY];
        fprintf(stderr, "scraper: %s: %s\n", secure.cacert, secure_take_why(&secure, why));
        return 1;
    }
    rc = rota_run(amain, NULL, NULL, NULL);
    if (rc < 0)
        fprintf(stderr, "scraper: %s\n", rota_strerror(rc));
    secure_close(&secure);
    return rc < 0;
}
