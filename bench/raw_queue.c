#include "raw_queue.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench.h"

void raw_open(struct raw_queue *q) {
    struct epoll_event e = { .events = EPOLLIN | EPOLLET };
    q->head = NULL;
    q->asleep = 0;
    q->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (q->event_fd < 0 || q->epoll_fd < 0 || epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, q->event_fd, &e) < 0)
        bench_die("eventfd");
}

void raw_close(struct raw_queue *q) {
    close(q->event_fd);
    close(q->epoll_fd);
}

void raw_put(struct raw_queue *q, struct raw_item *item) {
    static const uint64_t one = 1;
    struct raw_item *head = atomic_load_explicit(&q->head, memory_order_relaxed);
    do
        item->next = head;
    while (!atomic_compare_exchange_weak(&q->head, &head, item));
    if (atomic_load(&q->asleep) && atomic_exchange(&q->asleep, 0) && write(q->event_fd, &one, sizeof one) < 0)
        bench_die("write");
}

struct raw_item *raw_take(struct raw_queue *q) {
    struct raw_item *newest, *oldest = NULL;
    while ((newest = atomic_exchange(&q->head, NULL)) == NULL) {
        struct epoll_event e;
        atomic_store(&q->asleep, 1);
        if (atomic_load(&q->head) == NULL)
            epoll_wait(q->epoll_fd, &e, 1, -1);
        atomic_store_explicit(&q->asleep, 0, memory_order_relaxed);
    }
    while (newest) {
        struct raw_item *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}
