/* A server of HTTP/1.1 in processes of its own, so that neither rota nor what fails in it has a part in answering.
 *
 *     /hello       hello
 *     /redirect    to /hello
 *     /big         BIG_BODY bytes 'x'
 *     /pieces      "abc" and "def", each when the test says so
 */
#ifndef ROTA_ADAPTERS_CURL_KIT_H
#define ROTA_ADAPTERS_CURL_KIT_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "rota/curl.h"
#include "tests/net_kit.h"

#ifdef __linux__
# include <sys/prctl.h>
#endif

enum { BIG_BODY = 300000 };

static struct web {
    int port, tokens[2];        /* a byte in this pipe is the next piece */
    pid_t pid;
} web;

static bool send_whole(int fd, const char *text, size_t n) {
    while (n > 0) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        text += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool send_text(int fd, const char *text) { return send_whole(fd, text, strlen(text)); }

static bool send_big(int fd) {
    static char body[BIG_BODY];
    char head[64];
    memset(body, 'x', sizeof body);
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG_BODY);
    return send_text(fd, head) && send_whole(fd, body, sizeof body);
}

/* False when the client goes first. */
static bool next_piece(int fd, const char *piece) {
    struct pollfd fds[2] = {{.fd = web.tokens[0], .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    char token;
    return poll(fds, 2, -1) > 0 && !fds[1].revents && read(web.tokens[0], &token, 1) == 1 && send_text(fd, piece);
}

static bool answer(int fd, const char *path) {
    if (strcmp(path, "/redirect") == 0)
        return send_text(fd, "HTTP/1.1 302 Found\r\nLocation: /hello\r\nContent-Length: 0\r\n\r\n");
    if (strcmp(path, "/big") == 0)
        return send_big(fd);
    if (strcmp(path, "/pieces") == 0)
        return send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n") && next_piece(fd, "abc") &&
               next_piece(fd, "def");
    return send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
}

static _Noreturn void serve_client(int fd) {
    char head[4096] = "", path[64];
    size_t used = 0;
    ssize_t n;
    while ((n = recv(fd, head + used, sizeof head - 1 - used, 0)) > 0) {
        used += (size_t)n;
        head[used] = '\0';
        if (!strstr(head, "\r\n\r\n"))
            continue;
        if (sscanf(head, "GET %63s", path) != 1 || !answer(fd, path))
            break;
        used = 0;
    }
    _exit(0);
}

static _Noreturn void serve_web(int listener) {
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && fork() == 0) {
            close(listener);
            serve_client(fd);
        }
        close(fd);
    }
}

static void open_web(void) {
    int listener = raw_listener(64);
    web.port = port_of(listener);
    cr_assert_eq(pipe(web.tokens), 0);
    web.pid = fork();
    if (web.pid == 0)
        serve_web(listener);
    close(listener);
}

static void close_web(void) {
    kill(web.pid, SIGKILL);
    waitpid(web.pid, NULL, 0);
    close(web.tokens[0]);
    close(web.tokens[1]);
}

KIT void give_token(void) { cr_expect_eq(write(web.tokens[1], "", 1), 1); }

KIT void forget_tokens(void) {
    struct pollfd it = {.fd = web.tokens[0], .events = POLLIN};
    char token;
    while (poll(&it, 1, 0) > 0 && read(web.tokens[0], &token, 1) == 1)
        ;
}

/* ---- what the tests do ---- */

struct body {
    char text[16];
    size_t n;
};

static size_t keep_body(char *data, size_t one, size_t n, void *arg) {
    struct body *body = arg;
    for (size_t i = 0; i < n && body->n < sizeof body->text - 1; i++)
        body->text[body->n++] = data[i];
    return one * n;
}

/* NULL: no memory. */
static CURL *easy_for(const char *path, struct body *body) {
    char url[64];
    CURL *easy = curl_easy_init();
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", web.port, path);
    memset(body, 0, sizeof *body);
    if (easy && (curl_easy_setopt(easy, CURLOPT_URL, url) || curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L) ||
                 curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep_body) ||
                 curl_easy_setopt(easy, CURLOPT_WRITEDATA, body))) {
        curl_easy_cleanup(easy);
        easy = NULL;
    }
    return easy;
}

#endif
