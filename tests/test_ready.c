/* The ready queue by itself: a ring with a list behind it must behave as one FIFO. */
#include "reactor/ready.h"
#include "tests/support.h"

#include <stdlib.h>

enum { RING = ROTA__READY_FIRST };

static struct rota__ready_queue q;

static void begin(void) {
    test_begin();
    static rota_ready *first[RING];
    rota__ready_open(&q, first);
}

static void end(void) {
    rota__ready_close(&q, &memory_allocator);
    test_end();
}

static rota_ready *pop(void) {
    rota_ready *entry = rota__ready_peek(&q);
    if (entry)
        rota__ready_drop(&q, entry);
    return entry;
}

static void push_all(rota_ready *entries, int n) {
    for (int i = 0; i < n; i++)
        rota__ready_push(&q, &entries[i]);
}

Test(ready, an_empty_queue_has_nothing, .init = begin, .fini = end) {
    cr_expect(rota__ready_empty(&q));
    cr_expect_null(rota__ready_peek(&q));
}

Test(ready, what_does_not_fit_the_ring_keeps_its_order, .init = begin, .fini = end) {
    static rota_ready entries[1000];
    push_all(entries, 1000);
    for (int i = 0; i < 1000; i++) {
        cr_expect(rota__ready_queued(&entries[i]));
        cr_assert_eq(pop(), &entries[i]);
        cr_expect(!rota__ready_queued(&entries[i]));
    }
    cr_expect_null(pop());
}

Test(ready, reserving_makes_room_and_keeps_the_order, .init = begin, .fini = end) {
    static rota_ready entries[1000];
    push_all(entries, 100);
    rota__ready_reserve(&q, &memory_allocator, 500);
    cr_expect_geq(q.mask + 1, 500u);
    push_all(entries + 100, 900);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(pop(), &entries[i]);
}

Test(ready, without_memory_the_list_serves, .init = begin, .fini = end) {
    static rota_ready entries[200];
    memory.fail_at = memory.calls + 1;
    rota__ready_reserve(&q, &memory_allocator, 500);
    cr_expect_lt(q.mask + 1, 500u);
    push_all(entries, 200);
    for (int i = 0; i < 200; i++)
        cr_assert_eq(pop(), &entries[i]);
}

Test(ready, an_absurd_reserve_changes_nothing, .init = begin, .fini = end) {
    rota__ready_reserve(&q, &memory_allocator, SIZE_MAX);
    cr_expect_eq(q.mask + 1, (unsigned)RING);
}

static void run_nothing(rota_ready *self) { (void)self; }

/* Entries that are taken out of the ring leave a hole, which is run instead. */
Test(ready, entries_can_be_taken_out_anywhere, .init = begin, .fini = end) {
    static rota_ready entries[200];
    for (int i = 0; i < 200; i++)
        entries[i].run_ = run_nothing;
    push_all(entries, 200);  /* the others behind those in the ring */
    static const int out[] = { 0, RING - 1, RING, RING + 1, RING + 40, 199 };
    for (int i = 0; i < 6; i++) {
        rota__ready_remove(&q, &entries[out[i]]);
        cr_expect(!rota__ready_queued(&entries[out[i]]));
    }
    int next = 0;
    for (rota_ready *entry; (entry = pop());) {
        if (entry == &q.hole)
            continue;
        while (next == 0 || (next >= RING - 1 && next <= RING + 1) || next == RING + 40)
            next++;
        cr_assert_eq(entry, &entries[next++]);
    }
    cr_expect_eq(next, 199);
}

Test(ready, the_last_of_the_list_can_go_and_another_come, .init = begin, .fini = end) {
    static rota_ready entries[RING + 3];
    push_all(entries, RING + 2);
    rota__ready_remove(&q, &entries[RING + 1]);
    rota__ready_push(&q, &entries[RING + 2]);
    for (int i = 0; i < RING + 1; i++)
        cr_assert_eq(pop(), &entries[i]);
    cr_expect_eq(pop(), &entries[RING + 2]);
    cr_expect_null(pop());
}

/* One that another thread is about to post says that it is queued, and is in no queue yet. */
Test(ready, what_is_not_there_is_not_taken_out, .init = begin, .fini = end) {
    static rota_ready entries[RING + 3], other;
    other.next_ = ROTA__READY_LAST;
    push_all(entries, RING + 3);
    rota__ready_remove(&q, &other);
    cr_expect(rota__ready_queued(&other));
    for (int i = 0; i < RING + 3; i++)
        cr_assert_eq(pop(), &entries[i]);
}

