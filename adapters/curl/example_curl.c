/* Fetches all the addresses given, at once, and prints how each went.
 *
 *     example_curl URL ...
 */
#include <stdio.h>

#include "rota/combine.h"
#include "rota/curl.h"

enum { MAX_URLS = 100 };

struct page {
    rota_curl *curl;
    const char *url;
};

static intptr_t fetch(void *arg) {
    struct page *page = arg;
    rota_curl_stream stream;
    char piece[16384];
    long status = 0;
    size_t bytes = 0;
    CURL *easy = curl_easy_init();
    if (!easy)
        return -ENOMEM;
    curl_easy_setopt(easy, CURLOPT_URL, page->url);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    ssize_t n = rota_curl_begin(page->curl, &stream, easy);
    if (n == 0) {
        while ((n = rota_curl_read(&stream, piece, sizeof piece)) > 0)
            bytes += (size_t)n;
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        rota_curl_end(&stream);
    }
    curl_easy_cleanup(easy);
    if (n < 0)
        printf("%s: %s\n", page->url, rota_strerror(n));
    else
        printf("%s: status %ld, %zu bytes\n", page->url, status, bytes);
    return 0;
}

static intptr_t fetch_all(void *arg) {
    static struct page pages[MAX_URLS];
    char **urls = arg;
    rota_curl *curl;
    size_t n = 0;
    int rc = rota_curl_open(&curl);
    if (rc < 0)
        return rc;
    for (; urls[n] && n < MAX_URLS; n++)
        pages[n] = (struct page){curl, urls[n]};
    if (n > 0)
        rc = rota_gather_map(fetch, pages, n, sizeof pages[0], NULL, NULL);
    rota_curl_close(curl);
    return rc;
}

int main(int argc, char **argv) {
    (void)argc;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int rc = rota_run(fetch_all, argv + 1, NULL, NULL);
    if (rc < 0)
        fprintf(stderr, "example_curl: %s\n", rota_strerror(rc));
    curl_global_cleanup();
    return rc < 0;
}
