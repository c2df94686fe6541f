/* Calls by time and from other threads: what runs, when, and who is told when the loop closes first. */
#include "tests/support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coro/task.h"
#include "rota/combine.h"

static void note_letter(void *letter) { note((char)(intptr_t)letter); }

#define LETTER(c) ((void *)(intptr_t)(c))

/* ---- in the loop's thread ---- */

static intptr_t note_task(void *letter) {
    note_letter(letter);
    return 0;
}

static void call_again(void *letter) {
    note_letter(letter);
    cr_expect_null(rota_self());
    cr_expect_eq(rota_call_soon(note_letter, LETTER('z')), 0);
}

Task_test(call, soon_is_behind_everything_queued) {
    cr_expect_eq(rota_spawn(NULL, note_task, LETTER('a'), NULL), 0);
    cr_expect_eq(rota_call_soon(call_again, LETTER('b')), 0);
    cr_expect_eq(rota_spawn(NULL, note_task, LETTER('c'), NULL), 0);
    cr_expect_eq(rota_call_soon(note_letter, LETTER('d')), 0);
    cr_expect_str_eq(trace, "");
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "abcd");
    cr_expect_eq(rota_yield(), 0);
    cr_expect_str_eq(trace, "abcdz");
    return 0;
}

static int64_t fired_at[4];
static int n_fired;

static void note_time(void *unused) {
    (void)unused;
    if (n_fired < 4)
        fired_at[n_fired] = rota_now();
    n_fired++;
}

Task_test(call, later_and_at_run_at_their_times_in_order) {
    int64_t start = rota_now();
    cr_expect_eq(rota_call_later(20 * ROTA_MS, note_time, NULL), 0);
    cr_expect_eq(rota_call_at(start + 10 * ROTA_MS, note_time, NULL), 0);
    cr_expect_eq(rota_call_later(10 * ROTA_MS, note_letter, LETTER('x')), 0);
    cr_expect_eq(rota_call_later(-5, note_time, NULL), 0);
    cr_expect_eq(rota_call_at(0, note_time, NULL), 0);
    cr_expect_eq(n_fired, 0, "never inside the call");
    cr_expect_eq(rota_sleep(20 * ROTA_MS), 0);
    cr_expect_eq(n_fired, 4);
    const int64_t times[] = { 0, 0, 10 * ROTA_MS, 20 * ROTA_MS };
    for (int i = 0; i < 4; i++)
        cr_expect_eq(fired_at[i] - start, times[i]);
    cr_expect_str_eq(trace, "x");
    return 0;
}

Test(call, keeps_a_loop_without_tasks_alive_until_it_ran) {
    rota_loop *loop = open_loop();
    cr_expect_eq(rota_call_later(ROTA_S, note_letter, LETTER('a')), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "a");
    close_loop(loop);
}

Test(call, is_dropped_and_freed_when_the_loop_closes_first) {
    rota_loop *loop = open_loop();
    cr_expect_eq(rota_call_soon(note_letter, LETTER('a')), 0);
    cr_expect_eq(rota_call_later(ROTA_S, note_letter, LETTER('b')), 0);
    cr_expect_eq(rota_call_later(2 * ROTA_S, note_letter, LETTER('c')), 0);
    close_loop(loop); /* counts the memory */
    cr_expect_str_eq(trace, "");
}

