//! A set of listeners, ready to be asked about events.

mod read;

use super::decide::{Decided, decide, image, matches};
use super::definition::Definition;
use super::index::Index;
use super::router::Numbers;
use super::set::Id;
use super::settings::{Effective, Settings};
use crate::change::event::Event;
use crate::change::operations::Operations;
use crate::config::Listeners;
use crate::route::{Interest, ListenerTag, RouteError, Router, Target, TargetId, Targets, TopicId};
use crate::status::listeners::{Status, Statuses};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Says whether a listener may have what it asks for of this stream, and why not.
#[derive(Clone)]
pub struct Admission(pub Arc<Admit>);

/// The question that an [`Admission`] answers.
pub type Admit = dyn Fn(&Definition) -> Result<(), String> + Send + Sync;

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission")
    }
}

type Map<K, V> = HashMap<K, V, RandomState>;

/// How many destinations are remembered before it is begun afresh.
const REMEMBERED: usize = 16_384;

/// All listeners that are right, by their places, with an index.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    configured: Arc<Listeners>,
    statuses: Arc<Statuses>,
    admission: Admission,
    numbers: Arc<Numbers>,
    /// What each document is.
    read: BTreeMap<Id, Read>,
    /// Those that are active.
    active: Vec<Arc<Listener>>,
    by_target: Map<TargetId, Arc<Status>>,
    index: Arc<Index>,
    /// The settings of databases by name, each over the defaults; and the defaults.
    databases: Map<String, Effective>,
    defaults: Effective,
    /// Where the records of an event go, by listener and namespace, unless that is always the same.
    destinations: Map<String, Destination>,
    /// Reused, so that looking up a known destination allocates nothing.
    looked_up: String,
}

#[derive(Debug, Clone)]
enum Read {
    Listener(Arc<Listener>),
    /// One that gets nothing: disabled, or wrong.
    Idle {
        name: String,
    },
    Settings {
        name: String,
        settings: Settings,
    },
    WrongSettings {
        name: String,
        reason: String,
    },
}

impl Read {
    /// The name of the listener that it is.
    fn listener(&self) -> Option<&str> {
        match self {
            Self::Listener(listener) => Some(&listener.tag.id),
            Self::Idle { name } => Some(name),
            Self::Settings { .. } | Self::WrongSettings { .. } => None,
        }
    }
}

/// A listener that gets records.
#[derive(Debug)]
struct Listener {
    definition: Definition,
    status: Arc<Status>,
    target: TargetId,
    tag: Arc<ListenerTag>,
    /// The topic of a template without placeholders.
    fixed: Option<Result<TopicId, Box<RouteError>>>,
}

#[derive(Debug, Clone)]
struct Destination {
    topic: Result<TopicId, Box<RouteError>>,
    tag: Arc<ListenerTag>,
}

impl Compiled {
    pub(super) fn new(
        configured: Arc<Listeners>,
        statuses: Arc<Statuses>,
        admission: Admission,
    ) -> Self {
        Self {
            configured,
            statuses,
            admission,
            numbers: Arc::default(),
            read: BTreeMap::new(),
            active: Vec::new(),
            by_target: Map::default(),
            index: Arc::default(),
            databases: Map::default(),
            defaults: Effective::default(),
            destinations: Map::default(),
            looked_up: String::new(),
        }
    }

    fn in_database(&self, database: &str) -> &Effective {
        match self.databases.is_empty() {
            true => &self.defaults,
            false => self.databases.get(database).unwrap_or(&self.defaults),
        }
    }

    /// Whether some listener wants the event's namespace and operation.
    #[inline]
    pub(super) fn wants(&self, event: &Event<'_>) -> bool {
        if self.active.is_empty() {
            return false;
        }
        let settings = self.in_database(event.database);
        settings.is_enabled && self.index.wants(event, settings.operations)
    }

    /// What listeners that name no operations get, of whichever database.
    fn by_settings(&self) -> Operations {
        let all = self.databases.values().chain([&self.defaults]);
        all.fold(Operations::default(), |all, settings| {
            all.and(settings.operations)
        })
    }

    /// What the listener of this document wants, whatever the database; settings may change what all want.
    pub(super) fn interest_of(&self, id: &Id) -> Interest {
        let mut collections = BTreeMap::new();
        match self.read.get(id) {
            Some(Read::Listener(listener)) => {
                let definition = &listener.definition;
                let operations = definition.operations.unwrap_or_else(|| self.by_settings());
                collections.insert(definition.collection.clone(), operations);
            }
            Some(Read::Settings { .. } | Read::WrongSettings { .. }) => {
                return Interest::Everything;
            }
            Some(Read::Idle { .. }) | None => {}
        }
        Interest::Only(collections)
    }

