/* Queues of one loop: order, bounds, hand-over, rendezvous, closing, finishing. */
#include "tests/sync_kit.h"

static rota_queue q;
static int64_t slots[4];

static int put(struct actor *a) { return rota_queue_put(a->on, &a->value); }
static int get(struct actor *a) { return rota_queue_get(a->on, &a->value); }

static void open_queue(size_t capacity) {
    cr_expect_eq(rota_queue_init(&q, slots, sizeof *slots, capacity, NULL), 0);
}

static void put_now(int64_t v) { cr_expect_eq(rota_queue_try_put(&q, &v), 0); }

static int64_t get_now(void) {
    int64_t v = -1;
    cr_expect_eq(rota_queue_try_get(&q, &v), 0);
    return v;
}

static void expect_empty(void) {
    int64_t v;
    cr_expect_eq(rota_queue_try_get(&q, &v), -EAGAIN);
}

static void start_putters(struct actor *a, int n) {
    for (int i = 0; i < n; i++) {
        a[i] = (struct actor){ .call = put, .on = &q, .letter = (char)('a' + i), .value = 'a' + i };
        start(&a[i]);
    }
    settle();
}

static void start_getters(struct actor *a, int n) {
    for (int i = 0; i < n; i++) {
        a[i] = (struct actor){ .call = get, .on = &q, .letter = (char)('a' + i), .value = -1 };
        start(&a[i]);
    }
    settle();
}

static void finish_many(struct actor *a, int n) {
    for (int i = 0; i < n; i++)
        finish(&a[i]);
}

/* ---- every way to wait, through the common situations ---- */

static void be_empty(void) { open_queue(2); }
static void give_item(void) { put_now(7); }
static const struct thing getters = { get, NULL, &q, be_empty, give_item, false };
Thing_tests(queue_get, getters)

static void be_full(void) {
    open_queue(1);
    put_now(1);
}
static void take_item(void) { (void)get_now(); }
static const struct thing putters = { put, NULL, &q, be_full, take_item, false };
Thing_tests(queue_put, putters)

static void be_rendezvous(void) { open_queue(0); }
static const struct thing meeting_putters = { put, NULL, &q, be_rendezvous, take_item, false };
Thing_tests(queue_rendezvous_put, meeting_putters)

static const struct thing meeting_getters = { get, NULL, &q, be_rendezvous, give_item, false };
Thing_tests(queue_rendezvous_get, meeting_getters)

/* ---- order ---- */

Task_test(queue, first_in_first_out) { /* Q1 */
    open_queue(4);
    for (int round = 0; round < 3; round++) {   /* across the ring's end */
        for (int i = 0; i < 3; i++)
            put_now(i);
        cr_expect_eq(rota_queue_size(&q), 3u);
        for (int i = 0; i < 3; i++)
            cr_expect_eq(get_now(), i);
    }
    expect_empty();
    return 0;
}

Task_test(queue, last_in_first_out) {
    cr_expect_eq(rota_queue_init(&q, slots, sizeof *slots, 4, &(rota_queue_options){ .order = ROTA_LIFO }), 0);
    for (int i = 0; i < 4; i++)
        put_now(i);
    cr_expect_eq(get_now(), 3);
    put_now(9);
    cr_expect_eq(get_now(), 9);
    cr_expect_eq(get_now(), 2);
    cr_expect_eq(get_now(), 1);
    cr_expect_eq(get_now(), 0);
    expect_empty();
    return 0;
}

static bool smaller(const void *a, const void *b) { return *(const int64_t *)a < *(const int64_t *)b; }

static uint64_t random_state = 88172645463325252u;

static int64_t dice(int64_t n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (int64_t)(random_state % (uint64_t)n);
}

