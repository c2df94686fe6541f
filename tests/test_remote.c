/* Remotes: posts from other threads, what keeps the loop alive, what happens when the loop goes first. */
#include "tests/reactor_kit.h"
#include "tests/sys_table.h"

static rota_remote *remote;

static void begin(void) {
    kit_open();
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
}

static void begin_threads(void) {
    kit_open_threads();
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
}

static void end(void) {
    rota_remote_close(remote);
    kit_close();
}

Test(remote, without_a_loop_it_is_of_the_current_one, .init = begin, .fini = end) {
    rota_remote *other;
    rota_soon soon;
    rota_soon_init(&soon, say_soon, "p");
    cr_assert_eq(rota_remote_open(&other, NULL), 0);
    cr_expect_eq(rota_remote_post(other, &soon), 0);
    turn_once(0);
    cr_expect_str_eq(trace, "p");
    rota_remote_close(other);
}

Test(remote, without_memory_there_is_none, .init = begin, .fini = end) {
    rota_remote *other = remote;
    memory.fail_at = memory.calls + 1;
    cr_expect_eq(rota_remote_open(&other, loop), -ENOMEM);
    cr_expect_null(other);
}

/* I03. */
Test(remote, null_is_answered, .init = begin, .fini = end) {
    rota_soon soon;
    rota_soon_init(&soon, say_soon, "");
    cr_expect_eq(rota_remote_post(NULL, &soon), -EINVAL);
    cr_expect_eq(rota_remote_post(remote, NULL), -EINVAL);
    rota_soon_init(&soon, NULL, NULL);
    cr_expect_eq(rota_remote_post(remote, &soon), -EINVAL);
    cr_expect_null(rota_remote_ref(NULL));
    rota_remote_close(NULL);
}

Test(remote, posts_run_in_order_behind_ready_work, .init = begin, .fini = end) {
    rota_soon soons[3];
    for (int i = 0; i < 3; i++)
        rota_soon_init(&soons[i], say_soon, &"a\0b\0c"[i * 2]);
    cr_expect_eq(rota_soon_start(loop, &soons[0]), 0);
    cr_expect_eq(rota_remote_post(remote, &soons[1]), 0);
    cr_expect_eq(rota_remote_post(remote, &soons[2]), 0);
    turn_once(0);
    cr_expect_str_eq(trace, "abc");
}

Test(remote, a_posted_one_is_queued_until_it_runs, .init = begin, .fini = end) {
    rota_soon soon;
    rota_soon_init(&soon, say_soon, "p");
    cr_expect_eq(rota_remote_post(remote, &soon), 0);
    cr_expect_eq(rota_remote_post(remote, &soon), -EALREADY);
    cr_expect_eq(rota_soon_start(loop, &soon), -EALREADY);
    turn_once(0);
    cr_expect_eq(rota_remote_post(remote, &soon), 0);
    turn_once(0);
    cr_expect_str_eq(trace, "pp");
}

Test(remote, a_posted_one_can_be_stopped, .init = begin, .fini = end) {
    rota_soon soons[3];
    for (int i = 0; i < 3; i++) {
        rota_soon_init(&soons[i], say_soon, &"a\0b\0c"[i * 2]);
        cr_expect_eq(rota_remote_post(remote, &soons[i]), 0);
    }
    cr_expect_eq(rota_soon_stop(loop, &soons[1]), 0);
    turn_once(0);
    cr_expect_str_eq(trace, "ac");
    cr_expect_eq(rota_remote_post(remote, &soons[1]), 0);
    turn_once(0);
    cr_expect_str_eq(trace, "acb");
}

static void post_again(rota_soon *soon, void *arg) {
    int *left = arg;
    if (--*left > 0)
        cr_expect_eq(rota_remote_post(remote, soon), 0);
}

Test(remote, a_callback_may_post_itself_again, .init = begin, .fini = end) {
    rota_soon soon;
    int left = 5;
    rota_soon_init(&soon, post_again, &left);
    cr_expect_eq(rota_remote_post(remote, &soon), 0);
    for (int i = 0; i < 10 && left; i++)
        turn_once(0);
    cr_expect_eq(left, 0);
}

