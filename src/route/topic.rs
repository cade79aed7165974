//! Topic names: templates compiled once, each resolved name interned once.
//!
//! Routing an event of a namespace that was seen before allocates nothing, and with fixed names it
//! looks nothing up.

use super::Route;
use super::table::{RouteError, Topic, TopicId, TopicTable};
use super::target::{Target, Targets};
use super::template::Template;
use crate::change::event::{Event, Operation};
use crate::change::namespace::Namespace;
use crate::config;
use crate::error::{Code, Error};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// One template and what is known of it already.
#[derive(Debug, Clone)]
struct Slot {
    template: Template,
    /// The topic of a template without placeholders.
    fixed: Option<TopicId>,
    /// Tells the slots' entries in the cache apart.
    tag: char,
}

/// The templates of the configuration's own topics.
#[derive(Debug, Clone)]
struct Slots {
    insert: Slot,
    update: Slot,
    replace: Slot,
    delete: Slot,
    ddl: Option<Slot>,
}

impl Slots {
    fn all(&self) -> impl Iterator<Item = &Slot> {
        let always = [&self.insert, &self.update, &self.replace, &self.delete];
        always.into_iter().chain(&self.ddl)
    }
}

/// Gives each event its topic. A clone has a cache of its own and shares the table.
#[derive(Debug, Clone)]
pub struct Router {
    table: Arc<TopicTable>,
    /// Those of changes; none where only listeners get records.
    slots: Option<Slots>,
    /// That of a snapshot's rows, where it is not that of inserts.
    rows: Option<Slot>,
    dead_letter: Option<Slot>,
    /// Where transactions of MongoDB are said to begin and to end; without placeholders.
    bounds: Option<Slot>,
    /// Topics of dead letters: their readers expect no changes.
    letters: Vec<TopicId>,
    cache: HashMap<String, TopicId, foldhash::fast::RandomState>,
    /// Reused, so that looking up a known namespace allocates nothing.
    key: String,
}

/// How many namespaces the cache holds before it starts afresh: databases that make and drop
/// collections all day must not grow it for ever.
const CACHE_LIMIT: usize = 16_384;

