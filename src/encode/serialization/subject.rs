//! One subject: its schema, its number, and how both come about.

use super::frame::{Frame, Half};
use super::language;
use super::registry::{Failure, Registry, SchemaId};
use super::schema::{Layout, Place, Schema};
use crate::change::event::Event;
use crate::config::{SchemaKind, Schemas, SubjectName};
use crate::log::Escaped;
use std::time::{Duration, Instant};

/// How long a schema that was refused is not tried again, and how long the newest one is taken for that.
pub(super) const REST: Duration = Duration::from_secs(2);
/// How long a registry is waited for that is asked without need.
pub(super) const BRIEFLY: Duration = Duration::from_secs(2);
/// How often a schema is made anew because somebody else was faster.
const RACES: usize = 5;
/// That of a schema which a dry run would have registered.
const NO_ID: SchemaId = SchemaId {
    number: 0,
    guid: None,
};

/// Why an event cannot be written yet, or at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsettled {
    /// The registry does not answer or refuses who asks: it is waited for.
    Away(String),
    /// There is no schema for this event: a record error.
    Record(String),
}

impl From<Failure> for Unsettled {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(sentence) | Failure::Refused(sentence) => Self::Away(sentence),
            Failure::Schema(sentence) => Self::Record(sentence),
        }
    }
}

/// Why a schema is still too narrow for an event.
enum Narrow {
    Unsettled(Unsettled),
    /// The registry has just refused this text, and why.
    Refused(String, String),
}

impl Narrow {
    fn record(why: String) -> Self {
        Self::Unsettled(Unsettled::Record(why))
    }
}

impl From<Unsettled> for Narrow {
    fn from(unsettled: Unsettled) -> Self {
        Self::Unsettled(unsettled)
    }
}

/// The schema under one name.
#[derive(Debug)]
pub struct Subject {
    pub name: String,
    pub schema: Schema,
    /// None where nothing is registered yet.
    id: Option<SchemaId>,
    /// What a record says of the schema; the same as of `id`.
    pub frame: Option<Frame>,
    /// When it was read from the registry.
    read: Instant,
    /// When the registry was last known to have it.
    seen: Instant,
    /// A schema that the registry did not take, when, and why.
    refused: Option<(String, Instant, String)>,
}

/// The name of a subject by the strategy that is configured.
pub fn name(strategy: SubjectName, topic: &str, half: Half, full_name: &str) -> String {
    match strategy {
        SubjectName::Topic => format!("{topic}-{}", half.name()),
        SubjectName::Record => full_name.to_owned(),
        SubjectName::TopicRecord => format!("{topic}-{full_name}"),
    }
}

/// Registers a schema under a subject; a dry run only asks whether it would be taken.
pub(super) async fn register(
    registry: &Registry,
    settings: &Schemas,
    subject: &str,
    schema: &str,
) -> Result<SchemaId, Failure> {
    match settings.dry_run {
        true => registry.would_take(subject, schema).await.map(|()| NO_ID),
        false => registry.register(subject, schema).await,
    }
}

impl Subject {
    /// What the registry has under this name; none where it has nothing.
    pub async fn find(
        registry: &Registry,
        kind: SchemaKind,
        name: &str,
        layout: Layout,
        place: &Place,
    ) -> Result<Option<Self>, Unsettled> {
        let Some(stored) = registry.latest(name).await? else {
            return Ok(None);
        };
        let schema = language::read(kind, &stored.text, layout, place).map_err(|why| {
            Unsettled::Record(format!("the schema of the subject {} {why}", Escaped(name)))
        })?;
        let mut found = Self::begin(name, schema);
        found.id = Some(stored.id);
        Ok(Some(found))
    }

    /// One of which nothing is registered yet.
    pub fn begin(name: &str, schema: Schema) -> Self {
        Self {
            name: name.to_owned(),
            schema,
            id: None,
            frame: None,
            read: Instant::now(),
            seen: Instant::now(),
            refused: None,
        }
    }

    /// Sees to a schema that `event` can be written by, and to its number.
    ///
    /// # Errors
    /// [`Unsettled`].
    pub async fn settle(
        &mut self,
        registry: &Registry,
        settings: &Schemas,
        event: &Event<'_>,
    ) -> Result<(), Unsettled> {
        if self.is_due(settings) {
            self.look_again(registry, settings).await;
        }
        let needed = self.wider(event);
        if self.id.is_some() && matches!(needed, Ok((_, None))) {
            self.framed(settings);
            return Ok(());
        }
        // What somebody else has registered meanwhile is taken in, and not lost. But what does not fit may come a
        // thousand times a second.
        let registers = settings.auto_register && needed.is_ok();
        if self.read.elapsed() > REST || (registers && self.id.is_some()) {
            self.catch_up(registry, settings).await?;
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.widen(registry, settings, event).await {
                Ok(()) => return Ok(()),
                Err(Narrow::Unsettled(why)) => return Err(why),
                // Somebody else may have registered a version just before, of which this one lacks a field: then what
                // is refused is not what the document needs.
                Err(Narrow::Refused(text, why)) => {
                    if tries > RACES || !self.catch_up(registry, settings).await? {
                        self.refused = Some((text, Instant::now(), why.clone()));
                        return Err(Unsettled::Record(why));
                    }
                }
            }
        }
    }

