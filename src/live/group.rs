//! Clients with the same question share its answers: an event is written once for all of them, and each client only
//! knows how far it has come. What the slowest has not taken yet is kept, up to a bound.

use super::gzip::Piece;
use super::pace::Since;
use super::position::Place;
use super::selection::Selection;
use axum::body::Bytes;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How much is kept for those who are slow, in bytes.
pub const QUEUE: usize = 1 << 20;
/// A burst is no slowness: what is younger than this is kept beyond [`QUEUE`], up to [`BURST`].
const GRACE: Duration = Duration::from_secs(1);
const BURST: usize = 8 << 20;
/// Closes a batch, in bytes.
const BATCH: usize = 64 << 10;
/// How many clients are woken at once.
const PORTION: usize = 256;

/// Events that were written together.
#[derive(Debug)]
pub struct Batch {
    pub text: Bytes,
    pub entries: Vec<Entry>,
    at: Instant,
    /// How many clients there were to read it.
    readers: usize,
    zipped: OnceLock<Piece>,
}

/// One event in a batch.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The number of its change.
    pub seq: u64,
    pub place: Place,
    pub offset: i64,
    pub is_leave: bool,
    /// Places in the text.
    id: Range<usize>,
    body: Range<usize>,
}

impl Batch {
    pub fn first(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.seq)
    }

    fn end(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.seq + 1)
    }

    /// The text for streams that are compressed.
    pub fn zipped(&self) -> &Piece {
        let made = || Piece::new(&self.text, self.readers);
        self.zipped.get_or_init(made)
    }

    /// The position behind an event.
    pub fn id(&self, entry: &Entry) -> &str {
        std::str::from_utf8(&self.text[entry.id.clone()]).unwrap_or_default()
    }

    /// What is told of it.
    pub fn body(&self, entry: &Entry) -> Bytes {
        self.text.slice(entry.body.clone())
    }
}

/// One question, and those who ask it.
#[derive(Debug)]
pub struct Group {
    pub selection: Arc<Selection>,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    text: Vec<u8>,
    entries: Vec<Entry>,
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// What was before is kept no more.
    start: u64,
    members: HashMap<u64, Arc<Progress>>,
    next_member: u64,
    /// Wake the members, each some of them.
    portions: Vec<watch::Sender<()>>,
    /// Whether there is something that was taken up since it was shown last.
    is_touched: bool,
    since: Option<Since>,
}

/// How far a client has come, and how it is told that it was too slow.
#[derive(Debug)]
struct Progress {
    next: AtomicU64,
    cut: CancellationToken,
}

/// A client in a group.
#[derive(Debug)]
pub struct Member {
    pub group: Arc<Group>,
    number: u64,
    progress: Arc<Progress>,
    changed: watch::Receiver<()>,
}

/// What there is for a member.
#[derive(Debug)]
pub enum Taken {
    /// With the number of the first change in it that is for this member.
    Batch(Arc<Batch>, u64),
    Nothing,
    /// It has been too slow.
    Lost,
}

/// Appends an event as server-sent events have it, with `id:` before `data:`; where id and data are.
pub fn write_event(
    text: &mut Vec<u8>,
    id: &str,
    is_leave: bool,
    body: &[u8],
) -> (Range<usize>, Range<usize>) {
    text.extend_from_slice(b"id: ");
    let id_start = text.len();
    text.extend_from_slice(id.as_bytes());
    let id = id_start..text.len();
    text.extend_from_slice(if is_leave {
        b"\nevent: leave\ndata: "
    } else {
        b"\ndata: "
    });
    let start = text.len();
    text.extend_from_slice(body);
    let body = start..text.len();
    text.extend_from_slice(b"\n\n");
    (id, body)
}

