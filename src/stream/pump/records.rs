//! From an event to its records: one for each target, each with a fate of its own.

use super::{End, Pump, Step};
use crate::change::event::{Event, Operation};
use crate::change::position::Seq;
use crate::config::{OnMissingTopic, OnRecordError};
use crate::encode::record::Encoded;
use crate::kafka::produce::Record;
use crate::log::event_id;
use crate::metrics::events::EventCounts;
use crate::metrics::topics::TopicCounts;
use crate::route::{Route, Target, TargetId, Targets, Topic};
use crate::sink::dead_letter::{Reason, Refused};
use crate::sink::topics::Topics;
use crate::stream::hints::Known;
use crate::stream::outlet::{Blocked, Outlet};
use crate::stream::produce::Produce;

/// The targets of an event whose records cannot be had, by their place among all, and why. Mostly empty.
pub(super) type Refusals = Vec<(usize, Reason)>;

impl<P: Produce, R: Route> Pump<'_, P, R> {
    /// Queues the records of an event, and treats those that cannot be had.
    pub(super) async fn take_up(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        by_configuration: bool,
    ) -> Step {
        let is_guess = event.is_unknown() && event.document_key.is_some();
        let targets = match is_guess {
            true => Targets::new(),
            // By the event as it came: a filter may ask for what its record does not show.
            false => self.router.route(event, by_configuration),
        };
        let mut room = Vec::new();
        let rewritten;
        let event = match &self.preparing {
            None => event,
            Some(_) => {
                let bounds = self.place(event, seq, by_configuration)?;
                match self.shown(event, &mut room) {
                    Ok(shown) => rewritten = shown,
                    Err(why) => {
                        if let Some(bounds) = bounds {
                            Box::pin(self.bound_bare(event, seq, &bounds)).await?;
                        }
                        return self.unfit(event, seq, why).await;
                    }
                }
                if let Some(bounds) = bounds {
                    Box::pin(self.bound(&rewritten, seq, &targets, &bounds)).await?;
                }
                &rewritten
            }
        };
        // What becomes of a document is not guessed at.
        if is_guess {
            return self.refuse_whole(event, seq, &Reason::Unknown).await;
        }
        if targets.is_empty() {
            self.pass_over(event);
            return Ok(());
        }
        let mut refusals = Refusals::new();
        // All topics first: a stop that comes while one is waited for finds no half of an event.
        for (place, target) in targets.iter().enumerate() {
            if !self.is_ready(seq, target)
                && let Err(reason) = self.prepare(event, seq, target).await?
            {
                refusals.push((place, reason));
            }
        }
        self.deliver(event, seq, &targets, &mut refusals).await?;
        // Behind what could be delivered, so that a dead letter's topic holds up nothing of the event.
        for (place, reason) in &refusals {
            let target = &targets[*place];
            if self.is_of_listener(target, reason) {
                continue;
            }
            let refused = Refused {
                event,
                seq,
                listener: target.listener.as_deref(),
                reason,
                rules: None,
            };
            self.refuse(refused, target.id).await?;
            if self.hints.of((seq, target.id)) != Known::Nothing {
                // What is refused next must not bring its dead letter a second time.
                self.outlet.acknowledged().await?;
            }
        }
        Ok(())
    }

    /// Whether a target's record can be sent as it is.
    pub(super) fn is_ready(&self, seq: Seq, target: &Target) -> bool {
        let topic = target.topic.as_ref().ok();
        let topic = topic.and_then(|id| self.ready.get(id.index()));
        topic.is_some_and(|topic| topic.partitions().is_some())
            && self.hints.of((seq, target.id)) == Known::Nothing
    }

    /// Sees to the topic of a target, or says why its record cannot be had.
    pub(super) async fn prepare(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        target: &Target,
    ) -> Step<Result<(), Reason>> {
        if let Known::Refused(code) = self.hints.of((seq, target.id)) {
            self.learn(event, seq, target, code);
            return Ok(Err(Reason::Broker(code)));
        }
        let id = match &target.topic {
            Ok(id) => *id,
            Err(error) => return Ok(Err(Reason::Topic(error.to_string()))),
        };
        let policy = match target.listener {
            None => self.on_missing_topic,
            // The stream does not wait for a topic that only a listener wants.
            Some(_) => OnMissingTopic::RecordError,
        };
        let topic = self.topic(id, policy).await?;
        let topic = topic.map_err(|problem| Reason::Topic(problem.to_string()));
        Ok(topic.map(drop))
    }

    /// Encodes the event once, and queues the record of each target that is not refused already. Those that
    /// cannot be sent are added to the refusals.
    async fn deliver(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        targets: &Targets,
        refusals: &mut Refusals,
    ) -> Step {
        if refusals.len() == targets.len() {
            return Ok(());
        }
        let is_refused = |place: usize, refusals: &Refusals| {
            let mut places = refusals.iter().map(|(place, _)| *place);
            places.any(|refused| refused == place)
        };
        let are_for_listeners = targets.iter().map(|target| target.listener.is_some());
        let mut encoded = self.encoders.encode(event, seq, are_for_listeners.clone());
        if encoded.is_unsettled() {
            self.settle(event, targets, refusals).await?;
            encoded = self.encoders.encode(event, seq, are_for_listeners);
        }
        self.board.metrics.replaced(encoded.replaced());
        let mut sending = Sending {
            outlet: &mut self.outlet,
            counts: &mut self.counts,
            topic_counts: &mut self.topic_counts,
            topics: self.topics,
            tombstones: self.tombstones,
        };
        for (place, target) in targets.iter().enumerate() {
            let Ok(id) = target.topic else {
                continue;
            };
            if is_refused(place, refusals) {
                continue;
            }
            let topic = &self.ready[id.index()];
            let encoded = match encoded.one(target.listener.is_some()) {
                Ok(encoded) => encoded,
                Err(error) => {
                    refusals.push((place, Reason::Encoding(error.to_string())));
                    continue;
                }
            };
            // Of its format.
            if !encoded.is_record() {
                self.board.passed.add(1);
                continue;
            }
            let of_listener;
            let encoded = match &target.listener {
                None => encoded,
                Some(listener) => {
                    of_listener = encoded.of_listener(listener, &mut self.own_id);
                    &of_listener
                }
            };
            // With nothing else in flight, so that a refusal names its record.
            let is_suspect = self.hints.of((seq, target.id)) == Known::Suspect;
            if is_suspect {
                sending.outlet.acknowledged().await?;
            }
            let sent = sending.send(event, encoded, topic, target.id).await?;
            if is_suspect {
                sending.outlet.acknowledged().await?;
            }
            match sent {
                Ok(()) => self.router.sent(target.id, event.timestamp_millis()),
                Err(reason) => refusals.push((place, reason)),
            }
        }
        Ok(())
    }

    /// Whether a listener alone is to blame for a record that cannot be had, since it names a topic that cannot.
    /// The listener is invalid as long as that lasts, and the stream does not stop for it: whoever writes listeners
    /// could stop it otherwise. Any other refusal is a record error as those of other records are.
    fn is_of_listener(&self, target: &Target, reason: &Reason) -> bool {
        let Some(listener) = &target.listener else {
            return false;
        };
        let is_of_listener =
            matches!(reason, Reason::Topic(_)) && self.on_record_error == OnRecordError::Stop;
        let said = reason.sentence();
        if self.router.refused(target.id, &said) {
            let follows = match (is_of_listener, self.on_record_error) {
                (true, _) => {
                    "the listener has no records as long as that lasts, and the stream continues"
                }
                (false, OnRecordError::Stop) => {
                    "ON_RECORD_ERROR=stop ends the stream for it, as for any record"
                }
                (false, OnRecordError::DeadLetter) => "ON_RECORD_ERROR=dlq makes it a dead letter",
                (false, OnRecordError::Skip) => "ON_RECORD_ERROR=skip leaves it out",
            };
            tracing::warn!(
                event_id = event_id::LISTENER_REFUSED,
                listener = listener.id,
                job = listener.job,
                reason = said,
                "a listener's record cannot be delivered: {follows}"
            );
        }
        is_of_listener
    }
}

