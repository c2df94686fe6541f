/* Chaining futures: rota_future_then. */
#include "tests/support.h"

#include <stdlib.h>

#include "rota/combine.h"

static intptr_t add_one(intptr_t value, void *arg) {
    (void)arg;
    note('f');
    return value + 1;
}

static intptr_t replace(intptr_t error, void *arg) {
    note('e');
    cr_expect(rota_failed(error));
    return (intptr_t)arg;
}

Task_test(then, makes_a_value_from_a_value) {
    rota_future f = { 0 };
    rota_then next;
    intptr_t value = 0;
    cr_expect_eq(rota_future_then(&f, &next, add_one, replace, NULL), 0);
    cr_expect_eq(rota_future_set(&f, 41), 0);
    cr_expect_str_eq(trace, "", "not inside set");
    cr_expect_eq(rota_future_await(&next.future, &value), 0);
    cr_expect_eq(value, 42);
    cr_expect_str_eq(trace, "f");
    return 0;
}

Task_test(then, of_one_that_is_set_already) {
    rota_future f = { 0 };
    rota_then next;
    intptr_t value = 0;
    cr_expect_eq(rota_future_set(&f, 1), 0);
    cr_expect_eq(rota_future_then(&f, &next, add_one, NULL, NULL), 0);
    cr_expect_str_eq(trace, "");
    cr_expect_eq(rota_future_await(&next.future, &value), 0);
    cr_expect_eq(value, 2);
    return 0;
}

Task_test(then, an_error_goes_straight_through_or_is_handled) {
    rota_future f = { 0 };
    rota_then through, handled, plain;
    intptr_t value = 0;
    cr_expect_eq(rota_future_then(&f, &through, add_one, NULL, NULL), 0);
    cr_expect_eq(rota_future_then(&f, &handled, add_one, replace, (void *)7), 0);
    cr_expect_eq(rota_future_then(&handled.future, &plain, NULL, replace, NULL), 0);
    cr_expect_eq(rota_future_set(&f, -EIO), 0);
    cr_expect_eq(rota_future_await(&plain.future, &value), 0);
    cr_expect_eq(value, 7, "a value goes through where there is no fn");
    cr_expect_eq(rota_future_value(&through.future, &value), 0);
    cr_expect_eq(value, -EIO);
    cr_expect_str_eq(trace, "e");
    return 0;
}

static intptr_t fail(intptr_t value, void *arg) {
    (void)value;
    return (intptr_t)arg;
}

Task_test(then, a_function_that_fails_makes_an_error) {
    rota_future f = { 0 };
    rota_then next;
    cr_expect_eq(rota_future_then(&f, &next, fail, NULL, (void *)(intptr_t)-ENOENT), 0);
    cr_expect_eq(rota_future_set(&f, 0), 0);
    cr_expect_eq(rota_future_await(&next.future, NULL), -ENOENT);
    return 0;
}

Task_test(then, on_a_task) {
    int64_t ns = ROTA_MS;
    rota_task *task;
    rota_then next;
    intptr_t value = 0;
    cr_expect_eq(rota_spawn(&task, sleep_for, &ns, NULL), 0);
    cr_expect_eq(rota_future_then(rota_task_future(task), &next, add_one, NULL, NULL), 0);
    cr_expect_eq(rota_future_await(&next.future, &value), 0);
    cr_expect_eq(value, 1);
    return rota_join(task, NULL);
}

Task_test(then, a_long_chain_needs_no_deep_stack_to_run_or_to_be_closed) {
    enum { LONG = 50000 };
    rota_then *chain = malloc(LONG * sizeof *chain);
    intptr_t value = 0;
    for (int closed = 0; closed < 2; closed++) {
        rota_future f = { 0 };
        for (int i = 0; i < LONG; i++)
            cr_expect_eq(rota_future_then(i ? &chain[i - 1].future : &f, &chain[i], closed ? NULL : add_one, NULL, NULL),
                         0);
        if (closed)
            cr_expect_eq(rota_future_close(&f), 0);
        else
            cr_expect_eq(rota_future_set(&f, 0), 0);
        cr_expect_eq(rota_future_await(&chain[LONG - 1].future, &value), 0);
        cr_expect_eq(value, closed ? -ESHUTDOWN : LONG);
    }
    free(chain);
    return 0;
}

