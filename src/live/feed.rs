//! What one subscription is told, from where it was on: from Kafka while it is far behind, then from what is kept in
//! memory, then with all others.

use super::catch_up::{CatchUps, CaughtUp};
use super::change::Change;
use super::group::{Batch, Member, Taken};
use super::hub::{Hub, Recent};
use super::position::Position;
use super::selection::{Selection, Shown};
use axum::body::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many changes of a reader are taken at a time.
const PORTION: usize = 64;
/// Longer than it takes to see a new topic.
const PATIENCE: Duration = Duration::from_secs(15);
/// Before reading is tried again.
const BREATH: Duration = Duration::from_secs(1);

/// One subscription.
#[derive(Debug)]
pub struct Feed {
    parts: Arc<CatchUps>,
    selection: Arc<Selection>,
    stage: Stage,
    /// Behind what it was told last; not moved along while it is told with the others.
    position: Position,
    /// Whether the position was held against Kafka, which may be ahead of what is read here.
    is_known: bool,
    /// Until when a topic of its position may become known here, which another instance knows already.
    patience: Instant,
    /// Cancelled when it is too slow.
    cut: CancellationToken,
}

#[derive(Debug)]
enum Stage {
    Behind(mpsc::Receiver<CaughtUp>),
    /// Before Kafka is asked again.
    Resting,
    /// With the number of the next change that is kept.
    Recent(u64),
    /// With what it was told already where that is ahead of the others.
    Current(Box<Member>, Option<Position>),
}

/// What it is told.
#[derive(Debug)]
pub enum Told {
    /// All events of a batch, as they are.
    Batch(Arc<Batch>),
    Events(Vec<Event>),
    Gap {
        from: String,
        to: String,
    },
    /// It has been too slow.
    Cut,
}

/// One event with its position.
#[derive(Debug)]
pub struct Event {
    pub id: String,
    pub is_leave: bool,
    pub body: Bytes,
}

impl Feed {
    /// From now on, or from a position on.
    pub fn open(
        parts: &Arc<CatchUps>,
        selection: Arc<Selection>,
        from: Option<Position>,
        cut: CancellationToken,
    ) -> Self {
        let counts = &parts.hub.counts;
        counts.subscriptions.up();
        let (stage, position) = match from {
            Some(position) => {
                counts.resumed.add(1);
                (Stage::Recent(0), position)
            }
            None => {
                let (member, position) = parts.hub.join(&selection, cut.clone());
                (Stage::Current(Box::new(member), None), position)
            }
        };
        Self {
            parts: Arc::clone(parts),
            selection,
            stage,
            position,
            is_known: false,
            patience: Instant::now() + PATIENCE,
            cut,
        }
    }

    /// Where it is now, in so far as nothing that it was not told lies before that.
    pub fn position(&mut self) -> Option<String> {
        match &mut self.stage {
            Stage::Current(_, Some(_)) => None,
            Stage::Current(member, None) => self.parts.hub.position_of(member),
            _ => Some(self.position.encode()),
        }
    }

    /// What it is told next. May be dropped before it is ready.
    pub async fn next(&mut self) -> Told {
        loop {
            let told = match &mut self.stage {
                Stage::Behind(reader) => {
                    let mut portion = Vec::from_iter(reader.recv().await);
                    // A gap is the first that comes, and told by itself.
                    if !matches!(portion[..], [CaughtUp::Gap { .. }]) {
                        let more = std::iter::from_fn(|| reader.try_recv().ok());
                        portion.extend(more.take(PORTION));
                    }
                    self.caught_up(portion)
                }
                Stage::Resting => {
                    tokio::time::sleep(BREATH).await;
                    self.stage = Stage::Recent(0);
                    None
                }
                Stage::Recent(from) => {
                    let from = *from;
                    // Many may come back at once. Behind this nothing is waited for: it would be lost.
                    tokio::task::yield_now().await;
                    self.recent(from)
                }
                Stage::Current(member, ahead) => match member.take() {
                    Taken::Batch(batch, from) if batch.first() >= from && ahead.is_none() => {
                        Some(Told::Batch(batch))
                    }
                    Taken::Batch(batch, from) => own(&batch, from, ahead),
                    Taken::Nothing => {
                        member.changed().await;
                        None
                    }
                    Taken::Lost => Some(Told::Cut),
                },
            };
            if let Some(told) = told {
                return self.counted(told);
            }
        }
    }