impl Group {
    pub fn new(selection: Arc<Selection>) -> Self {
        Self {
            selection,
            log: Mutex::default(),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event up, which is to be shown. Whether it is the first since something was.
    pub fn add(
        &self,
        seq: u64,
        (place, offset): (Place, i64),
        id: &str,
        is_leave: bool,
        body: &[u8],
    ) -> bool {
        let mut log = self.log();
        let is_first = !std::mem::replace(&mut log.is_touched, true);
        let (id, body) = write_event(&mut log.text, id, is_leave, body);
        log.entries.push(Entry {
            seq,
            place,
            offset,
            is_leave,
            id,
            body,
        });
        if log.text.len() >= BATCH {
            log.close();
        }
        is_first
    }

    /// How many clients it has, and since when it gathers what they are told.
    pub fn pace(&self) -> (usize, Option<Since>) {
        let log = self.log();
        (log.members.len(), log.since)
    }

    /// Shows what was taken up; in how many portions those who wait for it are to be woken.
    pub fn show(&self, since: Since) -> usize {
        let mut log = self.log();
        log.close();
        log.is_touched = false;
        log.since = Some(since);
        log.portions.len()
    }

    /// Wakes some of those who wait.
    pub fn wake(&self, portion: usize) {
        if let Some(portion) = self.log().portions.get(portion) {
            portion.send_replace(());
        }
    }

    /// Takes a client in, for which what comes from `seq` on is.
    pub fn enter(self: &Arc<Self>, seq: u64, cut: CancellationToken) -> Member {
        let progress = Arc::new(Progress {
            next: AtomicU64::new(seq),
            cut,
        });
        let mut log = self.log();
        let number = log.next_member;
        log.next_member += 1;
        log.members.insert(number, Arc::clone(&progress));
        let changed = log.portion().subscribe();
        drop(log);
        Member {
            group: Arc::clone(self),
            number,
            progress,
            changed,
        }
    }

    /// Forgets what everybody has taken, and cuts off who has been too slow; the bytes that are left, and how many were
    /// cut off.
    pub fn sweep(&self) -> (usize, u64) {
        let mut log = self.log();
        let start = log.start;
        let (mut slowest, mut slow) = (u64::MAX, 0);
        for member in log.members.values() {
            let next = member.next.load(Ordering::Relaxed);
            match next < start {
                true => {
                    slow += u64::from(!member.cut.is_cancelled());
                    member.cut.cancel();
                }
                false => slowest = slowest.min(next),
            }
        }
        while log
            .batches
            .front()
            .is_some_and(|batch| batch.end() <= slowest)
        {
            log.drop_front();
        }
        (log.bytes, slow)
    }

    /// Keeps nothing of what was written: who has not taken it yet has been too slow.
    pub fn shed(&self) {
        let mut log = self.log();
        while !log.batches.is_empty() {
            log.drop_front();
        }
    }

    /// Tells everybody to leave.
    pub fn cut_all(&self) {
        self.log()
            .members
            .values()
            .for_each(|member| member.cut.cancel());
    }
}

impl Log {
    /// One that has room for a client.
    fn portion(&mut self) -> &watch::Sender<()> {
        let has_room = |portion: &watch::Sender<()>| portion.receiver_count() < PORTION;
        let at = self.portions.iter().position(has_room);
        let at = at.unwrap_or_else(|| {
            self.portions.push(watch::Sender::new(()));
            self.portions.len() - 1
        });
        &self.portions[at]
    }

    fn close(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let batch = Batch {
            text: Bytes::from(std::mem::take(&mut self.text)),
            entries: std::mem::take(&mut self.entries),
            at: Instant::now(),
            readers: self.members.len(),
            zipped: OnceLock::new(),
        };
        self.bytes += batch.text.len();
        self.batches.push_back(Arc::new(batch));
        while self.bytes > QUEUE && self.batches.len() > 1 {
            let is_old = self
                .batches
                .front()
                .is_some_and(|first| first.at.elapsed() > GRACE);
            if !is_old && self.bytes <= BURST {
                break;
            }
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes -= batch.text.len();
            self.start = batch.end();
        }
    }
}

impl Member {
    /// The next batch.
    pub fn take(&mut self) -> Taken {
        // What comes from here on wakes it.
        self.changed.mark_unchanged();
        let next = self.progress.next.load(Ordering::Relaxed);
        let log = self.group.log();
        if next < log.start {
            return Taken::Lost;
        }
        let at = log.batches.partition_point(|batch| batch.end() <= next);
        let Some(batch) = log.batches.get(at) else {
            return Taken::Nothing;
        };
        self.progress.next.store(batch.end(), Ordering::Relaxed);
        Taken::Batch(Arc::clone(batch), next)
    }

    /// Whether it has taken everything that was taken up so far.
    pub fn is_current(&mut self) -> bool {
        let next = self.progress.next.load(Ordering::Relaxed);
        let log = self.group.log();
        log.entries.is_empty() && log.batches.back().is_none_or(|batch| batch.end() <= next)
    }

    #[cfg(test)]
    pub fn is_woken(&self) -> bool {
        self.changed.has_changed().unwrap_or(true)
    }

    /// Waits until there may be more.
    pub async fn changed(&mut self) {
        // The sender is in the group.
        let _ = self.changed.changed().await;
    }

    /// Takes it out of the group; whether nobody is left.
    pub fn leave(&self) -> bool {
        let mut log = self.group.log();
        log.members.remove(&self.number);
        log.members.is_empty()
    }
}
