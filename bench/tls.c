/* TLS on loopback: handshakes, and bytes through one connection, in CPU time of the server, which is a process of its
 * own, as the client is. The floor drives the same OpenSSL, with the same
 * certificate, sizes and modes, by a hand-written epoll loop; both rows have the same client (the floor's), so that
 * only the server differs. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "rota.h"
#include "rota/tls.h"

enum { WRITE_SIZE = 16 * 1024, HANDSHAKES = 1000, MEGABYTES = 512 };

static char certificate[4096], key[4096];

/* ---- a certificate ---- */

static void to_text(BIO *bio, char *buf, size_t size) {
    int n = BIO_read(bio, buf, (int)size - 1);
    if (n <= 0)
        bench_die("a certificate");
    buf[n] = '\0';
    BIO_free(bio);
}

static void make_certificate(void) {
    if (certificate[0])
        return;
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 86400);
    X509_set_pubkey(x509, pkey);
    X509_NAME *name = X509_get_subject_name(x509);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(x509, name);
    if (!X509_sign(x509, pkey, EVP_sha256()))
        bench_die("a certificate");
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x509);
    to_text(bio, certificate, sizeof certificate);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
    to_text(bio, key, sizeof key);
    X509_free(x509);
    EVP_PKEY_free(pkey);
}

static rota_tls_context *server_context(void) {
    rota_tls_context *ctx;
    rota_tls_context_options opt = {.server = true, .certificate = certificate, .key = key};
    if (rota_tls_context_new(&ctx, &opt) < 0)
        bench_die("a context");
    return ctx;
}

/* ---- the client: blocking ---- */

static int dial(const struct sockaddr_in *addr) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)addr, sizeof *addr) < 0)
        bench_die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static SSL *connect_tls(SSL_CTX *ctx, const struct sockaddr_in *addr) {
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, dial(addr));
    if (SSL_connect(ssl) != 1)
        bench_die("handshake");
    return ssl;
}

static void end_tls(SSL *ssl) {
    int fd = SSL_get_fd(ssl);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

static void shake_hands(const struct sockaddr_in *addr, long n) {
    char byte;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    while (n-- > 0) {
        SSL *ssl = connect_tls(ctx, addr);
        if (SSL_write(ssl, "x", 1) != 1 || SSL_read(ssl, &byte, 1) != 1)
            bench_die("echo");
        end_tls(ssl);
    }
}

/* One byte asks the server to send n bytes. */
static void take_bytes(const struct sockaddr_in *addr, long n) {
    static char buf[WRITE_SIZE];
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL *ssl = connect_tls(ctx, addr);
    if (SSL_write(ssl, "s", 1) != 1)
        bench_die("ask");
    while (n > 0) {
        int r = SSL_read(ssl, buf, sizeof buf);
        if (r <= 0)
            bench_die("bytes");
        n -= r;
    }
    end_tls(ssl);
}

/* ---- the servers: 'x' is sent back; 's' asks for bytes ---- */

static long bytes_wanted(void) { return MEGABYTES * 1000000L / bench_divide; }
static char payload[WRITE_SIZE];

struct floor_client {
    SSL *ssl;
    int fd;
    long left;   /* to send */
};

/* Until OpenSSL wants an event. False: it is over. */
static bool floor_step(struct floor_client *c) {
    char byte;
    for (;;) {
        ERR_clear_error();
        if (c->left > 0) {
            int n = c->left < WRITE_SIZE ? (int)c->left : WRITE_SIZE, w = SSL_write(c->ssl, payload, n);
            if (w <= 0)
                return SSL_get_error(c->ssl, w) == SSL_ERROR_WANT_WRITE;
            c->left -= w;
            continue;
        }
        int r = SSL_read(c->ssl, &byte, 1);
        if (r <= 0)
            return SSL_get_error(c->ssl, r) == SSL_ERROR_WANT_READ;
        if (byte == 's')
            c->left = bytes_wanted();
        else if (SSL_write(c->ssl, &byte, 1) != 1)
            return false;
    }
}

static void floor_accept(int ep, int listener, SSL_CTX *ctx) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct floor_client *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->ssl = SSL_new(ctx);
        SSL_set_fd(c->ssl, fd);
        SSL_set_accept_state(c->ssl);
        struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c };
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}

