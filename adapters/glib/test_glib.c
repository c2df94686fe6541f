/* rota inside a GMainLoop: timers and callbacks of GLib side by side with tasks, timers and posts of rota. */
#include "rota/glib.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "rota/coro.h"
#include "tests/harness.h"

static rota_loop *loop;
static GMainContext *context;
static GMainLoop *outer;
static GSource *source;

static void begin(void) {
    cr_assert_eq(rota_loop_new(&loop, NULL), 0);
    int rc = rota_glib_source_new(&source, loop);
    if (rc == -ENOTSUP) {
        rota_loop_free(loop);
        cr_skip_test("this backend has no descriptor for all: -ENOTSUP");
    }
    cr_assert_eq(rc, 0);
    context = g_main_context_new();
    outer = g_main_loop_new(context, FALSE);
    g_source_attach(source, context);
}

static void end(void) {
    g_source_destroy(source);
    g_source_unref(source);
    g_main_loop_unref(outer);
    g_main_context_unref(context);
    cr_expect_eq(rota_loop_free(loop), 0);
}

static void every(unsigned ms, GSourceFunc fn, void *arg) {
    GSource *timer = g_timeout_source_new(ms);
    g_source_set_callback(timer, fn, arg, NULL);
    g_source_attach(timer, context);
    g_source_unref(timer);
}

static intptr_t sleep_and_quit(void *arg) {
    int *steps = arg;
    for (int i = 0; i < 20; i++) {
        int rc = rota_sleep(2 * ROTA_MS);
        if (rc < 0)
            return rc;
        ++*steps;
    }
    g_main_loop_quit(outer);
    return 0;
}

static gboolean tick(gpointer data) {
    ++*(int *)data;
    return G_SOURCE_CONTINUE;
}

Test(glib, timers_of_glib_and_tasks_of_rota_go_on_side_by_side, .init = begin, .fini = end) {
    int steps = 0, ticks = 0;
    cr_assert_eq(rota_spawn(NULL, sleep_and_quit, &steps, NULL), 0);
    every(1, tick, &ticks);
    g_main_loop_run(outer);
    cr_expect_eq(steps, 20);
    cr_expect_gt(ticks, 1);
}

/* Work that a callback of GLib adds wakes the loop, with nothing else pending in it. */
struct late {
    rota_task *task;
    rota_future future;
    int stage, steps;
};

static intptr_t await_future(void *arg) {
    struct late *late = arg;
    intptr_t value = 0;
    int rc = rota_future_await(&late->future, &value);
    late->steps += (int)value;
    g_main_loop_quit(outer);
    return rc;
}

static gboolean next_stage(gpointer data) {
    struct late *late = data;
    if (late->stage++ == 0) {
        cr_expect_eq(rota_spawn(&late->task, await_future, late, NULL), 0);
        return G_SOURCE_CONTINUE;
    }
    cr_expect_eq(rota_future_set(&late->future, 7), 0);
    return G_SOURCE_REMOVE;
}

Test(glib, callbacks_of_glib_spawn_tasks_and_set_futures, .init = begin, .fini = end) {
    struct late late = {0};
    intptr_t result = -1;
    every(5, next_stage, &late);
    g_main_loop_run(outer);
    cr_expect_eq(late.steps, 7);
    cr_expect_eq(rota_task_result(late.task, &result), 0);
    cr_expect_eq(result, 0);
    rota_task_release(late.task);
}

static gboolean cancel_it(gpointer data) {
    struct late *late = data;
    cr_expect_eq(rota_cancel(late->task, "GLib says so"), 0);
    return G_SOURCE_REMOVE;
}

Test(glib, a_callback_of_glib_cancels_a_task, .init = begin, .fini = end) {
    struct late late = {0};
    intptr_t result = 0;
    cr_assert_eq(rota_spawn(&late.task, await_future, &late, NULL), 0);
    every(5, cancel_it, &late);
    g_main_loop_run(outer);
    cr_expect_eq(rota_task_result(late.task, &result), 0);
    cr_expect_eq(result, -ECANCELED);
    rota_task_release(late.task);
}

static void quit_soon(rota_soon *soon, void *arg) {
    (void)soon;
    ++*(int *)arg;
    g_main_loop_quit(outer);
}

struct poster {
    rota_remote *remote;
    rota_soon soon;
};

static void *post(void *arg) {
    struct poster *poster = arg;
    nanosleep(&(struct timespec){0, 5 * ROTA_MS}, NULL);
    int rc = rota_remote_post(poster->remote, &poster->soon);
    rota_remote_close(poster->remote);
    return (void *)(intptr_t)rc;
}

