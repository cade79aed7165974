//! The topics of records: made when they are missing, waited for, or refused.

use super::{Pump, Step};
use crate::change::event::Event;
use crate::config::OnMissingTopic;
use crate::flow::batch::ClosedBy;
use crate::route::{Route, Topic, TopicId};
use crate::sink::topics::TopicProblem;
use crate::status::waiting::Awaited;
use crate::stream::produce::Produce;
use std::collections::BTreeMap;
use std::sync::Arc;

impl<P: Produce, R: Route> Pump<'_, P, R> {
    /// The topic, once it is known to exist. A missing or forbidden one is waited for, unless `policy` makes
    /// it the record's fault; one that can never be made is.
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
        // A dead letter waits for its topic, but not for one that the configuration has records refused for.
        let policies = [policy, self.on_missing_topic];
        // Before what is open is closed: such records may come by the thousand.
        if topic.partitions().is_none()
            && let Some(problem) = self.topics.refusal(topic.name())
            && (problem.is_for_good() || policies.contains(&OnMissingTopic::RecordError))
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
                && let Some(by_configuration) = self.wanted(&event)
            {
                for id in self
                    .router
                    .look(&event, by_configuration)
                    .iter()
                    .flat_map(|target| &target.topic)
                {
                    let table = self.router.table();
                    lacking.entry(*id).or_insert_with(|| table.get(*id));
                }
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
}
