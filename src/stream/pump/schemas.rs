//! Schemas of values: registered when they are missing or too narrow, and waited for.

use super::records::Refusals;
use super::{Pump, Step};
use crate::change::event::Event;
use crate::encode::serialization::{NoValidators, Unsettled, Validators};
use crate::flow::batch::ClosedBy;
use crate::log::event_id;
use crate::retry::Retry;
use crate::route::{Route, Targets};
use crate::sink::dead_letter::Reason;
use crate::status::waiting::Awaited;
use crate::stream::produce::Produce;
use std::sync::Arc;
use std::time::Duration;

/// The pauses before a registry is asked again: from a second to half a minute, for as long as it takes.
const RETRY: Retry = Retry {
    first: Duration::from_secs(1),
    most: 0,
};

impl<P: Produce, R: Route> Pump<'_, P, R> {
    /// The same with what says which validators collections have.
    #[must_use]
    pub fn with_validators(mut self, validators: Arc<dyn Validators + Send>) -> Self {
        self.validators = validators;
        self
    }

    /// Sees to a schema for the event's record in a topic of the configuration. Where there can be none, the record is
    /// refused.
    #[cold]
    pub(super) async fn settle(
        &mut self,
        event: &Event<'_>,
        targets: &Targets,
        refusals: &mut Refusals,
    ) -> Step {
        for (place, target) in targets.iter().enumerate() {
            let Ok(id) = target.topic else {
                continue;
            };
            if target.listener.is_some() || refusals.iter().any(|(refused, _)| *refused == place) {
                continue;
            }
            let topic = self.router.table().get(id);
            if let Err(why) = self.settled(event, topic.name(), false).await? {
                refusals.push((place, Reason::Schema(why)));
            }
        }
        Ok(())
    }

    /// Sees to the schemas of what says where transactions begin and end.
    #[cold]
    pub(super) async fn settled_bounds(&mut self, topic: &str) -> Step<Result<(), String>> {
        self.settled(&Event::about("transaction", "", ""), topic, true)
            .await
    }

    async fn settled(
        &mut self,
        event: &Event<'_>,
        topic: &str,
        are_of_bounds: bool,
    ) -> Step<Result<(), String>> {
        self.outlet.seal(ClosedBy::Wait);
        // It may take longer than Kafka keeps a transaction open.
        self.outlet.commit().await?;
        let schemas = match are_of_bounds {
            true => self.encoders.bound_schemas(),
            false => self.encoders.schemas(),
        };
        let Some(mut schemas) = schemas else {
            return Ok(Ok(()));
        };
        let preparing = &self.preparing;
        let (board, mut validators) = (&self.board, &*self.validators as &dyn Validators);
        // A validator says what MongoDB has, and not what is left of it.
        let fields = preparing.as_ref().and_then(|it| it.fields.as_ref());
        if fields.is_some_and(|it| it.rules(event.database, event.collection).is_some()) {
            validators = &NoValidators;
        }
        let settling = async {
            let waiting = board.waits.begin(Awaited::Registry);
            let (mut pauses, mut said) = (RETRY.delays(), String::new());
            loop {
                let why = match schemas.settle(event, topic, validators).await {
                    Ok(()) => return Ok(()),
                    Err(Unsettled::Record(why)) => return Err(why),
                    Err(Unsettled::Away(why)) => why,
                };
                if why != said {
                    tracing::warn!(
                        event_id = event_id::SERVER_AWAITED,
                        server = "schema registry",
                        "a schema is needed, waiting: {why}"
                    );
                    waiting.because(why.clone());
                    said = why;
                }
                tokio::time::sleep(pauses.next().unwrap_or(RETRY.first)).await;
            }
        };
        Ok(self
            .outlet
            .unless_ended(Awaited::Registry, settling)
            .await?)
    }
}
