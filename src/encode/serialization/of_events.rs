//! Schemas that each event may have of its own: of its key, of its value, or of both.

use super::frame::{Frame, Half};
use super::kept::Kept;
use super::of_format::{self, Named};
use super::registry::Registry;
use super::subject::Unsettled;
use crate::change::event::Event;
use crate::config::Schemas;
use crate::config::connect_schema::Schema;
use crate::encode::json::EncodeError;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

/// How many schemas of one namespace are kept. Where documents have more, the registry is asked again.
const MOST: usize = 1_000;

/// Says which schemas an event has.
pub trait Describe: Debug + Send + Sync {
    /// Of its key and its value; none where that has no schema in the registry.
    ///
    /// # Errors
    /// [`EncodeError`]: the event can have no record.
    fn schemas(&self, event: &Event<'_>) -> Result<[Option<Schema>; 2], EncodeError>;

    /// A schema in the registry's language, and its name.
    ///
    /// # Errors
    /// Why there is none, as the end of a sentence.
    fn text(&self, schema: &Schema) -> Result<Named, String>;
}

/// What records say of the schemas that are known.
type Frames = HashMap<Schema, Kept<Frame>>;

/// The schemas of one stream, as far as they are known.
#[derive(Debug)]
pub struct OfEvents {
    settings: Schemas,
    /// Made when it is needed first.
    registry: Option<Registry>,
    describe: Arc<dyn Describe>,
    /// Of keys and of values, by the event's operation and namespace, on which its topic depends.
    known: HashMap<Vec<u8>, [Frames; 2], foldhash::fast::FixedState>,
    /// Room for what is looked up there.
    lookup: Vec<u8>,
    last: [Option<Frame>; 2],
}

const HALVES: [Half; 2] = [Half::Key, Half::Value];

impl OfEvents {
    pub fn new(settings: Schemas, describe: Arc<dyn Describe>) -> Self {
        Self {
            settings,
            registry: None,
            describe,
            known: HashMap::default(),
            lookup: Vec::new(),
            last: [None, None],
        }
    }

    /// What the record of an event with these schemas says of them.
    ///
    /// # Errors
    /// [`EncodeError::Unsettled`] where the registry has to be asked.
    pub fn frames(
        &mut self,
        event: &Event<'_>,
        schemas: [Option<&Schema>; 2],
    ) -> Result<&[Option<Frame>; 2], EncodeError> {
        self.last = [None, None];
        super::look_up(&mut self.lookup, event);
        let known = self.known.get(&self.lookup);
        for ((half, schema), last) in schemas.into_iter().enumerate().zip(&mut self.last) {
            let Some(schema) = schema else { continue };
            let known = known.and_then(|halves| halves[half].get(schema));
            let current = known.and_then(|known| known.current(&self.settings));
            *last = Some(current.ok_or(EncodeError::Unsettled)?.clone());
        }
        Ok(&self.last)
    }

    /// The same of what was written last.
    pub fn last(&self) -> &[Option<Frame>; 2] {
        &self.last
    }

    /// Sees to the schemas of an event's record, which goes to `topic`. It may ask the registry; when it is tried again
    /// is the caller's.
    ///
    /// # Errors
    /// [`Unsettled`].
    pub async fn settle(&mut self, event: &Event<'_>, topic: &str) -> Result<(), Unsettled> {
        let registry = Registry::once(&mut self.registry, &self.settings)?;
        let schemas = self.describe.schemas(event);
        let schemas = schemas.map_err(|error| Unsettled::Record(error.to_string()))?;
        super::look_up(&mut self.lookup, event);
        for (half, schema) in schemas.into_iter().enumerate() {
            if let Some(schema) = schema {
                self.settle_one(&registry, topic, half, schema).await?;
            }
        }
        Ok(())
    }

    async fn settle_one(
        &mut self,
        registry: &Registry,
        topic: &str,
        half: usize,
        schema: Schema,
    ) -> Result<(), Unsettled> {
        let known = self.known.get(&self.lookup);
        let known = known.and_then(|halves| halves[half].get(&schema));
        let asking = async {
            let named = self.describe.text(&schema).map_err(Unsettled::Record)?;
            of_format::frame(registry, &self.settings, topic, HALVES[half], &named).await
        };
        let Some(kept) = Kept::ask(known, &self.settings, asking).await? else {
            return Ok(());
        };
        let outcome = kept.outcome();
        let halves = self.known.entry(self.lookup.clone()).or_default();
        if halves[half].len() >= MOST {
            halves[half].clear();
        }
        halves[half].insert(schema, kept);
        outcome
    }
}
