/* The inbox by itself: order, the sleeping flag and who makes the system call, closing. */
#include "tests/reactor_kit.h"

static struct rota__inbox *inbox;
static int wakes;

static int count_wake(int fd) {
    (void)fd;
    wakes++;
    return 0;
}

static void begin(void) {
    kit_open();
    inbox = rota__inbox_new(&memory_allocator);
    cr_assert_not_null(inbox);
    inbox->waker.wake = count_wake;
}

static void end(void) {
    rota__inbox_unref(inbox);
    kit_close();
}

static rota_ready entries[3];

Test(inbox, without_memory_there_is_none, .init = begin, .fini = end) {
    memory.fail_at = memory.calls + 1;
    cr_expect_null(rota__inbox_new(&memory_allocator));
}

Test(inbox, a_post_to_a_loop_that_is_awake_makes_no_system_call, .init = begin, .fini = end) {
    cr_expect_eq(rota__inbox_post(inbox, &entries[0]), 0);
    cr_expect_eq(wakes, 0);
}

Test(inbox, a_flood_wakes_once, .init = begin, .fini = end) {
    cr_expect(rota__inbox_sleep(inbox));
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota__inbox_post(inbox, &entries[i]), 0);
    cr_expect_eq(wakes, 1);
    rota__inbox_awake(inbox);
    rota__inbox_wake(inbox);
    cr_expect_eq(wakes, 1);
}

Test(inbox, with_something_in_it_there_is_no_sleep, .init = begin, .fini = end) {
    cr_expect_eq(rota__inbox_post(inbox, &entries[0]), 0);
    cr_expect(!rota__inbox_sleep(inbox));
    cr_expect_eq(atomic_load(&inbox->sleeping), (unsigned)ROTA__AWAKE);
}

Test(inbox, with_a_signal_pending_there_is_no_sleep, .init = begin, .fini = end) {
    atomic_store(&inbox->signals_pending, 1);
    cr_expect(!rota__inbox_sleep(inbox));
    atomic_store(&inbox->signals_pending, 0);
    cr_expect(rota__inbox_sleep(inbox));
}

Test(inbox, a_closed_one_refuses_and_leaves_the_entry, .init = begin, .fini = end) {
    cr_expect_eq(rota__inbox_post(inbox, &entries[0]), 0);
    cr_expect_eq(rota__inbox_post(inbox, &entries[1]), 0);
    rota__inbox_close(inbox);
    cr_expect(!rota__ready_queued(&entries[0]));
    cr_expect(!rota__ready_queued(&entries[1]));
    cr_expect_eq(rota__inbox_post(inbox, &entries[2]), -ESHUTDOWN);
    cr_expect(!rota__ready_queued(&entries[2]));
    rota__inbox_close(inbox);
}

Test(inbox, it_lives_until_the_last_reference, .init = begin, .fini = end) {
    size_t blocks = memory.blocks;
    rota__inbox_ref(inbox);
    rota__inbox_unref(inbox);
    cr_expect_eq(memory.blocks, blocks);
    cr_expect_eq(rota__inbox_post(inbox, &entries[0]), 0);
}

Test(inbox, posts_arrive_in_order_behind_what_is_ready, .init = begin, .fini = end) {
    cr_expect(!rota__inbox_take(loop));
    rota__ready_push(&loop->ready, &entries[0]);
    cr_expect_eq(rota__inbox_post(loop->inbox, &entries[1]), 0);
    cr_expect_eq(rota__inbox_post(loop->inbox, &entries[2]), 0);
    cr_expect(rota__inbox_take(loop));
    for (int i = 0; i < 3; i++) {
        rota_ready *entry = rota__ready_peek(&loop->ready);
        cr_expect_eq(entry, &entries[i]);
        rota__ready_drop(&loop->ready, entry);
    }
}
