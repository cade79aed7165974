//! The topics that a stream's records are in, by its configuration.

use crate::change::event::Event;
use crate::change::namespace::Namespace;
use crate::config::{self, ResumeBackend, Scope, StreamSpec, covers};
use crate::route::Template;
use std::collections::{BTreeSet, HashMap};

/// Operations on documents, as topics are named after them.
pub const OPERATIONS: [&str; 4] = ["insert", "update", "replace", "delete"];

/// The topics of a stream, each with a number.
#[derive(Debug, Clone)]
pub struct Topics {
    templates: config::Topics,
    patterns: Vec<String>,
    /// Topics of Tailwater's own.
    reserved: Vec<String>,
    names: Vec<String>,
    by_name: HashMap<String, u32>,
}

impl Topics {
    pub fn of(stream: &StreamSpec) -> Self {
        let of = &stream.sink.topics;
        let database = match &stream.source.scope {
            Scope::Database(name) => Some(name.as_str()),
            Scope::Deployment { .. } => None,
        };
        let templates = of.of_records();
        let mut patterns: Vec<_> = templates
            .filter_map(|it| Template::pattern(it, database))
            .collect();
        patterns.sort();
        patterns.dedup();
        let mut reserved: Vec<_> = of.dead_letter.iter().cloned().collect();
        if let ResumeBackend::Kafka { topic } = &stream.resume.backend {
            reserved.push(format!("{topic}.listeners"));
            reserved.push(topic.clone());
        }
        Self {
            templates: of.clone(),
            patterns,
            reserved,
            names: Vec::new(),
            by_name: HashMap::new(),
        }
    }

    /// Whether records of the stream may be in a topic of this name.
    pub fn are_meant(&self, name: &str) -> bool {
        let is_reserved = name.starts_with("__") || self.reserved.iter().any(|own| own == name);
        !is_reserved && self.patterns.iter().any(|pattern| covers(pattern, name))
    }

    /// What is looked for, for people.
    pub fn looked_for(&self) -> String {
        self.patterns.join(", ")
    }

    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.to_owned());
        self.by_name.insert(name.to_owned(), number);
        number
    }

    pub fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", String::as_str)
    }

    /// Those of changes of a collection's documents.
    pub fn of_namespace(&self, of: &Namespace) -> BTreeSet<u32> {
        let by = &self.templates;
        let all = [&by.insert, &by.update, &by.replace, &by.delete];
        let rows = by.rows.as_ref().map(|template| ("read", template));
        let names =
            OPERATIONS
                .into_iter()
                .zip(all)
                .chain(rows)
                .filter_map(|(operation, template)| {
                    let event = Event::about(operation, &of.database, &of.collection);
                    Some(Template::parse(template).ok()?.render(Some(&event)))
                });
        names
            .filter_map(|name| self.by_name.get(&name).copied())
            .collect()
    }

    /// Those of events about collections and databases; none where `KAFKA_TOPIC_DDL` is not set.
    pub fn of_definitions(&self) -> Option<BTreeSet<u32>> {
        let pattern = Template::pattern(self.templates.ddl.as_deref()?, None)?;
        let all = self.by_name.iter();
        let meant = all.filter(|(name, _)| covers(&pattern, name));
        Some(meant.map(|(_, number)| *number).collect())
    }
}
