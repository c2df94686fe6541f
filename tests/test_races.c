/* Situations in which two things happen to a task at once: those that CPython's tests of tasks, futures, wait, wait_for,
 * shield, timeouts, task groups, locks and queues name, and that the files of the single parts do not have already.
 * docs/CANCELLATION.md lists them all with their rules. Times are exact, and timers of one time fire in the order in
 * which they were started: so "at once" has an order, and each situation is tried in both. */
#include "rota/combine.h"
#include "rota/sync.h"
#include "tests/support.h"

/* ---- what many need ---- */

/* Spawned, and run until it waits. */
static rota_task *started(rota_fn *fn, void *arg) {
    rota_task *task = NULL;
    cr_expect_eq(rota_spawn(&task, fn, arg, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    return task;
}

static intptr_t outcome_of(rota_task *task) {
    intptr_t v = -1;
    cr_expect_eq(rota_join(task, &v), 0);
    return v;
}

static int refused(void) { return rota_yield() == -ECANCELED; }

/* Something that a timer does at a time. */
struct deed {
    rota_timer timer;
    void (*fn)(void *arg);
    void *arg;
};

static void do_deed(rota_timer *timer, void *arg) {
    struct deed *deed = arg;
    (void)timer;
    deed->fn(deed->arg);
}

static void at(int64_t ns, struct deed *deed, void (*fn)(void *arg), void *arg) {
    deed->fn = fn;
    deed->arg = arg;
    rota_timer_init(&deed->timer, do_deed, deed);
    cr_expect_eq(rota_timer_start(rota_loop_current(), &deed->timer, ns), 0);
}

static void cancel_it(void *task) { (void)rota_cancel(task, "outside"); }
static void set_it(void *future) { cr_expect_eq(rota_future_set(future, 7), 0); }

static intptr_t await_it(void *future) {
    intptr_t v = 0;
    int rc = rota_future_await(future, &v);
    return rc < 0 ? rc : v;
}

/* ---- a task that is cancelled ---- */

static intptr_t yields_twice(void *unused) {
    (void)unused;
    return rota_yield() * 100 + rota_yield();
}

/* It stands in the queue, and waits for nothing that could be taken from it. */
Task_test(races, cancelled_while_it_yields) {
    rota_task *task = started(yields_twice, NULL);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), -ECANCELED, "0 and -ECANCELED");
    return 0;
}

static intptr_t awaits_and_returns(void *future) { return await_it(future) + 1; }

Task_test(races, cancelled_when_only_its_return_is_left) {
    rota_future future = { 0 };
    rota_task *task = started(awaits_and_returns, &future);
    set_it(&future);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), 8, "it was done, and so it is no cancelled one");
    return 0;
}

static intptr_t gives_42_when_cancelled(void *future) { return await_it(future) == -ECANCELED ? 42 : 0; }

Task_test(races, a_cancelled_one_may_have_a_result_all_the_same) {
    rota_future future = { 0 };
    rota_task *task = started(gives_42_when_cancelled, &future);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), 42);
    cr_expect_null(future.waiters_);
    return 0;
}

static intptr_t fails_when_cancelled(void *future) { return await_it(future) == -ECANCELED ? -EIO : 0; }

/* Obedience is not reported, a failure is: also one that came about on the way out. */
static intptr_t fails_on_the_way_out(void *unused) {
    rota_future future = { 0 };
    (void)unused;
    rota_task *task = started(fails_when_cancelled, &future);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    rota_task_release(task);
    return 0;
}

Test(races, a_failure_on_the_way_out_is_a_failure) {
    cr_expect_eq(run_with(fails_on_the_way_out, NULL, NULL, NULL), 0);
    cr_expect_eq(reports_of(ROTA_REPORT_UNAWAITED), 1);
    cr_expect_eq(report_of(ROTA_REPORT_UNAWAITED)->error, -EIO);
}

static intptr_t takes_it_back_twice(void *future) {
    int n = 0;
    for (int i = 0; i < 2; i++) {
        n += await_it(future) == -ECANCELED && rota_uncancel() && !rota_uncancel();
        n += rota_yield() == 0;
    }
    return n * 10 + await_it(future);
}

Task_test(races, cancelled_taken_back_and_cancelled_again) {
    rota_future future = { 0 };
    rota_task *task = started(takes_it_back_twice, &future);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(rota_cancel(task, NULL), 0);
        cr_expect_eq(rota_yield(), 0);
        cr_expect_eq(rota_yield(), 0);
    }
    set_it(&future);
    cr_expect_eq(outcome_of(task), 47);
    return 0;
}

