/* libcurl against a small server of HTTP/1.1 in the same loop, and HTTP/2 over TLS against nghttpd. */
#include "rota/curl.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "adapters/kit.h"
#include "rota/combine.h"

/* ---- the server ---- */

enum { BIG = 48 << 20, PIECE = 1 << 16 };

struct site {
    int port;
    size_t sent;          /* bytes of big bodies that the system has taken */
    int connections;
    rota_event listening;
    rota_task *task;
};

static unsigned char big_byte(size_t i) { return (unsigned char)(i * 2654435761u >> 24); }

static int send_big(rota_stream *stream, struct site *site, size_t until) {
    static unsigned char piece[PIECE];
    char head[128];
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG);
    int rc = rota_stream_write(stream, head, (size_t)n);
    for (size_t at = 0; at < until && rc == 0; at += PIECE) {
        for (size_t i = 0; i < PIECE; i++)
            piece[i] = big_byte(at + i);
        rc = rota_stream_write(stream, piece, PIECE);
        if (rc == 0)
            rc = rota_stream_drain(stream);
        site->sent = at + PIECE;
    }
    return rc;
}

static int send_text(rota_stream *stream, const char *status, const char *more, const char *body) {
    char all[512];
    int n = snprintf(all, sizeof all, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body), more,
                     body);
    return rota_stream_write(stream, all, (size_t)n);
}

/* The body of a PUT: its sum goes back. */
static int take_upload(rota_stream *stream, size_t length, bool expects) {
    static unsigned char piece[PIECE];
    char sum_text[32];
    unsigned long sum = 0;
    int rc = expects ? rota_stream_write(stream, "HTTP/1.1 100 Continue\r\n\r\n", 25) : 0;
    while (length > 0 && rc == 0) {
        ssize_t n = rota_stream_read(stream, piece, length < PIECE ? length : PIECE);
        if (n <= 0)
            return n < 0 ? (int)n : -EPIPE;
        for (ssize_t i = 0; i < n; i++)
            sum = sum * 31 + piece[i];
        length -= (size_t)n;
    }
    snprintf(sum_text, sizeof sum_text, "%lu", sum);
    return rc < 0 ? rc : send_text(stream, "200 OK", "", sum_text);
}

/* One request; 1 when the connection goes on. */
static int answer(rota_stream *stream, struct site *site) {
    char method[8] = "", path[64] = "";
    const char *line;
    size_t length = 0;
    bool expects = false;
    ssize_t n = rota_stream_line(stream, 0, &line);
    if (n <= 0 || sscanf(line, "%7s %63s", method, path) != 2)
        return n < 0 ? (int)n : 0;
    while ((n = rota_stream_line(stream, 0, &line)) > 1) {
        sscanf(line, "Content-Length: %zu", &length);
        expects |= strncmp(line, "Expect:", 7) == 0;
    }
    int rc = 0;
    if (strcmp(method, "PUT") == 0)
        rc = take_upload(stream, length, expects);
    else if (strcmp(path, "/big") == 0)
        rc = send_big(stream, site, BIG);
    else if (strcmp(path, "/short") == 0)
        return send_big(stream, site, 4 * PIECE);
    else if (strcmp(path, "/never") == 0)
        rc = rota_sleep(ROTA_FOREVER);
    else if (strcmp(path, "/redirect") == 0)
        rc = send_text(stream, "302 Found", "Location: /hello\r\n", "elsewhere");
    else if (strcmp(path, "/last") == 0)
        return send_text(stream, "200 OK", "Connection: close\r\n", "bye");
    else
        rc = send_text(stream, "200 OK", "", "hello");
    return rc < 0 ? rc : 1;
}

static intptr_t client(int fd, void *arg) {
    struct site *site = arg;
    rota_stream stream;
    site->connections++;
    int rc = rota_stream_open(&stream, fd, NULL);
    if (rc < 0)
        return rc;
    while ((rc = answer(&stream, site)) == 1)
        ;
    if (rc == 0)
        rc = rota_stream_drain(&stream);
    rota_stream_close(&stream);
    return rc == -ECONNRESET || rc == -EPIPE ? 0 : rc;
}

static void listening(int fd, void *arg) {
    struct site *site = arg;
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    cr_expect_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    site->port = ntohs(addr.sin_port);
    rota_event_set(&site->listening);
}

static intptr_t serve(void *arg) {
    return rota_serve("127.0.0.1", "0", client, arg, &(rota_serve_options){.listening = listening});
}

