/* The worker's side of a process executor: rota__worker_main takes jobs from a socket, runs them, and answers.
 *
 * Invariant: the number of a job stands in the shared file before its function is called, so that the parent can tell,
 * when a worker has died, whether the job was begun; and a job is answered once. It must not know who forked this
 * process, nor of loops or tasks: there are none here.
 */
#include "coro/workers.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "reactor/sys.h"

/* Each direction has a buffer with a head and what goes inline. */
struct worker {
    int jobs, shared;
    char *in, *out;
    char *map;                 /* of the shared file, */
    size_t room;               /* as large as it was */
};

enum { BUFFER = ROTA__MESSAGE_HEAD + ROTA__WORKER_INLINE };

_Static_assert(sizeof(struct rota__worker_request) <= ROTA__MESSAGE_HEAD, "bytes begin at a fixed distance");
_Static_assert(sizeof(struct rota__worker_answer) <= ROTA__MESSAGE_HEAD, "bytes begin at a fixed distance");

/* ---- the socket ---- */

/* True when at least n bytes have come. The parent sends no second job before the answer, so whatever there is belongs
 * to this one. */
static bool receive(const struct worker *w, size_t *have, size_t n) {
    while (*have < n) {
        ssize_t r = rota__sys_recv(w->jobs, w->in + *have, BUFFER - *have, 0);
        if (r <= 0 && r != -EINTR)
            return false;
        *have += r > 0 ? (size_t)r : 0;
    }
    return true;
}

static bool send_all(const struct worker *w, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t r = rota__sys_send(w->jobs, bytes, n, 0);
        if (r < 0 && r != -EINTR)
            return false;
        bytes += r > 0 ? r : 0;
        n -= r > 0 ? (size_t)r : 0;
    }
    return true;
}

static bool answer(const struct worker *w, const struct rota__worker_answer *a, size_t bytes) {
    memcpy(w->out, a, sizeof *a);
    return send_all(w, w->out, ROTA__MESSAGE_HEAD + bytes);
}

/* ---- the shared file ---- */

static int map_room(struct worker *w, size_t room) {
    if (w->room == room)
        return 0;
    if (w->map)
        (void)rota__sys_munmap(w->map, w->room);
    w->room = 0;
    w->map = rota__sys_map_shared(w->shared, room);
    if (!w->map)
        return -ENOMEM;
    w->room = room;
    return 0;
}

static void note_begun(struct worker *w, uint64_t number) {
    atomic_store_explicit((_Atomic uint64_t *)(void *)w->map, number, memory_order_release);
    rota__sys_sync_shared(w->map, ROTA__SHARED_HEAD);
}

/* ---- jobs ---- */

/* Runs it; how many bytes of its output go with the answer. */
static size_t run(struct worker *w, const struct rota__worker_request *r, struct rota__worker_answer *a) {
    a->error = map_room(w, r->room);
    if (a->error)
        return 0;
    bool shares_out = r->out_size > ROTA__WORKER_INLINE;
    char *in = r->in_n > ROTA__WORKER_INLINE ? w->map + ROTA__SHARED_HEAD : w->in + ROTA__MESSAGE_HEAD;
    char *out = shares_out ? w->map + rota__shared_out(r->in_n) : w->out + ROTA__MESSAGE_HEAD;
    rota__sys_sync_shared(w->map, w->room);
    note_begun(w, r->number);
    size_t out_n = 0;
    a->value = r->fn(in, r->in_n, out, r->out_size, &out_n);
    if (out_n > r->out_size) {
        a->error = -EMSGSIZE;
        return 0;
    }
    a->out_n = out_n;
    if (shares_out)
        rota__sys_sync_shared(w->map, w->room);
    return shares_out ? 0 : out_n;
}

static bool serve_one(struct worker *w) {
    struct rota__worker_request r;
    size_t have = 0;
    if (!receive(w, &have, ROTA__MESSAGE_HEAD))
        return false;
    memcpy(&r, w->in, sizeof r);
    if (r.in_n <= ROTA__WORKER_INLINE && !receive(w, &have, ROTA__MESSAGE_HEAD + r.in_n))
        return false;
    struct rota__worker_answer a = {.number = r.number};
    size_t bytes = run(w, &r, &a);
    return answer(w, &a, bytes);
}

/* The first answer says that it is ready. Its own memory is never given back: the process ends with it. */
int rota__worker_main(int jobs, int shared) {
    struct worker w = {.jobs = jobs, .shared = shared};
    struct rota__worker_answer ready = {.number = 0};
    char small[ROTA__MESSAGE_HEAD] = {0};
    w.in = rota__sys_mmap(BUFFER);
    w.out = rota__sys_mmap(BUFFER);
    ready.error = w.in && w.out ? map_room(&w, ROTA__SHARED_HEAD) : -ENOMEM;
    if (ready.error)
        w.out = small;
    if (!answer(&w, &ready, 0) || ready.error)
        return 1;
    while (serve_one(&w))
        ;
    return 0;
}
