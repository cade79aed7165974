//! Rows of snapshots: between the stream's own events, and behind everything that could be newer.

mod orders;
mod page;
mod told;
mod unstored;

use super::{End, Pump, Step};
use crate::change::event::Event;
use crate::change::extra::Extra;
use crate::change::namespace::Namespace;
use crate::change::position::ClusterTime;
use crate::config::SnapshotMode;
use crate::error::{Code, Error};
use crate::log::event_id;
use crate::route::Route;
use crate::snapshot::desk::Desk;
use crate::snapshot::marks::{Marks, Passed};
use crate::snapshot::progress::{Bounds, Progress, Reason, State};
use crate::snapshot::reading::{Message, Page, Reading, Source};
use crate::snapshot::row;
use crate::snapshot::touched::Touched;
use crate::source::reply::Reply;
use crate::stream::produce::Produce;
use std::collections::VecDeque;
use std::sync::Arc;
use told::Told;
use unstored::Unstored;

/// How many messages of the reading are looked at ahead.
const AHEAD: usize = 64;

/// The pump's side of a snapshot.
pub struct Rows {
    source: Arc<Source>,
    desk: Arc<Desk>,
    state: State,
    marks: Arc<Marks>,
    touched: Touched,
    passed: Passed,
    /// None where nothing is to be read now.
    reading: Option<Reading>,
    /// What was read, in order.
    waiting: VecDeque<Message>,
    /// How many rows of the page in front are done.
    done: usize,
    events: row::Rows,
    told: Told,
    unstored: Unstored,
}

impl Rows {
    /// Those of a position.
    ///
    /// # Errors
    /// Where the position cannot be read.
    pub fn at(extra: &Extra, source: Arc<Source>, desk: Arc<Desk>) -> Result<Self, Error> {
        let marks = Arc::new(Marks::default());
        Ok(Self {
            state: State::of(extra)?,
            touched: Touched::new(Arc::clone(&marks)),
            marks,
            passed: Passed::default(),
            reading: None,
            waiting: VecDeque::new(),
            done: 0,
            events: row::Rows::default(),
            told: Told::default(),
            unstored: Unstored::default(),
            source,
            desk,
        })
    }

    /// Takes note of an event that the server has sent, wanted or not.
    #[inline]
    fn event(&mut self, event: &Event<'_>) {
        if self.reading.is_some() {
            self.touched.event(event);
        }
    }

    /// Leaves out the collections that the configuration of now does not watch.
    fn leave_unwatched(&mut self) {
        let filter = &self.source.filter;
        let Some(progress) = &mut self.state.running else {
            return;
        };
        for collection in progress.keep(|at| filter.watches(&at.database, &at.collection)) {
            tracing::warn!(
                snapshot = progress.id,
                %collection,
                "the snapshot continues without a collection that is not watched any more"
            );
        }
    }

    /// Stops reading, and forgets what was read and not sent.
    fn halt(&mut self) {
        self.reading = None;
        self.waiting.clear();
        self.done = 0;
        self.marks = Arc::new(Marks::default());
        self.touched = Touched::new(Arc::clone(&self.marks));
        self.source.board.snapshots.set_problem(None);
    }

    /// Whether nothing is to be done.
    #[inline]
    pub(super) fn are_at_rest(&self) -> bool {
        self.reading.is_none() && !self.desk.is_asked()
    }

    fn is_wanted(&self) -> bool {
        self.state
            .running
            .as_ref()
            .is_some_and(|progress| !progress.is_paused)
    }

    /// Takes what was read, as far as it is there.
    fn receive(&mut self) {
        let Some(reading) = &mut self.reading else {
            return;
        };
        while self.waiting.len() < AHEAD
            && let Ok(message) = reading.messages.try_recv()
        {
            self.waiting.push_back(message);
        }
    }

    /// Whether the stream has had no changes of its own lately.
    pub(super) fn are_alone(&self) -> bool {
        !self.source.busy.is_now()
    }

    /// Whether the page in front waits for nothing but room.
    fn is_ready(&self, page: &Page) -> bool {
        self.passed.has(page.high)
    }