static intptr_t takes_it_back_first(void *unused) {
    (void)unused;
    return rota_uncancel() ? rota_sleep(5) : -1;
}

Task_test(races, cancelled_before_its_first_step_which_takes_it_back) {
    rota_task *task;
    cr_expect_eq(rota_spawn(&task, takes_it_back_first, NULL, NULL), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), 0);
    return 0;
}

/* A cancels B, and B, on its way out, A. */
static rota_task *pair[2];

static intptr_t cancels_the_other(void *index) {
    int me = (int)(intptr_t)index;
    int rc = me == 0 ? rota_cancel(pair[1], NULL) : (int)wait_forever(NULL);
    if (me == 1)
        cr_expect_eq(rota_cancel(pair[0], NULL), 0);
    int rc_2 = (int)wait_forever(NULL);
    cr_expect_eq(rc, me == 0 ? 0 : -ECANCELED);
    return rc_2;
}

Task_test(races, two_that_cancel_each_other) {
    pair[1] = started(cancels_the_other, (void *)1);
    pair[0] = started(cancels_the_other, (void *)0);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(outcome_of(pair[i]), -ECANCELED);
    return 0;
}

static intptr_t who_am_i(void *future) {
    rota_task *me = rota_self();
    int rc = rota_yield();
    return rc == 0 && me == rota_self() && await_it(future) == 7 && me == rota_self();
}

Task_test(races, each_is_itself_through_all_switches) {
    rota_future future = { 0 };
    rota_task *me = rota_self(), *a = started(who_am_i, &future), *b = started(who_am_i, &future);
    cr_expect_eq(rota_self(), me);
    set_it(&future);
    cr_expect_eq(outcome_of(a) + outcome_of(b), 2);
    cr_expect_eq(rota_self(), me);
    return 0;
}

/* ---- a task, and what it waits for ---- */

/* A future that is closed stands for one that is cancelled. */
Task_test(races, cancelled_and_its_future_closed_in_both_orders) {
    for (int closed_first = 0; closed_first < 2; closed_first++) {
        rota_future future = { 0 };
        rota_task *task = started(await_it, &future);
        if (closed_first)
            rota_future_close(&future);
        cr_expect_eq(rota_cancel(task, NULL), 0);
        if (!closed_first)
            rota_future_close(&future);
        cr_expect_eq(outcome_of(task), closed_first ? -ESHUTDOWN : -ECANCELED);
    }
    return 0;
}

/* The merged channel says -ECANCELED then, and means the target: its caller is as free as before. */
Task_test(races, a_cancelled_target_cancels_nobody_who_awaits_it) {
    intptr_t v = 0;
    rota_task *task = started(wait_forever, NULL);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(rota_await(task, &v), 0);
    cr_expect_eq(v, -ECANCELED);
    cr_expect_eq(rota_join(task, NULL), -ECANCELED);
    cr_expect(!rota_cancelled(NULL, NULL));
    cr_expect(!refused());
    return 0;
}

/* Returned: the fate of the wait, 10 if the outcome came with it. */
static intptr_t joins(void *task) {
    intptr_t v = 0;
    int rc = rota_await(task, &v);
    return rc < 0 ? rc : v == -ECANCELED ? 10 : v;
}

Task_test(races, waiter_and_target_cancelled_in_both_orders) {
    for (int target_first = 0; target_first < 2; target_first++) {
        rota_task *target = started(wait_forever, NULL), *waiter = started(joins, target);
        cr_expect_eq(rota_cancel(target_first ? target : waiter, NULL), 0);
        cr_expect_eq(rota_cancel(target_first ? waiter : target, NULL), 0);
        /* The target has yet to end, so the waiter's own cancellation comes first in any case. */
        cr_expect_eq(outcome_of(waiter), -ECANCELED);
        cr_expect_eq(outcome_of(target), -ECANCELED);
    }
    return 0;
}

static rota_task *joiner;
static bool cancels_after;

static intptr_t cancels_its_joiner_and_ends(void *future) {
    intptr_t v = await_it(future);
    cr_expect_eq(rota_cancel(joiner, NULL), 0);
    return v;
}

