/* TLS streams: both ends are ours, over TCP on loopback. */
#include "adapters/tls/kit.h"
#include "adapters/tls/tls.h"

#define EXPECT_TEXT(where, text) cr_expect(strstr(where, text) != NULL, "\"%s\" is not in \"%s\"", text, where)

/* ---- they are streams ---- */

static void a_line_each_way(int version, const char *name) {
    struct pair p = {0};
    const char *line;
    contexts(&(rota_tls_context_options){.max_version = version}, NULL);
    open_pair(&p);
    cr_expect_str_eq(rota_tls_version(&p.c), name);
    cr_expect_str_eq(rota_tls_version(&p.s), name);
    cr_expect_str_eq(rota_tls_name(&p.s), "localhost");
    cr_expect_eq(rota_stream_write(&p.c, "hello\n", 6), 0);
    cr_expect_eq(rota_stream_line(&p.s, 0, &line), 6);
    cr_expect_str_eq(line, "hello");
    cr_expect_eq(rota_stream_write(&p.s, "world\n", 6), 0);
    cr_expect_eq(rota_stream_line(&p.c, 0, &line), 6);
    cr_expect_str_eq(line, "world");
    close_pair(&p);
}

Task_test(tls, a_line_each_way_1_2) {
    a_line_each_way(ROTA_TLS_1_2, "TLSv1.2");
    return 0;
}

Task_test(tls, a_line_each_way_1_3) {
    a_line_each_way(0, "TLSv1.3");
    return 0;
}

enum { BIG = 3000000 };
static unsigned char big[BIG];

struct transfer {
    rota_stream *s;
    size_t n, piece;
    int rc;
    void (*each)(rota_stream *s, size_t done);
};

static intptr_t send_all(void *arg) {
    struct transfer *t = arg;
    for (size_t at = 0; at < t->n && t->rc == 0; at += t->piece) {
        t->rc = rota_stream_write(t->s, big + at, t->n - at < t->piece ? t->n - at : t->piece);
        if (t->each)
            t->each(t->s, at);
    }
    if (t->rc == 0)
        t->rc = rota_stream_shutdown(t->s);
    return 0;
}

static intptr_t receive_all(void *arg) {
    struct transfer *t = arg;
    unsigned char buf[10000];
    size_t sum = 0;
    ssize_t r;
    while ((r = rota_stream_read(t->s, buf, sizeof buf)) > 0) {
        cr_expect(sum + (size_t)r <= t->n && memcmp(buf, big + sum, (size_t)r) == 0, "other bytes at %zu", sum);
        sum += (size_t)r;
    }
    cr_expect_eq(sum, t->n);
    t->rc = (int)r;
    return 0;
}

/* Both ways at once, to the end of the data each way. */
static void both_ways(struct pair *p, size_t n, size_t piece, void (*each)(rota_stream *s, size_t done)) {
    struct transfer t[4] = {{&p->c, n, piece, 0, each}, {&p->s, n, piece, 0, NULL}, {&p->c, n, 0, 0, NULL},
                            {&p->s, n, 0, 0, NULL}};
    rota_call calls[4] = {{.fn = send_all, .arg = &t[0]}, {.fn = send_all, .arg = &t[1]},
                          {.fn = receive_all, .arg = &t[2]}, {.fn = receive_all, .arg = &t[3]}};
    fill_pattern(big, sizeof big);
    cr_expect_eq(rota_gather(calls, 4, NULL), 0);
    for (int i = 0; i < 4; i++) {
        char text[200];
        rota_tls_error(t[i].s, text, sizeof text);
        cr_expect_eq(t[i].rc, 0, "%d: %d, %s", i, t[i].rc, text);
    }
}

static void shrink(int fd) {
    int size = 32768;
    cr_expect_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    cr_expect_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
}

static void big_both_ways(int version) {
    struct pair p = {0};
    contexts(&(rota_tls_context_options){.max_version = version}, NULL);
    open_pair(&p);
    both_ways(&p, BIG, 100000, NULL);
    close_pair(&p);
}

Task_test(tls, big_transfers_both_ways_1_2) {
    big_both_ways(ROTA_TLS_1_2);
    return 0;
}

Task_test(tls, big_transfers_both_ways_1_3) {
    big_both_ways(0);
    return 0;
}