Test(call, mistakes) {
    rota_loop *loop;
    cr_expect_eq(rota_call_soon(note_letter, NULL), -EINVAL, "no loop");
    loop = open_loop();
    cr_expect_eq(rota_call_soon(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_call_later(1, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_call_at(1, NULL, NULL), -EINVAL);
    memory.fail_at = memory.calls + 1;
    memory.fail_on = true;
    cr_expect_eq(rota_call_soon(note_letter, NULL), -ENOMEM);
    cr_expect_eq(rota_call_later(1, note_letter, NULL), -ENOMEM);
    cr_expect_eq(rota_call_at(1, note_letter, NULL), -ENOMEM);
    memory.fail_at = 0;
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "");
    close_loop(loop);
}

/* ---- another thread ---- */

/* The allocator that keeps books is not thread-safe: loops with remotes use malloc. */
static rota_loop *open_shared_loop(void) {
    rota_loop *loop = NULL;
    rota_loop_options opt = test_options();
    opt.allocator = NULL;
    test_begin();
    cr_assert_eq(rota_loop_new(&loop, &opt), 0);
    return loop;
}

/* What a thread does, and what it got. It closes its reference at its end. */
struct thread {
    pthread_t id;
    rota_remote *remote;
    rota_fn *fn;
    void *arg;
    int rc;
    intptr_t result;
    atomic_bool over;
};

static void *call_and_wait(void *arg) {
    struct thread *t = arg;
    t->result = 99;
    t->rc = rota_remote_call(t->remote, t->fn, t->arg, &t->result);
    atomic_store(&t->over, true);
    rota_remote_close(t->remote);
    return NULL;
}

static void start_thread(struct thread *t, rota_loop *loop, void *(*body)(void *)) {
    atomic_init(&t->over, false);
    cr_assert_eq(rota_remote_open(&t->remote, loop), 0);
    cr_assert_eq(pthread_create(&t->id, NULL, body, t), 0);
}

static void *send_calls(void *arg) {
    struct thread *t = arg;
    t->rc = rota_remote_call_soon(t->remote, note_letter, LETTER('a'));
    t->rc |= rota_remote_call_later(t->remote, -1, note_letter, LETTER('c'));
    t->rc |= rota_remote_call_soon(t->remote, note_letter, LETTER('b'));
    t->rc |= rota_remote_call_later(t->remote, 20 * ROTA_MS, note_letter, LETTER('d'));
    t->result = rota_remote_call_soon(t->remote, NULL, NULL);
    rota_remote_close(t->remote);
    return NULL;
}

Test(remote_call, soon_and_later) {
    rota_loop *loop = open_shared_loop();
    struct thread t;
    start_thread(&t, loop, send_calls);
    cr_expect_eq(rota_loop_run(loop), 0);
    pthread_join(t.id, NULL);
    cr_expect_eq(t.rc, 0);
    cr_expect_eq(t.result, -EINVAL);
    /* Whether b was on its way when the timer of c was due depends on the thread. */
    cr_expect(strcmp(trace, "abcd") == 0 || strcmp(trace, "acbd") == 0, "%s", trace);
    close_loop(loop);
}

Test(remote_call, later_counts_from_when_the_loop_gets_it) {
    rota_loop *loop = open_loop();
    rota_remote *remote;
    n_fired = 0;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    cr_expect_eq(rota_remote_call_later(remote, 20 * ROTA_MS, note_time, NULL), 0);
    loop->now += ROTA_S; /* the loop was busy */
    int64_t got_it = loop->now;
    rota_remote_close(remote);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_eq(n_fired, 1);
    cr_expect_eq(fired_at[0] - got_it, 20 * ROTA_MS);
    close_loop(loop);
}

Test(remote_call, those_that_the_loop_closes_over_are_freed_and_later_ones_refused) {
    rota_loop *loop = open_loop();
    rota_remote *remote;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    cr_expect_eq(rota_remote_call_soon(remote, note_letter, LETTER('a')), 0);
    cr_expect_eq(rota_remote_call_later(remote, 1, note_letter, LETTER('b')), 0);
    cr_assert_eq(rota_loop_close(loop), 0);
    cr_expect_eq(rota_remote_call_soon(remote, note_letter, LETTER('c')), -ESHUTDOWN);
    cr_expect_eq(rota_remote_call(remote, note_task, LETTER('d'), NULL), -ESHUTDOWN);
    rota_remote_close(remote);
    close_loop(loop);
    cr_expect_str_eq(trace, "");
}

Test(remote_call, that_arrived_but_did_not_run_are_freed_too) {
    rota_loop *loop = open_loop();
    rota_remote *remote;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    cr_expect_eq(rota_remote_call_soon(remote, note_letter, LETTER('a')), 0);
    cr_expect(rota__inbox_take(loop));
    rota_remote_close(remote);
    close_loop(loop);
    cr_expect_str_eq(trace, "");
}

Test(remote_call, needs_memory) {
    rota_loop *loop = open_loop();
    rota_remote *remote;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    memory.fail_at = memory.calls + 1;
    memory.fail_on = true;
    cr_expect_eq(rota_remote_call_soon(remote, note_letter, NULL), -ENOMEM);
    cr_expect_eq(rota_remote_call_later(remote, 1, note_letter, NULL), -ENOMEM);
    cr_expect_eq(rota_remote_call_soon(NULL, note_letter, NULL), -EINVAL);
    rota_remote_close(remote);
    close_loop(loop);
}

/* ---- blocking for a result ---- */

static intptr_t sleep_and_answer(void *answer) {
    int rc = rota_sleep(10 * ROTA_MS);
    cr_expect_str_eq(rota_task_name(rota_self()), "remote call");
    return rc < 0 ? rc : *(intptr_t *)answer;
}

Test(remote_call, blocks_until_the_task_has_ended_and_gets_its_result) {
    rota_loop *loop = open_shared_loop();
    intptr_t answer = 42;
    struct thread t = { .fn = sleep_and_answer, .arg = &answer };
    start_thread(&t, loop, call_and_wait);
    cr_expect_eq(rota_loop_run(loop), 0);
    pthread_join(t.id, NULL);
    cr_expect(t.rc == 0 && t.result == 42);
    close_loop(loop);
}

static void *call_merged(void *arg) {
    struct thread *t = arg;
    t->rc = rota_remote_call(t->remote, t->fn, t->arg, NULL);
    rota_remote_close(t->remote);
    return NULL;
}

Test(remote_call, has_two_channels_unless_they_are_merged_and_reports_nothing) {
    rota_loop *loop = open_shared_loop();
    intptr_t answer = -EIO;
    struct thread t = { .fn = sleep_and_answer, .arg = &answer }, u = { .fn = sleep_and_answer, .arg = &answer };
    start_thread(&t, loop, call_and_wait);
    start_thread(&u, loop, call_merged);
    cr_expect_eq(rota_loop_run(loop), 0);
    pthread_join(t.id, NULL);
    pthread_join(u.id, NULL);
    cr_expect(t.rc == 0 && t.result == -EIO);
    cr_expect_eq(u.rc, -EIO);
    cr_expect_eq(reports.n, 0);
    close_loop(loop);
}

Test(remote_call, on_the_loops_own_thread_would_wait_for_itself) {
    rota_loop *loop = open_loop();
    rota_remote *remote;
    intptr_t result = 0;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    cr_expect_eq(rota_remote_call(remote, note_task, NULL, &result), -EDEADLK);
    cr_expect_eq(result, -EDEADLK);
    cr_expect_eq(rota_remote_call(NULL, note_task, NULL, NULL), -EINVAL);
    cr_expect_eq(rota_remote_call(remote, NULL, NULL, NULL), -EINVAL);
    rota_remote_close(remote);
    close_loop(loop);
}

static void wait_until_queued(rota_loop *loop) {
    while (!atomic_load(&loop->inbox->head))
        sched_yield();
}

Test(remote_call, is_told_when_the_loop_closes_while_it_is_queued) {
    rota_loop *loop = open_shared_loop();
    struct thread t = { .fn = note_task, .arg = LETTER('a') };
    start_thread(&t, loop, call_and_wait);
    wait_until_queued(loop);
    cr_expect_eq(rota_loop_close(loop), 0);
    pthread_join(t.id, NULL);
    cr_expect(t.rc == -ESHUTDOWN && t.result == -ESHUTDOWN);
    cr_expect_str_eq(trace, "", "it never ran");
    close_loop(loop);
}

Test(remote_call, is_told_when_it_has_arrived_but_not_run) {
    rota_loop *loop = open_shared_loop();
    struct thread t = { .fn = note_task, .arg = LETTER('a') };
    start_thread(&t, loop, call_and_wait);
    wait_until_queued(loop);
    cr_expect(rota__inbox_take(loop));
    cr_expect_eq(rota_loop_close(loop), 0);
    pthread_join(t.id, NULL);
    cr_expect_eq(t.rc, -ESHUTDOWN);
    cr_expect_str_eq(trace, "");
    close_loop(loop);
}

/* Turns until the task of the call has run up to its first wait. */
static void run_until_it_waits(rota_loop *loop) {
    while (!rota_loop_tasks(loop))
        cr_assert_geq(rota_loop_turn(loop, 0), 0);
    cr_assert_geq(rota_loop_turn(loop, 0), 0);
}

static intptr_t wait_for_ever(void *f) {
    intptr_t value;
    note('w');
    int rc = rota_future_await(f, &value);
    return rc < 0 ? rc : value;
}

Test(remote_call, is_cancelled_when_the_loop_closes_under_it) {
    rota_loop *loop = open_shared_loop();
    rota_future f = { 0 };
    struct thread t = { .fn = wait_for_ever, .arg = &f };
    start_thread(&t, loop, call_and_wait);
    run_until_it_waits(loop);
    cr_expect(!atomic_load(&t.over));
    cr_expect_eq(rota_loop_close(loop), 0);
    pthread_join(t.id, NULL);
    cr_expect(t.rc == 0 && t.result == -ECANCELED, "it ended, and says how");
    close_loop(loop);
}

static intptr_t stay(void *unused) {
    (void)unused;
    note('s');
    struct rota__wait wait = { .what = "nothing at all", .until = ROTA_FOREVER };
    return rota__park(rota_self(), &wait);
}

Test(remote_call, is_told_when_its_task_is_left_over) {
    rota_loop *loop = open_shared_loop();
    struct thread t = { .fn = stay };
    start_thread(&t, loop, call_and_wait);
    run_until_it_waits(loop);
    cr_expect_eq(rota_loop_close(loop), 0, "and the closing does not wait for the thread that waits for it");
    pthread_join(t.id, NULL);
    cr_expect_eq(t.rc, -ESHUTDOWN);
    cr_expect_str_eq(trace, "s");
    cr_expect_eq(reports_of(ROTA_REPORT_PENDING), 1);
    close_loop(loop);
}

Test(remote_call, of_a_task_that_nothing_can_wake_is_a_deadlock) {
    rota_loop *loop = open_shared_loop();
    rota_future f = { 0 };
    struct thread t = { .fn = wait_for_ever, .arg = &f };
    start_thread(&t, loop, call_and_wait);
    cr_expect_eq(rota_loop_run(loop), -EDEADLK, "its thread can send nothing");
    cr_expect_eq(reports_of(ROTA_REPORT_DEADLOCK), 1);
    cr_expect_eq(rota_future_set(&f, 5), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    pthread_join(t.id, NULL);
    cr_expect(t.rc == 0 && t.result == 5);
    close_loop(loop);
}

static void set_future(rota_soon *soon, void *f) {
    (void)soon;
    cr_expect_eq(rota_future_set(f, 6), 0);
}

Test(remote_call, another_reference_to_the_same_remote_keeps_the_loop_alive) {
    rota_loop *loop = open_shared_loop();
    rota_future f = { 0 };
    rota_soon soon;
    struct thread t = { .fn = wait_for_ever, .arg = &f };
    rota_remote *mine;
    atomic_init(&t.over, false);
    cr_assert_eq(rota_remote_open(&t.remote, loop), 0);
    mine = rota_remote_ref(t.remote);
    cr_assert_eq(pthread_create(&t.id, NULL, call_and_wait, &t), 0);
    run_until_it_waits(loop);
    cr_expect_eq(rota_loop_turn(loop, 0), 1, "somebody may still post");
    rota_soon_init(&soon, set_future, &f);
    cr_expect_eq(rota_remote_post(mine, &soon), 0);
    rota_remote_close(mine);
    cr_expect_eq(rota_loop_run(loop), 0);
    pthread_join(t.id, NULL);
    cr_expect(t.rc == 0 && t.result == 6);
    close_loop(loop);
}

static void *call_with_no_room(void *arg) {
    struct thread *t = arg;
    t->rc = rota_remote_call(t->remote, note_task, LETTER('n'), &t->result);
    rota_remote_close(t->remote);
    return NULL;
}

Test(remote_call, gives_the_errors_of_spawn) {
    rota_loop *loop = NULL;
    rota_loop_options opt = test_options();
    rota_future f = { 0 };
    struct thread t;
    opt.allocator = NULL;
    opt.max_tasks = 1;
    test_begin();
    cr_assert_eq(rota_loop_new(&loop, &opt), 0);
    cr_assert_eq(rota_spawn(NULL, wait_for_ever, &f, NULL), 0);
    start_thread(&t, loop, call_with_no_room);
    cr_expect_eq(rota_loop_run(loop), -EDEADLK);
    pthread_join(t.id, NULL);
    cr_expect(t.rc == -EAGAIN && t.result == -EAGAIN);
    cr_expect_str_eq(trace, "w");
    close_loop(loop);
}

/* ---- many threads at once, and a loop that closes over some of them ---- */

enum { THREADS = 8, CALLS = 50 };

static intptr_t square(void *n) {
    int rc = *(int *)n % 3 ? rota_yield() : rota_sleep(ROTA_US);
    return rc < 0 ? rc : *(int *)n * *(int *)n;
}

static void *call_many(void *arg) {
    struct thread *t = arg;
    t->rc = 0;
    for (int i = 0; i < CALLS && t->rc == 0; i++) {
        t->rc = rota_remote_call(t->remote, square, &i, &t->result);
        if (t->rc == 0 && t->result != i * i)
            t->rc = t->result == -ECANCELED ? -ECANCELED : -EIO;
    }
    rota_remote_close(t->remote);
    return NULL;
}

Test(remote_call, many_threads) {
    rota_loop *loop = open_shared_loop();
    struct thread t[THREADS];
    for (int i = 0; i < THREADS; i++)
        start_thread(&t[i], loop, call_many);
    cr_expect_eq(rota_loop_run(loop), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i].id, NULL);
        cr_expect_eq(t[i].rc, 0);
    }
    close_loop(loop);
}

