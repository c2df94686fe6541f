/* Values that go with a task. */
#include "tests/support.h"

#include "coro/task.h"
#include "rota/combine.h"

static char unset[] = "unset", a[] = "a", b[] = "b", c[] = "c";
static const rota_local name = { unset }, other = { NULL };

static const char *get(void) { return rota_local_get(&name); }

Task_test(local, is_unset_then_set_then_reset) {
    cr_expect_str_eq(get(), "unset");
    cr_expect_eq(rota_local_set(&name, a), 0);
    cr_expect_str_eq(get(), "a");
    cr_expect_null(rota_local_get(&other));
    cr_expect_eq(rota_local_set(&name, b), 0);
    cr_expect_str_eq(get(), "b");
    cr_expect_eq(rota_local_reset(&name), 0);
    cr_expect_str_eq(get(), "a");
    cr_expect_eq(rota_local_reset(&name), 0);
    cr_expect_str_eq(get(), "unset");
    cr_expect_eq(rota_local_reset(&name), -EINVAL);
    return 0;
}

Task_test(local, resets_go_in_the_opposite_order) {
    cr_expect_eq(rota_local_set(&name, a), 0);
    cr_expect_eq(rota_local_set(&other, b), 0);
    cr_expect_eq(rota_local_reset(&name), -EINVAL);
    cr_expect_str_eq(get(), "a");
    cr_expect_eq(rota_local_reset(&other), 0);
    cr_expect_eq(rota_local_reset(&name), 0);
    return 0;
}

/* Sees `expected`, sets its own, and sees that after a while. */
static intptr_t child(void *expected) {
    cr_expect_str_eq(get(), expected);
    cr_expect_eq(rota_local_reset(&name), -EINVAL, "an inherited value is not its to take back");
    cr_expect_eq(rota_local_set(&name, c), 0);
    cr_expect_eq(rota_sleep(ROTA_MS), 0);
    cr_expect_str_eq(get(), "c");
    return 0;
}

Task_test(local, a_task_inherits_what_its_spawner_saw_when_it_was_spawned) {
    rota_task *t[3];
    cr_expect_eq(rota_spawn(&t[0], child, unset, NULL), 0);
    cr_expect_eq(rota_local_set(&name, a), 0);
    cr_expect_eq(rota_spawn(&t[1], child, a, NULL), 0);
    cr_expect_eq(rota_local_set(&name, b), 0);
    cr_expect_eq(rota_spawn(&t[2], child, b, NULL), 0);
    cr_expect_eq(rota_local_reset(&name), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_join(t[i], NULL), 0);
    cr_expect_str_eq(get(), "a", "what children set is their own");
    return 0;
}

/* Outlives its spawner, and then spawns itself. */
static intptr_t grandchild(void *unused) {
    (void)unused;
    cr_expect_eq(rota_sleep(2 * ROTA_MS), 0);
    return (intptr_t)get();
}

static rota_task *orphan;

static intptr_t parent(void *unused) {
    (void)unused;
    cr_expect_eq(rota_local_set(&name, b), 0);
    cr_expect_eq(rota_local_set(&other, a), 0);
    return rota_spawn(&orphan, grandchild, NULL, NULL);
}

Task_test(local, a_value_lives_as_long_as_somebody_sees_it) {
    rota_task *t;
    intptr_t value = 0;
    cr_expect_eq(rota_local_set(&name, a), 0);
    for (int round = 0; round < 2; round++) { /* in the second one the pools have grown */
        size_t blocks = memory.blocks;
        cr_expect_eq(rota_spawn(&t, parent, NULL, NULL), 0);
        cr_expect_eq(rota_join(t, NULL), 0);
        if (round > 0)
            cr_expect_eq(memory.blocks, blocks + 2, "the parent has ended, the orphan has not");
        cr_expect_eq(rota_join(orphan, &value), 0);
        cr_expect_str_eq((char *)rota_ptr(value), "b");
        if (round > 0)
            cr_expect_eq(memory.blocks, blocks);
    }
    return 0;
}

Task_test(local, the_end_of_a_task_takes_back_what_is_left) {
    rota_task *t;
    size_t blocks;
    cr_expect_eq(rota_spawn(&t, child, unset, NULL), 0);
    blocks = memory.blocks;
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(memory.blocks, blocks);
    cr_expect_str_eq(get(), "unset", "a block that is used anew has forgotten it");
    return 0;
}

Task_test(local, many_settings_are_dropped_without_a_deep_stack) {
    for (int i = 0; i < 50000; i++)
        cr_expect_eq(rota_local_set(&name, a), 0);
    return 0; /* freed at the end: the oracle counts */
}

static intptr_t see(void *unused) {
    (void)unused;
    return (intptr_t)get();
}

Task_test(local, gathered_calls_and_eager_tasks_inherit) {
    rota_call calls[] = { { see, NULL, 0 } };
    rota_task *t;
    intptr_t value = 0;
    cr_expect_eq(rota_local_set(&name, a), 0);
    cr_expect_eq(rota_gather(calls, 1, NULL), 0);
    cr_expect_str_eq((char *)rota_ptr(calls[0].result), "a");
    cr_expect_eq(rota_spawn(&t, see, NULL, &(rota_spawn_options){ .eager = true }), 0);
    cr_expect_eq(rota_join(t, &value), 0);
    cr_expect_str_eq((char *)rota_ptr(value), "a");
    return 0;
}

static rota_task *spawned_outside;

static void callback(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    cr_expect_str_eq(get(), "unset");
    cr_expect_eq(rota_local_set(&name, b), -EPERM);
    cr_expect_eq(rota_local_reset(&name), -EPERM);
    cr_expect_eq(rota_spawn(&spawned_outside, see, NULL, NULL), 0);
}

Task_test(local, callbacks_see_nothing_and_hand_nothing_down) {
    rota_soon soon;
    intptr_t value = 0;
    cr_expect_eq(rota_local_set(&name, a), 0);
    rota_soon_init(&soon, callback, NULL);
    cr_expect_eq(rota_soon_start(rota_loop_current(), &soon), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_join(spawned_outside, &value), 0);
    cr_expect_str_eq((char *)rota_ptr(value), "unset");
    return 0;
}

Task_test(local, without_memory_nothing_changes) {
    cr_expect_eq(rota_local_set(&name, a), 0);
    memory.fail_at = memory.calls + 1;
    cr_expect_eq(rota_local_set(&name, b), -ENOMEM);
    cr_expect_str_eq(get(), "a");
    return 0;
}

Task_test(local, mistakes) {
    cr_expect_eq(rota_local_set(NULL, a), -EINVAL);
    cr_expect_eq(rota_local_reset(NULL), -EINVAL);
    cr_expect_null(rota_local_get(NULL));
    return 0;
}

/* A task that the loop has to drop as it is. */
static intptr_t stay(void *unused) {
    (void)unused;
    cr_expect_eq(rota_local_set(&name, a), 0);
    struct rota__wait wait = { .what = "nothing at all", .until = ROTA_FOREVER };
    return rota__park(rota_self(), &wait);
}

Test(local, a_task_that_is_dropped_at_close_leaks_none) {
    rota_loop *loop = open_loop();
    cr_expect_str_eq(get(), "unset");
    cr_expect_eq(rota_spawn(NULL, stay, NULL, NULL), 0);
    cr_expect_eq(rota_loop_turn(loop, 0), 0);
    close_loop(loop);
}
