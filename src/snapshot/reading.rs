//! Reads what a snapshot has left: some queries at a time, within a byte budget, each in a window.

use super::busy::Busy;
use super::marks::{Marks, Window};
use super::pace::Pace;
use super::page::Place;
use super::plan::{Next, Of, Plan};
use super::progress::{Part, Progress, Range};
use super::query::{Asked, Query};
use crate::change::position::ClusterTime;
use crate::change::raw;
use crate::config::{Scope, Snapshot};
use crate::flow::budget::{Budget, Reservation};
use crate::mongo::describe::describe;
use crate::retry::{Delays, Retry};
use crate::source::Filter;
use crate::source::cursor;
use crate::source::reply::Reply;
use crate::status::Board;
use crate::tasks;
use bson::{Bson, doc};
use mongodb::Client;
use mongodb::options::{ReadPreference, SelectionCriteria};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

/// How many documents the first reply of a range holds: the next ones follow the size of these.
const FIRST_LIMIT: u64 = 128;

/// How many times as many the next reply may hold.
const GROWTH: u64 = 16;

/// The most documents of one reply.
const MOST: u64 = 50_000;

/// A query ends when the stream has touched so much since it began, and the next one goes on: what is touched is
/// remembered for as long as a query runs.
const MOST_TOUCHES: u64 = 100_000;

/// How many messages wait for the pump.
const AHEAD: usize = 32;

/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where rows come from, and how they are read.
pub struct Source {
    pub client: Client,
    pub scope: Scope,
    pub filter: Filter,
    pub spec: Snapshot,
    pub selection: SelectionCriteria,
    pub budget: Arc<Budget>,
    pub board: Arc<Board>,
    pub retry: Retry,
    /// Whether the stream has changes of its own now.
    pub busy: Busy,
}

/// Which members rows are read from: those of the configuration, otherwise those of the URI.
pub fn selection(client: &Client, mode: Option<&str>) -> SelectionCriteria {
    let options = None;
    SelectionCriteria::ReadPreference(match mode {
        None => return cursor::selection(client),
        Some("primaryPreferred") => ReadPreference::PrimaryPreferred { options },
        Some("secondary") => ReadPreference::Secondary { options },
        Some("secondaryPreferred") => ReadPreference::SecondaryPreferred { options },
        Some("nearest") => ReadPreference::Nearest { options },
        Some(_) => ReadPreference::Primary,
    })
}

/// What comes of reading, in order.
pub enum Message {
    /// The walk over the collections has come to one.
    Began(Part),
    Rows(Page),
    /// A collection cannot be copied, and why.
    Skipped {
        part: i64,
        why: String,
    },
    /// Nothing is left to be read.
    Over,
}

/// Rows of one reply.
pub struct Page {
    pub part: i64,
    pub range: i64,
    pub reply: Reply,
    /// Of the query that the reply belongs to.
    pub window: Arc<Window>,
    /// The server's time behind the reply: the rows are as of then, or earlier.
    pub high: ClusterTime,
    /// Whether it is the last of its range.
    pub is_end: bool,
}

/// Reads until it is dropped.
pub struct Reading {
    pub messages: mpsc::Receiver<Message>,
    _halt: DropGuard,
}

impl Reading {
    /// Reads what this progress has left.
    pub fn start(source: &Arc<Source>, marks: &Arc<Marks>, progress: &Progress) -> Self {
        let (sender, messages) = mpsc::channel(AHEAD);
        let reader = Reader {
            plan: Mutex::new(Plan::of(progress)),
            pace: Pace::new(source.spec.rate),
            beside_changes: Semaphore::new(beside_changes(source.spec.parallelism)),
            source: Arc::clone(source),
            marks: Arc::clone(marks),
            messages: sender,
            takes_time: AtomicBool::new(true),
        };
        let halt = CancellationToken::new();
        tasks::spawn({
            let halt = halt.clone();
            async move {
                let _ = halt.run_until_cancelled(Arc::new(reader).run()).await;
            }
        });
        Self {
            messages,
            _halt: halt.drop_guard(),
        }
    }
}

/// Nobody takes what is read.
struct Closed;

pub(super) struct Reader {
    pub(super) source: Arc<Source>,
    pub(super) marks: Arc<Marks>,
    plan: Mutex<Plan>,
    pace: Pace,
    /// For so many queries at a time while the stream has changes.
    beside_changes: Semaphore,
    messages: mpsc::Sender<Message>,
    /// Whether the server reads not before a given time, as far as is known.
    pub(super) takes_time: AtomicBool,
}

impl Reader {
    async fn run(self: Arc<Self>) {
        self.look_at_the_server().await;
        let mut workers = JoinSet::new();
        for _ in 0..self.source.spec.parallelism {
            let reader = Arc::clone(&self);
            let work = async move { reader.work().await };
            workers.spawn(work.in_current_span());
        }
        // Dropped with this future, they end.
        while workers.join_next().await.is_some() {}
        let _ = self.messages.send(Message::Over).await;
    }

    /// Whether there are shards, behind which tokens promise less.
    async fn look_at_the_server(&self) {
        let mut delays = self.source.retry.delays();
        loop {
            let hello = doc! {"hello": 1};
            match self
                .source
                .client
                .database("admin")
                .run_command(hello)
                .await
            {
                Ok(hello) => {
                    let is_sharded = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
                    return self.marks.set_sharded(is_sharded);
                }
                Err(error) => {
                    self.pause("asking MongoDB what it is", &error, &mut delays)
                        .await
                }
            }
        }
    }