/* In one step: cancelled, then completed. */
Task_test(races, a_target_that_cancels_its_joiner_and_ends) {
    rota_future future = { 0 };
    rota_task *target = started(cancels_its_joiner_and_ends, &future);
    joiner = started(joins, target);
    set_it(&future);
    cr_expect_eq(outcome_of(joiner), -ECANCELED);
    cr_expect_eq(outcome_of(target), 7, "which is kept for the next one");
    return 0;
}

static void cancel_the_joiner(rota_done *done, intptr_t value, void *arg) {
    (void)done, (void)value, (void)arg;
    cancels_after = rota_cancel(joiner, NULL) == 0;
}

static intptr_t joins_and_looks(void *target) {
    intptr_t v = joins(target);
    rota_scope nothing;
    rota_scope_begin(&nothing);
    bool late = refused();
    intptr_t ignored = rota_scope_end(&nothing, 0);
    (void)ignored;
    return v * 10 + late;
}

/* Waiters are woken before callbacks are queued: the wait is over when the callback cancels. */
Task_test(races, a_done_callback_that_cancels_a_waiter) {
    rota_future future = { 0 };
    rota_done done;
    cr_expect_eq(rota_future_on_done(&future, &done, cancel_the_joiner, NULL), 0);
    joiner = started(await_it, &future);
    set_it(&future);
    cr_expect_eq(outcome_of(joiner), 7);
    cr_expect(!cancels_after, "it had ended by then");
    return 0;
}

/* ... and is over for a waiter that goes on, too. */
Task_test(races, a_waiter_that_is_cancelled_after_it_was_woken_hears_of_it_next) {
    rota_future future = { 0 };
    rota_task *target = started(await_it, &future);
    joiner = started(joins_and_looks, target);
    set_it(&future);
    cr_expect_eq(rota_yield(), 0); /* the target ends; the joiner is ready, and this task before it */
    cr_expect_eq(rota_cancel(joiner, NULL), 0);
    cr_expect_eq(outcome_of(joiner), 71);
    rota_task_release(target);
    return 0;
}

/* ---- limits ---- */

static intptr_t sleep_10(void *unused) {
    (void)unused;
    return rota_sleep(10);
}

Task_test(races, a_sleep_and_its_limit_at_the_same_time) {
    rota_scope limit;
    cr_expect_eq(rota_timeout(10, sleep_10, NULL), 0);
    rota_timeout_begin(&limit, 10);
    cr_expect_eq(rota_scope_end(&limit, rota_sleep(10)), 0);
    cr_expect(!rota_scope_expired(&limit), "it ended nothing");
    return 0;
}

static rota_future limited_future;

static intptr_t awaits_within_10(void *unused) {
    (void)unused;
    return rota_timeout(10, await_it, &limited_future);
}

Task_test(races, set_at_the_time_of_the_limit_in_both_orders) {
    for (int set_first = 0; set_first < 2; set_first++) {
        struct deed deed;
        rota_task *task;
        rota_future_init(&limited_future);
        cr_expect_eq(rota_spawn(&task, awaits_within_10, NULL, NULL), 0);
        if (set_first)
            at(10, &deed, set_it, &limited_future);
        cr_expect_eq(rota_yield(), 0);
        if (!set_first)
            at(10, &deed, set_it, &limited_future);
        cr_expect_eq(outcome_of(task), set_first ? 7 : -ETIMEDOUT);
        cr_expect(rota_future_done(&limited_future));
    }
    return 0;
}

static rota_queue queue;
static int items[2];

static void put_it(void *item) { cr_expect_eq(rota_queue_try_put(&queue, item), 0); }

static intptr_t get_it(void *unused) {
    int item = 0, rc = rota_queue_get(&queue, &item);
    (void)unused;
    return rc < 0 ? rc : item;
}

static intptr_t gets_within_10(void *unused) {
    (void)unused;
    return rota_timeout(10, get_it, NULL);
}

/* The item is with one of the two. */
Task_test(races, an_item_at_the_time_of_the_limit_in_both_orders) {
    for (int put_first = 0; put_first < 2; put_first++) {
        struct deed deed;
        int item = 5;
        rota_task *task;
        ROTA_QUEUE_INIT(&queue, items);
        cr_expect_eq(rota_spawn(&task, gets_within_10, NULL, NULL), 0);
        if (put_first)
            at(10, &deed, put_it, &item);
        cr_expect_eq(rota_yield(), 0);
        if (!put_first)
            at(10, &deed, put_it, &item);
        cr_expect_eq(outcome_of(task), put_first ? 5 : -ETIMEDOUT);
        cr_expect_eq(rota_queue_size(&queue), put_first ? 0u : 1u);
    }
    return 0;
}