Task_test(queue, by_priority_as_a_sorted_array_would) {
    static int64_t heap[64], model[64];
    int n = 0;
    cr_expect_eq(rota_queue_init(&q, heap, sizeof *heap, 64,
                                 &(rota_queue_options){ .order = ROTA_PRIORITY_QUEUE, .before = smaller }), 0);
    for (int i = 0; i < 20000; i++) {
        if (n < 64 && (n == 0 || dice(100) < (i / 500 % 2 ? 60 : 40))) {
            int64_t v = dice(50);
            int at = n++;
            for (; at > 0 && model[at - 1] < v; at--)   /* the smallest last */
                model[at] = model[at - 1];
            model[at] = v;
            put_now(v);
        } else {
            cr_expect_eq(get_now(), model[--n]);
        }
        cr_expect_eq(rota_queue_size(&q), (size_t)n);
    }
    return 0;
}

struct job {
    int priority, serial;
};

static bool more_urgent(const void *a, const void *b) {
    const struct job *x = a, *y = b;
    return x->priority != y->priority ? x->priority < y->priority : x->serial < y->serial;
}

Task_test(queue, equals_leave_in_order_when_before_says_so) {
    struct job heap[16], j;
    cr_expect_eq(rota_queue_init(&q, heap, sizeof *heap, 16,
                                 &(rota_queue_options){ .order = ROTA_PRIORITY_QUEUE, .before = more_urgent }), 0);
    for (int i = 0; i < 16; i++)
        cr_expect_eq(rota_queue_try_put(&q, &(struct job){ i % 2, i }), 0);
    for (int i = 0; i < 16; i++) {
        cr_expect_eq(rota_queue_try_get(&q, &j), 0);
        cr_expect_eq(j.serial, i < 8 ? 2 * i : 2 * i - 15);
    }
    return 0;
}

Task_test(queue, a_priority_queue_that_was_full_takes_the_first_putter_s_item) {
    struct actor a[2];
    int64_t heap[1];
    cr_expect_eq(rota_queue_init(&q, heap, sizeof *heap, 1,
                                 &(rota_queue_options){ .order = ROTA_PRIORITY_QUEUE, .before = smaller }), 0);
    put_now('m');
    start_putters(a, 2);
    cr_expect_eq(get_now(), 'm');
    cr_expect_eq(get_now(), 'a');
    cr_expect_eq(get_now(), 'b');
    finish_many(a, 2);
    return 0;
}

Task_test(queue, a_lifo_queue_that_was_full_gives_the_putter_s_item_next) {
    struct actor a[1];
    cr_expect_eq(rota_queue_init(&q, slots, sizeof *slots, 2, &(rota_queue_options){ .order = ROTA_LIFO }), 0);
    put_now(1);
    put_now(2);
    start_putters(a, 1);
    cr_expect_eq(get_now(), 2);
    cr_expect_eq(get_now(), 'a');
    cr_expect_eq(get_now(), 1);
    finish_many(a, 1);
    return 0;
}

Task_test(queue, items_of_any_size_and_alignment) {
    char items[3][5], out[5];
    ROTA_QUEUE_INIT(&q, items);
    cr_expect_eq(rota_queue_try_put(&q, "abcd"), 0);
    cr_expect_eq(rota_queue_try_put(&q, "efgh"), 0);
    cr_expect_eq(rota_queue_try_put(&q, "ijkl"), 0);
    cr_expect_eq(rota_queue_try_put(&q, "mnop"), -EAGAIN);
    cr_expect_eq(rota_queue_try_get(&q, out), 0);
    cr_expect_str_eq(out, "abcd");
    cr_expect_eq(rota_queue_try_put(&q, "mnop"), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_queue_try_get(&q, out), 0);
    cr_expect_str_eq(out, "mnop");
    return 0;
}

/* ---- waiting ---- */

Task_test(queue, a_put_waits_for_room) { /* C16: bounded */
    struct actor a[1];
    int64_t v = 3;
    open_queue(2);
    put_now(1);
    put_now(2);
    cr_expect_eq(rota_queue_try_put(&q, &v), -EAGAIN);
    start_putters(a, 1);
    cr_expect(parked(&a[0]));
    cr_expect_eq(rota_queue_size(&q), 2u);
    cr_expect_eq(get_now(), 1);
    cr_expect_eq(rota_queue_size(&q), 2u, "its item took the place at once");
    finish_many(a, 1);
    cr_expect_eq(get_now(), 2);
    cr_expect_eq(get_now(), 'a');
    return 0;
}

