//! The targets of an event where listeners are in force: theirs, and the configuration's own topics beside them.

use super::compiled::{Admission, Compiled};
use super::differing;
use super::set::Set;
use crate::change::event::{Event, Operation};
use crate::change::extra::Extra;
use crate::change::raw;
use crate::config::Listeners;
use crate::error::Error;
use crate::route::{
    Changed, Interest, Route, RouteError, Router, Target, TargetId, Targets, TopicId, TopicTable,
};
use crate::status::listener_changes::MOST;
use crate::status::listeners::Statuses;
use bson::{Bson, Document};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The numbers of listeners, which stay the same as long as the process runs: what is known of single records
/// outlives a producer.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<HashMap<String, u32>>);

impl Numbers {
    /// The target of a listener; none when there were too many.
    pub(super) fn target(&self, name: &str) -> Option<TargetId> {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(numbers.len()).ok()?;
        TargetId::of_listener(*numbers.entry(name.to_owned()).or_insert(next))
    }
}

/// Gives each event its targets. Without `LISTENERS_COLLECTION` it is the [`Router`] of the configuration.
#[derive(Debug, Clone)]
pub struct ListenerRouter {
    router: Router,
    listening: Option<Listening>,
}

#[derive(Debug, Clone)]
struct Listening {
    settings: Arc<Listeners>,
    /// Of which position they are in force, where that is known.
    at: Option<Extra>,
    set: Set,
    statuses: Arc<Statuses>,
    compiled: Compiled,
}

impl Listening {
    /// Whether a rename brings another collection into the place of the listeners'.
    fn is_replaced_by(&self, event: &Event<'_>) -> bool {
        let to = |name| raw::find(event.rename_to?, name).ok()??.as_str();
        match (to("db"), to("coll")) {
            (Some(database), Some(collection)) => self.settings.are_in(database, collection),
            _ => false,
        }
    }

    /// Takes note of a change, for whoever wonders later what changed when.
    fn note(&self, before: Option<&Document>, after: Option<&Document>, event: &Event<'_>) {
        let at = event.timestamp_millis().unwrap_or_default();
        if let Some(change) = differing::change(before, after, at) {
            self.statuses.changes.add(change);
        }
    }
}

impl ListenerRouter {
    /// Without listeners.
    pub fn without(router: Router) -> Self {
        Self {
            router,
            listening: None,
        }
    }

    /// With the listeners that `settings` tell of, none of which is in force before [`at`](Self::at). What a
    /// listener may have of the stream is for `admission` to say.
    pub fn with(
        router: Router,
        settings: Listeners,
        admission: Admission,
        statuses: Arc<Statuses>,
    ) -> Self {
        let settings = Arc::new(settings);
        let at = settings.at.to_string();
        Self {
            listening: Some(Listening {
                at: None,
                set: Set::found(&at, &[]),
                compiled: Compiled::new(Arc::clone(&settings), Arc::clone(&statuses), admission),
                statuses,
                settings,
            }),
            router,
        }
    }

    /// The topics, for the sink.
    pub fn table(&self) -> &Arc<TopicTable> {
        self.router.table()
    }

    /// The router of the configuration's own topics.
    pub fn configured(&mut self) -> &mut Router {
        &mut self.router
    }

    /// Whether a topic is known only for listeners: the stream does not wait for such a one.
    pub fn is_of_listeners(&self, topic: &str) -> bool {
        self.listening.is_some() && !self.router.may_use(topic)
    }

    /// The target of a listener of this name, whatever its filter says of the event; none where there is none that
    /// is active.
    pub fn target_of(&mut self, name: &str, event: &Event<'_>) -> Option<Target> {
        let listening = self.listening.as_mut()?;
        listening.compiled.target_of(name, &self.router, event)
    }

    #[inline]
    fn targets(&mut self, event: &Event<'_>, by_configuration: bool, is_counting: bool) -> Targets {
        let Some(listening) = &mut self.listening else {
            return self.router.route(event, by_configuration);
        };
        let is_row = event.operation == Operation::Read;
        let by_configuration = by_configuration && (listening.settings.beside_topics || is_row);
        let mut targets = self.router.route(event, by_configuration);
        let compiled = &mut listening.compiled;
        compiled.route(&self.router, event, is_counting, &mut targets);
        targets
    }