static rota_scope *moved;

static void move_it(void *ns) { rota_scope_limit(moved, *(int64_t *)ns); }

static intptr_t sleeps_under_a_limit_of_10(void *unused) {
    rota_scope limit;
    (void)unused;
    rota_timeout_begin(&limit, 10);
    moved = &limit;
    return rota_scope_end(&limit, rota_sleep(20));
}

Task_test(races, a_limit_that_is_moved_when_it_expires_in_both_orders) {
    for (int moved_first = 0; moved_first < 2; moved_first++) {
        struct deed deed;
        int64_t more = 100;
        rota_task *task;
        cr_expect_eq(rota_spawn(&task, sleeps_under_a_limit_of_10, NULL, NULL), 0);
        if (moved_first)
            at(10, &deed, move_it, &more);
        cr_expect_eq(rota_yield(), 0);
        if (!moved_first)
            at(10, &deed, move_it, &more);
        cr_expect_eq(outcome_of(task), moved_first ? 0 : -ETIMEDOUT, "what has expired stays so");
    }
    return 0;
}

Task_test(races, a_limit_that_is_moved_after_its_scope_has_ended) {
    rota_scope limit;
    rota_timeout_begin(&limit, 10);
    cr_expect_eq(rota_scope_end(&limit, 3), 3);
    rota_scope_limit(&limit, 0);
    rota_scope_cancel(&limit, NULL);
    cr_expect(!refused());
    cr_expect(!rota_scope_expired(&limit) && !rota_scope_cancelled(&limit));
    return 0;
}

static intptr_t within_a_limit_then_on(void *unused) {
    (void)unused;
    cr_expect_eq(rota_timeout(100, return_arg, (void *)1), 1);
    return wait_forever(NULL);
}

/* The limit that was left has no say any more: it is no timeout that the cancellation becomes. */
Task_test(races, cancelled_after_a_limit_was_left) {
    rota_task *task = started(within_a_limit_then_on, NULL);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), -ECANCELED);
    return 0;
}

/* Once cancelled, a limit of its own makes no timeout of the refusal: what refused was the cancellation. */
Task_test(races, a_limit_of_nothing_inside_what_was_cancelled_before) {
    rota_scope outer;
    rota_scope_begin(&outer);
    rota_scope_cancel(&outer, NULL);
    cr_expect_eq(rota_timeout(0, sleep_10, NULL), -ECANCELED);
    cr_expect_eq(rota_timeout(50, sleep_10, NULL), -ECANCELED);
    cr_expect_eq(rota_scope_end(&outer, -ECANCELED), -ECANCELED);
    cr_expect(!refused());
    return 0;
}

static intptr_t cleans_up_within_10(void *unused) {
    (void)unused;
    cr_expect_eq(rota_sleep(50), -ECANCELED);
    cr_expect_eq(rota_timeout(10, sleep_10, NULL), -ECANCELED, "refused at once");
    int64_t begun = rota_now();
    cr_expect_eq(rota_shield(5, wait_forever, NULL), -ETIMEDOUT, "a shield waits, as long as it says");
    cr_expect_eq(since(begun), 5);
    return -ECANCELED;
}

Task_test(races, a_limit_in_the_cleanup_of_an_expired_one) {
    cr_expect_eq(rota_timeout(20, cleans_up_within_10, NULL), -ETIMEDOUT);
    return 0;
}

static intptr_t swallows(void *unused) {
    (void)unused;
    cr_expect_eq(rota_sleep(10), -ECANCELED);
    return 42;
}

static intptr_t under_a_limit_that_is_not_reached(void *unused) {
    (void)unused;
    intptr_t v = rota_timeout(100, swallows, NULL);
    return v * 10 + refused();
}

Task_test(races, a_body_that_completes_though_its_task_was_cancelled) {
    rota_task *task = started(under_a_limit_that_is_not_reached, NULL);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), 421, "the limit gives its value on; the cancellation stays");
    return 0;
}

/* ---- groups ---- */

static intptr_t fail_at(void *ns) { return rota_sleep((intptr_t)ns) == 0 ? -EIO : -ECANCELED; }