impl Router {
    /// The router of a stream, which also says which topics are reserved. Whatever makes
    /// records of events goes by this one.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(stream: &config::StreamSpec) -> Result<Self, Error> {
        let reserved = match &stream.resume.backend {
            config::ResumeBackend::Kafka { topic } => Some(topic.as_str()),
            config::ResumeBackend::MongoDb { .. } | config::ResumeBackend::File { .. } => None,
        };
        let listeners = stream.source.listeners.as_ref();
        let router = match listeners.is_none_or(|listeners| listeners.beside_topics) {
            true => Self::new(&stream.sink.topics, reserved.as_slice()),
            false => Self::without_topics(&stream.sink.topics, reserved.as_slice()),
        };
        Ok(match &stream.sink.namespaces {
            Some(map) => router?.mapped(map),
            None => router?,
        })
    }

    /// The same with topics of changes that are named by a map of namespaces.
    fn mapped(mut self, map: &Arc<config::NamespaceMap>) -> Self {
        if let Some(slots) = &mut self.slots {
            // One that is named by itself is no topic of the connector.
            let is_its_own =
                |ddl: &&mut Slot| !map.is_empty() || ddl.template == slots.insert.template;
            if let Some(slot) = slots.ddl.as_mut().filter(is_its_own) {
                slot.template = slot.template.clone().mapped(map);
            }
            for slot in [
                &mut slots.insert,
                &mut slots.update,
                &mut slots.replace,
                &mut slots.delete,
            ] {
                slot.template = slot.template.clone().mapped(map);
            }
        }
        self
    }

    /// Of a stream with listeners alone: no event has a topic by the configuration, but for dead letters.
    fn without_topics(topics: &config::Topics, reserved: &[&str]) -> Result<Self, Error> {
        let table = Arc::new(TopicTable::reserving(reserved));
        let compiled = |variable: &str, tag, text: Option<&str>| {
            let slot = text.map(|text| compile(&table, tag, text)).transpose();
            slot.map_err(|problem| Error::new(Code::Config, format!("{variable}: {problem}")))
        };
        let dead_letter = compiled("KAFKA_DLQ_TOPIC", 'x', topics.dead_letter.as_deref())?;
        let rows = compiled("SNAPSHOT_TOPIC", 'n', topics.rows.as_deref())?;
        Ok(Self {
            // Only of changes in the configuration's own topics.
            bounds: None,
            table,
            slots: None,
            rows,
            letters: dead_letter.iter().filter_map(|slot| slot.fixed).collect(),
            dead_letter,
            cache: HashMap::default(),
            key: String::new(),
        })
    }

    /// Gives no event the topic `letters`, which dead letters are read from.
    #[must_use]
    pub fn reserving(mut self, letters: &str) -> Self {
        // A name that cannot be interned is given to no event either.
        self.letters.extend(self.table.intern(letters, false));
        self
    }

    /// Compiles the templates and interns the topics that are known without an event.
    /// `reserved` are topics no record may go to: the checkpoint topic.
    ///
    /// # Errors
    /// [`Code::Config`] with one line for each template that is wrong or clashes with another.
    pub fn new(topics: &config::Topics, reserved: &[&str]) -> Result<Self, Error> {
        let table = Arc::new(TopicTable::reserving(reserved));

        let mut problems = Vec::new();
        let mut slot = |variable: &str, tag, text: &str| match compile(&table, tag, text) {
            Ok(slot) => Some(slot),
            Err(problem) => {
                problems.push(format!("{variable}: {problem}"));
                None
            }
        };
        let insert = slot("KAFKA_TOPIC_INSERT", 'i', &topics.insert);
        let update = slot("KAFKA_TOPIC_UPDATE", 'u', &topics.update);
        let replace = slot("KAFKA_TOPIC_REPLACE", 'r', &topics.replace);
        let delete = slot("KAFKA_TOPIC_DELETE", 'd', &topics.delete);
        let ddl = topics
            .ddl
            .as_deref()
            .and_then(|text| slot("KAFKA_TOPIC_DDL", 's', text));
        let rows = topics
            .rows
            .as_deref()
            .and_then(|text| slot("SNAPSHOT_TOPIC", 'n', text));
        let dead_letter = topics
            .dead_letter
            .as_deref()
            .and_then(|text| slot("KAFKA_DLQ_TOPIC", 'x', text));
        let bounds = topics
            .bounds
            .as_deref()
            .and_then(|text| slot("DEBEZIUM_TRANSACTION_TOPIC", 't', text));

        match (insert, update, replace, delete) {
            (Some(insert), Some(update), Some(replace), Some(delete)) if problems.is_empty() => {
                Ok(Self {
                    table,
                    slots: Some(Slots {
                        insert,
                        update,
                        replace,
                        delete,
                        ddl,
                    }),
                    rows,
                    bounds,
                    letters: dead_letter.iter().filter_map(|slot| slot.fixed).collect(),
                    dead_letter,
                    cache: HashMap::default(),
                    key: String::new(),
                })
            }
            _ => Err(Error::new(Code::Config, problems.join("; also: "))),
        }
    }

    /// The topics, for the sink. Those known at the start are in it already.
    pub fn table(&self) -> &Arc<TopicTable> {
        &self.table
    }

    fn all(&self) -> impl Iterator<Item = &Slot> {
        let slots = self.slots.iter().flat_map(Slots::all);
        slots
            .chain(&self.rows)
            .chain(&self.dead_letter)
            .chain(&self.bounds)
    }

    /// Whether the rows of a snapshot have a topic.
    pub fn has_rows(&self) -> bool {
        self.slots.is_some() || self.rows.is_some()
    }

    /// Whether some topics are known only when their first event comes.
    pub fn has_templates(&self) -> bool {
        self.all().any(|slot| slot.fixed.is_none())
    }

    /// The topics of templates that events of these operations on these collections go to, each once and no
    /// more than `most`. Names that no topic can have are left out: their events will say so.
    pub fn topics_of(
        &mut self,
        collections: &[Namespace],
        operations: &[&str],
        most: usize,
    ) -> Vec<Arc<Topic>> {
        let fixed: BTreeSet<_> = self.all().filter_map(|slot| slot.fixed).collect();
        let mut found = BTreeSet::new();
        for of in collections {
            for operation in operations {
                let collection = match Operation::from_name(operation) {
                    Operation::DropDatabase => "",
                    _ => of.collection.as_str(),
                };
                let event = Event::about(operation, &of.database, collection);
                if found.len() < most
                    && let Some(Ok(id)) = self.topic_of(&event)
                    && !fixed.contains(&id)
                {
                    found.insert(id);
                }
            }
        }
        found.into_iter().map(|id| self.table.get(id)).collect()
    }

    /// Whether events may go to this topic by the configuration: those of a template are not all known.
    pub fn may_use(&self, topic: &str) -> bool {
        self.all().any(|slot| match slot.fixed {
            Some(id) => self.table.get(id).name() == topic,
            None => true,
        })
    }

    /// The topic of this name, for a listener.
    ///
    /// # Errors
    /// [`RouteError`] when no record may go there.
    pub fn topic_named(&self, name: &str) -> Result<TopicId, RouteError> {
        if name.starts_with("__") {
            let name = name.to_owned();
            return Err(RouteError::TopicInternal { name });
        }
        let id = self.table.intern(name, false)?;
        match self.letters.contains(&id) {
            true => Err(RouteError::TopicOfDeadLetters {
                name: name.to_owned(),
            }),
            false => Ok(id),
        }
    }

    /// The topic of an event, or why it can have none, which is for the record-error policy. `None` for a DDL
    /// event while `KAFKA_TOPIC_DDL` is not set, and for an `invalidate`: they make no record.
    #[inline]
    fn topic_of(&mut self, event: &Event<'_>) -> Option<Result<TopicId, RouteError>> {
        let slots = self.slots.as_ref();
        let slot = match event.operation {
            Operation::Insert => &slots?.insert,
            Operation::Update => &slots?.update,
            Operation::Replace => &slots?.replace,
            Operation::Delete => &slots?.delete,
            Operation::Read => match &self.rows {
                Some(rows) => rows,
                None => &slots?.insert,
            },
            Operation::Invalidate => return None,
            Operation::Drop | Operation::Rename | Operation::DropDatabase | Operation::Other => {
                slots?.ddl.as_ref()?
            }
        };
        let id = match slot.fixed {
            Some(id) => id,
            None => match resolve(&self.table, slot, &mut self.cache, &mut self.key, event) {
                Ok(id) => id,
                Err(error) => return Some(Err(error)),
            },
        };
        if self.letters.contains(&id) {
            let name = self.table.get(id).name().to_owned();
            return Some(Err(RouteError::TopicOfDeadLetters { name }));
        }
        Some(Ok(id))
    }
}