Task_test(then, one_that_is_closed_counts_as_an_error) {
    rota_then through, handled;
    intptr_t value = 0;
    {
        rota_future f = { 0 };
        cr_expect_eq(rota_future_then(&f, &through, add_one, NULL, NULL), 0);
        cr_expect_eq(rota_future_then(&f, &handled, add_one, replace, (void *)3), 0);
        cr_expect_eq(rota_future_close(&f), 0);
        cr_expect_str_eq(trace, "", "not inside close");
        memset(&f, 0xee, sizeof f);
    }
    cr_expect_eq(rota_future_await(&through.future, &value), 0);
    cr_expect_eq(value, -ESHUTDOWN);
    cr_expect_eq(rota_future_await(&handled.future, &value), 0);
    cr_expect_eq(value, 3);
    return 0;
}

struct waiter {
    rota_future *future;
    int rc;
};

static intptr_t wait_for(void *arg) {
    struct waiter *w = arg;
    intptr_t value;
    w->rc = rota_future_await(w->future, &value);
    return 0;
}

Task_test(then, taken_back_closes_its_future) {
    rota_future f = { 0 };
    rota_then next;
    struct waiter w = { &next.future, 1 };
    rota_task *task;
    cr_expect_eq(rota_future_then(&f, &next, add_one, NULL, NULL), 0);
    cr_expect_eq(rota_spawn(&task, wait_for, &w, NULL), 0);
    cr_expect_eq(rota_yield(), 0);
    rota_then_cancel(&next);
    cr_expect_eq(rota_future_set(&f, 1), 0);
    cr_expect_eq(rota_join(task, NULL), 0);
    cr_expect_eq(w.rc, -ESHUTDOWN);
    cr_expect_str_eq(trace, "");
    return 0;
}

Task_test(then, taken_back_when_it_is_queued_or_has_run) {
    rota_future f = { 0 };
    rota_then next, done;
    intptr_t value = 0;
    cr_expect_eq(rota_future_then(&f, &next, add_one, NULL, NULL), 0);
    cr_expect_eq(rota_future_then(&f, &done, add_one, NULL, NULL), 0);
    cr_expect_eq(rota_future_set(&f, 1), 0);
    rota_then_cancel(&next);
    cr_expect_eq(rota_future_await(&done.future, NULL), 0);
    rota_then_cancel(&done);
    cr_expect_eq(rota_future_value(&done.future, &value), 0);
    cr_expect_eq(value, 2, "what is set stays");
    cr_expect_str_eq(trace, "f");
    return 0;
}

Task_test(then, set_by_somebody_else_first) {
    rota_future f = { 0 };
    rota_then next;
    intptr_t value = 0;
    cr_expect_eq(rota_future_then(&f, &next, add_one, NULL, NULL), 0);
    cr_expect_eq(rota_future_set(&next.future, 99), 0);
    cr_expect_eq(rota_future_set(&f, 1), 0);
    cr_expect_eq(rota_yield(), 0);
    cr_expect_eq(rota_future_value(&next.future, &value), 0);
    cr_expect_eq(value, 99);
    return 0;
}

Task_test(then, mistakes) {
    rota_future f = { 0 };
    rota_then next;
    cr_expect_eq(rota_future_then(&f, NULL, add_one, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_future_then(NULL, &next, add_one, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_future_close(&f), 0);
    cr_expect_eq(rota_future_then(&f, &next, add_one, NULL, NULL), -ESHUTDOWN);
    rota_then_cancel(NULL);
    return 0;
}
