/* Random operations on the timers' set, against a sorted array.
 *
 * ROTA_MODEL_OPS: how many operations (1,000,000). ROTA_MODEL_SEED: repeats a run that failed. The run is cut
 * into epochs of 5,000 operations, each with a loop age, a crowd and a mix of distances of its own: mistakes
 * hide where slots of different levels meet, and where many timers share one.
 */
#include "reactor/timers.h"
#include "tests/harness.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TICK (INT64_C(1) << ROTA__TICK_SHIFT)

enum { MOST = 400, EPOCH = 5000, CHECK_EVERY = 16 };

static uint64_t seed, random_state;
static uint64_t operation;
static bool no_memory;

#define must(condition, text) \
    cr_assert(condition, "%s; ROTA_MODEL_SEED=%" PRIu64 ", operation %" PRIu64, text, seed, operation)

static uint64_t random_number(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t below(uint64_t n) { return random_number() % n; }

static void *test_alloc(void *ctx, void *old, size_t old_n, size_t n) {
    (void)ctx, (void)old_n;
    if (n == 0) {
        free(old);
        return NULL;
    }
    return no_memory ? NULL : realloc(old, n);
}

static const rota_allocator allocator = { .alloc = test_alloc };

/* ---- the model: what is armed, sorted by (deadline, order of arming) ---------------------------- */

struct entry {
    int64_t deadline;
    uint64_t order;
    rota_timer *timer;
};

static struct entry model[MOST];
static size_t model_n;
static uint64_t model_order;

static size_t model_find(const rota_timer *timer) {
    size_t i = 0;
    while (i < model_n && model[i].timer != timer)
        i++;
    return i;
}

static void model_remove(size_t i) {
    memmove(&model[i], &model[i + 1], (--model_n - i) * sizeof *model);
}

static void model_arm(rota_timer *timer, int64_t when) {
    size_t i = model_find(timer);
    if (i < model_n)
        model_remove(i);
    for (i = model_n; i > 0 && model[i - 1].deadline > when; i--)
        model[i] = model[i - 1];
    model[i] = (struct entry){ when, model_order++, timer };
    model_n++;
}

static rota_timer *model_pop(int64_t now, uint64_t limit) {
    for (size_t i = 0; i < model_n && model[i].deadline <= now && model[i].deadline != ROTA_FOREVER; i++)
        if (model[i].order < limit) {
            rota_timer *timer = model[i].timer;
            model_remove(i);
            return timer;
        }
    return NULL;
}

static int64_t model_next(void) { return model_n > 0 ? model[0].deadline : ROTA_FOREVER; }

/* ---- both, side by side ------------------------------------------------------------------------- */

static struct rota__timers ts;
static rota_timer timers[MOST];
static int64_t now;
static size_t crowd;      /* how many of the timers take part in this epoch, */
static unsigned reach;    /* and how many bits of a time are at most random */

static int64_t plus(int64_t a, int64_t b) {
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? ROTA_FOREVER : sum;
}

/* A time to start a timer for: near or far, often on an edge, often equal to another one. */
static int64_t some_time(void) {
    int64_t span = (int64_t)(random_number() >> (63 - below(reach)) >> 1);

    switch (below(16)) {
    case 0:
        return now;
    case 1:
        return now < INT64_MIN + span ? INT64_MIN : now - span;
    case 2:
    case 3:
        return model_n > 0 ? model[below(model_n)].deadline : now;
    case 4: /* the edge of a slot of some level */
        return plus(plus(now, span) & -(TICK << 6 * below(5)), (int64_t)below(3) - 1);
    case 5:
        return below(8) ? plus(now, 30 * ROTA_S) : ROTA_FOREVER - (int64_t)below(2);
    case 6:
    case 7:
        return plus(now, (int64_t)below(3 * TICK));
    default:
        return plus(now, span);
    }
}

/* How far the wheel may run ahead, when the next deadline is asked for. */
static int64_t some_until(void) {
    switch (below(4)) {
    case 0:
        return ROTA_FOREVER;
    case 1:
        return plus(now, (int64_t)(random_number() >> (63 - below(reach)) >> 1));
    default:
        return now;
    }
}

static void arm_one(void) {
    rota_timer *timer = &timers[below(crowd)];
    int64_t when = some_time();
    rota__timers_arm(&ts, timer, when);
    model_arm(timer, when);
}

static void disarm_one(void) {
    rota_timer *timer = &timers[below(crowd)];
    size_t i = model_find(timer);
    must(rota_timer_active(timer) == (i < model_n), "active is wrong");
    rota__timers_disarm(&ts, timer);
    if (i < model_n)
        model_remove(i);
}

/* Step 4 of a turn, with callbacks that start and stop timers; now and then it is left early. */
static void step(void) {
    uint64_t limit = rota__timers_order(&ts), model_limit = model_order;
    unsigned busy = (unsigned)below(3);
    rota_timer *timer, *expected;

    do {
        if (below(100) == 0)
            must(rota__timers_next(&ts, some_until()) == model_next(), "next within a step");
        timer = rota__timers_pop(&ts, now, limit);
        expected = model_pop(now, model_limit);
        must(timer == expected, "pop");
        if (!timer && (model_n == 0 || model[0].deadline > now))
            must(rota__timers_wake(&ts) > now || now == ROTA_FOREVER, "after a step, wake is not after now");
        if (timer)
            must(!rota_timer_active(timer), "popped, and still active");
        if (timer && busy > 0 && below(2) == 0)
            arm_one();
        if (timer && busy > 1 && below(3) == 0)
            disarm_one();
        if (timer && below(200) == 0)
            return;
    } while (timer);
}

static void advance(void) {
    int64_t next = model_next();

    switch (below(8)) {
    case 0:
        break;
    case 1:
    case 2: /* to the next deadline, or to just before it */
        if (next > now && next != ROTA_FOREVER)
            now = next - (int64_t)below(2);
        break;
    case 3: /* when the loop would wake */
        if (rota__timers_wake(&ts) > now)
            now = rota__timers_wake(&ts);
        break;
    case 4:
        now = plus(now, (int64_t)(random_number() >> (63 - below(reach)) >> 1));
        break;
    default:
        now = plus(now, (int64_t)below(2 * TICK));
        break;
    }
}

static void begin_epoch(void) {
    static const int64_t ages[] = { 0, 1, 1000 * ROTA_S, INT64_C(1) << 44, -5, INT64_MIN };

    rota__timers_clear(&ts);
    rota__timers_free(&ts);
    model_n = 0;
    crowd = 1 + below(below(2) ? MOST : 40);
    reach = (unsigned)(20 + below(below(2) ? 44 : 6));
    now = below(3) ? ages[below(sizeof ages / sizeof *ages)] : (int64_t)(random_number() >> (1 + below(40)));
    no_memory = below(3) == 0;
    rota__timers_init(&ts, &allocator, now);
    ts.next_is_asked = below(2) == 0;
}

static void operate(void) {
    switch (below(10)) {
    case 0:
    case 1:
        disarm_one();
        break;
    case 2:
        advance();
        step();
        break;
    case 3:
        if (below(4) == 0)
            no_memory = below(2) == 0;
        if (below(500) == 0) {
            rota__timers_clear(&ts);
            model_n = 0;
        }
        must(rota__timers_next(&ts, some_until()) == model_next(), "next");
        must(rota__timers_wake(&ts) == model_next(), "wake after next");
        break;
    default:
        arm_one();
        break;
    }
    must(rota__timers_count(&ts) == model_n, "count");
    must(rota__timers_wake(&ts) <= model_next(), "wake is after the first deadline");
}

Test(timers_model, random_operations, .timeout = 1500) {
    const char *ops = getenv("ROTA_MODEL_OPS"), *given = getenv("ROTA_MODEL_SEED");
    uint64_t n = ops ? strtoull(ops, NULL, 10) : 1000000;
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)t.tv_sec * 1000003 + (uint64_t)t.tv_nsec;
    random_state = seed | 1;
    rota__timers_init(&ts, &allocator, 0);
    for (operation = 0; operation < n; operation++) {
        if (operation % EPOCH == 0)
            begin_epoch();
        operate();
        if (operation % CHECK_EVERY == 0) {
            const char *wrong = rota__timers_check(&ts);
            must(!wrong, wrong ? wrong : "");
        }
    }
    rota__timers_clear(&ts);
    rota__timers_free(&ts);
}