static rota_curl *curl;
static struct site site;

static int open_site(void) {
    int rc = rota_spawn(&site.task, serve, &site, NULL);
    if (rc == 0)
        rc = rota_event_wait(&site.listening);
    return rc < 0 ? rc : rota_curl_open(&curl);
}

static void close_site(void) {
    intptr_t outcome;
    cr_expect_eq(rota_curl_close(curl), 0);
    rota_cancel(site.task, "the test is over");
    cr_expect_eq(rota_join(site.task, &outcome), 0);
}

static intptr_t with_site(void *arg) {
    int (*body)(void);
    memcpy(&body, arg, sizeof body);
    int rc = open_site();
    if (rc < 0)
        return rc;
    rc = body();
    close_site();
    return rc;
}

static void run_with_site(int (*body)(void)) {
    intptr_t outcome = -1;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    cr_expect_eq(rota_run(with_site, &body, &outcome, NULL), 0);
    cr_expect_eq(outcome, 0);
    curl_global_cleanup();
}

#define Site_test(Name)                                            \
    static int curl_##Name##_body(void);                           \
    Test(curl, Name) { run_with_site(curl_##Name##_body); }        \
    static int curl_##Name##_body(void)

/* ---- what the tests do ---- */

struct text {
    char bytes[64];
    size_t n;
};

static size_t keep(char *data, size_t one, size_t n, void *arg) {
    struct text *text = arg;
    size_t room = sizeof text->bytes - 1 - text->n;
    memcpy(text->bytes + text->n, data, n < room ? n : room);
    text->n += n < room ? n : room;
    return one * n;
}

static CURL *easy_for(const char *path, struct text *text) {
    char url[128];
    CURL *easy = curl_easy_init();
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", site.port, path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    if (text) {
        memset(text, 0, sizeof *text);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, text);
    }
    return easy;
}

Site_test(a_page_and_a_redirect) {
    struct text text;
    CURLcode code;
    long status = 0;
    CURL *easy = easy_for("/hello", &text);
    cr_expect_eq(rota_curl_perform(curl, easy, &code), 0);
    cr_expect_eq(code, CURLE_OK);
    cr_expect_str_eq(text.bytes, "hello");
    cr_expect_eq(rota_curl_perform(curl, easy, NULL), 0);   /* again, over the same connection */
    cr_expect_eq(site.connections, 1);
    curl_easy_cleanup(easy);
    easy = easy_for("/redirect", &text);
    cr_expect_eq(rota_curl_perform(curl, easy, &code), 0);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    cr_expect_eq(status, 200);
    cr_expect_str_eq(text.bytes, "hello");
    curl_easy_cleanup(easy);
    return 0;
}

Site_test(bad_arguments_are_refused) {
    CURLcode code = CURLE_OK;
    rota_curl_stream stream;
    CURL *easy = easy_for("/never", NULL);
    cr_expect_eq(rota_curl_open(NULL), -EINVAL);
    cr_expect_eq(rota_curl_perform(NULL, easy, &code), -EINVAL);
    cr_expect_eq(code, CURLE_ABORTED_BY_CALLBACK);
    cr_expect_eq(rota_curl_perform(curl, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_curl_begin(curl, &stream, NULL), -EINVAL);
    cr_expect_eq(rota_curl_begin(curl, NULL, easy), -EINVAL);
    cr_expect_eq(rota_curl_begin(curl, &stream, easy), 0);
    cr_expect_eq(rota_curl_perform(curl, easy, NULL), -EBUSY);
    rota_curl_stream second;
    cr_expect_eq(rota_curl_begin(curl, &second, easy), -EBUSY);
    cr_expect_eq(rota_curl_end(&second), 0);
    cr_expect_eq(rota_curl_end(&stream), 0);
    cr_expect_eq(rota_curl_end(&stream), 0);
    cr_expect_eq(rota_curl_read(&stream, &code, 1), -EINVAL);
    cr_expect_eq(rota_curl_close(NULL), 0);
    cr_expect_null(rota_curl_multi(NULL));
    cr_expect_not_null(rota_curl_multi(curl));
    curl_easy_cleanup(easy);
    easy = easy_for("", NULL);
    curl_easy_setopt(easy, CURLOPT_URL, "nonsense://x");
    cr_expect_eq(rota_curl_perform(curl, easy, NULL), -EINVAL);
    curl_easy_cleanup(easy);
    return 0;
}

static size_t check_big(char *data, size_t one, size_t n, void *arg) {
    size_t *at = arg;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)data[i] != big_byte(*at + i))
            return 0;
    *at += n;
    return one * n;
}

