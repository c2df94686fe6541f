/* Calls by time and from other threads: rota_call_soon, _later, _at, rota_remote_call_soon, _later, rota_remote_call.
 *
 * Invariant: what was begun here is told when the loop closes before it has ended. As long as something is queued (in
 * the inbox or the ready queue) it is a post, which is told when it is dropped; while it waits for a time or for a
 * task it is in the loop's list of what it owns. So no memory is lost, and no thread stays blocked.
 */
#include <pthread.h>

#include "coro/task.h"
#include "rota/combine.h"

/* ---- callbacks ---- */

struct call {
    struct rota__post post;     /* while it is queued */
    struct rota__owned owned;   /* while it waits for its time */
    rota_timer timer;
    int64_t ns;                 /* for one that is on its way from another thread; < 0: soon */
    void (*fn)(void *arg);
    void *arg;
};

/* On the loop's thread, in a turn or while it closes. */
static void call_free(struct call *call) { rota__free(&rota__current->allocator, call, sizeof *call); }

/* The memory first: fn may do anything. */
static void call_now(struct call *call) {
    void (*fn)(void *) = call->fn;
    void *arg = call->arg;
    call_free(call);
    fn(arg);
}

static void timer_fired(rota_timer *timer, void *arg) {
    struct call *call = arg;
    (void)timer;
    rota__owned_remove(&call->owned);
    call_now(call);
}

static void drop_owned(struct rota__owned *owned) { call_free(rota__container_of(owned, struct call, owned)); }

static void arm(rota_loop *loop, struct call *call, int64_t when) {
    rota_timer_init(&call->timer, timer_fired, call);
    call->owned.drop = drop_owned;
    rota__owned_add(loop, &call->owned);
    rota__loop_arm(loop, &call->timer, when);
}

static int64_t from_now(rota_loop *loop, int64_t ns) { return rota__time_add(rota__loop_clock(loop), ns > 0 ? ns : 0); }

static void run_post(struct rota__post *post) {
    struct call *call = (struct call *)post;
    if (call->ns < 0)
        call_now(call);
    else
        arm(rota__current, call, from_now(rota__current, call->ns));
}

static void drop_post(struct rota__post *post) { call_free((struct call *)post); }

static struct call *call_new(const rota_allocator *a, void (*fn)(void *arg), void *arg, int64_t ns) {
    struct call *call = rota__alloc(a, sizeof *call);
    if (!call)
        return NULL;
    rota__post_init(&call->post, run_post, drop_post);
    call->fn = fn;
    call->arg = arg;
    call->ns = ns;
    return call;
}

static int call_here(void (*fn)(void *arg), void *arg, struct call **call) {
    int rc = fn ? rota__loop_check(rota__current) : -EINVAL;
    if (rc < 0)
        return rc;
    *call = call_new(&rota__current->allocator, fn, arg, -1);
    return *call ? 0 : -ENOMEM;
}

int rota_call_soon(void (*fn)(void *arg), void *arg) {
    struct call *call;
    int rc = call_here(fn, arg, &call);
    if (rc == 0)
        rota__loop_push(rota__current, &call->post.ready);
    return rc;
}

int rota_call_at(int64_t when, void (*fn)(void *arg), void *arg) {
    struct call *call;
    int rc = call_here(fn, arg, &call);
    if (rc == 0)
        arm(rota__current, call, when);
    return rc;
}

int rota_call_later(int64_t ns, void (*fn)(void *arg), void *arg) {
    struct call *call;
    int rc = call_here(fn, arg, &call);
    if (rc == 0)
        arm(rota__current, call, from_now(rota__current, ns));
    return rc;
}

/* ---- from other threads ---- */

static int send_call(rota_remote *remote, void (*fn)(void *arg), void *arg, int64_t ns) {
    if (!remote || !fn)
        return -EINVAL;
    struct rota__inbox *inbox = rota__remote_inbox(remote);
    if (inbox->forks != rota__forks)
        return -EINVAL;
    struct call *call = call_new(&inbox->allocator, fn, arg, ns);
    if (!call)
        return -ENOMEM;
    int rc = rota__inbox_post(inbox, &call->post.ready);
    if (rc < 0)
        rota__free(&inbox->allocator, call, sizeof *call);
    return rc;
}

