/* Program 3: ten pages at the same time, the < and > in each counted, and how long each took. One host does not exist,
 * one refuses, one page is missing; the others do not care. 04_crawler_sequential is the same with one page after the
 * other; crawl is the grown-up program. */
#include <inttypes.h>
#include <stdio.h>

#include "examples/fetch.h"
#include "examples/site.h"

enum { PAGES = 10 };

static struct site site;

static double seconds(int64_t ns) { return (double)ns / (double)ROTA_S; }

static intptr_t fetch_and_count(void *arg) {
    struct page *page = arg;
    int rc = fetch_page(page);
    if (rc == 0)
        printf("%-26s %4" PRIu64 " <  %4" PRIu64 " >   %.3f s\n", page->url, page->less, page->greater,
               seconds(page->end - page->start));
    else
        printf("%-26s %s\n", page->url, page->stage == FETCH_RESOLVE ? "has no address" : fetch_error(page));
    return rc == -ECANCELED ? rc : 0; /* a page that fails is a result */
}

static intptr_t crawl(void *unused) {
    (void)unused;
    struct page pages[PAGES] = { { .url = NULL } };
    for (int i = 0; i < PAGES; i++) {
        const char *port = site_route(&site, site_urls[i]);
        pages[i] = (struct page){ .url = site_urls[i], .to_host = port != NULL ? "127.0.0.1" : NULL, .to_port = port,
                                  .timeout = 10 * ROTA_S, .connect_timeout = 1 * ROTA_S };
    }
    int64_t start = rota_now();
    int rc = rota_gather_map(fetch_and_count, pages, PAGES, sizeof pages[0], NULL, NULL);
    printf("%d pages in %.3f s\n", PAGES, seconds(rota_now() - start));
    return rc;
}

static intptr_t amain(void *unused) { return site_visit(&site, crawl, unused); }

int main(void) {
    int rc = rota_run(amain, NULL, NULL, NULL);
    if (rc < 0)
        fprintf(stderr, "crawler: %s\n", rota_strerror(rc));
    return rc < 0;
}
