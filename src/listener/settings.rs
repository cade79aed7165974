//! Settings of a database, kept in the same collection: `{kind: "database", …}`.

use super::definition::{Definition, Problem, Reading};
use crate::change::event::Event;
use crate::change::operations::Operations;
use crate::route::is_legal;
use bson::Document;

/// What the `database` of the defaults is.
pub const DEFAULTS: &str = "*";

/// What holds for all listeners in one database, or in all that have none of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The database, or [`DEFAULTS`].
    pub database: String,
    /// When false, no listener gets anything of this database.
    pub enabled: Option<bool>,
    /// The operations of listeners that name none.
    pub operations: Option<Operations>,
    /// What stands before each topic.
    pub topic_prefix: Option<String>,
    /// The priority of listeners that have none.
    pub priority: Option<String>,
}

impl Settings {
    /// Reads a document of this kind.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(document: &Document) -> Result<Self, Vec<Problem>> {
        let mut reading = Reading::begin(document)?;
        let settings = Self {
            database: reading.required_text(
                "database",
                "give a database's name, or \"*\" for the defaults",
            ),
            enabled: reading.flag("enabled"),
            operations: reading.operations(),
            topic_prefix: reading.text("topicPrefix"),
            priority: reading.priority(),
        };
        if let Some(prefix) = &settings.topic_prefix
            && let Some(c) = prefix.chars().find(|c| !is_legal(*c))
        {
            reading.wrong(
                "topicPrefix",
                format!("Kafka allows no {c:?} in a topic's name; use letters, digits, ., _ and -"),
            );
        }
        reading.done(settings)
    }

    /// What holds where these come before `defaults`.
    #[must_use]
    pub fn over(&self, defaults: Option<&Self>) -> Self {
        let of = |get: fn(&Self) -> &Option<String>| {
            let own = get(self).clone();
            own.or_else(|| defaults.and_then(|defaults| get(defaults).clone()))
        };
        Self {
            database: self.database.clone(),
            enabled: self.enabled.or_else(|| defaults?.enabled),
            operations: self.operations.or_else(|| defaults?.operations),
            topic_prefix: of(|settings| &settings.topic_prefix),
            priority: of(|settings| &settings.priority),
        }
    }
}

/// What holds in one database.
#[derive(Debug, Clone)]
pub(super) struct Effective {
    pub(super) is_enabled: bool,
    /// Of listeners that name none.
    pub(super) operations: Operations,
    pub(super) prefix: Option<String>,
    pub(super) priority: Option<String>,
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
    /// The topic of an event for a listener.
    pub(super) fn topic_of(&self, definition: &Definition, event: &Event<'_>) -> String {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        format!("{prefix}{}", definition.topic.render(Some(event)))
    }

    /// Whether they say something of records.
    pub(super) fn changes_records(&self) -> bool {
        self.prefix.is_some() || self.priority.is_some()
    }
}