int rota_remote_call_soon(rota_remote *remote, void (*fn)(void *arg), void *arg) {
    return send_call(remote, fn, arg, -1);
}

int rota_remote_call_later(rota_remote *remote, int64_t ns, void (*fn)(void *arg), void *arg) {
    return send_call(remote, fn, arg, ns > 0 ? ns : 0);
}

/* ---- a task, and a thread that waits for it ---- */

/* On the stack of the thread that waits. */
struct remote_call {
    struct rota__post post;     /* on its way */
    struct rota__owned owned;   /* from its arrival until fn has returned */
    struct rota__inbox *inbox;
    rota_at at;
    rota_fn *fn;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool ended;
    int rc;
    intptr_t value;
};

/* The thread may go on, and the struct with it, as soon as the lock is released. In a child after fork there is no
 * such thread, and nobody who could release the lock if it was held. */
static void finish(struct remote_call *call, int rc, intptr_t value) {
    if (call->inbox->forks != rota__forks)
        return;
    pthread_mutex_lock(&call->lock);
    call->rc = rc;
    call->value = value;
    call->ended = true;
    pthread_cond_signal(&call->over);
    pthread_mutex_unlock(&call->lock);
}

/* While its thread is blocked, its reference to the remote keeps nothing alive: the thread can send nothing, so a loop
 * that waits for it while it waits for the loop is a deadlock, and is told as one. */
static void thread_blocked(struct remote_call *call) { atomic_fetch_sub(&call->inbox->remotes, 1); }
static void thread_free(struct remote_call *call) { atomic_fetch_add(&call->inbox->remotes, 1); }

/* Returns 0: whether fn failed is the thread's to know, not for a report of an outcome that nobody looked at. */
static intptr_t run_remote(void *arg) {
    struct remote_call *call = arg;
    intptr_t value = call->fn(call->arg);
    rota__owned_remove(&call->owned);
    thread_free(call);
    finish(call, 0, value);
    return 0;
}

static void drop_running(struct rota__owned *owned) {
    struct remote_call *call = rota__container_of(owned, struct remote_call, owned);
    thread_free(call);
    finish(call, -ESHUTDOWN, 0);
}

static void drop_queued(struct rota__post *post) { finish((struct remote_call *)post, -ESHUTDOWN, 0); }

static void arrive(struct rota__post *post) {
    struct remote_call *call = (struct remote_call *)post;
    int rc = rota_spawn_at(call->at, NULL, run_remote, call, &(rota_spawn_options){ .name = "remote call" });
    if (rc < 0) {
        finish(call, rc, 0);
        return;
    }
    thread_blocked(call);
    call->owned.drop = drop_running;
    rota__owned_add(rota__current, &call->owned);
}

static void wait_until_ended(struct remote_call *call) {
    pthread_mutex_lock(&call->lock);
    while (!call->ended)
        pthread_cond_wait(&call->over, &call->lock);
    pthread_mutex_unlock(&call->lock);
    pthread_cond_destroy(&call->over);
    pthread_mutex_destroy(&call->lock);
}

int rota_remote_call_at(rota_at at, rota_remote *remote, rota_fn *fn, void *arg, intptr_t *result) {
    if (!remote || !fn)
        return rota__two_channels(-EINVAL, 0, result);
    struct remote_call call = { .inbox = rota__remote_inbox(remote), .at = at, .fn = fn, .arg = arg,
                                .lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER };
    if (call.inbox->forks != rota__forks)
        return rota__two_channels(-EINVAL, 0, result);
    if (call.inbox->owner == rota__thread_id())
        return rota__two_channels(-EDEADLK, 0, result);
    rota__post_init(&call.post, arrive, drop_queued);
    int rc = rota__inbox_post(call.inbox, &call.post.ready);
    if (rc < 0)
        return rota__two_channels(rc, 0, result);
    wait_until_ended(&call);
    return rota__two_channels(call.rc, call.value, result);
}
