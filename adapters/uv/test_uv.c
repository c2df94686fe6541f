/* rota inside a uv_loop_t: timers and callbacks of libuv side by side with tasks, timers and posts of rota. */
#include "rota/uv.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "rota/coro.h"
#include "tests/harness.h"

static rota_loop *loop;
static uv_loop_t outer;
static uv_timer_t timer;
static rota_uv bridge;
static int closings;

static void begin(void) {
    cr_assert_eq(rota_loop_new(&loop, NULL), 0);
    cr_assert_eq(uv_loop_init(&outer), 0);
    int rc = rota_uv_start(&bridge, &outer, loop);
    if (rc == -ENOTSUP) {
        uv_loop_close(&outer);
        rota_loop_free(loop);
        cr_skip_test("this backend has no descriptor for all: -ENOTSUP");
    }
    cr_assert_eq(rc, 0);
    cr_assert_eq(uv_timer_init(&outer, &timer), 0);
}

static void count_closing(rota_uv *it) {
    (void)it;
    closings++;
}

/* Everything is closed, as libuv wants it, and libuv agrees that nothing is left. */
static void end(void) {
    if (!uv_is_closing(rota_uv_handle(&bridge)))
        cr_expect_eq(rota_uv_stop(&bridge, count_closing), 0);
    if (!uv_is_closing((uv_handle_t *)&timer))
        uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&outer, UV_RUN_DEFAULT);
    cr_expect_eq(closings, 1);
    cr_expect_eq(uv_loop_close(&outer), 0);
    cr_expect_eq(rota_loop_free(loop), 0);
    uv_library_shutdown();   /* two descriptors of the process */
}

static void tick(uv_timer_t *it) { ++*(int *)it->data; }

static intptr_t sleep_and_stop(void *arg) {
    int *steps = arg;
    for (int i = 0; i < 20; i++) {
        int rc = rota_sleep(2 * ROTA_MS);
        if (rc < 0)
            return rc;
        ++*steps;
    }
    uv_stop(&outer);
    return 0;
}

Test(uv, timers_of_libuv_and_tasks_of_rota_go_on_side_by_side, .init = begin, .fini = end) {
    int steps = 0, ticks = 0;
    timer.data = &ticks;
    cr_assert_eq(rota_spawn(NULL, sleep_and_stop, &steps, NULL), 0);
    cr_assert_eq(uv_timer_start(&timer, tick, 1, 1), 0);
    uv_run(&outer, UV_RUN_DEFAULT);
    cr_expect_eq(steps, 20);
    cr_expect_gt(ticks, 1);
}

static intptr_t stop_bridge(void *arg) {
    int rc = rota_sleep(2 * ROTA_MS);
    *(int *)arg = rota_uv_stop(&bridge, count_closing);
    return rc;
}

Test(uv, a_task_stops_the_handle_it_runs_in, .init = begin, .fini = end) {
    int rc = -1;
    cr_assert_eq(rota_spawn(NULL, stop_bridge, &rc, NULL), 0);
    cr_expect_eq(uv_run(&outer, UV_RUN_DEFAULT), 0);   /* nothing is left: it returns by itself */
    cr_expect_eq(rc, 0);
    cr_expect_eq(closings, 1);
    cr_expect_eq(rota_uv_stop(&bridge, NULL), -EINVAL);
}

/* Work that a callback of libuv adds wakes the loop, with nothing else pending in it. */
struct late {
    rota_task *task;
    rota_future future;
    int stage, value;
};

static intptr_t await_future(void *arg) {
    struct late *late = arg;
    intptr_t value = 0;
    int rc = rota_future_await(&late->future, &value);
    late->value = (int)value;
    uv_stop(&outer);
    return rc;
}

static void next_stage(uv_timer_t *it) {
    struct late *late = it->data;
    if (late->stage++ == 0)
        cr_expect_eq(rota_spawn(&late->task, await_future, late, NULL), 0);
    else
        cr_expect_eq(rota_future_set(&late->future, 7), 0);
}

Test(uv, callbacks_of_libuv_spawn_tasks_and_set_futures, .init = begin, .fini = end) {
    struct late late = {0};
    timer.data = &late;
    cr_assert_eq(uv_timer_start(&timer, next_stage, 5, 5), 0);
    uv_run(&outer, UV_RUN_DEFAULT);
    cr_expect_eq(late.value, 7);
    rota_task_release(late.task);
}

static void cancel_it(uv_timer_t *it) {
    struct late *late = it->data;
    cr_expect_eq(rota_cancel(late->task, "libuv says so"), 0);
}

Test(uv, a_callback_of_libuv_cancels_a_task, .init = begin, .fini = end) {
    struct late late = {0};
    timer.data = &late;
    cr_assert_eq(rota_spawn(&late.task, await_future, &late, NULL), 0);
    cr_assert_eq(uv_timer_start(&timer, cancel_it, 5, 0), 0);
    uv_run(&outer, UV_RUN_DEFAULT);
    cr_expect_eq(late.value, -ECANCELED);
    rota_task_release(late.task);
}

struct poster {
    rota_remote *remote;
    rota_soon soon;
};

static void stop_soon(rota_soon *soon, void *arg) {
    (void)soon;
    ++*(int *)arg;
    uv_stop(&outer);
}

static void *post(void *arg) {
    struct poster *poster = arg;
    nanosleep(&(struct timespec){0, 5 * ROTA_MS}, NULL);
    int rc = rota_remote_post(poster->remote, &poster->soon);
    rota_remote_close(poster->remote);
    return (void *)(intptr_t)rc;
}

