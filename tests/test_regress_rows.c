/* Bugs that were found by making every call wrongly (tests/invalid), each with what it takes to see it. */
#include <sys/socket.h>
#include <unistd.h>

#include "rota.h"
#include "tests/harness.h"
#include "tests/support.h"

/* ---- an init of NULL wrote to it ---- */

Test(regress_rows, inits_of_nothing_do_nothing) {
    rota_soon_init(NULL, NULL, NULL);
    rota_timer_init(NULL, NULL, NULL);
    rota_ticker_init(NULL, NULL, NULL);
    rota_watcher_init(NULL, 0, ROTA_READ, NULL, NULL);
    rota_signal_init(NULL, 1, NULL, NULL);
    rota_child_init(NULL, 1, NULL, NULL);
}

/* ---- a stream that had data copied it to NULL ---- */

static intptr_t read_to_nowhere(void *arg) {
    int fds[2];
    rota_stream stream;
    char buf[8];
    (void)arg;
    cr_expect_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cr_expect_eq(write(fds[1], "data", 4), 4);
    cr_expect_eq(rota_stream_open(&stream, fds[0], NULL), 0);
    size_t done = 9;
    cr_expect_eq(rota_stream_read(&stream, NULL, 4), -EINVAL);
    cr_expect_eq(rota_stream_read_exact(&stream, NULL, 4, &done), -EINVAL);
    cr_expect_eq(done, 0u);
    cr_expect_eq(rota_stream_read(&stream, NULL, 0), 0);
    cr_expect_eq(rota_stream_read(&stream, buf, 8), 4);
    rota_stream_close(&stream);
    return close(fds[1]);
}

Test(regress_rows, a_stream_reads_into_a_buffer) { cr_expect_eq(rota_run(read_to_nowhere, NULL, NULL, NULL), 0); }

/* ---- a generator whose loop had closed was run on a stack that was no more ---- */

static intptr_t one(rota_gen *self, void *arg) {
    (void)arg;
    return rota_gen_yield(self, 1, NULL);
}

static intptr_t leave_open(void *generators) {
    rota_gen *g = generators;
    intptr_t value;
    cr_expect_eq(rota_gen_open(&g[0], one, NULL, NULL), 0);
    cr_expect_eq(rota_gen_open(&g[1], one, NULL, NULL), 0);
    return rota_gen_next(&g[1], &value);
}

Test(regress_rows, a_generator_of_a_closed_loop_is_refused) {
    rota_gen g[2];
    rota_loop *loop;
    rota_task *task;
    intptr_t value = 5;
    cr_assert_eq(rota_loop_new(&loop, NULL), 0);
    cr_assert_eq(rota_spawn(&task, leave_open, g, NULL), 0);
    cr_assert_eq(rota_loop_run_until(loop, task, &value), 0);
    cr_expect_eq(value, ROTA_YIELDED);
    cr_assert_eq(rota_loop_close(loop), 0);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(rota_gen_next(&g[i], &value), -ESHUTDOWN);
        cr_expect_eq(rota_gen_throw(&g[i], -EIO, &value), -ESHUTDOWN);
        cr_expect_eq(rota_gen_close(&g[i]), -ESHUTDOWN);
        cr_expect_eq(rota_gen_close(&g[i]), 0);
        cr_expect(rota_gen_done(&g[i]));
    }
    cr_expect_eq(rota_loop_free(loop), 0);
}
