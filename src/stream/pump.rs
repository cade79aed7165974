//! The stage between source and sink: each event of a reply is routed, encoded and produced.

mod bounds;
mod event;
mod interest;
mod preparing;
mod records;
mod refusal;
mod rows;
mod schemas;
mod topics;

use super::hints::ReplayHints;
use super::outlet::{Blocked, LOOK, Outlet};
use super::produce::Produce;
use crate::change::event::{Event, Operation};
use crate::config::{OnMissingTopic, OnRecordError, StreamSpec};
use crate::encode::record::Encoders;
use crate::encode::serialization::{NoValidators, Validators};
use crate::error::{Code, Error};
use crate::flow::batch::ClosedBy;
use crate::listener::ListenerRouter;
use crate::metrics::events::EventCounts;
use crate::metrics::topics::TopicCounts;
use crate::mongo::errors::SourceFault;
use crate::route::{Route, Topic};
use crate::sink::dead_letter::Reason;
use crate::sink::producer::Producer;
use crate::sink::topics::Topics;
use crate::source::Filter;
use crate::source::reader::{Fault, Fetched, Request};
use crate::source::reply::Reply;
use crate::source::split::{Merged, Merger};
use crate::status::Board;
use crate::status::waiting::Awaited;
use futures_util::future::Either;
use interest::Reading;
use preparing::Preparing;
pub use rows::Rows;
use rows::Turn;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc::{Receiver, error::TryRecvError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why the pump has ended.
#[derive(Debug)]
pub enum End {
    /// Asked to stop; every event taken up so far is in a closed batch.
    Stopped,
    /// The source cannot continue; everything before is in closed batches.
    Source(Fault),
    /// The producer must not continue: see its faults.
    Producer,
    /// Another collection has taken the place of the listeners': it must be read from here on.
    ListenersReplaced,
    /// Something that only a person can mend.
    Failed(Error),
}

impl From<Blocked> for End {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::Stopped => Self::Stopped,
            Blocked::Broken | Blocked::Refused(_) => Self::Producer,
            Blocked::Failed(error) => Self::Failed(error),
        }
    }
}

/// One incarnation's pump.
pub struct Pump<'a, P: Produce = Producer, R: Route = ListenerRouter> {
    encoders: Encoders,
    /// What is done before an event's records are made; none where nothing is.
    preparing: Option<Box<Preparing>>,
    /// The `tw-id` of a listener's record; used again.
    own_id: Vec<u8>,
    router: R,
    /// Says what is left out on this side.
    filter: Filter,
    /// Says what listeners may want; none without listeners.
    reach: Option<Filter>,
    /// Whether the configuration's own topics get records where there are listeners.
    beside_topics: bool,
    /// The router's topics that are known to exist, by id.
    ready: Vec<Arc<Topic>>,
    topics: &'a Topics,
    pub outlet: Outlet<'a, P>,
    merger: Merger,
    hints: &'a ReplayHints,
    board: Arc<Board>,
    counts: EventCounts,
    topic_counts: TopicCounts,
    stop: CancellationToken,
    /// `TOMBSTONES`.
    tombstones: bool,
    on_record_error: OnRecordError,
    on_missing_topic: OnMissingTopic,
    /// The reply in hand, until the topics that its events lack were made together.
    in_hand: Option<Arc<Reply>>,
    /// What the server is asked for, where listeners change that.
    reading: Reading,
    /// Whether listeners have changed since they were put in force. No event is taken up meanwhile, and no position
    /// given out.
    is_changing: bool,
    /// Whether one of them wants more than the server was asked for.
    is_more_wanted: bool,
    /// Whether another collection has taken the place of the listeners'.
    is_replaced: bool,
    /// Operations that are not known here, and of which that was said.
    told_operations: BTreeSet<String>,
    /// Rows of snapshots; none where there can be none.
    rows: Option<Box<Rows>>,
    /// What collections' validators say, for schemas.
    validators: Arc<dyn Validators + Send>,
}

type Step<T = ()> = Result<T, End>;

/// How often a long reply looks whether it is time to stop, in events.
const LOOK_UP: u64 = 64;

/// So far behind the source's clock, which counts whole seconds, an event has waited there, and not on
/// its way.
const BEHIND_SECONDS: u32 = 2;

/// What a pump shares with the rest of its stream.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a, R: Route = ListenerRouter> {
    pub spec: &'a StreamSpec,
    pub router: &'a R,
    pub topics: &'a Topics,
    pub board: &'a Arc<Board>,
    /// Where the reader is asked for something else.
    pub requests: &'a watch::Sender<Option<Request>>,
}