Test(remote_call, many_threads_while_the_loop_closes) { /* G07 */
    for (int round = 0; round < 20; round++) {
        rota_loop *loop = open_shared_loop();
        struct thread t[THREADS];
        for (int i = 0; i < THREADS; i++)
            start_thread(&t[i], loop, call_many);
        for (int i = 0; i < 2 * round; i++)
            cr_assert_geq(rota_loop_turn(loop, 0), 0);
        cr_expect_eq(rota_loop_close(loop), 0);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(t[i].id, NULL);
            cr_expect(t[i].rc == 0 || t[i].rc == -ESHUTDOWN || t[i].rc == -ECANCELED, "%d", t[i].rc);
        }
        close_loop(loop);
    }
}

/* ---- fork ---- */

/* With calls under way: they are given back in the child too, and no thread is looked for there. */
static int child_of_fork(rota_loop *loop, rota_remote *remote) {
    int call = rota_remote_call(remote, note_task, NULL, NULL);
    int soon = rota_remote_call_soon(remote, note_letter, NULL);
    rota_remote_close(remote);
    int closed = rota_loop_free(loop);
    return call != -EINVAL || soon != -EINVAL || closed != 0;
}

Test(remote_call, in_a_child_after_fork_is_refused) {
    rota_loop *loop = open_loop();
    rota_remote *remote;
    int status = -1;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    cr_expect_eq(rota_remote_call_soon(remote, note_letter, LETTER('a')), 0);
    cr_expect_eq(rota_call_later(ROTA_S, note_letter, LETTER('b')), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(child_of_fork(loop, remote));
    cr_expect_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rota_remote_close(remote);
    close_loop(loop);
}