/// What a record needs beside the encoder, from which it is borrowed.
pub(super) struct Sending<'w, 'a, P: Produce> {
    pub(super) outlet: &'w mut Outlet<'a, P>,
    pub(super) counts: &'w mut EventCounts,
    pub(super) topic_counts: &'w mut TopicCounts,
    pub(super) topics: &'a Topics,
    pub(super) tombstones: bool,
}

impl<P: Produce> Sending<'_, '_, P> {
    /// Queues the record, and the tombstone where there is one.
    pub(super) async fn send(
        &mut self,
        event: &Event<'_>,
        encoded: &Encoded<'_>,
        topic: &Topic,
        target: TargetId,
    ) -> Step<Result<(), Reason>> {
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
        // A row of a snapshot is not late, however old its document: it says nothing of how far the stream is behind.
        let is_change = event.operation != Operation::Read;
        let time = event.timestamp_millis().filter(|_| is_change);
        let sent = send(self.outlet, topic, &record, target, time).await?;
        self.count(topic, record.payload_bytes());
        if sent.is_err() || !self.tombstones || event.operation != Operation::Delete {
            return Ok(sent);
        }
        let headers = encoded.tombstone_headers();
        let tombstone = Record {
            value: None,
            headers: headers.as_slice(),
            ..record
        };
        self.count(topic, tombstone.payload_bytes());
        send(self.outlet, topic, &tombstone, target, time).await
    }

    #[inline]
    fn count(&mut self, topic: &Topic, bytes: usize) {
        self.counts.record(bytes);
        self.topic_counts
            .record(topic.id().index(), || topic.name(), bytes);
    }
}

pub(super) async fn send(
    outlet: &mut Outlet<'_, impl Produce>,
    topic: &Topic,
    record: &Record<'_>,
    target: TargetId,
    change_millis: Option<i64>,
) -> Step<Result<(), Reason>> {
    match outlet.send(topic, record, target, change_millis).await {
        Ok(()) => Ok(Ok(())),
        Err(Blocked::Refused(code)) => Ok(Err(Reason::Broker(code))),
        Err(blocked) => Err(End::from(blocked)),
    }
}