impl<'a, P: Produce, R: Route> Pump<'a, P, R> {
    pub fn new(
        parts: Parts<'a, R>,
        outlet: Outlet<'a, P>,
        hints: &'a ReplayHints,
        stop: CancellationToken,
    ) -> Self {
        let spec = parts.spec;
        let listeners = spec.source.listeners.as_ref();
        Self {
            encoders: Encoders::of(spec),
            preparing: Preparing::of(spec),
            own_id: Vec::new(),
            router: parts.router.clone(),
            filter: Filter::of(spec),
            reach: listeners.map(|_| Filter::of_listeners(spec)),
            beside_topics: listeners.is_none_or(|listeners| listeners.beside_topics),
            ready: Vec::new(),
            topics: parts.topics,
            outlet,
            merger: Merger::default(),
            in_hand: None,
            reading: Reading::new(parts.requests, parts.router.interest()),
            is_changing: false,
            is_more_wanted: false,
            is_replaced: false,
            told_operations: BTreeSet::new(),
            rows: None,
            validators: Arc::new(NoValidators),
            hints,
            board: Arc::clone(parts.board),
            counts: EventCounts::default(),
            topic_counts: parts.board.metrics.topic_counts(),
            stop,
            tombstones: spec.sink.tombstones,
            on_record_error: spec.pipeline.on_record_error,
            on_missing_topic: spec.pipeline.on_missing_topic,
        }
    }

    /// Takes replies until one of the [`End`]s.
    pub async fn run(&mut self, mut replies: Receiver<Fetched>) -> End {
        if let Err(end) = self.announce().await {
            return end;
        }
        if let Err(end) = Box::pin(self.begin_rows()).await {
            return end;
        }
        loop {
            if let Err(end) = self.next(&mut replies).await {
                return end;
            }
        }
    }

    /// After the end: waits for the acknowledgements of what was taken up, and where the records are
    /// in a transaction commits it; whether that came about.
    pub async fn finish(&mut self) -> bool {
        self.outlet.finish().await
    }

    /// Tells of lost history before anything that comes behind it.
    async fn announce(&mut self) -> Step {
        let hints = self.hints;
        match &hints.gap {
            Some(gap) => {
                let event = Event::parse(gap.as_bytes()).map_err(malformed)?;
                self.outlet.hold();
                self.event(&event).await
            }
            None => Ok(()),
        }
    }

    async fn next(&mut self, replies: &mut Receiver<Fetched>) -> Step {
        let turn = match &self.rows {
            Some(rows) if !rows.are_at_rest() => Box::pin(self.turn_of_rows()).await?,
            _ => Turn::Rest,
        };
        let fetched = match replies.try_recv() {
            Ok(fetched) => fetched,
            Err(TryRecvError::Disconnected) => return Err(End::Stopped),
            Err(TryRecvError::Empty) if turn == Turn::More => return Ok(()),
            Err(TryRecvError::Empty) => {
                // Nothing more ready: at rest nobody waits for a timer.
                self.outlet.seal(ClosedBy::Idle);
                match self.rest(replies, turn).await? {
                    Some(fetched) => fetched,
                    None => return Ok(()),
                }
            }
        };
        if self.reading.is_stale(&fetched) {
            return Ok(());
        }
        match fetched {
            Fetched::Reopened(_) => {
                self.merger = Merger::default();
                Ok(())
            }
            Fetched::Reply(reply) => {
                let reply = Arc::new(reply);
                self.in_hand = Some(Arc::clone(&reply));
                let step = self.reply(&reply).await;
                self.in_hand = None;
                // However it has ended: what is given out from here on holds the listeners as they are.
                self.put_in_force();
                step
            }
            Fetched::Refused(reply, fault) => self.unreadable(&reply, fault).await,
            Fetched::SplitAnew => {
                self.merger = Merger::default();
                Ok(())
            }
            Fetched::Failed(fault) => Err(End::Source(fault)),
        }
    }

    /// Waits for the next reply; none where something else came first.
    async fn rest(&mut self, replies: &mut Receiver<Fetched>, turn: Turn) -> Step<Option<Fetched>> {
        let are_alone = self.rows.as_ref().is_some_and(|rows| rows.are_alone());
        let room = match turn {
            Turn::Room => Some(Either::Left(self.outlet.room_for_rows(are_alone))),
            Turn::Stored => Some(Either::Right(tokio::time::sleep(LOOK))),
            Turn::More | Turn::Rest => None,
        };
        let rows = self.rows.as_mut();
        let rows = async {
            match rows {
                Some(rows) => rows.changed(room).await,
                None => std::future::pending().await,
            }
        };
        let next = async {
            tokio::select! {
                biased;
                next = replies.recv() => Some(next),
                () = rows => None,
            }
        };
        match self.outlet.unless_due(Awaited::Change, next).await? {
            Some(Some(next)) => next.map(Some).ok_or(End::Stopped),
            Some(None) => Ok(None),
            None => {
                self.outlet.commit().await?;
                Ok(None)
            }
        }
    }