Site_test(a_big_body_comes_whole) {
    size_t at = 0;
    CURL *easy = easy_for("/big", NULL);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, check_big);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &at);
    cr_expect_eq(rota_curl_perform(curl, easy, NULL), 0);
    cr_expect_eq(at, (size_t)BIG);
    curl_easy_cleanup(easy);
    return 0;
}

struct upload {
    size_t at, n;
    unsigned long sum;
};

static size_t give(char *to, size_t one, size_t n, void *arg) {
    struct upload *upload = arg;
    size_t i = 0;
    for (; i < one * n && upload->at < upload->n; i++, upload->at++) {
        to[i] = (char)big_byte(upload->at);
        upload->sum = upload->sum * 31 + (unsigned char)to[i];
    }
    return i;
}

Site_test(a_big_upload_goes_whole) {
    struct upload upload = {.n = 8 << 20};
    struct text text;
    char expected[32];
    CURL *easy = easy_for("/upload", &text);
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)upload.n);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(easy, CURLOPT_READDATA, &upload);
    cr_expect_eq(rota_curl_perform(curl, easy, NULL), 0);
    snprintf(expected, sizeof expected, "%lu", upload.sum);
    cr_expect_str_eq(text.bytes, expected);
    curl_easy_cleanup(easy);
    return 0;
}

/* ---- streams ---- */

/* Reads to the end, and checks every byte. */
static ssize_t read_rest(rota_curl_stream *stream, size_t at) {
    static unsigned char piece[10000];
    ssize_t n;
    while ((n = rota_curl_read(stream, piece, sizeof piece)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (piece[i] != big_byte(at + (size_t)i))
                return -EBADMSG;
        at += (size_t)n;
    }
    return n < 0 ? n : (ssize_t)at;
}

Site_test(a_slow_reader_holds_the_server_back) {
    rota_curl_stream stream;
    unsigned char piece[100];
    long status = 0;
    CURL *easy = easy_for("/big", NULL);
    cr_expect_eq(rota_curl_begin(curl, &stream, easy), 0);
    cr_expect_eq(rota_curl_read(&stream, piece, sizeof piece), (ssize_t)sizeof piece);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    cr_expect_eq(status, 200);
    size_t before;
    do {        /* until the server stands still */
        before = site.sent;
        cr_expect_eq(rota_sleep(20 * ROTA_MS), 0);
    } while (site.sent != before);
    cr_expect_lt(site.sent, (size_t)BIG / 2, "%zu bytes were sent to a reader that does not read", site.sent);
    cr_expect_eq(read_rest(&stream, sizeof piece), BIG);
    cr_expect_eq(stream.code, CURLE_OK);
    cr_expect_eq(rota_curl_read(&stream, piece, 1), 0);
    cr_expect_eq(rota_curl_end(&stream), 0);
    curl_easy_cleanup(easy);
    return 0;
}

Site_test(a_cancelled_read_loses_nothing) {
    rota_curl_stream stream;
    CURL *easy = easy_for("/big", NULL);
    unsigned char byte;
    cr_expect_eq(rota_curl_begin(curl, &stream, easy), 0);
    rota_scope scope;
    rota_scope_begin(&scope);
    rota_scope_cancel(&scope, "now");
    cr_expect_eq(rota_scope_end(&scope, rota_curl_read(&stream, &byte, 1)), -ECANCELED);
    rota_timeout_begin(&scope, 0);
    cr_expect_eq(rota_scope_end(&scope, rota_curl_read(&stream, &byte, 1)), -ETIMEDOUT);
    cr_expect_eq(read_rest(&stream, 0), BIG);
    cr_expect_eq(rota_curl_end(&stream), 0);
    curl_easy_cleanup(easy);
    return 0;
}

static intptr_t read_one(void *arg) {
    char byte;
    return rota_curl_read(arg, &byte, 1);
}

Site_test(ending_a_stream_wakes_its_reader) {
    rota_curl_stream stream;
    rota_task *task;
    intptr_t outcome;
    CURL *easy = easy_for("/never", NULL);
    cr_expect_eq(rota_curl_begin(curl, &stream, easy), 0);
    cr_expect_eq(rota_spawn(&task, read_one, &stream, NULL), 0);
    cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
    cr_expect_eq(read_one(&stream), -EBUSY);
    cr_expect_eq(rota_curl_end(&stream), 0);
    memset(&stream, 0xaa, sizeof stream);
    cr_expect_eq(rota_join(task, &outcome), 0);
    cr_expect_eq(outcome, -ESHUTDOWN);
    curl_easy_cleanup(easy);
    return 0;
}

/* ---- servers that are missing, end early, never answer ---- */

Site_test(a_missing_server_is_told) {
    CURLcode code;
    CURL *easy = easy_for("", NULL);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", kit_free_port());
    curl_easy_setopt(easy, CURLOPT_URL, url);
    cr_expect_eq(rota_curl_perform(curl, easy, &code), 0);
    cr_expect_eq(code, CURLE_COULDNT_CONNECT);
    cr_expect_eq(rota_curl_perform(curl, easy, NULL), -ECONNREFUSED);
    curl_easy_cleanup(easy);
    return 0;
}

Site_test(a_body_that_ends_early_is_an_error) {
    rota_curl_stream stream;
    struct text text;
    CURL *easy = easy_for("/short", &text);
    cr_expect_eq(rota_curl_perform(curl, easy, NULL), -EPIPE);
    cr_expect_eq(rota_curl_begin(curl, &stream, easy), 0);
    cr_expect_eq(read_rest(&stream, 0), -EPIPE);
    cr_expect_eq(stream.code, CURLE_PARTIAL_FILE);
    cr_expect_eq(rota_curl_end(&stream), 0);
    curl_easy_cleanup(easy);
    return 0;
}

Site_test(a_cancelled_transfer_ends_at_once) {
    struct text text;
    CURLcode code;
    char url[64];
    CURL *easy = easy_for("/never", &text);
    rota_scope scope;
    rota_timeout_begin(&scope, 5 * ROTA_MS);
    int rc = rota_curl_perform(curl, easy, &code);
    cr_expect_eq(code, CURLE_ABORTED_BY_CALLBACK);
    cr_expect_eq(rota_curl_perform(curl, easy, &code), -ECANCELED);   /* not even tried */
    cr_expect_eq(rota_scope_end(&scope, rc), -ETIMEDOUT);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hello", site.port);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    cr_expect_eq(rota_curl_perform(curl, easy, &code), 0);
    cr_expect_str_eq(text.bytes, "hello");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 10L);    /* libcurl's own limit */
    snprintf(url, sizeof url, "http://127.0.0.1:%d/never", site.port);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    cr_expect_eq(rota_curl_perform(curl, easy, NULL), -ETIMEDOUT);
    curl_easy_cleanup(easy);
    return 0;
}

