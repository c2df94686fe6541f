/* State Threads: its scheduler on epoll, threads with stacks from its cache, condition variables. */
#define _GNU_SOURCE
#include <st.h>

#include "peer.h"

enum { STACK = 16384 };

static volatile long sink;

static void open_library(void) {
    static int opened;
    if (opened++)
        return;
    if (st_set_eventsys(ST_EVENTSYS_ALT) < 0 || st_init() < 0)
        peer_die("st_init");
}

static st_thread_t spawn(void *(*fn)(void *), void *arg) {
    st_thread_t t = st_thread_create(fn, arg, 1, STACK);
    if (!t)
        peer_die("st_thread_create");
    return t;
}

static double sleep_us(long us) {
    static double late[2000];
    open_library();
    for (long i = 0; i < peer_samples(us); i++) {
        int64_t start = peer_now();
        st_usleep((st_utime_t)us);
        late[i] = (double)(peer_now() - start) / 1e3 - (double)us;
    }
    return peer_median(late, peer_samples(us));
}

/* ---- tasks. Its way to yield is to sleep for no time. ---- */

static long each;

static void *yielder(void *arg) {
    for (long i = 0; i < each; i++)
        st_usleep(0);
    return arg;
}

static double yields(long n) {
    st_thread_t *all = malloc((size_t)n * sizeof *all);
    long total = 8000000 / peer_divide;
    open_library();
    each = total / n > 0 ? total / n : 1;
    for (long i = 0; i < n; i++)
        all[i] = spawn(yielder, NULL);
    st_usleep(0);
    int64_t start = peer_now();
    for (long i = 0; i < n; i++)
        st_thread_join(all[i], NULL);
    double ns = (double)(peer_now() - start) / (double)(each * n);
    free(all);
    return ns;
}

static void *nothing(void *arg) { return arg; }

static double spawns(long burst) {
    st_thread_t *all = malloc((size_t)burst * sizeof *all);
    long total = 1000000 / peer_divide, done = 0;
    int64_t start = 0;
    open_library();
    for (int warm = 1; warm >= 0; warm--)
        for (start = peer_now(), done = 0; done < (warm ? burst : total); done += burst) {
            for (long i = 0; i < burst; i++)
                all[i] = spawn(nothing, NULL);
            for (long i = 0; i < burst; i++)
                st_thread_join(all[i], NULL);
        }
    double ns = (double)(peer_now() - start) / (double)done;
    free(all);
    return ns;
}

/* A queue of 64 messages on two condition variables, as its documentation builds them. */
static long slots[64], head, tail, total;
static st_cond_t not_empty, not_full;

static void *consumer(void *arg) {
    for (long i = 0; i < total; i++) {
        while (head == tail)
            st_cond_wait(not_empty);
        sink = slots[head++ % 64];
        st_cond_signal(not_full);
    }
    return arg;
}

static double messages(long n) {
    (void)n;
    open_library();
    not_empty = st_cond_new();
    not_full = st_cond_new();
    total = 2000000 / peer_divide;
    head = tail = 0;
    st_thread_t t = spawn(consumer, NULL);
    int64_t start = peer_now();
    for (long i = 0; i < total; i++) {
        while (tail - head == 64)
            st_cond_wait(not_full);
        slots[tail++ % 64] = i;
        st_cond_signal(not_empty);
    }
    st_thread_join(t, NULL);
    return (double)(peer_now() - start) / (double)total;
}

static int turn;

static void *answer(void *arg) {
    for (long i = 0; i < total; i++) {
        while (turn != 1)
            st_cond_wait(not_empty);
        turn = 0;
        st_cond_signal(not_full);
    }
    return arg;
}

static double events(long n) {
    (void)n;
    open_library();
    not_empty = st_cond_new();
    not_full = st_cond_new();
    total = 1000000 / peer_divide;
    turn = 0;
    st_thread_t t = spawn(answer, NULL);
    int64_t start = peer_now();
    for (long i = 0; i < total; i++) {
        turn = 1;
        st_cond_signal(not_empty);
        while (turn != 0)
            st_cond_wait(not_full);
    }
    st_thread_join(t, NULL);
    return (double)(peer_now() - start) / (double)total;
}

static void *park(void *arg) {
    st_usleep(ST_UTIME_NO_TIMEOUT);
    return arg;
}

static long resident(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*d %ld", &pages) != 1)
        peer_die("/proc/self/statm");
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static double parked(long n) {
    open_library();
    long before = resident();
    for (long i = 0; i < n; i++)
        spawn(park, NULL);
    st_usleep(0);
    return (double)(resident() - before) / (double)n;
}

/* ---- echo ---- */

static size_t buffer_size;

static void *client(void *arg) {
    st_netfd_t fd = arg;
    char buf[buffer_size];
    ssize_t n;
    while ((n = st_read(fd, buf, buffer_size, ST_UTIME_NO_TIMEOUT)) > 0)
        if (st_write(fd, buf, (size_t)n, ST_UTIME_NO_TIMEOUT) != n)
            break;
    st_netfd_close(fd);
    return NULL;
}

static void serve(long bytes) {
    buffer_size = (size_t)bytes;
    open_library();
    st_netfd_t listener = st_netfd_open_socket(peer_listen(0));
    for (;;) {
        st_netfd_t fd = st_accept(listener, NULL, NULL, ST_UTIME_NO_TIMEOUT);
        if (!fd)
            { perror("st_accept"); return; }
        peer_nodelay(st_netfd_fileno(fd));
        if (!st_thread_create(client, fd, 0, (int)(STACK + bytes)))
            peer_die("st_thread_create");
    }
}

int main(int argc, char **argv) {
    static const struct peer_row rows[] = {
        PEER_SLEEP_ROWS, { "yield_2", 2, yields }, { "yield_1000", 1000, yields }, { "yield_100000", 100000, yields },
        { "spawn_join", 1, spawns }, { "spawn_burst", 10000, spawns }, { "queue_message", 1, messages },
        { "event_wake", 1, events }, { "rss_parked_100000", 100000, parked }, { 0 },
    };
    return peer_main(argc, argv, rows, serve);
}
