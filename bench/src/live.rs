//! Live changes: 100, 1,000 and 10,000 clients, half of them in rooms of one, half on the whole collection, at a steady
//! rate of inserts, with gzip as browsers ask for it and without. How long is a change on its way to a client, and what does
//! a client cost?
//!
//! Each document says when it was sent. Of the clients some look at that, and the others only read: in one process with
//! them, looking at everything would be what is measured. A consumer looks when each document is in Kafka: beside clients, and
//! without any, which is how much they slow the bridge down.

use crate::error::Fallible;
use crate::kafka::{self, Broker};
use crate::process::{self, Measured};
use crate::record::{Results, Run, value};
use crate::servers::Servers;
use crate::settings::Settings;
use crate::subject::{self, Subject, Variant};
use bson::doc;
use flate2::write::GzDecoder;
use mongodb::Client;
use std::cell::RefCell;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const MODE: &str = "live";
const DATABASE: &str = "benchlive";
/// How many clients of each half look at what they read.
const LOOKING: usize = 50;
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
/// Before the time at which a document was sent, in microseconds.
const SENT_AT: &[u8] = b"\"sentAt\":";

/// What the clients have seen, or the consumer.
#[derive(Default)]
struct Seen {
    is_counting: AtomicBool,
    bytes: AtomicU64,
    millis: Mutex<Vec<f64>>,
}

impl Seen {
    /// Notes how old the documents in a text are.
    fn look(&self, text: &[u8]) {
        let now = micros();
        let mut millis = self.millis.lock().unwrap_or_else(PoisonError::into_inner);
        for at in memchr::memmem::find_iter(text, SENT_AT) {
            let digits = text[at + SENT_AT.len()..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit());
            let sent = digits.fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
            millis.push(now.saturating_sub(sent) as f64 / 1e3);
        }
    }
}

/// # Errors
/// What went wrong with a server or the subject.
pub async fn run(settings: &Settings) -> Fallible {
    process::allow_most_files()?;
    let mut results = Results::open(&settings.folder)?;
    let subject = Subject::Tailwater(Variant::default());
    results.setting(&subject.name(), subject.settings(settings))?;
    let counts: &[usize] = match settings.clients.as_slice() {
        [] if settings.short => &[0, 100, 1_000],
        [] => &[0, 100, 1_000, 10_000],
        asked => asked,
    };
    for count in counts {
        for is_zipped in [true, false] {
            if *count == 0 && !is_zipped {
                continue;
            }
            for run in turn(settings, *count, is_zipped).await? {
                results.run(run)?;
            }
        }
    }
    Ok(())
}

