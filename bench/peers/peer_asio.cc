// asio (stand-alone): callbacks, one thread (concurrency hint 1 for the server), steady_timer, post, thread_pool.
#include <asio.hpp>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "peer.h"

static std::unique_ptr<asio::io_context> io;

// ---- timers

static std::vector<asio::steady_timer> timers;
static long fired;
static void fire(const asio::error_code &e) { fired += !e; }

static void open_timers(long n) {
    io.reset(new asio::io_context(1));
    timers.clear();
    timers.reserve(n);
    for (long i = 0; i < n; i++)
        timers.emplace_back(*io);
}

static void close_timers() {
    timers.clear();
    io->restart();
    io->poll();
}

static void start_timer(long i, int64_t ns) {
    timers[i].expires_after(std::chrono::nanoseconds(ns));
    timers[i].async_wait(fire);
}

static void flush() {
    io->restart();
    io->poll();
}

static void run_timers(long n) {
    for (fired = 0; fired < n;)
        flush();
}

// Whatever is cancelled has its callback called: that belongs to the operation.
#define TIMERS_OPEN(n) open_timers(n)
#define TIMERS_CLOSE(n) close_timers()
#define TIMER_START(i, ns) start_timer(i, ns)
#define TIMER_STOP(i) timers[i].cancel()
#define TIMER_MOVE(i, ns) start_timer(i, ns)
#define TIMERS_RUN(n) run_timers(n)
#define TIMERS_FLUSH() flush()
PEER_TIMERS

static double sleep_us(long us) {
    static double late[2000];
    asio::io_context own(1);
    asio::steady_timer t(own);
    for (long i = 0; i < peer_samples(us); i++) {
        int64_t start = peer_now();
        t.expires_after(std::chrono::microseconds(us));
        t.async_wait(fire);
        own.restart();
        own.run();
        late[i] = (double)(peer_now() - start) / 1e3 - (double)us;
    }
    return peer_median(late, peer_samples(us));
}

// ---- wake-ups

static double wake_flood(long producers) {
    asio::io_context own;
    auto work = asio::make_work_guard(own);
    long each = 2000000 / peer_divide / producers, all = each * producers, got = 0;
    std::vector<std::thread> threads;
    int64_t start = peer_now();
    for (long p = 0; p < producers; p++)
        threads.emplace_back([&] {
            for (long i = 0; i < each; i++)
                asio::post(own, [&] { if (++got == all) own.stop(); });
        });
    own.run();
    double ns = (double)(peer_now() - start) / (double)all;
    for (auto &t : threads)
        t.join();
    return ns;
}

static double wake_latency(long) {
    asio::io_context here, there;
    auto a = asio::make_work_guard(here), b = asio::make_work_guard(there);
    long trips = 50000 / peer_divide, left = trips;
    std::function<void()> ping, pong;
    ping = [&] { asio::post(here, [&] { pong(); }); };
    pong = [&] {
        if (--left == 0) {
            here.stop();
            there.stop();
        } else {
            asio::post(there, [&] { ping(); });
        }
    };
    std::thread other([&] { there.run(); });
    int64_t start = peer_now();
    asio::post(there, [&] { ping(); });
    here.run();
    double us = (double)(peer_now() - start) / 2e3 / (double)trips;
    other.join();
    return us;
}

// ---- offload

static volatile long sink;

struct offloader {
    asio::io_context &own;
    asio::thread_pool &pool;
    long &left, &done, all;
    void operator()() {
        if (left-- <= 0)
            return;
        asio::post(pool, [this] {
            sink = 1;
            asio::post(own, [this] {
                if (++done == all)
                    own.stop();
                (*this)();
            });
        });
    }
};

static double offload(long depth) {
    asio::io_context own;
    asio::thread_pool pool(1);
    auto work = asio::make_work_guard(own);
    long all = (depth > 1 ? 1000000 : 50000) / peer_divide, left = all, done = 0;
    std::vector<offloader> jobs(depth, offloader{ own, pool, left, done, all });
    int64_t start = peer_now();
    for (auto &j : jobs)
        j();
    own.run();
    double ns = (double)(peer_now() - start) / (double)all;
    pool.join();
    return ns;
}

// ---- echo

using asio::ip::tcp;

struct session : std::enable_shared_from_this<session> {
    tcp::socket socket;
    std::vector<char> data;
    session(tcp::socket s, size_t bytes) : socket(std::move(s)), data(bytes) {}
    void read() {
        auto self = shared_from_this();
        socket.async_read_some(asio::buffer(data), [self](asio::error_code e, size_t n) {
            if (!e)
                self->write(n);
        });
    }
    void write(size_t n) {
        auto self = shared_from_this();
        asio::async_write(socket, asio::buffer(data.data(), n), [self](asio::error_code e, size_t) {
            if (!e)
                self->read();
        });
    }
};

static void accept_next(tcp::acceptor &listener, size_t bytes) {
    listener.async_accept([&listener, bytes](asio::error_code e, tcp::socket s) {
        if (!e) {
            s.set_option(tcp::no_delay(true));
            std::make_shared<session>(std::move(s), bytes)->read();
        }
        accept_next(listener, bytes);
    });
}

static void serve(long bytes) {
    asio::io_context own(1);
    tcp::acceptor listener(own, tcp::v4(), peer_listen(0));
    accept_next(listener, (size_t)bytes);
    own.run();
}

int main(int argc, char **argv) {
    static const struct peer_row rows[] = {
        PEER_TIMER_ROWS, PEER_SLEEP_ROWS, { "wake_flood", 1, wake_flood }, { "wake_flood_4", 4, wake_flood },
        { "wake_latency", 1, wake_latency }, { "offload_1", 1, offload }, { "offload_1000", 1000, offload },
        { nullptr, 0, nullptr },
    };
    return peer_main(argc, argv, rows, serve);
}
