//! Topics by name, each interned once, and what the brokers say of them.

use super::template::MAX_TOPIC_LEN;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

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
    #[error("topic `{name}` holds dead letters and takes no other records")]
    TopicOfDeadLetters { name: String },
    #[error(
        "topic `{name}` is not allowed by LISTENERS_TOPICS; name another topic, or add it there"
    )]
    TopicNotAllowed { name: String },
    #[error("topic `{name}` is Kafka's own and takes no records")]
    TopicInternal { name: String },
}

/// How far from Kafka's clock the time of a record may be, in ms; none where it does not matter or is not
/// known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeLimits {
    /// How old.
    pub before: Option<i64>,
    /// How far in the future.
    pub after: Option<i64>,
}

/// A setting of a topic that a record's time breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfTime {
    pub setting: &'static str,
    /// The setting's value, in ms.
    pub limit: i64,
    /// How old the record is, or how far in the future, in ms.
    pub distance: i64,
}

impl TimeLimits {
    /// Which limit a record of `time` breaks when it is sent at `now`; both in ms since the Unix epoch.
    pub fn broken_by(&self, time: i64, now: i64) -> Option<OutOfTime> {
        let over = |distance: i64, limit: Option<i64>, setting| {
            let limit = limit.filter(|limit| distance > *limit)?;
            Some(OutOfTime {
                setting,
                limit,
                distance,
            })
        };
        let age = now.saturating_sub(time);
        over(age, self.before, BEFORE).or_else(|| over(age.saturating_neg(), self.after, AFTER))
    }

    fn is_none(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }
}

/// The settings of a topic that bound the time of its records.
pub const BEFORE: &str = "message.timestamp.before.max.ms";
pub const AFTER: &str = "message.timestamp.after.max.ms";

/// A topic that records go to.
#[derive(Debug)]
pub struct Topic {
    id: TopicId,
    name: CString,
    /// 0 while not known to exist.
    partitions: AtomicI32,
    /// 0 while unknown.
    max_message_bytes: AtomicUsize,
    /// Of [`TimeLimits`]; [`NO_LIMIT`] where there is none.
    before_millis: AtomicI64,
    after_millis: AtomicI64,
}

const NO_LIMIT: i64 = i64::MAX;

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

    /// Which limit of the topic the time of a record breaks now; never 0, which is the time of producing.
    pub fn out_of_time(&self, time_millis: i64) -> Option<OutOfTime> {
        let limits = self.time_limits();
        if time_millis == 0 || limits.is_none() {
            return None;
        }
        limits.broken_by(time_millis, jiff::Timestamp::now().as_millisecond())
    }

    /// How far from now its records may be.
    pub fn time_limits(&self) -> TimeLimits {
        let of = |limit: &AtomicI64| {
            Some(limit.load(Ordering::Relaxed)).filter(|limit| *limit != NO_LIMIT)
        };
        TimeLimits {
            before: of(&self.before_millis),
            after: of(&self.after_millis),
        }
    }

    /// Stores how far from now its records may be.
    pub fn learned_times(&self, limits: TimeLimits) {
        for (limit, to) in [
            (limits.before, &self.before_millis),
            (limits.after, &self.after_millis),
        ] {
            to.store(limit.unwrap_or(NO_LIMIT), Ordering::Relaxed);
        }
    }

    /// Learns from a refusal where the limit may not be read: a record of `bytes` was too large.
    pub fn refused_size(&self, bytes: usize) {
        if self.max_message_bytes().is_none() {
            let most = bytes.saturating_sub(1);
            self.max_message_bytes.store(most, Ordering::Relaxed);
        }
    }

    /// Learns from a refusal where the limits may not be read: a record of this time was too old, or too
    /// far in the future, at `now`. What is as far from now is refused as well.
    pub fn refused_time(&self, time_millis: i64, now: i64) {
        let age = now.saturating_sub(time_millis);
        let limit = match age >= 0 {
            true => &self.before_millis,
            false => &self.after_millis,
        };
        let known = age.saturating_abs().saturating_sub(1);
        limit.fetch_min(known, Ordering::Relaxed);
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
    by_name: HashMap<String, TopicId>,
    /// Of those that are known without an event, by name with `.` as `_`: where Kafka sees a collision, so
    /// do we. What a template gives is for the cluster to judge: which of two names is there may have been
    /// decided by another run.
    by_metric_name: HashMap<String, TopicId>,
    reserved: Vec<String>,
}

impl TopicTable {
    /// An empty table; no record may go to the topics that are `reserved`.
    pub(super) fn reserving(reserved: &[&str]) -> Self {
        Self {
            inner: RwLock::new(Interned {
                reserved: reserved.iter().map(|name| (*name).to_owned()).collect(),
                ..Interned::default()
            }),
        }
    }

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

    /// The topic of this name, which records may go to from now on. With `is_fixed` it is known without an event.
    ///
    /// # Errors
    /// [`RouteError`] when no record may.
    pub fn intern(&self, name: &str, is_fixed: bool) -> Result<TopicId, RouteError> {
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
        if let Some(id) = inner.by_name.get(name) {
            return Ok(*id);
        }
        if let Some(id) = inner.by_metric_name.get(&metric_name) {
            let other = inner.topics[id.index()].name();
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
            before_millis: AtomicI64::new(NO_LIMIT),
            after_millis: AtomicI64::new(NO_LIMIT),
        }));
        inner.by_name.insert(name.to_owned(), id);
        if is_fixed {
            inner.by_metric_name.insert(metric_name, id);
        }
        Ok(id)
    }
}

/// Topics in which brokers keep their own state: they take no records from clients, or break by them.
pub(super) const INTERNAL: [&str; 5] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
    "__cluster_metadata",
    "__remote_log_metadata",
];

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
    if INTERNAL.contains(&name) {
        return Err(RouteError::TopicInternal {
            name: name.to_owned(),
        });
    }
    Ok(())
}
