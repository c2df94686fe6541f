/* The floor: a timer and TCP echo by hand. */
#include "common.h"

#include <sys/epoll.h>
#include <time.h>

int main(void) {
    static char buf[2048];
    struct epoll_event events[64], e = { .events = EPOLLIN };
    struct timespec now;
    int ep = epoll_create1(EPOLL_CLOEXEC), listener = listen_somewhere();
    e.data.fd = listener;
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t due = now.tv_sec + 1;
    say_port(listener);
    for (;;) {
        int n = epoll_wait(ep, events, 64, 1000);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec >= due) {
            due = now.tv_sec + 1;
            tick();
        }
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                e.data.fd = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (e.data.fd >= 0)
                    epoll_ctl(ep, EPOLL_CTL_ADD, e.data.fd, &e);
                continue;
            }
            ssize_t got = recv(fd, buf, sizeof buf, 0);
            if (got <= 0 || send(fd, buf, (size_t)got, MSG_NOSIGNAL) != got)
                close(fd);
        }
    }
}
