/* Floods of posts from several threads into several loops, each in a thread of its own: everything arrives, and
 * what one thread posts arrives in its order. Posters post an entry again as soon as it has run, and try it while it
 * is still queued, which is refused. The argument is the number of posts of each thread. */
#include "tests/stress/stress.h"

enum { LOOPS = 3, POSTERS = 3, ENTRIES = 32 };

struct poster {
    rota_remote *remote;
    rota_soon soons[ENTRIES];
    int ran;    /* of the loop's thread */
};

struct world {
    struct poster posters[POSTERS];
};

static int posts = 20000;

/* A poster goes round its entries, so the entry tells whether the order was kept. */
static void run(rota_soon *soon, void *arg) {
    struct poster *p = arg;
    must(soon == &p->soons[p->ran % ENTRIES]);
    p->ran++;
}

static void *post(void *arg) {
    struct poster *p = arg;
    for (int i = 0; i < posts;) {
        int rc = rota_remote_post(p->remote, &p->soons[i % ENTRIES]);
        must(rc == 0 || rc == -EALREADY);
        if (rc == 0)
            i++;
        else
            sched_yield();
    }
    rota_remote_close(p->remote);
    return NULL;
}

static void *world_thread(void *arg) {
    struct world *w = arg;
    rota_loop *loop;
    rota_remote *remote;
    pthread_t threads[POSTERS];
    must(rota_loop_new(&loop, NULL) == 0);
    must(rota_remote_open(&remote, loop) == 0);
    for (int i = 0; i < POSTERS; i++) {
        struct poster *p = &w->posters[i];
        p->remote = rota_remote_ref(remote);
        for (int j = 0; j < ENTRIES; j++)
            rota_soon_init(&p->soons[j], run, p);
        threads[i] = start_thread(post, p);
    }
    rota_remote_close(remote);
    must(rota_loop_run(loop) == 0);   /* until the last poster has closed, and everything has run */
    for (int i = 0; i < POSTERS; i++) {
        join(threads[i]);
        must(w->posters[i].ran == posts);
    }
    must(rota_loop_free(loop) == 0);
    return NULL;
}

int main(int argc, char **argv) {
    static struct world worlds[LOOPS];
    pthread_t threads[LOOPS];
    if (argc > 1)
        posts = atoi(argv[1]);
    alarm(240);
    for (int i = 0; i < LOOPS; i++)
        threads[i] = start_thread(world_thread, &worlds[i]);
    for (int i = 0; i < LOOPS; i++)
        join(threads[i]);
    printf("%d posts, none lost\n", LOOPS * POSTERS * posts);
    return 0;
}
