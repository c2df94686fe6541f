/* Generators: every sentence of rota/generator.h, and rows A1 to A3 of the tutorials (a writer that is fed, a
 * generator whose body waits, one that is left early). A body is part of the task that drives it, so what is checked
 * inside a body uses cr_expect. */
#include "rota/generator.h"

#include <pthread.h>

#include "tests/support.h"

/* ---- bodies ---- */

static intptr_t count_to(rota_gen *self, void *arg) {
    intptr_t n = *(const intptr_t *)arg;
    for (intptr_t i = 1; i <= n; i++) {
        int rc = rota_gen_yield(self, i, NULL);
        if (rc < 0)
            return rc;
    }
    return 100 + n;
}

/* Notes what it is sent ('a' + in) and what its yields return; ends with 7 when it is sent 25 ('z'). */
static intptr_t listener(rota_gen *self, void *unused) {
    (void)unused;
    note('<');
    for (intptr_t in = 0;;) {
        int rc = rota_gen_yield(self, in * 10, &in);
        if (rc < 0) {
            note('>');
            return rc;
        }
        note((char)('a' + in));
        if (in == 25)
            return 7;
    }
}

static intptr_t never(rota_gen *self, void *unused) {
    (void)self, (void)unused;
    note('!');
    return 0;
}

static intptr_t fails(rota_gen *self, void *error) {
    int rc = rota_gen_yield(self, 1, NULL);
    return rc < 0 ? rc : (intptr_t)error;
}

/* Each value takes a second; so does the cleanup. */
static intptr_t slow(rota_gen *self, void *unused) {
    (void)unused;
    intptr_t rc = 0;
    for (intptr_t i = 1; rc == 0 && i <= 3; i++) {
        rc = rota_sleep(1 * ROTA_S);
        if (rc == 0)
            rc = rota_gen_yield(self, i, NULL);
    }
    note('(');
    int cleanup = rota_sleep(1 * ROTA_S);
    note(cleanup < 0 ? 'X' : ')');
    return rc;
}

static intptr_t cleanup_fails(rota_gen *self, void *unused) {
    (void)unused;
    (void)!rota_gen_yield(self, 1, NULL);
    note('c');
    return -EIO;
}

/* ---- values, and the end ---- */

