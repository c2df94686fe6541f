/* Random operations on the small profile's heap, against a sorted array: as test_timers_model.c does with the wheel.
 * ROTA_MODEL_OPS: how many (200,000); ROTA_MODEL_SEED: repeats a run that failed. */
#include "tests/small/kit.h"

#include <inttypes.h>
#include <stdlib.h>

#include "small/small.h"

enum { MOST = 300, EPOCH = 5000 };

static uint64_t seed, random_state, operation;

#define must(condition, text) \
    cr_assert(condition, "%s; ROTA_MODEL_SEED=%" PRIu64 ", operation %" PRIu64, text, seed, operation)

static uint64_t random_number(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t below(uint64_t n) { return random_number() % n; }

/* ---- the model: what is armed, sorted by (deadline, order of arming) ---- */

struct entry {
    int64_t deadline;
    rota_timer *timer;
};

static struct entry model[MOST];
static size_t model_n;

static size_t model_find(const rota_timer *timer) {
    size_t i = 0;
    while (i < model_n && model[i].timer != timer)
        i++;
    return i;
}

static void model_remove(size_t i) { memmove(&model[i], &model[i + 1], (--model_n - i) * sizeof *model); }

static void model_arm(rota_timer *timer, int64_t when) {
    size_t i = model_find(timer);
    if (i < model_n)
        model_remove(i);
    for (i = model_n; i > 0 && model[i - 1].deadline > when; i--)
        model[i] = model[i - 1];
    model[i] = (struct entry){ when, timer };
    model_n++;
}

/* ---- both, side by side ---- */

static rota_loop loop;
static rota_timer timers[MOST], *heap[MOST];
static size_t crowd;
static bool firing;

static int64_t some_time(void) {
    switch (below(8)) {
    case 0:
        return loop.now_ - (int64_t)below(1000);
    case 1:
        return model_n > 0 ? model[below(model_n)].deadline : loop.now_;
    case 2:
        return below(8) ? loop.now_ : below(2) ? ROTA_FOREVER : INT64_MIN;
    default:
        return loop.now_ + (int64_t)below(1 + (UINT64_C(1) << below(40)));
    }
}

static void arm_one(void) {
    rota_timer *timer = &timers[below(crowd)];
    int64_t when = some_time(), first = firing ? loop.now_ + 1 : 0;
    rota__timer_arm(&loop, timer, when);
    model_arm(timer, when > first ? when : first);
}

static void disarm_one(void) {
    rota_timer *timer = &timers[below(crowd)];
    size_t i = model_find(timer);
    must(rota_timer_active(timer) == (i < model_n), "active is wrong");
    rota__timer_disarm(&loop, timer);
    must(!rota_timer_active(timer), "stopped, and still active");
    if (i < model_n)
        model_remove(i);
}

static void fired(rota_timer *timer, void *arg) {
    (void)arg;
    must(model_n > 0 && model[0].timer == timer, "another one should fire");
    must(model[0].deadline <= loop.now_, "fired early");
    must(!rota_timer_active(timer), "fired, and still active");
    model_remove(0);
    for (uint64_t n = below(3); n > 0; n--)
        if (below(3))
            arm_one();
        else
            disarm_one();
}

static void step(void) {
    if (below(4) && model_n > 0 && model[0].deadline > loop.now_ && model[0].deadline != ROTA_FOREVER)
        loop.now_ = model[0].deadline - (int64_t)below(2);
    else
        loop.now_ += (int64_t)below(1000);
    firing = true;
    rota__timers_fire(&loop);
    firing = false;
    must(model_n == 0 || model[0].deadline > loop.now_, "one that is due has not fired");
}

static void check_heap(void) {
    must(loop.timers_ == model_n, "count");
    must(model_n == 0 || heap[0]->deadline_ == model[0].deadline, "next");
    for (unsigned i = 0; i < loop.timers_; i++) {
        must(heap[i]->place_ == i + 1, "a timer does not know its place");
        must(i == 0 || heap[(i - 1) / 2]->deadline_ <= heap[i]->deadline_, "no heap");
    }
}

static void begin_epoch(void) {
    while (model_n > 0) {
        rota__timer_disarm(&loop, model[0].timer);
        model_remove(0);
    }
    crowd = 1 + below(below(2) ? MOST : 12);
    loop.now_ = (int64_t)(random_number() >> (2 + below(40)));
    loop.sequence_ = (uint32_t)(below(2) ? 0 : -below(EPOCH)); /* it may wrap */
}

Test(small_timers_model, random_operations, .timeout = 300) {
    const char *ops = getenv("ROTA_MODEL_OPS"), *given = getenv("ROTA_MODEL_SEED");
    uint64_t n = ops ? strtoull(ops, NULL, 10) : 200000;
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)rota_now();
    random_state = seed | 1;
    loop.memory_.timers = heap;
    for (int i = 0; i < MOST; i++)
        rota_timer_init(&timers[i], fired, NULL);
    for (operation = 0; operation < n; operation++) {
        if (operation % EPOCH == 0)
            begin_epoch();
        switch (below(8)) {
        case 0:
            step();
            break;
        case 1:
        case 2:
            disarm_one();
            break;
        default:
            arm_one();
            break;
        }
        check_heap();
    }
}
