//! The stage between source and sink: each event of a reply is routed, encoded and produced.

mod refusal;

use super::hints::ReplayHints;
use super::outlet::{Blocked, Outlet};
use super::produce::Produce;
use crate::change::event::{Event, Operation};
use crate::change::position::Seq;
use crate::config::{OnMissingTopic, OnRecordError, StreamSpec};
use crate::encode::record::Encoder;
use crate::error::{Code, Error};
use crate::flow::batch::ClosedBy;
use crate::kafka::produce::Record;
use crate::metrics::events::EventCounts;
use crate::mongo::errors::SourceFault;
use crate::route::{Route, Router, Topic, TopicId};
use crate::sink::dead_letter::Reason;
use crate::sink::producer::Producer;
use crate::sink::topics::Topics;
use crate::source::Filter;
use crate::source::reader::{Fault, Fetched};
use crate::source::reply::Reply;
use crate::source::split::{Merged, Merger, SplitError};
use crate::status::Board;
use crate::status::waiting::Awaited;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc::{Receiver, error::TryRecvError};
use tokio_util::sync::CancellationToken;

/// Why the pump has ended.
#[derive(Debug)]
pub enum End {
    /// Asked to stop; every event taken up so far is in a closed batch.
    Stopped,
    /// The source cannot go on; everything before is in closed batches.
    Source(Fault),
    /// The producer must not go on: see its faults.
    Producer,
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
pub struct Pump<'a, P: Produce = Producer> {
    encoder: Encoder,
    router: Router,
    /// Says what is left out on this side.
    filter: Filter,
    /// The router's topics that are known to exist, by id.
    ready: Vec<Arc<Topic>>,
    topics: &'a Topics,
    pub outlet: Outlet<'a, P>,
    merger: Merger,
    hints: &'a ReplayHints,
    board: Arc<Board>,
    counts: EventCounts,
    stop: CancellationToken,
    /// `TOMBSTONES`.
    tombstones: bool,
    on_record_error: OnRecordError,
    on_missing_topic: OnMissingTopic,
    /// The reply in hand, until the topics that its events lack were made together.
    in_hand: Option<Arc<Reply>>,
    /// Operations that are not known here, and of which that was said.
    told_operations: BTreeSet<String>,
}

/// How many unknown operations are told apart in the log.
const MOST_TOLD: usize = 100;

type Step<T = ()> = Result<T, End>;

/// How often a long reply looks whether it is time to stop, in events.
const LOOK_UP: u64 = 64;

/// So far behind the source's clock, which counts whole seconds, an event has waited there, and not on
/// its way.
const BEHIND_SECONDS: u32 = 2;

/// What a pump shares with the rest of its stream.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub spec: &'a StreamSpec,
    pub router: &'a Router,
    pub topics: &'a Topics,
    pub board: &'a Arc<Board>,
}