Task_test(queue, a_getter_is_handed_its_item_at_once) {
    struct actor a[2];
    int64_t v;
    open_queue(4);
    start_getters(a, 2);
    put_now(1);
    cr_expect_eq(a[0].value, 1, "before it has run");
    cr_expect_eq(rota_queue_size(&q), 0u);
    cr_expect_eq(rota_queue_try_get(&q, &v), -EAGAIN, "nobody overtakes the second");
    put_now(2);
    finish_many(a, 2);
    cr_expect_eq(a[1].value, 2);
    return 0;
}

Task_test(queue, nobody_overtakes_a_waiting_putter) {
    struct actor a[1];
    int64_t v = 9;
    open_queue(1);
    put_now(1);
    start_putters(a, 1);
    cr_expect_eq(get_now(), 1);
    cr_expect_eq(rota_queue_try_put(&q, &v), -EAGAIN, "the place is the putter's");
    cr_expect_eq(get_now(), 'a');
    finish_many(a, 1);
    return 0;
}

Task_test(queue, a_cancelled_putter_s_item_is_not_in) { /* C12 */
    struct actor a[3];
    open_queue(1);
    put_now(1);
    start_putters(a, 3);
    cancel(&a[0]);
    cr_expect_eq(get_now(), 1);
    cr_expect_eq(get_now(), 'b');
    cr_expect_eq(get_now(), 'c');
    expect_empty();
    finish_many(a, 3);
    cr_expect(a[0].rc == -ECANCELED && a[1].rc == 0 && a[2].rc == 0);
    return 0;
}

Task_test(queue, a_putter_whose_item_was_taken_has_put_it) { /* C12, the other order */
    struct actor a[2];
    open_queue(1);
    put_now(1);
    start_putters(a, 2);
    cr_expect_eq(get_now(), 1);
    cancel(&a[0]);
    finish(&a[0]);
    cr_expect(a[0].rc == 0 && a[0].next == -ECANCELED);
    cr_expect_eq(get_now(), 'a');
    cr_expect_eq(get_now(), 'b');
    finish(&a[1]);
    return 0;
}

Task_test(queue, a_getter_that_was_handed_an_item_keeps_it) { /* C13 */
    struct actor a[2];
    open_queue(2);
    start_getters(a, 2);
    put_now(5);
    cancel(&a[0]);
    finish(&a[0]);
    cr_expect(a[0].rc == 0 && a[0].value == 5 && a[0].next == -ECANCELED);
    put_now(6);
    finish(&a[1]);
    cr_expect_eq(a[1].value, 6);
    return 0;
}

Task_test(queue, a_cancelled_getter_s_memory_is_left_alone) {
    struct actor a[1];
    open_queue(2);
    start_getters(a, 1);
    cancel(&a[0]);
    put_now(5);
    finish(&a[0]);
    cr_expect_eq(a[0].value, -1);
    cr_expect_eq(get_now(), 5);
    return 0;
}

/* ---- rendezvous ---- */

Task_test(queue, without_capacity_a_put_waits_for_its_getter) {
    struct actor p[1], g[1];
    int64_t v = 1;
    open_queue(0);
    cr_expect_eq(rota_queue_try_put(&q, &v), -EAGAIN);
    cr_expect_eq(rota_queue_try_get(&q, &v), -EAGAIN);
    start_putters(p, 1);
    cr_expect(parked(&p[0]));
    cr_expect_eq(rota_queue_size(&q), 0u);
    start_getters(g, 1);
    finish_many(p, 1);
    finish_many(g, 1);
    cr_expect_eq(g[0].value, 'a');
    return 0;
}

Task_test(queue, without_capacity_a_put_finds_a_getter_that_waits) {
    struct actor g[1];
    int64_t v = 4;
    open_queue(0);
    start_getters(g, 1);
    cr_expect_eq(rota_queue_put(&q, &v), 0);
    finish_many(g, 1);
    cr_expect_eq(g[0].value, 4);
    return 0;
}