    /// Waits until there may be something to do, other than an event: something was asked for or read, or, where
    /// that is waited for, there is room.
    pub(super) async fn changed(&mut self, room: Option<impl Future<Output = ()>>) {
        let is_full = self.waiting.len() >= AHEAD;
        let read = async {
            match &mut self.reading {
                Some(reading) if !is_full => reading.messages.recv().await,
                _ => std::future::pending().await,
            }
        };
        let has_room = async {
            match room {
                Some(room) => room.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.desk.asked() => {}
            () = has_room => {}
            message = read => self.waiting.extend(message),
        }
    }
}

/// What rows are up to when the pump has given them a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more at once.
    More,
    /// They wait for something to be read, or for the stream to pass their time.
    Rest,
    /// They wait until less is on its way.
    Room,
    /// They wait until what was sent is stored.
    Stored,
}

impl<'a, P: Produce, R: Route> Pump<'a, P, R> {
    /// The same with the rows of snapshots.
    #[must_use]
    pub fn with_rows(mut self, rows: Rows) -> Self {
        self.rows = Some(Box::new(rows));
        self
    }

    #[inline]
    pub(super) fn touch(&mut self, event: &Event<'_>) {
        if let Some(rows) = &mut self.rows {
            rows.event(event);
        }
    }

    /// A reply was worked off.
    pub(super) fn reply_passed(&mut self, reply: &Reply, is_empty: bool) {
        if let Some(rows) = &mut self.rows
            && rows.reading.is_some()
            && !reply.is_withheld()
        {
            let token = reply.post_batch_token();
            let time = token.as_ref().and_then(|token| token.cluster_time());
            rows.marks.reach(time);
            let is_sharded = rows.marks.is_sharded();
            let now = reply.operation_cluster_time();
            if !is_empty {
                rows.source.busy.note();
            }
            rows.passed.reply(is_empty, is_sharded, time, now);
        }
    }

    /// Begins what the position asks for, before anything else.
    pub(super) async fn begin_rows(&mut self) -> Step {
        let Some(rows) = &mut self.rows else {
            return Ok(());
        };
        let is_only = rows.source.spec.mode == SnapshotMode::Only;
        let state = &rows.state;
        if is_only && state.running.is_none() {
            let mut progress = Progress::new(Reason::Initial, now());
            match state.last.as_ref().filter(|last| last.is_complete) {
                None => progress = progress.of_all(),
                Some(last) if last.skipped.is_empty() => {
                    tracing::info!(
                        "SNAPSHOT=only: the snapshot was taken before; nothing is left to be done"
                    );
                    return Err(End::Stopped);
                }
                Some(last) => {
                    for at in &last.skipped {
                        let filter = rows.source.spec.filter_of(at).cloned();
                        progress.add(at.clone(), filter, Bounds::ALL);
                    }
                }
            }
            self.begin_snapshot(progress).await?;
        }
        if let Some(rows) = &mut self.rows {
            rows.passed = Passed::default();
            rows.leave_unwatched();
        }
        self.read_rows();
        Ok(())
    }

    /// Reads what the progress has left, from where it is.
    fn read_rows(&mut self) {
        let time = self.outlet.reached().cluster_time;
        let Some(rows) = &mut self.rows else {
            return;
        };
        let was_reading = rows.reading.is_some();
        rows.halt();
        let is_wanted = rows.is_wanted();
        if let Some(progress) = rows.state.running.as_ref().filter(|_| is_wanted) {
            rows.marks.reach(time);
            rows.reading = Some(Reading::start(&rows.source, &rows.marks, progress));
            if !was_reading {
                tracing::info!(
                    event_id = event_id::SNAPSHOT_READING,
                    snapshot = progress.id,
                    reason = progress.reason.name(),
                    rows = progress.rows,
                    "reading the rows of a snapshot"
                );
            }
        }
        rows.tell();
        self.ask_often(is_wanted);
    }