    /// Treats the one event of a reply, which the server cannot send whole, by `ON_RECORD_ERROR`.
    async fn unreadable(&mut self, reply: &Reply, fault: SourceFault) -> Step {
        // Fragments of it may have come before it turned out that the rest cannot.
        self.merger = Merger::default();
        if let Some(raw) = reply.events().map_err(malformed)?.next() {
            let event = Event::parse(raw.map_err(malformed)?).map_err(malformed)?;
            let seq = self.outlet.reached().seq.next();
            self.board.events.add(1);
            self.touch(&event);
            if self.takes_change(&event) {
                self.leave_out(&event);
                self.put_in_force();
            } else if let Some(by_configuration) = self.wanted(&event) {
                if let Some(bounds) = self.place(&event, seq, by_configuration)? {
                    Box::pin(self.bound_bare(&event, seq, &bounds)).await?;
                }
                let reason = Reason::Unreadable(fault);
                let mut room = Vec::new();
                let told = self.without_documents(&event, &mut room);
                self.refuse_whole(&told, seq, &reason).await?;
                self.outlet.count(&event);
            } else {
                self.leave_out(&event);
            }
            self.widen();
        }
        Ok(())
    }

    async fn reply(&mut self, reply: &Reply) -> Step {
        let mut count = 0;
        let mut last = Operation::Other;
        let mut last_time = None;
        for raw in reply.events().map_err(malformed)? {
            let raw = raw.map_err(malformed)?;
            if count % LOOK_UP == 0 && self.stop.is_cancelled() {
                return Err(End::Stopped);
            }
            let event = Event::parse(raw).map_err(malformed)?;
            if self.is_changing && !self.router.changes_with(&event) {
                self.put_in_force();
                if self.widen() {
                    return self.read_anew(count);
                }
            }
            count += 1;
            last = event.operation;
            last_time = event.cluster_time;
            match self.merger.take(&event).map_err(malformed)? {
                Merged::Whole => self.event(&event).await?,
                Merged::Fragment => {}
                Merged::Complete(whole) => {
                    let event = Event::parse(&whole).map_err(malformed)?;
                    self.event(&event).await?;
                }
            }
            self.passed(last_time);
            if self.widen() {
                return self.read_anew(count);
            }
        }
        self.put_in_force();
        if self.widen() {
            return self.read_anew(count);
        }
        self.flush_counts();
        // Both times are the cluster's own: no clock here can make it look late.
        let late = last_time.zip(reply.operation_time());
        let late = late.map_or(0, |(then, now)| now.saturating_sub(then.seconds));
        self.outlet.set_behind(late >= BEHIND_SECONDS);
        self.board.events.add(count);
        self.board.caught_up.set(count == 0);
        self.board.in_hand_millis.store(0, Ordering::Relaxed);
        if count > 0 {
            self.board.note_lateness();
        }
        if !self.merger.is_open() {
            self.reply_passed(reply, count == 0);
        }
        // Behind the last event, unless that was a fragment, or an `invalidate`, behind which is nothing.
        if !self.merger.is_open()
            && last != Operation::Invalidate
            && let Some(token) = reply.post_batch_token()
        {
            let time = (count == 0).then(|| {
                let time = token.cluster_time().map(|time| time.millis());
                time.or_else(|| {
                    reply
                        .operation_time()
                        .map(|seconds| i64::from(seconds) * 1000)
                })
            });
            if let Some(millis) = time.flatten() {
                self.board.idle_millis.store(millis, Ordering::Relaxed);
            }
            self.outlet.pass(&token, time.flatten());
            self.narrow();
        }
        Ok(())
    }

    /// Ends a reply after so many events: what follows comes again, with what is wanted from here on.
    fn read_anew(&mut self, count: u64) -> Step {
        self.flush_counts();
        self.board.events.add(count);
        Ok(())
    }

    fn flush_counts(&mut self) {
        self.counts.flush();
        self.topic_counts.flush();
    }
}

/// The reader has looked at the replies before: what is found only here is not read again.
fn malformed(why: impl std::fmt::Display) -> End {
    let detail = format!(
        "reading the change stream: {why}{}",
        SourceFault::Malformed.remedy()
    );
    End::Failed(Error::new(Code::SourceMalformed, detail))
}
