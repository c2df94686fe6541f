/* Running several calls at once: rota_gather_map, rota_race. */
#include "tests/support.h"

#include "rota/combine.h"

/* One entry for all: works for a time, then ends with a value; or, told to stop, with another. */
struct work {
    int64_t ns;
    intptr_t value;
    intptr_t when_cancelled;   /* 0: -ECANCELED */
    int64_t cleanup;           /* > 0: takes so long to stop */
    bool started, ended;
};

static intptr_t clean_up(void *ns) { return rota_sleep(*(int64_t *)ns); }

static intptr_t do_work(void *arg) {
    struct work *w = arg;
    w->started = true;
    intptr_t v = rota_sleep(w->ns);
    if (v == 0)
        v = w->value;
    else if (w->cleanup)
        (void)!rota_shield(ROTA_S, clean_up, &w->cleanup);
    if (v == -ECANCELED && w->when_cancelled)
        v = w->when_cancelled;
    w->ended = true;
    return v;
}

static intptr_t square(void *arg) {
    int n = *(int *)arg;
    int rc = rota_sleep((5 - n) * ROTA_MS);
    return rc < 0 ? rc : n * n;
}

/* ---- map ---- */

Task_test(map, results_are_in_the_order_of_the_array) {
    int n[5] = { 0, 1, 2, 3, 4 };
    intptr_t results[5] = { 0 };
    int64_t start = rota_now();
    cr_expect_eq(rota_gather_map(square, n, 5, sizeof *n, results, NULL), 0);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(results[i], i * i);
    cr_expect_eq(since(start), 5 * ROTA_MS, "all at once");
    return 0;
}

Task_test(map, with_a_wider_stride_or_none) {
    struct { int n; char rest[20]; } wide[2] = { { 2, "" }, { 3, "" } };
    intptr_t results[3] = { 0 };
    cr_expect_eq(rota_gather_map(square, wide, 2, sizeof *wide, results, NULL), 0);
    cr_expect(results[0] == 4 && results[1] == 9);
    cr_expect_eq(rota_gather_map(square, wide, 3, 0, results, NULL), 0);
    cr_expect_eq(results[2], 4);
    return 0;
}

Task_test(map, fails_fast) { /* B23 */
    struct work w[3] = { { .ns = ROTA_S }, { .ns = ROTA_MS, .value = -EIO }, { .value = 5 } };
    intptr_t results[3];
    int64_t start = rota_now();
    cr_expect_eq(rota_gather_map(do_work, w, 3, sizeof *w, results, NULL), -EIO);
    cr_expect(results[0] == -ECANCELED && results[1] == -EIO && results[2] == 5);
    cr_expect_eq(since(start), ROTA_MS);
    return 0;
}

Task_test(map, keeps_going) { /* B23 */
    struct work w[3] = { { .ns = ROTA_S, .value = 1 }, { .ns = ROTA_MS, .value = -EIO }, { .value = 5 } };
    intptr_t results[3];
    rota_gather_options opt = { .keep_going = true };
    cr_expect_eq(rota_gather_map(do_work, w, 3, sizeof *w, results, &opt), 0);
    cr_expect(results[0] == 1 && results[1] == -EIO && results[2] == 5);
    return 0;
}

static intptr_t map_without_results(void *unused) {
    (void)unused;
    struct work w[2] = { { .ns = ROTA_MS, .value = 1 }, { .ns = ROTA_MS, .value = -EIO } };
    rota_gather_options opt = { .keep_going = true };
    cr_expect_eq(rota_gather_map(do_work, w, 2, sizeof *w, NULL, NULL), -EIO);
    return rota_gather_map(do_work, w, 2, sizeof *w, NULL, &opt);
}

Test(map, without_results_failures_are_returned_or_reported) {
    intptr_t value = -1;
    cr_expect_eq(run_with(map_without_results, NULL, &value, NULL), 0);
    cr_expect_eq(value, 0);
    cr_expect_eq(reports_of(ROTA_REPORT_UNAWAITED), 1, "of the one that kept going");
}

