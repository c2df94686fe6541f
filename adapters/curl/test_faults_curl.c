/* All that rota and libcurl do for a few transfers fails, one call after the other: see adapters/faults.h. */
#include "adapters/curl/kit.h"
#include "adapters/faults.h"

/* With *code (or without one) as rota_curl_perform has it. */
static int get(rota_curl *curl, const char *path, bool with_code) {
    struct body body;
    CURLcode code = CURLE_OK;
    CURL *easy = easy_for(path, &body);
    if (!easy)
        return -ENOMEM;
    int rc = rota_curl_perform(curl, easy, with_code ? &code : NULL);
    if (rc == 0)
        rc = rota_curl_error(code);
    if (rc == 0)
        cr_expect_str_eq(body.text, "hello");
    curl_easy_cleanup(easy);
    return rc;
}

static int read_big(rota_curl *curl) {
    static char buf[10000];
    struct body unused;
    rota_curl_stream stream;
    size_t all = 0;
    ssize_t n;
    CURL *easy = easy_for("/big", &unused);
    if (!easy)
        return -ENOMEM;
    int rc = rota_curl_begin(curl, &stream, easy);
    if (rc == 0) {
        while ((n = rota_curl_read(&stream, buf, sizeof buf)) > 0)
            all += (size_t)n;
        rc = n < 0 ? (int)n : 0;
        cr_expect(rc < 0 || all == BIG_BODY, "%zu bytes", all);
        rota_curl_end(&stream);
    }
    curl_easy_cleanup(easy);
    return rc;
}

static intptr_t scenario(void *unused) {
    rota_curl *curl;
    (void)unused;
    int rc = rota_curl_open(&curl);
    cr_expect((rc == 0) == (curl != NULL));
    if (rc == 0)
        rc = get(curl, "/redirect", true);
    if (rc == 0)
        rc = get(curl, "/hello", false);
    if (rc == 0)
        rc = read_big(curl);
    rota_curl_close(curl);
    return rc;
}

static void begin(void) {
    open_web();
    cr_assert_eq(curl_global_init_mem(CURL_GLOBAL_DEFAULT, faults_malloc, free, faults_realloc, faults_strdup,
                                      faults_calloc), CURLE_OK);
}

static void end(void) {
    curl_global_cleanup();
    close_web();
}

static const struct fault_program program = {.scenario = scenario, .afterwards = scenario};

Fault_tests(curl_faults, &program, .init = begin, .fini = end, .timeout = 200)