    /// Takes what somebody else has registered meanwhile; whether there is such a thing.
    async fn catch_up(
        &mut self,
        registry: &Registry,
        settings: &Schemas,
    ) -> Result<bool, Unsettled> {
        let (layout, place) = (self.schema.layout, self.schema.place.clone());
        let newest = Self::find(registry, settings.kind, &self.name, layout, &place).await?;
        self.read = Instant::now();
        Ok(newest.is_some_and(|newest| self.take(newest, settings)))
    }

    /// Takes the newest version; whether it is another. A registry that was set up anew may give a number again, and so
    /// the number alone says nothing.
    fn take(&mut self, newest: Self, settings: &Schemas) -> bool {
        let is_other = newest.id != self.id || newest.schema != self.schema;
        if is_other {
            (self.schema, self.id) = (newest.schema, newest.id);
            self.framed(settings);
        }
        is_other
    }

    /// Registers a schema that `event` can be written by, where this one is too narrow.
    async fn widen(
        &mut self,
        registry: &Registry,
        settings: &Schemas,
        event: &Event<'_>,
    ) -> Result<(), Narrow> {
        let (wider, changed) = self.wider(event)?;
        let Some(changed) = changed.map(|path| path.to_string()).or_else(|| {
            // Also where nothing is to be changed, the first has to be registered.
            self.id.is_none().then(String::new)
        }) else {
            return Ok(());
        };
        if !settings.auto_register {
            return Err(Narrow::record(match self.id {
                Some(_) => format!(
                    "`{changed}` does not fit the schema of the subject {}, and SCHEMA_AUTO_REGISTER=false leaves it to \
                     you to register one that it fits",
                    Escaped(&self.name)
                ),
                None => format!(
                    "the registry has no subject {}, and SCHEMA_AUTO_REGISTER=false leaves it to you to register its \
                     schema",
                    Escaped(&self.name)
                ),
            }));
        }
        if let Some(beyond) = &wider.beyond {
            return Err(Narrow::record(format!(
                "`{changed}` does not fit the schema of the subject {}, which has {beyond}: register one that it fits",
                Escaped(&self.name)
            )));
        }
        let text = language::schema(&wider);
        if let Some((refused, when, why)) = &self.refused
            && *refused == text
            && when.elapsed() < REST
        {
            return Err(Narrow::record(why.clone()));
        }
        match register(registry, settings, &self.name, &text).await {
            Ok(id) => {
                let (subject, fields) = (&self.name, wider.document.fields().len());
                match settings.dry_run {
                    true => tracing::info!(subject, fields, "a schema would be registered"),
                    false => {
                        tracing::info!(subject, id = id.number, fields, "a schema is registered")
                    }
                }
                (self.schema, self.id) = (wider, Some(id));
                (self.refused, self.seen) = (None, Instant::now());
                self.framed(settings);
                Ok(())
            }
            Err(Failure::Schema(why)) => {
                let why = match changed.is_empty() {
                    true => why,
                    false => format!("`{changed}` is new or has a wider type, and {why}"),
                };
                Err(Narrow::Refused(text, why))
            }
            Err(other) => Err(Unsettled::from(other).into()),
        }
    }

    fn framed(&mut self, settings: &Schemas) {
        self.frame = self.id.map(|id| Frame::new(settings, &self.schema, id));
    }

    /// Whether it is time to look whether the registry still has it.
    #[inline]
    pub fn is_due(&self, settings: &Schemas) -> bool {
        self.id.is_some() && !settings.dry_run && self.seen.elapsed() > settings.recheck
    }

    /// Looks whether the registry still has the schema, which otherwise nobody could read values by. As long as it
    /// does not answer, it is taken to have it: nothing waits for that.
    async fn look_again(&mut self, registry: &Registry, settings: &Schemas) {
        self.seen = Instant::now();
        let (layout, place) = (self.schema.layout, self.schema.place.clone());
        let found = Self::find(registry, settings.kind, &self.name, layout, &place);
        match tokio::time::timeout(BRIEFLY, found).await {
            Ok(Ok(None)) => {
                tracing::warn!(
                    subject = self.name,
                    "the registry has lost a schema that is in use, or somebody deleted it"
                );
                // Without leave to register it, records go on to say what they said.
                if settings.auto_register {
                    (self.id, self.frame) = (None, None);
                }
            }
            Ok(Ok(Some(newest))) => _ = self.take(newest, settings),
            _ => {}
        }
    }

    /// The schema that the event needs, and what is new in it.
    fn wider(&self, event: &Event<'_>) -> Result<(Schema, Option<super::shape::Path>), Unsettled> {
        let mut wider = self.schema.clone();
        match wider.widen(event) {
            Ok(changed) => Ok((wider, changed)),
            Err(drift) => Err(Unsettled::Record(drift.to_string())),
        }
    }
}
