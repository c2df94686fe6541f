/* Tasks: spawning, ending, awaiting, handles, arguments, stacks, and what is reported about them. */
#include "tests/support.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coro/task.h"
#include "rota/combine.h"

/* Sanitizers' functions need more stack than ours. */
#ifdef ROTA__ASAN
enum { SMALL_STACK = 64 * 1024, SMALLEST_STACK = 32 * 1024 };
#else
enum { SMALL_STACK = 16 * 1024, SMALLEST_STACK = 4096 };
#endif

static intptr_t note_letter(void *letter) {
    note(*(char *)letter);
    return 0;
}

static intptr_t yield_once(void *unused) {
    (void)unused;
    return rota_yield();
}

/* ---- results ---- */

Task_test(task, result_is_joined) { /* A01, T5, T8 */
    rota_task *t;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)7, NULL), 0);
    cr_expect_not_null(t);
    cr_expect(!rota_task_done(t), "it starts behind what is queued");
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, 7);
    cr_expect_eq(rota_join(t, &v), -ESRCH, "the handle is gone");
    return 0;
}

Task_test(task, result_may_be_awaited_any_number_of_times) { /* A01, A05 */
    rota_task *t;
    intptr_t v;
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)7, NULL), 0);
    for (int i = 0; i < 3; i++) {
        v = 0;
        cr_expect_eq(rota_await(t, &v), 0);
        cr_expect_eq(v, 7);
    }
    cr_expect(rota_task_done(t));
    rota_task_release(t);
    return 0;
}

Task_test(task, result_without_waiting) {
    rota_task *t;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)7, NULL), 0);
    cr_expect_eq(rota_task_result(t, &v), -EAGAIN);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_task_result(t, &v), 0);
    cr_expect_eq(v, 7);
    cr_expect_eq(rota_task_result(t, NULL), 0);
    rota_task_release(t);
    cr_expect_eq(rota_task_result(t, &v), -ESRCH);
    return 0;
}

Task_test(task, result_goes_to_the_slot) { /* T8 */
    intptr_t slot = -1;
    cr_expect_eq(rota_spawn(NULL, return_arg, (void *)7, &(rota_spawn_options){ .result = &slot }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(slot, 7);
    cr_expect_eq(rota_spawn(NULL, return_arg, (void *)-EIO, &(rota_spawn_options){ .result = &slot }), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(slot, -EIO, "a slot is looked at: no report");
    return 0;
}

Task_test(task, failures_come_in_either_channel) { /* E1 */
    rota_task *t;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)-EIO, NULL), 0);
    cr_expect_eq(rota_await(t, &v), 0);
    cr_expect_eq(v, -EIO);
    cr_expect_eq(rota_join(t, NULL), -EIO, "merged");
    return 0;
}

Task_test(task, values_beyond_the_error_range_are_results) {
    static const intptr_t values[] = { -4096, INTPTR_MIN, INTPTR_MAX, 0, 1 };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        rota_task *t;
        cr_expect_eq(rota_spawn(&t, return_arg, (void *)values[i], NULL), 0);
        cr_expect_eq(rota_join(t, NULL), 0);
    }
    return 0;
}

static intptr_t join_and_note(void *arg) {
    rota_task *t = *(rota_task **)arg;
    intptr_t v = 0;
    cr_expect_eq(rota_await(t, &v), 0);
    cr_expect_eq(v, 0);
    note(rota_task_name(rota_self())[0]);
    return 0;
}

Task_test(task, ten_joiners_wake_in_order_once_each) { /* A06 */
    static const char *const names[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
    rota_task *target, *t[10];
    int64_t ns = 5;
    cr_expect_eq(rota_spawn(&target, sleep_for, &ns, NULL), 0);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(rota_spawn(&t[i], join_and_note, &target, &(rota_spawn_options){ .name = names[i] }), 0);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(rota_join(t[i], NULL), 0);
    cr_expect_str_eq(trace, "0123456789");
    rota_task_release(target);
    return 0;
}

static intptr_t await_it(void *task) {
    return rota_await(task, NULL);
}

Task_test(task, a_cancelled_joiner_leaves_its_target_alone) { /* A07 */
    rota_task *target, *joiner;
    int64_t ns = 10 * ROTA_MS;
    intptr_t v;
    cr_expect_eq(rota_spawn(&target, sleep_for, &ns, NULL), 0);
    cr_expect_eq(rota_spawn(&joiner, await_it, target, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(joiner, NULL), 0);
    cr_expect_eq(rota_join(joiner, &v), 0);
    cr_expect_eq(v, -ECANCELED);
    cr_expect(!rota_task_done(target));
    cr_expect_eq(rota_join(target, &v), 0);
    cr_expect_eq(v, 0);
    return 0;
}

Task_test(task, a_task_cannot_join_itself) { /* A02 */
    intptr_t v = 0;
    cr_expect_eq(rota_await(rota_self(), &v), -EDEADLK);
    cr_expect_eq(v, -EDEADLK);
    cr_expect_eq(rota_await(rota_self(), NULL), -EDEADLK);
    return 0;
}

/* ---- handles ---- */

Task_test(task, a_released_handle_is_stale) { /* A16 */
    rota_task *t;
    intptr_t v;
    char line[128];
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(rota_await(t, &v), -ESRCH);
    cr_expect_eq(v, -ESRCH);
    cr_expect_eq(rota_join(t, NULL), -ESRCH);
    cr_expect_eq(rota_cancel(t, NULL), -ESRCH);
    cr_expect_eq(rota_task_result(t, &v), -ESRCH);
    cr_expect(!rota_task_done(t));
    cr_expect_null(rota_task_name(t));
    cr_expect_null(rota_task_future(t));
    cr_expect_eq(rota_task_stack_used(t), 0u);
    cr_expect_gt(rota_task_describe(t, line, sizeof line), 0u);
    rota_task_release(t);
    return 0;
}

Task_test(task, a_detached_task_goes_when_it_has_ended) {
    cr_expect_eq(rota_spawn(NULL, yield_once, NULL, NULL), 0);
    cr_expect_eq(rota_loop_tasks(rota_loop_current()), 2u);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_loop_tasks(rota_loop_current()), 1u);
    return 0;
}

Task_test(task, handles_may_be_released_in_any_state) {
    rota_task *t;
    int64_t ns = 5 * ROTA_MS;
    int64_t start = rota_now();
    cr_expect_eq(rota_spawn(&t, sleep_for, &ns, NULL), 0);
    rota_task_release(t); /* before it starts */
    rota_task_release(t); /* twice: it is not held any more */
    cr_expect_eq(rota_spawn(&t, sleep_for, &ns, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    rota_task_release(t); /* while it waits */
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    rota_task_release(t); /* when it has ended */
    rota_task_release(NULL);
    cr_expect_eq(rota_loop_tasks(rota_loop_current()), 3u, "released tasks go on");
    cr_expect_eq(rota_sleep(6 * ROTA_MS), 0);
    cr_expect_eq(rota_loop_tasks(rota_loop_current()), 1u);
    cr_expect_eq(since(start), 6 * ROTA_MS);
    return 0;
}

static intptr_t release_self(void *unused) {
    (void)unused;
    rota_task_release(rota_self());
    cr_expect_eq(rota_yield(), 0, "the stack stays under the running task");
    return 0;
}

Task_test(task, a_task_may_release_its_own_handle) { /* A14 */
    rota_task *t;
    cr_expect_eq(rota_spawn(&t, release_self, NULL, NULL), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_await(t, NULL), -ESRCH);
    return 0;
}

Task_test(task, release_while_somebody_awaits) {
    rota_task *t, *joiner;
    int64_t ns = 5;
    intptr_t v;
    cr_expect_eq(rota_spawn(&t, sleep_for, &ns, NULL), 0);
    cr_expect_eq(rota_spawn(&joiner, await_it, t, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    rota_task_release(t);
    cr_expect_eq(rota_join(joiner, &v), 0);
    cr_expect_eq(v, 0);
    return 0;
}

static intptr_t count_up(void *counter) { return ++*(int *)counter; }

Task_test(task, joiner_runs_behind_what_is_ready) {
    rota_task *first, *second;
    int ended = 0;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&first, count_up, &ended, NULL), 0);
    cr_expect_eq(rota_spawn(&second, count_up, &ended, NULL), 0);
    cr_expect_eq(rota_join(first, &v), 0);
    cr_expect_eq(v, 1);
    cr_expect_eq(ended, 2);
    cr_expect_eq(rota_join(second, &v), 0);
    cr_expect_eq(v, 2);
    return 0;
}

Task_test(task, debug_mode_uses_control_blocks_again_last) { /* A16 */
    rota_task *first, *t;
    cr_expect_eq(rota_spawn(&first, return_arg, NULL, NULL), 0);
    cr_expect_eq(rota_join(first, NULL), 0);
    cr_expect_eq(rota_loop_set_debug(rota_loop_current(), true), 0);
    for (int i = 0; i < 8; i++) {
        cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), 0);
        if (i > 0)
            cr_expect_neq(t, first);
        cr_expect_eq(rota_join(t, NULL), 0);
        if (i > 0)
            cr_expect_eq(rota_await(first, NULL), -ESRCH);
    }
    return 0;
}

Task_test(task, is_a_future) { /* T7 */
    rota_task *t;
    intptr_t v = 0;
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)5, NULL), 0);
    cr_expect_eq(rota_future_await(rota_task_future(t), &v), 0);
    cr_expect_eq(v, 5);
    cr_expect(rota_future_done(rota_task_future(t)));
    rota_task_release(t);
    cr_expect_null(rota_task_future(NULL));
    return 0;
}