static void stop_loop(rota_soon *soon, void *arg) { (void)soon, (void)arg, (void)rota_loop_stop(loop); }

static void post_other(rota_soon *soon, void *arg) {
    (void)soon;
    cr_expect_eq(rota_remote_post(remote, arg), 0);
}

/* The post lies in the inbox when the loop wants to sleep, and nobody will wake it. */
Test(remote, a_post_from_a_callback_keeps_the_loop_from_sleeping, .init = begin, .fini = end, .timeout = 10) {
    rota_soon poster, posted;
    rota_soon_init(&posted, stop_loop, NULL);
    rota_soon_init(&poster, post_other, &posted);
    cr_expect_eq(rota_soon_start(loop, &poster), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect(!rota__ready_queued(&posted.ready_));
}

/* ---- who goes first ---- */

Test(remote, it_outlives_the_loop, .init = kit_open) {
    rota_soon soon;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    rota_soon_init(&soon, say_soon, "p");
    cr_expect_eq(rota_loop_free(loop), 0);
    cr_expect_eq(rota_remote_post(remote, &soon), -ESHUTDOWN);
    cr_expect_eq(rota_remote_post(remote, &soon), -ESHUTDOWN);  /* not -EALREADY: it is the caller's */
    cr_expect_eq(rota_remote_ref(remote), remote);
    rota_remote_close(remote);
    rota_remote_close(remote);
    test_end();
}

Test(remote, posts_not_yet_run_are_dropped_when_the_loop_closes, .init = kit_open) {
    rota_soon soon;
    rota_loop *other;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    rota_soon_init(&soon, say_soon, "p");
    cr_expect_eq(rota_remote_post(remote, &soon), 0);
    cr_expect_eq(rota_loop_free(loop), 0);
    cr_assert_eq(rota_loop_new(&other, NULL), 0);
    cr_expect_eq(rota_soon_start(other, &soon), 0);  /* free for other uses */
    cr_expect_eq(rota_loop_run(other), 0);
    cr_expect_str_eq(trace, "p");
    cr_expect_eq(rota_loop_free(other), 0);
    rota_remote_close(remote);
    test_end();
}

/* ---- with threads ---- */

static void *close_later(void *arg) {
    nanosleep(&(struct timespec){ 0, 5 * ROTA_MS }, NULL);
    rota_remote_close(arg);
    return NULL;
}

Test(remote, an_open_one_keeps_the_loop_alive_and_the_last_one_ends_it, .init = kit_open_threads, .fini = kit_close) {
    pthread_t threads[2];
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    int64_t start = real_time();
    cr_assert_eq(pthread_create(&threads[0], NULL, close_later, rota_remote_ref(remote)), 0);
    cr_assert_eq(pthread_create(&threads[1], NULL, close_later, remote), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_geq(real_time() - start, 4 * ROTA_MS);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
}

static void *close_now(void *arg) {
    rota_remote_close(arg);
    return NULL;
}

/* The last close may fall on any moment of the way to sleep: the loop must not sleep for ever. */
Test(remote, the_last_close_is_never_missed, .init = kit_open_threads, .fini = kit_close, .timeout = 60) {
    for (int i = 0; i < 2000; i++) {
        pthread_t thread;
        cr_assert_eq(rota_remote_open(&remote, loop), 0);
        cr_assert_eq(pthread_create(&thread, NULL, close_now, remote), 0);
        cr_assert_eq(rota_loop_run(loop), 0);
        pthread_join(thread, NULL);
    }
}

/* The same moments, exactly: the other thread's close happens inside the wait. */
static void close_in_wait(void) {
    if (remote)
        rota_remote_close(remote);
    remote = NULL;
}

Test(remote, a_close_just_before_the_wait_wakes_it, .init = kit_open_meddled, .fini = kit_close) {
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    kit_before_wait = close_in_wait;
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_null(remote);
}

static rota_soon late_soon;

static void post_in_wait(void) {
    if (!rota__ready_queued(&late_soon.ready_) && !trace[0])
        cr_expect_eq(rota_remote_post(remote, &late_soon), 0);
}

static void say_and_stop(rota_soon *soon, void *arg) {
    (void)soon;
    say(arg);
    cr_expect_eq(rota_loop_stop(loop), 0);
}

/* G08. */
Test(remote, a_post_just_before_the_wait_wakes_it, .init = kit_open_meddled, .fini = kit_close) {
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    rota_soon_init(&late_soon, say_and_stop, "p");
    kit_before_wait = post_in_wait;
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "p");
    rota_remote_close(remote);
}

struct sender { rota_remote *remote; rota_soon soons[500]; };
static int received;
static int last_of[4];
static bool in_order = true;
static struct sender senders[4];

static void receive(rota_soon *soon, void *arg) {
    struct sender *sender = arg;
    int number = (int)(soon - sender->soons);
    in_order &= number == last_of[sender - senders]++;
    received++;
}

static void *send_all(void *arg) {
    struct sender *sender = arg;
    for (int i = 0; i < 500; i++)
        if (rota_remote_post(sender->remote, &sender->soons[i]) < 0)
            abort();
    rota_remote_close(sender->remote);
    return NULL;
}

/* D11, too: a post is how another thread starts a timer. */
Test(remote, posts_of_one_thread_stay_in_order, .init = kit_open_threads, .fini = kit_close) {
    pthread_t threads[4];
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    for (int i = 0; i < 4; i++) {
        senders[i].remote = rota_remote_ref(remote);
        for (int j = 0; j < 500; j++)
            rota_soon_init(&senders[i].soons[j], receive, &senders[i]);
        cr_assert_eq(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    rota_remote_close(remote);
    cr_expect_eq(rota_loop_run(loop), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(received, 2000);
    cr_expect(in_order);
}

static rota_timer remote_timer;

static void start_timer_here(rota_soon *soon, void *arg) {
    (void)soon, (void)arg;
    cr_assert_eq(rota_timer_start(loop, &remote_timer, ROTA_MS), 0);
}

static void *post_one(void *arg) {
    nanosleep(&(struct timespec){ 0, 5 * ROTA_MS }, NULL);
    if (rota_remote_post(remote, arg) < 0)
        abort();
    rota_remote_close(remote);
    return NULL;
}

/* D11. */
Test(remote, another_thread_starts_a_timer_by_a_post, .init = kit_open_threads, .fini = kit_close) {
    pthread_t thread;
    rota_soon soon;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    rota_timer_init(&remote_timer, say_timer, "t");
    rota_soon_init(&soon, start_timer_here, NULL);
    cr_assert_eq(pthread_create(&thread, NULL, post_one, &soon), 0);
    cr_expect_eq(rota_loop_run(loop), 0);
    cr_expect_str_eq(trace, "t");
    pthread_join(thread, NULL);
}

/* A flood to a loop that is awake makes no system calls. */
static int writes;
static ssize_t counting_write(int fd, const void *buf, size_t n) {
    writes++;
    return rota__sys_real.write(fd, buf, n);
}

Test(remote, posts_from_inside_the_loop_cost_no_system_call, .init = kit_open_meddled, .fini = kit_close) {
    enum { N = 100 };
    static rota_soon soons[N];
    int calls = 0;
    cr_assert_eq(rota_remote_open(&remote, loop), 0);
    kit_sys.write = counting_write;
    for (int i = 0; i < N; i++) {
        rota_soon_init(&soons[i], count_soon, &calls);
        cr_expect_eq(rota_remote_post(remote, &soons[i]), 0);
    }
    while (calls < N)
        turn_once(0);
    cr_expect_eq(writes, 0);
    rota_remote_close(remote);
}

/* The close has to find a place without the books of one thread: see begin_threads. */
Test(remote, references_can_be_dropped_by_any_thread, .init = begin_threads, .fini = end) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, close_now, rota_remote_ref(remote)), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(rota_loop_turn(loop, 0), 1);
}