Test(uv, a_post_of_another_thread_wakes_libuv, .init = begin, .fini = end) {
    struct poster poster;
    pthread_t thread;
    int calls = 0;
    void *rc;
    rota_soon_init(&poster.soon, stop_soon, &calls);
    cr_assert_eq(rota_remote_open(&poster.remote, loop), 0);
    cr_assert_eq(pthread_create(&thread, NULL, post, &poster), 0);
    uv_run(&outer, UV_RUN_DEFAULT);
    pthread_join(thread, &rc);
    cr_expect_null(rc);
    cr_expect_eq(calls, 1);
}

/* A task that spins by yielding never lets the ready queue run dry: libuv's own timer must come through. */
static intptr_t spin(void *arg) {
    bool *stop = arg;
    int rc = 0;
    while (rc == 0 && !*stop)
        rc = rota_yield();
    uv_stop(&outer);
    return rc;
}

static void say_stop(uv_timer_t *it) { *(bool *)it->data = true; }

Test(uv, a_busy_task_does_not_starve_libuv, .init = begin, .fini = end) {
    bool stop = false;
    timer.data = &stop;
    cr_assert_eq(rota_spawn(NULL, spin, &stop, NULL), 0);
    cr_assert_eq(uv_timer_start(&timer, say_stop, 10, 0), 0);
    uv_run(&outer, UV_RUN_DEFAULT);
    cr_expect(stop);
}

static void stop_outer(uv_timer_t *it) { uv_stop(it->loop); }

static void count_check(uv_check_t *check) { ++*(int *)check->data; }

Test(uv, an_idle_loop_costs_nothing, .init = begin, .fini = end) {
    uv_check_t check;   /* called once in each iteration of libuv */
    int iterations = 0;
    cr_assert_eq(uv_check_init(&outer, &check), 0);
    check.data = &iterations;
    cr_assert_eq(uv_check_start(&check, count_check), 0);
    cr_assert_eq(uv_timer_start(&timer, stop_outer, 50, 0), 0);
    uv_run(&outer, UV_RUN_DEFAULT);
    cr_expect_leq(iterations, 4, "%d iterations while nothing happened", iterations);
    uv_close((uv_handle_t *)&check, NULL);
    uv_run(&outer, UV_RUN_NOWAIT);
}

static intptr_t read_one(void *arg) {
    int *ends = arg;
    char c = 0;
    ssize_t n = rota_read(ends[0], &c, 1);
    uv_stop(&outer);
    return n == 1 ? c : -EIO;
}

static void write_one(uv_timer_t *it) {
    int *ends = it->data;
    cr_expect_eq(write(ends[1], "x", 1), 1);
}

Test(uv, a_descriptor_that_a_task_waits_for_wakes_libuv, .init = begin, .fini = end) {
    int ends[2];
    intptr_t result = 0;
    rota_task *task;
    cr_assert_eq(pipe(ends), 0);
    timer.data = ends;
    cr_assert_eq(rota_spawn(&task, read_one, ends, NULL), 0);
    cr_assert_eq(uv_timer_start(&timer, write_one, 5, 0), 0);
    uv_run(&outer, UV_RUN_DEFAULT);
    cr_expect_eq(rota_task_result(task, &result), 0);
    cr_expect_eq(result, 'x');
    rota_task_release(task);
    rota_close(ends[0]);
    close(ends[1]);
}

Test(uv, bad_arguments_are_refused, .init = begin, .fini = end) {
    rota_uv second;
    rota_loop *closed;
    cr_expect_eq(rota_uv_start(NULL, &outer, loop), -EINVAL);
    cr_expect_eq(rota_uv_start(&second, NULL, loop), -EINVAL);
    cr_expect_eq(rota_uv_start(&second, &outer, NULL), -EINVAL);
    cr_assert_eq(rota_loop_new(&closed, NULL), 0);
    cr_assert_eq(rota_loop_close(closed), 0);
    cr_expect_eq(rota_uv_start(&second, &outer, closed), -ESHUTDOWN);
    cr_assert_eq(rota_loop_free(closed), 0);
    cr_expect_eq(rota_uv_stop(NULL, NULL), -EINVAL);
    cr_expect_null(rota_uv_handle(NULL));
}

/* ---- two threads ---- */

struct of_thread {
    rota_uv bridge;
    int steps;
};

static intptr_t count_and_stop(void *arg) {
    struct of_thread *of = arg;
    int rc = 0;
    while (rc == 0 && of->steps < 50) {
        rc = rota_sleep(ROTA_MS / 2);
        of->steps++;
    }
    rota_uv_stop(&of->bridge, NULL);
    return rc;
}

static void *whole_program(void *arg) {
    struct of_thread *of = arg;
    rota_loop *mine;
    uv_loop_t my_outer;
    int rc = rota_loop_new(&mine, NULL);
    if (rc == 0)
        rc = uv_loop_init(&my_outer);
    if (rc == 0)
        rc = rota_spawn(NULL, count_and_stop, of, NULL);
    if (rc == 0)
        rc = rota_uv_start(&of->bridge, &my_outer, mine);
    if (rc == 0)
        rc = uv_run(&my_outer, UV_RUN_DEFAULT);
    if (rc == 0)
        rc = uv_loop_close(&my_outer);
    if (rc == 0)
        rc = rota_loop_free(mine);
    return (void *)(intptr_t)rc;
}

Test(uv, two_threads_with_a_loop_each, .init = begin, .fini = end) {
    static struct of_thread of[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, whole_program, &of[i]), 0);
    for (int i = 0; i < 2; i++) {
        void *rc;
        pthread_join(threads[i], &rc);
        cr_expect_null(rc);
        cr_expect_eq(of[i].steps, 50);
    }
}