Task_test(task, a_failure_seen_through_the_future_is_not_reported) {
    rota_task *t;
    intptr_t v = 0;
    for (int way = 0; way < 3; way++) {
        cr_expect_eq(rota_spawn(&t, return_arg, (void *)-EIO, NULL), 0);
        if (way == 0)
            cr_expect_eq(rota_future_await(rota_task_future(t), &v), 0);
        cr_expect_eq(rota_yield(), 0);
        if (way == 1)
            cr_expect_eq(rota_future_await(rota_task_future(t), &v), 0);
        if (way == 2)
            cr_expect_eq(rota_future_value(rota_task_future(t), &v), 0);
        cr_expect_eq(v, -EIO);
        rota_task_release(t);
    }
    return 0;
}

/* ---- starting ---- */

Task_test(task, starts_behind_everything_queued) { /* T5 */
    cr_expect_eq(rota_spawn(NULL, note_letter, "a", NULL), 0);
    cr_expect_eq(rota_spawn(NULL, note_letter, "b", NULL), 0);
    note('m');
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "mab");
    return 0;
}

static intptr_t spawn_and_go(void *unused) {
    (void)unused;
    cr_expect_eq(rota_spawn(NULL, note_letter, "c", NULL), 0);
    note('p');
    return 0;
}

Task_test(task, may_be_spawned_by_a_task_that_ends) { /* A13 */
    cr_expect_eq(rota_spawn(NULL, spawn_and_go, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "pc");
    return 0;
}

static void spawn_from_callback(rota_soon *soon, void *arg) {
    (void)soon;
    int rc = rota_spawn(NULL, note_letter, "c", NULL);
    *(int *)arg = rc;
}

static void spawn_from_timer(rota_timer *timer, void *arg) {
    (void)timer;
    *(int *)arg = rota_spawn(NULL, note_letter, "t", NULL);
}

Task_test(task, may_be_spawned_from_callbacks) { /* A13 */
    rota_soon soon;
    rota_timer timer;
    int a = 1, b = 1;
    rota_soon_init(&soon, spawn_from_callback, &a);
    rota_timer_init(&timer, spawn_from_timer, &b);
    cr_expect_eq(rota_soon_start(rota_loop_current(), &soon), 0);
    cr_expect_eq(rota_timer_start(rota_loop_current(), &timer, 5), 0);
    cr_expect_eq(rota_sleep(10), 0);
    cr_expect(a == 0 && b == 0);
    cr_expect_str_eq(trace, "ct");
    return 0;
}

Test(task, may_be_spawned_before_the_loop_runs) {
    rota_loop *loop = open_loop();
    cr_expect_eq(rota_spawn(NULL, note_letter, "a", NULL), 0);
    cr_expect_eq(rota_loop_tasks(loop), 1u);
    cr_expect_str_eq(trace, "");
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "a");
    cr_expect_eq(rota_loop_tasks(loop), 0u);
    close_loop(loop);
}

static intptr_t note_and_yield(void *letter) {
    note(*(char *)letter);
    cr_expect_eq(rota_yield(), 0);
    note(*(char *)letter);
    return 0;
}

Task_test(task, eager_runs_at_once_up_to_its_first_suspension) {
    cr_expect_eq(rota_spawn(NULL, note_letter, "q", NULL), 0);
    cr_expect_eq(rota_spawn(NULL, note_and_yield, "e", &(rota_spawn_options){ .eager = true }), 0);
    note('m');
    cr_expect_str_eq(trace, "em", "before the spawner goes on, and that goes on before the queue");
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "emqe");
    return 0;
}

Task_test(task, eager_may_end_before_spawn_returns) {
    rota_task *t;
    intptr_t v = 0, slot = 0;
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)3, &(rota_spawn_options){ .eager = true, .result = &slot }), 0);
    cr_expect_eq(slot, 3);
    cr_expect(rota_task_done(t));
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, 3);
    cr_expect_eq(rota_spawn(NULL, return_arg, NULL, &(rota_spawn_options){ .eager = true }), 0);
    cr_expect_eq(rota_loop_tasks(rota_loop_current()), 1u);
    return 0;
}

