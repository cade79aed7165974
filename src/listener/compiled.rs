//! A set of listeners, ready to be asked about events.

use super::definition::{Definition, Problem};
use super::document::{LONGEST_ID, id_text};
use super::filter::Filter;
use super::index::{Entry, Index};
use super::router::Numbers;
use super::set::{Id, Set};
use super::settings::{DEFAULTS, Settings};
use crate::change::event::{Event, Operation};
use crate::change::operations::Operations;
use crate::config::Listeners;
use crate::route::{Interest, ListenerTag, RouteError, Router, Target, TargetId, Targets, TopicId};
use crate::status::listeners::{Defined, State, Status, Statuses};
use bson::{Bson, Document, RawDocument};
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
    /// Whether what is undecided counts: not where an event is only looked at ahead.
    pub(super) is_counting: bool,
    /// Reused, so that looking up a known destination allocates nothing.
    looked_up: String,
}

#[derive(Debug, Clone)]
enum Read {
    Listener(Arc<Listener>),
    Settings(Settings),
    /// Disabled, wrong, or settings that are wrong.
    Nothing,
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

/// What holds in one database.
#[derive(Debug, Clone)]
struct Effective {
    is_enabled: bool,
    operations: Operations,
    prefix: Option<String>,
    priority: Option<String>,
}

impl Default for Effective {
    fn default() -> Self {
        Self {
            is_enabled: true,
            operations: Operations::OF_DOCUMENTS,
            prefix: None,
            priority: None,
        }
    }
}

impl From<Settings> for Effective {
    fn from(settings: Settings) -> Self {
        Self {
            is_enabled: settings.enabled.unwrap_or(true),
            operations: settings.operations.unwrap_or(Operations::OF_DOCUMENTS),
            prefix: settings.topic_prefix,
            priority: settings.priority,
        }
    }
}

impl Effective {
    fn changes_records(&self) -> bool {
        self.prefix.is_some() || self.priority.is_some()
    }
}

#[derive(Debug, Clone)]
struct Destination {
    topic: Result<TopicId, Box<RouteError>>,
    tag: Arc<ListenerTag>,
}

/// What a filter says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decided {
    Matches,
    Not,
    /// The document that it asks about is not at hand.
    Unknown,
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
            is_counting: true,
            looked_up: String::new(),
        }
    }

    /// Reads a whole set.
    pub(super) fn all(&mut self, set: &Set, router: &Router) {
        self.read = set
            .documents()
            .map(|(id, document)| (id.clone(), self.read(document, router)))
            .collect();
        self.arrange(set);
    }

    /// Reads the one document of a set that has changed.
    pub(super) fn one(&mut self, id: &Id, set: &Set, router: &Router) {
        match set.document(id) {
            Some(document) => {
                let read = self.read(document, router);
                self.read.insert(id.clone(), read);
            }
            None => {
                self.read.remove(id);
            }
        }
        self.arrange(set);
    }

    fn read(&self, document: &Document, router: &Router) -> Read {
        match document.get("kind") {
            Some(Bson::String(kind)) if kind == "database" => match Settings::read(document) {
                Ok(settings) => Read::Settings(settings),
                Err(_) => Read::Nothing,
            },
            _ => self.listener(document, router),
        }
    }

    fn listener(&self, document: &Document, router: &Router) -> Read {
        let id = document.get("_id").cloned().unwrap_or(Bson::Null);
        let name = id_text(&id);
        let read = self.definition(document, &name);
        let text = |field: &str| document.get_str(field).ok().map(str::to_owned);
        let described = |state| Defined {
            state,
            job: text("jobName").unwrap_or_default(),
            collection: text("collection").unwrap_or_default(),
            database: text("database"),
        };
        let invalid = |reason: String| {
            self.statuses
                .define(&id, &name, described(State::Invalid(reason)));
            Read::Nothing
        };
        let definition = match read {
            Ok(definition) => definition,
            Err(reason) => return invalid(reason),
        };
        if !definition.is_active {
            self.statuses.define(&id, &name, described(State::Disabled));
            return Read::Nothing;
        }
        let fixed = definition
            .topic
            .is_fixed()
            .then(|| self.topic(&definition.topic.fixed_text(), router));
        if let Some(Err(error)) = &fixed {
            return invalid(format!("topic: {error}"));
        }
        let Some(target) = self.numbers.target(&name) else {
            return invalid("too many listeners were made since the start; restart".to_owned());
        };
        let status = self.statuses.define(&id, &name, described(State::Active));
        Read::Listener(Arc::new(Listener {
            tag: Arc::new(ListenerTag {
                id: name,
                job: definition.job.clone(),
                priority: definition.priority.clone(),
            }),
            definition,
            status,
            target,
            fixed,
        }))
    }

    /// What a document defines, or why it is invalid.
    fn definition(&self, document: &Document, name: &str) -> Result<Definition, String> {
        if name.len() > LONGEST_ID {
            return Err(format!(
                "its _id has more than {LONGEST_ID} characters, and is a header of each record; use a shorter one"
            ));
        }
        if Set::has_no_room(document) {
            return Err("the listeners have more than 8 MiB together; remove some".to_owned());
        }
        match document.get("kind") {
            None | Some(Bson::Null) => {}
            Some(Bson::String(kind)) if kind == "listener" => {}
            Some(_) => return Err("kind: is neither \"listener\" nor \"database\"".to_owned()),
        }
        let definition = Definition::read(document).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
            problems.join("; ")
        })?;
        (self.admission.0)(&definition)?;
        let shape = definition.topic.with_wildcards();
        if !self.configured.allow(&shape) {
            return Err(not_allowed(&definition.topic_text).to_string());
        }
        Ok(definition)
    }

    fn topic(&self, name: &str, router: &Router) -> Result<TopicId, Box<RouteError>> {
        if !self.configured.allow(name) || self.configured.is_reserved(name) {
            return Err(Box::new(not_allowed(name)));
        }
        router.topic_named(name).map_err(Box::new)
    }

    /// Makes what is asked from what was read.
    fn arrange(&mut self, set: &Set) {
        let mut index = Index::default();
        self.active.clear();
        self.by_target.clear();
        self.destinations.clear();
        for read in self.read.values() {
            let Read::Listener(listener) = read else {
                continue;
            };
            let definition = &listener.definition;
            index.add(Entry {
                place: u32::try_from(self.active.len()).unwrap_or(u32::MAX),
                collection: &definition.collection,
                database: definition.database.as_deref(),
                operations: definition.operations,
                equality: definition.filter.equality(),
                id: definition
                    .document_key
                    .as_ref()
                    .and_then(|key| Some(key.equality()?.1)),
            });
            self.by_target
                .insert(listener.target, Arc::clone(&listener.status));
            self.active.push(Arc::clone(listener));
        }
        self.index = Arc::new(index);
        self.arrange_settings(set);
        let is_listener = |document: &Document| !matches!(document.get("kind"), Some(Bson::String(kind)) if kind == "database");
        let names: std::collections::BTreeSet<_> = set
            .documents()
            .filter(|(_, document)| is_listener(document))
            .filter_map(|(_, document)| document.get("_id").map(id_text))
            .collect();
        self.statuses.retain(|name| names.contains(name));
    }

    fn arrange_settings(&mut self, set: &Set) {
        let all = || {
            self.read.values().filter_map(|read| match read {
                Read::Settings(settings) => Some(settings),
                Read::Listener(_) | Read::Nothing => None,
            })
        };
        let defaults = all().find(|settings| settings.database == DEFAULTS);
        self.databases = all()
            .filter(|settings| settings.database != DEFAULTS)
            .map(|settings| (settings.database.clone(), settings.over(defaults).into()))
            .collect();
        self.defaults = defaults.cloned().map(Effective::from).unwrap_or_default();
        let mut wrong = BTreeMap::new();
        for (_, document) in set.documents() {
            if let Some(Bson::String(kind)) = document.get("kind")
                && kind == "database"
                && let Err(problems) = Settings::read(document)
            {
                let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
                let id = document.get("_id").map(id_text).unwrap_or_default();
                wrong.insert(id, problems.join("; "));
            }
        }
        self.statuses.wrong_settings(wrong);
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

    /// What the active listeners want, whatever the database.
    pub(super) fn interest(&self) -> Interest {
        let by_settings = self.databases.values().chain([&self.defaults]);
        let by_settings = by_settings.fold(Operations::default(), |all, settings| {
            all.and(settings.operations)
        });
        let mut collections = BTreeMap::<String, Operations>::new();
        for listener in &self.active {
            let definition = &listener.definition;
            let wanted = collections.entry(definition.collection.clone());
            let wanted = wanted.or_default();
            *wanted = wanted.and(definition.operations.unwrap_or(by_settings));
        }
        Interest::of(collections)
    }

    /// Adds the targets of those that want the event.
    pub(super) fn route(&mut self, router: &Router, event: &Event<'_>, targets: &mut Targets) {
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
                    if self.is_counting {
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
            let name = listener.definition.topic.render(Some(event));
            let name = format!("{}{name}", settings.prefix.as_deref().unwrap_or_default());
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

fn matches(filter: &Filter, document: Option<&[u8]>) -> Option<bool> {
    let document = RawDocument::from_bytes(document?).ok()?;
    Some(filter.matches(document))
}

/// What a filter says of an event on a document. Where the document is not at hand, its key may be enough.
pub(super) fn decide(filter: &Filter, event: &Event<'_>, document: Option<&[u8]>) -> Decided {
    if filter.is_empty() {
        return Decided::Matches;
    }
    let of_key = || {
        let key = event.document_key?;
        let is_there = |name: &str| matches!(crate::change::raw::find(key, name), Ok(Some(_)));
        filter.reads_only(is_there).then_some(key)
    };
    match matches(filter, document.or_else(of_key)) {
        Some(true) => Decided::Matches,
        Some(false) => Decided::Not,
        None => Decided::Unknown,
    }
}

/// The document that filters ask about: as it is after the change, and of a delete as it was before.
pub(super) fn image<'a>(event: &Event<'a>) -> Option<&'a [u8]> {
    let image = match event.operation {
        Operation::Delete => event.full_document_before_change,
        _ => event.full_document,
    };
    image.and_then(|image| image.as_document())
}

fn not_allowed(name: &str) -> RouteError {
    RouteError::TopicNotAllowed {
        name: name.to_owned(),
    }
}