    fn counted(&self, told: Told) -> Told {
        let counts = &self.parts.hub.counts;
        match &told {
            Told::Batch(batch) => counts.sent.add(batch.entries.len() as u64),
            Told::Events(events) => counts.sent.add(events.len() as u64),
            Told::Gap { .. } => counts.gaps.add(1),
            // Once for a connection, whoever sees it first.
            Told::Cut if !self.cut.is_cancelled() => {
                self.cut.cancel();
                counts.cut.add(1);
            }
            Told::Cut => {}
        }
        told
    }

    fn caught_up(&mut self, portion: Vec<CaughtUp>) -> Option<Told> {
        if portion.is_empty() {
            self.stage = Stage::Resting;
            return None;
        }
        let mut events = Vec::new();
        for one in portion {
            match one {
                CaughtUp::Change(change) => self.show(&change, &mut events),
                CaughtUp::Gap { from, to } => {
                    let told = Told::Gap {
                        from: from.encode(),
                        to: to.encode(),
                    };
                    self.position = to;
                    return Some(told);
                }
                CaughtUp::Done(position) => {
                    self.position = position;
                    self.is_known = true;
                    self.stage = Stage::Recent(0);
                }
                CaughtUp::TooSlow => return Some(Told::Cut),
            }
        }
        (!events.is_empty()).then_some(Told::Events(events))
    }

    fn recent(&mut self, from: u64) -> Option<Told> {
        let hub = Arc::clone(&self.parts.hub);
        let recent = hub.recent(
            &self.selection,
            &mut self.position,
            from,
            (self.is_known, Instant::now() < self.patience),
            &self.cut,
        );
        let (changes, stage) = match recent {
            Recent::Later => {
                self.stage = Stage::Resting;
                return None;
            }
            Recent::Elsewhere => {
                self.stage = Stage::Behind(self.parts.read_from(self.position.clone()));
                return None;
            }
            Recent::More(changes, next) => (changes, Stage::Recent(next)),
            Recent::Joined(changes, member, ahead) => {
                (changes, Stage::Current(Box::new(member), ahead))
            }
        };
        self.stage = stage;
        let mut events = Vec::new();
        for change in &changes {
            self.show(change, &mut events);
        }
        (!events.is_empty()).then_some(Told::Events(events))
    }

    /// Takes a change by itself, with the position of this subscription.
    fn show(&mut self, change: &Change, events: &mut Vec<Event>) {
        self.position.raise(change.place, change.offset + 1);
        let (is_leave, body) = match self.selection.judge(change) {
            Shown::Nothing => return,
            Shown::Whole => (false, change.value.clone()),
            Shown::Narrowed(text) => (false, Bytes::from(text)),
            Shown::Leave(text) => (true, Bytes::from(text)),
        };
        let id = self.position.encode();
        events.push(Event { id, is_leave, body });
    }

    fn hub(&self) -> &Hub {
        &self.parts.hub
    }
}

/// The events of a batch that are this subscription's, with its own positions while these are ahead of the others'.
fn own(batch: &Batch, from: u64, ahead: &mut Option<Position>) -> Option<Told> {
    let mut events = Vec::new();
    for entry in batch.entries.iter().filter(|entry| entry.seq >= from) {
        let mut id = batch.id(entry).to_owned();
        if let (Some(own), Ok(position)) = (ahead.as_mut(), Position::decode(&id)) {
            *own = own.aligned(&position);
            let is_told = entry.offset < own.next(entry.place);
            own.join(&position);
            id = own.encode();
            if position.covers(own) {
                *ahead = None;
            }
            if is_told {
                continue;
            }
        }
        let body = batch.body(entry);
        events.push(Event {
            id,
            is_leave: entry.is_leave,
            body,
        });
    }
    (!events.is_empty()).then_some(Told::Events(events))
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Stage::Current(member, _) = &self.stage {
            self.hub().leave(member);
        }
        self.parts.hub.counts.subscriptions.down();
    }
}
