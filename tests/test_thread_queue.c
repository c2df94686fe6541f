/* Queues between loops and threads: what needs one loop, what needs several, and every race that can be forced to
 * happen. Those that cannot are the stress program's. */
#include "tests/sync_kit.h"

#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rota/thread_queue.h"

static rota_thread_queue *q;

static int put(struct actor *a) { return rota_thread_queue_put(q, &a->value); }
static int get(struct actor *a) { return rota_thread_queue_get(q, &a->value); }

/* Memory is counted like a loop's. */
static void open_queue(size_t capacity) {
    rota_thread_queue_options opt = { .allocator = &memory_allocator };
    cr_expect_eq(rota_thread_queue_new(&q, sizeof(int64_t), capacity, &opt), 0);
}

static void free_queue(void) { cr_expect_eq(rota_thread_queue_free(q), 0); }

static void put_now(int64_t v) { cr_expect_eq(rota_thread_queue_try_put(q, &v), 0); }

static int64_t get_now(void) {
    int64_t v = -1;
    cr_expect_eq(rota_thread_queue_try_get(q, &v), 0);
    return v;
}

static void expect_empty(void) {
    int64_t v;
    cr_expect_eq(rota_thread_queue_try_get(q, &v), -EAGAIN);
}

static struct actor putter(char letter) {
    return (struct actor){ .call = put, .letter = letter, .value = letter };
}

static struct actor getter(char letter) { return (struct actor){ .call = get, .letter = letter, .value = -1 }; }

static void begin(struct actor *a) {
    start(a);
    settle();
    cr_expect(parked(a));
}

/* ---- what another thread does ---- */

static void *put_five(void *arg) {
    int64_t v = 5;
    (void)arg;
    cr_expect_eq(rota_thread_queue_try_put(q, &v), 0);
    return NULL;
}

static void *put_five_and_six(void *arg) {
    int64_t v = 6;
    (void)put_five(arg);
    cr_expect_eq(rota_thread_queue_try_put(q, &v), 0);
    return NULL;
}

static void *take_one(void *arg) {
    int64_t v = -1;
    cr_expect_eq(rota_thread_queue_try_get(q, &v), 0);
    *(int64_t *)arg = v;
    return NULL;
}

static void *close_it(void *arg) {
    (void)arg;
    cr_expect_eq(rota_thread_queue_close(q), 0);
    return NULL;
}

/* The kit's situations twice: served by a task of the same loop, and by another thread, with the task's entry still
 * under way when the cancellation comes. */
static void be_empty(void) { open_queue(2); }
static void be_full(void) {
    open_queue(1);
    put_now(1);
}
static void be_rendezvous(void) { open_queue(0); }
static void give(void) { put_now(7); }
static void take(void) { (void)get_now(); }
static void give_from_a_thread(void) { in_thread(put_five, NULL); }
static void take_from_a_thread(void) {
    int64_t v;
    in_thread(take_one, &v);
}

static const struct thing getters = { get, NULL, NULL, be_empty, give, false };
static const struct thing putters = { put, NULL, NULL, be_full, take, false };
static const struct thing far_getters = { get, NULL, NULL, be_empty, give_from_a_thread, false };
static const struct thing far_putters = { put, NULL, NULL, be_full, take_from_a_thread, false };
static const struct thing meeting_getters = { get, NULL, NULL, be_rendezvous, give_from_a_thread, false };
static const struct thing meeting_putters = { put, NULL, NULL, be_rendezvous, take_from_a_thread, false };