/* A queue that is smaller than a record, and a buffer that is. */
Task_test(tls, small_buffers) {
    struct pair p = {0};
    contexts(NULL, NULL);
    p.client.stream = p.server.stream = (rota_stream_options){.buffer_size = 7, .high_water = 5};
    open_pair(&p);
    both_ways(&p, 300000, 1000, NULL);
    close_pair(&p);
    return 0;
}

Task_test(tls, records_of_one_byte) {
    struct pair p = {0};
    contexts(NULL, NULL);
    open_pair(&p);
    both_ways(&p, 3000, 1, NULL);
    close_pair(&p);
    return 0;
}

/* Nobody reads: the queue fills to its mark, a record waits in the connection, and no more is taken. */
Task_test(tls, a_slow_reader_holds_the_writer_up) {
    struct pair p = {0};
    contexts(NULL, NULL);
    p.client.stream.high_water = 20000;
    open_pair(&p);
    shrink(p.c.fd);
    shrink(p.s.fd);
    struct transfer t = {&p.c, BIG, BIG, 0, NULL}, back = {&p.s, BIG, 0, 0, NULL};
    fill_pattern(big, sizeof big);
    size_t before = memory.bytes;
    rota_task *writer = start(send_all, &t);
    for (int i = 0; i < 50; i++)
        cr_expect_eq(rota_sleep(ROTA_MS), 0);
    const struct tls *connection = rota_stream_transport_ctx(&p.c, &rota__tls_transport);
    cr_expect(!rota_task_done(writer));
    cr_expect_lt(memory.bytes - before, 200000u);
    cr_expect_leq(p.c.out_used_, 20000u);
    cr_expect_lt(connection->kept_n, 20000u);
    cr_expect_eq(receive_all(&back), 0);
    cr_expect_eq(finish(writer), 0);
    cr_expect_eq(t.rc, 0);
    cr_expect_null(connection->kept, "what is kept for a while is given back");
    close_pair(&p);
    return 0;
}

/* ---- ends ---- */

Task_test(tls, half_closed_streams_go_on) {
    struct pair p = {0};
    char buf[8];
    contexts(NULL, NULL);
    open_pair(&p);
    struct transfer t = {&p.s, BIG, 50000, 0, NULL}, back = {&p.c, BIG, 0, 0, NULL};
    cr_expect_eq(rota_stream_write(&p.c, "ask", 3), 0);
    cr_expect_eq(rota_stream_shutdown(&p.c), 0);
    cr_expect_eq(rota_stream_shutdown(&p.c), 0);
    cr_expect_eq(rota_stream_write(&p.c, "more", 4), -EPIPE);
    cr_expect_eq(rota_stream_read(&p.s, buf, 8), 3);
    cr_expect_eq(rota_stream_read(&p.s, buf, 8), 0);
    cr_expect_eq(rota_stream_read(&p.s, buf, 8), 0, "the end stays");
    fill_pattern(big, sizeof big);
    rota_task *writer = start(send_all, &t);
    cr_expect_eq(receive_all(&back), 0);
    cr_expect_eq(back.rc, 0);
    cr_expect_eq(finish(writer), 0);
    cr_expect_eq(t.rc, 0);
    close_pair(&p);
    return 0;
}

Task_test(tls, closing_is_an_end_of_data) {
    struct pair p = {0};
    char buf[8];
    contexts(NULL, NULL);
    open_pair(&p);
    cr_expect_eq(rota_stream_write(&p.s, "bye", 3), 0);
    rota_stream_close(&p.s);
    cr_expect_eq(rota_stream_read(&p.c, buf, 8), 3);
    cr_expect_eq(rota_stream_read(&p.c, buf, 8), 0);
    close_pair(&p);
    return 0;
}

/* What was written is lost: so no end of data is claimed. */
Task_test(tls, closing_in_the_middle_is_none) {
    struct pair p = {0};
    unsigned char buf[10000];
    ssize_t r;
    contexts(NULL, NULL);
    p.server.stream.high_water = 1000000;
    open_pair(&p);
    shrink(p.c.fd);
    shrink(p.s.fd);
    cr_expect_eq(rota_stream_write(&p.s, big, 1000000), 0);
    rota_stream_close(&p.s);
    while ((r = rota_stream_read(&p.c, buf, sizeof buf)) > 0)
        ;
    cr_expect_eq(r, -ECONNRESET);
    close_pair(&p);
    return 0;
}

