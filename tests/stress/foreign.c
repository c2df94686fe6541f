/* Posts to a loop that lives inside a plain poll(2): none is lost however it meets the outer loop on its way to sleep,
 * and the descriptor does not stay readable without a reason. The argument is the number of posts. */
#include "tests/stress/stress.h"

#include <poll.h>
#include <string.h>

static rota_remote *remote;
static rota_soon soon;
static atomic_int answered;
static int rounds = 100000;

static void answer(rota_soon *self, void *arg) {
    (void)self, (void)arg;
    atomic_fetch_add(&answered, 1);
}

static void *ask(void *arg) {
    (void)arg;
    for (int i = 1; i <= rounds; i++) {
        must(rota_remote_post(remote, &soon) == 0);
        while (atomic_load(&answered) < i)
            sched_yield();
        for (volatile int spin = i % 211; spin > 0; spin--)
            ;
    }
    rota_remote_close(remote);
    return NULL;
}

int main(int argc, char **argv) {
    rota_loop *loop;
    long turns = 0;
    if (argc > 1)
        rounds = atoi(argv[1]);
    alarm(240);
    must(rota_loop_new(&loop, NULL) == 0);
    int fd = rota_loop_fd(loop);
    if (strcmp(rota_loop_backend(loop), "poll") == 0) {
        must(fd == -ENOTSUP);
        return 77;   /* skipped */
    }
    must(fd >= 0);
    must(rota_remote_open(&remote, loop) == 0);
    rota_soon_init(&soon, answer, NULL);
    pthread_t thread = start_thread(ask, NULL);
    for (int alive = 1; alive; turns++) {
        struct pollfd p = { fd, POLLIN, 0 };
        must(poll(&p, 1, 60000) == 1);
        alive = rota_loop_turn(loop, 0);
        must(alive >= 0);
    }
    join(thread);
    must(atomic_load(&answered) == rounds);
    must(turns <= 3L * rounds + 10);
    must(rota_loop_free(loop) == 0);
    printf("%d posts, %ld turns\n", rounds, turns);
    return 0;
}