static void serve_floor(int listener) {
    SSL_CTX *ctx = rota_tls_context_native(server_context());
    struct epoll_event events[64], e = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };
    int ep = epoll_create1(EPOLL_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(ep, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct floor_client *c = events[i].data.ptr;
            if (!c) {
                floor_accept(ep, listener, ctx);
            } else if (!floor_step(c)) {
                SSL_shutdown(c->ssl);
                SSL_free(c->ssl);
                close(c->fd);
                free(c);
            }
        }
    }
}

static intptr_t answer(int fd, rota_tls_context *ctx) {
    char byte;
    int on = 1;
    rota_stream s;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (rota_tls_accept(&s, fd, ctx, NULL) < 0) {
        rota_close(fd);
        return 0;
    }
    int rc = 0;
    while (rc == 0 && rota_stream_read(&s, &byte, 1) == 1) {
        if (byte != 's')
            rc = rota_stream_write(&s, &byte, 1);
        else
            for (long left = bytes_wanted(); rc == 0 && left > 0; left -= WRITE_SIZE)
                rc = rota_stream_write(&s, payload, left < WRITE_SIZE ? (size_t)left : WRITE_SIZE);
    }
    rota_stream_close(&s);
    return 0;
}

struct accepting {
    int listener;
    rota_tls_context *ctx;
};

struct accepted {
    int fd;
    rota_tls_context *ctx;
};

static intptr_t answer_one(void *arg) {
    struct accepted *a = arg;
    return answer(a->fd, a->ctx);
}

static intptr_t acceptor(void *arg) {
    struct accepting *a = arg;
    for (;;) {
        struct accepted one = { rota_accept(a->listener, NULL, NULL), a->ctx };
        if (one.fd < 0)
            return one.fd;
        if (rota_spawn(NULL, answer_one, &one, &(rota_spawn_options){ .arg_size = sizeof one }) < 0)
            rota_close(one.fd);
    }
}

static void serve_rota(int listener) {
    struct accepting a = { listener, server_context() };
    if (rota_run(acceptor, &a, NULL, NULL) < 0)
        bench_die("serve");
}

/* ---- measuring ---- */

/* The server's CPU time, in ns. */
static double measure(void (*serve)(int), void (*load)(const struct sockaddr_in *, long), long n) {
    struct sockaddr_in addr = { .sin_family = AF_INET };
    socklen_t len = sizeof addr;
    int status;
    struct rusage u;
    make_certificate();
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&addr, len) < 0 || listen(listener, 1024) < 0 ||
        getsockname(listener, (struct sockaddr *)&addr, &len) < 0)
        bench_die("listen");
    pid_t server = fork();
    if (server == 0) {
        serve(listener);
        _exit(0);
    }
    close(listener);
    load(&addr, n);
    kill(server, SIGKILL);
    wait4(server, &status, 0, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e9 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e3;
}

static long handshakes(void) { return HANDSHAKES / bench_divide; }

static double us_of_handshake(void (*serve)(int)) {
    return measure(serve, shake_hands, handshakes()) / 1e3 / (double)handshakes();
}

static double megabytes_per_s(void (*serve)(int)) {
    return (double)bytes_wanted() / 1e6 / (measure(serve, take_bytes, bytes_wanted()) / 1e9);
}

static double floor_handshake(long n) { (void)n; return us_of_handshake(serve_floor); }
static double rota_handshake(long n) { (void)n; return us_of_handshake(serve_rota); }
static double floor_throughput(long n) { (void)n; return megabytes_per_s(serve_floor); }
static double rota_throughput(long n) { (void)n; return megabytes_per_s(serve_rota); }

const struct bench bench_tls[] = {
    { "tls", "tls_handshake", "us", 1, { { "floor", floor_handshake }, { "rota", rota_handshake } },
      "the server's CPU time for one connection: accepted, handshake, a byte each way, closed" },
    { "tls", "tls_throughput", "MB/s", 1, { { "floor", floor_throughput }, { "rota", rota_throughput } },
      "MB sent on one connection in each second of the server's CPU time: more is better" },
    { 0 }
};
