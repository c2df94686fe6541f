/* Tickers: timers that repeat without drifting. Offers rota_ticker_init, _start, _stop.
 *
 * Invariant: next_ is the deadline that comes next, and always start + k * period_. It is moved on from itself, never
 * from the time at which the callback ran: lateness is not handed on. It knows nothing but timers.
 */
#include "reactor/loop.h"

/* Periods that have ended by now, of which the first ended at next. At least 1: a timer never fires early. */
static uint64_t ended(int64_t next, int64_t now, int64_t period) {
    return ((uint64_t)now - (uint64_t)next) / (uint64_t)period + 1;
}

static void tick(rota_timer *timer, void *arg) {
    rota_ticker *ticker = arg;
    rota_loop *loop = rota__current;
    uint64_t periods = ended(ticker->next_, loop->now, ticker->period_);
    /* In two steps, of which only the second can leave the range of time: the first ends at or before now. */
    ticker->next_ += (int64_t)(periods - 1) * ticker->period_;
    ticker->next_ = rota__time_add(ticker->next_, ticker->period_);
    /* Before the call, which may stop it, start it anew or free it. */
    rota__loop_arm(loop, timer, ticker->next_);
    ticker->fn(ticker, periods, ticker->arg);
}

void rota_ticker_init(rota_ticker *ticker, void (*fn)(rota_ticker *ticker, uint64_t periods, void *arg), void *arg) {
    if (!ticker)
        return;
    rota_timer_init(&ticker->timer_, tick, ticker);
    ticker->period_ = ticker->next_ = 0;
    ticker->fn = fn;
    ticker->arg = arg;
}

int rota_ticker_start(rota_loop *loop, rota_ticker *ticker, int64_t period) {
    int rc = rota__loop_check(loop);
    if (rc < 0)
        return rc;
    if (!ticker || !ticker->fn || period <= 0)
        return -EINVAL;
    ticker->period_ = period;
    ticker->next_ = rota__time_add(rota__loop_clock(loop), period);
    rota__loop_arm(loop, &ticker->timer_, ticker->next_);
    return 0;
}

int rota_ticker_stop(rota_loop *loop, rota_ticker *ticker) {
    return rota_timer_stop(loop, ticker ? &ticker->timer_ : NULL);
}