static intptr_t fetch_never(void *arg) { return rota_curl_perform(curl, arg, NULL); }

Site_test(closing_ends_all_transfers) {
    CURL *easy = easy_for("/never", NULL), *streamed = easy_for("/never", NULL);
    rota_curl_stream stream;
    rota_task *tasks[2];
    intptr_t outcome;
    char byte;
    cr_expect_eq(rota_spawn(&tasks[0], fetch_never, easy, NULL), 0);
    cr_expect_eq(rota_curl_begin(curl, &stream, streamed), 0);
    cr_expect_eq(rota_spawn(&tasks[1], read_one, &stream, NULL), 0);
    cr_expect_eq(rota_sleep(5 * ROTA_MS), 0);
    cr_expect_eq(rota_curl_close(curl), 0);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(rota_join(tasks[i], &outcome), 0);
        cr_expect_eq(outcome, -ESHUTDOWN);
    }
    cr_expect_eq(rota_curl_read(&stream, &byte, 1), -ESHUTDOWN);
    cr_expect_eq(rota_curl_end(&stream), 0);
    curl_easy_cleanup(easy);
    curl_easy_cleanup(streamed);
    return rota_curl_open(&curl);
}

/* ---- many ---- */

static intptr_t fetch_hello(void *arg) {
    struct text text;
    CURL *easy = easy_for(arg, &text);
    int rc = rota_curl_perform(curl, easy, NULL);
    curl_easy_cleanup(easy);
    return rc == 0 && text.n == 0 ? -EBADMSG : rc;
}

Site_test(many_at_once) {
    enum { N = 100 };
    static rota_call calls[N];
    for (int i = 0; i < N; i++)
        calls[i] = (rota_call){fetch_hello, (void *)(i % 2 ? "/hello" : "/redirect"), 0};
    return rota_gather(calls, N, NULL);
}

