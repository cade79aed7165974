//! Topic names: templates compiled once, each resolved name interned once.
//!
//! Routing an event of a namespace that was seen before allocates nothing, and with fixed names it
//! looks nothing up.

use super::template::{MAX_TOPIC_LEN, Template};
use crate::config;
use crate::error::{Code, Error};
use crate::event::{Event, Operation};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Where an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To this topic.
    Topic(TopicId),
    /// A DDL event while `KAFKA_TOPIC_DDL` is not set, or an `invalidate`: it makes no record.
    Nowhere,
}

/// A topic's place in the [`TopicTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(u32);

impl TopicId {
    /// Counts from 0 without gaps, so that it can index a `Vec`.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why an event has no topic: a record error of that event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("topic `{name}` has {len} characters; Kafka allows {MAX_TOPIC_LEN}")]
    TopicTooLong {
        /// The first characters of the name.
        name: String,
        len: usize,
    },
    #[error("`{name}` is no topic name: it is empty, `.` or `..`")]
    TopicIllegal { name: String },
    #[error(
        "topic `{name}` beside `{other}`: Kafka refuses names that differ only in `.` and `_`, \
         because its metrics cannot tell them apart"
    )]
    TopicClash { name: String, other: String },
    #[error("topic `{name}` holds Tailwater's own checkpoints and takes no records")]
    TopicReserved { name: String },
}

/// A topic that records go to.
#[derive(Debug)]
pub struct Topic {
    id: TopicId,
    name: CString,
    /// 0 while not known to exist.
    partitions: AtomicI32,
    /// 0 while unknown.
    max_message_bytes: AtomicUsize,
}

impl Topic {
    pub fn id(&self) -> TopicId {
        self.id
    }

    pub fn name(&self) -> &str {
        // ASCII by construction.
        self.name.to_str().unwrap_or_default()
    }

    /// The name as librdkafka takes it.
    pub fn c_name(&self) -> &CStr {
        &self.name
    }

    /// Number of partitions; `None` until the topic was found to exist with a leader for each.
    pub fn partitions(&self) -> Option<i32> {
        Some(self.partitions.load(Ordering::Relaxed)).filter(|count| *count > 0)
    }