static intptr_t fails_when_told(void *unused) { return wait_forever(unused) == -ECANCELED ? -EINVAL : 0; }

static void child(rota_group *group, rota_fn *fn, void *arg) {
    cr_expect_eq(rota_spawn(NULL, fn, arg, &(rota_spawn_options){ .group = group }), 0);
}

static intptr_t group_whose_child_fails_on_its_way_out(void *unused) {
    rota_group group;
    (void)unused;
    rota_group_begin(&group, NULL);
    child(&group, fails_when_told, NULL);
    intptr_t v = rota_group_end(&group, 0);
    return v == -EINVAL && refused() ? 1 : v;
}

/* Cancelled first, and the child's failure comes of that: it outranks it still, and the cancellation comes next. */
Task_test(races, a_child_that_fails_because_the_owner_was_cancelled) {
    rota_task *task = started(group_whose_child_fails_on_its_way_out, NULL);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), 1);
    return 0;
}

Task_test(races, body_and_child_both_fail) {
    rota_group group;
    rota_group_begin(&group, NULL);
    child(&group, fail_at, (void *)5);
    intptr_t v = rota_sleep(10) == -ECANCELED ? -EINVAL : 0; /* because of the child */
    cr_expect_eq(rota_group_end(&group, v), -EIO, "the first one counts");
    rota_group_begin(&group, NULL);
    child(&group, fails_when_told, NULL);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_group_end(&group, -ENOENT), -ENOENT, "also when it is the body");
    cr_expect(!refused());
    return 0;
}

/* The inner group is cut short by the outer one's failure; nothing of it is a failure of its own. */
Task_test(races, nested_groups_and_the_outer_one_fails) {
    rota_group outer, inner;
    rota_group_begin(&outer, NULL);
    child(&outer, fail_at, (void *)5);
    rota_group_begin(&inner, NULL);
    child(&inner, wait_forever, NULL);
    intptr_t v = rota_group_end(&inner, 3);
    cr_expect_eq(v, 3, "its body had completed");
    cr_expect(refused());
    cr_expect_eq(rota_group_end(&outer, v), -EIO);
    cr_expect(!refused());
    return 0;
}

Task_test(races, nested_groups_and_the_inner_one_fails) {
    rota_group outer, inner;
    int64_t begun = rota_now();
    rota_group_begin(&outer, NULL);
    child(&outer, wait_forever, NULL);
    rota_group_begin(&inner, NULL);
    child(&inner, fail_at, (void *)5);
    intptr_t v = rota_group_end(&inner, 0);
    cr_expect_eq(v, -EIO);
    cr_expect(!refused(), "the outer one is not cancelled by that");
    cr_expect_eq(rota_group_end(&outer, v), -EIO, "but by what its body makes of it");
    cr_expect_eq(since(begun), 5);
    return 0;
}

static intptr_t group_in_a_group(void *unused) {
    rota_group outer, inner;
    (void)unused;
    rota_group_begin(&outer, NULL);
    child(&outer, fail_at, (void *)5);
    rota_group_begin(&inner, NULL);
    child(&inner, fail_at, (void *)5);
    intptr_t v = rota_group_end(&inner, rota_sleep(50));
    v = rota_group_end(&outer, v);
    return v == -EIO && refused() ? 1 : v;
}

/* Children of both fail, and the owner is cancelled from outside, all in one turn. */
Task_test(races, nested_groups_that_fail_in_the_turn_of_a_cancellation) {
    for (int cancel_first = 0; cancel_first < 2; cancel_first++) {
        struct deed deed;
        rota_task *task;
        cr_expect_eq(rota_spawn(&task, group_in_a_group, NULL, NULL), 0);
        if (cancel_first)
            at(5, &deed, cancel_it, task);
        cr_expect_eq(rota_yield(), 0);
        cr_expect_eq(rota_yield(), 0);
        if (!cancel_first)
            at(5, &deed, cancel_it, task);
        /* Cancelled first: the children were woken by it, and obeyed, before they could fail. */
        intptr_t v = outcome_of(task);
        cr_expect_eq(v, cancel_first ? -ECANCELED : 1, "%ld", (long)v);
    }
    return 0;
}

static intptr_t cancels_the_owner(void *owner) {
    cr_expect_eq(rota_cancel(owner, "by a child"), 0);
    return refused() ? 5 : -1;
}