Test(ready, one_that_stepped_aside_comes_first, .init = begin, .fini = end) {
    static rota_ready entries[RING + 1];
    push_all(entries, 2);
    cr_expect(rota__ready_push_front(&q, &entries[2]));
    cr_expect_eq(pop(), &entries[2]);
    cr_expect_eq(pop(), &entries[0]);
    push_all(entries + 2, RING - 1);
    cr_expect(!rota__ready_push_front(&q, &entries[0]), "the ring is full");
    cr_expect_eq(pop(), &entries[1]);
}

Test(ready, closing_leaves_the_entries_unqueued) {
    static rota_ready entries[100];
    begin();
    push_all(entries, 100);
    end();
    for (int i = 0; i < 100; i++)
        cr_expect(!rota__ready_queued(&entries[i]));
}

/* Positions are 32 bits and wrap. */
Test(ready, positions_may_wrap, .init = begin, .fini = end) {
    static rota_ready entries[100];
    q.head = UINT32_MAX - 10;
    push_all(entries, 100);
    rota__ready_reserve(&q, &memory_allocator, 2 * RING);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(pop(), &entries[i]);
    rota__ready_remove(&q, &entries[50]);
    for (int i = 40; i < 100; i++)
        cr_assert_eq(pop(), i == 50 ? &q.hole : &entries[i]);
}

/* Of a ring with room for many, few places are used as long as few entries are ready at a time. */
Test(ready, rewound_it_begins_at_its_first_place, .init = begin, .fini = end) {
    static rota_ready entries[3];
    push_all(entries, 2);
    cr_assert_eq(pop(), &entries[0]);
    rota__ready_rewind(&q);
    cr_assert_eq(pop(), &entries[1], "nothing is lost where there is something");
    rota__ready_rewind(&q);
    cr_expect(rota__ready_empty(&q));
    push_all(&entries[2], 1);
    cr_expect_eq(q.ring[0], &entries[2]);
    cr_assert_eq(pop(), &entries[2]);
    cr_expect_null(pop());
}

/* What a task that yields does, if it is the only one or takes the place of the next one. */
Test(ready, yielding_keeps_the_order_and_is_a_step, .init = begin, .fini = end) {
    static rota_ready entries[RING + 1];
    rota__ready_step(&q);
    cr_expect(rota__ready_empty(&q));
    cr_expect_eq(q.head, 1u);
    for (int n = 1; n <= RING; n += n < 3 ? 1 : RING - 3) {
        uint32_t begun = q.head;
        push_all(entries, n);
        for (int i = 0; i <= n; i++) {
            cr_assert_eq(rota__ready_first(&q), &entries[i]);
            rota__ready_exchange(&q, &entries[(i + n) % (n + 1)]);
            cr_assert_eq(rota__ready_count(&q), (size_t)n);
        }
        cr_expect_eq(q.head, begun + (uint32_t)n + 1);
        for (int i = 0; i < n; i++)
            cr_assert_eq(pop(), &entries[i]);
        cr_expect_null(pop());
    }
}

/* Against an array: random pushes, pops, removals, growth with and without memory. */
Test(ready, behaves_like_a_list, .init = begin, .fini = end) {
    enum { N = 400 };
    static rota_ready entries[N];
    static rota_ready *model[N];
    int n = 0;
    srand(1);
    for (int i = 0; i < N; i++)
        entries[i].run_ = run_nothing;
    for (int step = 0; step < 200000; step++) {
        rota_ready *entry = &entries[rand() % N];
        int what = rand() % 100;
        if (what == 0) {
            memory.fail_at = rand() % 2 ? memory.calls + 1 : 0;
            rota__ready_reserve(&q, &memory_allocator, (size_t)(rand() % 512));
        } else if (what < 10 && rota__ready_queued(entry)) {
            int at = 0;
            while (model[at] != entry)
                at++;
            memmove(&model[at], &model[at + 1], (size_t)(--n - at) * sizeof *model);
            rota__ready_remove(&q, entry);
        } else if (what < (step / 1000 % 2 ? 40 : 70)) {
            if (!rota__ready_queued(entry)) {
                rota__ready_push(&q, entry);
                model[n++] = entry;
            }
        } else {
            rota_ready *first;
            while ((first = pop()) == &q.hole)
                ;
            cr_assert_eq(first, n ? model[0] : NULL, "step %d", step);
            if (n)
                memmove(model, model + 1, (size_t)--n * sizeof *model);
        }
        if (n == 0)
            while (rota__ready_peek(&q) == &q.hole)
                (void)pop();
        cr_assert_eq(rota__ready_empty(&q), n == 0);
    }
}