async fn turn(settings: &Settings, count: usize, is_zipped: bool) -> Fallible<Vec<Run>> {
    let client = Client::with_uri_str(&settings.mongodb_uri).await?;
    let broker = Broker::new(&settings.kafka_brokers)?;
    let topic = format!("live.{}", subject::unique());
    broker.create(&topic).await?;
    let own = [
        ("LIVE_ADDR", "127.0.0.1:0"),
        ("LIVE_MAX_CLIENTS_PER_ADDRESS", "20000"),
        ("LIVE_MAX_CLIENTS", "20000"),
    ];
    let variant = Variant::with("Tailwater", &own);
    let mut running = subject::tailwater(settings, DATABASE, &topic, "now", &variant)?;
    let addr = address(settings, &mut running).await?;
    let before = running.usage()?.rss;

    let (rooms, whole) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
    let bridge = Arc::new(Seen::default());
    let mut clients = JoinSet::new();
    for n in 0..count {
        let is_looking = n / 2 < LOOKING;
        let (query, seen) = match n % 2 {
            0 => (
                format!("?collection=c&where=%7B%22room%22:{}%7D", n / 2),
                &rooms,
            ),
            _ => ("?collection=c".to_owned(), &whole),
        };
        let stream = connect(addr, &query, is_zipped).await?;
        let looks = is_looking.then(|| Looking::new(is_zipped));
        clients.spawn(listen(stream, Arc::clone(seen), looks));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let at_rest = running.usage()?.rss;

    let is_over = Arc::new(AtomicBool::new(false));
    let reading = {
        let (address, topic, from) = (broker.address.clone(), topic.clone(), broker.end(&topic)?);
        let (seen, is_over) = (Arc::clone(&bridge), Arc::clone(&is_over));
        tokio::task::spawn_blocking(move || {
            kafka::read(&address, &topic, from, |value| {
                if seen.is_counting.load(Ordering::Relaxed) {
                    seen.look(value);
                }
                !is_over.load(Ordering::Relaxed)
            })
        })
    };

    let seconds = settings.seconds(1.0, 0.2);
    let rate = settings.rate;
    let writing = {
        let rooms = (count / 2).max(1) as u64;
        let client = client.clone();
        let total = (WARM_UP.as_secs() + seconds) * u64::from(rate);
        tokio::spawn(async move { write(&client, total, rate, rooms).await })
    };
    tokio::time::sleep(WARM_UP).await;
    let servers = Servers::of_environment();
    let (began, used) = (servers.now()?, running.usage()?.cpu);
    for seen in [&rooms, &whole, &bridge] {
        seen.is_counting.store(true, Ordering::Relaxed);
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    for seen in [&rooms, &whole, &bridge] {
        seen.is_counting.store(false, Ordering::Relaxed);
    }
    let (ended, usage) = (servers.now()?, running.usage()?);
    writing.await??;
    // Those whose connection has ended were cut off.
    let mut cut = 0;
    while let Some(ended) = clients.try_join_next() {
        ended??;
        cut += 1;
    }
    is_over.store(true, Ordering::Relaxed);
    reading.await??;
    clients.shutdown().await;
    running.stop().await?;
    let of = |half: &str, seen: &Seen| {
        let how = if is_zipped { "gzip" } else { "as it is" };
        let case = format!("{count} clients, {how}, {half}");
        let mut run = Run::new(MODE, &case, "Tailwater", 0);
        ended.note_since(&began, usage.cpu - used, &mut run);
        let mut millis = seen.millis.lock().unwrap_or_else(PoisonError::into_inner);
        millis.sort_by(f64::total_cmp);
        let at = |quantile: f64| {
            millis
                .get((millis.len() as f64 * quantile) as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        run.set(value::P50, at(0.5))
            .set(value::P90, at(0.9))
            .set(value::P99, at(0.99))
            .set(value::HIGHEST, millis.last().copied().unwrap_or(f64::NAN))
            .set(value::RSS_BEFORE_MB, before as f64 / 1e6)
            .set(value::RSS_MB, at_rest as f64 / 1e6)
            .set(value::RSS_AFTER_MB, usage.rss as f64 / 1e6)
            .set(
                value::MB_RATE,
                seen.bytes.load(Ordering::Relaxed) as f64 / 1e6 / seconds as f64,
            )
            .set(value::LOST, f64::from(cut));
        println!(
            "{}: {} samples, p50 {:.1} ms, p99 {:.1} ms, {:.1} KiB a client at rest, {cut} cut",
            run.case,
            millis.len(),
            at(0.5),
            at(0.99),
            (at_rest.saturating_sub(before)) as f64 / 1024.0 / count.max(1) as f64,
        );
        run
    };
    let mut runs = vec![of("the bridge", &bridge)];
    if count > 0 {
        runs.push(of("a room of its own", &rooms));
        runs.push(of("the whole collection", &whole));
    }
    Ok(runs)
}

/// Where it serves, once it does.
async fn address(settings: &Settings, running: &mut Measured) -> Fallible<SocketAddr> {
    let end = Instant::now() + PATIENCE;
    let mut addr: Option<SocketAddr> = None;
    while Instant::now() < end {
        running.usage()?;
        let log = std::fs::read_to_string(settings.folder.join(subject::TAILWATER_LOG))?;
        let line = log
            .lines()
            .find_map(|line| line.split_once("live changes are served"));
        let digits = |rest: &str| {
            rest.rsplit(':').next().map(|port| {
                port.chars()
                    .take_while(char::is_ascii_digit)
                    .collect::<String>()
            })
        };
        if let Some(port) = line
            .and_then(|(_, rest)| digits(rest))
            .and_then(|port| port.parse::<u16>().ok())
        {
            addr = Some(SocketAddr::from(([127, 0, 0, 1], port)));
        }
        // The stream runs, and so does the reader of its topic.
        if let Some(addr) = addr.filter(|_| log.contains("to=\"running\""))
            && connect(addr, "?collection=c", false).await.is_ok()
        {
            return Ok(addr);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err("live changes are not served: see the subject's log".into())
}

async fn connect(addr: SocketAddr, query: &str, is_zipped: bool) -> Fallible<TcpStream> {
    let mut stream = TcpStream::connect(addr).await?;
    let coding = if is_zipped { "gzip" } else { "identity" };
    let request =
        format!("GET /live{query} HTTP/1.0\r\nhost: {addr}\r\naccept-encoding: {coding}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    match &head == b"HTTP/1.0 200" {
        true => Ok(stream),
        false => Err("a client is refused".into()),
    }
}

/// A client that looks at what it reads.
struct Looking {
    /// None before the answer's head has come.
    decoder: Option<GzDecoder<Vec<u8>>>,
    is_zipped: bool,
    rest: Vec<u8>,
}

impl Looking {
    fn new(is_zipped: bool) -> Self {
        Self {
            decoder: None,
            is_zipped,
            rest: Vec::new(),
        }
    }

    fn read(&mut self, bytes: &[u8], seen: &Seen) -> io::Result<()> {
        match &mut self.decoder {
            Some(decoder) => {
                decoder.write_all(bytes)?;
                // What it has decoded so far comes out.
                decoder.flush()?;
                self.rest.append(decoder.get_mut());
            }
            None => {
                self.rest.extend_from_slice(bytes);
                let head = memchr::memmem::find(&self.rest, b"\r\n\r\n");
                if let Some(at) = head.filter(|_| self.is_zipped) {
                    let body = self.rest.split_off(at + 4);
                    self.rest.clear();
                    self.decoder = Some(GzDecoder::new(Vec::new()));
                    return self.read(&body, seen);
                }
            }
        }
        let whole = memchr::memrchr(b'\n', &self.rest).map_or(0, |at| at + 1);
        if seen.is_counting.load(Ordering::Relaxed) {
            seen.look(&self.rest[..whole]);
        }
        if self.decoder.is_some() || !self.is_zipped {
            self.rest.drain(..whole);
        }
        Ok(())
    }
}

/// Reads until the connection ends.
async fn listen(stream: TcpStream, seen: Arc<Seen>, mut looks: Option<Looking>) -> Fallible {
    thread_local! {
        // One for all clients of a thread: so many of them would not stay in the processor's cache.
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
    }
    loop {
        stream.readable().await?;
        let took = BUFFER.with_borrow_mut(|buffer| {
            let read = stream.try_read(buffer)?;
            if let Some(looking) = &mut looks {
                looking.read(&buffer[..read], &seen)?;
            }
            Ok::<_, io::Error>(read)
        });
        let read = match took {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        if seen.is_counting.load(Ordering::Relaxed) {
            seen.bytes.fetch_add(read as u64, Ordering::Relaxed);
        }
    }
}

/// Inserts at the rate, each into one room.
async fn write(client: &Client, total: u64, rate: u32, rooms: u64) -> Fallible {
    const SENDERS: u64 = 8;
    let began = Instant::now();
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let collection = client.database(DATABASE).collection("c");
        senders.spawn(async move {
            for n in (sender..total).step_by(SENDERS as usize) {
                let due = began + Duration::from_secs_f64(n as f64 / f64::from(rate));
                tokio::time::sleep_until(due.into()).await;
                // The rooms of those who look come as often as all others together.
                let room = if n % 2 == 0 {
                    n / 2 % rooms.min(LOOKING as u64)
                } else {
                    n / 2 % rooms
                };
                let document =
                    doc! {"room": room as i64, "sentAt": micros() as i64, "text": text(n)};
                collection.insert_one(document).await?;
            }
            Fallible::Ok(())
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    Ok(())
}

/// A hundred bytes of words, of which no two are alike.
fn text(n: u64) -> String {
    const WORDS: [&str; 32] = [
        "the", "order", "was", "sent", "to", "Berlin", "on", "Monday", "and", "comes", "back",
        "with", "a", "new", "address", "please", "call", "customer", "before", "noon", "invoice",
        "paid", "twice", "parcel", "lost", "again", "thanks", "see", "you", "tomorrow", "at",
        "seven",
    ];
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::new();
    while text.len() < 100 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        text.push_str(WORDS[(state >> 59) as usize]);
        text.push(' ');
    }
    text.truncate(100);
    text
}

/// Since 1970.
fn micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}
