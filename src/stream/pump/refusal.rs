//! Events that get no record: their topics, what their refusal teaches, and what becomes of them.

use super::{End, Pump, Step, send};
use crate::change::event::Event;
use crate::change::position::Seq;
use crate::config::{OnMissingTopic, OnRecordError};
use crate::error::Error;
use crate::flow::batch::ClosedBy;
use crate::log::event_id;
use crate::route::{Route, Topic, TopicId};
use crate::sink::dead_letter::{Reason, Refused};
use crate::sink::parts::DeadLetter;
use crate::sink::topics::TopicProblem;
use crate::status::waiting::Awaited;
use crate::stream::produce::Produce;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::sync::Arc;

impl<P: Produce> Pump<'_, P> {
    /// Learns from the refusal of an event's record what its topic takes, where that may not be read: what is
    /// as large, or as far from now, is not even sent.
    pub(super) fn learn(&mut self, event: &Event<'_>, seq: Seq, code: RDKafkaErrorCode) {
        let Ok(Route::Topic(id)) = self.router.route(event) else {
            return;
        };
        let Ok(encoded) = self.encoder.encode(event, seq) else {
            return;
        };
        let topic = self.router.table().get(id);
        let headers = encoded.headers();
        let record = encoded.record(topic.c_name(), &headers);
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge if !self.topics.may_compress() => {
                topic.refused_size(record.wire_size());
            }
            RDKafkaErrorCode::InvalidTimestamp if record.timestamp_millis > 0 => {
                let now = jiff::Timestamp::now().as_millisecond();
                topic.refused_time(record.timestamp_millis, now);
            }
            _ => {}
        }
    }

    /// The topic, once it is known to exist. A missing or forbidden one is waited for, unless `policy` makes
    /// it the event's fault; one that can never be made is.
    pub(super) async fn topic(
        &mut self,
        id: TopicId,
        policy: OnMissingTopic,
    ) -> Step<Result<Arc<Topic>, TopicProblem>> {
        if let Some(topic) = self.ready.get(id.index())
            && topic.partitions().is_some()
        {
            return Ok(Ok(Arc::clone(topic)));
        }
        let topic = self.router.table().get(id);
        // Before what is open is closed: such records may come by the thousand.
        if topic.partitions().is_none()
            && let Some(problem) = self.topics.refusal(topic.name())
        {
            return Ok(Err(problem));
        }
        self.outlet.seal(ClosedBy::Wait);
        if topic.partitions().is_none() {
            // That may take longer than Kafka keeps a transaction open.
            self.outlet.commit().await?;
            self.make_together().await?;
        }
        if topic.partitions().is_none() {
            let what = Awaited::Topic(topic.name().into());
            let waiting = self.topics.wait_for(&topic, policy, &self.board.waits);
            if let Err(problem) = self.outlet.unless_ended(what, waiting).await? {
                return Ok(Err(problem));
            }
        }
        self.ready = self.router.table().all();
        Ok(Ok(topic))
    }

    /// Makes the topics together that events of the reply in hand lack: one after the other, each would hold
    /// up the records behind it.
    async fn make_together(&mut self) -> Step {
        let Some(reply) = self.in_hand.take() else {
            return Ok(());
        };
        let mut lacking = BTreeMap::new();
        // What is malformed shows in its turn.
        for raw in reply.events().into_iter().flatten().map_while(Result::ok) {
            if let Ok(event) = Event::parse(raw)
                && event.split.is_none()
                && !event.is_unknown()
                && !self.filter.leaves_out(&event)
                && let Ok(Route::Topic(id)) = self.router.route(&event)
                && !lacking.contains_key(&id)
            {
                lacking.insert(id, self.router.table().get(id));
            }
        }
        lacking.retain(|_, topic| topic.partitions().is_none());
        let lacking: Vec<_> = lacking.into_values().collect();
        if let [first, _, ..] = lacking.as_slice() {
            let what = Awaited::Topic(first.name().into());
            let making = self.topics.make_ahead(&lacking);
            self.outlet.unless_ended(what, making).await?;
        }
        Ok(())
    }

    /// Treats an event that can have no record by `ON_RECORD_ERROR`.
    pub(super) async fn refuse(&mut self, event: &Event<'_>, seq: Seq, reason: Reason) -> Step {
        let refused = Refused {
            event,
            seq,
            reason: &reason,
        };
        match self.on_record_error {
            OnRecordError::Stop => return Err(End::Failed(refused.error())),
            OnRecordError::Skip => {
                refused.log(event_id::RECORD_SKIPPED, "record skipped");
                self.board.skipped.add(1);
                self.board.metrics.skipped(reason.name());
            }
            OnRecordError::DeadLetter => {
                let Ok(Some(id)) = self.router.dead_letter(event) else {
                    return Err(End::Failed(refused.error()));
                };
                // Nothing is left to be done about a dead letter without a topic but to wait for it.
                let topic = match self.topic(id, OnMissingTopic::Wait).await? {
                    Ok(topic) => topic,
                    Err(problem) => return Err(End::Failed(undeliverable(&refused, &problem))),
                };
                let time = event.timestamp_millis();
                let limit = topic.max_message_bytes();
                let times = self.hints.oversize.get(&seq).copied().unwrap_or(0);
                let dead_letter = DeadLetter::after_refusals(&refused, topic.name(), limit, times);
                let dead_letter = dead_letter.map_err(End::Failed)?;
                for part in dead_letter.parts() {
                    let headers = part.headers();
                    let record = part.record(topic.c_name(), &headers);
                    if send(&mut self.outlet, &record, time).await?.is_err() {
                        return Err(End::Failed(refused.error()));
                    }
                    if times > 0 {
                        // Alone: a batch of parts is held against the limit as one part is.
                        self.outlet.acknowledged().await?;
                    }
                }
                if times > 0 {
                    // What was taken is what the next ones keep to.
                    topic.refused_size(dead_letter.largest() + 1);
                }
                refused.log(event_id::RECORD_DEAD_LETTERED, "record dead-lettered");
                self.board.dead_lettered.add(1);
                self.board.metrics.dead_lettered(reason.name());
            }
        }
        Ok(())
    }
}

fn undeliverable(refused: &Refused<'_>, problem: &TopicProblem) -> Error {
    let error = refused.error();
    let detail = format!(
        "{}; its dead letter cannot be written either, by KAFKA_DLQ_TOPIC: {problem}",
        error.detail
    );
    Error::new(error.code, detail)
}