Test(glib, a_post_of_another_thread_wakes_the_main_loop, .init = begin, .fini = end) {
    struct poster poster;
    pthread_t thread;
    int calls = 0;
    void *rc;
    rota_soon_init(&poster.soon, quit_soon, &calls);
    cr_assert_eq(rota_remote_open(&poster.remote, loop), 0);
    cr_assert_eq(pthread_create(&thread, NULL, post, &poster), 0);
    g_main_loop_run(outer);
    pthread_join(thread, &rc);
    cr_expect_null(rc);
    cr_expect_eq(calls, 1);
}

/* A task that spins by yielding never lets the ready queue run dry: GLib's own timer must come through. */
static intptr_t spin(void *arg) {
    bool *stop = arg;
    int rc = 0;
    while (rc == 0 && !*stop)
        rc = rota_yield();
    g_main_loop_quit(outer);
    return rc;
}

static gboolean say_stop(gpointer data) {
    *(bool *)data = true;
    return G_SOURCE_REMOVE;
}

Test(glib, a_busy_task_does_not_starve_glib, .init = begin, .fini = end) {
    bool stop = false;
    cr_assert_eq(rota_spawn(NULL, spin, &stop, NULL), 0);
    every(10, say_stop, &stop);
    g_main_loop_run(outer);
    cr_expect(stop);
}

static gboolean count_turns(gpointer data) {
    ++*(int *)data;
    return G_SOURCE_CONTINUE;
}

static gboolean quit_outer(gpointer data) {
    (void)data;
    g_main_loop_quit(outer);
    return G_SOURCE_REMOVE;
}

Test(glib, an_idle_loop_costs_nothing, .init = begin, .fini = end) {
    int turns = 0;
    g_source_set_callback(source, count_turns, &turns, NULL);
    every(50, quit_outer, NULL);
    g_main_loop_run(outer);
    cr_expect_leq(turns, 2, "%d turns of an idle loop", turns);
}

static intptr_t echo_once(void *arg) {
    int *ends = arg;
    char c = 0;
    ssize_t n = rota_read(ends[0], &c, 1);
    g_main_loop_quit(outer);
    return n == 1 ? c : -EIO;
}

static gboolean write_byte(gpointer data) {
    int *ends = data;
    cr_expect_eq(write(ends[1], "x", 1), 1);
    return G_SOURCE_REMOVE;
}

Test(glib, a_descriptor_that_a_task_waits_for_wakes_the_main_loop, .init = begin, .fini = end) {
    int ends[2];
    intptr_t result = 0;
    rota_task *task;
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(rota_spawn(&task, echo_once, ends, NULL), 0);
    every(5, write_byte, ends);
    g_main_loop_run(outer);
    cr_expect_eq(rota_task_result(task, &result), 0);
    cr_expect_eq(result, 'x');
    rota_task_release(task);
    rota_close(ends[0]);
    close(ends[1]);
}

Test(glib, a_closed_loop_ends_the_source, .init = begin, .fini = end) {
    cr_expect_eq(rota_loop_stop(loop), 0);   /* something to do */
    g_main_context_iteration(context, FALSE);
    cr_expect(!g_source_is_destroyed(source));
    GSource *second = NULL;
    cr_expect_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_glib_source_new(&second, loop), -ESHUTDOWN);
    cr_expect_null(second);
    cr_expect_eq(rota_glib_source_new(NULL, loop), -EINVAL);
    cr_expect_eq(rota_glib_source_new(&second, NULL), -EINVAL);
}

/* ---- two threads ---- */

struct of_thread {
    GMainLoop *outer;
    int steps;
};

static intptr_t count_and_quit(void *arg) {
    struct of_thread *of = arg;
    int rc = 0;
    while (rc == 0 && of->steps < 50) {
        rc = rota_sleep(ROTA_MS / 2);
        of->steps++;
    }
    g_main_loop_quit(of->outer);
    return rc;
}

static void *whole_program(void *arg) {
    struct of_thread *of = arg;
    rota_loop *mine;
    GSource *of_mine;
    GMainContext *my_context = g_main_context_new();
    of->outer = g_main_loop_new(my_context, FALSE);
    int rc = rota_loop_new(&mine, NULL);
    if (rc == 0)
        rc = rota_glib_source_new(&of_mine, mine);
    if (rc == 0)
        rc = rota_spawn(NULL, count_and_quit, of, NULL);
    if (rc == 0) {
        g_source_attach(of_mine, my_context);
        g_main_loop_run(of->outer);
        g_source_destroy(of_mine);
        g_source_unref(of_mine);
        rc = rota_loop_free(mine);
    }
    g_main_loop_unref(of->outer);
    g_main_context_unref(my_context);
    return (void *)(intptr_t)rc;
}

Test(glib, two_threads_with_a_loop_each, .init = begin, .fini = end) {
    struct of_thread of[2] = {{0}};
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
