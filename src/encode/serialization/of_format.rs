//! Schemas that a format has and that documents do not change: one for keys and one for values of a topic.

use super::frame::{Frame, Half};
use super::kept::Kept;
use super::registry::{Failure, Registry, SchemaId};
use super::subject::{self, Unsettled};
use crate::change::event::Event;
use crate::config::Schemas;
use crate::encode::json::EncodeError;
use crate::log::Escaped;
use std::collections::HashMap;

/// A schema and the full name of what it describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub schema: String,
}

/// The schemas of an event's key and value, by the name that a stream has in its records.
type Describe = fn(stream: &str, event: &Event<'_>) -> [Named; 2];

/// The schemas of one stream, as far as they are known.
#[derive(Debug)]
pub struct OfFormat {
    settings: Schemas,
    /// Made when it is needed first.
    registry: Option<Registry>,
    stream: String,
    describe: Describe,
    /// By the event's operation and namespace, on which its topic depends.
    known: HashMap<Vec<u8>, Kept<[Frame; 2]>, foldhash::fast::FixedState>,
    /// Room for what is looked up there.
    lookup: Vec<u8>,
}

impl OfFormat {
    pub fn new(settings: Schemas, stream: String, describe: Describe) -> Self {
        Self {
            settings,
            registry: None,
            stream,
            describe,
            known: HashMap::default(),
            lookup: Vec::new(),
        }
    }

    /// What the records of an event say of their schemas: its key and its value.
    ///
    /// # Errors
    /// [`EncodeError::Unsettled`] where the registry has to be asked.
    pub fn frames(&mut self, event: &Event<'_>) -> Result<&[Frame; 2], EncodeError> {
        super::look_up(&mut self.lookup, event);
        let known = self.known.get(&self.lookup);
        let current = known.and_then(|known| known.current(&self.settings));
        current.ok_or(EncodeError::Unsettled)
    }

    /// The same of what was written last.
    pub fn last(&self) -> Option<&[Frame; 2]> {
        self.known.get(&self.lookup)?.said()
    }

    /// Sees to the schemas of an event's record, which goes to `topic`. It may ask the registry; when it is tried again
    /// is the caller's.
    ///
    /// # Errors
    /// [`Unsettled`].
    pub async fn settle(&mut self, event: &Event<'_>, topic: &str) -> Result<(), Unsettled> {
        let registry = Registry::once(&mut self.registry, &self.settings)?;
        super::look_up(&mut self.lookup, event);
        let asking = self.ask(&registry, event, topic);
        let known = self.known.get(&self.lookup);
        let Some(kept) = Kept::ask(known, &self.settings, asking).await? else {
            return Ok(());
        };
        let outcome = kept.outcome();
        self.known.insert(self.lookup.clone(), kept);
        outcome
    }

    async fn ask(
        &self,
        registry: &Registry,
        event: &Event<'_>,
        topic: &str,
    ) -> Result<[Frame; 2], Unsettled> {
        let [key, value] = (self.describe)(&self.stream, event);
        Ok([
            frame(registry, &self.settings, topic, Half::Key, &key).await?,
            frame(registry, &self.settings, topic, Half::Value, &value).await?,
        ])
    }
}

/// What a record says of a schema once the registry has it.
pub(super) async fn frame(
    registry: &Registry,
    settings: &Schemas,
    topic: &str,
    half: Half,
    named: &Named,
) -> Result<Frame, Unsettled> {
    let subject = subject::name(settings.subject, topic, half, &named.name);
    let id = number(registry, settings, &subject, &named.schema).await?;
    Ok(Frame::of(settings, half, id, None))
}

async fn number(
    registry: &Registry,
    settings: &Schemas,
    subject: &str,
    schema: &str,
) -> Result<SchemaId, Unsettled> {
    if !settings.auto_register {
        let found = registry.find(subject, schema).await?;
        return found.ok_or_else(|| {
            Unsettled::Record(format!(
                "the registry has the schema of these records in no version of the subject {}, and \
                 SCHEMA_AUTO_REGISTER=false leaves it to you to register it",
                Escaped(subject)
            ))
        });
    }
    match subject::register(registry, settings, subject, schema).await {
        Ok(id) => {
            tracing::debug!(subject, id = id.number, "a schema is in use");
            Ok(id)
        }
        Err(Failure::Schema(why)) => Err(Unsettled::Record(format!(
            "{why}, for the subject {}",
            Escaped(subject)
        ))),
        Err(other) => Err(other.into()),
    }
}