static intptr_t eager_chain(void *depth) {
    intptr_t n = (intptr_t)depth;
    note((char)('0' + n));
    if (n > 0)
        cr_expect_eq(rota_spawn(NULL, eager_chain, (void *)(n - 1), &(rota_spawn_options){ .eager = true }), 0);
    note((char)('0' + n));
    return 0;
}

Task_test(task, eager_nests) {
    cr_expect_eq(rota_spawn(NULL, eager_chain, (void *)3, &(rota_spawn_options){ .eager = true }), 0);
    cr_expect_str_eq(trace, "32100123");
    return 0;
}

Test(task, eager_outside_of_a_task_is_queued) {
    rota_loop *loop = open_loop();
    cr_expect_eq(rota_spawn(NULL, note_letter, "a", &(rota_spawn_options){ .eager = true }), 0);
    cr_expect_str_eq(trace, "");
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "a");
    close_loop(loop);
}

static intptr_t eager_sleeper(void *unused) {
    (void)unused;
    return rota_sleep(7 * ROTA_MS);
}

Task_test(task, an_eager_task_may_sleep) {
    rota_task *t;
    int64_t start = rota_now();
    cr_expect_eq(rota_spawn(&t, eager_sleeper, NULL, &(rota_spawn_options){ .eager = true }), 0);
    cr_expect_eq(since(start), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(since(start), 7 * ROTA_MS);
    return 0;
}

Task_test(task, many_eager_tasks_in_a_row_keep_their_order) {
    /* More than the budget of a step 1: the spawner is put back at the front each time. */
    for (int i = 0; i < 1000; i++) {
        rota_task *t;
        cr_expect_eq(rota_spawn(&t, note_and_yield, "x", &(rota_spawn_options){ .eager = true }), 0);
        cr_expect(!rota_task_done(t));
        cr_expect_eq(rota_join(t, NULL), 0);
        memset(trace, 0, sizeof trace);
    }
    return 0;
}

/* ---- cancelled before the first step ---- */

struct first_step {
    bool ran;
    int rc;
};

static intptr_t first_step(void *arg) {
    struct first_step *s = arg;
    s->ran = true;
    s->rc = rota_sleep(1);
    return s->rc;
}

Task_test(task, cancelled_before_its_first_step_it_still_runs) {
    struct first_step s = { false, 0 };
    rota_task *t;
    intptr_t v;
    cr_expect_eq(rota_spawn(&t, first_step, &s, NULL), 0);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect(s.ran, "ownership of the argument stays certain");
    cr_expect_eq(s.rc, -ECANCELED);
    cr_expect_eq(v, -ECANCELED);
    return 0;
}

/* ---- arguments ---- */

struct argument {
    int id;
    char text[100];
    long sum;
};

static intptr_t check_argument(void *arg) {
    struct argument *a = arg;
    cr_expect_eq((uintptr_t)a % _Alignof(max_align_t), 0u);
    cr_expect_eq(rota_yield(), 0);
    char expected[32];
    snprintf(expected, sizeof expected, "argument %d", a->id);
    cr_expect_str_eq(a->text, expected);
    cr_expect_eq(a->sum, a->id + 1000);
    return a->id;
}

static rota_task *spawn_with_copy(int id) {
    rota_task *t;
    struct argument a = { .id = id, .sum = id + 1000 };
    snprintf(a.text, sizeof a.text, "argument %d", id);
    cr_expect_eq(rota_spawn(&t, check_argument, &a, &(rota_spawn_options){ .arg_size = sizeof a }), 0);
    memset(&a, 0xee, sizeof a);
    return t;
}

Task_test(task, arguments_are_copied) {
    rota_task *t[5];
    intptr_t v;
    for (int i = 0; i < 5; i++)
        t[i] = spawn_with_copy(i);
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(rota_join(t[i], &v), 0);
        cr_expect_eq(v, i);
    }
    return 0;
}

static intptr_t use_much_stack(void *depth) {
    volatile char room[512];
    memset((char *)(uintptr_t)room, (int)(intptr_t)depth, sizeof room);
    cr_expect_eq(rota_yield(), 0);
    if ((intptr_t)depth > 0)
        (void)use_much_stack((void *)((intptr_t)depth - 1));
    cr_expect_eq((unsigned char)room[511], (unsigned char)(intptr_t)depth);
    return 0;
}

Task_test(task, stacks_serve_with_and_without_argument_in_turn) {
    for (int i = 0; i < 20; i++) {
        rota_task *t;
        cr_expect_eq(rota_join(spawn_with_copy(i), NULL), 0);
        for (int j = 0; j < i % 3; j++) {
            cr_expect_eq(rota_spawn(&t, use_much_stack, (void *)8, NULL), 0);
            cr_expect_eq(rota_join(t, NULL), 0);
        }
    }
    return 0;
}

Task_test(task, a_large_argument_takes_no_stack_from_the_next_task) {
    static char big[56 * 1024];
    for (int i = 0; i < 3; i++) {
        rota_task *t;
        cr_expect_eq(rota_spawn(&t, return_arg, big, &(rota_spawn_options){ .arg_size = sizeof big }), 0);
        intptr_t v = 0;
        cr_expect_eq(rota_join(t, &v), 0);
        cr_expect_neq(v, (intptr_t)big);
        cr_expect_eq(rota_spawn(&t, use_much_stack, (void *)30, NULL), 0);
        cr_expect_eq(rota_join(t, NULL), 0);
        cr_expect_eq(rota_spawn(NULL, return_arg, big, &(rota_spawn_options){ .arg_size = sizeof big }), 0);
        cr_expect_eq(rota_spawn(&t, use_much_stack, (void *)30, NULL), 0); /* begins when that one has ended */
        cr_expect_eq(rota_join(t, NULL), 0);
    }
    return 0;
}

static intptr_t check_bytes(void *arg) {
    unsigned char *bytes = arg;
    cr_expect_eq((uintptr_t)bytes % _Alignof(max_align_t), 0u);
    cr_expect_eq((uintptr_t)__builtin_frame_address(0) % 16, 0u, "the frame is aligned as the ABI asks");
    for (int i = 0; i < bytes[0]; i++)
        cr_expect_eq(bytes[i], bytes[0]);
    return 0;
}

Task_test(task, argument_copies_of_all_small_sizes_are_aligned) {
    unsigned char bytes[64];
    for (size_t n = 1; n <= sizeof bytes; n++) {
        rota_task *t;
        memset(bytes, (int)n, n);
        cr_expect_eq(rota_spawn(&t, check_bytes, bytes, &(rota_spawn_options){ .arg_size = n }), 0);
        cr_expect_eq(rota_join(t, NULL), 0);
    }
    return 0;
}

