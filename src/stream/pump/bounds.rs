//! Records that say where transactions of MongoDB begin and end, before those of the event that shows it.

use super::records::Sending;
use super::{End, Pump, Step};
use crate::change::event::Event;
use crate::change::position::Seq;
use crate::change::transactions::Bounds;
use crate::encode::format::Bound;
use crate::encode::json::EncodeError;
use crate::route::{Route, TargetId, Targets, Topic};
use crate::sink::dead_letter::{Reason, Refused};
use crate::stream::hints::Known;
use crate::stream::produce::Produce;
use std::sync::Arc;

impl<P: Produce, R: Route> Pump<'_, P, R> {
    /// Says what ends and what begins with an event, which has these targets.
    pub(super) async fn bound(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        targets: &Targets,
        bounds: &Bounds,
    ) -> Step {
        let Some(id) = self.router.bounds() else {
            return Ok(());
        };
        // All topics first, those of the event, too: a stop that comes while one is waited for finds no half of it.
        for target in targets {
            if !self.is_ready(seq, target) {
                // What is wrong is said with the record.
                let _ = self.prepare(event, seq, target).await?;
            }
        }
        let known = self.hints.of((seq, TargetId::BOUNDS));
        let refusal = match known {
            Known::Refused(code) => Some(Reason::Broker(code)),
            Known::Nothing | Known::Suspect => match self.topic(id, self.on_missing_topic).await? {
                Err(problem) => Some(Reason::Topic(problem.to_string())),
                Ok(topic) => {
                    let is_suspect = known == Known::Suspect;
                    self.send_bounds(event, &topic, bounds, is_suspect).await?
                }
            },
        };
        let Some(reason) = refusal else {
            return Ok(());
        };
        // The event stands for what could not be said with it.
        let refused = Refused {
            event,
            seq,
            listener: None,
            reason: &reason,
            rules: None,
        };
        self.refuse(refused, TargetId::BOUNDS).await?;
        if known != Known::Nothing {
            self.outlet.acknowledged().await?;
        }
        Ok(())
    }

    /// The same with an event of whose fields nothing is known, and which has no record.
    #[cold]
    pub(super) async fn bound_bare(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        bounds: &Bounds,
    ) -> Step {
        let mut room = Vec::new();
        let bare = self.without_documents(event, &mut room);
        self.bound(&bare, seq, &Targets::new(), bounds).await
    }

    /// Sends the end and the beginning; or why one of them cannot be had.
    async fn send_bounds(
        &mut self,
        event: &Event<'_>,
        topic: &Arc<Topic>,
        bounds: &Bounds,
        is_suspect: bool,
    ) -> Step<Option<Reason>> {
        let time = event.timestamp_millis();
        let ended = bounds.ended.iter().map(|span| (span, true));
        let begun = bounds.begun.iter().map(|span| (span, false));
        for (span, is_end) in ended.chain(begun) {
            let bound = Bound {
                span,
                is_end,
                millis: time.unwrap_or_default(),
            };
            let mut encoded = self.encoders.bound(&bound, time);
            if matches!(encoded, Err(EncodeError::Unsettled)) {
                if let Err(why) = self.settled_bounds(topic.name()).await? {
                    return Ok(Some(Reason::Schema(why)));
                }
                encoded = self.encoders.bound(&bound, time);
            }
            if is_suspect {
                self.outlet.acknowledged().await?;
            }
            let encoded = match encoded {
                Ok(encoded) => encoded,
                Err(error) => return Ok(Some(Reason::Encoding(error.to_string()))),
            };
            let mut sending = Sending {
                outlet: &mut self.outlet,
                counts: &mut self.counts,
                topic_counts: &mut self.topic_counts,
                topics: self.topics,
                tombstones: false,
            };
            let sent = sending
                .send(event, &encoded, topic, TargetId::BOUNDS)
                .await?;
            if is_suspect {
                self.outlet.acknowledged().await.map_err(End::from)?;
            }
            if let Err(reason) = sent {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }
}
