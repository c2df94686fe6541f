/* Tests of examples/fetch.c against servers that behave, and that do not. Server and fetcher are tasks of one loop
 * with a virtual clock. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "examples/fetch.h"
#include "rota.h"
#include "tests/harness.h"

enum ending { CLOSE, HANG, RESET, REPEAT };  /* REPEAT: sends it again and again */

struct scene {
    const char *sends;
    enum ending ending;
    int64_t delay;                           /* before it sends */
    char port[6], request[512];
    rota_future ready;
    struct page page;
};

static int repeat(int fd, const char *text) {
    int rc;
    while ((rc = rota_write_all(fd, text, strlen(text), NULL)) == 0)
        continue;
    return rc == -EPIPE || rc == -ECONNRESET ? 0 : rc;
}

static intptr_t client(int fd, void *arg) {
    struct scene *s = arg;
    ssize_t n = rota_read(fd, s->request, sizeof s->request - 1);
    int rc = n < 0 ? (int)n : rota_sleep(s->delay);
    if (rc == 0)
        rc = rota_write_all(fd, s->sends, strlen(s->sends), NULL);
    if (rc == 0 && s->ending == HANG)
        rc = rota_sleep(3600 * ROTA_S);
    if (rc == 0 && s->ending == REPEAT)
        rc = repeat(fd, s->sends);
    if (rc == 0 && s->ending == RESET) {
        /* The bytes must have arrived before the reset, which would take them along. */
        rc = rota_sleep(1 * ROTA_MS);
        struct linger now = { .l_onoff = 1, .l_linger = 0 };
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    return rc;
}

static void listening(int fd, void *arg) {
    struct scene *s = arg;
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    getsockname(fd, (struct sockaddr *)&addr, &len);
    snprintf(s->port, sizeof s->port, "%u", (unsigned)ntohs(addr.sin_port));
    cr_expect_eq(rota_future_set(&s->ready, 0), 0);
}

static intptr_t server(void *arg) {
    return rota_serve("127.0.0.1", "0", client, arg, &(rota_serve_options){ .listening = listening });
}

static intptr_t play(void *arg) {
    struct scene *s = arg;
    rota_group group;
    rota_group_begin(&group, NULL);
    intptr_t rc = rota_spawn(NULL, server, s, &(rota_spawn_options){ .group = &group });
    if (rc == 0)
        rc = rota_future_await(&s->ready, NULL);
    if (rc == 0) {
        s->page.to_port = s->port;
        cr_expect_eq(fetch_page(&s->page), s->page.error);
    }
    rota_scope_cancel(&group.scope, "the test is over");
    return rota_group_end(&group, rc);
}

static void run_scene(struct scene *s) {
    s->page.url = s->page.url != NULL ? s->page.url : "http://host.test/path";
    s->page.to_host = "127.0.0.1";
    s->page.timeout = 10 * ROTA_S;
    s->page.connect_timeout = 5 * ROTA_S;
    intptr_t result = 1;
    int rc = rota_run(play, s, &result, &(rota_loop_options){ .virtual_clock = true });
    cr_assert_eq(rc, 0, "rota_run: %d", rc);
    cr_assert_eq(result, 0, "the scene: %d", (int)result);
}

static void expect_failure(const char *sends, enum ending ending, int error, const char *words) {
    struct scene s = { .sends = sends, .ending = ending };
    run_scene(&s);
    cr_expect_eq(s.page.error, error, "%d instead of %d for: %.60s", s.page.error, error, sends);
    cr_expect(strstr(fetch_error(&s.page), words) != NULL, "\"%s\" for: %.60s", fetch_error(&s.page), sends);
}

Test(fetch, counts_what_it_is_for) {
    struct scene s = { .sends = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n<p>1 < 2</p>\n>>\n" };
    run_scene(&s);
    cr_expect_eq(s.page.error, 0);
    cr_expect_eq(s.page.status, 200);
    cr_expect_eq(s.page.bytes, 16);
    cr_expect_eq(s.page.less, 3);
    cr_expect_eq(s.page.greater, 4);
    cr_expect_str_eq(fetch_error(&s.page), "");
    cr_expect_eq(strncmp(s.request, "GET /path HTTP/1.1\r\nHost: host.test\r\n", 37), 0, "%s", s.request);
}

Test(fetch, records_its_stages_on_the_loops_clock) {
    struct scene s = { .sends = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", .delay = 40 * ROTA_MS };
    run_scene(&s);
    cr_expect_eq(s.page.stage, FETCH_STAGES);
    cr_expect(s.page.start <= s.page.stage_end[FETCH_RESOLVE]);
    cr_expect(s.page.stage_end[FETCH_RESOLVE] <= s.page.stage_end[FETCH_CONNECT]);
    cr_expect(s.page.stage_end[FETCH_WAIT] - s.page.stage_end[FETCH_CONNECT] >= 40 * ROTA_MS);
    cr_expect(s.page.stage_end[FETCH_BODY] <= s.page.end);
}

Test(fetch, a_body_that_comes_in_chunks) {
    struct scene s = { .sends = "HTTP/1.1 404 Not\xe4 here\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "1\r\n<\r\n2\r\n>>\r\n0\r\n\r\n" };
    run_scene(&s);
    cr_expect_eq(s.page.error, 0);
    cr_expect_eq(s.page.status, 404);
    cr_expect_str_eq(s.page.reason, "Not? here", "what a terminal may not show is replaced");
    cr_expect_eq(s.page.less, 1);
    cr_expect_eq(s.page.greater, 2);
}

Test(fetch, a_body_until_the_connection_closes) {
    struct scene s = { .sends = "HTTP/1.0 200 OK\r\n\r\n<<>", .page = { .url = "http://host.test:8080/" } };
    run_scene(&s);
    cr_expect_eq(s.page.error, 0);
    cr_expect_eq(s.page.bytes, 3);
    cr_expect(strstr(s.request, "\r\nHost: host.test:8080\r\n") != NULL, "%s", s.request);
}

Test(fetch, a_redirect_is_told) {
    struct scene s = { .sends = "HTTP/1.1 301 Moved Permanently\r\nLOCATION: https://other.test/\r\n"
                                "Content-Length: 0\r\n\r\n" };
    run_scene(&s);
    cr_expect_eq(s.page.error, 0);
    cr_expect_eq(s.page.status, 301);
    cr_expect_str_eq(s.page.location, "https://other.test/");
}

Test(fetch, early_closes) {
    static const char *const beginnings[] = {
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    };
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++)
        expect_failure(beginnings[i], CLOSE, -EPIPE, "the connection was closed");
}

Test(fetch, a_reset) {
    expect_failure("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", RESET, -ECONNRESET, "reset");
}

Test(fetch, what_is_not_http) {
    expect_failure("SSH-2.0-OpenSSH_9.2\r\n", HANG, -EPROTO, "not HTTP");
    expect_failure("HTTP/1.1 200 OK\r\nA : b\r\n", HANG, -EPROTO, "not valid HTTP");
    expect_failure("HTTP/2.0 200 OK\r\n", HANG, -EOPNOTSUPP, "not supported");
}

Test(fetch, endless_answers) {
    expect_failure("HTTP/1.1 100 Continue\r\n\r\n", REPEAT, -EMSGSIZE, "too long");
    expect_failure("xxxxxxxxxxxxxxxxxxxxxxxx", REPEAT, -EMSGSIZE, "too long");
}

Test(fetch, silence_ends_at_the_deadline) {
    expect_failure("", HANG, -ETIMEDOUT, "no answer came");
    expect_failure("HTTP/1.1 200 OK\r\n", HANG, -ETIMEDOUT, "no answer came");
    expect_failure("HTTP/1.1 200 OK\r\n\r\nbody", HANG, -ETIMEDOUT, "in the middle");
    struct scene s = { .sends = "", .ending = HANG };
    run_scene(&s);
    cr_expect(s.page.end - s.page.start >= 10 * ROTA_S);
    cr_expect(s.page.end - s.page.start < 11 * ROTA_S);
}

Test(fetch, urls_that_cannot_be) {
    struct scene s = { .sends = "", .page = { .url = "https://host.test/" } };
    run_scene(&s);
    cr_expect_eq(s.page.error, -EPROTONOSUPPORT);
    cr_expect(strstr(fetch_error(&s.page), "TLS") != NULL);
    cr_expect_eq(s.page.stage, FETCH_RESOLVE);
}

static intptr_t refused(void *arg) {
    struct page *page = arg;
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;
    char port[6];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(bind(fd, (struct sockaddr *)&addr, len), 0);
    cr_expect_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    snprintf(port, sizeof port, "%u", (unsigned)ntohs(addr.sin_port));
    page->to_port = port;
    int rc = fetch_page(page);
    rota_close(fd);
    return rc;
}

Test(fetch, a_port_that_refuses) {
    struct page page = { .url = "http://host.test/", .to_host = "127.0.0.1", .timeout = 10 * ROTA_S,
                         .connect_timeout = 5 * ROTA_S };
    intptr_t result = 0;
    cr_assert_eq(rota_run(refused, &page, &result, NULL), 0);
    cr_expect_eq(result, -ECONNREFUSED);
    cr_expect_eq(page.stage, FETCH_CONNECT);
    cr_expect(strstr(fetch_error(&page), "refused") != NULL, "%s", fetch_error(&page));
}