Task_test(task, an_argument_too_large_for_the_stack_is_refused) {
    rota_task *t = (rota_task *)1;
    size_t live = memory.blocks;
    static char big[128 * 1024];
    rota_spawn_options opt = { .arg_size = sizeof big };
    cr_expect_eq(rota_spawn(&t, check_bytes, big, &opt), -EINVAL);
    cr_expect_null(t);
    opt.arg_size = SIZE_MAX; /* I08 */
    cr_expect_eq(rota_spawn(&t, check_bytes, big, &opt), -EINVAL);
    opt.arg_size = SIZE_MAX - 8;
    cr_expect_eq(rota_spawn(&t, check_bytes, big, &opt), -EINVAL);
    opt = (rota_spawn_options){ .arg_size = 8 };
    cr_expect_eq(rota_spawn(&t, check_bytes, NULL, &opt), -EINVAL, "bytes of nothing");
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), 0, "its stack serves others");
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_leq(memory.blocks, live + 4);
    return 0;
}

/* ---- stacks ---- */

Task_test(task, stack_sizes_are_rounded_up) { /* H07 */
    static const size_t sizes[] = { 0, 1, 4095, 4096, 5000, 16384, 65537, 9 * 1024 * 1024 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int again = 0; again < 2; again++) {
            rota_task *t;
            intptr_t v;
            cr_expect_eq(rota_spawn(&t, return_arg, (void *)1, &(rota_spawn_options){ .stack_size = sizes[i] }), 0);
            cr_expect_eq(rota_join(t, &v), 0);
            cr_expect_eq(v, 1);
        }
    return 0;
}

Task_test(task, an_impossible_stack_size_is_an_error) { /* H07, I08 */
    rota_task *t;
    rota_spawn_options opt = { .stack_size = SIZE_MAX };
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, &opt), -EINVAL);
    cr_expect_null(t);
    opt.stack_size = (size_t)1 << 60;
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, &opt), -ENOMEM);
    return 0;
}

Task_test(task, runs_on_the_callers_memory) {
    static _Alignas(16) char stack[SMALL_STACK];
    intptr_t v;
    for (int i = 0; i < 3; i++) {
        rota_task *t;
        rota_spawn_options opt = { .stack = stack + i, .stack_size = sizeof stack - (size_t)i };
        cr_expect_eq(rota_spawn(&t, use_much_stack, (void *)3, &opt), 0);
        cr_expect_eq(rota_join(t, &v), 0);
        cr_expect_eq(v, 0);
    }
    if (!under_valgrind())  /* for which all below the last stack pointer is beyond the end */
        memset(stack, 0, sizeof stack); /* ours again, all of it */
    return 0;
}

Task_test(task, the_callers_memory_may_be_freed_when_the_task_has_ended) {
    for (int i = 0; i < 20; i++) {
        char *stack = malloc(SMALL_STACK);
        rota_task *t;
        rota_spawn_options opt = { .stack = stack, .stack_size = SMALL_STACK };
        cr_expect_eq(rota_spawn(&t, yield_once, NULL, &opt), 0);
        cr_expect_eq(rota_join(t, NULL), 0);
        if (!under_valgrind())
            memset(stack, 1, SMALL_STACK);
        free(stack);
    }
    return 0;
}

Task_test(task, the_callers_memory_may_lie_on_its_own_stack) {
    char stack[SMALL_STACK / 2];
    if (under_valgrind())
        return 0; /* it takes a switch within what it knows as one stack for calls and returns */
    rota_task *t;
    struct argument a = { .id = 5, .text = "argument 5", .sum = 1005 };
    rota_spawn_options opt = { .stack = stack, .stack_size = sizeof stack, .arg_size = sizeof a };
    intptr_t v;
    cr_expect_eq(rota_spawn(&t, check_argument, &a, &opt), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, 5);
    memset(stack, 0, sizeof stack);
    return 0;
}

Task_test(task, memory_too_small_for_a_stack_is_refused) { /* H07 */
    static char tiny[8192];
    rota_task *t;
    static const size_t sizes[] = { 0, 1, 64, 500, 900 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        rota_spawn_options opt = { .stack = tiny, .stack_size = sizes[i] };
        cr_expect_eq(rota_spawn(&t, return_arg, NULL, &opt), -EINVAL, "size %zu", sizes[i]);
        cr_expect_null(t);
    }
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, &(rota_spawn_options){ .stack = tiny, .stack_size = SIZE_MAX }),
                 -EINVAL);
    return 0;
}

static intptr_t overwrite_canary(void *stack) {
    memset(stack, 0x55, 32);
    return rota_yield();
}

static intptr_t overrun_main(void *unused) {
    static _Alignas(16) char stack[SMALL_STACK];
    (void)unused;
    rota_task *t;
    rota_spawn_options opt = { .name = "greedy", .stack = stack, .stack_size = sizeof stack };
    cr_expect_eq(rota_spawn(&t, overwrite_canary, stack, &opt), 0);
    return rota_join(t, NULL);
}

Test(task, an_overrun_of_the_callers_memory_is_reported_once) { /* H04 */
    cr_expect_eq(run_with(overrun_main, NULL, NULL, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_STACK), 1);
    cr_expect_str_eq(report_of(ROTA_REPORT_STACK)->task, "greedy");
    cr_expect_eq(reports.n, 1);
}

Task_test(task, stack_use_can_be_asked) {
    rota_task *t;
    cr_expect_eq(rota_spawn(&t, use_much_stack, (void *)8, NULL), 0);
    for (int i = 0; i < 6; i++)
        cr_expect_eq(rota_yield(), 0);
    size_t used = rota_task_stack_used(t);
    cr_expect(used >= 3 * 512 && used <= 65536, "%zu", used);
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(rota_task_stack_used(NULL), 0u);
    return 0;
}

Task_test(task, many_spawns_use_the_same_memory_again) { /* A15 */
    size_t blocks = 0;
    for (int i = 0; i < 10000; i++) {
        rota_task *t;
        cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), 0);
        cr_expect_eq(rota_join(t, NULL), 0);
        if (i == 100)
            blocks = memory.calls;
    }
    cr_expect_eq(memory.calls, blocks, "no allocation after the first few");
    return 0;
}

static intptr_t nested_join(void *depth) {
    intptr_t n = (intptr_t)depth, v = 0;
    rota_task *t;
    if (n == 0)
        return 0;
    int rc = rota_spawn(&t, nested_join, (void *)(n - 1), &(rota_spawn_options){ .stack_size = SMALLEST_STACK });
    if (rc < 0)
        return rc;
    rc = rota_join(t, &v);
    return rc < 0 || rota_failed(v) ? -EIO : v + 1;
}