/* Every connection is closed by both sides; its number comes back at once. */
Site_test(numbers_of_sockets_are_used_again) {
    int rc = 0;
    for (int i = 0; i < 200 && rc == 0; i++)
        rc = (int)fetch_hello((void *)"/last");
    cr_expect_eq(site.connections, 200);
    return rc;
}

static intptr_t own_curl(void *arg) {
    const struct site *there = arg;
    rota_curl *mine;
    char url[64];
    int rc = rota_curl_open(&mine);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/redirect", there->port);
    for (int i = 0; i < 50 && rc == 0; i++) {
        struct text text = {{0}, 0};
        CURL *easy = curl_easy_init();
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &text);
        rc = rota_curl_perform(mine, easy, NULL);
        curl_easy_cleanup(easy);
    }
    rota_curl_close(mine);
    return rc;
}

struct program {
    rota_remote *remote;
    rota_soon soon;
    rota_event ended;
    intptr_t rc;
};

static void program_ended(rota_soon *soon, void *arg) {
    (void)soon;
    rota_event_set(&((struct program *)arg)->ended);
}

static void *whole_program(void *arg) {
    struct program *program = arg;
    program->rc = rota_run(own_curl, &site, NULL, NULL);
    int rc = rota_remote_post(program->remote, &program->soon);
    rota_remote_close(program->remote);
    return (void *)(intptr_t)rc;
}

