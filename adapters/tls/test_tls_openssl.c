/* Against OpenSSL's own programs: s_server and s_client, started by the test on loopback. */
#include "adapters/kit.h"
#include "adapters/tls/kit.h"

static struct kit kit;
static const char *openssl;

static void write_file(const char *name, const char *text) {
    char path[80];
    snprintf(path, sizeof path, "%s/%s", kit.dir, name);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void begin(void) {
    openssl = kit_program("openssl", NULL);
    if (!openssl)
        cr_skip_test("there is no program openssl");
    make_certificates();
    kit_open(&kit);
    write_file("root.pem", root.pem);
    write_file("server.pem", server.pem);
    write_file("server.key", server.key_pem);
    write_file("page.html", "a page of s_server\n");
}

static void end(void) {
    if (openssl)
        kit_close(&kit);
}

/* ---- their server ---- */

static char port[8];

static void start_server(const char *version) {
    snprintf(port, sizeof port, "%d", kit_free_port());
    const char *const argv[] = {openssl, "s_server", "-accept", port, "-cert", "server.pem", "-cert_chain", "server.pem",
                                "-key", "server.key", "-WWW", "-quiet", version, NULL};
    cr_assert(kit_start(&kit, false, argv));
    cr_assert(kit_port_listens(atoi(port)));
}

/* -WWW: it answers one request with a file, and ends. */
static intptr_t fetch_page(void *version) {
    rota_stream s;
    const char *line;
    char last[64] = "";
    ssize_t n;
    contexts(NULL, NULL);
    rota_tls_options opt = {.name = "localhost", .error = reason, .error_size = sizeof reason};
    int rc = rota_tls_dial(&s, "127.0.0.1", port, client_ctx, &opt);
    cr_expect_eq(rc, 0, "%s", reason);
    if (rc < 0)
        return rc;
    cr_expect_str_eq(rota_tls_version(&s), version);
    cr_expect_eq(rota_stream_write(&s, "GET /page.html HTTP/1.0\r\n\r\n", 27), 0);
    while ((n = rota_stream_line(&s, 0, &line)) > 0)
        snprintf(last, sizeof last, "%s", line);
    cr_expect_eq(n, 0, "%zd", n);
    cr_expect_str_eq(last, "a page of s_server");
    rota_stream_close(&s);
    free_contexts();
    return 0;
}

static intptr_t fetch_1_2(void *unused) {
    (void)unused;
    return fetch_page((void *)(uintptr_t)"TLSv1.2");
}

static intptr_t fetch_1_3(void *unused) {
    (void)unused;
    return fetch_page((void *)(uintptr_t)"TLSv1.3");
}

Test(tls_openssl, s_server_1_2, .init = begin, .fini = end) {
    start_server("-tls1_2");
    kit_main(fetch_1_2);
}

Test(tls_openssl, s_server_1_3, .init = begin, .fini = end) {
    start_server("-tls1_3");
    kit_main(fetch_1_3);
}

/* ---- their client ---- */

static rota_event done;
static int answered;

/* One line, and its answer; the client's end comes with its end of input. */
static intptr_t answer(rota_stream *s, void *arg) {
    const char *line;
    (void)arg;
    ssize_t n = rota_stream_line(s, 0, &line);
    if (n > 0 && strcmp(line, "from s_client") == 0 && rota_stream_write(s, "from us\n", 8) == 0)
        answered++;
    n = rota_stream_shutdown(s);
    (void)rota_event_set(&done);
    return n;
}

static void note_port(int fd, void *arg) {
    char command[400];
    const char *version = arg;
    snprintf(command, sizeof command,
             "(echo from s_client; sleep 5) | %s s_client -connect 127.0.0.1:%d -CAfile root.pem -verify_return_error "
             "-servername localhost -verify_hostname localhost -quiet %s | grep -q '^from us$'",
             openssl, port_of(fd), version);
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    cr_expect(kit_start(&kit, false, argv));
}

static void note_refusal(int error, const char *why, void *arg) {
    (void)arg;
    cr_expect(false, "refused: %d, %s", error, why);
    (void)rota_event_set(&done);
}

static intptr_t serve(void *version) {
    rota_tls_serve_options opt = {.serve = {.listening = note_port}, .refused = note_refusal};
    return rota_tls_serve("127.0.0.1", "0", server_ctx, answer, version, &opt);
}

static intptr_t answer_client(const char *version) {
    rota_task *server_task;
    contexts(NULL, NULL);
    cr_expect_eq(rota_spawn(&server_task, serve, (void *)(uintptr_t)version, NULL), 0);
    cr_expect_eq(rota_event_wait(&done), 0);
    cr_expect_eq(answered, 1);
    rota_cancel(server_task, "answered");
    cr_expect_eq(rota_join(server_task, NULL), -ECANCELED);
    free_contexts();
    return 0;
}

static intptr_t client_1_2(void *unused) {
    (void)unused;
    return answer_client("-tls1_2");
}

static intptr_t client_1_3(void *unused) {
    (void)unused;
    return answer_client("-tls1_3");
}

Test(tls_openssl, s_client_1_2, .init = begin, .fini = end) { kit_main(client_1_2); }
Test(tls_openssl, s_client_1_3, .init = begin, .fini = end) { kit_main(client_1_3); }