Task_test(task, tens_of_thousands_nested_joins) { /* H15 */
    rota_task *t;
    intptr_t v = 0;
    enum { DEPTH = 30000 };
    cr_expect_eq(rota_spawn(&t, nested_join, (void *)DEPTH, NULL), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect(v == DEPTH || v == -EIO || v == -ENOMEM, "%ld", (long)v);
    return 0;
}

/* ---- limits and wrong use ---- */

static intptr_t spawn_three(void *unused) {
    (void)unused;
    rota_task *t;
    int64_t ns = 1;
    cr_expect_eq(rota_spawn(NULL, sleep_for, &ns, NULL), 0);
    cr_expect_eq(rota_spawn(NULL, sleep_for, &ns, NULL), 0);
    cr_expect_eq(rota_spawn(&t, sleep_for, &ns, NULL), -EAGAIN, "main and two are three");
    cr_expect_null(t);
    cr_expect_eq(rota_sleep(2), 0);
    cr_expect_eq(rota_spawn(NULL, return_arg, NULL, NULL), 0);
    return 0;
}

Test(task, max_tasks_limits_those_alive) { /* I10 */
    rota_loop_options opt = test_options();
    opt.max_tasks = 3;
    cr_expect_eq(run_with(spawn_three, NULL, NULL, &opt), 0);
    cr_expect_eq(reports.n, 0);
}

Test(task, spawn_needs_a_function_and_a_loop) { /* I03 */
    rota_task *t = (rota_task *)1;
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), -EINVAL, "no current loop");
    cr_expect_null(t);
    rota_loop *loop = open_loop();
    t = (rota_task *)1;
    cr_expect_eq(rota_spawn(&t, NULL, NULL, NULL), -EINVAL);
    cr_expect_null(t);
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_loop_set_current(loop), -ESHUTDOWN);
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), -EINVAL, "a closed loop is not current");
    close_loop(loop);
}

Test(task, null_handles) { /* I03 */
    rota_loop *loop = open_loop();
    intptr_t v = 0;
    char line[64];
    cr_expect_eq(rota_await(NULL, &v), -EINVAL);
    cr_expect_eq(v, -EINVAL);
    cr_expect_eq(rota_join(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_cancel(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_task_result(NULL, NULL), -EINVAL);
    cr_expect(!rota_task_done(NULL));
    cr_expect_null(rota_task_name(NULL));
    cr_expect_gt(rota_task_describe(NULL, line, sizeof line), 0u);
    cr_expect_gt(rota_task_describe(NULL, NULL, 0), 0u);
    cr_expect_eq(rota_loop_tasks(NULL), 0u);
    close_loop(loop);
}

Test(task, suspending_calls_outside_of_tasks_are_refused) { /* A20 */
    rota_call call = { return_arg, NULL, 0 };
    for (int with_loop = 0; with_loop < 2; with_loop++) {
        rota_loop *loop = with_loop ? open_loop() : NULL;
        rota_task *t = NULL;
        intptr_t v = 0;
        cr_expect_null(rota_self());
        cr_expect_eq(rota_yield(), -EPERM);
        cr_expect_eq(rota_sleep(1), -EPERM);
        cr_expect_eq(rota_sleep(0), -EPERM);
        cr_expect_eq(rota_sleep_until(0), -EPERM);
        cr_expect_eq(rota_gather(&call, 1, NULL), -EPERM);
        cr_expect(!rota_uncancel());
        cr_expect(!rota_cancelled(NULL, NULL));
        if (loop) {
            cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), 0);
            cr_expect_eq(rota_await(t, &v), -EPERM);
            cr_expect_eq(v, -EPERM);
            cr_expect_eq(rota_join(t, NULL), -EPERM, "and it is released");
            cr_expect_eq(rota_loop_run(loop), 0);
            close_loop(loop);
        }
    }
}

static void suspend_in_callback(rota_soon *soon, void *arg) {
    (void)soon;
    (void)arg;
    cr_expect_null(rota_self());
    cr_expect_eq(rota_yield(), -EPERM);
    cr_expect_eq(rota_sleep(5), -EPERM);
    note('c');
}

Task_test(task, callbacks_cannot_suspend) {
    rota_soon soon;
    rota_soon_init(&soon, suspend_in_callback, NULL);
    cr_expect_eq(rota_soon_start(rota_loop_current(), &soon), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "c");
    return 0;
}

static void *use_from_thread(void *task) {
    intptr_t v = 0;
    cr_expect_null(rota_self());
    cr_expect_eq(rota_cancel(task, NULL), -EPERM);
    cr_expect_eq(rota_await(task, &v), -EPERM);
    cr_expect_eq(v, -EPERM);
    cr_expect_eq(rota_task_result(task, &v), -EPERM);
    cr_expect(!rota_task_done(task));
    cr_expect_null(rota_task_name(task));
    cr_expect_null(rota_task_future(task));
    cr_expect_eq(rota_task_stack_used(task), 0u);
    rota_task_release(task); /* nothing */
    cr_expect_eq(rota_spawn(NULL, return_arg, NULL, NULL), -EINVAL, "this thread has no loop");
    cr_expect_eq(rota_yield(), -EPERM, "A18");
    return NULL;
}

Task_test(task, other_threads_are_refused) { /* A13, A18, I05, H10 */
    rota_task *t;
    pthread_t thread;
    cr_expect_eq(rota_spawn(&t, yield_once, NULL, NULL), 0);
    cr_expect_eq(pthread_create(&thread, NULL, use_from_thread, t), 0);
    pthread_join(thread, NULL);
    cr_expect_eq(rota_join(t, NULL), 0);
    return 0;
}

static void *run_foreign_loop(void *loop) {
    cr_expect_eq(rota_loop_set_current(loop), -EPERM);
    cr_expect_eq(rota_loop_run_until(loop, rota_self(), NULL), -EPERM);
    cr_expect_eq(rota_loop_close(loop), -EPERM);
    return NULL;
}

Test(task, a_loop_belongs_to_its_thread) { /* I05 */
    rota_loop *loop = open_loop();
    pthread_t thread;
    cr_expect_eq(pthread_create(&thread, NULL, run_foreign_loop, loop), 0);
    pthread_join(thread, NULL);
    close_loop(loop);
}

/* How a forked child ends. By becoming another program when all is well, so that nobody looks for leaks in half
 * of a process. */
static void child_exit(int wrong) {
    if (!wrong)
        (void)execlp("true", "true", (char *)NULL);
    _exit(wrong ? wrong : 99);
}

static int child_result(pid_t pid) {
    int status = -1;
    cr_expect_eq(waitpid(pid, &status, 0), pid);
    return status;
}