    /// What the active listeners want, whatever the database.
    pub(super) fn interest(&self) -> Interest {
        let by_settings = self.by_settings();
        let mut collections = BTreeMap::<String, Operations>::new();
        for listener in &self.active {
            let definition = &listener.definition;
            let wanted = collections.entry(definition.collection.clone());
            let wanted = wanted.or_default();
            *wanted = wanted.and(definition.operations.unwrap_or(by_settings));
        }
        Interest::of(collections)
    }

    /// Adds the targets of those that want the event. What is undecided counts, but not where an event is only looked
    /// at ahead.
    pub(super) fn route(
        &mut self,
        router: &Router,
        event: &Event<'_>,
        is_counting: bool,
        targets: &mut Targets,
    ) {
        if !self.wants(event) {
            return;
        }
        let settings = self.in_database(event.database);
        let by_settings = settings.operations;
        let is_plain = !settings.changes_records();
        let document = image(event);
        for place in self.index.candidates(event, document) {
            let Some(listener) = self.active.get(place as usize) else {
                continue;
            };
            let definition = &listener.definition;
            let operations = definition.operations.unwrap_or(by_settings);
            let is_of_database = definition
                .database
                .as_deref()
                .is_none_or(|name| name == event.database);
            if !is_of_database || !operations.hold(event) {
                continue;
            }
            match listener.decide(event, document) {
                Decided::Not => continue,
                Decided::Unknown => {
                    if is_counting {
                        listener.status.undecided();
                    }
                    continue;
                }
                Decided::Matches => {}
            }
            targets.push(match &listener.fixed {
                Some(topic) if is_plain => Target {
                    id: listener.target,
                    topic: topic.clone(),
                    listener: Some(Arc::clone(&listener.tag)),
                },
                _ => self.target(place, router, event),
            });
        }
    }

    /// The target of the listener of this name.
    pub(super) fn target_of(
        &mut self,
        name: &str,
        router: &Router,
        event: &Event<'_>,
    ) -> Option<Target> {
        let named = |listener: &Arc<Listener>| listener.tag.id == name;
        let place = u32::try_from(self.active.iter().position(named)?).ok()?;
        Some(self.target(place, router, event))
    }

    /// The target of a listener where topic or priority depend on the event.
    fn target(&mut self, place: u32, router: &Router, event: &Event<'_>) -> Target {
        let listener = Arc::clone(&self.active[place as usize]);
        let to = self.destination(&listener, place, router, event);
        Target {
            id: listener.target,
            topic: to.topic,
            listener: Some(to.tag),
        }
    }

    fn destination(
        &mut self,
        listener: &Listener,
        place: u32,
        router: &Router,
        event: &Event<'_>,
    ) -> Destination {
        let mut key = std::mem::take(&mut self.looked_up);
        key.clear();
        // Names hold no zero character.
        for part in [event.database, event.counted_for(), event.operation_name] {
            key.push_str(part);
            key.push('\0');
        }
        let _ = fmt::Write::write_fmt(&mut key, format_args!("{place}"));
        let known = self.destinations.get(key.as_str()).cloned();
        let destination = known.unwrap_or_else(|| {
            let settings = self.in_database(event.database);
            let name = settings.topic_of(&listener.definition, event);
            let mut tag = (*listener.tag).clone();
            tag.priority = tag.priority.or_else(|| settings.priority.clone());
            let made = Destination {
                topic: self.topic(&name, router),
                tag: Arc::new(tag),
            };
            if self.destinations.len() >= REMEMBERED {
                self.destinations.clear();
            }
            self.destinations.insert(key.clone(), made.clone());
            made
        });
        self.looked_up = key;
        destination
    }

    pub(super) fn sent(&self, target: TargetId, time_millis: Option<i64>) {
        if let Some(status) = self.by_target.get(&target) {
            status.produced(time_millis);
        }
    }

    pub(super) fn refused(&self, target: TargetId, reason: &str) -> bool {
        let status = self.by_target.get(&target);
        status.is_some_and(|status| status.refused(reason))
    }
}

impl Listener {
    fn decide(&self, event: &Event<'_>, document: Option<&[u8]>) -> Decided {
        if !event.operation.is_document() {
            // Of a collection or database: there is no document to ask about.
            return Decided::Matches;
        }
        if let Some(wanted) = &self.definition.document_key {
            match matches(wanted, event.document_key) {
                Some(true) => {}
                Some(false) => return Decided::Not,
                None => return Decided::Unknown,
            }
        }
        decide(&self.definition.filter, event, document)
    }
}
