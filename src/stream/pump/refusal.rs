//! Records that cannot be had: what their refusal teaches, and what becomes of their events.

use super::records::send;
use super::{End, Pump, Step};
use crate::change::event::{Event, Operation};
use crate::change::position::Seq;
use crate::config::{OnMissingTopic, OnRecordError};
use crate::error::{Code, Error};
use crate::fields::Unfit;
use crate::log::event_id;
use crate::route::{Route, Target, TargetId};
use crate::sink::dead_letter::{Reason, Refused};
use crate::sink::parts::DeadLetter;
use crate::sink::topics::TopicProblem;
use crate::snapshot::row;
use crate::stream::hints::Known;
use crate::stream::produce::Produce;
use rdkafka::error::RDKafkaErrorCode;

impl<P: Produce, R: Route> Pump<'_, P, R> {
    /// Learns from the refusal of a record what its topic takes, where that may not be read: what is as large, or
    /// as far from now, is not even sent.
    pub(super) fn learn(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        target: &Target,
        code: RDKafkaErrorCode,
    ) {
        let Ok(id) = target.topic else {
            return;
        };
        let encoder = self.encoders.one(target.listener.is_some());
        let Ok(encoded) = encoder.encode(event, seq) else {
            return;
        };
        let encoded = match &target.listener {
            Some(listener) => encoded.of_listener(listener, &mut self.own_id),
            None => encoded,
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

    /// Treats an event whose fields cannot be what the configuration wants.
    #[cold]
    pub(super) async fn unfit(&mut self, event: &Event<'_>, seq: Seq, why: Unfit) -> Step {
        // No policy hides what the token holds.
        if matches!(why, Unfit::InKey { .. }) {
            return Err(End::Failed(Error::new(Code::Config, why.to_string())));
        }
        let mut room = Vec::new();
        let event = self.without_documents(event, &mut room);
        let reason = Reason::Fields(why.to_string());
        self.refuse_whole(&event, seq, &reason).await
    }

    /// The event as it may leave the process. Filters decide on it as it came.
    #[inline]
    pub(super) fn shown<'e>(
        &mut self,
        event: &Event<'e>,
        room: &'e mut Vec<u8>,
    ) -> Result<Event<'e>, Unfit> {
        match self.fields() {
            None => Ok(*event),
            Some(fields) => fields.apply(event, room),
        }
    }

    /// What may be told of an event of whose fields nothing is known.
    pub(super) fn without_documents<'e>(
        &mut self,
        event: &Event<'e>,
        room: &'e mut Vec<u8>,
    ) -> Event<'e> {
        match self.fields() {
            None => *event,
            Some(fields) => fields.without_documents(event, room),
        }
    }

    /// Treats an event that can have no record for anybody. Refused by the broker it can only have been as a dead
    /// letter.
    pub(super) async fn refuse_whole(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        reason: &Reason,
    ) -> Step {
        let refused = Refused {
            event,
            seq,
            listener: None,
            reason,
            rules: None,
        };
        let known = self.hints.of((seq, TargetId::STATIC));
        if known == Known::Suspect {
            self.outlet.acknowledged().await?;
        }
        self.refuse(refused, TargetId::STATIC).await?;
        if known != Known::Nothing {
            self.outlet.acknowledged().await?;
        }
        Ok(())
    }

    /// Treats a record that cannot be had by `ON_RECORD_ERROR`; the others of its event have nothing to do with it.
    pub(super) async fn refuse(&mut self, refused: Refused<'_>, target: TargetId) -> Step {
        let Refused {
            event, seq, reason, ..
        } = refused;
        match self.on_record_error {
            OnRecordError::Stop => return Err(End::Failed(refused.error())),
            OnRecordError::Skip => {
                refused.log(event_id::RECORD_SKIPPED, "record skipped");
                self.board.skipped.add(1);
                self.board.metrics.skipped(reason.name());
            }
            OnRecordError::DeadLetter => {
                // A row is no event of the server's yet.
                let whole = (event.operation == Operation::Read).then(|| row::whole(event));
                let whole = whole.as_deref().and_then(|raw| Event::parse(raw).ok());
                let event = whole.as_ref().unwrap_or(event);
                let fields = self.fields();
                let rules = fields.and_then(|it| it.fingerprint(event.database, event.collection));
                let refused = Refused {
                    event,
                    rules: rules.as_deref(),
                    ..refused
                };
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
                let times = self
                    .hints
                    .oversize
                    .get(&(seq, target))
                    .copied()
                    .unwrap_or(0);
                let dead_letter = DeadLetter::after_refusals(&refused, topic.name(), limit, times);
                let dead_letter = dead_letter.map_err(End::Failed)?;
                for part in dead_letter.parts() {
                    let headers = part.headers();
                    let record = part.record(topic.c_name(), &headers);
                    if send(&mut self.outlet, &topic, &record, target, time)
                        .await?
                        .is_err()
                    {
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
