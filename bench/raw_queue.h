/* The floor of talking between threads: a lock-free list to one consumer that says when it sleeps, and an edge-triggered
 * eventfd that wakes it and is never read. */
#ifndef ROTA_BENCH_RAW_QUEUE_H
#define ROTA_BENCH_RAW_QUEUE_H

struct raw_item {
    struct raw_item *next;
};

struct raw_queue {
    _Alignas(64) struct raw_item *_Atomic head;  /* newest first */
    _Atomic int asleep;
    int event_fd, epoll_fd;
};

void raw_open(struct raw_queue *q);
void raw_close(struct raw_queue *q);

/* Any thread. */
void raw_put(struct raw_queue *q, struct raw_item *item);

/* The consumer: sleeps until there is something; all of it, oldest first. */
struct raw_item *raw_take(struct raw_queue *q);

#endif