static intptr_t owner_of_one_that_cancels_it(void *unused) {
    rota_group group;
    (void)unused;
    rota_group_begin(&group, NULL);
    child(&group, cancels_the_owner, rota_self());
    intptr_t v = rota_group_end(&group, 4);
    return v * 10 + refused();
}

Task_test(races, a_child_that_cancels_the_owner_is_cancelled_with_it) {
    rota_task *task = started(owner_of_one_that_cancels_it, NULL);
    cr_expect_eq(outcome_of(task), 41);
    return 0;
}

static rota_group *open_group;
static int spawned_late;

static intptr_t late_child(void *unused) {
    (void)unused;
    int rc = rota_sleep(5);
    spawned_late += rc == 0;
    return rc;
}

static intptr_t spawns_late(void *future) {
    intptr_t v = await_it(future);
    child(open_group, late_child, NULL);
    return v;
}

/* The owner has been woken by the last child, and has not run yet. */
Task_test(races, spawned_between_the_last_child_and_the_owner) {
    rota_future future = { 0 };
    rota_group group;
    spawned_late = 0;
    open_group = &group;
    rota_group_begin(&group, NULL);
    child(&group, await_it, &future);      /* wakes the owner as it ends, */
    cr_expect_eq(rota_yield(), 0);
    rota_task *late = started(spawns_late, &future); /* and this one runs in between */
    struct deed deed;
    at(5, &deed, set_it, &future);
    cr_expect_eq(rota_group_end(&group, 0), 0);
    cr_expect_eq(spawned_late, 1, "it was waited for");
    cr_expect_eq(outcome_of(late), 7);
    return 0;
}

static intptr_t owner_of_one(void *future) {
    rota_group group;
    rota_group_begin(&group, NULL);
    child(&group, await_it, future);
    intptr_t v = rota_group_end(&group, 6);
    return v * 10 + refused();
}

Task_test(races, cancelled_after_the_last_child_has_ended) {
    rota_future future = { 0 };
    rota_task *task = started(owner_of_one, &future);
    cr_expect_eq(rota_yield(), 0);
    set_it(&future);
    cr_expect_eq(rota_yield(), 0); /* the child ends, the owner is ready */
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), 61);
    return 0;
}

static int alive, hydras;

static intptr_t hydra(void *unused) {
    (void)unused;
    alive++;
    hydras++;
    int rc = rota_sleep(10);
    if (rc == 0) {
        child(open_group, hydra, NULL);
        child(open_group, hydra, NULL);
    }
    alive--;
    return rc;
}

/* Children that are spawned into a group that has failed start cancelled, so it ends. */
Task_test(races, children_that_spawn_children_until_one_fails) {
    rota_group group;
    alive = hydras = 0;
    open_group = &group;
    rota_group_begin(&group, NULL);
    child(&group, hydra, NULL);
    child(&group, fail_at, (void *)40); /* in the turn in which the fifth generation is spawned */
    cr_expect_eq(rota_group_end(&group, 0), -EIO);
    cr_expect_eq(alive, 0);
    cr_expect_geq(hydras, 15);
    return 0;
}

static intptr_t counts_its_calls(void *n) {
    *(int *)n = rota_yield();
    return 0;
}

Task_test(races, an_eager_child_of_a_cancelled_group_is_refused_at_once) {
    rota_group group;
    int rc = 1;
    rota_group_begin(&group, NULL);
    rota_scope_cancel(&group.scope, NULL);
    cr_expect_eq(rota_spawn(NULL, counts_its_calls, &rc, &(rota_spawn_options){ .group = &group, .eager = true }), 0);
    cr_expect_eq(rc, -ECANCELED, "before spawn returned");
    cr_expect_eq(rota_group_end(&group, 0), 0);
    return 0;
}

/* ---- gather, wait, shield ---- */

static intptr_t cancels_itself(void *unused) {
    (void)unused;
    cr_expect_eq(rota_cancel(rota_self(), "itself"), 0);
    return rota_sleep(5);
}

/* Whoever obeys its own cancellation fails nobody; the slot tells. */
Task_test(races, a_gathered_call_that_is_cancelled_alone) {
    rota_call calls[2] = { { .fn = cancels_itself }, { .fn = sleep_10 } };
    cr_expect_eq(rota_gather(calls, 2, NULL), 0);
    cr_expect_eq(calls[0].result, -ECANCELED);
    cr_expect_eq(calls[1].result, 0);
    return 0;
}

