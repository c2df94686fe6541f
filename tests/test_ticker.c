/* Timers that repeat without drifting. */
#include "tests/support.h"

#include "reactor/loop.h"

/* What a ticker saw, and what it does. */
struct seen {
    int64_t at[16];
    uint64_t periods[16];
    int n, stop_after;
    int64_t work, restart;
};

static void on_tick(rota_ticker *ticker, uint64_t periods, void *arg) {
    struct seen *s = arg;
    rota_loop *loop = rota_loop_current();
    if (s->n < 16) {
        s->at[s->n] = rota_loop_now(loop);
        s->periods[s->n] = periods;
    }
    s->n++;
    loop->now += s->work; /* the virtual clock: as if the callback had worked so long */
    if (s->restart) {
        cr_expect_eq(rota_ticker_start(loop, ticker, s->restart), 0);
        s->restart = 0;
    }
    if (s->n >= s->stop_after)
        cr_expect_eq(rota_ticker_stop(loop, ticker), 0);
}

static int64_t start(rota_loop *loop, rota_ticker *ticker, struct seen *s, int64_t period) {
    rota_ticker_init(ticker, on_tick, s);
    cr_assert_eq(rota_ticker_start(loop, ticker, period), 0);
    return rota_loop_now(loop);
}

Test(ticker, ticks_at_multiples_of_its_period_until_stopped) {
    rota_loop *loop = open_loop();
    rota_ticker ticker;
    struct seen s = { .stop_after = 4 };
    int64_t t0 = start(loop, &ticker, &s, 10 * ROTA_MS);
    cr_assert_eq(rota_loop_run(loop), 0);
    cr_expect_eq(s.n, 4, "and the loop has nothing left");
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(s.at[i] - t0, (i + 1) * 10 * ROTA_MS);
        cr_expect_eq(s.periods[i], 1u);
    }
    close_loop(loop);
}

Test(ticker, slow_callbacks_do_not_make_it_drift_nor_burst) { /* D06 */
    rota_loop *loop = open_loop();
    rota_ticker ticker;
    struct seen s = { .stop_after = 4, .work = 25 * ROTA_MS };
    const uint64_t periods[] = { 1, 2, 3, 2 };   /* called at 10, 35, 60, 85 */
    int64_t t0 = start(loop, &ticker, &s, 10 * ROTA_MS), sum = 0;
    cr_assert_eq(rota_loop_run(loop), 0);
    cr_expect_eq(s.n, 4);
    for (int i = 0; i < 4; i++) {
        sum += (int64_t)s.periods[i];
        cr_expect_eq(s.periods[i], periods[i]);
        cr_expect_eq((s.at[i] - t0) / (10 * ROTA_MS), sum, "every period is told once: call %d", i);
    }
    close_loop(loop);
}

Test(ticker, a_little_late_is_not_handed_on) {
    rota_loop *loop = open_loop();
    rota_ticker ticker;
    struct seen s = { .stop_after = 5, .work = 3 * ROTA_MS };
    int64_t t0 = start(loop, &ticker, &s, 10 * ROTA_MS);
    cr_assert_eq(rota_loop_run(loop), 0);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(s.at[i] - t0, (i + 1) * 10 * ROTA_MS);
    close_loop(loop);
}

Test(ticker, a_step_of_the_clock_is_one_call) { /* D08 */
    rota_loop *loop = open_loop();
    rota_ticker ticker;
    struct seen s = { .stop_after = 2 };
    int64_t t0 = start(loop, &ticker, &s, ROTA_S);
    loop->now += 100 * 86400 * ROTA_S;
    cr_assert_eq(rota_loop_run(loop), 0);
    cr_expect_eq(s.n, 2);
    cr_expect_eq(s.periods[0], 100u * 86400u);
    cr_expect_eq(s.at[1] - t0, (100 * 86400 + 1) * ROTA_S);
    close_loop(loop);
}

Test(ticker, started_anew_counts_from_then) {
    rota_loop *loop = open_loop();
    rota_ticker ticker;
    struct seen s = { .stop_after = 3, .restart = 7 * ROTA_MS };
    int64_t t0 = start(loop, &ticker, &s, ROTA_S);
    cr_assert_eq(rota_ticker_start(loop, &ticker, 10 * ROTA_MS), 0);
    cr_assert_eq(rota_loop_run(loop), 0);
    cr_expect_eq(s.at[0] - t0, 10 * ROTA_MS);
    cr_expect_eq(s.at[1] - t0, 17 * ROTA_MS);
    cr_expect_eq(s.at[2] - t0, 24 * ROTA_MS);
    close_loop(loop);
}

static void stop_other(rota_timer *timer, void *other) {
    (void)timer;
    cr_expect_eq(rota_ticker_stop(rota_loop_current(), other), 0);
}

Test(ticker, stopped_by_somebody_due_before_it_in_the_same_turn) { /* D02 */
    rota_loop *loop = open_loop();
    rota_ticker ticker;
    rota_timer timer;
    struct seen s = { .stop_after = 99 };
    rota_timer_init(&timer, stop_other, &ticker);
    cr_assert_eq(rota_timer_start(loop, &timer, 10 * ROTA_MS), 0);
    (void)start(loop, &ticker, &s, 10 * ROTA_MS);
    cr_assert_eq(rota_loop_run(loop), 0);
    cr_expect_eq(s.n, 0);
    close_loop(loop);
}

Test(ticker, the_longest_period_saturates) {
    rota_loop *loop = open_loop();
    rota_ticker ticker;
    struct seen s = { .stop_after = 99 };
    (void)start(loop, &ticker, &s, INT64_MAX);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
    cr_expect_eq(s.n, 0);
    cr_expect_eq(ticker.next_, ROTA_FOREVER);
    cr_expect_eq(rota_ticker_stop(loop, &ticker), 0);
    close_loop(loop);
}

Test(ticker, left_started_at_close) {
    rota_loop *loop = open_loop();
    rota_ticker ticker;
    struct seen s = { .stop_after = 99 };
    (void)start(loop, &ticker, &s, ROTA_S);
    close_loop(loop);
    cr_expect_eq(s.n, 0);
}

Test(ticker, mistakes) {
    rota_loop *loop = open_loop();
    rota_ticker ticker, without;
    struct seen s = { 0 };
    rota_ticker_init(&ticker, on_tick, &s);
    rota_ticker_init(&without, NULL, NULL);
    cr_expect_eq(rota_ticker_start(loop, &ticker, 0), -EINVAL);
    cr_expect_eq(rota_ticker_start(loop, &ticker, -1), -EINVAL);
    cr_expect_eq(rota_ticker_start(loop, NULL, 1), -EINVAL);
    cr_expect_eq(rota_ticker_start(loop, &without, 1), -EINVAL);
    cr_expect_eq(rota_ticker_start(NULL, &ticker, 1), -EINVAL);
    cr_expect_eq(rota_ticker_stop(loop, NULL), -EINVAL);
    cr_expect_eq(rota_ticker_stop(loop, &ticker), 0, "also when it was not started");
    cr_assert_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_ticker_start(loop, &ticker, 1), -ESHUTDOWN);
    close_loop(loop);
}