Task_test(queue, a_sender_cancelled_when_matched_has_sent) { /* C15 */
    struct actor p[1];
    open_queue(0);
    start_putters(p, 1);
    cr_expect_eq(get_now(), 'a');
    cancel(&p[0]);
    finish_many(p, 1);
    cr_expect_eq(p[0].rc, 0);
    return 0;
}

Task_test(queue, a_sender_cancelled_before_it_is_matched_has_not_sent) { /* C15 */
    struct actor p[1];
    open_queue(0);
    start_putters(p, 1);
    cancel(&p[0]);
    expect_empty();
    finish_many(p, 1);
    cr_expect_eq(p[0].rc, -ECANCELED);
    return 0;
}

/* ---- closing ---- */

Task_test(queue, closing_wakes_getters_in_vain) { /* C14 */
    struct actor a[2];
    open_queue(2);
    start_getters(a, 2);
    cr_expect_eq(rota_queue_close(&q), 0);
    finish_many(a, 2);
    cr_expect(a[0].rc == -ESHUTDOWN && a[1].rc == -ESHUTDOWN && a[0].value == -1);
    return 0;
}

Task_test(queue, closing_wakes_putters_and_what_is_in_it_can_still_be_read) { /* C14 */
    struct actor a[2];
    int64_t v = 0;
    open_queue(2);
    put_now(1);
    put_now(2);
    start_putters(a, 2);
    cr_expect_eq(rota_queue_close(&q), 0);
    finish_many(a, 2);
    cr_expect(a[0].rc == -ESHUTDOWN && a[1].rc == -ESHUTDOWN);
    cr_expect_eq(rota_queue_put(&q, &v), -ESHUTDOWN);
    cr_expect_eq(rota_queue_try_put(&q, &v), -ESHUTDOWN);
    cr_expect_eq(rota_queue_get(&q, &v), 0);
    cr_expect_eq(v, 1);
    cr_expect_eq(get_now(), 2);
    cr_expect_eq(rota_queue_get(&q, &v), -ESHUTDOWN);
    cr_expect_eq(rota_queue_try_get(&q, &v), -ESHUTDOWN);
    cr_expect_eq(rota_queue_close(&q), 0, "again");
    return 0;
}

Task_test(queue, closing_ends_both_sides_of_a_rendezvous) {
    struct actor a[2];
    open_queue(0);
    start_putters(a, 2);
    cr_expect_eq(rota_queue_close(&q), 0);
    finish_many(a, 2);
    cr_expect(a[0].rc == -ESHUTDOWN && a[1].rc == -ESHUTDOWN);
    return 0;
}

Task_test(queue, closed_then_cancelled_in_one_turn_is_closed) {
    struct actor a[1];
    open_queue(2);
    start_getters(a, 1);
    cr_expect_eq(rota_queue_close(&q), 0);
    cancel(&a[0]);
    finish_many(a, 1);
    cr_expect(a[0].rc == -ESHUTDOWN && a[0].next == -ECANCELED);
    return 0;
}

/* ---- finishing ---- */

static int join_it(struct actor *a) { return rota_queue_join(a->on); }

Task_test(queue, join_of_nothing_returns_at_once) { /* C17 */
    open_queue(2);
    cr_expect_eq(rota_queue_join(&q), 0);
    return 0;
}

Task_test(queue, join_waits_until_every_item_is_finished) {
    struct actor a = { .call = join_it, .on = &q, .letter = 'j' };
    open_queue(4);
    put_now(1);
    put_now(2);
    start(&a);
    settle();
    (void)get_now();
    (void)get_now();
    settle();
    cr_expect(parked(&a), "taken is not finished");
    cr_expect_eq(rota_queue_task_done(&q), 0);
    put_now(3);
    cr_expect_eq(rota_queue_task_done(&q), 0);
    settle();
    cr_expect(parked(&a), "another one came meanwhile");
    (void)get_now();
    cr_expect_eq(rota_queue_task_done(&q), 0);
    finish(&a);
    cr_expect_eq(a.rc, 0);
    return 0;
}

