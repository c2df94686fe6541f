// tokio: the current-thread runtime, one task a connection, mpsc, Notify, Sleep.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, Mutex, Notify, Semaphore};
use tokio::time::Sleep;

fn per(start: Instant, n: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / n as f64
}

async fn yields(n: u64, divide: u64) -> f64 {
    let each = (8_000_000 / divide / n).max(1);
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..each {
                    tokio::task::yield_now().await
                }
            })
        })
        .collect();
    let start = Instant::now();
    for t in tasks {
        t.await.unwrap()
    }
    per(start, each * n)
}

async fn spawns(burst: u64, divide: u64) -> f64 {
    let (total, mut done, start) = (1_000_000 / divide, 0, Instant::now());
    while done < total {
        let tasks: Vec<_> = (0..burst).map(|i| tokio::spawn(async move { i })).collect();
        for t in tasks {
            t.await.unwrap();
        }
        done += burst;
    }
    per(start, done)
}

async fn messages(divide: u64) -> f64 {
    let total = 2_000_000 / divide;
    let (tx, mut rx) = mpsc::channel::<u64>(64);
    let start = Instant::now();
    let consumer = tokio::spawn(async move { while rx.recv().await.is_some() {} });
    let producer = tokio::spawn(async move {
        for i in 0..total {
            tx.send(i).await.unwrap();
        }
    });
    producer.await.unwrap();
    consumer.await.unwrap();
    per(start, total)
}

async fn events(divide: u64) -> f64 {
    let total = 1_000_000 / divide;
    let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (ping2, pong2) = (ping.clone(), pong.clone());
    let start = Instant::now();
    let answer = tokio::spawn(async move {
        for _ in 0..total {
            ping2.notified().await;
            pong2.notify_one();
        }
    });
    for _ in 0..total {
        ping.notify_one();
        pong.notified().await;
    }
    answer.await.unwrap();
    per(start, total)
}

async fn locks(divide: u64) -> f64 {
    let (total, lock, start) = (4_000_000 / divide, Mutex::new(0u64), Instant::now());
    for _ in 0..total {
        *lock.lock().await += 1;
    }
    per(start, total)
}

async fn permits(divide: u64) -> f64 {
    let (total, semaphore, start) = (4_000_000 / divide, Semaphore::new(1), Instant::now());
    for _ in 0..total {
        drop(semaphore.acquire().await.unwrap());
    }
    per(start, total)
}