    /// Says why rows cannot be read now, and waits a while.
    pub(super) async fn pause(
        &self,
        attempt: &str,
        error: &mongodb::error::Error,
        delays: &mut Delays,
    ) {
        let said = format!("{attempt}: {}", describe(error));
        tracing::warn!(error = said, "the snapshot waits, and tries again");
        self.source.board.snapshots.set_problem(Some(said));
        let pause = delays.next().unwrap_or(LONGEST_PAUSE);
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    }

    async fn work(&self) {
        let mut delays = self.source.retry.delays();
        loop {
            let mut plan = self.plan.lock().await;
            let next = plan.next(&self.source).await;
            let read = match next {
                // Before anybody reads its ranges.
                Ok(Next::Began(part)) => {
                    let sent = self.messages.send(Message::Began(part)).await;
                    sent.map_err(|_| Closed)
                }
                Ok(Next::Range(of, range)) => {
                    drop(plan);
                    delays = self.source.retry.delays();
                    self.read(&of, range).await
                }
                Ok(Next::Over) => return,
                Err(error) => {
                    let attempt = "listing the collections";
                    self.pause(attempt, &error, &mut delays).await;
                    Ok(())
                }
            };
            if read.is_err() {
                return;
            }
        }
    }

    /// Reads one range to its end.
    async fn read(&self, of: &Of, range: Range) -> Result<(), Closed> {
        let mut place = Place::of(range.of);
        let mut limit = FIRST_LIMIT;
        let mut before: Option<Bson> = None;
        let mut is_stuck = false;
        let mut open: Option<Query> = None;
        loop {
            tokio::time::sleep_until(self.pace.free()).await;
            let bytes = self.source.spec.chunk_bytes;
            let reservation = Reservation::take(&self.source.budget, bytes).await;
            let with_last = self.marks.is_sharded() && !is_stuck;
            let turn = self.turn().await;
            let (query, batch) = match open.take() {
                Some(query) => match self.more(of, query).await {
                    Some(read) => read,
                    // The next query begins behind what was read.
                    None => continue,
                },
                None => {
                    let asked = Asked {
                        condition: place.condition(with_last),
                        is_of_all: place.is_before_all(),
                        limit: match place.is_of_ids() {
                            true => MOST,
                            false => limit,
                        },
                    };
                    match self.begin(of, asked).await {
                        Ok(begun) => begun,
                        Err(why) => return self.skip(of, why).await,
                    }
                }
            };
            drop(turn);
            let reply = Reply::new(batch, Some(reservation));
            let seen = Seen::of(&reply);
            let bytes = reply.len() as u64;
            self.pace.read(seen.rows, bytes);
            let is_exhausted = reply.is_exhausted();
            if seen.rows > 0 && seen.last.is_none() && !is_exhausted {
                let why = "none of the _id values in a row of them is valid UTF-8".to_owned();
                return self.skip(of, why).await;
            }
            is_stuck = seen.last.is_some() && seen.last == before;
            before.clone_from(&seen.last);
            place.advance(seen.last, is_exhausted);
            if is_exhausted && query.asked.is_of_all {
                place.end();
            }
            let Some(high) = reply.operation_cluster_time() else {
                let why = "the server tells no operationTime, so that nobody knows when the rows were read";
                return self.skip(of, why.to_owned()).await;
            };
            if let Some(size) = bytes.checked_div(seen.rows) {
                let fitting = self.source.spec.chunk_bytes as u64 / size.max(1);
                limit = fitting
                    .clamp(1, (limit * GROWTH).min(MOST))
                    .max(u64::from(with_last) * 2);
            }
            let is_end = place.is_over();
            let page = Page {
                part: of.part,
                range: range.number,
                reply,
                window: Arc::clone(&query.window),
                high,
                is_end,
            };
            let sent = self.messages.send(Message::Rows(page)).await;
            sent.map_err(|_| Closed)?;
            if is_end {
                return Ok(());
            }
            let fits = (limit / 2..=limit * 2).contains(&query.asked.limit);
            let is_long = query.window.touches() > MOST_TOUCHES;
            if fits && !is_long && !is_exhausted && !place.is_of_ids() {
                open = Some(query);
            }
        }
    }

    /// Waits until MongoDB may be asked for the next page: beside changes of the stream, which would wait for the
    /// server behind the rows, fewer queries do so at a time.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        match self.source.busy.is_now() {
            true => self.beside_changes.acquire().await.ok(),
            false => None,
        }
    }

    async fn skip(&self, of: &Of, why: String) -> Result<(), Closed> {
        let skipped = Message::Skipped { part: of.part, why };
        self.messages.send(skipped).await.map_err(|_| Closed)
    }
}

/// How many of the queries may ask at a time while the stream has changes.
fn beside_changes(parallelism: usize) -> usize {
    (parallelism / 2).max(1)
}

/// What is in a page.
struct Seen {
    rows: u64,
    /// The last `_id` that can be asked for.
    last: Option<Bson>,
}

impl Seen {
    fn of(reply: &Reply) -> Self {
        let mut seen = Self {
            rows: 0,
            last: None,
        };
        let Ok(rows) = reply.events() else {
            return seen;
        };
        let mut ids = Vec::new();
        for row in rows.map_while(Result::ok) {
            seen.rows += 1;
            ids.push(row);
        }
        let id = |row: &&[u8]| raw::find(row, "_id").ok()??.to_bson();
        seen.last = ids.iter().rev().find_map(id);
        seen
    }
}