impl Route for Router {
    fn table(&self) -> &Arc<TopicTable> {
        &self.table
    }

    #[inline]
    fn route(&mut self, event: &Event<'_>, by_configuration: bool) -> Targets {
        let mut targets = Targets::new();
        if by_configuration && let Some(topic) = self.topic_of(event) {
            let target = Target::of_configuration(topic);
            targets.push(match event.operation {
                Operation::Read => target.of_rows(),
                _ => target,
            });
        }
        targets
    }

    fn bounds(&self) -> Option<TopicId> {
        self.bounds.as_ref()?.fixed
    }

    fn dead_letter(&mut self, event: &Event<'_>) -> Result<Option<TopicId>, RouteError> {
        match &self.dead_letter {
            None => Ok(None),
            Some(Slot {
                fixed: Some(id), ..
            }) => Ok(Some(*id)),
            Some(slot) => {
                resolve(&self.table, slot, &mut self.cache, &mut self.key, event).map(Some)
            }
        }
    }
}

fn compile(table: &TopicTable, tag: char, text: &str) -> Result<Slot, String> {
    let template = Template::parse(text)?;
    let fixed = if template.is_fixed() {
        let name = template.render(None);
        Some(
            table
                .intern(&name, true)
                .map_err(|error| error.to_string())?,
        )
    } else {
        None
    };
    Ok(Slot {
        template,
        fixed,
        tag,
    })
}

fn resolve(
    table: &TopicTable,
    slot: &Slot,
    cache: &mut HashMap<String, TopicId, foldhash::fast::RandomState>,
    key: &mut String,
    event: &Event<'_>,
) -> Result<TopicId, RouteError> {
    // Only what the template uses tells two entries apart; names hold no zero character.
    key.clear();
    key.push(slot.tag);
    for field in slot.template.fields() {
        key.push_str(field.given(event));
        key.push('\0');
    }
    if let Some(id) = cache.get(key.as_str()) {
        return Ok(*id);
    }
    let name = slot.template.render(Some(event));
    // What services beside Kafka keep there too; a template that begins so is meant so.
    if name.starts_with("__") && !slot.template.render(None).starts_with("__") {
        return Err(RouteError::TopicInternal { name });
    }
    let id = table.intern(&name, false)?;
    if cache.len() >= CACHE_LIMIT {
        cache.clear();
    }
    cache.insert(key.clone(), id);
    Ok(id)
}

#[cfg(test)]
mod tests;