impl<'a, P: Produce> Pump<'a, P> {
    pub fn new(
        parts: Parts<'a>,
        outlet: Outlet<'a, P>,
        hints: &'a ReplayHints,
        stop: CancellationToken,
    ) -> Self {
        let spec = parts.spec;
        Self {
            encoder: Encoder::of(spec),
            router: parts.router.clone(),
            filter: Filter::of(spec),
            ready: Vec::new(),
            topics: parts.topics,
            outlet,
            merger: Merger::default(),
            in_hand: None,
            told_operations: BTreeSet::new(),
            hints,
            board: Arc::clone(parts.board),
            counts: EventCounts::default(),
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
        let fetched = match replies.try_recv() {
            Ok(fetched) => fetched,
            Err(TryRecvError::Disconnected) => return Err(End::Stopped),
            Err(TryRecvError::Empty) => {
                // Nothing more ready: at rest nobody waits for a timer.
                self.outlet.seal(ClosedBy::Idle);
                match self
                    .outlet
                    .unless_due(Awaited::Change, replies.recv())
                    .await?
                {
                    Some(next) => next.ok_or(End::Stopped)?,
                    None => return Ok(self.outlet.commit().await?),
                }
            }
        };
        match fetched {
            Fetched::Reply(reply) => {
                let reply = Arc::new(reply);
                self.in_hand = Some(Arc::clone(&reply));
                let step = self.reply(&reply).await;
                self.in_hand = None;
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

    /// Treats the one event of a reply, which the server cannot send whole, by `ON_RECORD_ERROR`.
    async fn unreadable(&mut self, reply: &Reply, fault: SourceFault) -> Step {
        // Fragments of it may have come before it turned out that the rest cannot.
        self.merger = Merger::default();
        if let Some(raw) = reply.events().map_err(malformed)?.next() {
            let event = Event::parse(raw.map_err(malformed)?).map_err(malformed)?;
            let seq = self.outlet.reached().seq.next();
            self.board.events.add(1);
            if self.filter.leaves_out(&event) {
                self.leave_out(&event);
            } else {
                self.refuse(&event, seq, Reason::Unreadable(fault)).await?;
                self.outlet.count(&event);
            }
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
            count += 1;
            let event = Event::parse(raw).map_err(malformed)?;
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
        }
        self.counts.flush();
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
        }
        Ok(())
    }

    async fn event(&mut self, event: &Event<'_>) -> Step {
        if self.outlet.is_broken() {
            return Err(End::Producer);
        }
        // Not among the events of the metrics either: names that are new each time would use up the labels.
        if self.filter.leaves_out(event) {
            self.leave_out(event);
            return Ok(self.outlet.commit_if_due().await?);
        }
        self.counts.event(&self.board.metrics, event);
        let time = event.timestamp_millis();
        let in_hand = &self.board.in_hand_millis;
        in_hand.store(time.unwrap_or(0), Ordering::Relaxed);
        let seq = self.outlet.reached().seq.next();
        if let Some(code) = self.hints.refused.get(&seq).copied() {
            self.learn(event, seq, code);
            self.refuse(event, seq, Reason::Broker(code)).await?;
            // What is refused next must not bring its dead letter a second time.
            self.outlet.acknowledged().await?;
        } else if self.hints.suspects.contains(&seq) {
            // With nothing else in flight, so that a refusal names its record.
            self.outlet.acknowledged().await?;
            self.take_up(event, seq).await?;
            self.outlet.acknowledged().await?;
        } else {
            self.take_up(event, seq).await?;
        }
        if let Some(millis) = time {
            self.board.last_seen_millis.store(millis, Ordering::Relaxed);
        }
        self.outlet.count(event);
        Ok(self.outlet.commit_if_due().await?)
    }

    /// Passes over what the filter does not want: it takes no number.
    fn leave_out(&mut self, event: &Event<'_>) {
        self.board.passed.add(1);
        if let Some(millis) = event.timestamp_millis() {
            self.board.last_seen_millis.store(millis, Ordering::Relaxed);
        }
        self.outlet.leave_out(event);
    }

    async fn take_up(&mut self, event: &Event<'_>, seq: Seq) -> Step {
        // What becomes of a document is not guessed at.
        let outcome = match self.router.route(event) {
            _ if event.is_unknown() && event.document_key.is_some() => Err(Reason::Unknown),
            Ok(Route::Topic(id)) => self.produce(event, seq, id).await?,
            Ok(Route::Nowhere) => {
                self.pass_over(event);
                Ok(())
            }
            Err(error) => Err(Reason::Topic(error.to_string())),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(reason) => self.refuse(event, seq, reason).await,
        }
    }

    fn pass_over(&mut self, event: &Event<'_>) {
        self.board.passed.add(1);
        // The end of the stream is no change of a schema.
        if event.operation == Operation::Invalidate {
            return;
        }
        if event.is_unknown() && self.is_news(event.operation_name) {
            tracing::warn!(
                operation = event.operation_name,
                database = event.database,
                collection = event.collection,
                "an event of an operation that is not known here has no record, and neither have those to \
                 come; KAFKA_TOPIC_DDL gives them one"
            );
            return;
        }
        tracing::info!(
            operation = event.operation_name,
            database = event.database,
            collection = event.collection,
            "schema change without a record; KAFKA_TOPIC_DDL gives it one"
        );
    }

    /// Whether nothing was said of this operation yet. So many names are remembered as a server can have.
    fn is_news(&mut self, operation: &str) -> bool {
        let is_news = !self.told_operations.contains(operation);
        if is_news && self.told_operations.len() < MOST_TOLD {
            self.told_operations.insert(operation.to_owned());
        }
        is_news
    }

    /// Encodes and queues the record, and the tombstone where there is one.
    async fn produce(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        id: TopicId,
    ) -> Step<Result<(), Reason>> {
        let topic = match self.topic(id, self.on_missing_topic).await? {
            Ok(topic) => topic,
            Err(problem) => return Ok(Err(Reason::Topic(problem.to_string()))),
        };
        let encoded = match self.encoder.encode(event, seq) {
            Ok(encoded) => encoded,
            Err(error) => return Ok(Err(Reason::Encoding(error.to_string()))),
        };
        self.board.metrics.replaced(encoded.replaced());
        let headers = encoded.headers();
        let record = encoded.record(topic.c_name(), &headers);
        if let Some(limit) = topic.max_message_bytes()
            && record.wire_size() > limit
            && !self.topics.may_compress()
        {
            return Ok(Err(Reason::TooLarge {
                bytes: record.wire_size(),
                limit,
            }));
        }
        if let Some(broken) = topic.out_of_time(record.timestamp_millis) {
            return Ok(Err(Reason::OutOfTime(broken)));
        }
        let time = event.timestamp_millis();
        self.outlet.in_order(&topic, record.key).await?;
        let sent = send(&mut self.outlet, &record, time).await?;
        self.counts.record(record.payload_bytes());
        if sent.is_err() || !self.tombstones || event.operation != Operation::Delete {
            return Ok(sent);
        }
        let headers = encoded.tombstone_headers();
        let tombstone = Record {
            value: None,
            headers: headers.as_slice(),
            ..record
        };
        self.outlet.in_order(&topic, tombstone.key).await?;
        self.counts.record(tombstone.payload_bytes());
        send(&mut self.outlet, &tombstone, time).await
    }
}

async fn send(
    outlet: &mut Outlet<'_, impl Produce>,
    record: &Record<'_>,
    change_millis: Option<i64>,
) -> Step<Result<(), Reason>> {
    match outlet.send(record, change_millis).await {
        Ok(()) => Ok(Ok(())),
        Err(Blocked::Refused(code)) => Ok(Err(Reason::Broker(code))),
        Err(blocked) => Err(blocked.into()),
    }
}

/// The reader has looked at the replies before: what is found only here is not read again.
fn malformed(why: impl Into<SplitError>) -> End {
    let detail = format!(
        "reading the change stream: {}{}",
        why.into(),
        SourceFault::Malformed.remedy()
    );
    End::Failed(Error::new(Code::SourceMalformed, detail))
}