Task_test(map, of_nothing_and_mistakes) {
    int n = 1;
    cr_expect_eq(rota_gather_map(square, NULL, 0, 4, NULL, NULL), 0);
    cr_expect_eq(rota_gather_map(NULL, &n, 1, 4, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_gather_map(square, NULL, 1, 4, NULL, NULL), -EINVAL);
    return 0;
}

/* A map that is cancelled from outside: by a timeout around it. */
static intptr_t map_in_time(struct work *w, size_t n, intptr_t *results, int64_t limit) {
    rota_scope scope;
    rota_timeout_begin(&scope, limit);
    return rota_scope_end(&scope, rota_gather_map(do_work, w, n, sizeof *w, results, NULL));
}

Task_test(map, cancelled_reaches_all_and_waits_for_all) { /* B23 */
    struct work w[2] = { { .ns = ROTA_S, .cleanup = 50 * ROTA_MS }, { .ns = ROTA_S } };
    int64_t start = rota_now();
    cr_expect_eq(map_in_time(w, 2, NULL, 10 * ROTA_MS), -ETIMEDOUT, "also without results to look at");
    cr_expect(w[0].ended && w[1].ended);
    cr_expect_eq(since(start), 60 * ROTA_MS);
    return 0;
}

Task_test(map, that_completed_all_the_same_is_not_cancelled) {
    struct work w[2] = { { .ns = ROTA_S, .when_cancelled = 7 }, { .ns = ROTA_MS, .value = 8 } };
    intptr_t results[2];
    cr_expect_eq(map_in_time(w, 2, results, 10 * ROTA_MS), 0);
    cr_expect(results[0] == 7 && results[1] == 8);
    struct work v = { .ns = ROTA_S, .when_cancelled = 7 };
    cr_expect_eq(map_in_time(&v, 1, NULL, 10 * ROTA_MS), 0);
    return 0;
}

Task_test(map, a_failure_outranks_the_cancellation) {
    struct work w[2] = { { .ns = ROTA_S, .when_cancelled = -EIO }, { .ns = ROTA_S } };
    cr_expect_eq(map_in_time(w, 2, NULL, 10 * ROTA_MS), -EIO);
    return 0;
}

static intptr_t map_with_two_task_limit(void *unused) {
    (void)unused;
    int n[3] = { 1, 2, 3 };
    intptr_t results[3] = { 0 };
    rota_gather_options keep = { .keep_going = true };
    cr_expect_eq(rota_gather_map(square, n, 3, sizeof *n, results, NULL), -EAGAIN);
    cr_expect(results[0] == -ECANCELED && results[1] == -ECANCELED && results[2] == -EAGAIN);
    cr_expect_eq(rota_gather_map(square, n, 3, sizeof *n, results, &keep), 0);
    cr_expect(results[0] == 1 && results[1] == 4 && results[2] == -EAGAIN);
    cr_expect_eq(rota_gather_map(square, n, 3, sizeof *n, NULL, &keep), -EAGAIN, "nothing else would tell");
    return 0;
}

Test(map, what_cannot_be_started) {
    rota_loop_options opt = test_options();
    opt.max_tasks = 3;
    cr_expect_eq(run_with(map_with_two_task_limit, NULL, NULL, &opt), 0);
}

/* ---- race ---- */

static int race(struct work *w, rota_call *calls, size_t n, size_t *winner) {
    for (size_t i = 0; i < n; i++)
        calls[i] = (rota_call){ do_work, &w[i], 77 };
    return rota_race(calls, n, winner);
}

Task_test(race, the_first_wins_and_the_others_are_cancelled) {
    struct work w[3] = { { .ns = ROTA_S, .value = 1 }, { .ns = ROTA_MS, .value = 2 }, { .ns = ROTA_S, .value = 3 } };
    rota_call calls[3];
    size_t winner = 9;
    int64_t start = rota_now();
    cr_expect_eq(race(w, calls, 3, &winner), 0);
    cr_expect_eq(winner, 1u);
    cr_expect(calls[0].result == -ECANCELED && calls[1].result == 2 && calls[2].result == -ECANCELED);
    cr_expect_eq(since(start), ROTA_MS);
    return 0;
}

Task_test(race, losers_are_waited_for) {
    struct work w[2] = { { .ns = ROTA_S, .cleanup = 50 * ROTA_MS }, { .ns = ROTA_MS, .value = 2 } };
    rota_call calls[2];
    int64_t start = rota_now();
    cr_expect_eq(race(w, calls, 2, NULL), 0);
    cr_expect(w[0].ended);
    cr_expect_eq(since(start), 51 * ROTA_MS);
    return 0;
}

Task_test(race, a_loser_that_had_something_is_told_as_completed) {
    struct work w[3] = { { .ns = ROTA_S, .when_cancelled = 42 }, { .ns = ROTA_MS, .value = 2 },
                         { .ns = ROTA_S, .when_cancelled = -EIO } };
    rota_call calls[3];
    size_t winner = 9;
    cr_expect_eq(race(w, calls, 3, &winner), 0);
    cr_expect_eq(winner, 1u);
    cr_expect(calls[0].result == 42 && calls[2].result == -EIO);
    return 0;
}

Task_test(race, two_in_one_turn_both_completed_and_the_first_won) {
    struct work w[2] = { { .ns = ROTA_MS, .value = 1 }, { .ns = ROTA_MS, .value = 2 } };
    rota_call calls[2];
    size_t winner = 9;
    cr_expect_eq(race(w, calls, 2, &winner), 0);
    cr_expect_eq(winner, 0u);
    cr_expect(calls[0].result == 1 && calls[1].result == 2);
    return 0;
}

Task_test(race, a_failure_is_no_victory) {
    struct work w[2] = { { .ns = ROTA_MS, .value = -EIO }, { .ns = 2 * ROTA_MS, .value = 2 } };
    rota_call calls[2];
    size_t winner = 9;
    cr_expect_eq(race(w, calls, 2, &winner), 0);
    cr_expect_eq(winner, 1u);
    cr_expect_eq(calls[0].result, -EIO);
    return 0;
}

Task_test(race, when_all_fail_the_first_failure_is_the_outcome) {
    struct work w[3] = { { .ns = 3 * ROTA_MS, .value = -EIO }, { .ns = ROTA_MS, .value = -ENOENT },
                         { .ns = 2 * ROTA_MS, .value = -EPIPE } };
    rota_call calls[3];
    size_t winner = 9;
    cr_expect_eq(race(w, calls, 3, &winner), -ENOENT);
    cr_expect_eq(winner, 1u);
    cr_expect(calls[0].result == -EIO && calls[2].result == -EPIPE);
    return 0;
}

static intptr_t race_in_time(struct work *w, rota_call *calls, size_t n, size_t *winner) {
    rota_scope scope;
    rota_timeout_begin(&scope, 10 * ROTA_MS);
    return rota_scope_end(&scope, race(w, calls, n, winner));
}

Task_test(race, cancelled_cancels_all_and_waits_for_all) {
    struct work w[2] = { { .ns = ROTA_S, .cleanup = ROTA_MS }, { .ns = ROTA_S } };
    rota_call calls[2];
    size_t winner = 9;
    cr_expect_eq(race_in_time(w, calls, 2, &winner), -ETIMEDOUT);
    cr_expect(w[0].ended && w[1].ended);
    cr_expect(calls[0].result == -ECANCELED && calls[1].result == -ECANCELED);
    cr_expect_eq(winner, 9u, "nobody");
    return 0;
}

Task_test(race, cancelled_after_a_failure_is_undecided) {
    struct work w[2] = { { .ns = ROTA_MS, .value = -EIO }, { .ns = ROTA_S } };
    rota_call calls[2];
    cr_expect_eq(race_in_time(w, calls, 2, NULL), -ETIMEDOUT);
    return 0;
}

Task_test(race, whoever_completes_after_all_wins_against_the_cancellation) {
    struct work w[2] = { { .ns = ROTA_S }, { .ns = ROTA_S, .when_cancelled = 5 } };
    rota_call calls[2];
    size_t winner = 9;
    cr_expect_eq(race_in_time(w, calls, 2, &winner), 0);
    cr_expect_eq(winner, 1u);
    return 0;
}

static intptr_t yield_and_return(void *value) {
    (void)!rota_yield();
    return (intptr_t)value;
}

Task_test(race, calls_that_do_not_wait_have_all_run) {
    rota_call calls[] = { { yield_and_return, (void *)1, 0 }, { return_arg, (void *)2, 0 }, { return_arg, (void *)3, 0 } };
    size_t winner = 9;
    cr_expect_eq(rota_race(calls, 3, &winner), 0);
    cr_expect_eq(winner, 1u);
    cr_expect_eq(calls[2].result, 3, "an entry always runs");
    return 0;
}

static intptr_t race_with_two_task_limit(void *unused) {
    (void)unused;
    struct work w[3] = { { .value = 1 }, { .ns = ROTA_S }, { .value = 3 } };
    rota_call calls[3];
    size_t winner = 9;
    cr_expect_eq(race(w, calls, 3, &winner), -EAGAIN);
    cr_expect(w[0].ended && w[1].ended && !w[2].started);
    cr_expect_eq(calls[2].result, -EAGAIN);
    return 0;
}

Test(race, what_cannot_be_started) {
    rota_loop_options opt = test_options();
    opt.max_tasks = 3;
    cr_expect_eq(run_with(race_with_two_task_limit, NULL, NULL, &opt), 0);
}

Task_test(race, mistakes) {
    rota_call call = { NULL, NULL, 0 };
    cr_expect_eq(rota_race(NULL, 1, NULL), -EINVAL);
    cr_expect_eq(rota_race(&call, 0, NULL), -EINVAL);
    cr_expect_eq(rota_race(&call, 1, NULL), -EINVAL);
    cr_expect_eq(call.result, -EINVAL);
    return 0;
}

Test(race, outside_of_a_task) {
    rota_loop *loop = open_loop();
    rota_call call = { return_arg, NULL, 0 };
    int n = 0;
    cr_expect_eq(rota_race(&call, 1, NULL), -EPERM);
    cr_expect_eq(rota_gather_map(square, &n, 1, 4, NULL, NULL), -EPERM);
    close_loop(loop);
}