static intptr_t gathers_two(void *unused) {
    rota_call calls[2] = { { .fn = sleep_10 }, { .fn = sleep_10 } };
    (void)unused;
    int rc = rota_gather(calls, 2, NULL);
    return rc < 0 ? rc : (calls[0].result == 0) + (calls[1].result == 0);
}

static intptr_t shields_a_gathering(void *unused) {
    (void)unused;
    intptr_t v = rota_shield(100, gathers_two, NULL);
    return v * 10 + refused();
}

Task_test(races, what_is_gathered_inside_a_shield_is_not_cancelled) {
    rota_task *task = started(shields_a_gathering, NULL);
    cr_expect_eq(rota_sleep(5), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), 21);
    return 0;
}

static intptr_t shields_one(void *unused) {
    rota_call calls[2] = { { .fn = shields_a_gathering }, { .fn = sleep_10 } };
    (void)unused;
    int rc = rota_gather(calls, 2, NULL);
    cr_expect_eq(calls[0].result, 21, "%ld: it had its time", (long)calls[0].result);
    cr_expect_eq(calls[1].result, -ECANCELED);
    return rc;
}

Task_test(races, a_gathered_call_that_shields_itself) {
    int64_t begun = rota_now();
    rota_task *task = started(shields_one, NULL);
    cr_expect_eq(rota_sleep(5), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), -ECANCELED);
    cr_expect_eq(since(begun), 10, "and was waited for");
    return 0;
}

static intptr_t shields_a_sleep(void *unused) {
    (void)unused;
    intptr_t v = rota_shield(10, sleep_10, NULL);
    return v < 0 ? v : refused();
}

/* The shield's bound, the end of what is in it, and a cancellation: all at the same time. */
Task_test(races, a_shield_whose_bound_comes_with_the_end_and_a_cancellation) {
    struct deed deed;
    rota_task *task = started(shields_a_sleep, NULL);
    at(10, &deed, cancel_it, task);
    cr_expect_eq(outcome_of(task), 1, "completed; the cancellation is next");
    return 0;
}

Task_test(races, a_task_that_ends_at_the_limit_of_a_wait) {
    size_t done = 9;
    rota_task *task = started(sleep_10, NULL);
    cr_expect_eq(rota_wait(&task, 1, ROTA_ALL, 10, &done), 0);
    cr_expect(done == 1 || !rota_task_done(task), "what had ended is counted");
    cr_expect_eq(outcome_of(task), 0);
    return 0;
}

Task_test(races, a_wait_for_the_first_error_that_is_there_already) {
    size_t done = 0;
    rota_task *tasks[2] = { started(wait_forever, NULL), started(fail_at, (void *)1) };
    cr_expect_eq(rota_sleep(5), 0);
    int64_t begun = rota_now();
    cr_expect_eq(rota_wait(tasks, 2, ROTA_FIRST_ERROR, ROTA_FOREVER, &done), 0);
    cr_expect_eq(done, 1u);
    cr_expect_eq(since(begun), 0);
    cr_expect_eq(rota_cancel(tasks[0], NULL), 0);
    cr_expect_eq(outcome_of(tasks[0]), -ECANCELED);
    cr_expect_eq(outcome_of(tasks[1]), -EIO);
    return 0;
}

/* ---- queues, barriers, semaphores: handed over, and then something else happens in the same turn ---- */

Task_test(races, handed_an_item_then_the_queue_is_closed) {
    for (int closed_first = 0; closed_first < 2; closed_first++) {
        int item = 5;
        ROTA_QUEUE_INIT(&queue, items);
        rota_task *task = started(get_it, NULL);
        if (closed_first)
            rota_queue_close(&queue);
        cr_expect_eq(rota_queue_try_put(&queue, &item), closed_first ? -ESHUTDOWN : 0);
        if (!closed_first)
            rota_queue_close(&queue);
        cr_expect_eq(outcome_of(task), closed_first ? -ESHUTDOWN : 5);
    }
    return 0;
}

Task_test(races, two_items_for_one_who_waits) {
    int item = 5;
    ROTA_QUEUE_INIT(&queue, items);
    rota_task *task = started(get_it, NULL);
    put_it(&item);
    item = 6;
    put_it(&item);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(outcome_of(task), 5);
    cr_expect_eq(rota_queue_size(&queue), 1u);
    cr_expect_eq(get_it(NULL), 6, "the second was never its");
    return 0;
}

