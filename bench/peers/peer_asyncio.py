"""asyncio, on its own loop or uvloop's: protocols for echo, tasks, queues, call_later."""
import asyncio
import random
import resource
import sys
import time

kind = sys.argv.pop(1)
if kind == '--uvloop':
    import uvloop
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
divide = 1
now = time.perf_counter_ns


async def yields(n):
    each = max(1, 2000000 // divide // n)

    async def yielder():
        for _ in range(each):
            await asyncio.sleep(0)
    tasks = [asyncio.ensure_future(yielder()) for _ in range(n)]
    await asyncio.sleep(0)
    start = now()
    await asyncio.gather(*tasks)
    return (now() - start) / (each * n)


async def spawns(burst):
    async def nothing():
        pass
    total, done, start = 200000 // divide, 0, now()
    while done < total:
        for task in [asyncio.ensure_future(nothing()) for _ in range(burst)]:
            await task
        done += burst
    return (now() - start) / done


async def messages(_):
    total, queue = 200000 // divide, asyncio.Queue(64)

    async def produce():
        for i in range(total):
            await queue.put(i)
    start = now()
    producer = asyncio.ensure_future(produce())
    for _ in range(total):
        await queue.get()
    await producer
    return (now() - start) / total


async def events(_):
    total, ping, pong = 100000 // divide, asyncio.Event(), asyncio.Event()

    async def answer():
        for _ in range(total):
            await ping.wait()
            ping.clear()
            pong.set()
    start = now()
    answering = asyncio.ensure_future(answer())
    for _ in range(total):
        ping.set()
        await pong.wait()
        pong.clear()
    await answering
    return (now() - start) / total


async def mutex(_):
    total, lock, start = 200000 // divide, asyncio.Lock(), now()
    for _ in range(total):
        async with lock:
            pass
    return (now() - start) / total


async def permits(_):
    total, semaphore, start = 200000 // divide, asyncio.Semaphore(1), now()
    for _ in range(total):
        async with semaphore:
            pass
    return (now() - start) / total


async def futures(_):
    total, pending, loop = 100000 // divide, [None], asyncio.get_running_loop()

    async def set_them():
        for i in range(total):
            pending[0].set_result(i)
            await asyncio.sleep(0)
    pending[0] = loop.create_future()
    start = now()
    setting = asyncio.ensure_future(set_them())
    for _ in range(total):
        await pending[0]
        pending[0] = loop.create_future()
    await setting
    return (now() - start) / total


async def cancels(_):
    total, start = 100000 // divide, now()
    for _ in range(total):
        task = asyncio.ensure_future(asyncio.sleep(1e6))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
    return (now() - start) / total


async def timeouts(_):
    total, start = 100000 // divide, now()
    for _ in range(total):
        async with asyncio.timeout(1):
            pass
    return (now() - start) / total


async def sleeps(us):
    late = []
    for _ in range(max(11, 1000000 // us // divide)):
        start = now()
        await asyncio.sleep(us / 1e6)
        late.append((now() - start) / 1e3 - us)
    return sorted(late)[len(late) // 2]


async def timers(what, n):
    loop, fired = asyncio.get_running_loop(), 0

    def fire():
        nonlocal fired
        fired += 1
    passes, took, order = max(1, 200000 // divide // n), 0, random.sample(range(n), n)
    for _ in range(passes):
        fired, handles = 0, [None] * n
        delays = [random.random() * 0.05 if what == 'expire' else 1 + random.random() * 60 for _ in range(n)]
        start = now()
        for i, delay in zip(order, delays):
            handles[i] = loop.call_later(delay, fire)
        if what == 'start':
            took += now() - start
        if what == 'expire':
            time.sleep(0.06)
            start = now()
            while fired < n:
                await asyncio.sleep(0)
            took += now() - start
            continue
        start = now()
        for i in order:   # moving is cancelling and starting anew
            handles[i].cancel()
            if what == 'rearm':
                handles[i] = loop.call_later(30, fire)
        if what != 'start':
            took += now() - start
        for handle in handles:
            handle.cancel()
        await asyncio.sleep(0)
    return took / passes / n


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def serve():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    server = await asyncio.get_running_loop().create_server(Echo, '127.0.0.1', 0, backlog=1024)
    print('port', server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def row(name):
    parts = name.split('_')
    if parts[0] == 'timer':
        return timers(parts[1], int(parts[2]))
    return {'yield_2': lambda: yields(2), 'yield_1000': lambda: yields(1000), 'spawn_join': lambda: spawns(1),
            'spawn_burst': lambda: spawns(10000), 'queue_message': lambda: messages(0), 'event_wake': lambda: events(0),
            'mutex': lambda: mutex(0), 'semaphore': lambda: permits(0), 'future': lambda: futures(0),
            'cancel_join': lambda: cancels(0), 'timeout_scope': lambda: timeouts(0),
            'sleep_100us': lambda: sleeps(100), 'sleep_1ms': lambda: sleeps(1000),
            'sleep_10ms': lambda: sleeps(10000)}[name]()


if sys.argv[1] == '--serve':
    asyncio.run(serve())
if sys.argv[1] == '--divide':
    divide = int(sys.argv[2])
    sys.argv[1:3] = []
print(sys.argv[1], asyncio.run(row(sys.argv[1])))