Task_test(queue, items_that_never_were_in_the_buffer_count_too) {
    struct actor g[1], p[1];
    open_queue(2);
    start_getters(g, 1);
    put_now(1);                       /* straight to the getter */
    finish_many(g, 1);
    cr_expect_eq(q.unfinished_, 1u);
    cr_expect_eq(rota_queue_task_done(&q), 0);
    open_queue(0);
    start_putters(p, 1);
    cr_expect_eq(q.unfinished_, 0u, "not put yet");
    (void)get_now();                  /* straight from the putter */
    finish_many(p, 1);
    cr_expect_eq(q.unfinished_, 1u);
    return 0;
}

Task_test(queue, a_cancelled_put_is_not_to_be_finished) {
    struct actor a[1];
    open_queue(1);
    put_now(1);
    start_putters(a, 1);
    cancel(&a[0]);
    finish_many(a, 1);
    cr_expect_eq(q.unfinished_, 1u);
    return 0;
}

Task_test(queue, finishing_more_than_was_put_is_refused) { /* C17 */
    open_queue(2);
    cr_expect_eq(rota_queue_task_done(&q), -EINVAL);
    put_now(1);
    cr_expect_eq(rota_queue_task_done(&q), 0);
    cr_expect_eq(rota_queue_task_done(&q), -EINVAL);
    return 0;
}

Task_test(queue, closing_does_not_end_a_join) {
    struct actor a = { .call = join_it, .on = &q, .letter = 'j' };
    open_queue(2);
    put_now(1);
    start(&a);
    settle();
    cr_expect_eq(rota_queue_close(&q), 0);
    settle();
    cr_expect(parked(&a));
    (void)get_now();
    cr_expect_eq(rota_queue_task_done(&q), 0);
    finish(&a);
    cr_expect_eq(a.rc, 0);
    return 0;
}

Task_test(queue, a_join_that_is_cancelled_leaves_the_others_waiting) { /* B27 */
    struct actor a = { .call = join_it, .on = &q, .letter = 'j' }, b = a;
    open_queue(2);
    put_now(1);
    start(&a);
    start(&b);
    settle();
    cancel(&a);
    settle();
    cr_expect(a.rc == -ECANCELED && parked(&b));
    cr_expect_eq(rota_queue_task_done(&q), 0);
    cancel(&b);
    finish(&a);
    finish(&b);
    cr_expect(b.rc == 0 && b.next == -ECANCELED, "finished, then cancelled");
    return 0;
}

/* ---- wrong use ---- */

Test(queue, what_init_refuses) {
    test_begin();
    rota_queue_options by_priority = { .order = ROTA_PRIORITY_QUEUE, .before = smaller };
    cr_expect_eq(rota_queue_init(NULL, slots, 8, 4, NULL), -EINVAL);
    cr_expect_eq(rota_queue_init(&q, slots, 0, 4, NULL), -EINVAL);
    cr_expect_eq(rota_queue_init(&q, NULL, 8, 4, NULL), -EINVAL);
    cr_expect_eq(rota_queue_init(&q, NULL, 8, 0, NULL), 0, "a rendezvous needs no memory");
    cr_expect_eq(rota_queue_init(&q, slots, 8, SIZE_MAX / 4, NULL), -EOVERFLOW); /* I08 */
    cr_expect_eq(rota_queue_init(&q, slots, 8, 4, &(rota_queue_options){ .order = 3 }), -EINVAL);
    cr_expect_eq(rota_queue_init(&q, slots, 8, 4, &(rota_queue_options){ .order = -1 }), -EINVAL);
    cr_expect_eq(rota_queue_init(&q, slots, 8, 4, &(rota_queue_options){ .order = ROTA_PRIORITY_QUEUE }), -EINVAL);
    cr_expect_eq(rota_queue_init(&q, slots, 8, 0, &by_priority), -EINVAL);
    cr_expect_eq(rota_queue_init(&q, slots, 8, 4, &by_priority), 0);
    test_end();
}