async fn futures(divide: u64) -> f64 {
    let total = 1_000_000 / divide;
    let pending = Arc::new(std::sync::Mutex::new(None::<oneshot::Sender<u64>>));
    let next = pending.clone();
    let (tx, mut rx) = oneshot::channel();
    *pending.lock().unwrap() = Some(tx);
    let start = Instant::now();
    let setting = tokio::spawn(async move {
        for i in 0..total {
            next.lock().unwrap().take().unwrap().send(i).unwrap();
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..total {
        let (tx, next) = oneshot::channel();
        rx.await.unwrap();
        rx = next;
        *pending.lock().unwrap() = Some(tx);
    }
    setting.await.unwrap();
    per(start, total)
}

async fn cancels(divide: u64) -> f64 {
    let (total, start) = (1_000_000 / divide, Instant::now());
    for _ in 0..total {
        let task = tokio::spawn(std::future::pending::<()>());
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    per(start, total)
}

async fn timeouts(divide: u64) -> f64 {
    let (total, start) = (2_000_000 / divide, Instant::now());
    for i in 0..total {
        let value = tokio::time::timeout(Duration::from_secs(1), std::future::ready(i)).await;
        assert_eq!(std::hint::black_box(value).unwrap(), i);
    }
    per(start, total)
}

async fn sleeps(us: u64, divide: u64) -> f64 {
    let n = (1_000_000 / us / divide).clamp(11, 2000);
    let mut late = Vec::new();
    for _ in 0..n {
        let start = Instant::now();
        tokio::time::sleep(Duration::from_micros(us)).await;
        late.push(start.elapsed().as_nanos() as f64 / 1e3 - us as f64);
    }
    late.sort_by(|a, b| a.partial_cmp(b).unwrap());
    late[late.len() / 2]
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

async fn parked(n: u64) -> f64 {
    let before = resident();
    for _ in 0..n {
        tokio::spawn(std::future::pending::<()>());
    }
    tokio::task::yield_now().await;
    (resident() - before) as f64 / n as f64
}

// ---- timers: a Sleep is registered by its first poll

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

type Timers = Vec<Option<Pin<Box<Sleep>>>>;

fn start_all(order: &[usize], delays: &[Duration], timers: &mut Timers, cx: &mut Context<'_>) {
    for (k, &i) in order.iter().enumerate() {
        let mut s = Box::pin(tokio::time::sleep(delays[k]));
        let _ = s.as_mut().poll(cx);
        timers[i] = Some(s);
    }
}

async fn timer_rows(what: &str, n: usize, divide: u64) -> f64 {
    let mut seed = 0x9e3779b97f4a7c15u64;
    let passes = if what == "expire" { 1 } else { (2_000_000 / divide / n as u64).max(1) };
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, (random(&mut seed) % (i as u64 + 1)) as usize)
    }
    let delays: Vec<Duration> = (0..n)
        .map(|_| match what {
            "expire" => Duration::from_nanos(random(&mut seed) % 50_000_000),
            _ => Duration::from_nanos(1_000_000_000 + random(&mut seed) % 60_000_000_000),
        })
        .collect();
    let mut timers: Timers = (0..n).map(|_| None).collect();
    let mut took = Duration::ZERO;
    for pass in 0..passes {
        let mut begun = Instant::now();
        std::future::poll_fn(|cx| {
            begun = Instant::now();
            start_all(&order, &delays, &mut timers, cx);
            Poll::Ready(())
        })
        .await;
        match what {
            "start" => took += begun.elapsed(),
            "cancel" => {
                begun = Instant::now();
                for &i in order.iter().rev() {
                    timers[i] = None
                }
                took += begun.elapsed()
            }
            "rearm" => {
                begun = Instant::now();
                let deadline = tokio::time::Instant::now() + Duration::from_secs(30) + Duration::from_micros(pass);
                for &i in &order {
                    timers[i].as_mut().unwrap().as_mut().reset(deadline)
                }
                took += begun.elapsed()
            }
            _ => {
                std::thread::sleep(Duration::from_millis(60));
                begun = Instant::now();
                for t in timers.iter_mut() {
                    t.as_mut().unwrap().await
                }
                took += begun.elapsed()
            }
        }
    }
    took.as_nanos() as f64 / (passes * n as u64) as f64
}

// ---- wake-ups

async fn flood(divide: u64) -> f64 {
    let total = 2_000_000 / divide;
    let (tx, mut rx) = mpsc::unbounded_channel::<u64>();
    let start = Instant::now();
    let producer = std::thread::spawn(move || {
        for i in 0..total {
            tx.send(i).unwrap();
        }
    });
    while rx.recv().await.is_some() {}
    let ns = per(start, total);
    producer.join().unwrap();
    ns
}

// ---- echo

async fn serve(bytes: usize) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("port {}", listener.local_addr().unwrap().port());
    loop {
        let (mut socket, _) = match listener.accept().await {
            Ok(got) => got,
            Err(_) => continue,
        };
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            let mut buf = vec![0u8; bytes];
            while let Ok(n) = socket.read(&mut buf).await {
                if n == 0 || socket.write_all(&buf[..n]).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn row(name: &str, divide: u64) -> f64 {
    let parts: Vec<&str> = name.split('_').collect();
    let n = parts.last().unwrap().parse::<u64>().unwrap_or(0);
    match parts[0] {
        "yield" => yields(n, divide).await,
        "spawn" if name == "spawn_join" => spawns(1, divide).await,
        "spawn" => spawns(10000, divide).await,
        "queue" => messages(divide).await,
        "event" => events(divide).await,
        "mutex" => locks(divide).await,
        "semaphore" => permits(divide).await,
        "future" => futures(divide).await,
        "cancel" => cancels(divide).await,
        "timeout" => timeouts(divide).await,
        "wake" => flood(divide).await,
        "rss" => parked(n).await,
        "sleep" => sleeps(match parts[1] { "100us" => 100, "1ms" => 1000, _ => 10000 }, divide).await,
        "timer" => timer_rows(parts[1], n as usize, divide).await,
        _ => panic!("no such row"),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if args[1] == "--serve" {
        runtime.block_on(serve(args[2].parse().unwrap()));
    }
    let (divide, name) = if args[1] == "--divide" { (args[2].parse().unwrap(), &args[3]) } else { (1, &args[1]) };
    println!("{} {}", name, runtime.block_on(row(name, divide)));
}