#define Situations(name, thing)                                                                                 \
    Task_test(thread_queue, name##_cancelled_then_served) { cancelled_then_given(&thing); free_queue(); return 0; } \
    Task_test(thread_queue, name##_served_then_cancelled) { given_then_cancelled(&thing); free_queue(); return 0; } \
    Task_test(thread_queue, name##_cancelled_twice) { cancelled_twice(&thing); free_queue(); return 0; }        \
    Task_test(thread_queue, name##_cancelled_before_its_first_step) {                                           \
        cancelled_before_its_first_step(&thing);                                                                \
        free_queue();                                                                                           \
        return 0;                                                                                               \
    }                                                                                                           \
    Task_test(thread_queue, name##_times_out) { times_out(&thing); free_queue(); return 0; }                    \
    Task_test(thread_queue, name##_in_order) { middle_of_five_is_cancelled(&thing); free_queue(); return 0; }   \
    Task_test(thread_queue, name##_a_hundred_in_order) { a_hundred_in_order(&thing); free_queue(); return 0; }

Situations(get, getters)
Situations(put, putters)
Situations(get_from_a_thread, far_getters)
Situations(put_to_a_thread, far_putters)
Situations(rendezvous_get_from_a_thread, meeting_getters)
Situations(rendezvous_put_to_a_thread, meeting_putters)

/* ---- order and bounds ---- */

Task_test(thread_queue, first_in_first_out_across_the_ring_s_end) {
    int64_t v = 9;
    open_queue(4);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            put_now(i);
        cr_expect_eq(rota_thread_queue_size(q), 3u);
        for (int i = 0; i < 3; i++)
            cr_expect_eq(get_now(), i);
    }
    expect_empty();
    for (int i = 0; i < 4; i++)
        put_now(i);
    cr_expect_eq(rota_thread_queue_try_put(q, &v), -EAGAIN);
    cr_expect_eq(rota_thread_queue_get(q, &v), 0, "without waiting");
    cr_expect_eq(v, 0);
    cr_expect_eq(rota_thread_queue_put(q, &v), 0);
    free_queue();
    return 0;
}

Task_test(thread_queue, a_getter_is_handed_its_item_at_once) {
    struct actor a = getter('a'), b = getter('b');
    open_queue(4);
    begin(&a);
    begin(&b);
    in_thread(put_five, NULL);
    cr_expect_eq(a.value, 5, "before it has run");
    expect_empty();
    put_now(6);
    finish(&a);
    finish(&b);
    cr_expect_eq(b.value, 6);
    free_queue();
    return 0;
}

static intptr_t note_x(void *unused) {
    (void)unused;
    note('x');
    return 0;
}

Task_test(thread_queue, a_task_of_the_same_loop_takes_its_place_in_line_at_once) {
    struct actor a = getter('a');
    open_queue(1);
    begin(&a);
    put_now(1);
    cr_expect_eq(rota_spawn(NULL, note_x, NULL, NULL), 0);
    finish(&a);
    cr_expect_str_eq(trace, "ax");
    free_queue();
    return 0;
}

Task_test(thread_queue, a_waiting_putter_s_item_takes_the_place) {
    struct actor a = putter('a');
    int64_t v = 0;
    be_full();
    begin(&a);
    in_thread(take_one, &v);
    cr_expect_eq(v, 1);
    cr_expect_eq(rota_thread_queue_try_put(q, &v), -EAGAIN, "nobody overtakes it");
    cr_expect_eq(get_now(), 'a');
    finish(&a);
    free_queue();
    return 0;
}

/* ---- cancelled with the entry under way ---- */

Task_test(thread_queue, two_handed_over_and_one_cancelled_in_one_turn) {
    struct actor a = getter('a'), b = getter('b');
    open_queue(4);
    begin(&a);
    begin(&b);
    in_thread(put_five_and_six, NULL);
    cancel(&a);
    finish(&a);
    finish(&b);
    cr_expect(a.rc == 0 && a.value == 5 && a.next == -ECANCELED);
    cr_expect(b.rc == 0 && b.value == 6 && b.next == 0);
    expect_empty();
    free_queue();
    return 0;
}

static void put_when_due(rota_timer *timer, void *arg) {
    (void)timer;
    in_thread(put_five, arg);
}

static intptr_t get_within(void *arg) {
    rota_scope s;
    struct actor *a = arg;
    rota_timeout_begin(&s, 5 * ROTA_MS);
    a->rc = get(a);
    return rota_scope_end(&s, a->rc);
}

/* Timers of one time fire in the order in which they were armed: so both orders can be had in one turn. */
static void meet_the_deadline(bool item_first, struct actor *a, intptr_t *v) {
    rota_timer due;
    *a = getter('a');
    open_queue(2);
    rota_timer_init(&due, put_when_due, NULL);
    int64_t when = rota_now() + 5 * ROTA_MS;
    if (item_first)
        cr_expect_eq(rota_timer_start_at(rota_loop_current(), &due, when), 0);
    cr_expect_eq(rota_spawn(&a->task, get_within, a, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    if (!item_first)
        cr_expect_eq(rota_timer_start_at(rota_loop_current(), &due, when), 0);
    cr_expect_eq(rota_join(a->task, v), 0);
}

Task_test(thread_queue, an_item_that_comes_just_before_the_deadline_is_kept) {
    struct actor a;
    intptr_t v = 99;
    meet_the_deadline(true, &a, &v);
    cr_expect_eq(v, 0, "%d", (int)v);
    cr_expect_eq(a.value, 5);
    expect_empty();
    free_queue();
    return 0;
}

Task_test(thread_queue, an_item_that_comes_just_after_the_deadline_stays) {
    struct actor a;
    intptr_t v = 99;
    meet_the_deadline(false, &a, &v);
    cr_expect_eq(v, -ETIMEDOUT);
    cr_expect_eq(a.value, -1);
    cr_expect_eq(get_now(), 5);
    free_queue();
    return 0;
}

/* ---- closing ---- */

Task_test(thread_queue, closing_wakes_waiting_tasks) { /* C14 */
    struct actor a = getter('a'), b = getter('b');
    open_queue(2);
    begin(&a);
    begin(&b);
    in_thread(close_it, NULL);
    cancel(&b);
    finish(&a);
    finish(&b);
    cr_expect(a.rc == -ESHUTDOWN && a.value == -1);
    cr_expect_eq(b.rc, -ESHUTDOWN, "%d: closed first, then cancelled", b.rc);
    cr_expect_eq(rota_thread_queue_close(q), 0, "again");
    free_queue();
    return 0;
}

Task_test(thread_queue, what_is_in_a_closed_one_can_be_read) { /* C14 */
    struct actor a = putter('a');
    int64_t v = 0;
    be_full();
    begin(&a);
    cr_expect_eq(rota_thread_queue_close(q), 0);
    finish(&a);
    cr_expect_eq(a.rc, -ESHUTDOWN);
    cr_expect_eq(rota_thread_queue_try_put(q, &v), -ESHUTDOWN);
    cr_expect_eq(rota_thread_queue_put(q, &v), -ESHUTDOWN);
    cr_expect_eq(rota_thread_queue_get(q, &v), 0);
    cr_expect_eq(v, 1);
    cr_expect_eq(rota_thread_queue_get(q, &v), -ESHUTDOWN);
    cr_expect_eq(rota_thread_queue_try_get(q, &v), -ESHUTDOWN);
    free_queue();
    return 0;
}

Task_test(thread_queue, freeing_one_that_is_waited_for_is_refused) {
    struct actor a = getter('a');
    open_queue(1);
    begin(&a);
    cr_expect_eq(rota_thread_queue_free(q), -EBUSY);
    cr_expect_eq(rota_thread_queue_close(q), 0);
    finish(&a);
    free_queue();
    return 0;
}

/* ---- threads that block ---- */

struct blocked {
    pthread_t thread;
    int (*call)(rota_thread_queue *queue, void *item);
    int64_t value;
    int rc;
};

static int put_blocking(rota_thread_queue *queue, void *item) { return rota_thread_queue_put_blocking(queue, item); }

static void *block(void *arg) {
    struct blocked *b = arg;
    b->rc = b->call(q, &b->value);
    return NULL;
}

static void start_blocked(struct blocked *b) { cr_expect_eq(pthread_create(&b->thread, NULL, block, b), 0); }
static void join_blocked(struct blocked *b) { cr_expect_eq(pthread_join(b->thread, NULL), 0); }

Test(thread_queue, a_thread_blocks_until_an_item_comes) {
    struct blocked b = { .call = rota_thread_queue_get_blocking, .value = -1 };
    test_begin();
    open_queue(0);
    start_blocked(&b);
    int64_t v = 4;
    cr_expect_eq(rota_thread_queue_put_blocking(q, &v), 0);   /* a rendezvous: whoever comes first blocks */
    join_blocked(&b);
    cr_expect(b.rc == 0 && b.value == 4);
    free_queue();
    test_end();
}

Test(thread_queue, a_thread_blocks_until_there_is_room) {
    struct blocked b = { .call = put_blocking, .value = 2 };
    int64_t v = 0;
    test_begin();
    be_full();
    start_blocked(&b);
    cr_expect_eq(rota_thread_queue_get_blocking(q, &v), 0);
    cr_expect_eq(v, 1);
    cr_expect_eq(rota_thread_queue_get_blocking(q, &v), 0);
    cr_expect_eq(v, 2);
    join_blocked(&b);
    cr_expect_eq(b.rc, 0);
    free_queue();
    test_end();
}

Test(thread_queue, closing_ends_blocked_threads) {
    struct blocked b = { .call = rota_thread_queue_get_blocking, .value = -1 }, c = b;
    test_begin();
    open_queue(1);
    start_blocked(&b);
    start_blocked(&c);
    cr_expect_eq(rota_thread_queue_close(q), 0);
    join_blocked(&b);
    join_blocked(&c);
    cr_expect(b.rc == -ESHUTDOWN && c.rc == -ESHUTDOWN);
    free_queue();
    test_end();
}

/* A loop keeps alive, and wakes, for a thread that comes at some time. */
static intptr_t get_three(void *arg) {
    int64_t v, sum = 0;
    (void)arg;
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(rota_thread_queue_get(q, &v), 0);
        sum += v;
    }
    return sum;
}

static void *send_three(void *arg) {
    struct timespec t = { 0, 2000000 };   /* so that the loop is asleep, most times; right either way */
    (void)arg;
    for (int64_t i = 1; i <= 3; i++) {
        nanosleep(&t, NULL);
        cr_expect_eq(rota_thread_queue_put_blocking(q, &i), 0);
    }
    return NULL;
}

static void receive_from_a_thread(const rota_loop_options *opt) {
    pthread_t thread;
    intptr_t sum = 0;
    test_begin();
    open_queue(1);
    cr_expect_eq(pthread_create(&thread, NULL, send_three, NULL), 0);
    cr_expect_eq(rota_run(get_three, NULL, &sum, opt), 0);
    cr_expect_eq(sum, 6);
    cr_expect_eq(pthread_join(thread, NULL), 0);
    free_queue();
    test_end();
}

Test(thread_queue, a_sleeping_loop_is_woken_by_a_thread) { receive_from_a_thread(&(rota_loop_options){ .debug = true }); }

Test(thread_queue, a_loop_with_a_virtual_clock_is_woken_by_a_thread) {
    receive_from_a_thread(&(rota_loop_options){ .virtual_clock = true });
}

/* Loop to loop: each waits for the other. */
static rota_thread_queue *there, *back;

static intptr_t answer(void *arg) {
    int64_t v;
    int rc;
    (void)arg;
    while ((rc = rota_thread_queue_get(there, &v)) == 0) {
        v *= 2;
        cr_expect_eq(rota_thread_queue_put(back, &v), 0);
    }
    return rc;
}

static void *run_answerer(void *arg) {
    intptr_t v = 0;
    (void)arg;
    cr_expect_eq(rota_run(answer, NULL, &v, NULL), 0);
    cr_expect_eq(v, -ESHUTDOWN);
    return NULL;
}

static intptr_t ask(void *arg) {
    (void)arg;
    for (int64_t i = 0; i < 200; i++) {
        int64_t v = i;
        cr_expect_eq(rota_thread_queue_put(there, &v), 0);
        cr_expect_eq(rota_thread_queue_get(back, &v), 0);
        cr_expect_eq(v, 2 * i);
    }
    return rota_thread_queue_close(there);
}

Test(thread_queue, two_loops_send_each_other_items) {
    pthread_t thread;
    for (size_t capacity = 0; capacity < 2; capacity++) {
        cr_assert_eq(rota_thread_queue_new(&there, sizeof(int64_t), capacity, NULL), 0);
        cr_assert_eq(rota_thread_queue_new(&back, sizeof(int64_t), capacity, NULL), 0);
        cr_assert_eq(pthread_create(&thread, NULL, run_answerer, NULL), 0);
        cr_expect_eq(rota_run(ask, NULL, NULL, NULL), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_expect_eq(rota_thread_queue_free(there), 0);
        cr_expect_eq(rota_thread_queue_free(back), 0);
    }
}

/* ---- the loop closes ---- */

static intptr_t leave_a_getter_behind(void *unused) {
    static struct actor a;
    (void)unused;
    a = getter('a');
    start(&a);
    rota_task_release(a.task);
    settle();
    return 0;
}

Test(thread_queue, a_loop_that_closes_takes_its_waiters_along) {
    intptr_t v;
    test_begin();
    open_queue(1);
    rota_loop_options opt = test_options();
    cr_expect_eq(rota_run(leave_a_getter_behind, NULL, &v, &opt), 0);
    put_now(3);
    cr_expect_eq(get_now(), 3, "nobody is there to be handed it");
    free_queue();
    test_end();
}

static intptr_t leave_a_served_getter_behind(void *unused) {
    (void)leave_a_getter_behind(unused);
    in_thread(put_five, NULL);
    return 0;
}

Test(thread_queue, a_loop_that_closes_with_an_entry_under_way) {
    intptr_t v;
    test_begin();
    open_queue(1);
    rota_loop_options opt = test_options();
    cr_expect_eq(rota_run(leave_a_served_getter_behind, NULL, &v, &opt), 0);
    expect_empty();
    free_queue();
    test_end();
}

Test(thread_queue, a_wait_is_no_deadlock_and_keeps_the_loop_alive) {
    rota_loop *loop = open_loop();
    struct actor a = getter('a');
    open_queue(1);
    start(&a);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_eq(rota_loop_turn(loop, 0), 1, "it lives on");
    cr_expect(parked(&a));
    put_now(2);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(a.done && a.value == 2);
    rota_task_release(a.task);
    free_queue();
    close_loop(loop);
}

/* ---- wrong use ---- */

Test(thread_queue, what_new_refuses) {
    rota_thread_queue *none = (rota_thread_queue *)&none;
    rota_allocator nothing = { NULL, NULL };
    test_begin();
    cr_expect_eq(rota_thread_queue_new(NULL, 8, 1, NULL), -EINVAL);
    cr_expect_eq(rota_thread_queue_new(&none, 0, 1, NULL), -EINVAL);
    cr_expect_null(none);
    cr_expect_eq(rota_thread_queue_new(&none, 8, 1, &(rota_thread_queue_options){ .allocator = &nothing }), -EINVAL);
    cr_expect_eq(rota_thread_queue_new(&none, 8, SIZE_MAX / 8, NULL), -EOVERFLOW); /* I08 */
    cr_expect_eq(rota_thread_queue_new(&none, SIZE_MAX, 2, NULL), -EOVERFLOW);
    memory.fail_at = 1;
    cr_expect_eq(rota_thread_queue_new(&none, 8, 1, &(rota_thread_queue_options){ .allocator = &memory_allocator }),
                 -ENOMEM);
    cr_expect_null(none);
    test_end();
}

Test(thread_queue, null_and_callers_outside_of_tasks) { /* I03 */
    int64_t v = 0;
    test_begin();
    open_queue(1);
    cr_expect(rota_thread_queue_put(NULL, &v) == -EINVAL && rota_thread_queue_put(q, NULL) == -EINVAL);
    cr_expect(rota_thread_queue_get(NULL, &v) == -EINVAL && rota_thread_queue_get(q, NULL) == -EINVAL);
    cr_expect(rota_thread_queue_try_put(NULL, &v) == -EINVAL && rota_thread_queue_try_put(q, NULL) == -EINVAL);
    cr_expect(rota_thread_queue_try_get(NULL, &v) == -EINVAL && rota_thread_queue_try_get(q, NULL) == -EINVAL);
    cr_expect_eq(rota_thread_queue_put_blocking(NULL, &v), -EINVAL);
    cr_expect_eq(rota_thread_queue_get_blocking(q, NULL), -EINVAL);
    cr_expect_eq(rota_thread_queue_close(NULL), -EINVAL);
    cr_expect_eq(rota_thread_queue_free(NULL), 0);
    cr_expect_eq(rota_thread_queue_size(NULL), 0u);
    cr_expect_eq(rota_thread_queue_put(q, &v), -EPERM);
    cr_expect_eq(rota_thread_queue_get(q, &v), -EPERM);
    free_queue();
    test_end();
}

Task_test(thread_queue, a_task_may_not_block_its_thread) {
    int64_t v = 0;
    open_queue(1);
    cr_expect_eq(rota_thread_queue_put_blocking(q, &v), -EPERM, "though there is room");
    cr_expect_eq(rota_thread_queue_get_blocking(q, &v), -EPERM);
    free_queue();
    return 0;
}

Task_test(thread_queue, refuses_inside_a_cancelled_scope) {
    rota_scope s;
    int64_t v = 0;
    open_queue(2);
    put_now(1);
    rota_timeout_begin(&s, 0);
    cr_expect_eq(rota_thread_queue_get(q, &v), -ECANCELED);
    cr_expect_eq(rota_thread_queue_put(q, &v), -ECANCELED);
    cr_expect_eq(rota_thread_queue_try_get(q, &v), 0, "but try does not");
    cr_expect_eq(rota_scope_end(&s, 0), 0);
    cr_expect_eq(rota_thread_queue_size(q), 0u);
    free_queue();
    return 0;
}

Test(thread_queue, a_child_after_fork_can_only_free_it) {
    int64_t v = 1;
    int status = -1;
    cr_assert_eq(rota_thread_queue_new(&q, sizeof v, 1, NULL), 0);
    put_now(1);
    pid_t child = fork();
    if (child == 0) {
        bool ok = rota_thread_queue_try_put(q, &v) == -EINVAL && rota_thread_queue_get_blocking(q, &v) == -EINVAL &&
                  rota_thread_queue_get(q, &v) == -EINVAL && rota_thread_queue_close(q) == -EINVAL &&
                  rota_thread_queue_free(q) == 0;
        _exit(ok ? 0 : 1);
    }
    cr_expect_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    cr_expect_eq(get_now(), 1, "the parent's is as it was");
    free_queue();
}

Task_test(thread_queue, a_task_s_state_names_what_it_waits_for) {
    struct actor a = getter('a');
    char line[256];
    open_queue(1);
    begin(&a);
    (void)rota_task_describe(a.task, line, sizeof line);
    cr_expect_not_null(strstr(line, "an item of a thread queue"), "%s", line);
    put_now(1);
    finish(&a);
    free_queue();
    return 0;
}