Site_test(two_threads_with_a_loop_each) {
    static struct program programs[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        rota_soon_init(&programs[i].soon, program_ended, &programs[i]);
        cr_expect_eq(rota_remote_open(&programs[i].remote, NULL), 0);
        cr_expect_eq(pthread_create(&threads[i], NULL, whole_program, &programs[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(rota_event_wait(&programs[i].ended), 0);
        cr_expect_eq(programs[i].rc, 0);
        pthread_join(threads[i], NULL);
    }
    return 0;
}

/* ---- HTTP/2 over TLS, from nghttpd ---- */

static struct kit kit;
static int h2_port;

static void begin_h2(void) {
    char port[8];
    char nghttpd[256], openssl[256];
    const char *found = kit_program("nghttpd", NULL);
    if (!found)
        cr_skip_test("there is no nghttpd");
    snprintf(nghttpd, sizeof nghttpd, "%s", found);
    found = kit_program("openssl", NULL);
    if (!found)
        cr_skip_test("there is no openssl");
    snprintf(openssl, sizeof openssl, "%s", found);
    kit_open(&kit);
    cr_assert_eq(kit_run(&kit, false, (const char *[]){openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", NULL}), 0);
    cr_assert_eq(kit_run(&kit, false, (const char *[]){"/bin/sh", "-c",
        "echo hello >small && head -c 20000000 /dev/zero >large", NULL}), 0);
    h2_port = kit_free_port();
    snprintf(port, sizeof port, "%d", h2_port);
    cr_assert(kit_start(&kit, false, (const char *[]){nghttpd, "-a", "127.0.0.1", "-d", kit.dir, port, "key.pem",
        "cert.pem", NULL}));
    cr_assert(kit_port_listens(h2_port));
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void end_h2(void) {
    kit_close(&kit);
    curl_global_cleanup();
}

#define H2_test(name) Loop_test(curl_h2, name, .init = begin_h2, .fini = end_h2)

static CURL *easy_h2(const char *path, bool trusted, size_t *received) {
    char url[64], certificate[80];
    CURL *easy = curl_easy_init();
    snprintf(url, sizeof url, "https://127.0.0.1:%d%s", h2_port, path);
    snprintf(certificate, sizeof certificate, "%s/cert.pem", kit.dir);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    if (trusted)
        curl_easy_setopt(easy, CURLOPT_CAINFO, certificate);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, received);
    return easy;
}

static size_t count(char *data, size_t one, size_t n, void *arg) {
    (void)data;
    *(size_t *)arg += n;
    return one * n;
}

static long connections_made;

static intptr_t fetch_large(void *arg) {
    size_t received = 0;
    long version = 0, connections = 0;
    CURL *easy = easy_h2("/large", true, &received);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, count);
    int rc = rota_curl_perform(arg, easy, NULL);
    curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connections);
    connections_made += connections;
    curl_easy_cleanup(easy);
    return rc < 0 ? rc : received != 20000000 || version != CURL_HTTP_VERSION_2_0 ? -EBADMSG : 0;
}

H2_test(transfers_share_one_connection) {
    rota_curl *h2;
    rota_call calls[5];
    cr_expect_eq(rota_curl_open(&h2), 0);
    for (int i = 0; i < 5; i++)
        calls[i] = (rota_call){fetch_large, h2, 0};
    int rc = rota_gather(calls, 5, NULL);
    cr_expect_eq(connections_made, 1);
    rota_curl_close(h2);
    return rc;
}

H2_test(a_stream_of_h2_is_paused_and_goes_on) {
    rota_curl *h2;
    rota_curl_stream stream;
    static char piece[100000];
    size_t received = 0;
    ssize_t n;
    cr_expect_eq(rota_curl_open(&h2), 0);
    CURL *easy = easy_h2("/large", true, NULL);
    cr_expect_eq(rota_curl_begin(h2, &stream, easy), 0);
    while ((n = rota_curl_read(&stream, piece, sizeof piece)) > 0) {
        if (received / 2000000 != (received + (size_t)n) / 2000000)
            cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
        received += (size_t)n;
    }
    cr_expect_eq(n, 0);
    cr_expect_eq(received, 20000000u);
    cr_expect_eq(rota_curl_end(&stream), 0);
    curl_easy_cleanup(easy);
    return rota_curl_close(h2);
}

H2_test(an_unknown_certificate_is_refused) {
    rota_curl *h2;
    size_t received = 0;
    cr_expect_eq(rota_curl_open(&h2), 0);
    CURL *easy = easy_h2("/small", false, &received);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, count);
    cr_expect_eq(rota_curl_perform(h2, easy, NULL), -EACCES);
    cr_expect_eq(received, 0u);
    curl_easy_cleanup(easy);
    return rota_curl_close(h2);
}

/* A machine that is slow to freeze the server may have received one whole: libcurl lets the peer send 32 MB ahead. */
H2_test(a_server_that_dies_is_an_error_to_every_reader) {
    enum { N = 3, LARGE = 20000000 };
    size_t received[N] = {0};
    rota_curl *h2;
    rota_curl_stream streams[N];
    CURL *easy[N];
    static char piece[16384];
    cr_expect_eq(rota_curl_open(&h2), 0);
    for (int i = 0; i < N; i++) {
        easy[i] = easy_h2("/large", true, NULL);
        cr_expect_eq(rota_curl_begin(h2, &streams[i], easy[i]), 0);
        ssize_t n = rota_curl_read(&streams[i], piece, sizeof piece);
        cr_expect_gt(n, 0);
        received[i] = n > 0 ? (size_t)n : 0;
    }
    kit_freeze(&kit);
    kit_kill(&kit);
    for (int i = 0; i < N; i++) {
        ssize_t n;
        while ((n = rota_curl_read(&streams[i], piece, sizeof piece)) > 0)
            received[i] += (size_t)n;
        cr_expect(n < 0 || received[i] == LARGE, "%zd after %zu bytes", n, received[i]);
        cr_expect_eq(streams[i].code == CURLE_OK, received[i] == LARGE);
        cr_expect_eq(rota_curl_end(&streams[i]), 0);
    }
    cr_expect_eq(rota_curl_perform(h2, easy[0], NULL), -ECONNREFUSED);   /* not over what is left of them */
    for (int i = 0; i < N; i++)
        curl_easy_cleanup(easy[i]);
    return rota_curl_close(h2);
}

/* ---- the loop goes first ---- */

static rota_curl *left_open;

static intptr_t leave_it_open(void *arg) {
    CURL *easy = arg;
    int rc = open_site();
    left_open = curl;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hello", site.port);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    return rc < 0 ? rc : rota_curl_perform(curl, easy, NULL);
}

Test(curl, a_loop_may_close_first) {
    rota_loop *loop;
    rota_task *task;
    struct text text = {{0}, 0};
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &text);
    cr_assert_eq(rota_loop_new(&loop, NULL), 0);
    cr_assert_eq(rota_spawn(&task, leave_it_open, easy, NULL), 0);
    cr_expect_eq(rota_loop_run_until(loop, task, NULL), 0);
    rota_task_release(task);
    rota_task_release(site.task);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_curl_close(left_open), 0);
    cr_expect_eq(rota_loop_free(loop), 0);
    curl_easy_cleanup(easy);
    curl_global_cleanup();
}