static intptr_t gets_then_waits(void *unused) {
    intptr_t v = get_it(unused);
    return v < 0 ? v : v * 10 + refused();
}

/* Three wait; an item is put, the first of them is cancelled, and another item is put. */
Task_test(races, items_and_a_cancellation_in_between) {
    int five = 5, six = 6;
    rota_task *tasks[3];
    ROTA_QUEUE_INIT(&queue, items);
    for (int i = 0; i < 3; i++)
        tasks[i] = started(gets_then_waits, NULL);
    cr_expect_eq(rota_cancel(tasks[1], NULL), 0);
    put_it(&five);
    cr_expect_eq(rota_cancel(tasks[0], NULL), 0);
    put_it(&six);
    cr_expect_eq(outcome_of(tasks[0]), 51);
    cr_expect_eq(outcome_of(tasks[1]), -ECANCELED);
    cr_expect_eq(outcome_of(tasks[2]), 60);
    return 0;
}

static rota_barrier barrier;

static intptr_t meets(void *unused) {
    (void)unused;
    return rota_barrier_wait(&barrier);
}

Task_test(races, a_barrier_that_is_reset_in_the_turn_in_which_it_opens) {
    for (int reset_first = 0; reset_first < 2; reset_first++) {
        cr_expect_eq(rota_barrier_init(&barrier, 2), 0);
        rota_task *task = started(meets, NULL);
        if (reset_first)
            cr_expect_eq(rota_barrier_reset(&barrier), 0);
        rota_task *last = started(meets, NULL);
        if (!reset_first)
            cr_expect_eq(rota_barrier_reset(&barrier), 0, "nobody stands there any more");
        else
            cr_expect_eq(rota_barrier_wait(&barrier), 1, "a new round");
        cr_expect_eq(outcome_of(task), reset_first ? -EPIPE : 0);
        cr_expect_eq(outcome_of(last), reset_first ? 0 : 1);
    }
    return 0;
}

static rota_sem sem;

static intptr_t takes_a_permit(void *unused) {
    (void)unused;
    int rc = rota_sem_acquire(&sem);
    return rc < 0 ? rc : refused();
}

/* A permit comes, its receiver is cancelled, and a newcomer tries to get in between. */
Task_test(races, a_permit_a_cancellation_and_a_newcomer) {
    rota_sem_init(&sem, 0, 2);
    rota_task *first = started(takes_a_permit, NULL), *second = started(takes_a_permit, NULL);
    cr_expect_eq(rota_sem_release(&sem), 0);
    cr_expect_eq(rota_cancel(first, NULL), 0);
    cr_expect_eq(rota_sem_try_acquire(&sem), -EAGAIN, "it has an owner, and others wait");
    cr_expect_eq(rota_sem_release(&sem), 0);
    cr_expect_eq(outcome_of(first), 1, "has it, and is refused next");
    cr_expect_eq(outcome_of(second), 0);
    cr_expect_eq(rota_sem_value(&sem), 0u);
    return 0;
}

static rota_mutex mutex;

static intptr_t locks_and_tells(void *unused) {
    (void)unused;
    int rc = rota_mutex_lock(&mutex);
    note(rc == 0 ? 'l' : 'c');
    bool late = rc == 0 && refused();
    if (rc == 0)
        rota_mutex_unlock(&mutex);
    return rc < 0 ? rc : late;
}

/* The owner unlocks and would lock again at once, while the one it was handed to is cancelled. */
Task_test(races, unlocked_handed_over_cancelled_and_wanted_back) {
    memset(&mutex, 0, sizeof mutex);
    cr_expect_eq(rota_mutex_lock(&mutex), 0);
    rota_task *first = started(locks_and_tells, NULL), *second = started(locks_and_tells, NULL);
    cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    cr_expect_eq(rota_cancel(first, NULL), 0);
    cr_expect_eq(rota_mutex_try_lock(&mutex), -EAGAIN);
    cr_expect_eq(rota_mutex_lock(&mutex), 0);
    note('m');
    cr_expect_eq(rota_mutex_unlock(&mutex), 0);
    cr_expect_eq(outcome_of(first), 1);
    cr_expect_eq(outcome_of(second), 0);
    cr_expect_str_eq(trace, "llm", "%s: in the order in which they came", trace);
    return 0;
}