Test(queue, null_and_callers_outside_of_tasks) { /* I03 */
    int64_t v = 0;
    test_begin();
    cr_expect_eq(rota_queue_init(&q, slots, sizeof *slots, 4, NULL), 0);
    cr_expect(rota_queue_put(NULL, &v) == -EINVAL && rota_queue_put(&q, NULL) == -EINVAL);
    cr_expect(rota_queue_get(NULL, &v) == -EINVAL && rota_queue_get(&q, NULL) == -EINVAL);
    cr_expect(rota_queue_try_put(NULL, &v) == -EINVAL && rota_queue_try_put(&q, NULL) == -EINVAL);
    cr_expect(rota_queue_try_get(NULL, &v) == -EINVAL && rota_queue_try_get(&q, NULL) == -EINVAL);
    cr_expect_eq(rota_queue_close(NULL), -EINVAL);
    cr_expect_eq(rota_queue_size(NULL), 0u);
    cr_expect_eq(rota_queue_task_done(NULL), -EINVAL);
    cr_expect_eq(rota_queue_join(NULL), -EINVAL);
    cr_expect_eq(rota_queue_put(&q, &v), -EPERM);
    cr_expect_eq(rota_queue_get(&q, &v), -EPERM);
    cr_expect_eq(rota_queue_join(&q), -EPERM);
    cr_expect_eq(rota_queue_try_put(&q, &v), 0, "a callback may put");
    test_end();
}

static void *misuse(void *unused) {
    int64_t v = 1;
    (void)unused;
    if (q.getters_)
        cr_expect_eq(rota_queue_try_put(&q, &v), -EPERM);
    else
        cr_expect_eq(rota_queue_try_get(&q, &v), -EPERM);
    cr_expect_eq(rota_queue_close(&q), -EPERM);
    return NULL;
}

Task_test(queue, other_threads_are_refused_while_somebody_waits) { /* I05 */
    struct actor a[1];
    open_queue(1);
    start_getters(a, 1);
    in_thread(misuse, NULL);
    settle();
    cr_expect(parked(&a[0]) && !q.closed_);
    put_now(1);
    finish_many(a, 1);
    put_now(1);
    start_putters(a, 1);
    in_thread(misuse, NULL);
    settle();
    cr_expect(parked(&a[0]) && !q.closed_);
    (void)get_now();
    finish_many(a, 1);
    return 0;
}

static void *finish_from_a_thread(void *unused) {
    (void)unused;
    cr_expect_eq(rota_queue_task_done(&q), -EPERM);
    return NULL;
}

Task_test(queue, other_threads_may_not_finish_for_a_join) {
    struct actor a = { .call = join_it, .on = &q, .letter = 'j' };
    open_queue(1);
    put_now(1);
    start(&a);
    settle();
    in_thread(finish_from_a_thread, NULL);
    cr_expect_eq(q.unfinished_, 1u);
    cr_expect_eq(rota_queue_task_done(&q), 0);
    finish(&a);
    return 0;
}

/* ---- the tutorial's shape ---- */

static intptr_t drain_it(void *sum) {
    int64_t v;
    int rc;
    while ((rc = rota_queue_get(&q, &v)) == 0) {
        *(int64_t *)sum += v;
        cr_expect_eq(rota_queue_task_done(&q), 0);
    }
    return rc == -ESHUTDOWN ? 0 : rc;
}

Task_test(queue, producers_and_consumers_through_a_small_queue) {
    int64_t sums[3] = { 0, 0, 0 };
    rota_group g;
    open_queue(2);
    rota_group_begin(&g, NULL);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(rota_spawn(NULL, drain_it, &sums[i], &(rota_spawn_options){ .group = &g }), 0);
    for (int64_t i = 1; i <= 1000; i++)
        cr_expect_eq(rota_queue_put(&q, &i), 0);
    cr_expect_eq(rota_queue_join(&q), 0);
    cr_expect_eq(rota_queue_close(&q), 0);
    cr_expect_eq(rota_group_end(&g, 0), 0);
    cr_expect_eq(sums[0] + sums[1] + sums[2], 500500);
    return 0;
}