    /// Gives the rows a turn.
    pub(super) async fn turn_of_rows(&mut self) -> Step<Turn> {
        let Some(rows) = &mut self.rows else {
            return Ok(Turn::Rest);
        };
        if let Some(request) = rows.desk.next() {
            self.carry_out(request).await?;
            return Ok(Turn::More);
        }
        if rows.reading.is_none() {
            return Ok(Turn::Rest);
        }
        rows.receive();
        if rows.touched.is_full() {
            // More changes than are remembered: what waits for them is read again.
            self.read_rows();
            return Ok(Turn::More);
        }
        rows.tell_now_and_then();
        let Some(message) = rows.waiting.pop_front() else {
            return Ok(Turn::Rest);
        };
        match message {
            Message::Rows(page) if rows.is_obsolete(&page) => {
                rows.done = 0;
                Ok(Turn::More)
            }
            Message::Rows(page) if rows.is_void(&page) => {
                self.read_rows();
                Ok(Turn::More)
            }
            Message::Rows(page) if !rows.is_ready(&page) => {
                rows.waiting.push_front(Message::Rows(page));
                Ok(Turn::Rest)
            }
            Message::Rows(page) => {
                let unstored = match self.outlet.stores_beside() {
                    true => rows.unstored(),
                    false => 0,
                };
                let is_too_much = rows.is_too_much(unstored, &page);
                if is_too_much || unstored >= rows.soon_too_much() {
                    self.outlet.hurry();
                }
                let turn = match self.outlet.has_room_for_rows(rows.are_alone()) {
                    false => Turn::Room,
                    true if is_too_much => Turn::Stored,
                    true => return self.page(page).await.map(|()| Turn::More),
                };
                rows.waiting.push_front(Message::Rows(page));
                Ok(turn)
            }
            Message::Began(part) => {
                if let Some(progress) = &mut rows.state.running {
                    progress.begin(part);
                }
                self.reach_rows();
                Ok(Turn::More)
            }
            Message::Skipped { part, why } => {
                self.skip_part(part, &why);
                Ok(Turn::More)
            }
            Message::Over => self.over().await.map(|()| Turn::More),
        }
    }

    /// Takes what is known of the rows into the position.
    fn reach_rows(&mut self) {
        if let Some(rows) = &self.rows {
            let extra = rows.state.put(&self.outlet.reached().extra);
            self.outlet.reach_rows(extra);
        }
    }

    fn skip_part(&mut self, number: i64, why: &str) {
        let Some(rows) = &mut self.rows else {
            return;
        };
        if let Some(progress) = &mut rows.state.running
            && let Some(at) = progress.skip(number)
        {
            tracing::error!(
                event_id = event_id::SNAPSHOT_SKIPPED,
                snapshot = progress.id,
                collection = %at,
                why,
                "a collection cannot be copied; the snapshot continues without it"
            );
        }
        self.reach_rows();
    }

    /// All was read: the end, unless something has come up meanwhile.
    async fn over(&mut self) -> Step {
        let Some(rows) = &mut self.rows else {
            return Ok(());
        };
        let Some(progress) = &mut rows.state.running else {
            return Ok(());
        };
        if !progress.is_done() {
            self.read_rows();
            return Ok(());
        }
        // Before anybody is told that it is over.
        self.outlet.acknowledged().await?;
        let ended = progress.ended(true, now());
        let seconds = (ended.ended - ended.started) / 1000;
        tracing::info!(
            event_id = event_id::SNAPSHOT_FINISHED,
            snapshot = ended.id,
            rows = ended.rows,
            bytes = ended.bytes,
            left_out = ended.left_out,
            collections = ended.collections,
            seconds,
            skipped = ended.skipped.len(),
            "the snapshot is complete"
        );
        if progress.scan.is_some() {
            rows.state.whole = Some(ended.id.clone());
        }
        let is_only = rows.source.spec.mode == SnapshotMode::Only;
        let skipped = names(&ended.skipped);
        rows.state.running = None;
        rows.state.last = Some(ended);
        self.read_rows();
        self.reach_rows();
        if is_only {
            self.outlet.stored().await?;
            if let Some(names) = skipped {
                let detail = format!(
                    "SNAPSHOT=only: not all was copied: {names} could not be, as the log says; the next start copies \
                     them"
                );
                return Err(End::Failed(Error::new(Code::SourceRefused, detail)));
            }
            tracing::info!("SNAPSHOT=only: the stream ends with its snapshot");
            return Err(End::Stopped);
        }
        Ok(())
    }

    /// All before this time has come.
    #[inline]
    pub(super) fn passed(&mut self, time: Option<ClusterTime>) {
        if let Some(rows) = &mut self.rows {
            rows.passed.event(time);
        }
    }

    /// A change of a definition: what it means for the collections that are copied. Right before the event is
    /// counted.
    pub(super) fn redefine(&mut self, event: &Event<'_>) {
        if event.operation.is_document() {
            return;
        }
        let Some(rows) = &mut self.rows else {
            return;
        };
        let Some(progress) = &mut rows.state.running else {
            return;
        };
        if page::apply(progress, event, &rows.source) {
            self.read_rows();
            // In one step with the event, behind which it is true.
            if let Some(rows) = &self.rows {
                let extra = rows.state.put(&self.outlet.reached().extra);
                self.outlet.carry(extra);
            }
        }
    }
}

fn names(of: &[Namespace]) -> Option<String> {
    let names: Vec<_> = of.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