Task_test(task, after_fork_the_child_is_refused) {
    rota_task *t;
    rota_loop *loop = rota_loop_current();
    cr_expect_eq(rota_spawn(&t, yield_once, NULL, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        intptr_t v;
        int wrong = rota_yield() != -EPERM;
        wrong += rota_cancel(t, NULL) != -EINVAL;
        wrong += rota_await(t, &v) != -EINVAL;
        wrong += rota_spawn(NULL, return_arg, NULL, NULL) != -EINVAL;
        wrong += rota_loop_set_current(loop) != -EINVAL;
        wrong += rota_self() != NULL;
        child_exit(wrong);
    }
    cr_expect_eq(child_result(pid), 0);
    cr_expect_eq(rota_join(t, NULL), 0);
    return 0;
}

static intptr_t new_loop_main(void *unused) {
    (void)unused;
    return rota_sleep(1) == 0 ? 17 : 0;
}

Test(task, after_fork_the_child_may_close_and_start_anew) { /* G09 */
    rota_loop *loop = open_loop();
    rota_task *t;
    cr_expect_eq(rota_spawn(&t, wait_forever, NULL, NULL), 0);
    cr_expect_geq(rota_loop_turn(loop, 0), 0);
    pid_t pid = fork();
    if (pid == 0) {
        intptr_t v = 0;
        int wrong = rota_loop_run(loop) != -EINVAL;
        wrong += rota_loop_free(loop) != 0;
        rota_loop_options opt = test_options();
        wrong += rota_run(new_loop_main, NULL, &v, &opt) != 0 || v != 17;
        child_exit(wrong);
    }
    cr_expect_eq(child_result(pid), 0);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    rota_task_release(t);
    cr_expect_eq(rota_loop_run(loop), 0, "the parent's loop is as it was");
    close_loop(loop);
}

Task_test(task, after_fork_inside_a_task_the_child_may_close_the_loop) {
    rota_loop *loop = rota_loop_current();
    pid_t pid = fork();
    if (pid == 0)
        child_exit(rota_loop_close(loop) != 0);
    cr_expect_eq(child_result(pid), 0);
    cr_expect_eq(rota_yield(), 0);
    return 0;
}

/* ---- reports ---- */

static intptr_t detach_a_failure(void *unused) {
    (void)unused;
    cr_expect_eq(rota_spawn(NULL, return_arg, (void *)-EIO, &(rota_spawn_options){ .name = "loser" }), 0);
    return rota_yield();
}

Test(task, a_failure_nobody_looked_at_is_reported_once) { /* A08, E2 */
    cr_expect_eq(run_with(detach_a_failure, NULL, NULL, NULL), 0);
    cr_expect_eq(reports.n, 1);
    const struct kept_report *r = report_of(ROTA_REPORT_UNAWAITED);
    cr_expect_eq(r->error, -EIO);
    cr_expect_str_eq(r->task, "loser");
    cr_expect_not_null(r->at.file);
    cr_expect_str_eq(r->at.file ? r->at.file : "", __FILE__);
    cr_expect_gt(r->at.line, 0);
    cr_expect_not_null(strstr(r->text, "'loser'"), "%s", r->text);
    cr_expect_not_null(strstr(r->text, "failed and nobody looked at its error: "), "%s", r->text);
    cr_expect_not_null(strstr(r->text, "test_task.c:"), "%s", r->text);
}

static intptr_t release_a_failure(void *unused) {
    (void)unused;
    rota_task *t;
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)-EIO, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(reports.n, 0, "as long as there is a handle, somebody may look");
    rota_task_release(t);
    cr_expect_eq(reports.n, 1);
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)-EIO, NULL), 0);
    rota_task_release(t);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(reports.n, 2);
    return 0;
}

Test(task, a_failure_released_unseen_is_reported) {
    cr_expect_eq(run_with(release_a_failure, NULL, NULL, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_UNAWAITED), 2);
}

static rota_task *kept[4];

static void spawn_failure(rota_task **t, const char *name) {
    cr_expect_eq(rota_spawn(t, return_arg, (void *)-ENOENT, &(rota_spawn_options){ .name = name }), 0);
}

static intptr_t keep_a_failure(void *unused) {
    (void)unused;
    spawn_failure(&kept[0], "kept");
    cr_expect_eq(rota_spawn(&kept[1], return_arg, (void *)7, NULL), 0, "a success");
    cr_expect_eq(rota_spawn(&kept[2], wait_forever, NULL, NULL), 0, "cancelled when the loop closes");
    return rota_yield();
}

Test(task, a_failure_whose_handle_is_held_is_reported_when_the_loop_closes) {
    cr_expect_eq(run_with(keep_a_failure, NULL, NULL, NULL), 0);
    cr_expect_eq(reports.n, 1);
    const struct kept_report *r = report_of(ROTA_REPORT_UNAWAITED);
    cr_expect_eq(r->error, -ENOENT);
    cr_expect_str_eq(r->task, "kept");
    cr_expect_not_null(strstr(r->text, "a handle is still held: task 'kept' failed and nobody looked at its error: "));
    cr_expect_not_null(strstr(r->text, "test_task.c:"), "%s", r->text);
}

static intptr_t fail_when_cancelled(void *unused) {
    (void)unused;
    return rota_sleep(ROTA_FOREVER) == -ECANCELED ? -EIO : 0;
}

static intptr_t keep_one_that_fails_late(void *unused) {
    (void)unused;
    cr_expect_eq(rota_spawn(&kept[0], fail_when_cancelled, NULL, NULL), 0);
    return rota_yield();
}

Test(task, a_failure_while_the_loop_closes_is_reported_too) {
    cr_expect_eq(run_with(keep_one_that_fails_late, NULL, NULL, NULL), 0);
    cr_expect_eq(reports.n, 1);
    cr_expect_eq(report_of(ROTA_REPORT_UNAWAITED)->error, -EIO);
}

static void let_see(rota_done *done, intptr_t value, void *arg) {
    (void)done;
    *(intptr_t *)arg = value;
}

Task_test(task, a_failure_that_was_looked_at_may_be_held_when_the_loop_closes) {
    static intptr_t results[2];
    static rota_done done;
    intptr_t v = 0;
    size_t n;
    spawn_failure(&kept[0], "awaited");
    cr_expect_eq(rota_await(kept[0], &v), 0);
    spawn_failure(&kept[1], "asked after a wait");
    cr_expect_eq(rota_wait(&kept[1], 1, ROTA_ALL, ROTA_FOREVER, &n), 0);
    cr_expect_eq(rota_task_result(kept[1], &v), 0);
    spawn_failure(&kept[2], "asked as a future");
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_future_value(rota_task_future(kept[2]), &v), 0);
    spawn_failure(&kept[3], "with a callback");
    cr_expect_eq(rota_future_on_done(rota_task_future(kept[3]), &done, let_see, &results[0]), 0);
    rota_spawn_options opt = { .result = &results[1] };
    cr_expect_eq(rota_spawn(&kept[3], return_arg, (void *)-EIO, &opt), 0, "with a place for the result");
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(results[0], -ENOENT);
    return results[1] == -EIO ? 0 : -EIO;
}

