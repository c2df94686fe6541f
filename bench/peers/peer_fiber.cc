// boost.fiber: round robin on one thread, pooled fixed-size stacks, buffered_channel, condition_variable.
#include <boost/fiber/all.hpp>
#include <vector>

#include "peer.h"

namespace fibers = boost::fibers;

static volatile long sink;

template <class Fn> static fibers::fiber spawn(Fn fn) {
    static thread_local boost::context::pooled_fixedsize_stack stacks(16 * 1024);
    return fibers::fiber(fibers::launch::post, std::allocator_arg, stacks, fn);
}

static double yields(long n) {
    long all = 8000000 / peer_divide, each = all / n > 0 ? all / n : 1;
    std::vector<fibers::fiber> made;
    for (long i = 0; i < n; i++)
        made.push_back(spawn([each] {
            for (long k = 0; k < each; k++)
                boost::this_fiber::yield();
        }));
    boost::this_fiber::yield(); // all take a first step, so that every stack has been touched
    int64_t start = peer_now();
    for (auto &f : made)
        f.join();
    return (double)(peer_now() - start) / (double)(each * n);
}

static double spawns(long burst) {
    std::vector<fibers::fiber> made(burst);
    int64_t start = 0;
    long done = 0, all = 1000000 / peer_divide;
    for (int warm = 1; warm >= 0; warm--)
        for (start = peer_now(), done = 0; done < (warm ? burst : all); done += burst) {
            for (auto &f : made)
                f = spawn([] { sink = 1; });
            for (auto &f : made)
                f.join();
        }
    return (double)(peer_now() - start) / (double)done;
}

static double messages(long) {
    long n = 2000000 / peer_divide;
    fibers::buffered_channel<long> channel(64);
    int64_t start = peer_now();
    auto consumer = spawn([&] {
        long item;
        while (channel.pop(item) == fibers::channel_op_status::success)
            sink = item;
    });
    auto producer = spawn([&] {
        for (long i = 0; i < n; i++)
            channel.push(i);
        channel.close();
    });
    producer.join();
    consumer.join();
    return (double)(peer_now() - start) / (double)n;
}

static double events(long) {
    long n = 1000000 / peer_divide;
    fibers::mutex lock;
    fibers::condition_variable turned;
    bool ping = false;
    auto side = [&](bool mine) {
        for (long i = 0; i < n; i++) {
            std::unique_lock<fibers::mutex> hold(lock);
            turned.wait(hold, [&] { return ping == mine; });
            ping = !mine;
            turned.notify_one();
        }
    };
    int64_t start = peer_now();
    auto a = spawn([&] { side(false); }), b = spawn([&] { side(true); });
    a.join();
    b.join();
    return (double)(peer_now() - start) / (double)n;
}

int main(int argc, char **argv) {
    static const struct peer_row rows[] = {
        { "yield_2", 2, yields }, { "yield_1000", 1000, yields }, { "yield_100000", 100000, yields },
        { "spawn_join", 1, spawns }, { "spawn_burst", 10000, spawns }, { "queue_message", 1, messages },
        { "event_wake", 1, events }, { nullptr, 0, nullptr },
    };
    return peer_main(argc, argv, rows, nullptr);
}