    /// The same with the listeners that are in force at a position.
    ///
    /// # Errors
    /// [`CheckpointFailed`](crate::error::Code::CheckpointFailed) where they cannot be read.
    pub fn at(&self, extra: &Extra) -> Result<Self, Error> {
        let known = self
            .listening
            .as_ref()
            .and_then(|listening| listening.at.as_ref());
        if self.listening.is_none() || known.is_some_and(|known| known.is(extra)) {
            return Ok(self.clone());
        }
        let Some(set) = Set::of(extra)? else {
            return Ok(self.clone());
        };
        let mut router = self.with_set(set);
        if let Some(listening) = &mut router.listening {
            listening.at = Some(extra.clone());
        }
        Ok(router)
    }

    /// Whether the listeners of a position are in force.
    pub fn knows_listeners(&self) -> bool {
        self.listening
            .as_ref()
            .is_some_and(|listening| listening.at.is_some())
    }

    /// The same with these listeners in force.
    #[must_use]
    pub fn with_set(&self, set: Set) -> Self {
        let mut router = self.clone();
        if let Some(listening) = &mut router.listening {
            listening.compiled.read_all(&set, &router.router);
            listening.compiled.arrange();
            listening.at = None;
            listening.set = set;
        }
        router
    }
}

impl Route for ListenerRouter {
    fn table(&self) -> &Arc<TopicTable> {
        self.router.table()
    }

    #[inline]
    fn wants(&self, event: &Event<'_>) -> bool {
        let listening = self.listening.as_ref();
        listening.is_some_and(|listening| listening.compiled.wants(event))
    }

    #[inline]
    fn route(&mut self, event: &Event<'_>, by_configuration: bool) -> Targets {
        self.targets(event, by_configuration, true)
    }

    fn look(&mut self, event: &Event<'_>, by_configuration: bool) -> Targets {
        self.targets(event, by_configuration, false)
    }

    fn has_rows(&self) -> bool {
        self.router.has_rows()
    }

    fn dead_letter(&mut self, event: &Event<'_>) -> Result<Option<TopicId>, RouteError> {
        self.router.dead_letter(event)
    }

    fn bounds(&self) -> Option<TopicId> {
        self.router.bounds()
    }

    fn changes_with(&self, event: &Event<'_>) -> bool {
        let Some(listening) = &self.listening else {
            return false;
        };
        let at = &listening.settings.at;
        match event.operation {
            Operation::DropDatabase => event.database == at.database,
            Operation::Rename if listening.is_replaced_by(event) => true,
            _ => listening.settings.are_in(event.database, event.collection),
        }
    }

    fn change(&mut self, event: &Event<'_>) -> Changed {
        let Some(listening) = &mut self.listening else {
            return Changed::Nothing;
        };
        listening.at = None;
        match event.operation {
            Operation::Rename if listening.is_replaced_by(event) => Changed::Unknown,
            Operation::Drop | Operation::DropDatabase | Operation::Rename => {
                for (_, document) in listening.set.documents().take(MOST) {
                    listening.note(Some(document), None, event);
                }
                listening.set.clear();
                listening.compiled.read_all(&listening.set, &self.router);
                Changed::To(Interest::Only(BTreeMap::new()))
            }
            _ => {
                let Some((id, before)) = listening.set.apply(event) else {
                    return Changed::Nothing;
                };
                let after = listening.set.document(&id);
                listening.note(before.as_ref(), after, event);
                listening
                    .compiled
                    .read_one(&id, &listening.set, &self.router);
                Changed::To(listening.compiled.interest_of(&id))
            }
        }
    }

    fn put_in_force(&mut self) -> Bson {
        let Some(listening) = &mut self.listening else {
            return Bson::Null;
        };
        listening.compiled.arrange();
        listening.set.to_bson()
    }

    fn interest(&self) -> Interest {
        match &self.listening {
            None => Interest::Everything,
            Some(listening) => listening.compiled.interest(),
        }
    }

    fn sent(&self, target: TargetId, time_millis: Option<i64>) {
        if let Some(listening) = &self.listening {
            listening.compiled.sent(target, time_millis);
        }
    }

    fn refused(&self, target: TargetId, reason: &str) -> bool {
        let listening = self.listening.as_ref();
        listening.is_some_and(|listening| listening.compiled.refused(target, reason))
    }
}

#[cfg(test)]
mod tests;