static intptr_t only_wait(void *unused) {
    (void)unused;
    spawn_failure(&kept[0], "waited for");
    return rota_wait(kept, 1, ROTA_ALL, ROTA_FOREVER, NULL);
}

Test(task, waiting_for_a_failure_is_not_looking_at_it) {
    cr_expect_eq(run_with(only_wait, NULL, NULL, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_UNAWAITED), 1);
}

Test(task, a_handle_that_is_released_after_the_close_is_not_reported_again) {
    rota_loop *loop = open_loop();
    intptr_t v;
    for (int i = 0; i < 3; i++)
        spawn_failure(&kept[i], NULL);
    cr_expect_eq(rota_loop_run(loop), 0);
    rota_task_release(kept[0]);
    cr_expect_eq(reports.n, 1, "as ever, when it goes");
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_UNAWAITED), 3);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(rota_task_result(kept[i], &v), -ESHUTDOWN, "there until the loop is freed");
        rota_task_release(kept[i]);
    }
    cr_expect_eq(rota_loop_free(loop), 0);
    cr_expect_eq(reports.n, 3);
    test_end();
}

static void release_it(void *ctx, const rota_report *report) {
    collect_report(ctx, report);
    rota_task_release(kept[0]);
}

Test(task, a_hook_may_release_the_handle_that_it_is_told_of) {
    rota_loop_options opt = test_options();
    opt.report = release_it;
    cr_expect_eq(run_with(keep_a_failure, NULL, NULL, &opt), 0);
    cr_expect_eq(reports.n, 1);
}

Task_test(task, a_failure_that_was_looked_at_is_not_reported) {
    rota_task *t;
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)-EIO, NULL), 0);
    cr_expect_eq(rota_await(t, &(intptr_t){ 0 }), 0);
    rota_task_release(t);
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)-EIO, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_await(t, &(intptr_t){ 0 }), 0, "it had ended before");
    rota_task_release(t);
    cr_expect_eq(rota_spawn(&t, return_arg, (void *)-EIO, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_task_result(t, NULL), 0);
    rota_task_release(t);
    return 0;
}

Task_test(task, a_cancelled_task_is_not_reported) {
    rota_task *t;
    cr_expect_eq(rota_spawn(&t, wait_forever, NULL, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(t, NULL), 0);
    rota_task_release(t);
    cr_expect_eq(rota_yield(), 0);
    return 0;
}

static intptr_t time_out_detached(void *unused) {
    (void)unused;
    cr_expect_eq(rota_spawn(NULL, wait_forever, NULL, &(rota_spawn_options){ .timeout = 5 }), 0);
    return rota_sleep(10);
}

Test(task, a_task_that_timed_out_unseen_is_reported) {
    cr_expect_eq(run_with(time_out_detached, NULL, NULL, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_UNAWAITED), 1);
    cr_expect_eq(report_of(ROTA_REPORT_UNAWAITED)->error, -ETIMEDOUT);
}

/* A hook that is told of a task's end is outside of tasks: what it left behind would be the next task's. */
static rota_local for_hooks;
static rota_mutex for_hooks_too;

static void act_as_task(void *told, const rota_report *report) {
    rota_task *self = rota_self();
    int refused[] = { rota_yield(), rota_sleep(ROTA_MS), rota_local_set(&for_hooks, told),
                      rota_mutex_try_lock(&for_hooks_too) };
    cr_expect_eq(report->kind, ROTA_REPORT_UNAWAITED);
    cr_expect_null(self);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        cr_expect_eq(refused[i], -EPERM, "%zu: %d", i, refused[i]);
    *(int *)told += 1;
}

static intptr_t fail_at_once(void *error) { return (intptr_t)error; }

static intptr_t end_one(void *told) {
    cr_expect_eq(rota_spawn(NULL, fail_at_once, (void *)-EIO, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(*(int *)told, 1);
    return rota_yield();
}

Test(task, a_hook_that_is_told_of_an_end_is_outside_of_tasks) {
    rota_loop_options options = test_options();
    int told = 0;
    intptr_t value;
    options.report = act_as_task;
    options.report_ctx = &told;
    cr_expect_eq(run_with(end_one, &told, &value, &options), 0);
    cr_expect_eq(value, 0);
}

/* ---- names ---- */

Task_test(task, name_is_kept) {
    static char long_name[4097];
    rota_task *t;
    char line[64];
    memset(long_name, 'n', sizeof long_name - 1);
    cr_expect_str_eq(rota_task_name(rota_self()), "main");
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, NULL), 0);
    cr_expect_str_eq(rota_task_name(t), "");
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, &(rota_spawn_options){ .name = "" }), 0);
    cr_expect_str_eq(rota_task_name(t), "");
    cr_expect_eq(rota_join(t, NULL), 0);
    cr_expect_eq(rota_spawn(&t, return_arg, NULL, &(rota_spawn_options){ .name = long_name }), 0); /* A21 */
    cr_expect_eq(rota_task_name(t), long_name);
    cr_expect_gt(rota_task_describe(t, line, sizeof line), 4096u);
    cr_expect_eq(strlen(line), sizeof line - 1, "cut off, and ended");
    cr_expect_eq(rota_join(t, NULL), 0);
    return 0;
}

/* ---- deadlines of tasks ---- */

Task_test(task, timeout_option_is_its_own_deadline) {
    rota_task *t;
    intptr_t v;
    int64_t start = rota_now(), ns = 50 * ROTA_MS;
    cr_expect_eq(rota_spawn(&t, sleep_for, &ns, &(rota_spawn_options){ .timeout = 20 * ROTA_MS }), 0);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, -ETIMEDOUT);
    cr_expect_eq(since(start), 20 * ROTA_MS);
    return 0;
}

Task_test(task, timeout_of_the_spawner_is_not_the_childs) {
    rota_task *t;
    intptr_t v;
    int64_t start = rota_now(), ns = 50 * ROTA_MS;
    rota_scope s;
    rota_timeout_begin(&s, 10 * ROTA_MS);
    cr_expect_eq(rota_spawn(&t, sleep_for, &ns, NULL), 0);
    cr_expect_eq(rota_scope_end(&s, rota_await(t, NULL)), -ETIMEDOUT);
    cr_expect_eq(since(start), 10 * ROTA_MS);
    cr_expect_eq(rota_join(t, &v), 0);
    cr_expect_eq(v, 0);
    cr_expect_eq(since(start), 50 * ROTA_MS);
    return 0;
}

/* ---- which stack ---- */

static intptr_t where(void *unused) {
    (void)unused;
    return (intptr_t)__builtin_frame_address(0);
}

static intptr_t where_twice(void *unused) {
    intptr_t before = where(unused);
    cr_expect_eq(rota_yield(), 0);
    return where(unused) == before ? before : -1;
}