/* All that follows must hold in a task, and where there is no loop. */
#define Both_test(name)                                                                             \
    static intptr_t gen_##name##_body(void *unused);                                                \
    Test(gen, name) { cr_assert_null(rota_loop_current()); cr_assert_eq(gen_##name##_body(NULL), 0); } \
    Test(gen, name##_in_a_task) { cr_expect_eq(run_task(gen_##name##_body, NULL), 0); }             \
    static intptr_t gen_##name##_body(void *unused __attribute__((unused)))

Both_test(values_then_result_then_zero) {
    rota_gen g;
    intptr_t n = 2, value = -1;
    cr_expect_eq(rota_gen_open(&g, count_to, &n, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_expect_eq(value, 1);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect(!rota_gen_done(&g));
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_DONE);
    cr_expect_eq(value, 102);
    cr_expect(rota_gen_done(&g));
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_DONE);
    cr_expect_eq(value, 0, "the result comes once");
    cr_expect_eq(rota_gen_close(&g), 0);
    cr_expect_eq(rota_gen_close(&g), 0);
    return 0;
}

Both_test(error_of_the_body_comes_once) {
    rota_gen g;
    intptr_t value = -1;
    cr_expect_eq(rota_gen_open(&g, fails, (void *)(intptr_t)-EIO, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_expect_eq(rota_gen_next(&g, &value), -EIO);
    cr_expect_eq(value, 1, "an error leaves the value alone");
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_DONE);
    cr_expect_eq(value, 0);
    return 0;
}

Both_test(body_starts_at_the_first_next) {
    rota_gen g;
    memset(trace, 0, sizeof trace);
    cr_expect_eq(rota_gen_open(&g, listener, NULL, NULL), 0);
    cr_expect_str_eq(trace, "");
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect_str_eq(trace, "<");
    cr_expect_eq(rota_gen_close(&g), 0);
    return 0;
}

/* A1: primed with a next, fed by send; the end is its own. */
Both_test(send_feeds_the_body) {
    rota_gen g;
    intptr_t value = -1;
    memset(trace, 0, sizeof trace);
    cr_expect_eq(rota_gen_open(&g, listener, NULL, NULL), 0);
    cr_expect_eq(rota_gen_send(&g, 9, &value), ROTA_YIELDED, "the first one starts it,");
    cr_expect_eq(value, 0, "and what it sent is dropped");
    cr_expect_eq(rota_gen_send(&g, 1, &value), ROTA_YIELDED);
    cr_expect_eq(value, 10);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_expect_eq(value, 0, "a next sends 0");
    cr_expect_eq(rota_gen_send(&g, 25, &value), ROTA_DONE);
    cr_expect_eq(value, 7);
    cr_expect_str_eq(trace, "<baz");
    return 0;
}

/* ---- errors thrown in ---- */

static intptr_t catches(rota_gen *self, void *unused) {
    (void)unused;
    int rc = rota_gen_yield(self, 1, NULL);
    cr_expect_eq(rc, -EIO);
    rc = rota_gen_yield(self, 2, NULL);
    cr_expect_eq(rc, 0, "an error is thrown once");
    return 3;
}

Both_test(thrown_error_may_be_caught) {
    rota_gen g;
    intptr_t value = -1;
    cr_expect_eq(rota_gen_open(&g, catches, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_expect_eq(rota_gen_throw(&g, -EIO, &value), ROTA_YIELDED);
    cr_expect_eq(value, 2);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_DONE);
    cr_expect_eq(value, 3);
    return 0;
}

Both_test(thrown_error_not_caught_comes_back) {
    rota_gen g;
    intptr_t n = 5;
    cr_expect_eq(rota_gen_open(&g, count_to, &n, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect_eq(rota_gen_throw(&g, -ENOSPC, NULL), -ENOSPC);
    cr_expect(rota_gen_done(&g));
    cr_expect_eq(rota_gen_throw(&g, -ENOSPC, NULL), -ENOSPC, "a finished one does not run");
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_DONE);
    return 0;
}

Both_test(throw_into_a_fresh_one_never_runs_it) {
    rota_gen g;
    memset(trace, 0, sizeof trace);
    cr_expect_eq(rota_gen_open(&g, never, NULL, NULL), 0);
    cr_expect_eq(rota_gen_throw(&g, 0, NULL), -EINVAL, "0 is no error");
    cr_expect_eq(rota_gen_throw(&g, 5, NULL), -EINVAL);
    cr_expect(!rota_gen_done(&g));
    cr_expect_eq(rota_gen_throw(&g, -EIO, NULL), -EIO);
    cr_expect(rota_gen_done(&g));
    cr_expect_str_eq(trace, "");
    return 0;
}

/* ---- closing ---- */

/* A3: at once, not at some later turn. */
Both_test(close_runs_the_cleanup_at_once) {
    rota_gen g;
    intptr_t value = -1;
    memset(trace, 0, sizeof trace);
    cr_expect_eq(rota_gen_open(&g, listener, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect_eq(rota_gen_close(&g), 0, "its -ECANCELED is no failure");
    cr_expect_str_eq(trace, "<>");
    cr_expect(rota_gen_done(&g));
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_DONE);
    cr_expect_eq(value, 0);
    return 0;
}

Both_test(close_of_a_fresh_one_never_runs_it) {
    rota_gen g;
    memset(trace, 0, sizeof trace);
    cr_expect_eq(rota_gen_open(&g, never, NULL, NULL), 0);
    cr_expect_eq(rota_gen_close(&g), 0);
    cr_expect_str_eq(trace, "");
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_DONE);
    return 0;
}

Both_test(close_gives_the_failure_of_the_cleanup) {
    rota_gen g;
    cr_expect_eq(rota_gen_open(&g, cleanup_fails, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect_eq(rota_gen_close(&g), -EIO);
    cr_expect_eq(rota_gen_close(&g), 0, "once");
    return 0;
}

static intptr_t yields_while_closed(rota_gen *self, void *unused) {
    (void)unused;
    cr_expect_eq(rota_gen_yield(self, 1, NULL), -ECANCELED);
    cr_expect_eq(rota_gen_yield(self, 2, NULL), -ECANCELED, "nobody wants another value");
    note('y');
    return 5;
}

Both_test(yields_refuse_while_it_is_closed) {
    rota_gen g;
    memset(trace, 0, sizeof trace);
    cr_expect_eq(rota_gen_open(&g, yields_while_closed, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect_eq(rota_gen_close(&g), 0);
    cr_expect_str_eq(trace, "y");
    return 0;
}

Both_test(unopened_ones) {
    rota_gen zero = { 0 };
    intptr_t n = 1;
    cr_expect_eq(rota_gen_close(&zero), 0);
    cr_expect_eq(rota_gen_next(&zero, NULL), -EINVAL);
    cr_expect_eq(rota_gen_send(&zero, 1, NULL), -EINVAL);
    cr_expect_eq(rota_gen_throw(&zero, -EIO, NULL), -EINVAL);
    cr_expect(!rota_gen_done(&zero));
    cr_expect(!rota_gen_done(NULL));
    cr_expect_eq(rota_gen_close(NULL), -EINVAL);
    cr_expect_eq(rota_gen_next(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_gen_yield(NULL, 1, NULL), -EINVAL);
    cr_expect_eq(rota_gen_open(NULL, count_to, &n, NULL), -EINVAL);
    rota_gen g;
    memset(&g, 0xa5, sizeof g);
    cr_expect_eq(rota_gen_open(&g, NULL, &n, NULL), -EINVAL);
    cr_expect_eq(rota_gen_close(&g), 0, "what did not open may be closed");
    char small[64];
    memset(&g, 0xa5, sizeof g);
    cr_expect_eq(rota_gen_open(&g, count_to, &n, &(rota_gen_options){ .stack = small, .stack_size = sizeof small }),
                 -EINVAL);
    cr_expect_eq(rota_gen_close(&g), 0);
    return 0;
}

/* ---- who may do what, when ---- */

static rota_gen *other;

static intptr_t meddles(rota_gen *self, void *unused) {
    (void)unused;
    cr_expect_eq(rota_gen_next(self, NULL), -EBUSY);
    cr_expect_eq(rota_gen_throw(self, -EIO, NULL), -EBUSY);
    cr_expect_eq(rota_gen_close(self), -EBUSY);
    cr_expect_eq(rota_gen_yield(other, 1, NULL), -EPERM, "that one does not run");
    int rc = rota_gen_yield(self, 1, NULL);
    cr_expect_eq(rota_gen_close(self), -EBUSY, "also while it is closed");
    return rc;
}

Both_test(body_cannot_drive_itself) {
    rota_gen g, idle;
    intptr_t n = 1;
    cr_expect_eq(rota_gen_open(&idle, count_to, &n, NULL), 0);
    other = &idle;
    cr_expect_eq(rota_gen_open(&g, meddles, NULL, NULL), 0);
    cr_expect_eq(rota_gen_yield(&g, 1, NULL), -EPERM, "from outside");
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect_eq(rota_gen_close(&g), 0);
    cr_expect_eq(rota_gen_close(&idle), 0);
    return 0;
}

static intptr_t inner(rota_gen *self, void *outer) {
    cr_expect_eq(rota_gen_yield(outer, 1, NULL), -EPERM, "the one that drives is not the one that runs");
    return rota_gen_yield(self, 5, NULL);
}

/* Gives twice what another one gives. */
static intptr_t doubles(rota_gen *self, void *unused) {
    (void)unused;
    rota_gen g;
    intptr_t value = 0;
    int rc = rota_gen_open(&g, inner, self, NULL);
    while (rc >= 0 && (rc = rota_gen_next(&g, &value)) == ROTA_YIELDED)
        rc = rota_gen_yield(self, 2 * value, NULL);
    rota_gen_close(&g);
    return rc;
}

Both_test(generators_of_generators) {
    rota_gen g;
    intptr_t value = 0;
    cr_expect_eq(rota_gen_open(&g, doubles, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_expect_eq(value, 10);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_DONE);
    cr_expect_eq(value, 0);
    return 0;
}

/* An ordinary function may yield for the body, however deep: the stack is kept whole. */
static int walk(rota_gen *self, intptr_t low, intptr_t high) {
    if (low > high)
        return 0;
    intptr_t middle = (low + high) / 2;
    int rc = walk(self, low, middle - 1);
    if (rc == 0)
        rc = rota_gen_yield(self, middle, NULL);
    return rc < 0 ? rc : walk(self, middle + 1, high);
}

static intptr_t walk_all(rota_gen *self, void *unused) {
    (void)unused;
    return walk(self, 1, 100);
}

Both_test(yield_from_deep_inside) {
    intptr_t value, expected = 1;
    int rc;
    ROTA_GEN_EACH(rc, value, walk_all, NULL) {
        cr_expect_eq(value, expected);
        expected++;
    }
    cr_expect_eq(rc, 0);
    cr_expect_eq(expected, 101);
    return 0;
}

Both_test(callers_stack) {
    static _Alignas(16) char stack[32 * 1024];
    rota_gen g;
    intptr_t n = 1, value = 0;
    cr_expect_eq(rota_gen_open(&g, count_to, &n, &(rota_gen_options){ .stack = stack, .stack_size = sizeof stack }), 0);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_expect_eq(value, 1);
    cr_expect_eq(rota_gen_close(&g), 0);
    memset(stack, 0x5a, sizeof stack);
    return 0;
}

static char *canary_at;

static intptr_t overruns(rota_gen *self, void *unused) {
    (void)unused;
    int rc = rota_gen_yield(self, 1, NULL);
    memset(canary_at, 0, 64);
    return rc < 0 ? rc : rota_gen_yield(self, 2, NULL);
}

/* What it says to the one who asks; and then it is over, not a source of errors for ever. */
static void overrun(int (*end)(rota_gen *)) {
    static _Alignas(16) char stack[32 * 1024];
    rota_gen g;
    canary_at = stack;
    cr_expect_eq(rota_gen_open(&g, overruns, NULL, &(rota_gen_options){ .stack = stack, .stack_size = sizeof stack }),
                 0);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect_eq(end(&g), -EFAULT);
    cr_expect(rota_gen_done(&g));
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_DONE);
    cr_expect_eq(rota_gen_close(&g), 0);
}

static int next_of(rota_gen *g) { return rota_gen_next(g, NULL); }

Both_test(callers_stack_too_small) {
    overrun(next_of);
    overrun(rota_gen_close);
    return 0;
}

static void *elsewhere(void *arg) {
    rota_gen *g = arg;
    cr_expect_eq(rota_gen_next(g, NULL), -EPERM);
    cr_expect_eq(rota_gen_throw(g, -EIO, NULL), -EPERM);
    cr_expect_eq(rota_gen_close(g), -EPERM);
    return NULL;
}

static void from_another_thread(rota_gen *g) {
    pthread_t thread;
    cr_expect_eq(pthread_create(&thread, NULL, elsewhere, g), 0);
    (void)pthread_join(thread, NULL);
}

Both_test(other_threads_are_refused) {
    rota_gen g;
    intptr_t n = 1;
    cr_expect_eq(rota_gen_open(&g, count_to, &n, NULL), 0);
    from_another_thread(&g);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    from_another_thread(&g);
    cr_expect_eq(rota_gen_close(&g), 0);
    return 0;
}

/* ---- for-each ---- */

Both_test(each_gives_all_values) {
    intptr_t n = 3, value = 0, sum = 0;
    int rc = -1;
    ROTA_GEN_EACH(rc, value, count_to, &n)
        sum = sum * 10 + value;
    cr_expect_eq(rc, 0);
    cr_expect_eq(sum, 123);
    cr_expect_eq(value, 103, "after the last value, what the body returned");
    return 0;
}

Both_test(each_of_none) {
    intptr_t n = 0, value = -1;
    int rc = -1;
    ROTA_GEN_EACH(rc, value, count_to, &n)
        cr_expect(false);
    cr_expect_eq(rc, 0);
    return 0;
}

Both_test(each_in_each) {
    intptr_t n = 2, i, j, seen = 0;
    int rc, inner_rc;
    ROTA_GEN_EACH(rc, i, count_to, &n) {
        ROTA_GEN_EACH(inner_rc, j, count_to, &n)
            seen = seen * 100 + i * 10 + j;
        cr_expect_eq(inner_rc, 0);
    }
    cr_expect_eq(rc, 0);
    cr_expect_eq(seen, 11122122);
    return 0;
}

/* The block is left by `how`; the cleanup has run before anything that follows does. */
static int leave(char how) {
    intptr_t value;
    int rc = -1;
    ROTA_GEN_EACH(rc, value, listener, NULL) {
        note('*');
        if (how == 'b')
            break;
        if (how == 'r')
            return 1;
        if (how == 'g')
            goto out;
        if (how == 'e')
            rc = -ENOENT;
        else
            how = 'b';
    }
    note('.');
    return rc;
out:
    note('o');
    return rc;
}

static void left(char how, int rc, const char *expected) {
    memset(trace, 0, sizeof trace);
    cr_expect_eq(leave(how), rc, "'%c'", how);
    cr_expect_str_eq(trace, expected, "'%c': %s", how, trace);
}

Both_test(each_closes_however_it_is_left) {
    left('b', 0, "<*>.");
    left('r', 1, "<*>");
    left('g', 0, "<*>o");
    left('e', -ENOENT, "<*>.");
    left('c', 0, "<*a*>.");
    return 0;
}

Both_test(each_gives_the_error_that_ended_it) {
    intptr_t value, n = 0;
    int rc = 0;
    ROTA_GEN_EACH(rc, value, fails, (void *)(intptr_t)-ENOTDIR)
        n += value;
    cr_expect_eq(rc, -ENOTDIR);
    cr_expect_eq(n, 1);
    ROTA_GEN_EACH(rc, value, NULL, NULL)
        cr_expect(false);
    cr_expect_eq(rc, -EINVAL, "of opening");
    ROTA_GEN_EACH(rc, value, cleanup_fails, NULL)
        break;
    cr_expect_eq(rc, -EIO, "of the cleanup");
    ROTA_GEN_EACH(rc, value, cleanup_fails, NULL)
        rc = -ENOENT;
    cr_expect_eq(rc, -ENOENT, "the first one");
    return 0;
}

/* ---- bodies that wait ---- */

/* A2. */
Task_test(gen, body_may_wait) {
    int64_t start = rota_now();
    intptr_t value, sum = 0;
    int rc;
    ROTA_GEN_EACH(rc, value, slow, NULL) {
        sum += value;
        cr_expect_eq(since(start), value * ROTA_S);
    }
    cr_expect_eq(rc, 0);
    cr_expect_eq(sum, 6);
    return 0;
}

static intptr_t ticks(void *unused) {
    (void)unused;
    int rc;
    while ((rc = rota_sleep(300 * ROTA_MS)) == 0)
        note('.');
    return rc;
}

Task_test(gen, others_run_while_it_waits) {
    rota_task *task;
    intptr_t value;
    int rc = rota_spawn(&task, ticks, NULL, NULL);
    cr_expect_eq(rc, 0);
    ROTA_GEN_EACH(rc, value, slow, NULL) {
        note((char)('0' + value));
        if (value == 2)
            break;
    }
    cr_expect_str_eq(trace, "...1...2(...)", "%s", trace);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(rota_join(task, NULL), -ECANCELED);
    return 0;
}

static intptr_t sleeps(rota_gen *self, void *unused) {
    (void)self, (void)unused;
    return rota_sleep(1);
}

Test(gen, body_may_not_wait_without_a_task) {
    rota_gen g;
    cr_assert_eq(rota_gen_open(&g, sleeps, NULL, NULL), 0);
    cr_assert_eq(rota_gen_next(&g, NULL), -EPERM);
    rota_loop *loop = open_loop();
    cr_assert_eq(rota_gen_open(&g, sleeps, NULL, NULL), 0);
    cr_assert_eq(rota_gen_next(&g, NULL), -EPERM);
    close_loop(loop);
}

/* The one that was opened outside of a task has nothing of the loop that was current then. */
Test(gen, outlives_a_current_loop) {
    rota_gen g;
    intptr_t n = 2, value = 0;
    rota_loop *loop = open_loop();
    cr_assert_eq(rota_gen_open(&g, count_to, &n, NULL), 0);
    cr_assert_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    close_loop(loop);
    cr_assert_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_assert_eq(value, 2);
    cr_assert_eq(rota_gen_close(&g), 0);
}

/* The driver may change from value to value; the body is always part of the one that asks. */
static rota_task *seen_as[4];

static intptr_t who(rota_gen *self, void *unused) {
    (void)unused;
    for (size_t i = 0; i < 4; i++) {
        seen_as[i] = rota_self();
        int rc = rota_gen_yield(self, 0, NULL);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static intptr_t drive_once(void *gen) { return rota_gen_next(gen, NULL); }

Task_test(gen, runs_as_the_task_that_asks) {
    rota_gen g;
    rota_task *task;
    cr_expect_eq(rota_gen_open(&g, who, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect_eq(rota_spawn(&task, drive_once, &g, NULL), 0);
    intptr_t result = 0;
    cr_expect_eq(rota_await(task, &result), 0);
    cr_expect_eq(result, ROTA_YIELDED);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect_eq(seen_as[0], rota_self());
    cr_expect_eq(seen_as[1], task);
    cr_expect_eq(seen_as[2], rota_self());
    rota_task_release(task);
    cr_expect_eq(rota_gen_close(&g), 0);
    return 0;
}

static rota_gen shared;

Task_test(gen, busy_while_another_task_waits_in_it) {
    rota_task *task;
    intptr_t value = 0;
    cr_expect_eq(rota_gen_open(&shared, slow, NULL, NULL), 0);
    cr_expect_eq(rota_spawn(&task, drive_once, &shared, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_gen_next(&shared, &value), -EBUSY);
    cr_expect_eq(rota_gen_send(&shared, 1, &value), -EBUSY);
    cr_expect_eq(rota_gen_throw(&shared, -EIO, &value), -EBUSY);
    cr_expect_eq(rota_gen_close(&shared), -EBUSY);
    cr_expect_eq(rota_gen_yield(&shared, 1, NULL), -EPERM, "it is under way, but elsewhere");
    cr_expect_eq(rota_join(task, &value), 0);
    cr_expect_eq(value, ROTA_YIELDED);
    cr_expect_eq(rota_gen_close(&shared), 0);
    return 0;
}

static intptr_t close_it(void *gen) { return rota_gen_close(gen); }

Task_test(gen, busy_while_its_cleanup_waits) {
    rota_task *task;
    intptr_t result = -1;
    cr_expect_eq(rota_gen_open(&shared, slow, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&shared, NULL), ROTA_YIELDED);
    cr_expect_eq(rota_spawn(&task, close_it, &shared, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_gen_next(&shared, NULL), -EBUSY);
    cr_expect_eq(rota_gen_close(&shared), -EBUSY);
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result, 0);
    cr_expect_str_eq(trace, "()");
    return 0;
}

/* ---- cancellation and scopes ---- */

Task_test(gen, cancelled_driver_is_refused_and_the_generator_stays) {
    rota_gen g;
    intptr_t n = 3, value = 0;
    cr_expect_eq(rota_gen_open(&g, count_to, &n, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    rota_scope scope;
    rota_scope_begin(&scope);
    rota_scope_cancel(&scope, "enough");
    cr_expect_eq(rota_gen_next(&g, &value), -ECANCELED);
    cr_expect_eq(rota_gen_send(&g, 1, &value), -ECANCELED);
    cr_expect_eq(rota_gen_throw(&g, -EIO, &value), -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, 0), 0);
    cr_expect(!rota_gen_done(&g));
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_expect_eq(value, 2);
    cr_expect_eq(rota_gen_close(&g), 0);
    return 0;
}

/* The deadline comes while the body waits: the body is told, like any code of that task. */
Task_test(gen, deadline_reaches_into_the_body) {
    rota_gen g;
    cr_expect_eq(rota_gen_open(&g, slow, NULL, NULL), 0);
    rota_scope scope;
    rota_timeout_begin(&scope, 500 * ROTA_MS);
    int64_t start = rota_now();
    intptr_t rc = rota_gen_next(&g, NULL);
    cr_expect_eq(rc, -ECANCELED);
    cr_expect_eq(rota_scope_end(&scope, rc), -ETIMEDOUT);
    cr_expect_eq(since(start), 500 * ROTA_MS);
    cr_expect_str_eq(trace, "(X", "the cleanup is refused too: %s", trace);
    cr_expect(rota_gen_done(&g));
    return 0;
}

/* Closing is not refused in a cancelled task, though what its cleanup waits for is. */
Task_test(gen, close_is_never_refused) {
    rota_gen g;
    cr_expect_eq(rota_gen_open(&g, slow, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    rota_scope scope;
    rota_scope_begin(&scope);
    rota_scope_cancel(&scope, NULL);
    cr_expect_eq(rota_gen_close(&g), 0);
    cr_expect(rota_gen_done(&g));
    cr_expect_str_eq(trace, "(X");
    cr_expect_eq(rota_scope_end(&scope, 0), 0);
    return 0;
}

/* A close whose cleanup waits is not an early way out: the closer is cancelled, the cleanup told, and it returns after
 * the cleanup has. A shield in the body makes time for it. */
static intptr_t wait_in_peace(void *unused) {
    (void)unused;
    return rota_sleep(1 * ROTA_S);
}

static intptr_t shielded(rota_gen *self, void *unused) {
    (void)unused;
    int rc = rota_gen_yield(self, 1, NULL);
    cr_expect_eq(rc, -ECANCELED);
    cr_expect_eq(rota_shield(5 * ROTA_S, wait_in_peace, NULL), 0);
    note('s');
    return rc;
}

Task_test(gen, cleanup_in_a_shield_takes_its_time) {
    rota_task *task;
    intptr_t result = -1;
    int64_t start = rota_now();
    cr_expect_eq(rota_gen_open(&shared, shielded, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&shared, NULL), ROTA_YIELDED);
    cr_expect_eq(rota_spawn(&task, close_it, &shared, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_cancel(task, NULL), 0);
    cr_expect_eq(rota_join(task, &result), 0);
    cr_expect_eq(result, 0);
    cr_expect_eq(since(start), 1 * ROTA_S);
    cr_expect_str_eq(trace, "s");
    return 0;
}

static intptr_t yields_in_a_scope(rota_gen *self, void *unused) {
    (void)unused;
    rota_scope scope;
    rota_timeout_begin(&scope, 1 * ROTA_S);
    cr_expect_eq(rota_gen_yield(self, 1, NULL), -EINVAL);
    cr_expect_eq(rota_scope_end(&scope, 0), 0);
    rota_group group;
    rota_group_begin(&group, NULL);
    cr_expect_eq(rota_gen_yield(self, 2, NULL), -EINVAL);
    cr_expect_eq(rota_group_end(&group, 0), 0);
    return rota_gen_yield(self, 3, NULL);
}

Task_test(gen, scope_open_across_a_yield_is_refused) {
    rota_gen g;
    intptr_t value = 0;
    cr_expect_eq(rota_gen_open(&g, yields_in_a_scope, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_expect_eq(value, 3);
    cr_expect_eq(rota_gen_close(&g), 0);
    return 0;
}

/* The driver's scopes come and go between two values; the body's own, between two yields. */
static intptr_t scopes_of_its_own(rota_gen *self, void *unused) {
    (void)unused;
    for (;;) {
        rota_scope scope;
        rota_timeout_begin(&scope, 1 * ROTA_S);
        intptr_t v = rota_scope_end(&scope, rota_sleep(2 * ROTA_S));
        cr_expect_eq(v, -ETIMEDOUT);
        int rc = rota_gen_yield(self, v, NULL);
        if (rc < 0)
            return rc;
    }
}

Task_test(gen, scopes_of_driver_and_body_nest) {
    rota_gen g;
    intptr_t value = 0;
    rota_scope scope;
    cr_expect_eq(rota_gen_open(&g, scopes_of_its_own, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    rota_timeout_begin(&scope, 10 * ROTA_S);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_expect_eq(rota_scope_end(&scope, 0), 0);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_YIELDED);
    cr_expect_eq(value, -ETIMEDOUT);
    rota_scope_begin(&scope);
    cr_expect_eq(rota_gen_close(&g), 0);
    cr_expect_eq(rota_scope_end(&scope, 0), 0);
    return 0;
}

static rota_scope static_scope;

static intptr_t forgets_a_scope(rota_gen *self, void *unused) {
    (void)self, (void)unused;
    rota_scope_begin(&static_scope);
    return 4;
}

static intptr_t forget(void *unused) {
    (void)unused;
    rota_gen g;
    intptr_t value = 0;
    rota_scope scope;
    rota_scope_begin(&scope);
    cr_expect_eq(rota_gen_open(&g, forgets_a_scope, NULL, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, &value), ROTA_DONE);
    cr_expect_eq(value, 4);
    cr_expect_eq(reports_of(ROTA_REPORT_SCOPE), 1);
    rota_scope_cancel(&scope, NULL);
    cr_expect_eq(rota_yield(), -ECANCELED, "the driver is in its own scope again");
    return rota_scope_end(&scope, 0);
}

Test(gen, scope_that_the_body_forgot_is_left_and_reported) {
    intptr_t value = -1;
    cr_assert_eq(run_with(forget, NULL, &value, NULL), 0);
    cr_assert_eq(value, 0);
    cr_assert_eq(reports.n, 1);
}

/* ---- debug mode ---- */

static intptr_t close_fresh_and_used(void *unused) {
    (void)unused;
    rota_gen g;
    intptr_t n = 1;
    cr_expect_eq(rota_gen_open(&g, count_to, &n, NULL), 0);
    cr_expect_eq(rota_gen_close(&g), 0);
    int line = __LINE__ - 2;
    if (reports.n)
        cr_expect_eq(report_of(ROTA_REPORT_UNSTARTED)->at.line, line);
    cr_expect_eq(rota_gen_open(&g, count_to, &n, NULL), 0);
    cr_expect_eq(rota_gen_next(&g, NULL), ROTA_YIELDED);
    cr_expect_eq(rota_gen_close(&g), 0);
    return reports.n;
}

Test(gen, one_that_never_started_is_reported_in_debug_mode) {
    intptr_t n = -1;
    rota_loop_options opt = test_options();
    opt.debug = true;
    cr_assert_eq(run_with(close_fresh_and_used, NULL, &n, &opt), 0);
    cr_assert_eq(n, 1);
    cr_assert_eq(run_with(close_fresh_and_used, NULL, &n, NULL), 0);
    cr_assert_eq(n, 0, "it is no mistake otherwise");
}

/* ---- memory ---- */

static intptr_t open_without_memory(void *unused) {
    (void)unused;
    rota_gen g;
    intptr_t n = 1, value;
    int rc = 0;
    memory.fail_at = memory.calls + 1;
    memory.fail_on = true;
    /* 200,000 bytes: a class of stacks that nobody has used yet. */
    cr_expect_eq(rota_gen_open(&g, count_to, &n, &(rota_gen_options){ .stack_size = 200000 }), -ENOMEM);
    cr_expect_eq(rota_gen_close(&g), 0);
    memory.fail_at = 0;
    ROTA_GEN_EACH(rc, value, count_to, &n)
        cr_expect_eq(value, 1);
    return rc;
}

Test(gen, no_memory) { cr_assert_eq(run_task(open_without_memory, NULL), 0); }

/* One after the other on the same stack; many at once, as cheap as tasks. */
Task_test(gen, many) {
    enum { MANY = 500 };
    static rota_gen all[MANY];
    intptr_t n = 3, value;
    int rc = 0;
    for (int i = 0; i < 1000; i++)
        ROTA_GEN_EACH(rc, value, count_to, &n)
            if (value == 2)
                break;
    cr_expect_eq(rc, 0);
    for (int i = 0; i < MANY; i++)
        cr_expect_eq(rota_gen_open(&all[i], count_to, &n, NULL), 0);
    for (intptr_t k = 1; k <= n; k++)
        for (int i = 0; i < MANY; i++) {
            cr_expect_eq(rota_gen_next(&all[i], &value), ROTA_YIELDED);
            cr_expect_eq(value, k);
        }
    for (int i = 0; i < MANY; i++)
        cr_expect_eq(rota_gen_close(&all[i]), 0);
    return 0;
}

/* A task that is cancelled at the loop's end closes what it drives. */
static intptr_t stays(void *unused) {
    (void)unused;
    intptr_t value;
    int rc;
    ROTA_GEN_EACH(rc, value, listener, NULL) {
        rc = rota_sleep(1 * ROTA_S);
        if (rc < 0)
            break;
    }
    note('e');
    return rc;
}

Test(gen, closed_in_order_when_the_loop_ends) {
    rota_loop *loop = open_loop();
    cr_assert_eq(rota_spawn(NULL, stays, NULL, NULL), 0);
    cr_assert_eq(rota_loop_turn(loop, 0), 1);
    cr_assert_str_eq(trace, "<");
    close_loop(loop);
    cr_assert_str_eq(trace, "<>e");
}
