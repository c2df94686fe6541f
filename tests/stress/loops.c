/* Loops in several threads that talk to each other: a ring in which each loop passes a token on to the next by a
 * post, with timers and descriptors of their own beside it. What loops share (thread ids, the table of signals, the
 * fork counter) must be safe. The argument is the number of times the token goes round. */
#include "tests/stress/stress.h"

#include <fcntl.h>
#include <sched.h>

enum { LOOPS = 4 };

struct node {
    rota_loop *loop;
    rota_remote *next;       /* of the next loop of the ring */
    rota_soon token;         /* posted to the next */
    struct node *next_node;
    rota_timer timer;
    rota_watcher watcher;
    int ends[2];
    int rounds, ticks, bytes;
};

static struct node nodes[LOOPS];
static rota_remote *remotes[LOOPS];
static atomic_int arrived;  /* macOS has no barriers */
static int rounds = 5000;

static void tick(rota_timer *timer, void *arg) {
    struct node *node = arg;
    must(rota_loop_current() == node->loop);
    node->ticks++;
    must(write(node->ends[1], "x", 1) == 1);
    must(rota_timer_start(node->loop, timer, 100 * ROTA_US) == 0);
}

static void got_byte(rota_watcher *watcher, unsigned ready, void *arg) {
    struct node *node = arg;
    char buf[64];
    if (ready & ROTA_CLOSED)
        return;
    while (read(watcher->fd, buf, sizeof buf) > 0)
        node->bytes++;
}

static void finish(struct node *node) {
    must(rota_timer_stop(node->loop, &node->timer) == 0);
    must(rota_fd_close(node->loop, node->ends[0]) == 0);
    must(close(node->ends[1]) == 0);
    rota_remote_close(node->next);
}

/* On the thread of the node that receives. */
static void pass_on(rota_soon *soon, void *arg) {
    struct node *node = arg;
    (void)soon;
    must(rota_loop_current() == node->loop);
    if (node->rounds > rounds)
        return;   /* the token's last way, to one that has finished */
    node->rounds++;
    must(rota_remote_post(node->next, &node->token) == 0);
    if (node->rounds > rounds)
        finish(node);
}

/* Until all loops have come here `times` times. */
static void meet(int times) {
    atomic_fetch_add(&arrived, 1);
    while (atomic_load(&arrived) < times * LOOPS)
        (void)sched_yield();
}

static void *live(void *arg) {
    struct node *node = arg;
    int i = (int)(node - nodes);
    must(rota_loop_new(&node->loop, NULL) == 0);
    must(rota_remote_open(&remotes[i], node->loop) == 0);
    meet(1);
    node->next_node = &nodes[(i + 1) % LOOPS];
    node->next = rota_remote_ref(remotes[(i + 1) % LOOPS]);
    meet(2);
    rota_remote_close(remotes[i]);
    must(pipe(node->ends) == 0);
    must(fcntl(node->ends[0], F_SETFL, O_NONBLOCK) == 0);
    rota_watcher_init(&node->watcher, node->ends[0], ROTA_READ, got_byte, node);
    rota_timer_init(&node->timer, tick, node);
    rota_soon_init(&node->token, pass_on, node->next_node);
    must(rota_watcher_start(node->loop, &node->watcher) == 0);
    must(rota_timer_start(node->loop, &node->timer, 0) == 0);
    if (i == 0)
        must(rota_remote_post(node->next, &node->token) == 0);
    must(rota_loop_run(node->loop) == 0);
    must(node->rounds > rounds);
    must(rota_loop_free(node->loop) == 0);
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[LOOPS];
    if (argc > 1)
        rounds = atoi(argv[1]);
    alarm(240);
    for (int i = 0; i < LOOPS; i++)
        threads[i] = start_thread(live, &nodes[i]);
    for (int i = 0; i < LOOPS; i++)
        join(threads[i]);
    printf("%d rounds through %d loops\n", rounds, LOOPS);
    return 0;
}
