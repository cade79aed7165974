//! A service that workers call: it takes its time, answers, and notes how long it is left alone in between.

use crate::error::Fallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// More than the head of any request of a worker has.
const LARGEST_HEAD: usize = 16 * 1024;

/// What one connection has seen.
#[derive(Debug, Default)]
struct Seen {
    /// From an answer to the next request on the same connection.
    gaps: Vec<Duration>,
    /// From a request to its answer, in all.
    own: Duration,
    calls: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// What all connections have seen.
#[derive(Debug)]
pub struct Sums {
    /// In milliseconds, the shortest first.
    pub gaps: Vec<f64>,
    /// What it took for a job, on average.
    pub own: Duration,
    pub calls: u64,
    /// From the first request to the last answer.
    pub all: Duration,
}

struct Shared {
    takes: Duration,
    calls: AtomicUsize,
    wanted: usize,
    is_first: Notify,
    is_enough: Notify,
    seen: Mutex<Vec<Seen>>,
}

pub struct Receiver {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Listens, takes so long for each request, and waits for so many.
    ///
    /// # Errors
    /// The system's.
    pub async fn start(takes: Duration, wanted: usize) -> Fallible<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            takes,
            calls: AtomicUsize::new(0),
            wanted,
            is_first: Notify::new(),
            is_enough: Notify::new(),
            seen: Mutex::default(),
        });
        let ours = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&ours);
                tokio::spawn(async move {
                    let mut seen = Seen::default();
                    // A worker that stops leaves its connections.
                    let _ = serve(stream, &shared, &mut seen).await;
                    let mut all = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(seen);
                });
            }
        });
        Ok(Self { addr, shared, task })
    }

    /// Waits until the first request has come.
    pub async fn begun(&self) {
        self.shared.is_first.notified().await;
    }

    /// Waits until all that are wanted have come and were answered.
    pub async fn enough(&self) {
        self.shared.is_enough.notified().await;
    }

    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// What was seen. To be asked once the worker has ended, which closes its connections.
    pub async fn sums(self) -> Sums {
        // Each notes what it has seen when its connection has ended.
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.task.abort();
        let mut all = self
            .shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (mut gaps, mut own, mut calls) = (Vec::new(), Duration::ZERO, 0);
        let (mut first, mut last) = (None::<Instant>, None::<Instant>);
        for seen in all.drain(..) {
            gaps.extend(seen.gaps.iter().map(|gap| gap.as_secs_f64() * 1e3));
            own += seen.own;
            calls += seen.calls;
            first = first.into_iter().chain(seen.first).min();
            last = last.into_iter().chain(seen.last).max();
        }
        gaps.sort_by(f64::total_cmp);
        Sums {
            gaps,
            own: own / u32::try_from(calls.max(1)).unwrap_or(u32::MAX),
            calls,
            all: first
                .zip(last)
                .map_or(Duration::ZERO, |(first, last)| last - first),
        }
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared, seen: &mut Seen) -> Fallible {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(LARGEST_HEAD);
    loop {
        let length = loop {
            if let Some(length) = length(&buffer)? {
                break length;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let came = Instant::now();
        if let Some(last) = seen.last {
            seen.gaps.push(came - last);
        }
        seen.first.get_or_insert(came);
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..length);
        let nth = 1 + shared.calls.fetch_add(1, Ordering::Relaxed);
        if nth == 1 {
            shared.is_first.notify_one();
        }
        tokio::time::sleep(shared.takes).await;
        stream.write_all(ANSWER).await?;
        let answered = Instant::now();
        seen.own += answered - came;
        seen.calls += 1;
        seen.last = Some(answered);
        if nth == shared.wanted {
            shared.is_enough.notify_one();
        }
    }
}

/// How long the request at the beginning is, once its head is there.
fn length(buffer: &[u8]) -> Fallible<Option<usize>> {
    let Some(head) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
        return match buffer.len() > LARGEST_HEAD {
            true => Err("the head of a request has no end".into()),
            false => Ok(None),
        };
    };
    let text = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
    let body = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let body: usize = body.map_or(Ok(0), |length| length.trim().parse())?;
    Ok(Some(head + 4 + body))
}