/* Compiled for size a task has its stack before it begins. */
enum { BURST = 100, SHARED = ROTA__FOR_SIZE ? 0 : BURST - 1 };

static void spawn_burst(rota_task **tasks, rota_fn *fn, const rota_spawn_options *opt) {
    for (int i = 0; i < BURST; i++)
        cr_expect_eq(rota_spawn(&tasks[i], fn, NULL, opt), 0);
}

/* How many of them ran where another one did. */
static int join_burst(rota_task **tasks) {
    intptr_t at[BURST];
    int same = 0;
    for (int i = 0; i < BURST; i++) {
        cr_expect_eq(rota_join(tasks[i], &at[i]), 0);
        cr_expect_neq(at[i], -1);
        bool seen = false;
        for (int k = 0; k < i; k++)
            seen = seen || at[k] == at[i];
        same += seen;
    }
    return same;
}

Task_test(task, those_that_end_at_once_share_a_stack) {
    rota_task *tasks[BURST];
    spawn_burst(tasks, where, NULL);
    cr_expect_eq(join_burst(tasks), SHARED);
    spawn_burst(tasks, where_twice, NULL);
    cr_expect_eq(join_burst(tasks), 0, "those that stop do not");
    spawn_burst(tasks, where, NULL);
    cr_expect_eq(join_burst(tasks), SHARED);
    return 0;
}

/* One that begins later is promised a stack, which no other task may take meanwhile, whatever it is that it needs. In
 * each round all stacks that there are go to tasks of one kind, and then ten of another kind are spawned. */
Task_test(task, a_promised_stack_is_there) {
    enum { KINDS = 3, MORE = 10, MOST = KINDS * KINDS * MORE };
    static char bytes[100];
    intptr_t result = 0;
    const rota_spawn_options kinds[KINDS] = {
        { .name = "usual" }, { .result = &result }, { .arg_size = sizeof bytes }
    };
    rota_task *tasks[MOST];
    intptr_t at[MOST];
    for (int pair = 0; pair < KINDS * KINDS; pair++) {
        int all = (pair + 1) * MORE;
        for (int i = 0; i < all; i++)
            cr_expect_eq(rota_spawn(&tasks[i], where_twice, bytes,
                                    &kinds[i < all - MORE ? pair / KINDS : pair % KINDS]), 0);
        for (int i = 0; i < all; i++) {
            cr_expect_eq(rota_join(tasks[i], &at[i]), 0);
            cr_expect_neq(at[i], -1);
            for (int k = 0; k < i; k++)
                cr_expect_neq(at[k], at[i]);
        }
    }
    return 0;
}

static bool chain_stops;

static void stop_chain(rota_timer *timer, void *arg) {
    (void)timer, (void)arg;
    chain_stops = true;
}

static intptr_t spawn_successor(void *links) {
    ++*(int *)links;
    if (!chain_stops)
        cr_expect_eq(rota_spawn(NULL, spawn_successor, links, NULL), 0);
    return 0;
}

/* Of those that begin where the last one has ended each is a step: the turn ends, and what is due comes. */
Task_test(task, those_that_end_at_once_are_steps) {
    rota_timer timer;
    int links = 0;
    rota_timer_init(&timer, stop_chain, NULL);
    cr_expect_eq(rota_sleep(1), 0);
    cr_expect_eq(rota_timer_start(rota_loop_current(), &timer, 0), 0);
    cr_expect_eq(rota_spawn(NULL, spawn_successor, &links, NULL), 0);
    cr_expect_eq(rota_sleep(1), 0);
    cr_expect(links > 200 && links <= 256, "%d", links);
    return 0;
}

static intptr_t some_yields(void *n) {
    for (intptr_t i = 0; i < (intptr_t)n % 5; i++)
        cr_expect_eq(rota_yield(), 0);
    return (intptr_t)n;
}

static intptr_t some_yields_of_a_copy(void *n) { return some_yields((void *)*(intptr_t *)n); }

/* All kinds of runners, used again by other kinds. */
static int spawn_some(rota_task **out, intptr_t i) {
    switch (rand() % 6) {
    case 0: return rota_spawn(out, some_yields_of_a_copy, &i, &(rota_spawn_options){ .arg_size = sizeof i });
    case 1: return rota_spawn(out, some_yields, (void *)i, &(rota_spawn_options){ .stack_size = 4096 });
    case 2: return rota_spawn(out, some_yields, (void *)i, &(rota_spawn_options){ .eager = true });
    case 3: return rota_spawn(out, some_yields, (void *)i, &(rota_spawn_options){ .timeout = ROTA_S });
    default: return rota_spawn(out, some_yields, (void *)i, NULL);
    }
}

Task_test(task, runners_of_all_kinds_follow_each_other) {
    rota_task *tasks[BURST];
    srand(1);
    for (int round = 0; round < 20; round++) {
        for (intptr_t i = 0; i < BURST; i++)
            cr_expect_eq(spawn_some(&tasks[i], i), 0);
        for (intptr_t i = 0, v; i < BURST; i++)
            cr_expect(rota_join(tasks[i], &v) == 0 && v == i);
    }
    return 0;
}

static int count_cancelled(void *ctx, rota_task *task, const rota_task_info *info) {
    (void)task;
    *(int *)ctx += info->cancelled;
    return 0;
}

/* Its block may be that of one that was. */
Task_test(task, one_that_has_not_begun_is_not_cancelled) {
    rota_task *tasks[BURST];
    int cancelled = 0;
    spawn_burst(tasks, some_yields, NULL);
    for (int i = 0; i < BURST; i++)
        cr_expect_eq(rota_cancel(tasks[i], NULL), 0);
    for (int i = 0; i < BURST; i++)
        cr_expect_eq(rota_join(tasks[i], NULL), 0);
    spawn_burst(tasks, where, NULL);
    cr_expect_eq(rota_loop_each_task(rota_loop_current(), count_cancelled, &cancelled), 0);
    cr_expect_eq(cancelled, 0);
    for (int i = 0; i < BURST; i++)
        rota_task_release(tasks[i]);
    return 0;
}

/* Its runner is made ready to be told of it. */
Task_test(task, one_that_has_not_begun_can_be_cancelled_and_left) {
    rota_task *tasks[BURST];
    intptr_t v;
    spawn_burst(tasks, some_yields, NULL);
    for (int i = 0; i < BURST; i += 2)
        cr_expect_eq(rota_cancel(tasks[i], NULL), 0);
    for (int i = 0; i < BURST; i++)
        cr_expect(rota_join(tasks[i], &v) == 0 && v == 0, "none of them makes a call that could refuse");
    spawn_burst(tasks, where, NULL);
    cr_expect_eq(rota_task_stack_used(tasks[0]) == 0, !ROTA__FOR_SIZE);
    for (int i = 0; i < BURST; i++)
        rota_task_release(tasks[i]);
    return 0;
}