/* Whoever is on the way ends the connection, but cannot make a close_notify. */
Task_test(tls, cut_off_is_no_end_of_data) {
    struct pair p = {0};
    const char *line;
    char text[100];
    contexts(NULL, NULL);
    open_pair(&p);
    cr_expect_eq(rota_stream_write(&p.s, "transfer 100", 12), 0);
    cr_expect_eq(shutdown(p.s.fd, SHUT_WR), 0);
    cr_expect_eq(rota_stream_line(&p.c, 0, &line), -ECONNRESET, "not the last line");
    cr_expect_eq(rota_tls_error(&p.c, text, sizeof text), strlen(text));
    EXPECT_TEXT(text, "cut off");
    cr_expect_eq(rota_stream_read(&p.c, (char[4]){0}, 4), 4, "what had come is there");
    close_pair(&p);
    return 0;
}

static void after(const char *bytes, size_t n, bool end, int error, const char *why) {
    struct pair p = {0};
    char buf[100];
    contexts(NULL, NULL);
    open_pair(&p);
    cr_expect_eq(send(p.s.fd, bytes, n, 0), (ssize_t)n);
    if (end)
        cr_expect_eq(shutdown(p.s.fd, SHUT_WR), 0);
    cr_expect_eq(rota_stream_read(&p.c, buf, sizeof buf), error);
    cr_expect_eq(rota_stream_read(&p.c, buf, sizeof buf), error, "it stays");
    rota_tls_error(&p.c, buf, sizeof buf);
    EXPECT_TEXT(buf, why);
    cr_expect_eq(ERR_peek_error(), 0u);
    close_pair(&p);
}

Task_test(tls, cut_off_in_a_record) {
    after("\x17\x03\x03\x40\x00" "abc", 8, true, -ECONNRESET, "cut off");
    after("\x17\x03", 2, true, -ECONNRESET, "cut off");
    return 0;
}

Task_test(tls, garbage_in_the_stream) {
    after("\x17\x03\x03\x00\x20" "abcdefghijklmnopqrstuvwxyz012345", 37, false, -EPROTO, "TLS: ");
    after("GET / HTTP/1.0\r\n\r\n", 18, false, -EPROTO, "TLS: ");
    return 0;
}

