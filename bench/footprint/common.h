/* What the programs of the footprint share: a listening socket on a free port, told on standard output without stdio. */
#ifndef FOOTPRINT_COMMON_H
#define FOOTPRINT_COMMON_H

#ifndef _GNU_SOURCE
# define _GNU_SOURCE
#endif
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Defined by heap.c, when heap calls are counted: "heap N" follows the port, and each later "heap N" a byte on standard
 * input. Else NULL. */
extern long heap_calls __attribute__((weak));

static void say(char first, unsigned long n) {
    char text[32], *p = text + sizeof text;
    *--p = '\n';
    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    *--p = ' ';
    *--p = first;
    if (write(1, p, (size_t)(text + sizeof text - p)) < 0)
        _exit(1);
}

static int listen_somewhere(void) {
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        _exit(1);
    return fd;
}

static void say_port(int fd) {
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        _exit(1);
    say('p', ntohs(addr.sin_port));
    if (&heap_calls)
        say('h', (unsigned long)heap_calls);
}

/* What the small profile is given: room for 1,000 connections, as they are measured; 2 KiB a task, or what the command
 * line says. The full library needs nothing. */
#ifdef ROTA_PROFILE_SMALL
# ifndef FOOTPRINT_STACK
#  define FOOTPRINT_STACK 2048
# endif
# define FOOTPRINT_MEMORY(tasks) ROTA_LOOP_MEMORY(footprint_memory, 1100, 1, tasks, FOOTPRINT_STACK)
# define FOOTPRINT_OPTIONS (&footprint_memory)
#else
# define FOOTPRINT_MEMORY(tasks) static const char footprint_memory[1] __attribute__((unused))
# define FOOTPRINT_OPTIONS NULL
#endif

/* Once a second in each program. */
static inline void tick(void) {
    if (&heap_calls)
        say('h', (unsigned long)heap_calls);
}

#endif
