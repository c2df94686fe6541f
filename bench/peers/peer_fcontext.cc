// boost.context's own switch (detail/fcontext): a ring in which each context hands over to the next, as the floor's.
#include <boost/context/detail/fcontext.hpp>
#include <sys/mman.h>
#include <vector>

#include "peer.h"

using namespace boost::context::detail;

enum { STACK = 65536 + 4096, KINDS = 8 };

static std::vector<fcontext_t> ring;
static long ring_n, ring_at, ring_left;
static fcontext_t main_context;
static volatile long sink;

// Whoever is switched to receives the context that was left behind, and stores it in its place.
template <int pad> static void side(transfer_t t) {
    static_assert(pad < KINDS, "");
    auto store = [](transfer_t from) {
        long who = (long)from.data;
        (who < 0 ? main_context : ring[who]) = from.fctx;
    };
    store(t);
    for (;;) {
        long me = ring_at;
        for (int i = 0; i < pad; i++)
            sink = i;
        if (--ring_left < 0)
            store(jump_fcontext(main_context, (void *)me));
        ring_at = me + 1 < ring_n ? me + 1 : 0;
        store(jump_fcontext(ring[ring_at], (void *)me));
    }
}

static void (*const sides[KINDS])(transfer_t) = { side<0>, side<1>, side<2>, side<3>, side<4>, side<5>, side<6>, side<7> };

static void run_ring() {
    transfer_t t = jump_fcontext(ring[ring_at], (void *)-1L);
    ring[(long)t.data] = t.fctx;
}

static double go_round(long n, int kinds) {
    char *stacks = (char *)mmap(NULL, (size_t)n * STACK, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED)
        peer_die("mmap");
    madvise(stacks, (size_t)n * STACK, MADV_NOHUGEPAGE);
    ring.resize(n);
    ring_n = ring_left = n;
    ring_at = 0;
    for (long i = 0; i < n; i++)
        ring[i] = make_fcontext(stacks + (i + 1) * STACK - 64, STACK - 64, sides[i % kinds]);
    run_ring();
    long rounds = 8000000 / peer_divide / n, all = ring_left = (rounds > 0 ? rounds : 1) * n;
    int64_t start = peer_now();
    run_ring();
    double ns = (double)(peer_now() - start) / (double)all;
    munmap(stacks, (size_t)n * STACK);
    return ns;
}

static double same(long n) { return go_round(n, 1); }
static double kinds(long n) { return go_round(n, KINDS); }

int main(int argc, char **argv) {
    static const struct peer_row rows[] = {
        { "switch_same", 2, same }, { "switch_different", 2, kinds }, { "switch_mixed", 64, kinds },
        { "ring_1000", 1000, same }, { "ring_100000", 100000, same }, { nullptr, 0, nullptr },
    };
    return peer_main(argc, argv, rows, nullptr);
}