Task_test(tls, reset_by_the_peer) {
    struct pair p = {0};
    char buf[8];
    struct linger hard = {1, 0};
    contexts(NULL, NULL);
    open_pair(&p);
    cr_expect_eq(setsockopt(p.s.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    cr_expect_eq(rota_close(p.s.fd), 0);
    cr_expect_eq(rota_stream_read(&p.c, buf, 8), -ECONNRESET);
    cr_expect(rota_stream_write(&p.c, "x", 1) < 0);
    close_pair(&p);
    return 0;
}

static intptr_t read_one(void *s) {
    char buf[1];
    return rota_stream_read(s, buf, 1);
}

Task_test(tls, closed_under_its_reader_and_writer) {
    struct pair p = {0};
    contexts(NULL, NULL);
    open_pair(&p);
    shrink(p.c.fd);
    struct transfer t = {&p.c, BIG, BIG, 0, NULL};
    rota_task *reader = start(read_one, &p.c), *writer = start(send_all, &t), *second = start(read_one, &p.c);
    cr_expect_eq(finish(second), -EBUSY);
    rota_stream_close(&p.c);
    memset(&p.c, 0x5a, sizeof p.c);
    cr_expect_eq(finish(reader), -EBADF);
    cr_expect_eq(finish(writer), 0);
    cr_expect_eq(t.rc, -EBADF);
    memset(&p.c, 0, sizeof p.c);
    close_pair(&p);
    return 0;
}

Task_test(tls, descriptor_closed_under_its_reader) {
    struct pair p = {0};
    contexts(NULL, NULL);
    open_pair(&p);
    int other = dup(0);
    rota_task *reader = start(read_one, &p.c);
    cr_expect_eq(rota_close(p.c.fd), 0);
    cr_expect_eq(finish(reader), -EBADF);
    close(other);
    (void)rota_stream_close(&p.c); /* EBADF of the descriptor; everything else goes */
    close_pair(&p);
    return 0;
}

/* ---- new keys under way ---- */

static int updates;

static void update_keys(rota_stream *s, size_t done) {
    if (done % 300000 == 0 && SSL_key_update(rota_tls_native(s), SSL_KEY_UPDATE_REQUESTED) == 1)
        updates++;
    ERR_clear_error();
}

Task_test(tls, key_updates_under_way) {
    struct pair p = {0};
    contexts(NULL, NULL);
    open_pair(&p);
    updates = 0;
    both_ways(&p, BIG, 50000, update_keys);
    cr_expect_geq(updates, 5);
    close_pair(&p);
    return 0;
}

/* The one who asks for new keys also reads; whoever answers may be writing. */
static void renegotiate_now(rota_stream *s, size_t done) {
    SSL *ssl = rota_tls_native(s);
    if (done > 0 && done < BIG / 2 && done % 400000 == 0 && SSL_is_init_finished(ssl) && SSL_renegotiate(ssl) == 1)
        updates++;
    ERR_clear_error();
}

Task_test(tls, renegotiation_under_way) {
    struct pair p = {0};
    rota_tls_context_options opt = {.max_version = ROTA_TLS_1_2, .renegotiation = true};
    contexts(&opt, &opt);
    open_pair(&p);
    shrink(p.c.fd); /* so that neither is done with writing before the other has read */
    shrink(p.s.fd);
    updates = 0;
    both_ways(&p, BIG, 50000, renegotiate_now);
    cr_expect_geq(updates, 3);
    cr_expect_geq(SSL_num_renegotiations(rota_tls_native(&p.c)), 3);
    close_pair(&p);
    return 0;
}

/* Asked for by the server, while nothing else goes on but its own writing. */
Task_test(tls, renegotiation_by_the_server) {
    struct pair p = {0};
    rota_tls_context_options opt = {.max_version = ROTA_TLS_1_2, .renegotiation = true};
    const char *line;
    contexts(&opt, &opt);
    open_pair(&p);
    rota_task *reader = start(read_one, &p.c);
    cr_expect_eq(SSL_renegotiate(rota_tls_native(&p.s)), 1);
    cr_expect_eq(rota_stream_write(&p.s, "after\n", 6), 0);
    cr_expect_eq(finish(reader), 1);
    cr_expect_eq(rota_stream_line(&p.c, 0, &line), 5);
    cr_expect_str_eq(line, "fter");
    cr_expect_eq(SSL_num_renegotiations(rota_tls_native(&p.s)), 1);
    close_pair(&p);
    return 0;
}

/* By default the peer is told no, and the connection goes on. */
Task_test(tls, renegotiation_is_refused) {
    struct pair p = {0};
    contexts(&(rota_tls_context_options){.max_version = ROTA_TLS_1_2, .renegotiation = true}, NULL);
    open_pair(&p);
    cr_expect_eq(SSL_renegotiate(rota_tls_native(&p.s)), 0);
    ERR_clear_error();
    cr_expect_eq(SSL_renegotiate(rota_tls_native(&p.c)), 1);
    rota_task *reader = start(read_one, &p.s);
    ssize_t r = rota_stream_write(&p.c, "x\n", 2);
    rota_task *answer = start(read_one, &p.c);
    cr_expect_eq(rota_stream_write(&p.s, "y\n", 2), 0);
    cr_expect_eq(r, 0);
    rota_cancel(reader, "enough");
    (void)finish(reader);
    r = finish(answer);
    cr_expect(r == 1 || r == -EPROTO, "our own client gives up when it is told no: %zd", r);
    close_pair(&p);
    return 0;
}

/* ---- who is who ---- */

static void refuse_certificate(const struct certificate *of_server, const char *name, const char *why) {
    struct pair p = {0};
    int fds[2];
    contexts(NULL, &(rota_tls_context_options){.certificate = of_server->pem, .key = of_server->key_pem});
    tcp_nonblocking_pair(fds);
    shake(&p, fds, name);
    cr_expect_eq(p.client.rc, -EACCES, "%s: %d", why, p.client.rc);
    EXPECT_TEXT(p.client.reason, why);
    cr_expect_eq(p.server.rc, -EPROTO);
    EXPECT_TEXT(p.server.reason, "the peer refuses: ");
    cr_expect_eq(ERR_peek_error(), 0u);
    close_pair(&p);
}

Task_test(tls, certificates_that_are_refused) {
    make_certificates();
    refuse_certificate(&server, "example.com", "hostname mismatch");
    refuse_certificate(&server, "a.b.wild.test", "hostname mismatch");
    refuse_certificate(&server, "127.0.0.2", "IP address mismatch");
    refuse_certificate(&expired, "localhost", "certificate has expired");
    refuse_certificate(&early, "localhost", "certificate is not yet valid");
    refuse_certificate(&stranger, "localhost", "unable to get local issuer certificate");
    refuse_certificate(&selfish, "localhost", "self-signed certificate");
    refuse_certificate(&client, "localhost", "unsuitable certificate purpose");
    return 0;
}

static void accept_certificate(const rota_tls_context_options *of_client, const struct certificate *of_server,
                               const char *name) {
    struct pair p = {0};
    int fds[2];
    contexts(of_client, &(rota_tls_context_options){.certificate = of_server->pem, .key = of_server->key_pem});
    tcp_nonblocking_pair(fds);
    shake(&p, fds, name);
    cr_expect_eq(p.client.rc, 0, "%s: %s", name ? name : "no name", p.client.reason);
    cr_expect_eq(p.server.rc, 0);
    close_pair(&p);
}

Task_test(tls, certificates_that_are_accepted) {
    make_rsa_certificate();
    accept_certificate(NULL, &server, "localhost.");
    accept_certificate(NULL, &server, "LOCALHOST");
    accept_certificate(NULL, &server, "127.0.0.1");
    accept_certificate(NULL, &server, "::1");
    accept_certificate(NULL, &server, "a.wild.test");
    accept_certificate(NULL, &server_rsa, "localhost");
    accept_certificate(&(rota_tls_context_options){.insecure_any_name = true}, &server, "example.com");
    accept_certificate(&(rota_tls_context_options){.insecure_any_name = true}, &server, NULL);
    accept_certificate(&(rota_tls_context_options){.insecure_skip_verify = true}, &selfish, "example.com");
    return 0;
}

Task_test(tls, a_name_is_needed) {
    rota_stream s;
    int fds[2];
    char longest[256];
    memset(longest, 'a', sizeof longest);
    longest[255] = '\0';
    contexts(NULL, NULL);
    tcp_nonblocking_pair(fds);
    cr_expect_eq(rota_tls_connect(&s, fds[0], NULL, client_ctx, NULL), -EINVAL);
    cr_expect_eq(rota_tls_connect(&s, fds[0], "", client_ctx, NULL), -EINVAL);
    cr_expect_eq(rota_tls_connect(&s, fds[0], longest, client_ctx, NULL), -EINVAL);
    cr_expect_eq(rota_tls_connect(&s, fds[0], "x", server_ctx, NULL), -EINVAL);
    cr_expect_eq(rota_tls_connect(&s, fds[0], "x", NULL, NULL), -EINVAL);
    cr_expect_eq(rota_tls_connect(NULL, fds[0], "x", client_ctx, NULL), -EINVAL);
    cr_expect_eq(rota_tls_accept(&s, fds[0], client_ctx, NULL), -EINVAL);
    cr_expect_eq(rota_tls_accept(&s, -1, server_ctx, NULL), -EBADF);
    cr_expect_eq(s.fd, -1);
    cr_expect_eq(rota_stream_close(&s), -EBADF);
    rota_close(fds[0]);
    close(fds[1]);
    free_contexts();
    return 0;
}

static void ask_client(int asks, const struct certificate *given, int of_server, const char *why) {
    struct pair p = {0};
    int fds[2];
    char text[100];
    rota_tls_context_options c = {.certificate = given ? given->pem : NULL, .key = given ? given->key_pem : NULL};
    contexts(&c, &(rota_tls_context_options){.ca = root.pem, .client_certificate = asks});
    tcp_nonblocking_pair(fds);
    shake(&p, fds, "localhost");
    cr_expect_eq(p.server.rc, of_server, "%s", p.server.reason);
    EXPECT_TEXT(p.server.reason, why);
    if (of_server < 0) { /* in TLS 1.3 a client learns of it by its first read */
        cr_expect_eq(p.client.rc, 0);
        cr_expect_eq(read_one(&p.c), -EPROTO);
        rota_tls_error(&p.c, text, sizeof text);
        EXPECT_TEXT(text, "the peer refuses: ");
    }
    close_pair(&p);
}

Task_test(tls, client_certificates) {
    make_certificates();
    ask_client(ROTA_TLS_NEED_CLIENT_CERTIFICATE, &client, 0, "");
    ask_client(ROTA_TLS_ASK_CLIENT_CERTIFICATE, NULL, 0, "");
    ask_client(ROTA_TLS_NEED_CLIENT_CERTIFICATE, NULL, -EACCES, "no certificate");
    ask_client(ROTA_TLS_ASK_CLIENT_CERTIFICATE, &stranger, -EACCES, "unable to get local issuer");
    return 0;
}

static void agree(const char *of_client, const char *of_server, const char *on) {
    struct pair p = {0};
    int fds[2];
    contexts(&(rota_tls_context_options){.alpn = of_client}, &(rota_tls_context_options){.alpn = of_server});
    tcp_nonblocking_pair(fds);
    shake(&p, fds, "localhost");
    if (on && *on) {
        cr_expect_str_eq(rota_tls_alpn(&p.c), on);
        cr_expect_str_eq(rota_tls_alpn(&p.s), on);
    } else if (on) {
        cr_expect_eq(p.client.rc, -EPROTO);
        EXPECT_TEXT(p.client.reason, "no application protocol");
        cr_expect_eq(p.server.rc, -EPROTO);
    } else {
        cr_expect_eq(p.client.rc, 0);
        cr_expect_null(rota_tls_alpn(&p.c));
        cr_expect_null(rota_tls_alpn(&p.s));
    }
    close_pair(&p);
}

Task_test(tls, alpn) {
    agree("http/1.1,h2", "h2,http/1.1", "h2");
    agree("http/1.1", "h2,http/1.1", "http/1.1");
    agree("dot", "h2,http/1.1", "");
    agree(NULL, "h2", NULL);
    agree("h2", NULL, NULL);
    return 0;
}

Task_test(tls, no_version_in_common) {
    struct pair p = {0};
    int fds[2];
    contexts(&(rota_tls_context_options){.max_version = ROTA_TLS_1_2},
             &(rota_tls_context_options){.min_version = ROTA_TLS_1_3});
    tcp_nonblocking_pair(fds);
    shake(&p, fds, "localhost");
    cr_expect_eq(p.client.rc, -EPROTO);
    EXPECT_TEXT(p.client.reason, "protocol version");
    cr_expect_eq(p.server.rc, -EPROTO);
    close_pair(&p);
    return 0;
}

/* ---- peers that speak something else, or not at all ---- */

static void babble(bool we_serve, const char *bytes, bool end, int error, const char *why) {
    rota_stream s;
    int fds[2];
    char text[200] = "";
    rota_tls_options opt = {.error = text, .error_size = sizeof text};
    contexts(NULL, NULL);
    tcp_nonblocking_pair(fds);
    cr_expect_eq(send(fds[1], bytes, strlen(bytes), 0), (ssize_t)strlen(bytes));
    if (end)
        cr_expect_eq(shutdown(fds[1], SHUT_WR), 0);
    int rc = we_serve ? rota_tls_accept(&s, fds[0], server_ctx, &opt)
                      : rota_tls_connect(&s, fds[0], "localhost", client_ctx, &opt);
    cr_expect_eq(rc, error, "%s: %d", bytes, rc);
    EXPECT_TEXT(text, why);
    cr_expect_eq(ERR_peek_error(), 0u);
    cr_expect_eq(rota_close(fds[0]), 0);
    close(fds[1]);
    free_contexts();
}

Task_test(tls, other_languages) {
    babble(true, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", false, -EPROTO, "http request");
    babble(true, "\x01\x02\x03 what is this? it goes on and on", false, -EPROTO, "TLS: ");
    babble(true, "\x16\x03\x01\x02", true, -ECONNRESET, "cut off");
    babble(true, "", true, -ECONNRESET, "cut off");
    babble(false, "HTTP/1.1 400 Bad Request\r\n\r\n", false, -EPROTO, "wrong version");
    babble(false, "SSH-2.0-OpenSSH_9.2\r\n", false, -EPROTO, "wrong version");
    babble(false, "", true, -ECONNRESET, "cut off");
    return 0;
}

Task_test(tls, silence_is_limited_by_the_scope) {
    rota_stream s;
    rota_scope scope;
    int fds[2];
    contexts(NULL, NULL);
    tcp_nonblocking_pair(fds);
    rota_timeout_begin(&scope, 3 * ROTA_S);
    intptr_t rc = rota_tls_connect(&s, fds[0], "localhost", client_ctx, NULL);
    cr_expect_eq(rota_scope_end(&scope, rc), -ETIMEDOUT);
    cr_expect_eq(rota_close(fds[0]), 0);
    close(fds[1]);
    free_contexts();
    return 0;
}

/* ---- contexts ---- */

static void bad(rota_tls_context_options opt, int error, const char *why) {
    rota_tls_context *ctx = (void *)&opt;
    char text[200] = "";
    opt.error = text;
    opt.error_size = sizeof text;
    int rc = rota_tls_context_new(&ctx, &opt);
    cr_expect_eq(rc, error, "%s: %d, %s", why, rc, text);
    EXPECT_TEXT(text, why);
    cr_expect_null(ctx);
    cr_expect_eq(ERR_peek_error(), 0u);
}

static void half(char *out, const char *pem) {
    strcpy(out, pem);
    out[strlen(out) / 2] = '\0';
}

Test(tls, contexts_that_cannot_be_made) {
    char broken[16384];
    make_certificates();
    bad((rota_tls_context_options){.server = true}, -EINVAL, "nvalid");
    bad((rota_tls_context_options){.server = true, .certificate = "/nowhere/c.pem"}, -ENOENT,
        "certificate /nowhere/c.pem: no such file or name");
    bad((rota_tls_context_options){.server = true, .certificate = server.pem, .key = "/nowhere/k.pem"}, -ENOENT,
        "key /nowhere/k.pem: no such file or name");
    bad((rota_tls_context_options){.ca = "/nowhere/ca.pem"}, -ENOENT,
        "ca /nowhere/ca.pem: no such file or name");
    bad((rota_tls_context_options){.ca = "/dev/null"}, -EINVAL, "ca /dev/null: there is no certificate in it");
    bad((rota_tls_context_options){.server = true, .certificate = server.pem, .key = client.key_pem}, -EINVAL,
        "key values mismatch");
    bad((rota_tls_context_options){.server = true, .certificate = server.pem}, -EINVAL, "TLS: ");
    half(broken, root.pem);
    bad((rota_tls_context_options){.ca = broken}, -EINVAL, "ca given as text: TLS: ");
    bad((rota_tls_context_options){.alpn = "h2,,x"}, -EINVAL, "nvalid");
    bad((rota_tls_context_options){.alpn = ""}, -EINVAL, "nvalid");
    bad((rota_tls_context_options){.min_version = 0x0301}, -EINVAL, "nvalid");
    bad((rota_tls_context_options){.min_version = ROTA_TLS_1_3, .max_version = ROTA_TLS_1_2}, -EINVAL, "nvalid");
    bad((rota_tls_context_options){.ciphers = "no such thing"}, -EINVAL, "nvalid");
    bad((rota_tls_context_options){.server = true, .certificate = server.pem, .key = server.key_pem,
                                   .client_certificate = ROTA_TLS_NEED_CLIENT_CERTIFICATE}, -EINVAL, "nvalid");
    cr_expect_eq(rota_tls_context_new(NULL, NULL), -EINVAL);
    rota_tls_context_free(NULL);
    cr_expect_null(rota_tls_context_ref(NULL));
}

Test(tls, keys_with_a_password) {
    char pem[4096];
    rota_tls_context *ctx;
    make_certificates();
    BIO *bio = BIO_new(BIO_s_mem());
    cr_assert_eq(PEM_write_bio_PrivateKey(bio, server.key, EVP_aes_128_cbc(), NULL, 0, NULL, (void *)"secret"), 1);
    int n = BIO_read(bio, pem, sizeof pem - 1);
    pem[n] = '\0';
    BIO_free(bio);
    rota_tls_context_options opt = {.server = true, .certificate = server.pem, .key = pem};
    bad(opt, -EINVAL, "TLS: ");
    opt.key_password = "wrong";
    bad(opt, -EINVAL, "TLS: ");
    opt.key_password = "secret";
    cr_expect_eq(rota_tls_context_new(&ctx, &opt), 0);
    cr_expect_not_null(rota_tls_context_native(ctx));
    rota_tls_context_free(ctx);
}

Task_test(tls, nothing_is_known_of_other_streams) {
    int sv[2];
    rota_stream s;
    char text[4] = "x";
    unix_pair(sv);
    cr_expect_eq(rota_stream_open(&s, sv[0], NULL), 0);
    cr_expect_null(rota_tls_alpn(&s));
    cr_expect_null(rota_tls_version(&s));
    cr_expect_null(rota_tls_name(&s));
    cr_expect_null(rota_tls_native(&s));
    cr_expect_eq(rota_tls_error(&s, text, sizeof text), 0u);
    cr_expect_str_eq(text, "");
    rota_stream_close(&s);
    cr_expect_null(rota_tls_version(&s));
    close(sv[1]);
    return 0;
}

/* ---- sessions ---- */

static int resumed(bool no_tickets) {
    struct pair p = {0};
    contexts(NULL, &(rota_tls_context_options){.no_tickets = no_tickets});
    open_pair(&p);
    cr_expect_eq(rota_stream_write(&p.s, "x", 1), 0);
    cr_expect_eq(read_one(&p.c), 1); /* and the tickets before it */
    int can = SSL_SESSION_is_resumable(SSL_get0_session(rota_tls_native(&p.c)));
    close_pair(&p);
    return can;
}

Task_test(tls, tickets) {
    cr_expect_eq(resumed(false), 1);
    cr_expect_eq(resumed(true), 0);
    return 0;
}

/* ---- the stack ---- */

static size_t used_of_client, used_of_server;

static intptr_t accept_deep(void *arg) {
    (void)do_accept(arg);
    used_of_server = rota_task_stack_used(rota_self());
    return 0;
}

static intptr_t connect_deep(void *arg) {
    (void)do_connect(arg);
    used_of_client = rota_task_stack_used(rota_self());
    return 0;
}

static void how_deep(const char *what, int version, const struct certificate *of_server) {
    struct pair p = {0};
    int fds[2];
    contexts(&(rota_tls_context_options){.max_version = version, .certificate = client.pem, .key = client.key_pem},
             &(rota_tls_context_options){.certificate = of_server->pem, .key = of_server->key_pem, .ca = root.pem,
                                         .client_certificate = ROTA_TLS_NEED_CLIENT_CERTIFICATE});
    tcp_nonblocking_pair(fds);
    p.client = (struct side){.s = &p.c, .fd = fds[0], .name = "localhost"};
    p.server = (struct side){.s = &p.s, .fd = fds[1]};
    rota_call calls[2] = {{.fn = connect_deep, .arg = &p.client}, {.fn = accept_deep, .arg = &p.server}};
    cr_expect_eq(rota_gather(calls, 2, NULL), 0);
    cr_expect_eq(p.client.rc, 0);
    cr_expect_eq(p.server.rc, 0);
    if (getenv("ROTA_TEST_VERBOSE"))
        fprintf(stderr, "%-12s stack of client %zu, of server %zu bytes\n", what, used_of_client, used_of_server);
    close_pair(&p);
    /* A sanitizer's frames are larger, and a page is the least that can be told. */
    cr_expect_lt(used_of_client, 56u * 1024, "%s: %zu bytes", what, used_of_client);
    cr_expect_lt(used_of_server, 56u * 1024, "%s: %zu bytes", what, used_of_server);
}

Task_test(tls, a_usual_stack_is_enough) {
    make_rsa_certificate();
    how_deep("1.3, ECDSA", 0, &server);
    how_deep("1.3, RSA", 0, &server_rsa);
    how_deep("1.2, ECDSA", ROTA_TLS_1_2, &server);
    how_deep("1.2, RSA", ROTA_TLS_1_2, &server_rsa);
    return 0;
}
