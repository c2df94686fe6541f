/* The suspending calls of rota/curl.h: cancelled at every point at which they stop, and before each. */
#include "adapters/curl/kit.h"
#include "tests/everywhere.h"

/* In scenarios, for tests/everywhere/check.py. */
static const char *const suspending[] = {"rota_curl_perform", "rota_curl_read"};

static rota_curl *curl;
static CURL *easy;
static struct body body;

static void transfer_begin(void) {
    cr_expect_eq(rota_curl_open(&curl), 0);
    easy = easy_for("/redirect", &body);
}

static intptr_t transfer_body(void *unused) {
    CURLcode code;
    (void)unused;
    int rc = S(rota_curl_perform(curl, easy, &code));
    cr_expect_eq(code, rc == 0 ? CURLE_OK : CURLE_ABORTED_BY_CALLBACK);
    cr_expect(rc < 0 || strcmp(body.text, "hello") == 0);
    int rc_2 = S(rota_curl_perform(curl, easy, NULL));
    return rc < 0 ? rc : rc_2;
}

/* The handle that was in a transfer, and whatever connections are kept. */
static void transfer_reuse(void) {
    memset(&body, 0, sizeof body);
    int rc = rota_curl_perform(curl, easy, NULL);
    cr_expect_eq(rc, 0, "%s", rota_strerror(rc));
    cr_expect_str_eq(body.text, "hello");
}

static void transfer_end(void) {
    curl_easy_cleanup(easy);
    cr_expect_eq(rota_curl_close(curl), 0);
}

static const struct scenario transfers = {
    .name = "curl perform", .begin = transfer_begin, .body = transfer_body, .reuse = transfer_reuse,
    .end = transfer_end, .outside = true
};

/* ---- a stream: no byte is lost ---- */

static rota_curl_stream stream;
static char text[8];
static size_t used;
static int tokens;

static void stream_begin(void) {
    forget_tokens();
    used = 0;
    tokens = 0;
    memset(text, 0, sizeof text);
    memset(&stream, 0, sizeof stream);
    cr_expect_eq(rota_curl_open(&curl), 0);
    easy = easy_for("/pieces", &body);
}

static void allow_piece(void) {
    if (tokens++ < 2)
        give_token();
}

static ssize_t keep(ssize_t n) {
    used += n > 0 ? (size_t)n : 0;
    return n;
}

static intptr_t stream_body(void *unused) {
    ssize_t n;
    (void)unused;
    int rc = rota_curl_begin(curl, &stream, easy);
    if (rc < 0)
        return rc;
    do {
        allow_piece();
        n = keep(S(rota_curl_read(&stream, text + used, 3)));
    } while (n > 0);
    return n;
}

static void stream_reuse(void) {
    ssize_t n;
    if (!stream.easy)
        return;
    do {
        allow_piece();
        n = keep(rota_curl_read(&stream, text + used, 3));
    } while (n > 0);
    cr_expect_eq(n, 0, "%s", rota_strerror(n));
    cr_expect_str_eq(text, "abcdef");
}

static void stream_end(void) {
    rota_curl_end(&stream);
    transfer_end();
}

static const struct scenario streams = {
    .name = "curl read", .begin = stream_begin, .body = stream_body, .reuse = stream_reuse, .end = stream_end,
    .outside = true
};

static void begin(void) {
    open_web();
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void end(void) {
    curl_global_cleanup();
    close_web();
}

#define Everywhere_test(name) \
    Test(curl_everywhere, name, .init = begin, .fini = end, .timeout = 300) { everywhere(&name); }
Everywhere_test(transfers)
Everywhere_test(streams)

Test(curl_everywhere, every_suspending_call_is_in_a_scenario, .init = begin, .fini = end) {
    everywhere_once(&transfers);
    everywhere_once(&streams);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
}
