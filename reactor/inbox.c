/* The inbox: posts from other threads, and waking a loop that sleeps. See inbox.h.
 *
 * No wake-up is lost (all four accesses are sequentially consistent, so one side sees the other):
 *
 *     poster:  push entry;       then read `sleeping`, and wake the loop if it says ASLEEP
 *     loop:    sleeping = ASLEEP; then read the list, and do not sleep if something is there
 *
 * ASLEEP is exchanged for WOKEN by the one poster that makes the system call; the rest of a flood sees WOKEN
 * (or AWAKE) and makes none. The loop resets it when it comes back from waiting.
 */
#include "reactor/inbox.h"

#include "reactor/loop.h"

static rota_ready closed_mark;
#define INBOX_CLOSED (&closed_mark)

struct rota__inbox *rota__inbox_new(const rota_allocator *a) {
    struct rota__inbox *inbox = rota__alloc(a, sizeof *inbox);
    if (!inbox)
        return NULL;
    atomic_init(&inbox->head, NULL);
    atomic_init(&inbox->sleeping, ROTA__AWAKE);
    atomic_init(&inbox->references, 1);
    atomic_init(&inbox->signals_pending, 0);
    atomic_init(&inbox->remotes, 0);
    inbox->owner = rota__thread_id();
    inbox->forks = rota__forks;
    inbox->waker.fd = inbox->waker.other = -1;
    inbox->waker.wake = NULL;
    inbox->allocator = *a;
    return inbox;
}

void rota__inbox_ref(struct rota__inbox *inbox) {
    atomic_fetch_add_explicit(&inbox->references, 1, memory_order_relaxed);
}

void rota__inbox_unref(struct rota__inbox *inbox) {
    if (atomic_fetch_sub_explicit(&inbox->references, 1, memory_order_acq_rel) != 1)
        return;
    if (inbox->waker.fd >= 0)
        (void)rota__sys_close(inbox->waker.fd);
    if (inbox->waker.other >= 0)
        (void)rota__sys_close(inbox->waker.other);
    rota_allocator a = inbox->allocator;
    rota__free(&a, inbox, sizeof *inbox);
}

void rota__inbox_wake(struct rota__inbox *inbox) {
    if (inbox->forks != rota__forks)
        return;
    if (atomic_load(&inbox->sleeping) == ROTA__ASLEEP && atomic_exchange(&inbox->sleeping, ROTA__WOKEN) == ROTA__ASLEEP)
        (void)inbox->waker.wake(inbox->waker.fd);
}

int rota__inbox_post(struct rota__inbox *inbox, rota_ready *entry) {
    rota_ready *head = atomic_load_explicit(&inbox->head, memory_order_relaxed);
    do {
        if (head == INBOX_CLOSED) {
            __atomic_store_n(&entry->next_, NULL, __ATOMIC_RELAXED);
            return -ESHUTDOWN;
        }
        __atomic_store_n(&entry->next_, head ? head : ROTA__READY_LAST, __ATOMIC_RELAXED);
    } while (!atomic_compare_exchange_weak(&inbox->head, &head, entry));
    rota__inbox_wake(inbox);
    return 0;
}

/* The list is newest first; what was posted first must run first. */
static rota_ready *reverse(rota_ready *newest) {
    rota_ready *oldest_first = ROTA__READY_LAST;
    while (newest != ROTA__READY_LAST) {
        rota_ready *older = rota__ready_where(newest);
        rota__ready_mark(newest, oldest_first);
        oldest_first = newest;
        newest = older;
    }
    return oldest_first;
}

bool rota__inbox_take(rota_loop *loop) {
    if (!rota__inbox_has(loop->inbox))
        return false;
    rota_ready *entry = reverse(atomic_exchange(&loop->inbox->head, NULL));
    while (entry != ROTA__READY_LAST) {
        rota_ready *next = rota__ready_where(entry);
        rota__ready_push(&loop->ready, entry);
        loop->counts.posts++;
        if (__builtin_expect(loop->traced, 0))
            rota__trace_post(loop, entry);
        entry = next;
    }
    return true;
}

bool rota__inbox_sleep(struct rota__inbox *inbox) {
    rota__store_before_load(&inbox->sleeping, ROTA__ASLEEP);
    if (!atomic_load(&inbox->head) && !atomic_load(&inbox->signals_pending))
        return true;
    rota__inbox_awake(inbox);
    return false;
}

void rota__inbox_close(struct rota__inbox *inbox) {
    rota_ready *entry = atomic_exchange(&inbox->head, INBOX_CLOSED);
    while (entry && entry != ROTA__READY_LAST && entry != INBOX_CLOSED) {
        rota_ready *next = rota__ready_where(entry);
        rota__ready_dropped(entry);
        entry = next;
    }
    inbox->owner = 0;
}