    /// The topic's `max.message.bytes`; `None` where it is not known.
    pub fn max_message_bytes(&self) -> Option<usize> {
        Some(self.max_message_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Stores what the brokers say of the topic.
    pub fn learned(&self, partitions: i32, max_message_bytes: Option<usize>) {
        self.max_message_bytes
            .store(max_message_bytes.unwrap_or(0), Ordering::Relaxed);
        self.partitions.store(partitions, Ordering::Relaxed);
    }
}

/// Every topic in use, shared by the router and the sink. Topics are added, never removed.
#[derive(Debug, Default)]
pub struct TopicTable {
    inner: RwLock<Interned>,
}

#[derive(Debug, Default)]
struct Interned {
    topics: Vec<Arc<Topic>>,
    /// By name with `.` as `_`: where Kafka sees a collision, so do we.
    by_metric_name: HashMap<String, TopicId>,
    reserved: Vec<String>,
}

impl TopicTable {
    /// The topic of an id that this table gave out.
    ///
    /// # Panics
    /// When the id is another table's.
    pub fn get(&self, id: TopicId) -> Arc<Topic> {
        Arc::clone(&self.read().topics[id.index()])
    }

    /// Every topic so far, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Topic>> {
        self.read().topics.clone()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Interned> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn intern(&self, name: &str) -> Result<TopicId, RouteError> {
        check(name)?;
        let metric_name = name.replace('.', "_");
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(reserved) = inner
            .reserved
            .iter()
            .find(|r| r.replace('.', "_") == metric_name)
        {
            return Err(if reserved == name {
                RouteError::TopicReserved {
                    name: name.to_owned(),
                }
            } else {
                RouteError::TopicClash {
                    name: name.to_owned(),
                    other: reserved.clone(),
                }
            });
        }
        if let Some(id) = inner.by_metric_name.get(&metric_name) {
            let other = inner.topics[id.index()].name();
            if other == name {
                return Ok(*id);
            }
            return Err(RouteError::TopicClash {
                name: name.to_owned(),
                other: other.to_owned(),
            });
        }
        let illegal = |_| RouteError::TopicIllegal {
            name: name.to_owned(),
        };
        let id = TopicId(inner.topics.len() as u32);
        inner.topics.push(Arc::new(Topic {
            id,
            name: CString::new(name).map_err(illegal)?,
            partitions: AtomicI32::new(0),
            max_message_bytes: AtomicUsize::new(0),
        }));
        inner.by_metric_name.insert(metric_name, id);
        Ok(id)
    }
}

fn check(name: &str) -> Result<(), RouteError> {
    if name.len() > MAX_TOPIC_LEN {
        // Names are ASCII here, so any byte is a boundary; `get` keeps that from mattering.
        let start = name.get(..60).unwrap_or_default();
        return Err(RouteError::TopicTooLong {
            name: format!("{start}…"),
            len: name.len(),
        });
    }
    if matches!(name, "" | "." | "..") {
        return Err(RouteError::TopicIllegal {
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// One template and what is known of it already.
#[derive(Debug, Clone)]
struct Slot {
    template: Template,
    /// The topic of a template without placeholders.
    fixed: Option<TopicId>,
    /// Tells the slots' entries in the cache apart.
    tag: char,
}

/// Gives each event its topic. A clone has a cache of its own and shares the table.
#[derive(Debug, Clone)]
pub struct Router {
    table: Arc<TopicTable>,
    insert: Slot,
    update: Slot,
    replace: Slot,
    delete: Slot,
    ddl: Option<Slot>,
    dead_letter: Option<Slot>,
    cache: HashMap<String, TopicId, foldhash::fast::RandomState>,
    /// Reused, so that looking up a known namespace allocates nothing.
    key: String,
}

/// How many namespaces the cache holds before it starts afresh: databases that make and drop
/// collections all day must not grow it for ever.
const CACHE_LIMIT: usize = 16_384;

impl Router {
    /// Compiles the templates and interns the topics that are known without an event.
    /// `reserved` are topics no record may go to: the checkpoint topic.
    ///
    /// # Errors
    /// [`Code::Config`] with one line for each template that is wrong or clashes with another.
    pub fn new(topics: &config::Topics, reserved: &[&str]) -> Result<Self, Error> {
        let table = Arc::new(TopicTable::default());
        table
            .inner
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .reserved = reserved.iter().map(|name| (*name).to_owned()).collect();

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
        let dead_letter = topics
            .dead_letter
            .as_deref()
            .and_then(|text| slot("KAFKA_DLQ_TOPIC", 'x', text));

        match (insert, update, replace, delete) {
            (Some(insert), Some(update), Some(replace), Some(delete)) if problems.is_empty() => {
                Ok(Self {
                    table,
                    insert,
                    update,
                    replace,
                    delete,
                    ddl,
                    dead_letter,
                    cache: HashMap::default(),
                    key: String::new(),
                })
            }
            _ => Err(Error::new(Code::Config, problems.join("\n"))),
        }
    }

    /// The topics, for the sink. Those known at the start are in it already.
    pub fn table(&self) -> &Arc<TopicTable> {
        &self.table
    }

    /// Whether some topics are known only when their first event comes.
    pub fn has_templates(&self) -> bool {
        let always = [&self.insert, &self.update, &self.replace, &self.delete];
        let optional = self.ddl.iter().chain(&self.dead_letter);
        always
            .into_iter()
            .chain(optional)
            .any(|slot| slot.fixed.is_none())
    }

    /// The topic of an event.
    ///
    /// # Errors
    /// [`RouteError`]: this event can have no topic, which is for the record-error policy.
    #[inline]
    pub fn route(&mut self, event: &Event<'_>) -> Result<Route, RouteError> {
        let slot = match event.operation {
            Operation::Insert => &self.insert,
            Operation::Update => &self.update,
            Operation::Replace => &self.replace,
            Operation::Delete => &self.delete,
            Operation::Invalidate => return Ok(Route::Nowhere),
            Operation::Drop | Operation::Rename | Operation::DropDatabase | Operation::Other => {
                match &self.ddl {
                    Some(slot) => slot,
                    None => return Ok(Route::Nowhere),
                }
            }
        };
        if let Some(id) = slot.fixed {
            return Ok(Route::Topic(id));
        }
        resolve(&self.table, slot, &mut self.cache, &mut self.key, event).map(Route::Topic)
    }

    /// The dead-letter topic for an event; `None` where `KAFKA_DLQ_TOPIC` is not set.
    ///
    /// # Errors
    /// [`RouteError`] when the template gives no topic for this event.
    pub fn dead_letter(&mut self, event: &Event<'_>) -> Result<Option<TopicId>, RouteError> {
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
        Some(table.intern(&name).map_err(|error| error.to_string())?)
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
        key.push_str(field.of(event));
        key.push('\0');
    }
    if let Some(id) = cache.get(key.as_str()) {
        return Ok(*id);
    }
    let id = table.intern(&slot.template.render(Some(event)))?;
    if cache.len() >= CACHE_LIMIT {
        cache.clear();
    }
    cache.insert(key.clone(), id);
    Ok(id)
}

#[cfg(test)]
mod tests;
